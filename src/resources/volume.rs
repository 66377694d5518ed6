//! `volume`: a named volume of the Docker engine. It holds data, so it is only ever created.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::json;

use crate::command::{Ask, EngineAction, EngineQuestion, Question, Row};
use crate::quote::word;
use crate::resource::{Field, Foreign, Impact, Kind, Removal, Step};
use crate::resources::owner::{ENVIRONMENT, Owner};

/// A named volume of a Compose project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Its name in the engine, as in `iact_analytics_data`.
    pub name: String,
    /// Its key in the Compose file, as in `analytics_data`.
    pub key: String,
    /// The environment it belongs to; of a found one, what its labels say.
    pub owner: Owner,
    /// The family of the image that made it (libc, uid of the files, major version), as in `glibc/999/15`; empty if nobody
    /// wrote it down.
    pub family: String,
    /// Of a found one: the major version that its data says of itself, where that could be read.
    pub data: Option<String>,
    /// The environment that asks: a found volume of another one is foreign.
    pub asked_by: Owner,
}

/// As much of a version as another one says: `10.11.19-MariaDB` is `10.11` beside `10.11`, and `10.6` beside it.
fn major(data: &str, like: &str) -> String {
    let parts = like.split('.').count();
    data.trim().split('.').take(parts).collect::<Vec<_>>().join(".")
}

/// A command line that copies the data of a volume into a new one with our labels, since Docker can neither rename a volume nor change its
/// labels. It runs in an image that the engine has.
pub fn copy(from: &str, to: &Volume, image: &str) -> String {
    let labels = to.labels();
    let labels: Vec<String> = labels.iter().map(|(name, value)| format!("--label {}", word(&format!("{name}={value}")))).collect();
    let (from, name) = (word(from), word(&to.name));
    format!("docker volume create {} {name} && {}", labels.join(" "), run_copy(&from, &name, image))
}

/// The copying itself; the names are quoted already.
fn run_copy(from: &str, to: &str, image: &str) -> String {
    format!("docker run --rm --user 0 --entrypoint cp -v {from}:/from:ro -v {to}:/to {} -a /from/. /to/", word(image))
}

/// A command line that moves the data of a volume of the same name, which has not our labels, into one that has them. It ends where
/// a step fails, so nothing is removed that was not copied.
pub fn retake(wanted: &Volume, image: &str) -> String {
    let old = format!("{}_old", wanted.name);
    let (aside, name) = (word(&old), word(&wanted.name));
    let run = run_copy(&name, &aside, image);
    format!("docker volume create {aside} && {run} && docker volume rm {name} && {}", copy(&old, wanted, image))
}

/// The label that remembers the family.
pub const FAMILY: &str = "provision.family";

impl Volume {
    /// Its labels, ours and those by which Compose knows it.
    fn labels(&self) -> [(&'static str, &str); 5] {
        [
            ("com.docker.compose.volume", &self.key),
            ("com.docker.compose.project", &self.owner.project),
            ("com.docker.compose.version", crate::resources::COMPOSE_VERSION),
            (ENVIRONMENT, &self.owner.environment),
            (FAMILY, &self.family),
        ]
    }
}

impl Kind for Volume {
    const NAME: &'static str = "volume";
    const QUESTION: Question = Question { name: "volumes", ask: Ask::Engine(EngineQuestion::Volumes) };

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.name)
    }

    fn read(&self, rows: &[Row]) -> Result<Option<Self>, String> {
        let Some(row) = rows.first() else { return Ok(None) };
        let inspect = row.get("inspect").ok_or("the engine did not say what the volume is")?;
        let label = |name: &str| inspect["Labels"][name].as_str().unwrap_or_default().to_owned();
        Ok(Some(Volume {
            name: self.name.clone(),
            key: label("com.docker.compose.volume"),
            owner: Owner::of(&inspect["Labels"]),
            family: label(FAMILY),
            data: row.get("data").and_then(|value| value.as_str()).map(str::to_owned),
            asked_by: self.asked_by.clone(),
        }))
    }

    fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        let mut fields = Vec::new();
        // A volume without the label was made by other means: nobody can say, so nothing is claimed.
        if found.is_none_or(|f| !f.family.is_empty()) {
            fields.push(Field::new("family", found.map(|f| f.family.clone()), &self.family, Impact::DataRisk));
        }
        // What the data says of itself holds whatever a label says.
        if let Some(data) = found.and_then(|f| f.data.as_deref()) {
            let wanted = self.family.rsplit('/').next().unwrap_or_default();
            fields.push(Field::new(
                "data",
                Some(format!("version {}", major(data, wanted))),
                format!("version {wanted}"),
                Impact::DataRisk,
            ));
        }
        fields
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        if found.is_some() {
            return Vec::new();
        }
        let body = json!({ "Name": self.name, "Labels": BTreeMap::from(self.labels()) });
        let action = EngineAction::CreateVolume { name: self.name.clone(), body };
        vec![Step::engine("create the volume", action, Impact::None, 30)]
    }

    fn named(key: &str) -> Option<Self> {
        Some(Volume {
            name: key.to_owned(),
            key: String::new(),
            ..Volume::default()
        })
    }

    fn remove(&self) -> Removal {
        let action = EngineAction::RemoveVolume { name: self.name.clone() };
        Removal::HoldsData(vec![Step::engine("remove the volume and its data", action, Impact::DataRisk, 60)])
    }

    fn foreign(&self) -> Option<Foreign> {
        self.owner.foreign(&self.asked_by, Self::NAME, &self.name)
    }

    fn recipe(&self, found: &Self) -> Vec<String> {
        let made_by = match (found.data.as_deref(), found.family.as_str()) {
            (Some(data), "") => format!("of version {}", data.trim()),
            (Some(data), family) => format!("of family `{family}`, its data of version {}", data.trim()),
            (None, family) => format!("of family `{family}`"),
        };
        vec![
            format!("it was made by an image {made_by}; the image declared now is of family `{}`", self.family),
            "declare an image of the old family, or dump with the old one, destroy the volume by name, apply, and restore".to_owned(),
        ]
    }
}
