//! Provisioning scripts, read and not run: simple commands with their variables, here-documents and places.

use std::collections::BTreeMap;

/// A simple command.
#[derive(Clone, Debug)]
pub(super) struct Command {
    /// Its line in the script, from 1.
    pub line: usize,
    /// Its words, with variables replaced. A word that holds something unknown is `None`.
    pub words: Vec<Option<String>>,
    /// The same as they are written.
    pub raw: Vec<String>,
    /// What stands on its stdin: a here-document, or what is piped into it.
    pub input: Option<Input>,
    /// Where its output goes: the file, and whether it is appended.
    pub output: Option<(String, bool)>,
    /// It is only asked whether something is so.
    pub asks: bool,
    /// The words as they are written, of which only the first is told.
    pub head: String,
}

/// What a program reads.
#[derive(Clone, Debug)]
pub(super) struct Input {
    pub text: String,
    /// The line before its first one, in the script.
    pub begun: usize,
    /// Something in it is not known.
    pub unknown: bool,
}

/// A line that is a part of the language: not understood, or of no meaning by itself.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Command(Command),
    /// `NAME=value`: whether its value is known.
    Assignment {
        line: usize,
        name: String,
        known: bool,
    },
    /// A loop whose values are not known, a `case`, and the like.
    Strange {
        line: usize,
        head: String,
        why: &'static str,
    },
}

/// Reads a script, with the values of its arguments and variables.
pub(super) fn read(
    text: &str,
    arguments: &[String],
    variables: &BTreeMap<String, String>,
) -> Vec<Step> {
    let mut reader = Reader {
        lines: text.lines().collect(),
        at: 0,
        variables: variables.clone(),
        arguments: arguments.to_vec(),
        steps: Vec::new(),
        loops: 0,
        cases: 0,
        functions: Vec::new(),
    };
    while reader.at < reader.lines.len() {
        reader.line();
    }
    reader.steps
}

struct Reader<'a> {
    lines: Vec<&'a str>,
    at: usize,
    variables: BTreeMap<String, String>,
    arguments: Vec<String>,
    steps: Vec<Step>,
    /// How deep it is in loops over what is not one value.
    loops: usize,
    /// How deep it is in `case`.
    cases: usize,
    functions: Vec<String>,
}

/// A piece of a line: words, or what divides commands.
#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Word(Option<String>, String),
    Sign(&'static str),
    /// `<<WORD`: the end, whether tabs are taken off, whether variables stay.
    Here(String, bool, bool),
}

/// A text of several lines is at most this long.
const LONGEST: usize = 2000;

