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
