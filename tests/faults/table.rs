//! The rows, and the table that comes of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use crate::options::Options;
use crate::trial::{Trial, listen_to_panics};
use crate::{
    databases, deaths, engine, hostile, input, later, lockout, network, operator, scale, secrets,
    system,
};

/// How many rows the contract has.
const ROWS: usize = 104;

/// A row of the table.
#[derive(Debug)]
pub struct Row {
    pub id: &'static str,
    /// The fault in a few words.
    pub what: &'static str,
    pub how: How,
}

/// How a row is tried.
#[derive(Debug)]
pub enum How {
    /// Here, one after another.
    Tried(fn(&mut Trial)),
    /// Here, beside others: it needs no machine but its own, is in nobody's way and minds no load.
    Pure(fn(&mut Trial)),
    /// Here, after all others.
    Last(fn(&mut Trial)),
    /// By tests of the other binary, as in `live::session::name`, or beside the code, as in `src/quote.rs::name`.
    TestedBy(&'static [&'static str]),
    /// Not here, for a reason.
    NotHere(&'static str),
    /// Not tried yet.
    NotYet,
}

pub const fn row(id: &'static str, what: &'static str, how: How) -> Row {
    Row { id, what, how }
}

/// All rows in the order of their numbers.
pub fn rows() -> Vec<&'static Row> {
    let themes = [
        operator::ROWS,
        deaths::ROWS,
        network::ROWS,
        engine::ROWS,
        system::ROWS,
        hostile::ROWS,
        input::ROWS,
        databases::ROWS,
        secrets::ROWS,
        lockout::ROWS,
        later::ROWS,
        scale::ROWS,
    ];
    let mut rows: Vec<&Row> = themes.into_iter().flatten().collect();
    rows.sort_by_key(|row| number(row.id));
    rows
}

fn number(id: &str) -> usize {
    id.trim_start_matches('F').parse().unwrap_or(0)
}

pub fn row_of(id: &str) -> Option<&'static Row> {
    rows().into_iter().find(|row| row.id == id)
}

/// What is wrong with the table itself: a row that is absent or twice, a test that is not there.
pub fn mistakes() -> Vec<String> {
    let ids: Vec<&str> = rows().iter().map(|row| row.id).collect();
    let wanted: Vec<String> = (1..=ROWS).map(|number| format!("F{number:02}")).collect();
    let mut mistakes: Vec<String> = wanted
        .iter()
        .filter(|id| ids.iter().filter(|one| *one == id).count() != 1)
        .map(|id| format!("`{id}` has to be there exactly once"))
        .collect();
    let unknown = ids
        .iter()
        .filter(|id| !wanted.iter().any(|one| one == *id))
        .map(|id| format!("`{id}` is no row"));
    mistakes.extend(unknown);
    for row in rows() {
        let How::TestedBy(tests) = row.how else {
            continue;
        };
        for test in tests {
            if !is_test(test) {
                mistakes.push(format!("`{}` names `{test}`, which is no test", row.id));
            }
        }
    }
    mistakes
}

