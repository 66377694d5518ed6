//! Files that extend others: found, put in an order, and laid over one another.
//!
//! Every file counts once. The order is parents first, as they are listed, then the file itself; what comes later wins.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::declaration::{Table, Type};
use crate::environment::paths;
use crate::environment::read::{self, At, Book, Parsed, Raw, RawEntry, RawTable, RawValue};
use crate::error::Problem;
use crate::services::ROOT;

/// The longest chain of files that extend one another.
const CHAIN: usize = 16;
/// The most files an environment may be made of.
const FILES: usize = 64;

/// The file of an environment and all that it extends, as one table.
pub(super) struct Merged {
    pub table: RawTable,
    /// A file is missing or cannot be parsed, so that what is absent may only be unseen.
    pub broken: bool,
    /// The environment's own file says nothing at all.
    pub empty: bool,
}

/// Reads a file and all that it extends. The file itself is page 0 of the book.
pub(super) fn load(book: &mut Book, path: &Path, shown: &str, bytes: Vec<u8>) -> Merged {
    let mut loader = Loader {
        book,
        chain: Vec::new(),
        seen: HashSet::new(),
        order: Vec::new(),
        broken: false,
    };
    loader.file(path, shown.to_owned(), bytes);
    let (order, broken) = (loader.order, loader.broken);
    let own = order.len().saturating_sub(1);
    let empty = !broken && order.len() == 1 && order.iter().all(|(_, table)| table.is_empty());
    let mut merged = RawTable::new();
    for (n, (file, mut table)) in order.into_iter().enumerate() {
        if n < own {
            forget_identity(&mut table);
        }
        let plain = !book
            .pages
            .get(file as usize)
            .is_some_and(|page| page.appends);
        if n == 0 && plain {
            merged = table;
        } else {
            lay(book, &mut merged, table, Of::Keys(&ROOT), plain);
        }
    }
    Merged {
        table: merged,
        broken,
        empty,
    }
}

/// A parent's name and its being abstract are not inherited.
fn forget_identity(table: &mut RawTable) {
    if let Some(RawEntry {
        node: Raw {
            value: RawValue::Table(environment),
            ..
        },
        ..
    }) = table.get_mut("environment")
    {
        environment.remove("name");
        environment.remove("abstract");
    }
}

struct Loader<'a> {
    book: &'a mut Book,
    /// The files that are being read: canonical, and as shown.
    chain: Vec<(PathBuf, String)>,
    seen: HashSet<PathBuf>,
    order: Vec<(u32, RawTable)>,
    broken: bool,
}

impl Loader<'_> {
    fn file(&mut self, path: &Path, shown: String, bytes: Vec<u8>) {
        let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
        let identity = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        self.seen.insert(identity.clone());
        let (file, parsed) = self.book.parse(shown.clone(), folder.clone(), bytes);
        let Parsed::Table(mut table) = parsed else {
            self.broken = true;
            return;
        };
        self.chain.push((identity, shown.clone()));
        if let Some(entry) = table.remove("extends") {
            for (parent, at) in self.parents(entry) {
                self.parent(&folder, &shown, &parent, at);
            }
        }
        self.chain.pop();
        self.order.push((file, table));
    }

    fn parents(&mut self, entry: RawEntry) -> Vec<(String, At)> {
        let items = match entry.node.value {
            RawValue::List(items) => items,
            _ => vec![entry.node],
        };
        let mut parents = Vec::new();
        for item in items {
            match item.value {
                RawValue::Text(parent) if !parent.is_empty() && !parent.contains('\0') => {
                    parents.push((parent, item.at));
                }
                _ => {
                    let kind = item.kind();
                    self.book.error(
                        item.at,
                        format!("`extends` holds {kind}, and has to be the name of a file, or a list of them"),
                    );
                    self.broken = true;
                }
            }
        }
        parents
    }

    fn parent(&mut self, folder: &Path, child: &str, parent: &str, at: At) {
        let path = folder.join(parent);
        let shown = match child.rfind('/') {
            _ if Path::new(parent).is_absolute() => parent.to_owned(),
            Some(slash) => format!("{}{parent}", &child[..=slash]),
            None => parent.to_owned(),
        };
        let shown = paths::clean(Path::new(&shown)).display().to_string();
        let bytes = match read::bytes(&path) {
            Ok(bytes) => bytes,
            Err(why) => {
                self.broken = true;
                let help = close_file(folder, parent);
                self.book.error(at, format!("`{shown}` {why}")).help = help;
                return;
            }
        };
        let identity = path.canonicalize().unwrap_or_else(|_| path.clone());
        if self.chain.iter().any(|(open, _)| *open == identity) {
            self.broken = true;
            let chain: Vec<&str> = self
                .chain
                .iter()
                .skip_while(|(open, _)| *open != identity)
                .map(|(_, shown)| shown.as_str())
                .chain([shown.as_str()])
                .collect();
            let circle = chain.join(" > ");
            self.book
                .error(at, format!("`extends` goes in a circle: {circle}"));
            return;
        }
        if self.seen.contains(&identity) {
            return;
        }
        if self.chain.len() >= CHAIN || self.seen.len() >= FILES {
            self.broken = true;
            self.book.error(
                at,
                format!("more than {CHAIN} files that extend one another, or {FILES} in all"),
            );
            return;
        }
        let canonical_folder = path
            .parent()
            .and_then(|folder| folder.canonicalize().ok())
            .unwrap_or_else(|| folder.to_owned());
        let name = path.file_name().unwrap_or_default();
        self.file(&canonical_folder.join(name), shown, bytes);
    }
}

