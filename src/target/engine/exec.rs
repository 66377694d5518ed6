//! Running a program in a container: a text on its stdin, its answer read as it comes.

use std::process::Stdio;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Engine, trouble, words};
use crate::secret::Secret;
use crate::target::Trouble;
use crate::target::say::clean;

/// A program to run in a container.
pub(crate) struct Exec<'a> {
    /// The container's id or name.
    pub container: &'a str,
    /// The user it runs as; where the container does not know that user, its own.
    pub user: Option<&'a str>,
    /// Program and arguments. Never a secret: anybody on the machine can read them.
    pub argv: Vec<String>,
    /// Its environment besides the container's. Never a secret either.
    pub env: Vec<String>,
    /// What it reads.
    pub input: Secret,
    /// How much it may say.
    pub most: usize,
    /// The last line of what it says, where that is known: its end, which the engine takes its time to tell, is not waited for.
    pub last: Option<String>,
}

/// What a program said.
#[derive(Debug, Default)]
pub(crate) struct Ran {
    /// Its stdout.
    pub out: Vec<u8>,
    /// Its stderr.
    pub err: Vec<u8>,
    /// Its exit code, where it was asked for and there is one.
    pub code: Option<i64>,
}

/// Why a program could not be run.
#[derive(Debug)]
pub(crate) enum NotRun {
    /// The container does not run.
    Stopped,
    /// Nothing was run, in the engine's words.
    Refused(String),
    /// It may have run: the connection broke, or it said too much.
    Broken(String),
}

impl NotRun {
    /// For people.
    pub fn words(&self) -> String {
        match self {
            NotRun::Stopped => "its container does not run".to_owned(),
            NotRun::Refused(why) | NotRun::Broken(why) => why.clone(),
        }
    }
}

/// Which stream a piece came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Out,
    Err,
}

impl Engine {
    /// Runs a program and returns what it said and its exit code.
    pub async fn run_to_end(&self, exec: Exec<'_>) -> Result<Ran, NotRun> {
        let mut ran = Ran::default();
        let id = self
            .stream(&exec, |side, piece| match side {
                Side::Out => ran.out.extend_from_slice(piece),
                Side::Err => ran.err.extend_from_slice(piece),
            })
            .await?;
        ran.code = self.exit_code(&id).await;
        Ok(ran)
    }

