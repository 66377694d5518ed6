//! Which account of a MariaDB server answers a login, and what it lets its user do, both as declared.
//!
//! The server goes through its accounts from the most specific host to the least, a named user before the anonymous one of the
//! same host, and takes the first that fits the name and the address. Only the password of that account counts.

use core::net::Ipv4Addr;
use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::resources::mariadb_grant::{MariadbGrant, database_of};

/// Where a connection comes from, as the server sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// Its own machine, over the loopback address; whether the server makes `localhost` of that.
    Loopback {
        /// `skip_name_resolve` is off.
        resolves: bool,
    },
    /// An address that nobody here knows, and that is not the server's own.
    Elsewhere,
}

/// Whether an account is for connections from somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fits {
    Yes,
    No,
    Unknown,
}

/// A user and a host.
pub(super) type Account<'a> = (&'a str, &'a str);

/// Accounts that a server has by itself.
const OWN: [Account<'static>; 3] = [
    ("root", "localhost"),
    ("mysql", "localhost"),
    ("mariadb.sys", "localhost"),
];

/// Privileges on `*.*` that open every database; the others are about the server.
const OPENS: &[&str] = &[
    "ALL",
    "ALL PRIVILEGES",
    "ALTER",
    "ALTER ROUTINE",
    "CREATE",
    "CREATE ROUTINE",
    "CREATE TEMPORARY TABLES",
    "CREATE VIEW",
    "DELETE",
    "DELETE HISTORY",
    "DELETE VERSIONING ROWS",
    "DROP",
    "EVENT",
    "EXECUTE",
    "GRANT",
    "GRANT OPTION",
    "INDEX",
    "INSERT",
    "LOCK TABLES",
    "REFERENCES",
    "SELECT",
    "SHOW VIEW",
    "TRIGGER",
    "UPDATE",
];

/// Who answers a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answers {
    /// The account itself.
    Itself,
    /// Not the account: it is not for connections from there.
    NotThere,
    /// Whether it is the account depends on an address that nobody here knows.
    Unknown,
    /// Another account, before it.
    Before(String),
    /// Perhaps another account, before it.
    PerhapsBefore(String),
}

/// Who answers when the user of an account logs in from somewhere.
pub(super) fn answers(account: Account<'_>, all: &[Account<'_>], from: From) -> Answers {
    let fits = fits(account.1, from);
    if fits == Fits::No {
        return Answers::NotThere;
    }
    let mut perhaps = None;
    for other in all.iter().chain(&OWN) {
        let of_user = other.0 == account.0 || other.0.is_empty();
        if *other == account || !of_user || rank(*other) > rank(account) {
            continue;
        }
        let name = || format!("{}@{}", other.0, other.1);
        match self::fits(other.1, from) {
            Fits::Yes => return Answers::Before(name()),
            Fits::Unknown => perhaps = perhaps.or_else(|| Some(name())),
            Fits::No => {}
        }
    }
    match (perhaps, fits) {
        (Some(other), _) => Answers::PerhapsBefore(other),
        (None, Fits::Unknown) => Answers::Unknown,
        (None, _) => Answers::Itself,
    }
}

/// The place of an account in the server's order, the first the least.
fn rank<'a>(account: Account<'a>) -> (Reverse<usize>, bool, Reverse<&'a str>) {
    (
        Reverse(specificity(account.1)),
        account.0.is_empty(),
        Reverse(account.1),
    )
}

/// How specific a host is: without a wildcard most, `%` least, and else the later the first wildcard stands.
fn specificity(host: &str) -> usize {
    const LITERAL: usize = 128;
    let mut bytes = host.bytes().enumerate().peekable();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'%' if at == 0 && host.len() == 1 => return 1,
            b'%' | b'_' => return (at + 2).min(127),
            _ => {}
        }
    }
    if host.is_empty() { 0 } else { LITERAL }
}

/// Whether connections from somewhere are for a host.
fn fits(host: &str, from: From) -> Fits {
    const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;
    if host.is_empty() || host.bytes().all(|byte| byte == b'%') {
        return Fits::Yes;
    }
    let on_loopback = match masked(host) {
        Some((network, mask)) => u32::from(LOOPBACK) & mask == network,
        None => like(host, "127.0.0.1"),
    };
    let is_local = like(host, "localhost");
    let yes = |yes| if yes { Fits::Yes } else { Fits::No };
    match from {
        From::Loopback { resolves } => yes(on_loopback || (resolves && is_local)),
        // Of these none but the server's own machine comes.
        From::Elsewhere => match host.starts_with("127.")
            || host == "::1"
            || host.eq_ignore_ascii_case("localhost")
        {
            true => Fits::No,
            false => Fits::Unknown,
        },
    }
}

