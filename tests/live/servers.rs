//! Real servers over SSH: what an environment says becomes so, and stays so.

use std::process::Command;

use crate::lab::server::{self, Image, Server, ServerLab};
use crate::lab::{docker, engine, run};

#[test]
fn servers_are_real_let_nobody_else_in_and_leave_nothing() {
    if !engine() {
        return;
    }
    let servers = server::several("real", Image::Bare, 2);
    let [one, other] = &servers[..] else {
        panic!("{servers:?}")
    };
    assert_ne!(one.host_key, other.host_key);
    let folder = tempfile::tempdir().unwrap();
    let known = folder.path().join("known_hosts");
    let ssh = |server: &Server, host_key: &str, word: &str| {
        std::fs::write(&known, format!("{} {host_key}\n", server.address)).unwrap();
        run(Command::new("ssh")
            .args([
                "-F",
                "none",
                "-o",
                "BatchMode=yes",
                "-o",
                "IdentitiesOnly=yes",
            ])
            .args(["-o", &format!("UserKnownHostsFile={}", known.display())])
            .arg("-i")
            .arg(server::key())
            .args([&format!("deploy@{}", server.address), word]))
    };
    let ran = ssh(one, &one.host_key, "sudo -n hostname").ends(0);
    assert_eq!(ran.stdout, "real1\n");
    ssh(one, &other.host_key, "true").ends(255);
    let before = one.snapshot();
    assert_eq!(before, one.snapshot());
    for change in [
        "touch /etc/motd",
        "chmod 600 /etc/motd",
        "useradd somebody",
        "systemctl stop dbus.socket",
    ] {
        let before = one.snapshot();
        one.sh(change);
        assert_ne!(before, one.snapshot(), "a snapshot sees `{change}`");
    }
    let name = one.container.clone();
    drop(servers);
    assert_eq!(
        docker(&["ps", "-aq", "--filter", &format!("name={name}")]),
        ""
    );
}

/// Every plain thing that a bare server can hold.
const PLAIN: &str = r##"
[packages.base]
on = "s1"
names = ["less", "logrotate"]
[group.iact]
on = "s1"
system = true
[user.iact]
on = "s1"
system = true
group = "iact"
home = "/srv/iact"
shell = "/usr/sbin/nologin"
[directory."/srv/iact"]
on = "s1"
owner = "iact"
group = "iact"
mode = "0750"
[file."/etc/motd"]
on = "s1"
content = "Managed server {{ here.name }}.\n"
[file."/srv/iact/hello.env"]
on = "s1"
template = "hello.env.j2"
owner = "iact"
group = "iact"
mode = "0640"
[link."/srv/iact/current"]
on = "s1"
to = "/srv/iact/releases/1"
[systemd_unit."hello.service"]
on = "s1"
content = """
[Unit]
Description=Says hello
[Service]
User=iact
EnvironmentFile=/srv/iact/hello.env
ExecStart=/bin/sleep infinity
[Install]
WantedBy=multi-user.target
"""
reads = ["/srv/iact/hello.env"]
[vars]
greeting = "hello"
"##;

#[test]
fn plain_things_of_a_server_become_so_and_stay_so() {
    if !engine() {
        return;
    }
    let server = Server::up("plain", Image::Bare);
    let lab = ServerLab::new([&server], PLAIN);
    lab.write("templates/hello.env.j2", "GREETING={{ vars.greeting }}\n");
    let before = server.snapshot();
    assert!(!lab.plan().is_empty());
    assert_eq!(before, server.snapshot(), "a plan changes nothing");
    lab.apply();
    assert_eq!(server.sh("cat /etc/motd"), "Managed server s1.");
    assert_eq!(
        server.sh("stat -c '%U:%G %a' /srv/iact /srv/iact/hello.env"),
        "iact:iact 750\niact:iact 640"
    );
    assert_eq!(server.sh("systemctl is-active hello.service"), "active");
    assert_eq!(server.sh("systemctl is-enabled hello.service"), "enabled");
    lab.nothing_to_do();
    let before = server.snapshot();
    lab.apply();
    assert_eq!(before, server.snapshot(), "a second apply changes nothing");
    // What a unit reads is changed in the file, and the unit is started again.
    let started = "systemctl show -p MainPID --value hello.service";
    let first = server.sh(started);
    lab.write("templates/hello.env.j2", "GREETING=changed\n");
    lab.apply();
    assert_ne!(
        first,
        server.sh(started),
        "the unit runs with what it reads"
    );
    lab.nothing_to_do();
}
