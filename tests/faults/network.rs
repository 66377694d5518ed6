//! Connections and SSH.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::farm::{Own, told};
use crate::lab::server::{self, Image, Server, key};
use crate::lab::{Ran, docker, run};
use crate::proxy::{End, Proxy, Side};
use crate::scale;
use crate::table::{How, Row, row};
use crate::trial::{Trial, begin, kill_group, mounted, that, within};

pub const ROWS: &[Row] = &[
    row(
        "F24",
        "connection cut at byte n of the script",
        How::Tried(cut),
    ),
    row(
        "F25",
        "black hole in the middle of a step",
        How::Tried(hole),
    ),
    row(
        "F26",
        "reset, sshd killed or restarted, reboot",
        How::Tried(lost),
    ),
    row("F27", "loss, little bandwidth, jitter", How::Tried(slow)),
    row(
        "F28",
        "host key changed, unknown, revoked",
        How::Tried(keys),
    ),
    row(
        "F29",
        "login refused, key with a passphrase, no key",
        How::Tried(logins),
    ),
    row("F30", "MaxStartups, MaxSessions", How::Tried(drops)),
    row("F31", "chatty shells, banners, MOTD", How::Tried(noise)),
    row(
        "F32",
        "odd login shells",
        How::TestedBy(&[
            "live::session::every_login_shell_takes_every_word",
            "live::session::a_way_that_is_barred_is_said_with_what_to_try",
        ]),
    ),
    row("F33", "sudo that wants something", How::Tried(sudo)),
    row(
        "F34",
        "jump host dies, no name, slow or lying resolver, IPv6 only",
        How::Tried(ways),
    ),
];

/// One server for the rows of this file; each leaves it as it was.
fn wire() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::up("wire", Image::Bare))
}

/// Some things of a server, one of them with a file that goes down the stream as it is.
const THINGS: &str = r#"
[directory."/srv/cut"]
on = "s1"
[file."/srv/cut/a"]
on = "s1"
content = "this is a\n"
[file."/srv/cut/b"]
on = "s1"
source = "big"
[file."/srv/cut/c"]
on = "s1"
content = "this is c\n"
"#;

const BIG: usize = 40_000;

/// An environment of these things, through a proxy.
fn things(proxy: &Proxy) -> Own {
    let own = Own::new(&format!("{}{THINGS}", proxy.host(wire(), "s1")));
    own.lab.write("big", &"0123456789\n".repeat(BIG / 11));
    own
}

/// What a server has of them: their names, or what is wrong with one.
fn stands() -> Result<Vec<String>, String> {
    let seen = wire().sh("cd /srv/cut 2> /dev/null || exit 0; for f in $(ls -A); do echo \"$f $(sha256sum < \"$f\" | cut -c-64)\"; done");
    let big = provision::secret::sha256("0123456789\n".repeat(BIG / 11));
    let whole = [
        ("a", provision::secret::sha256("this is a\n")),
        ("b", big),
        ("c", provision::secret::sha256("this is c\n")),
    ];
    seen.lines()
        .map(|line| {
            let (name, digest) = line.split_once(' ').unwrap_or((line, ""));
            match whole.iter().find(|(one, _)| *one == name) {
                Some((_, wanted)) if wanted == digest => Ok(name.to_owned()),
                Some(_) => Err(format!("`{name}` is torn")),
                None => Err(format!("`{name}` is left over")),
            }
        })
        .collect()
}

/// That a report says of no file what is not so: *done* is there, *not done* is not.
fn is_true(ran: &Ran, there: &[String]) -> Result<(), String> {
    let file = |id: &str| {
        id.strip_prefix("file.s1:/srv/cut/")
            .or(id.strip_prefix("file.s1:/srv/held/"))
            .map(str::to_owned)
    };
    for id in told(ran, "done").into_iter().filter_map(file) {
        that(there.contains(&id), || {
            format!("`{id}` is said to be done and is not there: {ran:#?}")
        })?;
    }
    for id in told(ran, "not done").into_iter().filter_map(file) {
        that(!there.contains(&id), || {
            format!("`{id}` is said not to be done and is there: {ran:#?}")
        })?;
    }
    Ok(())
}

