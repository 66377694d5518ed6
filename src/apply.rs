//! Carrying out a plan: independent branches side by side, each change asked again afterwards. Decides nothing: what waits for
//! something is judged again once that is there.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use crate::advice::{self, Owner};
use crate::checks::{Check, Does, LogIn, Verdict};
use crate::command::{Do, Place, Script, Server, Sheet, SqlStep};
use crate::error::{Failure, Kind};
use crate::fault::{Effect, Point};
use crate::files::Journal;
use crate::graph;
use crate::plan::journal::{self, Note, State};
use crate::plan::{self, Action, Change, Judging, Plan, Record};
use crate::resource::{Awaited, Id, Probe, Resource, Step};
use crate::target::{Stop, Target, Trouble};

/// How long a probe may go on failing before the thing is called unhealthy.
const PROBE_PATIENCE: Duration = Duration::from_secs(60);

/// How long a login may go on being refused by a server that answers.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(3);

/// How many logins to one server are tried at the same time.
const LOGINS_AT_ONCE: usize = 16;

/// Lines of a container's log shown where it fails.
const LOG_LINES: usize = 20;

/// Rounds of looking again for what waited. A thing waits for its server, a server for its engine or its packages: two would do.
const ROUNDS: usize = 4;

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

/// Hears what happens.
pub type Tell<'a> = &'a (dyn Fn(Event) + Send + Sync);

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
    /// Done, but nobody could look whether it is as wanted now; these are among what is done, too.
    pub unchecked: Vec<(Id, Trouble)>,
    /// Done, but still differs when asked again: id and the fields.
    pub unsettled: Vec<(Id, String)>,
    /// Applied, but a probe says it does not work.
    pub unhealthy: Vec<(Id, Trouble)>,
    /// Whether the user interrupted it.
    pub interrupted: bool,
    /// What still waits for something that somebody else makes, and for what.
    pub waiting: Vec<(Id, Awaited)>,
    /// What holds now, for the record; none if nobody could look again.
    pub record: Option<Record>,
}

impl Report {
    /// Every kind of bad end that holds; none if all is done and works.
    pub fn kinds(&self) -> Vec<Kind> {
        let mut kinds: Vec<Kind> = self
            .failed
            .iter()
            .chain(&self.unknown)
            .chain(&self.unchecked)
            .map(|(_, trouble)| trouble.kind)
            .collect();
        if self.interrupted {
            kinds.push(Kind::Interrupted);
        }
        if !self.not_done.is_empty() || !self.unsettled.is_empty() {
            kinds.push(Kind::Failed);
        }
        if !self.unhealthy.is_empty() {
            kinds.push(Kind::Unhealthy);
        }
        kinds
    }
}

/// All that carrying out needs beside the plan.
pub struct Run<'a> {
    /// The resources, in graph order.
    pub resources: &'a [Resource],
    /// What is asked about them.
    pub sheet: &'a Sheet,
    /// Where it is written down.
    pub journal: &'a Journal,
    /// As for the plan.
    pub judging: &'a Judging,
    /// The logins to a server that are tried once something of it was changed.
    pub logins: &'a (dyn Fn(&Server) -> Vec<Check> + Send + Sync),
    /// Whose a resource is, as far as hints have to know.
    pub owner: &'a (dyn Fn(&Id) -> Owner<'a> + Send + Sync),
    /// What it is applied to.
    pub target: &'a Target,
    /// Hears what happens.
    pub tell: Tell<'a>,
    /// Becomes true when the user wants it to stop: running steps end, no new one begins.
    pub stop: Stop,
}

/// Carries out a plan, looks again, carries out what had waited, and probes what was touched.
///
/// # Errors
/// Where the target can no longer be looked at: what was done until then is lost to the report, not to the machine.
pub async fn carry_out(run: &Run<'_>, plan: &Plan) -> Result<Report, Failure> {
    let mut report = carried_out(run, plan).await?;
    advise(run, &mut report);
    Ok(report)
}

/// What to try, for whatever failed; and its log without what only repeats.
fn advise(run: &Run<'_>, report: &mut Report) {
    let troubled = [
        &mut report.failed,
        &mut report.unknown,
        &mut report.unhealthy,
    ];
    for (id, trouble) in troubled.into_iter().flatten() {
        let log = trouble.log.join("\n");
        let said = format!("{}\n{log}\n{id}: {}", trouble.said, trouble.message);
        trouble.hints = advice::hints(&(run.owner)(id), &said).into();
        trouble.log = advice::condensed(&trouble.log);
    }
}

