//! One row while it is tried: its cases are counted, a panic is a failed case, and the next one goes on.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt::Display;
use std::ops::Range;
use std::panic::{self, AssertUnwindSafe};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::lab::{self, Ran, canary};
use crate::secrets;

thread_local! {
    static SAID: RefCell<Option<String>> = const { RefCell::new(None) };
    static LISTENS: RefCell<bool> = const { RefCell::new(false) };
}

/// Panics of a case are kept for its report; others are printed as always.
pub fn listen_to_panics() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if LISTENS.with_borrow(|listens| *listens) {
            SAID.with_borrow_mut(|said| *said = Some(info.to_string()));
        } else {
            before(info);
        }
    }));
}

/// What somebody says by ending well, by an error or by a panic.
fn heard(what: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let before = LISTENS.with_borrow_mut(|listens| std::mem::replace(listens, true));
    let came = panic::catch_unwind(AssertUnwindSafe(what));
    LISTENS.with_borrow_mut(|listens| *listens = before);
    came.unwrap_or_else(|_| {
        let said = SAID.with_borrow_mut(Option::take);
        Err(said.unwrap_or_else(|| "a panic".to_owned()))
    })
}

/// Numbers that look random and are the same for a seed (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64, name: &str) -> Self {
        let mut random = Random(seed);
        for byte in name.bytes() {
            random.0 = random.0.wrapping_mul(31).wrapping_add(u64::from(byte));
            random.next();
        }
        random
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below another; 0 below 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % (end.max(1) as u64)) as usize
    }

    /// One of some.
    pub fn one<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// Some different numbers of a range, in order; all of it where it has no more.
    pub fn several(&mut self, from: Range<u64>, count: usize) -> Vec<u64> {
        let length = from.end.saturating_sub(from.start);
        if length <= count as u64 {
            return from.collect();
        }
        let mut taken = HashSet::new();
        while taken.len() < count {
            taken.insert(from.start + self.next() % length);
        }
        let mut taken: Vec<u64> = taken.into_iter().collect();
        taken.sort_unstable();
        taken
    }
}

/// A row while it is tried.
#[derive(Debug)]
pub struct Trial {
    pub id: &'static str,
    pub seed: u64,
    /// Every case at full size, in place of a sample.
    pub all: bool,
    pub random: Random,
    pub tried: u64,
    pub survived: u64,
    pub failures: Vec<String>,
    /// Why it was not tried here, or not all of it.
    pub skipped: Option<String>,
    /// Figures for the table, as in `2,000 cases in 3 s`.
    pub notes: Vec<String>,
}

impl Trial {
    pub fn new(id: &'static str, seed: u64, all: bool) -> Self {
        Trial {
            id,
            seed,
            all,
            random: Random::new(seed, id),
            tried: 0,
            survived: 0,
            failures: Vec::new(),
            skipped: None,
            notes: Vec::new(),
        }
    }

    /// Tries one case: an error or a panic is a failure, and the row goes on.
    pub fn case(&mut self, name: impl Display, case: impl FnOnce() -> Result<(), String>) {
        self.tried += 1;
        match heard(case) {
            Ok(()) => self.survived += 1,
            Err(why) => self.failures.push(format!("{name}: {why}")),
        }
    }

    /// The whole row; what panics outside a case is a failed case, and so is a secret found meanwhile.
    pub fn row(&mut self, row: fn(&mut Trial)) {
        let came = heard(|| {
            row(self);
            Ok(())
        });
        if let Err(why) = came {
            self.tried += 1;
            self.failures.push(format!("the row itself: {why}"));
        }
        let leaks = secrets::leaks();
        self.tried += u64::from(!leaks.is_empty());
        self.failures.extend(leaks);
        if self.tried == 0 && self.skipped.is_none() {
            self.failures.push("nothing was tried".to_owned());
        }
    }

    /// Whether there is a Docker engine; without one the row is left out, loudly.
    pub fn engine(&mut self) -> bool {
        let there = lab::engine();
        if !there {
            self.skipped = Some("no Docker engine answers".to_owned());
        }
        there
    }

    /// A number for a sample, another for everything.
    pub fn size(&self, few: usize, all: usize) -> usize {
        if self.all { all } else { few }
    }

    /// Some of a list, in its order; all of it with `--all`.
    pub fn sample<T: Clone>(&mut self, from: &[T], few: usize) -> Vec<T> {
        let chosen = self.numbers(0..from.len() as u64, few);
        let chosen = chosen.iter().map(|at| from[*at as usize].clone());
        chosen.collect()
    }

    /// Some numbers of a range, in order; all of it with `--all`.
    pub fn numbers(&mut self, from: Range<u64>, few: usize) -> Vec<u64> {
        let count = if self.all { usize::MAX } else { few };
        self.random.several(from, count)
    }

    pub fn note(&mut self, note: impl Display) {
        self.notes.push(note.to_string());
    }

    pub fn is_red(&self) -> bool {
        !self.failures.is_empty()
    }
}

/// An error unless something holds.
pub fn that(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}

/// Starts a program in a process group of its own, whose output is kept.
pub fn begin(command: &mut Command) -> Result<Child, String> {
    use std::os::unix::process::CommandExt as _;
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("{command:?}: {error}"))
}

/// `provision` with what a line of shell has mounted for nobody else.
pub fn mounted(mount: &str, words: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["-m", "sh", "-c", &format!("{mount} && exec \"$@\""), "sh"])
        .arg(env!("CARGO_BIN_EXE_provision"))
        .args(words)
        .stdin(Stdio::null());
    command
}

/// Runs a program in a process group of its own; what is not over by then is killed and an error.
pub fn within(command: &mut Command, deadline: Duration) -> Result<Ran, String> {
    let ran = ended(begin(command)?, deadline)?;
    canary::hear(command, &ran);
    Ok(ran)
}

/// The same for what runs already and leads its process group.
pub fn ended(mut child: Child, deadline: Duration) -> Result<Ran, String> {
    let group = child.id();
    let begun = Instant::now();
    let (out, err) = (child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        let out = scope.spawn(|| out.map(read).unwrap_or_default());
        let err = scope.spawn(|| err.map(read).unwrap_or_default());
        let status = loop {
            match child.try_wait().map_err(|error| error.to_string())? {
                Some(status) => break Some(status),
                None if begun.elapsed() > deadline => break None,
                None => thread::sleep(Duration::from_millis(5)),
            }
        };
        if status.is_none() {
            kill_group("KILL", group);
            let _ = child.wait();
        }
        let (stdout, stderr) = (out.join().unwrap(), err.join().unwrap());
        match status {
            Some(status) => Ok(Ran::of(std::process::Output {
                status,
                stdout,
                stderr,
            })),
            None => Err(format!(
                "not over within {deadline:?}\nstdout:\n{}\nstderr:\n{}",
                String::from_utf8_lossy(&stdout),
                String::from_utf8_lossy(&stderr)
            )),
        }
    })
}

fn read(mut from: impl std::io::Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = from.read_to_end(&mut bytes);
    bytes
}

/// Sends a signal to a process group, as in `kill_group("INT", child.id())`.
pub fn kill_group(signal: &str, group: u32) {
    let _ = Command::new("kill")
        .args(["-s", signal, "--", &format!("-{group}")])
        .stderr(Stdio::null())
        .status();
}
