//! Services: what a TOML table means as resources. One file a service table, one row in [`SERVICES`].

pub mod django;
pub mod mariadb;
pub mod postgres;
