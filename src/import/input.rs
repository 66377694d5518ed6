//! Files of the user, read within limits.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use crate::error::{Failure, Kind};

/// The largest file that is read.
pub(super) const LARGEST: u64 = 4 * 1024 * 1024;
/// The most files of one import.
pub(super) const MOST: usize = 500;

/// Reads a text, or says what is wrong with it as the end of a sentence that begins with its name.
///
/// # Errors
/// What is wrong with it.
pub(super) fn text(path: &Path) -> Result<String, String> {
    // Before opening: opening a fifo waits for its writer.
    let seen = fs::metadata(path).map_err(|error| trouble(&error))?;
    if seen.is_dir() {
        return Err("is a folder, not a file".to_owned());
    }
    if !seen.is_file() {
        return Err("is no regular file".to_owned());
    }
    let too_large = || {
        format!(
            "is larger than {} MiB, the most that is read",
            LARGEST >> 20
        )
    };
    if seen.len() > LARGEST {
        return Err(too_large());
    }
    let file = File::open(path).map_err(|error| trouble(&error))?;
    let mut bytes = Vec::new();
    file.take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| trouble(&error))?;
    if bytes.len() as u64 > LARGEST {
        return Err(too_large());
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..good).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("is not UTF-8 text from line {line} on")
    })?;
    match text.find('\0') {
        Some(_) => Err("is binary".to_owned()),
        None => Ok(text
            .strip_prefix('\u{feff}')
            .map(str::to_owned)
            .unwrap_or(text)),
    }
}

fn trouble(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "does not exist".to_owned(),
        std::io::ErrorKind::PermissionDenied => "may not be read: permission denied".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}

/// A file that the import cannot do without.
///
/// # Errors
/// [`Kind::Usage`] with its name.
pub(super) fn needed(path: &Path) -> Result<String, Failure> {
    text(path).map_err(|why| Failure::new(Kind::Usage, format!("`{}` {why}", path.display())))
}

/// A path without `.` and `..`, whether or not it is there.
pub(super) fn plain(path: &Path) -> PathBuf {
    // The folder of a bare file name is an empty path.
    let path = match path.as_os_str().is_empty() {
        true => Path::new("."),
        false => path,
    };
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut out = PathBuf::new();
    for part in whole.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out
}

/// A path as seen from a folder.
pub(super) fn relative(folder: &Path, path: &Path) -> String {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| plain(path));
    way(&real(folder), &real(path))
}

/// The name of a folder, whatever it is called by.
pub(super) fn folder_name(folder: &Path) -> String {
    let real = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let name = real.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The way from one absolute path to another: `.`, `app`, `../..`.
pub fn way(from: &Path, to: &Path) -> String {
    let (from, to): (Vec<_>, Vec<_>) = (from.components().collect(), to.components().collect());
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = from.iter().skip(shared).map(|_| "..".to_owned());
    let down = to
        .iter()
        .skip(shared)
        .map(|part| part.as_os_str().to_string_lossy().into_owned());
    let parts: Vec<String> = up.chain(down).collect();
    match parts.is_empty() {
        true => ".".to_owned(),
        false => parts.join("/"),
    }
}

/// A file as people call it: from the folder they stand in, where it is below that.
pub(super) fn shown(path: &Path) -> String {
    let path = plain(path);
    let here = std::env::current_dir().map(|here| plain(&here));
    match here
        .ok()
        .and_then(|here| path.strip_prefix(here).ok().map(Path::to_owned))
    {
        Some(below) if below.as_os_str().is_empty() => ".".to_owned(),
        Some(below) => below.display().to_string(),
        _ => path.display().to_string(),
    }
}