async fn carried_out(run: &Run<'_>, plan: &Plan) -> Result<Report, Failure> {
    let mut report = Report::default();
    let mut touched: HashSet<Id> = HashSet::new();
    let mut now = plan.clone();
    let mut left: HashSet<Id> = plan
        .changes
        .iter()
        .map(|change| change.id.clone())
        .collect();
    let mut known: HashSet<Id> = plan.left_out.iter().cloned().collect();
    for _ in 0..ROUNDS {
        let changes: Vec<&Change> = now
            .changes
            .iter()
            .filter(|change| left.contains(&change.id))
            .collect();

        let waiting = held(&changes);
        let (later, changes): (Vec<&Change>, Vec<&Change>) = changes
            .into_iter()
            .partition(|change| waiting.contains(&change.id));
        round(run, &changes, &mut report).await;
        touched.extend(changes.iter().chain(&later).map(|change| change.id.clone()));
        known.extend(touched.iter().cloned());
        let failed = !report.failed.is_empty() || !report.unknown.is_empty() || report.interrupted;
        let answers = match run.target.look(run.sheet).await {
            Ok(answers) => answers,
            Err(failure) if failed => {
                tracing::warn!("cannot look again: {failure}");
                return Ok(report);
            }
            Err(failure) => return Err(failure),
        };
        let judging = Judging {
            done: report.done.clone(),
            ..run.judging.clone()
        };
        let after = plan::judge(run.resources, &answers, &judging);
        report.record = Some(after.settled.clone());
        report.waiting.clone_from(&after.waiting);
        // What it waited for may have been made meanwhile: then there is more to do.
        let awaited: HashSet<&Id> = now.waiting.iter().map(|(id, _)| id).collect();
        let come: Vec<Id> = after
            .changes
            .iter()
            .map(|change| &change.id)
            .filter(|id| awaited.contains(id))
            .cloned()
            .collect();
        report.done.retain(|id| !come.contains(id));
        settle(&after, &mut report);
        // What comes behind a failure was not tried, so how it looks by now is no failure of its own.
        let behind = blocked(&now, &after, &report);
        let tried = waiting.difference(&behind).cloned().collect();
        refuse(&after, &tried, &mut report);
        left = waiting
            .into_iter()
            .chain(entailed(&after, &known))
            .chain(come)
            .collect();
        let blocked = blocked(&now, &after, &report);
        let lost = |id: &Id| report.interrupted || blocked.contains(id);
        let (not_done, next): (Vec<Id>, Vec<Id>) = left.drain().partition(lost);
        let differs: HashSet<&Id> = after.changes.iter().map(|change| &change.id).collect();
        let differing = |ids: Vec<Id>| ids.into_iter().filter(|id| differs.contains(id));
        report.not_done.extend(differing(not_done));
        left = differing(next).collect();
        if left.is_empty() {
            break;
        }
        now = after;
    }
    // Nobody can say what these wait for.
    report.not_done.extend(left);
    report.not_done.sort();
    report.not_done.dedup();
    if report.failed.is_empty() && report.unknown.is_empty() && !report.interrupted {
        probe(run, &touched, &now, &mut report).await;
    }
    Ok(report)
}

/// What cannot be done before it is looked again: what cannot be seen yet, and whatever needs that. What nobody can say anything of is
/// not there for those who need it either: an engine makes a volume that is missing when a container wants it, and makes it as
/// nobody's.
pub fn held(changes: &[&Change]) -> HashSet<Id> {
    let mut held: HashSet<Id> = HashSet::new();
    let mut unseen: HashSet<&Id> = HashSet::new();
    for change in changes {
        let open = |need: &Id| held.contains(need) || unseen.contains(need);
        if change.action == Action::Wait || change.needs.iter().any(open) {
            held.insert(change.id.clone());
        } else if change.action == Action::Unknown {
            unseen.insert(&change.id);
        }
    }
    held
}

/// What is not gone on with after a failure: the rest of its machine, and whatever needs it; where there are no machines, all of it.
/// The other machines go on.
fn blocked(before: &Plan, after: &Plan, report: &Report) -> HashSet<Id> {
    let troubled = report.failed.iter().chain(&report.unknown);
    let bad: HashSet<&Id> = troubled.map(|(id, _)| id).chain(&report.not_done).collect();
    let mut broken: HashSet<Option<&str>> = HashSet::new();
    for change in after
        .changes
        .iter()
        .filter(|change| bad.contains(&change.id))
    {
        broken.insert(change.place.machine().map(|machine| &**machine));
    }
    let mut blocked: HashSet<Id> = HashSet::new();
    // By what was known before, too: what starts and ends again and again may look well right now, and then nothing needs it.
    for change in before.changes.iter().chain(&after.changes) {
        let machine = change.place.machine().map(|machine| &**machine);
        let lost = |id: &Id| bad.contains(id) || blocked.contains(id);
        if broken.contains(&machine) || lost(&change.id) || change.needs.iter().any(lost) {
            blocked.insert(change.id.clone());
        }
    }
    blocked
}