/// Waits until nothing of ours runs on the server any more, so that what stands there stays.
fn quiet(own: &Own) -> Result<(), String> {
    let lock = format!("/run/provision-{}.lock", own.lab.project);
    let script = format!("! test -e {lock} || flock -n {lock} true");
    soon("the lock is free", || wire().try_sh(&script).code == 0)
}

/// Waits for something; an error after a minute.
fn soon(what: &str, holds: impl Fn() -> bool) -> Result<(), String> {
    let begun = Instant::now();
    while !holds() {
        that(begun.elapsed() < Duration::from_secs(60), || {
            format!("not within a minute: {what}")
        })?;
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn cut(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let clean = || wire().sh("rm -rf /srv/cut");
    clean();
    let proxy = Proxy::before(wire());
    let own = things(&proxy);
    let whole = own.apply(120).unwrap();
    assert_eq!(whole.code, 0, "{whole:#?}");
    let (length, edges) = (proxy.bytes(Side::Up), proxy.edges());
    let mut at: Vec<u64> = edges.iter().flat_map(|edge| [edge - 1, *edge]).collect();
    at.dedup();
    let mut at = trial.sample(&at, 1);
    let some = trial.size(2, 200);
    at.extend(trial.random.several(1..length, some));
    let mut cuts = 0;
    for at in at {
        trial.case(format!("cut behind byte {at} of {length}"), || {
            clean();
            let proxy = Proxy::before(wire());
            let own = things(&proxy);
            proxy.cut(Side::Up, at, End::Close);
            let ran = own.apply(150)?;
            cuts += usize::from(proxy.has_cut());
            quiet(&own)?;
            let there = stands()?;
            is_true(&ran, &there)?;
            match ran.code {
                // Before anything is told a new connection is made; behind all there is nothing to lose.
                0 => that(there.len() == 3, || format!("said to be done: {ran:#?}"))?,
                4 => {}
                _ => return Err(format!("ends with {ran:#?}")),
            }
            proxy.heal();
            own.converges()
        });
    }
    trial.note(format!("{cuts} connections cut of {length} bytes each"));
    // A byte that is changed on its way is noticed by SSH, so it is a cut.
    let at = trial.random.several(length / 2..length, 1)[0];
    trial.case(format!("byte {at} changed"), || {
        clean();
        let proxy = Proxy::before(wire());
        let own = things(&proxy);
        proxy.flip(Side::Up, at);
        let ran = own.apply(150)?;
        quiet(&own)?;
        is_true(&ran, &stands()?)?;
        that(matches!(ran.code, 0 | 4), || format!("ends with {ran:#?}"))?;
        own.converges()
    });
    clean();
}

/// Three files, the second of which is accepted only when the test says so: a moment in the middle of a step.
const HELD: &str = r#"
[directory."/srv/held"]
on = "s1"
[file."/srv/held/a"]
on = "s1"
content = "a"
[file."/srv/held/b"]
on = "s1"
content = "b"
validate = ["sh", "-c", "touch /srv/in-b; while [ ! -e /srv/open ]; do sleep 0.1; done", "sh", "{}"]
[file."/srv/held/c"]
on = "s1"
content = "c"
"#;

/// An `apply` in the middle of its step, followed line by line.
struct Held {
    child: Child,
    said: Arc<Mutex<Vec<(Instant, String)>>>,
    reader: Option<thread::JoinHandle<()>>,
}

impl Held {
    fn begin(own: &Own, server: &Server) -> Result<Self, String> {
        server.sh("rm -rf /srv/held /srv/open /srv/in-b");
        let mut child = begin(&mut own.command(&["apply", "servers", "--yes", "--no-persist"]))?;
        let said: Arc<Mutex<Vec<(Instant, String)>>> = Arc::default();
        let (lines, pen) = (child.stderr.take().unwrap(), Arc::clone(&said));
        let reader = thread::spawn(move || {
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                let mut said = pen.lock().unwrap_or_else(PoisonError::into_inner);
                said.push((Instant::now(), line));
            }
        });
        let held = Held {
            child,
            said,
            reader: Some(reader),
        };
        soon("the step runs", || {
            server.try_sh("test -e /srv/in-b").code == 0
        })?;
        Ok(held)
    }

    /// When a line with these words came.
    fn when(&self, words: &str) -> Option<Instant> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let line = said.iter().find(|(_, line)| line.contains(words));
        line.map(|(when, _)| *when)
    }

    fn end(mut self) -> Result<Ran, String> {
        let begun = Instant::now();
        while self
            .child
            .try_wait()
            .map_err(|error| error.to_string())?
            .is_none()
        {
            that(begun.elapsed() < Duration::from_secs(150), || {
                format!("it does not end: {:#?}", self.said)
            })?;
            thread::sleep(Duration::from_millis(20));
        }
        let mut stdout = String::new();
        let _ = self
            .child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut stdout);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let stderr: Vec<&str> = said.iter().map(|(_, line)| line.as_str()).collect();
        Ok(Ran {
            stdout,
            stderr: stderr.join("\n"),
            code: self.child.wait().unwrap().code().unwrap_or(-1),
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            kill_group("KILL", self.child.id());
            let _ = self.child.wait();
        }
    }
}

