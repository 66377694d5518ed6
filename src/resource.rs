//! A resource: one thing that should exist, what kind it is, where it lives, what it needs. Wanted and found are the same
//! struct; comparing is written once, over fields.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::command::{Do, Place, Question, Row};
use crate::declaration::Origin;
pub use crate::resources::Thing;

/// The name of a resource everywhere: `kind.place:name`, as in `postgres_role.analytics:django_user`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(std::sync::Arc<str>);

impl Id {
    /// `kind.place:name`.
    pub fn new(kind: &str, place: &str, name: &str) -> Self {
        Id(format!("{kind}.{place}:{name}").into())
    }

    /// `kind.name`, for what the service names by itself: `container.analytics`.
    pub fn short(kind: &str, name: &str) -> Self {
        Id(format!("{kind}.{name}").into())
    }

    /// As written by a user.
    pub fn parse(text: &str) -> Self {
        Id(text.into())
    }

    /// As shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The kind's name.
    pub fn kind(&self) -> &str {
        self.0.split('.').next().unwrap_or_default()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name in an [`Id`] of what lies in a database: `database/name`. A slash that belongs to the database's name has a backslash before
/// it, as has a backslash, so that two things never share an id.
pub fn inside_database(database: &str, name: &str) -> String {
    let database = database.replace('\\', "\\\\").replace('/', "\\/");
    format!("{database}/{name}")
}

/// One thing that should exist.
#[derive(Clone, Debug)]
pub struct Resource {
    /// Its name everywhere.
    pub id: Id,
    /// Where it lives.
    pub place: Place,
    /// What it should be.
    pub thing: Thing,
    /// What has to be as wanted before it.
    pub needs: Vec<Id>,
    /// Where each field's value comes from; the empty name is the declaration itself.
    pub origins: BTreeMap<Cow<'static, str>, Origin>,
    /// How to see that it really works once it was changed.
    pub probe: Option<Probe>,
}

impl Resource {
    /// Where a field comes from: its own origin, or none (a default).
    pub fn origin(&self, field: &str) -> Origin {
        let word = field.split(' ').next().unwrap_or_default();
        self.origins
            .get(field)
            .or_else(|| self.origins.get(word))
            .cloned()
            .unwrap_or_default()
    }

    /// The same with the place where a field comes from; nowhere is not kept.
    pub fn from(mut self, field: impl Into<Cow<'static, str>>, origin: Origin) -> Self {
        if !origin.is_none() {
            self.origins.insert(field.into(), origin);
        }
        self
    }

    /// Its name in the ledger of its server, and the digest kept with it; none where there is no ledger.
    pub fn ledger_entry(&self) -> Option<(String, String)> {
        if !matches!(self.place, Place::Sql(..)) {
            return None;
        }
        let digest = match &self.thing {
            Thing::SqlScript(script) => script.digest.clone(),
            Thing::MariadbScript(script) => script.digest.clone(),
            _ => String::new(),
        };
        Some((self.thing.ledger_id(), digest))
    }

    /// Where the thing as a whole is declared.
    pub fn declared(&self) -> Origin {
        self.origins.get("").cloned().unwrap_or_default()
    }
}

/// Why a thing that has one of our names is not ours, and must not be touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// One sentence.
    pub message: String,
    /// The environment of the same project that made it; none where it is of no environment of ours at all.
    pub owner: Option<String>,
}

/// How to see that a container really works.
#[derive(Clone, Debug, PartialEq)]
pub enum Probe {
    /// Log in to a database server as each of its declared users; `checks` says who, and what should come of it.
    Login {
        /// Which server.
        server: std::sync::Arc<crate::command::Server>,
        /// Whether it listens where it is tried.
        reached: bool,
    },
    /// `GET` a path on a published port (or, without one, inside the container) and want 200.
    Http {
        /// The service whose container it is.
        service: String,
        /// The published address.
        published: Option<(String, u16)>,
        /// Port inside the container.
        port: u16,
        /// Path, as in `/health`.
        path: String,
        /// `Host` header.
        host: String,
    },
    /// `GET` a path from a machine and want 200.
    HttpOn {
        /// The machine it is asked from.
        machine: std::sync::Arc<str>,
        /// The service, for people: `iact`.
        service: String,
        /// Address it is asked at, as in `127.0.0.1`.
        address: String,
        /// Port it is asked at.
        port: u16,
        /// Path, as in `/health`.
        path: String,
        /// `Host` header.
        host: String,
    },
}

/// How a field of what is wanted compares with the same field of what is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Same {
    /// As wanted.
    Yes,
    /// It differs.
    No,
    /// It cannot be told (a password that the server will not show).
    Unknown,
}

/// What a change costs, from least to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Impact {
    /// Nobody notices.
    None,
    /// The server reads its configuration again.
    Reload,
    /// The server restarts: its clients are cut off for a moment.
    Restart,
    /// The container is made anew: the service is away for some seconds.
    Recreate,
    /// It cannot be altered: data would have to be dumped and restored.
    DataRisk,
}

