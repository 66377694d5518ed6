//! What is not as it should be, as findings: every field that differs, with who moved, and what nobody declared but should be known.
//! Pure: questions are constants, answers and the day come from outside.

mod machine;
mod mariadb;
mod postgres;
mod postgres_rights;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::civil::Date;

use crate::command::{Answers, Dialect, Place, Question, Server};
use crate::declaration::{Environment, Node, Origin};
use crate::error::{Kind, Problem};
use crate::plan::memory::Memories;
use crate::plan::{Action, Change, Difference, Moved, Plan, Since};
use crate::resource::{Field, Id, Impact, Resource};

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// To be known.
    Low,
    /// To be mended.
    Medium,
    /// Somebody can get in, or something is down.
    High,
}

impl Severity {
    /// One word.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
        }
    }
}

/// Something that is not as it should be.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Its name, the same in every run: `postgres_role.analytics:reporting#login` for a field, `audit.KIND.PLACE:WHAT` for what
    /// nobody declared.
    pub id: String,
    /// How much it weighs.
    pub severity: Severity,
    /// What is so, in one sentence.
    pub says: String,
    /// What to do.
    pub todo: String,
    /// Where the declaration stands, if there is one.
    pub origin: Origin,
    /// Who moved, where something declared differs.
    pub drift: Option<Drift>,
}

/// How something declared differs.
#[derive(Clone, Debug)]
pub struct Drift {
    /// The resource.
    pub resource: Id,
    /// The field; none where the thing as a whole is not there, or should not be.
    pub field: Option<String>,
    /// What was found.
    pub found: Option<String>,
    /// What is wanted.
    pub wanted: Option<String>,
    /// Who moved.
    pub moved: Moved,
    /// Since when.
    pub since: Option<Since>,
}

impl Finding {
    /// What nobody declared: `audit.KIND.PLACE:WHAT`.
    fn known(
        severity: Severity,
        kind: &str,
        (place, what): (&str, &str),
        says: impl Into<String>,
        todo: impl Into<String>,
    ) -> Self {
        Finding {
            id: format!("audit.{kind}.{place}:{what}"),
            severity,
            says: says.into(),
            todo: todo.into(),
            origin: Origin::NONE,
            drift: None,
        }
    }

    /// Its kind: `postgres_role`, or `postgres_superuser` of `audit.postgres_superuser...`.
    pub fn kind(&self) -> &str {
        let id = self.id.strip_prefix("audit.").unwrap_or(&self.id);
        id.split('.').next().unwrap_or_default()
    }

    /// The resource that it is about, or itself.
    fn about(&self) -> &str {
        let drift = self.drift.as_ref();
        drift.map_or(&self.id, |drift| drift.resource.as_str())
    }
}

/// A finding that is known and accepted until a day.
#[derive(Clone, Debug)]
pub struct Exception {
    /// The finding, or a resource with all its findings.
    pub id: String,
    /// Why it is accepted.
    pub reason: String,
    /// The last day.
    pub until: Date,
    /// Where it stands.
    pub origin: Origin,
}

/// What an audit came to.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    /// What counts, the weightiest first.
    pub findings: Vec<Finding>,
    /// What is accepted, each with its exception.
    pub accepted: Vec<(Finding, Exception)>,
    /// Exceptions whose day is over; their findings count again.
    pub expired: Vec<Exception>,
    /// Exceptions that no finding needs.
    pub unused: Vec<Exception>,
    /// What could not be read, and why.
    pub unread: Vec<(String, String)>,
    /// Resources that are as declared.
    pub fine: Vec<Id>,
}

impl Audit {
    /// Every kind of bad end that holds; none if all is well.
    pub fn kinds(&self) -> Vec<Kind> {
        let mut kinds = Vec::new();
        if !self.unread.is_empty() {
            kinds.push(Kind::Unreachable);
        }
        if !self.findings.is_empty() {
            kinds.push(Kind::Differs);
        }
        kinds
    }
}

/// What is asked of every machine, besides what resources ask.
pub const OF_MACHINE: Question = machine::QUESTION;

/// What is asked of every PostgreSQL server, besides what resources ask.
pub const OF_POSTGRES: Question = postgres::QUESTION;

/// What is asked of every MariaDB server, besides what resources ask.
pub const OF_MARIADB: Question = mariadb::QUESTION;

/// What is asked of every PostgreSQL server about rights that no plan compares.
pub const OF_POSTGRES_RIGHTS: Question = postgres_rights::QUESTION;

/// What an audit is made of.
#[derive(Clone, Copy, Debug)]
pub struct Looked<'a> {
    /// The resources, in graph order.
    pub resources: &'a [Resource],
    /// The machines.
    pub machines: &'a [Arc<str>],
    /// What was answered.
    pub answers: &'a Answers,
    /// What would be done.
    pub plan: &'a Plan,
    /// What was last applied.
    pub memories: &'a Memories,
    /// The environment's name, for commands.
    pub environment: &'a str,
}

