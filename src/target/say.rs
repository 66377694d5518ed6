//! Words of a machine, made fit to be shown.

/// A text of a machine on one line, control and direction characters escaped, at most `most` characters.
pub(super) fn clean(text: &str, most: usize) -> String {
    let mut shown = String::new();
    for (count, c) in text.trim().chars().enumerate() {
        if count >= most {
            shown.push('…');
            break;
        }
        match c {
            '\n' | '\r' | '\t' => shown.push(' '),
            c if c.is_control() || is_invisible(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

/// The same for a line whose indentation tells something.
pub(super) fn clean_line(line: &str, most: usize) -> String {
    let indent = line.len() - line.trim_start().len();
    // A tab indents as far as it does in most editors.
    let indent: usize = line[..indent]
        .chars()
        .map(|c| if c == '\t' { 8 } else { 1 })
        .sum();
    format!("{}{}", " ".repeat(indent.min(most)), clean(line, most))
}

/// A text without the sequences that colour it on a terminal.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, sequence)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        let parameters = sequence.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        match parameters.strip_prefix('m') {
            Some(after) => rest = after,
            None => {
                plain.push_str("\u{1b}[");
                rest = sequence;
            }
        }
    }
    plain.push_str(rest);
    plain
}

/// The lines of a text that say something.
fn lines(text: &str) -> Vec<String> {
    let text = plain(text);
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(str::to_owned).collect()
}

/// The last lines of a text that say something, each short and fit to be part of a sentence.
pub(super) fn last_words(text: &str, most: usize) -> Vec<String> {
    let lines = lines(text);
    let from = lines.len().saturating_sub(most);
    lines
        .iter()
        .skip(from)
        .map(|line| clean(line, 400))
        .collect()
}

/// The end of a log: its last `most` lines whole and with their indentation, fit to be shown. Where others stand before them the first
/// line says how many, and what shows `all` of them, if anything does. `begun` says that the text itself is only the end of a log.
pub(super) fn tail(text: &str, most: usize, begun: bool, all: Option<&str>) -> Vec<String> {
    let lines = lines(text);
    let from = lines.len().saturating_sub(most);
    let shown = lines
        .iter()
        .skip(from)
        .map(|line| clean_line(line, LONGEST));
    let before = match (from, begun) {
        (0, false) => None,
        (0, true) => Some("more lines stand before these".to_owned()),
        (1, false) => Some("1 line stands before these".to_owned()),
        (from, false) => Some(format!("{from} lines stand before these")),
        (from, true) => Some(format!("at least {from} lines stand before these")),
    };
    let before = before.map(|before| match all {
        Some(all) => format!("({before}; all of them: {all})"),
        None => format!("({before})"),
    });
    before.into_iter().chain(shown).collect()
}

/// No line of a log is longer than this, in characters.
const LONGEST: usize = 4_000;

/// Characters that change how the text around them is shown.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{061C}')
}

/// 128 random bits as hex: what frames an answer, so that nothing inside it can end it.
pub(super) fn nonce() -> Result<String, String> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| format!("no random numbers: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_character_gets_through() {
        let shown = clean("a\x1b[31m\u{9b}2J\r\nb\u{202e}c\u{7}", 100);
        assert_eq!(shown, "a\\u{1b}[31m\\u{9b}2J  b\\u{202e}c\\u{7}");
        assert_eq!(clean("abcdef", 3), "abc…");
        assert_eq!(plain("\x1b[91ma\x1b[0m\x1b[2Jb\x1b["), "a\x1b[2Jb\x1b[");
    }

    #[test]
    fn a_log_ends_as_it_stands() {
        let log = "one\ntwo\n\n  File \"a.py\", line 1\n\tcause()\nKeyError: 'X'\n";
        let shown = tail(log, 3, false, Some("`docker logs abc`"));
        assert_eq!(
            shown,
            [
                "(2 lines stand before these; all of them: `docker logs abc`)",
                "  File \"a.py\", line 1",
                "        cause()",
                "KeyError: 'X'"
            ]
        );
        assert_eq!(tail(log, 9, false, None).first().unwrap(), "one");
        let cut = tail(log, 1, true, None);
        assert_eq!(
            cut,
            ["(at least 4 lines stand before these)", "KeyError: 'X'"]
        );
        let long = format!("a\n{}", "x".repeat(3_000));
        assert_eq!(tail(&long, 5, false, None).last().unwrap().len(), 3_000);
    }
}
