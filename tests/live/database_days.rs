//! Databases of a server on bad days: what somebody changed by hand is named and put back, what keeps a server from starting or
//! locks somebody out is taken back, what gets another name keeps what it holds; a managed server whose passwords nobody shows.

use crate::lab::engine;
use crate::lab::server::{Image, Server, ServerLab};

const DECLARED: &str = r#"
[postgres.analytics]
on = "s1"
[postgres.analytics.settings]
shared_buffers = "64MB"
[postgres.analytics.role.app]
password = "first"
[postgres.analytics.role.reader]
password = "second"
[postgres.analytics.database.data]
owner = "app"
[[postgres.analytics.grant]]
role = "reader"
database = "data"
tables = ["SELECT"]
future = true

[mariadb.ivr]
on = "s1"
settings = { max_connections = 60 }
[mariadb.ivr.database.calls]
[mariadb.ivr.user."caller@%"]
password = "third"
grants = { "calls.*" = ["SELECT"] }
"#;

const MANAGED: &str = r#"
[postgres.cloud]
external = { host = "127.0.0.1", port = 5440, admin = "admin", password = "admins" }
[postgres.cloud.role.cloud_app]
password = "fourth"
[postgres.cloud.database.cloud_data]
owner = "cloud_app"
"#;

fn psql(server: &Server, sql: &str) -> String {
    server.sh(&format!("runuser -u postgres -- psql -XAtqc \"{sql}\""))
}

/// The fields that differ, by `id field`.
fn differing(lab: &ServerLab) -> Vec<String> {
    let plan = lab.provision(&["plan", "servers", "--json"]).json();
    let changes = plan["changes"].as_array().unwrap().iter();
    let mut fields: Vec<String> = changes
        .flat_map(|change| {
            let id = change["id"].as_str().unwrap_or_default().to_owned();
            let fields = change["fields"].as_array().cloned().unwrap_or_default();
            fields
                .into_iter()
                .map(move |field| format!("{id} {}", field["name"].as_str().unwrap_or_default()))
        })
        .collect();
    fields.sort();
    fields
}

#[test]
fn databases_of_a_server_are_put_back() {
    if !engine() {
        return;
    }
    let server = Server::up("dbdays", Image::Full);
    let lab = ServerLab::new([&server], DECLARED);
    lab.apply();
    lab.nothing_to_do();
    emptied(&server, &lab);

    // By hand: where it listens, who may come in, a password, rights, a setting of the other server.
    server.sh(
        "runuser -u postgres -- psql -qc \"ALTER ROLE reader PASSWORD 'other'\" -c 'ALTER ROLE app SUPERUSER'
         echo \"listen_addresses = '*'\" >> /etc/postgresql/15/main/postgresql.conf
         echo 'port = 5433' >> /etc/postgresql/15/main/postgresql.conf
         sed -i '1i host all all 0.0.0.0/0 trust' /etc/postgresql/15/main/pg_hba.conf
         mariadb -e 'SET GLOBAL max_connections = 99; GRANT ALL ON calls.* TO caller@`%`'",
    );
    let hand = [
        "mariadb_grant.ivr:caller@% calls.*",
        "mariadb_setting.ivr:max_connections value",
        "postgres_cluster.s1:15/main listen_addresses",
        "postgres_cluster.s1:15/main port",
        "postgres_hba.s1:15/main host all all 0.0.0.0/0",
        "postgres_role.analytics:app superuser",
        "postgres_role.analytics:reader password",
    ];
    assert_eq!(differing(&lab), hand);
    lab.apply();
    lab.nothing_to_do();
    // The same once the server runs with it, and once it does not run at all.
    server.sh("runuser -u postgres -- psql -qc 'ALTER SYSTEM SET port = 5434'; systemctl restart postgresql@15-main");
    assert!(differing(&lab).contains(&"postgres_cluster.s1:15/main port".to_owned()));
    lab.apply();
    server.sh("systemctl stop postgresql@15-main; systemctl is-active postgresql || :");
    assert!(differing(&lab).contains(&"postgres_cluster.s1:15/main state".to_owned()));
    lab.apply();
    lab.nothing_to_do();

    // What keeps it from starting is taken back: the server is up, and the run has failed.
    lab.say(&format!(
        "{}{}",
        server.host("s1"),
        DECLARED.replace("\"64MB\"", "\"8000GB\"")
    ));
    let ran = lab.provision(&["apply", "servers", "--yes"]).ends(1);
    assert!(
        ran.stderr.contains("runs as before again"),
        "{}",
        ran.stderr
    );
    assert_eq!(psql(&server, "SHOW shared_buffers"), "64MB");
    lab.say(&format!(
        "{}{}",
        server.host("s1"),
        DECLARED.replace(
            "on = \"s1\"\n[postgres.analytics.settings]",
            "on = \"s1\"\nlisten = [\"10.99.99.99\"]\n[postgres.analytics.settings]"
        )
    ));
    let ran = lab.provision(&["apply", "servers", "--yes"]).ends(1);
    assert!(
        ran.stderr.contains("runs as before again"),
        "{}",
        ran.stderr
    );
    assert_eq!(psql(&server, "SHOW listen_addresses"), "localhost");

    // A rule that the server does not understand never takes the place of the old ones.
    let rule =
        "[[postgres.analytics.hba]]\naddress = \"10.0.0.0/8\"\noptions = { nonsense = \"1\" }\n";
    lab.say(&format!("{}{DECLARED}{rule}", server.host("s1")));
    let ran = lab.provision(&["apply", "servers", "--yes"]).ends(1);
    assert!(ran.stderr.contains("the old ones stay"), "{}", ran.stderr);
    // Only that it listens to others, as the rule would have needed, has come of it.
    lab.say(&format!("{}{DECLARED}", server.host("s1")));
    assert_eq!(
        differing(&lab),
        ["postgres_cluster.s1:15/main listen_addresses"]
    );
    lab.apply();
    lab.nothing_to_do();

    gone(&server, &lab);
    renamed(&server, &lab);
    managed(&server);
}

