//! Real parts: a throwaway copy of the environments with a project and ports of its own, on the Docker engine of this machine.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use provision::command::Dialect;
use provision::quote;
use serde_json::Value;

pub mod canary;
pub mod compose;
pub mod server;
pub mod values;

static NEXT: AtomicUsize = AtomicUsize::new(0);

/// Whether there is an engine; says loudly that a test is skipped where there is none, or fails where there has to be one.
pub fn engine() -> bool {
    static THERE: OnceLock<bool> = OnceLock::new();
    let there = *THERE.get_or_init(|| {
        Command::new("docker")
            .arg("info")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|s| s.success())
    });
    if !there {
        assert!(
            std::env::var("PROVISION_LIVE").as_deref() != Ok("1"),
            "PROVISION_LIVE=1, and no Docker engine answers"
        );
        eprintln!("\n*** SKIPPED: no Docker engine answers, so a live test did not run ***\n");
    }
    static IMAGES: OnceLock<()> = OnceLock::new();
    if there {
        // Once for all tests: two that build the same image would take it from each other's containers.
        IMAGES.get_or_init(|| {
            Lab::new("images")
                .provision(&["render", "local", "--images"])
                .ends(0);
        });
    }
    there
}

/// A change of a plan: id, action and the names of its fields.
pub type Change = (String, String, Vec<String>);

/// A run of a program: what it said and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub stdout: String,
    pub stderr: String,
    pub code: i32,
}

impl Ran {
    pub fn of(output: Output) -> Self {
        Ran {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code().unwrap_or(-1),
        }
    }

    /// The same, if it ended with a code.
    #[track_caller]
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "stdout:\n{}\nstderr:\n{}",
            self.stdout, self.stderr
        );
        self
    }

    /// The changes of a `plan --json`.
    #[track_caller]
    pub fn changes(&self) -> Vec<Change> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let list = |value: &Value| value.as_array().unwrap().clone();
        let change = |change: &Value| {
            let fields = list(&change["fields"]);
            let fields = fields.iter().map(|field| text(&field["name"])).collect();
            (text(&change["id"]), text(&change["action"]), fields)
        };
        list(&self.json()["changes"]).iter().map(change).collect()
    }

    /// That a `plan --detailed-exitcode` found nothing to do.
    #[track_caller]
    pub fn has_nothing_to_do(&self) {
        assert_eq!(self.code, 0, "{}\n{}", self.stdout, self.stderr);
        assert!(self.stdout.contains("Nothing to do"), "{}", self.stdout);
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}\n{}\n{}", self.stdout, self.stderr))
    }
}

/// Where the binary under test is.
pub const BINARY: &str = env!("CARGO_BIN_EXE_provision");

/// Whether this process was started with signals ignored, as a shell does with what it runs in the background: then all that it starts
/// ignores them, too.
pub fn is_deaf() -> bool {
    static DEAF: OnceLock<bool> = OnceLock::new();
    *DEAF.get_or_init(|| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        // HUP, INT, QUIT and TERM.
        mask.is_some_and(|mask| mask & 0b100_0000_0000_0111 != 0)
    })
}

/// A program that hears all signals.
pub fn hearing(program: &str) -> Command {
    let mut command = Command::new("/usr/bin/env");
    command
        .arg("--default-signal=HUP,INT,QUIT,TERM")
        .arg(program);
    command
}

/// The binary under test.
pub fn provision() -> Command {
    let mut command = match is_deaf() {
        true => hearing(BINARY),
        false => Command::new(BINARY),
    };
    command
        .stdin(Stdio::null())
        .env_remove("NO_COLOR")
        .env("COLUMNS", "120");
    command
}

/// Runs a program to its end.
#[track_caller]
pub fn run(command: &mut Command) -> Ran {
    let ran = Ran::of(command.output().unwrap());
    canary::hear(command, &ran);
    ran
}

/// `docker` with some words; fails the test if it fails.
#[track_caller]
pub fn docker(words: &[&str]) -> String {
    let ran = run(Command::new("docker").args(words));
    assert_eq!(ran.code, 0, "docker {words:?}: {}", ran.stderr);
    ran.stdout.trim().to_owned()
}

/// A port that nobody holds now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// Those of some values that can be names in PostgreSQL, of 1 to 63 bytes, and what makes the server say each of them in hexadecimal.
pub fn names_of_postgres(values: &[String]) -> (Vec<&String>, String) {
    use std::fmt::Write as _;
    let fits = |value: &&String| (1..=63).contains(&value.len());
    let names: Vec<&String> = values.iter().filter(fits).collect();
    let mut sql = String::new();
    for name in &names {
        let quoted = quote::identifier(Dialect::Postgres, name);
        let _ = writeln!(
            sql,
            "SELECT encode(convert_to(key, 'UTF8'), 'hex') FROM json_each(row_to_json((SELECT r FROM (SELECT 1 AS {quoted}) r)));"
        );
    }
    (names, sql)
}

/// An environment for [`Lab::with`]: a PostgreSQL server with a role and a database.
pub const SMALL: &str = r#"
[environment]
project = "PROJECT"
[postgres.analytics]
[postgres.analytics.role.app]
password = "app-canary-pass"
[postgres.analytics.database.app]
owner = "app"
[forward.analytics]
to = "postgres.analytics"
listen = "127.0.0.1:POSTGRES_PORT"
"#;