/// Whether a test stands in the sources, as in `live::session::name`, `encoders::name` or `src/quote.rs::name`.
pub fn is_test(path: &str) -> bool {
    let Some((module, name)) = path.rsplit_once("::") else {
        return false;
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file: PathBuf = match module.starts_with("src/") {
        true => root.join(module),
        false => root
            .join("tests")
            .join(format!("{}.rs", module.replace("::", "/"))),
    };
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
    lines.iter().enumerate().any(|(at, line)| {
        let is_it = line
            .trim_start_matches("pub ")
            .trim_start_matches("async ")
            .starts_with(&format!("fn {name}("));
        let is_mark = |line: &&str| *line == "#[test]" || line.starts_with("#[tokio::test");
        is_it && lines[at.saturating_sub(3)..at].iter().any(is_mark)
    })
}

pub fn list() {
    for row in rows() {
        let how = match row.how {
            How::Tried(_) | How::Pure(_) | How::Last(_) => "tried here".to_owned(),
            How::TestedBy(tests) => tests.join(", "),
            How::NotHere(why) => why.to_owned(),
            How::NotYet => "not tried yet".to_owned(),
        };
        println!("{} | {} | {how}", row.id, row.what);
    }
}

/// Tries the rows that are wanted, prints the table, and says whether none is red.
pub fn run(options: &Options) -> bool {
    let wanted: Vec<&Row> = rows()
        .into_iter()
        .filter(|row| options.wants(row.id))
        .collect();
    if wanted.is_empty() {
        return true;
    }
    listen_to_panics();
    let watch = secrets::begin();
    let seed = options.seed.unwrap_or_else(new_seed);
    let (whole, day) = (wanted.len() == ROWS, today());
    println!("seed {seed}, {}", size(options.all));
    let begun = Instant::now();
    let trial = |row: &Row, how: fn(&mut Trial)| {
        let begun = Instant::now();
        let mut trial = Trial::new(row.id, seed, options.all);
        trial.row(how);
        tell(row, &trial, begun);
        trial
    };
    let mut trials: BTreeMap<&str, Trial> = BTreeMap::new();
    thread::scope(|scope| {
        // What only computes goes on while the others wait for machines.
        let beside = scope.spawn(|| {
            let pure = wanted.iter().filter_map(|row| match row.how {
                How::Pure(how) => Some((row.id, trial(row, how))),
                _ => None,
            });
            pure.collect::<Vec<_>>()
        });
        for row in &wanted {
            if let How::Tried(how) = row.how {
                trials.insert(row.id, trial(row, how));
            }
        }
        trials.extend(beside.join().unwrap());
    });
    // The scan last, and alone: it counts what was looked at in all others, and plants what has to be found.
    for row in &wanted {
        if let How::Last(how) = row.how {
            trials.insert(row.id, trial(row, how));
        }
    }
    watch.end();
    let lines = lines(&wanted, &trials);
    let (tried, survived) = trials.values().fold((0, 0), |(tried, survived), trial| {
        (tried + trial.tried, survived + trial.survived)
    });
    let head = format!(
        "{day}, seed {seed}, {}: {tried} cases tried, {survived} survived.",
        size(options.all)
    );
    println!("\n{}\n{head}", lines.join("\n"));
    println!("in {:.0} s", begun.elapsed().as_secs_f64());
    let red: Vec<&Trial> = trials.values().filter(|trial| trial.is_red()).collect();
    for trial in &red {
        println!(
            "\n{} is red; `cargo test --test faults -- {} --seed {seed}{}` repeats it",
            trial.id,
            trial.id,
            if options.all { " --all" } else { "" }
        );
    }
    if whole && std::env::var("UPDATE").as_deref() == Ok("1") {
        write(&format!("{head}\n\n{}\n", lines.join("\n")));
    }
    red.is_empty()
}

fn new_seed() -> u64 {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).unwrap();
    u64::from(u32::from_ne_bytes(bytes))
}

/// As in `2026-12-31`, in UTC.
fn today() -> String {
    let now = jiff::Timestamp::now().to_string();
    now.split('T').next().unwrap_or_default().to_owned()
}

fn size(all: bool) -> &'static str {
    if all { "everything" } else { "a sample" }
}

/// Few failures in full: a row that is red by a thousand cases says the same a thousand times.
const SHOWN: usize = 5;

/// One line a row as it ends, and what failed.
fn tell(row: &Row, trial: &Trial, begun: Instant) {
    let seconds = begun.elapsed().as_secs_f64();
    let (tried, survived) = (trial.tried, trial.survived);
    let state = if trial.is_red() { "RED" } else { "ok" };
    println!(
        "{} {state}: {survived} of {tried} in {seconds:.1} s: {}",
        row.id, row.what
    );
    if let Some(why) = &trial.skipped {
        println!("*** {} SKIPPED: {why} ***", row.id);
    }
    for failure in trial.failures.iter().take(SHOWN) {
        println!("--- {}, seed {}: {failure}", row.id, trial.seed);
    }
    if trial.failures.len() > SHOWN {
        println!("--- and {} more", trial.failures.len() - SHOWN);
    }
}

/// The table in Markdown.
fn lines(rows: &[&Row], trials: &BTreeMap<&str, Trial>) -> Vec<String> {
    let mut lines = vec![
        "| fault | what | tried | survived |".to_owned(),
        "|---|---|---|---|".to_owned(),
    ];
    for row in rows {
        let (tried, survived) = match (&row.how, trials.get(row.id)) {
            (_, Some(trial)) => cells(trial),
            (How::TestedBy(tests), None) => (
                tests
                    .iter()
                    .map(|test| format!("`{test}`"))
                    .collect::<Vec<_>>()
                    .join(", "),
                "a test".to_owned(),
            ),
            (How::NotHere(why), None) => (format!("not here: {why}"), String::new()),
            (_, None) => ("not tried yet".to_owned(), String::new()),
        };
        lines.push(format!(
            "| {} | {} | {tried} | {survived} |",
            row.id, row.what
        ));
    }
    lines
}

fn cells(trial: &Trial) -> (String, String) {
    let mut tried = vec![match (trial.tried, &trial.skipped) {
        (0, Some(why)) => format!("left out: {why}"),
        (tried, _) => tried.to_string(),
    }];
    tried.extend(trial.notes.iter().cloned());
    let survived = match trial.is_red() {
        true => format!("**{}**", trial.survived),
        false => trial.survived.to_string(),
    };
    (tried.join("; "), survived)
}

/// Puts the table into the README.
fn write(table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once("<!-- faults -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- /faults -->").unwrap();
    let text = format!("{before}<!-- faults -->\n{table}<!-- /faults -->{after}");
    std::fs::write(path, text).unwrap();
}
