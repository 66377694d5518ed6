//! What `destroy` would do: everything of ours on the engine goes, what holds data stays unless it is named.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::command::{Answer, Answers, Place, Row, Server};
use crate::plan::{Action, Change, Found, Judging, Plan, find, judge};
use crate::resource::{Id, Kind as _, Removal, Resource, Thing};
use crate::resources::owner::Owner;
use crate::resources::systemd_unit::SystemdUnit;

/// What a file holds that is no longer there: no digest.
const NOTHING: &str = "nothing";

/// The order in which things go; each after all that stand before it.
const ORDER: &[&str] = &["container", "network", "volume", "generated_file"];

/// The removal of all that is ours; `orphans` are what holds data and stays, `released` what was there before us
/// or nothing can undo, `gone` what is no longer there.
pub fn judge_destruction(resources: &[Resource], answers: &Answers, judging: &Judging) -> Plan {
    let mut plan = undeclared(resources, answers, judging);
    let kept = servers_with_data(resources, answers, judging);
    let by_id: HashMap<&Id, &Resource> = resources.iter().map(|one| (&one.id, one)).collect();
    // On machines what needs something goes before it, and where it stays, so does what it rests on.
    let mut held: HashSet<&Id> = HashSet::new();
    for resource in resources.iter().rev() {
        let named = judging.destroy_data.contains(&resource.id);
        let on_machine = matches!(resource.place, Place::Machine(_));
        let rests = || {
            let needs = resource.needs.iter();
            needs.filter(|need| by_id.get(need).is_none_or(|need| rests_on(resource, need)))
        };
        let ours = match &resource.place {
            Place::Engine | Place::Folder => true,
            // What another environment has applied, too, is left to it.
            Place::Machine(machine) => {
                let memories = &judging.memories;
                let kept = memories.kept(&resource.id, &resource.place);
                let key = resource.thing.ledger_id();
                kept.is_some_and(|kept| kept.made)
                    && memories.held_by_other(machine, &key).is_none()
            }
            Place::Sql(server, _) if server.seat.machine().is_some() => {
                let stays = kept.contains(server);
                if stays {
                    held.extend(rests());
                }
                (holds_data(&resource.thing) || !stays)
                    && in_ledger(resource, answers, &judging.owner)
            }
            Place::Sql(..) => false,
        };
        if !ours && !named && !on_machine {
            continue;
        }
        let found = match find(&resource.thing, &resource.place, answers) {
            Found::There(found) if found.foreign().is_none() && found.exists() => found,
            Found::There(_) => continue,
            Found::Absent => {
                if on_machine && ours {
                    plan.gone.push(resource.id.clone());
                }
                continue;
            }
            // What a server that is down holds stays in it.
            Found::Down(_) if resource.place.machine().is_some() && !named => continue,
            Found::Down(why) | Found::Unreadable(why) => {
                let (id, place) = (resource.id.clone(), resource.place.clone());
                plan.changes
                    .push(Change::of(id, place, Action::Unknown, why, Vec::new()));
                continue;
            }
        };
        // What hides the unit of a package was written by us, whatever was there before.
        let ours = ours || found.hides();
        let is_held = held.contains(&resource.id) && !named;
        let stays = match (ours || named, found.remove()) {
            // Its state stays as it is, and that needs nothing that could go.
            (_, Removal::Forget) if on_machine && !is_held => {
                plan.released.push(resource.id.clone());
                None
            }
            (false, _) => Some(&mut plan.released),
            (true, Removal::HoldsData(_)) if !named => Some(&mut plan.orphans),
            (true, _) if is_held => Some(&mut plan.needed),
            (true, Removal::Forget) => None,
            (true, Removal::Steps(steps) | Removal::HoldsData(steps)) => {
                let (id, place) = (resource.id.clone(), resource.place.clone());
                let entry = resource.ledger_entry();
                let entry = entry.filter(|_| in_ledger(resource, answers, &judging.owner));
                plan.changes.push(Change {
                    ledger: entry.map(|(entry, _)| (entry, String::new())),
                    ..Change::of(id, place, Action::Remove, String::new(), steps)
                });
                None
            }
        };
        if let Some(stays) = stays {
            stays.push(resource.id.clone());
            if resource.place.machine().is_some() {
                held.extend(rests());
            }
        }
    }
    plan.orphans.sort();
    plan.released.sort();
    plan.needed.sort();
    plan.changes.sort_by_key(|change| rank(&change.id));
    order(resources, &mut plan);
    read_again(resources, answers, &mut plan);
    plan
}

