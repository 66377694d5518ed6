//! `import vagrant`: a Vagrantfile and the scripts that it provisions with, neither of them run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::command::Dialect;
use crate::error::{Failure, Kind};
use crate::import::account::Key;
use crate::import::compose::named;
use crate::import::draft::{Draft, Toml, literal};
use crate::import::ruby::{self, Call, Value};
use crate::import::shell::{self, Command, Input, Step};
use crate::import::{Import, Imported, Wishes, input, project, sql, words};

/// Reads the Vagrantfile of a folder.
///
/// # Errors
/// [`Kind::Usage`] where there is none, or it is no Ruby.
pub fn import(folder: &Path, wishes: &Wishes) -> Imported {
    let (folder, file) = match folder.is_dir() {
        true => {
            let names = ["Vagrantfile", "vagrantfile"].map(|name| folder.join(name));
            let there = names.iter().find(|path| path.exists()).cloned();
            (
                folder.to_owned(),
                there.unwrap_or_else(|| folder.join("Vagrantfile")),
            )
        }
        false => (
            folder.parent().unwrap_or(Path::new(".")).to_owned(),
            folder.to_owned(),
        ),
    };
    let text = input::needed(&file)?;
    let shown = input::shown(&file);
    let folder = input::plain(&folder);
    let mut import = Import::default();
    let Import { draft, account } = &mut import;
    let calls = ruby::read(&text, &shown, &folder, account)
        .map_err(|why| Failure::new(Kind::Usage, format!("{shown}{why}")))?;
    let name = wishes.project.clone();
    let name = name.unwrap_or_else(|| input::folder_name(&folder));
    draft.begin(&shown, named(&name, 48), []);
    let mut reader = Reader {
        draft,
        account,
        wishes,
        folder,
        shown,
        servers: Vec::new(),
        application: None,
        forwards: Vec::new(),
        provisions: BTreeMap::new(),
        keys: BTreeMap::new(),
        depth: 0,
    };
    for call in &calls {
        reader.call(call);
    }
    reader.provision();
    reader.forward();
    reader.reachable();
    sql::tidy(draft);
    account.close();
    Ok(import)
}

/// A server that a script installs, and the machine it is on.
struct Installed {
    server: sql::Server,
    machine: Option<String>,
}

/// A forwarded port.
struct Forwarded {
    machine: Option<String>,
    guest: i64,
    host: i64,
    address: Option<String>,
    auto: bool,
    key: Key,
}

/// A provisioner.
#[derive(Default)]
struct Provision {
    order: usize,
    machine: Option<String>,
    kind: String,
    inline: Option<(String, Option<usize>)>,
    path: Option<String>,
    args: Vec<String>,
    env: BTreeMap<String, String>,
    keys: Vec<Key>,
    unknown: Option<String>,
}

struct Reader<'a> {
    draft: &'a mut Draft,
    account: &'a mut crate::import::account::Account,
    wishes: &'a Wishes,
    folder: PathBuf,
    shown: String,
    servers: Vec<Installed>,
    /// The application, once a script does something with it.
    application: Option<String>,
    forwards: Vec<Forwarded>,
    provisions: BTreeMap<String, Provision>,
    /// Keys of scripts' steps: a script that several machines run counts once.
    keys: BTreeMap<(String, usize, usize), Key>,
    depth: usize,
}

/// What is said of the configuration and needs nothing, by the end of its name.
const NOTED: &[(&str, &str)] = &[
    (
        "vm.box",
        "services run in containers, whose images each of them names",
    ),
    (
        "vm.box_version",
        "services run in containers, whose images each of them names",
    ),
    (
        "vm.box_url",
        "services run in containers, whose images each of them names",
    ),
    ("vm.box_check_update", "about Vagrant itself"),
    ("vm.hostname", "services are reached through forwards"),
    ("vm.boot_timeout", "about Vagrant itself"),
    ("vm.post_up_message", "`apply` says how to connect"),
    (
        "vm.provider",
        "containers take what they need of this machine",
    ),
    ("vm.define", "a machine: its services are imported"),
    ("vm.communicator", "about Vagrant itself"),
    ("vm.graceful_halt_timeout", "about Vagrant itself"),
    ("vm.usable_port_range", "about Vagrant itself"),
    (
        "vm.network.private",
        "services are reached through forwards",
    ),
];

