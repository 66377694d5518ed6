//! `authorized_key`: the public keys that may log in as a user.

use std::borrow::Cow;

use std::collections::BTreeSet;

use crate::command::{Ask, Question, Row};
use crate::resource::{Field, Kind, Removal, Step};

/// The public keys that may log in as a user.
#[derive(Clone, Debug, Default)]
pub struct AuthorizedKeys {
    /// The user.
    pub user: String,
    /// The keys, a line each.
    pub keys: BTreeSet<String>,
    /// Keys that are there and not declared are removed.
    pub exclusive: bool,
}


impl Kind for AuthorizedKeys {
    const NAME: &'static str = "authorized_key";
    const QUESTION: Question = Question {
        name: "authorized_key",
        ask: Ask::Machine {
            body: ":",
            columns: &["key"],
        },
    };

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.user)
    }

    fn read(&self, _rows: &[Row]) -> Result<Option<Self>, String> {
        Err("cannot be read yet".to_owned())
    }

    fn fields(&self, _found: Option<&Self>) -> Vec<Field> {
        Vec::new()
    }

    fn steps(&self, _found: Option<&Self>) -> Vec<Step> {
        Vec::new()
    }

    fn named(key: &str) -> Option<Self> {
        Some(AuthorizedKeys {
            user: key.to_owned(),
            ..AuthorizedKeys::default()
        })
    }

    fn remove(&self) -> Removal {
        Removal::Forget
    }
}
