//! A session with a shell, framed so that nothing on either side can be taken for something else.
//!
//! The remote command is one constant, whatever the login shell is. All else goes down its stdin: a line that is the loop, then
//! frames, each with its length in front and the nonce behind; a frame is run only when it has arrived whole. What scripts say
//! comes back as they say it, on stdout and stderr, with marks between that hold the nonce: nobody but us and the loop knows it,
//! so nothing that is said can end an answer. What stands before the hello is noise of the login shell. Callers queue as they like: everything
//! that is queued goes out without waiting for answers, which come in order.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::say;
use crate::fault;
use crate::plan::journal::Note;
use crate::quote;
use crate::secret::Secret;

/// What is run on a machine, whatever its login shell is.
pub(super) const COMMAND: &str = "exec /bin/sh -c 'IFS= read -r b && eval \"$b\"'";
/// The same as root by sudo.
pub(super) const SUDO_COMMAND: &str = "exec sudo -n /bin/sh -c 'IFS= read -r b && eval \"$b\"'";
/// The script of both, for a shell that we start ourselves.
pub(super) const READ_LOOP: &str = "IFS= read -r b && eval \"$b\"";

/// An answer longer than this is a mistake or an attack.
const MOST_SAID: usize = 64 << 20;
/// So much of stderr is kept: its end.
const MOST_ERR: usize = 256 << 10;
/// So much noise is listened to before the hello.
const MOST_NOISE: usize = 1 << 20;
/// How long the hello may take once there is a connection.
const HELLO: Duration = Duration::from_secs(20);
/// How long stderr is listened to once stdout has ended.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The streams of a shell that was started with one of the constant commands.
pub(super) struct Streams {
    /// Its stdin.
    pub input: Box<dyn AsyncWrite + Send + Unpin>,
    /// Its stdout.
    pub out: Box<dyn AsyncRead + Send + Unpin>,
    /// Its stderr.
    pub err: Box<dyn AsyncRead + Send + Unpin>,
    /// Ends it when it is dropped.
    pub hold: Box<dyn Any + Send>,
}

/// What a script's stdin holds.
pub(super) enum Input {
    /// Nothing.
    Empty,
    /// A text.
    Text(Secret),
    /// Bytes of ours.
    Bytes(Vec<u8>),
    /// A file of the user, and its size.
    File(PathBuf, u64),
}

/// What is called on the other side.
pub(super) enum Call {
    /// A script with its words.
    Script {
        /// What is run.
        body: &'static str,
        /// Its words.
        words: Vec<Secret>,
        /// Its stdin.
        input: Input,
        /// What is written down around it, and in which file of the machine.
        note: Option<(String, Note)>,
    },
    /// The lock of a project, with words that say who has it.
    Lock {
        /// Whose lock.
        project: String,
        /// Who has it.
        holder: String,
        /// Which run that is, for its own next session.
        token: String,
        /// Whether the machine tells with it what it has put back by itself.
        tell: bool,
    },
}

/// What a script said.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Its exit status.
    pub status: i32,
    /// Its stdout.
    pub out: Vec<u8>,
    /// Its stderr, or the end of it.
    pub err: Vec<u8>,
    /// In which trip of the session it was asked, from 1.
    pub trip: u64,
}

/// How a call ended without a status.
#[derive(Clone, Debug)]
pub(super) enum Broken {
    /// One before it in its group failed: it was not run.
    Skipped,
    /// It was never sent, or is known not to have begun.
    NotBegun(Arc<End>),
    /// Nobody knows whether it was done.
    Unknown(Arc<End>),
    /// It cannot be sent as it is.
    Unsendable(String),
}

/// How a session ended.
#[derive(Clone, Debug)]
pub(super) struct End {
    /// Why.
    pub why: Why,
    /// What it said before the hello, or nothing.
    pub noise: String,
    /// The end of what it said on stderr.
    pub err: String,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Its streams were closed before it said hello.
    NoHello,
    /// It did not say hello in time.
    Mute,
    /// The password did not open sudo.
    Sudo,
    /// Its streams were closed.
    Cut,
    /// A script took longer than it may.
    Deadline,
    /// It said more than can be kept.
    TooMuch,
    /// It said what a session does not say.
    Forged,
    /// There are no random numbers here.
    NoNonce,
    /// A file of ours could not be read to its end.
    File,
}

struct Queued {
    call: Call,
    group: u64,
    deadline: Duration,
    reply: oneshot::Sender<Result<Said, Broken>>,
}

/// A session. When the last clone is dropped its stream ends, and with it the shell.
#[derive(Clone)]
pub(super) struct Session {
    queue: mpsc::UnboundedSender<Vec<Queued>>,
    groups: Arc<AtomicU64>,
    hello: watch::Receiver<Greeting>,
    /// What the names begin with by which it is told to stop; see [`Session::halt`].
    halts: String,
}

/// Whether a session has said hello.
#[derive(Clone)]
enum Greeting {
    Awaited,
    Said,
    Never(Arc<End>),
}

/// Answers that are on their way, in order.
pub(super) struct Coming {
    group: u64,
    answers: VecDeque<oneshot::Receiver<Result<Said, Broken>>>,
}

