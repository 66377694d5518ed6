//! `mariadb_grant`: all rights of one MariaDB user or role, the roles it is a member of, and its default role.
//!
//! The server keeps the database of a right as a *pattern*: `iact_ivr` there also opens `iactXivr`. We always write it
//! escaped; one that was written as a pattern is another right than the declared one, whatever it looks like.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::mariadb::{account, account_key, ident, int, is_ours, need, split_account, text};
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

/// What `ALL` gives on a routine.
const ON_ROUTINE: &[&str] = &["ALTER ROUTINE", "EXECUTE"];

/// The privileges that can be had on columns.
const ON_COLUMN: &[&str] = &["INSERT", "REFERENCES", "SELECT", "UPDATE"];

/// The privileges of the server level by their bit in `global_priv.Priv`, as MariaDB 10.11 keeps them.
const BITS: [&str; 39] = [
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "CREATE",
    "DROP",
    "RELOAD",
    "SHUTDOWN",
    "PROCESS",
    "FILE",
    GRANT_OPTION,
    "REFERENCES",
    "INDEX",
    "ALTER",
    "SHOW DATABASES",
    "SUPER",
    "CREATE TEMPORARY TABLES",
    "LOCK TABLES",
    "EXECUTE",
    "REPLICATION SLAVE",
    "BINLOG MONITOR",
    "CREATE VIEW",
    "SHOW VIEW",
    "CREATE ROUTINE",
    "ALTER ROUTINE",
    "CREATE USER",
    "EVENT",
    "TRIGGER",
    "CREATE TABLESPACE",
    "DELETE HISTORY",
    "SET USER",
    "FEDERATED ADMIN",
    "CONNECTION ADMIN",
    "READ_ONLY ADMIN",
    "REPLICATION SLAVE ADMIN",
    "REPLICATION MASTER ADMIN",
    "BINLOG ADMIN",
    "BINLOG REPLAY",
    "SLAVE MONITOR",
];

/// All rights of one MariaDB user or role.
#[derive(Clone, Debug, Default)]
pub struct MariadbGrant {
    /// Its name.
    pub user: String,
    /// The host, empty for a role; key is `user@host`.
    pub host: String,
    /// The user and host it had.
    pub was: Option<(String, String)>,
    /// Privileges by `*.*`, `database.*`, `database.table` or `procedure database.name` as declared (literal names). `ALL` stays
    /// `ALL`; `GRANT OPTION` is a member, and so is `SELECT (column)`.
    pub on: BTreeMap<String, BTreeSet<String>>,
    /// Whether rights that are not declared are taken away.
    pub exact: bool,
    /// The roles it is a member of; of a found one also whether it may grant them.
    pub roles: BTreeMap<String, bool>,
    /// The role that holds from its login on.
    pub default_role: Option<String>,
    /// Of a found one: rights that no declaration can mean (patterns, proxies).
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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Server,
    Database(String),
    Table(String, String),
    /// The sort of routine, its database and its name.
    Routine(&'static str, String, String),
}

/// The sorts of routines, the longer words first.
const ROUTINES: [&str; 4] = ["PACKAGE BODY", "PACKAGE", "PROCEDURE", "FUNCTION"];

/// The name at the start of a text, between backticks or up to a dot, and what follows.
fn part(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('`') else {
        let end = text.find('.').unwrap_or(text.len());
        let (name, rest) = text.split_at_checked(end)?;
        return Some((name.to_owned(), rest));
    };
    let mut name = String::new();
    loop {
        let (before, after) = rest.split_once('`')?;
        name.push_str(before);
        match after.strip_prefix('`') {
            Some(more) => {
                name.push('`');
                rest = more;
            }
            None => return Some((name, after)),
        }
    }
}

/// The last name of a level: all that is left, with or without backticks.
fn last_part(text: &str) -> Option<String> {
    if !text.starts_with('`') {
        return (!text.is_empty()).then(|| text.to_owned());
    }
    part(text).and_then(|(name, rest)| rest.is_empty().then_some(name))
}

/// A name in a level, between backticks where it would be read otherwise.
fn name_in_level(name: &str, ends: bool) -> String {
    let dotted = !ends && name.contains('.');
    if dotted || name == "*" || name.starts_with('`') || name.contains(' ') {
        return ident(name);
    }
    name.to_owned()
}

impl Level {
    fn parse(text: &str) -> Option<Self> {
        if text == "*.*" {
            return Some(Level::Server);
        }
        for sort in ROUTINES {
            let head = text.get(..sort.len());
            let rest = text.get(sort.len()..).and_then(|rest| rest.strip_prefix(' '));
            if let (Some(head), Some(rest)) = (head, rest)
                && head.eq_ignore_ascii_case(sort)
            {
                let (database, name) = part(rest.trim_start())?;
                let name = last_part(name.strip_prefix('.')?)?;
                let whole = !database.is_empty() && name != "*" && database != "*";
                return whole.then_some(Level::Routine(sort, database, name));
            }
        }
        // A database's name may hold dots where nothing else follows.
        if let Some(database) = text.strip_suffix(".*").filter(|text| !text.contains('`')) {
            let whole = !database.is_empty() && database != "*";
            return whole.then(|| Level::Database(database.to_owned()));
        }
        let (database, rest) = part(text)?;
        let rest = rest.strip_prefix('.')?;
        if database.is_empty() || (database == "*" && !text.starts_with('`')) {
            return None;
        }
        if rest == "*" {
            return Some(Level::Database(database));
        }
        Some(Level::Table(database, last_part(rest)?))
    }

