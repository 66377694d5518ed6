//! Whether a thing really works, asked as its users would: over the port they use, with the real password.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::engine::{Engine, Exec};
use super::login::{self, Line, Who};
use super::machine::Remote;
use super::say::clean;
use super::{mariadb, psql};
use crate::command::Dialect;
use crate::quote::{identifier, psql_database};
use crate::secret::Secret;

const PATIENCE: Duration = Duration::from_secs(10);
/// How much a client that only logs in may say.
const MOST: usize = 1 << 20;

/// Where somebody on this machine reaches what listens on an address.
pub(super) fn reachable(address: &str) -> &str {
    match address {
        "" | "0.0.0.0" => "127.0.0.1",
        "::" | "[::]" => "::1",
        other => other,
    }
}

/// Logs in from this machine.
pub(super) async fn login_here(
    dialect: Dialect,
    address: &str,
    port: u16,
    who: Who<'_>,
) -> Result<(), String> {
    login::at(dialect, address, port, who, PATIENCE).await
}

/// Logs in from a machine, over a connection that it makes for us.
pub(super) async fn login_from(
    remote: &Remote,
    dialect: Dialect,
    address: &str,
    port: u16,
    who: Who<'_>,
) -> Result<(), String> {
    let mut line = dialled(remote, address, port).await?;
    login::over(&mut line, dialect, who, PATIENCE).await
}

async fn dialled(
    remote: &Remote,
    address: &str,
    port: u16,
) -> Result<Box<dyn super::machine::Stream>, String> {
    match tokio::time::timeout(PATIENCE, remote.dial(address, port)).await {
        Ok(line) => line,
        Err(_) => Err(format!(
            "{address}:{port} cannot be connected to within {} s",
            PATIENCE.as_secs()
        )),
    }
}

/// How long a container's address may take to answer before a client inside is asked.
const NEAR: Duration = Duration::from_millis(500);

/// The containers whose servers have answered at an address of theirs as nobody else can.
#[derive(Default)]
pub(super) struct Proven(Mutex<HashSet<String>>);

impl Proven {
    fn has(&self, container: &str) -> bool {
        self.0.lock().is_ok_and(|proven| proven.contains(container))
    }

    fn add(&self, container: &str) {
        if let Ok(mut proven) = self.0.lock() {
            proven.insert(container.to_owned());
        }
    }
}

/// From where a container is reached.
pub(super) struct Near<'a> {
    /// Its engine.
    pub engine: &'a Engine,
    /// The host that the engine is on; none for this machine.
    pub host: Option<&'a Remote>,
    /// The containers of this machine that have proven to be there.
    pub proven: &'a Proven,
}

/// Logs in to a server in a container at its own address, from this machine where that leads there, else by a client inside. Not
/// over the loopback address in there: over that any password would do.
pub(super) async fn login_container(
    near: Near<'_>,
    container: &str,
    dialect: Dialect,
    who: Who<'_>,
) -> Result<(), String> {
    let Near {
        engine,
        host,
        proven,
    } = near;
    let port = match dialect {
        Dialect::Postgres => 5432,
        Dialect::MariaDb => 3306,
    };
    let address = engine.address_of(container).await;
    let address = address.ok_or("it has no address on its network")?;
    if let Some(host) = host {
        // Over there the address is the container's and nobody else's.
        return login_from(host, dialect, &address, port, who).await;
    }
    if let Ok(Ok(mut line)) = tokio::time::timeout(NEAR, login::connect(&address, port)).await {
        let came = login::over(&mut line, dialect, who, PATIENCE).await;
        if came.is_ok() {
            proven.add(container);
        }
        // Where the engine is another machine's, the address may be somebody else's here, who does not know the passwords: a
        // refusal counts once that is ruled out.
        if came.is_ok()
            || (proven.has(container) && came.as_ref().is_err_and(|why| login::is_refusal(why)))
        {
            return came;
        }
    }
    login_inside(engine, container, &address, dialect, who).await
}