/// The step goes on, and every later one.
fn let_go(server: &Server) {
    server.sh("touch /srv/open");
}

/// Loses the connection in the middle of a step in some way: the step is unknown, what was sent behind it is not called undone, what
/// is done is said, and the next run puts it right. Where the server hears of it (`heard`), nothing is begun behind that step. Returns
/// how long it took to notice.
fn lose(proxy: &Proxy, heard: bool, how: impl FnOnce()) -> Result<Duration, String> {
    let own = Own::new(&format!("{}{HELD}", proxy.host(wire(), "s1")));
    let held = Held::begin(&own, wire())?;
    let since = Instant::now();
    how();
    let lost = "file.s1:/srv/held/b: failed: ";
    soon("the loss is noticed", || held.when(lost).is_some())?;
    let noticed = held.when(lost).unwrap() - since;
    let_go(wire());
    let ran = held.end()?;
    proxy.end(End::Reset);
    quiet(&own)?;
    let there = wire().sh("ls -A /srv/held");
    that(ran.code == 4, || format!("ends with {ran:#?}"))?;
    that(
        told(&ran, "unknown").contains(&"file.s1:/srv/held/b"),
        || format!("the step is not unknown: {ran:#?}"),
    )?;
    that(told(&ran, "done").contains(&"file.s1:/srv/held/a"), || {
        format!("what is done is not said: {ran:#?}")
    })?;
    let there: Vec<String> = there.lines().map(str::to_owned).collect();
    is_true(&ran, &there)?;
    that(!heard || !there.contains(&"c".to_owned()), || {
        "the step behind the lost one was begun".to_owned()
    })?;
    own.converges()?;
    Ok(noticed)
}

fn hole(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let mut noticed = None;
    trial.case("nothing comes through any more", || {
        let proxy = Proxy::before(wire());
        let took = lose(&proxy, false, || proxy.end(End::Hole))?;
        noticed = Some(took);
        that(took < Duration::from_secs(15), || {
            format!("noticed after {took:?}")
        })
    });
    if let Some(took) = noticed {
        trial.note(format!("noticed after {:.1} s", took.as_secs_f64()));
    }
    wire().sh("rm -rf /srv/held /srv/open /srv/in-b");
}

fn lost(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let ways = ["reset", "sshd killed", "sshd restarted", "rebooted"];
    for way in trial.sample(&ways, 2) {
        trial.case(way, || match way {
            "reset" => {
                let proxy = Proxy::before(wire());
                lose(&proxy, true, || proxy.end(End::Reset)).map(|_| ())
            }
            "sshd killed" => {
                let proxy = Proxy::before(wire());
                let kill = || {
                    wire().sh("pkill -KILL -u deploy -x sshd");
                };
                lose(&proxy, true, kill).map(|_| ())
            }
            "sshd restarted" => restarted(),
            _ => rebooted(),
        });
    }
    wire().sh("rm -rf /srv/held /srv/open /srv/in-b");
}

/// It leaves the connections that are there alone.
fn restarted() -> Result<(), String> {
    let proxy = Proxy::before(wire());
    let own = Own::new(&format!("{}{HELD}", proxy.host(wire(), "s1")));
    let held = Held::begin(&own, wire())?;
    wire().sh("systemctl restart ssh");
    let_go(wire());
    let ran = held.end()?;
    that(ran.code == 0, || format!("ends with {ran:#?}"))?;
    own.converges()
}

