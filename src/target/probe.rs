//! Whether a thing really works, asked as its users would: over the published port, with the real password.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::databases::client;
use super::engine::Engine;
use super::login;
use super::say::clean;
use crate::command::{Dialect, Server};
use crate::resource::Probe;
use crate::secret::Secret;

const PATIENCE: Duration = Duration::from_secs(10);

/// Probes once.
pub(super) async fn probe(engine: &Engine, project: &str, probe: &Probe) -> Result<(), String> {
    match probe {
        Probe::Login {
            server,
            published,
            users,
        } => {
            for (user, database, password) in users {
                let got_in = match published {
                    Some((address, port)) => {
                        let login = Login {
                            user,
                            database: database.as_deref(),
                            password,
                        };
                        login
                            .over_port(server.dialect, reachable(address), *port)
                            .await
                    }
                    None => {
                        let login = Login {
                            user,
                            database: database.as_deref(),
                            password,
                        };
                        login.inside(engine, project, server).await
                    }
                };
                got_in.map_err(|why| {
                    format!("`{}` does not let `{user}` in: {why}", server.service)
                })?;
            }
            Ok(())
        }
        Probe::HttpOn { .. } => Err("not written yet".to_owned()),
        Probe::Http {
            service,
            published,
            port,
            path,
            host,
        } => {
            let (address, port) = match published {
                Some((address, port)) => (reachable(address).to_owned(), *port),
                None => (address_of(engine, project, service).await?, *port),
            };
            let asked = tokio::time::timeout(PATIENCE, get(&address, port, path, host)).await;
            asked.unwrap_or_else(|_| {
                Err(format!(
                    "http://{address}:{port}{path} did not answer within {} s",
                    PATIENCE.as_secs()
                ))
            })
        }
    }
}

/// Where somebody on this machine reaches what listens on an address.
fn reachable(address: &str) -> &str {
    match address {
        "" | "0.0.0.0" => "127.0.0.1",
        "::" | "[::]" => "::1",
        other => other,
    }
}

/// The address of a service's container on its network.
async fn address_of(engine: &Engine, project: &str, service: &str) -> Result<String, String> {
    let container = engine
        .find(project, service)
        .await
        .map_err(|failure| failure.message)?;
    let container = container
        .filter(|c| c.state == "running")
        .ok_or(format!("`{service}` is not running"))?;
    engine
        .address_of(&container.id)
        .await
        .ok_or(format!("`{service}` has no address on its network"))
}

struct Login<'a> {
    user: &'a str,
    database: Option<&'a str>,
    password: &'a Secret,
}

impl Login<'_> {
    async fn over_port(&self, dialect: Dialect, address: &str, port: u16) -> Result<(), String> {
        let Login {
            user,
            database,
            password,
        } = self;
        match dialect {
            Dialect::Postgres => {
                login::postgres(
                    address,
                    port,
                    user,
                    database.unwrap_or("postgres"),
                    password,
                    PATIENCE,
                )
                .await
            }
            Dialect::MariaDb => {
                login::mariadb(
                    address,
                    port,
                    user,
                    database.unwrap_or_default(),
                    password,
                    PATIENCE,
                )
                .await
            }
        }
    }

    /// Inside the container, but over its own address: over the loopback address any password would do.
    async fn inside(&self, engine: &Engine, project: &str, server: &Server) -> Result<(), String> {
        let service = &server.service;
        let container = engine
            .find(project, service)
            .await
            .map_err(|failure| failure.message)?;
        let container = container
            .filter(|c| c.state == "running")
            .ok_or(format!("`{service}` is not running"))?;
        let address = engine
            .address_of(&container.id)
            .await
            .ok_or("it has no address on its network")?;
        let (user, argv, env, input) = match server.dialect {
            Dialect::Postgres => (
                "postgres",
                self.psql(&address),
                super::psql::env(""),
                Secret::new(format!("{}\n", self.password.expose())),
            ),
            Dialect::MariaDb => (
                "0",
                self.mariadb(&address),
                super::mariadb::env(),
                self.option_file(),
            ),
        };
        let exec = client(&container.id, user, argv, env, input);
        let ran = tokio::time::timeout(PATIENCE, engine.run_to_end(exec)).await;
        let ran = ran
            .map_err(|_| "it took too long".to_owned())?
            .map_err(|error| error.words())?;
        if ran.code == Some(0)
            && String::from_utf8_lossy(&ran.out)
                .lines()
                .any(|line| line.trim() == "1")
        {
            return Ok(());
        }
        let stderr = String::from_utf8_lossy(&ran.err).into_owned();
        let said = super::psql::message(&stderr).or_else(|| {
            stderr
                .lines()
                .find_map(super::mariadb::read_error)
                .map(|e| e.words())
        });
        let said = said.unwrap_or_else(|| {
            stderr
                .lines()
                .last()
                .unwrap_or("it said nothing")
                .to_owned()
        });
        Err(clean(
            &said.replace(self.password.expose(), "[secret]"),
            300,
        ))
    }

    fn psql(&self, address: &str) -> Vec<String> {
        let database = self.database.unwrap_or("postgres");
        [
            "psql", "-XAtq", "-W", "-h", address, "-U", self.user, "-d", database, "-c", "SELECT 1",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    fn mariadb(&self, address: &str) -> Vec<String> {
        let mut argv = [
            "mariadb",
            "--defaults-extra-file=/dev/stdin",
            "--protocol=tcp",
            "--batch",
            "--skip-column-names",
            "-h",
            address,
            "-u",
            self.user,
        ]
        .map(str::to_owned)
        .to_vec();
        argv.extend(
            self.database
                .map(|database| format!("--database={database}")),
        );
        argv.extend(["-e".to_owned(), "SELECT 1".to_owned()]);
        argv
    }

    /// An option file with the password, for the client's stdin.
    fn option_file(&self) -> Secret {
        let mut value = String::new();
        for c in self.password.expose().chars() {
            match c {
                '\\' => value.push_str("\\\\"),
                '\n' => value.push_str("\\n"),
                '\r' => value.push_str("\\r"),
                '\t' => value.push_str("\\t"),
                c => value.push(c),
            }
        }
        Secret::new(format!("[client]\npassword=\"{value}\"\n"))
    }
}

/// One `GET`; 200 is wanted.
async fn get(address: &str, port: u16, path: &str, host: &str) -> Result<(), String> {
    let url = format!("http://{address}:{port}{path}");
    if !is_plain(path) || !is_plain(host) {
        return Err(format!("{} is no address", clean(&url, 200)));
    }
    let broken = |error: std::io::Error| {
        format!("{url} does not answer: {}", clean(&error.to_string(), 200))
    };
    let mut stream = TcpStream::connect((address, port)).await.map_err(broken)?;
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
    judge(&url, &String::from_utf8_lossy(&answer))
}

/// Whether a word can stand in a request without ending its line or itself.
fn is_plain(word: &str) -> bool {
    !word.chars().any(|c| c.is_control() || c == ' ')
}

fn judge(url: &str, answer: &str) -> Result<(), String> {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let mut words = head.lines().next().unwrap_or_default().splitn(3, ' ');
    let is_http = words
        .next()
        .is_some_and(|version| version.starts_with("HTTP/1."));
    let Some(status) = words.next().filter(|status| is_http && status.len() == 3) else {
        return Err(format!("{url} does not speak HTTP"));
    };
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
