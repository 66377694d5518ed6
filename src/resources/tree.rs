//! What the kinds that put the files of an application on a machine share: how a tree there is looked at, made and put in its place.

use crate::command::{Ask, Question, Row, Text};
use crate::resource::{Field, Impact, Same, Step};

/// Shell: `tree_digest PATH` prints the SHA-256 of what is in a folder; see [`crate::target::tree`].
macro_rules! tree_digest {
    () => {
        r#"
tree_digest() (
    cd -- "$1" || exit 1
    export LC_ALL=C
    {
        find . -type f -printf '%P\0' | sort -z | xargs -0 -r sha256sum -z --
        find . \( -type f -perm /111 -printf 'x %P\0' \) -o \( -type l -printf 'l %P//%l\0' \) | sort -z
    } | sha256sum | {
        read -r digest _
        printf '%s' "$digest"
    }
)
"#
    };
}

/// Shell: `tree_in_place DRAFT PATH GROUP` gives a draft to root and a group, which may read it, and puts it where the tree is, by two
/// renames: whoever is cut off in between leaves the old one under `PATH.old`, and the next run brings it back.
macro_rules! tree_in_place {
    () => {
        r#"
tree_in_place() {
    chown -R -h -- "root:$3" "$1"
    chmod -R -- u=rwX,g=rX,o= "$1"
    sync "$1" 2> /dev/null || sync
    rm -rf -- "$2.old"
    [ ! -e "$2" ] || mv -T -- "$2" "$2.old"
    mv -T -- "$1" "$2" || {
        [ ! -e "$2.old" ] || mv -T -- "$2.old" "$2"
        die "cannot put \`$2\` in place"
    }
    sync "${2%/*}" 2> /dev/null || sync
    rm -rf -- "$2.old"
}

# What a run that was cut off left.
tree_tidy() {
    [ -e "$1" ] || [ ! -e "$1.old" ] || mv -T -- "$1.old" "$1"
    rm -rf -- "$1.new"
    [ ! -L "$1" ] || die "\`$1\` is a link"
    mkdir -p -m 0755 -- "${1%/*}"
    mkdir -m 0700 -- "$1.new"
}
"#
    };
}

/// Trees by `GROUP:PATH`; the digest is that of [`crate::target::tree`], by one pipeline. `odd` is the first entry that is not
/// root's and its group's as it should be. What stands beside a tree: `PATH.source`, where it is from, and for a checkout
/// `PATH.resolved`, the commit and the digest it had.
pub const QUESTION: Question = Question {
    name: "trees",
    ask: Ask::Machine {
        body: concat!(
            tree_digest!(),
            r#"
for item in "$@"; do
    group=${item%%:*} path=${item#*:}
    [ -d "$path" ] && [ ! -L "$path" ] || continue
    digest=$(tree_digest "$path")
    odd=$(find "$path" ! -type l \( ! -user root -o ! -group "$group" -o -perm /027 -o ! -perm -040 \) -printf '%P %u:%g %m' -quit 2>&1 | b64)
    source=$([ ! -f "$path.source" ] || b64 < "$path.source")
    resolved=$([ ! -f "$path.resolved" ] || b64 < "$path.resolved")
    row "$path" "$digest" "$odd" "$source" "$resolved"
done
"#
        ),
        columns: &["key", "digest", "odd", "source", "resolved"],
    },
};

/// A tree on a machine, as the kinds that make one see it.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The digest of what is in it.
    pub digest: String,
    /// The first entry whose owner or mode is not as it should be.
    pub odd: String,
    /// Where it is from.
    pub source: String,
    /// Of a checkout, the commit and the digest it had.
    pub resolved: String,
}

impl Found {
    /// What a row says.
    ///
    /// # Errors
    /// A sentence that says what could not be understood.
    pub fn read(rows: &[Row]) -> Result<Option<Self>, String> {
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        Ok(Some(Found {
            digest: text(row, "digest")?.to_owned(),
            odd: decoded(row, "odd")?,
            source: decoded(row, "source")?,
            resolved: decoded(row, "resolved")?,
        }))
    }

    /// Owner and modes as a field: root's, readable for a group, closed to others.
    pub fn owner(found: Option<&Self>, group: &str) -> Field {
        let wanted = format!("root:{group}, closed to others");
        let from = found.map(|found| match found.odd.trim() {
            "" => wanted.clone(),
            odd => odd.to_owned(),
        });
        Field::new("owner", from, wanted, Impact::None)
    }
}

/// PATH SORT
const REMOVE: &str = r#"
sort=
[ ! -f "$1.source" ] || IFS=' ' read -r sort _ < "$1.source" || :
# Another sort of source may stand there now.
[ "$sort" = "$2" ] || exit 0
rm -rf -- "$1" "$1.old" "$1.new" "$1.git" "$1.source" "$1.resolved"
"#;

/// Removes a tree whose stamp begins with a word.
pub fn remove(path: &str, sort: &str) -> Step {
    Step::script("remove it", REMOVE, [path, sort].map(Text::plain))
}

/// UNIT
const RESTART: &str = r#"
supervise=/usr/local/lib/provision/supervise
if [ -d /run/systemd/system ]; then
    systemctl try-restart -- "$1"
elif [ -f "$supervise" ] && /bin/sh "$supervise" status "$1"; then
    /bin/sh "$supervise" restart "$1" 9>&-
fi
"#;

/// Restarts a unit that runs from what was changed by hand and is put back: as declared it is what the unit read at its start, so
/// nothing else would.
pub fn restart(unit: &str) -> Step {
    let says = format!("restart `{unit}` if it runs");
    Step::script(says, RESTART, [Text::plain(unit)]).costs(Impact::Restart)
}

/// A column of a row.
///
/// # Errors
/// A sentence that names it.
pub fn text<'a>(row: &'a Row, column: &str) -> Result<&'a str, String> {
    row.get(column)
        .and_then(serde_json::Value::as_str)
        .ok_or_else(|| format!("its `{column}` could not be read"))
}

/// A column of a row that is base64 of a text.
///
/// # Errors
/// A sentence that names it.
pub fn decoded(row: &Row, column: &str) -> Result<String, String> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(text(row, column)?)
        .map_err(|_| format!("its `{column}` could not be read"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Yes or no.
pub fn same(same: bool) -> Same {
    if same { Same::Yes } else { Same::No }
}

/// The first characters of a digest, for people.
pub fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

pub(crate) use {tree_digest, tree_in_place};