/// A server of its own: its address may be another one afterwards.
fn rebooted() -> Result<(), String> {
    let server = Server::up("reboots", Image::Bare);
    let proxy = Proxy::before(&server);
    let own = Own::new(&format!("{}{HELD}", proxy.host(&server, "s1")));
    let held = Held::begin(&own, &server)?;
    docker(&["restart", "-t", "1", &server.container]);
    let format = "{{.NetworkSettings.IPAddress}}";
    let address = docker(&["inspect", "-f", format, &server.container]);
    proxy.aim(&format!("{address}:22"));
    let_go(&server);
    soon("it is up again", || {
        let said = server.try_sh("systemctl is-system-running").stdout;
        matches!(said.trim(), "running" | "degraded")
    })?;
    let ran = held.end()?;
    that(ran.code == 4, || format!("ends with {ran:#?}"))?;
    that(
        told(&ran, "unknown").contains(&"file.s1:/srv/held/b"),
        || format!("the step is not unknown: {ran:#?}"),
    )?;
    own.converges()
}

fn slow(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let clean = || wire().sh("rm -rf /srv/cut");
    let undo = "tc qdisc del dev eth0 root 2> /dev/null; iptables -F INPUT 2> /dev/null; :";
    let faults = ["20 % loss", "256 kbit a second", "200 ms and jitter"];
    let mut missing = Vec::new();
    for fault in trial.sample(&faults, 1) {
        trial.case(fault, || {
            clean();
            let proxy = Proxy::before(wire());
            match fault {
                "20 % loss" => {
                    let made = wire().try_sh(
                        "{ command -v iptables || { apt-get update -q; apt-get install -yq --no-install-recommends iptables; }; } > /dev/null 2>&1; \
                         iptables -A INPUT -p tcp --dport 22 -m statistic --mode random --probability 0.2 -j DROP",
                    );
                    if made.code != 0 {
                        // What loss does to TCP all the same: some pieces come much later.
                        missing.push(format!("iptables: {}", made.stderr.trim()));
                        proxy.delay(Duration::from_millis(50), Duration::from_millis(400));
                    }
                }
                "256 kbit a second" => {
                    let made = wire().try_sh(
                        "tc qdisc add dev eth0 root tbf rate 256kbit burst 8kb latency 400ms",
                    );
                    if made.code != 0 {
                        missing.push(format!("tc tbf: {}", made.stderr.trim()));
                    }
                    proxy.pace(32_000);
                }
                _ => proxy.delay(Duration::from_millis(200), Duration::from_millis(100)),
            }
            let own = things(&proxy);
            let ran = own.apply(240);
            wire().sh(undo);
            proxy.heal();
            let ran = ran?;
            that(ran.code == 0, || format!("ends with {ran:#?}"))?;
            let there = stands()?;
            that(there.len() == 3, || format!("only {there:?} are there"))?;
            own.converges()
        });
    }
    for why in missing {
        eprintln!("\n*** NOT THE REAL FAULT, a proxy played it: {why} ***\n");
        trial.note(format!("played by the proxy, since {why}"));
    }
    trial.note("no netem in this kernel: delay and jitter are the proxy's");
    clean();
}

/// A file that nobody has yet.
const NOTE: &str = "[file.\"/srv/note\"]\non = \"s1\"\ncontent = \"noted\\n\"\n";

/// How many logins a server has let in so far.
fn logins_so_far() -> String {
    wire().sh("journalctl -q --no-pager -u ssh -o cat | grep -c 'Accepted publickey' || :")
}

/// The table of the server, changed in some words.
fn host(replace: &[(&str, &str)]) -> String {
    let mut text = wire().host("s1");
    for (from, to) in replace {
        assert!(text.contains(from), "`{from}` is not in {text}");
        text = text.replace(from, to);
    }
    text
}

/// That an environment is refused with exit code 4 and these words, at once, without a question, and that nobody was let in.
fn barred(own: &Own, words: &[&str]) -> Result<(), String> {
    let before = logins_so_far();
    let ran = own.run(&["apply", "servers", "--yes", "--no-persist"], 60)?;
    that(ran.code == 4, || format!("ends with {ran:#?}"))?;
    for word in words {
        that(ran.stderr.contains(word), || {
            format!("`{word}` is not said: {ran:#?}")
        })?;
    }
    that(logins_so_far() == before, || {
        "somebody was let in".to_owned()
    })?;
    that(wire().try_sh("test -e /srv/note").code == 1, || {
        "something was done".to_owned()
    })
}

