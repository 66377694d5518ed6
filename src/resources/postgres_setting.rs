//! `postgres_setting`: a setting of a PostgreSQL server. It knows what the server runs with, what its files say, and so
//! whether a reload or a restart is owed.

use std::borrow::Cow;

use crate::command::{Ask, Question, Row, Text};
use crate::resource::{Field, Impact, Kind, Removal, Same, Step};
use crate::resources::postgres::{
    assigned, block, boolean, ident, is_quoted_list, literal, maybe_text, split, text,
};

/// A setting of a PostgreSQL server, set with `ALTER SYSTEM`.
#[derive(Clone, Debug, Default)]
pub struct PostgresSetting {
    /// Its name; the key.
    pub name: String,
    /// Its value; more than one item only where it was declared as a list.
    pub value: Vec<String>,
    /// Whether it was declared as a list.
    pub list: bool,
    /// Of a found one: what the server says about it.
    pub live: Option<Live>,
}

/// What the server says about a setting.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Live {
    /// What it runs with, as `SHOW` writes it.
    pub shown: String,
    /// What it runs with, in its unit.
    pub running: String,
    /// What its files say, if they name it.
    pub file: Option<String>,
    /// `bool`, `integer`, `real`, `string`, `enum`.
    pub vartype: String,
    /// As in `8kB`, `ms`; empty if it has none.
    pub unit: String,
    /// Least and greatest value of a number.
    pub range: Option<(String, String)>,
    /// When it can change, as in `postmaster`; empty for a name that only the files know yet.
    pub context: String,
    /// Who set what it runs with, as in `default`.
    pub source: String,
    /// Whether its files say something that a restart would bring.
    pub pending_restart: bool,
    /// Whether the files were written after the server last read them.
    pub pending_reload: bool,
}

// The last line that names a setting counts. One that no library has defined yet is only known to the files.
const QUERY: &str = "SELECT lower(coalesce(s.name, f.name)) AS key, s.setting AS running, \
    current_setting(s.name, true) AS shown, s.unit, s.vartype, s.min_val AS least, s.max_val AS greatest, s.context, \
    CASE WHEN s.source IN ('database', 'user', 'database user', 'client', 'session', 'interactive') THEN s.boot_val END AS boot, \
    s.source, coalesce(s.pending_restart, false) AS pending_restart, f.setting AS file, \
    coalesce(f.modified > pg_conf_load_time(), false) AS pending_reload FROM pg_settings s FULL JOIN \
    (SELECT DISTINCT ON (lower(l.name)) l.name, l.setting, m.modified FROM pg_file_settings l LEFT JOIN \
    (SELECT sourcefile, (pg_stat_file(sourcefile, true)).modification AS modified FROM \
    (SELECT DISTINCT sourcefile FROM pg_file_settings) d) m USING (sourcefile) \
    WHERE l.name IS NOT NULL ORDER BY lower(l.name), l.seqno DESC) f ON lower(f.name) = lower(s.name) \
    WHERE lower(coalesce(s.name, f.name)) {wanted}";

impl Kind for PostgresSetting {
    const NAME: &'static str = "postgres_setting";
    const QUESTION: Question = Question {
        name: "postgres_setting",
        ask: Ask::PostgresServer(QUERY),
    };

