//! The whole way as its user goes it: up, logged in to, developed with, changed, saved, taken apart and put together again.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use provision::secret::Secret;
use provision::target::login;
use serde_json::Value;

use crate::lab::compose::{compose1, compose2};
use crate::lab::{Lab, Ran, docker, engine, run, until};

/// What logging in from this machine over the published port comes to.
fn logs_in(
    lab: &Lab,
    server: &str,
    user: &str,
    database: &str,
    password: &str,
) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (password, deadline) = (Secret::new(password), Duration::from_secs(10));
    runtime.block_on(async {
        match server {
            "postgres" => {
                login::postgres(
                    "127.0.0.1",
                    lab.postgres,
                    user,
                    database,
                    &password,
                    deadline,
                )
                .await
            }
            _ => {
                login::mariadb(
                    "127.0.0.1",
                    lab.mariadb,
                    user,
                    database,
                    &password,
                    deadline,
                )
                .await
            }
        }
    })
}

/// Status and body of a page; 0 where nobody answers.
fn get(lab: &Lab, path: &str) -> (u16, String) {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", lab.web))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = ask().unwrap_or_default();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    (status.unwrap_or(0), body.to_owned())
}

#[track_caller]
fn healthy(lab: &Lab) {
    let (status, body) = get(lab, "/health");
    assert_eq!(status, 200, "{body}");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        body["databases"],
        serde_json::json!({"default": "ok", "ivr": "ok"})
    );
}

/// The id of a service's container: another one where it was made anew.
fn id(lab: &Lab, service: &str) -> String {
    docker(&["inspect", "-f", "{{.Id}}", &lab.container(service)])
}

/// SQL as a declared role over the network inside, as consumers come in.
fn as_role(lab: &Lab, role: &str, password: &str, sql: &str) -> Ran {
    let password = format!("PGPASSWORD={password}");
    run(Command::new("docker").args([
        "exec",
        "-e",
        &password,
        &lab.container("analytics"),
        "psql",
        "-XAtq",
        "-h",
        "analytics",
        "-U",
        role,
        "-d",
        "iact_analytics",
        "-c",
        sql,
    ]))
}

