//! The operator's side: signals, terminals, files and plans here. All of it is tried on one real server; a program that has to accept
//! each file stands still there until the test lets it go on, so every signal comes in the middle of a step that is known.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use crate::lab::server::{Image, Server, ServerLab, key};
use crate::lab::{Ran, run};
use crate::table::{How, Row, row};
use crate::trial::{Trial, begin, ended, kill_group, mounted, that, within};

pub const ROWS: &[Row] = &[
    row(
        "F03",
        "SIGINT once, in the middle of an apply",
        How::Tried(once),
    ),
    row("F04", "SIGINT twice", How::Tried(twice)),
    row("F05", "SIGTERM, SIGHUP", How::Tried(terminated)),
    row("F06", "SIGSTOP, then CONT", How::Tried(stopped)),
    row("F07", "stdout closed", How::Tried(closed)),
    row("F08", "stdout is `/dev/full`", How::Tried(full)),
    row(
        "F09",
        "disk full, no inodes, read-only home",
        How::Tried(no_room),
    ),
    row(
        "F10",
        "stale plan: the host changed",
        How::Tried(host_moved),
    ),
    row(
        "F11",
        "stale plan: file or template changed",
        How::Tried(files_moved),
    ),
    row("F12", "a byte of a plan changed", How::Tried(tampered)),
    row(
        "F13",
        "plan for another environment, or an old one again",
        How::Tried(foreign),
    ),
    row(
        "F14",
        "plan file is a symlink, open to all, a fifo",
        How::Tried(no_plain_file),
    ),
    row(
        "F20",
        "odd locale, umask, no HOME, no TTY, closed stdin",
        How::Tried(odd),
    ),
    row("F22", "few descriptors, few processes", How::Tried(few)),
    row("F85", "a crash with secrets in memory", How::Tried(crash)),
];

/// Long enough for a machine that is busy with others.
const PATIENCE: Duration = Duration::from_secs(120);

/// A secret that must not be seen anywhere.
const CANARY: &str = "operator-canary-5f2c";

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let server = Server::up("operator", Image::Bare);
        server.sh(&format!(
            "printf '%s' '{GATE}' > /usr/local/bin/gate; chmod 755 /usr/local/bin/gate"
        ));
        server
    })
}

/// Says that its file is about to be put in place, and waits until it may be. A test that is gone lets everything go on.
const GATE: &str = r#"#!/bin/sh
printf "%s\n" "$2" >> "$1/log"
while [ -d "$1" ] && [ ! -e "$1/open" ] && [ ! -e "$1/go$2" ]; do sleep 0.05; done
"#;

/// A server with some files that a gate has to accept, one after another.
struct Gated {
    lab: ServerLab,
    files: usize,
}

impl Gated {
    fn new(files: usize) -> Self {
        let lab = ServerLab::with("");
        let project = &lab.project;
        let mut text = server().host("s1");
        text.push_str(&format!(
            "[directory.\"/srv/{project}\"]\non = \"s1\"\n[user.{project}]\non = \"s1\"\npassword = {{ env = \"OPERATOR_SECRET\" }}\n"
        ));
        for number in 0..files {
            text.push_str(&format!(
                "[file.\"/srv/{project}/x{number}\"]\non = \"s1\"\ncontent = \"{number}\\n\"\nvalidate = [\"/usr/local/bin/gate\", \"/run/gate-{project}\", \"{number}\", \"{{}}\"]\n"
            ));
        }
        lab.say(&text);
        Gated { lab, files }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.lab.command(words);
        command.env("OPERATOR_SECRET", CANARY);
        command
    }

    /// Nothing of it is there, and the gates before one are open.
    fn reset(&self, first: usize) {
        let project = &self.lab.project;
        let open: String = (0..first)
            .map(|number| format!(" /run/gate-{project}/go{number}"))
            .collect();
        server().sh(&format!(
            "rm -rf /srv/{project} /run/gate-{project}; mkdir -p /run/gate-{project}; : > /run/gate-{project}/log{}",
            match open.is_empty() {
                true => String::new(),
                false => format!("; touch{open}"),
            }
        ));
    }

    /// A line of bash with `$0` for the program.
    fn shell(&self, line: &str) -> Command {
        let mut command = Command::new("bash");
        command
            .args(["-c", line, env!("CARGO_BIN_EXE_provision")])
            .current_dir(self.lab.folder.path())
            .env("OPERATOR_SECRET", CANARY)
            .env_remove("NO_COLOR")
            .stdin(Stdio::null());
        command
    }

    /// Starts an apply that stands still at a gate.
    fn at(&self, gate: usize) -> Result<Child, String> {
        self.reset(gate);
        let mut child = begin(&mut self.command(&["apply", "servers", "--yes"]))?;
        match self.reached(gate) {
            Ok(()) => Ok(child),
            Err(why) => {
                self.open();
                let _ = child.kill();
                let said = child.wait_with_output().map(Ran::of);
                Err(format!("{why}: {said:?}"))
            }
        }
    }

    fn reached(&self, gate: usize) -> Result<(), String> {
        let project = &self.lab.project;
        by_then(&format!("gate {gate} is reached"), || {
            server()
                .try_sh(&format!("grep -qx {gate} /run/gate-{project}/log"))
                .code
                == 0
        })
    }

