//! Values through the encoder of a format and back through the real parser of that format: the same bytes, or refused.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use provision::command::Dialect;
use provision::quote;
use provision::resources::postgres_hba;

use crate::databases::databases;
use crate::lab::compose::compose2;
use crate::lab::server::{Image, Server};
use crate::lab::values::{filtered, interpolated, seeded};
use crate::trial::{Trial, that};

/// Values that go in one trip.
const BATCH: usize = 2000;

/// Where the parsers are.
struct Places<'a> {
    /// PostgreSQL, MariaDB, nginx, systemd and Python.
    full: &'a Server,
    /// Every login shell.
    shells: &'a Server,
}

type Check = fn(&Places<'_>, &[String]) -> Result<(), String>;

const ENCODERS: &[(&str, Check)] = &[
    ("words of sh: dash, bash, busybox, ksh, zsh", shells),
    ("words of sh below 7 login shells", login_shells),
    ("literals of PostgreSQL", postgres_literals),
    ("names of PostgreSQL", postgres_names),
    ("literals of MariaDB", mariadb_literals),
    ("names of MariaDB", mariadb_names),
    ("words of an `Exec` line", exec_words),
    ("an `EnvironmentFile`", env_files),
    ("words of a list in a unit", unit_words),
    ("values of a unit", unit_values),
    ("words of nginx", nginx),
    ("names in `pg_hba.conf`", hba_names),
    ("values in `my.cnf`", options),
    ("strings of Python", python),
    ("YAML of Compose", compose),
];

pub fn quoting(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let on = databases();
    let own = Server::up("shells", Image::Shells);
    let places = Places {
        full: &on.server,
        shells: &own,
    };
    let size = trial.size(80, 100_000);
    let seed = trial.seed;
    for (at, (name, check)) in (0..).zip(ENCODERS) {
        trial.case(*name, || {
            for batch in 0..size.div_ceil(BATCH) {
                let count = BATCH.min(size - batch * BATCH);
                let values = seeded(seed ^ ((at << 32) | batch as u64), count);
                check(&places, &values)?;
            }
            Ok(())
        });
    }
    trial.note(format!("{size} values for each"));
}

/// What a program on a server makes of its stdin; it has to end well.
fn fed(server: &Server, client: &[&str], input: &str) -> Result<Vec<u8>, String> {
    let mut child = Command::new("docker")
        .args(["exec", "-i", &server.container])
        .args(client)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut stdin = child.stdin.take().ok_or("no stdin")?;
    let input = input.to_owned();
    let writer = std::thread::spawn(move || {
        let _ = stdin.write_all(input.as_bytes());
    });
    let output = child
        .wait_with_output()
        .map_err(|error| error.to_string())?;
    let _ = writer.join();
    let said = String::from_utf8_lossy(&output.stderr);
    that(output.status.success(), || format!("{client:?}: {said}"))?;
    Ok(output.stdout)
}

/// That pieces are the values, each as it was.
fn same<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
    values: &[&String],
    by: &str,
) -> Result<(), String> {
    let pieces: Vec<&[u8]> = pieces.collect();
    for (piece, value) in pieces.iter().zip(values) {
        that(*piece == value.as_bytes(), || {
            format!("{value:?} is {:?} by {by}", String::from_utf8_lossy(piece))
        })?;
    }
    that(pieces.len() == values.len(), || {
        format!("{} of {} came back by {by}", pieces.len(), values.len())
    })
}

/// Pieces that each end with a NUL byte.
fn ended(out: &[u8]) -> impl Iterator<Item = &[u8]> {
    out.strip_suffix(b"\0")
        .into_iter()
        .flat_map(|out| out.split(|byte| *byte == 0))
}

/// Lines of hexadecimal digits.
fn unhexed(out: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let text = String::from_utf8_lossy(out);
    let byte = |line: &str, at: usize| {
        let digits = line.get(at..at + 2).unwrap_or("?");
        u8::from_str_radix(digits, 16).map_err(|_| format!("{line:?} is no line of digits"))
    };
    let lines = text.lines().map(|line| line.trim_start_matches('='));
    lines
        .map(|line| {
            (0..line.len())
                .step_by(2)
                .map(|at| byte(line, at))
                .collect()
        })
        .collect()
}

fn same_hex(out: &[u8], values: &[&String], by: &str) -> Result<(), String> {
    let pieces = unhexed(out)?;
    same(pieces.iter().map(Vec::as_slice), values, by)
}

fn all(values: &[String]) -> Vec<&String> {
    values.iter().collect()
}

