//! Services of a Compose project that are Django applications, and jobs of them.

use std::path::PathBuf;

use crate::import::account::Key;
use crate::import::compose::{Reader, Service};
use crate::import::connection::{self, Value as Text};
use crate::import::dockerfile::{self, Dockerfile};
use crate::import::draft::{Toml, literal};
use crate::import::project::{self, Project};
use crate::import::yaml::Value;
use crate::import::{input, words};

/// What a service is for an application.
pub(super) enum Role {
    /// It serves.
    Web(Box<Found>),
    /// It does something once.
    Job(Box<Found>),
    /// No table is for it; why.
    Other(String),
}

/// An application that was found.
pub(super) struct Found {
    project: Project,
    context: PathBuf,
    commands: Vec<Vec<String>>,
    command_keys: Vec<Key>,
    build_keys: Vec<Key>,
    dockerfile: Dockerfile,
}

/// What a command of an application is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Serve,
    Migrate,
    Static,
    Work,
    Wait,
    Else,
}

fn does(words: &[String]) -> Does {
    let has = |word: &str| words.iter().any(|own| own == word);
    let program = words
        .first()
        .map_or("", |word| word.rsplit('/').next().unwrap_or_default());
    let all = words.join(" ");
    match program {
        "gunicorn" | "uvicorn" | "daphne" | "hypercorn" | "uwsgi" | "waitress-serve"
        | "granian" => return Does::Serve,
        "celery" | "rq" | "dramatiq" | "flower" | "huey_consumer" | "huey_consumer.py" => {
            return Does::Work;
        }
        "wait-for-it" | "wait-for-it.sh" | "wait-for" | "dockerize" | "sleep"
        | "wait-for-db.sh" | "echo" | "cd" | "set" | "./wait-for-it.sh" => return Does::Wait,
        _ => {}
    }
    let manage = words.iter().any(|word| word.ends_with("manage.py"));
    match () {
        () if all.contains("gunicorn") || all.contains("uvicorn") || all.contains("daphne") => {
            Does::Serve
        }
        () if all.contains("celery") => Does::Work,
        () if manage && (has("runserver") || has("runserver_plus")) => Does::Serve,
        () if manage && has("migrate") => Does::Migrate,
        () if manage && has("collectstatic") => Does::Static,
        () if manage
            && (has("qcluster") || has("rqworker") || has("run_huey") || has("process_tasks")) =>
        {
            Does::Work
        }
        () if manage && (has("wait_for_db") || has("check")) => Does::Wait,
        () => Does::Else,
    }
}

