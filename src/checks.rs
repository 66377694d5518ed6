//! What has to work if an environment is as it is declared, and what must not: the checks of `verify`, derived from the
//! declaration alone. Pure: whoever carries them out is told what to try and brings back what came of it.

mod mariadb;
mod postgres;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use crate::command::{Denial, Dialect, Place, Route, Seat, Server};
use crate::declaration::{Environment, Origin};
use crate::plan::{Found, Plan};
use crate::resource::{Id, Probe, Resource, Same, Thing};
use crate::resources::mariadb_grant::MariadbGrant;
use crate::resources::mariadb_setting::MariadbSetting;
use crate::resources::mariadb_user::MariadbUser;
use crate::resources::postgres_database::PostgresDatabase;
use crate::resources::postgres_grant::PostgresGrant;
use crate::resources::postgres_role::PostgresRole;
use crate::secret::Secret;
use crate::services::{self, Ports, Use, forward};

use mariadb::{Account, Answers, From, Reach};
use postgres::{Door, Doors};

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
    /// A table that is read once the login succeeded, in the database.
    pub table: Option<String>,
    /// The rights without which it cannot succeed, where those may have to wait for something.
    pub rights: Option<Id>,
    /// What should come of it.
    pub wanted: Wanted,
}

/// What should come of a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// It succeeds.
    In,
    /// The password is accepted; whether any database lets the user in is not declared.
    Known,
    /// It is refused, whatever the reason.
    Refused,
    /// The password is accepted and the database refused.
    NoEntry,
    /// It is refused, and for this reason.
    Closed(Closed),
    /// It may be refused, for this reason.
    Unsure(String),
}

impl Wanted {
    /// Whether the login is to succeed.
    pub fn succeeds(&self) -> bool {
        matches!(self, Wanted::In | Wanted::Known | Wanted::Unsure(_))
    }
}

/// Why a login is declared to be refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// For people, as part of a sentence: `it has no LOGIN`.
    pub why: String,
    /// The codes with which the server says so.
    pub codes: Vec<&'static str>,
}

impl Closed {
    fn new(why: impl Into<String>, code: &'static str) -> Self {
        Closed {
            why: why.into(),
            codes: vec![code],
        }
    }
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
    /// Whether what came of it may be otherwise in a moment: the server starts, or others use the connections that there are.
    pub fn is_passing(&self, came: &Result<(), Denial>) -> bool {
        const STARTING: [&str; 2] = ["57P03", "1053"];
        const CROWDED: [&str; 4] = ["53300", "1040", "1203", "1226"];
        let Err(denial) = came else { return false };
        let Some(code) = denial.code.as_deref() else {
            return false;
        };
        match &self.wanted {
            // The limit that is declared, and not those of the server.
            Wanted::Closed(closed) if closed.codes.contains(&code) => is_full(denial),
            _ => STARTING.contains(&code) || CROWDED.contains(&code),
        }
    }

    /// What a login's end means.
    pub fn judge(&self, came: Result<(), Denial>) -> Verdict {
        match came {
            Ok(()) => self.judge_success(),
            Err(denial) => self.judge_denial(denial),
        }
    }

    fn judge_success(&self) -> Verdict {
        let user = &self.user;
        let all_the_same = || match &self.database {
            Some(database) => format!("`{user}` can log in to `{database}` all the same"),
            None => format!("`{user}` can log in all the same"),
        };
        match &self.wanted {
            Wanted::In | Wanted::Known | Wanted::Unsure(_) => Verdict::Fine,
            Wanted::Refused => Verdict::Failed(format!("`{user}` can log in all the same")),
            Wanted::NoEntry => Verdict::Failed(all_the_same()),
            Wanted::Closed(closed) => {
                Verdict::Failed(format!("{}, though {}", all_the_same(), closed.why))
            }
        }
    }

