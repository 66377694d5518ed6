//! What the `mariadb` client is fed and what comes back. Texts only: nothing here reaches anything.

use super::frames::{frames, rows};
use super::say::clean;
use std::time::Duration;

use crate::command::{Answer, Ask, Dialect, Inquiry, Question, SqlStep, Text};
use crate::ledger;
use crate::quote::identifier;
use crate::secret::Secret;

/// The client.
pub(super) const PROGRAM: &str = "mariadb";

/// The client and its arguments. `force`: go on after an error.
pub(super) fn argv(login: &str, force: bool, init: &str) -> Vec<String> {
    let mut argv = vec![PROGRAM.to_owned()];
    argv.extend(over_socket(login, force, init));
    argv
}

/// Its arguments where it comes in over the server's own socket.
pub(super) fn over_socket(login: &str, force: bool, init: &str) -> Vec<String> {
    let mut args = vec!["--protocol=socket".to_owned()];
    args.extend(options(login, force, init));
    args
}

/// Arguments of `setsid` that start it on a machine, over the network. The first line is one of an option file and holds the password; the shell hands it
/// on through a pipe, and what follows is what the client reads. `read` and `printf` are the shell's own, so no argument holds it.
pub(super) fn over_network(
    login: &str,
    force: bool,
    init: &str,
    host: &str,
    port: u16,
    tls: bool,
) -> Vec<String> {
    const SPLIT: &str = "command -v mariadb > /dev/null || { echo 'there is no mariadb' >&2; exit 127; }; IFS= read -r p; \
        { printf '[client]\\n%s\\n' \"$p\" | mariadb --defaults-extra-file=/dev/fd/4 \"$@\" 4<&0 0<&3; } 3<&0";
    let mut argv = ["--wait", "sh", "-c", SPLIT, PROGRAM]
        .map(str::to_owned)
        .to_vec();
    argv.extend([
        "--protocol=tcp".to_owned(),
        format!("--host={host}"),
        format!("--port={port}"),
        (if tls { "--ssl" } else { "--skip-ssl" }).to_owned(),
    ]);
    argv.extend(options(login, force, init));
    argv
}

/// A password as a line of an option file.
pub(super) fn option(password: &Secret) -> String {
    let mut value = String::new();
    for c in password.expose().chars() {
        match c {
            '\\' => value.push_str("\\\\"),
            '\n' => value.push_str("\\n"),
            '\r' => value.push_str("\\r"),
            '\t' => value.push_str("\\t"),
            c => value.push(c),
        }
    }
    format!("password=\"{value}\"")
}

/// What a client over the network reads.
pub(super) fn with_password(password: &Secret, input: &Secret) -> Secret {
    Secret::new(format!("{}\n{}", option(password), input.expose()))
}

fn options(login: &str, force: bool, init: &str) -> Vec<String> {
    let mut argv = [
        "--batch",
        "--raw",
        "--skip-column-names",
        "--unbuffered",
        "--binary-mode",
        "--skip-reconnect",
        "--default-character-set=utf8mb4",
        "--connect-timeout=10",
    ]
    .map(str::to_owned)
    .to_vec();
    argv.push(format!("--user={login}"));
    argv.push(format!("--init-command={init}"));
    if force {
        argv.push("--force".to_owned());
    }
    argv
}

/// The client's environment: a password that lies about is not ours to use.
pub(super) fn env() -> Vec<String> {
    ["MYSQL_PWD=", "MYSQL_HOST=", "LC_ALL=C.UTF-8"]
        .map(str::to_owned)
        .to_vec()
}

/// A session that only looks.
pub(super) const LOOKING: &str = "SET SESSION max_statement_time = 15, lock_wait_timeout = 5, tx_read_only = 1, \
    sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'";

/// How statements of ours are read, whatever the server's settings say.
const MODE: &str = "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION";

/// A session that changes things. What the server's own `sql_mode` says is for the applications, and for scripts, which set it.
pub(super) fn changing(left: Duration) -> String {
    let most = left.as_secs_f64().clamp(0.001, 31_536_000.0);
    format!("SET SESSION max_statement_time = {most:.3}, sql_mode = '{MODE}'")
}

/// The databases that are there.
const DATABASES: &str = "SELECT JSON_OBJECT('key', SCHEMA_NAME) FROM information_schema.SCHEMATA";
const DATABASES_NAME: &str = "provision databases";

