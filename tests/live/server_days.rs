//! Bad days of servers: each says what it is and what to try next, ends with its own code, and leaves the others alone.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::lab::server::{self, Image, Server, ServerLab};
use crate::lab::{Ran, engine, free_port};

/// One server for all tests of this file, one test after another: each leaves it as it was.
fn server() -> MutexGuard<'static, Server> {
    static SERVER: OnceLock<Mutex<Server>> = OnceLock::new();
    SERVER
        .get_or_init(|| Mutex::new(Server::up("days", Image::Full)))
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

/// Undoes on a server what a test did to it, also when the test fails.
struct Undo<'a>(&'a Server, &'static str);

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        self.0.try_sh(self.1);
    }
}

#[track_caller]
fn says(ran: &Ran, words: &[&str]) {
    let all = format!("{}{}", ran.stdout, ran.stderr);
    for word in words {
        assert!(all.contains(word), "`{word}` is not said:\n{all}");
    }
    assert!(!all.contains("canary-pass"), "a secret is shown:\n{all}");
    assert!(!all.contains("panicked"), "{all}");
}

/// The message about a host, and the hint below it.
fn about(ran: &Ran, host: &str) -> String {
    ran.stderr
        .lines()
        .skip_while(|line| !line.starts_with(&format!("error: `{host}`")))
        .enumerate()
        .take_while(|(number, line)| *number == 0 || line.starts_with(' '))
        .map(|(_, line)| format!("{line}\n"))
        .collect()
}

/// A file that every host has, and nothing else.
const NOTE: &str = "[file.\"/etc/note\"]\non = \"all\"\ncontent = \"noted\\n\"\n";

/// A host of the group `all` with a user and whatever else.
fn host(server: &Server, name: &str, user: &str, extra: &str) -> String {
    server
        .host(name)
        .replace("\"deploy\"", &format!("\"{user}\""))
        + "groups = [\"all\"]\n"
        + extra
}

/// A user who may log in with our key, and with a line of sudoers.
fn user(server: &Server, name: &str, shell: &str, sudo: &str) {
    server.sh(&format!(
        "id {name} 2> /dev/null || useradd -m -s {shell} {name} && echo '{name}:{name}-canary-pass' | chpasswd \
         && install -d -m 700 -o {name} -g {name} /home/{name}/.ssh \
         && install -m 600 -o {name} -g {name} /home/deploy/.ssh/authorized_keys /home/{name}/.ssh/authorized_keys"
    ));
    if !sudo.is_empty() {
        server.sh(&format!(
            "echo '{name} {sudo}' > /etc/sudoers.d/{name}; chmod 440 /etc/sudoers.d/{name}"
        ));
    }
}

const FREE: &str = "ALL=(ALL:ALL) NOPASSWD: ALL";

#[test]
fn a_host_that_cannot_be_reached_is_named_with_what_to_try_and_the_others_go_on() {
    if !engine() {
        return;
    }
    let server = server();
    user(&server, "nosudo", "/bin/sh", "");
    user(&server, "asked", "/bin/sh", "ALL=(ALL:ALL) ALL");
    user(&server, "shut", "/usr/sbin/nologin", FREE);
    let folder = tempfile::tempdir().unwrap();
    server::new_key(&folder.path().join("other"));
    let other = std::fs::read_to_string(folder.path().join("other.pub")).unwrap();
    let other = other
        .split_whitespace()
        .take(2)
        .collect::<Vec<_>>()
        .join(" ");
    let port = free_port();
    let nowhere = format!("address = \"{}\"", server.address);
    let hosts = [
        host(&server, "good", "deploy", ""),
        host(&server, "refused", "deploy", &format!("port = {port}\n")),
        host(&server, "unnamed", "deploy", "")
            .replace(&nowhere, "address = \"no-such-host.invalid\""),
        host(&server, "strange", "deploy", "").replace(&server.host_key, &other),
        host(&server, "unknown", "deploy", "")
            .lines()
            .filter(|line| !line.starts_with("host_key"))
            .map(|line| format!("{line}\n"))
            .collect(),
        host(&server, "nobody", "nobody-there", ""),
        host(&server, "nosudo", "nosudo", ""),
        host(&server, "asked", "asked", ""),
        host(&server, "answered", "asked", "")
            .replace("sudo = true", "sudo = { password = \"asked-canary-pass\" }"),
        host(&server, "mistaken", "asked", "")
            .replace("sudo = true", "sudo = { password = \"wrong-canary-pass\" }"),
        host(&server, "shut", "shut", ""),
        host(&server, "keyless", "deploy", "")
            .replace(&server::key().display().to_string(), "/nonexistent/key"),
    ];
    let lab = ServerLab::with(&format!("{}{NOTE}", hosts.concat()));
    let ran = lab.provision(&["plan", "servers"]).ends(4);
    says(&ran, &["file.good:/etc/note", "file.answered:/etc/note"]);
    for (name, words) in [
        ("refused", &["nobody listens", "port"][..]),
        ("unnamed", &["no-such-host.invalid", "address"]),
        ("strange", &["host key", "host_key"]),
        (
            "unknown",
            &["host key is not known", "provision trust servers unknown"],
        ),
        ("nobody", &["does not let `nobody-there` in", "ssh -i"]),
        ("nosudo", &["sudo", "nosudo"]),
        ("asked", &["sudo wants a password", "password"]),
        ("mistaken", &["does not open sudo", "sudo.password"]),
        ("shut", &["has no shell", "chsh"]),
        ("keyless", &["/nonexistent/key", "identity"]),
    ] {
        let about = about(&ran, name);
        for word in words {
            assert!(
                about.contains(word),
                "`{word}` is not said of `{name}`:\n{about}\n---\n{}",
                ran.stderr
            );
        }
    }
    says(&ran, &[]);
    // The others are changed all the same.
    let lab = ServerLab::with(&format!("{}{}{NOTE}", hosts[0], hosts[1]));
    let _undo = Undo(&server, "rm -f /etc/note");
    let ran = lab.provision(&["apply", "servers", "--yes"]).ends(4);
    says(&ran, &["`refused`"]);
    assert_eq!(server.sh("cat /etc/note"), "noted");
    lab.provision(&["plan", "servers", "--host", "good", "--detailed-exitcode"])
        .ends(0);
}

