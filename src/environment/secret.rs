//! Secrets: what a file says of where one comes from, and having it.

use std::fs::{self, DirBuilder};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::declaration::{Node, SecretSource, Stage, Value};
use crate::environment::check::Checker;
use crate::environment::read::{self, At, Raw, RawTable, RawValue, shorten};
use crate::secret::{Secret, sha256};

/// The largest secret.
const LIMIT: u64 = 64 * 1024;
/// How long a program may take to print one.
const DEADLINE: Duration = Duration::from_secs(30);
/// How many programs run at once.
const PARALLEL: usize = 8;

const SOURCES: [&str; 5] = ["env", "file", "dotenv", "command", "generate"];
const FORMS: &str = "`{ env = \"NAME\" }`, `{ file = \"PATH\" }`, `{ dotenv = \"PATH\", key = \"NAME\" }`, `{ command = [\"PROGRAM\", \"ARGUMENT\"] }` or `{ generate = true }`";

impl Checker<'_> {
    /// A secret's declaration. Nothing of it is ever echoed.
    pub fn secret(&mut self, raw: Raw, key: &str) -> Option<Node> {
        self.book.secrets.push(raw.at);
        let at = raw.at;
        let source = match raw.value {
            RawValue::Text(text) => self.plain(text, key, at)?,
            RawValue::Table(table) => self.source(table, key, at)?,
            _ => return self.wrong(&raw, &crate::declaration::Type::Secret, key),
        };
        let secret = match &source {
            SecretSource::Plain(secret) => secret.clone(),
            _ => Secret::new(""),
        };
        Some(Node {
            value: Value::Secret(source, secret),
            origin: self.book.origin(at),
        })
    }

    fn plain(&mut self, text: String, key: &str, at: At) -> Option<SecretSource> {
        let forbidden = self.stage.is_some_and(|stage| stage != Stage::Dev);
        if forbidden && self.dropped == 0 {
            let message = format!(
                "`{}` stands here in plain text, which is allowed only where `stage = \"dev\"`",
                shorten(key)
            );
            self.book.error(at, message).help = Some(format!("say where it comes from: {FORMS}"));
            return None;
        }
        if let Some(why) = unfit(&text) {
            self.book.error(at, format!("`{}` {why}", shorten(key)));
            return None;
        }
        Some(SecretSource::Plain(Secret::new(text)))
    }

    fn source(&mut self, mut table: RawTable, key: &str, at: At) -> Option<SecretSource> {
        let unknown: Vec<(String, At)> = table
            .iter()
            .filter(|(name, _)| !SOURCES.contains(&name.as_str()) && *name != "key")
            .map(|(name, entry)| (name.clone(), entry.key))
            .collect();
        for (name, at) in &unknown {
            let message = format!("unknown key `{}` in the secret `{key}`", shorten(name));
            let help = crate::error::nearest(name, SOURCES.into_iter().chain(["key"])).map_or_else(
                || format!("a secret is {FORMS}"),
                |close| format!("did you mean `{close}`?"),
            );
            self.book.error(*at, message).help = Some(help);
        }
        let given: Vec<&str> = SOURCES
            .into_iter()
            .filter(|name| table.contains_key(*name))
            .collect();
        let [source] = given.as_slice() else {
            if unknown.is_empty() {
                let message = match given.as_slice() {
                    [] => format!("the secret `{key}` does not say where it comes from"),
                    many => format!(
                        "the secret `{key}` comes from {} at once",
                        many.join(" and ")
                    ),
                };
                self.book.error(at, message).help = Some(format!("a secret is {FORMS}"));
            }
            return None;
        };
        if !unknown.is_empty() {
            return None;
        }
        let name = table.remove("key").map(|entry| entry.node);
        let node = table.remove(*source)?.node;
        let at = node.at;
        match (*source, name) {
            ("dotenv", Some(name)) => {
                let path = self.place(node, "dotenv")?;
                let name = self.word(name, "key")?;
                Some(SecretSource::Dotenv(path, name))
            }
            ("dotenv", None) => {
                let message = format!("the secret `{key}` does not say which `key` of the file");
                self.book.error(at, message);
                None
            }
            (_, Some(name)) => {
                self.book
                    .error(name.at, "`key` goes with `dotenv` only".to_owned());
                None
            }
            ("env", None) => Some(SecretSource::Env(self.word(node, "env")?)),
            ("file", None) => Some(SecretSource::File(self.place(node, "file")?)),
            ("command", None) => self.argv(node),
            (_, None) => match node.value {
                RawValue::Bool(true) => Some(SecretSource::Generate),
                _ => {
                    self.book.error(at, "`generate` can only be `true`");
                    None
                }
            },
        }
    }

    fn string(&mut self, raw: Raw, key: &str) -> Option<(String, At)> {
        let RawValue::Text(text) = &raw.value else {
            let message = format!("`{key}` is {}, and has to be a string", raw.kind());
            self.book.error(raw.at, message);
            return None;
        };
        let text = self.rendered(text, key, raw.at)?;
        if text.is_empty() || text.contains('\0') {
            let message = format!("`{key}` is empty, or holds a NUL character");
            self.book.error(raw.at, message);
            return None;
        }
        Some((text, raw.at))
    }

    /// The name of a variable.
    fn word(&mut self, raw: Raw, key: &str) -> Option<String> {
        let (text, at) = self.string(raw, key)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if text.chars().all(plain) {
            return Some(text);
        }
        // Somebody may have put the secret itself here: it is not repeated.
        let message = format!("`{key}` is no name of a variable");
        self.book.error(at, message).help =
            Some("it is letters, digits, `_`, `-` and `.`".to_owned());
        None
    }

    fn place(&mut self, raw: Raw, key: &str) -> Option<PathBuf> {
        let (text, at) = self.string(raw, key)?;
        Some(self.absolute(&text, at))
    }

    fn argv(&mut self, raw: Raw) -> Option<SecretSource> {
        let at = raw.at;
        let RawValue::List(items) = raw.value else {
            let message = format!(
                "`command` is {}, and has to be a list: the program and its arguments",
                raw.kind()
            );
            self.book.error(at, message).help = Some(
                "it runs without a shell; for one, write `[\"sh\", \"-c\", \"...\"]`".to_owned(),
            );
            return None;
        };
        let mut argv = Vec::new();
        for item in items {
            argv.push(self.string(item, "command")?.0);
        }
        let Some(program) = argv.first_mut() else {
            self.book.error(at, "`command` names no program");
            return None;
        };
        if program.contains('/') {
            *program = self.absolute(program, at).display().to_string();
        }
        Some(SecretSource::Command(argv))
    }
}

