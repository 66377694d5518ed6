//! What has to work if an environment is as it is declared, and what must not: the checks of `verify`, derived from the
//! declaration alone. Pure: whoever carries them out is told what to try and brings back what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::command::{Denial, Dialect, Place, Route, Seat, Server};
use crate::declaration::{Environment, Origin};
use crate::plan::Found;
use crate::resource::{Id, Probe, Resource, Same, Thing};
use crate::resources::mariadb_grant::{MariadbGrant, database_of};
use crate::resources::mariadb_user::MariadbUser;
use crate::resources::postgres_database::PostgresDatabase;
use crate::resources::postgres_grant::PostgresGrant;
use crate::resources::postgres_role::PostgresRole;
use crate::secret::Secret;
use crate::services::{self, Ports, Use, forward};

/// A database that nobody declares, and a user.
const UNDECLARED: &str = "provision_undeclared";

/// One thing to try.
#[derive(Clone, Debug)]
pub struct Check {
    /// Its name, the same in every run: `login.analytics:django_user/iact_analytics`.
    pub id: String,
    /// The service it is about, as in `postgres.analytics`.
    pub service: String,
    /// What is expected, for people.
    pub says: String,
    /// The way it takes, for people; empty where there is none.
    pub way: String,
    /// Where what it is about is declared.
    pub origin: Origin,
    /// What to try.
    pub does: Does,
}

/// What to try.
#[derive(Clone, Debug)]
pub enum Does {
    /// Logging in.
    LogIn(Box<LogIn>),
    /// Hearing what a port speaks: a database's protocol, or HTTP.
    Listen(Route, Option<Dialect>),
    /// A probe of its service.
    Probe(Box<Probe>),
    /// Looking whether it runs.
    Runs(Id),
    /// Nothing, and why.
    Nothing(String),
}

/// A login, and what should come of it.
#[derive(Clone, Debug)]
pub struct LogIn {
    /// The server.
    pub server: Arc<Server>,
    /// The way there.
    pub route: Route,
    /// The user.
    pub user: String,
    /// The database, if one.
    pub database: Option<String>,
    /// The password that is tried.
    pub password: Secret,
    /// What should come of it.
    pub wanted: Wanted,
}

/// What should come of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// It gets in.
    In,
    /// The password is accepted; whether any database lets the user in is not declared.
    Known,
    /// It is refused, whatever the reason.
    Refused,
    /// The password is accepted and the database refused.
    NoEntry,
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As expected.
    Fine,
    /// Not as expected, and what happened instead.
    Failed(String),
    /// Not tried, or nothing can be said, and why.
    Skipped(String),
}

impl Check {
    /// What is not tried at the same time: one user's logins, since a user may have a limit of connections.
    pub fn lane(&self) -> Option<(&str, &str)> {
        match &self.does {
            Does::LogIn(login) => Some((&login.server.service, &login.user)),
            _ => None,
        }
    }
}

impl LogIn {
    /// Whether what came of it may be otherwise in a moment: others use the connections that there are.
    pub fn is_passing(&self, came: &Result<(), Denial>) -> bool {
        const CROWDED: [&str; 4] = ["53300", "57P03", "1040", "1203"];
        let code = came
            .as_ref()
            .err()
            .and_then(|denial| denial.code.as_deref());
        code.is_some_and(|code| CROWDED.contains(&code))
    }

    /// What a login's end means.
    pub fn judge(&self, came: Result<(), Denial>) -> Verdict {
        const NO_DATABASE: [&str; 4] = ["42501", "3D000", "1044", "1049"];
        let user = &self.user;
        let denial = match came {
            Ok(()) => {
                return match (self.wanted, &self.database) {
                    (Wanted::In | Wanted::Known, _) => Verdict::Fine,
                    (Wanted::Refused, _) => {
                        Verdict::Failed(format!("`{user}` gets in all the same"))
                    }
                    (Wanted::NoEntry, Some(database)) => {
                        Verdict::Failed(format!("`{user}` gets in to `{database}` all the same"))
                    }
                    (Wanted::NoEntry, None) => {
                        Verdict::Failed(format!("`{user}` gets in all the same"))
                    }
                };
            }
            Err(denial) => denial,
        };
        let no_entry = denial
            .code
            .as_deref()
            .is_some_and(|code| NO_DATABASE.contains(&code));
        match self.wanted {
            Wanted::Known | Wanted::NoEntry if no_entry => Verdict::Fine,
            Wanted::Refused if denial.refused => Verdict::Fine,
            Wanted::NoEntry if denial.refused => Verdict::Skipped(format!(
                "it is not let in at all, so nobody can tell: {}",
                denial.why
            )),
            _ => Verdict::Failed(denial.why),
        }
    }
}

