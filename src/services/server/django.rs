//! `[django.NAME]` on a machine: its source, a Python environment, gunicorn as a unit of systemd, and nginx before it.
//!
//! | where | what |
//! |---|---|
//! | `/srv/NAME/app` | the source; the application may read it |
//! | `/srv/NAME/venv` | a link to the Python environment in `/srv/NAME/venvs` |
//! | `/srv/NAME/static` | what `collectstatic` collects, for nginx too |
//! | `/srv/NAME/run/web.sock` | the socket between nginx and gunicorn |
//! | `/etc/NAME` | its environment, closed to others, and gunicorn's settings |
//! | `/var/lib/NAME` | what the application may write |
//! | `/var/log/NAME` | nginx's logs of it; its own are in the journal |

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use crate::command::Text;
use crate::declaration::{Driver, Entry, Environment, Node, Value};
use crate::error::Problem;
use crate::quote;
use crate::resource::{Id, Probe, Resource, Thing};
use crate::resources::directory::Directory;
use crate::resources::git_checkout::GitCheckout;
use crate::resources::group::Group;
use crate::resources::server_file::{Content, ServerFile};
use crate::resources::source_tree::SourceTree;
use crate::resources::systemd_unit::SystemdUnit;
use crate::resources::task::Task;
use crate::resources::user::User;
use crate::resources::venv::{Requirements, Venv};
use crate::secret::{Secret, sha256};
use crate::services::project::{self, Project, View};
use crate::services::{django, server};
use crate::template;

/// The port of nginx where nothing else is said.
pub(super) const HTTP: u16 = 80;

/// Names that users or units of Debian have.
const TAKEN: [&str; 32] = [
    "root",
    "daemon",
    "bin",
    "sys",
    "sync",
    "games",
    "man",
    "lp",
    "mail",
    "news",
    "uucp",
    "proxy",
    "www-data",
    "backup",
    "list",
    "irc",
    "nobody",
    "messagebus",
    "sshd",
    "ssh",
    "postgres",
    "postgresql",
    "mysql",
    "mariadb",
    "nginx",
    "cron",
    "dbus",
    "logrotate",
    "provision",
    "sudo",
    "adm",
    "users",
];

/// A site of nginx alone, since a part of its configuration cannot be tested by itself.
const TEST: &str = r#"
umask 027
folder=$(mktemp -d /run/provision-nginx-XXXXXXXXXX)
trap 'rm -rf "$folder"' EXIT
printf 'events {}\nhttp {\n include /etc/nginx/mime.types;\n include "%s";\n}\n' "$1" > "$folder/nginx.conf"
nginx -t -q -c "$folder/nginx.conf"
"#;

/// What cannot be meant on a machine.
pub(in crate::services) fn check(
    environment: &Environment,
    name: &str,
    node: &Node,
    problems: &mut Vec<Problem>,
) {
    let what = format!("django.{name}");
    let users = environment
        .services("host")
        .filter_map(|(_, host)| host.node.text("user"));
    if TAKEN.contains(&name)
        || name.starts_with("systemd-")
        || users.into_iter().any(|user| user == name)
    {
        let message = format!(
            "on a server `{what}` would run as the user `{name}`, which is somebody else's"
        );
        problems
            .push(Problem::error(message, &node.origin).help("give the application another name"));
    } else if name.len() > 32 {
        let message =
            format!("`{what}` runs as a user of its name, which has at most 32 characters");
        problems.push(Problem::error(message, &node.origin));
    }
    let mut wrong_value = |key: &str, why: &str| {
        problems.push(Problem::error(format!("`{key}` {why}"), &node.origin(key)));
    };
    let plain = |text: &str| {
        !text.starts_with('-')
            && !text.is_empty()
            && !text.chars().any(|c| c.is_control() || c.is_whitespace())
    };
    for key in ["requirements", "python"] {
        if !node.text(key).is_none_or(plain) {
            wrong_value(key, "is empty, begins with `-` or has spaces in it");
        }
    }
    for (key, text) in [("wsgi", django::wsgi(node))] {
        if !plain(&text) {
            wrong_value(key, "is no module and name, as in `iact.wsgi:application`");
        }
    }
    for domain in domains(node) {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '*');
        if domain.is_empty() || !domain.chars().all(fits) {
            wrong_value(
                "domains",
                "holds what is no host name, as in `www.example.com`",
            );
        }
    }
    if let Some(source) = node
        .get("source")
        .filter(|source| source.get("git").is_some())
    {
        for key in ["git", "ref"] {
            if !source.text(key).is_none_or(plain) {
                let message = format!("`{key}` is empty, begins with `-` or has spaces in it");
                problems.push(Problem::error(message, &source.origin(key)));
            }
        }
    }
    if node.bool("mount") == Some(true) {
        let git = node.text("source").is_none();
        if environment.driver == Driver::Ssh || git {
            let message = format!(
                "`mount` uses a folder of this machine where it is, and `{what}` is not here"
            );
            problems.push(Problem::error(message, &node.origin("mount")).help("leave `mount` out"));
        }
    }
}

