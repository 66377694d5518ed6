//! The rules of the house, as a test: which module may import which, where outside crates live, and what must be absent.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Modules from the ground up. A module imports only from its own level or below.
const LEVELS: &[&[&str]] = &[
    &[
        "secret",
        "declaration",
        "error",
        "fault",
        "command",
        "statement",
        "advice",
        "quote",
        "ledger",
        "operator",
    ],
    &["resource", "resources"],
    &["template"],
    &["services", "graph"],
    &["plan", "guards", "checks", "audit"],
    &["saved", "target"],
    &["import"],
    &["environment", "observe", "files", "show", "apply"],
    &["commands"],
    &["cli"],
    &["main"],
];

/// Outside crates and the one room each may be used in (path prefixes below `src/`).
const ROOMS: &[(&str, &[&str])] = &[
    ("clap", &["cli.rs"]),
    ("clap_complete", &["cli.rs"]),
    ("clap_mangen", &["cli.rs"]),
    ("bollard", &["target/engine"]),
    ("openssh", &["target/ssh.rs"]),
    ("minijinja", &["template.rs"]),
    ("toml", &["environment/"]),
    ("granit_parser", &["import/yaml.rs"]),
    ("lib_ruby_parser", &["import/ruby.rs"]),
    ("annotate_snippets", &["show/"]),
    ("indicatif", &["show/", "commands/"]),
    ("rustix", &["fault.rs", "main.rs", "target/local.rs"]),
    ("sha_crypt", &["secret.rs"]),
    ("sha1", &["secret.rs", "target/login.rs"]),
    ("pbkdf2", &["secret.rs", "target/login.rs"]),
];

/// Rooms that do no I/O.
const PURE: &[&str] = &[
    "services/",
    "resources/",
    "graph.rs",
    "plan.rs",
    "plan/",
    "audit.rs",
    "audit/",
    "guards.rs",
    "checks.rs",
    "checks/",
    "template.rs",
    "show/",
    "resource.rs",
    "command.rs",
    "statement.rs",
    "statement/",
    "advice.rs",
    "advice/",
    "quote.rs",
    "ledger.rs",
];

fn sources() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeMap::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let name = path.strip_prefix(&root).unwrap().display().to_string();
                // Tests beside the code may use what they like.
                let text = std::fs::read_to_string(&path).unwrap();
                let text = text
                    .split("#[cfg(test)]")
                    .next()
                    .unwrap_or_default()
                    .to_owned();
                found.insert(name, text);
            }
        }
    }
    found
}

fn level(module: &str) -> Option<usize> {
    LEVELS.iter().position(|level| level.contains(&module))
}

/// The mistakes that the rules find in some sources.
fn mistakes(sources: &BTreeMap<String, String>) -> Vec<String> {
    let mut mistakes = Vec::new();
    for (name, text) in sources {
        let module = name
            .split('/')
            .next()
            .unwrap_or_default()
            .trim_end_matches(".rs");
        if module == "lib" {
            continue;
        }
        let Some(own) = level(module) else {
            mistakes.push(format!("{name}: `{module}` has no level in the house"));
            continue;
        };
        for (at, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for start in ["crate::", "provision::"] {
                for used in code.split(start).skip(1) {
                    let used: String = used
                        .chars()
                        .take_while(|c| c.is_alphanumeric() || *c == '_')
                        .collect();
                    if level(&used).is_some_and(|used| used > own) {
                        mistakes.push(format!(
                            "{name}:{}: `{module}` imports `{used}`, a step back",
                            at + 1
                        ));
                    }
                }
            }
            for (outside, rooms) in ROOMS {
                let uses = code.contains(&format!("use {outside}::"))
                    || code.contains(&format!(" {outside}::"));
                if uses && !rooms.iter().any(|room| name.starts_with(room)) {
                    mistakes.push(format!("{name}:{}: `{outside}` has another room", at + 1));
                }
            }
            if PURE.iter().any(|pure| name.starts_with(pure)) {
                for forbidden in [
                    "std::fs",
                    "std::process",
                    "std::net",
                    "async fn",
                    ".await",
                    "tokio::",
                    "std::env",
                ] {
                    if code.contains(forbidden) {
                        mistakes.push(format!("{name}:{}: `{forbidden}` in a pure room", at + 1));
                    }
                }
            }
            if code.contains("#[allow(") {
                mistakes.push(format!(
                    "{name}:{}: `#[expect(..., reason)]` instead of `#[allow]`",
                    at + 1
                ));
            }
        }
    }
    mistakes
}

#[test]
fn the_house_keeps_its_rules() {
    let mistakes = mistakes(&sources());
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
}

#[test]
fn the_rules_catch_what_they_are_for() {
    let planted = [
        ("plan.rs", "use crate::target::Target;", "a step back"),
        (
            "services/x.rs",
            "let text = std::fs::read(path);",
            "pure room",
        ),
        ("apply.rs", "use bollard::Docker;", "another room"),
        ("nowhere.rs", "", "no level"),
        ("graph.rs", "#[allow(dead_code)]", "instead of"),
    ];
    for (name, text, says) in planted {
        let sources = BTreeMap::from([(name.to_owned(), text.to_owned())]);
        let found = mistakes(&sources);
        assert!(
            found.iter().any(|mistake| mistake.contains(says)),
            "{name}: {found:?}"
        );
    }
}

#[test]
fn kinds_know_no_other_kind_and_no_target() {
    for (name, text) in sources() {
        if !name.starts_with("resources/") || name == "resources/mod.rs" {
            continue;
        }
        for (at, line) in text.lines().enumerate() {
            let used = line
                .split("use crate::resources::")
                .nth(1)
                .unwrap_or_default();
            let helper = [
                "postgres::",
                "mariadb::",
                "hba::",
                "owner::",
                "tree::",
                "COMPOSE_VERSION",
            ]
            .iter()
            .any(|ok| used.starts_with(ok));
            assert!(
                used.is_empty() || helper,
                "{name}:{}: a kind uses another: {line}",
                at + 1
            );
        }
    }
}

#[test]
fn nobody_but_the_output_prints() {
    for (name, text) in sources() {
        for (at, line) in text.lines().enumerate() {
            for word in ["println!(", "print!(", "eprintln!(", "eprint!("] {
                assert!(!line.contains(word), "{name}:{}: {word}", at + 1);
            }
        }
    }
}

/// Programs that the user's terminal is lent to: Ctrl-C is for them.
const LENT: &[&str] = &["target/engine/exec.rs", "commands/forward.rs"];

#[test]
fn what_we_start_is_in_a_group_of_its_own() {
    for (name, text) in sources() {
        let count = |word: &str| text.matches(word).count();
        // A recipe may have several beginnings, and something over a connection is started as well.
        let ends = count(".spawn()") + count(".output()") + count(".status()");
        let started = ends.min(count("Command::new("));
        let grouped = count(".process_group(0)");
        let starts = text.contains("process::Command") || text.contains("process::{");
        if !starts || LENT.contains(&name.as_str()) {
            continue;
        }
        assert!(
            started <= grouped,
            "{name}: {started} programs are started, {grouped} in a group of their own: Ctrl-C on a terminal reaches the others"
        );
    }
}
