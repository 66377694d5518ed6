//! What `destroy` would do: everything of ours on the engine goes, what holds data stays unless it is named.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::command::{Answer, Answers, Place, Server};
use crate::plan::{Action, Change, Found, Judging, Plan, find, judge};
use crate::resource::{Id, Removal, Resource, Thing};

/// The order in which things go; each after all that stand before it.
const ORDER: &[&str] = &["container", "network", "volume", "generated_file"];

/// The removal of all that is ours; `orphans` are what holds data and stays, `released` what was there before us.
pub fn judge_destruction(resources: &[Resource], answers: &Answers, judging: &Judging) -> Plan {
    let mut plan = undeclared(resources, answers, judging);
    let kept = servers_with_data(resources, answers, judging);
    // On machines what needs something goes before it, and where it stays, so does what it needs.
    let mut held: HashSet<&Id> = HashSet::new();
    for resource in resources.iter().rev() {
        let named = judging.destroy_data.contains(&resource.id);
        let ours = match &resource.place {
            Place::Engine | Place::Folder => true,
            Place::Machine(_) => judging
                .memories
                .kept(&resource.id, &resource.place)
                .is_some_and(|kept| kept.made),
            Place::Sql(server, _) if server.seat.machine().is_some() => {
                let inside = holds_data(&resource.thing) || !kept.contains(server);
                inside && in_ledger(resource, answers)
            }
            Place::Sql(..) => false,
        };
        if !ours && !named && !matches!(resource.place, Place::Machine(_)) {
            continue;
        }
        let found = find(&resource.thing, &resource.place, answers);
        if held.contains(&resource.id) && !named && matches!(found, Found::There(_)) {
            held.extend(&resource.needs);
            match holds_data(&resource.thing) {
                true => plan.orphans.push(resource.id.clone()),
                false => plan.needed.push(resource.id.clone()),
            }
            continue;
        }
        let stays = (plan.orphans.len(), plan.released.len());
        match found {
            Found::Absent => {}
            Found::There(found) if found.foreign().is_some() || !found.exists() => {}
            Found::There(_) if !ours && !named => plan.released.push(resource.id.clone()),
            Found::There(found) => removal(resource, &found, judging, &mut plan),
            // What a server that is down holds stays in it.
            Found::Down(_) if resource.place.machine().is_some() && !named => {}
            Found::Down(why) | Found::Unreadable(why) => {
                let steps = Vec::new();
                plan.changes.push(Change::of(
                    resource.id.clone(),
                    resource.place.clone(),
                    Action::Unknown,
                    why,
                    steps,
                ));
            }
        }
        if stays != (plan.orphans.len(), plan.released.len()) && resource.place.machine().is_some()
        {
            held.extend(&resource.needs);
        }
    }
    plan.orphans.sort();
    plan.released.sort();
    plan.needed.sort();
    plan.changes.sort_by_key(|change| rank(&change.id));
    order(resources, &mut plan);
    plan
}

/// What goes before what: on an engine by kind, on machines what needs something before it.
fn order(resources: &[Resource], plan: &mut Plan) {
    let places: Vec<(Id, Place)> = plan
        .changes
        .iter()
        .map(|change| (change.id.clone(), change.place.clone()))
        .collect();
    let mut needed_by: HashMap<&Id, Vec<&Id>> = HashMap::new();
    for resource in resources {
        for need in &resource.needs {
            needed_by.entry(need).or_default().push(&resource.id);
        }
    }
    for change in &mut plan.changes {
        let on_machine = change.place.machine().is_some();
        let goes_before = |id: &Id, place: &Place| match on_machine {
            true => needed_by
                .get(&change.id)
                .is_some_and(|ids| ids.contains(&id)),
            false => place.machine().is_none() && rank(id) < rank(&change.id),
        };
        let before = places
            .iter()
            .filter(|(id, place)| goes_before(id, place))
            .map(|(id, _)| id.clone());
        change.needs = before.collect();
    }
}

/// Database servers on machines in which data stays: with it stays all that it is made of.
fn servers_with_data(
    resources: &[Resource],
    answers: &Answers,
    judging: &Judging,
) -> HashSet<Arc<Server>> {
    let keeps = |resource: &&Resource| {
        holds_data(&resource.thing)
            && !judging.destroy_data.contains(&resource.id)
            && !matches!(
                find(&resource.thing, &resource.place, answers),
                Found::Absent
            )
    };
    resources
        .iter()
        .filter(keeps)
        .filter_map(|resource| match &resource.place {
            Place::Sql(server, _) => Some(Arc::clone(server)),
            _ => None,
        })
        .collect()
}

