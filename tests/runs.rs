//! Whole runs as data, without an engine: `cases/runs/NAME.toml` holds the files and what is typed, `NAME.said` all that came back.
//! Each line of `typed` is given to `sh`, with `provision` on the path and nothing else of the machine's environment. `UPDATE=1`
//! writes the answers anew.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::lab::{Ran, copy, run};

const FOLDER: &str = "tests/cases/runs";

/// What may differ from run to run or from machine to machine, and the word that stands for it.
fn same_everywhere(text: &str, folder: &Path) -> String {
    text.replace(&folder.display().to_string(), "FOLDER")
        .replace(env!("CARGO_PKG_VERSION"), "VERSION")
}

/// Everything that a case says: each line typed, how it ended, and what it wrote.
fn said(case: &toml::Table) -> String {
    let root = tempfile::Builder::new()
        .prefix("provision-run-")
        .tempdir()
        .unwrap();
    let folder = root.path().canonicalize().unwrap();
    if case.get("copy").is_some() {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("environments");
        copy(&from, &folder.join("environments"));
    }
    for (name, text) in case
        .get("files")
        .and_then(toml::Value::as_table)
        .into_iter()
        .flatten()
    {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text.as_str().unwrap()).unwrap();
    }
    let mut said = String::new();
    for line in case["typed"].as_array().unwrap() {
        let line = line.as_str().unwrap();
        let ran = run(&mut typed(&folder, line));
        let _ = writeln!(said, "$ {line}");
        for (name, text) in [("stdout", &ran.stdout), ("stderr", &ran.stderr)] {
            if !text.is_empty() {
                let text = same_everywhere(text, &folder);
                let open = if text.ends_with('\n') {
                    ""
                } else {
                    "(no end of line)\n"
                };
                let _ = write!(said, "--- {name}\n{text}{open}");
            }
        }
        let _ = writeln!(said, "--- exit {}\n", ran.code);
    }
    said
}

/// A line for `sh` in a folder, with an environment that is the same on every machine.
fn typed(folder: &Path, line: &str) -> Command {
    let binary = Path::new(env!("CARGO_BIN_EXE_provision"));
    let path = format!(
        "{}:/usr/local/bin:/usr/bin:/bin",
        binary.parent().unwrap().display()
    );
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", line])
        .current_dir(folder)
        .stdin(Stdio::null())
        .env_clear()
        .envs([
            ("PATH", path.as_str()),
            ("HOME", "/nonexistent"),
            ("COLUMNS", "100"),
            ("DOCKER_HOST", "unix:///nonexistent/docker.sock"),
        ]);
    command
}

fn cases() -> Vec<PathBuf> {
    let mut cases: Vec<PathBuf> = fs::read_dir(FOLDER)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .collect();
    cases.sort();
    cases
}

#[test]
fn every_run_is_answered_as_written() {
    let cases = cases();
    assert!(cases.len() > 15, "the cases are gone");
    let mut wrong = Vec::new();
    for path in cases {
        let case: toml::Table = fs::read_to_string(&path)
            .unwrap()
            .parse()
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let found = said(&case);
        let answers = path.with_extension("said");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&answers, &found).unwrap();
        }
        let wanted = fs::read_to_string(&answers).unwrap_or_default();
        if found != wanted {
            wrong.push(format!(
                "{}\n--- found\n{found}\n--- wanted\n{wanted}",
                path.display()
            ));
        }
        for hidden in case
            .get("hidden")
            .and_then(toml::Value::as_array)
            .into_iter()
            .flatten()
        {
            let hidden = hidden.as_str().unwrap();
            let mut lines = found.lines().filter(|line| !line.starts_with("$ "));
            if lines.any(|line| line.contains(hidden)) {
                wrong.push(format!("{}: `{hidden}` is shown", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Values that quoting goes wrong with.
const HOSTILE: &[&str] = &[
    "plain",
    "with space",
    "it's",
    "\"double\"",
    "$HOME and ${HOME} and $(id) and `id`",
    "back\\slash\\n",
    "two\nlines",
    "tab\there",
    "#hash=equals;semicolon&and|pipe",
    "*?[a-z]~!^%{}<>()",
    "-n",
    "\u{e4}\u{20ac}\u{1f600}",
    "'; touch taken; '",
    " leading and trailing ",
    "\u{1b}[31mred",
];

/// `eval "$(provision env ENV)"` in a real shell gives each value byte by byte; a `.env` file does too, or is refused.
#[test]
fn variables_arrive_byte_by_byte() {
    let root = tempfile::tempdir().unwrap();
    for value in HOSTILE {
        let text = "[environment]\nproject = \"x\"\n[postgres.db]\n[postgres.db.role.app]\npassword = { env = \"GIVEN\" }\n\
             [postgres.db.database.app]\nowner = \"app\"\n[django.web]\nsource = \".\"\nsettings = \"x.settings\"\n\
             [django.web.env]\nPASSWORD = \"{{ postgres.db.role.app.password }}\"\nHOST = \"{{ postgres.db.host }}\"\n\
             [forward.db]\nto = \"postgres.db\"\nlisten = \"127.0.0.1:15432\"\n";
        let environments = root.path().join("environments");
        fs::create_dir_all(&environments).unwrap();
        fs::write(environments.join("local.toml"), text).unwrap();
        fs::write(environments.join("manage.py"), "").unwrap();
        fs::write(environments.join("requirements.txt"), "").unwrap();
        let got = |line: &str| run(typed(root.path(), line).env("GIVEN", value));
        let ran = got("eval \"$(provision env local)\" && printf '%s' \"$PASSWORD\"");
        assert_eq!((ran.stdout.as_str(), ran.code), (*value, 0), "{ran:?}");
        assert!(!root.path().join("taken").exists(), "a value was run");
        dotenv(&got("provision env local --dotenv"), value);
    }
}

/// What is refused says why and shows nothing; what is written is read back as a shell reads single quotes.
#[track_caller]
fn dotenv(ran: &Ran, value: &str) {
    if ran.code == 3 {
        assert!(
            ran.stderr.contains("`.env`") && ran.stdout.is_empty(),
            "{ran:?}"
        );
        assert!(value.len() < 6 || !ran.stderr.contains(value), "{ran:?}");
        return;
    }
    assert_eq!(ran.code, 0, "{ran:?}");
    let line = ran
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("PASSWORD="))
        .unwrap_or_else(|| panic!("{ran:?}"));
    let bare = line
        .strip_prefix('\'')
        .and_then(|line| line.strip_suffix('\''))
        .unwrap_or(line);
    assert_eq!(bare, value, "{ran:?}");
}
