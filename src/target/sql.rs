//! Changing databases: steps of one server in one stream, in order, up to the first that fails.

use std::time::{Duration, Instant};

use super::clients::{Client, Clients, NotRun};
use super::engine::Side;
use super::frames::mark;
use super::say::{clean, clean_line, nonce};
use super::{Trouble, lexer, mariadb, psql};
use crate::command::{Dialect, Part, Server, SqlStep};
use crate::statement::{Source, Told};

type Done<'a> = &'a (dyn Fn(usize) + Send + Sync);

/// How much longer than the server itself we wait: it ends a statement that takes too long, and then says so.
const GRACE: Duration = Duration::from_secs(3);

/// Runs steps of a server by its clients.
pub(super) async fn run(
    clients: &Clients<'_>,
    server: &Server,
    login: &str,
    steps: &[SqlStep],
    deadline: Duration,
    done: Done<'_>,
) -> Result<(), (usize, Trouble)> {
    let end = Instant::now() + deadline;
    for group in groups(server.dialect, steps, clients.moves()) {
        let stream = Stream {
            clients,
            server,
            login,
            done,
        };
        stream.run(&group, end).await?;
    }
    Ok(())
}

/// Steps that can share a client, each with its place. A text that may leave a client in another state has one of its own, and
/// so has each database where a client does not move from one to the next.
fn groups(dialect: Dialect, steps: &[SqlStep], moves: bool) -> Vec<Vec<(usize, &SqlStep)>> {
    let mut groups: Vec<Vec<(usize, &SqlStep)>> = Vec::new();
    let mut open = false;
    for (at, step) in steps.iter().enumerate() {
        // Secrets stand in the literals of kinds, so the text around them says whether it is closed.
        let closed = lexer::is_closed(dialect, &step.text.shown())
            // MariaDB has no way back from what a script sets for its session.
            && (dialect == Dialect::Postgres || step.database.is_none());
        match groups.last_mut() {
            Some(group) if open && closed && (moves || stays(dialect, group, step)) => {
                group.push((at, step));
            }
            _ => groups.push(vec![(at, step)]),
        }
        open = closed;
    }
    groups
}

/// Whether a step is in the database that a group is in.
fn stays(dialect: Dialect, group: &[(usize, &SqlStep)], step: &SqlStep) -> bool {
    let last = group.last().map(|(_, last)| &last.database);
    dialect == Dialect::MariaDb || last == Some(&step.database)
}

struct Stream<'a> {
    clients: &'a Clients<'a>,
    server: &'a Server,
    login: &'a str,
    done: Done<'a>,
}