impl Reader<'_> {
    fn line(&mut self) {
        let begun = self.at;
        let mut text = String::new();
        // A line goes on where it ends with a backslash or a quote is open.
        while let Some(line) = self.lines.get(self.at) {
            self.at += 1;
            text.push_str(line);
            if self.at - begun > LONGEST {
                break;
            }
            match unfinished(&text) {
                Some('\\') => {
                    text.pop();
                    text.push(' ');
                }
                Some(_) => text.push('\n'),
                None => break,
            }
        }
        let trimmed = text.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            return;
        }
        let pieces = self.pieces(&text);
        let line = begun + 1;
        // Here-documents stand on the lines below, in order.
        let mut inputs = Vec::new();
        for piece in &pieces {
            if let Piece::Here(end, tabs, plain) = piece {
                let first = self.at;
                let mut body = String::new();
                while let Some(line) = self.lines.get(self.at) {
                    self.at += 1;
                    let line = if *tabs {
                        line.trim_start_matches('\t')
                    } else {
                        line
                    };
                    if line.trim_end() == end || (line.trim() == end && *tabs) {
                        break;
                    }
                    body.push_str(line);
                    body.push('\n');
                }
                let expanded = match plain {
                    true => Some(body.clone()),
                    false => self.expanded(&body),
                };
                inputs.push(Input {
                    unknown: expanded.is_none(),
                    text: expanded.unwrap_or(body),
                    begun: first,
                });
            }
        }
        self.commands(pieces, inputs, line);
    }

    fn commands(&mut self, pieces: Vec<Piece>, inputs: Vec<Input>, line: usize) {
        let mut inputs = inputs.into_iter();
        let mut words: Vec<(Option<String>, String)> = Vec::new();
        let mut input: Option<Input> = None;
        let mut output = None;
        let mut piped: Option<Input> = None;
        let mut pieces = pieces.into_iter().peekable();
        let mut asks = false;
        loop {
            match pieces.next() {
                Some(Piece::Here(..)) => input = inputs.next(),
                Some(Piece::Sign("<<<")) => {
                    if let Some(Piece::Word(text, raw)) = pieces.next() {
                        input = Some(Input {
                            unknown: text.is_none(),
                            text: text.unwrap_or(raw),
                            begun: line - 1,
                        });
                    }
                }
                Some(Piece::Sign(sign @ (">" | ">>"))) => {
                    if let Some(Piece::Word(file, raw)) = pieces.next() {
                        output = Some((file.unwrap_or(raw), sign == ">>"));
                    }
                }
                Some(Piece::Sign("<")) => {
                    if let Some(Piece::Word(text, raw)) = pieces.next() {
                        words.push((Some("<".to_owned()), "<".to_owned()));
                        words.push((text, raw));
                    }
                }
                Some(Piece::Word(text, raw)) => words.push((text, raw)),
                sign => {
                    let end = sign.is_none();
                    let pipe = sign == Some(Piece::Sign("|"));
                    let own = std::mem::take(&mut words);
                    let taken = input.take().or_else(|| piped.take());
                    let goes = output.take();
                    if !own.is_empty() {
                        // What is echoed into a pipe is the input of the next command, and one with it.
                        let echoed = pipe.then(|| echoed(&own, taken.as_ref(), line)).flatten();
                        match echoed {
                            Some(text) => piped = Some(text),
                            None => asks = self.command(own, taken, goes, line, asks),
                        }
                    }
                    if !pipe {
                        if matches!(sign, Some(Piece::Sign(";"))) || end {
                            asks = false;
                        }
                        piped = None;
                    }
                    if end {
                        return;
                    }
                }
            }
        }
    }

    /// One command; whether the ones after it on the line are still a condition.
    fn command(
        &mut self,
        mut words: Vec<(Option<String>, String)>,
        input: Option<Input>,
        output: Option<(String, bool)>,
        line: usize,
        mut asks: bool,
    ) -> bool {
        loop {
            let first = words
                .first()
                .map(|(_, raw)| raw.clone())
                .unwrap_or_default();
            match first.as_str() {
                "if" | "elif" | "while" | "until" | "!" => {
                    asks = true;
                    words.remove(0);
                    if first == "while" || first == "until" {
                        self.loops += 1;
                    }
                }
                "then" | "else" | "do" | "{" | "time" | "(" => {
                    asks = false;
                    words.remove(0);
                }
                "fi" | "}" | ")" => {
                    words.remove(0);
                    asks = false;
                }
                "done" => {
                    self.loops = self.loops.saturating_sub(1);
                    words.remove(0);
                    asks = false;
                }
                "for" => {
                    let name = words.get(1).map(|(_, raw)| raw.clone()).unwrap_or_default();
                    let values: Vec<String> =
                        words.iter().skip(3).map(|(_, raw)| raw.clone()).collect();
                    match (values.as_slice(), words.get(3)) {
                        ([_], Some((Some(value), _))) if !value.contains(char::is_whitespace) => {
                            drop(self.variables.insert(name, value.clone()))
                        }
                        _ => drop(self.variables.remove(&name)),
                    }
                    self.loops += 1;
                    self.steps.push(Step::Strange { line, head: "for".to_owned(), why: "a loop of the script: what it does for each value is not carried over" });
                    return false;
                }
                "esac" => {
                    self.cases = self.cases.saturating_sub(1);
                    return false;
                }
                "case" | "select" => {
                    self.cases += usize::from(first == "case");
                    self.steps.push(Step::Strange {
                        line,
                        head: first,
                        why: "what depends on a value is not carried over",
                    });
                    return false;
                }
                "function" => {
                    if let Some((_, name)) = words.get(1) {
                        self.functions.push(name.trim_end_matches("()").to_owned());
                    }
                    return false;
                }
                _ => break,
            }
            if words.is_empty() {
                return asks;
            }
        }
        // `name() {` declares a function.
        if let [(_, name), rest @ ..] = words.as_slice()
            && name.ends_with("()")
            && rest.iter().all(|(_, raw)| raw == "{")
        {
            self.functions.push(name.trim_end_matches("()").to_owned());
            return false;
        }
        while words.first().is_some_and(|(_, raw)| {
            matches!(raw.as_str(), "export" | "local" | "readonly" | "declare")
        }) {
            words.remove(0);
        }
        let only_assignments =
            !words.is_empty() && words.iter().all(|(_, raw)| assigned(raw).is_some());
        if only_assignments && input.is_none() {
            for (text, raw) in words {
                let Some((name, _)) = assigned(&raw) else {
                    continue;
                };
                let value = text
                    .as_deref()
                    .and_then(|text| text.split_once('='))
                    .map(|(_, value)| value.to_owned());
                let known = value.is_some();
                match value {
                    Some(value) => drop(self.variables.insert(name.to_owned(), value)),
                    None => drop(self.variables.remove(name)),
                }
                self.steps.push(Step::Assignment {
                    line,
                    name: name.to_owned(),
                    known,
                });
            }
            return asks;
        }
        // Variables before a command are its own.
        while words.len() > 1
            && words
                .first()
                .is_some_and(|(_, raw)| assigned(raw).is_some())
        {
            words.remove(0);
        }
        let Some((_, first)) = words.first() else {
            return asks;
        };
        if self.cases > 0 {
            let head = first.rsplit('/').next().unwrap_or_default().to_owned();
            self.steps.push(Step::Strange {
                line,
                head,
                why: "what depends on a value is not carried over",
            });
            return asks;
        }
        if self.functions.contains(first) {
            self.steps.push(Step::Assignment {
                line,
                name: first.clone(),
                known: true,
            });
            return asks;
        }
        let head = first.rsplit('/').next().unwrap_or_default().to_owned();
        let (words, raw): (Vec<Option<String>>, Vec<String>) = words.into_iter().unzip();
        self.steps.push(Step::Command(Command {
            line,
            words,
            raw,
            input,
            output,
            asks,
            head,
        }));
        asks
    }

    fn pieces(&self, text: &str) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut raw = String::new();
        let mut word: Option<Option<String>> = None;
        let chars: Vec<char> = text.chars().collect();
        let mut at = 0;
        fn put(word: &mut Option<Option<String>>, more: Option<&str>) {
            let own = word.get_or_insert_with(|| Some(String::new()));
            match (own.as_mut(), more) {
                (Some(text), Some(more)) => text.push_str(more),
                _ => *own = None,
            }
        }
        while let Some(c) = chars.get(at).copied() {
            let next = chars.get(at + 1).copied();
            let end =
                |pieces: &mut Vec<Piece>, word: &mut Option<Option<String>>, raw: &mut String| {
                    if let Some(text) = word.take() {
                        pieces.push(Piece::Word(text, std::mem::take(raw)));
                    }
                    raw.clear();
                };
            match c {
                '#' if word.is_none() => break,
                '\n' => {
                    end(&mut pieces, &mut word, &mut raw);
                    pieces.push(Piece::Sign(";"));
                    at += 1;
                }
                c if c.is_whitespace() => {
                    end(&mut pieces, &mut word, &mut raw);
                    at += 1;
                }
                '\'' => {
                    let stop = chars
                        .iter()
                        .skip(at + 1)
                        .position(|c| *c == '\'')
                        .map_or(chars.len(), |more| at + 1 + more);
                    let inner: String =
                        chars.get(at + 1..stop).unwrap_or_default().iter().collect();
                    raw.push_str(&inner);
                    put(&mut word, Some(&inner));
                    at = stop + 1;
                }
                '"' => {
                    let mut stop = at + 1;
                    let mut inner = String::new();
                    while let Some(c) = chars.get(stop) {
                        match c {
                            '"' => break,
                            '\\' => {
                                let after = chars.get(stop + 1).copied();
                                match after {
                                    Some(c @ ('"' | '\\' | '`')) => inner.push(c),
                                    Some('$') => inner.push_str("\\$"),
                                    Some(c) => inner.extend(['\\', c]),
                                    None => {}
                                }
                                stop += 2;
                            }
                            c => {
                                inner.push(*c);
                                stop += 1;
                            }
                        }
                    }
                    raw.push_str(&inner);
                    put(&mut word, self.expanded(&inner).as_deref());
                    at = stop + 1;
                }
                '\\' => {
                    if let Some(c) = next {
                        raw.push(c);
                        put(&mut word, Some(&c.to_string()));
                    }
                    at += 2;
                }
                '`' => {
                    let stop = chars
                        .iter()
                        .skip(at + 1)
                        .position(|c| *c == '`')
                        .map_or(chars.len(), |more| at + 1 + more);
                    raw.push('`');
                    put(&mut word, None);
                    at = stop + 1;
                }
                '$' => {
                    let rest: String = chars.get(at..).unwrap_or_default().iter().collect();
                    let (length, value) = self.variable(&rest);
                    raw.push_str(&rest.chars().take(length).collect::<String>());
                    put(&mut word, value.as_deref());
                    at += length;
                }
                '<' if next == Some('<') && chars.get(at + 2) == Some(&'<') => {
                    end(&mut pieces, &mut word, &mut raw);
                    pieces.push(Piece::Sign("<<<"));
                    at += 3;
                }
                '<' if next == Some('<') => {
                    end(&mut pieces, &mut word, &mut raw);
                    at += 2;
                    let tabs = chars.get(at) == Some(&'-');
                    at += usize::from(tabs);
                    while chars.get(at).is_some_and(|c| *c == ' ') {
                        at += 1;
                    }
                    let mut name = String::new();
                    let mut plain = false;
                    while let Some(c) = chars
                        .get(at)
                        .filter(|c| !c.is_whitespace() && !";|&<>)".contains(**c))
                    {
                        match c {
                            '\'' | '"' | '\\' => plain = true,
                            c => name.push(*c),
                        }
                        at += 1;
                    }
                    pieces.push(Piece::Here(name, tabs, plain));
                }
                // Where errors go means nothing here.
                '0'..='9' if word.is_none() && matches!(next, Some('>' | '<')) => {
                    at += 2;
                    while chars.get(at).is_some_and(|c| matches!(c, '>' | '&' | ' ')) {
                        at += 1;
                    }
                    while chars
                        .get(at)
                        .is_some_and(|c| !c.is_whitespace() && !";|)".contains(*c))
                    {
                        at += 1;
                    }
                }
                '&' if next == Some('>') => {
                    end(&mut pieces, &mut word, &mut raw);
                    pieces.push(Piece::Sign(">"));
                    at += 2;
                }
                '>' => {
                    end(&mut pieces, &mut word, &mut raw);
                    let twice = next == Some('>');
                    if chars.get(at + 1) == Some(&'&') {
                        at += 3;
                        continue;
                    }
                    pieces.push(Piece::Sign(if twice { ">>" } else { ">" }));
                    at += 1 + usize::from(twice);
                }
                '<' => {
                    end(&mut pieces, &mut word, &mut raw);
                    pieces.push(Piece::Sign("<"));
                    at += 1;
                }
                '&' | '|' | ';' => {
                    end(&mut pieces, &mut word, &mut raw);
                    let twice = next == Some(c);
                    pieces.push(Piece::Sign(match (c, twice) {
                        ('&', true) => "&&",
                        ('|', true) => "||",
                        ('|', false) => "|",
                        _ => ";",
                    }));
                    at += 1 + usize::from(twice);
                }
                '(' if word.is_none() => {
                    pieces.push(Piece::Word(Some("(".to_owned()), "(".to_owned()));
                    at += 1;
                }
                ')' if raw.matches('(').count() <= raw.matches(')').count() => {
                    end(&mut pieces, &mut word, &mut raw);
                    pieces.push(Piece::Sign(";"));
                    at += 1;
                }
                c => {
                    raw.push(c);
                    put(&mut word, Some(&c.to_string()));
                    at += 1;
                }
            }
        }
        if let Some(text) = word {
            pieces.push(Piece::Word(text, raw));
        }
        pieces
    }

    /// A text with its variables replaced; none where one is not known.
    fn expanded(&self, text: &str) -> Option<String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['$', '\\', '`']) {
            out.push_str(rest.get(..at).unwrap_or_default());
            rest = rest.get(at..).unwrap_or_default();
            if let Some(after) = rest.strip_prefix("\\$") {
                out.push('$');
                rest = after;
                continue;
            }
            if let Some(after) = rest.strip_prefix('\\') {
                out.push('\\');
                rest = after;
                continue;
            }
            // A backquote is a name of MariaDB's as often as a program.
            if let Some(after) = rest.strip_prefix('`') {
                out.push('`');
                rest = after;
                continue;
            }
            let (length, value) = self.variable(rest);
            out.push_str(&value?);
            rest = rest
                .get(
                    rest.char_indices()
                        .nth(length)
                        .map_or(rest.len(), |(at, _)| at)..,
                )
                .unwrap_or_default();
        }
        out.push_str(rest);
        Some(out)
    }

    /// The variable that a text begins with: how many characters it takes, and its value.
    fn variable(&self, text: &str) -> (usize, Option<String>) {
        let after: Vec<char> = text.chars().skip(1).collect();
        match after.first() {
            Some('(') => {
                let mut open = 0usize;
                for (at, c) in after.iter().enumerate() {
                    match c {
                        '(' => open += 1,
                        ')' => open = open.saturating_sub(1),
                        _ => {}
                    }
                    if open == 0 {
                        return (at + 2, None);
                    }
                }
                (after.len() + 1, None)
            }
            Some('{') => {
                let end = after.iter().position(|c| *c == '}').unwrap_or(after.len());
                let body: String = after.get(1..end).unwrap_or_default().iter().collect();
                let known = |name: &str| self.known(name);
                let value = match body.chars().next().is_some_and(|c| c.is_ascii_digit()) {
                    true => {
                        let (number, default) = body
                            .split_once(":-")
                            .map_or((body.as_str(), None), |(number, default)| {
                                (number, Some(default))
                            });
                        self.known(number)
                            .or_else(|| default.and_then(|default| self.expanded(default)))
                    }
                    false => super::dotenv::expand(&format!("${{{body}}}"), &known)
                        .ok()
                        .filter(|expanded| expanded.unset.is_empty())
                        .map(|expanded| expanded.text),
                };
                (end + 2, value)
            }
            Some(c) if c.is_ascii_digit() => (2, self.known(&c.to_string())),
            Some('$') => (2, Some("$$".to_owned())),
            Some('@' | '*' | '#' | '?' | '!') => (2, None),
            Some(c) if c.is_ascii_alphabetic() || *c == '_' => {
                let name: String = after
                    .iter()
                    .take_while(|c| c.is_ascii_alphanumeric() || **c == '_')
                    .collect();
                (name.chars().count() + 1, self.known(&name))
            }
            _ => (1, Some("$".to_owned())),
        }
    }

    fn known(&self, name: &str) -> Option<String> {
        if let Ok(number) = name.parse::<usize>() {
            return number
                .checked_sub(1)
                .and_then(|at| self.arguments.get(at).cloned());
        }
        self.variables.get(name).cloned()
    }
}

