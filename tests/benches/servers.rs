//! What servers cost, measured with one command: `cargo bench --bench servers`. Ten real servers of the role in `role/`, beside
//! what somebody does by hand with bare ssh; ratios are of medians in one run, each measured in turn with what it is compared to.
//! Words after `--` choose what is measured: `first` (first applies), `near`, `far` (50 ms of round trip), `many` (100 hosts).
//! Each figure stands beside its mark; the marks that were missed are named at the end.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    dead_code,
    reason = "a bench prints its figures, stops where it cannot measure, and shares the tests' lab"
)]

#[path = "../lab/mod.rs"]
mod lab;
mod measure;

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use lab::server::{self, Image, Server, ServerLab};
use measure::{median, ms, peak, quiet, ratio, row, timed};

/// How many servers.
const SERVERS: usize = 10;
/// How often each is measured.
const RUNS: usize = 9;
/// What the far servers are away, there and back.
const ROUND_TRIP: Duration = Duration::from_millis(50);
/// How long until what a hundred sessions leave behind is over.
const SETTLING: Duration = Duration::from_secs(3);

const QUESTIONS: &str = include_str!("role/question-sheet.sh");
const FIRST: &str = include_str!("role/first-apply.sh");
const DATABASES: &str = include_str!("role/databases.toml");

fn main() {
    let chosen: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let wants = |word: &str| chosen.is_empty() || chosen.iter().any(|one| one == word);
    if !lab::engine() {
        println!("left out: what needs a Docker engine");
        return;
    }
    let by_hand = wants("first").then(|| {
        let servers = server::several("hand", Image::Full, SERVERS);
        let script = format!("KEY='{}'\n{FIRST}", public_key().trim());
        timed(1, || at_once(&seats(&servers), "sudo sh -s", &script))
    });
    let servers = server::several("role", Image::Full, SERVERS);
    let lab = role(&seats(&servers), DATABASES);
    let first = timed(1, || quiet(&mut apply(&lab)));
    let mut marks = Marks::default();
    if let Some(by_hand) = by_hand {
        row(
            "first apply by hand: one script on all ten at once",
            &ms(by_hand),
            "",
        );
        marks.row(
            "first `apply` of ten servers",
            first,
            "the script",
            by_hand,
            1.2,
        );
    }
    quiet(&mut plan(&lab));
    if wants("near") {
        no_op("", &lab, &seats(&servers), &mut marks);
    }
    if wants("far") {
        let far: Vec<Seat> = servers.iter().map(Seat::far).collect();
        no_op(" with 50 ms", &role(&far, DATABASES), &far, &mut marks);
    }
    if wants("many") {
        many(&servers, &mut marks);
    }
    match marks.missed.is_empty() {
        true => println!("all marks are met"),
        false => println!("missed: {}", marks.missed.join("; ")),
    }
}

/// The marks, and which of them were missed.
#[derive(Default)]
struct Marks {
    missed: Vec<String>,
}

impl Marks {
    /// A figure as a ratio of another, which it may be at most.
    fn row(&mut self, what: &str, time: Duration, of: &str, other: Duration, most: f64) {
        let ratio = time.as_secs_f64() / other.as_secs_f64();
        row(
            what,
            &format!("{}, {ratio:.2} of {of}", ms(time)),
            &self.mark(what, ratio, most),
        );
    }

    /// A mark, and whether it was missed.
    fn mark(&mut self, what: &str, figure: f64, most: f64) -> String {
        let mark = format!("at most {}", (most * 100.0).round() / 100.0);
        if figure <= most {
            return mark;
        }
        self.missed.push(format!("{what} ({figure:.2}, {mark})"));
        format!("{mark}: missed")
    }
}

/// Where a server is reached.
#[derive(Clone)]
struct Seat {
    address: String,
    port: u16,
    host_key: String,
}

fn seats(servers: &[Server]) -> Vec<Seat> {
    servers
        .iter()
        .map(|server| Seat {
            address: server.address.clone(),
            port: 22,
            host_key: server.host_key.clone(),
        })
        .collect()
}

impl Seat {
    /// The same server, [`ROUND_TRIP`] away.
    fn far(server: &Server) -> Self {
        Seat {
            address: "127.0.0.1".to_owned(),
            port: delayed(format!("{}:22", server.address)),
            host_key: server.host_key.clone(),
        }
    }
}

