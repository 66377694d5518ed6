//! `postgres_grant`: all rights of one role in one PostgreSQL database, as exact sets.
//!
//! Rights lie in *spots*: the database, a schema, all tables of a schema, all its sequences, and what tables and sequences made
//! tomorrow will have. The server counts for each spot how many of its objects a role has a right on; so comparing, showing
//! and changing are written once, over spots. What a role has as the owner of an object is had, and never too much; what it
//! has through PUBLIC or a membership is neither. What an extension or the server gave when it was made is not too much either.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::command::{Ask, Question, Row, Text};
use crate::resource::{Awaited, Field, Impact, Kind, Removal, Same, Step};
use crate::resources::postgres::{array, block, ident, integer, literal, maybe_text, text};

/// Which of the schemas that rights are declared in are there.
pub const SCHEMAS: Question = Question {
    name: "postgres_schema",
    ask: Ask::PostgresDatabase(
        "SELECT nspname::text AS key FROM pg_namespace WHERE nspname::text {wanted}",
    ),
};

/// All rights of one role in one PostgreSQL database.
#[derive(Clone, Debug, Default)]
pub struct PostgresGrant {
    /// The role, or `PUBLIC`; the key.
    pub role: String,
    /// The name that the role had.
    pub was: Option<String>,
    /// The database it is about; also its place.
    pub database: String,
    /// CONNECT, CREATE, TEMPORARY on the database.
    pub database_privileges: BTreeSet<String>,
    /// Rights by schema.
    pub schemas: BTreeMap<String, SchemaRights>,
    /// Who makes tables tomorrow: the database's owner and every declared role that can create there; for `future`.
    pub owners: BTreeSet<String>,
    /// Whether rights that are not declared are taken away.
    pub exact: bool,
    /// Of a found one: what the role has.
    pub had: Holding,
}

/// Rights in a schema.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchemaRights {
    /// USAGE, CREATE on the schema itself.
    pub schema: BTreeSet<String>,
    /// On every table and view in it; `ALL` is spelled out.
    pub tables: BTreeSet<String>,
    /// On every sequence in it; `ALL` is spelled out.
    pub sequences: BTreeSet<String>,
    /// On tables made tomorrow by any of the owners.
    pub future_tables: BTreeSet<String>,
    /// On sequences made tomorrow by any of the owners.
    pub future_sequences: BTreeSet<String>,
}

/// What a role has in a database, by spot.
pub type Holding = BTreeMap<Spot, Held>;

/// Where a right lies. An empty schema is the database as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    level: Level,
    schema: String,
}

/// What a right is on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Database,
    Schema,
    Tables,
    Sequences,
    Columns,
    /// What a creator's objects of a class (`tables`) will have.
    Future(String, String),
}

/// How many objects are at a spot, and what is had on them, by privilege.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    total: i64,
    rights: BTreeMap<String, Right>,
}

/// One privilege at a spot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Right {
    /// On how many objects it is had.
    held: i64,
    /// On how many of them somebody gave it: not as an owner, not from the extension that made the object.
    given: i64,
    /// On how many of them it may be passed on.
    option: i64,
    /// An object on which it is not had.
    missing: Option<String>,
    /// An object on which somebody gave it.
    example: Option<String>,
}

/// Every object that rights can be had on, with its owner and access list, as one `SELECT`.
macro_rules! objects {
    () => {
        "SELECT 'database' AS level, ''::name AS schema, d.datname AS name, NULL::name AS part, d.datdba AS owner, \
         coalesce(d.datacl, acldefault('d'::\"char\", d.datdba)) AS acl, 'pg_database'::regclass::oid AS class, d.oid AS id, 0 AS sub \
         FROM pg_database d WHERE d.datname = current_database() \
         UNION ALL SELECT 'schema', n.nspname, n.nspname, NULL, n.nspowner, \
         coalesce(n.nspacl, acldefault('n'::\"char\", n.nspowner)), 'pg_namespace'::regclass, n.oid, 0 FROM pg_namespace n \
         WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'provision') \
         UNION ALL SELECT CASE c.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END, n.nspname, c.relname, NULL, c.relowner, \
         coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's'::\"char\" ELSE 'r'::\"char\" END, c.relowner)), \
         'pg_class'::regclass, c.oid, 0 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname !~ '^pg_' \
         AND n.nspname NOT IN ('information_schema', 'provision') \
         UNION ALL SELECT 'column', n.nspname, c.relname, t.attname, c.relowner, t.attacl, 'pg_class'::regclass, c.oid, t.attnum \
         FROM pg_attribute t JOIN pg_class c ON c.oid = t.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE t.attacl IS NOT NULL AND NOT t.attisdropped AND n.nspname !~ '^pg_' \
         AND n.nspname NOT IN ('information_schema', 'provision')"
    };
}

