//! The way to a machine over SSH: one connection a machine, made by the `ssh` of this machine with all of its user's settings, and
//! spoken to through its control socket. A kept one serves the next command too.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Stdio as Pipes;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use openssh::{Session as Mux, Stdio};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::Instant;

use super::session::{End, Streams, Why};
use super::{local, say};
use crate::command::Ssh;
use crate::error::{Failure, Kind};
use crate::quote;
use crate::secret;

/// A connection that is not there by now never will be. Also one that the other side drops because too many come at once is tried
/// again for so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// What `ssh` says where the way to the machine, a jump host's, is closed.
const NO_WAY: &str = "UNKNOWN port 65535";
/// The longest pause between two tries.
const PAUSE: u64 = 4_000;

/// How a machine is reached, and what its messages need.
#[derive(Clone, Debug)]
pub(super) struct Way {
    /// The machine, as in `[host.NAME]`.
    pub name: String,
    /// The environment, for what to try next.
    pub environment: String,
    /// Where it is.
    pub ssh: Ssh,
    /// The file in which `provision trust` pins keys.
    pub pinned: PathBuf,
    /// Whether the connection is kept for the next command. One that is not is made even if there is one, used by nobody else, and goes
    /// with who made it.
    pub persist: bool,
}

/// A connection.
pub(super) struct Connection {
    mux: Arc<Mux>,
    way: Way,
    socket: PathBuf,
    log: PathBuf,
    /// Whether an earlier command made it.
    pub kept: bool,
}

impl Connection {
    /// Takes the kept connection, or makes one.
    pub async fn make(way: &Way) -> Result<Self, Failure> {
        let folder = folder().map_err(|error| {
            let message = format!("no folder for the connections: {error}");
            Failure::new(Kind::Failed, message)
        })?;
        let options = way.options(&folder)?;
        let name = secret::sha256(options.join("\0"));
        let name = match way.persist {
            true => name.get(..20).unwrap_or_default().to_owned(),
            false => format!("own{}-{:x}", std::process::id(), jitter(1 << 32)),
        };
        let socket = folder.join(&name);
        let log = folder.join(format!("{name}.log"));
        let mut connection = Connection {
            mux: Arc::new(Mux::resume_mux(
                socket.clone().into(),
                Some(log.clone().into()),
            )),
            way: way.clone(),
            socket: socket.clone(),
            log: log.clone(),
            kept: true,
        };
        if connection.is_there().await {
            return Ok(connection);
        }
        // Two that begin at once: the second waits for the connection of the first.
        let lock = folder.join(format!("{name}.lock"));
        let _guard = guard(&lock).await;
        if connection.is_there().await {
            return Ok(connection);
        }
        forget(&socket);
        let persist = if way.persist { 60 } else { 5 };
        let mut all = vec![
            "-MfNS".to_owned(),
            socket.display().to_string(),
            "-E".to_owned(),
            log.display().to_string(),
            format!("-oControlPersist={persist}"),
        ];
        all.extend(options.iter().cloned());
        let until = Instant::now() + PATIENCE;
        for tried in 0u32.. {
            let _old = fs::remove_file(&log);
            let Err(mut said) = start(&all, &log, until).await else {
                break;
            };
            if way.ssh.jump.is_some() && said.contains(NO_WAY) {
                said.push_str(&on_the_way(&options, until).await);
            }
            // Past MaxStartups the other side drops some at random: come back at another time than the others.
            let most = PAUSE.min(200 << tried.min(8));
            let pause = Duration::from_millis(most / 4 + jitter(most));
            if !is_dropped(&said) || Instant::now() + pause > until {
                for path in [&log, &lock] {
                    let _gone = fs::remove_file(path);
                }
                return Err(way.refused(&said));
            }
            tracing::debug!(
                host = way.name,
                ms = pause.as_millis(),
                "dropped, trying again"
            );
            tokio::time::sleep(pause).await;
        }
        connection.kept = false;
        // Who waits for it finds the connection; nobody needs the name any more.
        let _gone = fs::remove_file(&lock);
        static SWEPT: std::sync::Once = std::sync::Once::new();
        SWEPT.call_once(|| sweep(&folder));
        Ok(connection)
    }

