//! `trust`: shows the host key of a server, and pins it.

use crate::command::Via;
use crate::commands::{Context, End, look};
use crate::error::{Failure, Kind, nearest};
use crate::files;
use crate::services::hosts;
use crate::show;
use crate::target::{HostKey, Target};

/// What `trust` is asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The environment.
    pub environment: String,
    /// The host.
    pub host: String,
    /// Without asking.
    pub yes: bool,
    /// The fingerprint that it has to be: no need to ask.
    pub fingerprint: Option<String>,
}

/// Shows, asks, pins.
///
/// # Errors
/// [`Kind::Usage`] where there is no such host, or nobody to ask; [`Kind::Unreachable`] where it shows no key, or another one than
/// was named.
pub async fn run(context: &Context, options: &Options) -> End {
    let environment = look::open(context, &options.environment)?;
    let names: Vec<_> = environment.services("host").map(|(name, _)| name).collect();
    let entry = environment
        .services("host")
        .find(|(name, _)| *name == options.host);
    let Some((name, entry)) = entry else {
        let message = format!("`{}` has no host `{}`", environment.file, options.host);
        let failure = Failure::new(Kind::Usage, message);
        return Err(match nearest(&options.host, names.iter().copied()) {
            Some(near) => failure.hint(format!("did you mean `{near}`?")),
            None => failure.hint(format!("it has {}", names.join(", "))),
        });
    };
    let machine = hosts::machine(name, &entry.node);
    let address = match &machine.via {
        Via::Ssh(ssh) => ssh.address.clone(),
        Via::Local => name.to_owned(),
    };
    let shown = Target::host_key(&environment, &machine).await?;
    context
        .output
        .data(&show::trust::render(name, &address, &shown));
    if let Some(wanted) = &options.fingerprint
        && *wanted != shown.fingerprint()
    {
        let message = format!("`{name}` shows another key than `{wanted}`");
        return Err(Failure::new(Kind::Unreachable, message)
            .hint("nothing was pinned; somebody may listen in"));
    }
    if shown.is_known() {
        return Ok(0);
    }
    if entry.node.get("host_key").is_some() {
        let message = format!("`[host.{name}]` pins another key");
        return Err(Failure::new(Kind::Unreachable, message).hint(format!(
            "if the machine was made anew, say `host_key = \"{}\"` there",
            shown.key
        )));
    }
    if !consent(context, options, &shown).await? {
        return Err(Failure::new(Kind::Failed, "nothing was pinned"));
    }
    let path = files::pin_host_key(&environment.folder, &shown.entry, &shown.key)?;
    context
        .output
        .say(&format!("Pinned in `{}`.\n", path.display()));
    Ok(0)
}

/// Whether somebody says that it is the right key.
async fn consent(context: &Context, options: &Options, shown: &HostKey) -> Result<bool, Failure> {
    if options.yes || options.fingerprint.is_some() {
        return Ok(true);
    }
    if !context.output.can_ask() {
        let message = "nobody is there to ask whether this key is the right one";
        return Err(Failure::new(Kind::Usage, message).hint(format!(
            "if it is: `provision trust {} {} --fingerprint {}`",
            options.environment,
            options.host,
            shown.fingerprint()
        )));
    }
    let answer = context.output.ask("Pin it? [y/N] ").await;
    let answer = answer.unwrap_or_default();
    Ok(matches!(answer.to_lowercase().as_str(), "y" | "yes"))
}