fn public(path: &Path) -> String {
    let text = std::fs::read_to_string(path.with_extension("pub")).unwrap();
    text.split_whitespace()
        .take(2)
        .collect::<Vec<_>>()
        .join(" ")
}

fn keys(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let server = wire();
    server.sh("rm -f /srv/note");
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other");
    server::new_key(&other);
    let pin = format!("host_key = \"{}\"\n", server.host_key);
    let wrong = format!("host_key = \"{}\"\n", public(&other));
    let unpinned = host(&[(&pin, "")]);
    // What is pinned by `provision trust` stands in this file; each line of it is a case.
    let known = |lines: &[String]| {
        let own = Own::new(&format!("{unpinned}{NOTE}"));
        let pins = own.lab.folder.path().join(".provision");
        std::fs::create_dir_all(&pins).unwrap();
        std::fs::write(pins.join("known_hosts"), lines.join("\n") + "\n").unwrap();
        own
    };
    let line = |key: &str| format!("{} {key}", server.address);
    let good = line(&server.host_key);
    let bad = line(&public(&other));
    trial.case("changed, as pinned in the file", || {
        let own = Own::new(&format!("{}{NOTE}", host(&[(&pin, &wrong)])));
        barred(&own, &["host key", "host_key"])
    });
    trial.case("unknown", || {
        barred(
            &known(&[]),
            &["host key is not known", "provision trust servers s1"],
        )
    });
    trial.case("changed, as trusted before", || {
        barred(
            &known(std::slice::from_ref(&bad)),
            &["host key has changed"],
        )
    });
    trial.case("revoked", || {
        let revoked = format!("@revoked * {}", server.host_key);
        barred(&known(&[good.clone(), revoked]), &["host key is revoked"])
    });
    trial.case("of another authority", || {
        let authority = format!("@cert-authority * {}", public(&other));
        barred(&known(&[authority]), &["host key"])
    });
    let lets_in = |own: &Own| {
        let ran = own.apply(120)?;
        server.sh("rm -f /srv/note");
        that(ran.code == 0, || format!("ends with {ran:#?}"))
    };
    trial.case("two keys are known, one of them is right", || {
        lets_in(&known(&[bad.clone(), good.clone()]))
    });
    trial.case("signed by an authority that is known", || {
        let authority = folder.path().join("authority");
        server::new_key(&authority);
        let host_key = folder.path().join("ssh_host_ed25519_key.pub");
        std::fs::write(&host_key, format!("{} host\n", server.host_key)).unwrap();
        let signed = run(Command::new("ssh-keygen")
            .args(["-q", "-h", "-I", "lab", "-n", &server.address, "-s"])
            .arg(&authority)
            .arg(&host_key));
        that(signed.code == 0, || format!("{signed:#?}"))?;
        let certificate = folder.path().join("ssh_host_ed25519_key-cert.pub");
        server.put(&certificate, "/etc/ssh/cert.pub");
        server.sh("chown root:root /etc/ssh/cert.pub; echo 'HostCertificate /etc/ssh/cert.pub' > /etc/ssh/sshd_config.d/cert.conf; systemctl restart ssh");
        let own = known(&[format!("@cert-authority * {}", public(&authority))]);
        let came = lets_in(&own);
        server.sh("rm -f /etc/ssh/sshd_config.d/cert.conf /etc/ssh/cert.pub; systemctl restart ssh");
        came
    });
}

