//! `venv`: a Python environment with an application's requirements.
//!
//! `PATH` is a link to `PATHs/KEY`, where an environment is built at its final place, since it cannot be moved. The key is a digest of the
//! interpreter's version and of all that goes in, so that going back to old requirements finds their environment still there.

use std::borrow::Cow;

use crate::command::{Ask, Question, Row, Text};
use crate::resource::{Field, Impact, Kind, Removal, Same, Step};
use crate::resources::tree::{self, decoded, same, short, text};
use crate::secret::sha256;

/// A Python environment: root's, readable for a group, closed to others.
#[derive(Clone, Debug, Default)]
pub struct Venv {
    /// The link that leads to it, as in `/srv/iact/venv`. Beside it stands `PATH.source`, which holds [`Venv::stamp`].
    pub path: String,
    /// What goes in.
    pub requirements: Requirements,
    /// The interpreter, as in `python3` or `/usr/local/bin/python3.12`.
    pub python: String,
    /// Packages besides the requirements, as pip names them.
    pub extras: Vec<String>,
    /// Another index than PyPI; its address may hold a password.
    pub index: Option<Text>,
    /// A file on the machine with the certificates that are trusted besides its own.
    pub ca: Option<String>,
    /// The group that may read it.
    pub group: String,
    /// The unit that runs from it, as in `iact.service`.
    pub unit: String,
    /// What was found; none in what is wanted.
    pub found: Found,
}

/// What goes into an environment.
#[derive(Clone, Debug, Default)]
pub struct Requirements {
    /// The text of the requirements file, where it stands by itself; else the file on the machine is used.
    pub text: Option<String>,
    /// The file on the machine; one that is not there requires nothing.
    pub path: String,
    /// What tells whether the file on the machine is another: where the source is from. Not used with a text.
    pub of: String,
}

/// What a machine says of an environment.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The stamp beside it.
    pub stamp: String,
    /// The interpreter it was built for, as in `3.11`.
    pub python: String,
    /// The interpreter of the machine.
    pub machine_python: String,
    /// Whether the packages in it are those that were installed.
    pub whole: bool,
}

impl Venv {
    /// What `PATH.source` holds: a unit that reads it is restarted when the environment is another.
    pub fn stamp(&self) -> String {
        format!("{}\n", self.digest())
    }

    fn digest(&self) -> String {
        let requirements = match &self.requirements.text {
            Some(text) => format!("text\0{text}"),
            None => format!("file\0{}\0{}", self.requirements.path, self.requirements.of),
        };
        sha256(format!(
            "{}\0{requirements}\0{}",
            self.python,
            self.extras.join("\0")
        ))
    }
}

/// Shell: which packages an environment holds, by the names of what describes them.
macro_rules! packages_of {
    () => {
        r#"
packages_of() {
    find "$1"/lib/python3*/site-packages -maxdepth 1 \( -name '*.dist-info' -o -name '*.egg-info' -o -name '*.pth' \) -printf '%P\n' 2> /dev/null \
        | LC_ALL=C sort | sha256sum | {
        read -r digest _
        printf '%s' "$digest"
    }
}
"#
    };
}

