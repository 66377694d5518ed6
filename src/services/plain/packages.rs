//! `[apt_repository.NAME]` and `[packages.NAME]`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::declaration::{Entry, Environment};
use crate::error::Problem;
use crate::resources::apt_repository::AptRepository;
use crate::resources::packages::Packages;
use crate::services::project::on_machine;
use crate::services::{Project, Reads, hosts};

pub(super) fn apt_repository(
    project: &mut Project<'_>,
    machine: &Arc<str>,
    name: &str,
    entry: &Entry,
) {
    let node = &entry.node;
    let path = PathBuf::from(node.text("key").unwrap_or_default());
    let mut thing = AptRepository {
        name: name.to_owned(),
        url: node.text("url").unwrap_or_default().to_owned(),
        suite: node.text("suite").unwrap_or_default().to_owned(),
        components: node.texts("components"),
        ..AptRepository::default()
    };
    if is_binary(&path) {
        let digest = project.environment.files.get(&path).cloned();
        thing.binary_key = Some((path, digest.unwrap_or_default()));
    } else if let Some(text) = project.environment.texts.get(&path) {
        if !text.contains("-----BEGIN PGP PUBLIC KEY BLOCK-----") {
            let problem = Problem::error(
                format!("the key of `apt_repository.{name}` is no public key"),
                &node.origin("key"),
            );
            project.problems.push(problem.help(
                "it is the text that begins with `-----BEGIN PGP PUBLIC KEY BLOCK-----`, or a binary one in a file that ends in `.gpg`",
            ));
        }
        thing.key = text.to_string();
    }
    let mut resource = on_machine(machine, thing).from("", entry.key.clone());
    for key in ["url", "suite", "components", "key"] {
        resource = resource.from(key, node.origin(key));
    }
    project.add(resource.from("options", node.origin("key")));
}

/// apt tells the two forms of keys by how their files end.
fn is_binary(key: &std::path::Path) -> bool {
    key.extension().is_some_and(|end| end == "gpg")
}

pub(super) fn reads(entry: &Entry, reads: &mut Reads) {
    let key = entry.node.text("key").map(PathBuf::from);
    match key {
        Some(key) if is_binary(&key) => reads.files.push(key),
        Some(key) => reads.texts.push(key),
        None => {}
    }
}

pub(super) fn check_apt_repository(
    _: &Environment,
    name: &str,
    entry: &Entry,
    problems: &mut Vec<Problem>,
) {
    let node = &entry.node;
    let word = |text: &str| {
        !text.is_empty()
            && !text
                .chars()
                .any(|c| c.is_whitespace() || c.is_control() || "[]#\"".contains(c))
    };
    for key in ["url", "suite"] {
        if let Some(node) = node
            .get(key)
            .filter(|node| !node.as_text().is_some_and(word))
        {
            let message = format!("the `{key}` of `apt_repository.{name}` is not one word");
            problems.push(Problem::error(message, &node.origin));
        }
    }
    let url = node.get("url");
    if let Some(url) = url.filter(|url| !url.as_text().is_some_and(|text| text.contains(":/"))) {
        let message = format!("the `url` of `apt_repository.{name}` has no scheme");
        problems.push(
            Problem::error(message, &url.origin)
                .help("as in `https://apt.postgresql.org/pub/repos/apt`"),
        );
    }
    for component in node.list("components") {
        if !component.as_text().is_some_and(word) {
            problems.push(Problem::error("a component is one word", &component.origin));
        }
    }
}

pub(super) fn packages(project: &mut Project<'_>, machine: &Arc<str>, name: &str, entry: &Entry) {
    let node = &entry.node;
    let versions = node.named("versions").filter_map(|(package, version)| {
        Some((package.to_owned(), version.node.as_text()?.to_owned()))
    });
    let thing = Packages {
        name: name.to_owned(),
        names: node.texts("names"),
        versions: versions.collect(),
        hold: node.texts("hold").into_iter().collect(),
        ..Packages::default()
    };
    let mut resource = on_machine(machine, thing)
        .from("", entry.key.clone())
        .from("package", node.origin("names"))
        .from("hold", node.origin("hold"));
    for item in node.list("names") {
        if let Some(package) = item.as_text() {
            resource = resource.from(format!("package {package}"), item.origin.clone());
        }
    }
    for (package, version) in node.named("versions") {
        resource = resource.from(format!("package {package}"), version.node.origin.clone());
    }
    project.add(resource);
}