impl Impact {
    /// One word.
    pub fn word(self) -> &'static str {
        match self {
            Impact::None => "none",
            Impact::Reload => "reload",
            Impact::Restart => "restart",
            Impact::Recreate => "recreate",
            Impact::DataRisk => "data-risk",
        }
    }
}

/// One field of a thing, in the forms that may be shown.
#[derive(Clone, Debug)]
pub struct Field {
    /// Its name; a field of many members names the member too, as in `env DJANGO_DEBUG`.
    pub name: Cow<'static, str>,
    /// What was found; `None` if the thing or the member is not there.
    pub from: Option<String>,
    /// What is wanted; `None` if it should not be there.
    pub to: Option<String>,
    /// Whether the two are the same.
    pub same: Same,
    /// What changing it costs.
    pub impact: Impact,
}

impl Field {
    /// A field that is compared by its shown form. `found`: `None` where the thing does not exist.
    pub fn new(
        name: impl Into<Cow<'static, str>>,
        found: Option<String>,
        wanted: impl Into<String>,
        impact: Impact,
    ) -> Self {
        let wanted = wanted.into();
        let same = if found.as_deref() == Some(wanted.as_str()) {
            Same::Yes
        } else {
            Same::No
        };
        Field {
            name: name.into(),
            from: found,
            to: Some(wanted),
            same,
            impact,
        }
    }

    /// A field whose values are never shown: `same` says how they compare, and the words say only that.
    pub fn hidden(
        name: impl Into<Cow<'static, str>>,
        found: bool,
        same: Same,
        impact: Impact,
    ) -> Self {
        let from = found.then(|| {
            match same {
                Same::Yes => "as declared",
                Same::No => "differs",
                Same::Unknown => "cannot be compared",
            }
            .to_owned()
        });
        Field {
            name: name.into(),
            from,
            to: Some("as declared".to_owned()),
            same,
            impact,
        }
    }

    /// A member that is there and should not be.
    pub fn extra(
        name: impl Into<Cow<'static, str>>,
        found: impl Into<String>,
        impact: Impact,
    ) -> Self {
        Field {
            name: name.into(),
            from: Some(found.into()),
            to: None,
            same: Same::No,
            impact,
        }
    }

    /// Whether it differs for sure.
    pub fn differs(&self) -> bool {
        self.same == Same::No
    }
}

/// One effect on the way from found to wanted.
#[derive(Clone, Debug)]
pub struct Step {
    /// What it does, for people: `set the password`. Never a secret.
    pub says: String,
    /// The effect.
    pub does: Do,
    /// What it costs.
    pub impact: Impact,
    /// How long it may take.
    pub deadline: Duration,
    /// Steps at one place with the same word are done once, after the others: `reload`, `restart`.
    pub merge: Option<&'static str>,
}

impl Step {
    /// SQL that runs in a transaction, costs nothing and may take a minute.
    pub fn sql(says: impl Into<String>, text: crate::command::Text) -> Self {
        Step {
            says: says.into(),
            does: Do::Sql {
                text,
                transaction: true,
            },
            impact: Impact::None,
            deadline: Duration::from_secs(60),
            merge: None,
        }
    }

    /// SQL that cannot run in a transaction.
    pub fn sql_alone(says: impl Into<String>, text: crate::command::Text) -> Self {
        Step {
            does: Do::Sql {
                text,
                transaction: false,
            },
            ..Step::sql(says, crate::command::Text::default())
        }
    }

    /// Something the engine does.
    pub fn engine(
        says: impl Into<String>,
        action: crate::command::EngineAction,
        impact: Impact,
        seconds: u64,
    ) -> Self {
        Step {
            says: says.into(),
            does: Do::Engine(action),
            impact,
            deadline: Duration::from_secs(seconds),
            merge: None,
        }
    }

    /// A script on a machine that costs nothing and may take two minutes.
    pub fn script(
        says: impl Into<String>,
        body: &'static str,
        words: impl IntoIterator<Item = crate::command::Text>,
    ) -> Self {
        let script = crate::command::Script {
            body,
            words: words.into_iter().collect(),
            input: None,
            guard: None,
        };
        Step {
            says: says.into(),
            does: Do::Script(script),
            impact: Impact::None,
            deadline: Duration::from_secs(120),
            merge: None,
        }
    }

    /// The same step, which may lock us out: its script calls `guard` with this name, and what it does stays only if a new connection
    /// to the machine can be made afterwards.
    pub fn guarded(mut self, name: &'static str) -> Self {
        if let Do::Script(script) = &mut self.does {
            script.guard = Some(name);
        }
        self
    }

    /// The same step at another cost.
    pub fn costs(self, impact: Impact) -> Self {
        Step { impact, ..self }
    }

