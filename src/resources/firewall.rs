//! `firewall`: what a machine lets in.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::command::{Ask, Question, Row};
use crate::resource::{Field, Kind, Removal, Step};

/// The table `inet provision` of nftables: what is let in, and nothing else.
#[derive(Clone, Debug, Default)]
pub struct Firewall {
    /// The table.
    pub name: String,
    /// What is let in.
    pub allow: BTreeSet<Allow>,
}

/// A port that is let in.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Allow {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The port.
    pub port: u16,
    /// The networks it is let in from; empty: from everywhere.
    pub from: BTreeSet<String>,
}

const ASK: &str = "";

impl Kind for Firewall {
    const NAME: &'static str = "firewall";
    const QUESTION: Question = Question { name: "firewalls", ask: Ask::Machine { body: ASK, columns: &["key", "what", "value"] } };

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
        Some(Firewall { name: key.to_owned(), ..Firewall::default() })
    }

    fn remove(&self) -> Removal {
        Removal::Forget
    }
}
