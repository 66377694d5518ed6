//! The journal of a run: what is about to be done, before it is done, and how it ended, behind it. Beside the environment for all of
//! it, and on each machine for what is done there by scripts; so after any death somebody knows what is done, what is not, and of what
//! nobody can say.
//!
//! A text of lines: a heading as JSON, then a word and an id as JSON a line. Lines are only added; one that was cut off, or that holds
//! nothing, is none.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::command::{Ask, Question};
use crate::plan::memory::Unusable;
use crate::resource::Id;

/// The version of the format; a journal of a later one is refused and never rewritten.
pub const FORMAT: u64 = 1;

/// Longer journals are not read.
pub const MOST: usize = 32 << 20;

/// The journal of a machine and who holds its lock; its item is [`crate::plan::memory::name`].
pub const QUESTION: Question = Question {
    name: "journal",
    ask: Ask::Machine {
        body: r#"
for name in "$@"; do
    path=/var/lib/provision/$name.run text='' held='' holder=''
    if [ -L "$path" ] || { [ -e "$path" ] && [ ! -f "$path" ]; }; then die "\`$path\` is no plain file"; fi
    [ ! -e "$path" ] || text=$(b64 < "$path")
    for folder in /run /var/lib/provision "${XDG_RUNTIME_DIR:-$HOME}"; do
        lock=$folder/provision-${name%%.*}.lock
        [ -f "$lock" ] && [ ! -L "$lock" ] || continue
        # Whoever wants it waits a moment, so this keeps nobody from it.
        flock -s -n "$lock" true 2> /dev/null && continue
        held=held
        IFS= read -r holder < "$lock" || :
        break
    done
    row "$name" "$text" "$held" "$(printf '%s' "$holder" | b64)"
done
"#,
        columns: &["key", "journal", "held", "holder"],
    },
};

/// Where a machine keeps it, by [`crate::plan::memory::name`].
pub fn path(name: &str) -> String {
    format!("/var/lib/provision/{name}.run")
}

/// Begins the journal of a run on a machine: its words are the path, the heading with what is planned, and the last format that is
/// known; one of a later format is said, and ends it with 78. A session that is made anew
/// goes on with the one that is there.
pub const OPEN: &str = r#"
path=$1 nl='
'
heading=${2%%"$nl"*}
if [ -L "$path" ] || { [ -e "$path" ] && [ ! -f "$path" ]; }; then die "\`$path\` is no plain file"; fi
if [ -e "$path" ]; then
    IFS= read -r old < "$path" || :
    [ "$old" != "$heading" ] || exit 0
    # A later version of the program wrote it: not rewritten.
    format=${old#'{"journal":'}
    [ "$format" = "$old" ] || format=${format%%[!0-9]*}
    case $format in
    '' | *[!0-9]* | 0* | ?????*) ;;
    *) [ "$format" -le "$3" ] || { printf '%s\n' "$format"; exit 78; } ;;
    esac
fi
[ -d "${path%/*}" ] || mkdir -m 0700 -- "${path%/*}" || die "cannot make \`${path%/*}\`"
put_text "$2" "$path" root root 0600
"#;

/// Ends it: path, heading, last line. Where another run has begun its own meanwhile, that one is left alone.
pub const CLOSE: &str = r#"
[ -f "$1" ] && IFS= read -r old < "$1" && [ "$old" = "$2" ] || exit 0
printf '%s\n' "$3" >> "$1"
"#;

/// Which run it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heading {
    /// A number that no other run has.
    pub run: String,
    /// What is done, as in `apply prod`.
    pub doing: String,
    /// By whom, as in `maria@laptop`.
    pub by: String,
    /// The number of its process there.
    pub process: u32,
    /// Since when, as in `2026-11-25T10:42:00Z`.
    pub at: String,
}

/// How far a change has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is planned, and was not begun.
    NotDone,
    /// It was begun, and nobody wrote down how it ended.
    Unknown,
    /// It was done.
    Done,
    /// It failed.
    Failed,
}

