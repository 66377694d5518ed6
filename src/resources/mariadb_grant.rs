//! `mariadb_grant`: all rights of one MariaDB user.
//!
//! The server keeps the database of a right as a *pattern*: `iact_ivr` there also opens `iactXivr`. We always write it
//! escaped; one that was written as a pattern is another right than the declared one, whatever it looks like.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::mariadb::{account, account_key, ident, is_ours, need, split_account, text};
use crate::command::{Ask, Dialect, Question, Row, Text};
use crate::quote::{grant_pattern, literal};
use crate::resource::{Awaited, Field, Impact, Kind, Removal, Same, Step};

const GRANT_OPTION: &str = "GRANT OPTION";
const ALL: &str = "ALL";

/// What `ALL` gives on `database.table`, as MariaDB 10.11 keeps it.
const ON_TABLE: &[&str] = &[
    "ALTER",
    "CREATE",
    "CREATE VIEW",
    "DELETE",
    "DELETE HISTORY",
    "DROP",
    "INDEX",
    "INSERT",
    "REFERENCES",
    "SELECT",
    "SHOW VIEW",
    "TRIGGER",
    "UPDATE",
];

/// What `ALL` gives on `database.*` beside [`ON_TABLE`].
const ON_DATABASE: &[&str] = &[
    "ALTER ROUTINE",
    "CREATE ROUTINE",
    "CREATE TEMPORARY TABLES",
    "EVENT",
    "EXECUTE",
    "LOCK TABLES",
];

/// What `ALL` gives on `*.*` beside [`ON_DATABASE`].
const ON_SERVER: &[&str] = &[
    "BINLOG ADMIN",
    "BINLOG MONITOR",
    "BINLOG REPLAY",
    "CONNECTION ADMIN",
    "CREATE TABLESPACE",
    "CREATE USER",
    "FEDERATED ADMIN",
    "FILE",
    "PROCESS",
    "READ_ONLY ADMIN",
    "RELOAD",
    "REPLICATION MASTER ADMIN",
    "REPLICATION SLAVE",
    "REPLICATION SLAVE ADMIN",
    "SET USER",
    "SHOW DATABASES",
    "SHUTDOWN",
    "SLAVE MONITOR",
    "SUPER",
];

/// Which of the tables that rights are declared on are there. Where names are folded, a row says so.
pub const TABLES: Question = Question {
    name: "mariadb_table",
    ask: Ask::MariaDb(
        "SELECT JSON_OBJECT('key', CONCAT(TABLE_SCHEMA, '.', TABLE_NAME), 'folded', @@lower_case_table_names <> 0) \
         FROM information_schema.TABLES WHERE CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) {wanted}",
    ),
};

/// All rights of one MariaDB user.
#[derive(Clone, Debug, Default)]
pub struct MariadbGrant {
    /// Its name.
    pub user: String,
    /// The host; key is `user@host`.
    pub host: String,
    /// The user and host it had.
    pub was: Option<(String, String)>,
    /// Privileges in upper case, by `database.*`, `database.table` or `*.*` as declared (literal names). `ALL` stays `ALL`;
    /// `GRANT OPTION` is a member.
    pub on: BTreeMap<String, BTreeSet<String>>,
    /// Whether rights that are not declared are taken away.
    pub exact: bool,
    /// Of a found one: rights that no declaration can mean (patterns, columns, routines, roles, proxies).
    pub others: Vec<Other>,
}

/// A right that no declaration can mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// Its level, for people: ``iact_ivr.* (pattern)``.
    pub level: String,
    /// Its privileges.
    pub privileges: BTreeSet<String>,
    /// What stands between `REVOKE` and `FROM`, a statement each.
    revokes: Vec<String>,
}

/// What a right is on.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Level {
    Server,
    Database(String),
    Table(String, String),
}

impl Level {
    fn parse(text: &str) -> Option<Self> {
        if text == "*.*" {
            return Some(Level::Server);
        }
        if let Some(database) = text.strip_suffix(".*") {
            return (!database.is_empty() && database != "*")
                .then(|| Level::Database(database.to_owned()));
        }
        let (database, table) = text.split_once('.')?;
        (!database.is_empty() && database != "*" && !table.is_empty())
            .then(|| Level::Table(database.to_owned(), table.to_owned()))
    }

