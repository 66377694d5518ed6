//! Databases on real servers, and managed ones: the same kinds as in containers; whether they work; the way to them.

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use provision::secret::Secret;
use provision::target::login;

use super::verify::with;
use crate::lab::server::{Image, Server, ServerLab};
use crate::lab::{Ran, engine, free_port, run, until};

const INSTALLED: &str = r#"
[postgres.analytics]
on = "s1"
[postgres.analytics.settings]
max_connections = 90
[postgres.analytics.role.app]
password = { env = "APP" }
[postgres.analytics.role.other]
password = { env = "OTHER" }
[postgres.analytics.database.data]
owner = "app"
extensions = ["citext"]
[postgres.analytics.database.closed]
owner = "app"
[[postgres.analytics.grant]]
role = "PUBLIC"
database = "closed"
connect = false
[[postgres.analytics.grant]]
role = "other"
database = "data"
tables = ["SELECT"]
future = true

[mariadb.ivr]
on = "s1"
[mariadb.ivr.database.calls]
[mariadb.ivr.user."caller@%"]
password = { env = "APP" }
grants = { "calls.*" = ["SELECT"] }

[forward.analytics]
to = "postgres.analytics"
listen = "127.0.0.1:PORT"
"#;

const MANAGED: &str = r#"
[postgres.cloud]
external = { host = "127.0.0.1", admin = "admin", password = { env = "ADMIN" } }
[postgres.cloud.role.cloud_app]
password = { env = "APP" }
[postgres.cloud.database.cloud_data]
owner = "cloud_app"
extensions = ["citext"]
[[postgres.cloud.grant]]
role = "cloud_app"
database = "cloud_data"
tables = ["SELECT"]
[mariadb.clouds]
external = { host = "127.0.0.1", admin = "admin", password = { env = "ADMIN" } }
[mariadb.clouds.database.cloud_calls]
[mariadb.clouds.user."cloud@%"]
password = { env = "APP" }
grants = { "cloud_calls.*" = ["SELECT"] }
"#;

/// An administrator who is no superuser, as managed servers have.
const ADMINISTRATOR: &str = r#"
runuser -u postgres -- psql -q <<'SQL'
CREATE ROLE admin LOGIN CREATEDB CREATEROLE PASSWORD 'canary-pass "c''\';
SQL
mariadb <<'SQL'
CREATE USER admin@'%' IDENTIFIED BY 'canary-pass "c\'\\';
GRANT CREATE USER, CREATE, DROP, SELECT, INSERT, UPDATE, DELETE, ALTER, INDEX ON *.* TO admin@'%' WITH GRANT OPTION;
SQL
"#;

#[track_caller]
fn includes(ids: &[String], wanted: &[&str]) {
    for id in wanted {
        assert!(ids.iter().any(|one| one == id), "{id} is not in {ids:?}");
    }
}

fn command(lab: &ServerLab, words: &[&str]) -> Command {
    let mut command = lab.command(words);
    command
        .env("APP", "canary-pass 'a\\\"")
        .env("OTHER", "canary-pass b")
        .env("ADMIN", "canary-pass \"c'\\");
    command
}

#[track_caller]
fn ran(lab: &ServerLab, words: &[&str]) -> Ran {
    let ran = run(&mut command(lab, words));
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(!said.contains("canary-pass"), "a secret is shown: {said}");
    ran
}

#[track_caller]
fn nothing_to_do(lab: &ServerLab) {
    let plan = ran(lab, &["plan", "servers", "--detailed-exitcode"]).ends(0);
    assert!(plan.stdout.contains("Nothing to do"), "{}", plan.stdout);
}

/// Ids and actions of a plan's changes, sorted.
#[track_caller]
fn changes(lab: &ServerLab) -> Vec<(String, String)> {
    let plan = ran(lab, &["plan", "servers", "--json"]);
    let json = plan.json();
    let changes = json["changes"].as_array().unwrap().iter();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let mut changes: Vec<_> = changes
        .map(|change| (text(&change["id"]), text(&change["action"])))
        .collect();
    changes.sort();
    changes
}

