//! The server's own system and packages.

use crate::table::{How, Row, row};

pub const ROWS: &[Row] = &[
    row("F43", "disk of the server full at each write", How::NotYet),
    row(
        "F44",
        "read-only file system, immutable file, `/tmp` noexec",
        How::NotYet,
    ),
    row("F45", "apt locked, dpkg interrupted", How::NotYet),
    row("F46", "package missing, repository broken", How::NotYet),
    row(
        "F47",
        "links, fifos, folders planted at our paths",
        How::NotYet,
    ),
    row("F48", "unit fails, flaps, is masked", How::NotYet),
    row(
        "F49",
        "user is there otherwise, somebody edits meanwhile",
        How::NotYet,
    ),
];
