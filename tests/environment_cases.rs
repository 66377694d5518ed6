//! Environment files and what is said of them: `cases/environment/NAME.toml` in, `NAME.said` out. `UPDATE=1` writes the
//! answers anew.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use provision::declaration::{Environment, Node, Value};
use provision::environment;
use provision::error::{Failure, Kind};
use provision::show::problems::render;

const FOLDER: &str = "tests/cases/environment";

/// What a user would read: problems, or what the environment came to.
fn said(name: &str) -> String {
    match environment::load(Path::new(FOLDER), name) {
        Ok(environment) => loaded(&environment),
        Err(failure) => failed(&failure),
    }
}

fn failed(failure: &Failure) -> String {
    let mut said = format!("{:?}: {failure}\n", failure.kind);
    for hint in &failure.hints {
        let _ = writeln!(said, "hint: {hint}");
    }
    said.push('\n');
    said + &render(&failure.problems, false)
}

fn loaded(environment: &Environment) -> String {
    let mut said = format!(
        "{} of {}, {:?}, abstract {}\n\n",
        environment.name, environment.project, environment.stage, environment.is_abstract
    );
    said.push_str(&render(&environment.warnings, false));
    lines(&environment.tree, "", &mut said);
    said.replace(env!("CARGO_MANIFEST_DIR"), "...")
}

/// Every value that a file says, with where it says it.
fn lines(node: &Node, path: &str, said: &mut String) {
    let origin = node.origin.short();
    match &node.value {
        Value::Table(_) => {
            for (key, entry) in node.entries() {
                lines(&entry.node, &format!("{path}.{key}"), said);
            }
        }
        Value::List(items) => {
            for (n, item) in items.iter().enumerate() {
                lines(item, &format!("{path}[{n}]"), said);
            }
        }
        _ if node.origin.is_none() => {}
        Value::Secret(source, _) => {
            let _ = writeln!(said, "{path} = [{}]  # {origin}", source.shown());
        }
        Value::Bool(value) => {
            let _ = writeln!(said, "{path} = {value}  # {origin}");
        }
        Value::Int(value) => {
            let _ = writeln!(said, "{path} = {value}  # {origin}");
        }
        Value::Text(value) => {
            let _ = writeln!(said, "{path} = {value:?}  # {origin}");
        }
    }
}

#[test]
fn every_case_is_answered_as_written() {
    let mut wrong = Vec::new();
    let names = environment::names(Path::new(FOLDER));
    assert!(names.len() > 20, "the cases are gone");
    for name in names {
        let path = PathBuf::from(FOLDER).join(format!("{name}.said"));
        let answer = said(&name);
        assert!(
            !answer.contains("hunter2"),
            "{name} shows a secret:\n{answer}"
        );
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, &answer).unwrap();
        } else if fs::read_to_string(&path).unwrap_or_default() != answer {
            wrong.push(format!("=== {name}\n{answer}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn failure(dir: &Path, name: &str) -> Failure {
    let begun = Instant::now();
    let failure = environment::load(dir, name).unwrap_err();
    // Half a second in release; tests are not, and not alone.
    assert!(begun.elapsed() < Duration::from_secs(20), "{name}");
    failure
}

fn write(dir: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    fs::write(dir.join(name), bytes).unwrap();
}

#[test]
fn what_is_no_environment_file_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    fs::create_dir(dir.join("folder.toml")).unwrap();
    write(dir, "huge.toml", vec![b'#'; 1024 * 1024 + 1]);
    write(dir, "binary.toml", b"name = 'a'\n\xff\xfe");
    write(dir, "zeros.toml", vec![0; 512]);
    write(dir, "long.toml", format!("x = '{}'", "y".repeat(70_000)));
    write(
        dir,
        "deep.toml",
        format!("x = {}{}", "[".repeat(20_000), "]".repeat(20_000)),
    );
    write(dir, "dots.toml", format!("{}x = 1", "a.".repeat(20_000)));
    write(
        dir,
        "nest.toml",
        format!("x = {}1{}", "[".repeat(40), "]".repeat(40)),
    );
    write(
        dir,
        "line.toml",
        format!("x = [{}]", "'a',".repeat(200_000)),
    );
    write(
        dir,
        "keys.toml",
        (0..60_000)
            .map(|n| format!("k{n} = 'a'\n"))
            .collect::<String>(),
    );
    let implicit: String = (0..24_000)
        .map(|n| format!("[a.x{n}.y]\n"))
        .chain((0..24_000).map(|n| format!("[a.x{n}]\n")))
        .collect();
    write(dir, "implicit.toml", implicit);
    std::os::unix::fs::symlink("/dev/zero", dir.join("zero.toml")).unwrap();
    std::os::unix::fs::symlink("loop.toml", dir.join("loop.toml")).unwrap();
    for (name, word) in [
        ("folder", "is a folder"),
        ("huge", "is larger than 1024 KiB"),
        ("binary", "not UTF-8"),
        ("zeros", "binary"),
        ("long", "longer than 64 KiB"),
        ("deep", "recurs"),
        ("dots", "recurs"),
        ("nest", "nested deeper than 32"),
        ("line", "unknown key"),
        ("keys", "and 59001 more"),
        ("implicit", "unknown table"),
        ("zero", "no regular file"),
        ("loop", "cannot be read"),
        ("absent", "provision init absent"),
    ] {
        let failure = failure(dir, name);
        assert_eq!(failure.kind, Kind::Usage);
        let said = failed(&failure);
        assert!(said.contains(word), "{name}: {said}");
        assert!(said.len() < 400_000, "{name}: {}", said.len());
        assert!(said.lines().all(|line| line.len() < 2000), "{name}");
    }
}

#[test]
fn a_fifo_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fifo.toml");
    let made = std::process::Command::new("mkfifo")
        .arg(&path)
        .status()
        .unwrap();
    assert!(made.success());
    assert!(
        failure(folder.path(), "fifo")
            .message
            .contains("no regular file")
    );
}

