//! What came of the checks of `verify`: for people, programs and build servers.

use std::time::Duration;

use serde::Serialize;

use crate::checks::{Check, Verdict};
use crate::error::Kind;
use crate::show::{Paint, clean, count, duration, junit, pad};

/// The version of the JSON's shape.
pub const FORMAT: &str = "1.0";

/// A check and what came of it.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The check.
    pub check: Check,
    /// What came of it.
    pub verdict: Verdict,
    /// How long it took.
    pub took: Duration,
}

/// All checks of an environment.
#[derive(Debug)]
pub struct Verified<'a> {
    /// The environment's name.
    pub environment: &'a str,
    /// Its project.
    pub project: &'a str,
    /// What it is applied to, for people.
    pub target: &'a str,
    /// The checks, in their order.
    pub checks: &'a [Checked],
    /// How long it all took.
    pub took: Duration,
    /// The bad ends that hold.
    pub kinds: &'a [Kind],
}

impl Verified<'_> {
    fn count(&self, is: fn(&Verdict) -> bool) -> usize {
        self.checks.iter().filter(|one| is(&one.verdict)).count()
    }

    fn fine(&self) -> usize {
        self.count(|verdict| *verdict == Verdict::Fine)
    }

    fn failed(&self) -> usize {
        self.count(|verdict| matches!(verdict, Verdict::Failed(_)))
    }

    fn skipped(&self) -> usize {
        self.count(|verdict| matches!(verdict, Verdict::Skipped(_)))
    }
}

/// A line a check, why under those that failed or were skipped, and the sum.
pub fn table(verified: &Verified<'_>, paint: Paint) -> String {
    let mut out = format!(
        "{} {}, {}\n\n",
        clean(verified.project),
        paint.bold(&clean(verified.environment)),
        clean(verified.target)
    );
    let width = |of: fn(&Checked) -> String| {
        let lengths = verified.checks.iter().map(|one| of(one).chars().count());
        lengths.max().unwrap_or(0)
    };
    let says = |one: &Checked| clean(&one.check.says);
    let way = |one: &Checked| clean(&one.check.way);
    let (says_width, way_width) = (width(says), width(way));
    for one in verified.checks {
        let (word, why) = match &one.verdict {
            Verdict::Fine => (paint.green("ok     "), None),
            Verdict::Failed(why) => (paint.red("failed "), Some(why)),
            Verdict::Skipped(why) => (paint.yellow("skipped"), Some(why)),
        };
        let line = format!(
            "{}  {}",
            pad(&says(one), says_width),
            paint.dim(&pad(&way(one), way_width))
        );
        let took = format!("{} ms", one.took.as_millis());
        out.push_str(&format!(
            "{word}  {line}  {}\n",
            paint.dim(&format!("{took:>8}"))
        ));
        if let Some(why) = why {
            let origin = match one.check.origin.is_none() {
                true => String::new(),
                false => format!("  {}", paint.dim(&one.check.origin.short())),
            };
            out.push_str(&format!("         {}{origin}\n", clean(why)));
            out.push_str(&format!("         {}\n", paint.dim(&clean(&one.check.id))));
        }
    }
    let mut parts = vec![format!("{} ok", verified.fine())];
    if verified.failed() > 0 {
        parts.push(paint.red(&format!("{} failed", verified.failed())));
    }
    if verified.skipped() > 0 {
        parts.push(paint.yellow(&format!("{} skipped", verified.skipped())));
    }
    out.push_str(&format!(
        "\n{} in {}: {}.\n",
        count(verified.checks.len(), "check"),
        duration(verified.took),
        parts.join(", ")
    ));
    if verified.failed() > 0 {
        let environment = clean(verified.environment);
        out.push_str(&format!(
            "`provision plan {environment}` says what differs from the file, `provision apply {environment}` mends that.\n"
        ));
    }
    out
}

#[derive(Serialize)]
struct VerifiedJson<'a> {
    format_version: &'static str,
    tool_version: &'static str,
    environment: &'a str,
    project: &'a str,
    target: &'a str,
    checks: Vec<CheckJson<'a>>,
    summary: SummaryJson,
    seconds: f64,
    exit_codes: Vec<u8>,
}

#[derive(Serialize)]
struct CheckJson<'a> {
    id: &'a str,
    service: &'a str,
    says: &'a str,
    way: &'a str,
    status: &'static str,
    why: Option<&'a str>,
    origin: String,
    seconds: f64,
}

