//! `container`: a service's container on the Docker engine, compared field by field with what the engine says.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::command::{Ask, Do, EngineAction, EngineQuestion, Question, Row, Text};
use crate::resource::{Field, Foreign, Impact, Kind, Removal, Same, Step, few_bits};
use crate::resources::owner::{ENVIRONMENT, Owner};
use crate::secret::Secret;
use crate::statement::FirstStart;

/// A container of a Compose project.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Container {
    /// The Compose project, as in `iact`.
    pub project: String,
    /// The environment it belongs to, for the label by which its other environments leave it alone.
    pub environment: String,
    /// The Compose service, as in `analytics`.
    pub service: String,
    /// Its name, as in `iact-analytics-1`.
    pub name: String,
    /// The tag of its image.
    pub image: String,
    /// What it runs; `None`: what its image says.
    pub command: Option<Vec<String>>,
    /// Its environment, without what its image sets.
    pub env: BTreeMap<String, Text>,
    /// Its published ports.
    pub ports: BTreeSet<Port>,
    /// What is mounted, by path inside.
    pub mounts: BTreeMap<String, Mount>,
    /// The network it is on, under its service's name.
    pub network: String,
    /// How the engine sees that it is healthy; `None`: what its image says.
    pub health: Option<Health>,
    /// The services that have to be healthy before it.
    pub depends: Vec<String>,
    /// Seconds between the signal to stop and the kill.
    pub stop_seconds: i64,
    /// The user it runs as; `None`: what its image says.
    pub user: Option<String>,
    /// The folder with the Compose file, for the labels by which Compose knows the project.
    pub folder: String,
    /// What its first start on an empty volume runs; not compared, since it matters only then.
    pub first_start: Option<Arc<FirstStart>>,
    /// Of a found one: what only the engine knows.
    pub live: Option<Live>,
}

/// What only the engine knows of a container.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Live {
    /// Its id.
    pub id: String,
    /// `running`, `exited`, `restarting`, ...
    pub state: String,
    /// Its exit code, where it does not run.
    pub exit_code: i64,
    /// `healthy`, `unhealthy`, `starting`; empty without a health check.
    pub health: String,
    /// How often the engine has started it again after it ended.
    pub restarts: i64,
    /// Whether it ran out of memory when it ended.
    pub out_of_memory: bool,
    /// Why the engine could not start it, in its words.
    pub error: String,
    /// The last line of what its health check said, where it says that it is unhealthy.
    pub check_said: String,
    /// The line of its log that tells best why, where it does not run as it should; the engine is asked for it only then.
    pub last_line: String,
    /// Whether it is of another project.
    pub foreign: bool,
    /// The environment that its labels name.
    pub owner: Owner,
    /// Its tag no longer names the image it was made from.
    pub outdated: bool,
    /// Whether its command and health check are its image's own.
    pub own_command: bool,
    /// Whether its health check is its image's own.
    pub own_health: bool,
    /// Its restart policy.
    pub restart: String,
}

/// A published port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// Port inside.
    pub inside: u16,
    /// Address on the machine, `127.0.0.1` unless told otherwise.
    pub address: String,
    /// Port on the machine.
    pub outside: u16,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mount {
    /// A named volume: its name in the engine and its key in the Compose file.
    Volume(String, String),
    /// A path of the machine, and whether it is read-only.
    Bind(String, bool),
}

impl Mount {
    fn shown(&self) -> String {
        match self {
            Mount::Volume(name, _) => format!("volume {name}"),
            Mount::Bind(path, true) => format!("{path}, read-only"),
            Mount::Bind(path, false) => path.clone(),
        }
    }
}

/// A health check. Times in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// `["CMD", ...]`.
    pub test: Vec<String>,
    /// Between two checks.
    pub interval: i64,
    /// For one check.
    pub timeout: i64,
    /// Failed checks in a row until it is unhealthy.
    pub retries: i64,
    /// After the start, in which failures do not count.
    pub start_period: i64,
}

const NANOS: i64 = 1_000_000_000;
const RESTART: &str = "unless-stopped";

