//! The language written down for others: a JSON Schema for editors, and the reference in the README. Both are made from the
//! tables that the reader goes by.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value as Json, json};

use crate::declaration::{Key, Table, Type};
use crate::environment::check;
use crate::environment::read::{Raw, RawValue};
use crate::services::ROOT;

/// What a template looks like in a string whose form is fixed otherwise.
const TEMPLATE: &str = "\\{\\{";

/// The JSON Schema (draft 2020-12) of an environment file. A file may leave out what it inherits, so nothing is required
/// but within items of a list.
pub fn schema() -> Json {
    let mut tables = BTreeMap::new();
    let root = object(&ROOT, false, &mut tables);
    let definitions: Map<String, Json> = tables.into_iter().collect();
    let mut schema = Map::new();
    schema.insert(
        "$schema".to_owned(),
        json!("https://json-schema.org/draft/2020-12/schema"),
    );
    schema.insert("title".to_owned(), json!("provision environment"));
    schema.extend(root.as_object().cloned().unwrap_or_default());
    schema.insert("$defs".to_owned(), Json::Object(definitions));
    Json::Object(schema)
}

type Tables = BTreeMap<String, Json>;

fn object(table: &'static Table, whole: bool, tables: &mut Tables) -> Json {
    let mut properties = Map::new();
    for key in table.keys {
        let mut value = of(&key.of, tables);
        describe(&mut value, key);
        if is_list(&key.of) && key.name != "extends" {
            let mut more = of(&key.of, tables);
            if let Some(more) = more.as_object_mut() {
                let doc = format!("Appends to the inherited `{}`.", key.name);
                more.insert("description".to_owned(), json!(doc));
            }
            properties.insert(format!("+{}", key.name), more);
        }
        properties.insert(key.name.to_owned(), value);
    }
    let required: Vec<&str> = table
        .keys
        .iter()
        .filter(|key| whole && key.required)
        .map(|key| key.name)
        .collect();
    let mut object = json!({
        "type": "object",
        "description": table.doc,
        "properties": properties,
        "additionalProperties": false,
    });
    if let (false, Some(object)) = (required.is_empty(), object.as_object_mut()) {
        object.insert("required".to_owned(), json!(required));
    }
    object
}

fn describe(value: &mut Json, key: &Key) {
    let Some(value) = value.as_object_mut() else {
        return;
    };
    value.insert("description".to_owned(), json!(key.doc));
    if let Some(default) = key.default.and_then(check::default_value) {
        value.insert("default".to_owned(), plain(default));
    }
}

/// A table by reference, so that each is written once.
fn table(table: &'static Table, whole: bool, tables: &mut Tables) -> Json {
    let name = match whole {
        true => format!("{}[]", table.name),
        false => table.name.to_owned(),
    };
    if !tables.contains_key(&name) {
        tables.insert(name.clone(), Json::Null); // a table that holds itself would not end
        let object = object(table, whole, tables);
        tables.insert(name.clone(), object);
    }
    json!({ "$ref": format!("#/$defs/{}", pointer(&name)) })
}

/// A name in a JSON pointer in a URI fragment.
fn pointer(name: &str) -> String {
    name.replace('~', "~0")
        .replace('/', "~1")
        .replace('[', "%5B")
        .replace(']', "%5D")
}

