//! Judging answers: what is wanted, what was found, and so what would be done. Pure: a plan is a value.

pub mod adoption;
pub mod destruction;
pub mod journal;
pub mod memory;
mod roles;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::command::{Answer, Answers, Place, Rows};
use crate::declaration::Generated;
use crate::error;
use crate::ledger;
use crate::plan::memory::{Kept, Last, Memories};
use crate::resource::{
    Awaited, Field, Foreign, Id, Impact, Probe, Removal, Resource, Same, Step, Thing,
};
use crate::resources::owner::Owner;

/// What a change does to its resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It does not exist and is made.
    Create,
    /// It exists and is altered.
    Update,
    /// It is made anew in place of the old one.
    Recreate,
    /// It cannot be altered without dump and restore; refused.
    Replace,
    /// It is ours and no longer declared.
    Remove,
    /// It cannot be seen before something else is done.
    Wait,
    /// It cannot be seen, and nothing planned would change that.
    Unknown,
}

impl Action {
    /// One word, as in the JSON.
    pub fn word(self) -> &'static str {
        match self {
            Action::Create => "create",
            Action::Update => "update",
            Action::Recreate => "recreate",
            Action::Replace => "replace",
            Action::Remove => "remove",
            Action::Wait => "wait",
            Action::Unknown => "unknown",
        }
    }
}

/// Who moved, where a field differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// The file says something else than what was last applied.
    File,
    /// The machine is no longer as it was applied.
    Machine,
    /// The file says something else, and the machine is no longer as it was applied either.
    Both,
    /// Nobody remembers.
    Unknown,
}

impl Moved {
    /// One word, as in the JSON.
    pub fn word(self) -> &'static str {
        match self {
            Moved::File => "file",
            Moved::Machine => "machine",
            Moved::Both => "both",
            Moved::Unknown => "unknown",
        }
    }
}

/// When a machine moved, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// Then: the machine can tell.
    At(i64),
    /// After that: it was last seen as wanted then.
    After(i64),
}

/// What holds: by resource and field, as it is shown.
pub type Record = BTreeMap<String, BTreeMap<String, Last>>;

/// A differing field, with where its value comes from and who moved.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The field.
    pub field: Field,
    /// `local.toml:24`, or `default`.
    pub origin: String,
    /// Who moved.
    pub moved: Moved,
    /// Since when, where it is the machine that moved and that can be known.
    pub since: Option<Since>,
    /// As found and as wanted, where it is a text of many lines that may be shown.
    pub texts: Option<(String, String)>,
}

/// One change of a plan.
#[derive(Clone, Debug)]
pub struct Change {
    /// What is changed.
    pub id: Id,
    /// Where it lives.
    pub place: Place,
    /// What is done to it.
    pub action: Action,
    /// The fields that differ.
    pub fields: Vec<Difference>,
    /// Why, in a few words.
    pub reason: String,
    /// What it costs.
    pub impact: Impact,
    /// Changes that come before it.
    pub needs: Vec<Id>,
    /// What is done, in order; none for what the container's first start does by itself.
    pub steps: Vec<Step>,
    /// Done by the first start of its server's container, from the rendered first-start SQL.
    pub first_start: bool,
    /// Its entry in the server's ledger, and the digest kept with it.
    pub ledger: Option<(String, String)>,
}

impl Change {
    /// A change that is its steps: no fields, no needs, no ledger; as costly as the costliest step.
    pub(crate) fn of(
        id: Id,
        place: Place,
        action: Action,
        reason: String,
        steps: Vec<Step>,
    ) -> Self {
        let impact = steps.iter().map(|step| step.impact).max();
        Change {
            id,
            place,
            action,
            fields: Vec::new(),
            reason,
            impact: impact.unwrap_or(Impact::None),
            needs: Vec::new(),
            steps,
            first_start: false,
            ledger: None,
        }
    }
}

