//! Looking for secrets: passwords that can be recognised, the forms in which they would give themselves away, and the places to
//! look at. In the fault table every password that a row writes into an environment is looked for, in what every run says and
//! in what is left behind.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{Ran, run};

/// A password, and the forms in which it would give itself away.
#[derive(Clone, Debug)]
pub struct Canary {
    pub name: String,
    pub password: String,
    forms: Vec<String>,
}

impl Canary {
    /// A random word with something hostile behind it. The word alone is searched for, so that no quoting hides it.
    pub fn new(name: &str, tail: &str) -> Self {
        let mut bytes = [0; 10];
        getrandom::fill(&mut bytes).unwrap();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let word = format!("canary{hex}");
        Canary {
            name: name.to_owned(),
            password: format!("{word}{tail}"),
            forms: forms(&word),
        }
    }

    /// The same for what the databases keep: enough to guess at, so as secret as the password.
    pub fn kept(name: &str, stored: &str) -> Self {
        Canary {
            name: name.to_owned(),
            password: stored.to_owned(),
            forms: forms(stored),
        }
    }

    /// As it stands in a TOML file.
    pub fn toml(&self) -> String {
        serde_json::to_string(&self.password).unwrap()
    }
}

/// A word in the forms in which it can stand somewhere: as it is, in hexadecimal, in base64 at each of the three places it can
/// begin, and as URLs, JSON and shells write what they escape. SQL doubles quotes only, and a word has none.
pub fn forms(word: &str) -> Vec<String> {
    let bytes = |byte: &dyn Fn(u8) -> String| word.bytes().map(byte).collect::<String>();
    let mut forms = vec![
        word.to_owned(),
        bytes(&|byte| format!("{byte:02x}")),
        bytes(&|byte| format!("{byte:02X}")),
        bytes(&|byte| format!("%{byte:02x}")),
        bytes(&|byte| format!("%{byte:02X}")),
        bytes(&|byte| format!("\\u{byte:04x}")),
        bytes(&|byte| format!("\\x{byte:02x}")),
        bytes(&|byte| format!("\\{byte:03o}")),
    ];
    for before in 0..3 {
        let padded = format!("{}{word}", "x".repeat(before));
        let encoded = STANDARD.encode(padded);
        // The first and last characters hold bits of the neighbours too.
        let inner = &encoded[if before == 0 { 0 } else { 4 }..(encoded.len() - 4)];
        forms.push(inner.to_owned());
    }
    forms
}

/// The names of the canaries that stand in some bytes.
pub fn found(bytes: &[u8], canaries: &[Canary]) -> BTreeSet<String> {
    let text = String::from_utf8_lossy(bytes);
    canaries
        .iter()
        .filter(|canary| canary.forms.iter().any(|form| text.contains(form)))
        .map(|canary| canary.name.clone())
        .collect()
}

/// The files below a folder that hold a canary though somebody but their owner could read them.
pub fn leaking(folder: &Path, canaries: &[Canary]) -> Vec<String> {
    let mut leaking = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() {
            leaking.extend(self::leaking(&path, canaries));
        } else if meta.is_file() && meta.permissions().mode() & 0o177 != 0 {
            for name in found(&fs::read(&path).unwrap(), canaries) {
                leaking.push(format!("{}: {name}", path.display()));
            }
        }
    }
    leaking
}

/// A process that held a canary in its arguments or environment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    pub canary: String,
    /// `cmdline`, or the name of the variable.
    pub place: String,
    /// The namespace of its process ids: the container it is in.
    pub container: String,
    pub program: String,
    /// The binary under test began it, or a session that somebody opened by SSH.
    pub ours: bool,
}

/// Looks at the arguments and the environment of every process of this machine, again and again.
pub struct Watch {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<BTreeSet<Seen>>>,
    thread: JoinHandle<u32>,
}

impl Watch {
    pub fn begin(canaries: &[Canary]) -> Self {
        let (stop, seen) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(Mutex::new(BTreeSet::new())),
        );
        let (stopped, into, canaries) = (Arc::clone(&stop), Arc::clone(&seen), canaries.to_vec());
        let thread = std::thread::spawn(move || {
            let (mut rounds, mut clean) = (0, HashSet::new());
            while !stopped.load(Ordering::Relaxed) {
                look_around(&canaries, &into, &mut clean);
                rounds += 1;
                std::thread::sleep(Duration::from_millis(3));
            }
            rounds
        });
        Watch { stop, seen, thread }
    }

    pub fn end(self) -> (BTreeSet<Seen>, u32) {
        self.stop.store(true, Ordering::Relaxed);
        let rounds = self.thread.join().unwrap();
        let seen = self.seen.lock().unwrap().clone();
        (seen, rounds)
    }
}

/// The first word of a process's arguments.
fn program(process: &Path) -> String {
    let words = fs::read(process.join("cmdline")).unwrap_or_default();
    let first = words.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(first).into_owned()
}

