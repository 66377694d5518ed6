//! `task`: a command of an application, run once for what it depends on, as the application itself runs.

use std::borrow::Cow;

use crate::command::{Ask, Question, Row, Text};
use crate::resource::{Field, Impact, Kind, Removal, Step};
use crate::resources::tree::{same, short, text};

/// A command that has to have run for what it depends on, such as `manage.py migrate` for a source.
#[derive(Clone, Debug, Default)]
pub struct Task {
    /// Its name, as in `iact.migrate`; what it was run for is remembered under it.
    pub name: String,
    /// A digest of all that it depends on. Not shown: secrets may be in it.
    pub digest: String,
    /// A digest of what of that may be shown.
    pub shown: String,
    /// The program, absolute, and its arguments. Never a secret.
    pub command: Vec<String>,
    /// The user it runs as, by name or number.
    pub user: String,
    /// The group it runs as.
    pub group: String,
    /// The folder it runs in.
    pub folder: String,
    /// The file of its environment, as systemd reads it.
    pub environment: String,
    /// A Python interpreter on the machine, for where no systemd runs.
    pub python: String,
}

/// Tasks by name.
const QUESTION: Question = Question {
    name: "tasks",
    ask: Ask::Machine {
        body: r#"
for name in "$@"; do
    [ -f "/var/lib/provision/done/$name" ] || continue
    digest='' shown=''
    IFS=' ' read -r digest shown < "/var/lib/provision/done/$name" || :
    row "$name" "$digest" "$shown"
done
"#,
        columns: &["key", "digest", "shown"],
    },
};

/// NAME `DIGEST SHOWN` USER GROUP FOLDER ENVIRONMENT PYTHON WORD...
///
/// systemd gives a service its environment, so it gives it to the command too; the shell would read the file differently. Where none
/// runs, Python does by the same rules what the supervisor of such a machine does.
const RUN: &str = r##"
name=$1 digest=$2 user=$3 group=$4 folder=$5 environment=$6 python=$7
shift 7
if [ -d /run/systemd/system ] && [ -S /run/dbus/system_bus_socket ]; then
    # The unit's name keeps it from running twice at once, even where a run of ours was killed.
    set -- systemd-run --quiet --wait --pipe --collect --unit="provision-$name" --description="provision: $name" \
        --property=User="$user" --property=Group="$group" --property=WorkingDirectory="$folder" \
        --property=EnvironmentFile="$environment" --property=UMask=0022 --property=NoNewPrivileges=yes -- "$@"
else
    set -- "$python" -c '
import os, pwd, grp, sys
user, group, folder, path = sys.argv[1:5]
env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
with open(path, encoding="utf-8", newline="") as file:
    text = file.read()
at = 0
def value():
    global at
    out, quote = [], ""
    while at < len(text):
        c = text[at]
        at += 1
        if quote:
            if c == quote:
                quote = ""
            elif c == "\\" and quote == chr(34) and at < len(text):
                c = text[at]
                at += 1
                if c != "\n":
                    out.append(c if c in chr(34) + "\\`$" else "\\" + c)
            else:
                out.append(c)
        elif c == "\n":
            break
        elif c in (chr(34), chr(39)):
            quote = c
        else:
            out.append(c)
    return "".join(out)
while at < len(text):
    if text[at] in "#;":
        at = text.find("\n", at) + 1 or len(text)
        continue
    end = text.find("=", at)
    line = text.find("\n", at)
    if end < 0 or 0 <= line < end:
        at = line + 1 or len(text)
        continue
    name, at = text[at:end].strip(), end + 1
    env[name] = value()
entry = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
env.update(HOME=entry.pw_dir, USER=entry.pw_name, LOGNAME=entry.pw_name, SHELL=entry.pw_shell)
gid = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
os.initgroups(entry.pw_name, gid)
os.setgid(gid)
os.setuid(entry.pw_uid)
os.umask(0o022)
os.chdir(folder)
os.execve(sys.argv[5], sys.argv[5:], env)
' "$user" "$group" "$folder" "$environment" "$@"
fi
said=$("$@" 2>&1 9>&-) || {
    status=$?
    printf '%s\n' "$said" | tail -n 30 >&2
    die "\`$name\` ended with status $status"
}
mkdir -p -m 0700 /var/lib/provision/done
printf '%s\n' "$digest" | put_file "/var/lib/provision/done/$name" root root 0600
"##;

/// NAME
const FORGET: &str = r#"rm -f -- "/var/lib/provision/done/$1""#;

impl Kind for Task {
    const NAME: &'static str = "task";
    const QUESTION: Question = QUESTION;

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.name)
    }

    fn read(&self, rows: &[Row]) -> Result<Option<Self>, String> {
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        Ok(Some(Task {
            name: self.name.clone(),
            digest: text(row, "digest")?.to_owned(),
            shown: text(row, "shown")?.to_owned(),
            ..Task::default()
        }))
    }

    fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        let done = found.is_some_and(|found| found.digest == self.digest);
        let from = found.map(|found| match !done && found.shown == self.shown {
            true => "for other secrets".to_owned(),
            false => format!("for {}", short(&found.shown)),
        });
        vec![Field {
            name: "run".into(),
            from,
            to: Some(format!("for {}", short(&self.shown))),
            same: same(done),
            impact: Impact::None,
        }]
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        if found.is_some_and(|found| found.digest == self.digest) {
            return Vec::new();
        }
        let mut words = vec![
            Text::plain(&self.name),
            Text::plain(format!("{} {}", self.digest, self.shown)),
            Text::plain(&self.user),
            Text::plain(&self.group),
            Text::plain(&self.folder),
            Text::plain(&self.environment),
            Text::plain(&self.python),
        ];
        words.extend(self.command.iter().map(Text::plain));
        let says = format!("run `{}`", self.says());
        vec![Step::script(says, RUN, words).within(3600)]
    }

    fn named(key: &str) -> Option<Self> {
        Some(Task {
            name: key.to_owned(),
            ..Task::default()
        })
    }

    fn remove(&self) -> Removal {
        // What it did is not undone; that it did is forgotten.
        let step = Step::script("forget that it ran", FORGET, [Text::plain(&self.name)]);
        Removal::Steps(vec![step])
    }
}

impl Task {
    /// The command without its folders, for people.
    fn says(&self) -> String {
        let mut words = self.command.iter().map(String::as_str);
        let program = words.next().unwrap_or_default();
        let program = program.rsplit('/').next().unwrap_or(program);
        std::iter::once(program)
            .chain(words)
            .collect::<Vec<_>>()
            .join(" ")
    }
}
