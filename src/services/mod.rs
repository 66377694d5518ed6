//! Services: what a TOML table means as resources. One file a service table, one row in [`SERVICES`].

pub mod django;
pub mod mariadb;
pub mod postgres;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::declaration::{Environment, Key, Table, Type};
use crate::error::Problem;
use crate::resource::Resource;

/// The whole file.
pub static ROOT: Table = Table {
    name: "",
    doc: "An environment.",
    keys: &[
        Key::new(
            "postgres",
            Type::Named(&postgres::TABLE),
            "PostgreSQL servers by name.",
        ),
        Key::new(
            "mariadb",
            Type::Named(&mariadb::TABLE),
            "MariaDB servers by name.",
        ),
        Key::new(
            "django",
            Type::Named(&django::TABLE),
            "Django applications by name.",
        ),
    ],
};

/// What services want to know of the user's files before they are expanded.
#[derive(Clone, Debug, Default)]
pub struct Reads {
    /// Files whose text is wanted, absolute.
    pub texts: Vec<PathBuf>,
    /// Folders whose digest is wanted, absolute.
    pub folders: Vec<PathBuf>,
}

/// The files that the services of an environment name (its tree is merged and checked by type).
pub fn reads(_environment: &Environment) -> Reads {
    Reads::default()
}

/// Contradictions within an environment: what no single value shows. Pure; before any contact.
pub fn check(_environment: &Environment) -> Vec<Problem> {
    Vec::new()
}

/// What an environment means.
#[derive(Clone, Debug, Default)]
pub struct Expansion {
    /// The resources, in no order. Generated files (the Compose file among them) are resources too.
    pub resources: Vec<Resource>,
    /// What cannot be meant.
    pub problems: Vec<Problem>,
    /// Where things can be reached from this machine.
    pub endpoints: Vec<Endpoint>,
}

/// Where a service can be reached from the operator's machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// As in `postgres.analytics`.
    pub service: String,
    /// Address and port on the machine.
    pub address: String,
    /// See `address`.
    pub port: u16,
    /// How to connect, as a command line or URL without a password.
    pub connect: Vec<String>,
}

/// Ports taken in place of the declared ones, by name of forward (`auto_correct = true`).
pub type Ports = BTreeMap<String, u16>;

/// An environment as resources.
pub fn expand(_environment: &Environment, _ports: &Ports) -> Expansion {
    Expansion::default()
}

/// The variables with which a program on the operator's machine reaches the services, as name and value, of every Django
/// service together.
pub fn operator_variables(
    _environment: &Environment,
    _ports: &Ports,
) -> Result<Vec<(String, crate::command::Text)>, Vec<Problem>> {
    Ok(Vec::new())
}
