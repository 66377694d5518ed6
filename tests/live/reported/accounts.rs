//! MariaDB accounts: every attribute that can shut somebody out, and names as the server folds them.

use crate::lab::{Lab, engine, run};

const LOCAL: &str = r#"
[environment]
project = "PROJECT"
stage = "dev"

[mariadb.ivr]
settings = { lower_case_table_names = 1, sql_mode = "ANSI_QUOTES,PIPES_AS_CONCAT" }
init = ["schema.sql"]
init_database = "Shop"
[mariadb.ivr.database.Shop]
[mariadb.ivr.database.other]
[mariadb.ivr.role.readers]
grants = { "Shop.*" = ["SELECT"] }
[mariadb.ivr.role."o'role x"]
roles = ["readers"]
grants = { "*.*" = ["PROCESS"] }
[mariadb.ivr.user."app@%"]
password = "canary-pass p"
roles = ["o'role x"]
default_role = "o'role x"
max_statement_time = "0.5"
password_expiry = 300
grants = { "mysql.*" = ["SELECT"], "Shop.Orders" = ["SELECT (ID, total)", "INSERT"], "procedure Shop.Proc" = ["EXECUTE"], "function Shop.f" = ["ALL"] }
[mariadb.ivr.user."o'b\\ri.en \"x\" @Ünï`@10.0.0.0/255.0.0.0"]
password = "canary-pass p"
require = { subject = "/CN=O'Brien\\x", issuer = "/CN=ca" }
grants = { "Shop.*" = ["SELECT"] }
[mariadb.ivr.user."tls@%"]
password = "canary-pass p"
require = "ssl"
[mariadb.ivr.user."sock@localhost"]
auth = "unix_socket"
[mariadb.ivr.user."ed@%"]
auth = "ed25519"
password = "canary-pass p'\\q"
[mariadb.ivr.user."v6@2001:db8::1"]
password = "canary-pass p"
"#;

const SCHEMA: &str = r#"
CREATE TABLE Orders (id int, total int, note varchar(10));
CREATE PROCEDURE Proc() SELECT 1;
CREATE FUNCTION f() RETURNS int RETURN 1;
"#;

/// What is done by hand, and the changes that the plan names with their fields.
const DRIFTS: &[(&str, &str, &[&str])] = &[
    (
        "ALTER USER app REQUIRE SSL WITH MAX_QUERIES_PER_HOUR 5 MAX_UPDATES_PER_HOUR 6 MAX_CONNECTIONS_PER_HOUR 7 \
         MAX_STATEMENT_TIME 2 PASSWORD EXPIRE NEVER",
        "mariadb_user.ivr:app@%",
        &[
            "require",
            "password_expiry",
            "max_queries_per_hour",
            "max_updates_per_hour",
            "max_connections_per_hour",
            "max_statement_time",
        ],
    ),
    (
        "ALTER USER tls REQUIRE NONE",
        "mariadb_user.ivr:tls@%",
        &["require"],
    ),
    (
        "ALTER USER sock@localhost IDENTIFIED BY 'x'",
        "mariadb_user.ivr:sock@localhost",
        &["auth"],
    ),
    (
        "GRANT readers TO tls; SET DEFAULT ROLE readers FOR tls",
        "mariadb_grant.ivr:tls@%",
        &["role readers", "default_role"],
    ),
    (
        "REVOKE SELECT (id) ON shop.orders FROM app; GRANT SELECT ON shop.orders TO app; \
         REVOKE EXECUTE ON PROCEDURE shop.proc FROM app; GRANT SELECT ON other.* TO app",
        "mariadb_grant.ivr:app@%",
        &["Shop.Orders", "procedure Shop.Proc", "other.*"],
    ),
    (
        "GRANT FILE ON *.* TO `o'role x`",
        "mariadb_grant.ivr:o'role x@",
        &["*.*"],
    ),
];