async fn login_inside(
    engine: &Engine,
    container: &str,
    address: &str,
    dialect: Dialect,
    who: Who<'_>,
) -> Result<(), String> {
    let (user, argv, env, input) = match dialect {
        Dialect::Postgres => (
            "postgres",
            psql_login(&who, address),
            psql::env(""),
            format!("{}\n", who.password.expose()),
        ),
        Dialect::MariaDb => (
            "0",
            mariadb_login(&who, address),
            mariadb::env(),
            format!("[client]\n{}\n", mariadb::option(who.password)),
        ),
    };
    let exec = Exec {
        container,
        user: Some(user),
        argv,
        env,
        input: Secret::new(input),
        most: MOST,
        last: None,
    };
    let ran = tokio::time::timeout(PATIENCE, engine.run_to_end(exec)).await;
    let ran = ran
        .map_err(|_| "it took too long".to_owned())?
        .map_err(|error| error.words())?;
    let out = String::from_utf8_lossy(&ran.out);
    if ran.code == Some(0) && out.lines().any(|line| line.trim() == "1") {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&ran.err).into_owned();
    let refused = psql::message(&stderr).filter(|_| stderr.contains("FATAL:"));
    let refused = refused.map(|words| with_code(&words));
    let error = || stderr.lines().find_map(mariadb::read_error);
    let refused = refused.or_else(|| {
        error()
            .filter(|e| !(2000..3000).contains(&e.number))
            .map(|e| e.words())
    });
    let said = match refused {
        Some(words) => login::refusal(&words),
        None => psql::message(&stderr)
            .or_else(|| error().map(|e| e.words()))
            .or_else(|| stderr.lines().last().map(str::to_owned))
            .unwrap_or_else(|| "it said nothing".to_owned()),
    };
    Err(clean(&who.password.taken_out_of(&said), 300))
}

/// `psql` does not say the code of what keeps it from connecting.
fn with_code(words: &str) -> String {
    let code = [
        ("password authentication failed", "28P01"),
        ("permission denied for database", "42501"),
        ("too many connections", "53300"),
        ("too many clients", "53300"),
        ("slots are reserved", "53300"),
        ("is not permitted to log in", "28000"),
        ("pg_hba.conf", "28000"),
        ("not currently accepting connections", "55000"),
        ("the database system is", "57P03"),
    ]
    .iter()
    .find(|(part, _)| words.contains(part));
    let absent = || words.starts_with("database ") && words.contains("does not exist");
    match code.map(|(_, code)| *code).or(absent().then_some("3D000")) {
        Some(code) => format!("{words} ({code})"),
        None => words.to_owned(),
    }
}