    /// As it is declared: read again, it is the same.
    fn name(&self) -> String {
        match self {
            Level::Server => "*.*".to_owned(),
            Level::Database(database) => {
                let quoted = database.contains([' ', '`']) || database == "*";
                let name = if quoted { ident(database) } else { database.clone() };
                format!("{name}.*")
            }
            Level::Table(database, table) => format!(
                "{}.{}",
                name_in_level(database, false),
                name_in_level(table, true)
            ),
            Level::Routine(sort, database, name) => format!(
                "{} {}.{}",
                sort.to_lowercase(),
                name_in_level(database, false),
                name_in_level(name, true)
            ),
        }
    }

    fn database(&self) -> Option<&str> {
        match self {
            Level::Server => None,
            Level::Database(database)
            | Level::Table(database, _)
            | Level::Routine(_, database, _) => Some(database),
        }
    }

    /// The same level as the server keeps it: `folds` says that it keeps databases and tables in lower case; routines it always does.
    fn folded(&self, folds: bool) -> Self {
        let fold = |name: &String| match folds {
            true => name.to_lowercase(),
            false => name.clone(),
        };
        match self {
            Level::Server => Level::Server,
            Level::Database(database) => Level::Database(fold(database)),
            Level::Table(database, table) => Level::Table(fold(database), fold(table)),
            Level::Routine(sort, database, name) => {
                Level::Routine(sort, fold(database), name.to_lowercase())
            }
        }
    }

    fn sql(&self) -> String {
        match self {
            Level::Server => "*.*".to_owned(),
            Level::Database(database) => format!("{}.*", grant_pattern(database)),
            Level::Table(database, table) => format!("{}.{}", ident(database), ident(table)),
            Level::Routine(sort, database, name) => {
                format!("{sort} {}.{}", ident(database), ident(name))
            }
        }
    }

    fn all(&self) -> BTreeSet<String> {
        let lists: &[&[&str]] = match self {
            Level::Server => &[ON_TABLE, ON_DATABASE, ON_SERVER],
            Level::Database(_) => &[ON_TABLE, ON_DATABASE],
            Level::Table(..) => &[ON_TABLE],
            Level::Routine(..) => &[ON_ROUTINE],
        };
        let names = lists.iter().flat_map(|list| list.iter());
        names.map(|name| (*name).to_owned()).collect()
    }

