//! `[postgres.NAME]`: a PostgreSQL server, its settings, roles, databases, grants and init scripts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::command::{Dialect, Place, Seat, Server, Text};
use crate::declaration::{Entry, Environment, Key, Node, Table, Type, Value};
use crate::error::{Problem, did_you_mean};
use crate::quote;
use crate::resource::{Id, Probe, Resource, Thing, inside_database};
use crate::resources::container::{Container, Health, Mount};
use crate::resources::image::Build;
use crate::resources::postgres_database::PostgresDatabase;
use crate::resources::postgres_extension::PostgresExtension;
use crate::resources::postgres_grant::{Class, PostgresGrant, Spot, Wanted, on_column, signature};
use crate::resources::postgres_role::{PostgresRole, ServerClass, ServerRights};
use crate::resources::postgres_setting::PostgresSetting;
use crate::resources::sql_script::SqlScript;
use crate::secret::{Secret, locked_verifier, sha256};
use crate::services::project::{self, Project, View};
use crate::services::{Reads, first_start, recipe, server};
use crate::template::Datum;

/// `[postgres.NAME]`.
pub static TABLE: Table = Table {
    name: "postgres.NAME",
    doc: "A PostgreSQL server with its roles, databases and grants.",
    keys: &[
        Key::new("enabled", Type::Bool, "`false` drops an entry that was inherited.").default("true"),
        Key::new("on", Type::Either(&Type::Name, &Type::List(&Type::Name)), "The host, group or hosts it runs on; not used on a Docker engine."),
        Key::new("was", Type::Name, "The name it had, on a server; a Docker volume cannot be renamed."),
        Key::new("external", Type::Table(&EXTERNAL), "A managed server: its roles, databases and grants, and nothing that is installed."),
        Key::new("version", Type::Word(&["15"]), "Major version.").default("\"15\""),
        Key::new("cluster", Type::Name, "On a server: the cluster's name beside its version.").default("\"main\""),
        Key::new("packages", Type::Word(&["distribution", "pgdg"]), "On a server: whose packages are installed, the distribution's or those of apt.postgresql.org.").default("\"distribution\""),
        Key::new("port", Type::Int(1, 65535), "On a server: the port it listens on. Absent: 5432; on this machine the port of the forward that leads to it."),
        Key::new("listen", Type::List(&Type::Text), "On a server: the addresses it listens on. Absent: `localhost`, and where an application on another server uses it or `hba` lets others in, also the server's own (all where that is no private IP address)."),
        Key::new("data_checksums", Type::Bool, "On a server: whether pages of data carry checksums. Changing it stops the server while every page is written. Absent: not managed."),
        Key::new("image", Type::Text, "Image on a Docker engine. Debian's family, since a volume keeps the family of the image that made it.").default("\"postgres:15-bookworm\""),
        Key::new("pull", Type::Word(&["auto", "always", "never"]), "Where an image comes from that the engine does not have: `auto`: its registry where that answers, else built from Debian's packages; `always`: its registry, never built; `never`: built, no registry is asked. One that the engine has is used as it is.").default("\"auto\""),
        Key::new("superuser", Type::Identifier, "The superuser we come in as, over the local socket; nobody knows a password of it.").default("\"postgres\""),
        Key::new("settings", Type::Map(&Type::Setting), "Server settings by their PostgreSQL name, with units as PostgreSQL writes them (`128MB`, `500ms`); set with `ALTER SYSTEM`, and reloaded or restarted as they need."),
        Key::new("init", Type::List(&Type::Path), "SQL files (globs allowed), each run once and once more when its content changes, as the owner of `init_database`; remembered in the database itself."),
        Key::new("init_database", Type::PostgresName, "The database `init` runs in; needed where there is more than one."),
        Key::new("role", Type::Named(&ROLE), "Roles by name."),
        Key::new("database", Type::Named(&DATABASE), "Databases by name."),
        Key::new("grant", Type::Many(&GRANT), "What roles may do; exact for each role and database named."),
        Key::new("hba", Type::Many(&super::root::HBA), "Who may connect from where, on a server; in the order of `pg_hba.conf`. Our own login stands before them; behind them stand the applications of other servers that use it, and everybody on the server itself, with a password."),
    ],
};

/// `[postgres.NAME.role.NAME]`.
pub static ROLE: Table = Table {
    name: "postgres.NAME.role.NAME",
    doc: "A role. Attributes that are not named have PostgreSQL's default, and are put back to it.",
    keys: &[
        Key::new("enabled", Type::Bool, "`false` drops an entry that was inherited.").default("true"),
        Key::new("password", Type::Secret, "Absent: the password is not managed."),
        Key::new("was", Type::PostgresName, "The name it had: renamed, not made anew."),
        Key::new("login", Type::Bool, "May log in.").default("true"),
        Key::new("superuser", Type::Bool, "Passes every permission check.").default("false"),
        Key::new("createdb", Type::Bool, "May create databases.").default("false"),
        Key::new("createrole", Type::Bool, "May create roles.").default("false"),
        Key::new("inherit", Type::Bool, "Has the rights of the roles it is a member of.").default("true"),
        Key::new("replication", Type::Bool, "May stream the write-ahead log.").default("false"),
        Key::new("bypassrls", Type::Bool, "Passes row-level security.").default("false"),
        Key::new("connection_limit", Type::Int(-1, 1_000_000), "Connections at once; -1 is no limit.").default("-1"),
        Key::new("valid_until", Type::Text, "When its password ends, as in `2031-05-01 10:00+02`; without a zone it is UTC, and `infinity` is never.").default("\"infinity\""),
        Key::new("member_of", Type::List(&Type::PostgresName), "Roles it is a member of: declared ones and PostgreSQL's own, such as `pg_monitor`; exact.").default("[]"),
        Key::new("parameters", Type::Map(&Type::List(&Type::Word(&["SET", "ALTER SYSTEM", "ALL"]))), "Rights on settings of the server that not everybody may change, by name: `{ log_statement = [\"SET\"] }`; exact.").default("{}"),
        Key::new("tablespaces", Type::Map(&Type::List(&Type::Word(&["CREATE", "ALL"]))), "Rights on tablespaces, by name; exact.").default("{}"),
        Key::new("settings", Type::Map(&Type::Setting), "Settings of its sessions (`ALTER ROLE ... SET`); exact once named."),
    ],
};

