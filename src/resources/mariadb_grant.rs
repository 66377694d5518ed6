//! Stub, replaced by its author.
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::command::{Ask, Question, Row};
use crate::resource::{Field, Kind, Removal, Step};

/// All rights of one MariaDB user.
#[derive(Clone, Debug, Default)]
pub struct MariadbGrant {
    /// Its name.
    pub user: String,
    /// The host; key is `user@host`.
    pub host: String,
    /// Privileges in upper case, by `database.*`, `database.table` or `*.*` as declared (literal names). `ALL` stays `ALL`; `GRANT OPTION` is a member.
    pub on: BTreeMap<String, BTreeSet<String>>,
    /// Whether rights that are not declared are taken away.
    pub exact: bool,
}

impl Kind for MariadbGrant {
    const NAME: &'static str = "mariadb_grant";
    const QUESTION: Question = Question { name: "mariadb_grant", ask: Ask::Folder };
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
