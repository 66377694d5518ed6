//! One file, read within limits, as a tree of values that know where they stand.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::declaration::{Lines, Origin, Source};
use crate::error::Problem;

/// The largest environment file.
const FILE: u64 = 1024 * 1024;
/// The longest string or key in one.
const STRING: usize = 64 * 1024;
/// The deepest nesting.
const DEPTH: usize = 32;

/// Where something stands: a file of the [`Book`] and a byte range in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub file: u32,
    pub start: u32,
    pub end: u32,
}

impl At {
    /// A default: in no file.
    pub const NONE: At = At {
        file: u32::MAX,
        start: 0,
        end: 0,
    };
}

/// A value as the file has it.
#[derive(Clone, Debug)]
pub(super) struct Raw {
    pub value: RawValue,
    pub at: At,
}

#[derive(Clone, Debug)]
pub(super) enum RawValue {
    Bool(bool),
    Int(i64),
    /// A whole number beyond 64 bits.
    Huge,
    Float(String),
    Date,
    Text(String),
    List(Vec<Raw>),
    Table(RawTable),
}

pub(super) type RawTable = BTreeMap<String, RawEntry>;

#[derive(Clone, Debug)]
pub(super) struct RawEntry {
    /// Where the key stands; the first one where several files have it as a table.
    pub key: At,
    pub node: Raw,
    /// More than one file has it.
    pub inherited: bool,
}

impl Raw {
    /// What it is, for people.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            RawValue::Bool(_) => "a boolean",
            RawValue::Int(_) | RawValue::Huge => "a whole number",
            RawValue::Float(_) => "a number with a fraction",
            RawValue::Date => "a date or time",
            RawValue::Text(_) => "a string",
            RawValue::List(_) => "a list",
            RawValue::Table(_) => "a table",
        }
    }
}

/// The files of one run, and what is wrong with them.
#[derive(Default)]
pub(super) struct Book {
    pub pages: Vec<Page>,
    pub problems: Vec<Problem>,
    /// Values whose lines are never echoed.
    pub secrets: Vec<At>,
}

/// One file.
pub(super) struct Page {
    pub source: Arc<Source>,
    lines: Lines,
    /// The folder that holds it, absolute.
    pub folder: PathBuf,
    /// Some key begins with `+`, so it is merged even with nothing.
    pub appends: bool,
}

impl Book {
    pub fn origin(&self, at: At) -> Origin {
        self.pages
            .get(at.file as usize)
            .map_or(Origin::NONE, |page| {
                Origin::at(
                    &page.source,
                    at.start as usize..at.end as usize,
                    &page.lines,
                )
            })
    }

    pub fn folder(&self, at: At) -> Option<&Path> {
        self.pages
            .get(at.file as usize)
            .map(|page| page.folder.as_path())
    }

    pub fn error(&mut self, at: At, message: impl Into<String>) -> &mut Problem {
        let problem = Problem::error(message, &self.origin(at));
        self.push(problem)
    }

    pub fn push(&mut self, problem: Problem) -> &mut Problem {
        let last = self.problems.len();
        self.problems.push(problem);
        &mut self.problems[last]
    }

    fn page(&mut self, path: String, text: String, folder: PathBuf) -> u32 {
        let lines = Lines::new(&text);
        self.pages.push(Page {
            source: Arc::new(Source { path, text }),
            lines,
            folder,
            appends: false,
        });
        u32::try_from(self.pages.len() - 1).unwrap_or(u32::MAX)
    }

    /// Adds a text as a page and parses it. `None`: something is wrong with it, and is among the problems.
    pub fn parse(&mut self, shown: String, folder: PathBuf, bytes: Vec<u8>) -> (u32, Parsed) {
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => return (self.binary(shown, folder, error), Parsed::Broken),
        };
        let file = self.page(shown, text, folder);
        let source = Arc::clone(&self.pages[file as usize].source);
        if source.text.contains('\0') {
            let at = source.text.find('\0').unwrap_or(0);
            self.error(at_byte(file, at), "the file is binary, not TOML")
                .secret = true;
            return (file, Parsed::Broken);
        }
        let (tree, errors) = DeTable::parse_recoverable(&source.text);
        let mut broken = false;
        for error in errors {
            let twice = error.message() == "duplicate key";
            if !twice && broken {
                continue; // what follows a syntax error is mostly noise
            }
            broken |= !twice;
            let span = error.span().unwrap_or(0..0);
            self.syntax(file, &source.text, span, error.message());
        }
        if broken {
            return (file, Parsed::Broken);
        }
        let mut reader = Reader {
            book: self,
            file,
            appends: false,
        };
        let table = reader.table(tree.into_inner(), 0);
        let appends = reader.appends;
        self.pages[file as usize].appends = appends;
        (file, Parsed::Table(table))
    }

    fn binary(&mut self, shown: String, folder: PathBuf, error: std::string::FromUtf8Error) -> u32 {
        let valid = error.utf8_error().valid_up_to();
        let mut bytes = error.into_bytes();
        bytes.truncate(valid);
        let file = self.page(shown, String::from_utf8(bytes).unwrap_or_default(), folder);
        self.error(
            at_byte(file, valid),
            "the file is not UTF-8 text from here on",
        )
        .secret = true;
        file
    }

    /// A syntax error. Its line is echoed only where it surely is a table's header, without anything quoted: in the middle of a
    /// list a password may stand behind a bracket too.
    fn syntax(&mut self, file: u32, text: &str, span: std::ops::Range<usize>, message: &str) {
        let at = span.start.min(text.len());
        let before = text.get(..at).unwrap_or_default();
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = text
            .get(start..)
            .unwrap_or_default()
            .lines()
            .next()
            .unwrap_or_default();
        let inside = before
            .get(..start)
            .unwrap_or_default()
            .trim_end()
            .ends_with(['[', '{', ',', '=']);
        let header = line.trim_start().starts_with('[')
            && !inside
            && !line.contains(['=', '"', '\''])
            && !text.contains("\"\"\"")
            && !text.contains("'''");
        let spot = At {
            file,
            start: narrow(at),
            end: narrow(span.end.clamp(at, text.len())),
        };
        let problem = if message == "duplicate key" {
            let key = text
                .get(at..span.end)
                .map(|key| shorten(key.trim_matches(['"', '\''])));
            self.error(
                spot,
                format!("`{}` is there twice", key.unwrap_or_default()),
            )
        } else {
            self.error(spot, format!("TOML cannot be read: {message}"))
        };
        problem.secret = !header;
    }
}