/// `provision` with something on its standard input.
fn fed(lab: &Lab, words: &[&str], input: &str) -> Ran {
    let mut child = lab
        .command(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    Ran::of(child.wait_with_output().unwrap())
}

#[track_caller]
fn says(ran: &Ran, words: &[&str]) {
    let all = format!("{}{}", ran.stdout, ran.stderr);
    for word in words {
        assert!(all.contains(word), "`{word}` is not said:\n{all}");
    }
}

#[test]
fn the_project_runs_answers_and_is_developed_with() {
    if !engine() {
        return;
    }
    let lab = Lab::new("stack");
    nobody_to_ask(&lab);
    let ran = lab.apply();
    says(
        &ran,
        &[
            &lab.postgres.to_string(),
            &lab.mariadb.to_string(),
            &format!("127.0.0.1:{}", lab.web),
        ],
    );
    everybody_gets_in(&lab);
    healthy(&lab);
    lab.nothing_to_do();
    again(&lab);
    in_daily_use(&lab);
    saved_file_is_served(&lab);
    another_password(&lab);
    only_what_is_asked(&lab);
    saved_plans(&lab);
    rendered_elsewhere(&lab);
    lab.nothing_to_do();
    healthy(&lab);
}

/// Without `--yes` and without a terminal nobody is asked, and nothing is done.
fn nobody_to_ask(lab: &Lab) {
    let ran = lab.provision(&["apply", "local"]).ends(3);
    says(&ran, &["nobody is there to ask", "--yes"]);
    let ran = fed(lab, &["apply", "local"], "y\n").ends(3);
    says(&ran, &["nobody is there to ask"]);
    let label = format!("label=com.docker.compose.project={}", lab.project);
    assert_eq!(docker(&["ps", "-aq", "--filter", &label]), "");
    assert_eq!(docker(&["volume", "ls", "-q", "--filter", &label]), "");
}

fn everybody_gets_in(lab: &Lab) {
    for (server, user, database, password) in [
        ("postgres", "django_user", "iact_analytics", "django_pass"),
        ("postgres", "django_user", "iact_reports", "django_pass"),
        ("postgres", "reporting", "iact_analytics", "reporting_pass"),
        ("postgres", "etl", "iact_reports", "etl_pass"),
        ("mariadb", "django_user", "iact_ivr", "django_pass"),
        ("mariadb", "etl", "iact_ivr", "ivr_etl_pass"),
    ] {
        logs_in(lab, server, user, database, password)
            .unwrap_or_else(|why| panic!("{server} {user}: {why}"));
        let wrong = logs_in(lab, server, user, database, "wrong").unwrap_err();
        assert!(
            !wrong.contains(password) && !wrong.contains("no answer"),
            "{wrong}"
        );
    }
    for (server, user) in [
        ("postgres", "readers"),
        ("postgres", "postgres"),
        ("mariadb", "root"),
    ] {
        for password in ["", "postgres", "root", "django_pass"] {
            let ran = logs_in(lab, server, user, "", password);
            assert!(ran.is_err(), "{server}: `{user}` gets in with `{password}`");
        }
    }
}

/// A second apply does nothing, and nothing is made anew.
fn again(lab: &Lab) {
    let before: Vec<String> = ["analytics", "ivr", "iact"]
        .map(|service| id(lab, service))
        .into();
    let ran = lab.provision(&["apply", "local"]).ends(0);
    says(&ran, &["Nothing to do"]);
    let after: Vec<String> = ["analytics", "ivr", "iact"]
        .map(|service| id(lab, service))
        .into();
    assert_eq!(before, after);
}

fn in_daily_use(lab: &Lab) {
    // The ETL reads one database and writes the other, as declared users.
    let etl = [
        "exec",
        "local",
        "iact",
        "--",
        "python",
        "manage.py",
        "process_etl",
    ];
    let ran = lab.provision(&etl).ends(0);
    says(&ran, &["ETL finished"]);
    let rows: u32 = lab
        .psql("iact_analytics", "SELECT count(*) FROM daily_calls")
        .parse()
        .unwrap();
    assert!(rows > 0);
    lab.provision(&etl).ends(0);
    assert_eq!(
        lab.psql("iact_analytics", "SELECT count(*) FROM daily_calls"),
        rows.to_string()
    );
    let (status, page) = get(lab, "/?days=365");
    assert_eq!(status, 200);
    assert!(page.contains("Calls by day"), "{page}");
    // What Django made after the grants were made is readable, and no more than that.
    as_role(
        lab,
        "reporting",
        "reporting_pass",
        "SELECT count(*) FROM daily_calls",
    )
    .ends(0);
    let ran = as_role(
        lab,
        "reporting",
        "reporting_pass",
        "DELETE FROM daily_calls",
    );
    assert!(
        ran.code != 0 && ran.stderr.contains("permission denied"),
        "{ran:?}"
    );
    let ran = as_role(lab, "reporting", "reporting_pass", "SHOW statement_timeout").ends(0);
    assert_eq!(ran.stdout.trim(), "30s");

    let ran = lab.provision(&["ps", "local"]).ends(0);
    says(
        &ran,
        &[
            "analytics",
            "ivr",
            "iact",
            "running",
            "healthy",
            "postgres:15-bookworm",
        ],
    );
    let ran = lab
        .provision(&["logs", "local", "analytics", "-n", "3"])
        .ends(0);
    assert!((1..=3).contains(&ran.stdout.lines().count()), "{ran:?}");
    let ran = lab.provision(&["logs", "local", "analitics"]).ends(3);
    says(&ran, &["did you mean `analytics`?"]);
    let ran = fed(
        lab,
        &["shell", "local", "analytics"],
        "select 6*7 as answer;\n",
    )
    .ends(0);
    says(&ran, &["42"]);
    let ran = fed(
        lab,
        &["shell", "local", "mariadb.ivr"],
        "select 6*7, count(*) > 0 from calls;\n",
    )
    .ends(0);
    says(&ran, &["42\t1"]);
    let ran = fed(lab, &["shell", "local", "iact"], "pwd; exit 7\n").ends(7);
    assert_eq!(ran.stdout.trim(), "/app");
    lab.provision(&["exec", "local", "iact", "--", "sh", "-c", "exit 5"])
        .ends(5);
    let ran = lab
        .provision(&[
            "exec",
            "local",
            "iact",
            "--",
            "printf",
            "%s|",
            "two words",
            "$HOME",
            "it's",
        ])
        .ends(0);
    assert_eq!(ran.stdout, "two words|$HOME|it's|");

    let ran = lab
        .provision(&["explain", "local", "postgres_role.analytics:reporting"])
        .ends(0);
    says(
        &ran,
        &["base.toml", "local.toml", "connection_limit", "there"],
    );
    assert!(!ran.stdout.contains("reporting_pass"), "{}", ran.stdout);
    let ran = lab
        .provision(&["explain", "local", "postgres_role.analytics:reportin"])
        .ends(3);
    says(&ran, &["did you mean `postgres_role.analytics:reporting`?"]);
}

/// A file of the mounted source is served as soon as it is saved; nothing is made anew for it.
fn saved_file_is_served(lab: &Lab) {
    let before = id(lab, "iact");
    let file = "iact/app/iact/health.py";
    lab.edit(file, "\"ok\" if works", "\"saved\" if works");
    until("the saved file is served", || {
        get(lab, "/health").1.contains("saved")
    });
    // Django notes the times of its files a second after it has started, and would miss a change before that.
    std::thread::sleep(Duration::from_secs(4));
    lab.edit(file, "\"saved\" if works", "\"ok\" if works");
    until("it is served again", || {
        get(lab, "/health").1.contains("\"status\": \"ok\"")
    });
    assert_eq!(before, id(lab, "iact"));
    lab.nothing_to_do();
}

/// Another password in the file: the role is altered, its consumer made anew, the database's container stays.
fn another_password(lab: &Lab) {
    lab.edit(
        "local.toml",
        "\ndjango_user.password = \"django_pass\"",
        "\ndjango_user.password = \"another_pass\"",
    );
    let changes: Vec<_> = lab
        .plan()
        .into_iter()
        .filter(|(id, ..)| !id.starts_with("generated_file."))
        .collect();
    let found: Vec<(&str, &str, Vec<&str>)> = changes
        .iter()
        .map(|(id, action, fields)| {
            (
                id.as_str(),
                action.as_str(),
                fields.iter().map(String::as_str).collect(),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            (
                "postgres_role.analytics:django_user",
                "update",
                vec!["password"]
            ),
            ("container.iact", "recreate", vec!["env DJANGO_DB_PASSWORD"]),
        ]
    );
    let ran = lab.provision(&["plan", "local"]).ends(0);
    says(
        &ran,
        &["container.iact", "recreate", "env DJANGO_DB_PASSWORD"],
    );
    assert!(
        !ran.stdout.contains("container.analytics"),
        "{}",
        ran.stdout
    );
    for password in ["django_pass", "another_pass"] {
        assert!(!ran.stdout.contains(password), "{}", ran.stdout);
    }
    let before = ["analytics", "ivr", "iact"].map(|service| id(lab, service));
    lab.apply();
    let after = ["analytics", "ivr", "iact"].map(|service| id(lab, service));
    assert_eq!(before[..2], after[..2]);
    assert_ne!(before[2], after[2]);
    logs_in(
        lab,
        "postgres",
        "django_user",
        "iact_analytics",
        "another_pass",
    )
    .unwrap();
    logs_in(
        lab,
        "postgres",
        "django_user",
        "iact_analytics",
        "django_pass",
    )
    .unwrap_err();
    logs_in(lab, "mariadb", "django_user", "iact_ivr", "django_pass").unwrap();
    healthy(lab);
    lab.nothing_to_do();
}

/// `--only` does what is named, and leaves the rest for later.
fn only_what_is_asked(lab: &Lab) {
    lab.psql("postgres", "ALTER ROLE etl CONNECTION LIMIT 3");
    lab.psql("postgres", "ALTER ROLE reporting CONNECTION LIMIT 3");
    let only = "postgres_role.analytics:etl";
    lab.provision(&["apply", "local", "--yes", "--only", only])
        .ends(0);
    let left: Vec<String> = lab.plan().into_iter().map(|(id, ..)| id).collect();
    assert_eq!(left, ["postgres_role.analytics:reporting"]);
    let ran = lab
        .provision(&["plan", "local", "--only", "postgres_role.analytics:elt"])
        .ends(3);
    says(&ran, &["did you mean `postgres_role.analytics:etl`?"]);
    lab.apply();
}

/// A saved plan does what it said, and nothing once anything moved.
fn saved_plans(lab: &Lab) {
    let limit = |lab: &Lab| {
        lab.psql(
            "postgres",
            "SELECT rolconnlimit FROM pg_roles WHERE rolname = 'reporting'",
        )
    };
    let plan = ["plan", "local", "--out", "saved.plan"];
    let apply = ["apply", "local", "--plan", "saved.plan"];
    let path = lab.folder.path().join("saved.plan");
    lab.edit(
        "base.toml",
        "connection_limit = 20",
        "connection_limit = 21",
    );
    lab.provision(&plan).ends(0);
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );

    // Of another environment, or damaged: nothing is done.
    lab.write(
        "other.toml",
        "extends = \"local.toml\"\n[environment]\nname = \"other\"\n",
    );
    let ran = lab
        .provision(&["apply", "other", "--plan", "saved.plan"])
        .ends(6);
    says(&ran, &["other"]);
    std::fs::remove_file(lab.path("other.toml")).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("21", "22")).unwrap();
    let ran = lab.provision(&apply).ends(6);
    says(&ran, &["damaged"]);
    std::fs::write(&path, &text).unwrap();
    assert_eq!(limit(lab), "20");

    // Something it relied on moves by hand, then back: refused by name, then done.
    lab.psql("postgres", "ALTER ROLE etl CREATEDB");
    let ran = lab.provision(&apply).ends(6);
    says(&ran, &["postgres_role.analytics:etl", "createdb"]);
    assert_eq!(limit(lab), "20");
    lab.psql("postgres", "ALTER ROLE etl NOCREATEDB");
    lab.provision(&apply).ends(0);
    assert_eq!(limit(lab), "21");
    // Played once more it is stale: what it was made for is done.
    lab.provision(&apply).ends(6);

    // The file moves.
    lab.edit(
        "base.toml",
        "connection_limit = 21",
        "connection_limit = 20",
    );
    lab.provision(&plan).ends(0);
    lab.edit(
        "base.toml",
        "connection_limit = 20",
        "connection_limit = 19",
    );
    let ran = lab.provision(&apply).ends(6);
    says(&ran, &["postgres_role.analytics:reporting"]);
    // A secret moves, which the plan does not hold.
    lab.edit(
        "base.toml",
        "connection_limit = 19",
        "connection_limit = 20",
    );
    lab.edit("local.toml", "\"etl_pass\"", "\"etl_other\"");
    let ran = lab.provision(&apply).ends(6);
    assert!(!ran.stderr.contains("etl_other"), "{}", ran.stderr);
    lab.edit("local.toml", "\"etl_other\"", "\"etl_pass\"");
    lab.provision(&apply).ends(0);
    assert_eq!(limit(lab), "20");
}