/// Why a text cannot be a secret, as the end of a sentence.
fn unfit(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("is empty");
    }
    text.contains('\0')
        .then_some("holds a NUL character, which no password may")
}

/// A secret that is to be had.
pub(super) struct Wanted {
    pub source: SecretSource,
    /// Its place in the tree, as in `postgres.analytics.role.django_user.password`.
    pub key: String,
    /// The folder of the file that says it.
    pub folder: PathBuf,
    /// Of one that is made: whether none is kept here yet ([`see_new`]).
    pub is_new: bool,
}

/// The file that keeps a secret which was made.
pub(super) fn path(folder: &Path, key: &str) -> PathBuf {
    folder.join("secrets").join(file_name(key))
}

/// Notes of which secrets none is kept here yet, before they are made.
pub(super) fn see_new(wanted: &mut [Wanted], folder: &Path) {
    for wanted in wanted {
        wanted.is_new = matches!(wanted.source, SecretSource::Generate)
            && fs::symlink_metadata(path(folder, &wanted.key))
                .is_err_and(|error| error.kind() == ErrorKind::NotFound);
    }
}

/// Why one cannot be had, as the end of a sentence, and what to try.
pub(super) struct Missing {
    pub why: String,
    pub hint: String,
}

/// Has many secrets: programs run side by side. The answers are in the order of the questions.
pub(super) fn have(wanted: &[Wanted], folder: &Path) -> Vec<Result<Secret, Missing>> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let programs = wanted
        .iter()
        .filter(|wanted| matches!(wanted.source, SecretSource::Command(_)))
        .count();
    let work = || {
        let mut done = Vec::new();
        loop {
            let n = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let Some(wanted) = wanted.get(n) else {
                return done;
            };
            done.push((n, one(wanted, folder)));
        }
    };
    let mut answers: Vec<(usize, Result<Secret, Missing>)> = std::thread::scope(|scope| {
        let helpers: Vec<_> = (1..programs.min(PARALLEL))
            .map(|_| scope.spawn(work))
            .collect();
        let mut answers = work();
        for helper in helpers {
            answers.extend(helper.join().unwrap_or_default());
        }
        answers
    });
    answers.sort_by_key(|(n, _)| *n);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