impl Container {
    /// The labels that are ours, also written into the Compose file.
    pub fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("provision.service".to_owned(), self.service.clone()),
            (ENVIRONMENT.to_owned(), self.environment.clone()),
        ])
    }

    /// Whether a found container runs.
    pub fn runs(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.state == "running")
    }

    /// The name Compose 1.29 gives: as good as ours.
    fn old_name(&self) -> String {
        format!("{}_{}_1", self.project, self.service)
    }

    fn env_fields(&self, found: Option<&Self>) -> Vec<Field> {
        let mut fields = Vec::new();
        for (name, wanted) in &self.env {
            let label = format!("env {name}");
            let there = found.and_then(|f| f.env.get(name));
            if wanted.is_secret() {
                let same = if there.is_some_and(|t| t.expose() == wanted.expose()) { Same::Yes } else { Same::No };
                fields.push(Field::hidden(label, there.is_some(), same, Impact::Recreate));
            } else {
                // What stood there may have been a secret before the file changed, so only equality is told.
                let same = there.is_some_and(|t| t.expose() == wanted.expose());
                let from = there.map(|_| if same { wanted.shown() } else { "differs".to_owned() });
                fields.push(Field::new(label, from, wanted.shown(), Impact::Recreate));
            }
        }
        for name in found.into_iter().flat_map(|f| f.env.keys()).filter(|name| !self.env.contains_key(*name)) {
            fields.push(Field::extra(format!("env {name}"), "set", Impact::Recreate));
        }
        fields
    }

    fn port_fields(&self, found: Option<&Self>) -> Vec<Field> {
        let shown = |ports: &BTreeSet<Port>, inside: u16| {
            let all: Vec<_> = ports
                .iter()
                .filter(|port| port.inside == inside)
                .map(|port| format!("{}:{}", port.address, port.outside))
                .collect();
            (!all.is_empty()).then(|| all.join(", "))
        };
        let none = BTreeSet::new();
        let there = found.map_or(&none, |f| &f.ports);
        let inside: BTreeSet<u16> = self.ports.iter().chain(there).map(|port| port.inside).collect();
        inside
            .into_iter()
            .map(|inside| {
                let name = format!("port {inside}");
                let (from, to) = (shown(there, inside), shown(&self.ports, inside));
                match to {
                    Some(to) => Field::new(name, from, to, Impact::Recreate),
                    None => Field::extra(name, from.unwrap_or_default(), Impact::Recreate),
                }
            })
            .collect()
    }

    fn mount_fields(&self, found: Option<&Self>) -> Vec<Field> {
        let mut fields: Vec<_> = self
            .mounts
            .iter()
            .map(|(path, mount)| {
                let there = found.and_then(|f| f.mounts.get(path)).map(Mount::shown);
                Field::new(format!("mount {path}"), there, mount.shown(), Impact::Recreate)
            })
            .collect();
        for (path, mount) in found.into_iter().flat_map(|f| &f.mounts) {
            if !self.mounts.contains_key(path) {
                fields.push(Field::extra(format!("mount {path}"), mount.shown(), Impact::Recreate));
            }
        }
        fields
    }

    fn endpoint(&self) -> Value {
        json!({ "Aliases": [self.service] })
    }

    fn body(&self) -> Value {
        let mut exposed = Map::new();
        let mut bindings = Map::new();
        for port in &self.ports {
            let key = format!("{}/tcp", port.inside);
            exposed.insert(key.clone(), json!({}));
            let list = bindings.entry(key).or_insert_with(|| json!([]));
            if let Some(list) = list.as_array_mut() {
                list.push(json!({ "HostIp": port.address, "HostPort": port.outside.to_string() }));
            }
        }
        let mounts: Vec<Value> = self
            .mounts
            .iter()
            .map(|(path, mount)| match mount {
                Mount::Volume(name, _) => json!({ "Type": "volume", "Source": name, "Target": path }),
                Mount::Bind(from, ro) => json!({ "Type": "bind", "Source": from, "Target": path, "ReadOnly": ro }),
            })
            .collect();
        let mut labels: Map<String, Value> = self.labels().into_iter().map(|(k, v)| (k, Value::String(v))).collect();
        let depends: Vec<_> = self.depends.iter().map(|service| format!("{service}:service_healthy:false")).collect();
        for (key, value) in [
            ("project", self.project.clone()),
            ("service", self.service.clone()),
            ("oneoff", "False".to_owned()),
            ("container-number", "1".to_owned()),
            ("version", crate::resources::COMPOSE_VERSION.to_owned()),
            ("project.working_dir", self.folder.clone()),
            ("project.config_files", format!("{}/docker-compose.yml", self.folder)),
            ("depends_on", depends.join(",")),
        ] {
            labels.insert(format!("com.docker.compose.{key}"), Value::String(value));
        }
        let mut body = json!({
            "Image": self.image,
            "Labels": labels,
            "ExposedPorts": exposed,
            "StopTimeout": self.stop_seconds,
            "HostConfig": {
                "PortBindings": bindings,
                "Mounts": mounts,
                "RestartPolicy": { "Name": RESTART },
                "NetworkMode": self.network,
            },
            "NetworkingConfig": { "EndpointsConfig": { self.network.clone(): self.endpoint() } },
        });
        if let Some(command) = &self.command {
            body["Cmd"] = json!(command);
        }
        if let Some(user) = &self.user {
            body["User"] = json!(user);
        }
        if let Some(health) = &self.health {
            body["Healthcheck"] = json!({
                "Test": health.test,
                "Interval": health.interval * NANOS,
                "Timeout": health.timeout * NANOS,
                "Retries": health.retries,
                "StartPeriod": health.start_period * NANOS,
            });
        }
        body
    }

    /// How it runs, and where it does not: how it ended, how often it was started again, and what it said last.
    fn state(&self, live: &Live) -> String {
        let mut said = vec![match live.state.as_str() {
            "exited" => format!("exited with {}", live.exit_code),
            "restarting" => format!("restarting, ended with {}", live.exit_code),
            "running" if live.health == "unhealthy" => "running, unhealthy".to_owned(),
            "running" if live.is_restarting() => "starting again".to_owned(),
            "running" => return "running".to_owned(),
            other => other.to_owned(),
        }];
        if live.restarts > 0 {
            said.push(match live.restarts {
                1 => "started again once".to_owned(),
                times => format!("started again {times} times"),
            });
        }
        if live.out_of_memory {
            said.push("out of memory".to_owned());
        }
        if !live.error.is_empty() {
            said.push(live.error.clone());
        }
        let last = match (live.check_said.is_empty(), live.last_line.is_empty()) {
            (false, _) => Some(format!("its check says: {}", live.check_said)),
            (true, false) => Some(format!("its log says: {}", live.last_line)),
            (true, true) => None,
        };
        said.extend(last);
        let secrets = self.env.values().filter(|value| value.is_secret());
        secrets.fold(said.join(", "), |said, secret| secret.expose().taken_out_of(&said))
    }

    fn run(&self, replaces: Option<String>) -> Step {
        let (says, impact) = match replaces {
            Some(_) => ("make the container anew and start it", Impact::Recreate),
            None => ("create and start the container", Impact::None),
        };
        let action = EngineAction::RunContainer {
            service: self.service.clone(),
            name: self.name.clone(),
            replaces,
            body: self.body(),
            env: self.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            networks: Vec::new(),
        };
        Step::engine(says, action, impact, 120)
    }
}

