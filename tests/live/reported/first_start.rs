//! First starts: the failing statement at once, and grants on objects that are not there yet.

use std::time::{Duration, Instant};

use crate::lab::{Lab, docker, engine};

const BOTH: &str = r#"
[environment]
project = "PROJECT"
stage = "dev"
[target]
driver = "docker"
[postgres.analytics]
init = ["sql/1.sql", "sql/2.sql", "sql/3.sql"]
[postgres.analytics.role.app]
password = "geheim-app"
[postgres.analytics.database.data]
owner = "app"
[[postgres.analytics.grant]]
role = "app"
database = "data"
schema = "late"
tables = ["SELECT"]
[mariadb.ivr]
init = ["sql/m1.sql", "sql/m2.sql"]
[mariadb.ivr.database.a_b]
[mariadb.ivr.user."u@%"]
password = "geheim-u"
grants = { "a_b.*" = ["INSERT"], "a_b.t_1" = ["SELECT"], "a_b.made" = ["SELECT"] }
"#;

const DEADLINE: Duration = Duration::from_secs(120);

fn scripts(lab: &Lab, second: &str, m2: &str) {
    std::fs::create_dir_all(lab.path("sql")).unwrap();
    lab.write("sql/1.sql", "create table one (id int);\n");
    lab.write("sql/2.sql", second);
    lab.write("sql/3.sql", "create table three (id int);\n");
    lab.write("sql/m1.sql", "create table made (id int);\n");
    lab.write("sql/m2.sql", m2);
}

/// B03 and A1: what a first start stumbles over is told with its file, line and code, again by the second apply, and a corrected script
/// is all that it takes; a grant on what is not there yet waits, and is given once that is there.
#[test]
fn a_first_start_tells_its_error_and_grants_wait_for_their_objects() {
    if !engine() {
        return;
    }
    let lab = Lab::with("first", BOTH);
    let second = "-- note\ncreate table two (id int);\nDO $$\nBEGIN\n  insert into nope values ('geheim-x');\nEND $$;\n";
    let procedure = "create table half (id int);\nDELIMITER //\ncreate procedure p()\nbegin\n  selec 1;\nend//\nDELIMITER ;\n";
    scripts(&lab, second, procedure);
    for _ in 0..2 {
        let begun = Instant::now();
        let ran = lab.provision(&["apply", "local", "--yes"]).ends(1);
        assert!(begun.elapsed() < DEADLINE, "{ran:?}");
        for words in [
            "its first start failed at `sql/2.sql:5`: relation \"nope\" does not exist (42P01)",
            "its first start failed at `sql/m2.sql:5`: You have an error in your SQL syntax",
            "(1064)",
            "  | create procedure p()",
        ] {
            assert!(ran.stderr.contains(words), "{words}\n{ran:?}");
        }
        for words in ["geheim", "Access denied", "already exists", "still differs"] {
            assert!(!ran.stderr.contains(words), "{words}\n{ran:?}");
        }
        assert_eq!(
            docker(&[
                "volume",
                "ls",
                "-q",
                "--filter",
                &format!("name={}_", lab.project)
            ]),
            ""
        );
    }
    scripts(
        &lab,
        "create table two (id int);\n",
        "create table half (id int);\n",
    );
    let ran = lab.apply();
    for words in [
        "mariadb_grant.ivr:u@%`: the table `a_b.t_1` does not exist yet",
        "postgres_grant.analytics:data/app`: the schema `late` does not exist yet",
    ] {
        assert!(ran.stdout.contains(words), "{words}\n{ran:?}");
    }
    let (_, done) = ran.stdout.split_once("Done: ").unwrap();
    assert!(!done.contains("a_b.made"), "{ran:?}");
    waits(&lab);
    lab.mariadb("CREATE TABLE a_b.t_1 (id int)");
    lab.psql("data", "CREATE SCHEMA late");
    let changes = lab.plan();
    assert_eq!(changes.len(), 2, "{changes:?}");
    lab.apply();
    lab.nothing_to_do();
    let grants = lab.mariadb("SHOW GRANTS FOR u@'%'");
    assert!(grants.contains("GRANT SELECT ON `a_b`.`t_1`"), "{grants}");
    assert!(grants.contains("GRANT SELECT ON `a_b`.`made`"), "{grants}");
    // The right on a table that is dropped stays, and nothing is to be done about it.
    lab.mariadb("DROP TABLE a_b.t_1");
    lab.nothing_to_do();
    later(&lab);
}

fn waits(lab: &Lab) {
    let plan = lab
        .provision(&["plan", "local", "--detailed-exitcode"])
        .ends(0);
    let words = "wait: the table `a_b.t_1` does not exist yet";
    assert!(plan.stdout.contains(words), "{plan:?}");
    let audit = lab.provision(&["audit", "local", "--format", "json"]);
    assert!(
        audit
            .stdout
            .contains("the table `a_b.t_1` does not exist yet"),
        "{audit:?}"
    );
}

/// A script of a later apply makes the table that a grant waits for: both happen in one run. One that fails tells where.
fn later(lab: &Lab) {
    lab.edit(
        "local.toml",
        "\"a_b.made\" =",
        "\"a_b.born\" = [\"SELECT\"], \"a_b.made\" =",
    );
    lab.write(
        "sql/m2.sql",
        "create table if not exists half (id int);\ncreate table born (id int);\n",
    );
    let ran = lab.apply();
    assert!(!ran.stdout.contains("still waits"), "{ran:?}");
    lab.nothing_to_do();
    let grants = lab.mariadb("SHOW GRANTS FOR u@'%'");
    assert!(grants.contains("GRANT SELECT ON `a_b`.`born`"), "{grants}");
    lab.write(
        "sql/3.sql",
        "create table if not exists three (id int);\n\nselect *\n  from nope;\n",
    );
    lab.write("sql/m2.sql", "select 1;\nselect 2 from\n nope;\n");
    let ran = lab.provision(&["apply", "local", "--yes"]).ends(1);
    for words in [
        "`sql/3.sql:4`: relation \"nope\" does not exist (42P01)",
        "`sql/m2.sql:2`: Table 'a_b.nope' doesn't exist (1146)",
    ] {
        assert!(ran.stderr.contains(words), "{words}\n{ran:?}");
    }
}
