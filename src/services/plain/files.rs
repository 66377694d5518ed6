//! `[file."PATH"]`, `[directory."PATH"]` and `[link."PATH"]`.

use std::path::PathBuf;
use std::sync::Arc;

use crate::declaration::{Entry, Environment, Node};
use crate::error::Problem;
use crate::resource::Resource;
use crate::resources::directory::Directory;
use crate::resources::link::Link;
use crate::resources::server_file::{Content, ServerFile};
use crate::services::project::on_machine;
use crate::services::{Project, Reads};

/// The keys that say what a file holds.
const SOURCES: [&str; 3] = ["content", "template", "source"];

pub(super) fn file(project: &mut Project<'_>, machine: &Arc<str>, path: &str, entry: &Entry) {
    let node = &entry.node;
    let Some(content) = content(project, node) else {
        return;
    };
    let thing = ServerFile {
        path: path.to_owned(),
        content,
        owner: node.text("owner").unwrap_or_default().to_owned(),
        group: node.text("group").unwrap_or_default().to_owned(),
        mode: node.text("mode").and_then(octal).unwrap_or_default(),
        validate: node.texts("validate"),
        ..ServerFile::default()
    };
    let said = SOURCES.iter().find(|key| node.get(key).is_some());
    let origin = said.map(|key| node.origin(key)).unwrap_or_default();
    let resource = with_rights(on_machine(machine, thing), entry).from("content", origin);
    project.add(resource);
}

/// What a file holds; none where it cannot be said.
fn content(project: &mut Project<'_>, node: &Node) -> Option<Content> {
    if let Some(source) = node.text("source") {
        let path = PathBuf::from(source);
        let digest = project.environment.files.get(&path).cloned();
        return Some(Content::Copy {
            digest: digest.unwrap_or_default(),
            path,
        });
    }
    let text = project.written(node)?.text;
    if text.expose().expose().contains('\0') {
        let origin = SOURCES.iter().find_map(|key| node.get(key));
        let origin = origin.map(|node| node.origin.clone()).unwrap_or_default();
        let problem = Problem::error("a text with a NUL byte is no text", &origin);
        project
            .problems
            .push(problem.help("say `source = \"FILE\"`: a copy may hold any bytes"));
        return None;
    }
    Some(Content::Text(text))
}

pub(super) fn directory(project: &mut Project<'_>, machine: &Arc<str>, path: &str, entry: &Entry) {
    let node = &entry.node;
    let thing = Directory {
        path: path.to_owned(),
        owner: node.text("owner").unwrap_or_default().to_owned(),
        group: node.text("group").unwrap_or_default().to_owned(),
        mode: node.text("mode").and_then(octal).unwrap_or_default(),
        ..Directory::default()
    };
    project.add(with_rights(on_machine(machine, thing), entry));
}

pub(super) fn link(project: &mut Project<'_>, machine: &Arc<str>, path: &str, entry: &Entry) {
    let thing = Link {
        path: path.to_owned(),
        to: entry.node.text("to").unwrap_or_default().to_owned(),
        ..Link::default()
    };
    let resource = on_machine(machine, thing).from("", entry.key.clone());
    project.add(resource.from("to", entry.node.origin("to")));
}

/// A thing with owner, group and mode, and where they are said.
fn with_rights(mut resource: Resource, entry: &Entry) -> Resource {
    resource = resource.from("", entry.key.clone());
    for key in ["owner", "group", "mode"] {
        resource = resource.from(key, entry.node.origin(key));
    }
    resource.from("type", entry.key.clone())
}

pub(super) fn reads(entry: &Entry, reads: &mut Reads) {
    reads
        .files
        .extend(entry.node.text("source").map(PathBuf::from));
}

pub(super) fn check_directory(
    environment: &Environment,
    path: &str,
    entry: &Entry,
    problems: &mut Vec<Problem>,
) {
    check_path(path, entry, problems);
    check_mode(&entry.node, problems);
    check_alone(environment, "directory", path, entry, problems);
}

pub(super) fn check_file(
    environment: &Environment,
    path: &str,
    entry: &Entry,
    problems: &mut Vec<Problem>,
) {
    check_path(path, entry, problems);
    check_mode(&entry.node, problems);
    check_heard(path, entry, problems);
    check_alone(environment, "file", path, entry, problems);
    let node = &entry.node;
    let said: Vec<&str> = SOURCES
        .into_iter()
        .filter(|key| node.get(key).is_some())
        .collect();
    if said.len() != 1 {
        let message = match said.as_slice() {
            [] => format!("the file `{path}` does not say what it holds"),
            said => format!(
                "the file `{path}` has {}: one is enough",
                said.join(" and ")
            ),
        };
        problems.push(
            Problem::error(message, &entry.key)
                .help("say `content`, `template` or `source`, and only one of them"),
        );
    }
    if let Some(validate) = node.get("validate") {
        let words = node.texts("validate");
        let message = match words.as_slice() {
            [] => "`validate` names no program",
            words if !words.iter().any(|word| word == "{}") => {
                "`validate` does not say where the file is checked"
            }
            _ => return,
        };
        problems.push(Problem::error(message, &validate.origin).help(
            "as in `validate = [\"visudo\", \"-cf\", \"{}\"]`: `{}` is the path of what is checked",
        ));
    }
}

