//! A command's bad end, as people read it.

use crate::error::Failure;
use crate::show::{Paint, clean, problems};

/// The mistakes in files first, then what happened, then what to try.
pub fn render(failure: &Failure, paint: Paint) -> String {
    let mut out = String::new();
    if !failure.problems.is_empty() {
        out.push_str(&problems::render(&failure.problems, paint.colour));
        if !out.ends_with('\n') {
            out.push('\n');
        }
    }
    out.push_str(&error(&failure.message, &failure.hints, paint));
    out
}

/// One error and its hints.
pub fn error(message: &str, hints: &[String], paint: Paint) -> String {
    let mut out = format!("{}: {}\n", paint.red("error"), lines(message));
    for hint in hints {
        out.push_str(&help(hint, paint));
    }
    out
}

/// Something to try.
pub fn help(hint: &str, paint: Paint) -> String {
    format!("  {}: {}\n", paint.cyan("help"), lines(hint))
}

/// One thing that should be known.
pub fn warning(message: &str, paint: Paint) -> String {
    format!("{}: {}\n", paint.yellow("warning"), lines(message))
}

/// Messages are ours and may have more than one line; what they quote is not.
fn lines(text: &str) -> String {
    text.lines()
        .map(clean)
        .collect::<Vec<_>>()
        .join("\n         ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn an_error_says_what_and_what_to_try() {
        let failure = Failure::new(Kind::Usage, "there is no environment `lcoal`")
            .hint("did you mean `local`?")
            .hint("`provision init lcoal` writes a first one");
        assert_eq!(
            render(&failure, Paint::default()),
            "error: there is no environment `lcoal`\n  help: did you mean `local`?\n  help: `provision init lcoal` writes a first one\n"
        );
    }
}
