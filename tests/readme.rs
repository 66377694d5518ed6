//! The README is true: its reference is the language's own, its TOML is valid, and its console blocks are what the program says.
//!
//! ` ```console offline ` runs in a copy of `environments/`, stdout and stderr together. ` ```console live ` runs on an engine, in a lab of
//! its own, all such blocks in order, stdout only; ` ```console server ` on two bare servers (`live/production.rs`), where `ssh NAME` is a
//! server. ` ```toml whole ` is a whole environment file. With `UPDATE=1` the reference
//! and the offline blocks are written anew.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use provision::environment;
use provision::error::Kind;

use crate::lab::{Lab, copy, docker, engine, provision, run, until};

/// The folder that the README says it runs in.
const HOME: &str = "/home/ana/iact";

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")
}

fn readme() -> String {
    std::fs::read_to_string(path()).unwrap()
}

fn updates() -> bool {
    std::env::var("UPDATE").as_deref() == Ok("1")
}

/// Puts a text in the place of another in the README; tests that do so wait for each other.
fn replace(from: &str, to: &str) {
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one = ONE.lock().unwrap();
    let text = readme();
    assert_eq!(text.matches(from).count(), 1, "{from}");
    std::fs::write(path(), text.replace(from, to)).unwrap();
}

/// The fenced blocks of a kind, as in `toml whole`; `toml` finds that, too.
fn blocks(kind: &str) -> Vec<String> {
    let text = readme();
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else {
            continue;
        };
        let body: String = lines
            .by_ref()
            .take_while(|line| *line != "```")
            .map(|line| format!("{line}\n"))
            .collect();
        if info == kind || info.starts_with(&format!("{kind} ")) {
            found.push(body);
        }
    }
    assert!(!found.is_empty(), "no block `{kind}`");
    found
}

/// What stands between two markers.
fn between(name: &str) -> String {
    let text = readme();
    let (_, after) = text.split_once(&format!("<!-- {name} -->\n")).unwrap();
    let (inside, _) = after.split_once(&format!("<!-- /{name} -->")).unwrap();
    inside.to_owned()
}

/// The rows of the table under a heading, by cell.
fn table(heading: &str) -> Vec<Vec<String>> {
    let text = readme();
    let (_, after) = text.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = after.split("\n## ").next().unwrap();
    section
        .lines()
        .filter(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            cells.map(|cell| cell.trim().to_owned()).collect()
        })
        .collect()
}

/// Runs the blocks of a kind in order and tells where they say something else than what comes out; with `UPDATE=1` they are written
/// anew where there is more than what differs from run to run. `run` gives stdout and stderr; the blocks hold stdout.
pub fn tell(kind: &str, run: &dyn Fn(&str) -> (String, String)) -> Vec<String> {
    let mut mistakes = Vec::new();
    for block in blocks(kind) {
        let mut anew = String::new();
        for (command, said) in commands(&block) {
            let (out, err) = run(&command);
            anew.push_str(&format!("$ {command}\n{out}"));
            let (said, really) = (alike(&said), alike(&out));
            if said != really {
                mistakes.push(format!(
                    "$ {command}\n--- README\n{said}--- really\n{really}--- stderr\n{err}"
                ));
            }
        }
        if updates() && alike(&anew) != alike(&block) {
            replace(&block, &anew);
        }
    }
    if updates() { Vec::new() } else { mistakes }
}

/// The commands of a console block, each with what it says.
fn commands(block: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for line in block.lines() {
        match (line.strip_prefix("$ "), found.last_mut()) {
            (Some(command), _) => found.push((command.to_owned(), String::new())),
            (None, Some((_, said))) => said.push_str(&format!("{line}\n")),
            (None, None) => panic!("a console block begins with `$ `: {line}"),
        }
    }
    found
}

/// A shell in a folder, whose `provision` is the one under test.
fn shell(folder: &Path, line: &str) -> Command {
    let inside = crate::lab::BINARY;
    let programs = Path::new(&inside).parent().unwrap().to_owned();
    let path = std::env::var_os("PATH").unwrap();
    let path =
        std::env::join_paths([programs].into_iter().chain(std::env::split_paths(&path))).unwrap();
    let mut command = Command::new("sh");
    command
        .current_dir(folder)
        .env("PATH", path)
        .env("NO_COLOR", "1")
        .stdin(std::process::Stdio::null())
        .args(["-c", line]);
    command
}

#[test]
fn the_reference_is_the_languages_own() {
    let wanted = format!("{}\n", environment::reference().trim_end());
    let found = between("reference");
    if updates() && found != wanted {
        let around = |text: &str| format!("<!-- reference -->\n{text}<!-- /reference -->");
        replace(&around(&found), &around(&wanted));
    } else {
        assert_eq!(found, wanted, "`UPDATE=1 cargo test readme` writes it anew");
    }
}

