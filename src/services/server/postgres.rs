//! `[postgres.NAME]` on a machine, and a managed one.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::command::{Dialect, Seat, Server};
use crate::declaration::{Driver, Entry, Environment, Node};
use crate::error::Problem;
use crate::resource::{Id, Probe, Thing};
use crate::resources::apt_repository::AptRepository;
use crate::resources::hba::Rule;
use crate::resources::postgres_cluster::PostgresCluster;
use crate::resources::postgres_hba::{self, PostgresHba};
use crate::services::postgres::{PORT, connect, inside};
use crate::services::project::{self, Project};
use crate::services::server::hba;
use crate::services::{hosts, server};
use crate::template;

/// The suite of apt.postgresql.org for the distribution that servers have.
const PGDG: &str = "bookworm-pgdg";

/// What cannot be meant on a machine.
pub(in crate::services) fn check(
    environment: &Environment,
    name: &str,
    node: &Node,
    problems: &mut Vec<Problem>,
) {
    server::check_listen(node, ".:-_*", problems);
    hba::check(name, node, problems);
    if environment.driver.is_engine() || node.get("external").is_some() {
        return;
    }
    // Debian's unit of a cluster is `postgresql@15-NAME`, and systemd reads each dash in there as a slash of the cluster's path.
    if let Some(cluster) = node
        .get("cluster")
        .filter(|node| node.as_text().is_some_and(|name| name.contains('-')))
    {
        let text = cluster.as_text().unwrap_or_default();
        let message = format!(
            "a cluster cannot be named `{text}`: Debian's unit `postgresql@.service` reads a dash as a slash, so it could not start"
        );
        let help = format!("did you mean `{}`?", text.replace('-', "_"));
        problems.push(Problem::error(message, &cluster.origin).help(help));
    }
    if let Some(superuser) = node
        .get("superuser")
        .filter(|node| node.as_text() != Some("postgres"))
    {
        let message = format!(
            "on a server `provision` comes into `postgres.{name}` as the system's own user `postgres`, so that is its superuser"
        );
        problems.push(Problem::error(message, &superuser.origin));
    }
}

/// The server with everything in it.
pub(in crate::services) fn expand(project: &mut Project<'_>, name: &str, entry: &Entry) {
    if let Some(external) = entry.node.get("external") {
        return managed(project, name, entry, external);
    }
    // More than one is a problem of its own.
    for machine in project.machines_of(entry).into_iter().take(1) {
        installed(project, name, entry, &machine);
    }
}

/// A server that somebody else runs: only what is inside it.
fn managed(project: &mut Project<'_>, name: &str, entry: &Entry, external: &Node) {
    let Some(seat) = server::network(project, "postgres", name, external, PORT) else {
        return;
    };
    let mut before = Vec::new();
    if let Some(machine) = seat.machine().cloned() {
        let service = format!("postgres.{name}");
        before.push(server::packages(
            project,
            &machine,
            &service,
            &["postgresql-client-15"],
            entry,
        ));
    }
    let server = Arc::new(Server {
        service: name.to_owned(),
        dialect: Dialect::Postgres,
        superuser: external.text("admin").unwrap_or("postgres").to_owned(),
        seat,
    });
    let made = inside(project, Arc::clone(&server), &entry.node, before);
    let made = server::tried(made, server);
    server::settle(project, "postgres", name, made, Vec::new());
}

fn installed(project: &mut Project<'_>, name: &str, entry: &Entry, machine: &Arc<str>) {
    let node = &entry.node;
    let service = format!("postgres.{name}");
    let version = node.text("version").unwrap_or("15");
    let port = server::port(project, "postgres", name, node, PORT);
    let mut before = Vec::new();
    if node.text("packages") == Some("pgdg") {
        before.push(pgdg(project, machine, node));
    }
    let packages = server::packages(
        project,
        machine,
        &service,
        &[&format!("postgresql-{version}")],
        entry,
    );
    before.push(packages);
    let rules = rules(project, name, node, machine);
    let outside = rules.iter().any(|rule| {
        let elsewhere = |address: &String| !server::is_loopback(address);
        !rule.rejects() && rule.address.as_ref().is_some_and(elsewhere)
    });
    let cluster = PostgresCluster {
        version: version.to_owned(),
        name: node.text("cluster").unwrap_or("main").to_owned(),
        port,
        listen: server::listen(project, machine, node, &service, outside),
        checksums: node.bool("data_checksums"),
        ..PostgresCluster::default()
    };
    alone(project, machine, &cluster, node, &service);
    let key = format!("{version}/{}", cluster.name);
    let server = Arc::new(Server {
        service: name.to_owned(),
        dialect: Dialect::Postgres,
        superuser: "postgres".to_owned(),
        seat: Seat::Machine {
            name: Arc::clone(machine),
            port,
        },
    });
    let reached = cluster
        .listen
        .iter()
        .any(|address| server::is_loopback(address) || matches!(address.as_str(), "*" | "0.0.0.0"));
    let mut resource = project::on_machine(machine, Thing::from(cluster))
        .from("", entry.key.clone())
        .from("port", node.origin("port"))
        .from("listen_addresses", node.origin("listen"))
        .from("data_checksums", node.origin("data_checksums"));
    if project.environment.driver == Driver::Local
        && let Some(forward) = project.forwards(&service).first()
    {
        resource = resource.from("port", forward.origin.clone());
    }
    resource.needs = before;
    resource.probe = Some(Probe::Login {
        server: Arc::clone(&server),
        reached,
    });
    let cluster = project.add(resource);

    let tried = if reached {
        hba::tried(node, &rules)
    } else {
        hba::Tried::default()
    };
    let groups = tried.through_groups.iter();
    let after: Vec<Id> = groups
        .map(|role| Id::new("postgres_role", name, role))
        .collect();
    let hba = PostgresHba {
        cluster: key,
        port,
        without_tls: hba::without_tls(node, &rules),
        rules,
        logins: tried.succeed,
        refused: tried.refused,
        ..PostgresHba::default()
    };
    let mut resource = project::on_machine(machine, Thing::from(hba)).from("", entry.key.clone());
    for rule in node.list("hba") {
        resource = resource.from(hba::declared(rule).whom(), rule.origin.clone());
    }
    resource.needs = vec![cluster.clone()];
    resource.needs.extend(after);
    let hba = project.add(resource);

    let made = inside(project, server, node, vec![cluster.clone()]);
    server::settle(project, "postgres", name, made, vec![cluster, hba]);
    server::endpoint(project, &service, connect(node));
}