/// Puts a text into a file of a server.
fn put(server: &Server, text: &str, to: &str) -> Result<(), String> {
    let write = format!("mkdir -p \"$(dirname {to})\" && cat > {to}");
    fed(server, &["sh", "-c", &write], text).map(drop)
}

fn printed(values: &[String]) -> String {
    let lines = values.iter();
    lines
        .map(|value| format!("printf '%s\\0' {}\n", quote::word(value)))
        .collect()
}

fn shells(places: &Places<'_>, values: &[String]) -> Result<(), String> {
    for shell in [
        &["dash"][..],
        &["bash", "--posix"],
        &["busybox", "sh"],
        &["ksh"],
        &["zsh", "--emulate", "sh"],
    ] {
        let out = fed(places.shells, shell, &printed(values))?;
        same(ended(&out), &all(values), shell[0])?;
    }
    Ok(())
}

fn login_shells(places: &Places<'_>, values: &[String]) -> Result<(), String> {
    // The constant command of a session, and a first line that takes the rest.
    let command = "exec /bin/sh -c 'IFS= read -r b && eval \"$b\"'";
    let input = format!("_c=$(cat); eval \"$_c\"\n{}", printed(values));
    for shell in ["bash", "dash", "zsh", "ksh", "fish", "tcsh", "busybox"] {
        let user = format!("s-{shell}");
        let out = fed(places.shells, &["su", "-", &user, "-c", command], &input)?;
        same(ended(&out), &all(values), shell)?;
    }
    Ok(())
}

const PSQL: [&str; 8] = [
    "runuser",
    "-u",
    "postgres",
    "--",
    "psql",
    "-XAtq",
    "-v",
    "ON_ERROR_STOP=1",
];

fn postgres_literals(places: &Places<'_>, values: &[String]) -> Result<(), String> {
    for setting in ["on", "off"] {
        let mut sql = format!(
            "SET standard_conforming_strings = {setting};\nSET escape_string_warning = off;\n\\set x taken\n"
        );
        for value in values {
            let literal = quote::literal(Dialect::Postgres, value);
            let _ = writeln!(sql, "SELECT encode(convert_to({literal}, 'UTF8'), 'hex');");
        }
        same_hex(&fed(places.full, &PSQL, &sql)?, &all(values), setting)?;
    }
    Ok(())
}

fn postgres_names(places: &Places<'_>, values: &[String]) -> Result<(), String> {
    let (names, sql) = crate::lab::names_of_postgres(values);
    same_hex(&fed(places.full, &PSQL, &sql)?, &names, "psql")
}

const MARIADB: [&str; 3] = ["mariadb", "-N", "--default-character-set=utf8mb4"];

fn mariadb_literals(places: &Places<'_>, values: &[String]) -> Result<(), String> {
    for mode in ["", "ANSI_QUOTES,NO_BACKSLASH_ESCAPES"] {
        let mut sql = format!("SET NAMES utf8mb4; SET sql_mode = '{mode}';\n");
        for value in values {
            let literal = quote::literal(Dialect::MariaDb, value);
            let _ = writeln!(sql, "SELECT CONCAT('=', LOWER(HEX({literal})));");
        }
        same_hex(&fed(places.full, &MARIADB, &sql)?, &all(values), mode)?;
    }
    Ok(())
}

fn mariadb_names(places: &Places<'_>, values: &[String]) -> Result<(), String> {
    // Names with other characters are refused before they get this far.
    let carried = |name: &&String| {
        let plain = |c: char| u32::from(c) < 0x1_0000 && !c.is_control();
        (1..=64).contains(&name.chars().count())
            && name.chars().all(plain)
            && name.trim() == name.as_str()
    };
    let names: Vec<&String> = values.iter().filter(carried).collect();
    let mut sql = String::from("SET NAMES utf8mb4;\n");
    for name in &names {
        let quoted = quote::identifier(Dialect::MariaDb, name);
        let _ = writeln!(sql, "SELECT 1 AS {quoted};");
    }
    let client = [
        "mariadb",
        "--batch",
        "--raw",
        "--column-names",
        "--default-character-set=utf8mb4",
    ];
    let out = fed(places.full, &client, &sql)?;
    let lines: Vec<&[u8]> = out
        .strip_suffix(b"\n")
        .unwrap_or(&out)
        .split(|byte| *byte == b'\n')
        .collect();
    same(lines.iter().step_by(2).copied(), &names, "mariadb")
}

/// What a unit's program says on its stdout.
fn unit(places: &Places<'_>, text: &str) -> Result<Vec<u8>, String> {
    let text = format!("[Service]\nType=oneshot\nStandardOutput=truncate:/run/lab-said\n{text}");
    put(places.full, &text, "/run/systemd/system/lab-words.service")?;
    let start = "systemctl daemon-reload && systemctl start lab-words.service && cat /run/lab-said";
    fed(places.full, &["sh", "-c", start], "")
}

