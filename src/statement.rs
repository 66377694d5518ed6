//! Statements of an SQL text: where each stands, what a client says of one that failed, and in which file and line of the user that is.
//!
//! A text that is sent names the files that parts of it come from ([`Part::File`]), so the line that a client tells, which is one
//! of the whole text, leads back to the user's own.

mod scan;

pub use scan::{Open, Statement, split};

use crate::command::{Dialect, Part, Text};

/// A line of dashes that the MariaDB client puts around a statement that failed.
const DASHES: &str = "--------------";
/// Lines behind an error in which a client goes on about it.
const FOLLOWING: usize = 40;
/// Characters of a statement that are shown.
const MOST: usize = 400;

/// What a client said of a statement that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Line of the text: of the statement's end (PostgreSQL), or of its beginning (MariaDB).
    pub line: usize,
    /// The server's code: an SQLSTATE, or MariaDB's error number.
    pub code: Option<String>,
    /// What was said.
    pub message: String,
    /// The line within the statement, and what stands on it, where the server told.
    inner: Option<(usize, String)>,
    /// The line within the body of a `DO` block.
    block: Option<usize>,
    /// The statement as the client repeats it.
    repeated: Option<String>,
}

/// Where a failed statement stands in a file of the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The file, as declared.
    pub file: String,
    /// The line in it.
    pub line: usize,
    /// The statement, without what stands between quotes.
    pub statement: String,
    /// What was said, with the server's code and without secrets.
    pub message: String,
}

impl Told {
    /// The first error in what a client said.
    pub fn read(dialect: Dialect, said: &str) -> Option<Self> {
        match dialect {
            Dialect::Postgres => postgres(said),
            Dialect::MariaDb => mariadb(said),
        }
    }

    /// What was said, with the code.
    pub fn words(&self) -> String {
        match &self.code {
            Some(code) => format!("{} ({code})", self.message),
            None => self.message.clone(),
        }
    }

    /// Where in the user's files it is; `None` where it is about a statement of ours.
    pub fn source(&self, dialect: Dialect, text: &Text) -> Option<Source> {
        let mut line = 1;
        let mut unclosed = None;
        for part in &text.0 {
            let lines = match part {
                Part::Text(text) | Part::File { text, .. } => text.matches('\n').count(),
                Part::Secret(secret) => secret.expose().matches('\n').count(),
            };
            if let Part::File { name, text } = part {
                let split = split(dialect, text);
                // What ends a statement that lacks its end stands on the next line.
                if (line..=line + lines + 1).contains(&self.line) {
                    return Some(self.within(dialect, name, text, self.line - line + 1));
                }
                if let Some(open) = split.1
                    && self.line > line
                {
                    unclosed.get_or_insert_with(|| Source {
                        file: name.clone(),
                        line: open.line,
                        statement: String::new(),
                        message: format!("{} is opened here and never closed", open.what),
                    });
                }
            }
            line += lines;
        }
        unclosed
    }

    /// The same within one file, of which `line` is told.
    fn within(&self, dialect: Dialect, name: &str, text: &str, line: usize) -> Source {
        let (statements, open) = split(dialect, text);
        let source = |line, statement, message| Source {
            file: name.to_owned(),
            line,
            statement,
            message,
        };
        let Some(statement) = self.pick(dialect, &statements, line) else {
            return source(line, String::new(), self.words());
        };
        if let Some(open) = open
            && statement.first <= open.line
            && open.line <= statement.last
        {
            let message = format!("{} is opened here and never closed", open.what);
            return source(open.line, String::new(), message);
        }
        source(
            self.line_of(dialect, statement),
            shown(dialect, statement.text),
            redacted(dialect, &self.words(), statement.text),
        )
    }

