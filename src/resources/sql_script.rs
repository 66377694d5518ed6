//! `sql_script`: an SQL file of the user that runs once a content, remembered in the database itself.

use std::borrow::Cow;
use std::time::Duration;

use crate::command::{Question, Row, Text};
use crate::ledger;
use crate::resource::{Field, Impact, Kind, Removal, Same, Step};
use crate::resources::postgres::{ident, text};

/// An SQL file that runs once a content in a PostgreSQL database.
#[derive(Clone, Debug, Default)]
pub struct SqlScript {
    /// Path as declared, relative to the environment; its name in the ledger.
    pub name: String,
    /// SHA-256 of its text.
    pub digest: String,
    /// What runs.
    pub text: String,
    /// Who makes what it makes, so that it belongs to them; `None`: the superuser.
    pub role: Option<String>,
}

/// A script that says this in a comment before its first statement runs outside a transaction.
pub const NO_TRANSACTION: &str = "provision: no-transaction";

const LONGEST: Duration = Duration::from_secs(60 * 60);

impl Kind for SqlScript {
    const NAME: &'static str = "sql_script";
    const QUESTION: Question = ledger::POSTGRES;

    fn key(&self) -> Cow<'_, str> {
        Cow::Owned(ledger::id(Self::NAME, &self.name))
    }

    fn read(&self, rows: &[Row]) -> Result<Option<Self>, String> {
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        Ok(Some(SqlScript {
            name: self.name.clone(),
            digest: text(row, "digest")?.to_owned(),
            ..SqlScript::default()
        }))
    }

    fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        let wanted = format!("runs once ({})", short(&self.digest));
        let same = found.is_some_and(|found| found.digest == self.digest);
        let from = found.map(|found| match same {
            true => wanted.clone(),
            false => format!("ran with another content ({})", short(&found.digest)),
        });
        vec![Field {
            name: "content".into(),
            from,
            to: Some(wanted),
            same: if same { Same::Yes } else { Same::No },
            impact: Impact::None,
        }]
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        if found.is_some_and(|found| found.digest == self.digest) {
            return Vec::new();
        }
        let says = format!("run `{}`", self.name);
        let text = self.statements();
        let step = if self.in_transaction() {
            Step::sql(says, text)
        } else {
            Step::sql_alone(says, text)
        };
        vec![Step {
            deadline: LONGEST,
            ..step
        }]
    }

    fn named(key: &str) -> Option<Self> {
        Some(SqlScript {
            name: key.to_owned(),
            ..SqlScript::default()
        })
    }

    fn remove(&self) -> Removal {
        Removal::Forget
    }
}

impl SqlScript {
    fn in_transaction(&self) -> bool {
        !self
            .bare()
            .lines()
            .map(str::trim)
            .take_while(|line| line.is_empty() || line.starts_with("--"))
            .any(|line| line.contains(NO_TRANSACTION))
    }

    /// What follows must not become part of its last comment or of a statement that lacks its semicolon.
    fn statements(&self) -> Text {
        let text = self.bare().trim_end();
        let last = text.lines().next_back().unwrap_or_default();
        let ended = last.ends_with(';') && !last.contains("--");
        let end = if ended { "\n" } else { "\n;\n" };
        match &self.role {
            None => Text::default().push_file(&self.name, text).push(end),
            Some(role) => Text::plain(format!("SET ROLE {};\n", ident(role)))
                .push_file(&self.name, text)
                .push(format!("{end}RESET ROLE;\n")),
        }
    }

    /// Without the mark that some editors put before a text.
    fn bare(&self) -> &str {
        self.text.trim_start_matches('\u{feff}')
    }
}

fn short(digest: &str) -> &str {
    digest.get(..8).unwrap_or(digest)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::command::Do;

    fn script(text: &str) -> SqlScript {
        SqlScript {
            name: "sql/01.sql".to_owned(),
            digest: crate::secret::sha256(text),
            text: text.to_owned(),
            role: None,
        }
    }

    fn sent(script: &SqlScript, found: Option<&SqlScript>) -> (String, bool) {
        match &script.steps(found)[0].does {
            Do::Sql { text, transaction } => (text.shown(), *transaction),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_script_runs_once_a_content() {
        let wanted = script("SELECT 1;");
        assert_eq!(wanted.key(), "sql_script:sql/01.sql");
        let row = |digest: &str| -> Row {
            let row = serde_json::json!({ "key": wanted.key(), "digest": digest });
            row.as_object().cloned().unwrap()
        };
        let found = wanted.read(&[row(&wanted.digest)]).unwrap();
        assert!(wanted.steps(found.as_ref()).is_empty());
        assert!(wanted.fields(found.as_ref()).iter().all(|f| f.same == Same::Yes));
        let found = wanted.read(&[row("0123456789")]).unwrap();
        let fields = wanted.fields(found.as_ref());
        assert_eq!(fields[0].from.as_deref(), Some("ran with another content (01234567)"));
        assert_eq!(sent(&wanted, found.as_ref()), ("SELECT 1;\n".to_owned(), true));
        assert!(wanted.read(&[]).unwrap().is_none());
    }

    #[test]
    fn a_script_runs_as_the_owner_even_without_its_last_semicolon() {
        let owned = SqlScript {
            role: Some("django_user".to_owned()),
            ..script("\u{feff}-- provision: no-transaction\nSELECT 1 -- one")
        };
        let text = "SET ROLE \"django_user\";\n-- provision: no-transaction\nSELECT 1 -- one\n;\nRESET ROLE;\n";
        assert_eq!(sent(&owned, None), (text.to_owned(), false));
    }

    #[test]
    fn a_script_may_ask_to_run_outside_a_transaction() {
        let alone = script("-- first\n\n-- provision: no-transaction\nVACUUM");
        assert_eq!(sent(&alone, None), (format!("{}\n;\n", alone.text), false));
        let late = script("SELECT 1;\n-- provision: no-transaction\n");
        assert!(sent(&late, None).1);
    }
}
