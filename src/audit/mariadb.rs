//! What a MariaDB server has that nobody declared.

use std::sync::Arc;

use serde_json::Value;

use super::{Audit, Finding, Looked, Severity, rows};
use crate::command::{Ask, Dialect, Place, Question, Row, Rows, Seat, Server};
use crate::quote::identifier;
use crate::resource::{Kind, Thing};
use crate::resources::mariadb_grant::MariadbGrant;

/// Accounts that come with the server, and that only it can use, or nobody.
const OWN: &[&str] = &["mariadb.sys@localhost", "mysql@localhost", "root@localhost"];

/// What runs with the rights of an account that is not there: it fails when somebody uses it. The server's own routines are left out.
pub(super) const QUESTION: Question = Question {
    name: "mariadb_definers",
    ask: Ask::MariaDb(
        "SELECT JSON_OBJECT('key', o.definer, 'name', CONCAT(o.sort, ' ', o.db, '.', o.name)) FROM ( \
         SELECT definer, LOWER(type) sort, db, name FROM mysql.proc \
         UNION ALL SELECT definer, 'event', db, name FROM mysql.event \
         UNION ALL SELECT DEFINER, 'view', TABLE_SCHEMA, TABLE_NAME FROM information_schema.VIEWS \
         UNION ALL SELECT DEFINER, 'trigger', TRIGGER_SCHEMA, TRIGGER_NAME FROM information_schema.TRIGGERS) o \
         LEFT JOIN mysql.global_priv g ON o.definer COLLATE utf8mb3_bin IN (CONCAT(g.User, '@', g.Host), g.User) \
         WHERE g.User IS NULL AND o.db NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema')",
    ),
};

pub(super) fn findings(looked: &Looked<'_>, server: &Arc<Server>, audit: &mut Audit) {
    let place = Place::Sql(Arc::clone(server), None);
    let service = server.service.as_str();
    if let Some(rows) = rows(looked, &place, "mariadb_user", service, audit) {
        for (name, row) in each(rows) {
            audit.findings.extend(account(looked, server, name, row));
            audit.findings.extend(unknown_attributes(server, name, row));
        }
    }
    if let Some(rows) = rows(looked, &place, "mariadb_role", service, audit) {
        for name in rows.keys() {
            audit.findings.extend(role(looked, server, name));
        }
    }
    if let Some(rows) = rows(looked, &place, QUESTION.name, service, audit) {
        for (name, row) in each(rows) {
            audit.findings.push(without_definer(server, name, row));
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
        audit
            .findings
            .extend(public(looked, server, rows.of("PUBLIC@")));
    }
}

fn declares_role(looked: &Looked<'_>, server: &Arc<Server>, name: &str) -> bool {
    declares(looked, server, |thing| match thing {
        Thing::MariadbGrant(grant) => grant.host.is_empty() && grant.user == name,
        _ => false,
    })
}

/// A role that nobody declared. `PUBLIC` is a row of its own where it has rights.
fn role(looked: &Looked<'_>, server: &Arc<Server>, name: &str) -> Option<Finding> {
    if name == "PUBLIC" || declares_role(looked, server, name) {
        return None;
    }
    let service = server.service.as_str();
    let drop = format!("DROP ROLE {};", identifier(Dialect::MariaDb, name));
    Some(Finding::known(
        Severity::Medium,
        "mariadb_role",
        (service, name),
        format!("`{service}` has a role `{name}` that nobody declared"),
        format!("declare it, or `{drop}` (`provision shell ENV {service}`)"),
    ))
}

/// What everybody may do who can log in at all.
fn public(looked: &Looked<'_>, server: &Arc<Server>, rows: &[Row]) -> Option<Finding> {
    if rows.is_empty() || declares_role(looked, server, "PUBLIC") {
        return None;
    }
    let everybody = MariadbGrant::named("PUBLIC@")?;
    let found = everybody.read(rows).ok()?;
    let fields = everybody.fields(found.as_ref()).into_iter();
    let rights: Vec<String> = fields
        .filter_map(|field| Some(format!("{} on {}", field.from?, field.name)))
        .collect();
    if rights.is_empty() {
        return None;
    }
    let service = server.service.as_str();
    Some(Finding::known(
        Severity::High,
        "mariadb_public",
        (service, "PUBLIC"),
        format!(
            "in `{service}` every account has rights that nobody declared: {}",
            rights.join("; ")
        ),
        format!(
            "declare them under `[mariadb.{service}.role.PUBLIC]`, or `REVOKE` them `FROM PUBLIC` (`provision shell ENV {service}`)"
        ),
    ))
}

/// Attributes of an account that are not compared since no version that is known has them.
fn unknown_attributes(server: &Arc<Server>, name: &str, row: &Row) -> Option<Finding> {
    // The server writes this list as a text.
    let names: Vec<String> = serde_json::from_str(text(row, "rest")).ok()?;
    if names.is_empty() {
        return None;
    }
    let service = server.service.as_str();
    Some(Finding::known(
        Severity::Medium,
        "mariadb_attributes",
        (service, name),
        format!(
            "in `{service}` the account `{name}` has attributes that are not compared: {}",
            names.join(", ")
        ),
        format!("see `SHOW CREATE USER` (`provision shell ENV {service}`)"),
    ))
}

/// What runs with the rights of an account that is gone.
fn without_definer(server: &Arc<Server>, definer: &str, row: &Row) -> Finding {
    let service = server.service.as_str();
    let what = text(row, "name");
    Finding::known(
        Severity::Medium,
        "mariadb_definer",
        (service, what),
        format!(
            "in `{service}` the {what} runs with the rights of `{definer}`, which is not there: using it fails"
        ),
        "declare that account, or define it anew with another `DEFINER`",
    )
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
        Thing::MariadbUser(account) => {
            account.user == user && account.host.eq_ignore_ascii_case(host)
        }
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
    let quoted = |name| identifier(Dialect::MariaDb, name);
    let shown = format!("{}@{}", quoted(user), quoted(host));
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
        Thing::MariadbGrant(grant) => grant.key() == name,
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