/// Makes findings of what was looked at, and takes out what is accepted.
pub fn audit(looked: &Looked<'_>, exceptions: &[Exception], today: Date) -> Audit {
    let mut audit = Audit::default();
    drifts(looked, &mut audit);
    let mut servers: BTreeSet<&Arc<Server>> = BTreeSet::new();
    for resource in looked.resources {
        if let Place::Sql(server, _) = &resource.place {
            servers.insert(server);
        }
        if let Some(crate::resource::Probe::Login { server, .. }) = &resource.probe {
            servers.insert(server);
        }
    }
    for server in servers {
        match server.dialect {
            Dialect::Postgres => {
                postgres::findings(looked, server, &mut audit);
                postgres_rights::findings(looked, server, &mut audit);
            }
            Dialect::MariaDb => mariadb::findings(looked, server, &mut audit),
        }
    }
    for machine in looked.machines {
        machine::findings(looked, machine, &mut audit);
    }
    let changed: BTreeSet<&Id> = looked
        .plan
        .changes
        .iter()
        .map(|change| &change.id)
        .collect();
    let lost = |resource: &&Resource| {
        let machine = resource.place.machine();
        let unseen = &looked.plan.unseen;
        !machine.is_some_and(|name| unseen.iter().any(|one| *one.machine == **name))
    };
    audit.fine = looked
        .resources
        .iter()
        .filter(lost)
        .map(|resource| resource.id.clone())
        .filter(|id| !changed.contains(id))
        .collect();
    audit.unread.sort();
    audit.unread.dedup();
    accept(&mut audit, exceptions, today);
    audit
        .findings
        .sort_by(|a, b| (b.severity, &a.id).cmp(&(a.severity, &b.id)));
    audit
}

/// Takes out what exceptions accept.
fn accept(audit: &mut Audit, exceptions: &[Exception], today: Date) {
    let mut used = BTreeSet::new();
    for finding in std::mem::take(&mut audit.findings) {
        let accepts = |exception: &&Exception| {
            exception.until >= today
                && (exception.id == finding.id || exception.id == finding.about())
        };
        match exceptions.iter().find(accepts) {
            Some(exception) => {
                used.insert(&exception.id);
                audit.accepted.push((finding, exception.clone()));
            }
            None => audit.findings.push(finding),
        }
    }
    for exception in exceptions {
        if exception.until < today {
            audit.expired.push(exception.clone());
        } else if !used.contains(&exception.id) {
            audit.unused.push(exception.clone());
        }
    }
}

/// Every field that differs.
fn drifts(looked: &Looked<'_>, audit: &mut Audit) {
    let declared: BTreeMap<&Id, &Resource> = looked
        .resources
        .iter()
        .map(|resource| (&resource.id, resource))
        .collect();
    for unseen in &looked.plan.unseen {
        let what = unseen.machine.clone();
        audit.unread.push((what, unseen.failure.message.clone()));
    }
    for change in &looked.plan.changes {
        let resource = declared.get(&change.id).copied();
        match change.action {
            Action::Wait | Action::Unknown => {
                let mut refusals = looked.plan.refusals.iter();
                let said = refusals.find(|refusal| refusal.id == change.id);
                let why = said.map_or(&change.reason, |refusal| &refusal.message);
                // All that lies in a server that is down waits for the same.
                let what = match &change.place {
                    Place::Sql(server, _) if change.action == Action::Wait => {
                        server.service.as_str()
                    }
                    _ => change.id.as_str(),
                };
                audit.unread.push((what.to_owned(), why.clone()));
            }
            // Comes with its container.
            Action::Create if change.first_start => {}
            Action::Create => audit.findings.push(missing(looked, change, resource)),
            Action::Remove => audit.findings.push(left(looked, change)),
            Action::Update | Action::Recreate | Action::Replace => {
                let fields = change.fields.iter();
                let found = fields.map(|one| differing(looked, change, resource, one));
                audit.findings.extend(found);
            }
        }
    }
    for (id, awaited) in &looked.plan.waiting {
        let says = format!("`{id}` waits: {}", awaited.reason());
        let todo = format!(
            "make the {}, or take the right out of the file; the next `provision apply {}` then gives it",
            awaited.noun, looked.environment
        );
        let drift = whole(id, Moved::Unknown, None);
        audit
            .findings
            .push(drifted(id.to_string(), Severity::Low, (says, todo), drift));
    }
    for id in &looked.plan.orphans {
        let says = format!("`{id}` holds data and is no longer declared");
        let todo = format!(
            "declare it again, or `provision apply {} --destroy-data={}` removes it",
            looked.environment,
            crate::quote::word(id.as_str())
        );
        let drift = whole(id, Moved::File, None);
        audit
            .findings
            .push(drifted(id.to_string(), Severity::Low, (says, todo), drift));
    }
}

