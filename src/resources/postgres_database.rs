//! Stub, replaced by its author.
use std::borrow::Cow;

use crate::command::{Ask, Question, Row};
use crate::resource::{Field, Kind, Removal, Step};

/// A database of a PostgreSQL server.
#[derive(Clone, Debug, Default)]
pub struct PostgresDatabase {
    /// Its name; the key.
    pub name: String,
    /// Its owner; `None`: not managed.
    pub owner: Option<String>,
    /// As in `UTF8`; `None`: not managed.
    pub encoding: Option<String>,
    /// Collation and character type; `None`: not managed.
    pub locale: Option<String>,
    /// CONNECTION LIMIT; -1 is none.
    pub connection_limit: i64,
}

impl Kind for PostgresDatabase {
    const NAME: &'static str = "postgres_database";
    const QUESTION: Question = Question { name: "postgres_database", ask: Ask::Folder };
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
