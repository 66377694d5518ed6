//! What goes wrong on real machines: a clear error, the right exit code, nothing lost.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::lab::{Lab, Ran, SMALL, docker, engine, run, until};

#[track_caller]
fn says(ran: &Ran, words: &[&str]) {
    let all = format!("{}{}", ran.stdout, ran.stderr);
    for word in words {
        assert!(all.contains(word), "`{word}` is not said:\n{all}");
    }
    assert!(!all.contains("canary-pass"), "a secret is shown:\n{all}");
}

#[test]
fn no_engine_at_the_socket() {
    let lab = Lab::with("noengine", SMALL);
    let ran = run(lab
        .command(&["plan", "local"])
        .env("DOCKER_HOST", "unix:///nonexistent/docker.sock"))
    .ends(4);
    says(&ran, &["/nonexistent/docker.sock"]);
    let file = lab.folder.path().join("no-socket");
    std::fs::write(&file, "").unwrap();
    let ran = run(lab
        .command(&["plan", "local"])
        .env("DOCKER_HOST", format!("unix://{}", file.display())))
    .ends(4);
    says(&ran, &["no-socket"]);
}

#[test]
fn a_busy_port_is_found_while_planning_and_its_holder_named() {
    if !engine() {
        return;
    }
    let lab = Lab::with("busy", SMALL);
    let _holder = TcpListener::bind(("127.0.0.1", lab.postgres)).unwrap();
    let ran = lab.provision(&["apply", "local", "--yes"]).ends(1);
    says(
        &ran,
        &[
            &format!("127.0.0.1:{}", lab.postgres),
            &std::process::id().to_string(),
        ],
    );
    assert_eq!(
        docker(&["ps", "-aq", "--filter", &format!("name={}", lab.project)]),
        ""
    );
}

#[test]
fn auto_correct_takes_the_next_free_port_and_keeps_it() {
    if !engine() {
        return;
    }
    let lab = Lab::with("auto", &format!("{SMALL}auto_correct = true\n"));
    let holder = TcpListener::bind(("127.0.0.1", lab.postgres)).unwrap();
    let ran = lab.apply();
    assert!(
        !ran.stdout.contains(&format!("127.0.0.1:{}", lab.postgres)) || ran.stdout.contains(" -p "),
        "{}",
        ran.stdout
    );
    lab.nothing_to_do();
    drop(holder);
    lab.nothing_to_do();
}

#[test]
fn foreign_things_with_our_names_are_never_touched() {
    if !engine() {
        return;
    }
    let lab = Lab::with("foreign", SMALL);
    lab.provision(&["render", "local", "--images"]).ends(0);
    let name = lab.container("analytics");
    docker(&["create", "--name", &name, "postgres:15-bookworm"]);
    let volume = format!("{}_analytics_data", lab.project);
    docker(&["volume", "create", &volume]);
    let network = format!("{}_default", lab.project);
    docker(&["network", "create", &network]);
    let before = docker(&["inspect", "-f", "{{.Id}} {{.State.Status}}", &name]);
    let ran = lab.provision(&["apply", "local", "--yes"]);
    let after = docker(&["inspect", "-f", "{{.Id}} {{.State.Status}}", &name]);
    docker(&["rm", "-fv", &name]);
    docker(&["volume", "rm", &volume]);
    docker(&["network", "rm", &network]);
    assert_eq!(before, after);
    let ran = ran.ends(1);
    says(&ran, &[&name, &volume, &network, "never touched"]);
}

#[test]
fn data_of_another_major_version_is_refused() {
    if !engine() {
        return;
    }
    let lab = Lab::with("major", SMALL);
    lab.provision(&["render", "local", "--images"]).ends(0);
    let volume = format!("{}_analytics_data", lab.project);
    let project = format!("com.docker.compose.project={}", lab.project);
    docker(&[
        "volume",
        "create",
        "--label",
        &project,
        "--label",
        "com.docker.compose.volume=analytics_data",
        &volume,
    ]);
    let mount = format!("{volume}:/data");
    docker(&[
        "run",
        "--rm",
        "--label",
        &project,
        "--entrypoint",
        "sh",
        "-v",
        &mount,
        "postgres:15-bookworm",
        "-c",
        "echo 14 > /data/PG_VERSION",
    ]);
    let ran = lab.provision(&["plan", "local"]);
    says(&ran, &["14", "15"]);
    let ran = lab.provision(&["apply", "local", "--yes"]).ends(8);
    says(&ran, &["14", "15", "dump"]);
    let kept = docker(&[
        "run",
        "--rm",
        "--label",
        &project,
        "--entrypoint",
        "cat",
        "-v",
        &mount,
        "postgres:15-bookworm",
        "/data/PG_VERSION",
    ]);
    assert_eq!(kept, "14");
}