/// `[postgres.NAME.database.NAME]`.
pub static DATABASE: Table = Table {
    name: "postgres.NAME.database.NAME",
    doc: "A database. Holds data: it is never dropped as a side effect of an edit.",
    keys: &[
        Key::new(
            "enabled",
            Type::Bool,
            "`false` drops an entry that was inherited.",
        )
        .default("true"),
        Key::new(
            "was",
            Type::PostgresName,
            "The name it had: renamed, not made anew.",
        ),
        Key::new(
            "owner",
            Type::PostgresName,
            "A declared role, or the superuser. Absent: not managed.",
        ),
        Key::new(
            "encoding",
            Type::Text,
            "As in `UTF8`; cannot be altered. Absent: not managed, `UTF8` when created.",
        ),
        Key::new(
            "locale",
            Type::Text,
            "As in `C.UTF-8`, for collation and character type; cannot be altered. Absent: not managed, the server's when created.",
        ),
        Key::new(
            "connection_limit",
            Type::Int(-1, 1_000_000),
            "Connections at once; -1 is no limit.",
        )
        .default("-1"),
        Key::new(
            "extensions",
            Type::List(&Type::Either(&Type::PostgresName, &Type::Table(&EXTENSION))),
            "Extensions: a name, or `{ name, version, schema }`.",
        )
        .default("[]"),
    ],
};

/// An item of `extensions`.
pub static EXTENSION: Table = Table {
    name: "postgres.NAME.database.NAME.extensions",
    doc: "An extension with a version.",
    keys: &[
        Key::new("name", Type::PostgresName, "Its name.").required(),
        Key::new(
            "version",
            Type::Text,
            "Its version; absent: not managed. Extensions cannot go down.",
        ),
        Key::new(
            "schema",
            Type::PostgresName,
            "The schema it is made in; absent: the database's default.",
        ),
    ],
};

/// Rights on tables and views.
pub const TABLE_RIGHTS: &[&str] = &[
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "TRUNCATE",
    "REFERENCES",
    "TRIGGER",
    "ALL",
];
/// Rights on sequences.
pub const SEQUENCE_RIGHTS: &[&str] = &["USAGE", "SELECT", "UPDATE", "ALL"];
/// Rights on functions, procedures and aggregates.
pub const FUNCTION_RIGHTS: &[&str] = &["EXECUTE", "ALL"];
/// Rights on types and domains.
pub const TYPE_RIGHTS: &[&str] = &["USAGE", "ALL"];

const ON_TABLES: Type = Type::Word(TABLE_RIGHTS);
const ON_SEQUENCES: Type = Type::Word(SEQUENCE_RIGHTS);
const ON_FUNCTIONS: Type = Type::Word(FUNCTION_RIGHTS);
const ON_TYPES: Type = Type::Word(TYPE_RIGHTS);
const ON_LARGE_OBJECTS: Type = Type::Word(&["SELECT", "UPDATE", "ALL"]);

/// `[[postgres.NAME.grant]]`.
pub static GRANT: Table = Table {
    name: "postgres.NAME.grant",
    doc: "What a role may do in a database. All entries of one role and database together are its exact rights there, on everything that PostgreSQL grants rights on in a database. What is not compared: rights in databases that no entry for the role names, which `audit` reports; and rights of roles that are not declared. Rights on parameters and tablespaces belong to the role, in `[postgres.NAME.role.NAME]`.",
    keys: &[
        Key::new("enabled", Type::Bool, "`false` drops an entry.").default("true"),
        Key::new("role", Type::PostgresName, "A declared role, one of PostgreSQL's own such as `pg_monitor`, or `PUBLIC`.").required(),
        Key::new("database", Type::PostgresName, "A declared database.").required(),
        Key::new("connect", Type::Bool, "CONNECT on the database. PUBLIC has it unless it was revoked.").default("true"),
        Key::new("privileges", Type::List(&Type::Word(&["CREATE", "TEMPORARY"])), "More rights on the database itself.").default("[]"),
        Key::new("schema", Type::PostgresName, "The schema that `tables`, `columns`, `sequences`, `functions`, `types` and `schema_privileges` are about.").default("\"public\""),
        Key::new("schema_privileges", Type::List(&Type::Word(&["USAGE", "CREATE"])), "Rights on the schema; USAGE is added where rights on what is in it are named.").default("[]"),
        Key::new("tables", Type::Either(&Type::List(&ON_TABLES), &Type::Map(&Type::List(&ON_TABLES))), "A list: rights on every table and view of the schema. A table: rights on single ones, `{ orders = [\"INSERT\"] }`, in addition to those on every one that other entries name.").default("[]"),
        Key::new("columns", Type::Map(&Type::Map(&Type::List(&Type::Identifier))), "Rights on columns, by table and right: `{ people = { SELECT = [\"id\", \"name\"] } }`; SELECT, INSERT, UPDATE, REFERENCES or ALL.").default("{}"),
        Key::new("sequences", Type::Either(&Type::List(&ON_SEQUENCES), &Type::Map(&Type::List(&ON_SEQUENCES))), "Rights on every sequence of the schema, or on single ones.").default("[]"),
        Key::new("functions", Type::Either(&Type::List(&ON_FUNCTIONS), &Type::Map(&Type::List(&ON_FUNCTIONS))), "Rights on every function, procedure and aggregate of the schema, or on single ones by their types of arguments: `{ \"total(integer)\" = [\"EXECUTE\"] }`. PUBLIC has EXECUTE on each until an entry for PUBLIC names `functions`, as in `functions = []`."),
        Key::new("types", Type::Either(&Type::List(&ON_TYPES), &Type::Map(&Type::List(&ON_TYPES))), "Rights on every type and domain of the schema, or on single ones. PUBLIC has USAGE on each until an entry for PUBLIC names `types`."),
        Key::new("languages", Type::Map(&Type::List(&ON_TYPES)), "Rights on languages, by name. PUBLIC has USAGE on trusted ones until an entry for PUBLIC names them."),
        Key::new("foreign_data_wrappers", Type::Map(&Type::List(&ON_TYPES)), "Rights on foreign-data wrappers, by name."),
        Key::new("foreign_servers", Type::Map(&Type::List(&ON_TYPES)), "Rights on foreign servers, by name."),
        Key::new("large_objects", Type::Map(&Type::List(&ON_LARGE_OBJECTS)), "Rights on large objects, by number."),
        Key::new("future", Type::Bool, "The same rights on tables, sequences, functions and types made tomorrow, by the database's owner and every declared role that can create there; of rights on all objects of the schema, not of those on single ones.").default("false"),
        Key::new("future_schemas", Type::List(&Type::Word(&["USAGE", "CREATE", "ALL"])), "Rights on schemas made tomorrow by the same.").default("[]"),
        Key::new("exact", Type::Bool, "`false`: rights that are there and not declared stay.").default("true"),
    ],
};