    async fn is_there(&self) -> bool {
        self.socket.exists()
            && tokio::time::timeout(Duration::from_secs(5), self.mux.check())
                .await
                .is_ok_and(|checked| checked.is_ok())
    }

    /// Starts a command on the machine.
    pub async fn open(&self, command: &str) -> Result<Streams, Failure> {
        let mut command = Arc::clone(&self.mux).arc_raw_command(command);
        let opened = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let lost = |said: &str| {
            self.way
                .refused(&format!("{said}\n{}", read_text(&self.log)))
        };
        let opened = tokio::time::timeout(Duration::from_secs(15), opened).await;
        let mut child = match opened {
            Ok(Ok(child)) => child,
            Ok(Err(error)) => return Err(lost(&whole(&error))),
            Err(_) => return Err(lost("Connection timed out while a session was opened")),
        };
        let streams = (
            child.stdin().take(),
            child.stdout().take(),
            child.stderr().take(),
        );
        match streams {
            (Some(input), Some(out), Some(err)) => Ok(Streams {
                input: Box::new(input),
                out: Box::new(out),
                err: Box::new(err),
                hold: Box::new(child),
            }),
            _ => Err(lost("a session has no streams")),
        }
    }

    /// A stream to an address as the machine would reach it.
    pub fn dial(&self, address: &str, port: u16) -> Result<Dialed, String> {
        let to = match address.contains(':') {
            true => format!("[{address}]:{port}"),
            false => format!("{address}:{port}"),
        };
        // Only through the connection that is there: with no settings it could make none.
        let started = Command::new("ssh")
            .args(["-F", "none", "-S"])
            .arg(&self.socket)
            .args([
                "-oControlMaster=no",
                "-oProxyCommand=false",
                "-oBatchMode=yes",
            ])
            .args(["-W", &to, "machine"])
            .process_group(0)
            .kill_on_drop(true)
            .stdin(Pipes::piped())
            .stdout(Pipes::piped())
            .stderr(Pipes::piped())
            .spawn();
        let mut child = started.map_err(|error| format!("ssh cannot be started: {error}"))?;
        match (child.stdin.take(), child.stdout.take(), child.stderr.take()) {
            (Some(input), Some(out), Some(err)) => Ok(Dialed {
                input,
                out,
                err,
                heard: false,
                _child: child,
            }),
            _ => Err("ssh has no streams".to_owned()),
        }
    }

    /// What a session that never said hello means.
    pub fn unspoken(&self, end: &End) -> Failure {
        self.way.unspoken(end, &read_text(&self.log))
    }

    /// Makes the next one a new one.
    pub fn forget(&self) {
        forget(&self.socket);
    }

    /// Whether something new can still go over it: one that others have forgotten goes on with what it has.
    pub fn is_open(&self) -> bool {
        self.socket.exists()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.way.persist {
            return;
        }
        // Where this fails the connection goes by itself, seconds later.
        let _closed = close(&self.socket);
        for path in [&self.socket, &self.log, &self.log.with_extension("lock")] {
            let _gone = fs::remove_file(path);
        }
    }
}

/// Takes a connection's name away from it. A name that is only removed would not do: when that connection ends, it removes whatever has
/// the name by then, which is the next one's.
fn forget(socket: &Path) {
    if stop(socket).is_err() {
        let _gone = fs::remove_file(socket);
    }
}

/// Tells a connection to end, as `ssh -O exit` does, and waits until it does.
fn close(socket: &Path) -> io::Result<()> {
    const TERMINATE: [u32; 2] = [0x1000_0005, 0];
    let mut rest = Vec::new();
    tell(socket, TERMINATE)?.read_to_end(&mut rest).map(|_| ())
}

