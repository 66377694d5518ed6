//! The one place that reaches a machine: its Docker engine, the databases inside its containers, and the folder of generated
//! files.
//!
//! [`machine`] is a server over SSH, or this machine; [`engine`] speaks to the engine (bollard lives there only); [`psql`] and [`mariadb`] write what their clients are fed and
//! read what comes back; [`folder`] and [`ports`] are the machine itself; [`probe`] and [`login`] see whether a thing works.

mod compose;
mod context;
mod databases;
mod engine;
mod folder;
mod frames;
mod lexer;
pub mod login;
mod machine;
mod mariadb;
mod ports;
mod probe;
mod psql;
mod say;
mod sql;
pub(crate) mod tree;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::command::{Answers, Do, Place, Script, Server, Sheet, SqlStep, THIS};
use crate::declaration::Environment;
use crate::error::{Failure, Kind};
use crate::resource::Probe;
use crate::services::hosts;

pub use engine::ContainerRow;

/// What an environment is applied to: a Docker engine, or machines.
pub struct Target {
    engine: Option<engine::Engine>,
    machines: BTreeMap<Arc<str>, machine::Remote>,
    project: String,
    folder: std::path::PathBuf,
    logins: databases::Logins,
    hashes: compose::Hashes,
}

/// How machines are reached.
#[derive(Clone, Debug)]
pub struct Reach {
    /// How many machines are spoken to at the same time.
    pub parallel: usize,
    /// Whether a connection is kept for the next command, for 60 seconds.
    pub persist: bool,
}

impl Default for Reach {
    fn default() -> Self {
        Reach {
            parallel: 32,
            persist: true,
        }
    }
}

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

impl Trouble {
    /// It did not happen.
    fn failed(message: impl Into<String>) -> Self {
        Trouble {
            kind: Kind::Failed,
            message: message.into(),
            log: Vec::new(),
            unknown: false,
        }
    }

    /// Nobody can say whether it happened.
    fn unknown(message: impl Into<String>) -> Self {
        Trouble {
            unknown: true,
            ..Trouble::failed(message)
        }
    }

    /// The same, of another kind.
    fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// The same with the last lines of a log.
    fn log(mut self, log: Vec<String>) -> Self {
        self.log = log;
        self
    }
}

impl Target {
    /// Connects to the engine of an environment, or gets ready to speak to its machines: those are connected when they are first
    /// asked, and one that cannot be reached is an answer.
    ///
    /// # Errors
    /// [`Kind::Unreachable`]: no engine, or no permission, with what to start.
    pub async fn connect(environment: &Environment, reach: &Reach) -> Result<Self, Failure> {
        let engine = match environment.driver.is_engine() {
            true => Some(engine::Engine::connect().await?),
            false => None,
        };
        let machines = hosts::machines(environment)
            .into_iter()
            .map(|machine| {
                (
                    Arc::clone(&machine.name),
                    machine::Remote::new(machine, reach),
                )
            })
            .collect();
        Ok(Target {
            engine,
            machines,
            project: environment.project.clone(),
            folder: environment.folder.clone(),
            logins: databases::Logins::default(),
            hashes: compose::Hashes::default(),
        })
    }

    /// Where it is, for people: `Docker engine at /var/run/docker.sock`, `2 servers`, `this machine`.
    pub fn says(&self) -> String {
        match &self.engine {
            Some(engine) => format!("Docker engine at {}", engine.address()),
            None if self.machines.contains_key(THIS) => "this machine".to_owned(),
            None if self.machines.len() == 1 => "1 server".to_owned(),
            None => format!("{} servers", self.machines.len()),
        }
    }

    /// Asks everything of a sheet: the engine and the folder in one go, then every database server, side by side; every machine
    /// in one trip, side by side. Failures are answers.
    ///
    /// # Errors
    /// [`Kind::Unreachable`] where the engine itself does not answer.
    pub async fn look(&self, sheet: &Sheet) -> Result<Answers, Failure> {
        let mut answers = self.look_at_machines(sheet).await;
        if let Some(engine) = &self.engine {
            answers.extend(self.look_at_engine(engine, sheet).await?);
        }
        Ok(answers)
    }

    async fn look_at_engine(
        &self,
        engine: &engine::Engine,
        sheet: &Sheet,
    ) -> Result<Answers, Failure> {
        let files = folder::look(&self.folder, sheet);
        let asked = async {
            let containers = engine.containers().await?;
            let (databases, rest) = tokio::join!(
                databases::look(engine, &self.logins, sheet, &containers),
                engine.look(sheet, &containers)
            );
            let mut answers = databases;
            answers.extend(rest);
            Ok::<_, Failure>(answers)
        };
        let (files, answers) = tokio::join!(files, asked);
        let mut answers = answers?;
        answers.extend(files);
        Ok(answers)
    }

    async fn look_at_machines(&self, sheet: &Sheet) -> Answers {
        let asked = sheet.machines.iter().filter_map(|(name, items)| {
            let machine = self.machines.get(name)?;
            Some(machine.look(&sheet.questions, items))
        });
        let mut answers = Answers::default();
        for of_one in futures_util::future::join_all(asked).await {
            answers.extend(of_one);
        }
        answers
    }

    /// The engine, where there is one.
    fn engine(&self) -> Result<&engine::Engine, Trouble> {
        let none = || Trouble::failed("this environment is not applied to a Docker engine");
        self.engine.as_ref().ok_or_else(none)
    }

