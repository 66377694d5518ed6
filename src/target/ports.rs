//! Which of the wanted ports of the engine's machine are taken, by whom, and which one near it is free.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;

use serde_json::{Value, json};

use super::engine::Listed;
use super::say::clean;
use crate::command::{Ask, Question, Row};

/// How far above a taken port a free one is looked for.
const REACH: u16 = 50;

/// Whose ports they are.
pub(super) enum Ports {
    /// This machine's: what can be had is tried.
    Here,
    /// Another machine's, by what listens there.
    There(Vec<Listener>),
}

/// A port that somebody on another machine listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listener {
    /// Its address; none where it is every address.
    address: Option<String>,
    port: u16,
    /// The program, where it is known.
    program: Option<String>,
}

/// The question for the listeners of a machine.
pub(super) const LISTENERS: Question = Question {
    name: "listeners",
    ask: Ask::Machine {
        body: "command -v ss > /dev/null || exit 0\n\
            ss -Hltnp | while read -r _ _ _ at _ by; do row \"$at\" \"$by\"; done",
        columns: &["key", "by"],
    },
};

impl Listener {
    /// From what `ss` says: `127.0.0.1:5432`, `*:80`, `[::]:22`, `127.0.0.53%lo:53`, and `users:(("nginx",pid=7,fd=6))`.
    pub fn of(at: &str, by: &str) -> Option<Self> {
        let (address, port) = at.rsplit_once(':')?;
        let address = address.trim_matches(['[', ']']);
        let address = address.split('%').next().unwrap_or_default();
        let program = by.split('"').nth(1).map(|program| {
            let pid = by.split("pid=").nth(1).map(|rest| {
                let end = rest.find(|c: char| !c.is_ascii_digit());
                rest.get(..end.unwrap_or(rest.len())).unwrap_or_default()
            });
            let pid = pid.filter(|pid| !pid.is_empty());
            let pid = pid.map_or(String::new(), |pid| format!(" (pid {pid})"));
            format!("{}{pid}", clean(program, 60))
        });
        Some(Listener {
            address: (!is_any(address)).then(|| address.to_owned()),
            port: port.parse().ok()?,
            program,
        })
    }

    fn keeps(&self, address: &str, port: u16) -> bool {
        self.port == port
            && (is_any(address)
                || self
                    .address
                    .as_deref()
                    .is_none_or(|mine| mine == address.trim_matches(['[', ']'])))
    }
}

fn is_any(address: &str) -> bool {
    matches!(address, "" | "*" | "0.0.0.0" | "::" | "[::]")
}

impl Ports {
    fn taken(&self, address: &str, port: u16) -> Option<Taken> {
        match self {
            Ports::Here => taken(address, port),
            Ports::There(all) => all
                .iter()
                .any(|one| one.keeps(address, port))
                .then_some(Taken::InUse),
        }
    }

    /// The programs that listen on some ports, as far as they may be seen.
    async fn programs(&self, ports: Vec<u16>) -> HashMap<u16, String> {
        match self {
            Ports::Here => tokio::task::spawn_blocking(move || programs(&ports))
                .await
                .unwrap_or_default(),
            Ports::There(all) => all
                .iter()
                .filter(|one| ports.contains(&one.port))
                .filter_map(|one| Some((one.port, one.program.clone()?)))
                .collect(),
        }
    }

    fn next_free(&self, address: &str, port: u16, wanted: &[(String, u16)]) -> Option<u16> {
        (port.checked_add(1)?..=port.saturating_add(REACH)).find(|port| {
            !wanted.iter().any(|(_, other)| other == port) && self.taken(address, *port).is_none()
        })
    }
}

/// One row for each wanted port that is taken: `key`, `holder`, `container` (the service, where it is one of ours), `free`.
pub(super) async fn busy(
    ports: &Ports,
    project: &str,
    wanted: &[(String, u16)],
    containers: &[Listed],
) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    let mut strangers = Vec::new();
    for (address, port) in wanted {
        let Some(state) = ports.taken(address, *port) else {
            continue;
        };
        let holder = containers.iter().find(|c| holds(c, address, *port));
        let mut row = Row::new();
        row.insert("key".to_owned(), json!(format!("{address}:{port}")));
        match holder {
            Some(container) => {
                let name = container
                    .names
                    .first()
                    .map_or(container.id.as_str(), String::as_str);
                row.insert(
                    "holder".to_owned(),
                    json!(format!("the container `{}`", clean(name, 100))),
                );
                if container.is_of(project) {
                    row.insert("container".to_owned(), json!(container.service));
                }
            }
            None if state == Taken::NoAddress => {
                row.insert(
                    "holder".to_owned(),
                    json!(format!(
                        "nobody, since this machine has no address {address}"
                    )),
                );
            }
            None => strangers.push((rows.len(), *port)),
        }
        // Our own container keeps its port, so nobody looks for another one.
        if !row.contains_key("container")
            && let Some(free) = ports.next_free(address, *port, wanted)
        {
            row.insert("free".to_owned(), json!(free));
        }
        rows.push(row);
    }
    if !strangers.is_empty() {
        let found = strangers.iter().map(|(_, port)| *port).collect();
        let found = ports.programs(found).await;
        for (at, port) in strangers {
            let holder = found
                .get(&port)
                .cloned()
                .unwrap_or("another program".to_owned());
            if let Some(row) = rows.get_mut(at) {
                row.insert("holder".to_owned(), Value::String(holder));
            }
        }
    }
    Ok(rows)
}

