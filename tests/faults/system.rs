//! The server's own system and packages.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::lab::server::{Image, Server, ServerLab};
use crate::lab::{Ran, docker, until};
use crate::table::{How, Row, row};
use crate::trial::{Trial, that, within};

pub const ROWS: &[Row] = &[
    row(
        "F43",
        "disk of the server full at each write",
        How::Tried(full),
    ),
    row(
        "F44",
        "read-only file system, immutable file, `/tmp` noexec",
        How::Tried(closed),
    ),
    row("F45", "apt locked, dpkg interrupted", How::Tried(locked)),
    row(
        "F46",
        "package missing, repository broken",
        How::Tried(packages),
    ),
    row(
        "F47",
        "links, fifos, folders planted at our paths",
        How::Tried(planted),
    ),
    row("F48", "unit fails, flaps, is masked", How::Tried(units)),
    row(
        "F49",
        "user is there otherwise, somebody edits meanwhile",
        How::TestedBy(&[
            "live::kinds::every_drift_of_a_server_is_named_exactly_and_healed",
            "live::kinds::what_cannot_be_done_on_a_server_is_said_and_nothing_is_half_done",
        ]),
    ),
];

/// Generous: a prompt would wait for ever.
const PATIENCE: Duration = Duration::from_secs(180);

fn apply(lab: &ServerLab) -> Result<Ran, String> {
    within(
        lab.command(&["apply", "servers", "--yes"])
            .stdin(Stdio::null()),
        PATIENCE,
    )
}

/// It ends so and says this.
fn ends(lab: &ServerLab, code: i32, words: &[&str]) -> Result<(), String> {
    let ran = apply(lab)?;
    let said = format!("{}{}", ran.stdout, ran.stderr);
    that(ran.code == code, || {
        format!("ends with {}, not {code}:\n{said}", ran.code)
    })?;
    let missing = words.iter().find(|word| !said.contains(**word));
    that(missing.is_none(), || {
        format!("{missing:?} is not said:\n{said}")
    })
}

/// The next run ends well, and the one after has nothing to do.
fn converges(lab: &ServerLab) -> Result<(), String> {
    ends(lab, 0, &[])?;
    let plan = lab.provision(&["plan", "servers", "--detailed-exitcode"]);
    that(plan.code == 0, || format!("not settled: {plan:#?}"))
}

/// What a line of shell prints on a server has to be this.
fn prints(server: &Server, script: &str, wanted: &str) -> Result<(), String> {
    let ran = server.try_sh(script);
    let said = ran.stdout.trim_end();
    that(ran.code == 0 && said == wanted, || {
        format!("`{script}` prints {said:?}, not {wanted:?} {}", ran.stderr)
    })
}

fn full(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let server = Server::up("full", Image::Bare);
    let lab = ServerLab::new(
        [&server],
        "[file.\"/srv/full/data\"]\non = \"s1\"\nsource = \"big\"\n",
    );
    // Six pages; of each number of pages that are left, it runs out at another write.
    lab.write("big", &"0123456789abcdef".repeat(6 * 4096 / 16));
    for free in trial.numbers(0..6, 3) {
        let filler = (15 - free) * 4096;
        server.sh(&format!(
            "mkdir -p /srv/full && mount -t tmpfs -o size=64k none /srv/full && echo old > /srv/full/data && head -c {filler} /dev/zero > /srv/full/filler"
        ));
        trial.case(format!("{free} pages left"), || {
            ends(&lab, 1, &["file.s1:/srv/full/data", "No space left"])?;
            prints(
                &server,
                "cat /srv/full/data; ls -A /srv/full",
                "old\ndata\nfiller",
            )?;
            server.sh("rm /srv/full/filler");
            converges(&lab)
        });
        server.sh("umount /srv/full");
    }
    server.sh("mount -t tmpfs -o nr_inodes=4 none /srv/full && echo old > /srv/full/data && mkdir -p /srv/full/filler/more");
    trial.case("no inode left", || {
        ends(&lab, 1, &["file.s1:/srv/full/data", "No space left"])?;
        prints(
            &server,
            "cat /srv/full/data; ls -A /srv/full",
            "old\ndata\nfiller",
        )?;
        server.sh("rm -r /srv/full/filler");
        converges(&lab)
    });
    server.sh("umount /srv/full");
    // What is about to be done is written down first.
    lab.say(&format!(
        "{}[file.\"/etc/noted\"]\non = \"s1\"\ncontent = \"noted\\n\"\n",
        server.host("s1")
    ));
    server.sh("mkdir -p /var/lib/provision && mount -t tmpfs -o size=4k,mode=700 none /var/lib/provision && ! head -c 8192 /dev/zero > /var/lib/provision/filler 2> /dev/null");
    trial.case("nothing can be written down", || {
        let ran = apply(&lab)?;
        that(ran.code != 0, || format!("ends well: {ran:#?}"))?;
        prints(&server, "test ! -e /etc/noted", "")?;
        server.sh("rm /var/lib/provision/filler && mount -o remount,size=1m /var/lib/provision");
        converges(&lab)
    });
}

