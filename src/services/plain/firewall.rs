//! `[firewall.NAME]`: the sets of a machine are one firewall.

use std::sync::Arc;

use crate::declaration::{Entry, Environment};
use crate::error::Problem;
use crate::resource::{Id, Thing};
use crate::resources::firewall::{Allow, Firewall, network};
use crate::resources::packages::Packages;
use crate::services::Project;
use crate::services::project::on_machine;

/// The package that has the program.
const PACKAGE: &str = "nftables";

pub(super) fn firewall(project: &mut Project<'_>, machine: &Arc<str>, _: &str, entry: &Entry) {
    let mut allow = Vec::new();
    for rule in entry.node.list("allow") {
        allow.push(Allow {
            protocol: rule.text("protocol").unwrap_or("tcp").to_owned(),
            port: rule
                .int("port")
                .and_then(|port| u16::try_from(port).ok())
                .unwrap_or_default(),
            from: rule
                .texts("from")
                .iter()
                .filter_map(|text| network(text))
                .collect(),
        });
    }
    let id = Id::new("firewall", machine, "provision");
    let found = project
        .resources_mut()
        .iter_mut()
        .find(|resource| resource.id == id);
    if let Some(Thing::Firewall(firewall)) = found.map(|resource| &mut resource.thing) {
        firewall.allow.extend(allow);
        return;
    }
    let thing = Firewall {
        name: "provision".to_owned(),
        allow: allow.into_iter().collect(),
        ..Firewall::default()
    };
    let mut resource = on_machine(machine, thing).from("", entry.key.clone());
    resource = resource.from("rule", entry.node.origin("allow"));
    resource.needs.push(package(project, machine, entry));
    project.add(resource);
}

/// The package with the program, declared by the file or by us.
fn package(project: &mut Project<'_>, machine: &Arc<str>, entry: &Entry) -> Id {
    let prefix = format!("packages.{machine}:");
    let declared = project.resources().iter().find(|resource| {
        let Thing::Packages(packages) = &resource.thing else {
            return false;
        };
        resource.id.as_str().starts_with(&prefix)
            && packages.names.iter().any(|name| name == PACKAGE)
    });
    if let Some(declared) = declared {
        return declared.id.clone();
    }
    let thing = Packages {
        name: "firewall".to_owned(),
        names: vec![PACKAGE.to_owned()],
        ..Packages::default()
    };
    project.add(on_machine(machine, thing).from("", entry.key.clone()))
}

pub(super) fn check(_: &Environment, name: &str, entry: &Entry, problems: &mut Vec<Problem>) {
    for rule in entry.node.list("allow") {
        for from in rule.list("from") {
            let text = from.as_text().unwrap_or_default();
            if network(text).is_none() {
                let message = format!("`{text}` of `firewall.{name}` is no network");
                problems.push(
                    Problem::error(message, &from.origin)
                        .help("as in `10.0.0.0/8`, `192.0.2.7` or `2001:db8::/32`"),
                );
            }
        }
    }
}
