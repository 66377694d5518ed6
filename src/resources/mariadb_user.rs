//! `mariadb_user`: a user of a MariaDB server and how it comes in. Its rights are `mariadb_grant`.

use std::borrow::Cow;

use serde_json::Value;

use super::mariadb::{account, account_key, int, is_ours, need, split_account, text};
use crate::command::{Ask, Dialect, Question, Row, Text};
use crate::quote::literal;
use crate::resource::{Field, Impact, Kind, Removal, Same, Step, few_bits};
use crate::secret::{Secret, locked_native_hash};

const NATIVE: &str = "mysql_native_password";
const SOCKET: &str = "unix_socket";
const ED25519: &str = "ed25519";

/// How a user proves who it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// By a password (`mysql_native_password`), if one is declared; otherwise not managed.
    #[default]
    Password,
    /// By a password, with the plugin `ed25519`.
    Ed25519,
    /// By the name of the process's user, over the server's socket.
    Socket,
}

impl Auth {
    fn plugin(self) -> &'static str {
        match self {
            Auth::Password => NATIVE,
            Auth::Ed25519 => ED25519,
            Auth::Socket => SOCKET,
        }
    }
}

/// What a connection has to bring: `REQUIRE`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Require {
    /// Nothing.
    #[default]
    None,
    /// TLS.
    Ssl,
    /// A client certificate.
    X509,
    /// A client certificate or a cipher with these properties; empty ones are not checked.
    Specified {
        /// The certificate's subject.
        subject: String,
        /// Its issuer.
        issuer: String,
        /// The connection's cipher.
        cipher: String,
    },
}

impl Require {
    /// Each property that is checked, with its word in SQL.
    fn properties(&self) -> Vec<(&'static str, &str)> {
        let Require::Specified {
            subject,
            issuer,
            cipher,
        } = self
        else {
            return Vec::new();
        };
        let all = [("SUBJECT", subject), ("ISSUER", issuer), ("CIPHER", cipher)];
        let all = all.map(|(word, value)| (word, value.as_str()));
        all.into_iter()
            .filter(|(_, value)| !value.is_empty())
            .collect()
    }

    fn shown(&self) -> String {
        match self {
            Require::None => "none".to_owned(),
            Require::Ssl => "ssl".to_owned(),
            Require::X509 => "x509".to_owned(),
            Require::Specified { .. } => {
                let words = self.properties().into_iter();
                let words = words.map(|(word, value)| format!("{} {value}", word.to_lowercase()));
                words.collect::<Vec<_>>().join(", ")
            }
        }
    }

    /// The clause. Its texts are read with NO_BACKSLASH_ESCAPES, where only the quote itself is doubled.
    fn sql(&self) -> String {
        match self {
            Require::None => " REQUIRE NONE".to_owned(),
            Require::Ssl => " REQUIRE SSL".to_owned(),
            Require::X509 => " REQUIRE X509".to_owned(),
            Require::Specified { .. } => {
                let words = self.properties().into_iter();
                let words =
                    words.map(|(word, value)| format!("{word} '{}'", value.replace('\'', "''")));
                format!(" REQUIRE {}", words.collect::<Vec<_>>().join(" AND "))
            }
        }
    }

    fn read(row: &Row) -> Self {
        let owned = |member| text(row, member).unwrap_or_default().to_owned();
        match int(row, "ssl_type") {
            Some(1) => Require::Ssl,
            Some(2) => Require::X509,
            Some(3) => Require::Specified {
                subject: owned("subject"),
                issuer: owned("issuer"),
                cipher: owned("cipher"),
            },
            _ => Require::None,
        }
    }
}

/// When a password expires by its age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expiry {
    /// As the server's `default_password_lifetime` says.
    #[default]
    Default,
    /// Never.
    Never,
    /// After so many days.
    Days(i64),
}

impl Expiry {
    fn shown(self) -> String {
        match self {
            Expiry::Default => "default".to_owned(),
            Expiry::Never => "never".to_owned(),
            Expiry::Days(days) => format!("{days} days"),
        }
    }