    fn key(&self) -> Cow<'_, str> {
        // The server does not tell `timezone` from `TimeZone`.
        Cow::Owned(self.name.to_ascii_lowercase())
    }

    fn read(&self, rows: &[Row]) -> Result<Option<Self>, String> {
        let Some(row) = rows.first() else {
            // A name with a dot belongs to a library, which may not be loaded yet.
            return match self.name.contains('.') {
                true => Ok(None),
                false => Err(format!("PostgreSQL 15 has no setting `{}`", self.name)),
            };
        };
        let live = Live::read(row)?;
        let found = PostgresSetting {
            value: vec![live.shown.clone()],
            live: Some(live),
            ..self.clone()
        };
        match self.cannot(&found) {
            Some(why) => Err(why),
            None => Ok(Some(found)),
        }
    }

    fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        let to = self.value.join(", ");
        let live = found.and_then(|found| found.live.as_ref());
        let Some(live) = live else {
            return vec![Field::new("value", None, to, Impact::None)];
        };
        let same = self.is_same(live);
        let from = match &live.file {
            Some(file) if !same && live.pending_restart => {
                format!("{} ({file} after a restart)", live.shown)
            }
            Some(file) if !same && !self.holding(file).same_value(&live.running, live) => {
                format!("{} ({file} after a reload)", live.shown)
            }
            None if !same && live.source == "configuration file" => {
                format!("{} (until a restart)", live.shown)
            }
            _ if same => to.clone(),
            _ => live.shown.clone(),
        };
        vec![Field {
            name: "value".into(),
            from: Some(from),
            to: Some(to),
            same: if same { Same::Yes } else { Same::No },
            impact: self.impact(live),
        }]
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        let live = found.and_then(|found| found.live.as_ref());
        let Some(live) = live else {
            return vec![self.set(), reload()];
        };
        if self.is_same(live) {
            return Vec::new();
        }
        let mut steps = Vec::new();
        let in_file = live.file.as_ref().is_some_and(|file| self.same_value(file, live));
        if !in_file {
            steps.push(self.set());
        }
        steps.push(match self.impact(live) {
            Impact::Restart => Step::restart("restart the server"),
            _ => reload(),
        });
        steps
    }

    fn named(key: &str) -> Option<Self> {
        Some(PostgresSetting {
            name: key.to_owned(),
            ..PostgresSetting::default()
        })
    }

    fn remove(&self) -> Removal {
        let live = self.live.clone().unwrap_or_default();
        let mut sql = self.placeholder();
        sql.push_str(&format!("ALTER SYSTEM RESET {};\n", ident(&self.name)));
        let says = format!("reset `{}`", self.name);
        let last = match live.context == "postmaster" && live.source == "configuration file" {
            true => Step::restart("restart the server"),
            false => reload(),
        };
        Removal::Steps(vec![Step::sql_alone(says, Text::plain(sql)), last])
    }
}

/// The server reads its files a moment after it was told to; whoever looks next must see what they say. A session takes
/// part only between its statements, so this waits in many short ones, at most a second.
fn reload() -> Step {
    let mut sql = "SELECT set_config('provision.loaded', pg_conf_load_time()::text, false);\n\
                   SELECT pg_reload_conf();\n"
        .to_owned();
    sql.push_str(
        &"SELECT pg_sleep(0.04) WHERE pg_conf_load_time()::text = current_setting('provision.loaded');\n"
            .repeat(25),
    );
    Step {
        impact: Impact::Reload,
        merge: Some("reload"),
        ..Step::sql_alone("reload", Text::plain(sql))
    }
}

impl PostgresSetting {
    fn set(&self) -> Step {
        let mut sql = String::new();
        if self.name.to_ascii_lowercase().ends_with("preload_libraries") {
            sql.push_str(&self.libraries_exist());
        }
        sql.push_str(&self.placeholder());
        let name = ident(&self.name);
        let nothing = self.value.iter().all(|item| item.is_empty());
        if nothing && is_quoted_list(&self.name) && !self.name.eq_ignore_ascii_case("search_path") {
            // `= ''` becomes one item without a name, with which the server does not start again.
            sql.push_str(&format!("ALTER SYSTEM RESET {name};\n"));
        } else {
            let value = assigned(&self.name, &self.value, self.list);
            sql.push_str(&format!("ALTER SYSTEM SET {name} = {value};\n"));
        }
        Step::sql_alone(format!("set `{}`", self.name), Text::plain(sql))
    }

    /// `ALTER SYSTEM` refuses a library's setting before the library is loaded, unless the session has a value for it.
    fn placeholder(&self) -> String {
        if !self.name.contains('.') {
            return String::new();
        }
        let (name, value) = (literal(&self.name), literal(&self.value.join(", ")));
        block(&format!(
            "BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_settings WHERE lower(name) = lower({name})) \
             THEN PERFORM pg_catalog.set_config({name}, {value}, false); END IF; END"
        ))
    }

