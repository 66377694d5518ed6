//! Every file of `environments/`: loaded, meant, ordered and rendered; those that can be carried out today are planned on a real
//! engine.

use std::collections::HashSet;
use std::path::PathBuf;

use provision::declaration::Environment;
use provision::resource::{Resource, Thing};
use provision::{environment, services};
use serde_json::Value;

use crate::lab::{Lab, docker, engine};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("environments")
}

fn load(name: &str) -> Environment {
    environment::load(&folder(), name).unwrap_or_else(|failure| panic!("{name}: {failure:?}"))
}

/// What an environment means, in order; fails the test where it has none.
fn ordered(environment: &Environment) -> Vec<Resource> {
    let name = &environment.name;
    services::meaning(environment, &services::Ports::new())
        .unwrap_or_else(|problems| panic!("{name}: {problems:?}"))
        .resources
}

#[test]
fn every_environment_is_loaded_and_means_something_in_order() {
    let names = environment::names(&folder());
    for name in ["base", "local", "staging", "prod"] {
        assert!(names.iter().any(|there| there == name), "{name} is gone");
    }
    for name in names {
        let environment = load(&name);
        assert!(
            environment.warnings.is_empty(),
            "{name}: {:?}",
            environment.warnings
        );
        if environment.is_abstract {
            continue;
        }
        let resources = ordered(&environment);
        assert!(resources.len() > 10, "{name}: {}", resources.len());
        let mut before = HashSet::new();
        for resource in &resources {
            for need in &resource.needs {
                assert!(
                    before.contains(need.as_str()),
                    "{name}: `{}` stands before `{need}`",
                    resource.id
                );
            }
            assert!(
                before.insert(resource.id.as_str().to_owned()),
                "{name}: `{}` twice",
                resource.id
            );
        }
    }
}

#[test]
fn what_is_rendered_is_a_compose_file() {
    for name in environment::names(&folder()) {
        let environment = load(&name);
        if environment.is_abstract || !environment.driver.is_engine() {
            continue;
        }
        let resources = ordered(&environment);
        let text = resources
            .iter()
            .find_map(|resource| match &resource.thing {
                Thing::RenderedFile(rendered)
                    if rendered.file.path.ends_with("docker-compose.yml") =>
                {
                    Some(rendered.file.content.expose().expose().to_owned())
                }
                _ => None,
            })
            .unwrap_or_else(|| panic!("{name} renders no Compose file"));
        let model: Value =
            serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
        let there: HashSet<&str> = model["services"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(there, HashSet::from(["analytics", "ivr", "iact"]), "{name}");
        for (service, volume) in [("analytics", "analytics_data"), ("ivr", "ivr_data")] {
            assert!(model["volumes"].get(volume).is_some(), "{name}: {text}");
            let mounts = model["services"][service]["volumes"].to_string();
            assert!(mounts.contains(volume), "{name}: {mounts}");
        }
        for port in model["services"]
            .as_object()
            .unwrap()
            .values()
            .flat_map(|service| service["ports"].as_array().cloned().unwrap_or_default())
        {
            assert!(
                port.to_string().contains("127.0.0.1"),
                "{name}: {port} is open to the world"
            );
        }
    }
}

/// The declared ids, from nothing: all are planned to be made, in the order of their needs.
#[test]
fn local_is_planned_on_an_engine() {
    if !engine() {
        return;
    }
    let lab = Lab::new("planned");
    let plan = lab.provision(&["plan", "local", "--json"]).ends(0).json();
    assert_eq!(plan["format_version"], "1.1");
    let changes = plan["changes"].as_array().unwrap();
    let ids: HashSet<&str> = changes
        .iter()
        .map(|change| change["id"].as_str().unwrap())
        .collect();
    for id in [
        "container.analytics",
        "container.ivr",
        "container.iact",
        "postgres_role.analytics:django_user",
    ] {
        assert!(ids.contains(id), "`{id}` is not planned: {ids:?}");
    }
    for change in changes {
        let action = change["action"].as_str().unwrap();
        assert!(matches!(action, "create" | "wait"), "{change}");
    }
    let label = format!("label=com.docker.compose.project={}", lab.project);
    assert_eq!(
        docker(&["ps", "-aq", "--filter", &label]),
        "",
        "planning made something"
    );
    assert_eq!(docker(&["volume", "ls", "-q", "--filter", &label]), "");
}