/// What our own changes brought about: who owned a database loses, with it, rights that were declared beside.
fn entailed(after: &Plan, known: &HashSet<Id>) -> Vec<Id> {
    let heals = |action| matches!(action, Action::Create | Action::Update | Action::Recreate);
    after
        .changes
        .iter()
        .filter(|change| heals(change.action) && !known.contains(&change.id))
        .map(|change| change.id.clone())
        .collect()
}

/// Moves what still differs from *done* to *unsettled*. What cannot be seen stays done, and unchecked.
fn settle(after: &Plan, report: &mut Report) {
    let left: HashMap<&Id, &Change> = after
        .changes
        .iter()
        .map(|change| (&change.id, change))
        .collect();
    let (unsettled, done) = std::mem::take(&mut report.done)
        .into_iter()
        .partition(|id| {
            left.get(id)
                .is_some_and(|change| change.action != Action::Unknown)
        });
    report.done = done;
    let unseen = report.done.iter().filter_map(|id| left.get(id));
    report.unchecked = unseen
        .map(|change| {
            let why = Trouble::failed(&change.reason).kind(Kind::Unreachable);
            (change.id.clone(), why)
        })
        .collect();
    for id in unsettled {
        let Some(change) = left.get(&id) else {
            continue;
        };
        let fields: Vec<_> = change
            .fields
            .iter()
            .map(|difference| difference.field.name.to_string())
            .collect();
        let what = if fields.is_empty() {
            change.reason.clone()
        } else {
            fields.join(", ")
        };
        report.unsettled.push((id, what));
    }
}

/// What had waited and now turns out to be refused, or still cannot be seen.
fn refuse(after: &Plan, waiting: &HashSet<Id>, report: &mut Report) {
    for refusal in after
        .refusals
        .iter()
        .filter(|refusal| waiting.contains(&refusal.id))
    {
        let trouble = Trouble::failed(&refusal.message).kind(refusal.kind);
        let trouble = trouble.log(refusal.hints.clone());
        report.failed.push((refusal.id.clone(), trouble));
    }
    for change in after
        .changes
        .iter()
        .filter(|change| waiting.contains(&change.id))
    {
        if change.action == Action::Unknown {
            report
                .failed
                .push((change.id.clone(), unseen(&change.reason)));
        }
    }
}

/// A thing that cannot be seen is not touched.
fn unseen(why: &str) -> Trouble {
    Trouble::failed(format!("it cannot be seen, so it is not touched: {why}"))
        .kind(Kind::Unreachable)
}

/// Whose stream a change goes down.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Stream<'a> {
    /// Its own: the engine works side by side.
    Alone(usize),
    /// Its machine's: scripts in graph order down one session.
    Machine(&'a str),
    /// Its database server's: all SQL in one trip.
    Server(&'a Server),
}

/// What is carried out as one: a change of the engine, scripts of a machine, or SQL of a server.
struct Unit<'a> {
    stream: Stream<'a>,
    changes: Vec<&'a Change>,
    /// Units that have to be done before.
    waits: HashSet<usize>,
}

/// Makes units of changes: first-start changes go with their container, what waits with nothing.
///
/// A stream is cut where something else has to happen in between (a cluster is made by its machine, then roles by SQL, then the
/// machine goes on): a change's stage is one more than that of whatever it needs from another stream, and changes of one stream and
/// stage are a unit. Stages only grow along needs, so units never need each other in a circle.
fn units<'a>(changes: &[&'a Change]) -> Vec<Unit<'a>> {
    let mut units: Vec<Unit<'a>> = Vec::new();
    let mut of: HashMap<&Id, (usize, usize)> = HashMap::new();
    let mut open: HashMap<(Stream<'a>, usize), usize> = HashMap::new();
    for (number, &change) in changes.iter().enumerate() {
        if matches!(
            change.action,
            Action::Wait | Action::Unknown | Action::Replace
        ) {
            continue;
        }
        let needed = || change.needs.iter().filter_map(|need| of.get(need).copied());
        if change.first_start
            && let Some((unit, stage)) = needed().next()
        {
            units[unit].changes.push(change);
            of.insert(&change.id, (unit, stage));
            continue;
        }
        let stream = match &change.place {
            Place::Sql(server, _) => Stream::Server(server),
            Place::Machine(machine) => Stream::Machine(machine),
            Place::Engine | Place::Folder => Stream::Alone(number),
        };
        let stage = needed()
            .map(|(unit, stage)| stage + usize::from(units[unit].stream != stream))
            .max()
            .unwrap_or(0);
        let unit = *open.entry((stream, stage)).or_insert_with(|| {
            units.push(Unit {
                stream,
                changes: Vec::new(),
                waits: HashSet::new(),
            });
            units.len() - 1
        });
        let waits: Vec<usize> = needed()
            .map(|(need, _)| need)
            .filter(|need| *need != unit)
            .collect();
        units[unit].waits.extend(waits);
        units[unit].changes.push(change);
        of.insert(&change.id, (unit, stage));
    }
    // One stream is one conversation: its later stages come after its earlier ones.
    for ((stream, stage), unit) in &open {
        let earlier = (0..*stage)
            .rev()
            .find_map(|stage| open.get(&(*stream, stage)));
        units[*unit].waits.extend(earlier);
    }
    units
}

