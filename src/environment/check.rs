//! A merged tree checked against the tables of the language: every value becomes what its type says, or a problem.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::rc::Rc;

use crate::declaration::{Entries, Entry, Node, Origin, Stage, Table, Type, Value};
use crate::environment::names;
use crate::environment::read::{At, Book, Raw, RawEntry, RawTable, RawValue, shorten};
use crate::error::Problem;
use crate::services::ROOT;
use crate::template::Datum;

/// What a check found beside problems.
pub(super) struct Checker<'a> {
    pub book: &'a mut Book,
    /// What strings may name: `vars`.
    pub names: BTreeMap<String, Datum>,
    /// Unknown while the table that says it could not be read.
    pub stage: Option<Stage>,
    /// Required keys have to be there: not abstract, and every file was read.
    pub complete: bool,
    pub warnings: Vec<Problem>,
    /// Where each path of the user is named.
    pub paths: HashMap<PathBuf, Origin>,
    /// The keys that lead to what is being checked.
    pub path: Vec<String>,
    /// Inside an entry that is dropped.
    pub dropped: usize,
    pub defaults: HashMap<*const Table, Rc<[Option<Node>]>>,
}

/// Keys that others need to be known first.
const FIRST: [&str; 2] = ["vars", "environment"];

impl Checker<'_> {
    /// The whole tree.
    pub fn root(&mut self, mut raw: RawTable) -> Node {
        self.complete &= !is_abstract(&raw);
        raw.entry("environment".to_owned()).or_insert_with(nothing);
        let mut entries = Entries::default();
        let mut given = Vec::new();
        for name in FIRST {
            if let Some(entry) = raw.remove(name) {
                self.entry(name.to_owned(), entry, &ROOT, &mut entries, &mut given);
            }
            match (name, entries.0.get(name)) {
                ("vars", vars) => self.names = super::vars::names(vars.map(|vars| &vars.node)),
                ("environment", Some(environment)) => {
                    self.stage = match environment.node.text("stage") {
                        Some("dev") => Some(Stage::Dev),
                        Some("staging") => Some(Stage::Staging),
                        Some("prod") => Some(Stage::Prod),
                        _ => None,
                    };
                }
                _ => {}
            }
        }
        self.entries(raw, &ROOT, ROOT_AT, &mut entries, given);
        Node {
            value: Value::Table(entries),
            origin: Origin::NONE,
        }
    }

    /// The table that is being checked, as a user writes it.
    fn here(&self) -> String {
        format!("`[{}]`", dotted(self.path.iter().map(String::as_str)))
    }

    fn entries(
        &mut self,
        raw: RawTable,
        table: &'static Table,
        at: At,
        entries: &mut Entries,
        mut given: Vec<&'static str>,
    ) {
        for (name, entry) in raw {
            self.entry(name, entry, table, entries, &mut given);
        }
        let defaults = self.defaults_of(table);
        for (key, default) in table.keys.iter().zip(&*defaults) {
            if given.contains(&key.name) {
                continue;
            }
            if let Some(node) = default {
                let entry = Entry {
                    key: Origin::NONE,
                    node: node.clone(),
                };
                entries.0.insert(key.name.to_owned(), entry);
            } else if key.required && self.complete && self.dropped == 0 {
                let table = self.here();
                self.book
                    .error(at, format!("`{}` is missing in {table}", key.name))
                    .help = Some(key.doc.to_owned());
            }
        }
    }

    fn entry(
        &mut self,
        name: String,
        entry: RawEntry,
        table: &'static Table,
        entries: &mut Entries,
        given: &mut Vec<&'static str>,
    ) {
        let Some(key) = table.keys.iter().find(|key| key.name == name) else {
            if let Some(close) = self.unknown(&name, &entry, table) {
                given.push(close); // one mistake, not also a missing key
            }
            return;
        };
        given.push(key.name);
        let origin = self.book.origin(entry.key);
        self.path.push(name);
        let node = self.value(entry.node, &key.of, key.name, entry.key);
        if let (Some(name), Some(node)) = (self.path.pop(), node) {
            entries.0.insert(name, Entry { key: origin, node });
        }
    }

    /// The defaults of a table's keys, read once a table.
    fn defaults_of(&mut self, table: &'static Table) -> Rc<[Option<Node>]> {
        if let Some(known) = self.defaults.get(&std::ptr::from_ref(table)) {
            return Rc::clone(known);
        }
        let mut defaults = Vec::new();
        let complete = std::mem::replace(&mut self.complete, false);
        for key in table.keys {
            let raw = key.default.and_then(default_value);
            self.path.push(key.name.to_owned());
            defaults.push(raw.and_then(|raw| self.value(raw, &key.of, key.name, At::NONE)));
            self.path.pop();
        }
        self.complete = complete;
        let defaults: Rc<[Option<Node>]> = defaults.into();
        self.defaults.insert(table, Rc::clone(&defaults));
        defaults
    }

    /// An unknown key; returns the key it was probably meant to be.
    fn unknown(&mut self, name: &str, entry: &RawEntry, table: &Table) -> Option<&'static str> {
        // So many are not told, and each costs a look at every key.
        let told = self.book.problems.len() < super::TOLD;
        let keys = table.keys.iter().map(|key| key.name).filter(|_| told);
        let close = crate::error::nearest(name, keys);
        // It may be a password whose key is mistyped beyond recognition, or whose table is gone.
        let meant = table.keys.iter().find(|key| Some(key.name) == close);
        let may_be = matches!(entry.node.value, RawValue::Text(_) | RawValue::List(_));
        let to_secret = meant.is_none_or(|key| leads_to_secret(&key.of));
        if (to_secret && may_be) || suspicious(name, &entry.node) {
            self.book.secrets.push(entry.node.at);
        }
        self.hide(&entry.node, 0);
        let what = match &entry.node.value {
            RawValue::Table(_) if table.name.is_empty() => "table",
            _ => "key",
        };
        let message = match table.name {
            "" => format!("unknown {what} `{}`", shorten(name)),
            _ => format!("unknown {what} `{}` in {}", shorten(name), self.here()),
        };
        let help = close.map_or_else(
            || {
                let keys: Vec<String> = table
                    .keys
                    .iter()
                    .map(|key| format!("`{}`", key.name))
                    .collect();
                format!("it may hold {}", keys.join(", "))
            },
            |close| format!("did you mean `{close}`?"),
        );
        self.book.error(entry.key, message).help = Some(help);
        close
    }

    /// Hides texts inside a table or list that nothing is known of.
    fn hide(&mut self, raw: &Raw, depth: usize) {
        match &raw.value {
            RawValue::Text(_) if depth > 0 => self.book.secrets.push(raw.at),
            RawValue::List(items) => items.iter().for_each(|item| self.hide(item, depth + 1)),
            RawValue::Table(table) => table
                .values()
                .for_each(|entry| self.hide(&entry.node, depth + 1)),
            _ => {}
        }
    }

    /// A value of a type. `key` names it in messages; `key_at` is where that stands.
    pub fn value(&mut self, raw: Raw, of: &'static Type, key: &str, key_at: At) -> Option<Node> {
        let at = raw.at;
        let value = match (of, raw.value) {
            (Type::Either(one, other), value) => {
                let raw = Raw { value, at };
                let of = match (fits(one, &raw), fits(other, &raw)) {
                    (true, _) => *one,
                    (_, true) => *other,
                    _ => return self.wrong(&raw, of, key),
                };
                return self.value(raw, of, key, key_at);
            }
            (Type::Secret, value) => return self.secret(Raw { value, at }, key),
            (Type::Bool, RawValue::Bool(value)) => Value::Bool(value),
            (Type::Int(low, high), RawValue::Int(number)) if (*low..=*high).contains(&number) => {
                Value::Int(number)
            }
            (
                Type::Text | Type::Name | Type::Identifier | Type::PostgresName,
                RawValue::Text(text),
            )
            | (Type::Word(_) | Type::Path | Type::Listen | Type::Service, RawValue::Text(text)) => {
                return self.text(&text, of, key, at);
            }
            (Type::Template, RawValue::Text(text)) => {
                let whole = text.starts_with("{{") && text.ends_with("}}");
                let named = !whole && (suspicious_name(key) || suspicious_text(&text));
                if named || quotes_something(&text) {
                    self.book.secrets.push(at);
                }
                Value::Text(text)
            }
            (Type::Setting, value) => return self.setting(Raw { value, at }, key),
            (Type::List(Type::Path), RawValue::List(items)) => Value::List(self.paths(items, key)),
            (Type::List(of), RawValue::List(items)) => Value::List(
                items
                    .into_iter()
                    .filter_map(|item| self.value(item, of, key, key_at))
                    .collect(),
            ),
            (Type::Map(of), RawValue::Table(raw)) => Value::Table(self.map(raw, of, key)),
            (Type::Table(table), RawValue::Table(raw)) => {
                let at = if key_at == At::NONE { at } else { key_at };
                Value::Table(self.keys(raw, table, at))
            }
            (Type::Named(table), RawValue::Table(raw)) => Value::Table(self.named(raw, table)),
            (Type::Many(table), RawValue::List(items)) => Value::List(
                items
                    .into_iter()
                    .filter_map(|item| self.item(item, table, key))
                    .collect(),
            ),
            (_, value) => return self.wrong(&Raw { value, at }, of, key),
        };
        Some(Node {
            value,
            origin: self.book.origin(at),
        })
    }

    fn keys(&mut self, raw: RawTable, table: &'static Table, at: At) -> Entries {
        let mut entries = Entries::default();
        self.entries(raw, table, at, &mut entries, Vec::new());
        entries
    }

    fn item(&mut self, raw: Raw, table: &'static Table, key: &str) -> Option<Node> {
        let at = raw.at;
        let off = is_off(&raw) && has_switch(table);
        let RawValue::Table(inner) = raw.value else {
            return self.wrong(&raw, &Type::Table(table), key);
        };
        self.dropped += usize::from(off);
        let entries = self.keys(inner, table, at);
        self.dropped -= usize::from(off);
        (!off).then(|| Node {
            value: Value::Table(entries),
            origin: self.book.origin(at),
        })
    }

    fn named(&mut self, raw: RawTable, table: &'static Table) -> Entries {
        let mut entries = Entries::default();
        for (name, entry) in raw {
            let off = is_off(&entry.node) && has_switch(table);
            if !off && let Err(rule) = names::of_table(table.name, &name) {
                let message = format!("`{}` cannot be a name here", shorten(&name));
                self.book.error(entry.key, message).help = Some(rule);
            }
            if off {
                self.switched_off(&name, &entry);
            }
            let origin = self.book.origin(entry.key);
            let node_at = entry.node.at;
            let RawValue::Table(inner) = entry.node.value else {
                self.wrong(&entry.node, &Type::Table(table), &name);
                // Others may name it: it is there, only wrong.
                let value = Value::Table(Entries::default());
                let node = Node {
                    value,
                    origin: origin.clone(),
                };
                entries.0.insert(name, Entry { key: origin, node });
                continue;
            };
            self.dropped += usize::from(off);
            self.path.push(name);
            let inner = self.keys(inner, table, entry.key);
            self.dropped -= usize::from(off);
            if let (Some(name), false) = (self.path.pop(), off) {
                let node = Node {
                    value: Value::Table(inner),
                    origin: self.book.origin(node_at),
                };
                entries.0.insert(name, Entry { key: origin, node });
            }
        }
        entries
    }

    /// An entry that is only a switch should switch something off.
    fn switched_off(&mut self, name: &str, entry: &RawEntry) {
        let RawValue::Table(inner) = &entry.node.value else {
            return;
        };
        if inner.len() == 1 && !entry.inherited && self.complete && self.dropped == 0 {
            let message = format!(
                "`enabled = false` drops nothing: no `{}` is inherited in {}",
                shorten(name),
                self.here()
            );
            let problem = Problem::warning(message, &self.book.origin(entry.key));
            self.warnings.push(problem);
        }
    }

    fn map(&mut self, raw: RawTable, of: &'static Type, key: &str) -> Entries {
        let mut entries = Entries::default();
        for (name, entry) in raw {
            if suspicious(&name, &entry.node) {
                self.book.secrets.push(entry.node.at);
            }
            if let Err(rule) = names::of_map(of, &name) {
                let message = format!("`{}` cannot be a key of `{key}`", shorten(&name));
                self.book.error(entry.key, message).help = Some(rule);
            }
            let origin = self.book.origin(entry.key);
            if let Some(node) = self.value(entry.node, of, &name, entry.key) {
                entries.0.insert(name, Entry { key: origin, node });
            }
        }
        entries
    }

    fn setting(&mut self, raw: Raw, key: &str) -> Option<Node> {
        let value = match raw.value {
            RawValue::Bool(value) => Value::Bool(value),
            RawValue::Int(value) => Value::Int(value),
            RawValue::Float(ref text) if text.parse().is_ok_and(f64::is_finite) => {
                Value::Text(text.clone())
            }
            RawValue::Text(text) => return self.text(&text, &Type::Text, key, raw.at),
            RawValue::List(items) => Value::List(
                items
                    .into_iter()
                    .filter_map(|item| self.value(item, &Type::Text, key, raw.at))
                    .collect(),
            ),
            _ => return self.wrong(&raw, &Type::Setting, key),
        };
        Some(Node {
            value,
            origin: self.book.origin(raw.at),
        })
    }

    /// Says what a value is and what it has to be.
    pub fn wrong(&mut self, raw: &Raw, of: &Type, key: &str) -> Option<Node> {
        // A password may stand where the table that holds it belongs.
        let text = matches!(raw.value, RawValue::Text(_) | RawValue::List(_));
        if suspicious(key, raw) || (text && leads_to_secret(of)) {
            self.book.secrets.push(raw.at);
        }
        if matches!(raw.value, RawValue::Table(_)) {
            self.hide(raw, 0);
        }
        let is = match (&raw.value, of) {
            (RawValue::Int(number), Type::Int(..)) => number.to_string(),
            (RawValue::Huge, _) => "a number beyond 64 bits".to_owned(),
            (RawValue::Float(_), Type::Setting) => "not a number".to_owned(),
            _ => raw.kind().to_owned(),
        };
        let message = format!("`{}` is {is}, and has to be {}", shorten(key), says(of));
        self.book.error(raw.at, message);
        None
    }
}