impl Reader<'_> {
    pub(super) fn role(&mut self, service: &Service) -> Role {
        let image = service
            .node
            .get("image")
            .cloned()
            .map(|node| self.book.text(&node).text);
        let build = service.node.get("build").cloned();
        let what = image.clone().unwrap_or_else(|| service.name.clone());
        let what = what
            .split('@')
            .next()
            .unwrap_or_default()
            .replace(['\n', '\r', '`'], " ");
        let Some(build) = build else {
            let variables = service.node.get("environment").is_some_and(|node| {
                super::load::pairs(node)
                    .iter()
                    .any(|pair| pair.key == "DJANGO_SETTINGS_MODULE")
            });
            return Role::Other(match variables {
                true => format!(
                    "an image that is made elsewhere (`{what}`): an application is built from its source here"
                ),
                false => format!("there is no table for `{what}` yet"),
            });
        };
        let base = self.book.base(&build);
        let (context, file) = match &build.value {
            Value::Map(_) => {
                let context = build
                    .get("context")
                    .cloned()
                    .map(|node| self.book.text(&node).text);
                let file = build
                    .get("dockerfile")
                    .cloned()
                    .map(|node| self.book.text(&node).text);
                (context.unwrap_or_else(|| ".".to_owned()), file)
            }
            _ => (self.book.text(&build).text, None),
        };
        if context.contains("://") || context.starts_with("git@") {
            return Role::Other(
                "its source is fetched from elsewhere: name the folder of a clone".to_owned(),
            );
        }
        let context = input::plain(&base.join(&context));
        let path = context.join(file.as_deref().unwrap_or("Dockerfile"));
        let mut projects = project::find(&context);
        if projects.is_empty() {
            return Role::Other(match context.is_dir() {
                true => format!(
                    "there is no `manage.py` in `{}`, so it is no Django application",
                    input::shown(&context)
                ),
                false => format!("`{}` does not exist", input::shown(&context)),
            });
        }
        // Several services may be built from one file, whose keys count once.
        let dockerfile = match self.dockerfiles.get(&path) {
            Some(known) => known.clone(),
            None => {
                let read = input::text(&path)
                    .map(|text| dockerfile::read(&text, &input::shown(&path), self.book.account));
                let read = read.unwrap_or_default();
                self.dockerfiles.insert(path.clone(), read.clone());
                read
            }
        };
        let command = service.node.get("command").cloned();
        let entrypoint = service.node.get("entrypoint").cloned();
        let mut words = Vec::new();
        let mut command_keys = Vec::new();
        for node in [entrypoint, command].into_iter().flatten() {
            let (more, keys) = self.words(&node);
            // `sh -c` in the entrypoint takes the command as its script.
            words.extend(more);
            command_keys.extend(keys);
        }
        let mut docker_keys = Vec::new();
        if service.node.get("command").is_none() {
            if let Some((more, key)) = &dockerfile.command {
                words.extend(more.iter().cloned());
                docker_keys.push(*key);
            }
        } else if let Some((_, key)) = &dockerfile.command {
            self.book
                .account
                .noted(*key, "the Compose file says otherwise");
        }
        command_keys.extend(docker_keys);
        let mut commands = words::unwrapped(&words);
        // A script of the application's own, which says what it starts at its end.
        if let Some((script, _)) = &dockerfile.entrypoint
            && service.node.get("entrypoint").is_none()
        {
            commands.push(script.clone());
        }
        let context_project = projects.remove(0);
        let kinds: Vec<Does> = commands.iter().map(|words| does(words)).collect();
        let found = Box::new(Found {
            project: context_project,
            context,
            commands,
            command_keys,
            build_keys: build.keys(),
            dockerfile,
        });
        let has = |kind: Does| kinds.contains(&kind);
        match () {
            () if has(Does::Serve) => Role::Web(found),
            () if has(Does::Work) => Role::Other(
                "a worker of the application: there is no table for its further processes yet"
                    .to_owned(),
            ),
            () if has(Does::Migrate) || has(Does::Static) => Role::Job(found),
            () if words.is_empty() || service.node.get("ports").is_some() => Role::Web(found),
            () => Role::Other("a job of the application that is not understood".to_owned()),
        }
    }

    pub(super) fn application(&mut self, service: &Service, found: Found) {
        let name = self.name(service);
        let variables = self.variables(service);
        let mut settings = variables
            .iter()
            .find(|one| one.name == "DJANGO_SETTINGS_MODULE" && project::is_module(&one.value.text))
            .map(|one| (one.value.text.clone(), one.value.keys.clone()));
        if settings.is_none() {
            settings = found
                .dockerfile
                .env
                .iter()
                .find(|(name, ..)| name == "DJANGO_SETTINGS_MODULE")
                .map(|(_, value, key)| (value.clone(), vec![*key]));
        }
        let settings = settings.or_else(|| {
            found
                .project
                .settings
                .clone()
                .map(|module| (module, Vec::new()))
        });
        let folder = input::shown(&found.project.folder);
        let Some((settings, settings_keys)) = settings else {
            let reason = format!("`{folder}/manage.py` names no settings module");
            return self.leave_all(&service.node, &reason);
        };
        let requirements = found
            .dockerfile
            .requirements
            .as_ref()
            .map(|(file, _)| file.trim_start_matches("./").to_owned());
        let requirements = requirements
            .and_then(|file| {
                let here = [
                    (found.project.folder.clone(), file.clone()),
                    (found.context.clone(), file),
                ];
                let there = here
                    .into_iter()
                    .find(|(folder, file)| !file.starts_with('/') && folder.join(file).is_file());
                there.map(|(folder, file)| {
                    input::relative(&found.project.folder, &folder.join(file))
                })
            })
            .or_else(|| found.project.requirements.clone());
        let Some(requirements) = requirements else {
            let reason = format!(
                "there is no requirements file in `{folder}`: `pip freeze > requirements.txt` writes one"
            );
            return self.leave_all(&service.node, &reason);
        };
        let source = input::relative(&self.wishes.folder, &found.project.folder);
        let table = self.draft.table(&["django", &name]);
        table.comment.push(format!(
            "The service `{}`, line {} there.",
            service.name.replace(['\n', '\r'], " "),
            service.line
        ));
        table.set(
            "source",
            Toml::Text(literal(&source)),
            found.build_keys.clone(),
        );
        found
            .build_keys
            .iter()
            .for_each(|key| self.book.account.used(*key));
        if let Some(build) = service.node.get("build") {
            for pair in build.pairs() {
                let reason = match pair.key.as_str() {
                    "context" | "dockerfile" => continue,
                    "target" => "stages of a Dockerfile are not carried over",
                    "args" => "arguments of a build are not carried over",
                    _ => "of its build only the folder is carried over",
                };
                pair.node
                    .keys()
                    .iter()
                    .for_each(|key| self.book.account.insist(*key, reason));
            }
        }
        let served: Vec<Vec<String>> = found
            .commands
            .iter()
            .filter(|words| does(words) == Does::Serve)
            .cloned()
            .collect();
        let development = served
            .iter()
            .flatten()
            .any(|word| word.starts_with("runserver"));
        let mounted = self.app_mounts(service, &found, development);
        let table = self.draft.table(&["django", &name]);
        if !mounted.is_empty() {
            table.set("mount", Toml::Bool(true), mounted);
        }
        if requirements != "requirements.txt" {
            let keys: Vec<Key> = found
                .dockerfile
                .requirements
                .iter()
                .map(|(_, key)| *key)
                .collect();
            table.set("requirements", Toml::Text(requirements), keys);
        }
        table.set("settings", Toml::Text(settings), settings_keys.clone());
        settings_keys
            .iter()
            .for_each(|key| self.book.account.used(*key));
        self.take_dockerfile(&name, &found);
        let port = self.commands(service, &name, &found);
        self.health(service, &name, &variables);
        self.forward(service, &format!("django.{name}"), port);
        self.files_of_secrets(service);
        if let Some(image) = service.node.get("image") {
            let reason = "the image is built and named here";
            image
                .keys()
                .iter()
                .for_each(|key| self.book.account.noted(*key, reason));
        }
        self.common_of_application(service);
        let mut rest: Vec<connection::Variable> = variables
            .into_iter()
            .filter(|one| one.name != "DJANGO_SETTINGS_MODULE")
            .collect();
        for (variable, value, key) in &found.dockerfile.env {
            if variable != "DJANGO_SETTINGS_MODULE"
                && variable != "PATH"
                && !rest.iter().any(|one| one.name == *variable)
            {
                let value = Text {
                    text: value.clone(),
                    keys: vec![*key],
                    ..Text::default()
                };
                rest.push(connection::Variable {
                    name: variable.clone(),
                    value,
                });
            } else {
                self.book.account.noted(*key, "said elsewhere");
            }
        }
        connection::wire(self.draft, self.book.account, &name, &rest, &self.servers);
    }

    fn common_of_application(&mut self, service: &Service) {
        if let Some(node) = service.node.get("working_dir") {
            node.keys().iter().for_each(|key| {
                self.book
                    .account
                    .noted(*key, "it is served from the folder of `manage.py`")
            });
        }
        self.common(service);
    }

    fn take_dockerfile(&mut self, name: &str, found: &Found) {
        let file = &found.dockerfile;
        let account = &mut self.book.account;
        let table = self.draft.table(&["django", name]);
        if let Some((base, key)) = &file.base {
            let last = base.rsplit('/').next().unwrap_or_default();
            let (image, tag) = last.split_once(':').unwrap_or((last, ""));
            let debian = [
                "",
                "slim",
                "bookworm",
                "slim-bookworm",
                "trixie",
                "slim-trixie",
                "bullseye",
                "slim-bullseye",
            ];
            let (version, rest) = tag.split_once('-').unwrap_or((tag, ""));
            if image == "python" && debian.contains(&rest) && version.starts_with("3.") {
                // The default is the same interpreter, and can be had without a registry.
                if version == "3.11" {
                    account.used(*key);
                } else {
                    table.set("image", Toml::Text(base.clone()), [*key]);
                    account.used(*key);
                }
            } else {
                account.left(*key, "the base image is not Debian's family of `python`: `python:3.11-slim-bookworm` is used");
            }
        }
        for (key, packages) in [
            ("packages", &file.packages),
            ("build_packages", &file.build_packages),
        ] {
            for (package, from) in packages {
                table.push(key, Toml::Text(package.clone()), [*from]);
            }
        }
        // One stage installs what building needs, too.
        if file.build_packages.is_empty()
            && file.packages.iter().any(|(package, _)| {
                package.ends_with("-dev") || package == "gcc" || package == "build-essential"
            })
        {
            for (package, from) in &file.packages {
                table.push("build_packages", Toml::Text(package.clone()), [*from]);
            }
        }
        if let Some((words, key)) = &file.entrypoint {
            let script = words.join(" ");
            let first = script
                .split_whitespace()
                .next()
                .unwrap_or_default()
                .to_owned();
            if does(words) == Does::Else {
                account.left(*key, format!("what `{first}` does before it serves is not known: `migrate` and `static` say the usual"));
            } else {
                account.used(*key);
            }
        }
    }

    /// What the commands say; the port that it listens on.
    fn commands(&mut self, service: &Service, name: &str, found: &Found) -> u16 {
        let keys = &found.command_keys;
        let mut strange = Vec::new();
        let mut port = None;
        let table = self.draft.table(&["django", name]);
        for words in &found.commands {
            match does(words) {
                Does::Migrate => table.set("migrate", Toml::Bool(true), keys.clone()),
                Does::Static => table.set("static", Toml::Bool(true), keys.clone()),
                Does::Wait => {}
                Does::Serve => {
                    let said = words::option(words, &["--bind", "-b", "--port", "-p", "--http"]);
                    let after = words
                        .iter()
                        .position(|word| word.starts_with("runserver"))
                        .and_then(|at| words.get(at + 1..));
                    let after =
                        after.and_then(|rest| rest.iter().find(|word| !word.starts_with('-')));
                    let said = said.or(after.map(String::as_str));
                    port = said
                        .and_then(|said| said.rsplit(':').next())
                        .and_then(|port| port.parse::<u16>().ok())
                        .or(port);
                    if let Some(number) = words::option(words, &["--workers", "-w"])
                        .and_then(|number| number.parse().ok())
                    {
                        table.set("workers", Toml::Int(number), keys.clone());
                    }
                    let target = words.iter().find(|word| {
                        word.contains(':')
                            && project::is_module(word.split(':').next().unwrap_or_default())
                    });
                    let target = target.or_else(|| {
                        words
                            .iter()
                            .skip(1)
                            .find(|word| project::is_module(word) && word.ends_with(".wsgi"))
                    });
                    match target {
                        Some(target) if target.contains("asgi") => {
                            strange.push("an ASGI server".to_owned())
                        }
                        Some(target) => {
                            let wsgi = match target.contains(':') {
                                true => target.clone(),
                                false => format!("{target}:application"),
                            };
                            table.set("wsgi", Toml::Text(wsgi), keys.clone());
                        }
                        None if matches!(
                            words.first().map(String::as_str),
                            Some("daphne" | "uvicorn")
                        ) =>
                        {
                            strange.push("an ASGI server".to_owned())
                        }
                        None => {}
                    }
                }
                Does::Work | Does::Else => {
                    let known = found
                        .dockerfile
                        .entrypoint
                        .as_ref()
                        .is_some_and(|(entry, _)| entry == words);
                    if !known {
                        strange.push(format!("`{}`", words::program(words)));
                    }
                }
            }
        }
        for key in keys {
            match strange.is_empty() {
                true => self.book.account.used(*key),
                false => self.book.account.insist(
                    *key,
                    format!("of its command {} is not carried over", strange.join(", ")),
                ),
            }
        }
        let inside = self
            .ports(service)
            .first()
            .and_then(|one| one.target.parse::<u16>().ok());
        let port = port.or(inside).unwrap_or(8000);
        let table = self.draft.table(&["django", name]);
        if port != 8000 {
            table.set("port", Toml::Int(port.into()), []);
        }
        port
    }

    /// The path that is asked, and under which name.
    fn health(&mut self, service: &Service, name: &str, variables: &[connection::Variable]) {
        if let Some(test) = service
            .node
            .get("healthcheck")
            .and_then(|check| check.get("test"))
            .cloned()
        {
            let (words, keys) = self.words(&test);
            let text = words.join(" ");
            let path = text
                .split("http")
                .nth(1)
                .and_then(|rest| rest.split_once("://"));
            let path = path.and_then(|(_, rest)| rest.find('/').and_then(|at| rest.get(at..)));
            let path = path.map(|rest| {
                rest.split([' ', '"', '\'', '|', ')', ';'])
                    .next()
                    .unwrap_or("/")
                    .to_owned()
            });
            if let Some(path) = path.filter(|path| path.len() > 1) {
                let table = self.draft.table(&["django", name]);
                table.set("health", Toml::Text(literal(&path)), keys.clone());
                keys.iter().for_each(|key| self.book.account.used(*key));
            }
        }
        let hosts = variables
            .iter()
            .find(|one| one.name.to_uppercase().ends_with("ALLOWED_HOSTS"));
        if let Some(hosts) = hosts {
            let all: Vec<&str> = hosts
                .value
                .text
                .split([',', ' ', '[', ']', '\'', '"'])
                .filter(|host| !host.is_empty())
                .collect();
            let open = all
                .iter()
                .any(|host| matches!(*host, "*" | "localhost" | ".localhost"));
            if let (false, Some(first)) = (open, all.first()) {
                let host = first.trim_start_matches('.').to_owned();
                let table = self.draft.table(&["django", name]);
                table.set(
                    "health_host",
                    Toml::Text(literal(&host)),
                    hosts.value.keys.clone(),
                );
            }
        }
    }

    /// Mounts of an application; the keys of the one that is its source.
    fn app_mounts(&mut self, service: &Service, found: &Found, development: bool) -> Vec<Key> {
        let mut source = Vec::new();
        for mount in self.mounts(service) {
            let account = &mut self.book.account;
            let path = mount.path();
            let own = path.as_ref().is_some_and(|path| {
                *path == found.context
                    || *path == found.project.folder
                    || found.project.folder.starts_with(path)
            });
            let (left, reason) = match own {
                true if development => {
                    mount.keys.iter().for_each(|key| account.used(*key));
                    source.extend(mount.keys);
                    continue;
                }
                true => (false, "the source is part of the image that gunicorn serves; `mount = true` serves saved files by `runserver`".to_owned()),
                false if mount.target.contains("static") => (false, "static files are kept in the container, in `/var/lib/app/static`".to_owned()),
                false if path.is_none() && mount.source.is_none() => (false, "a volume without a name is thrown away".to_owned()),
                false => (true, format!("what is mounted at `{}` is not carried over", mount.target.replace('`', ""))),
            };
            for key in mount.keys {
                match left {
                    true => account.left(key, reason.clone()),
                    false => account.noted(key, reason.clone()),
                }
            }
        }
        source
    }

    fn files_of_secrets(&mut self, service: &Service) {
        if let Some(node) = service.node.get("secrets") {
            let reason = "secrets come as variables here, not as files in `/run/secrets`";
            node.keys()
                .iter()
                .for_each(|key| self.book.account.left(*key, reason));
        }
    }

    /// A job of an application: what it does becomes a switch of that.
    pub(super) fn job(&mut self, service: &Service, found: Found) {
        let source = input::relative(&self.wishes.folder, &found.project.folder);
        let is = |table: &&crate::import::draft::Table| {
            table.path.first().is_some_and(|word| word == "django")
                && table.get("source") == Some(&Toml::Text(literal(&source)))
        };
        let name = self
            .draft
            .tables()
            .iter()
            .find(is)
            .and_then(|table| table.path.get(1).cloned());
        let Some(name) = name else {
            return self.leave_all(
                &service.node,
                "a job of an application that serves nothing here",
            );
        };
        let mut strange = false;
        for words in &found.commands {
            let switch = match does(words) {
                Does::Migrate => "migrate",
                Does::Static => "static",
                Does::Wait => continue,
                _ => {
                    strange = true;
                    continue;
                }
            };
            let table = self.draft.table(&["django", &name]);
            table.set(switch, Toml::Bool(true), found.command_keys.clone());
        }
        for key in &found.command_keys {
            match strange {
                true => self
                    .book
                    .account
                    .insist(*key, "a part of its command is not carried over"),
                false => self.book.account.used(*key),
            }
        }
        let reason = format!("done by `{name}` before it serves");
        for key in found
            .dockerfile_keys()
            .into_iter()
            .chain(service.node.keys())
        {
            self.book.account.noted(key, reason.clone());
        }
        let variables = self.variables(service);
        for key in variables.iter().flat_map(|one| &one.value.keys) {
            self.book.account.noted(*key, reason.clone());
        }
    }
}

impl Found {
    fn dockerfile_keys(&self) -> Vec<Key> {
        let file = &self.dockerfile;
        let mut keys: Vec<Key> = file.base.iter().map(|(_, key)| *key).collect();
        keys.extend(
            file.packages
                .iter()
                .chain(&file.build_packages)
                .map(|(_, key)| *key),
        );
        keys.extend(file.requirements.iter().map(|(_, key)| *key));
        keys.extend(file.env.iter().map(|(.., key)| *key));
        keys.extend(
            file.command
                .iter()
                .chain(&file.entrypoint)
                .map(|(_, key)| *key),
        );
        keys
    }
}
