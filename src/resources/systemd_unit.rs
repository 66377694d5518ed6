//! `systemd_unit`: a unit of systemd, ours or somebody else's whose state is managed; where no systemd runs, the same by init scripts
//! or a supervisor of our own.
//!
//! A restart owed is no handler that has to be remembered by a run: it is the field `loaded`, what the unit has read of its files when
//! it was last started. That is kept on the machine (`/var/lib/provision/loaded/UNIT`), so it outlives any death.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::systemd::{self, Act, Manager, State};
use crate::command::{Question, Row, Text};
use crate::resource::{Field, Impact, Kind, Removal, Same, Step};
use crate::secret::sha256;

/// A unit of systemd.
#[derive(Clone, Debug, Default)]
pub struct SystemdUnit {
    /// Its name with the suffix, as in `nginx.service`.
    pub name: String,
    /// What it says; `None`: it is somebody else's, and only its state is managed. Never a secret: anybody on the machine can read it.
    pub content: Option<Text>,
    /// Whether it starts with the machine; `None`: not managed.
    pub start: Option<bool>,
    /// Whether it runs; `None`: not managed.
    pub running: Option<bool>,
    /// Files that it reads at its start: path, and SHA-256 of what each is wanted to hold (empty: whatever it holds now). A running
    /// unit whose last start read something else is restarted.
    pub reads: BTreeMap<String, String>,
    /// Files that it reads again at a reload, likewise.
    pub reloads: BTreeMap<String, String>,
    /// Declared files that add to its definition; of a unit of ours all others are removed.
    pub drop_ins: BTreeSet<String>,
    /// What only a machine knows.
    pub found: State,
}

impl SystemdUnit {
    fn digest(&self) -> Option<String> {
        self.content.as_ref().map(|content| sha256(content.expose().expose()))
    }

    /// The files that it reads at its start, its own among them where that is ours.
    fn reads(&self) -> BTreeMap<String, String> {
        let mut reads = self.reads.clone();
        if let Some(digest) = self.digest() {
            reads.insert(systemd::path(&self.name), digest);
        }
        reads
    }

    /// Files of which its run has read something else than what they should hold.
    fn owed(files: &BTreeMap<String, String>, state: &State) -> Vec<String> {
        let wanted = |digest: &String| (!digest.is_empty()).then(|| digest.clone());
        let differs = |(path, digest): &(&String, &String)| !state.has_loaded(path, wanted(digest).as_deref());
        files.iter().filter(differs).map(|(path, _)| path.clone()).collect()
    }

    fn loaded_field(&self, state: Option<&State>) -> Option<Field> {
        if self.reads.is_empty() && self.reloads.is_empty() && self.content.is_none() {
            return None;
        }
        let running = state.filter(|state| state.works());
        let owed = |files: &BTreeMap<String, String>| running.map(|state| Self::owed(files, state)).unwrap_or_default();
        let (restart, reload) = (owed(&self.reads()), owed(&self.reloads));
        let (verb, files, impact) = match (restart.is_empty(), reload.is_empty()) {
            (true, true) => return Some(Field::hidden("loaded", state.is_some(), Same::Yes, Impact::None)),
            (false, _) => ("restart", restart, Impact::Restart),
            (true, false) => ("reload", reload, Impact::Reload),
        };
        let what = match files.as_slice() {
            [one] => format!("{one} is not what it read"),
            many => format!("{} are not what it read", many.join(", ")),
        };
        Some(Field {
            from: Some(format!("{verb} owed: {what}")),
            ..Field::hidden("loaded", true, Same::No, impact)
        })
    }

    fn content_field(&self, state: Option<&State>) -> Option<Field> {
        let digest = self.digest()?;
        let seen = state.and_then(|state| state.files.get(&systemd::path(&self.name)));
        let shown = |digest: &str| format!("sha256 {}", digest.get(..12).unwrap_or(digest));
        let impact = match self.running {
            Some(false) => Impact::None,
            _ => Impact::Restart,
        };
        let mut field = Field::new("content", seen.map(|(digest, _)| shown(digest)), shown(&digest), impact);
        if seen.is_some_and(|(seen, _)| *seen != digest) {
            field.same = Same::No; // their beginnings may be equal
        }
        Some(field)
    }

