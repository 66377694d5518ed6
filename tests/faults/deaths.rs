//! Deaths at every effect, two at once, clocks and formats.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::{Child, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lab::server::{Image, Server, ServerLab};
use crate::lab::{Lab, Ran, SMALL, canary};
use crate::table::{How, Row, row};
use crate::trial::{Trial, begin, ended, kill_group, mounted, that, within};

pub const ROWS: &[Row] = &[
    row("F01", "client killed at effect k", How::Tried(client)),
    row(
        "F02",
        "remote shell killed before its k-th command",
        How::Tried(remote),
    ),
    row(
        "F15",
        "two applies at once, one operator",
        How::Tried(at_once),
    ),
    row("F16", "two operators", How::Tried(operators)),
    row(
        "F17",
        "client killed, remote still running, second apply",
        How::Tried(orphan),
    ),
    row("F18", "reboot with the lock held", How::Tried(reboot)),
    row("F19", "clocks that are wrong or jump", How::Tried(clocks)),
    row(
        "F21",
        "newer and older formats of our files",
        How::Tried(formats),
    ),
    row("F23", "client out of memory", How::Tried(memory)),
];

/// Long enough for anything on a busy machine.
const LONG: Duration = Duration::from_secs(300);

/// So many applies are started at the same moment.
const AT_ONCE: usize = 4;

const POINTS: [&str; 3] = ["", ".between", ".after"];

/// A server that is changed again and again: each generation of its declaration differs from the one before in every kind.
struct Site {
    server: Server,
    lab: ServerLab,
    generation: usize,
    /// What the generation declares besides.
    more: String,
}

/// One server for all rows, one after another: each leaves it as its declaration says.
fn site() -> MutexGuard<'static, Site> {
    static SITE: OnceLock<Mutex<Site>> = OnceLock::new();
    let site = SITE.get_or_init(|| Mutex::new(Site::new()));
    let mut site = site.lock().unwrap_or_else(PoisonError::into_inner);
    site.next();
    site
}

impl Site {
    fn new() -> Self {
        let server = Server::up("deaths", Image::Full);
        let lab = ServerLab::new([&server], "");
        let mut site = Site {
            server,
            lab,
            generation: 0,
            more: String::new(),
        };
        site.next();
        site.lab.apply();
        site.server.sh(
            "runuser -u postgres -- psql -qd data -c 'CREATE TABLE kept AS SELECT 42 AS answer'",
        );
        site
    }

    /// Declares something else.
    fn next(&mut self) {
        self.generation += 1;
        self.more.clear();
        self.say();
    }

    fn say(&self) {
        let number = self.generation;
        let more = &self.more;
        self.lab.say(&format!(
            r#"{host}
[directory."/srv/site"]
on = "s1"
mode = "{mode}"
[directory."/srv/site/of-{number}"]
on = "s1"
[file."/srv/site/of-{number}/text"]
on = "s1"
content = "generation {number}\n"
[file."/etc/site.conf"]
on = "s1"
content = "generation {number}\n"
[user.site]
on = "s1"
comment = "generation {number}"
[systemd_unit."site.service"]
on = "s1"
content = """
[Unit]
Description=generation {number}
[Service]
ExecStart=/bin/sleep infinity
[Install]
WantedBy=multi-user.target
"""
[postgres.analytics]
on = "s1"
[postgres.analytics.role.app]
password = "canary-{number}-app"
connection_limit = {number}
[postgres.analytics.role."of_{number}"]
password = "canary-{number}-of"
[postgres.analytics.database.data]
owner = "app"
{more}"#,
            host = self.server.host("s1"),
            mode = if number.is_multiple_of(2) {
                "0755"
            } else {
                "0750"
            },
        ));
    }

    fn apply_with(&self, fault: &str) -> Result<Ran, String> {
        let mut command = self.lab.command(&["apply", "servers", "--yes", "-vv"]);
        within(command.env("PROVISION_FAULT", fault), LONG)
    }

    /// How many effects the next generation has: told by a run that meets no fault.
    fn effects(&mut self) -> Result<u64, String> {
        self.next();
        effects(&self.apply_with("kill@1000000")?)
    }

