//! `mariadb_script`: an SQL file that runs once a content in a MariaDB database; the server's ledger remembers it.
//!
//! MariaDB commits before and after every `CREATE`, `ALTER` and `DROP`: a script that fails half way has done its first half.
//! So it should be safe to run twice.

use std::borrow::Cow;

use super::mariadb::ident;
use crate::command::{Question, Row, Text};
use crate::ledger;
use crate::resource::{Field, Impact, Kind, Removal, Same, Step};

/// An SQL file that runs once a content in a MariaDB database.
#[derive(Clone, Debug, Default)]
pub struct MariadbScript {
    /// Path as declared, relative to the environment; its name in the ledger.
    pub name: String,
    /// SHA-256 of its text.
    pub digest: String,
    /// What runs.
    pub text: String,
    /// The database it runs in.
    pub database: String,
}

impl Kind for MariadbScript {
    const NAME: &'static str = "mariadb_script";
    const QUESTION: Question = ledger::MARIADB;

    fn key(&self) -> Cow<'_, str> {
        Cow::Owned(ledger::id(Self::NAME, &self.name))
    }

    fn read(&self, rows: &[Row]) -> Result<Option<Self>, String> {
        if let Some(open) = end(&self.text).open {
            return Err(format!("`{}` ends inside {open}", self.name));
        }
        Ok(rows.first().map(|row| MariadbScript {
            name: self.name.clone(),
            digest: super::mariadb::text(row, "digest")
                .unwrap_or_default()
                .to_owned(),
            ..MariadbScript::default()
        }))
    }

    fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        let mut field = Field::new("content", None, "run once", Impact::None);
        if let Some(found) = found {
            field.same = if found.digest == self.digest {
                Same::Yes
            } else {
                Same::No
            };
            field.from = Some(match field.same {
                Same::Yes => "run once".to_owned(),
                _ => "ran with another content".to_owned(),
            });
        }
        vec![field]
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        if !self.fields(found).iter().any(Field::differs) {
            return Vec::new();
        }
        let script = self.text.strip_prefix('\u{feff}').unwrap_or(&self.text);
        // Its statements are read as the server's settings say, ours as ours do.
        let text = Text::plain(format!(
            "USE {}; SET @provision_sql_mode = @@SESSION.sql_mode, SESSION sql_mode = @@GLOBAL.sql_mode;\n",
            ident(&self.database)
        ))
        .push_file(&self.name, script)
        .push(format!(
            "\n{}SET SESSION sql_mode = @provision_sql_mode;",
            end(script).closing()
        ));
        let mut step = Step::sql("run the script", text);
        step.deadline = std::time::Duration::from_secs(600);
        vec![step]
    }

    fn named(key: &str) -> Option<Self> {
        Some(MariadbScript {
            name: key.to_owned(),
            ..MariadbScript::default()
        })
    }

    fn remove(&self) -> Removal {
        Removal::Forget
    }
}

/// How a script ends, as the client reads it: what follows in the same stream must not become part of it.
#[derive(Debug, Default, PartialEq, Eq)]
struct End {
    /// The delimiter that is in force.
    delimiter: String,
    /// A statement without its delimiter is waiting.
    pending: bool,
    /// What was opened and not closed.
    open: Option<&'static str>,
    /// It took `autocommit` away.
    uncommitted: bool,
}

impl End {
    fn closing(&self) -> String {
        let mut text = String::new();
        if self.pending {
            text.push_str(&format!("{}\n", self.delimiter));
        }
        if self.delimiter != ";" {
            text.push_str("delimiter ;\n");
        }
        if self.uncommitted {
            text.push_str("SET SESSION autocommit = 1;\n");
        }
        text
    }
}

fn end(script: &str) -> End {
    let mut end = End {
        delimiter: ";".to_owned(),
        uncommitted: script.to_ascii_lowercase().contains("autocommit"),
        ..End::default()
    };
    let mut rest = script;
    let mut line_start = true;
    while let Some(c) = rest.chars().next() {
        if line_start && let Some((delimiter, after)) = delimiter_line(rest) {
            end.delimiter = delimiter;
            rest = after;
            continue;
        }
        line_start = c == '\n' || (line_start && c.is_whitespace());
        if let Some(after) = rest.strip_prefix(end.delimiter.as_str()) {
            end.pending = false;
            rest = after;
        } else if let Some(after) = rest
            .strip_prefix("\\g")
            .or_else(|| rest.strip_prefix("\\G"))
        {
            end.pending = false;
            rest = after;
        } else if is_line_comment(rest) {
            rest = rest.find('\n').map_or("", |at| &rest[at..]);
        } else if let Some(after) = rest.strip_prefix("/*") {
            // `/*! ... */` is a statement in a comment.
            end.pending |= after.starts_with('!') || after.starts_with("M!");
            match after.find("*/") {
                Some(at) => rest = &after[at + 2..],
                None => {
                    end.open = Some("a comment");
                    return end;
                }
            }
        } else if matches!(c, '\'' | '"' | '`') {
            end.pending = true;
            match quoted(&rest[1..], c) {
                Some(after) => rest = after,
                None => {
                    end.open = Some("quotes");
                    return end;
                }
            }
        } else {
            end.pending |= !c.is_whitespace();
            rest = &rest[c.len_utf8()..];
        }
    }
    end
}

