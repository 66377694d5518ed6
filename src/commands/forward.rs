//! `forward`: holds the declared forwards to services on servers open on this machine, until it is interrupted or a command is done.

use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;

use tokio::process::{Child, Command};

use crate::checks;
use crate::command::Dialect;
use crate::command::Route;
use crate::commands::interrupt::Signals;
use crate::commands::look::{self, Wishes, meaning};
use crate::commands::{Context, End};
use crate::declaration::{Driver, Environment};
use crate::error::{Failure, Kind, nearest};
use crate::services::forward::{self, Forward, RANGE};
use crate::services::{self, Ports};
use crate::show;
use crate::target::Target;
use crate::target::forward::{Heard, Lead, Listening};

const LOOPBACK: &str = "127.0.0.1";

/// What `forward` is asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The environment.
    pub environment: String,
    /// The forwards, by name; all where it is empty.
    pub names: Vec<String>,
    /// What is run while they are open, with its arguments.
    pub exec: Vec<String>,
}

/// Opens them and stays.
///
/// # Errors
/// A port that somebody else holds, a machine that cannot be reached, a command that cannot be started.
pub async fn run(context: &Context, options: &Options) -> End {
    let mut environment = look::open(context, &options.environment)?;
    if let Some(note) = look::decide(&mut environment).await? {
        context
            .output
            .say(&show::failure::warning(&note, context.output.talk_paint()));
    }
    let forwards = chosen(&environment, &options.names)?;
    let wanted = match (environment.driver, environment.engine_host.clone()) {
        (Driver::Ssh, _) => to_machines(&environment, forwards)?,
        (_, Some(host)) => to_published(context, &environment, forwards, &host).await?,
        _ => return already(context, options, environment, forwards).await,
    };
    hold(context, options, &environment, wanted).await
}

/// The forwards that are named, or all.
fn chosen(environment: &Environment, names: &[String]) -> Result<Vec<Forward>, Failure> {
    let all = forward::all(environment, &Ports::new());
    if all.is_empty() {
        let message = format!("`{}` declares no forward", environment.file);
        return Err(Failure::new(Kind::Usage, message).hint(
            "say `[forward.NAME]` with `to = \"postgres.NAME\"` and `listen = \"127.0.0.1:15432\"`",
        ));
    }
    for name in names {
        if !all.iter().any(|forward| forward.name == *name) {
            let known = all.iter().map(|forward| forward.name.as_str());
            let failure = Failure::new(
                Kind::Usage,
                format!("`{}` has no forward `{name}`", environment.name),
            );
            return Err(match nearest(name, known.clone()) {
                Some(near) => failure.hint(format!("did you mean `{near}`?")),
                None => failure.hint(format!("it has {}", known.collect::<Vec<_>>().join(", "))),
            });
        }
    }
    let mine = |forward: &Forward| names.is_empty() || names.contains(&forward.name);
    Ok(all.into_iter().filter(mine).collect())
}

/// On this machine nothing has to be held: containers publish their ports, and what is installed here listens itself.
async fn already(
    context: &Context,
    options: &Options,
    environment: Environment,
    forwards: Vec<Forward>,
) -> End {
    let who = match environment.driver {
        Driver::Local => "it listens there itself",
        _ => "its container publishes it",
    };
    // Which ports were taken in place of declared ones, the engine knows.
    let ports = moved(context, &environment, &forwards).await?;
    let mut open = Vec::new();
    for forward in forwards {
        let port = ports.get(&forward.name).copied().unwrap_or(forward.port);
        let line = format!(
            "{}:{port} leads to {} already: {who}\n",
            forward.address, forward.to
        );
        context.output.say(&line);
        open.push((forward.name, forward.address, port));
    }
    match options.exec.is_empty() {
        true => Ok(0),
        false => {
            let mut signals = context.interrupt.take();
            let child = start(&options.exec, &open)?;
            wait(&mut signals, child).await
        }
    }
}

