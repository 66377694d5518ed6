//! A plan as Markdown, for a comment on a pull request. What comes from elsewhere stands in code spans, so nothing in
//! it is taken for markup, a mention or a link.

use crate::plan::{Action, Change, Difference, Plan};
use crate::show::plan::{Head, moved, sentence, tally};
use crate::show::review::{self, Concern, Tally};
use crate::show::{clean, count, short};

/// The most characters of a comment: GitHub takes 65,536, and whoever posts it adds a few.
pub const LIMIT: usize = 60_000;

/// How much is said of a change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    /// What it does and each field.
    Fields,
    /// What it does.
    Line,
    /// Its id.
    Id,
}

/// Fields of one change that are shown, and characters of a value.
const FIELDS: usize = 12;
const WIDE: usize = 120;

/// A plan. At most [`LIMIT`] characters: what is urgent is named one by one before anything else, the rest is folded by host and
/// kind and shortened where it does not fit.
pub fn plan(head: &Head<'_>, plan: &Plan) -> String {
    let groups = review::groups(plan);
    let intro = intro(head, plan);
    let (urgent, rest): (Vec<_>, Vec<_>) = groups
        .into_iter()
        .partition(|(concern, _)| concern.is_urgent());
    let mut out = [Detail::Fields, Detail::Line, Detail::Id]
        .into_iter()
        .map(|detail| format!("{intro}{}", sections(plan, &urgent, detail)))
        .find(|text| characters(text) <= LIMIT - 2_000)
        .unwrap_or_else(|| cut(head, &intro, &urgent));
    for (concern, changes) in &rest {
        folded(&mut out, *concern, changes);
    }
    out
}

fn intro(head: &Head<'_>, plan: &Plan) -> String {
    let name = code(&format!("{} {}", head.project, head.environment));
    let mut out = format!("## Plan for {name}\n\n");
    let fine = match plan.as_wanted {
        0 => String::new(),
        number => format!(" {number} as wanted."),
    };
    if plan.changes.is_empty() && plan.refusals.is_empty() && plan.unseen.is_empty() {
        out.push_str(&format!("**Nothing to do.**{fine}\n"));
    } else {
        out.push_str(&format!("**{}.**{fine}\n", tally(plan)));
    }
    out.push_str(&format!("\nTarget: {}\n", code(head.target)));
    for unseen in &plan.unseen {
        let things = count(unseen.resources, "resource");
        let (machine, why) = (code(&unseen.machine), code(&unseen.failure.message));
        out.push_str(&format!(
            "\n> Nothing is known of {things} on {machine}: {why}\n"
        ));
    }
    for id in &plan.orphans {
        let id = code(id.as_str());
        out.push_str(&format!(
            "\n> {id} holds data and is no longer declared. It is kept.\n"
        ));
    }
    for (id, awaited) in &plan.waiting {
        let (id, key) = (code(id.as_str()), code(&awaited.key));
        out.push_str(&format!(
            "\n> {id} waits: the {} {key} does not exist yet\n",
            awaited.noun
        ));
    }
    for note in head.notes {
        out.push_str(&format!("\n> {}\n", code(note)));
    }
    out
}

fn sections(plan: &Plan, groups: &[(Concern, Vec<&Change>)], detail: Detail) -> String {
    let mut out = String::new();
    let refusals = refusals(plan);
    if !refusals.is_empty() {
        let reasons = count(plan.refusals.len(), "reason");
        out.push_str(&format!("\n### Refused for {reasons}\n\n{refusals}"));
    }
    for (concern, changes) in groups {
        out.push_str(&format!(
            "\n### {}\n\n",
            review::heading(*concern, changes.len())
        ));
        for change in changes {
            out.push_str(&item(change, detail));
        }
    }
    out
}

