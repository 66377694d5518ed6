//! Images: pulled from a registry, built from a context, or made from Debian's packages.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Stdio;

use bollard::auth::DockerCredentials;
use bollard::query_parameters::{BuildImageOptionsBuilder, CreateImageOptionsBuilder};
use futures_util::StreamExt;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use super::{Engine, is_missing, trouble, words};
use crate::command::Text;
use crate::error::Kind;
use crate::target::say::{clean, plain, tail};
use crate::target::{Trouble, context};

type Talk<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// How many lines of a build are kept for its error.
const LOG: usize = 40;

impl Engine {
    pub(super) async fn pull(&self, image: &str, talk: Talk<'_>) -> Result<(), Trouble> {
        let (name, tag) = name_and_tag(image);
        let options = CreateImageOptionsBuilder::default()
            .from_image(name)
            .tag(tag)
            .build();
        let mut stream = std::pin::pin!(self.docker.create_image(
            Some(options),
            None,
            credentials(image)
        ));
        let mut layers: HashMap<String, (i64, i64)> = HashMap::new();
        let mut told = String::new();
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|error| trouble("pull the image", &error))?;
            if let Some(error) = piece.error_detail.and_then(|detail| detail.message) {
                return Err(Trouble::failed(format!(
                    "cannot pull the image: {}",
                    clean(&error, 400)
                )));
            }
            let progress = piece
                .progress_detail
                .and_then(|p| Some((p.current?, p.total?)));
            if let (Some(id), Some(progress), Some("Downloading")) =
                (&piece.id, progress, piece.status.as_deref())
            {
                layers.insert(id.clone(), progress);
            }
            let (have, all) = layers
                .values()
                .fold((0, 0), |sum, layer| (sum.0 + layer.0, sum.1 + layer.1));
            let line = match all {
                0 => clean(piece.status.as_deref().unwrap_or_default(), 100),
                _ => format!("{} of {} MiB", have >> 20, all >> 20),
            };
            if !line.is_empty() && line != told {
                talk(&line);
                told = line;
            }
        }
        match self.docker.inspect_image(image).await {
            Ok(_) => Ok(()),
            Err(error) => Err(trouble("find the image after pulling it", &error)),
        }
    }

    pub(super) async fn build(
        &self,
        image: &str,
        texts: &[(String, Text)],
        args: &[(String, String)],
        folder: Option<&(String, PathBuf)>,
        ca: bool,
        talk: Talk<'_>,
    ) -> Result<(), Trouble> {
        let (texts, folder) = (texts.to_vec(), folder.cloned());
        let archive =
            tokio::task::spawn_blocking(move || context::archive(&texts, folder.as_ref(), ca));
        let archive = archive
            .await
            .unwrap_or_else(|_| Err("making the build context broke off".to_owned()));
        let archive = archive.map_err(Trouble::failed)?;
        let args: HashMap<String, String> = args.iter().cloned().collect();
        let options = BuildImageOptionsBuilder::default()
            .dockerfile("Dockerfile")
            .t(image)
            .rm(true)
            .forcerm(true)
            .buildargs(&args)
            .networkmode("host")
            .build();
        let body = bollard::body_full(archive.into());
        let mut stream = std::pin::pin!(self.docker.build_image(options, None, Some(body)));
        let mut log = String::new();
        let with_log = |error: Trouble, log: &str| error.said(log).log(tail(log, LOG, false, None));
        while let Some(piece) = stream.next().await {
            let piece =
                piece.map_err(|error| with_log(trouble("build the image", &error), &log))?;
            if let Some(error) = piece.error_detail.and_then(|detail| detail.message) {
                return Err(with_log(
                    Trouble::failed(format!("cannot build the image: {}", clean(&error, 400))),
                    &log,
                ));
            }
            let text = plain(&piece.stream.or(piece.status).unwrap_or_default());
            if let Some(line) = text.lines().rev().find(|line| !line.trim().is_empty()) {
                talk(&clean(line, 200));
            }
            log.push_str(&text);
            keep_tail(&mut log, 64 * 1024);
        }
        match self.docker.inspect_image(image).await {
            Ok(_) => Ok(()),
            Err(error) => Err(with_log(
                trouble("find the image after building it", &error),
                &log,
            )),
        }
    }

    pub(super) async fn bootstrap(
        &self,
        image: &str,
        suite: &str,
        talk: Talk<'_>,
    ) -> Result<(), Trouble> {
        let _one_at_a_time = self.bootstrapping.lock().await;
        match self.docker.inspect_image(image).await {
            Ok(_) => return Ok(()),
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(trouble("look for the image", &error)),
        }
        let scratch =
            tempfile::tempdir().map_err(|error| io_trouble("make a temporary folder", &error))?;
        let mut child = debian(suite, scratch.path(), talk).await?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(Trouble::failed(
                "the program that makes Debian has no output",
            ));
        };
        let (tell, hear) = tokio::sync::oneshot::channel();
        let body = bollard::body_try_stream(until_it_ends(stdout, child, tell));
        let (repo, tag) = name_and_tag(image);
        let options = CreateImageOptionsBuilder::default()
            .from_src("-")
            .repo(repo)
            .tag(tag)
            .build();
        let import = async {
            let mut stream =
                std::pin::pin!(self.docker.create_image(Some(options), Some(body), None));
            while let Some(piece) = stream.next().await {
                let piece = piece.map_err(|error| words(&error))?;
                if let Some(error) = piece.error_detail.and_then(|detail| detail.message) {
                    return Err(clean(&error, 400));
                }
            }
            Ok(())
        };
        let (imported, log) = tokio::join!(import, listen(stderr, talk));
        // What the program itself says counts more than that its stream broke off.
        let failed = |why: String| {
            Trouble::failed(format!("cannot make the bare Debian image: {why}"))
                .log(tail(&log, LOG, false, None))
        };
        if let Ok(Some(why)) = hear.await {
            return Err(failed(why));
        }
        imported.map_err(failed)
    }
}

