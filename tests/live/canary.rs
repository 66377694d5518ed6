//! No secret anywhere it does not belong: passwords that can be recognised are planted, everything is done that can be done, and
//! then everything that was said, written, run or logged is searched for them. The search itself is tested on planted finds.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use provision::secret::Secret;

use crate::lab::canary::{Canary, Seen, Watch, found, leaking};
use crate::lab::{Lab, Ran, docker, engine, run, until};

/// The namespace of a service's container.
fn namespace(lab: &Lab, service: &str) -> String {
    let pid = docker(&["inspect", "-f", "{{.State.Pid}}", &lab.container(service)]);
    fs::read_link(format!("/proc/{pid}/ns/pid"))
        .unwrap()
        .display()
        .to_string()
}

/// The application is given its own secrets as variables, and that is the one place where a process may have one.
const GIVEN: &[&str] = &[
    "DJANGO_DB_PASSWORD",
    "DJANGO_IVR_PASSWORD",
    "DJANGO_SECRET_KEY",
];

#[test]
fn the_search_finds_what_is_planted() {
    let canaries = [
        Canary::new("one", "\"'$x %d \\ \u{e4}"),
        Canary::new("two", ""),
    ];
    let one = &canaries[0].password;
    let quoted = [
        one.clone(),
        serde_json::to_string(one).unwrap(),
        STANDARD.encode(one),
        STANDARD.encode(format!("ab{one}")),
        STANDARD.encode(format!("user:{one}:more")),
        one.bytes().map(|byte| format!("{byte:02X}")).collect(),
        one.replace('\'', "''"),
        one.replace('$', "$$"),
    ];
    for text in quoted {
        let text = format!("before {text} after");
        assert_eq!(
            found(text.as_bytes(), &canaries),
            BTreeSet::from(["one".to_owned()]),
            "{text}"
        );
    }
    assert!(found(b"canary", &canaries).is_empty());

    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).unwrap();
    for (name, mode) in [
        ("open", 0o644),
        ("group", 0o640),
        ("private", 0o600),
        ("program", 0o700),
    ] {
        fs::write(inner.join(name), format!("password: {one}")).unwrap();
        fs::set_permissions(inner.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut leaks = leaking(folder.path(), &canaries);
    leaks.sort();
    assert_eq!(leaks.len(), 3, "{leaks:?}");

    let watch = Watch::begin(&canaries);
    run(Command::new("sh").args(["-c", "sleep 0.3; :", &canaries[1].password])).ends(0);
    run(Command::new("sleep").arg("0.3").env("PLANTED", one)).ends(0);
    let (seen, rounds) = watch.end();
    let places: BTreeSet<(&str, &str)> = seen
        .iter()
        .map(|seen| (seen.canary.as_str(), seen.place.as_str()))
        .collect();
    assert_eq!(
        places,
        BTreeSet::from([("one", "PLANTED"), ("two", "cmdline")]),
        "{seen:?}"
    );
    assert!(rounds > 3, "{rounds}");
}

/// A lab whose every secret is a canary, from each place one can come from.
fn planted(lab: &Lab, canaries: &[Canary]) {
    let secret = |name: &str| canaries.iter().find(|canary| canary.name == name).unwrap();
    let local = fs::read_to_string(lab.path("local.toml")).unwrap();
    let mut text = String::new();
    let mut table = "";
    for line in local.lines() {
        if line.starts_with('[') {
            table = line;
        }
        let line = match (table, line.split_once(" = ").map_or("", |(key, _)| key)) {
            ("[postgres.analytics.role]", "django_user.password") => {
                format!("django_user.password = {}", secret("django").toml())
            }
            ("[postgres.analytics.role]", "reporting.password") => {
                format!("reporting.password = {}", secret("reporting").toml())
            }
            ("[postgres.analytics.role]", "etl.password") => {
                "etl.password = { command = [\"cat\", \"secrets/etl\"] }".to_owned()
            }
            ("[mariadb.ivr.user]", "\"django_user@%\".password") => {
                format!("\"django_user@%\".password = {}", secret("ivr").toml())
            }
            ("[mariadb.ivr.user]", "\"etl@%\".password") => {
                "\"etl@%\".password = { dotenv = \"secrets/ivr.env\", key = \"ETL\" }".to_owned()
            }
            ("[django.iact.env]", "DJANGO_SECRET_KEY") => {
                "DJANGO_SECRET_KEY = { file = \"secrets/key\" }".to_owned()
            }
            _ => line.to_owned(),
        };
        text.push_str(&line);
        text.push('\n');
    }
    assert_eq!(text.matches("secrets/").count(), 3, "{text}");
    lab.write("local.toml", &text);
    let folder = lab.path("secrets");
    fs::create_dir_all(&folder).unwrap();
    for (file, text) in [
        ("etl", secret("etl").password.clone()),
        ("ivr.env", format!("ETL={}\n", secret("ivr_etl").password)),
        ("key", format!("{}\n", secret("key").password)),
    ] {
        let path = folder.join(file);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

const HOSTILE: &str = "\"'`$x${y} %d%% \\n \\ \u{e4}#;--";

fn all() -> Vec<Canary> {
    [
        ("django", HOSTILE),
        ("reporting", ""),
        ("etl", HOSTILE),
        ("ivr", HOSTILE),
        ("ivr_etl", "-\u{e4}"),
        ("key", HOSTILE),
    ]
    .into_iter()
    .map(|(name, tail)| Canary::new(name, tail))
    .collect()
}

/// What was said, with the words that made it say so.
#[derive(Default)]
struct Heard(Vec<(String, String)>);

impl Heard {
    #[track_caller]
    fn run(&mut self, lab: &Lab, words: &[&str]) -> Ran {
        let ran = lab.provision(words);
        self.hear(&words.join(" "), &ran);
        ran
    }

    fn hear(&mut self, name: &str, ran: &Ran) {
        self.0.push((format!("{name}, stdout"), ran.stdout.clone()));
        self.0.push((format!("{name}, stderr"), ran.stderr.clone()));
    }

    #[track_caller]
    fn is_clean(&self, canaries: &[Canary]) {
        for (name, text) in &self.0 {
            let found = found(text.as_bytes(), canaries);
            assert!(found.is_empty(), "{found:?} in `{name}`:\n{text}");
        }
    }
}

#[test]
fn no_secret_is_anywhere_it_does_not_belong() {
    if !engine() {
        return;
    }
    let lab = Lab::new("canary");
    let mut canaries = all();
    planted(&lab, &canaries);
    let mut heard = Heard::default();
    heard
        .run(&lab, &["plan", "local", "--out", "first.plan", "-vvv"])
        .ends(0);
    let apply = [
        "apply",
        "local",
        "--plan",
        "first.plan",
        "-vvv",
        "--log-format",
        "json",
    ];
    let seen = watched(&lab, &mut heard, &canaries, &apply);
    only_the_application(&lab, &seen, &[]);
    // The application logs in with them: they arrived as they are.
    heard
        .run(&lab, &["plan", "local", "--detailed-exitcode", "-vvv"])
        .ends(0);

    canaries.extend(kept(&lab, &canaries));
    looked_at(&lab, &mut heard);
    changed(&lab, &mut heard, &mut canaries);
    failing(&lab, &mut heard, &mut canaries);
    heard.is_clean(&canaries);
    on_the_machine(&lab, &canaries);
    heard
        .run(&lab, &["destroy", "local", "--yes", "-vvv"])
        .ends(0);
    heard.is_clean(&canaries);
    let leaks = leaking(&lab.folder.path().join(".provision"), &canaries);
    assert!(leaks.is_empty(), "{leaks:#?}");
}

/// Runs something that has to end well, and says which processes held a canary meanwhile.
#[track_caller]
fn watched(lab: &Lab, heard: &mut Heard, canaries: &[Canary], words: &[&str]) -> BTreeSet<Seen> {
    let watch = Watch::begin(canaries);
    let ran = heard.run(lab, words);
    let (seen, rounds) = watch.end();
    heard.is_clean(canaries);
    ran.ends(0);
    assert!(rounds > 20, "{rounds}");
    seen
}

/// The container of the application, as it is now or was before, may hold its own variables; nothing else may hold anything.
#[track_caller]
fn only_the_application(lab: &Lab, seen: &BTreeSet<Seen>, before: &[String]) {
    let now = namespace(lab, "iact");
    let excepted = |seen: &&Seen| {
        GIVEN.contains(&seen.place.as_str())
            && (seen.container == now || before.contains(&seen.container))
    };
    let others: Vec<&Seen> = seen.iter().filter(|seen| !excepted(seen)).collect();
    assert!(others.is_empty(), "{others:#?}");
    assert!(
        seen.iter().any(|seen| excepted(&seen)),
        "the application was not seen: was anything?"
    );
}

/// What the databases keep of the passwords: it can be guessed at, so it is looked for too.
fn kept(lab: &Lab, canaries: &[Canary]) -> Vec<Canary> {
    let rows = lab.psql("postgres", "SELECT rolname, split_part(rolpassword, '$', 3) FROM pg_authid WHERE rolname IN ('django_user', 'reporting', 'etl')");
    let mut kept: Vec<Canary> = rows
        .lines()
        .map(|row| row.split_once('|').unwrap())
        .map(|(role, keys)| Canary::kept(&format!("verifier of {role}"), keys))
        .collect();
    assert_eq!(kept.len(), 3);
    for canary in canaries
        .iter()
        .filter(|canary| canary.name.starts_with("ivr"))
    {
        let hash = Secret::new(canary.password.as_str()).native_hash();
        kept.push(Canary::kept(
            &format!("hash of {}", canary.name),
            hash.expose(),
        ));
    }
    kept
}

/// Every command that speaks of things, at its most talkative.
fn looked_at(lab: &Lab, heard: &mut Heard) {
    lab.psql("postgres", "ALTER ROLE etl PASSWORD 'by hand'");
    lab.mariadb("SET PASSWORD FOR 'django_user'@'%' = PASSWORD('by hand')");
    docker(&["rm", "-f", &lab.container("iact")]);
    for words in [
        &["plan", "local", "-vvv"][..],
        &["plan", "local", "--json", "-vvv", "--log-format", "json"],
        &["plan", "local", "--out", "second.plan"],
        &["explain", "local", "postgres_role.analytics:etl", "-vvv"],
        &["explain", "local", "mariadb_user.ivr:django_user@%", "-vvv"],
        &["explain", "local", "container.iact", "-vvv"],
        &[
            "explain",
            "local",
            "generated_file.docker-compose.yml",
            "-vvv",
        ],
        &["render", "local", "--out", "rendered", "-vvv"],
        &["apply", "local", "--yes", "-vvv"],
        &["validate", "local", "-vvv"],
        &["ps", "local", "-vvv"],
        &["doctor", "-vvv"],
    ] {
        heard.run(lab, words);
    }
    for (at, file) in ["first.plan", "second.plan"].iter().enumerate() {
        let text = fs::read_to_string(lab.folder.path().join(file)).unwrap();
        assert!(text.len() > 1000, "{at}: {text}");
        heard.0.push(((*file).to_owned(), text));
    }
}

/// Passwords change while both servers log every statement: the logs hold none, nor what is kept of them.
fn changed(lab: &Lab, heard: &mut Heard, canaries: &mut Vec<Canary>) {
    lab.psql("postgres", "ALTER SYSTEM SET log_statement = 'all'");
    lab.psql("postgres", "SELECT pg_reload_conf()");
    lab.mariadb("SET GLOBAL general_log_file = '/tmp/general.log'; SET GLOBAL general_log = ON");
    let newer: Vec<Canary> = all();
    planted_again(lab, &newer);
    canaries.extend(newer.iter().cloned());
    let before = namespace(lab, "iact");
    let seen = watched(lab, heard, canaries, &["apply", "local", "--yes", "-vvv"]);
    only_the_application(lab, &seen, &[before]);
    canaries.extend(kept(lab, &newer));
    // The logs did log: what we say by hand stands in them.
    lab.psql("postgres", "SELECT 'the log is on'");
    lab.mariadb("SELECT 'the log is on'");
    let logs = run(Command::new("docker").args(["logs", &lab.container("analytics")])).ends(0);
    let general = docker(&["exec", &lab.container("ivr"), "cat", "/tmp/general.log"]);
    for (name, text) in [
        (
            "PostgreSQL's log",
            format!("{}{}", logs.stdout, logs.stderr),
        ),
        ("MariaDB's log", general),
    ] {
        assert!(text.contains("the log is on"), "{name}: {text}");
        heard.0.push((name.to_owned(), text));
    }
}

/// The same file with other secrets.
fn planted_again(lab: &Lab, canaries: &[Canary]) {
    let text = fs::read_to_string(lab.path("local.toml")).unwrap();
    let names = [
        "etl.password = {",
        "\"etl@%\".password = {",
        "DJANGO_SECRET_KEY = {",
    ];
    let back: Vec<String> = text
        .lines()
        .map(
            |line| match names.iter().any(|name| line.starts_with(name)) {
                true => format!("{} = \"to be planted\"", line.split_once(" = ").unwrap().0),
                false => line.to_owned(),
            },
        )
        .collect();
    lab.write("local.toml", &format!("{}\n", back.join("\n")));
    planted(lab, canaries);
}

/// SQL that fails with a secret in it: neither the message nor the server's log shows it.
fn failing(lab: &Lab, heard: &mut Heard, canaries: &mut Vec<Canary>) {
    let newer = all();
    planted_again(lab, &newer);
    canaries.extend(newer);
    // Somebody else alters the role meanwhile: our statement waits for them and then fails. MariaDB takes no hashes.
    let mut other = Command::new("docker")
        .args([
            "exec",
            "-u",
            "postgres",
            &lab.container("analytics"),
            "psql",
            "-Xq",
            "-c",
        ])
        .arg("BEGIN; ALTER ROLE etl CONNECTION LIMIT 5; SELECT pg_sleep(15); COMMIT")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    until("somebody alters the role", || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        lab.psql("postgres", sql) == "1"
    });
    lab.mariadb(
        "INSTALL SONAME 'simple_password_check'; SET GLOBAL strict_password_validation = ON",
    );
    let ran = heard.run(lab, &["apply", "local", "--yes", "-vvv"]);
    other.wait().unwrap();
    lab.mariadb(
        "SET GLOBAL strict_password_validation = OFF; UNINSTALL SONAME 'simple_password_check'",
    );
    let ran = ran.ends(1);
    for word in [
        "tuple concurrently updated",
        "`postgres_role.analytics:etl` failed",
        // Where the engine drops a client's last words, it is unknown what came of it.
        "error: `mariadb_user.ivr:django_user@%`",
    ] {
        assert!(
            ran.stderr.contains(word),
            "`{word}` is not said: {}",
            ran.stderr
        );
    }
    heard.run(lab, &["apply", "local", "--yes", "-vvv"]).ends(0);
    let log = run(Command::new("docker").args(["logs", &lab.container("analytics")])).ends(0);
    assert!(
        log.stderr.contains("tuple concurrently updated"),
        "{}",
        log.stderr
    );
}

/// Files, logs of containers, what the engine shows of containers and images.
fn on_the_machine(lab: &Lab, canaries: &[Canary]) {
    let folder = lab.folder.path();
    let leaks = leaking(&folder.join(".provision"), canaries);
    assert!(leaks.is_empty(), "{leaks:#?}");
    let leaks = leaking(&folder.join("rendered"), canaries);
    let passwords: Vec<Canary> = canaries
        .iter()
        .filter(|canary| canary.password.starts_with("canary"))
        .cloned()
        .collect();
    // What a container must read is open inside a folder that is not, and holds verifiers at most.
    assert!(
        leaking(&folder.join("rendered"), &passwords).is_empty(),
        "{leaks:#?}"
    );
    assert_eq!(
        fs::metadata(folder.join("rendered"))
            .unwrap()
            .permissions()
            .mode()
            & 0o077,
        0
    );

    let label = format!("label=com.docker.compose.project={}", lab.project);
    let ask = |words: &[&str]| {
        let ran = run(Command::new("docker").args(words)).ends(0);
        format!("{}{}", ran.stdout, ran.stderr)
    };
    let mut shown = Vec::new();
    for id in docker(&["ps", "-aq", "--filter", &label]).lines() {
        shown.push(("the log of a container", ask(&["logs", id])));
        let name = ask(&["inspect", "-f", "{{.Name}} {{.Image}}", id]);
        let image = name.split_whitespace().nth(1).unwrap();
        shown.push((
            "the history of an image",
            ask(&["history", "--no-trunc", image]),
        ));
        shown.push(("an image", ask(&["inspect", image])));
        if !name.contains("-iact-") {
            shown.push(("the container of a database", ask(&["inspect", id])));
        }
    }
    shown.push((
        "the networks",
        ask(&["network", "inspect", &format!("{}_default", lab.project)]),
    ));
    for id in docker(&["volume", "ls", "-q", "--filter", &label]).lines() {
        shown.push(("a volume", ask(&["volume", "inspect", id])));
    }
    assert!(shown.len() > 10, "{}", shown.len());
    for (name, text) in shown {
        let found = found(text.as_bytes(), canaries);
        assert!(found.is_empty(), "{found:?} in {name}:\n{text}");
    }
}
