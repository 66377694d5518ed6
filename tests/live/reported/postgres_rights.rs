//! Rights in PostgreSQL: everything the server can grant is compared, or named as not compared.

use crate::lab::{Change, Lab, engine};

/// What the superuser makes, since its owner may not.
const BY_THE_SUPERUSER: &str =
    "CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw; SELECT lo_create(777)";

#[test]
fn every_kind_of_right_is_compared_and_healed() {
    if !engine() {
        return;
    }
    let cases: toml::Table = include_str!("../../cases/postgres_rights.toml")
        .parse()
        .unwrap();
    let lab = Lab::with("rights", cases["environment"].as_str().unwrap());
    lab.write("objects.sql", cases["objects"].as_str().unwrap());
    lab.apply();
    lab.nothing_to_do();
    lab.psql("app", BY_THE_SUPERUSER);
    lab.nothing_to_do();
    let mistakes: Vec<String> = cases["drift"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|case| check(&lab, case).err())
        .collect();
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n\n"));
    audit_tells_what_is_not_compared(&lab);
    roles_go_with_their_rights(&lab);
}

/// Rights that no entry is about are findings, each by itself.
fn audit_tells_what_is_not_compared(lab: &Lab) {
    lab.provision(&["audit", "local"]).ends(0);
    lab.psql(
        "other",
        "CREATE TABLE seen (id int); GRANT SELECT ON seen TO reader, PUBLIC; GRANT CONNECT ON DATABASE postgres TO reader; \
         GRANT SET ON PARAMETER log_statement TO PUBLIC",
    );
    lab.nothing_to_do();
    let audit = lab
        .provision(&["audit", "local", "--format", "json"])
        .ends(2);
    let ids: Vec<String> = audit.json()["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        ids,
        [
            "audit.postgres_rights.analytics:PUBLIC/parameters/log_statement",
            "audit.postgres_rights.analytics:other/PUBLIC",
            "audit.postgres_rights.analytics:other/reader",
            "audit.postgres_rights.analytics:postgres/reader",
        ]
    );
    lab.psql(
        "other",
        "DROP TABLE seen; REVOKE CONNECT ON DATABASE postgres FROM reader; REVOKE SET ON PARAMETER log_statement FROM PUBLIC",
    );
}

/// Rights of every kind, in a database that no entry names, too.
const MORE_RIGHTS: &str = "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; GRANT EXECUTE ON FUNCTION f() TO \"Odd Role\"; \
    CREATE TYPE ty AS ENUM ('a'); GRANT USAGE ON TYPE ty TO \"Odd Role\"; SELECT lo_create(778); \
    GRANT SELECT ON LARGE OBJECT 778 TO \"Odd Role\"; GRANT CREATE ON DATABASE other TO \"Odd Role\"; \
    ALTER DEFAULT PRIVILEGES FOR ROLE owner GRANT EXECUTE ON FUNCTIONS TO \"Odd Role\"; \
    GRANT CREATE ON TABLESPACE pg_default TO \"Odd Role\"";

/// A role that is taken out of the file loses its rights first; what it owns is named and stays.
fn roles_go_with_their_rights(lab: &Lab) {
    lab.psql("other", MORE_RIGHTS);
    let text = std::fs::read_to_string(lab.path("local.toml")).unwrap();
    let role = "[postgres.analytics.role.\"Odd Role\"]";
    let without_role = text.replace(role, &format!("{role}\nenabled = false"));
    let grant = "role = \"Odd Role\"";
    let text = without_role.replace(grant, &format!("{grant}\nenabled = false"));
    lab.write("local.toml", &text);
    let gone = [
        "generated_file.analytics/first-start.sql",
        "postgres_grant.analytics:app/Odd Role",
        "postgres_grant.analytics:other/Odd Role",
        "postgres_role.analytics:Odd Role",
    ];
    let mut planned: Vec<String> = lab.plan().into_iter().map(|(id, ..)| id).collect();
    planned.sort();
    assert_eq!(planned, gone);
    lab.apply();
    lab.nothing_to_do();
    let left = lab.psql(
        "postgres",
        "SELECT count(*) FROM pg_roles WHERE rolname = 'Odd Role'",
    );
    assert_eq!(left, "0");

    // What it owns, in a database that is looked into and in one that is not.
    lab.psql(
        "other",
        "CREATE TABLE \"Own\" (id int); ALTER TABLE \"Own\" OWNER TO reader",
    );
    lab.psql(
        "postgres",
        "CREATE VIEW hers AS SELECT 1; ALTER VIEW hers OWNER TO reader",
    );
    let role = "[postgres.analytics.role.reader]";
    let text = text.replace(role, &format!("{role}\nenabled = false"));
    let grant = "role = \"reader\"";
    lab.write(
        "local.toml",
        &text.replace(grant, &format!("{grant}\nenabled = false")),
    );
    let plan = lab.provision(&["plan", "local"]).ends(0);
    assert!(
        plan.stdout.contains("in `other` the table `public.Own`"),
        "{}",
        plan.stdout
    );
    let failed = lab.provision(&["apply", "local", "--yes"]).ends(1);
    for words in [
        "the role `reader` cannot be dropped",
        "it owns view hers in the database \"postgres\"",
        "in `other` the table `public.Own`",
        "REASSIGN OWNED BY \"reader\" TO",
    ] {
        assert!(failed.stderr.contains(words), "{words}: {}", failed.stderr);
    }
    for database in ["other", "postgres"] {
        lab.psql(
            database,
            "REASSIGN OWNED BY reader TO owner; DROP OWNED BY reader",
        );
    }
    lab.apply();
    lab.nothing_to_do();
}

/// Drifts, plans, applies and plans again; what was not as the case says.
fn check(lab: &Lab, case: &toml::Value) -> Result<(), String> {
    let name = case["name"].as_str().unwrap();
    lab.psql("app", case["sql"].as_str().unwrap());
    let mut found = lab.plan();
    let mut wanted: Vec<Change> = case["expect"]
        .as_table()
        .unwrap()
        .iter()
        .map(|(key, fields)| {
            let kind = if key.starts_with("app/") {
                "postgres_grant"
            } else {
                "postgres_role"
            };
            let fields = fields.as_array().unwrap().iter();
            let fields = fields
                .map(|field| field.as_str().unwrap().to_owned())
                .collect();
            (
                format!("{kind}.analytics:{key}"),
                "update".to_owned(),
                fields,
            )
        })
        .collect();
    for (_, _, fields) in found.iter_mut().chain(&mut wanted) {
        fields.sort();
    }
    found.sort();
    wanted.sort();
    let healed = lab.provision(&["apply", "local", "--yes"]);
    let left = lab.plan();
    if found != wanted {
        return Err(format!("{name}: found {found:#?}, wanted {wanted:#?}"));
    }
    if healed.code != 0 || !left.is_empty() {
        return Err(format!("{name}: apply {healed:#?}, left {left:#?}"));
    }
    Ok(())
}
