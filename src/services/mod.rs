//! Services: what a TOML table means as resources. One file a service table, one row in [`SERVICES`].

mod compose;
pub mod django;
mod first_start;
pub mod forward;
pub mod hosts;
pub mod mariadb;
mod plain;
pub mod postgres;
mod project;
pub mod root;
mod server;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::advice::Owner;
use crate::command::Text;
use crate::declaration::{Entry, Environment, Key, Table, Type};
use crate::error::{Level, Problem};
use crate::graph::{self, Disorder};
use crate::resource::{Id, Resource};
use crate::secret::Secret;
use crate::template::{self, Datum};

use project::Elsewhere;
pub use project::{Project, View};

/// A sort of service: one TOML table and what it means.
struct Service {
    /// The first word of its tables, as in `postgres`.
    word: &'static str,
    /// The files it wants read before it is expanded.
    reads: fn(&Entry, &mut Reads),
    /// What strings of the environment may know of it.
    names: fn(&Project<'_>, &str, &Entry, &View) -> Option<Datum>,
    /// Contradictions within it.
    check: fn(&Environment, &str, &Entry, &mut Vec<Problem>),
    /// Its resources.
    expand: fn(&mut Project<'_>, &str, &Entry),
}

/// All sorts of services, each after those it may need.
const SERVICES: &[Service] = &[
    Service {
        word: "postgres",
        reads: postgres::reads,
        names: postgres::names,
        check: postgres::check,
        expand: postgres::expand,
    },
    Service {
        word: "mariadb",
        reads: mariadb::reads,
        names: mariadb::names,
        check: mariadb::check,
        expand: mariadb::expand,
    },
    Service {
        word: "django",
        reads: django::reads,
        names: django::names,
        check: django::check,
        expand: django::expand,
    },
];

/// The whole file.
pub static ROOT: Table = Table {
    name: "",
    doc: "An environment.",
    keys: &[
        root::EXTENDS,
        Key::new(
            "environment",
            Type::Table(&root::ENVIRONMENT),
            "What the environment is.",
        )
        .default("{}"),
        Key::new(
            "target",
            Type::Table(&root::TARGET),
            "What it is applied to.",
        )
        .default("{}"),
        Key::new(
            "vars",
            root::VARS,
            "Values that every string may use, as in `{{ vars.domain }}`; strings, numbers and booleans.",
        ),
        Key::new(
            "postgres",
            Type::Named(&postgres::TABLE),
            "PostgreSQL servers by name.",
        ),
        Key::new(
            "mariadb",
            Type::Named(&mariadb::TABLE),
            "MariaDB servers by name.",
        ),
        Key::new(
            "django",
            Type::Named(&django::TABLE),
            "Django applications by name.",
        ),
        Key::new(
            "forward",
            Type::Named(&forward::TABLE),
            "Ports of services on this machine, by name.",
        ),
        Key::new("host", Type::Named(&root::HOST), "Servers by name."),
        Key::new(
            "user",
            Type::Named(&root::USER),
            "Users of servers by name.",
        ),
        Key::new(
            "group",
            Type::Named(&root::GROUP),
            "Groups of users by name.",
        ),
        Key::new(
            "packages",
            Type::Named(&root::PACKAGES),
            "Packages, in sets with a name.",
        ),
        Key::new(
            "apt_repository",
            Type::Named(&root::APT_REPOSITORY),
            "Repositories of packages by name.",
        ),
        Key::new(
            "file",
            Type::Named(&root::FILE),
            "Files of servers by absolute path.",
        ),
        Key::new(
            "directory",
            Type::Named(&root::DIRECTORY),
            "Folders of servers by absolute path.",
        ),
        Key::new(
            "link",
            Type::Named(&root::LINK),
            "Symbolic links of servers by absolute path.",
        ),
        Key::new(
            "systemd_unit",
            Type::Named(&root::SYSTEMD_UNIT),
            "Units of systemd by name.",
        ),
        Key::new(
            "timer",
            Type::Named(&root::TIMER),
            "Programs that are run at times, by name.",
        ),
        Key::new(
            "sysctl",
            Type::Named(&root::SYSCTL),
            "Settings of servers' kernels by key.",
        ),
        Key::new(
            "hosts_entry",
            Type::Named(&root::HOSTS_ENTRY),
            "Lines of `/etc/hosts` by host name.",
        ),
        Key::new(
            "swap",
            Type::Named(&root::SWAP),
            "Swap files by absolute path.",
        ),
        Key::new(
            "firewall",
            Type::Named(&root::FIREWALL),
            "What servers let in, in sets with a name.",
        ),
        Key::new(
            "exception",
            Type::Many(&root::EXCEPTION),
            "Findings of `audit` that are accepted.",
        ),
    ],
};

/// What services want to know of the user's files before they are expanded.
#[derive(Clone, Debug, Default)]
pub struct Reads {
    /// Whether services are containers.
    pub on_engine: bool,
    /// Files whose text is wanted, absolute.
    pub texts: Vec<PathBuf>,
    /// Folders whose digest is wanted, absolute.
    pub folders: Vec<PathBuf>,
    /// Folders whose owner is wanted, absolute.
    pub owners: Vec<PathBuf>,
    /// Files whose digest is wanted, absolute.
    pub files: Vec<PathBuf>,
}

/// What an environment means.
#[derive(Clone, Debug, Default)]
pub struct Expansion {
    /// The resources, in no order. Generated files (the Compose file among them) are resources too.
    pub resources: Vec<Resource>,
    /// What cannot be meant.
    pub problems: Vec<Problem>,
    /// Where things can be reached from this machine.
    pub endpoints: Vec<Endpoint>,
}

/// Where a service can be reached from the operator's machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// As in `postgres.analytics`.
    pub service: String,
    /// Address and port on the machine.
    pub address: String,
    /// See `address`.
    pub port: u16,
    /// How to connect, as a command line or URL without a password.
    pub connect: Vec<String>,
}

/// Ports taken in place of the declared ones, by name of forward (`auto_correct = true`).
pub type Ports = BTreeMap<String, u16>;

/// The files that the services of an environment name (its tree is merged and checked by type).
pub fn reads(environment: &Environment) -> Reads {
    let mut reads = Reads {
        on_engine: environment.driver.is_engine(),
        ..Reads::default()
    };
    plain::reads(environment, &mut reads);
    for service in SERVICES {
        for (_, entry) in environment.services(service.word) {
            (service.reads)(entry, &mut reads);
        }
    }
    reads
}

/// Contradictions within an environment: what no single value shows. Pure; before any contact.
pub fn check(environment: &Environment) -> Vec<Problem> {
    let mut problems = names_are_unique(environment);
    problems.extend(forward::check(environment));
    plain::check(environment, &mut problems);
    problems.extend(root::check_exceptions(environment));
    for service in SERVICES {
        for (name, entry) in environment.services(service.word) {
            // A managed server is on none of ours.
            if entry.node.get("external").is_none() {
                let what = format!("{}.{name}", service.word);
                hosts::check_on(environment, &what, entry, &mut problems);
            }
            (service.check)(environment, name, entry, &mut problems);
        }
    }
    server::check_ports(environment, &mut problems);
    hosts::check_ways(environment, &mut problems);
    hosts::check_target(environment, &mut problems);
    problems
}

/// What cannot be meant, without what it would mean: for an environment that has other mistakes too, so that all are told.
pub fn mistakes(environment: &Environment) -> Vec<Problem> {
    let mut project = Project::new(environment, &Ports::new());
    project.outline = true;
    let expansion = expanded(project);
    if !expansion.problems.is_empty() {
        return expansion.problems;
    }
    let disorder = graph::sound(&expansion.resources).err().unwrap_or_default();
    disorder
        .iter()
        // Two of one name are what the other mistakes are about.
        .filter(|one| !matches!(one, Disorder::Twice(_)))
        .map(|one| disordered(one, &expansion.resources))
        .collect()
}

/// An environment as resources, in graph order.
///
/// # Errors
/// What cannot be meant: a name in a template that is not there, a circle.
pub fn meaning(environment: &Environment, ports: &Ports) -> Result<Expansion, Vec<Problem>> {
    ordered(expand(environment, ports))
}

fn ordered(expansion: Expansion) -> Result<Expansion, Vec<Problem>> {
    let errors = |problem: &Problem| problem.level == Level::Error;
    if expansion.problems.iter().any(errors) {
        return Err(expansion.problems);
    }
    match graph::sound(&expansion.resources) {
        Ok(sequence) => {
            let resources = graph::arranged(expansion.resources, &sequence);
            Ok(Expansion {
                resources,
                ..expansion
            })
        }
        Err(disorder) => {
            let tell = |one| disordered(one, &expansion.resources);
            Err(disorder.iter().map(tell).collect())
        }
    }
}

/// An environment as resources.
pub fn expand(environment: &Environment, ports: &Ports) -> Expansion {
    expanded(Project::new(environment, ports))
}

fn expanded(mut project: Project<'_>) -> Expansion {
    let environment = project.environment;
    if project.on_engine() {
        project.names = names(&project, &View::Container);
    } else {
        plain::expand(&mut project);
    }
    for service in SERVICES {
        for (name, entry) in environment.services(service.word) {
            (service.expand)(&mut project, name, entry);
        }
    }
    if project.on_engine() {
        compose::files(&mut project);
    } else {
        plain::wire(&mut project);
    }
    project.finish()
}

/// Whose a resource is, as far as hints have to know: an application's things carry its name.
pub fn owner<'a>(environment: &'a Environment, id: &Id) -> Owner<'a> {
    let key = id.as_str().split_once('.').map_or("", |(_, key)| key);
    let here = key.split_once(':').map_or(key, |(_, key)| key);
    let image = key.split_once(':').map(|(name, _)| name);
    let is_of = |name: &str| {
        let begins = |start: &str| {
            let rest = here
                .strip_prefix(start)
                .and_then(|rest| rest.strip_prefix(name));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '/', '-']))
        };
        let built = image.and_then(|image| image.strip_prefix(environment.project.as_str()));
        begins("") || begins("/srv/") || built.and_then(|rest| rest.strip_prefix('-')) == Some(name)
    };
    // The longest name: `shop` does not own what is `shop-admin`'s.
    let owner = environment
        .services("django")
        .filter(|(name, _)| is_of(name));
    let owner = owner.max_by_key(|(name, _)| name.len());
    Owner {
        application: owner.map_or("", |(name, _)| name),
        settings: owner.map_or("", |(_, entry)| {
            entry.node.text("settings").unwrap_or_default()
        }),
        on_engine: environment.driver.is_engine(),
    }
}