/// A file beside the missing one whose name is close to it.
fn close_file(folder: &Path, missing: &str) -> Option<String> {
    let names = std::fs::read_dir(folder).ok()?;
    let names: Vec<String> = names
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.ends_with(".toml"))
        .collect();
    let close = crate::error::nearest(missing, names.iter().map(String::as_str))?;
    Some(format!("did you mean `{close}`?"))
}

/// What the language says of a table that is being merged.
#[derive(Clone, Copy)]
enum Of {
    Keys(&'static Table),
    Value(&'static Type),
    Nothing,
}

impl Of {
    fn keys(self) -> Option<&'static Table> {
        match self {
            Of::Keys(table) => Some(table),
            Of::Value(Type::Table(table)) => Some(table),
            Of::Value(Type::Either(one, other)) => {
                Of::Value(one).keys().or_else(|| Of::Value(other).keys())
            }
            _ => None,
        }
    }

    fn entry(self, key: &str) -> Of {
        if let Some(table) = self.keys() {
            let found = table.keys.iter().find(|known| known.name == key);
            return found.map_or(Of::Nothing, |known| Of::Value(&known.of));
        }
        match self {
            Of::Value(Type::Named(table)) => Of::Keys(table),
            Of::Value(Type::Map(of)) => Of::Value(of),
            _ => Of::Nothing,
        }
    }

    /// One source of a secret replaces another: they do not mix.
    fn is_secret(self) -> bool {
        match self {
            Of::Value(Type::Secret) => true,
            Of::Value(Type::Either(one, other)) => {
                Of::Value(one).is_secret() || Of::Value(other).is_secret()
            }
            _ => false,
        }
    }
}

/// Lays a table over another. `plain`: no key of the file begins with `+`.
fn lay(book: &mut Book, base: &mut RawTable, over: RawTable, of: Of, plain: bool) {
    let free = of.keys().is_none();
    if !plain && !free {
        let both: Vec<At> = over
            .iter()
            .filter(|(key, _)| {
                key.strip_prefix('+')
                    .is_some_and(|name| over.contains_key(name))
            })
            .map(|(_, entry)| entry.key)
            .collect();
        for at in both {
            book.error(
                at,
                "the same list is both replaced and appended to in one table",
            );
        }
    }
    for (key, entry) in over {
        match key.strip_prefix('+') {
            Some(name) if !free => append(book, base, name.to_owned(), entry),
            _ => put(book, base, key, entry, of, plain),
        }
    }
}

fn put(
    book: &mut Book,
    base: &mut RawTable,
    key: String,
    mut entry: RawEntry,
    of: Of,
    plain: bool,
) {
    let of = of.entry(&key);
    let Some(old) = base.get_mut(&key) else {
        if let (RawValue::Table(_), false) = (&entry.node.value, plain) {
            let value = std::mem::replace(&mut entry.node.value, RawValue::Table(RawTable::new()));
            if let (RawValue::Table(over), RawValue::Table(fresh)) = (value, &mut entry.node.value)
            {
                lay(book, fresh, over, of, plain);
            }
        }
        base.insert(key, entry);
        return;
    };
    old.inherited = true;
    match (&mut old.node.value, entry.node.value) {
        (RawValue::Table(inner), RawValue::Table(over)) if !of.is_secret() => {
            lay(book, inner, over, of, plain);
        }
        (slot, value) => {
            *slot = value;
            old.node.at = entry.node.at;
            old.key = entry.key;
        }
    }
}

fn append(book: &mut Book, base: &mut RawTable, name: String, entry: RawEntry) {
    let RawValue::List(more) = entry.node.value else {
        let kind = entry.node.kind();
        book.push(
            Problem::error(
                format!("`+{name}` appends to a list, and this is {kind}"),
                &book.origin(entry.node.at),
            )
            .secret(),
        );
        return;
    };
    match base
        .get_mut(&name)
        .map(|old| (&mut old.node.value, &mut old.inherited))
    {
        Some((RawValue::List(list), inherited)) => {
            *inherited = true;
            list.extend(more);
        }
        Some(_) => {
            book.error(
                entry.key,
                format!("`+{name}` appends to a list, and the inherited `{name}` is none"),
            );
        }
        None => {
            let node = Raw {
                value: RawValue::List(more),
                at: entry.node.at,
            };
            base.insert(name, RawEntry { node, ..entry });
        }
    }
}
