//! Services on machines: what `[postgres.NAME]`, `[mariadb.NAME]` and `[django.NAME]` mean where there is no engine.

pub(super) mod django;
mod hba;
pub(super) mod mariadb;
pub(super) mod postgres;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::command::{Seat, Server, THIS};
use crate::declaration::{Driver, Entry, Environment, Node, Origin, Value};
use crate::error::{Problem, did_you_mean};
use crate::resource::{Id, Probe, Resource, Thing};
use crate::resources::packages::Packages;
use crate::services::project::{self, Project, View};
use crate::services::{Ports, hosts};

/// The port a database server is reached at where it runs.
fn port(project: &Project<'_>, table: &str, name: &str, node: &Node, standard: u16) -> u16 {
    let said = node.int("port").and_then(|port| u16::try_from(port).ok());
    let forwarded = || Some(project.forwards(&format!("{table}.{name}")).first()?.port);
    match project.environment.driver {
        Driver::Docker | Driver::Auto => standard,
        // On this machine there is nothing to forward: it listens there itself.
        Driver::Local => said.or_else(forwarded).unwrap_or(standard),
        Driver::Ssh => said.unwrap_or(standard),
    }
}

/// Host and port of a database server for a consumer.
pub(super) fn seen(
    project: &Project<'_>,
    table: &str,
    name: &str,
    node: &Node,
    standard: u16,
    view: &View,
) -> Option<(String, u16)> {
    if let Some(external) = node.get("external") {
        let forwarded = match view {
            View::Operator => project.published(&format!("{table}.{name}")),
            View::Container | View::Machine(_) => None,
        };
        return forwarded.or_else(|| address(external, standard));
    }
    let port = port(project, table, name, node, standard);
    match (project.environment.driver, view) {
        (Driver::Local, View::Operator) => Some(("127.0.0.1".to_owned(), port)),
        _ => project.seen(table, name, port, view),
    }
}

/// Where a managed server is.
fn address(external: &Node, standard: u16) -> Option<(String, u16)> {
    let port = external.int("port").and_then(|port| port.try_into().ok());
    Some((external.text("host")?.to_owned(), port.unwrap_or(standard)))
}

/// Contradictions of a database server that are the same for every sort of it.
pub(super) fn check_database(
    environment: &Environment,
    table: &str,
    name: &str,
    entry: &Entry,
    problems: &mut Vec<Problem>,
) {
    let node = &entry.node;
    let what = format!("{table}.{name}");
    if environment.driver.is_engine() {
        if let Some(was) = node
            .get("was")
            .filter(|_| environment.driver == Driver::Docker)
        {
            let message = format!("`{what}` cannot take over the volume of another name");
            let problem = Problem::error(message, &was.origin);
            problems
                .push(problem.help("keep the old name, or dump its databases and restore them"));
        }
        if let Some(external) = node
            .get("external")
            .filter(|_| environment.driver == Driver::Docker)
        {
            let message = format!(
                "`{what}` is a managed server, which is reached from a machine and not from a Docker engine"
            );
            let problem = Problem::error(message, &external.origin);
            problems
                .push(problem.help("say `driver = \"ssh\"` or `driver = \"local\"` in `[target]`"));
        }
        return;
    }
    let on = hosts::on(environment, node);
    if let Some(external) = node.get("external") {
        let known: Vec<&str> = environment.services("host").map(|(name, _)| name).collect();
        if let Some(from) = external.text("from").filter(|from| !known.contains(from)) {
            let problem = Problem::error(
                format!("there is no host `{from}`"),
                &external.origin("from"),
            );
            problems.push(did_you_mean(problem, from, known.iter().copied()));
        }
        // A warning only: an environment may inherit what others need.
        for key in ["settings", "hba", "listen", "on"] {
            let says = |node: &&Node| match &node.value {
                Value::Table(entries) => !entries.0.is_empty(),
                Value::List(items) => !items.is_empty(),
                _ => true,
            };
            if let Some(node) = node
                .get(key)
                .filter(says)
                .filter(|node| !node.origin.is_none())
            {
                let message = format!(
                    "`{what}` is a managed server, where nothing comes of `{key}`: that is for one that is installed from here"
                );
                problems.push(Problem::warning(message, &node.origin));
            }
        }
    } else if on.len() > 1 {
        let names: Vec<String> = on.iter().map(|machine| format!("`{machine}`")).collect();
        let message = format!(
            "`{what}` is one server, and `on` means {}",
            names.join(", ")
        );
        let problem = Problem::error(message, &node.origin("on"));
        problems.push(problem.help("name one host; two servers are two tables"));
    }
    for key in ["port", "external"] {
        let forwards = environment.services("forward").filter(|(_, forward)| {
            environment.driver == Driver::Local && forward.node.text("to") == Some(what.as_str())
        });
        let Some(said) = node.get(key) else { continue };
        for (forward, entry) in forwards {
            let listen = entry.node.text("listen").unwrap_or_default();
            let port = node.int("port").map(|port| format!(":{port}"));
            if key == "port" && port.is_some_and(|port| listen.ends_with(&port)) {
                continue;
            }
            let message = format!(
                "nothing forwards on this machine: `{what}` itself listens, and `forward.{forward}` says where ({listen})"
            );
            problems.push(Problem::error(message, &said.origin).label("says otherwise"));
        }
    }
}

