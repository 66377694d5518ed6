//! The Docker engine, over its local socket.

mod act;
mod container;
mod exec;
mod image;
mod look;
mod wait;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::query_parameters::{ListContainersOptionsBuilder, LogsOptionsBuilder};
use futures_util::StreamExt;

use super::Trouble;
use super::relay::Relay;
use super::say::{clean, tail};
use crate::error::{Failure, Kind};
use crate::quote;

pub(super) use exec::{Exec, NotRun, Side};

/// A connection to an engine.
pub(super) struct Engine {
    docker: Docker,
    address: String,
    /// Three images may want the same bare Debian at once: the first makes it.
    bootstrapping: tokio::sync::Mutex<()>,
    /// The way to it, where it is another machine's.
    relay: Option<Relay>,
    /// When this run connected: what is older was there before it.
    connected: jiff::Timestamp,
}

/// A container as the engine lists it.
#[derive(Clone, Debug, Default)]
pub(super) struct Listed {
    /// Its id.
    pub id: String,
    /// Its names, without the slash.
    pub names: Vec<String>,
    /// The Compose project, if any.
    pub project: Option<String>,
    /// The Compose service, if any.
    pub service: Option<String>,
    /// Made by `docker-compose run`.
    pub oneoff: bool,
    /// `running`, `exited`, ...
    pub state: String,
    /// For people: `Up 2 seconds (health: starting)`.
    pub status: String,
    /// The tag it was made from.
    pub image: String,
    /// The id of its image.
    pub image_id: String,
    /// Address and port on the machine, port inside.
    pub ports: Vec<(String, u16, u16)>,
    /// Names of its volumes, with the path inside.
    pub volumes: Vec<(String, String)>,
}

impl Listed {
    /// Whether it is a container of a project's service.
    pub fn is_of(&self, project: &str) -> bool {
        self.project.as_deref() == Some(project) && self.service.is_some() && !self.oneoff
    }

    /// What a run that died left behind.
    pub fn is_leftover(&self) -> bool {
        self.names.iter().any(|name| name.ends_with(act::TEMPORARY))
    }

