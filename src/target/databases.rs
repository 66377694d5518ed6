//! Asking the database servers of a sheet: one client a server, inside its container, all servers side by side.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;

use super::Trouble;
use super::engine::{Engine, Exec, Listed, Ran};
use super::say::{clean, nonce};
use super::{mariadb, psql};
use crate::command::{Answer, Answers, Ask, Dialect, Place, Question, Server, Sheet};
use crate::secret::Secret;

/// How long a server may take to answer a sheet.
const PATIENCE: Duration = Duration::from_secs(20);
/// How much a server may say.
const MOST: usize = 64 << 20;

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

/// Answers the databases' part of a sheet.
pub(super) async fn look(
    engine: &Engine,
    logins: &Logins,
    sheet: &Sheet,
    containers: &[Listed],
) -> Answers {
    let asked = sheet.servers.iter().map(|(server, databases)| async move {
        let ask = Asking {
            engine,
            logins,
            sheet,
            server,
            databases,
        };
        ask.run(containers).await
    });
    let mut answers = Answers::default();
    for of_one in join_all(asked).await {
        answers.extend(of_one);
    }
    answers
}

/// Why a server cannot be asked.
enum Closed {
    /// Something else has to be done first.
    Down(String),
    /// It does not let us in, or says what we do not understand.
    Unreadable(String),
}

impl Closed {
    fn answer(&self) -> Answer {
        match self {
            Closed::Down(why) => Answer::Down(why.clone()),
            Closed::Unreadable(why) => Answer::Unreadable(why.clone()),
        }
    }
}

struct Asking<'a> {
    engine: &'a Engine,
    logins: &'a Logins,
    sheet: &'a Sheet,
    server: &'a Arc<Server>,
    databases: &'a [String],
}