    /// What runs there has been told not to go on after its step.
    fn told(&self) -> Result<(), String> {
        by_then("the server is told to stop", || {
            server().try_sh("ls /run | grep -q '^provision-halt-'").code == 0
        })
    }

    fn open(&self) {
        server().try_sh(&format!("touch /run/gate-{}/open", self.lab.project));
    }

    /// Which files are there, and which gates were reached.
    fn there(&self) -> (Vec<usize>, Vec<usize>) {
        let project = &self.lab.project;
        let said = server().sh(&format!(
            "cd /srv/{project} && ls | sed -n 's/^x//p'; echo --; cat /run/gate-{project}/log; ls -A /srv/{project} | grep provision || :"
        ));
        let (files, gates) = said.split_once("--").unwrap();
        let numbers = |text: &str| {
            text.split_whitespace()
                .filter_map(|word| word.parse().ok())
                .collect()
        };
        (numbers(files), numbers(gates))
    }

    /// Nobody holds the lock; given a moment for what ends.
    fn unlocked(&self) -> Result<(), String> {
        let project = &self.lab.project;
        by_then("the lock is free", || {
            server()
                .try_sh(&format!("flock -n /run/provision-{project}.lock true"))
                .code
                == 0
        })
    }

    /// What is left is nothing but what should be there, the next apply ends well, and the one after has nothing to do.
    fn converges(&self) -> Result<(), String> {
        let left = server().sh("ls -A /run /srv/* | grep -e provision-halt -e '^.provision' || :");
        that(left.is_empty(), || format!("left behind: {left}"))?;
        self.open();
        let ran = within(&mut self.command(&["apply", "servers", "--yes"]), PATIENCE)?;
        that(ran.code == 0, || format!("the next apply: {ran:?}"))?;
        let ran = within(
            &mut self.command(&["plan", "servers", "--detailed-exitcode"]),
            PATIENCE,
        )?;
        that(ran.code == 0, || format!("the plan after it: {ran:?}"))?;
        let (files, _) = self.there();
        that(files == (0..self.files).collect::<Vec<_>>(), || {
            format!("{files:?}")
        })
    }
}

impl Drop for Gated {
    fn drop(&mut self) {
        let project = &self.lab.project;
        server().try_sh(&format!(
            "rm -rf /srv/{project} /run/gate-{project} /run/provision-{project}.lock /var/lib/provision/{project}*"
        ));
    }
}

