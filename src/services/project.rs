//! What all services of a project on a Docker engine share: names, network, images, forwards.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::command::{File, Place, Text};
use crate::declaration::{Entry, Environment, Node, Origin, Value};
use crate::error::{Problem, did_you_mean};
use crate::resource::{Id, Probe, Resource, Thing};
use crate::resources::container::Port;
use crate::resources::generated_file::RenderedFile;
use crate::resources::image::{Build, Image, Pull, Registry};
use crate::resources::network::Network;
use crate::resources::owner::Owner;
use crate::resources::volume::Volume;
use crate::services::forward::Forward;
use crate::services::{Endpoint, Expansion, Ports};
use crate::template::{self, Datum};

/// From where a service is seen: it has one address for its neighbours and another for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    /// From a container of the project.
    Container,
    /// From a machine.
    Machine(Arc<str>),
    /// From the operator's machine, through the forwards.
    Operator,
}

/// A project while it is expanded.
pub struct Project<'a> {
    /// What is expanded.
    pub environment: &'a Environment,
    /// What strings may name; on servers as seen from the machine that is expanded for ([`Project::stand_on`]).
    pub names: BTreeMap<String, Datum>,
    views: BTreeMap<Arc<str>, BTreeMap<String, Datum>>,
    /// The addresses of all machines, which every view has.
    pub(super) addresses: Datum,
    /// What cannot be meant.
    pub problems: Vec<Problem>,
    /// Whether generated files stay empty: for a check, which needs the resources and not what they hold.
    pub outline: bool,
    /// What machines see of the services that are elsewhere, made once: the same from all of them.
    pub(super) elsewhere: OnceCell<Vec<Elsewhere>>,
    forwards: BTreeMap<String, Vec<Forward>>,
    resources: Vec<Resource>,
    endpoints: Vec<Endpoint>,
    images: BTreeSet<Id>,
    /// What has to be there before somebody uses a service, by `postgres.analytics`.
    settled: BTreeMap<(String, String), Vec<Id>>,
}

/// A service as machines see it that it is not on.
pub(super) struct Elsewhere {
    /// The machines that it is on.
    pub on: Vec<Arc<str>>,
    /// What the others see of it.
    pub seen: Option<Datum>,
}

impl<'a> Project<'a> {
    pub(super) fn new(environment: &'a Environment, ports: &Ports) -> Self {
        let mut forwards: BTreeMap<String, Vec<Forward>> = BTreeMap::new();
        for forward in super::forward::all(environment, ports) {
            forwards
                .entry(forward.to.clone())
                .or_default()
                .push(forward);
        }
        let mut project = Project {
            environment,
            names: BTreeMap::new(),
            views: BTreeMap::new(),
            addresses: super::hosts::addresses(environment),
            problems: Vec::new(),
            outline: false,
            elsewhere: OnceCell::new(),
            forwards,
            resources: Vec::new(),
            endpoints: Vec::new(),
            images: BTreeSet::new(),
            settled: BTreeMap::new(),
        };
        if project.on_engine() {
            project.network();
        }
        project
    }

    /// Whether services are containers; else they are on machines.
    pub fn on_engine(&self) -> bool {
        self.environment.driver.is_engine()
    }

    /// The machines that an entry is on.
    pub fn machines_of(&self, entry: &Entry) -> Vec<Arc<str>> {
        super::hosts::on(self.environment, &entry.node)
    }

    /// From now on strings are rendered as seen from a machine.
    pub fn stand_on(&mut self, machine: &Arc<str>) {
        if !self.views.contains_key(machine) {
            let names = super::names(self, &View::Machine(Arc::clone(machine)));
            self.views.insert(Arc::clone(machine), names);
        }
        self.names = self.views.get(machine).cloned().unwrap_or_default();
    }

    pub(super) fn finish(self) -> Expansion {
        Expansion {
            resources: self.resources,
            problems: self.problems,
            endpoints: self.endpoints,
        }
    }

    /// Takes a resource in.
    pub fn add(&mut self, resource: Resource) -> Id {
        let id = resource.id.clone();
        self.resources.push(resource);
        id
    }

    /// The resources so far.
    pub fn resources(&self) -> &[Resource] {
        &self.resources
    }

    pub(super) fn resources_mut(&mut self) -> &mut [Resource] {
        &mut self.resources
    }

    /// Whose the things of this environment are.
    pub fn owner(&self) -> Owner {
        Owner::new(&self.environment.project, &self.environment.name)
    }

    /// The name of the one network.
    pub fn network_name(&self) -> String {
        format!("{}_default", self.environment.project)
    }

