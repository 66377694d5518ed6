//! Our own files: what was last applied, the journal, saved plans, rendered files, the lock. Old or new, never torn; nobody else's.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::{Failure, Kind};
use crate::operator;
use crate::plan::journal::{self, Heading, Over};
use crate::plan::memory::{self, Memory, Unusable};
use crate::resource::Id;
use crate::secret;

/// No file of ours is larger.
const MOST: u64 = 32 * 1024 * 1024;

/// The record's name in the environment's folder.
const RECORD: &str = "record.json";

/// The journal's name there.
const JOURNAL: &str = "journal";

/// The name of the list of hosts in the environment's folder.
const HOSTS: &str = "hosts.json";

/// What was last applied. A memory, never the truth: without it, or where it is damaged, only *who moved* is lost.
///
/// # Errors
/// [`Kind::Stale`] where a later version of the program wrote it.
pub fn read_memory(folder: &Path) -> Result<Memory, Failure> {
    let path = folder.join(RECORD);
    let text = match read_own(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Memory::default()),
        Err(error) => {
            tracing::warn!("`{}` cannot be read: {error}", path.display());
            return Ok(Memory::default());
        }
    };
    match Memory::parse(&text) {
        Ok(memory) => Ok(memory),
        Err(Unusable::Newer(format)) => Err(newer(
            &format!("`{}`", path.display()),
            format,
            memory::FORMAT,
        )),
        Err(Unusable::Damaged(why)) => {
            tracing::warn!("`{}` is damaged and forgotten: {why}", path.display());
            Ok(Memory::default())
        }
    }
}

/// What a later version of the program wrote is neither used nor rewritten.
pub fn newer(what: &str, format: u64, known: u64) -> Failure {
    let message = format!(
        "{what} is of format {format}, and this version of the program knows formats up to {known}"
    );
    Failure::new(Kind::Stale, message)
        .hint("use the version that wrote it, or a later one; it is not rewritten")
}

/// Keeps what was last applied.
///
/// # Errors
/// [`Kind::Failed`] where the folder cannot be written.
pub fn write_memory(folder: &Path, memory: &Memory) -> Result<(), Failure> {
    let path = folder.join(RECORD);
    private_folder(folder)
        .and_then(|()| write(&path, memory.render().as_bytes(), 0o600))
        .map_err(|error| unwritable(&path, &error))
}

/// The hosts on which something was applied, each with its address and how much; none where nobody knows.
pub fn read_hosts(folder: &Path) -> BTreeMap<String, (String, usize)> {
    let text = read_own(&folder.join(HOSTS)).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// Keeps on which hosts something was applied.
///
/// # Errors
/// [`Kind::Failed`] where the folder cannot be written.
pub fn write_hosts(
    folder: &Path,
    hosts: &BTreeMap<String, (String, usize)>,
) -> Result<(), Failure> {
    let path = folder.join(HOSTS);
    let text =
        serde_json::to_string_pretty(hosts).map_err(|error| io::Error::other(error.to_string()));
    text.and_then(|text| {
        private_folder(folder)?;
        write(&path, text.as_bytes(), 0o600)
    })
    .map_err(|error| unwritable(&path, &error))
}

/// Who runs this and where, for people: `maria@laptop`.
pub fn operator() -> String {
    let user = operator::user();
    match fs::read_to_string("/proc/sys/kernel/hostname") {
        Ok(host) => format!("{user}@{}", host.trim()),
        Err(_) => user,
    }
}

/// The journal of a run, beside the environment: what is about to be done is on the disk before it is done.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    /// The file and how far it is written.
    file: Mutex<(File, u64)>,
}

