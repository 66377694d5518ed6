//! Stub, replaced by its author.
use std::borrow::Cow;

use crate::command::{Ask, Question, Row};
use crate::resource::{Field, Kind, Removal, Step};

/// An SQL file that runs once a content in a PostgreSQL database.
#[derive(Clone, Debug, Default)]
pub struct SqlScript {
    /// Path as declared, relative to the environment; its name in the ledger.
    pub name: String,
    /// SHA-256 of its text.
    pub digest: String,
    /// What runs.
    pub text: String,
}

impl Kind for SqlScript {
    const NAME: &'static str = "sql_script";
    const QUESTION: Question = Question { name: "sql_script", ask: Ask::Folder };
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