/// What `echo` or `cat <<` puts into a pipe.
fn echoed(words: &[(Option<String>, String)], input: Option<&Input>, line: usize) -> Option<Input> {
    let first = words.first().map(|(_, raw)| raw.as_str())?;
    match first {
        "echo" | "printf" => {
            let rest: Vec<&(Option<String>, String)> = words
                .iter()
                .skip(1)
                .filter(|(_, raw)| !matches!(raw.as_str(), "-e" | "-n"))
                .collect();
            let unknown = rest.iter().any(|(text, _)| text.is_none());
            let texts: Vec<String> = rest
                .iter()
                .map(|(text, raw)| text.clone().unwrap_or_else(|| raw.clone()))
                .collect();
            Some(Input {
                text: texts.join(" "),
                begun: line - 1,
                unknown,
            })
        }
        "cat" if input.is_some() && words.len() == 1 => input.cloned(),
        _ => None,
    }
}

/// `NAME=value`.
fn assigned(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    super::dotenv::is_name(name).then_some((name, value))
}

/// What keeps a line from being at its end: a quote, or a backslash.
fn unfinished(text: &str) -> Option<char> {
    let mut quote = None;
    let mut chars = text.chars().peekable();
    let mut before = ' ';
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '#') if before.is_whitespace() => {
                // A comment ends with its line.
                while chars.next_if(|c| *c != '\n').is_some() {}
            }
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None | Some('"'), '\\') if chars.next().is_none() => {
                return Some(quote.unwrap_or('\\'));
            }
            _ => {}
        }
        before = c;
    }
    quote
}