/// What objects had from the extension that made them, as one `SELECT`.
macro_rules! initial {
    () => {
        "SELECT i.classoid AS class, i.objoid AS id, i.objsubid AS sub, b.grantee, b.privilege_type AS privilege \
         FROM pg_init_privs i CROSS JOIN LATERAL aclexplode(i.initprivs) b WHERE i.privtype = 'e'"
    };
}

// Two sorted arrays show the first object that a right lacks without comparing each with each.
// `pg_database_owner` stands for the owner of the database, who has its rights as an owner.
const QUERY: &str = concat!(
    "SELECT * FROM (WITH objects AS MATERIALIZED (",
    objects!(),
    "), initial AS MATERIALIZED (",
    initial!(),
    "), entries AS MATERIALIZED (SELECT o.level, o.schema, o.id, o.sub, e.grantee, a.privilege_type AS privilege, \
     min(CASE WHEN o.part IS NULL THEN o.name::text ELSE o.name || '.' || o.part END) AS name, \
     bool_or(NOT e.own AND i.id IS NULL) AS given, bool_or(a.is_grantable AND NOT e.own) AS option \
     FROM objects o CROSS JOIN LATERAL aclexplode(o.acl) a \
     CROSS JOIN LATERAL (SELECT CASE WHEN a.grantee = 'pg_database_owner'::regrole THEN (SELECT datdba FROM pg_database \
     WHERE datname = current_database()) ELSE a.grantee END AS grantee, \
     a.grantee IN (o.owner, 'pg_database_owner'::regrole) AS own) e \
     LEFT JOIN initial i ON i.class = o.class AND i.id = o.id AND i.sub = o.sub AND i.grantee = a.grantee \
     AND i.privilege = a.privilege_type GROUP BY 1, 2, 3, 4, 5, 6), \
     roles AS (SELECT oid, rolname::text AS name FROM pg_roles WHERE rolname !~ '^pg_' UNION ALL SELECT 0, 'PUBLIC'), \
     totals AS (SELECT level, schema, count(*) AS total, array_agg(name::text ORDER BY name::text COLLATE \"C\") AS names \
     FROM objects WHERE level <> 'column' GROUP BY 1, 2), \
     counts AS (SELECT grantee, level, schema, privilege, count(*) AS held, count(*) FILTER (WHERE given) AS given, \
     count(*) FILTER (WHERE option) AS option, min(name) FILTER (WHERE given) AS example, \
     array_agg(name ORDER BY name COLLATE \"C\") AS names FROM entries GROUP BY 1, 2, 3, 4), \
     rights AS (SELECT c.grantee, c.level, c.schema, json_agg(json_build_object('privilege', c.privilege, 'held', c.held, \
     'given', c.given, 'option', c.option, 'example', c.example, 'missing', CASE WHEN c.held < t.total THEN \
     (SELECT u.one FROM unnest(t.names, c.names) WITH ORDINALITY u(one, other, at) WHERE u.one IS DISTINCT FROM u.other \
     ORDER BY u.at LIMIT 1) END)) AS rights \
     FROM counts c LEFT JOIN totals t USING (level, schema) GROUP BY 1, 2, 3) \
     SELECT r.name AS key, 'role' AS level, current_database()::text AS schema, NULL::text AS creator, 0::bigint AS total, \
     NULL::json AS rights FROM roles r \
     UNION ALL SELECT r.name, t.level, t.schema::text, NULL, t.total, g.rights FROM roles r \
     JOIN (SELECT DISTINCT grantee FROM entries) has ON has.grantee = r.oid CROSS JOIN totals t \
     LEFT JOIN rights g ON g.grantee = r.oid AND g.level = t.level AND g.schema = t.schema \
     UNION ALL SELECT r.name, g.level, g.schema::text, NULL, 0, g.rights FROM rights g JOIN roles r ON r.oid = g.grantee \
     WHERE g.level = 'column' \
     UNION ALL SELECT r.name, CASE d.defaclobjtype WHEN 'r' THEN 'future tables' WHEN 'S' THEN 'future sequences' \
     ELSE 'future schemas' END, coalesce(n.nspname, '')::text, pg_get_userbyid(d.defaclrole)::text, 1, \
     json_agg(json_build_object('privilege', a.privilege_type, 'held', 1, 'given', 1, 'option', a.is_grantable::int)) \
     FROM pg_default_acl d CROSS JOIN LATERAL aclexplode(d.defaclacl) a JOIN roles r ON r.oid = a.grantee \
     LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace \
     WHERE d.defaclobjtype IN ('r', 'S', 'n') AND a.grantee <> d.defaclrole GROUP BY 1, 2, 3, 4) answer"
);

