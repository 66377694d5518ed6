//! `import env`: a `.env` file of a Django project.

use std::path::Path;

use crate::error::{Failure, Kind};
use crate::import::account::Key;
use crate::import::compose::named;
use crate::import::connection::{self, Login, Part, Server, Url, Value, Variable};
use crate::import::draft::{Toml, literal};
use crate::import::{Import, Imported, Wishes, dotenv, input, project};

/// A database that variables are about.
struct Wanted {
    table: &'static str,
    host: String,
    port: Option<String>,
    database: Option<Value>,
    user: Option<Value>,
    password: Option<Value>,
    keys: Vec<Key>,
}

/// Reads the file.
///
/// # Errors
/// [`Kind::Usage`] where it cannot be read or holds nothing.
pub fn import(file: &Path, wishes: &Wishes) -> Imported {
    let mut import = Import::default();
    let text = input::needed(file)?;
    let shown = input::shown(file);
    let Import { draft, account } = &mut import;
    let read = dotenv::read(&text, &shown, account);
    if read.is_empty() {
        return Err(Failure::new(
            Kind::Usage,
            format!("`{shown}` holds no variable"),
        ));
    }
    let variables: Vec<Variable> = read
        .into_iter()
        .map(|one| Variable {
            value: Value {
                text: one.value,
                // A secret keeps the name that it has there.
                var: Some(one.name.clone()),
                keys: vec![one.key],
                ..Value::default()
            },
            name: one.name,
        })
        .collect();
    let folder = input::plain(file.parent().unwrap_or(Path::new(".")));
    let mut projects = project::find(&folder);
    // Often it lies in a folder beside the project, as in `.envs/`.
    if projects.is_empty()
        && let Some(above) = folder.parent()
    {
        let hidden = folder
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden {
            projects = project::find(above);
        }
    }
    let name = wishes.project.clone();
    let name = name.unwrap_or_else(|| input::folder_name(&folder));
    draft.begin(&shown, named(&name, 48), []);
    let mut servers: Vec<Server> = Vec::new();
    for wanted in wanted(&variables) {
        if !is_here(&wanted.host) {
            let host: String = wanted
                .host
                .chars()
                .filter(|c| !c.is_control() && *c != '`')
                .collect();
            let reason = format!(
                "the database on `{host}` is not one of this machine: `[{}.NAME.external]` takes an administrator",
                wanted.table
            );
            wanted
                .keys
                .iter()
                .for_each(|key| account.insist(*key, reason.clone()));
            continue;
        }
        declare(draft, account, &wanted, &mut servers);
    }
    match projects.into_iter().next() {
        Some(found) => {
            let settings = variables
                .iter()
                .find(|one| {
                    one.name == "DJANGO_SETTINGS_MODULE" && project::is_module(&one.value.text)
                })
                .map(|one| (one.value.text.clone(), one.value.keys.clone()))
                .or_else(|| found.settings.clone().map(|module| (module, Vec::new())));
            let at = input::shown(&found.folder);
            match (settings, found.requirements) {
                (Some((settings, keys)), Some(requirements)) => {
                    let table = draft.table(&["django", "web"]);
                    table.set(
                        "source",
                        Toml::Text(literal(&input::relative(&wishes.folder, &found.folder))),
                        [],
                    );
                    table.set("mount", Toml::Bool(true), []);
                    if requirements != "requirements.txt" {
                        table.set("requirements", Toml::Text(requirements), []);
                    }
                    table.set("settings", Toml::Text(settings), keys.clone());
                    keys.iter().for_each(|key| account.used(*key));
                    let rest: Vec<Variable> = variables
                        .iter()
                        .filter(|one| one.name != "DJANGO_SETTINGS_MODULE")
                        .cloned()
                        .collect();
                    let before: Vec<(Key, bool)> = rest
                        .iter()
                        .flat_map(|one| {
                            one.value
                                .keys
                                .iter()
                                .map(|key| (*key, account.is_pending(*key)))
                        })
                        .collect();
                    let left: Vec<(Key, crate::import::account::Outcome)> = before
                        .iter()
                        .filter(|(_, pending)| !pending)
                        .filter_map(|(key, _)| account.outcome(*key).map(|outcome| (*key, outcome)))
                        .collect();
                    connection::wire(draft, account, "web", &rest, &servers);
                    // What was left for a reason stays so, though the variable itself is handed on.
                    for (key, outcome) in left {
                        if let crate::import::account::Outcome::Left(reason) = outcome {
                            account.insist(key, reason);
                        }
                    }
                    let forward = draft.table(&["forward", "web"]);
                    forward.set("to", Toml::Text("django.web".to_owned()), []);
                    forward.set("listen", Toml::Text("127.0.0.1:8000".to_owned()), []);
                    forward.set("auto_correct", Toml::Bool(true), []);
                }
                (None, _) => leave(
                    account,
                    &variables,
                    &format!("`{at}/manage.py` names no settings module"),
                ),
                (_, None) => leave(
                    account,
                    &variables,
                    &format!(
                        "there is no requirements file in `{at}`: `pip freeze > requirements.txt` writes one"
                    ),
                ),
            }
        }
        None => leave(
            account,
            &variables,
            &format!(
                "there is no `manage.py` in `{}`, so no application to hand it to",
                input::shown(&folder)
            ),
        ),
    }
    account.close();
    Ok(import)
}

