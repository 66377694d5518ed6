//! Which texts may be names: allow-lists, so that nothing behind them has to escape.

use std::net::SocketAddr;

use crate::declaration::Type;

/// The tables whose entries are services.
pub(super) const SERVICES: [&str; 3] = ["postgres", "mariadb", "django"];

/// Characters that a reader cannot see, or that turn the order of what is seen.
pub(super) fn invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A name of ours.
pub(super) fn name(text: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    let ok = text.len() <= 48
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(plain);
    rule(
        ok,
        "a name is at most 48 of `a` to `z`, `0` to `9`, `_` and `-`, and begins with a letter",
    )
}

/// A user or group of a machine, as Debian's `useradd` takes it, and every tool after it: no number, no option, no list.
pub(super) fn user(text: &str) -> Result<(), String> {
    let body = text.strip_suffix('$').unwrap_or(text);
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let ok = text.len() <= 32
        && body.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && body.chars().all(plain);
    rule(
        ok,
        "a user or group is at most 32 letters, digits, `_`, `-` and `.`, begins with a letter or `_`, and may end with `$`",
    )
}

/// A name inside a database or a system.
pub(super) fn identifier(text: &str) -> Result<(), String> {
    let ok = (1..=63).contains(&text.len())
        && text.trim() == text
        && !text
            .chars()
            .any(|c| invisible(c) || matches!(c, '/' | '\\' | '\'' | '"' | '`'));
    rule(
        ok,
        "it is 1 to 63 bytes of printable characters without `/`, quotes and backslashes",
    )
}

/// A name inside a PostgreSQL server: whatever the server takes, as long as people can see it.
pub(super) fn postgres(text: &str) -> Result<(), String> {
    if text.len() > 63 {
        return Err(format!(
            "it has {} bytes, and PostgreSQL cuts a name off after 63",
            text.len()
        ));
    }
    rule(
        !text.is_empty() && text.trim() == text && !text.chars().any(invisible),
        "it is 1 to 63 bytes without control characters, spaces at its ends and others that nobody can see",
    )
}

/// A name under a table of free names; its form follows from how the table is called.
pub(super) fn of_table(table: &str, text: &str) -> Result<(), String> {
    match table.rsplit_once('.') {
        Some(("user" | "group", "NAME")) => user(text),
        Some((before, "NAME")) if !before.contains('.') => name(text),
        Some(("postgres.NAME.role" | "postgres.NAME.database", "NAME")) => postgres(text),
        Some(("mariadb.NAME.user", "NAME")) => account(text),
        Some(("mariadb.NAME.role", "NAME")) => role(text),
        Some((_, "NAME")) => identifier(text),
        Some((_, "PATH")) => absolute(text),
        _ => word(text),
    }
}

/// A key of a map of values of a type.
pub(super) fn of_map(of: &Type, text: &str) -> Result<(), String> {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    let begins = text.starts_with(letter) && text.len() <= 255;
    match of {
        Type::Template | Type::Either(Type::Template | Type::Text, _) => rule(
            begins && text.chars().all(|c| letter(c) || c.is_ascii_digit()),
            "a variable is letters, digits and `_`, and does not begin with a digit",
        ),
        Type::Setting => rule(
            begins
                && text
                    .chars()
                    .all(|c| letter(c) || c.is_ascii_digit() || c == '.' || c == '-'),
            "a setting is letters, digits, `_`, `-` and `.`, and does not begin with a digit",
        ),
        // Levels of rights: their kind says what is read in them.
        Type::List(Type::Text) => rule(
            (1..=512).contains(&text.len()) && !text.chars().any(invisible),
            "it is printable characters",
        ),
        _ => rule(
            (1..=255).contains(&text.len())
                && !text
                    .chars()
                    .any(|c| invisible(c) || matches!(c, '\\' | '\'' | '"' | '`')),
            "it is printable characters without quotes and backslashes",
        ),
    }
}

/// A user of MariaDB: `NAME@HOST`, or only a name. The server takes any characters that its `utf8mb3` has.
fn account(text: &str) -> Result<(), String> {
    let (user, host) = text.rsplit_once('@').unwrap_or((text, "%"));
    let fits = |text: &str, most: usize| text.chars().count() <= most && carried(text);
    rule(
        fits(user, 128) && fits(host, 255) && !host.is_empty() && host.trim() == host,
        "it is a name of at most 128 and a host of at most 255 printable characters, none of them beyond U+FFFF",
    )
}

/// A role of MariaDB.
fn role(text: &str) -> Result<(), String> {
    let fits = (1..=128).contains(&text.chars().count()) && carried(text) && text.trim() == text;
    let reserved = ["none", "current_role", "current_user"].contains(&&*text.to_lowercase());
    rule(
        fits && !reserved,
        "it is 1 to 128 printable characters, none of them beyond U+FFFF, and no word of SQL such as `NONE`",
    )
}

/// Whether MariaDB can keep a name: characters of at most three bytes.
fn carried(text: &str) -> bool {
    !text.chars().any(|c| invisible(c) || c > '\u{ffff}')
}

/// `ADDRESS:PORT`.
pub(super) fn listen(text: &str) -> Result<(), String> {
    if text
        .parse::<SocketAddr>()
        .is_ok_and(|address| address.port() > 0)
    {
        return Ok(());
    }
    Err(match text.parse::<u16>() {
        Ok(port) if port > 0 => format!("did you mean `127.0.0.1:{port}`?"),
        _ => match text.strip_prefix("localhost:").map(str::parse::<u16>) {
            Some(Ok(port)) if port > 0 => format!("did you mean `127.0.0.1:{port}`?"),
            _ => "it is an IP address and a port from 1 to 65535, as in `127.0.0.1:8000` or `[::1]:8000`".to_owned(),
        },
    })
}

/// `TABLE.NAME`.
pub(super) fn service(text: &str) -> Result<(), String> {
    let form = || {
        format!(
            "a service is `TABLE.NAME`, as in `postgres.analytics`; the tables are {}",
            SERVICES.join(", ")
        )
    };
    let (table, own) = text.split_once('.').ok_or_else(form)?;
    if !SERVICES.contains(&table) {
        return Err(crate::error::nearest(table, SERVICES)
            .map_or_else(form, |close| format!("did you mean `{close}.{own}`?")));
    }
    name(own)
}

fn absolute(text: &str) -> Result<(), String> {
    let ok = text.starts_with('/')
        && text.len() <= 4096
        && !text.chars().any(invisible)
        && !text.split('/').any(|part| part == "." || part == "..");
    rule(
        ok,
        "it is an absolute path without `.` and `..`, as in `\"/etc/motd\"`",
    )
}

fn word(text: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || ":_.@%+-".contains(c);
    let ok = (1..=255).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(plain);
    rule(ok, "it is letters, digits and `: _ . @ % + -`")
}

fn rule(ok: bool, rule: &str) -> Result<(), String> {
    if ok { Ok(()) } else { Err(rule.to_owned()) }
}
