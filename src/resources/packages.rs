//! `packages`: packages of the distribution, in sets with a name.

use std::borrow::Cow;

use std::collections::{BTreeMap, BTreeSet};

use crate::command::{Ask, Question, Row};
use crate::resource::{Field, Kind, Removal, Step};

/// Packages of the distribution.
#[derive(Clone, Debug, Default)]
pub struct Packages {
    /// The name of the set.
    pub name: String,
    /// The packages.
    pub names: Vec<String>,
    /// Versions by package; `15.*` is any that begins so.
    pub versions: BTreeMap<String, String>,
    /// Those that upgrades leave alone.
    pub hold: BTreeSet<String>,
}


impl Kind for Packages {
    const NAME: &'static str = "packages";
    const QUESTION: Question = Question {
        name: "packages",
        ask: Ask::Machine {
            body: ":",
            columns: &["key"],
        },
    };

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.name)
    }

    fn read(&self, _rows: &[Row]) -> Result<Option<Self>, String> {
        Err("cannot be read yet".to_owned())
    }

    fn fields(&self, _found: Option<&Self>) -> Vec<Field> {
        Vec::new()
    }

    fn steps(&self, _found: Option<&Self>) -> Vec<Step> {
        Vec::new()
    }

    fn named(key: &str) -> Option<Self> {
        Some(Packages {
            name: key.to_owned(),
            ..Packages::default()
        })
    }

    fn remove(&self) -> Removal {
        Removal::Forget
    }
}
