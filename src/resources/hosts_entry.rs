//! `hosts_entry`: a name in a machine's `/etc/hosts`.

use std::borrow::Cow;
use std::collections::BTreeSet;
use core::net::IpAddr;

use super::systemd::column;
use crate::command::{Ask, Question, Row, Text};
use crate::resource::{Field, Impact, Kind, Removal, Step};

/// An address by name in `/etc/hosts`.
#[derive(Clone, Debug, Default)]
pub struct HostsEntry {
    /// The host's name.
    pub name: String,
    /// Its address.
    pub address: String,
    /// Of a found one: all its addresses.
    pub found: BTreeSet<String>,
}

const ASK: &str = r#"
[ -e /etc/hosts ] || exit 0
awk '
BEGIN { for (i = 2; i < ARGC; i++) { wanted[ARGV[i]] = 1; delete ARGV[i] } }
{
    sub(/#.*/, "")
    for (i = 2; i <= NF; i++) if ($i in wanted) printf "%s\t%s\n", $i, $1
}' /etc/hosts "$@"
"#;

/// Pairs of words: a name, and its address with the family in front (`4 10.0.0.7`), or `-` for none at all. Lines keep what else is
/// in them. Where the file is mounted, as in a container, it cannot be replaced and is written over.
const SET: &str = r##"
text=$(
    [ ! -e /etc/hosts ] || cat /etc/hosts
    printf .
)
while [ "$#" -ge 2 ]; do
    text=$(printf '%s' "${text%.}" | awk -v name="$1" -v wanted="$2" '
        BEGIN { split(wanted, part, " ") }
        {
            line = $0
            code = line
            sub(/#.*/, "", code)
            count = split(code, word, /[ \t]+/)
            first = word[1] == "" ? 2 : 1
            family = index(word[first], ":") ? 6 : 4
            hit = 0
            rest = ""
            for (i = first + 1; i <= count; i++) {
                if (word[i] == name) hit = 1
                else if (word[i] != "") rest = rest " " word[i]
            }
            if (!hit || (wanted != "-" && family != part[1])) { print line; next }
            if (word[first] == part[2] && !done) { done = 1; print line; next }
            if (rest != "") print word[first] rest (index(line, "#") ? " " substr(line, index(line, "#")) : "")
        }
        END { if (wanted != "-" && !done) print part[2] " " name }
    '; printf .)
    shift 2
done
case "$(cat /proc/self/mounts 2> /dev/null)" in
    *' /etc/hosts '*) printf '%s' "${text%.}" > /etc/hosts || die "cannot write /etc/hosts" ;;
    *) printf '%s' "${text%.}" | put_file /etc/hosts root root 0644 ;;
esac
"##;

impl HostsEntry {
    fn address(&self) -> Option<IpAddr> {
        self.address.parse().ok()
    }

    /// The found addresses of the wanted one's family: a name may have one of each.
    fn kin(&self, found: &Self) -> BTreeSet<String> {
        let six = self.address().is_some_and(|address| address.is_ipv6());
        let kin = found.found.iter().filter(|address| address.contains(':') == six);
        kin.map(|text| text.parse::<IpAddr>().map_or_else(|_| text.clone(), |address| address.to_string())).collect()
    }
}

fn step(says: &str, name: &str, address: String) -> Step {
    let mut step = Step::script(says, SET, [Text::plain(name), Text::plain(address)]);
    step.merge = Some("hosts");
    step
}

impl Kind for HostsEntry {
    const NAME: &'static str = "hosts_entry";
    const QUESTION: Question = Question { name: "hosts_entries", ask: Ask::Machine { body: ASK, columns: &["key", "value"] } };

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.name)
    }

    fn read(&self, rows: &[Row]) -> Result<Option<Self>, String> {
        let found: BTreeSet<String> = rows.iter().map(|row| column(row, "value").to_owned()).collect();
        let entry = HostsEntry { name: self.name.clone(), found, ..HostsEntry::default() };
        // Of a name that is only remembered any address is meant.
        let none = match self.address() {
            Some(_) => self.kin(&entry).is_empty(),
            None => entry.found.is_empty(),
        };
        Ok((!none).then_some(entry))
    }

    fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        let from = found.map(|found| self.kin(found).into_iter().collect::<Vec<_>>().join(", "));
        let wanted = self.address().map_or_else(|| self.address.clone(), |address| address.to_string());
        vec![Field::new("address", from, wanted, Impact::None)]
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        if !self.fields(found).iter().any(Field::differs) {
            return Vec::new();
        }
        let family = if self.address().is_some_and(|address| address.is_ipv6()) { 6 } else { 4 };
        vec![step("write the line", &self.name, format!("{family} {}", self.address))]
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
    fn a_name_has_the_one_address_of_its_family() {
        assert_eq!(judged(&["10.0.0.7"]), None);
        assert_eq!(judged(&["10.0.0.7", "::1"]), None);
        assert_eq!(judged(&["::1"]), Some("none".to_owned()));
        assert_eq!(judged(&["10.0.0.8", "10.0.0.7"]), Some("10.0.0.7, 10.0.0.8".to_owned()));
    }
}
