//! One encoder a target language, each against the real parser of that language.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::test_runner::Config;
use provision::command::Dialect;
use provision::quote;
use provision::show::variables::{dotenv, export};
use serde_json::Value;

use crate::lab::compose::{compose1, compose2};
use crate::lab::values::{filtered, hostile, interpolated, many};
use crate::lab::{Lab, Ran, engine, run};

fn cases(number: u32) -> Config {
    Config {
        failure_persistence: None,
        ..Config::with_cases(number)
    }
}

/// Runs a shell script on stdin-less `sh` and takes what it printed, byte by byte.
fn sh(script: &str) -> Vec<u8> {
    let mut child = Command::new("/bin/sh")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .env_clear()
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = script.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{script}");
    output.stdout
}

proptest! {
    #![proptest_config(cases(4096))]

    /// A value in a Compose file is the same after a YAML parser and after Compose's own variables, wherever it stands.
    #[test]
    fn a_compose_value_is_what_it_was(value in hostile()) {
        let written = filtered("compose", &value).unwrap();
        for around in ["VALUE\n", "a: VALUE\nb: 1\n", "a:\n  - VALUE\n  - x\n", "a:\n  b:\n    c: VALUE\n"] {
            let text = around.replace("VALUE", &written);
            let parsed: Value = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}"));
            let inner = match &parsed {
                Value::Object(map) => match &map["a"] {
                    Value::Array(items) => items[0].clone(),
                    Value::Object(b) => b["b"].get("c").cloned().unwrap_or_default(),
                    other => other.clone(),
                },
                other => other.clone(),
            };
            let inner = match around.contains("c: ") {
                true => parsed["a"]["b"]["c"].clone(),
                false => inner,
            };
            let text_inside = inner.as_str().unwrap_or_else(|| panic!("{value:?} is no text any more in {text:?}"));
            prop_assert_eq!(interpolated(text_inside), value.as_str());
        }
    }

    /// An option file takes a value in one line, or it is refused: no value begins a line of its own.
    #[test]
    fn an_option_stays_in_its_line(value in hostile()) {
        match filtered("cnf", &value) {
            Ok(text) => prop_assert!(!text.chars().any(char::is_control)),
            Err(_) => prop_assert!(value.chars().any(char::is_control)),
        }
    }
}

#[test]
fn words_of_a_shell_are_what_they_were() {
    let values = many(4096);
    let script: String = values
        .iter()
        .map(|value| format!("printf '%s\\0' {}\n", quote::word(value)))
        .collect();
    let expected: Vec<u8> = values
        .iter()
        .flat_map(|value| [value.as_bytes(), b"\0"].concat())
        .collect();
    let got = sh(&script);
    for (got, value) in got.split(|byte| *byte == 0).zip(&values) {
        assert_eq!(got, value.as_bytes(), "{value:?} as {}", quote::word(value));
    }
    assert_eq!(got, expected);
}

#[test]
fn exported_variables_are_what_they_were() {
    let values = many(2048);
    let mut script = String::new();
    let mut expected = Vec::new();
    for value in &values {
        script.push_str(&export("VALUE", value).unwrap());
        script.push_str("printf '%s\\0' \"$VALUE\"\n");
        expected.extend([value.as_bytes(), b"\0"].concat());
    }
    assert_eq!(sh(&script), expected);
    assert!(export("VALUE", "a\0b").is_err());
}

/// A line of a `.env` file that is written is read alike by `sh` (`. ./.env`); what its readers disagree about is refused.
#[test]
fn lines_of_a_dotenv_file_are_what_they_were_or_refused() {
    let (mut script, mut expected, mut refused) = (String::new(), Vec::new(), 0);
    for value in many(4096) {
        let Ok(line) = dotenv("VALUE", &value) else {
            refused += 1;
            assert!(
                value.contains(['\'', '\\', '$', '\n', '\r']),
                "{value:?} is refused for no reason"
            );
            continue;
        };
        assert_eq!(line.matches('\n').count(), 1, "{line:?}");
        script.push_str(&line);
        script.push_str("printf '%s\\0' \"$VALUE\"\n");
        expected.extend([value.as_bytes(), b"\0"].concat());
    }
    assert_eq!(sh(&script), expected);
    assert!((100..4000).contains(&refused), "{refused}");
}

/// Both Composes, each with its own parser, read every value of a file as what it was.
#[test]
fn compose_values_are_what_they_were_in_both_composes() {
    if !engine() {
        return;
    }
    let values = many(2000);
    let mut text = String::from("services:\n  x:\n    image: x\n    environment:\n");
    for (at, value) in values.iter().enumerate() {
        let _ = writeln!(text, "      V{at}: {}", filtered("compose", value).unwrap());
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("docker-compose.yml"), &text).unwrap();
    // 1.29 is a Python program; how it would print a value again is its own affair.
    compose1(folder.path(), &["config", "-q"]).ends(0);
    let python = "import json, sys, yaml; json.dump(yaml.safe_load(open('docker-compose.yml', encoding='utf-8')), sys.stdout)";
    let read = run(Command::new("/usr/bin/python3")
        .args(["-c", python])
        .current_dir(folder.path()));
    let config = compose2(folder.path(), &["config", "--format", "json"]);
    for (ran, name) in [(read, "1.29"), (config, "2.26")] {
        let model = ran.ends(0).json();
        for (at, value) in values.iter().enumerate() {
            let found = &model["services"]["x"]["environment"][format!("V{at}")];
            let found = found
                .as_str()
                .unwrap_or_else(|| panic!("{name}: {value:?} is {found}"));
            assert_eq!(interpolated(found), value.as_str(), "{name}");
        }
    }
}

