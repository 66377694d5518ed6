//! What can be typed. The one place that knows clap.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::commands::interrupt::Interrupt;
use crate::commands::output::{Colour, Output};
use crate::commands::{
    self, Context, Wishes, adopt, apply, audit, destroy, doctor, env, explain, forward, import,
    init, plan, render, schema, service, status, trust, validate, verify,
};
use crate::error::Kind;
use crate::import::draft::Secrets;
use crate::target::Reach;

/// One TOML file an environment says what should exist; provision plans and applies the difference.
#[derive(Debug, Parser)]
#[command(
    name = "provision",
    version,
    about,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 differs, 3 wrong file or usage, 4 unreachable, 5 locked, 6 stale plan, \
                        7 no secret, 8 would destroy data, 9 unhealthy, 130 interrupted."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Global {
    /// The folder of environments
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = "environments"
    )]
    dir: PathBuf,
    /// Say more: -v, -vv, -vvv
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// How logs (-v) are written
    #[arg(long, global = true, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// When to use colour; NO_COLOR is honoured
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t = When::Auto)]
    color: When,
    /// How many machines are spoken to at the same time
    #[arg(long, global = true, value_name = "N", default_value = "32", value_parser = clap::value_parser!(u16).range(1..))]
    parallel: u16,
    /// Do not keep connections for the next command
    #[arg(long, global = true)]
    no_persist: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum When {
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum EnvFormat {
    /// `export NAME='value'`, for eval
    #[default]
    Shell,
    /// NAME=value, for a .env file
    Dotenv,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum VerifyFormat {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
    /// For build servers
    Junit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PlanFormat {
    /// For people
    Text,
    /// For programs
    Json,
    /// For a comment on a pull request: what removes, risks or interrupts first, at most 60,000 characters
    Markdown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AuditFormat {
    /// For people
    Text,
    /// For programs
    Json,
    /// For a CI that shows tests
    Junit,
    /// SARIF 2.1.0, for a CI that shows findings beside lines
    Sarif,
}

impl From<AuditFormat> for audit::Format {
    fn from(format: AuditFormat) -> Self {
        match format {
            AuditFormat::Text => audit::Format::Text,
            AuditFormat::Json => audit::Format::Json,
            AuditFormat::Junit => audit::Format::Junit,
            AuditFormat::Sarif => audit::Format::Sarif,
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a first environment file from a few answers
    Init(InitArgs),
    /// Write an environment file from what you have
    Import(ImportArgs),
    /// Say what is missing on this machine and how to mend it
    Doctor,
    /// Check environment files, offline
    Validate {
        /// Names in the folder of environments, or paths
        #[arg(
            value_name = "ENV",
            required_unless_present = "all",
            conflicts_with = "all"
        )]
        environments: Vec<String>,
        /// Every environment of the folder
        #[arg(long)]
        all: bool,
    },
    /// Say what would change and why
    Plan(PlanArgs),
    /// Plan, ask, apply, look again
    Apply(ApplyArgs),
    /// Say whether it really works: log in as every declared user, ask every health URL
    Verify {
        #[command(flatten)]
        on: On,
        /// How it is written
        #[arg(long, value_enum, default_value_t = VerifyFormat::Table)]
        format: VerifyFormat,
    },
    /// Say what is not as declared and who moved it, and what nobody declared but should be known
    Audit {
        #[command(flatten)]
        on: On,
        /// How findings are written
        #[arg(long, value_name = "FORMAT", value_enum, default_value_t = AuditFormat::Text)]
        format: AuditFormat,
        /// Only these hosts or groups of hosts
        #[arg(long, value_name = "HOST", num_args = 1..)]
        host: Vec<String>,
    },
    /// Hold the declared forwards to services on servers open on this machine
    Forward {
        #[command(flatten)]
        on: On,
        /// Only these, as in `analytics` of `[forward.analytics]`
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Run this while they are open, and end as it does; comes last
        #[arg(long, value_name = "CMD", num_args = 1.., allow_hyphen_values = true)]
        exec: Vec<String>,
    },
    /// Take over what exists: shows what would become ours, what differs, what stays
    Adopt {
        #[command(flatten)]
        on: On,
        /// Only these; all that is declared and exists where none is named
        #[arg(value_name = "ID")]
        ids: Vec<String>,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
        /// Only these hosts or groups of hosts
        #[arg(long, value_name = "HOST", num_args = 1..)]
        host: Vec<String>,
    },
    /// Write every generated file, for Compose alone
    Render {
        #[command(flatten)]
        on: On,
        /// The folder; without it `.provision/ENV` beside the folder of environments
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Put the images into the engine too
        #[arg(long)]
        images: bool,
    },
    /// Print the variables with which a program on this machine reaches the services
    Env {
        #[command(flatten)]
        on: On,
        /// How they are written
        #[arg(long, value_enum, default_value_t = EnvFormat::Shell)]
        format: EnvFormat,
        /// The same as --format dotenv
        #[arg(long, conflicts_with = "format")]
        dotenv: bool,
    },
    /// Say where each value of a resource comes from, what is live, and what the next step is
    Explain {
        #[command(flatten)]
        on: On,
        /// As in `container.analytics`
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Say what the last run did, did not do, and does not know
    Status {
        #[command(flatten)]
        on: On,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Say who holds the locks; exits with 5 where somebody does
    Lock {
        #[command(flatten)]
        on: On,
    },
    /// Remove what was made; data only where it is named
    Destroy {
        #[command(flatten)]
        on: On,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
        /// Destroy this too, by exact id
        #[arg(long, value_name = "ID")]
        destroy_data: Vec<String>,
        /// Only on these hosts or groups of hosts
        #[arg(long, value_name = "HOST", num_args = 1..)]
        host: Vec<String>,
    },
    /// List the containers
    Ps {
        #[command(flatten)]
        on: On,
    },
    /// Show the log of a service
    Logs {
        #[command(flatten)]
        on: On,
        /// As in `analytics`
        service: String,
        /// Go on as it grows
        #[arg(short, long)]
        follow: bool,
        /// The last lines only
        #[arg(short = 'n', long, value_name = "LINES")]
        tail: Option<usize>,
    },
    /// Run a program in a service
    Exec {
        #[command(flatten)]
        on: On,
        /// As in `analytics`
        service: String,
        /// The program and its arguments
        #[arg(last = true, required = true, value_name = "CMD")]
        argv: Vec<String>,
    },
    /// Open the client of a database as its superuser, or a shell
    Shell {
        #[command(flatten)]
        on: On,
        /// As in `analytics`
        service: String,
    },
    /// Show the host key of a server, and pin it
    Trust {
        #[command(flatten)]
        on: On,
        /// As in `[host.HOST]`
        #[arg(value_name = "HOST")]
        host: String,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
        /// The fingerprint that it has to be, as in `SHA256:...`
        #[arg(long, value_name = "SHA256:...")]
        fingerprint: Option<String>,
    },
    /// Print the JSON Schema of an environment file
    Schema,
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Print the manual page
    Man,
}

#[derive(Debug, Args)]
struct On {
    /// A name in the folder of environments, or a path
    #[arg(value_name = "ENV")]
    environment: String,
}

#[derive(Debug, Args)]
struct InitArgs {
    /// The environment's name
    #[arg(value_name = "ENV", default_value = "local")]
    environment: String,
    /// Do not ask: options and defaults
    #[arg(short, long)]
    yes: bool,
    /// The project's name
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
    /// A PostgreSQL server of this name; `-` for none
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    postgres: Option<String>,
    /// A MariaDB server of this name; `-` for none
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    mariadb: Option<String>,
    /// The folder that holds `manage.py`; `-` for none
    #[arg(long, value_name = "DIR", allow_hyphen_values = true)]
    django: Option<PathBuf>,
    /// Its settings module
    #[arg(long, value_name = "MODULE")]
    settings: Option<String>,
}

#[derive(Debug, Args)]
struct ImportArgs {
    #[command(subcommand)]
    what: ImportWhat,
    /// The environment file; `-` is stdout. Without it `local.toml` in the folder of environments, or stdout where that is there
    #[arg(long, global = true, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write over a file that is there
    #[arg(long, global = true)]
    force: bool,
    /// Exit with 3 where anything is not carried over
    #[arg(long, global = true)]
    strict: bool,
    /// Where secrets are moved to
    #[arg(long, global = true, value_name = "WHERE", value_enum, default_value_t = SecretsTo::Env)]
    secrets: SecretsTo,
    /// How the list of keys is written, to stderr
    #[arg(long, global = true, value_name = "FORMAT", value_enum, default_value_t = ListFormat::Text)]
    format: ListFormat,
    /// The project's name
    #[arg(long, global = true, value_name = "NAME")]
    project: Option<String>,
    /// Plan the file when it is written
    #[arg(long, global = true)]
    plan: bool,
}

#[derive(Debug, Subcommand)]
enum ImportWhat {
    /// Compose files, merged as Compose does
    Compose {
        /// The files
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
        /// Services of this profile too; `*` is all
        #[arg(long, value_name = "NAME")]
        profile: Vec<String>,
    },
    /// A Vagrantfile and the scripts it provisions with; nothing of them is run
    Vagrant {
        /// Its folder, or the file
        #[arg(value_name = "DIR", default_value = ".")]
        folder: PathBuf,
    },
    /// A `.env` file of a Django project
    Env {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SecretsTo {
    /// Variables of whoever runs `provision`
    Env,
    /// A `.env` file beside the environment file, for its owner alone
    Dotenv,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ListFormat {
    /// For people
    Text,
    /// For programs
    Json,
}

impl From<ImportArgs> for import::Options {
    fn from(args: ImportArgs) -> Self {
        import::Options {
            what: match args.what {
                ImportWhat::Compose { files, profile } => import::What::Compose {
                    files,
                    profiles: profile,
                },
                ImportWhat::Env { file } => import::What::Env(file),
                ImportWhat::Vagrant { folder } => import::What::Vagrant(folder),
            },
            out: args.out,
            force: args.force,
            strict: args.strict,
            secrets: match args.secrets {
                SecretsTo::Env => Secrets::Env,
                SecretsTo::Dotenv => Secrets::Dotenv,
            },
            json: args.format == ListFormat::Json,
            project: args.project,
            plan: args.plan,
        }
    }
}

#[derive(Debug, Args)]
struct Limits {
    /// Only these resources and what they need
    #[arg(long, value_name = "ID", num_args = 1..)]
    only: Vec<String>,
    /// Only these hosts or groups of hosts
    #[arg(long, value_name = "HOST", num_args = 1..)]
    host: Vec<String>,
    /// Destroy this too, which holds data and is no longer declared, by exact id
    #[arg(long, value_name = "ID")]
    destroy_data: Vec<String>,
    /// Let this generated secret take the place of what was applied before, by its place in the file
    #[arg(long, value_name = "KEY")]
    replace_secret: Vec<String>,
}

#[derive(Debug, Args)]
struct PlanArgs {
    #[command(flatten)]
    on: On,
    /// How it is written
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = PlanFormat::Text)]
    format: PlanFormat,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Save the plan, for `apply --plan FILE`
    #[arg(long, value_name = "FILE", conflicts_with = "replace_secret")]
    out: Option<PathBuf>,
    /// Exit with 2 where something would change
    #[arg(long)]
    detailed_exitcode: bool,
    #[command(flatten)]
    limits: Limits,
}

#[derive(Debug, Args)]
struct ApplyArgs {
    #[command(flatten)]
    on: On,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Apply this saved plan, if it still holds
    #[arg(long, value_name = "FILE", conflicts_with_all = ["only", "host", "destroy_data", "replace_secret"])]
    plan: Option<PathBuf>,
    /// Wait for whoever holds the lock, this long or as long as it takes
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "31536000")]
    wait: Option<u32>,
    #[command(flatten)]
    limits: Limits,
}

/// The whole life of the program.
pub fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => {
            log(&cli.global);
            let context = Context {
                dir: cli.global.dir,
                verbose: cli.global.verbose,
                reach: Reach {
                    parallel: cli.global.parallel.into(),
                    persist: !cli.global.no_persist,
                },
                output: Output::new(colour(cli.global.color)),
                interrupt: Interrupt::default(),
            };
            commands::finish(&context, run(&context, cli.command))
        }
        Err(error) => usage(&error),
    }
}

/// Help goes to stdout and is a success; a mistake goes to stderr and is ours to number.
fn usage(error: &clap::Error) -> ExitCode {
    let output = Output::new(Colour::Auto);
    let rendered = error.render();
    let text = |colour: bool| match colour {
        true => rendered.ansi().to_string(),
        false => rendered.to_string(),
    };
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            output.data(&text(output.paint().colour));
            let code = output.lost().map_or(0, |failure| failure.kind.code());
            ExitCode::from(code)
        }
        _ => {
            output.say(&text(output.talk_paint().colour));
            ExitCode::from(Kind::Usage.code())
        }
    }
}

fn colour(when: When) -> Colour {
    match when {
        When::Auto => Colour::Auto,
        When::Always => Colour::Always,
        When::Never => Colour::Never,
    }
}

/// A stderr that takes what it can: a log line that is lost stops nothing.
struct Quiet;

impl Write for Quiet {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _ = std::io::stderr().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Only our own spans and lines: what the crates below would say could hold what they were given.
fn log(global: &Global) {
    let level = match global.verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let ours = Targets::new().with_target("provision", level);
    let registry = tracing_subscriber::registry().with(ours);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(|| Quiet)
        .log_internal_errors(false)
        .with_ansi(false);
    let set = match global.log_format {
        LogFormat::Json => registry.with(layer.json()).try_init(),
        LogFormat::Text => registry.with(layer.with_target(false)).try_init(),
    };
    // One was set already: then that one listens.
    drop(set);
}

async fn run(context: &Context, command: Command) -> commands::End {
    match command {
        Command::Init(args) => init::run(context, &args.into()).await,
        Command::Import(args) => import::run(context, &args.into()).await,
        Command::Doctor => doctor::run(context).await,
        Command::Validate { environments, all } => {
            validate::run(context, &validate::Options { environments, all }).await
        }
        Command::Plan(args) => plan::run(context, &args.into()).await,
        Command::Apply(args) => apply::run(context, &args.into()).await,
        Command::Verify { on, format } => {
            let format = match format {
                VerifyFormat::Table => verify::Format::Table,
                VerifyFormat::Json => verify::Format::Json,
                VerifyFormat::Junit => verify::Format::Junit,
            };
            let environment = on.environment;
            verify::run(
                context,
                &verify::Options {
                    environment,
                    format,
                },
            )
            .await
        }
        Command::Adopt { on, ids, yes, host } => {
            let options = adopt::Options {
                environment: on.environment,
                yes,
                ids,
                hosts: host,
            };
            adopt::run(context, &options).await
        }
        Command::Audit { on, format, host } => {
            audit::run(
                context,
                &audit::Options {
                    environment: on.environment,
                    format: format.into(),
                    hosts: host,
                },
            )
            .await
        }
        Command::Forward { on, names, exec } => {
            let environment = on.environment;
            forward::run(
                context,
                &forward::Options {
                    environment,
                    names,
                    exec,
                },
            )
            .await
        }
        Command::Render { on, out, images } => {
            let environment = on.environment;
            render::run(
                context,
                &render::Options {
                    environment,
                    out,
                    images,
                },
            )
            .await
        }
        Command::Env { on, format, dotenv } => {
            let dotenv = dotenv || format == EnvFormat::Dotenv;
            env::run(
                context,
                &env::Options {
                    environment: on.environment,
                    dotenv,
                },
            )
            .await
        }
        Command::Explain { on, id } => {
            explain::run(
                context,
                &explain::Options {
                    environment: on.environment,
                    id,
                },
            )
            .await
        }
        Command::Status { on, json } => {
            let environment = on.environment;
            status::run(context, &status::Options { environment, json }).await
        }
        Command::Lock { on } => status::locks(context, &on.environment).await,
        Command::Destroy {
            on,
            yes,
            destroy_data,
            host,
        } => {
            let environment = on.environment;
            destroy::run(
                context,
                &destroy::Options {
                    environment,
                    yes,
                    hosts: host,
                    destroy_data,
                },
            )
            .await
        }
        Command::Ps { on } => service::ps(context, &on.environment).await,
        Command::Logs {
            on,
            service,
            follow,
            tail,
        } => service::logs(context, &on.environment, &service, follow, tail).await,
        Command::Exec { on, service, argv } => {
            service::exec(context, &on.environment, &service, &argv).await
        }
        Command::Shell { on, service } => service::shell(context, &on.environment, &service).await,
        Command::Trust {
            on,
            host,
            yes,
            fingerprint,
        } => {
            let options = trust::Options {
                environment: on.environment,
                host,
                yes,
                fingerprint,
            };
            trust::run(context, &options).await
        }
        Command::Schema => schema::run(context).await,
        Command::Completions { shell } => completions(context, shell),
        Command::Man => man(context),
    }
}

fn completions(context: &Context, shell: Shell) -> commands::End {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "provision", &mut script);
    context.output.bytes(&script);
    Ok(0)
}

/// The page of the program, and after it one of each command.
fn man(context: &Context) -> commands::End {
    let mut command = Cli::command();
    command.build();
    let mut pages = Vec::new();
    let subcommands = command
        .get_subcommands()
        .filter(|sub| sub.get_name() != "help")
        .cloned();
    let subcommands = subcommands.flat_map(|sub| {
        let below: Vec<_> = sub
            .get_subcommands()
            .filter(|below| below.get_name() != "help")
            .cloned()
            .collect();
        std::iter::once(sub).chain(below)
    });
    for page in std::iter::once(command.clone()).chain(subcommands) {
        // Writing into memory does not fail.
        let _ = clap_mangen::Man::new(page).render(&mut pages);
    }
    context.output.bytes(&pages);
    Ok(0)
}

impl From<InitArgs> for init::Options {
    fn from(args: InitArgs) -> Self {
        init::Options {
            environment: args.environment,
            yes: args.yes,
            project: args.project,
            postgres: args.postgres,
            mariadb: args.mariadb,
            django: args.django,
            settings: args.settings,
        }
    }
}

impl From<Limits> for Wishes {
    fn from(limits: Limits) -> Self {
        Wishes {
            only: limits.only,
            hosts: limits.host,
            destroy_data: limits.destroy_data,
            replace_secrets: limits.replace_secret,
            ..Wishes::default()
        }
    }
}

impl From<PlanArgs> for plan::Options {
    fn from(args: PlanArgs) -> Self {
        plan::Options {
            environment: args.on.environment,
            format: match args.format {
                _ if args.json => plan::Format::Json,
                PlanFormat::Text => plan::Format::Text,
                PlanFormat::Json => plan::Format::Json,
                PlanFormat::Markdown => plan::Format::Markdown,
            },
            out: args.out,
            detailed: args.detailed_exitcode,
            wishes: args.limits.into(),
        }
    }
}

impl From<ApplyArgs> for apply::Options {
    fn from(args: ApplyArgs) -> Self {
        apply::Options {
            environment: args.on.environment,
            yes: args.yes,
            plan: args.plan,
            wishes: Wishes {
                wait: args.wait.map(|seconds| Duration::from_secs(seconds.into())),
                ..args.limits.into()
            },
        }
    }
}

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_typed_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn ids_and_flags_are_understood() {
        let line = [
            "provision",
            "plan",
            "local",
            "--only",
            "container.iact",
            "image.x",
            "-vv",
            "--destroy-data=volume.x",
        ];
        let cli = Cli::try_parse_from(line).unwrap();
        assert_eq!(cli.global.verbose, 2);
        let Command::Plan(args) = cli.command else {
            panic!("no plan");
        };
        assert_eq!(args.limits.only, ["container.iact", "image.x"]);
        assert_eq!(args.limits.destroy_data, ["volume.x"]);
    }
}
