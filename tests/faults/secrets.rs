//! Secrets: rotated meanwhile, and looked for everywhere.

use crate::table::{How, Row, row};

pub const ROWS: &[Row] = &[
    row("F83", "secret rotated between plan and apply", How::NotYet),
    row(
        "F86",
        "scan of everything said, written and run",
        How::NotYet,
    ),
];
