//! Rules over many things: what a plan must not do, whatever a single kind says. One function a rule, one table.

use std::collections::HashMap;

use crate::command::{Answer, Answers, Place, Row};
use crate::declaration::Origin;
use crate::error;
use crate::plan::adoption::image_of;
use crate::plan::destruction::is_script;
use crate::plan::{Action, Change, Found, Judging, Plan, Refusal, find};
use crate::resource::{Id, Kind, Resource, Thing};
use crate::resources::mariadb_setting::MariadbSetting;
use crate::resources::postgres_role::PostgresRole;
use crate::resources::volume::{self, Volume};

type Rule = fn(&Look<'_>) -> Vec<Refusal>;

const RULES: &[Rule] = &[
    images_can_be_had,
    ports_are_free,
    superuser_stays,
    project_keeps_its_name,
    machines_are_shared_in_peace,
    databases_are_shared_in_peace,
    generated_secrets_are_kept,
    case_of_names_stays,
    units_of_packages_stay,
];

struct Look<'a> {
    resources: &'a [Resource],
    answers: &'a Answers,
    judging: &'a Judging,
    changes: HashMap<&'a Id, &'a Change>,
}

/// Adds to the plan every reason why it must not be carried out.
pub(crate) fn check(resources: &[Resource], answers: &Answers, judging: &Judging, plan: &mut Plan) {
    let changes = plan
        .changes
        .iter()
        .map(|change| (&change.id, change))
        .collect();
    let look = Look {
        resources,
        answers,
        judging,
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

/// A unit that a package ships is never written over: its name is that package's.
fn units_of_packages_stay(look: &Look<'_>) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    for resource in look.resources {
        let Found::There(found) = find(&resource.thing, &resource.place, look.answers) else {
            continue;
        };
        let place = resource.declared();
        for (unit, path, package) in resource.thing.taken(&found) {
            let whose = match package.as_str() {
                "" => "is on the machine already".to_owned(),
                package => format!("is of the package `{package}`"),
            };
            let mut hints = vec![format!(
                "choose another name ({}); `{unit}` keeps meaning what it meant",
                place.short()
            )];
            if found.hides() {
                hints.push(format!(
                    "`/etc/systemd/system/{unit}` was written by an earlier version and hides it: once the name is another, or it is taken from the file, `apply` removes it and starts what the package ships again"
                ));
            } else {
                hints.push(format!(
                    "to change what it does, declare a drop-in: `[file.\"/etc/systemd/system/{unit}.d/override.conf\"]`"
                ));
            }
            refusals.push(Refusal {
                kind: error::Kind::Data,
                id: resource.id.clone(),
                message: format!(
                    "`{}` would take the place of `{unit}`: `{path}` {whose}",
                    resource.id
                ),
                hints,
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

/// An environment whose project has another name now would begin anew, with empty volumes, beside its old ones, which nobody would
/// manage any more. What was applied is remembered with the old name; once the new volumes exist, the move is done.
fn project_keeps_its_name(look: &Look<'_>) -> Vec<Refusal> {
    let new = &look.judging.owner.project;
    let Some(old) = former_project(look).filter(|old| old != new) else {
        return Vec::new();
    };
    let remembered = |id: &str| look.judging.memories.engine().0.contains_key(id);
    let moves: Vec<(&Resource, &Volume, String)> = look
        .resources
        .iter()
        .filter_map(|resource| match &resource.thing {
            Thing::Volume(volume) => Some((resource, &**volume, format!("{old}_{}", volume.key))),
            _ => None,
        })
        .filter(|(resource, _, was)| {
            let absent = matches!(
                find(&resource.thing, &resource.place, look.answers),
                Found::Absent
            );
            absent && remembered(Id::short("volume", was).as_str())
        })
        .collect();
    let Some((first, ..)) = moves.first() else {
        return Vec::new();
    };
    let names: Vec<String> = moves.iter().map(|(.., was)| format!("`{was}`")).collect();
    let message = format!(
        "this environment was applied as project `{old}`: as `{new}` it would begin with empty volumes, and {} with the containers of `{old}` would stay behind unmanaged",
        names.join(", ")
    );
    let mut hints = vec![format!(
        "put `project = \"{old}\"` back, or give what is new another environment name and keep both"
    )];
    hints.push(format!(
        "to move the data, stop the old containers (`docker stop $(docker ps -q --filter label=com.docker.compose.project={old})`), and copy each volume:"
    ));
    hints.extend(
        moves.iter().map(|(_, volume, was)| {
            volume::copy(was, volume, image_of(look.resources, &volume.name))
        }),
    );
    vec![Refusal {
        kind: error::Kind::Data,
        id: first.id.clone(),
        message,
        hints,
    }]
}

/// The project as which the environment was applied last: each has one network, and it is named after it.
fn former_project(look: &Look<'_>) -> Option<String> {
    let ids = look.judging.memories.engine().0.keys();
    let mut networks = ids.filter_map(|id| id.strip_prefix("network.")?.strip_suffix("_default"));
    networks.next().map(str::to_owned)
}

/// What another environment applied on a machine is not changed from here: each would undo what the other does, for ever. Where both
/// declare the same, nothing differs, and nothing is refused, nor is what is not there; packages that are installed serve everybody.
fn machines_are_shared_in_peace(look: &Look<'_>) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    for resource in look.resources {
        let acts = look.changes.get(&resource.id).is_some_and(|change| {
            !matches!(
                change.action,
                Action::Create | Action::Wait | Action::Unknown
            )
        });
        let Place::Machine(machine) = &resource.place else {
            continue;
        };
        if !acts || matches!(resource.thing, Thing::Packages(_)) {
            continue;
        }
        let key = resource.thing.ledger_id();
        let Some(owner) = look.judging.memories.held_by_other(machine, &key) else {
            continue;
        };
        let new =
            crate::plan::memory::name(&look.judging.owner.project, &look.judging.owner.environment);
        refusals.push(Refusal {
            kind: error::Kind::Data,
            id: resource.id.clone(),
            message: format!(
                "`{}` belongs to environment `{owner}` on `{machine}`, which declares it otherwise",
                resource.id
            ),
            hints: vec![
                "take it out of one of the two files, or declare the same in both".to_owned(),
                format!("if this is `{owner}` with a new name, keep what it remembers: on `{machine}`, as root, `mv /var/lib/provision/{owner}.json /var/lib/provision/{new}.json`"),
            ],
        });
    }
    refusals
}

/// The same inside a database server that several environments declare: its ledger says who made a thing.
fn databases_are_shared_in_peace(look: &Look<'_>) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    for resource in look.resources {
        let acts = look
            .changes
            .get(&resource.id)
            .is_some_and(|change| !matches!(change.action, Action::Wait | Action::Unknown));
        let Some(Answer::Rows(rows)) = look.answers.get(&resource.place, "ledger") else {
            continue;
        };
        if !acts || is_script(&resource.thing) {
            continue;
        }
        let entries = rows.of(&resource.thing.ledger_id());
        let other = |row: &Row| look.judging.owner.other_in(row).map(str::to_owned);
        let Some(owner) = entries.iter().find_map(other) else {
            continue;
        };
        refusals.push(Refusal {
            kind: error::Kind::Data,
            id: resource.id.clone(),
            message: format!(
                "`{}` was made by environment `{owner}`, which declares it otherwise",
                resource.id
            ),
            hints: vec![
                "take it out of one of the two files, or declare the same in both".to_owned(),
            ],
        });
    }
    refusals
}

/// A secret that was made on another machine, or lost on this one, is not replaced by a new one just because nobody has it here: the
/// other operator would put the first one back, for ever.
fn generated_secrets_are_kept(look: &Look<'_>) -> Vec<Refusal> {
    let memories = &look.judging.memories;
    let mut refusals = Vec::new();
    for secret in &look.judging.generated {
        if look.judging.replace_secrets.contains(&secret.key) {
            continue;
        }
        let machines = memories.machines.iter();
        let places = machines.map(|(machine, memory)| (Some(&**machine), memory));
        let applied = places
            .chain([(None, &memories.here)])
            .find_map(|(machine, memory)| {
                let (digest, kept) = memory.secret(&secret.key)?;
                (digest != secret.digest).then_some((machine, kept))
            });
        let why = match applied {
            Some((machine, kept)) => {
                let on = machine
                    .map(|machine| format!(" on `{machine}`"))
                    .unwrap_or_default();
                format!("is not the one that {} applied{on} at {}", kept.by, kept.at)
            }
            None if secret.is_new => match differing(look, &secret.origin) {
                Some(id) => format!(
                    "is lost on this machine: none is kept here, and `{id}` has one already"
                ),
                None => continue,
            },
            None => continue,
        };
        refusals.push(Refusal {
            kind: error::Kind::Secret,
            id: Id::short("secret", &secret.key),
            message: format!("the generated secret `{}` {why}", secret.key),
            hints: vec![
                format!(
                    "bring the file over from the machine it was made on, with mode 0600: `{}`",
                    secret.path.display()
                ),
                "so that every operator has it, declare another source, as `{ command = [...] }` of a password store".to_owned(),
                format!("to replace it everywhere: `--replace-secret {}`", crate::quote::word(&secret.key)),
            ],
        });
    }
    refusals
}

/// What exists and would get another hidden value, declared at a place of the file.
fn differing<'a>(look: &Look<'a>, origin: &Origin) -> Option<&'a Id> {
    let mut changes = look.resources.iter().filter_map(|resource| {
        let change = *look.changes.get(&resource.id)?;
        let exists = matches!(change.action, Action::Update | Action::Recreate);
        exists.then_some((resource, change))
    });
    let is_of = |resource: &Resource, change: &Change| {
        let mut fields = change.fields.iter().map(|difference| &difference.field);
        fields.any(|field| resource.origin(&field.name).short() == origin.short())
    };
    changes
        .find(|(resource, change)| is_of(resource, change))
        .map(|(resource, _)| &resource.id)
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
