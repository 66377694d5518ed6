//! Saved plans: what was going to be done and all that it relied on, in a form that holds no secret; and whether that still
//! holds. Pure: a saved plan is a text.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::command::Answers;
use crate::declaration::{Node, Value};
use crate::error::{Failure, Kind};
use crate::plan::{self, Found, Plan};
use crate::resource::Resource;
use crate::secret::{Secret, sha256};

/// The version of the form.
const FORMAT: u32 = 2;

/// Rounds of the slow digest over all secrets together: that is what a guess costs.
const ITERATIONS: u32 = 100_000;

/// A plan as kept in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    format_version: u32,
    tool_version: String,
    /// The environment it is of.
    pub environment: String,
    project: String,
    target: String,
    created: String,
    /// What it was limited to.
    pub only: Vec<String>,
    /// Only these hosts and groups of hosts; all if empty.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// What it may destroy.
    pub destroy_data: Vec<String>,
    /// The machines by name, each with how it is reached: the same name may be another machine tomorrow.
    machines: BTreeMap<String, String>,
    changes: Vec<SavedChange>,
    /// By resource: a digest of what the files say, and what was found.
    relied: BTreeMap<String, Relied>,
    secrets: SavedSecrets,
    digest: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedChange {
    id: String,
    action: String,
    impact: String,
    fields: Vec<SavedField>,
    steps: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedField {
    name: String,
    before: Option<String>,
    after: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Relied {
    declared: String,
    state: String,
    found: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedSecrets {
    salt: String,
    iterations: u32,
    digest: String,
}

/// What a plan is saved with, and looked at again with.
#[derive(Clone, Copy, Debug)]
pub struct Basis<'a> {
    /// The environment's name.
    pub environment: &'a str,
    /// Its project.
    pub project: &'a str,
    /// Where it is applied, in words.
    pub target: &'a str,
    /// Its merged tree, secrets had.
    pub tree: &'a Node,
    /// Its resources in graph order.
    pub resources: &'a [Resource],
    /// What was found.
    pub answers: &'a Answers,
    /// What the plan is limited to.
    pub only: &'a [String],
    /// See [`Saved::hosts`].
    pub hosts: &'a [String],
    /// What the plan may destroy.
    pub destroy_data: &'a [String],
}

/// A plan as a text. `salt` is fresh and random, `created` the time in words.
pub fn save(basis: &Basis<'_>, plan: &Plan, salt: &str, created: &str) -> String {
    let saved = Saved {
        format_version: FORMAT,
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        environment: basis.environment.to_owned(),
        project: basis.project.to_owned(),
        target: basis.target.to_owned(),
        created: created.to_owned(),
        only: basis.only.to_vec(),
        hosts: basis.hosts.to_vec(),
        destroy_data: basis.destroy_data.to_vec(),
        machines: machines(basis.tree),
        changes: changes(plan),
        relied: relied(basis),
        secrets: SavedSecrets {
            salt: salt.to_owned(),
            iterations: ITERATIONS,
            digest: secrets(basis.tree).slow_digest(salt.as_bytes(), ITERATIONS),
        },
        digest: String::new(),
    };
    saved.sealed().text()
}

impl Saved {
    /// Reads a saved plan.
    ///
    /// # Errors
    /// [`Kind::Stale`]: damaged, or written in a form this version does not know.
    pub fn read(text: &str) -> Result<Self, Failure> {
        let value: serde_json::Value = serde_json::from_str(text).map_err(|_| damaged())?;
        match value["format_version"].as_u64() {
            Some(version) if version == u64::from(FORMAT) => {}
            Some(version) => {
                return Err(stale(format!(
                    "the saved plan has format {version}, and this version of provision knows {FORMAT}"
                )));
            }
            None => return Err(damaged()),
        }
        let saved: Saved = serde_json::from_value(value).map_err(|_| damaged())?;
        // One byte anywhere, and it is no longer what would be written.
        if saved.clone().sealed().text() != text {
            return Err(damaged());
        }
        if saved.tool_version != env!("CARGO_PKG_VERSION") {
            return Err(stale(format!(
                "the saved plan was made by provision {}, and this is {}",
                saved.tool_version,
                env!("CARGO_PKG_VERSION")
            )));
        }
        Ok(saved)
    }

    /// Whether it is of an environment, before anything is looked at.
    ///
    /// # Errors
    /// [`Kind::Stale`]: it is of another.
    pub fn is_of(&self, environment: &str, project: &str) -> Result<(), Failure> {
        if (self.environment.as_str(), self.project.as_str()) == (environment, project) {
            return Ok(());
        }
        Err(stale(format!(
            "the saved plan is of environment `{}` of project `{}`, not of `{environment}` of `{project}`",
            self.environment, self.project
        )))
    }

    /// Whether all it relied on still holds and the same would be done.
    ///
    /// # Errors
    /// [`Kind::Stale`], naming what moved.
    pub fn holds(&self, basis: &Basis<'_>, plan: &Plan) -> Result<(), Failure> {
        let mut moved = Vec::new();
        if self.target != basis.target {
            moved.push(format!(
                "it was made for {}, and this is {}",
                self.target, basis.target
            ));
        }
        let hosts = machines(basis.tree);
        for name in self.machines.keys().chain(hosts.keys()) {
            let moves = format!("`{name}` is reached otherwise");
            if self.machines.get(name) != hosts.get(name) && !moved.contains(&moves) {
                moved.push(moves);
            }
        }
        let now = relied(basis);
        for (id, before) in &self.relied {
            match now.get(id) {
                None => moved.push(format!("`{id}` is no longer declared")),
                Some(now) => moved.extend(before.moved(id, now)),
            }
        }
        for id in now.keys().filter(|id| !self.relied.contains_key(*id)) {
            moved.push(format!("`{id}` is newly declared"));
        }
        let SavedSecrets {
            salt,
            iterations,
            digest,
        } = &self.secrets;
        // A file that asks for a billion rounds is not ours.
        if *iterations != ITERATIONS
            || secrets(basis.tree).slow_digest(salt.as_bytes(), *iterations) != *digest
        {
            moved.push("a secret of the environment is another one".to_owned());
        }
        if moved.is_empty() {
            moved.extend(different(&self.changes, &changes(plan)));
        }
        if moved.is_empty() {
            return Ok(());
        }
        let first: Vec<_> = moved.iter().take(5).map(String::as_str).collect();
        let more = match moved.len().saturating_sub(first.len()) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        let told = first.join("; ");
        Err(stale(format!(
            "the saved plan no longer holds: {told}{more}"
        )))
    }

    fn sealed(mut self) -> Self {
        self.digest = String::new();
        self.digest = sha256(self.text());
        self
    }

    fn text(&self) -> String {
        // Only maps with keys that are no strings can fail here, and there are none.
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        format!("{text}\n")
    }
}

impl Relied {
    fn moved(&self, id: &str, now: &Relied) -> Vec<String> {
        let mut moved = Vec::new();
        if self.declared != now.declared {
            moved.push(format!("`{id}` is declared differently"));
        }
        if self.state != now.state {
            moved.push(format!("`{id}` was {} and is {}", self.state, now.state));
            return moved;
        }
        let names = self.found.keys().chain(
            now.found
                .keys()
                .filter(|name| !self.found.contains_key(*name)),
        );
        for name in names {
            let shown = |fields: &BTreeMap<String, String>| {
                fields.get(name).map_or("none", String::as_str).to_owned()
            };
            let (before, after) = (shown(&self.found), shown(&now.found));
            if before != after {
                moved.push(format!("`{id}`: {name} was {before} and is {after}"));
            }
        }
        moved
    }
}

fn different(before: &[SavedChange], now: &[SavedChange]) -> Vec<String> {
    let find = |changes: &[SavedChange], id: &str| changes.iter().find(|c| c.id == id).cloned();
    let mut moved = Vec::new();
    for change in before {
        match find(now, &change.id) {
            None => moved.push(format!("`{}` needs no change any more", change.id)),
            Some(other) if other != *change => {
                moved.push(format!("`{}` would be changed otherwise", change.id));
            }
            Some(_) => {}
        }
    }
    for change in now
        .iter()
        .filter(|change| find(before, &change.id).is_none())
    {
        moved.push(format!("`{}` would be changed too", change.id));
    }
    moved
}

fn changes(plan: &Plan) -> Vec<SavedChange> {
    plan.changes
        .iter()
        .map(|change| SavedChange {
            id: change.id.to_string(),
            action: change.action.word().to_owned(),
            impact: change.impact.word().to_owned(),
            fields: change
                .fields
                .iter()
                .map(|difference| SavedField {
                    name: difference.field.name.to_string(),
                    before: difference.field.from.clone(),
                    after: difference.field.to.clone(),
                })
                .collect(),
            steps: change.steps.iter().map(|step| step.says.clone()).collect(),
        })
        .collect()
}

/// How each machine is reached, in words.
fn machines(tree: &Node) -> BTreeMap<String, String> {
    let way = |host: &Node| {
        let keys = ["address", "port", "user", "host_key", "jump"];
        let said = keys.iter().filter_map(|key| match &host.get(key)?.value {
            Value::Text(text) => Some(format!("{key} {text}")),
            Value::Int(number) => Some(format!("{key} {number}")),
            _ => None,
        });
        said.collect::<Vec<_>>().join(", ")
    };
    let hosts = tree.named("host");
    hosts
        .map(|(name, entry)| (name.to_owned(), way(&entry.node)))
        .collect()
}

fn relied(basis: &Basis<'_>) -> BTreeMap<String, Relied> {
    basis
        .resources
        .iter()
        .map(|resource| (resource.id.to_string(), relied_on(resource, basis.answers)))
        .collect()
}

fn relied_on(resource: &Resource, answers: &Answers) -> Relied {
    let (state, found) = match plan::find(&resource.thing, &resource.place, answers) {
        Found::Absent => ("absent".to_owned(), None),
        Found::There(found) => ("there".to_owned(), Some(found)),
        Found::Down(_) => ("down".to_owned(), None),
        Found::Unreadable(_) => ("unreadable".to_owned(), None),
    };
    let mut fields = BTreeMap::new();
    if let Some(found) = &found {
        for field in resource.thing.fields(Some(found)) {
            fields.insert(
                field.name.into_owned(),
                field.from.unwrap_or_else(|| "none".to_owned()),
            );
        }
    }
    // Secrets say `[secret]` here, as everywhere; they have a digest of their own.
    let declared = format!(
        "{:?} {:?} {:?}",
        resource.thing, resource.needs, resource.place
    );
    Relied {
        declared: sha256(declared),
        state,
        found: fields,
    }
}

/// All secrets of an environment in one, so that what is guessed at is long.
fn secrets(tree: &Node) -> Secret {
    let mut all = String::new();
    collect(tree, "", &mut all);
    Secret::new(all)
}

fn collect(node: &Node, path: &str, all: &mut String) {
    match &node.value {
        Value::Secret(_, secret) => {
            let text = secret.expose();
            all.push_str(&format!("{path}:{}:{text}\0", text.len()));
        }
        Value::List(items) => {
            for (at, item) in items.iter().enumerate() {
                collect(item, &format!("{path}.{at}"), all);
            }
        }
        Value::Table(entries) => {
            for (key, entry) in &entries.0 {
                collect(&entry.node, &format!("{path}.{key}"), all);
            }
        }
        Value::Bool(_) | Value::Int(_) | Value::Text(_) => {}
    }
}

fn damaged() -> Failure {
    stale("the saved plan is damaged: it is not what was written".to_owned())
}

fn stale(message: String) -> Failure {
    Failure::new(Kind::Stale, message).hint("look at the new plan, and save it with `--out FILE`")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::command::{Answer, Place, Rows};
    use crate::declaration::{Entries, Entry, Origin, SecretSource};
    use crate::plan::{Judging, judge};
    use crate::resource::{Id, Thing};
    use crate::resources::owner::Owner;
    use crate::resources::volume::Volume;

    fn tree(password: &str) -> Node {
        let secret = Node {
            value: Value::Secret(SecretSource::Generate, Secret::new(password)),
            origin: Origin::NONE,
        };
        let entry = Entry {
            key: Origin::NONE,
            node: secret,
        };
        Node {
            value: Value::Table(Entries(BTreeMap::from([("password".to_owned(), entry)]))),
            origin: Origin::NONE,
        }
    }

    fn resources() -> Vec<Resource> {
        let volume = Volume {
            name: "iact_data".to_owned(),
            key: "data".to_owned(),
            owner: Owner::new("iact", "local"),
            family: "glibc/999/15".to_owned(),
            asked_by: Owner::new("iact", "local"),
            ..Volume::default()
        };
        vec![Resource {
            id: Id::short("volume", "iact_data"),
            place: Place::Engine,
            thing: Thing::from(volume),
            needs: Vec::new(),
            origins: BTreeMap::new(),
            probe: None,
        }]
    }

    fn answers(family: Option<&str>) -> Answers {
        let rows = family.map(|family| {
            let labels = json!({
                "com.docker.compose.project": "iact", "com.docker.compose.volume": "data", "provision.family": family,
            });
            match json!({ "key": "iact_data", "inspect": { "Labels": labels } }) {
                serde_json::Value::Object(row) => row,
                _ => unreachable!(),
            }
        });
        let mut answers = Answers::default();
        answers.put(Place::Engine, "volumes", Answer::Rows(Rows::new(rows)));
        answers
    }

    fn basis<'a>(tree: &'a Node, resources: &'a [Resource], answers: &'a Answers) -> Basis<'a> {
        Basis {
            environment: "local",
            project: "iact",
            target: "here",
            tree,
            resources,
            answers,
            only: &[],
            hosts: &[],
            destroy_data: &[],
        }
    }

    fn plan(resources: &[Resource], answers: &Answers) -> Plan {
        judge(resources, answers, &Judging::default())
    }

    #[test]
    fn a_saved_plan_holds_until_something_moves() {
        let (old, resources, none) = (tree("canary-123"), resources(), answers(None));
        let basis_then = basis(&old, &resources, &none);
        let text = save(&basis_then, &plan(&resources, &none), "salt", "now");
        assert!(!text.contains("canary-123"));
        let saved = Saved::read(&text).unwrap();
        saved.is_of("local", "iact").unwrap();
        assert_eq!(saved.is_of("prod", "iact").unwrap_err().kind, Kind::Stale);
        saved.holds(&basis_then, &plan(&resources, &none)).unwrap();

        let there = answers(Some("glibc/999/15"));
        let moved = saved
            .holds(&basis(&old, &resources, &there), &plan(&resources, &there))
            .unwrap_err();
        assert_eq!(moved.kind, Kind::Stale);
        assert_eq!(
            moved.message,
            "the saved plan no longer holds: `volume.iact_data` was absent and is there"
        );

        let other = tree("canary-124");
        let moved = saved
            .holds(&basis(&other, &resources, &none), &plan(&resources, &none))
            .unwrap_err();
        assert!(
            moved.message.contains("a secret of the environment"),
            "{moved}"
        );
    }

    #[test]
    fn a_changed_byte_is_seen() {
        let (tree, resources, none) = (tree("x"), resources(), answers(None));
        let text = save(
            &basis(&tree, &resources, &none),
            &plan(&resources, &none),
            "salt",
            "now",
        );
        for at in (0..text.len()).step_by(3) {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let Ok(changed) = String::from_utf8(bytes) else {
                continue;
            };
            assert_eq!(
                Saved::read(&changed).unwrap_err().kind,
                Kind::Stale,
                "byte {at}"
            );
        }
        let newer = text.replace("\"format_version\": 2", "\"format_version\": 3");
        assert!(
            Saved::read(&newer)
                .unwrap_err()
                .message
                .contains("format 3")
        );
        assert!(Saved::read(&text[..text.len() / 2]).is_err());
    }
}