/// What became of a text.
pub(super) enum Parsed {
    Table(RawTable),
    Broken,
}

/// Reads the bytes of a file within limits.
///
/// # Errors
/// What is wrong with it, as the end of a sentence that begins with its name.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    bytes_up_to(path, FILE)
}

/// As [`bytes`], with another limit.
pub(super) fn bytes_up_to(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    // Before opening: opening a fifo waits for its writer.
    let seen = fs::metadata(path).map_err(|error| trouble(&error))?;
    if seen.is_dir() {
        return Err("is a folder, not a file".to_owned());
    }
    if !seen.is_file() {
        return Err("is no regular file".to_owned());
    }
    let file = File::open(path).map_err(|error| trouble(&error))?;
    let size = file.metadata().map_err(|error| trouble(&error))?.len();
    let too_large = || format!("is larger than {} KiB, the most that is read", limit / 1024);
    if size > limit {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| trouble(&error))?;
    if bytes.len() as u64 > limit {
        return Err(too_large());
    }
    Ok(bytes)
}

/// Why a file cannot be read, as the end of a sentence.
pub(super) fn trouble(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "does not exist".to_owned(),
        std::io::ErrorKind::PermissionDenied => "may not be read: permission denied".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}

/// A key or value for a message: no longer than a line.
pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(64) {
        Some((at, _)) => format!("{}...", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

pub(super) fn narrow(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn at_byte(file: u32, at: usize) -> At {
    At {
        file,
        start: narrow(at),
        end: narrow(at),
    }
}

struct Reader<'a> {
    book: &'a mut Book,
    file: u32,
    appends: bool,
}

impl Reader<'_> {
    fn at(&self, span: std::ops::Range<usize>) -> At {
        At {
            file: self.file,
            start: narrow(span.start),
            end: narrow(span.end),
        }
    }

    fn table(&mut self, table: DeTable<'_>, depth: usize) -> RawTable {
        let mut entries = RawTable::new();
        for (key, value) in table {
            let at = self.at(key.span());
            let key = key.into_inner().into_owned();
            if key.len() > STRING {
                self.book
                    .error(at, format!("a key is longer than {} KiB", STRING / 1024))
                    .secret = true;
                continue;
            }
            self.appends |= key.starts_with('+');
            if let Some(node) = self.value(value, depth + 1) {
                let entry = RawEntry {
                    key: at,
                    node,
                    inherited: false,
                };
                entries.insert(key, entry);
            }
        }
        entries
    }

    fn value(&mut self, value: Spanned<DeValue<'_>>, depth: usize) -> Option<Raw> {
        let at = self.at(value.span());
        if depth > DEPTH {
            self.book
                .error(at, format!("nested deeper than {DEPTH} levels"))
                .secret = true;
            return None;
        }
        let value = match value.into_inner() {
            DeValue::Boolean(value) => RawValue::Bool(value),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or(RawValue::Huge, RawValue::Int),
            DeValue::Float(number) => RawValue::Float(number.as_str().to_owned()),
            DeValue::Datetime(_) => RawValue::Date,
            DeValue::String(text) if text.len() > STRING => {
                self.book
                    .error(at, format!("a string is longer than {} KiB", STRING / 1024))
                    .secret = true;
                return None;
            }
            DeValue::String(text) => RawValue::Text(text.into_owned()),
            DeValue::Array(items) => RawValue::List(
                items
                    .into_iter()
                    .filter_map(|item| self.value(item, depth + 1))
                    .collect(),
            ),
            DeValue::Table(table) => RawValue::Table(self.table(table, depth)),
        };
        Some(Raw { value, at })
    }
}