/// Tells a connection to take nothing new, as `ssh -O stop` does, and waits until it has said so.
fn stop(socket: &Path) -> io::Result<()> {
    const STOP: [u32; 2] = [0x1000_0009, 0];
    const DONE: u32 = 0x8000_0001;
    let mut stream = tell(socket, STOP)?;
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > 4096 {
            return Err(io::Error::other("this is no connection"));
        }
        let mut said = vec![0; length];
        stream.read_exact(&mut said)?;
        if said.starts_with(&DONE.to_be_bytes()) {
            return Ok(());
        }
    }
}

/// Says something to a connection, in the words of OpenSSH's `PROTOCOL.mux`.
fn tell(socket: &Path, packet: [u32; 2]) -> io::Result<UnixStream> {
    const HELLO: [u32; 2] = [1, 4];
    let mut stream = UnixStream::connect(socket)?;
    stream.set_write_timeout(Some(Duration::from_secs(1)))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut told = Vec::new();
    for packet in [HELLO, packet] {
        for number in [8, packet[0], packet[1]] {
            told.extend_from_slice(&u32::to_be_bytes(number));
        }
    }
    stream.write_all(&told)?;
    Ok(stream)
}

/// A stream through a connection.
pub(super) struct Dialed {
    input: ChildStdin,
    out: ChildStdout,
    err: ChildStderr,
    heard: bool,
    _child: Child,
}

impl AsyncRead for Dialed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        match Pin::new(&mut self.out).poll_read(context, into) {
            Poll::Ready(Ok(())) if into.filled().len() > before => {
                self.heard = true;
                Poll::Ready(Ok(()))
            }
            // It ended before it began: ssh says why.
            Poll::Ready(Ok(())) if !self.heard && into.remaining() > 0 => {
                let mut said = [0; 400];
                let mut why = ReadBuf::new(&mut said);
                match Pin::new(&mut self.err).poll_read(context, &mut why) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(_) => {
                        let text = String::from_utf8_lossy(why.filled()).into_owned();
                        Poll::Ready(Err(unopened(&text)))
                    }
                }
            }
            other => other,
        }
    }
}

/// `channel 0: open failed: connect failed: Connection refused` and `stdio forwarding failed`, as an error.
fn unopened(said: &str) -> io::Error {
    let line = said
        .lines()
        .find_map(|line| line.split("open failed: ").nth(1))
        .unwrap_or("the connection was closed before anything came");
    let line = line.trim_start_matches("connect failed: ");
    let kind = match line.contains("refused") {
        true => io::ErrorKind::ConnectionRefused,
        false => io::ErrorKind::ConnectionReset,
    };
    io::Error::new(kind, say::clean(line, 200))
}

impl AsyncWrite for Dialed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.input).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_shutdown(context)
    }
}

impl Way {
    /// What `ssh` is told, the machine's address last.
    fn options(&self, folder: &Path) -> Result<Vec<String>, Failure> {
        let ssh = &self.ssh;
        let mut options: Vec<String> = [
            "BatchMode=yes",
            "StrictHostKeyChecking=yes",
            "UpdateHostKeys=no",
            "CheckHostIP=no",
            "ConnectTimeout=10",
            "ServerAliveInterval=3",
            "ServerAliveCountMax=3",
            "TCPKeepAlive=yes",
            "ForwardAgent=no",
            "ForwardX11=no",
            "ClearAllForwardings=yes",
            "PermitLocalCommand=no",
            "RemoteCommand=none",
            "RequestTTY=no",
            "Tunnel=no",
            "LogLevel=INFO",
        ]
        .iter()
        .map(|option| format!("-o{option}"))
        .collect();
        match &ssh.host_key {
            Some(key) => {
                let file = self.keep_pin(folder, key).map_err(|error| {
                    Failure::new(
                        Kind::Failed,
                        format!("the host key cannot be kept: {error}"),
                    )
                })?;
                options.push(format!("-oHostKeyAlias={}", self.name));
                options.push(format!("-oUserKnownHostsFile={}", quoted(&file)));
                options.push("-oGlobalKnownHostsFile=/dev/null".to_owned());
                options.push("-oKnownHostsCommand=none".to_owned());
            }
            // The user's own file is as `~/.ssh/config` says; what was pinned here counts as the machine's.
            None => options.push(format!(
                "-oGlobalKnownHostsFile=/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2 {}",
                quoted(&self.pinned)
            )),
        }
        if let Some(identity) = &ssh.identity {
            let path = expanded(identity);
            if !path.is_file() {
                let message = format!("`{}`: the private key `{identity}` is not there", self.name);
                return Err(Failure::new(Kind::Unreachable, message).hint(format!(
                    "say in `[host.{}]` where it is: `identity`",
                    self.name
                )));
            }
            options.push(format!("-oIdentityFile={}", quoted(&path)));
            options.push("-oIdentitiesOnly=yes".to_owned());
        }
        if let Some(port) = ssh.port {
            options.push(format!("-p{port}"));
        }
        if let Some(user) = &ssh.user {
            options.push(format!("-l{user}"));
        }
        if let Some(jump) = &ssh.jump {
            options.push(format!("-J{jump}"));
        }
        options.push("--".to_owned());
        options.push(ssh.address.clone());
        Ok(options)
    }