/// `[postgres.NAME.external]`.
pub static EXTERNAL: Table = Table {
    name: "postgres.NAME.external",
    doc: "A managed server.",
    keys: &[
        Key::new("host", Type::Text, "Its address.").required(),
        Key::new("port", Type::Int(1, 65535), "Its port.").default("5432"),
        Key::new(
            "admin",
            Type::Identifier,
            "The login that may create roles and databases.",
        )
        .required(),
        Key::new("password", Type::Secret, "Its password.").required(),
        Key::new(
            "from",
            Type::Name,
            "The host from which it is reached, by a client that is installed there. Absent: the first that uses it, or the first host.",
        ),
    ],
};

/// The grantee that is everybody.
const PUBLIC: &str = "PUBLIC";

/// The port it has by itself.
pub(super) const PORT: u16 = 5432;

/// The init scripts it wants read.
pub(super) fn reads(entry: &Entry, reads: &mut Reads) {
    reads
        .texts
        .extend(entry.node.texts("init").into_iter().map(PathBuf::from));
}

/// Host, port, roles and databases.
pub(super) fn names(
    project: &Project<'_>,
    name: &str,
    entry: &Entry,
    view: &View,
) -> Option<Datum> {
    let (host, port) = server::seen(project, "postgres", name, &entry.node, PORT, view)?;
    let roles = entry.node.named("role").map(|(role, entry)| {
        let mut known = vec![("name".to_owned(), Datum::Text(role.to_owned()))];
        if let Some(password) = entry.node.secret("password") {
            known.push(("password".to_owned(), Datum::Secret(password.clone())));
        }
        (role.to_owned(), Datum::map(known))
    });
    let databases = entry.node.named("database").map(|(database, _)| {
        let known = [("name".to_owned(), Datum::Text(database.to_owned()))];
        (database.to_owned(), Datum::map(known))
    });
    Some(Datum::map([
        ("host".to_owned(), Datum::Text(host)),
        ("port".to_owned(), Datum::Int(i64::from(port))),
        ("role".to_owned(), Datum::map(roles)),
        ("database".to_owned(), Datum::map(databases)),
    ]))
}

/// Names that nobody declares, and scripts that cannot run.
pub(super) fn check(
    environment: &Environment,
    name: &str,
    entry: &Entry,
    problems: &mut Vec<Problem>,
) {
    let node = &entry.node;
    let superuser = node.text("superuser").unwrap_or_default();
    let roles: BTreeSet<&str> = node
        .named("role")
        .map(|(role, _)| role)
        .chain([superuser])
        .collect();
    let databases: BTreeSet<&str> = node
        .named("database")
        .map(|(database, _)| database)
        .collect();
    let mut known = |set: &BTreeSet<&str>, what: &str, owner: &Node, key: &str| {
        let Some(word) = owner.text(key).filter(|word| !set.contains(word)) else {
            return;
        };
        let message = format!("the {what} `{word}` is not declared in `postgres.{name}`");
        let problem = Problem::error(message, &owner.origin(key));
        problems.push(did_you_mean(problem, word, set.iter().copied()));
    };
    for (_, database) in node.named("database") {
        known(&roles, "role", &database.node, "owner");
    }
    let own_roles: BTreeSet<&str> = predefined(node).collect();
    let grantees: BTreeSet<&str> = roles.union(&own_roles).copied().chain(["PUBLIC"]).collect();
    let to_owners = |grant: &&Node| grant.text("role") == Some(OWNER_OF_DATABASE);
    let (owners, grants): (Vec<&Node>, Vec<&Node>) = node.list("grant").iter().partition(to_owners);
    for grant in grants {
        known(&grantees, "role", grant, "role");
        known(&databases, "database", grant, "database");
    }
    known(&databases, "database", node, "init_database");
    for grant in owners {
        let message =
            format!("the rights of `{OWNER_OF_DATABASE}` are those of the database's owner");
        let problem = Problem::error(message, &grant.origin("role"));
        problems.push(problem.help("name the owner, who has every right on what is its own"));
    }
    for grant in node.list("grant") {
        check_objects(grant, problems);
    }
    server::check_database(environment, "postgres", name, entry, problems);
    server::postgres::check(environment, name, node, problems);
    if let Some((database, entry)) = node
        .named("database")
        .find(|(name, _)| *name == "template0")
    {
        let message = format!("the database `{database}` belongs to PostgreSQL itself");
        problems.push(Problem::error(message, &entry.key));
    }
    for (role, entry) in node.named("role") {
        if role.starts_with("pg_") || matches!(role, "public" | "none" | "PUBLIC") {
            let message = format!("the role `{role}` has a name that PostgreSQL keeps for itself");
            problems.push(Problem::error(message, &entry.key));
        }
    }
    for (_, role) in node.named("role") {
        for group in role.node.list("member_of") {
            problems.extend(not_a_group(name, group, &roles, &own_roles));
        }
    }
    for (database, declared) in node.named("database") {
        let mut seen = BTreeSet::new();
        for extension in declared.node.list("extensions") {
            let word = extension
                .as_text()
                .or_else(|| extension.text("name"))
                .unwrap_or_default();
            if !seen.insert(word) {
                let message = format!("the extension `{word}` stands twice in `{database}`");
                problems.push(Problem::error(message, &extension.origin));
            }
        }
    }
    let init = node.list("init");
    project::init_has_a_place(&format!("postgres.{name}"), node, databases.len(), problems);
    for script in init {
        let text = script
            .as_text()
            .and_then(|path| environment.texts.get(Path::new(path)));
        let meta = text.and_then(|text| {
            text.lines()
                .position(|line| line.trim_start().starts_with('\\'))
        });
        if let Some(line) = meta {
            let message = format!(
                "line {} of this script begins with `\\`: commands of psql are not SQL and are not run",
                line + 1
            );
            problems.push(Problem::error(message, &script.origin));
        }
    }
}