impl Coming {
    /// The next one; `None` behind the last.
    pub async fn next(&mut self) -> Option<Result<Said, Broken>> {
        let next = self.answers.pop_front()?;
        Some(next.await.unwrap_or_else(|_| Err(gone())))
    }
}

fn gone() -> Broken {
    Broken::Unknown(Arc::new(End {
        why: Why::Cut,
        noise: String::new(),
        err: String::new(),
    }))
}

impl Session {
    /// Begins a session on the streams of a shell. Nothing is waited for: what is asked right away goes out behind the loop. With
    /// a password the shell is a bare user's, and becomes root's by sudo.
    pub fn start(host: &str, streams: Streams, password: Option<Secret>) -> Self {
        let (queue, queued) = mpsc::unbounded_channel();
        let (said_hello, hello) = watch::channel(Greeting::Awaited);
        // Where there are no random numbers the session says so itself.
        let halts = format!("provision-halt-{}-", say::nonce().unwrap_or_default());
        let talk = Talk {
            host: host.to_owned(),
            queued,
            said_hello,
            trips: 0,
            password,
            halts: halts.clone(),
        };
        tokio::spawn(talk.run(streams));
        Session {
            queue,
            groups: Arc::new(AtomicU64::new(1)),
            hello,
            halts,
        }
    }

