//! Deaths at every effect, two at once, clocks and formats.

use crate::table::{How, Row, row};

pub const ROWS: &[Row] = &[
    row("F01", "client killed at effect k", How::NotYet),
    row(
        "F02",
        "remote shell killed before its k-th command",
        How::NotYet,
    ),
    row("F15", "two applies at once, one operator", How::NotYet),
    row("F16", "two operators", How::NotYet),
    row(
        "F17",
        "client killed, remote still running, second apply",
        How::NotYet,
    ),
    row("F18", "reboot with the lock held", How::NotYet),
    row("F19", "clocks that are wrong or jump", How::NotYet),
    row("F21", "newer and older formats of our files", How::NotYet),
    row("F23", "client out of memory", How::NotYet),
];
