//! What is said to a machine and what comes back, as values: nothing here reaches anything.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::quote::literal;
use crate::secret::Secret;
use crate::statement::FirstStart;

/// A piece of a text that is sent. Only the writer of a stream opens the secret ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// May be shown.
    Text(String),
    /// May not.
    Secret(Secret),
    /// What a file of the user holds, so that an error in it can be told with its file and line.
    File {
        /// The file, as declared.
        name: String,
        /// What it holds.
        text: String,
    },
}

/// A text made of parts: SQL with a verifier in it, a file with a password in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text(pub Vec<Part>);

impl Text {
    /// A text without secrets.
    pub fn plain(text: impl Into<String>) -> Self {
        Text(vec![Part::Text(text.into())])
    }

    /// A text that is a secret as a whole.
    pub fn secret(secret: Secret) -> Self {
        Text(vec![Part::Secret(secret)])
    }

    /// The same with more text at its end.
    pub fn push(mut self, text: impl AsRef<str>) -> Self {
        self.push_str(text.as_ref());
        self
    }

    /// The same with a secret at its end.
    pub fn push_secret(mut self, secret: Secret) -> Self {
        self.0.push(Part::Secret(secret));
        self
    }

    /// The same with what a file of the user holds at its end.
    pub fn push_file(mut self, name: &str, text: &str) -> Self {
        self.0.push(Part::File {
            name: name.to_owned(),
            text: text.to_owned(),
        });
        self
    }

    /// Appends text.
    pub fn push_str(&mut self, text: &str) {
        if let Some(Part::Text(last)) = self.0.last_mut() {
            last.push_str(text);
        } else {
            self.0.push(Part::Text(text.to_owned()));
        }
    }

    /// Appends another text.
    pub fn append(&mut self, other: Text) {
        for part in other.0 {
            match part {
                Part::Text(text) => self.push_str(&text),
                other => self.0.push(other),
            }
        }
    }

    /// Whether a secret is in it.
    pub fn is_secret(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Secret(_)))
    }

    /// The text, with `[secret]` where a secret stands.
    pub fn shown(&self) -> String {
        self.0
            .iter()
            .map(|part| match part {
                Part::Text(text) | Part::File { text, .. } => text.as_str(),
                Part::Secret(_) => "[secret]",
            })
            .collect()
    }

    /// The whole text with its secrets, for the one writer that sends it, and for comparing it with what was found.
    pub fn expose(&self) -> Secret {
        let mut whole = String::new();
        for part in &self.0 {
            whole.push_str(match part {
                Part::Text(text) | Part::File { text, .. } => text,
                Part::Secret(secret) => secret.expose(),
            });
        }
        Secret::new(whole)
    }
}

/// The language a database server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dialect {
    /// PostgreSQL 15, through `psql`.
    Postgres,
    /// MariaDB 10.11, through `mariadb`.
    MariaDb,
}

/// A database server and how to come in: over its local socket as its superuser, or over the network as an administrator.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Server {
    /// The service, as in `analytics`.
    pub service: String,
    /// What it speaks.
    pub dialect: Dialect,
    /// The login for us: `postgres`, or `root`; of a managed server its administrator, who is no superuser.
    pub superuser: String,
    /// Where its client is started.
    pub seat: Seat,
}

/// Where the client of a database server is started, and so how the server is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Seat {
    /// In the container of its service, over the server's own socket.
    #[default]
    Container,
    /// On a machine, over the server's own socket.
    Machine {
        /// The machine.
        name: Arc<str>,
        /// The port, which names the socket.
        port: u16,
    },
    /// On a machine, over the network: a managed server. The administrator's password is the target's to know, never in here.
    Network {
        /// The machine whose client it is.
        from: Arc<str>,
        /// The server's address.
        host: String,
        /// Its port.
        port: u16,
    },
}

/// How a server is reached by who uses it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Route {
    /// Through a port of the machine we run on.
    Port(String, u16),
    /// From a machine, at an address as that machine sees it.
    From(Arc<str>, String, u16),
    /// From where the server is: its container's own address, its machine's loopback; a managed one from the machine that has its
    /// client.
    Own,
}

/// Why somebody was not let in to a database server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// In one sentence; no secret, no control character.
    pub why: String,
    /// Whether it was the server that refused, and not that nobody could be asked.
    pub refused: bool,
    /// The code of the refusal, as in `28P01` or `1045`.
    pub code: Option<String>,
}

