//! `render`: writes every generated file, for Compose alone. Offline, unless images are wanted too.

use std::path::{Path, PathBuf};

use crate::command::Place;
use crate::commands::look::{self, Wishes};
use crate::commands::{Context, End, apply, code, journal};
use crate::declaration::Environment;
use crate::error::{Failure, Kind};
use crate::files::{self, Lock};
use crate::resource::Resource;
use crate::services::Ports;
use crate::show;

/// What `render` is asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The environment.
    pub environment: String,
    /// The folder; the environment's own where none is named.
    pub out: Option<PathBuf>,
    /// The images are put into the engine too.
    pub images: bool,
}

/// Expands and writes.
///
/// # Errors
/// Where something cannot be written.
pub async fn run(context: &Context, options: &Options) -> End {
    let mut environment = look::ready(context, &options.environment).await?;
    if let Some(out) = &options.out {
        // Paths are part of what is rendered: the files have to know where they will lie.
        environment.folder = absolute(out)?;
    }
    let wanted = Environment {
        engine_host: environment
            .engine_host
            .clone()
            .filter(|_| options.out.is_none()),
        ..environment.clone()
    };
    let (resources, _) = look::meaning(&wanted, &Ports::new())?;
    let written = write(&environment, &resources)?;
    for path in &written {
        context
            .output
            .data(&format!("{}\n", show::clean(&path.display().to_string())));
    }
    match options.images {
        true => images(context, environment, &resources).await,
        false => Ok(0),
    }
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| {
        Failure::new(
            Kind::Usage,
            format!("`{}` is no folder: {error}", path.display()),
        )
    })
}

fn write(environment: &Environment, resources: &[Resource]) -> Result<Vec<PathBuf>, Failure> {
    let folder = &environment.folder;
    if files::is_open_to_others(folder) {
        return Err(Failure::new(
            Kind::Failed,
            format!(
                "`{}` is open to others, and secrets would be written into it",
                folder.display()
            ),
        )
        .hint(format!("chmod 700 {}", folder.display())));
    }
    let mut written = Vec::new();
    for resource in resources {
        let Some(file) = resource.thing.rendered() else {
            continue;
        };
        // A machine's files lie below its name; who may read them there is not who may read them here.
        let (path, mode) = match &resource.place {
            Place::Machine(machine) => (format!("{machine}{}", file.path), file.mode & 0o700),
            _ => (file.path, file.mode),
        };
        files::write_rendered(folder, &path, file.content.expose().expose(), mode)?;
        written.push(folder.join(&path));
    }
    Ok(written)
}

/// Pulls or builds what the engine does not have.
async fn images(context: &Context, environment: Environment, resources: &[Resource]) -> End {
    let _lock = Lock::take(
        &environment.project,
        &format!("`render {}`", environment.name),
    )?;
    let only: Vec<String> = resources
        .iter()
        .filter(|resource| resource.id.kind() == "image")
        .map(|resource| resource.id.to_string())
        .collect();
    if only.is_empty() {
        return Ok(0);
    }
    let wishes = Wishes {
        only,
        ..Wishes::default()
    };
    let look = look::look(context, environment, &wishes).await?;
    context.output.say(&show::plan::refusals(
        &look.plan,
        context.output.talk_paint(),
    ));
    if !look.plan.refusals.is_empty() {
        return Ok(code(show::plan::verdicts(&look.plan)));
    }
    if look.plan.is_empty() {
        return Ok(0);
    }
    let journal = journal::begin(&look, "render").await?;
    let report = apply::carry_out(context, &look, &look.plan, &journal).await?;
    journal::end(&look, journal, &report).await;
    let next = format!("provision render {} --images", look.environment.name);
    context.output.say(&show::report::troubles(
        &report,
        &next,
        context.output.talk_paint(),
    ));
    Ok(code(report.kinds()))
}
