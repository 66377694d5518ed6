//! What a server remembers: who moved, what goes when it is no longer declared, what stays, and what is taken over.

use serde_json::Value;

use crate::lab::engine;
use crate::lab::server::{Image, Server, ServerLab};

/// Things of every sort, and a database server with what lies in it.
const TEXT: &str = r##"
[group.app]
on = "s1"
gid = 4000
[user.app]
on = "s1"
group = "app"
home = "/srv/app"
shell = "/bin/sh"
[directory."/srv/app"]
on = "s1"
owner = "app"
group = "app"
mode = "0750"
[file."/etc/motd"]
on = "s1"
content = "hello\n"
[file."/srv/app/conf"]
on = "s1"
content = "a = 1\n"
owner = "app"
group = "app"
mode = "0640"
[file."/srv/app/other"]
on = "s1"
content = "b = 1\n"
[link."/srv/current"]
on = "s1"
to = "/srv/app"
[systemd_unit."hello.service"]
on = "s1"
content = """
[Unit]
Description=Says hello
[Service]
ExecStart=/bin/sleep infinity
[Install]
WantedBy=multi-user.target
"""
[postgres.analytics]
on = "s1"
version = "15"
settings = { max_connections = 60 }
[postgres.analytics.role.django_user]
password = "django_pass"
login = true
[postgres.analytics.role.reporting]
password = "reporting_pass"
login = true
[postgres.analytics.database.iact]
owner = "django_user"
[[postgres.analytics.grant]]
role = "reporting"
database = "iact"
schema = "public"
tables = ["SELECT"]
"##;

const ALTER: &str = r#"
echo more >> /etc/motd
chmod 600 /srv/app/conf
chown root /srv/app
rm /srv/current
usermod -s /bin/bash app
systemctl stop hello
systemctl disable hello 2> /dev/null
echo 'Environment=A=1' >> /etc/systemd/system/hello.service
rm /srv/app/other
printf '[Service]\nExecStart=/bin/false\n' > /etc/systemd/system/bad.service
systemctl daemon-reload
systemctl start bad
systemctl reset-failed hello 2> /dev/null || :
cd /
runuser -u postgres -- psql -Xqc 'create role evil superuser login' -c 'create role guest login' \
    -c 'alter role django_user connection limit 3' -c "alter role reporting password 'x'" \
    -c 'alter system set max_connections = 70' -c 'alter system set log_lock_waits = on'
runuser -u postgres -- psql -Xqd iact -c 'revoke usage on schema public from reporting'
echo 'host all all 0.0.0.0/0 trust' >> /etc/postgresql/15/main/pg_hba.conf
runuser -u postgres -- psql -Xqc "alter system set listen_addresses = '*'"
systemctl restart postgresql@15-main
"#;

pub type Found = (String, String);

/// What `audit` finds and who moved; not updates that wait.
pub fn findings(lab: &ServerLab) -> Vec<Found> {
    let ran = lab.provision(&["audit", "servers", "--format", "json"]);
    let json = ran.json();
    assert_eq!(json["unread"], serde_json::json!([]), "{ran:?}");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = json["findings"].as_array().unwrap().iter();
    let mut found: Vec<Found> = all
        // What Debian has new today is no business of the test.
        .filter(|one| one["kind"] != "updates")
        .map(|one| (text(&one["id"]), text(&one["drift"]["moved"])))
        .collect();
    found.sort();
    found
}

#[test]
fn a_server_remembers_who_moved_and_what_is_ours() {
    if !engine() {
        return;
    }
    let server = Server::up("memory", Image::Full);
    server.sh("printf 'kept\\n' > /srv/there");
    let there = "[file.\"/srv/there\"]\non = \"s1\"\ncontent = \"kept\\n\"\nmode = \"0644\"\n";
    let text = format!("{}{TEXT}{there}", server.host("s1"));
    let lab = ServerLab::with(&text);
    lab.apply();
    lab.nothing_to_do();
    let memory = format!("/var/lib/provision/{}.servers.json", lab.project);
    let rights = server.sh(&format!("stat -c '%a %U' {memory} /var/lib/provision"));
    assert_eq!(rights, "600 root\n700 root");
    let before = server.snapshot();
    lab.apply();
    assert_eq!(before, server.snapshot(), "nothing new is not written down");
    assert_eq!(findings(&lab), []);
    moved(&server, &lab, &text);
    removed(&server, &lab, &text);
    formats(&server, &lab, &memory);
    destroyed(&server, &lab);
}

