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

    /// The containers of a project, for `ps`, by service.
    ///
    /// # Errors
    /// [`Kind::Unreachable`] where the engine does not answer.
    pub async fn containers(&self, _project: &str) -> Result<Vec<ContainerRow>, Failure> {
        Ok(Vec::new())
    }

    /// Gives the log of a container line by line, control characters escaped: its last `tail` lines (all for `None`), and with
    /// `follow` what comes after, until it stops.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub async fn logs(
        &self,
        _container: &str,
        _follow: bool,
        _tail: Option<usize>,
        _on_line: &mut (dyn FnMut(&str) + Send),
    ) -> Result<(), Trouble> {
        Ok(())
    }

    /// Runs a command in a container with our own stdin, stdout and stderr, and returns its exit code.
    ///
    /// # Errors
    /// Why it could not be run.
    pub async fn exec(
        &self,
        _container: &str,
        _argv: &[String],
        _tty: bool,
    ) -> Result<i32, Trouble> {
        Ok(0)
    }
}

/// A container of a project, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerRow {
    /// The Compose service.
    pub service: String,
    /// Its name.
    pub name: String,
    /// `running`, `exited`, ...
    pub state: String,
    /// `starting`, `healthy`, `unhealthy`; empty without a health check.
    pub health: String,
    /// The tag of its image.
    pub image: String,
    /// `127.0.0.1:15432->5432`.
    pub ports: Vec<String>,
    /// `Up 2 minutes`.
    pub uptime: String,
}