impl Reader<'_> {
    fn call(&mut self, call: &Call) {
        let name = call.name.as_str();
        if let Some(reason) = call.args.iter().find_map(Value::unknown) {
            return self
                .account
                .left(call.key, format!("not known before it runs: {reason}"));
        }
        if let Some((id, field)) = name
            .split_once('.')
            .filter(|(id, _)| id.starts_with("provision#"))
        {
            return self.provision_field(id, field, call);
        }
        if name.starts_with("vm.provider.") {
            return self
                .account
                .noted(call.key, "containers take what they need of this machine");
        }
        match name {
            "vm.network" => self.network(call),
            "vm.provision" => self.provisioner(call),
            "vm.synced_folder" => {
                let off = call
                    .args
                    .iter()
                    .any(|arg| arg.get("disabled") == Some(&Value::Bool(true)));
                match off {
                    true => self.account.noted(call.key, "nothing is shared"),
                    false => self.account.noted(
                        call.key,
                        "an application with `mount = true` serves its folder as it is",
                    ),
                }
            }
            _ => match NOTED.iter().find(|(known, _)| *known == name) {
                Some((_, reason)) => self.account.noted(call.key, *reason),
                None if name.starts_with("vm.provider")
                    || name.starts_with("ssh.")
                    || name.starts_with("vagrant.")
                    || name.starts_with("vbguest.")
                    || name.starts_with("hostmanager.")
                    || name.starts_with("cache.") =>
                {
                    self.account.noted(call.key, "about Vagrant itself");
                }
                None => self
                    .account
                    .left(call.key, format!("`{}` is not understood", clean(name))),
            },
        }
    }

    fn network(&mut self, call: &Call) {
        let kind = call.args.first().and_then(Value::shown).unwrap_or_default();
        let options = call
            .args
            .iter()
            .find(|arg| matches!(arg, Value::Hash(_)))
            .cloned()
            .unwrap_or(Value::Nil);
        let number = |name: &str| match options.get(name) {
            Some(Value::Int(number)) => Some(*number),
            Some(Value::Text(text, _)) => text.parse().ok(),
            _ => None,
        };
        match kind.as_str() {
            "forwarded_port" => {
                let (Some(guest), Some(host)) = (number("guest"), number("host")) else {
                    return self
                        .account
                        .left(call.key, "a forward names `guest` and `host`");
                };
                if options.get("protocol").and_then(Value::shown).as_deref() == Some("udp") {
                    return self
                        .account
                        .left(call.key, "services are reached over TCP only");
                }
                if options.get("disabled") == Some(&Value::Bool(true))
                    || options.get("id").and_then(Value::shown).as_deref() == Some("ssh")
                {
                    return self.account.noted(call.key, "a container needs no SSH");
                }
                self.forwards.push(Forwarded {
                    machine: call.machine.clone(),
                    guest,
                    host,
                    address: options
                        .get("host_ip")
                        .and_then(Value::shown)
                        .filter(|address| !address.is_empty()),
                    auto: options.get("auto_correct") == Some(&Value::Bool(true)),
                    key: call.key,
                });
            }
            "private_network" => self
                .account
                .noted(call.key, "services are reached through forwards"),
            "public_network" => self.account.left(
                call.key,
                "services are not opened to the network that this machine is in",
            ),
            _ => self
                .account
                .left(call.key, "a network that is not understood"),
        }
    }

    fn provisioner(&mut self, call: &Call) {
        let mut one = Provision {
            order: self.provisions.len(),
            machine: call.machine.clone(),
            keys: vec![call.key],
            ..Provision::default()
        };
        let mut id = format!("provision!{}", self.provisions.len());
        for arg in &call.args {
            match arg {
                Value::Text(text, _) => one.kind = text.clone(),
                Value::Object(object) => id = object.path.join("."),
                Value::Hash(pairs) => {
                    for (name, value) in pairs {
                        fill(&mut one, name, value);
                    }
                }
                _ => {}
            }
        }
        self.provisions.insert(id, one);
    }

    fn provision_field(&mut self, id: &str, field: &str, call: &Call) {
        let Some(one) = self.provisions.get_mut(id) else {
            return self
                .account
                .left(call.key, "a provisioner that is not understood");
        };
        one.keys.push(call.key);
        if let Some(value) = call.args.first() {
            fill(one, field, value);
        }
    }

    /// Runs nothing, reads everything.
    fn provision(&mut self) {
        let mut all: Vec<Provision> = std::mem::take(&mut self.provisions).into_values().collect();
        all.sort_by_key(|one| one.order);
        for one in all {
            let mark = |reader: &mut Self, reason: Option<String>| {
                for key in &one.keys {
                    match &reason {
                        Some(reason) => reader.account.left(*key, reason.clone()),
                        None => reader.account.used(*key),
                    }
                }
            };
            if one.kind != "shell" {
                mark(
                    self,
                    Some(format!(
                        "the provisioner `{}` is not read",
                        clean(&one.kind)
                    )),
                );
                continue;
            }
            if let Some(reason) = one.unknown.clone() {
                mark(self, Some(reason));
                continue;
            }
            let (text, shown, begun) = match (&one.inline, &one.path) {
                (Some((text, line)), _) => {
                    let begun = line.map(|line| line - 1);
                    let own = one
                        .keys
                        .first()
                        .map(|key| self.account.line(*key))
                        .unwrap_or(1);
                    (text.clone(), self.shown.clone(), begun.unwrap_or(own - 1))
                }
                (None, Some(path)) if path.contains("://") => {
                    mark(
                        self,
                        Some("a script that is fetched from elsewhere".to_owned()),
                    );
                    continue;
                }
                (None, Some(path)) => {
                    let file = self.guest(path);
                    match input::text(&file) {
                        Ok(text) => (text, input::shown(&file), 0),
                        Err(why) => {
                            mark(self, Some(format!("`{}` {why}", input::shown(&file))));
                            continue;
                        }
                    }
                }
                (None, None) => {
                    mark(self, Some("a script that is not said".to_owned()));
                    continue;
                }
            };
            mark(self, None);
            self.script(
                &text,
                &shown,
                begun,
                &one.args,
                &one.env,
                one.machine.as_ref(),
            );
        }
    }

    /// A path of a machine, on this one.
    fn guest(&self, path: &str) -> PathBuf {
        let inside = path
            .strip_prefix("/vagrant/")
            .or_else(|| path.strip_prefix("./"))
            .unwrap_or(path);
        input::plain(&self.folder.join(inside))
    }

    fn script(
        &mut self,
        text: &str,
        shown: &str,
        begun: usize,
        args: &[String],
        env: &BTreeMap<String, String>,
        machine: Option<&String>,
    ) {
        if self.depth > 20 {
            return;
        }
        self.depth += 1;
        for (number, step) in shell::read(text, args, env).into_iter().enumerate() {
            let (line, head) = match &step {
                Step::Command(command) => (command.line, head(&command.head)),
                Step::Assignment { line, name, .. } => (*line, name.clone()),
                Step::Strange { line, head, .. } => (*line, head.clone()),
            };
            let place = (shown.to_owned(), begun + line, number);
            let key = match self.keys.get(&place) {
                Some(key) => *key,
                None => {
                    let key = self.account.add(shown, begun + line, head);
                    self.keys.insert(place, key);
                    key
                }
            };
            match step {
                Step::Assignment { known: true, .. } => self.account.used(key),
                Step::Assignment {
                    known: false, name, ..
                } => self
                    .account
                    .left(key, format!("`{name}` is computed at run time")),
                Step::Strange { why, .. } => self.account.left(key, why),
                Step::Command(command) => self.command(&command, key, (shown, begun), machine, env),
            }
        }
        self.depth -= 1;
    }

    fn command(
        &mut self,
        command: &Command,
        key: Key,
        (shown, begun): (&str, usize),
        machine: Option<&String>,
        env: &BTreeMap<String, String>,
    ) {
        let mut words: Vec<Option<String>> = command.words.clone();
        strip(&mut words);
        let taken = command.words.len() - words.len();
        let raw = command.raw.get(taken..).unwrap_or_default();
        let text = |at: usize| words.get(at).and_then(Option::as_deref).unwrap_or_default();
        let first = text(0).rsplit('/').next().unwrap_or_default().to_owned();
        if first.is_empty() {
            let reason = if words.is_empty() {
                "nothing is done"
            } else {
                "what is run is computed at run time"
            };
            return match words.is_empty() {
                true => self.account.noted(key, reason),
                false => self.account.left(key, reason),
            };
        }
        let known: Option<Vec<String>> = words.iter().cloned().collect();
        // A shell in the shell.
        if matches!(first.as_str(), "su" | "bash" | "sh" | "runuser")
            && let Some(at) = words.iter().position(|word| {
                word.as_deref()
                    .is_some_and(|word| matches!(word, "-c" | "-lc" | "-ic"))
            })
        {
            return match words.get(at + 1).cloned().flatten() {
                Some(inner) => {
                    self.account.used(key);
                    self.script(&inner, shown, begun + command.line - 1, &[], env, machine);
                }
                None => self
                    .account
                    .left(key, "what is run is computed at run time"),
            };
        }
        if command.asks
            && !matches!(
                first.as_str(),
                "apt-get" | "apt" | "createdb" | "createuser"
            )
        {
            return self.account.noted(
                key,
                "asked first: here what is there is compared, and not skipped",
            );
        }
        let base = begun + command.line - 1;
        match first.as_str() {
            "psql" | "mysql" | "mariadb" => {
                let dialect = match first.as_str() {
                    "psql" => Dialect::Postgres,
                    _ => Dialect::MariaDb,
                };
                let input = command.input.as_ref();
                self.client(dialect, &words, input, key, (shown, begun, base), machine)
            }
            "createdb" | "createuser" => match known {
                Some(words) => self.created(&words, key, machine),
                None => self.account.left(key, "its names are computed at run time"),
            },
            "apt-get" | "apt" | "aptitude" | "yum" | "dnf" => self.packages(&words, key, machine),
            "sed" => {
                // A part of the file's path may be computed, as the version in it.
                let mut words = words.clone();
                if let (Some(last), Some(raw)) = (words.last_mut(), raw.last()) {
                    last.get_or_insert_with(|| raw.clone());
                }
                let known: Option<Vec<String>> = words.into_iter().collect();
                self.sed(known.as_deref(), key, machine);
            }
            "echo" | "printf" | "cat" | "tee" => {
                self.written(&first, command, (known.as_deref(), raw), key, machine)
            }
            "set" | "true" | ":" | "sleep" | "exit" | "return" | "cd" | "shopt" | "trap"
            | "unset" | "shift" | "break" | "continue" | "pwd" | "date" | "whoami" | "wait"
            | "clear" => {
                self.account
                    .noted(key, "of no meaning for what is declared");
            }
            "source" | "." if text(1).ends_with("/activate") => self
                .account
                .noted(key, "of no meaning for what is declared"),
            "source" | "." | "bash" | "sh" if !text(1).is_empty() && !text(1).starts_with('-') => {
                let file = self.guest(text(1));
                match input::text(&file) {
                    Ok(inner) => {
                        self.account.used(key);
                        let args: Vec<String> = words.iter().skip(2).flatten().cloned().collect();
                        self.script(&inner, &input::shown(&file), 0, &args, env, machine);
                    }
                    Err(why) => self
                        .account
                        .left(key, format!("`{}` {why}", clean(text(1)))),
                }
            }
            "systemctl" | "service" | "pg_ctlcluster" | "update-rc.d" | "chkconfig" => {
                let all = words
                    .iter()
                    .flatten()
                    .cloned()
                    .collect::<Vec<_>>()
                    .join(" ");
                let own = ["postgres", "mysql", "mariadb", "daemon-reload"]
                    .iter()
                    .any(|word| all.contains(word));
                match own {
                    true => self.account.noted(key, "services are started, and restarted as their settings need it"),
                    false => self.account.left(key, "a unit of a machine goes into `[systemd_unit.UNIT]`, where `driver = \"ssh\"`"),
                }
            }
            "pip" | "pip3" | "python" | "python3" | "gunicorn" | "virtualenv" | "pipenv"
            | "poetry" => self.python(&words, key),
            "wget" | "curl" | "apt-key" | "gpg" | "add-apt-repository" | "install" | "dpkg" => {
                let all = words
                    .iter()
                    .flatten()
                    .cloned()
                    .collect::<Vec<_>>()
                    .join(" ");
                let own = ["postgresql.org", "mariadb", "mysql", "pgdg", "keyrings"]
                    .iter()
                    .any(|word| all.contains(word));
                match own {
                    true => self
                        .account
                        .noted(key, "a container's image brings its packages"),
                    false => self.account.left(
                        key,
                        format!("`{}` fetches something that is not known", clean(&first)),
                    ),
                }
            }
            "mysql_secure_installation"
            | "mysqladmin"
            | "debconf-set-selections"
            | "mysql_install_db" => {
                self.account
                    .noted(key, "`root` comes in over the socket, without a password");
            }
            "locale-gen" | "update-locale" | "timedatectl" | "hostnamectl" | "hostname"
            | "dpkg-reconfigure" | "localectl" => {
                self.account
                    .noted(key, "about the machine, which is none here");
            }
            "ufw" | "iptables" | "firewall-cmd" => self.account.noted(
                key,
                "a container is reached through its forward alone, which says where it listens",
            ),
            "mkdir" | "chown" | "chmod" | "rm" | "cp" | "mv" | "ln" | "touch" => {
                let all = words
                    .iter()
                    .flatten()
                    .cloned()
                    .collect::<Vec<_>>()
                    .join(" ");
                let own = [
                    ".bak",
                    "backup",
                    ".orig",
                    "/etc/postgresql",
                    "/etc/mysql",
                    "/var/lib/apt",
                    "keyrings",
                    "/tmp/",
                ]
                .iter()
                .any(|word| all.contains(word));
                match own {
                    true => self.account.noted(key, "about files that a container brings"),
                    false => self.account.left(key, "files of a machine go into `[file.PATH]` and `[directory.PATH]`, where `driver = \"ssh\"`"),
                }
            }
            "useradd" | "adduser" | "usermod" | "chpasswd" | "groupadd" => self.account.left(
                key,
                "users of a machine go into `[user.NAME]`, where `driver = \"ssh\"`",
            ),
            "crontab" => self.account.left(
                key,
                "what is run at times goes into `[timer.NAME]`, where `driver = \"ssh\"`",
            ),
            "fallocate" | "mkswap" | "swapon" | "dd" => self.account.left(
                key,
                "a swap file goes into `[swap.PATH]`, where `driver = \"ssh\"`",
            ),
            "sysctl" => self.account.left(
                key,
                "settings of a kernel go into `[sysctl.KEY]`, where `driver = \"ssh\"`",
            ),
            "test" | "[" | "[[" | "command" | "which" | "grep" | "pg_isready" | "type" | "id"
            | "getent" | "dpkg-query" | "ls" => {
                self.account.noted(key, "only asks");
            }
            _ => self
                .account
                .left(key, format!("`{}` is not understood", clean(&first))),
        }
    }

    fn server(&mut self, dialect: Dialect, machine: Option<&String>) -> sql::Server {
        let same = self
            .servers
            .iter()
            .find(|one| one.server.dialect == dialect && one.machine.as_ref() == machine);
        if let Some(there) = same {
            return there.server.clone();
        }
        let plain = match dialect {
            Dialect::Postgres => "db",
            Dialect::MariaDb => "mariadb",
        };
        let mut name = machine.map_or_else(|| plain.to_owned(), |machine| named(machine, 40));
        while self.servers.iter().any(|one| one.server.name == name) {
            name = format!("{name}-{plain}");
        }
        let server = sql::Server { dialect, name };
        let version = match dialect {
            Dialect::Postgres => "15",
            Dialect::MariaDb => "10.11",
        };
        self.draft.table(&[server.table(), &server.name]).set(
            "version",
            Toml::Text(version.to_owned()),
            [],
        );
        self.servers.push(Installed {
            server: server.clone(),
            machine: machine.cloned(),
        });
        server
    }

    fn packages(&mut self, words: &[Option<String>], key: Key, machine: Option<&String>) {
        let all: Vec<&str> = words
            .iter()
            .map(|word| word.as_deref().unwrap_or("?"))
            .collect();
        if !all.contains(&"install") {
            return self
                .account
                .noted(key, "a container's image brings its packages");
        }
        let packages: Vec<&str> = all
            .iter()
            .skip(1)
            .copied()
            .filter(|word| *word != "install" && !word.starts_with('-') && !word.contains('='))
            .collect();
        let mut left = Vec::new();
        let mut wrong = None;
        let mut made = false;
        for package in packages {
            let number: String = package
                .trim_start_matches("postgresql-")
                .trim_start_matches("mariadb-server-")
                .chars()
                .filter(|c| c.is_ascii_digit() || *c == '.')
                .collect();
            match package {
                "postgresql" | "postgresql-server" => {
                    let server = self.server(Dialect::Postgres, machine);
                    self.draft.table(&["postgres", &server.name]).from.push(key);
                    made = true;
                }
                _ if package
                    .strip_prefix("postgresql-")
                    .is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || c == '.')) =>
                {
                    let server = self.server(Dialect::Postgres, machine);
                    self.draft.table(&["postgres", &server.name]).from.push(key);
                    made = true;
                    if number != "15" {
                        wrong = Some(format!(
                            "only PostgreSQL 15 is set up yet, and `{}` is not it: data moves by dump and restore",
                            clean(package)
                        ));
                    }
                }
                _ if package.starts_with("mariadb-server")
                    || package.starts_with("mysql-server")
                    || package == "default-mysql-server" =>
                {
                    let server = self.server(Dialect::MariaDb, machine);
                    self.draft.table(&["mariadb", &server.name]).from.push(key);
                    made = true;
                    if package.starts_with("mysql") || (!number.is_empty() && number != "10.11") {
                        wrong = Some(format!(
                            "only MariaDB 10.11 is set up yet, and `{}` is not it: data moves by dump and restore",
                            clean(package)
                        ));
                    }
                }
                _ if package.starts_with("postgresql")
                    || package.contains("mariadb")
                    || package.contains("mysql")
                    || package == "libpq-dev" => {}
                "curl"
                | "wget"
                | "gnupg"
                | "gnupg2"
                | "ca-certificates"
                | "lsb-release"
                | "apt-transport-https"
                | "software-properties-common"
                | "debconf-utils" => {}
                "python3" | "python3-pip" | "python3-venv" | "python3-dev" | "build-essential"
                | "gcc" | "pkg-config" | "python-pip" | "python3-virtualenv" => {}
                other => left.push(clean(other)),
            }
        }
        if let Some(wrong) = wrong {
            return self.account.insist(key, wrong);
        }
        match (left.is_empty(), made) {
            (false, _) => self.account.insist(key, format!("of its packages `{}` are not carried over: `[packages.NAME]` holds them, where `driver = \"ssh\"`", left.join("`, `"))),
            (true, true) => self.account.used(key),
            (true, false) => self.account.noted(key, "a container's image brings its packages"),
        }
    }

    /// `psql` and `mariadb`, with what they are given.
    fn client(
        &mut self,
        dialect: Dialect,
        words: &[Option<String>],
        given: Option<&Input>,
        key: Key,
        (shown, begun, base): (&str, usize, usize),
        machine: Option<&String>,
    ) {
        let server = self.server(dialect, machine);
        let mut texts: Vec<(Option<String>, usize)> = Vec::new();
        let mut files: Vec<String> = Vec::new();
        let mut database = None;
        let mut rest = words.iter().skip(1);
        let takes = match dialect {
            Dialect::Postgres => [
                "-U",
                "-h",
                "-p",
                "-v",
                "-P",
                "--username",
                "--host",
                "--port",
                "--set",
                "--variable",
            ]
            .as_slice(),
            Dialect::MariaDb => [
                "-u", "-h", "-P", "-S", "--user", "--host", "--port", "--socket",
            ]
            .as_slice(),
        };
        let execute = |word: &str| match dialect {
            Dialect::Postgres => {
                word == "--command"
                    || (word.starts_with('-') && !word.starts_with("--") && word.ends_with('c'))
            }
            Dialect::MariaDb => {
                word == "--execute"
                    || (word.starts_with('-')
                        && !word.starts_with("--")
                        && word.ends_with('e')
                        && !word.starts_with("-p"))
            }
        };
        while let Some(word) = rest.next() {
            let Some(word) = word.as_deref() else {
                continue;
            };
            match word {
                word if execute(word) => texts.push((rest.next().cloned().flatten(), base)),
                word if word.starts_with("--execute=") || word.starts_with("--command=") => {
                    texts.push((word.split_once('=').map(|(_, text)| text.to_owned()), base));
                }
                "-f" | "--file" | "<" => match rest.next().cloned().flatten() {
                    Some(file) => files.push(file),
                    None => texts.push((None, base)),
                },
                word if word.starts_with("--file=") => {
                    files.extend(word.split_once('=').map(|(_, file)| file.to_owned()))
                }
                "-d" | "--dbname" | "-D" | "--database" => {
                    database = rest.next().cloned().flatten()
                }
                word if word.starts_with("--dbname=") || word.starts_with("--database=") => {
                    database = word.split_once('=').map(|(_, name)| name.to_owned())
                }
                word if takes.contains(&word) => drop(rest.next()),
                word if word.starts_with('-') => {}
                word => {
                    database.get_or_insert_with(|| word.to_owned());
                }
            }
        }
        if let Some(given) = given {
            texts.push((
                (!given.unknown).then(|| given.text.clone()),
                begun + given.begun,
            ));
        }
        if texts.is_empty() && files.is_empty() {
            return self.account.noted(key, "only asks");
        }
        if texts.iter().any(|(text, _)| text.is_none()) {
            return self
                .account
                .left(key, "a part of its statements is computed at run time");
        }
        self.account.used(key);
        let mut current = database;
        for (text, begun) in texts {
            let Some(text) = text else { continue };
            let said = sql::read(dialect, &text);
            sql::declare(
                &said,
                &server,
                &mut current,
                self.draft,
                self.account,
                (shown, begun),
            );
        }
        for file in files {
            self.sql_file(&file, &server, &mut current, key);
        }
    }

    fn sql_file(
        &mut self,
        file: &str,
        server: &sql::Server,
        database: &mut Option<String>,
        key: Key,
    ) {
        let path = self.guest(file);
        let text = match input::text(&path) {
            Ok(text) => text,
            Err(why) => return self.account.insist(key, format!("`{}` {why}", clean(file))),
        };
        let said = sql::read(server.dialect, &text);
        if sql::declares(&said) != Some(false) {
            return sql::declare(
                &said,
                server,
                database,
                self.draft,
                self.account,
                (&input::shown(&path), 0),
            );
        }
        let prefix = vec![
            server.table().to_owned(),
            server.name.clone(),
            "database".to_owned(),
        ];
        let declared: Vec<String> = self
            .draft
            .tables()
            .iter()
            .filter(|table| table.path.starts_with(&prefix))
            .filter_map(|table| table.path.get(3).cloned())
            .collect();
        let own = database
            .clone()
            .or_else(|| (declared.len() == 1).then(|| declared.concat()));
        let Some(own) = own else {
            return self.account.insist(
                key,
                format!("`{}`: which database it is for is not known", clean(file)),
            );
        };
        let relative = input::relative(&self.wishes.folder, &path);
        let table = self.draft.table(&[server.table(), &server.name]);
        table.push("init", Toml::Text(relative), [key]);
        table.set("init_database", Toml::Text(own), []);
    }

    fn created(&mut self, words: &[String], key: Key, machine: Option<&String>) {
        let server = self.server(Dialect::Postgres, machine);
        let option = |names: &[&str]| words::option(words, names).map(str::to_owned);
        let values: Vec<String> = ["-O", "-E", "-T", "-U", "-h", "-l"]
            .iter()
            .filter_map(|name| words.iter().position(|word| word == name))
            .filter_map(|at| words.get(at + 1).cloned())
            .collect();
        let name = words
            .iter()
            .skip(1)
            .find(|word| !word.starts_with('-') && !values.contains(word))
            .cloned();
        let Some(name) = name else {
            return self.account.left(key, "no name");
        };
        self.account.used(key);
        if words.first().is_some_and(|word| word.ends_with("createdb")) {
            let table = self
                .draft
                .table(&["postgres", &server.name, "database", &name]);
            table.from.push(key);
            if let Some(owner) = option(&["-O", "--owner"]) {
                table.set("owner", Toml::Text(owner), [key]);
            }
            if let Some(encoding) = option(&["-E", "--encoding"]) {
                table.set("encoding", Toml::Text(encoding.to_uppercase()), [key]);
            }
            return;
        }
        let table = self.draft.table(&["postgres", &server.name, "role", &name]);
        table.from.push(key);
        for (flags, attribute) in [
            (["-s", "--superuser"], "superuser"),
            (["-d", "--createdb"], "createdb"),
            (["-r", "--createrole"], "createrole"),
        ] {
            if words.iter().any(|word| flags.contains(&word.as_str())) {
                table.set(attribute, Toml::Bool(true), [key]);
            }
        }
    }

    /// `sed -i 's/old/new/' FILE`, on a server's settings.
    fn sed(&mut self, words: Option<&[String]>, key: Key, machine: Option<&String>) {
        let Some(words) = words else {
            return self
                .account
                .left(key, "what it edits is computed at run time");
        };
        let file = words.last().cloned().unwrap_or_default();
        let Some(kind) = settings_file(&file) else {
            return self.account.left(
                key,
                format!("an edit of `{}` is not understood", clean(&file)),
            );
        };
        let mut understood = true;
        let mut noted = false;
        for script in words
            .iter()
            .skip(1)
            .filter(|word| !word.starts_with('-') && **word != file)
        {
            match substitution(script) {
                Some(line) => match self.setting_line(kind, line, key, machine) {
                    Line::Set => {}
                    Line::Noted => noted = true,
                    Line::Strange => understood = false,
                },
                None => understood = false,
            }
        }
        self.settled(key, understood, noted);
    }

    fn settled(&mut self, key: Key, understood: bool, noted: bool) {
        match (understood, noted) {
            (false, _) => self.account.insist(
                key,
                "an edit of a server's settings that is not understood: `settings` holds them",
            ),
            (true, true) => self.account.noted(
                key,
                "a service is reached through its forward, and every login needs its password",
            ),
            (true, false) => self.account.used(key),
        }
    }

    fn setting_line(&mut self, kind: Conf, line: &str, key: Key, machine: Option<&String>) -> Line {
        let Conf::Settings(dialect) = kind else {
            return Line::Noted;
        };
        let line = line.split(" #").next().unwrap_or_default().trim();
        if line.is_empty() || line.starts_with(['#', '[']) {
            return Line::Noted;
        }
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name.trim(), value.trim()),
            None => match line.split_once(char::is_whitespace) {
                Some((name, value)) => (name, value.trim()),
                None => (line, "ON"),
            },
        };
        let name = name
            .trim_start_matches('#')
            .trim()
            .replace('-', "_")
            .to_lowercase();
        if matches!(
            name.as_str(),
            "listen_addresses"
                | "bind_address"
                | "port"
                | "skip_networking"
                | "mysqlx_bind_address"
        ) {
            return Line::Noted;
        }
        if !crate::import::dotenv::is_name(&name.replace('.', "_")) || value.contains(['\\', '&']) {
            return Line::Strange;
        }
        let server = self.server(dialect, machine);
        let value = sql::setting(&name, value.trim_matches(['\'', '"']));
        self.draft
            .table(&[server.table(), &server.name, "settings"])
            .set(&name, value, [key]);
        Line::Set
    }

    /// What is written into a file.
    fn written(
        &mut self,
        first: &str,
        command: &Command,
        (words, raw): (Option<&[String]>, &[String]),
        key: Key,
        machine: Option<&String>,
    ) {
        let file = match first {
            "tee" => raw
                .iter()
                .skip(1)
                .find(|word| !word.starts_with('-'))
                .cloned(),
            _ => command.output.as_ref().map(|(file, _)| file.clone()),
        };
        let Some(file) = file.filter(|file| file != "/dev/null" && !file.starts_with("/dev/std"))
        else {
            return self.account.noted(key, "only says something");
        };
        if file.contains("sources.list") {
            let all = command
                .words
                .iter()
                .flatten()
                .cloned()
                .chain(command.input.iter().map(|input| input.text.clone()))
                .collect::<Vec<_>>()
                .join(" ");
            return match ["postgresql.org", "mariadb", "mysql"].iter().any(|word| all.contains(word)) {
                true => self.account.noted(key, "a container's image brings its packages"),
                false => self.account.left(key, "repositories of packages go into `[apt_repository.NAME]`, where `driver = \"ssh\"`"),
            };
        }
        let text = match (&command.input, first) {
            (Some(input), _) if !input.unknown => Some(input.text.clone()),
            (None, "echo" | "printf") => words.map(|words| {
                words
                    .iter()
                    .skip(1)
                    .filter(|word| !matches!(word.as_str(), "-e" | "-n"))
                    .cloned()
                    .collect::<Vec<_>>()
                    .join(" ")
            }),
            _ => None,
        };
        let (Some(kind), Some(text)) = (settings_file(&file), text) else {
            return self.account.left(
                key,
                match file.starts_with("/etc/cron") {
                    true => {
                        "what is run at times goes into `[timer.NAME]`, where `driver = \"ssh\"`"
                            .to_owned()
                    }
                    false => format!(
                        "`{}` goes into `[file.PATH]`, where `driver = \"ssh\"`",
                        clean(&file)
                    ),
                },
            );
        };
        let (mut understood, mut set) = (true, false);
        for line in text.replace("\\n", "\n").lines() {
            match self.setting_line(kind, line, key, machine) {
                Line::Set => set = true,
                Line::Noted => {}
                Line::Strange => understood = false,
            }
        }
        self.settled(key, understood, !set);
    }

    fn python(&mut self, words: &[Option<String>], key: Key) {
        let all: Vec<&str> = words
            .iter()
            .map(|word| word.as_deref().unwrap_or("?"))
            .collect();
        let manage = all.iter().any(|word| word.ends_with("manage.py"));
        let has = |word: &str| all.contains(&word);
        let installs = has("install") && (has("-r") || has("--requirement"));
        if has("venv") || has("virtualenv") || (has("install") && !installs) {
            return self.account.noted(
                key,
                "an application's packages are those of its requirements file",
            );
        }
        if !manage && !installs && all.first() != Some(&"gunicorn") {
            return self.account.left(key, "what it does is not known");
        }
        let Some(name) = self.django() else {
            return self.account.left(
                key,
                "there is no Django application with a requirements file beside the Vagrantfile",
            );
        };
        let table = self.draft.table(&["django", &name]);
        match () {
            () if has("migrate") => table.set("migrate", Toml::Bool(true), [key]),
            () if has("collectstatic") => table.set("static", Toml::Bool(true), [key]),
            () if installs || has("runserver") || all.first() == Some(&"gunicorn") => {
                table.from.push(key)
            }
            () => {
                return self
                    .account
                    .left(key, "a command of the application that is not carried over");
            }
        }
        self.account.used(key);
    }

    /// The application beside the Vagrantfile.
    fn django(&mut self) -> Option<String> {
        if self.application.is_none() {
            let found = project::find(&self.folder).into_iter().next()?;
            let (settings, requirements) = (found.settings?, found.requirements?);
            let table = self.draft.table(&["django", "web"]);
            table.set(
                "source",
                Toml::Text(literal(&input::relative(
                    &self.wishes.folder,
                    &found.folder,
                ))),
                [],
            );
            table.set("mount", Toml::Bool(true), []);
            if requirements != "requirements.txt" {
                table.set("requirements", Toml::Text(requirements), []);
            }
            table.set("settings", Toml::Text(settings), []);
            self.application = Some("web".to_owned());
        }
        self.application.clone()
    }

    fn forward(&mut self) {
        let mut taken = std::collections::BTreeSet::new();
        for one in std::mem::take(&mut self.forwards) {
            let dialect = match one.guest {
                5432 => Some(Dialect::Postgres),
                3306 => Some(Dialect::MariaDb),
                _ => None,
            };
            let of_machine =
                |server: &&Installed| server.machine == one.machine || one.machine.is_none();
            let server = self
                .servers
                .iter()
                .filter(of_machine)
                .find(|server| Some(server.server.dialect) == dialect);
            let to = match (server, &self.application) {
                (Some(server), _) => Some((
                    format!("{}.{}", server.server.table(), server.server.name),
                    server.server.name.clone(),
                )),
                (None, Some(name)) if matches!(one.guest, 80 | 8000 | 8080) => {
                    Some((format!("django.{name}"), name.clone()))
                }
                _ => None,
            };
            let Some((to, name)) = to else {
                self.account.left(
                    one.key,
                    format!("nothing that is imported listens on {}", one.guest),
                );
                continue;
            };
            let Some(port) = u16::try_from(one.host).ok().filter(|port| *port > 0) else {
                self.account
                    .left(one.key, format!("{} is no port", one.host));
                continue;
            };
            if !taken.insert(port) {
                self.account.left(
                    one.key,
                    format!("port {port} of this machine is taken by another forward"),
                );
                continue;
            }
            let (address, note) = match one.address.as_deref() {
                None => ("127.0.0.1".to_owned(), "there it is open to every network"),
                Some(address) => (address.to_owned(), ""),
            };
            let listen = if address.contains(':') {
                format!("[{address}]:{port}")
            } else {
                format!("{address}:{port}")
            };
            if listen.parse::<core::net::SocketAddr>().is_err() {
                self.account.left(one.key, "its address is no IP address");
                continue;
            }
            let mut own = name.clone();
            let mut number = 2;
            while self.draft.find(&["forward", &own]).is_some() {
                own = format!("{name}-{number}");
                number += 1;
            }
            let table = self.draft.table(&["forward", &own]);
            table.set("to", Toml::Text(to), []);
            table.set_with("listen", Toml::Text(listen), [one.key], note);
            if one.auto {
                table.set("auto_correct", Toml::Bool(true), [one.key]);
            }
            self.account.used(one.key);
        }
    }

    /// Users that came from the machine itself: through a forward they come from elsewhere.
    fn reachable(&mut self) {
        let names: Vec<String> = self
            .draft
            .tables()
            .iter()
            .filter(|table| table.path.len() == 4 && table.path[2] == "user")
            .map(|table| table.path[3].clone())
            .collect();
        for table in self.draft.tables_mut() {
            let [_, _, kind, account] = table.path.as_mut_slice() else {
                continue;
            };
            let local = account
                .strip_suffix("@localhost")
                .or_else(|| account.strip_suffix("@127.0.0.1"));
            let Some(user) = local
                .filter(|_| kind == "user")
                .map(|user| format!("{user}@%"))
            else {
                continue;
            };
            if !names.contains(&user) {
                table.comment.push(format!(
                    "There `{}`: through a forward it comes from elsewhere.",
                    clean(account)
                ));
                *account = user;
            }
        }
    }
}

