//! What an audit finds, who moved, and what is accepted; what is taken over.

use serde_json::Value;

use crate::lab::{Lab, docker, engine};

fn findings(lab: &Lab) -> Vec<(String, String, String)> {
    let ran = lab.provision(&["audit", "local", "--format", "json"]);
    let json = ran.json();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = json["findings"].as_array().unwrap().iter();
    let mut found: Vec<_> = all
        .map(|one| {
            let moved = text(&one["drift"]["moved"]);
            (text(&one["id"]), text(&one["severity"]), moved)
        })
        .collect();
    found.sort();
    assert_eq!(ran.code, if found.is_empty() { 0 } else { 2 }, "{ran:?}");
    found
}

fn alter(lab: &Lab) {
    for sql in [
        "CREATE ROLE mallory SUPERUSER LOGIN",
        "CREATE ROLE guest LOGIN",
        "CREATE ROLE quiet",
        "ALTER ROLE reporting CONNECTION LIMIT 3",
        "ALTER ROLE etl PASSWORD 'another'",
        "ALTER SYSTEM SET max_locks_per_transaction = 128",
        "SELECT pg_reload_conf()",
        "SELECT pg_sleep(0.3)",
    ] {
        lab.psql("postgres", sql);
    }
    let rules = "printf 'host all all 10.0.0.0/8 trust\\nhost all all 0.0.0.0/0 md5\\n' >> \"$PGDATA/pg_hba.conf\"";
    docker(&["exec", &lab.container("analytics"), "sh", "-c", rules]);
    for sql in [
        "CREATE USER ''@'localhost'",
        "CREATE USER 'x'@'%'",
        "GRANT SELECT ON iact_ivr.* TO 'x'@'%'",
        "CREATE USER 'y'@'10.0.0.1'",
        "CREATE USER 'root'@'%'",
        "CREATE DATABASE test",
        "DROP USER 'etl'@'%'",
    ] {
        lab.mariadb(sql);
    }
    lab.edit(
        "base.toml",
        "connection_limit = 20",
        "connection_limit = 30",
    );
    lab.edit("base.toml", "\"500ms\"", "\"700ms\"");
}

#[test]
fn an_audit_names_what_moved_and_what_nobody_declared() {
    if !engine() {
        return;
    }
    let lab = Lab::new("audit");
    lab.apply();
    let ran = lab.provision(&["audit", "local"]).ends(0);
    assert!(ran.stdout.contains("Nothing found."), "{}", ran.stdout);
    alter(&lab);
    let wanted = [
        ("audit.mariadb_account.ivr:x@%", "high", ""),
        ("audit.mariadb_account.ivr:y@10.0.0.1", "medium", ""),
        ("audit.mariadb_anonymous.ivr:@localhost", "high", ""),
        ("audit.mariadb_pattern.ivr:x@%/iact_ivr", "medium", ""),
        ("audit.mariadb_superuser.ivr:root@%", "high", ""),
        ("audit.mariadb_test_database.ivr:test", "medium", ""),
        (
            "audit.postgres_hba_md5.analytics:host_all_all_0.0.0.0/0_md5",
            "medium",
            "",
        ),
        (
            "audit.postgres_hba_trust.analytics:host_all_all_10.0.0.0/8_trust",
            "high",
            "",
        ),
        ("audit.postgres_login.analytics:guest", "medium", ""),
        (
            "audit.postgres_pending_restart.analytics:max_locks_per_transaction",
            "low",
            "",
        ),
        ("audit.postgres_superuser.analytics:mallory", "high", ""),
        (
            "generated_file.analytics/first-start.sql#content",
            "low",
            "file",
        ),
        ("mariadb_grant.ivr:etl@%", "high", "machine"),
        ("mariadb_user.ivr:etl@%", "high", "machine"),
        ("postgres_role.analytics:etl#password", "high", "machine"),
        (
            "postgres_role.analytics:reporting#connection_limit",
            "high",
            "both",
        ),
        (
            "postgres_setting.analytics:log_min_duration_statement#value",
            "low",
            "file",
        ),
    ];
    let found = findings(&lab);
    let found: Vec<(&str, &str, &str)> = found
        .iter()
        .map(|(id, severity, moved)| (id.as_str(), severity.as_str(), moved.as_str()))
        .collect();
    assert_eq!(found, wanted);
    formats(&lab, wanted.len());
    exceptions(&lab);
    // The declared part heals; what nobody declared is not touched.
    lab.apply();
    let left = findings(&lab);
    assert!(
        left.iter().all(|(id, ..)| id.starts_with("audit.")),
        "{left:#?}"
    );
    adoption(&lab);
    let hosts = lab.provision(&["destroy", "local", "--yes"]).ends(0);
    assert!(hosts.stdout.contains("Done"), "{}", hosts.stdout);
}

