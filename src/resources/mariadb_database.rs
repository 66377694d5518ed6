//! `mariadb_database`: a database of a MariaDB server. It holds data: it is created and altered, and dropped only by name.

use std::borrow::Cow;

use super::mariadb::{ident, int, need, text};
use crate::command::{Ask, Question, Row, Text};
use crate::resource::{Field, Impact, Kind, Removal, Same, Step};

/// A database of a MariaDB server.
#[derive(Clone, Debug, Default)]
pub struct MariadbDatabase {
    /// Its name; the key.
    pub name: String,
    /// Default character set; `None`: not managed.
    pub charset: Option<String>,
    /// Default collation; `None`: not managed.
    pub collation: Option<String>,
    /// Of a found one: what the server means by `utf8`.
    pub utf8: String,
}

impl MariadbDatabase {
    /// Whether two names mean one thing on this server: case does not matter, and `utf8` is an old name.
    fn equal(&self, wanted: &str, found: &str) -> bool {
        unaliased(wanted, &self.utf8) == unaliased(found, &self.utf8)
    }

    /// Since 10.10 a collation may be written without its character set: `uca1400_ai_ci`.
    fn equal_collation(&self, wanted: &str) -> bool {
        let found = self.collation.as_deref().unwrap_or_default();
        let charset = self.charset.as_deref().unwrap_or_default();
        self.equal(wanted, found) || self.equal(&format!("{charset}_{wanted}"), found)
    }

    fn defaults(&self) -> String {
        let mut sql = String::new();
        if let Some(charset) = &self.charset {
            sql.push_str(&format!(" CHARACTER SET {}", ident(charset)));
        }
        if let Some(collation) = &self.collation {
            sql.push_str(&format!(" COLLATE {}", ident(collation)));
        }
        sql
    }
}

/// `utf8` and `utf8_...` under the name that the server gives them, in lower case.
pub(super) fn unaliased(name: &str, utf8: &str) -> String {
    let name = name.to_ascii_lowercase();
    let utf8 = if utf8.is_empty() { "utf8mb3" } else { utf8 };
    match name.strip_prefix("utf8") {
        Some("") => utf8.to_owned(),
        Some(rest) if rest.starts_with('_') => format!("{utf8}{rest}"),
        _ => name,
    }
}

fn field(name: &'static str, found: Option<(Option<&String>, bool)>, wanted: &str) -> Field {
    let mut field = Field::new(name, None, wanted, Impact::None);
    if let Some((value, equal)) = found {
        field.from = value.cloned();
        field.same = if equal { Same::Yes } else { Same::No };
    }
    field
}

