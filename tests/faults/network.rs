//! Connections and SSH.

use crate::table::{How, Row, row};

pub const ROWS: &[Row] = &[
    row("F24", "connection cut at byte n of the script", How::NotYet),
    row("F25", "black hole in the middle of a step", How::NotYet),
    row(
        "F26",
        "reset, sshd killed or restarted, reboot",
        How::NotYet,
    ),
    row("F27", "loss, little bandwidth, jitter", How::NotYet),
    row("F28", "host key changed, unknown, revoked", How::NotYet),
    row(
        "F29",
        "login refused, key with a passphrase, no key",
        How::NotYet,
    ),
    row("F30", "MaxStartups, MaxSessions", How::NotYet),
    row("F31", "chatty shells, banners, MOTD", How::NotYet),
    row("F32", "odd login shells", How::NotYet),
    row("F33", "sudo that wants something", How::NotYet),
    row("F34", "jump host dies, no name, IPv6 only", How::NotYet),
];
