//! The environment language as data: what a TOML table may hold ([`Table`], one static each), and what a file did hold
//! ([`Node`], a value that remembers where it stands). The reader, *did you mean*, the JSON Schema and the reference in the
//! README are all made from the same [`Table`]s.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::Problem;
use crate::secret::Secret;

/// A TOML table: its keys, each with a type and a sentence.
#[derive(Debug)]
pub struct Table {
    /// How the table is called in the file, as in `postgres.NAME.role.NAME`.
    pub name: &'static str,
    /// What the table is, in one sentence.
    pub doc: &'static str,
    /// Its keys, in the order in which they are documented.
    pub keys: &'static [Key],
}

/// A key of a [`Table`].
#[derive(Debug)]
pub struct Key {
    /// As written in the file.
    pub name: &'static str,
    /// What it may hold.
    pub of: Type,
    /// Whether it has to be there (in a merged, not abstract environment).
    pub required: bool,
    /// What it is when the file says nothing, in TOML syntax (`"true"`, `"\"0.0.0.0\""`, `"[]"`). `None`: absent means not managed, or none.
    pub default: Option<&'static str>,
    /// What it means, in one sentence, with units where there are any.
    pub doc: &'static str,
}

impl Key {
    /// An optional key without a default.
    pub const fn new(name: &'static str, of: Type, doc: &'static str) -> Self {
        Key {
            name,
            of,
            required: false,
            default: None,
            doc,
        }
    }

    /// The same, required.
    pub const fn required(self) -> Self {
        Key {
            required: true,
            ..self
        }
    }

    /// The same, with a default in TOML syntax.
    pub const fn default(self, default: &'static str) -> Self {
        Key {
            default: Some(default),
            ..self
        }
    }
}

/// What a [`Key`] may hold.
#[derive(Debug)]
pub enum Type {
    /// `true` or `false`.
    Bool,
    /// A whole number in a range, both ends included.
    Int(i64, i64),
    /// Any string. A template over `vars`, rendered while reading.
    Text,
    /// A string that is a template over `vars` and the endpoints of other services; stays a template until its consumer is known.
    Template,
    /// A name of ours (service, host, environment, project): `[a-z][a-z0-9_-]*`, at most 48 characters.
    Name,
    /// A name inside a database or a system (role, database, user): 1 to 63 printable characters, no `/`, quote, backslash or control character.
    Identifier,
    /// A name inside a PostgreSQL server: 1 to 63 bytes without control characters.
    PostgresName,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A path relative to the folder that holds `environments/`'s files (the folder of the file that says it), or absolute.
    Path,
    /// `ADDRESS:PORT`, port 1 to 65535.
    Listen,
    /// A reference to a service, `TABLE.NAME`, as in `postgres.analytics`.
    Service,
    /// A plain string (only where `stage = "dev"`), `{ env }`, `{ file }`, `{ dotenv, key }`, `{ command }`, `{ generate = true }`.
    Secret,
    /// A setting of a server: string, number, boolean, or a list of strings.
    Setting,
    /// A list.
    List(&'static Type),
    /// Free keys, values of one type.
    Map(&'static Type),
    /// A table with these keys.
    Table(&'static Table),
    /// Free names, each a table with these keys: `[role.NAME]`.
    Named(&'static Table),
    /// A list of tables: `[[grant]]`.
    Many(&'static Table),
    /// Either of the two: the first that a value's TOML type fits.
    Either(&'static Type, &'static Type),
}

/// A file of the user: its name as shown to people, and its text, kept for excerpts.
#[derive(PartialEq, Eq)]
pub struct Source {
    /// Path as shown in messages, as in `environments/local.toml`.
    pub path: String,
    /// The whole text.
    pub text: String,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path) // the text may hold secrets
    }
}

/// Where a value comes from: a place in a file, or nowhere (a default, or derived).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin(Option<Arc<Spot>>);

#[derive(Debug, PartialEq, Eq)]
struct Spot {
    source: Arc<Source>,
    span: Range<usize>,
    line: usize,
    start: usize, // of the line, in bytes: the column is counted when somebody asks
}

impl Spot {
    fn column(&self) -> usize {
        let before = self.source.text.get(self.start..self.span.start);
        before.map_or(1, |before| before.chars().count() + 1)
    }
}

impl Origin {
    /// A default, or something that no file says.
    pub const NONE: Origin = Origin(None);

    /// A byte range of a file.
    pub fn at(source: &Arc<Source>, span: Range<usize>, lines: &Lines) -> Self {
        let (line, start) = lines.of(span.start);
        Origin(Some(Arc::new(Spot {
            source: Arc::clone(source),
            span,
            line,
            start,
        })))
    }

    /// The file, if there is one.
    pub fn source(&self) -> Option<&Source> {
        self.0.as_deref().map(|spot| &*spot.source)
    }

    /// The byte range in the file's text.
    pub fn span(&self) -> Range<usize> {
        self.0.as_ref().map_or(0..0, |spot| spot.span.clone())
    }

    /// Line, from 1.
    pub fn line(&self) -> Option<usize> {
        self.0.as_ref().map(|spot| spot.line)
    }

    /// Column in characters, from 1.
    pub fn column(&self) -> Option<usize> {
        self.0.as_deref().map(Spot::column)
    }

    /// The whole line it begins on.
    pub fn line_text(&self) -> Option<&str> {
        let text = &self.source()?.text;
        let (before, after) = text.split_at_checked(self.span().start)?;
        let from = before.rfind('\n').map_or(0, |at| at + 1);
        let to = after.find('\n').map_or(text.len(), |at| before.len() + at);
        text.get(from..to)
    }

    /// Whether this is a default or derived.
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// `local.toml:24`, or `default`.
    pub fn short(&self) -> String {
        match &self.0 {
            None => "default".to_owned(),
            Some(spot) => {
                let name = spot.source.path.rsplit('/').next().unwrap_or_default();
                format!("{name}:{}", spot.line)
            }
        }
    }
}

/// `environments/local.toml:24:12`, or `default`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("default"),
            Some(spot) => write!(f, "{}:{}:{}", spot.source.path, spot.line, spot.column()),
        }
    }
}