pub(super) fn domains(node: &Node) -> Vec<String> {
    let mut domains = node.texts("domains");
    if domains.is_empty() {
        domains.extend(node.text("health_host").map(str::to_owned));
    }
    domains
}

/// Where nginx listens for an application: address and port; no address is all of them.
pub(super) fn listens(project: &Project<'_>, name: &str) -> Vec<(Option<String>, u16)> {
    let forwards = match project.environment.driver {
        // On this machine there is nothing to forward: nginx listens there itself.
        Driver::Local => project.forwards(&format!("django.{name}")),
        _ => &[],
    };
    let listens: Vec<_> = forwards
        .iter()
        .map(|forward| {
            let everywhere = matches!(forward.address.as_str(), "0.0.0.0" | "[::]");
            ((!everywhere).then(|| forward.address.clone()), forward.port)
        })
        .collect();
    match listens.is_empty() {
        true => vec![(None, HTTP)],
        false => listens,
    }
}

/// Host and port of an application for a consumer: nginx's.
pub(in crate::services) fn seen(
    project: &Project<'_>,
    name: &str,
    view: &View,
) -> Option<(String, u16)> {
    let listens = listens(project, name);
    let (address, port) = listens.first()?;
    match (project.environment.driver, view) {
        (Driver::Local, _) => {
            let here = || "127.0.0.1".to_owned();
            Some((address.clone().unwrap_or_else(here), *port))
        }
        _ => project.seen("django", name, *port, view),
    }
}

/// The application on every machine it is on.
pub(in crate::services) fn expand(project: &mut Project<'_>, name: &str, entry: &Entry) {
    let machines = project.machines_of(entry);
    let mut migrated = None;
    for machine in &machines {
        project.stand_on(machine);
        let mut app = App::new(project, name, entry, machine);
        app.installed();
        // Two at once would migrate the same database.
        migrated = app.tasks(migrated.take());
        app.served();
    }
    let path = entry.node.text("health").unwrap_or("/").to_owned();
    let host = entry
        .node
        .text("health_host")
        .unwrap_or("localhost")
        .to_owned();
    project.endpoint(&format!("django.{name}"), |address, port| {
        let shown = match host.as_str() {
            "localhost" => String::new(),
            host => format!("-H {} ", quote::word(&format!("Host: {host}"))),
        };
        vec![format!("curl {shown}http://{address}:{port}{path}")]
    });
}

/// An application on a machine, while it is expanded.
struct App<'p, 'e> {
    project: &'p mut Project<'e>,
    name: &'p str,
    entry: &'p Entry,
    machine: &'p Arc<str>,
    /// The folder of its source.
    source: String,
    /// Whether that is the user's own.
    mounted: bool,
    /// The user it runs as.
    user: String,
    /// What tells one state of it from another: source, packages, environment.
    state: String,
    /// The same as far as it may be shown.
    shown: String,
    /// What everything of it needs: packages, folders, its user.
    base: Vec<Id>,
    /// What it has to have before it runs.
    needs: Vec<Id>,
    /// What it reads at its start, by path, with its digest.
    reads: BTreeMap<String, String>,
}

