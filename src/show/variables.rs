//! Variables for a program on the operator's machine: for `eval`, or as a `.env` file.

/// A variable's name that every shell takes.
pub fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// `export NAME='value'`: inside single quotes every POSIX shell takes each byte as it is.
///
/// # Errors
/// Why the value cannot be carried.
pub fn export(name: &str, value: &str) -> Result<String, String> {
    if value.contains('\0') {
        return Err(format!(
            "the value of `{name}` holds a NUL, which no variable can"
        ));
    }
    Ok(format!(
        "export {name}='{}'\n",
        value.replace('\'', r"'\''")
    ))
}

/// `NAME='value'`, as python-dotenv, django-environ and Compose read it alike.
///
/// # Errors
/// Why they would not: the readers disagree about some characters, and then a value is refused rather than changed.
pub fn dotenv(name: &str, value: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./:@%+,=-".contains(c);
    if value.chars().all(plain) {
        return Ok(format!("{name}={value}\n"));
    }
    let why = if value.contains(['\0', '\n', '\r']) {
        "a line break or NUL"
    } else if value.contains("${") || value.starts_with('$') {
        "a `$` that some readers expand"
    } else if value.contains('\'') || value.contains('\\') {
        "a quote or backslash that its readers treat differently"
    } else {
        return Ok(format!("{name}='{value}'\n"));
    };
    Err(format!(
        "the value of `{name}` holds {why}, so it cannot stand in a `.env` file"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_or_refused() {
        assert_eq!(
            export("A", "it's $HOME\n").as_deref(),
            Ok("export A='it'\\''s $HOME\n'\n")
        );
        assert_eq!(dotenv("A", "127.0.0.1").as_deref(), Ok("A=127.0.0.1\n"));
        assert_eq!(dotenv("A", "a b#c").as_deref(), Ok("A='a b#c'\n"));
        assert!(dotenv("A", "it's").is_err());
        assert!(dotenv("A", "x${HOME}").is_err());
        assert!(is_name("DJANGO_DB_HOST") && !is_name("1A") && !is_name("A;rm"));
    }
}