    /// `starting`, `healthy`, `unhealthy`, or empty.
    pub fn health(&self) -> &str {
        match self
            .status
            .rsplit_once('(')
            .map(|(_, word)| word.trim_end_matches(')'))
        {
            Some("health: starting") => "starting",
            Some(word @ ("healthy" | "unhealthy")) => word,
            _ => "",
        }
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

/// So many lines of a container's log are read, to say how many are not shown.
const LOG_READ: usize = 1_000;

/// How long a question to the engine itself may take.
const PATIENCE: Duration = Duration::from_secs(20);

impl Engine {
    /// Finds an engine and sees that it answers.
    pub async fn connect() -> Result<Self, Failure> {
        let socket = find_socket()?;
        let address = clean(&socket.display().to_string(), 200);
        let restart = "restart it: sudo systemctl restart docker".to_owned();
        Engine::greet(&socket, address, restart, None).await
    }

    /// The engine of a host, through a relay to its socket.
    pub async fn through(relay: Relay, host: &str) -> Result<Self, Failure> {
        let address = format!("{} of `{host}`", relay.socket());
        let restart = format!("restart it on `{host}`: sudo systemctl restart docker");
        let socket = relay.path().to_owned();
        Engine::greet(&socket, address, restart, Some(relay)).await
    }

    /// Sees that an engine answers at a socket of this machine.
    async fn greet(
        socket: &Path,
        address: String,
        restart: String,
        relay: Option<Relay>,
    ) -> Result<Self, Failure> {
        let path = socket.to_string_lossy();
        // Requests have deadlines of their own; this one must only be longer than the longest of them.
        let docker = Docker::connect_with_unix(&path, 3600, bollard::API_DEFAULT_VERSION)
            .map_err(|error| unreachable(&address, &error))?;
        match tokio::time::timeout(PATIENCE, docker.negotiate_version()).await {
            Ok(Ok(docker)) => Ok(Engine {
                connected: jiff::Timestamp::now(),
                docker,
                address,
                bootstrapping: tokio::sync::Mutex::new(()),
                relay,
            }),
            Ok(Err(error)) => Err(match relay.map(|relay| (relay.said(), relay)) {
                Some((said, relay)) if !said.is_empty() => {
                    not_through(&address, relay.host(), &said)
                }
                _ => unreachable(&address, &error),
            }),
            Err(_) => Err(Failure::new(
                Kind::Unreachable,
                format!("the engine at {address} does not answer"),
            )
            .hint(restart)),
        }
    }

    /// Why there is no engine on this machine; none where somebody listens. One that is there and may not be spoken to, or that
    /// `DOCKER_HOST` names, is never taken for none: whoever connects to it is told.
    pub async fn is_absent() -> Option<String> {
        if std::env::var_os("DOCKER_HOST").is_some_and(|host| !host.is_empty()) {
            return None;
        }
        let socket = find_socket().ok()?;
        let error = tokio::net::UnixStream::connect(&socket).await.err()?;
        let nobody = matches!(
            error.kind(),
            std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused
        );
        let address = clean(&socket.display().to_string(), 200);
        nobody.then(|| format!("no Docker engine answers at {address}"))
    }

    /// Where its socket is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The socket of this machine that leads to it.
    fn socket(&self) -> String {
        match &self.relay {
            None => self.address.clone(),
            Some(relay) => relay.path().display().to_string(),
        }
    }

    /// All containers of the engine, whoever they belong to.
    pub async fn containers(&self) -> Result<Vec<Listed>, Failure> {
        let options = ListContainersOptionsBuilder::default().all(true).build();
        let list = tokio::time::timeout(PATIENCE, self.docker.list_containers(Some(options)));
        match list.await {
            Ok(Ok(list)) => Ok(list.into_iter().map(listed).collect()),
            Ok(Err(error)) => Err(unreachable(&self.address, &error)),
            Err(_) => Err(Failure::new(
                Kind::Unreachable,
                format!(
                    "the engine at {} does not say which containers it has",
                    self.address
                ),
            )),
        }
    }

    /// The container of a service, leftovers of dead runs aside.
    pub async fn find(&self, project: &str, service: &str) -> Result<Option<Listed>, Failure> {
        let of_it = |c: &Listed| {
            c.is_of(project) && c.service.as_deref() == Some(service) && !c.is_leftover()
        };
        let mut all: Vec<_> = self.containers().await?.into_iter().filter(of_it).collect();
        // One that runs counts before one that somebody left lying about.
        all.sort_by_key(|container| container.state != "running");
        Ok(all.into_iter().next())
    }

    /// A variable of a container's environment.
    pub async fn env_of(&self, container: &str, name: &str) -> Option<String> {
        let inspect = self.docker.inspect_container(container, None).await.ok()?;
        let env = inspect.config?.env?;
        let value = env
            .iter()
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        value.filter(|value| !value.is_empty()).map(str::to_owned)
    }

    /// Whether a container runs.
    pub async fn is_running(&self, container: &str) -> bool {
        let inspect = self.docker.inspect_container(container, None).await;
        inspect.is_ok_and(|inspect| inspect.state.and_then(|state| state.running) == Some(true))
    }

    /// The address of a container on the first network where it has one.
    pub async fn address_of(&self, container: &str) -> Option<String> {
        let inspect = self.docker.inspect_container(container, None).await.ok()?;
        let mut networks: Vec<_> = inspect.network_settings?.networks?.into_iter().collect();
        networks.sort_by(|a, b| a.0.cmp(&b.0));
        networks
            .into_iter()
            .filter_map(|(_, network)| network.ip_address)
            .find(|address| !address.is_empty())
    }

    /// The containers of a project, for people.
    pub async fn rows(&self, project: &str) -> Result<Vec<ContainerRow>, Failure> {
        let mut rows: Vec<_> = self
            .containers()
            .await?
            .into_iter()
            .filter(|container| container.is_of(project))
            .map(|container| ContainerRow {
                health: container.health().to_owned(),
                uptime: clean(container.status.split(" (").next().unwrap_or_default(), 60),
                service: clean(container.service.as_deref().unwrap_or_default(), 100),
                name: clean(container.names.first().map_or("", String::as_str), 200),
                state: container.state,
                image: clean(&container.image, 200),
                ports: container
                    .ports
                    .iter()
                    .map(|(address, outside, inside)| format!("{address}:{outside}->{inside}"))
                    .collect(),
            })
            .collect();
        rows.sort_by(|a, b| (&a.service, &a.name).cmp(&(&b.service, &b.name)));
        Ok(rows)
    }

    /// The last lines of a container's log, fit to be shown; none if there is none to be had. `stays`: whether it is there afterwards
    /// to show all of them.
    pub async fn log_tail(&self, container: &str, lines: usize, stays: bool) -> Vec<String> {
        let options = LogsOptionsBuilder::default()
            .stdout(true)
            .stderr(true)
            .tail(&LOG_READ.to_string())
            .build();
        let read = async {
            let mut stream = std::pin::pin!(self.docker.logs(container, Some(options)));
            let mut text = Vec::new();
            while let Some(Ok(piece)) = stream.next().await {
                text.extend_from_slice(piece.as_ref());
                if text.len() > 1 << 20 {
                    break;
                }
            }
            text
        };
        match tokio::time::timeout(Duration::from_secs(5), read).await {
            Ok(text) => {
                let text = String::from_utf8_lossy(&text);
                let begun = text.lines().count() >= LOG_READ;
                // The first characters of an id are what `docker ps` shows.
                let is_id =
                    container.len() == 64 && container.chars().all(|c| c.is_ascii_hexdigit());
                let short = container.get(..12).filter(|_| is_id).unwrap_or(container);
                let command = format!("`docker logs {}`", quote::word(short));
                let all = match &self.relay {
                    None => command,
                    Some(relay) => format!("{command} on `{}`", relay.host()),
                };
                tail(&text, lines, begun, stays.then_some(all.as_str()))
            }
            Err(_) => Vec::new(),
        }
    }

    /// A container's log, line by line.
    pub async fn logs(
        &self,
        container: &str,
        follow: bool,
        tail: Option<usize>,
        on_line: &mut (dyn FnMut(&str) + Send),
    ) -> Result<(), Trouble> {
        let options = LogsOptionsBuilder::default()
            .stdout(true)
            .stderr(true)
            .follow(follow)
            .tail(&tail.map_or("all".to_owned(), |lines| lines.to_string()))
            .build();
        let mut stream = std::pin::pin!(self.docker.logs(container, Some(options)));
        let mut rest: Vec<u8> = Vec::new();
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|error| trouble("read the log", &error))?;
            rest.extend_from_slice(piece.as_ref());
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                on_line(&clean(&String::from_utf8_lossy(&line), 8192));
            }
            if rest.len() > 1 << 20 {
                on_line(&clean(&String::from_utf8_lossy(&rest), 8192));
                rest.clear();
            }
        }
        if !rest.is_empty() {
            on_line(&clean(&String::from_utf8_lossy(&rest), 8192));
        }
        Ok(())
    }
}