    /// What has to be done in another session of the same machine so that this one begins no more of what comes: the loop has all
    /// of it already, and looks for this name before each.
    pub fn halt(&self, coming: &Coming) -> Call {
        self.mark(coming, r#": > "$_hd/$1""#)
    }

    /// Takes back [`Session::halt`].
    pub fn unhalt(&self, coming: &Coming) -> Call {
        self.mark(coming, r#"rm -f -- "$_hd/$1""#)
    }

    fn mark(&self, coming: &Coming, body: &'static str) -> Call {
        Call::Script {
            body,
            words: vec![Secret::new(format!("{}{}", self.halts, coming.group))],
            input: Input::Empty,
            note: None,
        }
    }

    /// Asks one thing, which nothing else depends on.
    pub fn ask(&self, call: Call, deadline: Duration) -> Coming {
        self.send(vec![(call, deadline)], 0)
    }

    /// Asks several things, none of which depends on another.
    pub fn ask_all(&self, calls: Vec<(Call, Duration)>) -> Coming {
        self.send(calls, 0)
    }

    /// Tells several things in order; those after the first that fails are not run.
    pub fn tell(&self, calls: Vec<(Call, Duration)>) -> Coming {
        self.send(calls, self.groups.fetch_add(1, Ordering::Relaxed))
    }

    fn send(&self, calls: Vec<(Call, Duration)>, group: u64) -> Coming {
        let mut answers = VecDeque::new();
        let queued = calls.into_iter().map(|(call, deadline)| {
            let (reply, answer) = oneshot::channel();
            answers.push_back(answer);
            Queued {
                call,
                group,
                deadline,
                reply,
            }
        });
        // Where the session has ended, the answers that never come say so.
        let _ended = self.queue.send(queued.collect());
        Coming { group, answers }
    }

    /// Waits for its hello. What changes something is told only after it: where there is no hello nothing was changed.
    pub async fn greeted(&self) -> Result<(), Arc<End>> {
        let mut hello = self.hello.clone();
        let said = hello
            .wait_for(|said| !matches!(said, Greeting::Awaited))
            .await;
        match said.as_deref() {
            Ok(Greeting::Never(end)) => Err(Arc::clone(end)),
            Ok(_) => Ok(()),
            Err(_) => Err(Arc::new(End::of(Why::NoHello))),
        }
    }

    /// Whether it can still be spoken to.
    pub fn is_live(&self) -> bool {
        !self.queue.is_closed()
    }
}

/// What goes down the stream.
enum Sent {
    Bytes(Zeroizing<Vec<u8>>),
    File(PathBuf, u64),
}

/// A call that was sent.
struct Pending {
    id: u64,
    group: u64,
    trip: u64,
    deadline: Duration,
    begun: Option<Instant>,
    out: Option<(Vec<u8>, Option<i32>)>,
    err: Option<Vec<u8>>,
    reply: oneshot::Sender<Result<Said, Broken>>,
}

/// The one who speaks.
struct Talk {
    host: String,
    queued: mpsc::UnboundedReceiver<Vec<Queued>>,
    said_hello: watch::Sender<Greeting>,
    /// How often something was sent while nothing was on its way.
    trips: u64,
    password: Option<Secret>,
    halts: String,
}

impl Talk {
    async fn run(mut self, streams: Streams) {
        let Streams {
            input,
            out,
            err,
            hold,
        } = streams;
        let nonce = match say::nonce() {
            Ok(nonce) => nonce,
            Err(_) => return self.end(VecDeque::new(), &End::of(Why::NoNonce)),
        };
        let (pen, to_write) = mpsc::unbounded_channel();
        let writer = tokio::spawn(write(input, to_write));
        let mut ears = Ears {
            out: Ear::new(out, &nonce),
            err: Ear {
                most: MOST_ERR,
                end_only: true,
                ..Ear::new(err, &nonce)
            },
        };
        let mut pending = VecDeque::new();
        let ended = self.converse(&nonce, &pen, &mut ears, &mut pending).await;
        if let Some(mut end) = ended {
            if matches!(end.why, Why::Cut | Why::NoHello | Why::Sudo) {
                let rest = ears.err.read_to_end();
                let _late = tokio::time::timeout(LAST_WORDS, rest).await;
            }
            drop(pen);
            if writer.is_finished() {
                if let Ok(Err(Unsent::File)) = writer.await {
                    end.why = Why::File;
                }
            } else {
                // The stream ends where it is, so that nothing more of it is run.
                writer.abort();
            }
            if end.noise.is_empty() && end.why == Why::NoHello {
                let heard = String::from_utf8_lossy(&ears.out.heard);
                end.noise = say::last_words(&heard, 1).pop().unwrap_or_default();
            }
            end.err = ears.err.last_words();
            tracing::debug!(
                host = self.host,
                "the session ended: {:?} {}",
                end.why,
                end.err
            );
            self.end(pending, &end);
        } else {
            drop(pen);
            // All that was asked is answered: the shell reads the end of its stream and goes.
            let _said = tokio::time::timeout(Duration::from_secs(2), ears.out.read_to_end()).await;
        }
        drop(hold);
    }

    /// Answers everybody who still waits.
    fn end(&mut self, pending: VecDeque<Pending>, end: &End) {
        let end = Arc::new(end.clone());
        let greeted = matches!(*self.said_hello.borrow(), Greeting::Said);
        if !greeted {
            self.said_hello
                .send_replace(Greeting::Never(Arc::clone(&end)));
        }
        for (at, call) in pending.into_iter().enumerate() {
            // Answers come in order, but the end of one may be lost together with the beginning of the next.
            let unknown = greeted && (call.begun.is_some() || at > 0 || end.why == Why::Cut);
            let broken = match unknown {
                true => Broken::Unknown(Arc::clone(&end)),
                false => Broken::NotBegun(Arc::clone(&end)),
            };
            let _deaf = call.reply.send(Err(broken));
        }
        self.queued.close();
        while let Ok(calls) = self.queued.try_recv() {
            for call in calls {
                let _deaf = call.reply.send(Err(Broken::NotBegun(Arc::clone(&end))));
            }
        }
    }

    /// Speaks until nobody asks any more (`None`) or the session ends.
    async fn converse(
        &mut self,
        nonce: &str,
        pen: &mpsc::UnboundedSender<Sent>,
        ears: &mut Ears,
        pending: &mut VecDeque<Pending>,
    ) -> Option<End> {
        let began = Instant::now();
        let mut greeted = false;
        let mut by_sudo = self.password.take();
        let mut frame = Frame::new(nonce);
        match by_sudo {
            Some(_) => frame.raw(&sudo_line(nonce)),
            None => frame.raw(&loop_line(nonce)),
        }
        frame.send(pen);
        // What the loop calls goes down in one frame with what is called first.
        let mut first = true;
        let mut next_id = 0;
        let mut asking = true;
        let mut deaf = false;
        let mut moved = began;
        loop {
            if !asking && pending.is_empty() {
                return None;
            }
            // Also one that does not even begin is waited for no longer than it may take.
            let limit = match pending.front() {
                _ if !greeted => Some(began + HELLO),
                Some(first) => Some(first.begun.unwrap_or(moved) + first.deadline),
                None => None,
            };
            let ready = greeted || by_sudo.is_none();
            tokio::select! {
                calls = self.queued.recv(), if asking && ready => {
                    let Some(mut all) = calls else {
                        asking = false;
                        continue;
                    };
                    // Callers that ask side by side get into one frame.
                    for _ in 0..3 {
                        tokio::task::yield_now().await;
                        while let Ok(more) = self.queued.try_recv() {
                            all.extend(more);
                        }
                    }
                    if pending.is_empty() {
                        self.trips += 1;
                        moved = Instant::now();
                    }
                    let mut frame = Frame::new(nonce);
                    if std::mem::take(&mut first) {
                        frame.script(&setup(&self.halts));
                    }
                    for queued in all {
                        next_id += 1;
                        let group = queued.group;
                        match frame.call(next_id, queued.group, queued.call, pen) {
                            Ok(()) => pending.push_back(Pending {
                                id: next_id,
                                group,
                                trip: self.trips,
                                deadline: queued.deadline,
                                begun: None,
                                out: None,
                                err: None,
                                reply: queued.reply,
                            }),
                            Err(why) => {
                                let _deaf = queued.reply.send(Err(Broken::Unsendable(why)));
                            }
                        }
                    }
                    frame.send(pen);
                }
                heard = ears.out.hear() => {
                    let (said, mark) = match heard {
                        Heard::Mark(said, mark) => (said, mark),
                        Heard::TooMuch => return Some(End::of(Why::TooMuch)),
                        Heard::End => {
                            let why = match greeted {
                                true => Why::Cut,
                                false => Why::NoHello,
                            };
                            return Some(End::of(why));
                        }
                    };
                    if !greeted {
                        match (mark.as_str(), by_sudo.is_some()) {
                            ("hello", false) => {
                                greeted = true;
                                self.said_hello.send_replace(Greeting::Said);
                                ears.out.most = MOST_SAID;
                                tracing::debug!(host = self.host, ms = began.elapsed().as_millis(), "hello");
                                let noise = say::clean(&String::from_utf8_lossy(&said), 400);
                                if !noise.is_empty() {
                                    tracing::info!(host = self.host, "before its hello: {noise}");
                                }
                            }
                            ("bare", true) => {
                                // Only now is it sure that who reads the password is sudo.
                                if let Some(password) = &by_sudo {
                                    let mut frame = Frame::new(nonce);
                                    frame.raw(&Zeroizing::new(format!("{}\n", password.expose())));
                                    frame.send(pen);
                                }
                            }
                            ("sudo 0", true) => {
                                by_sudo = None;
                                let mut frame = Frame::new(nonce);
                                frame.raw(&loop_line(nonce));
                                frame.send(pen);
                            }
                            (word, true) if word.starts_with("sudo ") => {
                                return Some(End::of(Why::Sudo));
                            }
                            _ => return Some(End::of(Why::Forged)),
                        }
                        continue;
                    }
                    if !took_out(pending, said, &mark) {
                        return Some(End::of(Why::Forged));
                    }
                    moved = Instant::now();
                    self.answer(pending, deaf);
                }
                heard = ears.err.hear(), if !deaf => {
                    match heard {
                        Heard::Mark(said, mark) => {
                            // Calls go out before the hello is heard, so their end on this stream may come before it does on the other.
                            let is_call = !matches!(mark.as_str(), "hello" | "bare");
                            if is_call && !took_err(pending, said, &mark) && greeted {
                                return Some(End::of(Why::Forged));
                            }
                        }
                        Heard::TooMuch => return Some(End::of(Why::TooMuch)),
                        Heard::End => deaf = true,
                    }
                    self.answer(pending, deaf);
                }
                () = abandoned(pending.front_mut(), asking) => {
                    // Whoever told it is gone: what was sent ahead is not to be done.
                    return Some(End::of(Why::Cut));
                }
                () = until(limit) => {
                    return Some(End::of(match greeted {
                        true => Why::Deadline,
                        false => Why::Mute,
                    }));
                }
            }
        }
    }

    /// Gives away every answer that is complete.
    fn answer(&self, pending: &mut VecDeque<Pending>, deaf: bool) {
        while let Some(first) = pending.front() {
            if first.out.is_none() || (first.err.is_none() && !deaf) {
                return;
            }
            let Some(Pending {
                out: Some((out, status)),
                err,
                reply,
                trip,
                ..
            }) = pending.pop_front()
            else {
                return;
            };
            let answer = match status {
                None => Err(Broken::Skipped),
                Some(status) => Ok(Said {
                    status,
                    out,
                    err: err.unwrap_or_default(),
                    trip,
                }),
            };
            let _deaf = reply.send(answer);
            if pending.is_empty() {
                tracing::debug!(host = self.host, trip, "all is answered");
            }
        }
    }
}

impl End {
    fn of(why: Why) -> Self {
        End {
            why,
            noise: String::new(),
            err: String::new(),
        }
    }
}

/// Waits until nobody waits for a call that changes something, or for any where nobody can ask any more.
async fn abandoned(call: Option<&mut Pending>, asking: bool) {
    match call {
        Some(call) if call.group != 0 || !asking => call.reply.closed().await,
        _ => std::future::pending().await,
    }
}

async fn until(limit: Option<Instant>) {
    match limit {
        Some(limit) => tokio::time::sleep_until(limit).await,
        None => std::future::pending().await,
    }
}

/// Takes a mark of stdout; false where it is none that can come now.
fn took_out(pending: &mut VecDeque<Pending>, said: Vec<u8>, mark: &str) -> bool {
    let Some((id, word)) = mark.split_once(' ') else {
        return false;
    };
    let waiting = pending.iter_mut().find(|call| call.out.is_none());
    let Some(call) = waiting.filter(|call| id == call.id.to_string()) else {
        return false;
    };
    match (word, call.begun) {
        ("begin", None) => call.begun = Some(Instant::now()),
        ("skip", None) => call.out = Some((Vec::new(), None)),
        (status, Some(_)) => match status.parse::<u8>() {
            // `+7` and `007` are numbers to Rust; the loop never says them.
            Ok(number) if number.to_string() == status => {
                call.out = Some((said, Some(number.into())));
            }
            _ => return false,
        },
        _ => return false,
    }
    true
}

/// The same for stderr, where only ends are marked.
fn took_err(pending: &mut VecDeque<Pending>, said: Vec<u8>, mark: &str) -> bool {
    let Some((id, _)) = mark.split_once(' ') else {
        return false;
    };
    let waiting = pending.iter_mut().find(|call| call.err.is_none());
    let Some(call) = waiting.filter(|call| id == call.id.to_string()) else {
        return false;
    };
    call.err = Some(said);
    true
}

/// Both streams that come back.
struct Ears {
    out: Ear<Box<dyn AsyncRead + Send + Unpin>>,
    err: Ear<Box<dyn AsyncRead + Send + Unpin>>,
}

/// What was heard.
enum Heard {
    /// What was said up to a mark, and the mark.
    Mark(Vec<u8>, String),
    /// More than may be said.
    TooMuch,
    /// The stream ended.
    End,
}

/// A stream that comes back, cut at its marks.
struct Ear<R> {
    stream: R,
    /// A line end, `@`, the nonce and a space.
    sign: Vec<u8>,
    heard: Vec<u8>,
    /// Where to look on for a mark.
    seen: usize,
    most: usize,
    /// Whether what is too much is thrown away from its beginning.
    end_only: bool,
    ended: bool,
}

impl<R: AsyncRead + Unpin> Ear<R> {
    fn new(stream: R, nonce: &str) -> Self {
        Ear {
            stream,
            sign: format!("\n@{nonce} ").into_bytes(),
            heard: Vec::new(),
            seen: 0,
            most: MOST_NOISE,
            end_only: false,
            ended: false,
        }
    }

    /// Waits for the next mark. Nothing is lost where it is not waited for to the end.
    async fn hear(&mut self) -> Heard {
        loop {
            if let Some(mark) = self.mark() {
                return mark;
            }
            if self.ended {
                return Heard::End;
            }
            if self.heard.len() > self.most {
                if !self.end_only {
                    return Heard::TooMuch;
                }
                let from = self.heard.len() - self.most / 2;
                self.heard.drain(..from);
                self.seen = self.seen.saturating_sub(from);
            }
            self.heard.reserve(16 << 10);
            match self.stream.read_buf(&mut self.heard).await {
                Ok(0) | Err(_) => self.ended = true,
                Ok(_) => {}
            }
        }
    }

    /// The next mark in what was heard so far.
    fn mark(&mut self) -> Option<Heard> {
        loop {
            let rest = self.heard.get(self.seen..)?;
            let Some(at) = rest.iter().position(|byte| *byte == b'\n') else {
                self.seen = self.heard.len();
                return None;
            };
            let at = self.seen + at;
            let from = self.heard.get(at..).unwrap_or_default();
            if from.len() < self.sign.len() && self.sign.starts_with(from) {
                self.seen = at;
                return None;
            }
            if !from.starts_with(&self.sign) {
                self.seen = at + 1;
                continue;
            }
            let word = from.get(self.sign.len()..).unwrap_or_default();
            let Some(end) = word.iter().take(64).position(|byte| *byte == b'\n') else {
                self.seen = at;
                return (word.len() >= 64).then_some(Heard::TooMuch);
            };
            let mark = String::from_utf8_lossy(word.get(..end).unwrap_or_default()).into_owned();
            let behind = self.heard.split_off(at + self.sign.len() + end + 1);
            let mut said = std::mem::replace(&mut self.heard, behind);
            said.truncate(at);
            self.seen = 0;
            return Some(Heard::Mark(said, mark));
        }
    }

    /// Reads what is left, and keeps its end.
    async fn read_to_end(&mut self) {
        self.end_only = true;
        while !matches!(self.hear().await, Heard::End) {}
    }

    fn last_words(&self) -> String {
        let text = String::from_utf8_lossy(&self.heard);
        say::last_words(&text, 5).join("\n")
    }
}

/// A frame that is being made.
struct Frame<'a> {
    nonce: &'a str,
    /// What goes before it as it is: the loop.
    raw: Zeroizing<Vec<u8>>,
    text: Zeroizing<String>,
}

impl<'a> Frame<'a> {
    fn new(nonce: &'a str) -> Self {
        Frame {
            nonce,
            raw: Zeroizing::new(Vec::new()),
            text: Zeroizing::new(String::new()),
        }
    }

