//! A machine with a shell: asked with one sheet, changed by a stream of scripts. What is said and how is [`super::session`]'s;
//! the way there is [`super::ssh`]'s or [`super::local`]'s.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

use super::session::{self, Broken, Call, Coming, End, Input, Session, Why};
use super::ssh::{self, Connection, Way};
use super::{Reach, Stop, Trouble, context, local, say};
use crate::command::{
    Answer, Answers, Ask, Blob, Machine, Part, Place, Question, Row, Rows, Script, Sudo, Via,
};
use crate::declaration::Environment;
use crate::error::{Failure, Kind};
use crate::fault::{self, Effect, Point};
use crate::plan::journal::{self, Note};
use crate::secret::Secret;
use crate::target::relay::Relay;

/// A program to run on a machine: a client of a database, fed with a text.
pub(super) struct Program<'a> {
    /// The user of the machine it runs as.
    pub user: &'a str,
    /// The program: the first of these that is there. Its environment is bare.
    pub programs: &'static str,
    /// Its arguments. Never a secret: anybody on the machine can read them.
    pub args: Vec<String>,
    /// What it reads.
    pub input: Secret,
    /// How long it may take.
    pub deadline: Duration,
    /// Whether it changes something: then it is never started twice, not even after a cut.
    pub once: bool,
}

/// What a program or script said.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Its exit status.
    pub status: i32,
    /// Its stdout.
    pub out: Vec<u8>,
    /// Its stderr.
    pub err: Vec<u8>,
}

/// A stream of bytes both ways.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// How long a question may take.
const QUESTION: Duration = Duration::from_secs(90);

/// So long one that could not be reached is not looked at again.
const DEAD: Duration = Duration::from_secs(60);

/// How long a new session may take.
const GUARD: Duration = Duration::from_secs(20);

/// How long one may take to confirm what may have locked us out.
fn patience() -> Duration {
    GUARD.min(Duration::from_secs(session::grace()))
}

/// Runs a program as a user, with a bare environment: user, programs, arguments. `setpriv` opens no login session, which `runuser`
/// does (slowly, and with a line in the log). What the shell can find out by itself starts no program.
const PROGRAM: &str = r#"user=$1 programs=$2 program=
shift 2
for one in $programs; do
    if command -v "$one" > /dev/null; then
        program=$one
        break
    fi
done
[ -n "$program" ] || { echo "there is no ${programs##*[ /]}" >&2; exit 127; }
set -- "$program" "$@"
if [ "$user" = root ] && [ -O / ] || { [ ! -O / ] && [ "$user" = "$(id -un)" ]; }; then
    bare
    LC_ALL=C.UTF-8
    exec "$@"
fi
group=
while IFS=: read -r name _ _ number _; do
    [ "$name" != "$user" ] || { group=$number && break; }
done < /etc/passwd
[ -n "$group" ] || group=$(id -g "$user") || exit 77
if command -v setpriv > /dev/null; then
    exec setpriv --reuid="$user" --regid="$group" --init-groups --reset-env -- "$@"
fi
exec runuser -u "$user" -- env -i PATH="$PATH" LC_ALL=C.UTF-8 "$@""#;

/// What all machines of an environment share.
#[derive(Clone, Debug)]
pub(super) struct Ways {
    environment: String,
    pinned: PathBuf,
    persist: bool,
    turns: Arc<Semaphore>,
}

impl Ways {
    /// Of an environment.
    pub fn new(environment: &Environment, reach: &Reach) -> Self {
        Ways {
            environment: environment.name.clone(),
            pinned: ssh::pinned(&environment.folder),
            persist: reach.persist,
            turns: Arc::new(Semaphore::new(reach.parallel.max(1))),
        }
    }

    /// The way to a machine over SSH.
    pub fn way(&self, machine: &Machine) -> Result<Way, Failure> {
        let Via::Ssh(ssh) = &machine.via else {
            let message = format!("`{}` is not reached over SSH", machine.name);
            return Err(Failure::new(Kind::Usage, message));
        };
        Ok(Way {
            name: machine.name.to_string(),
            environment: self.environment.clone(),
            ssh: (**ssh).clone(),
            pinned: self.pinned.clone(),
            persist: self.persist,
        })
    }
}

/// A machine, connected when it is first needed.
pub(super) struct Remote {
    machine: Machine,
    ways: Ways,
    state: Mutex<State>,
    /// The turn that everything asked of it right now shares.
    turn: Mutex<Weak<OwnedSemaphorePermit>>,
    /// Where the session's connection takes nothing new any more: another for what is dialled.
    beside: Mutex<Option<Arc<Connection>>>,
    /// Why it could not be reached, and when that was seen.
    unreached: std::sync::Mutex<Option<(Failure, Instant)>>,
    /// The journal of this run there.
    journal: Mutex<Option<Journal>>,
    /// The lock that every session of ours has to have from now on.
    locked: Mutex<Option<Lock>>,
    /// The answer about it that a new session owes.
    locking: Mutex<Option<Coming>>,
}

/// A lock.
#[derive(Clone)]
struct Lock {
    /// Whose.
    project: String,
    /// Who has it, for others.
    holder: String,
    /// What a session of ours knows it by that an earlier one has taken.
    token: String,
    /// Whether it was had. From then on nothing at all is said to a session that does not have it.
    had: bool,
}

impl Lock {
    fn call(&self) -> Call {
        Call::Lock {
            project: self.project.clone(),
            holder: self.holder.clone(),
            token: self.token.clone(),
            tell: !self.had,
        }
    }
}

/// The journal of a run on a machine.
#[derive(Clone)]
struct Journal {
    /// Its file.
    path: String,
    /// How it begins: the heading, which is its first line, and what is planned.
    text: String,
    /// Whether it is there.
    open: bool,
}

/// What is there of a machine's session.
#[derive(Default)]
enum State {
    /// Nothing yet, or no more.
    #[default]
    Idle,
    /// A session.
    Live(Link),
    /// It could not be had, as of then.
    Failed(Failure, Instant),
}

/// A session and the connection it goes over.
#[derive(Clone)]
struct Link {
    session: Session,
    connection: Option<Arc<Connection>>,
}

impl Link {
    /// Whether a new connection may do better: this one was there before us.
    fn is_stale(&self) -> bool {
        self.connection.as_ref().is_some_and(|made| made.kept)
    }
}

