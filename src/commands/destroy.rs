//! `destroy`: removes what was made. Data only where it is named.

use std::time::Instant;

use crate::apply::Report;
use crate::command::Place;
use crate::commands::look::{self, Look, Wishes, unknown_id};
use crate::commands::{Context, End, apply, code, journal, memory};
use crate::error::{Failure, Kind};
use crate::files::{Journal, Lock};
use crate::plan::destruction::{holds_data, judge_destruction};
use crate::plan::memory::Outcome;
use crate::plan::{Action, Found, Judging, Plan, find};
use crate::resource::{Id, Thing};
use crate::show;

/// What `destroy` is asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The environment.
    pub environment: String,
    /// Without asking.
    pub yes: bool,
    /// Only on these hosts, or groups of hosts.
    pub hosts: Vec<String>,
    /// Things holding data that go too, by exact id.
    pub destroy_data: Vec<String>,
}

/// Looks, says what goes and what stays, asks, removes.
///
/// # Errors
/// Whatever keeps it from beginning.
pub async fn run(context: &Context, options: &Options) -> End {
    let environment = look::open(context, &options.environment)?;
    let doing = format!("`destroy {}`", environment.name);
    let lock = Lock::take(&environment.project, &doing)?;
    let wishes = Wishes {
        hosts: options.hosts.clone(),
        doing: Some(doing),
        seat: lock.seat(),
        ..Wishes::default()
    };
    let mut look = look::look(context, environment, &wishes).await?;
    look.judging.destroy_data = options
        .destroy_data
        .iter()
        .map(|id| Id::parse(id))
        .collect();
    let mut plan = judge_destruction(&look.resources, &look.answers, &look.judging);
    for (machine, failure) in look.target.unreached() {
        plan.lose(&machine, failure);
    }
    check_named(options, &look)?;
    let released = keep(&mut look, &mut plan);
    look.plan = plan;
    context.output.data(&text(context, &look));
    if !show::plan::acts(&look.plan) {
        if look.plan.is_empty() {
            forget(&look, &released, &Report::default()).await?;
        }
        return Ok(code(show::plan::verdicts(&look.plan)));
    }
    if !options.yes {
        apply::consent(
            context,
            &format!("Destroy this of `{}`?", look.environment.name),
        )
        .await?;
    }
    context.interrupt.changing(&look.environment.name);
    let began = Instant::now();
    let journal = journal::begin(&look, "destroy").await?;
    let mut report = carry_out(context, &mut look, &journal).await?;
    see(&look, &mut report).await?;
    let forgotten = forget(&look, &released, &report).await;
    journal::end(&look, journal, &report).await;
    let next = format!("provision destroy {}", look.environment.name);
    let troubles = show::report::troubles(&report, &next, context.output.talk_paint());
    match troubles.is_empty() {
        true => context
            .output
            .data(&show::report::done(&report, began.elapsed())),
        false => context.output.say(&troubles),
    }
    forgotten?;
    context.output.forgive();
    Ok(code(report.kinds()))
}

/// Each id of `--destroy-data` names one thing that holds data, exactly: nothing is guessed here.
fn check_named(options: &Options, look: &Look) -> Result<(), Failure> {
    let judging = Judging {
        destroy_data: Vec::new(),
        ..look.judging.clone()
    };
    let unnamed = judge_destruction(&look.resources, &look.answers, &judging);
    let mut data: Vec<&str> = look
        .resources
        .iter()
        .filter(|resource| holds_data(&resource.thing))
        .map(|resource| resource.id.as_str())
        .chain(unnamed.orphans.iter().map(Id::as_str))
        .collect();
    data.sort_unstable();
    data.dedup();
    let inexact = |id: &&String| !data.contains(&id.as_str());
    if let Some(id) = options.destroy_data.iter().find(inexact) {
        return Err(inexactly(id, &data, look));
    }
    let mut named = options.destroy_data.iter();
    named
        .find_map(|id| somebody_elses(id, look))
        .map_or(Ok(()), Err)
}

/// The refusal of a named thing that is not ours to destroy.
fn somebody_elses(id: &str, look: &Look) -> Option<Failure> {
    let mut resources = look.resources.iter();
    let resource = resources.find(|resource| resource.id.as_str() == id)?;
    let Found::There(found) = find(&resource.thing, &resource.place, &look.answers) else {
        return None;
    };
    let why = found.foreign()?;
    Some(Failure::new(
        Kind::Data,
        format!("`{id}` is not destroyed: {}", why.message),
    ))
}