impl Journal {
    /// Begins the journal of a run in the environment's folder, in place of that of the run before. There is room in it for how
    /// everything planned may end: a disk that is full is a reason not to begin.
    ///
    /// # Errors
    /// [`Kind::Failed`] where it cannot be written, [`Kind::Stale`] where a later version of the program wrote the one before: nothing
    /// may be begun then.
    pub fn begin<'a>(
        folder: &Path,
        heading: &Heading,
        planned: impl Iterator<Item = (&'a Id, Option<&'a Arc<str>>)>,
    ) -> Result<Self, Failure> {
        let path = folder.join(JOURNAL);
        if let Err(failure) = read_journal(folder)
            && failure.kind == Kind::Stale
        {
            return Err(failure);
        }
        let text = heading.with_plan(planned);
        let begun = (|| {
            private_folder(folder)?;
            // Lines that hold nothing are room. A change is told at most thrice more.
            let room = vec![b'\n'; text.len() * 4 + 4096];
            let whole = [text.as_bytes(), &room].concat();
            write(&path, &whole, 0o600)?;
            OpenOptions::new().write(true).open(&path)
        })();
        let file = begun.map_err(|error| {
            unwritable(&path, &error).hint(
                "nothing is begun without a journal, which says after any death what was done",
            )
        })?;
        Ok(Journal {
            path,
            file: Mutex::new((file, text.len() as u64)),
        })
    }

    /// Adds lines.
    ///
    /// # Errors
    /// Where they cannot be written.
    pub fn add(&self, lines: &[String]) -> io::Result<()> {
        let mut text = lines.join("\n");
        text.push('\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, at) = &mut *file;
        file.write_all_at(text.as_bytes(), *at)?;
        *at += text.len() as u64;
        Ok(())
    }

    /// Adds what is about to be done; it is on the disk behind this.
    ///
    /// # Errors
    /// Where it cannot be written: then it may not be done.
    pub fn intend(&self, lines: &[String]) -> io::Result<()> {
        self.add(lines)?;
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.0.sync_data()
    }

    /// Adds how something ended. That it cannot be written stops nothing: it is unknown then.
    pub fn note(&self, lines: &[String]) {
        if lines.is_empty() {
            return;
        }
        if let Err(error) = self.add(lines) {
            tracing::warn!("`{}` cannot be written: {error}", self.path.display());
        }
    }

    /// Writes the last line, and gives back the room.
    pub fn end(&self, over: Over) {
        self.note(&[journal::over(over)]);
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = file.0.set_len(file.1).and_then(|()| file.0.sync_all());
        if let Err(error) = ended {
            tracing::warn!("`{}` cannot be written: {error}", self.path.display());
        }
    }
}

/// The journal of the last run of an environment from here; none where there was none.
///
/// # Errors
/// [`Kind::Stale`] where a later version of the program wrote it, [`Kind::Failed`] where it cannot be read.
pub fn read_journal(folder: &Path) -> Result<Option<journal::Journal>, Failure> {
    let path = folder.join(JOURNAL);
    let shown = format!("`{}`", path.display());
    match read_own(&path) {
        Ok(text) => journal::Journal::parse(&text)
            .map(Some)
            .map_err(|unusable| unusable_journal(&shown, &unusable)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::new(
            Kind::Failed,
            format!("{shown} cannot be read: {error}"),
        )),
    }
}

/// Why a journal is not read.
pub fn unusable_journal(shown: &str, unusable: &Unusable) -> Failure {
    match unusable {
        Unusable::Newer(format) => newer(shown, *format, journal::FORMAT),
        Unusable::Damaged(_) => Failure::new(
            Kind::Failed,
            format!("{shown} is damaged: nobody can say what the last run did"),
        )
        .hint("`provision plan ENV` looks at what is there"),
    }
}

/// Writes a saved plan, readable by its owner only.
///
/// # Errors
/// [`Kind::Failed`] where it cannot be written, or where something that is no plain file has its name.
pub fn write_plan(path: &Path, text: &str) -> Result<(), Failure> {
    match fs::symlink_metadata(path) {
        Ok(meta) if !meta.is_file() => Err(Failure::new(
            Kind::Failed,
            format!(
                "`{}` is {}, so no plan is written there",
                path.display(),
                noun(&meta)
            ),
        )),
        _ => write(path, text.as_bytes(), 0o600).map_err(|error| unwritable(path, &error)),
    }
}

/// Reads a saved plan.
///
/// # Errors
/// [`Kind::Stale`] where it is not there, no plain file, open to others, too large or no text.
pub fn read_plan(path: &Path) -> Result<String, Failure> {
    let shown = path.display();
    let refuse = |why: String| {
        Failure::new(Kind::Stale, format!("the saved plan `{shown}` {why}"))
            .hint("make a new one with `provision plan ENV --out FILE`")
    };
    let meta =
        fs::symlink_metadata(path).map_err(|error| refuse(format!("cannot be read: {error}")))?;
    if !meta.is_file() {
        return Err(refuse(format!("is {}", noun(&meta))));
    }
    if meta.mode() & 0o077 != 0 {
        let mode = meta.mode() & 0o7777;
        return Err(refuse(format!(
            "is open to others (mode {mode:04o}), who could have changed it"
        )));
    }
    read_own(path).map_err(|error| refuse(format!("cannot be read: {error}")))
}

