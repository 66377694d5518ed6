//! The figures that the README holds, measured with one command: `cargo bench`. Ratios are of medians in one run.
//! `cargo bench -- pure` leaves out what needs a Docker engine.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    dead_code,
    unused_imports,
    reason = "a bench prints its figures, stops where it cannot measure, and shares the tests' lab"
)]

#[path = "../lab/mod.rs"]
mod lab;
mod measure;

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use provision::command::{Answer, Answers, Place, Rows};
use provision::plan::{Judging, judge};
use provision::resource::{Resource, Thing};
use provision::{environment, observe, services};
use serde_json::{Map, Value, json};

use lab::compose::{compose2, v2};
use lab::{Lab, docker};
use measure::{median, ms, peak, quiet, ratio, row, timed};

fn main() {
    let pure = std::env::args().any(|word| word == "pure");
    version();
    size();
    let small = deciding(1_000);
    let large = deciding(10_000);
    row(
        "growth from 10,000 to 100,000 resources",
        &format!("{:.1} times", large / small),
        "about 10",
    );
    if pure || !lab::engine() {
        println!("left out: what needs a Docker engine");
        return;
    }
    local();
    many();
}

/// How many roles (and as many grants) and databases [`many`] is about.
const ROLES: usize = 200;
const DATABASES: usize = 60;

/// Many roles, databases and grants on one server of an engine: against the same by hand, and against an older `provision` where
/// `PROVISION_BEFORE` names one.
fn many() {
    let lab = Lab::with("benchmany", &many_declared());
    let sql = lab.path("by-hand.sql");
    std::fs::write(&sql, many_by_hand()).unwrap();
    let name = format!("{}-by-hand", lab.project);
    let by_hand = timed(1, || quiet(script("by-hand.sh").arg(&name).arg(&sql)));
    quiet(Command::new("docker").args(["rm", "-f", "-v", &name]));
    let first = timed(1, || quiet(&mut lab.command(&["apply", "local", "--yes"])));
    row(
        &format!("the server with {ROLES} roles, {DATABASES} databases, {ROLES} grants by hand"),
        &ms(by_hand),
        "",
    );
    row(
        "the same by a first `apply`, with a login of each role",
        &format!("{}, {} of by hand", ms(first), ratio(first, by_hand)),
        "at most 1.5",
    );
    let before = std::env::var("PROVISION_BEFORE").ok();
    let (mut plans, mut olds) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        plans.push(timed(1, || quiet(&mut lab.command(&["plan", "local"]))));
        if let Some(before) = &before {
            let mut old = Command::new(before);
            old.args(["plan", "local"]).current_dir(lab.folder.path());
            olds.push(timed(1, || quiet(&mut old)));
        }
    }
    let plan = median(plans);
    let figure = match olds.is_empty() {
        true => format!(
            "{} (`PROVISION_BEFORE` names what to compare with)",
            ms(plan)
        ),
        false => {
            let old = median(olds);
            format!("{}, {} of {} before", ms(plan), ratio(plan, old), ms(old))
        }
    };
    row("a no-op `plan` of it", &figure, "at most 0.35");
    let verify = timed(1, || quiet(&mut lab.command(&["verify", "local"])));
    row("`verify` of it", &ms(verify), "");
}

fn script(name: &str) -> Command {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/benches/many");
    Command::new(folder.join(name))
}

/// The database that a role may read.
fn granted(role: usize) -> usize {
    role * 7 % DATABASES
}

fn many_declared() -> String {
    let mut text =
        "[environment]\nproject = \"PROJECT\"\nstage = \"dev\"\n[postgres.analytics]\n".to_owned();
    for role in 0..ROLES {
        writeln!(
            text,
            "[postgres.analytics.role.r{role}]\npassword = \"secret {role}\""
        )
        .unwrap();
    }
    for database in 0..DATABASES {
        writeln!(
            text,
            "[postgres.analytics.database.d{database}]\nowner = \"r{database}\""
        )
        .unwrap();
    }
    for role in 0..ROLES {
        let database = granted(role);
        writeln!(
            text,
            "[[postgres.analytics.grant]]\nrole = \"r{role}\"\ndatabase = \"d{database}\"\ntables = [\"SELECT\"]"
        )
        .unwrap();
    }
    text
}

