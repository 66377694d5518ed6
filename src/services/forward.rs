//! `[forward.NAME]`: a service's port on the operator's machine, what Vagrant called `forwarded_port`.

use std::collections::{BTreeMap, BTreeSet};

use crate::declaration::{Environment, Key, Origin, Table, Type};
use crate::error::{Problem, did_you_mean};
use crate::services::Ports;

/// `[forward.NAME]`.
pub static TABLE: Table = Table {
    name: "forward.NAME",
    doc: "A service's port on this machine.",
    keys: &[
        Key::new(
            "enabled",
            Type::Bool,
            "`false` drops an entry that was inherited.",
        )
        .default("true"),
        Key::new(
            "to",
            Type::Service,
            "The service, as in `postgres.analytics`.",
        )
        .required(),
        Key::new(
            "listen",
            Type::Listen,
            "Address and port on this machine, as in `127.0.0.1:15432`.",
        )
        .required(),
        Key::new(
            "auto_correct",
            Type::Bool,
            "Where somebody else holds the port, the next free one of the 50 behind it is taken.",
        )
        .default("false"),
    ],
};

/// How many ports behind the declared one `auto_correct` may take.
pub const RANGE: u16 = 50;

/// A forward.
#[derive(Clone, Debug)]
pub struct Forward {
    /// Its name.
    pub name: String,
    /// The service it leads to, as in `postgres.analytics`.
    pub to: String,
    /// Where it listens.
    pub address: String,
    /// The port in use: the declared one, or what was taken in its place.
    pub port: u16,
    /// The declared port.
    pub declared: u16,
    /// Whether another port may be taken.
    pub auto_correct: bool,
    /// Where `listen` stands.
    pub origin: Origin,
}

/// All forwards of an environment, by name.
pub fn all(environment: &Environment, ports: &Ports) -> Vec<Forward> {
    environment
        .services("forward")
        .filter_map(|(name, entry)| {
            let (address, port) = entry.node.text("listen")?.rsplit_once(':')?;
            let declared: u16 = port.parse().ok()?;
            Some(Forward {
                name: name.to_owned(),
                to: entry.node.text("to")?.to_owned(),
                address: address.to_owned(),
                port: ports.get(name).copied().unwrap_or(declared),
                declared,
                auto_correct: entry.node.bool("auto_correct") == Some(true),
                origin: entry.node.origin("listen"),
            })
        })
        .collect()
}

/// Forwards that lead nowhere, and two on one port.
pub fn check(environment: &Environment) -> Vec<Problem> {
    let mut problems = Vec::new();
    let services: BTreeSet<String> = super::SERVICES
        .iter()
        .flat_map(|service| {
            environment
                .services(service.word)
                .map(|(name, _)| format!("{}.{name}", service.word))
        })
        .collect();
    let mut taken: BTreeMap<u16, Vec<Forward>> = BTreeMap::new();
    for forward in all(environment, &Ports::new()) {
        if !services.contains(&forward.to) {
            let origin = environment
                .tree
                .get("forward")
                .and_then(|table| table.get(&forward.name))
                .map(|node| node.origin("to"))
                .unwrap_or_default();
            let problem = Problem::error(
                format!(
                    "`forward.{}` leads to `{}`, which is not declared",
                    forward.name, forward.to
                ),
                &origin,
            );
            problems.push(did_you_mean(
                problem,
                &forward.to,
                services.iter().map(String::as_str),
            ));
        }
        let others = taken.entry(forward.port).or_default();
        let everywhere = |address: &str| address == "0.0.0.0" || address == "[::]";
        let clash = others.iter().find(|other| {
            other.address == forward.address
                || everywhere(&other.address)
                || everywhere(&forward.address)
        });
        if let Some(other) = clash {
            let message = format!(
                "`forward.{}` and `forward.{}` both want port {} ({})",
                other.name,
                forward.name,
                forward.port,
                other.origin.short()
            );
            problems.push(Problem::error(message, &forward.origin).label("taken already"));
        }
        others.push(forward);
    }
    problems
}
