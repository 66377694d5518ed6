//! A TCP proxy in this process that fails as networks do: it cuts at a byte, resets, swallows everything, delays, drips, and
//! changes a byte.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::lab::server::{Server, key};

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// To the server.
    Up,
    /// Back.
    Down,
}

/// How a connection goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Both sides are told that it is over.
    Close,
    /// Both sides get a reset.
    Reset,
    /// Nobody is told anything, and nothing comes through any more.
    Hole,
}

/// What is done to bytes on their way.
#[derive(Clone, Copy, Debug, Default)]
struct Rules {
    /// The connection that comes so far first, is ended.
    cut: Option<(Side, u64, End)>,
    /// The byte there is changed, once.
    flip: Option<(Side, u64)>,
    delay: Duration,
    jitter: Duration,
    /// Bytes a second.
    pace: Option<u64>,
    /// Who comes is sent away at once.
    closed: bool,
}

/// What every connection sees.
struct Shared {
    to: Mutex<String>,
    rules: Mutex<Rules>,
    connections: AtomicU64,
    bytes: [AtomicU64; 2],
    /// Where the pieces to the server ended, of the newest connection.
    edges: Mutex<Vec<u64>>,
    /// How all connections of now are ended, and how often that was said.
    ends: watch::Sender<(u64, End)>,
}

/// A proxy on a port of its own; gone when dropped.
pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

impl Proxy {
    /// In front of an address, as in `172.17.0.2:22`.
    #[track_caller]
    pub fn to(address: &str) -> Self {
        Proxy::on("127.0.0.1:0", address).unwrap()
    }