impl Kind for PostgresGrant {
    const NAME: &'static str = "postgres_grant";
    const QUESTION: Question = Question {
        name: "postgres_grant",
        ask: Ask::PostgresDatabase(QUERY),
    };

    fn key(&self) -> Cow<'_, str> {
        match self.is_public() {
            true => Cow::Borrowed(PUBLIC),
            false => Cow::Borrowed(&self.role),
        }
    }

    fn was(&self) -> Option<Cow<'_, str>> {
        self.was.as_deref().map(Cow::Borrowed)
    }

    fn read(&self, rows: &[Row]) -> Result<Option<Self>, String> {
        if rows.is_empty() {
            return Ok(None);
        }
        let mut database = String::new();
        let mut had = Holding::new();
        for row in rows {
            match text(row, "level")? {
                "role" => text(row, "schema")?.clone_into(&mut database),
                level => {
                    had.insert(Spot::read(row, level)?, Held::read(row)?);
                }
            }
        }
        // A role that has nothing at all is not counted for. Where something is wanted of it, that is all to be made.
        let wants = self.spots().values().any(|wanted| !wanted.is_empty());
        if had.is_empty() && wants {
            return Ok(None);
        }
        Ok(Some(PostgresGrant {
            role: self.role.clone(),
            database,
            had,
            ..PostgresGrant::default()
        }))
    }

    fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        let born;
        let had = match found {
            Some(found) => &found.had,
            None => {
                born = self.born();
                &born
            }
        };
        self.differences(had)
            .iter()
            .map(|difference| difference.field(found.is_some()))
            .collect()
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        let born;
        let had = match found {
            Some(found) => &found.had,
            None => {
                born = self.born();
                &born
            }
        };
        let differences = self.differences(had);
        let mut sql = String::new();
        let mut says = Vec::new();
        for difference in &differences {
            self.give(difference, &mut sql, &mut says);
        }
        self.take(&differences, &mut sql, &mut says);
        if sql.is_empty() {
            return Vec::new();
        }
        vec![Step::sql(few(&says), Text::plain(sql))]
    }

    fn awaits(&self, _found: Option<&Self>) -> Vec<Awaited> {
        let schemas = self.schemas.keys().filter(|schema| *schema != "public");
        schemas
            .map(|schema| Awaited { question: SCHEMAS, key: schema.clone(), noun: "schema" })
            .collect()
    }

    fn without(&self, missing: &[Awaited], _found: Option<&Self>) -> Self {
        let mut part = self.clone();
        for Awaited { key, .. } in missing {
            part.schemas.remove(key);
        }
        part
    }

    fn named(key: &str) -> Option<Self> {
        Some(PostgresGrant {
            role: key.to_owned(),
            exact: true,
            ..PostgresGrant::default()
        })
    }

    fn remove(&self) -> Removal {
        let mut nothing = PostgresGrant {
            role: self.role.clone(),
            database: self.database.clone(),
            exact: true,
            ..PostgresGrant::default()
        };
        if self.is_public() {
            // What everybody has from the start was not ours to give, so it is not ours to take.
            nothing.database_privileges = self.given(&Spot::database(), PUBLIC_DATABASE);
            let usage = self.given(&Spot::of(Level::Schema, "public"), PUBLIC_SCHEMA);
            nothing.schemas.entry("public".to_owned()).or_default().schema = usage;
        }
        Removal::Steps(nothing.steps(Some(self)))
    }
}

const PUBLIC: &str = "PUBLIC";
const PUBLIC_DATABASE: &[&str] = &["CONNECT", "TEMPORARY"];
const PUBLIC_SCHEMA: &[&str] = &["USAGE"];

/// What is wanted and what is had at one spot.
struct Difference<'a> {
    spot: Spot,
    wanted: BTreeSet<String>,
    had: Cow<'a, Held>,
    /// Wanted and not had on every object.
    missing: Vec<String>,
    /// Had and not wanted.
    extra: Vec<String>,
    /// Wanted and had with the option to pass it on.
    options: Vec<String>,
    /// Whether what is not wanted counts.
    exact: bool,
}