    fn additions<'a>(&self, state: Option<&'a State>) -> Vec<&'a String> {
        match (state, &self.content) {
            (Some(state), Some(_)) => state.additions(&self.name, &self.drop_ins),
            _ => Vec::new(),
        }
    }

    /// The file that systemd has read in place of ours.
    fn elsewhere<'a>(&self, state: Option<&'a State>) -> Option<&'a str> {
        self.content.as_ref().and(state)?.elsewhere(&self.name)
    }

    /// The file by which something else than us makes the unit that this one would write, and its package.
    pub(crate) fn taken(&self, found: &Self) -> Vec<(String, String, String)> {
        let shipped = self.content.as_ref().and(found.found.shipped.clone());
        shipped.map(|(path, package)| (found.name.clone(), path, package)).into_iter().collect()
    }

    /// Whether a file of ours hides a unit that something else ships.
    pub(crate) fn hides(&self) -> bool {
        self.found.hides(&self.name)
    }

    /// What is done to a unit that is not there yet: it comes with a package that the same plan installs, or its file is ours. Such a
    /// package may start it before its files are as they should be.
    fn made(&self) -> Vec<&'static str> {
        let mut actions = Vec::new();
        if self.content.is_some() {
            actions.push("write");
        }
        actions.extend(self.start.map(|start| if start { "enable" } else { "disable" }));
        let reads = !self.reads.is_empty() || !self.reloads.is_empty();
        actions.extend(match self.running {
            Some(true) if self.content.is_none() && !reads => Some("start"),
            Some(true) => Some("restart"),
            Some(false) if self.content.is_none() => Some("stop"),
            Some(false) => None,
            None if self.reads.is_empty() && !self.reloads.is_empty() => Some("catch-up-reload"),
            None if reads => Some("catch-up"),
            None => None,
        });
        actions
    }

    fn mended(&self, state: &State) -> Vec<&'static str> {
        let mut actions = Vec::new();
        let systemd = state.manager == Manager::Systemd;
        let changed = self.content_field(Some(state)).is_some_and(|field| field.differs());
        let elsewhere = self.elsewhere(Some(state)).is_some();
        if changed || elsewhere && state.overrides(&self.name).is_none() {
            actions.push("write");
        }
        let additions = !self.additions(Some(state)).is_empty() || state.overrides(&self.name).filter(|_| elsewhere).is_some();
        if additions {
            actions.push("prune");
        }
        if state.stale {
            actions.push("again");
        }
        if systemd && state.masked() && (self.start == Some(true) || self.running == Some(true)) {
            actions.push("unmask");
        }
        if let Some(start) = self.start.filter(|start| systemd && state.starts(*start) != *start) {
            actions.push(if start { "enable" } else { "disable" });
        }
        let restart = changed || additions || elsewhere || !Self::owed(&self.reads(), state).is_empty();
        let reload = !Self::owed(&self.reloads, state).is_empty();
        actions.extend(match self.running {
            // One that fails over and over is not started by a start.
            Some(true) if !state.works() => Some("restart"),
            Some(true) if restart => Some("restart"),
            Some(true) if reload => Some("reload"),
            Some(true) => None,
            Some(false) if state.active == "inactive" || state.active == "failed" => None,
            Some(false) => Some("stop"),
            None if !state.works() => None,
            None if restart => Some("catch-up"),
            None if reload => Some("catch-up-reload"),
            None => None,
        });
        actions
    }

    fn sayings(&self, actions: &[&str]) -> String {
        let says = |action: &&str| match *action {
            "write" => "write the unit",
            "prune" => "remove what was added to it",
            "again" => "let systemd read it again",
            "catch-up" => "restart it if it runs",
            "catch-up-reload" => "reload it if it runs",
            "unmask" => "unmask it",
            "enable" => "let it start with the machine",
            "disable" => "let it not start with the machine",
            "start" => "start it",
            "stop" => "stop it",
            "restart" => "restart it",
            _ => "reload it",
        };
        actions.iter().map(says).collect::<Vec<_>>().join(", ")
    }
}

