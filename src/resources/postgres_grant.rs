//! Stub, replaced by its author.
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::command::{Ask, Question, Row};
use crate::resource::{Field, Kind, Removal, Step};

/// All rights of one role in one PostgreSQL database.
#[derive(Clone, Debug, Default)]
pub struct PostgresGrant {
    /// The role, or `PUBLIC`; the key.
    pub role: String,
    /// The database it is about; also its place.
    pub database: String,
    /// CONNECT, CREATE, TEMPORARY on the database.
    pub database_privileges: BTreeSet<String>,
    /// Rights by schema.
    pub schemas: BTreeMap<String, SchemaRights>,
    /// Who makes tables tomorrow: the database's owner and every declared role that can create there; for `future`.
    pub owners: BTreeSet<String>,
    /// Whether rights that are not declared are taken away.
    pub exact: bool,
}

impl Kind for PostgresGrant {
    const NAME: &'static str = "postgres_grant";
    const QUESTION: Question = Question { name: "postgres_grant", ask: Ask::Folder };
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

/// Rights in a schema.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchemaRights {
    /// USAGE, CREATE on the schema itself.
    pub schema: BTreeSet<String>,
    /// On every table and view in it; `ALL` is spelled out.
    pub tables: BTreeSet<String>,
    /// On every sequence in it; `ALL` is spelled out.
    pub sequences: BTreeSet<String>,
    /// On tables made tomorrow by any of the owners.
    pub future_tables: BTreeSet<String>,
    /// On sequences made tomorrow by any of the owners.
    pub future_sequences: BTreeSet<String>,
}