/// Whether a database remembers that we made a thing in it.
pub(super) fn in_ledger(resource: &Resource, answers: &Answers) -> bool {
    match answers.get(&resource.place, "ledger") {
        Some(Answer::Rows(rows)) => !rows.of(&resource.thing.ledger_id()).is_empty(),
        _ => false,
    }
}

/// Whether a thing holds data, by its kind.
pub fn holds_data(thing: &Thing) -> bool {
    matches!(thing.remove(), Removal::HoldsData(_))
}

/// What is ours on the engine or a machine and no longer declared.
fn undeclared(resources: &[Resource], answers: &Answers, judging: &Judging) -> Plan {
    let judged = judge(resources, answers, judging);
    let goes = |change: &Change| {
        let place = &change.place;
        let is_theirs = place.machine().is_some() || *place == Place::Engine;
        change.action == Action::Remove && is_theirs
    };
    Plan {
        changes: judged.changes.into_iter().filter(goes).collect(),
        orphans: judged.orphans,
        released: judged.released,
        gone: judged.gone,
        ..Plan::default()
    }
}

fn removal(resource: &Resource, found: &Thing, judging: &Judging, plan: &mut Plan) {
    let id = resource.id.clone();
    let steps = match found.remove() {
        Removal::Steps(steps) => steps,
        Removal::HoldsData(steps) if judging.destroy_data.contains(&id) => steps,
        Removal::HoldsData(_) => return plan.orphans.push(id),
        Removal::Forget => return,
    };
    plan.changes.push(Change::of(
        id,
        resource.place.clone(),
        Action::Remove,
        String::new(),
        steps,
    ));
}

/// What lies inside a server goes first, with its server still there.
fn rank(id: &Id) -> usize {
    ORDER
        .iter()
        .position(|kind| *kind == id.kind())
        .map_or(0, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::*;
    use crate::command::Rows;
    use crate::resources::network::Network;
    use crate::resources::volume::Volume;

    fn resource(id: &str, thing: Thing) -> Resource {
        Resource {
            id: Id::parse(id),
            place: Place::Engine,
            thing,
            needs: Vec::new(),
            origins: BTreeMap::new(),
            probe: None,
        }
    }

    fn resources() -> Vec<Resource> {
        let volume = Volume {
            name: "iact_data".to_owned(),
            asked_by: "iact".to_owned(),
            ..Volume::default()
        };
        let network = Network {
            name: "iact_default".to_owned(),
            key: "default".to_owned(),
            project: "iact".to_owned(),
            driver: "bridge".to_owned(),
            asked_by: "iact".to_owned(),
        };
        vec![
            resource("volume.iact_data", volume.into()),
            resource("network.iact_default", network.into()),
        ]
    }

    fn answers(project: &str) -> Answers {
        let rows = |key: &str| {
            let labels = json!({ "com.docker.compose.project": project, "provision.family": "glibc/999/15" });
            let row = json!({ "key": key, "inspect": { "Driver": "bridge", "Labels": labels } });
            let row = match row {
                Value::Object(row) => Some(row),
                _ => None,
            };
            Answer::Rows(Rows::new(row))
        };
        let mut answers = Answers::default();
        answers.put(Place::Engine, "volumes", rows("iact_data"));
        answers.put(Place::Engine, "networks", rows("iact_default"));
        answers
    }

    fn ids(plan: &Plan) -> Vec<&str> {
        plan.changes
            .iter()
            .map(|change| change.id.as_str())
            .collect()
    }

    #[test]
    fn data_stays_unless_it_is_named() {
        let plan = judge_destruction(&resources(), &answers("iact"), &Judging::default());
        assert_eq!(ids(&plan), ["network.iact_default"]);
        assert_eq!(plan.orphans, [Id::parse("volume.iact_data")]);

        let judging = Judging {
            destroy_data: vec![Id::parse("volume.iact_data")],
            ..Judging::default()
        };
        let plan = judge_destruction(&resources(), &answers("iact"), &judging);
        assert_eq!(ids(&plan), ["network.iact_default", "volume.iact_data"]);
        assert_eq!(plan.changes[1].needs, [Id::parse("network.iact_default")]);
        assert!(plan.orphans.is_empty());
    }

    #[test]
    fn what_is_somebody_elses_stays() {
        let judging = Judging {
            destroy_data: vec![Id::parse("volume.iact_data")],
            ..Judging::default()
        };
        let plan = judge_destruction(&resources(), &answers("other"), &judging);
        assert!(plan.changes.is_empty() && plan.orphans.is_empty());
    }
}
