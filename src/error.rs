//! What can go wrong, as messages to somebody: which file and line, which host, what it said, what to try next.

use std::fmt;

use crate::declaration::Origin;

/// Why a command does not end with 0. Each has one exit code, which scripts hold on to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Something failed, was declined, or was rolled back: 1.
    Failed,
    /// Differences were found and the caller asked to be told by the exit code: 2.
    Differs,
    /// A wrong environment file or usage, or nobody there to ask: 3.
    Usage,
    /// A machine or engine cannot be reached, trusted or read: 4.
    Unreachable,
    /// Another run holds the target: 5.
    Locked,
    /// A plan is stale, foreign or damaged: 6.
    Stale,
    /// A secret cannot be had: 7.
    Secret,
    /// Would destroy data, or lock us out, without the named flag: 8.
    Data,
    /// Applied, but not healthy: 9.
    Unhealthy,
    /// Interrupted: 130.
    Interrupted,
}

impl Kind {
    /// The exit code of the process.
    pub fn code(self) -> u8 {
        match self {
            Kind::Failed => 1,
            Kind::Differs => 2,
            Kind::Usage => 3,
            Kind::Unreachable => 4,
            Kind::Locked => 5,
            Kind::Stale => 6,
            Kind::Secret => 7,
            Kind::Data => 8,
            Kind::Unhealthy => 9,
            Kind::Interrupted => 130,
        }
    }

    /// Where several hold, the first in this order is the one the process ends with.
    fn rank(self) -> u8 {
        match self {
            Kind::Interrupted => 0,
            Kind::Stale => 1,
            Kind::Data => 2,
            Kind::Locked => 3,
            Kind::Secret => 4,
            Kind::Unreachable => 5,
            Kind::Usage => 6,
            Kind::Failed => 7,
            Kind::Unhealthy => 8,
            Kind::Differs => 9,
        }
    }

    /// The one that wins where several hold.
    pub fn strongest(kinds: impl IntoIterator<Item = Kind>) -> Option<Kind> {
        kinds.into_iter().min_by_key(|kind| kind.rank())
    }
}

/// How much a [`Problem`] weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The file cannot be used.
    Error,
    /// The file can be used, but somebody should know.
    Warning,
}

/// One mistake in an environment file: what, where, and what to try.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Error or warning.
    pub level: Level,
    /// One sentence without a full stop; never holds a secret.
    pub message: String,
    /// Where it stands.
    pub origin: Origin,
    /// A few words under the caret.
    pub label: String,
    /// What to try, as in ``did you mean `owner`?``.
    pub help: Option<String>,
    /// The line may hold a secret, so it is never echoed: only file, line and column are shown.
    pub secret: bool,
}

impl Problem {
    /// An error at a place.
    pub fn error(message: impl Into<String>, origin: &Origin) -> Self {
        Problem {
            level: Level::Error,
            message: message.into(),
            origin: origin.clone(),
            label: String::new(),
            help: None,
            secret: false,
        }
    }

    /// A warning at a place.
    pub fn warning(message: impl Into<String>, origin: &Origin) -> Self {
        Problem {
            level: Level::Warning,
            ..Problem::error(message, origin)
        }
    }

    /// The same with words under the caret.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// The same with something to try.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same, its line never echoed.
    pub fn secret(mut self) -> Self {
        self.secret = true;
        self
    }
}

/// A command's bad end: the kind that makes the exit code, what to say, and what to try next.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Makes the exit code.
    pub kind: Kind,
    /// What happened, in one sentence; never holds a secret.
    pub message: String,
    /// What to try next, one a line.
    pub hints: Vec<String>,
    /// The mistakes in files that led here, if any.
    pub problems: Vec<Problem>,
}

impl Failure {
    /// A failure with a message.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Failure {
            kind,
            message: message.into(),
            hints: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// The same with one more thing to try.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// A failure made of mistakes in files.
    pub fn problems(message: impl Into<String>, problems: Vec<Problem>) -> Self {
        Failure {
            problems,
            ..Failure::new(Kind::Usage, message)
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The one of some words that a mistyped one probably means.
pub fn nearest<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    let likeness = |other: &str| match other.eq_ignore_ascii_case(word) {
        true => 1.0,
        false => strsim::jaro_winkler(word, other),
    };
    words
        .into_iter()
        .map(|other| (likeness(other), other))
        .filter(|(likeness, _)| *likeness >= 0.8)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, other)| other)
}

/// A problem with the nearest of some words as something to try, where one is near: `` did you mean `owner`? ``.
pub fn did_you_mean<'a>(
    problem: Problem,
    word: &str,
    words: impl IntoIterator<Item = &'a str>,
) -> Problem {
    match nearest(word, words) {
        Some(nearest) => problem.help(format!("did you mean `{nearest}`?")),
        None => problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_mistake_is_guessed() {
        assert_eq!(nearest("lcoal", ["local", "prod"]), Some("local"));
        assert_eq!(nearest("zzz", ["local", "prod"]), None);
    }
}