impl Stream<'_> {
    async fn run(&self, group: &[(usize, &SqlStep)], end: Instant) -> Result<(), (usize, Trouble)> {
        let first = group.first().map_or(0, |(at, _)| *at);
        let nonce = nonce().map_err(|why| (first, Trouble::failed(why)))?;
        let left = end.saturating_duration_since(Instant::now());
        // A client that does not move comes into the group's database at once.
        let first_step = group.first().map(|(_, step)| *step);
        let database = first_step
            .and_then(|step| step.database.as_deref())
            .filter(|_| !self.clients.moves() && self.server.dialect == Dialect::Postgres);
        let (session, input) = match self.server.dialect {
            Dialect::Postgres => (
                psql::changing(left),
                psql::steps(&nonce, database, self.clients.is_superuser(), group),
            ),
            Dialect::MariaDb => (mariadb::changing(left), mariadb::steps(&nonce, group)),
        };
        let client = Client {
            dialect: self.server.dialect,
            login: self.login,
            database,
            session: &session,
            force: false,
            input: input.expose(),
            last: None,
            deadline: left + GRACE,
            once: true,
        };
        let mut follow = Follow::new(&nonce, self.marks_on(), self.done, first);
        let stream = self
            .clients
            .stream(client, |side, piece| follow.hear(side, piece));
        let ran = match self.clients {
            Clients::Container { .. } => tokio::time::timeout(left + GRACE, stream).await,
            // A machine has its own deadlines, and more to do before it hears this.
            _ => Ok(stream.await),
        };
        let all = group
            .last()
            .is_some_and(|(at, _)| follow.finished == Some(*at));
        if all {
            return Ok(());
        }
        let at = follow.finished.map_or(first, |finished| finished + 1);
        let step = group
            .iter()
            .find(|(place, _)| *place == at)
            .map(|(_, step)| *step);
        // A client that ended by itself has done nothing behind where it ended; of one that we lost nobody knows.
        let ended = matches!(ran, Ok(Ok(()))) && !self.clients.is_gone().await;
        let mut trouble = match ran {
            Err(_) => Trouble::unknown(format!(
                "`{}` took longer than it was given",
                self.server.service
            )),
            Ok(Err(NotRun::Down(why))) => {
                Trouble::failed(format!("`{}` {why}", self.server.service))
            }
            Ok(Err(NotRun::Trouble(trouble))) => trouble,
            Ok(Ok(())) if !ended => Trouble::unknown(format!(
                "`{}` stopped in the middle of it",
                self.server.service
            )),
            Ok(Ok(())) => self.said(&follow, step, group, input.expose().expose()),
        };
        if trouble.unknown && !ended {
            trouble.ahead = group.last().map_or(0, |(last, _)| last.saturating_sub(at));
        }
        Err((at, trouble))
    }

    fn marks_on(&self) -> Side {
        match self.server.dialect {
            Dialect::Postgres => Side::Err,
            Dialect::MariaDb => Side::Out,
        }
    }

    /// Why the stream ended before its end.
    fn said(
        &self,
        follow: &Follow<'_>,
        step: Option<&SqlStep>,
        group: &[(usize, &SqlStep)],
        input: &str,
    ) -> Trouble {
        let secret = step.is_some_and(|step| step.text.is_secret());
        let stderr = String::from_utf8_lossy(&follow.said);
        if follow.moved {
            return Trouble::failed(
                "the text connects to another database, so it cannot be remembered here as done",
            );
        }
        let message = match self.server.dialect {
            Dialect::Postgres => psql::message(&stderr),
            Dialect::MariaDb => stderr
                .lines()
                .find_map(mariadb::read_error)
                .map(|error| error.words()),
        };
        let closed =
            step.is_none_or(|step| lexer::is_closed(self.server.dialect, &step.text.shown()));
        let Some(message) = message else {
            if follow.began {
                return Trouble::unknown(if closed {
                    "the client ended without a word"
                } else {
                    "the client ended before the text did: it quits, or leaves a quote or a comment open"
                });
            }
            let words = stderr
                .lines()
                .last()
                .map_or("the client ended without a word".to_owned(), |line| {
                    clean(line, 300)
                });
            return Trouble::failed(words);
        };
        let lost = [
            "server closed the connection",
            "connection to server was lost",
            "terminating connection",
            "Lost connection",
            "(2013)",
            "(2006)",
        ];
        let unknown = lost.iter().any(|words| message.contains(words));
        // What the server stumbled over is then our own text behind it, which tells nobody anything.
        let ours = ["provision_moved", "unterminated", " near 'ran "];
        if !closed && ours.iter().any(|words| message.contains(words)) {
            return Trouble::failed("the text leaves a quote, a comment or a parenthesis open");
        }
        if message.contains("25006") || message.contains("in a read-only transaction") {
            return Trouble::failed(format!(
                "`{}` is a standby, or its `default_transaction_read_only` is on: nothing can be changed here, only on its primary",
                self.server.service
            ));
        }
        if unknown {
            return Trouble::unknown(clean(&redact(message, secret, group), 500));
        }
        let source = step.and_then(|step| self.source(&stderr, step, follow, input));
        match source {
            Some(source) => self.in_a_file(source, group),
            None => Trouble::failed(clean(&redact(message, secret, group), 500)),
        }
    }

    /// Where in a file of the user the statement stands that a client stopped at.
    fn source(
        &self,
        stderr: &str,
        step: &SqlStep,
        follow: &Follow<'_>,
        input: &str,
    ) -> Option<Source> {
        let is_file = |part: &Part| matches!(part, Part::File { .. });
        if !step.text.0.iter().any(is_file) {
            return None;
        }
        let mut told = Told::read(self.server.dialect, stderr)?;
        let at = follow.next.unwrap_or_default();
        let begins = input.find(&format!("{} begin {at}", follow.nonce))?;
        let text = step.text.expose();
        let begins = begins + input.get(begins..)?.find(text.expose())?;
        let before = input.get(..begins)?.matches('\n').count();
        told.line = told.line.checked_sub(before)?;
        told.source(self.server.dialect, &step.text)
    }

    fn in_a_file(&self, source: Source, group: &[(usize, &SqlStep)]) -> Trouble {
        let message = format!("`{}:{}`: {}", source.file, source.line, source.message);
        let statement = source.statement.lines().map(|line| clean_line(line, 200));
        let mut log: Vec<String> = statement.collect();
        if self.server.dialect == Dialect::MariaDb {
            log.push(format!(
                "what stands before it in `{}` is done and stays: MariaDB commits at every CREATE, ALTER and DROP; the whole file runs again",
                source.file
            ));
        }
        Trouble::failed(clean(&redact(message, false, group), 1000)).log(log)
    }
}

