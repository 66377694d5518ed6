//! Ctrl-C and its kin. Who only looks is ended by the first, at once. Who changes something goes on to the end of what is running,
//! and is ended by the second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::error::{Failure, Kind};

/// A wrapper that hands on what the terminal sent already sends it twice, which is no second wish.
const SAME: Duration = Duration::from_millis(50);

/// So long may what is ended take to tidy up; then it is ended as it is.
const TIDY: Duration = Duration::from_secs(2);

/// What a signal means right now.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing was changed so far: the first ends it.
    Looking,
    /// Something of this environment is being changed: the second ends it.
    Changing(String),
    /// The command takes them itself.
    Taken,
}

#[derive(Clone, Debug)]
struct State {
    stage: Stage,
    heard: usize,
    /// Whether the last one is of those that a terminal gives to all that run on it.
    on_terminal: bool,
}

impl State {
    /// Whether it ends at once.
    fn ends(&self) -> bool {
        match self.stage {
            Stage::Looking => self.heard > 0,
            Stage::Changing(_) => self.heard > 1,
            Stage::Taken => false,
        }
    }
}

/// What was heard of SIGINT, SIGTERM and SIGHUP.
#[derive(Clone, Debug)]
pub struct Interrupt {
    state: Arc<watch::Sender<State>>,
    stop: Arc<watch::Sender<bool>>,
}

impl Default for Interrupt {
    fn default() -> Self {
        let state = State {
            stage: Stage::Looking,
            heard: 0,
            on_terminal: false,
        };
        Interrupt {
            state: Arc::new(watch::Sender::new(state)),
            stop: Arc::new(watch::Sender::new(false)),
        }
    }
}

impl Interrupt {
    /// From now on these signals no longer end the process by themselves. One that was ignored already, as `nohup` does, stays
    /// ignored.
    ///
    /// # Errors
    /// Where they cannot be listened for.
    pub fn listen(&self) -> Result<(), Failure> {
        let ignored = ignored();
        let listen = |kind: SignalKind| -> Result<Option<Signal>, Failure> {
            let number = u32::try_from(kind.as_raw_value()).unwrap_or_default();
            if ignored & 1u64.checked_shl(number.saturating_sub(1)).unwrap_or(0) != 0 {
                return Ok(None);
            }
            let listening = signal(kind).map_err(|error| {
                Failure::new(Kind::Failed, format!("cannot listen for signals: {error}"))
            })?;
            Ok(Some(listening))
        };
        let mut interrupt = listen(SignalKind::interrupt())?;
        let mut terminate = listen(SignalKind::terminate())?;
        let mut hangup = listen(SignalKind::hangup())?;
        let here = self.clone();
        tokio::spawn(async move {
            let mut last: Option<(Instant, bool)> = None;
            loop {
                let on_terminal = tokio::select! {
                    () = next(&mut interrupt) => true,
                    () = next(&mut terminate) => false,
                    () = next(&mut hangup) => false,
                };
                let again =
                    last.is_some_and(|(when, was)| was == on_terminal && when.elapsed() < SAME);
                if !again {
                    last = Some((Instant::now(), on_terminal));
                    here.hear(on_terminal);
                }
            }
        });
        Ok(())
    }

    fn hear(&self, on_terminal: bool) {
        self.state.send_modify(|state| {
            state.heard += 1;
            state.on_terminal = on_terminal;
        });
        self.tell();
        if self.state.borrow().ends() {
            let here = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(TIDY).await;
                // Still there: it waits for something that cannot be broken off.
                if here.state.borrow().ends() {
                    std::process::exit(Kind::Interrupted.code().into());
                }
            });
        }
    }

    fn tell(&self) {
        let state = self.state.borrow().clone();
        if state.heard > 0 && matches!(state.stage, Stage::Changing(_)) {
            self.stop.send_replace(true);
        }
    }

    /// From now on something of an environment is being changed.
    pub fn changing(&self, environment: &str) {
        self.state
            .send_modify(|state| state.stage = Stage::Changing(environment.to_owned()));
        self.tell();
    }

    /// Becomes true when nothing more is to be begun.
    pub fn stop(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// From now on who asks for this takes them.
    pub fn take(&self) -> Signals {
        let signals = Signals(self.state.subscribe());
        self.state.send_modify(|state| state.stage = Stage::Taken);
        signals
    }

    /// Ends where the command is to end at once, with what is to be said.
    pub async fn at_once(&self) -> Failure {
        let mut heard = self.state.subscribe();
        let state = heard.wait_for(State::ends).await;
        match state.as_deref().map(|state| &state.stage) {
            Ok(Stage::Changing(environment)) => Failure::new(
                Kind::Interrupted,
                "stopped at once: what was running may or may not have happened",
            )
            .hint(format!(
                "`provision status {environment}` says what is done, not done and unknown; `provision plan {environment}` looks again"
            )),
            _ => Failure::new(Kind::Interrupted, "interrupted, nothing was changed"),
        }
    }
}

/// Signals for a command that takes them itself.
pub struct Signals(watch::Receiver<State>);

impl Signals {
    /// The next one; whether a terminal gave it to all that run on it.
    pub async fn next(&mut self) -> bool {
        let before = self.0.borrow_and_update().heard;
        let heard = self.0.wait_for(|state| state.heard > before).await;
        match heard {
            Ok(state) => state.on_terminal,
            // Nobody listens for any.
            Err(_) => std::future::pending().await,
        }
    }
}

async fn next(signal: &mut Option<Signal>) {
    let heard = match signal {
        Some(signal) => signal.recv().await,
        None => None,
    };
    if heard.is_none() {
        std::future::pending::<()>().await;
    }
}

/// The signals that this process was started without, a bit each.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}