fn of(of_type: &'static Type, tables: &mut Tables) -> Json {
    match of_type {
        Type::Bool => json!({ "type": "boolean" }),
        Type::Int(low, high) => match (*low, *high) {
            (i64::MIN, i64::MAX) => json!({ "type": "integer" }),
            (low, high) => json!({ "type": "integer", "minimum": low, "maximum": high }),
        },
        Type::Text | Type::Template | Type::Path => json!({ "type": "string" }),
        Type::Name => string(r"^[a-z][a-z0-9_-]{0,47}$"),
        Type::PostgresName => string(r"^[^\u0000-\u001f\u007f]{1,63}$"),
        Type::Identifier => string(r#"^[^/\\'"`\u0000-\u001f\u007f]{1,63}$"#),
        Type::Listen => string(r"^(\[[0-9A-Fa-f:.%]+\]|[0-9.]+):[0-9]{1,5}$"),
        Type::Service => string(r"^[a-z]+\.[a-z][a-z0-9_-]{0,47}$"),
        Type::Word(words) => json!({
            "anyOf": [{ "enum": words }, { "type": "string", "pattern": TEMPLATE }],
        }),
        Type::Secret => secret(),
        Type::Setting => json!({
            "type": ["string", "number", "boolean", "array"],
            "items": { "type": "string" },
        }),
        Type::List(item) => json!({ "type": "array", "items": of(item, tables) }),
        Type::Map(value) => json!({
            "type": "object",
            "additionalProperties": of(value, tables),
        }),
        Type::Table(inner) => table(inner, false, tables),
        Type::Named(inner) => json!({
            "type": "object",
            "additionalProperties": table(inner, false, tables),
        }),
        Type::Many(inner) => json!({ "type": "array", "items": table(inner, true, tables) }),
        Type::Either(one, other) => json!({ "anyOf": [of(one, tables), of(other, tables)] }),
    }
}

fn string(pattern: &str) -> Json {
    json!({ "type": "string", "pattern": format!("{pattern}|{TEMPLATE}") })
}

fn secret() -> Json {
    let one = |key: &str, value: Json| {
        json!({
            "type": "object",
            "properties": { key: value },
            "required": [key],
            "additionalProperties": false,
        })
    };
    let text = || json!({ "type": "string", "minLength": 1 });
    json!({
        "anyOf": [
            text(),
            one("env", text()),
            one("file", text()),
            {
                "type": "object",
                "properties": { "dotenv": text(), "key": text() },
                "required": ["dotenv", "key"],
                "additionalProperties": false,
            },
            one("command", json!({ "type": "array", "items": text(), "minItems": 1 })),
            one("generate", json!({ "const": true })),
        ],
    })
}

fn is_list(of: &Type) -> bool {
    match of {
        Type::List(_) | Type::Many(_) => true,
        Type::Either(one, other) => is_list(one) || is_list(other),
        _ => false,
    }
}

fn plain(raw: Raw) -> Json {
    match raw.value {
        RawValue::Bool(value) => json!(value),
        RawValue::Int(value) => json!(value),
        RawValue::Text(text) | RawValue::Float(text) => json!(text),
        RawValue::Huge | RawValue::Date => Json::Null,
        RawValue::List(items) => items.into_iter().map(plain).collect(),
        RawValue::Table(table) => {
            let entries = table
                .into_iter()
                .map(|(key, entry)| (key, plain(entry.node)));
            Json::Object(entries.collect())
        }
    }
}

/// The reference of the language in Markdown: every table with its keys.
pub fn reference() -> String {
    let mut order: Vec<(&'static Table, bool)> = Vec::new();
    let mut text = String::new();
    tables_of(&ROOT, &mut order);
    text.push_str("A key may be left out unless it is required.\n");
    section(&mut text, "The file", &ROOT);
    for (table, many) in order {
        let title = match many {
            true => format!("`[[{}]]`", table.name),
            false => format!("`[{}]`", table.name),
        };
        section(&mut text, &title, table);
    }
    text
}

fn tables_of(table: &'static Table, order: &mut Vec<(&'static Table, bool)>) {
    for key in table.keys {
        inner_tables(&key.of, order);
    }
}

fn inner_tables(of: &'static Type, order: &mut Vec<(&'static Table, bool)>) {
    match of {
        Type::Table(table) | Type::Named(table) => add(table, false, order),
        Type::Many(table) => add(table, true, order),
        Type::List(of) | Type::Map(of) => inner_tables(of, order),
        Type::Either(one, other) => {
            inner_tables(one, order);
            inner_tables(other, order);
        }
        _ => {}
    }
}

fn add(table: &'static Table, many: bool, order: &mut Vec<(&'static Table, bool)>) {
    if order.iter().any(|(known, _)| std::ptr::eq(*known, table)) {
        return;
    }
    order.push((table, many));
    tables_of(table, order);
}

