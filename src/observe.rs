//! One question sheet for all resources: everything there is to ask, each question once. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::audit;
use crate::command::{
    Answer, Answers, Ask, Dialect, EngineQuestion, Inquiry, Items, Place, Question, Server, Sheet,
};
use crate::declaration::Environment;
use crate::ledger;
use crate::plan::{journal, memory};
use crate::resource::{Kind as _, Probe, Resource, Thing};
use crate::resources::image::Pull;
use crate::resources::postgres_grant::PostgresGrant;
use crate::resources::{AWAITED, QUESTIONS};
use crate::services::hosts;

/// Everything there is to ask about some resources of a project, each question once.
pub fn sheet(project: &str, resources: &[Resource]) -> Sheet {
    whole(project, resources, &Besides::default())
}

/// What is asked besides what concerns resources.
#[derive(Clone, Debug, Default)]
pub struct Besides {
    /// The machines, each asked for what it remembers.
    pub machines: Vec<Arc<str>>,
    /// The name under which they remember it.
    pub memory: String,
    /// Whether everything that an audit wants to know is asked too.
    pub audit: bool,
    /// Whether database servers are asked about all that they have, whoever declared it.
    pub all: bool,
    /// What database servers remember and nobody declares any more.
    pub left: Vec<Left>,
}

/// What the ledger of a database server remembers and was not asked about.
#[derive(Clone, Debug)]
pub struct Left {
    server: Arc<Server>,
    database: Option<String>,
    question: &'static str,
    key: String,
}

impl Besides {
    /// For an environment, or some of its hosts.
    pub fn of(environment: &Environment, hosts: &[String], audit: bool, all: bool) -> Self {
        let machines = hosts::machines(environment).into_iter();
        let wanted =
            |name: &Arc<str>| hosts.is_empty() || hosts.iter().any(|host| **host == **name);
        Besides {
            machines: machines
                .map(|machine| machine.name)
                .filter(wanted)
                .collect(),
            memory: memory::name(&environment.project, &environment.name),
            audit,
            all: all || audit,
            left: Vec::new(),
        }
    }
}

/// Everything there is to ask about some resources of a project and besides, each question once.
pub fn whole(project: &str, resources: &[Resource], besides: &Besides) -> Sheet {
    let mut gathering = Gathering::default();
    for resource in resources {
        gathering.place(&resource.place);
        gathering.inside(&resource.thing, &resource.place);
        gathering.thing(project, resource);
        // What was made in a server may be all that is left of what was declared in it.
        if let Some(Probe::Login { server, .. }) = &resource.probe {
            gathering.servers.entry(Arc::clone(server)).or_default();
        }
    }
    for left in &besides.left {
        let asked = gathering.servers.entry(Arc::clone(&left.server));
        let asked = asked.or_default();
        asked.look_into(left.database.as_ref());
        asked.ask(left.question, left.key.clone());
        gathering.questions.insert(left.question);
    }
    if besides.all {
        gathering.all();
    }
    for machine in &besides.machines {
        let asked = gathering.machines.entry(Arc::clone(machine)).or_default();
        let items = asked.entry(memory::QUESTION.name).or_default();
        items.insert(besides.memory.clone());
        if besides.audit {
            let items = asked.entry(audit::OF_MACHINE.name).or_default();
            items.insert("all".to_owned());
        }
    }
    if besides.audit {
        let servers = gathering.servers.iter_mut();
        for (_, asked) in servers.filter(|(server, _)| server.dialect == Dialect::Postgres) {
            asked.ask_all(audit::OF_POSTGRES.name);
            asked.ask_all(audit::OF_POSTGRES_RIGHTS.name);
        }
        let servers = gathering.servers.iter_mut();
        for (_, asked) in servers.filter(|(server, _)| server.dialect == Dialect::MariaDb) {
            asked.ask_all(audit::OF_MARIADB.name);
        }
    }
    let mut sheet = gathering.sheet(project);
    if !besides.machines.is_empty() {
        sheet.questions.push(memory::QUESTION);
    }
    if besides.audit {
        sheet.questions.extend([
            audit::OF_MACHINE,
            audit::OF_POSTGRES,
            audit::OF_POSTGRES_RIGHTS,
            audit::OF_MARIADB,
        ]);
    }
    sheet
}

/// What `status` and `lock` ask machines: their journals, and who holds their locks.
pub fn journals(project: &str, name: &str, machines: &[Arc<str>]) -> Sheet {
    let items = || HashMap::from([(journal::QUESTION.name, vec![name.to_owned()])]);
    Sheet {
        project: project.to_owned(),
        machines: machines
            .iter()
            .map(|machine| (Arc::clone(machine), items()))
            .collect(),
        questions: vec![journal::QUESTION],
        ..Sheet::default()
    }
}

