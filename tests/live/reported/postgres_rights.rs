//! Rights in PostgreSQL: everything the server can grant is compared, or named as not compared.

use crate::lab::{Change, Lab, engine};

/// What the superuser makes, since its owner may not.
const BY_THE_SUPERUSER: &str = "CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw; SELECT lo_create(777)";

#[test]
fn every_kind_of_right_is_compared_and_healed() {
    if !engine() {
        return;
    }
    let cases: toml::Table = include_str!("../../cases/postgres_rights.toml").parse().unwrap();
    let lab = Lab::with("rights", cases["environment"].as_str().unwrap());
    lab.write("objects.sql", cases["objects"].as_str().unwrap());
    lab.apply();
    lab.nothing_to_do();
    lab.psql("app", BY_THE_SUPERUSER);
    lab.nothing_to_do();
    let mistakes: Vec<String> = cases["drift"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|case| check(&lab, case).err())
        .collect();
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n\n"));
}

/// Drifts, plans, applies and plans again; what was not as the case says.
fn check(lab: &Lab, case: &toml::Value) -> Result<(), String> {
    let name = case["name"].as_str().unwrap();
    lab.psql("app", case["sql"].as_str().unwrap());
    let mut found = lab.plan();
    let mut wanted: Vec<Change> = case["expect"]
        .as_table()
        .unwrap()
        .iter()
        .map(|(key, fields)| {
            let kind = if key.starts_with("app/") { "postgres_grant" } else { "postgres_role" };
            let fields = fields.as_array().unwrap().iter();
            let fields = fields.map(|field| field.as_str().unwrap().to_owned()).collect();
            (format!("{kind}.analytics:{key}"), "update".to_owned(), fields)
        })
        .collect();
    for (_, _, fields) in found.iter_mut().chain(&mut wanted) {
        fields.sort();
    }
    found.sort();
    wanted.sort();
    let healed = lab.provision(&["apply", "local", "--yes"]);
    let left = lab.plan();
    if found != wanted {
        return Err(format!("{name}: found {found:#?}, wanted {wanted:#?}"));
    }
    if healed.code != 0 || !left.is_empty() {
        return Err(format!("{name}: apply {healed:#?}, left {left:#?}"));
    }
    Ok(())
}