impl PostgresGrant {
    fn is_public(&self) -> bool {
        // No role can be called `public`, so in any writing it is everybody.
        self.role.eq_ignore_ascii_case(PUBLIC)
    }

    fn grantee(&self) -> String {
        match self.is_public() {
            true => PUBLIC.to_owned(),
            false => ident(&self.role),
        }
    }

    /// What everybody has in a database that was just made; a role of its own has nothing.
    fn born(&self) -> Holding {
        let mut had = Holding::new();
        if self.is_public() {
            had.insert(Spot::database(), Held::of(PUBLIC_DATABASE));
            had.insert(Spot::of(Level::Schema, "public"), Held::of(PUBLIC_SCHEMA));
        }
        had
    }

    /// Those of some privileges that somebody gave at a spot.
    fn given(&self, spot: &Spot, of: &[&str]) -> BTreeSet<String> {
        let rights = self.had.get(spot).map(|held| &held.rights);
        of.iter()
            .filter(|name| rights.is_some_and(|rights| rights.contains_key(**name)))
            .map(|name| (*name).to_owned())
            .collect()
    }

    /// What is wanted, by spot.
    fn spots(&self) -> BTreeMap<Spot, BTreeSet<String>> {
        let mut spots = BTreeMap::new();
        spots.insert(Spot::database(), self.database_privileges.clone());
        for (schema, rights) in &self.schemas {
            let mut put = |level: Level, wanted: &BTreeSet<String>| {
                if !wanted.is_empty() {
                    spots.insert(Spot::of(level, schema), wanted.clone());
                }
            };
            put(Level::Schema, &rights.schema);
            put(Level::Tables, &rights.tables);
            put(Level::Sequences, &rights.sequences);
            // Who makes an object has every right on it.
            for owner in self.owners.iter().filter(|owner| **owner != self.role) {
                let future = |class: &str| Level::Future(class.to_owned(), owner.clone());
                put(future("tables"), &rights.future_tables);
                put(future("sequences"), &rights.future_sequences);
            }
        }
        spots
    }

