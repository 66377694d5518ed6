//! Every word and colour the user reads, as strings: nothing here writes them anywhere.

pub mod adopt;
pub mod audit;
pub mod doctor;
pub mod explain;
pub mod failure;
pub mod import;
pub mod init;
pub mod json;
pub mod junit;
pub mod markdown;
pub mod plan;
pub mod problems;
pub mod progress;
pub mod report;
pub mod review;
pub mod status;
pub mod table;
pub mod trust;
pub mod variables;
pub mod verify;

use std::time::Duration;

use anstyle::{AnsiColor, Color, Style};

/// Whether and how text is coloured.
#[derive(Clone, Copy, Debug, Default)]
pub struct Paint {
    /// Escape sequences are written.
    pub colour: bool,
}

impl Paint {
    fn put(self, style: Style, text: &str) -> String {
        if self.colour && !text.is_empty() {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }

    fn hue(self, colour: AnsiColor, text: &str) -> String {
        let style = Style::new().fg_color(Some(Color::Ansi(colour)));
        self.put(style, text)
    }

    /// What matters.
    pub fn bold(self, text: &str) -> String {
        self.put(Style::new().bold(), text)
    }

    /// What is there for who looks for it.
    pub fn dim(self, text: &str) -> String {
        self.put(Style::new().dimmed(), text)
    }

    /// Something is made, or well.
    pub fn green(self, text: &str) -> String {
        self.hue(AnsiColor::Green, text)
    }

    /// Something changes, or should be known.
    pub fn yellow(self, text: &str) -> String {
        self.hue(AnsiColor::Yellow, text)
    }

    /// Something goes, or is wrong.
    pub fn red(self, text: &str) -> String {
        self.hue(AnsiColor::Red, text)
    }

    /// Something cannot be told yet.
    pub fn cyan(self, text: &str) -> String {
        self.hue(AnsiColor::Cyan, text)
    }
}

/// Text that came from somewhere else, on one line and harmless to a terminal: control characters, and those that turn the
/// direction of writing, are spelled out.
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_hostile(c) && u32::from(c) < 0x100 => {
                out.push_str(&format!("\\x{:02x}", u32::from(c)));
            }
            c if is_hostile(c) => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// Whether a terminal might obey a character instead of showing it.
pub(crate) fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The same, cut to a number of characters.
pub(crate) fn short(text: &str, most: usize) -> String {
    let text = clean(text);
    if text.chars().count() <= most {
        return text;
    }
    let head: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{head}…")
}

/// Text with spaces after it up to a width in characters.
pub(crate) fn pad(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(text.chars().count());
    format!("{text}{}", " ".repeat(missing))
}

/// `1 change`, `4 changes`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    match (number, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
        (_, None) => format!("{number} {noun}s"),
    }
}

/// `0.3 s`, `2 min 05 s`.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    }
}

/// Names in backticks with commas between them, the rest of a long list counted.
pub(crate) fn names<T: AsRef<str>>(names: &[T], most: usize) -> String {
    let shown: Vec<_> = names
        .iter()
        .take(most)
        .map(|name| format!("`{}`", clean(name.as_ref())))
        .collect();
    let mut text = shown.join(", ");
    if names.len() > most {
        text.push_str(&format!(" and {} more", names.len() - most));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_elsewhere_moves_the_cursor() {
        assert_eq!(
            clean("a\x1b[2Jb\u{9b}31m\r\n\u{202e}c"),
            "a\\x1b[2Jb\\x9b31m\\r\\n\\u{202e}c"
        );
        assert_eq!(short("abcdef", 4), "abc…");
    }

    #[test]
    fn plurals_are_right() {
        assert_eq!(count(1, "change"), "1 change");
        assert_eq!(count(2, "change"), "2 changes");
        assert_eq!(count(0, "entry"), "0 entries");
    }
}
