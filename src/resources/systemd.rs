//! What kinds that are units of systemd share: one question for all of them, so that all units of a machine are one `systemctl show`
//! and one `sha256sum`; and one script that brings any number of units to their state.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::command::{Ask, Question, Row, Text, unflat};
use crate::resource::{Impact, Step};

/// An item is lines: the key of the thing, then `u UNIT`, `c UNIT` (a unit of ours: its text is wanted too) and `f PATH`.
pub(super) const QUESTION: Question = Question {
    name: "units",
    ask: Ask::Machine {
        body: LOOK,
        columns: &["key", "of", "what", "value"],
    },
};

const LOOK: &str = concat!(
    include_str!("systemd_common.sh"),
    include_str!("systemd_look.sh")
);

macro_rules! apply {
    ($before:literal) => {
        concat!(
            $before,
            "supervisor() {\ncat << 'PROVISION_SUPERVISOR'\n",
            include_str!("supervise.sh"),
            "PROVISION_SUPERVISOR\n}\n",
            include_str!("systemd_common.sh"),
            include_str!("systemd_apply.sh")
        )
    };
}
const APPLY: &str = apply!("");

/// The same for one unit by which we get in.
const APPLY_GUARDED: &str = apply!("way_in_unit \"$1\" \"$4\"\n");

/// Units by which we get in.
const GATES: [&str; 8] = [
    "ssh.service",
    "sshd.service",
    "ssh.socket",
    "networking.service",
    "systemd-networkd.service",
    "NetworkManager.service",
    "nftables.service",
    "netfilter-persistent.service",
];

/// Folders of units in which things are changed on the machine; what lies in others comes with packages or is made at boot.
const HERE: [&str; 8] = [
    "/etc/systemd/system/",
    "/run/systemd/system/",
    "/etc/systemd/system.control/",
    "/run/systemd/system.control/",
    "/etc/systemd/system.attached/",
    "/run/systemd/system.attached/",
    "/run/systemd/transient/",
    "/usr/local/lib/systemd/system/",
];

/// Those that come before the folder of our units.
const FIRST: [&str; 3] = [
    "/etc/systemd/system.control/",
    "/run/systemd/system.control/",
    "/run/systemd/transient/",
];

/// The file of a unit of ours.
pub(super) fn path(unit: &str) -> String {
    format!("/etc/systemd/system/{unit}")
}

/// Who keeps a unit running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manager {
    /// systemd.
    #[default]
    Systemd,
    /// An init script, where no systemd runs.
    Init,
    /// Our supervisor, where no systemd runs.
    Supervisor,
}

/// A unit as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Who keeps it running.
    pub manager: Manager,
    /// `loaded`, `not-found`, `masked`, `bad-setting`, ...; `template` for a unit that only its instances run.
    pub load: String,
    /// `active`, `inactive`, `failed`, `activating`, ...
    pub active: String,
    /// More exactly, as in `auto-restart`.
    pub sub: String,
    /// `simple`, `notify`, `oneshot`, ... of a service.
    pub sort: String,
    /// `success`, `exit-code`, ...
    pub result: String,
    /// `enabled`, `disabled`, `static`, `masked`, ...
    pub enabled: String,
    /// Files that add to its definition.
    pub drop_ins: BTreeSet<String>,
    /// Whether its definition has changed since systemd read it.
    pub stale: bool,
    /// Its run: another one after each start.
    pub run: String,
    /// When that run began, in microseconds since 1970.
    pub begun: Option<i64>,
    /// Whether it has ended since the machine started.
    pub ended: bool,
    /// What our last start of it found in the files that it reads, and which run that was.
    pub stamp: Option<(String, BTreeMap<String, String>)>,
    /// Files as they are: SHA-256, and when they last changed, in microseconds since 1970.
    pub files: BTreeMap<String, (String, Option<i64>)>,
    /// What its own file says.
    pub text: Option<String>,
    /// The file from which systemd has read it; empty where it has not.
    pub fragment: String,
    /// The file by which something else than us makes a unit of this name, and the package that ships it, empty where none does.
    pub shipped: Option<(String, String)>,
}

impl State {
    /// A unit of an answer; `None` where there is no such unit.
    pub(super) fn read(unit: &str, rows: &[Row]) -> Result<Option<Self>, String> {
        let mut state = State::default();
        let own = path(unit);
        for row in rows {
            let (of, what, value) = (column(row, "of"), column(row, "what"), column(row, "value"));
            match what {
                "file" => {
                    let (digest, time) = value.split_once(' ').unwrap_or((value, ""));
                    state
                        .files
                        .insert(of.to_owned(), (digest.to_owned(), seconds(time)));
                }
                "text" if of == own => state.text = Some(unflat(value)),
                _ if of == unit => state.property(what, value.to_owned()),
                _ => {}
            }
        }
        match state.load.as_str() {
            "" => Err(format!("nothing was said of `{unit}`")),
            "not-found" => Ok(None),
            // Nobody but its file knows it.
            "template" if !state.files.contains_key(&own) && state.stamp.is_none() => Ok(None),
            _ => Ok(Some(state)),
        }
    }

