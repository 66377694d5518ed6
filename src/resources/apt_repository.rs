//! `apt_repository`: a repository of packages and the key that signs it. A new list is fetched before it takes the place of the old one.

use std::borrow::Cow;
use std::path::PathBuf;

use super::apt::{self, with_apt};
use crate::command::{Ask, Blob, Do, Question, Row, Text};
use crate::resource::{Field, Impact, Kind, Removal, Step};
use crate::secret::sha256;

/// A repository of packages.
#[derive(Clone, Debug, Default)]
pub struct AptRepository {
    /// Its name; its files are named so.
    pub name: String,
    /// Its address.
    pub url: String,
    /// As in `bookworm-pgdg`.
    pub suite: String,
    /// As in `main`; none where the suite is a path (`./`).
    pub components: Vec<String>,
    /// The key that signs it, as an armoured text.
    pub key: String,
    /// The same in binary: a file of the user and its digest.
    pub binary_key: Option<(PathBuf, String)>,
    /// Of a found one: its lines.
    pub lines: Vec<String>,
    /// Of a found one: digests of keys under its name, by the ends of their names.
    pub keys: Vec<(String, String)>,
}

/// Items are names. Nobody but root writes there.
const LOOK: &str = r#"
set -f
keys=
for name in "$@"; do
    list=/etc/apt/sources.list.d/$name.list
    if [ -f "$list" ]; then
        row "$name" list ''
        while IFS= read -r line || [ -n "$line" ]; do
            line=${line%%#*}
            set -- $line
            [ "$#" -eq 0 ] || row "$name" line "$*"
        done < "$list"
    fi
    for end in asc gpg; do
        key=/etc/apt/keyrings/$name.$end
        [ ! -f "$key" ] || keys="$keys $key"
    done
done
if [ -n "$keys" ]; then
    sha256sum -- $keys | while read -r digest key; do
        key=${key##*/}
        row "${key%.*}" "${key##*.}" "$digest"
    done
fi
"#;

/// Words: name, end of the key's name, address with suite and components, the key's text (or it comes as stdin). The old list keeps
/// its key until lists were fetched with the new one: a wrong key must not end the updates of a machine.
const ADD: &str = with_apt!(
    r#"
name=$1 end=$2 source=$3 key=$4
keys=/etc/apt/keyrings trial=/etc/apt/keyrings/.provision-$$-$1
[ -d "$keys" ] || (umask 022 && mkdir "$keys")
trap 'rm -f -- "$trial.$end" "$trial.list"' EXIT
if [ -n "$key" ]; then printf '%s' "$key"; else cat; fi | put_file "$trial.$end" root root 0644
printf 'deb [signed-by=%s] %s\n' "$trial.$end" "$source" | put_file "$trial.list" root root 0644
fetch -o "Dir::Etc::SourceList=$trial.list" -o Dir::Etc::SourceParts=- -o APT::Get::List-Cleanup=0 || blame
mv -f -T -- "$trial.$end" "$keys/$name.$end"
printf 'deb [signed-by=%s] %s\n' "$keys/$name.$end" "$source" | put_file "/etc/apt/sources.list.d/$name.list" root root 0644
case $end in asc) other=gpg ;; *) other=asc ;; esac
rm -f -- "$keys/$name.$other"
"#
);

const REMOVE: &str = r#"
rm -f -- "/etc/apt/sources.list.d/$1.list" "/etc/apt/keyrings/$1.asc" "/etc/apt/keyrings/$1.gpg"
"#;

impl AptRepository {
    /// How its key's file ends, by which apt tells its form.
    fn end(&self) -> &'static str {
        match self.binary_key {
            Some(_) => "gpg",
            None => "asc",
        }
    }

    fn key_digest(&self) -> String {
        match &self.binary_key {
            Some((_, digest)) => digest.clone(),
            None => sha256(&self.key),
        }
    }

    fn options(&self) -> String {
        format!("[signed-by=/etc/apt/keyrings/{}.{}]", self.name, self.end())
    }

    /// Its components, none for a flat repository.
    fn components(&self) -> String {
        match self.suite.ends_with('/') {
            true => String::new(),
            false => self.components.join(" "),
        }
    }

    /// Where its packages come from: address, suite, components.
    fn source(&self) -> String {
        let source = format!("{} {} {}", self.url, self.suite, self.components());
        source.trim_end().to_owned()
    }
}

/// The parts of a line: options, address, suite, components.
fn parts(line: &str) -> Option<[String; 4]> {
    let rest = line.strip_prefix("deb ")?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (options, rest) = rest.split_once(']')?;
            (format!("[{}]", options.trim()), rest)
        }
        None => (String::new(), rest),
    };
    let mut words = rest.split_whitespace();
    let (url, suite) = (words.next()?, words.next()?);
    let components: Vec<&str> = words.collect();
    Some([
        options,
        url.to_owned(),
        suite.to_owned(),
        components.join(" "),
    ])
}