/// Writes a new file of the user, never over another.
///
/// # Errors
/// [`Kind::Usage`] if it is there already, [`Kind::Failed`] where it cannot be written.
pub fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let written = (|| {
        if let Some(folder) = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            fs::create_dir_all(folder)?;
        }
        let folder = parent(path);
        let mut draft = tempfile::Builder::new()
            .prefix(".provision-")
            .tempfile_in(&folder)?;
        draft.write_all(text.as_bytes())?;
        draft
            .as_file()
            .set_permissions(Permissions::from_mode(0o644))?;
        draft.as_file().sync_all()?;
        draft.persist_noclobber(path).map_err(|error| error.error)?;
        sync(&folder)
    })();
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::new(
            Kind::Usage,
            format!(
                "`{}` is there already, and is never overwritten",
                path.display()
            ),
        ),
        _ => unwritable(path, &error),
    })
}

/// Writes an environment file that was imported, over another only where that is wanted.
///
/// # Errors
/// As [`write_new`].
pub fn write_imported(path: &Path, text: &str, over: bool) -> Result<(), Failure> {
    if !over {
        return write_new(path, text);
    }
    fs::create_dir_all(parent(path))
        .and_then(|()| write(path, text.as_bytes(), 0o644))
        .map_err(|error| unwritable(path, &error))
}

/// Writes secrets into a `.env` file for its owner alone. One that is there is touched only where that is wanted, and its other
/// lines stay.
///
/// # Errors
/// [`Kind::Usage`] if it is there already, [`Kind::Failed`] where it cannot be written.
pub fn write_secrets(path: &Path, text: &str, over: bool) -> Result<(), Failure> {
    let old = match read_own(path) {
        Ok(_) if !over => {
            let message = format!("`{}` is there already", path.display());
            return Err(Failure::new(Kind::Usage, message));
        }
        Ok(old) => old,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(unwritable(path, &error)),
    };
    let name = |line: &str| {
        let line = line.trim_start();
        let line = line.strip_prefix("export ").unwrap_or(line);
        line.split_once('=').map(|(name, _)| name.trim().to_owned())
    };
    let ours: Vec<String> = text.lines().filter_map(name).collect();
    let mut whole = String::new();
    for line in old.lines() {
        if name(line).is_none_or(|name| !ours.contains(&name)) {
            whole.push_str(line);
            whole.push('\n');
        }
    }
    whole.push_str(text);
    fs::create_dir_all(parent(path))
        .and_then(|()| write(path, whole.as_bytes(), 0o600))
        .map_err(|error| unwritable(path, &error))
}

/// Pins the key of a host in the file of known hosts beside an environment's generated folder, in place of what it was pinned to.
///
/// # Errors
/// [`Kind::Failed`] where it cannot be written.
pub fn pin_host_key(folder: &Path, entry: &str, key: &str) -> Result<PathBuf, Failure> {
    let path = folder.with_file_name("known_hosts");
    let kind = key.split(' ').next().unwrap_or_default();
    let old = match read_own(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(unwritable(&path, &error)),
    };
    let mut text = String::new();
    for line in old.lines() {
        let mut words = line.split_whitespace();
        if words.next() != Some(entry) || words.next() != Some(kind) {
            text.push_str(line);
            text.push('\n');
        }
    }
    text.push_str(&format!("{entry} {key}\n"));
    private_folder(&parent(&path))
        .and_then(|()| write(&path, text.as_bytes(), 0o600))
        .map_err(|error| unwritable(&path, &error))?;
    Ok(path)
}

/// Writes a rendered file into a folder, by its relative path; folders of ours between are made.
///
/// # Errors
/// [`Kind::Failed`] where it cannot be written.
pub fn write_rendered(
    folder: &Path,
    relative: &str,
    content: &str,
    mode: u32,
) -> Result<(), Failure> {
    let relative = Path::new(relative);
    let path = folder.join(relative);
    let inside = relative
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    let written = match inside {
        true => (|| {
            private_folder(&parent(&path))?;
            write(&path, content.as_bytes(), mode)
        })(),
        false => Err(io::Error::other("it would lie outside its folder")),
    };
    written.map_err(|error| unwritable(&path, &error))
}

