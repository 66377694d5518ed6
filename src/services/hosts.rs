//! `[host.NAME]`: the machines of an environment, which entries are on them, and how they see each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::command::{Machine, Ssh, Sudo, THIS, Via};
use crate::declaration::{Driver, Entry, Environment, Node, Value};
use crate::error::{Failure, Kind, Problem, did_you_mean, nearest};
use crate::template::Datum;

/// The machines an environment is applied to; where that is a Docker engine, the one that it runs on, and none for that of this machine.
pub fn machines(environment: &Environment) -> Vec<Machine> {
    match environment.driver {
        // Of a host that is not declared `check_target` tells.
        Driver::Docker | Driver::Auto => environment
            .services("host")
            .filter(|(name, _)| environment.engine_host.as_deref() == Some(*name))
            .map(|(name, entry)| machine(name, &entry.node))
            .collect(),
        Driver::Local => vec![Machine {
            name: THIS.into(),
            via: Via::Local,
            sudo: Sudo::Free,
        }],
        Driver::Ssh => environment
            .services("host")
            .map(|(name, entry)| machine(name, &entry.node))
            .collect(),
    }
}

/// A host as a machine.
pub fn machine(name: &str, node: &Node) -> Machine {
    let text = |key| node.text(key).map(str::to_owned);
    let ssh = Ssh {
        address: node.text("address").unwrap_or(name).to_owned(),
        port: node.int("port").and_then(|port| u16::try_from(port).ok()),
        user: text("user"),
        identity: text("identity"),
        jump: text("jump"),
        host_key: text("host_key"),
    };
    let sudo = match node.get("sudo").map(|sudo| &sudo.value) {
        Some(Value::Bool(true)) => Sudo::Free,
        Some(Value::Table(_)) => node
            .get("sudo")
            .and_then(|sudo| sudo.secret("password"))
            .map_or(Sudo::Free, |password| Sudo::Password(password.clone())),
        _ => Sudo::No,
    };
    Machine {
        name: name.into(),
        via: Via::Ssh(Box::new(ssh)),
        sudo,
    }
}

/// The socket of the engine on the host that an environment is applied to.
pub fn engine_socket(environment: &Environment) -> String {
    let mut hosts = environment.services("host");
    let host = hosts.find(|(name, _)| environment.engine_host.as_deref() == Some(*name));
    let engine = host.and_then(|(_, entry)| entry.node.get("engine"));
    let socket = engine.and_then(|engine| engine.text("socket"));
    socket.unwrap_or("/var/run/docker.sock").to_owned()
}

/// Whether a user of a machine is the one as whom we log in, or may be: who it is may stand in the operator's own settings.
pub(super) fn logs_in(environment: &Environment, machine: &str, user: &str) -> bool {
    let found = machines(environment)
        .into_iter()
        .find(|one| &*one.name == machine);
    match found.map(|machine| machine.via) {
        Some(Via::Ssh(ssh)) => ssh.user.is_none_or(|name| name == user),
        _ => false,
    }
}

/// The machines that an entry is on, by its `on`: hosts, groups of hosts, or lists of them; every machine once, in order of name.
/// On this machine alone everything is on it.
pub fn on(environment: &Environment, node: &Node) -> Vec<Arc<str>> {
    match environment.driver {
        Driver::Docker | Driver::Auto => return Vec::new(),
        Driver::Local => return vec![THIS.into()],
        Driver::Ssh => {}
    }
    let words = words(node);
    environment
        .services("host")
        .filter(|(name, entry)| {
            words.iter().any(|(word, _)| word == name)
                || entry
                    .node
                    .list("groups")
                    .iter()
                    .filter_map(Node::as_text)
                    .any(|group| words.iter().any(|(word, _)| *word == group))
        })
        .map(|(name, _)| name.into())
        .collect()
}

/// The hosts that a user names, groups of hosts among them.
///
/// # Errors
/// [`Kind::Usage`]: a word that is neither.
pub fn named(environment: &Environment, words: &[String]) -> Result<Vec<String>, Failure> {
    let mut named = Vec::new();
    let known = known(environment);
    for word in words {
        if !known.contains(&word.as_str()) {
            let failure = Failure::new(
                Kind::Usage,
                format!("there is no host or group of hosts `{word}`"),
            );
            return Err(match nearest(word, known.iter().copied()) {
                Some(near) => failure.hint(format!("did you mean `{near}`?")),
                None => failure,
            });
        }
        let is_one = |(name, entry): &(&str, &Entry)| {
            name == word || entry.node.texts("groups").contains(word)
        };
        let hosts = environment.services("host").filter(is_one);
        named.extend(hosts.map(|(name, _)| name.to_owned()));
    }
    Ok(named)
}

/// Hosts and groups of hosts.
fn known(environment: &Environment) -> Vec<&str> {
    let mut known: Vec<&str> = Vec::new();
    for (name, host) in environment.services("host") {
        known.push(name);
        known.extend(host.node.list("groups").iter().filter_map(Node::as_text));
    }
    known
}