/// The variables with which a program on the operator's machine reaches the services: the environment of every Django service
/// as it reads from there.
///
/// # Errors
/// What cannot be rendered: a service that nothing forwards to.
pub fn operator_variables(
    environment: &Environment,
    ports: &Ports,
) -> Result<Vec<(String, Text)>, Vec<Problem>> {
    let mut project = Project::new(environment, ports);
    project.names = names(&project, &View::Operator);
    let mut variables = BTreeMap::new();
    for (_, entry) in environment.services("django") {
        variables.extend(django::variables(&mut project, entry).0);
    }
    if project.problems.is_empty() {
        Ok(variables.into_iter().collect())
    } else {
        Err(project.problems)
    }
}

/// A database server and a machine whose application uses it.
#[derive(Clone, Debug)]
pub struct Use {
    /// The database server, as in `analytics`.
    pub service: String,
    /// Who uses it, as in `django.iact`.
    pub by: String,
    /// The machine that is on.
    pub machine: Arc<str>,
    /// The server's address and port as seen from there.
    pub address: String,
    /// See `address`.
    pub port: u16,
    /// What its environment holds that is secret: the passwords it uses, whole or as a part of an URL.
    pub secrets: Vec<Secret>,
}

/// Which machines use which database servers; none on a Docker engine, where everybody is in one network.
pub fn uses(environment: &Environment) -> Vec<Use> {
    let mut project = Project::new(environment, &Ports::new());
    let mut uses = Vec::new();
    if project.on_engine() {
        return uses;
    }
    for (name, entry) in environment.services("django") {
        for machine in project.machines_of(entry) {
            project.stand_on(&machine);
            let (variables, touched) = django::variables(&mut project, entry);
            let secrets: Vec<Secret> = variables
                .into_values()
                .filter(Text::is_secret)
                .map(|text| text.expose())
                .collect();
            for (table, service) in touched {
                let Some((address, port)) = seen(&project.names, &table, &service) else {
                    continue;
                };
                uses.push(Use {
                    service,
                    by: format!("django.{name}"),
                    machine: Arc::clone(&machine),
                    address,
                    port,
                    secrets: secrets.clone(),
                });
            }
        }
    }
    uses
}

