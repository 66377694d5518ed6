//! `init`: a first environment file from a few answers.

use std::fs;
use std::path::{Path, PathBuf};

use crate::commands::{Context, End};
use crate::environment;
use crate::error::{Failure, Kind};
use crate::files;
use crate::import;
use crate::show::init::{First, render};

/// What `init` is told.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The environment.
    pub environment: String,
    /// Without asking.
    pub yes: bool,
    /// The project.
    pub project: Option<String>,
    /// A PostgreSQL server.
    pub postgres: Option<String>,
    /// A MariaDB server.
    pub mariadb: Option<String>,
    /// The folder that holds `manage.py`.
    pub django: Option<PathBuf>,
    /// The settings module.
    pub settings: Option<String>,
}

/// Where `manage.py` usually is.
const USUAL: &[&str] = &[".", "app", "src", "backend", "web"];

/// Asks, writes, checks.
///
/// # Errors
/// [`Kind::Usage`] where the file is there already, or nobody is there to ask.
pub async fn run(context: &Context, options: &Options) -> End {
    name(&options.environment)?;
    let path = context.dir.join(format!("{}.toml", options.environment));
    if fs::symlink_metadata(&path).is_ok() {
        let message = format!(
            "`{}` is there already, and is never overwritten",
            path.display()
        );
        return Err(Failure::new(Kind::Usage, message));
    }
    let first = answers(context, options).await?;
    files::write_new(&path, &render(&first))?;
    if let Err(failure) = environment::load(&context.dir, &options.environment) {
        // A file that does not stand the check is not left behind.
        let _ = fs::remove_file(&path);
        return Err(failure);
    }
    context.output.data(&format!("{}\n", path.display()));
    context.output.say(&format!(
        "Look at it, then `provision plan {name}` and `provision apply {name}`. Keep `.provision/` out of version control.\n",
        name = options.environment
    ));
    Ok(0)
}

async fn answers(context: &Context, options: &Options) -> Result<First, Failure> {
    let asking = Asking {
        context,
        ask: !options.yes,
    };
    if asking.ask && !context.output.can_ask() {
        return Err(Failure::new(
            Kind::Usage,
            "nobody is there to ask: standard input is no terminal",
        )
        .hint("`--yes` takes the defaults, and options say the rest: `provision init --help`"));
    }
    let guess = options.django.clone().or_else(|| {
        USUAL
            .iter()
            .map(PathBuf::from)
            .find(|p| p.join("manage.py").is_file())
    });
    let project = asking
        .named(
            "What is the project called?",
            options.project.as_deref(),
            &project_guess(),
        )
        .await?;
    // With nothing said and nobody asked, a database is what most people want first.
    let nothing = options.postgres.is_none() && options.mariadb.is_none();
    let postgres = asking
        .service(
            "PostgreSQL 15 server, by name (`-` for none)",
            options.postgres.as_deref(),
            if nothing { "db" } else { "-" },
        )
        .await?;
    let mariadb = asking
        .service(
            "MariaDB 10.11 server, by name (`-` for none)",
            options.mariadb.as_deref(),
            "-",
        )
        .await?;
    let shown = guess.map_or("-".to_owned(), |path| path.display().to_string());
    let said = options
        .django
        .as_ref()
        .map(|path| path.display().to_string());
    let folder = asking
        .text(
            "Folder that holds `manage.py` (`-` for none)",
            said.as_deref(),
            &shown,
        )
        .await?;
    let django = match folder.as_str() {
        "-" => None,
        folder => Some(django(context, &asking, options, Path::new(folder)).await?),
    };
    Ok(First {
        environment: options.environment.clone(),
        project,
        postgres,
        mariadb,
        django,
    })
}

