//! `source_tree`: a folder of the user, copied to a machine.

use std::borrow::Cow;
use std::path::PathBuf;

use crate::command::{Blob, Do, Question, Row, Text};
use crate::resource::{Field, Impact, Kind, Removal, Step};
use crate::resources::tree::{self, Found, short, tree_digest, tree_in_place};

/// A folder of the user on a machine: root's, readable for a group, closed to others.
#[derive(Clone, Debug, Default)]
pub struct SourceTree {
    /// Where it is on the machine. Beside it stands `PATH.source`, which holds [`SourceTree::stamp`].
    pub path: String,
    /// The user's folder.
    pub folder: PathBuf,
    /// The digest of what is in it.
    pub digest: String,
    /// The group that may read it.
    pub group: String,
    /// The unit that runs from it, as in `iact.service`.
    pub unit: String,
    /// What was found; none in what is wanted.
    pub found: Found,
}

impl SourceTree {
    /// What `PATH.source` holds: a unit that reads it is restarted when the tree is another.
    pub fn stamp(&self) -> String {
        format!("folder {}\n", self.digest)
    }
}

/// PATH GROUP DIGEST STAMP; its stdin is the archive.
const COPY: &str = concat!(
    tree_digest!(),
    tree_in_place!(),
    r#"
path=$1 group=$2 digest=$3 stamp=$4
tree_tidy "$path"
trap 'rm -rf -- "$path.new"' EXIT
tar -x -f - -C "$path.new" --no-same-owner --no-same-permissions
got=$(tree_digest "$path.new")
[ "$got" = "$digest" ] || die "what arrived is not what the folder held when it was looked at: it changed meanwhile"
tree_in_place "$path.new" "$path" "$group"
printf '%s' "$stamp" | put_file "$path.source" root root 0644
"#
);

/// PATH GROUP STAMP
const OWN: &str = r#"
chown -R -h -- "root:$2" "$1"
chmod -R -- u=rwX,g=rX,o= "$1"
printf '%s' "$3" | put_file "$1.source" root root 0644
"#;

impl Kind for SourceTree {
    const NAME: &'static str = "source_tree";
    const QUESTION: Question = tree::QUESTION;

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.path)
    }

    fn item(&self) -> Cow<'_, str> {
        Cow::Owned(format!("{}:{}", self.group, self.path))
    }

    fn read(&self, rows: &[Row]) -> Result<Option<Self>, String> {
        Ok(Found::read(rows)?.map(|found| SourceTree {
            path: self.path.clone(),
            digest: found.digest.clone(),
            found,
            ..SourceTree::default()
        }))
    }

    fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        let wanted = self.stamp();
        let from = found.map(|found| match found.found.source == wanted {
            // What was copied here is what is wanted, and it is no longer that.
            true if found.digest != self.digest => {
                format!("{}, changed by hand", short(&found.digest))
            }
            _ => short(&found.digest).to_owned(),
        });
        vec![
            Field::new("content", from, short(&self.digest), Impact::Restart),
            Found::owner(found.map(|found| &found.found), &self.group),
            Field::new(
                "stamp",
                found.map(|found| words(&found.found.source)),
                words(&wanted),
                Impact::None,
            ),
        ]
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        let fields = self.fields(found);
        if fields.iter().all(|field| !field.differs()) {
            return Vec::new();
        }
        let word = |text: &str| Text::plain(text);
        if found.is_some_and(|found| found.digest == self.digest) {
            let words = [word(&self.path), word(&self.group), word(&self.stamp())];
            return vec![Step::script("give it its owner and modes", OWN, words)];
        }
        let mut step = Step::script(
            "copy it, check it, put it in place",
            COPY,
            [
                word(&self.path),
                word(&self.group),
                word(&self.digest),
                word(&self.stamp()),
            ],
        )
        .within(600);
        if let Do::Script(script) = &mut step.does {
            script.input = Some(Blob::Folder(self.folder.clone()));
        }
        let healed = found.is_some_and(|found| found.found.source == self.stamp());
        let restart = (healed && !self.unit.is_empty()).then(|| tree::restart(&self.unit));
        std::iter::once(step).chain(restart).collect()
    }

    fn named(key: &str) -> Option<Self> {
        Some(SourceTree {
            path: key.to_owned(),
            ..SourceTree::default()
        })
    }

    fn remove(&self) -> Removal {
        Removal::Steps(vec![tree::remove(&self.path, "folder")])
    }
}

/// A stamp on one line.
fn words(stamp: &str) -> String {
    match stamp.split_once(' ') {
        Some((of, digest)) => format!("{of} {}", short(digest.trim())),
        None => "none".to_owned(),
    }
}
