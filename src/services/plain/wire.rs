//! The needs that follow from what resources of a machine are, whoever declared them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::command::Place;
use crate::declaration::Origin;
use crate::resource::{Id, Resource, Thing};
use crate::resources::systemd_unit::SystemdUnit;
use crate::services::Project;
use crate::services::project::on_machine;

/// Kinds that come before all of a kind on the same machine.
const BEFORE: &[(&str, &[&str])] = &[
    ("apt_repository", &["hosts_entry"]),
    ("packages", &["hosts_entry", "apt_repository"]),
    ("group", &["packages"]),
    ("user", &["packages", "group"]),
    ("authorized_key", &["directory"]),
    ("directory", &["packages"]),
    ("file", &["packages"]),
    ("link", &["packages"]),
    ("systemd_unit", STARTS),
    ("timer", STARTS),
];

/// What may be there when a program starts.
const STARTS: &[&str] = &["packages", "group", "user", "directory", "file", "link"];

/// Units learn what the files hold that they read, and everything gets what it needs.
pub(super) fn wire(project: &mut Project<'_>) {
    restarted(project);
    digests(project);
    let mut by_machine: BTreeMap<Arc<str>, Vec<usize>> = BTreeMap::new();
    for (at, resource) in project.resources().iter().enumerate() {
        if let Place::Machine(machine) = &resource.place {
            by_machine.entry(Arc::clone(machine)).or_default().push(at);
        }
    }
    let mut dependents: HashMap<Id, Vec<Id>> = HashMap::new();
    for resource in project.resources() {
        for need in &resource.needs {
            let of = dependents.entry(need.clone()).or_default();
            of.push(resource.id.clone());
        }
    }
    for (machine, all) in by_machine {
        let resources = project.resources();
        let there = There::new(&machine, all.iter().map(|at| &resources[*at]));
        let mut added = Vec::new();
        for (kind, before) in BEFORE {
            let own = all
                .iter()
                .filter(|at| resources[**at].thing.kind() == *kind);
            for &at in own {
                let resource = &resources[at];
                // What a service put the other way round stays so.
                let after = transitive(&dependents, &resource.id);
                let wanted = there.of_kinds(before).chain(there.named_by(resource));
                let mut needs: Vec<Id> = Vec::new();
                for id in wanted {
                    if !after.contains(&id) && !resource.needs.contains(&id) && !needs.contains(&id)
                    {
                        let of = dependents.entry(id.clone()).or_default();
                        of.push(resource.id.clone());
                        needs.push(id);
                    }
                }
                added.push((at, needs));
            }
        }
        let resources = project.resources_mut();
        for (at, needs) in added {
            resources[at].needs.extend(needs);
        }
    }
}

/// A thing and all that needs it, whatever is between.
fn transitive(dependents: &HashMap<Id, Vec<Id>>, id: &Id) -> HashSet<Id> {
    let mut seen = HashSet::from([id.clone()]);
    let mut open = vec![id.clone()];
    while let Some(id) = open.pop() {
        for dependent in dependents.get(&id).into_iter().flatten() {
            if seen.insert(dependent.clone()) {
                open.push(dependent.clone());
            }
        }
    }
    seen
}

/// What is declared on a machine.
struct There<'a> {
    machine: &'a str,
    kinds: HashMap<&'static str, Vec<Id>>,
    ids: HashSet<Id>,
    /// Homes of users.
    homes: Vec<(String, Id)>,
}

