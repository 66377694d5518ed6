//! What the engine is told, one function an action.

use bollard::models::{
    EndpointSettings, NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest,
    VolumeCreateRequest,
};
use bollard::query_parameters::{
    ListNetworksOptions, RemoveContainerOptions, RemoveVolumeOptions,
    RenameContainerOptionsBuilder, RestartContainerOptions, StartContainerOptions,
    StopContainerOptions,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Engine, is_missing, status, trouble};
use crate::command::EngineAction;
use crate::target::say::clean;
use crate::target::{Target, Trouble, remote_folder};

/// What a new container's name ends with until it takes the place of the old one.
pub(super) const TEMPORARY: &str = "-provision-new";

type Done = Result<(), Trouble>;

impl Target {
    /// Carries out an action of the engine.
    pub(crate) async fn engine_action(
        &self,
        action: &EngineAction,
        deadline: std::time::Duration,
        talk: &(dyn Fn(&str) + Send + Sync),
    ) -> Done {
        let engine = self.engine()?;
        match action {
            EngineAction::Pull { image } => engine.pull(image, talk).await,
            EngineAction::Build {
                image,
                context,
                args,
                folder,
                ca,
            } => {
                engine
                    .build(image, context, args, folder.as_ref(), *ca, talk)
                    .await
            }
            EngineAction::Bootstrap { image, suite } => engine.bootstrap(image, suite, talk).await,
            EngineAction::CreateNetwork { name, body } => engine.create_network(name, body).await,
            EngineAction::RemoveNetwork { name } => engine.remove_network(name).await,
            EngineAction::CreateVolume { name, body } => engine.create_volume(name, body).await,
            EngineAction::RemoveVolume { name } => engine.remove_volume(name).await,
            EngineAction::RunContainer {
                service,
                name,
                replaces,
                body,
                env,
                networks,
            } => {
                let new = super::container::New {
                    name,
                    replaces: replaces.as_deref(),
                    body,
                    env,
                    networks,
                };
                engine.run_container(new, self.config_hash(service)).await
            }
            EngineAction::StartContainer { name } => engine.start_container(name).await,
            EngineAction::RestartContainer { name } => engine.restart(name).await,
            EngineAction::RenameContainer { id, name } => engine.rename(id, name).await,
            EngineAction::Connect {
                container,
                network,
                endpoint,
            } => engine.connect_to(container, network, endpoint).await,
            EngineAction::RemoveContainer { name } => engine.stop_and_remove(name).await,
            EngineAction::WaitHealthy { name } => engine.wait_healthy(name, deadline).await,
            EngineAction::WaitFirstStart {
                name,
                volumes,
                first_start,
            } => {
                engine
                    .wait_first_start(name, volumes, first_start, deadline)
                    .await
            }
        }
    }

    /// The hash by which Compose knows the configuration of a service; `None` where there is no Compose to say it.
    async fn config_hash(&self, service: &str) -> Option<String> {
        match self.host() {
            None => self.hashes.of(&self.folder, service).await,
            Some(host) => remote_folder::compose_hash(host, &self.folder, service).await,
        }
    }
}

impl Engine {
    async fn create_network(&self, name: &str, body: &Value) -> Done {
        if !self.networks(name).await?.is_empty() {
            return Err(Trouble::failed(format!(
                "a network `{name}` is there already"
            )));
        }
        let request: NetworkCreateRequest = body_of(body)?;
        let created = self.docker.create_network(request).await;
        let created = created.map_err(|error| trouble("create the network", &error))?;
        // The engine makes a second one of the same name without a word, and then nothing can start on either.
        if self.networks(name).await?.len() > 1 {
            let _ = self.docker.remove_network(&created.id).await;
            return Err(Trouble::failed(format!(
                "somebody else made a network `{name}` at the same time"
            )));
        }
        Ok(())
    }

    /// The ids of the networks of exactly this name.
    async fn networks(&self, name: &str) -> Result<Vec<String>, Trouble> {
        let list = self.docker.list_networks(None::<ListNetworksOptions>).await;
        let list = list.map_err(|error| trouble("list the networks", &error))?;
        Ok(list
            .into_iter()
            .filter(|network| network.name.as_deref() == Some(name))
            .filter_map(|network| network.id)
            .collect())
    }

    async fn remove_network(&self, name: &str) -> Done {
        match self.docker.remove_network(name).await {
            Err(error) if !is_missing(&error) => Err(trouble("remove the network", &error)),
            _ => Ok(()),
        }
    }

