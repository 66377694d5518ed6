//! `mariadb_user`: a user of a MariaDB server and how it comes in. Its rights are `mariadb_grant`.

use std::borrow::Cow;

use serde_json::Value;

use super::mariadb::{account, account_key, int, is_ours, need, split_account, text};
use crate::command::{Ask, Question, Row, Text};
use crate::resource::{Field, Impact, Kind, Removal, Same, Step};
use crate::secret::{Secret, locked_native_hash};

const NATIVE: &str = "mysql_native_password";
const SOCKET: &str = "unix_socket";

/// A user of a MariaDB server.
#[derive(Clone, Debug, Default)]
pub struct MariadbUser {
    /// Its name.
    pub user: String,
    /// The host it comes from, as in `%`; key is `user@host`.
    pub host: String,
    /// Its password in clear as wanted; `None`: not managed.
    pub password: Option<Secret>,
    /// Of a found one: the hash the server keeps.
    pub stored: Option<Secret>,
    /// MAX_USER_CONNECTIONS; 0 is no limit.
    pub max_connections: i64,
    /// ACCOUNT LOCK.
    pub locked: bool,
    /// Of a found one: the plugins besides the hash that let somebody in.
    pub other_ways: Vec<String>,
    /// Of a found one: its password was made to expire.
    pub expired: bool,
}

impl MariadbUser {
    fn is_ours(&self) -> bool {
        is_ours(&self.user, &self.host)
    }

    /// How the password compares, and the words for what was found.
    fn password_field(&self, wanted: &Secret, found: Option<&Self>) -> Field {
        let Some(found) = found else {
            return Field::hidden("password", false, Same::No, Impact::None);
        };
        // We come in through the socket as root: there it belongs beside the password.
        let ways: Vec<&str> = found.other_ways.iter().map(String::as_str).collect();
        let expected: &[&str] = if self.is_ours() { &[SOCKET] } else { &[] };
        let words = match &found.stored {
            None => Some("another plugin"),
            Some(hash) if hash.expose().is_empty() => Some("no password"),
            Some(_) if ways != expected => Some("another way in beside it"),
            Some(_) if found.expired => Some("expired"),
            Some(_) => None,
        };
        let same = match &found.stored {
            Some(hash) if words.is_none() && upper(hash) == wanted.native_hash() => Same::Yes,
            _ => Same::No,
        };
        let mut field = Field::hidden("password", true, same, Impact::None);
        if let Some(words) = words {
            field.from = Some(words.to_owned());
        }
        field
    }

    /// `IDENTIFIED ...`; without a declared password a hash that no password matches, never none.
    fn identified(&self) -> Text {
        let hash = match &self.password {
            Some(password) => password.native_hash(),
            None => Secret::new(locked_native_hash(&self.key())),
        };
        let socket = if self.is_ours() {
            "unix_socket OR "
        } else {
            ""
        };
        Text::plain(format!(" IDENTIFIED VIA {socket}{NATIVE} USING '"))
            .push_secret(hash)
            .push("'")
    }

    fn limit(&self) -> String {
        format!(" WITH MAX_USER_CONNECTIONS {}", self.max_connections)
    }

    fn lock(&self) -> &'static str {
        if self.locked {
            " ACCOUNT LOCK"
        } else {
            " ACCOUNT UNLOCK"
        }
    }

    fn create(&self) -> Step {
        let mut sql = Text::plain(format!("CREATE USER {}", account(&self.user, &self.host)));
        sql.append(self.identified());
        let rest = format!("{}{};", self.limit(), self.lock());
        let says = match self.password {
            Some(_) => "create the user",
            None => "create the user with a password that nobody has",
        };
        Step::sql_alone(says, unlogged(sql.push(rest)))
    }

    fn alter(&self, says: &str, what: &str) -> Step {
        let account = account(&self.user, &self.host);
        Step::sql_alone(says, Text::plain(format!("ALTER USER {account}{what};")))
    }
}