/// The machine from which a managed server is reached, and how.
fn network(
    project: &Project<'_>,
    table: &str,
    name: &str,
    external: &Node,
    standard: u16,
) -> Option<Seat> {
    let machines = hosts::machines(project.environment);
    let first = || {
        let users = consumers(project.environment, table, name)
            .into_iter()
            .next();
        let first = machines.first().map(|machine| Arc::clone(&machine.name));
        users.map(|user| user.machine).or(first)
    };
    let from = match external.text("from") {
        Some(from) => machines
            .iter()
            .find(|machine| *machine.name == *from)
            .map(|machine| Arc::clone(&machine.name)),
        None => first(),
    };
    let (host, port) = address(external, standard)?;
    Some(Seat::Network {
        from: from?,
        host,
        port,
    })
}

/// Services of a machine that want the same port, which only one can have. Applications share nginx's, where their domains differ.
pub(super) fn check_ports(environment: &Environment, problems: &mut Vec<Problem>) {
    struct Taken {
        what: String,
        origin: Origin,
        domains: Vec<String>,
    }
    let forwards = super::forward::all(environment, &Ports::new());
    let mut taken: BTreeMap<(Arc<str>, u16), Vec<Taken>> = BTreeMap::new();
    for (table, standard) in [
        ("postgres", 5432),
        ("mariadb", 3306),
        ("django", django::HTTP),
    ] {
        for (name, entry) in environment.services(table) {
            let node = &entry.node;
            if node.get("external").is_some() {
                continue;
            }
            let what = format!("{table}.{name}");
            let is_site = table == "django";
            let said = node.int("port").and_then(|port| port.try_into().ok());
            let mut ports: Vec<(u16, Origin)> = match said.filter(|_| !is_site) {
                Some(port) => vec![(port, node.origin("port"))],
                None if environment.driver == Driver::Local => forwards
                    .iter()
                    .filter(|forward| forward.to == what)
                    .map(|forward| (forward.port, forward.origin.clone()))
                    .collect(),
                None => Vec::new(),
            };
            if ports.is_empty() {
                ports.push((standard, entry.key.clone()));
            }
            for machine in hosts::on(environment, node) {
                for (port, origin) in &ports {
                    let this = Taken {
                        what: what.clone(),
                        origin: origin.clone(),
                        domains: match is_site {
                            true => django::domains(node),
                            false => Vec::new(),
                        },
                    };
                    let others = taken.entry((Arc::clone(&machine), *port)).or_default();
                    let clash = others.iter().find(|other| {
                        let shared = |domain| other.domains.contains(domain);
                        // Two servers of one sort are told apart by more than their port.
                        (is_site || !other.what.starts_with(table))
                            && other.what != this.what
                            && (this.domains.is_empty()
                                || other.domains.is_empty()
                                || this.domains.iter().any(shared))
                    });
                    if let Some(other) = clash {
                        problems.push(same_port(
                            &this.what,
                            &other.what,
                            &machine,
                            *port,
                            &this.origin,
                            !this.domains.is_empty() && !other.domains.is_empty(),
                        ));
                    }
                    others.push(this);
                }
            }
        }
    }
}

