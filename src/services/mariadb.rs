//! `[mariadb.NAME]`: a MariaDB server, its settings, databases, users with grants, and init scripts.

use core::net::{Ipv4Addr, Ipv6Addr};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use crate::command::{Dialect, Place, Seat, Server, Text};
use crate::declaration::{Entry, Environment, Key, Node, Table, Type, Value};
use crate::error::{Problem, did_you_mean};
use crate::quote;
use crate::resource::{Id, Probe, Resource, Thing};
use crate::resources::container::{Container, Health, Mount};
use crate::resources::image::Build;
use crate::resources::mariadb_database::MariadbDatabase;
use crate::resources::mariadb_grant::{self, MariadbGrant};
use crate::resources::mariadb_role::MariadbRole;
use crate::resources::mariadb_script::MariadbScript;
use crate::resources::mariadb_setting::MariadbSetting;
use crate::resources::mariadb_user::{Auth, Expiry, Limits, MariadbUser, Require, microseconds};
use crate::secret::{Secret, locked_native_hash, sha256};
use crate::services::postgres::{script_name, with_origins};
use crate::services::project::{self, Project, View};
use crate::services::{Reads, first_start, recipe, server};
use crate::template::{self, Datum};

/// `[mariadb.NAME]`.
pub static TABLE: Table = Table {
    name: "mariadb.NAME",
    doc: "A MariaDB server with its databases and users.",
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
            "was",
            Type::Name,
            "The name it had, on a server; a Docker volume cannot be renamed.",
        ),
        Key::new(
            "external",
            Type::Table(&EXTERNAL),
            "A managed server: its users, databases and grants, and nothing that is installed.",
        ),
        Key::new("version", Type::Word(&["10.11"]), "Version.").default("\"10.11\""),
        Key::new(
            "port",
            Type::Int(1, 65535),
            "On a server: the port it listens on. Absent: 3306; on this machine the port of the forward that leads to it.",
        ),
        Key::new(
            "listen",
            Type::List(&Type::Text),
            "On a server: the addresses it listens on. Absent: `127.0.0.1`, and where an application on another server uses it also the server's own (all where that is no private IP address).",
        ),
        Key::new("image", Type::Text, "Image on a Docker engine.").default("\"mariadb:10.11\""),
        Key::new(
            "pull",
            Type::Word(&["auto", "always", "never"]),
            "Where its image comes from, as for PostgreSQL.",
        )
        .default("\"auto\""),
        Key::new(
            "settings",
            Type::Map(&Type::Setting),
            "Server settings by their MariaDB name; kept in `provision.cnf`.",
        ),
        Key::new(
            "init",
            Type::List(&Type::Path),
            "SQL files (globs allowed), each run once and once more when its content changes; remembered in the server itself.",
        ),
        Key::new(
            "init_database",
            Type::Identifier,
            "The database `init` runs in; needed where there is more than one.",
        ),
        Key::new("database", Type::Named(&DATABASE), "Databases by name."),
        Key::new(
            "user",
            Type::Named(&USER),
            "Users, named `NAME@HOST`; without a host, `@%`.",
        ),
        Key::new(
            "role",
            Type::Named(&ROLE),
            "Roles by name; `PUBLIC` is everybody.",
        ),
    ],
};

/// `[mariadb.NAME.role.NAME]`.
pub static ROLE: Table = Table {
    name: "mariadb.NAME.role.NAME",
    doc: "A role with its exact rights, for users and other roles to be members of. Dropped when it is taken out of the file.",
    keys: &[
        Key::new(
            "enabled",
            Type::Bool,
            "`false` drops an entry that was inherited.",
        )
        .default("true"),
        Key::new(
            "grants",
            Type::Map(&Type::List(&Type::Text)),
            "As those of a user.",
        )
        .default("{}"),
        Key::new(
            "exact",
            Type::Bool,
            "`false`: rights and memberships that are there and not declared stay.",
        )
        .default("true"),
        Key::new(
            "roles",
            Type::List(&Type::Text),
            "Roles that it is a member of.",
        )
        .default("[]"),
    ],
};

/// `[mariadb.NAME.database.NAME]`.
pub static DATABASE: Table = Table {
    name: "mariadb.NAME.database.NAME",
    doc: "A database. Holds data: it is never dropped as a side effect of an edit.",
    keys: &[
        Key::new(
            "enabled",
            Type::Bool,
            "`false` drops an entry that was inherited.",
        )
        .default("true"),
        Key::new(
            "charset",
            Type::Text,
            "Default character set of new tables. Absent: not managed.",
        ),
        Key::new(
            "collation",
            Type::Text,
            "Default collation of new tables. Absent: not managed.",
        ),
    ],
};

