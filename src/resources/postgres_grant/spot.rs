//! Where rights lie, and what is held there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::command::Row;
use crate::resources::postgres::{array, ident, integer, maybe_text, text};

/// What a role has in a database, by spot; rights on single objects are part of the spot of their class.
pub type Holding = BTreeMap<Spot, Held>;

/// Where a right lies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    /// What it is on.
    pub(super) level: Level,
    /// The schema; empty where there is none.
    pub(super) schema: String,
    /// The only object; empty: all of the class.
    pub(super) object: String,
}

/// What a right is on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Database,
    Schema,
    /// Objects of a class.
    Objects(Class),
    /// Columns of a table, the spot's object. A privilege on one is written `SELECT (id)`.
    Columns,
    /// What a creator's objects of a class will have.
    Future(Class, String),
}

/// A class of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Tables, views, materialized views and foreign tables.
    Tables,
    /// Sequences.
    Sequences,
    /// Functions, procedures and aggregates, by name and types of arguments.
    Functions,
    /// Types and domains.
    Types,
    /// Procedural languages.
    Languages,
    /// Foreign-data wrappers.
    Wrappers,
    /// Foreign servers.
    Servers,
    /// Large objects, by number.
    LargeObjects,
    /// Schemas, for default privileges.
    Schemas,
}

/// Key in the file, word of the question, all, one, keyword of `GRANT`, all privileges.
type Words = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
);

impl Class {
    const ALL: [Class; 9] = [
        Class::Tables,
        Class::Sequences,
        Class::Functions,
        Class::Types,
        Class::Languages,
        Class::Wrappers,
        Class::Servers,
        Class::LargeObjects,
        Class::Schemas,
    ];

    const fn words(self) -> Words {
        const TABLE: &[&str] = &["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"];
        match self {
            Class::Tables => ("tables", "table", "table", "TABLE", TABLE),
            Class::Sequences => ("sequences", "sequence", "sequence", "SEQUENCE", &["USAGE", "SELECT", "UPDATE"]),
            Class::Functions => ("functions", "function", "function", "ROUTINE", &["EXECUTE"]),
            Class::Types => ("types", "type", "type", "TYPE", &["USAGE"]),
            Class::Languages => ("languages", "language", "language", "LANGUAGE", &["USAGE"]),
            Class::Wrappers => (
                "foreign_data_wrappers",
                "wrapper",
                "foreign-data wrapper",
                "FOREIGN DATA WRAPPER",
                &["USAGE"],
            ),
            Class::Servers => ("foreign_servers", "server", "foreign server", "FOREIGN SERVER", &["USAGE"]),
            Class::LargeObjects => (
                "large_objects",
                "large object",
                "large object",
                "LARGE OBJECT",
                &["SELECT", "UPDATE"],
            ),
            Class::Schemas => ("schemas", "schemas", "schema", "SCHEMA", &["USAGE", "CREATE"]),
        }
    }

    /// Its key in the file, and the noun for several.
    pub fn key(self) -> &'static str {
        self.words().0
    }

    /// As the question calls it.
    pub(super) fn word(self) -> &'static str {
        self.words().1
    }

    /// The noun for one.
    pub(super) fn noun(self) -> &'static str {
        self.words().2
    }

    /// As `GRANT` calls one.
    pub(super) fn sql(self) -> &'static str {
        self.words().3
    }

    /// What `ALL` stands for.
    pub fn privileges(self) -> &'static [&'static str] {
        self.words().4
    }

    /// What everybody has on an object of this class unless it was revoked.
    pub(super) fn of_everybody(self) -> Option<&'static str> {
        match self {
            Class::Functions => Some("EXECUTE"),
            Class::Types | Class::Languages => Some("USAGE"),
            _ => None,
        }
    }

    fn read(word: &str) -> Option<Self> {
        Class::ALL.into_iter().find(|class| class.word() == word)
    }
}

impl Spot {
    fn of(level: Level, schema: &str, object: &str) -> Self {
        Spot {
            level,
            schema: schema.to_owned(),
            object: object.to_owned(),
        }
    }