    async fn create_volume(&self, name: &str, body: &Value) -> Done {
        let request: VolumeCreateRequest = body_of(body)?;
        let labels = request.labels.clone().unwrap_or_default();
        let made = self.docker.create_volume(request).await;
        let made = made.map_err(|error| trouble("create the volume", &error))?;
        // An old one of that name comes back as if it were new.
        if labels
            .iter()
            .all(|(key, value)| made.labels.get(key) == Some(value))
        {
            return Ok(());
        }
        Err(Trouble::failed(format!(
            "a volume `{name}` is there already that is not what was to be made"
        )))
    }

    pub(super) async fn remove_volume(&self, name: &str) -> Done {
        match self
            .docker
            .remove_volume(name, None::<RemoveVolumeOptions>)
            .await
        {
            Err(error) if !is_missing(&error) => Err(trouble("remove the volume", &error)),
            _ => Ok(()),
        }
    }

    pub(super) async fn start_container(&self, name: &str) -> Done {
        let started = self
            .docker
            .start_container(name, None::<StartContainerOptions>)
            .await;
        started.map_err(|error| trouble("start the container", &error))
    }

    /// Stops a container with the grace it asks for; fine if it does not run.
    pub(super) async fn stop(&self, name: &str) -> Done {
        match self
            .docker
            .stop_container(name, None::<StopContainerOptions>)
            .await
        {
            Err(error) if !is_missing(&error) && status(&error) != Some(304) => {
                Err(trouble("stop the container", &error))
            }
            _ => Ok(()),
        }
    }

    /// Removes a container that does not run; its volumes stay, the anonymous ones too.
    pub(super) async fn remove(&self, name: &str) -> Done {
        match self
            .docker
            .remove_container(name, None::<RemoveContainerOptions>)
            .await
        {
            Err(error) if !is_missing(&error) => Err(trouble("remove the container", &error)),
            _ => Ok(()),
        }
    }

    async fn stop_and_remove(&self, name: &str) -> Done {
        self.stop(name).await?;
        self.remove(name).await
    }

    /// Restarts a container with the grace it asks for.
    pub(crate) async fn restart(&self, name: &str) -> Done {
        let restarted = self
            .docker
            .restart_container(name, None::<RestartContainerOptions>)
            .await;
        restarted.map_err(|error| trouble("restart the container", &error))
    }

    pub(super) async fn rename(&self, id: &str, name: &str) -> Done {
        let options = RenameContainerOptionsBuilder::default().name(name).build();
        let renamed = self.docker.rename_container(id, options).await;
        renamed.map_err(|error| trouble("rename the container", &error))
    }

    pub(super) async fn connect_to(
        &self,
        container: &str,
        network: &str,
        endpoint: &Value,
    ) -> Done {
        let endpoint_config: EndpointSettings = body_of(endpoint)?;
        self.untie(container, network).await?;
        let request = NetworkConnectRequest {
            container: container.to_owned(),
            endpoint_config: Some(endpoint_config),
        };
        let connected = self.docker.connect_network(network, request).await;
        connected.map_err(|error| trouble("connect the container to its network", &error))
    }

    /// Frees a container from an older network of the same name, which would keep it from joining this one.
    async fn untie(&self, container: &str, network: &str) -> Done {
        let inspect = self.docker.inspect_container(container, None).await;
        let inspect = inspect.map_err(|error| trouble("look at the container", &error))?;
        let tied = inspect
            .network_settings
            .and_then(|settings| settings.networks)
            .unwrap_or_default();
        let Some(old) = tied.get(network) else {
            return Ok(());
        };
        let id = old
            .network_id
            .clone()
            .filter(|id| !id.is_empty())
            .unwrap_or(network.to_owned());
        for target in [id.as_str(), network] {
            let request = NetworkDisconnectRequest {
                container: container.to_owned(),
                force: Some(true),
            };
            if self
                .docker
                .disconnect_network(target, request)
                .await
                .is_ok()
            {
                break;
            }
        }
        Ok(())
    }
}

/// A body of the API, from Docker's own JSON.
pub(super) fn body_of<T: DeserializeOwned>(body: &Value) -> Result<T, Trouble> {
    serde_json::from_value(body.clone()).map_err(|error| {
        Trouble::failed(format!(
            "what the engine should be told is no request: {}",
            clean(&error.to_string(), 200)
        ))
    })
}
