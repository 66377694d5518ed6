//! What was last applied, remembered where it was applied: a memory, never the truth. Without it only *who moved* is lost, and on
//! a machine what of it is ours.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::command::{Ask, Place, Question};
use crate::declaration::Generated;
use crate::plan::Record;
use crate::resource::{Id, Resource, Thing};

/// The version of the format; a memory of a later one is refused and never rewritten.
pub const FORMAT: u64 = 2;

/// What a machine remembers, of this environment and of others; its item is [`name`].
pub const QUESTION: Question = Question {
    name: "memory",
    ask: Ask::Machine {
        body: r#"
for path in /var/lib/provision/*.json; do
    [ -e "$path" ] || [ -L "$path" ] || continue
    name=${path##*/} name=${name%.json} ours=
    for one in "$@"; do [ "$one" != "$name" ] || ours=1; done
    if [ -L "$path" ] || [ ! -f "$path" ]; then
        [ -z "$ours" ] || die "\`$path\` is no plain file"
        continue
    fi
    row "$name" "$(b64 < "$path")"
done
"#,
        columns: &["key", "content"],
    },
};

/// Keeps a memory on a machine: its words are the path's name; its stdin is the content, and an empty one is no memory.
pub const KEEP: &str = r#"
folder=/var/lib/provision
path=$folder/$1.json
if [ "$2" = forget ]; then
    rm -f -- "$path" "$folder/$1.run"
    # The last one takes with it what nobody needs without one.
    set -- "$folder"/*.json
    if [ ! -e "$1" ]; then
        rm -rf -- "$folder/loaded"
        rm -f -- /usr/local/lib/provision/supervise
        rmdir -- "$folder/done" "$folder" /usr/local/lib/provision 2> /dev/null || :
    fi
    exit 0
fi
[ -d "$folder" ] || mkdir -m 0700 -- "$folder" || die "cannot make \`$folder\`"
put_file "$path" root root 0600
"#;

/// How a memory of an environment is called on a machine: `iact.prod`.
pub fn name(project: &str, environment: &str) -> String {
    format!("{project}.{environment}")
}

/// What an id of a remembered secret begins with, and its one field.
const SECRET: &str = "generated_secret.";
const DIGEST: &str = "digest";

fn secret_id(key: &str) -> String {
    format!("{SECRET}{key}")
}

/// A field as it was when it was last seen as wanted, in the forms that are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Last {
    /// What was wanted.
    pub wanted: String,
    /// What was found, where that is written otherwise: `100MB` and `102400kB`.
    pub found: Option<String>,
}

impl Last {
    /// What was found.
    pub fn found(&self) -> &str {
        self.found.as_deref().unwrap_or(&self.wanted)
    }
}

/// What is remembered of a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Whether we made it, or took it over: then it goes when it is no longer declared.
    pub made: bool,
    /// When it was last seen as wanted by an apply, as in `2026-11-25T10:42:00Z`.
    pub at: String,
    /// Who applied, as in `maria@laptop`.
    pub by: String,
    /// Its fields.
    pub fields: BTreeMap<String, Last>,
}

impl Kept {
    /// Whether it was once seen as wanted: then it had no other fields than those remembered, even where it had none at all, as rights
    /// of somebody who should have none.
    pub fn was_whole(&self) -> bool {
        !self.fields.is_empty() || !self.at.is_empty()
    }
}

/// What one place remembers, by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory(pub BTreeMap<String, Kept>);

/// Why a memory cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// A later version of the program wrote it, in this format.
    Newer(u64),
    /// It makes no sense, and is forgotten. The words say why.
    Damaged(String),
}

impl Memory {
    /// Reads what [`Memory::render`] wrote.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Unusable> {
        let damaged = |why: &str| Unusable::Damaged(why.to_owned());
        let json: Value =
            serde_json::from_str(text).map_err(|error| Unusable::Damaged(error.to_string()))?;
        let Value::Object(whole) = json else {
            return Err(damaged("it is no table"));
        };
        let Some(version) = whole.get("format_version") else {
            return Memory::first(&whole).ok_or_else(|| damaged("it has no version"));
        };
        match version.as_u64() {
            Some(FORMAT) => {}
            Some(later) if later > FORMAT => return Err(Unusable::Newer(later)),
            _ => return Err(damaged("its version is none")),
        }
        let Some(resources) = whole.get("resources").and_then(Value::as_object) else {
            return Err(damaged("it has no resources"));
        };
        let kept = resources
            .iter()
            .map(|(id, kept)| Some((id.clone(), one(kept)?)));
        let kept: Option<BTreeMap<String, Kept>> = kept.collect();
        kept.map(Memory)
            .ok_or_else(|| damaged("a resource makes no sense"))
    }

    /// The first format: forms by resource and field, and nothing else.
    fn first(whole: &Map<String, Value>) -> Option<Self> {
        let kept = whole.iter().map(|(id, fields)| {
            let fields = fields.as_object()?.iter().map(|(name, wanted)| {
                let wanted = wanted.as_str()?.to_owned();
                Some((
                    name.clone(),
                    Last {
                        wanted,
                        found: None,
                    },
                ))
            });
            let fields: Option<BTreeMap<String, Last>> = fields.collect();
            let kept = Kept {
                fields: fields?,
                ..Kept::default()
            };
            Some((id.clone(), kept))
        });
        let kept: Option<BTreeMap<String, Kept>> = kept.collect();
        kept.map(Memory)
    }

    /// The memory as a text.
    pub fn render(&self) -> String {
        let last = |last: &Last| match &last.found {
            Some(found) => json!([last.wanted, found]),
            None => json!(last.wanted),
        };
        let resources: Map<String, Value> = self
            .0
            .iter()
            .map(|(id, kept)| {
                let fields: Map<String, Value> = kept
                    .fields
                    .iter()
                    .map(|(name, one)| (name.clone(), last(one)))
                    .collect();
                let kept =
                    json!({ "made": kept.made, "at": kept.at, "by": kept.by, "fields": fields });
                (id.clone(), kept)
            })
            .collect();
        let whole = json!({ "format_version": FORMAT, "resources": resources });
        format!("{whole:#}\n")
    }

    /// How many resources it remembers.
    pub fn resources(&self) -> usize {
        let ids = self.0.keys();
        ids.filter(|id| !id.starts_with(SECRET)).count()
    }

    /// The digest of a generated secret as it was applied, by its place in the file; and when, and by whom.
    pub fn secret(&self, key: &str) -> Option<(&str, &Kept)> {
        let kept = self.0.get(&secret_id(key))?;
        Some((&kept.fields.get(DIGEST)?.wanted, kept))
    }

    /// Remembers which generated secrets were applied, where anything was.
    fn keep_secrets(&mut self, generated: &[Generated], at: &str, by: &str) {
        let before = std::mem::take(&mut self.0);
        let (secrets, resources): (BTreeMap<_, _>, BTreeMap<_, _>) = before
            .into_iter()
            .partition(|(id, _)| id.starts_with(SECRET));
        self.0 = resources;
        if self.0.is_empty() {
            return;
        }
        for secret in generated {
            let id = secret_id(&secret.key);
            let digest = |kept: &&Kept| {
                kept.fields.get(DIGEST).map(|last| &last.wanted) == Some(&secret.digest)
            };
            let kept = secrets.get(&id).filter(digest).cloned();
            self.0.insert(
                id,
                kept.unwrap_or_else(|| {
                    let last = Last {
                        wanted: secret.digest.clone(),
                        found: None,
                    };
                    Kept {
                        made: false,
                        at: at.to_owned(),
                        by: by.to_owned(),
                        fields: BTreeMap::from([(DIGEST.to_owned(), last)]),
                    }
                }),
            );
        }
    }

    /// Whether it says something that another does not: when and by whom it was seen again is nothing new.
    pub fn says_more_than(&self, other: &Memory) -> bool {
        let says = |memory: &Memory| -> Vec<(String, bool, BTreeMap<String, Last>)> {
            let all = memory.0.iter();
            all.map(|(id, kept)| (id.clone(), kept.made, kept.fields.clone()))
                .collect()
        };
        says(self) != says(other)
    }
}

fn one(kept: &Value) -> Option<Kept> {
    let text = |key: &str| Some(kept.get(key)?.as_str()?.to_owned());
    let fields = kept.get("fields")?.as_object()?.iter().map(|(name, last)| {
        let last = match last {
            Value::Array(both) => Last {
                wanted: both.first()?.as_str()?.to_owned(),
                found: Some(both.get(1)?.as_str()?.to_owned()),
            },
            one => Last {
                wanted: one.as_str()?.to_owned(),
                found: None,
            },
        };
        Some((name.clone(), last))
    });
    Some(Kept {
        made: kept.get("made")?.as_bool()?,
        at: text("at")?,
        by: text("by")?,
        fields: fields.collect::<Option<_>>()?,
    })
}

/// What all places of an environment remember.
#[derive(Clone, Debug, Default)]
pub struct Memories {
    /// Of the engine, the folder, and the databases in containers, where that is this machine's engine: kept beside the environment.
    pub here: Memory,
    /// The host that keeps all of that with its own, where the engine is its.
    pub engine_host: Option<Arc<str>>,
    /// Of the machines, each kept on its own.
    pub machines: BTreeMap<Arc<str>, Memory>,
    /// What other environments have applied on the machines: by the name of the memory, the ledger names of the resources.
    pub others: BTreeMap<Arc<str>, BTreeMap<String, BTreeSet<String>>>,
    /// Machines whose memory could not be read: it is not written either.
    pub unread: BTreeSet<Arc<str>>,
}

/// What an apply came to, for the memory.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What holds now.
    pub settled: Record,
    /// What was made, or is about to be.
    pub made: HashSet<Id>,
    /// What went, or is none of our business any more.
    pub gone: HashSet<Id>,
}

impl Memories {
    /// The memory of a place.
    pub fn of(&self, place: &Place) -> Option<&Memory> {
        match place.machine() {
            Some(machine) => self.machines.get(machine),
            None => Some(self.engine()),
        }
    }

    /// The memory of the engine, the folder, and the databases in containers.
    pub fn engine(&self) -> &Memory {
        static NOTHING: Memory = Memory(BTreeMap::new());
        match &self.engine_host {
            None => &self.here,
            Some(host) => self.machines.get(host).unwrap_or(&NOTHING),
        }
    }

    /// Takes in what another environment remembers on a machine.
    pub fn take_other(&mut self, machine: &Arc<str>, name: &str, memory: &Memory) {
        let ids = memory.0.keys();
        let held = ids.filter_map(|id| Some(thing(id)?.ledger_id())).collect();
        let of = self.others.entry(Arc::clone(machine)).or_default();
        of.insert(name.to_owned(), held);
    }

    /// The environment that has applied a thing of a machine, other than this one: by the thing's ledger name.
    pub fn held_by_other(&self, machine: &str, ledger_id: &str) -> Option<&str> {
        let others = self.others.get(machine)?.iter();
        others
            .filter(|(_, held)| held.contains(ledger_id))
            .map(|(name, _)| name.as_str())
            .next()
    }

    /// What is remembered of a resource.
    pub fn kept(&self, id: &Id, place: &Place) -> Option<&Kept> {
        self.of(place)?.0.get(id.as_str())
    }

    /// What machines remember and nobody declares any more, as resources that only have their names.
    pub fn undeclared(&self, resources: &[Resource]) -> Vec<Resource> {
        let declared: HashSet<(&Place, String)> = resources
            .iter()
            .map(|resource| (&resource.place, resource.thing.ledger_id()))
            .collect();
        let mut left = Vec::new();
        for (machine, memory) in &self.machines {
            let place = Place::Machine(Arc::clone(machine));
            for id in memory.0.keys() {
                let Some(thing) = thing(id) else { continue };
                if declared.contains(&(&place, thing.ledger_id())) {
                    continue;
                }
                left.push(Resource {
                    id: Id::parse(id),
                    place: place.clone(),
                    thing,
                    needs: Vec::new(),
                    origins: BTreeMap::new(),
                    probe: None,
                });
            }
        }
        left
    }

    /// The same, brought up to date: what went is forgotten, what holds now is added.
    pub fn after(
        &self,
        (resources, generated): (&[Resource], Option<&[Generated]>),
        outcome: &Outcome,
        at: &str,
        by: &str,
    ) -> Memories {
        let declared: HashSet<&str> = resources.iter().map(|one| one.id.as_str()).collect();
        let mut after = self.clone();
        after.here.0.retain(|id, _| {
            (declared.contains(id.as_str()) || id.starts_with(SECRET))
                && !outcome.gone.contains(&Id::parse(id))
        });
        for memory in after.machines.values_mut() {
            memory.0.retain(|id, _| {
                // What lies in a database is remembered by its ledger.
                let stays =
                    declared.contains(id.as_str()) || id.starts_with(SECRET) || thing(id).is_some();
                stays && !outcome.gone.contains(&Id::parse(id))
            });
        }
        for resource in resources {
            let settled = outcome.settled.get(resource.id.as_str());
            let made = outcome.made.contains(&resource.id);
            let machine = resource.place.machine();
            if settled.is_none() && !(made && machine.is_some()) {
                continue;
            }
            let keeper = machine.or(self.engine_host.as_ref());
            if keeper.is_some_and(|machine| self.unread.contains(machine)) {
                continue;
            }
            let memory = match keeper {
                Some(machine) => after.machines.entry(Arc::clone(machine)).or_default(),
                None => &mut after.here,
            };
            let kept = memory.0.entry(resource.id.to_string()).or_default();
            kept.made |= made;
            kept.by = by.to_owned();
            if let Some(fields) = settled {
                kept.at = at.to_owned();
                kept.fields = fields.clone();
            }
        }
        if let Some(generated) = generated {
            if self.engine_host.is_none() {
                after.here.keep_secrets(generated, at, by);
            }
            for memory in after.machines.values_mut() {
                memory.keep_secrets(generated, at, by);
            }
        }
        after
    }
}

/// The thing of a machine that an id names: `file.db1:/etc/motd`.
fn thing(id: &str) -> Option<Thing> {
    let (kind, rest) = id.split_once('.')?;
    let (_, key) = rest.split_once(':')?;
    let thing = Thing::named(kind, key)?;
    let of_machine = crate::resources::QUESTIONS.iter().any(|question| {
        question.name == thing.question() && matches!(question.ask, Ask::Machine { .. })
    });
    of_machine.then_some(thing)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn memory() -> Memory {
        let last = |wanted: &str, found: Option<&str>| Last {
            wanted: wanted.to_owned(),
            found: found.map(str::to_owned),
        };
        let kept = Kept {
            made: true,
            at: "2026-11-25T10:42:00Z".to_owned(),
            by: "maria@laptop".to_owned(),
            fields: [
                ("value".to_owned(), last("100MB", Some("102400kB"))),
                ("mode".to_owned(), last("0644", None)),
            ]
            .into(),
        };
        Memory([("file.db1:/etc/motd".to_owned(), kept)].into())
    }

    #[test]
    fn a_memory_comes_back() {
        assert_eq!(Memory::parse(&memory().render()), Ok(memory()));
    }

    #[test]
    fn the_first_format_is_still_known() {
        let memory = Memory::parse(r#"{"container.x":{"env A":"d"}}"#).unwrap();
        assert_eq!(memory.0["container.x"].fields["env A"].wanted, "d");
        assert!(!memory.0["container.x"].made);
    }

    #[test]
    fn a_later_format_is_told_from_a_damaged_one() {
        let later = memory()
            .render()
            .replace("\"format_version\": 2", "\"format_version\": 3");
        assert_eq!(Memory::parse(&later), Err(Unusable::Newer(3)));
        for damaged in [
            "",
            "[]",
            "{\"cut",
            "{\"format_version\":2}",
            "{\"a\":1}",
            "{\"format_version\":\"x\"}",
        ] {
            assert!(
                matches!(Memory::parse(damaged), Err(Unusable::Damaged(_))),
                "{damaged}"
            );
        }
    }

    #[test]
    fn being_seen_again_is_nothing_new() {
        let mut later = memory();
        for kept in later.0.values_mut() {
            kept.at = "2027-01-01T00:00:00Z".to_owned();
        }
        assert!(!later.says_more_than(&memory()));
        later.0.clear();
        assert!(later.says_more_than(&memory()));
    }

    fn resource(machine: &str, path: &str) -> Resource {
        let file = crate::resources::server_file::ServerFile {
            path: path.to_owned(),
            ..Default::default()
        };
        Resource {
            id: Id::new("file", machine, path),
            place: Place::Machine(machine.into()),
            thing: file.into(),
            needs: Vec::new(),
            origins: BTreeMap::new(),
            probe: None,
        }
    }

    fn memories() -> Memories {
        Memories {
            machines: [("db1".into(), memory())].into(),
            ..Memories::default()
        }
    }

    #[test]
    fn what_is_no_longer_declared_is_known_until_it_is_gone() {
        let motd = Id::parse("file.db1:/etc/motd");
        let resources = [resource("db1", "/etc/other")];
        let left = memories().undeclared(&resources);
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].id, motd);
        assert!(
            memories()
                .undeclared(&[resource("db1", "/etc/motd")])
                .is_empty()
        );

        let after = memories().after((&resources, None), &Outcome::default(), "now", "me");
        assert!(after.machines["db1"].0.contains_key(motd.as_str()));
        let outcome = Outcome {
            gone: [motd].into(),
            ..Outcome::default()
        };
        let after = memories().after((&resources, None), &outcome, "now", "me");
        assert!(after.machines["db1"].0.is_empty());
    }

    #[test]
    fn what_is_about_to_be_made_is_ours_and_what_was_there_is_not() {
        let (made, there) = (resource("db1", "/etc/made"), resource("db1", "/etc/there"));
        let settled = |one: &Resource| {
            (
                one.id.to_string(),
                BTreeMap::from([("mode".to_owned(), Last::default())]),
            )
        };
        let outcome = Outcome {
            settled: [settled(&there)].into(),
            made: [made.id.clone()].into(),
            ..Outcome::default()
        };
        let resources = [made, there];
        let after = memories().after((&resources, None), &outcome, "2026-11-25T10:00:00Z", "me");
        let memory = &after.machines["db1"].0;
        assert!(
            memory["file.db1:/etc/made"].made && memory["file.db1:/etc/made"].fields.is_empty()
        );
        assert!(!memory["file.db1:/etc/there"].made);
        assert_eq!(memory["file.db1:/etc/there"].at, "2026-11-25T10:00:00Z");

        let unread = Memories {
            unread: ["db1".into()].into(),
            ..Memories::default()
        };
        let after = unread.after((&resources, None), &outcome, "now", "me");
        assert!(
            after.machines.is_empty(),
            "what could not be read is not written"
        );
    }
}
