//! The whole way on the project's own local environment: up, nothing to do, every drift named exactly and healed, data kept.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::lab::{Lab, docker, engine, until};

type Change = (String, String, Vec<String>);

#[test]
fn every_drift_is_named_exactly_and_healed() {
    if !engine() {
        return;
    }
    let lab = Lab::new("drift");
    lab.apply();
    lab.nothing_to_do();
    lab.psql(
        "iact_analytics",
        "SET ROLE django_user; CREATE TABLE kept (id int); INSERT INTO kept VALUES (42)",
    );
    lab.mariadb("CREATE TABLE iact_ivr.kept (id int); INSERT INTO iact_ivr.kept VALUES (42)");
    lab.nothing_to_do();

    let cases: toml::Table = include_str!("../cases/drifts.toml").parse().unwrap();
    let mistakes: Vec<String> = cases["drift"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|case| check(&lab, case).err())
        .collect();
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n\n"));
    network_removed(&lab);
    started_otherwise(&lab);

    assert_eq!(lab.psql("iact_analytics", "SELECT id FROM kept"), "42");
    assert_eq!(lab.mariadb("SELECT id FROM iact_ivr.kept"), "42");
}

/// Drifts, plans, applies and plans again; what was not as the case says.
fn check(lab: &Lab, case: &toml::Value) -> Result<(), String> {
    let name = case["name"].as_str().unwrap();
    drift(lab, case);
    let mut found: Vec<Change> = lab
        .plan()
        .into_iter()
        .filter(|(_, action, _)| action != "wait")
        .collect();
    let mut wanted: Vec<Change> = case["expect"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let words: Vec<String> = row
                .as_array()
                .unwrap()
                .iter()
                .map(|word| fill(lab, word.as_str().unwrap()))
                .collect();
            (words[0].clone(), words[1].clone(), words[2..].to_vec())
        })
        .collect();
    for (_, action, fields) in found.iter_mut().chain(&mut wanted) {
        // What is made anew differs in every field.
        if action == "create" {
            fields.clear();
        }
        fields.sort();
    }
    let ran = lab.provision(&["plan", "local", "--detailed-exitcode"]);
    let healed = lab.provision(&["apply", "local", "--yes"]);
    let left = lab.plan();
    if found != wanted {
        return Err(format!("{name}: found {found:#?}, wanted {wanted:#?}"));
    }
    if ran.code != 2 || healed.code != 0 || !left.is_empty() {
        return Err(format!(
            "{name}: plan {}, apply {healed:#?}, left {left:#?}",
            ran.code
        ));
    }
    Ok(())
}

fn drift(lab: &Lab, case: &toml::Value) {
    let words = |key: &str| -> Option<Vec<String>> {
        let list = case.get(key)?.as_array()?;
        Some(
            list.iter()
                .map(|word| fill(lab, word.as_str().unwrap()))
                .collect(),
        )
    };
    for key in ["psql", "then"] {
        if let Some(words) = words(key) {
            lab.psql(&words[0], &words[1]);
        }
    }
    if let Some(sql) = case.get("mariadb") {
        lab.mariadb(sql.as_str().unwrap());
    }
    if let Some(words) = words("docker") {
        docker(&words.iter().map(String::as_str).collect::<Vec<_>>());
    }
    if let Some(service) = case.get("healthy") {
        let container = lab.container(service.as_str().unwrap());
        until("it is healthy", || {
            docker(&["inspect", "-f", "{{.State.Health.Status}}", &container]) == "healthy"
        });
    }
    if let Some(file) = case.get("append") {
        let path = lab.generated().join(file.as_str().unwrap());
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}# edited\n")).unwrap();
    }
    if let Some(words) = words("chmod") {
        let mode = u32::from_str_radix(&words[1], 8).unwrap();
        let path = lab.generated().join(&words[0]);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
}

fn fill(lab: &Lab, word: &str) -> String {
    if let Some(service) = word.strip_prefix("CONTAINER:") {
        return lab.container(service);
    }
    word.replace("PROJECT", &lab.project)
        .replace("NETWORK", &format!("{}_default", lab.project))
}

/// The network gone from under its containers: it is made again, and each container connected to it.
fn network_removed(lab: &Lab) {
    let network = format!("{}_default", lab.project);
    for service in ["analytics", "ivr", "iact"] {
        docker(&[
            "network",
            "disconnect",
            "-f",
            &network,
            &lab.container(service),
        ]);
    }
    docker(&["network", "rm", &network]);
    let connected = vec![format!("network {network}")];
    let found: Vec<Change> = lab
        .plan()
        .into_iter()
        .filter(|(_, action, _)| action != "create")
        .collect();
    let wanted: Vec<Change> = ["container.analytics", "container.ivr", "container.iact"]
        .map(|id| (id.to_owned(), "update".to_owned(), connected.clone()))
        .to_vec();
    assert_eq!(found, wanted);
    lab.apply();
    lab.nothing_to_do();
}

/// A container that somebody started anew by hand, with another environment, port and mount: named field by field, healed by
/// making it anew.
fn started_otherwise(lab: &Lab) {
    let name = lab.container("iact");
    let inspect: Value = serde_json::from_str(&docker(&["inspect", &name])).unwrap();
    let image = inspect[0]["Config"]["Image"].as_str().unwrap().to_owned();
    docker(&["rm", "-f", &name]);
    let project = format!("com.docker.compose.project={}", lab.project);
    let network = format!("{}_default", lab.project);
    let port = crate::lab::free_port();
    docker(&[
        "run",
        "-d",
        "--name",
        &name,
        "--label",
        &project,
        "--label",
        "com.docker.compose.service=iact",
        "--label",
        "com.docker.compose.oneoff=False",
        "--label",
        "com.docker.compose.config-hash=x",
        "--label",
        "com.docker.compose.container-number=1",
        "--network",
        &network,
        "--network-alias",
        "iact",
        "-e",
        "DJANGO_DEBUG=somethingelse",
        "-p",
        &format!("127.0.0.1:{port}:8000"),
        "-v",
        "/tmp:/elsewhere",
        &image,
        "sleep",
        "1000",
    ]);
    let changes = lab.plan();
    let [(id, action, fields)] = changes.as_slice() else {
        panic!("{changes:#?}")
    };
    assert_eq!(
        (id.as_str(), action.as_str()),
        ("container.iact", "recreate")
    );
    for field in [
        "env DJANGO_DEBUG",
        "port 8000",
        "mount /app",
        "mount /elsewhere",
        "command",
    ] {
        assert!(
            fields.iter().any(|found| found == field),
            "{field}: {fields:?}"
        );
    }
    lab.apply();
    lab.nothing_to_do();
}