fn closed(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let server = Server::up_with("closed", Image::Bare, &["--cap-add=LINUX_IMMUTABLE"]);
    let host = server.host("s1");
    let file = |path: &str| {
        format!("[file.\"{path}\"]\non = \"s1\"\ncontent = \"new\\n\"\nmode = \"0640\"\n")
    };
    let lab = ServerLab::with("");
    let before = "mkdir -p /srv/ro && mount -t tmpfs none /srv/ro && echo old > /srv/ro/file";
    for (name, close, open, words) in [
        (
            "read-only file system",
            "mount -o remount,ro /srv/ro",
            "mount -o remount,rw /srv/ro",
            &["Read-only file system"][..],
        ),
        (
            "immutable file",
            "chattr +i /srv/ro/file",
            "chattr -i /srv/ro/file",
            &["Operation not permitted"],
        ),
        (
            "immutable folder",
            "chattr +i /srv/ro",
            "chattr -i /srv/ro",
            &["Operation not permitted"],
        ),
    ] {
        server.sh(before);
        if server.try_sh(close).code != 0 {
            trial.note(format!("{name}: not on this kernel"));
            server.sh("umount /srv/ro");
            continue;
        }
        lab.say(&format!(
            "{host}{}{}",
            file("/etc/first"),
            file("/srv/ro/file")
        ));
        trial.case(name, || {
            ends(&lab, 1, &[&["file.s1:/srv/ro/file"], words].concat())?;
            prints(
                &server,
                "cat /srv/ro/file; stat -c %a /srv/ro/file; ls -A /srv/ro",
                "old\n644\nfile",
            )?;
            server.sh(open);
            converges(&lab)
        });
        server.sh("umount /srv/ro; rm -f /etc/first");
    }
    server.sh("mount -o remount,noexec /tmp && chmod 0 /tmp");
    trial.case("a `/tmp` that is of no use", || {
        let validate = "validate = [\"grep\", \"-q\", \"new\", \"{}\"]\n";
        lab.say(&format!("{host}{}{validate}", file("/etc/first")));
        converges(&lab)
    });
}

/// `mk NAME VERSION POSTINST CONFIGURATION`: a package in the working directory.
const MK: &str = r#"
mk() {
    mkdir -p "b/DEBIAN"
    printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: x <x@example.com>\nDescription: x\n' "$1" "$2" > b/DEBIAN/control
    [ -z "$3" ] || { printf '#!/bin/sh\n%s\n' "$3" > b/DEBIAN/postinst; chmod 755 b/DEBIAN/postinst; }
    [ -z "$4" ] || { mkdir -p b/etc; echo "$4" > b/etc/f46.conf; echo /etc/f46.conf > b/DEBIAN/conffiles; }
    dpkg-deb -Zgzip -b b "$1_$2.deb" > /dev/null
    rm -r b
}
"#;

/// A repository in a folder of the server: one package that fails when it is set up, one that asks, two versions of one with a
/// configuration.
const REPOSITORY: &str = r#"
mkdir -p /srv/repo && cd /srv/repo
mk f46-fails 1 'echo the service does not start >&2; exit 1' ''
mk f46-asks 1 'printf "Which? "; read -r answer < /dev/tty || read -r answer || :; exit 0' ''
mk f46-conf 1 '' one
mk f46-conf 2 '' two
for deb in *.deb; do
    dpkg-deb -f "$deb"
    printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$deb" "$(stat -c %s "$deb")" "$(sha256sum < "$deb" | cut -d' ' -f1)"
