//! `packages`: packages of the distribution, in sets with a name. All sets of a machine are one `dpkg-query` and one `apt-get install`.
//! What they recommend is not installed; what is no longer declared stays.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::apt::{self, with_apt};
use crate::command::{Ask, Question, Row, Text};
use crate::resource::{Field, Impact, Kind, Removal, Step};

/// Packages of the distribution.
#[derive(Clone, Debug, Default)]
pub struct Packages {
    /// The name of the set.
    pub name: String,
    /// The packages.
    pub names: Vec<String>,
    /// Versions by package; `15.*` is any that begins so.
    pub versions: BTreeMap<String, String>,
    /// Those that upgrades leave alone.
    pub hold: BTreeSet<String>,
    /// Of a found one: packages that are there but not whole, and what they are.
    pub broken: BTreeMap<String, String>,
}

/// Items are `SET:PACKAGE PACKAGE...`.
const LOOK: &str = r#"
nl='
'
tab='	'
set -f
names=
for item in "$@"; do names="$names ${item#*:}"; done
format='${Package}\t${db:Status-Abbrev}\t${Version}\n'
case $names in *:*) format=$format'${Package}:${Architecture}\t${db:Status-Abbrev}\t${Version}\n' ;; esac
all=$(dpkg-query -W -f "$format" -- $names 2> /dev/null) || [ "$?" -eq 1 ] || die 'the packages cannot be read'
IFS=$nl seen=' '
for line in $all; do
    name=${line%%"$tab"*} line=${line#*"$tab"}
    # Of a package of two architectures the first counts.
    case $seen in *" $name "*) continue ;; esac
    seen="$seen$name "
    for item in "$@"; do
        case " ${item#*:} " in *" $name "*) row "${item%%:*}" "$name" "${line%%"$tab"*}" "${line#*"$tab"}" ;; esac
    done
done
"#;

/// Words: packages, `PACKAGE=VERSION`, `hold PACKAGE`, `unhold PACKAGE`. Lists are fetched only where a package is not known by those
/// that are there, or not to be had any more.
const INSTALL: &str = with_apt!(
    r#"
install= hold= unhold= flags=--no-install-recommends
for word in "$@"; do
    case $word in
        'hold '*) hold="$hold ${word#* }" ;;
        'unhold '*) unhold="$unhold ${word#* }" ;;
        *=*) install="$install $word" flags='--no-install-recommends --allow-downgrades --allow-change-held-packages' ;;
        *) install="$install $word" ;;
    esac
done
if [ -n "$install" ] && ! apt install $flags -- $install; then
    case $said in
        *'Unable to locate package'* | *'has no installation candidate'* | *'was not found'* | *'Failed to fetch'* | *'unmet dependencies'*)
            fetch || blame
            apt install $flags -- $install || blame
            ;;
        *) blame ;;
    esac
fi
[ -z "$hold" ] || said=$(apt-mark hold $hold 2>&1) || blame
[ -z "$unhold" ] || said=$(apt-mark unhold $unhold 2>&1) || blame
"#
);

impl Packages {
    /// Whether a version is one that is wanted.
    fn fits(&self, package: &str, found: &str) -> bool {
        match self.versions.get(package) {
            None => true,
            Some(wanted) => match wanted.strip_suffix('*') {
                Some(begin) => found.starts_with(begin),
                None => found == wanted,
            },
        }
    }

    fn package_field(&self, package: &str, found: Option<&Self>) -> Field {
        let name = format!("package {package}");
        let broken = found.and_then(|found| found.broken.get(package));
        let version = found.and_then(|found| found.versions.get(package));
        let wanted = self.versions.get(package).map_or("installed", |wanted| wanted);
        let from = match (broken, version) {
            (Some(broken), _) => Some(broken.clone()),
            (None, Some(version)) if self.fits(package, version) => Some(wanted.to_owned()),
            (None, version) => version.cloned(),
        };
        Field::new(name, from, wanted, Impact::None)
    }

    /// A package that upgrades leave alone, or leave alone no longer.
    fn hold_field(&self, package: &str, found: Option<&Self>) -> Option<Field> {
        let held = found.is_some_and(|found| found.hold.contains(package));
        let name = format!("hold {package}");
        match (self.hold.contains(package), held) {
            (true, held) => {
                let from = held.then(|| "held".to_owned());
                Some(Field::new(name, from, "held", Impact::None))
            }
            (false, true) => Some(Field::extra(name, "held", Impact::None)),
            (false, false) => None,
        }
    }
}