/// Where the lines of a text begin, so that a position is found without reading the text again.
pub struct Lines(Vec<usize>);

impl Lines {
    /// The line starts of a text.
    pub fn new(text: &str) -> Self {
        Lines(
            std::iter::once(0)
                .chain(text.match_indices('\n').map(|(at, _)| at + 1))
                .collect(),
        )
    }

    /// The line of a byte, from 1, and the byte at which it begins.
    fn of(&self, at: usize) -> (usize, usize) {
        let line = self.0.partition_point(|start| *start <= at).max(1);
        (line, self.0.get(line - 1).copied().unwrap_or(0))
    }
}

/// A value of a file that remembers where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it is.
    pub value: Value,
    /// Where the value stands.
    pub origin: Origin,
}

/// What a [`Node`] holds after it was checked against its [`Type`].
#[derive(Clone, Debug)]
pub enum Value {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A string; for [`Type::Template`] still a template.
    Text(String),
    /// Where a secret comes from, and the secret once it was had; before that (`validate`) an empty one.
    Secret(SecretSource, Secret),
    /// A list.
    List(Vec<Node>),
    /// A table or a map, by key.
    Table(Entries),
}

/// The entries of a table, by key: where the key stands and what it holds.
#[derive(Clone, Debug, Default)]
pub struct Entries(pub BTreeMap<String, Entry>);

/// A key and its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where the key (or the table's header) stands.
    pub key: Origin,
    /// What it holds.
    pub node: Node,
}

/// Where a secret comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// Written in the file; only where `stage = "dev"`.
    Plain(Secret),
    /// An environment variable of the operator.
    Env(String),
    /// A file, its last newline taken off.
    File(PathBuf),
    /// A key of a `.env` file.
    Dotenv(PathBuf, String),
    /// What a program prints, its last newline taken off.
    Command(Vec<String>),
    /// Made once and kept beside the environment's generated files.
    Generate,
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown().as_str())
    }
}

impl SecretSource {
    /// How people call it, without the value: `plain`, `env ANALYTICS_PASSWORD`.
    pub fn shown(&self) -> String {
        match self {
            SecretSource::Plain(_) => "plain".to_owned(),
            SecretSource::Env(name) => format!("env {name}"),
            SecretSource::File(path) => format!("file {}", path.display()),
            SecretSource::Dotenv(path, key) => format!("dotenv {} {key}", path.display()),
            SecretSource::Command(argv) => {
                format!("command {}", argv.first().map_or("", String::as_str))
            }
            SecretSource::Generate => "generated".to_owned(),
        }
    }
}