    fn sql(self) -> String {
        match self {
            Expiry::Default => " PASSWORD EXPIRE DEFAULT".to_owned(),
            Expiry::Never => " PASSWORD EXPIRE NEVER".to_owned(),
            Expiry::Days(days) => format!(" PASSWORD EXPIRE INTERVAL {days} DAY"),
        }
    }

    fn read(row: &Row) -> Self {
        match int(row, "lifetime") {
            Some(0) => Expiry::Never,
            Some(days) if days > 0 => Expiry::Days(days),
            _ => Expiry::Default,
        }
    }
}

/// Limits of an account besides its connections at once; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// MAX_QUERIES_PER_HOUR.
    pub queries: i64,
    /// MAX_UPDATES_PER_HOUR.
    pub updates: i64,
    /// MAX_CONNECTIONS_PER_HOUR.
    pub connections: i64,
    /// MAX_STATEMENT_TIME, in microseconds.
    pub statement_time: i64,
}

/// Seconds as the server and a file write them (`1`, `0.5`), in microseconds.
pub fn microseconds(text: &str) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 6 {
        return None;
    }
    let part: i64 = format!("{part:0<6}").parse().ok()?;
    whole
        .parse::<i64>()
        .ok()?
        .checked_mul(1_000_000)?
        .checked_add(part)
}

