//! Services of a Compose project that are databases.

use std::path::{Path, PathBuf};

use crate::command::Dialect;
use crate::import::account::Key;
use crate::import::compose::{Reader, Service, Source};
use crate::import::connection::{Login, Server, Value as Text, Variable};
use crate::import::draft::Toml;
use crate::import::{input, sql, words};

/// A database's image.
pub(super) struct Kind {
    dialect: Dialect,
    image: String,
    /// The name before its tag, without the registry.
    name: String,
    tag: String,
    keys: Vec<Key>,
}

/// Images of databases, by the last part of their names.
const IMAGES: &[(&str, Dialect)] = &[
    ("postgres", Dialect::Postgres),
    ("postgresql", Dialect::Postgres),
    ("postgis", Dialect::Postgres),
    ("pgvector", Dialect::Postgres),
    ("timescaledb", Dialect::Postgres),
    ("mariadb", Dialect::MariaDb),
    ("mysql", Dialect::MariaDb),
    ("mysql-server", Dialect::MariaDb),
    ("percona", Dialect::MariaDb),
];

impl Reader<'_> {
    pub(super) fn is_server(&mut self, service: &Service) -> Option<Kind> {
        let node = service.node.get("image")?.clone();
        let text = self.book.text(&node);
        let bare = text.text.split('@').next().unwrap_or_default();
        let last = bare.rsplit('/').next().unwrap_or_default();
        let (name, tag) = last.split_once(':').unwrap_or((last, ""));
        let (_, dialect) = IMAGES.iter().find(|(image, _)| *image == name)?;
        // Somebody's own image under that name is built from something.
        if service.node.get("build").is_some() {
            return None;
        }
        Some(Kind {
            dialect: *dialect,
            name: name.to_owned(),
            tag: tag.to_owned(),
            image: text.text.clone(),
            keys: text.keys,
        })
    }

    pub(super) fn server(&mut self, service: &Service, kind: Kind) {
        let name = self.name(service);
        let dialect = kind.dialect;
        let server = sql::Server {
            dialect,
            name: name.clone(),
        };
        let hosts = self.hosts(service);
        self.image(&kind, &server);
        let (mut database, logins) = match dialect {
            Dialect::Postgres => self.postgres(service, &name),
            Dialect::MariaDb => self.mariadb(service, &name),
        };
        self.settings(service, &server);
        let port = match dialect {
            Dialect::Postgres => 5432,
            Dialect::MariaDb => 3306,
        };
        self.forward(service, &format!("{}.{name}", server.table()), port);
        self.data(service, &server, &mut database);
        self.common(service);
        let mut logins = logins;
        // Scripts may have made more.
        for login in self.scripted(&server) {
            if !logins.iter().any(|there| there.user == login.user) {
                logins.push(login);
            }
        }
        self.servers.push(Server {
            table: server.table(),
            name,
            port,
            hosts,
            logins,
        });
    }

    /// Logins that statements of scripts declared.
    fn scripted(&self, server: &sql::Server) -> Vec<Login> {
        let secrets = self.draft.secrets();
        let kind = if server.dialect == Dialect::Postgres {
            "role"
        } else {
            "user"
        };
        self.draft
            .tables()
            .iter()
            .filter(|table| {
                table.path.len() == 4
                    && table.path[0] == server.table()
                    && table.path[1] == server.name
                    && table.path[2] == kind
            })
            .map(|table| {
                let declared = table.path[3].clone();
                let user = match kind {
                    "user" => declared
                        .rsplit_once('@')
                        .map_or(declared.clone(), |(user, _)| user.to_owned()),
                    _ => declared.clone(),
                };
                let password = match table.get("password") {
                    Some(Toml::Secret(name)) => secrets
                        .get(name.as_str())
                        .and_then(|moved| moved.value.as_ref()),
                    _ => None,
                };
                let password = password.map(|secret| Text {
                    text: secret.expose().to_owned(),
                    ..Text::default()
                });
                Login {
                    user,
                    declared,
                    password,
                }
            })
            .collect()
    }

    fn image(&mut self, kind: &Kind, server: &sql::Server) {
        let major: String = kind.tag.chars().take_while(char::is_ascii_digit).collect();
        let table = self.draft.table(&[server.table(), &server.name]);
        let comment = format!("There: `{}`.", kind.image.replace(['\n', '\r'], " "));
        let (version, fits) = match server.dialect {
            Dialect::Postgres => ("15", major == "15"),
            Dialect::MariaDb => (
                "10.11",
                kind.name == "mariadb" && (kind.tag == "10.11" || kind.tag.starts_with("10.11.")),
            ),
        };
        let plain = matches!(kind.name.as_str(), "postgres" | "mariadb")
            && kind
                .image
                .trim_start_matches("docker.io/")
                .trim_start_matches("library/")
                .starts_with(kind.name.as_str());
        let alpine = kind.tag.contains("alpine");
        let insist = |reader: &mut Self, reason: String| {
            kind.keys
                .iter()
                .for_each(|key| reader.book.account.insist(*key, reason.clone()));
        };
        table.set("version", Toml::Text(version.to_owned()), kind.keys.clone());
        match (fits, plain) {
            (true, _) if alpine => {
                table.comment.push(comment);
                let reason = "Debian's image is used in place of alpine's: they sort text differently, so data moves by dump and restore";
                kind.keys
                    .iter()
                    .for_each(|key| self.book.account.noted(*key, reason));
            }
            (true, true) => {
                table.set("image", Toml::Text(kind.image.clone()), kind.keys.clone());
                kind.keys
                    .iter()
                    .for_each(|key| self.book.account.used(*key));
            }
            (true, false) if kind.name != "postgresql" => {
                table.set("image", Toml::Text(kind.image.clone()), kind.keys.clone());
                kind.keys
                    .iter()
                    .for_each(|key| self.book.account.used(*key));
            }
            _ => {
                table.comment.push(comment);
                let what = match server.dialect {
                    Dialect::Postgres => "PostgreSQL 15",
                    Dialect::MariaDb => "MariaDB 10.11",
                };
                insist(
                    self,
                    format!(
                        "only {what} is set up yet, and `{}` is not it: data moves by dump and restore",
                        kind.image.replace(['\n', '\r'], " ")
                    ),
                );
            }
        }
    }

    /// A value of a variable, or of the file that `NAME_FILE` names.
    fn secret_of(
        &mut self,
        variables: &[Variable],
        names: &[&str],
    ) -> Option<(Text, Option<Toml>)> {
        for name in names {
            if let Some(variable) = variables.iter().find(|variable| variable.name == *name) {
                return Some((variable.value.clone(), None));
            }
            let file = format!("{name}_FILE");
            let Some(variable) = variables.iter().find(|variable| variable.name == file) else {
                continue;
            };
            let inside = variable
                .value
                .text
                .strip_prefix("/run/secrets/")
                .unwrap_or_default();
            let mut value = variable.value.clone();
            let Some((source, keys)) = self.secrets.get(inside).cloned() else {
                value.keys.iter().for_each(|key| {
                    self.book.account.left(
                        *key,
                        "a secret that this project does not declare with a file",
                    )
                });
                continue;
            };
            keys.iter().for_each(|key| self.book.account.used(*key));
            value.keys.extend(keys);
            let toml = match source {
                Source::File(path) => {
                    let path = input::relative(&self.wishes.folder, &path);
                    Toml::Inline(vec![("file".to_owned(), Toml::Text(path))])
                }
                Source::Variable(variable) => self.draft.secret(&variable, None),
            };
            value.var = Some(format!("file {inside}"));
            value.unset = vec![inside.to_owned()];
            value.text = String::new();
            return Some((value, Some(toml)));
        }
        None
    }

    fn mark(&mut self, value: &Text) {
        value
            .keys
            .iter()
            .for_each(|key| self.book.account.used(*key));
    }

    fn postgres(&mut self, service: &Service, name: &str) -> (Option<String>, Vec<Login>) {
        let variables = self.variables(service);
        let find = |wanted: &[&str]| {
            variables
                .iter()
                .find(|one| wanted.contains(&one.name.as_str()))
                .map(|one| one.value.clone())
        };
        let user = find(&["POSTGRES_USER", "POSTGRESQL_USERNAME", "POSTGRESQL_USER"]);
        let user_name = user
            .as_ref()
            .map(|user| user.text.clone())
            .filter(|user| !user.is_empty())
            .unwrap_or_else(|| "postgres".to_owned());
        let password = self.secret_of(&variables, &["POSTGRES_PASSWORD", "POSTGRESQL_PASSWORD"]);
        let database = find(&["POSTGRES_DB", "POSTGRESQL_DATABASE"]);
        let database_name = database
            .as_ref()
            .map(|one| one.text.clone())
            .filter(|one| !one.is_empty())
            .unwrap_or_else(|| user_name.clone());
        let mut keys: Vec<Key> = user.iter().flat_map(|one| one.keys.clone()).collect();
        user.iter().for_each(|one| self.mark(one));
        database.iter().for_each(|one| self.mark(one));
        let secret = password.as_ref().map(|(value, toml)| match toml {
            Some(toml) => toml.clone(),
            None => value.secret(self.draft, "POSTGRES_PASSWORD"),
        });
        password.iter().for_each(|(value, _)| self.mark(value));
        let role = self.draft.table(&["postgres", name, "role", &user_name]);
        role.from.append(&mut keys);
        if user_name == "postgres" {
            role.comment.push(
                "The superuser: an application should log in as a role of its own.".to_owned(),
            );
            for attribute in [
                "superuser",
                "createdb",
                "createrole",
                "replication",
                "bypassrls",
            ] {
                role.set(attribute, Toml::Bool(true), []);
            }
        } else {
            role.comment.push(
                "There it is superuser; here it owns its database, and that is all it needs."
                    .to_owned(),
            );
        }
        if let (Some(secret), Some((value, _))) = (secret, &password) {
            role.set("password", secret, value.keys.clone());
        }
        let mut owned = None;
        if database_name != "postgres" {
            let table = self
                .draft
                .table(&["postgres", name, "database", &database_name]);
            table
                .from
                .extend(database.iter().flat_map(|one| one.keys.clone()));
            table.set("owner", Toml::Text(user_name.clone()), []);
            owned = Some(database_name.clone());
        }
        for variable in &variables {
            let (keys, text) = (&variable.value.keys, &variable.value.text);
            let account = &mut self.book.account;
            match variable.name.as_str() {
                "POSTGRES_INITDB_ARGS" => {
                    let words = words::split(text).unwrap_or_default();
                    let encoding = words::option(&words, &["--encoding", "-E"]).map(str::to_owned);
                    let locale =
                        words::option(&words, &["--locale", "--lc-collate"]).map(str::to_owned);
                    let strange = words.iter().any(|word| {
                        ![
                            "--encoding",
                            "-E",
                            "--locale",
                            "--lc-",
                            "--auth",
                            "--data-checksums",
                            "-k",
                        ]
                        .iter()
                        .any(|known| word.starts_with(known))
                    });
                    if let Some(owned) = &owned {
                        let table = self.draft.table(&["postgres", name, "database", owned]);
                        for (key, value) in [
                            ("encoding", encoding.map(|one| one.to_uppercase())),
                            ("locale", locale),
                        ] {
                            if let Some(value) = value {
                                table.set(key, Toml::Text(value), keys.clone());
                                keys.iter().for_each(|key| account.used(*key));
                            }
                        }
                    }
                    for key in keys {
                        match strange {
                            true => {
                                account.insist(*key, "an option of `initdb` is not carried over")
                            }
                            false => account.noted(*key, "logins need a password in any case"),
                        }
                    }
                }
                "POSTGRES_HOST_AUTH_METHOD" => {
                    keys.iter().for_each(|key| {
                        account.left(*key, "every login over the network needs its password")
                    });
                }
                "PGDATA" => keys.iter().for_each(|key| {
                    account.noted(*key, "a server's data is in a volume of its own")
                }),
                "TZ" => {
                    let table = self.draft.table(&["postgres", name, "settings"]);
                    table.set("timezone", Toml::Text(text.clone()), keys.clone());
                    keys.iter().for_each(|key| account.used(*key));
                }
                "PGUSER" | "PGPASSWORD" | "PGDATABASE" => keys
                    .iter()
                    .for_each(|key| account.noted(*key, "for clients in the container")),
                _ => keys.iter().for_each(|key| {
                    account.left(*key, "a variable of the image that is not understood")
                }),
            }
        }
        let login = Login {
            user: user_name.clone(),
            declared: user_name,
            password: password.map(|(value, _)| value),
        };
        (owned, vec![login])
    }

    fn mariadb(&mut self, service: &Service, name: &str) -> (Option<String>, Vec<Login>) {
        let variables = self.variables(service);
        let either = |end: &str| [format!("MARIADB_{end}"), format!("MYSQL_{end}")];
        let find = |end: &str| {
            let names = either(end);
            variables
                .iter()
                .find(|one| names.contains(&one.name))
                .map(|one| one.value.clone())
        };
        let (user, database) = (find("USER"), find("DATABASE"));
        user.iter().for_each(|one| self.mark(one));
        database.iter().for_each(|one| self.mark(one));
        let names = either("PASSWORD");
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let password = self.secret_of(&variables, &names);
        password.iter().for_each(|(value, _)| self.mark(value));
        let database_name = database
            .as_ref()
            .map(|one| one.text.clone())
            .filter(|one| !one.is_empty());
        if let (Some(own), Some(database)) = (&database_name, &database) {
            let table = self.draft.table(&["mariadb", name, "database", own]);
            table.from.extend(database.keys.clone());
        }
        let mut logins = Vec::new();
        if let Some(user) = user.filter(|user| !user.text.is_empty() && user.text != "root") {
            let declared = format!("{}@%", user.text);
            let secret = password.as_ref().map(|(value, toml)| match toml {
                Some(toml) => toml.clone(),
                None => value.secret(self.draft, names[1]),
            });
            let table = self.draft.table(&["mariadb", name, "user", &declared]);
            table.from.extend(user.keys.clone());
            if let (Some(secret), Some((value, _))) = (secret, &password) {
                table.set("password", secret, value.keys.clone());
            }
            if let (Some(own), Some(database)) = (&database_name, &database) {
                for key in &database.keys {
                    sql::grant(table, &format!("{own}.*"), &["ALL".to_owned()], *key);
                }
                if database.keys.is_empty() {
                    table.set(
                        "grants",
                        Toml::Inline(vec![(format!("{own}.*"), Toml::texts(["ALL"]))]),
                        [],
                    );
                }
            }
            logins.push(Login {
                user: user.text,
                declared,
                password: password.map(|(value, _)| value),
            });
        }
        for variable in &variables {
            let end = variable.name.split_once('_').map_or("", |(_, end)| end);
            let reason = match end {
                "ROOT_PASSWORD"
                | "ROOT_PASSWORD_FILE"
                | "RANDOM_ROOT_PASSWORD"
                | "ALLOW_EMPTY_ROOT_PASSWORD"
                | "ALLOW_EMPTY_PASSWORD"
                | "ROOT_PASSWORD_HASH" => {
                    Ok("nobody needs a password of root: `provision` comes in over the socket")
                }
                "ROOT_HOST" => Err("`root` comes in over the socket only"),
                "INITDB_SKIP_TZINFO" | "AUTO_UPGRADE" => Ok("of no meaning for what is declared"),
                _ if variable.name == "TZ" => {
                    let table = self.draft.table(&["mariadb", name, "settings"]);
                    let known = variable.value.text.starts_with(['+', '-'])
                        || variable.value.text == "SYSTEM";
                    match known {
                        true => {
                            table.set(
                                "default_time_zone",
                                Toml::Text(variable.value.text.clone()),
                                variable.value.keys.clone(),
                            );
                            self.mark(&variable.value);
                            continue;
                        }
                        false => Err(
                            "a named time zone: `settings = { default_time_zone = \"+00:00\" }` takes an offset",
                        ),
                    }
                }
                _ => Err("a variable of the image that is not understood"),
            };
            for key in &variable.value.keys {
                match reason {
                    Ok(reason) => self.book.account.noted(*key, reason),
                    Err(reason) => self.book.account.left(*key, reason),
                }
            }
        }
        (database_name, logins)
    }

    /// Settings of the command: `-c name=value`, `--name=value`.
    fn settings(&mut self, service: &Service, server: &sql::Server) {
        let Some(node) = service.node.get("command").cloned() else {
            return;
        };
        let (words, keys) = self.words(&node);
        let mut strange = None;
        let mut words = words.into_iter().peekable();
        while let Some(word) = words.next() {
            let pair = match (server.dialect, word.as_str()) {
                (_, "postgres" | "mysqld" | "mariadbd" | "docker-entrypoint.sh") => continue,
                (Dialect::Postgres, "-c") => words.next(),
                (Dialect::Postgres, word) if word.starts_with("--") => {
                    Some(word.trim_start_matches('-').to_owned())
                }
                (Dialect::Postgres, word) if word.starts_with("-c") => {
                    word.strip_prefix("-c").map(str::to_owned)
                }
                (Dialect::Postgres, "-N") => words
                    .next()
                    .map(|number| format!("max_connections={number}")),
                (Dialect::Postgres, "-B") => words
                    .next()
                    .map(|number| format!("shared_buffers={number}")),
                (Dialect::MariaDb, word) if word.starts_with("--") => {
                    let word = word.trim_start_matches('-').to_owned();
                    let next = words.next_if(|next| !word.contains('=') && !next.starts_with('-'));
                    Some(match next {
                        Some(value) => format!("{word}={value}"),
                        None if word.contains('=') => word,
                        None => format!("{word}=ON"),
                    })
                }
                _ => None,
            };
            let Some((name, value)) = pair.as_deref().and_then(|pair| pair.split_once('=')) else {
                strange.get_or_insert(words::option_name(&word));
                continue;
            };
            let name = name.trim().replace('-', "_").to_lowercase();
            if matches!(
                name.as_str(),
                "config_file"
                    | "hba_file"
                    | "defaults_extra_file"
                    | "default_authentication_plugin"
                    | "listen_addresses"
                    | "bind_address"
                    | "port"
                    | "data_directory"
                    | "datadir"
                    | "skip_name_resolve"
            ) {
                strange.get_or_insert(format!("{name}=..."));
                continue;
            }
            let value = sql::setting(&name, value.trim().trim_matches(['\'', '"']));
            let table = self
                .draft
                .table(&[server.table(), &server.name, "settings"]);
            table.set(&name, value, keys.clone());
        }
        for key in keys {
            match &strange {
                None => self.book.account.used(key),
                Some(word) => {
                    self.book
                        .account
                        .insist(key, format!("`{word}` of the command is not carried over"));
                }
            }
        }
    }

    /// What is mounted: data, scripts of the first start, settings.
    fn data(&mut self, service: &Service, server: &sql::Server, database: &mut Option<String>) {
        for mount in self.mounts(service) {
            let target = mount.target.trim_end_matches('/').to_owned();
            let data = [
                "/var/lib/postgresql",
                "/var/lib/mysql",
                "/bitnami",
                "/var/lib/pgsql",
            ];
            if data.iter().any(|folder| target.starts_with(folder)) {
                for key in &mount.keys {
                    match mount.path() {
                        Some(_) => self.book.account.left(*key, "its data is in a folder there and in a volume here: dump and restore it"),
                        None => self.book.account.noted(*key, "a volume of its own; data that is there moves by dump and restore"),
                    }
                }
                continue;
            }
            let script = target.strip_prefix("/docker-entrypoint-initdb.d");
            match (script, mount.path()) {
                // The image's entrypoint does not look into folders of that folder.
                (Some(inside), Some(path))
                    if inside.matches('/').count() <= usize::from(!path.is_dir()) =>
                {
                    self.scripts(&path, server, database, &mount.keys);
                }
                (Some(_), _) => mount.keys.iter().for_each(|key| {
                    self.book.account.left(
                        *key,
                        "scripts are run from `/docker-entrypoint-initdb.d` itself, out of a folder or file of this machine",
                    );
                }),
                _ => {
                    let reason = format!(
                        "what is mounted at `{target}` is not carried over: settings go into `settings`"
                    );
                    mount
                        .keys
                        .iter()
                        .for_each(|key| self.book.account.left(*key, reason.clone()));
                }
            }
        }
    }

    /// Scripts of the first start.
    fn scripts(
        &mut self,
        path: &Path,
        server: &sql::Server,
        database: &mut Option<String>,
        keys: &[Key],
    ) {
        let mut files: Vec<PathBuf> = match path.is_dir() {
            true => std::fs::read_dir(path)
                .map(|all| {
                    all.flatten()
                        .map(|entry| entry.path())
                        .filter(|path| path.is_file())
                        .collect()
                })
                .unwrap_or_default(),
            false => vec![path.to_owned()],
        };
        files.sort();
        if files.is_empty() {
            keys.iter()
                .for_each(|key| self.book.account.noted(*key, "no script is in there"));
        }
        for file in files {
            let shown = input::shown(&file);
            let left = |reader: &mut Self, reason: String| {
                keys.iter()
                    .for_each(|key| reader.book.account.insist(*key, reason.clone()))
            };
            if file.extension().is_none_or(|end| end != "sql") {
                left(
                    self,
                    format!("`{shown}` is no `.sql` file: what it does is not known"),
                );
                continue;
            }
            let text = match input::text(&file) {
                Ok(text) => text,
                Err(why) => {
                    left(self, format!("`{shown}` {why}"));
                    continue;
                }
            };
            let said = sql::read(server.dialect, &text);
            if sql::declares(&said) == Some(false) {
                if database.is_none() {
                    left(
                        self,
                        format!("`{shown}`: which database it is for is not known"),
                    );
                    continue;
                }
                let relative = input::relative(&self.wishes.folder, &file);
                let own = database.clone().unwrap_or_default();
                let table = self.draft.table(&[server.table(), &server.name]);
                table.push("init", Toml::Text(relative), keys.iter().copied());
                table.set("init_database", Toml::Text(own), []);
                keys.iter().for_each(|key| {
                    if self.book.account.is_pending(*key) {
                        self.book.account.used(*key)
                    }
                });
                continue;
            }
            keys.iter().for_each(|key| {
                if self.book.account.is_pending(*key) {
                    self.book.account.used(*key)
                }
            });
            sql::declare(
                &said,
                server,
                database,
                self.draft,
                self.book.account,
                (&shown, 0),
            );
        }
    }
}
