//! `.env` files and `${VARIABLES}`, as Compose and the usual libraries read them.

use std::collections::BTreeMap;

use crate::import::account::{Account, Key};

/// An assignment.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// The variable.
    pub name: String,
    /// What it is; variables in it are replaced.
    pub value: String,
    /// Its key in the account.
    pub key: Key,
}

/// The assignments of a text, each a key of the account; a line that is none is one that is left.
pub fn read(text: &str, shown: &str, account: &mut Account) -> Vec<Assignment> {
    let mut found: Vec<Assignment> = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let plain = trimmed
            .strip_prefix("export ")
            .unwrap_or(trimmed)
            .trim_start();
        let Some((name, rest)) = plain
            .split_once('=')
            .map(|(name, rest)| (name.trim(), rest))
        else {
            let key = account.add(shown, at + 1, "line");
            account.left(key, "no assignment `NAME=value`");
            continue;
        };
        let key = account.add(shown, at + 1, name);
        if !is_name(name) {
            account.left(key, "this is no name of a variable");
            continue;
        }
        let rest = rest.trim_start();
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
        let value = match quote {
            None => {
                let end = rest
                    .find(" #")
                    .or_else(|| rest.find("\t#"))
                    .unwrap_or(rest.len());
                let bare = rest.get(..end).unwrap_or_default().trim_end();
                Some(if rest.starts_with('#') { "" } else { bare }.to_owned())
            }
            Some(quote) => {
                let mut body = rest.get(1..).unwrap_or_default().to_owned();
                // A quoted value may go on over lines; a quote that is never closed spoils its own line only.
                let mut further = lines.clone();
                while closing(&body, quote).is_none() {
                    let Some((_, next)) = further.next() else {
                        break;
                    };
                    body.push('\n');
                    body.push_str(next);
                }
                if closing(&body, quote).is_some() {
                    lines = further;
                }
                closing(&body, quote).map(|end| body.get(..end).unwrap_or_default().to_owned())
            }
        };
        let Some(value) = value else {
            account.left(key, "its quote is never closed");
            continue;
        };
        let value = match quote {
            Some('\'') => value,
            quote => {
                let value = if quote.is_some() {
                    unescaped(&value)
                } else {
                    value
                };
                let known: BTreeMap<&str, &str> = found
                    .iter()
                    .map(|one| (one.name.as_str(), one.value.as_str()))
                    .collect();
                match expand(&value, &|name| {
                    known.get(name).map(|text| (*text).to_owned())
                }) {
                    Ok(expanded) => expanded.text,
                    Err(_) => value,
                }
            }
        };
        // As with Compose, the last of a name holds.
        if let Some(before) = found.iter().position(|one| one.name == name) {
            let before = found.remove(before);
            account.noted(before.key, format!("line {} says otherwise", at + 1));
        }
        found.push(Assignment {
            name: name.to_owned(),
            value,
            key,
        });
    }
    found
}

/// Whether a variable may be called so.
pub fn is_name(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit())
}

fn closing(body: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in body.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote == '"' => escaped = true,
            c if c == quote => return Some(at),
            _ => {}
        }
    }
    None
}

fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some('t') => out.push('\t'),
                Some('$') => out.push_str("$$"),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            (c, false) => out.push(c),
        }
    }
    out
}

/// A text whose variables were replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expanded {
    /// What it became.
    pub text: String,
    /// The variables that it names.
    pub names: Vec<String>,
    /// Those of them that nobody set and that have no default.
    pub unset: Vec<String>,
    /// The one variable that it is as a whole, as `${NAME}` or `${NAME:-default}`.
    pub only: Option<String>,
}

/// How deep variables may stand within variables.
const DEEPEST: usize = 20;

/// Replaces `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME-default}`, `${NAME:?message}`, `${NAME:+other}`; `$$` is a dollar sign.
///
/// # Errors
/// What is wrong with it, without its value.
pub fn expand(text: &str, known: &dyn Fn(&str) -> Option<String>) -> Result<Expanded, String> {
    expand_at(text, known, 0)
}

fn expand_at(
    text: &str,
    known: &dyn Fn(&str) -> Option<String>,
    depth: usize,
) -> Result<Expanded, String> {
    if depth > DEEPEST {
        return Err(format!(
            "variables stand more than {DEEPEST} deep in one another"
        ));
    }
    let mut out = Expanded::default();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.text.push_str(rest.get(..at).unwrap_or_default());
        let after = rest.get(at + 1..).unwrap_or_default();
        if let Some(after) = after.strip_prefix('$') {
            out.text.push('$');
            rest = after;
            continue;
        }
        if let Some(inside) = after.strip_prefix('{') {
            let end = matching(inside).ok_or("a `${` is never closed")?;
            let body = inside.get(..end).unwrap_or_default();
            braced(body, known, depth, &mut out)?;
            let whole = at == 0 && end + 3 == text.len() && text.len() == rest.len();
            rest = inside.get(end + 1..).unwrap_or_default();
            if whole {
                out.only = out.names.first().cloned();
            }
            continue;
        }
        let end = after
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(after.len());
        let name = after.get(..end).unwrap_or_default();
        if !is_name(name) {
            out.text.push('$');
            rest = after;
            continue;
        }
        let whole = at == 0 && name.len() + 1 == text.len();
        take(name, known, &mut out);
        if whole {
            out.only = Some(name.to_owned());
        }
        rest = after.get(end..).unwrap_or_default();
    }
    out.text.push_str(rest);
    Ok(out)
}