    fn sql(&self) -> String {
        match self {
            Level::Server => "*.*".to_owned(),
            Level::Database(database) => format!("{}.*", grant_pattern(database)),
            Level::Table(database, table) => format!("{}.{}", ident(database), ident(table)),
        }
    }

    fn all(&self) -> BTreeSet<String> {
        let lists: &[&[&str]] = match self {
            Level::Server => &[ON_TABLE, ON_DATABASE, ON_SERVER],
            Level::Database(_) => &[ON_TABLE, ON_DATABASE],
            Level::Table(..) => &[ON_TABLE],
        };
        let names = lists.iter().flat_map(|list| list.iter());
        names.map(|name| (*name).to_owned()).collect()
    }

    /// The privileges that a declaration means: `ALL` in full, old names as the new ones, `USAGE` as nothing.
    fn expand(&self, privileges: &BTreeSet<String>) -> BTreeSet<String> {
        let mut set = BTreeSet::new();
        for privilege in privileges {
            match canonical(privilege).as_str() {
                ALL => set.extend(self.all()),
                "USAGE" => {}
                other => {
                    set.insert(other.to_owned());
                }
            }
        }
        set
    }

    /// The privileges in few words; `None` for none.
    fn shown(&self, privileges: &BTreeSet<String>) -> Option<String> {
        let all = self.all();
        let mut words: Vec<&str> = Vec::new();
        let rest: Vec<&str> = if privileges.is_superset(&all) {
            words.push(ALL);
            privileges.difference(&all).map(String::as_str).collect()
        } else {
            privileges.iter().map(String::as_str).collect()
        };
        words.extend(rest);
        (!words.is_empty()).then(|| words.join(", "))
    }
}

/// A privilege as MariaDB 10.11 calls it in its answers.
fn canonical(privilege: &str) -> String {
    let words: Vec<&str> = privilege.split_whitespace().collect();
    let name = words.join(" ").to_uppercase();
    match name.as_str() {
        "ALL PRIVILEGES" => ALL,
        "GRANT" => GRANT_OPTION,
        "DELETE VERSIONING ROWS" => "DELETE HISTORY",
        "REPLICATION CLIENT" => "BINLOG MONITOR",
        "REPLICATION REPLICA" => "REPLICATION SLAVE",
        "REPLICATION REPLICA ADMIN" => "REPLICATION SLAVE ADMIN",
        "REPLICA MONITOR" => "SLAVE MONITOR",
        _ => return name,
    }
    .to_owned()
}

/// Whether a privilege can be had on a level, both as declared; for whoever checks a file.
///
/// # Errors
/// One sentence that says what is wrong.
pub fn check(level: &str, privilege: &str) -> Result<(), String> {
    let Some(parsed) = Level::parse(level) else {
        return Err(format!(
            "`{level}` is none of `*.*`, `database.*` and `database.table`"
        ));
    };
    let name = canonical(privilege);
    if [ALL, GRANT_OPTION, "USAGE"].contains(&name.as_str()) || parsed.all().contains(&name) {
        return Ok(());
    }
    Err(if Level::Server.all().contains(&name) {
        format!("`{name}` cannot be had on `{level}`, only on a wider level")
    } else {
        format!("`{privilege}` is no privilege of MariaDB 10.11")
    })
}

/// Whether rights can only be given where the table is there; with `CREATE` among them they can be given before.
fn needs_table(level: &Level, privileges: &BTreeSet<String>) -> bool {
    matches!(level, Level::Table(..)) && !privileges.contains("CREATE")
}

/// A grant that is carried out only where its table is there: a first start cannot ask before.
fn if_there(level: &Level, privileges: &BTreeSet<String>, grant: String) -> String {
    let Level::Table(database, table) = level else {
        return grant;
    };
    if !needs_table(level, privileges) {
        return grant;
    }
    let text = |text: &str| literal(Dialect::MariaDb, text);
    format!(
        "SET @provision_do = IF(EXISTS (SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}), \
         {}, 'DO 0'); EXECUTE IMMEDIATE @provision_do",
        text(database),
        text(table),
        text(&grant)
    )
}

fn joined(privileges: &BTreeSet<String>) -> String {
    let names: Vec<&str> = privileges.iter().map(String::as_str).collect();
    names.join(", ")
}

