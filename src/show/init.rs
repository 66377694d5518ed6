//! A first environment file, from a few answers.

/// The answers.
#[derive(Clone, Debug, Default)]
pub struct First {
    /// The environment's name, as in `local`.
    pub environment: String,
    /// The project's name.
    pub project: String,
    /// The PostgreSQL server, if there is one.
    pub postgres: Option<String>,
    /// The MariaDB server, if there is one.
    pub mariadb: Option<String>,
    /// The Django application, if there is one: its folder relative to the file, and its settings module.
    pub django: Option<(String, String)>,
}

/// The file. Passwords are generated: nothing secret stands in it.
pub fn render(first: &First) -> String {
    let First {
        environment,
        project,
        ..
    } = first;
    let owner = format!("{}_user", word(project));
    let database = word(project);
    let mut out = format!(
        "# {environment}.toml: what should exist. `provision plan {environment}` says what would change.\n\n\
         [environment]\nname = \"{environment}\"\nproject = \"{project}\"\nstage = \"dev\"\n\n\
         [target]\ndriver = \"docker\"\n"
    );
    if let Some(name) = &first.postgres {
        out.push_str(&format!(
            "\n[postgres.{name}]\nversion = \"15\"\n\n\
             [postgres.{name}.role.{owner}]\npassword = {{ generate = true }}   # made once, kept beside the generated files\n\n\
             [postgres.{name}.database.{database}]\nowner = \"{owner}\"\n"
        ));
        out.push_str(&forward(name, "postgres", 15432, false));
    }
    if let Some(name) = &first.mariadb {
        out.push_str(&format!(
            "\n[mariadb.{name}]\nversion = \"10.11\"\n\n\
             [mariadb.{name}.database.{database}]\ncharset = \"utf8mb4\"\ncollation = \"utf8mb4_unicode_ci\"\n\n\
             [mariadb.{name}.user.\"{owner}@%\"]\npassword = {{ generate = true }}\n\
             grants = {{ \"{database}.*\" = [\"ALL\"] }}\n"
        ));
        out.push_str(&forward(name, "mariadb", 13306, false));
    }
    if let Some((source, settings)) = &first.django {
        out.push_str(&django(first, source, settings, &owner, &database));
    }
    out
}

fn django(first: &First, source: &str, settings: &str, owner: &str, database: &str) -> String {
    let name = "web";
    let mut out = format!(
        "\n[django.{name}]\nsource = {}\nmount = true   # reloads when a file is saved\nsettings = {}\n\n[django.{name}.env]\n",
        toml_string(source),
        toml_string(settings)
    );
    let mut variables = |prefix: &str, table: &str, server: &str, secret: String| {
        let service = format!("{table}.{server}");
        for (key, value) in [
            ("HOST", format!("{{{{ {service}.host }}}}")),
            ("PORT", format!("{{{{ {service}.port }}}}")),
            ("NAME", database.to_owned()),
            ("USER", owner.to_owned()),
            ("PASSWORD", secret),
        ] {
            out.push_str(&format!("{prefix}_{key} = {}\n", toml_literal(&value)));
        }
    };
    if let Some(server) = &first.postgres {
        let secret = format!("{{{{ postgres.{server}.role.{owner}.password }}}}");
        variables("DJANGO_DB", "postgres", server, secret);
    }
    if let Some(server) = &first.mariadb {
        let secret = format!("{{{{ mariadb.{server}.user[\"{owner}@%\"].password }}}}");
        let prefix = match first.postgres {
            Some(_) => format!("DJANGO_{}", word(server).to_uppercase()),
            None => "DJANGO_DB".to_owned(),
        };
        variables(&prefix, "mariadb", server, secret);
    }
    out.push_str(&forward(name, "django", 8000, true));
    out
}

fn forward(name: &str, table: &str, port: u16, auto: bool) -> String {
    let auto = if auto {
        "auto_correct = true   # takes the next free port where this one is taken\n"
    } else {
        ""
    };
    format!("\n[forward.{name}]\nto = \"{table}.{name}\"\nlisten = \"127.0.0.1:{port}\"\n{auto}")
}

/// A name as databases like it.
fn word(name: &str) -> String {
    name.replace('-', "_")
}

fn toml_string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A literal string where it can be one, so that quotes inside stay readable.
fn toml_literal(text: &str) -> String {
    match text.contains('"') && !text.contains('\'') {
        true => format!("'{text}'"),
        false => toml_string(text),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_first_file_is_toml() {
        let first = First {
            environment: "local".to_owned(),
            project: "my-shop".to_owned(),
            postgres: Some("db".to_owned()),
            mariadb: Some("calls".to_owned()),
            django: Some(("../app \"x\"".to_owned(), "shop.settings".to_owned())),
        };
        let table: toml::Table = toml::from_str(&render(&first)).unwrap();
        assert_eq!(table["environment"]["project"].as_str(), Some("my-shop"));
        assert_eq!(
            table["django"]["web"]["source"].as_str(),
            Some("../app \"x\"")
        );
        assert_eq!(
            table["django"]["web"]["env"]["DJANGO_CALLS_PASSWORD"].as_str(),
            Some("{{ mariadb.calls.user[\"my_shop_user@%\"].password }}")
        );
        assert_eq!(
            table["postgres"]["db"]["database"]["my_shop"]["owner"].as_str(),
            Some("my_shop_user")
        );
    }
}
