//! What stands at paths of a machine: one question for files, folders and links, so that all of them are one `stat` and one
//! `sha256sum`; and the words that their kinds share.

use crate::command::{Ask, Question, Row, Text};
use crate::quote::word;
use crate::resource::{Field, Impact, Step};

/// Items are `FLAG:DIGEST:PATH`: `p` a file whose text may be shown where its digest is another, `s` a file of which only the digest
/// comes back, `n` no file.
pub(super) const QUESTION: Question = Question {
    name: "paths",
    ask: Ask::Machine {
        body: LOOK,
        columns: &[
            "key", "what", "owner", "uid", "group", "gid", "mode", "value", "written",
        ],
    },
};

/// The largest text that comes back.
const MOST: usize = 64 * 1024;

const LOOK: &str = r#"
nl='
'
hashed=$nl shown=$nl wanted=$nl count=$#
while [ "$count" -gt 0 ]; do
    flag=${1%%:*} path=${1#*:}
    digest=${path%%:*} path=${path#*:}
    shift
    set -- "$@" "$path"
    case $flag in
        p) hashed=$hashed$path$nl shown=$shown$path$nl wanted="$wanted$digest  $path$nl" ;;
        s) hashed=$hashed$path$nl ;;
    esac
    count=$((count - 1))
done
{ said=$(QUOTING_STYLE=escape LC_ALL=C.UTF-8 stat --printf '%n\t%F\t%U\t%u\t%G\t%g\t%a\t%N\t%Y\n' -- "$@" 2>&1 >&3) || :; } 3>&1
IFS=$nl
set -f
for line in $said; do
    case $line in
        *': No such file or directory' | *': Not a directory') ;;
        *) die "$line" ;;
    esac
done
unset IFS
count=$#
while [ "$count" -gt 0 ]; do
    path=$1
    shift
    case $hashed in
        *"$nl$path$nl"*) if [ -f "$path" ] && [ ! -L "$path" ]; then set -- "$@" "$path"; fi ;;
    esac
    count=$((count - 1))
done
if [ "$#" -gt 0 ]; then
    sha256sum -- "$@" | while IFS= read -r line; do
        path=${line#*  }
        row "$path" digest '' '' '' '' '' "${line%% *}" ''
        case $shown in *"$nl$path$nl"*) ;; *) continue ;; esac
        case $wanted in *"$nl$line$nl"*) continue ;; esac
        row "$path" text '' '' '' '' '' "$(head -c 65537 -- "$path" | b64)" ''
    done
fi
"#;

/// What stands at a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// As `stat` calls it: `regular file`, `directory`, `symbolic link`, ...
    pub what: String,
    /// Its owner, by name and number.
    pub owner: (String, String),
    /// Its group, likewise.
    pub group: (String, String),
    /// The mode.
    pub mode: u32,
    /// Where a link leads.
    pub leads: Option<String>,
    /// SHA-256 of a file.
    pub digest: Option<String>,
    /// What a file holds, where it is a text that may be shown.
    pub text: Option<String>,
    /// When it was last written, in seconds since 1970.
    pub written: Option<i64>,
}

impl Standing {
    /// What to do by hand where it is in the way.
    pub(super) fn recipe(&self, path: &str) -> Vec<String> {
        vec![format!(
            "a {} stands there; look at it and move it away: `sudo mv {} {}`",
            self.says(),
            word(path),
            word(&format!("{path}.old"))
        )]
    }

    /// Whether it is a file, however empty.
    pub fn is_file(&self) -> bool {
        self.what.starts_with("regular")
    }

    /// A few words for people.
    pub fn says(&self) -> String {
        match self.what.as_str() {
            _ if self.is_file() => "file".to_owned(),
            "symbolic link" => "link".to_owned(),
            "directory" => "folder".to_owned(),
            other => other.to_owned(),
        }
    }

    /// Its type as a field: what stands in the way of something else is never removed, but a link leads elsewhere at once.
    pub fn type_field(found: Option<&Self>, wanted: &str) -> Field {
        let from = found.map(Standing::says);
        let impact = match from.as_deref() {
            Some("link") | None => Impact::None,
            Some(_) => Impact::DataRisk,
        };
        Field::new("type", from, wanted, impact)
    }

    /// Owner, group and mode as fields.
    pub fn rights(found: Option<&Self>, owner: &str, group: &str, mode: u32) -> [Field; 3] {
        let named = |found: &(String, String), wanted: &str| match is_number(wanted) {
            true => found.1.clone(),
            false => found.0.clone(),
        };
        let (owner, group) = (or_root(owner), or_root(group));
        let octal = |mode: u32| format!("{mode:04o}");
        [
            Field::new(
                "owner",
                found.map(|f| named(&f.owner, owner)),
                owner,
                Impact::None,
            ),
            Field::new(
                "group",
                found.map(|f| named(&f.group, group)),
                group,
                Impact::None,
            ),
            Field::new(
                "mode",
                found.map(|f| octal(f.mode)),
                octal(mode),
                Impact::None,
            ),
        ]
    }
}