impl Kind for MariadbDatabase {
    const NAME: &'static str = "mariadb_database";
    const QUESTION: Question = Question {
        name: "mariadb_database",
        ask: Ask::MariaDb(
            "SELECT JSON_OBJECT('key', LOWER(SCHEMA_NAME), 'name', SCHEMA_NAME, 'folds', @@lower_case_table_names, 'charset', DEFAULT_CHARACTER_SET_NAME, \
             'collation', DEFAULT_COLLATION_NAME, \
             'utf8', IF(FIND_IN_SET('UTF8_IS_UTF8MB3', @@old_mode), 'utf8mb3', 'utf8mb4')) \
             FROM information_schema.SCHEMATA",
        ),
    };

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.name)
    }

    fn row_key(&self) -> Cow<'_, str> {
        Cow::Owned(self.name.to_lowercase())
    }

    fn read(&self, rows: &[Row]) -> Result<Option<Self>, String> {
        let exact = |row: &&Row| text(row, "name") == Some(&self.name);
        // The server may take names that differ in case only for the same.
        let folds = |row: &&Row| int(row, "folds") > Some(0);
        let row = rows.iter().find(exact);
        let Some(row) = row.or_else(|| rows.iter().find(folds)) else {
            return Ok(None);
        };
        Ok(Some(MariadbDatabase {
            name: need(row, "name")?.to_owned(),
            charset: Some(need(row, "charset")?.to_owned()),
            collation: Some(need(row, "collation")?.to_owned()),
            utf8: need(row, "utf8")?.to_owned(),
        }))
    }

    fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        let mut fields = Vec::new();
        if let Some(wanted) = &self.charset {
            let found = found.map(|f| {
                let value = f.charset.as_ref();
                (value, value.is_some_and(|value| f.equal(wanted, value)))
            });
            fields.push(field("charset", found, wanted));
        }
        if let Some(wanted) = &self.collation {
            let found = found.map(|f| (f.collation.as_ref(), f.equal_collation(wanted)));
            fields.push(field("collation", found, wanted));
        }
        fields
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        let (says, verb) = match found {
            None => ("create the database", "CREATE"),
            Some(_) if self.fields(found).iter().any(Field::differs) => (
                "set the default for new tables (those that are there keep theirs)",
                "ALTER",
            ),
            Some(_) => return Vec::new(),
        };
        let sql = format!("{verb} DATABASE {}{};", ident(&self.name), self.defaults());
        vec![Step::sql_alone(says, Text::plain(sql))]
    }

    fn named(key: &str) -> Option<Self> {
        Some(MariadbDatabase {
            name: key.to_owned(),
            ..MariadbDatabase::default()
        })
    }

    fn remove(&self) -> Removal {
        let sql = format!("DROP DATABASE {};", ident(&self.name));
        let mut step = Step::sql_alone("drop the database and its data", Text::plain(sql));
        step.impact = Impact::DataRisk;
        Removal::HoldsData(vec![step])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Do;

    const ROW: &str = r#"{"key": "iact_ivr", "name": "iact_ivr", "folds": 0, "charset": "utf8mb3", "collation": "utf8mb3_general_ci", "utf8": "utf8mb3"}"#;

    fn database(charset: Option<&str>, collation: Option<&str>) -> MariadbDatabase {
        MariadbDatabase {
            name: "iact_ivr".to_owned(),
            charset: charset.map(str::to_owned),
            collation: collation.map(str::to_owned),
            utf8: String::new(),
        }
    }

    fn differing(wanted: &MariadbDatabase) -> (Vec<String>, String) {
        let found = wanted
            .read(&super::super::mariadb::rows(ROW))
            .expect("it can be read");
        let fields = wanted.fields(found.as_ref());
        let names = fields.iter().filter(|field| field.differs());
        let sql = wanted.steps(found.as_ref()).pop().map(|step| step.does);
        let sql = match sql {
            Some(Do::Sql { text, .. }) => text.shown(),
            _ => String::new(),
        };
        (names.map(|field| field.name.to_string()).collect(), sql)
    }

    #[test]
    fn old_and_short_names_are_the_same() {
        for (charset, collation) in [
            (Some("utf8"), Some("utf8_general_ci")),
            (Some("UTF8MB3"), None),
            (None, Some("general_ci")),
            (None, None),
        ] {
            assert_eq!(
                differing(&database(charset, collation)),
                (Vec::new(), String::new())
            );
        }
    }

    #[test]
    fn only_what_is_declared_is_altered() {
        let (fields, sql) = differing(&database(Some("utf8mb4"), None));
        assert_eq!(fields, ["charset"]);
        assert_eq!(sql, "ALTER DATABASE `iact_ivr` CHARACTER SET `utf8mb4`;");
        let (fields, sql) = differing(&database(Some("utf8"), Some("utf8_bin")));
        assert_eq!(fields, ["collation"]);
        assert_eq!(
            sql,
            "ALTER DATABASE `iact_ivr` CHARACTER SET `utf8` COLLATE `utf8_bin`;"
        );
    }

    #[test]
    fn names_are_compared_as_the_server_does() {
        let found = |name: &str, folds: u8| {
            let row = ROW.replace("\"folds\": 0", &format!("\"folds\": {folds}"));
            let wanted = MariadbDatabase {
                name: name.to_owned(),
                ..MariadbDatabase::default()
            };
            assert_eq!(wanted.row_key(), "iact_ivr");
            let found = wanted.read(&super::super::mariadb::rows(&row));
            found.expect("it can be read").map(|found| found.name)
        };
        let there = Some("iact_ivr".to_owned());
        assert_eq!(found("IACT_ivr", 0), None);
        assert_eq!(found("IACT_ivr", 1), there);
        assert_eq!(found("iact_IVR", 2), there);
        assert_eq!(found("iact_ivr", 0), there);
    }

    #[test]
    fn dropping_it_is_never_a_side_effect() {
        assert!(matches!(
            database(None, None).remove(),
            Removal::HoldsData(_)
        ));
    }
}