/// What became of a line of settings.
enum Line {
    Set,
    Noted,
    Strange,
}

/// A file of a server's settings.
#[derive(Clone, Copy)]
enum Conf {
    Settings(Dialect),
    Access,
}

fn settings_file(path: &str) -> Option<Conf> {
    let has = |word: &str| path.contains(word);
    match () {
        () if has("pg_hba") || has("PG_HBA") => Some(Conf::Access),
        () if has("postgresql.conf") || (has("/postgresql/") && path.ends_with(".conf")) => {
            Some(Conf::Settings(Dialect::Postgres))
        }
        () if path.ends_with(".cnf") || (has("/mysql/") && has("conf")) => {
            Some(Conf::Settings(Dialect::MariaDb))
        }
        () => None,
    }
}

/// What `s/old/new/` puts in the place of a line.
fn substitution(script: &str) -> Option<&str> {
    let rest = script.strip_prefix('s')?;
    let by = rest.chars().next()?;
    let mut parts = rest.get(by.len_utf8()..)?.split(by);
    let (_, new) = (parts.next()?, parts.next()?);
    let flags = parts.next()?;
    (parts.next().is_none() && flags.chars().all(|c| c.is_ascii_alphanumeric())).then_some(new)
}

fn fill(one: &mut Provision, name: &str, value: &Value) {
    if let Some(reason) = value.unknown() {
        one.unknown = Some(format!(
            "its `{}` is not known before it runs: {reason}",
            clean(name)
        ));
        return;
    }
    match (name, value) {
        ("type", value) => one.kind = value.shown().unwrap_or_default(),
        ("inline", Value::Text(text, line)) => one.inline = Some((text.clone(), *line)),
        ("path", value) => one.path = value.shown(),
        ("args", Value::List(all)) => one.args = all.iter().filter_map(Value::shown).collect(),
        ("args", value) => {
            one.args = value
                .shown()
                .map(|text| words::split(&text).unwrap_or_default())
                .unwrap_or_default()
        }
        ("env", Value::Hash(pairs)) => {
            one.env = pairs
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), value.shown()?)))
                .collect();
        }
        _ => {}
    }
}

