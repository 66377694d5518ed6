//! Compose and `provision` on the same project, in both directions and with both Composes.

use crate::lab::compose::{compose1, compose2, v2};
use crate::lab::{Lab, docker, engine, run};

/// When each container of the project was made: it changes where one is recreated.
fn made(lab: &Lab) -> String {
    let label = format!("label=com.docker.compose.project={}", lab.project);
    let ids = docker(&["ps", "-aq", "--no-trunc", "--filter", &label]);
    let mut ids: Vec<_> = ids.lines().map(str::to_owned).collect();
    ids.sort();
    ids.join(" ")
}

#[test]
fn what_apply_brought_up_is_a_project_of_both_composes() {
    if !engine() {
        return;
    }
    let lab = Lab::new("applied");
    run(lab
        .command(&["apply", "local", "--yes"])
        .env("DOCKER_CONFIG", v2()))
    .ends(0);
    let folder = lab.generated();
    let before = made(&lab);
    for (compose, words) in [
        (compose2 as fn(&_, &[&str]) -> _, "2.26"),
        (compose1, "1.29"),
    ] {
        compose(&folder, &["config"]).ends(0);
        let ps = compose(&folder, &["ps"]).ends(0);
        for service in ["analytics", "ivr", "iact"] {
            assert!(
                ps.stdout.contains(&lab.container(service)),
                "{words}: {}",
                ps.stdout
            );
        }
        let logs = compose(&folder, &["logs", "analytics"]).ends(0);
        assert!(
            logs.stdout.contains("ready to accept connections"),
            "{words}"
        );
        let exec = compose(&folder, &["exec", "-T", "analytics", "id", "-un"]).ends(0);
        assert_eq!(exec.stdout.trim(), "root", "{words}");
    }
    let up = compose2(&folder, &["up", "-d"]).ends(0);
    assert_eq!(
        made(&lab),
        before,
        "`up` made a container anew: {}{}",
        up.stdout,
        up.stderr
    );
    lab.nothing_to_do();

    compose2(&folder, &["down"]).ends(0);
    assert_eq!(made(&lab), "");
    lab.apply();
    lab.nothing_to_do();
    compose1(&folder, &["down"]).ends(0);
    assert_eq!(made(&lab), "");
    lab.apply();
    lab.nothing_to_do();
}

#[test]
fn what_compose_brought_up_from_the_rendered_files_alone_is_as_wanted() {
    if !engine() {
        return;
    }
    for (compose, name) in [
        (compose2 as fn(&_, &[&str]) -> crate::lab::Ran, "two"),
        (compose1, "one"),
    ] {
        let lab = Lab::new(name);
        lab.provision(&["render", "local", "--images"]).ends(0);
        compose(&lab.generated(), &["up", "-d"]).ends(0);
        let container = lab.container("iact");
        let old = format!("{}_iact_1", lab.project);
        crate::lab::until("the application is healthy", || {
            [&container, &old].into_iter().any(|name| {
                let ran = run(std::process::Command::new("docker").args([
                    "inspect",
                    "-f",
                    "{{.State.Health.Status}}",
                    name,
                ]));
                ran.stdout.trim() == "healthy"
            })
        });
        lab.nothing_to_do();
        let password = "django_pass";
        let compose_file =
            std::fs::read_to_string(lab.generated().join("analytics/first-start.sql")).unwrap();
        assert!(
            !compose_file.contains(password),
            "a password stands in the first-start SQL"
        );
        compose(&lab.generated(), &["down", "-v"]).ends(0);
    }
}
