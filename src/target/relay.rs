//! The Docker engine of a host, as a socket of this machine: every connection to it is a channel of the one connection to the host,
//! at whose end a program of the host speaks to the engine's own socket.
//!
//! Nothing listens on the host for it, no port is opened, and the user needs no right to the engine's socket where root is had by
//! sudo. `docker system dial-stdio` is what the `docker` client itself starts for `DOCKER_HOST=ssh://`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinHandle;

use super::say;
use super::session::{self, Streams};
use super::ssh::{self, Connection, Way};
use crate::command::Sudo;
use crate::error::{Failure, Kind};
use crate::quote;
use crate::secret::Secret;

/// So many connections to the engine at once: sshd allows ten sessions a connection (`MaxSessions`), and the session of the host's
/// own scripts and a second one that halts it are among them.
const CHANNELS: usize = 7;

/// How long a program that ended without a word on stdout may take to say why.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(2);

/// What is read of a program's stderr.
const MOST: u64 = 8 * 1024;

/// A socket of this machine behind which the engine of a host is. It goes with this value.
pub(super) struct Relay {
    path: PathBuf,
    /// The engine's own socket, on the host.
    socket: String,
    line: Arc<Line>,
    listening: JoinHandle<()>,
}

/// The way to the engine.
struct Line {
    way: Way,
    sudo: Sudo,
    /// What the shell at the other end is told: one line, which becomes the program.
    start: String,
    connection: Mutex<Arc<Connection>>,
    channels: Arc<Semaphore>,
    /// Why the last channel that ended before the engine said anything did.
    said: std::sync::Mutex<String>,
}

impl Relay {
    /// Listens on a socket of this machine for the engine behind `socket` of a host.
    ///
    /// # Errors
    /// [`Kind::Failed`] where no socket can be made here.
    pub fn open(
        way: Way,
        connection: Arc<Connection>,
        sudo: &Sudo,
        socket: &str,
    ) -> Result<Self, Failure> {
        let cannot = |error: std::io::Error| {
            let message = format!("no socket for the engine of `{}`: {error}", way.name);
            Failure::new(Kind::Failed, message)
        };
        let name = say::nonce().map_err(|why| Failure::new(Kind::Failed, why))?;
        let name = name.get(..12).unwrap_or(&name);
        let folder = ssh::folder().map_err(cannot)?;
        let path = folder.join(format!("engine{}-{name}", std::process::id()));
        let listener = UnixListener::bind(&path).map_err(cannot)?;
        let line = Arc::new(Line {
            start: start(sudo, socket),
            way,
            sudo: sudo.clone(),
            connection: Mutex::new(connection),
            channels: Arc::new(Semaphore::new(CHANNELS)),
            said: std::sync::Mutex::default(),
        });
        let listening = tokio::spawn(listen(listener, Arc::clone(&line)));
        Ok(Relay {
            path,
            socket: socket.to_owned(),
            line,
            listening,
        })
    }

    /// The engine's own socket, on the host.
    pub fn socket(&self) -> &str {
        &self.socket
    }

    /// The host.
    pub fn host(&self) -> &str {
        &self.line.way.name
    }

    /// The socket of this machine.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the other end said when it could not reach the engine; empty where nothing went wrong.
    pub fn said(&self) -> String {
        let said = self.line.said.lock();
        said.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.listening.abort();
        let _gone = fs::remove_file(&self.path);
    }
}

/// The one line that makes a shell the engine's other end: it is read by [`session::COMMAND`]'s `read`, so what follows it is the
/// program's.
fn start(sudo: &Sudo, socket: &str) -> String {
    let socket = quote::word(socket);
    let python = "import os,socket,sys,threading\n\
        s=socket.socket(socket.AF_UNIX);s.connect(sys.argv[1])\n\
        def up():\n    \
            for b in iter(lambda:os.read(0,65536),b\"\"): s.sendall(b)\n    \
            s.shutdown(socket.SHUT_WR)\n\
        threading.Thread(target=up,daemon=True).start()\n\
        for b in iter(lambda:s.recv(65536),b\"\"):\n    \
            while b: b=b[os.write(1,b):]\n\
        os._exit(0)";
    // One line: the newlines of the program are made by the shell.
    let python = python.replace('\n', "\\n");
    let program = format!(
        "s={socket}; [ -S \"$s\" ] || {{ echo \"no engine listens there: $s is no socket\" >&2; exit 69; }}; \
         if command -v docker >/dev/null; then exec docker -H \"unix://$s\" system dial-stdio; fi; \
         if command -v python3 >/dev/null; then exec python3 -c \"$(printf '{python}')\" \"$s\"; fi; \
         echo \"neither docker nor python3 is there to reach the engine with\" >&2; exit 69"
    );
    match sudo {
        Sudo::Free | Sudo::No => format!("{program}\n"),
        Sudo::Password(_) => {
            let program = quote::word(&program);
            format!(
                "IFS= read -r _p; printf '%s\\n' \"$_p\" | sudo -S -p '' -v >/dev/null || exit 77; unset _p; \
                 sudo -n /bin/sh -c {program}; exit $?\n"
            )
        }
    }
}

