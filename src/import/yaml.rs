//! YAML with places: a tree in which every value knows its file and line. The one room of the YAML parser.
//!
//! Anchors are shared, not copied, so a file that names one anchor a million times is as large in memory as on the disk; merge keys
//! (`<<`) copy, and what they may copy has a limit.

use std::collections::HashMap;
use std::rc::Rc;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};

use crate::import::account::{Account, Key};

/// How many keys all merges of a file may make.
const MERGED: usize = 200_000;

/// A value.
#[derive(Debug)]
pub(super) struct Node {
    pub value: Value,
    /// The number of its file, as the importer counts them.
    pub file: usize,
    pub line: usize,
    /// Its key in the account; only what holds no others has one.
    pub key: Option<Key>,
    /// As in `!reset`.
    pub tag: Option<String>,
}

#[derive(Debug)]
pub(super) enum Value {
    Null,
    Text(String),
    List(Vec<Rc<Node>>),
    Map(Vec<Pair>),
}

/// A key and what it holds.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub key: String,
    pub line: usize,
    pub node: Rc<Node>,
}

impl Node {
    pub fn get(&self, key: &str) -> Option<&Rc<Node>> {
        let pair = self.pairs().iter().find(|pair| pair.key == key)?;
        Some(&pair.node)
    }

    pub fn pairs(&self) -> &[Pair] {
        match &self.value {
            Value::Map(pairs) => pairs,
            _ => &[],
        }
    }

    pub fn items(&self) -> &[Rc<Node>] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What it is, for people.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Text(..) => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// The keys of the account in it, each once, however often its anchors are named.
    pub fn keys(&self) -> Vec<Key> {
        let mut keys = Vec::new();
        let mut seen = std::collections::HashSet::new();
        let mut all: Vec<&Node> = vec![self];
        while let Some(node) = all.pop() {
            if !seen.insert(std::ptr::from_ref(node)) {
                continue;
            }
            keys.extend(node.key);
            match &node.value {
                Value::List(items) => all.extend(items.iter().map(|item| &**item)),
                Value::Map(pairs) => all.extend(pairs.iter().map(|pair| &*pair.node)),
                _ => {}
            }
        }
        keys.sort();
        keys
    }
}

/// What is wrong with a text, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub line: usize,
    pub column: usize,
    pub message: String,
}

/// The documents of a text; every value that holds no others becomes a key of the account.
///
/// # Errors
/// The first thing that is wrong with it.
pub(super) fn read(
    text: &str,
    shown: &str,
    file: usize,
    account: &mut Account,
) -> Result<Vec<Rc<Node>>, Broken> {
    let options = granit_parser::options! { emit_comments: false };
    let mut reader = Reader {
        events: Parser::new_from_str_with_options(text, options),
        shown,
        file,
        account,
        anchors: HashMap::new(),
        path: Vec::new(),
        merged: 0,
    };
    let mut documents = Vec::new();
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamEnd => return Ok(documents),
            Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
            event => documents.push(reader.node(event, span)?),
        }
    }
}

struct Reader<'a> {
    events: Parser<'a, granit_parser::StrInput<'a>>,
    shown: &'a str,
    file: usize,
    account: &'a mut Account,
    anchors: HashMap<usize, Rc<Node>>,
    path: Vec<String>,
    merged: usize,
}