    /// What has to hold after a death at any place, and how it is put right.
    fn recover(&self) -> Result<(), String> {
        self.free()?;
        canary::look_at_server(&self.server.container);
        let status = self.status()?;
        let plan: BTreeSet<String> = self.lab.plan().into_iter().map(|(id, _)| id).collect();
        truthful(&status, &plan)?;
        let drafts = self.server.sh(
            "find / -xdev \\( -name '.provision-*' -o -name '*.provision-new' \\) -not -path '/proc/*' 2> /dev/null || :",
        );
        // What a shell left that was killed while it wrote goes with the next run.
        let ran = within(&mut self.lab.command(&["apply", "servers", "--yes"]), LONG)?;
        that(ran.code == 0, || {
            format!("the next apply: {ran:?}\nbefore: {status:#}")
        })?;
        let again = self
            .lab
            .provision(&["plan", "servers", "--detailed-exitcode"]);
        that(again.code == 0, || format!("the plan behind it: {again:?}"))?;
        let kept = self
            .server
            .sh("runuser -u postgres -- psql -XAtqd data -c 'SELECT answer FROM kept'");
        that(kept.trim() == "42", || format!("data: {kept}"))?;
        let left = self
            .server
            .sh("find / -xdev -name '.provision-*' -not -path '/proc/*' 2> /dev/null || :");
        that(left.trim().is_empty(), || {
            format!("left over: {left}(before the next apply: {drafts})")
        })?;
        let torn = self.server.sh("cat /etc/site.conf");
        let whole = format!("generation {}", self.generation);
        that(torn == whole, || format!("/etc/site.conf: {torn:?}"))
    }

