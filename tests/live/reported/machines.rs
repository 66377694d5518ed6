//! Servers: packaged units, drop-ins, host names, and what is printed of a run.

use provision::quote;

use crate::lab::engine;
use crate::lab::server::{Image, Server, ServerLab};
use crate::live::kinds::changes;

/// A name, how it is declared, the unit it would take, and the package that ships that.
const TAKEN: &[(&str, &str, &str, &str)] = &[
    (
        "a timer's service and timer",
        "[timer.apt-daily]\non = \"s1\"\ncommand = [\"/bin/true\"]\ncalendar = \"daily\"\n",
        "apt-daily.service",
        "apt",
    ),
    (
        "a timer's service alone",
        "[timer.ssh]\non = \"s1\"\ncommand = [\"/bin/true\"]\ncalendar = \"daily\"\n",
        "ssh.service",
        "openssh-server",
    ),
    (
        "a unit",
        "[systemd_unit.\"fstrim.service\"]\non = \"s1\"\ncontent = \"[Service]\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n\"\n",
        "fstrim.service",
        "util-linux",
    ),
    (
        "an alias",
        "[systemd_unit.\"sshd.service\"]\non = \"s1\"\ncontent = \"[Service]\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n\"\n",
        "sshd.service",
        "openssh-server",
    ),
    (
        "an instance of a template",
        "[systemd_unit.\"getty@x.service\"]\non = \"s1\"\ncontent = \"[Service]\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n\"\n",
        "getty@x.service",
        "systemd",
    ),
    (
        "a socket",
        "[systemd_unit.\"ssh.socket\"]\non = \"s1\"\ncontent = \"[Socket]\\nListenStream=2200\\n[Install]\\nWantedBy=sockets.target\\n\"\n",
        "ssh.socket",
        "openssh-server",
    ),
];

#[test]
fn the_name_of_a_unit_that_a_package_ships_is_refused_in_the_plan() {
    if !engine() {
        return;
    }
    let server = Server::up("taken", Image::Bare);
    let host = server.host("s1");
    let lab = ServerLab::with("");
    for (what, text, unit, package) in TAKEN {
        lab.say(&format!("{host}{text}"));
        let before = server.sh("ls -l /etc/systemd/system");
        for words in [&["plan", "servers"][..], &["apply", "servers", "--yes"]] {
            let ran = lab.provision(words);
            let said = format!("{}{}", ran.stdout, ran.stderr);
            assert_eq!(ran.code, 8, "{what}: {said}");
            assert!(
                said.contains(unit) && said.contains(&format!("`{package}`")),
                "{what}: {said}"
            );
            assert!(
                said.contains("/lib/systemd/system/"),
                "{what}: the file is named: {said}"
            );
        }
        assert_eq!(server.sh("ls -l /etc/systemd/system"), before, "{what}");
    }
    // What is nobody's stays possible, with a dash and a dot in it, too.
    lab.say(&format!(
        "{host}[timer.apt-own]\non = \"s1\"\ncommand = [\"/bin/true\"]\ncalendar = \"daily\"\n"
    ));
    lab.apply();
    lab.nothing_to_do();
}