/// Why a plan must not be carried out.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Makes the exit code.
    pub kind: error::Kind,
    /// About what.
    pub id: Id,
    /// One sentence.
    pub message: String,
    /// What to try.
    pub hints: Vec<String>,
}

/// A machine that could not be asked.
#[derive(Clone, Debug)]
pub struct Unseen {
    /// The machine.
    pub machine: String,
    /// Why, and what to try next.
    pub failure: error::Failure,
    /// How many resources are on it.
    pub resources: usize,
}

/// What would be done, in order.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The changes, each after what it needs.
    pub changes: Vec<Change>,
    /// How many resources are as wanted.
    pub as_wanted: usize,
    /// Why it must not be carried out.
    pub refusals: Vec<Refusal>,
    /// Things of ours that hold data and are no longer declared: reported, never removed.
    pub orphans: Vec<Id>,
    /// What a machine remembers, nobody declares any more, and stays as it is: it was there before us, or nothing can undo it.
    pub released: Vec<Id>,
    /// What stays where all else is destroyed, since something that is kept needs it.
    pub needed: Vec<Id>,
    /// What a machine remembers, nobody declares any more, and is no longer there.
    pub gone: Vec<Id>,
    /// What waits for something that somebody else makes, and for what. That is no difference: nothing can be done about it here.
    pub waiting: Vec<(Id, Awaited)>,
    /// Changes that [`Plan::only`] left out.
    pub left_out: Vec<Id>,
    /// Machines that could not be asked: what is on them is neither wanted nor changed here.
    pub unseen: Vec<Unseen>,
    /// What holds now, field by field, for the record: only of resources that are as wanted.
    pub settled: Record,
}

impl Plan {
    /// Whether nothing is left to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.unseen.is_empty()
    }

    /// Takes out what is on a machine that could not be asked: said once, not for every resource.
    pub fn lose(&mut self, machine: &str, failure: error::Failure) {
        let is_on = |place: &Place| place.machine().is_some_and(|name| **name == *machine);
        let before = self.changes.len();
        self.changes
            .retain(|change| change.action != Action::Unknown || !is_on(&change.place));
        self.unseen.push(Unseen {
            machine: machine.to_owned(),
            failure,
            resources: before - self.changes.len(),
        });
    }

    /// Keeps only the named changes and what they need.
    pub fn only(mut self, ids: &[Id]) -> Self {
        let mut keep: HashSet<Id> = ids.iter().cloned().collect();
        for change in self.changes.iter().rev() {
            if keep.contains(&change.id) {
                keep.extend(change.needs.iter().cloned());
            }
        }
        // What a container's first start makes comes with it.
        for change in &self.changes {
            if change.first_start && change.needs.iter().any(|need| keep.contains(need)) {
                keep.insert(change.id.clone());
            }
        }
        let (kept, left_out) = std::mem::take(&mut self.changes)
            .into_iter()
            .partition(|change| keep.contains(&change.id));
        self.changes = kept;
        self.left_out
            .extend(left_out.into_iter().map(|change: Change| change.id));
        self.refusals.retain(|refusal| keep.contains(&refusal.id));
        let (waiting, left_out) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|(id, _)| keep.contains(id));
        self.waiting = waiting;
        let left_out: Vec<(Id, Awaited)> = left_out;
        self.left_out.extend(left_out.into_iter().map(|(id, _)| id));
        self
    }
}

/// What judging needs beside the answers.
#[derive(Clone, Debug, Default)]
pub struct Judging {
    /// What was last applied.
    pub memories: Memories,
    /// Things holding data that may be destroyed, by exact id.
    pub destroy_data: Vec<Id>,
    /// The environment's name, as the user wrote it, for commands in hints.
    pub environment: String,
    /// Whose the things of this environment are.
    pub owner: Owner,
    /// The secrets that were made for this environment.
    pub generated: Vec<Generated>,
    /// Those of them that may take the place of what was applied before, by their place in the file.
    pub replace_secrets: Vec<String>,
    /// What this run has done: what nobody can compare then is as declared.
    pub done: Vec<Id>,
}