/// Files rendered into a folder of the user's choice are Compose files for both.
fn rendered_elsewhere(lab: &Lab) {
    lab.provision(&["render", "local", "--out", "elsewhere"])
        .ends(0);
    let folder = lab.folder.path().join("elsewhere");
    for compose in [compose1 as fn(&_, &[&str]) -> Ran, compose2] {
        let ran = compose(&folder, &["config"]).ends(0);
        says(&ran, &["analytics", "ivr", "iact", "another_pass"]);
    }
}

/// Servers with things in them that a later version of the file does not have.
const FULL: &str = r#"
[environment]
project = "PROJECT"
[postgres.analytics]
settings = { work_mem = "8MB", log_min_duration_statement = "500ms" }
[postgres.analytics.role.app]
password = "app-pass"
[postgres.analytics.role.stays]
password = "stays-pass"
[postgres.analytics.role.gone]
password = "gone-pass"
[postgres.analytics.database.app]
owner = "app"
encoding = "UTF8"
extensions = ["hstore", "citext"]
[postgres.analytics.database.old]
owner = "app"
[[postgres.analytics.grant]]
role = "gone"
database = "app"
schema = "public"
tables = ["SELECT"]
future = true
[[postgres.analytics.grant]]
role = "stays"
database = "app"
schema = "public"
tables = ["SELECT"]
[mariadb.ivr]
settings = { max_connections = 77, local_infile = false }
[mariadb.ivr.database.app]
[mariadb.ivr.database.old]
[mariadb.ivr.user."app@%"]
password = "app-pass"
grants = { "app.*" = ["ALL"] }
[mariadb.ivr.user."gone@%"]
password = "gone-pass"
grants = { "app.*" = ["SELECT"] }
[forward.analytics]
to = "postgres.analytics"
listen = "127.0.0.1:POSTGRES_PORT"
[forward.ivr]
to = "mariadb.ivr"
listen = "127.0.0.1:MARIADB_PORT"
"#;

