//! `adopt`: takes over what exists. Changes nothing but what is remembered: the ledgers of databases, the memories of machines.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::command::{Place, Server, SqlStep, Text};
use crate::commands::look::{self, Look, Wishes, unknown_id};
use crate::commands::{Context, End, apply, code, memory};
use crate::error::{Failure, Kind};
use crate::files::Lock;
use crate::plan::adoption::{Adoption, Taken, judge_adoption};
use crate::plan::memory::Outcome;
use crate::resource::Id;
use crate::show;

/// How long a server may take to write into its ledger.
const PATIENCE: Duration = Duration::from_secs(60);

/// What `adopt` is asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The environment.
    pub environment: String,
    /// Without asking.
    pub yes: bool,
    /// Only these; all that exists where it is empty.
    pub ids: Vec<String>,
    /// Only these hosts, or groups of hosts.
    pub hosts: Vec<String>,
}

/// Looks, says what would become ours, asks, remembers.
///
/// # Errors
/// Whatever keeps it from beginning, or from remembering.
pub async fn run(context: &Context, options: &Options) -> End {
    let environment = look::ready(context, &options.environment).await?;
    let doing = format!("`adopt {}`", environment.name);
    let lock = Lock::take(&environment.project, &doing)?;
    let wishes = Wishes {
        hosts: options.hosts.clone(),
        doing: Some(doing),
        seat: lock.seat(),
        all: true,
        ..Wishes::default()
    };
    let look = look::look(context, environment, &wishes).await?;
    let ids = named(options, &look)?;
    let judging = &look.judging;
    let judged = (&look.plan, &judging.memories, &judging.owner);
    let adoption = judge_adoption(&look.resources, &look.answers, judged, &ids);
    let target = look.target.says();
    let head = show::audit::Head {
        environment: &look.environment.name,
        project: &look.environment.project,
        target: &target,
        notes: &look.notes,
        paint: context.output.paint(),
    };
    context.output.data(&show::adopt::text(&head, &adoption));
    let unread = (!adoption.unread.is_empty()).then_some(Kind::Unreachable);
    // What was named and cannot be had is no success.
    let refused = (!ids.is_empty() && !adoption.foreign.is_empty()).then_some(Kind::Failed);
    if !adoption.takes.is_empty() {
        if !options.yes {
            apply::consent(context, "Take this over?").await?;
        }
        context.interrupt.changing(&look.environment.name);
        take(&look, &adoption).await?;
        let taken = show::count(adoption.takes.len(), "resource");
        context.output.data(&format!("Done: {taken} taken over.\n"));
    }
    context.output.forgive();
    Ok(code(unread.into_iter().chain(refused)))
}

fn named(options: &Options, look: &Look) -> Result<Vec<Id>, Failure> {
    let known: Vec<&str> = look.resources.iter().map(|one| one.id.as_str()).collect();
    for id in &options.ids {
        if !known.contains(&id.as_str()) {
            return Err(unknown_id(id, &known));
        }
    }
    Ok(options.ids.iter().map(|id| Id::parse(id)).collect())
}

async fn take(look: &Look, adoption: &Adoption) -> Result<(), Failure> {
    let mut by_server: BTreeMap<&Arc<Server>, Vec<&Taken>> = BTreeMap::new();
    for taken in &adoption.takes {
        if let Place::Sql(server, _) = &taken.place {
            by_server.entry(server).or_default().push(taken);
        }
    }
    for (server, all) in by_server {
        let steps: Vec<SqlStep> = all.iter().copied().map(step).collect();
        let ran = look.target.sql(server, &steps, PATIENCE, &|_| ()).await;
        if let Err((at, trouble)) = ran {
            let id = all.get(at).map_or("", |taken| taken.id.as_str());
            let message = format!("`{id}` cannot be taken over: {}", trouble.message);
            return Err(Failure::new(trouble.kind, message)
                .hint("what stands before it is ours; run `adopt` again for the rest"));
        }
    }
    let made: HashSet<Id> = adoption
        .takes
        .iter()
        .filter(|taken| matches!(taken.place, Place::Machine(_)))
        .map(|taken| taken.id.clone())
        .collect();
    let outcome = Outcome {
        settled: look.plan.settled.clone(),
        made,
        gone: HashSet::new(),
    };
    memory::keep(look, &look.judging.memories, &outcome).await
}

/// An entry in the ledger, and nothing else.
fn step(taken: &Taken) -> SqlStep {
    SqlStep {
        database: taken.place.database().cloned(),
        text: Text::default(),
        transaction: true,
        remember: taken.ledger.clone(),
        forget: None,
    }
}