/// Judges the answers for resources in graph order.
pub fn judge(resources: &[Resource], answers: &Answers, judging: &Judging) -> Plan {
    let mut plan = Plan::default();
    let mut judge = Judge {
        answers,
        judging,
        changed: HashMap::new(),
        fresh: HashSet::new(),
        created: HashSet::new(),
        renamed: HashMap::new(),
    };
    for resource in resources {
        judge.resource(resource, &mut plan);
    }
    judge.removals(resources, &mut plan);
    crate::guards::check(resources, answers, judging, &mut plan);
    plan
}

/// What a hidden field says of what is wanted.
const HIDDEN: &str = "as declared";

/// A field's wanted form, as it is remembered: the shown one, so never a secret; of a hidden one a few bits more, by which it can
/// be told whether the declaration changed.
fn wanted(thing: &Thing, field: &Field) -> String {
    let shown = field.to.as_deref().unwrap_or_default();
    match thing.mark(&field.name).filter(|_| shown == HIDDEN) {
        Some(mark) => format!("{shown} ({mark})"),
        None => shown.to_owned(),
    }
}

/// A field as it is remembered.
fn last(thing: &Thing, field: &Field) -> Last {
    let shown = field.to.as_deref().unwrap_or_default();
    Last {
        wanted: wanted(thing, field),
        found: field.from.clone().filter(|from| from != shown),
    }
}

/// Who moved, where a field differs.
fn moved(thing: &Thing, field: &Field, kept: Option<&Kept>) -> Moved {
    let Some(kept) = kept else {
        return Moved::Unknown;
    };
    let wanted = wanted(thing, field);
    let shown = |text: &Option<String>| text.clone().unwrap_or_default();
    match kept.fields.get(&*field.name) {
        // Without the few bits nobody can say which of the two it was.
        Some(last) if last.wanted == HIDDEN => Moved::Unknown,
        Some(last) if last.wanted == wanted => Moved::Machine,
        // What was found is not shown, so it may have been changed as well.
        Some(_) if field.from.as_deref() == Some("differs") => Moved::File,
        Some(last) if shown(&field.from) == last.found() => Moved::File,
        Some(_) => Moved::Both,
        // A member that is there and was never wanted.
        None if field.to.is_none() && kept.was_whole() => Moved::Machine,
        None => Moved::Unknown,
    }
}

/// Since when a field of a machine differs.
fn since(field: &Field, found: Option<&Thing>, kept: Option<&Kept>) -> Option<Since> {
    if let Some(at) = found.and_then(|found| found.changed(&field.name)) {
        return Some(Since::At(at));
    }
    let at: jiff::Timestamp = kept?.at.parse().ok()?;
    Some(Since::After(at.as_second()))
}

/// A field that nobody can compare differs all the same where something else was declared the last time.
fn remembered(thing: &Thing, mut fields: Vec<Field>, kept: Option<&Kept>) -> (Vec<Field>, bool) {
    let mut again = false;
    for field in fields
        .iter_mut()
        .filter(|field| field.same == Same::Unknown)
    {
        let last = kept.and_then(|kept| kept.fields.get(&*field.name));
        if last.is_some_and(|last| last.wanted != HIDDEN && last.wanted != wanted(thing, field)) {
            field.same = Same::No;
            again = true;
        }
    }
    (fields, again)
}

/// What was found of a thing.
pub(crate) enum Found {
    /// Nothing.
    Absent,
    /// This.
    There(Thing),
    /// Its place is down.
    Down(String),
    /// It cannot be told.
    Unreadable(String),
}

