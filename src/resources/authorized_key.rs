//! `authorized_key`: the public keys that may log in as a user. The file lies in a folder that its user owns, so it is written as that
//! user: whatever the user puts there harms nobody else.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::accounts;
use crate::command::{Question, Row, Text};
use crate::resource::{Field, Impact, Kind, Removal, Step};
use crate::secret::sha256;

/// The public keys that may log in as a user.
#[derive(Clone, Debug, Default)]
pub struct AuthorizedKeys {
    /// The user.
    pub user: String,
    /// The keys, a line each, as in a file of public keys.
    pub keys: BTreeSet<String>,
    /// Keys that are there and not declared are removed.
    pub exclusive: bool,
    /// It is the user as whom we log in, or may be.
    pub ours: bool,
    /// Of a found one: mode and owner of the folder and of the file where they are not as `sshd` wants them.
    pub rights: Vec<String>,
}

/// A key: its type, its own bytes, what it is limited to, and who it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// As in `ssh-ed25519`.
    pub sort: String,
    /// Base64.
    pub bytes: String,
    /// As in `restrict,command="backup"`.
    pub options: String,
    /// As in `deploy@laptop`.
    pub comment: String,
}

impl Key {
    /// A line of a file of keys; `None`: it holds none.
    pub fn of_line(line: &str) -> Option<Self> {
        let line = line.trim();
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = words.iter().position(|word| word.starts_with("AAAA"))?;
        let bytes = words.get(at)?;
        let base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
        let sort = words.get(at.checked_sub(1)?)?;
        let named = |c: char| c.is_ascii_alphanumeric() || "-@.".contains(c);
        if line.starts_with('#') || !bytes.chars().all(base64) || !sort.chars().all(named) {
            return None;
        }
        Some(Key {
            sort: (*sort).to_owned(),
            bytes: (*bytes).to_owned(),
            options: words[..at - 1].join(" "),
            comment: words[at + 1..].join(" "),
        })
    }

    /// What people call it: a fingerprint's beginning, since comments may be anything and the same twice.
    fn name(&self) -> String {
        let digest = sha256(&self.bytes);
        format!("key {}", digest.get(..12).unwrap_or_default())
    }

    /// What it may do.
    fn says(&self) -> String {
        match self.options.as_str() {
            "" => self.sort.clone(),
            options => format!("{options} {}", self.sort),
        }
    }

    fn line(&self) -> String {
        let words = [&self.options, &self.sort, &self.bytes, &self.comment];
        let words: Vec<&str> = words.map(String::as_str).into_iter().collect();
        words.join(" ").trim().to_owned()
    }
}

/// Words: `ours` or nothing, the user, `all` for only these keys or `more` for these too, the numbers of keys that go, `--`, lines of keys.
///
/// Root makes the folder and gives it to the user from within; the rest is done as the user, in that folder.
const WRITE: &str = r#"
ours=$1 user=$2
shift 2
line=$(getent passwd "$user") || die "there is no user \`$user\`"
uid=${line#*:*:} gid=${line#*:*:*:} home=${line#*:*:*:*:*:}
uid=${uid%%:*} gid=${gid%%:*} home=${home%%:*}
[ -d "$home" ] || die "the home folder \`$home\` of \`$user\` is not there"
stand_in "$home"
here=$(pwd -P)
[ -L .ssh ] || [ -d .ssh ] || mkdir .ssh || die "cannot write in \`$home\`"
cd -P -- ./.ssh && [ "$(pwd -P)" = "${here%/}/.ssh" ] || die "\`$home/.ssh\` is a link: not followed"
chown -- "$uid:$gid" . && chmod 700 . || die "cannot give \`$home/.ssh\` to \`$user\`"
if [ -n "$ours" ]; then
    guard_free access "the keys of $user"
    # Written back as the user, too.
    as="setpriv --reuid $uid --regid $gid --init-groups --inh-caps=-all /bin/sh -c"
    if [ -f authorized_keys ] && [ ! -L authorized_keys ]; then
        cp -- authorized_keys "$_g.old"
        back='cd -P -- "$1" && umask 077 && draft=$(mktemp ./.provision-XXXXXXXXXX) && cat > "$draft" && mv -f -T -- "$draft" ./authorized_keys'
        back="$as $(quoted "$back") sh $(quoted "${here%/}/.ssh") < $_g.old"
    else
        back="$as $(quoted 'cd -P -- "$1" && rm -f ./authorized_keys') sh $(quoted "${here%/}/.ssh")"
    fi
    printf '%s\n' "$back" | guard access
fi
exec setpriv --reuid "$uid" --regid "$gid" --init-groups --inh-caps=-all /bin/sh -c '
set -efu
umask 077
how=$1 gone=" "
shift
while [ "$1" != -- ]; do
    gone="$gone$1 "
    shift
done
shift
draft=$(mktemp ./.provision-XXXXXXXXXX)
trap "rm -f -- \"\$draft\"" EXIT
if [ "$how" = more ] && [ -e authorized_keys ]; then
    [ -f authorized_keys ] || { echo "\`authorized_keys\` is no file" >&2; exit 1; }
    while IFS= read -r line || [ -n "$line" ]; do
        for word in $line; do
            case $word in
                AAAA*) case $gone in *" $word "*) continue 2 ;; esac && break ;;
            esac
        done
        printf "%s\n" "$line"
    done < authorized_keys > "$draft"
