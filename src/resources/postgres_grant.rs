//! `postgres_grant`: all rights of one role in one PostgreSQL database, as exact sets.
//!
//! Rights lie in *spots*: the database, a schema, all objects of a class in a schema (tables, sequences, functions, types), one
//! object, the columns of a table, and what objects made tomorrow will have. The server counts for each class and schema on how
//! many objects a role has a right, and names the fewer ones; so comparing, showing and changing are written once, over spots.
//! What a role has as the owner of an object is had, and never too much; what it has through PUBLIC or a membership is neither.
//! What an extension or the server gave when it was made is not too much either.

mod catalog;
mod spot;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::command::{Ask, Question, Row, Text};
use crate::resource::{Awaited, Field, Impact, Kind, Removal, Same, Step};
use crate::resources::postgres::{array, ident, integer, text};
use catalog::Revoke;
use spot::{Level, Right, privilege_and_column};
pub use spot::{Class, Held, Holding, Spot, on_column, signature};

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
    /// All other rights, by spot; `ALL` is spelled out. An empty set says that there are to be none where everybody has some from
    /// the start.
    pub wanted: Wanted,
    /// Whether rights that are not declared are taken away.
    pub exact: bool,
    /// Of a found one: what the role has.
    pub had: Holding,
    /// Of a found one: what the role owns in the database, for people.
    pub owns: Vec<String>,
}

/// Privileges by spot.
pub type Wanted = BTreeMap<Spot, BTreeSet<String>>;

impl Kind for PostgresGrant {
    const NAME: &'static str = "postgres_grant";
    const QUESTION: Question = Question {
        name: "postgres_grant",
        ask: Ask::PostgresDatabase(catalog::QUERY),
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
        let Some(found) = self.read_all(rows)? else {
            return Ok(None);
        };
        // A role that has nothing at all is not counted for. Where something is wanted of it, that is all to be made.
        let wants = self.spots().values().any(|wanted| !wanted.is_empty());
        if found.had.is_empty() && wants {
            return Ok(None);
        }
        Ok(Some(found))
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
        self.give_columns_again(&differences, &mut sql);
        if sql.is_empty() {
            return Vec::new();
        }
        vec![Step::sql(few(&says), Text::plain(sql))]
    }

    fn waits_for(&self, _found: Option<&Self>) -> Vec<Awaited> {
        let schemas: BTreeSet<&String> = self.wanted.keys().map(|spot| &spot.schema).collect();
        let own = |schema: &&&String| !schema.is_empty() && schema.as_str() != "public";
        schemas
            .iter()
            .filter(own)
            .map(|schema| Awaited { question: SCHEMAS, key: (*schema).clone(), noun: "schema" })
            .collect()
    }

