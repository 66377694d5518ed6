//! The variables of an application, among which those of its databases are found: host, port, name, user and password become
//! references to the services, so that they cannot disagree with them.

use std::collections::BTreeMap;

use crate::import::account::{Account, Key};
use crate::import::draft::{Draft, Toml, literal};
use crate::secret::Secret;

/// A value of the source.
#[derive(Clone, Debug, Default)]
pub(super) struct Value {
    pub text: String,
    /// The one variable of who ran it that it was as a whole.
    pub var: Option<String>,
    /// Variables that nobody set.
    pub unset: Vec<String>,
    pub keys: Vec<Key>,
}

impl Value {
    /// Nobody knows it: it is a variable that was to be set by who runs it.
    pub fn is_asked(&self) -> bool {
        self.text.is_empty() && !self.unset.is_empty()
    }

    fn same(&self, other: &Value) -> bool {
        match self.is_asked() || other.is_asked() {
            true => self.is_asked() && other.is_asked() && self.var == other.var,
            false => self.text == other.text,
        }
    }

    /// As a secret of a draft, under the name of the variable that it came from or another.
    pub fn secret(&self, draft: &mut Draft, name: &str) -> Toml {
        let name = self.var.as_deref().unwrap_or(name);
        let value = (!self.is_asked()).then(|| Secret::new(self.text.clone()));
        draft.secret(name, value)
    }
}

/// A variable of an application.
#[derive(Clone, Debug)]
pub(super) struct Variable {
    pub name: String,
    pub value: Value,
}

/// Who logs in to a server.
#[derive(Clone, Debug)]
pub(super) struct Login {
    /// As the application says it.
    pub user: String,
    /// As it is declared: a role, or `user@host`.
    pub declared: String,
    pub password: Option<Value>,
}

/// A declared server.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub table: &'static str,
    pub name: String,
    pub port: u16,
    /// The names under which applications reach it.
    pub hosts: Vec<String>,
    pub logins: Vec<Login>,
}

impl Server {
    fn path(&self, rest: &str) -> String {
        format!("{}{}{rest}", self.table, part(&self.name))
    }

    fn password(&self, login: &Login) -> String {
        let kind = if self.table == "postgres" {
            ".role"
        } else {
            ".user"
        };
        format!("{}{}.password", self.path(kind), part(&login.declared))
    }

    fn login(&self, user: &str) -> Option<&Login> {
        self.logins.iter().find(|login| login.user == user)
    }
}

/// A step of a path in a template.
fn part(name: &str) -> String {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    match name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit()) {
        true => format!(".{name}"),
        false => format!("[\"{}\"]", name.replace('\\', "\\\\").replace('"', "\\\"")),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Host,
    Port,
    Name,
    User,
    Password,
}

const ENDS: &[(&str, Part)] = &[
    ("HOSTNAME", Part::Host),
    ("HOST", Part::Host),
    ("SERVER", Part::Host),
    ("PORT", Part::Port),
    ("DBNAME", Part::Name),
    ("DB_NAME", Part::Name),
    ("DATABASE", Part::Name),
    ("NAME", Part::Name),
    ("DB", Part::Name),
    ("USERNAME", Part::User),
    ("USER", Part::User),
    ("PASSWORD", Part::Password),
    ("PASSWD", Part::Password),
    ("PASS", Part::Password),
];

/// What a variable's name says that it is a part of.
fn ending(name: &str) -> Option<(String, Part)> {
    let name = name.to_ascii_uppercase();
    ENDS.iter().find_map(|(end, part)| {
        let before = name.strip_suffix(end)?;
        // `DB_NAME` alone is the name of `DB_`.
        let before = match *end {
            "DB_NAME" => format!("{before}DB_"),
            _ => before.to_owned(),
        };
        Some((before, *part))
    })
}

/// Whether the beginning of names is about a database; and of which server, where it says so.
pub(super) fn is_database(prefix: &str) -> Option<Option<&'static str>> {
    let words = |all: &[&str]| all.iter().any(|word| prefix.contains(word));
    if words(&["POSTGRES", "PSQL", "PG_"]) || prefix == "PG" {
        return Some(Some("postgres"));
    }
    if words(&["MYSQL", "MARIA"]) {
        return Some(Some("mariadb"));
    }
    words(&["DB", "DATABASE", "SQL", "RDS_"]).then_some(None)
}

