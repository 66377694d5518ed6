//! An environment file in the making: tables with keys, each of which knows where in the source it comes from.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::import::account::{Account, Key};
use crate::secret::Secret;

/// A value of the file.
#[derive(Clone, Debug, PartialEq)]
pub enum Toml {
    /// A string, which may hold templates of ours.
    Text(String),
    /// A whole number.
    Int(i64),
    /// `true` or `false`.
    Bool(bool),
    /// A list.
    List(Vec<Toml>),
    /// An inline table.
    Inline(Vec<(String, Toml)>),
    /// A secret of the [`Draft`], by its name.
    Secret(String),
}

impl Toml {
    /// A list of strings.
    pub fn texts<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Self {
        Toml::List(
            texts
                .into_iter()
                .map(|one| Toml::Text(one.into()))
                .collect(),
        )
    }
}

/// A text of somebody else as a string of an environment file, in which `{{` would begin a template.
pub fn literal(text: &str) -> String {
    if !text.contains("{{") && !text.contains("{%") && !text.contains("{#") {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        match from.get(..2) {
            Some(open @ ("{{" | "{%" | "{#")) => {
                // Two halves, since `{%` is refused wherever it stands.
                let second = open.get(1..).unwrap_or_default();
                let _ = write!(out, "{{{{ '{{' }}}}{{{{ '{second}' }}}}");
                rest = from.get(2..).unwrap_or_default();
            }
            _ => {
                out.push('{');
                rest = from.get(1..).unwrap_or_default();
            }
        }
    }
    out.push_str(rest);
    out
}

/// A key of a table.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub value: Toml,
    /// The keys of the source that it is made of.
    pub from: Vec<Key>,
    /// A word beside it, besides where it comes from.
    pub note: String,
}

/// A table.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Its name, in parts.
    pub path: Vec<String>,
    /// One of a list of tables.
    pub many: bool,
    /// Its keys.
    pub entries: Vec<Entry>,
    /// The keys of the source that it is made of, besides those of its entries.
    pub from: Vec<Key>,
    /// Lines above it.
    pub comment: Vec<String>,
}

impl Table {
    /// One more key, in place of one that has the name already.
    pub fn set(&mut self, name: &str, value: Toml, from: impl IntoIterator<Item = Key>) {
        self.set_with(name, value, from, "");
    }

    /// The same with a word beside it.
    pub fn set_with(
        &mut self,
        name: &str,
        value: Toml,
        from: impl IntoIterator<Item = Key>,
        note: &str,
    ) {
        let entry = Entry {
            name: name.to_owned(),
            value,
            from: from.into_iter().collect(),
            note: note.to_owned(),
        };
        match self.entries.iter_mut().find(|there| there.name == name) {
            Some(there) => *there = entry,
            None => self.entries.push(entry),
        }
    }

    /// What a key holds.
    pub fn get(&self, name: &str) -> Option<&Toml> {
        let entry = self.entries.iter().find(|entry| entry.name == name)?;
        Some(&entry.value)
    }

    /// Adds to a list, which is made where it is not there.
    pub fn push(&mut self, name: &str, value: Toml, from: impl IntoIterator<Item = Key>) {
        let from = from.into_iter();
        match self.entries.iter_mut().find(|there| there.name == name) {
            Some(Entry {
                value: Toml::List(list),
                from: keys,
                ..
            }) => {
                if !list.contains(&value) {
                    list.push(value);
                }
                keys.extend(from);
            }
            _ => self.set(name, Toml::List(vec![value]), from),
        }
    }
}

/// A secret that was taken out of the source.
#[derive(Clone, Debug)]
pub struct Moved {
    /// What it was; none where the source itself only named a variable.
    pub value: Option<Secret>,
}

/// Where secrets are moved to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Secrets {
    /// Variables of whoever runs `provision`.
    #[default]
    Env,
    /// A `.env` file beside the environment file.
    Dotenv,
}

/// The environment file.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// Lines at its beginning.
    pub head: Vec<String>,
    tables: Vec<Table>,
    secrets: BTreeMap<String, Moved>,
}

/// The lines of a rendered file that a table or a key stands on.
#[derive(Clone, Debug)]
struct Span {
    table: usize,
    entry: Option<usize>,
    first: usize,
    last: usize,
}

/// A rendered file, which knows what stands on which line.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The file.
    pub text: String,
    spans: Vec<Span>,
}

/// What a problem of the file made the draft give up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// As in `[django.web]` or `[django.web] health`.
    pub what: String,
}

