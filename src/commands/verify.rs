//! `verify`: is it really working? Every check that follows from the declaration, side by side.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Semaphore;

use crate::checks::{self, Check, Does, LogIn, Verdict};
use crate::commands::look::{self, Look, Wishes};
use crate::commands::{Context, End, code};
use crate::error::Kind;
use crate::plan;
use crate::show;
use crate::show::verify::{Checked, Verified};

/// How many checks are made at the same time.
const AT_ONCE: usize = 32;
/// How often a login is tried again that found all connections in use.
const TRIES: usize = 10;

/// How what was found is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
    /// For a build server.
    Junit,
}

/// What `verify` is asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The environment.
    pub environment: String,
    /// How it is written.
    pub format: Format,
}

/// Looks, tries, tells.
///
/// # Errors
/// Where nobody can be asked.
pub async fn run(context: &Context, options: &Options) -> End {
    let began = Instant::now();
    let environment = look::ready(context, &options.environment).await?;
    let look = look::look(context, environment, &Wishes::default()).await?;
    let now = SystemTime::now();
    let checks = checks::checks(&look.environment, &look.resources, &look.ports, now);
    let checked = all(&look, checks).await;
    let mut kinds: Vec<Kind> = checked
        .iter()
        .filter(|one| matches!(one.verdict, Verdict::Failed(_)))
        .map(|_| Kind::Unhealthy)
        .collect();
    kinds.extend(
        look.target
            .unreached()
            .iter()
            .map(|(_, failure)| failure.kind),
    );
    let target = look.target.says();
    let verified = Verified {
        environment: &look.environment.name,
        project: &look.environment.project,
        target: &target,
        checks: &checked,
        took: began.elapsed(),
        kinds: &kinds,
    };
    context.output.data(&match options.format {
        Format::Table => show::verify::table(&verified, context.output.paint()),
        Format::Json => show::verify::json(&verified),
        Format::Junit => show::verify::junit(&verified),
    });
    Ok(code(kinds))
}

/// All checks, side by side, in their order; those of one lane one after the other.
async fn all(look: &Look, checks: Vec<Check>) -> Vec<Checked> {
    let permits = Semaphore::new(AT_ONCE);
    let mut lanes: BTreeMap<String, Vec<(usize, Check)>> = BTreeMap::new();
    for (at, check) in checks.into_iter().enumerate() {
        let lane = match check.lane() {
            Some((service, user)) => format!("{service}/{user}"),
            None => format!("/{at}"),
        };
        lanes.entry(lane).or_default().push((at, check));
    }
    let mut running: FuturesUnordered<_> = lanes
        .into_values()
        .map(|lane| async {
            let mut came = Vec::new();
            for (at, check) in lane {
                let _permit = permits.acquire().await;
                let began = Instant::now();
                let verdict = one(look, &check).await;
                let took = began.elapsed();
                came.push((
                    at,
                    Checked {
                        check,
                        verdict,
                        took,
                    },
                ));
            }
            came
        })
        .collect();
    let mut all = Vec::new();
    while let Some(came) = running.next().await {
        all.extend(came);
    }
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, checked)| checked).collect()
}

async fn one(look: &Look, check: &Check) -> Verdict {
    let verdict = |came: Result<(), String>| match came {
        Ok(()) => Verdict::Fine,
        Err(why) => Verdict::Failed(why),
    };
    match &check.does {
        Does::LogIn(login) => log_in(look, login).await,
        Does::Listen(route, dialect) => verdict(look.target.identify(route, *dialect).await),
        Does::Probe(probe) => verdict(look.target.probe(probe).await),
        Does::Nothing(why) => Verdict::Skipped(why.clone()),
        Does::Runs(id) => match look.resources.iter().find(|one| one.id == *id) {
            Some(resource) => {
                let found = plan::find(&resource.thing, &resource.place, &look.answers);
                checks::running(&resource.thing, &found)
            }
            None => Verdict::Skipped("it is not declared".to_owned()),
        },
    }
}

/// Logs in; where others use the connections that there are, again after a moment.
async fn log_in(look: &Look, login: &LogIn) -> Verdict {
    let mut tries = 0;
    loop {
        let came = look.target.log_in(login).await;
        tries += 1;
        if tries == TRIES || !login.is_passing(&came) {
            return login.in_light_of(&look.plan, login.judge(came));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