/// Reads a thing from the answers.
pub(crate) fn find(thing: &Thing, place: &Place, answers: &Answers) -> Found {
    match answers.get(place, thing.question()) {
        None => Found::Unreadable("it was not asked".to_owned()),
        Some(Answer::Absent) => Found::Absent,
        Some(Answer::Down(why)) => Found::Down(why.clone()),
        Some(Answer::Unreadable(why)) => Found::Unreadable(why.clone()),
        Some(Answer::Rows(rows)) => match thing.read(rows.of(&thing.row_key())) {
            Ok(None) => renamed(thing, rows),
            Ok(Some(found)) => Found::There(found),
            Err(why) => Found::Unreadable(why),
        },
    }
}

/// What has the name that a thing had before.
fn renamed(thing: &Thing, rows: &Rows) -> Found {
    let old = thing.was().and_then(|was| Thing::named(thing.kind(), &was));
    match old.map(|old| old.read(rows.of(&old.row_key()))) {
        Some(Ok(Some(found))) => Found::There(found),
        Some(Err(why)) => Found::Unreadable(why),
        Some(Ok(None)) | None => Found::Absent,
    }
}

/// Whether something is among what was found, by its name or, where a server folds names, by the folded one.
fn is_there(rows: &Rows, key: &str) -> bool {
    let folded = || {
        let rows = rows.of(&key.to_lowercase());
        rows.iter().any(|row| match row.get("folded") {
            Some(serde_json::Value::Bool(folded)) => *folded,
            Some(value) => value.as_i64() == Some(1),
            None => false,
        })
    };
    !rows.of(key).is_empty() || folded()
}

struct Judge<'a> {
    answers: &'a Answers,
    judging: &'a Judging,
    /// Resources that have a change, and whether it is a wait.
    changed: HashMap<Id, bool>,
    /// Containers whose data volume is new: their first start makes everything inside.
    fresh: HashSet<Id>,
    created: HashSet<Id>,
    /// What gets another name: what hangs on it is seen once it has it.
    renamed: HashMap<Id, String>,
}