/// What is taken out of it.
const REMOVED: &[&str] = &[
    "[postgres.analytics.role.gone]\npassword = \"gone-pass\"\n",
    ", \"citext\"",
    "[[postgres.analytics.grant]]\nrole = \"gone\"\ndatabase = \"app\"\nschema = \"public\"\ntables = [\"SELECT\"]\nfuture = true\n",
    "[[postgres.analytics.grant]]\nrole = \"stays\"\ndatabase = \"app\"\nschema = \"public\"\ntables = [\"SELECT\"]\n",
    "work_mem = \"8MB\", ",
    "max_connections = 77, ",
    "[mariadb.ivr.user.\"gone@%\"]\npassword = \"gone-pass\"\ngrants = { \"app.*\" = [\"SELECT\"] }\n",
    "[postgres.analytics.database.old]\nowner = \"app\"\n",
    "[mariadb.ivr.database.old]\n",
];

#[test]
fn what_is_taken_out_of_the_file_goes_and_data_stays_until_named() {
    if !engine() {
        return;
    }
    let lab = Lab::with("removal", FULL);
    lab.apply();
    lab.nothing_to_do();
    for database in ["app", "old"] {
        lab.psql(
            database,
            "SET ROLE app; CREATE TABLE kept (id int); INSERT INTO kept VALUES (42)",
        );
        lab.mariadb(&format!(
            "CREATE TABLE {database}.kept (id int); INSERT INTO {database}.kept VALUES (42)"
        ));
    }
    removed(&lab);
    orphans(&lab);
    another_encoding(&lab);
    taken_down_and_up(&lab);
}

