//! `swap`: a swap file of a machine.

use std::borrow::Cow;

use super::systemd::column;
use crate::command::{Ask, Question, Row, Text};
use crate::resource::{Field, Impact, Kind, Removal, Step};

/// A swap file that is on, and on again after the next start.
#[derive(Clone, Debug, Default)]
pub struct Swap {
    /// Its path.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Of a found one: whether it is on.
    pub on: bool,
    /// Of a found one: whether it is turned on at the start.
    pub start: bool,
    /// Of a found one: whether there is a file, and its mode.
    pub mode: Option<String>,
}

const ASK: &str = r#"
{
    stat -c '%n	file	%s %a' -- "$@" 2> /dev/null || :
    awk '
    BEGIN { for (i = 3; i < ARGC; i++) { wanted[ARGV[i]] = 1; delete ARGV[i] } }
    FNR == 1 { file++ }
    file == 1 && $1 in wanted { printf "%s\ton\t%s\n", $1, $3 }
    file == 2 && $1 in wanted && $3 == "swap" { printf "%s\tstart\t%s\n", $1, $4 }
    ' /proc/swaps /etc/fstab "$@" 2> /dev/null || :
}
"#;

/// Words: path, size, what is done: `make` (anew), `mode`, `on`, `start`.
const SET: &str = r#"
path=$1 size=$2 actions=" $3 "
is_on() {
    while read -r one rest; do
        [ "$one" != "$path" ] || return 0
    done < /proc/swaps
    return 1
}
case $actions in *' make '*)
    [ ! -L "$path" ] || die "\`$path\` is a link"
    if [ -e "$path" ]; then
        ! is_on || swapoff -- "$path" || die "\`$path\` is in use and does not fit into memory"
        rm -f -- "$path"
    fi
    [ -d "${path%/*}/" ] || die "the folder \`${path%/*}\` is not there"
    undo() { rm -f -- "$path"; }
    trap undo EXIT
    said=$(fallocate -l "$size" -- "$path" 2>&1) || said=$(dd if=/dev/zero of="$path" bs=1048576 count="$((size / 1048576))" 2>&1) \
        || die "there is no room for \`$path\`: $said"
    chmod 600 -- "$path"
    said=$(mkswap -- "$path" 2>&1) || die "mkswap: $said"
    ;;
esac
case $actions in *' mode '*) chmod 600 -- "$path"; chown root:root -- "$path" ;; esac
case $actions in *' on '*)
    is_on || said=$(swapon -- "$path" 2>&1) || case $said in
        *'Operation not permitted'*) die "this machine may not turn swap on, as a container may not: it is the machine around it that has swap" ;;
        *) die "swapon: $said" ;;
    esac
    ;;
esac
case $actions in *' start '*)
    {
        [ ! -e /etc/fstab ] || awk -v path="$path" '!($1 == path && $3 == "swap")' /etc/fstab
        printf '%s none swap sw 0 0\n' "$path"
    } | put_file /etc/fstab root root 0644
    ;;
esac
trap - EXIT
"#;

const REMOVE: &str = r#"
path=$1
case "$(cat /proc/swaps)" in *"
$path "*) swapoff -- "$path" || die "\`$path\` is in use and does not fit into memory" ;; esac
[ ! -e /etc/fstab ] || awk -v path="$path" '!($1 == path && $3 == "swap")' /etc/fstab | put_file /etc/fstab root root 0644
rm -f -- "$path"
"#;

fn size(bytes: u64) -> String {
    match bytes {
        bytes if bytes % (1 << 30) == 0 => format!("{}G", bytes >> 30),
        bytes if bytes % (1 << 20) == 0 => format!("{}M", bytes >> 20),
        bytes => format!("{bytes} bytes"),
    }
}

impl Kind for Swap {
    const NAME: &'static str = "swap";
    const QUESTION: Question = Question { name: "swaps", ask: Ask::Machine { body: ASK, columns: &["key", "what", "value"] } };

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.name)
    }

    fn read(&self, rows: &[Row]) -> Result<Option<Self>, String> {
        let mut found = Swap { name: self.name.clone(), ..Swap::default() };
        for row in rows {
            match column(row, "what") {
                "on" => found.on = true,
                "start" => found.start = true,
                _ => {
                    let value = column(row, "value");
                    let (size, mode) = value.split_once(' ').ok_or("its size could not be read")?;
                    found.size = size.parse().map_err(|_| "its size could not be read")?;
                    found.mode = Some(mode.to_owned());
                }
            }
        }
        Ok((!rows.is_empty()).then_some(found))
    }

    fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
        let file = found.filter(|found| found.mode.is_some());
        vec![
            Field::new("size", file.map(|found| size(found.size)), size(self.size), Impact::None),
            Field::new("mode", file.and_then(|found| found.mode.clone()), "600", Impact::None),
            Field::new("on", found.map(|found| yes(found.on)), "yes", Impact::None),
            Field::new("start", found.map(|found| yes(found.start)), "yes", Impact::None),
        ]
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        let make = !found.is_some_and(|found| found.mode.is_some() && found.size == self.size);
        let mut actions = Vec::new();
        if make {
            actions.push("make");
        } else if found.is_some_and(|found| found.mode.as_deref() != Some("600")) {
            actions.push("mode");
        }
        if make || !found.is_some_and(|found| found.on) {
            actions.push("on");
        }
        if !found.is_some_and(|found| found.start) {
            actions.push("start");
        }
        if actions.is_empty() {
            return Vec::new();
        }
        let says = match make {
            true => "make the swap file and turn it on",
            false => "turn the swap file on, now and for the next start",
        };
        let words = [Text::plain(&self.name), Text::plain(self.size.to_string()), Text::plain(actions.join(" "))];
        vec![Step::script(says, SET, words).within(900)]
    }

    fn named(key: &str) -> Option<Self> {
        Some(Swap { name: key.to_owned(), ..Swap::default() })
    }

    fn remove(&self) -> Removal {
        Removal::Steps(vec![Step::script("turn it off and remove it", REMOVE, [Text::plain(&self.name)]).within(900)])
    }
}

#[cfg(test)]
mod tests {
    use super::super::systemd::tests::plain_rows;
    use super::*;
    use crate::command::{Do, Script};

    fn actions(lines: &str) -> String {
        let wanted = Swap { name: "/swap".to_owned(), size: 2 << 30, ..Swap::default() };
        let found = wanted.read(&plain_rows("/swap", lines)).unwrap();
        let differs = wanted.fields(found.as_ref()).iter().any(Field::differs);
        let steps = wanted.steps(found.as_ref());
        assert_eq!(differs, !steps.is_empty());
        match steps.into_iter().next().map(|step| step.does) {
            Some(Do::Script(Script { words, .. })) => words[2].shown(),
            _ => String::new(),
        }
    }

    #[test]
    fn a_swap_file_is_made_once() {
        assert_eq!(actions(""), "make on start");
        assert_eq!(actions("file 2147483648 600\non 2097148\nstart sw"), "");
        assert_eq!(actions("file 1073741824 600\non 2097148\nstart sw"), "make on");
        assert_eq!(actions("file 2147483648 644\nstart sw"), "mode on");
    }
}