/// Microseconds as seconds, in few digits.
fn seconds(microseconds: i64) -> String {
    let (whole, part) = (microseconds / 1_000_000, microseconds % 1_000_000);
    let text = format!("{whole}.{part:06}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A user of a MariaDB server.
#[derive(Clone, Debug, Default)]
pub struct MariadbUser {
    /// Its name.
    pub user: String,
    /// The host it comes from, as in `%`; key is `user@host`.
    pub host: String,
    /// The user and host it had.
    pub was: Option<(String, String)>,
    /// Its password in clear as wanted; `None`: not managed.
    pub password: Option<Secret>,
    /// Whether who comes in is the administrator of a managed server, who may not turn its logs off.
    pub managed: bool,
    /// Of a found one: the hash the server keeps.
    pub stored: Option<Secret>,
    /// How it proves who it is.
    pub auth: Auth,
    /// What its connections have to bring.
    pub require: Require,
    /// When its password expires by its age.
    pub expiry: Expiry,
    /// Its other limits.
    pub limits: Limits,
    /// MAX_USER_CONNECTIONS; 0 is no limit.
    pub max_connections: i64,
    /// ACCOUNT LOCK.
    pub locked: bool,
    /// Of a found one: the plugins besides the hash that let somebody in.
    pub other_ways: Vec<String>,
    /// Of a found one: its password was made to expire, or is too old.
    pub expired: bool,
    /// Of a found one: every plugin that lets it in.
    pub plugins: Vec<String>,
    /// Of a found one: routines and events that run with its rights.
    pub defines: Vec<String>,
}

impl MariadbUser {
    fn is_ours(&self) -> bool {
        is_ours(&self.user, &self.host)
    }

    /// Why a login without TLS, by the password alone, is refused or cannot be tried; `None` where it has to succeed.
    pub fn closed_without_tls(&self) -> Option<&'static str> {
        if self.locked {
            return Some("it is locked");
        }
        match (self.auth, &self.require) {
            (Auth::Socket, _) => Some("it logs in over the server's socket, without a password"),
            (Auth::Ed25519, _) => Some("it logs in with the plugin `ed25519`, which nobody tries"),
            (_, Require::None) => None,
            (_, Require::Ssl) => Some("it has to use TLS"),
            (_, Require::X509) => Some("it has to show a client certificate"),
            (_, Require::Specified { .. }) => {
                Some("it has to show a client certificate or use a cipher")
            }
        }
    }

    /// How the password compares, and the words for what was found.
    fn password_field(&self, wanted: &Secret, found: Option<&Self>) -> Field {
        let Some(found) = found else {
            return Field::hidden("password", false, Same::No, Impact::None);
        };
        let words = match self.auth {
            Auth::Ed25519 => found.beside_ed25519(),
            _ => self.beside_native(found),
        };
        let same = match (&found.stored, self.auth) {
            (_, Auth::Ed25519) if words.is_none() => Same::Unknown,
            (Some(hash), Auth::Password)
                if words.is_none() && upper(hash) == wanted.native_hash() =>
            {
                Same::Yes
            }
            _ => Same::No,
        };
        let mut field = Field::hidden("password", true, same, Impact::None);
        if let Some(words) = words {
            field.from = Some(words);
        }
        field
    }

    /// What lets it in besides a password of `ed25519`, or keeps that from doing so. The server computes its keys by itself.
    fn beside_ed25519(&self) -> Option<String> {
        if self.plugins != [ED25519] {
            return Some(format!("plugin {}", self.plugins.join(" or ")));
        }
        self.expired.then(|| "expired".to_owned())
    }

    fn beside_native(&self, found: &Self) -> Option<String> {
        // We come in through the socket as root: there it belongs beside the password.
        let ways: Vec<&str> = found.other_ways.iter().map(String::as_str).collect();
        let expected: &[&str] = if self.is_ours() { &[SOCKET] } else { &[] };
        match &found.stored {
            None => Some(format!("another plugin ({})", found.plugins.join(" or "))),
            Some(hash) if hash.expose().is_empty() => Some("no password".to_owned()),
            Some(_) if ways != expected => Some("another way in beside it".to_owned()),
            Some(_) if found.expired => Some("expired".to_owned()),
            Some(_) => None,
        }
    }

    /// An expired password that nobody declares: the account is shut out until it has a new one, and the old one stays right.
    fn revives<'a>(&self, found: Option<&'a Self>) -> Option<&'a Secret> {
        let found = found.filter(|found| found.expired && self.password.is_none())?;
        let stored = found
            .stored
            .as_ref()
            .filter(|_| self.auth == Auth::Password)?;
        let only = found.other_ways.is_empty() && !stored.expose().is_empty();
        only.then_some(stored)
    }

    /// A statement that sets how it proves who it is; without a declared password it is a hash that no password matches, never none.
    ///
    /// The client repeats a statement that fails, and the server's logs of what is said keep all of it. So the secret goes into
    /// a variable first, with those logs off; the statement only names it.
    fn with_password(&self, verb: &str, rest: &str, stored: Option<&Secret>) -> Text {
        let account = account(&self.user, &self.host);
        if self.auth == Auth::Socket {
            let sql = format!("{verb} {account} IDENTIFIED VIA {SOCKET}{rest};");
            return Text::plain(self.in_mode(&sql));
        }
        let (kept, close) = match (&self.password, self.auth) {
            (Some(password), Auth::Ed25519) => {
                (literal(Dialect::MariaDb, password.expose()), ")")
            }
            (Some(password), _) => (quoted(password.native_hash().expose()), ""),
            (None, _) => (
                stored.map_or_else(
                    || quoted(&locked_native_hash(&self.key())),
                    |hash| literal(Dialect::MariaDb, hash.expose()),
                ),
                "",
            ),
        };
        let using = match self.auth {
            Auth::Ed25519 => format!("{ED25519} USING PASSWORD("),
            _ if self.is_ours() => format!("{SOCKET} OR {NATIVE} USING "),
            _ => format!("{NATIVE} USING "),
        };
        let head = format!("{verb} {account} IDENTIFIED VIA {using}");
        let text = |text: &str| literal(Dialect::MariaDb, text);
        let (quiet, loud) = match self.managed {
            true => ("", ""),
            false => (
                "SET @provision_log = @@SESSION.sql_log_off, @provision_slow = @@SESSION.slow_query_log; \
                 SET SESSION sql_log_off = 1, SESSION slow_query_log = 0; \
                 UPDATE performance_schema.threads SET INSTRUMENTED = 'NO' WHERE PROCESSLIST_ID = CONNECTION_ID(); ",
                " SET SESSION sql_log_off = @provision_log, SESSION slow_query_log = @provision_slow;",
            ),
        };
        let run = format!(
            "EXECUTE IMMEDIATE CONCAT({}, QUOTE(@provision_hash), {});",
            text(&head),
            text(&format!("{close}{rest}"))
        );
        Text::plain(format!("{quiet}SET @provision_hash = "))
            .push_secret(Secret::new(kept))
            .push(format!(
                "; {} SET @provision_hash = NULL;{loud}",
                self.in_mode(&run)
            ))
    }

    /// A statement in which the texts of `REQUIRE` are read as they are written.
    fn in_mode(&self, sql: &str) -> String {
        if self.require.properties().is_empty() {
            return sql.to_owned();
        }
        format!(
            "SET @provision_mode = @@SESSION.sql_mode, SESSION sql_mode = 'NO_BACKSLASH_ESCAPES'; \
             {sql} SET SESSION sql_mode = @provision_mode;"
        )
    }

    fn lock(&self) -> &'static str {
        if self.locked {
            " ACCOUNT LOCK"
        } else {
            " ACCOUNT UNLOCK"
        }
    }

    /// Every limit: the key that declares it, its word in SQL, and its value.
    fn limits(&self) -> [(&'static str, &'static str, String); 5] {
        let limits = &self.limits;
        [
            (
                "max_connections",
                "MAX_USER_CONNECTIONS",
                self.max_connections.to_string(),
            ),
            (
                "max_queries_per_hour",
                "MAX_QUERIES_PER_HOUR",
                limits.queries.to_string(),
            ),
            (
                "max_updates_per_hour",
                "MAX_UPDATES_PER_HOUR",
                limits.updates.to_string(),
            ),
            (
                "max_connections_per_hour",
                "MAX_CONNECTIONS_PER_HOUR",
                limits.connections.to_string(),
            ),
            (
                "max_statement_time",
                "MAX_STATEMENT_TIME",
                seconds(limits.statement_time),
            ),
        ]
    }

    /// Everything of the account but how it proves who it is; what a new one has by itself is left out.
    fn attributes(&self) -> String {
        let mut sql = String::new();
        if self.require != Require::None {
            sql.push_str(&self.require.sql());
        }
        sql.push_str(" WITH");
        for (_, word, value) in self.limits() {
            if value != "0" || word == "MAX_USER_CONNECTIONS" {
                sql.push_str(&format!(" {word} {value}"));
            }
        }
        sql.push_str(self.lock());
        if self.expiry != Expiry::Default {
            sql.push_str(&self.expiry.sql());
        }
        sql
    }

    fn create(&self) -> Vec<Step> {
        let says = match (self.auth, &self.password) {
            (Auth::Socket, _) | (_, Some(_)) => "create the user",
            _ => "create the user with a password that nobody has",
        };
        let attributes = self.attributes();
        if self.auth != Auth::Ed25519 {
            return vec![Step::sql_alone(
                says,
                self.with_password("CREATE USER", &attributes, None),
            )];
        }
        // Nobody can compare its password, so these are also the steps for a user that is there.
        vec![
            self.plugin(),
            Step::sql_alone(
                says,
                self.with_password("CREATE USER IF NOT EXISTS", &attributes, None),
            ),
            Step::sql_alone(
                "set the password",
                self.with_password("ALTER USER", &attributes, None),
            ),
        ]
    }

    /// Loads the plugin of an account, where the server has it and did not load it yet.
    fn plugin(&self) -> Step {
        let sql = format!(
            "SET @provision_do = IF((SELECT COUNT(*) FROM information_schema.PLUGINS WHERE PLUGIN_NAME = '{ED25519}') = 0, \
             {}, 'DO 0'); EXECUTE IMMEDIATE @provision_do;",
            literal(Dialect::MariaDb, &format!("INSTALL SONAME 'auth_{ED25519}'"))
        );
        Step::sql_alone("load the plugin `ed25519`", Text::plain(sql))
    }

    /// Its rights come along. An entry in the ledger under the old name is one of a user that is not there, and is passed over.
    fn rename(&self, found: Option<&Self>) -> Step {
        let old = found.map_or_else(String::new, |found| account(&found.user, &found.host));
        let new = account(&self.user, &self.host);
        Step::sql_alone("rename the user", Text::plain(format!("RENAME USER {old} TO {new};")))
    }

    fn alter(&self, says: &str, what: &str) -> Step {
        let account = account(&self.user, &self.host);
        let sql = format!("ALTER USER {account}{what};");
        Step::sql_alone(says, Text::plain(sql))
    }

    /// The effect that mends one field.
    fn mend(&self, field: &str, found: Option<&Self>) -> Vec<Step> {
        let limit = self.limits().into_iter().find(|(name, ..)| *name == field);
        if let Some((_, word, value)) = limit {
            let says = match field {
                "max_connections" => "set the limit of connections".to_owned(),
                _ => format!("set `{field}`"),
            };
            return vec![self.alter(&says, &format!(" WITH {word} {value}"))];
        }
        let auth = |stored| self.with_password("ALTER USER", "", stored);
        match field {
            "name" => vec![self.rename(found)],
            "password" if self.auth == Auth::Ed25519 => {
                vec![self.plugin(), Step::sql_alone("set the password", auth(None))]
            }
            "password" => vec![Step::sql_alone("set the password", auth(None))],
            "auth" => vec![Step::sql_alone("let it in by the socket only", auth(None))],
            "expired" => vec![Step::sql_alone(
                "let the password that it has count again",
                auth(self.revives(found)),
            )],
            "require" => {
                let account = account(&self.user, &self.host);
                let sql = format!("ALTER USER {account}{};", self.require.sql());
                vec![Step::sql_alone(
                    "set what its connections have to bring",
                    Text::plain(self.in_mode(&sql)),
                )]
            }
            "password_expiry" => vec![self.alter("set when its password expires", &self.expiry.sql())],
            "locked" if self.locked => vec![self.alter("lock the user", self.lock())],
            "locked" => vec![self.alter("unlock the user", self.lock())],
            _ => Vec::new(),
        }
    }
}

