//! `mariadb_setting`: a setting of a MariaDB server. `provision.cnf` keeps it for the next start; this makes it hold now.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::mariadb::{int, need, text};
use super::mariadb_database::unaliased;
use crate::command::{Ask, Dialect, Question, Row, Text};
use crate::quote::literal;
use crate::resource::{Field, Impact, Kind, Removal, Same, Step};

/// The setting that says how names of databases and tables are kept and compared.
const CASE: &str = "lower_case_table_names";

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
    /// It is read at the server's start only.
    pub read_only: bool,
    /// The compiled default.
    pub default: Option<String>,
    /// Numbers: the least, the greatest, and what it is rounded down to a multiple of.
    pub range: (Option<i128>, Option<i128>, Option<i128>),
    /// The values of an `ENUM`, in order of their number; of character sets and collations the server lists none.
    pub values: Vec<String>,
    /// What the server means by `utf8`.
    pub utf8: String,
    /// How many databases of somebody there are, where the setting says how their names are kept.
    pub databases: i64,
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
            return Ok(unaliased(value, &variable.utf8));
        }
        let known = |wanted: &str| {
            values
                .iter()
                .find(|known| known.eq_ignore_ascii_case(wanted))
                .cloned()
        };
        // A boolean of the file may mean the words ON and OFF, and a number the word of that number.
        known(value)
            .or_else(|| known(&unaliased(value, &variable.utf8)))
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
            // The server takes no spaces between them.
            Ok(Value::Set(words) | Value::Flags(words)) => {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                quoted(&words.join(","))
            }
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

    /// Whether data that is there was written under the value that was found and is lost from sight under another one.
    pub fn is_kept_by_data(&self) -> bool {
        self.name == CASE && self.variable.databases > 0
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
             'type', VARIABLE_TYPE, 'scope', VARIABLE_SCOPE, 'read_only', READ_ONLY, \
             'default', IF(GLOBAL_VALUE_ORIGIN = 'AUTO', DEFAULT_VALUE, NULL), 'least', NUMERIC_MIN_VALUE, \
             'greatest', NUMERIC_MAX_VALUE, 'block', NUMERIC_BLOCK_SIZE, \
             'values', IF(VARIABLE_TYPE = 'ENUM', ENUM_VALUE_LIST, NULL), \
             'utf8', IF(VARIABLE_TYPE = 'ENUM' AND ENUM_VALUE_LIST IS NULL, \
             IF(FIND_IN_SET('UTF8_IS_UTF8MB3', @@old_mode), 'utf8mb3', 'utf8mb4'), NULL), \
             'databases', IF(LOWER(VARIABLE_NAME) = 'lower_case_table_names', (SELECT COUNT(*) FROM information_schema.SCHEMATA \
             WHERE SCHEMA_NAME NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys', 'provision', 'test')), 0)) \
             FROM information_schema.SYSTEM_VARIABLES \
             WHERE LOWER(VARIABLE_NAME) {wanted}",
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
                read_only: need(row, "read_only")? == "YES",
                default: owned("default"),
                range: (bound("least"), bound("greatest"), bound("block")),
                values: owned("values")
                    .map(|list| list.split(',').map(str::to_owned).collect())
                    .unwrap_or_default(),
                utf8: owned("utf8").unwrap_or_default(),
                databases: int(row, "databases").unwrap_or(0),
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
            Some(found) if found.is_kept_by_data() => Impact::DataRisk,
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

    fn recipe(&self, found: &Self) -> Vec<String> {
        vec![
            format!(
                "the databases that are there were written under {}: under another value the server no longer finds names with capitals",
                found.value
            ),
            format!("keep `{CASE} = {}`", found.value),
            "or dump the databases, destroy the server with its data, apply, and load the dump".to_owned(),
        ]
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Do, Rows};

    const ROWS: &str = r#"
{"key": "sql_mode", "value": "STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION", "origin": "SQL", "type": "SET", "scope": "SESSION", "read_only": "NO", "default": null, "least": null, "greatest": null, "block": null, "values": null, "utf8": null}
{"key": "long_query_time", "value": "2.000000", "origin": "SQL", "type": "DOUBLE", "scope": "SESSION", "read_only": "NO", "default": null, "least": "0", "greatest": "31536000", "block": null, "values": null, "utf8": null}
{"key": "event_scheduler", "value": "OFF", "origin": "COMPILE-TIME", "type": "ENUM", "scope": "GLOBAL", "read_only": "NO", "default": null, "least": null, "greatest": null, "block": null, "values": "OFF,ON,DISABLED,ORIGINAL", "utf8": null}
{"key": "back_log", "value": "80", "origin": "AUTO", "type": "BIGINT UNSIGNED", "scope": "GLOBAL", "read_only": "YES", "default": "150", "least": "0", "greatest": "65535", "block": "1", "values": null, "utf8": null}
{"key": "max_connections", "value": "151", "origin": "SQL", "type": "BIGINT UNSIGNED", "scope": "GLOBAL", "read_only": "NO", "default": null, "least": "10", "greatest": "100000", "block": "1", "values": null, "utf8": null}
{"key": "character_set_server", "value": "utf8mb3", "origin": "SQL", "type": "ENUM", "scope": "SESSION", "read_only": "NO", "default": null, "least": null, "greatest": null, "block": null, "values": null, "utf8": "utf8mb3"}
{"key": "max_allowed_packet", "value": "999424", "origin": "SQL", "type": "BIGINT UNSIGNED", "scope": "SESSION", "read_only": "NO", "default": null, "least": "1024", "greatest": "1073741824", "block": "1024", "values": null, "utf8": null}
{"key": "optimizer_switch", "value": "index_merge=on,index_merge_union=on,mrr=off", "origin": "SQL", "type": "FLAGSET", "scope": "SESSION", "read_only": "NO", "default": null, "least": null, "greatest": null, "block": null, "values": null, "utf8": null}
{"key": "datadir", "value": "/var/lib/mysql/", "origin": "COMPILE-TIME", "type": "VARCHAR", "scope": "GLOBAL", "read_only": "YES", "default": null, "least": null, "greatest": null, "block": null, "values": null, "utf8": null}
{"key": "local_infile", "value": "ON", "origin": "SQL", "type": "BOOLEAN", "scope": "GLOBAL", "read_only": "NO", "default": null, "least": null, "greatest": null, "block": null, "values": null, "utf8": null}
{"key": "last_insert_id", "value": null, "origin": "COMPILE-TIME", "type": "BIGINT UNSIGNED", "scope": "SESSION ONLY", "read_only": "NO", "default": null, "least": "0", "greatest": "18446744073709551615", "block": "1", "values": null, "utf8": null}
"#;

    fn setting(name: &str, value: &str) -> MariadbSetting {
        MariadbSetting {
            name: name.to_owned(),
            value: value.to_owned(),
            ..MariadbSetting::default()
        }
    }

    fn found(wanted: &MariadbSetting) -> Result<MariadbSetting, String> {
        let rows = Rows::new(super::super::mariadb::rows(ROWS));
        let found = wanted.read(rows.of(&wanted.key()))?;
        found.ok_or_else(|| "absent".to_owned())
    }

    fn sql(wanted: &MariadbSetting) -> Option<String> {
        let found = found(wanted).expect("it can be read");
        match wanted.steps(Some(&found)).pop()?.does {
            Do::Sql { text, .. } => Some(text.shown()),
            Do::Restart => Some("restart".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn equal_values_are_equal_however_they_are_written() {
        for (name, value) in [
            ("sql_mode", "no_engine_substitution, STRICT_TRANS_TABLES"),
            ("long_query_time", "2"),
            ("event_scheduler", "false"),
            ("event_scheduler", "off"),
            ("back_log", "80"),
            ("back_log", "150"), // the default: the server worked out its own
            ("max_connections", "151"),
            ("character_set_server", "utf8"),
            ("character_set_server", "UTF8MB3"),
            ("max_allowed_packet", "976K"),
            ("max_allowed_packet", "1000000"), // rounded down to a block
            ("optimizer_switch", "mrr=OFF"),
            ("datadir", "/var/lib/mysql"),
            ("local_infile", "yes"),
            ("local_infile", "1"),
        ] {
            assert_eq!(sql(&setting(name, value)), None, "{name} = {value}");
        }
    }

    #[test]
    fn other_values_are_set_in_the_form_that_the_server_takes() {
        for (name, value, expected) in [
            ("max_connections", "5", "SET GLOBAL max_connections = 10;"),
            (
                "max_allowed_packet",
                "64M",
                "SET GLOBAL max_allowed_packet = 67108864;",
            ),
            ("local_infile", "OFF", "SET GLOBAL local_infile = 0;"),
            ("event_scheduler", "1", "SET GLOBAL event_scheduler = 'ON';"),
            ("sql_mode", "b, a", "SET GLOBAL sql_mode = 'A,B';"),
            (
                "long_query_time",
                "0.5",
                "SET GLOBAL long_query_time = 0.5;",
            ),
            (
                "optimizer_switch",
                "mrr=on",
                "SET GLOBAL optimizer_switch = 'mrr=on';",
            ),
            ("back_log", "90", "restart"),
            ("datadir", "/srv", "restart"),
        ] {
            assert_eq!(sql(&setting(name, value)).as_deref(), Some(expected));
        }
    }

    #[test]
    fn what_cannot_be_meant_is_said() {
        for (name, value, expected) in [
            ("no_such", "1", "the server has no setting `no_such`"),
            (
                "last_insert_id",
                "1",
                "`last_insert_id` belongs to a session, not to the server",
            ),
            (
                "local_infile",
                "maybe",
                "`local_infile` is ON or OFF, not `maybe`",
            ),
            (
                "event_scheduler",
                "often",
                "`event_scheduler` is one of OFF, ON, DISABLED, ORIGINAL, not `often`",
            ),
            (
                "max_connections",
                "1Z",
                "`max_connections` is a whole number (K, M, G may follow), not `1Z`",
            ),
        ] {
            assert_eq!(
                found(&setting(name, value)).map(|f| f.value),
                Err(expected.to_owned())
            );
        }
    }

    #[test]
    fn removing_goes_back_to_the_default() {
        let removal = |name| found(&setting(name, "")).expect("it can be read").remove();
        let steps = |name| match removal(name) {
            Removal::Steps(steps) => steps,
            other => panic!("{other:?}"),
        };
        assert!(matches!(&steps("max_connections")[0].does,
            Do::Sql { text, .. } if text.shown() == "SET GLOBAL max_connections = DEFAULT;"));
        assert!(matches!(steps("back_log")[0].does, Do::Restart));
        assert!(steps("datadir").is_empty()); // it is the default
    }
}