/// Takes out of a server's message what it repeats of the statements.
fn redact(mut message: String, secret: bool, group: &[(usize, &SqlStep)]) -> String {
    // Everything that was sent can be repeated where one text swallows the next.
    for (_, step) in group {
        for part in &step.text.0 {
            if let Part::Secret(secret) = part {
                message = secret.taken_out_of(&message);
            }
        }
    }
    let any = secret || group.iter().any(|(_, step)| step.text.is_secret());
    if any {
        for (word, end) in [
            (" at or near ", " at or near [secret]"),
            (" near '", " near [secret]"),
        ] {
            if let Some(at) = message.find(word) {
                message.truncate(at);
                message.push_str(end);
            }
        }
    }
    message
}

/// Follows a stream: which steps are done, and what is said besides.
struct Follow<'a> {
    nonce: &'a str,
    marks_on: Side,
    done: Done<'a>,
    line: Vec<u8>,
    said: Vec<u8>,
    next: Option<usize>,
    finished: Option<usize>,
    began: bool,
    moved: bool,
}

impl<'a> Follow<'a> {
    /// What a server says in one go is kept up to this.
    const MOST: usize = 1 << 20;

    fn new(nonce: &'a str, marks_on: Side, done: Done<'a>, first: usize) -> Self {
        Follow {
            nonce,
            marks_on,
            done,
            line: Vec::new(),
            said: Vec::new(),
            next: Some(first),
            finished: None,
            began: false,
            moved: false,
        }
    }

    fn hear(&mut self, side: Side, piece: &[u8]) {
        if side != self.marks_on {
            if side == Side::Err {
                self.keep(piece);
            }
            return;
        }
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            if self.line.len() + part.len() <= Self::MOST {
                self.line.extend_from_slice(part);
            }
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                self.hear_line(side, &line);
            }
        }
    }

    fn hear_line(&mut self, side: Side, line: &[u8]) {
        let Some(words) = mark(line, self.nonce) else {
            if side == Side::Err {
                self.keep(line);
            }
            return;
        };
        match words.as_slice() {
            ["begin", _] => {
                self.began = true;
                self.said.clear();
            }
            ["moved", _] => self.moved = true,
            ["done", at] | ["done", at, "done"] => {
                // Only the step whose turn it is can be done.
                let at = at.parse().ok();
                if at.is_some() && at == self.next {
                    self.finished = at;
                    self.next = at.map(|at: usize| at + 1);
                    self.began = false;
                    (self.done)(at.unwrap_or_default());
                }
            }
            _ => {}
        }
    }

    fn keep(&mut self, piece: &[u8]) {
        if self.said.len() + piece.len() <= Self::MOST {
            self.said.extend_from_slice(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::command::Text;
    use crate::secret::Secret;

    fn step(text: Text) -> SqlStep {
        SqlStep {
            database: None,
            text,
            transaction: true,
            remember: None,
            forget: None,
        }
    }

    #[test]
    fn what_is_not_closed_stands_alone() {
        let texts = [
            "SELECT 1;",
            "SELECT 2;",
            "SELECT 'x;",
            "SELECT 3;",
            "\\connect y",
            "SELECT 4;",
            "SELECT 5;",
        ];
        let steps: Vec<_> = texts.iter().map(|text| step(Text::plain(*text))).collect();
        let sizes: Vec<_> = groups(Dialect::Postgres, &steps, true)
            .iter()
            .map(Vec::len)
            .collect();
        assert_eq!(sizes, [2, 1, 1, 1, 2]);
    }

    #[test]
    fn only_the_next_step_can_be_done() {
        let count = AtomicUsize::new(0);
        let done = |_| {
            count.fetch_add(1, Ordering::Relaxed);
        };
        let mut follow = Follow::new("N", Side::Err, &done, 3);
        for piece in [
            "N done 4 done\nN done 3 :provision_mark\nX done 3 done\n done 3 done\nN done",
            " 3 done\nN done 3 done\n",
            "N done 5 done\n",
        ] {
            follow.hear(Side::Err, piece.as_bytes());
        }
        follow.hear(Side::Out, b"N done 4 done\n");
        assert_eq!(
            (follow.finished, count.load(Ordering::Relaxed)),
            (Some(3), 1)
        );
    }

    #[test]
    fn a_message_repeats_no_secret() {
        let text = Text::plain("ALTER ROLE x PASSWORD E'")
            .push_secret(Secret::new("hunter2"))
            .push("';");
        let steps = [step(text)];
        let group: Vec<_> = steps.iter().enumerate().collect();
        let shown = redact("role \"hunter2\" is not there".to_owned(), true, &group);
        assert_eq!(shown, "role \"[secret]\" is not there");
        assert_eq!(
            redact("syntax error at or near \"hunt\"".to_owned(), true, &group),
            "syntax error at or near [secret]"
        );
        assert_eq!(
            redact(
                "You have an error near 'hunt' at line 1".to_owned(),
                false,
                &group
            ),
            "You have an error near [secret]"
        );
    }
}