#[test]
fn accounts_are_exact_and_names_are_folded() {
    if !engine() {
        return;
    }
    let lab = Lab::with("acct", LOCAL);
    lab.write("schema.sql", SCHEMA);
    let valid = lab.provision(&["validate", "local"]).ends(0);
    let said = format!("{}{}", valid.stdout, valid.stderr);
    assert!(said.contains("becomes `shop`"), "{said}");
    lab.apply();
    lab.nothing_to_do();
    lab.provision(&["verify", "local"]).ends(0);
    let access = "SELECT COUNT(*) FROM mysql.columns_priv WHERE User = 'app'";
    assert_eq!(lab.mariadb(access), "2");
    for (sql, id, fields) in DRIFTS {
        lab.mariadb(sql);
        let found = lab.plan();
        let ids: Vec<_> = found.iter().map(|change| change.0.as_str()).collect();
        assert_eq!(ids, [*id], "{sql}");
        let mut named: Vec<String> = found[0].2.iter().map(|name| name.to_lowercase()).collect();
        let mut wanted: Vec<String> = fields.iter().map(|name| name.to_lowercase()).collect();
        named.sort();
        wanted.sort();
        assert_eq!(named, wanted, "{sql}");
        lab.apply();
        lab.nothing_to_do();
    }
    audited(&lab);
    // Data that was written under a setting is not read under another.
    for instead in ["lower_case_table_names = 0, ", ""] {
        lab.write("local.toml", &changed(&lab, instead));
        let refused = run(&mut lab.command(&["plan", "local"])).ends(8);
        let said = format!("{}{}", refused.stdout, refused.stderr);
        assert!(said.contains("lower_case_table_names"), "{said}");
    }
}

fn changed(lab: &Lab, instead: &str) -> String {
    let text = LOCAL.replace("PROJECT", &lab.project);
    text.replace("lower_case_table_names = 1, ", instead)
}

/// What nobody declares and an audit names.
fn audited(lab: &Lab) {
    lab.mariadb(
        "GRANT SELECT ON other.* TO PUBLIC; CREATE ROLE stray; \
         CREATE DEFINER = gone@localhost VIEW shop.v AS SELECT 1",
    );
    let audit = lab.provision(&["audit", "local"]);
    for word in [
        "audit.mariadb_public.ivr:PUBLIC",
        "audit.mariadb_role.ivr:stray",
        "audit.mariadb_definer.ivr:view shop.v",
    ] {
        assert!(audit.stdout.contains(word), "{word}: {audit:?}");
    }
    lab.mariadb("DROP VIEW shop.v; DROP ROLE stray; REVOKE SELECT ON other.* FROM PUBLIC");
}

#[test]
fn what_the_server_would_read_otherwise_is_refused() {
    let lab = Lab::with("acctno", LOCAL);
    let refused = |from: &str, to: &str, said: &str| {
        let text = LOCAL.replace("PROJECT", &lab.project);
        assert!(text.contains(from));
        lab.write("local.toml", &text.replace(from, to));
        let ran = lab.provision(&["validate", "local"]).ends(3);
        let all = format!("{}{}", ran.stdout, ran.stderr);
        assert!(all.contains(said), "{to}: {all}");
    };
    lab.write("schema.sql", SCHEMA);
    refused("@10.0.0.0/255.0.0.0", "@10.0.0.0/8", "10.0.0.0/255.0.0.0");
    refused(
        "@10.0.0.0/255.0.0.0",
        "@10.0.0.1/255.0.0.0",
        "10.0.0.0/255.0.0.0",
    );
    refused("v6@2001:db8::1", "v6@2001:db8:0::1", "`2001:db8::1`");
    refused(
        "[mariadb.ivr.database.other]",
        "[mariadb.ivr.database.shop]",
        "same database",
    );
    refused(
        "lower_case_table_names = 1",
        "lower_case_table_names = 2",
        "for 0",
    );
    refused("\"SELECT (ID, total)\"", "\"DELETE (id)\"", "on columns");
    refused(
        "default_role = \"o'role x\"",
        "default_role = \"readers\"",
        "none of its `roles`",
    );
}