fn listed(summary: bollard::models::ContainerSummary) -> Listed {
    let labels = summary.labels.unwrap_or_default();
    let label = |key: &str| labels.get(&format!("com.docker.compose.{key}")).cloned();
    let ports = summary.ports.unwrap_or_default();
    Listed {
        id: summary.id.unwrap_or_default(),
        names: summary
            .names
            .unwrap_or_default()
            .iter()
            .map(|name| name.trim_start_matches('/').to_owned())
            .collect(),
        project: label("project"),
        service: label("service"),
        oneoff: label("oneoff").is_some_and(|oneoff| oneoff.eq_ignore_ascii_case("true")),
        state: summary
            .state
            .map(|state| state.to_string())
            .unwrap_or_default(),
        status: summary.status.unwrap_or_default(),
        image: summary.image.unwrap_or_default(),
        image_id: summary.image_id.unwrap_or_default(),
        ports: ports
            .into_iter()
            .filter_map(|port| Some((port.ip?, port.public_port?, port.private_port)))
            .collect(),
        volumes: summary
            .mounts
            .unwrap_or_default()
            .into_iter()
            .filter_map(|mount| Some((mount.name?, mount.destination?)))
            .collect(),
    }
}

/// The socket of the engine: `DOCKER_HOST`, the usual place, or that of a rootless engine.
fn find_socket() -> Result<PathBuf, Failure> {
    if let Some(host) = std::env::var_os("DOCKER_HOST").filter(|host| !host.is_empty()) {
        let host = host.to_string_lossy().into_owned();
        return match host.strip_prefix("unix://") {
            Some(path) => Ok(PathBuf::from(path)),
            None => Err(Failure::new(
                Kind::Unreachable,
                format!("`DOCKER_HOST` is `{}`, and only `unix://` sockets are spoken to", clean(&host, 100)),
            )
            .hint("unset DOCKER_HOST, or forward the socket: ssh -NL /tmp/docker.sock:/var/run/docker.sock HOST")),
        };
    }
    let usual = Path::new("/var/run/docker.sock");
    if usual.exists() {
        return Ok(usual.to_owned());
    }
    let rootless =
        std::env::var_os("XDG_RUNTIME_DIR").map(|folder| Path::new(&folder).join("docker.sock"));
    Ok(rootless
        .filter(|path| path.exists())
        .unwrap_or(usual.to_owned()))
}

