//! One file a subcommand, each a straight line of calls. Commands decide nothing about resources; they load, look, show, act.

pub mod adopt;
pub mod apply;
pub mod audit;
pub mod destroy;
pub mod doctor;
pub mod env;
pub mod explain;
pub mod forward;
pub mod import;
pub mod init;
pub mod interrupt;
mod journal;
mod look;
mod memory;
pub mod output;
pub mod plan;
mod progress;
pub mod render;
pub mod schema;
pub mod service;
pub mod status;
pub mod trust;
pub mod validate;
pub mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::error::{Failure, Kind};
use crate::target::Reach;
use interrupt::Interrupt;
pub use look::Wishes;
use output::Output;

/// What every command has.
#[derive(Debug)]
pub struct Context {
    /// The folder of environments.
    pub dir: PathBuf,
    /// How much is told, from 0.
    pub verbose: u8,
    /// How machines are reached.
    pub reach: Reach,
    /// The one voice.
    pub output: Output,
    /// Who ends it early.
    pub interrupt: Interrupt,
}

/// How a command ends: an exit code, or what went wrong.
pub type End = Result<u8, Failure>;

/// The exit code of the strongest of some bad ends; 0 if there is none.
fn code(kinds: impl IntoIterator<Item = Kind>) -> u8 {
    Kind::strongest(kinds).map_or(0, Kind::code)
}

/// Runs a command to its end and makes the process's exit code of it.
pub fn finish(context: &Context, command: impl Future<Output = End>) -> ExitCode {
    let runtime = threads().and_then(|()| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .enable_all()
            .build()
    });
    let end = match runtime {
        Ok(runtime) => {
            let end = runtime.block_on(async {
                context.interrupt.listen()?;
                tokio::select! {
                    biased;
                    end = command => end,
                    failure = context.interrupt.at_once() => Err(failure),
                }
            });
            // A thread that still reads stdin or a file must not keep the process.
            runtime.shutdown_background();
            end
        }
        Err(error) => Err(Failure::new(Kind::Failed, format!("cannot start: {error}"))
            .hint("more open files and processes may be needed: see `ulimit -n` and `ulimit -u`")),
    };
    let code = match end {
        Ok(code) => code,
        Err(failure) => {
            context.output.fail(&failure);
            failure.kind.code()
        }
    };
    // What was asked for could not be delivered: no success.
    let code = match context.output.lost() {
        Some(failure) => {
            context.output.fail(&failure);
            if code == 0 { failure.kind.code() } else { code }
        }
        None => code,
    };
    ExitCode::from(code)
}

/// Threads that carry everything out.
const WORKERS: usize = 2;

/// Whether there can be as many threads as will be needed, and one that starts programs: a runtime that gets too few panics and may
/// hang.
fn threads() -> std::io::Result<()> {
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..WORKERS + 4)
            .map(|_| {
                let (end, ended) = std::sync::mpsc::channel::<()>();
                let wait = move || {
                    let _end = ended.recv();
                };
                let started = std::thread::Builder::new().spawn_scoped(scope, wait);
                started.map(|_| end)
            })
            .collect();
        // All of them have been there at once; each ends with its channel.
        all.into_iter().try_for_each(|one| one.map(drop))
    })
}
