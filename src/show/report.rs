//! What came of an apply, as people read it.

use std::time::Duration;

use crate::apply::Report;
use crate::resource::Id;
use crate::services::Endpoint;
use crate::show::{Paint, clean, count, duration, failure, names, pad};
use crate::target::Trouble;

/// `Done: 12 changes in 41.0 s.`
pub fn done(report: &Report, time: Duration) -> String {
    let mut out = format!(
        "Done: {} in {}.\n",
        count(report.done.len(), "change"),
        duration(time)
    );
    for (id, awaited) in &report.waiting {
        let why = clean(&awaited.reason());
        out.push_str(&format!("  still waits: `{}`: {why}\n", clean(id.as_str())));
    }
    out
}

/// What failed and why, what is done, what is not and what nobody knows, and the one next command. Empty if all is well.
pub fn troubles(report: &Report, next: &str, paint: Paint) -> String {
    let mut out = String::new();
    for (what, troubles) in [
        ("failed", &report.failed),
        ("may or may not have happened", &report.unknown),
        (
            "was done, but could not be looked at again",
            &report.unchecked,
        ),
        ("was applied, but does not work", &report.unhealthy),
    ] {
        for (ids, trouble) in alike(troubles) {
            out.push_str(&one(what, &ids, trouble, paint));
        }
    }
    for (id, field) in &report.unsettled {
        let message = format!("`{id}` was changed, but its {field} still differs when asked again");
        out.push_str(&failure::error(&message, &[], paint));
    }
    if report.interrupted {
        out.push_str(&failure::error("interrupted", &[], paint));
    }
    if out.is_empty() && report.not_done.is_empty() {
        return out;
    }
    let list = |ids: Vec<&Id>| {
        let ids: Vec<_> = ids.iter().map(|id| id.as_str()).collect();
        names(&ids, 6)
    };
    let rows = [
        ("done", list(report.done.iter().collect())),
        ("not done", list(report.not_done.iter().collect())),
        (
            "unknown",
            list(report.unknown.iter().map(|(id, _)| id).collect()),
        ),
        (
            "next",
            format!("`{next}` looks again and does what is left"),
        ),
    ];
    for (word, text) in rows.iter().filter(|(_, text)| !text.is_empty()) {
        out.push_str(&format!(
            "  {} {text}\n",
            paint.bold(&pad(&format!("{word}:"), 9))
        ));
    }
    out
}

/// The same trouble of many is told once.
fn alike(troubles: &[(Id, Trouble)]) -> Vec<(Vec<&str>, &Trouble)> {
    let mut told: Vec<(Vec<&str>, &Trouble)> = Vec::new();
    for (id, trouble) in troubles {
        let same = |other: &&mut (Vec<&str>, &Trouble)| {
            other.1.message == trouble.message && other.1.log == trouble.log
        };
        match told.iter_mut().find(same) {
            Some((ids, _)) => ids.push(id.as_str()),
            None => told.push((vec![id.as_str()], trouble)),
        }
    }
    told
}

fn one(what: &str, ids: &[&str], trouble: &Trouble, paint: Paint) -> String {
    let message = format!("{} {what}: {}", names(ids, 3), trouble.message);
    let mut out = failure::error(&message, &[], paint);
    for line in &trouble.log {
        out.push_str(&format!("  {} {}\n", paint.dim("|"), clean(line)));
    }
    for hint in &trouble.hints {
        out.push_str(&failure::help(hint, paint));
    }
    out
}

/// What runs, where, and how to connect.
pub fn endpoints(endpoints: &[Endpoint], paint: Paint) -> String {
    if endpoints.is_empty() {
        return String::new();
    }
    let address = |endpoint: &Endpoint| match endpoint.address.contains(':') {
        true => format!("[{}]:{}", endpoint.address, endpoint.port),
        false => format!("{}:{}", endpoint.address, endpoint.port),
    };
    let width = |of: &dyn Fn(&Endpoint) -> usize| endpoints.iter().map(of).max().unwrap_or(0);
    let name_width = width(&|endpoint| endpoint.service.chars().count());
    let address_width = width(&|endpoint| address(endpoint).chars().count());
    let mut out = String::from("\n");
    for endpoint in endpoints {
        let name = paint.bold(&pad(&clean(&endpoint.service), name_width));
        let address = pad(&address(endpoint), address_width);
        let connect = endpoint
            .connect
            .first()
            .map(|line| clean(line))
            .unwrap_or_default();
        let line = format!("  {name}  {address}  {connect}");
        out.push_str(line.trim_end());
        out.push('\n');
        for line in endpoint.connect.iter().skip(1) {
            let indent = " ".repeat(name_width + address_width + 6);
            out.push_str(&format!("{indent}{}\n", clean(line)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trouble() -> Trouble {
        Trouble {
            kind: crate::error::Kind::Failed,
            message: "wait until it is healthy: it exited with 1".to_owned(),
            log: vec!["FATAL:\x1b[31m no space".to_owned()],
            said: Box::default(),
            hints: Box::default(),
            unknown: false,
            ahead: 0,
            undone: Box::default(),
        }
    }

    #[test]
    fn a_failure_says_what_is_done_and_what_is_not() {
        let report = Report {
            done: vec![Id::short("network", "iact_default")],
            failed: vec![(Id::short("container", "ivr"), trouble())],
            not_done: vec![Id::short("container", "iact")],
            ..Report::default()
        };
        assert_eq!(
            troubles(&report, "provision apply local", Paint::default()),
            "\
error: `container.ivr` failed: wait until it is healthy: it exited with 1
  | FATAL:\\x1b[31m no space
  done:     `network.iact_default`
  not done: `container.iact`
  next:     `provision apply local` looks again and does what is left
"
        );
    }

    #[test]
    fn the_same_trouble_of_many_is_told_once() {
        let silent = Trouble {
            log: Vec::new(),
            ..trouble()
        };
        let ids = ["image.a", "image.b", "image.c", "image.d"];
        let report = Report {
            failed: ids.map(|id| (Id::parse(id), silent.clone())).to_vec(),
            ..Report::default()
        };
        let text = troubles(&report, "x", Paint::default());
        assert!(
            text.starts_with("error: `image.a`, `image.b`, `image.c` and 1 more failed: wait"),
            "{text}"
        );
    }

    #[test]
    fn all_is_well_says_nothing_of_trouble() {
        let report = Report {
            done: vec![Id::short("network", "iact_default")],
            ..Report::default()
        };
        assert_eq!(troubles(&report, "x", Paint::default()), "");
        assert_eq!(
            done(&report, Duration::from_millis(900)),
            "Done: 1 change in 0.9 s.\n"
        );
    }

    #[test]
    fn endpoints_stand_under_each_other() {
        let endpoint = |service: &str, port, connect: &[&str]| Endpoint {
            service: service.to_owned(),
            address: "127.0.0.1".to_owned(),
            port,
            connect: connect.iter().map(|line| (*line).to_owned()).collect(),
        };
        let all = [
            endpoint(
                "postgres.analytics",
                15432,
                &["psql -h 127.0.0.1", "psql two"],
            ),
            endpoint("django.iact", 8000, &["http://127.0.0.1:8000/"]),
        ];
        assert_eq!(
            endpoints(&all, Paint::default()),
            "
  postgres.analytics  127.0.0.1:15432  psql -h 127.0.0.1
                                       psql two
  django.iact         127.0.0.1:8000   http://127.0.0.1:8000/
"
        );
    }
}