const ENVIRON: &str = "ExecStart=/bin/cat /proc/self/environ\n";

/// The variables `V0`, `V1` and so on of an environment, as far as they are wanted.
fn variables(out: &[u8], wanted: &[(usize, &String)], by: &str) -> Result<(), String> {
    let heard: std::collections::HashSet<&[u8]> = ended(out).collect();
    for (number, value) in wanted {
        let variable = format!("V{number}={value}");
        that(heard.contains(variable.as_bytes()), || {
            let head = format!("V{number}=");
            let came = heard.iter().find(|one| one.starts_with(head.as_bytes()));
            let came = came.map(|one| String::from_utf8_lossy(one).into_owned());
            format!("{variable:?} is {came:?} by {by}")
        })?;
    }
    that(wanted.len() * 4 > 100, || {
        "nearly all are refused".to_owned()
    })
}

fn exec_words(places: &Places<'_>, values: &[String]) -> Result<(), String> {
    let mut words = vec!["/usr/bin/printf".to_owned(), "%s\\0".to_owned()];
    words.extend(values.iter().cloned());
    let line = quote::exec_line(&words).ok_or("a value is refused")?;
    let out = unit(places, &format!("ExecStart={line}\n"))?;
    same(ended(&out), &all(values), "systemd")
}

fn env_files(places: &Places<'_>, values: &[String]) -> Result<(), String> {
    let mut text = String::new();
    let mut wanted = Vec::new();
    for (number, value) in values.iter().enumerate() {
        match quote::env_line(&format!("V{number}"), value) {
            Some(line) => {
                text.push_str(&line);
                wanted.push((number, value));
            }
            None => that(value.chars().any(char::is_control), || {
                format!("{value:?} is refused for no reason")
            })?,
        }
    }
    put(places.full, &text, "/run/lab.env")?;
    let out = unit(places, &format!("EnvironmentFile=/run/lab.env\n{ENVIRON}"))?;
    variables(&out, &wanted, "EnvironmentFile")
}

fn unit_words(places: &Places<'_>, values: &[String]) -> Result<(), String> {
    let mut text = String::new();
    let mut wanted = Vec::new();
    for (number, value) in values.iter().enumerate() {
        if let Some(word) = quote::unit_word(&format!("V{number}={value}")) {
            let _ = writeln!(text, "Environment={word}");
            wanted.push((number, value));
        }
    }
    let out = unit(places, &format!("{text}{ENVIRON}"))?;
    variables(&out, &wanted, "Environment")
}

fn unit_values(places: &Places<'_>, values: &[String]) -> Result<(), String> {
    let carried: Vec<(&String, String)> = values
        .iter()
        .filter_map(|value| Some((value, quote::unit_value(value)?)))
        .filter(|(value, _)| !value.is_empty())
        .collect();
    for some in carried.chunks(100) {
        let lines: String = some.iter().map(|(_, text)| format!("{text}\n")).collect();
        let write = "n=0; while IFS= read -r text; do printf '[Unit]\\nDescription=%s\\n' \"$text\" > /run/systemd/system/lab-d$n.service; n=$((n + 1)); done
             systemctl daemon-reload; i=0; while [ $i -lt $n ]; do printf 'lab-d%s.service\\n' $i; i=$((i + 1)); done | xargs systemctl show -p Description --value";
        let out = fed(places.full, &["sh", "-c", write], &lines)?;
        let shown: Vec<&[u8]> = out
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .collect();
        let wanted: Vec<&String> = some.iter().map(|(value, _)| *value).collect();
        same(shown.into_iter(), &wanted, "systemctl show")?;
    }
    Ok(())
}