/// Network and mask of `192.168.0.0/255.255.255.0`.
fn masked(host: &str) -> Option<(u32, u32)> {
    let (network, mask) = host.split_once('/')?;
    let mask = match mask.parse::<u32>() {
        Ok(bits) => u32::MAX.checked_shl(32_u32.checked_sub(bits)?).unwrap_or(0),
        Err(_) => u32::from(mask.parse::<Ipv4Addr>().ok()?),
    };
    Some((u32::from(network.parse::<Ipv4Addr>().ok()?), mask))
}

/// Whether a text is like a pattern of `%`, `_` and `\`, letters alike.
fn like(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.chars();
    match parts.next() {
        None => text.is_empty(),
        Some('%') => {
            let rest = parts.as_str();
            let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            ends.into_iter()
                .any(|at| like(rest, text.get(at..).unwrap_or_default()))
        }
        Some(one) => {
            let (one, any) = match one {
                '\\' => (parts.next().unwrap_or('\\'), false),
                '_' => ('_', true),
                one => (one, false),
            };
            let mut letters = text.chars();
            let same = letters
                .next()
                .is_some_and(|letter| any || letter.eq_ignore_ascii_case(&one));
            same && like(parts.as_str(), letters.as_str())
        }
    }
}

/// What rights open of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Nothing: the server refuses the database.
    Nothing,
    /// The database.
    Database,
    /// Some of its tables; one of them where that may be read.
    Tables(Option<String>),
}

/// What rights open of a database; `folds`: whether the server takes names in any case for the same.
pub(super) fn reach(held: &[&MariadbGrant], schema: &str, folds: bool) -> Reach {
    let mut reach = Reach::Nothing;
    for (level, privileges) in held.iter().flat_map(|rights| &rights.on) {
        match reach_of(level, privileges, schema, folds) {
            Reach::Nothing => {}
            Reach::Database => return Reach::Database,
            Reach::Tables(table) => {
                reach = match reach {
                    Reach::Tables(Some(known)) => Reach::Tables(Some(known)),
                    _ => Reach::Tables(table),
                };
            }
        }
    }
    reach
}