/// PostgreSQL's own roles, and the version that brought each.
const PREDEFINED: [(&str, u32); 16] = [
    ("pg_signal_backend", 9),
    ("pg_monitor", 10),
    ("pg_read_all_settings", 10),
    ("pg_read_all_stats", 10),
    ("pg_stat_scan_tables", 10),
    ("pg_read_server_files", 11),
    ("pg_write_server_files", 11),
    ("pg_execute_server_program", 11),
    ("pg_read_all_data", 14),
    ("pg_write_all_data", 14),
    (OWNER_OF_DATABASE, 14),
    ("pg_checkpoint", 15),
    ("pg_create_subscription", 16),
    ("pg_use_reserved_connections", 16),
    ("pg_maintain", 17),
    ("pg_signal_autovacuum_worker", 18),
];

/// Its only member is the owner of the database that somebody is in.
const OWNER_OF_DATABASE: &str = "pg_database_owner";

/// Whether a role is one of PostgreSQL's own, of some version.
pub(super) fn is_predefined(role: &str) -> bool {
    PREDEFINED.iter().any(|(name, _)| *name == role)
}

/// PostgreSQL's own roles that a server has. Which version a managed server has is not declared, so there it may be any of them.
fn predefined(node: &Node) -> impl Iterator<Item = &'static str> + use<> {
    let version: Option<u32> = node
        .text("version")
        .and_then(|version| version.parse().ok());
    let managed = node.get("external").is_some();
    let has = move |since: u32| managed || version.is_none_or(|version| since <= version);
    let there = PREDEFINED.into_iter().filter(move |(_, since)| has(*since));
    there.map(|(name, _)| name)
}

/// What is wrong with an item of `member_of`.
fn not_a_group(
    service: &str,
    group: &Node,
    roles: &BTreeSet<&str>,
    own_roles: &BTreeSet<&str>,
) -> Option<Problem> {
    let word = group.as_text()?;
    if word == OWNER_OF_DATABASE {
        let message = format!("nobody can be made a member of `{word}`");
        let problem = Problem::error(message, &group.origin);
        return Some(problem.help("its member is the owner of each database: say `owner` there"));
    }
    if roles.contains(word) || own_roles.contains(word) {
        return None;
    }
    if let Some((_, since)) = PREDEFINED.iter().find(|(name, _)| *name == word) {
        let message = format!("the role `{word}` is not there before PostgreSQL {since}");
        return Some(Problem::error(message, &group.origin));
    }
    let message = match word.starts_with("pg_") {
        true => format!("PostgreSQL has no role `{word}` of its own"),
        false => format!("the role `{word}` is not declared in `postgres.{service}`"),
    };
    let all = roles.union(own_roles).copied();
    Some(did_you_mean(
        Problem::error(message, &group.origin),
        word,
        all,
    ))
}

/// Names of single objects that the server could not know, and rights on columns that there are not.
fn check_objects(grant: &Node, problems: &mut Vec<Problem>) {
    for (function, entry) in grant.named("functions") {
        if signature(function).is_none() {
            let message = format!("`{function}` does not name the types of its arguments");
            let help = format!("as in `{function}()` or `{function}(integer, text)`");
            problems.push(Problem::error(message, &entry.key).help(help));
        }
    }
    for (number, entry) in grant.named("large_objects") {
        if number.parse::<u32>().is_err() {
            let message = format!("`{number}` is not the number of a large object");
            problems.push(Problem::error(message, &entry.key));
        }
    }
    for (_, table) in grant.named("columns") {
        for (privilege, entry) in table.node.entries() {
            if privilege != "ALL" && !ON_COLUMNS.contains(&privilege) {
                let message = format!("there is no right `{privilege}` on a column");
                let problem = Problem::error(message, &entry.key);
                problems.push(did_you_mean(problem, privilege, ON_COLUMNS.iter().copied()));
            }
        }
    }
}

/// The server with everything in it.
pub(super) fn expand(project: &mut Project<'_>, name: &str, entry: &Entry) {
    if !project.on_engine() {
        return server::postgres::expand(project, name, entry);
    }
    let server = Arc::new(Server {
        service: name.to_owned(),
        dialect: Dialect::Postgres,
        superuser: entry
            .node
            .text("superuser")
            .unwrap_or("postgres")
            .to_owned(),
        seat: Seat::Container,
    });
    let container = Id::short("container", name);
    let made = inside(project, server, &entry.node, vec![container.clone()]);
    let ids: Vec<Id> = made
        .iter()
        .map(|resource| resource.id.clone())
        .chain([container])
        .collect();
    self::container(project, name, entry, &made);
    for resource in made {
        project.add(resource);
    }
    project.settled("postgres", name, ids);
}