fn leave(account: &mut crate::import::account::Account, variables: &[Variable], reason: &str) {
    for key in variables.iter().flat_map(|one| &one.value.keys) {
        account.left(*key, reason);
    }
}

/// Whether a host may be one of this environment: this machine, or the plain name of a container.
fn is_here(host: &str) -> bool {
    let local = matches!(
        host,
        "" | "localhost" | "127.0.0.1" | "::1" | "0.0.0.0" | "host.docker.internal"
    );
    local || (!host.contains('.') && !host.contains(':') && !host.starts_with('/'))
}

fn wanted(variables: &[Variable]) -> Vec<Wanted> {
    let mut all: Vec<Wanted> = Vec::new();
    for variable in variables {
        let Some(url) = Url::read(&variable.value.text) else {
            continue;
        };
        let Some(table) = url.table() else { continue };
        let value = |text: Option<String>| {
            text.map(|text| Value {
                text,
                keys: variable.value.keys.clone(),
                ..Value::default()
            })
        };
        all.push(Wanted {
            table,
            host: url.host.clone(),
            port: url.port.clone(),
            database: value(url.database().map(str::to_owned)),
            user: value(url.user.clone()),
            password: value(url.password.clone()),
            keys: variable.value.keys.clone(),
        });
    }
    for (prefix, parts) in connection::groups(variables) {
        let Some(about) = connection::is_database(&prefix) else {
            continue;
        };
        let get = |part: Part| {
            parts
                .get(&part)
                .and_then(|at| variables.get(*at))
                .map(|one| one.value.clone())
        };
        let (host, port) = (get(Part::Host), get(Part::Port));
        if get(Part::User).is_none() && get(Part::Name).is_none() {
            continue;
        }
        let engine = variables
            .iter()
            .find(|one| one.name.to_uppercase() == format!("{prefix}ENGINE"))
            .map(|one| one.value.text.to_lowercase());
        let table = match (&engine, about, port.as_ref().map(|port| port.text.as_str())) {
            (Some(engine), ..) if engine.contains("sqlite") => continue,
            (Some(engine), ..) if engine.contains("mysql") || engine.contains("maria") => "mariadb",
            (Some(engine), ..) if engine.contains("postg") => "postgres",
            (_, Some(table), _) => table,
            (_, _, Some("3306" | "13306")) => "mariadb",
            _ => "postgres",
        };
        all.push(Wanted {
            table,
            host: host.map(|host| host.text).unwrap_or_default(),
            port: port.map(|port| port.text),
            database: get(Part::Name),
            user: get(Part::User),
            password: get(Part::Password),
            keys: parts
                .values()
                .filter_map(|at| variables.get(*at))
                .flat_map(|one| one.value.keys.clone())
                .collect(),
        });
    }
    all
}

