//! `doctor`: what is missing on this machine, and how to mend it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::commands::{Context, End, code};
use crate::declaration::{Driver, Entries, Environment, Node, Origin, Stage, Value};
use crate::environment;
use crate::error::Kind;
use crate::files;
use crate::services::{Ports, forward};
use crate::show;
use crate::show::doctor::{Finding, Weight};
use crate::target::{ContainerRow, Target};

/// Free space below which images and data will not fit for long, in KiB.
const LITTLE: u64 = 4 * 1024 * 1024;

/// Free space below which nothing fits, in KiB.
const NONE: u64 = 512 * 1024;

/// Looks at everything and says it.
///
/// # Errors
/// Never: what is missing is a finding.
pub async fn run(context: &Context) -> End {
    let mut findings = Vec::new();
    let environments = environments(context, &mut findings);
    let probe = environments
        .first()
        .cloned()
        .unwrap_or_else(|| nothing(context));
    let target = engine(context, &probe, &mut findings).await;
    programs(&mut findings).await;
    for environment in &environments {
        folder(environment, &mut findings);
        let rows = match &target {
            Some(target) => target
                .containers(&environment.project)
                .await
                .unwrap_or_default(),
            None => Vec::new(),
        };
        ports(environment, &rows, &mut findings);
    }
    findings.extend(space(&context.dir).await);
    context
        .output
        .data(&show::doctor::render(&findings, context.output.paint()));
    let broken = findings
        .iter()
        .any(|finding| finding.weight == Weight::Broken);
    let kinds = [
        target.is_none().then_some(Kind::Unreachable),
        broken.then_some(Kind::Failed),
    ];
    Ok(code(kinds.into_iter().flatten()))
}

/// The environments that can be planned.
fn environments(context: &Context, findings: &mut Vec<Finding>) -> Vec<Environment> {
    let dir = context.dir.display();
    let names = environment::names(&context.dir);
    if names.is_empty() {
        let mend = "`provision init local` writes a first one";
        findings.push(Finding::bad(
            Weight::Lacking,
            "environments",
            format!("`{dir}` holds none"),
            mend,
        ));
    }
    let mut good = Vec::new();
    for name in names {
        let what = format!("environment {name}");
        match environment::load(&context.dir, &name) {
            Ok(environment) if environment.is_abstract => {
                findings.push(Finding::fine(what, "valid, abstract"))
            }
            Ok(environment) => {
                findings.push(Finding::fine(what, "valid"));
                good.push(environment);
            }
            Err(failure) => {
                let mend = format!("`provision validate {name}` shows every mistake");
                findings.push(Finding::bad(Weight::Broken, what, failure.message, mend));
            }
        }
    }
    // Servers are not looked at from here.
    good.retain(Environment::engine_is_here);
    good
}

/// An environment without anything, to find the engine of this machine.
fn nothing(context: &Context) -> Environment {
    Environment {
        name: "none".to_owned(),
        project: "none".to_owned(),
        is_abstract: false,
        stage: Stage::Dev,
        driver: Driver::Docker,
        engine_host: None,
        file: String::new(),
        dir: context.dir.clone(),
        folder: PathBuf::from(".provision/none"),
        tree: Node {
            value: Value::Table(Entries::default()),
            origin: Origin::NONE,
        },
        texts: Default::default(),
        folders: Default::default(),
        owners: Default::default(),
        files: Default::default(),
        templates: Default::default(),
        warnings: Vec::new(),
        generated: Vec::new(),
    }
}

async fn engine(
    context: &Context,
    environment: &Environment,
    findings: &mut Vec<Finding>,
) -> Option<Target> {
    match Target::connect(environment, &context.reach).await {
        Ok(target) => {
            findings.push(Finding::fine("engine", target.says()));
            Some(target)
        }
        Err(failure) => {
            let mend = match failure.hints.is_empty() {
                true => "apt install docker.io, and start it".to_owned(),
                false => failure.hints.join("; "),
            };
            findings.push(Finding::bad(
                Weight::Broken,
                "engine",
                failure.message,
                mend,
            ));
            None
        }
    }
}

async fn programs(findings: &mut Vec<Finding>) {
    let lacking =
        |what: &str, found: &str, mend: &str| Finding::bad(Weight::Lacking, what, found, mend);
    findings.push(match on_path("docker") {
        Some(path) => Finding::fine("docker", path.display().to_string()),
        None => lacking(
            "docker",
            "the program is not found: `exec` and `shell` have no terminal",
            "apt install docker.io",
        ),
    });
    findings.push(compose().await);
    let fetches = ["apt-get", "dpkg-deb", "perl"];
    findings.push(
        match on_path("mmdebstrap").or_else(|| on_path("debootstrap")) {
            Some(path) => Finding::fine("bootstrap", path.display().to_string()),
            None if fetches
                .into_iter()
                .all(|program| on_path(program).is_some()) =>
            {
                Finding::fine("bootstrap", "apt-get fetches mmdebstrap when it is wanted")
            }
            None => lacking(
                "bootstrap",
                "no mmdebstrap: images cannot be built where the registry is out of reach",
                "apt install mmdebstrap",
            ),
        },
    );
    let bundle = Path::new("/etc/ssl/certs/ca-certificates.crt");
    findings.push(match bundle.is_file() {
        true => Finding::fine("certificates", bundle.display().to_string()),
        false => lacking(
            "certificates",
            "no CA bundle: builds behind a TLS proxy fail",
            "apt install ca-certificates",
        ),
    });
    findings.push(match on_path("ssh") {
        Some(path) => Finding::fine("ssh", path.display().to_string()),
        None => lacking(
            "ssh",
            "the program is not found: servers are out of reach",
            "apt install openssh-client",
        ),
    });
}

