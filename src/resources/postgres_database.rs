//! `postgres_database`: a database of a PostgreSQL server. It holds data, so it is never dropped as a side effect, and what
//! cannot be altered is refused with the way there by hand.

use std::borrow::Cow;

use crate::command::{Ask, Question, Row, Text};
use crate::quote::psql_database;
use crate::resource::{Field, Impact, Kind, Removal, Same, Step};
use crate::resources::postgres::{forget, ident, integer, literal, maybe_text, text};

/// A database of a PostgreSQL server.
#[derive(Clone, Debug, Default)]
pub struct PostgresDatabase {
    /// Its name; the key.
    pub name: String,
    /// The name it had.
    pub was: Option<String>,
    /// Its owner; `None`: not managed.
    pub owner: Option<String>,
    /// As in `UTF8`; `None`: not managed.
    pub encoding: Option<String>,
    /// Collation and character type; `None`: not managed.
    pub locale: Option<String>,
    /// CONNECTION LIMIT; -1 is none.
    pub connection_limit: i64,
}

const QUERY: &str = "SELECT datname::text AS key, pg_get_userbyid(datdba)::text AS owner, \
    pg_encoding_to_char(encoding)::text AS encoding, datcollate AS collate, datctype AS ctype, \
    CASE WHEN datlocprovider = 'i' THEN daticulocale END AS icu, datconnlimit AS connection_limit FROM pg_database";

/// What the server itself writes as the limit of a database whose DROP was interrupted.
const INVALID: i64 = -2;

impl Kind for PostgresDatabase {
    const NAME: &'static str = "postgres_database";
    const QUESTION: Question = Question {
        name: "postgres_database",
        ask: Ask::PostgresServer(QUERY),
    };

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.name)
    }

    fn was(&self) -> Option<Cow<'_, str>> {
        self.was.as_deref().map(Cow::Borrowed)
    }

    fn read(&self, rows: &[Row]) -> Result<Option<Self>, String> {
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let connection_limit = integer(row, "connection_limit")?;
        if connection_limit == INVALID {
            return Err(format!(
                "the database `{}` is what an interrupted DROP DATABASE left and cannot be used: drop it by hand",
                self.name
            ));
        }
        Ok(Some(PostgresDatabase {
            name: self.name.clone(),
            was: None,
            owner: Some(text(row, "owner")?.to_owned()),
            encoding: Some(text(row, "encoding")?.to_owned()),
            locale: Some(locale(row)?),
            connection_limit,
        }))
    }

    fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        let mut fields = Vec::new();
        if let Some(found) = found.filter(|found| found.name != self.name) {
            fields.push(Field::new("name", Some(found.name.clone()), &self.name, Impact::None));
        }
        if let Some(owner) = &self.owner {
            let from = found.and_then(|found| found.owner.clone());
            fields.push(Field::new("owner", from, owner, Impact::None));
        }
        if let Some(encoding) = &self.encoding {
            let from = found.and_then(|found| found.encoding.clone());
            fields.push(fixed("encoding", from, encoding, plain_encoding));
        }
        if let Some(wanted) = &self.locale {
            let from = found.and_then(|found| found.locale.clone());
            fields.push(fixed("locale", from, wanted, plain_locale));
        }
        if found.is_some() || self.connection_limit != -1 {
            fields.push(Field::new(
                "connection_limit",
                found.map(|found| found.connection_limit.to_string()),
                self.connection_limit.to_string(),
                Impact::None,
            ));
        }
        fields
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        match found {
            Some(found) => self.alter(found),
            // Every cluster is born with these two.
            None if matches!(self.name.as_str(), "postgres" | "template1") => {
                self.alter(&PostgresDatabase {
                    name: self.name.clone(),
                    connection_limit: -1,
                    ..PostgresDatabase::default()
                })
            }
            None => vec![self.create()],
        }
    }

    fn named(key: &str) -> Option<Self> {
        Some(PostgresDatabase {
            name: key.to_owned(),
            ..PostgresDatabase::default()
        })
    }

    fn remove(&self) -> Removal {
        let drop = Text::plain(format!("DROP DATABASE {};\n", ident(&self.name)));
        Removal::HoldsData(vec![Step {
            impact: Impact::DataRisk,
            ..Step::sql_alone("drop the database and its data", drop)
        }])
    }

    fn recipe(&self, found: &Self) -> Vec<String> {
        let new = format!("{}_new", self.name);
        let old = format!("{}_old", self.name);
        let dump = word(&format!("{}.dump", self.name.replace('/', "_")));
        let encoding = self.encoding.as_ref().or(found.encoding.as_ref());
        let locale = self.locale.as_ref().or(found.locale.as_ref());
        let owner = self.owner.as_ref().or(found.owner.as_ref());
        let mut create = "createdb -T template0".to_owned();
        for (flag, value) in [("-E", encoding), ("-l", locale), ("-O", owner)] {
            if let Some(value) = value {
                create.push_str(&format!(" {flag} {}", word(value)));
            }
        }
        let rename = |from: &str, to: &str| {
            format!("ALTER DATABASE {} RENAME TO {};", ident(from), ident(to))
        };
        vec![
            format!(
                "encoding and locale are fixed when a database is made; leave them out ({} and {} then stay), or stop what \
                 writes into it and, as the superuser:",
                found.encoding.as_deref().unwrap_or("the encoding"),
                found.locale.as_deref().unwrap_or("the locale"),
            ),
            format!("pg_dump -Fc -f {dump} {}", word(&psql_database(&self.name))),
            format!("{create} {}", word(&new)),
            format!("pg_restore --exit-on-error -d {} {dump}", word(&psql_database(&new))),
            format!(
                "psql -d template1 -c {} -c {}",
                word(&rename(&self.name, &old)),
                word(&rename(&new, &self.name))
            ),
            format!("look at it, then `dropdb {}`", word(&old)),
        ]
    }
}

