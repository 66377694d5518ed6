//! What is given to us: files, plans, templates.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use provision::environment;
use provision::error::{Failure, Kind};
use provision::saved::Saved;
use provision::show::problems;

use crate::lab::{Ran, provision};
use crate::table::{How, Row, row};
use crate::trial::{Random, Trial, that, within};

pub const ROWS: &[Row] = &[
    row(
        "F60",
        "random and mutated TOML and plans",
        How::Pure(mutated),
    ),
    row(
        "F61",
        "bombs of nesting, dotted keys and headers",
        How::Pure(bombs),
    ),
    row("F62", "huge and special files", How::Pure(special)),
    row("F63", "duplicate keys, twins, odd values", How::Pure(odd)),
    row(
        "F64",
        "syntax error on the line of a password",
        How::Pure(password_line),
    ),
    row(
        "F65",
        "circles and long chains of `extends`",
        How::Pure(chains),
    ),
    row(
        "F66",
        "resources that contradict each other",
        How::Pure(contradictions),
    ),
    row("F67", "path traversal in every name", How::Pure(traversal)),
    row("F68", "templates without end", How::Pure(endless)),
    row(
        "F69",
        "failing template with a secret in scope",
        How::Pure(failing),
    ),
];

/// What one file may take on a debug build while the other rows load the machine; alone and as a release it is far below a second.
const LONG: Duration = Duration::from_secs(30);

/// A folder of environments.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("provision-input-")
            .tempdir()
            .unwrap();
        fs::create_dir_all(folder.path().join("environments/templates")).unwrap();
        Folder(folder)
    }

    fn environments(&self) -> PathBuf {
        self.0.path().join("environments")
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.environments().join(name), text).unwrap();
    }

    /// The environment `x` in this process: what is said of it, if it is refused.
    fn load(&self, text: impl AsRef<[u8]>) -> Result<(), Failure> {
        self.write("x.toml", text);
        environment::load(&self.environments(), "x").map(drop)
    }

    /// The binary, which nothing that it is given may end early.
    fn run(&self, words: &[&str]) -> Result<Ran, String> {
        let mut command = provision();
        command.current_dir(self.0.path()).args(words);
        within(limited(&mut command), LONG)
    }

    /// That `validate x` ends with a code, soon, and says something that a person can read.
    fn ends(&self, code: i32) -> Result<Ran, String> {
        let ran = self.run(&["validate", "x"])?;
        that(ran.code == code, || {
            format!("ends with {}, not {code}: {}", ran.code, start(&ran.stderr))
        })?;
        that(ran.stderr.len() < 500_000, || {
            format!("says {} bytes", ran.stderr.len())
        })?;
        let longest = ran.stderr.lines().map(|line| line.chars().count()).max();
        that(longest.unwrap_or_default() < 2000, || {
            format!("has a line of {longest:?}")
        })?;
        Ok(ran)
    }
}

/// Memory of at most 1 GiB of addresses: what takes more dies, and fails the case.
pub fn limited(command: &mut Command) -> &mut Command {
    let program = command.get_program().to_owned();
    let args: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "ulimit -v 1048576; exec \"$0\" \"$@\""])
        .arg(program)
        .args(args);
    if let Some(folder) = command.get_current_dir() {
        shell.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.stdin(std::process::Stdio::null());
    *command = shell;
    command
}

fn start(text: &str) -> String {
    text.chars().take(600).collect()
}

/// All that a user reads of a failure.
fn said(failure: &Failure) -> String {
    let hints = failure.hints.join("\n");
    format!(
        "{failure}\n{hints}\n{}",
        problems::render(&failure.problems, false)
    )
}

/// Texts to begin with: every environment of ours and of the cases.
fn corpus() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts = Vec::new();
    for folder in [
        "environments",
        "tests/cases/environment",
        "tests/faults/input",
    ] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|end| end == "toml") {
                texts.push(fs::read_to_string(path).unwrap_or_default());
            }
        }
    }
    assert!(texts.len() > 20, "the corpus is gone");
    texts
}

/// Pieces that TOML and our own language are made of.
const SHARDS: &[&str] = &[
    "=",
    "\"",
    "'",
    "\n",
    "[",
    "]",
    "{",
    "}",
    ",",
    ".",
    "#",
    "'''",
    "\"\"\"",
    "x",
    "5",
    "[[",
    "+",
    "{{",
    "}}",
    "\\",
    "\u{1b}",
    "\r",
    "\0",
    "é",
    " ",
    "true",
    "password = ",
    "[a]\n",
    "= ",
    "\u{202e}",
    "\u{feff}",
    "1979-05-27",
    "nan",
    "-0",
    "0x",
    "1e999",
    "99999999999999999999",
    "extends = \"x.toml\"\n",
    "enabled = false\n",
    "[postgres.a]\n",
    "on = [\"",
    "{ env = \"HOME\" }",
    "{ command = [\"true\"] }",
    "\\u0000",
    "\\U0010ffff",
    "{% include 'x' %}",
    "..",
    "/",
    "%",
    "$(id)",
];

/// A text that is damaged in a few places, or that something of another is put into.
fn damaged(text: &str, other: &str, random: &mut Random) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let to = (at + random.below(6)).min(bytes.len());
        match random.below(6) {
            0 => drop(bytes.drain(at..to)),
            1 if !bytes.is_empty() => {
                let at = at.min(bytes.len() - 1);
                bytes[at] = random.next().to_le_bytes()[0];
            }
            2 => {
                let other = other.as_bytes();
                let from = random.below(other.len() + 1);
                let end = (from + random.below(200)).min(other.len());
                drop(bytes.splice(at..to, other[from..end].iter().copied()));
            }
            3 => {
                let end = (at + random.below(100)).min(bytes.len());
                let again = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, again));
            }
            _ => drop(bytes.splice(at..to, random.one(SHARDS).bytes())),
        }
    }
    bytes
}