    /// The privileges that a declaration means: `ALL` in full, old names as the new ones, `USAGE` as nothing.
    fn expand(&self, privileges: &BTreeSet<String>) -> BTreeSet<String> {
        let mut set = BTreeSet::new();
        for privilege in privileges {
            let (name, columns) = columns(privilege);
            let name = canonical(name);
            match name.as_str() {
                _ if columns.is_some() => {
                    let columns = columns.unwrap_or_default().into_iter();
                    set.extend(columns.map(|column| on_column(&name, &column)));
                }
                ALL => set.extend(self.all()),
                "USAGE" => {}
                _ => {
                    set.insert(name);
                }
            }
        }
        set
    }

    /// The privileges in few words; `None` for none.
    fn shown(&self, privileges: &BTreeSet<String>) -> Option<String> {
        let all = self.all();
        let mut words: Vec<String> = Vec::new();
        let rest = if privileges.is_superset(&all) {
            words.push(ALL.to_owned());
            privileges.difference(&all).cloned().collect()
        } else {
            privileges.clone()
        };
        if !rest.is_empty() {
            words.push(listed(&rest, str::to_owned));
        }
        (!words.is_empty()).then(|| words.join(", "))
    }
}

/// The columns of a privilege as declared: `SELECT (id, total)`. `None`: it is one of the whole level.
fn columns(privilege: &str) -> (&str, Option<Vec<String>>) {
    let Some((name, list)) = privilege.split_once('(') else {
        return (privilege, None);
    };
    let Some(mut rest) = list.trim_end().strip_suffix(')') else {
        return (name, Some(Vec::new()));
    };
    let mut columns = Vec::new();
    loop {
        rest = rest.trim_start();
        if rest.starts_with('`') {
            let Some((column, after)) = part(rest) else {
                return (name, Some(Vec::new()));
            };
            columns.push(column);
            rest = after.trim_start();
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            columns.push(rest.get(..end).unwrap_or_default().trim().to_owned());
            rest = rest.get(end..).unwrap_or_default();
        }
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None if rest.is_empty() => return (name, Some(columns)),
            None => return (name, Some(Vec::new())),
        }
    }
}

/// A privilege on one column, as it is compared: the server's names of columns have no case.
fn on_column(name: &str, column: &str) -> String {
    format!("{name} ({})", column.to_lowercase())
}

/// A privilege and its column, of one that is compared.
fn split_column(privilege: &str) -> (&str, Option<&str>) {
    match privilege.split_once(" (") {
        Some((name, column)) => (name, column.strip_suffix(')')),
        None => (privilege, None),
    }
}

/// Privileges as a list, the columns of one together.
fn listed(privileges: &BTreeSet<String>, column: fn(&str) -> String) -> String {
    let mut by_name: BTreeMap<(&str, bool), Vec<String>> = BTreeMap::new();
    for privilege in privileges {
        let (name, of) = split_column(privilege);
        let columns = by_name.entry((name, of.is_some())).or_default();
        columns.extend(of.map(column));
    }
    let words = by_name.into_iter().map(|((name, _), columns)| match &*columns {
        [] => name.to_owned(),
        columns => format!("{name} ({})", columns.join(", ")),
    });
    words.collect::<Vec<_>>().join(", ")
}

/// Privileges as SQL.
fn joined(privileges: &BTreeSet<String>) -> String {
    listed(privileges, ident)
}

/// The database that a level as declared is in; none for all.
pub fn database_of(level: &str) -> Option<String> {
    Level::parse(level)?.database().map(str::to_owned)
}