/// The three shapes for programs hold together.
fn formats(lab: &Lab, number: usize) {
    let junit = lab
        .provision(&["audit", "local", "--format", "junit"])
        .ends(2)
        .stdout;
    assert_eq!(junit.matches("<failure ").count(), number);
    assert!(junit.contains(&format!("failures=\"{number}\" errors=\"0\"")));
    assert!(
        junit.contains("name=\"mariadb_user.ivr:django_user@%\"/>"),
        "{junit}"
    );
    let sarif = lab
        .provision(&["audit", "local", "--format", "sarif"])
        .ends(2)
        .json();
    assert_eq!(sarif["version"], "2.1.0");
    let run = &sarif["runs"][0];
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), number);
    let rules: Vec<&str> = run["tool"]["driver"]["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| rule["id"].as_str().unwrap())
        .collect();
    for result in results {
        assert!(
            rules.contains(&result["ruleId"].as_str().unwrap()),
            "{result}"
        );
        assert!(["error", "warning", "note"].contains(&result["level"].as_str().unwrap()));
        assert!(!result["message"]["text"].as_str().unwrap().is_empty());
    }
    let moved = results
        .iter()
        .find(|one| one["ruleId"] == "postgres_setting")
        .unwrap();
    let place = &moved["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "environments/base.toml");
    assert!(place["region"]["startLine"].as_u64().unwrap() > 1);
}

fn exceptions(lab: &Lab) {
    let exception = |id: &str, until: &str| {
        format!("\n[[exception]]\nid = \"{id}\"\nreason = \"known\"\nuntil = \"{until}\"\n")
    };
    let text = std::fs::read_to_string(lab.path("local.toml")).unwrap();
    let more = [
        exception("audit.postgres_login.analytics:guest", "2999-12-31"),
        exception("mariadb_user.ivr:etl@%", "2999-12-31"),
        exception("audit.postgres_superuser.analytics:mallory", "2020-01-31"),
        exception("audit.nothing.analytics:x", "2999-12-31"),
    ];
    lab.write("local.toml", &format!("{text}{}", more.concat()));
    let ran = lab.provision(&["audit", "local"]).ends(2);
    let says = |words: &str| assert!(ran.stdout.contains(words), "{words}: {}", ran.stdout);
    says("accepted: audit.postgres_login.analytics:guest until 2999-12-31: known");
    says("accepted: mariadb_user.ivr:etl@% until 2999-12-31: known");
    says(
        "expired: the exception for audit.postgres_superuser.analytics:mallory ended with 2020-01-31",
    );
    says("nothing is found for the exception audit.nothing.analytics:x any more");
    says("high    audit.postgres_superuser.analytics:mallory");
    says("15 findings");
    let broken = exception("x", "next summer");
    lab.write("local.toml", &format!("{text}{broken}"));
    let ran = lab.provision(&["validate", "local"]).ends(3);
    assert!(
        ran.stderr.contains("`next summer` is no day"),
        "{}",
        ran.stderr
    );
    lab.write("local.toml", &text);
}

/// What exists and is in no ledger becomes ours, once somebody says so.
fn adoption(lab: &Lab) {
    let ours = lab.provision(&["adopt", "local"]).ends(0);
    assert!(
        ours.stdout.contains("Nothing to take over"),
        "{}",
        ours.stdout
    );
    lab.psql(
        "postgres",
        "DELETE FROM provision.entry WHERE id IN ('postgres_role:etl', 'postgres_role:reporting')",
    );
    lab.psql("postgres", "ALTER ROLE reporting CONNECTION LIMIT 4");
    lab.mariadb("DELETE FROM provision.entry WHERE id = 'mariadb_database:iact_ivr'");
    lab.provision(&["adopt", "local"]).ends(3);
    let ran = lab
        .provision(&["adopt", "local", "postgres_role.analytics:etl", "--yes"])
        .ends(0);
    assert!(
        ran.stdout.contains("Done: 1 resource taken over."),
        "{}",
        ran.stdout
    );
    let ran = lab.provision(&["adopt", "local", "--yes"]).ends(0);
    let says = |words: &str| assert!(ran.stdout.contains(words), "{words}: {}", ran.stdout);
    says("postgres_role.analytics:reporting  becomes ours: differs");
    says("connection_limit   4 -> 30");
    says("mariadb_database.ivr:iact_ivr  becomes ours: as declared");
    says("declared nowhere, stays as it is: `postgres_role.analytics:guest`");
    says("Done: 2 resources taken over.");
    let ran = lab.provision(&["adopt", "local"]).ends(0);
    assert!(
        ran.stdout.contains("Nothing to take over"),
        "{}",
        ran.stdout
    );
    let entries = lab.psql(
        "postgres",
        "SELECT count(*) FROM provision.entry WHERE id LIKE 'postgres_role:%'",
    );
    assert_eq!(entries, "4");
    lab.provision(&["adopt", "local", "postgres_role.analytics:nobody"])
        .ends(3);
}
