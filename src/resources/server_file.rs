//! `file`: a file of a machine. It is old or new and never torn, and only replaces what the plan saw.

use std::borrow::Cow;
use std::path::PathBuf;

use super::paths::{self, Standing};
use crate::command::{Blob, Do, Question, Row, Text};
use crate::resource::{Field, Impact, Kind, Removal, Same, Step, few_bits};
use crate::secret::sha256;

/// A file of a machine.
#[derive(Clone, Debug, Default)]
pub struct ServerFile {
    /// Its absolute path.
    pub path: String,
    /// What it holds.
    pub content: Content,
    /// The user that owns it, by name or number; empty is `root`.
    pub owner: String,
    /// The group that owns it, by name or number; empty is `root`.
    pub group: String,
    /// Its mode; 0 is 0644.
    pub mode: u32,
    /// A program and its arguments that has to accept it before it takes the place of the old one; `{}` is its path.
    pub validate: Vec<String>,
    /// Of a found one: what stands at its path.
    pub found: Standing,
}

/// What a file holds.
#[derive(Clone, Debug)]
pub enum Content {
    /// A text.
    Text(Text),
    /// A copy of a file of the user; what it holds is never shown, since it may be a key.
    Copy {
        /// The file, absolute.
        path: PathBuf,
        /// SHA-256 of what it holds, in lower-case hex.
        digest: String,
    },
}

impl Default for Content {
    fn default() -> Self {
        Content::Text(Text::default())
    }
}

/// Words: path, owner, group, mode, what the plan saw there, its gate, the text (in the other script its stdin), and the program that
/// has to accept it.
const WRITE: &str = r#"
as_seen "$1" "$5"
path=$1 owner=$2 group=$3 mode=$4 gate=$6 content=$7
shift 7
way_in "$gate" "$path"
put_text "$content" "$path" "$owner" "$group" "$mode" "$@"
way_out "$gate"
"#;

const COPY: &str = r#"
as_seen "$1" "$5"
path=$1 owner=$2 group=$3 mode=$4 gate=$6
shift 7
way_in "$gate" "$path"
put_file "$path" "$owner" "$group" "$mode" "$@"
way_out "$gate"
"#;

const REMOVE: &str = r#"
folder=${1%/*}
stand_in "${folder:-/}"
way_in "$2" "$1"
rm -f -- "./${1##*/}"
way_out "$2"
"#;

impl ServerFile {
    /// SHA-256 of what it is wanted to hold, in lower-case hex.
    pub fn digest(&self) -> String {
        match &self.content {
            Content::Text(text) => sha256(text.expose().expose()),
            Content::Copy { digest, .. } => digest.clone(),
        }
    }

    /// Whether what it holds is a secret.
    fn is_secret(&self) -> bool {
        matches!(&self.content, Content::Text(text) if text.is_secret())
    }

    fn mode(&self) -> u32 {
        if self.mode == 0 { 0o644 } else { self.mode }
    }

    fn content_field(&self, found: Option<&Standing>) -> Field {
        let digest = self.digest();
        let seen = found.and_then(|found| found.digest.as_ref());
        if self.is_secret() {
            let same = match seen == Some(&digest) {
                true => Same::Yes,
                false => Same::No,
            };
            return Field::hidden("content", seen.is_some(), same, Impact::None);
        }
        let shown = |digest: &String| format!("sha256 {}", digest.get(..12).unwrap_or(digest));
        let mut field = Field::new("content", seen.map(shown), shown(&digest), Impact::None);
        if seen.is_some_and(|seen| *seen != digest) {
            field.same = Same::No; // their beginnings may be equal
        }
        field
    }

    fn write(&self, found: Option<&Self>) -> Step {
        let seen = match found.map(|found| &found.found) {
            None => "absent",
            Some(found) => found.digest.as_deref().unwrap_or(&found.what),
        };
        let content = match &self.content {
            Content::Text(text) => text.clone(),
            Content::Copy { .. } => Text::default(),
        };
        let words = [
            Text::plain(&self.path),
            Text::plain(paths::or_root(&self.owner)),
            Text::plain(paths::or_root(&self.group)),
            paths::mode_word(self.mode()),
            Text::plain(seen),
            paths::gate_word(&self.path),
            content,
        ];
        let words = words
            .into_iter()
            .chain(self.validate.iter().map(Text::plain));
        let step = match &self.content {
            Content::Text(_) => Step::script("write the file", WRITE, words),
            Content::Copy { path, .. } => {
                let mut step = Step::script("copy the file", COPY, words).within(600);
                if let Do::Script(script) = &mut step.does {
                    script.input = Some(Blob::File(path.clone()));
                }
                step
            }
        };
        paths::guarded(step, &self.path)
    }
}

