//! `schema`: the JSON Schema of an environment file.

use crate::commands::{Context, End};
use crate::environment;
use crate::error::{Failure, Kind};

/// Writes it.
///
/// # Errors
/// Never, unless JSON itself fails.
pub async fn run(context: &Context) -> End {
    let text = serde_json::to_string_pretty(&environment::schema()).map_err(|error| {
        Failure::new(
            Kind::Failed,
            format!("the schema cannot be written: {error}"),
        )
    })?;
    context.output.data(&format!("{text}\n"));
    Ok(0)
}