fn public_key() -> String {
    std::fs::read_to_string(server::key().with_extension("pub")).unwrap()
}

/// The environment `role` with hosts `h1`, `h2` and so on, and databases for each, whose name stands in place of `HOST`.
fn role(seats: &[Seat], databases: &str) -> ServerLab {
    let mut text = String::new();
    for (number, seat) in (1..).zip(seats) {
        write!(
            text,
            "[host.h{number}]\naddress = \"{}\"\nport = {}\nuser = \"deploy\"\nidentity = \"{}\"\nhost_key = \"{}\"\nsudo = true\ngroups = [\"role\"]\n",
            seat.address,
            seat.port,
            server::key().display(),
            seat.host_key
        )
        .unwrap();
        text.push_str(&databases.replace("HOST", &format!("h{number}")));
    }
    let lab = ServerLab::with(&text);
    let role = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/benches/role");
    lab::copy(
        &role.join("templates"),
        &lab.folder.path().join("environments/templates"),
    );
    lab.write(
        "role.toml",
        &std::fs::read_to_string(role.join("role.toml")).unwrap(),
    );
    lab.write("deploy.pub", &public_key());
    lab
}

fn apply(lab: &ServerLab) -> Command {
    lab.command(&["apply", "role", "--yes"])
}

fn plan(lab: &ServerLab) -> Command {
    lab.command(&["plan", "role", "--detailed-exitcode"])
}

/// The plan of somebody whose connections are not there yet.
fn cold(lab: &ServerLab) -> Command {
    lab.command(&["plan", "role", "--detailed-exitcode", "--no-persist"])
}

/// One command on every server at once over bare ssh, a script as its stdin. A login that the server dropped because too many
/// came at once is tried again, as somebody would.
fn at_once(seats: &[Seat], command: &str, script: &str) {
    let folder = tempfile::tempdir().unwrap();
    let known = folder.path().join("known_hosts");
    let lines = seats.iter().map(|seat| {
        format!(
            "[{}]:{} {}\n{} {}\n",
            seat.address, seat.port, seat.host_key, seat.address, seat.host_key
        )
    });
    // Several servers behind one address are told apart by their ports.
    std::fs::write(&known, lines.collect::<String>()).unwrap();
    thread::scope(|scope| {
        for seat in seats {
            let known = known.display();
            scope.spawn(move || {
                for tried in 1.. {
                    let mut child = Command::new("ssh")
                        .args([
                            "-F",
                            "none",
                            "-o",
                            "BatchMode=yes",
                            "-o",
                            "IdentitiesOnly=yes",
                        ])
                        .args([
                            "-o",
                            &format!("UserKnownHostsFile={known}"),
                            "-p",
                            &seat.port.to_string(),
                        ])
                        .arg("-i")
                        .arg(server::key())
                        .args([&format!("deploy@{}", seat.address), command])
                        .stdin(Stdio::piped())
                        .stdout(Stdio::piped())
                        .stderr(Stdio::piped())
                        .spawn()
                        .unwrap();
                    let mut stdin = child.stdin.take().unwrap();
                    let _closed = stdin.write_all(script.as_bytes());
                    drop(stdin);
                    let output = child.wait_with_output().unwrap();
                    match output.status.code() {
                        Some(0) => return,
                        Some(255) if tried < 10 => {}
                        _ => panic!("{command}: {}", String::from_utf8_lossy(&output.stderr)),
                    }
                }
            });
        }
    });
}

