//! `timer`: a program that is run at times, as two units of systemd: `NAME.service`, which runs it once, and `NAME.timer`, which
//! starts that.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::systemd::{self, Act, Manager, State};
use crate::command::{Question, Row, Text};
use crate::quote::exec_line;
use crate::resource::{Field, Impact, Kind, Removal, Same, Step};
use crate::secret::sha256;

/// A program that systemd runs at times.
#[derive(Clone, Debug, Default)]
pub struct Timer {
    /// Its name without a suffix.
    pub name: String,
    /// The program, by its absolute path, and its arguments; it runs without a shell.
    pub command: Vec<String>,
    /// When, as systemd says it.
    pub calendar: String,
    /// The user it runs as.
    pub user: String,
    /// Declared files that add to the definition of one of its units, and the SHA-256 of what each should hold.
    pub drop_ins: BTreeMap<String, String>,
    /// What only a machine knows: the service, and the timer.
    pub found: (Option<State>, Option<State>),
}

const CALENDAR: &str = r#"
[ -d /run/systemd/system ] || die "timers need systemd, which does not run on this machine"
said=$(systemd-analyze calendar -- "$1" 2>&1) || die "systemd does not know when \`$1\` is: $said"
"#;

impl Timer {
    fn service(&self) -> String {
        format!("{}.service", self.name)
    }

    fn timer(&self) -> String {
        format!("{}.timer", self.name)
    }

    /// What the two files say.
    fn texts(&self) -> (String, String) {
        let name = &self.name;
        let service = format!(
            "[Unit]\nDescription={name}, run by {name}.timer\n\n[Service]\nType=oneshot\nUser={}\nExecStart={}\n",
            self.user,
            exec_line(&self.command).unwrap_or_default()
        );
        let timer = format!(
            "[Unit]\nDescription=Runs {name}.service\n\n[Timer]\nOnCalendar={}\nPersistent=true\n\n[Install]\nWantedBy=timers.target\n",
            self.calendar
        );
        (service, timer)
    }

    /// Whether the files of a found one are as they should be, the service's and the timer's.
    fn same(&self, found: &Self) -> (bool, bool) {
        let (service, timer) = self.texts();
        let same = |state: &Option<State>, unit: String, text: &str| {
            let file = state.as_ref().and_then(|state| state.files.get(&systemd::path(&unit)));
            file.is_some_and(|(digest, _)| *digest == sha256(text))
        };
        (same(&found.found.0, self.service(), &service), same(&found.found.1, self.timer(), &timer))
    }
}

/// Files that add to a unit and that nobody declared, and what systemd has read in place of its file.
struct Odd<'a> {
    unit: String,
    additions: Vec<&'a str>,
    elsewhere: Option<&'a str>,
    overrides: Option<&'a str>,
    masked: bool,
}

impl Odd<'_> {
    fn prune(&self) -> Vec<&str> {
        self.additions.iter().copied().chain(self.overrides).collect()
    }
}

impl Timer {
    /// What was changed around its two units, the service's and the timer's.
    fn odd<'a>(&self, found: &'a Self) -> [Odd<'a>; 2] {
        let declared: BTreeSet<String> = self.drop_ins.keys().cloned().collect();
        let of = |unit: String, state: &'a Option<State>| {
            let state = state.as_ref();
            Odd {
                additions: state.map(|state| state.additions(&unit, &declared)).unwrap_or_default().into_iter().map(String::as_str).collect(),
                elsewhere: state.and_then(|state| state.elsewhere(&unit)),
                overrides: state.and_then(|state| state.overrides(&unit)),
                masked: state.is_some_and(State::masked),
                unit,
            }
        };
        [of(self.service(), &found.found.0), of(self.timer(), &found.found.1)]
    }

    /// Declared drop-ins that do not hold yet what they should: systemd has to read them once they do.
    fn unread(&self, found: &Self, unit: &str) -> bool {
        let folder = format!("/etc/systemd/system/{unit}.d/");
        let states = [&found.found.0, &found.found.1];
        let now = |path: &String| states.iter().find_map(|state| state.as_ref()?.files.get(path)).map(|(digest, _)| digest);
        self.drop_ins.iter().any(|(path, digest)| path.starts_with(&folder) && now(path) != Some(digest))
    }

    /// The units that it would write and something else makes: unit, file, package.
    pub(crate) fn taken(&self, found: &Self) -> Vec<(String, String, String)> {
        let of = |unit: String, state: &Option<State>| {
            let (path, package) = state.as_ref()?.shipped.clone()?;
            Some((unit, path, package))
        };
        [of(self.service(), &found.found.0), of(self.timer(), &found.found.1)].into_iter().flatten().collect()
    }

    /// Whether a file of ours hides a unit that something else ships.
    pub(crate) fn hides(&self) -> bool {
        let of = |unit: &str, state: &Option<State>| state.as_ref().is_some_and(|state| state.hides(unit));
        of(&self.service(), &self.found.0) || of(&self.timer(), &self.found.1)
    }
}