#[test]
fn secrets_are_had_or_all_named() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("environments");
    fs::create_dir(&dir).unwrap();
    write(&dir, "pass.txt", "hunter2\r\n");
    write(&dir, "own.env", "A=x\nDB='hunter3'\n");
    write(&dir, "print.sh", "#!/bin/sh\nprintf %s hunter4\n");
    let file = |name: &str, sources: &[&str]| {
        let mut text = "[environment]\nproject = 'iact'\nstage = 'prod'\n".to_owned();
        for (n, source) in sources.iter().enumerate() {
            let _ = write!(text, "[postgres.a.role.r{n}]\npassword = {source}\n");
        }
        write(&dir, name, text);
    };
    file(
        "good.toml",
        &[
            "{ file = 'pass.txt' }",
            "{ dotenv = 'own.env', key = 'DB' }",
            "{ command = ['sh', './print.sh'] }",
            "{ generate = true }",
            "{ env = 'PATH' }",
        ],
    );
    let good = || environment::resolve(environment::load(&dir, "good").unwrap()).unwrap();
    let password = |environment: &Environment, role: &str| {
        let role = environment
            .tree
            .get("postgres")
            .unwrap()
            .get("a")
            .unwrap()
            .get("role")
            .unwrap()
            .get(role);
        role.unwrap()
            .secret("password")
            .unwrap()
            .expose()
            .to_owned()
    };
    let first = good();
    assert_eq!(password(&first, "r0"), "hunter2");
    assert_eq!(password(&first, "r1"), "hunter3");
    assert_eq!(password(&first, "r2"), "hunter4");
    assert_eq!(password(&first, "r3").len(), 43);
    assert_eq!(password(&first, "r3"), password(&good(), "r3"));
    assert_eq!(password(&first, "r4"), std::env::var("PATH").unwrap());
    assert!(
        folder
            .path()
            .join(".provision/good/secrets/postgres.a.role.r3.password")
            .is_file()
    );
    assert_eq!(
        first.warnings.len(),
        2,
        "files that everybody can read: {:?}",
        first.warnings
    );

    file(
        "bad.toml",
        &[
            "{ file = 'gone.txt' }",
            "{ dotenv = 'own.env', key = 'NO' }",
            "{ command = ['sh', '-c', 'echo hunter2; exit 4'] }",
            "{ env = 'NO_SUCH_VARIABLE_HERE' }",
        ],
    );
    let failure = environment::resolve(environment::load(&dir, "bad").unwrap()).unwrap_err();
    assert_eq!(failure.kind, Kind::Secret);
    assert_eq!(failure.problems.len(), 4);
    assert_eq!(failure.hints.len(), 4);
    let said = failed(&failure);
    assert!(
        said.contains("`postgres.a.role.r3.password` cannot be had"),
        "{said}"
    );
    assert!(said.contains("bad.toml:11:12"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn large_files_load_linearly() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    // Abstract: the time of reading and checking, not of expanding.
    let head = "[environment]\nabstract = true\n[vars]\nx = 'y'\n";
    let mut parents = Vec::new();
    for file in 0..10 {
        let mut text = head.to_owned();
        for n in 0..10_000 {
            let _ = write!(
                text,
                "[postgres.db{file}.role.role_{n}]\npassword = 'secret{n}'\nvalid_until = '{{{{ vars.x }}}}'\n"
            );
        }
        assert!(text.len() < 1024 * 1024);
        write(dir, &format!("p{file}.toml"), text);
        parents.push(format!("'p{file}.toml'"));
    }
    let ten = format!("extends = [{}]\n{head}", parents.join(","));
    write(dir, "ten.toml", ten);
    let time = |name: &str| {
        let begun = Instant::now();
        let environment = environment::load(dir, name).unwrap();
        assert!(environment.tree.get("postgres").is_some());
        begun.elapsed()
    };
    let one = (0..3).map(|_| time("p0")).min().unwrap();
    let ten = time("ten");
    assert!(ten < one * 30, "one {one:?}, ten {ten:?}");
}

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

#[test]
fn a_damaged_file_never_shows_its_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let whole = "[environment]\nproject = 'iact'\n[postgres.a.role.b]\npassword = \"hunter2\"\nlogin = true\n\
        [postgres.a]\nrole.c = { password = 'hunter2', login = true }\n[mariadb.m.user.'u@%']\npassword = '''\nhunter2\n'''\n\
        [postgres.x.external]\nhost = 'h'\nadmin = 'a'\npassword = { command = ['echo', 'hunter2'] }\n\
        [forward.f]\nto = 'postgres.a'\nlisten = '127.0.0.1:5'\n";
    let shards = [
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
    ];
    let rounds = std::env::var("ROUNDS").map_or(2000, |rounds| rounds.parse().unwrap());
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut failures = 0;
    for _ in 0..rounds {
        let mut text: Vec<char> = whole.chars().collect();
        for _ in 0..=dice.below(3) {
            let at = dice.below(text.len());
            let to = (at + dice.below(4)).min(text.len());
            let shard = shards[dice.below(shards.len())];
            text.splice(at..to, shard.chars());
        }
        let text: String = text.into_iter().collect();
        write(dir, "x.toml", &text);
        if let Err(failure) = environment::load(dir, "x") {
            failures += 1;
            let said = failed(&failure);
            // A piece of it is as bad; a key that holds it is what the damage made of it.
            let shown = said.contains("hunter") || said.contains("unter2");
            assert!(!shown, "{said}\n--- of\n{text}");
        }
    }
    assert!(failures > rounds / 3, "the damage does nothing");
}
