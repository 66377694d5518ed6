//! What the engine is asked: everything of a sheet at once.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use bollard::errors::Error;
use bollard::query_parameters::{
    DownloadFromContainerOptionsBuilder, ListNetworksOptions, ListVolumesOptions,
};
use futures_util::StreamExt;
use futures_util::future::join_all;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Engine, Listed, PATIENCE, is_missing, status, words};
use crate::command::{Answer, Answers, Ask, EngineQuestion, Place, Row, Rows, Sheet};
use crate::resources::container;
use crate::target::ports::{self, Ports};
use crate::target::say::clean;

type Asked = Result<Vec<Row>, String>;

/// How long a registry may take to say whether it has an image.
const REGISTRY_PATIENCE: Duration = Duration::from_secs(6);

/// So many lines of the log of what does not run are looked at.
const LAST: usize = 20;

/// The line that tells best why something ended: the last that names a failure, since the next try may have begun to talk already;
/// else the last.
fn telling(mut lines: Vec<String>) -> Option<String> {
    const WORDS: [&str; 7] = [
        "fatal",
        "panic",
        "error",
        "exception",
        "failed",
        "cannot",
        "denied",
    ];
    let names = |line: &String| {
        let line = line.to_lowercase();
        WORDS.iter().any(|word| line.contains(word))
    };
    let at = lines
        .iter()
        .rposition(names)
        .or(lines.len().checked_sub(1))?;
    Some(lines.swap_remove(at))
}

impl Engine {
    /// Answers the engine's part of a sheet; `containers` is the list of all of them.
    pub async fn look(&self, sheet: &Sheet, containers: &[Listed], ports: &Ports) -> Answers {
        let looking = async {
            tokio::join!(
                self.ask_containers(sheet, containers),
                self.ask_images(sheet),
                self.ask_networks(),
                self.ask_volumes(sheet, containers),
                ports::busy(ports, &sheet.project, &sheet.ports, containers),
            )
        };
        let late = || Err("the engine took too long to answer".to_owned());
        let (containers, images, networks, volumes, busy) =
            match tokio::time::timeout(PATIENCE, looking).await {
                Ok(all) => all,
                Err(_) => (late(), late(), late(), late(), late()),
            };
        let containers = with_networks(containers, &networks);
        let networks = networks.map(|all| wanted_networks(all, sheet));
        let mut answers = Answers::default();
        for question in &sheet.questions {
            let asked = match question.ask {
                Ask::Engine(EngineQuestion::Containers) => &containers,
                Ask::Engine(EngineQuestion::Images) => &images,
                Ask::Engine(EngineQuestion::Networks) => &networks,
                Ask::Engine(EngineQuestion::Volumes) => &volumes,
                _ => continue,
            };
            answers.put(Place::Engine, question.name, answer(asked.clone()));
        }
        answers.put(Place::Engine, "busy", answer(busy));
        answers
    }

    async fn ask_containers(&self, sheet: &Sheet, containers: &[Listed]) -> Asked {
        let mut wanted = Vec::new();
        for container in containers {
            if container.is_of(&sheet.project) {
                wanted.push((
                    container.service.clone().unwrap_or_default(),
                    container,
                    false,
                ));
                continue;
            }
            let service = container
                .names
                .iter()
                .find_map(|name| sheet.containers.get(name));
            if let Some(service) = service {
                wanted.push((service.clone(), container, true));
            }
        }
        let ids: BTreeSet<&str> = wanted.iter().map(|(_, c, _)| c.image_id.as_str()).collect();
        let images = join_all(
            ids.iter()
                .map(|id| async move { (*id, self.image(id).await) }),
        );
        let inspects = join_all(
            wanted
                .iter()
                .map(|(_, container, _)| self.inspect(&container.id)),
        );
        let (images, inspects) = tokio::join!(images, inspects);
        let images: HashMap<&str, Result<Option<Value>, String>> = images.into_iter().collect();
        // Of those that run as they should nobody asks for the log.
        let last_lines = join_all(inspects.iter().map(|inspect| async move {
            let inspect = inspect.as_ref().ok()?.as_ref()?;
            let id = inspect["Id"]
                .as_str()
                .filter(|_| container::ails(inspect))?;
            telling(self.log_tail(id, LAST, false).await)
        }));
        let last_lines = last_lines.await;
        let mut rows = Vec::new();
        let all = wanted.into_iter().zip(inspects).zip(last_lines);
        for (((service, container, foreign), inspect), last_line) in all {
            // Gone since it was listed: not there.
            let Some(inspect) = inspect.transpose() else {
                continue;
            };
            let mut row = keyed(&service);
            // What cannot be inspected is there all the same, so the row says so without saying what it is.
            row.insert("inspect".to_owned(), inspect.unwrap_or(Value::Null));
            let image = images.get(container.image_id.as_str()).cloned();
            row.insert(
                "image".to_owned(),
                image.transpose()?.flatten().unwrap_or(Value::Null),
            );
            if foreign {
                row.insert("foreign".to_owned(), Value::Bool(true));
            }
            if let Some(line) = last_line {
                row.insert("last_line".to_owned(), json!(clean(&line, 200)));
            }
            rows.push(row);
        }
        Ok(rows)
    }

