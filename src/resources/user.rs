//! `user`: a user of a machine.

use std::borrow::Cow;

use std::collections::BTreeSet;

use crate::command::{Ask, Question, Row};
use crate::resource::{Field, Kind, Removal, Step};
use crate::secret::Secret;

/// A user of a machine. What is `None` is not managed.
#[derive(Clone, Debug, Default)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: Option<u32>,
    /// Its primary group.
    pub group: Option<String>,
    /// Its other groups.
    pub groups: Option<BTreeSet<String>>,
    /// Its home folder.
    pub home: Option<String>,
    /// Its login shell.
    pub shell: Option<String>,
    /// Its full name.
    pub comment: Option<String>,
    /// A system user, when it is made.
    pub system: bool,
    /// May not log in by password.
    pub locked: bool,
    /// Its password.
    pub password: Option<Secret>,
}


impl Kind for User {
    const NAME: &'static str = "user";
    const QUESTION: Question = Question {
        name: "user",
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
        Some(User {
            name: key.to_owned(),
            ..User::default()
        })
    }

    fn remove(&self) -> Removal {
        Removal::Forget
    }
}
