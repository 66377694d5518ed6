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

/// Puts resources in order.
///
/// # Errors
/// Missing needs, names used twice, or one circle; all missing needs at once.
pub fn order(resources: Vec<Resource>) -> Result<Vec<Resource>, Vec<Disorder>> {
    let mut index = HashMap::with_capacity(resources.len());
    let mut disorder = Vec::new();
    for (at, resource) in resources.iter().enumerate() {
        if index.insert(resource.id.clone(), at).is_some() {
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
    if !disorder.is_empty() {
        return Err(disorder);
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
    if sequence.len() < resources.len() {
        return Err(vec![Disorder::Circle(circle(&resources, &index, &waits))]);
    }
    let mut slots: Vec<Option<Resource>> = resources.into_iter().map(Some).collect();
    Ok(sequence
        .into_iter()
        .filter_map(|at| slots[at].take())
        .collect())
}

/// Walks from any resource that never got ready along needs that never got ready, until one comes twice.
fn circle(resources: &[Resource], index: &HashMap<Id, usize>, waits: &[usize]) -> Vec<Id> {
    let mut path: Vec<usize> = Vec::new();
    let mut seen = BTreeMap::new();
    let mut at = waits.iter().position(|waiting| *waiting > 0);
    while let Some(here) = at {
        if let Some(&from) = seen.get(&here) {
            let mut ids: Vec<Id> = path[from..]
                .iter()
                .map(|at| resources[*at].id.clone())
                .collect();
            ids.push(resources[here].id.clone());
            return ids;
        }
        seen.insert(here, path.len());
        path.push(here);
        at = resources[here]
            .needs
            .iter()
            .filter_map(|need| index.get(need).copied())
            .find(|need| waits[*need] > 0);
    }
    Vec::new()
}