fi
for line in "$@"; do printf "%s\n" "$line"; done >> "$draft"
sync "$draft" 2> /dev/null || sync
mv -f -T -- "$draft" ./authorized_keys
trap - EXIT
' sh "$@" 9>&-
"#;

impl AuthorizedKeys {
    /// The keys by their bytes.
    fn parsed(&self) -> BTreeMap<String, Key> {
        let keys = self.keys.iter().filter_map(|line| Key::of_line(line));
        keys.map(|key| (key.bytes.clone(), key)).collect()
    }
}

impl Kind for AuthorizedKeys {
    const NAME: &'static str = "authorized_key";
    const QUESTION: Question = accounts::QUESTION;

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.user)
    }

    fn item(&self) -> Cow<'_, str> {
        Cow::Owned(format!("k:{}", self.user))
    }

    fn read(&self, rows: &[Row]) -> Result<Option<Self>, String> {
        let Some(files) = accounts::of(rows, "files") else {
            return Ok(None);
        };
        let own = accounts::text(files, "a");
        let seen = |column| {
            let parts = accounts::text(files, column).splitn(4, ':');
            let parts: Vec<&str> = parts.collect();
            <[&str; 4]>::try_from(parts).ok()
        };
        let Some(file) = seen("c") else {
            return Ok(None);
        };
        let large = file[2].parse::<u64>().map_or(true, |size| size > 262_144);
        if large && file[3].starts_with("regular") {
            return Err("its file of keys is larger than 256 KiB".to_owned());
        }
        let mut rights = Vec::new();
        for (what, seen, mode, sort) in [
            ("folder", seen("b"), "700", "directory"),
            ("file", Some(file), "600", "regular"),
        ] {
            match seen {
                Some([_, _, _, other]) if !other.starts_with(sort) => {
                    rights.push(format!("{what} is a {other}"));
                }
                Some([owner, _, ..]) if owner != own => rights.push(format!("{what} of {owner}")),
                Some([_, found, ..]) if found != mode => rights.push(format!("{what} 0{found}")),
                _ => {}
            }
        }
        let keys = accounts::all(rows, "key").map(|row| {
            let word = |column| accounts::text(row, column).to_owned();
            let key = Key {
                sort: word("a"),
                bytes: word("b"),
                options: word("c"),
                comment: String::new(),
            };
            key.line()
        });
        Ok(Some(AuthorizedKeys {
            user: self.user.clone(),
            keys: keys.collect(),
            exclusive: self.exclusive,
            ours: self.ours,
            rights,
        }))
    }

    fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        let (wanted, there) = (
            self.parsed(),
            found.map(AuthorizedKeys::parsed).unwrap_or_default(),
        );
        let mut fields: Vec<Field> = wanted
            .iter()
            .map(|(bytes, key)| {
                let from = there.get(bytes).map(Key::says);
                Field::new(key.name(), from, key.says(), Impact::None)
            })
            .collect();
        if self.exclusive {
            let extra = there
                .iter()
                .filter(|(bytes, _)| !wanted.contains_key(*bytes));
            fields
                .extend(extra.map(|(_, key)| Field::extra(key.name(), key.says(), Impact::None)));
        }
        let said = |found: &Self| match found.rights.as_slice() {
            [] => "private".to_owned(),
            rights => rights.join(", "),
        };
        fields.push(Field::new(
            "rights",
            found.map(said),
            "private",
            Impact::None,
        ));
        fields
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        if !self.fields(found).iter().any(Field::differs) {
            return Vec::new();
        }
        let keys = self.parsed();
        let how = if self.exclusive { "all" } else { "more" };
        let ours = if self.ours { "ours" } else { "" };
        let words = [ours.to_owned(), self.user.clone(), how.to_owned()];
        let lines = keys.values().map(Key::line);
        let words = words
            .into_iter()
            .chain(keys.keys().cloned())
            .chain(["--".to_owned()])
            .chain(lines);
        let step = Step::script("write the keys", WRITE, words.map(Text::plain));
        vec![if self.ours { step.guarded("access") } else { step }]
    }

    fn named(key: &str) -> Option<Self> {
        Some(AuthorizedKeys {
            user: key.to_owned(),
            ..AuthorizedKeys::default()
        })
    }

    /// Which of the keys that are there were ours nobody remembers.
    fn remove(&self) -> Removal {
        Removal::Forget
    }
}

