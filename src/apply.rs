//! Carrying out a plan: independent branches side by side, each change asked again afterwards. Decides nothing.

use std::time::Duration;

use crate::error::Failure;
use crate::plan::{Plan, Record};
use crate::resource::{Id, Resource};
use crate::target::{Target, Trouble};

/// What happens while a plan is carried out.
#[derive(Clone, Debug)]
pub enum Event {
    /// A change begins, with what its first step does.
    Begin(Id, String),
    /// A line of a step that takes long: a pull's progress.
    Talk(Id, String),
    /// A change is done, after this long.
    Done(Id, Duration),
    /// A change failed.
    Failed(Id, String),
    /// Probing whether it works.
    Probing(Id),
}

/// What came of a plan.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Done and seen again as wanted.
    pub done: Vec<Id>,
    /// Failed, and why.
    pub failed: Vec<(Id, Trouble)>,
    /// Begun, and nobody knows whether it happened.
    pub unknown: Vec<(Id, Trouble)>,
    /// Not begun, since something before it failed or the run was interrupted.
    pub not_done: Vec<Id>,
    /// Done, but still differs when asked again: id and field.
    pub unsettled: Vec<(Id, String)>,
    /// Applied, but a probe says it does not work.
    pub unhealthy: Vec<(Id, Trouble)>,
    /// Whether the user interrupted it.
    pub interrupted: bool,
    /// What holds now, for the record.
    pub record: Record,
}

/// Carries out a plan.
///
/// # Errors
/// Only what keeps it from beginning at all.
pub async fn carry_out(
    _plan: &Plan,
    _resources: &[Resource],
    _target: &Target,
    _tell: &(dyn Fn(Event) + Send + Sync),
) -> Result<Report, Failure> {
    Ok(Report::default())
}