/// A machine with a shell, and how to come in.
#[derive(Clone, Debug)]
pub struct Machine {
    /// As in `[host.NAME]`; [`THIS`] is the machine we run on.
    pub name: Arc<str>,
    /// The way in.
    pub via: Via,
    /// How root is had.
    pub sudo: Sudo,
}

/// The name of the machine we run on.
pub const THIS: &str = "local";

/// The way to a machine's shell.
#[derive(Clone, Debug)]
pub enum Via {
    /// It is this one.
    Local,
    /// Over SSH.
    Ssh(Box<Ssh>),
}

/// An SSH server. What is absent is as `~/.ssh/config` says.
#[derive(Clone, Debug, Default)]
pub struct Ssh {
    /// An address, or a name of `~/.ssh/config`.
    pub address: String,
    /// Its port.
    pub port: Option<u16>,
    /// The user to log in as.
    pub user: Option<String>,
    /// The private key's file; a leading `~/` is the operator's home.
    pub identity: Option<String>,
    /// `USER@ADDRESS[:PORT]` that the connection goes through.
    pub jump: Option<String>,
    /// The pinned public host key, as in `ssh-ed25519 AAAA...`.
    pub host_key: Option<String>,
}

/// How root is had on a machine.
#[derive(Clone, Debug)]
pub enum Sudo {
    /// Not: the user is root, or nothing that needs root can be done.
    No,
    /// By sudo without a password.
    Free,
    /// By sudo with this password.
    Password(Secret),
}

/// Where a resource lives, and so who is asked about it and told to change it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// The machine that owns the engine: files in the environment's generated folder.
    Folder,
    /// The Docker engine.
    Engine,
    /// A machine, by name: what its shell can see and change.
    Machine(Arc<str>),
    /// A database server; `None` is the server as a whole (PostgreSQL: its maintenance database `postgres`).
    Sql(Arc<Server>, Option<String>),
}

impl Place {
    /// The database, if it is inside one.
    pub fn database(&self) -> Option<&String> {
        match self {
            Place::Sql(_, database) => database.as_ref(),
            _ => None,
        }
    }

    /// The machine whose session reaches it, if one does.
    pub fn machine(&self) -> Option<&Arc<str>> {
        match self {
            Place::Machine(name) => Some(name),
            Place::Sql(server, _) => server.seat.machine(),
            Place::Folder | Place::Engine => None,
        }
    }
}

impl Seat {
    /// The machine on which the client is started, if it is one.
    pub fn machine(&self) -> Option<&Arc<str>> {
        match self {
            Seat::Container => None,
            Seat::Machine { name, .. } | Seat::Network { from: name, .. } => Some(name),
        }
    }
}

/// In a query: the condition that only the keys fulfil that are asked about.
const WANTED: &str = "{wanted}";

/// What a kind asks. Constant: the names of what it looks for are never in it, so equal questions are asked once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// Names the answer; one word.
    pub name: &'static str,
    /// What is asked, of whom.
    pub ask: Ask,
}

impl Question {
    /// The query that it is, if it is one, and in which language.
    pub fn sql(&self) -> Option<(Dialect, &'static str)> {
        match self.ask {
            Ask::PostgresServer(query) | Ask::PostgresDatabase(query) => {
                Some((Dialect::Postgres, query))
            }
            Ask::MariaDb(query) => Some((Dialect::MariaDb, query)),
            Ask::Ledger(_) | Ask::Engine(_) | Ask::Folder | Ask::Machine { .. } => None,
        }
    }