/// The beginning of the environment's own file.
pub(super) const ROOT_AT: At = At {
    file: 0,
    start: 0,
    end: 0,
};

/// An empty table at the beginning of the file.
fn nothing() -> RawEntry {
    let node = Raw {
        value: RawValue::Table(RawTable::new()),
        at: ROOT_AT,
    };
    RawEntry {
        key: ROOT_AT,
        node,
        inherited: false,
    }
}

/// Keys as a user writes them.
fn dotted<'a>(keys: impl IntoIterator<Item = &'a str>) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let keys = keys
        .into_iter()
        .map(|key| match !key.is_empty() && key.chars().all(bare) {
            true => shorten(key),
            false => format!("\"{}\"", shorten(key)),
        });
    keys.collect::<Vec<_>>().join(".")
}

/// `[environment] abstract = true`, before anything was checked.
fn is_abstract(raw: &RawTable) -> bool {
    let environment = raw.get("environment").map(|entry| &entry.node.value);
    let Some(RawValue::Table(environment)) = environment else {
        return false;
    };
    let value = environment.get("abstract").map(|entry| &entry.node.value);
    matches!(value, Some(RawValue::Bool(true)))
}

fn is_off(raw: &Raw) -> bool {
    let RawValue::Table(inner) = &raw.value else {
        return false;
    };
    let value = inner.get("enabled").map(|entry| &entry.node.value);
    matches!(value, Some(RawValue::Bool(false)))
}

