//! What a MariaDB server has that nobody declared.

use std::sync::Arc;

use serde_json::Value;

use super::{Audit, Finding, Looked, Severity, rows};
use crate::command::{Place, Row, Rows, Seat, Server};
use crate::resource::Thing;

/// Accounts that come with the server, and that only it can use, or nobody.
const OWN: &[&str] = &["mariadb.sys@localhost", "mysql@localhost", "root@localhost"];

pub(super) fn findings(looked: &Looked<'_>, server: &Arc<Server>, audit: &mut Audit) {
    let place = Place::Sql(Arc::clone(server), None);
    let service = server.service.as_str();
    if let Some(rows) = rows(looked, &place, "mariadb_user", service, audit) {
        for (name, row) in each(rows) {
            audit.findings.extend(account(looked, server, name, row));
        }
    }
    if let Some(rows) = rows(looked, &place, "mariadb_database", service, audit) {
        for (_, row) in each(rows) {
            let name = text(row, "name");
            let is_test = name == "test" || name.starts_with("test_");
            let declared = declares(looked, server, |thing| match thing {
                Thing::MariadbDatabase(database) => database.name == name,
                _ => false,
            });
            if is_test && !declared {
                audit.findings.push(Finding::known(
                    Severity::Medium,
                    "mariadb_test_database",
                    (service, name),
                    format!("`{service}` has a database `{name}`, which any account may use where the server came with it"),
                    format!("declare it, or `DROP DATABASE` it and the rights on it in `mysql.db` (`provision shell ENV {service}`)"),
                ));
            }
        }
    }
    if let Some(rows) = rows(looked, &place, "mariadb_grant", service, audit) {
        for (name, row) in each(rows) {
            audit.findings.extend(pattern(looked, server, name, row));
        }
    }
}

fn each(rows: &Rows) -> Vec<(&str, &Row)> {
    let keys = rows.keys().into_iter();
    keys.flat_map(|key| rows.of(key).iter().map(move |row| (key, row)))
        .collect()
}

fn text<'a>(row: &'a Row, key: &str) -> &'a str {
    row.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn declares(looked: &Looked<'_>, server: &Arc<Server>, is: impl Fn(&Thing) -> bool) -> bool {
    let there = looked.resources.iter().filter(|one| match &one.place {
        Place::Sql(of, _) => of == server,
        _ => false,
    });
    there.into_iter().any(|resource| is(&resource.thing))
}

fn account(looked: &Looked<'_>, server: &Arc<Server>, name: &str, row: &Row) -> Option<Finding> {
    let service = server.service.as_str();
    let (user, host) = (text(row, "user"), text(row, "host"));
    let declared = declares(looked, server, |thing| match thing {
        Thing::MariadbUser(account) => account.user == user && account.host == host,
        _ => false,
    });
    let locked = matches!(text(row, "locked"), "1" | "true")
        || row.get("locked") == Some(&Value::Bool(true));
    let local = matches!(host, "localhost" | "127.0.0.1" | "::1");
    // The image's own health check, which may do nothing else.
    let healthcheck = server.seat == Seat::Container && user == "healthcheck" && local;
    let own = OWN.contains(&name) || (user == server.superuser && local) || healthcheck;
    if declared || locked || own {
        return None;
    }
    let shown = format!("'{user}'@'{host}'");
    let drop = format!("declare it, or `DROP USER {shown}` (`provision shell ENV {service}`)");
    let (severity, kind, says) = if user.is_empty() {
        let says = format!(
            "`{service}` has an anonymous account at `{host}`: whoever comes from there is let in"
        );
        (Severity::High, "mariadb_anonymous", says)
    } else if user == "root" || user == server.superuser {
        let says = format!("`{service}` lets its superuser `{user}` in from `{host}`");
        (Severity::High, "mariadb_superuser", says)
    } else if host.contains('%') {
        let says = format!(
            "`{service}` has an account `{name}` that nobody declared, open to every host that `{host}` fits"
        );
        (Severity::High, "mariadb_account", says)
    } else {
        let says = format!("`{service}` has an account `{name}` that nobody declared");
        (Severity::Medium, "mariadb_account", says)
    };
    Some(Finding::known(severity, kind, (service, name), says, drop))
}

/// A right on a pattern that somebody took for a name. Those of declared accounts are compared right by right.
fn pattern(looked: &Looked<'_>, server: &Arc<Server>, name: &str, row: &Row) -> Option<Finding> {
    let database = text(row, "db");
    let other = also_opens(database).filter(|_| text(row, "at") == "database")?;
    let declared = declares(looked, server, |thing| match thing {
        Thing::MariadbGrant(grant) => format!("{}@{}", grant.user, grant.host) == name,
        _ => false,
    });
    if declared {
        return None;
    }
    let service = server.service.as_str();
    let what = format!("{name}/{database}");
    Some(Finding::known(
        Severity::Medium,
        "mariadb_pattern",
        (service, &what),
        format!(
            "in `{service}` the rights of `{name}` on `{database}` also hold for `{other}`: `_` stands for any character"
        ),
        format!(
            "grant on `{}` instead, and revoke this one",
            database.replace('_', "\\_")
        ),
    ))
}

/// Another database that a pattern opens too, where it was written like a name.
fn also_opens(pattern: &str) -> Option<String> {
    let mut other = String::new();
    let (mut escaped, mut open) = (false, false);
    for c in pattern.chars() {
        match c {
            _ if escaped => {
                other.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '_' => {
                other.push('X');
                open = true;
            }
            // A real pattern was meant.
            '%' => return None,
            c => other.push(c),
        }
    }
    open.then_some(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_a_pattern_is_seen() {
        assert_eq!(also_opens("iact_ivr"), Some("iactXivr".to_owned()));
        assert_eq!(also_opens("iact\\_ivr"), None);
        assert_eq!(also_opens("iact\\_ivr_x"), Some("iact_ivrXx".to_owned()));
        assert_eq!(also_opens("test\\_%"), None);
        assert_eq!(also_opens("iact"), None);
    }
}
