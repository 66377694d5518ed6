//! Ports of this machine that lead to services on servers: a listener of ours each, and for every connection a channel of the one
//! that is kept to the machine.
//!
//! The listeners are ours and not `ssh`'s, so they stay while a connection to a machine is lost and made again, and nothing is held
//! open that nobody uses.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{Target, ports, say};
use crate::command::Dialect;
use crate::error::{Failure, Kind};

/// How long who listens may take to say what it is.
const GREETING: Duration = Duration::from_secs(5);
/// How often a machine is looked after.
const PULSE: Duration = Duration::from_secs(1);
/// The longest pause between two tries to reach a machine again.
const PAUSE: Duration = Duration::from_secs(15);

/// A port of this machine that is ours.
#[derive(Debug)]
pub struct Listening {
    listener: TcpListener,
    /// Its address.
    pub address: String,
    /// Its port: the declared one, or what was taken in its place.
    pub port: u16,
    /// Why that is another one, where it is: who holds the declared port.
    pub moved: Option<String>,
}

/// Where a port leads: a machine, and an address as that machine sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lead {
    /// The machine.
    pub machine: Arc<str>,
    /// The address.
    pub address: String,
    /// Its port.
    pub port: u16,
}

/// What happens while forwards are open.
#[derive(Clone, Debug)]
pub enum Heard {
    /// A machine is lost, and why; it is tried again.
    Lost(Arc<str>, String),
    /// It is back.
    Back(Arc<str>),
    /// A connection could not be handed on, and why.
    Refused(usize, String),
}

impl Listening {
    /// Takes a port. `spare`: how many behind it may be taken in its place where somebody else holds it.
    ///
    /// # Errors
    /// Who holds it.
    pub async fn take(address: &str, port: u16, spare: u16) -> Result<Self, Failure> {
        let bare = address.trim_matches(['[', ']']);
        let ip: IpAddr = bare.parse().map_err(|_| {
            let shown = say::clean(address, 100);
            Failure::new(Kind::Usage, format!("`{shown}` is no address"))
        })?;
        let mut holder = None;
        for at in port..=port.saturating_add(spare) {
            match TcpListener::bind(SocketAddr::new(ip, at)).await {
                Ok(listener) => {
                    return Ok(Listening {
                        listener,
                        address: address.to_owned(),
                        port: at,
                        moved: holder,
                    });
                }
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                    if holder.is_none() {
                        holder = Some(ports::holder(bare, at).await);
                    }
                }
                Err(error) => {
                    let why = say::clean(&error.to_string(), 200);
                    let failure = Failure::new(
                        Kind::Failed,
                        format!("cannot listen on {address}:{at}: {why}"),
                    );
                    return Err(match error.kind() {
                        std::io::ErrorKind::PermissionDenied => failure
                            .hint("ports below 1024 are root's: take another one in `listen`"),
                        _ => failure,
                    });
                }
            }
        }
        let holder = holder.unwrap_or_else(|| "another program".to_owned());
        let message = match spare {
            0 => format!("{address}:{port} is held by {holder}"),
            _ => format!(
                "{address}:{port} is held by {holder}, and so are the {spare} ports behind it"
            ),
        };
        Err(Failure::new(Kind::Failed, message)
            .hint("stop that, or say another port in `listen`, or `auto_correct = true`"))
    }
}

impl Target {
    /// Sees whether a machine is there, connecting where it is not connected.
    ///
    /// # Errors
    /// Why it cannot be reached.
    pub async fn reach(&self, machine: &str) -> Result<(), Failure> {
        let remote = self
            .remote(machine)
            .map_err(|trouble| Failure::new(trouble.kind, trouble.message))?;
        remote.awake().await
    }

