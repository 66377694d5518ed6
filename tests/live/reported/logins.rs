//! Who can log in from where: one model for `apply` and `verify`, and what a look at many roles costs.

use std::time::{Duration, Instant};

use crate::lab::server::{Image, Server, ServerLab};
use crate::lab::{Lab, Ran, docker, engine};
use crate::live::verify::with;

/// Logins that are declared open, closed, or open to something else than a database.
const DECLARED: &str = r#"
[environment]
project = "PROJECT"
stage = "dev"
[postgres.analytics.role]
old = { password = "x", valid_until = "2020-01-01" }
later = { password = "x", valid_until = "2099-01-01 10:00+02" }
nolimit = { password = "x", connection_limit = 0 }
boss = { password = "x", connection_limit = 0, superuser = true }
nologin = { password = "x", login = false }
foreign = {}
reader = { password = "x", member_of = ["readers"] }
noinherit = { password = "x", member_of = ["readers"], inherit = false }
readers.login = false
app.password = "x"
[postgres.analytics.database]
parked = { owner = "app", connection_limit = 0 }
private.owner = "app"
[[postgres.analytics.grant]]
role = "PUBLIC"
database = "private"
connect = false
[[postgres.analytics.grant]]
role = "readers"
database = "private"
tables = ["SELECT"]

[mariadb.ivr]
init = ["t.sql"]
init_database = "shop"
[mariadb.ivr.database]
shop = {}
other = {}
[mariadb.ivr.user]
"exporter@%" = { password = "x", grants = { "*.*" = ["PROCESS", "REPLICATION CLIENT", "SLAVE MONITOR"] } }
"repl@%" = { password = "x", grants = { "*.*" = ["REPLICATION SLAVE"] } }
"one@%" = { password = "x", grants = { "shop.t" = ["SELECT"] } }
"put@%" = { password = "x", grants = { "shop.t" = ["INSERT"] } }
"none@%" = { password = "x" }
"lock@%" = { password = "x", locked = true }
"app@localhost" = { password = "p", grants = { "shop.*" = ["ALL"] } }
"app@%" = { password = "q", grants = { "shop.*" = ["SELECT"] } }
"half@1%" = { password = "p" }
"half@%" = { password = "q" }
"#;

fn statuses(ran: &Ran, wanted: &[(&str, &[&str])]) {
    for (status, ids) in wanted {
        let found = with(ran, status);
        for id in *ids {
            assert!(
                found.iter().any(|one| one == id),
                "{id} is not {status}: {}",
                ran.stdout
            );
        }
    }
}

#[test]
fn what_is_declared_closed_is_refused_and_nobody_waits_for_it() {
    if !engine() {
        return;
    }
    let lab = Lab::with("logins", DECLARED);
    std::fs::write(lab.path("t.sql"), "CREATE TABLE t (a INT);").unwrap();
    lab.apply();
    lab.nothing_to_do();
    let verify = || lab.provision(&["verify", "local", "--format", "json"]);
    let well = verify().ends(0);
    statuses(
        &well,
        &[
            (
                "ok",
                &[
                    "closed.analytics:old",
                    "closed.analytics:nolimit",
                    "closed.analytics:nologin",
                    "closed.analytics:app/parked",
                    "login.analytics:app/private",
                    "login.analytics:boss/parked",
                    "login.analytics:later",
                    "login.analytics:reader/private",
                    "kept_out.analytics:noinherit/private",
                    "login.ivr:exporter@%",
                    "kept_out.ivr:exporter@%/shop",
                    "login.ivr:repl@%",
                    "login.ivr:one@%/shop",
                    "kept_out.ivr:one@%/other",
                    "login.ivr:put@%/shop",
                    "login.ivr:none@%",
                    "closed.ivr:lock@%",
                    "login.ivr:app@%/shop",
                ],
            ),
            (
                "skipped",
                &[
                    "login.analytics:foreign",
                    "login.ivr:app@localhost",
                    "login.ivr:half@1%",
                    "login.ivr:half@%",
                ],
            ),
        ],
    );
    assert!(
        well.stdout.contains("`app` can log in to `private`"),
        "{}",
        well.stdout
    );

    // A change of each server makes `apply` try every user once; nothing of what is declared closed is waited for.
    lab.edit(
        "local.toml",
        "boss = { password = \"x\",",
        "boss = { password = \"x\", createdb = true,",
    );
    lab.edit(
        "local.toml",
        "\"none@%\" = { password = \"x\" }",
        "\"none@%\" = { password = \"y\" }",
    );
    let begun = Instant::now();
    lab.apply();
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );

    // What is open though it is declared closed, or the other way round, fails.
    lab.psql(
        "postgres",
        "ALTER ROLE old VALID UNTIL 'infinity'; ALTER ROLE nolimit CONNECTION LIMIT 3; ALTER ROLE nologin LOGIN; \
         ALTER DATABASE parked CONNECTION LIMIT -1; ALTER ROLE later VALID UNTIL '2020-01-01'; REVOKE readers FROM reader",
    );
    lab.mariadb("ALTER USER `lock`@`%` ACCOUNT UNLOCK; REVOKE SELECT ON shop.t FROM one@'%'; GRANT SELECT ON shop.* TO exporter@'%'");
    let ill = verify().ends(9);
    statuses(
        &ill,
        &[(
            "failed",
            &[
                "closed.analytics:old",
                "closed.analytics:nolimit",
                "closed.analytics:nologin",
                "closed.analytics:app/parked",
                "login.analytics:later",
                "login.analytics:reader/private",
                "closed.ivr:lock@%",
                "login.ivr:one@%/shop",
                "kept_out.ivr:exporter@%/shop",
            ],
        )],
    );
}