    /// The database.
    pub fn database() -> Self {
        Spot::of(Level::Database, "", "")
    }

    /// A schema itself.
    pub fn schema(schema: &str) -> Self {
        Spot::of(Level::Schema, schema, "")
    }

    /// All objects of a class in a schema.
    pub fn all(class: Class, schema: &str) -> Self {
        Spot::of(Level::Objects(class), schema, "")
    }

    /// One object of a class; a function with the types of its arguments, as the server writes them.
    pub fn one(class: Class, schema: &str, object: &str) -> Self {
        Spot::of(Level::Objects(class), schema, object)
    }

    /// Columns of a table.
    pub fn columns(schema: &str, table: &str) -> Self {
        Spot::of(Level::Columns, schema, table)
    }

    /// Objects of a class that somebody will make, in a schema or (empty) anywhere.
    pub fn future(class: Class, schema: &str, creator: &str) -> Self {
        Spot::of(Level::Future(class, creator.to_owned()), schema, "")
    }

    /// The spots of a row, which are more than one where it is about columns, and what is held there.
    pub(super) fn read(row: &Row, level: &str) -> Result<Vec<(Spot, Held)>, String> {
        let schema = text(row, "schema")?;
        let held = Held::read(row)?;
        let level = match level {
            "column" => return Ok(held.by_table(schema)),
            "database" => Level::Database,
            "schema" => Level::Schema,
            other => match (other.strip_prefix("future "), Class::read(other)) {
                (Some(class), _) => {
                    let class = Class::ALL.into_iter().find(|one| one.key() == class);
                    let class = class.ok_or_else(|| unknown(other))?;
                    Level::Future(class, text(row, "creator")?.to_owned())
                }
                (None, Some(class)) => Level::Objects(class),
                (None, None) => return Err(unknown(other)),
            },
        };
        Ok(vec![(Spot::of(level, schema, ""), held)])
    }

    /// The spot of all objects of its class.
    pub(super) fn whole(&self) -> Spot {
        Spot {
            object: match self.level {
                Level::Columns => self.object.clone(),
                _ => String::new(),
            },
            ..self.clone()
        }
    }

    /// Whether it is a single object of a class.
    pub(super) fn is_one(&self) -> bool {
        matches!(self.level, Level::Objects(_)) && !self.object.is_empty()
    }

    /// What is had where the server counted nothing: a schema without tables has none to count.
    pub(super) fn nothing(&self, had: &Holding) -> Held {
        let counted = had.contains_key(&Spot::schema(&self.schema));
        let none = matches!(self.level, Level::Objects(_)) && !self.is_one() && counted;
        Held {
            total: i64::from(!none),
            rights: BTreeMap::new(),
        }
    }

    /// What everybody has here from the start.
    pub(super) fn of_everybody(&self) -> Option<&'static str> {
        match &self.level {
            Level::Objects(class) => class.of_everybody(),
            Level::Future(class, _) if self.schema.is_empty() => class.of_everybody(),
            _ => None,
        }
    }

    /// The name of its field.
    pub fn field(&self) -> String {
        let schema = match self.schema.as_str() {
            "" => String::new(),
            schema => format!(" {schema}"),
        };
        match &self.level {
            Level::Database => "database".to_owned(),
            Level::Schema => format!("schema{schema}"),
            Level::Objects(class) if !self.is_one() => format!("{}{schema}", class.key()),
            Level::Objects(class) => format!("{} {}", class.noun(), self.named()),
            Level::Columns => format!("columns {}", self.named()),
            Level::Future(class, creator) => format!("future {}{schema} by {creator}", class.key()),
        }
    }

    /// `schema.object`, for people.
    fn named(&self) -> String {
        match self.schema.as_str() {
            "" => self.object.clone(),
            schema => format!("{schema}.{}", self.object),
        }
    }

    /// For people.
    pub(super) fn says(&self) -> String {
        let schema = &self.schema;
        match &self.level {
            Level::Database => "the database".to_owned(),
            Level::Schema => format!("schema `{schema}`"),
            Level::Objects(class) if self.is_one() => format!("the {} `{}`", class.noun(), self.named()),
            Level::Objects(class) if schema.is_empty() => format!("{}s", class.noun()),
            Level::Objects(class) => format!("the {} of `{schema}`", class.key()),
            Level::Columns => format!("columns of `{}`", self.named()),
            Level::Future(class, creator) if schema.is_empty() => {
                format!("{} that `{creator}` will make", class.key())
            }
            Level::Future(class, creator) => {
                format!("{} that `{creator}` will make in `{schema}`", class.key())
            }
        }
    }

    /// `"schema"."object"`, or what stands for a name where there is no schema.
    pub(super) fn sql_name(&self) -> String {
        match &self.level {
            Level::Objects(Class::LargeObjects) => self.object.clone(),
            _ if self.schema.is_empty() => ident(&self.object),
            _ => format!("{}.{}", ident(&self.schema), ident(&self.object)),
        }
    }
}