/// `[mariadb.NAME.user."NAME@HOST"]`.
pub static USER: Table = Table {
    name: "mariadb.NAME.user.NAME",
    doc: "A user with its exact rights.",
    keys: &[
        Key::new("enabled", Type::Bool, "`false` drops an entry that was inherited.").default("true"),
        Key::new("was", Type::Text, "The user it was, as `NAME@HOST`: renamed, not made anew."),
        Key::new("password", Type::Secret, "Absent: the password is not managed; without one nobody can log in."),
        Key::new("grants", Type::Map(&Type::List(&Type::Text)), "Privileges by `database.*`, `database.table`, `*.*`, `procedure database.name` or `function database.name` (also `package`, `package body`); on columns as `SELECT (id, total)`. Names are literal: `_` and `%` are escaped; one that holds a dot is written between backticks.").default("{}"),
        Key::new("exact", Type::Bool, "`false`: rights that are there and not declared stay.").default("true"),
        Key::new("max_connections", Type::Int(0, 1_000_000), "Connections at once; 0 is no limit.").default("0"),
        Key::new("max_queries_per_hour", Type::Int(0, 4_294_967_295), "Queries in an hour; 0 is no limit.").default("0"),
        Key::new("max_updates_per_hour", Type::Int(0, 4_294_967_295), "Statements in an hour that change something; 0 is no limit.").default("0"),
        Key::new("max_connections_per_hour", Type::Int(0, 4_294_967_295), "Connections in an hour; 0 is no limit.").default("0"),
        Key::new("max_statement_time", Type::Either(&Type::Int(0, 31_536_000), &Type::Text), "Seconds that a statement may take, as in `30` or `\"0.5\"`; 0 is no limit.").default("0"),
        Key::new("locked", Type::Bool, "May not log in.").default("false"),
        Key::new("auth", Type::Word(&["password", "ed25519", "unix_socket"]), "How it proves who it is: by its `password`, by that with the plugin `ed25519` (the password cannot be compared then), or over the server's socket by the name of the process's user.").default("\"password\""),
        Key::new("require", Type::Either(&Type::Word(&["none", "ssl", "x509"]), &Type::Table(&REQUIRE)), "What its connections have to bring: nothing, TLS, a client certificate, or one with certain properties.").default("\"none\""),
        Key::new("password_expiry", Type::Either(&Type::Int(1, 65535), &Type::Word(&["default", "never"])), "Days after which its password expires, `\"never\"`, or as the server's `default_password_lifetime` says.").default("\"default\""),
        Key::new("roles", Type::List(&Type::Text), "Roles that it is a member of: exactly these, where `exact` is not `false`.").default("[]"),
        Key::new("default_role", Type::Text, "The one of its roles that holds from its login on. Absent: none."),
    ],
};

/// `require` of a user, as a table.
pub static REQUIRE: Table = Table {
    name: "mariadb.NAME.user.NAME.require",
    doc: "Properties of a user's connections; each that is given has to hold.",
    keys: &[
        Key::new(
            "subject",
            Type::Text,
            "The client certificate's subject, as in `/CN=app`.",
        ),
        Key::new("issuer", Type::Text, "The client certificate's issuer."),
        Key::new("cipher", Type::Text, "The connection's cipher."),
    ],
};