impl Kind for Container {
    const NAME: &'static str = "container";
    const QUESTION: Question = Question { name: "containers", ask: Ask::Engine(EngineQuestion::Containers) };

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.service)
    }

    fn read(&self, rows: &[Row]) -> Result<Option<Self>, String> {
        // A container that carries a temporary name is what a run that died left behind.
        let is_left = |row: &&Row| row["inspect"]["Name"].as_str().is_some_and(|name| name.ends_with("-provision-new"));
        let row = rows.iter().filter(|row| row.contains_key("inspect")).find(|row| !is_left(row));
        row.map(|row| self.read_one(row)).transpose()
    }

    fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        let live = found.and_then(|f| f.live.as_ref());
        let recreate = Impact::Recreate;
        let name = found.map(|f| if f.name == self.old_name() { self.name.clone() } else { f.name.clone() });
        let state = live.map(|live| self.state(live));
        let image = found.map(|f| if live.is_some_and(|l| l.outdated) { "an older one".to_owned() } else { f.image.clone() });
        let mut fields = vec![
            Field::new("name", name, &self.name, Impact::None),
            Field::new("state", state, "running", Impact::Restart),
            Field::new("image", image, &self.image, recreate),
        ];
        let join = |command: &Option<Vec<String>>| command.as_ref().map_or("as in the image".to_owned(), |c| c.join(" "));
        let command = |f: &Self| match (&self.command, live.is_some_and(|l| l.own_command)) {
            (None, true) => "as in the image".to_owned(),
            _ => join(&f.command),
        };
        fields.push(Field::new("command", found.map(command), join(&self.command), recreate));
        if let Some(health) = &self.health {
            let shown = |health: &Health| {
                let Health { test, interval, timeout, retries, start_period } = health;
                let test = test.join(" ");
                let test: String = test.chars().take(60).collect();
                format!("every {interval} s, {timeout} s, {retries} times, after {start_period} s: {test}")
            };
            let there = found.map(|f| f.health.as_ref().map_or("none".to_owned(), shown));
            let mut field = Field::new("health", there, shown(health), recreate);
            if found.is_some_and(|f| f.health.as_ref() != Some(health)) {
                field.same = Same::No;
            }
            fields.push(field);
        }
        if let Some(user) = &self.user {
            fields.push(Field::new("user", found.and_then(|f| f.user.clone()), user, recreate));
        }
        fields.push(Field::new("restart", live.map(|l| l.restart.clone()), RESTART, recreate));
        fields.extend(self.env_fields(found));
        fields.extend(self.port_fields(found));
        fields.extend(self.mount_fields(found));
        let network = found.filter(|f| f.network == self.network).map(|_| "connected".to_owned());
        fields.push(Field::new(format!("network {}", self.network), network, "connected", Impact::None));
        fields
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        let mut steps = Vec::new();
        let Some((found, live)) = found.and_then(|f| Some((f, f.live.as_ref()?))) else {
            steps.push(self.run(None));
            steps.push(self.wait());
            return steps;
        };
        let fields = self.fields(Some(found));
        let differs = |name: &str| fields.iter().any(|field| field.name.starts_with(name) && field.differs());
        if fields.iter().any(|field| field.differs() && field.impact == Impact::Recreate) {
            return vec![self.run(Some(live.id.clone())), self.wait()];
        }
        if differs("name") {
            let action = EngineAction::RenameContainer { id: live.id.clone(), name: self.name.clone() };
            steps.push(Step::engine("give the container its name back", action, Impact::None, 30));
        }
        if differs("network") {
            let action = EngineAction::Connect {
                container: live.id.clone(),
                network: self.network.clone(),
                endpoint: self.endpoint(),
            };
            steps.push(Step::engine("connect it to the network", action, Impact::None, 30));
        }
        if differs("state") {
            let name = live.id.clone();
            let action = match live.state.as_str() {
                "exited" | "created" => EngineAction::StartContainer { name },
                _ => EngineAction::RestartContainer { name },
            };
            steps.push(Step::engine("start the container", action, Impact::Restart, 60));
        }
        if !steps.is_empty() {
            steps.push(self.wait());
        }
        steps
    }

    fn named(key: &str) -> Option<Self> {
        Some(Container { service: key.to_owned(), ..Container::default() })
    }

    fn mark(&self, field: &str) -> Option<String> {
        let value = self.env.get(field.strip_prefix("env ")?)?;
        value.is_secret().then(|| few_bits(value.expose().expose()))
    }

    fn remove(&self) -> Removal {
        let name = self.live.as_ref().map_or_else(|| self.name.clone(), |live| live.id.clone());
        let action = EngineAction::RemoveContainer { name };
        Removal::Steps(vec![Step::engine("stop and remove the container", action, Impact::Recreate, 60)])
    }

    fn foreign(&self) -> Option<Foreign> {
        let live = self.live.as_ref()?;
        let id: String = live.id.chars().take(12).collect();
        if live.foreign {
            let message = format!("a container `{}` ({id}) is there that is not of project `{}`", self.name, self.project);
            return Some(Foreign { message, owner: None });
        }
        let asked_by = Owner::new(&self.project, &self.environment);
        live.owner.foreign(&asked_by, Self::NAME, &self.name)
    }
}

