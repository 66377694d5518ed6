//! The account of an import: every key of the source, and what became of it.

use std::collections::BTreeMap;

use serde::Serialize;

/// A key of the source, by its number in the [`Account`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(usize);

/// What became of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// Nobody looked at it yet.
    #[default]
    Pending,
    /// It is in the environment file.
    Used,
    /// It is understood, and nothing has to be done for it; why.
    Noted(String),
    /// It is not in the environment file, and somebody should know; why.
    Left(String),
}

/// One key of the source.
#[derive(Clone, Debug)]
pub struct Item {
    /// The file, as shown to people.
    pub file: String,
    /// Its line, from 1.
    pub line: usize,
    /// Its path in the file, as in `services.db.ports.0`; never its value, which may be a secret.
    pub key: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Somebody insisted on that.
    last: bool,
}

/// How many keys ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// In the environment file.
    pub used: usize,
    /// Nothing to do.
    pub noted: usize,
    /// Not carried over.
    pub left: usize,
    /// All of them.
    pub total: usize,
}

impl Count {
    /// Those that are listed with a reason.
    pub fn listed(self) -> usize {
        self.noted + self.left
    }
}

/// All keys of the source.
#[derive(Clone, Debug, Default)]
pub struct Account {
    items: Vec<Item>,
}

impl Account {
    /// One more key.
    pub fn add(&mut self, file: &str, line: usize, key: impl Into<String>) -> Key {
        self.items.push(Item {
            file: file.to_owned(),
            line,
            key: key.into(),
            outcome: Outcome::Pending,
            last: false,
        });
        Key(self.items.len() - 1)
    }

    /// All of them, in the order in which they were read.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// Where a key stands, as in `compose.yml:12`.
    pub fn place(&self, key: Key) -> String {
        self.items.get(key.0).map_or(String::new(), |item| {
            let file = item.file.rsplit('/').next().unwrap_or_default();
            format!("{file}:{}", item.line)
        })
    }

    /// The line of a key.
    pub fn line(&self, key: Key) -> usize {
        self.items.get(key.0).map_or(1, |item| item.line)
    }

    /// It is in the environment file. Wins over every reason that it was listed for elsewhere, as with an anchor that is used twice.
    pub fn used(&mut self, key: Key) {
        if let Some(item) = self.items.get_mut(key.0)
            && !item.last
        {
            item.outcome = Outcome::Used;
        }
    }

    /// Nothing has to be done for it, unless somebody else had a use for it.
    pub fn noted(&mut self, key: Key, reason: impl Into<String>) {
        self.list(key, Outcome::Noted(reason.into()));
    }

    /// It is not carried over, unless somebody else had a use for it.
    pub fn left(&mut self, key: Key, reason: impl Into<String>) {
        self.list(key, Outcome::Left(reason.into()));
    }

    fn list(&mut self, key: Key, outcome: Outcome) {
        if let Some(item) = self.items.get_mut(key.0)
            && item.outcome == Outcome::Pending
        {
            item.outcome = outcome;
        }
    }

    /// It, or a part of it, is not carried over, whatever was said before or is said later.
    pub fn insist(&mut self, key: Key, reason: impl Into<String>) {
        if let Some(item) = self.items.get_mut(key.0) {
            item.outcome = Outcome::Left(reason.into());
            item.last = true;
        }
    }

    /// Whether nobody looked at it yet.
    pub fn is_pending(&self, key: Key) -> bool {
        self.items
            .get(key.0)
            .is_some_and(|item| item.outcome == Outcome::Pending)
    }

    /// What became of a key so far.
    pub fn outcome(&self, key: Key) -> Option<Outcome> {
        self.items.get(key.0).map(|item| item.outcome.clone())
    }

    /// Ends the account: what nobody looked at is left.
    pub fn close(&mut self) {
        for item in &mut self.items {
            if item.outcome == Outcome::Pending {
                item.outcome = Outcome::Left("not understood".to_owned());
            }
        }
    }

    /// How many ended how.
    pub fn count(&self) -> Count {
        let mut count = Count {
            total: self.items.len(),
            ..Count::default()
        };
        for item in &self.items {
            match item.outcome {
                Outcome::Used => count.used += 1,
                Outcome::Noted(_) => count.noted += 1,
                Outcome::Left(_) | Outcome::Pending => count.left += 1,
            }
        }
        count
    }

    /// The listed keys, those of one place that share a reason together: file, first line, what they are called, reason.
    pub fn listed(&self, noted: bool) -> Vec<Listed<'_>> {
        let mut all: Vec<Listed<'_>> = Vec::new();
        let mut places: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
        for item in &self.items {
            let reason = match &item.outcome {
                Outcome::Noted(reason) if noted => reason,
                Outcome::Left(reason) if !noted => reason,
                _ => continue,
            };
            let place = (item.file.as_str(), above(&item.key), reason.as_str());
            match places.get(&place).and_then(|at| all.get_mut(*at)) {
                Some(group) => {
                    group.key = common(group.key, &item.key);
                    group.keys += 1;
                }
                None => {
                    places.insert(place, all.len());
                    all.push(Listed {
                        file: &item.file,
                        line: item.line,
                        key: &item.key,
                        keys: 1,
                        reason,
                    });
                }
            }
        }
        all
    }
}

/// Keys that are listed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// The file.
    pub file: &'a str,
    /// The line of the first of them.
    pub line: usize,
    /// The key, or what all of them begin with.
    pub key: &'a str,
    /// How many they are.
    pub keys: usize,
    /// Why.
    pub reason: &'a str,
}

/// The thing that a key belongs to: its first two parts.
fn above(key: &str) -> &str {
    let mut dots = key.match_indices('.').map(|(at, _)| at);
    let end = dots.nth(1).unwrap_or(key.len());
    key.get(..end).unwrap_or(key)
}

/// What two keys begin with, in whole parts.
fn common<'a>(one: &'a str, other: &str) -> &'a str {
    let mut end = 0;
    let mut at = 0;
    for (part, same) in one.split('.').zip(other.split('.')) {
        if part != same {
            break;
        }
        at += part.len();
        end = at;
        at += 1;
    }
    match end {
        0 => one,
        end => one.get(..end).unwrap_or(one),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_and_listed_are_all() {
        let mut account = Account::default();
        let keys: Vec<Key> = ["a.b.c", "a.b.d", "a.b.e", "x"]
            .into_iter()
            .enumerate()
            .map(|(at, key)| account.add("dir/f.yml", at + 1, key))
            .collect();
        account.left(keys[0], "no");
        account.left(keys[1], "no");
        account.noted(keys[2], "fine");
        account.used(keys[2]);
        account.close();
        let count = account.count();
        assert_eq!((count.used, count.listed(), count.total), (1, 3, 4));
        let left = account.listed(false);
        assert_eq!(left.len(), 2);
        assert_eq!((left[0].key, left[0].keys), ("a.b", 2));
        assert_eq!(left[1].reason, "not understood");
        assert_eq!(account.place(keys[3]), "f.yml:4");
        account.insist(keys[2], "only a part");
        assert_eq!(account.count().used, 0);
    }
}