/// A text without quotes and backslashes as an SQL string.
fn quoted(text: &str) -> String {
    format!("'{text}'")
}

/// Hashes are compared in upper case: the server keeps them as they were written.
fn upper(hash: &Secret) -> Secret {
    Secret::new(hash.expose().to_uppercase())
}

/// The ways in: each a plugin and its authentication string. In `auth_or` an empty object stands for the one outside it.
fn ways(row: &Row) -> Result<Vec<(String, String)>, String> {
    let way = |plugin: Option<&str>, string: Option<&str>| {
        (
            plugin.unwrap_or(NATIVE).to_owned(),
            string.unwrap_or_default().to_owned(),
        )
    };
    let own = way(text(row, "plugin"), text(row, "hash"));
    match row.get("auth_or") {
        None | Some(Value::Null) => Ok(vec![own]),
        Some(Value::Array(list)) => Ok(list
            .iter()
            .map(|item| match item.as_object() {
                Some(item) if !item.is_empty() => {
                    way(text(item, "plugin"), text(item, "authentication_string"))
                }
                _ => own.clone(),
            })
            .collect()),
        Some(_) => Err("the server keeps the user's ways in in an unknown form".to_owned()),
    }
}

/// A way in for people: its plugin, and for the socket also whose process may use it.
fn plugin_name((plugin, string): &(String, String)) -> String {
    match (plugin.as_str(), string.as_str()) {
        (SOCKET, name) if !name.is_empty() => format!("{SOCKET} as {name}"),
        (plugin, _) => plugin.to_owned(),
    }
}