impl Asking<'_> {
    async fn run(&self, containers: &[Listed]) -> Answers {
        let service = &self.server.service;
        let of_it = |c: &&Listed| {
            c.is_of(&self.sheet.project) && c.service.as_ref() == Some(service) && !c.is_leftover()
        };
        let container = containers
            .iter()
            .filter(of_it)
            .min_by_key(|c| c.state != "running");
        let Some(container) = container.filter(|c| c.state == "running") else {
            return self.all(&Closed::Down(format!("`{service}` is not running")));
        };
        let asked = async {
            match self.server.dialect {
                Dialect::Postgres => self.postgres(container).await,
                Dialect::MariaDb => self.mariadb(container).await,
            }
        };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(answers)) => answers,
            Ok(Err(closed)) => self.all(&closed),
            Err(_) => self.all(&Closed::Unreadable(format!(
                "`{service}` did not answer within {} s",
                PATIENCE.as_secs()
            ))),
        }
    }

    fn place(&self, database: Option<&str>) -> Place {
        Place::Sql(Arc::clone(self.server), database.map(str::to_owned))
    }

    /// The questions for the server as a whole, or for each of its databases.
    fn questions(&self, whole: bool) -> Vec<Question> {
        let dialect = self.server.dialect;
        let fits = |question: &&Question| match question.ask {
            Ask::PostgresServer(_) => dialect == Dialect::Postgres && whole,
            Ask::PostgresDatabase(_) => dialect == Dialect::Postgres && !whole,
            Ask::MariaDb(_) => dialect == Dialect::MariaDb,
            Ask::Ledger(of) => of == dialect,
            Ask::Engine(_) | Ask::Folder | Ask::Machine { .. } => false,
        };
        self.sheet.questions.iter().filter(fits).copied().collect()
    }

    /// The same answer to every question at every place of the server.
    fn all(&self, closed: &Closed) -> Answers {
        let mut answers = Answers::default();
        self.put_all(&mut answers, None, closed.answer());
        for database in self.databases {
            self.put_all(&mut answers, Some(database), closed.answer());
        }
        answers
    }

    fn put_all(&self, answers: &mut Answers, database: Option<&str>, answer: Answer) {
        for question in self.questions(database.is_none()) {
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
        for question in self.questions(database.is_none()) {
            let answer = came.get(question.name).cloned();
            let answer = answer.unwrap_or_else(|| Answer::Unreadable(missing.to_owned()));
            answers.put(self.place(database), question.name, answer);
        }
    }

    async fn postgres(&self, container: &Listed) -> Result<Answers, Closed> {
        let mut answers = Answers::default();
        let mut server = Some(self.questions(true));
        let mut rest: Vec<&str> = self.databases.iter().map(String::as_str).collect();
        loop {
            let (seen, stderr) = self
                .psql(container, server.as_deref().unwrap_or_default(), &rest)
                .await?;
            let missing = broken_off(&self.server.service, &stderr);
            if server.take().is_some() {
                self.put_each(&mut answers, None, seen.server, &missing);
            }
            // A database that does not let us in ends the client: the ones behind it are asked by a new one.
            let mut asked = 0;
            for (database, found) in rest.iter().zip(seen.databases) {
                asked += 1;
                match found.is.as_str() {
                    "absent" => self.put_all(&mut answers, Some(database), Answer::Absent),
                    "closed" => {
                        let why = format!("the database `{database}` does not allow connections");
                        self.put_all(&mut answers, Some(database), Answer::Unreadable(why));
                    }
                    _ => self.put_each(&mut answers, Some(database), found.answers, &missing),
                }
            }
            rest.drain(..asked);
            if seen.whole || asked == 0 || rest.is_empty() {
                break;
            }
        }
        for database in rest {
            let why = format!("`{}` broke off before `{database}`", self.server.service);
            self.put_all(&mut answers, Some(database), Answer::Unreadable(why));
        }
        Ok(answers)
    }

    /// Feeds `psql` a sheet, as the declared superuser or as the one that the volume knows.
    async fn psql(
        &self,
        container: &Listed,
        server: &[Question],
        databases: &[&str],
    ) -> Result<(psql::Seen, String), Closed> {
        let each = self.questions(false);
        let login = self.logins.of(self.server);
        let (seen, stderr) = self
            .psql_as(&login, container, server, databases, &each)
            .await?;
        if seen.in_ {
            return self.open(seen.listens, container).map(|()| (seen, stderr));
        }
        let refused = stderr.contains("FATAL:") && !is_passing(&stderr);
        if refused
            && let Some(other) = self
                .engine
                .env_of(&container.id, "POSTGRES_USER")
                .await
                .filter(|other| *other != login)
        {
            let (seen, second) = self
                .psql_as(&other, container, server, databases, &each)
                .await?;
            if seen.in_ {
                self.logins.adopt(self.server, &other);
                return self.open(seen.listens, container).map(|()| (seen, second));
            }
        }
        Err(self.closed(container, &stderr, psql::message(&stderr)))
    }

    async fn psql_as(
        &self,
        login: &str,
        container: &Listed,
        server: &[Question],
        databases: &[&str],
        each: &[Question],
    ) -> Result<(psql::Seen, String), Closed> {
        let nonce = nonce().map_err(Closed::Unreadable)?;
        let mut exec = postgres(
            container,
            login,
            psql::LOOKING,
            psql::sheet(&nonce, server, databases, each),
        );
        exec.last = Some(format!("{nonce} bye"));
        let ran = self.client(exec).await?;
        let stderr = String::from_utf8_lossy(&ran.err).into_owned();
        let seen = psql::read(&ran.out, &nonce);
        // What the engine itself says about a program that is not there comes on stdout.
        let stderr = if seen.in_ || !stderr.is_empty() {
            stderr
        } else {
            String::from_utf8_lossy(&ran.out).into_owned()
        };
        Ok((seen, stderr))
    }

    async fn mariadb(&self, container: &Listed) -> Result<Answers, Closed> {
        let nonce = nonce().map_err(Closed::Unreadable)?;
        let (sheet, lines) = mariadb::sheet(&nonce, &self.questions(true));
        let argv = mariadb::argv(&self.logins.of(self.server), true, mariadb::LOOKING);
        let ran = self
            .client(client(
                &container.id,
                "0",
                argv,
                mariadb::env(),
                Secret::new(sheet),
            ))
            .await?;
        let stderr = String::from_utf8_lossy(&ran.err).into_owned();
        let seen = mariadb::read(&ran.out, &stderr, &nonce, &lines);
        if !seen.in_ {
            let said = if stderr.is_empty() {
                String::from_utf8_lossy(&ran.out).into_owned()
            } else {
                stderr
            };
            let message = said
                .lines()
                .find_map(mariadb::read_error)
                .map(|error| error.words());
            return Err(self.closed(container, &said, message));
        }
        self.open(seen.listens, container)?;
        let missing = broken_off(&self.server.service, &stderr);
        let mut answers = Answers::default();
        for database in self.databases {
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

    async fn client(&self, exec: Exec<'_>) -> Result<Ran, Closed> {
        use super::engine::NotRun;
        self.engine.run(exec).await.map_err(|error| match error {
            NotRun::Stopped => Closed::Down(format!("`{}` is not running", self.server.service)),
            other => Closed::Unreadable(other.words()),
        })
    }

    /// A server that only listens on its socket is still in its first start: what is inside is half made.
    fn open(&self, listens: bool, container: &Listed) -> Result<(), Closed> {
        if !listens && is_young(container) {
            return Err(Closed::Down(format!(
                "`{}` is starting",
                self.server.service
            )));
        }
        Ok(())
    }

    /// Why nobody let us in.
    fn closed(&self, container: &Listed, said: &str, message: Option<String>) -> Closed {
        let service = &self.server.service;
        let nobody_there = [
            "No such file or directory",
            "Connection refused",
            "(2002)",
            "ERROR 2002",
        ];
        if is_passing(said)
            || (is_young(container) && nobody_there.iter().any(|words| said.contains(words)))
        {
            return Closed::Down(format!("`{service}` is starting"));
        }
        let message =
            message.unwrap_or_else(|| said.lines().last().unwrap_or("it said nothing").to_owned());
        Closed::Unreadable(format!(
            "`{service}` does not let us in: {}",
            clean(&message, 300)
        ))
    }
}

/// A state of the server that ends by itself.
fn is_passing(said: &str) -> bool {
    [
        "the database system is starting up",
        "the database system is shutting down",
        "57P03",
    ]
    .iter()
    .any(|words| said.contains(words))
}

/// Whether a container may still be starting.
fn is_young(container: &Listed) -> bool {
    container.health() == "starting"
        || container.status.contains(" second")
        || container.status.contains("Less than a")
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

/// The client of PostgreSQL, as the container's own user `postgres`: by the local socket that is the superuser.
fn postgres<'a>(container: &'a Listed, login: &str, options: &str, input: String) -> Exec<'a> {
    client(
        &container.id,
        "postgres",
        psql::argv(login),
        psql::env(options),
        Secret::new(input),
    )
}

/// A client in a container.
pub(super) fn client<'a>(
    container: &'a str,
    user: &'a str,
    argv: Vec<String>,
    env: Vec<String>,
    input: Secret,
) -> Exec<'a> {
    Exec {
        container,
        user: Some(user),
        argv,
        env,
        input,
        most: MOST,
        last: None,
    }
}

