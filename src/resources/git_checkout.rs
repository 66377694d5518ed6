//! `git_checkout`: one commit of a repository, checked out on a machine without its history.

use std::borrow::Cow;

use crate::command::{Question, Row, Text};
use crate::resource::{Field, Impact, Kind, Removal, Step};
use crate::resources::tree::{self, Found, short, tree_digest, tree_in_place};

/// A checkout: root's, readable for a group, closed to others. The repository is kept beside it for the next one.
#[derive(Clone, Debug, Default)]
pub struct GitCheckout {
    /// Where it is. Beside it stand `PATH.git`, the repository, `PATH.source`, which holds [`GitCheckout::stamp`], and `PATH.resolved`,
    /// the commit that the ref was when it was fetched.
    pub path: String,
    /// The repository's address.
    pub repository: String,
    /// Branch, tag or commit. A branch is looked up when it is fetched, not when it is looked at: a plan asks no other machine.
    pub reference: String,
    /// The group that may read it.
    pub group: String,
    /// A file on the machine with the certificates that are trusted besides its own.
    pub ca: Option<String>,
    /// The unit that runs from it, as in `iact.service`.
    pub unit: String,
    /// What was found; none in what is wanted.
    pub found: Found,
}

/// PATH GROUP REPOSITORY REF STAMP CA
const FETCH: &str = concat!(
    tree_digest!(),
    tree_in_place!(),
    r#"
path=$1 group=$2 repository=$3 reference=$4 stamp=$5 ca=$6
export GIT_TERMINAL_PROMPT=0 GIT_SSH_COMMAND='ssh -o BatchMode=yes' GIT_CONFIG_NOSYSTEM=1
if [ -n "$ca" ]; then export GIT_SSL_CAINFO=$ca; fi
tree_tidy "$path"
trap 'rm -rf -- "$path.new"' EXIT
export GIT_DIR=$path.git GIT_INDEX_FILE=$path.git/provision-index
git rev-parse --git-dir > /dev/null 2>&1 || {
    rm -rf -- "$GIT_DIR"
    git init -q --bare "$GIT_DIR"
}
chmod 0700 "$GIT_DIR"
if git fetch -q --depth 1 --no-tags --end-of-options "$repository" "$reference"; then
    commit=$(git rev-parse --verify 'FETCH_HEAD^{commit}')
else
    # Not every server hands out a commit by its name, and none by a part of it.
    case $reference in
        *[!0-9a-f]*) die "cannot fetch \`$reference\` of \`$repository\`: as root on this server, \`git ls-remote\` must be able to read it" ;;
    esac
    git fetch -q --end-of-options "$repository" '+refs/heads/*:refs/heads/*' '+refs/tags/*:refs/tags/*' \
        || die "cannot fetch \`$repository\`: as root on this server, \`git ls-remote\` must be able to read it"
    commit=$(git rev-parse --verify -q "$reference^{commit}") || die "there is no commit \`$reference\` on the branches of \`$repository\`"
fi
rm -f -- "$GIT_INDEX_FILE"
git -c core.fileMode=true --work-tree="$path.new" checkout -q -f "$commit" -- .
rm -f -- "$GIT_INDEX_FILE"
digest=$(tree_digest "$path.new")
tree_in_place "$path.new" "$path" "$group"
printf '%s %s\n' "$commit" "$digest" | put_file "$path.resolved" root root 0644
printf '%s' "$stamp" | put_file "$path.source" root root 0644
"#
);

/// PATH GROUP
const OWN: &str = r#"
chown -R -h -- "root:$2" "$1"
chmod -R -- u=rwX,g=rX,o= "$1"
"#;

impl GitCheckout {
    /// What `PATH.source` holds: a unit that reads it is restarted when another ref is wanted.
    pub fn stamp(&self) -> String {
        format!("git {} {}\n", self.repository, self.reference)
    }

    /// The commit that is checked out, and whether the files are still its.
    fn commit(&self) -> Option<(&str, bool)> {
        let (commit, digest) = self.found.resolved.trim().split_once(' ')?;
        Some((commit, digest == self.found.digest))
    }
}

impl Kind for GitCheckout {
    const NAME: &'static str = "git_checkout";
    const QUESTION: Question = tree::QUESTION;

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.path)
    }

    fn item(&self) -> Cow<'_, str> {
        Cow::Owned(format!("{}:{}", self.group, self.path))
    }

    fn read(&self, rows: &[Row]) -> Result<Option<Self>, String> {
        let Some(found) = Found::read(rows)? else {
            return Ok(None);
        };
        let mut thing = GitCheckout {
            path: self.path.clone(),
            ..GitCheckout::default()
        };
        if let Some(("git", rest)) = found.source.trim().split_once(' ') {
            let (repository, reference) = rest.rsplit_once(' ').unwrap_or((rest, ""));
            thing.repository = repository.to_owned();
            thing.reference = reference.to_owned();
        }
        thing.found = found;
        Ok(Some(thing))
    }

    fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        let content = found.map(|found| match found.commit() {
            Some((_, true)) => "as checked out".to_owned(),
            Some((commit, false)) => format!("differs from {}", short(commit)),
            None => "of unknown origin".to_owned(),
        });
        vec![
            Field::new(
                "git",
                found.map(|found| found.repository.clone()),
                &self.repository,
                Impact::Restart,
            ),
            Field::new(
                "ref",
                found.map(|found| found.reference.clone()),
                &self.reference,
                Impact::Restart,
            ),
            Field::new("content", content, "as checked out", Impact::Restart),
            Found::owner(found.map(|found| &found.found), &self.group),
        ]
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        let fields = self.fields(found);
        let differs = |name: &str| fields.iter().any(|field| field.name == name && field.differs());
        let word = |text: &str| Text::plain(text);
        if ["git", "ref", "content"].into_iter().any(differs) {
            let words = [
                word(&self.path),
                word(&self.group),
                word(&self.repository),
                word(&self.reference),
                word(&self.stamp()),
                word(self.ca.as_deref().unwrap_or_default()),
            ];
            let says = format!("fetch `{}`, check it out, put it in place", self.reference);
            let healed = found.is_some() && !["git", "ref"].into_iter().any(differs);
            let restart = (healed && !self.unit.is_empty()).then(|| tree::restart(&self.unit));
            let fetch = Step::script(says, FETCH, words).within(900);
            return std::iter::once(fetch).chain(restart).collect();
        }
        if differs("owner") {
            let words = [word(&self.path), word(&self.group)];
            return vec![Step::script("give it its owner and modes", OWN, words)];
        }
        Vec::new()
    }

    fn named(key: &str) -> Option<Self> {
        Some(GitCheckout {
            path: key.to_owned(),
            ..GitCheckout::default()
        })
    }

    fn remove(&self) -> Removal {
        Removal::Steps(vec![tree::remove(&self.path, "git")])
    }
}
