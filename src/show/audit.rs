//! Findings, as people read them, and as JSON, JUnit and SARIF for programs.

use serde::Serialize;
use serde_json::{Value, json};

use crate::audit::{Audit, Exception, Finding, Severity};
use crate::declaration::Origin;
use crate::plan::{Moved, Since};
use crate::show::json::harmless;
use crate::show::plan::since;
use crate::show::{Paint, clean, count, junit, pad};

/// The version of the JSON's shape: what is added raises the minor number, what changes or goes the major one.
pub const FORMAT: &str = "1.0";

/// What stands around findings.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// As in `prod`.
    pub environment: &'a str,
    /// As in `iact`.
    pub project: &'a str,
    /// As in `2 servers`.
    pub target: &'a str,
    /// What was decided while looking.
    pub notes: &'a [String],
    /// Colours.
    pub paint: Paint,
}

/// Findings for people.
pub fn text(head: &Head<'_>, audit: &Audit) -> String {
    let paint = head.paint;
    let name = clean(&format!("{} {}", head.project, head.environment));
    let mut out = format!("{}, {}\n\n", paint.bold(&name), clean(head.target));
    for finding in &audit.findings {
        out.push_str(&one(finding, paint));
    }
    let mut lines = Vec::new();
    for (what, why) in &audit.unread {
        lines.push(format!(
            "{} {}: {}",
            paint.red("unread:"),
            clean(what),
            clean(why)
        ));
    }
    for (finding, exception) in &audit.accepted {
        let id = clean(&finding.id);
        let word = paint.dim("accepted:");
        lines.push(format!(
            "{word} {id} until {}: {}",
            exception.until,
            clean(&exception.reason)
        ));
    }
    for exception in &audit.expired {
        let id = clean(&exception.id);
        let word = paint.yellow("expired:");
        let origin = exception.origin.short();
        lines.push(format!(
            "{word} the exception for {id} ended with {} ({origin})",
            exception.until
        ));
    }
    for exception in &audit.unused {
        let id = clean(&exception.id);
        let origin = exception.origin.short();
        lines.push(format!(
            "{} nothing is found for the exception {id} any more ({origin})",
            paint.dim("note:")
        ));
    }
    for note in head.notes {
        lines.push(format!("{} {}", paint.dim("note:"), clean(note)));
    }
    for line in &lines {
        out.push_str(&format!("  {line}\n"));
    }
    if !audit.findings.is_empty() || !lines.is_empty() {
        out.push('\n');
    }
    out.push_str(&summary(audit));
    out.push('\n');
    out
}

fn one(finding: &Finding, paint: Paint) -> String {
    let word = pad(finding.severity.word(), 6);
    let word = match finding.severity {
        Severity::High => paint.red(&word),
        Severity::Medium => paint.yellow(&word),
        Severity::Low => paint.dim(&word),
    };
    let origin = match finding.origin.is_none() {
        true => String::new(),
        false => format!("   {}", paint.dim(&clean(&finding.origin.short()))),
    };
    let id = paint.bold(&clean(&finding.id));
    let says = clean(&sentence(finding));
    format!(
        "  {word}  {id}{origin}\n          {says}\n          {}\n",
        paint.dim(&clean(&finding.todo))
    )
}

/// What a finding says, with since when.
fn sentence(finding: &Finding) -> String {
    let when = finding.drift.as_ref().and_then(|drift| drift.since);
    format!("{}{}", finding.says, since(when))
}

fn summary(audit: &Audit) -> String {
    let fine = count(audit.fine.len(), "resource");
    let accepted = match audit.accepted.len() {
        0 => String::new(),
        number => format!(" {number} accepted."),
    };
    let unread = match audit.unread.len() {
        0 => String::new(),
        number => format!(" {number} could not be read."),
    };
    if audit.findings.is_empty() {
        return format!("Nothing found.{accepted}{unread} {fine} as declared.");
    }
    let of = |severity: Severity| {
        let number = audit
            .findings
            .iter()
            .filter(|one| one.severity == severity)
            .count();
        (number > 0).then(|| format!("{number} {}", severity.word()))
    };
    let by: Vec<String> = [Severity::High, Severity::Medium, Severity::Low]
        .into_iter()
        .filter_map(of)
        .collect();
    let findings = count(audit.findings.len(), "finding");
    format!(
        "{findings}: {}.{accepted}{unread} {fine} as declared.",
        by.join(", ")
    )
}

