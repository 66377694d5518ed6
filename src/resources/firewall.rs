//! `firewall`: what a machine lets in, as the table `inet provision` of nftables. Other tables are not touched, so what Docker or
//! others forward stays as it is.
//!
//! It is compared line by line as `nft` lists it, and changed behind a guard: new rules stay only if a new connection can be made.

use std::borrow::Cow;
use std::collections::BTreeSet;
use core::net::IpAddr;

use super::systemd::column;
use crate::command::{Ask, Question, Row, Text};
use crate::resource::{Field, Impact, Kind, Removal, Same, Step};

/// The table `inet provision` of nftables: what is let in, and nothing else.
#[derive(Clone, Debug, Default)]
pub struct Firewall {
    /// The table.
    pub name: String,
    /// What is let in.
    pub allow: BTreeSet<Allow>,
    /// What only a machine knows.
    pub found: Found,
}

/// A port that is let in.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Allow {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The port.
    pub port: u16,
    /// The networks it is let in from; empty: from everywhere.
    pub from: BTreeSet<String>,
}

/// A firewall as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The lines of the chain; none where there is no table.
    pub lines: Option<Vec<String>>,
    /// Ports on which sshd listens, or over which we came.
    pub ssh: BTreeSet<u16>,
    /// The lines that are loaded at the start, where that is how it should be; none without systemd.
    pub start: Option<Vec<String>>,
    /// Whether a start loads anything that should outlive one.
    pub systemd: bool,
    /// When the machine put an older state back since nobody confirmed the change.
    pub restored: Option<String>,
}

const ASK: &str = r#"
loads=/etc/systemd/system/provision-firewall.service
row provision systemd "$([ ! -d /run/systemd/system ] || echo yes)"
if command -v nft > /dev/null; then
    tables=$(nft list tables inet 2>&1) || die "nft: $tables"
    case $tables in *'table inet provision'*)
        lines=$(nft -s -p list table inet provision) || die "nft does not list its table"
        printf '%s\n' "$lines" | while read -r line; do
            case $line in '') continue ;; 'table '* | '}' | 'chain input {') [ "$line" = 'table inet provision {' ] || continue; line=table ;; esac
            row provision line "$line"
        done
        ;;
    esac
fi
# The port we came over, and what sshd listens on besides.
pid=$$ came=''
while [ "${pid:-1}" -gt 1 ] && [ -z "$came" ]; do
    came=$(tr '\0' '\n' 2> /dev/null < "/proc/$pid/environ" | sed -n 's/^SSH_CONNECTION=.* \([0-9]*\)$/\1/p') || came=''
    read -r status 2> /dev/null < "/proc/$pid/stat" || break
    status=${status##*) }
    status=${status#* }
    pid=${status%% *}
done
[ -z "$came" ] || row provision ssh "$came"
if command -v ss > /dev/null; then
    ss -ltnpH 2> /dev/null | while read -r state a b local peer who; do
        case $who in *'"sshd"'*) row provision ssh "${local##*:}" ;; esac
    done
fi
if [ -f /etc/nftables.d/provision.nft ] && [ -f "$loads" ] && [ -L /etc/systemd/system/sysinit.target.wants/provision-firewall.service ]; then
    while read -r line; do
        case $line in 'table '* | 'delete '* | '}' | 'chain input {') [ "$line" = 'table inet provision {' ] || continue; line=table ;; esac
        row provision start "$line"
    done < /etc/nftables.d/provision.nft
fi
if [ -f /run/provision/guard-firewall.restored ]; then
    read -r when < /run/provision/guard-firewall.restored
    row provision restored "$when"
fi
"#;

const LOAD: &str = r#"
command -v nft > /dev/null || die "there is no nft on this machine: the package nftables has it"
said=$(printf '%s' "$1" | nft -c -f - 2>&1) || die "nft does not take the rules: $said"
{
    # Where the table stays, the kernel goes on knowing the connections that are there.
    if old=$(nft -s list table inet provision 2> /dev/null); then verb=$2; else old='' verb=delete; fi
    printf 'nft -f - << "RULES"\ntable inet provision\n%s table inet provision\n%s\nRULES\n' "$verb" "$old"
} | guard firewall 'the firewall'
printf '%s' "$1" | nft -f -
"#;