fn mutated(trial: &mut Trial) {
    let (folder, texts) = (Folder::new(), corpus());
    let mut random = trial.random.clone();
    let mut slowest = Duration::ZERO;
    let files = trial.size(1500, 1_000_000);
    for number in 0..files {
        let text = match random.below(20) {
            0 => (0..random.below(300))
                .map(|_| random.next().to_le_bytes()[0])
                .collect(),
            _ => damaged(
                random.one::<String>(&texts),
                random.one::<String>(&texts),
                &mut random,
            ),
        };
        trial.case(
            format!("file {number}, {}", start(&String::from_utf8_lossy(&text))),
            || {
                let begun = Instant::now();
                let came = folder.load(&text);
                slowest = slowest.max(begun.elapsed());
                that(begun.elapsed() < LONG, || {
                    format!("took {:?}", begun.elapsed())
                })?;
                match came {
                    Ok(()) => Ok(()),
                    Err(failure) if failure.kind == Kind::Usage => {
                        let _said = said(&failure);
                        Ok(())
                    }
                    Err(failure) => Err(format!("{:?}", failure.kind)),
                }
            },
        );
    }
    // No byte of a plan may change: each is read again as it would be written.
    let plan = plan();
    trial.case("the plan itself", || {
        Saved::read(&plan)
            .map(drop)
            .map_err(|failure| failure.to_string())
    });
    let plans = trial.size(1500, 1_000_000);
    for number in 0..plans {
        let bytes = damaged(&plan, random.one::<String>(&texts), &mut random);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if text == plan {
            continue;
        }
        trial.case(format!("plan {number}"), || match Saved::read(&text) {
            Err(failure) if failure.kind == Kind::Stale => Ok(()),
            Err(failure) => Err(format!("{:?}", failure.kind)),
            Ok(_) => Err(format!("was taken: {text}")),
        });
    }
    trial.note(format!(
        "{files} files and {plans} plans, the slowest file took {} ms",
        slowest.as_millis()
    ));
}

/// A saved plan, sealed as the program seals one.
fn plan() -> String {
    let write = |digest: &str| {
        let relied = |found: serde_json::Value| serde_json::json!({"declared": "sha256:0", "state": "there", "found": found});
        let plan = serde_json::json!({
            "format_version": 2,
            "tool_version": env!("CARGO_PKG_VERSION"),
            "environment": "x",
            "project": "x",
            "target": "2 servers",
            "created": "2026-11-28T00:00:00Z",
            "only": [],
            "hosts": ["s1"],
            "destroy_data": [],
            "machines": {"s1": "ssh deploy@192.0.2.1 port 22"},
            "changes": [{
                "id": "file.s1:/etc/motd",
                "action": "update",
                "impact": "harmless",
                "fields": [{"name": "content", "before": "1", "after": "2"}, {"name": "mode", "before": null, "after": "0644"}],
                "steps": ["write `/etc/motd`"],
            }],
            "relied": {"file.s1:/etc/motd": relied(serde_json::json!({"content": "1"})), "user.s1:ann": relied(serde_json::json!({}))},
            "secrets": {"salt": "00", "iterations": 100_000, "digest": "00"},
            "digest": digest,
        });
        format!("{}\n", serde_json::to_string_pretty(&plan).unwrap())
    };
    let open = write("");
    write(&provision::secret::sha256(&open))
}

fn bombs(trial: &mut Trial) {
    let folder = Folder::new();
    for deep in [100, 20_000, 200_000] {
        let many = |text: &str| text.repeat(deep);
        for (name, text) in [
            ("lists", format!("x = {}{}", many("["), many("]"))),
            ("lists that do not end", format!("x = {}", many("["))),
            ("tables", format!("x = {}1{}", many("{a="), many("}"))),
            ("tables that do not end", format!("x = {}", many("{a="))),
            ("a dotted key", format!("{}x = 1", many("a."))),
            ("a header", format!("[{}a]", many("a."))),
            ("a header of tables", format!("[[{}a]]", many("a."))),
            ("a header that does not end", format!("[{}", many("a."))),
            ("brackets", many("[")),
            ("quotes", many("\"")),
            (
                "braces in a string",
                format!("[environment]\nproject = \"{}\"", many("{{")),
            ),
            ("a comment", format!("#{}", many("["))),
        ] {
            trial.case(format!("{deep} deep: {name}"), || {
                folder.write("x.toml", &text);
                folder.ends(3).map(drop)
            });
        }
    }
}

fn special(trial: &mut Trial) {
    let folder = Folder::new();
    let path = folder.environments().join("x.toml");
    let fresh = || {
        let _ = fs::remove_dir_all(&path);
        let _ = fs::remove_file(&path);
    };
    let head = "[environment]\nproject = \"x\"\n";
    let sized = |bytes: u64| {
        let file = fs::File::create(&path).and_then(|file| file.set_len(bytes));
        file.map_err(|error| error.to_string())
    };
    let link = |to: &str| std::os::unix::fs::symlink(to, &path).map_err(|error| error.to_string());
    let text = |text: String| fs::write(&path, text).map_err(|error| error.to_string());
    type Make<'a> = (&'a str, &'a str, &'a dyn Fn() -> Result<(), String>);
    let fifo = || {
        let made = Command::new("mkfifo").arg(&path).status();
        that(made.is_ok_and(|status| status.success()), || {
            "no fifo".to_owned()
        })
    };
    let socket = || {
        std::os::unix::net::UnixListener::bind(&path)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    let makes: &[Make<'_>] = &[
        ("a file of 1 GB", "larger than", &|| sized(1 << 30)),
        ("a file of 1 TB", "larger than", &|| sized(1 << 40)),
        ("a byte too large", "larger than", &|| {
            sized(1024 * 1024 + 1)
        }),
        ("`/dev/zero`", "no regular file", &|| link("/dev/zero")),
        ("`/dev/stdin`", "regular file", &|| link("/dev/stdin")),
        ("a link to itself", "cannot be read", &|| link("x.toml")),
        ("a fifo", "no regular file", &fifo),
        ("a socket", "no regular file", &socket),
        ("a folder", "is a folder", &|| {
            fs::create_dir(&path).map_err(|error| error.to_string())
        }),
        ("a value of 900 KB", "longer than 64 KiB", &|| {
            text(format!("{head}[vars]\na = \"{}\"\n", "y".repeat(900_000)))
        }),
        ("100,000 keys", "mistakes", &|| {
            text((0..100_000).map(|n| format!("k{n}=1\n")).collect())
        }),
        ("80,000 tables", "mistakes", &|| {
            text((0..80_000).map(|n| format!("[t{n}]\n")).collect())
        }),
        ("80,000 entries", "mistakes", &|| {
            text((0..80_000).map(|_| "[[grant]]\n").collect())
        }),
        ("10,000 roles without a name", "mistakes", &|| {
            text(format!(
                "{head}[postgres.a]\n{}",
                (0..10_000)
                    .map(|n| format!("role.\"/{n}\".login = 5\n"))
                    .collect::<String>()
            ))
        }),
    ];
    for (name, says, make) in makes {
        trial.case(name, || {
            fresh();
            make()?;
            let ran = folder.ends(3)?;
            that(ran.stderr.contains(says), || {
                format!("does not say `{says}`: {}", start(&ran.stderr))
            })
        });
    }
}