    async fn inspect(&self, id: &str) -> Result<Option<Value>, String> {
        maybe(self.docker.inspect_container(id, None).await)
    }

    async fn image(&self, id: &str) -> Result<Option<Value>, String> {
        maybe(self.docker.inspect_image(id).await)
    }

    async fn ask_images(&self, sheet: &Sheet) -> Asked {
        let rows = join_all(sheet.images.iter().map(|(tag, registry)| async move {
            if let Some(inspect) = self.image(tag).await? {
                let mut row = keyed(tag);
                row.insert("inspect".to_owned(), inspect);
                return Ok(Some(row));
            }
            if !registry {
                return Ok(None);
            }
            let (word, why) = self.ask_registry(tag).await;
            let mut row = keyed(tag);
            row.insert("registry".to_owned(), json!(word));
            row.insert("why".to_owned(), json!(why));
            Ok(Some(row))
        }));
        rows.await
            .into_iter()
            .filter_map(Result::transpose)
            .collect()
    }

    async fn ask_registry(&self, tag: &str) -> (&'static str, String) {
        let asked = self
            .docker
            .inspect_registry_image(tag, super::image::credentials(tag));
        match tokio::time::timeout(REGISTRY_PATIENCE, asked).await {
            Ok(Ok(_)) => ("has", String::new()),
            Ok(Err(error)) => match status(&error) {
                Some(400 | 401 | 403 | 404) => ("lacks", words(&error)),
                _ => (
                    "unreachable",
                    format!("its registry does not answer ({})", short(&error)),
                ),
            },
            Err(_) => {
                let seconds = REGISTRY_PATIENCE.as_secs();
                (
                    "unreachable",
                    format!("its registry does not answer within {seconds} s"),
                )
            }
        }
    }

    async fn ask_networks(&self) -> Asked {
        let networks = self.docker.list_networks(None::<ListNetworksOptions>).await;
        let networks = networks.map_err(|error| words(&error))?;
        Ok(networks
            .into_iter()
            .map(|network| {
                let mut row = keyed(network.name.as_deref().unwrap_or_default());
                row.insert("inspect".to_owned(), value(&network));
                row
            })
            .collect())
    }

    async fn ask_volumes(&self, sheet: &Sheet, containers: &[Listed]) -> Asked {
        let list = self.docker.list_volumes(None::<ListVolumesOptions>).await;
        let volumes = list
            .map_err(|error| words(&error))?
            .volumes
            .unwrap_or_default();
        let wanted: BTreeSet<&str> = sheet.volumes.iter().map(String::as_str).collect();
        let rows = volumes.iter().filter_map(|volume| {
            let project = volume.labels.get("com.docker.compose.project");
            let ours = project == Some(&sheet.project);
            (ours || wanted.contains(volume.name.as_str())).then_some(async move {
                let mut row = keyed(&volume.name);
                row.insert("inspect".to_owned(), value(volume));
                row.insert("ours".to_owned(), Value::Bool(ours));
                // One with a label says by it what its data is.
                if !volume.labels.contains_key(crate::resources::volume::FAMILY)
                    && let Some(data) = self
                        .data_version(&volume.name, &volume.mountpoint, containers)
                        .await
                {
                    row.insert("data".to_owned(), Value::String(data));
                }
                row
            })
        });
        Ok(join_all(rows).await)
    }