    fn raw(&mut self, text: &str) {
        self.raw.extend_from_slice(text.as_bytes());
    }

    fn script(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn word(&mut self, word: &str) {
        self.text.push(' ');
        self.text.push_str(&Zeroizing::new(quote::word(word)));
    }

    /// Adds a call; a big input goes down the stream behind its frame.
    fn call(
        &mut self,
        id: u64,
        group: u64,
        call: Call,
        pen: &mpsc::UnboundedSender<Sent>,
    ) -> Result<(), String> {
        let (body, words, input, note) = match call {
            Call::Lock {
                project,
                holder,
                token,
                tell,
            } => {
                self.script(&format!("_l {id}"));
                self.word(&project);
                self.word(&holder);
                self.word(&token);
                self.script(if tell { " tell" } else { "" });
                self.script("\n");
                return Ok(());
            }
            Call::Script {
                body,
                words,
                input,
                note,
            } => (body, words, input, note),
        };
        let text = match &input {
            Input::Text(text) => Some(text),
            _ => None,
        };
        if words
            .iter()
            .chain(text)
            .any(|word| word.expose().contains('\0'))
        {
            return Err("a value holds a NUL character, which a shell cannot be given".to_owned());
        }
        if let Some((path, note)) = note {
            self.script("_j");
            for word in [&path, &note.begins, &note.done, &note.failed] {
                self.word(word);
            }
            self.script("\n");
        }
        match &input {
            Input::Empty => self.script(&format!("_s {group} {id}")),
            Input::Text(text) => {
                self.script(&format!("_t {group} {id}"));
                self.word(text.expose());
            }
            Input::Bytes(bytes) => self.script(&format!("_f {group} {id} {}", bytes.len())),
            Input::File(_, size) => self.script(&format!("_f {group} {id} {size}")),
        }
        self.word(body);
        for word in &words {
            self.word(word.expose());
        }
        self.script("\n");
        let behind = match input {
            Input::Empty | Input::Text(_) => return Ok(()),
            Input::Bytes(bytes) => Sent::Bytes(Zeroizing::new(bytes)),
            Input::File(path, size) => Sent::File(path, size),
        };
        let done = std::mem::replace(self, Frame::new(self.nonce));
        done.send(pen);
        let end = Sent::Bytes(Zeroizing::new(format!("{}\n", self.nonce).into_bytes()));
        // Where nobody writes any more the session has ended, and says so itself.
        let _ended = pen.send(behind).and_then(|()| pen.send(end));
        Ok(())
    }

    /// Sends it, if there is something in it.
    fn send(mut self, pen: &mpsc::UnboundedSender<Sent>) {
        if !self.text.is_empty() {
            // A command substitution drops line ends at its end, and they are part of the length.
            self.text.push(':');
            self.raw
                .extend_from_slice(format!("{}\n", self.text.len()).as_bytes());
            self.raw.extend_from_slice(self.text.as_bytes());
            self.raw
                .extend_from_slice(format!("{}\n", self.nonce).as_bytes());
        }
        if !self.raw.is_empty() {
            let _ended = pen.send(Sent::Bytes(self.raw));
        }
    }
}

/// Why nothing more is written.
enum Unsent {
    /// The other side does not read any more.
    Closed,
    /// A file of ours could not be read as it was announced.
    File,
}

/// Writes what is to be sent, in order.
async fn write(
    mut input: Box<dyn AsyncWrite + Send + Unpin>,
    mut to_write: mpsc::UnboundedReceiver<Sent>,
) -> Result<(), Unsent> {
    while let Some(sent) = to_write.recv().await {
        match sent {
            Sent::Bytes(bytes) => {
                let written = input.write_all(&bytes).await;
                written.map_err(|_| Unsent::Closed)?;
            }
            Sent::File(path, size) => {
                let file = tokio::fs::File::open(&path).await;
                let mut file = file.map_err(|_| Unsent::File)?.take(size);
                let mut left = size;
                let mut chunk = vec![0; 64 << 10];
                while left > 0 {
                    let read = file.read(&mut chunk).await.map_err(|_| Unsent::File)?;
                    if read == 0 {
                        // It became shorter. The frame stays incomplete, so nothing of it runs.
                        return Err(Unsent::File);
                    }
                    left = left.saturating_sub(read as u64);
                    let written = input.write_all(chunk.get(..read).unwrap_or_default()).await;
                    written.map_err(|_| Unsent::Closed)?;
                }
            }
        }
        input.flush().await.map_err(|_| Unsent::Closed)?;
    }
    let _closed = input.shutdown().await;
    Ok(())
}

/// The loop, one line. `dd` with `iflag=fullblock` takes exactly what it is told, of coreutils and of busybox; `head -c` of busybox
/// drains the pipe. What only reads does not hold the lock.
fn loop_line(nonce: &str) -> String {
    format!(
        "_n={nonce};printf '\\n@%s hello\\n' \"$_n\" >&2;printf '\\n@%s hello\\n' \"$_n\";\
         while IFS= read -r _l;do \
         _c=$(dd bs=\"$_l\" count=1 iflag=fullblock 2>/dev/null 9>&-||dd bs=1 count=\"$_l\" 2>/dev/null 9>&-);\
         IFS= read -r _e;[ \"$_e\" = \"$_n\" ]||exit 3;eval \"$_c\";done\n"
    )
}

/// What makes a bare user's shell root's: the password is a line that is read when we have been told that it is waited for.
fn sudo_line(nonce: &str) -> String {
    format!(
        "unset _p;_n={nonce};printf '\\n@%s bare\\n' \"$_n\" >&2;printf '\\n@%s bare\\n' \"$_n\";IFS= read -r _p;\
         printf '%s\\n' \"$_p\"|sudo -S -p '' -v >/dev/null;_r=$?;unset _p;printf '\\n@%s sudo %s\\n' \"$_n\" \"$_r\";\
         [ \"$_r\" = 0 ]||exit 1;sudo -n /bin/sh -c '{READ_LOOP}';_r=$?;exit \"$_r\"\n"
    )
}

/// What the loop calls, and what every script may call, without comments.
fn setup(halts: &str) -> String {
    let mut text = format!("_halt={halts}\n");
    for line in include_str!("session.sh")
        .lines()
        .chain(include_str!("prelude.sh").lines())
    {
        if !line.trim().is_empty() && !line.trim_start().starts_with('#') {
            text.push_str(line.trim_start());
            text.push('\n');
        }
    }
    if let Some((script, point)) = fault::remote() {
        text.push_str(&format!(
            "_k=0\n_hit() {{\n[ \"$_g\" != 0 ] || return 0\n[ \"$1\" != before ] || _k=$((_k + 1))\n\
             [ \"$_k $1\" != '{script} {}' ] || kill -9 $$\n}}\n",
            point.word()
        ));
    }
    let _ = writeln!(text, "_grace={}", grace());
    text
}

/// After how many seconds a machine takes back what nobody has confirmed: 60, or fewer where the environment says so.
pub(super) fn grace() -> u64 {
    let said = std::env::var("PROVISION_GUARD_SECONDS");
    let said = said.ok().and_then(|said| said.parse().ok());
    said.filter(|seconds| (3..60).contains(seconds))
        .unwrap_or(60)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, BufReader, DuplexStream, duplex};