/// Makes a folder that only its owner can enter. One that is there is left as it is.
///
/// # Errors
/// Where it cannot be made.
pub fn private_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

/// Whether others than the owner can enter a folder that is there.
pub fn is_open_to_others(folder: &Path) -> bool {
    fs::metadata(folder).is_ok_and(|meta| meta.mode() & 0o077 != 0)
}

/// A lock that the kernel frees when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// Takes the lock of a project on this machine, one for all its users.
    ///
    /// # Errors
    /// [`Kind::Locked`] with its holder; [`Kind::Failed`] where there can be no lock.
    pub fn take(project: &str, doing: &str) -> Result<Self, Failure> {
        let (path, file) = open_lock(project).map_err(|error| {
            Failure::new(
                Kind::Failed,
                format!("the lock of project `{project}` cannot be had: {error}"),
            )
        })?;
        // Somebody who only looks has it for a moment.
        for last in [false, false, true] {
            match file.try_lock() {
                Ok(()) => {
                    let lock = Lock(file);
                    lock.sign(doing);
                    return Ok(lock);
                }
                Err(TryLockError::WouldBlock) if !last => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(TryLockError::WouldBlock) => break,
                Err(TryLockError::Error(error)) => return Err(unwritable(&path, &error)),
            }
        }
        Err(locked(project, &holder(&file)))
    }

    /// What this lock is and no other on any machine, a dot, and what this run is that holds it: who holds it knows that another run
    /// which has left the same first half behind is gone. Empty where that cannot be told.
    pub fn seat(&self) -> String {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id");
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        match (boot, self.0.metadata(), now) {
            (Ok(boot), Ok(meta), Ok(now)) => {
                let text = format!("{} {} {}", boot.trim(), meta.dev(), meta.ino());
                let lock: String = secret::sha256(&text).chars().take(16).collect();
                format!("{lock}.{}-{}", std::process::id(), now.as_nanos())
            }
            _ => String::new(),
        }
    }

    /// Who holds the lock of a project on this machine, if somebody does.
    pub fn holder(project: &str) -> Option<String> {
        let (_, file) = open_lock(project).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(holder(&file)),
            _ => None,
        }
    }

    /// Says who holds it. Only for people, so a failure costs nothing but that.
    fn sign(&self, doing: &str) {
        let mut file = &self.0;
        let text = format!(
            "{doing}, process {} of {}, since {}\n",
            std::process::id(),
            operator::user(),
            jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S UTC")
        );
        let signed = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(text.as_bytes()));
        if let Err(error) = signed {
            tracing::debug!("the lock cannot be signed: {error}");
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The kernel lets go of the lock with the file; an old name would only mislead.
        if let Err(error) = self.0.set_len(0) {
            tracing::debug!("the lock keeps its old name: {error}");
        }
    }
}

fn holder(file: &File) -> String {
    let mut holder = String::new();
    let mut file = file;
    let read = file
        .rewind()
        .and_then(|()| file.take(512).read_to_string(&mut holder));
    match read {
        Ok(_) if !holder.trim().is_empty() => holder.trim().to_owned(),
        _ => "another run".to_owned(),
    }
}

fn locked(project: &str, holder: &str) -> Failure {
    Failure::new(
        Kind::Locked,
        format!("project `{project}` is locked: {holder}"),
    )
    .hint("wait until it is done, or let `--wait` do that; the lock goes with the process that holds it")
}

/// Opens the lock's file, making it where it is not. Its folder is open to everybody, so what stands there is looked at first.
fn open_lock(project: &str) -> io::Result<(PathBuf, File)> {
    let mut last = io::Error::other("there is no folder for it");
    for folder in [PathBuf::from("/run/lock"), std::env::temp_dir()] {
        let path = folder.join(format!("provision-{project}.lock"));
        match open_lock_at(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) => {
                last = io::Error::new(error.kind(), format!("{}: {error}", path.display()))
            }
        }
    }
    Err(last)
}

fn open_lock_at(path: &Path) -> io::Result<File> {
    // Never `create` on a file that may be there: the kernel refuses that in a sticky folder for somebody else's file.
    let made = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o666)
        .open(path);
    match made {
        Ok(file) => {
            file.set_permissions(Permissions::from_mode(0o666))?;
            Ok(file)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => open_plain(path, true)
            .or_else(|error| match error.kind() {
                io::ErrorKind::PermissionDenied => open_plain(path, false),
                _ => Err(error),
            }),
        Err(error) => Err(error),
    }
}