fn whole(id: &Id, moved: Moved, since: Option<Since>) -> Drift {
    Drift {
        resource: id.clone(),
        field: None,
        found: None,
        wanted: None,
        moved,
        since,
    }
}

fn drifted(
    id: String,
    severity: Severity,
    (says, todo): (String, String),
    drift: Drift,
) -> Finding {
    Finding {
        id,
        severity,
        says,
        todo,
        origin: Origin::NONE,
        drift: Some(drift),
    }
}

/// Something declared is not there.
fn missing(looked: &Looked<'_>, change: &Change, resource: Option<&Resource>) -> Finding {
    let id = &change.id;
    let kept = looked.memories.kept(id, &change.place);
    let gone = kept.is_some_and(|kept| !kept.fields.is_empty());
    let since = kept.and_then(|kept| kept.at.parse::<jiff::Timestamp>().ok());
    let since = since.map(|at| Since::After(at.as_second()));
    let inside = looked.plan.changes.iter().filter(|inside| {
        inside.first_start && inside.needs.contains(id) && matches!(inside.place, Place::Sql(..))
    });
    let inside = match inside.count() {
        0 => String::new(),
        _ => ", nor is what lies in it".to_owned(),
    };
    let (severity, moved) = match gone {
        true => (Severity::High, Moved::Machine),
        false => (Severity::Medium, Moved::File),
    };
    let says = match gone {
        true => format!("`{id}` was there and is gone{inside}"),
        false => format!("`{id}` is declared and not there{inside}"),
    };
    let todo = format!("`provision apply {}` makes it", looked.environment);
    let drift = whole(id, moved, since.filter(|_| gone));
    Finding {
        origin: resource.map(Resource::declared).unwrap_or_default(),
        ..drifted(id.to_string(), severity, (says, todo), drift)
    }
}

/// Something of ours is no longer declared and still there.
fn left(looked: &Looked<'_>, change: &Change) -> Finding {
    let id = &change.id;
    let says = format!("`{id}` is no longer declared and still there");
    let todo = format!("`provision apply {}` removes it", looked.environment);
    let drift = whole(id, Moved::File, None);
    drifted(id.to_string(), Severity::Low, (says, todo), drift)
}

fn differing(
    looked: &Looked<'_>,
    change: &Change,
    resource: Option<&Resource>,
    difference: &Difference,
) -> Finding {
    let field = &difference.field;
    let environment = looked.environment;
    let (moved, todo) = match difference.moved {
        Moved::File => (
            "; the file changed",
            format!("`provision apply {environment}` brings it"),
        ),
        Moved::Machine => (
            "; it was changed on the machine",
            format!("`provision apply {environment}` puts it back, or declare it as it is"),
        ),
        Moved::Both => (
            "; the file changed, and so did the machine",
            format!(
                "see who is right, then `provision apply {environment}`, or declare it as it is"
            ),
        ),
        Moved::Unknown => (
            "",
            format!("`provision apply {environment}` brings it, or declare it as it is"),
        ),
    };
    let says = format!("`{}`: {}{moved}", change.id, value(field));
    let drift = Drift {
        resource: change.id.clone(),
        field: Some(field.name.to_string()),
        found: field.from.clone(),
        wanted: field.to.clone(),
        moved: difference.moved,
        since: difference.since,
    };
    let own = resource.map(|resource| resource.origin(&field.name));
    let origin = own.filter(|origin| !origin.is_none());
    let whole = || resource.map(Resource::declared).unwrap_or_default();
    let id = format!("{}#{}", change.id, field.name);
    Finding {
        origin: origin.unwrap_or_else(whole),
        ..drifted(id, weight(change, difference), (says, todo), drift)
    }
}

/// What lets somebody in, or cuts somebody off, weighs most; what only the file changed least.
fn weight(change: &Change, difference: &Difference) -> Severity {
    let lets_in = [
        "postgres_role",
        "postgres_grant",
        "postgres_hba",
        "mariadb_user",
        "mariadb_grant",
        "user",
        "group",
        "authorized_key",
        "firewall",
    ];
    let is_down = matches!(&*difference.field.name, "state" | "running");
    match difference.moved {
        Moved::File => Severity::Low,
        _ if is_down || difference.field.impact == Impact::DataRisk => Severity::High,
        _ if lets_in.contains(&change.id.kind()) => Severity::High,
        _ => Severity::Medium,
    }
}