/// A sheet, and the line on which each question begins.
pub(super) fn sheet(
    nonce: &str,
    inquiry: &Inquiry,
    questions: &[Question],
) -> (String, Vec<usize>) {
    let mut text = format!("SELECT CONCAT('{nonce} hello ', IF(@@skip_networking, 1, 0));\n");
    let mut lines = Vec::new();
    let mut ask = |name: &str, query: &str| {
        lines.push(text.matches('\n').count() + 1);
        text.push_str(&format!(
            "SELECT '{nonce} begin {name}';\n{query};\nSELECT CONCAT('{nonce} end {name} ', @@error_count);\n"
        ));
    };
    for question in questions {
        match (question.ask, inquiry.query(question)) {
            (Ask::Ledger(_), _) => ask(
                question.name,
                "SET @provision = IF(EXISTS (SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'provision' AND TABLE_NAME = 'entry'), \
                 'SELECT JSON_OBJECT(\\'key\\', id, \\'digest\\', digest) FROM provision.entry', 'DO 0'); EXECUTE IMMEDIATE @provision",
            ),
            (_, Some(query)) => ask(question.name, &query),
            _ => {}
        }
    }
    ask(DATABASES_NAME, DATABASES);
    text.push_str(&format!("SELECT '{nonce} bye';\n"));
    (text, lines)
}

/// What came back of a sheet.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Whether we got in.
    pub in_: bool,
    /// Whether the server listens to others: during a first start it does not.
    pub listens: bool,
    /// Answers, by question.
    pub answers: Vec<(String, Answer)>,
    /// The databases that are there; `None` where that was not answered.
    pub databases: Option<Vec<String>>,
}

/// Reads what came back of a sheet. A question on whose lines an error was told failed, whatever else came.
pub(super) fn read(output: &[u8], stderr: &str, nonce: &str, lines: &[usize]) -> Seen {
    let mut seen = Seen::default();
    let errors: Vec<_> = stderr.lines().filter_map(read_error).collect();
    let frames = frames(output, nonce);
    let mut asked = 0;
    for (at, frame) in frames.iter().enumerate() {
        let Some(("begin", name)) = split_mark(&frame.words) else {
            if let ["hello", skips] = frame.words.as_slice() {
                seen.in_ = true;
                seen.listens = *skips == "0";
            }
            continue;
        };
        let from = lines.get(asked).copied().unwrap_or(0);
        let to = lines.get(asked + 1).copied().unwrap_or(usize::MAX);
        asked += 1;
        let told = errors.iter().find(|error| (from..to).contains(&error.line));
        let Some(end) = frames.get(at + 1) else {
            continue;
        };
        let Some(("end", of)) = split_mark(&end.words) else {
            continue;
        };
        let Some((of, count)) = of.rsplit_once(' ') else {
            continue;
        };
        if of != name {
            continue;
        }
        let answer = match (count, told) {
            ("0", None) => rows(frame.body),
            (_, Some(error)) => Answer::Unreadable(clean(&error.words(), 300)),
            _ => Answer::Unreadable("the server refused the question".to_owned()),
        };
        match (name.as_str(), answer) {
            (DATABASES_NAME, Answer::Rows(rows)) => {
                seen.databases = Some(rows.keys().into_iter().map(str::to_owned).collect());
            }
            (DATABASES_NAME, _) => {}
            (name, answer) => seen.answers.push((name.to_owned(), answer)),
        }
    }
    seen
}

/// The first word of a mark and the rest of it.
fn split_mark<'a>(words: &[&'a str]) -> Option<(&'a str, String)> {
    let (first, rest) = words.split_first()?;
    Some((first, rest.join(" ")))
}

/// An error as the client tells it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClientError {
    /// MariaDB's number.
    pub number: u32,
    /// On which line of what it was fed; 0 where it says none.
    pub line: usize,
    /// What was said.
    pub message: String,
}

impl ClientError {
    /// For people.
    pub fn words(&self) -> String {
        format!("{} ({})", self.message, self.number)
    }
}