/// Opens a plain file that is there: no link, no pipe, and the same one that was looked at.
fn open_plain(path: &Path, write: bool) -> io::Result<File> {
    let before = fs::symlink_metadata(path)?;
    if !before.is_file() {
        return Err(io::Error::other(format!("it is {}", noun(&before))));
    }
    let file = OpenOptions::new().read(true).write(write).open(path)?;
    let opened = file.metadata()?;
    if (opened.dev(), opened.ino()) != (before.dev(), before.ino()) {
        return Err(io::Error::other("it was changed while it was opened"));
    }
    Ok(file)
}

fn read_own(path: &Path) -> io::Result<String> {
    let file = open_plain(path, false)?;
    if file.metadata()?.len() > MOST {
        return Err(io::Error::other("it is too large"));
    }
    let mut text = String::new();
    file.take(MOST).read_to_string(&mut text)?;
    Ok(text)
}

/// Puts a whole file in the place of the old one.
fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder = parent(path);
    let mut draft = tempfile::Builder::new()
        .prefix(".provision-")
        .tempfile_in(&folder)?;
    draft.write_all(bytes)?;
    draft
        .as_file()
        .set_permissions(Permissions::from_mode(mode))?;
    draft.as_file().sync_all()?;
    draft.persist(path).map_err(|error| error.error)?;
    sync(&folder)
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn noun(meta: &fs::Metadata) -> &'static str {
    let kind = meta.file_type();
    match () {
        () if kind.is_symlink() => "a symbolic link",
        () if kind.is_dir() => "a folder",
        () => "no plain file",
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        Kind::Failed,
        format!("`{}` cannot be written: {error}", path.display()),
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_kept_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.plan");
        write_plan(&path, "{}").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(read_plan(&path).unwrap(), "{}");
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert_eq!(read_plan(&path).unwrap_err().kind, Kind::Stale);
    }

    #[test]
    fn a_link_is_neither_read_nor_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (victim, link) = (folder.path().join("victim"), folder.path().join("link"));
        fs::write(&victim, "kept").unwrap();
        fs::set_permissions(&victim, Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        assert_eq!(read_plan(&link).unwrap_err().kind, Kind::Stale);
        assert!(write_plan(&link, "new").is_err());
        assert_eq!(fs::read_to_string(&victim).unwrap(), "kept");
        assert!(read_plan(folder.path()).is_err());
    }

    #[test]
    fn a_rendered_file_stays_in_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("out");
        write_rendered(&inside, "sql/one.sql", "select 1", 0o644).unwrap();
        assert_eq!(fs::metadata(&inside).unwrap().mode() & 0o777, 0o700);
        assert!(write_rendered(&inside, "../escaped", "", 0o600).is_err());
        assert!(write_rendered(&inside, "/etc/escaped", "", 0o600).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_new_file_is_never_written_over_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("environments/local.toml");
        write_new(&path, "first").unwrap();
        assert_eq!(write_new(&path, "second").unwrap_err().kind, Kind::Usage);
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_memory_comes_back_a_damaged_one_is_forgotten_and_a_later_one_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut memory = Memory::default();
        memory.0.entry("container.x".to_owned()).or_default().made = true;
        write_memory(folder.path(), &memory).unwrap();
        assert_eq!(read_memory(folder.path()).unwrap(), memory);
        fs::write(folder.path().join(RECORD), "{\"cut").unwrap();
        assert_eq!(read_memory(folder.path()).unwrap(), Memory::default());
        fs::write(folder.path().join(RECORD), "{\"format_version\":99}").unwrap();
        assert_eq!(read_memory(folder.path()).unwrap_err().kind, Kind::Stale);
    }

    #[test]
    fn one_run_holds_the_lock_and_is_named() {
        let project = format!("test-{}", std::process::id());
        let lock = Lock::take(&project, "apply local").unwrap();
        let failure = Lock::take(&project, "apply local").unwrap_err();
        assert_eq!(failure.kind, Kind::Locked);
        assert!(
            failure
                .message
                .contains(&format!("apply local, process {}", std::process::id())),
            "{failure}"
        );
        drop(lock);
        drop(Lock::take(&project, "again").unwrap());
        let (path, _) = open_lock(&project).unwrap();
        fs::remove_file(path).unwrap();
    }
}