/// `connection_limit is 7, declared is 50`.
fn value(field: &Field) -> String {
    match (field.from.as_deref(), field.to.as_deref()) {
        (Some("differs"), Some("as declared")) => format!("{} is not as declared", field.name),
        (Some(found), Some(wanted)) => {
            format!("{} is {found}, declared is {wanted}", field.name)
        }
        (None, Some(wanted)) => format!("{} is missing, declared is {wanted}", field.name),
        (Some(found), None) => format!("{} is {found}, declared is none", field.name),
        (None, None) => format!("{} differs", field.name),
    }
}

/// The exceptions of an environment.
///
/// # Errors
/// Days that are none.
pub fn exceptions(environment: &Environment) -> Result<Vec<Exception>, Vec<Problem>> {
    let mut exceptions = Vec::new();
    let mut problems = Vec::new();
    for node in environment.tree.list("exception") {
        match exception(node) {
            Ok(exception) => exceptions.push(exception),
            Err(problem) => problems.push(problem),
        }
    }
    match problems.is_empty() {
        true => Ok(exceptions),
        false => Err(problems),
    }
}

fn exception(node: &Node) -> Result<Exception, Problem> {
    let text = |key| node.text(key).unwrap_or_default().to_owned();
    let until = text("until");
    let until: Date = until.parse().map_err(|_| {
        let message = format!("`{until}` is no day");
        Problem::error(message, &node.origin("until")).help("write it as in `2026-12-31`")
    })?;
    Ok(Exception {
        id: text("id"),
        reason: text("reason"),
        until,
        origin: node.origin("id"),
    })
}

/// The rows of an answer; what could not be read is noted, once.
fn rows<'a>(
    looked: &Looked<'a>,
    place: &Place,
    question: &str,
    who: &str,
    audit: &mut Audit,
) -> Option<&'a crate::command::Rows> {
    use crate::command::Answer;
    match looked.answers.get(place, question) {
        Some(Answer::Rows(rows)) => return Some(rows),
        Some(Answer::Down(_)) if comes_with_its_container(looked, place) => {}
        Some(Answer::Down(why) | Answer::Unreadable(why)) => {
            let seen = looked.plan.unseen.iter();
            let is_told =
                |one: &crate::plan::Unseen| Some(&*one.machine) == place.machine().map(|m| &**m);
            if !seen.clone().any(is_told) {
                audit.unread.push((who.to_owned(), why.clone()));
            }
        }
        Some(Answer::Absent) | None => {}
    }
    None
}

/// Whether a server is not there yet: all that is in it is made by its container's first start.
fn comes_with_its_container(looked: &Looked<'_>, place: &Place) -> bool {
    let Place::Sql(server, _) = place else {
        return false;
    };
    let mut changes = looked.plan.changes.iter();
    changes.any(|change| match &change.place {
        Place::Sql(of, _) => of == server && change.first_start,
        _ => false,
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn finding(id: &str, severity: Severity) -> Finding {
        Finding {
            id: id.to_owned(),
            severity,
            says: String::new(),
            todo: String::new(),
            origin: Origin::NONE,
            drift: None,
        }
    }

    fn exception(id: &str, until: &str) -> Exception {
        Exception {
            id: id.to_owned(),
            reason: "known".to_owned(),
            until: until.parse().unwrap(),
            origin: Origin::NONE,
        }
    }

    #[test]
    fn an_exception_holds_until_the_end_of_its_last_day() {
        let mut audit = Audit {
            findings: vec![
                finding("audit.x.db1:a", Severity::Low),
                finding("audit.x.db1:b", Severity::Low),
                finding("audit.x.db1:c", Severity::Low),
            ],
            ..Audit::default()
        };
        let exceptions = [
            exception("audit.x.db1:a", "2026-11-25"),
            exception("audit.x.db1:b", "2026-11-24"),
            exception("audit.x.db1:d", "2026-12-31"),
        ];
        accept(&mut audit, &exceptions, "2026-11-25".parse().unwrap());
        let left: Vec<&str> = audit.findings.iter().map(|one| one.id.as_str()).collect();
        assert_eq!(left, ["audit.x.db1:b", "audit.x.db1:c"]);
        assert_eq!(audit.accepted.len(), 1);
        assert_eq!(audit.expired[0].id, "audit.x.db1:b");
        assert_eq!(audit.unused[0].id, "audit.x.db1:d");
    }

    #[test]
    fn what_could_not_be_read_weighs_more_than_what_was_found() {
        let mut audit = Audit {
            findings: vec![finding("x", Severity::High)],
            ..Audit::default()
        };
        assert_eq!(Kind::strongest(audit.kinds()), Some(Kind::Differs));
        audit
            .unread
            .push(("db1".to_owned(), "no answer".to_owned()));
        assert_eq!(Kind::strongest(audit.kinds()), Some(Kind::Unreachable));
        assert_eq!(Kind::strongest(Audit::default().kinds()), None);
    }
}
