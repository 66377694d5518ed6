//! `provision`: one TOML file an environment says what should exist; a planner compares that with what does exist and applies
//! the difference.
//!
//! # One idea
//!
//! What is wanted and what is found are the same struct. Wanted comes from the environment file, found comes from a machine;
//! comparing, showing and the JSON are then written once, for every kind of thing.
//!
//! ```text
//! environment file ─load─> services ─expand─> resources ─order─> observe ─> plan ─> show
//!                                                                   │          └─> apply ─> show
//!                                                              one question sheet
//! ```
//!
//! Deciding happens on values in memory: `services`, `resources`, `graph`, `plan`, `template` and `show` do no I/O. Only the two
//! ends touch the world, and the executor decides nothing.
//!
//! # The map of the house, in reading order
//!
//! A module imports only from rows above its own, or beside it on the same floor. `tests/house.rs` fails on a step back, on an outside crate that leaves its room, and on I/O in a pure room.
//!
//! | modules | what they are |
//! |---|---|
//! | [`error`] | what can go wrong, and the exit code of each |
//! | [`fault`] | where a test ends a run; does nothing otherwise |
//! | [`secret`], [`quote`], [`ledger`], [`operator`] | a value that is never shown; words of SQL and shell; what a database remembers of us; who runs this |
//! | [`advice`] | what to try when a step fails: one table from what was said to the key that mends it |
//! | [`declaration`] | the environment language as data: tables, keys, and values that know their file and line |
//! | [`command`] | what is said to a machine and what comes back |
//! | [`statement`] | statements of an SQL text, and which file and line of the user one that failed is on |
//! | [`resource`] | the trait of a kind, and a resource: a thing with a place, needs and origins |
//! | [`resources`] | one file a kind: question, fields, steps, removal. `mod.rs` is the table |
//! | [`template`] | strings and files that are rendered, strictly |
//! | [`services`] | one file a TOML table: what it means as resources |
//! | [`graph`] | resources in an order; missing needs and circles |
//! | [`plan`] (and `guards`) | answers judged into changes; rules over many things |
//! | [`audit`] | what is not as it should be, as findings |
//! | [`checks`] | what has to work if all is as declared: what `verify` tries |
//! | [`target`] | the engine and the databases in it: the only way to a machine |
//! | [`saved`] | plans as texts that hold no secret |
//! | [`environment`] | the user's files: read, merged, checked, every mistake at once |
//! | [`observe`] | one question sheet a look; failures are answers |
//! | [`import`] | what people have, as an environment file and an account of every key of it |
//! | [`files`] | our own files, old or new and never torn, and the lock |
//! | [`apply`] | a plan carried out, and its report |
//! | [`show`] | every word and colour that people read, and the JSON, as strings |
//! | [`commands`], [`cli`] | one file a subcommand, each a straight line of calls; what can be typed |
//!
//! # Where to add
//!
//! A kind of thing is one file in `resources/` and one row in its table. A service is one file in `services/` and one row in its
//! table. A key of the environment file is one row of a [`declaration::Table`]: the reader, *did you mean*, the JSON Schema and
//! the reference in the README follow.

#![cfg_attr(
    test,
    expect(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "a test fails by panicking"
    )
)]

// values
pub mod advice;
pub mod command;
pub mod declaration;
pub mod error;
pub mod fault;
pub mod ledger;
pub mod operator;
pub mod quote;
pub mod resource;
pub mod secret;
pub mod statement;
// kinds
pub mod resources;
pub mod template;
// meaning
pub mod graph;
pub mod services;
// deciding
pub mod audit;
pub mod checks;
mod guards;
pub mod plan;
// doing
pub mod apply;
pub mod environment;
pub mod files;
pub mod import;
pub mod observe;
pub mod saved;
pub mod target;
// telling
pub mod cli;
pub mod commands;
pub mod show;