fn logins(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let server = wire();
    server.sh("rm -f /srv/note");
    let folder = tempfile::tempdir().unwrap();
    let ours = key().display().to_string();
    trial.case("a key that the server does not know", || {
        let other = folder.path().join("other");
        server::new_key(&other);
        let other = other.display().to_string();
        let own = Own::new(&format!("{}{NOTE}", host(&[(&ours, &other)])));
        barred(&own, &["does not let `deploy` in", &other])
    });
    trial.case("a key with a passphrase", || {
        let locked = folder.path().join("locked");
        let made = run(Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "canary-pass-phrase", "-f"])
            .arg(&locked));
        that(made.code == 0, || format!("{made:#?}"))?;
        let locked = locked.display().to_string();
        let own = Own::new(&format!("{}{NOTE}", host(&[(&ours, &locked)])));
        barred(&own, &["does not let `deploy` in", &locked, "passphrase"])
    });
    let identity = format!("identity = \"{ours}\"\n");
    let any = Own::new(&format!("{}{NOTE}", host(&[(&identity, "")])));
    trial.case("no key at all", || {
        barred(
            &any,
            &[
                "does not let `deploy` in",
                "the keys of `~/.ssh` and of the agent",
            ],
        )
    });
    trial.case("too many keys in the agent", || {
        let socket = folder.path().join("agent");
        let mut agent = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(&socket)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        soon("the agent is there", || socket.exists())?;
        for number in 0..8 {
            let path = folder.path().join(format!("agent-{number}"));
            server::new_key(&path);
            let added = run(Command::new("ssh-add")
                .arg("-q")
                .arg(&path)
                .env("SSH_AUTH_SOCK", &socket));
            assert_eq!(added.code, 0, "{added:#?}");
        }
        let before = logins_so_far();
        let mut command = any.command(&["plan", "servers", "--no-persist"]);
        let ran = run(command.env("SSH_AUTH_SOCK", &socket));
        let _ = (agent.kill(), agent.wait());
        that(ran.code == 4 && logins_so_far() == before, || {
            format!("ends with {ran:#?}")
        })?;
        that(ran.stderr.contains("of the agent"), || {
            format!("the agent's keys are not named: {ran:#?}")
        })
    });
}

/// Many come at once to a server that drops most of them: all get in, and what each does there is done once.
fn drops(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let count = trial.size(16, 40);
    let farm = scale::farm(trial);
    farm.say("MaxStartups 2:60:5\nMaxSessions 1");
    let hosts: String = (1..=count)
        .map(|number| farm.host(&format!("s{number}"), &format!("h{number}"), ""))
        .collect();
    let text = "[file.\"/srv/note\"]\non = \"all\"\ncontent = \"noted\\n\"\nvalidate = [\"sh\", \"-c\", \"echo once >> /srv/times\", \"sh\", \"{}\"]\n";
    let own = Own::new(&format!("{hosts}{text}"));
    trial.case(format!("{count} hosts at once"), || {
        let ran = own.apply(300)?;
        that(ran.code == 0, || format!("ends with {ran:#?}"))?;
        let times = farm.server.sh("cat /hosts/*/srv/times | wc -l");
        that(times.trim() == count.to_string(), || {
            format!("{count} effects were done {times} times")
        })
    });
    trial.case("some were dropped", || {
        let dropped = farm.server.try_sh(
            "journalctl -q --no-pager -u ssh -o cat | grep -i 'MaxStartups throttling\\|drop connection'",
        );
        that(dropped.code == 0, || "nobody was: this was no fault".to_owned())
    });
    farm.say(scale::SSHD);
    farm.server.sh("rm -f /hosts/*/srv/note /hosts/*/srv/times");
}

fn noise(trial: &mut Trial) {
    // Chatty shells of every kind, banners and ~/.ssh/rc: `live::session::every_login_shell_takes_every_word` and
    // `live::server_days::noise_of_a_login_a_poor_path_and_a_loose_umask_change_nothing`.
    if !trial.engine() {
        return;
    }
    let server = wire();
    server.sh("rm -f /srv/note; cp /home/deploy/.ssh/authorized_keys /root/keys");
    trial.case("a forced command", || {
        server.sh("sed -i 's/^/command=\"printf \\x27hi \\\\033[31mthere\\\\n\\x27\" /' /home/deploy/.ssh/authorized_keys");
        let own = Own::new(&format!("{}{NOTE}", host(&[])));
        let ran = own.run(&["apply", "servers", "--yes", "--no-persist"], 60);
        server.sh("cat /root/keys > /home/deploy/.ssh/authorized_keys");
        let ran = ran?;
        that(ran.code == 4 && ran.stderr.contains("hi "), || {
            format!("ends with {ran:#?}")
        })?;
        that(!ran.stderr.contains('\x1b'), || {
            format!("it is not escaped: {ran:#?}")
        })
    });
    trial.case("a long message of the day, a banner and an `rc`", || {
        server.sh("yes '@ hello 0 begin' | head -c 300000 > /etc/motd; yes banner | head -c 60000 > /etc/issue.net; \
                   printf 'yes rc | head -n 20000\\nprintf \"\\\\033]0;x\\\\007\"\\n' > /home/deploy/.ssh/rc; chown deploy: /home/deploy/.ssh/rc; \
                   echo 'Banner /etc/issue.net' > /etc/ssh/sshd_config.d/banner.conf; systemctl restart ssh");
        let own = Own::new(&format!("{}{NOTE}", host(&[])));
        let ran = own.apply(120);
        let came = ran.and_then(|ran| {
            that(ran.code == 0, || format!("ends with {ran:#?}"))?;
            own.converges()
        });
        server.sh("rm -f /etc/motd /home/deploy/.ssh/rc /etc/ssh/sshd_config.d/banner.conf /srv/note; systemctl restart ssh");
        came
    });
    trial.note("shells and `.bashrc`s: live::session, live::server_days");
}