fn split(list: &str) -> BTreeSet<String> {
    list.split(',')
        .map(canonical)
        .filter(|name| !name.is_empty() && name != "USAGE")
        .collect()
}

/// The database that a stored pattern means, if it means just one and is written as we write it.
fn literal_database(stored: &str) -> Option<String> {
    let mut name = String::new();
    let mut chars = stored.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => name.push(chars.next()?),
            '_' | '%' => return None,
            c => name.push(c),
        }
    }
    (grant_pattern(&name) == ident(stored)).then_some(name)
}

impl MariadbGrant {
    fn account(&self) -> String {
        account(&self.user, &self.host)
    }

    /// The rights of the account we come in as are never taken away.
    fn takes_away(&self) -> bool {
        self.exact && !is_ours(&self.user, &self.host)
    }

    fn add(&mut self, level: String, privileges: BTreeSet<String>) {
        if !privileges.is_empty() {
            self.on.entry(level).or_default().extend(privileges);
        }
    }

    fn other(&mut self, level: String, privileges: BTreeSet<String>, on: String) {
        if !privileges.is_empty() {
            let revokes = vec![format!("{} ON {on}", joined(&privileges))];
            self.others.push(Other {
                level,
                privileges,
                revokes,
            });
        }
    }

    fn read_row(&mut self, row: &Row) -> Result<(), String> {
        let privileges = split(text(row, "privileges").unwrap_or_default());
        match need(row, "at")? {
            "server" => self.add("*.*".to_owned(), privileges),
            "database" => {
                let stored = need(row, "db")?;
                match literal_database(stored) {
                    Some(database) => self.add(format!("{database}.*"), privileges),
                    None => {
                        let on = format!("{}.*", ident(stored));
                        self.other(format!("{stored}.* (pattern)"), privileges, on);
                    }
                }
            }
            "table" => {
                let (database, table) = (need(row, "db")?, need(row, "name")?);
                let level = format!("{database}.{table}");
                let meant = Level::Table(database.to_owned(), table.to_owned());
                if Level::parse(&level).as_ref() == Some(&meant) {
                    self.add(level, privileges);
                } else {
                    self.other(format!("{level} (table)"), privileges, meant.sql());
                }
            }
            "column" => {
                let (database, table) = (need(row, "db")?, need(row, "name")?);
                let column = need(row, "column")?;
                let revokes = privileges
                    .iter()
                    .map(|name| {
                        let (database, table) = (ident(database), ident(table));
                        format!("{name} ({}) ON {database}.{table}", ident(column))
                    })
                    .collect();
                self.others.push(Other {
                    level: format!("{database}.{table} ({column})"),
                    privileges,
                    revokes,
                });
            }
            "routine" => {
                let (database, name) = (need(row, "db")?, need(row, "name")?);
                let kind = need(row, "kind")?;
                let on = match kind {
                    "FUNCTION" | "PROCEDURE" | "PACKAGE" | "PACKAGE BODY" => kind,
                    _ => return Err("the server names an unknown sort of routine".to_owned()),
                };
                let on = format!("{on} {}.{}", ident(database), ident(name));
                let level = format!("{database}.{name} ({})", kind.to_lowercase());
                self.other(level, privileges, on);
            }
            "role" => {
                let role = need(row, "name")?;
                self.others.push(Other {
                    level: format!("role {role}"),
                    privileges: BTreeSet::from(["MEMBER".to_owned()]),
                    revokes: vec![ident(role)],
                });
            }
            "proxy" => {
                let (user, host) = (need(row, "name")?, need(row, "host")?);
                self.other(
                    format!("proxy for {user}@{host}"),
                    BTreeSet::from(["PROXY".to_owned()]),
                    account(user, host),
                );
            }
            _ => return Err("the server answered with an unknown sort of right".to_owned()),
        }
        Ok(())
    }