/// What a unit came to.
enum End {
    Done,
    Failed(Vec<(Id, Trouble)>),
}

async fn round(run: &Run<'_>, changes: &[&Change], report: &mut Report) {
    for change in changes
        .iter()
        .filter(|change| change.action == Action::Unknown)
    {
        report
            .failed
            .push((change.id.clone(), unseen(&change.reason)));
    }
    let mut units = units(changes);
    let mut left: HashSet<usize> = (0..units.len()).collect();
    let mut running = FuturesUnordered::new();
    let mut stopped = false;
    let mut watch = run.stop.clone();
    loop {
        stopped |= *watch.borrow_and_update();
        let ready: Vec<usize> = left
            .iter()
            .copied()
            .filter(|at| !stopped && units[*at].waits.is_empty())
            .collect();
        for at in ready {
            left.remove(&at);
            let changes = units[at].changes.clone();
            let stream = units[at].stream;
            running.push(async move { (at, unit(run, &changes, stream).await) });
        }
        let Some((at, (done, end))) = running.next().await else {
            break;
        };
        report.done.extend(done.iter().cloned());
        match end {
            End::Done => units.iter_mut().for_each(|unit| {
                unit.waits.remove(&at);
            }),
            End::Failed(troubles) => {
                let named: HashSet<&Id> = done
                    .iter()
                    .chain(troubles.iter().map(|(id, _)| id))
                    .collect();
                let rest = units[at]
                    .changes
                    .iter()
                    .filter(|change| !named.contains(&change.id));
                report.not_done.extend(rest.map(|change| change.id.clone()));
                for (id, trouble) in troubles {
                    take_back(&trouble, report);
                    if trouble.unknown {
                        report.unknown.push((id, trouble));
                    } else {
                        report.failed.push((id, trouble));
                    }
                }
            }
        }
    }
    report.interrupted |= stopped;
    for at in left {
        report
            .not_done
            .extend(units[at].changes.iter().map(|change| change.id.clone()));
    }
    report.not_done.sort();
}

/// What was made in this run and is removed again was not done.
fn take_back(trouble: &Trouble, report: &mut Report) {
    for volume in &trouble.undone {
        let id = Id::short("volume", volume);
        report.done.retain(|done| *done != id);
        report.not_done.push(id);
    }
}

/// One unit, with its intent written down before it and what it came to behind it.
async fn unit(run: &Run<'_>, changes: &[&Change], stream: Stream<'_>) -> (Vec<Id>, End) {
    let ids = || changes.iter().map(|change| &change.id);
    let intent: Vec<String> = ids().map(journal::begins).collect();
    if let Err(error) = run.journal.intend(&intent) {
        let why = format!("not begun, since the journal cannot be written: {error}");
        let failed = ids().map(|id| (id.clone(), Trouble::failed(&why)));
        return (Vec::new(), End::Failed(failed.collect()));
    }
    let (done, end) = match stream {
        Stream::Server(server) => sql(run, changes, server).await,
        Stream::Machine(machine) => scripts(run, changes, machine).await,
        Stream::Alone(_) => steps(run, changes).await,
    };
    // What has no steps of its own is over with what it came with.
    let silent = changes.iter().filter(|change| change.steps.is_empty());
    let silent = silent.filter(|change| done.contains(&change.id));
    let lines = silent.map(|change| journal::ended(&change.id, State::Done));
    run.journal.note(&lines.collect::<Vec<_>>());
    if let End::Failed(troubles) = &end {
        let troubled = |id: &Id| troubles.iter().find(|(one, _)| one == id);
        let open = ids().filter(|id| !done.contains(id));
        let lines = open.map(|id| match troubled(id) {
            Some((_, trouble)) if trouble.unknown => journal::ended(id, State::Unknown),
            Some(_) => journal::ended(id, State::Failed),
            None => journal::ended(id, State::NotDone),
        });
        run.journal.note(&lines.collect::<Vec<_>>());
    }
    (done, end)
}

/// How long each change of a stream takes: from the end of the one before it, since they run one after the other.
struct Laps(Mutex<Instant>);