/// Files that are wrong in a few bytes: what is put at the place of `HERE`.
const ODD: &[(&str, &[&str])] = &[
    (
        "[environment]\nproject = \"x\"\nHERE\n",
        &[
            "project = \"y\"",
            "'project' = 1",
            "\"project\" = 1",
            "Project = \"y\"",
            "PROJECT = \"y\"",
            "\"pr\\u006fject\" = \"y\"",
            "pr\u{43e}ject = \"y\"",
            "proje\u{441}t = \"y\"",
            "\"project \" = \"y\"",
            "\"\" = 1",
            "stage = 1",
            "stage = \"DEV\"",
            "stage = nan",
            "stage = inf",
            "stage = 2026-11-28",
            "stage = 07:32:00",
            "stage = []",
            "stage = {}",
            "stage = true",
            "stage = 1.5",
            "stage = 0x10",
            "stage = 18446744073709551616",
            "stage = -9223372036854775809",
            "stage = 1e400",
            "stage = \"dev",
            "stage = 'dev",
            "stage = dev",
            "stage == \"dev\"",
            "stage",
            "= 1",
            "stage = ",
            "stage : \"dev\"",
            "stage = \"dev\" \"dev\"",
            "stage = \"\\q\"",
            "stage = \"\\ud800\"",
            "stage = \"\\U00110000\"",
            "stage = \"a\nb\"",
            "[environment]",
            "[[environment]]",
            "[environment.project]",
            "[environment.project.a]",
            "environment.project = 1",
            "[environment.x]",
            "[ environment ]\nproject = \"z\"",
            "stage = \"dev\"\nstage = \"dev\"",
            "\u{feff}stage = \"dev\"",
            "\tstage = \"x\"",
            "stage = \"d\u{e9}v\"",
            "stage = \"dev\\u0000\"",
            "abstract = \"true\"",
            "abstract = 1",
            "abstract = True",
            "abstract = yes",
            "name = 5",
            "name = \"A\"",
            "name = \"\"",
            "name = \"../x\"",
            "name = \"x\\n\"",
            "project = \"\"",
            "# \u{0}",
            "\u{7f} = 1",
            "a\u{a0}b = 1",
            "stage = 1_000",
            "stage = 1__0",
            "stage = 01",
            "stage = +5",
            "stage = 0b2",
            "stage = .5",
            "stage = 5.",
            "stage = -inf",
            "stage = 1979-13-01",
            "stage = 1979-02-30T00:00:00Z",
        ],
    ),
    (
        "[environment]\nproject = \"x\"\nstage = \"dev\"\n[postgres.a]\nHERE\n",
        &[
            "port = 0",
            "port = 65536",
            "port = -1",
            "port = 5432.0",
            "port = \"5432\"",
            "port = 2e4",
            "port = nan",
            "port = true",
            "port = []",
            "port = {}",
            "port = 2026-11-28",
            "port = 99999999999999999999",
            "port = 0o17777777777777777777777",
            "version = 15",
            "version = 1.5",
            "version = []",
            "version = \"\"",
            "version = \"15\"\nversion = \"15\"",
            "version = \"15\"\n'version' = \"15\"",
            "version = \"15\"\nVersion = \"15\"",
            "role = 5",
            "role = []",
            "role.a = 5",
            "role.a = \"x\"",
            "role.\"\" = {}",
            "role.\"a\\u0000\" = {}",
            "role.\"a\\u202eb\" = {}",
            "role.\"a\\u200bb\" = {}",
            "role.\" a\" = {}",
            "role.a.login = 1",
            "role.a.login = \"true\"",
            "role.a.logni = true",
            "role.a.login = true\nrole.a.login = true",
            "role.a = {login = true}\nrole.a.login = true",
            "role.a = {login = true}\n[postgres.a.role.a]",
            "role.a = {login = true, login = true}",
            "role.a = {login = true",
            "role.a.member_of = \"b\"",
            "role.a.member_of = [5]",
            "role.a.member_of = [[]]",
            "role.a.connection_limit = 1e3",
            "database.a.owner = 5",
            "database.a = []",
            "database.a.extensions = [\"a\", 5]",
            "database.a.extensions = {}",
            "grant = {}",
            "grant = [5]",
            "grant = [{}]",
            "[[postgres.a.grant]]\nrole = 5",
            "[[postgres.a.role]]",
            "[[postgres]]",
            "[postgres.a.b]",
            "[postgres.a.role.a.b]",
            "settings = 5",
            "settings.\"a b\" = 1",
            "settings.a = nan",
            "settings.a = 2026-11-28",
            "settings.a = {}",
            "settings.a = [1]",
            "init = \"x\"",
            "init = [\"absent.sql\"]",
            "init = [5]",
            "init = [\"\"]",
            "init = [\"a\\u0000\"]",
            "external = true",
            "external = {}",
            "image = 5",
            "unknown = 1",
            "enabled = \"false\"",
            "enabled = 0",
            "role.a.valid_until = nan",
        ],
    ),
    (
        "[environment]\nproject = \"x\"\n[target]\ndriver = \"ssh\"\n[host.s1]\naddress = \"192.0.2.1\"\nHERE\n",
        &[
            "port = 0",
            "port = 65536",
            "user = \"\"",
            "user = \"-x\"",
            "address = \"192.0.2.2\"",
            "Address = \"192.0.2.2\"",
            "sudo = \"yes\"",
            "sudo = 1",
            "sudo = { password = 5 }",
            "groups = \"a\"",
            "groups = [1]",
            "groups = [\"A B\"]",
            "vars = 5",
            "vars.a = []",
            "vars.\"a-b\" = 1",
            "host_key = 5",
            "[host.S1]\naddress = \"192.0.2.2\"",
            "[host.\"s 1\"]\naddress = \"192.0.2.2\"",
            "[host.s1]\naddress = \"192.0.2.2\"",
            "[[host]]",
            "[target]",
            "[file.a]\non = \"s1\"\ncontent = \"\"",
            "[file.\"/a/../b\"]\non = \"s1\"\ncontent = \"\"",
            "[file.\"//a\"]\non = \"s1\"\ncontent = \"\"",
            "[file.\"/a/\"]\non = \"s1\"\ncontent = \"\"",
            "[file.\"/a\"]\non = \"s1\"",
            "[file.\"/a\"]\non = \"s2\"\ncontent = \"\"",
            "[file.\"/a\"]\ncontent = \"\"",
            "[file.\"/a\"]\non = \"s1\"\ncontent = \"\"\ntemplate = \"b\"",
            "[file.\"/a\"]\non = \"s1\"\ncontent = \"\"\nmode = 644",
            "[file.\"/a\"]\non = \"s1\"\ncontent = \"\"\nmode = \"9\"",
            "[file.\"/a\"]\non = \"s1\"\ntemplate = \"absent.j2\"",
            "[file.\"/a\"]\non = \"s1\"\ncontent = \"{{ nope }}\"",
            "[file.\"/a\"]\non = \"s1\"\ncontent = \"{{\"",
            "[user.\"a b\"]\non = \"s1\"",
            "[user.\"-a\"]\non = \"s1\"",
            "[user.root]\non = \"s1\"\nuid = -1",
            "[user.a]\non = \"s1\"\nuid = 4294967296",
            "[packages.a]\non = \"s1\"\nnames = [\"a b\"]",
            "[packages.a]\non = \"s1\"",
            "[systemd_unit.a]\non = \"s1\"",
            "[systemd_unit.\"a b.service\"]\non = \"s1\"",
            "[timer.a]\non = \"s1\"\ncommand = []\ncalendar = \"x\"",
            "[swap.\"/a\"]\non = \"s1\"\nsize = \"lots\"",
            "[firewall.a]\non = \"s1\"\n[[firewall.a.allow]]\nport = 0",
            "[firewall.a]\non = \"s1\"\n[[firewall.a.allow]]\nport = 80\nfrom = [\"x\"]",
            "[hosts_entry.\"a b\"]\non = \"s1\"\naddress = \"192.0.2.1\"",
            "[hosts_entry.a]\non = \"s1\"\naddress = \"x\"",
            "[sysctl.\"a b\"]\non = \"s1\"\nvalue = 1",
            "[sysctl.a]\non = \"s1\"\nvalue = {}",
        ],
    ),
];