/// Waits until a server that was restarted answers again; its caller has a deadline.
pub(super) async fn wait_until_it_answers(
    engine: &Engine,
    logins: &Logins,
    server: &Server,
    container: &str,
) -> Result<(), Trouble> {
    let mut last = String::new();
    for _ in 0..600 {
        match answers(engine, logins, server, container).await {
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

async fn answers(
    engine: &Engine,
    logins: &Logins,
    server: &Server,
    container: &str,
) -> Result<(), String> {
    let nonce = nonce()?;
    let login = logins.of(server);
    let exec = match server.dialect {
        Dialect::Postgres => {
            let sheet = psql::sheet(&nonce, &[], &[], &[]);
            client(
                container,
                "postgres",
                psql::argv(&login),
                psql::env(psql::LOOKING),
                Secret::new(sheet),
            )
        }
        Dialect::MariaDb => {
            let (sheet, _) = mariadb::sheet(&nonce, &[]);
            client(
                container,
                "0",
                mariadb::argv(&login, true, mariadb::LOOKING),
                mariadb::env(),
                Secret::new(sheet),
            )
        }
    };
    let ran = engine.run(exec).await.map_err(|error| error.words())?;
    let (in_, listens) = match server.dialect {
        Dialect::Postgres => {
            let seen = psql::read(&ran.out, &nonce);
            (seen.in_, seen.listens)
        }
        Dialect::MariaDb => {
            let seen = mariadb::read(&ran.out, "", &nonce, &[]);
            (seen.in_, seen.listens)
        }
    };
    match (in_, listens) {
        (true, true) => Ok(()),
        (true, false) => Err("it listens on its socket only".to_owned()),
        _ => Err(clean(&String::from_utf8_lossy(&ran.err), 200)),
    }
}
