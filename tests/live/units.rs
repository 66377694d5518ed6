//! Units, timers, kernel and firewall of a bare server: drift made by hand is named exactly and healed; what a unit owes outlives any
//! death; what may lock us out does not.

use std::process::Stdio;
use std::time::Duration;

use provision::quote;

use super::kinds::{changes, check_all};
use crate::lab::server::{Image, Server, ServerLab};
use crate::lab::values::many;
use crate::lab::{engine, until};

#[test]
fn every_drift_of_units_kernel_and_firewall_is_named_exactly_and_healed() {
    if !engine() {
        return;
    }
    let cases: toml::Table = include_str!("../cases/unit_drifts.toml").parse().unwrap();
    let server = Server::up("units", Image::Bare);
    let lab = ServerLab::new([&server], cases["environment"].as_str().unwrap());
    lab.apply();
    lab.nothing_to_do();
    check_all(&lab, &server, &cases);
    let left = server.sh("find / -xdev -name '.provision-*'; ls -A /run/provision");
    assert_eq!(left, "", "drafts and guards are gone");
}

/// A file that a unit reads, and one behind it whose check takes its time: between the two the run can be killed.
const OWED: &str = r#"
[file."/etc/web.env"]
on = "s1"
content = "A=VALUE\n"
restarts = ["web.service"]
[file."/etc/web.zzz"]
on = "s1"
content = "VALUE\n"
validate = ["sh", "-c", "[ ! -e /run/slow ] || sleep 3", "{}"]
[systemd_unit."web.service"]
on = "s1"
content = """
[Service]
EnvironmentFile=/etc/web.env
ExecStart=/bin/sleep infinity
[Install]
WantedBy=multi-user.target
"""
[systemd_unit."other.service"]
on = "s1"
content = """
[Service]
ExecStart=/bin/sleep infinity
[Install]
WantedBy=multi-user.target
"""
"#;

