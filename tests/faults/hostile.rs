//! Hosts that lie. The login shell of an account is a program that says what it likes (`hostile.pl`), or passes on what the real
//! shell says with something changed.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::input::limited;
use crate::lab::server::{Image, Server, ServerLab, key};
use crate::lab::{Lab, Ran, docker};
use crate::table::{How, Row, row};
use crate::trial::{Trial, that, within};

pub const ROWS: &[Row] = &[
    row(
        "F50",
        "300 MB of output, a line of 10 MB, NUL, not UTF-8",
        How::Pure(floods),
    ),
    row(
        "F51",
        "escapes in every string a host says",
        How::Pure(escapes),
    ),
    row("F52", "forged frames", How::Pure(forged)),
    row(
        "F53",
        "facts of wrong type or with template syntax",
        How::Pure(facts),
    ),
    row("F54", "never answers, or drips", How::Pure(silence)),
    row(
        "F55",
        "claims success, claims that everything is absent",
        How::Tried(claims),
    ),
    row(
        "F56",
        "`sh`, `cat`, `sha256sum`, `stat` are liars",
        How::Tried(programs),
    ),
    row(
        "F57",
        "labels and names on the engine with escapes",
        How::Tried(labels),
    ),
    row(
        "F58",
        "host asks for agent, X11, forwards",
        How::Tried(asks),
    ),
];

const LIAR: &str = include_str!("hostile.pl");

/// What is on such a host: something of every sort that is looked at.
const ROLE: &str = r#"
[group.staff]
on = ["s1"]
[user.ann]
on = ["s1"]
groups = ["staff"]
[packages.base]
on = ["s1"]
names = ["sudo"]
[directory."/srv/lies"]
on = ["s1"]
[file."/srv/lies/x"]
on = ["s1"]
content = "one"
[file."/etc/issue"]
on = ["s1"]
content = "other"
[systemd_unit."ssh.service"]
on = ["s1"]
[hosts_entry."db.x"]
on = ["s1"]
address = "192.0.2.1"
"#;

/// A server with accounts whose shell lies.
struct Liar {
    server: Server,
}

impl Liar {
    fn up(name: &str, accounts: &[&str]) -> Self {
        let server = Server::up(name, Image::Bare);
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("liar");
        fs::write(&program, format!("#!/usr/bin/perl\n{LIAR}")).unwrap();
        server.put(&program, "/usr/local/bin/liar");
        server.sh("chmod 755 /usr/local/bin/liar; mkdir -p /etc/lies; chmod 755 /etc/lies");
        for account in accounts {
            server.sh(&format!(
                "useradd -m -s /usr/local/bin/liar {account}; echo '{account} ALL=(ALL:ALL) NOPASSWD: ALL' > /etc/sudoers.d/{account}; \
                 cp -r /home/deploy/.ssh /home/{account}/; chown -R {account}: /home/{account}/.ssh; echo none > /etc/lies/{account}"
            ));
        }
        Liar { server }
    }

    /// Lies from now on in this way.
    fn lie(&self, account: &str, lie: &str) {
        self.server
            .sh(&format!("echo '{lie}' > /etc/lies/{account}"));
    }

    /// A lab that logs in as an account.
    fn lab(&self, account: &str) -> ServerLab {
        let host = self
            .server
            .host("s1")
            .replace("user = \"deploy\"", &format!("user = \"{account}\""));
        ServerLab::with(&format!("{host}{ROLE}"))
    }
}

/// Runs within limits of time and memory, and looks at all that is said.
fn heard(lab: &ServerLab, words: &[&str]) -> Result<Ran, String> {
    let ran = within(limited(&mut lab.command(words)), Duration::from_secs(150))?;
    is_sane(&ran)?;
    Ok(ran)
}

/// No panic, no signal, and nothing that a terminal obeys or that hides what is said.
fn is_sane(ran: &Ran) -> Result<(), String> {
    let all = || format!("{}\n{}", cut(&ran.stdout), cut(&ran.stderr));
    that((0..=12).contains(&ran.code), || {
        format!("ends with {}: {}", ran.code, all())
    })?;
    that(ran.stdout.len() + ran.stderr.len() < 4 << 20, || {
        format!("says {} bytes", ran.stdout.len() + ran.stderr.len())
    })?;
    for text in [&ran.stdout, &ran.stderr] {
        let acts = |c: &char| {
            (c.is_control() && !"\n\t".contains(*c))
                || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200b}'..='\u{200f}' | '\u{feff}')
        };
        if let Some(c) = text.chars().find(acts) {
            return Err(format!(
                "{c:?} is shown: {}",
                cut(&text.escape_debug().to_string())
            ));
        }
        that(!text.contains("panicked"), all)?;
    }
    Ok(())
}