    fn judge_denial(&self, denial: Denial) -> Verdict {
        const NO_DATABASE: [&str; 4] = ["42501", "3D000", "1044", "1049"];
        const NO_TABLE: &str = "1146";
        let code = denial.code.as_deref().unwrap_or_default();
        let no_entry = NO_DATABASE.contains(&code);
        match &self.wanted {
            Wanted::Known | Wanted::NoEntry if no_entry => Verdict::Fine,
            Wanted::Refused if denial.refused => Verdict::Fine,
            Wanted::NoEntry if denial.refused => Verdict::Skipped(format!(
                "the login is refused before the database is asked for: {}",
                denial.why
            )),
            Wanted::Closed(closed) if closed.codes.contains(&code) => match is_full(&denial) {
                false => Verdict::Fine,
                true => Verdict::Skipped(format!("the server is full: {}", denial.why)),
            },
            Wanted::Closed(closed) if denial.refused => Verdict::Failed(format!(
                "it should be refused because {}, but is {}",
                closed.why, denial.why
            )),
            Wanted::Unsure(why) if denial.refused => {
                Verdict::Skipped(format!("{why}: {}", denial.why))
            }
            Wanted::In if code == NO_TABLE && self.table.is_some() => {
                Verdict::Skipped(format!("the table does not exist yet: {}", denial.why))
            }
            _ => Verdict::Failed(denial.why),
        }
    }
}

impl LogIn {
    /// A verdict in the light of a plan: a login cannot succeed whose rights still wait for something.
    pub fn in_light_of(&self, plan: &Plan, verdict: Verdict) -> Verdict {
        let waits = || {
            let id = self.rights.as_ref()?;
            plan.waiting.iter().find(|(waiting, _)| waiting == id)
        };
        match verdict {
            Verdict::Failed(why) => match waits() {
                Some((id, awaited)) => Verdict::Skipped(format!(
                    "`{id}` waits: the {} `{}` does not exist yet",
                    awaited.noun, awaited.key
                )),
                None => Verdict::Failed(why),
            },
            other => other,
        }
    }
}

/// Whether PostgreSQL has no connection left for anybody; the limits of a role or a database have the same code.
fn is_full(denial: &Denial) -> bool {
    const FULL: [&str; 2] = ["too many clients", "slots are reserved"];
    FULL.iter().any(|words| denial.why.contains(words))
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
pub fn checks(
    environment: &Environment,
    resources: &[Resource],
    ports: &Ports,
    now: SystemTime,
) -> Vec<Check> {
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
            forwards: always_open(environment, &forwards),
            now,
        };
        checks.extend(deriving.all());
    }
    checks.extend(resources.iter().filter_map(health));
    let open = forwards
        .iter()
        .filter_map(|forward| open(environment, resources, forward));
    checks.extend(open);
    checks
}

/// One login for each user of a server, as its own machine or its first forward lets it try, without what only `verify` tries.
pub fn logins(
    environment: &Environment,
    resources: &[Resource],
    ports: &Ports,
    server: &Server,
    now: SystemTime,
) -> Vec<Check> {
    let forwards = forward::all(environment, ports);
    let of_server = servers(resources)
        .into_iter()
        .find(|(one, _)| ***one == *server);
    let Some((server, inside)) = of_server else {
        return Vec::new();
    };
    let deriving = Deriving {
        server,
        inside: &inside,
        uses: &[],
        forwards: always_open(environment, &forwards),
        now,
    };
    let users = deriving.users().into_iter();
    let tried = users.filter_map(|user| user.checks.into_iter().next());
    tried
        .filter(|check| matches!(check.does, Does::LogIn(_)))
        .collect()
}

/// The forwards that are open all the time.
fn always_open<'a>(
    environment: &Environment,
    forwards: &'a [forward::Forward],
) -> &'a [forward::Forward] {
    match environment.driver.is_engine() {
        true => forwards,
        false => &[],
    }
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
    rights: Vec<(&'a MariadbGrant, &'a Id)>,
    settings: Vec<&'a MariadbSetting>,
    /// The roles whose logins from its own machine fit its rules for sure; none where it has no rules of ours.
    fitting: Option<BTreeSet<&'a str>>,
    /// It does not listen where it could be tried.
    unreached: bool,
}

impl Inside<'_> {
    /// The value of a setting of MariaDB, if one is declared.
    fn setting(&self, name: &str) -> Option<&str> {
        let mut settings = self.settings.iter();
        let setting = settings.find(|setting| setting.name == name)?;
        Some(setting.value.as_str())
    }
}

fn servers(resources: &[Resource]) -> BTreeMap<&Arc<Server>, Inside<'_>> {
    let mut servers: BTreeMap<&Arc<Server>, Inside<'_>> = BTreeMap::new();
    let mut unreached = BTreeSet::new();
    for resource in resources {
        if let Some(Probe::Login { server, reached }) = &resource.probe
            && !reached
        {
            unreached.insert(server);
        }
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
            Thing::MariadbGrant(grant) => inside.rights.push((grant, &resource.id)),
            Thing::MariadbSetting(setting) => inside.settings.push(setting),
            _ => {}
        }
    }
    for (server, inside) in &mut servers {
        inside.unreached = unreached.contains(server);
        inside.fitting = fitting(server, resources);
    }
    servers
}

