//! `[systemd_unit."UNIT"]` and `[timer.NAME]`, and what files owe to the units that read them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::command::Place;
use crate::declaration::{Entry, Environment, Origin};
use crate::error::Problem;
use crate::quote;
use crate::resource::{Id, Thing};
use crate::resources::systemd_unit::SystemdUnit;
use crate::resources::timer::Timer;
use crate::services::Project;
use crate::services::project::on_machine;

/// What a unit may be.
const SUFFIXES: [&str; 8] = [
    "service", "socket", "timer", "path", "target", "mount", "slice", "swap",
];

pub(super) fn systemd_unit(
    project: &mut Project<'_>,
    machine: &Arc<str>,
    name: &str,
    entry: &Entry,
) {
    let node = &entry.node;
    let said = ["content", "template"]
        .into_iter()
        .find(|key| node.get(key).is_some());
    let mut content = None;
    if let Some(key) = said {
        let Some(rendered) = project.written(node) else {
            return;
        };
        let text = rendered.text;
        let origin = node.origin(key);
        if text.is_secret() {
            let problem = Problem::error(
                format!(
                    "`systemd_unit.{name}` holds a secret, and anybody on the machine can read a unit"
                ),
                &origin,
            );
            project.problems.push(problem.help(
                "write it into a file of mode 0600 and say `EnvironmentFile=` or `LoadCredential=` in the unit",
            ));
            return;
        }
        let shown = text.shown();
        if shown.contains('\0') {
            let problem = Problem::error("a text with a NUL byte is no unit", &origin);
            project.problems.push(problem);
            return;
        }
        if node.bool("start") == Some(true) && !shown.lines().any(|line| line.trim() == "[Install]")
        {
            let problem = Problem::error(
                format!(
                    "`systemd_unit.{name}` cannot start with the machine: it has no `[Install]`"
                ),
                &origin,
            );
            project.problems.push(
                problem.help(
                    "add `[Install]` and `WantedBy=multi-user.target`, or say `start = false`",
                ),
            );
        }
        content = Some(text);
    }
    let of_instances = name.contains("@.");
    let state = |key| match of_instances {
        true => None,
        false => node.bool(key),
    };
    let reads = node.texts("reads");
    let thing = SystemdUnit {
        name: name.to_owned(),
        content,
        start: state("start"),
        running: state("running"),
        reads: reads
            .into_iter()
            .map(|path| (path, String::new()))
            .collect(),
        ..SystemdUnit::default()
    };
    let mut resource = on_machine(machine, thing)
        .from("", entry.key.clone())
        .from("loaded", node.origin("reads"));
    for key in ["start", "running"] {
        resource = resource.from(key, node.origin(key));
    }
    if let Some(key) = said {
        resource = resource.from("content", node.origin(key));
    }
    project.add(resource);
}

pub(super) fn check_unit(
    environment: &Environment,
    name: &str,
    entry: &Entry,
    problems: &mut Vec<Problem>,
) {
    let node = &entry.node;
    if let Err(why) = unit_name(name) {
        problems.push(Problem::error(
            format!("`{name}` is no unit: {why}"),
            &entry.key,
        ));
    }
    if let (Some(_), Some(second)) = (node.get("content"), node.get("template")) {
        let message = format!("`systemd_unit.{name}` has content and template: one is enough");
        problems.push(Problem::error(message, &second.origin));
    }
    for path in node.list("reads") {
        check_path(path.as_text().unwrap_or_default(), &path.origin, problems);
    }
    // A timer is two units.
    let timer = |suffix| {
        let own = name.strip_suffix(suffix)?;
        environment
            .services("timer")
            .find(|(timer, _)| *timer == own)
    };
    if let Some((timer, other)) = timer(".timer").or_else(|| timer(".service")) {
        let on = |entry: &Entry| crate::services::hosts::on(environment, &entry.node);
        let machines = on(entry);
        if on(other).iter().any(|machine| machines.contains(machine)) {
            let message =
                format!("`{name}` is declared as a unit, and is made by `timer.{timer}` too");
            problems.push(Problem::error(message, &entry.key));
        }
    }
}

/// A path that a unit reads.
fn check_path(path: &str, origin: &Origin, problems: &mut Vec<Problem>) {
    let plain = path.starts_with('/')
        && !path.contains("//")
        && !path.ends_with('/')
        && !path.chars().any(|c| c.is_control() || c == '\\');
    if !plain {
        problems.push(Problem::error(
            format!("`{path}` is no absolute path of a file"),
            origin,
        ));
    }
}