/// Variables that belong together, by the beginning of their names; each part by its place among the variables.
pub(super) fn groups(variables: &[Variable]) -> BTreeMap<String, BTreeMap<Part, usize>> {
    let mut groups: BTreeMap<String, BTreeMap<Part, usize>> = BTreeMap::new();
    for (at, variable) in variables.iter().enumerate() {
        if let Some((prefix, part)) = ending(&variable.name) {
            groups.entry(prefix).or_default().entry(part).or_insert(at);
        }
    }
    groups
}

/// Whether a variable holds a secret: by its name, or since it is an address with a password.
pub(super) fn is_secret(name: &str, text: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let says = [
        "PASSWORD",
        "PASSWD",
        "SECRET",
        "TOKEN",
        "API_KEY",
        "APIKEY",
        "PRIVATE_KEY",
        "ACCESS_KEY",
        "CREDENTIAL",
        "DATABASE_URL",
        "DSN",
        "_PASS",
        "SALT",
        "ENCRYPTION_KEY",
        "SIGNING_KEY",
    ];
    let says = says.iter().any(|word| name.contains(word)) || name == "PASS";
    // A switch about secrets is none.
    let switch = matches!(
        text.to_ascii_lowercase().as_str(),
        "" | "true" | "false" | "0" | "1" | "yes" | "no" | "on" | "off"
    );
    (says && !switch) || Url::read(text).is_some_and(|url| url.password.is_some())
}

/// An address with its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub scheme: String,
    pub user: Option<String>,
    pub password: Option<String>,
    pub host: String,
    pub port: Option<String>,
    /// What follows, with its `/`.
    pub rest: String,
}

impl Url {
    pub fn read(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        if scheme.is_empty()
            || !scheme
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+.-".contains(c))
        {
            return None;
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let (login, address) = match authority.rsplit_once('@') {
            Some((login, address)) => (Some(login), address),
            None => (None, authority),
        };
        let (user, password) = match login.map(|login| {
            login
                .split_once(':')
                .map_or((login, None), |(user, word)| (user, Some(word)))
        }) {
            Some((user, password)) => (Some(decoded(user)), password.map(decoded)),
            None => (None, None),
        };
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.chars().all(|c| c.is_ascii_digit()) => {
                (host, Some(port.to_owned()))
            }
            _ => (address, None),
        };
        Some(Url {
            scheme: scheme.to_owned(),
            user: user.filter(|user| !user.is_empty()),
            password: password.filter(|password| !password.is_empty()),
            host: host.to_owned(),
            port,
            rest: rest.to_owned(),
        })
    }

    /// The table of the server that its scheme is about.
    pub fn table(&self) -> Option<&'static str> {
        let scheme = self.scheme.split('+').next().unwrap_or_default();
        match scheme {
            "postgres" | "postgresql" | "psql" | "pgsql" | "postgis" | "timescale" => {
                Some("postgres")
            }
            "mysql" | "mariadb" | "mysqlgis" | "mysql2" => Some("mariadb"),
            _ => None,
        }
    }

    /// The database that it names.
    pub fn database(&self) -> Option<&str> {
        let path = self.rest.strip_prefix('/')?;
        let name = path.split(['?', '#', '/']).next()?;
        (!name.is_empty()).then_some(name)
    }
}

