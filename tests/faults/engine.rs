//! The Docker engine.

use crate::table::{How, Row, row};

pub const ROWS: &[Row] = &[
    row(
        "F35",
        "somebody else's container, volume or network has our name",
        How::NotYet,
    ),
    row("F36", "port taken", How::NotYet),
    row("F37", "image missing, no registry, disk full", How::NotYet),
    row(
        "F38",
        "new container exits, loops, is never healthy",
        How::NotYet,
    ),
    row(
        "F39",
        "container killed while it is made anew, engine restarted",
        How::NotYet,
    ),
    row("F40", "definition of a volume changed", How::NotYet),
    row("F41", "resource taken out of the file", How::NotYet),
    row(
        "F42",
        "socket gone, forbidden, garbage from the engine",
        How::NotYet,
    ),
];
