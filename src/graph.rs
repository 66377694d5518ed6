//! Resources in an order: each after what it needs, otherwise by name, so that the same file always gives the same order.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::resource::{Id, Resource};

/// Why there is no order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disorder {
    /// A resource needs one that nobody declares.
    Missing(Id, Id),
    /// The resources need each other in a circle, in this order.
    Circle(Vec<Id>),
    /// Two resources have one name.
    Twice(Id),
}

/// The places of the resources in order.
///
/// # Errors
/// Missing needs, names used twice, and one circle, all at once.
pub fn sound(resources: &[Resource]) -> Result<Vec<usize>, Vec<Disorder>> {
    let (sequence, mut disorder) = sequence(resources);
    if sequence.len() < resources.len() {
        disorder.push(Disorder::Circle(circle(resources, &sequence)));
    }
    if disorder.is_empty() {
        Ok(sequence)
    } else {
        Err(disorder)
    }
}

/// Resources put into the order that [`sound`] found.
pub fn arranged(resources: Vec<Resource>, sequence: &[usize]) -> Vec<Resource> {
    let mut slots: Vec<Option<Resource>> = resources.into_iter().map(Some).collect();
    sequence.iter().filter_map(|at| slots[*at].take()).collect()
}

/// The order of some resources as far as they need each other, those of one database together: a client has to connect anew for each
/// change of database. What they need beside is not asked for.
pub fn among(resources: &[Resource]) -> Vec<&Resource> {
    let sequence = sequence(resources).0;
    let sorted: Vec<&Resource> = sequence.into_iter().map(|at| &resources[at]).collect();
    let gathered = gathered(
        &sorted,
        |one| &one.id,
        |one| &one.needs,
        |one| one.place.database().map(String::as_str),
    );
    gathered.into_iter().map(|at| sorted[at]).collect()
}

/// The places of things in another order: those of one database together as far as their needs allow it, the server's own first, and
/// else as they were.
pub fn gathered<T>(
    things: &[T],
    id: impl Fn(&T) -> &Id,
    needs: impl Fn(&T) -> &[Id],
    database: impl Fn(&T) -> Option<&str>,
) -> Vec<usize> {
    let index: HashMap<&Id, usize> = things.iter().map(&id).zip(0..).collect();
    let mut waits = vec![0usize; things.len()];
    let mut leads: Vec<Vec<usize>> = vec![Vec::new(); things.len()];
    for (at, thing) in things.iter().enumerate() {
        for needed in needs(thing).iter().filter_map(|need| index.get(need)) {
            leads[*needed].push(at);
            waits[at] += 1;
        }
    }
    let mut ready: BTreeMap<Option<&str>, BTreeSet<usize>> = BTreeMap::new();
    for (at, thing) in things.iter().enumerate().filter(|(at, _)| waits[*at] == 0) {
        ready.entry(database(thing)).or_default().insert(at);
    }
    let mut order = Vec::with_capacity(things.len());
    while let Some((here, mut of_it)) = ready.pop_first() {
        while let Some(at) = of_it.pop_first() {
            order.push(at);
            for &next in &leads[at] {
                waits[next] -= 1;
                if waits[next] > 0 {
                    continue;
                }
                match database(&things[next]) {
                    there if there == here => of_it.insert(next),
                    there => ready.entry(there).or_default().insert(next),
                };
            }
        }
    }
    // What needs itself over others cannot be told apart: it stays where it was, behind the rest.
    let mut stuck: Vec<usize> = (0..things.len()).filter(|at| waits[*at] > 0).collect();
    order.append(&mut stuck);
    order
}

/// The places of the resources in order, without those in a circle and behind it; and what is wrong beside circles.
fn sequence(resources: &[Resource]) -> (Vec<usize>, Vec<Disorder>) {
    let mut index = HashMap::with_capacity(resources.len());
    let mut disorder = Vec::new();
    for (at, resource) in resources.iter().enumerate() {
        if index.insert(&resource.id, at).is_some() {
            disorder.push(Disorder::Twice(resource.id.clone()));
        }
    }
    let mut waits = vec![0usize; resources.len()];
    let mut leads: Vec<Vec<usize>> = vec![Vec::new(); resources.len()];
    for (at, resource) in resources.iter().enumerate() {
        for need in &resource.needs {
            match index.get(need) {
                Some(&needed) => {
                    leads[needed].push(at);
                    waits[at] += 1;
                }
                None => disorder.push(Disorder::Missing(resource.id.clone(), need.clone())),
            }
        }
    }
    let mut ready: BTreeSet<(&Id, usize)> = (0..resources.len())
        .filter(|at| waits[*at] == 0)
        .map(|at| (&resources[at].id, at))
        .collect();
    let mut sequence = Vec::with_capacity(resources.len());
    while let Some((_, at)) = ready.pop_first() {
        sequence.push(at);
        for &next in &leads[at] {
            waits[next] -= 1;
            if waits[next] == 0 {
                ready.insert((&resources[next].id, next));
            }
        }
    }
    (sequence, disorder)
}

/// Walks from any resource that never got ready along needs that never got ready, until one comes twice.
fn circle(resources: &[Resource], sequence: &[usize]) -> Vec<Id> {
    let mut stuck: HashMap<&Id, usize> = resources
        .iter()
        .enumerate()
        .map(|(at, resource)| (&resource.id, at))
        .collect();
    for &at in sequence {
        stuck.remove(&resources[at].id);
    }
    let mut path: Vec<usize> = Vec::new();
    let mut seen = BTreeMap::new();
    let mut at = stuck.values().min().copied();
    while let Some(here) = at {
        if let Some(&from) = seen.get(&here) {
            let cycle = path[from..].iter().chain([&here]);
            return cycle.map(|at| resources[*at].id.clone()).collect();
        }
        seen.insert(here, path.len());
        path.push(here);
        at = resources[here]
            .needs
            .iter()
            .find_map(|need| stuck.get(need).copied());
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_of_one_database_come_together() {
        let id = |name: &str| Id::short("x", name);
        let thing = |name: &str, database, needs: &[&str]| {
            let needs: Vec<Id> = needs.iter().map(|need| id(need)).collect();
            (id(name), database, needs)
        };
        let things = [
            thing("role1", None, &[]),
            thing("a", None, &["role1"]),
            thing("grant a1", Some("a"), &["a"]),
            thing("role2", None, &["elsewhere"]),
            thing("b", None, &["role2"]),
            thing("grant b", Some("b"), &["b"]),
            thing("grant a2", Some("a"), &["a", "role2"]),
            thing("late", None, &["grant b"]),
            thing("grant a3", Some("a"), &["late"]),
        ];
        let order = gathered(&things, |one| &one.0, |one| &one.2, |one| one.1);
        let names: Vec<&str> = order.iter().map(|at| things[*at].0.as_str()).collect();
        let wanted = [
            "role1", "a", "role2", "b", "grant a1", "grant a2", "grant b", "late", "grant a3",
        ];
        assert_eq!(names, wanted.map(|name| format!("x.{name}")));
        let circle = [
            thing("p", None, &["q"]),
            thing("q", None, &["p"]),
            thing("r", None, &[]),
        ];
        assert_eq!(
            gathered(&circle, |one| &one.0, |one| &one.2, |one| one.1),
            [2, 0, 1]
        );
    }
}