fn has_switch(table: &Table) -> bool {
    table.keys.iter().any(|key| key.name == "enabled")
}

/// A default in TOML syntax. They are ours, so a broken one is an absent one, and the tests see it.
pub(super) fn default_value(text: &str) -> Option<Raw> {
    let mut book = Book::default();
    let line = format!("v = {text}").into_bytes();
    let (_, parsed) = book.parse(String::new(), PathBuf::new(), line);
    let super::read::Parsed::Table(mut table) = parsed else {
        return None;
    };
    let mut raw = table.remove("v")?.node;
    nowhere(&mut raw);
    Some(raw)
}

fn nowhere(raw: &mut Raw) {
    raw.at = At::NONE;
    match &mut raw.value {
        RawValue::List(items) => items.iter_mut().for_each(nowhere),
        RawValue::Table(table) => table.values_mut().for_each(|entry| {
            entry.key = At::NONE;
            nowhere(&mut entry.node);
        }),
        _ => {}
    }
}

/// Whether a value's TOML type is one that a type takes.
fn fits(of: &Type, raw: &Raw) -> bool {
    match &raw.value {
        RawValue::Bool(_) => takes(of, |of| matches!(of, Type::Bool | Type::Setting)),
        RawValue::Int(_) | RawValue::Huge => {
            takes(of, |of| matches!(of, Type::Int(..) | Type::Setting))
        }
        RawValue::Float(_) => takes(of, |of| matches!(of, Type::Setting)),
        RawValue::Date => false,
        RawValue::Text(_) => takes(of, |of| {
            matches!(
                of,
                Type::Text
                    | Type::Template
                    | Type::Name
                    | Type::Identifier
                    | Type::PostgresName
                    | Type::Word(_)
                    | Type::Path
                    | Type::Listen
                    | Type::Service
                    | Type::Secret
                    | Type::Setting
            )
        }),
        RawValue::List(_) => takes(of, |of| {
            matches!(of, Type::List(_) | Type::Many(_) | Type::Setting)
        }),
        RawValue::Table(_) => takes(of, |of| {
            matches!(
                of,
                Type::Map(_) | Type::Table(_) | Type::Named(_) | Type::Secret
            )
        }),
    }
}

