//! One encoder a target language: a value enters a text only through the one of its format, which quotes or refuses.

use crate::command::Dialect;

/// An SQL identifier: `"name"` for PostgreSQL, `` `name` `` for MariaDB.
pub fn identifier(dialect: Dialect, name: &str) -> String {
    match dialect {
        Dialect::Postgres => format!("\"{}\"", name.replace('"', "\"\"")),
        Dialect::MariaDb => format!("`{}`", name.replace('`', "``")),
    }
}

/// An SQL string literal, right whatever `standard_conforming_strings`, `sql_mode` or a psql variable say.
pub fn literal(dialect: Dialect, text: &str) -> String {
    match dialect {
        // `E''` reads a backslash the same everywhere; psql leaves `:name` alone inside quotes.
        Dialect::Postgres => format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''")),
        // Hexadecimal is the one form that NO_BACKSLASH_ESCAPES does not change; short plain words stay readable.
        Dialect::MariaDb
            if text
                .chars()
                .all(|c| c.is_ascii() && !c.is_ascii_control() && c != '\'' && c != '\\') =>
        {
            format!("'{text}'")
        }
        Dialect::MariaDb => {
            let hex: String = text.bytes().map(|byte| format!("{byte:02X}")).collect();
            format!("CONVERT(X'{hex}' USING utf8mb4)")
        }
    }
}

/// A database as `psql` takes it where a name or a connection string may stand: a name that it would read as a string becomes one.
pub fn psql_database(name: &str) -> String {
    let string =
        name.contains('=') || name.starts_with("postgres://") || name.starts_with("postgresql://");
    match string {
        true => format!(
            "dbname='{}'",
            name.replace('\\', "\\\\").replace('\'', "\\'")
        ),
        false => name.to_owned(),
    }
}

/// The command of `psql` that goes on in another database. In its double quotes everything means itself.
pub fn psql_connect(name: &str) -> String {
    let database = psql_database(name);
    let reuse = if database == name {
        ""
    } else {
        "-reuse-previous=on "
    };
    format!(
        "\\connect {reuse}{}\n",
        identifier(Dialect::Postgres, &database)
    )
}

