//! The folder of generated files: looked at without following links, written whole or not at all.

use std::fs::{self, DirBuilder, File as Handle};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use serde_json::json;

use super::Trouble;
use super::say::clean;
use crate::command::{Answer, Answers, Ask, File, Place, Row, Rows, Sheet};

/// Bigger ones are not read: they are not ours, so they differ.
const MOST: u64 = 8 << 20;

/// Answers the folder's part of a sheet.
pub(super) async fn look(folder: &Path, sheet: &Sheet) -> Answers {
    let (folder, files) = (folder.to_owned(), sheet.files.clone());
    let read = tokio::task::spawn_blocking(move || {
        files
            .iter()
            .filter_map(|file| read_file(&folder, file).transpose())
            .collect::<Result<Vec<_>, _>>()
    });
    let rows = read
        .await
        .unwrap_or_else(|_| Err("reading the folder broke off".to_owned()));
    let answer = match rows {
        Ok(rows) => Answer::Rows(Rows::new(rows)),
        Err(why) => Answer::Unreadable(why),
    };
    let mut answers = Answers::default();
    for question in sheet
        .questions
        .iter()
        .filter(|question| question.ask == Ask::Folder)
    {
        answers.put(Place::Folder, question.name, answer.clone());
    }
    answers
}

/// The row of a file; none if there is none. What is no ordinary file has mode 0, which is nobody's wish.
fn read_file(folder: &Path, file: &str) -> Result<Option<Row>, String> {
    let path = inside(folder, file)?;
    let meta = match fs::symlink_metadata(&path) {
        Ok(meta) => meta,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => {
            return Err(format!(
                "`{file}` cannot be read: {}",
                clean(&error.to_string(), 200)
            ));
        }
    };
    let (mut content, mut mode) = (String::new(), 0);
    if meta.is_file() && meta.len() <= MOST {
        let bytes = read_same(&path, &meta).map_err(|error| {
            format!(
                "`{file}` cannot be read: {}",
                clean(&error.to_string(), 200)
            )
        })?;
        content = String::from_utf8_lossy(&bytes).into_owned();
        mode = meta.mode() & 0o7777;
    }
    let mut row = Row::new();
    row.insert("key".to_owned(), json!(file));
    row.insert("content".to_owned(), json!(content));
    row.insert("mode".to_owned(), json!(mode));
    Ok(Some(row))
}

/// Reads the very file that was looked at: what was put in its place meanwhile is not read.
fn read_same(path: &Path, seen: &fs::Metadata) -> std::io::Result<Vec<u8>> {
    let handle = Handle::open(path)?;
    let opened = handle.metadata()?;
    if (opened.dev(), opened.ino()) != (seen.dev(), seen.ino()) {
        return Err(std::io::Error::other("it changed while it was looked at"));
    }
    let mut bytes = Vec::new();
    handle.take(MOST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A path of the folder; nothing leads out of it.
fn inside(folder: &Path, file: &str) -> Result<PathBuf, String> {
    let plain = !file.is_empty()
        && Path::new(file)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
    if plain {
        Ok(folder.join(file))
    } else {
        Err(format!(
            "`{}` is no path inside the folder",
            clean(file, 100)
        ))
    }
}

/// Writes a file: old or new, never torn.
pub(super) async fn write(folder: &Path, file: &File) -> Result<(), Trouble> {
    let (folder, file) = (folder.to_owned(), file.clone());
    blocking(move || {
        let path = inside(&folder, &file.path).map_err(Trouble::failed)?;
        write_file(&folder, &path, &file).map_err(|error| cannot("write", &file.path, &error))
    })
    .await
}

/// Removes a file, and the folders that become empty by it.
pub(super) async fn unlink(folder: &Path, file: &str) -> Result<(), Trouble> {
    let (folder, file) = (folder.to_owned(), file.to_owned());
    blocking(move || {
        let path = inside(&folder, &file).map_err(Trouble::failed)?;
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(cannot("remove", &file, &error)),
        }
        let mut parent = path.parent();
        while let Some(at) = parent.filter(|at| *at != folder) {
            if fs::remove_dir(at).is_err() {
                break;
            }
            parent = at.parent();
        }
        Ok(())
    })
    .await
}

async fn blocking(
    work: impl FnOnce() -> Result<(), Trouble> + Send + 'static,
) -> Result<(), Trouble> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(Trouble::unknown("the work on the file broke off")))
}

