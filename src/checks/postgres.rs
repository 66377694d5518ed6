//! Who may log in to which PostgreSQL database, as declared, and with which error the server refuses everybody else.
//!
//! The server asks in this order: `pg_hba.conf` (28000), the password and whether it is still valid (28P01), LOGIN (28000), the
//! role's connection limit (53300), whether the database exists (3D000), CONNECT (42501), the database's connection limit (53300).
//! A superuser passes the limits and CONNECT.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use super::{Closed, Inside, Wanted};
use crate::resources::postgres_database::PostgresDatabase;
use crate::resources::postgres_grant::PostgresGrant;
use crate::resources::postgres_role::{Ends, PostgresRole};

/// Clocks of two machines differ by less than this.
const CLOCKS: Duration = Duration::from_secs(120);

/// What is declared of a role's way into a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// It may log in.
    Open,
    /// It is refused.
    Closed(Wanted),
    /// Nobody says whether it may: PUBLIC has the right to by default.
    Undeclared,
}

/// The declared roles, databases and rights of a server at a moment.
pub(super) struct Doors<'a> {
    /// What is declared.
    pub inside: &'a Inside<'a>,
    /// When it is asked.
    pub now: SystemTime,
}

impl Doors<'_> {
    /// Why a role is refused wherever it wants to go.
    pub fn shut(&self, role: &PostgresRole) -> Option<Wanted> {
        let closed = |why: &str, code| Some(Wanted::Closed(Closed::new(why, code)));
        let ended = || "the validity of its password has ended".to_owned();
        match role.ends() {
            Ends::Never => {}
            Ends::Always => return closed(&ended(), "28P01"),
            Ends::At(end) if end + CLOCKS < self.now => return closed(&ended(), "28P01"),
            Ends::At(end) if end > self.now + CLOCKS => {}
            Ends::At(_) => {
                return Some(Wanted::Unsure(
                    "its password is valid until about now".to_owned(),
                ));
            }
            Ends::Unknown => {
                let why = format!("only the server knows when `{}` is", role.valid_until);
                return Some(Wanted::Unsure(why));
            }
        }
        if !role.login {
            return closed("it has no LOGIN", "28000");
        }
        if role.connection_limit == 0 && !role.superuser {
            return closed("its connection limit is 0", "53300");
        }
        None
    }

    /// What is declared of a role and a database.
    pub fn door(&self, role: &PostgresRole, database: &PostgresDatabase) -> Door {
        if let Some(shut) = self.shut(role) {
            return Door::Closed(shut);
        }
        if role.superuser {
            return Door::Open;
        }
        let connects = self.connects(role, database);
        if !connects && self.is_closed(&database.name) {
            return Door::Closed(Wanted::NoEntry);
        }
        if database.connection_limit == 0 {
            let why = format!("the connection limit of `{}` is 0", database.name);
            // Where nobody says whether it has CONNECT, either refusal comes.
            let codes: &[&str] = if connects {
                &["53300"]
            } else {
                &["53300", "42501"]
            };
            return Door::Closed(Wanted::Closed(Closed {
                why,
                codes: codes.to_vec(),
            }));
        }
        if connects {
            Door::Open
        } else {
            Door::Undeclared
        }
    }

    /// Whether a declared right lets a role connect to a database.
    fn connects(&self, role: &PostgresRole, database: &PostgresDatabase) -> bool {
        let all = self.privileges_of(role);
        let owns = database
            .owner
            .as_deref()
            .is_some_and(|owner| all.contains(owner));
        let grants = self.inside.grants.iter().filter(|grant| {
            grant.database == database.name && grant.database_privileges.contains("CONNECT")
        });
        owns || grants
            .into_iter()
            .any(|grant| all.contains(grant.role.as_str()) || is_public(grant))
    }

    /// The roles whose rights a role has: itself, and those it inherits from.
    fn privileges_of<'b>(&'b self, role: &'b PostgresRole) -> BTreeSet<&'b str> {
        let mut all = BTreeSet::from([role.name.as_str()]);
        let mut inherit = if role.inherit { vec![role] } else { Vec::new() };
        while let Some(one) = inherit.pop() {
            for group in &one.member_of {
                if all.insert(group) {
                    let declared = self.inside.roles.iter().map(|(role, _)| *role);
                    inherit.extend(declared.filter(|role| role.name == *group && role.inherit));
                }
            }
        }
        all
    }

    /// Whether PUBLIC is declared without CONNECT on a database: by default it has it.
    fn is_closed(&self, database: &str) -> bool {
        self.inside.grants.iter().any(|grant| {
            is_public(grant)
                && grant.exact
                && grant.database == database
                && !grant.database_privileges.contains("CONNECT")
        })
    }
}

fn is_public(grant: &PostgresGrant) -> bool {
    grant.role == "PUBLIC"
}
