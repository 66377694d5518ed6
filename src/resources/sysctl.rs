//! `sysctl`: a setting of a machine's kernel.

use std::borrow::Cow;

use crate::command::{Ask, Question, Row};
use crate::resource::{Field, Kind, Removal, Step};

/// A setting of the kernel: as it is now, and as it is set at the next start.
#[derive(Clone, Debug, Default)]
pub struct Sysctl {
    /// As in `vm.swappiness`.
    pub name: String,
    /// Its value.
    pub value: String,
}

const ASK: &str = "";

impl Kind for Sysctl {
    const NAME: &'static str = "sysctl";
    const QUESTION: Question = Question { name: "sysctls", ask: Ask::Machine { body: ASK, columns: &["key", "what", "value"] } };

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
        Some(Sysctl { name: key.to_owned(), ..Sysctl::default() })
    }

    fn remove(&self) -> Removal {
        Removal::Forget
    }
}