impl<'p, 'e> App<'p, 'e> {
    fn new(
        project: &'p mut Project<'e>,
        name: &'p str,
        entry: &'p Entry,
        machine: &'p Arc<str>,
    ) -> Self {
        let node = &entry.node;
        let mounted = node.bool("mount") == Some(true);
        let folder = node.text("source").unwrap_or_default();
        let owner = project.environment.owners.get(Path::new(folder));
        let user = match mounted {
            // Who saves the files runs them: whatever they may read, the application may.
            true => owner.copied().unwrap_or_default().to_string(),
            false => name.to_owned(),
        };
        let source = match mounted {
            true => folder.to_owned(),
            false => format!("/srv/{name}/app"),
        };
        App {
            project,
            name,
            entry,
            machine,
            source,
            mounted,
            user,
            state: String::new(),
            shown: String::new(),
            base: Vec::new(),
            needs: Vec::new(),
            reads: BTreeMap::new(),
        }
    }

    fn node(&self) -> &'p Node {
        &self.entry.node
    }

    fn at(&self, path: &str) -> String {
        format!("/srv/{}/{path}", self.name)
    }

    fn conf(&self, file: &str) -> String {
        format!("/etc/{}/{file}", self.name)
    }

    fn resource(&self, thing: impl Into<Thing>) -> Resource {
        let mut resource =
            project::on_machine(self.machine, thing).from("", self.entry.key.clone());
        resource.needs.clone_from(&self.base);
        resource
    }

    fn add(&mut self, thing: impl Into<Thing>) -> Id {
        let resource = self.resource(thing);
        self.project.add(resource)
    }

    /// Packages, user, folders, source, Python environment and the application's own.
    fn installed(&mut self) {
        let node = self.node();
        let (name, group) = (self.name, self.name.to_owned());
        let mut packages = vec!["nginx", "logrotate", "ca-certificates"];
        if node.text("python").is_none_or(|python| python == "python3") {
            packages.extend(["python3", "python3-venv"]);
        }
        if node.text("source").is_none() {
            packages.push("git");
        }
        let own = [node.texts("packages"), node.texts("build_packages")].concat();
        packages.extend(own.iter().map(String::as_str));
        let service = format!("django.{name}");
        let packages =
            server::packages(self.project, self.machine, &service, &packages, self.entry);
        self.base.push(packages);
        let group_id = self.add(Group {
            name: group.clone(),
            system: true,
            ..Group::default()
        });
        self.base.push(group_id);
        if !self.mounted {
            let user = self.add(User {
                name: name.to_owned(),
                group: Some(group.clone()),
                home: Some(format!("/srv/{name}")),
                shell: Some("/usr/sbin/nologin".to_owned()),
                system: true,
                ..User::default()
            });
            self.base.push(user);
        }
        let own = match self.mounted {
            true => "root",
            false => name,
        };
        for (path, owner, group, mode) in [
            (format!("/srv/{name}"), "root", name, 0o751),
            // nginx comes to the socket in it, and gunicorn makes it where no systemd does.
            (self.at("run"), "root", name, 0o771),
            (self.at("static"), "root", name, 0o775),
            (format!("/etc/{name}"), "root", name, 0o750),
            (format!("/var/lib/{name}"), own, name, 0o770),
            (format!("/var/log/{name}"), "root", "adm", 0o755),
        ] {
            let folder = self.add(Directory {
                path,
                owner: owner.to_owned(),
                group: group.to_owned(),
                mode,
                ..Directory::default()
            });
            self.base.push(folder);
        }
        self.certificates();
        let source = self.source();
        self.venv(source.as_ref());
        self.needs.extend(source);
        self.environment();
    }

    /// The certificates that pip and git trust besides the machine's own.
    fn certificates(&mut self) {
        let node = self.node();
        let text = node
            .text("ca")
            .and_then(|path| self.project.environment.texts.get(Path::new(path)));
        let Some(text) = text else { return };
        let content = Text::plain(text.to_string());
        let file = self.file("ca.pem", content, 0o644, "ca");
        self.base.push(file);
    }

    /// A file in its folder of `/etc`.
    fn file(&mut self, file: &str, content: Text, mode: u32, key: &str) -> Id {
        let thing = ServerFile {
            path: self.conf(file),
            content: Content::Text(content),
            owner: "root".to_owned(),
            group: self.name.to_owned(),
            mode,
            ..ServerFile::default()
        };
        let resource = self
            .resource(thing)
            .from("content", self.node().origin(key));
        self.project.add(resource)
    }

    /// A file that it reads at its start.
    fn read_file(&mut self, file: &str, content: Text, mode: u32, key: &str) {
        let digest = sha256(content.expose().expose());
        let id = self.file(file, content, mode, key);
        self.reads.insert(self.conf(file), digest);
        self.needs.push(id);
    }

    fn ca(&self) -> Option<String> {
        self.node().get("ca").map(|_| self.conf("ca.pem"))
    }

    /// The source, where it is not the user's own folder.
    fn source(&mut self) -> Option<Id> {
        let node = self.node();
        let folder = PathBuf::from(node.text("source").unwrap_or_default());
        let digest = self.project.environment.folders.get(&folder).cloned();
        if self.mounted {
            self.state = digest.unwrap_or_default();
            return None;
        }
        let path = self.source.clone();
        let group = self.name.to_owned();
        let origin = node.origin("source");
        let (thing, stamp): (Thing, String) = match node
            .get("source")
            .filter(|source| source.get("git").is_some())
        {
            Some(source) => {
                let checkout = GitCheckout {
                    path: path.clone(),
                    repository: source.text("git").unwrap_or_default().to_owned(),
                    reference: source.text("ref").unwrap_or_default().to_owned(),
                    group,
                    ca: self.ca(),
                    unit: format!("{}.service", self.name),
                    ..GitCheckout::default()
                };
                let stamp = checkout.stamp();
                (checkout.into(), stamp)
            }
            None => {
                let tree = SourceTree {
                    path: path.clone(),
                    folder,
                    digest: digest.unwrap_or_default(),
                    group,
                    unit: format!("{}.service", self.name),
                    ..SourceTree::default()
                };
                let stamp = tree.stamp();
                (tree.into(), stamp)
            }
        };
        self.reads.insert(format!("{path}.source"), sha256(&stamp));
        self.state = stamp;
        let mut resource = self.resource(thing).from("content", origin.clone());
        for (field, key) in [("git", "git"), ("ref", "ref")] {
            let said = node.get("source").map(|source| source.origin(key));
            resource = resource.from(field, said.unwrap_or_default());
        }
        Some(self.project.add(resource))
    }

    /// The Python environment. Its requirements go there by themselves where they name no other file, so that it can be built while the
    /// old source still serves.
    fn venv(&mut self, source: Option<&Id>) {
        let node = self.node();
        let file = node.text("requirements").unwrap_or_default();
        let local = node
            .text("source")
            .map(|folder| Path::new(folder).join(file))
            .and_then(|path| self.project.environment.texts.get(&path));
        let text = local
            .filter(|text| stands_alone(text))
            .map(|text| text.to_string());
        let by_itself = text.is_some();
        let of = match self.mounted {
            true => sha256(local.map_or("", |text| &**text)),
            false => self.state.clone(),
        };
        let path = self.at("venv");
        let venv = Venv {
            path: path.clone(),
            python: node.text("python").unwrap_or("python3").to_owned(),
            requirements: Requirements {
                text,
                path: format!("{}/{file}", self.source),
                of,
            },
            extras: vec!["gunicorn".to_owned()],
            index: self.index(),
            ca: self.ca(),
            group: self.name.to_owned(),
            unit: format!("{}.service", self.name),
            ..Venv::default()
        };
        self.reads
            .insert(format!("{path}.source"), sha256(venv.stamp()));
        self.state.push_str(&venv.stamp());
        let mut resource = self
            .resource(venv)
            .from("requirements", node.origin("requirements"))
            .from("python", node.origin("python"));
        resource
            .needs
            .extend(source.filter(|_| !by_itself).cloned());
        let venv = self.project.add(resource);
        self.needs.push(venv);
    }

    fn index(&mut self) -> Option<Text> {
        let node = self.node().get("pip_index")?;
        let text = match &node.value {
            Value::Secret(_, secret) => Text::secret(secret.clone()),
            _ => self.project.render(node)?.text,
        };
        if text
            .expose()
            .expose()
            .chars()
            .any(|c| c.is_control() || c.is_whitespace())
        {
            let message = "`pip_index` has spaces or line ends in it".to_owned();
            self.project
                .problems
                .push(Problem::error(message, &node.origin).secret());
        }
        Some(text)
    }

    /// The file of its environment.
    fn environment(&mut self) {
        let (mut env, touched) = django::variables(self.project, self.entry);
        for service in &touched {
            let needs = self.project.needs_of(service);
            self.needs.extend(needs);
        }
        for (name, value) in [
            ("DJANGO_STATIC_ROOT", self.at("static")),
            ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
            ("PYTHONUNBUFFERED", "1".to_owned()),
        ] {
            env.entry(name.to_owned())
                .or_insert_with(|| Text::plain(value));
        }
        let mut text = Text::plain("# Made by provision; what is changed here is put back.\n");
        for (name, value) in &env {
            let Some(line) = quote::env_line(name, value.expose().expose()) else {
                let message =
                    format!("`{name}` holds a character that an environment file cannot carry");
                let origin = self
                    .node()
                    .get("env")
                    .map(|env| env.origin(name))
                    .unwrap_or_default();
                self.project
                    .problems
                    .push(Problem::error(message, &origin).secret());
                continue;
            };
            text = match value.is_secret() {
                true => text.push_secret(Secret::new(line)),
                false => text.push(line),
            };
        }
        let file = format!("{}.env", self.name);
        self.shown = sha256(format!("{}{}", self.state, text.shown()));
        self.state.push_str(&sha256(text.expose().expose()));
        self.read_file(&file, text, 0o640, "env");
    }

    /// Migrations and static files; those of another machine come first.
    fn tasks(&mut self, migrated: Option<Id>) -> Option<Id> {
        let python = self.at("venv/bin/python");
        let task = |name: &str, words: &[&str]| Task {
            name: format!("{}.{name}", self.name),
            digest: sha256(format!("{}\0{}", self.state, words.join("\0"))),
            shown: self.shown.clone(),
            command: [&[python.as_str(), "manage.py"], words]
                .concat()
                .iter()
                .map(|word| (*word).to_owned())
                .collect(),
            user: self.user.clone(),
            group: self.name.to_owned(),
            folder: self.source.clone(),
            environment: self.conf(&format!("{}.env", self.name)),
            python: python.clone(),
        };
        let migrate = task("migrate", &["migrate", "--noinput"]);
        let collect = task(
            "collectstatic",
            &["collectstatic", "--noinput", "--verbosity", "0"],
        );
        let mut done = migrated.clone();
        let mut tasks = Vec::new();
        for (key, task) in [("migrate", migrate), ("static", collect)] {
            if self.node().bool(key) != Some(true) || key == "migrate" && migrated.is_some() {
                continue;
            }
            let mut resource = self.resource(task).from("run", self.node().origin(key));
            resource.needs.extend(self.needs.iter().cloned());
            let id = self.project.add(resource);
            if key == "migrate" {
                done = Some(id.clone());
            }
            tasks.push(id);
        }
        self.needs.extend(tasks);
        self.needs.extend(migrated);
        done
    }

    /// gunicorn, nginx and what rotates its logs.
    fn served(&mut self) {
        let node = self.node();
        let name = self.name;
        let model = Model {
            name,
            upstream: format!("provision-{name}"),
            user: &self.user,
            source: &self.source,
            mounted: self.mounted,
            environment: self.conf(&format!("{name}.env")),
            gunicorn: self.at("venv/bin/gunicorn"),
            config: self.conf("gunicorn.conf.py"),
            wsgi: django::wsgi(node),
            state: format!("/var/lib/{name}"),
            socket: self.at("run/web.sock"),
            workers: node.int("workers").unwrap_or(2),
            listen: listens(self.project, name)
                .into_iter()
                .flat_map(|(address, port)| match address {
                    Some(address) => vec![format!("{address}:{port}")],
                    None => vec![port.to_string(), format!("[::]:{port}")],
                })
                .collect(),
            domains: domains(node),
            static_root: (node.bool("static") == Some(true)).then(|| format!("/srv/{name}")),
            logs: format!("/var/log/{name}"),
        };
        let environment = self.project.environment;
        let mut texts = Vec::new();
        for template in [
            "gunicorn.conf.py",
            "gunicorn.socket",
            "gunicorn.service",
            "nginx.conf",
            "logrotate",
        ] {
            match template::file(
                &format!("server/{template}.j2"),
                &environment.templates,
                &model,
            ) {
                Ok(text) => texts.push(Text::plain(text)),
                Err(message) => {
                    self.project
                        .problems
                        .push(Problem::error(message, &node.origin));
                    return;
                }
            }
        }
        let Ok([config, socket, service, nginx, logrotate]) = <[Text; 5]>::try_from(texts) else {
            return;
        };
        self.read_file("gunicorn.conf.py", config, 0o640, "workers");
        self.add(ServerFile {
            path: format!("/etc/logrotate.d/{name}"),
            content: Content::Text(logrotate),
            mode: 0o644,
            validate: ["logrotate", "-d", "{}"].map(str::to_owned).to_vec(),
            ..ServerFile::default()
        });
        // systemd starts no socket whose service it does not know. The two need the same and stand beside each other, so they are
        // brought to the machine together.
        let mut holder = self.resource(SystemdUnit {
            name: format!("{name}.socket"),
            content: Some(socket),
            start: Some(true),
            running: Some(true),
            ..SystemdUnit::default()
        });
        holder.needs.extend(self.needs.iter().cloned());
        let socket = self.project.add(holder);
        let reads = std::mem::take(&mut self.reads);
        let mut unit = self.resource(SystemdUnit {
            name: format!("{name}.service"),
            content: Some(service),
            start: Some(true),
            running: Some(true),
            reads,
            ..SystemdUnit::default()
        });
        unit.needs.push(socket);
        unit.needs.append(&mut self.needs);
        unit.probe = self.probe();
        let unit = self.project.add(unit);
        self.nginx(nginx, unit.clone());
        let settled = vec![unit];
        self.project.settled("django", name, settled);
    }

    /// It answers through nginx, as for its visitors.
    fn probe(&self) -> Option<Probe> {
        let listens = listens(self.project, self.name);
        let (address, port) = listens.first()?;
        let node = self.node();
        Some(Probe::HttpOn {
            machine: Arc::clone(self.machine),
            service: self.name.to_owned(),
            address: address.clone().unwrap_or_else(|| "127.0.0.1".to_owned()),
            port: *port,
            path: node.text("health").unwrap_or("/").to_owned(),
            host: node.text("health_host").unwrap_or("localhost").to_owned(),
        })
    }

    /// Its site, and nginx itself, which all sites of a machine share and which comes after the applications behind it.
    fn nginx(&mut self, content: Text, unit: Id) {
        let path = format!("/etc/nginx/conf.d/{}.conf", self.name);
        let digest = sha256(content.expose().expose());
        let site = self.add(ServerFile {
            path: path.clone(),
            content: Content::Text(content),
            mode: 0o644,
            validate: ["sh", "-euc", TEST, "nginx", "{}"]
                .map(str::to_owned)
                .to_vec(),
            ..ServerFile::default()
        });
        let needs = [site, unit];
        let nginx = SystemdUnit {
            name: "nginx.service".to_owned(),
            start: Some(true),
            running: Some(true),
            reloads: BTreeMap::from([(path.clone(), digest.clone())]),
            ..SystemdUnit::default()
        };
        let mut resource = self.resource(nginx);
        let known = self
            .project
            .resources_mut()
            .iter_mut()
            .find(|known| known.id == resource.id);
        if let Some(known) = known {
            if let Thing::SystemdUnit(nginx) = &mut known.thing {
                nginx.reloads.insert(path, digest);
            }
            known.needs.extend(needs);
            return;
        }
        resource.needs.extend(needs);
        self.project.add(resource);
    }
}