fn sudo(trial: &mut Trial) {
    // A password wanted, wrong or right, and no line for us: `live::session::a_way_that_is_barred_is_said_with_what_to_try` and
    // `live::session::a_password_opens_sudo_and_is_seen_nowhere`.
    if !trial.engine() {
        return;
    }
    let server = wire();
    let own = Own::new(&format!("{}{NOTE}", host(&[])));
    let defaults = [
        ("requiretty", "requiretty", 4, "requiretty"),
        ("use_pty", "use_pty", 0, ""),
        ("a poor secure_path", "secure_path=/usr/bin:/bin", 0, ""),
        ("logs its input", "log_input, log_output", 0, ""),
    ];
    for (name, defaults, code, words) in trial.sample(&defaults, 2) {
        trial.case(name, || {
            server.sh(&format!(
                "rm -f /srv/note; echo 'Defaults:deploy {defaults}' > /etc/sudoers.d/zz-wire; chmod 440 /etc/sudoers.d/zz-wire; visudo -cq"
            ));
            let ran = own.apply(120);
            server.sh("rm -f /etc/sudoers.d/zz-wire");
            let ran = ran?;
            that(ran.code == code && ran.stderr.contains(words), || {
                format!("ends with {ran:#?}")
            })?;
            own.converges()
        });
    }
    trial.case("no sudo at all", || {
        server.sh("rm -f /srv/note; mv /usr/bin/sudo /usr/bin/sudo.away");
        let ran = own.run(&["apply", "servers", "--yes", "--no-persist"], 60);
        server.sh("mv /usr/bin/sudo.away /usr/bin/sudo");
        let ran = ran?;
        that(ran.code == 4 && ran.stderr.contains("has no sudo"), || {
            format!("ends with {ran:#?}")
        })
    });
    server.sh("rm -f /srv/note");
    trial.note("passwords: live::session, live::server_days");
}

fn ways(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let server = wire();
    server.sh("rm -f /srv/note");
    let jump = |port: u16| {
        let identity = "sudo = true\n";
        let jump = format!("sudo = true\njump = \"deploy@127.0.0.1:{port}\"\n");
        Own::new(&format!("{}{NOTE}", host(&[(identity, &jump)])))
    };
    trial.case("a jump host that nobody listens on", || {
        barred(
            &jump(crate::lab::free_port()),
            &[
                "`s1` cannot be reached: there is no way through `deploy@127.0.0.1:",
                "refused",
            ],
        )
    });
    trial.case("a jump host that dies while one comes in", || {
        let proxy = Proxy::before(server);
        proxy.cut(Side::Up, 700, End::Hole);
        let own = jump(proxy.port);
        let ran = own.run(&["plan", "servers", "--no-persist"], 120)?;
        proxy.end(End::Reset);
        that(ran.code == 4, || format!("ends with {ran:#?}"))
    });
    trial.case("a way over IPv6 only", || {
        let proxy = Proxy::on("[::1]:0", &format!("{}:22", server.address))?;
        let text = proxy.host(server, "s1").replace("127.0.0.1", "::1");
        let own = Own::new(&format!("{text}{NOTE}"));
        own.converges()?;
        server.sh("rm -f /srv/note");
        Ok(())
    });
    trial.case("a name that nobody knows", || {
        let own = Own::new(&format!(
            "{}{NOTE}",
            host(&[(
                &format!("\"{}\"", server.address),
                "\"no-such-host.invalid\""
            )])
        ));
        barred(&own, &["nobody knows the name `no-such-host.invalid`"])
    });
    let own = Own::new(&format!(
        "{}{NOTE}",
        host(&[(&format!("\"{}\"", server.address), "\"s1.lab.test\"")])
    ));
    trial.case("a resolver that takes 3 s to answer", || {
        let resolver = Resolver::new(server, Some(Duration::from_secs(3)));
        let ran = resolver.run(&own, &["apply", "servers", "--yes", "--no-persist"])?;
        that(ran.code == 0, || format!("ends with {ran:#?}"))?;
        server.sh("rm /srv/note");
        Ok(())
    });
    trial.case("a resolver that never answers", || {
        let resolver = Resolver::new(server, None);
        let ran = resolver.run(&own, &["apply", "servers", "--yes", "--no-persist"])?;
        let says = "the name `s1.lab.test` cannot be looked up";
        that(ran.code == 4 && ran.stderr.contains(says), || {
            format!("ends with {ran:#?}")
        })
    });
    trial.case("a name that leads to another machine now", || {
        let other = Server::up("other", Image::Bare);
        let before = other.snapshot();
        let resolver = Resolver::new(&other, Some(Duration::ZERO));
        let ran = resolver.run(&own, &["apply", "servers", "--yes", "--no-persist"])?;
        that(ran.code == 4 && ran.stderr.contains("host key"), || {
            format!("ends with {ran:#?}")
        })?;
        that(other.snapshot() == before, || {
            "the other machine was changed".to_owned()
        })
    });
}

