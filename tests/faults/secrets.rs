//! Secrets: rotated meanwhile, and looked for everywhere.
//!
//! Every password that a row writes into an environment is looked for (`lab/canary.rs`): in what every run says, in the
//! arguments and environment of every process that descends from a run or from a session it has on a server, in what is left in
//! the folder of a lab, and on every server and container before it goes. A secret found makes the row red.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::lab::canary::{self, SEARCH, Seen};
use crate::lab::server::{Image, Server, ServerLab};
use crate::lab::{Lab, docker, run};
use crate::operator;
use crate::table::{How, Row, row};
use crate::trial::{Trial, that};

pub const ROWS: &[Row] = &[
    row(
        "F83",
        "secret rotated between plan and apply",
        How::Tried(operator::rotated),
    ),
    row(
        "F86",
        "scan of everything said, written and run",
        How::Last(scan),
    ),
];

/// Looks at processes until it ends.
#[derive(Debug)]
pub struct Watching {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// Begins to look, until the end of the table.
pub fn begin() -> Watching {
    SEARCH.lock().unwrap().on = true;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let thread = thread::spawn(move || {
        let (mut clean, mut known) = (HashSet::new(), 0);
        let mut told = BTreeSet::new();
        while !stopped.load(Ordering::Relaxed) {
            // Seldom: the machine has other things to do.
            thread::sleep(Duration::from_millis(150));
            let canaries = SEARCH.lock().unwrap().canaries.clone();
            if canaries.len() != known {
                known = canaries.len();
                clean.clear();
            }
            if canaries.is_empty() {
                continue;
            }
            let seen: Mutex<BTreeSet<Seen>> = Mutex::default();
            canary::look_around(&canaries, &seen, &mut clean);
            let mut search = SEARCH.lock().unwrap();
            search.looks += 1;
            for one in seen.into_inner().unwrap() {
                // What it is given as a variable it did not put there; what it starts must not have it.
                let given = one.place != "cmdline" && one.program.ends_with("provision");
                if one.ours && !given && told.insert(one.clone()) {
                    let (name, place, program) = (one.canary, one.place, one.program);
                    search.found.push(format!(
                        "the secret `{name}` is in `{place}` of the process `{program}`"
                    ));
                }
            }
        }
    });
    Watching { stop, thread }
}

impl Watching {
    pub fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

/// What was found since somebody asked last.
pub fn leaks() -> Vec<String> {
    let found: BTreeSet<String> = std::mem::take(&mut SEARCH.lock().unwrap().found)
        .into_iter()
        .collect();
    found.into_iter().collect()
}

/// Counts what was looked at, and plants a secret in each place that is looked at: each has to be found.
fn scan(trial: &mut Trial) {
    let (looks, known) = {
        let search = SEARCH.lock().unwrap();
        (search.looks, search.canaries.len())
    };
    trial.case(
        "nothing stands anywhere before something is planted",
        || {
            let leaks = leaks();
            that(leaks.is_empty(), || leaks.join("\n"))
        },
    );
    trial.note(format!("{looks} looks for {known} secrets in the rows"));
    let password = canary::password("\"'$x %d \\ \u{e4}");
    let word = canary::password("");
    for form in canary::forms(&word) {
        trial.case(format!("`{form}` in what is said"), || {
            SEARCH
                .lock()
                .unwrap()
                .look("the control", format!("before {form} after").as_bytes());
            finds("the control")
        });
    }
    trial.case("quoted for JSON, SQL, a shell and Compose", || {
        for text in [
            serde_json::to_string(&password).unwrap(),
            password.replace('\'', "''"),
            password.replace('\'', "'\\''"),
            password.replace('$', "$$"),
        ] {
            SEARCH.lock().unwrap().look("the control", text.as_bytes());
            finds("the control")?;
        }
        Ok(())
    });
    trial.case("a run that says it", || {
        let lab = ServerLab::with("");
        run(&mut lab.command(&["validate", &word]));
        finds("stderr of `validate")
    });
    trial.case("a process of a run", || {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let environments = folder.path().join("environments");
        fs::create_dir(&environments).map_err(|error| error.to_string())?;
        let text = format!("[environment]\nproject = \"x\"\n[postgres.a]\nrole.b.password = {{ command = [\"sh\", \"-c\", \"sleep 3\", \"{word}\"] }}\n");
        fs::write(environments.join("local.toml"), text).map_err(|error| error.to_string())?;
        run(crate::lab::provision().current_dir(folder.path()).args(["render", "local"]));
        finds("`cmdline` of the process")
    });
    trial.case("files in the folder of a lab", || {
        let lab = ServerLab::with("");
        let folder = lab.folder.path().join(".provision");
        fs::create_dir(&folder).map_err(|error| error.to_string())?;
        for (path, mode) in [
            (folder.join("open"), 0o644),
            (folder.join("private"), 0o600),
            (lab.folder.path().join("x.plan"), 0o600),
        ] {
            fs::write(&path, &password)
                .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode)))
                .map_err(|error| error.to_string())?;
        }
        drop(lab);
        let leaks = leaks();
        let is = |name: &str| leaks.iter().any(|leak| leak.contains(name));
        that(is("open") && is("x.plan") && !is("private"), || {
            format!("{leaks:?}")
        })
    });
    if trial.engine() {
        trial.case("a container of a lab", || {
            let lab = Lab::new("scan");
            let label = format!("com.docker.compose.project={}", lab.project);
            let image = provision::resources::image::BASE;
            let begin = ["create", "--label", &label];
            let planted = format!("PLANTED={word}");
            docker(&[&begin[..], &["-e", &planted, image, "true"]].concat());
            // In two halves, so that only its log holds the whole.
            let (head, tail) = word.split_at(word.len() / 2);
            let says = ["printf", "%s%s", head, tail];
            let id = docker(&[&begin[..], &[image], &says[..]].concat());
            docker(&["start", "-a", &id]);
            drop(lab);
            let leaks = leaks();
            let is = |name: &str| leaks.iter().any(|leak| leak.contains(name));
            that(
                is("docker inspect") && is(&format!("docker logs {}", &id[..12])),
                || format!("{leaks:?}"),
            )
        });
        trial.case("a server", || on_a_server(&word));
    }
}

