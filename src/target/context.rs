//! A build context: texts and a folder of the user as a tar archive, the same bytes for the same contents.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::say::clean;
use crate::command::Text;

/// A context bigger than this is a mistake: somebody's data lies in the folder.
const MOST: usize = 512 << 20;

/// The archive; or a sentence that says why there is none.
pub(super) fn archive(
    texts: &[(String, Text)],
    folder: Option<&(String, PathBuf)>,
    ca: bool,
) -> Result<Vec<u8>, String> {
    let broken = |error: std::io::Error| {
        format!(
            "cannot make the build context: {}",
            clean(&error.to_string(), 200)
        )
    };
    let mut builder = tar::Builder::new(Vec::new());
    for (path, text) in texts {
        put(&mut builder, path, 0o644, text.expose().expose().as_bytes()).map_err(broken)?;
    }
    if ca {
        put(&mut builder, "ca-certificates.crt", 0o644, &certificates()).map_err(broken)?;
    }
    if let Some((under, folder)) = folder {
        let rules =
            Rules::read(&fs::read_to_string(folder.join(".dockerignore")).unwrap_or_default());
        add_folder(&mut builder, folder, Path::new(""), under, &rules)?;
    }
    builder.into_inner().map_err(broken)
}

/// The machine's own bundle, as programs find it; empty where there is none.
fn certificates() -> Vec<u8> {
    let named = std::env::var_os("SSL_CERT_FILE")
        .map(PathBuf::from)
        .and_then(|path| fs::read(path).ok());
    named
        .or_else(|| fs::read("/etc/ssl/certs/ca-certificates.crt").ok())
        .unwrap_or_default()
}

type Builder = tar::Builder<Vec<u8>>;

fn header(size: usize, mode: u32, kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size as u64);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_entry_type(kind);
    header
}

fn put(builder: &mut Builder, path: &str, mode: u32, bytes: &[u8]) -> std::io::Result<()> {
    builder.append_data(
        &mut header(bytes.len(), mode, tar::EntryType::Regular),
        path,
        bytes,
    )
}

fn add_folder(
    builder: &mut Builder,
    root: &Path,
    at: &Path,
    under: &str,
    rules: &Rules,
) -> Result<(), String> {
    let here = root.join(at);
    let broken = |path: &Path, error: std::io::Error| {
        format!(
            "cannot read `{}`: {}",
            clean(&path.to_string_lossy(), 200),
            clean(&error.to_string(), 200)
        )
    };
    let entries = fs::read_dir(&here).map_err(|error| broken(&here, error))?;
    let mut names = entries
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| broken(&here, error))?;
    names.sort();
    for name in names {
        let relative = at.join(&name);
        let path = root.join(&relative);
        let meta = fs::symlink_metadata(&path).map_err(|error| broken(&path, error))?;
        let left_out = rules.leaves_out(&relative.to_string_lossy());
        if meta.is_dir() {
            // A rule may take something inside back in.
            if !left_out || rules.any_back {
                add_folder(builder, root, &relative, under, rules)?;
            }
            continue;
        }
        if left_out {
            continue;
        }
        let target = Path::new(under).join(&relative);
        if meta.is_symlink() {
            let to = fs::read_link(&path).map_err(|error| broken(&path, error))?;
            let added =
                builder.append_link(&mut header(0, 0o777, tar::EntryType::Symlink), &target, &to);
            added.map_err(|error| broken(&path, error))?;
        } else if meta.is_file() {
            let bytes = fs::read(&path).map_err(|error| broken(&path, error))?;
            if builder.get_ref().len() + bytes.len() > MOST {
                return Err(format!(
                    "the folder `{}` has more than {} MiB; name what is not needed in its `.dockerignore`",
                    clean(&root.to_string_lossy(), 200),
                    MOST >> 20
                ));
            }
            let mode = if meta.permissions().mode() & 0o111 == 0 {
                0o644
            } else {
                0o755
            };
            let added = builder.append_data(
                &mut header(bytes.len(), mode, tar::EntryType::Regular),
                &target,
                bytes.as_slice(),
            );
            added.map_err(|error| broken(&path, error))?;
        }
    }
    Ok(())
}