/// The brace that ends what was opened.
fn matching(inside: &str) -> Option<usize> {
    let mut open = 1usize;
    for (at, c) in inside.char_indices() {
        match c {
            '{' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(at);
        }
    }
    None
}

fn take(name: &str, known: &dyn Fn(&str) -> Option<String>, out: &mut Expanded) {
    out.names.push(name.to_owned());
    match known(name) {
        Some(value) => out.text.push_str(&value),
        None => out.unset.push(name.to_owned()),
    }
}

fn braced(
    body: &str,
    known: &dyn Fn(&str) -> Option<String>,
    depth: usize,
    out: &mut Expanded,
) -> Result<(), String> {
    let end = body
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(body.len());
    let (name, operator) = body.split_at(end);
    if !is_name(name) {
        return Err("`${...}` holds no name of a variable".to_owned());
    }
    let (empty_counts, operator) = match operator.strip_prefix(':') {
        Some(operator) => (true, operator),
        None => (false, operator),
    };
    let value = known(name).filter(|value| !(empty_counts && value.is_empty()));
    let mut chars = operator.chars();
    let sign = chars.next();
    let word = chars.as_str();
    match sign {
        None if !empty_counts => take(name, known, out),
        Some('-') => {
            out.names.push(name.to_owned());
            match value {
                Some(value) => out.text.push_str(&value),
                None => {
                    let inner = expand_at(word, known, depth + 1)?;
                    out.text.push_str(&inner.text);
                    out.names.extend(inner.names);
                    out.unset.extend(inner.unset);
                }
            }
        }
        Some('?') => {
            out.names.push(name.to_owned());
            match value {
                Some(value) => out.text.push_str(&value),
                None => out.unset.push(name.to_owned()),
            }
        }
        Some('+') => {
            out.names.push(name.to_owned());
            if value.is_some() {
                let inner = expand_at(word, known, depth + 1)?;
                out.text.push_str(&inner.text);
                out.names.extend(inner.names);
                out.unset.extend(inner.unset);
            }
        }
        _ => {
            return Err(format!(
                "`${{{name}...}}` has an operator that Compose does not know"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_others_read_them() {
        let text = "# c\nexport A=b # c\nB = 'x # $A'\nC=\"a\\n$A\"\nD=\nE=\"two\nlines\"\nnonsense\nF=${A}/$A/${N:-d}\nA=again\n1X=2\n";
        let mut account = Account::default();
        let all = read(text, ".env", &mut account);
        let get = |name: &str| {
            all.iter()
                .find(|one| one.name == name)
                .map(|one| one.value.clone())
        };
        assert_eq!(get("B").as_deref(), Some("x # $A"));
        assert_eq!(get("C").as_deref(), Some("a\nb"));
        assert_eq!(get("D").as_deref(), Some(""));
        assert_eq!(get("E").as_deref(), Some("two\nlines"));
        assert_eq!(get("F").as_deref(), Some("b/b/d"));
        assert_eq!(get("A").as_deref(), Some("again"));
        assert_eq!(account.items().len(), 9);
        assert_eq!(
            account.count().left,
            8 - 1 + 1,
            "pending ones count as left until somebody uses them"
        );
    }

    #[test]
    fn variables_are_replaced() {
        let known = |name: &str| match name {
            "A" => Some("a".to_owned()),
            "E" => Some(String::new()),
            _ => None,
        };
        for (text, becomes) in [
            ("$A-${A}", "a-a"),
            ("${N:-x}", "x"),
            ("${E:-x}", "x"),
            ("${E-x}", ""),
            ("${N:-${A}b}", "ab"),
            ("${A:+y}${N:+z}", "y"),
            ("$$A $", "$A $"),
            ("${A:?must}", "a"),
            ("${N}", ""),
        ] {
            assert_eq!(expand(text, &known).unwrap().text, becomes, "{text}");
        }
        assert_eq!(expand("${N:?must}", &known).unwrap().unset, ["N"]);
        assert_eq!(expand("${N}", &known).unwrap().only.as_deref(), Some("N"));
        assert_eq!(
            expand("${A:-${N}}", &known).unwrap().only.as_deref(),
            Some("A")
        );
        assert_eq!(expand("x${A}", &known).unwrap().only, None);
        for bad in ["${A", "${}", "${A%x}"] {
            assert!(expand(bad, &known).is_err(), "{bad}");
        }
    }
}
