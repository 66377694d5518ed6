//! A plan as JSON, for programs. The shape is a promise: what is added raises the minor number of [`FORMAT`], what changes or
//! goes the major one.

use serde::Serialize;

use crate::error;
use crate::plan::{Action, Change, Difference, Plan, Since, Unseen};
use crate::resource::Same;
use crate::show::{is_hostile, plan as text};

/// The version of the shape.
pub const FORMAT: &str = "1.1";

/// A plan.
#[derive(Debug, Serialize)]
pub struct PlanJson<'a> {
    format_version: &'static str,
    tool_version: &'static str,
    environment: &'a str,
    project: &'a str,
    target: &'a str,
    changes: Vec<ChangeJson<'a>>,
    refusals: Vec<RefusalJson<'a>>,
    unseen: Vec<UnseenJson<'a>>,
    orphans: Vec<&'a str>,
    released: Vec<&'a str>,
    waiting: Vec<WaitingJson<'a>>,
    notes: &'a [String],
    warnings: Vec<WarningJson<'a>>,
    summary: SummaryJson,
    exit_codes: Vec<u8>,
}

#[derive(Debug, Serialize)]
struct WaitingJson<'a> {
    id: &'a str,
    reason: String,
}

#[derive(Debug, Serialize)]
struct ChangeJson<'a> {
    id: &'a str,
    kind: &'a str,
    action: &'static str,
    actions: &'static [&'static str],
    reason: &'a str,
    impact: &'static str,
    needs: Vec<&'a str>,
    first_start: bool,
    fields: Vec<FieldJson<'a>>,
    steps: Vec<StepJson<'a>>,
}

#[derive(Debug, Serialize)]
struct FieldJson<'a> {
    name: &'a str,
    before: Option<&'a str>,
    after: Option<&'a str>,
    same: Option<bool>,
    impact: &'static str,
    origin: &'a str,
    moved: &'static str,
    since: Option<SinceJson>,
}

/// When a machine moved: exactly then, or some time after.
#[derive(Debug, Serialize)]
struct SinceJson {
    time: String,
    exact: bool,
}

#[derive(Debug, Serialize)]
struct StepJson<'a> {
    says: &'a str,
    impact: &'static str,
}

#[derive(Debug, Serialize)]
struct RefusalJson<'a> {
    id: &'a str,
    exit_code: u8,
    message: &'a str,
    hints: &'a [String],
}

#[derive(Debug, Serialize)]
struct UnseenJson<'a> {
    host: &'a str,
    exit_code: u8,
    message: &'a str,
    hints: &'a [String],
    resources: usize,
}

#[derive(Debug, Serialize)]
struct WarningJson<'a> {
    message: &'a str,
    origin: String,
    help: Option<&'a str>,
}

#[derive(Debug, Default, Serialize)]
struct SummaryJson {
    changes: usize,
    create: usize,
    update: usize,
    recreate: usize,
    replace: usize,
    remove: usize,
    wait: usize,
    unknown: usize,
    as_wanted: usize,
}

/// What a plan is shown with.
#[derive(Clone, Copy, Debug)]
pub struct Around<'a> {
    /// As in `local`.
    pub environment: &'a str,
    /// As in `iact`.
    pub project: &'a str,
    /// As in `Docker engine at /var/run/docker.sock`.
    pub target: &'a str,
    /// What was decided while looking.
    pub notes: &'a [String],
    /// What somebody should know of the files.
    pub warnings: &'a [error::Problem],
}

/// A plan as JSON text, with a line end. `exit_codes` are all that hold, the strongest first.
pub fn render(around: &Around<'_>, plan: &Plan, detailed: bool) -> String {
    let json = PlanJson {
        format_version: FORMAT,
        tool_version: env!("CARGO_PKG_VERSION"),
        environment: around.environment,
        project: around.project,
        target: around.target,
        changes: plan.changes.iter().map(change).collect(),
        refusals: refusals(plan),
        unseen: plan.unseen.iter().map(unseen).collect(),
        orphans: plan.orphans.iter().map(|id| id.as_str()).collect(),
        released: plan.released.iter().map(|id| id.as_str()).collect(),
        waiting: plan
            .waiting
            .iter()
            .map(|(id, awaited)| WaitingJson {
                id: id.as_str(),
                reason: awaited.reason(),
            })
            .collect(),
        notes: around.notes,
        warnings: around.warnings.iter().map(warning).collect(),
        summary: summary(plan),
        exit_codes: exit_codes(plan, detailed),
    };
    // Only maps with keys that are no strings can fail here, and there are none.
    let text = serde_json::to_string_pretty(&json).unwrap_or_default();
    format!("{}\n", harmless(&text))
}

