//! The user's files and folders: paths that a file names, globs, texts, digests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::declaration::{Node, Type};
use crate::environment::check::Checker;
use crate::environment::read::{self, At, Raw, RawValue, shorten};
pub(super) use crate::target::tree::digest;
use crate::target::tree::{Ignore, file_digest, files, matches};

/// The largest text that is read for a service, such as an SQL file.
const TEXT: u64 = 16 * 1024 * 1024;
/// The most files a glob or a folder may have.
const MANY: usize = 100_000;

impl Checker<'_> {
    /// A path as said in a file, absolute and without `.` and `..`.
    pub fn absolute(&self, text: &str, at: At) -> PathBuf {
        let folder = self.book.folder(at).unwrap_or(Path::new("/"));
        clean(&folder.join(text))
    }

    /// A path that has to be there, as text.
    pub fn path(&mut self, text: &str, key: &str, at: At) -> Option<String> {
        let path = self.usable(text, key, at)?;
        if self.dropped == 0
            && let Err(error) = fs::metadata(&path)
        {
            self.absent(text, &read::trouble(&error), at);
            return None;
        }
        self.known_path(path, text, at)
    }

    fn absent(&mut self, text: &str, why: &str, at: At) {
        let folder = self.book.pages.get(at.file as usize).map(|page| {
            let path = &page.source.path;
            path.rfind('/')
                .map_or("./", |slash| &path[..=slash])
                .to_owned()
        });
        let help = folder.filter(|_| !text.starts_with('/')).map(|folder| {
            format!("paths are relative to the folder of the file that names them, `{folder}`")
        });
        // A missing quote may have joined it with a password's line.
        let odd = text.contains(|c: char| c.is_control() || c == '=');
        let said = if odd { "...".to_owned() } else { shorten(text) };
        let message = format!("`{said}` {why}");
        self.book.error(at, message).help = help;
    }

    fn usable(&mut self, text: &str, key: &str, at: At) -> Option<PathBuf> {
        if text.is_empty() || text.contains('\0') || text.len() > 4096 {
            let message = format!("`{}` is no path", shorten(key));
            self.book.error(at, message);
            return None;
        }
        Some(self.absolute(text, at))
    }

    fn known_path(&mut self, path: PathBuf, text: &str, at: At) -> Option<String> {
        let Some(whole) = path.to_str().map(str::to_owned) else {
            let message = format!(
                "`{}` stands in a folder whose name is not UTF-8 text",
                shorten(text)
            );
            self.book.error(at, message);
            return None;
        };
        if !self.paths.contains_key(&path) {
            let origin = self.book.origin(at);
            self.paths.insert(path, origin);
        }
        Some(whole)
    }

    /// A list of paths, each of which may be a glob.
    pub fn paths(&mut self, items: Vec<Raw>, key: &str) -> Vec<Node> {
        let mut nodes = Vec::new();
        for item in items {
            let at = item.at;
            let RawValue::Text(text) = &item.value else {
                self.wrong(&item, &Type::Path, key);
                continue;
            };
            let Some(text) = self.rendered(text, key, at) else {
                continue;
            };
            if !text.contains(['*', '?', '[']) {
                nodes.extend(self.text(&text, &Type::Path, key, at));
                continue;
            }
            let Some(pattern) = self.usable(&text, key, at) else {
                continue;
            };
            let found = glob(&pattern);
            if found.is_empty() && self.dropped == 0 {
                self.absent(&text, "matches no file", at);
            }
            for path in found {
                if let Some(whole) = self.known_path(path, &text, at) {
                    nodes.push(self.text_node(whole, at));
                }
            }
        }
        nodes
    }
}

/// A path without `.` and without `..` behind a name, as the engine cleans it too.
pub(super) fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for part in path.components() {
        match (part, cleaned.components().next_back()) {
            (Component::CurDir, _) | (Component::ParentDir, Some(Component::RootDir)) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => {
                cleaned.pop();
            }
            (other, _) => cleaned.push(other),
        }
    }
    cleaned
}

/// The files that a pattern matches, sorted. `*` and `?` stay within a name, `**` is any number of folders; names that begin
/// with a dot are matched only by a pattern that does.
fn glob(pattern: &Path) -> Vec<PathBuf> {
    let parts: Vec<&str> = pattern
        .components()
        .filter_map(|part| match part {
            Component::Normal(part) => part.to_str(),
            _ => None,
        })
        .collect();
    let mut found = Vec::new();
    let mut visits = 0;
    walk_glob(Path::new("/"), &parts, &mut found, &mut visits);
    found.sort();
    found.dedup();
    found
}

fn walk_glob(folder: &Path, parts: &[&str], found: &mut Vec<PathBuf>, visits: &mut usize) {
    *visits += 1;
    let Some((part, rest)) = parts.split_first() else {
        return;
    };
    if *visits > MANY {
        return;
    }
    if !part.contains(['*', '?', '[']) {
        let path = folder.join(part);
        match rest {
            [] if path.is_file() => found.push(path),
            [] => {}
            rest => walk_glob(&path, rest, found, visits),
        }
        return;
    }
    if *part == "**" {
        walk_glob(folder, rest, found, visits);
    }
    let Ok(names) = fs::read_dir(folder) else {
        return;
    };
    for entry in names.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let hidden = name.starts_with('.') && !part.starts_with('.');
        if hidden || !matches(part, name) {
            continue;
        }
        let path = entry.path();
        if *part == "**" {
            // Links to folders are not followed: they may lead in a circle.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                walk_glob(&path, parts, found, visits);
            }
        } else if !rest.is_empty() {
            walk_glob(&path, rest, found, visits);
        } else if path.is_file() {
            found.push(path);
        }
    }
}

/// A text file of the user.
///
/// # Errors
/// Why it cannot be read, as the end of a sentence.
pub(super) fn text(path: &Path) -> Result<Arc<str>, String> {
    let bytes = read::bytes_up_to(path, TEXT)?;
    String::from_utf8(bytes)
        .map(Arc::from)
        .map_err(|_| "is not UTF-8 text".to_owned())
}

/// The templates that a user laid into a folder, by name with `/` between folders.
///
/// # Errors
/// Which one cannot be read, and why.
pub(super) fn templates(folder: &Path) -> Result<BTreeMap<String, Arc<str>>, String> {
    let mut templates = BTreeMap::new();
    if !folder.is_dir() {
        return Ok(templates);
    }
    for name in files(folder, &Ignore::default())? {
        let path = folder.join(&name);
        if let Some(name) = name.to_str() {
            let text = text(&path).map_err(|why| format!("`templates/{name}` {why}"))?;
            templates.insert(name.to_owned(), text);
        }
    }
    Ok(templates)
}

/// The user that owns a folder, by number.
///
/// # Errors
/// Why it cannot be told, as the end of a sentence.
pub(super) fn owner(folder: &Path) -> Result<u32, String> {
    use std::os::unix::fs::MetadataExt as _;
    let seen = fs::metadata(folder).map_err(|error| read::trouble(&error))?;
    Ok(seen.uid())
}

/// SHA-256 of a file.
///
/// # Errors
/// Why it cannot be read, as the end of a sentence.
pub(super) fn digest_of_file(path: &Path) -> Result<String, String> {
    let seen = fs::metadata(path).map_err(|error| read::trouble(&error))?;
    if !seen.is_file() {
        return Err("is no file".to_owned());
    }
    let digest = file_digest(path).map_err(|error| read::trouble(&error))?;
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}
