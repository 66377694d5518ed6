//! `link`: a symbolic link of a machine.

use std::borrow::Cow;

use crate::command::{Ask, Question, Row};
use crate::resource::{Field, Kind, Removal, Step};

/// A symbolic link of a machine.
#[derive(Clone, Debug, Default)]
pub struct Link {
    /// Its absolute path.
    pub path: String,
    /// Where it leads.
    pub to: String,
}


impl Kind for Link {
    const NAME: &'static str = "link";
    const QUESTION: Question = Question {
        name: "link",
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
        Some(Link {
            path: key.to_owned(),
            ..Link::default()
        })
    }

    fn remove(&self) -> Removal {
        Removal::Forget
    }
}
