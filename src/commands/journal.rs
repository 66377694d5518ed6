//! The journal of a run: begun before anything is done, here and on each machine, and read by `status`.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use crate::apply::Report;
use crate::command::Place;
use crate::commands::look::Look;
use crate::error::{Failure, Kind};
use crate::files::{self, Journal};
use crate::plan::Change;
use crate::plan::journal::{self, Heading, Over, State};
use crate::plan::memory;
use crate::resource::Id;

/// Begins the journal of what a look has planned. The machines begin theirs with the first script that is told them.
///
/// # Errors
/// Where it cannot be written: then nothing may be done.
pub async fn begin(look: &Look, doing: &str) -> Result<Journal, Failure> {
    let environment = &look.environment;
    let mut number = [0u8; 8];
    getrandom::fill(&mut number).map_err(|error| {
        Failure::new(
            Kind::Failed,
            format!("there are no random numbers: {error}"),
        )
    })?;
    let heading = Heading {
        run: number.iter().map(|byte| format!("{byte:02x}")).collect(),
        doing: format!("{doing} {}", environment.name),
        by: files::operator(),
        process: std::process::id(),
        at: jiff::Timestamp::now()
            .strftime("%Y-%m-%dT%H:%M:%SZ")
            .to_string(),
    };
    let planned = || look.plan.changes.iter().map(of);
    let path = journal::path(&memory::name(&environment.project, &environment.name));
    let machines: BTreeSet<&Arc<str>> = planned().filter_map(|(_, machine)| machine).collect();
    for machine in machines {
        let there = planned().filter(|(_, one)| *one == Some(machine));
        let text = heading.with_plan(there);
        look.target.keep_journal(machine, &path, text).await;
    }
    let journal = Journal::begin(&environment.folder, &heading, planned())?;
    if let Some(host) = &environment.engine_host {
        // What is done to the engine goes past the scripts of its host, so nothing is written there between its begin and its end:
        // until then all of it is unknown there.
        let mut text = heading.with_plan(planned());
        for (id, _) in planned() {
            text.push_str(&journal::begins(id));
            text.push('\n');
        }
        if let Err(failure) = look.target.open_journal(host, &path, text).await {
            journal.end(Over::Failed);
            return Err(failure);
        }
    }
    Ok(journal)
}

/// A change and the machine whose scripts do it.
fn of(change: &Change) -> (&Id, Option<&Arc<str>>) {
    let machine = match &change.place {
        Place::Machine(machine) => Some(machine),
        _ => None,
    };
    (&change.id, machine)
}

/// Ends it everywhere. Where that cannot be written the run looks as if it had been cut off, which is no lie about what was done.
pub async fn end(look: &Look, journal: Journal, report: &Report) {
    let over = match report.kinds().is_empty() {
        true => Over::Done,
        false if report.interrupted => Over::Interrupted,
        false => Over::Failed,
    };
    journal.end(over);
    let mut last = String::new();
    if look.environment.engine_host.is_some() {
        let ids = |troubled: &'_ [(Id, _)]| -> HashSet<Id> {
            troubled.iter().map(|(id, _)| id.clone()).collect()
        };
        let (unknown, failed) = (ids(&report.unknown), ids(&report.failed));
        let done: HashSet<&Id> = report.done.iter().collect();
        let planned = look.plan.changes.iter().map(of).map(|(id, _)| id);
        for id in planned.filter(|id| !unknown.contains(*id)) {
            let state = match () {
                () if failed.contains(id) => State::Failed,
                // What waited may have turned out to be as wanted.
                () if done.contains(id) || over == Over::Done => State::Done,
                () => State::NotDone,
            };
            last.push_str(&journal::ended(id, state));
            last.push('\n');
        }
    }
    last.push_str(&journal::over(over));
    for (machine, trouble) in look.target.end_journals(&last).await {
        tracing::warn!(
            "`{machine}` cannot write the end of the journal: {}",
            trouble.message
        );
    }
}