fn refusals(plan: &Plan) -> String {
    let one = |refusal: &crate::plan::Refusal| {
        let hints: String = refusal
            .hints
            .iter()
            .map(|hint| format!("  - {}\n", code(hint)))
            .collect();
        format!("- {}\n{hints}", code(&refusal.message))
    };
    plan.refusals.iter().map(one).collect()
}

/// So much is urgent that not even the ids fit: as many as do, and how many there are in all.
fn cut(head: &Head<'_>, intro: &str, groups: &[(Concern, Vec<&Change>)]) -> String {
    let mut out = intro.to_owned();
    let command = code(&format!("provision plan {} --json", head.environment));
    out.push_str(&format!(
        "\n**This comment cannot hold all of what is urgent; {command} lists it.**\n"
    ));
    for (concern, changes) in groups {
        let heading = review::heading(*concern, changes.len());
        out.push_str(&format!("\n### {heading}\n\n"));
        let mut length = characters(&out);
        for (at, change) in changes.iter().enumerate() {
            let item = item(change, Detail::Id);
            length += characters(&item);
            if length > LIMIT - 6_000 {
                let left = changes.len() - at;
                out.push_str(&format!("- and {left} more\n"));
                break;
            }
            out.push_str(&item);
        }
    }
    out
}

/// What nobody has to look at first, folded by host and kind: in full where it fits, else shortened, else counted.
fn folded(out: &mut String, concern: Concern, changes: &[&Change]) {
    let heading = review::heading(concern, changes.len());
    out.push_str(&format!("\n### {heading}\n"));
    let mut left = LIMIT.saturating_sub(characters(out));
    let tallies = review::tally(changes.iter().copied());
    let mut counted = 0;
    for tally in &tallies {
        let of = changes
            .iter()
            .copied()
            .filter(|change| is_of(change, tally))
            .collect::<Vec<_>>();
        // Enough is kept for a line for each of the others.
        let room = left.saturating_sub(80 * (tallies.len() + 1));
        let text = [Detail::Fields, Detail::Line, Detail::Id]
            .into_iter()
            .map(|detail| fold(tally, &of, detail))
            .find(|text| characters(text) <= room);
        let text = text.unwrap_or_else(|| {
            counted += 1;
            format!("\n{}\n", summary(tally))
        });
        if characters(&text) > left {
            out.push_str("\n…\n");
            return;
        }
        left -= characters(&text);
        out.push_str(&text);
    }
}

fn is_of(change: &Change, tally: &Tally) -> bool {
    change.id.kind() == tally.kind && review::host(&change.place) == tally.host
}

fn fold(tally: &Tally, changes: &[&Change], detail: Detail) -> String {
    let items: String = changes.iter().map(|change| item(change, detail)).collect();
    let summary = html(&summary(tally));
    format!("\n<details><summary>{summary}</summary>\n\n{items}\n</details>\n")
}

fn summary(tally: &Tally) -> String {
    format!(
        "{}: {} {} ({})",
        clean(&tally.host),
        tally.number,
        clean(&tally.kind),
        tally.actions
    )
}

fn item(change: &Change, detail: Detail) -> String {
    let id = code(change.id.as_str());
    if detail == Detail::Id {
        return format!("- {id}\n");
    }
    let mut out = format!("- {id}: {}\n", code(&sentence(change)));
    // Of what is made all fields are new, which says nothing.
    if detail == Detail::Fields && change.action != Action::Create {
        for difference in change.fields.iter().take(FIELDS) {
            out.push_str(&field(change, difference));
        }
        if let Some(more) = change.fields.len().checked_sub(FIELDS + 1) {
            out.push_str(&format!("  - and {} more\n", count(more + 1, "field")));
        }
    }
    out
}

fn field(change: &Change, difference: &Difference) -> String {
    let value = |value: &Option<String>| match value {
        Some(text) => code(&short(text, WIDE)),
        None => "none".to_owned(),
    };
    let field = &difference.field;
    let (from, to) = (value(&field.from), value(&field.to));
    let mut about = vec![code(&difference.origin)];
    let moved = moved(change, difference);
    if !moved.is_empty() {
        about.push(moved);
    }
    format!(
        "  - {}: {from} → {to} ({})\n",
        code(&short(&field.name, WIDE)),
        about.join(", ")
    )
}