impl State {
    /// In words, as in the JSON.
    pub fn word(self) -> &'static str {
        match self {
            State::NotDone => "not done",
            State::Unknown => "unknown",
            State::Done => "done",
            State::Failed => "failed",
        }
    }
}

/// How a whole run ended, for its last line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// All that was planned is done and was seen again.
    Done,
    /// Something failed, is unknown, or was not done.
    Failed,
    /// Somebody stopped it.
    Interrupted,
}

impl Over {
    const ALL: [Over; 3] = [Over::Done, Over::Failed, Over::Interrupted];

    /// One word.
    pub fn word(self) -> &'static str {
        match self {
            Over::Done => "done",
            Over::Failed => "failed",
            Over::Interrupted => "interrupted",
        }
    }
}

/// A change in a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What is changed.
    pub id: String,
    /// The machine whose own journal knows more of it; none for what is not done by scripts of a machine.
    pub machine: Option<String>,
    /// How far it has come.
    pub state: State,
}

/// A journal that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// Which run it is of.
    pub heading: Heading,
    /// What was planned or begun, in order.
    pub entries: Vec<Entry>,
    /// How it ended; none where nobody wrote that down.
    pub over: Option<Over>,
}

/// What is written down on a machine around a script: whole lines, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// Before it: the changes that begin with it.
    pub begins: String,
    /// When it has ended well: the changes that are over.
    pub done: String,
    /// When it has failed.
    pub failed: String,
}

impl Note {
    /// Of a script: the changes that begin with it, those that are over when it is, and all that it belongs to.
    pub fn new<'a>(
        begins: impl Iterator<Item = &'a Id>,
        ends: impl Iterator<Item = &'a Id>,
        of: impl Iterator<Item = &'a Id>,
    ) -> Self {
        Note {
            begins: lines("begin", begins),
            done: lines("done", ends),
            failed: lines("failed", of),
        }
    }
}

fn lines<'a>(word: &str, ids: impl Iterator<Item = &'a Id>) -> String {
    let lines: Vec<String> = ids.map(|id| line(word, id)).collect();
    lines.join("\n")
}

/// One line, without its end.
fn line(word: &str, id: &Id) -> String {
    format!("{word} {}", json!(id.as_str()))
}

/// The line of a change that begins.
pub fn begins(id: &Id) -> String {
    line("begin", id)
}

/// The line of how a change ended, or did not begin.
pub fn ended(id: &Id, state: State) -> String {
    let word = match state {
        State::NotDone => "left",
        State::Unknown => "unknown",
        State::Done => "done",
        State::Failed => "failed",
    };
    line(word, id)
}

/// The last line of a run.
pub fn over(over: Over) -> String {
    format!("over {}", over.word())
}

fn damaged(why: &str) -> Unusable {
    Unusable::Damaged(why.to_owned())
}

impl Heading {
    /// Its line.
    fn line(&self) -> String {
        json!({
            "journal": FORMAT, "run": self.run, "doing": self.doing, "by": self.by,
            "process": self.process, "at": self.at,
        })
        .to_string()
    }

    fn parse(line: &str) -> Result<Self, Unusable> {
        let json: Value =
            serde_json::from_str(line).map_err(|error| Unusable::Damaged(error.to_string()))?;
        match json.get("journal").and_then(Value::as_u64) {
            Some(FORMAT) => {}
            Some(later) if later > FORMAT => return Err(Unusable::Newer(later)),
            _ => return Err(damaged("its version is none")),
        }
        let text = |key: &str| Some(json.get(key)?.as_str()?.to_owned());
        let process = json.get("process").and_then(Value::as_u64);
        let heading = (|| {
            Some(Heading {
                run: text("run")?,
                doing: text("doing")?,
                by: text("by")?,
                process: u32::try_from(process?).ok()?,
                at: text("at")?,
            })
        })();
        heading.ok_or_else(|| damaged("its heading makes no sense"))
    }