const KEEP: &str = r#"
[ -d /run/systemd/system ] || exit 0
[ -d /etc/nftables.d ] || mkdir -m 755 /etc/nftables.d
printf '%s' "$1" | put_file /etc/nftables.d/provision.nft root root 0600
printf '%s\n' '[Unit]' 'Description=What this machine lets in' 'DefaultDependencies=no' 'After=local-fs.target nftables.service' \
    'Before=network-pre.target shutdown.target' 'Wants=network-pre.target' 'Conflicts=shutdown.target' '' \
    '[Service]' 'Type=oneshot' 'RemainAfterExit=yes' "ExecStart=$(command -v nft) -f /etc/nftables.d/provision.nft" \
    "ExecReload=$(command -v nft) -f /etc/nftables.d/provision.nft" '' '[Install]' 'WantedBy=sysinit.target' \
    | put_file /etc/systemd/system/provision-firewall.service root root 0644
systemctl daemon-reload
systemctl enable -q provision-firewall.service
"#;

const REMOVE: &str = r#"
if [ -d /run/systemd/system ] && [ -f /etc/systemd/system/provision-firewall.service ]; then
    systemctl disable -q provision-firewall.service || :
    rm -f -- /etc/systemd/system/provision-firewall.service
    systemctl daemon-reload
fi
rm -f -- /etc/nftables.d/provision.nft
! command -v nft > /dev/null || printf 'table inet provision\ndelete table inet provision\n' | nft -f -
"#;

/// What every machine lets in: answers, itself, and what the network needs to work (ICMP; DHCPv6 from the link).
const ALWAYS: [&str; 5] = [
    "type filter hook input priority filter; policy drop;",
    "ct state established,related accept",
    "iif \"lo\" accept",
    "meta l4proto { 1, 58 } accept",
    "ip6 saddr fe80::/10 udp dport 546 accept",
];

impl Firewall {
    /// The lines of the chain, as `nft` lists them. The port of SSH is let in from everywhere unless the file says from where.
    fn lines(&self, ssh: &BTreeSet<u16>) -> Vec<String> {
        let mut lines: Vec<String> = ALWAYS.iter().map(|line| (*line).to_owned()).collect();
        let declared = |port: &u16| self.allow.iter().any(|allow| allow.protocol == "tcp" && allow.port == *port);
        lines.extend(ssh.iter().filter(|port| !declared(port)).map(|port| format!("tcp dport {port} accept")));
        for allow in &self.allow {
            let rule = format!("{} dport {} accept", allow.protocol, allow.port);
            if allow.from.is_empty() {
                lines.push(rule);
                continue;
            }
            for network in &allow.from {
                let family = if network.contains(':') { "ip6" } else { "ip" };
                lines.push(format!("{family} saddr {network} {rule}"));
            }
        }
        lines
    }

    /// A file for `nft -f` that puts these rules in the place of those that are there, at once: it flushes the table, or deletes it.
    fn text(lines: &[String], verb: &str) -> String {
        let mut text = format!("table inet provision\n{verb} table inet provision\ntable inet provision {{\n\tchain input {{\n");
        for line in lines {
            text.push_str(&format!("\t\t{line}\n"));
        }
        text.push_str("\t}\n}\n");
        text
    }
}

/// A network as `nft` lists it: without bits of hosts, and an address alone where it is one. `None`: it is no network.
pub fn network(text: &str) -> Option<String> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits: u8 = match bits {
        None => most,
        Some(bits) if bits.len() <= 3 && bits.bytes().all(|b| b.is_ascii_digit()) => bits.parse().ok().filter(|bits| *bits <= most)?,
        Some(_) => return None,
    };
    let masked = match address {
        IpAddr::V4(address) => IpAddr::V4((u32::from(address) & u32::MAX.checked_shl(u32::from(32 - bits)).unwrap_or(0)).into()),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & u128::MAX.checked_shl(u32::from(128 - bits)).unwrap_or(0)).into()),
    };
    Some(if bits == most { masked.to_string() } else { format!("{masked}/{bits}") })
}

