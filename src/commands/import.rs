//! `import`: an environment file from what people have.

use std::path::{Path, PathBuf};

use crate::commands::{Context, End, plan};
use crate::environment;
use crate::error::{Failure, Kind, Level};
use crate::files;
use crate::import::draft::{Draft, Rendered, Secrets};
use crate::import::{Import, Imported, Wishes, compose, env, vagrant};
use crate::show;

/// What is imported.
#[derive(Clone, Debug)]
pub enum What {
    /// Compose files, merged as Compose does.
    Compose {
        /// The files.
        files: Vec<PathBuf>,
        /// Profiles that are asked for.
        profiles: Vec<String>,
    },
    /// A `.env` file.
    Env(PathBuf),
    /// A Vagrantfile, by its folder or its name.
    Vagrant(PathBuf),
}

/// What `import` is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is imported.
    pub what: What,
    /// Where the file goes; `-` is stdout.
    pub out: Option<PathBuf>,
    /// Over one that is there.
    pub force: bool,
    /// 3 where anything is not carried over.
    pub strict: bool,
    /// Where secrets go.
    pub secrets: Secrets,
    /// The list as JSON.
    pub json: bool,
    /// The project's name.
    pub project: Option<String>,
    /// Plan at the end.
    pub plan: bool,
}

/// How many times something may be given up before the file is usable.
const MOST: usize = 200;

/// Reads, writes, tells, and plans where that is asked for.
///
/// # Errors
/// [`Kind::Usage`] where the source cannot be read, or the file is there already.
pub async fn run(context: &Context, options: &Options) -> End {
    let out = place(context, options);
    if options.secrets == Secrets::Dotenv && out.is_none() {
        let failure = Failure::new(
            Kind::Usage,
            "`--secrets dotenv` writes a `.env` file beside the environment file, and that goes to stdout",
        );
        return Err(failure.hint("name it: `--out environments/local.toml`"));
    }
    if options.plan && out.is_none() {
        return Err(Failure::new(Kind::Usage, "`--plan` needs a file to plan")
            .hint("name it: `--out environments/local.toml`"));
    }
    refuse(options, out.as_deref())?;
    // Where it would be, if it goes to stdout.
    let file = out
        .clone()
        .unwrap_or_else(|| context.dir.join("local.toml"));
    let file = std::path::absolute(&file).unwrap_or(file);
    let wishes = Wishes {
        folder: file.parent().unwrap_or(Path::new(".")).to_owned(),
        project: options.project.clone(),
        ..Wishes::default()
    };
    let Import {
        mut draft,
        mut account,
    } = read(options, wishes)?;
    let rendered = usable(&file, options, &mut draft, &mut account)?;
    match &out {
        None => context.output.data(&rendered.text),
        Some(out) => {
            if options.secrets == Secrets::Dotenv {
                dotenv(out, options.force, &draft)?;
            }
            files::write_imported(out, &rendered.text, options.force)?;
            context.output.data(&format!("{}\n", out.display()));
        }
    }
    let secrets = draft.secrets();
    let names: Vec<&str> = secrets.keys().copied().collect();
    let written = out.as_ref().map(|out| out.display().to_string());
    if options.json {
        context
            .output
            .say(&show::import::json(&account, written.as_deref(), &names));
    } else {
        context
            .output
            .say(&show::import::text(&account, context.verbose > 0));
        next(context, options, out.as_deref(), &names);
    }
    let strict = options.strict && account.count().left > 0;
    if options.plan
        && let Some(out) = &written
    {
        let options = plan::Options {
            environment: out.clone(),
            ..plan::Options::default()
        };
        let code = plan::run(context, &options).await?;
        if code != 0 {
            return Ok(code);
        }
    }
    Ok(if strict { Kind::Usage.code() } else { 0 })
}

fn read(options: &Options, mut wishes: Wishes) -> Imported {
    match &options.what {
        What::Compose { files, profiles } => {
            wishes.profiles.clone_from(profiles);
            compose::import(files, &wishes)
        }
        What::Env(file) => env::import(file, &wishes),
        What::Vagrant(folder) => vagrant::import(folder, &wishes),
    }
}