/// A throwaway copy of `environments/` with its own project and ports; gone with everything on the engine when dropped.
pub struct Lab {
    /// The folder that holds `environments`.
    pub folder: tempfile::TempDir,
    /// The Compose project: the label of all that this test makes.
    pub project: String,
    pub postgres: u16,
    pub mariadb: u16,
    pub web: u16,
}

impl Lab {
    /// A copy of the project's own environments.
    pub fn new(name: &str) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let lab = Lab {
            folder: tempfile::Builder::new()
                .prefix("provision-lab-")
                .tempdir()
                .unwrap(),
            project: format!("t{}x{number}{name}", std::process::id()),
            postgres: free_port(),
            mariadb: free_port(),
            web: free_port(),
        };
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("environments");
        copy(&from, &lab.folder.path().join("environments"));
        canary::learn(&std::fs::read_to_string(lab.path("local.toml")).unwrap());
        lab.edit(
            "base.toml",
            "project = \"iact\"",
            &format!("project = \"{}\"", lab.project),
        );
        lab.edit(
            "local.toml",
            "127.0.0.1:15432",
            &format!("127.0.0.1:{}", lab.postgres),
        );
        lab.edit(
            "local.toml",
            "127.0.0.1:13306",
            &format!("127.0.0.1:{}", lab.mariadb),
        );
        lab.edit(
            "local.toml",
            "127.0.0.1:8000",
            &format!("127.0.0.1:{}", lab.web),
        );
        lab
    }

    /// The same with an environment `local` of its own in place of the project's.
    pub fn with(name: &str, local: &str) -> Self {
        let lab = Lab::new(name);
        let text = local
            .replace("PROJECT", &lab.project)
            .replace("POSTGRES_PORT", &lab.postgres.to_string())
            .replace("MARIADB_PORT", &lab.mariadb.to_string())
            .replace("WEB_PORT", &lab.web.to_string());
        lab.write("local.toml", &text);
        lab
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join("environments").join(file)
    }

    /// The folder of generated files.
    pub fn generated(&self) -> PathBuf {
        self.folder.path().join(".provision/local")
    }

    /// Replaces words in an environment file; they have to be there.
    #[track_caller]
    pub fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.path(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "`{from}` is not in {file}");
        let text = text.replace(from, to);
        canary::learn(&text);
        std::fs::write(path, text).unwrap();
    }

    pub fn write(&self, file: &str, text: &str) {
        canary::learn(text);
        std::fs::write(self.path(file), text).unwrap();
    }

    /// `provision` in the lab's folder.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = provision();
        command.current_dir(self.folder.path()).args(words);
        command
    }

    #[track_caller]
    pub fn provision(&self, words: &[&str]) -> Ran {
        run(&mut self.command(words))
    }

    /// `apply local --yes`, which has to end well.
    #[track_caller]
    pub fn apply(&self) -> Ran {
        self.provision(&["apply", "local", "--yes"]).ends(0)
    }

    /// The changes of `plan local --json`: id, action and the names of the fields.
    #[track_caller]
    pub fn plan(&self) -> Vec<Change> {
        let plan = self.provision(&["plan", "local", "--json"]);
        assert!(matches!(plan.code, 0 | 4 | 8), "{plan:?}");
        plan.changes()
    }

    #[track_caller]
    pub fn nothing_to_do(&self) {
        self.provision(&["plan", "local", "--detailed-exitcode"])
            .has_nothing_to_do();
    }

    pub fn container(&self, service: &str) -> String {
        format!("{}-{service}-1", self.project)
    }

    /// SQL as the superuser inside the PostgreSQL container.
    #[track_caller]
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let container = self.container("analytics");
        docker(&[
            "exec",
            "-u",
            "postgres",
            &container,
            "psql",
            "-XAtq",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            database,
            "-c",
            sql,
        ])
    }

    /// SQL as root inside the MariaDB container.
    #[track_caller]
    pub fn mariadb(&self, sql: &str) -> String {
        docker(&["exec", &self.container("ivr"), "mariadb", "-N", "-e", sql])
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let label = format!("label=com.docker.compose.project={}", self.project);
        let list = |words: &[&str]| {
            let output = Command::new("docker").args(words).output();
            output
                .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
                .unwrap_or_default()
        };
        let remove = |words: &[&str], names: String| {
            let names: Vec<&str> = names.split_whitespace().collect();
            if !names.is_empty() {
                let _ = Command::new("docker").args(words).args(names).output();
            }
        };
        canary::look_at_folder(self.folder.path());
        let containers = list(&["ps", "-aq", "--filter", &label]);
        containers
            .split_whitespace()
            .for_each(canary::look_at_container);
        remove(&["rm", "-f", "-v"], containers);
        remove(
            &["network", "rm"],
            list(&["network", "ls", "-q", "--filter", &label]),
        );
        remove(
            &["volume", "rm", "-f"],
            list(&["volume", "ls", "-q", "--filter", &label]),
        );
        let images = list(&[
            "images",
            "--format",
            "{{.Repository}}:{{.Tag}}",
            "--filter",
            &format!("reference={}-*", self.project),
        ]);
        remove(&["rmi", "--no-prune"], images);
    }
}

/// Copies a folder with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Waits until something holds; fails the test after a minute.
#[track_caller]
pub fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..600 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("not within a minute: {what}");
}
