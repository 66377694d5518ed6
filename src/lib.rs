//! `provision`: one TOML file an environment, planned and applied.
//!
//! The map of the house, in reading order; imports run upwards only.

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
pub mod command;
pub mod declaration;
pub mod error;
pub mod ledger;
pub mod quote;
pub mod resource;
pub mod secret;
// kinds
pub mod resources;
pub mod template;
// meaning
pub mod graph;
pub mod services;
// deciding
mod guards;
pub mod plan;
// doing
pub mod apply;
pub mod environment;
pub mod files;
pub mod observe;
pub mod saved;
pub mod target;
// telling
pub mod cli;
pub mod commands;
pub mod show;
