//! The client of a database server, wherever it is started: in the server's container, on its machine, or, for a managed server,
//! on a machine that reaches it over the network.
//!
//! In a container and on a machine the client comes in over the server's own socket, as its superuser and without a password. Over
//! the network it has the administrator's, which it reads from its stdin: it stands in no argument, environment or file. TLS is
//! spoken where the server offers it, as `psql` does by itself (`sslmode=prefer`); a `mariadb` that is refused TLS is started
//! again without. Neither sends the password itself, but a proof of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Trouble;
use super::engine::{self, Engine, Exec, Listed, Side};
use super::machine::{Program, Remote};
use super::{mariadb, psql};
use crate::command::Dialect;
use crate::error::Kind;
use crate::secret::Secret;

/// How much a client may say.
const MOST: usize = 64 << 20;

/// Where the client of a server is started.
pub(super) enum Clients<'a> {
    /// In a container that runs.
    Container {
        engine: &'a Engine,
        id: String,
        /// Whether it may still be starting.
        young: bool,
    },
    /// On the server's machine.
    Machine { remote: &'a Remote, port: u16 },
    /// On a machine, over the network.
    Network {
        remote: &'a Remote,
        host: &'a str,
        port: u16,
        password: Secret,
        /// Whether the server has no TLS, once that is known.
        plain: &'a AtomicBool,
    },
}

/// What a client is started for.
pub(super) struct Client<'a> {
    /// The language.
    pub dialect: Dialect,
    /// Who it comes in as.
    pub login: &'a str,
    /// The database it comes into; PostgreSQL's is `postgres` where it is not said.
    pub database: Option<&'a str>,
    /// PostgreSQL: options of the session. MariaDB: its first statement.
    pub session: &'a str,
    /// Goes on after an error (MariaDB; PostgreSQL is told in what it reads).
    pub force: bool,
    /// What it reads.
    pub input: Secret,
    /// The last line of what it says, where that is known.
    pub last: Option<String>,
    /// How long it may take.
    pub deadline: Duration,
    /// Whether it changes something: then it is never started twice, not even after a cut.
    pub once: bool,
}

/// What a client said.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Its stdout.
    pub out: Vec<u8>,
    /// Its stderr.
    pub err: Vec<u8>,
}

/// Why a client could not be started, or is not known to have ended.
pub(super) enum NotRun {
    /// There is nothing to start it in yet: the server `is not running`, `is not installed yet`.
    Down(String),
    /// Anything else.
    Trouble(Trouble),
}

impl NotRun {
    /// For people.
    pub fn words(self) -> String {
        match self {
            NotRun::Down(why) => format!("it {why}"),
            NotRun::Trouble(trouble) => trouble.message,
        }
    }
}

impl<'a> Clients<'a> {
    /// Of a server in a container that runs.
    pub fn inside(engine: &'a Engine, container: &Listed) -> Self {
        Clients::Container {
            engine,
            id: container.id.clone(),
            young: is_young(container),
        }
    }

    /// Whether one client can go from one PostgreSQL database to the next. Over the network each would ask for the password anew.
    pub fn moves(&self) -> bool {
        !matches!(self, Clients::Network { .. })
    }

    /// How many clients are worth starting at the same time for one look: a machine's session runs one after the other.
    pub fn at_once(&self) -> usize {
        match self {
            Clients::Container { .. } => 4,
            _ => 1,
        }
    }

    /// Whether what is there may be half made, since the server listens to nobody else yet.
    pub fn is_young(&self) -> bool {
        matches!(self, Clients::Container { young: true, .. })
    }

    /// Whether a server that nobody answers for is one that something else has to start. A managed one is always there.
    pub fn may_be_stopped(&self) -> bool {
        match self {
            Clients::Container { young, .. } => *young,
            Clients::Machine { .. } => true,
            Clients::Network { .. } => false,
        }
    }

    /// Whether a server must listen to others before it counts as started: in a container its first start does not.
    pub fn must_listen(&self) -> bool {
        matches!(self, Clients::Container { .. })
    }

    /// Whether the login is a superuser.
    pub fn is_superuser(&self) -> bool {
        !matches!(self, Clients::Network { .. })
    }

    /// The superuser that a volume knows instead of the declared one.
    pub async fn other_login(&self) -> Option<String> {
        match self {
            Clients::Container { engine, id, .. } => engine.env_of(id, "POSTGRES_USER").await,
            _ => None,
        }
    }

    /// Whether what the client ran in is gone.
    pub async fn is_gone(&self) -> bool {
        match self {
            Clients::Container { engine, id, .. } => !engine.is_running(id).await,
            _ => false,
        }
    }

    /// Runs a client and returns what it said.
    pub async fn run(&self, client: Client<'_>) -> Result<Heard, NotRun> {
        let mut heard = Heard::default();
        self.stream(client, |side, piece| match side {
            Side::Out => heard.out.extend_from_slice(piece),
            Side::Err => heard.err.extend_from_slice(piece),
        })
        .await?;
        Ok(heard)
    }