#[test]
fn noise_of_a_login_a_poor_path_and_a_loose_umask_change_nothing() {
    if !engine() {
        return;
    }
    let server = server();
    user(&server, "chatty", "/bin/bash", FREE);
    let folder = tempfile::tempdir().unwrap();
    let noise = "printf 'Welcome!\\n@1 hello\\n\\033[31m'; PATH=/usr/bin:/bin; export PATH; trap 'echo bye' EXIT; umask 000; cd /tmp\n";
    std::fs::write(folder.path().join("rc"), noise).unwrap();
    server.put(&folder.path().join("rc"), "/home/chatty/.bashrc");
    let lab = ServerLab::with(&format!("{}{NOTE}", host(&server, "s1", "chatty", "")));
    let _undo = Undo(&server, "rm -f /etc/note");
    lab.apply();
    lab.nothing_to_do();
    assert_eq!(
        server.sh("cat /etc/note; stat -c %a:%U /etc/note"),
        "noted\n644:root"
    );
}

/// As much as fits on a host without changing more than a test may.
const MIXED: &str = r#"
[packages.days]
on = "s1"
names = ["sl", "less"]
[group.days]
on = "s1"
[user.days]
on = "s1"
shell = "/bin/sh"
[directory."/srv/days"]
on = "s1"
[file."/etc/note"]
on = "s1"
content = "noted\n"
[systemd_unit."cron.service"]
on = "s1"
[postgres.days]
on = "s1"
[postgres.days.role.app]
password = "app-canary-pass"
"#;

#[test]
fn a_plan_writes_nothing_and_says_the_same_where_nothing_can_be_written() {
    if !engine() {
        return;
    }
    let server = server();
    let lab = ServerLab::with(&format!("{}{MIXED}", host(&server, "s1", "deploy", "")));
    let words = ["plan", "servers", "--no-persist"];
    let plan = lab.provision(&words).ends(0);
    says(&plan, &["file.s1:/etc/note", "packages.s1:days"]);
    let folder = "/run/systemd/system/ssh.service.d";
    let _undo = Undo(
        &server,
        "rm -r /run/systemd/system/ssh.service.d; systemctl daemon-reload; systemctl restart ssh; rm -f /etc/note",
    );
    // Everything that comes over SSH sees a read-only system from now on.
    server.sh(&format!(
        "mkdir -p {folder} && printf '[Service]\\nProtectSystem=strict\\n' > {folder}/strict.conf && systemctl daemon-reload && systemctl restart ssh"
    ));
    let note = format!("{}{NOTE}", host(&server, "s1", "deploy", "")).replace("\"all\"", "\"s1\"");
    let other = ServerLab::with(&note);
    let ran = other.provision(&["apply", "servers", "--yes", "--no-persist"]);
    assert_ne!(ran.code, 0, "a planted failure");
    says(&ran, &["s1"]);
    assert_eq!(server.try_sh("test -e /etc/note").code, 1);
    let ran = lab.provision(&words).ends(0);
    assert_eq!(plan.stdout, ran.stdout);
}

#[test]
fn a_tmp_that_runs_no_programs_is_no_matter() {
    if !engine() {
        return;
    }
    let server = server();
    let _undo = Undo(&server, "rm -f /etc/note; mount -o remount,exec /tmp");
    server.sh("mount -o remount,noexec /tmp");
    let lab = ServerLab::new([&*server], &NOTE.replace("\"all\"", "\"s1\""));
    lab.apply();
    lab.nothing_to_do();
}

