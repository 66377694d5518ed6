//! A second Docker engine of this machine, which may be stopped and killed without taking anything from anybody.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::lab::{BINARY, Lab, run};

/// Starts and ends it.
const SCRIPT: &str = include_str!("second.sh");

/// A second engine that holds one image. It is gone with all that it made when this process is, however that went.
pub struct Second {
    /// Where its sockets are; their paths have to be short.
    folder: PathBuf,
    data: PathBuf,
    guard: Child,
}

impl Second {
    /// Starts one; why there can be none here.
    pub fn new(image: &str) -> Result<Self, String> {
        let folder = tempfile::Builder::new()
            .prefix("provision-second-")
            .tempdir()
            .unwrap()
            .keep();
        let name = folder.file_name().unwrap();
        let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let down = format!("cat > /dev/null\n{SCRIPT}");
        let guard = Command::new("sh")
            .args(["-c", &down, "sh", "down"])
            .args([&folder, &data])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let second = Second {
            folder,
            data,
            guard,
        };
        second.up()?;
        let load = format!("docker save {image} | docker -H {} load", second.host());
        let loaded = run(Command::new("sh").args(["-c", &load]));
        match loaded.code {
            0 => Ok(second),
            _ => Err(loaded.stderr),
        }
    }

    /// What `DOCKER_HOST` is for it.
    fn host(&self) -> String {
        format!("unix://{}/sock", self.folder.display())
    }

    /// `provision` in a lab's folder, on this engine and in its network.
    pub fn command(&self, lab: &Lab, words: &[&str]) -> Command {
        let name = self.folder.file_name().unwrap().to_string_lossy();
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{name}"))
            .arg(BINARY)
            .args(words)
            .current_dir(lab.folder.path())
            .env("DOCKER_HOST", self.host())
            .stdin(Stdio::null());
        command
    }

    /// Starts it again where it does not run.
    pub fn up(&self) -> Result<(), String> {
        let ran = run(Command::new("sh")
            .args(["-c", SCRIPT, "sh", "up"])
            .args([&self.folder, &self.data]));
        match ran.code {
            0 => Ok(()),
            _ => Err(ran.stderr),
        }
    }

    /// Sends it a signal that ends it, and waits until it has ended.
    pub fn end(&self, signal: &str) -> Result<(), String> {
        let script = "pid=$(cat \"$0/pid\") && kill -s \"$1\" \"$pid\" && while kill -0 \"$pid\" 2> /dev/null; do sleep 0.05; done";
        let ran = run(Command::new("sh")
            .args(["-c", script])
            .arg(&self.folder)
            .arg(signal));
        match ran.code {
            0 => Ok(()),
            _ => Err(ran.stderr),
        }
    }

    /// `docker` on it.
    pub fn docker(&self, words: &[&str]) -> Result<String, String> {
        let ran = run(Command::new("docker")
            .args(["-H", &self.host()])
            .args(words));
        match ran.code {
            0 => Ok(ran.stdout.trim().to_owned()),
            _ => Err(format!("docker {words:?}: {}", ran.stderr)),
        }
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}