fn by_then(what: &str, holds: impl Fn() -> bool) -> Result<(), String> {
    let begun = Instant::now();
    while !holds() {
        if begun.elapsed() > PATIENCE {
            return Err(format!("not within {PATIENCE:?}: {what}"));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// No panic and no secret, whatever came of it.
fn clean(ran: &Ran) -> Result<(), String> {
    let all = format!("{}{}", ran.stdout, ran.stderr);
    that(!all.contains("panicked") && !all.contains(CANARY), || all)
}

/// A run that was told to stop at a gate ends truthfully.
fn stops_at(gated: &Gated, gate: usize, child: Child) -> Result<(), String> {
    gated.told()?;
    gated.open();
    let ran = ended(child, PATIENCE)?;
    that(ran.code == 130, || format!("{ran:?}"))?;
    clean(&ran)?;
    let (files, gates) = gated.there();
    let until: Vec<usize> = (0..=gate).collect();
    that(files == until && gates == until, || {
        format!(
            "there are {files:?}, the gates {gates:?} were reached, after {gate} nothing may begin: {ran:?}"
        )
    })?;
    let line = |word: &str| -> String {
        let line = ran
            .stderr
            .lines()
            .find_map(|line| line.trim_start().strip_prefix(word));
        line.unwrap_or_default().to_owned()
    };
    let (done, not) = (line("done:"), line("not done:"));
    let last = format!("/x{gate}`");
    that(done.contains(&last) || done.contains(" more"), || {
        format!("{last} is not said to be done: {ran:?}")
    })?;
    let next = format!("/x{}`", gate + 1);
    that(gate + 1 == gated.files || not.contains(&next), || {
        format!("{next} is not said to be not done: {ran:?}")
    })?;
    gated.unlocked()?;
    gated.converges()
}

fn once(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let gated = Gated::new(5);
    for gate in trial.sample(&[0, 1, 2, 3, 4], 1) {
        trial.case(format!("at file {gate}"), || {
            let child = gated.at(gate)?;
            kill_group("INT", child.id());
            stops_at(&gated, gate, child)
        });
    }
    trial.case("while it is asked", || asked(&gated));
    trial.case("on a terminal", || on_a_terminal(&gated));
    trial.case("while it looks", || {
        // A program that is asked for a secret takes its time.
        let folder = gated.lab.folder.path();
        let begun = folder.join("begun");
        let script = format!("[\"sh\", \"-c\", \": > {}; sleep 100\"]", begun.display());
        let text = format!(
            "{}[user.never]\non = \"s1\"\npassword = {{ command = {script} }}\n",
            server().host("s1")
        );
        let lab = ServerLab::with(&text);
        let child = begin(&mut lab.command(&["apply", "servers", "--yes"]))?;
        let asked = by_then("the secret is asked for", || begun.exists());
        kill_group("INT", child.id());
        let ran = ended(child, Duration::from_secs(60))?;
        asked?;
        that(
            ran.code == 130 && ran.stderr.contains("nothing was changed"),
            || format!("{ran:?}"),
        )
    });
}

/// What is typed on a terminal of its own while a command runs on it, once something is there.
fn typed(
    command: &str,
    folder: &Path,
    when: impl Fn() -> bool,
    keys: &[u8],
) -> Result<String, String> {
    use std::io::Write as _;
    // The shell gets the key, too, and goes on.
    let command = format!("trap : INT; {command}");
    let mut child = begin(
        Command::new("script")
            .args(["-qefc", &command, "/dev/null"])
            .current_dir(folder)
            .env("SHELL", "/bin/sh")
            .env("TERM", "xterm")
            .env("OPERATOR_SECRET", CANARY)
            .stdin(Stdio::piped()),
    )?;
    let mut stdin = child.stdin.take().unwrap();
    let came = by_then("the moment to type", when);
    let _ = stdin.write_all(keys);
    let _ = stdin.flush();
    let ran = ended(child, PATIENCE);
    drop(stdin);
    came?;
    Ok(ran?.stdout)
}

/// Ctrl-C on a real terminal reaches us and none of our children, and leaves the terminal as it was.
fn on_a_terminal(gated: &Gated) -> Result<(), String> {
    let gate = 1;
    gated.reset(gate);
    let folder = gated.lab.folder.path();
    let line = format!(
        "stty -g; {} apply servers --yes; echo code $?; stty -g",
        env!("CARGO_BIN_EXE_provision")
    );
    // The gate opens once the server was told.
    let said = thread::scope(|scope| {
        let opener = scope.spawn(|| {
            let told = gated.told();
            gated.open();
            told
        });
        let said = typed(&line, folder, || gated.reached(gate).is_ok(), b"\x03");
        opener.join().unwrap()?;
        said
    })?;
    that(
        said.contains("code 130") && said.contains("Stopping after what is running"),
        || said.clone(),
    )?;
    let modes: Vec<&str> = said
        .lines()
        .map(str::trim)
        .filter(|line| line.len() > 20 && line.chars().all(|c| c == ':' || c.is_ascii_hexdigit()))
        .collect();
    that(modes.len() == 2 && modes[0] == modes[1], || {
        format!("the terminal was {modes:?}: {said}")
    })?;
    let last = |code: &str| said.rfind(code);
    that(
        last("\x1b[?25l").is_none() || last("\x1b[?25l") < last("\x1b[?25h"),
        || format!("the cursor stays hidden: {said}"),
    )?;
    let (files, _) = gated.there();
    that(files == [0, 1], || format!("there are {files:?}: {said}"))?;
    gated.unlocked()?;
    gated.converges()
}

/// Ctrl-C while it asks whether to go on.
fn asked(gated: &Gated) -> Result<(), String> {
    gated.reset(0);
    let folder = gated.lab.folder.path();
    let said = folder.join("said");
    let line = format!(
        "{} apply servers 2> {}; echo code $?",
        env!("CARGO_BIN_EXE_provision"),
        said.display()
    );
    let asks = || {
        std::fs::read_to_string(&said)
            .unwrap_or_default()
            .contains("[y/N]")
    };
    let shown = typed(&line, folder, asks, b"\x03")?;
    let said = std::fs::read_to_string(&said).unwrap_or_default();
    that(said.contains("interrupted, nothing was changed"), || {
        format!("{said}\n---\n{shown}")
    })?;
    let there = server().try_sh(&format!("ls /srv/{}", gated.lab.project));
    that(there.code != 0, || format!("{there:?}"))?;
    gated.unlocked()
}

fn twice(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let gated = Gated::new(4);
    for gate in trial.sample(&[0, 1, 2, 3], 1) {
        trial.case(format!("at file {gate}"), || {
            let child = gated.at(gate)?;
            kill_group("INT", child.id());
            thread::sleep(Duration::from_millis(200));
            kill_group("INT", child.id());
            ends_at_once(&gated, gate, child)
        });
    }
}

/// A run that was told twice is over while its step still stands at a gate; what was sent ahead of it never begins.
fn ends_at_once(gated: &Gated, gate: usize, child: Child) -> Result<(), String> {
    let ran = ended(child, Duration::from_secs(60))?;
    that(
        ran.code == 130 && ran.stderr.contains("may or may not have happened"),
        || format!("{ran:?}"),
    )?;
    clean(&ran)?;
    // As long as the step runs, nobody else may begin.
    let project = &gated.lab.project;
    let held = server().try_sh(&format!("flock -n /run/provision-{project}.lock true"));
    that(held.code != 0, || {
        "the lock is free while a step of the run goes on".to_owned()
    })?;
    let other = within(&mut gated.command(&["apply", "servers", "--yes"]), PATIENCE)?;
    that(other.code == 5, || {
        format!("another apply meanwhile: {other:?}")
    })?;
    gated.open();
    gated.unlocked()?;
    let (_, gates) = gated.there();
    that(gates == (0..=gate).collect::<Vec<_>>(), || {
        format!("the gates {gates:?} were reached")
    })?;
    gated.converges()?;
    let left = server().sh("ls /run | grep halt || :");
    that(left.is_empty(), || format!("left over: {left}"))
}

fn terminated(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let gated = Gated::new(3);
    for signal in trial.sample(&["TERM", "HUP"], 1) {
        trial.case(format!("SIG{signal}"), || {
            let child = gated.at(1)?;
            kill_group(signal, child.id());
            stops_at(&gated, 1, child)
        });
    }
    trial.case("SIGINT, SIGTERM, SIGKILL, as a cancelled CI job", || {
        let child = gated.at(1)?;
        let group = child.id();
        kill_group("INT", group);
        thread::sleep(Duration::from_millis(300));
        kill_group("TERM", group);
        let ended = ends_at_once(&gated, 1, child);
        kill_group("KILL", group);
        ended
    });
    trial.case("SIGHUP to who was started with `nohup`", || {
        gated.reset(1);
        let line = "trap '' HUP; exec \"$0\" apply servers --yes";
        let child = begin(&mut gated.shell(line))?;
        let reached = gated.reached(1);
        kill_group("HUP", child.id());
        gated.open();
        let ran = ended(child, PATIENCE)?;
        reached?;
        that(ran.code == 0, || format!("{ran:?}"))?;
        gated.converges()
    });
}

fn stopped(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let gated = Gated::new(3);
    let seconds = trial.size(3, 60);
    trial.case(format!("for {seconds} s"), || {
        let child = gated.at(1)?;
        kill_group("STOP", child.id());
        gated.open();
        thread::sleep(Duration::from_secs(seconds as u64));
        kill_group("CONT", child.id());
        let ran = ended(child, PATIENCE)?;
        that(ran.code == 0, || format!("{ran:?}"))?;
        let (_, gates) = gated.there();
        that(gates == [0, 1, 2], || {
            format!("each once, and not {gates:?}")
        })?;
        gated.converges()
    });
}

fn by_shell(gated: &Gated, line: &str) -> Result<Ran, String> {
    within(&mut gated.shell(line), PATIENCE)
}

fn closed(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let gated = Gated::new(2);
    gated.reset(0);
    trial.case("`plan | head -1`", || {
        let ran = by_shell(
            &gated,
            "\"$0\" plan servers | head -1; exit ${PIPESTATUS[0]}",
        )?;
        clean(&ran)?;
        that(ran.code == 0 && ran.stdout.lines().count() == 1, || {
            format!("{ran:?}")
        })
    });
    trial.case("`plan >&-`", || {
        let ran = by_shell(&gated, "\"$0\" plan servers >&-")?;
        clean(&ran)?;
        that(ran.code < 2, || format!("{ran:?}"))
    });
    let hows = [
        "| true; exit ${PIPESTATUS[0]}",
        ">&-",
        "2>&-",
        ">&- 2>&-",
        ">&- 2>&- <&-",
        "2>&1 | true; exit ${PIPESTATUS[0]}",
    ];
    for how in trial.sample(&hows, 3) {
        trial.case(format!("`apply {how}`"), || {
            gated.reset(0);
            gated.open();
            let ran = by_shell(&gated, &format!("\"$0\" apply servers --yes {how}"))?;
            clean(&ran)?;
            that(ran.code == 0, || format!("{ran:?}"))?;
            gated.converges()
        });
    }
}

fn full(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let gated = Gated::new(2);
    gated.reset(0);
    trial.case("`plan`", || {
        let ran = by_shell(&gated, "\"$0\" plan servers > /dev/full")?;
        clean(&ran)?;
        that(
            ran.code == 1 && ran.stderr.contains("standard output"),
            || format!("{ran:?}"),
        )
    });
    for how in ["> /dev/full", "2> /dev/full", "> /dev/full 2>&1"] {
        trial.case(format!("`apply {how}`"), || {
            gated.reset(0);
            gated.open();
            let ran = by_shell(&gated, &format!("\"$0\" apply servers --yes {how}"))?;
            clean(&ran)?;
            that(ran.code == 0, || format!("{ran:?}"))?;
            gated.converges()
        });
    }
}

/// Nothing of it is there: no directory, and no gate was reached.
fn untouched(gated: &Gated) -> Result<(), String> {
    let project = &gated.lab.project;
    let said = server().sh(&format!(
        "ls -A /srv/{project} 2>&1 | grep -v 'No such file' || :; cat /run/gate-{project}/log"
    ));
    that(said.is_empty(), || format!("something was changed: {said}"))
}

fn no_room(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let gated = Gated::new(2);
    let folder = gated.lab.folder.path();
    std::fs::create_dir_all(folder.join(".provision")).unwrap();
    for (what, mount) in [
        (
            "full",
            "mount -t tmpfs -o size=4k tmpfs .provision && head -c 4096 /dev/zero > .provision/filler",
        ),
        (
            "without inodes",
            "mount -t tmpfs -o nr_inodes=1 tmpfs .provision",
        ),
        ("read-only", "mount -t tmpfs -o ro tmpfs .provision"),
    ] {
        trial.case(format!("`.provision` is {what}"), || {
            gated.reset(0);
            gated.open();
            let ran = within(
                mounted(mount, &["apply", "servers", "--yes"])
                    .current_dir(folder)
                    .env("OPERATOR_SECRET", CANARY),
                PATIENCE,
            )?;
            clean(&ran)?;
            that(ran.code == 1 && ran.stderr.contains(".provision"), || {
                format!("{ran:?}")
            })?;
            untouched(&gated)
        });
    }
    trial.case("with room again", || gated.converges());
}

/// A saved plan of all of it, in the lab's folder.
fn saved(gated: &Gated) -> Result<PathBuf, String> {
    gated.reset(0);
    gated.open();
    let path = gated.lab.folder.path().join("saved.plan");
    let ran = within(
        gated.command(&["plan", "servers", "--out"]).arg(&path),
        PATIENCE,
    )?;
    that(ran.code == 0, || format!("{ran:?}"))?;
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    that(!text.contains(CANARY), || {
        "a secret is in the plan".to_owned()
    })?;
    Ok(path)
}

fn apply_saved(gated: &Gated, path: &Path) -> Result<Ran, String> {
    let ran = within(
        gated
            .command(&["apply", "servers", "--yes", "--plan"])
            .arg(path),
        PATIENCE,
    )?;
    clean(&ran)?;
    Ok(ran)
}

/// Refused as stale, damaged or foreign, with some words, and nothing is changed.
fn refused(gated: &Gated, path: &Path, words: &str) -> Result<(), String> {
    let ran = apply_saved(gated, path)?;
    that(ran.code == 6 && ran.stderr.contains(words), || {
        format!("`{words}` with code 6 is wanted: {ran:?}")
    })
}

fn host_moved(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let gated = Gated::new(2);
    let project = gated.lab.project.clone();
    trial.case("a file is there now", || {
        let plan = saved(&gated)?;
        server().sh(&format!(
            "mkdir /srv/{project} && echo other > /srv/{project}/x1"
        ));
        refused(&gated, &plan, &format!("file.s1:/srv/{project}/x1"))?;
        let content = server().sh(&format!(
            "cat /srv/{project}/x1; cat /run/gate-{project}/log"
        ));
        that(content == "other", || content)
    });
    trial.case("nothing moved", || {
        let plan = saved(&gated)?;
        let ran = apply_saved(&gated, &plan)?;
        that(ran.code == 0, || format!("{ran:?}"))?;
        gated.converges()
    });
    trial.case("what was fine differs now", || {
        let file = gated.lab.folder.path().join("environments/servers.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replace("\"1\\n\"", "\"one\\n\"")).unwrap();
        let path = gated.lab.folder.path().join("saved.plan");
        let ran = within(
            gated.command(&["plan", "servers", "--out"]).arg(&path),
            PATIENCE,
        )?;
        that(ran.code == 0, || format!("{ran:?}"))?;
        server().sh(&format!("chmod 600 /srv/{project}/x0"));
        let refused = refused(&gated, &path, &format!("file.s1:/srv/{project}/x0"));
        std::fs::write(&file, text).unwrap();
        refused?;
        gated.converges()
    });
}

fn files_moved(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let lab = ServerLab::with("");
    let project = lab.project.clone();
    let text = format!(
        "{}[vars]\nword = \"v\"\n[file.\"/srv/{project}-t\"]\non = \"s1\"\ntemplate = \"t.j2\"\n[file.\"/srv/{project}-c\"]\non = \"s1\"\ncontent = \"c\\n\"\n[file.\"/srv/{project}-s\"]\non = \"s1\"\nsource = \"s\"\n",
        server().host("s1")
    );
    let environments = lab.folder.path().join("environments");
    let plan = lab.folder.path().join("saved.plan");
    let reset = || {
        lab.say(&text);
        lab.write(
            "templates/t.j2",
            "{{ vars.word }} {% if true %}x{% endif %}\n",
        );
        lab.write("s", "s\n");
    };
    let moves = [
        (
            "content of the file",
            "servers.toml",
            "\"c\\n\"",
            "\"d\\n\"",
        ),
        (
            "a mode",
            "servers.toml",
            "source = \"s\"",
            "source = \"s\"\nmode = \"0600\"",
        ),
        ("a variable", "servers.toml", "word = \"v\"", "word = \"w\""),
        (
            "a new resource",
            "servers.toml",
            "[vars]",
            "[group.more]\non = \"s1\"\n[vars]",
        ),
        ("a template", "templates/t.j2", "}x{", "}y{"),
        ("a file that is copied", "s", "s", "t"),
    ];
    for (what, file, from, to) in trial.sample(&moves, 3) {
        trial.case(what, || {
            reset();
            let ran = within(
                lab.command(&["plan", "servers", "--out"]).arg(&plan),
                PATIENCE,
            )?;
            that(ran.code == 0, || format!("{ran:?}"))?;
            let path = environments.join(file);
            let before = std::fs::read_to_string(&path).unwrap();
            that(before.contains(from), || {
                format!("`{from}` is not in `{file}`")
            })?;
            std::fs::write(&path, before.replacen(from, to, 1)).unwrap();
            let ran = within(
                lab.command(&["apply", "servers", "--yes", "--plan"])
                    .arg(&plan),
                PATIENCE,
            )?;
            clean(&ran)?;
            let there = server().sh(&format!(
                "ls /srv/{project}-* 2> /dev/null; rm -f /srv/{project}-*"
            ));
            that(ran.code == 6 && there.is_empty(), || {
                format!("there is `{there}` after {ran:?}")
            })
        });
    }
    trial.case("nothing moved", || {
        reset();
        let ran = within(
            lab.command(&["plan", "servers", "--out"]).arg(&plan),
            PATIENCE,
        )?;
        that(ran.code == 0, || format!("{ran:?}"))?;
        let ran = within(
            lab.command(&["apply", "servers", "--yes", "--plan"])
                .arg(&plan),
            PATIENCE,
        )?;
        server().sh(&format!(
            "rm -f /srv/{project}-* /run/provision-{project}.lock /var/lib/provision/{project}*"
        ));
        that(ran.code == 0, || format!("{ran:?}"))
    });
}

fn tampered(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let gated = Gated::new(1);
    let plan = saved(&gated).unwrap();
    let whole = std::fs::read(&plan).unwrap();
    let count = trial.size(40, 1000);
    let offsets = trial.random.several(0..whole.len() as u64, count);
    for offset in offsets {
        let bit = 1u8 << trial.random.below(8);
        trial.case(format!("bit {bit:#x} at byte {offset}"), || {
            let mut bytes = whole.clone();
            bytes[offset as usize] ^= bit;
            std::fs::write(&plan, bytes).unwrap();
            refused(&gated, &plan, "saved plan")
        });
    }
    for (what, bytes) in [
        ("cut in the middle", whole[..whole.len() / 2].to_vec()),
        ("its last byte cut off", whole[..whole.len() - 1].to_vec()),
        ("empty", Vec::new()),
        ("something behind it", [whole.as_slice(), b"x"].concat()),
    ] {
        trial.case(what, || {
            std::fs::write(&plan, bytes).unwrap();
            refused(&gated, &plan, "saved plan")
        });
    }
    trial.case("none of it did anything", || untouched(&gated));
    trial.case("as it was", || {
        std::fs::write(&plan, &whole).unwrap();
        let ran = apply_saved(&gated, &plan)?;
        that(ran.code == 0, || format!("{ran:?}"))
    });
}

fn foreign(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let gated = Gated::new(1);
    let file = gated.lab.folder.path().join("environments/servers.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    trial.case("another environment, the same content", || {
        let plan = saved(&gated)?;
        std::fs::write(file.with_file_name("other.toml"), &text).unwrap();
        let ran = within(
            gated
                .command(&["apply", "other", "--yes", "--plan"])
                .arg(&plan),
            PATIENCE,
        )?;
        that(ran.code == 6 && ran.stderr.contains("`servers`"), || {
            format!("{ran:?}")
        })?;
        untouched(&gated)
    });
    trial.case("another project, the same name", || {
        let plan = saved(&gated)?;
        std::fs::write(&file, text.replacen("project = \"", "project = \"other", 1)).unwrap();
        let refused = refused(&gated, &plan, &gated.lab.project);
        std::fs::write(&file, &text).unwrap();
        refused?;
        untouched(&gated)
    });
    for (what, from, to) in [
        (
            "address",
            "address = \"".to_owned(),
            "address = \"::ffff:".to_owned(),
        ),
        ("name", "s1".to_owned(), "s2".to_owned()),
        (
            "port",
            "user = \"deploy\"".to_owned(),
            "user = \"deploy\"\nport = 22".to_owned(),
        ),
    ] {
        trial.case(
            format!("a host with another {what}, the same content"),
            || {
                let plan = saved(&gated)?;
                std::fs::write(&file, text.replace(&from, &to)).unwrap();
                let refused = refused(&gated, &plan, "saved plan");
                std::fs::write(&file, &text).unwrap();
                refused?;
                untouched(&gated)
            },
        );
    }
    trial.case("replayed", || {
        let plan = saved(&gated)?;
        let ran = apply_saved(&gated, &plan)?;
        that(ran.code == 0, || format!("{ran:?}"))?;
        refused(&gated, &plan, "saved plan")?;
        server().sh(&format!("echo other > /srv/{}/x0", gated.lab.project));
        refused(&gated, &plan, "saved plan")?;
        let content = server().sh(&format!("cat /srv/{}/x0", gated.lab.project));
        that(content == "other", || content)
    });
}

fn no_plain_file(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let gated = Gated::new(1);
    let plan = saved(&gated).unwrap();
    let folder = gated.lab.folder.path();
    let at = |name: &str| folder.join(name);
    trial.case("a symbolic link", || {
        std::os::unix::fs::symlink(&plan, at("link")).unwrap();
        refused(&gated, &at("link"), "symbolic link")
    });
    for mode in [0o666, 0o644, 0o660, 0o606] {
        trial.case(format!("mode {mode:o}"), || {
            std::fs::copy(&plan, at("open")).unwrap();
            std::fs::set_permissions(at("open"), std::fs::Permissions::from_mode(mode)).unwrap();
            refused(&gated, &at("open"), "open to others")
        });
    }
    trial.case("a fifo", || {
        run(Command::new("mkfifo").arg(at("fifo"))).ends(0);
        refused(&gated, &at("fifo"), "no plain file")
    });
    trial.case("a folder", || refused(&gated, folder, "a folder"));
    trial.case("a device", || {
        refused(&gated, Path::new("/dev/zero"), "no plain file")
    });
    trial.case("nothing", || {
        refused(&gated, &at("nothing"), "cannot be read")
    });
    trial.case("too large", || {
        let file = std::fs::File::create(at("large")).unwrap();
        file.set_len(1 << 30).unwrap();
        std::fs::set_permissions(at("large"), std::fs::Permissions::from_mode(0o600)).unwrap();
        let refused = refused(&gated, &at("large"), "too large");
        std::fs::remove_file(at("large")).unwrap();
        refused
    });
    trial.case("none of it did anything", || untouched(&gated));
}

/// A secret that is another one by the time its plan is applied.
pub fn rotated(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let gated = Gated::new(1);
    let plan = saved(&gated).unwrap();
    let apply = |secret: &str| {
        let mut command = gated.command(&["apply", "servers", "--yes", "--plan"]);
        command.arg(&plan).env("OPERATOR_SECRET", secret);
        within(&mut command, PATIENCE)
    };
    for secret in ["operator-canary-5f2d", " operator-canary-5f2c", "x"] {
        trial.case(format!("`{secret}`"), || {
            let ran = apply(secret)?;
            that(
                ran.code == 6 && ran.stderr.contains("a secret of the environment"),
                || format!("{ran:?}"),
            )?;
            untouched(&gated)
        });
    }
    trial.case("the same", || {
        let ran = apply(CANARY)?;
        that(ran.code == 0, || format!("{ran:?}"))
    });
}

/// Everything in a folder: names, modes and digests.
fn tree(folder: &Path) -> String {
    run(Command::new("sh").current_dir(folder).args([
        "-c",
        "find . -printf '%P %y %m\\n' | sort; find . -type f | sort | xargs -r sha256sum",
    ]))
    .ends(0)
    .stdout
}

fn odd(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let gated = Gated::new(2);
    let folder = gated.lab.folder.path().to_owned();
    let environments = Path::new(env!("CARGO_MANIFEST_DIR")).join("environments");
    let path = std::env::var("PATH").unwrap_or_default();
    let bare = format!("env -i PATH='{path}' OPERATOR_SECRET={CANARY}");
    // Every shape of a run: what comes before the program, and what behind.
    let shapes = [
        ("as it is", "env".to_owned(), ""),
        ("umask 777", "umask 777; exec env".to_owned(), ""),
        (
            "Turkish",
            "env LANG=tr_TR.UTF-8 LC_ALL=tr_TR.UTF-8".to_owned(),
            "",
        ),
        ("Arabic", "env LC_ALL=ar LANGUAGE=ar".to_owned(), ""),
        ("C", "env LC_ALL=C LANG=C".to_owned(), ""),
        (
            "the other side of the world",
            "env TZ=Pacific/Kiritimati".to_owned(),
            "",
        ),
        ("a time zone of nobody", "env TZ=:/dev/zero".to_owned(), ""),
        ("umask 000", "umask 000; exec env".to_owned(), ""),
        ("closed stdin", "env".to_owned(), "<&-"),
        ("no HOME and nothing else", bare, ""),
        ("an odd HOME", "env HOME=/nonexistent".to_owned(), ""),
        ("a dumb terminal", "env TERM=dumb COLUMNS=1".to_owned(), ""),
    ];
    let shot = |before: &str, behind: &str| -> Result<String, String> {
        let mut all = String::new();
        gated.reset(0);
        gated.open();
        let plan = by_shell(
            &gated,
            &format!("{before} \"$0\" plan servers --json {behind}"),
        )?;
        clean(&plan)?;
        that(plan.code == 0, || format!("{plan:?}"))?;
        all.push_str(&plan.stdout);
        let out = folder.join("rendered");
        let _old = std::fs::remove_dir_all(&out);
        let line = format!(
            "{before} \"$0\" --dir '{}' render local --out rendered {behind}",
            environments.display()
        );
        let rendered = by_shell(&gated, &line)?;
        that(rendered.code == 0, || format!("{rendered:?}"))?;
        all.push_str(&tree(&out));
        let applied = by_shell(
            &gated,
            &format!("{before} \"$0\" apply servers --yes {behind}"),
        )?;
        clean(&applied)?;
        that(applied.code == 0, || format!("{applied:?}"))?;
        all.push_str(&server().sh(&format!(
            "cd /srv/{} && stat -c '%n %a %U' . * && sha256sum *",
            gated.lab.project
        )));
        let verified = by_shell(
            &gated,
            &format!("{before} \"$0\" plan servers --detailed-exitcode {behind}"),
        )?;
        that(verified.code == 0, || format!("{verified:?}"))?;
        Ok(all)
    };
    // Once before, so that what is remembered there is the same for all.
    let usual = shot("env", "").and_then(|_| shot("env", ""));
    let shapes = [&shapes[..2], &trial.sample(&shapes[2..], 2)[..]].concat();
    for (what, before, behind) in shapes {
        trial.case(what, || {
            let usual = usual.as_ref().map_err(Clone::clone)?;
            let now = shot(&before, behind)?;
            that(now == *usual, || {
                let differing = now
                    .lines()
                    .zip(usual.lines())
                    .find(|(now, usual)| now != usual);
                format!("other bytes or modes: {differing:?}")
            })
        });
    }
    let mode =
        std::fs::metadata(folder.join(".provision")).map(|meta| meta.permissions().mode() & 0o777);
    trial.case("what is private stays so", || {
        that(mode.as_ref().is_ok_and(|mode| *mode == 0o700), || {
            format!("{mode:?}")
        })
    });
}

fn few(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let hosts: Vec<String> = (1..=12).map(|number| format!("h{number}")).collect();
    let lab = ServerLab::with("");
    let project = lab.project.clone();
    let text: String = hosts.iter().map(|name| server().host(name)).collect();
    let names: Vec<String> = hosts.iter().map(|name| format!("\"{name}\"")).collect();
    lab.say(&format!(
        "{text}[file.\"/srv/{project}\"]\non = [{}]\ncontent = \"x\\n\"\n",
        names.join(", ")
    ));
    for (nofile, hosts, code, words) in [
        (136, "", 0, "Apply with"),
        (135, "", 1, "ulimit -n 136"),
        (64, "", 1, "ulimit -n 136"),
        (64, "--host h1 h2 h3", 0, "Apply with"),
    ] {
        trial.case(format!("{nofile} descriptors, 12 hosts {hosts}"), || {
            let ran = within(
                Command::new("bash")
                    .args([
                        "-c",
                        &format!(
                            "ulimit -n {nofile} && exec \"$0\" plan servers --no-persist {hosts}"
                        ),
                    ])
                    .arg(env!("CARGO_BIN_EXE_provision"))
                    .current_dir(lab.folder.path())
                    .stdin(Stdio::null()),
                PATIENCE,
            )?;
            clean(&ran)?;
            let said = format!("{}{}", ran.stdout, ran.stderr);
            that(ran.code == code && said.contains(words), || {
                format!("{ran:?}")
            })
        });
    }
    // Root may start as many as it likes, so somebody else does.
    let folder = tempfile::tempdir().unwrap();
    let binary = folder.path().join("provision");
    std::fs::copy(env!("CARGO_BIN_EXE_provision"), &binary).unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    for (nproc, code) in [(1, 1), (3, 1), (20, 0)] {
        trial.case(format!("{nproc} processes"), || {
            let line = format!("ulimit -u {nproc} && exec \"$0\" schema");
            let ran = within(
                Command::new("setpriv")
                    .args(["--reuid=54321", "--regid=54321", "--clear-groups"])
                    .args(["bash", "-c", &line])
                    .arg(&binary)
                    .stdin(Stdio::null()),
                PATIENCE,
            )?;
            clean(&ran)?;
            that(
                ran.code == code && (code == 0 || ran.stderr.contains("ulimit -u")),
                || format!("{} {}", ran.code, ran.stderr),
            )
        });
    }
    trial.case("8 descriptors", || {
        let ran = within(
            Command::new("bash")
                .args(["-c", "ulimit -n 8 && exec \"$0\" plan servers --no-persist"])
                .arg(env!("CARGO_BIN_EXE_provision"))
                .current_dir(lab.folder.path())
                .stdin(Stdio::null()),
            PATIENCE,
        )?;
        clean(&ran)?;
        that(
            ran.code != 0 && ran.stderr.contains("Too many open files"),
            || format!("{ran:?}"),
        )
    });
    server().sh(&format!(
        "rm -f /srv/{project} /run/provision-{project}.lock"
    ));
}

fn crash(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let gated = Gated::new(2);
    let folder = gated.lab.folder.path();
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    let cores = |folder: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with("core")).collect()
    };
    if pattern.trim() == "core" {
        trial.case("another program leaves one", || {
            let empty = tempfile::tempdir().unwrap();
            let _ran = run(Command::new("bash")
                .args(["-c", "ulimit -c unlimited; exec bash -c 'kill -ABRT $$'"])
                .current_dir(empty.path()));
            that(!cores(empty.path()).is_empty(), || {
                "no core file is made here at all".to_owned()
            })
        });
    } else {
        trial.note("core files go elsewhere here");
    }
    for signal in ["ABRT", "SEGV"] {
        trial.case(format!("SIG{signal}"), || {
            gated.reset(0);
            let line = "ulimit -c unlimited; exec \"$0\" apply servers --yes -vvv";
            let child = begin(gated.shell(line).env("RUST_BACKTRACE", "full"))?;
            let reached = gated.reached(0);
            // Nobody else of the same user can look in either.
            let owner =
                run(Command::new("stat").args(["-c", "%U", &format!("/proc/{}/mem", child.id())]))
                    .stdout;
            // The first SEGV of a Rust program is taken for a look at its stack; whoever means it comes again.
            kill_group(signal, child.id());
            thread::sleep(Duration::from_millis(200));
            kill_group(signal, child.id());
            let ran = ended(child, PATIENCE)?;
            gated.open();
            reached?;
            clean(&ran)?;
            let left = cores(folder);
            that(left.is_empty(), || format!("there is {left:?}"))?;
            that(owner.trim() == "root", || owner)?;
            gated.unlocked()?;
            gated.converges()
        });
    }
    let _key = key();
}
