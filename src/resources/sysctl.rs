//! `sysctl`: a setting of a machine's kernel, as it is now and as it will be after its next start.

use std::borrow::Cow;

use super::systemd::column;
use crate::command::{Ask, Question, Row, Text};
use crate::resource::{Field, Impact, Kind, Removal, Step};

/// A setting of the kernel: as it is now, and as it is set at the next start.
#[derive(Clone, Debug, Default)]
pub struct Sysctl {
    /// As in `vm.swappiness`.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Of a found one: the value now, and the value that our file sets at the start.
    pub found: (Option<String>, Option<String>),
}

// awk reads a setting at once; `read` of a shell asks for a byte at a time, and the kernel answers with the first only.
const ASK: &str = r#"
awk '
BEGIN {
    for (i = 1; i < ARGC; i++) {
        key = ARGV[i]
        path = key
        gsub(/\./, "/", path)
        show(key, "now", "/proc/sys/" path, 0)
        show(key, "start", "/etc/sysctl.d/99-zz-provision-" key ".conf", 1)
    }
}
function show(key, what, path, file,    line) {
    if ((getline line < path) > 0) {
        if (file) sub(/^[^=]*=/, "", line)
        gsub(/[ \t]+/, " ", line)
        gsub(/^ | $/, "", line)
        printf "%s\t%s\t%s\n", key, what, line
    }
    close(path)
}' "$@"
"#;

// A file of ours sorts behind /etc/sysctl.conf, which Debian reads as 99-sysctl.conf.
const SET: &str = r#"
key=$1 value=$2
path=/proc/sys/$(printf '%s' "$key" | tr . /)
[ -e "$path" ] || die "this kernel has no setting \`$key\`; a module that is not loaded may have it"
[ -d /etc/sysctl.d ] || mkdir -m 755 /etc/sysctl.d
printf '%s = %s\n' "$key" "$value" | put_file "/etc/sysctl.d/99-zz-provision-$key.conf" root root 0644
# Some can only be read, and are right as they are.
now=$(tr -s '\t ' '  ' < "$path")
[ "$now" != "$value" ] || exit 0
said=$({ printf '%s\n' "$value" > "$path"; } 2>&1) || case $said in
    *'Read-only file system'*) die "the kernel's settings are read-only here, as in a container: \`$key\` is set on the machine around it" ;;
    *) die "the kernel does not take \`$value\` for \`$key\`: ${said##*: }" ;;
esac
"#;

const REMOVE: &str = r#"rm -f -- "/etc/sysctl.d/99-zz-provision-$1.conf""#;

impl Sysctl {
    /// The value with single spaces, as the kernel's tabs are shown.
    fn value(&self) -> String {
        self.value.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

impl Kind for Sysctl {
    const NAME: &'static str = "sysctl";
    const QUESTION: Question = Question { name: "sysctls", ask: Ask::Machine { body: ASK, columns: &["key", "what", "value"] } };

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.name)
    }

    fn read(&self, rows: &[Row]) -> Result<Option<Self>, String> {
        let of = |what: &str| rows.iter().find(|row| column(row, "what") == what).map(|row| column(row, "value").to_owned());
        let found = (of("now"), of("start"));
        if found == (None, None) {
            return Ok(None);
        }
        Ok(Some(Sysctl { name: self.name.clone(), found, ..Sysctl::default() }))
    }

    fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        let of = |pick: fn(&(Option<String>, Option<String>)) -> &Option<String>| found.and_then(|found| pick(&found.found).clone());
        vec![
            Field::new("value", of(|found| &found.0), self.value(), Impact::None),
            Field::new("start", of(|found| &found.1), self.value(), Impact::None),
        ]
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        if !self.fields(found).iter().any(Field::differs) {
            return Vec::new();
        }
        vec![Step::script("set it, now and for the next start", SET, [Text::plain(&self.name), Text::plain(self.value())])]
    }

    fn named(key: &str) -> Option<Self> {
        Some(Sysctl { name: key.to_owned(), ..Sysctl::default() })
    }

    /// What it was before is not known: it is as the kernel says after the next start.
    fn remove(&self) -> Removal {
        match self.found.1 {
            None => Removal::Forget,
            Some(_) => Removal::Steps(vec![Step::script("no longer set it at the start", REMOVE, [Text::plain(&self.name)])]),
        }
    }

    fn exists(&self) -> bool {
        self.found.1.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::super::systemd::tests::plain_rows;
    use super::*;

    #[test]
    fn a_setting_is_what_it_is_now_and_after_the_next_start() {
        let wanted = Sysctl { name: "net.ipv4.tcp_rmem".to_owned(), value: "4096\t131072  6291456".to_owned(), ..Sysctl::default() };
        let differing = |lines: &str| {
            let found = wanted.read(&plain_rows(&wanted.name, lines)).unwrap();
            let fields = wanted.fields(found.as_ref());
            let names: Vec<_> = fields.into_iter().filter(Field::differs).map(|field| field.name.to_string()).collect();
            (names.join(" "), wanted.steps(found.as_ref()).len())
        };
        assert_eq!(differing("now 4096 131072 6291456\nstart 4096 131072 6291456"), (String::new(), 0));
        assert_eq!(differing("now 4096 131072 6291456"), ("start".to_owned(), 1));
        assert_eq!(differing("now 1 2 3\nstart 4096 131072 6291456"), ("value".to_owned(), 1));
        assert_eq!(differing(""), ("value start".to_owned(), 1));
    }
}