    /// A file that knows the declared key and no other. Written every time, so that it is never an old one.
    fn keep_pin(&self, folder: &Path, key: &str) -> io::Result<PathBuf> {
        let line = format!("{} {}\n", self.name, key.trim());
        let name = secret::sha256(&line);
        let path = folder.join(format!("{}.key", name.get(..20).unwrap_or_default()));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(line.as_bytes())?;
        file.persist(&path).map_err(|error| error.error)?;
        Ok(path)
    }

    /// `deploy@db1.example.com`.
    fn whom(&self) -> String {
        match &self.ssh.user {
            Some(user) => format!("{user}@{}", self.ssh.address),
            None => self.ssh.address.clone(),
        }
    }

    /// What `ssh` said, as a failure with one thing to try.
    fn refused(&self, said: &str) -> Failure {
        let (message, hint) = self.told(said);
        Failure::new(
            Kind::Unreachable,
            format!("`{}` cannot be reached: {message}", self.name),
        )
        .hint(hint)
    }

    fn told(&self, said: &str) -> (String, String) {
        let has = |text: &str| said.contains(text);
        let (name, address) = (&self.name, &self.ssh.address);
        let trust = format!("provision trust {} {name}", self.environment);
        let ssh = format!("try `ssh {}` by hand", quote::word(&self.whom()));
        if has("REVOKED HOST KEY") {
            return (
                "its host key is revoked".to_owned(),
                "somebody else may have that key: give the machine another, and look at `@revoked` in the files of known hosts".to_owned(),
            );
        }
        if has("REMOTE HOST IDENTIFICATION HAS CHANGED") {
            return match self.ssh.host_key {
                Some(_) => (
                    "its host key is not the one that is pinned in the file".to_owned(),
                    format!(
                        "somebody may listen in; if the machine was made anew, change `host_key` of `[host.{name}]`"
                    ),
                ),
                None => (
                    "its host key has changed".to_owned(),
                    format!("somebody may listen in; if the machine was made anew: `{trust}`"),
                ),
            };
        }
        if has("host key is known for") || has("Host key verification failed") {
            return match (&self.ssh.host_key, has("is known for")) {
                (Some(_), _) => (
                    "its host key is not the one that is pinned in the file".to_owned(),
                    format!("see which it shows with `ssh-keyscan {address}`"),
                ),
                (None, _) if self.ssh.jump.is_some() && !has(address) => (
                    format!("a host key on the way is not known: {}", last(said)),
                    ssh,
                ),
                _ => (
                    "its host key is not known".to_owned(),
                    format!("see and pin it with `{trust}`"),
                ),
            };
        }
        if has("Permission denied (") || has("Too many authentication failures") {
            let with = match &self.ssh.identity {
                Some(identity) => format!("the key `{identity}`"),
                None => "the keys of `~/.ssh` and of the agent".to_owned(),
            };
            let hint = match &self.ssh.identity {
                Some(identity) if is_locked(&expanded(identity)) => format!(
                    "it has a passphrase, and nobody is asked for it: give it to the agent, `ssh-add {}`",
                    quote::path(identity)
                ),
                Some(identity) => format!(
                    "try `ssh -i {} {}` by hand",
                    quote::path(identity),
                    quote::word(&self.whom())
                ),
                None => format!("name the key in `[host.{name}]`: `identity`, or {ssh}"),
            };
            return (
                format!(
                    "{} does not let `{}` in with {with}",
                    address,
                    self.ssh.user.as_deref().unwrap_or("us")
                ),
                hint,
            );
        }
        if has("`ssh` cannot be started") {
            return (last(said), "install the OpenSSH client".to_owned());
        }
        if let Some(jump) = &self.ssh.jump
            && has(NO_WAY)
        {
            let why = said.lines().find(|line| line.starts_with("ssh: "));
            let why = why.map_or_else(|| last(said), |line| say::clean(line, 200));
            return (
                format!("there is no way through `{jump}`: {why}"),
                format!("look at `jump` of `[host.{name}]`, or {ssh}"),
            );
        }
        if has("Temporary failure in name resolution") {
            return (
                format!("the name `{address}` cannot be looked up: no resolver answers here"),
                "look at the network of this machine and at `/etc/resolv.conf`".to_owned(),
            );
        }
        if has("Could not resolve hostname") {
            return (
                format!("nobody knows the name `{address}`"),
                format!("look at `address` of `[host.{name}]`"),
            );
        }
        if has("Connection refused") {
            return (
                format!("nobody listens at {}", self.at()),
                format!(
                    "look whether its SSH server runs, and at `address` and `port` of `[host.{name}]`"
                ),
            );
        }
        if has("timed out") || has("not responding") {
            return (
                format!("{} does not answer", self.at()),
                format!("look whether it is up and a firewall lets you through: {ssh}"),
            );
        }
        if has("No route to host") || has("Network is unreachable") {
            return (
                format!("there is no way to {}", self.at()),
                "look whether you are in the right network or VPN".to_owned(),
            );
        }
        if has("Bad configuration option") || has("Bad owner or permissions") {
            return (last(said), "mend `~/.ssh/config`".to_owned());
        }
        if is_dropped(said) {
            return (
                format!("{} closes the connection again and again", self.at()),
                format!(
                    "it may be told to take few at once (`MaxStartups`): try `--parallel 4`, or {ssh}"
                ),
            );
        }
        if has("Session open refused by peer") {
            return (
                format!("{} opens no more sessions on one connection", self.at()),
                "other runs use it too: wait for them, or raise `MaxSessions` there".to_owned(),
            );
        }
        (last(said), ssh)
    }