fn takes(of: &Type, one: impl Fn(&Type) -> bool + Copy) -> bool {
    match of {
        Type::Either(left, right) => takes(left, one) || takes(right, one),
        of => one(of),
    }
}

/// Whether a value of this type is, or may be, a secret.
pub(super) fn holds_secret(of: &Type) -> bool {
    takes(of, |of| matches!(of, Type::Secret))
}

/// The same, or a key of the tables that it is made of does.
fn leads_to_secret(of: &Type) -> bool {
    match of {
        Type::Either(one, other) => leads_to_secret(one) || leads_to_secret(other),
        Type::List(of) | Type::Map(of) => leads_to_secret(of),
        Type::Table(table) | Type::Named(table) | Type::Many(table) => {
            table.keys.iter().any(|key| leads_to_secret(&key.of))
        }
        of => holds_secret(of),
    }
}

/// What a value has to be, for people.
pub(super) fn says(of: &Type) -> String {
    match of {
        Type::Bool => "`true` or `false`".to_owned(),
        Type::Int(i64::MIN, i64::MAX) => "a whole number".to_owned(),
        Type::Int(low, high) => format!("a whole number from {low} to {high}"),
        Type::Text | Type::Template => "a string".to_owned(),
        Type::Name | Type::Identifier | Type::PostgresName => "a name (a string)".to_owned(),
        Type::Word(words) => format!("one of {}", listed(words)),
        Type::Path => "a path (a string)".to_owned(),
        Type::Listen => "an address with a port, as in `\"127.0.0.1:8000\"`".to_owned(),
        Type::Service => "a service, as in `\"postgres.analytics\"`".to_owned(),
        Type::Secret => "a secret: a string, or a table such as `{ env = \"NAME\" }`".to_owned(),
        Type::Setting => "a string, a number, a boolean or a list of strings".to_owned(),
        Type::List(of) => format!("a list, each {}", says(of)),
        Type::Map(_) | Type::Table(_) | Type::Named(_) => "a table".to_owned(),
        Type::Many(_) => "a list of tables".to_owned(),
        Type::Either(one, other) => format!("{}, or {}", says(one), says(other)),
    }
}

