//! `[sysctl."KEY"]`, `[hosts_entry."NAME"]` and `[swap."PATH"]`.

use core::net::IpAddr;
use std::sync::Arc;

use crate::declaration::{Entry, Environment};
use crate::error::Problem;
use crate::resources::hosts_entry::HostsEntry;
use crate::resources::swap::Swap;
use crate::resources::sysctl::Sysctl;
use crate::services::Project;
use crate::services::project::{on_machine, setting};

pub(super) fn sysctl(project: &mut Project<'_>, machine: &Arc<str>, name: &str, entry: &Entry) {
    let node = &entry.node;
    let Some(value) = node.get("value") else {
        return;
    };
    let (words, _) = setting(
        &Entry {
            key: entry.key.clone(),
            node: value.clone(),
        },
        "1",
        "0",
    );
    let thing = Sysctl {
        name: name.to_owned(),
        value: words.join(" "),
        ..Sysctl::default()
    };
    let resource = on_machine(machine, thing).from("", entry.key.clone());
    let resource = resource.from("value", value.origin.clone());
    project.add(resource.from("start", value.origin.clone()));
}

pub(super) fn check_sysctl(
    _: &Environment,
    name: &str,
    entry: &Entry,
    problems: &mut Vec<Problem>,
) {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if !name.contains('.') || name.contains("..") || name.ends_with('.') || !name.chars().all(plain)
    {
        let message = format!("`{name}` is no setting of a kernel");
        problems.push(Problem::error(message, &entry.key).help("as in `vm.swappiness`"));
    }
    let text = entry.node.text("value").unwrap_or_default();
    if text.chars().any(|c| c.is_control() && c != '\t') {
        let message = format!("the value of `{name}` is more than one line");
        problems.push(Problem::error(message, &entry.node.origin("value")));
    }
}

pub(super) fn hosts_entry(
    project: &mut Project<'_>,
    machine: &Arc<str>,
    name: &str,
    entry: &Entry,
) {
    let thing = HostsEntry {
        name: name.to_owned(),
        address: entry.node.text("address").unwrap_or_default().to_owned(),
        ..HostsEntry::default()
    };
    let resource = on_machine(machine, thing).from("", entry.key.clone());
    project.add(resource.from("address", entry.node.origin("address")));
}

pub(super) fn check_hosts_entry(
    _: &Environment,
    name: &str,
    entry: &Entry,
    problems: &mut Vec<Problem>,
) {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    if name.len() > 253 || !name.chars().all(plain) {
        problems.push(Problem::error(
            format!("`{name}` is no name of a host"),
            &entry.key,
        ));
    }
    let address = entry.node.text("address").unwrap_or_default();
    if !address.is_empty() && address.parse::<IpAddr>().is_err() {
        let message = format!("`{address}` is no IP address");
        problems.push(Problem::error(message, &entry.node.origin("address")));
    }
}

pub(super) fn swap(project: &mut Project<'_>, machine: &Arc<str>, path: &str, entry: &Entry) {
    let thing = Swap {
        name: path.to_owned(),
        size: entry.node.text("size").and_then(bytes).unwrap_or_default(),
        ..Swap::default()
    };
    let resource = on_machine(machine, thing).from("", entry.key.clone());
    project.add(resource.from("size", entry.node.origin("size")));
}

pub(super) fn check_swap(_: &Environment, path: &str, entry: &Entry, problems: &mut Vec<Problem>) {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if path.ends_with('/') || path.contains("//") || !path.chars().all(plain) {
        let message = format!("`{path}` cannot be the path of a swap file");
        problems.push(
            Problem::error(message, &entry.key)
                .help("it stands in `/etc/fstab`: letters, digits and `/ . _ -`"),
        );
    }
    let size = entry.node.text("size").unwrap_or_default();
    if !size.is_empty() && bytes(size).is_none() {
        let message = format!("`{size}` is no size of a swap file");
        problems.push(
            Problem::error(message, &entry.node.origin("size"))
                .help("a number with `M` or `G`, as in `\"2G\"`"),
        );
    }
}

/// `2G` or `512M` in bytes.
fn bytes(text: &str) -> Option<u64> {
    let unit: u64 = match text.chars().last()? {
        'M' => 1 << 20,
        'G' => 1 << 30,
        _ => return None,
    };
    let digits = &text[..text.len() - 1];
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let size = digits.parse::<u64>().ok()?.checked_mul(unit)?;
    (1 << 20..=1 << 44).contains(&size).then_some(size)
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn a_size_is_a_number_with_a_unit() {
        assert_eq!(bytes("2G"), Some(2 << 30));
        assert_eq!(bytes("512M"), Some(512 << 20));
        for wrong in ["2", "G", "2.5G", "-2G", "0M", "2g", "99999999999G", ""] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }
}