    use super::*;

    /// A session whose other side is played by a test: what it writes for a nonce, then it is gone.
    async fn played(calls: usize, play: impl Fn(&str) -> Vec<u8>) -> Vec<Result<Said, Broken>> {
        let (input, there): (_, DuplexStream) = duplex(1 << 20);
        let (mut says, out) = duplex(1 << 20);
        let (errs, err) = duplex(1 << 20);
        drop(errs);
        let streams = Streams {
            input: Box::new(input),
            out: Box::new(out),
            err: Box::new(err),
            hold: Box::new(()),
        };
        let session = Session::start("played", streams, None);
        let call = || Call::Script {
            body: ":",
            words: Vec::new(),
            input: Input::Empty,
            note: None,
        };
        let asked = (0..calls)
            .map(|_| (call(), Duration::from_secs(5)))
            .collect();
        let mut coming = session.ask_all(asked);
        let mut line = String::new();
        let mut there = BufReader::new(there);
        there.read_line(&mut line).await.unwrap();
        let nonce = line[3..35].to_owned();
        // All that was sent has to be there before anything is answered.
        let mut sent = vec![0; 1 << 16];
        while !String::from_utf8_lossy(&sent).contains(&format!("_s 0 {calls} ")) {
            let mut chunk = vec![0; 1 << 16];
            let read = there.read(&mut chunk).await.unwrap();
            sent.extend_from_slice(&chunk[..read]);
        }
        says.write_all(&play(&nonce)).await.unwrap();
        drop(says);
        let mut heard = Vec::new();
        while let Some(said) = coming.next().await {
            heard.push(said);
        }
        heard
    }