/// Everything inside a server; `before` has to be there first.
pub(super) fn inside(
    project: &Project<'_>,
    server: Arc<Server>,
    node: &Node,
    before: Vec<Id>,
) -> Vec<Resource> {
    let mut inside = Inside {
        project,
        server,
        node,
        before,
        made: Vec::new(),
    };
    if !matches!(inside.server.seat, Seat::Network { .. }) {
        inside.settings();
    }
    inside.roles();
    inside.databases();
    inside.scripts();
    inside.grants();
    inside.made
}

/// What lies inside a server, while it is expanded.
struct Inside<'p, 'a> {
    project: &'p Project<'a>,
    server: Arc<Server>,
    node: &'p Node,
    before: Vec<Id>,
    made: Vec<Resource>,
}

impl Inside<'_, '_> {
    fn resource(&self, kind: &str, name: &str, database: Option<&str>, thing: Thing) -> Resource {
        Resource {
            id: Id::new(kind, &self.server.service, name),
            place: Place::Sql(Arc::clone(&self.server), database.map(str::to_owned)),
            thing,
            needs: self.before.clone(),
            origins: BTreeMap::new(),
            probe: None,
        }
    }

    fn id(&self, kind: &str, name: &str) -> Id {
        Id::new(kind, &self.server.service, name)
    }

    fn settings(&mut self) {
        for (name, entry) in self.node.named("settings") {
            let (value, list) = project::setting(entry, "on", "off");
            let thing = PostgresSetting {
                name: name.to_owned(),
                value,
                list,
                ..PostgresSetting::default()
            };
            let resource = self
                .resource("postgres_setting", name, None, thing.into())
                .from("", entry.key.clone())
                .from("value", entry.node.origin.clone());
            self.made.push(resource);
        }
    }

    fn roles(&mut self) {
        let declared: BTreeSet<&str> = self.node.named("role").map(|(role, _)| role).collect();
        for (name, entry) in self.node.named("role") {
            let node = &entry.node;
            let flag = |key| node.bool(key).unwrap_or(false);
            let thing = PostgresRole {
                name: name.to_owned(),
                was: node.text("was").map(str::to_owned),
                managed: matches!(self.server.seat, Seat::Network { .. }),
                password: node.secret("password").cloned(),
                seed: format!(
                    "{}/{}/{name}",
                    self.project.environment.project, self.server.service
                ),
                login: flag("login"),
                superuser: flag("superuser"),
                createdb: flag("createdb"),
                createrole: flag("createrole"),
                inherit: flag("inherit"),
                replication: flag("replication"),
                bypassrls: flag("bypassrls"),
                connection_limit: node.int("connection_limit").unwrap_or(-1),
                valid_until: node.text("valid_until").unwrap_or("infinity").to_owned(),
                member_of: node.texts("member_of").into_iter().collect(),
                rights: server_rights(node),
                settings: node.get("settings").map(|_| {
                    let pairs = node.named("settings");
                    pairs
                        .map(|(key, entry)| {
                            (
                                key.to_owned(),
                                project::setting(entry, "on", "off").0.join(", "),
                            )
                        })
                        .collect()
                }),
                ..PostgresRole::default()
            };
            let groups: Vec<Id> = thing
                .member_of
                .iter()
                .filter(|group| declared.contains(group.as_str()))
                .map(|group| self.id("postgres_role", group))
                .collect();
            let mut resource = self.resource("postgres_role", name, None, thing.into());
            resource.needs.extend(groups);
            self.made.push(with_origins(resource, entry, &ROLE));
        }
    }

    fn databases(&mut self) {
        let declared: BTreeSet<&str> = self.node.named("role").map(|(role, _)| role).collect();
        for (name, entry) in self.node.named("database") {
            let node = &entry.node;
            let text = |key| node.text(key).map(str::to_owned);
            let thing = PostgresDatabase {
                name: name.to_owned(),
                was: text("was"),
                owner: text("owner"),
                encoding: text("encoding"),
                locale: text("locale"),
                connection_limit: node.int("connection_limit").unwrap_or(-1),
            };
            let owner = thing
                .owner
                .clone()
                .filter(|owner| declared.contains(owner.as_str()));
            let mut resource = self.resource("postgres_database", name, None, thing.into());
            resource
                .needs
                .extend(owner.map(|owner| self.id("postgres_role", &owner)));
            self.made.push(with_origins(resource, entry, &DATABASE));
            for extension in node.list("extensions") {
                self.extension(name, extension);
            }
        }
    }

    fn extension(&mut self, database: &str, node: &Node) {
        let name = node
            .as_text()
            .or_else(|| node.text("name"))
            .unwrap_or_default();
        let thing = PostgresExtension {
            name: name.to_owned(),
            version: node.text("version").map(str::to_owned),
            schema: node.text("schema").map(str::to_owned),
            ..PostgresExtension::default()
        };
        let mut resource = self
            .resource(
                "postgres_extension",
                &inside_database(database, name),
                Some(database),
                thing.into(),
            )
            .from("", node.origin.clone())
            .from("version", node.origin("version"))
            .from("schema", node.origin("schema"));
        resource.needs.push(self.id("postgres_database", database));
        self.made.push(resource);
    }

    /// The database that init scripts run in.
    fn init_database(&self) -> Option<&str> {
        let only = || self.node.named("database").next().map(|(name, _)| name);
        self.node.text("init_database").or_else(only)
    }

