//! Rows of parts that come with later issues.

use crate::table::{How, Row, row};

pub const ROWS: &[Row] = &[
    row(
        "F59",
        "backup larger than declared, path in its name",
        How::NotHere("backups come later"),
    ),
    row(
        "F80",
        "Vault sealed, refusing, failing",
        How::NotHere("no Vault yet"),
    ),
    row(
        "F81",
        "AWS Secrets Manager failing",
        How::NotHere("no AWS yet"),
    ),
    row(
        "F82",
        "age: wrong key, damaged file",
        How::NotHere("no age yet"),
    ),
    row("F87", "release fails", How::NotHere("no releases yet")),
    row(
        "F89",
        "no release to go back to",
        How::NotHere("no releases yet"),
    ),
    row("F90", "damaged dump", How::NotHere("backups come later")),
    row(
        "F91",
        "backup killed, disk full",
        How::NotHere("backups come later"),
    ),
    row(
        "F92",
        "retention while backups fail",
        How::NotHere("backups come later"),
    ),
    row(
        "F93",
        "restore into what is not empty",
        How::NotHere("backups come later"),
    ),
    row("F94", "hostile dump", How::NotHere("backups come later")),
    row(
        "F95",
        "stale lock of a backup tool",
        How::NotHere("backups come later"),
    ),
    row(
        "F96",
        "restored data differs",
        How::NotHere("backups come later"),
    ),
    row(
        "F97",
        "backup too old, restore too long",
        How::NotHere("backups come later"),
    ),
    row(
        "F98",
        "monitoring configuration broken",
        How::NotHere("no monitoring yet"),
    ),
    row(
        "F99",
        "load balancer without backends",
        How::NotHere("no load balancer yet"),
    ),
    row(
        "F100",
        "Kubernetes API fails",
        How::NotHere("no Kubernetes yet"),
    ),
];
