//! Hosts that lie.

use crate::table::{How, Row, row};

pub const ROWS: &[Row] = &[
    row(
        "F50",
        "300 MB of output, a line of 10 MB, NUL, not UTF-8",
        How::NotYet,
    ),
    row("F51", "escapes in every string a host says", How::NotYet),
    row("F52", "forged frames", How::NotYet),
    row(
        "F53",
        "facts of wrong type or with template syntax",
        How::NotYet,
    ),
    row("F54", "never answers, or drips", How::NotYet),
    row(
        "F55",
        "claims success, claims that everything is absent",
        How::NotYet,
    ),
    row(
        "F56",
        "`sh`, `cat`, `sha256sum`, `stat` are liars",
        How::NotYet,
    ),
    row(
        "F57",
        "labels and names on the engine with escapes",
        How::NotYet,
    ),
    row("F58", "host asks for agent, X11, forwards", How::NotYet),
];
