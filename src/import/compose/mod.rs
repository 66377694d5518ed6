//! `import compose`: services of a Compose project as databases and Django applications.

mod application;
mod load;
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::error::{Failure, Kind};
use crate::import::account::Key;
use crate::import::connection::{Server, Value as Text, Variable};
use crate::import::draft::Toml;
use crate::import::yaml::{Node, Value};
use crate::import::{Import, Imported, Wishes, dotenv, input, sql};
use load::{Book, either, pairs};

/// Reads the files as one project.
///
/// # Errors
/// [`Kind::Usage`], with the place, where a file cannot be read.
pub fn import(files: &[PathBuf], wishes: &Wishes) -> Imported {
    let mut import = Import::default();
    let first = files
        .first()
        .ok_or_else(|| Failure::new(Kind::Usage, "no file is named"))?;
    let base = input::plain(first.parent().unwrap_or(Path::new(".")));
    let Import { draft, account } = &mut import;
    let mut book = Book::new(account);
    book.dotenv(&base.join(".env"));
    let mut root: Option<Rc<Node>> = None;
    for file in files {
        let next = book.load(file, &base, &[])?;
        root = Some(match root {
            None => next,
            Some(before) => book.merge(&before, &next, "")?,
        });
    }
    let root = root.ok_or_else(|| Failure::new(Kind::Usage, "no file is named"))?;
    let shown = input::shown(first);
    let services = match root.get("services") {
        Some(services) if matches!(services.value, Value::Map(_)) => Rc::clone(services),
        Some(services) => {
            let message = format!(
                "{}: `services` is {}",
                book.place(services),
                services.kind()
            );
            return Err(Failure::new(Kind::Usage, message));
        }
        None => {
            let old = root
                .pairs()
                .iter()
                .any(|pair| pair.node.get("image").is_some() || pair.node.get("build").is_some());
            let failure = Failure::new(Kind::Usage, format!("`{shown}` holds no `services`"));
            return Err(match old {
                true => failure
                    .hint("a file of the first Compose format: put all of it under `services:`"),
                false => failure,
            });
        }
    };
    let mut reader = Reader {
        book,
        draft,
        wishes,
        names: BTreeMap::new(),
        servers: Vec::new(),
        secrets: BTreeMap::new(),
        listens: BTreeSet::new(),
        dockerfiles: BTreeMap::new(),
    };
    let project = reader.project(&root, &base);
    reader.draft.begin(&shown, project.0, project.1);
    reader.around(&root);
    let mut all = Vec::new();
    for pair in services.pairs() {
        let service = reader
            .book
            .extended(&root, &pair.key, &pair.node, &mut Vec::new())?;
        if !matches!(service.value, Value::Map(_)) {
            let message = format!(
                "{}: the service `{}` is {}",
                reader.book.place(&service),
                pair.key,
                service.kind()
            );
            return Err(Failure::new(Kind::Usage, message));
        }
        all.push(Service {
            name: pair.key.clone(),
            node: service,
            line: pair.line,
        });
    }
    if all.is_empty() {
        reader.note_all(&services, "there is no service in it");
    }
    reader.services(all);
    reader.book.close();
    sql::tidy(draft);
    account.close();
    Ok(import)
}

/// A service with all that it extends.
struct Service {
    name: String,
    node: Rc<Node>,
    line: usize,
}

struct Reader<'a> {
    book: Book<'a>,
    draft: &'a mut crate::import::draft::Draft,
    wishes: &'a Wishes,
    /// What services are called here, by their name there.
    names: BTreeMap<String, String>,
    servers: Vec<Server>,
    /// Files and variables behind the project's secrets.
    secrets: BTreeMap<String, (Source, Vec<Key>)>,
    listens: BTreeSet<String>,
    dockerfiles: BTreeMap<PathBuf, crate::import::dockerfile::Dockerfile>,
}

/// Where a secret of Compose comes from.
#[derive(Clone, Debug)]
enum Source {
    File(PathBuf),
    Variable(String),
}

/// A published port.
struct Port {
    address: Option<String>,
    published: Option<String>,
    target: String,
    udp: bool,
    keys: Vec<Key>,
}