    /// How a journal begins: the heading, and what is planned with the machine whose scripts do it.
    pub fn with_plan<'a>(
        &self,
        planned: impl Iterator<Item = (&'a Id, Option<&'a Arc<str>>)>,
    ) -> String {
        let mut text = self.line();
        text.push('\n');
        for (id, machine) in planned {
            text.push_str(&line("plan", id));
            if let Some(machine) = machine {
                text.push_str(&format!(" {}", json!(**machine)));
            }
            text.push('\n');
        }
        text
    }
}

impl Journal {
    /// Reads a journal, also one that was cut off anywhere.
    ///
    /// # Errors
    /// What is wrong with its heading.
    pub fn parse(text: &str) -> Result<Self, Unusable> {
        // The last line is whole only with its end.
        let whole = text
            .rfind('\n')
            .map_or("", |end| text.get(..end).unwrap_or_default());
        let mut lines = whole.split('\n').filter(|line| !line.is_empty());
        let heading = Heading::parse(lines.next().ok_or_else(|| damaged("it has no heading"))?)?;
        let mut journal = Journal {
            heading,
            entries: Vec::new(),
            over: None,
        };
        let mut at: HashMap<String, usize> = HashMap::new();
        for line in lines {
            let Some((word, rest)) = line.split_once(' ') else {
                continue;
            };
            if word == "over" {
                journal.over = Over::ALL.into_iter().find(|over| over.word() == rest);
                continue;
            }
            let mut values = serde_json::Deserializer::from_str(rest).into_iter::<String>();
            let Some(Ok(id)) = values.next() else {
                continue;
            };
            let machine = values.next().and_then(Result::ok);
            let state = match word {
                "plan" | "left" => State::NotDone,
                "begin" | "unknown" => State::Unknown,
                "done" => State::Done,
                "failed" => State::Failed,
                _ => continue,
            };
            match at
                .get(&id)
                .and_then(|entry| journal.entries.get_mut(*entry))
            {
                Some(entry) => {
                    entry.state = state;
                    entry.machine = machine.or(entry.machine.take());
                }
                None => {
                    at.insert(id.clone(), journal.entries.len());
                    journal.entries.push(Entry { id, machine, state });
                }
            }
        }
        Ok(journal)
    }

    /// Lets the journals of machines say what this one does not know: whether what was begun was done there. `asked` gives the
    /// journal of a machine, if it has one; `None` where it could not be asked.
    pub fn refine(&mut self, asked: impl Fn(&str) -> Option<Option<Journal>>) {
        let mut known: HashMap<String, Option<HashMap<String, State>>> = HashMap::new();
        for entry in &mut self.entries {
            let (State::Unknown, Some(machine)) = (entry.state, &entry.machine) else {
                continue;
            };
            let there = known.entry(machine.clone()).or_insert_with(|| {
                match asked(machine)? {
                    // Nothing of this run was begun there.
                    None => Some(HashMap::new()),
                    Some(other) if other.heading.run == self.heading.run => {
                        let entries = other.entries.into_iter();
                        Some(entries.map(|entry| (entry.id, entry.state)).collect())
                    }
                    Some(other) if other.heading.at < self.heading.at => Some(HashMap::new()),
                    // Another run came later: what this one did there is written nowhere any more.
                    Some(_) => None,
                }
            });
            if let Some(there) = there {
                entry.state = there.get(&entry.id).copied().unwrap_or(State::NotDone);
            }
        }
    }