/// Sees that what listens behind the ports is what it should be: who is handed on to another database believes that it is the right one.
async fn identify(target: &Target, open: &[(Forward, (Listening, Lead))]) -> Result<(), Failure> {
    let asked = open.iter().filter_map(|(forward, (_, lead))| {
        let dialect = match forward.to.split_once('.')?.0 {
            "postgres" => Dialect::Postgres,
            "mariadb" => Dialect::MariaDb,
            _ => return None,
        };
        Some(target.recognise(lead, dialect))
    });
    let seen = futures_util::future::join_all(asked).await;
    seen.into_iter().collect()
}

/// The ports that the engine has taken in place of declared ones, where some may move.
async fn moved(
    context: &Context,
    environment: &Environment,
    forwards: &[Forward],
) -> Result<Ports, Failure> {
    let moves = forwards.iter().any(|forward| forward.auto_correct);
    if !moves || !environment.driver.is_engine() {
        return Ok(Ports::new());
    }
    let environment = look::resolved(environment.clone()).await?;
    let look = look::look(context, environment, &Wishes::default()).await?;
    Ok(look.ports)
}

/// Where forwards lead whose containers publish them on the host of the engine.
async fn to_published(
    context: &Context,
    environment: &Environment,
    forwards: Vec<Forward>,
    host: &Arc<str>,
) -> Result<Vec<(Forward, Lead)>, Failure> {
    let ports = moved(context, environment, &forwards).await?;
    let lead = |forward: Forward| {
        let lead = Lead {
            machine: Arc::clone(host),
            address: match forward.address.as_str() {
                "0.0.0.0" | "::" | "[::]" => LOOPBACK.to_owned(),
                address => address.to_owned(),
            },
            port: ports.get(&forward.name).copied().unwrap_or(forward.port),
        };
        // What the host publishes for others is still for nobody but us on this machine.
        let here = Forward {
            address: LOOPBACK.to_owned(),
            ..forward
        };
        (here, lead)
    };
    Ok(forwards.into_iter().map(lead).collect())
}

/// Where forwards lead whose services are on machines.
fn to_machines(
    environment: &Environment,
    forwards: Vec<Forward>,
) -> Result<Vec<(Forward, Lead)>, Failure> {
    let (resources, _) = meaning(environment, &Ports::new())?;
    let mut wanted = Vec::new();
    for forward in forwards {
        let from = checks::reaching(&resources, &forward.to);
        let Some((machine, address, port)) =
            services::reached(environment, &forward.to, from.as_ref())
        else {
            let message = format!("`{}` is on no host, so nothing leads there", forward.to);
            return Err(Failure::new(Kind::Usage, message));
        };
        let lead = Lead {
            machine,
            address,
            port,
        };
        wanted.push((forward, lead));
    }
    Ok(wanted)
}

/// Opens forwards to servers and hands on what comes, until it is interrupted or the command is done.
async fn hold(
    context: &Context,
    options: &Options,
    environment: &Environment,
    wanted: Vec<(Forward, Lead)>,
) -> End {
    let mut signals = context.interrupt.take();
    let target = Target::connect_as_user(environment, &context.reach).await?;
    let mut names = Vec::new();
    let mut open = Vec::new();
    for (forward, lead) in wanted {
        let spare = if forward.auto_correct { RANGE } else { 0 };
        let listening = Listening::take(&forward.address, forward.declared, spare).await;
        let listening = listening.map_err(|failure| Failure {
            message: format!(
                "`forward.{}` cannot be opened: {}",
                forward.name, failure.message
            ),
            ..failure
        })?;
        names.push((
            forward.name.clone(),
            listening.address.clone(),
            listening.port,
        ));
        open.push((forward, (listening, lead)));
    }
    let ready = ready(context, &target, &open);
    tokio::select! {
        ready = async {
            ready.await?;
            identify(&target, &open).await
        } => ready?,
        _ = signals.next() => return Ok(Kind::Interrupted.code()),
    }
    let (forwards, open): (Vec<Forward>, Vec<_>) = open.into_iter().unzip();
    let tell = |heard: Heard| {
        let line = match heard {
            Heard::Lost(machine, why) => {
                format!(
                    "{} is lost, and tried again: {}\n",
                    machine,
                    show::clean(&why)
                )
            }
            Heard::Back(machine) => format!("{machine} is back\n"),
            Heard::Refused(at, why) => {
                let name = forwards.get(at).map_or("", |forward| forward.name.as_str());
                format!("forward.{name}: {}\n", show::clean(&why))
            }
        };
        context.output.say(&line);
    };
    let handing = target.hand_on(&open, &tell);
    if options.exec.is_empty() {
        context.output.say("Open until Ctrl-C.\n");
        tokio::select! {
            () = handing => {}
            _ = signals.next() => {}
        }
        return Ok(Kind::Interrupted.code());
    }
    let child = start(&options.exec, &names)?;
    tokio::select! {
        () = handing => Ok(Kind::Failed.code()),
        end = wait(&mut signals, child) => end,
    }
}