    fn differences<'a>(&self, had: &'a Holding) -> Vec<Difference<'a>> {
        let wanted = self.spots();
        let spots: BTreeSet<&Spot> = wanted.keys().chain(had.keys()).collect();
        spots
            .into_iter()
            .map(|spot| {
                let wanted = wanted.get(spot).cloned().unwrap_or_default();
                let held = had
                    .get(spot)
                    .map_or_else(|| Cow::Owned(spot.nothing(had)), Cow::Borrowed);
                Difference::new(spot.clone(), wanted, held, self.exact)
            })
            .filter(|difference| !difference.wanted.is_empty() || !difference.extra.is_empty())
            .collect()
    }

    fn give(&self, difference: &Difference<'_>, sql: &mut String, says: &mut Vec<String>) {
        if difference.missing.is_empty() {
            return;
        }
        let privileges = difference.missing.join(", ");
        let schema = ident(&difference.spot.schema);
        let to = self.grantee();
        says.push(format!("grant {privileges} on {}", difference.spot.says()));
        let on = match &difference.spot.level {
            Level::Database => format!("DATABASE {}", ident(&self.database)),
            Level::Schema => format!("SCHEMA {schema}"),
            Level::Tables => format!("ALL TABLES IN SCHEMA {schema}"),
            Level::Sequences => format!("ALL SEQUENCES IN SCHEMA {schema}"),
            Level::Columns => return, // Never wanted.
            Level::Future(class, creator) => {
                sql.push_str(&default(creator, &schema));
                class.to_ascii_uppercase()
            }
        };
        sql.push_str(&format!("GRANT {privileges} ON {on} TO {to};\n"));
    }

    fn take(&self, differences: &[Difference<'_>], sql: &mut String, says: &mut Vec<String>) {
        let from = self.grantee();
        let mut list = Vec::new();
        for difference in differences {
            for (privileges, option) in [(&difference.extra, ""), (&difference.options, "GRANT OPTION FOR ")] {
                if privileges.is_empty() {
                    continue;
                }
                let names = privileges.join(", ");
                says.push(format!(
                    "revoke {}{names} on {}",
                    if option.is_empty() { "" } else { "the grant option for " },
                    difference.spot.says()
                ));
                match &difference.spot.level {
                    Level::Future(class, creator) => {
                        let schema = &difference.spot.schema;
                        let schema = if schema.is_empty() { String::new() } else { ident(schema) };
                        sql.push_str(&default(creator, &schema));
                        let class = class.to_ascii_uppercase();
                        sql.push_str(&format!("REVOKE {option}{names} ON {class} FROM {from};\n"));
                    }
                    level => list.extend(privileges.iter().map(|privilege| {
                        format!(
                            "({}, {}, {}, {})",
                            literal(level.word()),
                            literal(&difference.spot.schema),
                            literal(privilege),
                            !option.is_empty()
                        )
                    })),
                }
            }
        }
        if !list.is_empty() {
            sql.push_str(&block(&self.revoke(&list.join(", "))));
        }
    }

    /// Takes rights from the objects that have them and no others: `REVOKE ... ON ALL TABLES` would take from an owner what is
    /// its own, and misses what somebody else than the owner gave.
    fn revoke(&self, list: &str) -> String {
        let who = match self.is_public() {
            true => "0".to_owned(),
            false => format!("(SELECT oid FROM pg_roles WHERE rolname = {})", literal(&self.role)),
        };
        let from = literal(&self.grantee());
        let objects = objects!();
        let initial = initial!();
        format!(
            "DECLARE x record; BEGIN PERFORM pg_catalog.set_config('search_path', 'pg_catalog', true); FOR x IN \
             SELECT format('REVOKE %s%s%s ON %s FROM %s CASCADE', CASE WHEN v.option THEN 'GRANT OPTION FOR ' END, a.privilege_type, \
             ' (' || quote_ident(o.part) || ')', CASE o.level WHEN 'database' THEN format('DATABASE %I', o.name) \
             WHEN 'schema' THEN format('SCHEMA %I', o.name) WHEN 'sequence' THEN format('SEQUENCE %I.%I', o.schema, o.name) \
             ELSE format('TABLE %I.%I', o.schema, o.name) END, {from}) AS statement, \
             CASE WHEN a.grantor <> o.owner THEN a.grantor::regrole::text END AS grantor \
             FROM ({objects}) o CROSS JOIN LATERAL aclexplode(o.acl) a \
             JOIN (VALUES {list}) v(level, schema, privilege, option) \
             ON v.level = o.level AND v.schema = o.schema::text AND v.privilege = a.privilege_type \
             WHERE a.grantee = {who} AND a.grantee <> o.owner \
             AND NOT EXISTS (SELECT FROM ({initial}) i WHERE i.class = o.class AND i.id = o.id AND i.sub = o.sub \
             AND i.grantee = a.grantee AND i.privilege = a.privilege_type) AND (a.is_grantable OR NOT v.option) \
             LOOP IF x.grantor IS NOT NULL THEN EXECUTE 'SET LOCAL ROLE ' || x.grantor; END IF; EXECUTE x.statement; \
             SET LOCAL ROLE NONE; END LOOP; END"
        )
    }
}

/// The first few of many sentences.
fn few(says: &[String]) -> String {
    match says {
        [first, second, rest @ ..] if rest.len() > 1 => {
            format!("{first}; {second}; and {} more", rest.len())
        }
        all => all.join("; "),
    }
}

fn default(creator: &str, schema: &str) -> String {
    let schema = match schema {
        "" => String::new(),
        schema => format!(" IN SCHEMA {schema}"),
    };
    format!("ALTER DEFAULT PRIVILEGES FOR ROLE {}{schema} ", ident(creator))
}

impl<'a> Difference<'a> {
    fn new(spot: Spot, wanted: BTreeSet<String>, had: Cow<'a, Held>, exact: bool) -> Self {
        let right = |name: &String| had.rights.get(name).cloned().unwrap_or_default();
        let missing = wanted
            .iter()
            .filter(|name| right(name).held < had.total)
            .cloned()
            .collect();
        let exactly = |test: &dyn Fn(&Right) -> bool, is_wanted: bool| -> Vec<String> {
            let rights = had.rights.iter().filter(|_| exact);
            rights
                .filter(|(name, right)| wanted.contains(*name) == is_wanted && test(right))
                .map(|(name, _)| name.clone())
                .collect()
        };
        Difference {
            missing,
            extra: exactly(&|right| right.given > 0, false),
            options: exactly(&|right| right.option > 0, true),
            spot,
            wanted,
            had,
            exact,
        }
    }