pub(super) fn check_packages(
    environment: &Environment,
    name: &str,
    entry: &Entry,
    problems: &mut Vec<Problem>,
) {
    let node = &entry.node;
    let names = node.texts("names");
    for item in node.list("names") {
        let package = item.as_text().unwrap_or_default();
        if !is_package(package) {
            problems.push(
                Problem::error(format!("`{package}` is no name of a package"), &item.origin)
                    .help("it is small letters, digits, `+`, `-` and `.`, as in `libssl-dev`"),
            );
        }
    }
    let not_named =
        |package: &str| format!("`{package}` is not among the `names` of `packages.{name}`");
    for (package, version) in node.named("versions") {
        if !names.iter().any(|name| name == package) {
            problems.push(Problem::error(not_named(package), &version.key));
        }
        let text = version.node.as_text().unwrap_or_default();
        let stem = text.strip_suffix('*').unwrap_or(text);
        let plain = |c: char| c.is_ascii_alphanumeric() || ".+-:~".contains(c);
        if stem.is_empty() || !stem.chars().all(plain) {
            problems.push(Problem::error(
                format!("`{text}` is no version of a package"),
                &version.node.origin,
            ));
        }
    }
    for item in node.list("hold") {
        let package = item.as_text().unwrap_or_default();
        if !names.iter().any(|name| name == package) {
            problems.push(Problem::error(not_named(package), &item.origin));
        }
    }
    agree(environment, name, entry, problems);
}

/// Two sets of one machine do not want different things of one package.
fn agree(environment: &Environment, name: &str, entry: &Entry, problems: &mut Vec<Problem>) {
    let said = |entry: &Entry| -> BTreeMap<String, (Option<String>, bool)> {
        let node = &entry.node;
        let held = node.texts("hold");
        let versions: BTreeMap<&str, &Entry> = node.named("versions").collect();
        let one = |package: String| {
            let version = versions.get(package.as_str());
            let version = version.and_then(|version| version.node.as_text());
            let said = (version.map(str::to_owned), held.contains(&package));
            (package, said)
        };
        node.texts("names").into_iter().map(one).collect()
    };
    let own = said(entry);
    let machines = hosts::on(environment, &entry.node);
    let before = environment
        .services("packages")
        .take_while(|(other, _)| *other != name);
    for (other, one) in before {
        let shared = hosts::on(environment, &one.node);
        if !shared.iter().any(|machine| machines.contains(machine)) {
            continue;
        }
        let theirs = said(one);
        for (package, said) in &own {
            if theirs.get(package).is_some_and(|theirs| theirs != said) {
                let message = format!(
                    "`packages.{other}` and `packages.{name}` want `{package}` in different ways on one host"
                );
                problems.push(Problem::error(message, &entry.key).label("the second one"));
            }
        }
    }
}

/// A name of a package, with its architecture where one is said.
fn is_package(text: &str) -> bool {
    let (name, architecture) = text.split_once(':').unwrap_or((text, "any"));
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
    let begins =
        |text: &str| text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    // To apt a `-` at the end means: remove it.
    name.len() >= 2
        && !name.ends_with('-')
        && begins(name)
        && begins(architecture)
        && name.chars().chain(architecture.chars()).all(plain)
}

#[cfg(test)]
mod tests {
    use super::is_package;

    #[test]
    fn a_package_is_no_option_and_no_pattern() {
        for good in ["htop", "g++", "libc6:i386", "7zip", "python3.11-venv"] {
            assert!(is_package(good), "{good}");
        }
        for bad in [
            "-o", "a", "Htop", "lib*", "a b", "x=1", "a:", ":i386", "apt/sid", "vim-",
        ] {
            assert!(!is_package(bad), "{bad}");
        }
    }
}
