//! Load, expand, look and judge: what every command that speaks of an environment begins with.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::apply;
use crate::command::{Answer, Answers, Place, Row, Sheet};
use crate::commands::{Context, memory};
use crate::declaration::{Driver, Environment};
use crate::environment;
use crate::error::{Failure, Kind, Level, Problem};
use crate::observe::{self, Besides};
use crate::plan::{self, Action, Change, Judging, Plan};
use crate::resource::{Id, Resource, Thing};
use crate::resources::owner::Owner;
use crate::services::{self, Endpoint, Ports, forward, hosts};
use crate::show;
use crate::target::Target;

/// What a command wants besides the environment.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// Only these and what they need; all where it is empty.
    pub only: Vec<String>,
    /// Only what is on these hosts and groups of hosts; all where it is empty.
    pub hosts: Vec<String>,
    /// Things holding data that may be destroyed, by exact id.
    pub destroy_data: Vec<String>,
    /// Generated secrets that may take the place of what was applied before, by their place in the file.
    pub replace_secrets: Vec<String>,
    /// What is going to be done, for whoever wants to do something meanwhile: machines are locked for it before they are asked.
    pub doing: Option<String>,
    /// The lock that is held for it here, by [`crate::files::Lock::seat`].
    pub seat: String,
    /// How long to wait for whoever holds a lock; not at all where there is none.
    pub wait: Option<Duration>,
    /// Ask what an audit wants to know, too.
    pub audit: bool,
    /// Ask database servers about all that they have, whoever declared it.
    pub all: bool,
}

/// An environment, what it means, what was found, and what would be done.
pub struct Look {
    /// The environment with its secrets.
    pub environment: Environment,
    /// Its resources, in graph order.
    pub resources: Vec<Resource>,
    /// Where things can be reached from this machine.
    pub endpoints: Vec<Endpoint>,
    /// Ports taken in place of the declared ones.
    pub ports: Ports,
    /// What was decided on the way: a port that moved.
    pub notes: Vec<String>,
    /// What it is applied to.
    pub target: Target,
    /// What was asked.
    pub sheet: Sheet,
    /// The machines that were asked.
    pub machines: Vec<Arc<str>>,
    /// What was answered.
    pub answers: Answers,
    /// What judging went by.
    pub judging: Judging,
    /// What would be done.
    pub plan: Plan,
}

/// Loads an environment that can be planned. Its warnings are said.
pub fn open(context: &Context, name: &str) -> Result<Environment, Failure> {
    let began = Instant::now();
    let environment = environment::load(&context.dir, name)?;
    tracing::info!(ms = ms(began), "loaded `{}`", environment.file);
    if environment.is_abstract {
        return Err(Failure::new(
            Kind::Usage,
            format!(
                "`{}` is abstract: it is there for others to extend",
                environment.file
            ),
        )
        .hint(offer(context)));
    }
    context.output.warn(&environment.warnings);
    Ok(environment)
}

/// The same with its secrets.
pub async fn ready(context: &Context, name: &str) -> Result<Environment, Failure> {
    let environment = open(context, name)?;
    let began = Instant::now();
    let environment = resolved(environment).await?;
    tracing::info!(ms = ms(began), "secrets are had");
    Ok(environment)
}

/// Gets the secrets of an environment, in a thread of its own: a program that is asked for one may take its time, and who waits for
/// it may be interrupted.
pub async fn resolved(environment: Environment) -> Result<Environment, Failure> {
    let had = tokio::task::spawn_blocking(|| environment::resolve(environment)).await;
    had.unwrap_or_else(|error| {
        let message = format!("the secrets cannot be had: {error}");
        Err(Failure::new(Kind::Secret, message))
    })
}

fn offer(context: &Context) -> String {
    let names = environment::names(&context.dir);
    format!("`{}` has {}", context.dir.display(), names.join(", "))
}

/// What an environment means, in order.
pub fn meaning(
    environment: &Environment,
    ports: &Ports,
) -> Result<(Vec<Resource>, Vec<Endpoint>), Failure> {
    match services::meaning(environment, ports) {
        Ok(expansion) => Ok((expansion.resources, expansion.endpoints)),
        Err(problems) => {
            let mistakes = show::count(problems.len(), "mistake");
            let message = format!("`{}` cannot be used: {mistakes}", environment.file);
            Err(Failure::problems(message, problems))
        }
    }
}