/// Hashes are compared in upper case: the server keeps them as they were written.
fn upper(hash: &Secret) -> Secret {
    Secret::new(hash.expose().to_uppercase())
}

/// The same with the server's own logs of what is said off while it is said: they would keep the hash.
fn unlogged(sql: Text) -> Text {
    let mut text = Text::plain(
        "SET @provision_log = @@SESSION.sql_log_off, @provision_slow = @@SESSION.slow_query_log; \
         SET SESSION sql_log_off = 1, SESSION slow_query_log = 0; \
         UPDATE performance_schema.threads SET INSTRUMENTED = 'NO' WHERE PROCESSLIST_ID = CONNECTION_ID();\n",
    );
    text.append(sql);
    text.push(
        "\nSET SESSION sql_log_off = @provision_log, SESSION slow_query_log = @provision_slow;",
    )
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

impl Kind for MariadbUser {
    const NAME: &'static str = "mariadb_user";
    const QUESTION: Question = Question {
        name: "mariadb_user",
        ask: Ask::MariaDb(
            "SELECT JSON_OBJECT('key', CONCAT(User, '@', Host), 'user', User, 'host', Host, \
             'plugin', JSON_VALUE(Priv, '$.plugin'), 'hash', JSON_VALUE(Priv, '$.authentication_string'), \
             'auth_or', JSON_COMPACT(JSON_EXTRACT(Priv, '$.auth_or')), \
             'max_connections', JSON_VALUE(Priv, '$.max_user_connections'), \
             'locked', JSON_VALUE(Priv, '$.account_locked'), \
             'changed', JSON_VALUE(Priv, '$.password_last_changed')) \
             FROM mysql.global_priv WHERE JSON_VALUE(Priv, '$.is_role') IS NULL",
        ),
    };

    fn key(&self) -> Cow<'_, str> {
        Cow::Owned(account_key(&self.user, &self.host))
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
            password: None,
            stored: own
                .and_then(|at| ways.get(at))
                .map(|(_, hash)| Secret::new(hash.as_str())),
            max_connections: int(row, "max_connections").unwrap_or(0),
            locked: int(row, "locked").unwrap_or(0) != 0,
            other_ways: ways
                .iter()
                .enumerate()
                .filter(|(at, _)| Some(*at) != own)
                .map(|(_, (plugin, _))| plugin.clone())
                .collect(),
            expired: int(row, "changed") == Some(0),
        }))
    }

    fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        let mut fields = Vec::new();
        if let Some(wanted) = &self.password {
            fields.push(self.password_field(wanted, found));
        }
        fields.push(Field::new(
            "max_connections",
            found.map(|f| f.max_connections.to_string()),
            self.max_connections.to_string(),
            Impact::None,
        ));
        fields.push(Field::new(
            "locked",
            found.map(|f| f.locked.to_string()),
            self.locked.to_string(),
            Impact::None,
        ));
        fields
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        if found.is_none() {
            return vec![self.create()];
        }
        let mut steps = Vec::new();
        for field in self.fields(found).iter().filter(|field| field.differs()) {
            steps.push(match &*field.name {
                "password" => {
                    let mut sql =
                        Text::plain(format!("ALTER USER {}", account(&self.user, &self.host)));
                    sql.append(self.identified());
                    Step::sql_alone("set the password", unlogged(sql.push(";")))
                }
                "locked" if self.locked => self.alter("lock the user", self.lock()),
                "locked" => self.alter("unlock the user", self.lock()),
                _ => self.alter("set the limit of connections", &self.limit()),
            });
        }
        steps
    }

    fn named(key: &str) -> Option<Self> {
        let (user, host) = split_account(key)?;
        Some(MariadbUser {
            user,
            host,
            ..MariadbUser::default()
        })
    }

    fn remove(&self) -> Removal {
        if self.is_ours() {
            return Removal::Forget;
        }
        let sql = format!("DROP USER IF EXISTS {};", account(&self.user, &self.host));
        Removal::Steps(vec![Step::sql_alone("drop the user", Text::plain(sql))])
    }
}