/// Whether a thing that was looked at runs.
pub(crate) fn running(wanted: &Thing, found: &Found) -> Verdict {
    /// Fields that say so, in the words of their kinds.
    const STATE: [&str; 2] = ["running", "state"];
    let found = match found {
        Found::Absent => return Verdict::Failed("it is not there".to_owned()),
        Found::Down(why) | Found::Unreadable(why) => return Verdict::Failed(why.clone()),
        Found::There(found) => found,
    };
    if let Thing::Container(container) = found {
        return match container.runs() {
            true => Verdict::Fine,
            false => Verdict::Failed("it does not run".to_owned()),
        };
    }
    let off: Vec<String> = wanted
        .fields(Some(found))
        .into_iter()
        .filter(|field| field.same == Same::No && STATE.contains(&&*field.name))
        .map(|field| {
            let shown = |value: Option<String>| value.unwrap_or_else(|| "nothing".to_owned());
            format!(
                "{}: {}, not {}",
                field.name,
                shown(field.from),
                shown(field.to)
            )
        })
        .collect();
    match off.is_empty() {
        true => Verdict::Fine,
        false => Verdict::Failed(off.join("; ")),
    }
}

/// All checks of an environment, in the order of its services. `ports`: those taken in place of declared ones.
pub fn checks(environment: &Environment, resources: &[Resource], ports: &Ports) -> Vec<Check> {
    let uses = services::uses(environment);
    let forwards = forward::all(environment, ports);
    let mut checks = Vec::new();
    for resource in resources {
        let has_to_run = match &resource.thing {
            Thing::SystemdUnit(unit) => unit.running == Some(true),
            Thing::Container(_) | Thing::Timer(_) | Thing::PostgresCluster(_) => true,
            _ => false,
        };
        if has_to_run {
            checks.push(runs(resource));
        }
    }
    for (server, inside) in servers(resources) {
        let deriving = Deriving {
            server,
            inside: &inside,
            uses: &uses,
            forwards: match environment.driver.is_engine() {
                true => &forwards,
                false => &[],
            },
        };
        match server.dialect {
            Dialect::Postgres => deriving.postgres(&mut checks),
            Dialect::MariaDb => deriving.mariadb(&mut checks),
        }
    }
    checks.extend(resources.iter().filter_map(health));
    let open = forwards
        .iter()
        .filter_map(|forward| open(environment, resources, forward));
    checks.extend(open);
    checks
}

fn runs(resource: &Resource) -> Check {
    let name = resource.id.as_str();
    let service = match &resource.thing {
        Thing::Container(container) => container.service.clone(),
        _ => resource.thing.key().into_owned(),
    };
    Check {
        id: format!("running.{name}"),
        service,
        says: format!("`{name}` runs"),
        way: String::new(),
        origin: resource.declared(),
        does: Does::Runs(resource.id.clone()),
    }
}

fn health(resource: &Resource) -> Option<Check> {
    let probe = resource.probe.as_ref()?;
    let (service, path, way) = match probe {
        Probe::Login { .. } => return None,
        Probe::Http {
            service,
            published,
            port,
            path,
            ..
        } => {
            let way = match published {
                Some((address, port)) => format!("{address}:{port}"),
                None => format!("port {port} of its container"),
            };
            (service, path, way)
        }
        Probe::HttpOn {
            service,
            machine,
            address,
            port,
            path,
            ..
        } => (service, path, format!("{address}:{port} from {machine}")),
    };
    Some(Check {
        id: format!("health.{service}"),
        service: format!("django.{service}"),
        says: format!("`{service}` answers {path} with 200"),
        way,
        origin: resource.declared(),
        does: Does::Probe(Box::new(probe.clone())),
    })
}

