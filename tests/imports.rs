//! `provision import` over a corpus: `cases/import/KIND/NAME/` holds what people have, `imported.toml` the environment file that comes
//! of it and `imported.said` what is told. Every key is used or listed, every file is valid, no secret is in it. A file `typed` holds other
//! words than the usual ones; `UPDATE=1` writes the answers anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use granit_parser::{Event, Parser};
use serde_json::Value;

use crate::lab::{Lab, Ran, copy, engine, free_port, provision, run};

const FOLDER: &str = "tests/cases/import";
const ANSWERS: [&str; 3] = ["imported.toml", "imported.said", "typed"];

/// A case in a folder of its own.
struct Case {
    name: String,
    from: PathBuf,
    _root: tempfile::TempDir,
    folder: PathBuf,
    words: Vec<String>,
}

impl Case {
    fn new(kind: &str, from: &Path) -> Self {
        let name = from.file_name().unwrap().to_str().unwrap().to_owned();
        let root = tempfile::Builder::new()
            .prefix("provision-import-")
            .tempdir()
            .unwrap();
        let folder = root.path().canonicalize().unwrap().join("shop");
        copy(from, &folder);
        for answer in ANSWERS {
            let _ = fs::remove_file(folder.join(answer));
        }
        let typed = fs::read_to_string(from.join("typed")).unwrap_or_else(|_| {
            match kind {
                "compose" => "compose compose.yml",
                "env" => "env dotenv",
                _ => "vagrant .",
            }
            .to_owned()
        });
        let words = typed.split_whitespace().map(str::to_owned).collect();
        Case {
            name,
            from: from.to_owned(),
            _root: root,
            folder,
            words,
        }
    }

    fn import(&self, more: &[&str]) -> Ran {
        let mut command = provision();
        command
            .current_dir(&self.folder)
            .env("NO_COLOR", "1")
            .arg("import")
            .args(&self.words)
            .args(more);
        run(&mut command)
    }

    fn same(&self, text: &str) -> String {
        text.replace(&self.folder.display().to_string(), "FOLDER")
    }
}

fn cases(kind: &str) -> Vec<Case> {
    let mut folders: Vec<PathBuf> = fs::read_dir(Path::new(FOLDER).join(kind))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    folders.sort();
    folders
        .iter()
        .map(|folder| Case::new(kind, folder))
        .collect()
}