/// The words of an entry's `on`, each with its node.
fn words(node: &Node) -> Vec<(&str, &Node)> {
    let Some(on) = node.get("on") else {
        return Vec::new();
    };
    match &on.value {
        Value::List(items) => items
            .iter()
            .filter_map(|item| Some((item.as_text()?, item)))
            .collect(),
        _ => on.as_text().map(|word| (word, on)).into_iter().collect(),
    }
}

/// An `on` that names no host or group, or is missing where servers are many.
pub fn check_on(environment: &Environment, what: &str, entry: &Entry, problems: &mut Vec<Problem>) {
    if environment.driver != Driver::Ssh {
        return;
    }
    let known = known(environment);
    let words = words(&entry.node);
    if words.is_empty() {
        let message = format!("`{what}` does not say which host it is on");
        problems.push(
            Problem::error(message, &entry.key).help("say `on = \"HOST\"`, a group, or a list"),
        );
    }
    for (word, node) in words {
        if !known.contains(&word) {
            let message = format!("there is no host or group of hosts `{word}`");
            let problem = Problem::error(message, &node.origin);
            problems.push(did_you_mean(problem, word, known.iter().copied()));
        }
    }
}

/// A `host` of `[target]` that is not there, or that nothing would come of.
pub fn check_target(environment: &Environment, problems: &mut Vec<Problem>) {
    let Some(host) = environment
        .tree
        .get("target")
        .and_then(|target| target.get("host"))
    else {
        return;
    };
    let word = host.as_text().unwrap_or_default();
    if environment.driver != Driver::Docker {
        let message =
            "`host` names the host of a Docker engine, and this environment is applied to machines";
        problems.push(
            Problem::error(message, &host.origin)
                .help("say `driver = \"docker\"`, or leave `host` away"),
        );
    } else if environment.services("host").all(|(name, _)| name != word) {
        let known = environment.services("host").map(|(name, _)| name);
        let problem = Problem::error(format!("there is no host `{word}`"), &host.origin);
        let problem = problem.help(format!("declare it: `[host.{word}]` with its `address`"));
        problems.push(did_you_mean(problem, word, known));
    }
}

/// Ways to hosts that `ssh` would take for options of its own.
pub fn check_ways(environment: &Environment, problems: &mut Vec<Problem>) {
    for (_, entry) in environment.services("host") {
        for key in ["address", "user", "jump", "identity"] {
            let Some(node) = entry.node.get(key) else {
                continue;
            };
            let is_option = |text: &str| text.starts_with('-') || text.contains(char::is_control);
            if node.as_text().is_some_and(is_option) {
                let message = format!("`{key}` begins with `-` or holds a control character");
                problems.push(Problem::error(message, &node.origin));
            }
        }
    }
}

/// The address of a machine as its neighbours see it.
pub fn address(environment: &Environment, machine: &str) -> String {
    if environment.driver != Driver::Ssh {
        return "127.0.0.1".to_owned();
    }
    let mut hosts = environment.services("host");
    let host = hosts.find(|(name, _)| *name == machine);
    host.map_or(machine, |(name, entry)| seen_at(name, &entry.node))
        .to_owned()
}

fn seen_at<'a>(name: &'a str, host: &'a Node) -> &'a str {
    host.text("private_address")
        .or_else(|| host.text("address"))
        .unwrap_or(name)
}

/// What `host` is in strings of every entry: the addresses of all machines, made once for all who name one.
pub(super) fn addresses(environment: &Environment) -> Datum {
    let is_here = environment.driver != Driver::Ssh && environment.engine_host.is_none();
    Datum::map(environment.services("host").map(|(name, entry)| {
        let address = match is_here {
            true => "127.0.0.1",
            false => seen_at(name, &entry.node),
        };
        let address = Datum::Text(address.to_owned());
        (
            name.to_owned(),
            Datum::map([("address".to_owned(), address)]),
        )
    }))
}

/// What strings of an entry on a machine may name besides services: `vars` with the machine's own over them, `here` (its `name` and
/// `address`), and `host.NAME.address` of all, as of [`addresses`].
pub(super) fn names(
    environment: &Environment,
    addresses: &Datum,
    machine: Option<&str>,
) -> BTreeMap<String, Datum> {
    let mut vars: BTreeMap<String, Datum> =
        environment.services("vars").filter_map(datum).collect();
    let mut names = BTreeMap::from([("host".to_owned(), addresses.clone())]);
    if let Some(machine) = machine {
        let host = environment
            .services("host")
            .find(|(name, _)| *name == machine);
        vars.extend(
            host.into_iter()
                .flat_map(|(_, entry)| entry.node.named("vars"))
                .filter_map(datum),
        );
        let here = [
            ("name".to_owned(), Datum::Text(machine.to_owned())),
            (
                "address".to_owned(),
                Datum::Text(address(environment, machine)),
            ),
        ];
        names.insert("here".to_owned(), Datum::map(here));
    }
    names.insert("vars".to_owned(), Datum::map(vars));
    names
}

fn datum((name, entry): (&str, &Entry)) -> Option<(String, Datum)> {
    let datum = match &entry.node.value {
        Value::Text(text) => Datum::Text(text.clone()),
        Value::Int(number) => Datum::Int(*number),
        Value::Bool(flag) => Datum::Bool(*flag),
        _ => return None,
    };
    Some((name.to_owned(), datum))
}