impl PostgresDatabase {
    fn create(&self) -> Step {
        // From template0, so that what somebody put into template1 neither comes along nor forbids an encoding.
        let mut sql = format!("CREATE DATABASE {} TEMPLATE template0", ident(&self.name));
        if let Some(owner) = &self.owner {
            sql.push_str(&format!(" OWNER {}", ident(owner)));
        }
        let encoding = self.encoding.as_deref().unwrap_or("UTF8");
        sql.push_str(&format!(" ENCODING {}", literal(encoding)));
        if let Some(locale) = &self.locale {
            sql.push_str(&format!(" LOCALE {}", literal(locale)));
        }
        sql.push_str(&format!(" CONNECTION LIMIT {};\n", self.connection_limit));
        Step::sql_alone("create the database", Text::plain(sql))
    }

    fn alter(&self, found: &Self) -> Vec<Step> {
        let name = ident(&self.name);
        let mut steps = Vec::new();
        if found.name != self.name {
            let old = ident(&found.name);
            let mut sql = format!("ALTER DATABASE {old} RENAME TO {name};\n");
            sql.push_str(&forget(Self::NAME, &found.name));
            steps.push(Step::sql(format!("rename the database `{}`", found.name), Text::plain(sql)));
        }
        if let Some(owner) = self.owner.as_ref().filter(|_| self.owner != found.owner) {
            steps.push(Step::sql(
                format!("give the database to `{owner}`"),
                Text::plain(format!("ALTER DATABASE {name} OWNER TO {};\n", ident(owner))),
            ));
        }
        if self.connection_limit != found.connection_limit {
            let limit = self.connection_limit;
            steps.push(Step::sql(
                "set the connection limit",
                Text::plain(format!("ALTER DATABASE {name} CONNECTION LIMIT {limit};\n")),
            ));
        }
        steps
    }
}

/// A field that cannot be altered, compared by what its value means.
fn fixed(
    name: &'static str,
    from: Option<String>,
    wanted: &str,
    plain: fn(&str) -> String,
) -> Field {
    let same = match &from {
        Some(from) if plain(from) == plain(wanted) => Same::Yes,
        _ => Same::No,
    };
    Field {
        name: name.into(),
        from,
        to: Some(wanted.to_owned()),
        same,
        impact: Impact::DataRisk,
    }
}

