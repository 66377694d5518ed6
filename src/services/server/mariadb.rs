//! `[mariadb.NAME]` on a machine, and a managed one.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::command::{Dialect, Place, Seat, Server, Text};
use crate::declaration::{Driver, Entry, Environment, Node};
use crate::error::Problem;
use crate::resource::{Id, Probe, Resource, Thing};
use crate::resources::mariadb_setting::MariadbSetting;
use crate::resources::server_file::{Content, ServerFile};
use crate::resources::systemd_unit::SystemdUnit;
use crate::services::mariadb::{PORT, connect, inside, settings_text};
use crate::services::project::{self, Project};
use crate::services::server;

/// The file that keeps the settings; it comes after Debian's own.
const KEPT: &str = "/etc/mysql/mariadb.conf.d/90-provision.cnf";

/// The server reads the draft as it would at its start, and names what it does not understand.
const VALIDATE: &str = r#"
said=$(mariadbd --defaults-file="$1" --user=mysql --help --verbose 2>&1 > /dev/null) || :
said=$(printf '%s\n' "$said" | grep -F '[ERROR]') || exit 0
printf '%s\n' "$said" >&2
exit 1
"#;

/// What cannot be meant on a machine.
pub(in crate::services) fn check(
    environment: &Environment,
    name: &str,
    node: &Node,
    problems: &mut Vec<Problem>,
) {
    server::check_listen(node, ".:-*", problems);
    if environment.driver.is_engine() {
        return;
    }
    for (setting, entry) in node.named("settings") {
        let key = match setting.replace('-', "_").as_str() {
            "port" => "port",
            "bind_address" => "listen",
            _ => continue,
        };
        let message = format!("on a server `{key}` of `mariadb.{name}` says what `{setting}` is");
        problems.push(Problem::error(message, &entry.key));
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
    let Some(seat) = server::network(project, "mariadb", name, external, PORT) else {
        return;
    };
    let Some(machine) = seat.machine().cloned() else {
        return;
    };
    let service = format!("mariadb.{name}");
    let client = server::packages(project, &machine, &service, &["mariadb-client"], entry);
    let server = Arc::new(Server {
        service: name.to_owned(),
        dialect: Dialect::MariaDb,
        superuser: external.text("admin").unwrap_or("root").to_owned(),
        seat,
    });
    let made = inside(project, &entry.node, &server, &client, &[]);
    let made = server::tried(made, server);
    server::settle(project, "mariadb", name, made, Vec::new());
}

fn installed(project: &mut Project<'_>, name: &str, entry: &Entry, machine: &Arc<str>) {
    let node = &entry.node;
    let service = format!("mariadb.{name}");
    let port = server::port(project, "mariadb", name, node, PORT);
    if let Some(other) = other(project, machine) {
        let message =
            format!("`{service}` is a second MariaDB on `{machine}`, which has `{other}`");
        let problem = Problem::error(message, &entry.key);
        project
            .problems
            .push(problem.help("one server holds many databases; put the second on another host"));
        return;
    }
    let packages = server::packages(project, machine, &service, &["mariadb-server"], entry);
    let neighbours = server::consumers(project.environment, "mariadb", name);
    let outside = neighbours.iter().any(|one| one.machine != *machine);
    let listen = server::listen(project, machine, node, &service, outside);
    let listen: Vec<&str> = listen
        .iter()
        .map(|address| match address.as_str() {
            "localhost" => "127.0.0.1",
            address => address,
        })
        .collect();
    let reached = listen
        .iter()
        .any(|address| server::is_loopback(address) || matches!(*address, "*" | "0.0.0.0"));
    let ours = [
        ("bind_address", listen.join(",")),
        ("port", port.to_string()),
    ];
    let Some(kept) = settings_text(project, node, &ours) else {
        return;
    };
    let validate = ["sh", "-c", VALIDATE, "sh", "{}"];
    let thing = ServerFile {
        path: KEPT.to_owned(),
        content: Content::Text(Text::plain(kept)),
        owner: "root".to_owned(),
        group: "root".to_owned(),
        mode: 0o644,
        validate: validate.map(str::to_owned).to_vec(),
        ..ServerFile::default()
    };
    let mut file = project::on_machine(machine, Thing::from(thing))
        .from("", entry.key.clone())
        .from("content", node.origin("settings"));
    file.needs = vec![packages.clone()];
    let file = project.add(file);

    let server = Arc::new(Server {
        service: name.to_owned(),
        dialect: Dialect::MariaDb,
        superuser: "root".to_owned(),
        seat: Seat::Machine {
            name: Arc::clone(machine),
            port,
        },
    });
    // What the file says is made to hold by the settings themselves, most of them without a restart.
    let thing = SystemdUnit {
        name: "mariadb.service".to_owned(),
        start: Some(true),
        running: Some(true),
        ..SystemdUnit::default()
    };
    let mut unit = project::on_machine(machine, Thing::from(thing)).from("", entry.key.clone());
    unit.needs = vec![packages, file.clone()];
    unit.probe = Some(Probe::Login {
        server: Arc::clone(&server),
        reached,
    });
    let unit = project.add(unit);

    let mut made = inside(project, node, &server, &unit, std::slice::from_ref(&file));
    for (setting, value) in ours {
        let thing = MariadbSetting {
            name: setting.to_owned(),
            value,
            ..MariadbSetting::default()
        };
        let mut resource = Resource {
            id: Id::new("mariadb_setting", name, setting),
            place: Place::Sql(Arc::clone(&server), None),
            thing: thing.into(),
            needs: vec![unit.clone(), file.clone()],
            origins: BTreeMap::new(),
            probe: None,
        }
        .from("", entry.key.clone())
        .from(
            "value",
            node.origin(if setting == "port" { "port" } else { "listen" }),
        );
        if setting == "port"
            && project.environment.driver == Driver::Local
            && let Some(forward) = project.forwards(&service).first()
        {
            resource = resource.from("value", forward.origin.clone());
        }
        made.push(resource);
    }
    server::settle(project, "mariadb", name, made, vec![file, unit]);
    server::endpoint(project, &service, connect(node));
}

/// Another server of the same sort on a machine.
fn other(project: &Project<'_>, machine: &Arc<str>) -> Option<Id> {
    let resources = project.resources().iter();
    let mut on_it = resources.filter(|resource| resource.place.machine() == Some(machine));
    let other = on_it
        .find(|resource| matches!(&resource.thing, Thing::ServerFile(file) if file.path == KEPT))?;
    Some(other.id.clone())
}
