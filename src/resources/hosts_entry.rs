//! `hosts_entry`: a name in a machine's `/etc/hosts`.

use std::borrow::Cow;

use crate::command::{Ask, Question, Row};
use crate::resource::{Field, Kind, Removal, Step};

/// An address by name in `/etc/hosts`.
#[derive(Clone, Debug, Default)]
pub struct HostsEntry {
    /// The host's name.
    pub name: String,
    /// Its address.
    pub address: String,
}

const ASK: &str = "";

impl Kind for HostsEntry {
    const NAME: &'static str = "hosts_entry";
    const QUESTION: Question = Question { name: "hosts_entrys", ask: Ask::Machine { body: ASK, columns: &["key", "what", "value"] } };

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.name)
    }

    fn read(&self, _: &[Row]) -> Result<Option<Self>, String> {
        Err("it cannot be looked at".to_owned())
    }

    fn fields(&self, _: Option<&Self>) -> Vec<Field> {
        Vec::new()
    }

    fn steps(&self, _: Option<&Self>) -> Vec<Step> {
        Vec::new()
    }

    fn named(key: &str) -> Option<Self> {
        Some(HostsEntry { name: key.to_owned(), ..HostsEntry::default() })
    }

    fn remove(&self) -> Removal {
        Removal::Forget
    }
}