/// Two accounts of one name, and one that no database is for.
const HOSTS: &str = r#"
[mariadb.m]
on = "s1"
[mariadb.m.database.shop]
[mariadb.m.user]
"app@localhost" = { password = "p", grants = { "shop.*" = ["ALL"] } }
"app@%" = { password = "q", grants = { "shop.*" = ["SELECT"] } }
"exporter@%" = { password = "x", grants = { "*.*" = ["PROCESS"] } }
"#;

#[test]
fn on_its_own_machine_the_more_specific_account_answers() {
    if !engine() {
        return;
    }
    let server = Server::up("hosts", Image::Full);
    let lab = ServerLab::new([&server], HOSTS);
    lab.apply();
    lab.nothing_to_do();
    let well = lab
        .provision(&["verify", "servers", "--format", "json"])
        .ends(0);
    statuses(
        &well,
        &[
            ("ok", &["login.m:app@localhost/shop", "login.m:exporter@%"]),
            ("skipped", &["login.m:app@%"]),
        ],
    );
    let why = well.json()["checks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|check| check["id"] == "login.m:app@%")
        .unwrap()["why"]
        .clone();
    assert!(why.as_str().unwrap().contains("`app@localhost`"), "{why}");
    // Nobody waits for the account that does not answer there.
    let more = "[mariadb.m.database.more]\n";
    lab.say(&format!("{}{HOSTS}{more}", server.host("s1")));
    let begun = Instant::now();
    lab.apply();
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "{:?}",
        begun.elapsed()
    );
}

/// Databases enough for several clients, each with a role of its own.
fn many(databases: usize) -> String {
    let mut text = "[environment]\nproject = \"PROJECT\"\nstage = \"dev\"\n".to_owned();
    for number in 0..databases {
        text.push_str(&format!(
            "[postgres.analytics.role.r{number}]\npassword = \"x{number}\"\n[postgres.analytics.database.d{number}]\nowner = \"postgres\"\n\
             [[postgres.analytics.grant]]\nrole = \"r{number}\"\ndatabase = \"d{number}\"\n"
        ));
    }
    text
}

#[test]
fn many_databases_are_connected_to_once_and_one_that_fails_is_unknown_alone() {
    if !engine() {
        return;
    }
    let lab = Lab::with("manydbs", &many(26));
    lab.apply();
    let sql = std::fs::read_to_string(lab.generated().join("analytics/first-start.sql")).unwrap();
    let connects = sql
        .lines()
        .filter(|line| line.starts_with("\\connect"))
        .count();
    assert_eq!(
        connects, 27,
        "one for each database, and one for the server"
    );
    lab.nothing_to_do();

    // One that is closed, one that the rules refuse (which ends the client that goes there), one that somebody dropped.
    lab.psql("postgres", "ALTER DATABASE d3 ALLOW_CONNECTIONS false");
    lab.psql("postgres", "DROP DATABASE d20");
    let container = lab.container("analytics");
    let refuse = "printf '%s\\n' 'local d9 all reject' 'local d17 all reject' | cat - \"$PGDATA/pg_hba.conf\" > /tmp/hba && \
                  cat /tmp/hba > \"$PGDATA/pg_hba.conf\"";
    docker(&["exec", "-u", "postgres", &container, "sh", "-c", refuse]);
    lab.psql("postgres", "SELECT pg_reload_conf()");
    let plan = lab.plan();
    let mut unlike: Vec<(&str, &str)> = plan
        .iter()
        .map(|(id, action, _)| (id.as_str(), action.as_str()))
        .collect();
    unlike.sort_unstable();
    assert_eq!(
        unlike,
        [
            ("postgres_database.analytics:d20", "create"),
            ("postgres_grant.analytics:d17/r17", "unknown"),
            ("postgres_grant.analytics:d20/r20", "create"),
            ("postgres_grant.analytics:d3/r3", "unknown"),
            ("postgres_grant.analytics:d9/r9", "unknown"),
        ]
    );
}
