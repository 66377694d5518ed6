//! The JSON Schema that `schema` prints, with a real validator: it takes every environment file there is and refuses wrong ones.

use std::fs;
use std::path::Path;

use jsonschema::Validator;
use serde_json::Value;

use crate::lab::{provision, run};

fn schema() -> Validator {
    let printed = run(provision().arg("schema")).ends(0).json();
    assert_eq!(printed, provision::environment::schema());
    jsonschema::meta::validate(&printed).unwrap();
    jsonschema::validator_for(&printed).unwrap()
}

fn json(text: &str) -> Value {
    let table: toml::Table = text
        .parse()
        .unwrap_or_else(|error| panic!("{error}\n{text}"));
    serde_json::to_value(table).unwrap()
}

/// The mistakes that a schema finds in a file.
fn mistakes(schema: &Validator, text: &str) -> Vec<String> {
    schema
        .iter_errors(&json(text))
        .map(|error| format!("{}: {error}", error.instance_path))
        .collect()
}

#[test]
fn every_environment_is_taken() {
    let schema = schema();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("environments");
    let names = provision::environment::names(&folder);
    assert!(names.len() >= 4, "{names:?}");
    for name in names {
        let text = fs::read_to_string(folder.join(format!("{name}.toml"))).unwrap();
        let found = mistakes(&schema, &text);
        assert!(found.is_empty(), "{name}: {}", found.join("\n"));
    }
}

/// What `validate` takes of the test cases, the schema takes too: an editor must not mark a good file.
#[test]
fn what_validate_takes_the_schema_takes() {
    let schema = schema();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/environment");
    let mut taken = 0;
    for name in provision::environment::names(&folder) {
        if provision::environment::load(&folder, &name).is_err() {
            continue;
        }
        let text = fs::read_to_string(folder.join(format!("{name}.toml"))).unwrap();
        let found = mistakes(&schema, &text);
        assert!(found.is_empty(), "{name}: {}", found.join("\n"));
        taken += 1;
    }
    assert!(taken >= 5, "{taken}");
}

#[test]
fn wrong_files_are_refused() {
    let schema = schema();
    for (what, text) in [
        ("an unknown table", "[postgers.db]\n"),
        ("an unknown key", "[postgres.db]\nverison = \"15\"\n"),
        ("a number for a string", "[postgres.db]\nimage = 15\n"),
        (
            "a string for a number",
            "[postgres.db.role.a]\nconnection_limit = \"7\"\n",
        ),
        (
            "a string for a boolean",
            "[postgres.db.role.a]\nlogin = \"yes\"\n",
        ),
        (
            "a word that is none of the choices",
            "[environment]\nstage = \"devel\"\n",
        ),
        (
            "a table for a list",
            "[[postgres.db.grant]]\nrole = \"a\"\ntables = { SELECT = true }\n",
        ),
        ("a list for a table", "postgres = []\n"),
        (
            "a secret that is a number",
            "[postgres.db.role.a]\npassword = 1\n",
        ),
        (
            "a secret from nowhere",
            "[postgres.db.role.a]\npassword = { evn = \"A\" }\n",
        ),
        (
            "an unknown key of a later table",
            "[host.a]\nadress = \"a\"\n",
        ),
    ] {
        assert!(!mistakes(&schema, text).is_empty(), "{what} is taken");
    }
    assert!(mistakes(&schema, "[environment]\nproject = \"x\"\n").is_empty());
}
