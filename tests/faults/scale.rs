//! Many hosts at once: accounts of one server, each with folders of its own.

use std::net::TcpStream;
use std::process::Stdio;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use crate::farm::{Farm, Own};
use crate::lab::Ran;
use crate::proxy::Proxy;
use crate::table::{How, Row, row};
use crate::trial::{Trial, begin, ended, kill_group, that};

pub const ROWS: &[Row] = &[
    row("F101", "1,000 hosts, 30 dead", How::Tried(dead)),
    row("F102", "1,000 hosts, killed half way", How::Tried(half)),
    row("F103", "one host a hundred times slower", How::Tried(slow)),
    row("F104", "1,000 noisy hosts at once", How::Tried(noisy)),
];

/// How many hosts there are.
fn count(trial: &Trial) -> usize {
    trial.size(40, 1_000)
}

/// What its sshd is told.
pub const SSHD: &str = "MaxStartups 500\nLoginGraceTime 120";

pub fn farm(trial: &Trial) -> &'static Farm {
    static FARM: OnceLock<Farm> = OnceLock::new();
    let count = count(trial);
    FARM.get_or_init(|| Farm::new("farm", count, SSHD))
}

/// Hosts `s1` and so on, each an account, and a file that all of them have.
fn hosts(farm: &Farm, numbers: std::ops::RangeInclusive<usize>) -> String {
    numbers
        .map(|number| farm.host(&format!("s{number}"), &format!("h{number}"), ""))
        .collect()
}

fn file(name: &str) -> String {
    format!("[file.\"/srv/{name}\"]\non = \"all\"\ncontent = \"{name}\\n\"\n")
}

/// An address at which nobody answers anything: a port whose queue is full.
struct Dark {
    port: u16,
    _listener: tokio::net::TcpListener,
    _queue: Vec<TcpStream>,
    _runtime: tokio::runtime::Runtime,
}

impl Dark {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let listener = {
            let _inside = runtime.enter();
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
            socket.listen(1).unwrap()
        };
        let address = listener.local_addr().unwrap();
        let mut queue = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
            queue.push(stream);
            assert!(queue.len() < 100, "the queue of a port is never full");
        }
        Dark {
            port: address.port(),
            _listener: listener,
            _queue: queue,
            _runtime: runtime,
        }
    }
}

/// The most memory and the most files that a process had, looked at until it ends.
#[derive(Debug, Default)]
struct Most {
    memory: u64,
    files: usize,
}

/// Runs a command to its end and sees what it takes.
fn measured(own: &Own, words: &[&str], deadline: Duration) -> Result<(Ran, Most), String> {
    let child = begin(&mut own.command(words))?;
    let folder = format!("/proc/{}", child.id());
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = Most::default();
            loop {
                let status = std::fs::read_to_string(format!("{folder}/status"));
                let peak = status.unwrap_or_default();
                let peak = peak.lines().find_map(|line| line.strip_prefix("VmHWM:"));
                let Some(peak) = peak else { return most };
                let kib = peak.trim().trim_end_matches(" kB").parse().unwrap_or(0);
                most.memory = most.memory.max(kib);
                let files = std::fs::read_dir(format!("{folder}/fd"));
                most.files = most.files.max(files.map_or(0, Iterator::count));
                thread::sleep(Duration::from_millis(20));
            }
        });
        let ran = ended(child, deadline)?;
        Ok((ran, watch.join().unwrap()))
    })
}