    fn is_ok(said: &Result<Said, Broken>) -> bool {
        said.is_ok()
    }

    #[tokio::test]
    async fn an_answer_is_what_stands_between_its_marks() {
        let heard = played(2, |n| {
            let mut said = format!("noise\n@{n}x no\n\n@{n} hello\n\n@{n} 1 begin\n").into_bytes();
            said.extend_from_slice(b"a\0b\xff\n@ no mark\n");
            said.extend_from_slice(
                format!("\n@{n} 1 0\n\n@{n} 2 begin\n\n@{n} 2 255\n").as_bytes(),
            );
            said
        })
        .await;
        assert_eq!(heard[0].as_ref().unwrap().out, b"a\0b\xff\n@ no mark\n");
        assert_eq!(heard[1].as_ref().unwrap().status, 255);
    }

    #[tokio::test]
    async fn what_is_forged_is_never_a_success() {
        let fine = "\n@N hello\n\n@N 1 begin\n";
        for (play, why) in [
            ("", Why::NoHello),
            ("hello\nok\n", Why::NoHello),
            (
                "\n@00000000000000000000000000000000 hello\n\n@00000000000000000000000000000000 1 begin\n",
                Why::NoHello,
            ),
            ("\n@N 1 0\n", Why::Forged),
            ("\n@N hello\n\n@N hello\n", Why::Forged),
            ("\n@N hello\n\n@N 1 0\n", Why::Forged),
            ("\n@N hello\n\n@N 2 begin\n", Why::Forged),
            ("\n@N hello\n\n@N 1 begin\n\n@N 1 begin\n", Why::Forged),
            ("F\n@N 2 0\n", Why::Forged),
            ("F\n@N 1 256\n", Why::Forged),
            ("F\n@N 1 -1\n", Why::Forged),
            ("F\n@N 1 00\n", Why::Forged),
            ("F\n@N 1 +0\n", Why::Forged),
            ("F\n@N 1  0\n", Why::Forged),
            ("F\n@N 01 0\n", Why::Forged),
            ("F\n@N 1 0 0\n", Why::Forged),
            ("F\n@N 1 skip\n", Why::Forged),
            ("F\n@N 1\n", Why::Forged),
            ("F\n@N \n", Why::Forged),
            ("F\n@N 1 0", Why::Cut),
            ("F 1 0\n", Why::Cut),
            ("F@N 1 0\n", Why::Cut),
            (
                "F\n@N 1 1000000000000000000000000000000000000000000000000000000000000000000000000\n",
                Why::TooMuch,
            ),
        ] {
            let heard = played(1, |nonce| {
                play.replace('F', fine).replace('N', nonce).into_bytes()
            })
            .await;
            match &heard[0] {
                Err(Broken::Unknown(end) | Broken::NotBegun(end)) => {
                    assert_eq!(end.why, why, "{play:?}");
                }
                other => panic!("{play:?}: {other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn an_answer_counts_only_once() {
        let heard = played(2, |n| {
            format!(
                "\n@{n} hello\n\n@{n} 1 begin\n\n@{n} 1 0\n\n@{n} 1 0\n\n@{n} 2 begin\n\n@{n} 2 0\n"
            )
            .into_bytes()
        })
        .await;
        assert!(is_ok(&heard[0]));
        assert!(!is_ok(&heard[1]));
    }

    #[tokio::test]
    async fn endless_noise_and_endless_answers_are_cut_off() {
        let heard = played(1, |_| vec![b'x'; MOST_NOISE + 100_000]).await;
        assert!(matches!(&heard[0], Err(Broken::NotBegun(end)) if end.why == Why::TooMuch));
    }

    /// A stream cut at every byte gives no answer that a whole one does not, and whatever is thrown at the ears they stay sane.
    #[tokio::test]
    async fn no_cut_or_changed_stream_makes_a_success() {
        let nonce = "0123456789abcdef0123456789abcdef";
        let whole = format!("x\n@{nonce} 1 begin\nsaid\n@{nonce} 1 0\n").into_bytes();
        let succeeds = async |bytes: &[u8]| {
            let mut ear = Ear::new(bytes, nonce);
            let (reply, _answer) = oneshot::channel();
            let mut pending = VecDeque::from([Pending {
                id: 1,
                group: 0,
                trip: 1,
                deadline: Duration::ZERO,
                begun: None,
                out: None,
                err: None,
                reply,
            }]);
            while let Heard::Mark(said, mark) = ear.hear().await {
                if !took_out(&mut pending, said, &mark) {
                    return None;
                }
            }
            pending.pop_front().and_then(|call| call.out)
        };
        assert_eq!(succeeds(&whole).await, Some((b"said".to_vec(), Some(0))));
        for end in 0..whole.len() {
            assert_eq!(succeeds(&whole[..end]).await, None, "cut at {end}");
        }
        // A plain generator: the same every time.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = |below: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as usize % below
        };
        let marks = [
            "\n@",
            nonce,
            " 1 begin\n",
            " 1 0\n",
            " 2 0\n",
            "\n",
            " ",
            "said",
            "0",
            "@",
        ];
        for _ in 0..20_000 {
            let mut bytes = whole.clone();
            match next(3) {
                0 => {
                    let at = next(bytes.len());
                    bytes[at] = next(256) as u8;
                }
                1 => {
                    let at = next(bytes.len());
                    bytes.remove(at);
                }
                _ => {
                    bytes = (0..next(12))
                        .map(|_| marks[next(marks.len())])
                        .collect::<String>()
                        .into_bytes()
                }
            }
            if let Some((said, status)) = succeeds(&bytes).await {
                // What remains a success is one whose marks were left alone, or another status that was really said.
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let marked = |word: &str| text.contains(&format!("\n@{nonce} 1 {word}"));
                assert!(
                    marked("begin\n")
                        && status.is_some_and(|status| marked(&format!("{status}\n"))),
                    "{text:?} {said:?}"
                );
            }
        }
    }

    /// The stream that a session sends first, and a call.
    fn stream(nonce: &str, call: Call) -> (usize, Vec<u8>) {
        let (pen, mut sent) = mpsc::unbounded_channel();
        let mut frame = Frame::new(nonce);
        frame.raw(&loop_line(nonce));
        frame.script(&setup("provision-halt-x-"));
        frame.send(&pen);
        let mut bytes = Vec::new();
        let mut drain = |bytes: &mut Vec<u8>| {
            while let Ok(Sent::Bytes(more)) = sent.try_recv() {
                bytes.extend_from_slice(&more);
            }
        };
        drain(&mut bytes);
        let before = bytes.len();
        let mut frame = Frame::new(nonce);
        frame.call(1, 1, call, &pen).unwrap();
        frame.send(&pen);
        drain(&mut bytes);
        (before, bytes)
    }

    /// Feeds a shell with a stream that is cut; whether the call was run.
    fn is_run(shell: &[&str], bytes: &[u8], mark: &std::path::Path) -> bool {
        let _old = std::fs::remove_file(mark);
        let mut child = std::process::Command::new(shell[0])
            .args(&shell[1..])
            .args(["-c", READ_LOOP])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        // A shell that has gone does not take the rest.
        let _closed = std::io::Write::write_all(&mut input, bytes);
        drop(input);
        child.wait().unwrap();
        mark.exists()
    }

    #[test]
    fn nothing_of_a_stream_that_is_cut_is_run() {
        let nonce = "0123456789abcdef0123456789abcdef";
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        let words = || vec![Secret::new(mark.to_str().unwrap())];
        let body = "cat > \"$1\"";
        let calls = [
            Input::Empty,
            Input::Text(Secret::new("some text")),
            Input::Bytes(vec![b'x'; 300]),
        ];
        let shells: [&[&str]; 3] = [&["/bin/sh"], &["bash", "--posix"], &["busybox", "sh"]];
        for input in calls {
            let call = Call::Script {
                body,
                words: words(),
                input,
                note: None,
            };
            let (before, bytes) = stream(nonce, call);
            for shell in shells {
                if std::process::Command::new(shell[0])
                    .arg("--help")
                    .output()
                    .is_err()
                {
                    continue;
                }
                assert!(is_run(shell, &bytes, &mark), "{shell:?}");
                let last = bytes.len() - 2;
                let ends = (0..before)
                    .step_by(before / 20)
                    .chain((before..last).step_by(7))
                    .chain([last]);
                for end in ends {
                    assert!(
                        !is_run(shell, &bytes[..end], &mark),
                        "{shell:?}: cut at {end} of {}",
                        bytes.len()
                    );
                }
            }
        }
    }
}