/// The corpus of a kind: what is written and told, that it is valid, and that the account is whole.
fn corpus(kind: &str, least: usize, count: &dyn Fn(&Case, &BTreeSet<String>) -> usize) {
    let cases = cases(kind);
    assert!(cases.len() >= least, "{kind}: the cases are gone");
    let mut wrong = Vec::new();
    for case in &cases {
        let ran = case.import(&["-v", "--out", "environments/local.toml"]);
        let written =
            fs::read_to_string(case.folder.join("environments/local.toml")).unwrap_or_default();
        let said = case.same(&format!("{}--- exit {}\n", ran.stderr, ran.code));
        for (name, found) in [("imported.toml", written.clone()), ("imported.said", said)] {
            let path = case.from.join(name);
            if std::env::var_os("UPDATE").is_some() {
                let _ = fs::remove_file(&path);
                if !found.is_empty() {
                    fs::write(&path, &found).unwrap();
                }
            }
            let wanted = fs::read_to_string(&path).unwrap_or_default();
            if found != wanted {
                wrong.push(format!(
                    "{}\n--- found\n{found}\n--- wanted\n{wanted}",
                    path.display()
                ));
            }
        }
        let json = case.import(&["--out", "-", "--format", "json"]);
        for secret in ["s3cr3t", "hunter2"] {
            let said = format!("{written}{}{}", ran.stdout, json.stderr) + &ran.stderr;
            if said.contains(secret) {
                wrong.push(format!("{}: a secret is told", case.name));
            }
        }
        if ran.code != 0 {
            // What cannot be read is refused with a place, and leaves nothing behind.
            assert!(written.is_empty(), "{}", case.name);
            continue;
        }
        let mut validate = provision();
        validate
            .current_dir(&case.folder)
            .args(["validate", "local"]);
        let valid = run(&mut validate);
        if valid.code != 0 {
            wrong.push(format!("{} is not valid\n{}", case.name, valid.stderr));
        }
        let json = case.import(&["--out", "-", "--format", "json"]);
        let account: Value = serde_json::from_str(&json.stderr)
            .unwrap_or_else(|error| panic!("{}: {error}\n{}", case.name, json.stderr));
        let number =
            |name: &str| usize::try_from(account["count"][name].as_u64().unwrap()).unwrap();
        let keys = account["keys"].as_array().unwrap();
        let reasons = keys
            .iter()
            .filter(|key| {
                key["reason"]
                    .as_str()
                    .is_some_and(|reason| !reason.is_empty())
            })
            .count();
        let files: BTreeSet<String> = keys
            .iter()
            .map(|key| key["file"].as_str().unwrap().to_owned())
            .collect();
        let total = count(case, &files);
        if number("used") + number("noted") + number("left") != number("total")
            || number("total") != keys.len()
            || reasons != number("noted") + number("left")
            || total != number("total")
        {
            wrong.push(format!(
                "{}: {total} keys are in the files, told are {}",
                case.name, account["count"]
            ));
        }
        let strict = case.import(&["--strict", "--out", "-"]);
        assert_eq!(
            strict.code,
            if number("left") > 0 { 3 } else { 0 },
            "{}",
            case.name
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Values that hold no others in a YAML text, counted by the parser's events alone.
fn values(text: &str) -> usize {
    let mut count = 0;
    // For each open collection: whether it is a mapping, and how many nodes of it were there.
    let mut open: Vec<(bool, usize)> = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, _) = event.unwrap();
        let is_key = open
            .last()
            .is_some_and(|(map, nodes)| *map && nodes % 2 == 0);
        match event {
            Event::Scalar(..) => {
                count += usize::from(!is_key);
                if let Some(last) = open.last_mut() {
                    last.1 += 1;
                }
            }
            Event::Alias(_) => {
                if let Some(last) = open.last_mut() {
                    last.1 += 1;
                }
            }
            Event::SequenceStart(..) => open.push((false, 0)),
            Event::MappingStart(..) => open.push((true, 0)),
            Event::SequenceEnd | Event::MappingEnd => {
                let (_, nodes) = open.pop().unwrap();
                count += usize::from(nodes == 0);
                if let Some(last) = open.last_mut() {
                    last.1 += 1;
                }
            }
            _ => {}
        }
    }
    count
}

/// Keys of the other files that belong to a project: assignments, instructions, statements.
fn others(name: &str, text: &str) -> usize {
    let lines = || {
        text.lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#') && !line.starts_with("--"))
    };
    if name.contains("Dockerfile") {
        let mut goes_on = false;
        return lines()
            .filter(|line| {
                let first = !goes_on;
                goes_on = line.ends_with('\\');
                first
            })
            .count();
    }
    if name.ends_with(".sql") {
        return lines()
            .filter(|line| line.ends_with(';') || line.starts_with('\\'))
            .count();
    }
    lines().count()
}

fn count(case: &Case, files: &BTreeSet<String>) -> usize {
    files
        .iter()
        .map(|name| {
            let text = fs::read_to_string(case.folder.join(name)).unwrap();
            match name.ends_with(".yml") || name.ends_with(".yaml") {
                true => values(&text),
                false => others(name, &text),
            }
        })
        .sum()
}

#[test]
fn compose_files_become_environments() {
    corpus("compose", 25, &count);
}

#[test]
fn dotenv_files_become_environments() {
    corpus("env", 5, &count);
}

/// Lines of a Vagrantfile and its scripts that say something, each of which has to be some key's. A key's own lines are those down to
/// the next key of the same file.
#[test]
fn vagrantfiles_become_environments() {
    let listed = |case: &Case, _: &BTreeSet<String>| {
        let json = case.import(&["--out", "-", "--format", "json"]);
        let account: Value = serde_json::from_str(&json.stderr).unwrap();
        let keys = account["keys"].as_array().unwrap();
        let mut silent = Vec::new();
        let files: BTreeSet<&str> = keys
            .iter()
            .map(|key| key["file"].as_str().unwrap())
            .collect();
        for file in files {
            let lines: BTreeSet<usize> = keys
                .iter()
                .filter(|key| key["file"] == file)
                .map(|key| usize::try_from(key["line"].as_u64().unwrap()).unwrap())
                .collect();
            let text = fs::read_to_string(case.folder.join(file)).unwrap();
            for number in significant(file, &text) {
                if !lines.contains(&number) {
                    silent.push(format!("{file}:{number}"));
                }
            }
        }
        assert!(
            silent.is_empty(),
            "{}: nothing is told of {}",
            case.name,
            silent.join(", ")
        );
        keys.len()
    };
    corpus("vagrant", 15, &listed);
}

/// The lines of a text on which something begins: a statement of Ruby, a command of a script.
fn significant(name: &str, text: &str) -> Vec<usize> {
    let ruby = name.to_lowercase().ends_with("vagrantfile");
    let sql = name.ends_with(".sql");
    let mut found = Vec::new();
    let mut goes_on = false;
    let mut here: Option<String> = None;
    for (at, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if let Some(end) = &here {
            if trimmed == end {
                here = None;
            }
            continue;
        }
        let first = trimmed.split([' ', '(']).next().unwrap_or_default();
        let nothing = trimmed.is_empty()
            || trimmed.starts_with('#')
            || trimmed.starts_with("--")
            || matches!(
                first,
                "esac"
                    | "end"
                    | "else"
                    | "fi"
                    | "done"
                    | "}"
                    | "]"
                    | ")"
                    | "then"
                    | "do"
                    | "{"
                    | "{}"
                    | "],"
                    | "},"
                    | "})"
                    | "});"
            )
            || (ruby
                && (matches!(
                    first,
                    "if" | "unless" | "elsif" | "case" | "when" | "def" | "for"
                ) || trimmed.contains(".each do")
                    || trimmed.contains(".each_with_index do")
                    || trimmed.contains(".times do")))
            || (!ruby
                && (trimmed.ends_with("() {")
                    || trimmed.starts_with("function ")
                    || first == "while"
                    || trimmed.starts_with("if [")));
        if !nothing && !goes_on && !sql {
            found.push(at + 1);
        }
        goes_on = match ruby {
            true => {
                trimmed.ends_with([',', '[', '{', '+', '|', '('])
                    || (goes_on
                        && !trimmed.starts_with(['}', ']'])
                        && !trimmed.ends_with(']')
                        && !trimmed.ends_with('}'))
            }
            false => {
                trimmed.ends_with('\\')
                    || (goes_on && !trimmed.ends_with('"'))
                    || (trimmed.matches('"').count() % 2 == 1)
            }
        };
        if let Some((_, after)) = trimmed.split_once("<<") {
            let end: String = after
                .trim_start_matches(['-', '~'])
                .trim_start()
                .trim_start_matches(['"', '\''])
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            if !end.is_empty()
                && end
                    .chars()
                    .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
            {
                here = Some(end);
            }
        }
    }
    found
}

/// A Compose file is imported, applied to the engine, works, and plans to nothing; so does one whose application logs in as superuser.
#[test]
fn an_imported_compose_file_is_applied_and_plans_to_nothing() {
    if !engine() {
        return;
    }
    let lab = Lab::new("imported");
    fs::remove_file(lab.path("local.toml")).unwrap();
    let plain = free_port();
    let compose = format!(
        r#"
name: {project}
x-databases: &databases
  DJANGO_DB_HOST: analytics
  DJANGO_DB_PORT: 5432
  DJANGO_DB_NAME: iact_analytics
  DJANGO_DB_USER: django_user
  DJANGO_DB_PASSWORD: import-canary-one
  DJANGO_IVR_HOST: ivr
  DJANGO_IVR_PORT: "3306"
  DJANGO_IVR_NAME: iact_ivr
  DJANGO_IVR_USER: django_user
  DJANGO_IVR_PASSWORD: import-canary-two
services:
  analytics:
    image: postgres:15-bookworm
    command: postgres -c max_connections=60 -c log_min_duration_statement=500ms
    environment:
      POSTGRES_USER: django_user
      POSTGRES_PASSWORD: import-canary-one
      POSTGRES_DB: iact_analytics
    ports: ["127.0.0.1:{postgres}:5432"]
    volumes:
      - data:/var/lib/postgresql/data
      - ./roles.sql:/docker-entrypoint-initdb.d/roles.sql
      - ./environments/iact/sql/analytics:/docker-entrypoint-initdb.d
  ivr:
    image: mariadb:10.11
    environment:
      - MARIADB_DATABASE=iact_ivr
      - MARIADB_USER=django_user
      - MARIADB_PASSWORD=import-canary-two
      - MARIADB_RANDOM_ROOT_PASSWORD=yes
    ports: ["{mariadb}:3306"]
    volumes: ["./environments/iact/sql/ivr:/docker-entrypoint-initdb.d:ro"]
  plain:
    image: postgres:15-bookworm
    environment: {{POSTGRES_PASSWORD: import-canary-three}}
    ports: ["{plain}:5432"]
  web:
    build: ./environments/iact/app
    command: sh -c "python manage.py migrate && python manage.py runserver 0.0.0.0:8000"
    volumes: ["./environments/iact/app:/app"]
    environment:
      <<: *databases
      DJANGO_SECRET_KEY: import-canary-four-{{{{ 7 }}}}
      DJANGO_ALLOWED_HOSTS: localhost,127.0.0.1
      DJANGO_DEBUG: "true"
    ports: ["{web}:8000"]
    healthcheck: {{test: [CMD, curl, -f, "http://localhost:8000/health"]}}
volumes: {{data: }}
"#,
        project = lab.project,
        postgres = lab.postgres,
        mariadb = lab.mariadb,
        web = lab.web,
    );
    let root = lab.folder.path();
    fs::write(root.join("compose.yml"), compose).unwrap();
    fs::write(
        root.join("roles.sql"),
        "CREATE ROLE readers NOLOGIN;\nCREATE ROLE reporting LOGIN PASSWORD 'import-canary-five' IN ROLE readers;\nGRANT SELECT ON ALL TABLES IN SCHEMA public TO readers;\nALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO readers;\nCREATE EXTENSION IF NOT EXISTS citext;\n",
    )
    .unwrap();
    let imported = lab
        .provision(&[
            "import",
            "compose",
            "compose.yml",
            "--strict",
            "--secrets",
            "dotenv",
        ])
        .ends(0);
    assert_eq!(imported.stdout, "environments/local.toml\n");
    let file = fs::read_to_string(lab.path("local.toml")).unwrap();
    assert!(
        !file.contains("canary") && !imported.stderr.contains("canary"),
        "{file}"
    );
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(lab.path(".env")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o7777, 0o600);
    lab.apply();
    lab.nothing_to_do();
    lab.provision(&["verify", "local"]).ends(0);
    let said = lab.psql("iact_analytics", "SHOW max_connections; SELECT rolsuper FROM pg_roles WHERE rolname = 'django_user'; SELECT extname FROM pg_extension WHERE extname = 'citext'");
    assert_eq!(said, "60\nf\ncitext");
    let key = lab
        .provision(&[
            "exec",
            "local",
            "web",
            "--",
            "printenv",
            "DJANGO_SECRET_KEY",
        ])
        .ends(0);
    assert_eq!(key.stdout.trim(), "import-canary-four-{{ 7 }}");
    // The same files give the same file, and one that is there is not written over.
    let again = lab.provision(&[
        "import",
        "compose",
        "compose.yml",
        "--out",
        "environments/local.toml",
    ]);
    assert_eq!(again.code, 3, "{again:?}");
    lab.provision(&[
        "import",
        "compose",
        "compose.yml",
        "--secrets",
        "dotenv",
        "--out",
        "environments/local.toml",
        "--force",
        "--plan",
    ])
    .ends(0);
    lab.nothing_to_do();
    lab.provision(&["destroy", "local", "--yes"]).ends(0);
}

/// The seed's own files become what its text promises, and its traps are none.
#[test]
fn the_seeds_own_files_become_its_environment() {
    for (kind, postgres, mariadb) in [
        ("compose", "postgres", "mariadb"),
        ("vagrant", "db", "mariadb"),
    ] {
        let case = Case::new(kind, &Path::new(FOLDER).join(kind).join("seed"));
        case.import(&["--strict", "--out", "environments/local.toml"]);
        let found =
            provision::environment::load(&case.folder.join("environments"), "local").unwrap();
        let ids: BTreeSet<String> = provision::services::meaning(&found, &Default::default())
            .unwrap()
            .resources
            .iter()
            .map(|resource| resource.id.as_str().to_owned())
            .collect();
        for wanted in [
            format!("postgres_role.{postgres}:django_user"),
            format!("postgres_database.{postgres}:iact_analytics"),
            format!("mariadb_database.{mariadb}:iact_ivr"),
            format!("mariadb_user.{mariadb}:django_user@%"),
        ] {
            assert!(ids.contains(&wanted), "{kind}: {wanted} is not in {ids:?}");
        }
        let text = fs::read_to_string(case.folder.join("environments/local.toml")).unwrap();
        // Both promise 127.0.0.1 and say nothing of an address, which means every network there.
        for listen in ["127.0.0.1:15432", "127.0.0.1:13306"] {
            assert!(
                text.contains(&format!("listen = \"{listen}\"")),
                "{kind}: {text}"
            );
        }
        // Its images' user is superuser, and alpine's image sorts text differently.
        assert!(
            !text.contains("superuser = true") && !text.contains("image = \"postgres:15-alpine"),
            "{kind}: {text}"
        );
        assert!(!text.contains("s3cr3t"), "{kind}: {text}");
    }
}

/// What cannot be read is refused with its place, quickly, and nothing is written.
#[test]
fn bad_input_is_refused_with_a_place() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let huge = fs::File::create(at.join("huge.yml")).unwrap();
    huge.set_len(100 << 20).unwrap();
    fs::write(at.join("deep.yml"), "[".repeat(200_000)).unwrap();
    fs::write(
        at.join("binary.yml"),
        b"services:\n  a:\n    image: \xff\xfe\n",
    )
    .unwrap();
    fs::write(at.join("self.yml"), "include: [self.yml]\nservices: {}\n").unwrap();
    fs::write(
        at.join("nobody.yml"),
        "services:\n  a:\n    extends: nobody\n",
    )
    .unwrap();
    fs::write(at.join("alias.yml"), "services:\n  a: *nobody\n").unwrap();
    let mut bomb = "x0: &x0 {a: 1, b: 2}\n".to_owned();
    for n in 1..40 {
        let before = n - 1;
        bomb.push_str(&format!(
            "x{n}: &x{n} {{l: [*x{before}, *x{before}, *x{before}, *x{before}]}}\n"
        ));
    }
    bomb.push_str("services:\n  a: *x39\n  db:\n    image: postgres:15\n    labels: *x39\n");
    fs::write(at.join("bomb.yml"), bomb).unwrap();
    fs::create_dir(at.join("folder.yml")).unwrap();
    let ruby = at.join("ruby");
    fs::create_dir(&ruby).unwrap();
    let cases = [
        ("compose huge.yml", 3, "`huge.yml` is larger than 4 MiB"),
        ("compose deep.yml", 3, "deep.yml:1:"),
        (
            "compose binary.yml",
            3,
            "`binary.yml` is not UTF-8 text from line 3 on",
        ),
        ("compose self.yml", 3, "`self.yml` includes itself"),
        (
            "compose nobody.yml",
            3,
            "nobody.yml:3: there is no service `nobody` to extend",
        ),
        ("compose alias.yml", 3, "alias.yml:2:6:"),
        ("compose bomb.yml --out -", 0, "not carried over"),
        ("compose folder.yml", 3, "`folder.yml` is a folder"),
        ("env gone", 3, "`gone` does not exist"),
        ("vagrant ruby", 3, "`ruby/Vagrantfile` does not exist"),
    ];
    for (words, code, says) in cases {
        let begun = std::time::Instant::now();
        let mut command = provision();
        command.current_dir(at).arg("import").args(words.split(' '));
        let ran = run(&mut command);
        assert!(
            ran.code == code && ran.stderr.contains(says),
            "{words}: {ran:?}"
        );
        assert!(
            begun.elapsed().as_secs() < 10,
            "{words}: {:?}",
            begun.elapsed()
        );
        assert!(!at.join("environments").exists(), "{words}");
    }
    for (text, code, says) in [
        (
            "x = ".to_owned() + &"1 + ".repeat(50_000) + "1\n",
            0,
            "not carried over",
        ),
        ("(".repeat(100_000), 3, "Vagrantfile:"),
        (
            "[".repeat(100_000) + &"]".repeat(100_000) + "\n",
            0,
            "not carried over",
        ),
        (
            "loop do\n x\nend\ndef f\n f\nend\nf\n".to_owned(),
            0,
            "not carried over",
        ),
        ("x".repeat(300 * 1024), 3, "is larger than 256 KiB"),
    ] {
        fs::write(ruby.join("Vagrantfile"), &text).unwrap();
        let mut command = provision();
        command
            .current_dir(at)
            .args(["import", "vagrant", "ruby", "--out", "-"]);
        let begun = std::time::Instant::now();
        let ran = run(&mut command);
        let head: String = text.chars().take(20).collect();
        assert!(
            ran.code == code && ran.stderr.contains(says),
            "{head}: {ran:?}"
        );
        assert!(
            begun.elapsed().as_secs() < 10,
            "{head}: {:?}",
            begun.elapsed()
        );
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 60, ..Default::default() })]

    /// Whatever a file becomes: it is refused, or every key of it is told, and what is written is valid.
    #[test]
    fn every_key_is_told_whatever_the_file(which in 0usize..1000, from in 0usize..4000, length in 0usize..60, twice in proptest::bool::ANY) {
        use provision::import::{Wishes, account::Outcome, compose, draft::Secrets, env, vagrant};
        let mut all: Vec<(&str, PathBuf)> = Vec::new();
        for kind in ["compose", "env", "vagrant"] {
            let mut folders: Vec<PathBuf> = fs::read_dir(Path::new(FOLDER).join(kind)).unwrap().map(|entry| entry.unwrap().path()).collect();
            folders.sort();
            all.extend(folders.into_iter().map(|folder| (kind, folder)));
        }
        let (kind, folder) = &all[which % all.len()];
        let root = tempfile::tempdir().unwrap();
        let at = root.path().canonicalize().unwrap().join("shop");
        copy(folder, &at);
        let name = match *kind {
            "compose" => "compose.yml",
            "env" => "dotenv",
            _ => "Vagrantfile",
        };
        let file = at.join(name);
        let Ok(text) = fs::read_to_string(&file) else { return Ok(()) };
        let chars: Vec<char> = text.chars().collect();
        let from = from % (chars.len() + 1);
        let to = (from + length).min(chars.len());
        let (before, cut, after): (String, String, String) = (chars[..from].iter().collect(), chars[from..to].iter().collect(), chars[to..].iter().collect());
        let changed = if twice { format!("{before}{cut}{cut}{after}") } else { format!("{before}{after}") };
        fs::write(&file, &changed).unwrap();
        let wishes = Wishes { folder: at.join("environments"), ..Wishes::default() };
        let import = match *kind {
            "compose" => compose::import(&[file], &wishes),
            "env" => env::import(&file, &wishes),
            _ => vagrant::import(&at, &wishes),
        };
        if let Ok(import) = import {
            let count = import.account.count();
            proptest::prop_assert_eq!(count.used + count.listed(), count.total);
            for item in import.account.items() {
                proptest::prop_assert!(item.outcome != Outcome::Pending && item.line > 0);
            }
            let rendered = import.draft.render(Secrets::Env, &import.account);
            proptest::prop_assert!(rendered.text.parse::<toml::Table>().is_ok(), "{}", rendered.text);
        }
    }
}