fn decoded(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let mut rest = bytes.clone();
        let pair = (rest.next(), rest.next());
        let hex = |digit: Option<u8>| digit.and_then(|digit| char::from(digit).to_digit(16));
        match (byte, hex(pair.0), hex(pair.1)) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                bytes = rest;
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Variables that an image of ours sets itself.
const OURS: &[&str] = &[
    "PYTHONUNBUFFERED",
    "PYTHONDONTWRITEBYTECODE",
    "PIP_NO_CACHE_DIR",
    "PYTHONPATH",
    "PIP_DISABLE_PIP_VERSION_CHECK",
];

/// Writes the variables of an application: references where they are about a declared server, secrets moved away, the rest as it is.
pub(super) fn wire(
    draft: &mut Draft,
    account: &mut Account,
    application: &str,
    variables: &[Variable],
    servers: &[Server],
) {
    let mut wired: BTreeMap<usize, Toml> = BTreeMap::new();
    let mut foreign: BTreeMap<usize, String> = BTreeMap::new();
    for (prefix, parts) in groups(variables) {
        let about = is_database(&prefix);
        let host = parts.get(&Part::Host).and_then(|at| variables.get(*at));
        let of_kind = |server: &&Server| match about {
            Some(Some(table)) => server.table == table,
            _ => true,
        };
        let server = match host {
            // Two servers of one machine have one name there: kind, port and user tell them apart.
            Some(host) => {
                let here = servers
                    .iter()
                    .filter(|server| server.hosts.contains(&host.value.text));
                let told = |server: &&Server| {
                    let said = |part: Part| {
                        let at = parts.get(&part)?;
                        variables.get(*at).map(|one| one.value.text.clone())
                    };
                    let kind = matches!(about, Some(Some(table)) if table == server.table);
                    let port = said(Part::Port) == Some(server.port.to_string());
                    let user = said(Part::User).is_some_and(|user| server.login(&user).is_some());
                    (kind, port, user)
                };
                // The first of those that are told equally.
                here.rev().max_by_key(told)
            }
            None => {
                let mut fit = servers.iter().filter(of_kind);
                match (about, fit.next(), fit.next()) {
                    (Some(_), Some(one), None) => Some(one),
                    _ => None,
                }
            }
        };
        let Some(server) = server else { continue };
        let text = |part: Part| {
            parts
                .get(&part)
                .and_then(|at| variables.get(*at))
                .map(|one| &one.value)
        };
        let login = text(Part::User).and_then(|user| server.login(&user.text));
        // Whom nobody declares cannot log in.
        if let (None, Some(user)) = (login, text(Part::User))
            && !user.text.is_empty()
        {
            let reason = match (server.table, user.text.as_str()) {
                ("mariadb", "root") => {
                    "`root` comes in over the socket only: an application needs a user of its own"
                        .to_owned()
                }
                _ => format!("`{}.{}` has no such user", server.table, server.name),
            };
            for part in [Part::User, Part::Password] {
                if let Some(at) = parts.get(&part) {
                    foreign.insert(*at, reason.clone());
                }
            }
        }
        for (part, at) in &parts {
            let Some(variable) = variables.get(*at) else {
                continue;
            };
            let value = match part {
                Part::Host => Toml::Text(format!("{{{{ {} }}}}", server.path(".host"))),
                Part::Port
                    if variable.value.text == server.port.to_string()
                        || variable.value.is_asked() =>
                {
                    Toml::Text(format!("{{{{ {} }}}}", server.path(".port")))
                }
                Part::Password => match login {
                    Some(login)
                        if login
                            .password
                            .as_ref()
                            .is_some_and(|own| own.same(&variable.value)) =>
                    {
                        Toml::Text(format!("{{{{ {} }}}}", server.password(login)))
                    }
                    Some(login) => {
                        foreign.insert(
                            *at,
                            format!(
                                "it is not the password of `{}` in `{}.{}`",
                                login.declared, server.table, server.name
                            ),
                        );
                        continue;
                    }
                    None => continue,
                },
                _ => continue,
            };
            wired.insert(*at, value);
        }
    }
    for (at, variable) in variables.iter().enumerate() {
        let url = Url::read(&variable.value.text).filter(|url| url.table().is_some());
        let Some(url) = url else { continue };
        let server = servers
            .iter()
            .find(|server| Some(server.table) == url.table() && server.hosts.contains(&url.host));
        let Some(server) = server else { continue };
        let mut out = format!("{}://", literal(&url.scheme));
        if let Some(user) = &url.user {
            out.push_str(&literal(user));
            match (&url.password, server.login(user)) {
                (None, _) => {}
                (Some(password), Some(login))
                    if login
                        .password
                        .as_ref()
                        .is_some_and(|own| own.text == *password) =>
                {
                    out.push_str(&format!(
                        ":{{{{ {} | urlencode }}}}",
                        server.password(login)
                    ));
                }
                _ => continue,
            }
            out.push('@');
        }
        out.push_str(&format!(
            "{{{{ {} }}}}:{{{{ {} }}}}",
            server.path(".host"),
            server.path(".port")
        ));
        out.push_str(&literal(&url.rest));
        wired.insert(at, Toml::Text(out));
    }
    for (at, variable) in variables.iter().enumerate() {
        let Variable { name, value } = variable;
        if OURS.contains(&name.as_str()) && !wired.contains_key(&at) {
            value
                .keys
                .iter()
                .for_each(|key| account.noted(*key, "the application's image sets it"));
            continue;
        }
        let toml = match wired.remove(&at) {
            Some(toml) => toml,
            None if value.is_asked() || is_secret(name, &value.text) => value.secret(draft, name),
            None => Toml::Text(literal(&value.text)),
        };
        let table = draft.table(&["django", application, "env"]);
        table.set(name, toml, value.keys.iter().copied());
        for key in &value.keys {
            match foreign.get(&at) {
                Some(reason) => account.insist(*key, reason.clone()),
                None => account.used(*key),
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::import::draft::Secrets;

    fn variable(name: &str, text: &str) -> Variable {
        Variable {
            name: name.to_owned(),
            value: Value {
                text: text.to_owned(),
                ..Value::default()
            },
        }
    }

    #[test]
    fn an_application_names_its_databases_and_no_password() {
        let login = |user: &str, declared: &str, password: &str| Login {
            user: user.to_owned(),
            declared: declared.to_owned(),
            password: Some(Value {
                text: password.to_owned(),
                ..Value::default()
            }),
        };
        let servers = [
            Server {
                table: "postgres",
                name: "my-db".to_owned(),
                port: 5432,
                hosts: vec!["db".to_owned()],
                logins: vec![login("u", "u", "p@w")],
            },
            Server {
                table: "mariadb",
                name: "ivr".to_owned(),
                port: 3306,
                hosts: vec!["ivr".to_owned()],
                logins: vec![login("m", "m@%", "q")],
            },
        ];
        let variables = [
            variable("DB_HOST", "db"),
            variable("DB_PORT", "5432"),
            variable("DB_USER", "u"),
            variable("DB_PASSWORD", "p@w"),
            variable("DB_NAME", "n"),
            variable("DATABASE_URL", "postgres://u:p%40w@db:5432/n?x={{"),
            variable("MYSQL_USER", "m"),
            variable("MYSQL_PASSWORD", "other"),
            variable("SECRET_KEY", "s3"),
            variable("CELERY_BROKER_URL", "redis://:r@redis:6379/0"),
            variable("EMAIL_HOST", "smtp"),
            variable("DEBUG", "1"),
        ];
        let (mut draft, mut account) = (Draft::default(), Account::default());
        wire(&mut draft, &mut account, "web", &variables, &servers);
        let file = draft.render(Secrets::Env, &account).text;
        let table: toml::Table = file.parse().unwrap();
        let env = &table["django"]["web"]["env"];
        assert_eq!(
            env["DB_HOST"].as_str(),
            Some("{{ postgres[\"my-db\"].host }}")
        );
        assert_eq!(
            env["DB_PASSWORD"].as_str(),
            Some("{{ postgres[\"my-db\"].role.u.password }}")
        );
        assert_eq!(
            env["DATABASE_URL"].as_str(),
            Some(
                "postgres://u:{{ postgres[\"my-db\"].role.u.password | urlencode }}@{{ postgres[\"my-db\"].host }}:{{ postgres[\"my-db\"].port }}/n?x={{ '{' }}{{ '{' }}"
            )
        );
        assert_eq!(
            env["MYSQL_PASSWORD"]["env"].as_str(),
            Some("MYSQL_PASSWORD")
        );
        assert_eq!(
            env["CELERY_BROKER_URL"]["env"].as_str(),
            Some("CELERY_BROKER_URL")
        );
        assert_eq!(env["EMAIL_HOST"].as_str(), Some("smtp"));
        assert_eq!(env["DEBUG"].as_str(), Some("1"));
        for secret in ["p@w", "s3", "other", ":r@"] {
            assert!(!file.contains(secret), "{file}");
        }
    }

    #[test]
    fn an_address_is_read() {
        let url = Url::read("postgres://u%40x:p:w@h:5433/d?s=1").unwrap();
        assert_eq!(
            (url.user.as_deref(), url.password.as_deref()),
            (Some("u@x"), Some("p:w"))
        );
        assert_eq!(
            (url.host.as_str(), url.port.as_deref(), url.database()),
            ("h", Some("5433"), Some("d"))
        );
        assert!(Url::read("no url").is_none());
    }
}