/// Who holds a port of this machine, as far as we may see it.
pub(super) async fn holder(address: &str, port: u16) -> String {
    let found = tokio::task::spawn_blocking(move || programs(&[port])).await;
    let holder = found.ok().and_then(|mut found| found.remove(&port));
    match (holder, taken(address, port)) {
        (Some(holder), _) => holder,
        (None, Some(Taken::NoAddress)) => {
            format!("nobody, since this machine has no address {address}")
        }
        (None, _) => "another program".to_owned(),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Taken {
    InUse,
    NoAddress,
}

/// Whether a port cannot be had; tried by having it for a moment.
fn taken(address: &str, port: u16) -> Option<Taken> {
    let ip: IpAddr = address.parse().ok()?;
    match TcpListener::bind(SocketAddr::new(ip, port)) {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Some(Taken::InUse),
        Err(error) if error.kind() == std::io::ErrorKind::AddrNotAvailable => {
            Some(Taken::NoAddress)
        }
        // No permission for a low port is ours, not the engine's.
        _ => None,
    }
}

fn holds(container: &Listed, address: &str, port: u16) -> bool {
    let any = |address: &str| matches!(address, "0.0.0.0" | "::");
    container
        .ports
        .iter()
        .any(|(at, outside, _)| *outside == port && (at == address || any(at) || any(address)))
}

/// The programs that listen on some ports, as `nginx (pid 123)`, as far as we may see them.
fn programs(ports: &[u16]) -> HashMap<u16, String> {
    let mut inodes = HashMap::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = std::fs::read_to_string(table).unwrap_or_default();
        for (port, inode) in listeners(&text) {
            if ports.contains(&port) {
                inodes.insert(inode, port);
            }
        }
    }
    let mut found = HashMap::new();
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return found;
    };
    for process in processes.flatten() {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let Ok(descriptors) = std::fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        for descriptor in descriptors.flatten() {
            let Ok(link) = std::fs::read_link(descriptor.path()) else {
                continue;
            };
            let Some(port) = socket_inode(&link).and_then(|inode| inodes.get(&inode)) else {
                continue;
            };
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            found
                .entry(*port)
                .or_insert_with(|| format!("`{}` (pid {pid})", clean(&name, 40)));
        }
    }
    found
}

fn socket_inode(link: &Path) -> Option<u64> {
    link.to_str()?
        .strip_prefix("socket:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

/// The listening sockets of a `/proc/net/tcp` table: port and inode.
fn listeners(table: &str) -> Vec<(u16, u64)> {
    const LISTEN: &str = "0A";
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let local = words.nth(1)?;
            let state = words.nth(1)?;
            let inode = words.nth(5)?.parse().ok()?;
            let (_, port) = local.rsplit_once(':')?;
            (state == LISTEN).then_some((u16::from_str_radix(port, 16).ok()?, inode))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_sockets_is_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:3C41 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 31337 1 0 100 0 0 10 0\n\
            1: 0100007F:3C42 0100007F:0016 01 00000000:00000000 00:00000000 00000000     0        0 31338 1 0 100 0 0 10 0\n\
            garbage\n\
            2: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 42 1\n";
        assert_eq!(listeners(table), [(15425, 31337), (80, 42)]);
        assert_eq!(socket_inode(Path::new("socket:[31337]")), Some(31337));
        assert_eq!(socket_inode(Path::new("/dev/null")), None);
    }

    #[tokio::test]
    async fn a_taken_port_names_its_holder_and_a_free_one() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let wanted = [("127.0.0.1".to_owned(), port)];
        let rows = busy(&Ports::Here, "p", &wanted, &[]).await.unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0]["key"], format!("127.0.0.1:{port}"));
        assert!(
            rows[0]["holder"].as_str().unwrap().contains("(pid "),
            "{rows:?}"
        );
        assert!(rows[0]["free"].as_u64().unwrap() > u64::from(port));
    }

    #[tokio::test]
    async fn the_ports_of_another_machine_are_what_it_says() {
        let said = [
            ("127.0.0.1:5432", r#"users:(("postgres",pid=77,fd=6))"#),
            (
                "*:80",
                r#"users:(("nginx",pid=7,fd=6),("nginx",pid=8,fd=6))"#,
            ),
            ("[::1]:8000", ""),
            ("127.0.0.53%lo:53", ""),
            ("nonsense", ""),
        ];
        let there = said.iter().filter_map(|(at, by)| Listener::of(at, by));
        let there = Ports::There(there.collect());
        let wanted = [
            ("127.0.0.1".to_owned(), 5432),
            ("10.0.0.1".to_owned(), 5432),
            ("0.0.0.0".to_owned(), 8000),
            ("10.0.0.1".to_owned(), 80),
            ("127.0.0.1".to_owned(), 8000),
        ];
        let rows = busy(&there, "p", &wanted, &[]).await.unwrap();
        let told: Vec<_> = rows
            .iter()
            .map(|row| {
                (
                    row["key"].as_str().unwrap(),
                    row["holder"].as_str().unwrap(),
                )
            })
            .collect();
        let expected = [
            ("127.0.0.1:5432", "postgres (pid 77)"),
            ("0.0.0.0:8000", "another program"),
            ("10.0.0.1:80", "nginx (pid 7)"),
        ];
        assert_eq!(told, expected);
        assert_eq!(rows[0]["free"], 5433);
    }
}