impl Laps {
    fn begin() -> Self {
        Laps(Mutex::new(Instant::now()))
    }

    /// The time since the last lap, or since the beginning.
    fn lap(&self) -> Duration {
        let mut last = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = Instant::now();
        now.duration_since(std::mem::replace(&mut *last, now))
    }
}

/// Says, and writes down, that a change is done.
fn finished(run: &Run<'_>, id: &Id, took: Duration) {
    run.journal.note(&[journal::ended(id, State::Done)]);
    (run.tell)(Event::Done(id.clone(), took));
}

/// The steps of a machine's changes as one stream of scripts.
#[derive(Default)]
struct Scripts {
    scripts: Vec<(Script, Duration)>,
    /// The changes a script is of: several where their steps were joined.
    owners: Vec<Vec<usize>>,
    /// The script with which each change is over: its last one, or the one before it where it has none.
    ends: Vec<Option<usize>>,
}

impl Scripts {
    /// Neighbours with the same `merge` word and the same body are one script with the words of all: one `apt-get` for all packages.
    fn new(changes: &[&Change]) -> Self {
        let mut all = Scripts::default();
        let mut word: Option<&'static str> = None;
        for (at, change) in changes.iter().enumerate() {
            for step in &change.steps {
                let Do::Script(script) = &step.does else {
                    continue;
                };
                match all.scripts.last_mut() {
                    Some((last, deadline))
                        if step.merge.is_some()
                            && step.merge == word
                            && last.body == script.body
                            && script.input.is_none() =>
                    {
                        last.words.extend(script.words.iter().cloned());
                        *deadline = (*deadline).max(step.deadline);
                    }
                    _ => {
                        all.scripts.push((script.clone(), step.deadline));
                        all.owners.push(Vec::new());
                    }
                }
                word = step.merge;
                if let Some(owners) = all.owners.last_mut()
                    && owners.last() != Some(&at)
                {
                    owners.push(at);
                }
            }
            all.ends.push(all.scripts.len().checked_sub(1));
        }
        all
    }

    /// What a machine's own journal says around each script.
    fn notes(&self, changes: &[&Change]) -> Vec<Note> {
        let mut begun: HashSet<usize> = HashSet::new();
        let id = |at: usize| changes.get(at).map(|change| &change.id);
        let scripts = self.owners.iter().zip(&self.scripts).enumerate();
        scripts
            .map(|(script, (owners, (told, _)))| {
                let new: Vec<usize> = owners
                    .iter()
                    .copied()
                    .filter(|at| begun.insert(*at))
                    .collect();
                // What may lock us out is done when a new connection says so.
                let ended = self.ended(script).filter(|_| told.guard.is_none());
                Note::new(
                    new.into_iter().filter_map(id),
                    ended.filter_map(id),
                    owners.iter().copied().filter_map(id),
                )
            })
            .collect()
    }

    /// The changes that have begun and are not over before a script.
    fn half_way(&self, next: usize) -> impl Iterator<Item = usize> {
        let begun: HashSet<usize> = self.owners.iter().take(next).flatten().copied().collect();
        let over = move |at: &usize| self.ends[*at].is_none_or(|end| end < next);
        (0..self.ends.len()).filter(move |at| begun.contains(at) && !over(at))
    }

    /// The changes that are over when a script is.
    fn ended(&self, script: usize) -> impl Iterator<Item = usize> {
        let owners = self.owners.get(script).into_iter().flatten().copied();
        owners.filter(move |at| self.ends[*at] == Some(script))
    }
}

/// Of a change of which only the first steps were done.
fn half_way() -> Trouble {
    Trouble::unknown("it was stopped between two of its steps").kind(Kind::Interrupted)
}

/// A machine's changes down one session, in order, up to the first that fails.
async fn scripts(run: &Run<'_>, changes: &[&Change], machine: &str) -> (Vec<Id>, End) {
    let laps = Laps::begin();
    let all = Scripts::new(changes);
    let begin = |at: usize| {
        if let Some(change) = changes.get(at)
            && let Some(step) = change.steps.first()
        {
            (run.tell)(Event::Begin(change.id.clone(), step.says.clone()));
        }
    };
    let done = Mutex::new(0usize);
    let heard = |script: usize| {
        let mut done = done
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *done = (*done).max(script + 1);
        for at in all.ended(script) {
            finished(run, &changes[at].id, laps.lap());
        }
        if let Some(next) = all.owners.get(script + 1).and_then(|owners| owners.first()) {
            begin(*next);
        }
    };
    begin(0);
    let ids = |upto: usize| -> Vec<Id> {
        (0..changes.len())
            .filter(|at| all.ends[*at].is_none_or(|end| end < upto))
            .map(|at| changes[at].id.clone())
            .collect()
    };
    if all.scripts.is_empty() {
        return (ids(0), End::Done);
    }
    let stop = Some(&run.stop);
    let notes = all.notes(changes);
    match run
        .target
        .run(machine, &all.scripts, &notes, stop, &heard)
        .await
    {
        Ok(()) => (ids(all.scripts.len()), End::Done),
        Err((next, trouble)) if trouble.kind == Kind::Interrupted => {
            let half = all
                .half_way(next)
                .map(|at| (changes[at].id.clone(), half_way()));
            (ids(next), End::Failed(half.collect()))
        }
        Err((script, trouble)) => {
            let sent = all.owners.iter().skip(script).take(1 + trouble.ahead);
            let failed = troubled(run, changes, sent.flatten(), &trouble);
            (ids(script), End::Failed(failed))
        }
    }
}

