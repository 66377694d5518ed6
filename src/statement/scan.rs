//! Where statements begin and end, as `psql` and `mariadb` read them.

use std::ops::Range;

use crate::command::Dialect;

/// One statement of a text, with the lines it stands on; comments before it are none of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement<'a> {
    /// Without what ends it.
    pub text: &'a str,
    /// The line it begins on, counted from 1.
    pub first: usize,
    /// The line it is ended on.
    pub last: usize,
}

/// What a text leaves open at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// As in `a quote`.
    pub what: &'static str,
    /// The line on which it is opened.
    pub line: usize,
}

/// The statements of a text, in order, and what it leaves open.
pub fn split(dialect: Dialect, text: &str) -> (Vec<Statement<'_>>, Option<Open>) {
    let mut scan = Scan::new(dialect, text);
    scan.run();
    (scan.statements, scan.open)
}

/// What stands between the quotes of each literal of a statement.
pub(super) fn literals(dialect: Dialect, text: &str) -> Vec<Range<usize>> {
    let mut scan = Scan::new(dialect, text);
    scan.run();
    scan.literals
}

struct Scan<'a> {
    dialect: Dialect,
    text: &'a str,
    at: usize,
    line: usize,
    delimiter: &'a str,
    /// Where the statement begins: offset and line.
    begun: Option<(usize, usize)>,
    /// Parentheses, each with its line.
    parentheses: Vec<usize>,
    /// How deep it is in `BEGIN ATOMIC ... END`.
    atomic: usize,
    word: &'a str,
    statements: Vec<Statement<'a>>,
    literals: Vec<Range<usize>>,
    open: Option<Open>,
}