fn cut(text: &str) -> String {
    text.chars().take(1500).collect()
}

/// That a run ended with one of some codes.
fn ends(ran: &Ran, codes: &[i32]) -> Result<(), String> {
    that(codes.contains(&ran.code), || {
        format!(
            "ends with {}, not {codes:?}: {}\n{}",
            ran.code,
            cut(&ran.stdout),
            cut(&ran.stderr)
        )
    })
}

/// That nothing a host said was run or rendered, there or here.
fn nothing_evaluated(liar: &Liar, ran: &Ran) -> Result<(), String> {
    that(!std::path::Path::new("/tmp/evaluated").exists(), || {
        "something was run here".to_owned()
    })?;
    that(
        liar.server.try_sh("test ! -e /tmp/evaluated").code == 0,
        || "something was run there".to_owned(),
    )?;
    that(
        !ran.stdout.contains("{{49}}") && !ran.stdout.contains(" 49"),
        || format!("rendered: {}", cut(&ran.stdout)),
    )
}

fn floods(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let liar = Liar::up("floods", &["liar"]);
    let lab = liar.lab("liar");
    for (lie, codes) in [
        ("flood", &[4][..]),
        ("line", &[4]),
        ("bulk", &[4]),
        ("binary", &[0, 2]),
        ("noise", &[0, 2]),
        ("gone", &[4]),
    ] {
        trial.case(lie, || {
            liar.lie("liar", lie);
            let ran = heard(&lab, &["plan", "servers", "-v"])?;
            ends(&ran, codes)
        });
    }
}

fn escapes(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let liar = Liar::up("escapes", &["liar"]);
    let lab = liar.lab("liar");
    let commands: &[&[&str]] = &[
        &["plan", "servers"],
        &["plan", "servers", "-vvv"],
        &["plan", "servers", "--json"],
        &["audit", "servers"],
        &["audit", "servers", "--format", "json"],
        &["explain", "servers", "file.s1:/etc/issue"],
        &["apply", "servers", "--yes"],
        &["verify", "servers"],
        &["doctor"],
    ];
    let lies: Vec<(&str, u64, &[&str])> = ["escapes", "raw"]
        .into_iter()
        .flat_map(|lie| {
            (1..=17).flat_map(move |seed| commands.iter().map(move |words| (lie, seed, *words)))
        })
        .collect();
    for (lie, seed, words) in trial.sample(&lies, 7) {
        trial.case(format!("{lie} {seed}, `{}`", words.join(" ")), || {
            liar.lie("liar", &format!("{lie} {seed}"));
            let ran = heard(&lab, words)?;
            nothing_evaluated(&liar, &ran)
        });
    }
}

fn forged(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let liar = Liar::up("forged", &["liar"]);
    let lab = liar.lab("liar");
    let before = liar.server.snapshot();
    let seeds = trial.numbers(1..2000, 8);
    for seed in seeds {
        trial.case(format!("seed {seed}"), || {
            liar.lie("liar", &format!("forge {seed}"));
            let ran = heard(&lab, &["plan", "servers"])?;
            // What was left alone by chance is an answer; there is always something to do.
            ends(&ran, &[0, 4])?;
            that(
                ran.code == 4
                    || ran.stdout.contains("file.s1:/etc/issue")
                    || ran.stdout.contains("/etc/issue"),
                || cut(&ran.stdout),
            )
        });
    }
    trial.case("nothing was changed", || {
        // The liar's own folder apart, and the times of folders.
        let after = liar.server.snapshot();
        let changed: Vec<&String> = after
            .iter()
            .filter(|line| {
                !before.contains(line) && !line.contains("/etc/lies") && !line.contains(" d root")
            })
            .collect();
        that(changed.is_empty(), || format!("{changed:?}"))
    });
    trial.note("and 20,000 changed streams beside the code (`src/target/session.rs`)");
}

fn facts(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let liar = Liar::up("facts", &["liar"]);
    let lab = liar.lab("liar");
    let lies: Vec<(&str, u64)> = ["types", "keys", "cutrows", "escapes"]
        .into_iter()
        .flat_map(|lie| (1..=100).map(move |seed| (lie, seed)))
        .collect();
    let mut lies = trial.sample(&lies, 6);
    lies.extend([("many", 1), ("norows", 1)]);
    for (lie, seed) in lies {
        trial.case(format!("{lie} {seed}"), || {
            liar.lie("liar", &format!("{lie} {seed}"));
            let ran = heard(&lab, &["plan", "servers"])?;
            ends(&ran, &[0, 4, 8])?;
            nothing_evaluated(&liar, &ran)?;
            // A fact that cannot be read is unknown, and no reason to destroy.
            that(!ran.stdout.contains("destroy"), || cut(&ran.stdout))
        });
    }
}