    /// For each declared level: what is wanted and what was found.
    fn levels<'a>(
        &'a self,
        found: Option<&'a Self>,
    ) -> impl Iterator<Item = (&'a str, Level, BTreeSet<String>, BTreeSet<String>)> {
        self.on.iter().filter_map(move |(name, privileges)| {
            let level = Level::parse(name)?;
            let wanted = level.expand(privileges);
            let found = found.and_then(|f| f.on.get(name)).cloned();
            Some((name.as_str(), level, wanted, found.unwrap_or_default()))
        })
    }

    /// Found levels that are not declared.
    fn undeclared<'a>(
        &'a self,
        found: &'a Self,
    ) -> impl Iterator<Item = (&'a str, Level, &'a BTreeSet<String>)> {
        found
            .on
            .iter()
            .filter(|(name, _)| self.takes_away() && !self.on.contains_key(*name))
            .filter_map(|(name, set)| Some((name.as_str(), Level::parse(name)?, set)))
    }

    fn grant(&self, level: &Level, missing: &BTreeSet<String>) -> Step {
        let all = level.all();
        let mut names = missing.clone();
        let option = names.remove(GRANT_OPTION);
        let list = if names.is_superset(&all) {
            ALL.to_owned()
        } else if names.is_empty() {
            "USAGE".to_owned()
        } else {
            joined(&names)
        };
        let option = if option { " WITH GRANT OPTION" } else { "" };
        let grant = format!("GRANT {list} ON {} TO {}{option}", level.sql(), self.account());
        // Without NO_AUTO_CREATE_USER a grant to a user who is not there would make one without a password.
        let sql = format!(
            "SET @provision_mode = @@SESSION.sql_mode, SESSION sql_mode = 'NO_AUTO_CREATE_USER'; \
             {}; SET SESSION sql_mode = @provision_mode;",
            if_there(level, &names, grant)
        );
        let shown = level.shown(missing).unwrap_or_default();
        let on = self.name_of(level);
        Step::sql_alone(format!("grant {shown} on {on}"), Text::plain(sql))
    }

    fn name_of(&self, level: &Level) -> String {
        match level {
            Level::Server => "*.*".to_owned(),
            Level::Database(database) => format!("{database}.*"),
            Level::Table(database, table) => format!("{database}.{table}"),
        }
    }

    fn revoke(&self, level: &Level, extra: &BTreeSet<String>) -> Step {
        let sql = format!(
            "REVOKE {} ON {} FROM {};",
            joined(extra),
            level.sql(),
            self.account()
        );
        let shown = level.shown(extra).unwrap_or_default();
        let on = self.name_of(level);
        Step::sql_alone(format!("revoke {shown} on {on}"), Text::plain(sql))
    }
}