/// Decides what `driver = "auto"` is here: a Docker engine if one answers, else this machine. Says which and why.
///
/// # Errors
/// What is declared and has no place on this machine.
pub async fn decide(environment: &mut Environment) -> Result<Option<String>, Failure> {
    if environment.driver != Driver::Auto {
        return Ok(None);
    }
    let Some(why) = Target::no_engine().await else {
        environment.driver = Driver::Docker;
        return Ok(None);
    };
    environment.driver = Driver::Local;
    let note = format!("{why}, so everything is set up on this machine itself");
    let problems: Vec<Problem> = services::check(environment)
        .into_iter()
        .filter(|problem| problem.level == Level::Error)
        .collect();
    if problems.is_empty() {
        return Ok(Some(note));
    }
    let message = format!(
        "`{}` cannot be used on this machine itself",
        environment.file
    );
    Err(Failure::problems(message, problems))
}

/// Connects, asks everything, and judges the answers.
pub async fn look(
    context: &Context,
    mut environment: Environment,
    wishes: &Wishes,
) -> Result<Look, Failure> {
    let decided = decide(&mut environment).await?;
    let began = Instant::now();
    let (mut resources, mut endpoints) = meaning(&environment, &Ports::new())?;
    tracing::info!(
        ms = ms(began),
        resources = resources.len(),
        "expanded and ordered"
    );
    let hosts = hosts::named(&environment, &wishes.hosts)?;
    narrow(&mut resources, &hosts);
    let began = Instant::now();
    // What is on an engine is locked with its host.
    let machines = resources.iter().filter_map(|one| one.place.machine());
    let machines: HashSet<Arc<str>> = machines
        .chain(environment.engine_host.as_ref())
        .cloned()
        .collect();
    Target::room_for(machines.len())?;
    let target = Target::connect(&environment, &context.reach).await?;
    tracing::info!(ms = ms(began), "connected to {}", target.says());
    let began = Instant::now();
    let mut besides = Besides::of(&environment, &hosts, wishes.audit, wishes.all);
    let mut sheet = observe::whole(&environment.project, &resources, &besides);
    let lock = async || {
        let Some(doing) = &wishes.doing else {
            return Ok(true);
        };
        target
            .lock_machines(machines.iter().cloned(), doing, &wishes.seat)
            .await
    };
    let mut answers = patiently(context, wishes.wait, async || {
        // In one trip: what is asked stands behind the lock.
        let (at_once, answers) = tokio::join!(lock(), target.look(&sheet));
        match at_once? {
            true => answers,
            false => target.look(&sheet).await,
        }
    })
    .await?;
    tracing::info!(ms = ms(began), "looked");
    let began = Instant::now();
    let (ports, mut notes) = corrected(&environment, &resources, &answers);
    notes.extend(decided);
    notes.extend(memory::gone_hosts(&environment));
    if !ports.is_empty() {
        (resources, endpoints) = meaning(&environment, &ports)?;
        sheet = observe::whole(&environment.project, &resources, &besides);
    }
    let asked = (&mut besides, &mut sheet, &mut answers);
    let judging = Judging {
        memories: memory::recall(context, &environment, &target, &resources, asked).await?,
        destroy_data: wishes.destroy_data.iter().map(|id| Id::parse(id)).collect(),
        environment: environment.name.clone(),
        owner: Owner::new(&environment.project, &environment.name),
        generated: environment.generated.clone(),
        replace_secrets: wishes.replace_secrets.clone(),
        done: Vec::new(),
    };
    let mut look = Look {
        environment,
        resources,
        endpoints,
        ports,
        notes,
        target,
        sheet,
        machines: besides.machines,
        answers,
        judging,
        plan: Plan::default(),
    };
    look.judge(wishes)?;
    if look
        .plan
        .refusals
        .iter()
        .any(|refusal| refusal.kind == Kind::Secret)
    {
        environment::forget_new(&look.environment.generated);
    }
    tracing::info!(ms = ms(began), changes = look.plan.changes.len(), "judged");
    Ok(look)
}

/// How long a server that starts is waited for, where nothing can be done before, and how long until it is looked at again.
const STARTING: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(500);