fn silence(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let lies = ["never", "drip", "close", "hang"];
    let liar = Liar::up("silence", &lies);
    let count = trial.size(3, 4);
    let lies = &lies[..count];
    for lie in lies {
        liar.lie(lie, lie);
    }
    // Side by side: they are waited for.
    let ran: Vec<(&str, Result<Ran, String>)> = thread::scope(|scope| {
        let running: Vec<_> = lies
            .iter()
            .map(|lie| {
                let liar = &liar;
                scope.spawn(move || (*lie, heard(&liar.lab(lie), &["plan", "servers"])))
            })
            .collect();
        running.into_iter().map(|one| one.join().unwrap()).collect()
    });
    for (lie, ran) in ran {
        trial.case(lie, || {
            let ran = ran?;
            match lie {
                // All was answered: that it does not go is its own matter.
                "close" => ends(&ran, &[0]),
                _ => {
                    ends(&ran, &[4])?;
                    that(ran.stderr.contains("s1"), || cut(&ran.stderr))
                }
            }
        });
    }
}

fn claims(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let liar = Liar::up("claims", &["liar"]);
    let lab = liar.lab("liar");
    trial.case("every step is a success, and one cannot be", || {
        liar.server
            .sh("mkdir -p /srv/no; mount -t tmpfs -o ro none /srv/no");
        lab.write(
            "servers.toml",
            &format!(
                "{}\n[file.\"/srv/no/x\"]\non = [\"s1\"]\ncontent = \"one\"\n",
                fs::read_to_string(lab.folder.path().join("environments/servers.toml")).unwrap()
            ),
        );
        liar.lie("liar", "success");
        let ran = heard(&lab, &["apply", "servers", "--yes"])?;
        that(ran.code != 0, || format!("believed: {}", cut(&ran.stdout)))?;
        that(
            format!("{}{}", ran.stdout, ran.stderr).contains("/srv/no/x"),
            || format!("{}\n{}", cut(&ran.stdout), cut(&ran.stderr)),
        )
    });
    trial.case("what is there is said to be absent", || {
        liar.lie("liar", "norows");
        let ran = heard(&lab, &["plan", "servers"])?;
        ends(&ran, &[0, 4])?;
        that(!ran.stdout.contains("destroy"), || cut(&ran.stdout))
    });
    trial.case("and told truly again, it is as it was", || {
        liar.server.sh("umount /srv/no");
        liar.lie("liar", "none");
        ends(&heard(&lab, &["apply", "servers", "--yes"])?, &[0])?;
        let ran = heard(&lab, &["plan", "servers", "--detailed-exitcode"])?;
        ends(&ran, &[0])
    });
}

fn programs(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let programs = [
        "stat",
        "sha256sum",
        "cat",
        "mv",
        "chmod",
        "chown",
        "mkdir",
        "find",
        "getent",
        "dpkg-query",
        "systemctl",
        "id",
        "head",
        "dd",
        "mktemp",
        "install",
        "ln",
        "sed",
        "awk",
    ];
    let lies = [
        ("says nothing and is content", "exit 0"),
        ("fails", "exit 1"),
        (
            "says what acts on terminals",
            "printf '\\033]0;owned\\007\\033[2J\\n'; exit 0",
        ),
    ];
    let whole: Vec<(&str, (&str, &str))> = programs
        .iter()
        .flat_map(|program| lies.map(|lie| (*program, lie)))
        .collect();
    let server = Server::up("programs", Image::Bare);
    let lab = ServerLab::new([&server], ROLE);
    for (program, (says, body)) in trial.sample(&whole, 4) {
        trial.case(format!("`{program}` {says}"), || {
            let there = server.try_sh(&format!("readlink -f \"$(command -v {program})\""));
            let there = there.stdout.trim().to_owned();
            if !there.starts_with('/') {
                return Ok(());
            }
            // With perl alone: the liar may be what is needed to put it back.
            let perl = |script: &str| {
                let words = ["exec", &server.container, "perl", "-MFile::Copy", "-e", script];
                docker(&[&words[..], &[&there, body]].concat())
            };
            perl("copy($ARGV[0], '/root/true') or die; unlink $ARGV[0]; open(F, '>', $ARGV[0]); print F \"#!/bin/sh\\n$ARGV[1]\\n\"; close F; chmod 0755, $ARGV[0]");
            let ran = heard(&lab, &["apply", "servers", "--yes"]);
            perl("unlink $ARGV[0]; copy('/root/true', $ARGV[0]) or die; chmod 0755, $ARGV[0]");
            let ran = ran?;
            let after = heard(&lab, &["plan", "servers", "--detailed-exitcode"])?;
            // Content only if it is so: what a liar let pass is found when it is gone.
            if ran.code == 0 && after.code != 0 {
                return Err(format!("was content, and then: {}", cut(&after.stdout)));
            }
            heard(&lab, &["apply", "servers", "--yes"])?;
            server.sh("echo by hand > /etc/issue");
            Ok(())
        });
    }
}

