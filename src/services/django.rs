//! `[django.NAME]`: a Django application.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::command::Text;
use crate::declaration::{Entry, Environment, Key, Node, Table, Type, Value};
use crate::error::Problem;
use crate::resource::{Id, Probe};
use crate::resources::container::{Container, Health, Mount};
use crate::resources::image::Build;
use crate::secret::sha256;
use crate::services::project::{self, Project, View};
use crate::services::{Reads, recipe, server};
use crate::template::{self, Datum};

/// `[django.NAME]`.
pub static TABLE: Table = Table {
    name: "django.NAME",
    doc: "A Django application, served by gunicorn (or by `runserver` where its source is mounted).",
    keys: &[
        Key::new(
            "enabled",
            Type::Bool,
            "`false` drops an entry that was inherited.",
        )
        .default("true"),
        Key::new(
            "on",
            Type::Either(&Type::Name, &Type::List(&Type::Name)),
            "The host, group or hosts it runs on; not used on a Docker engine.",
        ),
        Key::new(
            "source",
            Type::Either(&Type::Path, &Type::Table(&GIT)),
            "The folder that holds `manage.py`, or `{ git, ref }`.",
        )
        .required(),
        Key::new(
            "mount",
            Type::Bool,
            "The source is used where it is, and the server reloads when a file is saved; on an engine or on this machine.",
        )
        .default("false"),
        Key::new("image", Type::Text, "The base image.").default("\"python:3.11-slim-bookworm\""),
        Key::new(
            "pull",
            Type::Word(&["auto", "always", "never"]),
            "Where its base image comes from, as for PostgreSQL.",
        )
        .default("\"auto\""),
        Key::new(
            "requirements",
            Type::Text,
            "The requirements file, relative to the source.",
        )
        .default("\"requirements.txt\""),
        Key::new(
            "packages",
            Type::List(&Type::Text),
            "Debian packages the application needs at run time.",
        )
        .default("[]"),
        Key::new(
            "python",
            Type::Text,
            "The interpreter its environment is made with on a server, as in `python3` or `/usr/local/bin/python3.12`.",
        )
        .default("\"python3\""),
        Key::new(
            "pip_index",
            Type::Either(&Type::Template, &Type::Secret),
            "The index of Python packages used on a server, in place of PyPI; not used on a Docker engine.",
        ),
        Key::new(
            "ca",
            Type::Path,
            "A file of certificates that pip and git trust besides the machine's own, as behind an office's TLS proxy.",
        ),
        Key::new(
            "build_packages",
            Type::List(&Type::Text),
            "Debian packages needed while its requirements are built.",
        )
        .default("[]"),
        Key::new("settings", Type::Text, "The settings module.").required(),
        Key::new(
            "wsgi",
            Type::Text,
            "The WSGI application; absent: `wsgi:application` beside the settings module.",
        ),
        Key::new(
            "port",
            Type::Int(1, 65535),
            "The port it listens on inside its container; not used on a server, where nginx stands before it.",
        )
        .default("8000"),
        Key::new("workers", Type::Int(1, 1024), "gunicorn workers.").default("2"),
        Key::new(
            "health",
            Type::Text,
            "A path that answers 200 when the application works.",
        )
        .default("\"/\""),
        Key::new(
            "health_host",
            Type::Text,
            "The Host header of the health check; one that `ALLOWED_HOSTS` allows.",
        )
        .default("\"localhost\""),
        Key::new(
            "domains",
            Type::List(&Type::Text),
            "The host names that nginx answers to on a server. Absent: `health_host`.",
        ),
        Key::new(
            "migrate",
            Type::Bool,
            "`manage.py migrate` before it serves.",
        )
        .default("false"),
        Key::new(
            "static",
            Type::Bool,
            "`manage.py collectstatic` before it serves.",
        )
        .default("false"),
        Key::new(
            "env",
            Type::Map(&Type::Either(&Type::Template, &Type::Secret)),
            "Its environment; templates over `vars` and the endpoints of other services.",
        )
        .default("{}"),
    ],
};

