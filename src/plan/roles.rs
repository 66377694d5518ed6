//! Roles of PostgreSQL that go: what they may do in the databases that were looked into goes first, and what they own there is named.

use std::collections::{BTreeSet, HashSet};

use crate::command::{Answer, Answers, Place};
use crate::resource::{Id, Thing};
use crate::resources::postgres_grant::PostgresGrant;

use super::{Found, find};

/// A removal: id, place, thing, and its entry in a ledger.
type Going = (Id, Place, Thing, Option<String>);

/// The rights of roles that go, in databases whose ledgers know nothing of them.
pub(super) fn rights(going: &[Going], places: &BTreeSet<Place>, answers: &Answers) -> Vec<Going> {
    let known: HashSet<&Id> = going.iter().map(|(id, ..)| id).collect();
    let roles = going
        .iter()
        .filter_map(|(_, place, thing, _)| match (place, thing) {
            (Place::Sql(server, None), Thing::PostgresRole(role)) => Some((server, role)),
            _ => None,
        });
    let mut rights = Vec::new();
    for (server, role) in roles {
        for place in places {
            let Place::Sql(at, Some(database)) = place else {
                continue;
            };
            let id = Id::new(
                "postgres_grant",
                &server.service,
                &format!("{database}/{}", role.name),
            );
            if at != server || known.contains(&id) {
                continue;
            }
            if found(&role.name, place, answers).is_some_and(|found| found.is_given()) {
                let thing = Thing::named("postgres_grant", &role.name);
                rights.extend(thing.map(|thing| (id, place.clone(), thing, None)));
            }
        }
    }
    rights
}

/// What was found of a role's rights in a database.
fn found(role: &str, place: &Place, answers: &Answers) -> Option<PostgresGrant> {
    let thing = Thing::named("postgres_grant", role)?;
    match find(&thing, place, answers) {
        Found::There(Thing::PostgresGrant(found)) => Some(*found),
        _ => None,
    }
}

/// A role that goes, with what it owns in the databases that were looked into.
pub(super) fn with_what_it_owns(thing: Thing, place: &Place, answers: &Answers) -> Thing {
    let (Thing::PostgresRole(mut role), Place::Sql(server, None)) = (thing.clone(), place) else {
        return thing;
    };
    for at in answers.places() {
        let Place::Sql(of, Some(database)) = at else {
            continue;
        };
        let asked =
            of == server && matches!(answers.get(at, "postgres_grant"), Some(Answer::Rows(_)));
        let owns = found(&role.name, at, answers)
            .filter(|_| asked)
            .map(|found| found.owns);
        if let Some(owns) = owns.filter(|owns| !owns.is_empty()) {
            role.owns
                .push(format!("in `{database}` {}", owns.join(", ")));
        }
    }
    role.owns.sort();
    Thing::PostgresRole(role)
}
