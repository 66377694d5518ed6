//! `mariadb_setting`: a setting of a MariaDB server. `provision.cnf` keeps it for the next start; this makes it hold now.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::mariadb::{need, text};
use super::mariadb_database::unaliased;
use crate::command::{Ask, Dialect, Question, Row, Text};
use crate::quote::literal;
use crate::resource::{Field, Impact, Kind, Removal, Same, Step};

/// A setting of a MariaDB server; `provision.cnf` keeps it, this makes it hold now.
#[derive(Clone, Debug, Default)]
pub struct MariadbSetting {
    /// Its name with `_`; the key.
    pub name: String,
    /// Its value as declared (`ON`/`OFF` for booleans).
    pub value: String,
    /// Of a found one: what the server says of the variable.
    pub variable: Variable,
}

/// What a server says of a variable.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Variable {
    /// `BOOLEAN`, `BIGINT UNSIGNED`, `ENUM`, `SET`, `FLAGSET`, `DOUBLE`, `VARCHAR`, ...
    pub kind: String,
    /// Where its value comes from: `COMPILE-TIME`, `CONFIG`, `COMMAND-LINE`, `AUTO`, `SQL`, ...
    pub origin: String,
    /// The file its value comes from, if it is one.
    pub path: Option<String>,
    /// It is read at the server's start only.
    pub read_only: bool,
    /// The compiled default.
    pub default: Option<String>,
    /// Numbers: the least, the greatest, and what it is rounded down to a multiple of.
    pub range: (Option<i128>, Option<i128>, Option<i128>),
    /// The values of an `ENUM`, in order of their number.
    pub values: Vec<String>,
}

/// A value in the form in which it is compared and told to the server.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Bool(bool),
    Int(i128),
    Double(f64),
    /// One word, in the server's own case where it is known.
    Word(String),
    /// Words without an order.
    Set(BTreeSet<String>),
    /// `flag=on` for some flags.
    Flags(BTreeSet<String>),
    Text(String),
}

impl MariadbSetting {
    /// The name the server knows it by: two options are called otherwise in a file.
    fn variable_name(&self) -> &str {
        match self.name.as_str() {
            "transaction_isolation" => "tx_isolation",
            "transaction_read_only" => "tx_read_only",
            name => name,
        }
    }

    /// A value of this variable, understood.
    fn understand(&self, variable: &Variable, value: &str) -> Result<Value, String> {
        let wrong = |what: &str| format!("`{}` is {what}, not `{value}`", self.name);
        let value = value.trim();
        match variable.kind.as_str() {
            "BOOLEAN" => boolean(value)
                // `log_bin` is given a file's name and answers ON.
                .or_else(|| (self.name == "log_bin").then_some(true))
                .map(Value::Bool)
                .ok_or_else(|| wrong("ON or OFF")),
            "INT" | "INT UNSIGNED" | "BIGINT" | "BIGINT UNSIGNED" => number(value)
                .map(|n| Value::Int(variable.rounded(n)))
                .ok_or_else(|| wrong("a whole number (K, M, G may follow)")),
            "DOUBLE" => value
                .parse()
                .ok()
                .filter(|n: &f64| n.is_finite())
                .map(Value::Double)
                .ok_or_else(|| wrong("a number")),
            "ENUM" => self.word(variable, value).map(Value::Word),
            "SET" => Ok(Value::Set(modes(value))),
            "FLAGSET" => Ok(Value::Flags(words(value, str::to_lowercase))),
            _ => Ok(Value::Text(value.to_owned())),
        }
    }

    fn word(&self, variable: &Variable, value: &str) -> Result<String, String> {
        let values = &variable.values;
        if values.is_empty() {
            return Ok(unaliased(value, ""));
        }
        let known = |wanted: &str| {
            values
                .iter()
                .find(|known| known.eq_ignore_ascii_case(wanted))
                .cloned()
        };
        // A boolean of the file may mean the words ON and OFF, and a number the word of that number.
        known(value)
            .or_else(|| known(&unaliased(value, "")))
            .or_else(|| values.get(value.parse::<usize>().ok()?).cloned())
            .or_else(|| boolean(value).and_then(|on| known(if on { "ON" } else { "OFF" })))
            .ok_or_else(|| {
                format!(
                    "`{}` is one of {}, not `{value}`",
                    self.name,
                    values.join(", ")
                )
            })
    }