/// A stream of the archive that fails where the program failed, so that half a Debian is never imported.
fn until_it_ends<B: From<Vec<u8>> + Send + 'static>(
    stdout: tokio::process::ChildStdout,
    child: Child,
    tell: tokio::sync::oneshot::Sender<Option<String>>,
) -> impl futures_util::Stream<Item = Result<B, std::io::Error>> + Send + 'static {
    futures_util::stream::unfold(Some((stdout, child, tell)), |state| async move {
        let (mut stdout, mut child, tell) = state?;
        let mut buffer = vec![0; 256 * 1024];
        match stdout.read(&mut buffer).await {
            Ok(count @ 1..) => {
                buffer.truncate(count);
                Some((Ok(B::from(buffer)), Some((stdout, child, tell))))
            }
            Ok(0) => {
                let why = match child.wait().await {
                    Ok(ended) if ended.success() => None,
                    Ok(ended) => Some(format!("it ended with {}", ended.code().unwrap_or(-1))),
                    Err(error) => Some(clean(&error.to_string(), 200)),
                };
                let failed = why.is_some();
                let _ = tell.send(why);
                failed.then(|| (Err(std::io::Error::other("the program failed")), None))
            }
            Err(error) => Some((Err(error), None)),
        }
    })
}

/// Starts the program that writes a bare Debian as a tar archive to its stdout.
async fn debian(suite: &str, scratch: &std::path::Path, talk: Talk<'_>) -> Result<Child, Trouble> {
    let root = is_root().await;
    let mmdebstrap = |mut command: Command| {
        command
            .arg("--variant=minbase")
            .arg(format!("--mode={}", if root { "root" } else { "unshare" }))
            .args(["--format=tar", suite, "-"]);
        command
    };
    let mut command = if on_path("mmdebstrap") {
        mmdebstrap(Command::new("mmdebstrap"))
    } else if on_path("debootstrap") && root {
        talk("making Debian with debootstrap");
        // It only fills folders, so a constant script packs the folder up; names are its arguments.
        const SCRIPT: &str = "debootstrap --variant=minbase \"$1\" \"$2\" >&2 && exec tar -C \"$2\" --one-file-system -c .";
        let mut command = Command::new("sh");
        command
            .args(["-c", SCRIPT, "sh", suite])
            .arg(scratch.join("root"));
        command
    } else if ["apt-get", "dpkg-deb", "perl"].into_iter().all(on_path) {
        talk("fetching mmdebstrap from Debian's packages, for this once");
        let mut command = Command::new("perl");
        command.arg(fetched(scratch).await?);
        mmdebstrap(command)
    } else {
        let message = "neither the registry nor mmdebstrap is there to make the bare Debian image; install it: sudo apt-get install mmdebstrap";
        return Err(Trouble::failed(message));
    };
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .env("LC_ALL", "C.UTF-8")
        .kill_on_drop(true)
        .process_group(0)
        .spawn()
        .map_err(|error| io_trouble("start the program that makes Debian", &error))
}