impl Kind for ServerFile {
    const NAME: &'static str = "file";
    const QUESTION: Question = paths::QUESTION;

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.path)
    }

    fn item(&self) -> Cow<'_, str> {
        let shown = matches!(&self.content, Content::Text(text) if !text.is_secret());
        Cow::Owned(match shown {
            true => format!("p:{}:{}", self.digest(), self.path),
            false => format!("s::{}", self.path),
        })
    }

    fn read(&self, rows: &[Row]) -> Result<Option<Self>, String> {
        let Some(found) = paths::read(&self.path, rows)? else {
            return Ok(None);
        };
        if found.is_file() && found.digest.is_none() {
            return Err(format!("`{}` could not be read", self.path));
        }
        Ok(Some(ServerFile {
            path: self.path.clone(),
            mode: found.mode,
            found,
            ..ServerFile::default()
        }))
    }

    fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        let found = found.map(|found| &found.found);
        let own = found.filter(|found| found.is_file());
        let mut fields = vec![Standing::type_field(found, "file"), self.content_field(own)];
        fields.extend(Standing::rights(own, &self.owner, &self.group, self.mode()));
        fields
    }

    fn texts(&self, field: &str, found: &Self) -> Option<(String, String)> {
        match &self.content {
            Content::Text(text) if field == "content" && !text.is_secret() => {
                Some((found.found.text.clone()?, text.shown()))
            }
            _ => None,
        }
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        match self.fields(found).iter().any(Field::differs) {
            true => vec![self.write(found)],
            false => Vec::new(),
        }
    }

    fn named(key: &str) -> Option<Self> {
        Some(ServerFile {
            path: key.to_owned(),
            // What nobody declares any more is not shown either.
            content: Content::Copy {
                path: PathBuf::new(),
                digest: String::new(),
            },
            ..ServerFile::default()
        })
    }

    fn changed(&self, field: &str) -> Option<i64> {
        self.found.written.filter(|_| field == "content")
    }

    fn mark(&self, field: &str) -> Option<String> {
        (field == "content").then(|| few_bits(&self.digest()))
    }

    fn remove(&self) -> Removal {
        if !self.found.is_file() {
            return Removal::Forget;
        }
        let words = [Text::plain(&self.path), paths::gate_word(&self.path)];
        let step = Step::script("remove the file", REMOVE, words);
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
    use crate::secret::Secret;

    fn motd() -> ServerFile {
        ServerFile {
            path: "/etc/motd".to_owned(),
            content: Content::Text(Text::plain("hello\n")),
            ..ServerFile::default()
        }
    }

    /// What is found where a machine prints these rows.
    fn found(file: &ServerFile, printed: &str) -> Option<ServerFile> {
        file.read(rows(printed).of(&file.path)).unwrap()
    }

    fn differing(file: &ServerFile, printed: &str) -> String {
        let found = found(file, printed);
        let fields = file.fields(found.as_ref());
        let differing: Vec<_> = fields.iter().filter(|field| field.differs()).collect();
        let said = differing.iter().map(|field| {
            let (from, to) = (&field.from, &field.to);
            let words = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
            format!("{} {} -> {}", field.name, words(from), words(to))
        });
        said.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn a_file_differs_by_field() {
        let digest = motd().digest();
        let stat = |rest: &str| format!("/etc/motd\t{rest}\n/etc/motd\tdigest\t\t\t\t\t\t{digest}");
        let same = stat("regular file\troot\t0\troot\t0\t644\t/etc/motd");
        assert_eq!(differing(&motd(), &same), "");
        let other = stat("regular file\tbob\t7\troot\t0\t4755\t/etc/motd");
        assert_eq!(
            differing(&motd(), &other),
            "owner bob -> root; mode 4755 -> 0644"
        );
        let by_number = ServerFile {
            owner: "7".to_owned(),
            mode: 0o4755,
            ..motd()
        };
        assert_eq!(differing(&by_number, &other), "");
        assert_eq!(
            differing(&motd(), ""),
            "type none -> file; content none -> sha256 5891b5b522d5; owner none -> root; group none -> root; mode none -> 0644"
        );
    }

    #[test]
    fn another_text_is_shown_and_a_secret_one_is_not() {
        let printed = "/etc/motd\tregular file\troot\t0\troot\t0\t644\t/etc/motd\n\
                       /etc/motd\tdigest\t\t\t\t\t\tabc\n\
                       /etc/motd\ttext\t\t\t\t\t\taGkK";
        let seen = found(&motd(), printed).unwrap();
        assert_eq!(
            motd().texts("content", &seen),
            Some(("hi\n".to_owned(), "hello\n".to_owned()))
        );
        assert_eq!(motd().texts("mode", &seen), None);
        let secret = ServerFile {
            content: Content::Text(Text::secret(Secret::new("hunter2"))),
            ..motd()
        };
        assert_eq!(secret.item(), "s::/etc/motd");
        assert_eq!(secret.texts("content", &seen), None);
        assert_eq!(
            differing(&secret, printed),
            "content differs -> as declared"
        );
    }

    #[test]
    fn a_folder_in_its_place_is_never_replaced_and_a_link_is() {
        let folder = "/etc/motd\tdirectory\troot\t0\troot\t0\t755\t/etc/motd";
        let seen = found(&motd(), folder);
        let fields = motd().fields(seen.as_ref());
        assert_eq!(fields[0].impact, Impact::DataRisk);
        let link = "/etc/motd\tsymbolic link\troot\t0\troot\t0\t777\t/etc/motd -> /run/motd";
        let seen = found(&motd(), link);
        let fields = motd().fields(seen.as_ref());
        assert_eq!(
            (fields[0].differs(), fields[0].impact),
            (true, Impact::None)
        );
        assert_eq!(motd().steps(seen.as_ref()).len(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_unknown() {
        let printed = "/etc/motd\tregular file\troot\t0\troot\t0\t644\t/etc/motd";
        assert!(motd().read(rows(printed).of("/etc/motd")).is_err());
    }
}
