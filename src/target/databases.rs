//! Asking the database servers of a sheet: one client a server, wherever that is started, all servers side by side.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::Trouble;
use super::clients::{Client, Clients, Heard, NotRun};
use super::engine::{Engine, Listed};
use super::machine::{Program, Remote};
use super::say::{clean, nonce, tail};
use super::{mariadb, psql};
use crate::command::{
    Answer, Answers, Ask, Dialect, Inquiry, Place, Question, Rows, Script, Server, Sheet, Text,
};
use crate::quote;
use crate::secret::Secret;

/// How long a server may take to answer a sheet.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a state that passes by itself is waited for, and how long until it is asked again.
const PASSING: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(500);

/// How many databases one client looks at before a second one is worth its start.
const A_CLIENT: usize = 12;

/// Who we come in as, by service, where that is not the declared superuser: an old volume knows another one.
#[derive(Default)]
pub(super) struct Logins(Mutex<HashMap<String, String>>);

impl Logins {
    /// The login for a server.
    pub fn of(&self, server: &Server) -> String {
        let adopted = self
            .0
            .lock()
            .ok()
            .and_then(|logins| logins.get(&server.service).cloned());
        adopted.unwrap_or_else(|| server.superuser.clone())
    }

    fn adopt(&self, server: &Server, login: &str) {
        if let Ok(mut logins) = self.0.lock() {
            logins.insert(server.service.clone(), login.to_owned());
        }
    }
}

/// A server of a sheet, what is asked of it, and its clients.
pub(super) struct Asked<'a> {
    /// The server.
    pub server: &'a Arc<Server>,
    /// What is asked of it.
    pub inquiry: &'a Inquiry,
    /// Where its clients are started, or why they cannot be.
    pub clients: Result<Clients<'a>, Closed>,
}

/// Answers the part of a sheet that some servers have.
pub(super) async fn look(sheet: &Sheet, logins: &Logins, servers: Vec<Asked<'_>>) -> Answers {
    let asked = servers.into_iter().map(|asked| async move {
        let Asked {
            server,
            inquiry,
            clients,
        } = asked;
        let asking = Asking {
            logins,
            sheet,
            server,
            inquiry,
        };
        match clients {
            Ok(clients) => asking.run(&clients).await,
            Err(closed) => asking.all(&closed),
        }
    });
    let mut answers = Answers::default();
    for of_one in join_all(asked).await {
        answers.extend(of_one);
    }
    answers
}

/// The clients of a server in its container, where that runs.
pub(super) fn in_container<'a>(
    engine: &'a Engine,
    project: &str,
    service: &str,
    containers: &[Listed],
) -> Result<Clients<'a>, Closed> {
    let of_it =
        |c: &&Listed| c.is_of(project) && c.service.as_deref() == Some(service) && !c.is_leftover();
    let container = containers
        .iter()
        .filter(of_it)
        .min_by_key(|c| c.state != "running");
    match container.filter(|c| c.state == "running") {
        Some(container) => Ok(Clients::inside(engine, container)),
        None => Err(Closed::Down(format!("`{service}` is not running"))),
    }
}

/// Why a server cannot be asked.
pub(super) enum Closed {
    /// Something else has to be done first.
    Down(String),
    /// It will let us in by itself: it starts, stops, recovers, or is full for the moment.
    Passing(String),
    /// It does not let us in, or says what we do not understand.
    Unreadable(String),
}

impl Closed {
    fn answer(&self) -> Answer {
        match self {
            Closed::Down(why) | Closed::Passing(why) => Answer::Down(why.clone()),
            Closed::Unreadable(why) => Answer::Unreadable(why.clone()),
        }
    }
}

/// The questions for a server, its databases, and the questions for each of those.
type Questions<'a> = (&'a [Question], &'a [&'a str], Option<&'a [Vec<Question>]>);

struct Asking<'a> {
    logins: &'a Logins,
    sheet: &'a Sheet,
    server: &'a Arc<Server>,
    inquiry: &'a Inquiry,
}