/// A failure to reach the engine, with what to do.
fn unreachable(address: &str, error: &Error) -> Failure {
    let failure = |message: String| Failure::new(Kind::Unreachable, message);
    match io_kind(error) {
        Some(std::io::ErrorKind::PermissionDenied) => failure(format!(
            "no permission to speak to the engine at {address}"
        ))
        .hint("join the group of its socket and log in again: sudo usermod -aG docker \"$USER\""),
        Some(std::io::ErrorKind::NotFound) => {
            nobody(failure(format!("there is no engine at {address}")))
        }
        Some(std::io::ErrorKind::ConnectionRefused) => {
            nobody(failure(format!("nobody listens at {address}")))
        }
        _ => failure(format!(
            "what answers at {address} does not speak as an engine does: {}",
            words(error)
        ))
        .hint("check DOCKER_HOST, and that `docker version` works"),
    }
}

/// Why the engine of a host is not reached, as the program there or its shell said.
fn not_through(address: &str, host: &str, said: &str) -> Failure {
    let said_lower = said.to_lowercase();
    let failure = Failure::new(
        Kind::Unreachable,
        format!("the engine at {address} cannot be reached: {said}"),
    );
    let is = |word: &str| said_lower.contains(word);
    match () {
        () if is("permission denied") => failure.hint(format!(
            "say `sudo = true` in `[host.{host}]`, or let its user use the engine: sudo usermod -aG docker USER"
        )),
        () if is("is no socket") => failure
            .hint(format!("install an engine on `{host}`: sudo apt-get install docker.io"))
            .hint(format!(
                "one that listens elsewhere is named in `[host.{host}]`: `engine = {{ socket = \"...\" }}`"
            )),
        () if is("refused") || is("cannot connect") => {
            failure.hint(format!("start it on `{host}`: sudo systemctl start docker"))
        }
        () if is("neither docker nor python3") => failure.hint(format!(
            "install one of them on `{host}`: sudo apt-get install docker-cli"
        )),
        () => failure.hint(format!("try it on `{host}`: docker version")),
    }
}

fn nobody(failure: Failure) -> Failure {
    failure
        .hint("start it: sudo systemctl start docker")
        .hint("install it where there is none: sudo apt-get install docker.io")
}

/// The operating system's word on why a connection failed, if there is one.
fn io_kind(error: &Error) -> Option<std::io::ErrorKind> {
    if matches!(error, Error::SocketNotFoundError(_)) {
        return Some(std::io::ErrorKind::NotFound);
    }
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return Some(io.kind());
        }
        source = error.source();
    }
    None
}

/// What went wrong, in the engine's words, fit to be shown.
fn words(error: &Error) -> String {
    let text = match error {
        Error::DockerResponseServerError { message, .. } => message.clone(),
        Error::DockerStreamError { error } => error.clone(),
        Error::RequestTimeoutError => "it took too long".to_owned(),
        other => {
            let mut text = other.to_string();
            let mut source = std::error::Error::source(other);
            while let Some(error) = source {
                let more = error.to_string();
                if !text.contains(&more) {
                    text = format!("{text}: {more}");
                }
                source = error.source();
            }
            text
        }
    };
    clean(&text, 600)
}

fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

fn is_missing(error: &Error) -> bool {
    status(error) == Some(404)
}

/// An effect that the engine refused, or that nobody knows of since the connection broke.
fn trouble(what: &str, error: &Error) -> Trouble {
    let message = format!("cannot {what}: {}", words(error));
    match error {
        Error::DockerResponseServerError { .. } | Error::DockerStreamError { .. } => {
            Trouble::failed(message)
        }
        _ if matches!(
            io_kind(error),
            Some(
                std::io::ErrorKind::NotFound
                    | std::io::ErrorKind::ConnectionRefused
                    | std::io::ErrorKind::PermissionDenied
            )
        ) =>
        {
            Trouble::failed(message).kind(Kind::Unreachable)
        }
        _ => Trouble::unknown(message).kind(Kind::Unreachable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_is_read_from_the_status() {
        let of = |status: &str| Listed {
            status: status.to_owned(),
            ..Listed::default()
        };
        assert_eq!(of("Up 2 seconds (health: starting)").health(), "starting");
        assert_eq!(of("Up 5 minutes (healthy)").health(), "healthy");
        assert_eq!(of("Up 5 minutes").health(), "");
        assert_eq!(of("Exited (1) 2 minutes ago").health(), "");
    }
}
