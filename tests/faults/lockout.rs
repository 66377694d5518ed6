//! Changes that could lock us out.

use crate::table::{How, Row, row};

pub const ROWS: &[Row] = &[
    row("F75", "`pg_hba.conf` with a broken line", How::NotYet),
    row(
        "F88",
        "link dies while sshd, firewall or sudoers change",
        How::NotYet,
    ),
];