impl Asking<'_> {
    /// Asks until it is answered, or until what keeps the server from answering does not pass.
    async fn run(&self, clients: &Clients<'_>) -> Answers {
        let begun = Instant::now();
        loop {
            match self.once(clients).await {
                Ok(answers) => return answers,
                Err(Closed::Passing(why)) if begun.elapsed() < PASSING => {
                    tracing::info!("{why}; waiting");
                    tokio::time::sleep(PAUSE).await;
                }
                Err(closed) => return self.all(&closed),
            }
        }
    }

    async fn once(&self, clients: &Clients<'_>) -> Result<Answers, Closed> {
        let service = &self.server.service;
        let asked = async {
            match self.server.dialect {
                Dialect::Postgres => self.postgres(clients).await,
                Dialect::MariaDb => self.mariadb(clients).await,
            }
        };
        // A machine has its own deadlines, and more to do before it hears this.
        let answered = match clients {
            Clients::Container { .. } => tokio::time::timeout(PATIENCE, asked).await,
            _ => Ok(asked.await),
        };
        answered.unwrap_or_else(|_| {
            Err(Closed::Unreadable(format!(
                "`{service}` did not answer within {} s",
                PATIENCE.as_secs()
            )))
        })
    }

    fn place(&self, database: Option<&str>) -> Place {
        Place::Sql(Arc::clone(self.server), database.map(str::to_owned))
    }

    /// The questions for the server as a whole, or for one of its databases.
    fn questions(&self, database: Option<&str>) -> Vec<Question> {
        let dialect = self.server.dialect;
        let asked = |question: &Question| self.inquiry.items.contains_key(question.name);
        let inside = database.is_some_and(|database| self.inquiry.inside.contains(database));
        let fits = |question: &&Question| match question.ask {
            Ask::PostgresServer(_) => {
                dialect == Dialect::Postgres && database.is_none() && asked(question)
            }
            Ask::PostgresDatabase(_) => dialect == Dialect::Postgres && inside && asked(question),
            Ask::MariaDb(_) => dialect == Dialect::MariaDb && asked(question),
            Ask::Ledger(of) => of == dialect,
            Ask::Engine(_) | Ask::Folder | Ask::Machine { .. } => false,
        };
        self.sheet.questions.iter().filter(fits).copied().collect()
    }

    /// The same answer to every question at every place of the server.
    fn all(&self, closed: &Closed) -> Answers {
        let mut answers = Answers::default();
        self.put_all(&mut answers, None, closed.answer());
        for database in &self.inquiry.databases {
            self.put_all(&mut answers, Some(database), closed.answer());
        }
        answers
    }

    fn put_all(&self, answers: &mut Answers, database: Option<&str>, answer: Answer) {
        for question in self.questions(database) {
            answers.put(self.place(database), question.name, answer.clone());
        }
    }

    /// Keeps what came for a place; a question that was not answered is unknown.
    fn put_each(
        &self,
        answers: &mut Answers,
        database: Option<&str>,
        came: Vec<(String, Answer)>,
        missing: &str,
    ) {
        let came: HashMap<String, Answer> = came.into_iter().collect();
        for question in self.questions(database) {
            let answer = came.get(question.name).cloned();
            let answer = answer.unwrap_or_else(|| Answer::Unreadable(missing.to_owned()));
            answers.put(self.place(database), question.name, answer);
        }
    }

    async fn postgres(&self, clients: &Clients<'_>) -> Result<Answers, Closed> {
        if !clients.moves() {
            return self.postgres_one_by_one(clients).await;
        }
        let databases: Vec<&str> = self.inquiry.databases.iter().map(String::as_str).collect();
        let side_by_side = databases
            .len()
            .div_ceil(A_CLIENT)
            .clamp(1, clients.at_once());
        let size = databases.len().div_ceil(side_by_side).max(1);
        let (first, others) = databases.split_at(size.min(databases.len()));
        let others = others
            .chunks(size)
            .map(|part| self.postgres_part(clients, None, part));
        // The first finds out who is let in.
        let first = self.postgres_part(clients, Some(self.questions(None)), first);
        let (first, others) = tokio::join!(first, join_all(others));
        let mut answers = first?;
        for part in others {
            answers.extend(part?);
        }
        Ok(answers)
    }

    /// Some databases by one client that goes from one to the next, with the questions for the server as a whole.
    async fn postgres_part(
        &self,
        clients: &Clients<'_>,
        mut server: Option<Vec<Question>>,
        databases: &[&str],
    ) -> Result<Answers, Closed> {
        let mut answers = Answers::default();
        let mut rest = databases.to_vec();
        loop {
            let questions = server.as_deref().unwrap_or_default();
            let each = rest.iter().map(|database| self.questions(Some(database)));
            let each: Vec<_> = each.collect();
            let (seen, stderr) = self.psql(clients, questions, &rest, Some(&each)).await?;
            let missing = broken_off(&self.server.service, &stderr);
            if server.take().is_some() {
                self.put_each(&mut answers, None, seen.server, &missing);
            }
            // A database that does not let us in ends the client: the ones behind it are asked by a new one.
            let mut asked = 0;
            for (database, found) in rest.iter().zip(seen.databases) {
                asked += 1;
                if !self.put_closed(&mut answers, database, &found.is) {
                    self.put_each(&mut answers, Some(database), found.answers, &missing);
                }
            }
            rest.drain(..asked);
            if seen.whole || asked == 0 || rest.is_empty() {
                break;
            }
        }
        self.put_unasked(&mut answers, &rest);
        Ok(answers)
    }

    /// Each database by a client of its own, all side by side.
    async fn postgres_one_by_one(&self, clients: &Clients<'_>) -> Result<Answers, Closed> {
        let mut answers = Answers::default();
        let databases: Vec<&str> = self.inquiry.databases.iter().map(String::as_str).collect();
        let (seen, stderr) = self
            .psql(clients, &self.questions(None), &databases, None)
            .await?;
        let missing = broken_off(&self.server.service, &stderr);
        self.put_each(&mut answers, None, seen.server, &missing);
        let login = self.logins.of(self.server);
        let mut open = Vec::new();
        for (database, found) in databases.iter().zip(&seen.databases) {
            if !self.put_closed(&mut answers, database, &found.is) {
                open.push(*database);
            }
        }
        let each: Vec<_> = open.iter().map(|one| self.questions(Some(one))).collect();
        let asked = open.iter().zip(&each).map(|(database, questions)| {
            let sheet = (&questions[..], &[][..], None);
            self.psql_as(clients, &login, Some(*database), sheet)
        });
        for (database, came) in open.iter().zip(join_all(asked).await) {
            match came {
                Ok((seen, stderr)) => {
                    let missing = broken_off(&self.server.service, &stderr);
                    self.put_each(&mut answers, Some(*database), seen.server, &missing);
                }
                Err(closed) => self.put_all(&mut answers, Some(*database), closed.answer()),
            }
        }
        self.put_unasked(
            &mut answers,
            databases.get(seen.databases.len()..).unwrap_or_default(),
        );
        Ok(answers)
    }

    /// Keeps that a database is not there, lets nobody in or holds nothing of ours, and says whether it is so.
    fn put_closed(&self, answers: &mut Answers, database: &str, is: &str) -> bool {
        match is {
            "absent" => self.put_all(answers, Some(database), Answer::Absent),
            "closed" => {
                let why = format!("the database `{database}` does not allow connections");
                self.put_all(answers, Some(database), Answer::Unreadable(why));
            }
            "quiet" => self.put_all(answers, Some(database), Answer::Rows(Rows::default())),
            _ => return false,
        }
        true
    }

    fn put_unasked(&self, answers: &mut Answers, rest: &[&str]) {
        for database in rest {
            let why = format!("`{}` broke off before `{database}`", self.server.service);
            self.put_all(answers, Some(database), Answer::Unreadable(why));
        }
    }

    /// Feeds `psql` a sheet, as the declared superuser or as the one that the volume knows.
    async fn psql(
        &self,
        clients: &Clients<'_>,
        server: &[Question],
        databases: &[&str],
        each: Option<&[Vec<Question>]>,
    ) -> Result<(psql::Seen, String), Closed> {
        let login = self.logins.of(self.server);
        let sheet = (server, databases, each);
        let (seen, stderr) = self.psql_as(clients, &login, None, sheet).await?;
        if seen.in_ {
            return self.open(seen.listens, clients).map(|()| (seen, stderr));
        }
        let refused = stderr.contains("FATAL:") && passing(&stderr).is_none();
        if refused && let Some(other) = clients.other_login().await.filter(|other| *other != login)
        {
            let (seen, second) = self.psql_as(clients, &other, None, sheet).await?;
            if seen.in_ {
                self.logins.adopt(self.server, &other);
                return self.open(seen.listens, clients).map(|()| (seen, second));
            }
        }
        Err(self.closed(clients, &stderr, psql::message(&stderr)))
    }

    async fn psql_as(
        &self,
        clients: &Clients<'_>,
        login: &str,
        database: Option<&str>,
        (server, databases, each): Questions<'_>,
    ) -> Result<(psql::Seen, String), Closed> {
        let nonce = nonce().map_err(Closed::Unreadable)?;
        let client = Client {
            dialect: Dialect::Postgres,
            login,
            database,
            session: psql::LOOKING,
            force: false,
            input: Secret::new(psql::sheet(
                &nonce,
                self.inquiry,
                clients.is_superuser(),
                server,
                databases,
                each,
            )),
            last: Some(format!("{nonce} bye")),
            deadline: PATIENCE,
            once: false,
        };
        let heard = self.client(clients, client).await?;
        let stderr = String::from_utf8_lossy(&heard.err).into_owned();
        let seen = psql::read(&heard.out, &nonce);
        // What the engine itself says about a program that is not there comes on stdout.
        let stderr = if seen.in_ || !stderr.is_empty() {
            stderr
        } else {
            String::from_utf8_lossy(&heard.out).into_owned()
        };
        Ok((seen, stderr))
    }

    async fn mariadb(&self, clients: &Clients<'_>) -> Result<Answers, Closed> {
        let nonce = nonce().map_err(Closed::Unreadable)?;
        let (sheet, lines) = mariadb::sheet(&nonce, self.inquiry, &self.questions(None));
        let client = Client {
            dialect: Dialect::MariaDb,
            login: &self.logins.of(self.server),
            database: None,
            session: mariadb::LOOKING,
            force: true,
            input: Secret::new(sheet),
            last: None,
            deadline: PATIENCE,
            once: false,
        };
        let heard = self.client(clients, client).await?;
        let stderr = String::from_utf8_lossy(&heard.err).into_owned();
        let seen = mariadb::read(&heard.out, &stderr, &nonce, &lines);
        if !seen.in_ {
            let said = if stderr.is_empty() {
                String::from_utf8_lossy(&heard.out).into_owned()
            } else {
                stderr
            };
            let message = said
                .lines()
                .find_map(mariadb::read_error)
                .map(|error| error.words());
            return Err(self.closed(clients, &said, message));
        }
        self.open(seen.listens, clients)?;
        let missing = broken_off(&self.server.service, &stderr);
        let mut answers = Answers::default();
        for database in &self.inquiry.databases {
            match &seen.databases {
                None => self.put_all(
                    &mut answers,
                    Some(database),
                    Answer::Unreadable(missing.clone()),
                ),
                Some(there) if there.contains(database) => {
                    self.put_each(&mut answers, Some(database), seen.answers.clone(), &missing);
                }
                Some(_) => self.put_all(&mut answers, Some(database), Answer::Absent),
            }
        }
        self.put_each(&mut answers, None, seen.answers, &missing);
        Ok(answers)
    }

    async fn client(&self, clients: &Clients<'_>, client: Client<'_>) -> Result<Heard, Closed> {
        let ran = clients.run(client).await;
        let service = &self.server.service;
        ran.map_err(|error| match error {
            NotRun::Down(why) => Closed::Down(format!("`{service}` {why}")),
            NotRun::Trouble(trouble)
                if clients.is_young() && fell_with_its_container(&trouble.message) =>
            {
                Closed::Down(format!("`{service}` is starting"))
            }
            NotRun::Trouble(trouble) => Closed::Unreadable(trouble.message),
        })
    }

    /// A server that only listens on its socket is still in its first start: what is inside is half made.
    fn open(&self, listens: bool, clients: &Clients<'_>) -> Result<(), Closed> {
        if !listens && clients.is_young() {
            return Err(Closed::Passing(format!(
                "`{}` is starting",
                self.server.service
            )));
        }
        Ok(())
    }

    /// Why nobody let us in.
    fn closed(&self, clients: &Clients<'_>, said: &str, message: Option<String>) -> Closed {
        let service = &self.server.service;
        let nobody_there = [
            "No such file or directory",
            "Connection refused",
            "(2002)",
            "ERROR 2002",
        ];
        if let Some(state) = passing(said) {
            return Closed::Passing(format!("`{service}` {state}"));
        }
        let fell = clients.is_young() && fell_with_its_container(said);
        let nobody = fell || nobody_there.iter().any(|words| said.contains(words));
        if clients.may_be_stopped() && nobody {
            // One that falls over and over is always young, so nobody waits for it here.
            let is = if clients.is_young() {
                "is starting"
            } else {
                "does not run"
            };
            return Closed::Down(format!("`{service}` {is}"));
        }
        let message =
            message.unwrap_or_else(|| said.lines().last().unwrap_or("it said nothing").to_owned());
        Closed::Unreadable(format!(
            "`{service}` does not let us in: {}",
            clean(&message, 300)
        ))
    }
}

