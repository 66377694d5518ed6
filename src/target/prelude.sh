# Functions that every script on a machine may call. POSIX sh; tried with dash, bash and busybox.

# Prints a row: its arguments with tabs between. One write.
row() {
    _row=$1
    shift
    for _column in "$@"; do _row="$_row	$_column"; done
    printf '%s\n' "$_row"
}

# Its stdin as base64 in one line. The last thing that its shell does: `$(b64 < FILE)`, `... | b64`.
b64() {
    exec base64 -w 0
}

# flat TEXT: leaves in `_flat` the text in one line, which starts no program: newline, tab and backslash as `\n`, `\t` and `\\`. For short
# ones: dash takes long over a long one.
flat() {
    _flat='' _left=$1
    while :; do
        case $_left in
            *[\\"$_tab$_nl"]*) _part=${_left%%[\\"$_tab$_nl"]*} ;;
            *) break ;;
        esac
        _left=${_left#"$_part"}
        case $_left in
            "$_nl"*) _part=$_part'\n' ;;
            "$_tab"*) _part=$_part'\t' ;;
            *) _part=$_part'\\' ;;
        esac
        _flat=$_flat$_part _left=${_left#?}
    done
    _flat=$_flat$_left
}
_tab='	' _nl='
'

# Takes from this shell all variables that what it starts would get, but PATH and LC_ALL; `env -i` would be one more program.
bare() {
    set -f
    IFS=$_nl
    for _name in $(export -p); do
        case $_name in
            'export '*) _name=${_name#export } ;;
            'declare -x '*) _name=${_name#declare -x } ;;
            *) continue ;; # The rest of a value.
        esac
        _name=${_name%%=*}
        case $_name in
            PATH | LC_ALL | '' | [0-9]* | *[!A-Za-z0-9_]*) ;;
            *) unset "$_name" ;;
        esac
    done
    unset IFS
    set +f
}

