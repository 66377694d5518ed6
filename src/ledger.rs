//! The ledger: what we made, kept by the database server itself, written in the transaction that made it where there can
//! be one. It says which scripts ran (*done once*) and what is ours to remove when it is gone from the file. Better than a
//! comment on each role: comments belong to users, and grants and settings cannot carry one.
//!
//! PostgreSQL: table `provision.entry` in each database (what concerns the whole server in its maintenance database);
//! MariaDB: one table, `provision.entry`. An entry is `kind:key` and, for scripts, the digest of what ran.

use crate::command::{Ask, Dialect, Question};
use crate::quote::{identifier, literal};

/// The ledger of a PostgreSQL database.
pub const POSTGRES: Question = Question {
    name: "ledger",
    ask: Ask::Ledger(Dialect::Postgres),
};

/// The ledger of a MariaDB server.
pub const MARIADB: Question = Question {
    name: "ledger",
    ask: Ask::Ledger(Dialect::MariaDb),
};

/// Whether the PostgreSQL database `d` is marked as one with a ledger. The mark is a setting without a meaning, kept in a catalog
/// that all databases share: so nobody enters a database only to find no ledger in it.
pub const MARKED: &str = "EXISTS (SELECT FROM pg_db_role_setting s WHERE s.setdatabase = d.oid AND 'provision.ledger=on' = ANY (s.setconfig))";

/// Makes the ledger where it is not.
pub fn create(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => {
            "CREATE SCHEMA IF NOT EXISTS provision; \
             CREATE TABLE IF NOT EXISTS provision.entry (id text PRIMARY KEY, digest text NOT NULL DEFAULT '', \
             at timestamptz NOT NULL DEFAULT now());"
        }
        Dialect::MariaDb => {
            "CREATE DATABASE IF NOT EXISTS provision CHARACTER SET utf8mb4 COLLATE utf8mb4_bin; \
             CREATE TABLE IF NOT EXISTS provision.entry (id varchar(512) PRIMARY KEY, digest varchar(64) NOT NULL DEFAULT '', \
             at timestamp NOT NULL DEFAULT current_timestamp());"
        }
    }
}

/// The same for PostgreSQL as a superuser, who marks the database; the maintenance database, where none is named, is always entered. The
/// mark goes with the database, and with the role that made it.
pub fn create_marked(database: Option<&str>) -> String {
    let mark = database.map(|database| {
        let name = identifier(Dialect::Postgres, database);
        format!(" ALTER ROLE CURRENT_USER IN DATABASE {name} SET provision.ledger = 'on';")
    });
    format!("{}{}", create(Dialect::Postgres), mark.unwrap_or_default())
}

/// The entry's name: `kind:key`.
pub fn id(kind: &str, key: &str) -> String {
    format!("{kind}:{key}")
}

/// Writes an entry, or its new digest.
pub fn remember(dialect: Dialect, id: &str, digest: &str) -> String {
    let (id, digest) = (literal(dialect, id), literal(dialect, digest));
    match dialect {
        Dialect::Postgres => format!(
            "INSERT INTO provision.entry (id, digest) VALUES ({id}, {digest}) \
             ON CONFLICT (id) DO UPDATE SET digest = excluded.digest, at = now();"
        ),
        Dialect::MariaDb => {
            format!("REPLACE INTO provision.entry (id, digest) VALUES ({id}, {digest});")
        }
    }
}

/// Removes an entry.
pub fn forget(dialect: Dialect, id: &str) -> String {
    format!(
        "DELETE FROM provision.entry WHERE id = {};",
        literal(dialect, id)
    )
}
