//! What is given to us: files, plans, templates.

use crate::table::{How, Row, row};

pub const ROWS: &[Row] = &[
    row("F60", "random and mutated TOML", How::NotYet),
    row(
        "F61",
        "bombs of nesting, dotted keys and headers",
        How::NotYet,
    ),
    row("F62", "huge and special files", How::NotYet),
    row("F63", "duplicate keys, twins, odd values", How::NotYet),
    row("F64", "syntax error on the line of a password", How::NotYet),
    row("F65", "circles and long chains of `extends`", How::NotYet),
    row("F66", "resources that contradict each other", How::NotYet),
    row("F67", "path traversal in every name", How::NotYet),
    row("F68", "templates without end", How::NotYet),
    row(
        "F69",
        "failing template with a secret in scope",
        How::NotYet,
    ),
];