    fn property(&mut self, name: &str, value: String) {
        match name {
            "Manager" => {
                self.manager = match value.as_str() {
                    "init" => Manager::Init,
                    _ => Manager::Supervisor,
                };
            }
            "LoadState" => self.load = value,
            "ActiveState" => self.active = value,
            "SubState" => self.sub = value,
            "Type" => self.sort = value,
            "Result" => self.result = value,
            "UnitFileState" => self.enabled = value,
            "DropInPaths" => self
                .drop_ins
                .extend(value.split_whitespace().map(str::to_owned)),
            "drop-in" => {
                self.drop_ins.insert(value);
            }
            "FragmentPath" => self.fragment = value,
            "shipped" => {
                let (path, package) = value.split_once(' ').unwrap_or((&value, ""));
                self.shipped = Some((path.to_owned(), package.to_owned()));
            }
            "NeedDaemonReload" => self.stale = value == "yes",
            "InvocationID" => self.run = value,
            "InactiveExitTimestamp" => self.begun = moment(&value),
            "Started" => self.begun = seconds(&value),
            "InactiveEnterTimestamp" => self.ended = !value.is_empty(),
            "stamp" => self.stamp = Some((value, BTreeMap::new())),
            "loaded" => {
                if let (Some((_, files)), Some((digest, path))) =
                    (&mut self.stamp, value.split_once("  "))
                {
                    files.insert(path.to_owned(), digest.to_owned());
                }
            }
            _ => {}
        }
    }

    /// Whether it does what it is for: runs, or has run to its end where that is all it does.
    pub(super) fn works(&self) -> bool {
        match self.active.as_str() {
            "active" | "reloading" => true,
            "inactive" => {
                self.sort == "oneshot" && self.result == "success" && (self.ended || self.stamped())
            }
            _ => false,
        }
    }

    /// Whether a start of ours went well.
    fn stamped(&self) -> bool {
        self.stamp.as_ref().is_some_and(|(run, _)| run != "-")
    }

    /// How it runs, for people.
    pub(super) fn says(&self) -> String {
        match self.active.as_str() {
            _ if self.works() => "yes".to_owned(),
            "inactive" => "no".to_owned(),
            "activating" if self.sub == "auto-restart" => "fails over and over".to_owned(),
            "failed" => match self.result.as_str() {
                "success" | "" => "failed".to_owned(),
                result => format!("failed ({result})"),
            },
            other => other.to_owned(),
        }
    }

    /// Whether it starts with the machine; what cannot be enabled is started by what wants it.
    pub(super) fn starts(&self, wanted: bool) -> bool {
        match self.enabled.as_str() {
            "enabled" | "enabled-runtime" => true,
            "static" | "indirect" | "generated" | "alias" | "transient" => wanted,
            _ => false,
        }
    }

    /// Whether somebody has masked it.
    pub(super) fn masked(&self) -> bool {
        self.load == "masked" || self.enabled.starts_with("masked")
    }

    /// Whether our stamp says that its file is ours.
    pub(super) fn ours(&self, unit: &str) -> bool {
        let own = path(unit);
        self.stamp
            .as_ref()
            .is_some_and(|(_, files)| files.contains_key(&own))
    }

    /// Additions to its definition that were made on the machine, other than those that are declared.
    pub(super) fn additions(&self, unit: &str, declared: &BTreeSet<String>) -> Vec<&String> {
        let made_here = |path: &&String| {
            HERE.iter().any(|folder| {
                path.strip_prefix(folder)
                    .is_some_and(|rest| rest.starts_with(&format!("{unit}.d/")))
            })
        };
        self.drop_ins
            .iter()
            .filter(made_here)
            .filter(|path| !declared.contains(*path))
            .collect()
    }

    /// The file from which systemd has read a unit of ours, where that is not the one that we write.
    pub(super) fn elsewhere(&self, unit: &str) -> Option<&str> {
        let own = path(unit);
        let other =
            !self.fragment.is_empty() && self.fragment != own && self.fragment != "/dev/null";
        (other && self.files.contains_key(&own)).then_some(self.fragment.as_str())
    }

    /// Of that file, whether it lies where it comes before ours, and goes.
    pub(super) fn overrides(&self, unit: &str) -> Option<&str> {
        let before = |path: &&str| FIRST.iter().any(|folder| path.starts_with(folder));
        self.elsewhere(unit).filter(before)
    }

    /// Whether a file of ours hides what something else ships under the same name.
    pub(super) fn hides(&self, unit: &str) -> bool {
        self.ours(unit)
            && self
                .shipped
                .as_ref()
                .is_some_and(|(file, _)| *file != path(unit))
    }