impl Draft {
    /// Begins a file: where it comes from, and what every imported environment says of itself. `keys` are those that name the project.
    pub fn begin(&mut self, shown: &str, project: String, keys: impl IntoIterator<Item = Key>) {
        self.head = vec![format!(
            "Imported from {shown}: each line names where it comes from. Look at it, then run `provision plan`."
        )];
        let environment = self.table(&["environment"]);
        environment.set("project", Toml::Text(project), keys);
        environment.set("stage", Toml::Text("dev".to_owned()), []);
        self.table(&["target"])
            .set("driver", Toml::Text("auto".to_owned()), []);
    }

    /// A table by its name, made where it is not there.
    pub fn table(&mut self, path: &[&str]) -> &mut Table {
        let at = match self.position(path) {
            Some(at) => at,
            None => {
                self.tables.push(Table {
                    path: path.iter().map(|part| (*part).to_owned()).collect(),
                    ..Table::default()
                });
                self.tables.len() - 1
            }
        };
        &mut self.tables[at]
    }

    fn position(&self, path: &[&str]) -> Option<usize> {
        self.tables
            .iter()
            .position(|table| !table.many && table.path == path)
    }

    /// A table by its name, if it is there.
    pub fn find(&self, path: &[&str]) -> Option<&Table> {
        self.position(path).and_then(|at| self.tables.get(at))
    }

    /// One more of a list of tables.
    pub fn another(&mut self, path: &[&str]) -> &mut Table {
        let at = self.tables.len();
        self.tables.push(Table {
            path: path.iter().map(|part| (*part).to_owned()).collect(),
            many: true,
            ..Table::default()
        });
        &mut self.tables[at]
    }

    /// All tables.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// The same, to be changed.
    pub fn tables_mut(&mut self) -> &mut [Table] {
        &mut self.tables
    }

    /// Names of the tables below a word, as in those of `postgres`.
    pub fn names(&self, word: &str) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for table in &self.tables {
            if let [first, name, ..] = table.path.as_slice()
                && first == word
                && !names.contains(name)
            {
                names.push(name.clone());
            }
        }
        names
    }

    /// A secret under a name that is near to the wanted one: another one only where that name holds another secret.
    pub fn secret(&mut self, wanted: &str, value: Option<Secret>) -> Toml {
        let wanted = variable(wanted);
        let same = |there: &Moved| match (&there.value, &value) {
            (Some(one), Some(other)) => one.expose() == other.expose(),
            (None, None) => true,
            _ => false,
        };
        let mut name = wanted.clone();
        let mut next = 2;
        while self.secrets.get(&name).is_some_and(|there| !same(there)) {
            name = format!("{wanted}_{next}");
            next += 1;
        }
        self.secrets.insert(name.clone(), Moved { value });
        Toml::Secret(name)
    }

    /// The secrets that the file names.
    pub fn secrets(&self) -> BTreeMap<&str, &Moved> {
        fn named<'a>(value: &'a Toml, names: &mut Vec<&'a str>) {
            match value {
                Toml::Secret(name) => names.push(name),
                Toml::List(list) => list.iter().for_each(|one| named(one, names)),
                Toml::Inline(pairs) => pairs.iter().for_each(|(_, one)| named(one, names)),
                _ => {}
            }
        }
        let mut names = Vec::new();
        for entry in self.tables.iter().flat_map(|table| &table.entries) {
            named(&entry.value, &mut names);
        }
        let there = |name: &'_ str| self.secrets.get_key_value(name);
        let named = names.into_iter().filter_map(there);
        named.map(|(name, moved)| (name.as_str(), moved)).collect()
    }

    /// All keys of the source that are in it.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        self.tables.iter().flat_map(|table| {
            let own = table.from.iter();
            let entries = table.entries.iter().flat_map(|entry| &entry.from);
            own.chain(entries).copied()
        })
    }

    /// The file.
    pub fn render(&self, secrets: Secrets, account: &Account) -> Rendered {
        let mut writer = Writer {
            out: String::new(),
            line: 1,
            secrets,
            account,
        };
        for line in &self.head {
            writer.line(&match line.is_empty() {
                true => String::new(),
                false => format!("# {line}"),
            });
        }
        let mut spans = Vec::new();
        for (at, table) in self.tables.iter().enumerate() {
            writer.table(at, table, &mut spans);
        }
        Rendered {
            text: writer.out,
            spans,
        }
    }

    /// Gives up what stands on a line that the file cannot be used with: a key, or the table it is needed in.
    pub fn drop_line(
        &mut self,
        rendered: &Rendered,
        line: usize,
        reason: &str,
        account: &mut Account,
    ) -> Option<Dropped> {
        let span = rendered
            .spans
            .iter()
            .find(|span| span.entry.is_some() && (span.first..=span.last).contains(&line))
            .or_else(|| {
                let mut tables = rendered.spans.iter().filter(|span| span.entry.is_none());
                tables.rfind(|span| span.first <= line)
            })?;
        let table = self.tables.get_mut(span.table)?;
        let name = table.path.join(".");
        let (what, keys) = match span.entry {
            Some(entry) if entry < table.entries.len() => {
                let entry = table.entries.remove(entry);
                (format!("`{}` of `[{name}]`", entry.name), entry.from)
            }
            _ => {
                let keys = table.from.iter().copied();
                let entries = table.entries.iter().flat_map(|entry| entry.from.clone());
                let keys = keys.chain(entries).collect();
                self.tables.remove(span.table);
                (format!("`[{name}]`"), keys)
            }
        };
        for key in keys {
            account.insist(key, format!("{what} cannot be: {reason}"));
        }
        Some(Dropped { what })
    }

    /// Takes entries of lists out, whose reason is in another table: the keys of the source that they were made of become that one's.
    pub fn remove_many(&mut self, is: &dyn Fn(&Table) -> bool, heir: &[&str]) {
        let mut keys: Vec<Key> = Vec::new();
        self.tables.retain(|table| {
            let gone = is(table);
            if gone {
                keys.extend(&table.from);
                keys.extend(table.entries.iter().flat_map(|entry| &entry.from));
            }
            !gone
        });
        if !keys.is_empty() {
            self.table(heir).from.extend(keys);
        }
    }

    /// Gives up every table below a path.
    pub fn drop_below(&mut self, path: &[String]) -> Vec<Key> {
        let mut keys: Vec<Key> = Vec::new();
        self.tables.retain(|table| {
            let below = table.path.starts_with(path);
            if below {
                keys.extend(&table.from);
                keys.extend(table.entries.iter().flat_map(|entry| &entry.from));
            }
            !below
        });
        keys
    }
}