/// Something that is mounted.
struct Mount {
    source: Option<String>,
    target: String,
    keys: Vec<Key>,
    base: PathBuf,
}

impl Mount {
    /// The path on this machine, if it is one.
    fn path(&self) -> Option<PathBuf> {
        let source = self.source.as_deref()?;
        let is_path = source.starts_with(['.', '/', '~']);
        is_path.then(|| input::plain(&self.base.join(source)))
    }
}

/// Keys of a service that need nothing, and why; `false`: somebody should know.
const AROUND: &[(&str, bool, &str)] = &[
    ("restart", true, "services are kept up in any case"),
    (
        "container_name",
        true,
        "containers are called PROJECT-NAME-1",
    ),
    (
        "hostname",
        true,
        "services reach each other by the names of this file",
    ),
    ("networks", true, "a project has one network"),
    (
        "network_mode",
        false,
        "a project has one network of its own",
    ),
    ("depends_on", true, "the order follows from what names what"),
    ("links", true, "services reach each other by name"),
    ("expose", true, "services of a project reach each other"),
    ("stdin_open", true, "for a terminal"),
    ("tty", true, "for a terminal"),
    ("init", true, "of no meaning for the service"),
    ("stop_signal", true, "each service is stopped as it wants"),
    (
        "stop_grace_period",
        true,
        "each service is stopped as it wants",
    ),
    (
        "healthcheck",
        true,
        "each service is asked itself whether it works",
    ),
    ("annotations", true, "of no meaning for the service"),
    (
        "develop",
        true,
        "`mount = true` serves a saved file at once",
    ),
    ("scale", false, "one container a service"),
    ("labels", false, "labels are not carried over"),
    ("logging", false, "logging is not carried over"),
    ("deploy", false, "limits and replicas are not carried over"),
    ("mem_limit", false, "limits are not carried over"),
    ("cpus", false, "limits are not carried over"),
    ("shm_size", false, "limits are not carried over"),
    ("user", false, "each service runs as the user of its image"),
    ("platform", false, "images are those of this machine"),
    ("extra_hosts", false, "further names are not carried over"),
    ("dns", false, "name servers are not carried over"),
    ("configs", false, "configs are not carried over"),
];

