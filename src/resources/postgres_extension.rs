//! `postgres_extension`: an extension of a PostgreSQL database.

use std::borrow::Cow;

use crate::command::{Ask, Question, Row, Text};
use crate::resource::{Field, Impact, Kind, Removal, Step};
use crate::resources::postgres::{boolean, ident, literal, text};

/// An extension of a PostgreSQL database.
#[derive(Clone, Debug, Default)]
pub struct PostgresExtension {
    /// Its name; the key.
    pub name: String,
    /// Its version; `None`: not managed.
    pub version: Option<String>,
    /// Its schema; `None`: not managed.
    pub schema: Option<String>,
    /// Of a found one: whether it can move to another schema.
    pub relocatable: bool,
}

const QUERY: &str = "SELECT x.extname::text AS key, x.extversion AS version, n.nspname::text AS schema, \
    x.extrelocatable AS relocatable FROM pg_extension x JOIN pg_namespace n ON n.oid = x.extnamespace";

impl Kind for PostgresExtension {
    const NAME: &'static str = "postgres_extension";
    const QUESTION: Question = Question {
        name: "postgres_extension",
        ask: Ask::PostgresDatabase(QUERY),
    };

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.name)
    }

    fn read(&self, rows: &[Row]) -> Result<Option<Self>, String> {
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        Ok(Some(PostgresExtension {
            name: self.name.clone(),
            version: Some(text(row, "version")?.to_owned()),
            schema: Some(text(row, "schema")?.to_owned()),
            relocatable: boolean(row, "relocatable")?,
        }))
    }

    fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        let mut fields = Vec::new();
        if let Some(version) = &self.version {
            let from = found.and_then(|found| found.version.clone());
            let impact = match &from {
                Some(from) if is_older(version, from) => Impact::DataRisk,
                _ => Impact::None,
            };
            fields.push(Field::new("version", from, version, impact));
        }
        if let Some(schema) = &self.schema {
            let impact = match found {
                Some(found) if !found.relocatable => Impact::DataRisk,
                _ => Impact::None,
            };
            let from = found.and_then(|found| found.schema.clone());
            fields.push(Field::new("schema", from, schema, impact));
        }
        fields
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        let name = ident(&self.name);
        let Some(found) = found else {
            return vec![self.create()];
        };
        let mut steps = Vec::new();
        for field in self.fields(Some(found)) {
            let (Some(wanted), true) = (&field.to, field.differs()) else {
                continue;
            };
            let (says, change) = match (&*field.name, field.impact) {
                (_, Impact::DataRisk) => continue,
                ("version", _) => (
                    format!("update the extension to {wanted}"),
                    format!("UPDATE TO {}", literal(wanted)),
                ),
                _ => (
                    format!("move the extension to schema `{wanted}`"),
                    format!("SET SCHEMA {}", ident(wanted)),
                ),
            };
            steps.push(Step::sql(says, Text::plain(format!("ALTER EXTENSION {name} {change};\n"))));
        }
        steps
    }

    fn named(key: &str) -> Option<Self> {
        Some(PostgresExtension {
            name: key.to_owned(),
            ..PostgresExtension::default()
        })
    }

    fn remove(&self) -> Removal {
        // Without CASCADE: where a column or an index uses it, the server says so and nothing is lost.
        let drop = Text::plain(format!("DROP EXTENSION {};\n", ident(&self.name)));
        Removal::Steps(vec![Step::sql("drop the extension", drop)])
    }

    fn recipe(&self, found: &Self) -> Vec<String> {
        let name = ident(&self.name);
        let mut recipe = Vec::new();
        for field in self.fields(Some(found)) {
            let (true, Some(from)) = (field.impact == Impact::DataRisk && field.differs(), &field.from) else {
                continue;
            };
            recipe.push(match &*field.name {
                "version" => format!("an extension cannot go to an older version: declare `version = \"{from}\"`, or none"),
                _ => format!("`{}` cannot change its schema: declare `schema = \"{from}\"`, or none", self.name),
            });
        }
        recipe.push(format!("or see what uses it (`DROP EXTENSION {name};` fails and names it), dump those tables, drop them and it"));
        recipe.push("then apply, and restore them".to_owned());
        recipe
    }
}

impl PostgresExtension {
    /// Where it is there already (an image's template, a dependency of another), it is taken as it is; the next look tells.
    fn create(&self) -> Step {
        let mut sql = format!("CREATE EXTENSION IF NOT EXISTS {}", ident(&self.name));
        if let Some(schema) = &self.schema {
            sql.push_str(&format!(" SCHEMA {}", ident(schema)));
        }
        if let Some(version) = &self.version {
            sql.push_str(&format!(" VERSION {}", literal(version)));
        }
        sql.push_str(" CASCADE;\n");
        Step::sql("create the extension", Text::plain(sql))
    }
}

/// Whether a version is for sure before another: number by number. Words (`unpackaged`) are not ordered.
fn is_older(version: &str, than: &str) -> bool {
    let numbers = |text: &str| -> Option<Vec<u64>> {
        text.split(['.', '-']).map(|part| part.parse().ok()).collect()
    };
    matches!((numbers(version), numbers(than)), (Some(a), Some(b)) if a < b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_number() {
        assert!(is_older("1.9", "1.10"));
        assert!(!is_older("1.10", "1.9"));
        assert!(!is_older("unpackaged", "1.0"));
    }
}