    fn field(&self, exists: bool) -> Field {
        let shown: Vec<String> = self
            .had
            .rights
            .iter()
            .filter(|(name, _)| self.wanted.contains(*name) || self.extra.contains(name))
            .map(|(name, right)| self.shown(name, right))
            .collect();
        let differs = !(self.missing.is_empty() && self.extra.is_empty() && self.options.is_empty());
        let to = self.wanted.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let from = match (differs, shown.is_empty()) {
            _ if !exists && !self.wanted.is_empty() => None,
            (false, _) => Some(to.clone()), // Also where there is no object to have a right on.
            (true, true) => None,
            (true, false) => Some(shown.join(", ")),
        };
        Field {
            name: self.spot.field().into(),
            from,
            to: (!self.wanted.is_empty()).then_some(to),
            same: if differs || !exists { Same::No } else { Same::Yes },
            impact: Impact::None,
        }
    }

    fn shown(&self, name: &str, right: &Right) -> String {
        let mut shown = name.to_owned();
        let wanted = self.wanted.contains(name);
        let count = if wanted { right.held } else { right.given };
        let noun = match (&self.spot.level, self.had.total) {
            (Level::Tables, 1) => "table",
            (Level::Tables, _) => "tables",
            (Level::Sequences, 1) => "sequence",
            (Level::Sequences, _) => "sequences",
            _ => "",
        };
        if self.spot.level == Level::Columns {
            shown.push_str(&match count {
                1 => " on 1 column".to_owned(),
                count => format!(" on {count} columns"),
            });
        } else if count < self.had.total {
            shown.push_str(&format!(" on {count} of {} {noun}", self.had.total));
        }
        let example = match wanted {
            true => right.missing.as_ref().map(|name| format!(" (not `{name}`)")),
            false => right.example.as_ref().map(|name| format!(" (`{name}`)")),
        };
        if matches!(self.spot.level, Level::Tables | Level::Sequences | Level::Columns) {
            shown.push_str(&example.unwrap_or_default());
        }
        if self.exact && right.option > 0 {
            shown.push_str(" with grant option");
        }
        shown
    }
}

impl Level {
    /// As the question calls it.
    fn word(&self) -> &'static str {
        match self {
            Level::Database => "database",
            Level::Schema => "schema",
            Level::Tables => "table",
            Level::Sequences => "sequence",
            Level::Columns => "column",
            Level::Future(..) => "future",
        }
    }
}

impl Spot {
    fn of(level: Level, schema: &str) -> Self {
        Spot {
            level,
            schema: schema.to_owned(),
        }
    }

    fn database() -> Self {
        Spot::of(Level::Database, "")
    }

    fn read(row: &Row, level: &str) -> Result<Self, String> {
        let schema = text(row, "schema")?;
        let level = match level {
            "database" => Level::Database,
            "schema" => Level::Schema,
            "table" => Level::Tables,
            "sequence" => Level::Sequences,
            "column" => Level::Columns,
            other => {
                let class = other
                    .strip_prefix("future ")
                    .ok_or_else(|| format!("the server answered about `{other}`, which nobody asked"))?;
                Level::Future(class.to_owned(), text(row, "creator")?.to_owned())
            }
        };
        Ok(Spot::of(level, schema))
    }

    /// What is had where the server counted nothing: a schema without tables has none to count.
    fn nothing(&self, had: &Holding) -> Held {
        let counted = had.contains_key(&Spot::of(Level::Schema, &self.schema));
        let none = matches!(self.level, Level::Tables | Level::Sequences) && counted;
        Held {
            total: i64::from(!none),
            rights: BTreeMap::new(),
        }
    }

    /// The name of its field.
    fn field(&self) -> String {
        let schema = match self.schema.as_str() {
            "" => String::new(),
            schema => format!(" {schema}"),
        };
        match &self.level {
            Level::Database => "database".to_owned(),
            Level::Schema => format!("schema{schema}"),
            Level::Tables => format!("tables{schema}"),
            Level::Sequences => format!("sequences{schema}"),
            Level::Columns => format!("columns{schema}"),
            Level::Future(class, creator) => format!("future {class}{schema} by {creator}"),
        }
    }

    /// For people.
    fn says(&self) -> String {
        let schema = &self.schema;
        match &self.level {
            Level::Database => "the database".to_owned(),
            Level::Schema => format!("schema `{schema}`"),
            Level::Tables => format!("the tables of `{schema}`"),
            Level::Sequences => format!("the sequences of `{schema}`"),
            Level::Columns => format!("columns in `{schema}`"),
            Level::Future(class, creator) if schema.is_empty() => {
                format!("{class} that `{creator}` will make")
            }
            Level::Future(class, creator) => {
                format!("{class} that `{creator}` will make in `{schema}`")
            }
        }
    }
}

