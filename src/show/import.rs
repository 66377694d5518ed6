//! The account of an import, for people and for programs.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::json;

use crate::import::account::{Account, Count, Outcome};

/// The account as text: first what is not carried over, then what needs nothing.
pub fn text(account: &Account, verbose: bool) -> String {
    let count = account.count();
    let mut out = String::new();
    let left = account.listed(false);
    let noted = account.listed(true);
    let width = left
        .iter()
        .chain(noted.iter().filter(|_| verbose))
        .map(|one| place(one.file, one.line).chars().count())
        .max()
        .unwrap_or(0);
    for (title, list, shown) in [
        ("not carried over", &left, true),
        ("nothing to do for", &noted, verbose),
    ] {
        if list.is_empty() || !shown {
            continue;
        }
        let _ = writeln!(out, "{title}:");
        for one in list {
            let keys = match one.keys {
                1 => String::new(),
                many => format!(" ({many} keys)"),
            };
            let _ = writeln!(
                out,
                "  {:width$}  `{}`{keys}: {}",
                place(one.file, one.line),
                clean(one.key),
                clean(one.reason)
            );
        }
        out.push('\n');
    }
    out.push_str(&summary(count));
    if count.noted > 0 && !verbose {
        out.push_str("; `-v` lists these too");
    }
    out.push_str(".\n");
    out
}

fn summary(count: Count) -> String {
    format!(
        "{}: {} used, {} not carried over, {} with nothing to do",
        keys(count.total),
        count.used,
        count.left,
        count.noted
    )
}

fn keys(number: usize) -> String {
    match number {
        1 => "1 key".to_owned(),
        many => format!("{many} keys"),
    }
}

fn place(file: &str, line: usize) -> String {
    format!("{}:{line}", clean(file))
}

fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

#[derive(Serialize)]
struct Row<'a> {
    file: &'a str,
    line: usize,
    key: &'a str,
    outcome: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// The account as JSON: every key, and how many ended how.
pub fn json(account: &Account, written: Option<&str>, secrets: &[&str]) -> String {
    let rows: Vec<Row<'_>> = account
        .items()
        .iter()
        .map(|item| {
            let (outcome, reason) = match &item.outcome {
                Outcome::Used => ("used", None),
                Outcome::Noted(reason) => ("noted", Some(reason.as_str())),
                Outcome::Left(reason) => ("left", Some(reason.as_str())),
                Outcome::Pending => ("left", None),
            };
            Row {
                file: &item.file,
                line: item.line,
                key: &item.key,
                outcome,
                reason,
            }
        })
        .collect();
    let value = json!({
        "format_version": 1,
        "written": written,
        "secrets": secrets,
        "count": account.count(),
        "keys": rows,
    });
    format!("{value:#}\n")
}
