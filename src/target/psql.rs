//! What `psql` is fed and what comes back. Texts only: nothing here reaches anything.

use super::frames::{Frame, frames, rows};
use super::say::clean;
use std::time::Duration;

use crate::command::{Answer, Ask, Dialect, Inquiry, Question, SqlStep};
use crate::ledger;
use crate::quote::{literal, psql_connect};
use crate::secret::Secret;

/// The client and its arguments; who comes in is no secret. Read with `-f -`, it tells the line of an error.
pub(super) fn argv(login: &str) -> Vec<String> {
    // Debian's `psql` is a Perl program that looks for the real one, and takes longer for it than we do for everything we ask.
    const REAL: &str = "p=/usr/lib/postgresql/${PG_MAJOR:-15}/bin/psql; [ -x \"$p\" ] || p=psql; exec \"$p\" \"$@\"";
    [
        "sh", "-c", REAL, "psql", "-XAtq", "-w", "-f", "-", "-U", login, "-d", "postgres",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// The exit statuses that say that there is no client, or no user that it runs as, and so no server yet.
pub(super) const NOT_THERE: [i32; 2] = [127, 77];

/// The clients on a machine. The user and the program come with the package: without them there is no server.
pub(super) const PROGRAMS: &str = "/usr/lib/postgresql/15/bin/psql psql";

/// Arguments of the client on a machine, over the socket that has the port's number.
pub(super) fn over_socket(login: &str, port: u16, options: &str) -> Vec<String> {
    let port = port.to_string();
    let mut args = ["-XAtq", "-w", "-f", "-", "-h", "/var/run/postgresql"]
        .map(str::to_owned)
        .to_vec();
    args.extend(connection(login, &port, None, options));
    args
}

/// Arguments of `setsid` that start the client on a machine, over the network. Its first line is the password: without a terminal,
/// which it does not get, that is where it asks for it.
pub(super) fn over_network(
    login: &str,
    database: Option<&str>,
    host: &str,
    port: u16,
    options: &str,
) -> Vec<String> {
    const THERE: &str = "p=/usr/lib/postgresql/15/bin/psql; [ -x \"$p\" ] || p=$(command -v psql) || { echo 'there is no psql' >&2; exit 127; }; exec \"$p\" \"$@\"";
    let port = port.to_string();
    let mut args = [
        "--wait", "sh", "-c", THERE, "psql", "-XAtq", "-W", "-f", "-", "-h", host,
    ]
    .map(str::to_owned)
    .to_vec();
    args.extend(connection(login, &port, database, options));
    args
}

/// What leads a client nowhere else: all that could stand in its environment, which is bare. One that goes to another database
/// keeps it.
fn connection(login: &str, port: &str, database: Option<&str>, options: &str) -> [String; 6] {
    let quoted = |value: &str| format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"));
    let info = format!(
        "dbname={} client_encoding=UTF8 application_name=provision connect_timeout=10 options={}",
        quoted(database.unwrap_or("postgres")),
        quoted(options)
    );
    ["-p", port, "-U", login, "-d", &info].map(str::to_owned)
}

/// What a client over the network reads.
pub(super) fn with_password(password: &Secret, input: &Secret) -> Secret {
    Secret::new(format!("{}\n{}", password.expose(), input.expose()))
}

/// The client's environment: nothing of the container's leads it elsewhere.
pub(super) fn env(options: &str) -> Vec<String> {
    [
        "PGHOST=",
        "PGHOSTADDR=",
        "PGCLIENTENCODING=UTF8",
        "PGAPPNAME=provision",
        "PGCONNECT_TIMEOUT=10",
        "LC_ALL=C.UTF-8",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain([format!("PGOPTIONS={options}")])
    .collect()
}

/// Settings of a session that only looks: nothing of a user's schema stands in for what we name, nothing is written, and nothing
/// is compiled for questions that take milliseconds.
pub(super) const LOOKING: &str = "-c default_transaction_read_only=on -c search_path=pg_catalog -c client_min_messages=error \
    -c statement_timeout=15000 -c lock_timeout=5000 -c jit=off -c max_parallel_workers_per_gather=0";

/// A sheet for one server: its questions, then those of each of its databases that is there; without `each` only whether they
/// are there. `marked`: databases with a ledger have a mark, as superusers make it.
pub(super) fn sheet(
    nonce: &str,
    inquiry: &Inquiry,
    marked: bool,
    server: &[Question],
    databases: &[&str],
    each: Option<&[Vec<Question>]>,
) -> String {
    let mut text = format!("\\echo {nonce} hello\n");
    // Passwords are in a table that superusers may read; the view that everybody may read is like it without them.
    text.push_str("SELECT *");
    for at in 0..databases.len() {
        text.push_str(&format!(", is_{at} = 'there' AS go_{at}"));
    }
    text.push_str(
        " FROM (SELECT current_setting('listen_addresses') <> '' AS listens,\n \
         CASE WHEN has_table_privilege('pg_authid', 'SELECT') THEN 'pg_authid' ELSE 'pg_roles' END AS provision_roles",
    );
    for (at, database) in databases.iter().enumerate() {
        // One in which nothing is declared and that has no ledger is not entered.
        let open = match !marked || inquiry.inside.contains(*database) {
            true => "'there'".to_owned(),
            false => format!("CASE WHEN {} THEN 'there' ELSE 'quiet' END", ledger::MARKED),
        };
        text.push_str(&format!(
            ",\n coalesce((SELECT CASE WHEN datallowconn THEN {open} ELSE 'closed' END FROM pg_database d WHERE datname = {}), 'absent') AS is_{at}",
            literal(Dialect::Postgres, database)
        ));
    }
    text.push_str(") seen \\gset\n");
    text.push_str(&format!("\\echo {nonce} listens :listens\n"));
    for question in server {
        ask(&mut text, nonce, inquiry, question);
    }
    for (at, database) in databases.iter().enumerate() {
        let Some(each) = each else {
            text.push_str(&format!("\\echo {nonce} database {at} :is_{at}\n"));
            continue;
        };
        text.push_str(&format!(
            "\\echo {nonce} database {at} :is_{at}\n\\if :{{?go_{at}}}\n\\if :go_{at}\n"
        ));
        text.push_str(&psql_connect(database));
        text.push_str(&format!("\\echo {nonce} connected {at}\n"));
        for question in each.get(at).into_iter().flatten() {
            ask(&mut text, nonce, inquiry, question);
        }
        text.push_str("\\endif\n\\endif\n");
    }
    text.push_str(&format!("\\echo {nonce} bye\n"));
    text
}

/// One question: its rows, then whether it failed and what was said about that.
fn ask(text: &mut String, nonce: &str, inquiry: &Inquiry, question: &Question) {
    let name = question.name;
    text.push_str(&format!("\\echo {nonce} begin {name}\n"));
    match (question.ask, inquiry.query(question)) {
        (Ask::Ledger(_), _) => text.push_str(
            "\\set is_there f\nSELECT coalesce(CASE WHEN has_schema_privilege(to_regnamespace('provision'), 'USAGE') \
             THEN has_table_privilege(to_regclass('provision.entry'), 'SELECT') END, false) AS is_there \\gset\n\\if :is_there\n\
             SELECT row_to_json(q) FROM (SELECT id AS key, digest FROM provision.entry) q;\n\\endif\n",
        ),
        (_, Some(query)) => {
            text.push_str(&format!("SELECT row_to_json(q) FROM (\n{query}\n) q;\n"));
        }
        _ => {}
    }
    text.push_str(&format!(
        "\\echo {nonce} end {name} :ERROR :SQLSTATE\n\\if :ERROR\n\\echo :LAST_ERROR_MESSAGE\n\\endif\n\\echo {nonce} said {name}\n"
    ));
}

/// What came back of a sheet.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Whether we got in.
    pub in_: bool,
    /// Whether the server listens to others: during a first start it does not.
    pub listens: bool,
    /// Answers of the server, by question.
    pub server: Vec<(String, Answer)>,
    /// What is known of each database, by its place in the list.
    pub databases: Vec<SeenDatabase>,
    /// Whether the sheet was answered to its end.
    pub whole: bool,
}

/// What came back of a database.
#[derive(Debug, Default)]
pub(super) struct SeenDatabase {
    /// `there`, `quiet` (there, and not entered), `absent`, `closed`; empty where nothing came.
    pub is: String,
    /// Whether we got into it.
    pub connected: bool,
    /// Its answers, by question.
    pub answers: Vec<(String, Answer)>,
}

/// Reads what came back of a sheet.
pub(super) fn read(output: &[u8], nonce: &str) -> Seen {
    let frames = frames(output, nonce);
    let mut seen = Seen::default();
    for (at, frame) in frames.iter().enumerate() {
        match frame.words.as_slice() {
            ["hello"] => seen.in_ = true,
            ["listens", word] => seen.listens = *word == "t",
            ["database", _, is] => seen.databases.push(SeenDatabase {
                is: (*is).to_owned(),
                ..SeenDatabase::default()
            }),
            ["connected", _] => {
                if let Some(database) = seen.databases.last_mut() {
                    database.connected = true;
                }
            }
            ["begin", name] => {
                if let Some(answer) = one_answer(&frames, at, name) {
                    let answers = seen
                        .databases
                        .last_mut()
                        .map_or(&mut seen.server, |database| &mut database.answers);
                    answers.push(((*name).to_owned(), answer));
                }
            }
            ["bye"] => seen.whole = true,
            _ => {}
        }
    }
    seen
}

/// The answer that begins at a frame; `None` where it was not finished.
fn one_answer(frames: &[Frame<'_>], at: usize, name: &str) -> Option<Answer> {
    let [begin, end, said, ..] = frames.get(at..)? else {
        return None;
    };
    if said.words != ["said", name] {
        return None;
    }
    match end.words.as_slice() {
        ["end", of, "false", _] if *of == name => Some(rows(begin.body)),
        ["end", of, "true", state] if *of == name => {
            let message = clean(&String::from_utf8_lossy(end.body), 300);
            Some(Answer::Unreadable(format!(
                "{message} ({})",
                clean(state, 10)
            )))
        }
        _ => None,
    }
}

/// Settings of a session that changes things.
pub(super) fn changing(left: Duration) -> String {
    let most = left.as_millis().clamp(1, 2_000_000_000);
    format!("-c client_min_messages=warning -c statement_timeout={most}")
}

/// Whether there is a ledger that we may write into, or may make one. By the catalogs: naming it is refused where we may not.
const MAY_REMEMBER: &str = "SELECT CASE WHEN c.oid IS NOT NULL THEN has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE') \
    WHEN n.oid IS NOT NULL THEN has_schema_privilege(n.oid, 'CREATE') ELSE has_database_privilege(current_database(), 'CREATE') END AS provision_ledger \
    FROM (VALUES (1)) one LEFT JOIN pg_namespace n ON n.nspname = 'provision' \
    LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'entry' \\gset\n";

/// Steps as one stream, from a database on; what happens is told on stderr, which nobody buffers. Who is no superuser may have no
/// right to make the ledger: then nothing is remembered there.
pub(super) fn steps(
    nonce: &str,
    from: Option<&str>,
    superuser: bool,
    steps: &[(usize, &SqlStep)],
) -> crate::command::Text {
    let mut text =
        crate::command::Text::plain("\\set VERBOSITY verbose\n\\set SHOW_CONTEXT errors\n");
    let mut current = from.unwrap_or("postgres");
    let mut with_ledger: Vec<&str> = Vec::new();
    for (at, step) in steps {
        let database = step.database.as_deref().unwrap_or("postgres");
        text.push_str(&format!(
            "\\set ON_ERROR_STOP on\n\\warn {nonce} begin {at}\n"
        ));
        if database != current {
            text.push_str(&psql_connect(database));
            current = database;
        }
        let writes_ledger = step.remember.is_some() || step.forget.is_some();
        if writes_ledger && !with_ledger.contains(&database) {
            text.push_str(&match superuser {
                true => {
                    let create = ledger::create_marked(step.database.as_deref());
                    format!("BEGIN; {create} COMMIT;\n")
                }
                false => {
                    let create = ledger::create(Dialect::Postgres);
                    format!(
                        "{MAY_REMEMBER}\\if :provision_ledger\nBEGIN; {create} COMMIT;\n\\endif\n"
                    )
                }
            });
            with_ledger.push(database);
        }
        let (before, after) = if step.transaction {
            ("BEGIN;\n", "COMMIT;\n")
        } else {
            ("", "")
        };
        text.push_str(before);
        text.append(step.text.clone());
        // A statement of our own in the same transaction: it fails where the text before it failed or did not end.
        text.push_str(if wants_end(&step.text.shown()) {
            "\n;\n"
        } else {
            "\n"
        });
        text.push_str(&format!(
            "\\set ON_ERROR_STOP on\nSELECT current_database() <> {} AS provision_moved \\gset\n\
             \\if :provision_moved\n\\warn {nonce} moved {at}\n\\quit\n\\endif\n",
            literal(Dialect::Postgres, database)
        ));
        let remember = step.remember.as_ref();
        let remember = remember.map(|(id, digest)| ledger::remember(Dialect::Postgres, id, digest));
        let forget = step.forget.as_ref();
        let forget = forget.map(|id| ledger::forget(Dialect::Postgres, id));
        for entry in remember.into_iter().chain(forget) {
            text.push_str(&match superuser {
                true => format!("{entry}\n"),
                false => format!("\\if :provision_ledger\n{entry}\n\\endif\n"),
            });
        }
        text.push_str(after);
        text.push_str(&format!(
            "SELECT 'done' AS provision_mark \\gset\n\\warn {nonce} done {at} :provision_mark\n\\unset provision_mark\nDISCARD ALL;\n"
        ));
    }
    text
}

/// Whether a text may end with a statement that is not ended. A semicolon too many is harmless, but straight after the data of a
/// COPY it makes `psql` end without a word.
fn wants_end(text: &str) -> bool {
    let is_noise = |line: &&str| line.is_empty() || line.starts_with("--");
    let last = text.lines().map(str::trim).rfind(|line| !is_noise(line));
    last.is_some_and(|line| !line.ends_with(';') && !line.starts_with('\\'))
}

/// A message without the SQLSTATE before it.
fn without_code(message: &str) -> &str {
    let code = message.split_once(": ").filter(|(code, _)| {
        code.len() == 5
            && code
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
    });
    code.map_or(message, |(_, rest)| rest)
}

/// What a server said about a statement that failed, without excerpts of the statement.
pub(super) fn message(stderr: &str) -> Option<String> {
    let mut said: Option<String> = None;
    for line in stderr.lines() {
        let severity = ["ERROR:", "FATAL:", "PANIC:"]
            .iter()
            .find_map(|word| line.split_once(*word));
        if let Some((before, rest)) = severity
            && (before.is_empty() || before.starts_with("psql:") || before.contains(" failed: "))
        {
            // The first is the cause.
            said.get_or_insert_with(|| without_code(rest.trim()).to_owned());
        } else if let Some(said) = &mut said {
            for word in ["DETAIL:", "HINT:"] {
                if let Some(rest) = line.strip_prefix(word) {
                    said.push_str(&format!("; {}", rest.trim()));
                }
            }
        }
    }
    let client = || {
        stderr.lines().find_map(|line| {
            line.split_once("psql: error: ")
                .map(|(_, rest)| rest.trim().to_owned())
        })
    };
    let bare = || {
        let line = stderr.lines().find(|line| line.starts_with("psql:"))?;
        Some(
            line.splitn(4, ':')
                .last()
                .unwrap_or_default()
                .trim()
                .to_owned(),
        )
    };
    said.or_else(client)
        .or_else(bare)
        .filter(|said| !said.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLES: Question = Question {
        name: "roles",
        ask: Ask::PostgresServer("SELECT rolname AS key FROM pg_roles"),
    };

    #[test]
    fn answers_are_read_each_for_itself() {
        let output = b"N hello\nN listens t\nN begin a\n{\"key\":\"x\"}\nN end a false 00000\nN said a\n\
            N begin b\nN end b true 42P01\nrelation \"N end b false\" is not there\nN said b\n\
            N database 0 there\nN connected 0\nN begin c\nN end c false 00000\nN said c\nN database 1 absent\nN begin d\n{\"key\"";
        let seen = read(output, "N");
        assert!(seen.in_ && seen.listens && !seen.whole);
        assert_eq!(seen.server.len(), 2);
        assert!(matches!(&seen.server[0].1, Answer::Rows(rows) if rows.keys() == ["x"]));
        assert!(
            matches!(&seen.server[1].1, Answer::Unreadable(why) if why.ends_with("(42P01)")),
            "{seen:?}"
        );
        assert_eq!(seen.databases[0].answers.len(), 1);
        assert_eq!(seen.databases[1].is, "absent");
        assert!(seen.databases[1].answers.is_empty());
    }

    #[test]
    fn forged_ends_are_no_ends() {
        for forged in [
            "N end a false\n",
            "M end a false 00000\n",
            "N end b false 00000\n",
            "N said a\nN end a false 00000\n",
            "",
        ] {
            let output = format!("N hello\nN begin a\n{{\"key\":\"x\"}}\n{forged}");
            assert!(read(output.as_bytes(), "N").server.is_empty(), "{forged}");
        }
    }

    #[test]
    fn a_database_without_anything_of_ours_is_not_entered() {
        let inquiry = Inquiry {
            inside: ["declared".to_owned()].into(),
            ..Inquiry::default()
        };
        let text = sheet("N", &inquiry, true, &[], &["declared", "other"], Some(&[]));
        let line = |at: &str| text.lines().find(|line| line.contains(at)).unwrap();
        assert!(!line("AS is_0").contains("quiet"), "{text}");
        assert!(line("AS is_1").contains(ledger::MARKED), "{text}");
        let text = sheet("N", &inquiry, false, &[], &["declared", "other"], Some(&[]));
        assert!(!text.contains("quiet"), "{text}");
        assert!(
            ledger::create_marked(Some("o\"r"))
                .contains("IN DATABASE \"o\"\"r\" SET provision.ledger = 'on'")
        );
    }

    #[test]
    fn a_database_name_stays_a_name() {
        let text = sheet(
            "N",
            &Inquiry::default(),
            true,
            &[ROLES],
            &["a\"b'c"],
            Some(&[]),
        );
        assert!(
            text.contains("\\connect \"a\"\"b'c\"\n") && text.contains("datname = E'a\"b''c'"),
            "{text}"
        );
    }

    #[test]
    fn only_an_open_end_is_ended() {
        for text in ["SELECT 1", "SELECT 1; -- x", "SELECT 1 -- x\n"] {
            assert!(wants_end(text), "{text}");
        }
        for text in [
            "",
            "SELECT 1;\n-- x\n\n",
            "COPY t FROM STDIN;\n1\n\\.\n-- x\n",
        ] {
            assert!(!wants_end(text), "{text}");
        }
    }

    #[test]
    fn messages_hold_no_excerpt() {
        let stderr = "psql:<stdin>:7: ERROR:  syntax error at or near \"PASSWORD\"\nLINE 1: ALTER ROLE x PASSWORD 'hunter2'\n                     ^\nDETAIL:  more\nHINT:  try\nCONTEXT:  nothing\n";
        assert_eq!(
            message(stderr).as_deref(),
            Some("syntax error at or near \"PASSWORD\"; more; try")
        );
        let stderr = "psql: error: connection to server on socket \"/x\" failed: FATAL:  role \"postgres\" does not exist\n";
        assert_eq!(
            message(stderr).as_deref(),
            Some("role \"postgres\" does not exist")
        );
        let stderr = "psql: error: connection to server on socket \"/x\" failed: No such file or directory\n\tIs the server running?\n";
        assert!(message(stderr).unwrap().contains("No such file"));
        assert_eq!(message(""), None);
    }
}
