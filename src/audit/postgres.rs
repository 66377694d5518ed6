//! What a PostgreSQL server has that nobody declared.

use std::sync::Arc;

use serde_json::Value;

use super::{Audit, Finding, Looked, Severity, rows};
use crate::command::{Ask, Place, Question, Row, Seat, Server};
use crate::resource::{Id, Thing};
use crate::resources::hba::Rule;
use crate::resources::postgres_hba::PostgresHba;

/// The rules as the server reads them.
pub(super) const QUESTION: Question = Question {
    name: "audit_postgres",
    ask: Ask::PostgresServer(
        "SELECT 'hba' AS key, line_number AS line, type, array_to_string(database, ',') AS database, \
         array_to_string(user_name, ',') AS role, address, netmask, auth_method AS method, error, \
         concat_ws(' ', type, to_json(database), to_json(user_name), address, netmask, auth_method) AS viewed, \
         current_setting('hba_file') AS file FROM pg_hba_file_rules ORDER BY line_number",
    ),
};

pub(super) fn findings(looked: &Looked<'_>, server: &Arc<Server>, audit: &mut Audit) {
    let place = Place::Sql(Arc::clone(server), None);
    let service = server.service.as_str();
    roles(looked, &place, server, audit);
    let managed = matches!(server.seat, Seat::Network { .. });
    // Who is no superuser may not read the rules of a managed server.
    if !managed && let Some(rows) = rows(looked, &place, QUESTION.name, service, audit) {
        match declared_rules(looked, server) {
            // Declared rules are all there may be: each other one is told as what differs of them.
            Some((id, _)) if looked.plan.changes.iter().any(|change| change.id == *id) => {}
            Some((_, hba)) => audit
                .findings
                .extend(read_otherwise(hba, rows.of("hba"), service)),
            None => {
                let findings = rows.of("hba").iter().filter_map(|row| rule(row, server));
                audit.findings.extend(findings);
            }
        }
    }
    let settings = rows(looked, &place, "postgres_setting", service, audit);
    for (key, row) in settings.into_iter().flat_map(each) {
        let declared = declares(looked, &place, |thing| match thing {
            Thing::PostgresSetting(setting) => setting.name.eq_ignore_ascii_case(key),
            _ => false,
        });
        if row.get("pending_restart") == Some(&Value::Bool(true)) && !declared {
            audit.findings.push(Finding::known(
                Severity::Low,
                "postgres_pending_restart",
                (service, key),
                format!(
                    "`{service}` has a new value of `{key}` in its files that only a restart brings"
                ),
                "restart the server when its clients can spare it, or take the line out",
            ));
        }
    }
}

fn each(rows: &crate::command::Rows) -> Vec<(&str, &Row)> {
    let keys = rows.keys().into_iter();
    keys.flat_map(|key| rows.of(key).iter().map(move |row| (key, row)))
        .collect()
}

fn declares(looked: &Looked<'_>, place: &Place, is: impl Fn(&Thing) -> bool) -> bool {
    let mut there = looked.resources.iter().filter(|one| one.place == *place);
    there.any(|resource| is(&resource.thing))
}

fn roles(looked: &Looked<'_>, place: &Place, server: &Arc<Server>, audit: &mut Audit) {
    let service = server.service.as_str();
    let managed = matches!(server.seat, Seat::Network { .. });
    let Some(rows) = rows(looked, place, "postgres_role", service, audit) else {
        return;
    };
    let yes = |row: &Row, key: &str| row.get(key) == Some(&Value::Bool(true));
    for (name, row) in each(rows) {
        let own = yes(row, "current") || name == server.superuser;
        // What a provider keeps for itself.
        let theirs = managed
            && ["rds", "azure", "cloudsql"]
                .iter()
                .any(|of| name.starts_with(of));
        let declared = declares(looked, place, |thing| match thing {
            Thing::PostgresRole(role) => role.name == name,
            _ => false,
        });
        if own || theirs || declared {
            continue;
        }
        let drop = format!("declare it, or `DROP ROLE` it (`provision shell ENV {service}`)");
        if yes(row, "superuser") {
            audit.findings.push(Finding::known(
                Severity::High,
                "postgres_superuser",
                (service, name),
                format!("`{service}` has a superuser `{name}` that nobody declared"),
                drop,
            ));
        } else if yes(row, "login") {
            audit.findings.push(Finding::known(
                Severity::Medium,
                "postgres_login",
                (service, name),
                format!("`{service}` has a role `{name}` that nobody declared and that may log in"),
                drop,
            ));
        }
    }
}

