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

/// The order of some resources as far as they need each other: what they need beside is not asked for.
pub fn among(resources: &[Resource]) -> Vec<&Resource> {
    sequence(resources)
        .0
        .into_iter()
        .map(|at| &resources[at])
        .collect()
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