/// JSON whose strings a terminal shows and does not obey: the same JSON, since what is spelled out can only stand in strings.
pub(crate) fn harmless(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && is_hostile(c) {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

fn moment(since: Since) -> SinceJson {
    let (seconds, exact) = match since {
        Since::At(seconds) => (seconds, true),
        Since::After(seconds) => (seconds, false),
    };
    let time = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    SinceJson {
        time: time.to_string(),
        exact,
    }
}

fn change(change: &Change) -> ChangeJson<'_> {
    ChangeJson {
        id: change.id.as_str(),
        kind: change.id.kind(),
        action: change.action.word(),
        actions: actions(change.action),
        reason: &change.reason,
        impact: change.impact.word(),
        needs: change.needs.iter().map(|id| id.as_str()).collect(),
        first_start: change.first_start,
        fields: change.fields.iter().map(field).collect(),
        steps: change
            .steps
            .iter()
            .map(|step| StepJson {
                says: &step.says,
                impact: step.impact.word(),
            })
            .collect(),
    }
}

/// The words that scripts know from Terraform.
fn actions(action: Action) -> &'static [&'static str] {
    match action {
        Action::Create => &["create"],
        Action::Update => &["update"],
        Action::Recreate | Action::Replace => &["delete", "create"],
        Action::Remove => &["delete"],
        Action::Wait | Action::Unknown => &["read"],
    }
}

fn field(difference: &Difference) -> FieldJson<'_> {
    let field = &difference.field;
    FieldJson {
        name: &field.name,
        before: field.from.as_deref(),
        after: field.to.as_deref(),
        same: match field.same {
            Same::Yes => Some(true),
            Same::No => Some(false),
            Same::Unknown => None,
        },
        impact: field.impact.word(),
        origin: &difference.origin,
        moved: difference.moved.word(),
        since: difference.since.map(moment),
    }
}

fn unseen(unseen: &Unseen) -> UnseenJson<'_> {
    UnseenJson {
        host: &unseen.machine,
        exit_code: unseen.failure.kind.code(),
        message: &unseen.failure.message,
        hints: &unseen.failure.hints,
        resources: unseen.resources,
    }
}

fn refusals(plan: &Plan) -> Vec<RefusalJson<'_>> {
    plan.refusals
        .iter()
        .map(|refusal| RefusalJson {
            id: refusal.id.as_str(),
            exit_code: refusal.kind.code(),
            message: &refusal.message,
            hints: &refusal.hints,
        })
        .collect()
}

fn warning(problem: &error::Problem) -> WarningJson<'_> {
    WarningJson {
        message: &problem.message,
        origin: problem.origin.to_string(),
        help: problem.help.as_deref(),
    }
}

fn summary(plan: &Plan) -> SummaryJson {
    let mut summary = SummaryJson {
        changes: plan.changes.len(),
        as_wanted: plan.as_wanted,
        ..SummaryJson::default()
    };
    for change in &plan.changes {
        match change.action {
            Action::Create => summary.create += 1,
            Action::Update => summary.update += 1,
            Action::Recreate => summary.recreate += 1,
            Action::Replace => summary.replace += 1,
            Action::Remove => summary.remove += 1,
            Action::Wait => summary.wait += 1,
            Action::Unknown => summary.unknown += 1,
        }
    }
    summary
}

fn exit_codes(plan: &Plan, detailed: bool) -> Vec<u8> {
    let mut kinds = text::verdicts(plan);
    if detailed && !plan.is_empty() {
        kinds.push(error::Kind::Differs);
    }
    let mut codes = Vec::new();
    while let Some(kind) = error::Kind::strongest(kinds.iter().copied()) {
        codes.push(kind.code());
        kinds.retain(|other| *other != kind);
    }
    if codes.is_empty() {
        codes.push(0);
    }
    codes
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn around() -> Around<'static> {
        Around {
            environment: "local",
            project: "iact",
            target: "Docker engine at \u{9b}x",
            notes: &[],
            warnings: &[],
        }
    }

    #[test]
    fn a_program_finds_what_changes() {
        let text = render(&around(), &text::tests::sample(), true);
        assert!(!text.contains(|c: char| c != '\n' && is_hostile(c)));
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["format_version"], "1.1");
        assert_eq!(json["target"], "Docker engine at \u{9b}x");
        assert_eq!(
            json["changes"][0]["id"],
            "postgres_role.analytics:django_user"
        );
        assert_eq!(json["changes"][0]["actions"], serde_json::json!(["update"]));
        assert_eq!(
            json["changes"][0]["fields"][1],
            serde_json::json!({
                "name": "connection_limit", "before": "7", "after": "no limit", "same": false,
                "impact": "none", "origin": "default", "moved": "machine",
                "since": { "time": "2025-11-25T10:42:00Z", "exact": false },
            })
        );
        assert_eq!(json["summary"]["create"], 5);
        assert_eq!(json["exit_codes"], serde_json::json!([4, 2]));
    }

    #[test]
    fn nothing_to_do_is_zero() {
        let text = render(&around(), &Plan::default(), true);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["exit_codes"], serde_json::json!([0]));
    }
}
