//! A shell of this machine, as the streams of a session.

use std::process::Stdio;

use tokio::process::Command;

use super::session::{READ_LOOP, Streams};
use crate::command::Sudo;
use crate::error::{Failure, Kind};

/// Starts it: as root, by sudo where we are somebody else.
pub(super) fn shell(sudo: &Sudo) -> Result<Streams, Failure> {
    let by_sudo = matches!(sudo, Sudo::Free) && uid() != 0;
    let mut command = match by_sudo {
        true => {
            let mut command = Command::new("sudo");
            command.args(["-n", "/bin/sh"]);
            command
        }
        false => Command::new("/bin/sh"),
    };
    // A group of its own: an interrupt is ours to handle.
    let started = command
        .args(["-c", READ_LOOP])
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = started.map_err(|error| {
        let what = if by_sudo { "sudo" } else { "/bin/sh" };
        let failure = Failure::new(
            Kind::Unreachable,
            format!("no shell of this machine: `{what}` cannot be started: {error}"),
        );
        match by_sudo {
            true => failure.hint("run it as root, or install sudo"),
            false => failure,
        }
    })?;
    let no_pipe = || Failure::new(Kind::Unreachable, "a shell of this machine has no streams");
    Ok(Streams {
        input: Box::new(child.stdin.take().ok_or_else(no_pipe)?),
        out: Box::new(child.stdout.take().ok_or_else(no_pipe)?),
        err: Box::new(child.stderr.take().ok_or_else(no_pipe)?),
        hold: Box::new(child),
    })
}

/// Who we are.
pub(super) fn uid() -> u32 {
    rustix::process::getuid().as_raw()
}

/// How many files we may have open; `None`: as many as we like.
pub(super) fn files() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}