/// Where a service on a machine is reached: from the machine it is on, or the one that reaches it, and at which address as seen
/// from there. `None` where it is on no machine.
pub fn reached(
    environment: &Environment,
    service: &str,
    from: Option<&Arc<str>>,
) -> Option<(Arc<str>, String, u16)> {
    let (table, name) = service.split_once('.')?;
    let mut project = Project::new(environment, &Ports::new());
    if project.on_engine() {
        return None;
    }
    let (_, entry) = environment.services(table).find(|(one, _)| *one == name)?;
    let on = project.machines_of(entry);
    let machine = from.or_else(|| on.first())?;
    project.stand_on(machine);
    let (address, port) = seen(&project.names, table, name)?;
    Some((Arc::clone(machine), address, port))
}

/// Host and port of a service among what strings may name.
fn seen(names: &BTreeMap<String, Datum>, table: &str, service: &str) -> Option<(String, u16)> {
    let inner = |datum: &Datum, name: &str| match datum {
        Datum::Map(map) => map.get(name).cloned(),
        _ => None,
    };
    let service = inner(names.get(table)?, service)?;
    match (inner(&service, "host")?, inner(&service, "port")?) {
        (Datum::Text(host), Datum::Int(port)) => Some((host, u16::try_from(port).ok()?)),
        _ => None,
    }
}