#[test]
fn a_restart_owed_survives_the_death_of_the_run_that_owes_it() {
    if !engine() {
        return;
    }
    let server = Server::up("owed", Image::Bare);
    let host = server.host("s1");
    let say =
        |lab: &ServerLab, value: &str| lab.say(&format!("{host}{}", OWED.replace("VALUE", value)));
    let lab = ServerLab::with("");
    say(&lab, "1");
    lab.apply();
    lab.nothing_to_do();
    let run = |unit: &str| server.sh(&format!("systemctl show -p InvocationID --value {unit}"));
    let (web, other) = (run("web"), run("other"));
    say(&lab, "2");
    server.sh("touch /run/slow");
    let mut client = lab
        .command(&["apply", "servers", "--yes"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("the file is written", || {
        server.sh("cat /etc/web.env") == "A=2"
    });
    client.kill().unwrap();
    client.wait().unwrap();
    server.sh("rm /run/slow");
    // What was begun ends by itself; nothing after it begins.
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(run("web"), web, "nobody has restarted it yet");
    let mut left = changes(&lab);
    left.retain(|change| change.0 != "file.s1:/etc/web.zzz");
    let owed = (
        "systemd_unit.s1:web.service".to_owned(),
        "update".to_owned(),
        vec!["loaded".to_owned()],
    );
    assert_eq!(left, [owed]);
    let said = lab.provision(&["plan", "servers"]).stdout;
    assert!(
        said.contains("restart owed: /etc/web.env is not what it read"),
        "{said}"
    );
    lab.apply();
    lab.nothing_to_do();
    assert_ne!(run("web"), web, "it is restarted");
    assert_eq!(run("other"), other, "and nothing else is");
}

#[test]
fn a_firewall_that_locks_us_out_does_not_stay() {
    if !engine() {
        return;
    }
    let server = Server::up("wall", Image::Bare);
    let host = server.host("s1");
    let allow = |more: &str| {
        format!("{host}[firewall.base]\non = \"s1\"\n[[firewall.base.allow]]\nport = 80\n{more}")
    };
    let lab = ServerLab::with(&allow(""));
    lab.apply();
    lab.nothing_to_do();
    let rules = || server.sh("nft -s list table inet provision");
    let before = rules();
    lab.say(&allow(
        "[[firewall.base.allow]]\nport = 22\nfrom = [\"203.0.113.7\"]\n",
    ));
    let ran = lab.provision(&["apply", "servers", "--yes"]);
    assert_ne!(ran.code, 0, "{ran:#?}");
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(said.contains("old state was put back"), "{said}");
    assert_eq!(rules(), before);
    let said = lab.provision(&["plan", "servers"]).stdout;
    assert!(said.contains("put back by the machine at"), "{said}");
    // The run dies before it can say anything: the machine does it by itself.
    let mut client = lab
        .command(&["apply", "servers", "--yes"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("the rules are loaded", || {
        server.try_sh("test -e /run/provision/guard-firewall.armed && nft list ruleset | grep -q 203.0.113.7").code == 0
    });
    client.kill().unwrap();
    client.wait().unwrap();
    until("the old rules are back", || rules() == before);
    lab.say(&allow(""));
    lab.nothing_to_do();
}

#[test]
fn a_unit_that_does_not_start_says_why() {
    if !engine() {
        return;
    }
    let server = Server::up("fails", Image::Bare);
    let host = server.host("s1");
    let lab = ServerLab::with("");
    for (unit, says) in [
        (
            "ExecStart=/bin/sh -c 'echo no such table; exit 3'",
            ["exit status 3", "no such table"],
        ),
        (
            "ExecStart=/bin/sh -c 'sleep 0.7; exit 3'\\nRestart=always\\nRestartSec=100ms",
            ["`bad.service`", "within a second"],
        ),
        ("Nonsense", ["bad-setting", "has no ExecStart="]),
        (
            "Type=oneshot\\nExecStart=/bin/false",
            ["`bad.service` does not run", "exit status 1"],
        ),
    ] {
        lab.say(&format!(
            "{host}[systemd_unit.\"bad.service\"]\non = \"s1\"\nstart = false\ncontent = \"[Service]\\n{unit}\\n\"\n\
             [systemd_unit.\"good.service\"]\non = \"s1\"\nstart = false\ncontent = \"[Service]\\nExecStart=/bin/sleep infinity\\n\"\n"
        ));
        let ran = lab.provision(&["apply", "servers", "--yes"]);
        assert_eq!(ran.code, 1, "{unit}: {ran:#?}");
        let said = format!("{}{}", ran.stdout, ran.stderr);
        for words in says {
            assert!(said.contains(words), "{unit}: {said}");
        }
        assert_eq!(server.sh("systemctl is-active good"), "active");
    }
}

/// Values that quoting goes wrong with are what they were, after systemd has read them and after our supervisor has.
#[test]
fn words_and_variables_of_a_unit_are_what_they_were() {
    if !engine() {
        return;
    }
    let server = Server::up("quoting", Image::Bare);
    let folder = tempfile::tempdir().unwrap();
    let put = |text: &str, to: &str| {
        let path = folder.path().join("x");
        std::fs::write(&path, text).unwrap();
        server.put(&path, to);
    };
    let values = many(1500);
    let mut command = vec!["/usr/bin/printf".to_owned(), "%s\\0".to_owned()];
    command.extend(values.iter().cloned());
    let line = quote::exec_line(&command).unwrap();
    let mut file = String::new();
    let mut variables = Vec::new();
    for (number, value) in values.iter().enumerate() {
        if let Some(quoted) = quote::env_value(value) {
            file.push_str(&format!("V{number}={quoted}\n"));
            variables.push(format!("V{number}={value}"));
        }
    }
    assert!(variables.len() > 500);
    put(&file, "/etc/quoting.env");
    let unit = |line: &str| {
        format!(
            "[Service]\nType=oneshot\nEnvironmentFile=/etc/quoting.env\nStandardOutput=truncate:/run/said\nExecStart={line}\n"
        )
    };
    put(&unit(&line), "/etc/systemd/system/words.service");
    let environ = "/bin/sh -c \"exec cat /proc/self/environ\"";
    put(&unit(environ), "/etc/systemd/system/variables.service");
    put(
        include_str!("../../src/resources/supervise.sh"),
        "/root/supervise",
    );
    server.sh("mkdir -p /usr/local/lib/provision && cp /root/supervise /usr/local/lib/provision/ && systemctl daemon-reload");
    let mut wanted = values.join("\0");
    wanted.push('\0');
    for (name, by) in [
        ("systemd", "systemctl start UNIT && cat /run/said"),
        (
            "supervisor",
            "sh /usr/local/lib/provision/supervise child UNIT",
        ),
    ] {
        let said = server.try_sh(&by.replace("UNIT", "words.service"));
        assert_eq!(said.code, 0, "{name}: {}", said.stderr);
        let heard: Vec<&str> = said.stdout.split('\0').collect();
        for (value, heard) in values.iter().zip(&heard) {
            assert_eq!(value, heard, "{name}");
        }
        assert!(said.stdout == wanted, "{name}");
        let said = server.try_sh(&by.replace("UNIT", "variables.service"));
        assert_eq!(said.code, 0, "{name}: {}", said.stderr);
        let heard: std::collections::BTreeSet<&str> = said.stdout.split('\0').collect();
        for variable in &variables {
            assert!(heard.contains(variable.as_str()), "{name}: {variable:?}");
        }
    }
    // A plain value of a unit, as systemd shows it.
    let plain: Vec<(&String, String)> = values
        .iter()
        .filter_map(|value| {
            Some((
                value,
                quote::unit_value(value).filter(|quoted| !quoted.is_empty())?,
            ))
        })
        .take(100)
        .collect();
    let archive: String = plain
        .iter()
        .enumerate()
        .map(|(number, (_, quoted))| {
            format!(
                "{number}\t[Unit]\\nDescription={}\\n\n",
                quoted.replace('\\', "\\\\")
            )
        })
        .collect();
    put(&archive, "/root/units");
    server.sh("while IFS='\t' read -r number text; do printf '%b' \"$text\" > /run/systemd/system/d$number.service; done < /root/units; systemctl daemon-reload".replace("\\t", "\t").as_str());
    for (number, (value, _)) in plain.iter().enumerate() {
        let said = server.try_sh(&format!(
            "systemctl show -p Description --value d{number}.service"
        ));
        assert_eq!(said.stdout.strip_suffix('\n').unwrap(), value.as_str());
    }
}

/// A service of ours, and one of a package, on a machine that no systemd runs on.
const ALONE: &str = r#"
[environment]
project = "alone"
[target]
driver = "local"
[packages.cron]
names = ["cron"]
[user.web]
system = true
[file."/etc/web.env"]
content = "WORD=\"it's $one\"\n"
mode = "0600"
restarts = ["web.service"]
[file."/etc/cron.d/nothing"]
content = "\n"
restarts = ["cron.service"]
[systemd_unit."cron.service"]
[systemd_unit."web.service"]
content = """
[Service]
User=web
UMask=0027
RuntimeDirectory=web
EnvironmentFile=/etc/web.env
ExecStartPre=/bin/sh -c 'umask > /run/web/umask'
ExecStart=/bin/sh -c 'echo "$WORD" >> /run/web/starts; while :; do sleep 0.2; done'
[Install]
WantedBy=multi-user.target
"""
"#;

#[test]
fn units_run_without_systemd_too() {
    if !engine() {
        return;
    }
    let server = Server::up("alone", Image::Plain);
    server.sh("mkdir -p /root/e/environments && apt-get update -q");
    let folder = tempfile::tempdir().unwrap();
    let say = |text: &str| {
        let file = folder.path().join("alone.toml");
        std::fs::write(&file, text).unwrap();
        server.put(&file, "/root/e/environments/alone.toml");
    };
    server.put(
        std::path::Path::new(env!("CARGO_BIN_EXE_provision")),
        "/usr/local/bin/provision",
    );
    let plan = || server.try_sh("cd /root/e && provision plan alone");
    let apply = || {
        server
            .try_sh("cd /root/e && provision apply alone --yes")
            .ends(0)
    };
    say(ALONE);
    apply();
    let said = plan().stdout;
    assert!(said.contains("Nothing to do"), "{said}");
    assert_eq!(server.sh("cat /run/web/starts"), "it's $one");
    assert_eq!(
        server.sh("cat /run/web/umask; stat -c %U /run/web"),
        "0027\nweb"
    );
    assert_eq!(
        server.sh("grep -l '[i]t.s .one' /proc/[0-9]*/cmdline || :"),
        "",
        "nothing of an environment file in an argument"
    );
    // A file changed: exactly its unit is restarted.
    let cron = server.sh("cat /run/crond.pid");
    say(&ALONE.replace("$one", "$two"));
    apply();
    assert_eq!(server.sh("cat /run/web/starts"), "it's $one\nit's $two");
    assert_eq!(server.sh("cat /run/crond.pid"), cron);
    // What falls gets up by itself; what is killed for good is started.
    server.sh("kill -KILL $(cut -d' ' -f2 /run/provision/web.service.pid)");
    until("it is up again", || {
        server.sh("wc -l < /run/web/starts") == "3" && plan().stdout.contains("Nothing to do")
    });
    server.sh("kill -KILL $(cat /run/provision/web.service.pid); kill -KILL $(cat /run/crond.pid)");
    let said = plan().stdout;
    assert!(
        said.contains("systemd_unit.local:web.service")
            && said.contains("systemd_unit.local:cron.service"),
        "{said}"
    );
    apply();
    assert!(plan().stdout.contains("Nothing to do"));
    assert_ne!(server.sh("cat /run/crond.pid"), cron);
    // Stopped is stopped, with all that it has started.
    say(&ALONE.replace(
        "[systemd_unit.\"web.service\"]",
        "[systemd_unit.\"web.service\"]\nrunning = false",
    ));
    apply();
    assert!(plan().stdout.contains("Nothing to do"));
    assert_eq!(
        server.sh("grep -l '[w]eb/starts' /proc/[0-9]*/cmdline || :"),
        ""
    );
    // A timer needs systemd, and says so.
    say(&format!(
        "{ALONE}[timer.x]\ncommand = [\"/bin/true\"]\ncalendar = \"daily\"\n"
    ));
    let ran = server.try_sh("cd /root/e && provision apply alone --yes");
    assert!(
        ran.code == 1 && format!("{}{}", ran.stdout, ran.stderr).contains("timers need systemd"),
        "{ran:#?}"
    );
}