# unit_why UNIT SINCE: what systemd itself says of a unit that does not run, a line each: what it lacks, how it ended, and the last lines of
# its log since a time of `journalctl`, also those of systemd about what never became a process. Never nothing.
unit_why() {
    [ -d /run/systemd/system ] || return 0
    systemctl show -p LoadState -p LoadError -p ActiveState -p SubState -p Result -p StatusText -p ExecMainStatus -p ExecMainCode -p AssertResult \
        -p ConditionResult -p NRestarts -- "$1" 2> /dev/null | awk -F= '
        { name = $1; value[name] = substr($0, length(name) + 2) }
        END {
            if (value["LoadState"] != "loaded") print "LoadState=" value["LoadState"]
            if (value["LoadError"] ~ /[^ ]/) { sub(/^[^ ]+ /, "", value["LoadError"]); print "LoadError=" value["LoadError"] }
            line = "ActiveState=" value["ActiveState"] " (" value["SubState"] "), Result=" value["Result"]
            if (value["ExecMainStatus"] + 0) line = line ", ExecMainStatus=" value["ExecMainStatus"]
            if (value["NRestarts"] + 0) line = line ", NRestarts=" value["NRestarts"]
            print line
            if (value["StatusText"] != "") print "StatusText=" value["StatusText"]
            if (value["AssertResult"] == "no" && value["Result"] != "") print "an assertion of it is not met"
        }' || :
    _status=$(systemctl show -P ExecMainStatus -- "$1" 2> /dev/null) || _status=0
    case $_status in 2[0-4][0-9])
        _status=$(systemd-analyze exit-status "$_status" 2> /dev/null | awk 'NR == 2 { print $1 }') || _status=''
        [ -z "$_status" ] || printf 'it failed before its program ran: %s\n' "$_status"
        ;;
    esac
    # What was not met is said nowhere else.
    systemctl status --no-pager -l -n 0 -- "$1" 2> /dev/null | awk '
        /^ *(Condition|Assert): / { on = 1; sub(/^ +/, ""); print; next }
        on && /^ +[^A-Za-z ]/ { sub(/^[^A-Za-z]+/, ""); print; next }
        { on = 0 }' || :
    for _need in $(systemctl show -P Requires -P Requisite -P BindsTo -- "$1" 2> /dev/null); do
        if systemctl is-failed -q -- "$_need" 2> /dev/null; then printf 'it needs `%s`, which has failed\n' "$_need"; fi
    done
    if [ "$(systemctl show -P LoadState -- "$1" 2> /dev/null)" = bad-setting ]; then
        SYSTEMD_LOG_LEVEL=warning systemd-analyze verify "$1" 2>&1 | tail -n 10 || :
    fi
    journalctl --sync 2> /dev/null || :
    # With `--since` some versions take `-n` from the beginning: the end is what tells.
    journalctl -q --no-pager -o cat --since="$2" _SYSTEMD_UNIT="$1" + UNIT="$1" 2> /dev/null | tail -n 30 || :
    case $1 in postgresql@*-*.service | postgresql@*-*)
        _need=${1#postgresql@}
        _need=/var/log/postgresql/postgresql-${_need%.service}.log
        [ ! -s "$_need" ] || { printf 'the end of `%s`:\n' "$_need"; tail -n 8 "$_need"; }
        ;;
    esac
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

# Removes from the working directory what a run left that was killed: drafts whose process is not there any more.
sweep() {
    for _old in ./.provision-[0-9]*; do
        _pid=${_old#./.provision-}
        [ ! -e "$_old" ] && [ ! -L "$_old" ] || [ -e "/proc/${_pid%%-*}" ] || rm -rf -- "$_old"
    done
}

put_draft() (
    from=$1 text=$2 path=$3 owner=$4 group=$5 mode=$6
    shift 6
    folder=${path%/*}
    stand_in "${folder:-/}"
    name=${path##*/}
    [ -L "./$name" ] || [ ! -d "./$name" ] || die "\`$path\` is a folder"
    sweep
    if [ "$stood" = root ]; then
        draft=./.provision-$$ to=./$name
        trap 'rm -f -- "$draft"' EXIT
        # Left by one that had our number.
        [ ! -e "$draft" ] && [ ! -L "$draft" ] || rm -rf -- "$draft"
    else
        # Between two commands a user who owns the folder could lay a link in the place of a draft: so the draft gets a room.
        room=$(mktemp -d "./.provision-$$-XXXXXXXXXX" 2>&1) || die "cannot write in \`${folder:-/}\`: ${room##*: }"
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

# guard_free NAME WHAT: what comes next may lock us out; WHAT says to people what it changes. Nothing waits under that name any more.
guard_free() {
    _g=/run/provision/guard-$1
    [ -d /run/provision ] || mkdir -p -m 700 /run/provision
    [ ! -e "$_g.armed" ] || die "an earlier change of \`$2\` still waits for its confirmation; the machine puts the old state back within a minute"
    rm -rf -- "$_g".*
    printf '%s\n' "$2" > "$_g.what"
    _free=$1
}

# guard NAME WHAT: before a change that may lock us out. Its stdin is a script that puts the old state back; the machine runs it by
# itself `_grace` seconds later, unless `guard_confirm NAME` comes first, over a connection that is new.
guard() {
    [ "${_free-}" = "$1" ] || guard_free "$@"
    _free=''
    cat > "$_g.undo"
    # The same watcher must not take a later change for its own.
    _id=$(cat /proc/sys/kernel/random/uuid)
    printf '%s\n' "$_id" > "$_g.armed"
    _watch='sleep "$2"
        IFS= read -r id 2> /dev/null < "$1.armed" || exit 0
        [ "$id" = "$3" ] && mv -f -- "$1.armed" "$1.fired" 2> /dev/null || exit 0
        how="has put back"
        /bin/sh "$1.undo" > "$1.said" 2>&1 || how="could not put back all of"
        when=$(date -u "+%Y-%m-%d %H:%M:%S UTC")
        printf "%s\n" "$when" > "$1.restored"
        IFS= read -r what < "$1.what"
        printf "%s\t%s\t%s\n" "$how" "$what" "$when" > "$1.untold"
        rm -rf -- "$1.fired" "$1.undo" "$1.old"'
    if [ -d /run/systemd/system ] && command -v systemd-run > /dev/null; then
        systemd-run -q --collect --unit="provision-guard-$_id" /bin/sh -c "$_watch" guard "$_g" "$_grace" "$_id" 9>&- \
            || { rm -rf -- "$_g".*; die "nothing can be changed here without a way back: systemd-run does not work"; }
    else
        setsid /bin/sh -c "$_watch" guard "$_g" "$_grace" "$_id" < /dev/null > /dev/null 2>&1 9>&- &
    fi
}

# Nobody has to watch any more.
guard_over() {
    IFS= read -r _id < "$1" || :
    [ ! -d /run/systemd/system ] || systemctl stop -- "provision-guard-$_id" 2> /dev/null || :
}

# The change stays. What a unit has yet to load can still be taken back when it does.
guard_confirm() {
    _g=/run/provision/guard-$1
    mv -f -- "$_g.armed" "$_g.kept" 2> /dev/null || die "it came too late: the machine has put the old state back by itself"
    guard_over "$_g.kept"
    if [ -s "$_g.later" ]; then
        IFS= read -r _path < "$_g.later"
        _back=$(kept_as "$_path")
        # Of two changes that nothing has loaded, the older state is the one that worked.
        if [ ! -e "$_back.undo" ]; then
            mkdir -p -m 700 "${_back%/*}"
            [ ! -e "$_g.old" ] && [ ! -L "$_g.old" ] || mv -f -T -- "$_g.old" "$_back.old"
            put_back "$_path" "$_back.old" > "$_back.undo"
        fi
    fi
    while IFS= read -r _back; do rm -rf -- "$_back".*; done 2> /dev/null < "$_g.loaded" || :
    rm -rf -- "$_g".*
}

# The old state comes back at once.
guard_revert() {
    _g=/run/provision/guard-$1
    if mv -f -- "$_g.armed" "$_g.fired" 2> /dev/null; then
        guard_over "$_g.fired"
        /bin/sh "$_g.undo" > "$_g.said" 2>&1 || die "the old state could not be put back: $(tail -n 1 "$_g.said")"
        date -u '+%Y-%m-%d %H:%M:%S UTC' > "$_g.restored"
        rm -rf -- "$_g.fired" "$_g.undo" "$_g.old"
    fi
}

# Says, once, what the machine has put back by itself, as rows: how, what, when. First what is about to be put back is waited for.
guard_tell() {
    for _f in /run/provision/guard-*.armed /run/provision/guard-*.fired; do
        _f=${_f%.*} _t=0
        while { [ -e "$_f.armed" ] || [ -e "$_f.fired" ]; } && [ "$_t" -lt $((_grace + 15)) ]; do
            _t=$((_t + 1))
            sleep 1
        done
        # Whoever should have watched is dead.
        [ ! -e "$_f.armed" ] || guard_revert "${_f#/run/provision/guard-}"
    done
    for _f in /run/provision/guard-*.untold; do
        [ -e "$_f" ] || continue
        cat "$_f"
        rm -f -- "$_f"
    done
}

# Arguments as words of a shell.
quoted() {
    for _w in "$@"; do
        printf " '%s'" "$(printf '%s' "$_w" | sed "s/'/'\\\\''/g")"
    done
}

# Where the old state of a path stays until a unit has loaded the new one.
kept_as() {
    _sum=$(printf '%s' "$1" | sha256sum)
    printf '/run/provision/back/%s' "${_sum%% *}"
}

# put_back PATH OLD: a script that puts there what OLD is a copy of; nothing, where there is no copy. Of a folder that is still there
# only owner and mode.
put_back() {
    _to=$(quoted "$1") _from=$(quoted "$2") _draft=$(quoted "${1%/*}/.provision-back")
    if [ -d "$2" ] && [ ! -L "$2" ]; then
        printf '[ -d%s ] && chown --reference=%s --%s && chmod --reference=%s --%s || ' "$_to" "${_from# }" "$_to" "${_from# }" "$_to"
    elif [ ! -e "$2" ] && [ ! -L "$2" ]; then
        printf 'rm -df --%s\n' "$_to"
        return
    fi
    printf '{ rm -rf --%s; cp -a --remove-destination -T --%s%s && mv -f -T --%s%s; }\n' "$_draft" "$_from" "$_draft" "$_draft" "$_to"
}

# way_in GATE PATH: before a path by which we get in is changed; nothing, where the gate is empty. `now`: whoever comes next meets it;
# `sshd`: once sshd has read it; `later`: once some unit has.
way_in() {
    [ -n "$1" ] || return 0
    guard_free access "$2"
    [ ! -e "$2" ] && [ ! -L "$2" ] || cp -a -T -- "$2" "$_g.old"
    [ "$1" != later ] || printf '%s\n' "$2" > "$_g.later"
    {
        put_back "$2" "$_g.old"
        [ "$1" != sshd ] || sshd_read
    } | guard access
}

# way_in_unit UNIT FILES: before a unit by which we get in is changed or loads its files, a line each.
way_in_unit() {
    guard_free access "$1"
    _own=/etc/systemd/system/$1
    [ ! -e "$_own" ] && [ ! -L "$_own" ] || cp -a -T -- "$_own" "$_g.old"
    {
        put_back "$_own" "$_g.old"
        printf '%s\n' "$2" | while IFS= read -r _path; do
            _back=$(kept_as "$_path")
            [ -e "$_back.undo" ] || continue
            cat "$_back.undo"
            printf '%s\n' "$_back" >> "$_g.loaded"
        done
        if [ -d /run/systemd/system ]; then
            printf 'systemctl daemon-reload\n'
            case $(systemctl is-enabled -- "$1" 2> /dev/null) in
                enabled) printf 'systemctl -q enable --%s\n' "$(quoted "$1")" ;;
                disabled) printf 'systemctl -q disable --%s\n' "$(quoted "$1")" ;;
            esac
            if systemctl -q is-active -- "$1"; then
                printf 'systemctl reset-failed --%s 2> /dev/null\nsystemctl restart --%s\n' "$(quoted "$1")" "$(quoted "$1")"
            else
                printf 'systemctl stop --%s\n' "$(quoted "$1")"
            fi
        elif [ -x "/etc/init.d/${1%.service}" ]; then
            printf '%s restart < /dev/null\n' "$(quoted "/etc/init.d/${1%.service}")"
        fi
    } | guard access
}

# A script that lets sshd read its files again.
sshd_read() {
    printf '%s\n' 'pid=; read -r pid 2> /dev/null < /run/sshd.pid || :' \
        'case $(cat "/proc/$pid/comm" 2> /dev/null) in sshd) kill -HUP "$pid" ;; *) ! command -v systemctl > /dev/null || systemctl -q try-reload-or-restart ssh 2> /dev/null || : ;; esac'
}

# way_out GATE: after the change: what has to read it reads it, so that a new connection meets it.
way_out() {
    [ "$1" = sshd ] && command -v sshd > /dev/null || return 0
    [ -d /run/sshd ] || mkdir -m 755 /run/sshd
    _said=$(sshd -t 2>&1) || die "sshd does not accept it: $_said"
    _pid=''
    read -r _pid 2> /dev/null < /run/sshd.pid || :
    _old=$(listens "$_pid")
    sshd_read | /bin/sh 9>&-
    [ -n "$_old" ] || return 0
    # What it listens on is closed and opened again.
    _t=0
    while [ "$_t" -lt 50 ]; do
        _new=$(listens "$_pid")
        [ -z "$_new" ] || [ "$_new" = "$_old" ] || break
        _t=$((_t + 1))
        sleep 0.1
    done
}
listens() {
    [ -z "$1" ] || ls -l "/proc/$1/fd" 2> /dev/null | sed -n 's/.*\(socket:.*\)/\1/p'
}
