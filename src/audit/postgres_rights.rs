//! Rights in a PostgreSQL server that no plan compares: of declared roles and of everybody, where no entry of the file names them.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::{Audit, Finding, Looked, Severity, rows};
use crate::command::{Ask, Place, Question, Row, Server};
use crate::resource::Thing;
use crate::resources::postgres_grant::PostgresGrant;
use crate::resources::postgres_role::{ServerRights, rights_on_server};

/// What everybody may do with what belongs to the whole server, and which roles have rights in which databases, by the catalogs
/// that all databases share.
pub(super) const QUESTION: Question = Question {
    name: "audit_postgres_rights",
    ask: Ask::PostgresServer(concat!(
        "SELECT 'PUBLIC' AS key, NULL::text AS database, 0::bigint AS count, ",
        rights_on_server!(),
        " AS rights FROM (SELECT 0::oid AS oid) r \
         UNION ALL SELECT r.rolname::text, b.datname::text, count(*), NULL FROM \
         (SELECT d.dbid, d.refobjid AS role FROM pg_shdepend d \
         WHERE d.refclassid = 'pg_authid'::regclass AND d.deptype = 'a' AND d.dbid <> 0 \
         UNION ALL SELECT d.oid, a.grantee FROM pg_database d CROSS JOIN LATERAL aclexplode(d.datacl) a \
         WHERE a.grantee <> d.datdba) held JOIN pg_roles r ON r.oid = held.role JOIN pg_database b ON b.oid = held.dbid \
         GROUP BY 1, 2"
    )),
};

pub(super) fn findings(looked: &Looked<'_>, server: &Arc<Server>, audit: &mut Audit) {
    let declared = Declared::of(looked, server);
    for database in &declared.databases {
        unnamed(looked, server, database, &declared, audit);
    }
    let place = Place::Sql(Arc::clone(server), None);
    let Some(rows) = rows(looked, &place, QUESTION.name, &server.service, audit) else {
        return;
    };
    audit.findings.extend(
        rows.of(PUBLIC)
            .iter()
            .flat_map(|row| of_everybody(row, server)),
    );
    for role in &declared.roles {
        let elsewhere = rows.of(role).iter();
        audit
            .findings
            .extend(elsewhere.filter_map(|row| in_other_database(row, role, server, &declared)));
    }
}

const PUBLIC: &str = "PUBLIC";

/// What a server's part of the file names.
struct Declared<'a> {
    roles: BTreeSet<&'a str>,
    databases: BTreeSet<&'a str>,
    /// Database and role of each entry about rights.
    grants: BTreeSet<(&'a str, &'a str)>,
}

impl<'a> Declared<'a> {
    fn of(looked: &Looked<'a>, server: &Arc<Server>) -> Self {
        let mut declared = Declared {
            roles: BTreeSet::new(),
            databases: BTreeSet::new(),
            grants: BTreeSet::new(),
        };
        for resource in looked.resources {
            if !matches!(&resource.place, Place::Sql(of, _) if of == server) {
                continue;
            }
            match &resource.thing {
                Thing::PostgresRole(role) => {
                    declared.roles.insert(&role.name);
                }
                Thing::PostgresDatabase(database) => {
                    declared.databases.insert(&database.name);
                }
                Thing::PostgresGrant(grant) => {
                    declared.grants.insert((&grant.database, &grant.role));
                }
                _ => {}
            }
        }
        declared
    }
}

/// Rights in a declared database of everybody and of declared roles that no entry is about.
fn unnamed(
    looked: &Looked<'_>,
    server: &Arc<Server>,
    database: &str,
    declared: &Declared<'_>,
    audit: &mut Audit,
) {
    let service = server.service.as_str();
    let place = Place::Sql(Arc::clone(server), Some(database.to_owned()));
    let Some(rows) = rows(looked, &place, "postgres_grant", service, audit) else {
        return;
    };
    for role in declared.roles.iter().copied().chain([PUBLIC]) {
        let entry = declared.grants.contains(&(database, role));
        let removed =
            crate::resource::Id::new("postgres_grant", service, &format!("{database}/{role}"));
        if entry
            || looked
                .plan
                .changes
                .iter()
                .any(|change| change.id == removed)
        {
            continue;
        }
        let nothing = PostgresGrant {
            role: role.to_owned(),
            ..PostgresGrant::default()
        };
        let Ok(Some(found)) = nothing.read_all(rows.of(role)) else {
            continue;
        };
        let rights = found.beyond_the_default();
        if rights.is_empty() {
            continue;
        }
        let (severity, who) = match role {
            PUBLIC => (Severity::Medium, "everybody (PUBLIC)".to_owned()),
            role => (Severity::Low, format!("`{role}`")),
        };
        audit.findings.push(Finding::known(
            severity,
            "postgres_rights",
            (service, &format!("{database}/{role}")),
            format!("{who} has rights in `{database}` of `{service}` that no entry of the file is about: {}", rights.join("; ")),
            format!("declare them in `[[postgres.{service}.grant]]` with this role and database, or revoke them (`provision shell ENV {service}`)"),
        ));
    }
}

/// Rights of everybody on parameters and tablespaces, which belong to no role.
fn of_everybody(row: &Row, server: &Server) -> Vec<Finding> {
    let service = server.service.as_str();
    let fields = ServerRights::read(row, "rights")
        .map(|rights| ServerRights::default().fields(Some(&rights)));
    let finding = |field: crate::resource::Field| {
        let rights = field.from.unwrap_or_default();
        Finding::known(
            Severity::Medium,
            "postgres_rights",
            (
                service,
                &format!("{PUBLIC}/{}", field.name.replace(' ', "/")),
            ),
            format!(
                "everybody (PUBLIC) has {rights} on {} of `{service}`",
                field.name
            ),
            format!(
                "revoke it from PUBLIC, and declare it for the roles that need it (`provision shell ENV {service}`)"
            ),
        )
    };
    fields
        .unwrap_or_default()
        .into_iter()
        .map(finding)
        .collect()
}

/// Rights of a declared role in a database that is not declared.
fn in_other_database(
    row: &Row,
    role: &str,
    server: &Server,
    declared: &Declared<'_>,
) -> Option<Finding> {
    let service = server.service.as_str();
    let database = row.get("database").and_then(Value::as_str)?;
    let count = row.get("count").and_then(Value::as_i64)?;
    if declared.databases.contains(database) {
        return None;
    }
    let objects = if count == 1 {
        "1 object".to_owned()
    } else {
        format!("{count} objects")
    };
    Some(Finding::known(
        Severity::Low,
        "postgres_rights",
        (service, &format!("{database}/{role}")),
        format!(
            "`{role}` has rights on {objects} in the database `{database}` of `{service}`, which is not declared, so they are not compared"
        ),
        format!("declare the database, or revoke them there (`provision shell ENV {service}`)"),
    ))
}