/// How far the rights at one level reach.
fn reach_of(level: &str, privileges: &BTreeSet<String>, schema: &str, folds: bool) -> Reach {
    let upper: Vec<String> = privileges.iter().map(|one| one.to_uppercase()).collect();
    let has = |names: &[&str]| upper.iter().any(|one| names.contains(&one.as_str()));
    let any = upper.iter().any(|one| one != "USAGE");
    let Some(database) = database_of(level) else {
        return match has(OPENS) {
            true => Reach::Database,
            false => Reach::Nothing,
        };
    };
    let same = database == schema || (folds && database.eq_ignore_ascii_case(schema));
    match level.strip_prefix(&format!("{database}.")) {
        _ if !same || !any => Reach::Nothing,
        Some("*") => Reach::Database,
        Some(table) if has(&["SELECT", "ALL", "ALL PRIVILEGES"]) => {
            Reach::Tables(Some(table.to_owned()))
        }
        // A routine, columns, or a table that may be changed and not read.
        _ => Reach::Tables(None),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    const HERE: From = From::Loopback { resolves: true };
    const NAMELESS: From = From::Loopback { resolves: false };

    /// Each line was tried on MariaDB 10.11: who logged in as `u` from 172.17.0.2 was the account on the left of the `>` while
    /// the one on its right existed, too.
    #[test]
    fn the_most_specific_host_answers() {
        for (first, second) in [
            (("u", "172.17.0.2"), ("", "172.17.0.2")),
            (("u", "172.17.0.2"), ("u", "172.17.0.0/255.255.0.0")),
            (("u", "172.17.0.0/255.255.0.0"), ("", "172.17.0.%")),
            (("", "172.17.0.2"), ("u", "172.17.0._")),
            (("", "172.17.0.2"), ("u", "172.17.%")),
            (("", "172.17.0.%"), ("u", "172.17.%")),
            (("u", "172.17.0.%"), ("", "172.17.0.%")),
            (("u", "172.17.%"), ("u", "172.%")),
            (("", "172.17.0.%"), ("u", "%")),
            (("u", "%"), ("", "%")),
        ] {
            assert!(rank(first) < rank(second), "{first:?} {second:?}");
        }
    }

    #[test]
    fn an_account_may_stand_before_another() {
        let all = [
            ("app", "localhost"),
            ("app", "%"),
            ("net", "127.0.0.0/255.0.0.0"),
            ("net", "%"),
            ("far", "10.%"),
            ("far", "%"),
            ("x", "%"),
            ("y", "127.0.0.1"),
            ("y", "%"),
            ("z", "local%"),
        ];
        let before = |name: &str| Answers::Before(name.to_owned());
        for (account, from, wanted) in [
            (("app", "localhost"), HERE, Answers::Itself),
            (("app", "%"), HERE, before("app@localhost")),
            (("app", "%"), NAMELESS, Answers::Itself),
            (("app", "localhost"), NAMELESS, Answers::NotThere),
            (("app", "%"), From::Elsewhere, Answers::Itself),
            (("app", "localhost"), From::Elsewhere, Answers::NotThere),
            (("net", "%"), HERE, before("net@127.0.0.0/255.0.0.0")),
            (("net", "127.0.0.0/255.0.0.0"), HERE, Answers::Itself),
            (("net", "%"), From::Elsewhere, Answers::Itself),
            (
                ("far", "%"),
                From::Elsewhere,
                Answers::PerhapsBefore("far@10.%".to_owned()),
            ),
            (("far", "10.%"), From::Elsewhere, Answers::Unknown),
            (("far", "10.%"), HERE, Answers::NotThere),
            (("far", "%"), HERE, Answers::Itself),
            (("y", "%"), NAMELESS, before("y@127.0.0.1")),
            (("z", "local%"), HERE, Answers::Itself),
            (("root", "%"), HERE, before("root@localhost")),
        ] {
            assert_eq!(answers(account, &all, from), wanted, "{account:?} {from:?}");
        }
        let anonymous = [("", "localhost"), ("u", "%"), ("u", "localhost")];
        assert_eq!(
            answers(("u", "%"), &anonymous[..2], HERE),
            before("@localhost")
        );
        assert_eq!(
            answers(("u", "localhost"), &anonymous, HERE),
            Answers::Itself
        );
    }

    /// As MariaDB 10.11 answered `USE` for accounts with nothing but these.
    #[test]
    fn only_some_rights_open_a_database() {
        let opened = |level: &str, privileges: &[&str]| {
            let privileges: BTreeSet<String> =
                privileges.iter().map(|one| (*one).to_owned()).collect();
            let rights = MariadbGrant {
                on: BTreeMap::from([(level.to_owned(), privileges)]),
                ..MariadbGrant::default()
            };
            reach(&[&rights], "shop", false)
        };
        for nothing in [
            "PROCESS",
            "REPLICATION SLAVE",
            "REPLICATION CLIENT",
            "SHOW DATABASES",
            "FILE",
            "SUPER",
            "CREATE USER",
            "CREATE TABLESPACE",
            "SHUTDOWN",
            "RELOAD",
            "USAGE",
            "SLAVE MONITOR",
            "BINLOG MONITOR",
        ] {
            assert_eq!(opened("*.*", &[nothing]), Reach::Nothing, "{nothing}");
        }
        for opens in [
            "ALL",
            "SELECT",
            "GRANT OPTION",
            "EXECUTE",
            "CREATE TEMPORARY TABLES",
        ] {
            assert_eq!(
                opened("*.*", &["PROCESS", opens]),
                Reach::Database,
                "{opens}"
            );
        }
        assert_eq!(opened("shop.*", &["GRANT OPTION"]), Reach::Database);
        assert_eq!(opened("shop.*", &["USAGE"]), Reach::Nothing);
        assert_eq!(opened("other.*", &["ALL"]), Reach::Nothing);
        assert_eq!(opened("shop.t", &["GRANT OPTION"]), Reach::Tables(None));
        assert_eq!(
            opened("shop.t", &["SELECT"]),
            Reach::Tables(Some("t".to_owned()))
        );
        assert_eq!(opened("Shop.t", &["SELECT"]), Reach::Nothing);
    }
}
