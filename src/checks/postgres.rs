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

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str) -> PostgresRole {
        PostgresRole {
            name: name.to_owned(),
            login: true,
            inherit: true,
            connection_limit: -1,
            ..PostgresRole::default()
        }
    }

    fn codes(wanted: Option<Wanted>) -> Vec<&'static str> {
        match wanted {
            None => vec!["open"],
            Some(Wanted::Closed(closed)) => closed.codes,
            Some(_) => vec!["unsure"],
        }
    }

    #[test]
    fn a_role_may_be_refused_everywhere() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_893_456_000); // 2030-01-01
        let inside = Inside::default();
        let doors = Doors {
            inside: &inside,
            now,
        };
        let until = |valid_until: &str| PostgresRole {
            valid_until: valid_until.to_owned(),
            ..role("u")
        };
        for (one, wanted) in [
            (role("u"), "open"),
            (until("infinity"), "open"),
            (until("-infinity"), "28P01"),
            (until("1960-01-01"), "28P01"),
            (until("2029-12-31 23:00"), "28P01"),
            (until("2030-01-01 00:00:30"), "unsure"),
            (until("2029-12-31 23:59:30 UTC"), "unsure"),
            (until("2030-01-01 03:00+02"), "open"),
            (until("tomorrow"), "unsure"),
            (
                PostgresRole {
                    login: false,
                    ..role("u")
                },
                "28000",
            ),
            (
                PostgresRole {
                    login: false,
                    ..until("2001-01-01")
                },
                "28P01",
            ),
            (
                PostgresRole {
                    connection_limit: 0,
                    ..role("u")
                },
                "53300",
            ),
            (
                PostgresRole {
                    connection_limit: 0,
                    superuser: true,
                    ..role("u")
                },
                "open",
            ),
            (
                PostgresRole {
                    connection_limit: 1,
                    ..role("u")
                },
                "open",
            ),
        ] {
            assert_eq!(codes(doors.shut(&one)), [wanted], "{one:?}");
        }
    }

    #[test]
    fn a_full_or_closed_database_refuses_all_but_superusers() {
        let mut inside = Inside::default();
        let closed = PostgresGrant {
            role: "PUBLIC".to_owned(),
            database: "private".to_owned(),
            exact: true,
            ..PostgresGrant::default()
        };
        inside.grants.push(&closed);
        let doors = Doors {
            inside: &inside,
            now: SystemTime::now(),
        };
        let database = |name: &str, connection_limit| PostgresDatabase {
            name: name.to_owned(),
            owner: Some("owner".to_owned()),
            connection_limit,
            ..PostgresDatabase::default()
        };
        let boss = PostgresRole {
            superuser: true,
            ..role("boss")
        };
        for (one, name, limit, wanted) in [
            (&role("owner"), "private", -1, "open"),
            (&role("owner"), "private", 0, "53300"),
            (&role("guest"), "private", 0, "unsure"),
            (&role("guest"), "private", -1, "unsure"),
            (&boss, "private", 0, "open"),
            (&role("owner"), "other", 5, "open"),
        ] {
            let wanted = vec![wanted];
            let found = match doors.door(one, &database(name, limit)) {
                Door::Open => vec!["open"],
                Door::Undeclared => vec!["undeclared"],
                Door::Closed(wanted) => codes(Some(wanted)),
            };
            assert_eq!(found, wanted, "{one:?} {name} {limit}");
        }
        assert_eq!(
            doors.door(&role("guest"), &database("other", -1)),
            Door::Undeclared
        );
    }
}
