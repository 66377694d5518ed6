//! The way to machines, over a real SSH server: login shells, noise, sudo, keys, words, locks, cut connections.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, OnceLock};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use provision::command::{Answer, Ask, Place, Question, Script, Sheet, Text};
use provision::environment;
use provision::error::Kind;
use provision::target::{Reach, Target, Trouble};

use crate::lab;
use crate::lab::server::{Image, Server, key};

/// Words that mean something to some shell.
const HOSTILE: &[&str] = &[
    "plain",
    "",
    " ",
    "it's",
    "''",
    "\"",
    "\\",
    "\\\\",
    "\\'",
    "$HOME",
    "${HOME}",
    "$(id)",
    "`id`",
    "!!",
    "!x",
    "#",
    "~",
    "*",
    "?",
    "[a]",
    "{a,b}",
    "a;b",
    "a&&b",
    "a|b",
    "a>b",
    "<a",
    "(a)",
    "-n",
    "-e x",
    "%s%n",
    "a\tb",
    "tr\nailing\n\n",
    "\r\n",
    "é ł 漢",
    "\u{1}\u{7f}",
    "^",
    "=ls",
    "@x",
    "a'b\"c`d$e\\f",
];

const SHELLS: &[&str] = &[
    "bash", "dash", "zsh", "ksh", "fish", "tcsh", "busybox", "nologin", "false",
];

const ECHO: Question = Question {
    name: "echo",
    ask: Ask::Machine {
        body: r#"for item in "$@"; do row "$(printf '%s' "$item" | b64)" "$(id -u)"; done"#,
        columns: &["key", "uid"],
    },
};

/// A server with a user for each login shell, some of them chatty, and users with all kinds of sudo.
fn door() -> Option<&'static Server> {
    static DOOR: OnceLock<Server> = OnceLock::new();
    if !lab::engine() {
        return None;
    }
    Some(DOOR.get_or_init(|| {
        let server = Server::up("door", Image::Shells);
        let script = "set -e\n\
            for user in $(getent passwd | grep -o '^s-[a-z]*'); do install -d -m 700 -o \"$user\" -g \"$user\" \"/home/$user/.ssh\"\n\
            install -m 600 -o \"$user\" -g \"$user\" /home/deploy/.ssh/authorized_keys \"/home/$user/.ssh/authorized_keys\"\n\
            case $user in s-word | s-none) echo \"$user:hunter 2$\" | chpasswd ;;\n\
            *) echo \"$user ALL=(ALL:ALL) NOPASSWD: ALL\" >> /etc/sudoers.d/shells ;; esac; done\n\
            echo 's-word ALL=(ALL:ALL) ALL' > /etc/sudoers.d/word\n\
            for file in s-bash/.bashrc s-zsh/.zshenv s-zsh/.zshrc s-tcsh/.tcshrc s-dash/.profile; do\n\
            printf 'echo chatty; printf \"@@@ hello\\\\n\"\\n' > /home/$file; done\n\
            mkdir -p /home/s-fish/.config/fish; echo 'echo chatty' > /home/s-fish/.config/fish/config.fish\n\
            printf 'echo from ssh/rc\\n' > /etc/ssh/sshrc\n\
            printf 'Banner /etc/issue.net\\nMaxStartups 100\\n' > /etc/ssh/sshd_config.d/t.conf; systemctl restart ssh\n";
        server.sh(script);
        server
    }))
}

/// A host of an environment file: the door as a user.
fn host(server: &Server, name: &str, user: &str, more: &str) -> String {
    format!(
        "[host.{name}]\naddress = \"{}\"\nuser = \"{user}\"\nidentity = \"{}\"\n{more}\n",
        server.address,
        key().display()
    )
}

/// The same, where the user becomes root and the key is pinned.
fn as_root(server: &Server, name: &str, user: &str) -> String {
    host(
        server,
        name,
        user,
        &format!("{}sudo = true", pinned(server)),
    )
}

fn pinned(server: &Server) -> String {
    format!("host_key = \"{}\"\n", server.host_key)
}

struct Way {
    target: Target,
    _folder: tempfile::TempDir,
}

/// A target with these hosts.
async fn target(hosts: &str) -> Way {
    reached(hosts, &Reach::default()).await
}