impl Judge<'_> {
    fn resource(&mut self, resource: &Resource, plan: &mut Plan) {
        let missing = self.missing(resource);
        if missing.is_empty() {
            return self.whole(resource, plan);
        }
        let found = match find(&resource.thing, &resource.place, self.answers) {
            Found::There(found) => Some(found),
            _ => None,
        };
        let lacking = resource.thing.waits_for(found.as_ref());
        let waiting = missing.iter().filter(|one| lacking.contains(one)).cloned();
        let waiting = waiting.map(|one| (resource.id.clone(), one));
        plan.waiting.extend(waiting);
        let part = Resource {
            thing: resource.thing.without(&missing, found.as_ref()),
            ..resource.clone()
        };
        self.whole(&part, plan);
    }

    /// What a resource awaits and is not there. Where that cannot be told nothing is missing: a grant then fails, and says why.
    fn missing(&self, resource: &Resource) -> Vec<Awaited> {
        let mut awaited = resource.thing.waits_for(None);
        awaited.retain(|one| {
            match self.answers.get(&resource.place, one.question.name) {
                Some(Answer::Rows(rows)) => !is_there(rows, &one.key),
                // Its database, or its server, is yet to be made.
                Some(Answer::Absent) => true,
                Some(Answer::Down(_)) => {
                    resource.needs.iter().any(|need| self.fresh.contains(need))
                }
                Some(Answer::Unreadable(_)) | None => false,
            }
        });
        awaited
    }

    fn whole(&mut self, resource: &Resource, plan: &mut Plan) {
        let change = match find(&resource.thing, &resource.place, self.answers) {
            // The server-wide ledger outlives a database, what its scripts made does not.
            Found::There(_) if self.gone_with_its_database(resource) => {
                self.compare(resource, None, plan)
            }
            Found::There(found) => {
                let old = found.key().into_owned();
                let renamed = resource.thing.was().is_some_and(|was| was == old);
                let change = self.compare(resource, Some(&found), plan);
                match self.hangs_on(resource) {
                    // What names the old one is seen as it should be once that has its new name.
                    Some(old) if change.is_some() && !renamed => {
                        let why = format!("`{old}` is renamed first");
                        Some(self.unseen(resource, Action::Wait, why))
                    }
                    _ => {
                        if renamed && change.is_some() {
                            self.renamed.insert(resource.id.clone(), old);
                        }
                        change
                    }
                }
            }
            Found::Absent if self.hangs_on(resource).is_some() => {
                let old = self.hangs_on(resource).unwrap_or_default();
                Some(self.unseen(resource, Action::Wait, format!("`{old}` is renamed first")))
            }
            Found::Absent => self.compare(resource, None, plan),
            Found::Down(_) if resource.needs.iter().any(|need| self.fresh.contains(need)) => {
                let change = self.compare(resource, None, plan);
                // Whoever needs this one sees a fresh server too.
                change.map(|change| Change {
                    steps: Vec::new(),
                    first_start: true,
                    reason: "made by the container's first start".to_owned(),
                    ..change
                })
            }
            Found::Down(why) => Some(self.unseen(resource, Action::Wait, why)),
            Found::Unreadable(why) => Some(self.unseen(resource, Action::Unknown, why)),
        };
        let Some(mut change) = change else {
            plan.as_wanted += 1;
            return;
        };
        if change.action == Action::Create {
            self.created.insert(resource.id.clone());
        }
        if let (Action::Create, Thing::Container(container)) = (change.action, &resource.thing) {
            let volumes: Vec<_> = resource
                .needs
                .iter()
                .filter(|need| need.kind() == "volume")
                .collect();
            if !volumes.is_empty() && volumes.iter().all(|volume| self.created.contains(*volume)) {
                self.fresh.insert(resource.id.clone());
                change.steps = container.first_starts(change.steps);
            }
        }
        if change.first_start {
            self.fresh.insert(resource.id.clone());
        }
        self.changed
            .insert(resource.id.clone(), change.action == Action::Wait);
        plan.changes.push(change);
    }

    /// The old name of what a thing is inside of, or about, if that is renamed.
    fn hangs_on(&self, resource: &Resource) -> Option<&str> {
        let inside = match &resource.place {
            Place::Sql(server, Some(database)) => {
                Some(Id::new("postgres_database", &server.service, database))
            }
            _ => None,
        };
        let mut on = resource.needs.iter().chain(&inside);
        on.find_map(|id| self.renamed.get(id)).map(String::as_str)
    }

    fn gone_with_its_database(&self, resource: &Resource) -> bool {
        let Thing::MariadbScript(script) = &resource.thing else {
            return false;
        };
        let Place::Sql(server, _) = &resource.place else {
            return false;
        };
        let database = Id::new("mariadb_database", &server.service, &script.database);
        self.created.contains(&database)
    }

    fn unseen(&self, resource: &Resource, action: Action, why: String) -> Change {
        Change {
            id: resource.id.clone(),
            place: resource.place.clone(),
            action,
            fields: Vec::new(),
            reason: why,
            impact: Impact::None,
            needs: self.needs(resource),
            steps: Vec::new(),
            first_start: false,
            ledger: None,
        }
    }

    fn needs(&self, resource: &Resource) -> Vec<Id> {
        resource
            .needs
            .iter()
            .filter(|need| self.changed.contains_key(*need))
            .cloned()
            .collect()
    }

    fn compare(
        &self,
        resource: &Resource,
        found: Option<&Thing>,
        plan: &mut Plan,
    ) -> Option<Change> {
        let fields = resource.thing.fields(found);
        let exists = found.is_some_and(Thing::exists);
        if let Some(why) = found.and_then(Thing::foreign) {
            plan.refusals.push(foreign(&resource.id, why, self.judging));
            return Some(self.unseen(
                resource,
                Action::Unknown,
                "somebody else's thing has its name".to_owned(),
            ));
        }
        let record = self.judging.memories.kept(&resource.id, &resource.place);
        let done = self.judging.done.contains(&resource.id);
        let (fields, again) = remembered(&resource.thing, fields, record.filter(|_| !done));
        if exists && fields.iter().all(|field| field.same != Same::No) {
            let settled = fields
                .iter()
                .map(|field| (field.name.to_string(), last(&resource.thing, field)))
                .collect();
            plan.settled.insert(resource.id.to_string(), settled);
            return None;
        }
        let mut impact = Impact::None;
        let mut differences = Vec::new();
        for field in fields.into_iter().filter(|field| field.same == Same::No) {
            if exists {
                impact = impact.max(field.impact);
            }
            let moved = moved(&resource.thing, &field, record);
            let since = match moved {
                Moved::Machine | Moved::Both => since(&field, found, record),
                Moved::File | Moved::Unknown => None,
            };
            let origin = resource.origin(&field.name).short();
            let texts = found.and_then(|found| resource.thing.texts(&field.name, found));
            differences.push(Difference {
                field,
                origin,
                moved,
                since,
                texts,
            });
        }
        let mut steps = resource.thing.steps(found);
        if again && steps.is_empty() {
            // Nobody can see whether it holds, so it is said as for a new one.
            steps = resource.thing.steps(None);
        }
        impact = steps
            .iter()
            .map(|step| step.impact)
            .filter(|_| exists)
            .fold(impact, Impact::max);
        let action = match (exists, impact) {
            (false, _) => Action::Create,
            (true, Impact::DataRisk) => Action::Replace,
            (true, Impact::Recreate) => Action::Recreate,
            (true, _) => Action::Update,
        };
        if let (Action::Replace, Some(found)) = (action, found) {
            let names: Vec<_> = differences
                .iter()
                .filter(|difference| difference.field.impact == Impact::DataRisk)
                .map(|difference| {
                    let field = &difference.field;
                    let shown =
                        |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
                    format!(
                        "{} {} -> {}",
                        field.name,
                        shown(&field.from),
                        shown(&field.to)
                    )
                })
                .collect();
            plan.refusals.push(Refusal {
                kind: error::Kind::Data,
                id: resource.id.clone(),
                message: format!(
                    "`{}` cannot be altered without risking its data: {}",
                    resource.id,
                    names.join(", ")
                ),
                hints: resource.thing.recipe(found),
            });
        }
        let was_there = record.is_some_and(|kept| !kept.fields.is_empty());
        let reason = match (action, was_there) {
            (Action::Create, false) => "not there",
            (Action::Create, true) => "gone from the machine",
            _ => "differs",
        };
        Some(Change {
            id: resource.id.clone(),
            place: resource.place.clone(),
            action,
            fields: differences,
            reason: reason.to_owned(),
            impact,
            needs: self.needs(resource),
            steps,
            first_start: false,
            ledger: self.entry(resource),
        })
    }

    /// What the ledger of its server is to keep of a thing: a script's digest, and of all else whose it is.
    fn entry(&self, resource: &Resource) -> Option<(String, String)> {
        let (id, digest) = resource.ledger_entry()?;
        let mark = match digest.is_empty() {
            true => self.judging.owner.mark(),
            false => digest,
        };
        Some((id, mark))
    }

    /// What is ours by a ledger or a label, and no longer declared.
    fn removals(&self, resources: &[Resource], plan: &mut Plan) {
        let mut wanted: HashSet<(Place, String)> = HashSet::new();
        let mut places = BTreeSet::new();
        for resource in resources {
            places.insert(resource.place.clone());
            wanted.insert((resource.place.clone(), resource.thing.ledger_id()));
            if let Some(was) = resource.thing.was() {
                let old = ledger::id(resource.thing.kind(), &was);
                wanted.insert((resource.place.clone(), old));
            }
            // A database, or a server, in which nothing is declared any more may still hold what we made.
            if let (Thing::PostgresDatabase(database), Place::Sql(server, None)) =
                (&resource.thing, &resource.place)
            {
                let inside = Some(database.name.clone());
                places.insert(Place::Sql(std::sync::Arc::clone(server), inside));
            }
            if let Some(Probe::Login { server, .. }) = &resource.probe {
                places.insert(Place::Sql(std::sync::Arc::clone(server), None));
            }
        }
        let mut removals = Vec::new();
        for place in &places {
            match place {
                Place::Sql(server, database) => {
                    let Some(Answer::Rows(rows)) = self.answers.get(place, "ledger") else {
                        continue;
                    };
                    for entry in rows.keys() {
                        if wanted.contains(&(place.clone(), entry.to_owned())) {
                            continue;
                        }
                        let Some((kind, key)) = entry.split_once(':') else {
                            continue;
                        };
                        let Some(thing) = Thing::named(kind, key) else {
                            continue;
                        };
                        let other = |row| self.judging.owner.other_in(row);
                        if !destruction::is_script(&thing)
                            && rows.of(entry).iter().any(|row| other(row).is_some())
                        {
                            continue;
                        }
                        if self.has_another_name(&thing, place, resources) {
                            continue;
                        }
                        let name = match database {
                            Some(database) => crate::resource::inside_database(database, key),
                            None => key.to_owned(),
                        };
                        removals.push((
                            Id::new(kind, &server.service, &name),
                            place.clone(),
                            thing,
                            Some(entry.to_owned()),
                        ));
                    }
                }
                Place::Engine => {
                    for (kind, question) in [("container", "containers"), ("volume", "volumes")] {
                        let Some(Answer::Rows(rows)) = self.answers.get(place, question) else {
                            continue;
                        };
                        for key in rows.keys() {
                            let entry = ledger::id(kind, key);
                            if key.is_empty()
                                || wanted.contains(&(place.clone(), entry))
                                || !is_ours(kind, rows, key, &self.judging.owner)
                            {
                                continue;
                            }
                            let Some(thing) = Thing::named(kind, key) else {
                                continue;
                            };
                            removals.push((Id::short(kind, key), place.clone(), thing, None));
                        }
                    }
                }
                Place::Folder | Place::Machine(_) => {}
            }
        }
        for resource in self.judging.memories.undeclared(resources) {
            if !self.released(&resource, plan) {
                removals.push((resource.id, resource.place, resource.thing, None));
            }
        }
        let rights: Vec<_> = roles::rights(&removals, &places, self.answers);
        removals.extend(rights);
        // What lies inside goes before what holds it: a database's rights before a role, rights before their user.
        let rank = |kind: &str| {
            crate::resources::NAMES
                .iter()
                .position(|name| *name == kind)
        };
        removals.sort_by_key(|(id, place, ..)| {
            std::cmp::Reverse((place.database().is_some(), rank(id.kind())))
        });
        for (id, place, thing, entry) in removals {
            self.removal(id, place, &thing, entry, plan);
        }
    }

    /// Whether what was made under a name is declared under one that the server takes for the same.
    fn has_another_name(&self, thing: &Thing, place: &Place, resources: &[Resource]) -> bool {
        let found = |thing: &Thing| match find(thing, place, self.answers) {
            Found::There(found) => Some(found.key().into_owned()),
            _ => None,
        };
        let mut there = resources.iter().filter(|other| {
            other.place == *place
                && other.thing.kind() == thing.kind()
                && other.thing.row_key() == thing.row_key()
        });
        there.any(|other| found(thing).is_some_and(|key| found(&other.thing) == Some(key)))
    }

    /// Whether a thing that a machine remembers is no longer there, or none of ours to remove.
    fn released(&self, resource: &Resource, plan: &mut Plan) -> bool {
        let made = self.judging.memories.kept(&resource.id, &resource.place);
        match find(&resource.thing, &resource.place, self.answers) {
            Found::Absent => plan.gone.push(resource.id.clone()),
            // Another environment still declares it.
            Found::There(_) if self.is_shared(resource) => plan.released.push(resource.id.clone()),
            Found::There(found) => {
                let forgets = matches!(found.remove(), Removal::Forget);
                let ours = made.is_some_and(|kept| kept.made) || found.hides();
                if ours && !forgets && found.exists() {
                    return false;
                }
                plan.released.push(resource.id.clone());
            }
            Found::Down(_) | Found::Unreadable(_) => {}
        }
        true
    }

    /// Whether another environment has applied a thing of a machine, too.
    fn is_shared(&self, resource: &Resource) -> bool {
        let key = resource.thing.ledger_id();
        let held = |machine| self.judging.memories.held_by_other(machine, &key);
        resource
            .place
            .machine()
            .and_then(|machine| held(machine))
            .is_some()
    }

    fn removal(&self, id: Id, place: Place, thing: &Thing, entry: Option<String>, plan: &mut Plan) {
        let found = match find(thing, &place, self.answers) {
            Found::There(found) => roles::with_what_it_owns(found, &place, self.answers),
            Found::Absent | Found::Down(_) | Found::Unreadable(_) => return,
        };
        let steps = match found.remove() {
            Removal::Steps(steps) => steps,
            Removal::HoldsData(steps) if self.judging.destroy_data.contains(&id) => steps,
            Removal::HoldsData(_) => {
                plan.orphans.push(id);
                return;
            }
            Removal::Forget => return,
        };
        let reason = match &found {
            Thing::PostgresRole(role) if !role.owns.is_empty() => {
                format!("no longer declared; it owns {}", role.owns.join("; "))
            }
            _ => "no longer declared".to_owned(),
        };
        plan.changes.push(Change {
            ledger: entry.map(|entry| (entry, String::new())),
            ..Change::of(id, place, Action::Remove, reason, steps)
        });
    }
}