/// `source = { git, ref }`.
pub static GIT: Table = Table {
    name: "django.NAME.source",
    doc: "A source that is checked out.",
    keys: &[
        Key::new(
            "git",
            Type::Text,
            "The repository; the server itself fetches it, without submodules.",
        )
        .required(),
        Key::new(
            "ref",
            Type::Text,
            "Branch, tag or commit. A branch is looked up when it is fetched; to move on, name a newer tag or commit.",
        )
        .required(),
    ],
};

/// Its requirements, and its source where that becomes part of the image or goes to a machine.
pub(super) fn reads(entry: &Entry, reads: &mut Reads) {
    reads.texts.extend(entry.node.text("ca").map(PathBuf::from));
    let Some(source) = entry.node.text("source").map(PathBuf::from) else {
        return;
    };
    reads
        .texts
        .push(source.join(entry.node.text("requirements").unwrap_or_default()));
    let mounted = entry.node.bool("mount") == Some(true);
    if mounted && !reads.on_engine {
        reads.owners.push(source.clone());
    }
    if !(mounted && reads.on_engine) {
        reads.folders.push(source);
    }
}

/// Host, port and URL.
pub(super) fn names(
    project: &Project<'_>,
    name: &str,
    entry: &Entry,
    view: &View,
) -> Option<Datum> {
    let (host, port) = match project.on_engine() {
        true => project.seen("django", name, port(&entry.node), view)?,
        false => server::django::seen(project, name, view)?,
    };
    Some(Datum::map([
        (
            "url".to_owned(),
            Datum::Text(format!("http://{host}:{port}")),
        ),
        ("host".to_owned(), Datum::Text(host)),
        ("port".to_owned(), Datum::Int(i64::from(port))),
    ]))
}

fn port(node: &Node) -> u16 {
    node.int("port")
        .and_then(|port| u16::try_from(port).ok())
        .unwrap_or(8000)
}

/// Values that cannot be meant.
pub(super) fn check(
    environment: &Environment,
    name: &str,
    entry: &Entry,
    problems: &mut Vec<Problem>,
) {
    let node = &entry.node;
    let git = node.get("source").and_then(|source| source.get("git"));
    if environment.driver.is_engine() {
        if let Some(git) = git {
            let message = "a container's source is a folder of this machine".to_owned();
            let problem = Problem::error(message, &git.origin);
            problems.push(problem.help("name the folder of a clone: `source = \"...\"`"));
        }
        if node.bool("mount") == Some(true)
            && let Some(host) = &environment.engine_host
        {
            let message = format!(
                "`mount` gives the container a folder of this machine, and its engine is that of `{host}`"
            );
            let problem = Problem::error(message, &node.origin("mount"));
            problems.push(problem.help("leave it away: the source becomes part of the image"));
        }
    } else {
        server::django::check(environment, name, node, problems);
    }
    if let Some(health) = node
        .text("health")
        .filter(|health| !health.starts_with('/'))
    {
        let message = format!("`{health}` is no path: it begins with `/`");
        problems.push(Problem::error(message, &node.origin("health")));
    }
    for (name, variable) in node.named("env") {
        let first = name
            .chars()
            .next()
            .is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if !first || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            let message = format!("`{name}` is no name of a variable");
            problems.push(Problem::error(message, &variable.key));
        }
    }
}

/// Its environment as it reads from where the project's names are seen, and the services it names.
pub(super) fn variables(
    project: &mut Project<'_>,
    entry: &Entry,
) -> (BTreeMap<String, Text>, BTreeSet<(String, String)>) {
    let mut env = BTreeMap::new();
    let mut touched = BTreeSet::new();
    env.insert(
        "DJANGO_SETTINGS_MODULE".to_owned(),
        Text::plain(entry.node.text("settings").unwrap_or_default()),
    );
    for (name, variable) in entry.node.named("env") {
        if let Value::Secret(_, secret) = &variable.node.value {
            env.insert(name.to_owned(), Text::secret(secret.clone()));
            continue;
        }
        let Some(rendered) = project.render(&variable.node) else {
            continue;
        };
        // Somebody who writes a password straight into the environment does not want to read it in a plan.
        let text = match names_a_secret(name) {
            true => Text::secret(rendered.text.expose()),
            false => rendered.text,
        };
        env.insert(name.to_owned(), text);
        touched.extend(rendered.touched);
    }
    touched.retain(|(table, _)| table != "vars");
    (env, touched)
}