/// The declared rules of a server.
fn declared_rules<'a>(looked: &Looked<'a>, server: &Server) -> Option<(&'a Id, &'a PostgresHba)> {
    let Seat::Machine { name, port } = &server.seat else {
        return None;
    };
    let here = Place::Machine(Arc::clone(name));
    let mut there = looked.resources.iter().filter(|one| one.place == here);
    there.find_map(|one| match &one.thing {
        Thing::PostgresHba(hba) if hba.port == *port => Some((&one.id, &**hba)),
        _ => None,
    })
}

/// A server that reads other rules than those of its file, or those of another file.
fn read_otherwise(hba: &PostgresHba, rows: &[Row], service: &str) -> Option<Finding> {
    let text = |row: &Row, key: &str| {
        row.get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let read: Vec<String> = rows.iter().map(|row| text(row, "viewed")).collect();
    let wanted: Vec<String> = hba.rules.iter().map(Rule::viewed).collect();
    let first = rows.first()?;
    let file = text(first, "file");
    let own = format!("/etc/postgresql/{}/pg_hba.conf", hba.cluster);
    let differs = read.iter().find(|one| !wanted.contains(one));
    let says = match (file == own, read == wanted, differs) {
        (true, true, _) => return None,
        (false, ..) => format!("`{service}` reads its rules from `{file}` and not from `{own}`"),
        (_, _, Some(line)) => format!("`{service}` reads a rule that is not declared: `{line}`"),
        (..) => format!("`{service}` reads its rules in another order, or not all of them"),
    };
    let todo =
        "take out what leads it there (`hba_file`, `include`), and reload or restart the server";
    Some(Finding::known(
        Severity::High,
        "postgres_hba_differs",
        (service, &hba.cluster),
        says,
        todo,
    ))
}

fn rule(row: &Row, server: &Server) -> Option<Finding> {
    let text = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default();
    let line = row.get("line").and_then(Value::as_i64).unwrap_or_default();
    let (kind, method, address) = (text("type"), text("method"), text("address"));
    let service = server.service.as_str();
    let words = match address {
        "" => format!("{kind} {} {} {method}", text("database"), text("role")),
        _ => format!(
            "{kind} {} {} {} {method}",
            text("database"),
            text("role"),
            network(row)
        ),
    };
    let what = words.replace(' ', "_");
    let known = |severity, kind: &str, says: String, todo: &str| {
        Some(Finding::known(severity, kind, (service, &what), says, todo))
    };
    if let Some(error) = row.get("error").and_then(Value::as_str) {
        let says = format!("`{service}` cannot read line {line} of its `pg_hba.conf`: {error}");
        let name = format!("line {line}");
        return Some(Finding::known(
            Severity::High,
            "postgres_hba_broken",
            (service, &name.replace(' ', "_")),
            says,
            "mend the line; until then the server goes by the rules it read before",
        ));
    }
    // Inside a container nobody else is near: its socket and its loopback are the server's own, and so is its network's edge.
    let inside = server.seat == Seat::Container;
    let loopback = address.starts_with("127.") || address == "::1" || address == "localhost";
    let near = kind == "local" || loopback;
    match method {
        "trust" if inside && near => None,
        "trust" => known(
            if near {
                Severity::Medium
            } else {
                Severity::High
            },
            "postgres_hba_trust",
            format!("`{service}` lets in without any proof: line {line}, `{words}`"),
            "say `scram-sha-256` or `peer` there",
        ),
        "password" => known(
            Severity::High,
            "postgres_hba_password",
            format!("`{service}` wants passwords in clear: line {line}, `{words}`"),
            "say `scram-sha-256` there",
        ),
        "md5" => known(
            Severity::Medium,
            "postgres_hba_md5",
            format!("`{service}` still proves with MD5: line {line}, `{words}`"),
            "say `scram-sha-256` there, once all passwords are set anew with it",
        ),
        "reject" => None,
        _ if everybody(row) && !inside => known(
            Severity::Medium,
            "postgres_hba_everybody",
            format!("`{service}` lets everybody try from everywhere: line {line}, `{words}`"),
            "name the networks that need it",
        ),
        _ => None,
    }
}

fn everybody(row: &Row) -> bool {
    let text = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default();
    match text("address") {
        "all" => true,
        "0.0.0.0" | "::" => matches!(text("netmask"), "0.0.0.0" | "::" | ""),
        _ => false,
    }
}

/// `10.0.0.0/8`, as the file has it.
fn network(row: &Row) -> String {
    let text = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default();
    let (address, mask) = (text("address"), text("netmask"));
    let bits = match mask.parse::<core::net::IpAddr>() {
        Ok(core::net::IpAddr::V4(mask)) => mask.to_bits().count_ones(),
        Ok(core::net::IpAddr::V6(mask)) => mask.to_bits().count_ones(),
        Err(_) => return address.to_owned(),
    };
    format!("{address}/{bits}")
}