impl Kind for MariadbUser {
    const NAME: &'static str = "mariadb_user";
    const QUESTION: Question = Question {
        name: "mariadb_user",
        ask: Ask::MariaDb(
            "SELECT JSON_OBJECT('key', CONCAT(User, '@', Host), 'user', User, 'host', Host, \
             'plugin', JSON_VALUE(Priv, '$.plugin'), 'hash', JSON_VALUE(Priv, '$.authentication_string'), \
             'auth_or', JSON_COMPACT(JSON_EXTRACT(Priv, '$.auth_or')), \
             'max_connections', JSON_VALUE(Priv, '$.max_user_connections'), \
             'queries', JSON_VALUE(Priv, '$.max_questions'), 'updates', JSON_VALUE(Priv, '$.max_updates'), \
             'connections', JSON_VALUE(Priv, '$.max_connections'), \
             'statement_time', JSON_VALUE(Priv, '$.max_statement_time'), \
             'ssl_type', JSON_VALUE(Priv, '$.ssl_type'), 'subject', JSON_VALUE(Priv, '$.x509_subject'), \
             'issuer', JSON_VALUE(Priv, '$.x509_issuer'), 'cipher', JSON_VALUE(Priv, '$.ssl_cipher'), \
             'locked', JSON_VALUE(Priv, '$.account_locked'), \
             'changed', JSON_VALUE(Priv, '$.password_last_changed'), \
             'lifetime', JSON_VALUE(Priv, '$.password_lifetime'), \
             'old', (IF(JSON_VALUE(Priv, '$.password_lifetime') >= 0, JSON_VALUE(Priv, '$.password_lifetime') + 0, \
             @@default_password_lifetime) * 86400 BETWEEN 1 AND UNIX_TIMESTAMP() - JSON_VALUE(Priv, '$.password_last_changed')), \
             'defines', d.names, \
             'rest', JSON_KEYS(JSON_REMOVE(Priv, '$.access', '$.version_id', '$.plugin', '$.authentication_string', '$.auth_or', \
             '$.max_questions', '$.max_updates', '$.max_connections', '$.max_user_connections', '$.max_statement_time', \
             '$.ssl_type', '$.ssl_cipher', '$.x509_issuer', '$.x509_subject', '$.account_locked', '$.password_last_changed', \
             '$.password_lifetime', '$.default_role'))) \
             FROM mysql.global_priv LEFT JOIN (SELECT definer, GROUP_CONCAT(sort, ' ', db, '.', name SEPARATOR '\n') names \
             FROM (SELECT definer, LOWER(type) sort, db, name FROM mysql.proc WHERE db <> 'sys' \
             UNION ALL SELECT definer, 'event', db, name FROM mysql.event) o GROUP BY definer) d \
             ON d.definer = CONCAT(User, '@', Host) \
             WHERE JSON_VALUE(Priv, '$.is_role') IS NULL",
        ),
    };