impl Container {
    /// The steps of a container that starts on volumes which are made in the same run.
    pub fn first_starts(&self, steps: Vec<Step>) -> Vec<Step> {
        let Some(first_start) = &self.first_start else {
            return steps;
        };
        let volumes = self.mounts.values().filter_map(|mount| match mount {
            Mount::Volume(name, _) => Some(name.clone()),
            Mount::Bind(..) => None,
        });
        let volumes: Vec<String> = volumes.collect();
        let first = |step: Step| match &step.does {
            Do::Engine(EngineAction::WaitHealthy { name }) => Step {
                does: Do::Engine(EngineAction::WaitFirstStart {
                    name: name.clone(),
                    volumes: volumes.clone(),
                    first_start: Arc::clone(first_start),
                }),
                ..step
            },
            _ => step,
        };
        steps.into_iter().map(first).collect()
    }

    fn wait(&self) -> Step {
        let action = EngineAction::WaitHealthy { name: self.name.clone() };
        Step::engine("wait until it is healthy", action, Impact::None, 180)
    }

    fn read_one(&self, row: &Row) -> Result<Self, String> {
        let inspect = row.get("inspect").filter(|value| value.is_object()).ok_or("the engine did not say what the container is")?;
        let image = &row.get("image").cloned().unwrap_or(Value::Null);
        let config = &inspect["Config"];
        let host = &inspect["HostConfig"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let texts = |value: &Value| -> Option<Vec<String>> {
            Some(value.as_array()?.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect())
        };
        let tag = text(&config["Image"]);
        let tags = texts(&image["RepoTags"]);
        let image_env: BTreeSet<String> = texts(&image["Config"]["Env"]).unwrap_or_default().into_iter().collect();
        let env = texts(&config["Env"])
            .unwrap_or_default()
            .into_iter()
            .filter_map(|pair| {
                let (name, value) = pair.split_once('=')?;
                let kept = self.env.contains_key(name) || !image_env.contains(&pair);
                kept.then(|| (name.to_owned(), Text::secret(Secret::new(value))))
            })
            .collect();
        let command = texts(&config["Cmd"]);
        let health = &config["Healthcheck"];
        let seconds = |value: &Value| value.as_i64().unwrap_or(0) / NANOS;
        let networks = &inspect["NetworkSettings"]["Networks"];
        // A network that was removed and made again has another id: the container is still tied to the old one.
        let current = row.get("networks").map(|ids| &ids[&self.network]);
        let on_it = !networks[&self.network].is_null()
            && current.is_none_or(|id| id == &networks[&self.network]["NetworkID"]);
        Ok(Container {
            project: self.project.clone(),
            environment: self.environment.clone(),
            service: self.service.clone(),
            name: text(&inspect["Name"]).trim_start_matches('/').to_owned(),
            first_start: None,
            live: Some(Live {
                check_said: match inspect["State"]["Health"]["Status"].as_str() {
                    Some("unhealthy") => inspect["State"]["Health"]["Log"]
                        .as_array()
                        .and_then(|log| Some(one_line(log.last()?["Output"].as_str()?)))
                        .unwrap_or_default(),
                    _ => String::new(),
                },
                last_line: row.get("last_line").map(text).unwrap_or_default(),
                foreign: row.get("foreign").and_then(Value::as_bool).unwrap_or(false),
                owner: Owner::of(&config["Labels"]),
                outdated: !tag.starts_with("sha256:") && tags.is_some_and(|tags| !tags.contains(&tag)),
                own_command: command == texts(&image["Config"]["Cmd"]),
                own_health: *health == image["Config"]["Healthcheck"],
                restart: text(&host["RestartPolicy"]["Name"]),
                ..Live::of(inspect)
            }),
            image: tag,
            command,
            env,
            ports: read_ports(&host["PortBindings"]),
            mounts: read_mounts(inspect, image),
            network: if on_it { self.network.clone() } else { String::new() },
            health: texts(&health["Test"]).map(|test| Health {
                test,
                interval: seconds(&health["Interval"]),
                timeout: seconds(&health["Timeout"]),
                retries: health["Retries"].as_i64().unwrap_or(0),
                start_period: seconds(&health["StartPeriod"]),
            }),
            user: Some(text(&config["User"])),
            depends: Vec::new(),
            stop_seconds: self.stop_seconds,
            folder: self.folder.clone(),
        })
    }
}

/// The last line of a text that says something, short enough for a plan.
fn one_line(text: &str) -> String {
    let last = text.lines().rev().map(str::trim).find(|line| !line.is_empty());
    last.unwrap_or_default().chars().take(200).collect()
}

impl Live {
    fn of(inspect: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let state = &inspect["State"];
        Live {
            id: text(&inspect["Id"]),
            state: text(&state["Status"]),
            exit_code: state["ExitCode"].as_i64().unwrap_or(0),
            health: text(&state["Health"]["Status"]),
            restarts: inspect["RestartCount"].as_i64().unwrap_or(0),
            out_of_memory: state["OOMKilled"].as_bool() == Some(true),
            error: one_line(&text(&state["Error"])),
            ..Live::default()
        }
    }