/// What strings of the environment may name.
fn names(project: &Project<'_>, view: &View) -> BTreeMap<String, Datum> {
    let machine = match view {
        View::Machine(machine) => Some(&**machine),
        View::Container | View::Operator => None,
    };
    let elsewhere = machine.map(|_| project.elsewhere.get_or_init(|| elsewhere(project)));
    let mut elsewhere = elsewhere.into_iter().flatten();
    let mut names = hosts::names(project.environment, &project.addresses, machine);
    for service in SERVICES {
        let entries = project.environment.services(service.word);
        let entries = entries.filter_map(|(name, entry)| {
            let seen = match elsewhere.next() {
                Some(far) if !far.on.iter().any(|on| Some(&**on) == machine) => far.seen.clone(),
                _ => (service.names)(project, name, entry, view),
            };
            Some((name.to_owned(), seen?))
        });
        names.insert(service.word.to_owned(), Datum::map(entries));
    }
    names
}

/// All services, in order, as a machine sees them that none is on.
fn elsewhere(project: &Project<'_>) -> Vec<Elsewhere> {
    let nowhere = View::Machine("".into());
    let of = |service: &'static Service| {
        let entries = project.environment.services(service.word);
        entries.map(|(name, entry)| Elsewhere {
            on: project.machines_of(entry),
            seen: (service.names)(project, name, entry, &nowhere),
        })
    };
    SERVICES.iter().flat_map(of).collect()
}

/// A Compose project knows a service by one name, whatever its sort.
fn names_are_unique(environment: &Environment) -> Vec<Problem> {
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    let mut problems = Vec::new();
    for service in SERVICES {
        for (name, entry) in environment.services(service.word) {
            if let Some(first) = seen.insert(name, service.word) {
                let message = format!(
                    "`{}.{name}` has the name of `{first}.{name}`: names of services are unique",
                    service.word
                );
                problems.push(Problem::error(message, &entry.key).label("the second one"));
            }
        }
    }
    problems
}

fn disordered(disorder: &Disorder, resources: &[Resource]) -> Problem {
    let declared = |id: &Id| {
        resources
            .iter()
            .find(|resource| resource.id == *id)
            .map(Resource::declared)
            .unwrap_or_default()
    };
    match disorder {
        Disorder::Missing(id, need) => Problem::error(
            format!("`{id}` needs `{need}`, which is not declared"),
            &declared(id),
        ),
        Disorder::Twice(id) => Problem::error(format!("`{id}` is declared twice"), &declared(id)),
        Disorder::Circle(ids) => {
            let chain: Vec<_> = ids.iter().map(|id| format!("`{id}`")).collect();
            let origin = ids.first().map(declared).unwrap_or_default();
            Problem::error(
                format!(
                    "these need each other in a circle: {}",
                    chain.join(" needs ")
                ),
                &origin,
            )
        }
    }
}

/// The text of one of our recipes for a build context, or the user's in its place.
fn recipe(environment: &Environment, name: &str) -> Text {
    Text::plain(
        template::text(&format!("images/{name}"), &environment.templates).unwrap_or_default(),
    )
}