/// Whether a thing that stays cannot do without something it needs. Much of what a thing needs only says what comes first: a program
/// is started when all files are there, and does not read all of them.
fn rests_on(kept: &Resource, need: &Resource) -> bool {
    if kept.place.machine().is_none() || matches!(kept.place, Place::Sql(..)) {
        return true;
    }
    let below = |path: &str, above: &str| {
        path.strip_prefix(above)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    let owned_by = |name: &str| owners(&kept.thing).contains(&name);
    match (&kept.thing, &need.thing) {
        (Thing::SystemdUnit(unit), Thing::ServerFile(file)) => {
            unit.reads.contains_key(&file.path) || unit.reloads.contains_key(&file.path)
        }
        (
            Thing::SystemdUnit(_) | Thing::Timer(_),
            Thing::ServerFile(_)
            | Thing::Directory(_)
            | Thing::Link(_)
            | Thing::User(_)
            | Thing::Group(_),
        )
        | (_, Thing::HostsEntry(_)) => false,
        (Thing::Directory(_) | Thing::ServerFile(_) | Thing::User(_), Thing::User(user)) => {
            owned_by(&user.name)
        }
        (Thing::Directory(_) | Thing::ServerFile(_) | Thing::User(_), Thing::Group(group)) => {
            owned_by(&group.name)
        }
        (Thing::Directory(one), Thing::Directory(above)) => below(&one.path, &above.path),
        (Thing::ServerFile(one), Thing::Directory(above)) => below(&one.path, &above.path),
        (Thing::Link(one), Thing::Directory(above)) => {
            below(&one.path, &above.path) || one.to == above.path
        }
        (Thing::User(user), Thing::Directory(above)) => user
            .home
            .as_deref()
            .is_some_and(|home| home == above.path || below(home, &above.path)),
        _ => true,
    }
}

/// Users and groups that a thing belongs to. A group may be the one that a user got for its own.
fn owners(thing: &Thing) -> Vec<&str> {
    match thing {
        Thing::Directory(one) => vec![&one.owner, &one.group],
        Thing::ServerFile(one) => vec![&one.owner, &one.group],
        Thing::User(user) => {
            let groups = user.groups.iter().flatten();
            groups.chain(&user.group).map(String::as_str).collect()
        }
        _ => Vec::new(),
    }
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

/// Whether a database remembers that this environment made a thing in it.
pub(super) fn in_ledger(resource: &Resource, answers: &Answers, owner: &Owner) -> bool {
    let is_ours = |row: &Row| is_script(&resource.thing) || owner.other_in(row).is_none();
    match answers.get(&resource.place, "ledger") {
        Some(Answer::Rows(rows)) => rows.of(&resource.thing.ledger_id()).iter().any(is_ours),
        _ => false,
    }
}

/// Whether a thing is a script, of which the ledger keeps a digest.
pub(crate) fn is_script(thing: &Thing) -> bool {
    matches!(thing, Thing::SqlScript(_) | Thing::MariadbScript(_))
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

/// Programs of packages go on running when what we made goes, and with what they have read of it until they read it again.
fn read_again(resources: &[Resource], answers: &Answers, plan: &mut Plan) {
    let gone: HashMap<&str, Id> = plan
        .changes
        .iter()
        .filter(|change| change.action == Action::Remove)
        .filter_map(|change| {
            let resource = resources.iter().find(|one| one.id == change.id)?;
            match &resource.thing {
                Thing::ServerFile(file) => Some((file.path.as_str(), change.id.clone())),
                _ => None,
            }
        })
        .collect();
    // What a server's settings are kept in, it reads at its start.
    let mut settings: HashMap<&Id, Vec<&str>> = HashMap::new();
    for setting in resources
        .iter()
        .filter(|one| matches!(one.thing, Thing::MariadbSetting(_)))
    {
        let kept = gone
            .iter()
            .filter(|(_, id)| setting.needs.contains(id))
            .map(|(path, _)| *path);
        let kept: Vec<&str> = kept.collect();
        for unit in setting
            .needs
            .iter()
            .filter(|need| need.kind() == SystemdUnit::NAME)
        {
            settings.entry(unit).or_default().extend(&kept);
        }
    }
    let mut again = Vec::new();
    for resource in resources {
        let Thing::SystemdUnit(unit) = &resource.thing else {
            continue;
        };
        if plan.changes.iter().any(|change| change.id == resource.id) {
            continue;
        }
        let mut needs = Vec::new();
        let mut lost = |paths: &mut dyn Iterator<Item = &str>| -> BTreeMap<String, String> {
            let paths = paths.filter_map(|path| Some((path, gone.get(path)?)));
            paths
                .map(|(path, id)| {
                    needs.push(id.clone());
                    (path.to_owned(), NOTHING.to_owned())
                })
                .collect()
        };
        let kept = settings.get(&resource.id).into_iter().flatten().copied();
        let reads = lost(&mut unit.reads.keys().map(String::as_str).chain(kept));
        let reloads = lost(&mut unit.reloads.keys().map(String::as_str));
        let without = Thing::from(SystemdUnit {
            name: unit.name.clone(),
            reads,
            reloads,
            ..SystemdUnit::default()
        });
        let Found::There(found) = find(&resource.thing, &resource.place, answers) else {
            continue;
        };
        let steps = without.steps(Some(&found));
        if needs.is_empty() || steps.is_empty() {
            continue;
        }
        let reason = "reads what is removed".to_owned();
        let mut change = Change::of(
            resource.id.clone(),
            resource.place.clone(),
            Action::Update,
            reason,
            steps,
        );
        change.needs = needs;
        again.push(change);
    }
    plan.changes.extend(again);
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
    use serde_json::{Value, json};

    use super::*;
    use crate::command::Rows;
    use crate::resources::network::Network;
    use crate::resources::owner::ENVIRONMENT;
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
            asked_by: Owner::new("iact", "local"),
            ..Volume::default()
        };
        let network = Network {
            name: "iact_default".to_owned(),
            key: "default".to_owned(),
            owner: Owner::new("iact", "local"),
            driver: "bridge".to_owned(),
            asked_by: Owner::new("iact", "local"),
        };
        vec![
            resource("volume.iact_data", volume.into()),
            resource("network.iact_default", network.into()),
        ]
    }

    fn answers(project: &str) -> Answers {
        answers_of(project, "local")
    }

    fn answers_of(project: &str, environment: &str) -> Answers {
        let rows = |key: &str| {
            let labels = json!({
                "com.docker.compose.project": project, "provision.family": "glibc/999/15", ENVIRONMENT: environment,
            });
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
        for answers in [answers("other"), answers_of("iact", "other")] {
            let plan = judge_destruction(&resources(), &answers, &judging);
            assert!(plan.changes.is_empty() && plan.orphans.is_empty());
        }
        // What builds wrote that knew no label is the project's.
        let plan = judge_destruction(&resources(), &answers_of("iact", ""), &judging);
        assert_eq!(ids(&plan), ["network.iact_default", "volume.iact_data"]);
    }
}