/// The same as somebody would write it.
fn many_by_hand() -> String {
    let mut text = String::new();
    for role in 0..ROLES {
        writeln!(text, "CREATE ROLE r{role} LOGIN PASSWORD 'secret {role}';").unwrap();
    }
    for database in 0..DATABASES {
        writeln!(text, "CREATE DATABASE d{database} OWNER r{database};").unwrap();
    }
    for database in 0..DATABASES {
        writeln!(text, "\\connect d{database}").unwrap();
        for role in (0..ROLES).filter(|role| granted(*role) == database) {
            writeln!(
                text,
                "GRANT CONNECT ON DATABASE d{database} TO r{role};\nGRANT USAGE ON SCHEMA public TO r{role};\n\
                 GRANT SELECT ON ALL TABLES IN SCHEMA public TO r{role};"
            )
            .unwrap();
        }
    }
    text
}

fn version() {
    let time = timed(21, || {
        quiet(Command::new(env!("CARGO_BIN_EXE_provision")).arg("--version"))
    });
    row("`provision --version`", &ms(time), "at most 10 ms");
}

fn size() {
    let bytes = std::fs::metadata(env!("CARGO_BIN_EXE_provision"))
        .unwrap()
        .len();
    row(
        "stripped release binary",
        &format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
        "at most 20 MiB",
    );
}

/// Loads, expands, orders and judges ten resources for each of many servers, from canned answers. Seconds.
fn deciding(servers: usize) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("environments");
    write(&dir, servers);
    let canned = {
        let environment = load(&dir);
        let resources = meaning(&environment);
        answers(&resources)
    };
    let mut count = 0;
    let time = timed(5, || {
        let environment = load(&dir);
        let resources = meaning(&environment);
        let sheet = observe::sheet(&environment.project, &resources);
        assert_eq!(sheet.servers.len(), servers);
        let plan = judge(&resources, &canned, &Judging::default());
        assert!(plan.as_wanted > servers, "{} as wanted", plan.as_wanted);
        count = resources.len();
    });
    let wanted = if servers <= 1_000 {
        "at most 100 ms"
    } else {
        "linear"
    };
    row(
        &format!("load, expand, order and judge {count} resources"),
        &ms(time),
        wanted,
    );
    time.as_secs_f64()
}

fn load(dir: &Path) -> provision::declaration::Environment {
    let environment = environment::load(dir, "local")
        .unwrap_or_else(|failure| panic!("{failure}: {:?}", failure.problems.first()));
    environment::resolve(environment).unwrap()
}

/// Expanded and in order.
fn meaning(environment: &provision::declaration::Environment) -> Vec<Resource> {
    services::meaning(environment, &services::Ports::new())
        .unwrap_or_else(|problems| panic!("{problems:?}"))
        .resources
}

/// An environment file for every thousand servers, and one that extends them all.
fn write(dir: &Path, servers: usize) {
    std::fs::create_dir_all(dir).unwrap();
    let mut parents = Vec::new();
    for part in 0..servers.div_ceil(1_000) {
        let mut text = String::new();
        for server in part * 1_000..((part + 1) * 1_000).min(servers) {
            let password = if server < 20 {
                "password = \"a password\"\n"
            } else {
                ""
            };
            write!(
                text,
                "[postgres.s{server}]\nsettings = {{ max_connections = 50, work_mem = \"8MB\" }}\n\
                 [postgres.s{server}.role.app]\n{password}[postgres.s{server}.role.reader]\n\
                 [postgres.s{server}.database.app]\nowner = \"app\"\nextensions = [\"citext\"]\n\
                 [[postgres.s{server}.grant]]\nrole = \"reader\"\ndatabase = \"app\"\n"
            )
            .unwrap();
        }
        std::fs::write(dir.join(format!("part{part}.toml")), text).unwrap();
        parents.push(format!("\"part{part}.toml\""));
    }
    let text = format!(
        "extends = [{}]\n[environment]\nproject = \"many\"\n",
        parents.join(", ")
    );
    std::fs::write(dir.join("local.toml"), text).unwrap();
}