/// A server of each sort, with nothing in it.
const SERVERS: &str = r#"
[environment]
project = "PROJECT"
[postgres.analytics]
[mariadb.ivr]
"#;

/// What a client of a container said to a program's input.
fn ask(lab: &Lab, service: &str, client: &[&str], input: &str) -> Ran {
    let mut child = Command::new("docker")
        .args(["exec", "-i", &lab.container(service)])
        .args(client)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || {
        let _ = stdin.write_all(input.as_bytes());
    });
    let ran = Ran::of(child.wait_with_output().unwrap());
    writer.join().unwrap();
    ran.ends(0)
}

fn hexed(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn sql_and_options_are_what_they_were_on_real_servers() {
    if !engine() {
        return;
    }
    let lab = Lab::with("encoders", SERVERS);
    lab.apply();
    let values = many(3000);
    postgres(&lab, &values);
    mariadb(&lab, &values);
    options(&lab, &values);
}

/// Every literal and every identifier comes back as the bytes it was, whatever the server's settings say of backslashes.
fn postgres(lab: &Lab, values: &[String]) {
    for setting in ["on", "off"] {
        let mut sql = format!(
            "SET standard_conforming_strings = {setting};\nSET escape_string_warning = off;\n\\set x taken\n"
        );
        for value in values {
            let _ = writeln!(
                sql,
                "SELECT encode(convert_to({}, 'UTF8'), 'hex');",
                quote::literal(Dialect::Postgres, value)
            );
        }
        let client = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-U", "postgres"];
        let ran = ask(lab, "analytics", &client, &sql);
        let lines: Vec<&str> = ran.stdout.lines().collect();
        assert_eq!(lines.len(), values.len());
        for (value, line) in values.iter().zip(lines) {
            assert_eq!(line, hexed(value), "{value:?}");
        }
    }
    let (names, sql) = crate::lab::names_of_postgres(values);
    let client = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-U", "postgres"];
    let ran = ask(lab, "analytics", &client, &sql);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), names.len());
    for (name, line) in names.iter().zip(lines) {
        assert_eq!(line, hexed(name), "{name:?}");
    }
}

fn mariadb(lab: &Lab, values: &[String]) {
    for mode in ["", "ANSI_QUOTES,NO_BACKSLASH_ESCAPES"] {
        let mut sql = format!("SET NAMES utf8mb4; SET sql_mode = '{mode}';\n");
        for value in values {
            let _ = writeln!(
                sql,
                "SELECT CONCAT('=', LOWER(HEX({})));",
                quote::literal(Dialect::MariaDb, value)
            );
        }
        let client = ["mariadb", "-N", "--default-character-set=utf8mb4"];
        let ran = ask(lab, "ivr", &client, &sql);
        let lines: Vec<&str> = ran.stdout.lines().collect();
        assert_eq!(lines.len(), values.len());
        for (value, line) in values.iter().zip(lines) {
            assert_eq!(
                line,
                format!("={}", hexed(value)),
                "{value:?} in mode `{mode}`"
            );
        }
    }
    // A name of MariaDB is of the Basic Multilingual Plane, does not end with a space, has at most 64 characters; and since its
    // client turns CR LF into LF even between backticks, no name with a control character gets this far (see `names.toml`).
    let names: Vec<&String> = values
        .iter()
        .filter(|name| {
            (1..=64).contains(&name.chars().count())
                && name
                    .chars()
                    .all(|c| u32::from(c) < 0x1_0000 && !c.is_control())
                && name.trim_end() == name.as_str()
        })
        .collect();
    let names = &names[..names.len().min(250)];
    let mut sql = String::from("SET NAMES utf8mb4; CREATE DATABASE names; USE names;\n");
    for name in names {
        let quoted = quote::identifier(Dialect::MariaDb, name);
        let _ = writeln!(
            sql,
            "CREATE OR REPLACE TABLE one ({quoted} INT) ENGINE = MEMORY;\nSELECT CONCAT('=', LOWER(HEX(column_name))) FROM information_schema.columns WHERE table_schema = 'names';"
        );
    }
    let ran = ask(
        lab,
        "ivr",
        &["mariadb", "-N", "--default-character-set=utf8mb4"],
        &sql,
    );
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), names.len());
    for (name, line) in names.iter().zip(lines) {
        assert_eq!(line, format!("={}", hexed(name)), "{name:?}");
    }
}

/// Options through `my_print_defaults`, the parser of MariaDB's own programs.
fn options(lab: &Lab, values: &[String]) {
    let mut text = String::from("[test]\n");
    let mut wanted = Vec::new();
    for value in values {
        if let Ok(written) = filtered("cnf", value) {
            let _ = writeln!(text, "option = {written}");
            wanted.push(format!("--option={value}"));
        }
    }
    assert!(wanted.len() > 1000, "{}", wanted.len());
    let read = [
        "sh",
        "-c",
        "cat > /tmp/x.cnf && my_print_defaults --defaults-file=/tmp/x.cnf test",
    ];
    let ran = ask(lab, "ivr", &read, &text);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), wanted.len());
    for (line, wanted) in lines.iter().zip(&wanted) {
        assert_eq!(line, wanted);
    }
}
