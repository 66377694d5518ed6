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

    /// A statement that sets the password; without a declared one it is a hash that no password matches, never none.
    ///
    /// The client repeats a statement that fails, and the server's logs of what is said keep all of it. So the hash goes into
    /// a variable first, with those logs off; the statement only names it.
    fn with_password(&self, verb: &str, rest: &str) -> Text {
        let hash = match &self.password {
            Some(password) => password.native_hash(),
            None => Secret::new(locked_native_hash(&self.key())),
        };
        let socket = if self.is_ours() {
            "unix_socket OR "
        } else {
            ""
        };
        let account = account(&self.user, &self.host);
        let head = format!("{verb} USER {account} IDENTIFIED VIA {socket}{NATIVE} USING ");
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
        Text::plain(format!("{quiet}SET @provision_hash = '"))
            .push_secret(hash)
            .push(format!(
                "'; EXECUTE IMMEDIATE CONCAT({}, QUOTE(@provision_hash), {}); SET @provision_hash = NULL;{loud}",
                text(&head),
                text(rest)
            ))
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
        let sql = self.with_password("CREATE", &format!("{}{}", self.limit(), self.lock()));
        let says = match self.password {
            Some(_) => "create the user",
            None => "create the user with a password that nobody has",
        };
        Step::sql_alone(says, sql)
    }

    /// Its rights come along. An entry in the ledger under the old name is one of a user that is not there, and is passed over.
    fn rename(&self, found: Option<&Self>) -> Step {
        let old = found.map_or_else(String::new, |found| account(&found.user, &found.host));
        let new = account(&self.user, &self.host);
        Step::sql_alone("rename the user", Text::plain(format!("RENAME USER {old} TO {new};")))
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
        if let Some(found) = found.filter(|found| found.key() != self.key()) {
            fields.push(Field::new("name", Some(found.key().into_owned()), self.key(), Impact::None));
        }
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
                "name" => self.rename(found),
                "password" => Step::sql_alone("set the password", self.with_password("ALTER", "")),
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

    fn mark(&self, field: &str) -> Option<String> {
        let password = self.password.as_ref().filter(|_| field == "password")?;
        Some(few_bits(password.expose()))
    }

    fn remove(&self) -> Removal {
        if self.is_ours() {
            return Removal::Forget;
        }
        let sql = format!("DROP USER IF EXISTS {};", account(&self.user, &self.host));
        Removal::Steps(vec![Step::sql_alone("drop the user", Text::plain(sql))])
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
            ("odd@localhost", "another plugin"),
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