/// What ledgers remember of keys that were not asked about: of what is gone from the file. One more look sees whether it is there.
pub fn left(sheet: &Sheet, answers: &Answers) -> Vec<Left> {
    let mut left = Vec::new();
    for (server, inquiry) in &sheet.servers {
        let whole = Place::Sql(Arc::clone(server), None);
        let inside = inquiry.databases.iter().cloned().map(Some);
        let inside = inside.map(|database| Place::Sql(Arc::clone(server), database));
        for place in std::iter::once(whole).chain(inside) {
            let Some(Answer::Rows(rows)) = answers.get(&place, ledger::POSTGRES.name) else {
                continue;
            };
            for entry in rows.keys() {
                let named = entry.split_once(':');
                let Some(thing) = named.and_then(|(kind, key)| Thing::named(kind, key)) else {
                    continue;
                };
                let question = QUESTIONS.iter().find(|one| one.name == thing.question());
                let key = thing.key().into_owned();
                let unasked = |question: &&Question| {
                    question.sql().is_some() && !inquiry.asks(question, &key, place.database())
                };
                left.extend(rights_of(&thing, server, inquiry));
                if let Some(question) = question.filter(unasked) {
                    left.push(Left {
                        server: Arc::clone(server),
                        database: place.database().cloned(),
                        question: question.name,
                        key,
                    });
                }
            }
        }
    }
    left
}

/// Of a role that nobody declares any more: its rights in the databases that were not entered.
fn rights_of(thing: &Thing, server: &Arc<Server>, inquiry: &Inquiry) -> Vec<Left> {
    let Thing::PostgresRole(role) = thing else {
        return Vec::new();
    };
    let declared = inquiry.items.get(thing.question());
    if declared.is_some_and(|keys| keys.contains(&role.name)) {
        return Vec::new();
    }
    let grants = PostgresGrant::QUESTION;
    let databases = inquiry.databases.iter();
    databases
        .filter(|database| !inquiry.asks(&grants, &role.name, Some(database)))
        .map(|database| Left {
            server: Arc::clone(server),
            database: Some(database.clone()),
            question: grants.name,
            key: role.name.clone(),
        })
        .collect()
}

/// What is asked of a server, being gathered: questions with their keys, none for all.
#[derive(Default)]
struct Asked {
    databases: BTreeSet<String>,
    inside: BTreeSet<String>,
    items: BTreeMap<&'static str, Option<BTreeSet<String>>>,
}

impl Asked {
    fn look_into(&mut self, database: Option<&String>) {
        self.databases.extend(database.cloned());
        self.inside.extend(database.cloned());
    }

    fn ask(&mut self, question: &'static str, key: String) {
        let keys = self.items.entry(question);
        if let Some(keys) = keys.or_insert_with(|| Some(BTreeSet::new())) {
            keys.insert(key);
        }
    }

    fn ask_all(&mut self, question: &'static str) {
        self.items.insert(question, None);
    }

    fn inquiry(self) -> Inquiry {
        let items = self.items.into_iter();
        let keys = |keys: Option<BTreeSet<String>>| keys.into_iter().flatten().collect();
        Inquiry {
            databases: self.databases.into_iter().collect(),
            inside: self.inside,
            items: items.map(|(name, items)| (name, keys(items))).collect(),
        }
    }
}

#[derive(Default)]
struct Gathering {
    questions: BTreeSet<&'static str>,
    containers: HashMap<String, String>,
    images: BTreeMap<String, bool>,
    ports: BTreeSet<(String, u16)>,
    networks: BTreeSet<String>,
    volumes: BTreeSet<String>,
    files: BTreeSet<String>,
    servers: BTreeMap<Arc<Server>, Asked>,
    machines: BTreeMap<Arc<str>, BTreeMap<&'static str, BTreeSet<String>>>,
}

impl Gathering {
    fn place(&mut self, place: &Place) {
        if let Place::Sql(server, database) = place {
            let asked = self.servers.entry(Arc::clone(server)).or_default();
            asked.look_into(database.as_ref());
        }
    }

    /// What was made inside a database that nothing is declared in any more, its own ledger knows.
    fn inside(&mut self, thing: &Thing, place: &Place) {
        if let (Thing::PostgresDatabase(database), Place::Sql(server, None)) = (thing, place) {
            let asked = self.servers.entry(Arc::clone(server)).or_default();
            asked.databases.insert(database.name.clone());
        }
    }

    fn thing(&mut self, project: &str, resource: &Resource) {
        self.questions.insert(resource.thing.question());
        if let Place::Machine(machine) = &resource.place {
            let asked = self.machines.entry(Arc::clone(machine)).or_default();
            let items = asked.entry(resource.thing.question()).or_default();
            items.insert(resource.thing.item().into_owned());
        }
        if let Place::Sql(server, _) = &resource.place {
            let asked = self.servers.entry(Arc::clone(server)).or_default();
            let thing = &resource.thing;
            asked.ask(thing.question(), thing.key().into_owned());
            if let Some(was) = thing.was() {
                asked.ask(thing.question(), was.into_owned());
            }
            for awaited in thing.waits_for(None) {
                self.questions.insert(awaited.question.name);
                asked.ask(awaited.question.name, awaited.key);
            }
        }
        match &resource.thing {
            Thing::Image(image) => {
                let ask = self.images.entry(image.tag.clone()).or_default();
                *ask |= image.pull != Pull::Never;
            }
            Thing::Network(network) => {
                self.networks.insert(network.name.clone());
            }
            Thing::Volume(volume) => {
                self.volumes.insert(volume.name.clone());
            }
            Thing::RenderedFile(file) => {
                self.files.insert(file.file.path.clone());
            }
            Thing::Container(container) => {
                // The names that we, Compose v2 and Compose 1.29 give.
                let service = &container.service;
                let names = [
                    container.name.clone(),
                    format!("{project}-{service}-1"),
                    format!("{project}_{service}_1"),
                ];
                self.containers
                    .extend(names.map(|name| (name, service.clone())));
                self.ports.extend(
                    container
                        .ports
                        .iter()
                        .map(|port| (port.address.clone(), port.outside)),
                );
            }
            _ => {}
        }
    }