impl Kind for SystemdUnit {
    const NAME: &'static str = "systemd_unit";
    const QUESTION: Question = systemd::QUESTION;

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.name)
    }

    fn item(&self) -> Cow<'_, str> {
        let mut item = format!("{0}\nu {0}", self.name);
        if self.content.is_some() {
            item.push_str(&format!("\nc {}", self.name));
        }
        for path in self.reads.keys().chain(self.reloads.keys()) {
            item.push_str(&format!("\nf {path}"));
        }
        Cow::Owned(item)
    }

    fn read(&self, rows: &[Row]) -> Result<Option<Self>, String> {
        let found = State::read(&self.name, rows)?;
        Ok(found.map(|found| SystemdUnit { name: self.name.clone(), found, ..SystemdUnit::default() }))
    }

    fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        let state = found.map(|found| &found.found);
        let systemd = state.is_none_or(|state| state.manager == Manager::Systemd);
        let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
        let mut fields: Vec<Field> = self.content_field(state).into_iter().collect();
        for path in self.additions(state) {
            fields.push(Field::extra(format!("drop-in {path}"), "there", Impact::Restart));
        }
        if let Some(path) = self.elsewhere(state) {
            fields.push(Field::new("unit file", Some(path.to_owned()), systemd::path(&self.name), Impact::Restart));
        }
        if let Some(state) = state.filter(|_| systemd) {
            let says = if state.stale { "older than its file" } else { "as its file says" };
            fields.push(Field::new("definition", Some(says.to_owned()), "as its file says", Impact::None));
            if self.start == Some(true) || self.running == Some(true) {
                fields.push(Field::new("masked", Some(yes(state.masked())), "no", Impact::None));
            }
        }
        if let Some(start) = self.start.filter(|_| systemd) {
            fields.push(Field::new("start", state.map(|state| yes(state.starts(start))), yes(start), Impact::None));
        }
        if let Some(running) = self.running {
            let from = state.map(|state| match (running, state.active.as_str()) {
                // Stopped is stopped, however it ended, and what runs to its end does not run.
                (false, "failed" | "inactive") => "no".to_owned(),
                _ => state.says(),
            });
            let impact = if running { Impact::None } else { Impact::Restart };
            fields.push(Field::new("running", from, yes(running), impact));
        }
        fields.extend(self.loaded_field(state));
        fields
    }

    fn texts(&self, field: &str, found: &Self) -> Option<(String, String)> {
        let content = self.content.as_ref().filter(|content| field == "content" && !content.is_secret())?;
        Some((found.found.text.clone()?, content.shown()))
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        let state = found.map(|found| &found.found);
        let actions = match state {
            None => self.made(),
            Some(state) => self.mended(state),
        };
        if actions.is_empty() {
            return Vec::new();
        }
        let impact = match actions.last() {
            Some(&("restart" | "stop" | "catch-up")) => Impact::Restart,
            Some(&("reload" | "catch-up-reload")) => Impact::Reload,
            _ => Impact::None,
        };
        let reads = self.reads();
        let act = Act {
            unit: &self.name,
            content: self.content.clone().unwrap_or_default(),
            reads: reads.keys().chain(self.reloads.keys()).map(String::as_str).collect(),
            prune: {
                let over = self.content.as_ref().and(state).and_then(|state| state.overrides(&self.name));
                self.additions(state).into_iter().map(String::as_str).chain(over).collect()
            },
            actions,
        };
        vec![systemd::step(self.sayings(&act.actions), impact, vec![act])]
    }

    fn named(key: &str) -> Option<Self> {
        Some(SystemdUnit { name: key.to_owned(), ..SystemdUnit::default() })
    }

    /// Only a unit whose file is ours is removed; of others the state stays as it is.
    fn remove(&self) -> Removal {
        if !self.found.ours(&self.name) {
            return Removal::Forget;
        }
        let actions = match self.found.load.as_str() {
            "template" => vec!["forget"],
            // The unit of a package that it hid is as it was before.
            _ if self.hides() => vec!["stop", "forget", "revive"],
            _ => vec!["disable", "stop", "forget"],
        };
        let act = Act { unit: &self.name, actions, ..Act::default() };
        Removal::Steps(vec![systemd::step("stop and remove the unit", Impact::Restart, vec![act])])
    }
}

