//! A check that cannot fail is no check: `cases/breakages.toml` lists changes that break our own code on purpose, and what has to
//! turn red. Each is made in a copy of the sources, never here.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::lab::{Ran, run};
use crate::table;

const LIST: &str = "tests/cases/breakages.toml";

/// A way to break our own code.
#[derive(Debug)]
struct Breakage {
    name: String,
    /// The file it is in, and the words there that are replaced.
    file: String,
    find: String,
    replace: String,
    /// Rows, or tests as the table names them.
    red: Vec<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn all() -> Result<Vec<Breakage>, String> {
    let text = fs::read_to_string(root().join(LIST)).map_err(|error| format!("{LIST}: {error}"))?;
    let list: toml::Table = text.parse().map_err(|error| format!("{LIST}: {error}"))?;
    let entries = list.get("breakage").and_then(toml::Value::as_array);
    let text = |entry: &toml::Value, key: &str| {
        let text = entry.get(key).and_then(toml::Value::as_str);
        text.map(str::to_owned)
            .ok_or_else(|| format!("{LIST}: no `{key}` in {entry:?}"))
    };
    let read = |entry: &toml::Value| {
        let red = entry.get("red").and_then(toml::Value::as_array);
        let red = red.into_iter().flatten().filter_map(toml::Value::as_str);
        Ok(Breakage {
            name: text(entry, "name")?,
            file: text(entry, "file")?,
            find: text(entry, "find")?,
            replace: text(entry, "replace")?,
            red: red.map(str::to_owned).collect(),
        })
    };
    entries.into_iter().flatten().map(read).collect()
}

/// What is wrong with the list: words that are no longer in our code, a name twice, nothing that has to turn red.
pub fn mistakes() -> Vec<String> {
    let all = match all() {
        Ok(all) => all,
        Err(mistake) => return vec![mistake],
    };
    let mut mistakes = Vec::new();
    for one in &all {
        let mut wrong = |why: String| mistakes.push(format!("{LIST}: `{}`: {why}", one.name));
        if all.iter().filter(|other| other.name == one.name).count() > 1 {
            wrong("is there twice".to_owned());
        }
        let source = fs::read_to_string(root().join(&one.file)).unwrap_or_default();
        match source.matches(&one.find).count() {
            1 if one.find != one.replace => {}
            1 => wrong("changes nothing".to_owned()),
            times => wrong(format!("`find` is {times} times in `{}`", one.file)),
        }
        if one.red.is_empty() {
            wrong("has nothing that turns red".to_owned());
        }
        for red in &one.red {
            if table::row_of(red).is_none() && !table::is_test(red) {
                wrong(format!("`{red}` is neither a row nor a test"));
            }
        }
    }
    mistakes
}

/// Makes each breakage in a copy of the sources and tries what has to turn red; whether all did.
pub fn try_all(names: &[String]) -> bool {
    let all = all().unwrap_or_default();
    if let Some(name) = names
        .iter()
        .find(|name| !all.iter().any(|one| one.name == **name))
    {
        println!("there is no breakage `{name}`");
        return false;
    }
    let folder = tempfile::Builder::new()
        .prefix("provision-breakages-")
        .tempdir()
        .unwrap();
    let copied = folder.path().join("source");
    sources(root(), &copied);
    // One folder for all of them, beside our own: only what a breakage touches is built anew.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("breakages");
    let (mut red, mut green) = (0, 0);
    let chosen = all
        .iter()
        .filter(|one| names.is_empty() || names.contains(&one.name));
    let chosen: Vec<&Breakage> = chosen.collect();
    let wanted: BTreeSet<&String> = chosen.iter().flat_map(|one| &one.red).collect();
    println!("| breakage | wanted red | came |\n|---|---|---|");
    // What is red without any of them says nothing of them.
    let mut useless = BTreeSet::new();
    for wanted in wanted {
        let red = is_red(&copied, &target, wanted, false);
        if red != Ok(false) {
            println!("| none | {wanted} | is not green: {red:?} |");
            useless.insert(wanted);
        }
    }
    for one in chosen {
        let path = copied.join(&one.file);
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, whole.replace(&one.find, &one.replace)).unwrap();
        for wanted in &one.red {
            let came = match useless.contains(wanted) {
                true => Err("red in any case".to_owned()),
                // A sample may miss it.
                false => match is_red(&copied, &target, wanted, false) {
                    Ok(false) => is_red(&copied, &target, wanted, true),
                    came => came,
                },
            };
            let came = match came {
                Ok(true) => "red".to_owned(),
                Ok(false) => "GREEN".to_owned(),
                Err(why) => why,
            };
            println!("| {} | {wanted} | {came} |", one.name);
            match came.as_str() {
                "red" => red += 1,
                _ => green += 1,
            }
        }
        fs::write(&path, whole).unwrap();
    }
    println!("{red} turned red, {green} did not");
    green == 0
}

/// Whether a row, as a sample or with all its cases, or a test is red in a copy of the sources; why that cannot be told.
fn is_red(copied: &Path, target: &Path, wanted: &str, all: bool) -> Result<bool, String> {
    let cargo = |words: &[&str]| -> Ran {
        run(
            Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
                .current_dir(copied)
                .env("CARGO_TARGET_DIR", target)
                .env_remove("UPDATE")
                .args(["test", "--locked", "-q"])
                .args(words),
        )
    };
    let (mut words, says): (Vec<&str>, String) = match wanted.rsplit_once("::") {
        None => (
            vec!["--test", "faults", "--", "--broken", wanted],
            format!("{wanted} RED"),
        ),
        Some((module, name)) if module.starts_with("src/") => {
            (vec!["--lib", "--", name], "test result: FAILED".to_owned())
        }
        Some(_) => (
            vec!["--test", "tests", "--", "--exact", wanted],
            "test result: FAILED".to_owned(),
        ),
    };
    let mut build = words[..words.iter().position(|word| *word == "--").unwrap()].to_vec();
    build.push("--no-run");
    let built = cargo(&build);
    if built.code != 0 {
        return Err(format!("does not build: {}", built.stderr));
    }
    if all && words.contains(&"--broken") {
        words.push("--all");
    }
    let ran = cargo(&words);
    match (ran.code, ran.stdout.contains(&says)) {
        (0, _) => Ok(false),
        (_, true) => Ok(true),
        (code, false) => Err(format!("ends with {code}: {}", ran.stderr)),
    }
}

/// Copies the sources without what is built of them.
fn sources(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        let name = path.file_name().unwrap();
        // Only at the top: there is a folder of that name among the sources, too.
        let built = ["target", ".git", ".provision"];
        if from == root() && built.iter().any(|built| name == *built) {
            continue;
        }
        if path.is_dir() {
            sources(&path, &to.join(name));
        } else {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}