impl Look {
    /// Judges what was answered.
    fn judge(&mut self, wishes: &Wishes) -> Result<(), Failure> {
        let mut plan = plan::judge(&self.resources, &self.answers, &self.judging);
        for (machine, failure) in self.target.unreached() {
            plan.lose(&machine, failure);
        }
        check_destroy_data(wishes, &self.resources, &plan)?;
        if !wishes.only.is_empty() {
            let only = named(&wishes.only, &self.resources, &plan)?;
            plan = plan.only(&only);
        }
        self.plan = plan;
        Ok(())
    }

    /// Looks again as long as all that differs waits for a server that starts by itself, as one does that a run has made and left: so an
    /// apply behind it is not told to come back.
    ///
    /// # Errors
    /// Where nobody can look any more.
    pub async fn started(&mut self, context: &Context, wishes: &Wishes) -> Result<(), Failure> {
        let began = Instant::now();
        let mut told = false;
        while let Some(why) = self.waits()
            && began.elapsed() < STARTING
        {
            if !told {
                context.output.say(&format!("Waiting: {why}.\n"));
                told = true;
            }
            tokio::time::sleep(PAUSE).await;
            self.answers = self.target.look(&self.sheet).await?;
            self.judge(wishes)?;
        }
        Ok(())
    }

    /// For what all that differs waits, if it does.
    fn waits(&self) -> Option<&str> {
        let changes: Vec<&Change> = self.plan.changes.iter().collect();
        let held = apply::held(&changes);
        let idle = |change: &&Change| change.action == Action::Unknown || held.contains(&change.id);
        let first = changes
            .iter()
            .find(|change| change.action == Action::Wait)?;
        let nothing_else = self.plan.refusals.is_empty() && changes.iter().all(idle);
        nothing_else.then_some(&first.reason)
    }
}