/// A database name as MariaDB wants it in a grant on `database.*`: literal, so `_` and `%` are escaped.
pub fn grant_pattern(database: &str) -> String {
    let mut pattern = String::new();
    for c in database.chars() {
        if matches!(c, '_' | '%' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    identifier(Dialect::MariaDb, &pattern)
}

/// A word of a POSIX shell: bare where nothing in it means anything, else between single quotes.
pub fn word(text: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    if !text.is_empty() && text.chars().all(bare) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A path as a word of a POSIX shell: the home folder at its beginning stays one.
pub fn path(text: &str) -> String {
    match text.strip_prefix("~/") {
        Some(rest) => format!("~/{}", word(rest)),
        None => word(text),
    }
}

/// A value of a unit file of systemd, as it is read back: `%` doubled. `None`: no line can carry it, since a control character, a
/// backslash at its end or a space around it means something else there.
pub fn unit_value(text: &str) -> Option<String> {
    let carried =
        !text.chars().any(char::is_control) && !text.ends_with('\\') && text.trim() == text;
    carried.then(|| text.replace('%', "%%"))
}

/// A word of an `Exec` line of a unit of systemd: bare where nothing in it means anything, else between double quotes. `None` for a
/// NUL byte, which no argument can hold.
pub fn exec_word(text: &str) -> Option<String> {
    let bare = |c: char| c.is_ascii_alphanumeric() || "_-./:=@,+".contains(c);
    if !text.is_empty() && text.chars().all(bare) {
        return Some(text.to_owned());
    }
    let mut word = String::from("\"");
    for c in text.chars() {
        match c {
            '\0' => return None,
            '\\' => word.push_str("\\\\"),
            '"' => word.push_str("\\\""),
            '%' => word.push_str("%%"),
            '$' => word.push_str("$$"),
            '\n' => word.push_str("\\n"),
            c if c.is_ascii_control() => word.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => word.push(c),
        }
    }
    word.push('"');
    Some(word)
}

/// An `Exec` line of a unit of systemd. `None`: its program has no absolute path, or one that systemd would read otherwise.
pub fn exec_line<S: AsRef<str>>(words: &[S]) -> Option<String> {
    let (program, arguments) = words.split_first()?;
    // In the program's path `$` means itself, and quotes do not hide what a first character means.
    let program = program.as_ref();
    if !program.starts_with('/') || program.contains(['$', '\\', '"', '\'']) {
        return None;
    }
    let mut line = exec_word(program)?;
    for word in arguments {
        line.push(' ');
        line.push_str(&exec_word(word.as_ref())?);
    }
    Some(line)
}

/// A value of an `EnvironmentFile=` of systemd, always between double quotes: `$`, `%` and a backtick mean themselves there, and so does
/// the end of a line. `None`: systemd drops a value with another control character.
pub fn env_value(text: &str) -> Option<String> {
    let carried = text
        .chars()
        .all(|c| !c.is_control() || matches!(c, '\n' | '\t') || u32::from(c) > 0x7f);
    carried.then(|| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// A line of an `EnvironmentFile=` of systemd. `None`: it is no name of a variable, or no value that such a file can carry.
pub fn env_line(name: &str, value: &str) -> Option<String> {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    let named = name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit());
    let value = env_value(value).filter(|_| named)?;
    Some(format!("{name}={value}\n"))
}

/// A word of a list in a systemd unit, such as a path of `ReadWritePaths=`; `None` for what it cannot carry.
pub fn unit_word(text: &str) -> Option<String> {
    if text.chars().any(char::is_control) {
        return None;
    }
    let bare = |c: char| c.is_ascii_alphanumeric() || "_-./:=@+,".contains(c);
    let leads = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '.');
    if text.starts_with(leads) && text.chars().all(bare) {
        return Some(text.to_owned());
    }
    let text = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('%', "%%");
    Some(format!("\"{text}\""))
}

/// A word of nginx's language; `None` for what it cannot carry: in its words `$` always begins a variable.
pub fn nginx(text: &str) -> Option<String> {
    if text.chars().any(|c| c.is_control() || c == '$') {
        return None;
    }
    let bare = |c: char| c.is_ascii_alphanumeric() || "_-./:*[]".contains(c);
    if !text.is_empty() && text.chars().all(bare) {
        return Some(text.to_owned());
    }
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    Some(format!("\"{text}\""))
}

/// A string of Python.
pub fn python(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='~' => quoted.push(c),
            c => {
                use std::fmt::Write as _;
                let _ = write!(quoted, "\\U{:08x}", u32::from(c));
            }
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_file_carries_a_value_or_refuses_it() {
        let line = |value: &str| env_line("A", value);
        assert_eq!(
            line("a $HOME %n #x 'q'").unwrap(),
            "A=\"a $HOME %n #x 'q'\"\n"
        );
        assert_eq!(line("\"\\").unwrap(), "A=\"\\\"\\\\\"\n");
        assert_eq!(line("two\nlines\t").unwrap(), "A=\"two\nlines\t\"\n");
        assert_eq!(line(""), Some("A=\"\"\n".to_owned()));
        for refused in ["\0", "a\rb", "\u{1b}[0m", "\u{7f}"] {
            assert_eq!(line(refused), None, "{refused:?}");
        }
        assert_eq!(env_line("A=B", ""), None);
        assert_eq!(env_line("1A", ""), None);
    }

    #[test]
    fn a_database_stays_a_name_for_psql() {
        assert_eq!(psql_connect("a\"b'c\\"), "\\connect \"a\"\"b'c\\\"\n");
        assert_eq!(
            psql_connect("a='\"b"),
            "\\connect -reuse-previous=on \"dbname='a=\\'\"\"b'\"\n"
        );
        assert_eq!(psql_database("postgres://x"), "dbname='postgres://x'");
    }

    #[test]
    fn units_and_sites_carry_a_value_or_refuse_it() {
        assert_eq!(unit_value("/srv/100% a").unwrap(), "/srv/100%% a");
        for refused in [" a", "a\nb", "a\\"] {
            assert_eq!(unit_value(refused), None, "{refused:?}");
        }
        assert_eq!(unit_word("-a").unwrap(), "\"-a\"");
        assert_eq!(exec_word("a$b\"%\\").unwrap(), "\"a$$b\\\"%%\\\\\"");
        assert_eq!(nginx("a;b}").unwrap(), "\"a;b}\"");
        assert_eq!(nginx("").unwrap(), "\"\"");
        for refused in ["$a", "a\nb"] {
            assert_eq!(nginx(refused), None, "{refused:?}");
        }
        assert_eq!(python("a\"\n\\é"), "\"a\\\"\\U0000000a\\\\\\U000000e9\"");
    }
}