/// A forward: on an engine it is open all the time, to a server it is opened by `forward`, for which the other end has to answer.
fn open(
    environment: &Environment,
    resources: &[Resource],
    forward: &forward::Forward,
) -> Option<Check> {
    let dialect = match forward.to.split_once('.')?.0 {
        "postgres" => Some(Dialect::Postgres),
        "mariadb" => Some(Dialect::MariaDb),
        _ => None,
    };
    let speaks = match dialect {
        Some(Dialect::Postgres) => "PostgreSQL",
        Some(Dialect::MariaDb) => "MariaDB",
        None => "HTTP",
    };
    let listens = format!("{}:{}", forward.address, forward.port);
    let route = match environment.driver.is_engine() {
        true => Route::Port(forward.address.clone(), forward.port),
        false => {
            let from = reaching(resources, &forward.to);
            let (machine, address, port) =
                services::reached(environment, &forward.to, from.as_ref())?;
            Route::From(machine, address, port)
        }
    };
    let says = match &route {
        Route::From(..) => format!(
            "{speaks} answers where `forward.{}` will lead",
            forward.name
        ),
        _ => format!("{speaks} answers on {listens}"),
    };
    Some(Check {
        id: format!("forward.{}", forward.name),
        service: forward.to.clone(),
        says,
        way: shown(&route, None),
        origin: forward.origin.clone(),
        does: Does::Listen(route, dialect),
    })
}

/// The machine that reaches a service which is on none of ours.
pub fn reaching(resources: &[Resource], service: &str) -> Option<Arc<str>> {
    let name = service.rsplit('.').next()?;
    resources.iter().find_map(|resource| match &resource.place {
        Place::Sql(server, _) if server.service == name => match &server.seat {
            Seat::Network { from, .. } => Some(Arc::clone(from)),
            _ => None,
        },
        _ => None,
    })
}

/// What is declared inside a server.
#[derive(Default)]
struct Inside<'a> {
    roles: Vec<(&'a PostgresRole, &'a Resource)>,
    databases: Vec<&'a PostgresDatabase>,
    grants: Vec<&'a PostgresGrant>,
    users: Vec<(&'a MariadbUser, &'a Resource)>,
    schemas: Vec<&'a str>,
    rights: Vec<&'a MariadbGrant>,
}

fn servers(resources: &[Resource]) -> BTreeMap<&Arc<Server>, Inside<'_>> {
    let mut servers: BTreeMap<&Arc<Server>, Inside<'_>> = BTreeMap::new();
    for resource in resources {
        let Place::Sql(server, _) = &resource.place else {
            continue;
        };
        let inside = servers.entry(server).or_default();
        match &resource.thing {
            Thing::PostgresRole(role) => inside.roles.push((role, resource)),
            Thing::PostgresDatabase(database) => inside.databases.push(database),
            Thing::PostgresGrant(grant) => inside.grants.push(grant),
            Thing::MariadbUser(user) => inside.users.push((user, resource)),
            Thing::MariadbDatabase(database) => inside.schemas.push(&database.name),
            Thing::MariadbGrant(grant) => inside.rights.push(grant),
            _ => {}
        }
    }
    servers
}

struct Deriving<'a> {
    server: &'a Arc<Server>,
    inside: &'a Inside<'a>,
    uses: &'a [Use],
    /// The forwards that are open all the time.
    forwards: &'a [forward::Forward],
}

