//! The plain resources of servers, `[kind.NAME]` with `on`: what each table means on a machine. One row in [`PLAIN`] a table.

mod accounts;
mod files;
mod firewall;
mod kernel;
mod packages;
mod units;
mod wire;

use std::sync::Arc;

use crate::declaration::{Driver, Entry, Environment};
use crate::error::Problem;
use crate::services::{Project, Reads, hosts};

/// A sort of plain resource.
struct Plain {
    /// The first word of its tables, as in `user`.
    word: &'static str,
    /// The files it wants read before it is expanded.
    reads: fn(&Entry, &mut Reads),
    /// Contradictions within it.
    check: fn(&Environment, &str, &Entry, &mut Vec<Problem>),
    /// Its resources on a machine; strings are rendered as seen from there.
    expand: fn(&mut Project<'_>, &Arc<str>, &str, &Entry),
}

impl Plain {
    const fn new(
        word: &'static str,
        expand: fn(&mut Project<'_>, &Arc<str>, &str, &Entry),
    ) -> Self {
        Plain {
            word,
            reads: |_, _| (),
            check: |_, _, _, _| (),
            expand,
        }
    }

    const fn reads(self, reads: fn(&Entry, &mut Reads)) -> Self {
        Plain { reads, ..self }
    }

    const fn check(self, check: fn(&Environment, &str, &Entry, &mut Vec<Problem>)) -> Self {
        Plain { check, ..self }
    }
}

const PLAIN: &[Plain] = &[
    Plain::new("apt_repository", packages::apt_repository)
        .reads(packages::reads)
        .check(packages::check_apt_repository),
    Plain::new("packages", packages::packages).check(packages::check_packages),
    Plain::new("hosts_entry", kernel::hosts_entry).check(kernel::check_hosts_entry),
    Plain::new("sysctl", kernel::sysctl).check(kernel::check_sysctl),
    Plain::new("swap", kernel::swap).check(kernel::check_swap),
    Plain::new("group", accounts::group).check(accounts::check_group),
    Plain::new("user", accounts::user)
        .reads(accounts::reads)
        .check(accounts::check_user),
    Plain::new("directory", files::directory).check(files::check_directory),
    Plain::new("file", files::file)
        .reads(files::reads)
        .check(files::check_file),
    Plain::new("link", files::link).check(files::check_link),
    Plain::new("systemd_unit", units::systemd_unit).check(units::check_unit),
    Plain::new("timer", units::timer).check(units::check_timer),
    Plain::new("firewall", firewall::firewall).check(firewall::check),
];

/// The files that plain resources name.
pub(super) fn reads(environment: &Environment, reads: &mut Reads) {
    for plain in PLAIN {
        for (_, entry) in environment.services(plain.word) {
            (plain.reads)(entry, reads);
        }
    }
}

/// Contradictions within and among plain resources.
pub(super) fn check(environment: &Environment, problems: &mut Vec<Problem>) {
    for plain in PLAIN {
        for (name, entry) in environment.services(plain.word) {
            let what = format!("{}.{name}", plain.word);
            if environment.driver == Driver::Docker {
                let message = format!(
                    "`{what}` is for servers, and this environment is applied to a Docker engine"
                );
                problems.push(Problem::error(message, &entry.key));
                continue;
            }
            hosts::check_on(environment, &what, entry, problems);
            (plain.check)(environment, name, entry, problems);
        }
    }
}

/// All plain resources, on every machine they are on.
pub(super) fn expand(project: &mut Project<'_>) {
    let environment = project.environment;
    for plain in PLAIN {
        for (name, entry) in environment.services(plain.word) {
            for machine in project.machines_of(entry) {
                project.stand_on(&machine);
                (plain.expand)(project, &machine, name, entry);
            }
        }
    }
}

/// The needs that follow from what resources of a machine are: packages before files, a folder before what lies in it, users before
/// what they own, files before the units that read them.
pub(super) fn wire(project: &mut Project<'_>) {
    units::listen(project);
    wire::wire(project);
}