fn removed(lab: &Lab) {
    // What somebody made by hand is not ours to remove.
    lab.psql("postgres", "CREATE ROLE somebody");
    lab.mariadb("CREATE USER somebody@localhost");
    for text in REMOVED {
        lab.edit("local.toml", text, "");
    }
    let plan = lab.plan();
    let mut goes: Vec<&str> = plan
        .iter()
        .filter(|(_, action, _)| action == "remove")
        .map(|(id, ..)| id.as_str())
        .collect();
    goes.sort_unstable();
    assert_eq!(
        goes,
        [
            "mariadb_grant.ivr:gone@%",
            "mariadb_setting.ivr:max_connections",
            "mariadb_user.ivr:gone@%",
            "postgres_extension.analytics:app/citext",
            "postgres_grant.analytics:app/gone",
            "postgres_grant.analytics:app/stays",
            "postgres_role.analytics:gone",
            "postgres_setting.analytics:work_mem",
        ],
        "{plan:#?}"
    );
    lab.apply();
    lab.nothing_to_do();
    assert_eq!(lab.psql("postgres", "SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles WHERE rolname IN ('app', 'gone', 'stays', 'somebody')"), "app somebody stays");
    assert_eq!(
        lab.psql(
            "app",
            "SELECT has_table_privilege('stays', 'kept', 'SELECT')"
        ),
        "f"
    );
    assert_eq!(
        lab.psql(
            "app",
            "SELECT string_agg(extname, ' ' ORDER BY extname) FROM pg_extension"
        ),
        "hstore plpgsql"
    );
    assert_eq!(lab.psql("app", "SHOW work_mem"), "4MB");
    assert_eq!(lab.psql("app", "SHOW log_min_duration_statement"), "500ms");
    assert_eq!(lab.mariadb("SELECT GROUP_CONCAT(User ORDER BY User) FROM mysql.user WHERE User IN ('app', 'gone', 'somebody')"), "app,somebody");
    assert_eq!(
        lab.mariadb("SELECT @@max_connections, @@local_infile"),
        "151\t0"
    );
    logs_in(lab, "mariadb", "gone", "app", "gone-pass").unwrap_err();
    logs_in(lab, "postgres", "app", "app", "app-pass").unwrap();
}