/// Reaches every machine once, and says what leads where.
async fn ready(
    context: &Context,
    target: &Target,
    open: &[(Forward, (Listening, Lead))],
) -> Result<(), Failure> {
    let asked = open.iter().map(|(forward, (_, lead))| async move {
        target.reach(&lead.machine).await?;
        let route = Route::From(lead.machine.clone(), lead.address.clone(), lead.port);
        let dialect = match forward.to.split_once('.') {
            Some(("postgres", _)) => Some(Dialect::Postgres),
            Some(("mariadb", _)) => Some(Dialect::MariaDb),
            _ => None,
        };
        Ok::<_, Failure>(target.identify(&route, dialect).await.err())
    });
    let answers = futures_util::future::try_join_all(asked).await?;
    let paint = context.output.talk_paint();
    for ((forward, (listening, lead)), answer) in open.iter().zip(answers) {
        if let Some(holder) = &listening.moved {
            let note = format!(
                "`forward.{}` takes port {}: {}:{} is held by {holder}",
                forward.name, listening.port, forward.address, forward.declared
            );
            context.output.say(&show::failure::warning(&note, paint));
        }
        context.output.say(&format!(
            "{} leads to {}, {}:{} of {}\n",
            paint.bold(&format!("{}:{}", listening.address, listening.port)),
            forward.to,
            lead.address,
            lead.port,
            lead.machine
        ));
        if let Some(why) = answer {
            let note = format!("`{}` does not answer there yet: {why}", forward.to);
            context.output.say(&show::failure::warning(&note, paint));
        }
    }
    Ok(())
}

/// Starts the command, which finds each port in `PROVISION_FORWARD_NAME`.
fn start(argv: &[String], open: &[(String, String, u16)]) -> Result<Child, Failure> {
    let (program, arguments) = argv
        .split_first()
        .ok_or_else(|| Failure::new(Kind::Usage, "`--exec` wants a command"))?;
    let variables = open.iter().map(|(name, address, port)| {
        let name = name.to_ascii_uppercase().replace('-', "_");
        (
            format!("PROVISION_FORWARD_{name}"),
            format!("{address}:{port}"),
        )
    });
    Command::new(program)
        .args(arguments)
        .envs(variables)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| {
            let program = show::clean(program);
            Failure::new(
                Kind::Failed,
                format!("`{program}` cannot be started: {error}"),
            )
        })
}

/// Waits for the command; Ctrl-C on a terminal reaches it without us, and is for it to heed; what ends us is
/// handed on.
async fn wait(signals: &mut Signals, mut child: Child) -> End {
    loop {
        tokio::select! {
            ended = child.wait() => {
                let status = ended.map_err(|error| {
                    Failure::new(Kind::Failed, format!("nobody knows how the command ended: {error}"))
                })?;
                let signal = status.signal().map(|signal| 128 + signal);
                let code = status.code().or(signal).unwrap_or(1);
                return Ok(u8::try_from(code).unwrap_or(1));
            }
            on_terminal = signals.next() => {
                if let Some(id) = child.id().filter(|_| !on_terminal) {
                    let _ = Command::new("kill").arg(id.to_string()).process_group(0).status().await;
                }
            }
        }
    }
}