/// The table that a line of the file is in.
impl Rendered {
    /// As a number in the draft's tables.
    pub fn table_at(&self, line: usize) -> Option<usize> {
        let mut tables = self.spans.iter().filter(|span| span.entry.is_none());
        tables
            .rfind(|span| span.first <= line)
            .map(|span| span.table)
    }
}

/// A name as a variable may be called.
pub fn variable(name: &str) -> String {
    let plain = |c: char| match c.is_ascii_alphanumeric() {
        true => c.to_ascii_uppercase(),
        false => '_',
    };
    let name: String = name.chars().map(plain).collect();
    match name.chars().next() {
        Some(c) if !c.is_ascii_digit() => name,
        _ => format!("V{name}"),
    }
}

struct Writer<'a> {
    out: String,
    line: usize,
    secrets: Secrets,
    account: &'a Account,
}

impl Writer<'_> {
    fn line(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
        self.line += 1 + text.matches('\n').count();
    }

    fn table(&mut self, at: usize, table: &Table, spans: &mut Vec<Span>) {
        if !self.out.is_empty() {
            self.line("");
        }
        for line in &table.comment {
            self.line(&format!("# {line}"));
        }
        let path: Vec<String> = table.path.iter().map(|part| key(part)).collect();
        let path = path.join(".");
        let header = match table.many {
            true => format!("[[{path}]]"),
            false => format!("[{path}]"),
        };
        spans.push(Span {
            table: at,
            entry: None,
            first: self.line,
            last: self.line,
        });
        self.commented(&header, "", &table.from);
        for (number, entry) in table.entries.iter().enumerate() {
            let first = self.line;
            let text = format!("{} = {}", key(&entry.name), self.value(&entry.value));
            self.commented(&text, &entry.note, &entry.from);
            spans.push(Span {
                table: at,
                entry: Some(number),
                first,
                last: self.line - 1,
            });
        }
    }

    /// A line, and where it comes from.
    fn commented(&mut self, text: &str, note: &str, from: &[Key]) {
        let mut places: Vec<String> = Vec::new();
        for place in from.iter().map(|key| self.account.place(*key)) {
            if !places.contains(&place) {
                places.push(place);
            }
        }
        let more = places.len().saturating_sub(3);
        places.truncate(3);
        let mut beside = places.join(", ");
        if more > 0 {
            let _ = write!(beside, " and {more} more");
        }
        if !note.is_empty() {
            let colon = if beside.is_empty() { "" } else { ": " };
            beside.push_str(colon);
            beside.push_str(note);
        }
        match beside.is_empty() {
            true => self.line(text),
            // What people named their file is not ours to end a line with.
            false => {
                let clean = |c: char| if c.is_control() { '?' } else { c };
                let beside: String = beside.chars().map(clean).collect();
                let width = text.rsplit('\n').next().unwrap_or_default();
                let gap = 48usize.saturating_sub(width.chars().count()).max(1);
                self.line(&format!("{text}{:gap$}# {beside}", ""));
            }
        }
    }

    fn value(&self, value: &Toml) -> String {
        match value {
            Toml::Text(text) => string(text),
            Toml::Int(number) => number.to_string(),
            Toml::Bool(word) => word.to_string(),
            Toml::List(list) => {
                let items: Vec<String> = list.iter().map(|one| self.value(one)).collect();
                let line = format!("[{}]", items.join(", "));
                match line.chars().count() > 120 && items.len() > 1 {
                    true => format!("[\n    {},\n]", items.join(",\n    ")),
                    false => line,
                }
            }
            Toml::Inline(pairs) => {
                let pairs: Vec<String> = pairs
                    .iter()
                    .map(|(name, one)| format!("{} = {}", key(name), self.value(one)))
                    .collect();
                match pairs.is_empty() {
                    true => "{}".to_owned(),
                    false => format!("{{ {} }}", pairs.join(", ")),
                }
            }
            Toml::Secret(name) => match self.secrets {
                Secrets::Env => format!("{{ env = {} }}", string(name)),
                Secrets::Dotenv => format!("{{ dotenv = \".env\", key = {} }}", string(name)),
            },
        }
    }
}

