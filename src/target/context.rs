//! A build context: texts and a folder of the user as a tar archive, the same bytes for the same contents.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::say::clean;
use super::tree;
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
        add_folder(&mut builder, folder, under)?;
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

/// The files of a folder that [`tree`] keeps.
fn add_folder(builder: &mut Builder, root: &Path, under: &str) -> Result<(), String> {
    let shown = clean(&root.to_string_lossy(), 200);
    let broken = |path: &Path, error: std::io::Error| {
        format!(
            "cannot read `{}`: {}",
            clean(&path.to_string_lossy(), 200),
            clean(&error.to_string(), 200)
        )
    };
    let names = tree::kept(root).map_err(|why| format!("the folder `{shown}` {why}"))?;
    for name in names {
        let path = root.join(&name);
        let target = Path::new(under).join(&name);
        let meta = fs::symlink_metadata(&path).map_err(|error| broken(&path, error))?;
        if meta.is_symlink() {
            let to = fs::read_link(&path).map_err(|error| broken(&path, error))?;
            let added =
                builder.append_link(&mut header(0, 0o777, tar::EntryType::Symlink), &target, &to);
            added.map_err(|error| broken(&path, error))?;
            continue;
        }
        let bytes = fs::read(&path).map_err(|error| broken(&path, error))?;
        if builder.get_ref().len() + bytes.len() > MOST {
            return Err(format!(
                "the folder `{shown}` has more than {} MiB; name what is not needed in its `.dockerignore`",
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
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