/// What `.dockerignore` says: the last rule that matches a path or a folder above it decides.
struct Rules {
    rules: Vec<(Vec<String>, bool)>,
    any_back: bool,
}

impl Rules {
    fn read(text: &str) -> Self {
        let mut rules = Vec::new();
        for line in text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            let (back, pattern) = line
                .strip_prefix('!')
                .map_or((false, line), |rest| (true, rest.trim()));
            let parts: Vec<_> = pattern
                .split('/')
                .filter(|part| !matches!(*part, "" | "."))
                .map(str::to_owned)
                .collect();
            if !parts.is_empty() {
                rules.push((parts, !back));
            }
        }
        let any_back = rules.iter().any(|(_, out)| !out);
        Rules { rules, any_back }
    }

    fn leaves_out(&self, path: &str) -> bool {
        let parts: Vec<&str> = path.split('/').collect();
        let hit = |pattern: &[String]| {
            (1..=parts.len()).any(|count| {
                parts
                    .get(..count)
                    .is_some_and(|head| matches(pattern, head))
            })
        };
        self.rules
            .iter()
            .rev()
            .find(|(pattern, _)| hit(pattern))
            .is_some_and(|(_, out)| *out)
    }
}

fn matches(pattern: &[String], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first == "**" => {
            matches(rest, path)
                || path
                    .split_first()
                    .is_some_and(|(_, below)| matches(pattern, below))
        }
        (Some((first, rest)), Some((name, below))) => {
            let (first, name): (Vec<char>, Vec<char>) =
                (first.chars().collect(), name.chars().collect());
            matches_name(&first, &name) && matches(rest, below)
        }
        _ => false,
    }
}

fn matches_name(pattern: &[char], name: &[char]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some(('*', rest)), _) => {
            matches_name(rest, name)
                || name
                    .split_first()
                    .is_some_and(|(_, below)| matches_name(pattern, below))
        }
        (Some(('?', rest)), Some((_, below))) => matches_name(rest, below),
        (Some((a, rest)), Some((b, below))) => a == b && matches_name(rest, below),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockerignore_is_followed() {
        let rules = Rules::read("# no\n.git\n*.pyc\n**/*.log\n/build/\ndocs/*\n!docs/keep.md\n");
        let out = |path: &str| rules.leaves_out(path);
        assert!(
            out(".git")
                && out(".git/config")
                && out("a.pyc")
                && out("x/y/z.log")
                && out("build/x")
                && out("docs/a.md")
        );
        assert!(!out("docs/keep.md") && !out("x/a.pyc") && !out("manage.py") && !out(".gitignore"));
    }

    #[test]
    fn the_same_contents_give_the_same_bytes() {
        let place = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let folder = place.path().join(name);
            fs::create_dir_all(folder.join("sub")).unwrap();
            fs::write(folder.join("sub/b.py"), "b").unwrap();
            fs::write(folder.join("a.py"), "a").unwrap();
            fs::write(folder.join("secret.log"), name).unwrap();
            fs::write(folder.join(".dockerignore"), "*.log\n").unwrap();
            let texts = [("Dockerfile".to_owned(), Text::plain("FROM x"))];
            archive(&texts, Some(&("app".to_owned(), folder)), false).unwrap()
        };
        let first = make("one");
        assert_eq!(first, make("two"));
        let mut names = Vec::new();
        for entry in tar::Archive::new(first.as_slice()).entries().unwrap() {
            names.push(
                entry
                    .unwrap()
                    .path()
                    .unwrap()
                    .to_string_lossy()
                    .into_owned(),
            );
        }
        assert_eq!(
            names,
            [
                "Dockerfile",
                "app/.dockerignore",
                "app/a.py",
                "app/sub/b.py"
            ]
        );
    }
}
