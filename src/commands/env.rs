//! `env`: the variables with which a program on this machine reaches the services.

use crate::commands::look::{self, Wishes};
use crate::commands::{Context, End};
use crate::error::{Failure, Kind};
use crate::services::{self, Ports, forward};
use crate::show;
use crate::show::variables::{dotenv, export, is_name};

/// What `env` is asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The environment.
    pub environment: String,
    /// As a `.env` file, not for `eval`.
    pub dotenv: bool,
}

/// Renders and writes them.
///
/// # Errors
/// Where a value cannot be had or written down.
pub async fn run(context: &Context, options: &Options) -> End {
    let environment = look::ready(context, &options.environment).await?;
    let moves = forward::all(&environment, &Ports::new())
        .iter()
        .any(|forward| forward.auto_correct);
    let ports = match moves {
        true => ports(context, environment.clone()).await,
        false => Ports::new(),
    };
    let variables = services::operator_variables(&environment, &ports)
        .map_err(|problems| Failure::problems("the variables cannot be rendered", problems))?;
    let mut out = String::new();
    for (name, value) in variables {
        if !is_name(&name) {
            return Err(Failure::new(
                Kind::Usage,
                format!("`{name}` is no name for a variable"),
            ));
        }
        let value = value.expose();
        let line = match options.dotenv {
            true => dotenv(&name, value.expose()),
            false => export(&name, value.expose()),
        };
        out.push_str(&line.map_err(|why| Failure::new(Kind::Usage, why))?);
    }
    context.output.data(&out);
    Ok(0)
}

/// The ports that are in use; where nobody can say, the declared ones.
async fn ports(context: &Context, environment: crate::declaration::Environment) -> Ports {
    match look::look(context, environment, &Wishes::default()).await {
        Ok(look) => look.ports,
        Err(failure) => {
            let warning =
                format!("the declared ports are used, since the engine cannot be asked: {failure}");
            context.output.say(&show::failure::warning(
                &warning,
                context.output.talk_paint(),
            ));
            Ports::new()
        }
    }
}
