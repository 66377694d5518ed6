//! Results as JUnit's XML, which build servers read.

use std::fmt::Write as _;
use std::time::Duration;

use crate::show::is_hostile;

/// What came of a case.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'a> {
    /// It is well.
    Passed,
    /// It is not, and why.
    Failed(&'a str),
    /// It was not tried, and why.
    Skipped(&'a str),
}

/// One case.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// What it is about.
    pub class: &'a str,
    /// Its name, the same in every run.
    pub name: &'a str,
    /// What it expects, for people.
    pub says: &'a str,
    /// How long it took.
    pub took: Duration,
    /// What came of it.
    pub outcome: Outcome<'a>,
}

/// One suite with its cases.
pub fn render(name: &str, cases: &[Case<'_>], took: Duration) -> String {
    let count = |is: fn(&Outcome<'_>) -> bool| cases.iter().filter(|c| is(&c.outcome)).count();
    let failed = count(|outcome| matches!(outcome, Outcome::Failed(_)));
    let skipped = count(|outcome| matches!(outcome, Outcome::Skipped(_)));
    let counts = format!(
        "tests=\"{}\" failures=\"{failed}\" errors=\"0\" skipped=\"{skipped}\" time=\"{}\"",
        cases.len(),
        seconds(took)
    );
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(out, "<testsuites name=\"provision\" {counts}>");
    let _ = writeln!(out, "  <testsuite name=\"{}\" {counts}>", escape(name));
    for case in cases {
        let _ = write!(
            out,
            "    <testcase classname=\"{}\" name=\"{}\" time=\"{}\"",
            escape(case.class),
            escape(case.name),
            seconds(case.took)
        );
        match case.outcome {
            Outcome::Passed => out.push_str("/>\n"),
            Outcome::Failed(why) => {
                let _ = write!(
                    out,
                    ">\n      <failure message=\"{0}\">{1}: {0}</failure>\n    </testcase>\n",
                    escape(why),
                    escape(case.says)
                );
            }
            Outcome::Skipped(why) => {
                let _ = write!(
                    out,
                    ">\n      <skipped message=\"{}\"/>\n    </testcase>\n",
                    escape(why)
                );
            }
        }
    }
    out.push_str("  </testsuite>\n</testsuites>\n");
    out
}

fn seconds(took: Duration) -> String {
    format!("{:.3}", took.as_secs_f64())
}

/// Text for an attribute or between tags. What XML 1.0 cannot hold at all is spelled out.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            c if is_hostile(c) || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                let _ = match u32::from(c) {
                    code @ ..0x100 => write!(out, "\\x{code:02x}"),
                    code => write!(out, "\\u{{{code:x}}}"),
                };
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_a_text_or_is_no_xml() {
        assert_eq!(
            escape("a<b>&\"'\u{0}\u{1b}\n\u{9b}\u{202e}\u{ffff}]]>"),
            "a&lt;b&gt;&amp;&quot;&apos;\\x00\\x1b\\x0a\\x9b\\u{202e}\\u{ffff}]]&gt;"
        );
    }

    #[test]
    fn a_suite_counts_its_cases() {
        let case = |outcome| Case {
            class: "postgres.a",
            name: "login",
            says: "it can log in",
            took: Duration::from_millis(5),
            outcome,
        };
        let cases = [
            case(Outcome::Passed),
            case(Outcome::Failed("refused")),
            case(Outcome::Skipped("later")),
        ];
        assert_eq!(
            render("verify local", &cases, Duration::from_millis(1234)),
            "\
<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<testsuites name=\"provision\" tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"1\" time=\"1.234\">
  <testsuite name=\"verify local\" tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"1\" time=\"1.234\">
    <testcase classname=\"postgres.a\" name=\"login\" time=\"0.005\"/>
    <testcase classname=\"postgres.a\" name=\"login\" time=\"0.005\">
      <failure message=\"refused\">it can log in: refused</failure>
    </testcase>
    <testcase classname=\"postgres.a\" name=\"login\" time=\"0.005\">
      <skipped message=\"later\"/>
    </testcase>
  </testsuite>
</testsuites>
"
        );
    }
}