impl Kind for MariadbGrant {
    const NAME: &'static str = "mariadb_grant";
    const QUESTION: Question = Question {
        name: "mariadb_grant",
        ask: Ask::MariaDb(
            "SELECT JSON_OBJECT('key', CONCAT(g.User, '@', g.Host), 'user', g.User, 'at', 'server', \
             'privileges', CONCAT_WS(',', p.PRIVILEGE_TYPE, IF(p.IS_GRANTABLE = 'YES', 'GRANT OPTION', NULL))) \
             FROM mysql.global_priv g JOIN information_schema.USER_PRIVILEGES p \
             ON p.GRANTEE COLLATE utf8mb3_bin = CONCAT('''', g.User, '''@''', g.Host, '''') \
             UNION ALL SELECT JSON_OBJECT('key', CONCAT(User, '@', Host), 'user', User, 'at', 'database', 'db', Db, \
             'privileges', CONCAT_WS(',', IF(Select_priv = 'Y', 'SELECT', NULL), IF(Insert_priv = 'Y', 'INSERT', NULL), \
             IF(Update_priv = 'Y', 'UPDATE', NULL), IF(Delete_priv = 'Y', 'DELETE', NULL), \
             IF(Create_priv = 'Y', 'CREATE', NULL), IF(Drop_priv = 'Y', 'DROP', NULL), \
             IF(Grant_priv = 'Y', 'GRANT OPTION', NULL), IF(References_priv = 'Y', 'REFERENCES', NULL), \
             IF(Index_priv = 'Y', 'INDEX', NULL), IF(Alter_priv = 'Y', 'ALTER', NULL), \
             IF(Create_tmp_table_priv = 'Y', 'CREATE TEMPORARY TABLES', NULL), \
             IF(Lock_tables_priv = 'Y', 'LOCK TABLES', NULL), IF(Create_view_priv = 'Y', 'CREATE VIEW', NULL), \
             IF(Show_view_priv = 'Y', 'SHOW VIEW', NULL), IF(Create_routine_priv = 'Y', 'CREATE ROUTINE', NULL), \
             IF(Alter_routine_priv = 'Y', 'ALTER ROUTINE', NULL), IF(Execute_priv = 'Y', 'EXECUTE', NULL), \
             IF(Event_priv = 'Y', 'EVENT', NULL), IF(Trigger_priv = 'Y', 'TRIGGER', NULL), \
             IF(Delete_history_priv = 'Y', 'DELETE HISTORY', NULL))) FROM mysql.db \
             UNION ALL SELECT JSON_OBJECT('key', CONCAT(User, '@', Host), 'user', User, 'at', 'table', 'db', Db, \
             'name', Table_name, 'privileges', CAST(Table_priv AS CHAR)) FROM mysql.tables_priv WHERE Table_priv <> '' \
             UNION ALL SELECT JSON_OBJECT('key', CONCAT(User, '@', Host), 'user', User, 'at', 'column', 'db', Db, \
             'name', Table_name, 'column', Column_name, 'privileges', CAST(Column_priv AS CHAR)) FROM mysql.columns_priv \
             UNION ALL SELECT JSON_OBJECT('key', CONCAT(User, '@', Host), 'user', User, 'at', 'routine', 'db', Db, \
             'name', Routine_name, 'kind', CAST(Routine_type AS CHAR), 'privileges', CAST(Proc_priv AS CHAR)) \
             FROM mysql.procs_priv \
             UNION ALL SELECT JSON_OBJECT('key', CONCAT(User, '@', Host), 'user', User, 'at', 'role', 'name', Role) \
             FROM mysql.roles_mapping \
             UNION ALL SELECT JSON_OBJECT('key', CONCAT(User, '@', Host), 'user', User, 'at', 'proxy', 'name', Proxied_user, \
             'host', Proxied_host) FROM mysql.proxies_priv",
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
        for (level, privileges) in &self.on {
            for privilege in privileges {
                check(level, privilege)?;
            }
        }
        let mut found = MariadbGrant {
            user: self.user.clone(),
            host: self.host.clone(),
            exact: self.exact,
            ..MariadbGrant::default()
        };
        let mut exists = false;
        for row in rows {
            if text(row, "user") == Some(&self.user) {
                // Every user has a row of the server level: `USAGE` where it has no rights there. Rights without one are
                // left over from a user who is gone.
                exists |= need(row, "at")? == "server";
                found.read_row(row)?;
            }
        }
        found.others.sort_by(|a, b| a.level.cmp(&b.level));
        Ok(exists.then_some(found))
    }

    fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        let mut fields = Vec::new();
        for (name, level, wanted, has) in self.levels(found) {
            let same = if self.takes_away() {
                has == wanted
            } else {
                has.is_superset(&wanted)
            };
            fields.push(Field {
                name: Cow::Owned(name.to_owned()),
                from: level.shown(&has),
                to: level.shown(&wanted),
                same: if same { Same::Yes } else { Same::No },
                impact: Impact::None,
            });
        }
        let Some(found) = found else { return fields };
        for (name, level, has) in self.undeclared(found) {
            if let Some(shown) = level.shown(has) {
                fields.push(Field::extra(name.to_owned(), shown, Impact::None));
            }
        }
        if self.takes_away() {
            for other in &found.others {
                let shown = joined(&other.privileges);
                fields.push(Field::extra(other.level.clone(), shown, Impact::None));
            }
        }
        fields
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        let mut steps = Vec::new();
        for (_, level, wanted, has) in self.levels(found) {
            let missing: BTreeSet<String> = wanted.difference(&has).cloned().collect();
            let extra: BTreeSet<String> = has.difference(&wanted).cloned().collect();
            if !missing.is_empty() {
                steps.push(self.grant(&level, &missing));
            }
            if self.takes_away() && !extra.is_empty() {
                steps.push(self.revoke(&level, &extra));
            }
        }
        let Some(found) = found.filter(|_| self.takes_away()) else {
            return steps;
        };
        for (_, level, has) in self.undeclared(found) {
            steps.push(self.revoke(&level, has));
        }
        for other in &found.others {
            for revoke in &other.revokes {
                let sql = format!("REVOKE {revoke} FROM {};", self.account());
                let says = format!("revoke {} on {}", joined(&other.privileges), other.level);
                steps.push(Step::sql_alone(says, Text::plain(sql)));
            }
        }
        steps
    }

