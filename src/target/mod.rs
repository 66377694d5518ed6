//! The one place that reaches a machine: its Docker engine, the databases inside its containers, and the folder of generated
//! files.
//!
//! [`machine`] is a server over SSH, or this machine; [`engine`] speaks to the engine (bollard lives there only); [`psql`] and [`mariadb`] write what their clients are fed and
//! read what comes back; [`folder`] and [`ports`] are the machine itself; [`probe`] and [`login`] see whether a thing works.

mod clients;
mod compose;
mod context;
mod databases;
mod engine;
mod folder;
pub mod forward;
mod frames;
mod lexer;
mod local;
pub mod login;
mod machine;
mod mariadb;
mod ports;
mod probe;
mod psql;
mod relay;
mod remote_folder;
mod say;
mod session;
mod sql;
mod ssh;
pub(crate) mod tree;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::checks::LogIn;
use crate::command::{
    Answer, Answers, Denial, Dialect, Do, Machine, Place, Route, Row, Script, Seat, Server, Sheet,
    SqlStep, Sudo, THIS,
};
use crate::declaration::Environment;
use crate::error::{Failure, Kind};
use crate::fault::{Effect, Point};
use crate::plan::journal::Note;
use crate::resource::Probe;
use crate::secret::Secret;
use crate::services::hosts;

pub use engine::ContainerRow;
pub use ssh::{HostKey, fingerprint};

/// How long who has the first lock waits for those that another run gives back.
const YIELDING: Duration = Duration::from_secs(8);

/// Lines of a server's log shown where it cannot be restarted.
const RESTART_LOG: usize = 15;

/// Open files that a machine takes, and that we take ourselves.
const FILES: u64 = 8;
const OWN_FILES: u64 = 40;

/// What an environment is applied to: a Docker engine, or machines.
pub struct Target {
    engine: Option<engine::Engine>,
    machines: BTreeMap<Arc<str>, machine::Remote>,
    /// Passwords of the administrators of managed servers, by service, and whether the server is known to have no TLS.
    passwords: HashMap<String, (Secret, AtomicBool)>,
    project: String,
    /// The folder of generated files, on this machine or on the host of the engine.
    folder: std::path::PathBuf,
    /// The host whose engine it is; none for this machine's.
    engine_host: Option<Arc<str>>,
    logins: databases::Logins,
    proven: probe::Proven,
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

/// Becomes true when nothing more is to be begun.
pub type Stop = tokio::sync::watch::Receiver<bool>;

/// Why an effect did not happen, or cannot be told to have happened.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// Makes the exit code.
    pub kind: Kind,
    /// One sentence; no secret, no control character.
    pub message: String,
    /// Last lines of a log that say more.
    pub log: Vec<String>,
    /// The end of all that was said, for who looks for its cause: never shown, since nobody made it fit for that.
    pub said: Box<str>,
    /// What to try.
    pub hints: Box<[String]>,
    /// Whether it may have happened all the same.
    pub unknown: bool,
    /// So many steps behind it had been sent ahead, and may have happened too.
    pub ahead: usize,
    /// Volumes that were made for it in this run and are removed again.
    pub undone: Box<[String]>,
}

impl Trouble {
    /// It did not happen.
    pub fn failed(message: impl Into<String>) -> Self {
        Trouble {
            kind: Kind::Failed,
            message: message.into(),
            log: Vec::new(),
            said: Box::default(),
            hints: Box::default(),
            unknown: false,
            ahead: 0,
            undone: Box::default(),
        }
    }

    /// It was not begun, since nothing more was to be begun.
    fn halted() -> Self {
        Trouble::failed("it was not begun").kind(Kind::Interrupted)
    }

    /// Nobody can say whether it happened.
    pub fn unknown(message: impl Into<String>) -> Self {
        Trouble {
            unknown: true,
            ..Trouble::failed(message)
        }
    }

    /// The same, of another kind.
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// The same with all that was said.
    fn said(mut self, said: &str) -> Self {
        self.said = said.into();
        self
    }

    /// The same with the last lines of a log.
    pub fn log(mut self, log: Vec<String>) -> Self {
        self.log = log;
        self
    }
}