/// Whether a variable's name says that its value is a secret.
pub(super) fn names_a_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    [
        "PASSWORD",
        "PASSWD",
        "SECRET",
        "TOKEN",
        "API_KEY",
        "PRIVATE_KEY",
        "CREDENTIAL",
        "DATABASE_URL",
        "DSN",
    ]
    .iter()
    .any(|word| name.contains(word))
}

/// The container with its image.
pub(super) fn expand(project: &mut Project<'_>, name: &str, entry: &Entry) {
    if !project.on_engine() {
        return server::django::expand(project, name, entry);
    }
    let node = &entry.node;
    let service = format!("django.{name}");
    let inside = port(node);
    let mount = node.bool("mount") == Some(true);
    let source = PathBuf::from(node.text("source").unwrap_or_default());
    let (mut env, touched) = variables(project, entry);
    for (switch, variable) in [
        ("migrate", "PROVISION_MIGRATE"),
        ("static", "PROVISION_STATIC"),
    ] {
        if node.bool(switch) == Some(true) {
            env.insert(variable.to_owned(), Text::plain("1"));
        }
    }
    let (image, tag) = image(project, name, node, &source, mount);
    let mut mounts = BTreeMap::new();
    if mount {
        mounts.insert(
            "/app".to_owned(),
            Mount::Bind(source.display().to_string(), false),
        );
    }
    let path = node.text("health").unwrap_or("/");
    let host = node.text("health_host").unwrap_or("localhost");
    let thing = Container {
        project: project.environment.project.clone(),
        environment: project.environment.name.clone(),
        service: name.to_owned(),
        name: project.container_name(name),
        image: tag,
        command: Some(command(node, mount, inside)),
        env,
        ports: project.ports(&service, inside),
        mounts,
        network: project.network_name(),
        health: Some(Health {
            test: health_check(inside, path, host),
            interval: 5,
            timeout: 10,
            retries: 12,
            start_period: 120,
        }),
        depends: touched.iter().map(|(_, service)| service.clone()).collect(),
        stop_seconds: 30,
        folder: project.environment.engine_folder().display().to_string(),
        ..Container::default()
    };
    let mut resource = project::on_engine(Id::short("container", name), thing.into())
        .from("", entry.key.clone())
        .from("image", node.origin("image"))
        .from("command", node.origin("workers"));
    for (variable, declared) in node.named("env") {
        resource = resource.from(format!("env {variable}"), declared.node.origin.clone());
    }
    for forward in project.forwards(&service) {
        resource = resource.from(format!("port {inside}"), forward.origin.clone());
    }
    resource.needs = vec![image, project.network_id()];
    for service in &touched {
        match service.0.as_str() {
            // Another application is only waited for as a container: it may not be expanded yet.
            "django" => resource.needs.push(Id::short("container", &service.1)),
            _ => resource.needs.extend(project.needs_of(service)),
        }
    }
    resource.probe = Some(Probe::Http {
        service: name.to_owned(),
        published: project.published(&service),
        port: inside,
        path: path.to_owned(),
        host: host.to_owned(),
    });
    project.add(resource);
    let path = path.to_owned();
    project.endpoint(&service, |address, port| {
        vec![format!("curl http://{address}:{port}{path}")]
    });
}

/// The WSGI application, as in `iact.wsgi:application`.
pub(super) fn wsgi(node: &Node) -> String {
    let settings = node.text("settings").unwrap_or_default();
    let package = settings
        .rsplit_once('.')
        .map_or(settings, |(package, _)| package);
    node.text("wsgi")
        .map_or_else(|| format!("{package}.wsgi:application"), str::to_owned)
}

