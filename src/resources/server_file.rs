//! `file`: a file of a machine.

use std::borrow::Cow;

use std::path::PathBuf;

use crate::command::{Ask, Question, Row, Text};
use crate::resource::{Field, Kind, Removal, Step};
use crate::secret::sha256;

/// A file of a machine.
#[derive(Clone, Debug, Default)]
pub struct ServerFile {
    /// Its absolute path.
    pub path: String,
    /// What it holds.
    pub content: Content,
    /// The user that owns it, by name or number; empty is `root`.
    pub owner: String,
    /// The group that owns it, by name or number; empty is `root`.
    pub group: String,
    /// Its mode; 0 is 0644.
    pub mode: u32,
    /// A program and its arguments that has to accept it before it takes the place of the old one; `{}` is its path.
    pub validate: Vec<String>,
}

/// What a file holds.
#[derive(Clone, Debug)]
pub enum Content {
    /// A text.
    Text(Text),
    /// A copy of a file of the user.
    Copy {
        /// The file, absolute.
        path: PathBuf,
        /// SHA-256 of what it holds, in lower-case hex.
        digest: String,
    },
}

impl Default for Content {
    fn default() -> Self {
        Content::Text(Text::default())
    }
}

impl ServerFile {
    /// SHA-256 of what it is wanted to hold, in lower-case hex.
    pub fn digest(&self) -> String {
        match &self.content {
            Content::Text(text) => sha256(text.expose().expose()),
            Content::Copy { digest, .. } => digest.clone(),
        }
    }
}


impl Kind for ServerFile {
    const NAME: &'static str = "file";
    const QUESTION: Question = Question {
        name: "file",
        ask: Ask::Machine {
            body: ":",
            columns: &["key"],
        },
    };

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.path)
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
        Some(ServerFile {
            path: key.to_owned(),
            ..ServerFile::default()
        })
    }

    fn remove(&self) -> Removal {
        Removal::Forget
    }
}