#[test]
fn its_toml_is_toml_and_its_whole_files_are_valid() {
    for block in blocks("toml") {
        block
            .parse::<toml::Table>()
            .unwrap_or_else(|error| panic!("{error}\n{block}"));
    }
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("environments");
    copy(Path::new("environments"), &dir);
    for block in blocks("toml whole") {
        std::fs::write(dir.join("whole.toml"), &block).unwrap();
        let loaded = environment::load(&dir, "whole");
        let loaded =
            loaded.unwrap_or_else(|failure| panic!("{failure}: {:?}\n{block}", failure.problems));
        assert!(loaded.warnings.is_empty());
        let mut command = provision();
        command
            .current_dir(folder.path())
            .args(["validate", "whole"]);
        run(&mut command).ends(0);
    }
}

#[test]
fn what_needs_no_engine_is_said_exactly_so() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let dir = root.join("environments");
    copy(Path::new("environments"), &dir);
    // The files that blocks show under their name.
    let shown: Vec<(String, String)> = blocks("toml")
        .into_iter()
        .filter_map(|block| {
            let name = block.lines().next()?.strip_prefix("# environments/")?;
            Some((name.to_owned(), block.clone()))
        })
        .collect();
    for block in blocks("yaml") {
        let name = block
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("# "));
        std::fs::write(root.join(name.unwrap()), &block).unwrap();
    }
    let mut mistakes = Vec::new();
    for block in blocks("console offline") {
        let mut anew = String::new();
        for (command, said) in commands(&block) {
            // Only where it is asked for, so that `--all` speaks of the real ones.
            let named: Vec<_> = shown
                .iter()
                .filter(|(name, _)| command.contains(name.trim_end_matches(".toml")))
                .collect();
            for (name, text) in &named {
                std::fs::write(dir.join(name), text).unwrap();
            }
            let ran = run(&mut shell(&root, &format!("{{ {command}\n}} 2>&1")));
            for (name, _) in &named {
                std::fs::remove_file(dir.join(name)).unwrap();
            }
            let really = ran.stdout.replace(root.to_str().unwrap(), HOME);
            anew.push_str(&format!("$ {command}\n{really}"));
            if really != said {
                mistakes.push(format!(
                    "$ {command}\n--- README\n{said}--- really\n{really}"
                ));
            }
        }
        if updates() && anew != block {
            replace(&block, &anew);
        }
    }
    assert!(
        updates() || mistakes.is_empty(),
        "{}\n`UPDATE=1 cargo test readme` writes these blocks anew",
        mistakes.join("\n")
    );
}

#[test]
fn what_needs_an_engine_is_said_so() {
    if !engine() {
        return;
    }
    // What another environment had to have is there, so that the README's own images are what is new.
    let other = Lab::new("before");
    other.provision(&["render", "local", "--images"]).ends(0);
    let lab = Lab::new("readme");
    let mut mistakes = Vec::new();
    for (command, said) in blocks("console live")
        .iter()
        .flat_map(|block| commands(block))
    {
        if command.starts_with("provision ps") {
            // The engine's own first check comes an interval after the start.
            until("the engine calls it healthy", || {
                docker(&[
                    "inspect",
                    "-f",
                    "{{.State.Health.Status}}",
                    &lab.container("iact"),
                ]) == "healthy"
            });
        }
        let ran = run(&mut shell(lab.folder.path(), &to_lab(&lab, &command)));
        let (said, really) = (alike(&said), alike(&from_lab(&lab, &ran.stdout)));
        if said != really {
            mistakes.push(format!(
                "$ {command}\n--- README\n{said}--- really\n{really}--- stderr\n{}",
                ran.stderr
            ));
        }
    }
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
}

fn to_lab(lab: &Lab, text: &str) -> String {
    text.replace("iact-analytics-1", &lab.container("analytics"))
        .replace("volume.iact_", &format!("volume.{}_", lab.project))
}

fn from_lab(lab: &Lab, text: &str) -> String {
    text.replace(&lab.project, "iact")
        .replace(&lab.postgres.to_string(), "15432")
        .replace(&lab.mariadb.to_string(), "13306")
        .replace(&lab.web.to_string(), "8000")
        .replace(lab.folder.path().to_str().unwrap(), HOME)
}

/// What differs from run to run, taken out: columns, times, digests of images, generated secrets.
fn alike(text: &str) -> String {
    text.lines()
        .map(|line| format!("{}\n", alike_line(line)))
        .collect()
}