/// `runserver` reloads when a file is saved; gunicorn serves an image that does not change.
fn command(node: &Node, mount: bool, port: u16) -> Vec<String> {
    let listen = format!("0.0.0.0:{port}");
    if mount {
        return ["python", "manage.py", "runserver", &listen]
            .map(str::to_owned)
            .to_vec();
    }
    let workers = node.int("workers").unwrap_or(2).to_string();
    [
        "gunicorn",
        "--bind",
        &listen,
        "--workers",
        &workers,
        "--access-logfile",
        "-",
        &wsgi(node),
    ]
    .map(str::to_owned)
    .to_vec()
}

/// A request by the image's own Python, with a Host header that Django allows.
fn health_check(port: u16, path: &str, host: &str) -> Vec<String> {
    let url = format!("http://127.0.0.1:{port}{path}");
    let program = "import sys, urllib.request as r; \
                   r.urlopen(r.Request(sys.argv[1], headers={'Host': sys.argv[2]}), timeout=8)";
    ["CMD", "python", "-c", program, &url, host]
        .map(str::to_owned)
        .to_vec()
}

#[derive(Serialize)]
struct Recipe {
    base: String,
    build_packages: Vec<String>,
    packages: Vec<String>,
    requirements: bool,
    ca: bool,
    copy_source: bool,
}

/// The application's image: its requirements, and its source unless that is mounted. Its tag carries a digest of all that is in
/// it, so a change of any of it is another image.
fn image(
    project: &mut Project<'_>,
    name: &str,
    node: &Node,
    source: &Path,
    mount: bool,
) -> (Id, String) {
    let environment = project.environment;
    let base_tag = node.text("image").unwrap_or_default();
    let base = project.image(node, base_recipe(environment, base_tag));
    let requirements = environment
        .texts
        .get(&source.join(node.text("requirements").unwrap_or_default()));
    let ca = node
        .text("ca")
        .and_then(|path| environment.texts.get(Path::new(path)));
    let recipe_model = Recipe {
        base: base_tag.to_owned(),
        build_packages: node.texts("build_packages"),
        packages: node.texts("packages"),
        requirements: requirements.is_some(),
        ca: ca.is_some(),
        copy_source: !mount,
    };
    let dockerfile = match template::file(
        "images/django.Dockerfile.j2",
        &environment.templates,
        &recipe_model,
    ) {
        Ok(text) => text,
        Err(message) => {
            project.problems.push(Problem::error(message, &node.origin));
            return (base, base_tag.to_owned());
        }
    };
    let mut context = vec![
        ("Dockerfile".to_owned(), Text::plain(dockerfile)),
        (
            "django-entrypoint.sh".to_owned(),
            recipe(environment, "django-entrypoint.sh"),
        ),
    ];
    context.extend(
        requirements.map(|text| ("requirements.txt".to_owned(), Text::plain(text.to_string()))),
    );
    context.extend(ca.map(|text| ("ca.crt".to_owned(), Text::plain(text.to_string()))));
    let mut all = String::new();
    for (path, text) in &context {
        let _ = write!(all, "{path}\0{}\0", text.shown());
    }
    if !mount {
        all.push_str(environment.folders.get(source).map_or("", String::as_str));
    }
    let tag = format!("{}-{name}:{}", environment.project, &sha256(&all)[..12]);
    let build = Build {
        says: if mount {
            "with its requirements".to_owned()
        } else {
            "with its requirements and source".to_owned()
        },
        bootstrap: None,
        context,
        folder: (!mount).then(|| ("app".to_owned(), source.to_path_buf())),
        ca: true,
    };
    (
        project.built_image(&tag, build, base, node.origin("source")),
        tag,
    )
}

/// How the default base image is built where its registry does not answer.
fn base_recipe(environment: &Environment, tag: &str) -> Option<Build> {
    let plain = tag.strip_prefix("python:")?;
    let ours = plain.starts_with("3.11") && project::libc(tag) == "glibc";
    ours.then(|| Build {
        says: "from Debian's packages".to_owned(),
        bootstrap: Some("bookworm".to_owned()),
        context: vec![(
            "Dockerfile".to_owned(),
            recipe(environment, "python.Dockerfile"),
        )],
        folder: None,
        ca: false,
    })
}
