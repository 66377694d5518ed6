//! `mariadb_role`: a role of a MariaDB server. Its rights, and the roles it is a member of, are `mariadb_grant`.

use std::borrow::Cow;

use super::mariadb::ident;
use crate::command::{Ask, Question, Row, Text};
use crate::resource::{Field, Kind, Removal, Step};

/// A role of a MariaDB server.
#[derive(Clone, Debug, Default)]
pub struct MariadbRole {
    /// Its name; the key.
    pub name: String,
}

impl Kind for MariadbRole {
    const NAME: &'static str = "mariadb_role";
    const QUESTION: Question = Question {
        name: "mariadb_role",
        ask: Ask::MariaDb(
            "SELECT JSON_OBJECT('key', User) FROM mysql.global_priv WHERE JSON_VALUE(Priv, '$.is_role') = 1",
        ),
    };

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.name)
    }

    fn read(&self, rows: &[Row]) -> Result<Option<Self>, String> {
        Ok((!rows.is_empty()).then(|| self.clone()))
    }

    fn fields(&self, _found: Option<&Self>) -> Vec<Field> {
        Vec::new()
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        if found.is_some() {
            return Vec::new();
        }
        let sql = format!("CREATE ROLE {};", ident(&self.name));
        vec![Step::sql_alone("create the role", Text::plain(sql))]
    }

    fn named(key: &str) -> Option<Self> {
        Some(MariadbRole {
            name: key.to_owned(),
        })
    }

    fn remove(&self) -> Removal {
        let sql = format!("DROP ROLE IF EXISTS {};", ident(&self.name));
        Removal::Steps(vec![Step::sql_alone("drop the role", Text::plain(sql))])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_there_or_made() {
        let role = MariadbRole::named("it's").expect("a role");
        let rows = super::super::mariadb::rows(r#"{"key": "it's"}"#);
        let found = role.read(&rows).expect("it can be read");
        assert!(role.steps(found.as_ref()).is_empty());
        assert_eq!(role.steps(None).len(), 1);
        assert!(role.read(&[]).expect("it can be read").is_none());
    }
}