#[derive(Serialize)]
struct AuditJson<'a> {
    format_version: &'static str,
    tool_version: &'static str,
    environment: &'a str,
    project: &'a str,
    target: &'a str,
    findings: Vec<FindingJson<'a>>,
    accepted: Vec<AcceptedJson<'a>>,
    expired: Vec<ExceptionJson<'a>>,
    unused: Vec<ExceptionJson<'a>>,
    unread: Vec<UnreadJson<'a>>,
    as_declared: usize,
    notes: &'a [String],
    exit_codes: Vec<u8>,
}

#[derive(Serialize)]
struct FindingJson<'a> {
    id: &'a str,
    kind: &'a str,
    severity: &'static str,
    message: &'a str,
    todo: &'a str,
    origin: Option<String>,
    drift: Option<DriftJson<'a>>,
}

#[derive(Serialize)]
struct DriftJson<'a> {
    resource: &'a str,
    field: Option<&'a str>,
    found: Option<&'a str>,
    wanted: Option<&'a str>,
    moved: &'static str,
    since: Option<String>,
    since_exact: bool,
}

#[derive(Serialize)]
struct AcceptedJson<'a> {
    finding: FindingJson<'a>,
    exception: ExceptionJson<'a>,
}

#[derive(Serialize)]
struct ExceptionJson<'a> {
    id: &'a str,
    reason: &'a str,
    until: String,
    origin: String,
}

#[derive(Serialize)]
struct UnreadJson<'a> {
    what: &'a str,
    why: &'a str,
}

/// Findings as JSON.
pub fn json(head: &Head<'_>, audit: &Audit) -> String {
    let mut exit_codes: Vec<u8> = audit.kinds().iter().map(|kind| kind.code()).collect();
    if exit_codes.is_empty() {
        exit_codes.push(0);
    }
    let json = AuditJson {
        format_version: FORMAT,
        tool_version: env!("CARGO_PKG_VERSION"),
        environment: head.environment,
        project: head.project,
        target: head.target,
        findings: audit.findings.iter().map(finding).collect(),
        accepted: audit
            .accepted
            .iter()
            .map(|(one, accepting)| AcceptedJson {
                finding: finding(one),
                exception: exception(accepting),
            })
            .collect(),
        expired: audit.expired.iter().map(exception).collect(),
        unused: audit.unused.iter().map(exception).collect(),
        unread: audit
            .unread
            .iter()
            .map(|(what, why)| UnreadJson { what, why })
            .collect(),
        as_declared: audit.fine.len(),
        notes: head.notes,
        exit_codes,
    };
    // Only maps with keys that are no strings can fail here, and there are none.
    let text = serde_json::to_string_pretty(&json).unwrap_or_default();
    format!("{}\n", harmless(&text))
}

fn finding(finding: &Finding) -> FindingJson<'_> {
    let drift = finding.drift.as_ref().map(|drift| {
        let (seconds, exact) = match drift.since {
            Some(Since::At(seconds)) => (Some(seconds), true),
            Some(Since::After(seconds)) => (Some(seconds), false),
            None => (None, false),
        };
        let time = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
        DriftJson {
            resource: drift.resource.as_str(),
            field: drift.field.as_deref(),
            found: drift.found.as_deref(),
            wanted: drift.wanted.as_deref(),
            moved: drift.moved.word(),
            since: time.map(|time| time.to_string()),
            since_exact: exact,
        }
    });
    FindingJson {
        id: &finding.id,
        kind: finding.kind(),
        severity: finding.severity.word(),
        message: &finding.says,
        todo: &finding.todo,
        origin: (!finding.origin.is_none()).then(|| finding.origin.to_string()),
        drift,
    }
}

fn exception(exception: &Exception) -> ExceptionJson<'_> {
    ExceptionJson {
        id: &exception.id,
        reason: &exception.reason,
        until: exception.until.to_string(),
        origin: exception.origin.to_string(),
    }
}