/// A level as declared, its names in lower case.
pub fn in_lower_case(level: &str) -> String {
    Level::parse(level).map_or_else(|| level.to_owned(), |parsed| parsed.folded(true).name())
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
            "`{level}` is none of `*.*`, `database.*`, `database.table`, `procedure database.name` and `function database.name`"
        ));
    };
    let (name, columns) = columns(privilege);
    let name = canonical(name);
    if let Some(columns) = columns {
        return check_columns(&parsed, privilege, &name, &columns);
    }
    if [ALL, GRANT_OPTION, "USAGE"].contains(&name.as_str()) || parsed.all().contains(&name) {
        return Ok(());
    }
    Err(if Level::Server.all().contains(&name) {
        format!("`{name}` cannot be had on `{level}`, only on a wider level")
    } else {
        format!("`{privilege}` is no privilege of MariaDB 10.11")
    })
}

fn check_columns(
    level: &Level,
    privilege: &str,
    name: &str,
    columns: &[String],
) -> Result<(), String> {
    if !matches!(level, Level::Table(..)) {
        return Err(format!(
            "`{privilege}` needs a table: columns are of `database.table`"
        ));
    }
    if !ON_COLUMN.contains(&name) {
        return Err(format!(
            "`{name}` cannot be had on columns, only {}",
            ON_COLUMN.join(", ")
        ));
    }
    if columns.is_empty() || columns.iter().any(String::is_empty) {
        return Err(format!("`{privilege}` is not a list as in `{name} (id, total)`"));
    }
    Ok(())
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

/// How levels that were found are called: as they are declared, where the server means the same by both.
struct Names {
    folds: bool,
    declared: BTreeMap<Level, String>,
}

impl Names {
    fn new<'a>(levels: impl Iterator<Item = &'a String>, folds: bool) -> Result<Self, String> {
        let mut declared = BTreeMap::new();
        for name in levels {
            let Some(level) = Level::parse(name) else {
                continue;
            };
            if let Some(first) = declared.insert(level.folded(folds), name.clone()) {
                return Err(format!(
                    "`{first}` and `{name}` are the same for this server, which ignores the case of these names"
                ));
            }
        }
        Ok(Names { folds, declared })
    }

    fn of(&self, level: &Level) -> String {
        let declared = self.declared.get(&level.folded(self.folds));
        declared.cloned().unwrap_or_else(|| level.name())
    }
}

impl MariadbGrant {
    fn account(&self) -> String {
        account(&self.user, &self.host)
    }

    /// Whether it is a role: those have no host.
    fn is_role(&self) -> bool {
        self.host.is_empty()
    }

    /// The rights of the account we come in as are never taken away.
    fn takes_away(&self) -> bool {
        self.exact && !is_ours(&self.user, &self.host)
    }

    fn other(&mut self, level: String, privileges: BTreeSet<String>, on: &str) {
        if !privileges.is_empty() {
            let revokes = vec![format!("{} ON {on}", joined(&privileges))];
            self.others.push(Other {
                level,
                privileges,
                revokes,
            });
        }
    }

