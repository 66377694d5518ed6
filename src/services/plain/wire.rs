//! The needs that follow from what resources of a machine are, whoever declared them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::command::Place;
use crate::resource::{Id, Resource, Thing};
use crate::services::Project;

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

/// Everything gets what it needs.
pub(super) fn wire(project: &mut Project<'_>) {
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
