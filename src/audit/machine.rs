//! What a machine is like that nobody declared: full disks, failed units, open ports, packages that wait.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::{Audit, Finding, Looked, Severity, rows};
use crate::command::{Ask, Place, Question, Row, Rows, Seat};
use crate::resource::Thing;

/// A disk is fuller than it should be, in percent.
const FULL: i64 = 85;
/// It is about to stop what writes to it.
const BRIM: i64 = 95;

/// Nothing here changes the machine: where apt's own cache is not fresh, one in memory takes its place.
pub(super) const QUESTION: Question = Question {
    name: "audit",
    ask: Ask::Machine {
        body: concat!(
            include_str!("../resources/systemd_common.sh"),
            r#"
# Units whose files we wrote: what of a package they hide, and what is added to them by files that are for many units.
for file in /var/lib/provision/loaded/*; do
    unit=${file##*/}
    [ -f "/etc/systemd/system/$unit" ] && grep -qsF "  /etc/systemd/system/$unit" "$file" || continue
    ships "$unit"
    case $path in '' | "/etc/systemd/system/$unit") ;; *) row hidden "$unit" "$path" "$package" ;; esac
    [ -d /run/systemd/system ] || continue
    case $unit in *@.*) continue ;; esac
    for added in $(systemctl show -P DropInPaths -- "$unit" 2> /dev/null); do
        case $added in
            */"$unit".d/*) case $added in /run/systemd/generator* | /usr/lib/* | /lib/*) ;; *) continue ;; esac ;;
        esac
        ! dpkg-query -S "$added" "/usr$added" "${added#/usr}" > /dev/null 2>&1 || continue
        row added "$unit" "$added" ''
    done
done
df -P -l 2> /dev/null | while read -r device _ _ _ used mount; do
    case $used in [0-9]*%) row disk "$mount" "${used%\%}" "$device" ;; esac
done
df -P -i -l 2> /dev/null | while read -r device _ _ _ used mount; do
    case $used in [0-9]*%) row inodes "$mount" "${used%\%}" "$device" ;; esac
done
if [ -d /run/systemd/system ]; then
    systemctl list-units --all --state=failed --plain --no-legend --no-pager | while read -r unit _ _ _ _; do
        row failed "$unit" '' ''
    done
    systemctl show --no-pager --property=Id,NeedDaemonReload '*' | {
        id=
        while read -r line; do
            case $line in
                Id=*) id=${line#Id=} ;;
                NeedDaemonReload=yes) row reload "$id" '' '' ;;
            esac
        done
    }
fi
if command -v ss > /dev/null; then
    ss -H -l -t -n -p | while read -r _ _ _ address _ process; do
        row listens "$address" "$process" ''
    done
fi
if command -v docker > /dev/null; then
    docker ps --format '{{.Names}} {{.Ports}}' 2> /dev/null | while read -r name ports; do
        row docker "$name" "$ports" ''
    done
fi
if command -v apt-get > /dev/null; then
    cache=/var/cache/apt/pkgcache.bin
    set --
    if ! [ "$cache" -nt /var/lib/dpkg/status ] || ! [ "$cache" -nt /var/lib/apt/lists ]; then
        set -- -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=
    fi
    apt-get -s -q -q -o Debug::NoLocking=true "$@" upgrade 2> /dev/null | while read -r what name rest; do
        if [ "$what" = Inst ]; then
            case $rest in *[Ss]ecurity*) row updates "$name" security '' ;; *) row updates "$name" '' '' ;; esac
        fi
    done
    if [ -e /run/reboot-required ] || [ -e /var/run/reboot-required ]; then row reboot '' '' ''; fi
fi
"#
        ),
        columns: &["key", "what", "value", "device"],
    },
};

pub(super) fn findings(looked: &Looked<'_>, machine: &Arc<str>, audit: &mut Audit) {
    let place = Place::Machine(Arc::clone(machine));
    let Some(rows) = rows(looked, &place, QUESTION.name, machine, audit) else {
        return;
    };
    let found = &mut audit.findings;
    found.extend(disks(rows, machine));
    found.extend(units(looked, rows, machine));
    found.extend(hidden(rows, machine));
    found.extend(added(looked, rows, machine));
    found.extend(listening(looked, rows, machine));
    found.extend(published(rows, machine));
    found.extend(updates(rows, machine));
}

fn text<'a>(row: &'a Row, key: &str) -> &'a str {
    row.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn disks(rows: &Rows, machine: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    for (key, noun) in [("disk", "full"), ("inodes", "full of files")] {
        let mut seen = BTreeSet::new();
        for row in rows.of(key) {
            let (mount, device) = (text(row, "what"), text(row, "device"));
            let used: i64 = text(row, "value").parse().unwrap_or_default();
            // A file system that cannot grow is full by nature, and one that is mounted twice is told once. In memory all have one name.
            let own = device.starts_with("/dev/loop") || mount.starts_with("/snap/");
            let which = if device == "tmpfs" { mount } else { device };
            if used <= FULL || own || !seen.insert(which.to_owned()) {
                continue;
            }
            let severity = if used >= BRIM {
                Severity::High
            } else {
                Severity::Medium
            };
            found.push(Finding::known(
                severity,
                key,
                (machine, mount),
                format!("`{mount}` on `{machine}` is {used} % {noun}"),
                "make room, or make it larger",
            ));
        }
    }
    found
}

fn units(looked: &Looked<'_>, rows: &Rows, machine: &str) -> Vec<Finding> {
    // What is declared and differs is told already.
    let told = |unit: &str| {
        let here = |change: &&crate::plan::Change| {
            change
                .place
                .machine()
                .is_some_and(|name| **name == *machine)
        };
        let mut changes = looked.plan.changes.iter().filter(here);
        changes.any(|change| {
            change.id.kind() == "systemd_unit" && change.id.as_str().ends_with(&format!(":{unit}"))
        })
    };
    let failed = rows.of("failed").iter().map(|row| {
        let unit = text(row, "what");
        let quoted = crate::quote::word(unit);
        let says = format!("`{unit}` on `{machine}` has failed");
        let todo = format!(
            "`journalctl -u {quoted}` says why; `systemctl reset-failed {quoted}` once it is known"
        );
        (
            unit,
            Finding::known(Severity::High, "unit_failed", (machine, unit), says, todo),
        )
    });
    let reload = rows.of("reload").iter().map(|row| {
        let unit = text(row, "what");
        let says = format!("the file of `{unit}` on `{machine}` was changed and not read since");
        let todo = "`systemctl daemon-reload` reads it, and a restart of the unit brings it";
        (
            unit,
            Finding::known(
                Severity::Medium,
                "unit_not_reloaded",
                (machine, unit),
                says,
                todo,
            ),
        )
    });
    let all = failed.chain(reload).filter(|(unit, _)| !told(unit));
    all.map(|(_, finding)| finding).collect()
}

/// Units of packages that a file of ours hides: earlier versions wrote them, and nobody sees that but here.
fn hidden(rows: &Rows, machine: &str) -> Vec<Finding> {
    let all = rows.of("hidden").iter().map(|row| {
        let (unit, path, package) = (text(row, "what"), text(row, "value"), text(row, "device"));
        let whose = match package {
            "" => String::new(),
            package => format!(" of the package `{package}`"),
        };
        let own = format!("/etc/systemd/system/{unit}");
        let says = format!("`{own}` on `{machine}`, which was written from here, hides `{path}`{whose}");
        let quoted = crate::quote::word(unit);
        let todo = format!(
            "give what declares it another name and apply, which removes the file; or there, as root: `rm {}`, `systemctl daemon-reload`, `systemctl restart {quoted}`",
            crate::quote::word(&own)
        );
        Finding::known(Severity::High, "unit_hidden", (machine, unit), says, todo)
    });
    all.collect()
}

/// What is added to units of ours by files that are for many units, and that nobody declares and no package ships: those are never touched.
fn added(looked: &Looked<'_>, rows: &Rows, machine: &str) -> Vec<Finding> {
    let place = Place::Machine(Arc::from(machine));
    let declared = |path: &str| {
        looked.resources.iter().any(|resource| {
            let file = matches!(&resource.thing, Thing::ServerFile(file) if file.path == path);
            file && resource.place == place
        })
    };
    let all = rows
        .of("added")
        .iter()
        .filter(|row| !declared(text(row, "value")));
    let all = all.map(|row| {
        let (unit, path) = (text(row, "what"), text(row, "value"));
        let says = format!("`{path}` on `{machine}` changes what `{unit}` does, and other units too");
        let todo = format!("declare it as `[file.\"{path}\"]`, or remove it and run `systemctl daemon-reload`; it is never touched from here");
        Finding::known(Severity::Medium, "unit_added_to", (machine, unit), says, todo)
    });
    all.collect()
}

/// Address and port of `0.0.0.0:5432`, `[::]:5432`, `*:5432`.
fn socket(text: &str) -> Option<(&str, u16)> {
    let (address, port) = text.rsplit_once(':')?;
    let address = address.trim_start_matches('[').trim_end_matches(']');
    // An interface may be named: `127.0.0.1%lo`.
    let address = address.split('%').next().unwrap_or(address);
    Some((address, port.parse().ok()?))
}

fn is_loopback(address: &str) -> bool {
    let address = address.strip_prefix("::ffff:").unwrap_or(address);
    address.starts_with("127.") || address == "::1"
}

fn is_everywhere(address: &str) -> bool {
    matches!(address, "*" | "0.0.0.0" | "::" | "")
}

fn listening(looked: &Looked<'_>, rows: &Rows, machine: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut told = BTreeSet::new();
    for row in rows.of("listens") {
        let Some((address, port)) = socket(text(row, "what")) else {
            continue;
        };
        let process = text(row, "value");
        // Whose socket it is, is not told everywhere; then its port says it.
        let program = match process.split('"').nth(1) {
            Some(program) => program,
            None => usual(port),
        };
        let database = matches!(
            program,
            "postgres" | "mariadbd" | "mysqld" | "redis-server" | "mongod"
        );
        if !database || is_loopback(address) || declared(looked, machine, address, port) {
            continue;
        }
        let what = format!("{program}:{port}");
        if told.insert(what.clone()) {
            let shown = if is_everywhere(address) {
                "every address"
            } else {
                address
            };
            found.push(Finding::known(
                Severity::High,
                "database_listens",
                (machine, &what),
                format!("`{program}` on `{machine}` listens on {shown}, port {port}, which nobody declared"),
                "declare where it listens, or let it listen on 127.0.0.1 only",
            ));
        }
    }
    found
}

/// The database that usually has a port.
fn usual(port: u16) -> &'static str {
    match port {
        5432 => "postgres",
        3306 => "mariadbd",
        6379 => "redis-server",
        27017 => "mongod",
        _ => "",
    }
}

/// Whether a database server is declared to listen there, or that it does is told already.
fn declared(looked: &Looked<'_>, machine: &str, address: &str, port: u16) -> bool {
    let fits = |said: &str| {
        is_everywhere(said) || said == address || (said == "0.0.0.0" && address == "::")
    };
    looked.resources.iter().any(|resource| {
        let here = resource
            .place
            .machine()
            .is_some_and(|name| **name == *machine);
        let at_port = match &resource.place {
            Place::Sql(server, _) => {
                matches!(&server.seat, Seat::Machine { port: at, .. } if *at == port)
            }
            _ => true,
        };
        let says = |name: &str, of: &str, values: &[String]| {
            name.replace('-', "_") == of
                && values
                    .iter()
                    .flat_map(|value| value.split(','))
                    .any(|said| fits(said.trim()))
        };
        here && at_port
            && match &resource.thing {
                Thing::PostgresCluster(cluster) if differs(looked, resource) => {
                    cluster.port == port
                }
                Thing::PostgresCluster(cluster) => {
                    cluster.port == port && cluster.listen.iter().any(|said| fits(said))
                }
                Thing::PostgresSetting(setting) => {
                    says(&setting.name, "listen_addresses", &setting.value)
                }
                Thing::MariadbSetting(setting) => says(
                    &setting.name,
                    "bind_address",
                    std::slice::from_ref(&setting.value),
                ),
                _ => false,
            }
    })
}

/// Whether a resource has a change: what differs of it is told field by field.
fn differs(looked: &Looked<'_>, resource: &crate::resource::Resource) -> bool {
    let mut changes = looked.plan.changes.iter();
    changes.any(|change| change.id == resource.id)
}

/// Ports that containers publish on every address: Docker opens them past the firewall's own rules.
fn published(rows: &Rows, machine: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    for row in rows.of("docker") {
        let name = text(row, "what");
        let mut told = BTreeSet::new();
        for port in text(row, "value").split(", ") {
            let Some((outside, _)) = port.split_once("->") else {
                continue;
            };
            let Some((address, number)) = outside.rsplit_once(':') else {
                continue;
            };
            let address = address.trim_start_matches('[').trim_end_matches(']');
            if !is_everywhere(address) || !told.insert(number.to_owned()) {
                continue;
            }
            let what = format!("{name}:{number}");
            found.push(Finding::known(
                Severity::Medium,
                "published_port",
                (machine, &what),
                format!("the container `{name}` on `{machine}` publishes port {number} on every address, past the firewall's rules"),
                "publish it on 127.0.0.1, or on the one address that needs it",
            ));
        }
    }
    found
}

fn updates(rows: &Rows, machine: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let all = rows.of("updates");
    let security: Vec<&str> = all
        .iter()
        .filter(|row| text(row, "value") == "security")
        .map(|row| text(row, "what"))
        .collect();
    if !all.is_empty() {
        let first: Vec<&str> = match security.is_empty() {
            true => all.iter().map(|row| text(row, "what")).take(5).collect(),
            false => security.iter().take(5).copied().collect(),
        };
        let more = if all.len() > first.len() { ", ..." } else { "" };
        let severity = if security.is_empty() {
            Severity::Low
        } else {
            Severity::Medium
        };
        let packages = match all.len() {
            1 => format!("1 package of `{machine}` has an update"),
            many => format!("{many} packages of `{machine}` have updates"),
        };
        found.push(Finding::known(
            severity,
            "updates",
            (machine, "packages"),
            format!(
                "{packages}, {} for security: {}{more}",
                security.len(),
                first.join(", ")
            ),
            "`apt-get upgrade` when its services can spare it",
        ));
    }
    if !rows.of("reboot").is_empty() {
        found.push(Finding::known(
            Severity::Low,
            "reboot",
            (machine, "required"),
            format!("`{machine}` wants to be started anew to bring an update"),
            "`reboot` when its services can spare it",
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_read() {
        assert_eq!(socket("0.0.0.0:5432"), Some(("0.0.0.0", 5432)));
        assert_eq!(socket("[::]:5432"), Some(("::", 5432)));
        assert_eq!(socket("127.0.0.53%lo:53"), Some(("127.0.0.53", 53)));
        assert_eq!(socket("*:80"), Some(("*", 80)));
        assert!(is_loopback("::ffff:127.0.0.1") && is_loopback("::1") && !is_loopback("10.0.0.1"));
    }
}
