//! Databases, and values through the real parsers.

use crate::table::{How, Row, row};

pub const ROWS: &[Row] = &[
    row("F70", "odd values in each target format", How::NotYet),
    row(
        "F71",
        "PostgreSQL stopped, starting, in recovery, full",
        How::NotYet,
    ),
    row("F72", "connection dies between statements", How::NotYet),
    row("F73", "roles and databases of somebody else", How::NotYet),
    row(
        "F74",
        "password changed, statement failed: nothing in the logs",
        How::NotYet,
    ),
    row("F76", "change needs a restart, restart fails", How::NotYet),
    row(
        "F77",
        "MariaDB: no socket, root by password, killed half way",
        How::NotYet,
    ),
    row("F78", "versions that do not match", How::NotYet),
    row("F79", "another database behind the port", How::NotYet),
    row("F84", "odd secrets", How::NotYet),
];