fn labels(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let lab = Lab::new("labels");
    let project = format!("com.docker.compose.project={}", lab.project);
    let evil = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\u{202e}evil\r{{7*7}}";
    let image = provision::resources::image::BASE;
    let service = format!("com.docker.compose.service={evil}");
    let own = format!("x={evil}");
    let variable = format!("X={evil}");
    // Together a megabyte, of arguments as long as they may be.
    let long: Vec<String> = (0..9)
        .map(|n| format!("long{n}={}", "y".repeat(120_000)))
        .collect();
    let mut words = vec![
        "create", "--label", &project, "--label", &service, "--label", &own,
    ];
    for label in &long {
        words.extend(["--label", label]);
    }
    words.extend(["-e", &variable, image, "sleep", "60"]);
    docker(&words);
    let foreign = lab.container("analytics");
    docker(&[
        "create", "--name", &foreign, "--label", &own, "--label", &service, "-e", &variable, image,
        "echo", evil,
    ]);
    docker(&[
        "volume",
        "create",
        "--label",
        &project,
        "--label",
        &own,
        &format!("{}_odd", lab.project),
    ]);
    for words in [
        &["plan", "local"][..],
        &["plan", "local", "-vvv"],
        &["plan", "local", "--json"],
        &["ps", "local"],
        &["audit", "local"],
        &["explain", "local", "container.analytics"],
        &["apply", "local", "--yes"],
        &["logs", "local", "analytics"],
    ] {
        trial.case(format!("`{}`", words.join(" ")), || {
            let ran = within(limited(&mut lab.command(words)), Duration::from_secs(120))?;
            is_sane(&ran)?;
            that(!ran.stdout.contains(" 49"), || cut(&ran.stdout))
        });
    }
    trial.case("what is not ours is as it was", || {
        let image = docker(&[
            "inspect",
            "-f",
            "{{.Config.Image}} {{.State.Status}}",
            &foreign,
        ]);
        that(image.ends_with("created"), || image.clone())
    });
    docker(&["rm", "-f", &foreign]);
}

fn asks(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let liar = Liar::up("asks", &["liar"]);
    liar.server.sh("sed -i 's/^X11Forwarding.*//' /etc/ssh/sshd_config; printf '%s\\n' 'X11Forwarding yes' 'AllowAgentForwarding yes' 'GatewayPorts yes' >> /etc/ssh/sshd_config; systemctl reload ssh");
    let lab = liar.lab("liar");
    liar.lie("liar", "env");
    // An operator whose own settings give everything away.
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(".ssh")).unwrap();
    fs::write(home.path().join(".ssh/config"), "Host *\n  ForwardAgent yes\n  ForwardX11 yes\n  ForwardX11Trusted yes\n  RemoteForward 19999 127.0.0.1:22\n  DynamicForward 19998\n  SendEnv *\n").unwrap();
    let socket = home.path().join("agent");
    let agent = Command::new("ssh-agent")
        .args(["-D", "-a"])
        .arg(&socket)
        .stdout(std::process::Stdio::null())
        .spawn();
    trial.case("agent, X11, forwards and variables", || {
        let mut agent = agent.map_err(|error| error.to_string())?;
        let _added = Command::new("ssh-add")
            .arg(key())
            .env("SSH_AUTH_SOCK", &socket)
            .output();
        let mut command = lab.command(&["plan", "servers"]);
        command
            .env("HOME", home.path())
            .env("SSH_AUTH_SOCK", &socket)
            .env("DISPLAY", ":99")
            .env("PLANTED_VARIABLE", "1");
        let ran = within(&mut command, Duration::from_secs(120));
        let _ended = agent.kill();
        let _ended = agent.wait();
        let ran = ran?;
        is_sane(&ran)?;
        ends(&ran, &[0])?;
        let there = liar.server.sh("cat /tmp/env; ss -ltn 2> /dev/null");
        let given: Vec<&str> = ["SSH_AUTH_SOCK", "DISPLAY", ":19999", "PLANTED_VARIABLE"]
            .into_iter()
            .filter(|word| there.contains(word))
            .collect();
        that(given.is_empty() && there.contains("SSH_CONNECTION"), || {
            format!("{given:?}: {there}")
        })
    });
}
