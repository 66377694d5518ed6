//! Stub, replaced by its author.
use std::borrow::Cow;

use crate::command::{Ask, Question, Row};
use crate::resource::{Field, Kind, Removal, Step};

/// A database of a MariaDB server.
#[derive(Clone, Debug, Default)]
pub struct MariadbDatabase {
    /// Its name; the key.
    pub name: String,
    /// Default character set; `None`: not managed.
    pub charset: Option<String>,
    /// Default collation; `None`: not managed.
    pub collation: Option<String>,
}

impl Kind for MariadbDatabase {
    const NAME: &'static str = "mariadb_database";
    const QUESTION: Question = Question { name: "mariadb_database", ask: Ask::Folder };
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
