//! `swap`: a swap file of a machine.

use std::borrow::Cow;

use crate::command::{Ask, Question, Row};
use crate::resource::{Field, Kind, Removal, Step};

/// A swap file that is on, and on again after the next start.
#[derive(Clone, Debug, Default)]
pub struct Swap {
    /// Its path.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
}

const ASK: &str = "";

impl Kind for Swap {
    const NAME: &'static str = "swap";
    const QUESTION: Question = Question { name: "swaps", ask: Ask::Machine { body: ASK, columns: &["key", "what", "value"] } };

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.name)
    }

    fn read(&self, _: &[Row]) -> Result<Option<Self>, String> {
        Err("it cannot be looked at".to_owned())
    }

    fn fields(&self, _: Option<&Self>) -> Vec<Field> {
        Vec::new()
    }

    fn steps(&self, _: Option<&Self>) -> Vec<Step> {
        Vec::new()
    }

    fn named(key: &str) -> Option<Self> {
        Some(Swap { name: key.to_owned(), ..Swap::default() })
    }

    fn remove(&self) -> Removal {
        Removal::Forget
    }
}
