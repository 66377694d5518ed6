//! Who can connect to PostgreSQL: pg_hba rules, names, predefined roles.

use crate::lab::server::{Image, Server, ServerLab};
use crate::lab::{Lab, engine};

const RULES: &str = r#"
[postgres.main]
on = "s1"
[postgres.main.role]
readers = { login = false }
app = { password = "p-app-1", member_of = ["readers", "pg_monitor"] }
other = { password = "p-other-1" }
mirror = { password = "p-mirror-1", replication = true }
"o'brien" = { password = "p-brien-1" }
all = { password = "p-all-1" }
plain = { password = "p-plain-1" }
"Ünder=Score" = { password = "p-under-1" }
[postgres.main.database]
app = { owner = "app" }
other = { owner = "other" }
"a=b'c" = { owner = "Ünder=Score" }
[[postgres.main.hba]]
role = "+readers"
address = "127.0.0.1/32"
method = "reject"
[[postgres.main.hba]]
role = ["o'brien", '"all"']
address = "all"
method = "reject"
[[postgres.main.hba]]
type = "hostnossl"
role = "plain"
address = "samehost"
method = "reject"
[[postgres.main.hba]]
database = "replication"
role = "mirror"
address = "10.0.0.0/8"
[[postgres.main.hba]]
database = ["sameuser", "samerole"]
role = ["other", "Ünder=Score"]
address = ".example.com"
"#;

/// What a login over TCP comes to: who is in, or the reason.
fn login(server: &Server, role: &str, password: &str, database: &str, mode: &str) -> String {
    let script = format!(
        "PGPASSWORD={password} PGSSLMODE={mode} psql -XAtq -h 127.0.0.1 -U \"{role}\" -d \"dbname={database}\" -c 'SELECT current_user' 2>&1 || :"
    );
    server.sh(&script)
}

#[test]
fn hba_rules_mean_what_postgresql_means_by_them() {
    if !engine() {
        return;
    }
    let server = Server::up("hbawords", Image::Full);
    let lab = ServerLab::new([&server], RULES);
    lab.apply();
    lab.nothing_to_do();
    let rejected = |role: &str, password: &str, database: &str, mode: &str| {
        let said = login(&server, role, password, database, mode);
        assert!(said.contains("pg_hba.conf rejects"), "{role}: {said}");
    };
    // Through the group, in a list, a role that is named like a keyword, and without TLS only.
    rejected("app", "p-app-1", "app", "prefer");
    rejected("o'brien", "p-brien-1", "postgres", "prefer");
    rejected("all", "p-all-1", "postgres", "prefer");
    rejected("plain", "p-plain-1", "postgres", "disable");
    for (role, password, database) in [
        ("other", "p-other-1", "other"),
        ("plain", "p-plain-1", "postgres"),
        ("Ünder=Score", "p-under-1", r"'a=b\\'c'"),
    ] {
        assert_eq!(login(&server, role, password, database, "prefer"), role);
    }
    let view = server.sh(
        "runuser -u postgres -- psql -XAtqc \"SELECT concat_ws(' ', type, database, user_name, address, netmask, auth_method) FROM pg_hba_file_rules\"",
    );
    for row in [
        "host {all} {+readers} 127.0.0.1 255.255.255.255 reject",
        "host {all} {o'brien,all} all reject",
        "hostnossl {all} {plain} samehost reject",
        "host {replication} {mirror} 10.0.0.0 255.0.0.0 scram-sha-256",
        "host {sameuser,samerole} {other,Ünder=Score} .example.com scram-sha-256",
    ] {
        assert!(view.lines().any(|line| line == row), "{row}\n{view}");
    }

    // Quotes that somebody puts around a group take its meaning away; the server's view has the same row for both.
    server.sh("sed -i 's/+readers/\"+readers\"/' /etc/postgresql/15/main/pg_hba.conf && systemctl reload postgresql@15-main");
    assert_eq!(login(&server, "app", "p-app-1", "app", "prefer"), "app");
    let plan = lab.provision(&["plan", "servers", "--json"]);
    let changes = plan.changes();
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!(changes[0].0, "postgres_hba.s1:15/main");
    assert!(
        changes[0]
            .2
            .contains(&"host all +readers 127.0.0.1/32".to_owned()),
        "{changes:?}"
    );
    lab.apply();
    rejected("app", "p-app-1", "app", "prefer");

    // Who becomes a member and is refused for that in one run.
    let grown = RULES.replace(
        "other = { password = \"p-other-1\" }",
        "other = { password = \"p-other-1\", member_of = [\"readers\"] }",
    );
    let more =
        "[[postgres.main.hba]]\nrole = \"+readers\"\naddress = \"::1/128\"\nmethod = \"reject\"\n";
    lab.say(&format!("{}{grown}{more}", server.host("s1")));
    lab.apply();
    rejected("other", "p-other-1", "other", "prefer");

    // What only the server can tell to be wrong leaves the old rules.
    let wrong = "[[postgres.main.hba]]\naddress = \"10.0.0.0/8\"\noptions = { nonsense = \"1\" }\n";
    lab.say(&format!("{}{grown}{more}{wrong}", server.host("s1")));
    let ran = lab.provision(&["apply", "servers", "--yes"]).ends(1);
    assert!(ran.stderr.contains("the old ones stay"), "{}", ran.stderr);

    // A server that reads another file is no server with these rules.
    server.sh("cp -p /etc/postgresql/15/main/pg_hba.conf /etc/postgresql/15/main/other.conf
        runuser -u postgres -- psql -qc \"ALTER SYSTEM SET hba_file = '/etc/postgresql/15/main/other.conf'\" && systemctl restart postgresql@15-main");
    lab.say(&format!("{}{grown}", server.host("s1")));
    let ran = lab.provision(&["apply", "servers", "--yes"]).ends(1);
    assert!(ran.stderr.contains("other.conf"), "{}", ran.stderr);
}