    /// Whether its answer is only about the keys that it is asked about.
    fn is_narrowed(&self) -> bool {
        self.sql().is_some_and(|(_, query)| query.contains(WANTED))
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    /// One `SELECT` of PostgreSQL without a semicolon, asked once a server. Its first column is `key` (text); every row
    /// comes back as a JSON object of its columns. The word `{wanted}`, if it has one, stands for a condition that only the keys
    /// fulfil that are asked about.
    PostgresServer(&'static str),
    /// The same, asked in every declared database that exists.
    PostgresDatabase(&'static str),
    /// One `SELECT` of MariaDB without a semicolon and with one column, a `JSON_OBJECT` with a member `key`; asked once. It may
    /// have the word `{wanted}`, too.
    MariaDb(&'static str),
    /// The ledger of every database (PostgreSQL) or of the server (MariaDB): rows `key`, `digest`; no rows where it is not made
    /// yet.
    Ledger(Dialect),
    /// Something the engine knows; rows are Docker's own JSON.
    Engine(EngineQuestion),
    /// The files of the environment's generated folder, by relative path.
    Folder,
    /// A POSIX shell script, run once a machine as root with the items of all its things as `"$@"` (see [`Script`] for what it may
    /// rely on; its `LC_ALL` is `C`). It prints a line a row, its columns separated by tabs; the first column is `key`. A value that may hold a tab or
    /// a line end is printed as base64. A status other than 0 makes all of the answer unreadable.
    Machine {
        /// The script.
        body: &'static str,
        /// Names of the columns, `key` first; a line with another number of columns makes the answer unreadable.
        columns: &'static [&'static str],
    },
}

/// What the engine is asked. Every row is an object with a member `key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EngineQuestion {
    /// Containers of the project: key = Compose service; members `inspect` (of the container) and `image` (inspect of its
    /// image, or null). Containers that hold one of our names without being ours: the same with `foreign: true`.
    Containers,
    /// Networks of any owner: key = name; member `inspect`.
    Networks,
    /// Volumes of any owner: key = name; member `inspect`.
    Volumes,
    /// Images: key = each of their tags (`postgres:15-bookworm`); member `inspect`.
    Images,
}

/// One row of an answer.
pub type Row = Map<String, Value>;

/// A text that a body has put into a row in one line, as `flat` of `target/prelude.sh` does.
pub fn unflat(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some(other) => out.push(other),
                None => {}
            },
            c => out.push(c),
        }
    }
    out
}

/// The rows of an answer, found by their `key`.
#[derive(Clone, Debug, Default)]
pub struct Rows(HashMap<String, Vec<Row>>);

impl Rows {
    /// Indexes rows by their member `key`; one without it is under the empty key.
    pub fn new(rows: impl IntoIterator<Item = Row>) -> Self {
        let mut by_key: HashMap<String, Vec<Row>> = HashMap::new();
        for row in rows {
            let key = row
                .get("key")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned();
            by_key.entry(key).or_default().push(row);
        }
        Rows(by_key)
    }

    /// The rows of one key.
    pub fn of(&self, key: &str) -> &[Row] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// Takes over the rows of keys that it has none of.
    fn join(&mut self, other: Rows) {
        for (key, rows) in other.0 {
            self.0.entry(key).or_insert(rows);
        }
    }

    /// All keys, sorted.
    pub fn keys(&self) -> Vec<&str> {
        let mut keys: Vec<_> = self.0.keys().map(String::as_str).collect();
        keys.sort_unstable();
        keys
    }
}

/// What came back for a question at a place.
#[derive(Clone, Debug)]
pub enum Answer {
    /// It was answered.
    Rows(Rows),
    /// The place itself is not there (a database that does not exist), so nothing in it is.
    Absent,
    /// The place cannot be asked before something else is done: its server is down. The words say what.
    Down(String),
    /// It was asked and no usable answer came: unknown, never absent. The words say why.
    Unreadable(String),
}

/// All answers of one look, by place and question.
#[derive(Clone, Debug, Default)]
pub struct Answers(HashMap<Place, HashMap<&'static str, Answer>>);

impl Answers {
    /// Keeps an answer.
    pub fn put(&mut self, place: Place, question: &'static str, answer: Answer) {
        self.0.entry(place).or_default().insert(question, answer);
    }

    /// The answer to a question at a place; `None` if it was never asked there.
    pub fn get(&self, place: &Place, question: &str) -> Option<&Answer> {
        self.0.get(place)?.get(question)
    }

    /// All places that were asked, in no order.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.0.keys()
    }

    /// Takes over the answers of a look that asked the same places for more: rows are joined.
    pub fn join(&mut self, other: Answers) {
        for (place, answers) in other.0 {
            let mine = self.0.entry(place).or_default();
            for (question, answer) in answers {
                match (mine.get_mut(question), answer) {
                    (Some(Answer::Rows(rows)), Answer::Rows(more)) => rows.join(more),
                    (Some(_), _) => {}
                    (None, answer) => {
                        mine.insert(question, answer);
                    }
                }
            }
        }
    }

    /// Takes over all answers of another look.
    pub fn extend(&mut self, other: Answers) {
        for (place, answers) in other.0 {
            self.0.entry(place).or_default().extend(answers);
        }
    }
}

