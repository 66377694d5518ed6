//! `provision`: one TOML file an environment, planned and applied.

pub mod command;
pub mod declaration;
pub mod error;
pub mod ledger;
pub mod quote;
pub mod resource;
pub mod resources;
pub mod secret;
pub mod services;