    fn at(&self) -> String {
        match self.ssh.port {
            Some(port) => format!("{} port {port}", self.ssh.address),
            None => self.ssh.address.clone(),
        }
    }

    /// What a session that never said hello means.
    fn unspoken(&self, end: &End, log: &str) -> Failure {
        let said = &end.err;
        let has = |text: &str| said.contains(text);
        let user = self.ssh.user.as_deref().unwrap_or("the user");
        let (message, hint) = if let Some(told) = sudo(said, end.why, user, &self.name) {
            told
        } else if log.contains("not responding") || has("not responding") {
            return self.refused("not responding");
        } else if has("not found") && has("/bin/sh") {
            (
                "it has no `/bin/sh`".to_owned(),
                "provision needs a POSIX shell there".to_owned(),
            )
        } else if end.why == Why::Mute {
            (
                "it let us in but says nothing".to_owned(),
                format!("try `ssh {} true` by hand", quote::word(&self.whom())),
            )
        } else if end.why == Why::NoHello {
            let words = match (end.noise.is_empty(), said.is_empty()) {
                (false, _) => format!(": {}", end.noise),
                (true, false) => format!(": {}", last(said)),
                (true, true) => String::new(),
            };
            (
                format!("the account of {user} has no shell{words}"),
                format!(
                    "give it one there: `chsh -s /bin/sh {user}`, or another `user` in `[host.{}]`",
                    self.name
                ),
            )
        } else {
            (
                format!("the session ended: {}", last(&format!("{log}\n{said}"))),
                format!("try `ssh {} true` by hand", quote::word(&self.whom())),
            )
        };
        Failure::new(
            Kind::Unreachable,
            format!("`{}` cannot be reached: {message}", self.name),
        )
        .hint(hint)
    }
}

