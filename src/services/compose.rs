//! The Compose file: made from the same containers, volumes and networks that are applied, so that they cannot differ.

use serde::Serialize;

use crate::command::Text;
use crate::declaration::Origin;
use crate::error::Problem;
use crate::resource::{Id, Thing};
use crate::resources::container::{Container, Mount};
use crate::resources::owner::ENVIRONMENT;
use crate::resources::volume::{FAMILY, Volume};
use crate::secret::Secret;
use crate::services::project::Project;
use crate::template;

/// The name of the Compose file in the folder of generated files.
pub const FILE: &str = "docker-compose.yml";

const TEMPLATE: &str = "docker-compose.yml.j2";

#[derive(Serialize)]
struct Model {
    source: String,
    services: Vec<Service>,
    volumes: Vec<NamedVolume>,
}

#[derive(Serialize)]
struct Service {
    name: String,
    image: String,
    command: Option<Vec<String>>,
    user: Option<String>,
    environment: Vec<Pair>,
    ports: Vec<String>,
    mounts: Vec<Mounted>,
    depends_on: Vec<String>,
    health: Option<Check>,
    labels: Vec<Pair>,
    stop_seconds: i64,
}

#[derive(Serialize)]
struct Pair {
    name: String,
    value: String,
}

#[derive(Serialize)]
struct Mounted {
    r#type: &'static str,
    source: String,
    target: String,
    read_only: bool,
}

#[derive(Serialize)]
struct Check {
    test: Vec<String>,
    interval: i64,
    timeout: i64,
    retries: i64,
    start_period: i64,
}

#[derive(Serialize)]
struct NamedVolume {
    name: String,
    labels: Vec<Pair>,
}

/// Adds the Compose file and the `.env` that names the project: a need of every container, so that the labels by which Compose
/// knows them never point at nothing.
pub(super) fn files(project: &mut Project<'_>) {
    let content = match content(project) {
        Ok(content) => content,
        Err(message) => {
            project
                .problems
                .push(Problem::error(message, &Origin::NONE));
            return;
        }
    };
    // 0600: a service's own passwords stand in its environment. `.env`, since Compose 1.29 refuses `name:`.
    let (compose, _) = project.file(FILE, content, 0o600, &Origin::NONE);
    let named = format!("COMPOSE_PROJECT_NAME={}\n", project.environment.project);
    let (env, _) = project.file(".env", Text::plain(named), 0o600, &Origin::NONE);
    project.containers_need(&[compose, env]);
}

/// The Compose file; a secret as a whole if one is in it.
fn content(project: &Project<'_>) -> Result<Text, String> {
    let templates = &project.environment.templates;
    // Ours is known to be sound, a user's is tried by a check too.
    if project.outline && !templates.contains_key(TEMPLATE) {
        return Ok(Text::default());
    }
    let mut services = Vec::new();
    let mut volumes = Vec::new();
    let mut secret = false;
    for resource in project.resources() {
        match &resource.thing {
            Thing::Container(container) => {
                secret |= container.env.values().any(Text::is_secret);
                services.push(service(container));
            }
            Thing::Volume(made) => volumes.push(volume(made)),
            _ => {}
        }
    }
    let model = Model {
        source: project.environment.file.clone(),
        services,
        volumes,
    };
    let text = template::file(TEMPLATE, templates, &model)?;
    Ok(if secret {
        Text::secret(Secret::new(text))
    } else {
        Text::plain(text)
    })
}

fn service(container: &Container) -> Service {
    Service {
        name: container.service.clone(),
        image: container.image.clone(),
        command: container.command.clone(),
        user: container.user.clone(),
        environment: container
            .env
            .iter()
            .map(|(name, value)| Pair {
                name: name.clone(),
                value: value.expose().expose().to_owned(),
            })
            .collect(),
        ports: container
            .ports
            .iter()
            .map(|port| format!("{}:{}:{}", port.address, port.outside, port.inside))
            .collect(),
        mounts: container
            .mounts
            .iter()
            .map(|(target, mount)| mounted(target, mount))
            .collect(),
        depends_on: container.depends.clone(),
        health: container.health.as_ref().map(|health| Check {
            test: health.test.clone(),
            interval: health.interval,
            timeout: health.timeout,
            retries: health.retries,
            start_period: health.start_period,
        }),
        labels: container
            .labels()
            .into_iter()
            .map(|(name, value)| Pair { name, value })
            .collect(),
        stop_seconds: container.stop_seconds,
    }
}

fn mounted(target: &str, mount: &Mount) -> Mounted {
    let (kind, source, read_only) = match mount {
        Mount::Volume(_, key) => ("volume", key.clone(), false),
        Mount::Bind(path, read_only) => ("bind", path.clone(), *read_only),
    };
    Mounted {
        r#type: kind,
        source,
        target: target.to_owned(),
        read_only,
    }
}

fn volume(volume: &Volume) -> NamedVolume {
    NamedVolume {
        name: volume.key.clone(),
        labels: vec![
            Pair {
                name: FAMILY.to_owned(),
                value: volume.family.clone(),
            },
            Pair {
                name: ENVIRONMENT.to_owned(),
                value: volume.owner.environment.clone(),
            },
        ],
    }
}

impl Project<'_> {
    fn containers_need(&mut self, needs: &[Id]) {
        for resource in self.resources_mut() {
            if matches!(resource.thing, Thing::Container(_)) {
                resource.needs.extend_from_slice(needs);
            }
        }
    }
}