    fn same(&self, found: &Self) -> bool {
        let variable = &found.variable;
        // What the server works out by itself stands for the value that asks it to.
        if variable.origin == "AUTO" && variable.default.as_deref() == Some(self.value.trim()) {
            return true;
        }
        let wanted = self.understand(variable, &self.value);
        let has = self.understand(variable, &found.value);
        match (wanted, has) {
            (Ok(Value::Flags(wanted)), Ok(Value::Flags(has))) => has.is_superset(&wanted),
            (Ok(Value::Double(wanted)), Ok(Value::Double(has))) => (wanted - has).abs() < 5e-7,
            // The server ends folders with a slash.
            (Ok(Value::Text(wanted)), Ok(Value::Text(has))) => {
                wanted == has
                    || (has.starts_with('/')
                        && has.trim_end_matches('/') == wanted.trim_end_matches('/'))
            }
            (Ok(wanted), Ok(has)) => wanted == has,
            _ => false,
        }
    }

    /// The value as an SQL expression.
    fn expression(&self, variable: &Variable) -> String {
        let quoted = |text: &str| literal(Dialect::MariaDb, text);
        match self.understand(variable, &self.value) {
            Ok(Value::Bool(on)) => if on { "1" } else { "0" }.to_owned(),
            Ok(Value::Int(n)) => n.to_string(),
            Ok(Value::Double(n)) => n.to_string(),
            Ok(Value::Word(word)) => quoted(&word),
            _ => quoted(self.value.trim()),
        }
    }

    fn set(&self, variable: &Variable) -> String {
        let name = self.variable_name();
        let value = self.expression(variable);
        if name != "character_set_server" {
            return format!("SET GLOBAL {name} = {value};");
        }
        // It takes the collation back to the character set's own, also one that is declared and was right.
        format!(
            "SET @provision_was = @@GLOBAL.collation_server; SET GLOBAL {name} = {value}; \
             SET @provision_do = IF(@provision_was LIKE CONCAT({value}, '|_%') ESCAPE '|', \
             CONCAT('SET GLOBAL collation_server = ', QUOTE(@provision_was)), 'DO 0'); EXECUTE IMMEDIATE @provision_do;"
        )
    }

    fn restart(&self) -> Step {
        Step::restart(format!(
            "restart the server, which reads `{}` at its start only",
            self.name
        ))
    }
}

impl Variable {
    /// The number that the server makes of a number.
    fn rounded(&self, n: i128) -> i128 {
        let (least, greatest, block) = self.range;
        let n = greatest.map_or(n, |greatest| n.min(greatest));
        let n = match block {
            Some(block) if block > 1 => n / block * block,
            _ => n,
        };
        least.map_or(n, |least| n.max(least))
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" | "1" => Some(true),
        "off" | "false" | "no" | "0" => Some(false),
        _ => None,
    }
}

/// A whole number as an option file takes it: `64M` is 64 * 1024 * 1024.
fn number(text: &str) -> Option<i128> {
    let (digits, power) = match text.char_indices().last()? {
        (at, suffix) if suffix.is_ascii_alphabetic() => {
            let power = "kmgtpe".find(suffix.to_ascii_lowercase())? + 1;
            (&text[..at], power)
        }
        _ => (text, 0),
    };
    let factor = 1024_i128.checked_pow(u32::try_from(power).ok()?)?;
    digits.parse::<i128>().ok()?.checked_mul(factor)
}

fn words(list: &str, case: fn(&str) -> String) -> BTreeSet<String> {
    list.split(',')
        .map(|word| case(word.trim()))
        .filter(|word| !word.is_empty())
        .collect()
}

