//! What was last applied: recalled with the look, kept after an apply; of each machine on that machine.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::apply::Report;
use crate::command::{Answer, Answers, Blob, Place, Row, Script, Sheet, Text};
use crate::commands::Context;
use crate::commands::look::Look;
use crate::declaration::{Driver, Environment, Generated};
use crate::error::{Failure, Kind};
use crate::files;
use crate::observe::{self, Besides};
use crate::plan::memory::{self, KEEP, Memories, Memory, Outcome, QUESTION, Unusable};
use crate::plan::{Action, Plan};
use crate::resource::{Id, Resource};
use crate::services::hosts;
use crate::show;
use crate::target::Target;

/// How long a machine may take to write its memory.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reads the memories of a look. What a machine or the ledger of a database server remembers and nobody declares any more is asked
/// about, in one more trip.
///
/// # Errors
/// [`Kind::Stale`] where a later version of the program wrote one: it is neither used nor rewritten.
pub async fn recall(
    context: &Context,
    environment: &Environment,
    target: &Target,
    resources: &[Resource],
    asked: (&mut Besides, &mut Sheet, &mut Answers),
) -> Result<Memories, Failure> {
    let (besides, sheet, answers) = asked;
    let mut memories = Memories {
        engine_host: environment.engine_host.clone(),
        ..Memories::default()
    };
    if environment.engine_is_here() {
        memories.here = files::read_memory(&environment.folder)?;
    }
    let name = memory::name(&environment.project, &environment.name);
    for machine in &besides.machines {
        let place = Place::Machine(Arc::clone(machine));
        let where_ = format!("`/var/lib/provision/{name}.json` on `{machine}`");
        match answers.get(&place, QUESTION.name) {
            Some(Answer::Rows(rows)) => {
                let memory = match content(rows.of(&name).first(), "content") {
                    None => Memory::default(),
                    Some(text) => match text.and_then(|text| Memory::parse(&text)) {
                        Ok(memory) => memory,
                        Err(Unusable::Newer(format)) => {
                            return Err(files::newer(&where_, format, memory::FORMAT));
                        }
                        Err(Unusable::Damaged(why)) => {
                            let message = format!(
                                "{where_} is damaged and forgotten: {why}; what was made there and is no longer declared stays"
                            );
                            let paint = context.output.talk_paint();
                            context.output.say(&show::failure::warning(&message, paint));
                            Memory::default()
                        }
                    },
                };
                memories.machines.insert(Arc::clone(machine), memory);
                for other in rows.keys().into_iter().filter(|other| *other != name) {
                    // One that makes no sense to us is not ours to judge.
                    if let Some(Ok(text)) = content(rows.of(other).first(), "content")
                        && let Ok(memory) = Memory::parse(&text)
                    {
                        memories.take_other(machine, other, &memory);
                    }
                }
            }
            _ => {
                memories.unread.insert(Arc::clone(machine));
            }
        }
    }
    let left = memories.undeclared(resources);
    besides.left = observe::left(sheet, answers);
    if !left.is_empty() || !besides.left.is_empty() {
        let only = Besides {
            left: besides.left.clone(),
            ..Besides::default()
        };
        let more = observe::whole(&environment.project, &left, &only);
        answers.join(target.look(&more).await?);
        let whole: Vec<Resource> = resources.iter().chain(&left).cloned().collect();
        // Later looks ask for all of it at once.
        *sheet = observe::whole(&environment.project, &whole, besides);
    }
    Ok(memories)
}

/// The text of a file in a column of a machine's answer, as it printed it.
pub fn content(row: Option<&Row>, column: &str) -> Option<Result<String, Unusable>> {
    let content = row?.get(column)?.as_str()?;
    let bytes = STANDARD.decode(content).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    Some(text.ok_or_else(|| Unusable::Damaged("it is no text".to_owned())))
}

/// Before anything is done: what holds already, and what is about to be made. A run that dies in between is then no riddle, and
/// where nothing can be written, this is the time to know.
///
/// # Errors
/// Where it cannot be written.
pub async fn begin(look: &Look) -> Result<Memories, Failure> {
    let outcome = Outcome {
        settled: look.plan.settled.clone(),
        made: made(&look.plan, |_| true),
        gone: HashSet::new(),
    };
    // Which generated secrets hold is only known once they were applied.
    let after = after(look, &outcome, None);
    if look.environment.engine_is_here() {
        files::write_memory(&look.environment.folder, &after.here)?;
    }
    hosts(look, &after)?;
    let making: HashSet<Arc<str>> = look
        .plan
        .changes
        .iter()
        .filter(|change| change.action == Action::Create)
        .filter_map(|change| {
            let host = look.environment.engine_host.as_ref();
            change.place.machine().or(host).cloned()
        })
        .collect();
    let now = Memories {
        machines: after
            .machines
            .into_iter()
            .filter(|(machine, _)| making.contains(machine))
            .collect(),
        ..after
    };
    write(look, &look.judging.memories.machines, &now).await?;
    let mut written = look.judging.memories.machines.clone();
    written.extend(now.machines);
    Ok(Memories {
        machines: written,
        ..now
    })
}