impl<'a> There<'a> {
    fn new<'b>(machine: &'a str, resources: impl Iterator<Item = &'b Resource>) -> Self {
        let mut there = There {
            machine,
            kinds: HashMap::new(),
            ids: HashSet::new(),
            homes: Vec::new(),
        };
        for resource in resources {
            let id = resource.id.clone();
            let kind = there.kinds.entry(resource.thing.kind()).or_default();
            kind.push(id.clone());
            if let Thing::User(user) = &resource.thing {
                let home = user.home.clone();
                let home = home.unwrap_or_else(|| format!("/home/{}", user.name));
                there.homes.push((home, id.clone()));
            }
            there.ids.insert(id);
        }
        there
    }

    fn of_kinds(&self, kinds: &[&str]) -> impl Iterator<Item = Id> {
        let ids = kinds.iter().filter_map(|kind| self.kinds.get(kind));
        ids.flatten().cloned().collect::<Vec<_>>().into_iter()
    }

    /// One thing, if it is declared here.
    fn one(&self, kind: &str, key: &str) -> Option<Id> {
        let id = Id::new(kind, self.machine, key);
        self.ids.contains(&id).then_some(id)
    }

    /// What a resource's own values name.
    fn named_by(&self, resource: &Resource) -> Vec<Id> {
        match &resource.thing {
            Thing::User(user) => user.home.iter().flat_map(|home| self.above(home)).collect(),
            Thing::Directory(one) => self.owned(&one.path, &one.owner, &one.group),
            Thing::ServerFile(one) => self.owned(&one.path, &one.owner, &one.group),
            Thing::Link(one) => {
                let target = ["directory", "file"].map(|kind| self.one(kind, &one.to));
                let mut needs = self.owned(&one.path, "", "");
                needs.extend(target.into_iter().flatten());
                needs
            }
            _ => Vec::new(),
        }
    }

    /// What has to be there before something at a path: the nearest declared folder or link above it, and who owns it. A group may be
    /// the one that a user got for its own.
    fn owned(&self, path: &str, owner: &str, group: &str) -> Vec<Id> {
        let mut needs = self.above(path);
        needs.extend(self.one("user", owner));
        needs.extend(self.one("group", group).or_else(|| self.one("user", group)));
        let inside = |home: &str| {
            path.strip_prefix(home)
                .is_some_and(|rest| rest.starts_with('/'))
        };
        let homes = self.homes.iter().filter(|(home, _)| inside(home));
        needs.extend(homes.map(|(_, user)| user.clone()));
        needs
    }

    fn above(&self, path: &str) -> Vec<Id> {
        let mut rest = path;
        while let Some((above, _)) = rest.rsplit_once('/') {
            if let Some(id) = ["directory", "link"]
                .iter()
                .find_map(|kind| self.one(kind, above))
            {
                return vec![id];
            }
            rest = above;
        }
        Vec::new()
    }
}

/// Files say which units are restarted or reloaded when they change: those units read them, also where nothing else is said of them.
fn restarted(project: &mut Project<'_>) {
    let environment = project.environment;
    for (path, entry) in environment.services("file") {
        for machine in project.machines_of(entry) {
            for key in ["restarts", "reloads"] {
                for item in entry.node.list(key) {
                    let unit = unit_name(item.as_text().unwrap_or_default());
                    let unit = unit_of(project, &machine, unit, &item.origin);
                    let Some(unit) = unit else { continue };
                    let reads = match key {
                        "restarts" => &mut unit.reads,
                        _ => &mut unit.reloads,
                    };
                    reads.entry(path.to_owned()).or_default();
                }
            }
        }
    }
}

/// A unit without a suffix is a service, as for systemctl.
fn unit_name(name: &str) -> String {
    match name.contains('.') {
        true => name.to_owned(),
        false => format!("{name}.service"),
    }
}

/// The unit of a machine, declared or not.
fn unit_of<'p>(
    project: &'p mut Project<'_>,
    machine: &Arc<str>,
    name: String,
    origin: &Origin,
) -> Option<&'p mut SystemdUnit> {
    let id = Id::new("systemd_unit", machine, &name);
    if !project.resources().iter().any(|resource| resource.id == id) {
        let unit = SystemdUnit {
            name,
            ..SystemdUnit::default()
        };
        project.add(on_machine(machine, unit).from("", origin.clone()));
    }
    let resources = project.resources_mut().iter_mut();
    resources
        .filter(|resource| resource.id == id)
        .find_map(|resource| match &mut resource.thing {
            Thing::SystemdUnit(unit) => Some(&mut **unit),
            _ => None,
        })
}

/// Units learn what the declared files are wanted to hold that they read.
fn digests(project: &mut Project<'_>) {
    let read: HashSet<Id> = project
        .resources()
        .iter()
        .filter_map(|resource| match (&resource.thing, &resource.place) {
            (Thing::SystemdUnit(unit), Place::Machine(machine)) => Some((unit, machine)),
            _ => None,
        })
        .flat_map(|(unit, machine)| {
            let paths = unit.reads.keys().chain(unit.reloads.keys());
            paths.map(|path| Id::new("file", machine, path))
        })
        .collect();
    let digests: HashMap<Id, String> = project
        .resources()
        .iter()
        .filter(|resource| read.contains(&resource.id))
        .filter_map(|resource| match &resource.thing {
            Thing::ServerFile(file) => Some((resource.id.clone(), file.digest())),
            _ => None,
        })
        .collect();
    for resource in project.resources_mut() {
        let (Thing::SystemdUnit(unit), Place::Machine(machine)) =
            (&mut resource.thing, &resource.place)
        else {
            continue;
        };
        let unit = &mut **unit;
        for (path, digest) in unit.reads.iter_mut().chain(&mut unit.reloads) {
            if let Some(own) = digests.get(&Id::new("file", machine, path)) {
                digest.clone_from(own);
            }
        }
    }
}