/// Answers in which everything inside the servers is as wanted but their grants, and the engine has the volumes and no
/// container: three of ten are to be made.
fn answers(resources: &[Resource]) -> Answers {
    let mut answers = Answers::default();
    let mut rows: std::collections::HashMap<(Place, &'static str), Vec<Map<String, Value>>> =
        Default::default();
    for resource in resources {
        let row = match &resource.thing {
            Thing::PostgresRole(role) => {
                let verifier = role
                    .password
                    .as_ref()
                    .map(|password| password.scram_verifier(&role.seed).expose().to_owned());
                json!({
                    "key": role.name, "login": role.login, "superuser": role.superuser, "createdb": role.createdb,
                    "createrole": role.createrole, "inherit": role.inherit, "replication": role.replication,
                    "bypassrls": role.bypassrls, "connection_limit": role.connection_limit, "current": false,
                    "password": verifier, "until": null, "until_local": null, "ended": false, "member_of": null, "settings": null,
                })
            }
            Thing::PostgresDatabase(database) => json!({
                "key": database.name, "owner": database.owner, "encoding": "UTF8", "collate": "C.UTF-8", "ctype": "C.UTF-8",
                "provider": "c", "icu": null, "connection_limit": database.connection_limit,
            }),
            Thing::PostgresExtension(extension) => json!({
                "key": extension.name, "version": "1.6", "schema": "public", "relocatable": true,
            }),
            Thing::PostgresSetting(setting) => {
                let memory = setting.name == "work_mem";
                json!({
                    "key": setting.name, "running": if memory { "8192" } else { "50" }, "shown": setting.value[0],
                    "file": setting.value[0], "vartype": "integer", "unit": if memory { "kB" } else { "" },
                    "context": "user", "source": "configuration file", "pending_restart": false, "pending_reload": false,
                })
            }
            Thing::Volume(volume) => json!({
                "key": volume.name,
                "inspect": { "Labels": {
                    "com.docker.compose.volume": volume.key, "com.docker.compose.project": volume.owner.project,
                    "provision.family": volume.family,
                } },
            }),
            _ => Value::Null,
        };
        let rows = rows
            .entry((resource.place.clone(), resource.thing.question()))
            .or_default();
        if let Value::Object(row) = row {
            rows.push(row);
        }
    }
    for ((place, question), rows) in rows {
        answers.put(place, question, Answer::Rows(Rows::new(rows)));
    }
    answers
}

/// What happens on a real engine.
fn local() {
    let lab = Lab::new("bench");
    let compose = Lab::new("benchcompose");
    for one in [&lab, &compose] {
        quiet(&mut one.command(&["render", "local", "--images"]));
    }
    let first = timed(1, || {
        quiet(
            lab.command(&["apply", "local", "--yes"])
                .env("DOCKER_CONFIG", v2()),
        )
    });
    let cold = timed(1, || {
        compose2(&compose.generated(), &["up", "-d", "--wait"]).ends(0);
    });
    let up = |folder: &Path| {
        compose2(folder, &["up", "-d"]).ends(0);
    };
    let plan = || quiet(&mut lab.command(&["plan", "local"]));
    plan();
    let mut plans = Vec::new();
    let mut applies = Vec::new();
    let mut ups = Vec::new();
    let mut execs = Vec::new();
    let clients = [lab.container("analytics"), lab.container("ivr")];
    for _ in 0..11 {
        execs.push(timed(1, || quiet(script("execs.sh").args(&clients))));
        plans.push(timed(1, plan));
        applies.push(timed(1, || {
            quiet(&mut lab.command(&["apply", "local", "--yes"]))
        }));
        ups.push(timed(1, || up(&compose.generated())));
    }
    let (plan, apply, up) = (median(plans), median(applies), median(ups));
    row("no-op `docker compose up -d` (2.26)", &ms(up), "");
    row(
        "no-op `plan local`",
        &format!("{}, {} of compose", ms(plan), ratio(plan, up)),
        "at most 0.25",
    );
    let execs = median(execs);
    row(
        "`docker exec` of both servers' clients side by side",
        &format!("{}, the plan is {} of it", ms(execs), ratio(plan, execs)),
        "at most 1.15",
    );
    row(
        "no-op `apply local --yes`",
        &format!("{}, {} of the plan", ms(apply), ratio(apply, plan)),
        "at most 1.2",
    );
    row("first `apply local --yes`", &ms(first), "");
    row(
        "cold `docker compose up -d --wait` with the first-start SQL",
        &format!("{}, apply is {} of it", ms(cold), ratio(first, cold)),
        "at most 0.6",
    );
    row(
        "peak memory of `plan local`",
        &format!("{:.1} MiB", peak(&mut lab.command(&["plan", "local"]))),
        "at most 50 MiB",
    );
}