/// An effect, carried out by the target that owns the place.
#[derive(Clone, Debug)]
pub enum Do {
    /// SQL at the resource's place. `transaction`: it can run in one, and then it does, together with its ledger entry.
    Sql {
        /// Statements, each with its semicolon.
        text: Text,
        /// Whether it can run in a transaction.
        transaction: bool,
    },
    /// Restart the server at the resource's place and wait until it answers again.
    Restart,
    /// Something the engine does.
    Engine(EngineAction),
    /// Write a file of the environment's generated folder: old or new, never torn.
    Write(File),
    /// Remove a file of the environment's generated folder.
    Unlink(String),
    /// Run a script on the resource's machine.
    Script(Script),
}

/// A script for a machine's shell: its body is constant, values are its words.
///
/// It runs under a POSIX `/bin/sh` (dash, bash, busybox) as root with `set -eu`, `umask 077`, `LC_ALL=C.UTF-8` and a `PATH` with the
/// `sbin` folders; its stdin is `input`, or empty. What it daemonizes is started with `9>&-`, since the lock is descriptor 9. Words
/// may be secret, so a body passes them to builtins only (`printf '%s' "$1" | program`), never as arguments of a program.
/// Functions that every body may call are in `target/prelude.sh`.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// What is run.
    pub body: &'static str,
    /// `"$1"`, `"$2"`, ...
    pub words: Vec<Text>,
    /// What its stdin holds.
    pub input: Option<Blob>,
    /// It may lock us out, so it has called `guard` with this name: it stays only if a new connection says so in time.
    pub guard: Option<&'static str>,
}

/// Bytes that go to a machine.
#[derive(Clone, Debug)]
pub enum Blob {
    /// These.
    Text(Text),
    /// A file of the user, as it is.
    File(std::path::PathBuf),
    /// A folder of the user as a tar archive, what its `.dockerignore` names left out; the same bytes for the same contents.
    Folder(std::path::PathBuf),
}

/// A file of the environment's generated folder (`.provision/ENV/`, mode 0700).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Relative path, `/` between folders.
    pub path: String,
    /// What it holds.
    pub content: Text,
    /// Its mode: 0600, or 0644 for what a container must read.
    pub mode: u32,
}

/// What the engine is told. Bodies are Docker's own JSON, as read from it.
#[derive(Clone, Debug)]
pub enum EngineAction {
    /// Pull an image from its registry.
    Pull {
        /// `postgres:15-bookworm`.
        image: String,
    },
    /// Build an image from a context made of texts and files.
    Build {
        /// The tag it gets.
        image: String,
        /// Path in the context and content, `Dockerfile` among them.
        context: Vec<(String, Text)>,
        /// Build arguments.
        args: Vec<(String, String)>,
        /// Folder of the user copied into the context under this path, what `.dockerignore` names left out.
        folder: Option<(String, std::path::PathBuf)>,
        /// Whether the machine's own CA bundle goes into the context as `ca-certificates.crt`.
        ca: bool,
    },
    /// Make a bare Debian root file system with mmdebstrap or debootstrap and import it.
    Bootstrap {
        /// The tag it gets.
        image: String,
        /// `bookworm`.
        suite: String,
    },
    /// Create a network; refused if one of that name exists.
    CreateNetwork {
        /// Its name.
        name: String,
        /// Body of the API's `NetworkCreateRequest`.
        body: Value,
    },
    /// Remove a network.
    RemoveNetwork {
        /// Its name.
        name: String,
    },
    /// Create a volume; checked afterwards, since the API silently returns an old one.
    CreateVolume {
        /// Its name.
        name: String,
        /// Body of the API's `VolumeCreateRequest`.
        body: Value,
    },
    /// Remove a volume and the data in it.
    RemoveVolume {
        /// Its name.
        name: String,
    },
    /// Create and start a container under a name, in place of an old one if there is one: created beside it under a temporary
    /// name, the old one stopped and removed, then renamed and started.
    RunContainer {
        /// The Compose service, whose config hash is looked up.
        service: String,
        /// The final name.
        name: String,
        /// Id of the container it takes the place of.
        replaces: Option<String>,
        /// Body of the API's `ContainerCreateBody`, without `Env`.
        body: Value,
        /// Its environment.
        env: Vec<(String, Text)>,
        /// Networks besides the one in `body`, if any: name and the body of the API's `EndpointSettings`.
        networks: Vec<(String, Value)>,
    },
    /// Start a container.
    StartContainer {
        /// Its id or name.
        name: String,
    },
    /// Stop and start a container.
    RestartContainer {
        /// Its id or name.
        name: String,
    },
    /// Give a container another name.
    RenameContainer {
        /// Its id.
        id: String,
        /// The new name.
        name: String,
    },
    /// Connect a container to a network.
    Connect {
        /// The container's id or name.
        container: String,
        /// The network's name.
        network: String,
        /// The API's `EndpointSettings`.
        endpoint: Value,
    },
    /// Stop and remove a container; its volumes stay.
    RemoveContainer {
        /// Its id or name.
        name: String,
    },
    /// Wait until a container is healthy by its own health check (or, without one, stays running).
    WaitHealthy {
        /// Its name.
        name: String,
    },
    /// The same for a container on volumes that this run has made: its first start runs SQL. Where that fails, the container and these
    /// volumes are removed, since a first start that ended half way is never gone on with.
    WaitFirstStart {
        /// Its name.
        name: String,
        /// The volumes that were made for it in this run; nothing else has ever been on them.
        volumes: Vec<String>,
        /// What its first start runs.
        first_start: Arc<FirstStart>,
    },
}