/// A key as TOML has it.
fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    match !name.is_empty() && name.chars().all(bare) {
        true => name.to_owned(),
        false => string(name),
    }
}

/// A string as TOML has it: literal where that keeps quotes readable.
pub fn string(text: &str) -> String {
    let plain = !text.contains('\'') && !text.chars().any(char::is_control);
    if plain && text.contains(['"', '\\']) {
        return format!("'{text}'");
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn any_string_is_read_back() {
        for text in [
            "a",
            "a\"b",
            "a'b\"c",
            "a\\n",
            "a\nb\t\u{1}",
            "ä {{ x }}",
            "",
        ] {
            let table: toml::Table = format!("k = {}", string(text)).parse().unwrap();
            assert_eq!(table["k"].as_str(), Some(text));
        }
    }

    #[test]
    fn a_text_of_somebody_else_is_no_template() {
        for text in [
            "{{ x }}",
            "a{%b%}",
            "{#{{{",
            "{",
            "{{{{",
            "plain {x}",
            "{{'",
        ] {
            let names = BTreeMap::new();
            let rendered = crate::template::value(&literal(text), &names).unwrap();
            assert_eq!(rendered.text.expose().expose(), text);
        }
    }

    #[test]
    fn secrets_of_one_name_are_one_secret_only_where_they_are_equal() {
        let mut draft = Draft::default();
        let one = draft.secret("db-password", Some(Secret::new("a")));
        assert_eq!(one, Toml::Secret("DB_PASSWORD".to_owned()));
        assert_eq!(draft.secret("DB_PASSWORD", Some(Secret::new("a"))), one);
        let other = draft.secret("DB_PASSWORD", Some(Secret::new("b")));
        assert_eq!(other, Toml::Secret("DB_PASSWORD_2".to_owned()));
        assert!(draft.secrets().is_empty(), "nobody names them yet");
    }

    #[test]
    fn what_cannot_be_is_given_up_and_told() {
        let mut account = Account::default();
        let key = account.add("a.yml", 3, "x");
        let mut draft = Draft::default();
        draft.head.push("head".to_owned());
        draft
            .table(&["django", "web"])
            .set("a", Toml::Int(1), [key]);
        draft.table(&["django", "web"]).set("b", Toml::Int(2), []);
        let rendered = draft.render(Secrets::Env, &account);
        let line = rendered
            .text
            .lines()
            .position(|line| line.starts_with("a ="))
            .unwrap()
            + 1;
        assert!(rendered.text.contains("# a.yml:3"), "{}", rendered.text);
        let dropped = draft
            .drop_line(&rendered, line, "no", &mut account)
            .unwrap();
        assert_eq!(dropped.what, "`a` of `[django.web]`");
        assert_eq!(account.count().left, 1);
        let rendered = draft.render(Secrets::Env, &account);
        assert!(draft.drop_line(&rendered, 3, "no", &mut account).is_some());
        assert!(draft.tables().is_empty());
    }
}
