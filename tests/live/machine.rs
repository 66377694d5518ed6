//! A machine itself: what it is like that nobody declared is found by an audit, and its swap.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use super::kinds::check_all;
use crate::lab::server::{Image, Server, ServerLab};
use crate::lab::{docker, engine};

/// A server that nobody looked after.
const NEGLECTED: &str = r#"
set -eu
head -c 930k /dev/zero > /small/log
head -c 1M /dev/zero > /tight/log
for number in $(seq 19); do : > "/few/$number"; done
systemd-run -q --unit=broken.service false
printf '[Service]\nExecStart=/bin/sleep infinity\n' > /etc/systemd/system/late.service
systemctl start late.service
echo '# by hand' >> /etc/systemd/system/late.service
echo "listen_addresses = '*'" >> /etc/postgresql/15/main/postgresql.conf
systemctl start postgresql@15-main
printf '[mysqld]\nbind-address = 0.0.0.0\n' > /etc/mysql/mariadb.conf.d/99-hand.cnf
systemctl start mariadb
touch /run/reboot-required
while systemctl is-active -q broken.service; do sleep 0.1; done
"#;

#[test]
fn what_a_machine_is_like_that_nobody_declared_is_found() {
    if !engine() {
        return;
    }
    // The engine of this machine stands in for one of the server: what it publishes is found.
    let client = which("docker");
    let server = Server::up_with(
        "found",
        Image::Full,
        &[
            "--tmpfs=/small:size=1m",
            "--tmpfs=/tight:size=1m",
            "--tmpfs=/few:nr_inodes=20",
            "-v",
            "/var/run/docker.sock:/var/run/docker.sock",
            "-v",
            &format!("{client}:/usr/bin/docker:ro"),
        ],
    );
    let open = Server::up_with("open", Image::Plain, &["-p", "0.0.0.0::80"]);
    let port = docker(&["port", &open.container, "80/tcp"]);
    let port = port.lines().next().unwrap().rsplit_once(':').unwrap().1;
    server.sh(NEGLECTED);
    let lab = ServerLab::new([&server], "");
    let json = lab
        .provision(&["audit", "servers", "--format", "json"])
        .ends(2)
        .json();
    assert_eq!(json["unread"], serde_json::json!([]));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let published = format!("audit.published_port.s1:{}:{port}", open.container);
    let wanted = [
        ("audit.database_listens.s1:mariadbd:3306", "high"),
        ("audit.database_listens.s1:postgres:5432", "high"),
        ("audit.disk.s1:/small", "medium"),
        ("audit.disk.s1:/tight", "high"),
        ("audit.inodes.s1:/few", "high"),
        (&published, "medium"),
        ("audit.reboot.s1:required", "low"),
        ("audit.unit_failed.s1:broken.service", "high"),
        ("audit.unit_not_reloaded.s1:late.service", "medium"),
    ]
    .map(|(id, severity)| (id.to_owned(), severity.to_owned()));
    // What the machine around it is like is no business of the test: its disk, other tests' containers, what Debian has new today.
    let own = |(id, _): &(String, String)| {
        !id.starts_with("audit.updates.")
            && (wanted.iter().any(|(wanted, _)| wanted == id)
                || !["disk", "inodes", "published_port"].contains(&id.split('.').nth(1).unwrap()))
    };
    let all = json["findings"].as_array().unwrap().iter();
    let found: BTreeSet<(String, String)> = all
        .map(|one| (text(&one["id"]), text(&one["severity"])))
        .filter(own)
        .collect();
    assert_eq!(found, BTreeSet::from(wanted.clone()));
}

/// Where a program of this machine is.
fn which(program: &str) -> String {
    let path = std::env::var("PATH").unwrap();
    let mut folders = path.split(':').map(|folder| format!("{folder}/{program}"));
    folders
        .find(|path| std::path::Path::new(path).is_file())
        .unwrap()
}

/// Turns swap off whatever becomes of the test: the kernel keeps a file that is swap, also one that is gone.
struct Off<'a>(&'a Server);

impl Drop for Off<'_> {
    fn drop(&mut self) {
        let words = ["exec", &self.0.container, "swapoff", "/swapped/file"];
        let _ = Command::new("docker").args(words).output();
    }
}

#[test]
fn a_swap_file_becomes_so_and_stays_so() {
    if !engine() {
        return;
    }
    let cases: toml::Table = include_str!("../cases/swap_drifts.toml").parse().unwrap();
    // On a volume: a container's own file system has holes that no swap file may have.
    let server = Server::up_with("swap", Image::Bare, &["-v", "/swapped"]);
    let lab = ServerLab::new([&server], cases["environment"].as_str().unwrap());
    let _off = Off(&server);
    let probe = "umask 077; dd if=/dev/zero of=/swapped/probe bs=1M count=1 2> /dev/null && mkswap -q /swapped/probe \
                 && swapon /swapped/probe && swapoff /swapped/probe; code=$?; rm -f /swapped/probe; exit $code";
    let may = server.try_sh(probe);
    if may.code != 0 {
        eprintln!(
            "SKIPPED, but for the refusal: this machine turns no swap on: {}",
            may.stderr
        );
        let refused = lab.provision(&["apply", "servers", "--yes"]).ends(1);
        assert!(
            refused.stderr.contains("swap.s1:/swapped/file"),
            "{refused:?}"
        );
        assert_eq!(
            server.sh("ls -A /swapped; grep -c swapped /etc/fstab || :"),
            "0"
        );
        return;
    }
    lab.apply();
    lab.nothing_to_do();
    assert_eq!(
        server.sh("awk '$1 == \"/swapped/file\" {print $2, $3}' /proc/swaps; stat -c '%a %s' /swapped/file"),
        "file 16380\n600 16777216"
    );
    check_all(&lab, &server, &cases);
    // No longer declared, it is turned off and gone.
    lab.say(&server.host("s1"));
    lab.apply();
    assert_eq!(
        server.sh("ls -A /swapped; grep -c swapped /proc/swaps /etc/fstab || :"),
        "/proc/swaps:0\n/etc/fstab:0"
    );
}