#[test]
fn a_full_disk_leaves_the_old_file_and_no_draft() {
    if !engine() {
        return;
    }
    let server = server();
    let _undo = Undo(&server, "umount /srv/full; rmdir /srv/full");
    server.sh("mkdir -p /srv/full && mount -t tmpfs -o size=64k tmpfs /srv/full && echo old > /srv/full/big");
    let text = format!(
        "{}[file.\"/srv/full/big\"]\non = \"s1\"\nsource = \"big\"\n",
        host(&server, "s1", "deploy", "")
    );
    let lab = ServerLab::with(&text);
    lab.write("big", &"0123456789abcdef".repeat(16 * 1024));
    let ran = lab.provision(&["apply", "servers", "--yes"]).ends(1);
    says(&ran, &["file.s1:/srv/full/big", "No space left"]);
    assert_eq!(server.sh("cat /srv/full/big; ls -A /srv/full"), "old\nbig");
    server.sh("mount -o remount,size=4m /srv/full");
    lab.apply();
    lab.nothing_to_do();
}

#[test]
fn a_file_that_its_program_refuses_never_takes_the_place_of_the_old() {
    if !engine() {
        return;
    }
    let server = server();
    let _undo = Undo(&server, "rm -f /etc/sudoers.d/days");
    server.sh("echo '# old' > /etc/sudoers.d/days; chmod 440 /etc/sudoers.d/days");
    let text = format!(
        "{}[file.\"/etc/sudoers.d/days\"]\non = \"s1\"\ntemplate = \"days.j2\"\nmode = \"0440\"\nvalidate = [\"visudo\", \"-cf\", \"{{}}\"]\n",
        host(&server, "s1", "deploy", "")
    );
    let lab = ServerLab::with(&text);
    lab.write("templates/days.j2", "this is no sudoers line\n");
    let ran = lab.provision(&["apply", "servers", "--yes"]).ends(1);
    says(
        &ran,
        &["file.s1:/etc/sudoers.d/days", "visudo", "syntax error"],
    );
    assert_eq!(
        server.sh("cat /etc/sudoers.d/days; ls -A /etc/sudoers.d | grep -c provision || :"),
        "# old\n0"
    );
    lab.write("templates/days.j2", "Defaults:deploy !lecture\n");
    lab.apply();
    lab.nothing_to_do();
}

/// Packages on one host.
fn packages(server: &Server, names: &str) -> ServerLab {
    ServerLab::with(&format!(
        "{}[packages.days]\non = \"s1\"\nnames = [{names}]\n",
        host(server, "s1", "deploy", "")
    ))
}

#[test]
fn a_package_that_nobody_knows_is_named() {
    if !engine() {
        return;
    }
    let server = server();
    let lab = packages(&server, "\"no-such-package-anywhere\"");
    let ran = lab.provision(&["apply", "servers", "--yes"]).ends(1);
    says(&ran, &["packages.s1:days", "no-such-package-anywhere"]);
}

#[test]
fn a_unit_that_does_not_start_is_shown_with_its_log() {
    if !engine() {
        return;
    }
    let server = server();
    let _undo = Undo(
        &server,
        "systemctl disable -q --now days.service; rm -f /etc/systemd/system/days.service; systemctl daemon-reload; systemctl reset-failed",
    );
    let text = |command: &str| {
        format!(
            "{}[systemd_unit.\"days.service\"]\non = \"s1\"\ncontent = \"\"\"\n[Service]\nExecStart={command}\n[Install]\nWantedBy=multi-user.target\n\"\"\"\n",
            host(&server, "s1", "deploy", "")
        )
    };
    let lab = ServerLab::with(&text("/bin/sh -c 'echo it is broken; exit 3'"));
    let ran = lab.provision(&["apply", "servers", "--yes"]);
    assert!(matches!(ran.code, 1 | 9), "{ran:?}");
    says(&ran, &["systemd_unit.s1:days.service", "it is broken"]);
    let ran = lab
        .provision(&["plan", "servers", "--detailed-exitcode"])
        .ends(2);
    says(&ran, &["systemd_unit.s1:days.service"]);
    lab.say(&text("/bin/sleep infinity"));
    lab.apply();
    lab.nothing_to_do();
}

#[test]
fn a_stopped_postgresql_is_started_and_until_then_its_inside_waits() {
    if !engine() {
        return;
    }
    let server = server();
    let text = format!(
        "{}[postgres.days]\non = \"s1\"\n[postgres.days.role.app]\npassword = \"app-canary-pass\"\n[postgres.days.database.app]\nowner = \"app\"\n",
        host(&server, "s1", "deploy", "")
    );
    let lab = ServerLab::with(&text);
    lab.apply();
    lab.nothing_to_do();
    server.sh("systemctl stop postgresql@15-main");
    let changes = lab.plan();
    assert!(!changes.is_empty());
    for (id, action) in &changes {
        let inside = id.starts_with("postgres_role") || id.starts_with("postgres_database");
        assert!(
            !inside || action == "wait" || action == "unknown",
            "{changes:?}"
        );
        assert_ne!(
            action, "create",
            "what cannot be seen is not absent: {changes:?}"
        );
    }
    lab.apply();
    lab.nothing_to_do();
    assert_eq!(
        server.sh("systemctl is-active postgresql@15-main"),
        "active"
    );
}