    /// Waits until nothing of the run is there and the locks are free.
    fn free(&self) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let ran = within(&mut self.lab.command(&["lock", "servers"]), LONG)?;
            match ran.code {
                0 => return Ok(()),
                5 if begun.elapsed() < Duration::from_secs(90) => {
                    std::thread::sleep(Duration::from_millis(300));
                }
                _ => return Err(format!("the lock stays: {ran:?}")),
            }
        }
    }

    fn status(&self) -> Result<Value, String> {
        let ran = within(
            &mut self.lab.command(&["status", "servers", "--json"]),
            LONG,
        )?;
        that(ran.code == 0, || format!("status: {ran:?}"))?;
        Ok(ran.json())
    }

    /// A declaration whose apply stays in the middle of a script until [`Site::let_go`]: a validation that waits.
    fn waiting(&mut self) {
        self.generation += 1;
        let more = r#"[file."/srv/site/waits"]
on = "s1"
content = "GENERATION\n"
validate = ["/usr/local/bin/waits", "{}"]
"#;
        self.more = more.replace("GENERATION", &self.generation.to_string());
        self.server.sh(
            "printf '%s\\n' '#!/bin/sh' ': > /run/here' 'while [ -e /run/wait ]; do sleep 0.2; done' 'exit 0' > /usr/local/bin/waits
             chmod 755 /usr/local/bin/waits; : > /run/wait; rm -f /run/here",
        );
        self.say();
    }

    /// Starts an apply and waits until it is in the middle of the script that waits.
    fn caught(&self) -> Result<Child, String> {
        let child = begin(&mut self.lab.command(&["apply", "servers", "--yes"]))?;
        let begun = Instant::now();
        while self.server.try_sh("test -e /run/here").code != 0 {
            if begun.elapsed() > LONG {
                kill_group("KILL", child.id());
                let ran = ended(child, LONG)?;
                return Err(format!("it never waits: {ran:?}"));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(child)
    }

    fn let_go(&self) {
        self.server.sh("rm -f /run/wait");
    }
}

/// The effects that a run counted.
fn effects(ran: &Ran) -> Result<u64, String> {
    that(ran.code == 0, || format!("{ran:?}"))?;
    let count = ran.stderr.matches("an effect begins").count();
    that(count > 3, || {
        format!("only {count} effects: {}", ran.stderr)
    })?;
    Ok(count as u64)
}

/// What a status says about the last run, held against what is planned now: what is done is not planned, what is not done is.
fn truthful(status: &Value, plan: &BTreeSet<String>) -> Result<(), String> {
    let runs = status["runs"].as_array().ok_or("no runs")?;
    let last = runs.last().ok_or("no run is remembered")?;
    let mut wrong = String::new();
    for change in last["changes"].as_array().ok_or("no changes")? {
        let id = change["id"].as_str().unwrap_or_default();
        let planned = plan.contains(id);
        let lies = match change["state"].as_str() {
            Some("done") => planned,
            Some("not done") => !planned,
            Some("unknown" | "failed") => false,
            _ => true,
        };
        if lies {
            let _ = writeln!(wrong, "{change} and planned: {planned}");
        }
    }
    that(wrong.is_empty(), || {
        format!("the status lies: {wrong}{status:#}")
    })
}

/// All places of a fault, or some of them.
fn places(trial: &mut Trial, who: &str, effects: u64, few: usize) -> Vec<String> {
    let all: Vec<String> = (1..=effects)
        .flat_map(|effect| POINTS.map(|point| format!("{who}@{effect}{point}")))
        .collect();
    trial.sample(&all, few)
}

fn client(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let mut site = site();
    let count = site.effects().unwrap();
    for place in places(trial, "kill", count, 4) {
        trial.case(&place, || {
            site.next();
            let ran = site.apply_with(&place)?;
            that(ran.code == -1, || format!("it was not killed: {ran:?}"))?;
            site.recover()
        });
    }
    trial.note(format!("{count} effects on a server"));
    drop(site);
    engine_client(trial);
}

/// The same on an engine, from nothing: image, network, volume, container, what is inside.
fn engine_client(trial: &mut Trial) {
    let lab = || Lab::with("deaths", SMALL);
    let apply = |lab: &Lab, fault: &str| {
        let mut command = lab.command(&["apply", "local", "--yes", "-vv"]);
        within(command.env("PROVISION_FAULT", fault), LONG)
    };
    let whole = lab();
    let count = effects(&apply(&whole, "kill@1000000").unwrap()).unwrap();
    drop(whole);
    for place in places(trial, "kill", count, 2) {
        trial.case(format!("engine {place}"), || {
            let lab = lab();
            let ran = apply(&lab, &place)?;
            that(ran.code == -1, || format!("it was not killed: {ran:?}"))?;
            let status = within(&mut lab.command(&["status", "local", "--json"]), LONG)?;
            that(status.code == 0, || format!("status: {status:?}"))?;
            let plan: BTreeSet<String> = lab.plan().into_iter().map(|(id, ..)| id).collect();
            truthful(&status.json(), &plan)?;
            let ran = within(&mut lab.command(&["apply", "local", "--yes"]), LONG)?;
            that(ran.code == 0, || format!("the next apply: {ran:?}"))?;
            let plan = lab.provision(&["plan", "local", "--detailed-exitcode"]);
            that(plan.code == 0, || format!("the plan behind it: {plan:?}"))
        });
    }
    trial.note(format!("{count} effects on an engine"));
}

fn remote(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let mut site = site();
    // Scripts that change something: as many as the client counts, without SQL and with those of the journal and the memory.
    site.next();
    let mut count = site.effects().unwrap();
    for place in places(trial, "remote", count, 4) {
        trial.case(&place, || {
            site.next();
            let ran = site.apply_with(&place)?;
            if ran.code == 0 {
                // There are not so many scripts.
                count = count.saturating_sub(1);
                return site.recover();
            }
            that(ran.code == 4, || format!("{ran:?}"))?;
            that(ran.stderr.contains("connection was lost"), || {
                format!("{ran:?}")
            })?;
            site.recover()
        });
    }
}

fn at_once(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let mut site = site();
    // While one is in the middle, all others end with 5 and name it.
    site.waiting();
    let others = trial.size(6, 100);
    let first = site.caught().unwrap();
    for number in 0..others {
        trial.case(format!("{number} beside it"), || {
            let other = within(&mut site.lab.command(&["apply", "servers", "--yes"]), LONG)?;
            that(other.code == 5, || format!("{other:?}"))?;
            let named = format!("`apply servers`, process {}", first.id());
            that(other.stderr.contains(&named), || format!("{other:?}"))
        });
    }
    trial.case("lock names the holder", || {
        let lock = within(&mut site.lab.command(&["lock", "servers"]), LONG)?;
        let named = format!("process {}", first.id());
        that(
            lock.code == 5 && lock.stdout.matches(&named).count() == 2,
            || format!("{lock:?}"),
        )
    });
    trial.case("one that waits goes on when it is over", || {
        let mut command = site
            .lab
            .command(&["apply", "servers", "--yes", "--wait=200"]);
        let waits = begin(&mut command)?;
        site.let_go();
        let first = ended(first, LONG)?;
        that(first.code == 0, || format!("{first:?}"))?;
        let waits = ended(waits, LONG)?;
        that(waits.code == 0, || format!("{waits:?}"))
    });
    // Started at the same moment.
    let rounds = trial.size(2, 100);
    for round in 0..rounds {
        trial.case(format!("round {round}"), || {
            site.waiting();
            let mut children: Vec<Option<Child>> = Vec::new();
            for _ in 0..AT_ONCE {
                let mut command = site.lab.command(&["apply", "servers", "--yes"]);
                children.push(Some(begin(&mut command)?));
            }
            // The winner waits in the middle until all others are gone.
            let mut ran = Vec::new();
            let begun = Instant::now();
            while children.iter().flatten().count() > 1 && begun.elapsed() < LONG {
                for slot in &mut children {
                    let over = slot
                        .as_mut()
                        .is_some_and(|child| matches!(child.try_wait(), Ok(Some(_))));
                    if over && let Some(child) = slot.take() {
                        ran.push(ended(child, LONG)?);
                    }
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            site.let_go();
            for child in children.into_iter().flatten() {
                ran.push(ended(child, LONG)?);
            }
            let mut codes: Vec<i32> = ran.iter().map(|ran| ran.code).collect();
            codes.sort_unstable();
            let mut wanted = vec![5; AT_ONCE];
            wanted[0] = 0;
            that(codes == wanted, || {
                format!("{codes:?}, the last: {:?}", ran.last())
            })
        });
    }
}

/// Two laptops: only the server's lock is between them.
fn operators(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let mut site = site();
    site.waiting();
    let first = site.caught().unwrap();
    trial.case("the other is told who", || {
        let other = elsewhere(&site, &["apply", "servers", "--yes"])?;
        that(other.code == 5, || format!("{other:?}"))?;
        that(
            other
                .stderr
                .contains("is locked on `s1`: `apply servers`, process"),
            || format!("{other:?}"),
        )
    });
    trial.case("a plan is not kept from looking", || {
        let other = elsewhere(&site, &["plan", "servers"])?;
        that(other.code == 0, || format!("{other:?}"))
    });
    trial.case("status from elsewhere", || {
        let other = elsewhere(&site, &["status", "servers"])?;
        that(
            other.code == 0 && other.stdout.contains("something holds the lock"),
            || format!("{other:?}"),
        )
    });
    site.let_go();
    let first = ended(first, LONG).unwrap();
    trial.case("the first is not disturbed", || {
        that(first.code == 0, || format!("{first:?}"))?;
        site.recover()
    });
}

/// Runs it as an operator on another machine would: with a lock folder of its own.
fn elsewhere(site: &Site, words: &[&str]) -> Result<Ran, String> {
    let mut command = mounted("mount -t tmpfs none /run/lock", words);
    command.current_dir(site.lab.folder.path());
    within(&mut command, LONG)
}

fn orphan(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let mut site = site();
    for number in 0..trial.size(1, 10) {
        site.waiting();
        let first = site.caught().unwrap();
        kill_group("KILL", first.id());
        let first = ended(first, LONG).unwrap();
        trial.case(format!("{number}: while it runs on there"), || {
            that(first.code == -1, || format!("{first:?}"))?;
            let second = within(&mut site.lab.command(&["apply", "servers", "--yes"]), LONG)?;
            that(second.code == 5, || format!("{second:?}"))?;
            let status = within(&mut site.lab.command(&["status", "servers"]), LONG)?;
            that(status.stdout.contains("something holds the lock"), || {
                format!("{status:?}")
            })
        });
        site.let_go();
        trial.case(format!("{number}: when it has ended"), || site.recover());
    }
}

fn reboot(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let mut site = site();
    site.waiting();
    let first = site.caught().unwrap();
    site.server.restart();
    let first = ended(first, LONG).unwrap();
    trial.case("the one that lost it says so", || {
        let said = || format!("{}: {}", first.code, first.stderr);
        that(first.code == 4, said)?;
        that(first.stderr.contains("may or may not"), said)
    });
    trial.case("the lock is gone with the machine", || {
        // Its address may be another one now.
        site.say();
        site.recover()
    });
}

fn clocks(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let mut site = site();
    // Nothing is ordered by a clock: journals and memories of another time are as good.
    for (name, from, to) in [
        ("a year back", "\"at\": \"20", "\"at\": \"19"),
        ("a thousand years on", "\"at\": \"20", "\"at\": \"30"),
    ] {
        trial.case(name, || {
            let edit = format!(
                "sed -i 's/{from}/{to}/' /var/lib/provision/*.json; sed -i 's/\"at\":\"20/\"at\":\"{}/' /var/lib/provision/*.run",
                to.trim_start_matches("\"at\": \"")
            );
            site.server.sh(&edit);
            site.next();
            let ran = site.apply_with("kill@5")?;
            that(ran.code == -1, || format!("{ran:?}"))?;
            site.recover()
        });
    }
}

fn formats(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let mut site = site();
    site.next();
    let refuses = |site: &Site, words: &[&str], what: &str| {
        let ran = within(&mut site.lab.command(words), LONG)?;
        that(ran.code == 6, || format!("{words:?}: {ran:?}"))?;
        that(ran.stderr.contains(what), || format!("{words:?}: {ran:?}"))
    };
    trial.case("a memory of a later version", || {
        site.server.sh("cp /var/lib/provision/*.json /root/memory; sed -i 's/\"format_version\": 2/\"format_version\": 99/' /var/lib/provision/*.json");
        let before = site.server.sh("cat /var/lib/provision/*.json");
        for words in [&["apply", "servers", "--yes"][..], &["plan", "servers"]] {
            refuses(&site, words, "is of format 99")?;
        }
        let after = site.server.sh("cat /var/lib/provision/*.json");
        site.server.sh("cp /root/memory /var/lib/provision/*.json");
        that(before == after, || "it was rewritten".to_owned())
    });
    trial.case("a journal of a later version, there and here", || {
        site.server.sh("cp /var/lib/provision/*.run /root/journal; sed -i 's/\"journal\":1/\"journal\":99/' /var/lib/provision/*.run");
        refuses(&site, &["status", "servers"], "is of format 99")?;
        refuses(&site, &["apply", "servers", "--yes"], "is of format 99")?;
        let there = site.server.sh("head -c 13 /var/lib/provision/*.run");
        that(there == "{\"journal\":99", || format!("rewritten: {there}"))?;
        site.server.sh("cp /root/journal /var/lib/provision/*.run");
        let here = site.lab.folder.path().join(".provision/servers/journal");
        let text = std::fs::read_to_string(&here).map_err(|error| error.to_string())?;
        let later = text.replacen("\"journal\":1", "\"journal\":99", 1);
        std::fs::write(&here, &later).map_err(|error| error.to_string())?;
        refuses(&site, &["status", "servers"], "is of format 99")?;
        refuses(&site, &["apply", "servers", "--yes"], "is of format 99")?;
        let now = std::fs::read_to_string(&here).map_err(|error| error.to_string())?;
        std::fs::write(&here, text).map_err(|error| error.to_string())?;
        that(now == later, || "it was rewritten".to_owned())
    });
    trial.case("what is damaged is forgotten, and told", || {
        site.server.sh("printf '{\"cut' > \"$(echo /var/lib/provision/*.json)\"; printf '{\"cut' > \"$(echo /var/lib/provision/*.run)\"");
        let ran = within(&mut site.lab.command(&["apply", "servers", "--yes"]), LONG)?;
        that(ran.code == 0 && ran.stderr.contains("is damaged and forgotten"), || {
            format!("{ran:?}")
        })?;
        let again = site.lab.provision(&["plan", "servers", "--detailed-exitcode"]);
        that(again.code == 0, || format!("{again:?}"))
    });
}

/// An address space that is too small: like a kill, at a place that nobody chose.
fn memory(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let mut site = site();
    let limits: Vec<u64> = (2..=40).map(|step| step * 4).collect();
    for megabytes in trial.sample(&limits, 3) {
        trial.case(format!("{megabytes} MiB"), || {
            site.next();
            let mut command = std::process::Command::new("sh");
            command
                .args(["-c", "ulimit -v \"$1\"; shift; exec \"$@\"", "sh"])
                .arg((megabytes * 1024).to_string())
                .arg(env!("CARGO_BIN_EXE_provision"))
                .args(["apply", "servers", "--yes"])
                .current_dir(site.lab.folder.path())
                .stdin(Stdio::null());
            let ran = within(&mut command, LONG)?;
            if ran.code == 0 {
                return site.recover();
            }
            that(!ran.stderr.contains("canary-"), || format!("{ran:?}"))?;
            site.free()?;
            let ran = within(&mut site.lab.command(&["apply", "servers", "--yes"]), LONG)?;
            that(ran.code == 0, || format!("the next apply: {ran:?}"))?;
            let again = site
                .lab
                .provision(&["plan", "servers", "--detailed-exitcode"]);
            that(again.code == 0, || format!("the plan behind it: {again:?}"))
        });
    }
}