impl Kind for Packages {
    const NAME: &'static str = "packages";
    const QUESTION: Question = Question {
        name: "packages",
        ask: Ask::Machine {
            body: LOOK,
            columns: &["key", "package", "status", "version"],
        },
    };

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.name)
    }

    fn item(&self) -> Cow<'_, str> {
        Cow::Owned(format!("{}:{}", self.name, self.names.join(" ")))
    }

    fn read(&self, rows: &[Row]) -> Result<Option<Self>, String> {
        let text = |row: &Row, name: &str| {
            let text = row.get(name).and_then(|value| value.as_str());
            text.unwrap_or_default().to_owned()
        };
        let mut found = Packages {
            name: self.name.clone(),
            ..Packages::default()
        };
        for row in rows {
            let (package, status) = (text(row, "package"), text(row, "status"));
            if status.starts_with('h') {
                found.hold.insert(package.clone());
            }
            let broken = match status.chars().nth(1) {
                Some('i' | 'W' | 't') => None,
                Some('n' | 'c') => continue,
                Some('U') => Some("unpacked only"),
                Some('F') => Some("half configured"),
                Some('H') => Some("half installed"),
                _ => return Err(format!("dpkg says `{status}` of `{package}`")),
            };
            if let Some(broken) = broken {
                found.broken.insert(package.clone(), broken.to_owned());
            }
            found.versions.insert(package.clone(), text(row, "version"));
            found.names.push(package);
        }
        let nothing = found.names.is_empty() && found.hold.is_empty();
        Ok((!nothing).then_some(found))
    }

    fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        let names: BTreeSet<&String> = self.names.iter().collect();
        let packages = names.iter().map(|name| self.package_field(name, found));
        let holds = names.iter().filter_map(|name| self.hold_field(name, found));
        packages.chain(holds).collect()
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        let fields = self.fields(found);
        let words: Vec<String> = fields
            .iter()
            .filter(|field| field.differs())
            .filter_map(|field| {
                let (what, package) = field.name.split_once(' ')?;
                Some(match (what, self.versions.get(package)) {
                    ("hold", _) if field.to.is_none() => format!("unhold {package}"),
                    ("hold", _) => format!("hold {package}"),
                    (_, Some(version)) => format!("{package}={version}"),
                    (_, None) => package.to_owned(),
                })
            })
            .collect();
        if words.is_empty() {
            return Vec::new();
        }
        let says = match words.iter().all(|word| word.contains(' ')) {
            true => words.join(", "),
            false => format!("install {}", words.join(", ")),
        };
        let mut step = Step::script(says, INSTALL, words.into_iter().map(Text::plain));
        step.merge = Some("apt");
        vec![apt::patient(step)]
    }

    fn named(key: &str) -> Option<Self> {
        Some(Packages {
            name: key.to_owned(),
            ..Packages::default()
        })
    }

    /// Whether others need them by now nobody knows.
    fn remove(&self) -> Removal {
        Removal::Forget
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Do, Rows};

    fn rows(printed: &str) -> Rows {
        Rows::new(printed.lines().map(|line| {
            let values = line.split('\t').map(serde_json::Value::from);
            ["key", "package", "status", "version"]
                .map(str::to_owned)
                .into_iter()
                .zip(values)
                .collect()
        }))
    }

    fn set() -> Packages {
        Packages {
            name: "base".to_owned(),
            names: ["htop", "rsync", "git", "jq"].map(str::to_owned).into(),
            versions: [("git", "2.39.*"), ("jq", "1.6-2")]
                .map(|(name, version)| (name.to_owned(), version.to_owned()))
                .into(),
            hold: ["git".to_owned()].into(),
            ..Packages::default()
        }
    }

    #[test]
    fn what_is_missing_broken_or_another_version_is_installed_in_one_go() {
        let printed = "base\thtop\tii \t3.2.2-2\nbase\trsync\trc \t3.2.7\nbase\tgit\thi \t1:2.30\nbase\tjq\tiF \t1.6-2";
        let set = set();
        let found = set.read(rows(printed).of("base")).unwrap();
        let steps = set.steps(found.as_ref());
        let Do::Script(script) = &steps[0].does else {
            panic!("{steps:?}");
        };
        let words: Vec<String> = script.words.iter().map(Text::shown).collect();
        assert_eq!(words, ["git=2.39.*", "jq=1.6-2", "rsync"]);
        assert_eq!(steps[0].merge, Some("apt"));
    }

    #[test]
    fn holds_are_exact_for_what_is_declared() {
        let printed = "base\thtop\thi \t3\nbase\trsync\tii \t3\nbase\tgit\tii \t2.39.5\nbase\tjq\tii \t1.6-2";
        let set = set();
        let found = set.read(rows(printed).of("base")).unwrap();
        assert_eq!(set.steps(found.as_ref())[0].says, "hold git, unhold htop");
    }

    #[test]
    fn nothing_of_it_there_is_absent_and_an_odd_status_is_unknown() {
        assert!(set().read(rows("").of("base")).unwrap().is_none());
        assert!(set().read(rows("base\tjq\t??\t").of("base")).is_err());
    }
}