fn listed(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("`\"{word}\"`")).collect();
    words.join(", ")
}

/// Whether an unchecked value may hold a secret, by the names it has and by its looks.
pub(super) fn suspicious(name: &str, raw: &Raw) -> bool {
    suspicious_name(name)
        || match &raw.value {
            RawValue::Table(table) => table
                .iter()
                .any(|(key, entry)| suspicious(key, &entry.node)),
            RawValue::List(items) => items.iter().any(|item| suspicious("", item)),
            RawValue::Text(text) => suspicious_text(text),
            _ => false,
        }
}

fn suspicious_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [
        "pass", "pwd", "pasw", "secret", "token", "key", "cred", "auth", "private", "dsn",
    ]
    .iter()
    .any(|word| name.contains(word))
}

/// Whether an expression has a text of its own, which may be a password: not only a name in brackets.
fn quotes_something(text: &str) -> bool {
    let quotes = ['"', '\''];
    let names = |rest: &str| {
        rest.split(quotes)
            .step_by(2)
            .all(|part| part.ends_with('[') || part.starts_with(']'))
    };
    let inside = text
        .split("{{")
        .skip(1)
        .filter_map(|rest| rest.split("}}").next());
    inside
        .into_iter()
        .any(|inside| inside.contains(quotes) && !names(inside))
}

/// `scheme://user:password@host`
fn suspicious_text(text: &str) -> bool {
    text.find("://")
        .is_some_and(|at| text.get(at..).is_some_and(|rest| rest.contains('@')))
}