    /// Runs scripts on a machine in order, in one stream; those after the first that fails do not run. `done` hears the index of
    /// each that is done.
    ///
    /// # Errors
    /// The index of the script that failed, and why.
    pub async fn run(
        &self,
        machine: &str,
        scripts: &[(Script, Duration)],
        done: &(dyn Fn(usize) + Send + Sync),
    ) -> Result<(), (usize, Trouble)> {
        match self.machines.get(machine) {
            Some(machine) => machine.run(scripts, done).await,
            None => Err((
                0,
                Trouble::failed(format!("there is no machine `{machine}`")),
            )),
        }
    }

    /// Carries out one effect that is not SQL. `talk` hears a line now and then (a pull's progress).
    ///
    /// # Errors
    /// Why not.
    pub async fn act(
        &self,
        place: &Place,
        what: &Do,
        deadline: Duration,
        talk: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<(), Trouble> {
        let effect = async {
            match (what, place) {
                (Do::Write(file), _) => folder::write(&self.folder, file).await,
                (Do::Unlink(path), _) => folder::unlink(&self.folder, path).await,
                (Do::Engine(action), _) => self.engine_action(action, deadline, talk).await,
                (Do::Script(script), Place::Machine(machine)) => {
                    let scripts = [(script.clone(), deadline)];
                    let ran = self.run(machine, &scripts, &|_| ()).await;
                    ran.map_err(|(_, trouble)| trouble)
                }
                (Do::Script(_), _) => Err(Trouble::failed("there is no machine to tell")),
                (Do::Restart, Place::Sql(server, _)) => self.restart(server, deadline).await,
                (Do::Restart, _) => Err(Trouble::failed("there is no server to restart")),
                (Do::Sql { text, transaction }, Place::Sql(server, database)) => {
                    let step = SqlStep {
                        database: database.clone(),
                        text: text.clone(),
                        transaction: *transaction,
                        remember: None,
                        forget: None,
                    };
                    let ran = self.sql(server, &[step], deadline, &|_| ()).await;
                    ran.map_err(|(_, trouble)| trouble)
                }
                (Do::Sql { .. }, _) => Err(Trouble::failed("there is no server to tell")),
            }
        };
        match tokio::time::timeout(deadline, effect).await {
            Ok(done) => done,
            Err(_) => Err(Trouble::unknown(format!(
                "it took longer than {} s",
                deadline.as_secs()
            ))),
        }
    }

    /// Runs SQL steps of one server in one trip, in order, stopping at the first that fails. `done` hears the index of each that
    /// is done.
    ///
    /// # Errors
    /// The index of the step that failed, and why.
    pub async fn sql(
        &self,
        server: &Server,
        steps: &[SqlStep],
        deadline: Duration,
        done: &(dyn Fn(usize) + Send + Sync),
    ) -> Result<(), (usize, Trouble)> {
        if steps.is_empty() {
            return Ok(());
        }
        let engine = self.engine().map_err(|trouble| (0, trouble))?;
        let container = self.running(&server.service).await.map_err(|t| (0, t))?;
        let login = self.logins.of(server);
        sql::run(engine, &container, server, &login, steps, deadline, done).await
    }

    /// Whether a thing really works: once, without waiting.
    ///
    /// # Errors
    /// What it said instead.
    pub async fn probe(&self, probe: &Probe) -> Result<(), String> {
        let engine = self.engine().map_err(|trouble| trouble.message)?;
        probe::probe(engine, &self.project, probe).await
    }

    /// The last lines of a service's container, control characters escaped.
    pub async fn log_tail(&self, service: &str, lines: usize) -> Vec<String> {
        let Ok(engine) = self.engine() else {
            return Vec::new();
        };
        match engine.find(&self.project, service).await {
            Ok(Some(container)) => engine.log_tail(&container.id, lines).await,
            _ => Vec::new(),
        }
    }

    /// The containers of a project, for `ps`, by service.
    ///
    /// # Errors
    /// [`Kind::Unreachable`] where the engine does not answer.
    pub async fn containers(&self, project: &str) -> Result<Vec<ContainerRow>, Failure> {
        match self.engine() {
            Ok(engine) => engine.rows(project).await,
            Err(trouble) => Err(Failure::new(Kind::Usage, trouble.message)),
        }
    }

    /// Gives the log of a container line by line, control characters escaped: its last `tail` lines (all for `None`), and with
    /// `follow` what comes after, until it stops.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub async fn logs(
        &self,
        container: &str,
        follow: bool,
        tail: Option<usize>,
        on_line: &mut (dyn FnMut(&str) + Send),
    ) -> Result<(), Trouble> {
        self.engine()?.logs(container, follow, tail, on_line).await
    }

    /// Runs a command in a container with our own stdin, stdout and stderr, and returns its exit code. `tty`: with a terminal,
    /// where `docker` is there to lend one.
    ///
    /// # Errors
    /// Why it could not be run.
    pub async fn exec(&self, container: &str, argv: &[String], tty: bool) -> Result<i32, Trouble> {
        self.engine()?.pass_through(container, argv, tty).await
    }

    /// The running container of a service.
    async fn running(&self, service: &str) -> Result<String, Trouble> {
        match self.engine()?.find(&self.project, service).await {
            Err(failure) => Err(Trouble::failed(failure.message).kind(failure.kind)),
            Ok(Some(container)) if container.state == "running" => Ok(container.id),
            Ok(_) => Err(Trouble::failed(format!("`{service}` is not running"))),
        }
    }

    async fn restart(&self, server: &Server, deadline: Duration) -> Result<(), Trouble> {
        let container = self.running(&server.service).await?;
        let engine = self.engine()?;
        engine.restart(&container).await?;
        engine.wait_healthy(&container, deadline).await?;
        databases::wait_until_it_answers(engine, &self.logins, server, &container).await
    }
}