const REFUSED: &str = r#"
[host.s1]
address = "192.0.2.1"
[postgres.main]
on = "s1"
cluster = "odd-1"
[postgres.main.role]
readers = { login = false }
app = { password = "p-app-2", member_of = ["pg_monitr", "pg_maintain", "pg_database_owner", "readrs"] }
pg_mine = { login = false }
"a2345678901234567890123456789012345678901234567890123456789012éx" = { login = false }
[postgres.main.database.app]
owner = "app"
[[postgres.main.hba]]
role = ["+reders", "pap", '"+readers"']
database = ["smeuser", "aqp"]
address = "10.0.0.7"
[[postgres.main.hba]]
address = "10.0.0.0/33"
[[postgres.main.hba]]
address = "10.0.0.0/255.0.0.0"
[[postgres.main.hba]]
address = "10.0.0"
[[postgres.main.hba]]
address = "samehosts"
method = "cert"
[[postgres.main.hba]]
role = []
address = "all"
"#;

#[test]
fn names_and_addresses_that_match_nothing_are_refused() {
    let lab = ServerLab::with(REFUSED);
    let said = lab.provision(&["validate", "servers"]).ends(3).stderr;
    for part in [
        "a cluster cannot be named `odd-1`",
        "did you mean `odd_1`?",
        "PostgreSQL has no role `pg_monitr` of its own",
        "did you mean `pg_monitor`?",
        "the role `pg_maintain` is not there before PostgreSQL 17",
        "nobody can be made a member of `pg_database_owner`",
        "the role `readrs` is not declared",
        "the role `pg_mine` has a name that PostgreSQL keeps for itself",
        "it has 65 bytes",
        "the role `reders` is not declared in `postgres.main`",
        "did you mean `readers`?",
        "the role `pap` is not declared",
        "the members of `readers` are `+readers`",
        "did you mean `sameuser`?",
        "the database `aqp` is not declared",
        "did you mean `10.0.0.7/32`?",
        "behind an IPv4 address stand 0 to 32 bits",
        "did you mean `10.0.0.0/8`?",
        "`10.0.0` is no network",
        "did you mean `samehost`?",
        "its type is `hostssl`",
        "this rule names no role",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
}

const NAMES: &str = r#"
[environment]
name = "local"
project = "PROJECT"
stage = "dev"
[target]
driver = "docker"
[postgres.analytics.role]
"o'brien" = { password = "p-brien-3", member_of = ["Group \"x\"", "pg_read_all_data"] }
'Group "x"' = { login = false }
'back\slash\' = { password = "p-back-3" }
"a/b" = { password = "p-slash-3", settings = { search_path = "public" } }
"ana.gomez@example.com" = { password = "p-ana-3" }
"select" = { password = "p-select-3" }
"bl  ank" = { login = false }
"$(id)`x`;:name" = { password = "p-shell-3" }
"é2345678901234567890123456789012345678901234567890123456789012" = { password = "p-long-3" }
[postgres.analytics.database]
'd"\=''q/ %' = { owner = "o'brien", extensions = ["citext"] }
"a/b" = { owner = 'back\slash\' }
"a" = { owner = "ana.gomez@example.com" }
"Straße" = { owner = "select" }
[[postgres.analytics.grant]]
role = "select"
database = "a/b"
tables = ["SELECT"]
future = true
[[postgres.analytics.grant]]
role = "a/b"
database = "a"
[[postgres.analytics.grant]]
role = "pg_monitor"
database = "a"
[[postgres.analytics.grant]]
role = "PUBLIC"
database = "a"
connect = false
[[postgres.analytics.grant]]
role = "$(id)`x`;:name"
database = 'd"\=''q/ %'
[forward.analytics]
to = "postgres.analytics"
listen = "127.0.0.1:POSTGRES_PORT"
"#;

#[test]
fn every_name_that_the_server_allows_works() {
    if !engine() {
        return;
    }
    let names = NAMES.replace("'d\"\\=''q/ %'", r#""d\"\\='q/ %""#);
    let lab = Lab::with("names", &names);
    lab.apply();
    lab.nothing_to_do();
    let verified = lab.provision(&["verify", "local"]);
    assert_eq!(verified.code, 0, "{}\n{}", verified.stdout, verified.stderr);
    assert_eq!(
        lab.psql(
            "a",
            "SELECT count(*) FROM pg_database WHERE datname = E'd\"\\\\=''q/ %'"
        ),
        "1"
    );

    // Drift inside each, and each healed by its id alone.
    let hand = "REVOKE CONNECT ON DATABASE \"a/b\" FROM \"select\"; ALTER ROLE \"o'brien\" CREATEDB; GRANT pg_monitor TO \"o'brien\";
        ALTER ROLE \"back\\slash\\\" CONNECTION LIMIT 3; REVOKE CONNECT ON DATABASE a FROM \"a/b\"";
    lab.psql("postgres", hand);
    let changes = lab.plan();
    let ids: Vec<&str> = changes.iter().map(|(id, ..)| id.as_str()).collect();
    for id in [
        r"postgres_grant.analytics:a\/b/select",
        "postgres_grant.analytics:a/a/b",
        r"postgres_role.analytics:back\slash\",
        "postgres_role.analytics:o'brien",
    ] {
        assert!(ids.contains(&id), "{id}: {ids:?}");
        lab.provision(&["explain", "local", id]).ends(0);
    }
    assert_eq!(ids.len(), 4, "{ids:?}");
    let fields = &changes
        .iter()
        .find(|(id, ..)| id.ends_with("o'brien"))
        .unwrap()
        .2;
    assert_eq!(fields, &["createdb", "member_of pg_monitor"]);
    for id in &ids[..3] {
        lab.provision(&["apply", "local", "--yes", "--only", id])
            .ends(0);
    }
    lab.provision(&["plan", "local", "--out", "saved"]).ends(0);
    lab.provision(&["apply", "local", "--yes", "--plan", "saved"])
        .ends(0);
    lab.nothing_to_do();

    // Rights of a database as it was born: PUBLIC may enter again.
    lab.psql(
        "postgres",
        "UPDATE pg_database SET datacl = NULL WHERE datname = 'a'",
    );
    let plan = lab.provision(&["plan", "local", "--json"]).json();
    let changes = plan["changes"].as_array().unwrap();
    let public = changes
        .iter()
        .find(|change| change["id"] == "postgres_grant.analytics:a/PUBLIC")
        .unwrap();
    let fields = public["fields"].as_array().unwrap();
    assert!(
        !fields.is_empty() && fields.iter().all(|field| field["moved"] == "machine"),
        "{public}"
    );
    lab.apply();
    lab.nothing_to_do();

    // What is no longer declared goes, data only by its exact id.
    let start = names.find("\"a/b\" = { owner").unwrap();
    let end = names[start..].find('\n').unwrap() + start + 1;
    let less = format!("{}{}", &names[..start], &names[end..]);
    let grant = "[[postgres.analytics.grant]]\nrole = \"select\"\ndatabase = \"a/b\"\ntables = [\"SELECT\"]\nfuture = true\n";
    let less = less.replace(grant, "").replace(
        "'back\\slash\\' = { password = \"p-back-3\" }\n",
        "'back\\slash\\' = { password = \"p-back-3\", createdb = true }\n",
    );
    lab.write(
        "local.toml",
        &less
            .replace("PROJECT", &lab.project)
            .replace("POSTGRES_PORT", &lab.postgres.to_string()),
    );
    lab.provision(&[
        "apply",
        "local",
        "--yes",
        "--destroy-data=postgres_database.analytics:a/b",
    ])
    .ends(0);
    assert_eq!(
        lab.psql(
            "a",
            "SELECT count(*) FROM pg_database WHERE datname = 'a/b'"
        ),
        "0"
    );
    lab.nothing_to_do();
}