fn inexactly(id: &str, data: &[&str], look: &Look) -> Failure {
    let tail = id.trim_start_matches(['*', '.']);
    let could_mean = |one: &&str| {
        id.contains('*') || id == "all" || one.split(['.', ':']).any(|part| part == tail)
    };
    let meant: Vec<&str> = data.iter().copied().filter(could_mean).collect();
    if !meant.is_empty() {
        let message =
            format!("`--destroy-data={id}` is no exact id, and data is destroyed by exact id only");
        return Failure::new(Kind::Data, message)
            .hint(format!("what it could mean: {}", meant.join(", ")));
    }
    let declared = look.resources.iter().any(|one| one.id.as_str() == id);
    match declared {
        true => Failure::new(
            Kind::Usage,
            format!("`{id}` holds no data: `destroy` removes it without being told"),
        ),
        false => unknown_id(id, data).hint(format!("what holds data: {}", data.join(", "))),
    }
}

/// What stays is said, not done; gives what was there before.
fn keep(look: &mut Look, plan: &mut Plan) -> Vec<Id> {
    look.notes = plan
        .orphans
        .drain(..)
        .map(|id| {
            format!(
                "`{id}` holds data and is kept; `--destroy-data={}` removes it too",
                crate::quote::word(id.as_str())
            )
        })
        .collect();
    let stays = [
        (&plan.needed, "stays, since what is kept needs it"),
        (
            &plan.released,
            "stays as it is, since it was there before or nothing undoes it",
        ),
    ];
    for (ids, why) in stays {
        if !ids.is_empty() {
            let ids: Vec<&str> = ids.iter().map(Id::as_str).collect();
            look.notes.push(format!("{why}: {}", show::names(&ids, 6)));
        }
    }
    std::mem::take(&mut plan.released)
}

fn text(context: &Context, look: &Look) -> String {
    if look.plan.is_empty() {
        let project = &look.environment.project;
        let notes: String = look.notes.iter().map(|note| format!("{note}\n")).collect();
        return format!("Nothing of `{project}` is there to remove.\n{notes}");
    }
    let head = show::plan::Head {
        environment: &look.environment.name,
        project: &look.environment.project,
        target: &look.target.says(),
        notes: &look.notes,
        next: None,
        verbose: context.verbose > 0,
        paint: context.output.paint(),
    };
    show::plan::render(&head, &look.plan)
}

/// Nothing is wanted any more, so nothing is judged against.
async fn carry_out(
    context: &Context,
    look: &mut Look,
    journal: &Journal,
) -> Result<Report, Failure> {
    let resources = std::mem::take(&mut look.resources);
    look.judging = Judging {
        environment: look.environment.name.clone(),
        owner: look.judging.owner.clone(),
        generated: Vec::new(),
        memories: look.judging.memories.clone(),
        ..Judging::default()
    };
    let report = apply::carry_out(context, look, &look.plan, journal).await;
    look.resources = resources;
    report
}

/// Asks again: what is still there was not removed.
async fn see(look: &Look, report: &mut Report) -> Result<(), Failure> {
    if report.interrupted || report.done.is_empty() {
        return Ok(());
    }
    let answers = look.target.look(&look.sheet).await?;
    let goes = |id: &Id| {
        let mut changes = look.plan.changes.iter();
        changes.any(|change| change.id == *id && change.action == Action::Remove)
    };
    for resource in look
        .resources
        .iter()
        .filter(|resource| report.done.contains(&resource.id) && goes(&resource.id))
    {
        // A setting always has a value: what is gone is ours.
        let is_setting = matches!(
            resource.thing,
            Thing::PostgresSetting(_) | Thing::MariadbSetting(_)
        );
        // A server whose container is gone is down, and what was in it with it.
        let found = find(&resource.thing, &resource.place, &answers);
        if matches!(found, Found::There(_)) && !is_setting {
            report
                .unsettled
                .push((resource.id.clone(), "existence".to_owned()));
        }
    }
    let unsettled: Vec<&Id> = report.unsettled.iter().map(|(id, _)| id).collect();
    report.done.retain(|id| !unsettled.contains(&id));
    Ok(())
}

/// What is gone was applied no longer, and what stays as it was before us is nobody's business any more.
async fn forget(look: &Look, released: &[Id], report: &Report) -> Result<(), Failure> {
    let mut outcome = Outcome::default();
    let released = look.plan.gone.iter().chain(released);
    outcome.gone = report.done.iter().chain(released).cloned().collect();
    // What lay inside a container or volume that went is nobody's business any more either, and what lies in a server of a machine
    // its ledger knows better.
    let volumes = report.done.iter().any(|id| id.kind() == "volume");
    let inside = look.resources.iter().filter(|one| match &one.place {
        Place::Sql(..) => volumes || one.place.machine().is_some(),
        _ => false,
    });
    outcome.gone.extend(inside.map(|one| one.id.clone()));
    memory::keep(look, &look.judging.memories, &outcome).await
}
