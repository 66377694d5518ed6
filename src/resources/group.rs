//! `group`: a group of users of a machine.

use std::borrow::Cow;

use crate::command::{Ask, Question, Row};
use crate::resource::{Field, Kind, Removal, Step};

/// A group of users.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its number; `None`: not managed.
    pub gid: Option<u32>,
    /// A system group, when it is made.
    pub system: bool,
}


impl Kind for Group {
    const NAME: &'static str = "group";
    const QUESTION: Question = Question {
        name: "group",
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
        Some(Group {
            name: key.to_owned(),
            ..Group::default()
        })
    }

    fn remove(&self) -> Removal {
        Removal::Forget
    }
}