#[cfg(test)]
mod tests {
    use super::super::systemd::tests::rows;
    use super::*;
    use crate::command::{Do, Script};

    fn web() -> SystemdUnit {
        SystemdUnit {
            name: "web.service".to_owned(),
            content: Some(Text::plain("[Service]\nExecStart=/bin/web\n")),
            start: Some(true),
            running: Some(true),
            reads: [("/etc/web.env".to_owned(), "aa".to_owned())].into(),
            reloads: [("/etc/web.conf".to_owned(), "bb".to_owned())].into(),
            ..SystemdUnit::default()
        }
    }

    fn nginx() -> SystemdUnit {
        SystemdUnit { name: "nginx.service".to_owned(), reloads: [("/etc/nginx.conf".to_owned(), "bb".to_owned())].into(), ..SystemdUnit::default() }
    }

    fn state(unit: &SystemdUnit, changes: &[(&str, &str)]) -> String {
        let own = unit.digest().unwrap_or_default();
        let name = &unit.name;
        let mut lines = vec![
            format!("{name} LoadState loaded"),
            format!("{name} ActiveState active"),
            format!("{name} UnitFileState enabled"),
            format!("{name} NeedDaemonReload no"),
            format!("{name} InvocationID r1"),
            format!("{name} InactiveExitTimestamp Wed 2026-11-25 01:06:31.000000 UTC"),
            format!("{name} stamp r1"),
            format!("{name} loaded aa  /etc/web.env"),
            format!("{name} loaded bb  /etc/web.conf"),
            format!("{name} loaded bb  /etc/nginx.conf"),
            format!("{name} loaded {own}  /etc/systemd/system/{name}"),
            format!("/etc/systemd/system/{name} file {own} 1795568000.0"),
            "/etc/web.env file aa 1795568000.0".to_owned(),
            "/etc/web.conf file bb 1795568000.0".to_owned(),
            "/etc/nginx.conf file bb 1795568000.0".to_owned(),
        ];
        for (from, to) in changes {
            lines.retain(|line| !line.contains(from));
            lines.extend((!to.is_empty()).then(|| (*to).to_owned()));
        }
        lines.join("\n")
    }

    /// What differs and what is done about it.
    fn judged(unit: &SystemdUnit, changes: &[(&str, &str)]) -> (String, String) {
        let found = unit.read(&rows(&unit.name, &state(unit, changes))).unwrap();
        let fields = unit.fields(found.as_ref());
        let differing = fields.iter().filter(|field| field.differs()).map(|field| {
            let words = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
            format!("{} {} -> {}", field.name, words(&field.from), words(&field.to))
        });
        let actions = unit.steps(found.as_ref()).into_iter().map(|step| match step.does {
            Do::Script(Script { words, .. }) => words[1].shown(),
            _ => String::new(),
        });
        (differing.collect::<Vec<_>>().join("; "), actions.collect::<Vec<_>>().join("; "))
    }

    #[test]
    fn nothing_differs_and_nothing_is_done() {
        assert_eq!(judged(&web(), &[]), (String::new(), String::new()));
        assert_eq!(judged(&nginx(), &[("UnitFileState", ""), ("ActiveState", "nginx.service ActiveState inactive")]), (String::new(), String::new()));
    }

