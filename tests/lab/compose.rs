//! Both Docker Composes, from Debian's packages: 1.29 as it is installed, else in a container, and 2.26 unpacked from the next
//! release.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::{Ran, run};

/// A Docker configuration folder whose CLI plugin is Compose 2.26; fetched once a test run.
pub fn v2() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compose-v2");
        let plugin = folder.join("cli-plugins/docker-compose");
        if !plugin.exists() {
            fetch(&folder, &plugin);
        }
        folder
    })
}

/// Debian's next release has it; its package unpacks and runs here. Nothing is installed, and apt's own lists stay as they are.
fn fetch(folder: &Path, plugin: &Path) {
    let work = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let at = work.path();
    std::fs::create_dir_all(at.join("lists/partial")).unwrap();
    std::fs::create_dir_all(at.join("cache/archives/partial")).unwrap();
    std::fs::write(
        at.join("sources.list"),
        "deb http://deb.debian.org/debian trixie main\n",
    )
    .unwrap();
    let apt = |words: &[&str]| {
        let mut command = Command::new("apt-get");
        command.current_dir(at).arg("-q");
        for (option, value) in [
            (
                "Dir::Etc::sourcelist",
                at.join("sources.list").display().to_string(),
            ),
            ("Dir::Etc::sourceparts", "-".to_owned()),
            ("Dir::State::Lists", at.join("lists").display().to_string()),
            ("Dir::Cache", at.join("cache").display().to_string()),
        ] {
            command.arg("-o").arg(format!("{option}={value}"));
        }
        run(command.args(words)).ends(0);
    };
    apt(&["update"]);
    apt(&["download", "docker-compose"]);
    let package = std::fs::read_dir(at)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|end| end == "deb"))
        .expect("apt-get download left a package");
    run(Command::new("dpkg-deb")
        .arg("-x")
        .arg(package)
        .arg(at.join("unpacked")))
    .ends(0);
    std::fs::create_dir_all(folder.join("cli-plugins")).unwrap();
    let binary = at.join("unpacked/usr/libexec/docker/cli-plugins/docker-compose");
    // Renamed into place, so that a run that dies leaves no half of it.
    let half = folder.join("cli-plugins/docker-compose.half");
    std::fs::copy(binary, &half).unwrap();
    std::fs::rename(half, plugin).unwrap();
}

/// `docker compose` 2.26 in a folder.
pub fn compose2(folder: &Path, words: &[&str]) -> Ran {
    run(Command::new("docker")
        .current_dir(folder)
        .env("DOCKER_CONFIG", v2())
        .arg("compose")
        .args(words))
}

/// `docker-compose` 1.29 in a folder. Where it is not installed, one in a container speaks to the same engine.
pub fn compose1(folder: &Path, words: &[&str]) -> Ran {
    static INSTALLED: OnceLock<bool> = OnceLock::new();
    let version = || {
        let output = Command::new("docker-compose")
            .args(["version", "--short"])
            .output();
        output.is_ok_and(|output| output.stdout.starts_with(b"1."))
    };
    if *INSTALLED.get_or_init(version) {
        return run(Command::new("docker-compose")
            .current_dir(folder)
            .args(words));
    }
    let at = folder.display().to_string();
    let mut command = Command::new("docker");
    // Without the program `docker` beside it, `exec` has to speak to the engine itself.
    let alone = "COMPOSE_INTERACTIVE_NO_CLI=1";
    command.args(["run", "--rm", "--network", "host", "-e", alone, "-w", &at]);
    for mount in [
        "/var/run/docker.sock:/var/run/docker.sock".to_owned(),
        format!("{at}:{at}"),
    ] {
        command.args(["-v", &mount]);
    }
    run(command.arg(contained()).args(words))
}

/// An image that runs Debian 12's `docker-compose`; built once, on the base image of the sample application, which is Debian 12
/// from wherever it came.
fn contained() -> &'static str {
    const IMAGE: &str = "provision-tests/docker-compose:1.29";
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        std::fs::write(
            folder.path().join("Dockerfile"),
            "FROM python:3.11-slim-bookworm\n\
             RUN apt-get update -q && apt-get install -yq --no-install-recommends docker-compose\n\
             ENTRYPOINT [\"/usr/bin/docker-compose\"]\n",
        )
        .unwrap();
        run(Command::new("docker")
            .args(["build", "-q", "--network", "host", "-t", IMAGE])
            .arg(folder.path()))
        .ends(0);
    });
    IMAGE
}