    fn pick<'a, 't>(
        &self,
        dialect: Dialect,
        statements: &'a [Statement<'t>],
        line: usize,
    ) -> Option<&'a Statement<'t>> {
        let told = |one: &&Statement<'_>| match dialect {
            Dialect::Postgres => one.last == line,
            Dialect::MariaDb => one.first == line,
        };
        let repeats = |one: &&Statement<'_>| {
            let excerpt = self.inner.as_ref().map(|(_, excerpt)| excerpt);
            match (&self.repeated, excerpt) {
                (Some(text), _) => squeezed(one.text).contains(&squeezed(text)),
                (_, Some(excerpt)) => squeezed(one.text).contains(&squeezed(excerpt)),
                _ => false,
            }
        };
        let candidates = || statements.iter().filter(told);
        candidates()
            .find(repeats)
            .or_else(|| candidates().next())
            .or_else(|| {
                let mut around = statements.iter();
                around.find(|one| one.first <= line && line <= one.last)
            })
            .or_else(|| statements.iter().rfind(|one| one.first <= line))
    }

    fn line_of(&self, dialect: Dialect, statement: &Statement<'_>) -> usize {
        let within = |line: usize| line.clamp(statement.first, statement.last);
        if let Some(line) = self.block {
            let body = statement.text.find('$').unwrap_or_default();
            let before = statement.text[..body].matches('\n').count();
            return within(statement.first + before + line - 1);
        }
        let Some((inner, excerpt)) = &self.inner else {
            return statement.first;
        };
        let guess = within(statement.first + inner.saturating_sub(1));
        if dialect == Dialect::MariaDb || excerpt.is_empty() {
            return guess;
        }
        // The client may have sent a comment before the statement, or not: what stands on the line tells.
        let lines = statement.text.lines().enumerate();
        lines
            .filter(|(_, text)| text.contains(excerpt.as_str()))
            .map(|(at, _)| statement.first + at)
            .min_by_key(|line| line.abs_diff(guess))
            .unwrap_or(guess)
    }
}

fn squeezed(text: &str) -> String {
    text.split_whitespace().collect()
}

/// `psql:FILE:LINE: ERROR:  42P01: relation "t" does not exist`, and what follows it.
fn postgres(said: &str) -> Option<Told> {
    let lines: Vec<&str> = said.lines().collect();
    let (at, mut told) = lines
        .iter()
        .enumerate()
        .find_map(|(at, line)| Some((at, postgres_error(line)?)))?;
    let following = lines.iter().skip(at + 1).take(FOLLOWING);
    for line in following.take_while(|line| !line.starts_with("psql:")) {
        if let Some((number, excerpt)) = line
            .strip_prefix("LINE ")
            .and_then(|rest| rest.split_once(": "))
        {
            let excerpt = excerpt.trim().trim_matches('.').trim();
            told.inner = number.parse().ok().map(|at| (at, excerpt.to_owned()));
        } else if let Some((_, rest)) = line.split_once("inline_code_block line ") {
            let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
            told.block = number.parse().ok().filter(|line| *line > 0);
        } else if let Some(rest) = ["DETAIL:", "HINT:"]
            .iter()
            .find_map(|word| line.strip_prefix(word))
        {
            told.message.push_str(&format!("; {}", rest.trim()));
        }
    }
    Some(told)
}

fn postgres_error(line: &str) -> Option<Told> {
    let (place, rest) = ["ERROR:", "FATAL:", "PANIC:", "error:"]
        .iter()
        .filter_map(|word| line.split_once(*word))
        .min_by_key(|(before, _)| before.len())?;
    let place = place.trim().strip_prefix("psql:")?.strip_suffix(':')?;
    let line = place.rsplit(':').next()?.parse().ok()?;
    let rest = rest.trim();
    let is_code = |code: &&str| {
        code.len() == 5
            && code
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
    };
    let (code, message) = match rest.get(..5).filter(is_code) {
        Some(code) if rest[5..].starts_with(": ") => (Some(code.to_owned()), &rest[7..]),
        _ => (None, rest),
    };
    Some(Told {
        line,
        code,
        message: message.to_owned(),
        ..Told::default()
    })
}

/// `ERROR 1146 (42S02) at line 5: Table 'a.b' doesn't exist`, with the statement between dashes before it.
fn mariadb(said: &str) -> Option<Told> {
    let lines: Vec<&str> = said.lines().collect();
    let (at, mut told) = lines
        .iter()
        .enumerate()
        .find_map(|(at, line)| Some((at, mariadb_error(line)?)))?;
    // What is near a syntax error may hold line ends.
    if told.message.contains(" near '") {
        for line in lines.iter().skip(at + 1).take(FOLLOWING) {
            if told.message.contains("' at line ") {
                break;
            }
            told.message.push(' ');
            told.message.push_str(line.trim());
        }
    }
    if let Some((_, number)) = told.message.rsplit_once("' at line ") {
        told.inner = number.trim().parse().ok().map(|at| (at, String::new()));
    }
    told.repeated = repeated(&lines[..at]);
    Some(told)
}