impl<'a> Scan<'a> {
    fn new(dialect: Dialect, text: &'a str) -> Self {
        Scan {
            dialect,
            text,
            at: 0,
            line: 1,
            delimiter: ";",
            begun: None,
            parentheses: Vec::new(),
            atomic: 0,
            word: "",
            statements: Vec::new(),
            literals: Vec::new(),
            open: None,
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip(&mut self, bytes: usize) {
        let passed = &self.text[self.at..self.at + bytes];
        self.line += passed.matches('\n').count();
        self.at += bytes;
    }

    fn run(&mut self) {
        let mut line_start = true;
        while let Some(c) = self.rest().chars().next() {
            if line_start && self.clients_own_line() {
                continue;
            }
            line_start = c == '\n' || (line_start && c.is_whitespace());
            if c.is_whitespace() || c == '\u{feff}' {
                self.skip(c.len_utf8());
            } else if self.ends_here() {
                self.end();
            } else if !self.comment(c) {
                self.begun.get_or_insert((self.at, self.line));
                self.token(c);
            }
        }
        if let (None, Some(line)) = (self.open, self.parentheses.first()) {
            self.open = Some(Open {
                what: "a parenthesis",
                line: *line,
            });
        }
        self.push(self.text.trim_end().len());
    }

    /// A line that is for the client: `delimiter //`, `\connect x`.
    fn clients_own_line(&mut self) -> bool {
        let line = self.rest().lines().next().unwrap_or_default();
        let is_own = match self.dialect {
            Dialect::Postgres => self.begun.is_none() && line.starts_with('\\'),
            Dialect::MariaDb => self.delimiter_line(line),
        };
        if is_own {
            self.skip(line.len());
        }
        is_own
    }

    fn delimiter_line(&mut self, line: &'a str) -> bool {
        let mut words = line.split_whitespace();
        let is_word = words
            .next()
            .is_some_and(|word| word.eq_ignore_ascii_case("delimiter"));
        match words.next().filter(|_| is_word) {
            Some(delimiter) => {
                self.delimiter = delimiter;
                true
            }
            None => false,
        }
    }

    fn ends_here(&self) -> bool {
        let rest = self.rest();
        match self.dialect {
            Dialect::Postgres => {
                rest.starts_with(';') && self.parentheses.is_empty() && self.atomic == 0
            }
            Dialect::MariaDb => {
                rest.starts_with(self.delimiter)
                    || rest.starts_with("\\g")
                    || rest.starts_with("\\G")
            }
        }
    }

    fn end(&mut self) {
        self.push(self.at);
        let ends = self.rest().starts_with(self.delimiter);
        self.skip(if ends { self.delimiter.len() } else { 2 });
    }

    fn push(&mut self, end: usize) {
        if let Some((begin, first)) = self.begun.take() {
            let text = self.text.get(begin..end).unwrap_or_default();
            self.statements.push(Statement {
                text,
                first,
                last: match self.at == self.text.len() {
                    true => first + text.matches('\n').count(),
                    false => self.line,
                },
            });
        }
        self.parentheses.clear();
        (self.atomic, self.word) = (0, "");
    }

    /// Skips a comment; false where none begins here.
    fn comment(&mut self, c: char) -> bool {
        let rest = self.rest();
        let dashes = rest.strip_prefix("--").is_some_and(|after| {
            self.dialect == Dialect::Postgres
                || after.is_empty()
                || after.starts_with(char::is_whitespace)
        });
        if dashes || (c == '#' && self.dialect == Dialect::MariaDb) {
            self.skip(rest.find('\n').unwrap_or(rest.len()));
            return true;
        }
        // `/*! ... */` is a statement in a comment.
        let executed = rest.starts_with("/*!") || rest.starts_with("/*M!");
        if !rest.starts_with("/*") || (executed && self.dialect == Dialect::MariaDb) {
            return false;
        }
        self.block_comment();
        true
    }

    fn block_comment(&mut self) {
        let line = self.line;
        let mut depth = 0usize;
        loop {
            let rest = self.rest();
            if rest.starts_with("/*") && (depth == 0 || self.dialect == Dialect::Postgres) {
                depth += 1;
                self.skip(2);
            } else if rest.starts_with("*/") {
                depth -= 1;
                self.skip(2);
                if depth == 0 {
                    return;
                }
            } else if let Some(c) = rest.chars().next() {
                self.skip(c.len_utf8());
            } else {
                let what = "a comment";
                self.open.get_or_insert(Open { what, line });
                return;
            }
        }
    }

    fn token(&mut self, c: char) {
        let mariadb = self.dialect == Dialect::MariaDb;
        match c {
            '\'' => {
                let escapes = mariadb || self.word.eq_ignore_ascii_case("e");
                self.quoted(c, escapes, true);
            }
            '"' => self.quoted(c, mariadb, mariadb),
            '`' if mariadb => self.quoted(c, false, false),
            '$' if !mariadb => self.dollar(),
            '(' if !mariadb => {
                self.parentheses.push(self.line);
                self.skip(1);
            }
            ')' if !mariadb => {
                self.parentheses.pop();
                self.skip(1);
            }
            c if c.is_alphabetic() || c == '_' => self.name(),
            c => {
                self.skip(c.len_utf8());
                self.word = "";
            }
        }
    }

    fn name(&mut self) {
        let rest = self.rest();
        let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let word = &rest[..length];
        let is = |other: &str| word.eq_ignore_ascii_case(other);
        if self.dialect == Dialect::Postgres {
            if self.atomic == 0 && is("atomic") && self.word.eq_ignore_ascii_case("begin") {
                self.atomic = 1;
            } else if self.atomic > 0 && is("case") {
                self.atomic += 1;
            } else if self.atomic > 0 && is("end") {
                self.atomic -= 1;
            }
        }
        self.skip(length);
        // Only right before a quote does `E` mean something.
        let adjoins = is("e") && self.rest().starts_with('\'');
        self.word = if is("e") && !adjoins { "" } else { word };
    }

    fn quoted(&mut self, quote: char, escapes: bool, is_literal: bool) {
        let (line, begin) = (self.line, self.at + 1);
        self.skip(1);
        self.word = "";
        loop {
            let rest = self.rest();
            let Some(c) = rest.chars().next() else {
                let what = "a quote";
                self.open.get_or_insert(Open { what, line });
                break;
            };
            if c == '\\' && escapes {
                let next = rest.chars().nth(1).map_or(0, char::len_utf8);
                self.skip(1 + next);
            } else if c == quote && rest[1..].starts_with(quote) {
                self.skip(2);
            } else if c == quote {
                break;
            } else {
                self.skip(c.len_utf8());
            }
        }
        if is_literal {
            self.literals.push(begin..self.at);
        }
        self.skip(usize::from(!self.rest().is_empty()));
    }

    /// `$tag$ ... $tag$`, or a parameter or part of a name.
    fn dollar(&mut self) {
        let rest = self.rest();
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let length = rest[1..].find(|c| !is_part(c)).map(|at| at + 1);
        let Some(tag) = length
            .filter(|at| rest[*at..].starts_with('$'))
            .map(|at| &rest[..=at])
            .filter(|tag| !tag[1..].starts_with(|c: char| c.is_ascii_digit()))
        else {
            self.skip(1);
            return;
        };
        let (line, begin) = (self.line, self.at + tag.len());
        self.word = "";
        match rest[tag.len()..].find(tag) {
            Some(length) => {
                self.literals.push(begin..begin + length);
                self.skip(length + 2 * tag.len());
            }
            None => {
                let what = "a quote";
                self.open.get_or_insert(Open { what, line });
                self.literals.push(begin..self.text.len());
                self.skip(rest.len());
            }
        }
    }
}
