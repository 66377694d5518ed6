//! Rules over many things: what a plan must not do, whatever a single kind says. One function a rule, one table.

use std::collections::HashMap;

use crate::command::{Answer, Answers, Place};
use crate::error;
use crate::plan::{Action, Change, Found, Plan, Refusal, find};
use crate::resource::{Id, Resource, Thing};

type Rule = fn(&Look<'_>) -> Vec<Refusal>;

const RULES: &[Rule] = &[images_can_be_had, ports_are_free, superuser_stays];

struct Look<'a> {
    resources: &'a [Resource],
    answers: &'a Answers,
    changes: HashMap<&'a Id, &'a Change>,
}

/// Adds to the plan every reason why it must not be carried out.
pub(crate) fn check(resources: &[Resource], answers: &Answers, plan: &mut Plan) {
    let changes = plan
        .changes
        .iter()
        .map(|change| (&change.id, change))
        .collect();
    let look = Look {
        resources,
        answers,
        changes,
    };
    let refusals: Vec<Refusal> = RULES.iter().flat_map(|rule| rule(&look)).collect();
    plan.refusals.extend(refusals);
}

/// An image that neither its registry nor a recipe gives is found before anything is stopped.
fn images_can_be_had(look: &Look<'_>) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    for resource in look.resources {
        let Thing::Image(image) = &resource.thing else {
            continue;
        };
        let found = match find(&resource.thing, &resource.place, look.answers) {
            Found::There(Thing::Image(found)) => Some(found),
            _ => None,
        };
        if let Some(why) = image.cannot(found.as_deref()) {
            refusals.push(Refusal {
                kind: error::Kind::Failed,
                id: resource.id.clone(),
                message: format!("the image `{}` cannot be had: {why}", image.tag),
                hints: vec![format!(
                    "check `image` and `version` ({})",
                    resource.declared().short()
                )],
            });
        }
    }
    refusals
}

/// A port that somebody else holds is found while planning, and the holder named.
fn ports_are_free(look: &Look<'_>) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let Some(Answer::Rows(busy)) = look.answers.get(&Place::Engine, "busy") else {
        return refusals;
    };
    for resource in look.resources {
        let Thing::Container(container) = &resource.thing else {
            continue;
        };
        let starts = look
            .changes
            .get(&resource.id)
            .is_some_and(|change| !matches!(change.action, Action::Wait | Action::Unknown));
        if !starts {
            continue;
        }
        let own = match find(&resource.thing, &resource.place, look.answers) {
            Found::There(Thing::Container(found)) if found.runs() => found.ports.clone(),
            _ => Default::default(),
        };
        for port in container.ports.iter().filter(|port| !own.contains(port)) {
            let key = format!("{}:{}", port.address, port.outside);
            let Some(row) = busy.of(&key).first() else {
                continue;
            };
            let holder = row
                .get("holder")
                .and_then(|value| value.as_str())
                .unwrap_or("another program");
            refusals.push(Refusal {
                kind: error::Kind::Failed,
                id: resource.id.clone(),
                message: format!(
                    "the port {key} that `{}` wants is held by {holder}",
                    resource.id
                ),
                hints: vec![format!(
                    "stop the holder, or choose another `listen` ({}) or `auto_correct = true`",
                    resource.origin("port").short()
                )],
            });
        }
    }
    refusals
}

/// The superuser we come in as keeps SUPERUSER and LOGIN: without them nobody could ever give them back.
fn superuser_stays(look: &Look<'_>) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    for resource in look.resources {
        let (Thing::PostgresRole(role), Place::Sql(server, _)) = (&resource.thing, &resource.place)
        else {
            continue;
        };
        if role.name != server.superuser || (role.superuser && role.login) {
            continue;
        }
        let lost = if role.superuser { "LOGIN" } else { "SUPERUSER" };
        refusals.push(Refusal {
            kind: error::Kind::Data,
            id: resource.id.clone(),
            message: format!("`{}` is the superuser we come in as; taking {lost} from it would lock everybody out", resource.id),
            hints: vec![format!(
                "say `superuser = true` and `login = true` for it ({}), or do not declare it",
                resource.declared().short()
            )],
        });
    }
    refusals
}