/// The one place that says what `pg_hba.conf` makes of logins: the roles that its rules let in from the server's
/// own machine without TLS, as logins are tried there.
fn fitting<'a>(server: &Server, resources: &'a [Resource]) -> Option<BTreeSet<&'a str>> {
    let Seat::Machine { name, port } = &server.seat else {
        return None;
    };
    resources.iter().find_map(|resource| match &resource.thing {
        Thing::PostgresHba(hba) if hba.port == *port && resource.place.machine() == Some(name) => {
            Some(hba.without_tls.iter().map(String::as_str).collect())
        }
        _ => None,
    })
}

struct Deriving<'a> {
    server: &'a Arc<Server>,
    inside: &'a Inside<'a>,
    uses: &'a [Use],
    /// The forwards that are open all the time.
    forwards: &'a [forward::Forward],
    now: SystemTime,
}

/// What is tried as one user.
struct Tried<'a> {
    checks: Vec<Check>,
    /// A user that is expected to log in, its password, and where it is declared.
    succeeds: Option<(&'a str, &'a Secret, Origin)>,
}

/// Who a check is about.
struct Subject<'a> {
    user: &'a str,
    /// As in `app@%`; of PostgreSQL the user.
    account: String,
    password: &'a Secret,
    origin: Origin,
    rights: Option<&'a Id>,
}

