//! Command lines in words, as a shell splits them.

/// A command line in words; none where a quote is open.
pub(super) fn split(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '"' => break,
                        '\\' => match chars.next()? {
                            c @ ('"' | '\\' | '$' | '`') => word.push(c),
                            '\n' => {}
                            c => word.extend(['\\', c]),
                        },
                        c => word.push(c),
                    }
                }
            }
            '\\' => match chars.next() {
                Some('\n') | None => {}
                Some(c) => word.get_or_insert_default().push(c),
            },
            c if c.is_whitespace() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Some(words)
}

/// The simple commands of a line, as `&&`, `||`, `;` and the end of a line divide it.
pub(super) fn commands(line: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut one = String::new();
    let mut quote = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) => {
                one.push(c);
                if c == '\\' && open == '"' {
                    one.extend(chars.next());
                } else if c == open {
                    quote = None;
                }
            }
            (None, '\'' | '"') => {
                quote = Some(c);
                one.push(c);
            }
            (None, '\\') => {
                match chars.next() {
                    Some('\n') => one.push(' '),
                    Some(next) => one.extend(['\\', next]),
                    None => {}
                };
            }
            (None, ';' | '\n') => all.push(std::mem::take(&mut one)),
            (None, '&' | '|') if chars.peek() == Some(&c) => {
                chars.next();
                all.push(std::mem::take(&mut one));
            }
            (None, c) => one.push(c),
        }
    }
    all.push(one);
    all.into_iter()
        .map(|one| one.trim().to_owned())
        .filter(|one| !one.is_empty() && !one.starts_with('#'))
        .collect()
}

/// The commands of a program's words: what stands in `sh -c '...'`, or the words themselves.
pub(super) fn unwrapped(words: &[String]) -> Vec<Vec<String>> {
    let program = |word: &String| word.rsplit('/').next().unwrap_or_default().to_owned();
    let shell = words
        .first()
        .is_some_and(|word| matches!(program(word).as_str(), "sh" | "bash" | "ash" | "dash"));
    let script = words
        .iter()
        .position(|word| word.starts_with('-') && !word.starts_with("--") && word.ends_with('c'))
        .filter(|_| shell)
        .and_then(|at| words.get(at + 1));
    match script {
        None => vec![words.to_vec()],
        Some(script) => commands(script)
            .iter()
            .filter_map(|one| split(one))
            .map(|mut words| {
                if words.first().is_some_and(|word| word == "exec") {
                    words.remove(0);
                }
                words
            })
            .filter(|words| !words.is_empty())
            .collect(),
    }
}

/// The value of an option, as `--name value`, `--name=value`, `-n value` or `-nvalue`.
pub(super) fn option<'a>(words: &'a [String], names: &[&str]) -> Option<&'a str> {
    words.iter().enumerate().find_map(|(at, word)| {
        names.iter().find_map(|name| {
            if word == name {
                return words.get(at + 1).map(String::as_str);
            }
            let rest = word.strip_prefix(name)?;
            match name.starts_with("--") {
                true => rest.strip_prefix('='),
                false => Some(rest),
            }
        })
    })
}

/// What a command is called when it is told of: its program, and of `manage.py` the command. No other word, since any may be a secret.
pub(super) fn program(words: &[String]) -> String {
    let plain = |word: &&String| !word.contains('=');
    let mut rest = words.iter().filter(plain);
    let name = |word: &str| {
        let last = word.rsplit('/').next().unwrap_or_default();
        let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        match !last.is_empty() && last.len() <= 40 && last.chars().all(good) {
            true => last.to_owned(),
            false => "...".to_owned(),
        }
    };
    let Some(first) = rest.next() else {
        return "...".to_owned();
    };
    let manage = words.iter().position(|word| word.ends_with("manage.py"));
    match manage.and_then(|at| words.get(at + 1)) {
        Some(command) => format!("manage.py {}", name(command)),
        None => name(first),
    }
}

/// The name of an option, without its value; a word that is none is not told.
pub(super) fn option_name(word: &str) -> String {
    let name = word.split('=').next().unwrap_or_default();
    let good = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    match name.starts_with('-') && name.len() <= 40 && name.chars().all(good) {
        true => name.to_owned(),
        false => "a word".to_owned(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn words_are_as_a_shell_has_them() {
        assert_eq!(
            split(r#"a 'b c' "d \"e" f\ g"#).unwrap(),
            ["a", "b c", "d \"e", "f g"]
        );
        assert!(split("a 'b").is_none());
        assert_eq!(
            commands("a && b 'x && y'; c \\\n d\n# no\ne || f"),
            ["a", "b 'x && y'", "c   d", "e", "f"]
        );
    }

    #[test]
    fn a_shell_is_unwrapped() {
        let words =
            split("bash -lc 'python manage.py migrate && exec gunicorn -w 3 a.wsgi'").unwrap();
        let commands = unwrapped(&words);
        assert_eq!(commands[1], ["gunicorn", "-w", "3", "a.wsgi"]);
        assert_eq!(option(&commands[1], &["-w", "--workers"]), Some("3"));
        assert_eq!(
            option(&["--workers=4".to_owned()], &["-w", "--workers"]),
            Some("4")
        );
        assert_eq!(option(&["-w4".to_owned()], &["-w", "--workers"]), Some("4"));
    }
}