    /// The same step with another deadline, in seconds.
    pub fn within(self, seconds: u64) -> Self {
        Step {
            deadline: Duration::from_secs(seconds),
            ..self
        }
    }

    /// A restart of the server at the place, once for all that want it.
    pub fn restart(says: impl Into<String>) -> Self {
        Step {
            says: says.into(),
            does: Do::Restart,
            impact: Impact::Restart,
            deadline: Duration::from_secs(120),
            merge: Some("restart"),
        }
    }
}

/// What removing a thing means.
#[derive(Clone, Debug)]
pub enum Removal {
    /// These steps.
    Steps(Vec<Step>),
    /// It holds data: only where `--destroy-data` names it, these steps.
    HoldsData(Vec<Step>),
    /// It cannot be undone and harms nobody: forgotten, not removed.
    Forget,
}

/// Twelve bits of a text that is not shown: enough to see that it changed, and far too few to tell or to guess what it is.
pub fn few_bits(text: &str) -> String {
    let mut digest = crate::secret::sha256(text);
    digest.truncate(3);
    digest
}

/// Something that a thing is about and that somebody else makes: a table that a migration creates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Awaited {
    /// The question that finds it: a row's key is its own.
    pub question: Question,
    /// Its name, as in `shop.orders`.
    pub key: String,
    /// What it is, as in `table`.
    pub noun: &'static str,
}

impl Awaited {
    /// Why something waits for it.
    pub fn reason(&self) -> String {
        format!("the {} `{}` does not exist yet", self.noun, self.key)
    }
}

/// A kind of thing: one file of pure functions, one row in the table of [`crate::resources`].
///
/// A server's ledger remembers what we made by [`Kind::key`], so that it can be removed when it is gone from the file.
pub trait Kind: Sized + Clone + fmt::Debug {
    /// The noun, as in `postgres_role`.
    const NAME: &'static str;
    /// What is asked, once for all things of this kind at a place.
    const QUESTION: Question;

    /// Which rows of the answer are about this thing: their `key`. Also its name in the ledger.
    fn key(&self) -> Cow<'_, str>;

    /// The key of its rows in the answer, where that is not its own: what a server may fold is asked for in one form.
    fn row_key(&self) -> Cow<'_, str> {
        self.key()
    }

    /// What its question is asked about it, where that is not its key: one of the script's words.
    fn item(&self) -> Cow<'_, str> {
        self.key()
    }

    /// The key it had before: it is renamed from that where nothing has its own yet.
    fn was(&self) -> Option<Cow<'_, str>> {
        None
    }

    /// What was found, from the rows with this thing's key (possibly none).
    ///
    /// # Errors
    /// A sentence that says what could not be understood: the thing is then unknown.
    fn read(&self, rows: &[Row]) -> Result<Option<Self>, String>;

    /// All fields that are managed, with what was found (`None`: it does not exist).
    fn fields(&self, found: Option<&Self>) -> Vec<Field>;

    /// The effects from found to wanted; empty where no field differs.
    fn steps(&self, found: Option<&Self>) -> Vec<Step>;

    /// A thing that only has the name under which the ledger remembers it, good for [`Kind::read`] and then
    /// [`Kind::remove`].
    fn named(key: &str) -> Option<Self>;

    /// What somebody else makes and this thing is about, with the question that finds it: it can be had as far as that is there. Of a
    /// found one only what still lacks something for it.
    fn waits_for(&self, _found: Option<&Self>) -> Vec<Awaited> {
        Vec::new()
    }

    /// The same as far as it can be had while some of what it awaits is not there.
    fn without(&self, _missing: &[Awaited], _found: Option<&Self>) -> Self {
        self.clone()
    }

    /// How to remove what was found (called on the found thing).
    fn remove(&self) -> Removal;

    /// Whether what was found is really there: an image that is only known to its registry is not.
    fn exists(&self) -> bool {
        true
    }

    /// The file that it is, for `render`: generated files, files of machines, units. Absolute paths are a machine's.
    fn rendered(&self) -> Option<crate::command::File> {
        None
    }

    /// Why what was found is somebody else's and never touched.
    fn foreign(&self) -> Option<Foreign> {
        None
    }

    /// When a field of what was found was last changed, in seconds since 1970, where the machine can tell.
    fn changed(&self, _field: &str) -> Option<i64> {
        None
    }

    /// A few bits of what a hidden field wants ([`few_bits`]), by which a later run can tell whether the declaration changed.
    fn mark(&self, _field: &str) -> Option<String> {
        None
    }

    /// What a differing field holds as found and as wanted, where that is text of many lines and may be shown: its difference is.
    fn texts(&self, _field: &str, _found: &Self) -> Option<(String, String)> {
        None
    }

    /// What cannot be altered and how to get there by hand: said where a differing field has [`Impact::DataRisk`].
    fn recipe(&self, _found: &Self) -> Vec<String> {
        Vec::new()
    }
}
