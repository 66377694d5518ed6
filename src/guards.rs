//! Rules over many things: what a plan must not do, whatever a single kind says. One function a rule, one table.

use std::collections::HashMap;

use crate::command::{Answer, Answers, Place, Row};
use crate::error;
use crate::plan::{Action, Change, Found, Plan, Refusal, find};
use crate::resource::{Id, Kind, Resource, Thing};
use crate::resources::mariadb_setting::MariadbSetting;
use crate::resources::postgres_role::PostgresRole;

type Rule = fn(&Look<'_>) -> Vec<Refusal>;

const RULES: &[Rule] = &[
    images_can_be_had,
    ports_are_free,
    superuser_stays,
    case_of_names_stays,
];

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
                    resource.origin(&format!("port {}", port.inside)).short()
                )],
            });
        }
    }
    refusals
}

/// The setting under which data was written does not go from the file while the data stays.
fn case_of_names_stays(look: &Look<'_>) -> Vec<Refusal> {
    let removed = look.changes.values().filter(|change| {
        change.action == Action::Remove && change.id.kind() == MariadbSetting::NAME
    });
    let mut refusals = Vec::new();
    for change in removed {
        let named = change.id.as_str().rsplit_once(':');
        let thing = named.and_then(|(_, key)| Thing::named(MariadbSetting::NAME, key));
        let found = thing.map(|thing| find(&thing, &change.place, look.answers));
        let Some(Found::There(Thing::MariadbSetting(found))) = found else {
            continue;
        };
        if found.is_kept_by_data() && !matches!(found.value.as_str(), "0") {
            refusals.push(Refusal {
                kind: error::Kind::Data,
                id: change.id.clone(),
                message: format!(
                    "`{}` cannot be taken back without risking data: it is {}",
                    change.id, found.value
                ),
                hints: found.recipe(&found),
            });
        }
    }
    refusals
}

/// The superuser we come in as keeps SUPERUSER and LOGIN, and so does the last one: without them nobody could ever give them
/// back.
fn superuser_stays(look: &Look<'_>) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let mut demoted: HashMap<&Place, Vec<(&Resource, &PostgresRole)>> = HashMap::new();
    for resource in look.resources {
        if let Thing::PostgresRole(role) = &resource.thing
            && !(role.superuser && role.login)
        {
            demoted
                .entry(&resource.place)
                .or_default()
                .push((resource, role));
        }
    }
    for (place, demoted) in demoted {
        let Place::Sql(server, _) = place else {
            continue;
        };
        let supers = superusers(look, place);
        let left = supers
            .iter()
            .any(|(name, _)| !demoted.iter().any(|(_, role)| role.name == **name));
        for (resource, role) in demoted {
            let found = supers.get(role.name.as_str());
            let ours = role.name == server.superuser || found == Some(&true);
            let why = match found {
                _ if ours => "is the superuser we come in as",
                Some(_) if !left => "is the last superuser",
                _ => continue,
            };
            let lost = if role.superuser { "LOGIN" } else { "SUPERUSER" };
            refusals.push(Refusal {
                kind: error::Kind::Data,
                id: resource.id.clone(),
                message: format!("`{}` {why}: taking {lost} from it would lock everybody out", resource.id),
                hints: vec![format!(
                    "say `superuser = true` and `login = true` for it ({}), or make another superuser first",
                    resource.declared().short()
                )],
            });
        }
    }
    refusals.sort_by(|one, other| one.id.cmp(&other.id));
    refusals
}

/// Who can log in as superuser now, and whether it is who we came in as.
fn superusers<'a>(look: &Look<'a>, place: &Place) -> HashMap<&'a str, bool> {
    let question = <PostgresRole as Kind>::QUESTION.name;
    let Some(Answer::Rows(rows)) = look.answers.get(place, question) else {
        return HashMap::new();
    };
    let flag =
        |row: &Row, name: &str| row.get(name).and_then(serde_json::Value::as_bool) == Some(true);
    rows.keys()
        .into_iter()
        .filter_map(|name| Some((name, rows.of(name).first()?)))
        .filter(|(_, row)| flag(row, "superuser") && flag(row, "login"))
        .map(|(name, row)| (name, flag(row, "current")))
        .collect()
}