    fn scripts(&mut self) {
        let Some(database) = self.init_database().map(str::to_owned) else {
            return;
        };
        let owner = self
            .node
            .get("database")
            .and_then(|all| all.get(&database))
            .and_then(|database| database.text("owner"));
        let mut before: Vec<Id> = self
            .made
            .iter()
            .filter(|made| match made.id.kind() {
                "postgres_role" => true,
                "postgres_extension" => made.place.database() == Some(&database),
                _ => false,
            })
            .map(|made| made.id.clone())
            .chain([self.id("postgres_database", &database)])
            .collect();
        for node in self.node.list("init") {
            let path = node.as_text().unwrap_or_default();
            let Some(text) = self.project.environment.texts.get(Path::new(path)) else {
                continue;
            };
            let name = script_name(self.project.environment, path);
            let thing = SqlScript {
                name: name.clone(),
                digest: sha256(text.as_bytes()),
                text: text.to_string(),
                // What it makes belongs to the database's owner, as if the application had made it.
                role: owner.map(str::to_owned),
            };
            let mut resource = self
                .resource(
                    "sql_script",
                    &inside_database(&database, &name),
                    Some(&database),
                    thing.into(),
                )
                .from("", node.origin.clone())
                .from("content", node.origin.clone());
            resource.needs.append(&mut before);
            before.push(resource.id.clone()); // one after the other, in the order of the list
            self.made.push(resource);
        }
    }

    fn grants(&mut self) {
        let mut by_target: BTreeMap<(&str, &str), Vec<&Node>> = BTreeMap::new();
        for grant in self.node.list("grant") {
            if let (Some(role), Some(database)) = (grant.text("role"), grant.text("database")) {
                by_target.entry((database, role)).or_default().push(grant);
            }
        }
        let scripts: Vec<(Id, Option<String>)> = self
            .made
            .iter()
            .filter(|made| made.id.kind() == "sql_script")
            .map(|made| (made.id.clone(), made.place.database().cloned()))
            .collect();
        let makers = self.makers(&by_target);
        let nobody = BTreeSet::new();
        for ((database, role), grants) in by_target {
            let mut thing = rights(
                role,
                database,
                &grants,
                makers.get(database).unwrap_or(&nobody),
            );
            let of_role = self.node.get("role").and_then(|roles| roles.get(role));
            thing.was = of_role.and_then(|role| role.text("was")).map(str::to_owned);
            let mut resource = self.resource(
                "postgres_grant",
                &inside_database(database, role),
                Some(database),
                thing.into(),
            );
            resource.needs.push(self.id("postgres_database", database));
            let declared = |name: &str| {
                self.node
                    .get("role")
                    .is_some_and(|roles| roles.get(name).is_some())
            };
            // Default privileges name the roles whose tables they are about.
            let named: BTreeSet<&str> = makers
                .get(database)
                .into_iter()
                .flatten()
                .map(String::as_str)
                .chain([role])
                .filter(|name| declared(name))
                .collect();
            resource
                .needs
                .extend(named.iter().map(|name| self.id("postgres_role", name)));
            // Rights on all tables: those that the scripts make too.
            resource.needs.extend(
                scripts
                    .iter()
                    .filter(|(_, at)| at.as_deref() == Some(database))
                    .map(|(id, _)| id.clone()),
            );
            for grant in grants.iter().rev() {
                resource = resource.from("", grant.origin.clone());
                resource = origins(resource, grant);
                resource = resource.from("database", grant.origin("privileges"));
            }
            self.made.push(resource);
        }
    }

    /// Who makes tables tomorrow, by database: its owner and every declared role that may create in one of its schemas.
    fn makers<'n>(
        &self,
        grants: &BTreeMap<(&'n str, &'n str), Vec<&'n Node>>,
    ) -> BTreeMap<String, BTreeSet<String>> {
        let mut makers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, entry) in self.node.named("database") {
            let owner = entry.node.text("owner").unwrap_or(&self.server.superuser);
            makers
                .entry(name.to_owned())
                .or_default()
                .insert(owner.to_owned());
        }
        for ((database, role), grants) in grants {
            let creates = |grant: &&Node| {
                grant
                    .texts("schema_privileges")
                    .iter()
                    .any(|word| word == "CREATE")
            };
            if *role != "PUBLIC" && grants.iter().any(creates) {
                makers
                    .entry((*database).to_owned())
                    .or_default()
                    .insert((*role).to_owned());
            }
        }
        makers
    }
}

/// Where the rights of an entry stand in the file, by the fields that they are shown as.
fn origins(mut resource: Resource, grant: &Node) -> Resource {
    let schema = grant.text("schema").unwrap_or("public");
    for (key, field) in [
        ("tables", "tables"),
        ("columns", "columns"),
        ("sequences", "sequences"),
        ("functions", "functions"),
        ("types", "types"),
        ("schema_privileges", "schema"),
        ("future", "future"),
    ] {
        resource = resource
            .from(field, grant.origin(key))
            .from(format!("{field} {schema}"), grant.origin(key));
    }
    for class in [
        Class::Tables,
        Class::Sequences,
        Class::Functions,
        Class::Types,
    ] {
        for (object, entry) in grant.named(class.key()) {
            let field = Spot::one(class, schema, object).field();
            resource = resource.from(field, entry.key.clone());
        }
    }
    for class in [
        Class::Languages,
        Class::Wrappers,
        Class::Servers,
        Class::LargeObjects,
    ] {
        for (object, entry) in grant.named(class.key()) {
            let field = Spot::one(class, "", object).field();
            resource = resource.from(field, entry.key.clone());
        }
    }
    resource
}

