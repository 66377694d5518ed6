//! A machine with a shell: asked with one sheet, changed by a stream of scripts. What is said and how is [`super::session`]'s;
//! the way there is [`super::ssh`]'s or [`super::local`]'s.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::{Reach, Trouble};
use crate::command::{Answer, Answers, Ask, Machine, Place, Question, Script};
use crate::error::Failure;
use crate::secret::Secret;

/// A program to run on a machine: a client of a database, fed with a text.
pub(super) struct Program<'a> {
    /// The user of the machine it runs as.
    pub user: &'a str,
    /// Program and arguments. Never a secret: anybody on the machine can read them.
    pub argv: Vec<String>,
    /// Its environment, `NAME=value`, besides a bare one. Never a secret either.
    pub env: Vec<String>,
    /// What it reads.
    pub input: Secret,
    /// How long it may take.
    pub deadline: Duration,
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

/// A machine, connected when it is first needed.
pub(super) struct Remote {
    machine: Machine,
}

impl Remote {
    /// A machine that nobody has spoken to yet.
    pub fn new(machine: Machine, _reach: &Reach) -> Self {
        Remote { machine }
    }

    /// Why it could not be reached, if it could not.
    pub fn unreached(&self) -> Option<Failure> {
        None
    }

    /// Asks its questions, each with its items, all in one trip. Failures are answers.
    pub async fn look(
        &self,
        questions: &[Question],
        items: &HashMap<&'static str, Vec<String>>,
    ) -> Answers {
        let mut answers = Answers::default();
        let place = Place::Machine(Arc::clone(&self.machine.name));
        for question in questions
            .iter()
            .filter(|one| matches!(one.ask, Ask::Machine { .. }))
        {
            if items.contains_key(question.name) {
                answers.put(
                    place.clone(),
                    question.name,
                    Answer::Unreadable("not written yet".to_owned()),
                );
            }
        }
        answers
    }

    /// Runs scripts in order, sent without waiting for each other; those after the first that fails do not run. `done` hears the
    /// index of each that is done.
    pub async fn run(
        &self,
        _scripts: &[(Script, Duration)],
        _done: &(dyn Fn(usize) + Send + Sync),
    ) -> Result<(), (usize, Trouble)> {
        Err((0, Trouble::failed("not written yet")))
    }

    /// A stream to an address as the machine itself would reach it, for probes and logins: `127.0.0.1` is the machine.
    pub async fn dial(&self, _address: &str, _port: u16) -> Result<Box<dyn Stream>, String> {
        Err("not written yet".to_owned())
    }

    /// Runs a program; what it says comes when it is over, in the same trip as everything else that is asked now.
    pub async fn program(&self, _program: Program<'_>) -> Result<Said, Trouble> {
        Err(Trouble::failed("not written yet"))
    }
}