    fn key(&self) -> Cow<'_, str> {
        Cow::Owned(account_key(&self.user, &self.host))
    }

    fn was(&self) -> Option<Cow<'_, str>> {
        let (user, host) = self.was.as_ref()?;
        Some(Cow::Owned(account_key(user, host)))
    }

    fn read(&self, rows: &[Row]) -> Result<Option<Self>, String> {
        let Some(row) = rows
            .iter()
            .find(|row| text(row, "user") == Some(&self.user))
        else {
            return Ok(None);
        };
        let ways = ways(row)?;
        // The first hash is the one compared; a second one is one more way in.
        let own = ways.iter().position(|(plugin, _)| plugin == NATIVE);
        Ok(Some(MariadbUser {
            user: self.user.clone(),
            host: need(row, "host")?.to_owned(),
            was: None,
            password: None,
            managed: self.managed,
            stored: own
                .and_then(|at| ways.get(at))
                .map(|(_, hash)| Secret::new(hash.as_str())),
            auth: Auth::default(),
            require: Require::read(row),
            expiry: Expiry::read(row),
            limits: Limits {
                queries: int(row, "queries").unwrap_or(0),
                updates: int(row, "updates").unwrap_or(0),
                connections: int(row, "connections").unwrap_or(0),
                statement_time: text(row, "statement_time")
                    .and_then(microseconds)
                    .unwrap_or(0),
            },
            max_connections: int(row, "max_connections").unwrap_or(0),
            plugins: ways.iter().map(plugin_name).collect(),
            defines: text(row, "defines")
                .map(|names| names.lines().map(str::to_owned).collect())
                .unwrap_or_default(),
            locked: int(row, "locked").unwrap_or(0) != 0,
            other_ways: ways
                .iter()
                .enumerate()
                .filter(|(at, _)| Some(*at) != own)
                .map(|(_, (plugin, _))| plugin.clone())
                .collect(),
            expired: int(row, "changed") == Some(0) || int(row, "old") == Some(1),
        }))
    }

    fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        let mut fields = Vec::new();
        if let Some(found) = found.filter(|found| found.key() != self.key()) {
            fields.push(Field::new("name", Some(found.key().into_owned()), self.key(), Impact::None));
        }
        if let Some(wanted) = &self.password {
            fields.push(self.password_field(wanted, found));
        }
        if self.auth == Auth::Socket {
            let ways = found.map(|found| found.plugins.join(" or "));
            fields.push(Field::new("auth", ways, self.auth.plugin(), Impact::None));
        }
        if self.revives(found).is_some() {
            let found = Some("true".to_owned());
            fields.push(Field::new("expired", found, "false", Impact::None));
        }
        let mut attribute = |name: &'static str, value: fn(&Self) -> String| {
            let found = found.map(value);
            fields.push(Field::new(name, found, value(self), Impact::None));
        };
        attribute("require", |user| user.require.shown());
        attribute("password_expiry", |user| user.expiry.shown());
        attribute("locked", |user| user.locked.to_string());
        let limits = found.map(Self::limits);
        for (at, (name, _, value)) in self.limits().into_iter().enumerate() {
            let found = limits.as_ref().and_then(|limits| limits.get(at));
            let found = found.map(|(.., value)| value.clone());
            fields.push(Field::new(name, found, value, Impact::None));
        }
        fields
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        if found.is_none() {
            return self.create();
        }
        let fields = self.fields(found).into_iter().filter(Field::differs);
        fields
            .flat_map(|field| self.mend(&field.name, found))
            .collect()
    }

    fn named(key: &str) -> Option<Self> {
        let (user, host) = split_account(key)?;
        Some(MariadbUser {
            user,
            host,
            ..MariadbUser::default()
        })
    }

    fn mark(&self, field: &str) -> Option<String> {
        let password = self.password.as_ref().filter(|_| field == "password")?;
        Some(few_bits(password.expose()))
    }

    fn remove(&self) -> Removal {
        if self.is_ours() {
            return Removal::Forget;
        }
        let sql = format!("DROP USER IF EXISTS {};", account(&self.user, &self.host));
        let says = match self.defines.as_slice() {
            [] => "drop the user".to_owned(),
            defines => format!(
                "drop the user (what runs with its rights fails from then on: {})",
                defines.join(", ")
            ),
        };
        Removal::Steps(vec![Step::sql_alone(says, Text::plain(sql))])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Do, Rows};

    const ROWS: &str = r#"
{"key": "root@localhost", "user": "root", "host": "localhost", "plugin": "mysql_native_password", "hash": "invalid", "auth_or": [{}, {"plugin": "unix_socket"}], "max_connections": null, "locked": null, "changed": null}
{"key": "django_user@%", "user": "django_user", "host": "%", "plugin": "mysql_native_password", "hash": "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19", "auth_or": null, "max_connections": "5", "locked": null, "changed": "1795556840"}
{"key": "reader@localhost", "user": "reader", "host": "localhost", "plugin": "mysql_native_password", "hash": "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19", "auth_or": null, "max_connections": null, "locked": "1", "changed": "0"}
{"key": "odd@localhost", "user": "odd", "host": "localhost", "plugin": "unix_socket", "hash": "", "auth_or": [{"plugin": "ed25519", "authentication_string": "Gv2JI8Env2fd5YGonZ082tX3UAW"}, {}], "max_connections": null, "locked": null, "changed": "1795556840"}
{"key": "open@%", "user": "open", "host": "%", "plugin": "mysql_native_password", "hash": "", "auth_or": null, "max_connections": null, "locked": null, "changed": "1795556840"}
{"key": "two@%", "user": "two", "host": "%", "plugin": "mysql_native_password", "hash": "*2470c0c06dee42fd1618bb99005adca2ec9d1e19", "auth_or": [{}, {"plugin": "unix_socket"}], "max_connections": null, "locked": null, "changed": "1795556840"}
{"key": "@localhost", "user": "", "host": "localhost", "plugin": null, "hash": null, "auth_or": null, "max_connections": null, "locked": null, "changed": null}
"#;

    fn user(key: &str) -> MariadbUser {
        MariadbUser {
            password: Some(Secret::new("password")),
            ..MariadbUser::named(key).expect("an account")
        }
    }

    fn found(wanted: &MariadbUser) -> Option<MariadbUser> {
        let rows = Rows::new(super::super::mariadb::rows(ROWS));
        wanted.read(rows.of(&wanted.key())).expect("it can be read")
    }

    fn differing(wanted: &MariadbUser) -> Vec<(String, String)> {
        let fields = wanted.fields(found(wanted).as_ref());
        let fields = fields.into_iter().filter(Field::differs);
        fields
            .map(|field| (field.name.into_owned(), field.from.unwrap_or_default()))
            .collect()
    }

    #[test]
    fn every_way_in_that_is_not_the_declared_password_differs() {
        let django = MariadbUser {
            max_connections: 5,
            ..user("django_user@%")
        };
        assert_eq!(differing(&django), []);
        for (key, words) in [
            ("odd@localhost", "another plugin (ed25519 or unix_socket)"),
            ("open@%", "no password"),
            ("two@%", "another way in beside it"),
            ("@localhost", "no password"),
            ("root@localhost", "differs"),
        ] {
            let expected = ("password".to_owned(), words.to_owned());
            assert_eq!(differing(&user(key)), [expected], "{key}");
        }
        let reader = MariadbUser {
            locked: true,
            ..user("reader@LOCALHOST")
        };
        assert_eq!(differing(&reader)[0].1, "expired");
    }

    #[test]
    fn everything_that_can_shut_it_out_differs() {
        let row = r#"{"key": "a@%", "user": "a", "host": "%", "plugin": "mysql_native_password", "hash": "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19", "auth_or": null, "max_connections": "0", "queries": "1", "updates": "2", "connections": "3", "statement_time": "1.500000", "ssl_type": "3", "subject": "/CN=O'B", "issuer": "", "cipher": "", "locked": null, "changed": "1795556840", "lifetime": "30", "old": 0, "defines": "event shop.e"}"#;
        let wanted = user("a@%");
        let found = wanted.read(&super::super::mariadb::rows(row)).unwrap();
        let fields = wanted.fields(found.as_ref()).into_iter();
        let names: Vec<_> = fields.filter(Field::differs).map(|field| field.name).collect();
        assert_eq!(
            names,
            [
                "require",
                "password_expiry",
                "max_queries_per_hour",
                "max_updates_per_hour",
                "max_connections_per_hour",
                "max_statement_time"
            ]
        );
        let as_found = MariadbUser {
            password: wanted.password.clone(),
            ..found.clone().unwrap()
        };
        assert!(as_found.steps(found.as_ref()).is_empty());
        let Do::Sql { text, .. } = &as_found.steps(None)[0].does else {
            panic!("no SQL");
        };
        assert!(text.shown().contains("SESSION sql_mode = 'NO_BACKSLASH_ESCAPES'"));
        let Removal::Steps(steps) = found.unwrap().remove() else {
            panic!("it is dropped");
        };
        assert!(steps[0].says.contains("event shop.e"));
        assert_eq!(microseconds("0.25"), Some(250_000));
        assert_eq!(microseconds("1.").or(microseconds("-1")), None);
    }

    #[test]
    fn no_hash_is_shown_or_repeated_by_a_client() {
        let wanted = user("django_user@%");
        let steps = wanted.steps(None);
        let Do::Sql { text, .. } = &steps[0].does else {
            panic!("{steps:?}");
        };
        assert!(text.is_secret() && !text.shown().contains("*2470"));
        let whole = text.expose();
        let statements: Vec<&str> = whole.expose().split("; ").collect();
        let with_hash = statements.iter().filter(|sql| sql.contains("*2470"));
        assert_eq!(
            with_hash.collect::<Vec<_>>(),
            [&"SET @provision_hash = '*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19'"]
        );
    }

    #[test]
    fn root_keeps_its_socket_and_is_never_dropped() {
        let root = user("root@localhost");
        let steps = root.steps(found(&root).as_ref());
        let Do::Sql { text, .. } = &steps[0].does else {
            panic!("{steps:?}");
        };
        assert!(
            text.shown()
                .contains("IDENTIFIED VIA unix_socket OR mysql_native_password")
        );
        assert!(matches!(root.remove(), Removal::Forget));
        assert!(matches!(user("django_user@%").remove(), Removal::Steps(_)));
    }

    #[test]
    fn a_user_without_a_password_gets_one_that_nobody_has() {
        let wanted = MariadbUser::named("reporting@%").expect("an account");
        let steps = wanted.steps(None);
        let Do::Sql { text, .. } = &steps[0].does else {
            panic!("{steps:?}");
        };
        let hash = locked_native_hash("reporting@%");
        assert!(text.expose().expose().contains(&hash));
    }
}
