//! `systemd_unit`: a unit of systemd, ours or somebody else's whose state is managed.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::command::{Ask, Question, Row, Text};
use crate::resource::{Field, Kind, Removal, Step};

/// A unit of systemd.
#[derive(Clone, Debug, Default)]
pub struct SystemdUnit {
    /// Its name with the suffix, as in `nginx.service`.
    pub name: String,
    /// What it says; `None`: it is somebody else's, and only its state is managed. Never a secret: anybody on the machine can read it.
    pub content: Option<Text>,
    /// Whether it starts with the machine; `None`: not managed.
    pub start: Option<bool>,
    /// Whether it runs; `None`: not managed.
    pub running: Option<bool>,
    /// Files that it reads at its start: path, and SHA-256 of what each is wanted to hold (empty: whatever it holds now). A running
    /// unit whose last start read something else is restarted.
    pub reads: BTreeMap<String, String>,
    /// Files that it reads again at a reload, likewise.
    pub reloads: BTreeMap<String, String>,
}

const ASK: &str = "";

impl Kind for SystemdUnit {
    const NAME: &'static str = "systemd_unit";
    const QUESTION: Question = Question { name: "systemd_units", ask: Ask::Machine { body: ASK, columns: &["key", "what", "value"] } };

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
        Some(SystemdUnit { name: key.to_owned(), ..SystemdUnit::default() })
    }

    fn remove(&self) -> Removal {
        Removal::Forget
    }
}