/// A unit's name as systemd takes it.
fn unit_name(name: &str) -> Result<(), String> {
    let suffix = name.rsplit_once('.').map(|(_, suffix)| suffix);
    if !suffix.is_some_and(|suffix| SUFFIXES.contains(&suffix)) {
        return Err(format!(
            "its name ends in {}",
            SUFFIXES.map(|suffix| format!("`.{suffix}`")).join(", ")
        ));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || ":_.@-".contains(c);
    if !name.chars().all(plain)
        || name.starts_with(['.', '-', '@'])
        || name.matches('@').count() > 1
    {
        return Err("it is letters, digits and `: _ . @ -`".to_owned());
    }
    Ok(())
}

pub(super) fn timer(project: &mut Project<'_>, machine: &Arc<str>, name: &str, entry: &Entry) {
    let node = &entry.node;
    let user = node.text("user").unwrap_or("root").to_owned();
    let thing = Timer {
        name: name.to_owned(),
        command: node.texts("command"),
        calendar: node.text("calendar").unwrap_or_default().to_owned(),
        user: user.clone(),
        ..Timer::default()
    };
    let mut resource = on_machine(machine, thing).from("", entry.key.clone());
    for key in ["command", "calendar", "user"] {
        resource = resource.from(key, node.origin(key));
    }
    let user = Id::new("user", machine, &user);
    if project.resources().iter().any(|other| other.id == user) {
        resource.needs.push(user);
    }
    project.add(resource);
}

pub(super) fn check_timer(_: &Environment, name: &str, entry: &Entry, problems: &mut Vec<Problem>) {
    let node = &entry.node;
    let command = node.texts("command");
    if quote::exec_line(&command).is_none() {
        let message = format!("`timer.{name}` names no program by its absolute path");
        problems.push(
            Problem::error(message, &node.origin("command"))
                .help("as in `command = [\"/usr/bin/rsync\", \"-a\", \"/srv/\", \"/backup/\"]`; it runs without a shell"),
        );
    }
    for key in ["calendar", "user"] {
        let text = node.text(key).unwrap_or_default();
        let plain = quote::unit_value(text).is_some_and(|quoted| quoted == text);
        if text.is_empty() || !plain || (key == "calendar" && text.starts_with('-')) {
            let message = format!("the `{key}` of `timer.{name}` cannot be written into a unit");
            problems.push(Problem::error(message, &node.origin(key)));
        }
    }
}

/// Units read what files say that they restart or reload: such a unit that nobody declares is there only for that. Drop-ins that are
/// declared files belong to their unit, which reads them. A file that is declared is wanted as it is declared.
pub(super) fn listen(project: &mut Project<'_>) {
    let environment = project.environment;
    for (path, entry) in environment.services("file") {
        for machine in project.machines_of(entry) {
            for (key, reload) in [("restarts", false), ("reloads", true)] {
                for unit in entry.node.list(key) {
                    let name = unit.as_text().unwrap_or_default();
                    if let Err(why) = unit_name(name) {
                        let problem =
                            Problem::error(format!("`{name}` is no unit: {why}"), &unit.origin);
                        project.problems.push(problem);
                        continue;
                    }
                    let id = declared_unit(project, &machine, name, &unit.origin);
                    with_unit(project, &id, |unit| {
                        let files = if reload {
                            &mut unit.reloads
                        } else {
                            &mut unit.reads
                        };
                        files.entry(path.to_owned()).or_default();
                    });
                }
            }
        }
    }
    let digests: BTreeMap<(Arc<str>, String), (String, Id)> = project
        .resources()
        .iter()
        .filter_map(|resource| match (&resource.place, &resource.thing) {
            (Place::Machine(machine), Thing::ServerFile(file)) => Some((
                (Arc::clone(machine), file.path.clone()),
                (file.digest(), resource.id.clone()),
            )),
            _ => None,
        })
        .collect();
    for resource in project.resources_mut() {
        if let (Place::Machine(machine), Thing::Timer(timer)) =
            (&resource.place, &mut resource.thing)
        {
            let folders = ["service", "timer"]
                .map(|suffix| format!("/etc/systemd/system/{}.{suffix}.d/", timer.name));
            let own = |path: &String| folders.iter().any(|folder| path.starts_with(folder));
            for ((on, path), (digest, file)) in &digests {
                if on == machine && own(path) {
                    timer.drop_ins.insert(path.clone(), digest.clone());
                    if !resource.needs.contains(file) {
                        resource.needs.push(file.clone());
                    }
                }
            }
        }
        let (Place::Machine(machine), Thing::SystemdUnit(unit)) =
            (&resource.place, &mut resource.thing)
        else {
            continue;
        };
        let folder = format!("/etc/systemd/system/{}.d/", unit.name);
        let own = digests
            .keys()
            .filter(|(on, path)| on == machine && path.starts_with(&folder));
        for (_, path) in own {
            unit.drop_ins.insert(path.clone());
            unit.reads.entry(path.clone()).or_default();
        }
        let unit = &mut **unit;
        for (path, wanted) in unit.reads.iter_mut().chain(&mut unit.reloads) {
            if let Some((digest, file)) = digests.get(&(Arc::clone(machine), path.clone())) {
                wanted.clone_from(digest);
                if !resource.needs.contains(file) {
                    resource.needs.push(file.clone());
                }
            }
        }
    }
}

/// The id of a unit, which is made if nobody declares it.
fn declared_unit(project: &mut Project<'_>, machine: &Arc<str>, name: &str, origin: &Origin) -> Id {
    let id = Id::new("systemd_unit", machine, name);
    if project.resources().iter().any(|resource| resource.id == id) {
        return id;
    }
    let thing = SystemdUnit {
        name: name.to_owned(),
        ..SystemdUnit::default()
    };
    project.add(on_machine(machine, thing).from("", origin.clone()))
}

fn with_unit(project: &mut Project<'_>, id: &Id, change: impl FnOnce(&mut SystemdUnit)) {
    let found = project
        .resources_mut()
        .iter_mut()
        .find(|resource| resource.id == *id);
    if let Some(Thing::SystemdUnit(unit)) = found.map(|resource| &mut resource.thing) {
        change(unit);
    }
}

#[cfg(test)]
mod tests {
    use super::unit_name;

    #[test]
    fn a_unit_is_named_with_its_suffix() {
        for right in [
            "nginx.service",
            "postgresql@15-main.service",
            "app@.service",
            "a.b_c:d-e.timer",
        ] {
            assert_eq!(unit_name(right), Ok(()), "{right}");
        }
        for wrong in [
            "nginx",
            "nginx.conf",
            "a b.service",
            "x@y@z.service",
            "%i.service",
            ".service/x",
            "@x.service",
            "-x.service",
        ] {
            assert!(unit_name(wrong).is_err(), "{wrong}");
        }
    }
}