#[cfg(test)]
mod tests {
    use super::super::accounts::tests::rows;
    use super::*;

    const ONE: &str = "ssh-ed25519 AAAAC3one deploy@laptop";

    fn wanted(exclusive: bool) -> AuthorizedKeys {
        AuthorizedKeys {
            user: "deploy".to_owned(),
            keys: [ONE.to_owned(), "# a comment".to_owned()].into(),
            exclusive,
            ..AuthorizedKeys::default()
        }
    }

    fn differing(wanted: &AuthorizedKeys, printed: &str) -> Vec<String> {
        let found = wanted.read(rows(printed).of("deploy")).unwrap();
        let fields = wanted.fields(found.as_ref());
        let fields = fields.iter().filter(|field| field.differs());
        fields
            .map(|field| {
                let word = |text: &Option<String>| text.clone().unwrap_or_default();
                format!("{} -> {}", word(&field.from), word(&field.to))
            })
            .collect()
    }

    #[test]
    fn keys_are_added_to_those_that_are_there_or_are_the_only_ones() {
        let files = "deploy\tfiles\t1000\t1000:700:4096:directory\t1000:600:90:regular file\n";
        let both = format!(
            "{files}deploy\tkey\tssh-ed25519\tAAAAC3one\t\ndeploy\tkey\tssh-rsa\tAAAAB3two\t"
        );
        assert_eq!(differing(&wanted(false), &both), Vec::<String>::new());
        assert_eq!(differing(&wanted(true), &both), ["ssh-rsa -> "]);
        assert_eq!(differing(&wanted(false), files), [" -> ssh-ed25519"]);
        let limited = format!("{files}deploy\tkey\tssh-ed25519\tAAAAC3one\trestrict");
        assert_eq!(
            differing(&wanted(false), &limited),
            ["restrict ssh-ed25519 -> ssh-ed25519"]
        );
    }

    #[test]
    fn a_file_that_others_may_write_is_put_right() {
        let key = "\ndeploy\tkey\tssh-ed25519\tAAAAC3one\t";
        for (files, says) in [
            (
                "1000:755:4096:directory\t1000:600:9:regular file",
                "folder 0755",
            ),
            ("1000:700:4096:directory\t0:600:9:regular file", "file of 0"),
            (
                "1000:700:4096:directory\t1000:777:9:symbolic link",
                "file is a symbolic link",
            ),
        ] {
            let printed = format!("deploy\tfiles\t1000\t{files}{key}");
            assert_eq!(
                differing(&wanted(false), &printed),
                [format!("{says} -> private")]
            );
        }
        let large =
            "deploy\tfiles\t1000\t1000:700:4096:directory\t1000:600:999999999:regular file";
        assert!(wanted(false).read(rows(large).of("deploy")).is_err());
    }

    #[test]
    fn a_line_is_a_key_with_what_it_may_do() {
        let key = Key::of_line("command=\"a  b\",restrict ssh-rsa AAAAB3 me and you").unwrap();
        assert_eq!(key.options, "command=\"a b\",restrict");
        assert_eq!(key.comment, "me and you");
        assert_eq!(Key::of_line("# ssh-rsa AAAAB3"), None);
        assert_eq!(Key::of_line("AAAAB3 alone"), None);
        assert_eq!(Key::of_line(""), None);
    }
}
