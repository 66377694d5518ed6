//! Stub, replaced by its author.
use std::borrow::Cow;
use crate::secret::Secret;

use crate::command::{Ask, Question, Row};
use crate::resource::{Field, Kind, Removal, Step};

/// A user of a MariaDB server.
#[derive(Clone, Debug, Default)]
pub struct MariadbUser {
    /// Its name.
    pub user: String,
    /// The host it comes from, as in `%`; key is `user@host`.
    pub host: String,
    /// Its password in clear as wanted; `None`: not managed.
    pub password: Option<Secret>,
    /// Of a found one: the hash the server keeps.
    pub stored: Option<Secret>,
    /// MAX_USER_CONNECTIONS; 0 is no limit.
    pub max_connections: i64,
    /// ACCOUNT LOCK.
    pub locked: bool,
}

impl Kind for MariadbUser {
    const NAME: &'static str = "mariadb_user";
    const QUESTION: Question = Question { name: "mariadb_user", ask: Ask::Folder };
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