    fn awaits(&self, found: Option<&Self>) -> Vec<Awaited> {
        let lacking = self.levels(found).filter(|(_, level, wanted, has)| {
            needs_table(level, wanted) && wanted.difference(has).next().is_some()
        });
        lacking
            .map(|(name, ..)| Awaited {
                question: TABLES,
                key: name.to_owned(),
                noun: "table",
            })
            .collect()
    }

    fn without(&self, missing: &[Awaited], found: Option<&Self>) -> Self {
        let mut part = self.clone();
        for Awaited { key, .. } in missing {
            // What is had on a table that was dropped stays.
            let has = found.and_then(|found| found.on.get(key));
            let has = has.cloned().unwrap_or_default();
            let Some((level, wanted)) = Level::parse(key).zip(self.on.get(key)) else {
                continue;
            };
            let kept: BTreeSet<String> = level.expand(wanted).intersection(&has).cloned().collect();
            if kept.is_empty() {
                part.on.remove(key);
            } else {
                part.on.insert(key.clone(), kept);
            }
        }
        part
    }

    fn named(key: &str) -> Option<Self> {
        let (user, host) = split_account(key)?;
        Some(MariadbGrant {
            user,
            host,
            exact: true,
            ..MariadbGrant::default()
        })
    }

    fn remove(&self) -> Removal {
        if is_ours(&self.user, &self.host) {
            return Removal::Forget;
        }
        // The user may be gone by then, and its rights with it.
        let revoke = format!(
            "REVOKE ALL PRIVILEGES, GRANT OPTION FROM {}",
            self.account()
        );
        let text = |text: &str| literal(Dialect::MariaDb, text);
        let sql = format!(
            "SET @provision_do = IF((SELECT COUNT(*) FROM mysql.global_priv WHERE User = {} AND Host = {}) = 0, 'DO 0', {}); \
             EXECUTE IMMEDIATE @provision_do;",
            text(&self.user),
            text(&self.host),
            text(&revoke)
        );
        Removal::Steps(vec![Step::sql_alone("revoke all rights", Text::plain(sql))])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Do;

    const ROWS: &str = r#"
{"key": "django_user@%", "user": "django_user", "at": "server", "privileges": "PROCESS"}
{"key": "django_user@%", "user": "django_user", "at": "server", "privileges": "FILE"}
{"key": "django_user@%", "user": "django_user", "at": "database", "db": "iact_ivr", "privileges": "SELECT"}
{"key": "django_user@%", "user": "django_user", "at": "database", "db": "iact\\_ivr", "privileges": "SELECT,INSERT,UPDATE,DELETE,CREATE,DROP,REFERENCES,INDEX,ALTER,CREATE TEMPORARY TABLES,LOCK TABLES,CREATE VIEW,SHOW VIEW,CREATE ROUTINE,ALTER ROUTINE,EXECUTE,EVENT,TRIGGER,DELETE HISTORY"}
{"key": "django_user@%", "user": "django_user", "at": "table", "db": "iact_ivr", "name": "t", "privileges": "Insert,Grant,Show view,Delete versioning rows"}
{"key": "django_user@%", "user": "django_user", "at": "column", "db": "iact_ivr", "name": "t", "column": "id", "privileges": "Select"}
{"key": "django_user@%", "user": "django_user", "at": "routine", "db": "iact_ivr", "name": "p", "kind": "PROCEDURE", "privileges": "Execute"}
{"key": "django_user@%", "user": "django_user", "at": "role", "name": "r1"}
"#;

    fn grant(on: &[(&str, &[&str])]) -> MariadbGrant {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        MariadbGrant {
            on: on
                .iter()
                .map(|(level, names)| ((*level).to_owned(), set(names)))
                .collect(),
            ..MariadbGrant::named("django_user@%").expect("an account")
        }
    }

    fn look(wanted: &MariadbGrant, rows: &str) -> (Vec<String>, Vec<String>) {
        let found = wanted
            .read(&super::super::mariadb::rows(rows))
            .expect("it can be read");
        let fields = wanted.fields(found.as_ref());
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        let fields = fields.iter().filter(|field| field.differs()).map(|field| {
            format!(
                "{}: {} > {}",
                field.name,
                shown(&field.from),
                shown(&field.to)
            )
        });
        let steps = wanted.steps(found.as_ref());
        let steps = steps.iter().map(|step| match &step.does {
            Do::Sql { text, .. } => text.shown(),
            other => panic!("{other:?}"),
        });
        (fields.collect(), steps.collect())
    }

    #[test]
    fn rights_are_exact() {
        let wanted = grant(&[
            ("*.*", &["PROCESS", "FILE", "USAGE"]),
            ("iact_ivr.*", &["ALL", "SELECT"]),
            ("iact_ivr.t", &["INSERT"]),
        ]);
        let (fields, steps) = look(&wanted, ROWS);
        assert_eq!(
            fields,
            [
                "iact_ivr.t: DELETE HISTORY, GRANT OPTION, INSERT, SHOW VIEW > INSERT",
                "iact_ivr.* (pattern): SELECT > -",
                "iact_ivr.p (procedure): EXECUTE > -",
                "iact_ivr.t (id): SELECT > -",
                "role r1: MEMBER > -",
            ]
        );
        assert_eq!(
            steps,
            [
                "REVOKE DELETE HISTORY, GRANT OPTION, SHOW VIEW ON `iact_ivr`.`t` FROM `django_user`@`%`;",
                "REVOKE SELECT ON `iact_ivr`.* FROM `django_user`@`%`;",
                "REVOKE EXECUTE ON PROCEDURE `iact_ivr`.`p` FROM `django_user`@`%`;",
                "REVOKE SELECT (`id`) ON `iact_ivr`.`t` FROM `django_user`@`%`;",
                "REVOKE `r1` FROM `django_user`@`%`;",
            ]
        );
    }

    #[test]
    fn rights_beside_the_declared_ones_stay_where_they_may() {
        let mut wanted = grant(&[("iact_ivr.*", &["SELECT"]), ("other.*", &["ALL"])]);
        wanted.exact = false;
        let (fields, steps) = look(&wanted, ROWS);
        assert_eq!(fields, ["other.*: - > ALL"]);
        assert_eq!(steps.len(), 1);
    }

    #[test]
    fn a_grant_is_written_escaped_and_makes_no_user() {
        let user = r#"{"key": "django_user@%", "user": "django_user", "at": "server", "privileges": "USAGE"}"#;
        let wanted = grant(&[("iact_ivr.*", &["ALL", "GRANT OPTION"])]);
        let (fields, steps) = look(&wanted, user);
        assert_eq!(fields, ["iact_ivr.*: - > ALL, GRANT OPTION"]);
        assert_eq!(
            steps,
            [
                "SET @provision_mode = @@SESSION.sql_mode, SESSION sql_mode = 'NO_AUTO_CREATE_USER'; \
              GRANT ALL ON `iact\\_ivr`.* TO `django_user`@`%` WITH GRANT OPTION; SET SESSION sql_mode = @provision_mode;"
            ]
        );
        assert_eq!(look(&grant(&[]), user), (Vec::new(), Vec::new()));
    }

    #[test]
    fn rights_of_a_user_who_is_gone_are_none() {
        let left = r#"{"key": "django_user@%", "user": "django_user", "at": "table", "db": "iact_ivr", "name": "t", "privileges": "Select"}"#;
        let found = grant(&[]).read(&super::super::mariadb::rows(left));
        assert!(found.expect("it can be read").is_none());
    }

    #[test]
    fn the_rights_of_our_own_account_are_never_taken_away() {
        let root =
            r#"{"key": "root@localhost", "user": "root", "at": "server", "privileges": "SUPER"}"#;
        let mut wanted = grant(&[("iact_ivr.*", &["SELECT"])]);
        (wanted.user, wanted.host) = ("root".to_owned(), "localhost".to_owned());
        let (_, steps) = look(&wanted, root);
        assert!(steps.iter().all(|sql| !sql.contains("REVOKE")));
        assert!(matches!(wanted.remove(), Removal::Forget));
    }

    #[test]
    fn a_right_that_cannot_be_had_is_said() {
        assert_eq!(check("iact_ivr.*", "all privileges"), Ok(()));
        assert_eq!(check("*.*", "REPLICATION CLIENT"), Ok(()));
        assert!(check("iact_ivr.*", "FILE").is_err_and(|why| why.contains("wider")));
        assert!(check("iact_ivr.t", "SELEKT").is_err());
        for level in ["iact_ivr", "*.t", ".*", "a.", ""] {
            assert!(check(level, "SELECT").is_err(), "{level}");
        }
    }
}