    fn without(&self, missing: &[Awaited], _found: Option<&Self>) -> Self {
        let mut part = self.clone();
        let is_missing = |spot: &Spot| missing.iter().any(|awaited| awaited.key == spot.schema);
        part.wanted.retain(|spot, _| !is_missing(spot));
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
        Removal::Steps(self.nothing().steps(Some(self)))
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
    /// Of all objects of a class: those that have a spot of their own.
    besides: Vec<&'a str>,
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

    /// What was found, from the rows of the role, whatever is wanted of it.
    ///
    /// # Errors
    /// What could not be understood.
    pub fn read_all(&self, rows: &[Row]) -> Result<Option<Self>, String> {
        if rows.is_empty() {
            return Ok(None);
        }
        let mut found = PostgresGrant {
            role: self.role.clone(),
            ..PostgresGrant::default()
        };
        for row in rows {
            match text(row, "level")? {
                "role" => {
                    text(row, "schema")?.clone_into(&mut found.database);
                    found.owns = owned(row)?;
                }
                level => found.had.extend(Spot::read(row, level)?),
            }
        }
        Ok(Some(found))
    }

    /// No rights at all, of everybody those from the start.
    fn nothing(&self) -> Self {
        let mut nothing = PostgresGrant {
            role: self.role.clone(),
            database: self.database.clone(),
            exact: true,
            ..PostgresGrant::default()
        };
        if self.is_public() {
            // What everybody has from the start was not ours to give, so it is not ours to take.
            nothing.database_privileges = self.given(&Spot::database(), PUBLIC_DATABASE);
            let public = Spot::schema("public");
            let usage = self.given(&public, PUBLIC_SCHEMA);
            nothing.wanted.insert(public, usage);
        }
        nothing
    }

    /// The rights that somebody granted, for people: `tables public SELECT`.
    pub fn beyond_the_default(&self) -> Vec<String> {
        let fields = self.nothing().fields(Some(self)).into_iter();
        let granted = fields.filter(Field::differs).filter_map(|field| Some((field.name, field.from?)));
        granted.map(|(name, from)| format!("{name} {from}")).collect()
    }

    /// Whether somebody granted the role anything in the database.
    pub fn is_given(&self) -> bool {
        self.had.values().any(Held::is_given)
    }

    /// What everybody has in a database that was just made; a role of its own has nothing.
    fn born(&self) -> Holding {
        let mut had = Holding::new();
        if self.is_public() {
            had.insert(Spot::database(), Held::of(PUBLIC_DATABASE));
            had.insert(Spot::schema("public"), Held::of(PUBLIC_SCHEMA));
            // On whatever extensions and scripts made.
            let named = self.wanted.keys().map(Spot::whole);
            had.extend(named.filter_map(|spot| {
                let had = Held::of(&[spot.of_everybody()?]);
                Some((spot, had))
            }));
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
    fn spots(&self) -> Wanted {
        let mut spots = self.wanted.clone();
        spots.insert(Spot::database(), self.database_privileges.clone());
        spots
    }

    fn differences<'a>(&'a self, had: &'a Holding) -> Vec<Difference<'a>> {
        let wanted = self.spots();
        let spots: BTreeSet<&Spot> = wanted.keys().chain(had.keys()).collect();
        spots
            .into_iter()
            .map(|spot| self.difference(spot, &wanted, had))
            .filter(|difference| !difference.wanted.is_empty() || difference.differs())
            .collect()
    }

    fn difference<'a>(&'a self, spot: &Spot, wanted: &Wanted, had: &'a Holding) -> Difference<'a> {
        let whole = spot.whole();
        let held = match (had.get(&whole), spot.is_one()) {
            (Some(held), false) => Cow::Borrowed(held),
            (Some(held), true) => Cow::Owned(held.of_object(&spot.object)),
            (None, _) => Cow::Owned(self.unseen(spot, had)),
        };
        let also = match spot.is_one() {
            true => wanted.get(&whole).cloned().unwrap_or_default(),
            false => BTreeSet::new(),
        };
        // What everybody has from the start counts where the file names it.
        let born = spot.of_everybody().filter(|_| self.is_public() && !wanted.contains_key(spot));
        let difference = Difference {
            besides: self.single(spot),
            wanted: wanted.get(spot).cloned().unwrap_or_default(),
            had: held,
            missing: Vec::new(),
            extra: Vec::new(),
            options: Vec::new(),
            exact: self.exact,
            spot: spot.clone(),
        };
        difference.compared(&also, born)
    }

    /// What is had where the server said nothing.
    fn unseen(&self, spot: &Spot, had: &Holding) -> Held {
        match (&spot.level, spot.of_everybody()) {
            // Nobody changed the default privileges of this creator.
            (Level::Future(..), Some(privilege)) if self.is_public() => Held::of(&[privilege]),
            _ => spot.nothing(had),
        }
    }

    /// The objects of a spot's class and schema that have a spot of their own.
    fn single(&self, spot: &Spot) -> Vec<&str> {
        if !matches!(spot.level, Level::Objects(_)) || spot.is_one() {
            return Vec::new();
        }
        let behind = self.wanted.range(spot..);
        behind
            .take_while(|(one, _)| one.level == spot.level && one.schema == spot.schema)
            .filter(|(one, _)| one.is_one())
            .map(|(one, _)| one.object.as_str())
            .collect()
    }

    fn give(&self, difference: &Difference<'_>, sql: &mut String, says: &mut Vec<String>) {
        if difference.missing.is_empty() {
            return;
        }
        let spot = &difference.spot;
        let privileges = difference.missing.join(", ");
        let schema = ident(&spot.schema);
        let to = self.grantee();
        says.push(format!("grant {privileges} on {}", spot.says()));
        let on = match &spot.level {
            Level::Database => format!("DATABASE {}", ident(&self.database)),
            Level::Schema => format!("SCHEMA {schema}"),
            Level::Columns => return sql.push_str(&self.on_columns(spot, &difference.missing)),
            Level::Objects(class @ (Class::Functions | Class::Types)) if spot.is_one() || *class == Class::Types => {
                let object = spot.is_one().then_some(spot.object.as_str());
                let each = self.grant_each(class.word(), &spot.schema, object, &privileges);
                return sql.push_str(&each);
            }
            Level::Objects(class) if spot.is_one() => format!("{} {}", class.sql(), spot.sql_name()),
            Level::Objects(class) => format!("ALL {}S IN SCHEMA {schema}", class.sql()),
            Level::Future(class, creator) => {
                sql.push_str(&default(creator, &spot.schema));
                class.key().to_ascii_uppercase()
            }
        };
        sql.push_str(&format!("GRANT {privileges} ON {on} TO {to};\n"));
    }

    /// Grants privileges on columns, each with its own.
    fn on_columns(&self, spot: &Spot, privileges: &[String]) -> String {
        let each: Vec<String> = privileges
            .iter()
            .map(|privilege| match privilege_and_column(privilege) {
                (privilege, Some(column)) => format!("{privilege} ({})", ident(column)),
                (privilege, None) => privilege.to_owned(),
            })
            .collect();
        format!("GRANT {} ON TABLE {} TO {};\n", each.join(", "), spot.sql_name(), self.grantee())
    }

    /// Who loses a privilege on a table loses it on each of its columns, too.
    fn give_columns_again(&self, differences: &[Difference<'_>], sql: &mut String) {
        let lost = |schema: &str, table: &str, privilege: &str| {
            differences.iter().any(|one| {
                let same = one.spot.level == Level::Objects(Class::Tables) && one.spot.schema == schema;
                let about = one.spot.object == table || (!one.spot.is_one() && !one.besides.contains(&table));
                same && about && one.extra.iter().any(|extra| extra == privilege)
            })
        };
        for difference in differences.iter().filter(|one| one.spot.level == Level::Columns) {
            let spot = &difference.spot;
            let privileges = difference.wanted.iter().filter(|wanted| {
                let (privilege, _) = privilege_and_column(wanted);
                lost(&spot.schema, &spot.object, privilege)
            });
            let privileges: Vec<String> = privileges.cloned().collect();
            if !privileges.is_empty() {
                sql.push_str(&self.on_columns(spot, &privileges));
            }
        }
    }

    fn take(&self, differences: &[Difference<'_>], sql: &mut String, says: &mut Vec<String>) {
        let mut rights = Vec::new();
        for difference in differences {
            for (privileges, option) in [(&difference.extra, false), (&difference.options, true)] {
                if privileges.is_empty() {
                    continue;
                }
                let names = privileges.join(", ");
                let of = if option { "the grant option for " } else { "" };
                says.push(format!("revoke {of}{names} on {}", difference.spot.says()));
                match &difference.spot.level {
                    Level::Future(class, creator) => {
                        let of = if option { "GRANT OPTION FOR " } else { "" };
                        sql.push_str(&default(creator, &difference.spot.schema));
                        let class = class.key().to_ascii_uppercase();
                        sql.push_str(&format!("REVOKE {of}{names} ON {class} FROM {};\n", self.grantee()));
                    }
                    _ => rights.extend(privileges.iter().map(|one| difference.revoke(one, option))),
                }
            }
        }
        if !rights.is_empty() {
            sql.push_str(&self.revoke(&rights));
        }
    }
}

/// What a role owns, for people: `2 tables of public (orders)`.
fn owned(row: &Row) -> Result<Vec<String>, String> {
    let mut owned = Vec::new();
    for entry in array(row, "rights") {
        let entry = entry.as_object().ok_or("what a role owns is unreadable in the server's answer")?;
        let (level, schema) = (text(entry, "level")?, text(entry, "schema")?);
        let count = integer(entry, "count")?;
        let example = text(entry, "example")?;
        let named = match (level, schema) {
            ("schema", _) | (_, "") => format!("`{example}`"),
            _ => format!("`{schema}.{example}`"),
        };
        owned.push(match count {
            1 => format!("the {level} {named}"),
            _ => format!("{count} {level}s, as {named}"),
        });
    }
    Ok(owned)
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
        schema => format!(" IN SCHEMA {}", ident(schema)),
    };
    format!("ALTER DEFAULT PRIVILEGES FOR ROLE {}{schema} ", ident(creator))
}

impl Difference<'_> {
    /// The same with all that differs. `also`: what is wanted on all objects of the class; `born`: what everybody has from the start
    /// and nobody declared.
    fn compared(mut self, also: &BTreeSet<String>, born: Option<&str>) -> Self {
        let right = |name: &String| self.had.rights.get(name).cloned().unwrap_or_default();
        let wanted = self.wanted.difference(also);
        self.missing = wanted.filter(|name| right(name).held.count < self.had.total).cloned().collect();
        for (name, right) in self.had.rights.iter().filter(|_| self.exact) {
            let wanted = self.wanted.contains(name) || also.contains(name);
            let given = right.given.besides(&self.besides) > 0;
            if !wanted && given && born != Some(name) {
                self.extra.push(name.clone());
            }
            if wanted && right.option.iter().any(|one| !self.besides.contains(&one.as_str())) {
                self.options.push(name.clone());
            }
        }
        self
    }

    fn differs(&self) -> bool {
        !(self.missing.is_empty() && self.extra.is_empty() && self.options.is_empty())
    }

    /// What takes away one of its privileges.
    fn revoke<'s>(&'s self, privilege: &'s str, option: bool) -> Revoke<'s> {
        let (privilege, part) = privilege_and_column(privilege);
        Revoke {
            level: match &self.spot.level {
                Level::Database => "database",
                Level::Schema => "schema",
                Level::Objects(class) => class.word(),
                Level::Columns => "column",
                Level::Future(..) => "future",
            },
            // The level of schemas has each under its own name.
            schema: &self.spot.schema,
            object: Some(self.spot.object.as_str()).filter(|object| !object.is_empty()),
            part,
            besides: self.besides.clone(),
            privilege,
            option,
        }
    }

    fn field(&self, exists: bool) -> Field {
        let shown: Vec<String> = self
            .had
            .rights
            .iter()
            .filter(|(name, _)| self.wanted.contains(*name) || self.extra.contains(name) || self.options.contains(name))
            .map(|(name, right)| self.shown(name, right))
            .collect();
        let differs = self.differs();
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
        let wanted = self.wanted.contains(name) || self.options.iter().any(|option| option == name);
        let count = if wanted { right.held.count } else { right.given.besides(&self.besides) };
        if let Level::Objects(class) = &self.spot.level
            && !self.spot.is_one()
        {
            if count < self.had.total {
                let noun = if self.had.total == 1 { class.noun() } else { class.key() };
                shown.push_str(&format!(" on {count} of {} {noun}", self.had.total));
            }
            let example = match wanted {
                true => right.missing.as_ref().map(|name| format!(" (not `{name}`)")),
                false => right.example.as_ref().map(|name| format!(" (`{name}`)")),
            };
            shown.push_str(&example.unwrap_or_default());
        }
        if self.exact && !right.option.is_empty() {
            shown.push_str(" with grant option");
        }
        shown
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::command::Do;

    const ROWS: &str = r#"
{"key":"reporting","level":"role","schema":"iact","creator":null,"total":0,"rights":null}
{"key":"reporting","level":"table","schema":"public","creator":null,"total":4,"rights":[{"privileges":["SELECT"],"held":4,"off":true,"names":[],"given":null,"option":[],"example":"t1","missing":null}]}
{"key":"reporting","level":"schema","schema":"public","creator":null,"total":1,"rights":[{"privileges":["USAGE"],"held":1,"off":true,"names":[],"given":null,"option":[],"example":"public","missing":null}]}
{"key":"reporting","level":"database","schema":"","creator":null,"total":1,"rights":[{"privileges":["CONNECT"],"held":1,"off":true,"names":[],"given":null,"option":[],"example":"iact","missing":null}]}
{"key":"reporting","level":"future tables","schema":"public","creator":"django_user","total":1,"rights":[{"privileges":["SELECT"],"held":1,"off":true,"names":[],"option":null}]}"#;

    fn set(items: &[&str]) -> BTreeSet<String> {
        items.iter().map(|item| (*item).to_owned()).collect()
    }

    fn wanted() -> PostgresGrant {
        let wanted = [
            (Spot::schema("public"), set(&["USAGE"])),
            (Spot::all(Class::Tables, "public"), set(&["SELECT"])),
            (Spot::all(Class::Sequences, "public"), set(&["SELECT"])),
            (Spot::future(Class::Tables, "public", "django_user"), set(&["SELECT"])),
        ];
        PostgresGrant {
            was: None,
            role: "reporting".to_owned(),
            database: "iact".to_owned(),
            database_privileges: set(&["CONNECT"]),
            wanted: wanted.into(),
            exact: true,
            had: Holding::new(),
            owns: Vec::new(),
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
            r#"4,"rights":[{"privileges":["SELECT"],"held":4,"off":true,"names":[],"given":null,"option":[],"example":"t1","missing":null}"#,
            r#"4,"rights":[{"privileges":["SELECT"],"held":3,"off":true,"names":["t2"],"given":null,"option":[],"example":"t1","missing":"t2"}"#,
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
            let names = if given == 1 { "null" } else { "[]" };
            found(
                r#""rights":[{"privileges":["SELECT"],"held":4"#,
                &format!(
                    r#""rights":[{{"privileges":["INSERT"],"held":1,"off":false,"names":["t2"],"given":{names},"option":[],"example":"t2","missing":"t1"}},{{"privileges":["SELECT"],"held":4"#
                ),
            )
        };
        let from = some("INSERT on 1 of 4 tables (`t2`), SELECT");
        assert_eq!(differing(&wanted(), &insert(1)), [("tables public".to_owned(), from, some("SELECT"))]);
        let text = sql(&wanted().steps(Some(&insert(1))));
        assert!(text.starts_with("DO E'") && text.contains("E''table'', E''public'', E''INSERT'', NULL::text, NULL::text, ARRAY[]::text[], false"), "{text}");
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
            r#""privileges":["USAGE"],"held":1,"off":true,"names":[],"given":null,"option":[]"#,
            r#""privileges":["USAGE"],"held":1,"off":true,"names":[],"given":null,"option":["public"]"#,
        );
        let from = some("USAGE with grant option");
        assert_eq!(differing(&wanted(), &option), [("schema public".to_owned(), from, some("USAGE"))]);
        assert!(sql(&wanted().steps(Some(&option))).contains("E''schema'', E''public'', E''USAGE'', NULL::text, NULL::text, ARRAY[]::text[], true"));
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

    /// Tables of which some are declared one by one: `t1` with INSERT, all with SELECT.
    fn with_one() -> PostgresGrant {
        let mut one = wanted();
        one.wanted.insert(Spot::one(Class::Tables, "public", "t1"), set(&["INSERT"]));
        one
    }

    #[test]
    fn what_one_table_has_is_compared_apart_from_all_others() {
        let insert = |names: &str| {
            let more = format!(
                r#""rights":[{{"privileges":["INSERT"],"held":2,"off":false,"names":[{names}],"given":null,"option":[],"example":"t1","missing":"t3"}},{{"privileges":["SELECT"],"held":4"#
            );
            found(r#""rights":[{"privileges":["SELECT"],"held":4"#, &more)
        };
        let wanted = with_one();
        assert!(differing(&wanted, &insert(r#""t1""#)).iter().all(|(name, ..)| name != "table public.t1"));
        let both = insert(r#""t1","t2""#);
        let from = some("INSERT on 1 of 4 tables (`t1`), SELECT");
        assert_eq!(differing(&wanted, &both), [("tables public".to_owned(), from, some("SELECT"))]);
        let text = sql(&wanted.steps(Some(&both)));
        assert!(text.contains("E''INSERT'', NULL::text, NULL::text, ARRAY[E''t1'']::text[], false"), "{text}");
        let none = found("USAGE", "USAGE");
        assert_eq!(differing(&wanted, &none), [("table public.t1".to_owned(), None, some("INSERT"))]);
        assert_eq!(
            sql(&wanted.steps(Some(&none))),
            "GRANT INSERT ON TABLE \"public\".\"t1\" TO \"reporting\";\n"
        );
    }

    #[test]
    fn columns_keep_their_rights_when_the_table_loses_them() {
        let mut wanted = wanted();
        wanted.wanted.insert(Spot::columns("public", "t1"), set(&["INSERT (id)"]));
        let column = r#"{"key":"reporting","level":"column","schema":"public","creator":null,"total":0,"rights":[{"privileges":["INSERT"],"held":1,"off":false,"names":["t1\u001fid"],"given":null,"option":[]}]}"#;
        let table = r#""rights":[{"privileges":["INSERT"],"held":1,"off":false,"names":["t1"],"given":null,"option":[],"example":"t1","missing":"t2"},{"privileges":["SELECT"],"held":4"#;
        let mut rows = rows(r#""rights":[{"privileges":["SELECT"],"held":4"#, table);
        rows.push(serde_json::from_str(column).unwrap());
        let found = wanted.read(&rows).unwrap().unwrap();
        let text = sql(&wanted.steps(Some(&found)));
        assert!(
            text.ends_with("GRANT INSERT (\"id\") ON TABLE \"public\".\"t1\" TO \"reporting\";\n"),
            "{text}"
        );
    }

    #[test]
    fn what_everybody_may_execute_counts_where_it_is_named() {
        let mut public = PostgresGrant {
            role: "PUBLIC".to_owned(),
            database_privileges: set(&["CONNECT"]),
            exact: true,
            ..PostgresGrant::default()
        };
        let all = r#"{"key":"PUBLIC","level":"function","schema":"public","creator":null,"total":2,"rights":[{"privileges":["EXECUTE"],"held":2,"off":true,"names":[],"given":null,"option":[],"example":"f()","missing":null}]}"#;
        let connect = r#"{"key":"PUBLIC","level":"database","schema":"","creator":null,"total":1,"rights":[{"privileges":["CONNECT"],"held":1,"off":true,"names":[],"given":null,"option":[]}]}"#;
        let rows: Vec<Row> = [all, connect].map(|row| serde_json::from_str(row).unwrap()).into();
        let found = public.read(&rows).unwrap().unwrap();
        assert!(differing(&public, &found).is_empty());
        assert!(found.beyond_the_default().is_empty());
        public.wanted.insert(Spot::all(Class::Functions, "public"), set(&[]));
        public.wanted.insert(Spot::future(Class::Functions, "", "owner"), set(&[]));
        let names: Vec<String> = differing(&public, &found).into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["functions public", "future functions by owner"]);
        let text = sql(&public.steps(Some(&found)));
        assert!(text.contains("FOR ROLE \"owner\" REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;"), "{text}");
    }

    #[test]
    fn a_function_is_named_as_the_server_does() {
        let named = |written: &str| signature(written).unwrap_or_default();
        assert_eq!(named("f()"), "f()");
        assert_eq!(named("f( int , varchar[], Timestamptz)"), "f(integer, character varying[], timestamp with time zone)");
        assert_eq!(named("f(public.mood)"), "f(public.mood)");
        assert_eq!(signature("f"), None);
    }
}