done > Packages
echo 'deb [trusted=yes] file:/srv/repo ./' > /etc/apt/sources.list.d/f46.list
apt-get update -q -o Dir::Etc::sourcelist=/etc/apt/sources.list.d/f46.list -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0
"#;

/// Holds the lock of packages as apt itself does, for which `flock` is another lock.
const HOLD: &str = "use Fcntl; my $lock = pack('s s x![l!] l! l! i', F_WRLCK, 0, 0, 0, 0); \
     open(F, '>>', '/var/lib/dpkg/lock-frontend') or die; fcntl(F, F_SETLK, $lock) or die; \
     open(G, '>', '/run/held') or die; print G $$; close G; sleep $ARGV[0]; unlink '/run/held'";

/// A package whose set-up takes its time, as those of an unattended upgrade do.
const SLOW: &str = "cd /root && mk f45-slow 1 'echo 1 > /run/held; sleep 6; rm /run/held' ''";

fn locked(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let server = Server::up("locked", Image::Bare);
    let lab = ServerLab::new([&server], "[packages.x]\non = \"s1\"\nnames = [\"sl\"]\n");
    server.sh(&format!("{MK}{SLOW}"));
    let beside = |command: &[&str]| {
        server.sh("apt-get purge -yq sl > /dev/null 2>&1; rm -f /run/held");
        let mut words = vec!["exec", "-d", &server.container];
        words.extend(command);
        docker(&words);
        until("the lock is held", || {
            server.try_sh("test -s /run/held").code == 0
        });
    };
    trial.case("held for 5 s", || {
        beside(&["perl", "-e", HOLD, "5"]);
        converges(&lab)
    });
    trial.case("somebody upgrades meanwhile", || {
        beside(&["apt-get", "install", "-y", "/root/f45-slow_1.deb"]);
        converges(&lab)?;
        prints(&server, "dpkg-query -W f45-slow", "f45-slow\t1")
    });
    if trial.size(0, 1) == 1 {
        trial.case("held for ever", || {
            beside(&["perl", "-e", HOLD, "600"]);
            let holder = server.sh("cat /run/held");
            ends(
                &lab,
                1,
                &["packages.s1:x", &format!("process {holder}"), "120 s"],
            )?;
            server.sh("pkill perl; rm /run/held");
            converges(&lab)
        });
    }
    trial.case("dpkg was interrupted", || {
        server.sh("apt-get purge -yq sl > /dev/null 2>&1; touch /var/lib/dpkg/updates/0001");
        ends(&lab, 1, &["packages.s1:x", "dpkg --configure -a"])?;
        // Nobody mends it unasked.
        prints(&server, "ls /var/lib/dpkg/updates", "0001")?;
        server.sh("dpkg --configure -a");
        converges(&lab)
    });
}

fn packages(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let server = Server::up("packages", Image::Bare);
    let host = server.host("s1");
    let lab = ServerLab::with("");
    let want = |names: &str, more: &str| {
        lab.say(&format!(
            "{host}[packages.x]\non = \"s1\"\nnames = [{names}]\n{more}"
        ));
    };
    server.sh(&format!("{MK}{REPOSITORY}"));
    trial.case("a package that fails when it is set up", || {
        want("\"f46-fails\"", "");
        ends(&lab, 1, &["packages.s1:x", "f46-fails"])?;
        let plan = lab.provision(&["plan", "servers"]);
        that(plan.stdout.contains("half configured"), || {
            format!("{plan:#?}")
        })?;
        server.sh("dpkg --purge f46-fails");
        Ok(())
    });
    trial.case("a package that asks", || {
        want("\"f46-asks\"", "");
        converges(&lab)
    });
    trial.case("a configuration that was changed by hand", || {
        want("\"f46-conf\"", "versions = { f46-conf = \"1\" }\n");
        converges(&lab)?;
        server.sh("echo by hand > /etc/f46.conf");
        want("\"f46-conf\"", "versions = { f46-conf = \"2\" }\n");
        converges(&lab)?;
        prints(&server, "cat /etc/f46.conf", "by hand")
    });
    trial.case("a version that nobody has", || {
        want("\"f46-conf\"", "versions = { f46-conf = \"3\" }\n");
        ends(&lab, 1, &["packages.s1:x", "f46-conf"])?;
        prints(&server, "dpkg-query -W f46-conf", "f46-conf\t2")
    });
    // From here on the lists are fetched anew, and only from there.
    server.sh("rm -r /etc/apt/sources.list*; mkdir /etc/apt/sources.list.d");
    want("\"f46-none\"", "");
    let broken = [
        (
            "a repository that is gone",
            "deb [trusted=yes] file:/srv/nowhere ./",
            "/srv/nowhere",
        ),
        (
            "a repository that nobody signed",
            "deb file:/srv/repo ./",
            "file:/srv/repo",
        ),
        (
            "a repository whose signature is none",
            "deb file:/srv/signed ./",
            "file:/srv/signed",
        ),
        (
            "a repository that nobody can reach",
            "deb [trusted=yes] http://127.0.0.1:9/debian ./",
            "127.0.0.1",
        ),
    ];
    for (name, list, says) in trial.sample(&broken, 2) {
        server.sh(&format!(
            "mkdir -p /srv/signed && cp /srv/repo/Packages /srv/signed/ && printf 'Date: Sat, 28 Nov 2026 00:00:00 UTC\\n' > /srv/signed/Release && echo none > /srv/signed/Release.gpg; echo '{list}' > /etc/apt/sources.list.d/f46.list"
        ));
        trial.case(name, || ends(&lab, 1, &["packages.s1:x", says]));
    }
}

