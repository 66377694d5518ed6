//! Ctrl-C and its kin: the first lets running steps end, the second does not.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::commands::output::Output;
use crate::error::{Failure, Kind};

/// Listens for SIGINT, SIGTERM and SIGHUP.
pub struct Interrupt {
    signals: [Signal; 3],
    stop: watch::Sender<bool>,
}

impl Interrupt {
    /// From now on these signals no longer end the process by themselves.
    pub fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Failure::new(Kind::Failed, format!("cannot listen for signals: {error}"))
            })
        };
        Ok(Interrupt {
            signals: [
                listen(SignalKind::interrupt())?,
                listen(SignalKind::terminate())?,
                listen(SignalKind::hangup())?,
            ],
            stop: watch::Sender::new(false),
        })
    }

    /// Becomes true at the first signal.
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Ends at the second signal.
    pub async fn second(&mut self, output: &Output) {
        self.one().await;
        self.stop.send_replace(true);
        output.say("\nStopping after what is running; once more stops at once.\n");
        self.one().await;
    }

    /// Ends at the first signal, whatever runs; says whether it is one that a terminal gives to all that run on it.
    pub async fn first(&mut self) -> bool {
        self.one().await
    }

    async fn one(&mut self) -> bool {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => true,
            _ = terminate.recv() => false,
            _ = hangup.recv() => false,
        }
    }
}
