//! The one place that reaches a machine: its Docker engine, the databases inside its containers, and the folder of generated
//! files.

pub mod login;

use std::time::Duration;

use crate::command::{Answers, Do, Place, Server, Sheet, SqlStep};
use crate::declaration::Environment;
use crate::error::{Failure, Kind};
use crate::resource::Probe;

/// What an environment is applied to.
pub struct Target {}

/// Why an effect did not happen, or cannot be told to have happened.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// Makes the exit code.
    pub kind: Kind,
    /// One sentence; no secret, no control character.
    pub message: String,
    /// Last lines of a log that say more.
    pub log: Vec<String>,
    /// Whether it may have happened all the same.
    pub unknown: bool,
}

impl Target {
    /// Connects to the engine of an environment.
    ///
    /// # Errors
    /// [`Kind::Unreachable`]: no engine, or no permission, with what to start.
    pub async fn connect(_environment: &Environment) -> Result<Self, Failure> {
        Err(Failure::new(Kind::Unreachable, "not written yet"))
    }

    /// Where it is, for people: `Docker engine at /var/run/docker.sock`.
    pub fn says(&self) -> String {
        String::new()
    }

    /// Asks everything of a sheet: the engine and the folder in one go, then every database server, side by side. Failures are
    /// answers.
    ///
    /// # Errors
    /// [`Kind::Unreachable`] where the engine itself does not answer.
    pub async fn look(&self, _sheet: &Sheet) -> Result<Answers, Failure> {
        Ok(Answers::default())
    }

    /// Carries out one effect that is not SQL. `talk` hears a line now and then (a pull's progress).
    ///
    /// # Errors
    /// Why not.
    pub async fn act(
        &self,
        _place: &Place,
        _what: &Do,
        _deadline: Duration,
        _talk: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<(), Trouble> {
        Ok(())
    }

    /// Runs SQL steps of one server in one trip, in order, stopping at the first that fails. `done` hears the index of each that
    /// is done.
    ///
    /// # Errors
    /// The index of the step that failed, and why.
    pub async fn sql(
        &self,
        _server: &Server,
        _steps: &[SqlStep],
        _deadline: Duration,
        _done: &(dyn Fn(usize) + Send + Sync),
    ) -> Result<(), (usize, Trouble)> {
        Ok(())
    }

    /// Whether a thing really works: once, without waiting.
    ///
    /// # Errors
    /// What it said instead.
    pub async fn probe(&self, _probe: &Probe) -> Result<(), String> {
        Ok(())
    }

    /// The last lines of a service's container, control characters escaped.
    pub async fn log_tail(&self, _service: &str, _lines: usize) -> Vec<String> {
        Vec::new()
    }
}