    fn network(&mut self) {
        let name = self.network_name();
        let thing = Network {
            name: name.clone(),
            key: "default".to_owned(),
            owner: self.owner(),
            driver: "bridge".to_owned(),
            asked_by: self.owner(),
        };
        let origin = self
            .environment
            .tree
            .get("environment")
            .map(|node| node.origin("project"))
            .unwrap_or_default();
        self.add(on_engine(Id::short("network", &name), thing.into()).from("", origin));
    }

    /// The network's id.
    pub fn network_id(&self) -> Id {
        Id::short("network", &self.network_name())
    }

    /// An image that is pulled, or built by `recipe` where there is one for its tag.
    pub fn image(&mut self, node: &Node, recipe: Option<Build>) -> Id {
        let tag = node.text("image").unwrap_or_default();
        let id = Id::short("image", tag);
        if self.images.insert(id.clone()) {
            let pull = match node.text("pull") {
                Some("always") => Pull::Always,
                Some("never") => Pull::Never,
                _ => Pull::Auto,
            };
            let thing = Image {
                tag: tag.to_owned(),
                pull,
                build: recipe,
                present: false,
                registry: Registry::NotAsked,
            };
            let resource = on_engine(id.clone(), thing.into())
                .from("", node.origin("image"))
                .from("image", node.origin("image"));
            self.add(resource);
        }
        id
    }

    /// An image that is built here for one service, from a base image.
    pub fn built_image(&mut self, tag: &str, build: Build, base: Id, origin: Origin) -> Id {
        let id = Id::short("image", tag);
        let thing = Image {
            tag: tag.to_owned(),
            pull: Pull::Never,
            build: Some(build),
            present: false,
            registry: Registry::NotAsked,
        };
        let mut resource = on_engine(id.clone(), thing.into()).from("", origin);
        resource.needs.push(base);
        self.add(resource)
    }

    /// The data volume of a service; the family of its image marks it for ever.
    pub fn data_volume(
        &mut self,
        service: &str,
        family: String,
        origin: &Origin,
    ) -> (Id, String, String) {
        let key = format!("{service}_data");
        let name = format!("{}_{key}", self.environment.project);
        let thing = Volume {
            name: name.clone(),
            key: key.clone(),
            owner: self.owner(),
            family,
            asked_by: self.owner(),
            ..Volume::default()
        };
        let resource = on_engine(Id::short("volume", &name), thing.into()).from("", origin.clone());
        (self.add(resource), name, key)
    }

    /// A generated file and the absolute path under which it is mounted.
    pub fn file(&mut self, path: &str, content: Text, mode: u32, origin: &Origin) -> (Id, String) {
        let absolute = self
            .environment
            .engine_folder()
            .join(path)
            .display()
            .to_string();
        let thing = RenderedFile {
            file: File {
                path: path.to_owned(),
                content,
                mode,
            },
        };
        let resource = Resource {
            place: Place::Folder,
            ..on_engine(Id::short("generated_file", path), thing.into())
        };
        (self.add(resource.from("", origin.clone())), absolute)
    }

    /// The name of a service's container.
    pub fn container_name(&self, service: &str) -> String {
        format!("{}-{service}-1", self.environment.project)
    }

    /// The forwards to a service, as in `postgres.analytics`.
    pub fn forwards(&self, service: &str) -> &[Forward] {
        self.forwards.get(service).map_or(&[], Vec::as_slice)
    }

    /// The forwards to a service as published ports of its container.
    pub fn ports(&self, service: &str, inside: u16) -> BTreeSet<Port> {
        self.forwards(service)
            .iter()
            .map(|forward| Port {
                inside,
                address: forward.address.clone(),
                outside: forward.port,
            })
            .collect()
    }

    /// The address under which the operator reaches a service, if a forward leads there.
    pub fn published(&self, service: &str) -> Option<(String, u16)> {
        let forward = self.forwards(service).first()?;
        let address = match forward.address.as_str() {
            "0.0.0.0" => "127.0.0.1".to_owned(),
            address => address.to_owned(),
        };
        Some((address, forward.port))
    }

    /// Host and port of a service for a consumer.
    pub fn seen(&self, table: &str, name: &str, inside: u16, view: &View) -> Option<(String, u16)> {
        match view {
            View::Container => Some((name.to_owned(), inside)),
            View::Machine(from) => {
                let entry = self.environment.tree.get(table)?.get(name)?;
                let on = super::hosts::on(self.environment, entry);
                let host = match on.iter().any(|machine| machine == from) {
                    true => "127.0.0.1".to_owned(),
                    false => super::hosts::address(self.environment, on.first()?),
                };
                Some((host, inside))
            }
            View::Operator => self.published(&format!("{table}.{name}")),
        }
    }