impl Deriving<'_> {
    fn service(&self) -> String {
        let table = match self.server.dialect {
            Dialect::Postgres => "postgres",
            Dialect::MariaDb => "mariadb",
        };
        format!("{table}.{}", self.server.service)
    }

    /// The ways that a password will take, and whether they are those of somebody who uses it.
    fn routes(&self, password: &Secret) -> (Vec<Route>, bool) {
        let service = self.service();
        let ports: Vec<Route> = self
            .forwards
            .iter()
            .filter(|forward| forward.to == service)
            .map(|forward| Route::Port(forward.address.clone(), forward.port))
            .collect();
        if !ports.is_empty() {
            return (ports, false);
        }
        let holds = |one: &&Use| {
            let word = password.expose();
            let secret = |secret: &Secret| secret.expose().contains(word);
            one.service == self.server.service && !word.is_empty() && one.secrets.iter().any(secret)
        };
        let used: BTreeSet<Route> = self
            .uses
            .iter()
            .filter(holds)
            .map(|one| Route::From(Arc::clone(&one.machine), one.address.clone(), one.port))
            .collect();
        match used.is_empty() {
            true => (vec![Route::Own], false),
            false => (used.into_iter().collect(), true),
        }
    }

    fn check(&self, id: String, says: String, origin: &Origin, login: LogIn) -> Check {
        Check {
            id,
            service: self.service(),
            says,
            way: shown(&login.route, Some(self.server)),
            origin: origin.clone(),
            does: Does::LogIn(Box::new(login)),
        }
    }

    fn nothing(&self, user: &str, origin: &Origin, why: impl Into<String>) -> Check {
        Check {
            id: format!("login.{}:{user}", self.server.service),
            service: self.service(),
            says: format!("`{user}` logs in"),
            way: String::new(),
            origin: origin.clone(),
            does: Does::Nothing(why.into()),
        }
    }

    /// A user gets in to each of some databases over each of its ways; without a database only its password is tried.
    fn enters(
        &self,
        user: &str,
        account: &str,
        password: &Secret,
        databases: &[&str],
        origin: &Origin,
        checks: &mut Vec<Check>,
    ) {
        let name = &self.server.service;
        let (routes, _) = self.routes(password);
        for route in &routes {
            let at = match routes.len() {
                1 => String::new(),
                _ => format!("@{}", shown(route, Some(self.server)).replace(' ', "-")),
            };
            let login = |database: Option<&str>, wanted| LogIn {
                server: Arc::clone(self.server),
                route: route.clone(),
                user: user.to_owned(),
                database: database.map(str::to_owned),
                password: password.clone(),
                wanted,
            };
            for database in databases {
                checks.push(self.check(
                    format!("login.{name}:{account}/{database}{at}"),
                    format!("`{account}` gets in to `{database}`"),
                    origin,
                    login(Some(database), Wanted::In),
                ));
            }
            if databases.is_empty() {
                checks.push(self.check(
                    format!("login.{name}:{account}{at}"),
                    format!("`{account}` is known by its password"),
                    origin,
                    login(None, Wanted::Known),
                ));
            }
        }
        let wrong = LogIn {
            server: Arc::clone(self.server),
            route: routes.first().cloned().unwrap_or(Route::Own),
            user: user.to_owned(),
            database: databases.first().map(|database| (*database).to_owned()),
            password: Secret::new(format!("{}~", password.expose())),
            wanted: Wanted::Refused,
        };
        checks.push(self.check(
            format!("wrong_password.{name}:{account}"),
            format!("`{account}` is refused with a wrong password"),
            origin,
            wrong,
        ));
    }

    fn kept_out(
        &self,
        user: &str,
        account: &str,
        password: &Secret,
        databases: &[&str],
        origin: &Origin,
        checks: &mut Vec<Check>,
    ) {
        let route = self.routes(password).0.into_iter().next();
        for database in databases {
            let login = LogIn {
                server: Arc::clone(self.server),
                route: route.clone().unwrap_or(Route::Own),
                user: user.to_owned(),
                database: Some((*database).to_owned()),
                password: password.clone(),
                wanted: Wanted::NoEntry,
            };
            checks.push(self.check(
                format!("kept_out.{}:{account}/{database}", self.server.service),
                format!("`{account}` is kept out of `{database}`"),
                origin,
                login,
            ));
        }
    }

    /// Who and what nobody declares: a user, and, for one that gets in, a database.
    fn undeclared(
        &self,
        first: Option<(&str, &Secret, &Origin)>,
        password: Secret,
        checks: &mut Vec<Check>,
    ) {
        let name = &self.server.service;
        let nobody = first.map(|(_, password, _)| self.routes(password).0);
        let login = LogIn {
            server: Arc::clone(self.server),
            route: nobody
                .and_then(|routes| routes.into_iter().next())
                .unwrap_or(Route::Own),
            user: UNDECLARED.to_owned(),
            database: None,
            password,
            wanted: Wanted::Refused,
        };
        let origin = first.map(|(.., origin)| origin.clone()).unwrap_or_default();
        checks.push(self.check(
            format!("undeclared.{name}:user"),
            "a user that is not declared is refused".to_owned(),
            &origin,
            login,
        ));
        let Some((user, password, origin)) = first else {
            return;
        };
        let login = LogIn {
            server: Arc::clone(self.server),
            route: self
                .routes(password)
                .0
                .into_iter()
                .next()
                .unwrap_or(Route::Own),
            user: user.to_owned(),
            database: Some(UNDECLARED.to_owned()),
            password: password.clone(),
            wanted: Wanted::NoEntry,
        };
        checks.push(self.check(
            format!("undeclared.{name}:database"),
            "a database that is not declared is refused".to_owned(),
            origin,
            login,
        ));
    }

    fn postgres(&self, checks: &mut Vec<Check>) {
        let mut first = None;
        for (role, resource) in &self.inside.roles {
            let Some(password) = role.password.as_ref().filter(|_| role.login) else {
                continue;
            };
            let origin = resource.declared();
            if role.connection_limit == 0 {
                checks.push(self.nothing(&role.name, &origin, "it may have no connection"));
                continue;
            }
            if role.valid_until.trim() == "-infinity" {
                checks.push(self.nothing(&role.name, &origin, "its password has ended"));
                continue;
            }
            let names = |open: bool| -> Vec<&str> {
                let databases = self.inside.databases.iter();
                databases
                    .filter(|database| match open {
                        true => self.lets_in(role, database),
                        false => !self.lets_in(role, database) && self.is_closed(&database.name),
                    })
                    .map(|database| database.name.as_str())
                    .collect()
            };
            let (entered, closed) = (names(true), names(false));
            self.enters(&role.name, &role.name, password, &entered, &origin, checks);
            self.kept_out(&role.name, &role.name, password, &closed, &origin, checks);
            first.get_or_insert((role.name.as_str(), password, origin));
        }
        let first = first.as_ref();
        let first = first.map(|(user, password, origin)| (*user, *password, origin));
        self.undeclared(first, Secret::new(UNDECLARED), checks);
    }

    /// Whether the declaration lets a role in to a database.
    fn lets_in(&self, role: &PostgresRole, database: &PostgresDatabase) -> bool {
        if role.superuser {
            return true;
        }
        let mut all = BTreeSet::from([role.name.as_str()]);
        let mut inherit = if role.inherit { vec![role] } else { Vec::new() };
        while let Some(one) = inherit.pop() {
            for group in &one.member_of {
                if all.insert(group) {
                    let declared = self.inside.roles.iter().map(|(role, _)| *role);
                    inherit.extend(declared.filter(|role| role.name == *group && role.inherit));
                }
            }
        }
        let connects = |grant: &&PostgresGrant| {
            grant.database == database.name && grant.database_privileges.contains("CONNECT")
        };
        let owns = database
            .owner
            .as_deref()
            .is_some_and(|owner| all.contains(owner));
        let grants = || self.inside.grants.iter().copied().filter(connects);
        owns || grants().any(|grant| all.contains(grant.role.as_str()) || is_public(grant))
    }

    /// Whether PUBLIC is declared, and not to come in to a database: else it has the right to by birth.
    fn is_closed(&self, database: &str) -> bool {
        self.inside.grants.iter().any(|grant| {
            is_public(grant)
                && grant.exact
                && grant.database == database
                && !grant.database_privileges.contains("CONNECT")
        })
    }

    fn mariadb(&self, checks: &mut Vec<Check>) {
        let mut first = None;
        for (user, resource) in &self.inside.users {
            let Some(password) = &user.password else {
                continue;
            };
            let origin = resource.declared();
            let account = format!("{}@{}", user.user, user.host);
            if let Some(why) = user.closed_without_tls() {
                checks.push(self.nothing(&account, &origin, why));
                continue;
            }
            if let Some(why) = self.unreachable(user, password) {
                checks.push(self.nothing(&account, &origin, why));
                continue;
            }
            let rights = self.rights_of(&user.user, &user.host);
            let held = self.held(&user.user, &user.host);
            let enters = |schema: &str| held.iter().any(|rights| reaches(rights, schema));
            let schemas = self.inside.schemas.iter().copied();
            let (entered, closed): (Vec<&str>, Vec<&str>) = schemas.partition(|one| enters(one));
            self.enters(&user.user, &account, password, &entered, &origin, checks);
            if rights.is_some_and(|rights| rights.exact) {
                self.kept_out(&user.user, &account, password, &closed, &origin, checks);
            }
            first.get_or_insert((user.user.as_str(), password, origin));
        }
        let first = first.as_ref();
        let first = first.map(|(user, password, origin)| (*user, *password, origin));
        // Without a password: an account without a name lets everybody in.
        self.undeclared(first, Secret::new(""), checks);
    }

    fn rights_of(&self, user: &str, host: &str) -> Option<&MariadbGrant> {
        let rights = self.inside.rights.iter().copied();
        rights
            .into_iter()
            .find(|rights| rights.user == user && rights.host == host)
    }

    /// The rights that an account has from its login on: its own, those of its default role with the roles in it, and everybody's.
    fn held(&self, user: &str, host: &str) -> Vec<&MariadbGrant> {
        let own = self.rights_of(user, host);
        let default = own.and_then(|own| own.default_role.as_deref());
        let mut held: Vec<&MariadbGrant> = own.into_iter().collect();
        held.extend(self.rights_of("PUBLIC", ""));
        let mut roles: Vec<&str> = default.into_iter().collect();
        let mut seen = BTreeSet::new();
        while let Some(role) = roles.pop() {
            if let Some(rights) = self.rights_of(role, "").filter(|_| seen.insert(role)) {
                held.push(rights);
                roles.extend(rights.roles.keys().map(String::as_str));
            }
        }
        held
    }

    /// Why nobody can try an account: it comes from elsewhere only.
    fn unreachable(&self, user: &MariadbUser, password: &Secret) -> Option<String> {
        let (routes, used) = self.routes(password);
        let at_home = matches!(self.server.seat, Seat::Machine { .. }) && routes == [Route::Own];
        let is_local = |host: &str| matches!(host, "localhost" | "127.0.0.1");
        let shadows = |other: &&(&MariadbUser, &Resource)| {
            other.0.user == user.user && is_local(&other.0.host)
        };
        match user.host.as_str() {
            _ if used => None,
            "%" if at_home && self.inside.users.iter().any(|other| shadows(&other)) => {
                Some("on its own machine another account of this name comes before it".to_owned())
            }
            "%" => None,
            host if at_home && is_local(host) => None,
            host => Some(format!(
                "it comes from `{host}` only, where nobody tries it"
            )),
        }
    }
}