    /// The same at an address of this machine, as in `[::1]:0`; an error where this machine has no such address.
    pub fn on(here: &str, address: &str) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let shared = Arc::new(Shared {
            to: Mutex::new(address.to_owned()),
            rules: Mutex::default(),
            connections: AtomicU64::new(0),
            bytes: Default::default(),
            edges: Mutex::default(),
            ends: watch::Sender::new((0, End::Close)),
        });
        let listener = runtime.block_on(TcpListener::bind(here));
        let listener = listener.map_err(|error| format!("{here}: {error}"))?;
        let port = listener.local_addr().unwrap().port();
        runtime.spawn(accept(listener, Arc::clone(&shared)));
        Ok(Proxy {
            port,
            shared,
            runtime: Some(runtime),
        })
    }

    /// Sends those who come from now on to another address.
    pub fn aim(&self, address: &str) {
        *self
            .shared
            .to
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = address.to_owned();
    }

    /// In front of a server's sshd.
    #[track_caller]
    pub fn before(server: &Server) -> Self {
        Proxy::to(&format!("{}:22", server.address))
    }

    /// The server's table of an environment file, reached through here.
    pub fn host(&self, server: &Server, name: &str) -> String {
        format!(
            "[host.{name}]\naddress = \"127.0.0.1\"\nport = {}\nuser = \"deploy\"\nidentity = \"{}\"\nhost_key = \"{}\"\nsudo = true\n",
            self.port,
            key().display(),
            server.host_key
        )
    }

    fn rules(&self, change: impl FnOnce(&mut Rules)) {
        change(
            &mut self
                .shared
                .rules
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    /// Ends the connection that is the first to come so far, behind that byte.
    pub fn cut(&self, side: Side, at: u64, end: End) {
        self.rules(|rules| rules.cut = Some((side, at, end)));
    }

    /// Whether a cut that was asked for has happened.
    pub fn has_cut(&self) -> bool {
        let mut left = false;
        self.rules(|rules| left = rules.cut.is_some());
        !left
    }

    /// Changes the byte there, in the connection that is the first to come so far.
    pub fn flip(&self, side: Side, at: u64) {
        self.rules(|rules| rules.flip = Some((side, at)));
    }

    /// Whatever comes arrives so much later, and by chance later still.
    pub fn delay(&self, delay: Duration, jitter: Duration) {
        self.rules(|rules| (rules.delay, rules.jitter) = (delay, jitter));
    }

    /// So many bytes a second go through, either way.
    pub fn pace(&self, bytes: u64) {
        self.rules(|rules| rules.pace = Some(bytes));
    }

    /// Sends everybody away who comes from now on.
    pub fn close(&self) {
        self.rules(|rules| rules.closed = true);
    }

    /// Ends every connection of now; those that come later are not concerned.
    pub fn end(&self, end: End) {
        self.shared.ends.send_modify(|(times, how)| {
            *times += 1;
            *how = end;
        });
    }

    /// What comes from now on goes through as it is.
    pub fn heal(&self) {
        self.rules(|rules| *rules = Rules::default());
    }

    /// How many have come so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// How many bytes went through so far.
    pub fn bytes(&self, side: Side) -> u64 {
        self.shared.bytes[side as usize].load(Ordering::Relaxed)
    }

    /// Where the pieces to the server ended, of the newest connection.
    pub fn edges(&self) -> Vec<u64> {
        let edges = self.shared.edges.lock();
        edges.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((ours, _)) = listener.accept().await {
        shared.connections.fetch_add(1, Ordering::Relaxed);
        let closed = {
            let rules = shared.rules.lock();
            rules.unwrap_or_else(PoisonError::into_inner).closed
        };
        if closed {
            let _ = ours.set_zero_linger();
            continue;
        }
        tokio::spawn(carry(ours, Arc::clone(&shared)));
    }
}

/// A piece on its way, and when it arrives.
type Piece = (Instant, Vec<u8>);

/// One way of a connection.
struct Lane {
    side: Side,
    came: u64,
    free: Instant,
    pen: Option<mpsc::UnboundedSender<Piece>>,
}

impl Lane {
    fn new(side: Side, out: OwnedWriteHalf) -> (Self, tokio::task::JoinHandle<OwnedWriteHalf>) {
        let (pen, pieces) = mpsc::unbounded_channel();
        let lane = Lane {
            side,
            came: 0,
            free: Instant::now(),
            pen: Some(pen),
        };
        (lane, tokio::spawn(write(out, pieces)))
    }

    /// Passes on what came, or what of it comes before a cut.
    fn pass(&mut self, shared: &Shared, bytes: &[u8]) -> Option<End> {
        let mut rules = shared.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = bytes.to_vec();
        let mut ends = None;
        if let Some((side, at, end)) = rules.cut
            && side == self.side
            && self.came + bytes.len() as u64 >= at
        {
            bytes.truncate(at.saturating_sub(self.came) as usize);
            rules.cut = None;
            ends = Some(end);
        }
        if let Some((side, at)) = rules.flip
            && side == self.side
            && let Some(place) = at.checked_sub(self.came)
            && let Some(byte) = bytes.get_mut(place as usize)
        {
            *byte ^= 0x20;
            rules.flip = None;
        }
        self.came += bytes.len() as u64;
        shared.bytes[self.side as usize].fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if self.side == Side::Up {
            let mut edges = shared.edges.lock().unwrap_or_else(PoisonError::into_inner);
            edges.push(self.came);
        }
        // Slowness is made of small pieces, each with its time.
        let piece = rules
            .pace
            .map_or(usize::MAX, |pace| (pace / 20).max(1) as usize);
        for part in bytes.chunks(piece.min(bytes.len().max(1))) {
            let now = Instant::now();
            if let Some(pace) = rules.pace {
                let takes = Duration::from_secs_f64(part.len() as f64 / pace as f64);
                self.free = self.free.max(now) + takes;
            }
            let due = now + rules.delay + by_chance(rules.jitter);
            self.free = self.free.max(due);
            if let Some(pen) = &self.pen {
                let _ = pen.send((self.free, part.to_vec()));
            }
        }
        ends
    }
}

fn by_chance(most: Duration) -> Duration {
    let nanos = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .subsec_nanos();
    most * (nanos / 1000 % 100) / 100
}

async fn write(
    mut out: OwnedWriteHalf,
    mut pieces: mpsc::UnboundedReceiver<Piece>,
) -> OwnedWriteHalf {
    while let Some((due, bytes)) = pieces.recv().await {
        tokio::time::sleep_until(due).await;
        if out.write_all(&bytes).await.is_err() {
            break;
        }
    }
    let _ = out.shutdown().await;
    out
}

/// Carries one connection to its end, a good or a bad one.
async fn carry(ours: TcpStream, shared: Arc<Shared>) {
    let mut ends = shared.ends.subscribe();
    ends.mark_unchanged();
    let to = shared
        .to
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let Ok(theirs) = TcpStream::connect(&to).await else {
        return;
    };
    let _ = (ours.set_nodelay(true), theirs.set_nodelay(true));
    shared
        .edges
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clear();
    let ((mut from_us, to_us), (mut from_them, to_them)) = (ours.into_split(), theirs.into_split());
    let (mut up, up_writer) = Lane::new(Side::Up, to_them);
    let (mut down, down_writer) = Lane::new(Side::Down, to_us);
    let (mut one, mut other) = (vec![0; 32 << 10], vec![0; 32 << 10]);
    let end = loop {
        tokio::select! {
            read = from_us.read(&mut one), if up.pen.is_some() => match read {
                Ok(0) | Err(_) => up.pen = None,
                Ok(read) => if let Some(end) = up.pass(&shared, &one[..read]) { break end },
            },
            read = from_them.read(&mut other), if down.pen.is_some() => match read {
                Ok(0) | Err(_) => down.pen = None,
                Ok(read) => if let Some(end) = down.pass(&shared, &other[..read]) { break end },
            },
            _ = ends.changed() => break ends.borrow_and_update().1,
        }
        if up.pen.is_none() && down.pen.is_none() {
            break End::Close;
        }
    };
    if end == End::Hole {
        // Held open, read by nobody, until all are ended in another way.
        while ends.changed().await.is_ok() && ends.borrow_and_update().1 == End::Hole {}
    }
    let reset = end == End::Reset || (end == End::Hole && ends.borrow().1 == End::Reset);
    (up.pen, down.pen) = (None, None);
    if reset {
        let _ = (
            from_us.as_ref().set_zero_linger(),
            from_them.as_ref().set_zero_linger(),
        );
        up_writer.abort();
        down_writer.abort();
        return;
    }
    let _ = tokio::time::timeout(Duration::from_secs(5), async {
        let _ = (up_writer.await, down_writer.await);
    })
    .await;
}