    /// Every question about database servers, about all that they have.
    fn all(&mut self) {
        for question in QUESTIONS {
            let Some((dialect, _)) = question.sql() else {
                continue;
            };
            for (server, asked) in &mut self.servers {
                if server.dialect == dialect {
                    asked.inside.clone_from(&asked.databases);
                    asked.ask_all(question.name);
                    self.questions.insert(question.name);
                }
            }
        }
    }

    fn sheet(self, project: &str) -> Sheet {
        let speaks = |dialect| self.servers.keys().any(|server| server.dialect == dialect);
        let (postgres, mariadb) = (speaks(Dialect::Postgres), speaks(Dialect::MariaDb));
        let mut questions: Vec<Question> = Vec::new();
        for question in QUESTIONS.iter().chain(AWAITED) {
            // What is ours and no longer declared is found by these two, whatever is declared.
            let always = self.machines.is_empty()
                && matches!(
                    question.ask,
                    Ask::Engine(EngineQuestion::Containers | EngineQuestion::Volumes)
                );
            let wanted = always || self.questions.contains(question.name);
            if wanted && !questions.contains(question) {
                questions.push(*question);
            }
        }
        for (spoken, question) in [(postgres, ledger::POSTGRES), (mariadb, ledger::MARIADB)] {
            if spoken && !questions.contains(&question) {
                questions.push(question);
            }
        }
        Sheet {
            project: project.to_owned(),
            containers: self.containers,
            images: self.images.into_iter().collect(),
            ports: self.ports.into_iter().collect(),
            networks: self.networks.into_iter().collect(),
            volumes: self.volumes.into_iter().collect(),
            files: self.files.into_iter().collect(),
            servers: self
                .servers
                .into_iter()
                .map(|(server, asked)| (server, asked.inquiry()))
                .collect(),
            machines: self
                .machines
                .into_iter()
                .map(|(machine, asked)| {
                    let items = asked
                        .into_iter()
                        .map(|(question, items)| (question, items.into_iter().collect()));
                    (machine, items.collect::<Items>())
                })
                .collect(),
            questions,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Seat;
    use crate::resource::Id;
    use crate::resources::container::{Container, Port};
    use crate::resources::postgres_role::PostgresRole;

    fn resource(place: Place, thing: impl Into<Thing>) -> Resource {
        Resource {
            id: Id::parse("x"),
            place,
            thing: thing.into(),
            needs: Vec::new(),
            origins: BTreeMap::new(),
            probe: None,
        }
    }

    #[test]
    fn each_thing_is_asked_once() {
        let server = Arc::new(Server {
            service: "analytics".to_owned(),
            dialect: Dialect::Postgres,
            superuser: "postgres".to_owned(),
            seat: Seat::Container,
        });
        let container = Container {
            service: "analytics".to_owned(),
            name: "iact-analytics-1".to_owned(),
            ports: [Port {
                inside: 5432,
                address: "127.0.0.1".to_owned(),
                outside: 15432,
            }]
            .into(),
            ..Container::default()
        };
        let at =
            |database: Option<&str>| Place::Sql(Arc::clone(&server), database.map(str::to_owned));
        let resources = [
            resource(Place::Engine, container),
            resource(at(None), PostgresRole::default()),
            resource(at(Some("b")), PostgresRole::default()),
            resource(at(Some("a")), PostgresRole::default()),
            resource(at(Some("a")), PostgresRole::default()),
        ];
        let sheet = sheet("iact", &resources);
        let [(asked, inquiry)] = sheet.servers.as_slice() else {
            panic!("{:?}", sheet.servers);
        };
        assert_eq!(
            (asked, &*inquiry.databases),
            (&server, ["a".to_owned(), "b".to_owned()].as_slice())
        );
        assert_eq!(sheet.ports, [("127.0.0.1".to_owned(), 15432)]);
        assert_eq!(
            sheet.containers.get("iact_analytics_1").map(String::as_str),
            Some("analytics")
        );
        assert_eq!(
            sheet
                .questions
                .iter()
                .filter(|q| q.name == "ledger")
                .count(),
            1
        );
        assert_eq!(
            sheet
                .questions
                .iter()
                .filter(|q| q.name == "containers")
                .count(),
            1
        );
    }
}