impl Kind for Firewall {
    const NAME: &'static str = "firewall";
    const QUESTION: Question = Question { name: "firewalls", ask: Ask::Machine { body: ASK, columns: &["key", "what", "value"] } };

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed("provision")
    }

    fn read(&self, rows: &[Row]) -> Result<Option<Self>, String> {
        let mut found = Found::default();
        for row in rows {
            let value = column(row, "value").to_owned();
            match (column(row, "what"), value.as_str()) {
                ("systemd", value) => found.systemd = value == "yes",
                ("line", "table") => found.lines = Some(Vec::new()),
                ("line", _) => found.lines.get_or_insert_default().push(value),
                ("start", "table") => found.start = Some(Vec::new()),
                ("start", _) => found.start.get_or_insert_default().push(value),
                ("ssh", port) => found.ssh.extend(port.parse::<u16>().ok()),
                ("restored", _) => found.restored = Some(value),
                _ => return Err("it was answered in a way that is not understood".to_owned()),
            }
        }
        Ok(Some(Firewall { name: self.name.clone(), found, ..Firewall::default() }))
    }

    fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        let state = found.map(|found| &found.found);
        let lines = self.lines(&state.map(|state| state.ssh.clone()).unwrap_or_default());
        let seen = state.and_then(|state| state.lines.as_ref());
        let mut fields: Vec<Field> = lines
            .iter()
            .map(|line| {
                let there = seen.filter(|seen| seen.contains(line)).map(|_| "there".to_owned());
                Field::new(format!("rule {line}"), there, "there", Impact::None)
            })
            .collect();
        for line in seen.into_iter().flatten().filter(|line| !lines.contains(line)) {
            fields.push(Field::extra(format!("rule {line}"), "there", Impact::None));
        }
        // The first line that fits decides, so the same rules in another order may be other rules.
        if let Some(seen) = seen {
            let mut field = Field::new("order", Some("as declared".to_owned()), "as declared", Impact::None);
            let known: Vec<&String> = seen.iter().filter(|line| lines.contains(line)).collect();
            let wanted: Vec<&String> = lines.iter().filter(|line| seen.contains(line)).collect();
            if known != wanted {
                field.from = Some("other".to_owned());
                field.same = Same::No;
            }
            fields.push(field);
        }
        if state.is_none_or(|state| state.systemd) {
            let kept = state.filter(|state| state.start.as_ref() == Some(&lines));
            let from = state.map(|_| if kept.is_some() { "loaded" } else { "not loaded" }.to_owned());
            fields.push(Field::new("start", from, "loaded", Impact::None));
        }
        if let Some(when) = state.and_then(|state| state.restored.as_ref())
            && fields.iter().any(Field::differs)
        {
            let says = format!("put back by the machine at {when}, since no new connection confirmed the change");
            fields.push(Field { from: Some(says), same: Same::No, ..Field::new("guard", None, "confirmed", Impact::None) });
        }
        fields
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        let differing: Vec<Field> = self.fields(found).into_iter().filter(Field::differs).collect();
        if differing.is_empty() {
            return Vec::new();
        }
        let state = found.map(|found| &found.found);
        let lines = self.lines(&state.map(|state| state.ssh.clone()).unwrap_or_default());
        let mut steps = Vec::new();
        if differing.iter().any(|field| field.name != "start") {
            // Rules can be flushed; chains and sets that somebody has added, or another hook, cannot.
            let plain = |line: &String| line == ALWAYS[0] || line.ends_with(" accept") || line.ends_with(" drop");
            let seen = state.and_then(|state| state.lines.as_ref());
            let verb = match seen {
                Some(seen) if seen.iter().all(plain) => "flush",
                _ => "delete",
            };
            let says = "load the rules, and see that a new connection can be made";
            let words = [Text::plain(Self::text(&lines, verb)), Text::plain(verb)];
            steps.push(Step::script(says, LOAD, words).guarded("firewall"));
        }
        // What is not confirmed does not come back with the next start either.
        steps.push(Step::script("let the start load them", KEEP, [Text::plain(Self::text(&lines, "delete"))]));
        steps
    }

    fn named(_key: &str) -> Option<Self> {
        Some(Firewall { name: "provision".to_owned(), ..Firewall::default() })
    }

    fn remove(&self) -> Removal {
        if self.found.lines.is_none() && self.found.start.is_none() {
            return Removal::Forget;
        }
        Removal::Steps(vec![Step::script("remove the rules: everything is let in", REMOVE, [])])
    }

    fn exists(&self) -> bool {
        self.found.lines.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::super::systemd::tests::plain_rows;
    use super::*;

    fn wanted() -> Firewall {
        let allow = |port, from: &[&str]| Allow { protocol: "tcp".to_owned(), port, from: from.iter().map(|text| (*text).to_owned()).collect() };
        Firewall { name: "provision".to_owned(), allow: [allow(80, &[]), allow(5432, &["10.0.0.0/8", "fd00::/8"])].into(), ..Firewall::default() }
    }

    fn answer(change: impl Fn(&mut Vec<String>)) -> String {
        let mut lines = wanted().lines(&BTreeSet::from([22]));
        let start = lines.clone();
        change(&mut lines);
        let said = ["systemd yes".to_owned(), "ssh 22".to_owned(), "ssh 22".to_owned(), "line table".to_owned(), "start table".to_owned()]
            .into_iter()
            .chain(lines.iter().map(|line| format!("line {line}")))
            .chain(start.iter().map(|line| format!("start {line}")));
        said.collect::<Vec<_>>().join("\n")
    }

    fn differing(lines: &str) -> (Vec<String>, usize) {
        let found = wanted().read(&plain_rows("provision", lines)).unwrap();
        let fields = wanted().fields(found.as_ref());
        let names = fields.iter().filter(|field| field.differs()).map(|field| field.name.to_string());
        (names.collect(), wanted().steps(found.as_ref()).len())
    }

    #[test]
    fn each_rule_is_a_line_that_is_compared() {
        assert_eq!(differing(&answer(|_| ())), (Vec::new(), 0));
        let opened = answer(|lines| lines.push("tcp dport 8080 accept".to_owned()));
        assert_eq!(differing(&opened), (vec!["rule tcp dport 8080 accept".to_owned()], 2));
        let closed = answer(|lines| lines.retain(|line| !line.contains("5432")));
        assert_eq!(differing(&closed).0.len(), 2);
        let turned = answer(|lines| lines.reverse());
        assert_eq!(differing(&turned).0, ["order"]);
        let all = differing("systemd yes\nssh 22").0;
        assert_eq!(all.len(), wanted().lines(&BTreeSet::from([22])).len() + 1);
    }

    #[test]
    fn ssh_is_let_in_from_everywhere_unless_the_file_says_from_where() {
        let lines = wanted().lines(&BTreeSet::from([22, 2222]));
        assert!(lines.contains(&"tcp dport 22 accept".to_owned()) && lines.contains(&"tcp dport 2222 accept".to_owned()));
        let mut own = wanted();
        own.allow.insert(Allow { protocol: "tcp".to_owned(), port: 22, from: ["10.0.0.1".to_owned()].into() });
        let lines = own.lines(&BTreeSet::from([22]));
        assert!(!lines.contains(&"tcp dport 22 accept".to_owned()));
        assert!(lines.contains(&"ip saddr 10.0.0.1 tcp dport 22 accept".to_owned()));
    }

    #[test]
    fn a_network_is_said_as_nft_says_it() {
        for (text, said) in [
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("10.1.2.3", "10.1.2.3"),
            ("10.1.2.3/32", "10.1.2.3"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:DB8::1/32", "2001:db8::/32"),
            ("::1/128", "::1"),
        ] {
            assert_eq!(network(text).as_deref(), Some(said), "{text}");
        }
        for wrong in ["10.0.0.0/33", "10.0.0/8", "10.0.0.0/", "10.0.0.0/+8", "x", "10.0.0.0/8 accept", "::/129"] {
            assert_eq!(network(wrong), None, "{wrong}");
        }
    }
}