async fn listen(listener: UnixListener, line: Arc<Line>) {
    // All connections go with the socket.
    let mut open = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(open.spawn(one(stream, Arc::clone(&line)))),
                Err(error) => {
                    tracing::warn!("a connection to the engine cannot be taken: {error}");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            },
            Some(_) = open.join_next(), if !open.is_empty() => {}
        }
    }
}

/// One connection, to its end.
async fn one(stream: UnixStream, line: Arc<Line>) {
    let Ok(_channel) = Arc::clone(&line.channels).acquire_owned().await else {
        return;
    };
    let Streams {
        mut input,
        out,
        err,
        hold: _hold,
    } = match line.open().await {
        Ok(streams) => streams,
        Err(failure) => return line.says(failure.message),
    };
    let mut told = line.start.clone().into_bytes();
    if let Sudo::Password(password) = &line.sudo {
        told.extend_from_slice(password.expose().as_bytes());
        told.push(b'\n');
    }
    let told = Secret::new(String::from_utf8_lossy(&told));
    if input.write_all(told.expose().as_bytes()).await.is_err() || input.flush().await.is_err() {
        return line.says("the host's shell does not listen".to_owned());
    }
    tracing::debug!(host = line.way.name, "a channel to the engine");
    let (from, mut to) = stream.into_split();
    let up = tokio::spawn(up(from, input));
    if !down(out, &mut to).await {
        let mut said = Vec::new();
        let mut last = err.take(MOST);
        let read = last.read_to_end(&mut said);
        let _late = tokio::time::timeout(LAST_WORDS, read).await;
        // Before the client hears that it is over: then it asks why.
        line.says(String::from_utf8_lossy(&said).into_owned());
    }
    let _closed = to.shutdown().await;
    up.abort();
}

/// What the client says, with its end.
async fn up(mut from: OwnedReadHalf, mut input: Box<dyn tokio::io::AsyncWrite + Send + Unpin>) {
    let _end = tokio::io::copy(&mut from, &mut input).await;
    let _closed = input.shutdown().await;
}

/// What the engine says, to its end; whether it said anything.
async fn down(
    mut out: Box<dyn tokio::io::AsyncRead + Send + Unpin>,
    to: &mut OwnedWriteHalf,
) -> bool {
    let mut heard = false;
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = out.read(&mut buffer).await {
        heard = true;
        let piece = buffer.get(..count).unwrap_or_default();
        if to.write_all(piece).await.is_err() {
            break;
        }
    }
    heard
}

impl Line {
    /// A shell on the host; over another connection where this one is gone.
    async fn open(&self) -> Result<Streams, Failure> {
        let command = match self.sudo {
            Sudo::Free => session::SUDO_COMMAND,
            Sudo::No | Sudo::Password(_) => session::COMMAND,
        };
        let connection = Arc::clone(&*self.connection.lock().await);
        if connection.is_open()
            && let Ok(streams) = connection.open(command).await
        {
            return Ok(streams);
        }
        let mut kept = self.connection.lock().await;
        if Arc::ptr_eq(&kept, &connection) {
            *kept = Arc::new(Connection::make(&self.way).await?);
        }
        kept.open(command).await
    }

    fn says(&self, said: String) {
        let said = say::last_words(&said, 3).join(" ");
        if !said.is_empty() {
            tracing::info!(host = self.way.name, "the engine is not reached: {said}");
            *self.said.lock().unwrap_or_else(PoisonError::into_inner) = said;
        }
    }
}

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says when it cannot be run"
)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::process::{Command, Stdio};

    /// What comes back from an echoing server behind a socket, through the line that a shell is given.
    fn through(path: &str, sent: &[u8]) -> Vec<u8> {
        let place = tempfile::tempdir().unwrap();
        let socket = place.path().join("a socket");
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).unwrap();
            stream.write_all(&heard).unwrap();
        });
        let mut shell = Command::new("/bin/sh")
            .args(["-c", "IFS= read -r b && eval \"$b\""])
            .env("PATH", path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = shell.stdin.take().unwrap();
        let line = start(&Sudo::No, socket.to_str().unwrap());
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        input.write_all(line.as_bytes()).unwrap();
        input.write_all(sent).unwrap();
        drop(input);
        let said = shell.wait_with_output().unwrap();
        server.join().unwrap();
        said.stdout
    }

    #[test]
    fn bytes_and_their_end_go_through_without_docker() {
        let place = tempfile::tempdir().unwrap();
        let known = ["/usr/bin/python3", "/usr/local/bin/python3"];
        let Some(python) = known.into_iter().find(|path| Path::new(path).exists()) else {
            eprintln!("*** SKIPPED: there is no python3 here ***");
            return;
        };
        std::os::unix::fs::symlink(python, place.path().join("python3")).unwrap();
        let sent: Vec<u8> = (0..=255).cycle().take(300_000).collect();
        assert!(through(place.path().to_str().unwrap(), &sent) == sent);
    }
}
