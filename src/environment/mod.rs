//! Environment files: read, merged and checked into an [`Environment`], every problem at once. The one place that reads the
//! user's files.

use std::path::Path;

use crate::declaration::Environment;
use crate::error::{Failure, Kind};

/// The names of the environments of a folder, sorted: every `NAME.toml`.
pub fn names(_dir: &Path) -> Vec<String> {
    Vec::new()
}

/// Loads an environment by its name in the folder, or by a path to its file. Offline: secrets are not had yet.
///
/// # Errors
/// Every mistake in every file, as problems.
pub fn load(_dir: &Path, _name: &str) -> Result<Environment, Failure> {
    Err(Failure::new(Kind::Usage, "not written yet"))
}

/// The same environment with its secrets: read, run, or made once.
///
/// # Errors
/// [`Kind::Secret`], naming every secret that cannot be had and where it is declared.
pub fn resolve(_environment: Environment) -> Result<Environment, Failure> {
    Err(Failure::new(Kind::Secret, "not written yet"))
}

/// The JSON Schema (draft 2020-12) of an environment file.
pub fn schema() -> serde_json::Value {
    serde_json::Value::Null
}