pub(super) fn check_link(
    environment: &Environment,
    path: &str,
    entry: &Entry,
    problems: &mut Vec<Problem>,
) {
    check_path(path, entry, problems);
    check_heard(path, entry, problems);
    check_alone(environment, "link", path, entry, problems);
    let to = entry.node.get("to");
    if let Some(to) = to.filter(|to| to.as_text().is_none_or(|to| !leads(to))) {
        problems.push(Problem::error(
            format!("the link `{path}` leads to no path"),
            &to.origin,
        ));
    }
}

/// Whether a link may lead there: any path, absolute or not.
fn leads(to: &str) -> bool {
    (1..=4000).contains(&to.len()) && !to.chars().any(|c| c.is_control() || c == '\\')
}

/// A path is said in the one way in which it is compared.
fn check_path(path: &str, entry: &Entry, problems: &mut Vec<Problem>) {
    let message = match path {
        "/" => "`/` itself is not managed".to_owned(),
        path if path.contains('\\') => format!("`{path}` has a backslash"),
        path if path.ends_with('/') || path.contains("//") => {
            format!("`{path}` has a `/` too many")
        }
        path if path.split('/').any(|name| name.len() > 255) => {
            "a name in the path is longer than 255 bytes".to_owned()
        }
        _ => return,
    };
    problems.push(Problem::error(message, &entry.key));
}

/// Files that their programs pass over in silence because of how they are called.
fn check_heard(path: &str, entry: &Entry, problems: &mut Vec<Problem>) {
    let Some((folder, name)) = path.rsplit_once('/') else {
        return;
    };
    let run_parts = || {
        name.chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    };
    let (who, heard) = match folder {
        "/etc/sudoers.d" => ("`sudo`", !name.contains('.') && !name.ends_with('~')),
        "/etc/cron.d" | "/etc/cron.hourly" | "/etc/cron.daily" | "/etc/cron.weekly"
        | "/etc/cron.monthly" => ("`cron`", run_parts()),
        "/etc/update-motd.d"
        | "/etc/network/if-up.d"
        | "/etc/network/if-down.d"
        | "/etc/network/if-pre-up.d"
        | "/etc/network/if-post-down.d" => ("`run-parts`", run_parts()),
        _ => return,
    };
    if heard || name == ".placeholder" {
        return;
    }
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' {
            c
        } else {
            '_'
        }
    };
    let other: String = name.chars().map(plain).collect();
    problems.push(
        Problem::error(
            format!("{who} ignores a file of this name: `{path}` would have no effect"),
            &entry.key,
        )
        .help(format!(
            "its name may have letters, digits, `_` and `-`: `{folder}/{other}`"
        )),
    );
}

fn check_mode(node: &Node, problems: &mut Vec<Problem>) {
    if let Some(mode) = node.get("mode")
        && mode.as_text().and_then(octal).is_none()
    {
        let message = format!("`{}` is no mode", mode.as_text().unwrap_or_default());
        problems.push(
            Problem::error(message, &mode.origin)
                .help("a mode is three or four octal digits, as in `\"0644\"`"),
        );
    }
}

/// A path is one thing only.
fn check_alone(
    environment: &Environment,
    word: &str,
    path: &str,
    entry: &Entry,
    problems: &mut Vec<Problem>,
) {
    let words = ["directory", "file", "link", "swap"];
    let before = words.iter().take_while(|other| **other != word);
    for other in before {
        for (_, one) in environment
            .services(other)
            .filter(|(name, _)| *name == path)
        {
            let on = |entry: &Entry| crate::services::hosts::on(environment, &entry.node);
            let hosts = on(entry);
            if let Some(host) = on(one).iter().find(|host| hosts.contains(host)) {
                let message = format!("`{path}` is declared as {other} and as {word} on `{host}`");
                problems.push(Problem::error(message, &entry.key).label("the second one"));
            }
        }
    }
}

/// A mode from three or four octal digits; 0 would be the kind's own, so it is none.
fn octal(text: &str) -> Option<u32> {
    let digits = (3..=4).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| digits && *mode > 0)
}

#[cfg(test)]
mod tests {
    use super::octal;

    #[test]
    fn a_mode_is_octal_digits() {
        assert_eq!(octal("0644"), Some(0o644));
        assert_eq!(octal("1777"), Some(0o1777));
        for wrong in ["644 ", "0888", "64", "00644", "+644", "", "000"] {
            assert_eq!(octal(wrong), None, "{wrong}");
        }
    }
}
