//! The order in which a person reviews a plan: what is refused and what cannot be undone first, what nobody notices last.

use std::collections::{BTreeMap, HashSet};

use crate::command::{Do, Place};
use crate::plan::{Action, Change, Plan};
use crate::resource::{Id, Impact};
use crate::show::count;

/// Why a reviewer looks at a change, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Concern {
    /// The plan must not be carried out because of it.
    Refused,
    /// Data has to be dumped and restored.
    Data,
    /// Something is removed.
    Removal,
    /// Something is made anew: its service is away for some seconds.
    Recreation,
    /// It could lock the operator out, so the server takes it back unless it is confirmed.
    Access,
    /// A server restarts, and its clients are cut off.
    Restart,
    /// Nobody can see what is there.
    Unknown,
    /// Nobody notices.
    Routine,
}

impl Concern {
    /// All of them, in order.
    pub const ALL: [Concern; 8] = [
        Concern::Refused,
        Concern::Data,
        Concern::Removal,
        Concern::Recreation,
        Concern::Access,
        Concern::Restart,
        Concern::Unknown,
        Concern::Routine,
    ];

    /// A heading.
    pub fn title(self) -> &'static str {
        match self {
            Concern::Refused => "Refused",
            Concern::Data => "Data has to be dumped and restored",
            Concern::Removal => "Removed",
            Concern::Recreation => "Recreated, with some seconds of downtime",
            Concern::Access => "Could lock the operator out",
            Concern::Restart => "Restarted, clients are cut off for a moment",
            Concern::Unknown => "Unknown",
            Concern::Routine => "Without downtime",
        }
    }

    /// One word, for classes and filters of a page.
    pub fn word(self) -> &'static str {
        match self {
            Concern::Refused => "refused",
            Concern::Data => "data",
            Concern::Removal => "removal",
            Concern::Recreation => "recreation",
            Concern::Access => "access",
            Concern::Restart => "restart",
            Concern::Unknown => "unknown",
            Concern::Routine => "routine",
        }
    }

    /// Whether each change is named first, however many others there are.
    pub fn is_urgent(self) -> bool {
        self < Concern::Routine
    }
}

/// Why a reviewer looks at a change.
pub fn concern(change: &Change, refused: &HashSet<&Id>) -> Concern {
    let guards = |does: &Do| matches!(does, Do::Script(script) if script.guard.is_some());
    match (change.action, change.impact) {
        _ if refused.contains(&change.id) => Concern::Refused,
        (Action::Replace, _) | (_, Impact::DataRisk) => Concern::Data,
        (Action::Remove, _) => Concern::Removal,
        (Action::Recreate, _) => Concern::Recreation,
        _ if change.steps.iter().any(|step| guards(&step.does)) => Concern::Access,
        (Action::Update, Impact::Restart | Impact::Recreate) => Concern::Restart,
        (Action::Unknown, _) => Concern::Unknown,
        _ => Concern::Routine,
    }
}

/// The changes of a plan by concern, each group in the plan's order; empty groups are left out.
pub fn groups(plan: &Plan) -> Vec<(Concern, Vec<&Change>)> {
    let refused: HashSet<&Id> = plan.refusals.iter().map(|refusal| &refusal.id).collect();
    let mut groups: BTreeMap<Concern, Vec<&Change>> = BTreeMap::new();
    for change in &plan.changes {
        let concern = concern(change, &refused);
        groups.entry(concern).or_default().push(change);
    }
    groups.into_iter().collect()
}

/// The machine that a change is on, as it is shown: `engine` for what lives on the Docker engine or inside its containers, and
/// `files` for the generated files of the environment.
pub fn host(place: &Place) -> &str {
    match place.machine() {
        Some(machine) => machine,
        None if *place == Place::Folder => "files",
        None => "engine",
    }
}

/// How many changes of each kind there are on each host, as in `db1: 12 postgres_role (10 create, 2 update)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// See [`host`].
    pub host: String,
    /// The noun of the kind.
    pub kind: String,
    /// `10 create, 2 update`.
    pub actions: String,
    /// How many.
    pub number: usize,
}

/// Changes counted by host and kind, in the order of their names.
pub fn tally<'a>(changes: impl Iterator<Item = &'a Change>) -> Vec<Tally> {
    let mut counts: BTreeMap<(&str, &str), BTreeMap<&'static str, usize>> = BTreeMap::new();
    for change in changes {
        let of = counts
            .entry((host(&change.place), change.id.kind()))
            .or_default();
        *of.entry(change.action.word()).or_default() += 1;
    }
    let row = |((host, kind), actions): ((&str, &str), BTreeMap<&'static str, usize>)| {
        let words: Vec<String> = actions
            .iter()
            .map(|(word, n)| format!("{n} {word}"))
            .collect();
        Tally {
            host: host.to_owned(),
            kind: kind.to_owned(),
            actions: words.join(", "),
            number: actions.values().sum(),
        }
    };
    counts.into_iter().map(row).collect()
}

/// `db1: 12 postgres_role, 3 file`: one line a host.
pub fn by_host(tallies: &[Tally]) -> Vec<String> {
    let mut lines: Vec<(&str, Vec<String>)> = Vec::new();
    for tally in tallies {
        let words = format!("{} {}", tally.number, tally.kind);
        match lines.last_mut() {
            Some((host, kinds)) if *host == tally.host => kinds.push(words),
            _ => lines.push((&tally.host, vec![words])),
        }
    }
    lines
        .into_iter()
        .map(|(host, kinds)| format!("{host}: {}", kinds.join(", ")))
        .collect()
}

/// `Removed (2)`.
pub fn heading(concern: Concern, number: usize) -> String {
    format!("{} ({})", concern.title(), count(number, "change"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::plan::tests::sample;

    #[test]
    fn what_cannot_be_undone_comes_first() {
        let plan = sample();
        let groups = groups(&plan);
        let words: Vec<_> = groups
            .iter()
            .map(|(concern, changes)| (concern.word(), changes.len()))
            .collect();
        assert_eq!(
            words,
            [
                ("removal", 1),
                ("recreation", 1),
                ("unknown", 1),
                ("routine", 7)
            ]
        );
        let mut all = Concern::ALL;
        all.sort();
        assert_eq!(all, Concern::ALL);
    }

    #[test]
    fn changes_are_counted_by_host_and_kind() {
        let plan = sample();
        let tallies = tally(plan.changes.iter());
        let lines = by_host(&tallies);
        assert_eq!(
            lines,
            [
                "engine: 2 container, 1 mariadb_database, 1 mariadb_grant, 2 mariadb_user, 3 postgres_role",
                "files: 1 generated_file"
            ]
        );
        let users = tallies.iter().find(|tally| tally.kind == "mariadb_user");
        assert_eq!(users.map(|tally| tally.actions.as_str()), Some("2 create"));
    }
}