/// All entries of one role and database together.
fn rights(
    role: &str,
    database: &str,
    grants: &[&Node],
    creators: &BTreeSet<String>,
) -> PostgresGrant {
    let mut thing = PostgresGrant {
        role: role.to_owned(),
        database: database.to_owned(),
        exact: true,
        ..PostgresGrant::default()
    };
    for grant in grants {
        thing.exact &= grant.bool("exact").unwrap_or(true);
        thing.database_privileges.extend(grant.texts("privileges"));
        if grant.bool("connect").unwrap_or(true) {
            thing.database_privileges.insert("CONNECT".to_owned());
        }
        // Who makes an object has every right on it.
        let creators = creators.iter().filter(|creator| *creator != role);
        let creators: Vec<&str> = creators.map(String::as_str).collect();
        in_schema(grant, role, &creators, &mut thing.wanted);
        for class in [
            Class::Languages,
            Class::Wrappers,
            Class::Servers,
            Class::LargeObjects,
        ] {
            single(grant, class, "", &mut thing.wanted);
        }
        let schemas = spelled(grant.texts("future_schemas"), Class::Schemas.privileges());
        for creator in creators.iter().filter(|_| !schemas.is_empty()) {
            let spot = Spot::future(Class::Schemas, "", creator);
            thing
                .wanted
                .entry(spot)
                .or_default()
                .extend(schemas.iter().cloned());
        }
    }
    thing
}

/// What an entry says of a schema and what is in it.
fn in_schema(grant: &Node, role: &str, creators: &[&str], wanted: &mut Wanted) {
    let schema = grant.text("schema").unwrap_or("public");
    for class in [
        Class::Tables,
        Class::Sequences,
        Class::Functions,
        Class::Types,
    ] {
        single(grant, class, schema, wanted);
        let all = grant
            .get(class.key())
            .filter(|node| matches!(node.value, Value::List(_)));
        let privileges = spelled(grant.texts(class.key()), class.privileges());
        // An empty list takes from everybody what everybody has from the start.
        let counts = |class| role == PUBLIC && matches!(class, Class::Functions | Class::Types);
        if all.is_none() || (privileges.is_empty() && !counts(class)) {
            continue;
        }
        let of_all = wanted.entry(Spot::all(class, schema)).or_default();
        of_all.extend(privileges.iter().cloned());
        if grant.bool("future") != Some(true) {
            continue;
        }
        for creator in creators {
            // Default privileges of a schema only add to those of the whole database.
            let at = if privileges.is_empty() { "" } else { schema };
            let spot = Spot::future(class, at, creator);
            wanted
                .entry(spot)
                .or_default()
                .extend(privileges.iter().cloned());
        }
    }
    for (table, entry) in grant.named("columns") {
        let spot = wanted.entry(Spot::columns(schema, table)).or_default();
        spot.extend(on_columns(&entry.node));
    }
    let mut on_schema: BTreeSet<String> = grant.texts("schema_privileges").into_iter().collect();
    if names_something(grant) {
        on_schema.insert("USAGE".to_owned());
    }
    if !on_schema.is_empty() {
        wanted
            .entry(Spot::schema(schema))
            .or_default()
            .extend(on_schema);
    }
}

/// Whether an entry names rights on what is in its schema.
fn names_something(grant: &Node) -> bool {
    let classes = [
        Class::Tables,
        Class::Sequences,
        Class::Functions,
        Class::Types,
    ];
    let keys = classes.iter().map(|class| class.key()).chain(["columns"]);
    keys.into_iter()
        .any(|key| !grant.list(key).is_empty() || grant.named(key).next().is_some())
}

/// What an entry says of single objects of a class.
fn single(grant: &Node, class: Class, schema: &str, wanted: &mut Wanted) {
    for (object, _) in grant.named(class.key()) {
        let named = grant.get(class.key()).map(|named| named.texts(object));
        let privileges = spelled(named.unwrap_or_default(), class.privileges());
        let object = match class {
            Class::Functions => signature(object).unwrap_or_else(|| object.to_owned()),
            _ => object.to_owned(),
        };
        wanted
            .entry(Spot::one(class, schema, &object))
            .or_default()
            .extend(privileges);
    }
}

const ON_COLUMNS: [&str; 4] = ["SELECT", "INSERT", "UPDATE", "REFERENCES"];

/// Rights on the columns of a table.
fn on_columns(table: &Node) -> BTreeSet<String> {
    let mut rights = BTreeSet::new();
    for (key, _) in table.entries() {
        let columns = table.texts(key);
        for privilege in spelled(vec![key.to_owned()], &ON_COLUMNS) {
            rights.extend(columns.iter().map(|column| on_column(&privilege, column)));
        }
    }
    rights
}

/// Rights of a role on what belongs to the whole server.
fn server_rights(role: &Node) -> ServerRights {
    let mut rights = ServerRights::default();
    for class in [ServerClass::Parameter, ServerClass::Tablespace] {
        let Some(named) = role.get(class.key()) else {
            continue;
        };
        for (object, _) in named.entries() {
            let privileges = spelled(named.texts(object), class.privileges());
            rights.want(class, object, privileges);
        }
    }
    rights
}

/// Privileges with `ALL` spelled out.
fn spelled(words: Vec<String>, all: &[&str]) -> BTreeSet<String> {
    if words.iter().any(|word| word == "ALL") {
        return all.iter().map(|word| (*word).to_owned()).collect();
    }
    words.into_iter().collect()
}

/// Where each key of a table stands that a file says something about.
pub(super) fn with_origins(
    mut resource: Resource,
    entry: &Entry,
    table: &'static Table,
) -> Resource {
    resource = resource.from("", entry.key.clone());
    for key in table.keys {
        if let Some(node) = entry.node.get(key.name) {
            // A new name is shown as one.
            let field = if key.name == "was" { "name" } else { key.name };
            resource = resource.from(field, node.origin.clone());
        }
    }
    resource
}

/// A script's name in the ledger: its path seen from the folder of environments, the same on every machine.
pub(super) fn script_name(environment: &Environment, path: &str) -> String {
    Path::new(path)
        .strip_prefix(&environment.dir)
        .map_or_else(|_| path.to_owned(), |short| short.display().to_string())
}