fn mariadb_error(line: &str) -> Option<Told> {
    let rest = line.strip_prefix("ERROR ")?;
    let (head, message) = rest.split_once(": ")?;
    let (number, place) = head.split_once(' ')?;
    let (_, at) = place.split_once("at line ")?;
    number.parse::<u32>().ok()?;
    Some(Told {
        line: at.trim().parse().ok()?,
        code: Some(number.to_owned()),
        message: message.trim().to_owned(),
        ..Told::default()
    })
}

fn repeated(before: &[&str]) -> Option<String> {
    let end = before.iter().rposition(|line| *line == DASHES)?;
    let begin = before[..end].iter().rposition(|line| *line == DASHES)?;
    Some(before[begin + 1..end].join("\n")).filter(|text| !text.trim().is_empty())
}

/// A statement without what stands between quotes, which may be a secret; cut where it is long.
pub fn shown(dialect: Dialect, statement: &str) -> String {
    let mut out = String::new();
    let mut from = 0;
    for literal in scan::literals(dialect, statement) {
        out.push_str(&statement[from..literal.start]);
        out.push('…');
        from = literal.end;
    }
    out.push_str(&statement[from..]);
    match out.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &out[..at]),
        None => out,
    }
}

/// Words of statements that handle secrets.
const SECRETS: &[&str] = &[
    "password",
    "passwd",
    "pwd",
    "identified",
    "secret",
    "token",
    "credential",
    "key",
    "private",
    "crypt",
];

/// A server's message, without what it repeats of a statement that handles secrets.
fn redacted(dialect: Dialect, message: &str, statement: &str) -> String {
    let lower = statement.to_lowercase();
    if !SECRETS.iter().any(|word| lower.contains(word)) {
        return message.to_owned();
    }
    let mut message = message.to_owned();
    for range in scan::literals(dialect, statement) {
        let literal = &statement[range];
        if !literal.is_empty() {
            message = message.replace(literal, "[hidden]");
        }
    }
    // An excerpt may begin or end within a literal.
    for (word, end) in [(" near '", "' at line "), (" near \"", "\" ")] {
        if let Some((before, rest)) = message.split_once(word) {
            let quote = &word[word.len() - 1..];
            let after = rest.rsplit_once(end).map(|(_, after)| after);
            let after = after.map_or(String::new(), |after| {
                format!("{}{after}", end.trim_start_matches(['\'', '"']))
            });
            message = format!("{before}{}{after}", word.replace(quote, "[hidden]"));
        }
    }
    message
}

/// The SQL of a container's first start, fed to the client by the container itself.
#[derive(Clone, Debug, PartialEq)]
pub struct FirstStart {
    /// Whose client reads it.
    pub dialect: Dialect,
    /// All of it.
    pub sql: Text,
    /// What each step of ours does, by the line that it begins on.
    pub steps: Vec<(usize, String)>,
}

impl FirstStart {
    /// What went wrong in a first start, by the container's log: one sentence, and the statement where it is one of the user;
    /// `None` where the log tells of no error.
    pub fn explain(&self, log: &str) -> Option<(String, Vec<String>)> {
        let told = Told::read(self.dialect, log)?;
        let (message, statement) = match told.source(self.dialect, &self.sql) {
            Some(source) => {
                let lines = source.statement.lines().map(str::to_owned).collect();
                let message = format!("`{}:{}`: {}", source.file, source.line, source.message);
                (message, lines)
            }
            None => (self.ours(&told), Vec::new()),
        };
        Some((self.without_secrets(message), statement))
    }

    fn ours(&self, told: &Told) -> String {
        let before = self.steps.iter().rev();
        let step = before.into_iter().find(|(line, _)| *line <= told.line);
        let mut words = told.words();
        // An excerpt of our own statement tells nobody anything and may hold a verifier.
        for word in [" near '", " near \""] {
            if let Some((before, _)) = words.split_once(word) {
                words = before.to_owned();
            }
        }
        match step {
            Some((_, what)) => format!("{what}: {words}"),
            None => words,
        }
    }

    fn without_secrets(&self, mut message: String) -> String {
        for part in &self.sql.0 {
            if let Part::Secret(secret) = part {
                message = secret.taken_out_of(&message);
            }
        }
        message
    }
}

#[cfg(test)]
mod tests;