#[cfg(test)]
#[expect(clippy::panic, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn commands(text: &str) -> Vec<Command> {
        read(text, &["first".to_owned()], &BTreeMap::new())
            .into_iter()
            .filter_map(|step| match step {
                Step::Command(command) => Some(command),
                _ => None,
            })
            .collect()
    }

    fn words(command: &Command) -> Vec<&str> {
        command
            .words
            .iter()
            .map(|word| word.as_deref().unwrap_or("?"))
            .collect()
    }

    #[test]
    fn commands_are_read_with_their_variables() {
        let text = "#!/bin/bash\nset -e\nDB=\"shop\"\nUSER_NAME=${DB}_user\nsudo -u postgres psql -c \"CREATE DATABASE $DB;\n  -- more\" # c\nif ! psql -lqt | grep -q x; then\n  createdb $DB $1 $(date) \\\n    --more\nfi\necho \"GRANT ${USER_NAME}\" | psql >/dev/null 2>&1\n";
        let all = commands(text);
        let all: Vec<Vec<&str>> = all.iter().map(words).collect();
        assert_eq!(all[0], ["set", "-e"]);
        assert_eq!(all[1][..4], ["sudo", "-u", "postgres", "psql"]);
        assert!(all[1][5].starts_with("CREATE DATABASE shop;\n"), "{all:?}");
        assert_eq!(all[2], ["psql", "-lqt"]);
        assert_eq!(all[4], ["createdb", "shop", "first", "?", "--more"]);
        assert_eq!(all[5], ["psql"]);
    }

    #[test]
    fn here_documents_belong_to_their_commands() {
        let text =
            "psql <<EOF\nCREATE $X;\nEOF\nmysql -u root <<-'SQL'\n\tUSE `a`;\n\tSQL\necho done\n";
        let all = commands(text);
        assert_eq!(all.len(), 3);
        let Some(input) = &all[0].input else {
            panic!("no input")
        };
        assert!(input.unknown && input.begun == 1);
        assert_eq!(
            all[1].input.as_ref().map(|input| input.text.as_str()),
            Some("USE `a`;\n")
        );
        assert_eq!(all[2].line, 7);
    }

    #[test]
    fn odd_texts_end() {
        for text in [
            "'", "\"", "\\", "$(", "${", "<<", "<<<", "a <<EOF", "for", "(", ")", "f() {", "`",
            "&&", "|", "2>", "#", "if",
        ] {
            let _ = commands(text);
        }
    }
}