/// Takes off what only says as whom, or with which variables, a command is run.
fn strip(words: &mut Vec<Option<String>>) {
    loop {
        let first = words.first().cloned().flatten().unwrap_or_default();
        let drop = match first.as_str() {
            "sudo" => {
                let mut at = 1;
                while let Some(Some(word)) = words.get(at) {
                    match word.as_str() {
                        "-u" | "-g" | "--user" => at += 2,
                        "--" => {
                            at += 1;
                            break;
                        }
                        word if word.starts_with('-') => at += 1,
                        _ => break,
                    }
                }
                at
            }
            "runuser" if words.iter().any(|word| word.as_deref() == Some("--")) => {
                words
                    .iter()
                    .position(|word| word.as_deref() == Some("--"))
                    .unwrap_or(0)
                    + 1
            }
            "env" | "exec" | "nohup" | "eval" => 1,
            word if words.len() > 1
                && word
                    .split_once('=')
                    .is_some_and(|(name, _)| crate::import::dotenv::is_name(name)) =>
            {
                1
            }
            _ => return,
        };
        words.drain(..drop.min(words.len()));
        if words.is_empty() {
            return;
        }
    }
}

/// The word that a key of a script is called by: a plain name of a program.
fn head(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-[".contains(c);
    match !word.is_empty() && word.len() <= 40 && word.chars().all(plain) {
        true => word.to_owned(),
        false => "command".to_owned(),
    }
}

fn clean(text: &str) -> String {
    let text: String = text.chars().take(60).collect();
    text.chars()
        .map(|c| if c.is_control() || c == '`' { '?' } else { c })
        .collect()
}