/// Kinds that the file has no more of are not asked about at first, and go all the same.
fn gone(server: &Server, lab: &ServerLab) {
    let settings = "[postgres.analytics.settings]\nshared_buffers = \"64MB\"\n";
    let user = DECLARED.find("[mariadb.ivr.user").unwrap();
    let left = DECLARED[..user]
        .replace(settings, "")
        .replace("settings = { max_connections = 60 }\n", "");
    lab.say(&format!("{}{left}", server.host("s1")));
    let plan = lab.plan();
    for id in [
        "postgres_setting.analytics:shared_buffers",
        "mariadb_grant.ivr:caller@%",
        "mariadb_user.ivr:caller@%",
        "mariadb_setting.ivr:max_connections",
    ] {
        let change = (id.to_owned(), "remove".to_owned());
        assert!(plan.contains(&change), "{id}: {plan:?}");
    }
    lab.apply();
    lab.nothing_to_do();
    let users = "mariadb -NBe \"SELECT count(*) FROM mysql.user WHERE user = 'caller'\"";
    assert_eq!(server.sh(users), "0");
    lab.say(&format!("{}{DECLARED}", server.host("s1")));
    lab.apply();
    lab.nothing_to_do();
}

/// The last thing inside a database goes from the file: that database's own ledger knows that it was ours.
fn emptied(server: &Server, lab: &ServerLab) {
    let from = DECLARED.find("[[postgres.analytics.grant]]").unwrap();
    let to = DECLARED.find("[mariadb.ivr]").unwrap();
    let without = format!("{}{}", &DECLARED[..from], &DECLARED[to..]);
    lab.say(&format!("{}{without}", server.host("s1")));
    let id = "postgres_grant.analytics:data/reader".to_owned();
    assert_eq!(lab.plan(), [(id, "remove".to_owned())]);
    lab.apply();
    lab.nothing_to_do();
    let left = server
        .sh("runuser -u postgres -- psql -XAtqd data -c 'SELECT count(*) FROM pg_default_acl'");
    assert_eq!(left, "0");
    lab.say(&format!("{}{DECLARED}", server.host("s1")));
    lab.apply();
    lab.nothing_to_do();
}

/// Another name, the same password, rights and tables.
fn renamed(server: &Server, lab: &ServerLab) {
    server.sh("runuser -u postgres -- psql -qd data -c 'CREATE TABLE kept AS SELECT 7 AS n' -c 'ALTER TABLE kept OWNER TO app'");
    let before = psql(
        server,
        "SELECT rolpassword FROM pg_authid WHERE rolname = 'reader'",
    );
    let text = DECLARED
        .replace("role.reader]", "role.lector]\nwas = \"reader\"")
        .replace("role = \"reader\"", "role = \"lector\"")
        .replace("database.data]", "database.facts]\nwas = \"data\"")
        .replace("database = \"data\"", "database = \"facts\"")
        .replace(
            "user.\"caller@%\"]",
            "user.\"phone@%\"]\nwas = \"caller@%\"",
        );
    lab.say(&format!("{}{text}", server.host("s1")));
    let names = [
        "mariadb_user.ivr:phone@% name",
        "postgres_database.analytics:facts name",
        "postgres_role.analytics:lector name",
    ];
    assert_eq!(differing(lab), names);
    lab.apply();
    lab.nothing_to_do();
    let after = psql(
        server,
        "SELECT rolpassword FROM pg_authid WHERE rolname = 'lector'",
    );
    assert_eq!(before, after);
    assert_eq!(
        server.sh("runuser -u postgres -- psql -XAtqd facts -c 'SELECT n FROM kept'"),
        "7"
    );
    let users = server.sh("mariadb -NBe 'SELECT user FROM mysql.global_priv WHERE host = \"%\"'");
    assert_eq!(users, "phone");
    lab.say(&format!("{}{DECLARED}", server.host("s1")));
}

/// Who comes in is no superuser, and nobody shows a password: it is set once, and again only where another is declared.
fn managed(server: &Server) {
    server.sh(
        "pg_createcluster 15 cloud -p 5440 --start > /dev/null
         runuser -u postgres -- psql -qp 5440 -c \"CREATE ROLE admin LOGIN CREATEROLE CREATEDB PASSWORD 'admins'\"",
    );
    let lab = &ServerLab::with(&format!("{}{MANAGED}", server.host("s1")));
    lab.apply();
    lab.nothing_to_do();
    let text = MANAGED.replace("fourth", "fifth");
    lab.say(&format!("{}{text}", server.host("s1")));
    assert_eq!(differing(lab), ["postgres_role.cloud:cloud_app password"]);
    lab.apply();
    lab.nothing_to_do();
    let who = server.sh("PGPASSWORD=fifth psql -XAtq -h 127.0.0.1 -p 5440 -U cloud_app -d cloud_data -c 'SELECT current_user'");
    assert_eq!(who, "cloud_app");
}
