//! What is there and what is missing on this machine, one line each.

use crate::show::{Paint, clean, pad};

/// How a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// It is as it should be.
    Fine,
    /// It is missing, and some things will not work or will be slower.
    Lacking,
    /// It is missing, and nothing works without it.
    Broken,
}

/// One thing that was looked at.
#[derive(Clone, Debug)]
pub struct Finding {
    /// How it weighs.
    pub weight: Weight,
    /// What was looked at, in a word or two.
    pub what: String,
    /// What was found.
    pub found: String,
    /// How to mend it.
    pub mend: Option<String>,
}

impl Finding {
    /// Something that is as it should be.
    pub fn fine(what: impl Into<String>, found: impl Into<String>) -> Self {
        Finding {
            weight: Weight::Fine,
            what: what.into(),
            found: found.into(),
            mend: None,
        }
    }

    /// Something that is not, and how to mend it.
    pub fn bad(
        weight: Weight,
        what: impl Into<String>,
        found: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Finding {
            weight,
            mend: Some(mend.into()),
            ..Finding::fine(what, found)
        }
    }
}

/// All findings and what they mean together.
pub fn render(findings: &[Finding], paint: Paint) -> String {
    let width = findings
        .iter()
        .map(|finding| clean(&finding.what).chars().count())
        .max()
        .unwrap_or(0);
    let mut out = String::new();
    for finding in findings {
        let word = match finding.weight {
            Weight::Fine => paint.green("ok     "),
            Weight::Lacking => paint.yellow("lacking"),
            Weight::Broken => paint.red("missing"),
        };
        let what = pad(&clean(&finding.what), width);
        out.push_str(&format!("{word}  {what}  {}\n", clean(&finding.found)));
        if let Some(mend) = &finding.mend {
            let indent = " ".repeat(width + 11);
            out.push_str(&format!(
                "{indent}{}: {}\n",
                paint.cyan("help"),
                clean(mend)
            ));
        }
    }
    let broken = findings
        .iter()
        .filter(|f| f.weight == Weight::Broken)
        .count();
    out.push_str(match broken {
        0 => "\nAll that is needed is there.\n",
        1 => "\nOne thing that is needed is missing.\n",
        _ => "\nSome things that are needed are missing.\n",
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_says_how_to_mend_it() {
        let findings = [
            Finding::fine("engine", "Docker engine at /var/run/docker.sock"),
            Finding::bad(
                Weight::Lacking,
                "ssh",
                "not found",
                "apt install openssh-client",
            ),
        ];
        assert_eq!(
            render(&findings, Paint::default()),
            "\
ok       engine  Docker engine at /var/run/docker.sock
lacking  ssh     not found
                 help: apt install openssh-client

All that is needed is there.
"
        );
    }
}