    fn read_row(&mut self, row: &Row, names: &Names) -> Result<(), String> {
        let privileges = split(text(row, "privileges").unwrap_or_default());
        let level = match need(row, "at")? {
            "server" => Level::Server,
            "access" => {
                let bits = int(row, "access").unwrap_or(0);
                let held = BITS.iter().enumerate();
                let held = held.filter(|(bit, _)| bits >> bit & 1 == 1);
                let held = held.map(|(_, name)| (*name).to_owned()).collect();
                return self.add(&Level::Server, held, names);
            }
            "database" => {
                let stored = need(row, "db")?;
                let Some(database) = literal_database(stored) else {
                    let on = format!("{}.*", ident(stored));
                    self.other(format!("{stored}.* (pattern)"), privileges, &on);
                    return Ok(());
                };
                Level::Database(database)
            }
            "table" => Level::Table(need(row, "db")?.to_owned(), need(row, "name")?.to_owned()),
            "column" => {
                let column = need(row, "column")?;
                let of = privileges.iter().map(|name| on_column(name, column));
                let level =
                    Level::Table(need(row, "db")?.to_owned(), need(row, "name")?.to_owned());
                return self.add(&level, of.collect(), names);
            }
            "routine" => {
                let kind = need(row, "kind")?;
                let known = ROUTINES.into_iter().find(|sort| *sort == kind);
                let sort = known.ok_or("the server names an unknown sort of routine")?;
                let (database, name) = (need(row, "db")?, need(row, "name")?);
                Level::Routine(sort, database.to_owned(), name.to_owned())
            }
            "role" => {
                let grants = text(row, "admin") == Some("Y");
                self.roles.insert(need(row, "name")?.to_owned(), grants);
                return Ok(());
            }
            "default" => {
                self.default_role = Some(need(row, "name")?.to_owned());
                return Ok(());
            }
            "proxy" => {
                let (user, host) = (need(row, "name")?, need(row, "host")?);
                self.other(
                    format!("proxy for {user}@{host}"),
                    BTreeSet::from(["PROXY".to_owned()]),
                    &account(user, host),
                );
                return Ok(());
            }
            _ => return Err("the server answered with an unknown sort of right".to_owned()),
        };
        self.add(&level, privileges, names)
    }

