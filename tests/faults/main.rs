//! The fault table: what must never go wrong, tried. `cargo test --test faults` tries a sample of every row and prints the table
//! `fault | what | tried | survived`.
//!
//! Words after `--`: ids of rows (`F24 F25`) try only those; `--all` tries every case at full size; `--seed N` repeats a sample;
//! `--list` shows the rows; `--breakages [NAME...]` breaks our own code on purpose and wants the rows to turn red. What
//! `cargo test` gives to every binary (a word to choose by, `--nocapture`) is understood. With `UPDATE=1` a run of all rows writes
//! the table of the README.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    dead_code,
    reason = "a row fails by panicking, prints what came of it, and shares the tests' lab"
)]

mod breakages;
#[path = "../lab/mod.rs"]
mod lab;
mod options;
#[path = "../lab/proxy.rs"]
mod proxy;
mod table;
mod trial;

mod databases;
mod deaths;
mod engine;
mod farm;
mod hostile;
mod input;
mod later;
mod lockout;
mod network;
mod operator;
mod quoting;
mod scale;
mod second;
mod secrets;
mod system;

use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

use options::Options;

fn main() -> ExitCode {
    if lab::is_deaf() {
        // Signals are part of many rows.
        let own = std::env::current_exe().unwrap();
        let mut again = lab::hearing(own.to_str().unwrap());
        let error = again.args(std::env::args_os().skip(1)).exec();
        eprintln!("started with signals ignored, and cannot undo that: {error}");
        return ExitCode::FAILURE;
    }
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(mistake) => {
            eprintln!("{mistake}");
            return ExitCode::from(2);
        }
    };
    let mut wrong = table::mistakes();
    if !options.broken {
        wrong.extend(breakages::mistakes());
    }
    if !wrong.is_empty() {
        println!("the table is wrong:\n{}", wrong.join("\n"));
        return ExitCode::FAILURE;
    }
    let good = if options.list {
        table::list();
        true
    } else if options.breakages {
        breakages::try_all(&options.words)
    } else {
        table::run(&options)
    };
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