fn section(text: &mut String, title: &str, table: &Table) {
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "\n### {title}\n\n{}\n\n| key | holds | default | meaning |\n|---|---|---|---|\n",
        table.doc
    );
    for key in table.keys {
        let default = match (key.required, key.default) {
            (true, _) => "required".to_owned(),
            (_, Some(default)) => format!("`{default}`"),
            _ => String::new(),
        };
        let holds = cell(&kind(&key.of));
        let _ = writeln!(
            text,
            "| `{}` | {holds} | {} | {} |",
            key.name,
            cell(&default),
            cell(key.doc)
        );
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn kind(of: &Type) -> String {
    match of {
        Type::Bool => "boolean".to_owned(),
        Type::Int(i64::MIN, i64::MAX) => "whole number".to_owned(),
        Type::Int(low, high) => format!("whole number, {low} to {high}"),
        Type::Text => "string".to_owned(),
        Type::Template => "string, may use services".to_owned(),
        Type::Name | Type::Identifier | Type::PostgresName => "name".to_owned(),
        Type::Word(words) => {
            let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
            words.join(", ")
        }
        Type::Path => "path".to_owned(),
        Type::Listen => "address and port".to_owned(),
        Type::Service => "service".to_owned(),
        Type::Secret => "secret".to_owned(),
        Type::Setting => "string, number, boolean or list of strings".to_owned(),
        Type::List(of) => format!("list of: {}", kind(of)),
        Type::Map(of) => format!("table of: {}", kind(of)),
        Type::Table(table) => format!("`[{}]`", table.name),
        Type::Named(table) => format!("tables `[{}]`", table.name),
        Type::Many(table) => format!("list of tables `[[{}]]`", table.name),
        Type::Either(one, other) => format!("{}; or {}", kind(one), kind(other)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::environment::{self, read};

    /// A file as JSON, by the reader's own parser.
    fn json(path: &Path) -> Option<Json> {
        let bytes = read::bytes(path).unwrap();
        match read::Book::default().parse(String::new(), PathBuf::new(), bytes) {
            (_, read::Parsed::Table(table)) => {
                let entries = table
                    .into_iter()
                    .map(|(key, entry)| (key, plain(entry.node)));
                Some(Json::Object(entries.collect()))
            }
            _ => None,
        }
    }

    #[test]
    fn the_schema_accepts_what_the_reader_accepts() {
        let schema = schema();
        jsonschema::draft202012::meta::validate(&schema).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        for folder in ["environments", "tests/cases/environment"] {
            let folder = Path::new(folder);
            for name in environment::names(folder) {
                let Some(json) = json(&folder.join(format!("{name}.toml"))) else {
                    continue;
                };
                let errors: Vec<String> = validator
                    .iter_errors(&json)
                    .map(|error| format!("{}: {error}", error.instance_path))
                    .collect();
                if environment::load(folder, &name).is_ok() {
                    assert!(errors.is_empty(), "{name}: {errors:?}");
                }
                if name.starts_with("unknown_keys") || name.starts_with("wrong") {
                    assert!(!errors.is_empty(), "{name}");
                }
            }
        }
    }

    #[test]
    fn every_default_is_of_its_type() {
        fn each(table: &'static Table, seen: &mut Vec<&'static str>) {
            if seen.contains(&table.name) {
                return;
            }
            seen.push(table.name);
            for key in table.keys {
                if let Some(default) = key.default {
                    assert!(
                        check::default_value(default).is_some(),
                        "{} {}",
                        table.name,
                        key.name
                    );
                }
                let mut inner = Vec::new();
                inner_tables(&key.of, &mut inner);
                inner.into_iter().for_each(|(table, _)| each(table, seen));
            }
        }
        each(&ROOT, &mut Vec::new());
    }

    #[test]
    fn the_reference_names_every_table() {
        let text = reference();
        for word in [
            "`[environment]`",
            "`[postgres.NAME.role.NAME]`",
            "`[[postgres.NAME.grant]]`",
            "`[file.PATH]`",
        ] {
            assert!(text.contains(word), "{word}");
        }
    }
}