    fn add(
        &mut self,
        level: &Level,
        privileges: BTreeSet<String>,
        names: &Names,
    ) -> Result<(), String> {
        if !privileges.is_empty() {
            let name = names.of(level);
            self.on.entry(name).or_default().extend(privileges);
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
        let list = if names == all {
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
        Step::sql_alone(
            format!("grant {shown} on {}", level.name()),
            Text::plain(sql),
        )
    }

    fn revoke(&self, level: &Level, extra: &BTreeSet<String>) -> Step {
        let sql = format!(
            "REVOKE {} ON {} FROM {};",
            joined(extra),
            level.sql(),
            self.account()
        );
        let shown = level.shown(extra).unwrap_or_default();
        Step::sql_alone(
            format!("revoke {shown} on {}", level.name()),
            Text::plain(sql),
        )
    }

    /// From what it has on a level to what it should have.
    fn mend(&self, level: &Level, wanted: &BTreeSet<String>, has: &BTreeSet<String>) -> Vec<Step> {
        let mut missing: BTreeSet<String> = wanted.difference(has).cloned().collect();
        let extra: BTreeSet<String> = match self.takes_away() {
            true => has.difference(wanted).cloned().collect(),
            false => BTreeSet::new(),
        };
        // A privilege that is taken from a table is taken from its columns, too: those are granted again, afterwards.
        let anew: Vec<&String> = wanted
            .iter()
            .filter(|one| matches!(split_column(one), (name, Some(_)) if extra.contains(name)))
            .collect();
        let revokes_first = !anew.is_empty();
        missing.extend(anew.into_iter().cloned());
        let grant = (!missing.is_empty()).then(|| self.grant(level, &missing));
        let revoke = (!extra.is_empty()).then(|| self.revoke(level, &extra));
        match revokes_first {
            true => revoke.into_iter().chain(grant).collect(),
            false => grant.into_iter().chain(revoke).collect(),
        }
    }

    /// Roles it should be a member of and is not, and roles that it is a member of and should not, or that it may grant.
    fn memberships(&self, found: Option<&Self>) -> Vec<Field> {
        let none = BTreeMap::new();
        let has = found.map_or(&none, |found| &found.roles);
        let mut fields = Vec::new();
        let words = |grants: &bool| if *grants { "member, may grant it" } else { "member" };
        for role in self.roles.keys() {
            let found = has.get(role).map(|grants| match self.takes_away() {
                true => words(grants).to_owned(),
                false => words(&false).to_owned(),
            });
            fields.push(Field::new(format!("role {role}"), found, "member", Impact::None));
        }
        for (role, grants) in has.iter().filter(|_| self.takes_away()) {
            if !self.roles.contains_key(role) {
                let name = format!("role {role}");
                fields.push(Field::extra(name, words(grants), Impact::None));
            }
        }
        fields
    }

    fn membership(&self, field: &Field) -> Option<Step> {
        let role = field.name.strip_prefix("role ")?;
        let (role, account) = (ident(role), self.account());
        let (says, sql) = match (&field.from, &field.to) {
            (None, _) => ("make it a member of", format!("GRANT {role} TO {account};")),
            (_, None) => (
                "take its membership in",
                format!("REVOKE {role} FROM {account};"),
            ),
            _ => (
                "take its right to grant",
                format!("REVOKE ADMIN OPTION FOR {role} FROM {account};"),
            ),
        };
        Some(Step::sql_alone(format!("{says} {role}"), Text::plain(sql)))
    }

    /// Its default role, which stays set when the membership is revoked.
    fn default_field(&self, found: Option<&Self>) -> Option<Field> {
        let found = found.and_then(|found| found.default_role.clone());
        match &self.default_role {
            _ if self.is_role() => None,
            Some(wanted) => Some(Field::new("default_role", found, wanted, Impact::None)),
            None => found
                .filter(|_| self.takes_away())
                .map(|found| Field::extra("default_role", found, Impact::None)),
        }
    }

    fn set_default(&self) -> Step {
        let role = self.default_role.as_deref();
        let role = role.map_or_else(|| "NONE".to_owned(), ident);
        let sql = format!("SET DEFAULT ROLE {role} FOR {};", self.account());
        Step::sql_alone("set the default role", Text::plain(sql))
    }
}

impl Kind for MariadbGrant {
    const NAME: &'static str = "mariadb_grant";
    const QUESTION: Question = Question {
        name: "mariadb_grant",
        ask: Ask::MariaDb(
            "SELECT JSON_OBJECT('key', CONCAT(g.User, '@', g.Host), 'user', g.User, 'at', 'server', 'folds', @@lower_case_table_names, \
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
             UNION ALL SELECT JSON_OBJECT('key', CONCAT(User, '@', Host), 'user', User, 'at', 'access', \
             'access', JSON_VALUE(Priv, '$.access'), 'folds', @@lower_case_table_names) \
             FROM mysql.global_priv WHERE JSON_VALUE(Priv, '$.is_role') = 1 \
             UNION ALL SELECT JSON_OBJECT('key', CONCAT(User, '@', Host), 'user', User, 'at', 'default', \
             'name', JSON_VALUE(Priv, '$.default_role')) FROM mysql.global_priv \
             WHERE JSON_VALUE(Priv, '$.default_role') <> '' \
             UNION ALL SELECT JSON_OBJECT('key', CONCAT(User, '@', Host), 'user', User, 'at', 'role', 'name', Role, \
             'admin', CAST(Admin_option AS CHAR)) FROM mysql.roles_mapping \
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
        let folds = rows.iter().any(|row| int(row, "folds") > Some(0));
        let names = Names::new(self.on.keys(), folds)?;
        // `PUBLIC` is always there, whether it has a row or not.
        let mut exists = self.is_role() && self.user == "PUBLIC";
        for row in rows {
            if text(row, "user") == Some(&self.user) {
                // Every account has a row of the server level: `USAGE` where it has no rights there. Rights without one are
                // left over from an account that is gone.
                exists |= ["server", "access"].contains(&need(row, "at")?);
                found.read_row(row, &names)?;
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
        fields.extend(self.memberships(found));
        fields.extend(self.default_field(found));
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
        let levels = self.levels(found);
        let mut steps: Vec<Step> = levels
            .flat_map(|(_, level, wanted, has)| self.mend(&level, &wanted, &has))
            .collect();
        let memberships = self.memberships(found).into_iter();
        let differing = memberships.filter(Field::differs);
        steps.extend(differing.filter_map(|field| self.membership(&field)));
        // Only of roles that it is a member of by now.
        if self
            .default_field(found)
            .is_some_and(|field| field.differs())
        {
            steps.push(self.set_default());
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

    fn waits_for(&self, found: Option<&Self>) -> Vec<Awaited> {
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
                "iact_ivr.t: DELETE HISTORY, GRANT OPTION, INSERT, SELECT (id), SHOW VIEW > INSERT",
                "role r1: member > -",
                "procedure iact_ivr.p: EXECUTE > -",
                "iact_ivr.* (pattern): SELECT > -",
            ]
        );
        assert_eq!(
            steps,
            [
                "REVOKE DELETE HISTORY, GRANT OPTION, SELECT (`id`), SHOW VIEW ON `iact_ivr`.`t` FROM `django_user`@`%`;",
                "REVOKE `r1` FROM `django_user`@`%`;",
                "REVOKE EXECUTE ON PROCEDURE `iact_ivr`.`p` FROM `django_user`@`%`;",
                "REVOKE SELECT ON `iact_ivr`.* FROM `django_user`@`%`;",
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
    fn columns_routines_and_folded_names_are_exact() {
        let rows = r#"
{"key": "django_user@%", "user": "django_user", "at": "server", "privileges": "USAGE", "folds": 1}
{"key": "django_user@%", "user": "django_user", "at": "table", "db": "shop", "name": "orders", "privileges": "Select"}
{"key": "django_user@%", "user": "django_user", "at": "column", "db": "shop", "name": "orders", "column": "ID", "privileges": "Select,Update"}
{"key": "django_user@%", "user": "django_user", "at": "routine", "db": "shop", "name": "p", "kind": "PROCEDURE", "privileges": "Execute"}
{"key": "django_user@%", "user": "django_user", "at": "default", "name": "r1"}
"#;
        let same = grant(&[
            ("Shop.Orders", &["select", "SELECT (id)", "UPDATE (Id)"]),
            ("PROCEDURE Shop.P", &["EXECUTE"]),
        ]);
        let (fields, steps) = look(&same, rows);
        assert_eq!(fields, ["default_role: r1 > -"]);
        assert_eq!(steps, ["SET DEFAULT ROLE NONE FOR `django_user`@`%`;"]);
        // What is taken from the table is taken from its columns, too.
        let wanted = grant(&[
            ("Shop.Orders", &["SELECT (id, `total sum`)"]),
            ("procedure Shop.p", &["ALL"]),
        ]);
        let (_, steps) = look(&wanted, rows);
        assert_eq!(
            steps[..2],
            [
                "REVOKE SELECT, UPDATE (`id`) ON `Shop`.`Orders` FROM `django_user`@`%`;",
                "SET @provision_mode = @@SESSION.sql_mode, SESSION sql_mode = 'NO_AUTO_CREATE_USER'; \
                 SET @provision_do = IF(EXISTS (SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'Shop' AND TABLE_NAME = 'Orders'), \
                 'GRANT SELECT (`id`, `total sum`) ON `Shop`.`Orders` TO `django_user`@`%`', 'DO 0'); EXECUTE IMMEDIATE @provision_do; \
                 SET SESSION sql_mode = @provision_mode;"
            ]
        );
        let twice = grant(&[("Shop.*", &["SELECT"]), ("shop.*", &["SELECT"])]);
        assert!(twice.read(&super::super::mariadb::rows(rows)).is_err());
    }

    #[test]
    fn levels_read_again_are_the_same() {
        for text in ["*.*", "a b.*", "my.db.*", "`my.db`.t", "`a``b`.`c d`", "package body a.b", "a.b.c"] {
            let level = Level::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(Level::parse(&level.name()), Some(level), "{text}");
        }
        assert!(check("a.t", "DELETE (id)").is_err());
        assert!(check("a.*", "SELECT (id)").is_err());
        assert!(check("a.t", "SELECT (id,)").is_err());
        assert!(check("function a.f", "SELECT").is_err());
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
