//! What the kinds of MariaDB share: account names and how rows are read.

use serde_json::Value;

use crate::command::{Dialect, Row};
use crate::quote::identifier;

/// A name between backticks.
pub(super) fn ident(name: &str) -> String {
    identifier(Dialect::MariaDb, name)
}

/// An account as SQL. Backticks, not string quotes: they read the same under every `sql_mode`.
/// A role has no host.
pub(super) fn account(user: &str, host: &str) -> String {
    if host.is_empty() {
        return ident(user);
    }
    format!("{}@{}", ident(user), ident(&host.to_lowercase()))
}

/// An account as a key. The server keeps hosts in lower case.
pub(super) fn account_key(user: &str, host: &str) -> String {
    format!("{user}@{}", host.to_lowercase())
}

/// User and host of a key; a user's name may hold an `@`, a host may not.
pub(super) fn split_account(key: &str) -> Option<(String, String)> {
    let (user, host) = key.rsplit_once('@')?;
    Some((user.to_owned(), host.to_owned()))
}

/// Whether this is the account we come in as. Whatever a file says, it keeps its way in and its rights: without them nobody
/// could ever give them back.
pub(super) fn is_ours(user: &str, host: &str) -> bool {
    user == "root" && host.eq_ignore_ascii_case("localhost")
}

/// A text member of a row; `None` if it is absent or null.
pub(super) fn text<'a>(row: &'a Row, member: &str) -> Option<&'a str> {
    row.get(member).and_then(Value::as_str)
}

/// A text member that a row must have.
pub(super) fn need<'a>(row: &'a Row, member: &str) -> Result<&'a str, String> {
    text(row, member).ok_or_else(|| format!("the server's answer has no `{member}`"))
}

/// A whole number, also where the server wrote it as text or as a boolean.
pub(super) fn int(row: &Row, member: &str) -> Option<i64> {
    match row.get(member)? {
        Value::Number(number) => number.as_i64(),
        Value::Bool(value) => Some((*value).into()),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// Rows as the real server sent them, for the tests of the kinds.
#[cfg(test)]
pub(super) fn rows(lines: &str) -> Vec<Row> {
    lines
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).expect("a row is a JSON object"))
        .collect()
}