fn odd(trial: &mut Trial) {
    let folder = Folder::new();
    let whole: Vec<(String, String)> = ODD
        .iter()
        .flat_map(|(frame, pieces)| {
            pieces
                .iter()
                .map(|piece| (frame.replace("HERE", piece), (*piece).to_owned()))
        })
        .collect();
    // Each as it is, with the ends of lines of Windows, and behind a byte order mark: a mistake stays one.
    for (text, piece) in &whole {
        for (sort, text) in [
            ("", text.clone()),
            (", CRLF", text.replace('\n', "\r\n")),
            (", BOM", format!("\u{feff}{text}")),
        ] {
            trial.case(format!("`{piece}`{sort}"), || {
                folder.write("x.toml", &text);
                let failure = match environment::load(&folder.environments(), "x") {
                    Err(failure) => failure,
                    Ok(environment) => {
                        let meant = provision::services::meaning(
                            &environment,
                            &provision::services::Ports::new(),
                        );
                        match meant {
                            Ok(_) => return Err("is accepted".to_owned()),
                            Err(problems) => Failure {
                                problems,
                                ..Failure::new(Kind::Usage, "cannot be meant")
                            },
                        }
                    }
                };
                that(failure.kind == Kind::Usage, || {
                    format!("{:?}", failure.kind)
                })?;
                let said = said(&failure);
                that(
                    failure
                        .problems
                        .iter()
                        .any(|problem| problem.origin.line().is_some()),
                    || format!("no line: {said}"),
                )?;
                let shown = said.chars().find(|c| {
                    (c.is_control() && !"\n\t".contains(*c))
                        || "\u{202e}\u{200b}\u{feff}".contains(*c)
                });
                that(shown.is_none(), || format!("{shown:?} is shown: {said}"))
            });
        }
    }
    // And what only looks odd is none.
    for (name, text) in [
        ("CRLF", "[environment]\r\nproject = \"x\"\r\n"),
        ("BOM", "\u{feff}[environment]\nproject = \"x\"\n"),
        ("tabs", "[environment]\n\tproject\t=\t\"x\"\t# y\n"),
    ] {
        trial.case(name, || folder.load(text).map_err(|failure| said(&failure)));
    }
}

/// Where a password can stand; `SECRET` is the password.
const PLACES: &[&str] = &[
    "[postgres.a.role.b]\npassword = \"SECRET\"\nlogin = true\n",
    "[postgres.a.role.b]\npassword = 'SECRET'\n",
    "[postgres.a.role.b]\npassword = \"\"\"SECRET\"\"\"\n",
    "[postgres.a.role.b]\npassword = '''\nSECRET\n'''\n",
    "[postgres.a]\nrole.b = { password = 'SECRET', login = true }\n",
    "[postgres.a]\nrole.b = { login = true, password = \"SECRET\" }\n",
    "[postgres.a]\nrole.b.password = \"SECRET\"\n",
    "[postgres]\na.role.b.password = 'SECRET'\n",
    "[postgres.a.role]\nb = \"SECRET\"\n",
    "[postgres.a.role.b]\npassword = [\"SECRET\"]\n",
    "[postgres.a.role.b]\npassword = [\n[\"SECRET\"]\n]\n",
    "[postgres.a.role.b]\npassword = { command = [\"echo\", \"SECRET\"] }\n",
    "[postgres.a.role.b]\npassword = { plain = \"SECRET\" }\n",
    "[postgres.a.role.b]\npasswort = \"SECRET\"\n",
    "[mariadb.m.user.'u@%']\npassword = \"SECRET\"\n",
    "[mariadb.m.user]\n'u@%'.password = 'SECRET'\n",
    "[mariadb.m.user]\n'u@%' = 'SECRET'\n",
    "[postgres.x.external]\nhost = 'h'\nadmin = 'a'\npassword = \"SECRET\"\n",
    "[host.h]\naddress = 'h'\nsudo = { password = \"SECRET\" }\n",
    "[host.h]\naddress = 'h'\nsudo = \"SECRET\"\n",
    "[django.d]\nsource = '.'\nsettings = 'x'\nenv.DJANGO_SECRET_KEY = \"SECRET\"\n",
    "[django.d]\nsource = '.'\nsettings = 'x'\n[django.d.env]\nDATABASE_URL = \"postgres://u:SECRET@h/d\"\n",
    "[django.d]\nsource = '.'\nsettings = 'x'\n[django.d.env]\nAPI_TOKEN = \"{{ 'SECRET' ~ vars.nope }}\"\n",
];

fn password_line(trial: &mut Trial) {
    const SECRET: &str = "hunter2swordfish";
    let folder = Folder::new();
    let whole: Vec<(usize, usize, &str)> = PLACES
        .iter()
        .enumerate()
        .flat_map(|(place, text)| {
            let length = text.replace("SECRET", SECRET).chars().count();
            (0..=length).flat_map(move |at| SHARDS.iter().map(move |shard| (place, at, *shard)))
        })
        .collect();
    for text in PLACES {
        let text = text.replace("SECRET", SECRET);
        trial.case(format!("as it is: {text}"), || {
            hides(&folder, &text, SECRET)
        });
        // The rest of its line gone, and the next line behind it.
        trial.case(format!("without its end: {text}"), || {
            hides(&folder, &text.replace(['\'', '"'], ""), SECRET)
        });
    }
    for (place, at, shard) in trial.sample(&whole, 2500) {
        let mut text: Vec<char> = PLACES[place].replace("SECRET", SECRET).chars().collect();
        drop(text.splice(at..at, shard.chars()));
        let text: String = text.into_iter().collect();
        trial.case(format!("{shard:?} at {at} of {place}"), || {
            hides(&folder, &text, SECRET)
        });
    }
}

