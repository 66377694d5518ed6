//! `directory`: a folder of a machine.

use std::borrow::Cow;

use crate::command::{Ask, Question, Row};
use crate::resource::{Field, Kind, Removal, Step};

/// A folder of a machine.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    /// Its absolute path.
    pub path: String,
    /// The user that owns it, by name or number; empty is `root`.
    pub owner: String,
    /// The group that owns it, by name or number; empty is `root`.
    pub group: String,
    /// Its mode; 0 is 0755.
    pub mode: u32,
}


impl Kind for Directory {
    const NAME: &'static str = "directory";
    const QUESTION: Question = Question {
        name: "directory",
        ask: Ask::Machine {
            body: ":",
            columns: &["key"],
        },
    };

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.path)
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
        Some(Directory {
            path: key.to_owned(),
            ..Directory::default()
        })
    }

    fn remove(&self) -> Removal {
        Removal::Forget
    }
}