/// Takes a lock; where another run has it, again and again for as long as the user wants to wait.
///
/// # Errors
/// [`Kind::Locked`] with its holder at the end of that time, and what else there is to say at once.
pub async fn patiently<T>(
    context: &Context,
    patience: Option<Duration>,
    mut take: impl AsyncFnMut() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let began = Instant::now();
    let mut told = false;
    loop {
        let failure = match take().await {
            Err(failure) if failure.kind == Kind::Locked => failure,
            other => return other,
        };
        if patience.is_none_or(|patience| began.elapsed() >= patience) {
            return Err(failure);
        }
        if !told {
            context
                .output
                .say(&format!("Waiting: {}.\n", failure.message));
            told = true;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Leaves out what is on other hosts than these.
fn narrow(resources: &mut Vec<Resource>, hosts: &[String]) {
    if hosts.is_empty() {
        return;
    }
    let is_named = |machine: &str| hosts.iter().any(|host| host == machine);
    resources.retain(|resource| {
        let machine = resource.place.machine();
        machine.is_some_and(|machine| is_named(machine))
    });
}

fn ms(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// The ids of `--only`, each of them of a resource or a change.
fn named(only: &[String], resources: &[Resource], plan: &Plan) -> Result<Vec<Id>, Failure> {
    let known: Vec<&str> = resources
        .iter()
        .map(|resource| resource.id.as_str())
        .chain(plan.changes.iter().map(|change| change.id.as_str()))
        .collect();
    for id in only {
        if !known.contains(&id.as_str()) {
            return Err(unknown_id(id, &known));
        }
    }
    Ok(only.iter().map(|id| Id::parse(id)).collect())
}

/// An id that nothing has.
pub fn unknown_id(id: &str, known: &[&str]) -> Failure {
    let failure = Failure::new(Kind::Usage, format!("there is no resource `{id}`"));
    let tail =
        |known: &&&str| known.ends_with(&format!(".{id}")) || known.ends_with(&format!(":{id}"));
    match crate::error::nearest(id, known.iter().copied())
        .or_else(|| known.iter().find(tail).copied())
    {
        Some(near) => failure.hint(format!("did you mean `{near}`?")),
        None => failure.hint(
            "`provision plan ENV --json` names what would change; an id is `kind.place:name`",
        ),
    }
}

/// `--destroy-data` names exactly what holds data and is no longer declared.
fn check_destroy_data(wishes: &Wishes, resources: &[Resource], plan: &Plan) -> Result<(), Failure> {
    for id in &wishes.destroy_data {
        let goes = plan
            .changes
            .iter()
            .any(|change| change.id.as_str() == id && change.action == Action::Remove);
        if goes {
            continue;
        }
        let kept: Vec<&str> = plan.orphans.iter().map(Id::as_str).collect();
        if resources.iter().any(|resource| resource.id.as_str() == id) {
            return Err(Failure::new(
                Kind::Usage,
                format!("`{id}` is declared, so it is not removed"),
            )
            .hint("take it out of the file first, or use `provision destroy`"));
        }
        let failure = Failure::new(
            Kind::Usage,
            format!(
                "`--destroy-data={id}` names nothing that holds data and is no longer declared"
            ),
        );
        return Err(match kept.is_empty() {
            true => failure,
            false => failure.hint(format!("what could be named: {}", kept.join(", "))),
        });
    }
    Ok(())
}

/// The ports that forwards with `auto_correct` take in place of the declared ones: what our own container has already, else the
/// next free one where somebody else holds the declared one.
fn corrected(
    environment: &Environment,
    resources: &[Resource],
    answers: &Answers,
) -> (Ports, Vec<String>) {
    let mut ports = Ports::new();
    let mut notes = Vec::new();
    let mut taken = HashSet::new();
    let containers: HashMap<&str, &Resource> = resources
        .iter()
        .filter(|resource| resource.id.kind() == "container")
        .map(|resource| (resource.id.as_str(), resource))
        .collect();
    let forwards = forward::all(environment, &Ports::new());
    taken.extend(
        forwards
            .iter()
            .filter(|f| !f.auto_correct)
            .map(|f| f.declared),
    );
    for forward in forwards.iter().filter(|forward| forward.auto_correct) {
        let service = forward.to.rsplit('.').next().unwrap_or_default();
        let container = containers.get(format!("container.{service}").as_str());
        let busy = busy(answers, &forward.address, forward.declared);
        let port = match container.map_or(Published::Nothing, |c| published(c, forward, answers)) {
            Published::Declared => continue,
            Published::Other(port) => port,
            Published::Nothing => match busy.and_then(|row| free(row, forward, &taken)) {
                Some(port) => port,
                None => continue,
            },
        };
        taken.insert(port);
        if port != forward.declared {
            let holder = busy
                .and_then(|row| row.get("holder")?.as_str())
                .unwrap_or("another program");
            let why = match busy {
                Some(_) => format!("is held by {holder}"),
                None => "was, when this one was made".to_owned(),
            };
            notes.push(format!(
                "`forward.{}` takes port {port}: {}:{} {why}",
                forward.name, forward.address, forward.declared
            ));
            ports.insert(forward.name.clone(), port);
        }
    }
    (ports, notes)
}

/// What our own container publishes for a forward.
enum Published {
    Nothing,
    Declared,
    Other(u16),
}

fn published(resource: &Resource, forward: &forward::Forward, answers: &Answers) -> Published {
    let Thing::Container(wanted) = &resource.thing else {
        return Published::Nothing;
    };
    let found = match plan::find(&resource.thing, &resource.place, answers) {
        plan::Found::There(Thing::Container(found)) if found.runs() => found,
        _ => return Published::Nothing,
    };
    let last = forward.declared.saturating_add(forward::RANGE);
    let own = |port: u16| port == forward.declared;
    let Some(inside) = wanted
        .ports
        .iter()
        .find(|p| own(p.outside) && p.address == forward.address)
    else {
        return Published::Nothing;
    };
    let mut there = found
        .ports
        .iter()
        .filter(|port| port.inside == inside.inside && port.address == forward.address)
        .map(|port| port.outside)
        .filter(|port| (forward.declared..=last).contains(port));
    match there.next() {
        Some(port) if own(port) => Published::Declared,
        Some(port) => Published::Other(port),
        None => Published::Nothing,
    }
}

fn busy<'a>(answers: &'a Answers, address: &str, port: u16) -> Option<&'a Row> {
    match answers.get(&Place::Engine, "busy")? {
        Answer::Rows(rows) => rows.of(&format!("{address}:{port}")).first(),
        _ => None,
    }
}

/// The free port that the answer offers, if it is near enough and not taken by another forward of ours.
fn free(row: &Row, forward: &forward::Forward, taken: &HashSet<u16>) -> Option<u16> {
    let offered = match row.get("free")? {
        serde_json::Value::Array(ports) => {
            ports.iter().filter_map(serde_json::Value::as_u64).collect()
        }
        one => vec![one.as_u64()?],
    };
    let last = forward.declared.saturating_add(forward::RANGE);
    offered
        .into_iter()
        .filter_map(|port| u16::try_from(port).ok())
        .find(|port| (forward.declared..=last).contains(port) && !taken.contains(port))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::*;
    use crate::command::Rows;
    use crate::declaration::{Driver, Entries, Entry, Node, Origin, Stage, Value as Held};
    use crate::resources::container::{Container, Port};

    fn node(value: Held) -> Node {
        Node {
            value,
            origin: Origin::NONE,
        }
    }

    fn table(entries: Vec<(&str, Node)>) -> Node {
        let entries = entries.into_iter().map(|(key, node)| {
            let entry = Entry {
                key: Origin::NONE,
                node,
            };
            (key.to_owned(), entry)
        });
        node(Held::Table(Entries(entries.collect())))
    }

    fn environment() -> Environment {
        let text = |text: &str| node(Held::Text(text.to_owned()));
        let forward = table(vec![
            ("to", text("django.iact")),
            ("listen", text("127.0.0.1:8000")),
            ("auto_correct", node(Held::Bool(true))),
        ]);
        Environment {
            name: "local".to_owned(),
            project: "iact".to_owned(),
            is_abstract: false,
            stage: Stage::Dev,
            driver: Driver::Docker,
            engine_host: None,
            file: "environments/local.toml".to_owned(),
            dir: "/nowhere".into(),
            folder: "/nowhere/.provision/local".into(),
            tree: table(vec![("forward", table(vec![("web", forward)]))]),
            texts: BTreeMap::new(),
            folders: BTreeMap::new(),
            owners: BTreeMap::new(),
            files: BTreeMap::new(),
            templates: BTreeMap::new(),
            warnings: Vec::new(),
            generated: Vec::new(),
        }
    }

    fn resources() -> Vec<Resource> {
        let port = Port {
            inside: 8000,
            address: "127.0.0.1".to_owned(),
            outside: 8000,
        };
        let container = Container {
            service: "iact".to_owned(),
            ports: [port].into(),
            ..Container::default()
        };
        vec![Resource {
            id: Id::short("container", "iact"),
            place: Place::Engine,
            thing: container.into(),
            needs: Vec::new(),
            origins: BTreeMap::new(),
            probe: None,
        }]
    }

    fn answers(busy: Option<Value>, published: Option<u16>) -> Answers {
        let rows = |value: Option<Value>| {
            let row = value.and_then(|value| value.as_object().cloned());
            Answer::Rows(Rows::new(row))
        };
        let container = published.map(|port| {
            json!({ "key": "iact", "inspect": {
                "Id": "1", "Name": "/iact-iact-1", "State": { "Status": "running" },
                "HostConfig": { "PortBindings": { "8000/tcp": [{ "HostIp": "127.0.0.1", "HostPort": port.to_string() }] } },
            }})
        });
        let mut answers = Answers::default();
        answers.put(Place::Engine, "busy", rows(busy));
        answers.put(Place::Engine, "containers", rows(container));
        answers
    }

    fn held() -> Option<Value> {
        Some(json!({ "key": "127.0.0.1:8000", "holder": "`python3`, process 7", "free": 8001 }))
    }

    #[test]
    fn a_held_port_moves_where_it_may() {
        let (ports, notes) = corrected(&environment(), &resources(), &answers(held(), None));
        assert_eq!(ports, Ports::from([("web".to_owned(), 8001)]));
        assert_eq!(
            notes,
            ["`forward.web` takes port 8001: 127.0.0.1:8000 is held by `python3`, process 7"]
        );
    }

    #[test]
    fn a_port_that_moved_once_stays_where_it_is() {
        let (ports, _) = corrected(&environment(), &resources(), &answers(None, Some(8003)));
        assert_eq!(ports, Ports::from([("web".to_owned(), 8003)]));
        let (ports, notes) = corrected(&environment(), &resources(), &answers(held(), Some(8000)));
        assert!(ports.is_empty() && notes.is_empty());
        let (ports, _) = corrected(&environment(), &resources(), &answers(None, Some(9000)));
        assert!(ports.is_empty(), "a port out of reach is a drift");
    }

    #[test]
    fn a_free_port_is_taken_as_declared() {
        let (ports, notes) = corrected(&environment(), &resources(), &answers(None, None));
        assert!(ports.is_empty() && notes.is_empty());
    }
}