fn unknown(level: &str) -> String {
    format!("the server answered about `{level}`, which nobody asked")
}

/// How many objects are at a spot, and what is had on them, by privilege.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub(super) total: i64,
    pub(super) rights: BTreeMap<String, Right>,
}

/// One privilege at a spot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Right {
    /// The objects on which it is held.
    pub held: Extent,
    /// Those of them on which somebody granted it: not as an owner, not from the extension that made the object.
    pub given: Extent,
    /// Those on which it may be granted to others.
    pub option: BTreeSet<String>,
    /// An object on which it is not held.
    pub missing: Option<String>,
    /// An object on which somebody granted it.
    pub example: Option<String>,
}

/// Some of the objects at a spot: these, or all but these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Extent {
    pub count: i64,
    names: BTreeSet<String>,
    all_but: bool,
}

impl Extent {
    fn all(count: i64) -> Self {
        Extent {
            count,
            names: BTreeSet::new(),
            all_but: true,
        }
    }

    fn of(names: BTreeSet<String>) -> Self {
        Extent {
            count: i64::try_from(names.len()).unwrap_or(i64::MAX),
            names,
            all_but: false,
        }
    }

    pub fn contains(&self, name: &str) -> bool {
        self.names.contains(name) != self.all_but
    }

    /// How many there are besides some names.
    pub fn besides(&self, names: &[&str]) -> i64 {
        let among = names.iter().filter(|name| self.contains(name)).count();
        self.count - i64::try_from(among).unwrap_or(i64::MAX)
    }
}

impl Held {
    /// All of these, on one object.
    pub fn of(privileges: &[&str]) -> Self {
        let right = Right {
            held: Extent::all(1),
            given: Extent::all(1),
            ..Right::default()
        };
        Held {
            total: 1,
            rights: privileges
                .iter()
                .map(|name| ((*name).to_owned(), right.clone()))
                .collect(),
        }
    }

    /// Whether somebody granted any of it.
    pub fn is_given(&self) -> bool {
        self.rights.values().any(|right| right.given.count > 0)
    }

    /// What of it is about one object.
    pub fn of_object(&self, object: &str) -> Self {
        let one = |extent: &Extent| match extent.contains(object) {
            true => Extent::all(1),
            false => Extent::default(),
        };
        let rights = self.rights.iter().filter(|(_, right)| right.held.contains(object));
        let rights = rights.map(|(name, right)| {
            let right = Right {
                held: Extent::all(1),
                given: one(&right.given),
                option: right.option.iter().filter(|name| *name == object).cloned().collect(),
                ..Right::default()
            };
            (name.clone(), right)
        });
        Held {
            total: 1,
            rights: rights.collect(),
        }
    }

    fn read(row: &Row) -> Result<Self, String> {
        let mut rights = BTreeMap::new();
        for entry in array(row, "rights") {
            let entry = entry.as_object().ok_or("a right in the server's answer is unreadable")?;
            let right = Right::read(entry)?;
            for privilege in names(entry, "privileges") {
                // The same privilege stands twice where it was granted with and without its grant option.
                let known = rights.entry(privilege).or_insert_with(|| right.clone());
                known.option.extend(right.option.iter().cloned());
            }
        }
        Ok(Held {
            total: integer(row, "total")?,
            rights,
        })
    }

