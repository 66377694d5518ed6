//! Stub, replaced by its author.
use std::borrow::Cow;

use crate::command::{Ask, Question, Row};
use crate::resource::{Field, Kind, Removal, Step};

/// A setting of a MariaDB server; `provision.cnf` keeps it, this makes it hold now.
#[derive(Clone, Debug, Default)]
pub struct MariadbSetting {
    /// Its name with `_`; the key.
    pub name: String,
    /// Its value as declared (`ON`/`OFF` for booleans).
    pub value: String,
}

impl Kind for MariadbSetting {
    const NAME: &'static str = "mariadb_setting";
    const QUESTION: Question = Question { name: "mariadb_setting", ask: Ask::Folder };
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
