//! The folder of generated files on the host whose engine runs the containers: what they mount lies where their engine is. It is
//! root's, and nobody else can enter it.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::machine::Remote;
use super::{Target, Trouble};
use crate::command::{
    Answer, Answers, Ask, Blob, File, Place, Question, Row, Rows, Script, Sheet, Text,
};

/// What is asked of the files of a folder: their mode and the digest of what they hold, never the content, which may be secret. What
/// is no ordinary file has mode 0, which is nobody's wish. The first word is the folder.
const LOOK: &str = r#"dir=$1
shift
[ -O / ] || die "\`$dir\` is root's: say \`sudo\` of this host, or log in as root"
for file; do
    path=$dir/$file
    if [ -f "$path" ] && [ ! -L "$path" ]; then
        mode=$(stat -c %a -- "$path") && sum=$(sha256sum < "$path") || exit 1
        row "$file" "$mode" "${sum%% *}"
    elif [ -e "$path" ] || [ -L "$path" ]; then
        row "$file" 0 -
    fi
done"#;

/// The question of [`LOOK`].
const FILES: Question = Question {
    name: "remote_files",
    ask: Ask::Machine {
        body: LOOK,
        columns: &["key", "mode", "sha256"],
    },
};

/// Writes a file, old or new and never torn: folder, path, mode; the content is its stdin. Nothing leads out of the folder: it is
/// entered folder by folder, none of which may be a link.
const WRITE: &str = r#"set -e
umask 077
mkdir -p -- "$1"
chmod 700 -- "$1"
cd -P -- "$1"
rest=$2
while :; do
    case $rest in
        */*) part=${rest%%/*} rest=${rest#*/} ;;
        *) break ;;
    esac
    [ -d "./$part" ] || mkdir -- "./$part"
    [ ! -L "./$part" ] || die "$part is a link and not a folder"
    cd -P -- "./$part"
done
new=$(mktemp ./.provision-XXXXXX)
trap 'rm -f -- "$new"' EXIT
cat > "$new"
chmod "$3" -- "$new"
sync -- "$new"
mv -fT -- "$new" "./$rest"
sync -- ."#;

/// Removes a file and the folders that become empty by it: folder, path.
const UNLINK: &str = r#"cd -P -- "$1" 2> /dev/null || exit 0
rm -f -- "./$2" || exit 1
case $2 in
    */*) rmdir -p --ignore-fail-on-non-empty -- "${2%/*}" 2> /dev/null || : ;;
esac
cd / && rmdir --ignore-fail-on-non-empty -- "$1" 2> /dev/null || :"#;

/// The hashes by which Compose on the host knows the services, one line each: the folder.
const HASHES: &str = r#"command -v docker > /dev/null || exit 0
unset $(env | sed -n 's/^\(COMPOSE_[A-Z_]*\)=.*/\1/p') _none
docker compose -f "$1/docker-compose.yml" --project-directory "$1" config --hash '*' 2> /dev/null |
    while read -r service hash; do row "$service" "$hash"; done"#;

/// The question of [`HASHES`].
const COMPOSE: Question = Question {
    name: "compose_hashes",
    ask: Ask::Machine {
        body: HASHES,
        columns: &["key", "hash"],
    },
};

/// How long writing a file may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Answers the folder's part of a sheet.
pub(super) async fn look(remote: &Remote, folder: &Path, sheet: &Sheet) -> Answers {
    let mut answers = Answers::default();
    let asking: Vec<_> = sheet
        .questions
        .iter()
        .filter(|question| question.ask == Ask::Folder)
        .collect();
    if asking.is_empty() {
        return answers;
    }
    let files = sheet.files.iter().cloned();
    let items = [folder.display().to_string()].into_iter().chain(files);
    let answer = remote.ask_one(FILES, items.collect()).await;
    let answer = match answer {
        Answer::Rows(rows) => {
            let rows = rows
                .keys()
                .into_iter()
                .filter_map(|key| of_folder(rows.of(key).first()?));
            Answer::Rows(Rows::new(rows))
        }
        other => other,
    };
    for question in asking {
        answers.put(Place::Folder, question.name, answer.clone());
    }
    answers
}

/// A row as the folder of this machine would give it, with the digest in place of the content.
fn of_folder(row: &Row) -> Option<Row> {
    let mode = u32::from_str_radix(row.get("mode")?.as_str()?, 8).ok()?;
    let mut made = Row::new();
    made.insert("key".to_owned(), row.get("key")?.clone());
    made.insert("mode".to_owned(), json!(mode));
    made.insert("sha256".to_owned(), row.get("sha256")?.clone());
    Some(made)
}

/// The hash by which Compose on the host knows a service; `None` where there is no Compose v2 or it does not know the service.
pub(super) async fn compose_hash(remote: &Remote, folder: &Path, service: &str) -> Option<String> {
    let items = vec![folder.display().to_string()];
    match remote.ask_one(COMPOSE, items).await {
        Answer::Rows(rows) => {
            let hash = rows.of(service).first()?.get("hash")?.as_str()?;
            Some(hash.to_owned())
        }
        _ => None,
    }
}

/// A script that writes a file.
pub(super) fn write(folder: &Path, file: &File) -> Script {
    Script {
        body: WRITE,
        words: vec![
            Text::plain(folder.display().to_string()),
            Text::plain(&file.path),
            Text::plain(format!("{:o}", file.mode)),
        ],
        input: Some(Blob::Text(file.content.clone())),
        guard: None,
    }
}

/// A script that removes one.
pub(super) fn unlink(folder: &Path, file: &str) -> Script {
    Script {
        body: UNLINK,
        words: vec![Text::plain(folder.display().to_string()), Text::plain(file)],
        input: None,
        guard: None,
    }
}

impl Target {
    /// Carries out a script on the host of the engine.
    pub(super) async fn on_host(&self, host: &str, script: Script) -> Result<(), Trouble> {
        let scripts = [(script, PATIENCE)];
        let ran = self.run(host, &scripts, &[], None, &|_| ()).await;
        ran.map_err(|(_, trouble)| trouble)
    }
}
