//! Accounts of a machine: one question for groups, users and the keys that let them in, so that all of them are one `getent` each of
//! `passwd`, `group` and `shadow`.

use crate::command::{Ask, Question, Row};

/// Items are `FLAG:NAME`: `g` a group, `u` a user, `p` a user whose password is compared, `k` a user whose keys are.
pub(super) const QUESTION: Question = Question {
    name: "accounts",
    ask: Ask::Machine {
        body: LOOK,
        columns: &["key", "what", "a", "b", "c", "d", "e"],
    },
};

/// Rows, by `what`: `group` number; `user` number, primary group, full name, home, shell; `member` group; `lock` word; `hash` hash;
/// `files` folder's and file's owner and mode; `key` type, key, options.
///
/// Key files belong to their users, who may write into them what they like: of a line only what a key is made of comes back.
const LOOK: &str = r#"
nl='
'
tab='	'
set -f
groups=' ' users=' ' hashes=' ' keys=' ' names=' '
for item in "$@"; do
    name=${item#*:}
    case $item in
        g:*) groups="$groups$name " && continue ;;
        u:*) users="$users$name " ;;
        p:*) users="$users$name " hashes="$hashes$name " ;;
        k:*) keys="$keys$name " ;;
    esac
    case $names in *" $name "*) ;; *) names="$names$name " ;; esac
done
known= locks= primary=' '
case $names in *[!' ']*) known=$(getent passwd $names) || [ "$?" -eq 2 ] || die 'the users cannot be read' ;; esac
case $users in *[!' ']*) locks=$(getent shadow $users) || [ "$?" -eq 2 ] || die 'the passwords cannot be read' ;; esac
all=$(getent group) || die 'the groups cannot be read'
IFS=$nl
for line in $known; do
    line=${line#*:*:*:}
    primary="$primary${line%%:*} "
done
for line in $all; do
    group=${line%%:*} line=${line#*:*:}
    number=${line%%:*} members=,${line#*:},
    # The name of a number that is somebody's: a variable each, since looking it up in a text takes dash long.
    case $primary in *" $number "*) case $number in *[!0-9]*) ;; *) eval "_name$number=\${_name$number-\$group}" ;; esac ;; esac
    case $groups in *" $group "*) row "$group" group "$number" '' '' '' '' ;; esac
    [ "$members" != ,, ] || continue
    unset IFS
    for user in $users; do
        case $members in *",$user,"*) row "$user" member "$group" '' '' '' '' ;; esac
    done
    IFS=$nl
done
for line in $known; do
    user=${line%%:*} line=${line#*:*:}
    number=${line%%:*} line=${line#*:}
    group=${line%%:*} line=${line#*:}
    comment=${line%%:*} line=${line#*:}
    home=${line%%:*} shell=${line#*:}
    case $group in *[!0-9]*) ;; *) eval "group=\${_name$group-$group}" ;; esac
    case $users in *" $user "*) row "$user" user "$number" "$group" "$comment" "$home" "$shell" ;; esac
done
for line in $locks; do
    user=${line%%:*} line=${line#*:}
    hash=${line%%:*}
    case $hash in
        '') lock=empty ;;
        [!!*]*) lock=open ;;
        !*[!!*]*) lock=locked ;;
        *) lock=none ;;
    esac
    row "$user" lock "$lock" '' '' '' ''
    case $hashes in *" $user "*) row "$user" hash "$hash" '' '' '' '' ;; esac
done
unset IFS

keys_in() {
    many=0
    while IFS= read -r line || [ -n "$line" ]; do
        many=$((many + 1))
        options= type= key=
        for word in $line; do
            case $word in
                '#'*) [ -n "$type" ] || break ;;
                AAAA*) key=$word && break ;;
            esac
            options=${options:+$options }$type
            type=$word
        done
        [ -n "$key" ] || continue
        case $type$key in *[!A-Za-z0-9+/=@.-]*) continue ;; esac
        case $options in *[!\ -~]*) options='?' ;; esac
        row "$2" key "$type" "$key" "$options" '' ''
    done < "$1"
}

paths=
IFS=$nl
for line in $known; do
    user=${line%%:*} home=${line#*:*:*:*:*:} home=${home%%:*}
    case $keys in *" $user "*) paths=$paths$home/.ssh$nl$home/.ssh/authorized_keys$nl ;; esac
done
if [ -n "$paths" ]; then
    seen=$(stat --printf '%n\t%u:%a:%s:%F\n' -- $paths 2> /dev/null) || :
    for line in $known; do
        user=${line%%:*} home=${line#*:*:*:*:*:} home=${home%%:*}
        case $keys in *" $user "*) ;; *) continue ;; esac
        number=${line#*:*:} number=${number%%:*}
        folder= file=
        for stat in $seen; do
            case $stat in
                "$home/.ssh$tab"*) folder=${stat#*"$tab"} ;;
                "$home/.ssh/authorized_keys$tab"*) file=${stat#*"$tab"} ;;
            esac
        done
        row "$user" files "$number" "$folder" "$file" '' ''
        case $file in
            *:regular*)
                size=${file#*:*:} size=${size%%:*}
                unset IFS
                [ "$size" -gt 262144 ] || [ ! -r "$home/.ssh/authorized_keys" ] || keys_in "$home/.ssh/authorized_keys" "$user"
                IFS=$nl
                ;;
        esac
    done
fi
"#;

/// The first row of a sort.
pub(super) fn of<'a>(rows: &'a [Row], what: &str) -> Option<&'a Row> {
    rows.iter().find(|row| text(row, "what") == what)
}

/// All rows of a sort.
pub(super) fn all<'a>(rows: &'a [Row], what: &'a str) -> impl Iterator<Item = &'a Row> {
    rows.iter().filter(move |row| text(row, "what") == what)
}

/// A column.
pub(super) fn text<'a>(row: &'a Row, name: &str) -> &'a str {
    row.get(name)
        .and_then(|value| value.as_str())
        .unwrap_or_default()
}

/// A number of a user or group.
pub(super) fn number(row: &Row) -> Result<u32, String> {
    let number = text(row, "a");
    number
        .parse()
        .map_err(|_| format!("`{number}` is no number of a user or group"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::command::Rows;

    /// Rows as a machine prints them, missing columns empty.
    pub fn rows(printed: &str) -> Rows {
        let Ask::Machine { columns, .. } = QUESTION.ask else {
            panic!("asked of a machine");
        };
        Rows::new(printed.lines().map(|line| {
            let values = line.split('\t').chain(std::iter::repeat(""));
            let values = values.map(serde_json::Value::from);
            columns
                .iter()
                .map(|name| (*name).to_owned())
                .zip(values)
                .collect()
        }))
    }
}