    /// Rights on columns by table. The server names a table and its column with a separator that no key of a file can hold.
    fn by_table(&self, schema: &str) -> Vec<(Spot, Held)> {
        let mut tables: BTreeMap<&str, Held> = BTreeMap::new();
        for (privilege, right) in &self.rights {
            for name in &right.held.names {
                let Some((table, column)) = name.split_once('\u{1f}') else {
                    continue;
                };
                let one = |extent: &Extent| match extent.contains(name) {
                    true => Extent::all(1),
                    false => Extent::default(),
                };
                let right = Right {
                    held: Extent::all(1),
                    given: one(&right.given),
                    option: right.option.iter().filter(|one| *one == name).cloned().collect(),
                    ..Right::default()
                };
                let held = tables.entry(table).or_default();
                held.total = 1;
                held.rights.insert(on_column(privilege, column), right);
            }
        }
        let spots = tables.into_iter();
        spots.map(|(table, held)| (Spot::columns(schema, table), held)).collect()
    }
}

impl Right {
    fn read(entry: &Row) -> Result<Self, String> {
        let held = Extent {
            count: integer(entry, "held")?,
            names: names(entry, "names"),
            all_but: entry.get("off") == Some(&Value::Bool(true)),
        };
        let given = match entry.get("given") {
            Some(Value::Array(_)) => Extent::of(names(entry, "given")),
            _ => held.clone(),
        };
        Ok(Right {
            held,
            given,
            option: names(entry, "option"),
            missing: maybe_text(entry, "missing").map(str::to_owned),
            example: maybe_text(entry, "example").map(str::to_owned),
        })
    }
}

fn names(entry: &Row, column: &str) -> BTreeSet<String> {
    let names = array(entry, column).iter();
    names.filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

/// How a privilege on a column is written.
pub fn on_column(privilege: &str, column: &str) -> String {
    format!("{privilege} ({column})")
}

/// A privilege, and the column where it is on one.
pub(super) fn privilege_and_column(privilege: &str) -> (&str, Option<&str>) {
    match privilege.split_once(" (") {
        Some((privilege, rest)) => (privilege, rest.strip_suffix(')')),
        None => (privilege, None),
    }
}

/// A function with the types of its arguments as the server writes them: `f(int, text)` is `f(integer, text)`.
pub fn signature(written: &str) -> Option<String> {
    let (name, arguments) = written.trim().strip_suffix(')')?.split_once('(')?;
    let arguments: Vec<String> = match arguments.trim() {
        "" => Vec::new(),
        arguments => arguments.split(',').map(|one| type_name(one.trim())).collect(),
    };
    Some(format!("{}({})", name.trim(), arguments.join(", ")))
}

/// A type as the server writes it.
fn type_name(written: &str) -> String {
    const NAMES: &[(&str, &str)] = &[
        ("int", "integer"),
        ("int4", "integer"),
        ("int8", "bigint"),
        ("int2", "smallint"),
        ("bool", "boolean"),
        ("varchar", "character varying"),
        ("char", "character"),
        ("bpchar", "character"),
        ("float8", "double precision"),
        ("float", "double precision"),
        ("float4", "real"),
        ("decimal", "numeric"),
        ("timestamptz", "timestamp with time zone"),
        ("timestamp", "timestamp without time zone"),
        ("timetz", "time with time zone"),
        ("time", "time without time zone"),
        ("varbit", "bit varying"),
    ];
    if let Some(item) = written.strip_suffix("[]") {
        return format!("{}[]", type_name(item.trim()));
    }
    let plain = written.strip_prefix("pg_catalog.").unwrap_or(written);
    if plain.contains('"') || plain.contains('.') {
        return plain.to_owned();
    }
    let plain = plain.to_ascii_lowercase();
    let known = NAMES.iter().find(|(name, _)| *name == plain);
    known.map_or(plain, |(_, name)| (*name).to_owned())
}