/// Whether a process descends from the binary under test, or from a session of sshd.
fn is_ours(process: &Path) -> bool {
    let mut process = process.to_owned();
    loop {
        let name = program(&process);
        if name == "provision" || name.ends_with("/provision") || name.starts_with("sshd: ") {
            return true;
        }
        let status = fs::read_to_string(process.join("status")).unwrap_or_default();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        match parent.map(str::trim) {
            None | Some("0" | "1") => return false,
            Some(parent) => process = Path::new("/proc").join(parent),
        }
    }
}

/// `clean` is what was looked at before and held nothing: most of it is the same in every round, and a round has to be quick.
pub fn look_around(
    canaries: &[Canary],
    into: &Mutex<BTreeSet<Seen>>,
    clean: &mut HashSet<Vec<u8>>,
) {
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name();
        if !name
            .to_string_lossy()
            .bytes()
            .all(|byte| byte.is_ascii_digit())
        {
            continue;
        }
        let path = entry.path();
        // Before the rest, since a process that is ending has none.
        let container = fs::read_link(path.join("ns/pid")).unwrap_or_default();
        for place in ["cmdline", "environ"] {
            // A process may be gone by now, and a kernel's has neither.
            let bytes = fs::read(path.join(place)).unwrap_or_default();
            if bytes.is_empty() || clean.contains(&bytes) {
                continue;
            }
            let canaries_found = found(&bytes, canaries);
            for canary in &canaries_found {
                let variables: Vec<String> = match place {
                    "cmdline" => vec![place.to_owned()],
                    _ => variables(&bytes, canaries, canary),
                };
                let (program, ours) = (program(&path), is_ours(&path));
                for place in variables {
                    into.lock().unwrap().insert(Seen {
                        canary: canary.clone(),
                        place,
                        container: container.display().to_string(),
                        program: program.clone(),
                        ours,
                    });
                }
            }
            if canaries_found.is_empty() {
                clean.insert(bytes);
            }
        }
    }
}

/// The names of the variables that hold a canary.
fn variables(environ: &[u8], canaries: &[Canary], name: &str) -> Vec<String> {
    environ
        .split(|byte| *byte == 0)
        .filter(|line| found(line, canaries).contains(name))
        .map(|line| {
            let end = line.iter().position(|byte| *byte == b'=').unwrap_or(0);
            String::from_utf8_lossy(&line[..end]).into_owned()
        })
        .collect()
}

/// The search that goes on beside everything else, where somebody began it.
pub static SEARCH: Mutex<Search> = Mutex::new(Search {
    on: false,
    canaries: Vec::new(),
    looks: 0,
    found: Vec::new(),
});

/// What is looked for all the time, and what was found.
#[derive(Debug)]
pub struct Search {
    pub on: bool,
    pub canaries: Vec<Canary>,
    /// How many things were looked at.
    pub looks: u64,
    /// Where a secret was, for the row that is being tried.
    pub found: Vec<String>,
}

impl Search {
    fn learn(&mut self, password: &str) {
        let Some(word) = telling(password) else {
            return;
        };
        if self.on && !self.canaries.iter().any(|one| one.name == word) {
            self.canaries.push(Canary {
                name: word.to_owned(),
                password: password.to_owned(),
                forms: forms(word),
            });
        }
    }

    /// Looks at something that must hold no secret.
    pub fn look(&mut self, place: &str, bytes: &[u8]) {
        if !self.on || self.canaries.is_empty() {
            return;
        }
        self.looks += 1;
        for name in found(bytes, &self.canaries) {
            self.found
                .push(format!("the secret `{name}` is in {place}"));
        }
    }
}

fn search() -> std::sync::MutexGuard<'static, Search> {
    // A row that panics fails, and the search goes on.
    SEARCH.lock().unwrap_or_else(|held| held.into_inner())
}

/// What is looked for, if something is.
fn canaries() -> Option<Vec<Canary>> {
    let search = search();
    (search.on && !search.canaries.is_empty()).then(|| search.canaries.clone())
}

/// A password that is looked for in every run: a random word with something behind it.
pub fn password(tail: &str) -> String {
    static WORD: OnceLock<Canary> = OnceLock::new();
    let word = &WORD.get_or_init(|| Canary::new("the word", "")).password;
    search().learn(word);
    format!("{word}{tail}")
}

/// The longest part of a password that no language escapes, if it is no word that could stand anywhere.
fn telling(password: &str) -> Option<&str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    let words = password.split(|c| !plain(c));
    let word = words.max_by_key(|word| word.len())?;
    let is_own = word.len() > 6 && word.contains(|c: char| !c.is_ascii_lowercase());
    is_own.then_some(word)
}