/// What sudo said, and what to try.
pub(super) fn sudo(said: &str, why: Why, user: &str, name: &str) -> Option<(String, String)> {
    let has = |text: &str| said.contains(text);
    if has("not in the sudoers file") || has("may not run sudo") || has("is not allowed to") {
        return Some((
            format!("sudo does nothing for {user} there"),
            format!("put {user} into the group `sudo` there, or a line into `/etc/sudoers.d`"),
        ));
    }
    if has("must have a tty") {
        return Some((
            "sudo wants a terminal there (`requiretty`)".to_owned(),
            format!("say there: `Defaults:{user} !requiretty`"),
        ));
    }
    if has("incorrect password") || has("try again") {
        return Some((
            format!("the password of {user} does not open sudo"),
            format!("look at `sudo.password` of `[host.{name}]`"),
        ));
    }
    if has("a password is required") || has("password for") {
        let hint = match why {
            Why::Sudo | Why::NoHello if has("incorrect") => {
                format!("look at `sudo.password` of `[host.{name}]`")
            }
            _ => format!(
                "give one, `sudo = {{ password = .. }}` in `[host.{name}]`, or let {user} go without there (`NOPASSWD`)"
            ),
        };
        return Some((format!("sudo wants a password of {user}"), hint));
    }
    if has("sudo")
        && (has("not found")
            || has("No such file")
            || has("Unknown command")
            || has("unknown command"))
    {
        return Some((
            "it has no sudo".to_owned(),
            format!(
                "install it there, or log in as root: `user = \"root\"` and no `sudo` in `[host.{name}]`"
            ),
        ));
    }
    (why == Why::Sudo).then(|| {
        (
            format!("sudo: {}", last(said)),
            format!("look at `sudo` of `[host.{name}]`"),
        )
    })
}

/// The file in which keys are pinned: one beside the folders of all environments.
pub(super) fn pinned(folder: &Path) -> PathBuf {
    folder.with_file_name("known_hosts")
}

/// The key that a machine shows, and the keys that it was known by.
#[derive(Clone, Debug)]
pub struct HostKey {
    /// Its name in a file of known hosts, as in `db1.example.com` or `[127.0.0.1]:2222`.
    pub entry: String,
    /// The key, as in `ssh-ed25519 AAAA...`.
    pub key: String,
    /// The keys of the same type that it was known by, each with where that is said.
    pub known: Vec<(String, String)>,
}

impl HostKey {
    /// `SHA256:...`, as ssh shows it.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.key)
    }

    /// Whether it is trusted already.
    pub fn is_known(&self) -> bool {
        self.known.iter().any(|(key, _)| *key == self.key)
    }
}

/// The fingerprint of a public key, as ssh shows it.
pub fn fingerprint(key: &str) -> String {
    let blob = key.split_whitespace().nth(1).unwrap_or_default();
    match STANDARD.decode(blob) {
        Ok(blob) => format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(&blob))),
        Err(_) => "no key".to_owned(),
    }
}

