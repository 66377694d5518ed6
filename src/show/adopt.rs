//! What would be taken over, as people read it.

use crate::plan::adoption::Adoption;
use crate::show::audit::Head;
use crate::show::{clean, count, names, short};

/// What would become ours, what of it differs, and what stays somebody else's.
pub fn text(head: &Head<'_>, adoption: &Adoption) -> String {
    let paint = head.paint;
    let name = clean(&format!("{} {}", head.project, head.environment));
    let mut out = format!("{}, {}\n\n", paint.bold(&name), clean(head.target));
    for taken in &adoption.takes {
        let words = match taken.differs.is_empty() {
            true => "as declared".to_owned(),
            false => format!("differs; `provision apply {}` changes it", head.environment),
        };
        out.push_str(&format!(
            "  {} {}  becomes ours: {words}\n",
            paint.green("+"),
            clean(taken.id.as_str())
        ));
        for difference in &taken.differs {
            let field = &difference.field;
            let from = field.from.as_deref().unwrap_or("none");
            let to = field.to.as_deref().unwrap_or("none");
            let line = format!(
                "      {}   {} -> {}   {}",
                short(&field.name, 48),
                short(from, 48),
                short(to, 48),
                clean(&difference.origin)
            );
            out.push_str(&format!("{}\n", line.trim_end()));
        }
    }
    for (id, why, how) in &adoption.foreign {
        let id = clean(id.as_str());
        out.push_str(&format!(
            "  {} {id}  cannot be taken over: {}\n",
            paint.red("!"),
            clean(why)
        ));
        for line in how {
            out.push_str(&format!("      {}\n", paint.dim(&clean(line))));
        }
    }
    for (id, why) in &adoption.unread {
        let id = clean(id.as_str());
        out.push_str(&format!(
            "  {} {id}  cannot be seen: {}\n",
            paint.cyan("?"),
            clean(why)
        ));
    }
    let list = |ids: &[String]| names(ids, 8);
    let mut lines = Vec::new();
    if !adoption.missing.is_empty() {
        let ids: Vec<String> = adoption.missing.iter().map(ToString::to_string).collect();
        lines.push(format!("not there, `apply` makes it: {}", list(&ids)));
    }
    if !adoption.scripts.is_empty() {
        let ids: Vec<String> = adoption.scripts.iter().map(ToString::to_string).collect();
        lines.push(format!(
            "`apply` would run {}; name those here that ran already by other hands",
            list(&ids)
        ));
    }
    if !adoption.stays.is_empty() {
        lines.push(format!(
            "declared nowhere, stays as it is: {}",
            list(&adoption.stays)
        ));
    }
    for line in &lines {
        out.push_str(&format!("  {} {line}\n", paint.dim("note:")));
    }
    let quiet =
        adoption.takes.is_empty() && adoption.foreign.is_empty() && adoption.unread.is_empty();
    if !quiet || !lines.is_empty() {
        out.push('\n');
    }
    let ours = count(adoption.ours, "resource");
    out.push_str(&match adoption.takes.len() {
        0 => format!("Nothing to take over: {ours} ours already.\n"),
        number => {
            let differing = adoption.takes.iter().filter(|taken| !taken.differs.is_empty());
            format!(
                "{} to take over, {} of them not as declared. {ours} ours already. Nothing but what is remembered changes.\n",
                count(number, "resource"),
                differing.count()
            )
        }
    });
    out
}
