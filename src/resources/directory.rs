//! `directory`: a folder of a machine. What lies in it is not managed.

use std::borrow::Cow;

use super::paths::{self, Standing};
use crate::command::{Question, Row, Text};
use crate::resource::{Field, Kind, Removal, Step};

/// A folder of a machine.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    /// Its absolute path.
    pub path: String,
    /// The user that owns it, by name or number; empty is `root`.
    pub owner: String,
    /// The group that owns it, by name or number; empty is `root`.
    pub group: String,
    /// Its mode; 0 is 0755.
    pub mode: u32,
    /// Of a found one: what stands at its path.
    pub found: Standing,
}

/// Words: path, owner, group, mode, its gate. Folders above it that are not there are root's. It is changed from within, so that nobody can lay
/// a link in its place meanwhile.
const MAKE: &str = r#"
way_in "$5" "$1"
if [ -L "$1" ] || [ ! -d "$1" ]; then
    folder=${1%/*}
    (umask 022 && mkdir -p -- "${folder:-/}") || die "cannot make the folder \`${folder:-/}\`"
    stand_in "${folder:-/}"
    mkdir -- "./${1##*/}" || die "cannot make the folder \`$1\`"
fi
stand_in "$1"
chown -- "$2:$3" . || die "cannot give \`$1\` to \`$2:$3\`"
chmod -- "$4" . || die "cannot give \`$1\` the mode $4"
way_out "$5"
"#;

const REMOVE: &str = r#"
folder=${1%/*}
stand_in "${folder:-/}"
way_in "$2" "$1"
rm -rf --one-file-system -- "./${1##*/}"
way_out "$2"
"#;

impl Directory {
    fn mode(&self) -> u32 {
        if self.mode == 0 { 0o755 } else { self.mode }
    }
}

impl Kind for Directory {
    const NAME: &'static str = "directory";
    const QUESTION: Question = paths::QUESTION;

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.path)
    }

    fn item(&self) -> Cow<'_, str> {
        Cow::Owned(format!("n::{}", self.path))
    }

    fn read(&self, rows: &[Row]) -> Result<Option<Self>, String> {
        Ok(paths::read(&self.path, rows)?.map(|found| Directory {
            path: self.path.clone(),
            mode: found.mode,
            found,
            ..Directory::default()
        }))
    }

    fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        let found = found.map(|found| &found.found);
        let mut kind = Standing::type_field(found, "folder");
        if found.is_some() && kind.differs() {
            // Behind a link may be what others rely on.
            kind.impact = crate::resource::Impact::DataRisk;
        }
        let own = found.filter(|found| found.says() == "folder");
        let mut fields = vec![kind];
        fields.extend(Standing::rights(own, &self.owner, &self.group, self.mode()));
        fields
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        if !self.fields(found).iter().any(Field::differs) {
            return Vec::new();
        }
        let says = match found {
            None => "make the folder",
            Some(_) => "set its owner and mode",
        };
        let words = [
            Text::plain(&self.path),
            Text::plain(paths::or_root(&self.owner)),
            Text::plain(paths::or_root(&self.group)),
            paths::mode_word(self.mode()),
            paths::gate_word(&self.path),
        ];
        vec![paths::guarded(Step::script(says, MAKE, words), &self.path)]
    }

    fn named(key: &str) -> Option<Self> {
        Some(Directory {
            path: key.to_owned(),
            ..Directory::default()
        })
    }

    fn remove(&self) -> Removal {
        if self.found.says() != "folder" {
            return Removal::Forget;
        }
        let words = [Text::plain(&self.path), paths::gate_word(&self.path)];
        let step = Step::script("remove the folder and what lies in it", REMOVE, words);
        Removal::HoldsData(vec![paths::guarded(step, &self.path)])
    }

    fn recipe(&self, found: &Self) -> Vec<String> {
        found.found.recipe(&self.path)
    }
}