/// What looking costs where nothing is to be done: everything in turn, so that it meets the same machine.
fn no_op(how: &str, lab: &ServerLab, seats: &[Seat], marks: &mut Marks) {
    let (mut bares, mut hands, mut colds) = (Vec::new(), Vec::new(), Vec::new());
    let (mut kepts, mut applies) = (Vec::new(), Vec::new());
    // Who has no connections must not find those that are kept.
    let [apart, kept] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let of = |mut command: Command, folder: &tempfile::TempDir| {
        quiet(command.env("XDG_RUNTIME_DIR", folder.path()));
    };
    of(cold(lab), &apart);
    for _ in 0..RUNS {
        bares.push(timed(1, || at_once(seats, "true", "")));
        hands.push(timed(1, || at_once(seats, "sudo sh -s", QUESTIONS)));
        colds.push(timed(1, || of(cold(lab), &apart)));
        // Kept for a minute, which is over if a round takes long.
        of(plan(lab), &kept);
        kepts.push(timed(1, || of(plan(lab), &kept)));
        applies.push(timed(1, || of(apply(lab), &kept)));
    }
    let (hand, kept, applied) = (median(hands), median(kepts), median(applies));
    row(
        &format!("bare `ssh host true` on all ten at once{how}"),
        &ms(median(bares)),
        "",
    );
    row(
        &format!("the questions by hand, one script, on all ten at once{how}"),
        &ms(hand),
        "",
    );
    let plan = format!("no-op `plan` of ten servers, cold{how}");
    marks.row(&plan, median(colds), "the script", hand, 1.2);
    let plan = format!("no-op `plan` of ten servers, on kept connections{how}");
    marks.row(&plan, kept, "the script", hand, 0.7);
    let apply = format!("no-op `apply` of ten servers{how}");
    marks.row(&apply, applied, "the plan", kept, 1.15);
}

/// A hundred hosts: every server under ten names. Bare ssh does the same, so that both meet the same ten machines.
fn many(servers: &[Server], marks: &mut Marks) {
    for server in servers {
        // A server lets only ten log in at the same time, which would measure who is dropped.
        server.sh(
            "echo 'MaxStartups 200' > /etc/ssh/sshd_config.d/bench.conf && systemctl reload ssh",
        );
    }
    let ten = seats(servers);
    let hundred: Vec<Seat> = ten.iter().flat_map(|seat| vec![seat.clone(); 10]).collect();
    // Of another project, so that nothing is remembered and missed.
    let other = |seats: &[Seat]| {
        let lab = role(seats, "");
        let path = lab.folder.path().join("environments/role.toml");
        let text = std::fs::read_to_string(path).unwrap();
        lab.write(
            "role.toml",
            &text.replace("project = \"", "project = \"many-"),
        );
        lab
    };
    let (few, lots) = (other(&ten), other(&hundred));
    let (mut bare_few, mut bare_lots) = (Vec::new(), Vec::new());
    let (mut plan_few, mut plan_lots) = (Vec::new(), Vec::new());
    // Sessions of the round before that still end would be measured, too.
    let settled = |run: &dyn Fn()| {
        thread::sleep(SETTLING);
        timed(1, run)
    };
    for _ in 0..5 {
        bare_few.push(settled(&|| at_once(&ten, "true", "")));
        plan_few.push(settled(&|| quiet(&mut cold(&few))));
        bare_lots.push(settled(&|| at_once(&hundred, "true", "")));
        plan_lots.push(settled(&|| quiet(&mut cold(&lots))));
    }
    let (bare, bare_few) = (median(bare_lots), median(bare_few));
    row(
        "bare `ssh host true` on 100 hosts at once",
        &format!("{}, {} of ten", ms(bare), ratio(bare, bare_few)),
        "",
    );
    let grows = bare.as_secs_f64() / bare_few.as_secs_f64();
    let what = "no-op `plan` of 100 hosts, cold";
    marks.row(what, median(plan_lots), "ten", median(plan_few), grows);
    let what = "peak memory of that plan, MiB";
    let peak = peak(&mut cold(&lots));
    let mark = marks.mark(what, peak, 128.0);
    row(what, &format!("{peak:.1}"), &mark);
}

/// A port of ours from which every byte takes half of [`ROUND_TRIP`] to the address and as long back, and a connection all of it
/// before its first byte goes: kernels that do this are not everywhere.
fn delayed(to: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for near in listener.incoming() {
            let (near, to) = (near.unwrap(), to.clone());
            thread::spawn(move || {
                thread::sleep(ROUND_TRIP);
                let Ok(far) = TcpStream::connect(to) else {
                    return;
                };
                let _ = (near.set_nodelay(true), far.set_nodelay(true));
                let (near_too, far_too) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                carry(near, far);
                carry(far_too, near_too);
            });
        }
    });
    port
}

/// Carries bytes one way, each half of [`ROUND_TRIP`] later than it came.
fn carry(mut from: TcpStream, mut to: TcpStream) {
    let (send, receive) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        for (due, bytes) in receive {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let due = Instant::now() + ROUND_TRIP / 2;
            if send.send((due, buffer[..count].to_vec())).is_err() {
                break;
            }
        }
    });
}