/// Findings as JUnit: a test case for every finding, every resource that is as declared, and all that could not be read.
pub fn junit(head: &Head<'_>, audit: &Audit) -> String {
    let mut cases = String::new();
    for finding in &audit.findings {
        let body = format!("{}\n{}", clean(&sentence(finding)), clean(&finding.todo));
        let body = match finding.origin.is_none() {
            true => body,
            false => format!("{body}\n{}", clean(&finding.origin.to_string())),
        };
        cases.push_str(&format!(
            "    <testcase classname=\"{}\" name=\"{}\">\n      <failure type=\"{}\" message=\"{}\">{}</failure>\n    </testcase>\n",
            xml(finding.kind()),
            xml(&finding.id),
            finding.severity.word(),
            xml(&finding.says),
            body.split('\n').map(xml).collect::<Vec<_>>().join("\n")
        ));
    }
    for (what, why) in &audit.unread {
        cases.push_str(&format!(
            "    <testcase classname=\"unread\" name=\"{}\">\n      <error type=\"unread\" message=\"{}\"/>\n    </testcase>\n",
            xml(what),
            xml(why)
        ));
    }
    for (finding, exception) in &audit.accepted {
        let why = format!("accepted until {}: {}", exception.until, exception.reason);
        cases.push_str(&format!(
            "    <testcase classname=\"{}\" name=\"{}\">\n      <skipped message=\"{}\"/>\n    </testcase>\n",
            xml(finding.kind()),
            xml(&finding.id),
            xml(&why)
        ));
    }
    for id in &audit.fine {
        let (kind, id) = (xml(id.kind()), xml(id.as_str()));
        cases.push_str(&format!(
            "    <testcase classname=\"{kind}\" name=\"{id}\"/>\n"
        ));
    }
    let counts = format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\"",
        audit.findings.len() + audit.unread.len() + audit.accepted.len() + audit.fine.len(),
        audit.findings.len(),
        audit.unread.len(),
        audit.accepted.len()
    );
    let name = xml(&format!("audit {} {}", head.project, head.environment));
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"provision\" {counts}>\n  <testsuite name=\"{name}\" {counts}>\n{cases}  </testsuite>\n</testsuites>\n"
    )
}

/// Text for XML, on one line.
fn xml(text: &str) -> String {
    junit::escape(&clean(text))
}

/// Findings as SARIF 2.1.0.
pub fn sarif(head: &Head<'_>, audit: &Audit) -> String {
    let accepted = audit.accepted.iter().map(|(finding, _)| finding);
    let mut kinds: Vec<&str> = audit
        .findings
        .iter()
        .chain(accepted)
        .map(Finding::kind)
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    let rules: Vec<Value> = kinds
        .iter()
        .map(|kind| json!({ "id": kind, "shortDescription": { "text": kind.replace('_', " ") } }))
        .collect();
    let mut results: Vec<Value> = audit.findings.iter().map(|one| result(one, None)).collect();
    results.extend(
        audit
            .accepted
            .iter()
            .map(|(one, why)| result(one, Some(why))),
    );
    let unread: Vec<Value> = audit
        .unread
        .iter()
        .map(|(what, why)| json!({ "level": "error", "message": { "text": format!("{what}: {why}") } }))
        .collect();
    let sarif = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "provision", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "automationDetails": { "id": format!("provision/{}/{}", head.project, head.environment) },
            "columnKind": "unicodeCodePoints",
            "invocations": [{
                "executionSuccessful": audit.unread.is_empty(),
                "toolExecutionNotifications": unread,
            }],
            "results": results,
        }],
    });
    format!("{}\n", harmless(&format!("{sarif:#}")))
}

fn result(finding: &Finding, accepted: Option<&Exception>) -> Value {
    let level = match finding.severity {
        Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low => "note",
    };
    let mut location =
        json!({ "logicalLocations": [{ "fullyQualifiedName": finding.id, "kind": "resource" }] });
    if let Some(physical) = physical(&finding.origin)
        && let Some(members) = location.as_object_mut()
    {
        members.insert("physicalLocation".to_owned(), physical);
    }
    let text = format!("{}. {}.", sentence(finding), finding.todo);
    let moved = finding.drift.as_ref().map(|drift| drift.moved);
    let mut result = json!({
        "ruleId": finding.kind(),
        "level": level,
        "message": { "text": text },
        "locations": [location],
        "partialFingerprints": { "id/v1": finding.id },
        "properties": { "severity": finding.severity.word(), "moved": moved.map(Moved::word) },
    });
    if let (Some(exception), Some(members)) = (accepted, result.as_object_mut()) {
        let why = format!("{} (until {})", exception.reason, exception.until);
        members.insert(
            "suppressions".to_owned(),
            json!([{ "kind": "external", "status": "accepted", "justification": why }]),
        );
    }
    result
}

fn physical(origin: &Origin) -> Option<Value> {
    let source = origin.source()?;
    let (line, column) = (origin.line()?, origin.column()?);
    Some(json!({
        "artifactLocation": { "uri": uri(&source.path) },
        "region": { "startLine": line, "startColumn": column },
    }))
}

/// A path as a URI reference.
fn uri(path: &str) -> String {
    let mut out = String::new();
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    match out.starts_with('/') {
        true => format!("file://{out}"),
        false => out,
    }
}
