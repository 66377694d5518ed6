//! `explain`: where each value of a resource comes from, what is live, and what the next step is.

use crate::commands::look::{self, Look, Wishes, unknown_id};
use crate::commands::{Context, End, code};
use crate::error::Kind;
use crate::plan::{self, Found};
use crate::resource::Resource;
use crate::show;
use crate::show::explain::Explained;

/// What `explain` is asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The environment.
    pub environment: String,
    /// The resource.
    pub id: String,
}

/// Looks, and explains one resource.
///
/// # Errors
/// [`Kind::Usage`] where there is no such resource.
pub async fn run(context: &Context, options: &Options) -> End {
    let environment = look::ready(context, &options.environment).await?;
    let look = look::look(context, environment, &Wishes::default()).await?;
    let known: Vec<&str> = look
        .resources
        .iter()
        .map(|resource| resource.id.as_str())
        .collect();
    let resource = look
        .resources
        .iter()
        .find(|resource| resource.id.as_str() == options.id)
        .ok_or_else(|| unknown_id(&options.id, &known))?;
    let (explained, seen) = explained(resource, &look);
    context
        .output
        .data(&show::explain::render(&explained, context.output.paint()));
    Ok(code((!seen).then_some(Kind::Unreachable)))
}

/// The explanation, and whether the resource could be seen.
fn explained(resource: &Resource, look: &Look) -> (Explained, bool) {
    let (live, found, seen) = match plan::find(&resource.thing, &resource.place, &look.answers) {
        Found::Absent => ("not there".to_owned(), None, true),
        Found::There(found) => ("there".to_owned(), Some(found), true),
        Found::Down(why) => (format!("cannot be seen yet: {why}"), None, true),
        Found::Unreadable(why) => (format!("cannot be told: {why}"), None, false),
    };
    let fields = resource.thing.fields(found.as_ref()).into_iter();
    let explained = Explained {
        id: resource.id.to_string(),
        declared: resource.declared().to_string(),
        live,
        fields: fields
            .map(|field| (resource.origin(&field.name).short(), field))
            .map(|(from, field)| (field, from))
            .collect(),
        needs: resource.needs.iter().map(ToString::to_string).collect(),
        next: next(resource, look),
    };
    (explained, seen)
}

fn next(resource: &Resource, look: &Look) -> Vec<String> {
    let mut next = Vec::new();
    let refusals = look
        .plan
        .refusals
        .iter()
        .filter(|refusal| refusal.id == resource.id);
    for refusal in refusals {
        next.push(format!("refused: {}", refusal.message));
        next.extend(refusal.hints.iter().cloned());
    }
    if let Some(change) = look
        .plan
        .changes
        .iter()
        .find(|change| change.id == resource.id)
    {
        next.extend(change.steps.iter().map(|step| step.says.clone()));
        if change.steps.is_empty() {
            next.push(format!("{}: {}", change.action.word(), change.reason));
        }
    }
    next
}
