//! Mistakes in environment files, as people read them.

use crate::error::{Level, Problem};

/// Problems, one after the other.
pub fn render(problems: &[Problem], _colour: bool) -> String {
    let mut out = String::new();
    for problem in problems {
        let level = match problem.level {
            Level::Error => "error",
            Level::Warning => "warning",
        };
        out.push_str(&format!(
            "{level}: {}\n --> {}\n",
            problem.message, problem.origin
        ));
        if let Some(help) = &problem.help {
            out.push_str(&format!("  help: {help}\n"));
        }
    }
    out
}