impl Deriving<'_> {
    fn all(&self) -> Vec<Check> {
        let users = self.users();
        let first = users.iter().find_map(|user| user.succeeds.clone());
        let password = match self.server.dialect {
            Dialect::Postgres => Secret::new(UNDECLARED),
            // Without a password: an account without a name lets everybody in.
            Dialect::MariaDb => Secret::new(""),
        };
        let mut checks: Vec<Check> = users.into_iter().flat_map(|user| user.checks).collect();
        if !self.inside.unreached {
            let first = first.as_ref();
            let first = first.map(|(user, password, origin)| (*user, *password, origin));
            self.undeclared(first, password, &mut checks);
        }
        checks
    }

    fn users(&self) -> Vec<Tried<'_>> {
        match self.server.dialect {
            Dialect::Postgres => self.postgres(),
            Dialect::MariaDb => self.mariadb(),
        }
    }

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

    fn first_route(&self, password: &Secret) -> Route {
        let first = self.routes(password).0.into_iter().next();
        first.unwrap_or(Route::Own)
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

    fn nothing(&self, account: &str, origin: &Origin, why: impl Into<String>) -> Check {
        Check {
            id: format!("login.{}:{account}", self.server.service),
            service: self.service(),
            says: format!("`{account}` can log in"),
            way: String::new(),
            origin: origin.clone(),
            does: Does::Nothing(why.into()),
        }
    }

    fn login(
        &self,
        who: &Subject<'_>,
        route: &Route,
        database: Option<&str>,
        wanted: Wanted,
    ) -> LogIn {
        LogIn {
            server: Arc::clone(self.server),
            route: route.clone(),
            user: who.user.to_owned(),
            database: database.map(str::to_owned),
            password: who.password.clone(),
            table: None,
            rights: who.rights.cloned(),
            wanted,
        }
    }

    /// What of a check's id tells its way from the others.
    fn at(&self, routes: &[Route], route: &Route) -> String {
        match routes.len() {
            1 => String::new(),
            _ => format!("@{}", shown(route, Some(self.server)).replace(' ', "-")),
        }
    }

    /// A user logs in to each of some databases over each of its ways; without a database only its password is tried.
    fn enters(
        &self,
        who: &Subject<'_>,
        databases: &[(&str, Option<String>)],
        wanted: &Wanted,
    ) -> Vec<Check> {
        let (name, account) = (&self.server.service, &who.account);
        let mut checks = Vec::new();
        let (routes, _) = self.routes(who.password);
        for route in &routes {
            let at = self.at(&routes, route);
            for (database, table) in databases {
                let mut login = self.login(who, route, Some(database), wanted.clone());
                login.table.clone_from(table);
                let id = format!("login.{name}:{account}/{database}{at}");
                let says = format!("`{account}` can log in to `{database}`");
                checks.push(self.check(id, says, &who.origin, login));
            }
            if databases.is_empty() {
                let known = match wanted {
                    Wanted::In => Wanted::Known,
                    other => other.clone(),
                };
                let login = self.login(who, route, None, known);
                let id = format!("login.{name}:{account}{at}");
                let says = format!("the password of `{account}` is accepted");
                checks.push(self.check(id, says, &who.origin, login));
            }
        }
        checks.push(self.wrong(who, databases.first().map(|(database, _)| *database)));
        checks
    }

    fn wrong(&self, who: &Subject<'_>, database: Option<&str>) -> Check {
        let (name, account) = (&self.server.service, &who.account);
        let route = self.first_route(who.password);
        let login = LogIn {
            password: Secret::new(format!("{}~", who.password.expose())),
            ..self.login(who, &route, database, Wanted::Refused)
        };
        let id = format!("wrong_password.{name}:{account}");
        let says = format!("`{account}` is refused with a wrong password");
        self.check(id, says, &who.origin, login)
    }

    /// A login that is declared to be refused.
    fn closed(&self, who: &Subject<'_>, database: Option<&str>, wanted: Wanted) -> Check {
        let (name, account) = (&self.server.service, &who.account);
        let route = self.first_route(who.password);
        let to = database
            .map(|database| format!("/{database}"))
            .unwrap_or_default();
        let says = match (&wanted, database) {
            (Wanted::Closed(closed), Some(database)) => {
                format!("`{account}` cannot log in to `{database}`: {}", closed.why)
            }
            (Wanted::Closed(closed), None) => format!("`{account}` cannot log in: {}", closed.why),
            (_, Some(database)) => format!("`{account}` cannot log in to `{database}`"),
            (_, None) => format!("`{account}` can log in"),
        };
        let word = match &wanted {
            Wanted::NoEntry => "kept_out",
            Wanted::Closed(_) => "closed",
            _ => "login",
        };
        let login = self.login(who, &route, database, wanted);
        self.check(
            format!("{word}.{name}:{account}{to}"),
            says,
            &who.origin,
            login,
        )
    }

    /// Who and what nobody declares: a user, and, for one that logs in, a database.
    fn undeclared(
        &self,
        first: Option<(&str, &Secret, &Origin)>,
        password: Secret,
        checks: &mut Vec<Check>,
    ) {
        let name = &self.server.service;
        let login = |user: &str, database: Option<&str>, password: &Secret, wanted| LogIn {
            server: Arc::clone(self.server),
            route: first.map_or(Route::Own, |(_, password, _)| self.first_route(password)),
            user: user.to_owned(),
            database: database.map(str::to_owned),
            password: password.clone(),
            table: None,
            rights: None,
            wanted,
        };
        let origin = first.map(|(.., origin)| origin.clone()).unwrap_or_default();
        checks.push(self.check(
            format!("undeclared.{name}:user"),
            "a user that is not declared is refused".to_owned(),
            &origin,
            login(UNDECLARED, None, &password, Wanted::Refused),
        ));
        let Some((user, password, origin)) = first else {
            return;
        };
        checks.push(self.check(
            format!("undeclared.{name}:database"),
            "a database that is not declared is refused".to_owned(),
            origin,
            login(user, Some(UNDECLARED), password, Wanted::NoEntry),
        ));
    }

    fn postgres(&self) -> Vec<Tried<'_>> {
        let doors = Doors {
            inside: self.inside,
            now: self.now,
        };
        let roles = self.inside.roles.iter();
        roles
            .filter_map(|(role, resource)| {
                let subject = self.subject(&role.name, None, role.password.as_ref(), resource);
                match subject {
                    Ok(who) => Some(self.of_role(&doors, role, &who)),
                    // A group has no password, and nobody expects one.
                    Err(untried) => role.login.then_some(untried),
                }
            })
            .collect()
    }

    /// Who is tried, or why not.
    fn subject<'b>(
        &self,
        user: &'b str,
        host: Option<&str>,
        password: Option<&'b Secret>,
        resource: &Resource,
    ) -> Result<Subject<'b>, Tried<'b>> {
        let account = match host {
            Some(host) => format!("{user}@{host}"),
            None => user.to_owned(),
        };
        let origin = resource.declared();
        let why = match password {
            None => "its password is not declared",
            Some(_) if self.inside.unreached => {
                "the server does not listen on its machine's loopback address, from where it would be tried"
            }
            Some(password) => {
                return Ok(Subject {
                    user,
                    account,
                    password,
                    origin,
                    rights: None,
                });
            }
        };
        Err(Tried {
            checks: vec![self.nothing(&account, &origin, why)],
            succeeds: None,
        })
    }

    fn of_role<'b>(&self, doors: &Doors<'_>, role: &PostgresRole, who: &Subject<'b>) -> Tried<'b> {
        if let Some(shut) = doors.shut(role) {
            return Tried {
                checks: vec![self.closed(who, None, shut)],
                succeeds: None,
            };
        }
        let (mut open, mut closed) = (Vec::new(), Vec::new());
        for database in &self.inside.databases {
            match doors.door(role, database) {
                Door::Open => open.push((database.name.as_str(), None)),
                Door::Closed(wanted) => closed.push((database.name.as_str(), wanted)),
                Door::Undeclared => {}
            }
        }
        let fitting = self.inside.fitting.as_ref();
        if fitting.is_some_and(|fitting| !fitting.contains(who.user)) {
            let why = "a rule of `hba` may refuse it".to_owned();
            return Tried {
                checks: self.enters(who, &open, &Wanted::Unsure(why)),
                succeeds: None,
            };
        }
        let mut checks = self.enters(who, &open, &Wanted::In);
        let closed = closed.into_iter();
        checks.extend(closed.map(|(database, wanted)| self.closed(who, Some(database), wanted)));
        Tried {
            checks,
            succeeds: Some((who.user, who.password, who.origin.clone())),
        }
    }

    fn mariadb(&self) -> Vec<Tried<'_>> {
        let all = self.inside.users.iter();
        let all: Vec<Account<'_>> = all
            .map(|(user, _)| (user.user.as_str(), user.host.as_str()))
            .collect();
        let users = self.inside.users.iter();
        users
            .map(|(user, resource)| {
                let password = user.password.as_ref();
                match self.subject(&user.user, Some(&user.host), password, resource) {
                    Ok(who) => self.of_user(&all, user, who),
                    Err(untried) => untried,
                }
            })
            .collect()
    }

    fn of_user<'b>(
        &'b self,
        all: &[Account<'_>],
        user: &MariadbUser,
        mut who: Subject<'b>,
    ) -> Tried<'b> {
        let only = |check| Tried {
            checks: vec![check],
            succeeds: None,
        };
        let wanted = match self.answered(all, user, who.password) {
            Ok(wanted) => wanted,
            Err(why) => return only(self.nothing(&who.account, &who.origin, why)),
        };
        if let Some(closed) = shut(user) {
            return only(self.closed(&who, None, Wanted::Closed(closed)));
        }
        if let Some(why) = user.closed_without_tls() {
            return only(self.nothing(&who.account, &who.origin, why));
        }
        let rights = self.rights_of(&user.user, &user.host);
        let held = self.held(&user.user, &user.host);
        who.rights = rights.map(|(_, id)| id);
        let folds = matches!(
            self.inside.setting("lower_case_table_names"),
            Some("1" | "2")
        );
        let (mut open, mut closed) = (Vec::new(), Vec::new());
        for schema in &self.inside.schemas {
            match mariadb::reach(&held, schema, folds) {
                Reach::Nothing => closed.push(*schema),
                Reach::Database => open.push((*schema, None)),
                Reach::Tables(table) => open.push((*schema, table)),
            }
        }
        let mut checks = self.enters(&who, &open, &wanted);
        if wanted == Wanted::In && rights.is_some_and(|(rights, _)| rights.exact) {
            let closed = closed.into_iter();
            checks.extend(closed.map(|schema| self.closed(&who, Some(schema), Wanted::NoEntry)));
        }
        let succeeds = wanted == Wanted::In;
        Tried {
            checks,
            succeeds: succeeds.then_some((who.user, who.password, who.origin)),
        }
    }

    fn rights_of(&self, user: &str, host: &str) -> Option<(&'_ MariadbGrant, &'_ Id)> {
        let mut rights = self.inside.rights.iter().copied();
        rights.find(|(rights, _)| rights.user == user && rights.host == host)
    }

    /// The rights that an account has from its login on: its own, those of its default role with the roles in it, and everybody's.
    fn held(&self, user: &str, host: &str) -> Vec<&MariadbGrant> {
        let rights_of =
            |user: &str, host: &str| self.rights_of(user, host).map(|(rights, _)| rights);
        let own = rights_of(user, host);
        let default = own.and_then(|own| own.default_role.as_deref());
        let mut held: Vec<&MariadbGrant> = own.into_iter().collect();
        held.extend(rights_of("PUBLIC", ""));
        let mut roles: Vec<&str> = default.into_iter().collect();
        let mut seen = BTreeSet::new();
        while let Some(role) = roles.pop() {
            if let Some(rights) = rights_of(role, "").filter(|_| seen.insert(role)) {
                held.push(rights);
                roles.extend(rights.roles.keys().map(String::as_str));
            }
        }
        held
    }

    /// What comes of the login of an account that answers it, or why it is not tried.
    fn answered(
        &self,
        all: &[Account<'_>],
        user: &MariadbUser,
        password: &Secret,
    ) -> Result<Wanted, String> {
        let (_, used) = self.routes(password);
        let from = self.from(&self.first_route(password));
        let elsewhere = || {
            format!(
                "it is for connections from `{}` only, and no such connection is tried",
                user.host
            )
        };
        match mariadb::answers((&user.user, &user.host), all, from) {
            Answers::Itself => Ok(Wanted::In),
            // Whoever uses it comes from where it is declared for.
            Answers::Unknown if used => Ok(Wanted::In),
            Answers::Unknown | Answers::NotThere => Err(elsewhere()),
            Answers::Before(other) => Err(format!(
                "there the server takes `{other}` before it, as the more specific account"
            )),
            Answers::PerhapsBefore(other) => {
                Ok(Wanted::Unsure(format!("`{other}` may come before it")))
            }
        }
    }

    /// Where a connection over a route comes from, as the server sees it.
    fn from(&self, route: &Route) -> From {
        let is_loopback = |address: &str| {
            address.starts_with("127.") || address == "::1" || address == "localhost"
        };
        let loopback = match (route, &self.server.seat) {
            (Route::Port(..), _) | (Route::Own, Seat::Container) => false,
            (Route::From(_, address, _), _) => is_loopback(address),
            (Route::Own, Seat::Machine { .. }) => true,
            (Route::Own, Seat::Network { host, .. }) => is_loopback(host),
        };
        let skips = self.inside.setting("skip_name_resolve");
        let skips = skips.is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("on"));
        match loopback {
            true => From::Loopback { resolves: !skips },
            false => From::Elsewhere,
        }
    }
}