/// Whether a client, by what it said, was never started or ended since its container did: it says nothing at all, or the engine
/// lost the process before it was one. A program that the image does not have is another matter.
fn fell_with_its_container(said: &str) -> bool {
    let lost = said.contains("OCI runtime exec failed") && !said.contains("executable file");
    lost || said.trim().is_empty()
}

/// A state of the server that ends by itself, as it says so. A standby that is not to be read from says much the same and stays so.
fn passing(said: &str) -> Option<&'static str> {
    const STATES: [(&str, &str); 8] = [
        ("Hot standby mode is disabled", ""),
        ("the database system is starting up", "is starting"),
        ("the database system is shutting down", "is stopping"),
        ("the database system is in recovery mode", "recovers"),
        (
            "the database system is not yet accepting connections",
            "recovers",
        ),
        ("57P03", "is starting"),
        ("too many clients", "has as many clients as it takes"),
        ("1040 (", "has as many clients as it takes"),
    ];
    let state = STATES.iter().find(|(words, _)| said.contains(words))?;
    Some(state.1).filter(|state| !state.is_empty())
}

fn broken_off(service: &str, stderr: &str) -> String {
    let said = psql::message(stderr)
        .or_else(|| stderr.lines().last().map(str::to_owned))
        .unwrap_or_default();
    if said.trim().is_empty() {
        format!("`{service}` broke off")
    } else {
        format!("`{service}` broke off: {}", clean(&said, 300))
    }
}