    /// A library that is not there would keep the server from starting, or everybody from logging in.
    fn libraries_exist(&self) -> String {
        let mut body = "DECLARE folder text := (SELECT setting FROM pg_catalog.pg_config() WHERE name = 'PKGLIBDIR'); \
                        item text; path text; BEGIN FOREACH item IN ARRAY ARRAY["
            .to_owned();
        let items: Vec<String> = self.value.iter().flat_map(|value| split(value)).collect();
        let plugins = self.name.to_ascii_lowercase().starts_with("local");
        let folder = if plugins { "/plugins/" } else { "/" };
        body.push_str(&items.iter().map(|item| literal(item)).collect::<Vec<_>>().join(", "));
        body.push_str("]::text[] LOOP path := replace(item, '$libdir', folder); IF path NOT LIKE '%/%' THEN path := folder || ");
        body.push_str(&literal(folder));
        body.push_str(" || path; END IF; IF path NOT LIKE '%.so' THEN path := path || '.so'; END IF; \
                       IF (pg_catalog.pg_stat_file(path, true)).size IS NULL THEN \
                       RAISE EXCEPTION 'the server has no library %', item USING DETAIL = path || ' does not exist'; \
                       END IF; END LOOP; END");
        block(&body)
    }

    /// What keeps it from being set at all, found before anything is changed.
    fn cannot(&self, found: &Self) -> Option<String> {
        let live = found.live.as_ref()?;
        if self.value.is_empty() && !self.list {
            return None; // Only known by name: about to be reset.
        }
        let name = &self.name;
        if live.context == "internal" {
            return Some(format!("`{name}` cannot be set: it was fixed when the server was built or its data made"));
        }
        let wanted = self.value.first().map_or("", String::as_str);
        let number = number(wanted, &live.unit, live.vartype == "integer");
        let takes = match live.vartype.as_str() {
            "bool" if truth(wanted).is_none() => "`on` or `off`".to_owned(),
            "integer" | "real" => {
                let (least, greatest) = live.range.as_ref()?;
                let least_number = self::number(least, "", false)?;
                let greatest_number = self::number(greatest, "", false)?;
                match number {
                    Some(number) if (least_number..=greatest_number).contains(&number) => String::new(),
                    _ => format!("{least} to {greatest}{}", in_unit(&live.unit)),
                }
            }
            _ => String::new(),
        };
        if !takes.is_empty() {
            return Some(format!("`{name}` takes {takes}, not `{wanted}`"));
        }
        if live.source == "command line" && !self.same_value(&live.running, live) {
            return Some(format!(
                "`{name}` is `{}` by the server's command line, which outranks every file",
                live.shown
            ));
        }
        None
    }

    /// The same setting with another value.
    fn holding(&self, value: &str) -> Self {
        PostgresSetting {
            value: vec![value.to_owned()],
            ..self.clone()
        }
    }

    fn impact(&self, live: &Live) -> Impact {
        // What it runs with is right and only its files are not: writing them is enough.
        if live.context == "postmaster" && !self.same_value(&live.running, live) {
            Impact::Restart
        } else {
            Impact::Reload
        }
    }

    fn is_same(&self, live: &Live) -> bool {
        let running = self.same_value(&live.running, live);
        let file = live.file.as_ref().map(|file| self.same_value(file, live));
        if live.context.is_empty() {
            return file == Some(true);
        }
        // What it runs with lasts only if the files say the same, or never said anything.
        let lasts = match file {
            Some(same) => same || live.source == "command line",
            None => live.source != "configuration file",
        };
        // The server writes some texts in its own way (`iso,dmy` as `ISO, DMY`).
        let rewritten = live.vartype == "string" && file == Some(true);
        (running && lasts) || (rewritten && !live.pending_restart && !live.pending_reload)
    }