fn dead(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let farm = farm(trial);
    let each = trial.size(1, 10);
    let alive = farm.count - 3 * each - usize::from(!trial.all);
    let dark = Dark::new();
    let mut text = hosts(farm, 1..=alive);
    let mut lost = Vec::new();
    for number in 1..=each {
        text += &farm.host(&format!("refuses{number}"), "h1", "port = 1\n");
        lost.push((format!("refuses{number}"), "nobody listens"));
        let port = format!("port = {}\n", dark.port);
        let silent = farm.host(&format!("dark{number}"), "h1", &port);
        text += &silent.replace(&farm.server.address, "127.0.0.1");
        lost.push((format!("dark{number}"), "does not answer"));
        text += &farm.host(&format!("hangs{number}"), &format!("m{number}"), "");
        lost.push((format!("hangs{number}"), "let us in but says nothing"));
    }
    if !trial.all {
        text += &farm.host("refuses2", "h1", "port = 1\n");
        lost.push(("refuses2".to_owned(), "nobody listens"));
    }
    let own = Own::new(&format!("{text}{}", file("dead")));
    let words = ["apply", "servers", "--yes", "--no-persist"];
    let begun = Instant::now();
    let mut most = Most::default();
    trial.case(
        format!("{alive} hosts and {} dead ones", lost.len()),
        || {
            let (ran, took) = measured(&own, &words, Duration::from_secs(900))?;
            most = took;
            that(ran.code == 4, || format!("ends with {ran:#?}"))?;
            let having = farm.having("dead");
            that(having == alive, || format!("{having} of {alive} are done"))?;
            let named: Vec<&str> = ran
                .stderr
                .lines()
                .filter(|line| line.starts_with("error: ") && line.contains("cannot be reached"))
                .collect();
            that(named.len() == lost.len(), || {
                format!("{} of {} are named: {named:#?}", named.len(), lost.len())
            })?;
            for (name, why) in &lost {
                let about = named
                    .iter()
                    .find(|line| line.contains(&format!("`{name}`")));
                that(about.is_some_and(|line| line.contains(why)), || {
                    format!("`{name}` is not named with `{why}`: {about:?}")
                })?;
            }
            Ok(())
        },
    );
    trial.note(format!(
        "{} hosts, {} dead: {:.0} s, {} MiB, {} files open at most",
        alive + lost.len(),
        lost.len(),
        begun.elapsed().as_secs_f64(),
        most.memory / 1024,
        most.files
    ));
    trial.case("memory", || {
        that(most.memory < 512 * 1024, || format!("{} KiB", most.memory))
    });
    let times = trial.size(2, 10);
    trial.case(format!("{times} more runs leave nothing open"), || {
        let mut files = Vec::new();
        for _ in 0..times {
            let plan = [
                "plan",
                "servers",
                "--no-persist",
                "--host",
                "s1",
                "--host",
                "s2",
                "--host",
                "refuses1",
            ];
            let (ran, most) = measured(&own, &plan, Duration::from_secs(300))?;
            that(ran.code == 4, || format!("ends with {ran:#?}"))?;
            files.push(most.files);
        }
        let left = own.left();
        that(left.is_empty(), || format!("left over: {left:?}"))
    });
}

