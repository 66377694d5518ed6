//! `hosts_entry`: a name in a machine's `/etc/hosts`.

use std::borrow::Cow;
use core::net::IpAddr;

use super::systemd::column;
use crate::command::{Ask, Question, Row, Text};
use crate::resource::{Field, Impact, Kind, Removal, Step};

/// An address by name in `/etc/hosts`: what the machine's resolver answers for it, and nothing else.
#[derive(Clone, Debug, Default)]
pub struct HostsEntry {
    /// The host's name.
    pub name: String,
    /// Its address.
    pub address: String,
    /// Of a found one: all its addresses, in their order, each with the number of its line.
    pub found: Vec<(String, String)>,
    /// Of a found one: what the resolver answers, in its order; empty where it was not asked.
    pub answers: Vec<String>,
}

/// Names are compared as the resolver compares them: without case. It is asked only about names that are in the file, so no server is.
const ASK: &str = r#"
[ -e /etc/hosts ] || exit 0
awk '
BEGIN { for (i = 2; i < ARGC; i++) { wanted[tolower(ARGV[i])] = ARGV[i]; delete ARGV[i] } }
{
    sub(/#.*/, "")
    sub(/\r$/, "")
    for (i = 2; i <= NF; i++) if (tolower($i) in wanted) printf "%s\t%s\t%s\n", wanted[tolower($i)], $1, NR
}' /etc/hosts "$@" | {
    asked=' '
    while IFS=$_tab read -r name address line; do
        row "$name" "$address" "$line"
        case $asked in *" $name "*) continue ;; esac
        asked="$asked$name "
        command -v getent > /dev/null || continue
        said=$(timeout 5 getent ahosts "$name" 2> /dev/null) || said=''
        printf '%s\n' "$said" | awk -v name="$name" 'NF && !seen[$1]++ { printf "%s\t%s\tanswer\n", name, $1 }'
    done
}
"#;

/// Pairs of words: a name and its address, or `-` for none at all. Lines keep what else is in them; a line that gives the name another
/// address loses it, whatever the family: a resolver would answer with both. Where the file is mounted, as in a container, it cannot be
/// replaced and is written over. Afterwards the resolver is asked: other sources may come before the file.
const SET: &str = r##"
text=$(
    [ ! -e /etc/hosts ] || cat /etc/hosts
    printf .
)
each() {
    while [ "$#" -ge 2 ]; do
        "$each" "$1" "$2"
        shift 2
    done
}
change() {
    text=$(printf '%s' "${text%.}" | awk -v name="$1" -v wanted="$2" '
        function loopback(address) { return address ~ /^127\./ || address == "::1" }
        {
            line = $0
            code = line
            sub(/\r$/, "", code)
            sub(/#.*/, "", code)
            count = split(code, word, /[ \t]+/)
            first = word[1] == "" ? 2 : 1
            hit = 0
            rest = ""
            for (i = first + 1; i <= count; i++) {
                if (tolower(word[i]) == tolower(name)) hit = 1
                else if (word[i] != "") rest = rest " " word[i]
            }
            if (!hit) { print line; next }
            if (wanted != "-" && tolower(word[first]) == tolower(wanted) && !done) { done = 1; print line; next }
            if (wanted != "-" && loopback(wanted) && loopback(word[first]) \
                && !index(wanted, ":") != !index(word[first], ":")) { print line; next }
            if (rest != "") print word[first] rest (index(line, "#") ? " " substr(line, index(line, "#")) : "")
        }
        END { if (wanted != "-" && !done) print wanted " " name }
    '; printf .)
}
each=change
each "$@"
case "$(cat /proc/self/mounts 2> /dev/null)" in
    *' /etc/hosts '*) printf '%s' "${text%.}" > /etc/hosts || die "cannot write /etc/hosts" ;;
    *) printf '%s' "${text%.}" | put_file /etc/hosts root root 0644 ;;
esac
answers() {
    [ "$2" != - ] && command -v getent > /dev/null || return 0
    said=$(timeout 5 getent ahosts "$1" 2> /dev/null | awk 'NF && !seen[$1]++ { printf "%s%s", sep, $1; sep = ", " }') || return 0
    case ", $said, " in ', , ' | ", $2, "*) return 0 ;; esac
    # It says addresses in its own way.
    case $2 in *:*) return 0 ;; esac
    order=$(grep -n '^[[:space:]]*hosts:' /etc/nsswitch.conf 2> /dev/null | head -n 1) || order=''
    die "\`/etc/hosts\` says that \`$1\` is $2, and the resolver answers $said: line ${order%%:*} of \`/etc/nsswitch.conf\` is \`${order#*:}\`, and \`files\` has to come first in it"
}
each=answers
each "$@"
"##;