/// Changes with the trouble that the first of them met: of one that nobody knows the end of, also what was sent behind it. Each is
/// told.
fn troubled<'a>(
    run: &Run<'_>,
    changes: &[&Change],
    sent: impl Iterator<Item = &'a usize>,
    trouble: &Trouble,
) -> Vec<(Id, Trouble)> {
    let mut sent: Vec<usize> = sent.copied().collect();
    // A change whose steps stand side by side is named once.
    sent.dedup();
    let sent = sent.into_iter().filter_map(|at| changes.get(at));
    sent.map(|change| {
        (run.tell)(Event::Failed(change.id.clone(), trouble.message.clone()));
        (change.id.clone(), trouble.clone())
    })
    .collect()
}

/// A change of the engine or of a file, with what its first start makes.
async fn steps(run: &Run<'_>, changes: &[&Change]) -> (Vec<Id>, End) {
    let Some((first, inside)) = changes.split_first() else {
        return (Vec::new(), End::Done);
    };
    let begun = Instant::now();
    let mut last: Option<Effect> = None;
    for step in &first.steps {
        // Of a step before the last one nothing is written down.
        if let Some(effect) = last.take() {
            effect.at(Point::After);
        }
        (run.tell)(Event::Begin(first.id.clone(), step.says.clone()));
        let talk = |line: &str| (run.tell)(Event::Talk(first.id.clone(), line.to_owned()));
        let effect = Effect::begin();
        let acted = run
            .target
            .act(&first.place, &step.does, step.deadline, &talk)
            .await;
        effect.at(Point::Between);
        if let Err(trouble) = acted {
            (run.tell)(Event::Failed(first.id.clone(), trouble.message.clone()));
            return (Vec::new(), End::Failed(vec![(first.id.clone(), trouble)]));
        }
        last = Some(effect);
    }
    finished(run, &first.id, begun.elapsed());
    if let Some(effect) = last {
        effect.at(Point::After);
    }
    let done = std::iter::once(first)
        .chain(inside)
        .map(|change| change.id.clone())
        .collect();
    (done, End::Done)
}

/// All SQL of a server in one trip; reloads and restarts once, at its end.
async fn sql(run: &Run<'_>, changes: &[&Change], server: &Server) -> (Vec<Id>, End) {
    let laps = Laps::begin();
    let changes = &gathered(changes)[..];
    let batch = Batch::new(changes);
    let done = Mutex::new(0usize);
    if let Some(first) = changes.first() {
        let says = first.steps.first().map_or("", |step| step.says.as_str());
        (run.tell)(Event::Begin(first.id.clone(), says.to_owned()));
    }
    let heard = |index: usize| {
        let mut done = done
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *done = (*done).max(index + 1);
        // What wants a restart is over with that.
        if let Some(&at) = batch.ends.get(&index)
            && !batch.restarts.contains(&at)
        {
            finished(run, &changes[at].id, laps.lap());
            let next = changes
                .get(at + 1)
                .and_then(|next| Some((next, next.steps.first()?)));
            if let Some((next, step)) = next {
                (run.tell)(Event::Begin(next.id.clone(), step.says.clone()));
            }
        }
    };
    let result = match batch.steps.is_empty() {
        true => Ok(()),
        false => {
            run.target
                .sql(server, &batch.steps, batch.deadline, &heard)
                .await
        }
    };
    let ended = |upto: usize| -> Vec<Id> {
        let whole = |at: &usize| {
            batch
                .ends
                .iter()
                .any(|(index, change)| change == at && *index < upto)
        };
        let restarts = |at: &usize| batch.restarts.contains(at);
        (0..changes.len())
            .filter(|at| whole(at) && !restarts(at))
            .map(|at| changes[at].id.clone())
            .collect()
    };
    if let Err((index, trouble)) = result {
        let sent = batch.owners.iter().skip(index).take(1 + trouble.ahead);
        let failed = troubled(run, changes, sent, &trouble);
        return (ended(index), End::Failed(failed));
    }
    if let Some((at, step)) = batch.restart {
        let id = changes[at].id.clone();
        (run.tell)(Event::Begin(id.clone(), step.says.clone()));
        let talk = |line: &str| (run.tell)(Event::Talk(id.clone(), line.to_owned()));
        if let Err(trouble) = run
            .target
            .act(&changes[at].place, &Do::Restart, step.deadline, &talk)
            .await
        {
            (run.tell)(Event::Failed(id.clone(), trouble.message.clone()));
            return (ended(batch.steps.len()), End::Failed(vec![(id, trouble)]));
        }
        for at in &batch.restarts {
            finished(run, &changes[*at].id, laps.lap());
        }
    }
    (
        changes.iter().map(|change| change.id.clone()).collect(),
        End::Done,
    )
}

