//! The one voice: data to stdout, talk to stderr. A stdout that is closed or full never stops a run.

use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use crate::error::{Failure, Kind, Problem};
use crate::show::{Paint, failure, problems};

/// Whether text is coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colour {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Where everything goes that a user reads.
#[derive(Debug)]
pub struct Output {
    data: Paint,
    talk: Paint,
    lost: Mutex<Option<io::Error>>,
}

impl Output {
    /// The voices of this process.
    pub fn new(colour: Colour) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let paint = |terminal: bool| Paint {
            colour: match colour {
                Colour::Always => true,
                Colour::Never => false,
                Colour::Auto => terminal && !plain,
            },
        };
        Output {
            data: paint(io::stdout().is_terminal()),
            talk: paint(io::stderr().is_terminal()),
            lost: Mutex::new(None),
        }
    }

    /// The colours of stdout.
    pub fn paint(&self) -> Paint {
        self.data
    }

    /// The colours of stderr.
    pub fn talk_paint(&self) -> Paint {
        self.talk
    }

    /// Writes data. What cannot be written is lost, once and for all, and remembered.
    pub fn data(&self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// The same for bytes.
    pub fn bytes(&self, bytes: &[u8]) {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        if lost.is_some() {
            return;
        }
        let mut stdout = io::stdout().lock();
        if let Err(error) = stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            *lost = Some(error);
        }
    }

    /// Whether data can no longer be written, whyever.
    pub fn is_deaf(&self) -> bool {
        self.lost
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some()
    }

    /// Why data was lost; a reader who went away is no reason.
    pub fn lost(&self) -> Option<Failure> {
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        let error = lost
            .as_ref()
            .filter(|error| error.kind() != io::ErrorKind::BrokenPipe)?;
        Some(Failure::new(
            Kind::Failed,
            format!("standard output cannot be written: {error}"),
        ))
    }

    /// What was lost is said and no longer held against the run: what it did is done.
    pub fn forgive(&self) {
        if let Some(failure) = self.lost() {
            self.say(&failure::warning(&failure.message, self.talk));
        }
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Says something to the user.
    pub fn say(&self, text: &str) {
        let mut stderr = io::stderr().lock();
        // Nobody is left to tell.
        let _ = stderr
            .write_all(text.as_bytes())
            .and_then(|()| stderr.flush());
    }

    /// Says what went wrong.
    pub fn fail(&self, failed: &Failure) {
        self.say(&failure::render(failed, self.talk));
    }

    /// Says what somebody should know of the files.
    pub fn warn(&self, warnings: &[Problem]) {
        if !warnings.is_empty() {
            self.say(&problems::render(warnings, self.talk.colour));
        }
    }

    /// Whether somebody can answer.
    pub fn can_ask(&self) -> bool {
        io::stdin().is_terminal()
    }

    /// Asks, and gives the line that was answered; none at the end of input. Who is interrupted meanwhile is on a line of its own.
    pub async fn ask(&self, question: &str) -> Option<String> {
        struct Asked<'a>(Option<&'a Output>);
        impl Drop for Asked<'_> {
            fn drop(&mut self) {
                if let Some(output) = self.0 {
                    output.say("\n");
                }
            }
        }
        self.say(question);
        let mut asked = Asked(Some(self));
        let read = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            match io::stdin().lock().read_line(&mut line) {
                Ok(0) | Err(_) => None,
                Ok(_) => Some(line.trim().to_owned()),
            }
        });
        let answer = read.await.ok().flatten();
        asked.0 = None;
        answer
    }

    /// Whether a live display can be drawn.
    pub fn is_live(&self) -> bool {
        io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
    }
}
