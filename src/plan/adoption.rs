//! What `adopt` would take over: what is declared, exists, and is not ours yet. It changes nothing but what is remembered.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::command::{Answer, Answers, Dialect, Place, Server};
use crate::plan::destruction::in_ledger;
use crate::plan::memory::Memories;
use crate::plan::{Difference, Found, Plan, find};
use crate::resource::{Id, Resource, Thing};
use crate::resources::container::Mount;
use crate::resources::owner::Owner;
use crate::resources::volume;

/// Something that would become ours.
#[derive(Clone, Debug)]
pub struct Taken {
    /// What.
    pub id: Id,
    /// Where it lives.
    pub place: Place,
    /// Its entry in the ledger of its server, and the digest kept with it.
    pub ledger: Option<(String, String)>,
    /// What differs from the declaration: `apply` would change it.
    pub differs: Vec<Difference>,
}

/// What would be taken over, and what not.
#[derive(Clone, Debug, Default)]
pub struct Adoption {
    /// What would become ours.
    pub takes: Vec<Taken>,
    /// How many declared things are ours already.
    pub ours: usize,
    /// What is declared and not there: `apply` makes it.
    pub missing: Vec<Id>,
    /// Init scripts of which nobody knows whether they ran: taken as done only where they are named.
    pub scripts: Vec<Id>,
    /// What cannot be taken over, why, and how to get there by hand.
    pub foreign: Vec<(Id, String, Vec<String>)>,
    /// What cannot be seen, and why.
    pub unread: Vec<(Id, String)>,
    /// What is on a server and declared nowhere: it stays as it is.
    pub stays: Vec<String>,
}

/// Judges what could be taken over; with ids only of these.
pub fn judge_adoption(
    resources: &[Resource],
    answers: &Answers,
    (plan, memories, owner): (&Plan, &Memories, &Owner),
    only: &[Id],
) -> Adoption {
    let mut adoption = Adoption::default();
    for resource in resources {
        if !only.is_empty() && !only.contains(&resource.id) {
            continue;
        }
        let id = resource.id.clone();
        let ours = match &resource.place {
            Place::Engine | Place::Folder => true,
            Place::Machine(_) => memories
                .kept(&id, &resource.place)
                .is_some_and(|kept| kept.made),
            Place::Sql(..) => in_ledger(resource, answers, owner),
        };
        let is_script = matches!(
            resource.thing,
            Thing::SqlScript(_) | Thing::MariadbScript(_)
        );
        match find(&resource.thing, &resource.place, answers) {
            Found::There(found) => {
                if let Some(why) = found.foreign() {
                    let how = by_hand(resources, &found);
                    adoption.foreign.push((id, why.message, how));
                } else if ours {
                    adoption.ours += 1;
                } else if found.exists() {
                    adoption.takes.push(taken(resource, plan));
                } else {
                    adoption.missing.push(id);
                }
            }
            Found::Absent if is_script && only.contains(&id) => {
                adoption.takes.push(Taken {
                    differs: Vec::new(),
                    ..taken(resource, plan)
                });
            }
            Found::Absent if is_script => adoption.scripts.push(id),
            Found::Absent => adoption.missing.push(id),
            Found::Down(why) | Found::Unreadable(why) => adoption.unread.push((id, why)),
        }
    }
    if only.is_empty() {
        adoption.stays = stays(resources, answers);
    }
    adoption
}

fn taken(resource: &Resource, plan: &Plan) -> Taken {
    let change = plan.changes.iter().find(|change| change.id == resource.id);
    Taken {
        id: resource.id.clone(),
        place: resource.place.clone(),
        ledger: resource.ledger_entry(),
        differs: change
            .map(|change| change.fields.clone())
            .unwrap_or_default(),
    }
}

/// Labels of the engine cannot be changed once a thing is made.
fn by_hand(resources: &[Resource], found: &Thing) -> Vec<String> {
    match found {
        Thing::Volume(volume) => {
            let image = image_of(resources, &volume.name);
            let mut lines = vec![
                "labels of a volume cannot be changed, so its data moves into one that is ours; stop what uses it, then:".to_owned(),
            ];
            let wanted = resources.iter().find_map(|resource| match &resource.thing {
                Thing::Volume(wanted) if wanted.name == volume.name => Some(&**wanted),
                _ => None,
            });
            lines.extend(
                wanted
                    .into_iter()
                    .map(|wanted| volume::retake(wanted, image)),
            );
            lines.push("`provision apply ENV`".to_owned());
            lines
        }
        Thing::Container(container) => vec![format!(
            "its data is in its volumes: `docker rm -f {}`, then `provision apply ENV` makes it anew",
            container.name
        )],
        _ => vec!["remove it by hand; `provision apply ENV` makes it anew".to_owned()],
    }
}

/// The image of the container that mounts a volume: one that the engine has, or will have.
pub(crate) fn image_of<'a>(resources: &'a [Resource], volume: &str) -> &'a str {
    let mounts = |resource: &'a Resource| match &resource.thing {
        Thing::Container(container) => container
            .mounts
            .values()
            .any(|mount| matches!(mount, Mount::Volume(name, _) if name == volume))
            .then_some(container.image.as_str()),
        _ => None,
    };
    resources.iter().find_map(mounts).unwrap_or("IMAGE")
}

/// Databases, roles and accounts of servers that are declared nowhere.
fn stays(resources: &[Resource], answers: &Answers) -> Vec<String> {
    let servers: BTreeSet<&Arc<Server>> = resources
        .iter()
        .filter_map(|resource| match &resource.place {
            Place::Sql(server, _) => Some(server),
            _ => None,
        })
        .collect();
    let mut stays = Vec::new();
    for server in servers {
        let place = Place::Sql(Arc::clone(server), None);
        let kinds: [(&str, &[&str]); 2] = match server.dialect {
            Dialect::Postgres => [
                ("postgres_database", &["postgres", "template0", "template1"]),
                ("postgres_role", &["postgres"]),
            ],
            Dialect::MariaDb => [
                (
                    "mariadb_database",
                    &[
                        "mysql",
                        "information_schema",
                        "performance_schema",
                        "sys",
                        "provision",
                    ],
                ),
                (
                    "mariadb_user",
                    &["mariadb.sys@localhost", "root@localhost", "mysql@localhost"],
                ),
            ],
        };
        for (kind, own) in kinds {
            let Some(Answer::Rows(rows)) = answers.get(&place, kind) else {
                continue;
            };
            let declared: BTreeSet<String> = resources
                .iter()
                .filter(|one| one.thing.kind() == kind && one.place == place)
                .map(|one| one.thing.row_key().into_owned())
                .collect();
            // A name may have been folded to make its key.
            let named = |key: &str| {
                let row = rows.of(key).first();
                let name = row.and_then(|row| row.get("name")?.as_str());
                name.unwrap_or(key).to_owned()
            };
            let is_own = |key: &str| own.contains(&key) || key == server.superuser;
            let left = rows.keys().into_iter();
            stays.extend(
                left.filter(|key| !declared.contains(*key) && !is_own(key))
                    .map(|key| format!("{kind}.{}:{}", server.service, named(key))),
            );
        }
    }
    stays
}