/// What the templates of an application are made from.
#[derive(Serialize)]
struct Model<'a> {
    name: &'a str,
    upstream: String,
    user: &'a str,
    source: &'a str,
    mounted: bool,
    environment: String,
    gunicorn: String,
    config: String,
    wsgi: String,
    state: String,
    socket: String,
    workers: i64,
    listen: Vec<String>,
    domains: Vec<String>,
    #[serde(rename = "static")]
    static_root: Option<String>,
    logs: String,
}

/// Whether requirements name nothing but packages: no other file, no folder.
fn stands_alone(requirements: &str) -> bool {
    requirements.lines().map(str::trim).all(|line| {
        let of_files = [
            "-r",
            "-c",
            "-e",
            "--requirement",
            "--constraint",
            "--editable",
            "--find-links",
            "-f",
            ".",
            "/",
            "file:",
        ];
        let names_a_file = of_files.iter().any(|start| line.starts_with(start));
        line.starts_with('#') || !(names_a_file || line.contains("@ file:") || line.contains("@ ."))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn model(change: impl FnOnce(&mut Model<'_>)) -> Model<'static> {
        let mut model = Model {
            name: "iact",
            upstream: "provision-iact".to_owned(),
            user: "iact",
            source: "/srv/iact/app",
            mounted: false,
            environment: "/etc/iact/iact.env".to_owned(),
            gunicorn: "/srv/iact/venv/bin/gunicorn".to_owned(),
            config: "/etc/iact/gunicorn.conf.py".to_owned(),
            wsgi: "iact.wsgi:application".to_owned(),
            state: "/var/lib/iact".to_owned(),
            socket: "/srv/iact/run/web.sock".to_owned(),
            workers: 3,
            listen: vec!["80".to_owned(), "[::]:80".to_owned()],
            domains: vec!["iact.example.com".to_owned()],
            static_root: Some("/srv/iact".to_owned()),
            logs: "/var/log/iact".to_owned(),
        };
        change(&mut model);
        model
    }

    fn made(template: &str, model: &Model<'_>) -> Result<String, String> {
        template::file(&format!("server/{template}.j2"), &BTreeMap::new(), model)
    }

    #[test]
    fn what_is_rendered_is_what_its_programs_read() {
        let model = model(|_| ());
        let unit = made("gunicorn.service", &model).unwrap();
        for line in [
            "User=iact",
            "WorkingDirectory=/srv/iact/app",
            "EnvironmentFile=/etc/iact/iact.env",
            "ExecStart=/srv/iact/venv/bin/gunicorn --config /etc/iact/gunicorn.conf.py iact.wsgi:application",
            "ReadWritePaths=/var/lib/iact",
            "ProtectHome=yes",
        ] {
            assert!(unit.lines().any(|one| one == line), "{line}\n{unit}");
        }
        let site = made("nginx.conf", &model).unwrap();
        for line in [
            "    server unix:/srv/iact/run/web.sock fail_timeout=0;",
            "    listen [::]:80;",
            "    server_name iact.example.com;",
            "        root /srv/iact;",
        ] {
            assert!(site.lines().any(|one| one == line), "{line}\n{site}");
        }
        let config = made("gunicorn.conf.py", &model).unwrap();
        assert!(
            config.contains(
                "bind = [\"unix:/srv/iact/run/web.sock\"]\nworkers = 3\nreload = False\n"
            ),
            "{config}"
        );
        assert!(
            made("gunicorn.socket", &model)
                .unwrap()
                .contains("ListenStream=/srv/iact/run/web.sock\n")
        );
        assert!(
            made("logrotate", &model)
                .unwrap()
                .contains("/var/log/iact/*.log {")
        );
    }

    #[test]
    fn a_mounted_source_is_reloaded_and_reachable() {
        let model = model(|model| {
            model.mounted = true;
            model.source = "/home/ana/100% ours";
            model.static_root = None;
        });
        let unit = made("gunicorn.service", &model).unwrap();
        assert!(
            unit.contains("WorkingDirectory=/home/ana/100%% ours\n"),
            "{unit}"
        );
        assert!(
            unit.contains("ReadWritePaths=\"/home/ana/100%% ours\"\n"),
            "{unit}"
        );
        assert!(!unit.contains("ProtectHome"));
        assert!(
            made("gunicorn.conf.py", &model)
                .unwrap()
                .contains("reload = True")
        );
        assert!(!made("nginx.conf", &model).unwrap().contains("/static/"));
    }

    #[test]
    fn what_a_format_cannot_carry_is_refused_without_being_said() {
        let model = model(|model| {
            model.source = "/srv/hunter2\nExecStartPre=/bin/sh";
            model.domains = vec!["$hunter2".to_owned()];
        });
        for template in ["gunicorn.service", "nginx.conf"] {
            let why = made(template, &model).unwrap_err();
            assert!(
                (why.contains("refuses") || why.contains("cannot carry"))
                    && !why.contains("hunter2"),
                "{why}"
            );
        }
    }

    #[test]
    fn requirements_stand_alone_where_they_name_no_file() {
        assert!(stands_alone(
            "# -r x\nDjango==5.2\npsycopg[binary]>=3 ; python_version > '3'\n"
        ));
        for line in [
            "-r base.txt",
            "  --constraint=c.txt",
            "-e .",
            "./wheels/x.whl",
            "x @ file:///x",
        ] {
            assert!(!stands_alone(&format!("Django\n{line}\n")), "{line}");
        }
    }
}