/// Why the server refuses an account whatever the password: the one place for it.
fn shut(user: &MariadbUser) -> Option<Closed> {
    user.locked.then(|| Closed::new("it is locked", "4151"))
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
            table: None,
            rights: None,
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
        let judge = |wanted: Wanted, came| login(wanted).judge(came);
        assert_eq!(judge(Wanted::In, Ok(())), Verdict::Fine);
        assert!(matches!(judge(Wanted::Refused, Ok(())), Verdict::Failed(_)));
        assert!(matches!(judge(Wanted::NoEntry, Ok(())), Verdict::Failed(_)));
        for wanted in [Wanted::In, Wanted::Known, Wanted::Refused, Wanted::NoEntry] {
            let lost = judge(wanted.clone(), denied("nobody answers", None));
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

    #[test]
    fn a_login_that_is_declared_closed_is_refused_for_that_reason() {
        let closed = || Wanted::Closed(Closed::new("its connection limit is 0", "53300"));
        let judge = |came| login(closed()).judge(came);
        let limit = || denied("too many connections for role \"u\" (53300)", Some("53300"));
        assert_eq!(judge(limit()), Verdict::Fine);
        assert!(!login(closed()).is_passing(&limit()));
        let full = || denied("sorry, too many clients already (53300)", Some("53300"));
        assert!(login(closed()).is_passing(&full()));
        assert!(matches!(judge(full()), Verdict::Skipped(_)));
        assert!(matches!(judge(Ok(())), Verdict::Failed(_)));
        let wrong = denied("password authentication failed", Some("28P01"));
        assert!(matches!(judge(wrong), Verdict::Failed(_)));
        assert!(matches!(
            judge(denied("nobody answers", None)),
            Verdict::Failed(_)
        ));
        let unsure =
            |came| login(Wanted::Unsure("another may come before it".to_owned())).judge(came);
        assert_eq!(unsure(Ok(())), Verdict::Fine);
        assert!(matches!(
            unsure(denied("denied", Some("1045"))),
            Verdict::Skipped(_)
        ));
        assert!(matches!(
            unsure(denied("nobody answers", None)),
            Verdict::Failed(_)
        ));
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
            connection_limit: -1,
            ..PostgresDatabase::default()
        };
        let resources = [
            resource(role("owner", &[])),
            resource(role("reader", &["readers"])),
            resource(role("guest", &[])),
            resource(PostgresRole {
                password: None,
                login: false,
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
            now: SystemTime::now(),
        };
        let checks = deriving.all();
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