/// The members of a `SET`, with what the names that stand for several mean.
fn modes(list: &str) -> BTreeSet<String> {
    let mut set = words(list, str::to_uppercase);
    let combined: &[(&str, &[&str])] = &[
        (
            "ANSI",
            &[
                "REAL_AS_FLOAT",
                "PIPES_AS_CONCAT",
                "ANSI_QUOTES",
                "IGNORE_SPACE",
            ],
        ),
        (
            "TRADITIONAL",
            &[
                "STRICT_TRANS_TABLES",
                "STRICT_ALL_TABLES",
                "NO_ZERO_IN_DATE",
                "NO_ZERO_DATE",
                "ERROR_FOR_DIVISION_BY_ZERO",
                "NO_AUTO_CREATE_USER",
                "NO_ENGINE_SUBSTITUTION",
            ],
        ),
        (
            "ORACLE",
            &[
                "PIPES_AS_CONCAT",
                "ANSI_QUOTES",
                "IGNORE_SPACE",
                "NO_KEY_OPTIONS",
                "NO_TABLE_OPTIONS",
                "NO_FIELD_OPTIONS",
                "NO_AUTO_CREATE_USER",
                "SIMULTANEOUS_ASSIGNMENT",
            ],
        ),
    ];
    for (name, members) in combined {
        if set.contains(*name) {
            set.extend(members.iter().map(|member| (*member).to_owned()));
        }
    }
    set
}

impl Kind for MariadbSetting {
    const NAME: &'static str = "mariadb_setting";
    const QUESTION: Question = Question {
        name: "mariadb_setting",
        ask: Ask::MariaDb(
            "SELECT JSON_OBJECT('key', LOWER(VARIABLE_NAME), 'value', GLOBAL_VALUE, 'origin', GLOBAL_VALUE_ORIGIN, \
             'path', GLOBAL_VALUE_PATH, 'type', VARIABLE_TYPE, 'scope', VARIABLE_SCOPE, 'read_only', READ_ONLY, \
             'default', IF(GLOBAL_VALUE_ORIGIN = 'AUTO', DEFAULT_VALUE, NULL), 'least', NUMERIC_MIN_VALUE, \
             'greatest', NUMERIC_MAX_VALUE, 'block', NUMERIC_BLOCK_SIZE, \
             'values', IF(VARIABLE_TYPE = 'ENUM', ENUM_VALUE_LIST, NULL)) FROM information_schema.SYSTEM_VARIABLES",
        ),
    };

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(self.variable_name())
    }

    fn read(&self, rows: &[Row]) -> Result<Option<Self>, String> {
        let Some(row) = rows.first() else {
            return Err(format!("the server has no setting `{}`", self.name));
        };
        if need(row, "scope")? == "SESSION ONLY" {
            return Err(format!(
                "`{}` belongs to a session, not to the server",
                self.name
            ));
        }
        let bound = |member| text(row, member).and_then(|text| text.parse().ok());
        let owned = |member| text(row, member).map(str::to_owned);
        let found = MariadbSetting {
            name: self.name.clone(),
            value: owned("value").unwrap_or_default(),
            variable: Variable {
                kind: need(row, "type")?.to_owned(),
                origin: need(row, "origin")?.to_owned(),
                path: owned("path"),
                read_only: need(row, "read_only")? == "YES",
                default: owned("default"),
                range: (bound("least"), bound("greatest"), bound("block")),
                values: owned("values")
                    .map(|list| list.split(',').map(str::to_owned).collect())
                    .unwrap_or_default(),
            },
        };
        // One that is only remembered has no value.
        if !self.value.is_empty() {
            self.understand(&found.variable, &self.value)?;
        }
        Ok(Some(found))
    }

    fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        let impact = match found {
            Some(found) if found.variable.read_only => Impact::Restart,
            _ => Impact::None,
        };
        let mut field = Field::new("value", None, &self.value, impact);
        if let Some(found) = found {
            field.from = Some(found.value.clone());
            field.same = if self.same(found) {
                Same::Yes
            } else {
                Same::No
            };
        }
        vec![field]
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        let Some(found) = found.filter(|found| !self.same(found)) else {
            return Vec::new();
        };
        if found.variable.read_only {
            return vec![self.restart()];
        }
        let sql = self.set(&found.variable);
        vec![Step::sql_alone("set it for now", Text::plain(sql))]
    }

    fn named(key: &str) -> Option<Self> {
        Some(MariadbSetting {
            name: key.to_owned(),
            ..MariadbSetting::default()
        })
    }

    fn remove(&self) -> Removal {
        if self.variable.origin == "COMPILE-TIME" {
            return Removal::Steps(Vec::new());
        }
        if self.variable.read_only {
            return Removal::Steps(vec![self.restart()]);
        }
        let sql = format!("SET GLOBAL {} = DEFAULT;", self.variable_name());
        Removal::Steps(vec![Step::sql_alone(
            "set it back to its default",
            Text::plain(sql),
        )])
    }
}
