//! Whose things are whose: two environments of one project, renamed projects, generated secrets, restored volumes.

use std::process::Command;

use crate::lab::server::{Image, Server, ServerLab};
use crate::lab::{Lab, Ran, SMALL, docker, engine, run};

/// Runs a line that a hint printed, as a user would paste it.
#[track_caller]
fn paste(line: &str) {
    run(Command::new("bash").args(["-ec", line])).ends(0);
}

/// The commands among the hints of a failed run.
fn commands(ran: &Ran, starts: &str) -> Vec<String> {
    let lines = ran.stderr.lines().chain(ran.stdout.lines());
    lines
        .filter_map(|line| {
            let line = line.trim().trim_start_matches("help: ");
            line.starts_with(starts).then(|| line.to_owned())
        })
        .collect()
}

#[test]
fn another_environment_of_the_project_takes_and_destroys_nothing() {
    if !engine() {
        return;
    }
    let lab = Lab::with("owners", SMALL);
    lab.apply();
    lab.psql("app", "CREATE TABLE only_of_local (x int)");
    std::fs::copy(lab.path("local.toml"), lab.path("other.toml")).unwrap();
    let volume = format!("volume.{}_analytics_data", lab.project);

    let plan = lab.provision(&["plan", "other"]).ends(8);
    let named = format!(
        "belongs to environment `local` of project `{}`",
        lab.project
    );
    assert!(plan.stderr.contains(&named), "{}", plan.stderr);
    lab.provision(&["apply", "other", "--yes"]).ends(8);
    let destroy = ["destroy", "other", "--yes", "--destroy-data", &volume];
    let refused = lab.provision(&destroy).ends(8);
    assert!(refused.stderr.contains(&named), "{}", refused.stderr);
    lab.provision(&["destroy", "other", "--yes"]).ends(0);

    lab.nothing_to_do();
    assert_eq!(lab.psql("app", "SELECT count(*) FROM only_of_local"), "0");

    // With services of other names they share nothing but the network, and that is enough to be told.
    lab.edit("other.toml", "postgres.analytics", "postgres.reports");
    lab.edit("other.toml", "[forward.analytics]", "[forward.reports]");
    lab.provision(&["apply", "other", "--yes"]).ends(8);
    lab.nothing_to_do();

    // The way out that the hint names.
    let other = format!("{}b", lab.project);
    lab.edit("other.toml", &lab.project, &other);
    lab.edit("other.toml", "[forward.reports]", "[unused]");
    let text = std::fs::read_to_string(lab.path("other.toml")).unwrap();
    let text = text.split("[unused]").next().unwrap_or_default();
    lab.write("other.toml", text);
    lab.provision(&["apply", "other", "--yes"]).ends(0);
    lab.nothing_to_do();
    let volume = format!("volume.{other}_reports_data");
    let destroy = ["destroy", "other", "--yes", "--destroy-data", &volume];
    lab.provision(&destroy).ends(0);
    lab.nothing_to_do();
}

#[test]
fn a_renamed_project_is_told_and_its_data_moves_as_the_hint_says() {
    if !engine() {
        return;
    }
    let lab = Lab::with("renamed", SMALL);
    lab.apply();
    lab.psql("app", "CREATE TABLE t AS SELECT 42 AS x");
    let (old, new) = (lab.project.clone(), format!("{}new", lab.project));
    lab.edit("local.toml", &old, &new);
    // Removes what the other name made, also on failure.
    let mut of_new = Lab::with("renamed", SMALL);
    of_new.project = new.clone();

    let plan = lab.provision(&["plan", "local"]).ends(8);
    for words in [
        format!("was applied as project `{old}`"),
        format!("`{old}_analytics_data`"),
        format!("put `project = \"{old}\"` back"),
    ] {
        assert!(plan.stderr.contains(&words), "{words}: {}", plan.stderr);
    }
    lab.provision(&["apply", "local", "--yes"]).ends(8);
    assert_eq!(
        docker(&["ps", "-q", "--filter", &format!("name={new}")]),
        ""
    );

    docker(&["rm", "-f", &lab.container("analytics")]);
    let lines = commands(&plan, "docker ");
    assert_eq!(lines.len(), 1, "{}", plan.stderr);
    lines.iter().for_each(|line| paste(line));
    lab.apply();
    lab.nothing_to_do();
    assert_eq!(of_new.psql("app", "SELECT x FROM t"), "42");
}

