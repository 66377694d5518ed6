//! `network`: a network of the Docker engine.

use std::borrow::Cow;

use serde_json::json;

use crate::command::{Ask, EngineAction, EngineQuestion, Question, Row};
use crate::resource::{Field, Foreign, Impact, Kind, Removal, Step};
use crate::resources::owner::{ENVIRONMENT, Owner};

/// A bridge network of a Compose project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its name in the engine, as in `iact_default`.
    pub name: String,
    /// Its key in the Compose file, as in `default`.
    pub key: String,
    /// The environment it belongs to; of a found one, what its labels say.
    pub owner: Owner,
    /// Its driver.
    pub driver: String,
    /// The environment that asks: a found network of another one is foreign.
    pub asked_by: Owner,
}

impl Kind for Network {
    const NAME: &'static str = "network";
    const QUESTION: Question = Question { name: "networks", ask: Ask::Engine(EngineQuestion::Networks) };

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.name)
    }

    fn read(&self, rows: &[Row]) -> Result<Option<Self>, String> {
        let [row, rest @ ..] = rows else { return Ok(None) };
        if !rest.is_empty() {
            return Err(format!("there are {} networks called `{}`", rows.len(), self.name));
        }
        let inspect = row.get("inspect").ok_or("the engine did not say what the network is")?;
        let label = |name: &str| inspect["Labels"][name].as_str().unwrap_or_default().to_owned();
        Ok(Some(Network {
            name: self.name.clone(),
            key: label("com.docker.compose.network"),
            owner: Owner::of(&inspect["Labels"]),
            driver: inspect["Driver"].as_str().unwrap_or_default().to_owned(),
            asked_by: self.asked_by.clone(),
        }))
    }

    fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        vec![Field::new("driver", found.map(|f| f.driver.clone()), &self.driver, Impact::DataRisk)]
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        if found.is_some() {
            return Vec::new();
        }
        let body = json!({
            "Name": self.name,
            "Driver": self.driver,
            "Labels": {
                "com.docker.compose.network": self.key,
                "com.docker.compose.project": self.owner.project,
                ENVIRONMENT: self.owner.environment,
                "com.docker.compose.version": crate::resources::COMPOSE_VERSION,
            },
        });
        let action = EngineAction::CreateNetwork { name: self.name.clone(), body };
        vec![Step::engine("create the network", action, Impact::None, 30)]
    }

    fn named(key: &str) -> Option<Self> {
        Some(Network {
            name: key.to_owned(),
            key: String::new(),
            owner: Owner::default(),
            driver: "bridge".to_owned(),
            asked_by: Owner::default(),
        })
    }

    fn remove(&self) -> Removal {
        let action = EngineAction::RemoveNetwork { name: self.name.clone() };
        Removal::Steps(vec![Step::engine("remove the network", action, Impact::None, 30)])
    }

    fn foreign(&self) -> Option<Foreign> {
        self.owner.foreign(&self.asked_by, Self::NAME, &self.name)
    }

    fn recipe(&self, _found: &Self) -> Vec<String> {
        vec![format!("stop what uses it, then `docker network rm {}` and apply again", self.name)]
    }
}
