//! `apply`: plan, ask, carry out, look again, and say where everything is.

use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use crate::apply::{self, Event, Report, Run};
use crate::checks;
use crate::commands::look::{self, Look, Wishes};
use crate::commands::progress::Progress;
use crate::commands::{Context, End, code, journal, memory, plan as planning};
use crate::declaration::Environment;
use crate::error::{Failure, Kind};
use crate::files::{self, Journal, Lock};
use crate::plan::Plan;
use crate::saved::Saved;
use crate::services;
use crate::show;

/// What `apply` is asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The environment.
    pub environment: String,
    /// Without asking.
    pub yes: bool,
    /// A saved plan, which is the consent.
    pub plan: Option<PathBuf>,
    /// What is looked at and what may go.
    pub wishes: Wishes,
}

/// Plans, asks, applies.
///
/// # Errors
/// Whatever keeps it from beginning.
pub async fn run(context: &Context, options: &Options) -> End {
    let saved = options
        .plan
        .as_deref()
        .map(|path| Saved::read(&files::read_plan(path)?))
        .transpose()?;
    let environment = opened(context, options, saved.as_ref()).await?;
    let doing = format!("`apply {}`", environment.name);
    let wishes = Wishes {
        doing: Some(doing.clone()),
        ..wishes(options, saved.as_ref())
    };
    let lock = look::patiently(context, wishes.wait, async || {
        Lock::take(&environment.project, &doing)
    })
    .await?;
    let wishes = Wishes {
        seat: lock.seat(),
        ..wishes
    };
    let mut look = look::look(context, environment, &wishes).await?;
    match &saved {
        Some(saved) => {
            let target = look.target.says();
            saved.holds(&planning::basis(&look, &target, &wishes), &look.plan)?;
        }
        None => look.started(context, &wishes).await?,
    }
    context.output.data(&planning::text(context, &look, None));
    context.output.say(&show::plan::refusals(
        &look.plan,
        context.output.talk_paint(),
    ));
    if !look.plan.refusals.is_empty() {
        return Ok(code(show::plan::verdicts(&look.plan)));
    }
    if !show::plan::acts(&look.plan) {
        context.interrupt.changing(&look.environment.name);
        memory::refresh(&look).await?;
        endpoints(context, &look);
        // What waits or cannot be seen is not as wanted, so this is no success.
        let left = look.plan.changes.first().map(|_| Kind::Failed);
        return Ok(code(
            show::plan::verdicts(&look.plan).into_iter().chain(left),
        ));
    }
    if !options.yes && saved.is_none() {
        let question = format!("Apply {}?", these(look.plan.changes.len()));
        consent(context, &question).await?;
    }
    let journal = journal::begin(&look, "apply").await?;
    context.interrupt.changing(&look.environment.name);
    let before = memory::begin(&look).await?;
    let began = Instant::now();
    let report = carry_out(context, &look, &look.plan, &journal).await?;
    let kept = memory::end(&look, &before, &report).await;
    journal::end(&look, journal, &report).await;
    tell(context, &look, &report, began);
    if let Err(failure) = &kept {
        context.output.fail(failure);
    }
    context.output.forgive();
    // A machine that nobody could ask is not as wanted either.
    let unseen = look.plan.unseen.iter().map(|unseen| unseen.failure.kind);
    let kept = kept.err().map(|failure| failure.kind);
    Ok(code(report.kinds().into_iter().chain(unseen).chain(kept)))
}

async fn opened(
    context: &Context,
    options: &Options,
    saved: Option<&Saved>,
) -> Result<Environment, Failure> {
    let environment = look::ready(context, &options.environment).await?;
    if let Some(saved) = saved {
        saved.is_of(&environment.name, &environment.project)?;
    }
    Ok(environment)
}

fn wishes(options: &Options, saved: Option<&Saved>) -> Wishes {
    match saved {
        Some(saved) => Wishes {
            only: saved.only.clone(),
            hosts: saved.hosts.clone(),
            destroy_data: saved.destroy_data.clone(),
            wait: options.wishes.wait,
            ..Wishes::default()
        },
        None => options.wishes.clone(),
    }
}

fn these(changes: usize) -> String {
    match changes {
        1 => "this change".to_owned(),
        number => format!("these {number} changes"),
    }
}

/// Asks whether to go on; silence is no consent.
pub async fn consent(context: &Context, question: &str) -> Result<(), Failure> {
    if !context.output.can_ask() {
        return Err(Failure::new(
            Kind::Usage,
            "nobody is there to ask: standard input is no terminal",
        )
        .hint("`--yes` goes on without asking"));
    }
    let answer = context
        .output
        .ask(&format!("{question} [y/N] "))
        .await
        .unwrap_or_default();
    match answer.to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::new(Kind::Failed, "declined, nothing was changed")),
    }
}

/// Carries a plan out, with progress, until it ends or is told to stop.
pub async fn carry_out(
    context: &Context,
    look: &Look,
    plan: &Plan,
    journal: &Journal,
) -> Result<Report, Failure> {
    let progress = Progress::new(&context.output);
    let run = Run {
        resources: &look.resources,
        sheet: &look.sheet,
        journal,
        judging: &look.judging,
        logins: &|server| {
            let now = SystemTime::now();
            checks::logins(&look.environment, &look.resources, &look.ports, server, now)
        },
        owner: &|id| services::owner(&look.environment, id),
        target: &look.target,
        tell: &|event: Event| progress.hear(&event),
        stop: context.interrupt.stop(),
    };
    let mut stop = context.interrupt.stop();
    let stopping = async {
        if stop.wait_for(|stop| *stop).await.is_ok() {
            progress.say("Stopping after what is running; once more stops at once.");
        }
        std::future::pending().await
    };
    tokio::select! {
        report = apply::carry_out(&run, plan) => report,
        () = stopping => Ok(Report::default()),
    }
}

fn tell(context: &Context, look: &Look, report: &Report, began: Instant) {
    let next = format!("provision apply {}", look.environment.name);
    let troubles = show::report::troubles(report, &next, context.output.talk_paint());
    if troubles.is_empty() {
        context
            .output
            .data(&show::report::done(report, began.elapsed()));
        endpoints(context, look);
    } else {
        context.output.say(&troubles);
    }
}

fn endpoints(context: &Context, look: &Look) {
    let paint = context.output.paint();
    context
        .output
        .data(&show::report::endpoints(&look.endpoints, paint));
}