    fn same_value(&self, found: &str, live: &Live) -> bool {
        let wanted = self.value.join(", ");
        // -1 is worked out at the start; only the files still say so.
        if self.key() == "wal_buffers" && wanted.trim() == "-1" {
            return live.file.as_ref().is_none_or(|file| file == "-1");
        }
        match live.vartype.as_str() {
            "bool" => truth(&wanted).is_some() && truth(&wanted) == truth(found),
            "integer" => {
                let number = |text: &str| number(text, &live.unit, true);
                number(&wanted).is_some() && number(&wanted) == number(found)
            }
            "real" => match (number(&wanted, &live.unit, false), number(found, &live.unit, false)) {
                // The server shows six digits.
                (Some(a), Some(b)) => (a - b).abs() <= 1e-5 * a.abs().max(b.abs()),
                _ => false,
            },
            "enum" => plain_word(&wanted) == plain_word(found),
            _ if is_quoted_list(&self.name) => {
                let items: Vec<String> = match self.list {
                    true => self.value.clone(),
                    false => split(&wanted),
                };
                let items: Vec<String> = items.iter().flat_map(|item| split(item)).collect();
                items == split(found)
            }
            _ if self.list => split(&wanted) == split(found),
            _ if self.name.to_ascii_lowercase().ends_with("timezone") => {
                wanted.eq_ignore_ascii_case(found)
            }
            _ => wanted == found,
        }
    }
}

impl Live {
    fn read(row: &Row) -> Result<Self, String> {
        let own = |column: &str| maybe_text(row, column).unwrap_or_default().to_owned();
        let file = maybe_text(row, "file").map(str::to_owned);
        let range = maybe_text(row, "least").zip(maybe_text(row, "greatest"));
        // A session's own value hides the server's: then that is what its files say, or what it was built with.
        let hidden = maybe_text(row, "boot")
            .map(|boot| file.clone().unwrap_or_else(|| boot.to_owned()));
        let running = match (&hidden, &file) {
            (Some(hidden), _) => hidden.clone(),
            (None, Some(file)) if maybe_text(row, "context").is_none() => file.clone(),
            _ => text(row, "running")?.to_owned(),
        };
        let shown = match (hidden, maybe_text(row, "shown")) {
            (None, Some(shown)) => shown.to_owned(),
            _ => running.clone(),
        };
        Ok(Live {
            shown,
            running,
            file,
            vartype: own("vartype"),
            unit: own("unit"),
            range: range.map(|(least, greatest)| (least.to_owned(), greatest.to_owned())),
            context: own("context"),
            source: own("source"),
            pending_restart: boolean(row, "pending_restart")?,
            pending_reload: boolean(row, "pending_reload")?,
        })
    }
}

fn in_unit(unit: &str) -> String {
    match unit {
        "" => String::new(),
        unit => format!(" (in {unit})"),
    }
}

/// The name that the server itself uses for a word that has several.
fn plain_word(word: &str) -> String {
    let word = word.trim().to_ascii_lowercase();
    match word.as_str() {
        "true" | "yes" | "1" => "on".to_owned(),
        "false" | "no" | "0" => "off".to_owned(),
        "debug" => "debug2".to_owned(),
        "archive" | "hot_standby" => "replica".to_owned(),
        _ => word,
    }
}

/// As PostgreSQL reads a boolean: any beginning of the words that is not shared by two.
fn truth(text: &str) -> Option<bool> {
    let text = text.trim().to_ascii_lowercase();
    let begins = |word: &str, least: usize| text.len() >= least && word.starts_with(&text);
    match text.as_str() {
        "1" => Some(true),
        "0" => Some(false),
        _ if begins("true", 1) || begins("yes", 1) || begins("on", 2) => Some(true),
        _ if begins("false", 1) || begins("no", 1) || begins("off", 2) => Some(false),
        _ => None,
    }
}

const MEMORY: &[(&str, f64)] = &[
    ("TB", 1_099_511_627_776.0),
    ("GB", 1_073_741_824.0),
    ("MB", 1_048_576.0),
    ("kB", 1024.0),
    ("B", 1.0),
];
const TIME: &[(&str, f64)] = &[
    ("d", 86_400_000_000.0),
    ("h", 3_600_000_000.0),
    ("min", 60_000_000.0),
    ("s", 1_000_000.0),
    ("ms", 1000.0),
    ("us", 1.0),
];