    /// Sees whether what listens where a port leads is a database server of the kind that should. Nobody who listens is no mistake yet.
    ///
    /// # Errors
    /// It is something else.
    pub async fn recognise(&self, lead: &Lead, dialect: Dialect) -> Result<(), Failure> {
        let Ok(remote) = self.remote(&lead.machine) else {
            return Ok(());
        };
        let greeting = async {
            let mut there = remote.dial(&lead.address, lead.port).await.ok()?;
            if dialect == Dialect::Postgres {
                // Whether it speaks TLS: a PostgreSQL says one letter.
                let asked = [0, 0, 0, 8, 4, 210, 22, 47];
                there.write_all(&asked).await.ok()?;
            }
            let mut said = [0; 64];
            let length = there.read(&mut said).await.ok()?;
            said.get(..length).map(<[u8]>::to_vec)
        };
        let said = tokio::time::timeout(GREETING, greeting).await;
        let is = match (dialect, said) {
            // Nobody, or nobody any more.
            (_, Ok(None)) => true,
            (_, Ok(Some(said))) if said.is_empty() => true,
            (Dialect::Postgres, Ok(Some(said))) => matches!(said.as_slice(), [b'S' | b'N']),
            // The length, 0, and the version of the protocol or an error.
            (Dialect::MariaDb, Ok(Some(said))) => matches!(said.get(3..5), Some([0, 10 | 255])),
            // MariaDB speaks first; a PostgreSQL that does not answer at once is slow.
            (Dialect::MariaDb, Err(_)) => false,
            (Dialect::Postgres, Err(_)) => true,
        };
        if is {
            return Ok(());
        }
        let name = match dialect {
            Dialect::Postgres => "PostgreSQL",
            Dialect::MariaDb => "MariaDB",
        };
        let (address, port, machine) = (&lead.address, lead.port, &lead.machine);
        let message = format!("what listens on {address}:{port} of `{machine}` is no {name}");
        Err(Failure::new(Kind::Failed, message).hint(format!(
            "`provision plan` says what is not as declared on `{machine}`"
        )))
    }

    /// Hands on every connection to some ports, and looks after the machines behind them, for ever.
    pub async fn hand_on(
        &self,
        forwards: &[(Listening, Lead)],
        tell: &(dyn Fn(Heard) + Send + Sync),
    ) {
        let mut machines: Vec<&Arc<str>> = forwards.iter().map(|(_, lead)| &lead.machine).collect();
        machines.sort();
        machines.dedup();
        let pulses = machines
            .into_iter()
            .map(|machine| self.pulse(machine, tell));
        let ports = forwards
            .iter()
            .enumerate()
            .map(|(at, (listening, lead))| self.accept(at, listening, lead, tell));
        tokio::join!(
            futures_util::future::join_all(pulses),
            futures_util::future::join_all(ports)
        );
    }

    /// Keeps a machine connected.
    async fn pulse(&self, machine: &Arc<str>, tell: &(dyn Fn(Heard) + Send + Sync)) {
        let mut lost = false;
        let mut pause = PULSE;
        loop {
            tokio::time::sleep(pause).await;
            match (self.reach(machine).await, lost) {
                (Ok(()), false) => {}
                (Ok(()), true) => {
                    tell(Heard::Back(Arc::clone(machine)));
                    (lost, pause) = (false, PULSE);
                }
                (Err(failure), false) => {
                    tell(Heard::Lost(Arc::clone(machine), failure.message));
                    lost = true;
                }
                (Err(_), true) => pause = (pause * 2).min(PAUSE),
            }
        }
    }

    async fn accept(
        &self,
        at: usize,
        listening: &Listening,
        lead: &Lead,
        tell: &(dyn Fn(Heard) + Send + Sync),
    ) {
        let mut open = FuturesUnordered::new();
        loop {
            tokio::select! {
                accepted = listening.listener.accept() => match accepted {
                    Ok((stream, _)) => open.push(self.one(stream, lead)),
                    Err(error) => {
                        tell(Heard::Refused(at, say::clean(&error.to_string(), 200)));
                        // Too many open files: some of them have to go first.
                        tokio::time::sleep(PULSE).await;
                    }
                },
                Some(ended) = open.next(), if !open.is_empty() => {
                    if let Err(why) = ended {
                        tell(Heard::Refused(at, why));
                    }
                }
            }
        }
    }

    /// One connection, to its end.
    async fn one(&self, mut here: TcpStream, lead: &Lead) -> Result<(), String> {
        let _ = here.set_nodelay(true);
        let remote = self
            .remote(&lead.machine)
            .map_err(|trouble| trouble.message)?;
        let mut there = remote.dial(&lead.address, lead.port).await?;
        match tokio::io::copy_bidirectional(&mut here, &mut there).await {
            Ok(_) => Ok(()),
            // Nobody listens there. Ends in the middle are what both sides see themselves.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Err(format!(
                "nobody listens on {}:{} of `{}`",
                lead.address, lead.port, lead.machine
            )),
            Err(_) => Ok(()),
        }
    }
}
