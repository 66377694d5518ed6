//! `[group.NAME]` and `[user.NAME]`.

use std::path::PathBuf;
use std::sync::Arc;

use crate::declaration::{Entry, Environment, Node};
use crate::error::Problem;
use crate::resources::authorized_key::{AuthorizedKeys, Key};
use crate::resources::group::Group;
use crate::resources::user::User;
use crate::services::project::on_machine;
use crate::services::{Project, Reads, hosts};

pub(super) fn group(project: &mut Project<'_>, machine: &Arc<str>, name: &str, entry: &Entry) {
    let node = &entry.node;
    let thing = Group {
        name: name.to_owned(),
        gid: number(node, "gid"),
        system: node.bool("system").unwrap_or(false),
    };
    let resource = on_machine(machine, thing).from("", entry.key.clone());
    project.add(resource.from("gid", node.origin("gid")));
}

pub(super) fn user(project: &mut Project<'_>, machine: &Arc<str>, name: &str, entry: &Entry) {
    let node = &entry.node;
    let text = |key| node.text(key).map(str::to_owned);
    let thing = User {
        name: name.to_owned(),
        uid: number(node, "uid"),
        group: text("group"),
        groups: node
            .get("groups")
            .map(|_| node.texts("groups").into_iter().collect()),
        home: text("home"),
        shell: text("shell"),
        comment: text("comment"),
        system: node.bool("system").unwrap_or(false),
        locked: node.bool("locked").unwrap_or(false),
        password: node.secret("password").cloned(),
        seed: format!("{}/{machine}/{name}", project.environment.project),
        ..User::default()
    };
    let mut resource = on_machine(machine, thing).from("", entry.key.clone());
    for key in [
        "uid", "group", "groups", "home", "shell", "comment", "locked", "password",
    ] {
        resource = resource.from(key, node.origin(key));
    }
    for item in node.list("groups") {
        if let Some(group) = item.as_text() {
            resource = resource.from(format!("groups {group}"), item.origin.clone());
        }
    }
    let user = project.add(resource);
    if let Some(keys) = keys(project, machine, name, node) {
        let mut resource = keys;
        resource.needs.push(user);
        project.add(resource);
    }
}

/// The keys that let a user in, where they are managed.
fn keys(
    project: &mut Project<'_>,
    machine: &Arc<str>,
    name: &str,
    node: &Node,
) -> Option<crate::resource::Resource> {
    let exclusive = node.bool("exclusive_keys").unwrap_or(false);
    let declared = node.get("authorized_keys")?;
    let mut lines = std::collections::BTreeSet::new();
    for file in node.list("authorized_keys") {
        let path = PathBuf::from(file.as_text().unwrap_or_default());
        let Some(text) = project.environment.texts.get(&path) else {
            continue;
        };
        let before = lines.len();
        let own = text.lines().filter(|line| Key::of_line(line).is_some());
        lines.extend(own.map(|line| line.trim().to_owned()));
        if text.contains("PRIVATE KEY") || lines.len() == before && !text.trim().is_empty() {
            let no_key = !text.lines().any(|line| Key::of_line(line).is_some());
            if no_key {
                let file = path.file_name().unwrap_or_default().to_string_lossy();
                let message = format!("`{file}` holds no public key");
                project.problems.push(
                    Problem::error(message, &declared.origin)
                        .help("it is a line as in `ssh-ed25519 AAAA... you@laptop`"),
                );
            }
        }
    }
    let thing = AuthorizedKeys {
        user: name.to_owned(),
        keys: lines,
        exclusive,
        ours: hosts::logs_in(project.environment, machine, name),
        ..AuthorizedKeys::default()
    };
    let origin = declared.origin.clone();
    Some(
        on_machine(machine, thing)
            .from("", origin.clone())
            .from("key", origin),
    )
}

fn number(node: &Node, key: &str) -> Option<u32> {
    node.int(key).and_then(|number| u32::try_from(number).ok())
}

pub(super) fn reads(entry: &Entry, reads: &mut Reads) {
    let files = entry.node.texts("authorized_keys");
    reads.texts.extend(files.into_iter().map(PathBuf::from));
}

pub(super) fn check_group(
    environment: &Environment,
    name: &str,
    entry: &Entry,
    problems: &mut Vec<Problem>,
) {
    check_name("group", name, entry, problems);
    one_number(environment, "group", "gid", name, entry, problems);
}

pub(super) fn check_user(
    environment: &Environment,
    name: &str,
    entry: &Entry,
    problems: &mut Vec<Problem>,
) {
    check_name("user", name, entry, problems);
    one_number(environment, "user", "uid", name, entry, problems);
    let node = &entry.node;
    for key in ["home", "shell"] {
        if let Some(node) = node.get(key) {
            let path = node.as_text().unwrap_or_default();
            let plain = |c: char| !c.is_control() && c != ':';
            if !path.starts_with('/') || !path.chars().all(plain) {
                let message = format!("the `{key}` of `user.{name}` is no absolute path");
                problems.push(Problem::error(message, &node.origin));
            }
        }
    }
    if let Some(comment) = node.get("comment") {
        let text = comment.as_text().unwrap_or_default();
        if text.chars().any(|c| c.is_control() || c == ':') {
            problems.push(Problem::error(
                "a full name has no `:` and no control characters",
                &comment.origin,
            ));
        }
    }
    for group in node.get("group").into_iter().chain(node.list("groups")) {
        let text = group.as_text().unwrap_or_default();
        if !is_account(text) {
            let message = format!("`{text}` is no name of a group");
            problems.push(Problem::error(message, &group.origin));
        }
    }
    if node.bool("exclusive_keys") == Some(true) && node.list("authorized_keys").is_empty() {
        let origin = node.origin("exclusive_keys");
        problems.push(
            Problem::error(
                format!(
                    "`user.{name}` has exclusive keys, and none is declared: nobody could log in"
                ),
                &origin,
            )
            .help("say `authorized_keys = [\"keys/you.pub\"]`"),
        );
    }
}

/// Names that every tool takes for a name: no number, no option, no list.
fn is_account(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let body = text.strip_suffix('$').unwrap_or(text);
    (1..=32).contains(&text.len())
        && body.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && body.chars().all(plain)
}

fn check_name(word: &str, name: &str, entry: &Entry, problems: &mut Vec<Problem>) {
    if !is_account(name) {
        let message = format!("`{name}` is no name of a {word}: it has at most 32 characters");
        problems.push(Problem::error(message, &entry.key));
    }
}

/// Two users of one number are one to the kernel.
fn one_number(
    environment: &Environment,
    table: &str,
    key: &str,
    name: &str,
    entry: &Entry,
    problems: &mut Vec<Problem>,
) {
    let Some(own) = entry.node.int(key) else {
        return;
    };
    let on = |entry: &Entry| hosts::on(environment, &entry.node);
    let machines = on(entry);
    let before = environment
        .services(table)
        .take_while(|(other, _)| *other != name);
    for (other, one) in before.filter(|(_, one)| one.node.int(key) == Some(own)) {
        if on(one).iter().any(|machine| machines.contains(machine)) {
            let message =
                format!("`{table}.{other}` and `{table}.{name}` have the {key} {own} on one host");
            problems.push(Problem::error(message, &entry.node.origin(key)));
        }
    }
}