/// What questions are asked about, by question: the words of its script.
pub type Items = HashMap<&'static str, Vec<String>>;

/// What is asked of a database server.
#[derive(Clone, Debug, Default)]
pub struct Inquiry {
    /// Its declared databases.
    pub databases: Vec<String>,
    /// Those of them that are asked for more than their ledgers.
    pub inside: BTreeSet<String>,
    /// The questions that are asked of it besides its ledger, each with the keys that it is about; without any it is about all.
    pub items: Items,
}

impl Inquiry {
    /// A question's query about the keys that it is asked about; `None` where it is not asked, or has no query.
    pub fn query(&self, question: &Question) -> Option<String> {
        let (dialect, query) = question.sql()?;
        let keys = self.items.get(question.name)?;
        let keys: Vec<_> = keys.iter().map(|key| literal(dialect, key)).collect();
        let wanted = match keys.is_empty() {
            true => "IS NOT NULL".to_owned(),
            false => format!("IN ({})", keys.join(", ")),
        };
        Some(query.replace(WANTED, &wanted))
    }

    /// Whether a question is asked that tells of a key, of the server or of one of its databases.
    pub fn asks(&self, question: &Question, key: &str, database: Option<&String>) -> bool {
        if database.is_some_and(|database| !self.inside.contains(database)) {
            return false;
        }
        let tells = |keys: &Vec<String>| {
            keys.is_empty() || !question.is_narrowed() || keys.iter().any(|one| one == key)
        };
        self.items.get(question.name).is_some_and(tells)
    }
}

/// What one look at the targets asks: everything, in one trip each.
#[derive(Clone, Debug, Default)]
pub struct Sheet {
    /// The Compose project.
    pub project: String,
    /// Names that our containers have or would have, with their service; a container that has one and is not of the project
    /// is foreign.
    pub containers: HashMap<String, String>,
    /// Image tags whose inspection is wanted, and whether the registry is asked about one that the engine does not have.
    pub images: Vec<(String, bool)>,
    /// Addresses and ports that our containers want on the machine; busy ones are answered with their holder.
    pub ports: Vec<(String, u16)>,
    /// Networks whose inspection is wanted.
    pub networks: Vec<String>,
    /// Volumes whose inspection is wanted.
    pub volumes: Vec<String>,
    /// Files of the generated folder.
    pub files: Vec<String>,
    /// Database servers, each with what is asked of it.
    pub servers: Vec<(Arc<Server>, Inquiry)>,
    /// Machines, each with the items of its questions, by question.
    pub machines: Vec<(Arc<str>, Items)>,
    /// The questions, all kinds together.
    pub questions: Vec<Question>,
}

/// One change's SQL, ready to be sent with others of its server in one trip.
#[derive(Clone, Debug)]
pub struct SqlStep {
    /// The database it runs in; `None` is the maintenance database (PostgreSQL) or none (MariaDB).
    pub database: Option<String>,
    /// Statements, each with its semicolon.
    pub text: Text,
    /// Runs in one transaction, together with its ledger entry.
    pub transaction: bool,
    /// What is written into the ledger when it is done: id and digest.
    pub remember: Option<(String, String)>,
    /// What is taken out of the ledger when it is done.
    pub forget: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_in_one_line_is_a_text() {
        assert_eq!(unflat("a\\nb\\\\n\\tc\\"), "a\nb\\n\tc");
    }
}
