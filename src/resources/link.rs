//! `link`: a symbolic link of a machine. It never takes the place of a file or a folder.

use std::borrow::Cow;

use super::paths::{self, Standing};
use crate::command::{Question, Row, Text};
use crate::resource::{Field, Impact, Kind, Removal, Step};

/// A symbolic link of a machine.
#[derive(Clone, Debug, Default)]
pub struct Link {
    /// Its absolute path.
    pub path: String,
    /// Where it leads.
    pub to: String,
    /// Of a found one: what stands at its path.
    pub found: Standing,
}

/// Words: path, where it leads, its gate.
const MAKE: &str = r#"
folder=${1%/*} name=./${1##*/}
stand_in "${folder:-/}"
[ -L "$name" ] || [ ! -e "$name" ] || die "\`$1\` is no link: look again"
sweep
way_in "$3" "$1"
draft=$(mktemp -u "./.provision-$$-XXXXXXXXXX")
ln -s -- "$2" "$draft" || die "cannot write in \`${folder:-/}\`"
mv -f -T -- "$draft" "$name" || { rm -f -- "$draft"; die "cannot put \`$1\` in place"; }
way_out "$3"
"#;

const REMOVE: &str = r#"
folder=${1%/*} name=./${1##*/}
stand_in "${folder:-/}"
[ -L "$name" ] || exit 0
way_in "$2" "$1"
rm -f -- "$name"
way_out "$2"
"#;

impl Kind for Link {
    const NAME: &'static str = "link";
    const QUESTION: Question = paths::QUESTION;

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.path)
    }

    fn item(&self) -> Cow<'_, str> {
        Cow::Owned(format!("n::{}", self.path))
    }

    fn read(&self, rows: &[Row]) -> Result<Option<Self>, String> {
        Ok(paths::read(&self.path, rows)?.map(|found| Link {
            path: self.path.clone(),
            to: found.leads.clone().unwrap_or_default(),
            found,
        }))
    }

    fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        let own = found.filter(|found| found.found.says() == "link");
        vec![
            Standing::type_field(found.map(|found| &found.found), "link"),
            Field::new("to", own.map(|own| own.to.clone()), &self.to, Impact::None),
        ]
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        if !self.fields(found).iter().any(Field::differs) {
            return Vec::new();
        }
        let words = [Text::plain(&self.path), Text::plain(&self.to), paths::gate_word(&self.path)];
        let step = Step::script(format!("lead it to {}", self.to), MAKE, words);
        vec![paths::guarded(step, &self.path)]
    }

    fn named(key: &str) -> Option<Self> {
        Some(Link {
            path: key.to_owned(),
            ..Link::default()
        })
    }

    fn remove(&self) -> Removal {
        if self.found.says() != "link" {
            return Removal::Forget;
        }
        let words = [Text::plain(&self.path), paths::gate_word(&self.path)];
        let step = Step::script("remove the link", REMOVE, words);
        Removal::Steps(vec![paths::guarded(step, &self.path)])
    }

    fn recipe(&self, found: &Self) -> Vec<String> {
        found.found.recipe(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::super::paths::tests::rows;
    use super::*;

    #[test]
    fn a_link_that_leads_elsewhere_is_turned_and_a_file_is_not() {
        let link = Link {
            path: "/srv/live".to_owned(),
            to: "/srv/two".to_owned(),
            ..Link::default()
        };
        let read = |printed: &str| link.read(rows(printed).of("/srv/live")).unwrap();
        let other = read("/srv/live\tsymbolic link\troot\t0\troot\t0\t777\t/srv/live -> /srv/one");
        let fields = link.fields(other.as_ref());
        let differs: Vec<_> = fields.iter().map(Field::differs).collect();
        assert_eq!(differs, [false, true]);
        let file = read("/srv/live\tregular file\troot\t0\troot\t0\t644\t/srv/live");
        assert_eq!(
            link.fields(file.as_ref())[0].impact,
            Impact::DataRisk
        );
    }
}
