//! `status` and `lock`: what the last run did, did not do and does not know; who holds the locks. Only asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::command::{Answer, Place, Row};
use crate::commands::{Context, End, code, look, memory};
use crate::declaration::Environment;
use crate::error::{Failure, Kind};
use crate::files::{self, Lock};
use crate::observe::{self, Besides};
use crate::plan::journal::{self, Journal, QUESTION};
use crate::show;
use crate::show::status::{Held, Told};
use crate::target::Target;

/// What `status` is asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The environment.
    pub environment: String,
    /// As JSON.
    pub json: bool,
}

/// What is known of the runs and locks of an environment.
struct Known {
    environment: Environment,
    /// The journal beside the environment.
    here: Option<Journal>,
    /// That of each machine that could be asked.
    machines: BTreeMap<Arc<str>, Option<Journal>>,
    held: Vec<Held>,
    /// All places that were asked for their lock.
    asked: Vec<String>,
    unreached: Vec<(Arc<str>, Failure)>,
}

/// Reads all journals and says what they say together.
///
/// # Errors
/// Where a later version wrote one, or nobody can be asked.
pub async fn run(context: &Context, options: &Options) -> End {
    let known = ask(context, &options.environment).await?;
    let told = Told {
        environment: &known.environment.name,
        project: &known.environment.project,
        runs: runs(known.here.clone(), &known.machines),
        held: &known.held,
        unreached: &known.unreached,
    };
    context.output.data(&match options.json {
        true => show::status::json(&told),
        false => show::status::text(&told, context.output.paint()),
    });
    Ok(code(known.unreached.iter().map(|(_, why)| why.kind)))
}

/// Says who holds the locks.
///
/// # Errors
/// As of [`run`].
pub async fn locks(context: &Context, environment: &str) -> End {
    let known = ask(context, environment).await?;
    let paint = context.output.paint();
    let text = show::status::locks(&known.asked, &known.held, &known.unreached, paint);
    context.output.data(&text);
    let held = known.held.iter().map(|_| Kind::Locked);
    let unreached = known.unreached.iter().map(|(_, why)| why.kind);
    Ok(code(held.chain(unreached)))
}

async fn ask(context: &Context, name: &str) -> Result<Known, Failure> {
    let mut environment = look::open(context, name)?;
    look::decide(&mut environment).await?;
    let mut known = Known {
        here: files::read_journal(&environment.folder)?,
        machines: BTreeMap::new(),
        held: Vec::new(),
        asked: vec![HERE.to_owned()],
        unreached: Vec::new(),
        environment,
    };
    if let Some(holder) = Lock::holder(&known.environment.project) {
        let place = HERE.to_owned();
        known.held.push(Held { place, holder });
    }
    if known.environment.engine_is_here() {
        return Ok(known);
    }
    // The way to a machine may need a secret.
    known.environment = look::resolved(known.environment).await?;
    let besides = Besides::of(&known.environment, &[], false, false);
    let sheet = observe::journals(
        &known.environment.project,
        &besides.memory,
        &besides.machines,
    );
    let target = Target::connect(&known.environment, &context.reach).await?;
    let answers = target.look(&sheet).await?;
    for machine in &besides.machines {
        let place = Place::Machine(Arc::clone(machine));
        let why = match answers.get(&place, QUESTION.name) {
            Some(Answer::Rows(rows)) => {
                let path = journal::path(&besides.memory);
                let row = rows.of(&besides.memory).first().cloned();
                known.machine(machine, &path, &row.unwrap_or_default())?;
                continue;
            }
            Some(Answer::Unreadable(why)) => why.clone(),
            _ => "nothing came back".to_owned(),
        };
        let unreached = target.unreached().into_iter();
        let failure = unreached
            .filter(|(name, _)| name == machine)
            .map(|(_, failure)| failure)
            .next();
        let failure = failure.unwrap_or_else(|| Failure::new(Kind::Unreachable, why));
        known.unreached.push((Arc::clone(machine), failure));
    }
    Ok(known)
}

const HERE: &str = "this machine";

impl Known {
    /// What a machine said.
    fn machine(&mut self, machine: &Arc<str>, path: &str, row: &Row) -> Result<(), Failure> {
        let text = |column: &str| memory::content(Some(row), column);
        let is_there = row.get("journal").is_some_and(|journal| journal != "");
        let journal = text("journal").filter(|_| is_there);
        let journal = journal.map(|text| Journal::parse(&text?)).transpose();
        let journal = journal.map_err(|unusable| {
            files::unusable_journal(&format!("`{path}` on `{machine}`"), &unusable)
        })?;
        self.machines.insert(Arc::clone(machine), journal);
        // What is done on this machine itself has its lock beside ours.
        self.asked.push(machine.to_string());
        if row.get("held").is_some_and(|held| held == "held") {
            let holder = text("holder").and_then(Result::ok).unwrap_or_default();
            let holder = match holder.trim() {
                "" => "another run",
                holder => holder,
            };
            self.held.push(Held {
                place: machine.to_string(),
                holder: holder.to_owned(),
            });
        }
        Ok(())
    }
}

/// The runs that are known, the latest last: that of the journal here with what the machines know of it, and others that machines
/// remember.
fn runs(here: Option<Journal>, machines: &BTreeMap<Arc<str>, Option<Journal>>) -> Vec<Journal> {
    let mut runs: Vec<Journal> = Vec::new();
    if let Some(mut ours) = here {
        ours.refine(|machine| machines.get(machine).cloned());
        runs.push(ours);
    }
    let ours = runs.first().map(|ours| ours.heading.run.clone());
    for journal in machines.values().flatten() {
        if ours.as_ref() == Some(&journal.heading.run) {
            continue;
        }
        match runs
            .iter_mut()
            .find(|run| run.heading.run == journal.heading.run)
        {
            // Each machine has its own part of one run.
            Some(run) => {
                run.entries.extend(journal.entries.iter().cloned());
                run.over = journal.over.and(run.over);
            }
            None => runs.push(journal.clone()),
        }
    }
    runs.sort_by(|one, other| one.heading.at.cmp(&other.heading.at));
    runs
}