fn one(wanted: &Wanted, folder: &Path) -> Result<Secret, Missing> {
    let text = match &wanted.source {
        SecretSource::Plain(secret) => return Ok(secret.clone()),
        SecretSource::Env(name) => from_environment(name)?,
        SecretSource::File(path) => from_file(path)?,
        SecretSource::Dotenv(path, key) => from_dotenv(path, key)?,
        SecretSource::Command(argv) => from_command(argv, &wanted.folder)?,
        SecretSource::Generate => generated(folder, &wanted.key)?,
    };
    match unfit(&text) {
        Some(why) => Err(Missing {
            why: format!("{} {why}", wanted.source.shown()),
            hint: "give it a value".to_owned(),
        }),
        None => Ok(Secret::new(text.as_str())),
    }
}

type Had = Result<Zeroizing<String>, Missing>;

fn missing(why: impl Into<String>, hint: impl Into<String>) -> Missing {
    Missing {
        why: why.into(),
        hint: hint.into(),
    }
}

fn from_environment(name: &str) -> Had {
    match std::env::var(name) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(std::env::VarError::NotPresent) => Err(missing(
            format!("the environment variable `{name}` is not set"),
            format!("set it first, as in `read -rs {name} && export {name}`"),
        )),
        Err(std::env::VarError::NotUnicode(_)) => Err(missing(
            format!("the environment variable `{name}` is not UTF-8 text"),
            "give it a value that is",
        )),
    }
}

fn from_file(path: &Path) -> Had {
    let bytes = read::bytes_up_to(path, LIMIT).map_err(|why| {
        let path = path.display();
        missing(
            format!("`{path}` {why}"),
            format!("write the secret into `{path}`, readable by you only"),
        )
    })?;
    text(bytes, || format!("`{}`", path.display()))
}

/// Bytes as a secret, the last newline taken off.
fn text(bytes: Vec<u8>, who: impl Fn() -> String) -> Had {
    let mut text = String::from_utf8(bytes).map(Zeroizing::new).map_err(|_| {
        missing(
            format!("what {} holds is not UTF-8 text", who()),
            "a password is text",
        )
    })?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

fn from_dotenv(path: &Path, key: &str) -> Had {
    let all = from_file(path)?;
    let found = all
        .lines()
        .filter_map(|line| dotenv_line(line, key))
        .next_back();
    found.map(Zeroizing::new).ok_or_else(|| {
        let path = path.display();
        missing(
            format!("`{path}` has no `{key}`"),
            format!("add a line `{key}=...` to `{path}`"),
        )
    })
}

/// The value of a line `KEY=VALUE`, if it is of this key.
fn dotenv_line(line: &str, key: &str) -> Option<String> {
    let line = line.trim_start().trim_start_matches('\u{feff}');
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=')?;
    if name.trim() != key {
        return None;
    }
    let value = value.trim();
    if let Some(rest) = value.strip_prefix('\'') {
        return rest.split_once('\'').map(|(value, _)| value.to_owned());
    }
    let Some(rest) = value.strip_prefix('"') else {
        let end = value.find(" #").unwrap_or(value.len());
        return value.get(..end).map(|value| value.trim_end().to_owned());
    };
    let mut unquoted = String::new();
    let mut chars = rest.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return Some(unquoted),
            '\\' => match chars.next()? {
                'n' => unquoted.push('\n'),
                't' => unquoted.push('\t'),
                'r' => unquoted.push('\r'),
                other => unquoted.push(other),
            },
            other => unquoted.push(other),
        }
    }
    None
}