fn cannot(what: &str, file: &str, error: &std::io::Error) -> Trouble {
    Trouble::failed(format!(
        "cannot {what} `{}`: {}",
        clean(file, 100),
        clean(&error.to_string(), 200)
    ))
}

fn write_file(folder: &Path, path: &Path, file: &File) -> std::io::Result<()> {
    let parent = path.parent().unwrap_or(folder);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    // Another umask or an older run may have left it open to others; it holds what only its owner may read.
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    let mut at = folder.to_owned();
    for part in parent
        .strip_prefix(folder)
        .into_iter()
        .flat_map(Path::components)
    {
        at.push(part);
        match fs::symlink_metadata(&at) {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => {
                return Err(std::io::Error::other(format!(
                    "{} is not a folder",
                    at.display()
                )));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // Two files of one folder are written at once: the other may have just made it.
                let made = DirBuilder::new().mode(0o700).create(&at);
                if let Err(error) = made
                    && !fs::symlink_metadata(&at).is_ok_and(|meta| meta.is_dir())
                {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
    let mut new = tempfile::Builder::new()
        .prefix(".provision-")
        .tempfile_in(parent)?;
    new.write_all(file.content.expose().expose().as_bytes())?;
    new.as_file()
        .set_permissions(fs::Permissions::from_mode(file.mode))?;
    new.as_file().sync_all()?;
    new.persist(path).map_err(|error| error.error)?;
    Handle::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Question, Text};

    const FILES: Question = Question {
        name: "files",
        ask: Ask::Folder,
    };

    fn sheet(files: &[&str]) -> Sheet {
        let files = files.iter().map(|file| (*file).to_owned()).collect();
        Sheet {
            files,
            questions: vec![FILES],
            ..Sheet::default()
        }
    }

    fn row(answers: &Answers, key: &str) -> Option<(String, u64)> {
        let Some(Answer::Rows(rows)) = answers.get(&Place::Folder, "files") else {
            panic!("{answers:?}")
        };
        let row = rows.of(key).first()?;
        Some((row["content"].as_str()?.to_owned(), row["mode"].as_u64()?))
    }

    #[tokio::test]
    async fn a_file_is_read_as_it_was_written() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("x/local");
        let file = File {
            path: "first-start/10.sql".to_owned(),
            content: Text::plain("SELECT 1;\n"),
            mode: 0o644,
        };
        write(&folder, &file).await.unwrap();
        let answers = look(
            &folder,
            &sheet(&["first-start/10.sql", "none", "first-start/10.sql/below"]),
        )
        .await;
        assert_eq!(
            row(&answers, "first-start/10.sql"),
            Some(("SELECT 1;\n".to_owned(), 0o644))
        );
        assert_eq!(row(&answers, "none"), None);
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(folder.join("first-start")).unwrap().count(), 1);
        unlink(&folder, "first-start/10.sql").await.unwrap();
        assert!(!folder.join("first-start").exists());
        unlink(&folder, "first-start/10.sql").await.unwrap();
    }

    #[tokio::test]
    async fn links_lead_nowhere() {
        let place = tempfile::tempdir().unwrap();
        let victim = place.path().join("victim");
        fs::write(&victim, "mine").unwrap();
        let folder = place.path().join("local");
        fs::create_dir(&folder).unwrap();
        std::os::unix::fs::symlink(&victim, folder.join("a")).unwrap();
        std::os::unix::fs::symlink(place.path(), folder.join("b")).unwrap();
        let answers = look(&folder, &sheet(&["a"])).await;
        assert_eq!(row(&answers, "a"), Some((String::new(), 0)));
        let file = |path: &str| File {
            path: path.to_owned(),
            content: Text::plain("new"),
            mode: 0o600,
        };
        write(&folder, &file("a")).await.unwrap();
        assert!(write(&folder, &file("b/victim")).await.is_err());
        assert!(write(&folder, &file("../victim")).await.is_err());
        assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
        assert_eq!(fs::read_to_string(folder.join("a")).unwrap(), "new");
    }
}