fn is_public(grant: &PostgresGrant) -> bool {
    grant.role == "PUBLIC"
}

/// Whether rights reach into a database.
fn reaches(rights: &MariadbGrant, schema: &str) -> bool {
    rights.on.iter().any(|(level, privileges)| {
        let of = database_of(level);
        let any = privileges
            .iter()
            .any(|one| one != "USAGE" && one != "GRANT OPTION");
        any && of.is_none_or(|of| of == schema)
    })
}

/// A way, for people.
fn shown(route: &Route, server: Option<&Server>) -> String {
    match (route, server.map(|server| &server.seat)) {
        (Route::Port(address, port), _) => format!("{address}:{port}"),
        (Route::From(machine, address, port), _) => format!("{address}:{port} from {machine}"),
        (Route::Own, Some(Seat::Machine { name, port })) => format!("127.0.0.1:{port} on {name}"),
        (Route::Own, Some(Seat::Network { from, host, port })) => {
            format!("{host}:{port} from {from}")
        }
        (Route::Own, _) => "its container's address".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(why: &str, code: Option<&str>) -> Result<(), Denial> {
        Err(Denial {
            why: why.to_owned(),
            refused: code.is_some(),
            code: code.map(str::to_owned),
        })
    }

    fn login(wanted: Wanted) -> LogIn {
        LogIn {
            server: server(),
            route: Route::Own,
            user: "u".to_owned(),
            database: Some("d".to_owned()),
            password: Secret::new("p"),
            wanted,
        }
    }

    fn server() -> Arc<Server> {
        Arc::new(Server {
            service: "analytics".to_owned(),
            dialect: Dialect::Postgres,
            superuser: "postgres".to_owned(),
            seat: Seat::Container,
        })
    }

    #[test]
    fn only_the_server_s_own_refusal_is_a_refusal() {
        let judge = |wanted, came| login(wanted).judge(came);
        assert_eq!(judge(Wanted::In, Ok(())), Verdict::Fine);
        assert!(matches!(judge(Wanted::Refused, Ok(())), Verdict::Failed(_)));
        assert!(matches!(judge(Wanted::NoEntry, Ok(())), Verdict::Failed(_)));
        for wanted in [Wanted::In, Wanted::Known, Wanted::Refused, Wanted::NoEntry] {
            let lost = judge(wanted, denied("nobody answers", None));
            assert_eq!(
                lost,
                Verdict::Failed("nobody answers".to_owned()),
                "{wanted:?}"
            );
        }
        let wrong = || denied("refused", Some("28P01"));
        assert_eq!(judge(Wanted::Refused, wrong()), Verdict::Fine);
        assert!(matches!(judge(Wanted::Known, wrong()), Verdict::Failed(_)));
        assert!(matches!(
            judge(Wanted::NoEntry, wrong()),
            Verdict::Skipped(_)
        ));
        let no_entry = || denied("refused", Some("42501"));
        assert_eq!(judge(Wanted::NoEntry, no_entry()), Verdict::Fine);
        assert_eq!(judge(Wanted::Known, no_entry()), Verdict::Fine);
        assert!(matches!(judge(Wanted::In, no_entry()), Verdict::Failed(_)));
        assert!(login(Wanted::In).is_passing(&denied("full", Some("53300"))));
    }

    fn role(name: &str, member_of: &[&str]) -> PostgresRole {
        PostgresRole {
            name: name.to_owned(),
            password: Some(Secret::new(name)),
            login: true,
            inherit: true,
            connection_limit: -1,
            member_of: member_of.iter().map(|role| (*role).to_owned()).collect(),
            ..PostgresRole::default()
        }
    }

    fn grant(role: &str, database: &str, connect: bool) -> PostgresGrant {
        let privileges = connect.then(|| "CONNECT".to_owned());
        PostgresGrant {
            role: role.to_owned(),
            database: database.to_owned(),
            database_privileges: privileges.into_iter().collect(),
            exact: true,
            ..PostgresGrant::default()
        }
    }

    fn resource(thing: impl Into<Thing>) -> Resource {
        let thing = thing.into();
        Resource {
            id: Id::new(thing.kind(), "analytics", &thing.key()),
            place: Place::Sql(server(), None),
            thing,
            needs: Vec::new(),
            origins: BTreeMap::new(),
            probe: None,
        }
    }

    #[test]
    fn who_gets_in_where_follows_from_the_declaration() {
        let database = |name: &str, owner: &str| PostgresDatabase {
            name: name.to_owned(),
            owner: Some(owner.to_owned()),
            ..PostgresDatabase::default()
        };
        let resources = [
            resource(role("owner", &[])),
            resource(role("reader", &["readers"])),
            resource(role("guest", &[])),
            resource(PostgresRole {
                password: None,
                ..role("readers", &[])
            }),
            resource(database("data", "owner")),
            resource(database("open", "owner")),
            resource(grant("PUBLIC", "data", false)),
            resource(grant("readers", "data", true)),
        ];
        let servers = servers(&resources);
        let (server, inside) = servers.iter().next().expect("there is one");
        let deriving = Deriving {
            server,
            inside,
            uses: &[],
            forwards: &[],
        };
        let mut checks = Vec::new();
        deriving.postgres(&mut checks);
        let ids: Vec<&str> = checks.iter().map(|check| check.id.as_str()).collect();
        assert_eq!(
            ids,
            [
                "login.analytics:owner/data",
                "login.analytics:owner/open",
                "wrong_password.analytics:owner",
                "login.analytics:reader/data",
                "wrong_password.analytics:reader",
                // PUBLIC may enter `open` by birth, and nobody says otherwise: nothing is claimed of it.
                "login.analytics:guest",
                "wrong_password.analytics:guest",
                "kept_out.analytics:guest/data",
                "undeclared.analytics:user",
                "undeclared.analytics:database",
            ]
        );
        for check in &checks {
            let Does::LogIn(login) = &check.does else {
                panic!("{check:?}");
            };
            if check.id.starts_with("wrong") {
                assert_ne!(login.password, Secret::new(login.user.as_str()));
            }
        }
    }
}
