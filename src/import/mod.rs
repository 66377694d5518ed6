//! What people have, turned into an environment file: a Compose file, a `.env` file, a Vagrantfile with its scripts.
//!
//! An importer reads its input into an [`Import`]: a [`Draft`] of the environment, and an [`Account`] in which every key of the
//! source stands once. A key is *used*, or it is listed with a reason: *noted* where nothing has to be done for it, *left* where it
//! was not understood or has no table yet. What an importer never looked at is left by itself, so nothing is passed over in silence.

pub mod account;
pub mod compose;
mod connection;
mod dockerfile;
pub mod dotenv;
pub mod draft;
pub mod env;
mod input;
mod project;
mod ruby;
mod shell;
mod sql;
pub mod vagrant;
mod words;
mod yaml;

use std::path::PathBuf;

use crate::error::Failure;
use account::Account;
use draft::Draft;
pub use input::way;

/// What an importer is told besides its files.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// The folder that will hold the environment file: paths in it are relative to that. Absolute.
    pub folder: PathBuf,
    /// Profiles of a Compose file that are asked for.
    pub profiles: Vec<String>,
    /// What the environment is made for servers, not for an engine.
    pub servers: bool,
    /// The project's name in place of the one that is found.
    pub project: Option<String>,
}

/// What came of an import.
#[derive(Debug, Default)]
pub struct Import {
    /// The environment file.
    pub draft: Draft,
    /// What became of each key of the source.
    pub account: Account,
}

/// What an import ends with.
pub type Imported = Result<Import, Failure>;