async fn reached(hosts: &str, reach: &Reach) -> Way {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("environments");
    std::fs::create_dir(&dir).unwrap();
    let head = "[environment]\nproject = \"way\"\nstage = \"dev\"\n[target]\ndriver = \"ssh\"\n";
    std::fs::write(dir.join("servers.toml"), format!("{head}{hosts}")).unwrap();
    let environment =
        environment::load(&dir, "servers").unwrap_or_else(|failure| panic!("{failure:?}"));
    let environment = environment::resolve(environment).unwrap();
    let target = Target::connect(&environment, reach).await.unwrap();
    Way {
        target,
        _folder: folder,
    }
}

/// A script that takes no words, and how many seconds it may take.
fn script(body: &'static str, seconds: u64) -> (Script, Duration) {
    let script = Script {
        body,
        ..Script::default()
    };
    (script, Duration::from_secs(seconds))
}

impl Way {
    async fn ask(&self, host: &str, items: &[&str]) -> Answer {
        let items = items.iter().map(|item| (*item).to_owned()).collect();
        let sheet = Sheet {
            machines: vec![(host.into(), HashMap::from([("echo", items)]))],
            questions: vec![ECHO],
            ..Sheet::default()
        };
        let answers = self.target.look(&sheet).await.unwrap();
        answers
            .get(&Place::Machine(host.into()), "echo")
            .unwrap()
            .clone()
    }

    async fn tell(&self, host: &str, body: &'static str, words: &[&str]) -> Result<(), Trouble> {
        let script = Script {
            body,
            words: words.iter().map(|word| Text::plain(*word)).collect(),
            ..Script::default()
        };
        let told = self
            .target
            .run(
                host,
                &[(script, Duration::from_secs(20))],
                &[],
                None,
                &|_| (),
            )
            .await;
        told.map_err(|(_, trouble)| trouble)
    }