/// A number in the setting's unit, as PostgreSQL reads it; one without a unit of its own is in the setting's.
fn number(text: &str, unit: &str, whole: bool) -> Option<f64> {
    let text = text.trim();
    let at = text
        .char_indices()
        .position(|(at, c)| is_unit(c) && !is_in_number(text, at))
        .unwrap_or(text.len());
    let (digits, own) = (text.get(..at)?.trim_end(), text.get(at..)?);
    let value = parse(digits)?;
    let scaled = match own {
        "" => value,
        own => {
            let (many, base) = split_unit(unit)?;
            let units = [MEMORY, TIME].into_iter().find(|units| units.iter().any(|(name, _)| *name == base))?;
            let size = |name: &str| units.iter().find(|(other, _)| *other == name).map(|(_, size)| *size);
            let own_size = size(own)?;
            let base_size = size(base)? * many;
            let mut scaled = value * own_size / base_size;
            // A fraction is rounded to a whole number of the next smaller unit first.
            let smaller = units.iter().map(|(_, size)| *size).find(|size| *size < own_size);
            if let Some(smaller) = smaller.filter(|smaller| value.fract() != 0.0 && *smaller >= base_size) {
                let step = smaller / base_size;
                scaled = (scaled / step).round_ties_even() * step;
            }
            scaled
        }
    };
    Some(if whole { scaled.round_ties_even() } else { scaled })
}

fn is_unit(c: char) -> bool {
    c.is_ascii_alphabetic()
}

/// `0x1F` and `1e3` have letters that are no unit.
fn is_in_number(text: &str, at: usize) -> bool {
    let hex = text.trim_start_matches('-').starts_with("0x") || text.trim_start_matches('-').starts_with("0X");
    let exponent = text[..at].ends_with(|c: char| c.is_ascii_digit())
        && text[at..].starts_with(['e', 'E'])
        && text[at + 1..].trim_start_matches(['+', '-']).starts_with(|c: char| c.is_ascii_digit());
    hex || exponent
}

fn parse(digits: &str) -> Option<f64> {
    let (sign, bare) = match digits.strip_prefix('-') {
        Some(bare) => (-1.0, bare),
        None => (1.0, digits.strip_prefix('+').unwrap_or(digits)),
    };
    if let Some(hex) = bare.strip_prefix("0x").or_else(|| bare.strip_prefix("0X")) {
        return Some(sign * u32::from_str_radix(hex, 16).ok()? as f64);
    }
    let octal = bare.len() > 1 && bare.starts_with('0') && bare.chars().all(|c| c.is_digit(8));
    if octal {
        return Some(sign * u32::from_str_radix(bare, 8).ok()? as f64);
    }
    let digit = bare.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    bare.parse::<f64>().ok().filter(|_| digit).map(|value| sign * value)
}

