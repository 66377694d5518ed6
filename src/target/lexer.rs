//! Whether an SQL text is closed: it ends outside of quotes, comments and parentheses and tells the client nothing. Closed texts
//! can follow each other in one stream; any other one gets a client of its own, so that it harms only itself.

use crate::command::Dialect;

/// Whether a text is closed. Where in doubt it is not, which costs a little time and nothing else.
pub(super) fn is_closed(dialect: Dialect, text: &str) -> bool {
    let chars: Vec<char> = text.chars().collect();
    let mut scanner = Scanner {
        dialect,
        chars: &chars,
        at: 0,
        depth: 0,
    };
    scanner.scan() && scanner.depth == 0 && !has_word_for_client(dialect, text)
}

/// Words that make the client read on in another way: data after COPY, the body of a function, another end of statements.
fn has_word_for_client(dialect: Dialect, text: &str) -> bool {
    let words: &[&str] = match dialect {
        Dialect::Postgres => &["STDIN", "ATOMIC"],
        Dialect::MariaDb => &["DELIMITER", "USE"],
    };
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
        .any(|word| words.iter().any(|other| word.eq_ignore_ascii_case(other)))
}

struct Scanner<'a> {
    dialect: Dialect,
    chars: &'a [char],
    at: usize,
    depth: usize,
}

impl Scanner<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    /// False where something stays open or the client is told something.
    fn scan(&mut self) -> bool {
        while let Some(c) = self.peek(0) {
            let fine = match c {
                '\\' | '\0' => false,
                '\'' => self.quoted('\'', self.escapes()),
                '"' => self.quoted('"', self.dialect == Dialect::MariaDb),
                '`' if self.dialect == Dialect::MariaDb => self.quoted('`', false),
                '$' if self.dialect == Dialect::Postgres => self.dollar(),
                '-' if self.peek(1) == Some('-') => self.line(),
                '#' if self.dialect == Dialect::MariaDb => self.line(),
                '/' if self.peek(1) == Some('*') => self.comment(),
                '(' => {
                    self.depth += 1;
                    self.step(1)
                }
                ')' => match self.depth.checked_sub(1) {
                    Some(depth) => {
                        self.depth = depth;
                        self.step(1)
                    }
                    None => false,
                },
                _ => self.step(1),
            };
            if !fine {
                return false;
            }
        }
        true
    }

    fn step(&mut self, count: usize) -> bool {
        self.at += count;
        true
    }

    /// Whether a backslash escapes in the string that begins here.
    fn escapes(&self) -> bool {
        if self.dialect == Dialect::MariaDb {
            return true;
        }
        let before = |back: usize| {
            self.at
                .checked_sub(back)
                .and_then(|at| self.chars.get(at))
                .copied()
        };
        matches!(before(1), Some('e' | 'E')) && !before(2).is_some_and(is_name)
    }

    fn quoted(&mut self, quote: char, escapes: bool) -> bool {
        self.at += 1;
        while let Some(c) = self.peek(0) {
            self.at += 1;
            if c == '\\' && escapes {
                self.at += 1;
            } else if c == quote {
                return true;
            }
        }
        false
    }

    fn dollar(&mut self) -> bool {
        let before = self
            .at
            .checked_sub(1)
            .and_then(|at| self.chars.get(at))
            .copied();
        if before.is_some_and(is_name) {
            return self.step(1);
        }
        let name = self
            .chars
            .iter()
            .skip(self.at + 1)
            .take_while(|c| is_name(**c) && **c != '$')
            .count();
        if self.peek(name + 1) != Some('$') || self.peek(1).is_some_and(|c| c.is_ascii_digit()) {
            return self.step(1);
        }
        let tag: Vec<char> = self
            .chars
            .iter()
            .skip(self.at)
            .take(name + 2)
            .copied()
            .collect();
        self.at += tag.len();
        while self.at < self.chars.len() {
            if self
                .chars
                .iter()
                .skip(self.at)
                .take(tag.len())
                .eq(tag.iter())
            {
                return self.step(tag.len());
            }
            self.at += 1;
        }
        false
    }

    fn line(&mut self) -> bool {
        while self.peek(0).is_some_and(|c| c != '\n') {
            self.at += 1;
        }
        true
    }

    fn comment(&mut self) -> bool {
        let mut depth = 0;
        while let Some(c) = self.peek(0) {
            match (c, self.peek(1)) {
                ('/', Some('*')) if depth == 0 || self.dialect == Dialect::Postgres => {
                    depth += 1;
                    self.at += 2;
                }
                ('*', Some('/')) => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return true;
                    }
                }
                _ => self.at += 1,
            }
        }
        false
    }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_texts_of_postgres() {
        for text in [
            "SELECT 1;",
            "SELECT 'it''s', \"a\"\"b\", E'\\'', $$ ' $$, $t$ $$ \\ $t$, $1;",
            "-- don't\nSELECT 1; /* a /* ' */ b */",
            "ALTER ROLE \"x\" PASSWORD E'SCRAM-SHA-256$4096:a$b:c';",
            "DO $do$ BEGIN EXECUTE 'x'; END $do$;",
            "SELECT (1 + (2));",
            "SELECT a$b$c;",
        ] {
            assert!(is_closed(Dialect::Postgres, text), "{text}");
        }
        for text in [
            "SELECT 'abc;",
            "SELECT \"abc;",
            "SELECT (1;",
            "SELECT 1);",
            "SELECT $$ abc;",
            "/* /* */",
            "SELECT '\\', 'x;",
            "SELECT E'\\';",
            "\\connect other",
            "SELECT 1 \\gset",
            "COPY t FROM stdin;",
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1;",
            "SELECT \0;",
        ] {
            assert!(!is_closed(Dialect::Postgres, text), "{text}");
        }
    }

    #[test]
    fn closed_texts_of_mariadb() {
        for text in [
            "SELECT 'it\\'s', \"a\\\"b\", `a``b`; # don't\n",
            "SELECT 1; -- don't\n/* ' */",
        ] {
            assert!(is_closed(Dialect::MariaDb, text), "{text}");
        }
        for text in [
            "SELECT 'abc\\';",
            "delimiter //\nSELECT 1//",
            "\\! ls",
            "SELECT `abc;",
            "use x;",
            "/* '",
        ] {
            assert!(!is_closed(Dialect::MariaDb, text), "{text}");
        }
    }
}