    /// Message and hint of why a host cannot be reached.
    async fn refusal(&self, host: &str) -> (String, String) {
        let answer = self.ask(host, &["x"]).await;
        assert!(matches!(answer, Answer::Unreadable(_)), "{answer:?}");
        let unreached = self.target.unreached();
        let (_, failure) = unreached.iter().find(|(name, _)| &**name == host).unwrap();
        assert_eq!(failure.kind, Kind::Unreachable);
        (failure.message.clone(), failure.hints.join("\n"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_login_shell_takes_every_word() {
    let Some(door) = door() else { return };
    let mut hosts = String::new();
    for shell in &SHELLS[..7] {
        hosts += &as_root(door, shell, &format!("s-{shell}"));
    }
    let way = target(&hosts).await;
    for shell in &SHELLS[..7] {
        let Answer::Rows(rows) = way.ask(shell, HOSTILE).await else {
            panic!("{shell}: {:?}", way.target.unreached());
        };
        for word in HOSTILE {
            let row = rows.of(&STANDARD.encode(word));
            assert_eq!(row.len(), 1, "{shell}: {word:?}");
            assert_eq!(row[0]["uid"], "0", "{shell}: sudo");
        }
        for word in HOSTILE {
            let expected = STANDARD.encode(word);
            let body = r#"[ "$(printf '%s' "$1" | b64)" = "$2" ]"#;
            way.tell(shell, body, &[word, &expected])
                .await
                .unwrap_or_else(|trouble| panic!("{shell}: {word:?}: {trouble:?}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_not_kept_takes_nobody_elses_with_it() {
    let Some(door) = door() else { return };
    let hosts = as_root(door, "door", "s-dash");
    let alone = Reach {
        persist: false,
        ..Reach::default()
    };
    for reach in [&alone, &Reach::default()] {
        let long = reached(&hosts, reach).await;
        let short = reached(&hosts, &alone).await;
        let told = long.tell("door", "sleep 3", &[]);
        let ended = async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let answer = short.ask("door", &["x"]).await;
            assert!(matches!(answer, Answer::Rows(_)), "{answer:?}");
            drop(short);
        };
        let (told, ()) = tokio::join!(told, ended);
        told.unwrap_or_else(|trouble| panic!("persist {}: {trouble:?}", reach.persist));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_that_is_barred_is_said_with_what_to_try() {
    let Some(door) = door() else { return };
    let other = {
        let folder = tempfile::tempdir().unwrap();
        lab::server::new_key(&folder.path().join("k"));
        let public = std::fs::read_to_string(folder.path().join("k.pub")).unwrap();
        public
            .split_whitespace()
            .take(2)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let pinned = pinned(door);
    let sudo = format!("{pinned}sudo = true");
    let mut hosts = String::new();
    hosts += &host(door, "nologin", "s-nologin", &pinned);
    hosts += &host(door, "false", "s-false", &sudo);
    hosts += &host(door, "missing", "nobody-there", &pinned);
    hosts += &host(door, "unknown", "deploy", "");
    hosts += &host(
        door,
        "changed",
        "deploy",
        &format!("host_key = \"{other}\""),
    );
    hosts += &host(door, "wants", "s-word", &sudo);
    hosts += &host(
        door,
        "wrong",
        "s-word",
        &format!("{pinned}sudo = {{ password = \"hunter3\" }}"),
    );
    hosts += &host(
        door,
        "none",
        "s-none",
        &format!("{pinned}sudo = {{ password = \"hunter 2$\" }}"),
    );
    hosts += &host(door, "refused", "deploy", &format!("{pinned}port = 1"));
    hosts += "[host.nowhere]\naddress = \"nowhere.invalid\"\nuser = \"x\"\n";
    let way = target(&hosts).await;
    for (name, message, hint) in [
        (
            "nologin",
            "the account of s-nologin has no shell: This account is currently not available.",
            "chsh",
        ),
        ("false", "the account of s-false has no shell", "chsh"),
        (
            "missing",
            "does not let `nobody-there` in with the key",
            "by hand",
        ),
        (
            "unknown",
            "its host key is not known",
            "provision trust servers unknown",
        ),
        (
            "changed",
            "its host key is not the one that is pinned",
            "host_key",
        ),
        (
            "wants",
            "sudo wants a password of s-word",
            "sudo = { password",
        ),
        (
            "wrong",
            "the password of s-word does not open sudo",
            "sudo.password",
        ),
        ("none", "sudo does nothing for s-none there", "group `sudo`"),
        ("refused", "nobody listens at", "port"),
        (
            "nowhere",
            "nobody knows the name `nowhere.invalid`",
            "address",
        ),
    ] {
        let began = Instant::now();
        let (said, tried) = way.refusal(name).await;
        assert!(said.contains(message), "{name}: {said}");
        assert!(tried.contains(hint), "{name}: {tried}");
        assert!(!said.contains("hunter"), "{said}");
        eprintln!("{name}: {said} | {tried} ({:?})", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_opens_sudo_and_is_seen_nowhere() {
    let Some(door) = door() else { return };
    let more = format!("{}sudo = {{ password = \"hunter 2$\" }}", pinned(door));
    let way = target(&host(door, "word", "s-word", &more)).await;
    let Answer::Rows(rows) = way.ask("word", &["x"]).await else {
        panic!("{:?}", way.target.unreached());
    };
    assert_eq!(rows.of(&STANDARD.encode("x"))[0]["uid"], "0");
    way.tell(
        "word",
        "! grep -az 'hunter 2' /proc/[0-9]*/cmdline /proc/[0-9]*/environ",
        &[],
    )
    .await
    .unwrap();
    // One that does not ask for it does not take it for something else.
    let more = format!(
        "{}sudo = {{ password = \"touch /tmp/eaten\" }}",
        pinned(door)
    );
    let way = target(&host(door, "bash", "s-bash", &more)).await;
    way.tell("bash", "[ ! -e /tmp/eaten ]", &[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_is_the_machines_and_tells_its_holder() {
    let Some(door) = door() else { return };
    let hosts = as_root(door, "bash", "s-bash");
    let (one, other) = (target(&hosts).await, target(&hosts).await);
    let bash: Arc<str> = "bash".into();
    one.target
        .lock_machines([Arc::clone(&bash)], "`apply prod`", "")
        .await
        .unwrap();
    let refused = other
        .target
        .lock_machines([Arc::clone(&bash)], "`apply prod`", "")
        .await
        .unwrap_err();
    assert_eq!(refused.kind, Kind::Locked);
    assert!(
        refused
            .message
            .contains("locked on `bash`: `apply prod`, process "),
        "{refused}"
    );
    // What is daemonized does not keep it; a script that still runs does.
    one.tell(
        "bash",
        "setsid sleep 60 > /dev/null 2>&1 < /dev/null 9>&- &",
        &[],
    )
    .await
    .unwrap();
    drop(one);
    tokio::time::sleep(Duration::from_millis(500)).await;
    other
        .target
        .lock_machines([bash], "`apply prod`", "")
        .await
        .unwrap();
}

/// Two that begin at the same time never keep each other out for ever: the first machine by name decides.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_lock_the_same_machines_one_gets_them_all() {
    let Some(door) = door() else { return };
    // As users of their own they have locks of their own.
    let hosts = format!(
        "{}{}",
        host(door, "a", "s-bash", &pinned(door)),
        host(door, "b", "s-dash", &pinned(door))
    );
    let (one, other) = (target(&hosts).await, target(&hosts).await);
    let names = |names: &[&str]| {
        names
            .iter()
            .map(|name| Arc::from(*name))
            .collect::<Vec<_>>()
    };
    // Who has the first waits until another one has given back the second.
    other
        .target
        .lock_machines(names(&["b"]), "`other`", "")
        .await
        .unwrap();
    let gives_back = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        drop(other);
    };
    let both = one.target.lock_machines(names(&["a", "b"]), "`one`", "");
    let (both, ()) = tokio::join!(both, gives_back);
    assert!(!both.unwrap(), "what was seen before is asked again");
    // Who does not get the first keeps none of the others.
    let third = target(&hosts).await;
    drop(one);
    let began = Instant::now();
    while third
        .target
        .lock_machines(names(&["a"]), "`third`", "")
        .await
        .is_err()
    {
        assert!(began.elapsed() < Duration::from_secs(60));
    }
    let fourth = target(&hosts).await;
    let refused = fourth
        .target
        .lock_machines(names(&["a", "b"]), "`fourth`", "");
    assert_eq!(refused.await.unwrap_err().kind, Kind::Locked);
    let began = Instant::now();
    while third
        .target
        .lock_machines(names(&["b"]), "`third`", "")
        .await
        .is_err()
    {
        assert!(began.elapsed() < Duration::from_secs(60));
    }
}

/// What was told so far and dropped in the middle: the step that runs ends, the next one never begins.
#[tokio::test(flavor = "multi_thread")]
async fn an_orphan_stops_at_the_border_of_a_step() {
    let Some(door) = door() else { return };
    let hosts = as_root(door, "bash", "s-bash");
    let way = target(&hosts).await;
    let scripts =
        ["sleep 2; touch /run/orphan-1", "touch /run/orphan-2"].map(|body| script(body, 20));
    {
        let told = way.target.run("bash", &scripts, &[], None, &|_| ());
        let cut = tokio::time::timeout(Duration::from_millis(1000), told).await;
        assert!(cut.is_err());
    }
    drop(way);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(door.sh("ls /run | grep orphan"), "orphan-1");
}

static DONE: LazyLock<Mutex<Vec<usize>>> = LazyLock::new(Mutex::default);

/// The connection is killed while a step runs: nobody says it was done, nor that it was not.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_whose_connection_is_cut_is_unknown() {
    let Some(door) = door() else { return };
    let hosts = as_root(door, "cut", "s-ksh");
    let way = target(&hosts).await;
    let scripts = [
        ":",
        "touch /run/begun; sleep 3; touch /run/cut-1",
        "touch /run/cut-2",
    ]
    .map(|body| script(body, 60));
    let done = |at| DONE.lock().unwrap().push(at);
    let told = way.target.run("cut", &scripts, &[], None, &done);
    let killed = async {
        let begun = Instant::now();
        while door.try_sh("test -e /run/begun").code != 0 {
            assert!(begun.elapsed() < Duration::from_secs(60), "it never begins");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        door.sh("pkill -KILL -u s-ksh -x sshd");
    };
    let (told, ()) = tokio::join!(told, killed);
    let (at, trouble) = told.unwrap_err();
    assert_eq!((at, trouble.unknown), (1, true), "{trouble:?}");
    assert_eq!(trouble.kind, Kind::Unreachable);
    assert_eq!(*DONE.lock().unwrap(), [0]);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(
        door.sh("ls /run | grep cut"),
        "cut-1",
        "the next step never began"
    );
    // The next one comes in again.
    way.tell("cut", ":", &[]).await.unwrap();
}

/// A server that drops most of those who come at once lets everybody in who comes again; one that falls silent is noticed.
#[tokio::test(flavor = "multi_thread")]
async fn the_drop_of_many_is_tried_again_and_silence_is_noticed() {
    if door().is_none() {
        return;
    }
    let server = Server::up("busy", Image::Bare);
    server.sh(
        "printf 'MaxStartups 2:70:4\\n' > /etc/ssh/sshd_config.d/t.conf; systemctl restart ssh",
    );
    let names: Vec<String> = (1..=16).map(|number| format!("h{number}")).collect();
    let mut hosts = String::new();
    for name in &names {
        hosts += &host(
            &server,
            name,
            "deploy",
            &format!("{}sudo = true", pinned(&server)),
        );
    }
    let way = target(&hosts).await;
    let asked = names.iter().map(|name| {
        let items = HashMap::from([("echo", vec!["x".to_owned()])]);
        (name.as_str().into(), items)
    });
    let sheet = Sheet {
        machines: asked.collect(),
        questions: vec![ECHO],
        ..Sheet::default()
    };
    way.target.look(&sheet).await.unwrap();
    assert!(
        way.target.unreached().is_empty(),
        "{:?}",
        way.target.unreached()
    );

    let scripts = [script("sleep 60", 90)];
    let told = way.target.run("h1", &scripts, &[], None, &|_| ());
    let silenced = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        lab::docker(&["network", "disconnect", "bridge", &server.container]);
        Instant::now()
    };
    let (told, since) = tokio::join!(told, silenced);
    let (_, trouble) = told.unwrap_err();
    assert!(trouble.unknown, "{trouble:?}");
    assert!(
        since.elapsed() < Duration::from_secs(15),
        "{:?}",
        since.elapsed()
    );
    let (said, tried) = way.refusal("h1").await;
    eprintln!(
        "silent: {} ({:?}); then {said} | {tried}",
        trouble.message,
        since.elapsed()
    );
}

/// Run by the test below in a process of its own, which is killed: locks, and tells two steps.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a part of the next test"]
async fn told_by_one_who_is_killed() {
    let way = target(&std::env::var("PROVISION_TEST_HOSTS").unwrap()).await;
    let dash: Arc<str> = "dash".into();
    way.target
        .lock_machines([dash], "`apply prod`", "")
        .await
        .unwrap();
    let scripts =
        ["sleep 3.25; touch /run/killed-1", "touch /run/killed-2"].map(|body| script(body, 20));
    let told = way.target.run("dash", &scripts, &[], None, &|_| ()).await;
    panic!("nobody was killed: {told:?}");
}

/// The process is killed while a step runs: the lock is held as long as that step, and the next one never begins.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_run_holds_its_lock_until_its_step_ends() {
    let Some(door) = door() else { return };
    let more = format!("{}sudo = true", pinned(door));
    let hosts = host(door, "dash", "s-dash", &more);
    let mut one = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "live::session::told_by_one_who_is_killed",
            "--exact",
            "--ignored",
        ])
        .env("PROVISION_TEST_HOSTS", &hosts)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let way = target(&hosts).await;
    let dash: Arc<str> = "dash".into();
    let lock = || {
        way.target
            .lock_machines([Arc::clone(&dash)], "`apply prod`", "")
    };
    // So long sleeps no other test.
    lab::until("the step runs", || {
        door.try_sh("pgrep -xf '[s]leep 3[.]25'").code == 0
    });
    one.kill().unwrap();
    one.wait().unwrap();
    assert_eq!(lock().await.unwrap_err().kind, Kind::Locked);
    lab::until("the step has ended", || {
        door.try_sh("test -e /run/killed-1").code == 0
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    lock().await.unwrap();
    assert_eq!(door.sh("ls /run | grep killed"), "killed-1");
}
