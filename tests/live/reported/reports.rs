//! Public reports of comparable tools, tried for real: `tests/cases/reports.toml`.

use std::collections::BTreeSet;

use crate::lab::{Change, Lab, engine};

/// Both servers; the reports' own pieces are added to it.
const SERVERS: &str = r#"
[environment]
project = "PROJECT"
[postgres.analytics]
[forward.analytics]
to = "postgres.analytics"
listen = "127.0.0.1:POSTGRES_PORT"
[forward.ivr]
to = "mariadb.ivr"
listen = "127.0.0.1:MARIADB_PORT"
"#;

#[test]
fn public_reports_are_no_faults_here() {
    if !engine() {
        return;
    }
    let cases: toml::Table = include_str!("../../cases/reports.toml").parse().unwrap();
    let reports = cases["report"].as_array().unwrap();
    assert!(reports.len() >= 15, "{} reports", reports.len());
    check_log(reports);

    let kept: String = texts(reports, "declare").collect();
    let gone: String = texts(reports, "gone").collect();
    let lab = Lab::with("reports", &format!("{SERVERS}{kept}{gone}"));
    lab.apply();
    lab.nothing_to_do();

    by_hand(&lab, reports, "made");
    lab.apply();
    lab.nothing_to_do();

    by_hand(&lab, reports, "drift");
    let found: BTreeSet<Change> = lab.plan().into_iter().map(sorted).collect();
    let wanted: BTreeSet<Change> = reports.iter().flat_map(expected).map(sorted).collect();
    let surplus: Vec<_> = found.difference(&wanted).collect();
    let missing: Vec<_> = wanted.difference(&found).collect();
    assert!(
        surplus.is_empty() && missing.is_empty(),
        "not expected: {surplus:#?}\nnot named: {missing:#?}"
    );
    lab.apply();
    lab.nothing_to_do();

    lab.edit("local.toml", &gone, "");
    lab.apply();
    lab.nothing_to_do();
    reports.iter().for_each(|report| holds(&lab, report));
}

/// Every row names its source as `owner/repository#number`, what was said, and a verdict that is no fault.
fn check_log(reports: &[toml::Value]) {
    for report in reports {
        let text = |key: &str| report[key].as_str().unwrap();
        let source = text("source");
        let (repository, number) = source.split_once('#').unwrap();
        assert_eq!(repository.split('/').count(), 2, "{source}");
        assert!(number.parse::<u32>().is_ok(), "{source}");
        assert!(!text("said").is_empty(), "{source}");
        assert_ne!(text("verdict"), "fault", "{source}");
    }
}

fn texts<'a>(reports: &'a [toml::Value], key: &'a str) -> impl Iterator<Item = &'a str> {
    reports
        .iter()
        .filter_map(move |report| report.get(key)?.as_str())
}

/// Does what the rows say under a key, as the superuser of each server.
fn by_hand(lab: &Lab, reports: &[toml::Value], key: &str) {
    for todo in reports.iter().filter_map(|report| report.get(key)) {
        if let Some(words) = todo.get("psql") {
            lab.psql(words[0].as_str().unwrap(), words[1].as_str().unwrap());
        }
        if let Some(sql) = todo.get("mariadb") {
            lab.mariadb(sql.as_str().unwrap());
        }
    }
}

fn expected(report: &toml::Value) -> Vec<Change> {
    let rows = report.get("expect").and_then(toml::Value::as_array);
    let row = |row: &toml::Value| {
        let word = |word: &toml::Value| word.as_str().unwrap().to_owned();
        let words: Vec<String> = row.as_array().unwrap().iter().map(word).collect();
        (words[0].clone(), words[1].clone(), words[2..].to_vec())
    };
    rows.into_iter().flatten().map(row).collect()
}

fn sorted((id, action, mut fields): Change) -> Change {
    fields.sort();
    (id, action, fields)
}

fn holds(lab: &Lab, report: &toml::Value) {
    let rows = report.get("holds").and_then(toml::Value::as_array);
    for row in rows.into_iter().flatten() {
        let [database, sql, answer] = [0, 1, 2].map(|at| row[at].as_str().unwrap());
        let said = lab.psql(database, sql);
        assert_eq!(said, answer, "{:?}: {sql}", report["source"]);
    }
}
