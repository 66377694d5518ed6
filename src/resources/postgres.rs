//! What the kinds of PostgreSQL have in common: reading rows, quoting, and how the server writes values of its settings.

pub mod server_rights;

use serde_json::Value;

use crate::command::{Dialect, Row};
use crate::ledger;
use crate::quote;

/// An identifier.
pub fn ident(name: &str) -> String {
    quote::identifier(Dialect::Postgres, name)
}

/// A string literal.
pub fn literal(text: &str) -> String {
    quote::literal(Dialect::Postgres, text)
}

/// A block of PL/pgSQL that runs at once.
pub fn block(body: &str) -> String {
    format!("DO {};\n", literal(body))
}

/// A text of a row.
///
/// # Errors
/// The column is missing or no text.
pub fn text<'a>(row: &'a Row, column: &str) -> Result<&'a str, String> {
    row.get(column)
        .and_then(Value::as_str)
        .ok_or_else(|| unreadable(column))
}

/// A text of a row that may be null.
pub fn maybe_text<'a>(row: &'a Row, column: &str) -> Option<&'a str> {
    row.get(column).and_then(Value::as_str)
}

/// A boolean of a row.
///
/// # Errors
/// The column is missing or no boolean.
pub fn boolean(row: &Row, column: &str) -> Result<bool, String> {
    row.get(column)
        .and_then(Value::as_bool)
        .ok_or_else(|| unreadable(column))
}

/// A whole number of a row.
///
/// # Errors
/// The column is missing or no whole number.
pub fn integer(row: &Row, column: &str) -> Result<i64, String> {
    row.get(column)
        .and_then(Value::as_i64)
        .ok_or_else(|| unreadable(column))
}

/// An array of a row; null is an empty one.
pub fn array<'a>(row: &'a Row, column: &str) -> &'a [Value] {
    row.get(column)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// Takes what had another name out of the ledger, where there is one: it is not ours under that name any more.
pub fn forget(kind: &str, old: &str) -> String {
    let forget = ledger::forget(Dialect::Postgres, &ledger::id(kind, old));
    block(&format!(
        "BEGIN IF pg_catalog.to_regclass('provision.entry') IS NOT NULL THEN {forget} END IF; END"
    ))
}

fn unreadable(column: &str) -> String {
    format!("the server's answer has no usable `{column}`")
}

/// Settings whose items PostgreSQL itself quotes: one literal that holds a comma would become one item.
const QUOTED_LISTS: &[&str] = &[
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// Whether PostgreSQL quotes each item of a setting by itself.
pub fn is_quoted_list(name: &str) -> bool {
    QUOTED_LISTS
        .iter()
        .any(|list| name.eq_ignore_ascii_case(list))
}

/// The right-hand side of `SET name = ...`: each item a literal where the setting is a list.
pub fn assigned(name: &str, items: &[String], list: bool) -> String {
    let quoted = is_quoted_list(name);
    let items: Vec<String> = match (quoted, list) {
        (true, _) => items.iter().flat_map(|item| split(item)).collect(),
        (false, true) => items.to_vec(),
        (false, false) => vec![items.join(", ")],
    };
    let items: Vec<String> = items.iter().map(|item| literal(item)).collect();
    if items.is_empty() {
        return literal("");
    }
    items.join(", ")
}

/// The items of a list as PostgreSQL reads one: separated by commas, blanks around them taken off, quotes removed.
pub fn split(list: &str) -> Vec<String> {
    let mut items = Vec::new();
    let mut item = String::new();
    let mut quoted = false;
    let mut chars = list.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                item.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => items.push(std::mem::take(&mut item)),
            c if c.is_ascii_whitespace() && !quoted && item.is_empty() => {}
            c => item.push(c),
        }
    }
    items.push(item);
    items
        .into_iter()
        .map(|item| item.trim_end().to_owned())
        .filter(|item| !item.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_split_as_the_server_does() {
        assert_eq!(split("a, b"), ["a", "b"]);
        assert_eq!(split(r#""$user", public"#), ["$user", "public"]);
        assert_eq!(split(r#""a,b","c""d""#), ["a,b", "c\"d"]);
        assert!(split(r#""""#).is_empty());
        assert!(split("").is_empty());
    }

    #[test]
    fn a_comma_in_one_text_still_makes_two_libraries() {
        let one = ["pg_stat_statements, auto_explain".to_owned()];
        assert_eq!(
            assigned("shared_preload_libraries", &one, false),
            "E'pg_stat_statements', E'auto_explain'"
        );
        assert_eq!(
            assigned("DateStyle", &["ISO, DMY".to_owned()], false),
            "E'ISO, DMY'"
        );
    }
}