fn same_port(
    this: &str,
    other: &str,
    machine: &str,
    port: u16,
    origin: &Origin,
    are_sites: bool,
) -> Problem {
    let whose = match machine {
        THIS => "this machine".to_owned(),
        machine => format!("`{machine}`"),
    };
    let (thing, help) = match are_sites {
        true => (
            format!("the same domain on port {port}"),
            "give one of them other `domains`, or another `health_host`",
        ),
        false => (
            format!("port {port}"),
            "give one of them another port or another host",
        ),
    };
    let message = format!("`{other}` and `{this}` both want {thing} of {whose}");
    Problem::error(message, origin)
        .label("the second one")
        .help(help)
}

/// Packages of a service on a machine; needed by everything else of it.
fn packages(
    project: &mut Project<'_>,
    machine: &Arc<str>,
    service: &str,
    names: &[&str],
    entry: &Entry,
) -> Id {
    let thing = Packages {
        name: service.to_owned(),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        ..Packages::default()
    };
    project.add(project::on_machine(machine, Thing::from(thing)).from("", entry.key.clone()))
}

/// Addresses to listen on, before anybody is asked what they mean: letters, digits and what a sort of server takes besides.
fn check_listen(node: &Node, besides: &str, problems: &mut Vec<Problem>) {
    for listen in node.list("listen") {
        let text = listen.as_text().unwrap_or_default();
        let fits = |c: char| c.is_ascii_alphanumeric() || besides.contains(c);
        if text.is_empty() || !text.chars().all(fits) {
            problems.push(Problem::error(
                format!("`{text}` is no address"),
                &listen.origin,
            ));
        }
    }
}

/// What is inside a managed server: tried as a whole when the last of it is there.
fn tried(mut made: Vec<Resource>, server: Arc<Server>) -> Vec<Resource> {
    if let Some(last) = made.last_mut() {
        last.probe = Some(Probe::Login {
            server,
            reached: true,
        });
    }
    made
}

/// Takes in what is inside a server; whoever uses the server waits for all of it, and for what stands before it.
fn settle(
    project: &mut Project<'_>,
    table: &str,
    name: &str,
    made: Vec<Resource>,
    mut ids: Vec<Id>,
) {
    for resource in made {
        ids.push(project.add(resource));
    }
    project.settled(table, name, ids);
}

/// How people on the operator's machine connect.
fn endpoint(project: &mut Project<'_>, service: &str, connect: impl Fn(&str, u16) -> String) {
    let forward = (project.environment.driver == Driver::Ssh)
        .then(|| format!("provision forward {}", project.environment.name));
    project.endpoint(service, |address, port| {
        let connect = connect(address, port);
        forward.iter().cloned().chain([connect]).collect()
    });
}

/// An application on a machine that uses a database server.
#[derive(Clone, Debug, PartialEq)]
struct Consumer {
    machine: Arc<str>,
    /// The templates of its environment that name the server.
    words: Vec<String>,
}