/// The value of a line of a unit.
fn line(state: Option<&State>, key: &str) -> String {
    let text = state.and_then(|state| state.text.as_deref()).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    value.unwrap_or_default().trim().to_owned()
}

impl Kind for Timer {
    const NAME: &'static str = "timer";
    const QUESTION: Question = systemd::QUESTION;

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.name)
    }

    fn item(&self) -> Cow<'_, str> {
        let (service, timer) = (self.service(), self.timer());
        let mut item = format!("{}\nu {service}\nc {service}\nu {timer}\nc {timer}", self.name);
        for path in self.drop_ins.keys() {
            item.push_str(&format!("\nf {path}"));
        }
        Cow::Owned(item)
    }

    fn read(&self, rows: &[Row]) -> Result<Option<Self>, String> {
        let (service, timer) = (State::read(&self.service(), rows)?, State::read(&self.timer(), rows)?);
        if service.is_none() && timer.is_none() {
            return Ok(None);
        }
        Ok(Some(Timer { name: self.name.clone(), found: (service, timer), ..Timer::default() }))
    }

    fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        let service = found.and_then(|found| found.found.0.as_ref());
        let timer = found.and_then(|found| found.found.1.as_ref());
        let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
        let of = |state: Option<&State>, key: &str| found.map(|_| line(state, key));
        let command = exec_line(&self.command).unwrap_or_default();
        let mut fields = vec![
            Field::new("command", of(service, "ExecStart"), command, Impact::None),
            Field::new("calendar", of(timer, "OnCalendar"), &self.calendar, Impact::None),
            Field::new("user", of(service, "User"), &self.user, Impact::None),
        ];
        if let Some(found) = found {
            let same = match self.same(found) {
                (true, true) => Same::Yes,
                _ => Same::No,
            };
            fields.push(Field::hidden("units", true, same, Impact::None));
            for odd in self.odd(found) {
                for path in &odd.additions {
                    fields.push(Field::extra(format!("drop-in {path}"), *path, Impact::None));
                }
                if let Some(path) = odd.elsewhere {
                    fields.push(Field::new(format!("file of {}", odd.unit), Some(path.to_owned()), systemd::path(&odd.unit), Impact::None));
                }
                if odd.masked {
                    fields.push(Field::new(format!("masked {}", odd.unit), Some("yes".to_owned()), "no", Impact::None));
                }
            }
            let stale = [service, timer].into_iter().flatten().any(|state| state.stale)
                || [self.service(), self.timer()].iter().any(|unit| self.unread(found, unit));
            let says = if stale { "older than their files" } else { "as their files say" };
            fields.push(Field::new("definition", Some(says.to_owned()), "as their files say", Impact::None));
        }
        let systemd = timer.filter(|state| state.manager == Manager::Systemd);
        fields.push(Field::new("start", found.map(|_| yes(systemd.is_some_and(|state| state.starts(true)))), "yes", Impact::None));
        fields.push(Field::new("running", found.map(|_| systemd.map_or("no".to_owned(), State::says)), "yes", Impact::None));
        fields
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        if found.is_some() && !self.fields(found).iter().any(Field::differs) {
            return Vec::new();
        }
        let (service, timer) = (self.service(), self.timer());
        let (own, file) = (systemd::path(&service), systemd::path(&timer));
        let same = found.map_or((false, false), |found| self.same(found));
        let (service_text, timer_text) = self.texts();
        let state = found.and_then(|found| found.found.1.as_ref());
        let odd = found.map(|found| self.odd(found));
        let [odd_service, odd_timer] = match &odd {
            Some([service, timer]) => [Some(service), Some(timer)],
            None => [None, None],
        };
        let replaced = |odd: Option<&Odd<'_>>| odd.is_some_and(|odd| odd.masked || odd.elsewhere.is_some() && odd.overrides.is_none());
        let pruned = |odd: Option<&Odd<'_>>| odd.map(|odd| odd.prune().into_iter().map(str::to_owned).collect()).unwrap_or_default();
        let (prune_service, prune_timer): (Vec<String>, Vec<String>) = (pruned(odd_service), pruned(odd_timer));
        let unread = |unit: &str| found.is_some_and(|found| self.unread(found, unit));
        let stale = |state: Option<&State>| state.is_some_and(|state| state.stale);
        let mut actions = Vec::new();
        let mut service_actions = vec![if same.0 && !replaced(odd_service) { "again" } else { "write" }];
        if !prune_service.is_empty() {
            service_actions.push("prune");
        }
        if odd_service.is_some_and(|odd| odd.masked) {
            service_actions.push("unmask");
        }
        if !same.1 || replaced(odd_timer) {
            actions.push("write");
        }
        if !prune_timer.is_empty() {
            actions.push("prune");
        }
        if !state.is_some_and(|state| state.starts(true)) || odd_timer.is_some_and(|odd| odd.masked) {
            actions.extend(["unmask", "enable"]);
        }
        let moved = !prune_timer.is_empty() || odd_timer.is_some_and(|odd| odd.elsewhere.is_some()) || unread(&timer) || stale(state);
        if !same.1 || moved || !state.is_some_and(State::works) {
            actions.push("restart");
        }
        let acts = vec![
            Act {
                unit: &service,
                actions: service_actions,
                content: Text::plain(service_text),
                reads: vec![&own],
                prune: prune_service.iter().map(String::as_str).collect(),
            },
            Act {
                unit: &timer,
                actions,
                content: Text::plain(timer_text),
                reads: vec![&file],
                prune: prune_timer.iter().map(String::as_str).collect(),
            },
        ];
        vec![
            Step::script("see whether systemd knows that calendar", CALENDAR, [Text::plain(&self.calendar)]),
            systemd::step("write the two units and start the timer", Impact::None, acts),
        ]
    }

    fn named(key: &str) -> Option<Self> {
        Some(Timer { name: key.to_owned(), ..Timer::default() })
    }

    fn remove(&self) -> Removal {
        let (service, timer) = (self.service(), self.timer());
        let ours = |state: &Option<State>, unit: &str| state.as_ref().is_some_and(|state| state.ours(unit));
        if !ours(&self.found.1, &timer) && !ours(&self.found.0, &service) {
            return Removal::Forget;
        }
        let act = |unit, actions| Act { unit, actions, ..Act::default() };
        let hides = |state: &Option<State>, unit: &str| state.as_ref().is_some_and(|state| state.hides(unit));
        // The unit of a package that one of them hid is as it was before.
        let acts = vec![
            match (ours(&self.found.1, &timer), hides(&self.found.1, &timer)) {
                (true, false) => act(timer.as_str(), vec!["disable", "stop", "forget"]),
                (true, true) => act(timer.as_str(), vec!["forget", "revive"]),
                (false, _) => act(timer.as_str(), Vec::new()),
            },
            match (ours(&self.found.0, &service), hides(&self.found.0, &service)) {
                (true, false) => act(service.as_str(), vec!["forget"]),
                (true, true) => act(service.as_str(), vec!["forget", "revive"]),
                (false, _) => act(service.as_str(), Vec::new()),
            },
        ];
        Removal::Steps(vec![systemd::step("stop and remove the timer", Impact::None, acts)])
    }
}