/// What stands at a path, from its rows.
pub(super) fn read(path: &str, rows: &[Row]) -> Result<Option<Standing>, String> {
    let text = |row: &Row, name: &str| {
        row.get(name)
            .and_then(|value| value.as_str())
            .unwrap_or_default()
            .to_owned()
    };
    let of = |what: &str| rows.iter().find(|row| text(row, "what") == what);
    let seen = rows
        .iter()
        .find(|row| !matches!(text(row, "what").as_str(), "digest" | "text"));
    let Some(seen) = seen else { return Ok(None) };
    let mode = text(seen, "mode");
    let mode = u32::from_str_radix(&mode, 8).map_err(|_| format!("`{mode}` is no mode"))?;
    let value = text(seen, "value");
    let leads = value.strip_prefix(&format!("{path} -> ")).map(unescaped);
    let shown = of("text").and_then(|row| decoded(&text(row, "value")));
    Ok(Some(Standing {
        what: text(seen, "what"),
        owner: (text(seen, "owner"), text(seen, "uid")),
        group: (text(seen, "group"), text(seen, "gid")),
        mode,
        leads,
        digest: of("digest").map(|row| text(row, "value")),
        text: shown,
        written: text(seen, "written").parse().ok(),
    }))
}

/// A base64 text, unless it is too long or no text.
fn decoded(text: &str) -> Option<String> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(text)
        .ok()?;
    let fits = bytes.len() <= MOST && !bytes.contains(&0);
    String::from_utf8(bytes).ok().filter(|_| fits)
}

/// A name as `stat` escapes it.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes().peekable();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        match rest.next() {
            Some(digit @ b'0'..=b'7') => {
                let mut value = digit - b'0';
                for _ in 0..2 {
                    let digit = rest.next_if(|byte| (b'0'..=b'7').contains(byte));
                    value = digit.map_or(value, |digit| (value << 3) | (digit - b'0'));
                }
                bytes.push(value);
            }
            Some(b'n') => bytes.push(b'\n'),
            Some(b't') => bytes.push(b'\t'),
            Some(b'r') => bytes.push(b'\r'),
            Some(other) => bytes.push(other),
            None => bytes.push(b'\\'),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether a name of a user or group is a number.
fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}

/// A name of a user or group; an empty one is root's.
pub(super) fn or_root(name: &str) -> &str {
    if name.is_empty() { "root" } else { name }
}

/// Paths by which we get in, and what makes a new state of them count: `now` whoever comes next meets it; `sshd` once sshd has read it,
/// which is done at once; `later` once a unit has loaded it.
const GATES: &[(&str, &str)] = &[
    ("/etc/ssh", "sshd"),
    ("/etc/sudoers", "now"),
    ("/etc/sudoers.d", "now"),
    ("/etc/sudo.conf", "now"),
    ("/etc/pam.conf", "now"),
    ("/etc/pam.d", "now"),
    ("/etc/security", "now"),
    ("/etc/nsswitch.conf", "now"),
    ("/etc/passwd", "now"),
    ("/etc/shadow", "now"),
    ("/etc/group", "now"),
    ("/etc/gshadow", "now"),
    ("/etc/nologin", "now"),
    ("/etc/hosts.allow", "now"),
    ("/etc/hosts.deny", "now"),
    ("/etc/ld.so.preload", "now"),
    ("/etc/network", "later"),
    ("/etc/netplan", "later"),
    ("/etc/systemd/network", "later"),
    ("/etc/NetworkManager", "later"),
    ("/etc/nftables.conf", "later"),
    ("/etc/nftables.d", "later"),
];

/// The gate that a path is, or lies in; empty where it is none.
fn gate(path: &str) -> &'static str {
    let inside = |gate: &str| {
        let rest = path.strip_prefix(gate);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let found = GATES.iter().find(|(gate, _)| inside(gate));
    found.map_or("", |(_, counts)| counts)
}

/// The gate as a word of a script that calls `way_in` before and `way_out` after it changes the path.
pub(super) fn gate_word(path: &str) -> Text {
    Text::plain(gate(path))
}

/// The step, behind the guard where its path is one by which we get in.
pub(super) fn guarded(step: Step, path: &str) -> Step {
    match gate(path) {
        "" => step,
        _ => step.guarded("access"),
    }
}

/// A mode as a word of a script; none said is the kind's own.
pub(super) fn mode_word(mode: u32) -> Text {
    Text::plain(format!("{mode:04o}"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::command::Rows;

    /// Rows as a machine prints them.
    pub fn rows(printed: &str) -> Rows {
        let Ask::Machine { columns, .. } = QUESTION.ask else {
            panic!("asked of a machine");
        };
        Rows::new(printed.lines().map(|line| {
            let values = line.split('\t').map(serde_json::Value::from);
            columns
                .iter()
                .map(|name| (*name).to_owned())
                .zip(values)
                .collect()
        }))
    }

    #[test]
    fn what_lets_us_in_is_behind_the_guard() {
        for (path, counts) in [
            ("/etc/ssh/sshd_config.d/a.conf", "sshd"),
            ("/etc/ssh", "sshd"),
            ("/etc/sudoers", "now"),
            ("/etc/sudoers.d/deploy", "now"),
            ("/etc/pam.d/sshd", "now"),
            ("/etc/network/interfaces", "later"),
            ("/etc/nftables.conf", "later"),
            ("/etc/sshd", ""),
            ("/etc/sudoers.old", ""),
            ("/srv/etc/ssh/sshd_config", ""),
        ] {
            assert_eq!(gate(path), counts, "{path}");
        }
    }

    #[test]
    fn a_link_leads_where_its_bytes_say() {
        let rows =
            rows("/l\tsymbolic link\troot\t0\troot\t0\t777\t/l -> /a b\\nc\\\\d\\303\\251 -> x");
        let found = read("/l", rows.of("/l")).unwrap().unwrap();
        assert_eq!(found.leads.as_deref(), Some("/a b\nc\\dé -> x"));
        assert_eq!(found.says(), "link");
        assert_eq!(read("/m", rows.of("/m")), Ok(None));
    }
}
