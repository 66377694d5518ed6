//! Stub, replaced by its author.
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use crate::secret::Secret;

use crate::command::{Ask, Question, Row};
use crate::resource::{Field, Kind, Removal, Step};

/// A role of a PostgreSQL server.
#[derive(Clone, Debug, Default)]
pub struct PostgresRole {
    /// Its name; the key.
    pub name: String,
    /// Its password in clear as wanted; `None`: not managed.
    pub password: Option<Secret>,
    /// What the salt of its verifier is derived from: `project/service/role`.
    pub seed: String,
    /// Of a found one: the verifier the server keeps, if it shows it.
    pub stored: Option<Secret>,
    /// LOGIN.
    pub login: bool,
    /// SUPERUSER.
    pub superuser: bool,
    /// CREATEDB.
    pub createdb: bool,
    /// CREATEROLE.
    pub createrole: bool,
    /// INHERIT.
    pub inherit: bool,
    /// REPLICATION.
    pub replication: bool,
    /// BYPASSRLS.
    pub bypassrls: bool,
    /// CONNECTION LIMIT; -1 is none.
    pub connection_limit: i64,
    /// VALID UNTIL, as declared; `infinity` is never.
    pub valid_until: String,
    /// The roles it is a member of; exact.
    pub member_of: BTreeSet<String>,
    /// `ALTER ROLE ... SET`; exact once named, `None`: not managed.
    pub settings: Option<BTreeMap<String, String>>,
}

impl Kind for PostgresRole {
    const NAME: &'static str = "postgres_role";
    const QUESTION: Question = Question { name: "postgres_role", ask: Ask::Folder };
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