impl Held {
    /// All of these, on one object.
    fn of(privileges: &[&str]) -> Self {
        let right = Right {
            held: 1,
            given: 1,
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

    fn read(row: &Row) -> Result<Self, String> {
        let mut rights = BTreeMap::new();
        for entry in array(row, "rights") {
            let entry = entry.as_object().ok_or("a right in the server's answer is unreadable")?;
            let right = Right {
                held: integer(entry, "held")?,
                given: integer(entry, "given")?,
                option: integer(entry, "option")?,
                missing: maybe_text(entry, "missing").map(str::to_owned),
                example: maybe_text(entry, "example").map(str::to_owned),
            };
            rights.insert(text(entry, "privilege")?.to_owned(), right);
        }
        Ok(Held {
            total: integer(row, "total")?,
            rights,
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::command::Do;

    const ROWS: &str = r#"
{"key":"reporting","level":"role","schema":"iact","creator":null,"total":0,"rights":null}
{"key":"reporting","level":"table","schema":"public","creator":null,"total":4,"rights":[{"privilege":"SELECT","held":4,"given":4,"option":0,"example":"t1","missing":null}]}
{"key":"reporting","level":"schema","schema":"public","creator":null,"total":1,"rights":[{"privilege":"USAGE","held":1,"given":1,"option":0,"example":"public","missing":null}]}
{"key":"reporting","level":"database","schema":"","creator":null,"total":1,"rights":[{"privilege":"CONNECT","held":1,"given":1,"option":0,"example":"iact","missing":null}]}
{"key":"reporting","level":"future tables","schema":"public","creator":"django_user","total":1,"rights":[{"privilege":"SELECT","held":1,"given":1,"option":0}]}"#;

    fn set(items: &[&str]) -> BTreeSet<String> {
        items.iter().map(|item| (*item).to_owned()).collect()
    }

    fn wanted() -> PostgresGrant {
        let rights = SchemaRights {
            schema: set(&["USAGE"]),
            tables: set(&["SELECT"]),
            sequences: set(&["SELECT"]),
            future_tables: set(&["SELECT"]),
            future_sequences: set(&[]),
        };
        PostgresGrant {
            was: None,
            role: "reporting".to_owned(),
            database: "iact".to_owned(),
            database_privileges: set(&["CONNECT"]),
            schemas: [("public".to_owned(), rights)].into(),
            owners: set(&["django_user"]),
            exact: true,
            had: Holding::new(),
        }
    }

    fn rows(replace: &str, by: &str) -> Vec<Row> {
        assert!(ROWS.contains(replace), "{replace}");
        let rows = ROWS.replace(replace, by);
        rows.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn found(replace: &str, by: &str) -> PostgresGrant {
        wanted().read(&rows(replace, by)).unwrap().unwrap()
    }

    fn differing(wanted: &PostgresGrant, found: &PostgresGrant) -> Vec<(String, Option<String>, Option<String>)> {
        let fields = wanted.fields(Some(found)).into_iter().filter(Field::differs);
        fields.map(|field| (field.name.into_owned(), field.from, field.to)).collect()
    }

    fn sql(steps: &[Step]) -> String {
        match steps {
            [Step { does: Do::Sql { text, transaction: true }, .. }] => text.shown(),
            other => panic!("{other:?}"),
        }
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn a_right_on_all_of_none_is_had() {
        let found = found("USAGE", "USAGE");
        assert!(differing(&wanted(), &found).is_empty());
        assert!(wanted().steps(Some(&found)).is_empty());
    }

    #[test]
    fn a_right_that_one_table_lacks_is_granted() {
        let part = found(
            r#"4,"rights":[{"privilege":"SELECT","held":4,"given":4,"option":0,"example":"t1","missing":null}"#,
            r#"4,"rights":[{"privilege":"SELECT","held":3,"given":3,"option":0,"example":"t1","missing":"t2"}"#,
        );
        let from = some("SELECT on 3 of 4 tables (not `t2`)");
        assert_eq!(differing(&wanted(), &part), [("tables public".to_owned(), from, some("SELECT"))]);
        assert_eq!(
            sql(&wanted().steps(Some(&part))),
            "GRANT SELECT ON ALL TABLES IN SCHEMA \"public\" TO \"reporting\";\n"
        );
    }

    #[test]
    fn an_extra_right_is_taken_only_where_the_set_is_exact_and_never_from_an_owner() {
        let insert = |given: u8| {
            found(
                r#""rights":[{"privilege":"SELECT","held":4"#,
                &format!(
                    r#""rights":[{{"privilege":"INSERT","held":1,"given":{given},"option":0,"example":"t2","missing":"t1"}},{{"privilege":"SELECT","held":4"#
                ),
            )
        };
        let from = some("INSERT on 1 of 4 tables (`t2`), SELECT");
        assert_eq!(differing(&wanted(), &insert(1)), [("tables public".to_owned(), from, some("SELECT"))]);
        let text = sql(&wanted().steps(Some(&insert(1))));
        assert!(text.starts_with("DO E'") && text.contains("E''table'', E''public'', E''INSERT'', false"), "{text}");
        assert!(differing(&wanted(), &insert(0)).is_empty());
        let loose = PostgresGrant { exact: false, ..wanted() };
        assert!(differing(&loose, &insert(1)).is_empty());
        assert!(loose.steps(Some(&insert(1))).is_empty());
    }

    #[test]
    fn what_tables_made_tomorrow_will_have_is_exact_by_creator() {
        let other = found(r#""creator":"django_user""#, r#""creator":"postgres""#);
        assert_eq!(
            differing(&wanted(), &other),
            [
                ("future tables public by django_user".to_owned(), None, some("SELECT")),
                ("future tables public by postgres".to_owned(), some("SELECT"), None),
            ]
        );
        assert_eq!(
            sql(&wanted().steps(Some(&other))),
            "ALTER DEFAULT PRIVILEGES FOR ROLE \"django_user\" IN SCHEMA \"public\" GRANT SELECT ON TABLES TO \"reporting\";\n\
             ALTER DEFAULT PRIVILEGES FOR ROLE \"postgres\" IN SCHEMA \"public\" REVOKE SELECT ON TABLES FROM \"reporting\";\n"
        );
    }

    #[test]
    fn a_grant_option_is_too_much() {
        let option = found(
            r#""privilege":"USAGE","held":1,"given":1,"option":0"#,
            r#""privilege":"USAGE","held":1,"given":1,"option":1"#,
        );
        let from = some("USAGE with grant option");
        assert_eq!(differing(&wanted(), &option), [("schema public".to_owned(), from, some("USAGE"))]);
        assert!(sql(&wanted().steps(Some(&option))).contains("E''schema'', E''public'', E''USAGE'', true"));
    }

    #[test]
    fn a_role_that_has_nothing_is_given_all() {
        let only: Vec<Row> = rows("USAGE", "USAGE").into_iter().take(1).collect();
        assert!(wanted().read(&only).unwrap().is_none());
        let text = sql(&wanted().steps(None));
        assert!(text.starts_with("GRANT CONNECT ON DATABASE \"iact\" TO \"reporting\";\n"), "{text}");
        // Nothing wanted and nothing had is as wanted.
        let nothing = PostgresGrant::named("reporting").unwrap();
        let found = nothing.read(&only).unwrap();
        assert!(nothing.fields(found.as_ref()).is_empty() && found.is_some());
    }

    #[test]
    fn a_removal_takes_what_was_found_and_leaves_everybody_the_defaults() {
        let Removal::Steps(steps) = found("USAGE", "USAGE").remove() else {
            panic!("a grant holds no data")
        };
        let text = sql(&steps);
        assert!(!text.contains("GRANT SELECT") && text.contains("E''CONNECT''"), "{text}");
        let mut public = found("USAGE", "USAGE");
        public.role = "PUBLIC".to_owned();
        let Removal::Steps(steps) = public.remove() else {
            panic!("a grant holds no data")
        };
        let text = sql(&steps);
        assert!(!text.contains("E''CONNECT''") && !text.contains("E''USAGE''"), "{text}");
        assert!(text.contains("E''SELECT''"), "{text}");
    }

    #[test]
    fn everybody_starts_with_what_the_server_gives() {
        let public = PostgresGrant {
            role: "PUBLIC".to_owned(),
            database_privileges: set(&["CONNECT"]),
            exact: true,
            ..PostgresGrant::default()
        };
        let text = sql(&public.steps(None));
        assert!(text.contains("E''TEMPORARY''") && text.contains("E''USAGE''") && !text.contains("E''CONNECT''"), "{text}");
    }
}