#[test]
fn a_unit_that_an_earlier_version_hid_is_found_and_given_back() {
    if !engine() {
        return;
    }
    let server = Server::up("hidden", Image::Bare);
    let host = server.host("s1");
    let lab = ServerLab::with("");
    let timer = |name: &str| {
        format!(
            "{host}[timer.{name}]\non = \"s1\"\ncommand = [\"/bin/true\"]\ncalendar = \"daily\"\n"
        )
    };
    lab.say(&timer("own-daily"));
    lab.apply();
    // As an earlier version would have left it: the same files under the name of a package's unit, and remembered as there before us.
    server.sh(
        "cd /etc/systemd/system; systemctl -q enable apt-daily.timer; \
         for suffix in service timer; do sed s/own-daily/apt-daily/g own-daily.$suffix > apt-daily.$suffix; \
         sed s/own-daily/apt-daily/g /var/lib/provision/loaded/own-daily.$suffix > /var/lib/provision/loaded/apt-daily.$suffix; done; \
         sed -i 's/\"made\": *true/\"made\":false/; s/own-daily/apt-daily/g' /var/lib/provision/*.json; \
         systemctl -q disable --now own-daily.timer; rm own-daily.*; systemctl daemon-reload",
    );
    lab.say(&timer("apt-daily"));
    let ran = lab.provision(&["plan", "servers"]);
    assert_eq!(ran.code, 8, "{ran:#?}");
    assert!(
        format!("{}{}", ran.stdout, ran.stderr).contains("earlier version"),
        "{ran:#?}"
    );
    let audit = lab.provision(&["audit", "servers"]);
    assert!(
        audit.stdout.contains("hides `")
            && audit.stdout.contains("apt-daily.service")
            && audit.stdout.contains("`apt`"),
        "{audit:#?}"
    );
    lab.say(&timer("own-daily"));
    lab.apply();
    lab.nothing_to_do();
    assert_eq!(
        server.sh("ls /etc/systemd/system/apt-daily.* 2> /dev/null || :"),
        ""
    );
    let from = server.sh("systemctl show -P FragmentPath apt-daily.service apt-daily.timer");
    assert!(
        from.lines()
            .filter(|line| !line.is_empty())
            .all(|line| line.contains("/lib/systemd/system/apt-daily.")),
        "{from}"
    );
}

/// What is done by hand to the units of a timer, and what the plan has to name.
const CHANGED: &[(&str, &str)] = &[
    (
        "mkdir -p nightly.timer.d nightly.service.d; printf '[Timer]\\nOnCalendar=\\nOnCalendar=hourly\\n' > nightly.timer.d/o.conf; printf '[Service]\\nUser=nobody\\nExecStart=\\nExecStart=/bin/true\\n' > nightly.service.d/o.conf; systemctl daemon-reload",
        "nightly.timer.d/o.conf",
    ),
    (
        "mkdir -p nightly.service.d; printf '[Service]\\nUser=nobody\\n' > nightly.service.d/unread.conf",
        "nightly.service.d/unread.conf",
    ),
    (
        "mkdir -p /run/systemd/system/nightly.service.d; printf '[Service]\\nUser=nobody\\n' > /run/systemd/system/nightly.service.d/r.conf; systemctl daemon-reload",
        "/run/systemd/system/nightly.service.d/r.conf",
    ),
    (
        "systemctl set-property nightly.service CPUWeight=7",
        "nightly.service.d/50-CPUWeight.conf",
    ),
    (
        "ln -sf /dev/null nightly.service; systemctl daemon-reload",
        "masked nightly.service",
    ),
    (
        "systemctl disable -q --now nightly.timer; ln -sf /dev/null nightly.timer; systemctl daemon-reload",
        "masked nightly.timer",
    ),
    (
        "mkdir -p /etc/systemd/system.control; sed s,/usr/bin/touch,/bin/rm, nightly.service > /etc/systemd/system.control/nightly.service; systemctl daemon-reload",
        "file of nightly.service",
    ),
    (
        "sed -i s/02:30/05:30/ nightly.timer; systemctl daemon-reload",
        "calendar",
    ),
    ("systemctl disable -q nightly.timer", "start"),
];