/// `[mariadb.NAME.external]`.
pub static EXTERNAL: Table = Table {
    name: "mariadb.NAME.external",
    doc: "A managed server.",
    keys: &[
        Key::new("host", Type::Text, "Its address.").required(),
        Key::new("port", Type::Int(1, 65535), "Its port.").default("3306"),
        Key::new(
            "admin",
            Type::Identifier,
            "The login that may create users and databases.",
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

/// The port it has by itself.
pub(super) const PORT: u16 = 3306;

/// The init scripts it wants read.
pub(super) fn reads(entry: &Entry, reads: &mut Reads) {
    reads
        .texts
        .extend(entry.node.texts("init").into_iter().map(PathBuf::from));
}

/// Host, port, users and databases.
pub(super) fn names(
    project: &Project<'_>,
    name: &str,
    entry: &Entry,
    view: &View,
) -> Option<Datum> {
    let (host, port) = server::seen(project, "mariadb", name, &entry.node, PORT, view)?;
    let users = entry.node.named("user").map(|(user, entry)| {
        let mut known = vec![("name".to_owned(), Datum::Text(account(user).0.to_owned()))];
        if let Some(password) = entry.node.secret("password") {
            known.push(("password".to_owned(), Datum::Secret(password.clone())));
        }
        (user.to_owned(), Datum::map(known))
    });
    let databases = entry.node.named("database").map(|(database, _)| {
        let known = [("name".to_owned(), Datum::Text(database.to_owned()))];
        (database.to_owned(), Datum::map(known))
    });
    Some(Datum::map([
        ("host".to_owned(), Datum::Text(host)),
        ("port".to_owned(), Datum::Int(i64::from(port))),
        ("user".to_owned(), Datum::map(users)),
        ("database".to_owned(), Datum::map(databases)),
    ]))
}

/// `NAME@HOST` as its two parts; without a host, `%`.
fn account(user: &str) -> (&str, &str) {
    user.rsplit_once('@').unwrap_or((user, "%"))
}

/// Databases that the server keeps its own things in.
const RESERVED: &[&str] = &["mysql", "information_schema", "performance_schema", "sys"];

/// Names that nobody declares, users declared twice, and grants that cannot be meant.
pub(super) fn check(
    environment: &Environment,
    name: &str,
    entry: &Entry,
    problems: &mut Vec<Problem>,
) {
    let node = &entry.node;
    let databases: BTreeSet<&str> = node
        .named("database")
        .map(|(database, _)| database)
        .collect();
    for (database, entry) in node.named("database") {
        if RESERVED.contains(&database.to_lowercase().as_str()) {
            let message = format!("the database `{database}` belongs to MariaDB itself");
            problems.push(Problem::error(message, &entry.key));
        }
    }
    check_case(node, problems);
    let mut accounts = BTreeMap::new();
    for (user, entry) in node.named("user") {
        let (own, host) = account(user);
        if let Some(first) = accounts.insert((own, host.to_lowercase()), user) {
            let message = format!("`{user}` and `{first}` are the same user");
            problems.push(Problem::error(message, &entry.key));
        }
        if matches!(own, "mariadb.sys" | "mysql") {
            let message = format!("`{user}` belongs to MariaDB itself");
            problems.push(Problem::error(message, &entry.key));
        }
        if own == "root" {
            let message =
                "`root` is how `provision` itself comes in, over the socket; it is not declared"
                    .to_owned();
            problems.push(Problem::error(message, &entry.key));
        }
        if let Err(message) = check_host(host) {
            problems.push(Problem::error(message, &entry.key));
        }
        check_account(user, entry, problems);
        check_roles(name, node, entry, problems);
        check_grants(name, (&databases, folds(node)), entry, problems);
    }
    for (_, entry) in node.named("role") {
        check_roles(name, node, entry, problems);
        check_grants(name, (&databases, folds(node)), entry, problems);
    }
    project::init_has_a_place(&format!("mariadb.{name}"), node, databases.len(), problems);
    server::check_database(environment, "mariadb", name, entry, problems);
    server::mariadb::check(environment, name, node, problems);
    if let Some(database) = node
        .text("init_database")
        .filter(|database| !databases.contains(database))
    {
        let message = format!("the database `{database}` is not declared in `mariadb.{name}`");
        let problem = Problem::error(message, &node.origin("init_database"));
        problems.push(did_you_mean(problem, database, databases.iter().copied()));
    }
}

/// Which of a server's own databases rights can be had on.
const GRANTABLE: &[&str] = &["mysql", "performance_schema", "sys"];

/// Levels and privileges that the server does not know.
fn check_grants(
    name: &str,
    (databases, folds): (&BTreeSet<&str>, bool),
    entry: &Entry,
    problems: &mut Vec<Problem>,
) {
    for (level, privileges) in entry.node.named("grants") {
        let items = match &privileges.node.value {
            Value::List(items) => items.as_slice(),
            _ => &[],
        };
        let parsed = mariadb_grant::check(level, "USAGE");
        if let Err(message) = parsed {
            let problem = Problem::error(message, &privileges.key);
            problems.push(problem.help("as in `database.*`, `database.table` or `*.*`"));
            continue;
        }
        for item in items {
            let word = item.as_text().unwrap_or_default();
            if let Err(message) = mariadb_grant::check(level, word) {
                problems.push(Problem::error(message, &item.origin));
            }
        }
        let Some(database) = mariadb_grant::database_of(level) else {
            continue;
        };
        let known = |known: &&str| match folds {
            true => known.to_lowercase() == database.to_lowercase(),
            false => **known == database,
        };
        if database.eq_ignore_ascii_case("information_schema") {
            let message = "nobody can be granted rights on `information_schema`: everybody sees there what they may see";
            problems.push(Problem::error(message, &privileges.key));
        } else if !databases.iter().any(known) && !GRANTABLE.iter().any(known) {
            let message = format!("the database `{database}` is not declared in `mariadb.{name}`");
            let problem = Problem::error(message, &privileges.key);
            problems.push(did_you_mean(problem, &database, databases.iter().copied()));
        }
    }
}

/// Memberships in roles that nobody declares.
fn check_roles(name: &str, node: &Node, entry: &Entry, problems: &mut Vec<Problem>) {
    let declared: BTreeSet<&str> = node.named("role").map(|(role, _)| role).collect();
    let roles = entry.node.list("roles");
    for item in roles {
        let role = item.as_text().unwrap_or_default();
        if role.eq_ignore_ascii_case("public") {
            let message = "everybody is a member of `PUBLIC`";
            problems.push(Problem::error(message, &item.origin));
        } else if !declared.contains(role) {
            let message = format!("the role `{role}` is not declared in `mariadb.{name}`");
            let problem = Problem::error(message, &item.origin);
            problems.push(did_you_mean(problem, role, declared.iter().copied()));
        }
    }
    let Some(default) = entry.node.text("default_role") else {
        return;
    };
    if !roles.iter().any(|item| item.as_text() == Some(default)) {
        let message = format!("the default role `{default}` is none of its `roles`");
        problems.push(Problem::error(message, &entry.node.origin("default_role")));
    }
}

/// Attributes that contradict each other, or that hold nothing.
fn check_account(user: &str, entry: &Entry, problems: &mut Vec<Problem>) {
    let node = &entry.node;
    let password = node.get("password");
    match (auth(node), password) {
        (Auth::Socket, Some(password)) => {
            let message = format!("`{user}` logs in over the socket, without a password");
            problems.push(Problem::error(message, &password.origin));
        }
        (Auth::Ed25519, None) => {
            let message = format!("`{user}` needs a `password` for the plugin `ed25519`");
            problems.push(Problem::error(message, &node.origin("auth")));
        }
        _ => {}
    }
    if let Some(text) = node.text("max_statement_time")
        && microseconds(text).is_none()
    {
        let message = format!("`{text}` is no number of seconds, as in `\"0.5\"`");
        problems.push(Problem::error(message, &node.origin("max_statement_time")));
    }
    let nothing = Require::Specified {
        subject: String::new(),
        issuer: String::new(),
        cipher: String::new(),
    };
    if require(node) == nothing {
        let message = "`require` names neither `subject` nor `issuer` nor `cipher`";
        problems.push(Problem::error(message, &node.origin("require")));
    }
}

/// A host that no connection ever has: the server compares addresses as they are written.
fn check_host(host: &str) -> Result<(), String> {
    if let Some((base, mask)) = host.split_once('/') {
        let address = base.parse::<Ipv4Addr>().map(u32::from);
        return match (address, mask.parse::<Ipv4Addr>().map(u32::from)) {
            (Ok(base), Ok(mask)) if base & mask == base => Ok(()),
            (Ok(base), Ok(mask)) => Err(format!(
                "no address is in `{host}`: it has to be `{}/{}`",
                Ipv4Addr::from(base & mask),
                Ipv4Addr::from(mask)
            )),
            (Ok(base), Err(_)) => Err(match mask.parse::<u32>() {
                Ok(bits @ 0..=32) => {
                    let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
                    format!(
                        "MariaDB takes a netmask, no length of a prefix: `{}/{}`",
                        Ipv4Addr::from(base & mask),
                        Ipv4Addr::from(mask)
                    )
                }
                _ => format!("`{mask}` is no netmask, as in `255.255.0.0`"),
            }),
            (Err(_), _) => Err(format!(
                "`{host}` is no address with a netmask, as in `10.0.0.0/255.0.0.0`; MariaDB knows them for IPv4 only"
            )),
        };
    }
    if host.starts_with('[') {
        return Err(format!(
            "an IPv6 address is written without brackets, not `{host}`"
        ));
    }
    match host.parse::<Ipv6Addr>() {
        Ok(address) if address.to_string() != host.to_lowercase() => Err(format!(
            "the server compares addresses as they are written: `{address}`, not `{host}`"
        )),
        _ => Ok(()),
    }
}

/// Whether the server keeps names of databases and tables in lower case, as its settings say.
fn folds(node: &Node) -> bool {
    lower_case_table_names(node).is_some_and(|(value, _)| value == "1")
}

fn lower_case_table_names(node: &Node) -> Option<(String, &Entry)> {
    let named = node.named("settings");
    let is = |name: &str| {
        name.replace('-', "_")
            .eq_ignore_ascii_case("lower_case_table_names")
    };
    let (_, entry) = named.into_iter().find(|(name, _)| is(name))?;
    Some((project::setting(entry, "1", "0").0.join(","), entry))
}

/// Names that the server folds to lower case.
fn check_case(node: &Node, problems: &mut Vec<Problem>) {
    if let Some((value, entry)) = lower_case_table_names(node)
        && value == "2"
    {
        let message = "`lower_case_table_names = 2` is for file systems that ignore the case of names; on Linux the server takes it for 0";
        problems.push(Problem::error(message, &entry.node.origin).help("write 1 or 0"));
    }
    if !folds(node) {
        return;
    }
    let mut folded: BTreeMap<String, &str> = BTreeMap::new();
    for (database, entry) in node.named("database") {
        let lower = database.to_lowercase();
        if let Some(first) = folded.insert(lower.clone(), database) {
            let message = format!(
                "`{first}` and `{database}` are the same database where `lower_case_table_names` is 1"
            );
            problems.push(Problem::error(message, &entry.key));
        } else if lower != database {
            let message = format!(
                "the database `{database}` becomes `{lower}`: `lower_case_table_names` is 1"
            );
            problems.push(Problem::warning(message, &entry.key));
        }
    }
    for (_, entry) in node.named("user").chain(node.named("role")) {
        let mut levels: BTreeMap<String, &str> = BTreeMap::new();
        for (level, privileges) in entry.node.named("grants") {
            if let Some(first) = levels.insert(mariadb_grant::in_lower_case(level), level) {
                let message = format!(
                    "`{first}` and `{level}` are the same where `lower_case_table_names` is 1"
                );
                problems.push(Problem::error(message, &privileges.key));
            }
        }
    }
}

/// The server with everything in it.
pub(super) fn expand(project: &mut Project<'_>, name: &str, entry: &Entry) {
    if !project.on_engine() {
        return server::mariadb::expand(project, name, entry);
    }
    let server = Arc::new(Server {
        service: name.to_owned(),
        dialect: Dialect::MariaDb,
        superuser: "root".to_owned(),
        seat: Seat::Container,
    });
    let container_id = Id::short("container", name);
    let kept = Id::short("generated_file", &settings_file(name));
    let made = inside(project, &entry.node, &server, &container_id, &[kept]);
    let ids: Vec<Id> = made
        .iter()
        .map(|resource| resource.id.clone())
        .chain([container_id])
        .collect();
    container(project, name, entry, &server, &made);
    for resource in made {
        project.add(resource);
    }
    project.settled("mariadb", name, ids);
}

/// What lies inside a server; `before` has to be there first, and before its settings also the file that keeps them.
pub(super) fn inside(
    project: &Project<'_>,
    node: &Node,
    server: &Arc<Server>,
    before: &Id,
    kept: &[Id],
) -> Vec<Resource> {
    let name = server.service.as_str();
    let resource = |kind: &str, named: &str, thing: Thing| Resource {
        id: Id::new(kind, name, named),
        place: Place::Sql(Arc::clone(server), None),
        thing,
        needs: vec![before.clone()],
        origins: BTreeMap::new(),
        probe: None,
    };
    let mut made: Vec<Resource> = Vec::new();
    // What is made before the server reads that setting has the names that it has afterwards.
    let folds = folds(node);
    let folded = |name: &str| match folds {
        true => name.to_lowercase(),
        false => name.to_owned(),
    };
    let managed = matches!(server.seat, Seat::Network { .. });
    for (setting, entry) in node.named("settings").filter(|_| !managed) {
        let value = project::setting(entry, "ON", "OFF").0.join(",");
        let thing = MariadbSetting {
            name: setting.replace('-', "_"),
            value,
            ..MariadbSetting::default()
        };
        let mut one = resource("mariadb_setting", setting, thing.into())
            .from("", entry.key.clone())
            .from("value", entry.node.origin.clone());
        one.needs.extend(kept.iter().cloned());
        made.push(one);
    }
    let is_case = |one: &&Resource| one.id.as_str().ends_with(":lower_case_table_names");
    let case = made.iter().find(is_case).map(|one| one.id.clone());
    for (database, entry) in node.named("database") {
        let text = |key| entry.node.text(key).map(str::to_owned);
        let thing = MariadbDatabase {
            name: folded(database),
            charset: text("charset"),
            collation: text("collation"),
            ..MariadbDatabase::default()
        };
        let mut one = with_origins(
            resource("mariadb_database", &folded(database), thing.into()),
            entry,
            &DATABASE,
        );
        one.needs.extend(case.iter().cloned());
        made.push(one);
    }
    let databases: Vec<Id> = made
        .iter()
        .filter(|one| one.id.kind() == "mariadb_database")
        .map(|one| one.id.clone())
        .collect();
    let scripts = scripts(project, name, node, &resource, &databases);
    for (declared, entry) in node.named("user") {
        let (user, host) = account(declared);
        let named = format!("{user}@{host}");
        let was = entry.node.text("was").map(|was| {
            let (user, host) = account(was);
            (user.to_owned(), host.to_owned())
        });
        let thing = MariadbUser {
            user: user.to_owned(),
            host: host.to_owned(),
            was: was.clone(),
            password: entry.node.secret("password").cloned(),
            managed,
            auth: auth(&entry.node),
            require: require(&entry.node),
            expiry: expiry(&entry.node),
            limits: limits(&entry.node),
            max_connections: entry.node.int("max_connections").unwrap_or(0),
            locked: entry.node.bool("locked").unwrap_or(false),
            ..MariadbUser::default()
        };
        made.push(with_origins(
            resource("mariadb_user", &named, thing.into()),
            entry,
            &USER,
        ));
        let thing = MariadbGrant {
            user: user.to_owned(),
            host: host.to_owned(),
            was,
            default_role: entry.node.text("default_role").map(str::to_owned),
            ..rights(entry, folds)
        };
        let mut grant = resource("mariadb_grant", &named, thing.into());
        grant.needs.push(Id::new("mariadb_user", name, &named));
        made.push(granted(grant, entry, folds, (name, &databases, &scripts)));
    }
    for (role, entry) in node.named("role") {
        // Everybody's rights are those of a role that is always there.
        let public = role.eq_ignore_ascii_case("public");
        let role = if public { "PUBLIC" } else { role };
        let thing = MariadbGrant {
            user: role.to_owned(),
            ..rights(entry, folds)
        };
        let mut grant = resource("mariadb_grant", &format!("{role}@"), thing.into());
        if !public {
            let thing = MariadbRole {
                name: role.to_owned(),
            };
            made.push(with_origins(
                resource("mariadb_role", role, thing.into()),
                entry,
                &ROLE,
            ));
            grant.needs.push(Id::new("mariadb_role", name, role));
        }
        made.push(granted(grant, entry, folds, (name, &databases, &scripts)));
    }
    made.extend(scripts);
    made
}

/// The rights that an entry declares.
fn rights(entry: &Entry, folds: bool) -> MariadbGrant {
    let on = entry.node.named("grants").map(|(level, privileges)| {
        let words = match &privileges.node.value {
            Value::List(items) => items
                .iter()
                .filter_map(Node::as_text)
                .map(str::to_owned)
                .collect(),
            _ => BTreeSet::new(),
        };
        (level_name(level, folds), words)
    });
    let roles = entry.node.texts("roles").into_iter();
    MariadbGrant {
        on: on.collect(),
        roles: roles.map(|role| (role, false)).collect(),
        exact: entry.node.bool("exact").unwrap_or(true),
        ..MariadbGrant::default()
    }
}

fn level_name(level: &str, folds: bool) -> String {
    match folds {
        true => mariadb_grant::in_lower_case(level),
        false => level.to_owned(),
    }
}

/// Where rights come from, and what has to be there before them.
fn granted(
    mut grant: Resource,
    entry: &Entry,
    folds: bool,
    (server, databases, scripts): (&str, &[Id], &[Resource]),
) -> Resource {
    grant = grant.from("", entry.node.origin("grants"));
    for (level, privileges) in entry.node.named("grants") {
        grant = grant.from(level_name(level, folds), privileges.node.origin.clone());
    }
    for item in entry.node.list("roles") {
        let role = item.as_text().unwrap_or_default();
        grant.needs.push(Id::new("mariadb_role", server, role));
        grant = grant.from(format!("role {role}"), item.origin.clone());
    }
    grant = grant.from("default_role", entry.node.origin("default_role"));
    grant.needs.extend(databases.iter().cloned());
    // A right on one table needs the table.
    grant
        .needs
        .extend(scripts.iter().map(|script| script.id.clone()));
    grant
}

fn auth(node: &Node) -> Auth {
    match node.text("auth") {
        Some("ed25519") => Auth::Ed25519,
        Some("unix_socket") => Auth::Socket,
        _ => Auth::Password,
    }
}

fn require(node: &Node) -> Require {
    let text = |key| {
        let table = node.get("require").and_then(|table| table.text(key));
        table.unwrap_or_default().to_owned()
    };
    match node.text("require") {
        Some("ssl") => Require::Ssl,
        Some("x509") => Require::X509,
        Some(_) => Require::None,
        None if node.get("require").is_none() => Require::None,
        None => Require::Specified {
            subject: text("subject"),
            issuer: text("issuer"),
            cipher: text("cipher"),
        },
    }
}

fn expiry(node: &Node) -> Expiry {
    match (node.int("password_expiry"), node.text("password_expiry")) {
        (Some(days), _) => Expiry::Days(days),
        (_, Some("never")) => Expiry::Never,
        _ => Expiry::Default,
    }
}

fn limits(node: &Node) -> Limits {
    let of = |key| node.int(key).unwrap_or(0);
    let time = node.text("max_statement_time").and_then(microseconds);
    Limits {
        queries: of("max_queries_per_hour"),
        updates: of("max_updates_per_hour"),
        connections: of("max_connections_per_hour"),
        statement_time: time.unwrap_or_else(|| of("max_statement_time") * 1_000_000),
    }
}

fn scripts(
    project: &Project<'_>,
    name: &str,
    node: &Node,
    resource: &dyn Fn(&str, &str, Thing) -> Resource,
    databases: &[Id],
) -> Vec<Resource> {
    let only = || node.named("database").next().map(|(database, _)| database);
    let Some(database) = node.text("init_database").or_else(only) else {
        return Vec::new();
    };
    let schema = match folds(node) {
        true => database.to_lowercase(),
        false => database.to_owned(),
    };
    let mut before = databases.to_vec();
    let mut made = Vec::new();
    for item in node.list("init") {
        let path = item.as_text().unwrap_or_default();
        let Some(text) = project.environment.texts.get(Path::new(path)) else {
            continue;
        };
        let script = script_name(project.environment, path);
        let thing = MariadbScript {
            name: script.clone(),
            digest: sha256(text.as_bytes()),
            text: text.to_string(),
            database: schema.clone(),
        };
        let mut one = resource("mariadb_script", &script, thing.into())
            .from("", item.origin.clone())
            .from("content", item.origin.clone());
        one.needs.append(&mut before);
        one.needs.push(Id::new("mariadb_database", name, &schema));
        before.push(Id::new("mariadb_script", name, &script));
        made.push(one);
    }
    made
}

fn settings_file(name: &str) -> String {
    format!("{name}/provision.cnf")
}

#[derive(Serialize)]
struct Settings<'a> {
    source: &'a str,
    settings: Vec<Setting>,
}

#[derive(Serialize)]
struct Setting {
    name: String,
    value: String,
}

/// The file that keeps the settings for the next start; `ours` stand behind the declared ones.
pub(super) fn settings_text(
    project: &mut Project<'_>,
    node: &Node,
    ours: &[(&str, String)],
) -> Option<String> {
    let declared = node.named("settings").map(|(key, entry)| Setting {
        name: key.replace('-', "_"),
        value: project::setting(entry, "ON", "OFF").0.join(","),
    });
    let ours = ours.iter().map(|(name, value)| Setting {
        name: (*name).to_owned(),
        value: value.clone(),
    });
    let model = Settings {
        source: &project.environment.file,
        settings: declared.chain(ours).collect(),
    };
    match template::file("provision.cnf.j2", &project.environment.templates, &model) {
        Ok(text) => Some(text),
        Err(message) => {
            let problem = Problem::error(message, &node.origin("settings"));
            project.problems.push(problem);
            None
        }
    }
}

fn container(
    project: &mut Project<'_>,
    name: &str,
    entry: &Entry,
    server: &Arc<Server>,
    inside: &[Resource],
) {
    let node = &entry.node;
    let service = format!("mariadb.{name}");
    let tag = node.text("image").unwrap_or_default();
    let image = project.image(node, image_recipe(project.environment, tag));
    let (volume, volume_name, volume_key) =
        project.data_volume(name, family(tag, node), &node.origin("image"));
    let locked = locked_native_hash(&format!("{}/{name}/root", project.environment.project));
    let start = (!project.outline).then(|| Arc::new(first_start::mariadb(inside, &locked)));
    let sql = start.as_ref().map(|start| start.sql.clone());
    let (first_start, first_start_path) = project.file(
        &format!("{name}/first-start.sql"),
        sql.unwrap_or_default(),
        0o644,
        &entry.key,
    );
    let Some(kept) = settings_text(project, node, &[]) else {
        return;
    };
    let (kept, kept_path) = project.file(
        &settings_file(name),
        Text::plain(kept),
        0o644,
        &node.origin("settings"),
    );
    let env = BTreeMap::from([
        // Empty for the moment of the first start, in which the server has no network and the first-start SQL locks root away:
        // with `MARIADB_ROOT_PASSWORD_HASH` the image itself could not come in any more to end its start.
        (
            "MARIADB_ALLOW_EMPTY_ROOT_PASSWORD".to_owned(),
            Text::plain("1"),
        ),
        ("MARIADB_ROOT_HOST".to_owned(), Text::plain("localhost")),
    ]);
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
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
                "/var/lib/mysql".to_owned(),
                Mount::Volume(volume_name, volume_key),
            ),
            (
                "/docker-entrypoint-initdb.d/10-provision.sql".to_owned(),
                Mount::Bind(first_start_path, true),
            ),
            (
                "/etc/mysql/conf.d/provision.cnf".to_owned(),
                Mount::Bind(kept_path, true),
            ),
        ]),
        network: project.network_name(),
        health: Some(Health {
            test: words(&["CMD", "healthcheck.sh", "--connect", "--innodb_initialized"]),
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
    resource.needs = vec![image, project.network_id(), volume, first_start, kept];
    resource.probe = Some(Probe::Login {
        server: Arc::clone(server),
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
            let database = match database.as_deref() {
                None | Some("") => String::new(),
                Some(name) if name.starts_with('-') => format!(" --database={}", quote::word(name)),
                Some(name) => format!(" {}", quote::word(name)),
            };
            format!("mariadb -h {address} -P {port} -u {user} -p{database}")
        }
        None => format!("mariadb -h {address} -P {port}"),
    }
}

/// Every user from anywhere that can log in with a password we know, and a database it may enter.
pub(super) fn logins(node: &Node) -> Vec<(String, Option<String>, Secret)> {
    let enters = |entry: &Entry| {
        let mut levels = entry.node.named("grants").map(|(level, _)| level);
        let database = levels.find_map(mariadb_grant::database_of)?;
        Some(match folds(node) {
            true => database.to_lowercase(),
            false => database,
        })
    };
    node.named("user")
        .filter(|(user, entry)| account(user).1 == "%" && closed(&entry.node).is_none())
        .filter_map(|(user, entry)| {
            let password = entry.node.secret("password")?.clone();
            Some((account(user).0.to_owned(), enters(entry), password))
        })
        .collect()
}

/// Why a login without TLS, by the password alone, is refused or cannot be tried.
fn closed(node: &Node) -> Option<&'static str> {
    let user = MariadbUser {
        auth: auth(node),
        require: require(node),
        locked: node.bool("locked") == Some(true),
        ..MariadbUser::default()
    };
    user.closed_without_tls()
}

/// libc, uid of the data's owner and version: what a data folder cannot be moved across.
fn family(tag: &str, node: &Node) -> String {
    format!(
        "{}/999/{}",
        project::libc(tag),
        node.text("version").unwrap_or("10.11")
    )
}

/// How the default image is built where its registry does not answer.
fn image_recipe(environment: &Environment, tag: &str) -> Option<Build> {
    let plain = tag.strip_prefix("mariadb:")?;
    plain.starts_with("10.11").then(|| Build {
        says: "from Debian's packages".to_owned(),
        bootstrap: Some("bookworm".to_owned()),
        context: ["mariadb-entrypoint.sh", "mariadb-healthcheck.sh"]
            .into_iter()
            .map(|name| (name.to_owned(), recipe(environment, name)))
            .chain([(
                "Dockerfile".to_owned(),
                recipe(environment, "mariadb.Dockerfile"),
            )])
            .collect(),
        folder: None,
        ca: false,
    })
}