fn psql_login(who: &Who<'_>, address: &str) -> Vec<String> {
    let database = psql_database(who.database.unwrap_or("postgres"));
    [
        "psql", "-XAtq", "-W", "-h", address, "-U", who.user, "-d", &database, "-c", "SELECT 1",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn mariadb_login(who: &Who<'_>, address: &str) -> Vec<String> {
    let mut argv = [
        "mariadb",
        "--defaults-extra-file=/dev/stdin",
        "--protocol=tcp",
        "--batch",
        "--skip-column-names",
        "-h",
        address,
        "-u",
        who.user,
    ]
    .map(str::to_owned)
    .to_vec();
    argv.extend(
        who.database
            .map(|database| format!("--database={database}")),
    );
    let table = who.table.map(|table| identifier(Dialect::MariaDb, table));
    let reads = table.map(|table| format!("SELECT 1 FROM {table} LIMIT 0;"));
    let statement = format!("{}SELECT 1", reads.unwrap_or_default());
    argv.extend(["-e".to_owned(), statement]);
    argv
}

/// Whether what is behind a port speaks a database's protocol, or HTTP.
pub(super) async fn identify(
    remote: Option<&Remote>,
    address: &str,
    port: u16,
    dialect: Option<Dialect>,
) -> Result<(), String> {
    let mut line: Box<dyn Line> = match remote {
        Some(remote) => Box::new(dialled(remote, address, port).await?),
        None => Box::new(login::connect(address, port).await?),
    };
    match dialect {
        Some(dialect) => login::identify(&mut line, dialect, PATIENCE).await,
        None => {
            let url = format!("http://{address}:{port}/");
            let host = format!("{address}:{port}");
            let asked = async {
                let answer = ask(line, &url, "/", &host).await?;
                status(&url, &answer).map(|_| ())
            };
            in_time(&url, asked).await
        }
    }
}

/// One `GET` from this machine; 200 is wanted.
pub(super) async fn get_here(
    address: &str,
    port: u16,
    path: &str,
    host: &str,
) -> Result<(), String> {
    let url = format!("http://{address}:{port}{path}");
    let asked = async {
        let stream = TcpStream::connect((address, port)).await;
        let stream = stream.map_err(|error| broken(&url, &error))?;
        get(stream, &url, path, host).await
    };
    in_time(&url, asked).await
}

/// One `GET` from a machine; 200 is wanted.
pub(super) async fn get_from(
    remote: &Remote,
    address: &str,
    port: u16,
    path: &str,
    host: &str,
) -> Result<(), String> {
    let url = format!("http://{address}:{port}{path}");
    let asked = async {
        let stream = remote.dial(address, port).await?;
        get(stream, &url, path, host).await
    };
    in_time(&url, asked).await
}

async fn in_time(url: &str, asked: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let asked = tokio::time::timeout(PATIENCE, asked).await;
    let late = || format!("{url} did not answer within {} s", PATIENCE.as_secs());
    asked.unwrap_or_else(|_| Err(late()))
}

fn broken(url: &str, error: &std::io::Error) -> String {
    format!("{url} does not answer: {}", clean(&error.to_string(), 200))
}

async fn get(stream: impl Line, url: &str, path: &str, host: &str) -> Result<(), String> {
    judge(url, &ask(stream, url, path, host).await?)
}

async fn ask(mut stream: impl Line, url: &str, path: &str, host: &str) -> Result<String, String> {
    if !is_plain(path) || !is_plain(host) {
        return Err(format!("{} is no address", clean(url, 200)));
    }
    let broken = |error: std::io::Error| broken(url, &error);
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: provision\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    let mut answer = Vec::new();
    stream
        .take(64 * 1024)
        .read_to_end(&mut answer)
        .await
        .map_err(broken)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Whether a word can stand in a request without ending its line or itself.
fn is_plain(word: &str) -> bool {
    !word.chars().any(|c| c.is_control() || c == ' ')
}

/// The status of an answer, if it is HTTP.
fn status<'a>(url: &str, answer: &'a str) -> Result<&'a str, String> {
    let head = answer.split("\r\n\r\n").next().unwrap_or_default();
    let mut words = head.lines().next().unwrap_or_default().splitn(3, ' ');
    let is_http = words
        .next()
        .is_some_and(|version| version.starts_with("HTTP/1."));
    words
        .next()
        .filter(|status| is_http && status.len() == 3)
        .ok_or_else(|| format!("{url} does not speak HTTP"))
}

fn judge(url: &str, answer: &str) -> Result<(), String> {
    let status = status(url, answer)?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    if status == "200" {
        return Ok(());
    }
    let line = body
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or_default();
    let line = clean(line, 200);
    let told = if line.is_empty() {
        String::new()
    } else {
        format!(": {line}")
    };
    Err(format!("{url} answers {}{told}", clean(status, 3)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_200_is_good() {
        assert_eq!(judge("u", "HTTP/1.1 200 OK\r\nA: b\r\n\r\n{}"), Ok(()));
        assert_eq!(
            judge("u", "HTTP/1.1 503 No\r\n\r\n\n{\"db\": \"\x1b\"}\n").unwrap_err(),
            "u answers 503: {\"db\": \"\\u{1b}\"}"
        );
        assert_eq!(
            judge("u", "SSH-2.0-OpenSSH\r\n").unwrap_err(),
            "u does not speak HTTP"
        );
        assert_eq!(judge("u", "").unwrap_err(), "u does not speak HTTP");
    }
}