/// What somebody else lays where we write, by `deploy`, in a folder that everybody may write in and in one of his own.
const PLANTS: &[(&str, &str)] = &[
    ("a link to a file of root", "ln -s /root/victim TARGET"),
    ("a link to a folder of root", "ln -s /root TARGET"),
    ("a link that leads nowhere", "ln -s /root/new TARGET"),
    ("a fifo", "mkfifo TARGET"),
    ("a folder", "mkdir TARGET && : > TARGET/kept"),
    ("a file of his", "echo his > TARGET && chmod 666 TARGET"),
];

fn planted(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let server = Server::up("planted", Image::Bare);
    let host = server.host("s1");
    server.sh("echo victim > /root/victim; mkdir -m 1777 /srv/open; install -d -o deploy /srv/his");
    // Links of others are dangerous where the kernel does not forbid to follow them, too: so who owns what is what counts.
    let victims = "cat /root/victim; stat -c '%a %U %h' /root/victim /root; ls -A /root";
    let whole = server.sh(victims);
    let lab = ServerLab::with("");
    let kinds = [
        ("file", "content = \"ours\\n\"\n"),
        ("directory", ""),
        ("link", "to = \"/etc\"\n"),
    ];
    for folder in ["/srv/open", "/srv/his"] {
        for (name, plant) in trial.sample(PLANTS, 3) {
            let target = format!("{folder}/target");
            let plant = plant.replace("TARGET", &target);
            let chosen = trial.sample(&kinds, 1);
            for (kind, more) in chosen {
                server.sh(&format!(
                    "rm -rf {target}; runuser -u deploy -- sh -c '{plant}'"
                ));
                lab.say(&format!("{host}[{kind}.\"{target}\"]\non = \"s1\"\n{more}"));
                trial.case(
                    format!("{name} in the place of a {kind} in {folder}"),
                    || {
                        let ran = apply(&lab)?;
                        that(matches!(ran.code, 0 | 1 | 8), || format!("{ran:#?}"))?;
                        prints(&server, victims, &whole)?;
                        prints(&server, &format!("find {folder} -name '.provision-*'"), "")
                    },
                );
            }
        }
    }
    server.sh("rm -rf /srv/open/target /srv/his/target; ln /root/victim /srv/open/target");
    lab.say(&format!(
        "{host}[file.\"/srv/open/target\"]\non = \"s1\"\ncontent = \"ours\\n\"\nmode = \"0600\"\n"
    ));
    trial.case("another name of a file of root", || {
        converges(&lab)?;
        prints(&server, victims, &whole)
    });
    // Somebody is faster than we are, and swaps whatever he can while we write.
    lab.say(&format!(
        "{host}[file.\"/srv/his/target\"]\non = \"s1\"\ncontent = \"ours\\n\"\n[directory.\"/srv/his/folder\"]\non = \"s1\"\nmode = \"0700\"\n"
    ));
    const SWAP: &str = "cd /srv/his; while [ ! -e /tmp/stop ]; do \
         for room in .provision-*; do mv -T \"$room\" x.$$ && ln -s /root \"$room\"; done; \
         ln -sfn /root/victim target; mv -T folder y.$$; ln -sfn /root folder; rm -rf x.* y.* target folder; done 2> /dev/null";
    let mut swapping = Command::new("docker")
        .args(["exec", "-u", "deploy", &server.container, "sh", "-c", SWAP])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    for round in 0..trial.size(2, 100) {
        trial.case(format!("swapped meanwhile, round {round}"), || {
            apply(&lab)?;
            prints(&server, victims, &whole)
        });
    }
    server.sh("touch /tmp/stop");
    let _ = swapping.wait();
    trial.case("and once he is gone", || {
        server.sh("rm -rf /srv/his/* /srv/his/.provision-*");
        converges(&lab)
    });
}

