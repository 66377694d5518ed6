//! `plan`: what would change and why. Only asks.

use std::path::PathBuf;

use crate::commands::look::{self, Look, Wishes};
use crate::commands::{Context, End, code};
use crate::error::{Failure, Kind};
use crate::files;
use crate::quote;
use crate::saved::{self, Basis};
use crate::show;

/// How a plan is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
    /// For a comment on a pull request.
    Markdown,
}

/// What `plan` is asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The environment.
    pub environment: String,
    /// How it is written.
    pub format: Format,
    /// Saved into this file.
    pub out: Option<PathBuf>,
    /// Exit 2 where something differs.
    pub detailed: bool,
    /// What is looked at and what may go.
    pub wishes: Wishes,
}

/// Looks, judges, shows.
///
/// # Errors
/// Whatever keeps it from looking.
pub async fn run(context: &Context, options: &Options) -> End {
    let environment = look::ready(context, &options.environment).await?;
    let look = look::look(context, environment, &options.wishes).await?;
    show(context, options, &look);
    save(context, options, &look)?;
    let differs = (options.detailed && !look.plan.is_empty()).then_some(Kind::Differs);
    Ok(code(
        show::plan::verdicts(&look.plan).into_iter().chain(differs),
    ))
}

fn show(context: &Context, options: &Options, look: &Look) {
    let text = match options.format {
        Format::Json => json(options, look),
        Format::Text => text(context, look, Some(&next(options))),
        Format::Markdown => {
            let target = look.target.says();
            show::markdown::plan(&head(context, look, &target, None), &look.plan)
        }
    };
    context.output.data(&text);
    let paint = context.output.talk_paint();
    context.output.say(&show::plan::refusals(&look.plan, paint));
}

fn json(options: &Options, look: &Look) -> String {
    let around = show::json::Around {
        environment: &look.environment.name,
        project: &look.environment.project,
        target: &look.target.says(),
        notes: &look.notes,
        warnings: &look.environment.warnings,
    };
    show::json::render(&around, &look.plan, options.detailed)
}

/// The plan of a look as text.
pub fn text(context: &Context, look: &Look, next: Option<&str>) -> String {
    let target = look.target.says();
    show::plan::render(&head(context, look, &target, next), &look.plan)
}

fn head<'a>(
    context: &Context,
    look: &'a Look,
    target: &'a str,
    next: Option<&'a str>,
) -> show::plan::Head<'a> {
    show::plan::Head {
        environment: &look.environment.name,
        project: &look.environment.project,
        target,
        notes: &look.notes,
        next,
        verbose: context.verbose > 0,
        paint: context.output.paint(),
    }
}

/// The command that carries this plan out.
fn next(options: &Options) -> String {
    let name = &options.environment;
    if let Some(file) = &options.out {
        return format!(
            "provision apply {name} --plan {}",
            quote::word(&file.display().to_string())
        );
    }
    let mut command = format!("provision apply {name}");
    for id in &options.wishes.only {
        command.push_str(&format!(" --only {}", quote::word(id.as_str())));
    }
    for host in &options.wishes.hosts {
        command.push_str(&format!(" --host {}", quote::word(host)));
    }
    for id in &options.wishes.destroy_data {
        command.push_str(&format!(" --destroy-data={}", quote::word(id.as_str())));
    }
    command
}

/// What a saved plan is made of and checked against.
pub fn basis<'a>(look: &'a Look, target: &'a str, wishes: &'a Wishes) -> Basis<'a> {
    Basis {
        environment: &look.environment.name,
        project: &look.environment.project,
        target,
        tree: &look.environment.tree,
        resources: &look.resources,
        answers: &look.answers,
        only: &wishes.only,
        hosts: &wishes.hosts,
        destroy_data: &wishes.destroy_data,
    }
}

fn save(context: &Context, options: &Options, look: &Look) -> Result<(), Failure> {
    let Some(path) = &options.out else {
        return Ok(());
    };
    if !look.plan.refusals.is_empty() {
        let warning = format!(
            "`{}` is not written, since the plan is refused",
            path.display()
        );
        context.output.say(&show::failure::warning(
            &warning,
            context.output.talk_paint(),
        ));
        return Ok(());
    }
    let target = look.target.says();
    let created = jiff::Timestamp::now().to_string();
    let text = saved::save(
        &basis(look, &target, &options.wishes),
        &look.plan,
        &salt()?,
        &created,
    );
    files::write_plan(path, &text)
}

/// Sixteen random bytes, as hex.
fn salt() -> Result<String, Failure> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| {
        Failure::new(Kind::Failed, format!("no randomness can be had: {error}"))
    })?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