/// Why a plan must not touch a thing that is somebody else's, and the ways out.
fn foreign(id: &Id, why: Foreign, judging: &Judging) -> Refusal {
    let adopt = format!("provision adopt {}", judging.environment);
    let (kind, hints) = match why.owner {
        None => (
            error::Kind::Failed,
            vec![
                format!("if it is yours, restored or made by other means: `{adopt}` says how to take it over"),
                "else rename or remove it by hand, or choose another `project`; it is never touched from here".to_owned(),
            ],
        ),
        Some(owner) => (
            error::Kind::Data,
            vec![
                format!("two environments of one project on one engine need names of their own: say another `project` in `[environment]` of one of them"),
                format!("if this is `{owner}` under another file name: say `name = \"{owner}\"` in `[environment]`"),
            ],
        ),
    };
    Refusal {
        kind,
        id: id.clone(),
        message: why.message,
        hints,
    }
}

/// Whether a thing of the engine that nobody declares carries our mark, and is of no other environment of the project.
fn is_ours(kind: &str, rows: &Rows, key: &str, owner: &Owner) -> bool {
    rows.of(key).iter().any(|row| {
        let inspect = row.get("inspect");
        let (labels, mark) = match kind {
            "container" => (inspect.map(|i| &i["Config"]["Labels"]), "provision.service"),
            _ => (inspect.map(|i| &i["Labels"]), "provision.family"),
        };
        labels.is_some_and(|labels| labels[mark].is_string() && !Owner::of(labels).is_other(owner))
            && !row.contains_key("foreign")
            && in_project(row)
    })
}

fn in_project(row: &crate::command::Row) -> bool {
    row.get("ours")
        .and_then(serde_json::Value::as_bool)
        .unwrap_or(true)
}

/// The probes of what is among the changed, or whose insides are.
pub fn probes<'a>(resources: &'a [Resource], changed: &HashSet<Id>) -> Vec<(&'a Id, &'a Probe)> {
    let mut touched: HashSet<&Id> = changed.iter().collect();
    for resource in resources
        .iter()
        .filter(|resource| changed.contains(&resource.id))
    {
        touched.extend(&resource.needs);
    }
    resources
        .iter()
        .filter(|resource| touched.contains(&resource.id))
        .filter_map(|resource| Some((&resource.id, resource.probe.as_ref()?)))
        .collect()
}