fn broken(span: &Span, message: impl Into<String>) -> Broken {
    Broken {
        line: span.start.line(),
        column: span.start.col() + 1,
        message: message.into(),
    }
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Broken> {
        match self.events.next() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(syntax(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span) -> Result<Rc<Node>, Broken> {
        let (value, anchor, tag) = match event {
            Event::Alias(id) => {
                let known = self.anchors.get(&id).cloned();
                return known.ok_or_else(|| broken(&span, "an anchor that holds itself"));
            }
            Event::Scalar(text, style, anchor, tag) => (scalar(&text, style), anchor, tag),
            Event::SequenceStart(_, anchor, tag) => (Value::List(self.list()?), anchor, tag),
            Event::MappingStart(_, anchor, tag) => (Value::Map(self.map()?), anchor, tag),
            _ => return Err(broken(&span, "this is no value")),
        };
        let line = span.start.line();
        let empty = match &value {
            Value::List(items) => items.is_empty(),
            Value::Map(pairs) => pairs.is_empty(),
            _ => true,
        };
        let key = empty.then(|| self.account.add(self.shown, line, self.path.join(".")));
        let node = Rc::new(Node {
            value,
            file: self.file,
            line,
            key,
            tag: tag.map(|tag| own(&tag)),
        });
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        Ok(node)
    }

    fn list(&mut self) -> Result<Vec<Rc<Node>>, Broken> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(items);
            }
            self.path.push(items.len().to_string());
            let item = self.node(event, span);
            self.path.pop();
            items.push(item?);
        }
    }

    fn map(&mut self) -> Result<Vec<Pair>, Broken> {
        let mut pairs: Vec<Pair> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut merges: Vec<(Span, Rc<Node>)> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let key = match event {
                Event::MappingEnd => break,
                Event::Scalar(text, ..) => text.into_owned(),
                Event::Alias(id) => {
                    let known = self.anchors.get(&id).and_then(|node| node.text());
                    match known {
                        Some(text) => text.to_owned(),
                        None => return Err(broken(&span, "a key has to be a single value")),
                    }
                }
                _ => return Err(broken(&span, "a key has to be a single value")),
            };
            let (event, own) = self.next()?;
            self.path.push(key.clone());
            let node = self.node(event, own);
            self.path.pop();
            let node = node?;
            if key == "<<" {
                merges.push((span, node));
                continue;
            }
            if places.insert(key.clone(), pairs.len()).is_some() {
                return Err(broken(&span, format!("`{key}` is there twice")));
            }
            pairs.push(Pair {
                key,
                line: span.start.line(),
                node,
            });
        }
        for (span, node) in merges {
            let sources: Vec<Rc<Node>> = match &node.value {
                Value::Map(_) => vec![Rc::clone(&node)],
                Value::List(items) => items.clone(),
                Value::Null => Vec::new(),
                Value::Text(..) => {
                    return Err(broken(&span, "`<<` takes a mapping, or a list of them"));
                }
            };
            for source in sources {
                let Value::Map(more) = &source.value else {
                    return Err(broken(&span, "`<<` takes a mapping, or a list of them"));
                };
                self.merged += more.len();
                if self.merged > MERGED {
                    return Err(broken(
                        &span,
                        format!("merges make more than {MERGED} keys of this file"),
                    ));
                }
                for pair in more {
                    if !places.contains_key(&pair.key) {
                        places.insert(pair.key.clone(), pairs.len());
                        pairs.push(pair.clone());
                    }
                }
            }
        }
        Ok(pairs)
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    let plain = style == ScalarStyle::Plain;
    match (plain, text) {
        (true, "" | "~" | "null" | "Null" | "NULL") => Value::Null,
        _ => Value::Text(text.to_owned()),
    }
}

fn own(tag: &Tag) -> String {
    tag.to_string()
}

/// What the parser says, without the text around it, which may hold a secret.
fn syntax(error: &ScanError) -> Broken {
    Broken {
        line: error.marker().line(),
        column: error.marker().col() + 1,
        message: format!("YAML cannot be read: {}", error.info()),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn tree(text: &str) -> Result<Vec<Rc<Node>>, Broken> {
        read(text, "a.yml", 0, &mut Account::default())
    }

    #[test]
    fn values_know_where_they_stand() {
        let mut account = Account::default();
        let text = "a: &x\n  b: 1\n  c: [2, \"3\"]\nd:\n  <<: *x\n  b: 4\ne: {}\nf:\n";
        let all = read(text, "a.yml", 0, &mut account).unwrap();
        let root = &all[0];
        let d = root.get("d").unwrap();
        assert_eq!(d.get("b").unwrap().text(), Some("4"));
        assert_eq!(d.get("c").unwrap().items().len(), 2);
        assert_eq!(d.get("c").unwrap().items()[1].line, 3);
        let keys: Vec<(usize, &str)> = account
            .items()
            .iter()
            .map(|item| (item.line, item.key.as_str()))
            .collect();
        assert_eq!(keys[..3], [(2, "a.b"), (3, "a.c.0"), (3, "a.c.1")]);
        assert_eq!(keys.len(), 6, "{keys:?}");
        assert_eq!(
            d.keys().len(),
            3,
            "what a merge brings is counted where it stands"
        );
    }

    #[test]
    fn what_is_wrong_has_a_place() {
        for (text, line) in [
            ("a: [1, 2\nb: 3\n", 2),
            ("a: 1\na: 2\n", 2),
            ("a: 1\n  b: 2\n", 2),
            ("a: *nobody\n", 1),
            ("a: &x [*x]\n", 1),
            ("a: {<<: 1}\n", 1),
        ] {
            assert_eq!(tree(text).unwrap_err().line, line, "{text}");
        }
    }

    #[test]
    fn a_bomb_stays_small() {
        let mut text = "a0: &a0 {x: 1, y: 2}\n".to_owned();
        for n in 1..60 {
            let before = n - 1;
            text.push_str(&format!(
                "a{n}: &a{n} [*a{before}, *a{before}, *a{before}]\n"
            ));
        }
        assert_eq!(tree(&text).unwrap()[0].keys().len(), 2);
        let deep = "[".repeat(100_000);
        assert!(tree(&deep).is_err());
    }
}
