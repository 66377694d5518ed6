//! A new container in place of an old one: the old one keeps running until the new one is there, and runs again if that fails.

use std::collections::HashMap;
use std::future::Future;

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder};
use serde_json::Value;

use super::act::{TEMPORARY, body_of};
use super::{Engine, is_missing, trouble};
use crate::command::Text;
use crate::secret::sha256;
use crate::target::Trouble;

/// What is to be run.
pub(super) struct New<'a> {
    /// The final name.
    pub name: &'a str,
    /// The container it takes the place of.
    pub replaces: Option<&'a str>,
    /// The API's body, without the environment.
    pub body: &'a Value,
    /// Its environment.
    pub env: &'a [(String, Text)],
    /// Networks besides the one in the body.
    pub networks: &'a [(String, Value)],
}

const PROJECT: &str = "com.docker.compose.project";

impl Engine {
    /// Creates and starts a container, in place of an old one if there is one.
    pub(super) async fn run_container(
        &self,
        new: New<'_>,
        hash: impl Future<Output = Option<String>>,
    ) -> Result<(), Trouble> {
        let mut body: ContainerCreateBody = body_of(&with_port_map(new.body))?;
        let project = body
            .labels
            .as_ref()
            .and_then(|labels| labels.get(PROJECT))
            .cloned()
            .unwrap_or_default();
        let temporary = format!("{}{TEMPORARY}", new.name);
        let image = body.image.clone().unwrap_or_default();
        let (hash, image_id, left, held) = tokio::join!(
            hash,
            self.image_id(&image),
            self.clear_leftover(&temporary, &project),
            self.holder(new.name),
        );
        let image_id = image_id?;
        left?;
        if let Some(holder) = held?
            && Some(holder.as_str()) != new.replaces
        {
            return Err(Trouble::failed(format!(
                "a container `{}` is there already",
                new.name
            )));
        }
        let labels = body.labels.get_or_insert_with(HashMap::new);
        labels.insert(
            "com.docker.compose.config-hash".to_owned(),
            hash.unwrap_or_else(|| own_hash(&new)),
        );
        labels.insert("com.docker.compose.image".to_owned(), image_id);
        let exposed =
            |(name, value): &(String, Text)| format!("{name}={}", value.expose().expose());
        body.env = Some(new.env.iter().map(exposed).collect());
        match new.replaces {
            None => self.make_and_start(new.name, body, new.networks).await,
            Some(old) => self.replace(old, &temporary, &new, body).await,
        }
    }

    async fn make_and_start(
        &self,
        name: &str,
        body: ContainerCreateBody,
        networks: &[(String, Value)],
    ) -> Result<(), Trouble> {
        let id = self.make(name, body, networks).await?;
        match self.start_container(&id).await {
            Err(error) => Err(self.discard(&id, error).await),
            Ok(()) => Ok(()),
        }
    }

    async fn replace(
        &self,
        old: &str,
        temporary: &str,
        new: &New<'_>,
        body: ContainerCreateBody,
    ) -> Result<(), Trouble> {
        let ran = self.state(old).await?;
        let id = self.make(temporary, body, new.networks).await?;
        if let Err(error) = self.stop(old).await {
            let error = self.discard(&id, error).await;
            return Err(self.revive(old, ran, error).await);
        }
        // Started before the old one is removed: whatever keeps it from starting, the old one is still there.
        if let Err(error) = self.start_container(&id).await {
            let error = self.discard(&id, error).await;
            return Err(self.revive(old, ran, error).await);
        }
        self.remove(old).await?;
        self.rename(&id, new.name).await
    }

    /// Creates a container; none is left behind where it cannot be connected to all of its networks.
    async fn make(
        &self,
        name: &str,
        body: ContainerCreateBody,
        networks: &[(String, Value)],
    ) -> Result<String, Trouble> {
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        let created = self.docker.create_container(Some(options), body).await;
        let id = created
            .map_err(|error| trouble("create the container", &error))?
            .id;
        for (network, endpoint) in networks {
            if let Err(error) = self.connect_to(&id, network, endpoint).await {
                return Err(self.discard(&id, error).await);
            }
        }
        Ok(id)
    }