#[test]
fn a_restored_volume_comes_back_as_the_refusal_says() {
    if !engine() {
        return;
    }
    let lab = Lab::with("restored", SMALL);
    lab.apply();
    lab.psql("app", "CREATE TABLE t AS SELECT 42 AS x");
    let volume = format!("{}_analytics_data", lab.project);
    let backup = lab.folder.path().join("backup.tar");
    let mount = format!("{}:/backup", lab.folder.path().display());
    let tar = |words: &[&str]| {
        let data = format!("{volume}:/data");
        let mut all = vec!["run", "--rm", "--user", "0", "--entrypoint", "tar"];
        all.extend(["-v", data.as_str(), "-v", mount.as_str()]);
        all.extend(["postgres:15-bookworm", "-C", "/data"]);
        all.extend(words);
        docker(&all);
    };
    docker(&["stop", &lab.container("analytics")]);
    tar(&["-cf", "/backup/backup.tar", "."]);
    let id = format!("volume.{volume}");
    lab.provision(&["destroy", "local", "--yes", "--destroy-data", &id])
        .ends(0);
    docker(&["volume", "create", &volume]);
    tar(&["-xf", "/backup/backup.tar"]);
    assert!(backup.exists());

    let plan = lab.provision(&["plan", "local"]).ends(1);
    assert!(
        plan.stderr.contains("`provision adopt local`"),
        "{}",
        plan.stderr
    );
    let adopt = lab.provision(&["adopt", "local", "--yes"]);
    let lines = commands(&adopt, "docker ");
    assert_eq!(lines.len(), 1, "{adopt:?}");
    lines.iter().for_each(|line| paste(line));
    lab.apply();
    lab.nothing_to_do();
    assert_eq!(lab.psql("app", "SELECT x FROM t"), "42");
    docker(&["volume", "rm", &format!("{volume}_old")]);
}

const GENERATED: &str = r#"
[postgres.main]
on = "s1"
[postgres.main.role.app]
password = { generate = true }
[postgres.main.database.app]
owner = "app"
[file."/etc/motd"]
on = "s1"
content = "of the first\n"
"#;

#[test]
fn a_server_knows_whose_secrets_and_files_it_has() {
    if !engine() {
        return;
    }
    let server = Server::up("owners", Image::Full);
    let one = ServerLab::new([&server], GENERATED);
    one.apply();
    one.nothing_to_do();
    let verifier = "SELECT rolpassword FROM pg_authid WHERE rolname = 'app'";
    let stored = || {
        server.sh(&format!(
            "runuser -u postgres -- psql -XAtqc \"{verifier}\""
        ))
    };
    let before = stored();

    // Another operator, with the same file and no secret.
    let mut two = ServerLab::new([&server], GENERATED);
    two.project = one.project.clone();
    two.say(&format!("{}{GENERATED}", server.host("s1")));
    for words in [&["plan", "servers"][..], &["apply", "servers", "--yes"]] {
        let refused = two.provision(words).ends(7);
        assert!(
            refused
                .stderr
                .contains("`postgres.main.role.app.password` is not the one that"),
            "{}",
            refused.stderr
        );
        assert!(
            refused
                .stderr
                .contains("--replace-secret postgres.main.role.app.password"),
            "{}",
            refused.stderr
        );
    }
    assert_eq!(stored(), before);
    // The file brought over: the two agree.
    let secrets = |lab: &ServerLab| lab.folder.path().join(".provision/servers/secrets");
    std::fs::create_dir_all(secrets(&two)).unwrap();
    paste(&format!(
        "cp -p {}/* {}/",
        secrets(&one).display(),
        secrets(&two).display()
    ));
    two.nothing_to_do();
    // On purpose.
    paste(&format!("rm {}/*", secrets(&two).display()));
    let key = ["--replace-secret", "postgres.main.role.app.password"];
    two.provision(&[&["apply", "servers", "--yes"][..], &key].concat())
        .ends(0);
    assert_ne!(stored(), before);
    two.nothing_to_do();
    one.provision(&["plan", "servers"]).ends(7);

    // Another project that declares the same file otherwise.
    let motd = "[file.\"/etc/motd\"]\non = \"s1\"\ncontent = \"of another\\n\"\n";
    let other = ServerLab::new([&server], motd);
    let refused = other.provision(&["apply", "servers", "--yes"]).ends(8);
    let owner = format!("belongs to environment `{}.servers` on `s1`", one.project);
    assert!(refused.stderr.contains(&owner), "{}", refused.stderr);
    assert_eq!(server.sh("cat /etc/motd"), "of the first");
    // Equal declarations are shared, and who takes it out leaves it to the other.
    other.say(&format!(
        "{}{}",
        server.host("s1"),
        motd.replace("another", "the first")
    ));
    other.apply();
    other.say(&server.host("s1"));
    other.apply();
    assert_eq!(server.sh("cat /etc/motd"), "of the first");
    two.nothing_to_do();
}