/// Takes the passwords of a text that somebody writes into an environment: every plain value of a key that speaks of one.
pub fn learn(text: &str) {
    for line in text.lines() {
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        let key = key.trim().to_ascii_lowercase();
        let value = value.trim_start();
        let quote = value.chars().next().filter(|c| "\"'".contains(*c));
        if let Some(quote) = quote
            && ["password", "secret_key"]
                .iter()
                .any(|end| key.ends_with(end))
        {
            let value = value[1..].split(quote).next().unwrap_or_default();
            // A template is made of a password, and is none.
            if !value.contains("{{") {
                search().learn(value);
            }
        }
    }
}

/// Looks at what the binary under test said. `provision env` gives the variables to whoever asks.
pub fn hear(command: &Command, ran: &Ran) {
    if command.get_program() != env!("CARGO_BIN_EXE_provision") {
        return;
    }
    let words: Vec<_> = command
        .get_args()
        .map(|word| word.to_string_lossy())
        .collect();
    let words = words.join(" ");
    let mut search = search();
    if !words.starts_with("env ") {
        search.look(&format!("stdout of `{words}`"), ran.stdout.as_bytes());
    }
    search.look(&format!("stderr of `{words}`"), ran.stderr.as_bytes());
}

/// Looks at what runs left in the folder of a lab: nobody else may read a secret, and nothing but the files that somebody wrote
/// into `environments`, and what was generated for the services, holds one.
pub fn look_at_folder(folder: &Path) {
    let Some(canaries) = canaries() else {
        return;
    };
    let mut found_there = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && entry.file_name() == ".provision" {
            found_there.extend(leaking(&path, &canaries));
        } else if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            let bytes = fs::read(&path).unwrap_or_default();
            let found = found(&bytes, &canaries).into_iter();
            found_there.extend(found.map(|name| format!("{}: {name}", path.display())));
        }
    }
    let mut search = search();
    search.looks += 1;
    let found_there = found_there.into_iter();
    search
        .found
        .extend(found_there.map(|leak| format!("left behind in {leak}")));
}

/// What on a server holds one of the lines of stdin: files changed since a time that anybody may read, or that are logs, records or
/// temporary, and the journal.
const ON_SERVER: &str = r#"
words=/run/words-we-look-for
(umask 077; cat > "$words")
{
    find / -xdev -type f -newermt "$1" -perm /007 -not -path '/proc/*' -not -path '/sys/*' -print0
    find /var/log /var/lib/provision /run /tmp -type f -newermt "$1" -not -path '/var/log/journal/*' -not -path "$words" -print0
} 2> /dev/null | xargs -0r grep -slF -f "$words" -- | while IFS= read -r file; do
    folder=$(dirname "$file")
    case $file in /var/log/* | /var/lib/provision/* | /run/* | /tmp/*) echo "$file" ;; *)
        # Nobody reaches what is in a folder that is its owner's alone.
        while [ "$folder" != / ] && [ -n "$(find "$folder" -maxdepth 0 -perm /077)" ]; do folder=$(dirname "$folder"); done
        [ "$folder" != / ] || echo "$file" ;;
    esac
done
journalctl -q --no-pager -o cat 2> /dev/null | grep -F -f "$words" | sed 's/^/the journal: /'
rm -f "$words"
"#;

/// Looks at a server before it goes: its files, its journal and what the engine shows of its container.
pub fn look_at_server(container: &str) {
    let Some(canaries) = canaries() else {
        return;
    };
    let created = run(Command::new("docker").args(["inspect", "-f", "{{.Created}}", container]));
    let mut child = Command::new("docker")
        .args(["exec", "-i", container, "sh", "-c", ON_SERVER, "sh"])
        .arg(created.stdout.trim())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let words: String = canaries
        .iter()
        .flat_map(|one| &one.forms)
        .fold(String::new(), |all, form| all + form + "\n");
    // One that is stopped says nothing.
    let _ = child.stdin.take().unwrap().write_all(words.as_bytes());
    let ran = Ran::of(child.wait_with_output().unwrap());
    let mut search = search();
    search.looks += u64::from(ran.code == 0);
    let places = ran.stdout.lines().take(20);
    search
        .found
        .extend(places.map(|place| format!("on `{container}`: a secret in {place}")));
}

/// Looks at what the engine shows of a container of a lab, and at its log. An application is given its own variables.
pub fn look_at_container(id: &str) {
    if canaries().is_none() {
        return;
    }
    let shown = run(Command::new("docker").args(["inspect", id]));
    let mut shown: Value = serde_json::from_str(&shown.stdout).unwrap_or_default();
    let given = shown[0]["Config"]["Env"]
        .to_string()
        .contains("DJANGO_SETTINGS_MODULE=");
    if given {
        shown[0]["Config"]["Env"] = Value::Null;
    }
    let log = run(Command::new("docker").args(["logs", id]));
    let mut search = search();
    search.look(
        &format!("`docker inspect {id}`"),
        shown.to_string().as_bytes(),
    );
    search.look(
        &format!("`docker logs {id}`"),
        format!("{}{}", log.stdout, log.stderr).as_bytes(),
    );
}