    /// Removes a container that was made a moment ago, with its log's last lines in the error.
    async fn discard(&self, id: &str, error: Trouble) -> Trouble {
        let log = self.log_tail(id, 20, false).await;
        let gone = self.force_away(id).await;
        let error = if error.log.is_empty() {
            error.log(log)
        } else {
            error
        };
        match gone {
            Ok(()) => error,
            Err(more) => Trouble {
                message: format!("{}; and {}", error.message, more.message),
                ..error
            },
        }
    }

    /// Starts the old container again if it ran before.
    async fn revive(&self, old: &str, ran: bool, error: Trouble) -> Trouble {
        if !ran {
            return error;
        }
        let end = match self.start_container(old).await {
            Ok(()) => "the old container runs again".to_owned(),
            Err(more) => format!("the old container does not start again: {}", more.message),
        };
        Trouble {
            message: format!("{}; {end}", error.message),
            ..error
        }
    }

    pub(super) async fn force_away(&self, id: &str) -> Result<(), Trouble> {
        // Its anonymous volumes go along: it never held anything that somebody could miss.
        let options = RemoveContainerOptionsBuilder::default()
            .force(true)
            .v(true)
            .build();
        match self.docker.remove_container(id, Some(options)).await {
            Err(error) if !is_missing(&error) => {
                Err(trouble("remove the half-made container", &error))
            }
            _ => Ok(()),
        }
    }

    /// Removes what a run that died left behind under the temporary name.
    async fn clear_leftover(&self, temporary: &str, project: &str) -> Result<(), Trouble> {
        let inspect = match self.docker.inspect_container(temporary, None).await {
            Ok(inspect) => inspect,
            Err(error) if is_missing(&error) => return Ok(()),
            Err(error) => return Err(trouble("look for a leftover container", &error)),
        };
        let labels = inspect
            .config
            .and_then(|config| config.labels)
            .unwrap_or_default();
        if labels.get(PROJECT).map(String::as_str) != Some(project) {
            return Err(Trouble::failed(format!(
                "a container `{temporary}` is there that is not ours"
            )));
        }
        self.force_away(&inspect.id.unwrap_or_default()).await
    }

    /// The id of the container that holds a name.
    async fn holder(&self, name: &str) -> Result<Option<String>, Trouble> {
        match self.docker.inspect_container(name, None).await {
            Ok(inspect) => Ok(inspect.id),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(trouble("look for a container of that name", &error)),
        }
    }

    /// Whether a container runs.
    async fn state(&self, id: &str) -> Result<bool, Trouble> {
        match self.docker.inspect_container(id, None).await {
            Ok(inspect) => Ok(inspect
                .state
                .and_then(|state| state.running)
                .unwrap_or(false)),
            Err(error) if is_missing(&error) => Ok(false),
            Err(error) => Err(trouble("look at the old container", &error)),
        }
    }

    async fn image_id(&self, image: &str) -> Result<String, Trouble> {
        match self.docker.inspect_image(image).await {
            Ok(inspect) => Ok(inspect.id.unwrap_or_default()),
            Err(error) => Err(trouble("find the image of the container", &error)),
        }
    }
}

/// A body whose exposed ports are a list, as the API's own map.
fn with_port_map(body: &Value) -> Value {
    let mut body = body.clone();
    if let Some(Value::Array(ports)) = body.get("ExposedPorts") {
        let map = ports.iter().filter_map(|port| {
            Some((
                port.as_str()?.to_owned(),
                Value::Object(serde_json::Map::new()),
            ))
        });
        body["ExposedPorts"] = Value::Object(map.collect());
    }
    body
}

/// Where no Compose says its hash: one of our own. Secrets are in it only by their digest.
fn own_hash(new: &New<'_>) -> String {
    let env: Vec<_> = new
        .env
        .iter()
        .map(|(name, value)| (name, sha256(value.expose().expose())))
        .collect();
    sha256(format!("{} {env:?} {:?}", new.body, new.networks))
}