    /// The ids of a state, in order.
    pub fn of(&self, state: State) -> Vec<&str> {
        let entries = self.entries.iter().filter(|entry| entry.state == state);
        entries.map(|entry| entry.id.as_str()).collect()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::State::{Done, NotDone, Unknown};
    use super::*;

    fn heading(run: &str, at: &str) -> Heading {
        Heading {
            run: run.to_owned(),
            doing: "apply prod".to_owned(),
            by: "maria@laptop".to_owned(),
            process: 7,
            at: at.to_owned(),
        }
    }

    fn ids() -> [Id; 3] {
        ["file.a:/x", "file.a:/with\n\"end\"", "container.b"].map(Id::parse)
    }

    fn text() -> String {
        let [one, two, three] = &ids();
        let machine: Arc<str> = "a".into();
        let planned = [(one, Some(&machine)), (two, Some(&machine)), (three, None)];
        heading("r", "2026-11-25T10:42:00Z").with_plan(planned.into_iter())
    }

    fn states(journal: &Journal) -> Vec<State> {
        journal.entries.iter().map(|entry| entry.state).collect()
    }

    #[test]
    fn what_was_begun_and_not_ended_is_unknown() {
        let [one, two, _] = &ids();
        let mut text = text();
        for line in [begins(one), begins(two), ended(one, Done), String::new()] {
            text.push_str(&line);
            text.push('\n');
        }
        let journal = Journal::parse(&text).unwrap();
        assert_eq!(journal.heading, heading("r", "2026-11-25T10:42:00Z"));
        assert_eq!(states(&journal), [Done, Unknown, NotDone]);
        assert_eq!(journal.entries[1].id, "file.a:/with\n\"end\"");
        assert_eq!(journal.entries[1].machine.as_deref(), Some("a"));
        assert_eq!(journal.over, None);
        text.push_str("over failed\n");
        assert_eq!(Journal::parse(&text).unwrap().over, Some(Over::Failed));
    }

    #[test]
    fn it_can_be_cut_off_anywhere() {
        let [one, ..] = &ids();
        let whole = format!("{}{}\n{}\n", text(), begins(one), ended(one, Done));
        let mut before = NotDone;
        for end in 0..=whole.len() {
            let Some(text) = whole.get(..end) else {
                continue;
            };
            match Journal::parse(text) {
                Err(why) => assert!(
                    matches!(why, Unusable::Damaged(_)) && !text.contains('\n'),
                    "{text}"
                ),
                Ok(journal) => {
                    let now = journal.entries.first().map_or(NotDone, |entry| entry.state);
                    let steps = [NotDone, Unknown, Done];
                    let place = |state| steps.iter().position(|one| *one == state);
                    assert!(place(now) >= place(before), "{text}");
                    before = now;
                }
            }
        }
        assert_eq!(before, Done);
    }

    #[test]
    fn a_later_format_is_told_from_a_damaged_one() {
        let later = text().replace("{\"journal\":1", "{\"journal\":2");
        assert_eq!(Journal::parse(&later), Err(Unusable::Newer(2)));
        for damaged in ["", "\n", "x\n", "[]\n", "{\"journal\":1}\n"] {
            let read = Journal::parse(damaged);
            assert!(matches!(read, Err(Unusable::Damaged(_))), "{damaged}");
        }
    }

    #[test]
    fn machines_know_more() {
        let [one, two, three] = &ids();
        let mut ours = text();
        for id in [one, two, three] {
            ours.push_str(&begins(id));
            ours.push('\n');
        }
        let ours = Journal::parse(&ours).unwrap();
        let there = |run: &str, at: &str| {
            let machine: Arc<str> = "a".into();
            let planned = [one, two].into_iter().map(|id| (id, Some(&machine)));
            let text = heading(run, at).with_plan(planned);
            let text = format!("{text}{}\n{}\n", begins(one), ended(one, Done));
            Journal::parse(&text).unwrap()
        };
        let refined = |asked: Option<Option<Journal>>| {
            let mut ours = ours.clone();
            ours.refine(|machine| {
                assert_eq!(machine, "a");
                asked.clone()
            });
            states(&ours)
        };
        let now = "2026-11-25T10:42:00Z";
        assert_eq!(
            refined(Some(Some(there("r", now)))),
            [Done, NotDone, Unknown]
        );
        assert_eq!(refined(None), [Unknown; 3], "nobody could be asked");
        assert_eq!(refined(Some(None)), [NotDone, NotDone, Unknown]);
        let earlier = there("q", "2026-11-25T10:00:00Z");
        assert_eq!(refined(Some(Some(earlier))), [NotDone, NotDone, Unknown]);
        let later = there("s", "2026-11-25T11:00:00Z");
        assert_eq!(refined(Some(Some(later))), [Unknown; 3]);
    }
}
