//! `audit`: what is not as it should be, as findings. Only asks.

use crate::audit::{self, Audit, Looked};
use crate::commands::look::{self, Look, Wishes};
use crate::commands::{Context, End, code};
use crate::error::{Failure, Kind};
use crate::show;

/// How findings are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
    /// For a CI that shows tests.
    Junit,
    /// For a CI that shows findings beside the lines of files.
    Sarif,
}

/// What `audit` is asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The environment.
    pub environment: String,
    /// How it is written.
    pub format: Format,
    /// Only these hosts, or groups of hosts.
    pub hosts: Vec<String>,
}

/// Looks, makes findings, shows.
///
/// # Errors
/// Whatever keeps it from looking.
pub async fn run(context: &Context, options: &Options) -> End {
    let environment = look::ready(context, &options.environment).await?;
    let exceptions = audit::exceptions(&environment).map_err(|problems| {
        let message = format!("`{}` cannot be used", environment.file);
        Failure::problems(message, problems)
    })?;
    let wishes = Wishes {
        hosts: options.hosts.clone(),
        audit: true,
        ..Wishes::default()
    };
    let look = look::look(context, environment, &wishes).await?;
    let looked = Looked {
        resources: &look.resources,
        machines: &look.machines,
        answers: &look.answers,
        plan: &look.plan,
        memories: &look.judging.memories,
        environment: &options.environment,
    };
    let today = jiff::tz::Offset::UTC
        .to_datetime(jiff::Timestamp::now())
        .date();
    let audit = audit::audit(&looked, &exceptions, today);
    context.output.data(&text(context, options, &look, &audit));
    let kinds: Vec<Kind> = audit.kinds();
    Ok(code(kinds))
}

fn text(context: &Context, options: &Options, look: &Look, audit: &Audit) -> String {
    let target = look.target.says();
    let head = show::audit::Head {
        environment: &look.environment.name,
        project: &look.environment.project,
        target: &target,
        notes: &look.notes,
        paint: context.output.paint(),
    };
    match options.format {
        Format::Text => show::audit::text(&head, audit),
        Format::Json => show::audit::json(&head, audit),
        Format::Junit => show::audit::junit(&head, audit),
        Format::Sarif => show::audit::sarif(&head, audit),
    }
}