    /// Runs a client; `hear` gets what it says, on a machine all at once when it is over.
    pub async fn stream(
        &self,
        client: Client<'_>,
        mut hear: impl FnMut(Side, &[u8]),
    ) -> Result<(), NotRun> {
        match self {
            Clients::Container { engine, id, .. } => {
                let (user, argv, env) = client.inside();
                let exec = Exec {
                    container: id,
                    user: Some(user),
                    argv,
                    env,
                    input: client.input,
                    most: MOST,
                    last: client.last,
                };
                let ran = engine.stream(&exec, hear).await;
                ran.map(|_| ()).map_err(|error| match error {
                    engine::NotRun::Stopped => NotRun::Down("is not running".to_owned()),
                    engine::NotRun::Refused(why) => NotRun::Trouble(Trouble::failed(why)),
                    engine::NotRun::Broken(why) => NotRun::Trouble(Trouble::unknown(why)),
                })
            }
            Clients::Machine { remote, port } => {
                let program = client.on_machine(*port);
                let said = remote.program(program).await.map_err(NotRun::Trouble)?;
                if psql::NOT_THERE.contains(&said.status) {
                    return Err(NotRun::Down("is not installed yet".to_owned()));
                }
                hear(Side::Out, &said.out);
                hear(Side::Err, &said.err);
                Ok(())
            }
            Clients::Network {
                remote,
                host,
                port,
                password,
                plain,
            } => {
                let start = async |tls| {
                    let program = client.over_network(host, *port, password, tls);
                    remote.program(program).await.map_err(NotRun::Trouble)
                };
                let mut said = start(!plain.load(Ordering::Relaxed)).await?;
                // Refused before anything was said to the server, so nothing is done twice.
                let no_tls = String::from_utf8_lossy(&said.err).contains("ERROR 2026 ");
                if client.dialect == Dialect::MariaDb && no_tls && said.out.is_empty() {
                    plain.store(true, Ordering::Relaxed);
                    said = start(false).await?;
                }
                if psql::NOT_THERE.contains(&said.status) {
                    let why = "the machine that should reach it has no client for it: install `postgresql-client` or `mariadb-client`";
                    return Err(NotRun::Trouble(
                        Trouble::failed(why).kind(Kind::Unreachable),
                    ));
                }
                hear(Side::Out, &said.out);
                hear(Side::Err, &said.err);
                Ok(())
            }
        }
    }
}

impl Client<'_> {
    /// User, program and environment in a container.
    fn inside(&self) -> (&'static str, Vec<String>, Vec<String>) {
        match self.dialect {
            // The container's own user: by the local socket that is the superuser.
            Dialect::Postgres => ("postgres", psql::argv(self.login), psql::env(self.session)),
            Dialect::MariaDb => (
                "0",
                mariadb::argv(self.login, self.force, self.session),
                mariadb::env(),
            ),
        }
    }

    fn on_machine(self, port: u16) -> Program<'static> {
        let (user, programs, args) = match self.dialect {
            Dialect::Postgres => (
                "postgres",
                psql::PROGRAMS,
                psql::over_socket(self.login, port, self.session),
            ),
            Dialect::MariaDb => (
                "root",
                mariadb::PROGRAM,
                mariadb::over_socket(self.login, self.force, self.session),
            ),
        };
        Program {
            user,
            programs,
            args,
            input: self.input,
            deadline: self.deadline,
            once: self.once,
        }
    }

    fn over_network(
        &self,
        host: &str,
        port: u16,
        password: &Secret,
        tls: bool,
    ) -> Program<'static> {
        let (args, input) = match self.dialect {
            Dialect::Postgres => (
                psql::over_network(self.login, self.database, host, port, self.session),
                psql::with_password(password, &self.input),
            ),
            Dialect::MariaDb => (
                mariadb::over_network(self.login, self.force, self.session, host, port, tls),
                mariadb::with_password(password, &self.input),
            ),
        };
        Program {
            // It needs no right of anybody's.
            user: "nobody",
            programs: "setsid",
            args,
            input,
            deadline: self.deadline,
            once: self.once,
        }
    }
}

/// Whether a container may still be starting.
fn is_young(container: &Listed) -> bool {
    container.health() == "starting"
        || container.status.contains(" second")
        || container.status.contains("Less than a")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_travels_by_stdin_only() {
        let password = Secret::new("can'ary");
        for dialect in [Dialect::Postgres, Dialect::MariaDb] {
            let client = Client {
                dialect,
                login: "admin",
                database: None,
                session: "",
                force: true,
                input: Secret::new("SELECT 1;\n"),
                last: None,
                deadline: Duration::from_secs(1),
                once: false,
            };
            let program = client.over_network("db.example.com", 5433, &password, true);
            for word in &program.args {
                assert!(!word.contains("can'ary"), "{word}");
            }
            let (first, rest) = program.input.expose().split_once('\n').unwrap();
            assert!(first.contains("can'ary"), "{dialect:?}");
            assert_eq!(rest, "SELECT 1;\n");
        }
    }

    #[tokio::test]
    async fn the_shell_hands_on_the_password_and_what_follows() {
        use std::os::unix::fs::PermissionsExt;
        use tokio::io::AsyncWriteExt;
        // A client that shows what it is given.
        let folder = tempfile::tempdir().unwrap();
        let fake = folder.path().join("mariadb");
        std::fs::write(&fake, "#!/bin/sh\ncat \"${1#*=}\"\necho --\ncat\n").unwrap();
        std::fs::set_permissions(&fake, PermissionsExt::from_mode(0o755)).unwrap();
        let args = mariadb::over_network("admin", true, "", "h", 1, true);
        let password = Secret::new(" p\\a\"'$x\t");
        let input = mariadb::with_password(&password, &Secret::new("SELECT 1;\n\nx"));
        let path = std::env::var("PATH").unwrap();
        let mut child = tokio::process::Command::new("setsid")
            .args(&args)
            .env("PATH", format!("{}:{path}", folder.path().display()))
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.expose().as_bytes()).await.unwrap();
        drop(stdin);
        let said = child.wait_with_output().await.unwrap();
        assert_eq!(
            String::from_utf8(said.stdout).unwrap(),
            "[client]\npassword=\" p\\\\a\"'$x\\t\"\n--\nSELECT 1;\n\nx"
        );
    }
}