/// Changes in an order with few changes of database. What is removed keeps its place: what comes before a removal stays before it.
fn gathered<'a>(changes: &[&'a Change]) -> Vec<&'a Change> {
    let stays = |change: &Change| change.action == Action::Remove;
    let runs = changes.chunk_by(|one, next| !stays(one) && !stays(next));
    runs.flat_map(|run| {
        let order = graph::gathered(
            run,
            |change| &change.id,
            |change| &change.needs,
            |change| change.place.database().map(String::as_str),
        );
        order.into_iter().map(|at| run[at])
    })
    .collect()
}

/// The SQL of a server's changes as one stream.
struct Batch<'a> {
    steps: Vec<SqlStep>,
    /// The change each step is of.
    owners: Vec<usize>,
    /// The last step of a change, and the change.
    ends: HashMap<usize, usize>,
    /// The changes that want a restart, and the one restart for all of them.
    restarts: HashSet<usize>,
    restart: Option<(usize, &'a Step)>,
    deadline: Duration,
}

impl<'a> Batch<'a> {
    fn new(changes: &[&'a Change]) -> Self {
        let mut batch = Batch {
            steps: Vec::new(),
            owners: Vec::new(),
            ends: HashMap::new(),
            restarts: HashSet::new(),
            restart: None,
            deadline: Duration::from_secs(30),
        };
        let mut merged: Vec<(&'static str, usize, SqlStep)> = Vec::new();
        for (at, change) in changes.iter().enumerate() {
            let first = batch.steps.len();
            for step in &change.steps {
                batch.deadline += step.deadline;
                match (&step.does, step.merge) {
                    (Do::Restart, _) => {
                        batch.restarts.insert(at);
                        batch.restart.get_or_insert((at, step));
                    }
                    (Do::Sql { text, transaction }, merge) => {
                        let one = SqlStep {
                            database: change.place.database().cloned(),
                            text: text.clone(),
                            transaction: *transaction,
                            remember: None,
                            forget: None,
                        };
                        match merge {
                            None => batch.push(at, one),
                            Some(word) if merged.iter().any(|(other, ..)| *other == word) => {}
                            Some(word) => merged.push((word, at, one)),
                        }
                    }
                    _ => {}
                }
            }
            batch.note(at, change, first);
        }
        // A restart reads everything again: then no reload is needed.
        if batch.restart.is_none() {
            for (_, at, one) in merged {
                batch.push(at, one);
            }
        }
        batch
    }

    fn push(&mut self, at: usize, step: SqlStep) {
        self.steps.push(step);
        self.owners.push(at);
    }

    /// The ledger's entry of a change goes with its last step.
    fn note(&mut self, at: usize, change: &Change, first: usize) {
        if self.steps.len() == first && change.ledger.is_some() {
            let empty = SqlStep {
                database: change.place.database().cloned(),
                text: crate::command::Text::default(),
                transaction: true,
                remember: None,
                forget: None,
            };
            self.push(at, empty);
        }
        let end = self.steps.len().saturating_sub(1);
        if self.steps.len() > first {
            self.ends.insert(end, at);
        }
        let (Some((id, digest)), Some(last)) = (&change.ledger, self.steps.get_mut(end)) else {
            return;
        };
        if change.action == Action::Remove {
            last.forget = Some(id.clone());
        } else {
            last.remember = Some((id.clone(), digest.clone()));
        }
    }
}

/// Probes every container that was touched, or whose insides were, all at once. `now`: what is still planned.
async fn probe(run: &Run<'_>, touched: &HashSet<Id>, now: &Plan, report: &mut Report) {
    let probes = plan::probes(run.resources, touched);
    let mut running: FuturesUnordered<_> = probes
        .into_iter()
        .map(|(id, probe)| async move {
            (run.tell)(Event::Probing(id.clone()));
            let result = match probe {
                Probe::Login { server, .. } => log_in(run, server, now).await,
                _ => {
                    patient(run, async || match run.target.probe(probe).await {
                        Ok(()) => Tried::Works,
                        Err(why) => Tried::NotYet(why),
                    })
                    .await
                }
            };
            (id, probe, result)
        })
        .collect();
    while let Some((id, probe, result)) = running.next().await {
        let Err(message) = result else { continue };
        if *run.stop.borrow() {
            // Nobody waited until it works.
            report.interrupted = true;
            continue;
        }
        let log = run.target.log_tail(probe, LOG_LINES).await;
        let trouble = Trouble::failed(message).kind(Kind::Unhealthy).log(log);
        report.unhealthy.push((id.clone(), trouble));
    }
}

/// What came of trying whether something works.
enum Tried {
    Works,
    /// It does not, and may soon.
    NotYet(String),
    /// It does not, and the server says why: that seldom passes by itself.
    Refused(String),
}

/// Tries until it works, patience ends, or the user does not want to wait.
async fn patient(run: &Run<'_>, tries: impl AsyncFn() -> Tried) -> Result<(), String> {
    let begun = Instant::now();
    let mut pause = Duration::from_millis(50);
    loop {
        let (why, patience) = match tries().await {
            Tried::Works => return Ok(()),
            Tried::NotYet(why) => (why, PROBE_PATIENCE),
            Tried::Refused(why) => (why, REFUSAL_PATIENCE),
        };
        if begun.elapsed() > patience || *run.stop.borrow() {
            return Err(why);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

/// One login for each declared user of a server, some at the same time; of those that fail, how many and the first of them.
async fn log_in(run: &Run<'_>, server: &Server, now: &Plan) -> Result<(), String> {
    let logins: Vec<LogIn> = (run.logins)(server)
        .into_iter()
        .filter_map(|check| match check.does {
            Does::LogIn(login) => Some(*login),
            _ => None,
        })
        .collect();
    let tried = futures_util::stream::iter(&logins)
        .map(|login| async move {
            let failed = patient(run, || try_login(run, login, now)).await;
            failed.err().map(|why| (login, why))
        })
        .buffered(LOGINS_AT_ONCE);
    let failed: Vec<(&LogIn, String)> = tried.filter_map(std::future::ready).collect().await;
    let Some((login, why)) = failed.first() else {
        return Ok(());
    };
    let more = match failed.len() - 1 {
        0 => String::new(),
        1 => "; neither does another login work as declared".to_owned(),
        more => format!("; {more} other logins do not work as declared either"),
    };
    let (service, user) = (&server.service, &login.user);
    Err(match login.wanted.succeeds() {
        true => format!("`{service}` does not let `{user}` in: {why}{more}"),
        false => format!("`{service}`: {why}{more}"),
    })
}

async fn try_login(run: &Run<'_>, login: &LogIn, now: &Plan) -> Tried {
    let came = run.target.log_in(login).await;
    let refused = came.as_ref().is_err_and(|denial| denial.refused);
    let definite = came.is_ok() || (refused && !login.is_passing(&came));
    match login.in_light_of(now, login.judge(came)) {
        Verdict::Failed(why) if definite => Tried::Refused(why),
        Verdict::Failed(why) => Tried::NotYet(why),
        Verdict::Fine | Verdict::Skipped(_) => Tried::Works,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_takes_the_time_since_the_one_before_it() {
        let began = Instant::now();
        let laps = Laps::begin();
        std::thread::sleep(Duration::from_millis(20));
        let first = laps.lap();
        let second = laps.lap();
        let whole = began.elapsed();
        assert!(first >= Duration::from_millis(20), "{first:?}");
        // Together they are no more than what went by: none is counted from the beginning.
        assert!(
            first + second <= whole,
            "{first:?} + {second:?} > {whole:?}"
        );
    }

    #[test]
    fn nothing_is_made_that_needs_what_cannot_be_seen() {
        let change = |id: &str, action, needs: &[&str]| Change {
            needs: needs.iter().map(|need| Id::parse(need)).collect(),
            ..Change::of(
                Id::parse(id),
                Place::Engine,
                action,
                String::new(),
                Vec::new(),
            )
        };
        let changes = [
            change("volume.a", Action::Unknown, &[]),
            change("volume.b", Action::Create, &[]),
            change("container.a", Action::Create, &["volume.a"]),
            change("container.b", Action::Create, &["volume.b"]),
            change("postgres_role.a:x", Action::Create, &["container.a"]),
        ];
        let changes: Vec<&Change> = changes.iter().collect();
        let mut held: Vec<Id> = held(&changes).into_iter().collect();
        held.sort();
        assert_eq!(held, ["container.a", "postgres_role.a:x"].map(Id::parse));
    }
}