/// Every drift is named, with who moved, and healed.
fn moved(server: &Server, lab: &ServerLab, text: &str) {
    server.sh(ALTER);
    lab.say(
        &text
            .replace("b = 1", "b = 2")
            .replace("max_connections = 60", "max_connections = 80"),
    );
    let wanted = [
        ("audit.postgres_login.analytics:guest", ""),
        ("audit.postgres_superuser.analytics:evil", ""),
        ("audit.unit_failed.s1:bad.service", ""),
        ("directory.s1:/srv/app#owner", "machine"),
        ("file.s1:/etc/motd#content", "machine"),
        ("file.s1:/srv/app/conf#mode", "machine"),
        ("file.s1:/srv/app/other", "machine"),
        ("link.s1:/srv/current", "machine"),
        ("postgres_cluster.s1:15/main#listen_addresses", "machine"),
        ("postgres_hba.s1:15/main#host all all 0.0.0.0/0", "machine"),
        (
            "postgres_role.analytics:django_user#connection_limit",
            "machine",
        ),
        ("postgres_role.analytics:reporting#password", "machine"),
        ("postgres_setting.analytics:max_connections#value", "both"),
        ("user.s1:app#shell", "machine"),
    ];
    let found = findings(lab);
    for (id, moved) in wanted {
        let one = found.iter().find(|(found, _)| found == id);
        let one = one.unwrap_or_else(|| panic!("{id} is not found in {found:#?}"));
        assert_eq!(one.1, moved, "{id}");
    }
    let mut others: Vec<&str> = found.iter().map(|(id, _)| id.as_str()).collect();
    others.retain(|id| !wanted.iter().any(|(wanted, _)| wanted == id));
    // A unit removed by hand is three of them; the fourth is the right that was taken.
    others.sort_unstable();
    assert_eq!(
        others,
        [
            "postgres_grant.analytics:iact/reporting#schema public",
            "systemd_unit.s1:hello.service#content",
            "systemd_unit.s1:hello.service#running",
            "systemd_unit.s1:hello.service#start",
        ]
    );
    // A file says when it was written.
    let json = lab
        .provision(&["audit", "servers", "--format", "json"])
        .json();
    let all = json["findings"].as_array().unwrap();
    let motd = all
        .iter()
        .find(|one| one["id"] == "file.s1:/etc/motd#content")
        .unwrap();
    assert_eq!(motd["drift"]["since_exact"], true);
    lab.apply();
    lab.nothing_to_do();
    let left = findings(lab);
    assert!(
        left.iter().all(|(id, _)| id.starts_with("audit.")),
        "{left:#?}"
    );
    server.sh("rm /etc/systemd/system/bad.service; systemctl daemon-reload; systemctl reset-failed; cd /; runuser -u postgres -- psql -Xqc 'drop role evil' -c 'drop role guest' -c 'alter system reset log_lock_waits' -c 'select pg_reload_conf()'");
    lab.apply();
    lab.say(text);
    lab.apply();
}

/// What we made goes when it is no longer declared; what was there before stays, until it was taken over.
fn removed(server: &Server, lab: &ServerLab, text: &str) {
    let without = |names: &[&str]| {
        let mut kept = String::new();
        let mut skip = false;
        for line in text.lines() {
            if line.starts_with('[') {
                skip = names.iter().any(|name| line.contains(name));
            }
            if !skip {
                kept.push_str(line);
                kept.push('\n');
            }
        }
        kept
    };
    lab.say(&without(&[
        "file.\"/srv/app/other\"",
        "link.\"/srv/current\"",
        "file.\"/srv/there\"",
    ]));
    let ran = lab.provision(&["plan", "servers"]).ends(0);
    assert!(
        ran.stdout.contains("- file.s1:/srv/app/other"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout
            .contains("file.s1:/srv/there is no longer declared; it was there before"),
        "{}",
        ran.stdout
    );
    lab.apply();
    server.sh("[ ! -e /srv/app/other ] && [ ! -L /srv/current ] && [ -e /srv/there ]");
    lab.nothing_to_do();
    lab.say(text);
    lab.apply();
    let ran = lab
        .provision(&["adopt", "servers", "file.s1:/srv/there", "--yes"])
        .ends(0);
    assert!(
        ran.stdout.contains("Done: 1 resource taken over."),
        "{}",
        ran.stdout
    );
    lab.say(&without(&["file.\"/srv/there\""]));
    lab.apply();
    server.sh("[ ! -e /srv/there ]");
    lab.say(text);
    lab.apply();
}

/// A memory of a later version is refused and left alone, a damaged one forgotten.
fn formats(server: &Server, lab: &ServerLab, memory: &str) {
    let text = server.sh(&format!("cat {memory}"));
    server.sh(&format!(
        "sed -i 's/\"format_version\": 2/\"format_version\": 99/' {memory}; cp {memory} /tmp/later"
    ));
    for words in [&["plan", "servers"][..], &["apply", "servers", "--yes"]] {
        let ran = lab.provision(words).ends(6);
        assert!(ran.stderr.contains("format 99"), "{}", ran.stderr);
    }
    server.sh(&format!(
        "cmp {memory} /tmp/later; printf '{{cut' > {memory}"
    ));
    let ran = lab.provision(&["plan", "servers"]).ends(0);
    assert!(
        ran.stderr.contains("damaged and forgotten"),
        "{}",
        ran.stderr
    );
    let script = format!("printf '%s\\n' '{text}' > {memory}");
    server.sh(&script);
    lab.nothing_to_do();
}

/// What was made goes, what holds data stays.
fn destroyed(server: &Server, lab: &ServerLab) {
    let ran = lab.provision(&["destroy", "servers", "--yes"]).ends(0);
    assert!(
        ran.stdout
            .contains("postgres_database.analytics:iact` holds data and is kept"),
        "{}",
        ran.stdout
    );
    server.sh("[ ! -e /srv/app/conf ] && [ ! -L /srv/current ] && [ -d /srv/app ]");
    let there = server.sh("cd /; runuser -u postgres -- psql -XAtqc \"select count(*) from pg_database where datname = 'iact'\"");
    assert_eq!(there, "1");
}