#[test]
fn databases_of_a_server_become_so_and_are_reached() {
    if !engine() {
        return;
    }
    let server = Server::up("dbs", Image::Full);
    let port = free_port();
    let lab = ServerLab::new([&server], &INSTALLED.replace("PORT", &port.to_string()));
    let verify = || ran(&lab, &["verify", "servers", "--format", "json"]);
    // They are installed and stopped: what is inside waits for them, and comes in the same apply.
    ran(&lab, &["apply", "servers", "--yes"]).ends(0);
    nothing_to_do(&lab);
    includes(
        &with(&verify().ends(0), "ok"),
        &[
            "running.postgres_cluster.s1:15/main",
            "login.analytics:app/data",
            "kept_out.analytics:other/closed",
            "wrong_password.ivr:caller@%",
            "login.ivr:caller@%/calls",
            "forward.analytics",
        ],
    );
    forwards(&lab, port);

    // Drift inside is found and healed.
    server.sh("runuser -u postgres -- psql -qc 'ALTER ROLE other CONNECTION LIMIT 3'; mariadb -e 'DROP USER caller'");
    let ids: Vec<String> = changes(&lab).into_iter().map(|(id, _)| id).collect();
    assert_eq!(
        ids,
        [
            "mariadb_grant.ivr:caller@%",
            "mariadb_user.ivr:caller@%",
            "postgres_role.analytics:other"
        ]
    );
    ran(&lab, &["apply", "servers", "--yes"]).ends(0);

    // A server that is stopped is down, not absent: what is inside waits.
    server.sh("systemctl stop postgresql@15-main");
    let down = changes(&lab);
    let waits = down.iter().filter(|(_, action)| action == "wait").count();
    assert!(waits > 3, "{down:?}");
    let failed = with(&verify().ends(9), "failed");
    includes(&failed, &["login.analytics:app/data"]);
    assert!(!failed.iter().any(|id| id.contains("ivr")), "{failed:?}");
    ran(&lab, &["apply", "servers", "--yes"]).ends(0);
    verify().ends(0);

    managed(&server);

    // A machine that cannot be reached is not an unhealthy one.
    server.sh("systemctl stop ssh.socket ssh; pkill -x sshd || :");
    verify().ends(4);
}

/// The declared forwards lead where they should, for as long as a command runs or nobody ends them.
fn forwards(lab: &ServerLab, port: u16) {
    let exec = ["forward", "servers", "--exec", "sh", "-c"];
    let asked = "[ \"$PROVISION_FORWARD_ANALYTICS\" = \"$0\" ] && exit 7";
    let listens = format!("127.0.0.1:{port}");
    ran(lab, &[&exec[..], &[asked, &listens]].concat()).ends(7);

    let sockets = tempfile::Builder::new().prefix("pvs-").tempdir().unwrap();
    let mut held = command(lab, &["forward", "servers", "analytics"]);
    held.env("XDG_RUNTIME_DIR", sockets.path());
    let mut held = held.stderr(Stdio::null()).spawn().unwrap();
    until("the forward is open", || {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let gets_in = || {
        let got_in = runtime.block_on(login::postgres(
            "127.0.0.1",
            port,
            "app",
            "data",
            &Secret::new("canary-pass 'a\\\""),
            Duration::from_secs(10),
        ));
        assert_eq!(got_in, Ok(()));
    };
    gets_in();
    // Another run has given the connection up: it goes on with what it has, and takes nothing new.
    let named = std::fs::read_dir(sockets.path().join("provision")).unwrap();
    let named: Vec<_> = named.map(|file| file.unwrap().path()).collect();
    let socket = named.iter().find(|path| path.extension().is_none());
    std::fs::remove_file(socket.unwrap()).unwrap();
    gets_in();
    // Somebody else who wants the port is told who has it.
    let busy = ran(lab, &["forward", "servers"]).ends(1);
    assert!(busy.stderr.contains("`provision` (pid "), "{}", busy.stderr);
    run(Command::new("kill").args(["-INT", &held.id().to_string()])).ends(0);
    assert_eq!(held.wait().unwrap().code(), Some(130));
}

/// The same server as somebody else's: reached over the network, by an administrator who is no superuser.
fn managed(server: &Server) {
    server.sh(ADMINISTRATOR);
    let lab = ServerLab::new([server], MANAGED);
    ran(&lab, &["apply", "servers", "--yes"]).ends(0);
    nothing_to_do(&lab);
    let well = ran(&lab, &["verify", "servers", "--format", "json"]).ends(0);
    includes(
        &with(&well, "ok"),
        &[
            "login.cloud:cloud_app/cloud_data",
            "login.clouds:cloud@%/cloud_calls",
        ],
    );
    // A wrong password of the administrator's: unknown, not absent.
    let mut wrong = lab.command(&["plan", "servers", "--json"]);
    let wrong = run(wrong.env("APP", "x").env("ADMIN", "wrong")).ends(4);
    let json = wrong.json();
    for change in json["changes"].as_array().unwrap() {
        assert_eq!(change["action"], "unknown", "{}", wrong.stdout);
    }
}
