# Functions that every script on a machine may call. POSIX sh; tried with dash, bash and busybox.

# Prints a row: its arguments with tabs between. One write.
row() {
    _row=$1
    shift
    for _column in "$@"; do _row="$_row	$_column"; done
    printf '%s\n' "$_row"
}

# Its stdin as base64 in one line.
b64() {
    base64 -w 0
}

# Ends the script with a message.
die() {
    printf '%s\n' "$*" >&2
    exit 1
}

# stand_in FOLDER: the folder becomes the working directory, and stays it whatever is done to its name meanwhile. Where others than
# root can change names on the way to it, no link of that part is followed. Leaves `stood`: `root` if only root can change names in it,
# else `shared`.
stand_in() {
    cd -P -- "$1" 2> /dev/null || die "the folder \`$1\` is not there"
    stood=root _way=/ _left=${1#/} _sure=
    set -- /
    while [ -n "$_left" ]; do
        _way=${_way%/}/${_left%%/*}
        case $_left in */*) _left=${_left#*/} ;; *) _left= ;; esac
        set -- "$@" "$_way"
    done
    # Of the folders on the way, the first in which somebody else could change a name: up to there the way is root's alone.
    _sure=$(stat -L -c '%u %a %n' -- "$@" | while IFS= read -r _line; do
        case ${_line#* } in *[2367]?' /'* | *[2367]' /'*) _line="1 $_line" ;; esac
        case $_line in '0 '*) ;; *) printf '%s' "/${_line#*/}" && break ;; esac
    done) || die "cannot see who may change \`$_way\`"
    [ -n "$_sure" ] || return 0
    stood=shared
    _left=${_way#"$_sure"}
    _sure=$(cd -P -- "$_sure" && pwd -P) || die "the folder \`$_way\` is not there"
    _left=${_left#/}
    [ "$(pwd -P)" = "${_sure%/}${_left:+/$_left}" ] ||
        die "a link on the way to \`$_way\` could have been made by somebody else than root: not followed"
}

# as_seen PATH SEEN: ends the script where the path no longer holds what was seen there: the digest of a file, `absent`, or what `stat`
# calls it.
as_seen() (
    if [ ! -L "$1" ] && [ -f "$1" ]; then
        now=$(sha256sum < "$1") && now=${now%% *}
    elif [ -L "$1" ] || [ -e "$1" ]; then
        now=$(stat -c %F -- "$1")
    else
        now=absent
    fi
    [ "$now" = "$2" ] || die "\`$1\` was changed since it was looked at, so it is left alone: look again"
)

# put_file PATH OWNER GROUP MODE [PROGRAM WORD...]: its stdin becomes the file, old or new and never torn. Made as 0600 where nobody
# else can touch it, owned, given its mode, accepted by the program (a word `{}` is the draft's path), flushed, renamed.
put_file() {
    put_draft stdin '' "$@"
}

# put_text TEXT PATH OWNER GROUP MODE [PROGRAM WORD...]: the same with a text.
put_text() {
    put_draft text "$@"
}

put_draft() (
    from=$1 text=$2 path=$3 owner=$4 group=$5 mode=$6
    shift 6
    folder=${path%/*}
    stand_in "${folder:-/}"
    name=${path##*/}
    [ -L "./$name" ] || [ ! -d "./$name" ] || die "\`$path\` is a folder"
    if [ "$stood" = root ]; then
        draft=./.provision-$$ to=./$name
        trap 'rm -f -- "$draft"' EXIT
        # Left by a run that was killed.
        [ ! -e "$draft" ] && [ ! -L "$draft" ] || rm -rf -- "$draft"
    else
        # Between two commands a user who owns the folder could lay a link in the place of a draft: so the draft gets a room.
        room=$(mktemp -d ./.provision-XXXXXXXXXX 2>&1) || die "cannot write in \`${folder:-/}\`: ${room##*: }"
        cd -- "$room" || die "cannot write in \`${folder:-/}\`"
        [ "$(stat -c '%u %a' .)" = '0 700' ] || die "somebody changes \`${folder:-/}\` right now"
        trap 'rm -f ./draft; cd .. && rmdir -- "$room"' EXIT
        draft=./draft to=../$name
    fi
    umask 077
    set -C # the draft is new, or it is not made
    why=$({ if [ "$from" = text ]; then printf '%s' "$text"; else cat; fi > "$draft"; } 2>&1) ||
        die "cannot write \`$path\`: ${why##*: }"
    # It is root's already, unless the folder gives its group to what is made in it.
    [ "$owner:$group" = root:root ] && [ ! -g . ] || chown -- "$owner:$group" "$draft" ||
        die "cannot give \`$path\` to \`$owner:$group\`"
    [ "$mode" = 0600 ] || chmod -- "$mode" "$draft" || die "cannot give \`$path\` the mode $mode"
    if [ "$#" -gt 0 ]; then
        count=$# whole=$(pwd -P)/${draft#./}
        while [ "$count" -gt 0 ]; do
            word=$1
            shift
            [ "$word" != '{}' ] || word=$whole
            set -- "$@" "$word"
            count=$((count - 1))
        done
        set +C
        umask 022
        said=$(cd / && "$@" 2>&1 9>&-) || die "\`$1\` does not accept \`$path\`: $said"
    fi
    # Flushed before it is renamed: after a power cut it is the old one or the new one.
    sync "$draft" 2> /dev/null || sync
    mv -f -T -- "$draft" "$to" || die "cannot put \`$path\` in place"
    if [ "$stood" = root ]; then
        trap - EXIT
    else
        trap 'rmdir -- "$room"' EXIT
        cd ..
    fi
)

# guard NAME SECONDS: before a change that may lock us out. Its stdin is a script that puts the old state back; the machine runs it by
# itself that many seconds later, unless `guard_confirm NAME` comes first, over a connection that is new.
guard() {
    _g=/run/provision/guard-$1
    mkdir -p -m 700 /run/provision
    [ ! -e "$_g.armed" ] || die "an earlier change of \`$1\` still waits for its confirmation; the machine puts the old state back within a minute"
    rm -f -- "$_g".*
    cat > "$_g.undo"
    # The same watcher must not take a later change for its own.
    _id=$(cat /proc/sys/kernel/random/uuid)
    printf '%s\n' "$_id" > "$_g.armed"
    _watch='sleep "$2"
        IFS= read -r id 2> /dev/null < "$1.armed" || exit 0
        [ "$id" = "$3" ] && mv -f -- "$1.armed" "$1.fired" 2> /dev/null || exit 0
        /bin/sh "$1.undo" > "$1.said" 2>&1
        date -u "+%Y-%m-%d %H:%M:%S UTC" > "$1.restored"'
    if [ -d /run/systemd/system ] && command -v systemd-run > /dev/null; then
        systemd-run -q --collect --unit="provision-guard-$_id" /bin/sh -c "$_watch" guard "$_g" "$2" "$_id" 9>&- \
            || { rm -f -- "$_g.armed"; die "nothing can be changed here without a way back: systemd-run does not work"; }
    else
        setsid /bin/sh -c "$_watch" guard "$_g" "$2" "$_id" < /dev/null > /dev/null 2>&1 9>&- &
    fi
}

# Nobody has to watch any more.
guard_over() {
    IFS= read -r _id < "$1" || :
    [ ! -d /run/systemd/system ] || systemctl stop -- "provision-guard-$_id" 2> /dev/null || :
}

# The change stays.
guard_confirm() {
    _g=/run/provision/guard-$1
    mv -f -- "$_g.armed" "$_g.kept" 2> /dev/null || die "it came too late: the machine has put the old state back by itself"
    guard_over "$_g.kept"
    rm -f -- "$_g".*
}

# The old state comes back at once.
guard_revert() {
    _g=/run/provision/guard-$1
    if mv -f -- "$_g.armed" "$_g.fired" 2> /dev/null; then
        /bin/sh "$_g.undo" > "$_g.said" 2>&1 || die "the old state could not be put back: $(tail -n 1 "$_g.said")"
        date -u '+%Y-%m-%d %H:%M:%S UTC' > "$_g.restored"
        guard_over "$_g.fired"
    fi
}