#[test]
fn an_image_that_does_not_exist_stops_nothing() {
    if !engine() {
        return;
    }
    let lab = Lab::with(
        "noimage",
        &SMALL.replace(
            "[postgres.analytics]\n",
            "[postgres.analytics]\nimage = \"nowhere.invalid/pg:15\"\n",
        ),
    );
    let ran = lab.provision(&["apply", "local", "--yes"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    says(&ran, &["nowhere.invalid/pg:15"]);
}

#[test]
fn sql_that_fails_half_way_is_named_and_the_next_apply_converges() {
    if !engine() {
        return;
    }
    let with_init = SMALL.replace(
        "[postgres.analytics]\n",
        "[postgres.analytics]\ninit = [\"init/*.sql\"]\n",
    );
    let lab = Lab::with("half", &with_init);
    std::fs::create_dir_all(lab.path("init")).unwrap();
    lab.write("init/1.sql", "CREATE TABLE one (id int);\n");
    lab.apply();
    lab.write(
        "init/2.sql",
        "CREATE TABLE two (id int);\nINSERT INTO nowhere VALUES (1);\n",
    );
    let ran = lab.provision(&["apply", "local", "--yes"]).ends(1);
    says(&ran, &["2.sql", "nowhere"]);
    assert_eq!(
        lab.psql("app", "SELECT to_regclass('two') IS NULL"),
        "t",
        "the script's transaction is undone"
    );
    lab.write("init/2.sql", "CREATE TABLE two (id int);\n");
    lab.apply();
    lab.nothing_to_do();
    assert_eq!(
        lab.psql("app", "SELECT to_regclass('two') IS NOT NULL"),
        "t"
    );
}

#[test]
fn a_container_that_never_gets_up_is_shown_with_its_last_log_lines() {
    if !engine() {
        return;
    }
    let lab = Lab::with("loops", SMALL);
    lab.apply();
    // A setting the server starts with and cannot: by hand, as people do.
    lab.psql(
        "postgres",
        "ALTER SYSTEM SET shared_preload_libraries = 'no_such_library'",
    );
    docker(&["stop", &lab.container("analytics")]);
    let ran = lab.provision(&["apply", "local", "--yes"]);
    assert!(ran.code == 1 || ran.code == 9, "{ran:?}");
    says(&ran, &["container.analytics", "no_such_library"]);
}

#[test]
fn the_last_superuser_stays_one() {
    if !engine() {
        return;
    }
    let lab = Lab::with(
        "super",
        &SMALL.replace(
            "[postgres.analytics.role.app]",
            "[postgres.analytics.role.postgres]\nlogin = true\n[postgres.analytics.role.app]",
        ),
    );
    let ran = lab.provision(&["apply", "local", "--yes"]).ends(8);
    says(&ran, &["SUPERUSER", "postgres_role.analytics:postgres"]);
}

#[test]
fn a_root_that_does_not_let_us_in_is_unknown_and_not_absent() {
    if !engine() {
        return;
    }
    let text = "[environment]\nproject = \"PROJECT\"\n[mariadb.ivr]\n[mariadb.ivr.database.app]\n[mariadb.ivr.user.\"app@%\"]\npassword = \"app-canary-pass\"\n[forward.ivr]\nto = \"mariadb.ivr\"\nlisten = \"127.0.0.1:MARIADB_PORT\"\n";
    let lab = Lab::with("root", text);
    lab.apply();
    lab.nothing_to_do();
    lab.mariadb("ALTER USER root@localhost IDENTIFIED BY 'somebody-elses'");
    let changes = lab.plan();
    assert!(!changes.is_empty());
    assert!(
        changes.iter().all(|(_, action, _)| action == "unknown"),
        "{changes:?}"
    );
    let ran = lab.provision(&["apply", "local", "--yes"]).ends(4);
    says(&ran, &["Access denied"]);
}

#[test]
fn an_interrupted_apply_ends_with_130_and_the_next_converges() {
    if !engine() {
        return;
    }
    let lab = Lab::with("int", SMALL);
    lab.provision(&["render", "local", "--images"]).ends(0);
    let child = lab
        .command(&["apply", "local", "--yes"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let name = lab.container("analytics");
    until("the container is made", || {
        let ran = run(Command::new("docker").args(["inspect", "-f", "{{.State.Status}}", &name]));
        ran.stdout.contains("running")
    });
    run(Command::new("kill").args(["-INT", &child.id().to_string()])).ends(0);
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!(ran.code, 130, "{ran:?}");
    lab.apply();
    lab.nothing_to_do();
}

#[test]
fn a_closed_or_full_stdout_is_no_panic() {
    if !engine() {
        return;
    }
    let lab = Lab::with("pipe", SMALL);
    let mut child = lab
        .command(&["plan", "local"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let ran = run(lab.command(&["apply", "local", "--yes"]).stdout(full));
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    std::thread::sleep(Duration::from_millis(10));
    lab.nothing_to_do();
}