fn locale(row: &Row) -> Result<String, String> {
    let (collate, ctype) = (text(row, "collate")?, text(row, "ctype")?);
    if let Some(icu) = maybe_text(row, "icu") {
        return Ok(format!("ICU {icu}"));
    }
    if plain_locale(collate) == plain_locale(ctype) {
        return Ok(collate.to_owned());
    }
    Ok(format!("{collate} (character type {ctype})"))
}

/// `UTF-8`, `utf8` and `UNICODE` are one encoding.
fn plain_encoding(name: &str) -> String {
    let name = name.to_ascii_uppercase().replace(['-', '_'], "");
    match name.as_str() {
        "UNICODE" => "UTF8".to_owned(),
        _ => name,
    }
}

/// `C.UTF-8` and `C.utf8` are one locale; so are `C` and `POSIX`.
fn plain_locale(name: &str) -> String {
    if name == "POSIX" {
        return "C".to_owned();
    }
    match name.split_once('.') {
        Some((language, codeset)) => {
            format!("{language}.{}", codeset.to_ascii_lowercase().replace('-', ""))
        }
        None => name.to_owned(),
    }
}

/// A word of a shell command that a person may paste.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::command::Do;

    fn row(json: &str) -> Vec<Row> {
        vec![serde_json::from_str(json).unwrap()]
    }

    fn wanted() -> PostgresDatabase {
        PostgresDatabase {
            was: None,
            name: "iact".to_owned(),
            owner: Some("django_user".to_owned()),
            encoding: Some("utf-8".to_owned()),
            locale: Some("C.UTF-8".to_owned()),
            connection_limit: -1,
        }
    }

    fn sql(step: &Step) -> (String, bool) {
        match &step.does {
            Do::Sql { text, transaction } => (text.shown(), *transaction),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_database_is_compared_by_meaning() {
        let rows = row(
            r#"{"key":"iact","owner":"django_user","encoding":"UTF8","collate":"C.utf8","ctype":"C.utf8","icu":null,"connection_limit":-1}"#,
        );
        let found = wanted().read(&rows).unwrap();
        assert!(wanted().fields(found.as_ref()).iter().all(|field| field.same == Same::Yes));
        assert!(wanted().steps(found.as_ref()).is_empty());
    }

    #[test]
    fn what_cannot_be_altered_is_refused_with_a_recipe() {
        let rows = row(
            r#"{"key":"iact","owner":"postgres","encoding":"LATIN1","collate":"C","ctype":"C","icu":null,"connection_limit":-1}"#,
        );
        let found = wanted().read(&rows).unwrap().unwrap();
        let fields = wanted().fields(Some(&found));
        let risky: Vec<&str> = fields
            .iter()
            .filter(|field| field.differs() && field.impact == Impact::DataRisk)
            .map(|field| &*field.name)
            .collect();
        assert_eq!(risky, ["encoding", "locale"]);
        let steps = wanted().steps(Some(&found));
        assert_eq!(steps.len(), 1);
        assert_eq!(sql(&steps[0]).0, "ALTER DATABASE \"iact\" OWNER TO \"django_user\";\n");
        let recipe = wanted().recipe(&found).join("\n");
        assert!(recipe.contains("createdb -T template0 -E utf-8 -l C.UTF-8 -O django_user iact_new"), "{recipe}");
    }

    #[test]
    fn a_database_is_made_outside_a_transaction_and_the_first_one_is_there() {
        let (text, transaction) = sql(&wanted().steps(None)[0]);
        assert!(!transaction);
        assert_eq!(
            text,
            "CREATE DATABASE \"iact\" TEMPLATE template0 OWNER \"django_user\" ENCODING E'utf-8' LOCALE E'C.UTF-8' CONNECTION LIMIT -1;\n"
        );
        let first = PostgresDatabase {
            name: "postgres".to_owned(),
            connection_limit: -1,
            ..PostgresDatabase::default()
        };
        assert!(first.steps(None).is_empty());
    }

    #[test]
    fn the_rest_of_an_interrupted_drop_is_unknown() {
        let rows = row(
            r#"{"key":"iact","owner":"postgres","encoding":"UTF8","collate":"C","ctype":"C","icu":null,"connection_limit":-2}"#,
        );
        assert!(wanted().read(&rows).is_err());
    }
}