impl Target {
    /// The key that a machine shows right now. Nobody logs in.
    ///
    /// # Errors
    /// [`Kind::Unreachable`] where it shows none, [`Kind::Usage`] where it is not reached over SSH.
    pub async fn host_key(
        environment: &Environment,
        machine: &Machine,
    ) -> Result<HostKey, Failure> {
        let ways = machine::Ways::new(environment, &Reach::default());
        ssh::host_key(&ways.way(machine)?).await
    }

    /// Connects to the engine of an environment, or gets ready to speak to its machines: those are connected when they are first
    /// asked, and one that cannot be reached is an answer.
    ///
    /// # Errors
    /// [`Kind::Unreachable`]: no engine, or no permission, with what to start.
    pub async fn connect(environment: &Environment, reach: &Reach) -> Result<Self, Failure> {
        let mut target = Target::with(environment, reach, hosts::machines(environment));
        if environment.driver.is_engine() {
            target.engine = Some(match target.host() {
                None => engine::Engine::connect().await?,
                Some(host) => {
                    let socket = hosts::engine_socket(environment);
                    engine::Engine::through(host.relay(&socket).await?, host.name()).await?
                }
            });
        }
        Ok(target)
    }

    /// The same for who wants to reach something through machines and needs no root on them.
    ///
    /// # Errors
    /// As of [`Target::connect`].
    pub async fn connect_as_user(
        environment: &Environment,
        reach: &Reach,
    ) -> Result<Self, Failure> {
        let machines = hosts::machines(environment).into_iter();
        let plain = |machine| Machine {
            sudo: Sudo::No,
            ..machine
        };
        Ok(Target::with(
            environment,
            reach,
            machines.map(plain).collect(),
        ))
    }

    /// Ready to speak to machines, and to no engine yet.
    fn with(environment: &Environment, reach: &Reach, machines: Vec<Machine>) -> Self {
        let ways = machine::Ways::new(environment, reach);
        let machines = machines
            .into_iter()
            .map(|machine| {
                (
                    Arc::clone(&machine.name),
                    machine::Remote::new(machine, &ways),
                )
            })
            .collect();
        Target {
            engine: None,
            machines,
            passwords: passwords(environment),
            project: environment.project.clone(),
            folder: environment.engine_folder(),
            engine_host: environment.engine_host.clone(),
            logins: databases::Logins::default(),
            proven: probe::Proven::default(),
            hashes: compose::Hashes::default(),
        }
    }

    /// The host whose engine it is; none for this machine's.
    fn host(&self) -> Option<&machine::Remote> {
        self.machines.get(self.engine_host.as_ref()?)
    }

    /// Whether so many machines can be spoken to.
    ///
    /// # Errors
    /// [`Kind::Failed`] where this process may not have enough open files.
    pub fn room_for(machines: usize) -> Result<(), Failure> {
        let wanted = OWN_FILES + machines as u64 * FILES;
        match local::files().filter(|may| *may < wanted) {
            None => Ok(()),
            Some(may) => Err(Failure::new(
                Kind::Failed,
                format!(
                    "{machines} machines take {wanted} open files, and only {may} are allowed here"
                ),
            )
            .hint(format!(
                "say `ulimit -n {wanted}` before, or take fewer with `--host`"
            ))),
        }
    }

    /// Why there is no Docker engine on this machine; none where one is there, to be connected to.
    pub async fn no_engine() -> Option<String> {
        engine::Engine::is_absent().await
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
        let engine = async {
            match &self.engine {
                Some(engine) => self.look_at_engine(engine, sheet).await,
                None => Ok(Answers::default()),
            }
        };
        // What is asked of a machine and of its databases at the same time goes down its session in one go.
        let (mut answers, databases, engine) = tokio::join!(
            self.look_at_machines(sheet),
            self.look_at_databases(sheet, None),
            engine
        );
        answers.extend(databases);
        answers.extend(engine?);
        Ok(answers)
    }

    /// Asks the databases that are in containers, or those that are not.
    async fn look_at_databases(
        &self,
        sheet: &Sheet,
        containers: Option<(&engine::Engine, &[engine::Listed])>,
    ) -> Answers {
        let inside = |server: &Server| server.seat == Seat::Container;
        let asked = sheet
            .servers
            .iter()
            .filter(|(server, _)| inside(server) == containers.is_some())
            .map(|(server, inquiry)| databases::Asked {
                server,
                inquiry,
                clients: match containers {
                    Some((engine, containers)) => {
                        databases::in_container(engine, &sheet.project, &server.service, containers)
                    }
                    None => self
                        .on_machine(server)
                        .map_err(|trouble| databases::Closed::Unreadable(trouble.message)),
                },
            });
        databases::look(sheet, &self.logins, asked.collect()).await
    }