    #[test]
    fn a_restart_is_owed_until_it_is_done() {
        let owed = ("loaded restart owed: /etc/web.env is not what it read -> as declared".to_owned(), "restart".to_owned());
        // The file is as wanted, and the run that reads it began with another.
        assert_eq!(judged(&web(), &[("loaded aa", "web.service loaded 99  /etc/web.env")]), owed);
        // The file will be changed by the same plan.
        assert_eq!(judged(&web(), &[("loaded aa", "web.service loaded 99  /etc/web.env"), ("/etc/web.env file", "/etc/web.env file 99 1795568000.0")]), owed);
        // Somebody else has restarted it, before the file changed.
        let others = ("InvocationID", "web.service InvocationID r2");
        assert_eq!(judged(&web(), &[others, ("/etc/web.env file", "/etc/web.env file aa 1795568999.0")]), owed);
        assert_eq!(judged(&web(), &[others]), (String::new(), String::new()));
        // Nobody knows when it began.
        assert!(judged(&web(), &[others, ("InactiveExit", "")]).0.starts_with("loaded restart owed"));
        // It does not run, so it will read what is there.
        let stopped = judged(&web(), &[("ActiveState", "web.service ActiveState inactive"), ("loaded aa", "")]);
        assert_eq!(stopped, ("running no -> yes".to_owned(), "restart".to_owned()));
    }

    #[test]
    fn what_is_read_again_at_a_reload_costs_a_reload() {
        let reload = judged(&web(), &[("loaded bb  /etc/web.conf", "web.service loaded 99  /etc/web.conf")]);
        assert_eq!(reload, ("loaded reload owed: /etc/web.conf is not what it read -> as declared".to_owned(), "reload".to_owned()));
        let reload = judged(&nginx(), &[("loaded bb  /etc/nginx.conf", "nginx.service loaded 99  /etc/nginx.conf")]);
        assert_eq!(reload.1, "catch-up-reload");
    }

    #[test]
    fn each_drift_is_a_field_and_is_mended() {
        let one = |from: &str, to: &str| judged(&web(), &[(from, to)]);
        assert_eq!(one("UnitFileState", "web.service UnitFileState disabled"), ("start no -> yes".to_owned(), "enable".to_owned()));
        assert_eq!(one("NeedDaemonReload", "web.service NeedDaemonReload yes"), ("definition older than its file -> as its file says".to_owned(), "again".to_owned()));
        assert_eq!(one("ActiveState", "web.service ActiveState failed"), ("running failed -> yes".to_owned(), "restart".to_owned()));
        assert_eq!(
            one("DropIn", "web.service DropInPaths /etc/systemd/system/web.service.d/override.conf /usr/lib/systemd/system/service.d/x.conf"),
            ("drop-in /etc/systemd/system/web.service.d/override.conf there -> none".to_owned(), "prune restart".to_owned())
        );
        let (fields, actions) = one("/etc/systemd/system/web.service file", "/etc/systemd/system/web.service file ff 1795568000.0");
        assert!(fields.starts_with("content sha256 ff -> sha256 "), "{fields}");
        assert_eq!(actions, "write restart");
        let masked = judged(&web(), &[("LoadState", "web.service LoadState masked"), ("UnitFileState", "web.service UnitFileState masked"), ("ActiveState", "web.service ActiveState inactive")]);
        assert_eq!(masked, ("masked yes -> no; start no -> yes; running no -> yes".to_owned(), "unmask enable restart".to_owned()));
    }

    #[test]
    fn a_unit_that_is_not_there_is_made() {
        assert_eq!(judged(&web(), &[("LoadState", "web.service LoadState not-found")]).1, "write enable restart");
        assert_eq!(judged(&nginx(), &[("LoadState", "nginx.service LoadState not-found")]).1, "catch-up-reload");
        assert!(web().read(&[]).is_err());
    }

    #[test]
    fn a_job_that_ended_well_does_what_it_is_for() {
        let unit = SystemdUnit { content: None, reads: BTreeMap::new(), reloads: BTreeMap::new(), start: None, ..web() };
        let inactive = [("ActiveState", "web.service ActiveState inactive"), ("Type", "web.service Type oneshot"), ("Result", "web.service Result success")];
        assert_eq!(judged(&unit, &inactive), (String::new(), String::new()));
    }

    #[test]
    fn only_our_own_unit_is_removed() {
        let removal = |changes: &[(&str, &str)]| web().read(&rows("web.service", &state(&web(), changes))).unwrap().unwrap().remove();
        assert!(matches!(removal(&[]), Removal::Steps(_)));
        assert!(matches!(removal(&[("loaded", "web.service LoadState loaded"), ("stamp", "")]), Removal::Forget));
    }
}