/// The client's own command at the start of a line: the new delimiter, and the text after the line.
fn delimiter_line(rest: &str) -> Option<(String, &str)> {
    let line = rest.lines().next()?;
    let word = line.get(..9)?;
    let argument = line.get(9..)?;
    if !word.eq_ignore_ascii_case("delimiter") || !argument.starts_with([' ', '\t']) {
        return None;
    }
    let delimiter = argument.split_whitespace().next()?;
    Some((delimiter.to_owned(), &rest[line.len()..]))
}

fn is_line_comment(rest: &str) -> bool {
    rest.starts_with('#')
        || rest
            .strip_prefix("--")
            .is_some_and(|after| after.is_empty() || after.starts_with(char::is_whitespace))
}

/// The text after the closing quote.
fn quoted(rest: &str, quote: char) -> Option<&str> {
    let mut escaped = false;
    for (at, c) in rest.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' && quote != '`' {
            escaped = true;
        } else if c == quote {
            return Some(&rest[at + 1..]);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Do;

    #[test]
    fn what_follows_a_script_is_not_part_of_it() {
        for (script, closing) in [
            ("", ""),
            ("-- it's only words\n# so\n/* is ; this */", ""),
            ("SELECT 1;", ""),
            ("SELECT 1; -- end", ""),
            ("SELECT 1 -- end", ";\n"),
            ("SELECT ';'", ";\n"),
            ("SELECT 1\\G", ""),
            ("SELECT 'it''s \\' ;';", ""),
            ("/*!40101 SET NAMES utf8 */", ";\n"),
            ("delimiter $$\nSELECT 1; SELECT 2$$", "delimiter ;\n"),
            ("DELIMITER //\nSELECT 1;", "//\ndelimiter ;\n"),
            ("delimiter //\nSELECT 1//\ndelimiter ;\nSELECT 2;", ""),
            ("SELECT 'a\ndelimiter //\n';", ""),
            ("SET autocommit = 0;", "SET SESSION autocommit = 1;\n"),
        ] {
            assert_eq!(end(script).closing(), closing, "{script}");
        }
    }

    #[test]
    fn a_script_that_swallows_what_follows_is_not_run() {
        for text in ["SELECT 'open", "SELECT \"open", "SELECT `open", "/* open"] {
            let script = MariadbScript {
                text: text.to_owned(),
                ..MariadbScript::default()
            };
            assert!(script.read(&[]).is_err(), "{text}");
        }
    }

    #[test]
    fn it_runs_once_a_content_in_its_database() {
        let script = MariadbScript {
            name: "sql/ivr/010.sql".to_owned(),
            digest: "new".to_owned(),
            text: "\u{feff}SELECT 1".to_owned(),
            database: "iact_ivr".to_owned(),
        };
        assert_eq!(script.key(), "mariadb_script:sql/ivr/010.sql");
        let row = |digest: &str| {
            let row =
                format!(r#"{{"key": "mariadb_script:sql/ivr/010.sql", "digest": "{digest}"}}"#);
            script
                .read(&super::super::mariadb::rows(&row))
                .expect("it can be read")
        };
        assert!(script.steps(row("new").as_ref()).is_empty());
        let fields = script.fields(row("old").as_ref());
        assert_eq!(fields[0].from.as_deref(), Some("ran with another content"));
        let steps = script.steps(row("old").as_ref());
        let Do::Sql { text, .. } = &steps[0].does else {
            panic!("{steps:?}");
        };
        assert_eq!(
            text.shown(),
            "USE `iact_ivr`; SET @provision_sql_mode = @@SESSION.sql_mode, SESSION sql_mode = @@GLOBAL.sql_mode;\n\
             SELECT 1\n;\nSET SESSION sql_mode = @provision_sql_mode;"
        );
    }
}