#[cfg(test)]
mod tests {
    use super::super::systemd::tests::rows;
    use super::*;
    use crate::command::{Do, Script};

    fn backup() -> Timer {
        Timer {
            name: "backup".to_owned(),
            command: vec!["/usr/bin/rsync".to_owned(), "-a".to_owned(), "/srv/100%/".to_owned()],
            calendar: "Mon..Fri 02:00".to_owned(),
            user: "root".to_owned(),
            ..Timer::default()
        }
    }

    fn found(change: (&str, &str)) -> Option<Timer> {
        let (service, timer) = backup().texts();
        let mut lines = String::new();
        for (unit, text) in [("backup.service", service.replace(change.0, change.1)), ("backup.timer", timer.replace(change.0, change.1))] {
            let digest = sha256(&text);
            let text = text.replace('\n', "\\n");
            let path = systemd::path(unit);
            lines.push_str(&format!(
                "{unit} LoadState loaded\n{unit} ActiveState active\n{unit} UnitFileState enabled\n{path} file {digest} 1.0\n{path} text {text}\n"
            ));
        }
        backup().read(&rows("backup", &lines)).unwrap()
    }

    fn differing(found: Option<&Timer>) -> Vec<String> {
        let fields = backup().fields(found);
        fields.iter().filter(|field| field.differs()).map(|field| field.name.to_string()).collect()
    }

    #[test]
    fn a_timer_differs_by_what_it_says() {
        let same = found(("", ""));
        assert_eq!(differing(same.as_ref()), Vec::<String>::new());
        assert!(backup().steps(same.as_ref()).is_empty());
        assert_eq!(differing(found(("02:00", "03:00")).as_ref()), ["calendar", "units"]);
        assert_eq!(differing(found(("-a", "-b")).as_ref()), ["command", "units"]);
        assert_eq!(differing(found(("Persistent=true\n", "")).as_ref()), ["units"]);
        assert_eq!(differing(None), ["command", "calendar", "user", "start", "running"]);
    }

    #[test]
    fn only_a_new_time_starts_the_timer_again() {
        let actions = |timer: Option<&Timer>| {
            let mut steps = backup().steps(timer);
            match steps.pop().unwrap().does {
                Do::Script(Script { words, .. }) => (words[1].shown(), words[6].shown()),
                _ => panic!("no script"),
            }
        };
        assert_eq!(actions(found(("-a", "-b")).as_ref()), ("write".to_owned(), String::new()));
        assert_eq!(actions(found(("02:00", "03:00")).as_ref()), ("again".to_owned(), "write restart".to_owned()));
        assert_eq!(actions(None), ("write".to_owned(), "write unmask enable restart".to_owned()));
    }

    #[test]
    fn a_command_is_one_line_that_systemd_reads_back() {
        assert!(backup().texts().0.contains("ExecStart=/usr/bin/rsync -a \"/srv/100%%/\"\n"));
    }
}