impl Consumer {
    /// Which of some things of the server (roles, databases) it names, as in `postgres.analytics.role.django_user`.
    fn named<'n>(&self, table: &str, names: impl Iterator<Item = &'n str>) -> BTreeSet<&'n str> {
        names
            .filter(|name| {
                let forms = [
                    format!("{table}[\"{name}\"]"),
                    format!("{table}['{name}']"),
                    format!("{table}.{name}.name"),
                    format!("{table}.{name}.password"),
                ];
                self.words
                    .iter()
                    .any(|word| forms.iter().any(|form| word.contains(form)))
            })
            .collect()
    }
}

/// The applications that use a database server.
fn consumers(environment: &Environment, table: &str, name: &str) -> Vec<Consumer> {
    let forms = [
        format!("{table}.{name}."),
        format!("{table}[\"{name}\"]"),
        format!("{table}['{name}']"),
    ];
    let mut consumers = Vec::new();
    for (_, entry) in environment.services("django") {
        let words: Vec<String> = entry
            .node
            .named("env")
            .filter_map(|(_, variable)| variable.node.as_text())
            .filter(|text| text.contains("{{") && forms.iter().any(|form| text.contains(form)))
            .map(str::to_owned)
            .collect();
        if words.is_empty() {
            continue;
        }
        for machine in hosts::on(environment, &entry.node) {
            consumers.push(Consumer {
                machine,
                words: words.clone(),
            });
        }
    }
    consumers
}

/// The addresses a server listens on: the declared ones, or itself and, where somebody comes from outside, its own.
fn listen(
    project: &Project<'_>,
    machine: &str,
    node: &Node,
    service: &str,
    outside: bool,
) -> Vec<String> {
    if node.get("listen").is_some() {
        return node.texts("listen");
    }
    let mut listen = vec!["localhost".to_owned()];
    if project.environment.driver == Driver::Local {
        for forward in project.forwards(service) {
            match forward.address.as_str() {
                "0.0.0.0" | "[::]" => return vec!["*".to_owned()],
                "127.0.0.1" | "[::1]" | "localhost" => {}
                other => listen.push(other.trim_matches(['[', ']']).to_owned()),
            }
        }
    }
    if outside {
        let own = hosts::address(project.environment, machine);
        // An address that the world knows may be another machine's, which hands on what it gets.
        match is_private(&own) {
            true => listen.push(own),
            false => return vec!["*".to_owned()],
        }
    }
    listen
}

/// Whether this is an IP address.
fn is_ip(address: &str) -> bool {
    let four = || {
        let parts: Vec<&str> = address.split('.').collect();
        parts.len() == 4 && parts.iter().all(|part| part.parse::<u8>().is_ok())
    };
    address.contains(':')
        && address
            .chars()
            .all(|c| c.is_ascii_hexdigit() || matches!(c, ':' | '.'))
        || four()
}

/// Whether this is an IP address that only neighbours know.
fn is_private(address: &str) -> bool {
    let mut parts = address
        .split('.')
        .map(|part| part.parse::<u8>().unwrap_or(0));
    let (first, second) = (parts.next(), parts.next());
    is_ip(address)
        && match (first, second) {
            (Some(10), _) | (Some(192), Some(168)) => true,
            (Some(172), Some(second)) => (16..32).contains(&second),
            _ => address.starts_with("fd") || address.starts_with("fc"),
        }
}

/// Whether a host of `pg_hba.conf`, or of an account, is this machine itself.
fn is_loopback(address: &str) -> bool {
    address.starts_with("127.")
        || address.starts_with("::1")
        || matches!(address, "localhost" | "samehost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart() {
        for (address, ip, private) in [
            ("10.0.0.5", true, true),
            ("172.17.0.2", true, true),
            ("172.32.0.2", true, false),
            ("203.0.113.7", true, false),
            ("fd00::7", true, true),
            ("2001:db8::1", true, false),
            ("db.ace", false, false),
            ("db1.iact.example.com", false, false),
        ] {
            assert_eq!(
                (is_ip(address), is_private(address)),
                (ip, private),
                "{address}"
            );
        }
    }
}