/// What a program prints. It runs without a shell, without a terminal's input, in its own process group.
fn from_command(argv: &[String], folder: &Path) -> Had {
    let program = argv.first().map_or("", String::as_str);
    let shown = format!("`{}`", shorten(program));
    let mut child = Command::new(program)
        .args(argv.iter().skip(1))
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| {
            missing(
                format!("{shown} cannot be run: {error}"),
                format!("install it, or name another program than {shown}"),
            )
        })?;
    let by_hand =
        format!("run {shown} by hand, as the environment file has it, to see what it says");
    let (sender, receiver) = mpsc::channel();
    if let Some(output) = child.stdout.take() {
        // Not joined: a grandchild may hold the pipe open beyond the deadline.
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let read = output.take(LIMIT + 1).read_to_end(&mut bytes);
            let _ = sender.send(read.map(|_| bytes));
        });
    }
    let deadline = Instant::now() + DEADLINE;
    let bytes = receiver.recv_timeout(DEADLINE);
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if bytes.is_ok() && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            _ => break None,
        }
    };
    let (Some(status), Ok(Ok(bytes))) = (status, bytes) else {
        stop(&mut child);
        let seconds = DEADLINE.as_secs();
        return Err(missing(
            format!("{shown} did not end within {seconds} s"),
            by_hand,
        ));
    };
    if bytes.len() as u64 > LIMIT {
        let limit = LIMIT / 1024;
        return Err(missing(
            format!("{shown} prints more than {limit} KiB"),
            by_hand,
        ));
    }
    if !status.success() {
        return Err(missing(format!("{shown} failed: {status}"), by_hand));
    }
    text(bytes, || shown.clone())
}

/// Ends a program and what it started.
fn stop(child: &mut std::process::Child) {
    let group = child.id().to_string();
    let _ = Command::new("/bin/sh")
        .args(["-c", "kill -KILL -- \"-$1\"", "sh", &group])
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let _ = child.kill();
    let _ = child.wait();
}

/// A secret made once and kept beside the generated files, for its owner only.
fn generated(folder: &Path, key: &str) -> Had {
    let path = path(folder, key);
    let folder = folder.join("secrets");
    let failed = |what: &str, error: &std::io::Error| {
        missing(
            format!("`{}` cannot be {what}: {error}", path.display()),
            "it has to be a file of yours with mode 0600, in a folder with mode 0700",
        )
    };
    let kept = || match fs::symlink_metadata(&path) {
        Ok(seen) if !seen.is_file() || seen.permissions().mode() & 0o077 != 0 => {
            Some(Err(missing(
                format!("`{}` is no file that only you can read", path.display()),
                format!(
                    "look who made it; `chmod 600 {}` if it was you",
                    path.display()
                ),
            )))
        }
        Ok(_) => Some(from_file(&path)),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => Some(Err(failed("read", &error))),
    };
    if let Some(kept) = kept() {
        return kept;
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(|error| failed("made", &error))?;
    let made = random().map_err(|why| missing(why, "this machine gives no random bytes"))?;
    match keep(&folder, &path, &made) {
        Ok(()) => Ok(made),
        // Another run was faster: its secret is the one.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            kept().unwrap_or_else(|| Err(failed("made", &error)))
        }
        Err(error) => Err(failed("made", &error)),
    }
}