impl HostsEntry {
    fn address(&self) -> Option<IpAddr> {
        self.address.parse().ok()
    }

    /// The found addresses that count, in the order in which the resolver takes them, each once. Of a name of the machine itself the
    /// loopback of the other family is not another address.
    fn seen(&self, found: &Self) -> Vec<(String, String)> {
        let wanted = self.address();
        let mut all: Vec<(String, String)> = Vec::new();
        for (text, line) in &found.found {
            let address = text.parse::<IpAddr>().ok();
            let twin = matches!((wanted, address), (Some(wanted), Some(address))
                if wanted.is_loopback() && address.is_loopback() && wanted.is_ipv6() != address.is_ipv6());
            let shown = address.map_or_else(|| text.clone(), |address| address.to_string());
            if !twin && !all.iter().any(|(other, _)| *other == shown) {
                all.push((shown, line.clone()));
            }
        }
        all
    }

    /// What the resolver answers, where that is neither what is wanted nor in the file.
    fn elsewhere(&self, found: &Self) -> Option<String> {
        let wanted = self.address()?;
        let known = |text: &String| {
            let address = text.parse::<IpAddr>().ok();
            address == Some(wanted) || found.found.iter().any(|(other, _)| other.parse().ok() == address)
        };
        let others = found.answers.iter().any(|text| !known(text));
        // A name of the machine itself may be answered with loopback addresses by a module of its own.
        (others && !wanted.is_loopback()).then(|| found.answers.join(", "))
    }
}

fn step(says: &str, name: &str, address: String) -> Step {
    let mut step = Step::script(says, SET, [Text::plain(name), Text::plain(address)]);
    step.merge = Some("hosts");
    step
}

impl Kind for HostsEntry {
    const NAME: &'static str = "hosts_entry";
    const QUESTION: Question = Question { name: "hosts_entries", ask: Ask::Machine { body: ASK, columns: &["key", "value", "line"] } };

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.name)
    }

    fn read(&self, rows: &[Row]) -> Result<Option<Self>, String> {
        let mut entry = HostsEntry { name: self.name.clone(), ..HostsEntry::default() };
        for row in rows {
            let (value, line) = (column(row, "value").to_owned(), column(row, "line").to_owned());
            match line.as_str() {
                "answer" => entry.answers.push(value),
                _ => entry.found.push((value, line)),
            }
        }
        // Of a name that is only remembered any address is meant.
        let none = match self.address() {
            Some(_) => self.seen(&entry).is_empty(),
            None => entry.found.is_empty(),
        };
        Ok((!none).then_some(entry))
    }

    fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        let wanted = self.address().map_or_else(|| self.address.clone(), |address| address.to_string());
        let from = found.map(|found| {
            let seen = self.seen(found);
            let only = seen.iter().all(|(address, _)| *address == wanted);
            let says = |(address, line): &(String, String)| match only || line.is_empty() {
                true => address.clone(),
                false => format!("{address} (line {line})"),
            };
            seen.iter().map(says).collect::<Vec<_>>().join(", ")
        });
        let mut fields = vec![Field::new("address", from, &wanted, Impact::None)];
        if let Some(answers) = found.and_then(|found| self.elsewhere(found)) {
            fields.push(Field::new("resolver", Some(answers), wanted, Impact::None));
        }
        fields
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        if !self.fields(found).iter().any(Field::differs) {
            return Vec::new();
        }
        vec![step("write the line", &self.name, self.address.clone())]
    }

    fn named(key: &str) -> Option<Self> {
        Some(HostsEntry { name: key.to_owned(), ..HostsEntry::default() })
    }

    fn remove(&self) -> Removal {
        Removal::Steps(vec![step("take the name out", &self.name, "-".to_owned())])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(addresses: &[&str]) -> Option<String> {
        let wanted = HostsEntry { name: "db1".to_owned(), address: "10.0.0.7".to_owned(), ..HostsEntry::default() };
        let row = |address: &&str| -> Row { [("key".to_owned(), "db1".into()), ("value".to_owned(), (*address).into())].into_iter().collect() };
        let rows: Vec<Row> = addresses.iter().map(row).collect();
        let found = wanted.read(&rows).unwrap();
        let field = wanted.fields(found.as_ref()).remove(0);
        field.differs().then(|| field.from.unwrap_or_else(|| "none".to_owned()))
    }

    #[test]
    fn a_name_has_the_one_address_that_is_declared() {
        assert_eq!(judged(&["10.0.0.7"]), None);
        assert_eq!(judged(&["10.0.0.7", "::1"]), Some("10.0.0.7, ::1".to_owned()));
        assert_eq!(judged(&["10.0.0.8", "10.0.0.7"]), Some("10.0.0.8, 10.0.0.7".to_owned()));
    }
}