/// Asks a machine for its key, all the way that a connection would go, and logs in nowhere.
pub(super) async fn host_key(way: &Way) -> Result<HostKey, Failure> {
    let io = |error: io::Error| {
        Failure::new(Kind::Failed, format!("no folder for the host key: {error}"))
    };
    let draft = tempfile::tempdir_in(folder().map_err(io)?).map_err(io)?;
    let (shown, log) = (draft.path().join("shown"), draft.path().join("log"));
    // What ssh hears first counts.
    let mut options = vec![
        "-E".to_owned(),
        log.display().to_string(),
        "-oStrictHostKeyChecking=accept-new".to_owned(),
        format!("-oUserKnownHostsFile={}", quoted(&shown)),
        "-oGlobalKnownHostsFile=/dev/null".to_owned(),
        "-oKnownHostsCommand=none".to_owned(),
        "-oHashKnownHosts=no".to_owned(),
        "-oPreferredAuthentications=none".to_owned(),
        "-oControlMaster=no".to_owned(),
        "-oControlPath=none".to_owned(),
    ];
    // A machine is asked for the kind of key that is pinned, if one is.
    if let Some(kind) = way
        .ssh
        .host_key
        .as_ref()
        .and_then(|key| key.split_whitespace().next())
    {
        options.push(format!("-oHostKeyAlgorithms={kind}"));
    }
    let bare = Way {
        ssh: Ssh {
            host_key: None,
            identity: None,
            ..way.ssh.clone()
        },
        ..way.clone()
    };
    options.append(&mut bare.options(draft.path())?);
    options.push("true".to_owned());
    let said = start(&options, &log, Instant::now() + PATIENCE).await;
    let text = fs::read_to_string(&shown).unwrap_or_default();
    let line = text.lines().next().and_then(|line| {
        let (entry, key) = line.split_once(' ')?;
        Some((entry.to_owned(), key.trim().to_owned()))
    });
    let Some((entry, key)) = line else {
        return Err(way.refused(&said.err().unwrap_or_default()));
    };
    let mut known = Vec::new();
    match &way.ssh.host_key {
        Some(pinned) => {
            let pinned = pinned.split_whitespace().take(2).collect::<Vec<_>>();
            known.push((pinned.join(" "), format!("`[host.{}]`", way.name)));
        }
        None => {
            let own = std::env::home_dir().map(|home| home.join(".ssh/known_hosts"));
            for file in own.iter().chain([&way.pinned]) {
                for key in keys_of(&entry, file).await {
                    known.push((key, format!("`{}`", file.display())));
                }
            }
        }
    }
    let kind = key.split(' ').next().unwrap_or_default().to_owned();
    known.retain(|(key, _)| key.starts_with(&kind));
    Ok(HostKey { entry, key, known })
}

/// The keys of an entry in a file of known hosts, whose names may be hashed.
async fn keys_of(entry: &str, file: &Path) -> Vec<String> {
    let found = Command::new("ssh-keygen")
        .args(["-F", entry, "-f"])
        .arg(file)
        .process_group(0)
        .stdin(Pipes::null())
        .stderr(Pipes::null())
        .output()
        .await;
    let Ok(found) = found else { return Vec::new() };
    String::from_utf8_lossy(&found.stdout)
        .lines()
        .filter(|line| !line.starts_with('#') && !line.starts_with('@'))
        .filter_map(|line| {
            let words: Vec<_> = line.split_whitespace().skip(1).take(2).collect();
            (words.len() == 2).then(|| words.join(" "))
        })
        .collect()
}

/// What the `ssh` to a jump host says: that of a master says nothing to anybody.
async fn on_the_way(options: &[String], until: Instant) -> String {
    let asked = Command::new("ssh")
        .args(["-oControlMaster=no", "-oControlPath=none", "-N"])
        .args(options)
        .kill_on_drop(true)
        .process_group(0)
        .stdin(Pipes::null())
        .stdout(Pipes::null())
        .stderr(Pipes::piped())
        .output();
    // Where it finds the way now, it stays until it is sent away.
    let until = until.min(Instant::now() + Duration::from_secs(15));
    match tokio::time::timeout_at(until, asked).await {
        Ok(Ok(said)) => format!("\n{}", String::from_utf8_lossy(&said.stderr)),
        _ => String::new(),
    }
}

/// Starts the master of a connection; or what `ssh` said.
async fn start(options: &[String], log: &Path, until: Instant) -> Result<(), String> {
    let started = Command::new("ssh")
        .args(options)
        .process_group(0)
        .kill_on_drop(true)
        .stdin(Pipes::null())
        .stdout(Pipes::null())
        .stderr(Pipes::null())
        .spawn();
    let mut child = started.map_err(|error| format!("`ssh` cannot be started: {error}"))?;
    match tokio::time::timeout_at(until, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(_) => Err(read_text(log)),
        Err(_) => Err(format!("{}\nConnection timed out", read_text(log))),
    }
}

