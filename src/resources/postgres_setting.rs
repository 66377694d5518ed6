//! Stub, replaced by its author.
use std::borrow::Cow;

use crate::command::{Ask, Question, Row};
use crate::resource::{Field, Kind, Removal, Step};

/// A setting of a PostgreSQL server, set with `ALTER SYSTEM`.
#[derive(Clone, Debug, Default)]
pub struct PostgresSetting {
    /// Its name; the key.
    pub name: String,
    /// Its value; more than one item only where it was declared as a list.
    pub value: Vec<String>,
    /// Whether it was declared as a list.
    pub list: bool,
}

impl Kind for PostgresSetting {
    const NAME: &'static str = "postgres_setting";
    const QUESTION: Question = Question { name: "postgres_setting", ask: Ask::Folder };
    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }
    fn read(&self, _rows: &[Row]) -> Result<Option<Self>, String> {
        Ok(None)
    }
    fn fields(&self, _found: Option<&Self>) -> Vec<Field> {
        Vec::new()
    }
    fn steps(&self, _found: Option<&Self>) -> Vec<Step> {
        Vec::new()
    }
    fn named(_key: &str) -> Option<Self> {
        None
    }
    fn remove(&self) -> Removal {
        Removal::Forget
    }
}