fn units(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let server = Server::up("units", Image::Bare);
    let host = server.host("s1");
    let lab = ServerLab::with("");
    let unit = |name: &str, command: &str, more: &str| {
        format!(
            "[systemd_unit.\"{name}\"]\non = \"s1\"\ncontent = \"[Service]\\nExecStart={command}\\n{more}[Install]\\nWantedBy=multi-user.target\\n\"\n"
        )
    };
    trial.case("it fails, and what it needs comes later", || {
        lab.say(&format!("{host}{}", unit("bad.service", "/usr/local/bin/late", "")));
        ends(&lab, 1, &["systemd_unit.s1:bad.service"])?;
        server.sh("printf '#!/bin/sh\\nexec sleep infinity\\n' > /usr/local/bin/late; chmod 755 /usr/local/bin/late");
        converges(&lab)
    });
    trial.case("started too often", || {
        server.sh("mv /usr/local/bin/late /usr/local/bin/gone; for i in 1 2 3 4 5 6 7; do systemctl restart bad.service; done 2> /dev/null; [ \"$(systemctl show -p Result --value bad.service)\" != success ]; mv /usr/local/bin/gone /usr/local/bin/late");
        let plan = lab.provision(&["plan", "servers"]);
        that(plan.stdout.contains("systemd_unit.s1:bad.service"), || {
            format!("{plan:#?}")
        })?;
        converges(&lab)?;
        prints(&server, "systemctl is-active bad.service", "active")
    });
    trial.case("it flaps", || {
        let more = "Restart=always\\nRestartSec=100ms\\n";
        lab.say(&format!(
            "{host}{}",
            unit("bad.service", "/bin/sh -c 'sleep 0.3; exit 3'", more)
        ));
        ends(&lab, 1, &["systemd_unit.s1:bad.service"])?;
        lab.say(&format!(
            "{host}{}",
            unit("bad.service", "/bin/sleep infinity", "")
        ));
        converges(&lab)
    });
    trial.case("masked, and changed behind the back of systemd", || {
        server.sh("systemctl stop bad.service; cp /etc/systemd/system/bad.service /root/; rm /etc/systemd/system/bad.service; systemctl mask bad.service; mkdir -p /etc/systemd/system/bad.service.d; printf '[Service]\\nNice=5\\n' > /etc/systemd/system/bad.service.d/hand.conf");
        let plan = lab.provision(&["plan", "servers"]);
        that(plan.stdout.contains("masked") && plan.stdout.contains("drop-in"), || format!("{plan:#?}"))?;
        converges(&lab)?;
        prints(&server, "systemctl show -p ActiveState,NeedDaemonReload,Nice bad.service | sort", "ActiveState=active\nNeedDaemonReload=no\nNice=0")
    });
    trial.case("one instance of many", || {
        lab.say(&format!(
            "{host}{}[systemd_unit.\"many@one.service\"]\non = \"s1\"\n",
            unit("many@.service", "/bin/sleep infinity", "").replace(
                "on = \"s1\"\n",
                "on = \"s1\"\nrunning = false\nstart = false\n"
            )
        ));
        converges(&lab)?;
        server.sh("systemctl stop many@one.service");
        let plan = lab.provision(&["plan", "servers"]);
        that(
            plan.stdout.contains("systemd_unit.s1:many@one.service"),
            || format!("{plan:#?}"),
        )?;
        converges(&lab)
    });
}