impl Remote {
    /// A machine that nobody has spoken to yet.
    pub fn new(machine: Machine, ways: &Ways) -> Self {
        Remote {
            machine,
            ways: ways.clone(),
            state: Mutex::default(),
            turn: Mutex::default(),
            unreached: std::sync::Mutex::default(),
            journal: Mutex::default(),
            locked: Mutex::default(),
            locking: Mutex::default(),
            beside: Mutex::default(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.machine.name
    }

    /// A socket of this machine behind which the engine is that listens on a socket of that one.
    pub async fn relay(&self, socket: &str) -> Result<Relay, Failure> {
        let link = self.greeted().await?;
        let connection = link.connection.ok_or_else(|| {
            let message = format!("`{}` is not reached over SSH", self.machine.name);
            Failure::new(Kind::Usage, message)
        })?;
        let way = self.ways.way(&self.machine)?;
        Relay::open(way, connection, &self.machine.sudo, socket)
    }

    /// The answer to one question, in a trip of its own or in that of what is asked at the same time.
    pub async fn ask_one(&self, question: Question, words: Vec<String>) -> Answer {
        let items = HashMap::from([(question.name, words)]);
        let answers = self.look(std::slice::from_ref(&question), &items).await;
        let place = Place::Machine(Arc::clone(&self.machine.name));
        let none = || Answer::Unreadable("nothing came back".to_owned());
        let answer = answers.get(&place, question.name).cloned();
        answer.unwrap_or_else(none)
    }

    /// Why it could not be reached, if it could not.
    pub fn unreached(&self) -> Option<Failure> {
        let unreached = self.unreached.lock();
        let unreached = unreached.unwrap_or_else(PoisonError::into_inner);
        unreached.as_ref().map(|(failure, _)| failure.clone())
    }

    /// Why it could not be reached a moment ago: who looks again does not wait for it again.
    fn just_unreached(&self) -> Option<Failure> {
        let unreached = self.unreached.lock();
        let unreached = unreached.unwrap_or_else(PoisonError::into_inner);
        let (failure, when) = unreached.as_ref()?;
        (when.elapsed() < DEAD).then(|| failure.clone())
    }

    /// Keeps why it cannot be reached, or that it can.
    fn keep_unreached(&self, why: Option<&Failure>) {
        *self
            .unreached
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = why.map(|why| (why.clone(), Instant::now()));
    }

    /// Waits for its turn among the machines; whatever is asked of it at the same time shares the turn.
    async fn turn(&self) -> Option<Arc<OwnedSemaphorePermit>> {
        let mut shared = self.turn.lock().await;
        if let Some(turn) = shared.upgrade() {
            return Some(turn);
        }
        // The semaphore is never closed.
        let turn = Arc::clone(&self.ways.turns).acquire_owned().await.ok()?;
        let turn = Arc::new(turn);
        *shared = Arc::downgrade(&turn);
        Some(turn)
    }

    /// The session, made where there is none. Those who ask at the same time get the same, or the same failure.
    async fn link(&self) -> Result<Link, Failure> {
        let asked = Instant::now();
        let mut state = self.state.lock().await;
        match &*state {
            State::Live(link) if link.session.is_live() => return Ok(link.clone()),
            State::Failed(failure, when) if *when >= asked => return Err(failure.clone()),
            _ => {}
        }
        let mut made = self.make().await;
        // A lock goes with its session, so the first thing that another one hears is to take it.
        let lock = self.locked.lock().await.clone();
        if let (Ok(link), Some(lock)) = (&made, lock) {
            let coming = link.session.ask(lock.call(), QUESTION);
            match lock.had {
                true => {
                    let taken = self.take_lock(link, &lock, coming).await;
                    made = taken.map(|_| link.clone());
                }
                false => *self.locking.lock().await = Some(coming),
            }
        }
        self.keep_unreached(made.as_ref().err());
        *state = match &made {
            Ok(link) => State::Live(link.clone()),
            Err(failure) => State::Failed(failure.clone(), Instant::now()),
        };
        made
    }

    async fn make(&self) -> Result<Link, Failure> {
        self.make_over(false).await
    }

    /// Makes a session; over a connection of its own, if it is to show that one can be made.
    async fn make_over(&self, fresh: bool) -> Result<Link, Failure> {
        let name: &str = &self.machine.name;
        let began = Instant::now();
        if let Via::Local = self.machine.via {
            let streams = local::shell(&self.machine.sudo)?;
            return Ok(Link {
                session: Session::start(name, streams, None),
                connection: None,
            });
        }
        let mut way = self.ways.way(&self.machine)?;
        way.persist &= !fresh;
        let command = match self.machine.sudo {
            Sudo::Free => session::SUDO_COMMAND,
            Sudo::No | Sudo::Password(_) => session::COMMAND,
        };
        let mut connection = Connection::make(&way).await?;
        let streams = match connection.open(command).await {
            // The kept one has died meanwhile.
            Err(failure) if connection.kept => {
                tracing::info!(host = name, "{failure}; connecting anew");
                connection.forget();
                connection = Connection::make(&way).await?;
                connection.open(command).await?
            }
            opened => opened?,
        };
        let kept = connection.kept;
        let ms = began.elapsed().as_millis();
        tracing::info!(host = name, ms, kept, "connected");
        let password = match &self.machine.sudo {
            Sudo::Password(password) => Some(password.clone()),
            _ => None,
        };
        Ok(Link {
            session: Session::start(name, streams, password),
            connection: Some(Arc::new(connection)),
        })
    }

    /// Drops the session, so that the next to ask makes another.
    async fn forget(&self, link: &Link) {
        if let Some(connection) = &link.connection {
            connection.forget();
        }
        *self.state.lock().await = State::Idle;
    }

    /// The session once it has said hello: what changes something is told to no other.
    async fn greeted(&self) -> Result<Link, Failure> {
        let link = self.link().await?;
        let Err(end) = link.session.greeted().await else {
            return Ok(link);
        };
        if !link.is_stale() {
            return Err(self.unspoken(&link, &end));
        }
        self.forget(&link).await;
        let link = self.link().await?;
        match link.session.greeted().await {
            Ok(()) => Ok(link),
            Err(end) => Err(self.unspoken(&link, &end)),
        }
    }

    /// What a session that ended before its hello means; kept.
    fn unspoken(&self, link: &Link, end: &End) -> Failure {
        let name = &self.machine.name;
        let failure = match (&self.machine.via, &link.connection) {
            (Via::Ssh(_), Some(connection)) => connection.unspoken(end),
            _ => {
                let told = ssh::sudo(&end.err, end.why, "you", name);
                let (message, hint) = told.unwrap_or_else(|| {
                    let said = say::last_words(&end.err, 1).pop().unwrap_or_default();
                    let message = format!("the shell of this machine does not answer: {said}");
                    (message, "run it as root".to_owned())
                });
                Failure::new(Kind::Unreachable, message).hint(hint)
            }
        };
        self.keep_unreached(Some(&failure));
        failure
    }

    /// Asks its questions, each with its items, all in one trip. Failures are answers.
    pub async fn look(
        &self,
        questions: &[Question],
        items: &HashMap<&'static str, Vec<String>>,
    ) -> Answers {
        let asked: Vec<_> = questions
            .iter()
            .filter_map(|question| match question.ask {
                Ask::Machine { body, columns } => {
                    let items = items.get(question.name)?;
                    Some((question.name, body, columns, items))
                }
                _ => None,
            })
            .collect();
        let mut answers = Answers::default();
        if asked.is_empty() {
            return answers;
        }
        let began = Instant::now();
        let _turn = self.turn().await;
        let calls = || {
            let calls = asked.iter().map(|(_, body, _, items)| {
                let words = items.iter().map(|item| Secret::new(item.as_str()));
                let call = Call::Script {
                    body,
                    words: words.collect(),
                    input: Input::Empty,
                    note: None,
                };
                (call, QUESTION)
            });
            calls.collect()
        };
        let place = Place::Machine(Arc::clone(&self.machine.name));
        let asked_now = match self.just_unreached() {
            Some(failure) => Err(failure),
            None => self.ask(calls).await,
        };
        let heard = match asked_now {
            Ok(heard) => heard,
            Err(failure) => {
                for (name, ..) in &asked {
                    let why = Answer::Unreadable(failure.message.clone());
                    answers.put(place.clone(), name, why);
                }
                return answers;
            }
        };
        let trips: BTreeSet<_> = heard
            .iter()
            .filter_map(|said| Some(said.as_ref().ok()?.trip))
            .collect();
        for ((name, _, columns, _), said) in asked.iter().zip(heard) {
            let answer = match said {
                Ok(said) => answer(&said, columns),
                Err(broken) => Answer::Unreadable(sentence(&broken)),
            };
            answers.put(place.clone(), name, answer);
        }
        let ms = began.elapsed().as_millis();
        let (trip, trips) = (trips.last().copied(), trips.len());
        tracing::info!(
            ms,
            trip,
            trips,
            questions = asked.len(),
            "asked {name}",
            name = self.machine.name
        );
        answers
    }

    /// Asks what changes nothing, so that it may be asked again where a connection has died.
    async fn ask(
        &self,
        calls: impl Fn() -> Vec<(Call, Duration)>,
    ) -> Result<Vec<Result<session::Said, Broken>>, Failure> {
        for _ in 0..2 {
            let link = self.link().await?;
            let mut coming = link.session.ask_all(calls());
            let mut heard = Vec::new();
            while let Some(said) = coming.next().await {
                heard.push(said);
            }
            let Err(end) = link.session.greeted().await else {
                if !heard.iter().any(is_cut) {
                    return Ok(heard);
                }
                self.forget(&link).await;
                continue;
            };
            if !link.is_stale() {
                return Err(self.unspoken(&link, &end));
            }
            self.forget(&link).await;
        }
        let message = format!(
            "`{}` cannot be reached: its sessions end again and again",
            self.machine.name
        );
        let failure = Failure::new(Kind::Unreachable, message);
        self.keep_unreached(Some(&failure));
        Err(failure)
    }

    /// Runs scripts in order, sent without waiting for each other; those after the first that fails do not run. `done` hears the
    /// index of each that is done. Once it is said to stop, the one that runs comes to its end and no other begins. What the journal
    /// there says of them goes with them: one note a script, or none at all.
    pub async fn run(
        &self,
        scripts: &[(Script, Duration)],
        notes: &[Note],
        stop: Option<&Stop>,
        done: &(dyn Fn(usize) + Send + Sync),
    ) -> Result<(), (usize, Trouble)> {
        let mut journal = self.journal.lock().await;
        let path = journal.as_ref().map(|journal| journal.path.clone());
        let mut calls = Vec::new();
        for (at, (script, deadline)) in scripts.iter().enumerate() {
            let note = path.clone().zip(notes.get(at).cloned());
            let call = call(script, note).await;
            calls.push((call.map_err(|why| (at, Trouble::failed(why)))?, *deadline));
        }
        let _turn = self.turn().await;
        let link = self.greeted().await;
        let link = link.map_err(|failure| (0, unreachable(failure)))?;
        if let Some(journal) = journal.as_mut().filter(|journal| !journal.open)
            && !notes.is_empty()
        {
            self.begin_journal(&link, journal).await?;
        }
        drop(journal);
        let mut calls = calls.into_iter();
        let mut from = 0;
        // What may lock us out is confirmed before anything after it is sent.
        let border = |(script, _): &(Script, Duration)| script.guard.is_some();
        for part in scripts.split_inclusive(|one| border(one) || fault::one_by_one()) {
            let sent = calls.by_ref().take(part.len()).collect();
            if stop.is_some_and(|stop| *stop.borrow()) {
                return Err((from, Trouble::halted()));
            }
            let heard = |at| done(from + at);
            self.run_part(&link, part, sent, stop, &heard)
                .await
                .map_err(|(at, trouble)| (from + at, trouble))?;
            from += part.len();
        }
        Ok(())
    }

    /// Scripts of which at most the last one is guarded.
    async fn run_part(
        &self,
        link: &Link,
        scripts: &[(Script, Duration)],
        calls: Vec<(Call, Duration)>,
        stop: Option<&Stop>,
        done: &(dyn Fn(usize) + Send + Sync),
    ) -> Result<(), (usize, Trouble)> {
        let effect = Effect::begin();
        let mut coming = link.session.tell(calls);
        let (halt, unhalt) = (link.session.halt(&coming), link.session.unhalt(&coming));
        let ran = async {
            let mut effect = effect;
            let mut ended = Ok(());
            for (at, (script, deadline)) in scripts.iter().enumerate() {
                let came = coming.next().await;
                if let Err((failed, trouble)) = &mut ended {
                    // What was sent ahead is skipped there; nobody leaves before that is known. Where it cannot be known any more
                    // it may have been done too.
                    let trouble: &mut Trouble = trouble;
                    if trouble.unknown && matches!(came, Some(Err(Broken::Unknown(_))) | None) {
                        trouble.ahead = at - *failed;
                    }
                    continue;
                }
                ended = match came {
                    Some(Ok(said)) if said.status == 0 => match script.guard {
                        Some(name) => self.confirm(link, name).await.map_err(|why| (at, why)),
                        None => Ok(()),
                    },
                    Some(Ok(said)) => {
                        if let Some(name) = script.guard {
                            // Half a change is none. Where nothing was begun there is nothing to take back.
                            self.revert(link, name).await;
                        }
                        Err((at, failed(script, &said)))
                    }
                    // None before it failed, so it was told to stop.
                    Some(Err(Broken::Skipped)) => Err((at, Trouble::halted())),
                    Some(Err(broken)) => Err((at, trouble(&broken, *deadline))),
                    None => Err((at, Trouble::unknown("nothing came back"))),
                };
                effect.at(Point::Between);
                if ended.is_ok() {
                    done(at);
                }
                effect.at(Point::After);
                if at + 1 < scripts.len() {
                    effect = Effect::begin();
                }
            }
            ended
        };
        let Some(stop) = stop else { return ran.await };
        let mut ran = std::pin::pin!(ran);
        let other = tokio::select! {
            ended = &mut ran => return ended,
            other = self.aside(stop.clone()) => other,
        };
        // From here on nothing is broken off: a name that is made is taken away again.
        let halted = async {
            let other = other?;
            match other.session.ask(halt, GUARD).next().await {
                Some(Ok(said)) if said.status == 0 => Ok(other),
                Some(Ok(said)) => Err(last_line(&said.err)),
                Some(Err(broken)) => Err(sentence(&broken)),
                None => Err("nothing came back".to_owned()),
            }
        };
        let name = &self.machine.name;
        let (halted, ended) = tokio::join!(
            async {
                let halted = halted.await;
                match &halted {
                    Ok(_) => tracing::info!("`{name}` stops after what is running"),
                    Err(why) => tracing::warn!(
                        "`{name}` cannot be told to stop, so all that was sent there is done: {why}"
                    ),
                }
                halted
            },
            ran
        );
        if let Ok(other) = halted {
            let _left = other.session.ask(unhalt, GUARD).next().await;
        }
        ended
    }

    /// The journal of this run, from now on: what scripts with notes do there is written down there.
    pub async fn keep_journal(&self, path: String, text: String) {
        *self.journal.lock().await = Some(Journal {
            path,
            text,
            open: false,
        });
    }

    /// Begins it now, and not with the first script.
    pub async fn open_journal(&self) -> Result<(), Trouble> {
        let mut journal = self.journal.lock().await;
        let Some(journal) = journal.as_mut().filter(|journal| !journal.open) else {
            return Ok(());
        };
        let _turn = self.turn().await;
        let link = self.greeted().await.map_err(unreachable)?;
        let begun = self.begin_journal(&link, journal).await;
        begun.map_err(|(_, trouble)| trouble)
    }

    async fn begin_journal(
        &self,
        link: &Link,
        journal: &mut Journal,
    ) -> Result<(), (usize, Trouble)> {
        let words = vec![
            Secret::new(&journal.path),
            Secret::new(&journal.text),
            Secret::new(journal::FORMAT.to_string()),
        ];
        let told = tell_one(link, journal::OPEN, words, QUESTION).await;
        told.map_err(|trouble| (0, trouble))
            .and_then(|said| match said.status {
                0 => Ok(()),
                78 => {
                    let format = say::clean(&String::from_utf8_lossy(&said.out), 20);
                    let message = format!(
                        "nothing is begun: a later version of the program keeps its journal in `{}`, which is of format {format}",
                        journal.path
                    );
                    Err((0, Trouble::failed(message).kind(Kind::Stale)))
                }
                _ => {
                    let message = format!(
                        "nothing is begun, since no journal can be kept in `{}`: {}",
                        journal.path,
                        last_line(&said.err)
                    );
                    Err((0, Trouble::failed(message)))
                }
            })?;
        journal.open = true;
        Ok(())
    }

    /// Writes the last line of the journal, where there is one.
    ///
    /// # Errors
    /// Why it is not written: then the run looks as if it had not come to its end.
    pub async fn end_journal(&self, over: &str) -> Result<(), Trouble> {
        let journal = self.journal.lock().await.clone();
        let Some(journal) = journal.filter(|journal| journal.open) else {
            return Ok(());
        };
        let _turn = self.turn().await;
        let link = self.greeted().await.map_err(unreachable)?;
        let words = vec![
            Secret::new(&journal.path),
            Secret::new(journal.text.lines().next().unwrap_or_default()),
            Secret::new(over),
        ];
        let said = tell_one(&link, journal::CLOSE, words, QUESTION).await?;
        match said.status {
            0 => Ok(()),
            _ => Err(Trouble::failed(last_line(&said.err))),
        }
    }

    /// Another session, once it is said to stop: the first one is busy with what was sent.
    async fn aside(&self, mut stop: Stop) -> Result<Link, String> {
        if stop.wait_for(|stop| *stop).await.is_err() {
            return std::future::pending().await;
        }
        let link = tokio::time::timeout(GUARD, self.make()).await;
        let link = link.map_err(|_| "a new session is not answered".to_owned())?;
        let link = link.map_err(|failure| failure.message)?;
        let greeted = link.session.greeted().await;
        greeted.map_err(|_| "a new session gets no shell".to_owned())?;
        Ok(link)
    }

    /// Lets a guarded change stay, over a connection made for that; or has it taken back, by us or by the machine itself.
    async fn confirm(&self, link: &Link, name: &'static str) -> Result<(), Trouble> {
        let why = match self.comes_in().await {
            Ok(fresh) => match guarded(&fresh, "guard_confirm \"$1\"", name).await {
                Some(said) if said.status == 0 => return Ok(()),
                Some(said) => return Err(Trouble::failed(last_line(&said.err))),
                None => "a new connection does not last".to_owned(),
            },
            Err(why) => why,
        };
        Err(match self.revert(link, name).await {
            Some(said) if said.status == 0 => Trouble::failed(format!(
                "it would have locked us out ({why}), so the old state was put back"
            )),
            Some(said) => Trouble::unknown(format!(
                "it locks us out ({why}), and {}",
                last_line(&said.err)
            )),
            None => Trouble::failed(format!(
                "it locks us out ({why}); the machine puts the old state back by itself within a minute"
            ))
            .kind(Kind::Unreachable),
        })
    }

    /// A session over a connection of its own, as whoever comes next would get it. A server that reads its files again may be deaf for
    /// a moment.
    async fn comes_in(&self) -> Result<Link, String> {
        let come = async {
            let mut tries = 0;
            loop {
                tries += 1;
                let why = match self.make_over(true).await {
                    Ok(fresh) => match fresh.session.greeted().await {
                        Ok(()) => return Ok(fresh),
                        Err(_) => "a new connection gets no shell".to_owned(),
                    },
                    Err(failure) => failure.message,
                };
                if tries == 3 {
                    return Err(why);
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        let came = tokio::time::timeout(patience(), come).await;
        came.unwrap_or_else(|_| Err("a new connection is not answered".to_owned()))
    }

    /// Has a guarded change taken back at once, over the connection that made it.
    async fn revert(&self, link: &Link, name: &'static str) -> Option<session::Said> {
        guarded(link, "guard_revert \"$1\"", name).await
    }

    /// Takes the lock of a project; it is held by the session, for as long as that lives or anything it runs. What is asked meanwhile
    /// of a session that has to be made for it is asked behind it, in the same trip. With the lock comes what the machine has put back
    /// by itself since somebody had it last; it says so once. `seat` is the lock that the run holds where it is run, and the run
    /// ([`crate::files::Lock::seat`]), or nothing: another run that held the same one is gone, and may have left a session that nobody
    /// speaks to, where the network fell silent before it.
    pub async fn lock(&self, project: &str, doing: &str, seat: &str) -> Result<(), Failure> {
        let nonce = say::nonce().map_err(|why| Failure::new(Kind::Failed, why))?;
        let mut lock = Lock {
            project: project.to_owned(),
            holder: format!("{doing}, {}", us()),
            token: format!("{seat}.{nonce}"),
            had: false,
        };
        // First of all: a machine that cannot be reached now and can be later has to be locked then.
        *self.locked.lock().await = Some(lock.clone());
        let _turn = self.turn().await;
        let link = self.greeted().await?;
        let owed = self.locking.lock().await.take();
        let coming = owed.unwrap_or_else(|| link.session.ask(lock.call(), QUESTION));
        let told = put_back(&self.take_lock(&link, &lock, coming).await?);
        lock.had = true;
        *self.locked.lock().await = Some(lock);
        if told.is_empty() {
            return Ok(());
        }
        let message = format!("`{}` {}", self.machine.name, told.join("; "));
        Err(Failure::new(Kind::Failed, message)
            .hint("the run that changed it did not get in again: look at what is declared")
            .hint("the next run goes on, and tries it again where it is still declared"))
    }

    /// Gives a lock back, which goes with the session.
    pub async fn unlock(&self) {
        *self.locked.lock().await = None;
        *self.locking.lock().await = None;
        *self.state.lock().await = State::Idle;
    }

    /// Waits for a lock that was asked for; what the machine told with it.
    async fn take_lock(
        &self,
        link: &Link,
        Lock { project, .. }: &Lock,
        mut coming: Coming,
    ) -> Result<Vec<u8>, Failure> {
        let greeted = link.session.greeted().await;
        greeted.map_err(|end| self.unspoken(link, &end))?;
        let name = &self.machine.name;
        let cannot =
            |kind, why: &str| Failure::new(kind, format!("`{name}` cannot be locked: {why}"));
        let said = match coming.next().await {
            Some(Ok(said)) => said,
            Some(Err(broken)) => return Err(cannot(Kind::Unreachable, &sentence(&broken))),
            None => return Err(cannot(Kind::Unreachable, "nothing came back")),
        };
        match said.status {
            0 => Ok(said.out),
            75 => {
                let holder = say::clean(&String::from_utf8_lossy(&said.out), 300);
                let holder = match holder.as_str() {
                    "" => "another run",
                    holder => holder,
                };
                let message = format!("project `{project}` is locked on `{name}`: {holder}");
                Err(Failure::new(Kind::Locked, message)
                    .hint("wait until it is done, or let `--wait` do that; the lock goes with the process that holds it"))
            }
            77 => Err(cannot(
                Kind::Unreachable,
                "what this run began there before it lost the connection still runs",
            )),
            _ => Err(cannot(Kind::Failed, &last_line(&said.err))),
        }
    }

    /// Connects where there is no connection (any more), and waits until the machine has said hello.
    pub async fn awake(&self) -> Result<(), Failure> {
        self.greeted().await.map(|_| ())
    }

    /// A stream to an address as the machine itself would reach it, for probes and logins: `127.0.0.1` is the machine.
    pub async fn dial(&self, address: &str, port: u16) -> Result<Box<dyn Stream>, String> {
        if let Via::Local = self.machine.via {
            let stream = TcpStream::connect((address, port)).await;
            let stream = stream.map_err(|error| say::clean(&error.to_string(), 200))?;
            return Ok(Box::new(stream));
        }
        let link = self.link().await.map_err(|failure| failure.message)?;
        let connection = link.connection.as_ref().ok_or("there is no connection")?;
        if connection.is_open() {
            return Ok(Box::new(connection.dial(address, port)?));
        }
        // The session goes on over it, and nothing else does: what is new goes over another.
        let mut beside = self.beside.lock().await;
        let other = match &*beside {
            Some(other) if other.is_open() => Arc::clone(other),
            _ => {
                let make = async || Connection::make(&self.ways.way(&self.machine)?).await;
                let other = make().await.map_err(|failure| failure.message)?;
                Arc::clone(beside.insert(Arc::new(other)))
            }
        };
        Ok(Box::new(other.dial(address, port)?))
    }

    /// Runs a program; what it says comes when it is over, in the same trip as everything else that is asked now.
    pub async fn program(&self, program: Program<'_>) -> Result<Said, Trouble> {
        let began = Instant::now();
        let _turn = self.turn().await;
        let calls = || {
            let words = [program.user, program.programs]
                .into_iter()
                .chain(program.args.iter().map(String::as_str))
                .map(Secret::new);
            let call = Call::Script {
                body: PROGRAM,
                words: words.collect(),
                input: Input::Text(program.input.clone()),
                note: None,
            };
            vec![(call, program.deadline)]
        };
        let first = match program.once {
            true => {
                let link = self.greeted().await.map_err(unreachable)?;
                link.session.tell(calls()).next().await
            }
            false => {
                let heard = self.ask(calls).await.map_err(unreachable)?;
                heard.into_iter().next()
            }
        };
        if let Some(Ok(said)) = &first {
            let ms = began.elapsed().as_millis();
            let name = &self.machine.name;
            tracing::info!(
                ms,
                trip = said.trip,
                bytes = said.out.len(),
                "asked a program of {name}"
            );
        }
        match first {
            Some(Ok(said)) => Ok(Said {
                status: said.status,
                out: said.out,
                err: said.err,
            }),
            Some(Err(broken)) => Err(trouble(&broken, program.deadline)),
            None => Err(Trouble::unknown("nothing came back")),
        }
    }
}

/// Tells one script, which nothing depends on.
async fn tell_one(
    link: &Link,
    body: &'static str,
    words: Vec<Secret>,
    deadline: Duration,
) -> Result<session::Said, Trouble> {
    let call = Call::Script {
        body,
        words,
        input: Input::Empty,
        note: None,
    };
    match link.session.tell(vec![(call, deadline)]).next().await {
        Some(Ok(said)) => Ok(said),
        Some(Err(broken)) => Err(trouble(&broken, deadline)),
        None => Err(Trouble::unknown("nothing came back")),
    }
}

/// What a guard's function says; nothing, where it was not heard.
async fn guarded(link: &Link, body: &'static str, name: &'static str) -> Option<session::Said> {
    let said = tell_one(link, body, vec![Secret::new(name)], patience()).await;
    said.ok()
}

/// A failure to reach it, as an effect's.
fn unreachable(failure: Failure) -> Trouble {
    Trouble {
        log: failure.hints,
        ..Trouble::failed(failure.message).kind(failure.kind)
    }
}

/// Whether an answer was lost with its connection.
fn is_cut(said: &Result<session::Said, Broken>) -> bool {
    matches!(said, Err(Broken::NotBegun(end) | Broken::Unknown(end)) if end.why == Why::Cut)
}

/// What a broken call means, in a sentence.
fn sentence(broken: &Broken) -> String {
    let end = match broken {
        Broken::Skipped => return "something before it failed".to_owned(),
        Broken::Unsendable(why) => return why.clone(),
        Broken::NotBegun(end) | Broken::Unknown(end) => end,
    };
    let what = match end.why {
        Why::NoHello | Why::Mute | Why::Sudo => "there was no session",
        Why::Cut => "the connection was lost",
        Why::Deadline => "it took too long",
        Why::TooMuch => "it said more than can be kept",
        Why::Forged => "it said what no session of ours says",
        Why::NoNonce => "there are no random numbers on this machine",
        Why::File => "a file that is sent has changed or cannot be read",
    };
    match end.err.lines().last() {
        Some(line) if end.why == Why::Cut => format!("{what}: {line}"),
        _ => what.to_owned(),
    }
}

/// The same as an effect's trouble.
fn trouble(broken: &Broken, deadline: Duration) -> Trouble {
    match broken {
        Broken::Unknown(end) if end.why == Why::Deadline => {
            Trouble::unknown(format!("it took longer than {} s", deadline.as_secs()))
        }
        Broken::Unknown(end) if end.why == Why::File => Trouble::failed(sentence(broken)),
        Broken::Unknown(_) => Trouble::unknown(sentence(broken)).kind(Kind::Unreachable),
        Broken::NotBegun(_) => Trouble::failed(sentence(broken)).kind(Kind::Unreachable),
        Broken::Skipped | Broken::Unsendable(_) => Trouble::failed(sentence(broken)),
    }
}

/// A script that failed.
fn failed(script: &Script, said: &session::Said) -> Trouble {
    let text = redacted(script, &String::from_utf8_lossy(&said.err));
    let mut log = say::tail(&text, 40, false, None);
    let message = match log.pop() {
        Some(line) => say::clean(&line, 400),
        None => format!("it ended with {} and said nothing", said.status),
    };
    Trouble::failed(message).said(&text).log(log)
}

/// What a script said, without the secrets it was given.
fn redacted(script: &Script, said: &str) -> String {
    let input = match &script.input {
        Some(Blob::Text(text)) => Some(text),
        _ => None,
    };
    let mut said = said.to_owned();
    for text in script.words.iter().chain(input) {
        for part in &text.0 {
            let Part::Secret(secret) = part else { continue };
            let whole = secret.expose();
            for piece in std::iter::once(whole).chain(whole.lines()) {
                let piece = piece.trim();
                if piece.len() >= 4 {
                    said = said.replace(piece, "[secret]");
                } else if !piece.is_empty() && said.contains(piece) {
                    return "it failed; what it said is not shown, since a short secret may be in it".to_owned();
                }
            }
        }
    }
    said
}

/// A script as a call.
async fn call(script: &Script, note: Option<(String, Note)>) -> Result<Call, String> {
    let input = match &script.input {
        None => Input::Empty,
        Some(Blob::Text(text)) => Input::Text(text.expose()),
        Some(Blob::File(path)) => {
            let shown = say::clean(&path.display().to_string(), 200);
            let meta = tokio::fs::metadata(path).await;
            let meta = meta.map_err(|error| format!("cannot read `{shown}`: {error}"))?;
            if !meta.is_file() {
                return Err(format!("`{shown}` is no file"));
            }
            Input::File(path.clone(), meta.len())
        }
        Some(Blob::Folder(path)) => {
            let folder = (String::new(), path.clone());
            let made =
                tokio::task::spawn_blocking(move || context::archive(&[], Some(&folder), false));
            match made.await {
                Ok(archive) => Input::Bytes(archive?),
                Err(_) => return Err("the archive of the folder cannot be made".to_owned()),
            }
        }
    };
    Ok(Call::Script {
        body: script.body,
        words: script.words.iter().map(|word| word.expose()).collect(),
        input,
        note,
    })
}

/// What a question's script said, as an answer.
fn answer(said: &session::Said, columns: &[&str]) -> Answer {
    if said.status != 0 {
        return Answer::Unreadable(match said.err.trim_ascii().is_empty() {
            true => format!("the question ended with {} and said nothing", said.status),
            false => last_line(&said.err),
        });
    }
    let text = String::from_utf8_lossy(&said.out);
    let mut rows = Vec::new();
    for line in text.lines() {
        let values: Vec<_> = line.split('\t').collect();
        if values.len() != columns.len() {
            let line = say::clean(line, 100);
            return Answer::Unreadable(format!("it answered a line that is no row: {line}"));
        }
        let row: Row = columns
            .iter()
            .zip(values)
            .map(|(column, value)| ((*column).to_owned(), Value::from(value)))
            .collect();
        rows.push(row);
    }
    Answer::Rows(Rows::new(rows))
}

/// What `guard_tell` has said.
fn put_back(said: &[u8]) -> Vec<String> {
    let said = String::from_utf8_lossy(said);
    let rows = said.lines().filter_map(|line| {
        let mut parts = line.splitn(3, '\t').map(|part| say::clean(part, 200));
        let (how, what, when) = (parts.next()?, parts.next()?, parts.next()?);
        Some(format!(
            "{how} `{what}` at {when}, since nobody confirmed the change"
        ))
    });
    rows.collect()
}

fn last_line(said: &[u8]) -> String {
    let mut lines = say::last_words(&String::from_utf8_lossy(said), 1);
    lines.pop().unwrap_or_else(|| "it says nothing".to_owned())
}

/// Who we are, for others who find the lock taken.
fn us() -> String {
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let mut whom = format!(" of {}", crate::operator::user());
    if !machine.trim().is_empty() {
        whom = format!("{whom} on {}", say::clean(&machine, 50));
    }
    format!(
        "process {}{}, since {}",
        std::process::id(),
        whom,
        jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S UTC")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Text, unflat};

    pub(crate) fn ways() -> Ways {
        Ways {
            environment: "prod".to_owned(),
            pinned: PathBuf::from("/nowhere/known_hosts"),
            persist: true,
            turns: Arc::new(Semaphore::new(32)),
        }
    }

    fn here() -> Remote {
        let machine = Machine {
            name: "local".into(),
            via: Via::Local,
            sudo: Sudo::No,
        };
        Remote::new(machine, &ways())
    }

    fn script(body: &'static str, words: &[&str]) -> (Script, Duration) {
        let words = words.iter().map(|word| Text::plain(*word)).collect();
        let script = Script {
            body,
            words,
            input: None,
            guard: None,
        };
        (script, Duration::from_secs(10))
    }

    const ECHO: Question = Question {
        name: "echo",
        ask: Ask::Machine {
            body: r#"for item in "$@"; do row "$item" "$(printf '%s' "$item" | b64)"; done"#,
            columns: &["key", "value"],
        },
    };
    const FLAT: Question = Question {
        name: "flat",
        ask: Ask::Machine {
            body: r#"for item in "$@"; do flat "$item"; row "$(printf '%s' "$item" | b64)" "$_flat"; done"#,
            columns: &["key", "value"],
        },
    };
    const BROKEN: Question = Question {
        name: "broken",
        ask: Ask::Machine {
            body: "row a b; die \"no such $1\"",
            columns: &["key", "value"],
        },
    };

    #[tokio::test]
    async fn one_sheet_is_one_trip_and_a_broken_question_is_alone() {
        let here = here();
        let hostile = [
            "a",
            "",
            "it's",
            "$(id)",
            "`id`",
            "a b\u{e9}\u{142}",
            "\\n\\",
            "*",
            "-n",
            "\"x\"",
            "#",
            "!!",
        ];
        let lines = "two\nlines\t and\n\na tab\n";
        let items: Vec<String> = hostile.map(str::to_owned).to_vec();
        let items = HashMap::from([
            ("flat", [items.clone(), vec![lines.to_owned()]].concat()),
            ("echo", items),
            ("broken", vec!["thing".to_owned()]),
        ]);
        let program = Program {
            user: "root",
            programs: "/no/such/program env",
            args: ["NAME=x y", "sh", "-c", "cat; env; echo e >&2; exit 3"]
                .map(str::to_owned)
                .to_vec(),
            input: Secret::new("line\n\n"),
            deadline: Duration::from_secs(5),
            once: false,
        };
        let questions = [ECHO, FLAT, BROKEN];
        let (answers, said) = tokio::join!(here.look(&questions, &items), here.program(program));
        let place = Place::Machine("local".into());
        let Some(Answer::Rows(rows)) = answers.get(&place, "echo") else {
            panic!("{answers:?}");
        };
        let Some(Answer::Rows(flat)) = answers.get(&place, "flat") else {
            panic!("{answers:?}");
        };
        for item in hostile.into_iter().chain([lines]) {
            use base64::Engine as _;
            let encoded = base64::engine::general_purpose::STANDARD.encode(item);
            if item != lines {
                assert_eq!(rows.of(item).first().unwrap()["value"], encoded, "{item}");
            }
            let one_line = &flat.of(&encoded).first().unwrap()["value"];
            assert_eq!(unflat(one_line.as_str().unwrap()), item);
        }
        let Some(Answer::Unreadable(why)) = answers.get(&place, "broken") else {
            panic!("{answers:?}");
        };
        assert_eq!(why, "no such thing");
        let said = said.unwrap();
        assert_eq!(said.status, 3);
        assert!(said.out.starts_with(b"line\n\n"));
        let environment = String::from_utf8_lossy(&said.out);
        assert!(environment.contains("NAME=x y\n"));
        assert!(!environment.contains("CARGO"), "{environment}");
        assert_eq!(said.err, b"e\n");
        let State::Live(link) = &*here.state.lock().await else {
            panic!("no session");
        };
        let call = Call::Script {
            body: ":",
            words: Vec::new(),
            input: Input::Empty,
            note: None,
        };
        let next = link
            .session
            .ask(call, QUESTION)
            .next()
            .await
            .unwrap()
            .unwrap();
        assert_eq!(next.trip, 2, "everything before was one trip");
    }

    #[tokio::test]
    async fn what_comes_after_a_failure_does_not_run() {
        let here = here();
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        let mark = mark.to_str().unwrap();
        let done = std::sync::Mutex::new(Vec::new());
        let scripts = [
            script("printf x > \"$1\"", &[mark]),
            script("printf 'no: %s\n' \"$1\" >&2; exit 7", &["why"]),
            script("rm -- \"$1\"", &[mark]),
        ];
        let ran = here
            .run(&scripts, &[], None, &|at| done.lock().unwrap().push(at))
            .await;
        let (at, trouble) = ran.unwrap_err();
        assert_eq!((at, trouble.message.as_str()), (1, "no: why"));
        assert!(!trouble.unknown);
        assert_eq!(*done.lock().unwrap(), [0]);
        assert!(std::path::Path::new(mark).exists());
        // The next ones are not held up by it.
        here.run(&scripts[2..], &[], None, &|_| ()).await.unwrap();
        assert!(!std::path::Path::new(mark).exists());
    }

    #[tokio::test]
    async fn what_was_sent_ahead_does_not_begin_once_it_is_said_to_stop() {
        let here = here();
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (begun, mark) = (path("begun"), path("mark"));
        // It comes to its end when the loop has been told, and not before.
        let told = "printf x > \"$1\"; while [ ! -e \"$_hd/$_halt$_g\" ]; do sleep 0.02; done";
        let mut scripts = [
            script(":", &[]),
            script(told, &[&begun]),
            script("printf x > \"$1\"", &[&mark]),
            script("cat > \"$1\"", &[&mark]),
        ];
        scripts[1].1 = Duration::from_secs(60);
        scripts[3].0.input = Some(Blob::Text(Text::plain("x")));
        let (say, stop) = tokio::sync::watch::channel(false);
        let tell = async {
            while !std::path::Path::new(&begun).exists() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            say.send_replace(true);
        };
        let done = std::sync::Mutex::new(Vec::new());
        let heard = |at| done.lock().unwrap().push(at);
        let (ran, ()) = tokio::join!(here.run(&scripts, &[], Some(&stop), &heard), tell);
        let (at, trouble) = ran.unwrap_err();
        assert_eq!((at, trouble.kind), (2, Kind::Interrupted));
        assert!(!std::path::Path::new(&mark).exists());
        assert_eq!(*done.lock().unwrap(), [0, 1]);
        // What was told is gone, and other things go on in the same session.
        let gone = script(
            "! ls \"$_hd\" | grep -qF \"$_halt\"; printf x > \"$1\"",
            &[&mark],
        );
        here.run(&[gone], &[], None, &|_| ()).await.unwrap();
        assert!(std::path::Path::new(&mark).exists());
        // Told before it begins, nothing begins.
        let ran = here.run(&scripts, &[], Some(&stop), &|_| ()).await;
        assert_eq!(ran.unwrap_err().0, 0);
    }

    #[tokio::test]
    async fn inputs_arrive_as_they_are() {
        let here = here();
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("from");
        let bytes: Vec<u8> = (0..200_000u32).map(|n| (n * 7 % 256) as u8).collect();
        std::fs::write(&from, &bytes).unwrap();
        let to = folder.path().join("to");
        let mut scripts = vec![
            script("cat > \"$1\"", &[to.to_str().unwrap()]),
            script("[ \"$(cat; echo x)\" = \"$1\" ]", &[" a\n\nx"]),
        ];
        scripts[0].0.input = Some(Blob::File(from));
        scripts[1].0.input = Some(Blob::Text(Text::plain(" a\n\n")));
        here.run(&scripts, &[], None, &|_| ()).await.unwrap();
        assert_eq!(std::fs::read(to).unwrap(), bytes);
    }

    #[tokio::test]
    async fn no_secret_comes_back() {
        let here = here();
        let mut told = script("die \"cannot use '$1'\"", &[]);
        told.0.words = vec![Text::secret(Secret::new("hunter2"))];
        let (_, trouble) = here.run(&[told], &[], None, &|_| ()).await.unwrap_err();
        assert_eq!(trouble.message, "cannot use '[secret]'");
    }

    #[tokio::test]
    async fn the_lock_is_had_by_one_and_outlives_nobody() {
        let (one, other) = (here(), here());
        let project = format!("test{}", std::process::id());
        one.lock(&project, "`apply prod`", "").await.unwrap();
        one.lock(&project, "`apply prod`", "").await.unwrap();
        let refused = other.lock(&project, "`apply prod`", "").await.unwrap_err();
        assert_eq!(refused.kind, Kind::Locked);
        assert!(
            refused.message.contains("`apply prod`, process "),
            "{}",
            refused.message
        );
        drop(one);
        tokio::time::sleep(Duration::from_millis(300)).await;
        other.lock(&project, "`apply prod`", "").await.unwrap();
        let _file = std::fs::remove_file(format!("/run/provision-{project}.lock"));
    }

    /// What a session of ours that is lost still runs is waited for; what it would run next never begins.
    #[tokio::test]
    async fn a_lost_session_does_not_lock_us_out() {
        let here = here();
        let project = format!("lost{}", std::process::id());
        here.lock(&project, "`apply prod`", "").await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (runs, first, second) = (path("runs"), path("first"), path("second"));
        let scripts = [
            script("touch \"$1\"; sleep 2; touch \"$2\"", &[&runs, &first]),
            script("touch \"$1\"", &[&second]),
        ];
        let link = here.link().await.unwrap();
        let mut calls = Vec::new();
        for (script, deadline) in &scripts {
            calls.push((call(script, None).await.unwrap(), *deadline));
        }
        let _coming = link.session.tell(calls);
        while !std::path::Path::new(&runs).exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // The old one is held open, as by a network that has fallen silent.
        *here.state.lock().await = State::Idle;
        here.awake().await.unwrap();
        assert!(std::path::Path::new(&first).exists());
        assert!(!std::path::Path::new(&second).exists());
        let _file = std::fs::remove_file(format!("/run/provision-{project}.lock"));
    }

    /// What a run has left that is gone: a session that the network keeps open does not lock its next run out, unless it still works.
    #[tokio::test]
    async fn a_session_of_a_run_that_is_gone_does_not_lock_out_the_next() {
        let project = format!("gone{}", std::process::id());
        let lock = async |one: &Remote, seat: &str| one.lock(&project, "`apply prod`", seat).await;
        let (gone, next, other) = (here(), here(), here());
        lock(&gone, "seat.1").await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (runs, may) = (path("runs"), path("may"));
        let (works, deadline) = script(
            "touch \"$1\"; while [ ! -e \"$2\" ]; do sleep 0.02; done",
            &[&runs, &may],
        );
        let link = gone.link().await.unwrap();
        let mut works = link
            .session
            .tell(vec![(call(&works, None).await.unwrap(), deadline)]);
        while !std::path::Path::new(&runs).exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for (one, seat) in [(&next, "seat.2"), (&other, "other.2"), (&other, "")] {
            let refused = lock(one, seat).await.unwrap_err();
            assert_eq!(refused.kind, Kind::Locked, "{refused:?}");
        }
        std::fs::write(&may, "").unwrap();
        works.next().await.unwrap().unwrap();
        // Neither somebody else nor the same run by another name of the machine.
        for seat in ["other.2", "seat.1"] {
            let refused = lock(&other, seat).await.unwrap_err();
            assert_eq!(refused.kind, Kind::Locked, "{refused:?}");
        }
        lock(&next, "seat.2").await.unwrap();
        let refused = lock(&gone, "other.1").await.unwrap_err();
        assert_eq!(refused.kind, Kind::Locked, "{refused:?}");
        let _file = std::fs::remove_file(format!("/run/provision-{project}.lock"));
    }

    #[tokio::test]
    async fn a_step_that_takes_too_long_is_unknown() {
        let here = here();
        let mut slow = script("sleep 30", &[]);
        slow.1 = Duration::from_millis(300);
        let (_, trouble) = here.run(&[slow], &[], None, &|_| ()).await.unwrap_err();
        assert!(trouble.unknown, "{trouble:?}");
        // The next run gets a session of its own.
        here.run(&[script(":", &[])], &[], None, &|_| ())
            .await
            .unwrap();
    }
}