    async fn look_at_engine(
        &self,
        engine: &engine::Engine,
        sheet: &Sheet,
    ) -> Result<Answers, Failure> {
        let files = async {
            match self.host() {
                None => folder::look(&self.folder, sheet).await,
                Some(host) => remote_folder::look(host, &self.folder, sheet).await,
            }
        };
        let asked = async {
            let (containers, ports) = tokio::join!(engine.containers(), self.ports(sheet));
            let containers = containers?;
            let (databases, rest) = tokio::join!(
                self.look_at_databases(sheet, Some((engine, &containers))),
                engine.look(sheet, &containers, &ports)
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

    /// The ports of the engine's machine.
    async fn ports(&self, sheet: &Sheet) -> ports::Ports {
        match self.host().filter(|_| !sheet.ports.is_empty()) {
            None => ports::Ports::Here,
            Some(host) => match host.ask_one(ports::LISTENERS, vec!["all".to_owned()]).await {
                Answer::Rows(rows) => {
                    let text = |row: &Row, column| {
                        let value = row.get(column).and_then(serde_json::Value::as_str);
                        value.unwrap_or_default().to_owned()
                    };
                    let all = rows.keys().into_iter().flat_map(|key| rows.of(key));
                    let all = all
                        .filter_map(|row| ports::Listener::of(&text(row, "key"), &text(row, "by")));
                    ports::Ports::There(all.collect())
                }
                // Who cannot see them finds out when a container starts.
                _ => ports::Ports::There(Vec::new()),
            },
        }
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

    /// The machines that could not be reached so far, each with why.
    pub fn unreached(&self) -> Vec<(Arc<str>, Failure)> {
        let machines = self.machines.iter();
        machines
            .filter_map(|(name, machine)| Some((Arc::clone(name), machine.unreached()?)))
            .collect()
    }

    /// Takes the lock of the project on machines, side by side. It is held there, for as long as a script of ours runs; it goes
    /// with this target. One that cannot be reached is locked when it can, and told by whoever asks it something. Says whether all
    /// were had at once: what was seen meanwhile is then what they are.
    ///
    /// Of two runs that begin at the same time one has to get them all: who does not get the first machine by name gives back all
    /// others, and who has it waits a moment for them.
    ///
    /// # Errors
    /// [`Kind::Locked`] with its holder; [`Kind::Failed`] where it cannot be had.
    pub async fn lock_machines(
        &self,
        machines: impl IntoIterator<Item = Arc<str>>,
        doing: &str,
        seat: &str,
    ) -> Result<bool, Failure> {
        let names: std::collections::BTreeSet<_> = machines.into_iter().collect();
        let machines = names.iter().filter_map(|name| self.machines.get(name));
        let machines: Vec<_> = machines.collect();
        let mut left = machines.clone();
        let mut failures: Vec<Failure> = Vec::new();
        let began = std::time::Instant::now();
        let mut at_once = true;
        loop {
            let locks = left
                .iter()
                .map(|machine| machine.lock(&self.project, doing, seat));
            let taken = futures_util::future::join_all(locks).await;
            let mut locked = Vec::new();
            let mut first = None;
            for (machine, taken) in left.into_iter().zip(taken) {
                match taken {
                    Err(failure) if failure.kind == Kind::Unreachable => continue,
                    Err(failure) if failure.kind == Kind::Locked => {
                        locked.push((machine, failure));
                        first.get_or_insert(false);
                    }
                    Err(failure) => failures.push(failure),
                    Ok(()) => {
                        first.get_or_insert(true);
                    }
                }
            }
            // Whoever holds none of those before holds the first, and gives nothing back.
            let waits = (first == Some(true) || !at_once) && began.elapsed() < YIELDING;
            if locked.is_empty() || !failures.is_empty() || !waits {
                failures.extend(locked.into_iter().map(|(_, failure)| failure));
                break;
            }
            at_once = false;
            left = locked.into_iter().map(|(machine, _)| machine).collect();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let strongest = Kind::strongest(failures.iter().map(|failure| failure.kind));
        let (mut first, others): (Vec<_>, Vec<_>) = failures
            .into_iter()
            .partition(|failure| Some(failure.kind) == strongest);
        let Some(mut failure) = (!first.is_empty()).then(|| first.remove(0)) else {
            return Ok(at_once);
        };
        // What is said once is said now.
        for other in first.into_iter().chain(others) {
            failure = failure.hint(other.message);
        }
        for machine in machines {
            machine.unlock().await;
        }
        Err(failure)
    }

    /// Runs scripts on a machine in order, in one stream; those after the first that fails do not run. `done` hears the index of
    /// each that is done. Once it is said to stop, no other begins than the one that runs. What its journal says of them goes with
    /// them: one note a script, or none at all.
    ///
    /// # Errors
    /// The index of the script that failed, and why; [`Kind::Interrupted`] and that of the first that was not begun.
    pub async fn run(
        &self,
        machine: &str,
        scripts: &[(Script, Duration)],
        notes: &[Note],
        stop: Option<&Stop>,
        done: &(dyn Fn(usize) + Send + Sync),
    ) -> Result<(), (usize, Trouble)> {
        let machine = self.remote(machine).map_err(|trouble| (0, trouble))?;
        machine.run(scripts, notes, stop, done).await
    }

    /// From now on what scripts do on a machine is written down there too, in a file that begins with this text.
    pub async fn keep_journal(&self, machine: &str, path: &str, text: String) {
        if let Ok(machine) = self.remote(machine) {
            machine.keep_journal(path.to_owned(), text).await;
        }
    }

    /// Begins the journal of a run on a machine at once.
    ///
    /// # Errors
    /// Where it cannot be written, or a later version of the program wrote the one before: then nothing may be done.
    pub async fn open_journal(
        &self,
        machine: &str,
        path: &str,
        text: String,
    ) -> Result<(), Failure> {
        let opened = async {
            let machine = self.remote(machine)?;
            machine.keep_journal(path.to_owned(), text).await;
            machine.open_journal().await
        };
        opened.await.map_err(|trouble| {
            trouble
                .log
                .into_iter()
                .fold(Failure::new(trouble.kind, trouble.message), Failure::hint)
        })
    }

    /// Writes the last lines of the journals of machines, side by side; gives those on which that could not be done.
    pub async fn end_journals(&self, over: &str) -> Vec<(Arc<str>, Trouble)> {
        let ended = self.machines.iter().map(|(name, machine)| async move {
            let ended = machine.end_journal(over).await;
            Some((Arc::clone(name), ended.err()?))
        });
        let ended = futures_util::future::join_all(ended).await;
        ended.into_iter().flatten().collect()
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
                (Do::Write(file), _) => match &self.engine_host {
                    None => folder::write(&self.folder, file).await,
                    Some(host) => {
                        let script = remote_folder::write(&self.folder, file);
                        self.on_host(host, script).await
                    }
                },
                (Do::Unlink(path), _) => match &self.engine_host {
                    None => folder::unlink(&self.folder, path).await,
                    Some(host) => {
                        let script = remote_folder::unlink(&self.folder, path);
                        self.on_host(host, script).await
                    }
                },
                (Do::Engine(action), _) => self.engine_action(action, deadline, talk).await,
                (Do::Script(script), Place::Machine(machine)) => {
                    let scripts = [(script.clone(), deadline)];
                    let ran = self.run(machine, &scripts, &[], None, &|_| ()).await;
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
        let clients = self.clients(server).await.map_err(|t| (0, t))?;
        let login = self.logins.of(server);
        let effect = std::sync::Mutex::new(Effect::begin());
        let heard = |at: usize| {
            let mut effect = effect.lock().unwrap_or_else(PoisonError::into_inner);
            effect.at(Point::Between);
            done(at);
            effect.at(Point::After);
            if at + 1 < steps.len() {
                *effect = Effect::begin();
            }
        };
        sql::run(&clients, server, &login, steps, deadline, &heard).await
    }

    /// The clients of a server, wherever they are started.
    async fn clients<'a>(&'a self, server: &'a Server) -> Result<clients::Clients<'a>, Trouble> {
        match &server.seat {
            Seat::Container => {
                let container = self.running(&server.service).await?;
                Ok(clients::Clients::inside(self.engine()?, &container))
            }
            _ => self.on_machine(server),
        }
    }

    /// The clients of a server that is in no container.
    fn on_machine<'a>(&'a self, server: &'a Server) -> Result<clients::Clients<'a>, Trouble> {
        match &server.seat {
            Seat::Container => Err(Trouble::failed(format!(
                "`{}` is in a container",
                server.service
            ))),
            Seat::Machine { name, port } => Ok(clients::Clients::Machine {
                remote: self.remote(name)?,
                port: *port,
            }),
            Seat::Network { from, host, port } => {
                let (password, plain) = self.passwords.get(&server.service).ok_or_else(|| {
                    let why = format!("nobody knows the password of `{}`", server.superuser);
                    Trouble::failed(why).kind(Kind::Secret)
                })?;
                Ok(clients::Clients::Network {
                    remote: self.remote(from)?,
                    host,
                    port: *port,
                    password: password.clone(),
                    plain,
                })
            }
        }
    }

    /// A machine by its name.
    fn remote(&self, name: &str) -> Result<&machine::Remote, Trouble> {
        self.machines
            .get(name)
            .ok_or_else(|| Trouble::failed(format!("there is no machine `{name}`")))
    }

    /// Whether a thing really works: once, without waiting.
    ///
    /// # Errors
    /// What it said instead.
    pub async fn probe(&self, probe: &Probe) -> Result<(), String> {
        match probe {
            // Its logins are tried each for itself, by `log_in`: who knows what is declared judges them.
            Probe::Login { .. } => Ok(()),
            Probe::Http {
                service,
                published,
                port,
                path,
                host,
            } => {
                let (address, port) = match published {
                    Some((address, port)) => (probe::reachable(address).to_owned(), *port),
                    None => (self.address_of(service).await?, *port),
                };
                match self.host() {
                    None => probe::get_here(&address, port, path, host).await,
                    Some(remote) => probe::get_from(remote, &address, port, path, host).await,
                }
            }
            Probe::HttpOn {
                machine,
                address,
                port,
                path,
                host,
                ..
            } => {
                let remote = self.remote(machine).map_err(|trouble| trouble.message)?;
                probe::get_from(remote, address, *port, path, host).await
            }
        }
    }

    /// Logs in to a server over a route, and leaves again.
    async fn login(
        &self,
        server: &Server,
        route: &Route,
        who: login::Who<'_>,
    ) -> Result<(), String> {
        match (route, &server.seat) {
            (Route::Port(address, port), _) => {
                let address = probe::reachable(address);
                match self.host() {
                    None => probe::login_here(server.dialect, address, *port, who).await,
                    Some(remote) => {
                        probe::login_from(remote, server.dialect, address, *port, who).await
                    }
                }
            }
            (Route::From(machine, address, port), _) => {
                let remote = self.remote(machine).map_err(|trouble| trouble.message)?;
                probe::login_from(remote, server.dialect, address, *port, who).await
            }
            (Route::Own, Seat::Container) => {
                let engine = self.engine().map_err(|trouble| trouble.message)?;
                let running = self.running(&server.service).await;
                let container = running.map_err(|trouble| trouble.message)?;
                let near = probe::Near {
                    engine,
                    host: self.host(),
                    proven: &self.proven,
                };
                probe::login_container(near, &container.id, server.dialect, who).await
            }
            (Route::Own, Seat::Machine { name, port }) => {
                let remote = self.remote(name).map_err(|trouble| trouble.message)?;
                probe::login_from(remote, server.dialect, "127.0.0.1", *port, who).await
            }
            (Route::Own, Seat::Network { from, host, port }) => {
                let remote = self.remote(from).map_err(|trouble| trouble.message)?;
                probe::login_from(remote, server.dialect, host, *port, who).await
            }
        }
    }

    /// Does what a login says, and leaves again.
    ///
    /// # Errors
    /// Refused, with the server's own code, or nobody could be asked.
    pub async fn log_in(&self, login: &LogIn) -> Result<(), Denial> {
        let who = login::Who {
            user: &login.user,
            database: login.database.as_deref(),
            table: login.table.as_deref(),
            password: &login.password,
        };
        let done = self.login(&login.server, &login.route, who).await;
        done.map_err(|why| Denial {
            code: login::code(&why).map(str::to_owned),
            refused: login::is_refusal(&why),
            why,
        })
    }

    /// Whether what is behind a port speaks what it should: a database's protocol, or HTTP.
    ///
    /// # Errors
    /// What is there instead.
    pub async fn identify(&self, route: &Route, dialect: Option<Dialect>) -> Result<(), String> {
        let (remote, address, port) = match route {
            Route::Port(address, port) => (self.host(), probe::reachable(address), *port),
            Route::From(machine, address, port) => {
                let remote = self.remote(machine).map_err(|trouble| trouble.message)?;
                (Some(remote), address.as_str(), *port)
            }
            Route::Own => return Err("there is no port".to_owned()),
        };
        probe::identify(remote, address, port, dialect).await
    }

    /// The address of a service's container on its network.
    async fn address_of(&self, service: &str) -> Result<String, String> {
        let engine = self.engine().map_err(|trouble| trouble.message)?;
        let running = self.running(service).await;
        let container = running.map_err(|trouble| trouble.message)?;
        let address = engine.address_of(&container.id).await;
        address.ok_or(format!("`{service}` has no address on its network"))
    }

    /// The last lines that a server on a machine has logged.
    async fn log_of(&self, server: &Server, lines: usize) -> Vec<String> {
        match &server.seat {
            Seat::Machine { name, .. } => match self.remote(name) {
                Ok(remote) => databases::log_tail(remote, server.dialect, lines).await,
                Err(_) => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    /// The last lines that what is probed has logged, control characters escaped.
    pub async fn log_tail(&self, probe: &Probe, lines: usize) -> Vec<String> {
        let (service, server) = match probe {
            Probe::Login { server, .. } => (&server.service, Some(server)),
            Probe::Http { service, .. } => (service, None),
            // The unit that serves it has its name.
            Probe::HttpOn {
                machine, service, ..
            } => {
                return match self.remote(machine) {
                    Ok(remote) => databases::log_of(remote, service, lines).await,
                    Err(_) => Vec::new(),
                };
            }
        };
        if let Some(server) = server.filter(|server| server.seat != Seat::Container) {
            return self.log_of(server, lines).await;
        }
        let Ok(engine) = self.engine() else {
            return Vec::new();
        };
        match engine.find(&self.project, service).await {
            Ok(Some(container)) => engine.log_tail(&container.id, lines, true).await,
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
    async fn running(&self, service: &str) -> Result<engine::Listed, Trouble> {
        match self.engine()?.find(&self.project, service).await {
            Err(failure) => Err(Trouble::failed(failure.message).kind(failure.kind)),
            Ok(Some(container)) if container.state == "running" => Ok(container),
            Ok(_) => Err(Trouble::failed(format!("`{service}` is not running"))),
        }
    }

    async fn restart(&self, server: &Server, deadline: Duration) -> Result<(), Trouble> {
        match &server.seat {
            Seat::Container => {
                let container = self.running(&server.service).await?;
                let engine = self.engine()?;
                engine.restart(&container.id).await?;
                engine.wait_healthy(&container.id, deadline).await?;
            }
            Seat::Machine { name, port } => {
                let script = databases::restart(server.dialect, *port);
                let ran = self
                    .run(name, &[(script, deadline)], &[], None, &|_| ())
                    .await;
                if let Err((_, trouble)) = ran {
                    let log = self.log_of(server, RESTART_LOG).await;
                    return Err(trouble.log(log));
                }
            }
            Seat::Network { .. } => {
                return Err(Trouble::failed(format!(
                    "`{}` is managed by somebody else, who has to restart it",
                    server.service
                )));
            }
        }
        let clients = self.clients(server).await?;
        databases::wait_until_it_answers(&clients, &self.logins, server).await
    }
}

/// The passwords of the administrators of managed servers.
fn passwords(environment: &Environment) -> HashMap<String, (Secret, AtomicBool)> {
    let mut passwords = HashMap::new();
    for table in ["postgres", "mariadb"] {
        for (name, entry) in environment.services(table) {
            let external = entry.node.get("external");
            if let Some(password) = external.and_then(|node| node.secret("password")) {
                passwords.insert(name.to_owned(), (password.clone(), AtomicBool::new(false)));
            }
        }
    }
    passwords
}