impl Kind for AptRepository {
    const NAME: &'static str = "apt_repository";
    const QUESTION: Question = Question {
        name: "apt_repository",
        ask: Ask::Machine {
            body: LOOK,
            columns: &["key", "what", "value"],
        },
    };

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.name)
    }

    fn read(&self, rows: &[Row]) -> Result<Option<Self>, String> {
        let text = |row: &Row, name: &str| {
            let text = row.get(name).and_then(|value| value.as_str());
            text.unwrap_or_default().to_owned()
        };
        let mut found = AptRepository {
            name: self.name.clone(),
            ..AptRepository::default()
        };
        let mut there = false;
        for row in rows {
            match text(row, "what").as_str() {
                "list" => there = true,
                "line" => found.lines.push(text(row, "value")),
                end => found.keys.push((end.to_owned(), text(row, "value"))),
            }
        }
        Ok(there.then_some(found))
    }

    fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        let line = found.and_then(|found| found.lines.iter().find_map(|line| parts(line)));
        let [options, url, suite, components] = match line {
            Some(parts) => parts.map(Some),
            None => [None, None, None, None],
        };
        let field = |name, found, wanted: String| Field::new(name, found, wanted, Impact::None);
        let digest = found.and_then(|found| {
            let own = |(end, digest): &(String, String)| (end == self.end()).then(|| digest.clone());
            found.keys.iter().find_map(own)
        });
        let shown = |digest: String| format!("sha256 {}", digest.get(..16).unwrap_or(&digest));
        let mut fields = vec![
            field("url", url, self.url.clone()),
            field("suite", suite, self.suite.clone()),
            field("components", components, self.components()),
            field("options", options, self.options()),
            field("key", digest.map(shown), shown(self.key_digest())),
        ];
        if let Some(found) = found {
            let count = found.lines.len().to_string();
            fields.push(field("lines", Some(count), "1".to_owned()));
        }
        fields
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        if !self.fields(found).iter().any(Field::differs) {
            return Vec::new();
        }
        let words = [&self.name, self.end(), &self.source(), &self.key].map(|word: &str| Text::plain(word));
        let mut step = Step::script("fetch its lists", ADD, words);
        if let (Some((path, _)), Do::Script(script)) = (&self.binary_key, &mut step.does) {
            script.input = Some(Blob::File(path.clone()));
        }
        vec![apt::patient(step)]
    }

    fn named(key: &str) -> Option<Self> {
        Some(AptRepository {
            name: key.to_owned(),
            ..AptRepository::default()
        })
    }

    fn remove(&self) -> Removal {
        Removal::Steps(vec![Step::script(
            "remove the repository and its key",
            REMOVE,
            [Text::plain(&self.name)],
        )])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Rows;

    fn pgdg() -> AptRepository {
        AptRepository {
            name: "pgdg".to_owned(),
            url: "https://apt.postgresql.org/pub/repos/apt".to_owned(),
            suite: "bookworm-pgdg".to_owned(),
            components: vec!["main".to_owned()],
            key: "KEY".to_owned(),
            ..AptRepository::default()
        }
    }

    fn differing(printed: &[(&str, &str)]) -> Vec<String> {
        let rows = printed.iter().map(|(what, value)| {
            [("key", "pgdg"), ("what", *what), ("value", *value)]
                .map(|(name, value)| (name.to_owned(), serde_json::Value::from(value)))
                .into_iter()
                .collect()
        });
        let found = pgdg().read(Rows::new(rows).of("pgdg")).unwrap();
        let fields = pgdg().fields(found.as_ref());
        let fields = fields.into_iter().filter(Field::differs);
        fields.map(|field| field.name.into_owned()).collect()
    }

    #[test]
    fn a_repository_differs_by_field() {
        let line = format!("deb {} {}", pgdg().options(), pgdg().source());
        assert_eq!(
            line,
            "deb [signed-by=/etc/apt/keyrings/pgdg.asc] https://apt.postgresql.org/pub/repos/apt bookworm-pgdg main"
        );
        let digest = sha256("KEY");
        let key = ("asc", digest.as_str());
        assert_eq!(
            differing(&[("list", ""), ("line", &line), key]),
            Vec::<String>::new()
        );
        let loose = line.replace("signed-by=/etc/apt/keyrings/pgdg.asc", "trusted=yes");
        assert_eq!(
            differing(&[("list", ""), ("line", &loose), ("line", &line), key]),
            ["options", "lines"]
        );
        let old = line.replace("bookworm", "bullseye");
        assert_eq!(
            differing(&[("list", ""), ("line", &old), ("gpg", &digest)]),
            ["suite", "key"]
        );
        assert_eq!(differing(&[key]).len(), 5);
    }

    #[test]
    fn a_flat_repository_has_no_components() {
        let flat = AptRepository {
            suite: "./".to_owned(),
            ..pgdg()
        };
        assert!(flat.source().ends_with("apt ./"));
    }
}
