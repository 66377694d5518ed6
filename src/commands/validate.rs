//! `validate`: checks files offline.

use crate::commands::look::meaning;
use crate::commands::{Context, End, code};
use crate::environment;
use crate::error::{Failure, Kind};
use crate::services::Ports;
use crate::show;

/// What `validate` is asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The environments.
    pub environments: Vec<String>,
    /// Every environment of the folder.
    pub all: bool,
}

/// Loads each, says its mistakes, and goes on.
///
/// # Errors
/// [`Kind::Usage`] where there is nothing to check.
pub async fn run(context: &Context, options: &Options) -> End {
    let names = match options.all {
        true => environment::names(&context.dir),
        false => options.environments.clone(),
    };
    if names.is_empty() {
        return Err(Failure::new(
            Kind::Usage,
            format!("`{}` holds no environment", context.dir.display()),
        )
        .hint("`provision init local` writes a first one"));
    }
    let mut bad = Vec::new();
    for name in &names {
        match check(context, name) {
            Ok(line) => context.output.data(&line),
            Err(failure) => {
                context.output.fail(&failure);
                bad.push(failure.kind);
            }
        }
    }
    Ok(code(bad))
}

fn check(context: &Context, name: &str) -> Result<String, Failure> {
    let environment = environment::load(&context.dir, name)?;
    context.output.warn(&environment.warnings);
    let what = match environment.is_abstract {
        true => "abstract".to_owned(),
        false => show::count(meaning(&environment, &Ports::new())?.0.len(), "resource"),
    };
    let warnings = match environment.warnings.len() {
        0 => String::new(),
        number => format!(", {}", show::count(number, "warning")),
    };
    Ok(format!("{}: valid, {what}{warnings}\n", environment.file))
}
