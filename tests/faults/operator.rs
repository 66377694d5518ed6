//! The operator's side: signals, terminals, files and plans here.

use crate::table::{How, Row, row};

pub const ROWS: &[Row] = &[
    row("F03", "SIGINT once, in the middle of an apply", How::NotYet),
    row("F04", "SIGINT twice", How::NotYet),
    row("F05", "SIGTERM, SIGHUP", How::NotYet),
    row("F06", "SIGSTOP, then CONT", How::NotYet),
    row("F07", "stdout closed", How::NotYet),
    row("F08", "stdout is `/dev/full`", How::NotYet),
    row("F09", "disk full, no inodes, read-only home", How::NotYet),
    row("F10", "stale plan: the host changed", How::NotYet),
    row("F11", "stale plan: file or template changed", How::NotYet),
    row("F12", "a byte of a plan changed", How::NotYet),
    row(
        "F13",
        "plan for another environment, or an old one again",
        How::NotYet,
    ),
    row(
        "F14",
        "plan file is a symlink, open to all, a fifo",
        How::NotYet,
    ),
    row(
        "F20",
        "odd locale, umask, no HOME, no TTY, closed stdin",
        How::NotYet,
    ),
    row("F22", "few descriptors, few processes", How::NotYet),
    row("F85", "a crash with secrets in memory", How::NotYet),
];