impl Reader<'_> {
    fn project(&mut self, root: &Rc<Node>, base: &Path) -> (String, Vec<Key>) {
        if let Some(name) = &self.wishes.project {
            return (named(name, 48), Vec::new());
        }
        if let Some(node) = root.get("name") {
            let text = self.book.text(node);
            text.keys
                .iter()
                .for_each(|key| self.book.account.used(*key));
            if !text.text.is_empty() {
                return (named(&text.text, 48), text.keys);
            }
        }
        (named(&input::folder_name(base), 48), Vec::new())
    }

    fn note_all(&mut self, node: &Node, reason: &str) {
        node.keys()
            .into_iter()
            .for_each(|key| self.book.account.noted(key, reason));
    }

    fn leave_all(&mut self, node: &Node, reason: &str) {
        node.keys()
            .into_iter()
            .for_each(|key| self.book.account.left(key, reason));
    }

    /// What stands beside the services.
    fn around(&mut self, root: &Rc<Node>) {
        for pair in root.pairs() {
            match pair.key.as_str() {
                "services" | "name" => {}
                "version" => self.note_all(&pair.node, "Compose itself ignores it"),
                "include" => self.note_all(&pair.node, "read"),
                "networks" => {
                    for one in pair.node.pairs() {
                        match outside(&one.node) {
                            true => self
                                .leave_all(&one.node, "a network of somebody else is not joined"),
                            false => self.note_all(&one.node, "a project has one network"),
                        }
                    }
                    self.note_all(&pair.node, "a project has one network");
                }
                "volumes" => {
                    for one in pair.node.pairs() {
                        match outside(&one.node) || one.node.get("driver_opts").is_some() {
                            true => self.leave_all(
                                &one.node,
                                "data that is there is not taken over: dump and restore it",
                            ),
                            false => self.note_all(&one.node, "a server's volume is made with it"),
                        }
                    }
                    self.note_all(&pair.node, "a server's volume is made with it");
                }
                "secrets" => self.project_secrets(&pair.node),
                "configs" => self.leave_all(&pair.node, "configs are not carried over"),
                name if name.starts_with("x-") => {}
                _ => self.leave_all(&pair.node, "Compose does not know it"),
            }
        }
    }

    fn project_secrets(&mut self, node: &Rc<Node>) {
        for one in node.pairs() {
            let source = match (one.node.get("file"), one.node.get("environment")) {
                (Some(file), _) => {
                    let text = self.book.text(file);
                    let path = input::plain(&self.book.base(file).join(&text.text));
                    Some((Source::File(path), text.keys))
                }
                (None, Some(variable)) => {
                    let text = self.book.text(variable);
                    Some((Source::Variable(text.text.clone()), text.keys))
                }
                _ => None,
            };
            match source {
                Some(source) => drop(self.secrets.insert(one.key.clone(), source)),
                None => self.leave_all(&one.node, "a secret that is made elsewhere"),
            }
        }
    }

    fn services(&mut self, all: Vec<Service>) {
        let mut active = Vec::new();
        for service in all {
            let mut profiles = Vec::new();
            for node in service.node.get("profiles").map(either).unwrap_or_default() {
                let text = self.book.text(&node);
                profiles.push(text);
            }
            let asked = |text: &Text| {
                self.wishes
                    .profiles
                    .iter()
                    .any(|asked| *asked == text.text || asked == "*")
            };
            if !profiles.is_empty() && !profiles.iter().any(asked) {
                let first = &profiles[0].text;
                let reason = format!("of the profile `{first}`: `--profile {first}` imports it");
                self.note_all(&service.node, &reason);
                continue;
            }
            for key in profiles.iter().flat_map(|text| &text.keys) {
                self.book.account.used(*key);
            }
            let mut name = named(&service.name, 40);
            while self.names.values().any(|taken| *taken == name) {
                name.push_str("-2");
            }
            self.names.insert(service.name.clone(), name);
            active.push(service);
        }
        let mut rest = Vec::new();
        for service in active {
            match self.is_server(&service) {
                Some(kind) => self.server(&service, kind),
                None => rest.push(service),
            }
        }
        // Jobs say what an application does before it serves, so the applications come first.
        let mut jobs = Vec::new();
        for service in rest {
            match self.role(&service) {
                application::Role::Web(found) => self.application(&service, *found),
                application::Role::Job(found) => jobs.push((service, found)),
                application::Role::Other(reason) => self.leave_all(&service.node, &reason),
            }
        }
        for (service, found) in jobs {
            self.job(&service, *found);
        }
    }

    /// The keys that no importer has a use for.
    fn common(&mut self, service: &Service) {
        for pair in service.node.pairs() {
            match AROUND.iter().find(|(name, ..)| *name == pair.key) {
                Some((_, true, reason)) => self.note_all(&pair.node, reason),
                Some((_, false, reason)) => self.leave_all(&pair.node, reason),
                None => {
                    let reason = format!("`{}` is not carried over", pair.key);
                    self.leave_all(&pair.node, &reason);
                }
            }
        }
    }

    fn name(&self, service: &Service) -> String {
        self.names.get(&service.name).cloned().unwrap_or_default()
    }

    /// The names under which others reach a service.
    fn hosts(&mut self, service: &Service) -> Vec<String> {
        let mut hosts = vec![service.name.clone()];
        for key in ["container_name", "hostname"] {
            if let Some(node) = service.node.get(key) {
                hosts.push(self.book.text(node).text);
            }
        }
        if let Some(networks) = service.node.get("networks") {
            for network in networks.pairs() {
                let aliases = network.node.get("aliases").cloned();
                for alias in aliases.map(|node| either(&node)).unwrap_or_default() {
                    hosts.push(self.book.text(&alias).text);
                }
            }
        }
        hosts.retain(|host| !host.is_empty());
        hosts
    }

    /// The variables of a service: those of its files, and its own over them.
    fn variables(&mut self, service: &Service) -> Vec<Variable> {
        let mut all: Vec<Variable> = Vec::new();
        for node in service.node.get("env_file").map(either).unwrap_or_default() {
            let path = node
                .get("path")
                .cloned()
                .unwrap_or_else(|| Rc::clone(&node));
            let text = self.book.text(&path);
            let file = self.book.base(&path).join(&text.text);
            match input::text(&file) {
                Ok(read) => {
                    node.keys()
                        .iter()
                        .for_each(|key| self.book.account.used(*key));
                    for one in dotenv::read(&read, &input::shown(&file), self.book.account) {
                        let value = Text {
                            text: one.value,
                            keys: vec![one.key],
                            ..Text::default()
                        };
                        self.put(
                            &mut all,
                            Variable {
                                name: one.name,
                                value,
                            },
                        );
                    }
                }
                Err(why) => {
                    let reason = format!("`{}` {why}", input::shown(&file));
                    node.keys()
                        .iter()
                        .for_each(|key| self.book.account.left(*key, reason.clone()));
                }
            }
        }
        let own = service
            .node
            .get("environment")
            .map(pairs)
            .unwrap_or_default();
        for pair in own {
            let name = pair.key.trim().to_owned();
            if !dotenv::is_name(&name) {
                pair.node.keys().iter().for_each(|key| {
                    self.book
                        .account
                        .left(*key, "this is no name of a variable")
                });
                continue;
            }
            let value = match &pair.node.value {
                Value::Null => Text {
                    var: Some(name.clone()),
                    unset: vec![name.clone()],
                    keys: pair.node.keys(),
                    ..Text::default()
                },
                Value::Text(..) => self.book.text(&pair.node),
                _ => {
                    self.leave_all(&pair.node, "a variable holds a single value");
                    continue;
                }
            };
            self.put(&mut all, Variable { name, value });
        }
        all
    }

    fn put(&mut self, all: &mut Vec<Variable>, variable: Variable) {
        match all.iter_mut().find(|there| there.name == variable.name) {
            Some(there) => {
                let place = variable
                    .value
                    .keys
                    .first()
                    .map(|key| self.book.account.place(*key))
                    .unwrap_or_default();
                for key in there
                    .value
                    .keys
                    .iter()
                    .filter(|key| !variable.value.keys.contains(key))
                {
                    self.book
                        .account
                        .noted(*key, format!("`{place}` says otherwise"));
                }
                *there = variable;
            }
            None => all.push(variable),
        }
    }

    fn ports(&mut self, service: &Service) -> Vec<Port> {
        let mut all = Vec::new();
        for node in service.node.get("ports").map(either).unwrap_or_default() {
            if let Value::Map(_) = node.value {
                let mut field = |name: &str| node.get(name).map(|one| self.book.text(one).text);
                let (target, published) = (field("target").unwrap_or_default(), field("published"));
                let (address, protocol) = (field("host_ip"), field("protocol"));
                all.push(Port {
                    address,
                    published,
                    target,
                    udp: protocol.as_deref() == Some("udp"),
                    keys: node.keys(),
                });
                continue;
            }
            let text = self.book.text(&node);
            let (body, protocol) = text.text.split_once('/').unwrap_or((&text.text, "tcp"));
            let mut parts = load::colons(body);
            let target = parts.pop().unwrap_or_default();
            let published = parts.pop().filter(|port| !port.is_empty());
            let address = (!parts.is_empty())
                .then(|| parts.join(":"))
                .filter(|one| !one.is_empty());
            let port = |published: Option<String>, target: String| Port {
                address: address.clone(),
                published,
                target,
                udp: protocol == "udp",
                keys: text.keys.clone(),
            };
            match (range(&target), published.as_deref().and_then(range)) {
                (Some((from, to)), Some((first, last)))
                    if to - from == last - first && to > from && to - from < 100 =>
                {
                    for step in 0..=to - from {
                        all.push(port(
                            Some((first + step).to_string()),
                            (from + step).to_string(),
                        ));
                    }
                }
                _ => all.push(port(published, target)),
            }
        }
        all
    }

    /// Forwards to a service, of those of its ports that it listens on.
    fn forward(&mut self, service: &Service, to: &str, inside: u16) {
        let name = self.name(service);
        let mut made = 0;
        for port in self.ports(service) {
            let said = |reason: String, reader: &mut Self| {
                port.keys
                    .iter()
                    .for_each(|key| reader.book.account.left(*key, reason.clone()));
            };
            if port.udp || port.target != inside.to_string() {
                said(format!("`{to}` listens on {inside}, over TCP only"), self);
                continue;
            }
            let Some(published) = port
                .published
                .as_deref()
                .and_then(|port| port.parse::<u16>().ok())
                .filter(|port| *port > 0)
            else {
                said(
                    "a port that the engine chooses: say which, in `[forward.NAME]`".to_owned(),
                    self,
                );
                continue;
            };
            let (address, note) = match port.address.as_deref() {
                None => ("127.0.0.1".to_owned(), "there it is open to every network"),
                Some(address) => (address.trim_matches(['[', ']']).to_owned(), ""),
            };
            let listen = match address.contains(':') {
                true => format!("[{address}]:{published}"),
                false => format!("{address}:{published}"),
            };
            if listen.parse::<core::net::SocketAddr>().is_err() {
                said("its address is no IP address".to_owned(), self);
                continue;
            }
            if !self.listens.insert(format!("{published}")) {
                said(
                    format!("port {published} of this machine is taken by another service"),
                    self,
                );
                continue;
            }
            made += 1;
            let own = if made == 1 {
                name.clone()
            } else {
                format!("{name}-{made}")
            };
            let table = self.draft.table(&["forward", &own]);
            table.set("to", Toml::Text(to.to_owned()), []);
            table.set_with("listen", Toml::Text(listen), port.keys.clone(), note);
            port.keys
                .iter()
                .for_each(|key| self.book.account.used(*key));
        }
    }

    fn mounts(&mut self, service: &Service) -> Vec<Mount> {
        let mut all = Vec::new();
        for node in service.node.get("volumes").map(either).unwrap_or_default() {
            let base = self.book.base(&node);
            if let Value::Map(_) = node.value {
                let mut field = |name: &str| node.get(name).map(|one| self.book.text(one).text);
                let kind = field("type").unwrap_or_default();
                let (source, target) = (field("source").or_else(|| field("src")), field("target"));
                let source = source.map(|source| {
                    match kind == "bind" && !source.starts_with(['.', '/', '~']) {
                        true => format!("./{source}"),
                        false => source,
                    }
                });
                all.push(Mount {
                    source,
                    target: target.unwrap_or_default(),
                    keys: node.keys(),
                    base,
                });
                continue;
            }
            let text = node.text().unwrap_or_default().to_owned();
            let Some((source, target, _)) = load::mount(&text) else {
                node.keys()
                    .iter()
                    .for_each(|key| self.book.account.left(*key, "not understood"));
                continue;
            };
            let source = source.map(|source| self.book.expand(&node, &source).text);
            let target = self.book.expand(&node, &target);
            all.push(Mount {
                source,
                target: target.text,
                keys: target.keys,
                base,
            });
        }
        all
    }

    /// A command or entrypoint in words.
    fn words(&mut self, node: &Rc<Node>) -> (Vec<String>, Vec<Key>) {
        match &node.value {
            Value::List(items) => {
                let mut words = Vec::new();
                for item in items {
                    words.push(self.book.text(item).text);
                }
                (words, node.keys())
            }
            _ => {
                let text = self.book.text(node);
                let words = crate::import::words::split(&text.text);
                (
                    words.unwrap_or_else(|| vec![text.text.clone()]),
                    node.keys(),
                )
            }
        }
    }
}

fn outside(node: &Node) -> bool {
    match node.get("external") {
        Some(external) => external.text() != Some("false"),
        None => false,
    }
}

/// `8000`, or `8000-8005`.
fn range(text: &str) -> Option<(u16, u16)> {
    match text.split_once('-') {
        Some((from, to)) => Some((from.parse().ok()?, to.parse().ok()?)),
        None => text.parse().ok().map(|port| (port, port)),
    }
}

/// A name as the environment language wants it.
pub(super) fn named(text: &str, most: usize) -> String {
    let plain = |c: char| match c.to_ascii_lowercase() {
        c if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-' => c,
        _ => '-',
    };
    let name: String = text.chars().map(plain).collect();
    let name = name
        .trim_start_matches(|c: char| !c.is_ascii_lowercase())
        .trim_end_matches('-');
    match name.is_empty() {
        true => "project".to_owned(),
        false => name.chars().take(most).collect(),
    }
}