/// Waits until a server that was restarted answers again; its caller has a deadline.
pub(super) async fn wait_until_it_answers(
    clients: &Clients<'_>,
    logins: &Logins,
    server: &Server,
) -> Result<(), Trouble> {
    let mut last = String::new();
    for _ in 0..600 {
        match answers(clients, logins, server).await {
            Ok(()) => return Ok(()),
            Err(why) => last = why,
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(Trouble::failed(format!(
        "`{}` does not answer: {last}",
        server.service
    )))
}

async fn answers(clients: &Clients<'_>, logins: &Logins, server: &Server) -> Result<(), String> {
    let nonce = nonce()?;
    let none = Inquiry::default();
    let (session, sheet) = match server.dialect {
        Dialect::Postgres => (
            psql::LOOKING,
            psql::sheet(&nonce, &none, false, &[], &[], None),
        ),
        Dialect::MariaDb => (mariadb::LOOKING, mariadb::sheet(&nonce, &none, &[]).0),
    };
    let client = Client {
        dialect: server.dialect,
        login: &logins.of(server),
        database: None,
        session,
        force: true,
        input: Secret::new(sheet),
        last: None,
        deadline: PATIENCE,
        once: false,
    };
    let heard = clients.run(client).await.map_err(NotRun::words)?;
    let (in_, listens) = match server.dialect {
        Dialect::Postgres => {
            let seen = psql::read(&heard.out, &nonce);
            (seen.in_, seen.listens)
        }
        Dialect::MariaDb => {
            let seen = mariadb::read(&heard.out, "", &nonce, &[]);
            (seen.in_, seen.listens)
        }
    };
    match (in_, listens || !clients.must_listen()) {
        (true, true) => Ok(()),
        (true, false) => Err("it listens on its socket only".to_owned()),
        _ => Err(clean(&String::from_utf8_lossy(&heard.err), 200)),
    }
}

/// Restarts a server on its machine; one that does not start gets back what it had.
pub(super) fn restart(dialect: Dialect, port: u16) -> Script {
    let which = match dialect {
        Dialect::Postgres => "postgres",
        Dialect::MariaDb => "mariadb",
    };
    Script {
        body: include_str!("restart.sh"),
        words: vec![Text::plain(which), Text::plain(port.to_string())],
        input: None,
        guard: None,
    }
}

/// The last lines that a server on a machine has logged.
pub(super) async fn log_tail(remote: &Remote, dialect: Dialect, lines: usize) -> Vec<String> {
    let what = match dialect {
        Dialect::Postgres => "postgres",
        Dialect::MariaDb => "mariadb",
    };
    log_of(remote, what, lines).await
}

/// So many lines of a log are read, to say how many are not shown.
const READ: usize = 1_000;

/// The last lines of what a machine keeps of a server, or of a unit.
pub(super) async fn log_of(remote: &Remote, what: &str, lines: usize) -> Vec<String> {
    // Debian's PostgreSQL writes files of its own, its MariaDB the journal; without systemd both write files.
    const TAIL: &str = "\
case $1 in
postgres) tail -q -n \"$2\" /var/log/postgresql/postgresql-15-*.log ;;
*) if [ -d /run/systemd/system ]; then journalctl -q --no-pager -o cat -n \"$2\" -u \"$1\"
   else case $1 in mariadb) tail -q -n \"$2\" /var/log/mysql/error.log ;; esac; fi ;;
esac 2> /dev/null | tail -n \"$2\"
";
    let count = READ.to_string();
    let program = Program {
        user: "root",
        programs: "sh",
        args: ["-c", TAIL, "sh", what, &count].map(str::to_owned).to_vec(),
        input: Secret::new(""),
        deadline: Duration::from_secs(5),
        once: false,
    };
    match remote.program(program).await {
        Ok(said) => {
            let text = String::from_utf8_lossy(&said.out);
            let begun = text.lines().count() >= READ;
            let all = match what {
                "postgres" => "/var/log/postgresql".to_owned(),
                unit => format!("`journalctl -u {}`", quote::word(unit)),
            };
            let all = format!("{all} on `{}`", remote.name());
            tail(&text, lines, begun, Some(&all))
        }
        Err(_) => Vec::new(),
    }
}