/// Whole or not at all, and never over another: written aside, then given its name.
fn keep(folder: &Path, path: &Path, secret: &str) -> std::io::Result<()> {
    let mut aside = tempfile::Builder::new()
        .prefix(".new-")
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(folder)?;
    aside.write_all(secret.as_bytes())?;
    aside.write_all(b"\n")?;
    aside.as_file().sync_all()?;
    aside
        .persist_noclobber(path)
        .map_err(|refused| refused.error)?;
    fs::File::open(folder)?.sync_all()
}

fn random() -> Result<Zeroizing<String>, String> {
    let mut bytes = Zeroizing::new([0u8; 32]);
    getrandom::fill(bytes.as_mut()).map_err(|error| error.to_string())?;
    Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_ref())))
}

/// A key as the name of a file: no slash, no leading dot, no longer than a file system takes.
fn file_name(key: &str) -> String {
    let mut name = String::new();
    for byte in key.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'@' => name.push(byte.into()),
            b'.' if !name.is_empty() => name.push('.'),
            other => name.push_str(&format!("%{other:02x}")),
        }
    }
    if name.len() > 200 {
        return format!("{}-{}", name.get(..120).unwrap_or_default(), sha256(key));
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(source: SecretSource, key: &str) -> Wanted {
        Wanted {
            is_new: false,
            source,
            key: key.to_owned(),
            folder: std::env::temp_dir(),
        }
    }

    fn command(words: &[&str]) -> SecretSource {
        SecretSource::Command(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn a_generated_secret_is_made_once_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("env");
        let first = generated(&root, "postgres.a.role.b.password").ok().unwrap();
        let again = generated(&root, "postgres.a.role.b.password").ok().unwrap();
        assert_eq!(*first, *again);
        assert_eq!(first.len(), 43);
        let path = root.join("secrets/postgres.a.role.b.password");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(generated(&root, "postgres.a.role.b.password").is_err());
        assert_eq!(file_name("file./etc/x"), "file.%2fetc%2fx");
        assert_eq!(file_name("../x"), "%2e.%2fx");
    }

    #[test]
    fn programs_run_side_by_side_and_fail_with_words() {
        let many: Vec<Wanted> = (0..8)
            .map(|n| {
                let line = format!("sleep 0.3; echo secret{n}");
                wanted(command(&["sh", "-c", &line]), "x")
            })
            .collect();
        let begun = Instant::now();
        let had = have(&many, Path::new("/nowhere"));
        assert!(begun.elapsed() < Duration::from_millis(1500));
        assert!(
            had[3]
                .as_ref()
                .is_ok_and(|secret| *secret == Secret::new("secret3"))
        );
        for (words, why) in [
            (&["sh", "-c", "exit 3"][..], "exit status: 3"),
            (&["no-such-program-here"], "cannot be run"),
            (&["true"], "is empty"),
            (&["head", "-c", "70000", "/dev/zero"], "more than 64 KiB"),
        ] {
            let answer = have(&[wanted(command(words), "x")], Path::new("/nowhere"));
            assert!(
                answer[0]
                    .as_ref()
                    .is_err_and(|missing| missing.why.contains(why)),
                "{words:?}"
            );
        }
    }

    #[test]
    fn dotenv_lines_are_read_as_others_read_them() {
        for (line, value) in [
            ("A=b", Some("b")),
            ("export A = b c # d", Some("b c")),
            ("A='b # c'", Some("b # c")),
            (r#"A="b\"c\n""#, Some("b\"c\n")),
            ("A=", Some("")),
            ("# A=b", None),
            ("AA=b", None),
            ("A=b#c", Some("b#c")),
        ] {
            assert_eq!(dotenv_line(line, "A").as_deref(), value, "{line}");
        }
    }
}