    /// Notes where a service is reached, and how to connect.
    pub fn endpoint(&mut self, service: &str, connect: impl Fn(&str, u16) -> Vec<String>) {
        let Some((address, port)) = self.published(service) else {
            return;
        };
        // What a host publishes is at that port of this machine once `forward` is there.
        let forward = self.environment.engine_host.as_ref();
        let forward = forward.map(|_| format!("provision forward {}", self.environment.name));
        self.endpoints.push(Endpoint {
            service: service.to_owned(),
            connect: forward.into_iter().chain(connect(&address, port)).collect(),
            address,
            port,
        });
    }

    /// Notes what has to be there before somebody uses a service.
    pub fn settled(&mut self, table: &str, service: &str, ids: Vec<Id>) {
        self.settled
            .insert((table.to_owned(), service.to_owned()), ids);
    }

    /// What has to be there before somebody uses a service.
    pub fn needs_of(&self, service: &(String, String)) -> Vec<Id> {
        self.settled.get(service).cloned().unwrap_or_default()
    }

    /// The text of an entry, from its `content` or from the user's template that it names; a mistake becomes a problem.
    pub fn written(&mut self, node: &Node) -> Option<template::Rendered> {
        if let Some(content) = node.get("content") {
            return self.render(content);
        }
        let named = node.get("template")?;
        let name = named.as_text().unwrap_or_default();
        let templates = &self.environment.templates;
        match template::written(name, templates, &self.names) {
            Ok(rendered) => Some(rendered),
            Err(message) => {
                let problem = Problem::error(message, &named.origin);
                let known = templates.keys().map(String::as_str);
                self.problems.push(match templates.contains_key(name) {
                    true => problem,
                    false => did_you_mean(
                        problem.help("templates lie in `templates/` beside the environment"),
                        name,
                        known,
                    ),
                });
                None
            }
        }
    }

    /// A string of the file with its names filled in, and the services it names; a mistake becomes a problem.
    pub fn render(&mut self, node: &Node) -> Option<template::Rendered> {
        match template::value(node.as_text().unwrap_or_default(), &self.names) {
            Ok(rendered) => Some(rendered),
            Err(mistake) => {
                let problem =
                    Problem::error(mistake.message, &node.origin).label("in this template");
                let beside = node
                    .origin
                    .line_text()
                    .is_some_and(super::django::names_a_secret);
                self.problems
                    .push(if beside { problem.secret() } else { problem });
                None
            }
        }
    }
}

/// A resource of the engine without needs.
pub fn on_engine(id: Id, thing: Thing) -> Resource {
    Resource {
        id,
        place: Place::Engine,
        thing,
        needs: Vec::new(),
        origins: BTreeMap::new(),
        probe: None::<Probe>,
    }
}

/// A resource of a machine without needs: `kind.MACHINE:KEY`.
pub fn on_machine(machine: &Arc<str>, thing: impl Into<Thing>) -> Resource {
    let thing = thing.into();
    Resource {
        place: Place::Machine(Arc::clone(machine)),
        ..on_engine(Id::new(thing.kind(), machine, &thing.key()), thing)
    }
}

/// A server setting's value as text: one item, or those of a list.
pub fn setting(entry: &Entry, yes: &str, no: &str) -> (Vec<String>, bool) {
    let one = |node: &Node| match &node.value {
        Value::Bool(true) => yes.to_owned(),
        Value::Bool(false) => no.to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        _ => String::new(),
    };
    match &entry.node.value {
        Value::List(items) => (items.iter().map(one).collect(), true),
        _ => (vec![one(&entry.node)], false),
    }
}

/// Init scripts of a database server run in its one database, or in the one that it names.
pub fn init_has_a_place(service: &str, node: &Node, databases: usize, problems: &mut Vec<Problem>) {
    if let Some(first) = node.list("init").first()
        && node.get("init_database").is_none()
        && databases != 1
    {
        let message =
            format!("`{service}` has {databases} databases, so `init` does not say where it runs");
        problems.push(Problem::error(message, &first.origin).help("say `init_database = \"...\"`"));
    }
}

/// The libc that an image's tag promises: `alpine` images have musl, all others glibc.
pub fn libc(tag: &str) -> &'static str {
    if tag.contains("alpine") {
        "musl"
    } else {
        "glibc"
    }
}
