//! Stub, replaced by its author.
use std::borrow::Cow;

use crate::command::{Ask, Question, Row};
use crate::resource::{Field, Kind, Removal, Step};

/// An extension of a PostgreSQL database.
#[derive(Clone, Debug, Default)]
pub struct PostgresExtension {
    /// Its name; the key.
    pub name: String,
    /// Its version; `None`: not managed.
    pub version: Option<String>,
    /// Its schema; `None`: not managed.
    pub schema: Option<String>,
}

impl Kind for PostgresExtension {
    const NAME: &'static str = "postgres_extension";
    const QUESTION: Question = Question { name: "postgres_extension", ask: Ask::Folder };
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