fn declare(
    draft: &mut crate::import::draft::Draft,
    account: &mut crate::import::account::Account,
    wanted: &Wanted,
    servers: &mut Vec<Server>,
) {
    let host = match wanted.host.as_str() {
        "" => "localhost",
        host => host,
    };
    let known = servers.iter_mut().position(|server| {
        server.table == wanted.table && server.hosts.iter().any(|one| one == host)
    });
    let at = known.unwrap_or_else(|| {
        let same = servers
            .iter()
            .filter(|server| server.table == wanted.table)
            .count();
        let plain = if wanted.table == "postgres" {
            "db"
        } else {
            "mariadb"
        };
        let name = if is_local(host) {
            plain.to_owned()
        } else {
            named(host, 40)
        };
        let name = if same == 0 || !servers.iter().any(|server| server.name == name) {
            name
        } else {
            format!("{name}-{}", same + 1)
        };
        let port = if wanted.table == "postgres" {
            5432
        } else {
            3306
        };
        let mut hosts = vec![host.to_owned()];
        if host == "localhost" {
            hosts.extend(["127.0.0.1".to_owned(), String::new()]);
        }
        draft.table(&[wanted.table, &name]).set(
            "version",
            Toml::Text(
                if wanted.table == "postgres" {
                    "15"
                } else {
                    "10.11"
                }
                .to_owned(),
            ),
            [],
        );
        servers.push(Server {
            table: wanted.table,
            name,
            port,
            hosts,
            logins: Vec::new(),
        });
        servers.len() - 1
    });
    let Some(server) = servers.get_mut(at) else {
        return;
    };
    // Programs on this machine reached it at this port; containers reach it at its own.
    if let Some(port) = wanted
        .port
        .as_deref()
        .and_then(|port| port.parse::<u16>().ok())
        && is_local(host)
        && port > 0
    {
        server.port = port;
        let table = draft.table(&["forward", &server.name]);
        table.set(
            "to",
            Toml::Text(format!("{}.{}", wanted.table, server.name)),
            [],
        );
        table.set(
            "listen",
            Toml::Text(format!("127.0.0.1:{port}")),
            wanted.keys.clone(),
        );
        if port == 5432 || port == 3306 {
            table.set("auto_correct", Toml::Bool(true), []);
        }
    }
    let user = wanted.user.as_ref().filter(|user| !user.text.is_empty());
    let database = wanted.database.as_ref().filter(|one| !one.text.is_empty());
    if wanted.table == "postgres" {
        if let Some(user) = user {
            let secret = wanted
                .password
                .as_ref()
                .map(|password| password.secret(draft, &format!("{}_PASSWORD", user.text)));
            let table = draft.table(&["postgres", &server.name, "role", &user.text]);
            table.from.extend(user.keys.clone());
            if user.text == "postgres" {
                for attribute in [
                    "superuser",
                    "createdb",
                    "createrole",
                    "replication",
                    "bypassrls",
                ] {
                    table.set(attribute, Toml::Bool(true), []);
                }
            }
            if let (Some(secret), Some(password)) = (secret, &wanted.password) {
                table.set("password", secret, password.keys.clone());
            }
        }
        if let Some(database) = database.filter(|one| one.text != "postgres") {
            let table = draft.table(&["postgres", &server.name, "database", &database.text]);
            table.from.extend(database.keys.clone());
            if let Some(user) = user {
                table.set("owner", Toml::Text(user.text.clone()), []);
            }
        }
    } else {
        if let Some(database) = database {
            draft
                .table(&["mariadb", &server.name, "database", &database.text])
                .from
                .extend(database.keys.clone());
        }
        if let Some(user) = user.filter(|user| user.text != "root") {
            let declared = format!("{}@%", user.text);
            let secret = wanted
                .password
                .as_ref()
                .map(|password| password.secret(draft, &format!("{}_PASSWORD", user.text)));
            let table = draft.table(&["mariadb", &server.name, "user", &declared]);
            table.from.extend(user.keys.clone());
            if let (Some(secret), Some(password)) = (secret, &wanted.password) {
                table.set("password", secret, password.keys.clone());
            }
            if let Some(database) = database {
                table.set(
                    "grants",
                    Toml::Inline(vec![(format!("{}.*", database.text), Toml::texts(["ALL"]))]),
                    [],
                );
            }
        }
    }
    if wanted.table == "mariadb" && user.is_some_and(|user| user.text == "root") {
        let keys: Vec<Key> = user.iter().flat_map(|user| user.keys.clone()).collect();
        keys.iter().for_each(|key| {
            account.insist(
                *key,
                "`root` comes in over the socket only: an application needs a user of its own",
            )
        });
        return;
    }
    if let Some(user) = user {
        let declared = match wanted.table {
            "postgres" => user.text.clone(),
            _ => format!("{}@%", user.text),
        };
        if server.logins.iter().all(|login| login.declared != declared) {
            server.logins.push(Login {
                user: user.text.clone(),
                declared,
                password: wanted.password.clone(),
            });
        }
    }
    for key in &wanted.keys {
        if account.is_pending(*key) {
            // Whoever hands it to an application says so again.
            account.used(*key);
        }
    }
}

fn is_local(host: &str) -> bool {
    matches!(
        host,
        "" | "localhost" | "127.0.0.1" | "::1" | "0.0.0.0" | "host.docker.internal"
    )
}