/// After all is done: what holds now. `before` is what [`begin`] wrote.
///
/// # Errors
/// Where it cannot be written.
pub async fn end(look: &Look, before: &Memories, report: &Report) -> Result<(), Failure> {
    let Some(settled) = &report.record else {
        return Ok(());
    };
    let is_done = |id: &Id| report.done.contains(id);
    // What failed half way may be there all the same.
    let open = || report.unknown.iter().chain(&report.failed);
    let is_open = |id: &Id| open().any(|(begun, _)| begun == id);
    let removed = look
        .plan
        .changes
        .iter()
        .filter(|change| change.action == Action::Remove && is_done(&change.id))
        .map(|change| change.id.clone());
    let outcome = Outcome {
        settled: settled.clone(),
        made: made(&look.plan, |id| is_done(id) || is_open(id)),
        gone: removed
            .chain(look.plan.gone.iter().cloned())
            .chain(look.plan.released.iter().cloned())
            .collect(),
    };
    keep(look, before, &outcome).await
}

/// Where there is nothing to do: what holds, if that is news.
///
/// # Errors
/// Where it cannot be written.
pub async fn refresh(look: &Look) -> Result<(), Failure> {
    let gone = look.plan.gone.iter().chain(&look.plan.released);
    let outcome = Outcome {
        settled: look.plan.settled.clone(),
        made: HashSet::new(),
        gone: gone.cloned().collect(),
    };
    keep(look, &look.judging.memories, &outcome).await
}

/// Brings all memories up to date, where they say something new.
///
/// # Errors
/// Where one cannot be written.
pub async fn keep(look: &Look, before: &Memories, outcome: &Outcome) -> Result<(), Failure> {
    let after = after(look, outcome, Some(&look.environment.generated));
    if look.environment.engine_is_here() && after.here.says_more_than(&before.here) {
        files::write_memory(&look.environment.folder, &after.here)?;
    }
    hosts(look, &after)?;
    write(look, &before.machines, &after).await
}

/// Keeps beside the environment which hosts hold how much: a hint for the day on which one is gone from the file.
fn hosts(look: &Look, after: &Memories) -> Result<(), Failure> {
    if look.environment.driver != Driver::Ssh {
        return Ok(());
    }
    let folder = &look.environment.folder;
    let old = files::read_hosts(folder);
    let mut now: BTreeMap<String, (String, usize)> = BTreeMap::new();
    for (name, _) in look.environment.services("host") {
        let address = hosts::address(&look.environment, name);
        let held = match after.machines.get(name) {
            Some(memory) => memory.resources(),
            None => old.get(name).map_or(0, |(_, held)| *held),
        };
        if held > 0 {
            now.insert(name.to_owned(), (address, held));
        }
    }
    match now == old {
        true => Ok(()),
        false => files::write_hosts(folder, &now),
    }
}

/// What is said of hosts that are gone from the file: what was made there stays.
pub fn gone_hosts(environment: &Environment) -> Vec<String> {
    if environment.driver != Driver::Ssh {
        return Vec::new();
    }
    let known: HashSet<&str> = environment.services("host").map(|(name, _)| name).collect();
    let gone = files::read_hosts(&environment.folder).into_iter();
    gone.filter(|(name, _)| !known.contains(name.as_str()))
        .map(|(name, (address, held))| {
            let held = show::count(held, "resource");
            format!(
                "`{name}` ({address}) is no longer in the file: {held} applied there stay as they are; put it back and use `destroy --host {name}`, or clean it by hand"
            )
        })
        .collect()
}

fn made(plan: &Plan, counts: impl Fn(&Id) -> bool) -> HashSet<Id> {
    plan.changes
        .iter()
        .filter(|change| change.action == Action::Create && counts(&change.id))
        .map(|change| change.id.clone())
        .collect()
}

fn after(look: &Look, outcome: &Outcome, generated: Option<&[Generated]>) -> Memories {
    let now = jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string();
    let memories = &look.judging.memories;
    memories.after(
        (&look.resources, generated),
        outcome,
        &now,
        &files::operator(),
    )
}

/// Writes the memories of machines that say more than before, side by side.
async fn write(
    look: &Look,
    before: &BTreeMap<Arc<str>, Memory>,
    after: &Memories,
) -> Result<(), Failure> {
    let name = memory::name(&look.environment.project, &look.environment.name);
    let none = Memory::default();
    let news = after.machines.iter().filter(|(machine, memory)| {
        let old = before.get(*machine).unwrap_or(&none);
        memory.says_more_than(old) && !after.unread.contains(*machine)
    });
    let written = news.map(|(machine, memory)| {
        let text = memory.render();
        let forget = memory.0.is_empty();
        let script = Script {
            body: KEEP,
            words: vec![
                Text::plain(&name),
                Text::plain(if forget { "forget" } else { "keep" }),
            ],
            input: (!forget).then(|| Blob::Text(Text::plain(text))),
            guard: None,
        };
        async move {
            let keep = [(script, PATIENCE)];
            let mut ran = look.target.run(machine, &keep, &[], None, &|_| ()).await;
            // The same is written however often, so a lost connection is no reason to give up.
            if matches!(&ran, Err((_, trouble)) if trouble.kind == Kind::Unreachable) {
                ran = look.target.run(machine, &keep, &[], None, &|_| ()).await;
            }
            ran.map_err(|(_, trouble)| (Arc::clone(machine), trouble))
        }
    });
    let results = futures_util::future::join_all(written).await;
    let mut failed = results.into_iter().filter_map(Result::err);
    let Some((machine, trouble)) = failed.next() else {
        return Ok(());
    };
    let message = format!(
        "`{machine}` cannot keep what was applied in `/var/lib/provision/{name}.json`: {}",
        trouble.message
    );
    let mut failure = Failure::new(trouble.kind, message)
        .hint("without it nobody can tell later who moved, and what is no longer declared stays");
    for (machine, trouble) in failed {
        failure = failure.hint(format!("nor can `{machine}`: {}", trouble.message));
    }
    Err(failure)
}
