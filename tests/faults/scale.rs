//! A thousand hosts.

use crate::table::{How, Row, row};

pub const ROWS: &[Row] = &[
    row("F101", "1,000 hosts, 30 dead", How::NotYet),
    row("F102", "1,000 hosts, killed half way", How::NotYet),
    row("F103", "one host a hundred times slower", How::NotYet),
    row("F104", "1,000 noisy hosts at once", How::NotYet),
];