/// `ERROR 1146 (42S02) at line 5: Table 'a.b' doesn't exist`.
pub(super) fn read_error(line: &str) -> Option<ClientError> {
    let rest = line.strip_prefix("ERROR ")?;
    let (number, rest) = rest.split_once(' ')?;
    let (head, message) = rest.split_once(": ")?;
    let at = head
        .split_once("at line ")
        .and_then(|(_, at)| at.trim().parse().ok());
    Some(ClientError {
        number: number.parse().ok()?,
        line: at.unwrap_or(0),
        message: message.trim().to_owned(),
    })
}

/// Steps as one stream; the client stops at the first error.
pub(super) fn steps(nonce: &str, steps: &[(usize, &SqlStep)]) -> Text {
    let mut text = Text::default();
    let mut with_ledger = false;
    for (at, step) in steps {
        text.push_str(&format!("SELECT '{nonce} begin {at}';\n"));
        let writes_ledger = step.remember.is_some() || step.forget.is_some();
        if writes_ledger && !with_ledger {
            text.push_str(ledger::create(Dialect::MariaDb));
            text.push_str("\n");
            with_ledger = true;
        }
        if let Some(database) = &step.database {
            text.push_str(&format!(
                "USE {};\n",
                identifier(Dialect::MariaDb, database)
            ));
        }
        let (before, after) = if step.transaction {
            ("START TRANSACTION;\n", "COMMIT;\n")
        } else {
            ("", "")
        };
        text.push_str(before);
        text.append(step.text.clone());
        text.push_str("\n");
        // A text may end with another delimiter than it began with. An open statement makes the next one wrong, so it is seen.
        text.push_str("DELIMITER ;\n");
        text.push_str(&format!("SELECT '{nonce} ran {at}';\n"));
        if let Some((id, digest)) = &step.remember {
            text.push_str(&ledger::remember(Dialect::MariaDb, id, digest));
            text.push_str("\n");
        }
        if let Some(id) = &step.forget {
            text.push_str(&ledger::forget(Dialect::MariaDb, id));
            text.push_str("\n");
        }
        text.push_str(after);
        text.push_str(&format!("SELECT '{nonce} done {at}';\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const USERS: Question = Question {
        name: "users",
        ask: Ask::MariaDb("SELECT JSON_OBJECT('key', User) FROM mysql.user"),
    };
    const GRANTS: Question = Question {
        name: "grants",
        ask: Ask::MariaDb("SELECT 1"),
    };

    #[test]
    fn a_failed_question_is_not_an_empty_one() {
        let inquiry = Inquiry {
            items: HashMap::from([("users", Vec::new()), ("grants", Vec::new())]),
            ..Inquiry::default()
        };
        let (text, lines) = sheet("N", &inquiry, &[USERS, GRANTS]);
        assert_eq!(lines, [2, 5, 8]);
        assert!(text.lines().nth(1).unwrap().contains("begin users"));
        let output = b"N hello 0\nN begin users\nN end users 0\nN begin grants\nN end grants 0\nN begin provision databases\n{\"key\":\"a\"}\nN end provision databases 0\nN bye\n";
        let stderr = "ERROR 1142 (42000) at line 3: SELECT command denied\n";
        let seen = read(output, stderr, "N", &lines);
        assert!(seen.in_ && seen.listens);
        assert!(
            matches!(&seen.answers[0], (name, Answer::Unreadable(why)) if name == "users" && why.contains("denied (1142)"))
        );
        assert!(matches!(&seen.answers[1], (name, Answer::Rows(_)) if name == "grants"));
        assert_eq!(seen.databases, Some(vec!["a".to_owned()]));
        let seen = read(
            b"N hello 0\nN begin users\nN end users 1\n",
            "",
            "N",
            &lines,
        );
        assert!(matches!(&seen.answers[0].1, Answer::Unreadable(_)));
        assert!(
            read(b"N hello 0\nN begin users\n{}\n", "", "N", &lines)
                .answers
                .is_empty()
        );
    }

    #[test]
    fn errors_are_read() {
        let error =
            read_error("ERROR 1064 (42000) at line 7: You have an error near 'x' at line 1")
                .unwrap();
        assert_eq!((error.number, error.line), (1064, 7));
        assert!(error.message.starts_with("You have"));
        assert_eq!(
            read_error("ERROR 2002 (HY000): Can't connect")
                .unwrap()
                .line,
            0
        );
        assert_eq!(read_error("something else"), None);
    }
}