/// `8kB` is eight of `kB`.
fn split_unit(unit: &str) -> Option<(f64, &str)> {
    let at = unit.find(|c: char| !c.is_ascii_digit())?;
    let (many, base) = unit.split_at(at);
    Some((if many.is_empty() { 1.0 } else { many.parse().ok()? }, base))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::command::Do;

    const MAX_CONNECTIONS: &str = r#"{"key":"max_connections","running":"80","shown":"80","unit":null,"vartype":"integer","least":"1","greatest":"262143","context":"postmaster","boot":null,"source":"configuration file","pending_restart":false,"file":"80","pending_reload":false}"#;
    const SHARED_BUFFERS: &str = r#"{"key":"shared_buffers","running":"13056","shown":"102MB","unit":"8kB","vartype":"integer","least":"16","greatest":"1073741823","context":"postmaster","boot":null,"source":"configuration file","pending_restart":false,"file":"0.1GB","pending_reload":false}"#;
    const LIBRARIES: &str = r#"{"key":"shared_preload_libraries","running":"pg_stat_statements, auto_explain","shown":"pg_stat_statements, auto_explain","unit":null,"vartype":"string","least":null,"greatest":null,"context":"postmaster","boot":null,"source":"configuration file","pending_restart":false,"file":"pg_stat_statements, auto_explain","pending_reload":false}"#;
    const TIMEZONE: &str = r#"{"key":"timezone","running":"UTC","shown":"UTC","unit":null,"vartype":"string","least":null,"greatest":null,"context":"user","boot":null,"source":"configuration file","pending_restart":false,"file":"utc","pending_reload":false}"#;
    const COST_DELAY: &str = r#"{"key":"vacuum_cost_delay","running":"1.5","shown":"1500us","unit":"ms","vartype":"real","least":"0","greatest":"100","context":"user","boot":null,"source":"configuration file","pending_restart":false,"file":"1500us","pending_reload":false}"#;
    const WAL_BUFFERS: &str = r#"{"key":"wal_buffers","running":"408","shown":"3264kB","unit":"8kB","vartype":"integer","least":"-1","greatest":"262143","context":"postmaster","boot":null,"source":"override","pending_restart":false,"file":"-1","pending_reload":false}"#;
    const WORK_MEM: &str = r#"{"key":"work_mem","running":"8192","shown":"8MB","unit":"kB","vartype":"integer","least":"64","greatest":"2147483647","context":"user","boot":null,"source":"configuration file","pending_restart":false,"file":"8MB","pending_reload":false}"#;

    fn setting(name: &str, value: &[&str]) -> PostgresSetting {
        PostgresSetting {
            name: name.to_owned(),
            value: value.iter().map(|item| (*item).to_owned()).collect(),
            list: value.len() > 1,
            live: None,
        }
    }

    fn row(json: &str, change: &[(&str, serde_json::Value)]) -> Row {
        let mut row: Row = serde_json::from_str(json).unwrap();
        for (column, value) in change {
            row.insert((*column).to_owned(), value.clone());
        }
        row
    }

    fn same(wanted: &PostgresSetting, row: Row) -> bool {
        let found = wanted.read(&[row]).unwrap();
        let same = wanted.fields(found.as_ref())[0].same == Same::Yes;
        assert_eq!(wanted.steps(found.as_ref()).is_empty(), same);
        same
    }

    #[test]
    fn values_are_compared_in_their_units() {
        for (name, value, json, is) in [
            ("work_mem", "8MB", WORK_MEM, true),
            ("work_mem", "8192", WORK_MEM, true),
            ("work_mem", "8192kB", WORK_MEM, true),
            ("work_mem", "9MB", WORK_MEM, false),
            ("shared_buffers", "0.1GB", SHARED_BUFFERS, true),
            ("shared_buffers", "102 MB", SHARED_BUFFERS, true),
            ("vacuum_cost_delay", "1.5ms", COST_DELAY, true),
            ("vacuum_cost_delay", "1.5", COST_DELAY, true),
            ("wal_buffers", "-1", WAL_BUFFERS, true),
            ("timezone", "utc", TIMEZONE, true),
            ("TimeZone", "Europe/Berlin", TIMEZONE, false),
        ] {
            assert_eq!(same(&setting(name, &[value]), row(json, &[])), is, "{name} = {value}");
        }
        let list = setting("shared_preload_libraries", &["pg_stat_statements", "auto_explain"]);
        assert!(same(&list, row(LIBRARIES, &[])));
        let text = setting("shared_preload_libraries", &["pg_stat_statements,auto_explain"]);
        assert!(same(&text, row(LIBRARIES, &[])));
    }

    #[test]
    fn numbers_are_read_as_the_server_reads_them() {
        assert_eq!(number("30.1GB", "kB", true), Some(30822.0 * 1024.0));
        assert_eq!(number("1min", "ms", true), Some(60_000.0));
        assert_eq!(number("0640", "", true), Some(416.0));
        assert_eq!(number("0x10", "", true), Some(16.0));
        assert_eq!(number("1e3", "", true), Some(1000.0));
        assert_eq!(number("-1", "8kB", true), Some(-1.0));
        assert_eq!(number("8mb", "kB", true), None);
        assert_eq!(number("8MB", "ms", true), None);
        assert_eq!(number("8MB", "", true), None);
        assert_eq!(number("many", "", true), None);
        assert_eq!(truth("of"), Some(false));
        assert_eq!(truth("o"), None);
    }

    #[test]
    fn what_lies_in_the_files_and_is_not_in_force_is_owed() {
        let wanted = setting("max_connections", &["100"]);
        let pending = [("file", "100".into()), ("pending_restart", true.into())];
        let found = wanted.read(&[row(MAX_CONNECTIONS, &pending)]).unwrap();
        let field = &wanted.fields(found.as_ref())[0];
        assert_eq!(field.from.as_deref(), Some("80 (100 after a restart)"));
        assert_eq!(field.impact, Impact::Restart);
        let steps = wanted.steps(found.as_ref());
        assert!(matches!(steps[..], [Step { does: Do::Restart, .. }]));

        // Right now, but wrong after the next restart: only the file is written.
        let wanted = setting("max_connections", &["80"]);
        let found = wanted.read(&[row(MAX_CONNECTIONS, &pending)]).unwrap();
        assert_eq!(wanted.fields(found.as_ref())[0].impact, Impact::Reload);
        let steps = wanted.steps(found.as_ref());
        assert_eq!(steps.iter().map(|step| step.merge).collect::<Vec<_>>(), [None, Some("reload")]);

        // Taken out of the files, though still in force.
        assert!(!same(&wanted, row(MAX_CONNECTIONS, &[("file", serde_json::Value::Null)])));
        // Written, not read yet.
        assert!(!same(&setting("work_mem", &["8MB"]), row(WORK_MEM, &[("file", "9MB".into())])));
        // Never in a file, and the default is what is wanted.
        let default = [("file", serde_json::Value::Null), ("source", "default".into())];
        assert!(same(&setting("work_mem", &["8MB"]), row(WORK_MEM, &default)));
    }

    #[test]
    fn what_our_own_session_runs_with_does_not_hide_the_servers() {
        let session = [("running", "3072".into()), ("shown", "3MB".into()), ("source", "user".into()), ("boot", "4096".into())];
        assert!(same(&setting("work_mem", &["8MB"]), row(WORK_MEM, &session)));
    }

    #[test]
    fn what_cannot_be_is_said_while_planning() {
        let no = |name: &str, value: &str, json: &str, change: &[(&str, serde_json::Value)]| {
            setting(name, &[value]).read(&[row(json, change)]).unwrap_err()
        };
        let why = no("max_connections", "lots", MAX_CONNECTIONS, &[]);
        assert_eq!(why, "`max_connections` takes 1 to 262143, not `lots`");
        no("work_mem", "1kB", WORK_MEM, &[]);
        let line = [("source", "command line".into())];
        no("max_connections", "90", MAX_CONNECTIONS, &line);
        assert!(same(&setting("max_connections", &["80"]), row(MAX_CONNECTIONS, &line)));
        no("max_connections", "90", MAX_CONNECTIONS, &[("context", "internal".into())]);
        assert!(setting("nosuch", &["1"]).read(&[]).is_err());
        assert!(setting("pg_stat_statements.max", &["1"]).read(&[]).unwrap().is_none());
    }

    #[test]
    fn a_list_is_set_item_by_item_and_never_to_one_without_a_name() {
        let sql = |setting: &PostgresSetting| match &setting.steps(None)[0].does {
            Do::Sql { text, transaction: false } => text.shown(),
            other => panic!("{other:?}"),
        };
        let libraries = setting("shared_preload_libraries", &["pg_stat_statements", "auto_explain"]);
        let text = sql(&libraries);
        assert!(text.ends_with("SET \"shared_preload_libraries\" = E'pg_stat_statements', E'auto_explain';\n"), "{text}");
        let nothing = PostgresSetting { list: true, ..setting("shared_preload_libraries", &[]) };
        assert!(sql(&nothing).ends_with("ALTER SYSTEM RESET \"shared_preload_libraries\";\n"));
        assert!(sql(&setting("pg_stat_statements.max", &["100"])).contains("set_config"));
    }
}