/// That nothing that is said of a file holds its password, or six letters of it.
fn hides(folder: &Folder, text: &str, secret: &str) -> Result<(), String> {
    let text = format!("[environment]\nproject = 'x'\nstage = 'dev'\n{text}");
    let Err(failure) = folder.load(&text) else {
        return Ok(());
    };
    let said = said(&failure);
    let pieces = secret.as_bytes().windows(6).map(String::from_utf8_lossy);
    let shown: Vec<_> = pieces.filter(|piece| said.contains(&**piece)).collect();
    // What the damage made a key is named; a password is no key.
    let named = failure
        .problems
        .iter()
        .any(|problem| shown.iter().any(|piece| problem.message.contains(&**piece)));
    let is_key = named && is_a_key(&text, secret);
    that(shown.is_empty() || is_key, || {
        format!("{said}\n--- of\n{text}")
    })
}

/// Whether the damage left a piece of a password where a key stands: at the beginning of a line or of a table, or in a header.
fn is_a_key(text: &str, secret: &str) -> bool {
    let pieces: Vec<String> = secret
        .as_bytes()
        .windows(6)
        .map(|piece| String::from_utf8_lossy(piece).into_owned())
        .collect();
    text.lines().any(|line| {
        let before_value = line.split('=').next().unwrap_or_default();
        let is_header = line.trim_start().starts_with('[');
        (is_header || line.contains('=') && !before_value.contains(['\'', '"']))
            && pieces.iter().any(|piece| before_value.contains(piece))
    })
}

fn chains(trial: &mut Trial) {
    let folder = Folder::new();
    let link = |name: &str, to: &str| folder.write(name, format!("extends = {to}\n"));
    let own = "[environment]\nproject = \"x\"\n";
    trial.case("itself", || {
        folder.write("x.toml", format!("extends = \"x.toml\"\n{own}"));
        says(&folder, "x.toml")
    });
    trial.case("itself by another path", || {
        folder.write(
            "x.toml",
            format!("extends = \"../environments/./x.toml\"\n{own}"),
        );
        says(&folder, "x.toml")
    });
    trial.case("itself by a link", || {
        let _ = std::os::unix::fs::symlink("x.toml", folder.environments().join("link.toml"));
        folder.write("x.toml", format!("extends = \"link.toml\"\n{own}"));
        says(&folder, ".toml")
    });
    for length in [2, 3, 10] {
        trial.case(format!("a ring of {length}"), || {
            for n in 1..length {
                link(
                    &format!("r{n}.toml"),
                    &format!(
                        "\"{}\"",
                        if n + 1 == length {
                            "x.toml".to_owned()
                        } else {
                            format!("r{}.toml", n + 1)
                        }
                    ),
                );
            }
            folder.write("x.toml", format!("extends = \"r1.toml\"\n{own}"));
            says(&folder, "x.toml")
        });
    }
    trial.case("a chain of 1,000", || {
        for n in 1..1000 {
            link(&format!("c{n}.toml"), &format!("\"c{}.toml\"", n + 1));
        }
        folder.write("c1000.toml", own);
        folder.write("x.toml", "extends = \"c1.toml\"\n");
        says(&folder, "c1")
    });
    trial.case("1,000 parents", || {
        for n in 1..=1000 {
            folder.write(&format!("p{n}.toml"), own);
        }
        let parents: Vec<String> = (1..=1000).map(|n| format!("\"p{n}.toml\"")).collect();
        folder.write("x.toml", format!("extends = [{}]\n", parents.join(", ")));
        says(&folder, "x.toml")
    });
    trial.case("each extends all behind it", || {
        for n in 1..=40 {
            let parents: Vec<String> = (n + 1..=40).map(|n| format!("\"d{n}.toml\"")).collect();
            link(&format!("d{n}.toml"), &format!("[{}]", parents.join(", ")));
        }
        folder.write("x.toml", format!("extends = \"d1.toml\"\n{own}"));
        let ran = folder.run(&["validate", "x"])?;
        that([0, 3].contains(&ran.code), || {
            format!("{}: {}", ran.code, start(&ran.stderr))
        })
    });
    for odd in [
        "5",
        "[5]",
        "\"\"",
        "\"absent.toml\"",
        "\"/dev/zero\"",
        "\".\"",
        "{}",
        "[[]]",
        "\"a\\u0000\"",
        "\"/proc/self/mem\"",
        "\"../../../../../../etc/shadow\"",
    ] {
        trial.case(format!("extends = {odd}"), || {
            folder.write("x.toml", format!("extends = {odd}\n{own}"));
            let ran = folder.ends(3)?;
            that(!ran.stderr.contains("root:"), || ran.stderr.clone())
        });
    }
}

fn says(folder: &Folder, word: &str) -> Result<(), String> {
    let ran = folder.ends(3)?;
    that(ran.stderr.contains(word), || {
        format!("does not say `{word}`: {}", start(&ran.stderr))
    })
}

/// Pairs that cannot both be had, each alone and all at once: each has to be named before any contact.
const CONTRADICTIONS: &[(&str, &str)] = &[
    (
        "two forwards on one port",
        "[forward.one]\nto = \"postgres.db\"\nlisten = \"127.0.0.1:15432\"\n[forward.two]\nto = \"mariadb.calls\"\nlisten = \"127.0.0.1:15432\"\n",
    ),
    (
        "a forward on an open port and one on loopback",
        "[forward.three]\nto = \"postgres.db\"\nlisten = \"0.0.0.0:15433\"\n[forward.four]\nto = \"mariadb.calls\"\nlisten = \"127.0.0.1:15433\"\n",
    ),
    ("two names of one service", "[mariadb.db]\n"),
    (
        "an owner that is not there",
        "[postgres.own.database.a]\nowner = \"nobody\"\n",
    ),
    (
        "roles in each other",
        "[postgres.ring.role.a]\nmember_of = [\"b\"]\n[postgres.ring.role.b]\nmember_of = [\"a\"]\n",
    ),
    (
        "a grant to nobody",
        "[postgres.grants]\n[[postgres.grants.grant]]\nrole = \"nobody\"\ndatabase = \"postgres\"\ntables = [\"SELECT\"]\n",
    ),
    (
        "a forward to nothing",
        "[forward.five]\nto = \"postgres.nothing\"\nlisten = \"127.0.0.1:15434\"\n",
    ),
];

/// The same on servers.
const ON_SERVERS: &[(&str, &str)] = &[
    (
        "a file and a folder on one path",
        "[file.\"/srv/a\"]\non = \"s1\"\ncontent = \"\"\n[directory.\"/srv/a\"]\non = \"s1\"\n",
    ),
    (
        "a file and a link on one path",
        "[file.\"/srv/b\"]\non = \"s1\"\ncontent = \"\"\n[link.\"/srv/b\"]\non = \"s1\"\nto = \"/srv\"\n",
    ),
    (
        "two clusters on one port",
        "[postgres.one]\non = \"s1\"\nport = 5432\n[postgres.two]\non = \"s1\"\nport = 5432\n",
    ),
    (
        "a path in another spelling",
        "[file.\"/srv/c\"]\non = \"s1\"\ncontent = \"\"\n[file.\"/srv//c\"]\non = \"s1\"\ncontent = \"\"\n",
    ),
    (
        "two hosts of one name",
        "[hosts_entry.a]\non = \"s9\"\naddress = \"192.0.2.1\"\n",
    ),
];

