//! The user's files and folders: paths that a file names, globs, texts, digests.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::declaration::{Node, Type};
use crate::environment::check::Checker;
use crate::environment::read::{self, At, Raw, RawValue, shorten};

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

/// Whether a name matches one part of a pattern: `*`, `?`, `[abc]`, `[a-z]`, `[!a]`.
fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    // The classic walk with one point to come back to: linear in practice, never exponential.
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, n));
            p += 1;
        } else if let Some(width) = one_char(&pattern[p..], name[n]) {
            p += width;
            n += 1;
        } else if let Some((at, seen)) = star {
            star = Some((at, seen + 1));
            p = at + 1;
            n = seen + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// How much of a pattern's beginning one character takes, if it matches.
fn one_char(pattern: &[char], c: char) -> Option<usize> {
    match pattern.first()? {
        '?' => Some(1),
        '[' => {
            let end = pattern
                .iter()
                .skip(2)
                .position(|c| *c == ']')
                .map(|at| at + 2);
            let Some(end) = end else {
                return (c == '[').then_some(1);
            };
            let (not, set) = match pattern[1] {
                '!' | '^' => (true, &pattern[2..end]),
                _ => (false, &pattern[1..end]),
            };
            (in_set(set, c) != not).then_some(end + 1)
        }
        other => (*other == c).then_some(1),
    }
}

fn in_set(set: &[char], c: char) -> bool {
    let mut at = 0;
    while let Some(low) = set.get(at) {
        if let (Some('-'), Some(high)) = (set.get(at + 1), set.get(at + 2)) {
            if (*low..=*high).contains(&c) {
                return true;
            }
            at += 3;
        } else {
            if *low == c {
                return true;
            }
            at += 1;
        }
    }
    false
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

/// SHA-256 over the names and contents of a folder, without what no build wants and what a `.dockerignore` names.
///
/// # Errors
/// Why it cannot be read, as the end of a sentence.
pub(super) fn digest(folder: &Path) -> Result<String, String> {
    let ignore = match fs::read_to_string(folder.join(".dockerignore")) {
        Ok(text) => Ignore::new(&text),
        Err(_) => Ignore::default(),
    };
    let mut whole = Sha256::new();
    for name in files(folder, &ignore)? {
        let path = folder.join(&name);
        let shown = || name.display().to_string();
        let seen = fs::symlink_metadata(&path)
            .map_err(|error| format!("holds `{}`, which {}", shown(), read::trouble(&error)))?;
        let (kind, content): (&[u8], [u8; 32]) = if seen.is_symlink() {
            let to = fs::read_link(&path).unwrap_or_default();
            (b"l", Sha256::digest(to.as_os_str().as_bytes()).into())
        } else {
            let content = file_digest(&path)
                .map_err(|error| format!("holds `{}`, which {}", shown(), read::trouble(&error)))?;
            let runs = seen.permissions().mode() & 0o111 != 0;
            (if runs { b"x" } else { b"f" }, content)
        };
        whole.update(kind);
        whole.update(name.as_os_str().as_bytes());
        whole.update([0]);
        whole.update(content);
    }
    Ok(whole
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
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

fn file_digest(path: &Path) -> std::io::Result<[u8; 32]> {
    let mut file = fs::File::open(path)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(digest.finalize().into());
        }
        digest.update(&buffer[..read]);
    }
}

/// The regular files and links under a folder, relative, sorted.
fn files(folder: &Path, ignore: &Ignore) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(inner) = open.pop() {
        let names = fs::read_dir(folder.join(&inner)).map_err(|error| read::trouble(&error))?;
        for entry in names {
            let entry = entry.map_err(|error| read::trouble(&error))?;
            let name = inner.join(entry.file_name());
            if ignore.hides(&name) {
                continue;
            }
            let kind = entry.file_type().map_err(|error| read::trouble(&error))?;
            if kind.is_dir() {
                open.push(name);
            } else if kind.is_file() || kind.is_symlink() {
                found.push(name);
            }
            if found.len() > MANY {
                return Err(format!("holds more than {MANY} files"));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// What is left out of a folder.
#[derive(Default)]
struct Ignore {
    /// Parts of a pattern, and whether it brings back (`!`).
    rules: Vec<(Vec<String>, bool)>,
}

impl Ignore {
    /// The rules of a `.dockerignore`.
    fn new(text: &str) -> Self {
        let rules = text.lines().filter_map(|line| {
            let line = line.trim();
            let (back, pattern) = match line.strip_prefix('!') {
                Some(rest) => (true, rest),
                None => (false, line),
            };
            let parts: Vec<String> = pattern
                .split('/')
                .filter(|part| !part.is_empty() && *part != ".")
                .map(str::to_owned)
                .collect();
            (!line.is_empty() && !line.starts_with('#') && !parts.is_empty())
                .then_some((parts, back))
        });
        Ignore {
            rules: rules.collect(),
        }
    }

    fn hides(&self, name: &Path) -> bool {
        let parts: Vec<&str> = name.iter().filter_map(|part| part.to_str()).collect();
        let last = parts.last().copied().unwrap_or_default();
        if matches!(last, ".git" | "__pycache__" | ".venv" | "node_modules")
            || last.ends_with(".pyc")
        {
            return true;
        }
        // A folder that something may bring back is entered; its files are judged one by one.
        let mut hidden = false;
        for (rule, back) in &self.rules {
            let rule: Vec<&str> = rule.iter().map(String::as_str).collect();
            let hit = (1..=parts.len()).any(|len| matches_path(&rule, &parts[..len]));
            if hit {
                hidden = !back;
            } else if *back && hidden && may_hold(&rule, &parts) {
                hidden = false;
            }
        }
        hidden
    }
}

/// Whether something under a folder could match a pattern.
fn may_hold(rule: &[&str], folder: &[&str]) -> bool {
    rule.first() == Some(&"**")
        || rule.len() > folder.len() && matches_path(&rule[..folder.len()], folder)
}

fn matches_path(pattern: &[&str], parts: &[&str]) -> bool {
    match (pattern.split_first(), parts.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), _) if matches_path(rest, parts) => true,
        (Some((&"**", _)), Some((_, others))) => matches_path(pattern, others),
        (Some((first, rest)), Some((name, others))) => {
            matches(first, name) && matches_path(rest, others)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_a_shell_does() {
        for (pattern, name, hit) in [
            ("*.sql", "a.sql", true),
            ("*.sql", "a.sqlx", false),
            ("0?_[a-c]*.sql", "01_b.sql", true),
            ("[!0-9]*", "9a", false),
            ("[!0-9]*", "a9", true),
            ("a[b", "a[b", true),
            ("***", "", true),
            ("*a*b*c", "xxaxxbxxc", true),
            ("*a*b*c", "xxaxxbxx", false),
        ] {
            assert_eq!(matches(pattern, name), hit, "{pattern} {name}");
        }
        let long = "a".repeat(5000);
        assert!(!matches(&"*a".repeat(50), &(long + "b")));
    }

    #[test]
    fn a_dockerignore_hides_and_brings_back() {
        let ignore = Ignore::new("# c\n*.log\nbuild/\n!build/keep.txt\n**/tmp\n");
        for (name, hidden) in [
            ("a.log", true),
            ("x/a.log", false),
            ("build/x", true),
            ("build", false),
            ("build/keep.txt", false),
            ("x/y/tmp", true),
            ("x/__pycache__", true),
            ("manage.py", false),
        ] {
            assert_eq!(ignore.hides(Path::new(name)), hidden, "{name}");
        }
    }

    #[test]
    fn a_digest_follows_names_contents_and_modes() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::write(root.join("a"), "one").unwrap();
        let first = digest(root).unwrap();
        fs::create_dir(root.join(".git")).unwrap();
        fs::write(root.join(".git/x"), "x").unwrap();
        assert_eq!(digest(root).unwrap(), first);
        fs::set_permissions(root.join("a"), fs::Permissions::from_mode(0o755)).unwrap();
        let second = digest(root).unwrap();
        assert_ne!(second, first);
        fs::rename(root.join("a"), root.join("b")).unwrap();
        assert_ne!(digest(root).unwrap(), second);
    }
}