#[test]
fn whatever_changes_what_a_timer_does_is_named_and_healed() {
    if !engine() {
        return;
    }
    let server = Server::up("dropins", Image::Bare);
    let lab = ServerLab::new(
        [&server],
        "[directory.\"/etc/systemd/system/nightly.service.d\"]\non = \"s1\"\n[timer.nightly]\non = \"s1\"\ncommand = [\"/usr/bin/touch\", \"/tmp/nightly\"]\ncalendar = \"*-*-* 02:30:00\"\n\
         [file.\"/etc/systemd/system/nightly.service.d/ours.conf\"]\non = \"s1\"\ncontent = \"[Service]\\nNice=5\\n\"\n",
    );
    lab.apply();
    lab.nothing_to_do();
    let effect = || {
        server.sh(
            "systemctl show nightly.timer nightly.service -p TimersCalendar -p User -p ExecStart -p Nice -p CPUWeight -p LoadState -p UnitFileState -p FragmentPath -p DropInPaths \
             | sed 's/ ; next_elapse=.*//; s/ ; start_time=.*//'",
        )
    };
    let before = effect();
    assert!(before.contains("Nice=5"), "{before}");
    for (by_hand, named) in CHANGED {
        server.sh(&format!("cd /etc/systemd/system; {by_hand}"));
        let fields: Vec<String> = changes(&lab)
            .into_iter()
            .flat_map(|(_, _, fields)| fields)
            .collect();
        assert!(
            fields.iter().any(|field| field.contains(named)),
            "{by_hand}: {fields:?}"
        );
        lab.apply();
        assert_eq!(effect(), before, "{by_hand}");
        lab.nothing_to_do();
    }
    // A file for many units is somebody else's: told, and left.
    server.sh("mkdir -p /etc/systemd/system/service.d; printf '[Service]\\nNice=3\\n' > /etc/systemd/system/service.d/all.conf; systemctl daemon-reload");
    let audit = lab.provision(&["audit", "servers"]).stdout;
    assert!(
        audit.contains("/etc/systemd/system/service.d/all.conf")
            && audit.contains("nightly.service"),
        "{audit}"
    );
    lab.nothing_to_do();
    server.sh("test -e /etc/systemd/system/service.d/all.conf");
}

/// The `[Unit]` and `[Service]` of a service that does not start, and what has to be said of it.
const FAILS: &[(&str, &str, &str)] = &[
    ("", "User=nobodyatall\nExecStart=/bin/sleep infinity", "217"),
    (
        "",
        "WorkingDirectory=/not/there\nExecStart=/bin/sleep infinity",
        "200",
    ),
    ("", "ExecStart=/not/there/either", "/not/there/either"),
    (
        "",
        "EnvironmentFile=/no/such.env\nExecStart=/bin/sleep infinity",
        "/no/such.env",
    ),
    (
        "",
        "ReadOnlyPaths=/no/such/place\nExecStart=/bin/sleep infinity",
        "226",
    ),
    (
        "AssertPathExists=/no/such/assert",
        "ExecStart=/bin/sleep infinity",
        "/no/such/assert",
    ),
    (
        "ConditionPathExists=/no/such/condition",
        "ExecStart=/bin/sleep infinity",
        "/no/such/condition",
    ),
    (
        "",
        "Type=notify\nTimeoutStartSec=2\nExecStart=/bin/sleep infinity",
        "timeout",
    ),
    (
        "",
        "ExecStart=/bin/sh -c 'echo the reason is this; exit 3'",
        "the reason is this",
    ),
    (
        "Requires=nothere.service\nAfter=nothere.service",
        "ExecStart=/bin/sleep infinity",
        "nothere.service",
    ),
    (
        "Requires=broken.service\nAfter=broken.service",
        "ExecStart=/bin/sleep infinity",
        "broken.service",
    ),
];

#[test]
fn a_unit_that_does_not_start_says_the_reason_of_systemd() {
    if !engine() {
        return;
    }
    let server = Server::up("reasons", Image::Bare);
    server.sh("printf '[Service]\\nType=oneshot\\nExecStart=/bin/false\\n' > /etc/systemd/system/broken.service; systemctl daemon-reload");
    let host = server.host("s1");
    let lab = ServerLab::with("");
    for (unit, service, reason) in FAILS {
        let content = format!(
            "[Unit]\n{unit}\n[Service]\n{service}\n[Install]\nWantedBy=multi-user.target\n"
        );
        lab.say(&format!(
            "{host}[systemd_unit.\"bad.service\"]\non = \"s1\"\ncontent = '''\n{content}'''\n"
        ));
        let ran = lab.provision(&["apply", "servers", "--yes"]);
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert_ne!(ran.code, 0, "{service}: {said}");
        assert!(said.contains(reason), "{unit} {service}: {said}");
    }
}