    /// Whether what its run has read of a file is what is wanted (`None`: whatever it holds now). What our stamp does not know is
    /// settled by time: a file that has not changed since the run began was read as it is.
    pub(super) fn has_loaded(&self, path: &str, wanted: Option<&str>) -> bool {
        let now = self.files.get(path);
        let wanted = wanted.or(now.map(|(digest, _)| digest.as_str()));
        let stamped = self.stamp.as_ref().filter(|(run, _)| *run == self.run);
        if let Some(digest) = stamped.and_then(|(_, files)| files.get(path)) {
            return wanted == Some(digest.as_str());
        }
        match (now, wanted) {
            (None, None) => true,
            (Some((digest, Some(changed))), Some(wanted)) => {
                digest == wanted && self.begun.is_some_and(|begun| *changed < begun)
            }
            _ => false,
        }
    }
}

/// What is done to a unit.
#[derive(Debug, Default)]
pub(super) struct Act<'a> {
    /// The unit.
    pub unit: &'a str,
    /// Words that the script knows.
    pub actions: Vec<&'static str>,
    /// What its file says.
    pub content: Text,
    /// The files it reads.
    pub reads: Vec<&'a str>,
    /// The drop-ins that go.
    pub prune: Vec<&'a str>,
}

/// The step that does it; those of neighbours are one, so that systemd reads its files again once.
pub(super) fn step(says: impl Into<String>, impact: Impact, acts: Vec<Act<'_>>) -> Step {
    let gate = acts.iter().any(|act| GATES.contains(&act.unit));
    let words = acts.into_iter().flat_map(|act| {
        [
            Text::plain(act.unit),
            Text::plain(act.actions.join(" ")),
            act.content,
            Text::plain(act.reads.join("\n")),
            Text::plain(act.prune.join("\n")),
        ]
    });
    let body = if gate { APPLY_GUARDED } else { APPLY };
    let mut step = Step::script(says, body, words).costs(impact).within(300);
    if gate {
        return step.guarded("access");
    }
    step.merge = Some("systemd");
    step
}

/// A column of a row; empty where it is none.
pub(super) fn column<'a>(row: &'a Row, name: &str) -> &'a str {
    row.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// `1795568791.267952` in microseconds.
fn seconds(text: &str) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let part: i64 = format!("{part:0<6}").get(..6)?.parse().ok()?;
    whole
        .parse::<i64>()
        .ok()?
        .checked_mul(1_000_000)?
        .checked_add(part)
}

/// `Wed 2026-11-25 01:06:31.755746 UTC` in microseconds since 1970.
fn moment(text: &str) -> Option<i64> {
    let mut words = text.split(' ').skip(1);
    let (date, time) = (words.next()?, words.next()?);
    let mut date = date.split('-').map(str::parse::<i64>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let mut time = time.splitn(3, ':');
    let (hour, minute) = (
        time.next()?.parse::<i64>().ok()?,
        time.next()?.parse::<i64>().ok()?,
    );
    let second = seconds(time.next()?)?;
    if !(1970..10_000).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days by a calendar whose year begins in March, so that the leap day is its last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days =
        year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468;
    Some((days * 86_400 + hour * 3_600 + minute * 60) * 1_000_000 + second)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The rows of an answer, of lines `of what value`.
    pub fn rows(key: &str, lines: &str) -> Vec<Row> {
        let row = |line: &str| {
            let mut parts = line.trim().splitn(3, ' ');
            let names = ["of", "what", "value"];
            let mut row: Row = names
                .iter()
                .map(|name| ((*name).to_owned(), parts.next().unwrap_or_default().into()))
                .collect();
            row.insert("key".to_owned(), key.into());
            row
        };
        lines
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(row)
            .collect()
    }

    /// The rows of an answer, of lines `what value`.
    pub fn plain_rows(key: &str, lines: &str) -> Vec<Row> {
        let row = |line: &str| -> Row {
            let (what, value) = line.split_once(' ').unwrap_or((line, ""));
            [("key", key), ("what", what), ("value", value)]
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.into()))
                .collect()
        };
        lines.lines().map(row).collect()
    }

    #[test]
    fn times_are_read_to_the_microsecond() {
        assert_eq!(
            moment("Wed 2026-11-25 01:06:31.755746 UTC"),
            Some(1_795_568_791_755_746)
        );
        assert_eq!(moment("Thu 1970-01-01 00:00:00.000001 UTC"), Some(1));
        assert_eq!(
            moment("Thu 2024-02-29 00:00:00 UTC"),
            Some(1_709_164_800_000_000)
        );
        assert_eq!(moment(""), None);
        assert_eq!(seconds("1795568791.26"), Some(1_795_568_791_260_000));
    }
}
