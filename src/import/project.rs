//! The Django project in a folder: where `manage.py` is, which settings it names, and which file lists its requirements.

use std::path::{Path, PathBuf};

use crate::import::input;

/// A Django project.
#[derive(Clone, Debug)]
pub(super) struct Project {
    /// The folder of `manage.py`.
    pub folder: PathBuf,
    /// The settings module that `manage.py` names.
    pub settings: Option<String>,
    /// The requirements file, as seen from the folder.
    pub requirements: Option<String>,
}

/// Folders that hold no project of their own.
const OTHERS: &[&str] = &[
    "node_modules",
    "venv",
    ".venv",
    "env",
    "site-packages",
    "static",
    "media",
];

/// The projects in a folder or up to two below it, the nearest first.
pub(super) fn find(root: &Path) -> Vec<Project> {
    let mut found = Vec::new();
    let mut level = vec![root.to_owned()];
    for _ in 0..3 {
        let mut next = Vec::new();
        for folder in &level {
            if folder.join("manage.py").is_file() {
                found.push(look(root, folder));
                continue;
            }
            let Ok(entries) = std::fs::read_dir(folder) else {
                continue;
            };
            let mut below: Vec<PathBuf> = entries
                .flatten()
                .map(|entry| entry.path())
                .filter(|path| path.is_dir() && !path.is_symlink())
                .filter(|path| {
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    !name.starts_with('.') && !OTHERS.contains(&&*name)
                })
                .collect();
            below.sort();
            next.extend(below.into_iter().take(100));
        }
        if !found.is_empty() {
            break;
        }
        level = next;
    }
    found
}

fn look(root: &Path, folder: &Path) -> Project {
    let manage = input::text(&folder.join("manage.py")).unwrap_or_default();
    Project {
        folder: folder.to_owned(),
        settings: settings(&manage),
        requirements: requirements(root, folder),
    }
}

/// The module that `manage.py` sets: `setdefault("DJANGO_SETTINGS_MODULE", "x.settings")`.
fn settings(manage: &str) -> Option<String> {
    let (_, rest) = manage.split_once("DJANGO_SETTINGS_MODULE")?;
    let mut parts = rest.split(['"', '\'']).skip(1);
    parts.find(|part| is_module(part)).map(str::to_owned)
}

/// Whether a text is a dotted name of Python.
pub(super) fn is_module(text: &str) -> bool {
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    !text.is_empty() && text.split('.').all(part)
}

/// The usual names of a requirements file, those of development last.
const USUAL: &[&str] = &[
    "requirements.txt",
    "requirements/production.txt",
    "requirements/prod.txt",
    "requirements/base.txt",
    "requirements/local.txt",
    "requirements/dev.txt",
    "requirements/requirements.txt",
    "requirements-prod.txt",
    "requirements-dev.txt",
];

fn requirements(root: &Path, folder: &Path) -> Option<String> {
    let mut up = String::new();
    let mut at = folder;
    loop {
        if let Some(name) = USUAL.iter().find(|name| at.join(name).is_file()) {
            return Some(format!("{up}{name}"));
        }
        if at == root {
            return None;
        }
        at = at.parent()?;
        up.push_str("../");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_module_is_read_from_manage_py() {
        let text = "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'iact.settings')\n";
        assert_eq!(settings(text).as_deref(), Some("iact.settings"));
        assert_eq!(settings("DJANGO_SETTINGS_MODULE = '../x'"), None);
    }
}