fn alike_line(line: &str) -> String {
    let is_time = |word: &str| word.parse::<f64>().is_ok() && word.contains('.');
    let mut words: Vec<String> = line.split_whitespace().map(word).collect();
    for at in 0..words.len() {
        let next = words.get(at + 1).map(String::as_str).unwrap_or_default();
        // `in 24.8 s.`; `57 ms` at the end of a check, `1 min 27 s` at the end of an apply.
        let whole = words[at].chars().all(|c| c.is_ascii_digit());
        let is_one = match next {
            "s" | "s." | "s:" => whole || is_time(&words[at]),
            "ms" | "min" => whole,
            _ => false,
        };
        if is_one {
            words[at] = "N".to_owned();
        }
        // `at 2026-11-25 02:28 UTC`
        if at > 1 && words[at] == "UTC" {
            words[at - 2] = "DAY".to_owned();
            words[at - 1] = "TIME".to_owned();
        }
    }
    // `Up 12 seconds`, `Up About a minute`: as long as it takes until the next column.
    if let Some(up) = words.iter().position(|word| word == "Up") {
        let end = (up + 1..words.len()).find(|at| words[*at].contains("->"));
        words.drain(up + 1..end.unwrap_or(words.len()));
    }
    // A minute more is the machine's business.
    words.join(" ").replace("N min N s", "N s")
}

fn word(word: &str) -> String {
    if let Some((tag, digest)) = word.split_once("iact-iact:") {
        let rest = digest.trim_start_matches(|c: char| c.is_ascii_hexdigit());
        return format!("{tag}iact-iact:DIGEST{rest}");
    }
    match word.split_once("SECRET_KEY='") {
        Some((name, _)) => format!("{name}SECRET_KEY='...'"),
        None => word.to_owned(),
    }
}

#[test]
fn every_console_block_is_tried() {
    let all = blocks("console").len();
    assert_eq!(
        all,
        ["console offline", "console live", "console server"]
            .map(|kind| blocks(kind).len())
            .iter()
            .sum::<usize>()
    );
}

#[test]
fn every_fault_is_in_its_table() {
    let table = between("faults");
    let told: Vec<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| F")?.split(' ').next())
        .collect();
    let wanted: Vec<String> = (1..=104).map(|number| format!("{number:02}")).collect();
    assert_eq!(
        told, wanted,
        "`UPDATE=1 cargo test --test faults` writes it"
    );
    assert!(table.contains(", seed "), "{table}");
}

#[test]
fn every_command_is_in_its_table() {
    let help = run(provision().arg("--help")).ends(0).stdout;
    let (_, list) = help.split_once("Commands:\n").unwrap();
    let list = list.split("\n\n").next().unwrap();
    // The first word of a line at the margin of the list; what is indented further goes on from the line before.
    let there: BTreeSet<&str> = list
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    let rows = table("Commands");
    let told: BTreeSet<&str> = rows
        .iter()
        .flat_map(|row| row[0].split(", "))
        .map(|name| name.trim_matches('`'))
        .collect();
    assert_eq!(told, there);
}

#[test]
fn exit_codes_and_their_order_are_the_programs_own() {
    const KINDS: [Kind; 10] = [
        Kind::Failed,
        Kind::Differs,
        Kind::Usage,
        Kind::Unreachable,
        Kind::Locked,
        Kind::Stale,
        Kind::Secret,
        Kind::Data,
        Kind::Unhealthy,
        Kind::Interrupted,
    ];
    let told: Vec<u8> = table("Exit codes")
        .iter()
        .map(|row| row[0].parse().unwrap())
        .collect();
    let codes: Vec<u8> = std::iter::once(0).chain(KINDS.map(Kind::code)).collect();
    assert_eq!(told, codes);
    let mut left = KINDS.to_vec();
    let mut order = Vec::new();
    while let Some(first) = Kind::strongest(left.iter().copied()) {
        left.retain(|kind| *kind != first);
        order.push(first.code().to_string());
    }
    let sentence = format!("the first of these is told: {}.", order.join(", "));
    let flat = readme().replace('\n', " ");
    assert!(flat.contains(&sentence), "{sentence}");
}

#[test]
fn the_map_names_every_module() {
    let lib = include_str!("../src/lib.rs");
    let modules = lib
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "))
        .map(|name| name.trim_end_matches(';'));
    let rows = table("The map of the house");
    let told: BTreeSet<&str> = rows
        .iter()
        .flat_map(|row| row[0].split(", "))
        .map(|name| name.trim_matches('`').trim_end_matches('/'))
        .collect();
    assert_eq!(told, modules.collect());
}
