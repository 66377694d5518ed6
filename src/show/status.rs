//! What the last run did, did not do and does not know, and who holds the locks.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::error::Failure;
use crate::plan::journal::{Journal, Over, State};
use crate::show::{Paint, clean, count, names, table};

/// A lock that somebody holds.
#[derive(Clone, Debug)]
pub struct Held {
    /// Where: a machine.
    pub place: String,
    /// Who, in the words with which it was taken.
    pub holder: String,
}

/// All that is known.
pub struct Told<'a> {
    /// The environment.
    pub environment: &'a str,
    /// Its project.
    pub project: &'a str,
    /// The runs, the latest last.
    pub runs: Vec<Journal>,
    /// The locks that are held.
    pub held: &'a [Held],
    /// Machines that could not be asked.
    pub unreached: &'a [(Arc<str>, Failure)],
}

/// So many ids are named where nothing is wrong with them.
const NAMED: usize = 6;

/// For people.
pub fn text(told: &Told<'_>, paint: Paint) -> String {
    let mut out = String::new();
    let (environment, project) = (told.environment, told.project);
    if told.runs.is_empty() {
        out.push_str(&format!(
            "No run of `{environment}` of project `{project}` is remembered.\n"
        ));
    }
    for run in &told.runs {
        out.push_str(&one(run, !told.held.is_empty(), paint));
    }
    for Held { place, holder } in told.held {
        out.push_str(&format!(
            "{} holds the lock of {}.\n",
            clean(holder),
            where_(place)
        ));
    }
    for (machine, why) in told.unreached {
        out.push_str(&format!(
            "{}: `{machine}` cannot be asked, so what it knows is missing here: {}\n",
            paint.yellow("warning"),
            clean(&why.message)
        ));
    }
    let open = told
        .runs
        .last()
        .is_some_and(|run| run.over != Some(Over::Done));
    if open && told.held.is_empty() {
        let again = match told.runs.last().map(|run| run.heading.doing.as_str()) {
            Some(doing) if doing.starts_with("destroy ") => "destroy",
            _ => "apply",
        };
        out.push_str(&format!(
            "Next: `provision {again} {environment}` looks at all of it again and does what is left.\n"
        ));
    }
    out
}

fn one(run: &Journal, locked: bool, paint: Paint) -> String {
    let heading = &run.heading;
    let ended = match run.over {
        Some(Over::Done) => paint.green("came to its end, all of it done"),
        Some(Over::Failed) => paint.red("came to its end, not all of it done"),
        Some(Over::Interrupted) => paint.yellow("was interrupted"),
        None if locked => paint.yellow("is not at its end, and something holds the lock"),
        None => paint.red("did not come to its end"),
    };
    let mut out = format!(
        "`{}` by {}, process {}, since {}: {ended}.\n",
        clean(&heading.doing),
        clean(&heading.by),
        heading.process,
        clean(&heading.at)
    );
    for state in [State::Done, State::Failed, State::Unknown, State::NotDone] {
        let ids = run.of(state);
        if ids.is_empty() {
            continue;
        }
        let most = match state {
            State::Done => NAMED,
            _ => usize::MAX,
        };
        let word = format!("{:<8}", state.word());
        let word = match state {
            State::Done => paint.green(&word),
            State::Failed => paint.red(&word),
            State::Unknown => paint.yellow(&word),
            State::NotDone => word,
        };
        let why = match state {
            State::Unknown => ": begun, and nobody wrote down how it ended",
            _ => "",
        };
        out.push_str(&format!(
            "  {word}  {}{why}: {}\n",
            count(ids.len(), "change"),
            names(&ids, most)
        ));
    }
    out
}

fn where_(place: &str) -> String {
    match place {
        "this machine" => place.to_owned(),
        machine => format!("`{machine}`"),
    }
}

/// The locks of all places that were asked.
pub fn locks(
    asked: &[String],
    held: &[Held],
    unreached: &[(Arc<str>, Failure)],
    paint: Paint,
) -> String {
    let holder = |place: &str| held.iter().find(|one| one.place == place);
    let mut rows: Vec<Vec<String>> = asked
        .iter()
        .map(|place| {
            let says = holder(place).map_or("free", |one| one.holder.as_str());
            vec![place.clone(), says.to_owned()]
        })
        .collect();
    rows.extend(
        unreached
            .iter()
            .map(|(machine, why)| vec![machine.to_string(), format!("unknown: {}", why.message)]),
    );
    table::render(&["WHERE", "LOCK"], &rows, paint)
}

/// For programs.
pub fn json(told: &Told<'_>) -> String {
    let runs: Vec<Value> = told
        .runs
        .iter()
        .map(|run| {
            let heading = &run.heading;
            let changes: Vec<Value> = run
                .entries
                .iter()
                .map(|entry| json!({ "id": entry.id, "state": entry.state.word() }))
                .collect();
            json!({
                "run": heading.run, "doing": heading.doing, "by": heading.by, "process": heading.process,
                "since": heading.at, "ended": run.over.map(Over::word), "changes": changes,
            })
        })
        .collect();
    let held: Vec<Value> = told
        .held
        .iter()
        .map(|one| json!({ "place": one.place, "holder": one.holder }))
        .collect();
    let unreached: Vec<Value> = told
        .unreached
        .iter()
        .map(|(machine, why)| json!({ "host": &**machine, "why": why.message }))
        .collect();
    let whole = json!({
        "format_version": 1, "environment": told.environment, "project": told.project,
        "runs": runs, "locks": held, "unreached": unreached,
    });
    format!("{whole:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::journal::{Entry, Heading};

    fn run(over: Option<Over>) -> Journal {
        let entry = |id: &str, state| Entry {
            id: id.to_owned(),
            machine: None,
            state,
        };
        Journal {
            heading: Heading {
                run: "r".to_owned(),
                doing: "apply prod".to_owned(),
                by: "maria@laptop".to_owned(),
                process: 7,
                at: "2026-11-25T10:42:00Z".to_owned(),
            },
            entries: vec![
                entry("file.a:/x", State::Done),
                entry("file.a:/y\u{1b}", State::Unknown),
                entry("unit.a:z", State::NotDone),
            ],
            over,
        }
    }

    fn told(over: Option<Over>, held: &[Held]) -> String {
        let told = Told {
            environment: "prod",
            project: "iact",
            runs: vec![run(over)],
            held,
            unreached: &[],
        };
        text(&told, Paint::default())
    }

    #[test]
    fn what_is_unknown_is_neither_done_nor_not_done() {
        assert_eq!(
            told(None, &[]),
            "`apply prod` by maria@laptop, process 7, since 2026-11-25T10:42:00Z: did not come to its end.\n  \
             done      1 change: `file.a:/x`\n  \
             unknown   1 change: begun, and nobody wrote down how it ended: `file.a:/y\\x1b`\n  \
             not done  1 change: `unit.a:z`\n\
             Next: `provision apply prod` looks at all of it again and does what is left.\n"
        );
    }

    #[test]
    fn a_run_that_holds_the_lock_is_not_called_dead() {
        let held = [Held {
            place: "web1".to_owned(),
            holder: "`apply prod`, process 7".to_owned(),
        }];
        let said = told(None, &held);
        assert!(said.contains("is not at its end, and something holds the lock"));
        assert!(said.contains("`apply prod`, process 7 holds the lock of `web1`.\n"));
        assert!(!said.contains("Next:"), "{said}");
        let done = told(Some(Over::Done), &[]);
        assert!(!done.contains("Next:"), "{done}");
    }
}
