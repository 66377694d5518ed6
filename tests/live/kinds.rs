//! Every kind of thing on a bare server: drift made by hand is named exactly and healed; what cannot be done is said, and nothing is
//! half done.

use crate::lab::server::{Image, Server, ServerLab};
use crate::lab::{Change, engine};

#[test]
fn every_drift_of_a_server_is_named_exactly_and_healed() {
    if !engine() {
        return;
    }
    let cases: toml::Table = include_str!("../cases/server_drifts.toml").parse().unwrap();
    let server = Server::up("drifts", Image::Bare);
    let lab = ServerLab::new([&server], cases["environment"].as_str().unwrap());
    for (file, text) in cases["files"].as_table().unwrap() {
        lab.write(file, text.as_str().unwrap());
    }
    lab.apply();
    lab.nothing_to_do();
    check_all(&lab, &server, &cases);
    let left = server.sh("find / -xdev -name '.provision-*'");
    assert_eq!(left, "", "drafts are gone");
}

/// Every drift of a file of cases, one after another.
#[track_caller]
pub fn check_all(lab: &ServerLab, server: &Server, cases: &toml::Table) {
    let mistakes: Vec<String> = cases["drift"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|case| check(lab, server, case).err())
        .collect();
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n\n"));
}

/// Drifts, plans, applies and plans again; what was not as the case says.
fn check(lab: &ServerLab, server: &Server, case: &toml::Value) -> Result<(), String> {
    let name = case["name"].as_str().unwrap();
    server.sh(case["run"].as_str().unwrap());
    let found = changes(lab);
    let mut wanted: Vec<Change> = case["expect"].as_array().unwrap().iter().map(row).collect();
    wanted.sort();
    let same = found.len() == wanted.len()
        && found.iter().zip(&wanted).all(|(found, wanted)| {
            let fields = found.2.len() == wanted.2.len()
                && found
                    .2
                    .iter()
                    .zip(&wanted.2)
                    .all(|(one, other)| like(one, other));
            found.0 == wanted.0 && found.1 == wanted.1 && (wanted.2.is_empty() || fields)
        });
    let healed = lab.provision(&["apply", "servers", "--yes"]);
    let left = changes(lab);
    if !same {
        return Err(format!("{name}: found {found:#?}, wanted {wanted:#?}"));
    }
    if healed.code != 0 || !left.is_empty() {
        return Err(format!("{name}: apply {healed:#?}, left {left:#?}"));
    }
    if let Some(then) = case.get("then") {
        let ran = server.try_sh(then.as_str().unwrap());
        if ran.code != 0 {
            return Err(format!("{name}: afterwards {ran:#?}"));
        }
    }
    Ok(())
}

/// A change as a case writes it: `file:/etc/motd` stands for `file.s1:/etc/motd`.
fn row(row: &toml::Value) -> Change {
    let words = row.as_array().unwrap().iter();
    let words: Vec<&str> = words.map(|word| word.as_str().unwrap()).collect();
    let mut fields: Vec<String> = words[2..].iter().map(|word| (*word).to_owned()).collect();
    fields.sort();
    (
        words[0].replacen(':', ".s1:", 1),
        words[1].to_owned(),
        fields,
    )
}

/// Whether a field is the one that is meant; `key *` is any key.
fn like(found: &str, meant: &str) -> bool {
    match meant.strip_suffix('*') {
        Some(begin) => found.starts_with(begin),
        None => found == meant,
    }
}

/// What the plan says, sorted.
pub fn changes(lab: &ServerLab) -> Vec<Change> {
    let mut changes = lab.provision(&["plan", "servers", "--json"]).changes();
    for (_, _, fields) in &mut changes {
        fields.sort();
    }
    changes.sort();
    changes
}

#[test]
fn what_cannot_be_done_on_a_server_is_said_and_nothing_is_half_done() {
    if !engine() {
        return;
    }
    let server = Server::up("cannot", Image::Bare);
    let lab = ServerLab::new([&server], "");
    let hosts = server.host("s1");
    // What is declared, what the server is made like before, the exit code, and what is said.
    for (text, before, code, says) in [
        (
            "[packages.x]\non = \"s1\"\nnames = [\"no-such-package\"]",
            "true",
            1,
            "Unable to locate package no-such-package",
        ),
        (
            "[file.\"/etc/sudoers.d/x\"]\non = \"s1\"\ncontent = \"nonsense\\n\"\nmode = \"0440\"\nvalidate = [\"visudo\", \"-cf\", \"{}\"]",
            "rm -f /etc/sudoers.d/x",
            1,
            "`visudo` does not accept `/etc/sudoers.d/x`",
        ),
        (
            "[file.\"/srv/x\"]\non = \"s1\"\ncontent = \"x\"",
            "mkdir -p /srv/x && touch /srv/x/kept",
            8,
            "sudo mv /srv/x /srv/x.old",
        ),
        (
            "[link.\"/srv/y\"]\non = \"s1\"\nto = \"/tmp\"",
            "echo kept > /srv/y",
            8,
            "type file -> link",
        ),
        (
            "[file.\"/home/deploy/in/x\"]\non = \"s1\"\ncontent = \"x\"",
            "ln -sfn /etc /home/deploy/in; chown -h deploy /home/deploy/in",
            1,
            "could have been made by somebody else than root: not followed",
        ),
        // The first file's program changes the second one behind our back.
        (
            "[file.\"/etc/a\"]\non = \"s1\"\ncontent = \"a\"\nvalidate = [\"sh\", \"-c\", \"echo by hand > /etc/b\", \"{}\"]\n\
             [file.\"/etc/b\"]\non = \"s1\"\ncontent = \"b\"",
            "rm -f /etc/a; echo old > /etc/b",
            1,
            "`/etc/b` was changed since it was looked at",
        ),
        (
            "[file.\"/mnt/x\"]\non = \"s1\"\ncontent = \"x\"",
            "mount -t tmpfs -o ro none /mnt",
            1,
            "Read-only file system",
        ),
        (
            "[file.\"/mnt/x\"]\non = \"s1\"\ncontent = \"x\"",
            "umount /mnt; mount -t tmpfs -o size=4k none /mnt; head -c 4096 /dev/zero > /mnt/full",
            1,
            "cannot write",
        ),
        (
            "[user.deploy]\non = \"s1\"\nuid = 1234",
            "true",
            8,
            "usermod -u 1234 deploy",
        ),
        (
            "[group.clash]\non = \"s1\"\ngid = 1000",
            "true",
            1,
            "GID '1000' already exists",
        ),
        (
            "[packages.x]\non = \"s1\"\nnames = [\"tree\"]",
            "mkdir -p /var/lib/dpkg/updates && touch /var/lib/dpkg/updates/0001",
            1,
            "run `sudo dpkg --configure -a` on the machine",
        ),
    ] {
        server.sh(before);
        let kept = "find /srv /mnt /home/deploy /etc/sudoers.d -xdev -type f -exec sha256sum {} + | grep -v ssh";
        let was = server.sh(kept);
        lab.say(&format!("{hosts}{text}\n"));
        let ran = lab.provision(&["apply", "servers", "--yes"]);
        assert_eq!(ran.code, code, "{text}\n{}\n{}", ran.stdout, ran.stderr);
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(said.contains(says), "{text}\n{said}");
        assert_eq!(server.sh(kept), was, "{text}");
    }
    assert_eq!(server.sh("cat /etc/b"), "by hand");
    let left = server.sh("find /etc /srv /mnt /home /usr/local -name '.provision-*'");
    assert_eq!(left, "", "drafts are gone");
}
