//! `apt_repository`: a repository of packages, signed by a key.

use std::borrow::Cow;

use crate::command::{Ask, Question, Row};
use crate::resource::{Field, Kind, Removal, Step};

/// A repository of packages.
#[derive(Clone, Debug, Default)]
pub struct AptRepository {
    /// Its name; its files are named so.
    pub name: String,
    /// Its address.
    pub url: String,
    /// As in `bookworm-pgdg`.
    pub suite: String,
    /// As in `main`.
    pub components: Vec<String>,
    /// The key that signs it, as an armoured text.
    pub key: String,
}


impl Kind for AptRepository {
    const NAME: &'static str = "apt_repository";
    const QUESTION: Question = Question {
        name: "apt_repository",
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
        Some(AptRepository {
            name: key.to_owned(),
            ..AptRepository::default()
        })
    }

    fn remove(&self) -> Removal {
        Removal::Forget
    }
}