fn contradictions(trial: &mut Trial) {
    let folder = Folder::new();
    let engine =
        "[environment]\nproject = \"x\"\nstage = \"dev\"\n[postgres.db]\n[mariadb.calls]\n";
    let servers = "[environment]\nproject = \"x\"\n[target]\ndriver = \"ssh\"\n[host.s1]\naddress = \"192.0.2.1\"\n";
    for (head, pairs) in [(engine, CONTRADICTIONS), (servers, ON_SERVERS)] {
        let mut alone = BTreeSet::new();
        for (name, text) in pairs {
            trial.case(name, || {
                folder.write("x.toml", format!("{head}{text}"));
                let ran = folder.ends(3)?;
                alone.extend(mistakes(&ran.stderr));
                Ok(())
            });
        }
        trial.case("all at once", || {
            let text: String = pairs.iter().map(|(_, text)| *text).collect();
            folder.write("x.toml", format!("{head}{text}"));
            let ran = folder.ends(3)?;
            let all = mistakes(&ran.stderr);
            let missed: Vec<&String> = alone.iter().filter(|one| !all.contains(one)).collect();
            that(missed.is_empty(), || format!("not told: {missed:?}"))
        });
    }
    for port in ["0", "65536", "-1", "15432.5", "\"x\""] {
        trial.case(format!("port {port}"), || {
            folder.write("x.toml", format!("{engine}[postgres.p]\nport = {port}\n"));
            folder.ends(3).map(drop)
        });
        trial.case(format!("listens on port {port}"), || {
            let listen = format!(
                "[forward.f]\nto = \"postgres.db\"\nlisten = \"127.0.0.1:{}\"\n",
                port.trim_matches('"')
            );
            folder.write("x.toml", format!("{engine}{listen}"));
            folder.ends(3).map(drop)
        });
    }
}

/// The sentences of a run that are mistakes, without the last, which counts them.
fn mistakes(stderr: &str) -> Vec<String> {
    let lines = stderr
        .lines()
        .filter(|line| line.starts_with("error: ") && !line.contains("cannot be used"));
    // Lines differ with what stands before.
    lines
        .map(|line| line.split(" (x.toml").next().unwrap_or_default().to_owned())
        .collect()
}

/// Every place of a name that could become a path.
const NAMES: &[&str] = &[
    "[environment]\nproject = NAME\n",
    "[environment]\nproject = \"x\"\nname = NAME\n",
    "[environment]\nproject = \"x\"\n[postgres.NAME]\n",
    "[environment]\nproject = \"x\"\n[mariadb.NAME]\n",
    "[environment]\nproject = \"x\"\n[django.NAME]\nsource = \"app\"\nsettings = \"x\"\n",
    "[environment]\nproject = \"x\"\n[django.d]\nsource = \"app\"\nsettings = NAME\n",
    "[environment]\nproject = \"x\"\n[django.d]\nsource = \"app\"\nsettings = \"x\"\nrequirements = NAME\n",
    "[environment]\nproject = \"x\"\n[postgres.a]\nrole.NAME.login = false\n",
    "[environment]\nproject = \"x\"\n[postgres.a]\ndatabase.NAME.encoding = \"UTF8\"\n",
    "[environment]\nproject = \"x\"\n[postgres.a]\nsettings.NAME = \"1\"\n",
    "[environment]\nproject = \"x\"\n[postgres.a]\nimage = NAME\n",
    "[environment]\nproject = \"x\"\n[mariadb.a]\ndatabase.NAME.charset = \"utf8mb4\"\n",
    "[environment]\nproject = \"x\"\n[mariadb.a]\nuser.NAME.locked = true\n",
    "[environment]\nproject = \"x\"\n[postgres.a]\n[forward.NAME]\nto = \"postgres.a\"\nlisten = \"127.0.0.1:15432\"\n",
    "SERVERS[host.NAME]\naddress = \"192.0.2.2\"\n",
    "SERVERS[user.NAME]\non = \"s1\"\n",
    "SERVERS[group.NAME]\non = \"s1\"\n",
    "SERVERS[user.ann]\non = \"s1\"\ngroup = NAME\n",
    "SERVERS[packages.NAME]\non = \"s1\"\nnames = [\"htop\"]\n",
    "SERVERS[packages.p]\non = \"s1\"\nnames = [NAME]\n",
    "SERVERS[apt_repository.NAME]\non = \"s1\"\nurl = \"https://x\"\nsuite = \"y\"\nkey = \"key.asc\"\n",
    "SERVERS[file.NAME]\non = \"s1\"\ncontent = \"\"\n",
    "SERVERS[file.\"/srv/x\"]\non = \"s1\"\ntemplate = NAME\n",
    "SERVERS[file.\"/srv/x\"]\non = \"s1\"\ncontent = \"\"\nowner = NAME\n",
    "SERVERS[directory.NAME]\non = \"s1\"\n",
    "SERVERS[link.NAME]\non = \"s1\"\nto = \"/srv\"\n",
    "SERVERS[systemd_unit.NAME]\non = \"s1\"\n",
    "SERVERS[timer.NAME]\non = \"s1\"\ncommand = [\"/bin/true\"]\ncalendar = \"daily\"\n",
    "SERVERS[sysctl.NAME]\non = \"s1\"\nvalue = 1\n",
    "SERVERS[hosts_entry.NAME]\non = \"s1\"\naddress = \"192.0.2.1\"\n",
    "SERVERS[swap.NAME]\non = \"s1\"\nsize = \"1G\"\n",
    "SERVERS[firewall.NAME]\non = \"s1\"\n[[firewall.NAME.allow]]\nport = 80\n",
];

