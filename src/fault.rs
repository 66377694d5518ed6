//! `PROVISION_FAULT`: ends a run at a place that a test names, to see that the next one puts it right. Does nothing unless it is set.
//!
//! Effects are counted from 1, over all machines, in the order in which they begin. `kill@7` ends this process with SIGKILL before
//! the seventh effect, when its intent is written down; `kill@7.between` when it has happened and nobody has written that down;
//! `kill@7.after` when that is written down too. `remote@7` (and `.between`, `.after`) does the same to the shell on a machine, before,
//! in and behind the seventh script that changes something there.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Signal, getpid, kill_process};

/// Where around an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Its intent is written down.
    Before,
    /// It happened.
    Between,
    /// How it ended is written down.
    After,
}

impl Point {
    /// One word.
    pub fn word(self) -> &'static str {
        match self {
            Point::Before => "before",
            Point::Between => "between",
            Point::After => "after",
        }
    }
}

/// Who is ended, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fault {
    remote: bool,
    effect: u64,
    point: Point,
}

impl Fault {
    /// As in `kill@7.between`; anything else is none.
    fn parse(text: &str) -> Option<Self> {
        let (who, place) = text.split_once('@')?;
        let (effect, point) = place.split_once('.').unwrap_or((place, "before"));
        let points = [Point::Before, Point::Between, Point::After];
        Some(Fault {
            remote: match who {
                "kill" => false,
                "remote" => true,
                _ => return None,
            },
            effect: effect.parse().ok()?,
            point: points.into_iter().find(|one| one.word() == point)?,
        })
    }
}

fn fault() -> Option<Fault> {
    static FAULT: OnceLock<Option<Fault>> = OnceLock::new();
    *FAULT.get_or_init(|| {
        std::env::var("PROVISION_FAULT")
            .ok()
            .and_then(|text| Fault::parse(&text))
    })
}

/// An effect that begins.
#[derive(Debug)]
pub struct Effect(u64);

impl Effect {
    /// The next one.
    pub fn begin() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let effect = Effect(COUNT.fetch_add(1, Ordering::Relaxed) + 1);
        tracing::debug!(effect = effect.0, "an effect begins");
        effect.at(Point::Before);
        effect
    }

    /// It has come so far.
    pub fn at(&self, point: Point) {
        let here =
            fault().is_some_and(|one| !one.remote && one.effect == self.0 && one.point == point);
        if here {
            // Where it cannot be done the run goes on, and the test that wanted it sees that.
            let _alive = kill_process(getpid(), Signal::KILL);
        }
    }
}

/// Whether effects have to come one by one, so that one of them can be met.
pub fn one_by_one() -> bool {
    fault().is_some_and(|one| !one.remote)
}

/// Which script of a machine ends its shell, and where; none if no such fault is wanted.
pub fn remote() -> Option<(u64, Point)> {
    let one = fault().filter(|one| one.remote)?;
    Some((one.effect, one.point))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_names_a_place_is_a_fault() {
        let fault = |remote, effect, point| {
            Some(Fault {
                remote,
                effect,
                point,
            })
        };
        assert_eq!(Fault::parse("kill@7"), fault(false, 7, Point::Before));
        assert_eq!(
            Fault::parse("kill@7.between"),
            fault(false, 7, Point::Between)
        );
        assert_eq!(Fault::parse("remote@1.after"), fault(true, 1, Point::After));
        for none in ["", "1", "kill", "kill@", "kill@x", "kill@1.", "stop@1"] {
            assert_eq!(Fault::parse(none), None, "{none}");
        }
    }
}