/// Plants a secret in each place of a server that is looked at.
fn on_a_server(word: &str) -> Result<(), String> {
    let server = Server::up("scan", Image::Bare);
    let script = r#"
put() { (umask 077; echo WORD > "$1"; chmod "$2" "$1"); }
mkdir -m 700 /root/closed
mkdir -p /var/lib/provision
put /etc/open 644; put /etc/private 600; put /root/closed/deep 644
put /var/lib/provision/record 600; put /tmp/left 600; put /var/log/some.log 600
logger -p user.info said WORD
journalctl --sync || :"#;
    server.sh(&script.replace("WORD", word));
    drop(server);
    let leaks = leaks();
    let is = |name: &str| leaks.iter().any(|leak| leak.contains(name));
    let wanted = [
        "/etc/open",
        "/var/lib/provision/record",
        "/tmp/left",
        "/var/log/some.log",
        "the journal: ",
    ];
    let missed: Vec<&&str> = wanted.iter().filter(|name| !is(name)).collect();
    let wrong: Vec<&&str> = ["private", "deep"].iter().filter(|name| is(name)).collect();
    that(missed.is_empty() && wrong.is_empty(), || {
        format!("not found: {missed:?}; wrongly found: {wrong:?}; {leaks:?}")
    })
}

/// That a secret was found in a place, and takes it: the control is no leak.
fn finds(place: &str) -> Result<(), String> {
    let leaks = leaks();
    that(leaks.iter().any(|leak| leak.contains(place)), || {
        format!("not found in {place}: {leaks:?}")
    })
}