/// Whether the other side dropped the connection before it looked at who comes: trying again is right.
fn is_dropped(said: &str) -> bool {
    [
        "kex_exchange_identification",
        "Connection reset by",
        "Connection closed by",
        "banner exchange: Connection to",
    ]
    .iter()
    .any(|text| said.contains(text))
        && ![
            "Permission denied",
            "verification failed",
            // A jump host that is not there closes the connection too, and stays away.
            "Connection refused",
            "timed out",
            "Could not resolve",
            "No route to host",
            "Network is unreachable",
        ]
        .iter()
        .any(|text| said.contains(text))
}

/// A number below another, by chance.
fn jitter(most: u64) -> u64 {
    let mut bytes = [0; 8];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes) % most.max(1),
        Err(_) => most / 2,
    }
}

fn read_text(path: &Path) -> String {
    let mut text = Vec::new();
    if let Ok(file) = fs::File::open(path) {
        let _cut = file.take(64 << 10).read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).replace('\r', "")
}

/// The last line that says something, fit to be shown.
fn last(said: &str) -> String {
    match say::last_words(said, 1).pop() {
        Some(line) => line,
        None => "ssh does not say why".to_owned(),
    }
}

/// An error with its reasons.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut reason = error.source();
    while let Some(inner) = reason {
        text = format!("{text}: {inner}");
        reason = inner.source();
    }
    text
}

/// A path as a word of an ssh option.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('%', "%%"))
}

/// A path of the user; `~/` is the home.
fn expanded(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(path),
    }
}

/// Whether a private key has a passphrase.
fn is_locked(path: &Path) -> bool {
    // How a key begins that OpenSSH has written without one: its cipher is `none`.
    const OPEN: &str = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU";
    let text = read_text(path);
    text.contains("ENCRYPTED")
        || (text.contains("BEGIN OPENSSH PRIVATE KEY") && !text.contains(OPEN))
}

/// The folder of the control sockets: nobody else's, and its path short, since ssh adds to it.
pub(super) fn folder() -> io::Result<PathBuf> {
    let uid = local::uid();
    let of_session = std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|folder| folder.is_absolute() && folder.as_os_str().len() < 50 && folder.is_dir())
        .map(|folder| folder.join("provision"));
    let fallback = PathBuf::from(format!("/tmp/pv-{uid}"));
    let mut last = None;
    for folder in of_session.into_iter().chain([fallback]) {
        match private(&folder, uid) {
            Ok(()) => return Ok(folder),
            Err(error) => {
                let message = format!("{}: {error}", folder.display());
                last = Some(io::Error::new(error.kind(), message));
            }
        }
    }
    Err(last.unwrap_or_else(|| io::Error::other("there is none")))
}

/// Makes a folder that is ours alone; or sees that it is one.
fn private(folder: &Path, uid: u32) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let meta = fs::symlink_metadata(folder)?;
    if !meta.is_dir() || meta.uid() != uid || meta.mode() & 0o077 != 0 {
        return Err(io::Error::other("it is not a folder of ours alone"));
    }
    Ok(())
}

/// Removes what connections of earlier days have left: logs, locks and keys, all of which are made anew where they are needed.
fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let is_ours = path
            .extension()
            .is_some_and(|end| end == "log" || end == "lock" || end == "key");
        let age = fs::symlink_metadata(&path)
            .and_then(|meta| meta.modified())
            .ok()
            .and_then(|made| made.elapsed().ok());
        if is_ours && !path.with_extension("").exists() && age > Some(Duration::from_secs(86_400)) {
            let _gone = fs::remove_file(path);
        }
    }
}

/// Holds a file's lock until it is dropped; goes on without after a while.
async fn guard(path: &Path) -> Option<fs::File> {
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .ok()?;
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        match file.try_lock() {
            Ok(()) => return Some(file),
            Err(fs::TryLockError::WouldBlock) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(fs::TryLockError::Error(_)) => return None,
        }
    }
    None
}
