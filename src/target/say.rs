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

/// Lines of a log, each made fit to be shown, the last `most` of them.
pub(super) fn last_lines(text: &str, most: usize) -> Vec<String> {
    let text = plain(text);
    let lines: Vec<_> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let from = lines.len().saturating_sub(most);
    lines
        .iter()
        .skip(from)
        .map(|line| clean(line, 400))
        .collect()
}

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
}