fn half(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let farm = farm(trial);
    let count = trial.size(16, farm.count);
    let own = Own::new(&format!("{}{}", hosts(farm, 1..=count), file("half")));
    trial.case(
        format!("{} hosts, killed when half are done", count),
        || {
            use std::os::unix::process::CommandExt as _;
            let mut child = own
                .command(&["apply", "servers", "--yes", "--no-persist"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .process_group(0)
                .spawn()
                .map_err(|error| error.to_string())?;
            let begun = Instant::now();
            while farm.having("half") * 2 < count {
                let over = child.try_wait().map_err(|error| error.to_string())?;
                if over.is_some() || begun.elapsed() > Duration::from_secs(900) {
                    kill_group("KILL", child.id());
                    return Err(format!("it never was half done: {over:?}"));
                }
            }
            kill_group("KILL", child.id());
            let _ = child.wait();
            // What was begun comes to its end.
            let mut done = farm.having("half");
            loop {
                thread::sleep(Duration::from_secs(2));
                let now = farm.having("half");
                if now == done {
                    break;
                }
                done = now;
            }
            let stat = "stat -c '%n %i %y' /hosts/*/srv/half | sort";
            let before = farm.server.sh(stat);
            let plan = own.run(&["plan", "servers", "--json", "--no-persist"], 600)?;
            let left = plan.changes().len();
            that(left == count - done, || {
                format!("{done} are done, and {left} of {} are planned", count)
            })?;
            let again = own.apply(900)?;
            that(again.code == 0, || format!("ends with {again:#?}"))?;
            let after = farm.server.sh(stat);
            let touched = before.lines().filter(|line| !after.contains(*line)).count();
            that(touched == 0, || format!("{touched} were touched again"))?;
            let having = farm.having("half");
            that(having == count, || format!("only {having} are done"))?;
            let plan = own.run(
                &["plan", "servers", "--detailed-exitcode", "--no-persist"],
                600,
            )?;
            that(plan.code == 0, || format!("still to do: {plan:#?}"))
        },
    );
}

fn slow(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let farm = farm(trial);
    let proxy = Proxy::before(&farm.server);
    let others = trial.size(12, farm.count - 1);
    let last = others + 1;
    let late = farm
        .host(
            "late",
            &format!("h{last}"),
            &format!("port = {}\n", proxy.port),
        )
        .replace(&farm.server.address, "127.0.0.1")
        .replace("\"all\"", "\"slow\"");
    // What it does there is over when all others are done, and not before: whoever waited for it would wait for ever.
    let until = format!(
        "[file.\"/srv/slow\"]\non = \"slow\"\ncontent = \"slow\\n\"\nvalidate = [\"sh\", \"-c\", \"until [ $(ls /hosts/h*/srv/late | wc -l) = {others} ]; do sleep 0.2; done\", \"sh\", \"{{}}\"]\n"
    );
    let own = Own::new(&format!(
        "{}{late}{}{until}",
        hosts(farm, 1..=others),
        file("late")
    ));
    trial.case(format!("{others} hosts and a slow one"), || {
        // A trip to the others takes some milliseconds here.
        proxy.delay(Duration::from_millis(500), Duration::ZERO);
        let ran = own.apply(900)?;
        that(ran.code == 0, || format!("ends with {ran:#?}"))?;
        let done = ran
            .stderr
            .lines()
            .filter(|line| line.contains(": done in "));
        let done: Vec<&str> = done.collect();
        that(done.len() == last, || format!("{} are done", done.len()))?;
        that(done[others].starts_with("file.late:/srv/slow:"), || {
            format!("the slow one was waited for: {done:#?}")
        })
    });
}

fn noisy(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let farm = farm(trial);
    let count = trial.size(16, farm.count);
    let text = "[file.\"/srv/noisy\"]\non = \"all\"\ncontent = \"x\"\nvalidate = [\"sh\", \"-c\", \"for n in 1 2 3 4 5 6 7 8; do printf 'noise of %s, ' \\\"$FARM\\\"; printf 'line %s of %s\\\\n' \\\"$n\\\" \\\"$FARM\\\"; done >&2; exit 1\", \"sh\", \"{}\"]\n";
    let own = Own::new(&format!("{}{text}", hosts(farm, 1..=count)));
    trial.case(format!("{} hosts", count), || {
        let ran = own.apply(900)?;
        that(ran.code == 1, || format!("ends with {ran:#?}"))?;
        let mut lines = 0;
        for line in ran.stderr.lines().filter(|line| line.contains("noise of ")) {
            let from = line.split("noise of ").nth(1).unwrap_or_default();
            let (host, rest) = from.split_once(", ").unwrap_or_default();
            let whole = rest
                .strip_prefix("line ")
                .and_then(|rest| rest.split_once(" of "))
                .is_some_and(|(number, end)| number.len() == 1 && end.trim_end() == host);
            that(whole && line.matches("noise of ").count() == 1, || {
                format!("mixed: {line:?}")
            })?;
            if let Some(id) = line.split("file.s").nth(1) {
                let number = id.split(':').next().unwrap_or_default();
                that(host == format!("h{number}"), || {
                    format!("said of another host: {line:?}")
                })?;
            }
            lines += 1;
        }
        that(lines >= 8 * count, || {
            format!("only {lines} lines of noise came")
        })
    });
}