#[derive(Serialize)]
struct SummaryJson {
    checks: usize,
    ok: usize,
    failed: usize,
    skipped: usize,
}

/// One object.
pub fn json(verified: &Verified<'_>) -> String {
    let checks = verified.checks.iter().map(|one| {
        let (status, why) = match &one.verdict {
            Verdict::Fine => ("ok", None),
            Verdict::Failed(why) => ("failed", Some(why.as_str())),
            Verdict::Skipped(why) => ("skipped", Some(why.as_str())),
        };
        CheckJson {
            id: &one.check.id,
            service: &one.check.service,
            says: &one.check.says,
            way: &one.check.way,
            status,
            why,
            origin: one.check.origin.short(),
            seconds: seconds(one.took),
        }
    });
    let mut exit_codes: Vec<u8> = verified.kinds.iter().map(|kind| kind.code()).collect();
    exit_codes.sort_unstable();
    exit_codes.dedup();
    let whole = VerifiedJson {
        format_version: FORMAT,
        tool_version: env!("CARGO_PKG_VERSION"),
        environment: verified.environment,
        project: verified.project,
        target: verified.target,
        checks: checks.collect(),
        summary: SummaryJson {
            checks: verified.checks.len(),
            ok: verified.fine(),
            failed: verified.failed(),
            skipped: verified.skipped(),
        },
        seconds: seconds(verified.took),
        exit_codes,
    };
    // Texts and numbers only: that cannot fail.
    let mut text = serde_json::to_string_pretty(&whole).unwrap_or_default();
    text.push('\n');
    text
}

fn seconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 1000.0).round() / 1000.0
}

/// JUnit's XML.
pub fn junit(verified: &Verified<'_>) -> String {
    let cases = verified.checks.iter().map(|one| junit::Case {
        class: &one.check.service,
        name: &one.check.id,
        says: &one.check.says,
        took: one.took,
        outcome: match &one.verdict {
            Verdict::Fine => junit::Outcome::Passed,
            Verdict::Failed(why) => junit::Outcome::Failed(why),
            Verdict::Skipped(why) => junit::Outcome::Skipped(why),
        },
    });
    let cases: Vec<_> = cases.collect();
    let name = format!("verify {}", verified.environment);
    junit::render(&name, &cases, verified.took)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Does;
    use crate::declaration::Origin;

    fn checked(id: &str, verdict: Verdict) -> Checked {
        Checked {
            check: Check {
                id: id.to_owned(),
                service: "postgres.analytics".to_owned(),
                says: "`u` can log in to `d`".to_owned(),
                way: "127.0.0.1:15432".to_owned(),
                origin: Origin::NONE,
                does: Does::Nothing(String::new()),
            },
            verdict,
            took: Duration::from_millis(12),
        }
    }

    fn with<T>(then: impl Fn(&Verified<'_>) -> T) -> T {
        let checks = [
            checked("login.analytics:u/d", Verdict::Fine),
            checked("a", Verdict::Failed("no\x1b[2J]]> & <b>".to_owned())),
            checked("b", Verdict::Skipped("later".to_owned())),
        ];
        then(&Verified {
            environment: "local",
            project: "iact",
            target: "this machine",
            checks: &checks,
            took: Duration::from_millis(34),
            kinds: &[Kind::Unhealthy],
        })
    }

    #[test]
    fn a_check_is_a_line_and_why_is_under_it() {
        assert_eq!(
            with(|verified| table(verified, Paint::default())),
            "\
iact local, this machine

ok       `u` can log in to `d`  127.0.0.1:15432     12 ms
failed   `u` can log in to `d`  127.0.0.1:15432     12 ms
         no\\x1b[2J]]> & <b>
         a
skipped  `u` can log in to `d`  127.0.0.1:15432     12 ms
         later
         b

3 checks in 0.0 s: 1 ok, 1 failed, 1 skipped.
`provision plan local` says what differs from the file, `provision apply local` mends that.
"
        );
    }

    #[test]
    fn a_program_finds_what_failed() {
        let text = with(json);
        let value: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
        assert_eq!(value["checks"][1]["status"], "failed");
        assert_eq!(value["summary"]["ok"], 1);
        assert_eq!(value["exit_codes"], serde_json::json!([9]));
    }

    #[test]
    fn nothing_ends_the_xml_early() {
        let text = with(junit);
        assert!(
            text.contains("failures=\"1\"") && text.contains("skipped=\"1\""),
            "{text}"
        );
        assert!(text.contains("no\\x1b[2J]]&gt; &amp; &lt;b&gt;"), "{text}");
    }
}
