//! What `destroy` would do: everything of ours on the engine goes, what holds data stays unless it is named.

use crate::command::{Answers, Place};
use crate::plan::{Action, Change, Found, Judging, Plan, find, judge};
use crate::resource::{Id, Removal, Resource, Thing};

/// The order in which things go; each after all that stand before it.
const ORDER: &[&str] = &["container", "network", "volume", "generated_file"];

/// The removal of all that is ours; `orphans` are what holds data and stays.
pub fn judge_destruction(resources: &[Resource], answers: &Answers, judging: &Judging) -> Plan {
    let mut plan = undeclared(resources, answers, judging);
    for resource in resources {
        if !matches!(resource.place, Place::Engine | Place::Folder)
            && !judging.destroy_data.contains(&resource.id)
        {
            continue;
        }
        match find(&resource.thing, &resource.place, answers) {
            Found::Absent => {}
            Found::There(found) if found.foreign().is_some() || !found.exists() => {}
            Found::There(found) => removal(resource, &found, judging, &mut plan),
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
    }
    plan.changes.sort_by_key(|change| rank(&change.id));
    let ids: Vec<Id> = plan
        .changes
        .iter()
        .map(|change| change.id.clone())
        .collect();
    for change in &mut plan.changes {
        change.needs = ids
            .iter()
            .filter(|id| rank(id) < rank(&change.id))
            .cloned()
            .collect();
    }
    plan
}

/// Whether a thing holds data, by its kind.
pub fn holds_data(thing: &Thing) -> bool {
    matches!(thing.remove(), Removal::HoldsData(_))
}

/// What is ours on the engine and no longer declared.
fn undeclared(resources: &[Resource], answers: &Answers, judging: &Judging) -> Plan {
    let judged = judge(resources, answers, judging);
    let on_engine =
        |change: &Change| change.action == Action::Remove && change.place == Place::Engine;
    Plan {
        changes: judged.changes.into_iter().filter(on_engine).collect(),
        orphans: judged.orphans,
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
    use crate::command::{Answer, Rows};
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
