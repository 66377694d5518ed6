//! `ps`, `logs`, `exec`, `shell`: a service, wherever it runs.

use std::io::IsTerminal;

use tokio::sync::Notify;

use crate::commands::look::{self, meaning};
use crate::commands::{Context, End};
use crate::declaration::{Environment, Node};
use crate::error::{Failure, Kind};
use crate::quote;
use crate::resource::Thing;
use crate::services::Ports;
use crate::show;
use crate::target::{ContainerRow, Target, Trouble};

/// The containers of an environment, running or not.
///
/// # Errors
/// Where the engine cannot be asked.
pub async fn ps(context: &Context, environment: &str) -> End {
    let environment = look::open(context, environment)?;
    let target = Target::connect(&environment, &context.reach).await?;
    let rows = target.containers(&environment.project).await?;
    let mut lines: Vec<Vec<String>> = rows.iter().map(line).collect();
    for service in declared(&environment)? {
        if !rows.iter().any(|row| row.service == service) {
            let mut missing = vec![String::new(); 6];
            missing.splice(0..2, [service, "not there".to_owned()]);
            lines.push(missing);
        }
    }
    lines.sort();
    let heading = ["SERVICE", "STATE", "HEALTH", "UPTIME", "PORTS", "IMAGE"];
    context.output.data(&show::table::render(
        &heading,
        &lines,
        context.output.paint(),
    ));
    Ok(0)
}

fn line(row: &ContainerRow) -> Vec<String> {
    vec![
        row.service.clone(),
        row.state.clone(),
        row.health.clone(),
        row.uptime.clone(),
        row.ports.join(", "),
        row.image.clone(),
    ]
}

/// The log of a service's container.
///
/// # Errors
/// Where there is none.
pub async fn logs(
    context: &Context,
    environment: &str,
    service: &str,
    follow: bool,
    tail: Option<usize>,
) -> End {
    let (_, target, row) = find(context, environment, service).await?;
    let gone = Notify::new();
    let mut on_line = |line: &str| {
        context.output.data(&format!("{}\n", show::clean(line)));
        if context.output.is_deaf() {
            gone.notify_one();
        }
    };
    let mut signals = context.interrupt.take();
    tokio::select! {
        end = target.logs(&row.name, follow, tail, &mut on_line) => end.map_err(failed)?,
        // Nobody reads any more, so there is nothing to follow.
        () = gone.notified() => {}
        _ = signals.next() => return Ok(Kind::Interrupted.code()),
    }
    Ok(0)
}

/// Runs a program in a service's container; its exit code is ours.
///
/// # Errors
/// Where it cannot be run.
pub async fn exec(context: &Context, environment: &str, service: &str, argv: &[String]) -> End {
    let (_, target, row) = running(context, environment, service).await?;
    pass_through(context, &target, &row, argv).await
}

/// A shell of a service: the client of a database as its superuser, `sh` elsewhere.
///
/// # Errors
/// Where it cannot be run.
pub async fn shell(context: &Context, environment: &str, service: &str) -> End {
    let (environment, target, row) = running(context, environment, service).await?;
    let argv = client(&environment, &row.service);
    pass_through(context, &target, &row, &argv).await
}

/// Lends our streams. On a terminal Ctrl-C is for the program that has it; elsewhere it ends us.
async fn pass_through(
    context: &Context,
    target: &Target,
    row: &ContainerRow,
    argv: &[String],
) -> End {
    let tty = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let mut signals = context.interrupt.take();
    let ended = async { while signals.next().await && tty {} };
    tokio::select! {
        code = target.exec(&row.name, argv, tty) => Ok(u8::try_from(code.map_err(failed)?).unwrap_or(1)),
        () = ended => Ok(Kind::Interrupted.code()),
    }
}

fn client(environment: &Environment, service: &str) -> Vec<String> {
    let entry = |table| {
        environment
            .services(table)
            .find(|(name, _)| *name == service)
            .map(|(_, entry)| &entry.node)
    };
    let database;
    let words: Vec<&str> = if let Some(node) = entry("postgres") {
        let superuser = node.text("superuser").unwrap_or("postgres");
        database = quote::psql_database(only_database(node).unwrap_or("postgres"));
        vec!["psql", "-U", superuser, "-d", &database]
    } else if let Some(node) = entry("mariadb") {
        ["mariadb"].into_iter().chain(only_database(node)).collect()
    } else {
        vec!["sh"]
    };
    words.into_iter().map(str::to_owned).collect()
}

/// The declared database, if there is just one.
fn only_database(node: &Node) -> Option<&str> {
    let mut databases = node.named("database");
    match (databases.next(), databases.next()) {
        (Some((name, _)), None) => Some(name),
        _ => None,
    }
}

async fn running(
    context: &Context,
    environment: &str,
    service: &str,
) -> Result<(Environment, Target, ContainerRow), Failure> {
    let (environment, target, row) = find(context, environment, service).await?;
    if row.state != "running" {
        let message = format!("`{}` does not run: it is {}", row.service, row.state);
        return Err(Failure::new(Kind::Failed, message)
            .hint(format!("`provision apply {}` starts it", environment.name))
            .hint(format!(
                "`provision logs {} {}` may say why",
                environment.name, row.service
            )));
    }
    Ok((environment, target, row))
}

/// A service's container: by `analytics`, or `postgres.analytics`.
async fn find(
    context: &Context,
    environment: &str,
    service: &str,
) -> Result<(Environment, Target, ContainerRow), Failure> {
    let environment = look::open(context, environment)?;
    let service = service.rsplit('.').next().unwrap_or_default();
    let declared = declared(&environment)?;
    let target = Target::connect(&environment, &context.reach).await?;
    let rows = target.containers(&environment.project).await?;
    if let Some(row) = rows.into_iter().find(|row| row.service == service) {
        return Ok((environment, target, row));
    }
    if declared.iter().any(|name| name == service) {
        return Err(
            Failure::new(Kind::Failed, format!("`{service}` has no container yet"))
                .hint(format!("`provision apply {}` makes it", environment.name)),
        );
    }
    let failure = Failure::new(
        Kind::Usage,
        format!("`{}` has no service `{service}`", environment.name),
    );
    Err(
        match crate::error::nearest(service, declared.iter().map(String::as_str)) {
            Some(near) => failure.hint(format!("did you mean `{near}`?")),
            None => failure.hint(format!("it has {}", declared.join(", "))),
        },
    )
}

/// The services that have a container.
fn declared(environment: &Environment) -> Result<Vec<String>, Failure> {
    let (resources, _) = meaning(environment, &Ports::new())?;
    let service = |thing: &Thing| match thing {
        Thing::Container(container) => Some(container.service.clone()),
        _ => None,
    };
    Ok(resources
        .iter()
        .filter_map(|resource| service(&resource.thing))
        .collect())
}

fn failed(trouble: Trouble) -> Failure {
    trouble
        .log
        .into_iter()
        .fold(Failure::new(trouble.kind, trouble.message), Failure::hint)
}