fn container(project: &mut Project<'_>, name: &str, entry: &Entry, inside: &[Resource]) {
    let node = &entry.node;
    let service = format!("postgres.{name}");
    let tag = node.text("image").unwrap_or_default();
    let superuser = node.text("superuser").unwrap_or("postgres");
    let image = project.image(node, image_recipe(project.environment, tag));
    let (volume, volume_name, volume_key) =
        project.data_volume(name, family(tag, node), &node.origin("image"));
    let start = (!project.outline).then(|| Arc::new(first_start::postgres(inside)));
    let sql = start.as_ref().map(|start| start.sql.clone());
    let (first_start, first_start_path) = project.file(
        &format!("{name}/first-start.sql"),
        sql.unwrap_or_default(),
        0o644,
        &entry.key,
    );
    let locked = locked_verifier(&format!(
        "{}/{name}/{superuser}",
        project.environment.project
    ));
    let env = BTreeMap::from([
        ("POSTGRES_USER".to_owned(), Text::plain(superuser)),
        // A verifier that no password matches: we come in by the local socket.
        (
            "POSTGRES_PASSWORD".to_owned(),
            Text::secret(Secret::new(locked)),
        ),
        ("POSTGRES_DB".to_owned(), Text::plain("postgres")),
        // Without this the image lets everybody in over the container's loopback.
        (
            "POSTGRES_INITDB_ARGS".to_owned(),
            Text::plain("--auth-host=scram-sha-256"),
        ),
    ]);
    let thing = Container {
        project: project.environment.project.clone(),
        environment: project.environment.name.clone(),
        service: name.to_owned(),
        name: project.container_name(name),
        image: tag.to_owned(),
        env,
        ports: project.ports(&service, PORT),
        mounts: BTreeMap::from([
            (
                "/var/lib/postgresql/data".to_owned(),
                Mount::Volume(volume_name, volume_key),
            ),
            (
                "/docker-entrypoint-initdb.d/10-provision.sql".to_owned(),
                Mount::Bind(first_start_path, true),
            ),
        ]),
        network: project.network_name(),
        health: Some(Health {
            // Over TCP: during its first start the server answers on its socket only.
            test: vec![
                "CMD-SHELL".to_owned(),
                format!(
                    "pg_isready -q -h 127.0.0.1 -U {} -d postgres",
                    quote::word(superuser)
                ),
            ],
            interval: 2,
            timeout: 5,
            retries: 30,
            start_period: 120,
        }),
        stop_seconds: 60,
        folder: project.environment.engine_folder().display().to_string(),
        first_start: start,
        ..Container::default()
    };
    let mut resource = project::on_engine(Id::short("container", name), thing.into())
        .from("", entry.key.clone())
        .from("image", node.origin("image"));
    for forward in project.forwards(&service) {
        resource = resource.from(format!("port {PORT}"), forward.origin.clone());
    }
    resource.needs = vec![image, project.network_id(), volume, first_start];
    let server = Server {
        service: name.to_owned(),
        dialect: Dialect::Postgres,
        superuser: superuser.to_owned(),
        seat: Seat::Container,
    };
    resource.probe = Some(Probe::Login {
        server: Arc::new(server),
        reached: true,
    });
    project.add(resource);
    let connect = connect(node);
    project.endpoint(&service, |address, port| vec![connect(address, port)]);
}

/// How somebody connects, as a command line.
pub(super) fn connect(node: &Node) -> impl Fn(&str, u16) -> String + use<> {
    let user = logins(node).into_iter().next();
    move |address, port| match &user {
        Some((user, database, _)) => {
            let user = quote::word(user);
            let database = quote::psql_database(database.as_deref().unwrap_or("postgres"));
            let option = if database.starts_with('-') { "-d " } else { "" };
            let database = quote::word(&database);
            format!("psql -h {address} -p {port} -U {user} {option}{database}")
        }
        None => format!("psql -h {address} -p {port} postgres"),
    }
}

/// Every role that can log in with a password we know, and a database it may enter.
pub(super) fn logins(node: &Node) -> Vec<(String, Option<String>, Secret)> {
    let enters = |role: &str| {
        let owned = node
            .named("database")
            .find(|(_, entry)| entry.node.text("owner") == Some(role));
        let granted = || {
            let mut grants = node.list("grant").iter();
            let grant = grants.find(|grant| {
                grant.text("role") == Some(role) && grant.bool("connect") != Some(false)
            })?;
            grant.text("database")
        };
        owned
            .map(|(name, _)| name)
            .or_else(granted)
            .map(str::to_owned)
    };
    node.named("role")
        .filter(|(_, entry)| entry.node.bool("login") == Some(true))
        .filter_map(|(role, entry)| {
            Some((
                role.to_owned(),
                enters(role),
                entry.node.secret("password")?.clone(),
            ))
        })
        .collect()
}

/// libc, uid of the data's owner and major version: what a data folder cannot be moved across.
fn family(tag: &str, node: &Node) -> String {
    let version = node.text("version").unwrap_or("15");
    match project::libc(tag) {
        "musl" => format!("musl/70/{version}"),
        libc => format!("{libc}/999/{version}"),
    }
}

/// How the default image is built where its registry does not answer.
fn image_recipe(environment: &Environment, tag: &str) -> Option<Build> {
    let plain = tag.strip_prefix("postgres:")?;
    let ours = plain.starts_with("15") && project::libc(tag) == "glibc";
    ours.then(|| Build {
        says: "from Debian's packages".to_owned(),
        bootstrap: Some("bookworm".to_owned()),
        context: vec![
            (
                "Dockerfile".to_owned(),
                recipe(environment, "postgres.Dockerfile"),
            ),
            (
                "postgres-entrypoint.sh".to_owned(),
                recipe(environment, "postgres-entrypoint.sh"),
            ),
        ],
        folder: None,
        ca: false,
    })
}