/// A resolver that knows one address by every name, on an address of its own of this machine.
struct Resolver {
    folder: tempfile::TempDir,
    asked: Arc<UdpSocket>,
}

impl Resolver {
    /// One that leads to a server, so late or never.
    fn new(server: &Server, late: Option<Duration>) -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(100);
        let process = std::process::id().to_be_bytes();
        // The port is always this one, so the address is nobody else's.
        let at = Ipv4Addr::new(
            127,
            NEXT.fetch_add(1, Ordering::Relaxed),
            process[2],
            process[3],
        );
        let asked = Arc::new(UdpSocket::bind((at, 53)).unwrap());
        let folder = tempfile::tempdir().unwrap();
        // As often and as long as glibc asks by itself, but where nothing ever comes.
        let patience = match late {
            Some(_) => "",
            None => "options timeout:2 attempts:1\n",
        };
        let text = format!("nameserver {at}\n{patience}");
        std::fs::write(folder.path().join("resolv.conf"), text).unwrap();
        let address: Ipv4Addr = server.address.parse().unwrap();
        let answers = Arc::clone(&asked);
        thread::spawn(move || {
            let mut question = [0; 512];
            while let Ok((length, from)) = answers.recv_from(&mut question) {
                // Who stops it asks with nothing.
                if length == 0 {
                    break;
                }
                let Some(late) = late else { continue };
                let answer = Resolver::answer(&question[..length], address);
                let answers = Arc::clone(&answers);
                thread::spawn(move || {
                    thread::sleep(late);
                    let _gone = answers.send_to(&answer, from);
                });
            }
        });
        Resolver { folder, asked }
    }

    /// RFC 1035: the question again, and behind it an address if one was asked for.
    fn answer(question: &[u8], address: Ipv4Addr) -> Vec<u8> {
        let name = question[12..].iter().position(|byte| *byte == 0).unwrap();
        let end = 12 + name + 5;
        let wants_address = question[end - 4..end] == [0, 1, 0, 1];
        let mut answer = question[..end].to_vec();
        answer[2..4].copy_from_slice(&[0x81, 0x80]);
        answer[6..12].copy_from_slice(&[0, u8::from(wants_address), 0, 0, 0, 0]);
        if wants_address {
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
            answer.extend(address.octets());
        }
        answer
    }

    /// A run on a machine that asks it.
    fn run(&self, own: &Own, words: &[&str]) -> Result<Ran, String> {
        let file = self.folder.path().join("resolv.conf");
        let mount = format!("mount --bind {} /etc/resolv.conf", file.display());
        let mut command = mounted(&mount, words);
        command
            .current_dir(own.lab.folder.path())
            .env("XDG_RUNTIME_DIR", own.sockets.path());
        within(&mut command, Duration::from_secs(120))
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        if let Ok(at) = self.asked.local_addr() {
            let _stopped = self.asked.send_to(&[], at);
        }
    }
}