/// Unpacks mmdebstrap, one Perl program, into a folder of ours: nothing is installed, and the machine's own lists of packages
/// stay as they are.
async fn fetched(scratch: &std::path::Path) -> Result<PathBuf, Trouble> {
    const SCRIPT: &str = "set -eu; cd \"$1\"; mkdir -p lists/partial cache/archives/partial; \
         apt() { apt-get -q -o Dir::State::Lists=\"$PWD/lists\" -o Dir::Cache=\"$PWD/cache\" -o Debug::NoLocking=1 \"$@\"; }; \
         apt update; apt download mmdebstrap; dpkg-deb -x mmdebstrap_*.deb unpacked";
    let output = Command::new("sh")
        .args(["-c", SCRIPT, "sh"])
        .arg(scratch)
        .stdin(Stdio::null())
        .env("LC_ALL", "C.UTF-8")
        .kill_on_drop(true)
        .process_group(0)
        .output()
        .await
        .map_err(|error| io_trouble("fetch mmdebstrap", &error))?;
    if output.status.success() {
        return Ok(scratch.join("unpacked/usr/bin/mmdebstrap"));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let message = "mmdebstrap, which makes the bare Debian image, cannot be fetched from Debian's packages; install it: sudo apt-get install mmdebstrap";
    Err(Trouble::failed(message).log(tail(&said, LOG, false, None)))
}

fn io_trouble(what: &str, error: &std::io::Error) -> Trouble {
    Trouble::failed(format!("cannot {what}: {}", clean(&error.to_string(), 200))).kind(Kind::Failed)
}

async fn is_root() -> bool {
    let status = tokio::fs::read_to_string("/proc/self/status")
        .await
        .unwrap_or_default();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    uid.and_then(|uids| uids.split_ascii_whitespace().nth(1)) == Some("0")
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Reads a program's stderr, tells its lines, and keeps the end of it.
async fn listen(stderr: tokio::process::ChildStderr, talk: Talk<'_>) -> String {
    let mut log = String::new();
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let line = clean(&plain(&line), 300);
        if !line.is_empty() {
            talk(&line);
            log.push_str(&line);
            log.push('\n');
            keep_tail(&mut log, 64 * 1024);
        }
    }
    log
}

fn keep_tail(log: &mut String, most: usize) {
    if log.len() > 2 * most {
        let mut from = log.len() - most;
        while !log.is_char_boundary(from) {
            from += 1;
        }
        log.drain(..from);
    }
}

/// `postgres:15` as `postgres` and `15`; without a tag, `latest`. A colon before a slash is a port of the registry.
fn name_and_tag(image: &str) -> (&str, &str) {
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') && !name.contains('@') => (name, tag),
        _ if image.contains('@') => (image, ""),
        _ => (image, "latest"),
    }
}

/// The login for an image's registry that `docker login` wrote into its configuration, if it did without a helper.
pub(super) fn credentials(image: &str) -> Option<DockerCredentials> {
    use base64::Engine as _;
    let folder = std::env::var_os("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| {
            let home = std::env::var_os("HOME")?;
            Some(PathBuf::from(home).join(".docker"))
        })?;
    let text = std::fs::read_to_string(folder.join("config.json")).ok()?;
    let config: serde_json::Value = serde_json::from_str(&text).ok()?;
    let server = registry(image);
    let auth = config["auths"][server]["auth"].as_str()?;
    let decoded = base64::engine::general_purpose::STANDARD
        .decode(auth)
        .ok()?;
    let (user, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some(DockerCredentials {
        username: Some(user.to_owned()),
        password: Some(password.trim_end_matches('\0').to_owned()),
        serveraddress: Some(server.to_owned()),
        ..DockerCredentials::default()
    })
}

/// The registry in an image's name, by the name under which Docker keeps its login.
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => "https://index.docker.io/v1/",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_tags_and_registries() {
        assert_eq!(
            name_and_tag("postgres:15-bookworm"),
            ("postgres", "15-bookworm")
        );
        assert_eq!(
            name_and_tag("localhost:5000/x"),
            ("localhost:5000/x", "latest")
        );
        assert_eq!(
            name_and_tag("localhost:5000/x:1"),
            ("localhost:5000/x", "1")
        );
        assert_eq!(name_and_tag("x@sha256:abc"), ("x@sha256:abc", ""));
        assert_eq!(registry("postgres:15"), "https://index.docker.io/v1/");
        assert_eq!(registry("library/postgres"), "https://index.docker.io/v1/");
        assert_eq!(registry("ghcr.io/a/b:1"), "ghcr.io");
    }
}
