//! `verify` on real containers: well, with a password changed by hand, with a server stopped.

use serde_json::Value;

use crate::lab::{Lab, Ran, docker, engine};

/// The ids of the checks of `verify` with a status.
pub fn with(ran: &Ran, status: &str) -> Vec<String> {
    let json = ran.json();
    let checks = json["checks"].as_array().unwrap().iter();
    checks
        .filter(|check| check["status"] == status)
        .map(|check| check["id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn what_does_not_work_is_named() {
    if !engine() {
        return;
    }
    let lab = Lab::new("verify");
    lab.write(
        "local.toml",
        &std::fs::read_to_string(lab.path("local.toml"))
            .unwrap()
            .replace("[forward.web]", CLOSED),
    );
    lab.apply();
    let verify = || lab.provision(&["verify", "local", "--format", "json"]);

    let well = verify().ends(0);
    assert_eq!(with(&well, "failed"), [""; 0], "{}", well.stdout);
    let fine = with(&well, "ok");
    for id in [
        "running.container.analytics",
        "login.analytics:etl/iact_analytics",
        "wrong_password.analytics:etl",
        "kept_out.analytics:guest/iact_analytics",
        "undeclared.analytics:user",
        "undeclared.analytics:database",
        "login.ivr:django_user@%/iact_ivr",
        "kept_out.ivr:etl@%/closed",
        "undeclared.ivr:user",
        "health.iact",
        "forward.analytics",
        "forward.ivr",
        "forward.web",
    ] {
        assert!(fine.iter().any(|one| one == id), "{id} is not in {fine:?}");
    }
    assert!(!well.stdout.contains("django_pass") && !well.stderr.contains("django_pass"));

    lab.psql("postgres", "ALTER ROLE reporting PASSWORD 'another'");
    lab.psql(
        "postgres",
        "GRANT CONNECT ON DATABASE iact_analytics TO guest",
    );
    let ran = verify().ends(9);
    assert_eq!(
        with(&ran, "failed"),
        [
            "kept_out.analytics:guest/iact_analytics",
            "login.analytics:reporting/iact_analytics",
            "login.analytics:reporting/iact_reports",
        ]
    );
    let table = lab.provision(&["verify", "local"]).ends(9);
    assert!(
        table.stdout.contains("password authentication failed")
            && table.stdout.contains("base.toml:"),
        "{}",
        table.stdout
    );
    let junit = lab
        .provision(&["verify", "local", "--format", "junit"])
        .ends(9);
    assert!(junit.stdout.contains("failures=\"3\""), "{}", junit.stdout);
    // Rights of a role that has no grant there are nobody's to manage.
    lab.psql(
        "postgres",
        "REVOKE CONNECT ON DATABASE iact_analytics FROM guest",
    );
    lab.apply();

    docker(&["stop", &lab.container("ivr")]);
    let ran = verify().ends(9);
    let failed = with(&ran, "failed");
    for id in [
        "running.container.ivr",
        "login.ivr:etl@%/iact_ivr",
        "health.iact",
        "forward.ivr",
    ] {
        assert!(
            failed.iter().any(|one| one == id),
            "{id} is not in {failed:?}"
        );
    }
    assert!(
        !failed.iter().any(|id| id.contains("analytics")),
        "{failed:?}"
    );
    assert_eq!(ran.json()["exit_codes"], Value::from(vec![9]));
}

/// A database that nobody may enter who is not named, a role that is not, and a database without users.
const CLOSED: &str = r#"[postgres.analytics.role.guest]
password = "guest_pass"

[[postgres.analytics."+grant"]]
role = "PUBLIC"
database = "iact_analytics"
connect = false

[mariadb.ivr.database.closed]

[forward.web]"#;