/// What holds data is kept and said, until it is named exactly.
fn orphans(lab: &Lab) {
    let ran = lab.provision(&["plan", "local"]).ends(0);
    for id in [
        "postgres_database.analytics:old",
        "mariadb_database.ivr:old",
    ] {
        says(&ran, &[id, "--destroy-data="]);
    }
    assert_eq!(lab.psql("old", "SELECT id FROM kept"), "42");
    assert_eq!(lab.mariadb("SELECT id FROM old.kept"), "42");
    for wrong in [
        "postgres_database.analytics:ol",
        "postgres_database.analytics:app",
        "old",
    ] {
        let ran = lab
            .provision(&[
                "apply",
                "local",
                "--yes",
                &format!("--destroy-data={wrong}"),
            ])
            .ends(3);
        says(&ran, &[wrong]);
    }
    lab.provision(&[
        "apply",
        "local",
        "--yes",
        "--destroy-data=postgres_database.analytics:old",
    ])
    .ends(0);
    assert_eq!(
        lab.psql(
            "app",
            "SELECT count(*) FROM pg_database WHERE datname = 'old'"
        ),
        "0"
    );
    assert_eq!(lab.mariadb("SELECT id FROM old.kept"), "42");
    lab.provision(&[
        "apply",
        "local",
        "--yes",
        "--destroy-data=mariadb_database.ivr:old",
    ])
    .ends(0);
    assert_eq!(lab.mariadb("SHOW DATABASES LIKE 'old'"), "");
    let ran = lab.provision(&["plan", "local"]).ends(0);
    assert!(!ran.stdout.contains("--destroy-data"), "{}", ran.stdout);
}

/// What cannot be altered is refused, with what to do instead.
fn another_encoding(lab: &Lab) {
    lab.edit("local.toml", "encoding = \"UTF8\"", "encoding = \"LATIN1\"");
    for words in [&["plan", "local"][..], &["apply", "local", "--yes"]] {
        let ran = lab.provision(words).ends(8);
        says(
            &ran,
            &[
                "postgres_database.analytics:app",
                "encoding",
                "pg_dump",
                "restore",
            ],
        );
    }
    assert_eq!(lab.psql("app", "SELECT id FROM kept"), "42");
    lab.edit("local.toml", "encoding = \"LATIN1\"", "encoding = \"UTF8\"");
    lab.nothing_to_do();
}

/// `destroy` leaves the volumes, `apply` brings everything back; a volume goes only by its exact id.
fn taken_down_and_up(lab: &Lab) {
    let label = format!("label=com.docker.compose.project={}", lab.project);
    let there = |words: &[&str]| {
        docker(&[words, &["-q", "--filter", &label]].concat())
            .lines()
            .count()
    };
    lab.provision(&["destroy", "local"]).ends(3);
    assert_eq!(there(&["ps", "-a"]), 2);
    let ran = lab.provision(&["destroy", "local", "--yes"]).ends(0);
    says(
        &ran,
        &[&format!("{}_analytics_data", lab.project), "--destroy-data"],
    );
    assert_eq!(
        (
            there(&["ps", "-a"]),
            there(&["network", "ls"]),
            there(&["volume", "ls"])
        ),
        (0, 0, 2)
    );
    lab.provision(&["destroy", "local", "--yes"]).ends(0);
    lab.apply();
    lab.nothing_to_do();
    assert_eq!(lab.psql("app", "SELECT id FROM kept"), "42");
    assert_eq!(lab.mariadb("SELECT id FROM app.kept"), "42");

    let ran = lab.provision(&["destroy", "local", "--yes", "--destroy-data=analytics_data"]);
    assert!(matches!(ran.code, 3 | 8), "{ran:?}");
    let ran = lab
        .provision(&["destroy", "local", "--yes", "--destroy-data=*"])
        .ends(8);
    says(&ran, &["exact id"]);
    assert_eq!(there(&["ps", "-a"]), 2);
    let volume = format!("volume.{}_analytics_data", lab.project);
    lab.provision(&[
        "destroy",
        "local",
        "--yes",
        &format!("--destroy-data={volume}"),
    ])
    .ends(0);
    let left = docker(&["volume", "ls", "-q", "--filter", &label]);
    assert_eq!(left, format!("{}_ivr_data", lab.project));
    lab.apply();
    lab.nothing_to_do();
    assert_eq!(lab.psql("app", "SELECT to_regclass('kept') IS NULL"), "t");
    assert_eq!(lab.mariadb("SELECT id FROM app.kept"), "42");
}