    /// What a database server wrote about its version into a volume, if that can be read.
    async fn data_version(
        &self,
        volume: &str,
        mountpoint: &str,
        containers: &[Listed],
    ) -> Option<String> {
        const FILES: [&str; 3] = ["PG_VERSION", "mariadb_upgrade_info", "mysql_upgrade_info"];
        let mount = |c: &Listed| {
            let (_, path) = c.volumes.iter().find(|(name, _)| name == volume)?;
            Some((c.id.clone(), path.trim_end_matches('/').to_owned()))
        };
        if let Some((container, path)) = containers.iter().find_map(mount) {
            let asked = join_all(
                FILES
                    .iter()
                    .map(|file| self.first_words(&container, format!("{path}/{file}"))),
            );
            return asked.await.into_iter().flatten().next();
        }
        FILES.iter().find_map(|file| {
            let path = std::path::Path::new(mountpoint).join(file);
            // Never through a link: the volume's files belong to whoever writes into it.
            let meta = std::fs::symlink_metadata(&path)
                .ok()
                .filter(|meta| meta.is_file() && meta.len() < 4096);
            meta.and_then(|_| std::fs::read(&path).ok())
                .and_then(|bytes| version_words(&bytes))
        })
    }

    /// The beginning of a small file in a container, read through the archive API.
    async fn first_words(&self, container: &str, path: String) -> Option<String> {
        let options = DownloadFromContainerOptionsBuilder::default()
            .path(&path)
            .build();
        let mut stream = std::pin::pin!(
            self.docker
                .download_from_container(container, Some(options))
        );
        let mut archive = Vec::new();
        while let Some(piece) = stream.next().await {
            archive.extend_from_slice(&piece.ok()?);
            if archive.len() > 64 * 1024 {
                return None;
            }
        }
        let mut archive = tar::Archive::new(archive.as_slice());
        let mut entry = archive.entries().ok()?.next()?.ok()?;
        if !entry.header().entry_type().is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).ok()?;
        version_words(&bytes)
    }
}

/// At most 64 bytes of a version file, trimmed; MariaDB ends its with a zero byte.
fn version_words(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes.get(..bytes.len().min(64))?).ok()?;
    let text = clean(
        text.trim_matches(|c: char| c.is_whitespace() || c == '\0'),
        64,
    );
    (!text.is_empty()).then_some(text)
}

fn answer(asked: Asked) -> Answer {
    match asked {
        Ok(rows) => Answer::Rows(Rows::new(rows)),
        Err(why) => Answer::Unreadable(why),
    }
}

fn keyed(key: &str) -> Row {
    let mut row = Map::new();
    row.insert("key".to_owned(), Value::String(key.to_owned()));
    row
}

fn value(thing: &impl Serialize) -> Value {
    serde_json::to_value(thing).unwrap_or(Value::Null)
}

/// An inspection, or none where there is no such thing.
fn maybe<T: Serialize>(asked: Result<T, Error>) -> Result<Option<Value>, String> {
    match asked {
        Ok(thing) => Ok(Some(value(&thing))),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(words(&error)),
    }
}

/// Tells every container's row the ids that networks have now.
fn with_networks(containers: Asked, networks: &Asked) -> Asked {
    let mut rows = containers?;
    // Without them nothing is said, and the network as a whole is unknown anyway.
    let Ok(networks) = networks else {
        return Ok(rows);
    };
    let mut ids = Map::new();
    for row in networks {
        let name = row.get("key").and_then(Value::as_str).unwrap_or_default();
        ids.insert(name.to_owned(), row["inspect"]["Id"].clone());
    }
    for row in &mut rows {
        row.insert("networks".to_owned(), Value::Object(ids.clone()));
    }
    Ok(rows)
}

fn wanted_networks(all: Vec<Row>, sheet: &Sheet) -> Vec<Row> {
    let wanted: BTreeSet<&str> = sheet.networks.iter().map(String::as_str).collect();
    let is_wanted = |row: &Row| {
        row.get("key")
            .and_then(Value::as_str)
            .is_some_and(|key| wanted.contains(key))
    };
    all.into_iter().filter(is_wanted).collect()
}

/// The last part of an error that was wrapped several times: what the operating system said.
fn short(error: &Error) -> String {
    let text = words(error);
    let tail = text.rsplit(": ").take(2).collect::<Vec<_>>();
    clean(&tail.into_iter().rev().collect::<Vec<_>>().join(": "), 120)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_without_their_dirt() {
        assert_eq!(version_words(b"15\n").as_deref(), Some("15"));
        assert_eq!(
            version_words(b"10.11.6-MariaDB\0").as_deref(),
            Some("10.11.6-MariaDB")
        );
        assert_eq!(version_words(b"\n"), None);
        assert_eq!(version_words(&[0xff, 0xfe]), None);
    }
}