fn characters(text: &str) -> usize {
    text.chars().count()
}

/// Text as a code span on one line: nothing in it is markup, whatever backticks it holds.
fn code(text: &str) -> String {
    let text = clean(text);
    let (mut longest, mut run) = (0, 0);
    for c in text.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let fence = "`".repeat(longest + 1);
    let space = if longest > 0 || text.trim().len() != text.len() || text.is_empty() {
        " "
    } else {
        ""
    };
    format!("{fence}{space}{text}{space}{fence}")
}

/// Text inside an HTML element of a comment.
fn html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Id;
    use crate::show::Paint;
    use crate::show::plan::tests::{change, sample};

    fn head() -> Head<'static> {
        Head {
            environment: "local",
            project: "iact",
            target: "Docker engine",
            notes: &[],
            next: None,
            verbose: false,
            paint: Paint::default(),
        }
    }

    #[test]
    fn a_reviewer_reads_first_what_cannot_be_undone() {
        let text = plan(&head(), &sample());
        let at = |words: &str| {
            text.find(words)
                .unwrap_or_else(|| panic!("{words}\n{text}"))
        };
        assert!(at("### Removed (1 change)") < at("### Recreated"));
        assert!(at("### Recreated") < at("### Without downtime (7 changes)"));
        assert!(text.contains("- `postgres_role.analytics:old`: `remove, no longer declared`\n"));
        assert!(text.contains("  - `env DJANGO_DEBUG`: `true\\x1b[2J` → `false` (`local.toml:51`, changed in the file)\n"));
        assert!(text.contains("<details><summary>engine: 2 mariadb_user (2 create)</summary>"));
    }

    #[test]
    fn a_long_plan_fits_and_no_removal_is_cut() {
        let mut plan_of = Plan::default();
        for number in 0..10_000 {
            let action = if number % 20 == 0 {
                Action::Remove
            } else {
                Action::Create
            };
            plan_of.changes.push(change(
                &format!("postgres_role.analytics:role_{number}"),
                action,
            ));
        }
        let text = plan(&head(), &plan_of);
        assert!(characters(&text) <= LIMIT, "{}", characters(&text));
        for number in (0..10_000).step_by(20) {
            assert!(
                text.contains(&format!("`postgres_role.analytics:role_{number}`")),
                "{number}"
            );
        }
        assert!(
            text.contains("9500 postgres_role (9500 create)"),
            "{}",
            &text[text.len() - 300..]
        );
    }

    #[test]
    fn more_removals_than_a_comment_holds_are_counted() {
        let mut plan_of = Plan::default();
        for number in 0..5_000 {
            let id = format!("postgres_role.analytics:role_{number}");
            plan_of.changes.push(change(&id, Action::Remove));
        }
        let text = plan(&head(), &plan_of);
        assert!(characters(&text) <= LIMIT, "{}", characters(&text));
        assert!(text.contains("cannot hold all of what is urgent"), "{text}");
        assert!(text.contains("### Removed (5000 changes)"), "{text}");
        assert!(text.contains("more\n"), "{text}");
    }

    #[test]
    fn nothing_from_a_machine_becomes_markup() {
        assert_eq!(code("a `b` c"), "`` a `b` c ``");
        assert_eq!(code("``"), "``` `` ```");
        assert_eq!(code("@team\n# x"), "`@team\\n# x`");
        assert_eq!(code(""), "`  `");
        let mut plan_of = Plan::default();
        let id = Id::parse("file.h1:/etc/`</details>`");
        plan_of.changes.push(change(id.as_str(), Action::Remove));
        let text = plan(&head(), &plan_of);
        assert!(
            text.contains("- `` file.h1:/etc/`</details>` ``: "),
            "{text}"
        );
    }
}
