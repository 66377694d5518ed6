//! A folder of the user as it goes to a machine: which of its files, and a digest over them.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// The most files a folder may have.
const MANY: usize = 100_000;

/// SHA-256 over the names, contents and modes of a folder, without what no build wants and what a `.dockerignore` names: what this
/// pipeline says of the folder once it is unpacked on a machine.
///
/// ```sh
/// { find . -type f -printf '%P\0' | sort -z | xargs -0 -r sha256sum -z --
///   find . \( -type f -perm /111 -printf 'x %P\0' \) -o \( -type l -printf 'l %P//%l\0' \) | sort -z
/// } | sha256sum
/// ```
///
/// # Errors
/// Why it cannot be read, as the end of a sentence.
pub(crate) fn digest(folder: &Path) -> Result<String, String> {
    let mut whole = Sha256::new();
    let mut others = Vec::new();
    for name in kept(folder)? {
        let path = folder.join(&name);
        let broken = |error| format!("holds `{}`, which {}", name.display(), trouble(&error));
        let seen = fs::symlink_metadata(&path).map_err(broken)?;
        let bytes = name.as_os_str().as_bytes();
        if seen.is_symlink() {
            let to = fs::read_link(&path).map_err(broken)?;
            others.push([b"l ", bytes, b"//", to.as_os_str().as_bytes()].concat());
            continue;
        }
        if seen.permissions().mode() & 0o111 != 0 {
            others.push([b"x ", bytes].concat());
        }
        whole.update(hex(&file_digest(&path).map_err(broken)?));
        whole.update(b"  ");
        whole.update(bytes);
        whole.update([0]);
    }
    others.sort();
    for other in others {
        whole.update(other);
        whole.update([0]);
    }
    Ok(hex(&whole.finalize()))
}

/// The files and links of a folder that go to a machine, relative, sorted by their bytes.
///
/// # Errors
/// Why it cannot be read, as the end of a sentence.
pub(crate) fn kept(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let ignore = match fs::read_to_string(folder.join(".dockerignore")) {
        Ok(text) => Ignore::new(&text),
        Err(_) => Ignore::default(),
    };
    files(folder, &ignore)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn trouble(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "does not exist".to_owned(),
        std::io::ErrorKind::PermissionDenied => "may not be read: permission denied".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}

/// Whether a name matches one part of a pattern: `*`, `?`, `[abc]`, `[a-z]`, `[!a]`.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
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

/// SHA-256 of a file.
///
/// # Errors
/// It cannot be read.
pub(crate) fn file_digest(path: &Path) -> std::io::Result<[u8; 32]> {
    use std::io::Read as _;
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

/// The regular files and links under a folder, relative, sorted by their bytes.
///
/// # Errors
/// Why it cannot be read, as the end of a sentence.
pub(crate) fn files(folder: &Path, ignore: &Ignore) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(inner) = open.pop() {
        let names = fs::read_dir(folder.join(&inner)).map_err(|error| trouble(&error))?;
        for entry in names {
            let entry = entry.map_err(|error| trouble(&error))?;
            let name = inner.join(entry.file_name());
            if ignore.hides(&name) {
                continue;
            }
            let kind = entry.file_type().map_err(|error| trouble(&error))?;
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
    found.sort_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
    Ok(found)
}

/// What is left out of a folder.
#[derive(Default)]
pub(crate) struct Ignore {
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