async fn compose() -> Finding {
    if let Some(version) = says("docker", &["compose", "version", "--short"]).await {
        return Finding::fine("compose", format!("version {version}"));
    }
    let mend = "install the Compose plugin (`docker-compose-plugin` of Docker's repository, or `docker-compose` of Debian 13)";
    match says("docker-compose", &["version", "--short"]).await {
        Some(version) if !version.starts_with('1') => {
            Finding::fine("compose", format!("version {version}"))
        }
        Some(version) => Finding::bad(
            Weight::Lacking,
            "compose",
            format!("version {version}: `ps`, `logs` and `down` work, `up` makes containers anew"),
            mend,
        ),
        None => Finding::bad(
            Weight::Lacking,
            "compose",
            "not found: apply works, `docker compose` does not",
            mend,
        ),
    }
}

/// What a program prints, if it ends well.
async fn says(program: &str, arguments: &[&str]) -> Option<String> {
    on_path(program)?;
    let output = Command::new(program)
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(std::time::Duration::from_secs(10), output)
        .await
        .ok()?
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

fn on_path(program: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::var_os("PATH")?;
    let runs = |path: &PathBuf| {
        std::fs::metadata(path)
            .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(runs)
}

/// The generated folder can be written, and nobody else can enter it.
fn folder(environment: &Environment, findings: &mut Vec<Finding>) {
    let folder = &environment.folder;
    let what = format!("folder {}", environment.name);
    let there = folder
        .ancestors()
        .find(|path| path.is_dir())
        .unwrap_or(Path::new("."));
    findings.push(if files::is_open_to_others(folder) {
        let found = format!("`{}` is open to others", folder.display());
        Finding::bad(
            Weight::Broken,
            what,
            found,
            format!("chmod 700 {}", folder.display()),
        )
    } else if let Err(error) = tempfile::Builder::new()
        .prefix(".provision-")
        .tempfile_in(there)
    {
        let found = format!("`{}` cannot be written: {error}", there.display());
        Finding::bad(
            Weight::Broken,
            what,
            found,
            "make it yours: chown, or move the project",
        )
    } else {
        Finding::fine(what, folder.display().to_string())
    });
}

/// Every declared port is free, or ours.
fn ports(environment: &Environment, rows: &[ContainerRow], findings: &mut Vec<Finding>) {
    for forward in forward::all(environment, &Ports::new()) {
        let address = format!("{}:{}", forward.address, forward.declared);
        let what = format!("port {address}");
        let ours = |row: &&ContainerRow| {
            row.ports
                .iter()
                .any(|port| port.starts_with(&format!("{address}->")))
        };
        if let Some(row) = rows.iter().find(ours) {
            findings.push(Finding::fine(what, format!("ours, of `{}`", row.name)));
            continue;
        }
        let host = forward.address.trim_matches(['[', ']']);
        let error = match TcpListener::bind((host, forward.declared)) {
            Ok(_) => None,
            // A low port is the engine's to open, not ours.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => None,
            Err(error) => Some(error),
        };
        findings.push(match error {
            None => Finding::fine(what, format!("free, for `forward.{}`", forward.name)),
            Some(_) if forward.auto_correct => Finding::fine(
                what,
                format!(
                    "taken, so `forward.{}` takes the next free one",
                    forward.name
                ),
            ),
            Some(error) => Finding::bad(
                Weight::Broken,
                what,
                error.to_string(),
                format!(
                    "stop what holds it (`ss -ltnp`), or choose another `listen` ({})",
                    forward.origin.short()
                ),
            ),
        });
    }
}

/// Free space where images and data are likely to lie.
async fn space(dir: &Path) -> Option<Finding> {
    let place = match Path::new("/var/lib/docker").is_dir() {
        true => Path::new("/var/lib/docker"),
        false => dir
            .ancestors()
            .find(|path| path.is_dir())
            .unwrap_or(Path::new("/")),
    };
    let text = says("df", &["-Pk", "--", &place.display().to_string()]).await?;
    let free: u64 = text
        .lines()
        .nth(1)?
        .split_whitespace()
        .nth(3)?
        .parse()
        .ok()?;
    let found = format!("{} MiB free at {}", free / 1024, place.display());
    let mend = "`docker system df` says what takes the space";
    Some(match free {
        free if free < NONE => Finding::bad(Weight::Broken, "space", found, mend),
        free if free < LITTLE => Finding::bad(Weight::Lacking, "space", found, mend),
        _ => Finding::fine("space", found),
    })
}