#[test]
fn a_name_in_etc_hosts_is_what_the_resolver_answers() {
    if !engine() {
        return;
    }
    let server = Server::up("hosts", Image::Bare);
    server.sh("printf '10.1.1.1 DB.internal db # kept\\n10.9.9.9 db6.internal\\n' >> /etc/hosts");
    let lab = ServerLab::new(
        [&server],
        "[hosts_entry.\"db.internal\"]\non = \"s1\"\naddress = \"10.9.9.9\"\n[hosts_entry.\"db6.internal\"]\non = \"s1\"\naddress = \"fd00::1\"\n",
    );
    let answers = |name: &str| {
        server.sh(&format!(
            "getent ahosts {name} | awk '{{ print $1 }}' | sort -u"
        ))
    };
    lab.apply();
    lab.nothing_to_do();
    assert_eq!(answers("db.internal"), "10.9.9.9");
    assert_eq!(
        server.sh("getent hosts db6.internal | awk '{ print $1 }'"),
        "fd00::1"
    );
    assert_eq!(answers("db"), "10.1.1.1", "other names of a line stay");
    for line in [
        "10.1.1.2\\tx DB.Internal",
        "fd00::2 db.internal",
        "  10.1.1.3 db.INTERNAL # by hand",
    ] {
        server.sh(&format!(
            "{{ printf '{line}\\n'; cat /etc/hosts; }} > /root/h; cat /root/h > /etc/hosts"
        ));
        let said = lab.provision(&["plan", "servers"]).stdout;
        assert!(said.contains("(line 1)"), "{line}: {said}");
        lab.apply();
        lab.nothing_to_do();
        assert_eq!(answers("db.internal"), "10.9.9.9", "{line}");
    }
}

#[test]
fn users_are_called_as_the_machine_lets_them_be() {
    if !engine() {
        return;
    }
    let server = Server::up("names", Image::Bare);
    let host = server.host("s1");
    let lab = ServerLab::with("");
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHmXhM7CTrPBzGzD3iCyYqkZwhj3pQnWzqqcFLZ3GmTa a";
    lab.write("keys/a.pub", key);
    let names = ["ana.gomez", "Maria", "pc-7$", "_x.y-z", "a_b.c-D"];
    let mut text = host.clone();
    for (number, name) in names.iter().enumerate() {
        text.push_str(&format!(
            "[user.\"{name}\"]\non = \"s1\"\nshell = \"/bin/sh\"\ncomment = \"N\"\nauthorized_keys = [\"keys/a.pub\"]\n\
             [file.\"/srv/f{number}\"]\non = \"s1\"\nowner = \"{name}\"\ncontent = \"x\"\n\
             [timer.t{number}]\non = \"s1\"\ncommand = [\"/usr/bin/id\", \"-un\"]\ncalendar = \"daily\"\nuser = \"{name}\"\n"
        ));
    }
    lab.say(&text);
    lab.apply();
    lab.nothing_to_do();
    for (number, name) in names.iter().enumerate() {
        let word = quote::word(name);
        assert_eq!(server.sh(&format!("stat -c %U /srv/f{number}")), *name);
        assert_eq!(
            server.sh(&format!(
                "cut -d' ' -f2 \"$(getent passwd {word} | cut -d: -f6)/.ssh/authorized_keys\""
            )),
            key.split(' ').nth(1).unwrap()
        );
        assert_eq!(server.sh(&format!("systemctl start t{number}.service; journalctl -q --sync; journalctl -q -o cat -u t{number}.service | grep -Fx -- {word}")), *name);
    }
    for path in [
        "/etc/sudoers.d/ana.gomez",
        "/etc/sudoers.d/ana~",
        "/etc/cron.d/ana.gomez",
        "/etc/cron.daily/backup.sh",
    ] {
        lab.say(&format!(
            "{host}[file.\"{path}\"]\non = \"s1\"\ncontent = \"x\"\n"
        ));
        let ran = lab.provision(&["validate", "servers"]);
        assert_eq!(ran.code, 3, "{ran:#?}");
        assert!(
            format!("{}{}", ran.stdout, ran.stderr).contains("ignores a file of this name"),
            "{ran:#?}"
        );
    }
}