/// What leads elsewhere, ends a word or hides.
fn payloads() -> Vec<String> {
    let mut payloads: Vec<String> = [
        "..",
        ".",
        "../x",
        "../../../../tmp/planted",
        "..\\x",
        "..%2fx",
        "%2e%2e%2fx",
        "....//x",
        "x/../../y",
        "/etc/passwd",
        "//x",
        "/",
        "///",
        "x/y",
        "C:",
        "C:\\x",
        "\\\\x\\y",
        "-rf",
        "--",
        "--help",
        "-",
        "x\0y",
        "x\ny",
        "x\ry",
        "x\ty",
        " x",
        "x ",
        "x.",
        ".x",
        "x..",
        "~",
        "~root",
        "$HOME",
        "$(touch planted)",
        "`touch planted`",
        "x;touch planted",
        "x|y",
        "x&y",
        "x>planted",
        "x<y",
        "*",
        "?",
        "[a]",
        "{a,b}",
        "x'y",
        "x\"y",
        "x#y",
        "x=y",
        "x:y",
        "x@y",
        "x%y",
        "x%00",
        "\u{202e}x",
        "x\u{200b}",
        "\u{ff0e}\u{ff0e}\u{2215}x",
        "p\u{430}ssword",
        "\u{2025}/x",
        "caf\u{65}\u{301}",
        "",
        "{{ vars.x }}",
        "NUL",
        "con",
        "proc/self",
    ]
    .map(str::to_owned)
    .to_vec();
    payloads.extend(["x".repeat(300), "../".repeat(2000), "x".repeat(70_000)]);
    payloads
}

fn traversal(trial: &mut Trial) {
    let folder = Folder::new();
    let servers = "[environment]\nproject = \"x\"\n[target]\ndriver = \"ssh\"\n[host.s1]\naddress = \"192.0.2.1\"\n";
    fs::create_dir(folder.environments().join("app")).unwrap();
    for (file, text) in [
        ("app/manage.py", ""),
        ("app/requirements.txt", ""),
        ("key.asc", "x"),
    ] {
        folder.write(file, text);
    }
    let payloads = payloads();
    let whole: Vec<(usize, usize)> = (0..NAMES.len())
        .flat_map(|name| (0..payloads.len()).map(move |payload| (name, payload)))
        .collect();
    let mut taken: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    let mut accepted = Vec::new();
    for (name, payload) in trial.sample(&whole, 800) {
        let quoted = toml_string(&payloads[payload]);
        let text = NAMES[name]
            .replace("SERVERS", servers)
            .replace("NAME", &quoted);
        trial.case(format!("{quoted:.80} in {}", NAMES[name]), || {
            match folder.load(&text) {
                Ok(()) => accepted.push((name, payload, text.clone())),
                Err(failure) => that(failure.kind == Kind::Usage, || {
                    format!("{:?}", failure.kind)
                })?,
            }
            Ok(())
        });
    }
    // What may be a name somewhere is rendered, and nothing is written but where files are rendered to.
    let accepted = trial
        .random
        .clone()
        .several(0..accepted.len() as u64, trial.size(60, 3000))
        .into_iter()
        .map(|at| accepted[at as usize].clone())
        .collect::<Vec<_>>();
    for (name, payload, text) in accepted {
        taken.entry(name).or_default().push(&payloads[payload]);
        trial.case(
            format!("{:.80} in {}, rendered", payloads[payload], NAMES[name]),
            || {
                folder.write("x.toml", &text);
                let before = below(folder.0.path());
                let ran = folder.run(&["render", "x"])?;
                that([0, 3].contains(&ran.code), || {
                    format!("ends with {}: {}", ran.code, ran.stderr)
                })?;
                let written: Vec<PathBuf> = below(folder.0.path())
                    .difference(&before)
                    .cloned()
                    .collect();
                let elsewhere: Vec<&PathBuf> = written
                    .iter()
                    .filter(|path| !path.starts_with(".provision"))
                    .collect();
                let _ = fs::remove_dir_all(folder.0.path().join(".provision"));
                that(
                    elsewhere.is_empty() && !Path::new("/tmp/planted").exists(),
                    || format!("writes {elsewhere:?}"),
                )
            },
        );
    }
    trial.note(format!(
        "{} accepted as harmless and rendered",
        taken.values().map(Vec::len).sum::<usize>()
    ));
}

/// All files below a folder, and beside it nothing can be seen: it has a name of its own.
fn below(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(inner) = folders.pop() {
        for entry in fs::read_dir(inner).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path.clone());
            }
            found.insert(path.strip_prefix(folder).unwrap().to_owned());
        }
    }
    found
}

/// A text as TOML writes any.
fn toml_string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out + "\""
}

/// An environment with one file from a template, and a password in scope.
const TEMPLATED: &str = "[environment]\nproject = \"x\"\nstage = \"dev\"\n[target]\ndriver = \"ssh\"\n[host.s1]\naddress = \"192.0.2.1\"\n[vars]\nplain = \"b\"\n\
    [postgres.db]\non = \"s1\"\nrole.app.password = \"SECRET\"\n[file.\"/srv/x\"]\non = \"s1\"\ntemplate = \"x.j2\"\n";

fn endless(trial: &mut Trial) {
    let folder = Folder::new();
    folder.write("x.toml", TEMPLATED);
    folder.write("templates/y.j2", "{% include 'x.j2' %}");
    let deep = |open: &str, close: &str| {
        format!("{{{{ {}1{} }}}}", open.repeat(50_000), close.repeat(50_000))
    };
    let doubling = |begin: &str, operator: &str| {
        let again = format!("{{% set a = a {operator} a %}}").repeat(60);
        format!("{{% set a = {begin} %}}{again}{{{{ a }}}}")
    };
    let many =
        |open: &str, close: &str| format!("{}x{}", open.repeat(50_000), close.repeat(50_000));
    let templates = [
        ("itself", "{% include 'x.j2' %}".to_owned()),
        ("two that include each other", "{% include 'y.j2' %}".to_owned()),
        ("extends itself", "{% extends 'x.j2' %}".to_owned()),
        ("imports itself", "{% import 'x.j2' as x %}{{ x }}".to_owned()),
        ("a macro that calls itself", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}".to_owned()),
        ("macros that call each other twice", "{% macro m(n) %}{{ k(n) }}{{ k(n) }}{% endmacro %}{% macro k(n) %}{{ m(n) }}{{ m(n) }}{% endmacro %}{{ m(1) }}".to_owned()),
        ("a loop of 10^9", "{% for i in range(1000000000) %}x{% endfor %}".to_owned()),
        ("loops in loops", "{% for i in range(10000) %}{% for j in range(10000) %}{% for k in range(10000) %}{% endfor %}{% endfor %}{% endfor %}".to_owned()),
        ("a recursive loop", "{% for i in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}".to_owned()),
        ("a text that doubles by `~`", doubling("'xxxxxxxx'", "~")),
        ("a text that doubles by `+`", doubling("'xxxxxxxx'", "+")),
        ("a list that doubles", doubling("[1, 2]", "+")),
        ("a tuple that doubles", doubling("(1, 2)", "+")),
        ("a list in a loop", "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}{{ n.x }}".to_owned()),
        ("a long text", "{{ 'x' * 10000000000 }}".to_owned()),
        ("a list of lists", "{{ [[1] * 1000000] * 1000000 }}".to_owned()),
        ("a power", "{{ 9 ** 9 ** 9 ** 9 }}".to_owned()),
        ("indented", "{{ 'x'|indent(1000000000) }}".to_owned()),
        ("replaced", "{{ ('x' * 1000000)|replace('x', 'y' * 1000000) }}".to_owned()),
        ("joined", "{{ range(100000)|join('y' * 1000000) }}".to_owned()),
        ("brackets", deep("(", ")")),
        ("lists", deep("[", "]")),
        ("tables", deep("{1:", "}")),
        ("not", deep("not ", "")),
        ("minus", deep("-", "")),
        ("sums", deep("", "+1")),
        ("filters", deep("", "|abs")),
        ("attributes", deep("", ".a")),
        ("indices", deep("", "[0]")),
        ("calls", deep("", "()")),
        ("calls with commas", deep("", "(1, 2)")),
        ("conditions", deep("", " if 1 else 1")),
        ("tests", deep("", " is odd")),
        ("elif", format!("{{% if 1 %}}{}{{% endif %}}", "{% elif 1 %}".repeat(50_000))),
        ("blocks", many("{% if 1 %}", "{% endif %}")),
        ("loops", many("{% for a in [1] %}", "{% endfor %}")),
        ("withs", many("{% with %}", "{% endwith %}")),
    ];
    for (name, text) in &templates {
        trial.case(name, || {
            folder.write("templates/x.j2", text);
            folder.ends(3).map(drop)
        });
    }
    for (name, text) in &templates {
        let is_value = !text.contains("{%") && text.len() < 60_000;
        if is_value {
            trial.case(format!("{name}, in a value"), || {
                let text = TEMPLATED.replace(
                    "template = \"x.j2\"",
                    &format!("content = {}", toml_string(text)),
                );
                let folder = Folder::new();
                folder.write("x.toml", text);
                folder.ends(3).map(drop)
            });
        }
    }
    trial.case("what is well is rendered", || {
        folder.write("templates/x.j2", "{% set n = namespace(x=[]) %}{% for i in range(50) %}{% set n.x = n.x + [i + 1] %}{% endfor %}{{ n.x|length * 2 }}");
        folder.ends(0).map(drop)
    });
}

