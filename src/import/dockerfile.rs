//! A Dockerfile of a Django application: base image, packages, requirements, and what it starts.

use crate::import::account::{Account, Key};
use crate::import::words;

/// What a Dockerfile says.
#[derive(Clone, Debug, Default)]
pub(super) struct Dockerfile {
    /// The base image of the last stage.
    pub base: Option<(String, Key)>,
    /// Debian packages of the last stage.
    pub packages: Vec<(String, Key)>,
    /// Debian packages of earlier stages.
    pub build_packages: Vec<(String, Key)>,
    /// The requirements file that is installed.
    pub requirements: Option<(String, Key)>,
    /// Variables.
    pub env: Vec<(String, String, Key)>,
    /// What it starts.
    pub command: Option<(Vec<String>, Key)>,
    /// The entrypoint.
    pub entrypoint: Option<(Vec<String>, Key)>,
}

/// Reads one; every instruction becomes a key of the account.
pub(super) fn read(text: &str, shown: &str, account: &mut Account) -> Dockerfile {
    let mut out = Dockerfile::default();
    let mut arguments: Vec<(String, String)> = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let mut whole = line.trim().to_owned();
        if whole.is_empty() || whole.starts_with('#') {
            continue;
        }
        while whole.ends_with('\\') {
            whole.pop();
            let Some((_, next)) = lines.next() else { break };
            let next = next.trim();
            if !next.starts_with('#') {
                whole.push(' ');
                whole.push_str(next);
            } else {
                whole.push('\\');
            }
        }
        let (word, rest) = whole
            .split_once(char::is_whitespace)
            .unwrap_or((&whole, ""));
        let (word, rest) = (word.to_ascii_uppercase(), rest.trim());
        // A heredoc belongs to its instruction.
        if let Some(end) = heredoc(rest) {
            for (_, line) in lines.by_ref() {
                if line.trim() == end {
                    break;
                }
            }
            let key = account.add(shown, at + 1, word.as_str());
            account.left(key, "a here-document of a Dockerfile is not carried over");
            continue;
        }
        let key = account.add(shown, at + 1, word.as_str());
        instruction(&word, rest, key, &mut arguments, &mut out, account);
    }
    out
}

fn heredoc(rest: &str) -> Option<String> {
    let (_, after) = rest.split_once("<<")?;
    let word = after.trim_start_matches('-').split_whitespace().next()?;
    let word = word.trim_matches(['"', '\'']);
    word.chars()
        .all(|c| c.is_ascii_alphanumeric() || c == '_')
        .then(|| word.to_owned())
}

fn instruction(
    word: &str,
    rest: &str,
    key: Key,
    arguments: &mut Vec<(String, String)>,
    out: &mut Dockerfile,
    account: &mut Account,
) {
    let known = |name: &str| {
        let one = arguments.iter().rev().find(|(known, _)| known == name);
        one.map(|(_, value)| value.clone())
    };
    match word {
        "FROM" => {
            let image = rest
                .split_whitespace()
                .find(|word| !word.starts_with("--"))
                .unwrap_or_default();
            let image = super::dotenv::expand(image, &known).map_or(String::new(), |one| one.text);
            // What an earlier stage installs is there while building.
            let earlier = std::mem::take(&mut out.packages);
            out.build_packages.extend(earlier);
            if let Some((_, before)) = out.base.take() {
                account.noted(before, "an earlier stage of the image");
            }
            out.base = Some((image, key));
        }
        "ARG" => {
            if let Some((name, value)) = rest.split_once('=') {
                arguments.push((name.to_owned(), value.trim_matches(['"', '\'']).to_owned()));
            }
            account.noted(key, "read where it is used");
        }
        "ENV" => {
            let pairs = match rest.split_once('=') {
                Some((name, _)) if !name.contains(char::is_whitespace) => {
                    words::split(rest).unwrap_or_default()
                }
                _ => rest
                    .split_once(char::is_whitespace)
                    .map(|(name, value)| vec![format!("{name}={}", value.trim())])
                    .unwrap_or_default(),
            };
            for pair in pairs {
                let Some((name, value)) = pair.split_once('=') else {
                    continue;
                };
                arguments.push((name.to_owned(), value.to_owned()));
                out.env.push((name.to_owned(), value.to_owned(), key));
            }
        }
        "RUN" => run(rest, key, out, account),
        "CMD" => out.command = Some((exec_form(rest), key)),
        "ENTRYPOINT" => out.entrypoint = Some((exec_form(rest), key)),
        "WORKDIR" | "COPY" | "ADD" => account.noted(key, "the source is put into `/app`"),
        "EXPOSE" => account.noted(key, "services of a project reach each other"),
        "USER" => account.noted(key, "the application runs as uid 1000"),
        "LABEL" | "MAINTAINER" | "SHELL" | "STOPSIGNAL" => {
            account.noted(key, "of no meaning for the application");
        }
        "HEALTHCHECK" => account.noted(key, "its health is asked over HTTP"),
        _ => account.left(key, "not carried over"),
    }
}