async fn django(
    context: &Context,
    asking: &Asking<'_>,
    options: &Options,
    folder: &Path,
) -> Result<(String, String), Failure> {
    let manage = folder.join("manage.py");
    if !manage.is_file() {
        let message = format!("`{}` does not exist", manage.display());
        return Err(
            Failure::new(Kind::Usage, message).hint("name the folder that holds `manage.py`")
        );
    }
    let guess = fs::read_to_string(&manage)
        .ok()
        .and_then(|text| settings_in(&text));
    let settings = asking
        .text(
            "Settings module",
            options.settings.as_deref(),
            &guess.unwrap_or_else(|| "config.settings".to_owned()),
        )
        .await?;
    Ok((relative(&context.dir, folder), settings))
}

/// The module that `manage.py` sets: `setdefault("DJANGO_SETTINGS_MODULE", "x.settings")`.
fn settings_in(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("DJANGO_SETTINGS_MODULE")?;
    let mut parts = rest.split(['"', '\'']).skip(1);
    parts
        .find(|part| part.contains('.') || part.chars().all(|c| c.is_alphanumeric() || c == '_'))
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
}

/// A folder as seen from the folder of environments.
fn relative(dir: &Path, folder: &Path) -> String {
    let whole = |path: &Path| {
        path.canonicalize()
            .or_else(|_| std::path::absolute(path))
            .unwrap_or_else(|_| path.to_owned())
    };
    import::way(&whole(dir), &whole(folder))
}

/// The name of the folder we stand in, as a project may be called.
fn project_guess() -> String {
    let folder = std::env::current_dir().unwrap_or_default();
    let name = folder
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    let name: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let name = name.trim_matches(|c: char| !c.is_ascii_lowercase());
    match name.is_empty() {
        true => "project".to_owned(),
        false => name.chars().take(32).collect(),
    }
}

/// A name as the environment language wants it.
fn name(text: &str) -> Result<(), Failure> {
    let mut chars = text.chars();
    let good = chars.next().is_some_and(|c| c.is_ascii_lowercase())
        && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-')
        && text.len() <= 48;
    match good {
        true => Ok(()),
        false => Err(Failure::new(
            Kind::Usage,
            format!(
                "`{text}` is no name: small letters, digits, `_` and `-`, at most 48, a letter first"
            ),
        )),
    }
}

/// Somebody who answers, or the defaults.
struct Asking<'a> {
    context: &'a Context,
    ask: bool,
}

impl Asking<'_> {
    async fn text(
        &self,
        question: &str,
        said: Option<&str>,
        default: &str,
    ) -> Result<String, Failure> {
        if let Some(said) = said {
            return Ok(said.to_owned());
        }
        if !self.ask {
            return Ok(default.to_owned());
        }
        match self
            .context
            .output
            .ask(&format!("{question} [{default}] "))
            .await
        {
            None => Err(Failure::new(Kind::Failed, "no answer, nothing was written")),
            Some(answer) if answer.is_empty() => Ok(default.to_owned()),
            Some(answer) => Ok(answer),
        }
    }

    async fn named(
        &self,
        question: &str,
        said: Option<&str>,
        default: &str,
    ) -> Result<String, Failure> {
        let answer = self.text(question, said, default).await?;
        name(&answer)?;
        Ok(answer)
    }

    async fn service(
        &self,
        question: &str,
        said: Option<&str>,
        default: &str,
    ) -> Result<Option<String>, Failure> {
        match self.text(question, said, default).await?.as_str() {
            "-" => Ok(None),
            answer => {
                name(answer)?;
                Ok(Some(answer.to_owned()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_module_is_read_from_manage_py() {
        let text = "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'iact.settings')\n";
        assert_eq!(settings_in(text).as_deref(), Some("iact.settings"));
        assert_eq!(settings_in("nothing"), None);
    }

    #[test]
    fn a_folder_is_seen_from_the_environments() {
        assert_eq!(
            relative(Path::new("/a/environments"), Path::new("/a/app")),
            "../app"
        );
        assert_eq!(relative(Path::new("/a"), Path::new("/a/b/c")), "b/c");
        assert_eq!(relative(Path::new("/a"), Path::new("/a")), ".");
    }

    #[test]
    fn a_name_is_checked() {
        assert!(name("my-shop_2").is_ok());
        for bad in ["", "2x", "X", "a/b", "../x", "a b"] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }
}