/// Where the file goes: what is named, else `local.toml` where there is none, else stdout.
fn place(context: &Context, options: &Options) -> Option<PathBuf> {
    match &options.out {
        Some(out) if out.as_os_str() == "-" => None,
        Some(out) => Some(out.clone()),
        None => {
            let usual = context.dir.join("local.toml");
            std::fs::symlink_metadata(&usual).is_err().then_some(usual)
        }
    }
}

fn refuse(options: &Options, out: Option<&Path>) -> Result<(), Failure> {
    let Some(out) = out.filter(|_| !options.force) else {
        return Ok(());
    };
    let mut all = vec![out.to_owned()];
    if options.secrets == Secrets::Dotenv {
        all.push(out.with_file_name(".env"));
    }
    match all
        .iter()
        .find(|path| std::fs::symlink_metadata(path).is_ok())
    {
        None => Ok(()),
        Some(there) => {
            let message = format!("`{}` is there already", there.display());
            Err(Failure::new(Kind::Usage, message)
                .hint("`--force` writes over it, `--out FILE` goes elsewhere"))
        }
    }
}

/// The file as it can be used: what the environment language refuses is given up, and listed with its reason.
fn usable(
    file: &Path,
    options: &Options,
    draft: &mut Draft,
    account: &mut crate::import::account::Account,
) -> Result<Rendered, Failure> {
    for _ in 0..MOST {
        let rendered = draft.render(options.secrets, account);
        let Err(failure) = environment::check(file, &rendered.text) else {
            return Ok(rendered);
        };
        let problem = failure
            .problems
            .iter()
            .find(|problem| problem.level == Level::Error && problem.origin.line().is_some());
        let Some((line, problem)) =
            problem.and_then(|problem| Some((problem.origin.line()?, problem)))
        else {
            return Err(failure);
        };
        if draft
            .drop_line(&rendered, line, &problem.message, account)
            .is_none()
        {
            return Err(failure);
        }
    }
    Err(Failure::new(
        Kind::Usage,
        "too much of it is nothing that an environment may hold",
    ))
}

/// The `.env` file beside the environment file: lines of other variables that are there stay.
fn dotenv(out: &Path, force: bool, draft: &Draft) -> Result<(), Failure> {
    let path = out.with_file_name(".env");
    let secrets = draft.secrets();
    let mut text = String::new();
    for (name, moved) in secrets {
        match &moved.value {
            Some(secret) => match quoted(secret.expose()) {
                Some(value) => text.push_str(&format!("{name}={value}\n")),
                None => {
                    let message = format!(
                        "`{name}` holds a character that a `.env` file cannot, so it is not written"
                    );
                    return Err(Failure::new(Kind::Usage, message)
                        .hint("`--secrets env` asks for a variable instead"));
                }
            },
            None => text.push_str(&format!("# {name}= was to be set by who runs it\n")),
        }
    }
    files::write_secrets(&path, &text, force)
}

/// A value as a line of a `.env` file holds it.
fn quoted(value: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.,:/@+%".contains(c);
    if value.contains(['\0', '\r']) {
        return None;
    }
    if !value.is_empty() && value.chars().all(plain) {
        return Some(value.to_owned());
    }
    let mut out = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    out.push('"');
    Some(out)
}

fn next(context: &Context, options: &Options, out: Option<&Path>, names: &[&str]) {
    if !names.is_empty() {
        let names = names.join("`, `");
        context.output.say(&match options.secrets {
            Secrets::Env => format!("Secrets are not in the file: set `{names}` before `provision plan`.\n"),
            Secrets::Dotenv => format!("Secrets are in `.env` beside the file, for you alone: `{names}`. Keep it out of version control.\n"),
        });
    }
    if let Some(out) = out
        && !options.plan
    {
        let usual = out.parent() == Some(&context.dir)
            || out.parent().is_some_and(|parent| parent == context.dir);
        let name = match (usual, out.file_stem()) {
            (true, Some(stem)) => stem.to_string_lossy().into_owned(),
            _ => out.display().to_string(),
        };
        context.output.say(&format!(
            "It is valid. `provision plan {name}` says what would change.\n"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_one_line_of_a_dotenv_file() {
        assert_eq!(quoted("abc-1").as_deref(), Some("abc-1"));
        assert_eq!(
            quoted("a \"b\\\n$x").as_deref(),
            Some("\"a \\\"b\\\\\\n$x\"")
        );
        assert_eq!(quoted("").as_deref(), Some("\"\""));
        assert_eq!(quoted("a\0"), None);
    }
}