fn exec_form(rest: &str) -> Vec<String> {
    match serde_json::from_str::<Vec<String>>(rest) {
        Ok(words) => words,
        Err(_) => vec!["sh".to_owned(), "-c".to_owned(), rest.to_owned()],
    }
}

fn run(rest: &str, key: Key, out: &mut Dockerfile, account: &mut Account) {
    let mut strange = Vec::new();
    for command in words::commands(rest) {
        let Some(words) = words::split(&command) else {
            strange.push(command);
            continue;
        };
        let words: Vec<&str> = words
            .iter()
            .map(String::as_str)
            .skip_while(|word| {
                word.contains('=') || matches!(*word, "sudo" | "env") || word.starts_with("--mount")
            })
            .collect();
        let has = |word: &str| words.contains(&word);
        let program = words.first().copied().unwrap_or_default();
        match program.rsplit('/').next().unwrap_or_default() {
            "apt-get" | "apt" if has("install") => {
                let packages = words
                    .iter()
                    .skip(1)
                    .filter(|word| **word != "install" && !word.starts_with('-'));
                for package in packages {
                    let name = package.split('=').next().unwrap_or_default();
                    if is_package(name) {
                        out.packages.push((name.to_owned(), key));
                    } else {
                        strange.push(command.clone());
                    }
                }
                account.used(key);
            }
            "apt-get" | "apt" | "rm" | "mkdir" | "chmod" | "chown" | "useradd" | "adduser"
            | "groupadd" | "addgroup" | "set" | "echo" | "true" | "python" | "python3" | "ln"
            | "cd" | "mv" | "cp"
                if !has("manage.py") && !has("-m") => {}
            "pip" | "pip3" | "python" | "python3" | "uv" if has("install") => {
                let file = words
                    .iter()
                    .position(|word| matches!(*word, "-r" | "--requirement"));
                let file = file.and_then(|at| words.get(at + 1));
                let others = words.iter().any(|word| {
                    !word.starts_with('-')
                        && !matches!(
                            *word,
                            "pip"
                                | "pip3"
                                | "python"
                                | "python3"
                                | "uv"
                                | "install"
                                | "setuptools"
                                | "wheel"
                                | "gunicorn"
                                | "poetry"
                                | "pipenv"
                        )
                        && file != Some(word)
                });
                if let Some(file) = file {
                    out.requirements = Some(((*file).to_owned(), key));
                    account.used(key);
                }
                if others {
                    strange.push(command.clone());
                }
            }
            "python" | "python3" if has("collectstatic") => account.used(key),
            _ => strange.push(command),
        }
    }
    if strange.is_empty() {
        account.noted(key, "nothing that the application's image needs");
        return;
    }
    let first = strange
        .first()
        .and_then(|one| words::split(one))
        .map(|words| words::program(&words))
        .unwrap_or_else(|| "a command".to_owned());
    let what = match strange.len() {
        1 => format!("`{first} ...` of it is not carried over"),
        many => format!(
            "`{first} ...` and {} more commands of it are not carried over",
            many - 1
        ),
    };
    account.insist(key, what);
}

/// Whether Debian may call a package so.
pub(super) fn is_package(name: &str) -> bool {
    name.len() >= 2
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.:".contains(c))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn an_image_of_two_stages_is_read() {
        let text = "ARG V=3.12\nFROM python:${V}-slim AS build\nRUN apt-get update && \\\n    apt-get install -y --no-install-recommends gcc \\\n    libpq-dev && rm -rf /x\nFROM python:${V}-slim\nENV A=1 B=\"two\"\nRUN pip install -r requirements/base.txt\nRUN curl https://x | sh\nCMD [\"gunicorn\", \"a.wsgi\"]\n";
        let mut account = Account::default();
        let file = read(text, "Dockerfile", &mut account);
        assert_eq!(file.base.unwrap().0, "python:3.12-slim");
        assert_eq!(file.build_packages.len(), 2);
        assert!(file.packages.is_empty());
        assert_eq!(file.requirements.unwrap().0, "requirements/base.txt");
        assert_eq!(file.command.unwrap().0[0], "gunicorn");
        assert_eq!(file.env.len(), 2);
        assert_eq!(account.items().len(), 8);
    }
}