/// Expressions that fail with the password `P` in their hands.
const FAILING: &[&str] = &[
    "{{ P.nope }}",
    "{{ P.nope.nope }}",
    "{{ nope[P] }}",
    "{{ nope }}{{ P }}",
    "{{ P }}{{ nope }}",
    "{{ P + 1 }}",
    "{{ 1 + P }}",
    "{{ P - 1 }}",
    "{{ -P }}",
    "{{ P() }}",
    "{{ P.upper(1) }}",
    "{{ P|int }}",
    "{{ P|float }}",
    "{{ P|abs }}",
    "{{ P|nope }}",
    "{{ P is nope }}",
    "{{ P|round }}",
    "{{ P|dictsort }}",
    "{{ P|items }}",
    "{{ P|sum }}",
    "{{ P|tojson|int }}",
    "{{ P|yaml|int }}",
    "{{ P|attr(P) }}",
    "{{ [1]|map(P) }}",
    "{{ [1]|map(P)|list }}",
    "{{ [1]|select(P)|list }}",
    "{{ [1]|selectattr('a', P)|list }}",
    "{{ [1]|sort(attribute=P) }}",
    "{{ [1]|groupby(P) }}",
    "{{ 1|round(P) }}",
    "{{ 'x'|indent(P) }}",
    "{{ range(P) }}",
    "{{ dict(1, P) }}",
    "{{ namespace(P) }}",
    "{{ 'x'|replace(P) }}",
    "{{ '%d'|format(P) }}",
    "{{ P|format(1) }}",
    "{{ P % 2 }}",
    "{{ P ** 2 }}",
    "{% include P %}",
    "{% include [P, P] %}",
    "{% import P as x %}",
    "{% extends P %}",
    "{% for a, b in [P] %}{% endfor %}",
    "{% for x in P|int %}{% endfor %}",
    "{% set a, b = P %}",
    "{% set a, b = [P] %}",
    "{% include P|upper %}",
    "{{ P|upper|int }}",
    "{{ (P ~ 'x')|int }}",
    "{{ P|b64 }}",
    "{{ nope(P) }}",
    "{{ P[1:nope] }}",
    "{{ P|unit|exec }}",
    "{{ [P]|exec }}",
    "{{ P|exec }}",
    "{{ P|word }}{{ nope }}",
    "{{ (P ~ '\\n')|nginx }}",
    "{{ (P ~ '\\n')|env }}",
    "{{ (P ~ '\\n')|unit }}",
    "{{ (P ~ '\\n')|cnf }}",
    "{{ debug() }}{{ P }}{{ nope }}",
    "{{ {P: 1}[1] }}",
    "{{ P in 5 }}",
    "{{ 5 in P }}",
    "{% call P() %}{% endcall %}",
    "{% macro m(a) %}{{ a|int }}{% endmacro %}{{ m(P) }}",
    "{% filter int %}{{ P }}{% endfilter %}",
    "{% do P() %}",
    "{{ P|default(nope) }}{{ nope }}",
    "{{ P | urlencode | int }}",
    "{{ loop(P) }}",
    "{{ super() }}{{ P }}",
];

fn failing(trial: &mut Trial) {
    const SECRET: &str = "hunter2swordfish";
    let folder = Folder::new();
    let shown = |ran: &Ran| -> Result<(), String> {
        let all = format!("{}{}", ran.stdout, ran.stderr).to_lowercase();
        that(
            !SECRET
                .as_bytes()
                .windows(6)
                .any(|piece| all.contains(&*String::from_utf8_lossy(piece))),
            || format!("shows it: {all}"),
        )
    };
    for name in ["postgres.db.role.app.password", "x"] {
        for template in FAILING {
            let text = match name {
                // Whether it comes straight, or by way of a variable.
                "x" => format!(
                    "{{% set x = postgres.db.role.app.password %}}{}",
                    template.replace('P', "x")
                ),
                name => template.replace('P', name),
            };
            trial.case(&text, || {
                folder.write("x.toml", TEMPLATED.replace("SECRET", SECRET));
                folder.write("templates/x.j2", &text);
                let ran = folder.run(&["validate", "x", "-vvv"])?;
                that([0, 3].contains(&ran.code), || {
                    format!("ends with {}: {}", ran.code, ran.stderr)
                })?;
                shown(&ran)
            });
            if name != "x" && !text.contains("{%") {
                trial.case(format!("{text}, in a value"), || {
                    let text = TEMPLATED.replace(
                        "template = \"x.j2\"",
                        &format!("content = {}", toml_string(&text)),
                    );
                    folder.write("x.toml", text.replace("SECRET", SECRET));
                    let ran = folder.run(&["validate", "x", "-vvv"])?;
                    that([0, 3].contains(&ran.code), || {
                        format!("ends with {}: {}", ran.code, ran.stderr)
                    })?;
                    shown(&ran)
                });
            }
        }
    }
}