impl Node {
    /// The entries, if this is a table; none otherwise.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        let map = match &self.value {
            Value::Table(entries) => Some(&entries.0),
            _ => None,
        };
        map.into_iter()
            .flatten()
            .map(|(key, entry)| (key.as_str(), entry))
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Table(entries) => entries.0.get(key).map(|entry| &entry.node),
            _ => None,
        }
    }

    /// Where a key's value stands, or none.
    pub fn origin(&self, key: &str) -> Origin {
        self.get(key)
            .map(|node| node.origin.clone())
            .unwrap_or_default()
    }

    /// A string under a key.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Node::as_text)
    }

    /// A boolean under a key.
    pub fn bool(&self, key: &str) -> Option<bool> {
        match self.get(key)?.value {
            Value::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// A whole number under a key.
    pub fn int(&self, key: &str) -> Option<i64> {
        match self.get(key)?.value {
            Value::Int(value) => Some(value),
            _ => None,
        }
    }

    /// The items of a list under a key; none if it is absent or no list.
    pub fn list(&self, key: &str) -> &[Node] {
        match self.get(key).map(|node| &node.value) {
            Some(Value::List(items)) => items,
            _ => &[],
        }
    }

    /// The strings of a list under a key.
    pub fn texts(&self, key: &str) -> Vec<String> {
        self.list(key)
            .iter()
            .filter_map(|node| node.as_text().map(str::to_owned))
            .collect()
    }

    /// The named tables (or map entries) under a key, in order of name.
    pub fn named(&self, key: &str) -> impl Iterator<Item = (&str, &Entry)> {
        self.get(key).into_iter().flat_map(Node::entries)
    }

    /// A secret under a key.
    pub fn secret(&self, key: &str) -> Option<&Secret> {
        match &self.get(key)?.value {
            Value::Secret(_, secret) => Some(secret),
            _ => None,
        }
    }

    /// This node's string.
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// What an environment is for; decides what is allowed in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Plain passwords are allowed.
    Dev,
    /// As production, for trying.
    Staging,
    /// Data is protected.
    Prod,
}

/// What an environment is applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// A Docker engine.
    Docker,
    /// The servers of `[host.NAME]`.
    Ssh,
    /// This machine.
    Local,
    /// An engine if one answers, else this machine: not decided yet, and meant as [`Driver::Docker`] until it is.
    Auto,
}

impl Driver {
    /// Whether services are containers.
    pub fn is_engine(self) -> bool {
        matches!(self, Driver::Docker | Driver::Auto)
    }
}

/// A checked environment: its merged tree and all that it names, so that everything behind it is pure.
#[derive(Clone, Debug)]
pub struct Environment {
    /// As in `local`.
    pub name: String,
    /// The Compose project, as in `iact`.
    pub project: String,
    /// What it is for.
    pub stage: Stage,
    /// What it is applied to.
    pub driver: Driver,
    /// The host whose Docker engine it is, reached over SSH; none where it is this machine's, or no engine.
    pub engine_host: Option<Arc<str>>,
    /// Only for others to extend: validated, never planned.
    pub is_abstract: bool,
    /// The file it was loaded from, as shown to people.
    pub file: String,
    /// The folder of environments; absolute.
    pub dir: PathBuf,
    /// The folder of generated files, `.provision/ENV` beside the folder of environments; absolute.
    pub folder: PathBuf,
    /// The merged tree: types checked, defaults filled in, `enabled = false` dropped, paths absolute, globs expanded, `vars`
    /// rendered into every [`Type::Text`]; [`Type::Template`] still as written.
    pub tree: Node,
    /// Texts of the user's files that services asked for ([`crate::services::reads`]), by absolute path.
    pub texts: BTreeMap<PathBuf, Arc<str>>,
    /// SHA-256 over names and contents of the user's folders that services asked for.
    pub folders: BTreeMap<PathBuf, String>,
    /// The user that owns each of the user's folders whose owner services asked for, by number.
    pub owners: BTreeMap<PathBuf, u32>,
    /// SHA-256 of the user's files that services asked for.
    pub files: BTreeMap<PathBuf, String>,
    /// Templates laid beside the environment (`templates/NAME` in its folder), in place of ours, by name.
    pub templates: BTreeMap<String, Arc<str>>,
    /// The secrets that were made for it (`{ generate = true }`); known once secrets are had.
    pub generated: Vec<Generated>,
    /// What somebody should know.
    pub warnings: Vec<Problem>,
}

/// A secret that was made once for an environment, without its value.
#[derive(Clone, Debug)]
pub struct Generated {
    /// Its place in the tree, as in `postgres.analytics.role.django_user.password`.
    pub key: String,
    /// A digest of its value, salted with the environment and the key: two operators who have different values have different digests.
    pub digest: String,
    /// The file on this machine that keeps it.
    pub path: PathBuf,
    /// Where it is declared.
    pub origin: Origin,
    /// Whether it was made just now, since nobody had kept one on this machine.
    pub is_new: bool,
}

impl Environment {
    /// The services of a table, by name: `services("postgres")`.
    pub fn services<'a>(&'a self, table: &'a str) -> impl Iterator<Item = (&'a str, &'a Entry)> {
        self.tree.named(table)
    }

    /// Whether it is applied to the engine of this machine.
    pub fn engine_is_here(&self) -> bool {
        self.driver.is_engine() && self.engine_host.is_none()
    }

    /// The folder of generated files as the engine finds it: where a bind mount begins. On a host it is root's, beside the record
    /// and the journal of the environment.
    pub fn engine_folder(&self) -> PathBuf {
        match &self.engine_host {
            None => self.folder.clone(),
            Some(_) => {
                PathBuf::from("/var/lib/provision").join(format!("{}.{}", self.project, self.name))
            }
        }
    }
}