    /// The exit code of a program that closed its streams. It may need a moment to end.
    pub async fn exit_code(&self, id: &str) -> Option<i64> {
        for _ in 0..100 {
            let state = self.docker.inspect_exec(id).await.ok()?;
            if state.running != Some(true) {
                return state.exit_code;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        None
    }

    /// Runs a program; `hear` gets what it says as it says it. Returns the id to ask the exit code by.
    pub async fn stream(
        &self,
        exec: &Exec<'_>,
        mut hear: impl FnMut(Side, &[u8]),
    ) -> Result<String, NotRun> {
        let (id, started) = match self.start(exec, exec.user).await {
            Err(NotRun::Refused(why))
                if exec.user.is_some() && why.contains("unable to find user") =>
            {
                self.start(exec, None).await?
            }
            other => other?,
        };
        let StartExecResults::Attached {
            mut output,
            mut input,
        } = started
        else {
            return Err(NotRun::Broken("the engine gave no stream".to_owned()));
        };
        let write = async {
            // A program that ends early does not read all of it: that is no error of ours.
            let _ = input.write_all(exec.input.expose().as_bytes()).await;
            let _ = input.shutdown().await;
        };
        let read = async {
            let mut heard = 0;
            let last = exec.last.as_ref().map(|line| format!("{line}\n"));
            let mut tail = Vec::new();
            while let Some(piece) = output.next().await {
                let piece = piece.map_err(|error| NotRun::Broken(words(&error)))?;
                let (side, bytes) = match &piece {
                    LogOutput::StdErr { message } => (Side::Err, message),
                    LogOutput::StdOut { message }
                    | LogOutput::StdIn { message }
                    | LogOutput::Console { message } => (Side::Out, message),
                };
                heard += bytes.len();
                if heard > exec.most {
                    return Err(NotRun::Broken(format!(
                        "it said more than {} MiB",
                        exec.most >> 20
                    )));
                }
                hear(side, bytes);
                if let (Some(last), Side::Out) = (&last, side) {
                    tail.extend_from_slice(bytes);
                    if tail.ends_with(last.as_bytes()) {
                        break;
                    }
                    tail.drain(..tail.len().saturating_sub(last.len()));
                }
            }
            Ok(())
        };
        let ((), read) = tokio::join!(write, read);
        read.map(|()| id)
    }

    async fn start(
        &self,
        exec: &Exec<'_>,
        user: Option<&str>,
    ) -> Result<(String, StartExecResults), NotRun> {
        let options = CreateExecOptions {
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(exec.argv.clone()),
            env: Some(exec.env.clone()),
            user: user.map(str::to_owned),
            ..CreateExecOptions::default()
        };
        let refused = |error: bollard::errors::Error| match super::status(&error) {
            Some(404 | 409) => NotRun::Stopped,
            Some(_) => NotRun::Refused(words(&error)),
            None => NotRun::Broken(words(&error)),
        };
        let id = self
            .docker
            .create_exec(exec.container, options)
            .await
            .map_err(refused)?
            .id;
        let how = StartExecOptions {
            detach: false,
            tty: false,
            output_capacity: Some(64 * 1024),
        };
        let started = self
            .docker
            .start_exec(&id, Some(how))
            .await
            .map_err(refused)?;
        Ok((id, started))
    }

    /// Runs a command with our own stdin, stdout and stderr.
    pub async fn pass_through(
        &self,
        container: &str,
        argv: &[String],
        tty: bool,
    ) -> Result<i32, Trouble> {
        if tty && let Some(code) = self.lend_terminal(container, argv).await? {
            return Ok(code);
        }
        let options = CreateExecOptions {
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(argv.to_vec()),
            ..CreateExecOptions::default()
        };
        let cannot = |error: bollard::errors::Error| trouble("run it in the container", &error);
        let id = self
            .docker
            .create_exec(container, options)
            .await
            .map_err(cannot)?
            .id;
        let started = self
            .docker
            .start_exec(&id, None::<StartExecOptions>)
            .await
            .map_err(cannot)?;
        let StartExecResults::Attached {
            mut output,
            mut input,
        } = started
        else {
            return Err(Trouble::failed("the engine gave no stream"));
        };
        // Its own task: our stdin may never end, and then nobody waits for it.
        let feed = tokio::spawn(async move {
            let mut stdin = tokio::io::stdin();
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(count @ 1..) = stdin.read(&mut buffer).await {
                let Some(piece) = buffer.get(..count) else {
                    break;
                };
                if input.write_all(piece).await.is_err() {
                    return;
                }
            }
            let _ = input.shutdown().await;
            // Kept until the program ends: dropping it would close the stream both ways.
            std::future::pending::<()>().await;
        });
        let (mut stdout, mut stderr) = (tokio::io::stdout(), tokio::io::stderr());
        let mut said = Ok(());
        while let Some(piece) = output.next().await {
            let written = match piece {
                Ok(LogOutput::StdErr { message }) => stderr.write_all(&message).await,
                Ok(other) => {
                    let bytes = other.into_bytes();
                    match stdout.write_all(&bytes).await {
                        Ok(()) => stdout.flush().await,
                        error => error,
                    }
                }
                Err(error) => {
                    said = Err(trouble("hear what it says", &error));
                    break;
                }
            };
            if written.is_err() {
                break;
            }
        }
        feed.abort();
        let _ = stderr.flush().await;
        said?;
        let code = self.exit_code(&id).await;
        match code.and_then(|code| i32::try_from(code).ok()) {
            Some(code) => Ok(code),
            None => Err(Trouble::unknown("nobody knows how it ended")),
        }
    }

    /// `docker exec -it` with our own terminal; `None` where there is no `docker` to do it.
    async fn lend_terminal(
        &self,
        container: &str,
        argv: &[String],
    ) -> Result<Option<i32>, Trouble> {
        let started = tokio::process::Command::new("docker")
            .args(["exec", "--interactive", "--tty", container])
            .args(argv)
            .env("DOCKER_HOST", format!("unix://{}", self.socket()))
            .env_remove("DOCKER_CONTEXT")
            .stdin(Stdio::inherit())
            .stdout(Stdio::inherit())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn();
        let mut child = match started {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(Trouble::failed(format!(
                    "cannot start `docker`: {}",
                    clean(&error.to_string(), 200)
                )));
            }
        };
        let ended = child.wait().await;
        let ended = ended.map_err(|error| Trouble::unknown(clean(&error.to_string(), 200)))?;
        Ok(Some(ended.code().unwrap_or(1)))
    }
}