    /// Whether it ends and is started again, over and over: what runs at this moment is a try that has not come to health yet.
    fn is_restarting(&self) -> bool {
        self.restarts > 0 && self.health == "starting"
    }

    fn ails(&self) -> bool {
        self.state != "running" || self.health == "unhealthy" || self.is_restarting()
    }
}

/// Whether a container does not run as it should, so that its log tells more: it ended, is unhealthy, or is started again and again.
pub fn ails(inspect: &Value) -> bool {
    Live::of(inspect).ails()
}

fn read_ports(bindings: &Value) -> BTreeSet<Port> {
    let mut ports = BTreeSet::new();
    for (inside, list) in bindings.as_object().into_iter().flatten() {
        let Some(inside) = inside.strip_suffix("/tcp").and_then(|port| port.parse().ok()) else { continue };
        for binding in list.as_array().into_iter().flatten() {
            let address = match binding["HostIp"].as_str() {
                None | Some("") => "0.0.0.0",
                Some(address) => address,
            };
            let outside = binding["HostPort"].as_str().and_then(|port| port.parse().ok()).unwrap_or(0);
            ports.insert(Port { inside, address: address.to_owned(), outside });
        }
    }
    ports
}

fn read_mounts(inspect: &Value, image: &Value) -> BTreeMap<String, Mount> {
    let mut mounts = BTreeMap::new();
    for mount in inspect["Mounts"].as_array().into_iter().flatten() {
        let Some(path) = mount["Destination"].as_str() else { continue };
        let name = mount["Name"].as_str().unwrap_or_default();
        // An image's own VOLUME that nobody mounted gets an anonymous volume: not a difference.
        let anonymous = name.len() == 64 && !image["Config"]["Volumes"][path].is_null();
        let found = match mount["Type"].as_str() {
            Some("volume") if !anonymous => Mount::Volume(name.to_owned(), String::new()),
            Some("bind") => {
                let source = mount["Source"].as_str().unwrap_or_default();
                Mount::Bind(source.to_owned(), mount["RW"].as_bool() == Some(false))
            }
            _ => continue,
        };
        mounts.insert(path.to_owned(), found);
    }
    mounts
}
