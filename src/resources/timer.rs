//! `timer`: a program that is run at times.

use std::borrow::Cow;

use crate::command::{Ask, Question, Row};
use crate::resource::{Field, Kind, Removal, Step};

/// A program that systemd runs at times: `NAME.service` and `NAME.timer`.
#[derive(Clone, Debug, Default)]
pub struct Timer {
    /// Its name without a suffix.
    pub name: String,
    /// The program and its arguments; it runs without a shell.
    pub command: Vec<String>,
    /// When, as systemd says it.
    pub calendar: String,
    /// The user it runs as.
    pub user: String,
}

const ASK: &str = "";

impl Kind for Timer {
    const NAME: &'static str = "timer";
    const QUESTION: Question = Question { name: "timers", ask: Ask::Machine { body: ASK, columns: &["key", "what", "value"] } };

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
        Some(Timer { name: key.to_owned(), ..Timer::default() })
    }

    fn remove(&self) -> Removal {
        Removal::Forget
    }
}