/// Environments by `INTERPRETER:PATH`.
const QUESTION: Question = Question {
    name: "venvs",
    ask: Ask::Machine {
        body: concat!(
            packages_of!(),
            r#"
for item in "$@"; do
    path=${item#*:}
    [ -L "$path" ] && [ -x "$path/bin/python" ] && [ -f "$path/provision-packages" ] || continue
    machine=$(command -v -- "${item%%:*}" || :)
    machine=$(readlink -f -- "$machine" || :)
    machine=${machine##*/python}
    stamp=$([ ! -f "$path.source" ] || b64 < "$path.source")
    python= whole=no
    for lib in "$path"/lib/python3*; do python=${lib##*/python}; done
    IFS= read -r packages < "$path/provision-packages" || :
    [ "$packages" != "$(packages_of "$path")" ] || whole=yes
    row "$path" "$stamp" "$python" "$machine" "$whole"
done
"#
        ),
        columns: &["key", "stamp", "python", "machine", "whole"],
    },
};

/// PATH INTERPRETER GROUP STAMP TEXT FILE INDEX CA EXTRA...; the text is `-` where there is none, else it follows a `+`.
const BUILD: &str = concat!(
    packages_of!(),
    r#"
path=$1 python=$2 group=$3 stamp=$4 text=$5 file=$6 index=$7 ca=$8
shift 8
command -v -- "$python" > /dev/null || die "there is no \`$python\` on this machine"
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
[ "$text" != - ] || [ ! -f "$file" ] || digest=$(sha256sum < "$file")
key=$(printf '%s\0' "$version" "$stamp" "${digest:-}" | sha256sum)
key=$(printf '%.16s' "$key")
home=${path}s/$key
mkdir -p -m 0755 -- "${path}s"
# One that is whole is taken as it is; what a run that was cut off left is not.
if [ ! -f "$home/provision-packages" ] || [ "$(cat "$home/provision-packages")" != "$(packages_of "$home")" ] \
    || ! "$home/bin/python" -c pass 2> /dev/null; then
    rm -rf -- "$home"
    trap 'rm -rf -- "$home"' EXIT
    "$python" -m venv "$home" >&2 || die "\`$python\` cannot make an environment; is its package with venv there?"
    bundle=/etc/ssl/certs/ca-certificates.crt
    if [ -n "$ca" ]; then
        { [ ! -f "$bundle" ] || cat "$bundle"; cat "$ca"; } > "$home/ca.pem"
        bundle=$home/ca.pem
    fi
    [ ! -f "$bundle" ] || export PIP_CERT="$bundle"
    # In a file and not among its arguments, since it may hold a password.
    [ -z "$index" ] || printf '[global]\nindex-url = %s\n' "$index" > "$home/pip.conf"
    export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_NO_INPUT=1 PIP_NO_CACHE_DIR=1 PIP_PROGRESS_BAR=off HOME=/root
    case $text in
        +*)
            printf '%s' "${text#+}" > "$home/requirements.txt"
            file=$home/requirements.txt
            ;;
    esac
    said=$home/pip.log
    if [ -f "$file" ]; then
        (cd "${file%/*}" && "$home/bin/pip" install -r "$file") > "$said" 2>&1 || {
            tail -n 30 "$said" >&2
            die "pip cannot install \`$file\`"
        }
    fi
    if [ "$#" -gt 0 ]; then
        "$home/bin/pip" install "$@" > "$said" 2>&1 || {
            tail -n 30 "$said" >&2
            die "pip cannot install $*"
        }
    fi
    rm -f -- "$said"
    # What `>=` became, for people.
    "$home/bin/pip" freeze > "$home/resolved.txt" 2> /dev/null || :
    chgrp -R -h -- "$group" "$home"
    chmod -R -- u=rwX,g=rX,o= "$home"
    [ ! -f "$home/pip.conf" ] || chmod 0600 "$home/pip.conf"
    packages_of "$home" > "$home/provision-packages"
    sync "$home/provision-packages" 2> /dev/null || sync
    trap - EXIT
fi
chgrp -- "$group" "${path}s"
chmod 0750 "${path}s"
[ -L "$path" ] || [ ! -e "$path" ] || die "\`$path\` is no link"
old=$(readlink "$path" || :)
ln -s -f -n -- "$home" "$path.new"
mv -T -- "$path.new" "$path"
printf '%s' "$stamp" | put_file "$path.source" root root 0644
# The one before stays, for what still runs from it and for going back; older ones go.
for other in "${path}s"/*; do
    [ "$other" = "$home" ] || [ "$other" = "$old" ] || rm -rf -- "$other"
done
"#
);

/// PATH
const REMOVE: &str = r#"rm -rf -- "$1" "$1.new" "${1}s" "$1.source""#;

impl Kind for Venv {
    const NAME: &'static str = "venv";
    const QUESTION: Question = QUESTION;

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.path)
    }

    fn item(&self) -> Cow<'_, str> {
        Cow::Owned(format!("{}:{}", self.python, self.path))
    }

    fn read(&self, rows: &[Row]) -> Result<Option<Self>, String> {
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        Ok(Some(Venv {
            path: self.path.clone(),
            found: Found {
                stamp: decoded(row, "stamp")?,
                python: text(row, "python")?.to_owned(),
                machine_python: text(row, "machine")?.to_owned(),
                whole: text(row, "whole")? == "yes",
            },
            ..Venv::default()
        }))
    }

    fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        let found = found.map(|found| &found.found);
        let wanted = self.stamp();
        let shown = |stamp: &str| short(stamp.trim()).to_owned();
        let mut fields = vec![Field {
            same: same(found.is_some_and(|found| found.stamp == wanted)),
            ..Field::new(
                "requirements",
                found.map(|found| shown(&found.stamp)),
                shown(&wanted),
                Impact::Restart,
            )
        }];
        let Some(found) = found else {
            return fields;
        };
        fields.push(Field::new(
            "python",
            Some(found.python.clone()),
            // An interpreter whose file does not say its version cannot be compared.
            match found.machine_python.contains('.') {
                true => &found.machine_python,
                false => &found.python,
            },
            Impact::Restart,
        ));
        let content = match found.whole {
            true => "as installed",
            false => "changed by hand",
        };
        fields.push(Field::new(
            "content",
            Some(content.to_owned()),
            "as installed",
            Impact::Restart,
        ));
        fields
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        if found.is_some() && self.fields(found).iter().all(|field| field.same == Same::Yes) {
            return Vec::new();
        }
        let requirements = match &self.requirements.text {
            Some(text) => format!("+{text}"),
            None => "-".to_owned(),
        };
        let mut words = vec![
            Text::plain(&self.path),
            Text::plain(&self.python),
            Text::plain(&self.group),
            Text::plain(self.stamp()),
            Text::plain(requirements),
            Text::plain(&self.requirements.path),
            self.index.clone().unwrap_or_default(),
            Text::plain(self.ca.as_deref().unwrap_or_default()),
        ];
        words.extend(self.extras.iter().map(Text::plain));
        let step = Step::script("build it with its requirements", BUILD, words);
        let healed = found.is_some_and(|found| found.found.stamp == self.stamp());
        let restart = (healed && !self.unit.is_empty()).then(|| tree::restart(&self.unit));
        std::iter::once(step.within(1800)).chain(restart).collect()
    }

    fn named(key: &str) -> Option<Self> {
        Some(Venv {
            path: key.to_owned(),
            ..Venv::default()
        })
    }

    fn remove(&self) -> Removal {
        let step = Step::script("remove it", REMOVE, [Text::plain(&self.path)]);
        Removal::Steps(vec![step])
    }
}
