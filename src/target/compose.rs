//! The hash by which Compose v2 knows a service's configuration. It is over Compose's own structs, so Compose is asked.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::Mutex;

use crate::secret::sha256;

/// The hashes of the Compose file as it last was, by service; asked once a content.
#[derive(Default)]
pub(super) struct Hashes(Mutex<Option<(String, ByService)>>);

/// The hash of every service.
type ByService = Arc<HashMap<String, String>>;

impl Hashes {
    /// The hash of a service; `None` where there is no Compose v2 or it does not know the service.
    pub async fn of(&self, folder: &Path, service: &str) -> Option<String> {
        let file = folder.join("docker-compose.yml");
        let digest = sha256(tokio::fs::read(&file).await.ok()?);
        let mut kept = self.0.lock().await;
        let hashes = match kept.as_ref() {
            Some((of, hashes)) if *of == digest => Arc::clone(hashes),
            _ => {
                let hashes = Arc::new(ask(folder, &file).await.unwrap_or_default());
                *kept = Some((digest, Arc::clone(&hashes)));
                hashes
            }
        };
        hashes.get(service).cloned()
    }
}

async fn ask(folder: &Path, file: &Path) -> Option<HashMap<String, String>> {
    let mut command = Command::new("docker");
    command
        .args(["compose", "-f"])
        .arg(file)
        .arg("--project-directory")
        .arg(folder);
    command.args(["config", "--hash", "*"]);
    // What the operator's shell says of other projects is not about this one.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("COMPOSE_") {
            command.env_remove(name);
        }
    }
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(20), output)
        .await
        .ok()?
        .ok()?;
    output
        .status
        .success()
        .then(|| hashes(&String::from_utf8_lossy(&output.stdout)))
}

/// Lines `SERVICE HASH`.
fn hashes(text: &str) -> HashMap<String, String> {
    let is_hash =
        |hash: &str| hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.lines()
        .filter_map(|line| line.trim().rsplit_once(' '))
        .filter(|(_, hash)| is_hash(hash))
        .map(|(service, hash)| (service.trim().to_owned(), hash.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hashes_are_taken_for_hashes() {
        let hash = "a".repeat(64);
        let found = hashes(&format!("web {hash}\nwarning: something\n\ndb  {hash}\n"));
        assert_eq!(found.len(), 2);
        assert_eq!(found.get("db"), Some(&hash));
    }
}