fn nginx(places: &Places<'_>, values: &[String]) -> Result<(), String> {
    let mut text = String::from(
        "pid /run/lab-nginx.pid;\nerror_log /dev/null;\nevents {}\nhttp {\naccess_log off;\nkeepalive_requests 100000;\nserver {\nlisten 127.0.0.1:18099;\n",
    );
    let mut wanted = Vec::new();
    for value in values {
        match quote::nginx(value) {
            Some(word) => {
                let _ = writeln!(
                    text,
                    "location = /{} {{ return 200 {word}; }}",
                    wanted.len()
                );
                wanted.push(value);
            }
            None => that(value.contains(|c: char| c == '$' || c.is_control()), || {
                format!("{value:?} is refused for no reason")
            })?,
        }
    }
    text.push_str("}\n}\n");
    put(places.full, &text, "/run/lab-nginx.conf")?;
    const ASK: &str = "import http.client, sys, time
for _ in range(100):
    try:
        c = http.client.HTTPConnection('127.0.0.1', 18099, timeout=60); c.connect(); break
    except OSError: time.sleep(0.1)
for n in range(int(sys.argv[1])):
    c.request('GET', '/%d' % n); r = c.getresponse(); b = r.read()
    assert r.status == 200, (n, r.status)
    print('=' + b.hex())
";
    put(places.full, ASK, "/run/lab-ask.py")?;
    let ask = format!(
        "nginx -c /run/lab-nginx.conf && {{ python3 /run/lab-ask.py {}; r=$?; pid=$(cat /run/lab-nginx.pid); kill \"$pid\"; while kill -0 \"$pid\" 2> /dev/null; do sleep 0.05; done; exit $r; }}",
        wanted.len()
    );
    let out = fed(places.full, &["sh", "-c", &ask], "")?;
    same_hex(&out, &wanted, "nginx")
}

fn hba_names(places: &Places<'_>, values: &[String]) -> Result<(), String> {
    // A name with a control character is refused before it gets this far, and none is longer than 63 bytes.
    let carried = |name: &&String| {
        (1..=63).contains(&name.len()) && !name.chars().any(char::is_control) && *name != "all"
    };
    let names: Vec<&String> = values.iter().filter(carried).collect();
    let mut text = String::from("local all postgres peer\n");
    for name in &names {
        let quoted = postgres_hba::names([name.as_str()]);
        let _ = writeln!(text, "host {quoted} {quoted} 127.0.0.1/32 reject");
    }
    let hba = "/etc/postgresql/15/main/pg_hba.conf";
    // It is looked at and never read.
    let ask = format!(
        "cp -p {hba} /run/lab-hba && cat > {hba} && runuser -u postgres -- psql -XAtqc \"SELECT coalesce('=' || encode(convert_to(database[1], 'UTF8'), 'hex'), error) FROM pg_hba_file_rules WHERE type = 'host' OR type IS NULL ORDER BY line_number\" \
         -c \"SELECT 'other ' || line_number FROM pg_hba_file_rules WHERE database <> user_name AND type = 'host'\"; r=$?; cp -p /run/lab-hba {hba}; exit $r"
    );
    let out = fed(places.full, &["sh", "-c", &ask], &text)?;
    same_hex(&out, &names, "pg_hba_file_rules")
}

fn options(places: &Places<'_>, values: &[String]) -> Result<(), String> {
    let mut text = String::from("[test]\n");
    let mut wanted = Vec::new();
    for value in values {
        match filtered("cnf", value) {
            Ok(written) => {
                let _ = writeln!(text, "option = {written}");
                wanted.push(format!("--option={value}"));
            }
            Err(_) => that(value.chars().any(char::is_control), || {
                format!("{value:?} is refused for no reason")
            })?,
        }
    }
    let read = "cat > /run/lab.cnf && my_print_defaults --defaults-file=/run/lab.cnf test";
    let out = fed(places.full, &["sh", "-c", read], &text)?;
    let lines = out.strip_suffix(b"\n").unwrap_or(&out);
    same(
        lines.split(|byte| *byte == b'\n'),
        &wanted.iter().collect::<Vec<_>>(),
        "my_print_defaults",
    )
}

fn python(places: &Places<'_>, values: &[String]) -> Result<(), String> {
    let mut text = String::from("import sys\nw = sys.stdout.buffer.write\n");
    for value in values {
        let _ = writeln!(text, "w({}.encode() + b'\\0')", quote::python(value));
    }
    let out = fed(places.full, &["python3", "-"], &text)?;
    same(ended(&out), &all(values), "python3")
}

fn compose(_: &Places<'_>, values: &[String]) -> Result<(), String> {
    let mut text = String::from("services:\n  x:\n    image: x\n    environment:\n");
    for (at, value) in values.iter().enumerate() {
        let _ = writeln!(text, "      V{at}: {}", filtered("compose", value)?);
    }
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    std::fs::write(folder.path().join("docker-compose.yml"), &text)
        .map_err(|error| error.to_string())?;
    let model = compose2(folder.path(), &["config", "--format", "json"])
        .ends(0)
        .json();
    for (at, value) in values.iter().enumerate() {
        let found = &model["services"]["x"]["environment"][format!("V{at}")];
        let found = found
            .as_str()
            .ok_or_else(|| format!("{value:?} is {found}"))?;
        that(interpolated(found) == *value, || {
            format!("{value:?} is {found:?} by Compose")
        })?;
    }
    Ok(())
}