/// The repository of PostgreSQL's own packages.
fn pgdg(project: &mut Project<'_>, machine: &Arc<str>, node: &Node) -> Id {
    let key = template::text("pgdg.asc", &project.environment.templates).unwrap_or_default();
    let thing = AptRepository {
        name: "pgdg".to_owned(),
        url: "https://apt.postgresql.org/pub/repos/apt".to_owned(),
        suite: PGDG.to_owned(),
        components: vec!["main".to_owned()],
        key: key.to_owned(),
        ..AptRepository::default()
    };
    let resource =
        project::on_machine(machine, Thing::from(thing)).from("", node.origin("packages"));
    let id = resource.id.clone();
    let there = project.resources().iter().any(|resource| resource.id == id);
    if there { id } else { project.add(resource) }
}

/// Two clusters of one machine have two names and two ports.
fn alone(
    project: &mut Project<'_>,
    machine: &Arc<str>,
    cluster: &PostgresCluster,
    node: &Node,
    service: &str,
) {
    let of_machine = project
        .resources()
        .iter()
        .filter(|resource| resource.place.machine() == Some(machine));
    let mut clash = None;
    for resource in of_machine {
        let Thing::PostgresCluster(other) = &resource.thing else {
            continue;
        };
        let same_name = (&other.version, &other.name) == (&cluster.version, &cluster.name);
        if same_name || other.port == cluster.port {
            let (what, key) = match same_name {
                true => (
                    format!("the cluster `{}/{}`", cluster.version, cluster.name),
                    "cluster",
                ),
                false => (format!("port {}", cluster.port), "port"),
            };
            clash = Some((what, key));
        }
    }
    if let Some((what, key)) = clash {
        let said = node.origin(key);
        let origin = if said.is_none() {
            node.origin.clone()
        } else {
            said
        };
        let message = format!("`{service}` wants {what} of `{machine}`, which another one has");
        let problem = Problem::error(message, &origin);
        project
            .problems
            .push(problem.help("say another `cluster` and another `port`"));
    }
}

/// The rules in their order: our own login, what is declared, applications of other machines, everybody of this machine.
fn rules(project: &Project<'_>, name: &str, node: &Node, machine: &Arc<str>) -> Vec<Rule> {
    let rule = |kind: &str, database: &str, role: &str, address: &str, method: &str| Rule {
        kind: kind.to_owned(),
        database: database.to_owned(),
        role: role.to_owned(),
        address: (kind != "local").then(|| address.to_owned()),
        method: method.to_owned(),
    };
    const SCRAM: &str = "scram-sha-256";
    let mut rules = vec![rule("local", "all", "postgres", "", "peer")];
    rules.extend(node.list("hba").iter().map(hba::declared));
    rules.extend(neighbours(project, name, node, machine));
    rules.push(rule("local", "all", "all", "", "peer"));
    for address in ["127.0.0.1/32", "::1/128"] {
        rules.push(rule("host", "all", "all", address, SCRAM));
    }
    rules.push(rule("local", "replication", "all", "", "peer"));
    for address in ["127.0.0.1/32", "::1/128"] {
        rules.push(rule("host", "replication", "all", address, SCRAM));
    }
    let mut seen = BTreeSet::new();
    rules.retain(|rule| seen.insert(rule.to_string()));
    rules
}

/// Applications of other machines come in as the roles that they name, into the databases that they name (all of ours where they
/// name none).
fn neighbours(project: &Project<'_>, name: &str, node: &Node, machine: &Arc<str>) -> Vec<Rule> {
    let login = |entry: &Entry| entry.node.bool("login") != Some(false);
    let all_roles: BTreeSet<&str> = node
        .named("role")
        .filter(|(_, entry)| login(entry))
        .map(|(role, _)| role)
        .collect();
    let all_databases: BTreeSet<&str> = node.named("database").map(|(name, _)| name).collect();
    let some = |named: BTreeSet<&str>, all: &BTreeSet<&str>| {
        let wanted = if named.is_empty() { all.clone() } else { named };
        (!wanted.is_empty()).then(|| postgres_hba::names(wanted))
    };
    let mut rules = Vec::new();
    for consumer in server::consumers(project.environment, "postgres", name) {
        if consumer.machine == *machine {
            continue;
        }
        let roles = some(
            consumer.named("role", all_roles.iter().copied()),
            &all_roles,
        );
        let databases = some(
            consumer.named("database", all_databases.iter().copied()),
            &all_databases,
        );
        let (Some(role), Some(database)) = (roles, databases) else {
            continue;
        };
        let address = hosts::address(project.environment, &consumer.machine);
        let address = match (server::is_ip(&address), address.contains(':')) {
            (true, true) => format!("{address}/128"),
            (true, false) => format!("{address}/32"),
            _ => address,
        };
        rules.push(Rule {
            kind: "host".to_owned(),
            database,
            role,
            address: Some(address),
            method: "scram-sha-256".to_owned(),
        });
    }
    rules
}
