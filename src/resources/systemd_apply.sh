# Units of systemd, brought to their state: five words a unit, all units in one go, so that systemd reads its files again once and
# starts what it can side by side. Words: the unit; what is done; what its file says; the files it reads; the drop-ins that go (paths
# a line). What is done, in this order: `write`, `prune`, `forget` (and `revive`, what a package ships under the name), `again`, `unmask`, `enable`, `disable`, then one of `stop`, `start`,
# `restart`, `reload`, `catch-up` (restart if it runs), `catch-up-reload` (reload if it runs).
nl='
'
loaded=/var/lib/provision/loaded
systemd=yes
[ -d /run/systemd/system ] || systemd=''
failed='' again='' answered=''
since=@$(date +%s)
set -f

# each FUNCTION WORD...: the function with the five words of each unit.
each() {
    each=$1
    shift
    while [ "$#" -ge 5 ]; do
        "$each" "$1" " $2 " "$3" "$4" "$5"
        shift 5
    done
}

files() {
    file=/etc/systemd/system/$1
    case $2 in
        *' write '*)
            case $1 in
                *.service | *.socket) ;;
                *) [ -n "$systemd" ] || die "\`$1\` needs systemd, which does not run on this machine" ;;
            esac
            [ -d /etc/systemd/system ] || mkdir -p -m 755 /etc/systemd/system
            printf '%s' "$3" | put_file "$file" root root 0644
            again=yes
            mkdir -p -m 700 "$loaded"
            # That the file is ours is remembered even if the unit never runs.
            grep -qsF "  $file" "$loaded/$1" || {
                [ -s "$loaded/$1" ] || printf '%s\n' - > "$loaded/$1"
                printf 'none  %s\n' "$file" >> "$loaded/$1"
            }
            ;;
    esac
    case $2 in *' prune '*)
        again=yes
        IFS=$nl
        for one in $5; do rm -f -- "$one"; done
        unset IFS
        ;;
    esac
    case $2 in *' again '*) again=yes ;; esac
}

# wanting WORD WORD...: the units for which that is done, in $units.
wanting() {
    want=$1 units=''
    shift
    each wants "$@"
}
wants() {
    case $2 in *" $want "*) units="$units $1" ;; esac
}

# Which of the files a unit reads it will have read once it starts now: what changes from now on is owed.
remember() {
    case $2 in
        *' start '* | *' restart '* | *' reload '* | *' catch-up'*)
            mkdir -p -m 700 "$loaded"
            IFS=$nl
            {
                printf '%s\n' -
                [ -z "$4" ] || sha256sum -- $4 2> /dev/null || :
            } > "$loaded/.$1"
            unset IFS
            ;;
    esac
}

# A log is not worth much more than its last lines.
complain() {
    failed=yes
    if [ -n "$systemd" ]; then
        # Of a job that failed, such as that of what it depends on, only `systemctl` says something.
        printf '%s' "$answered" | grep -F -e "$1" -e 'ependency' >&2 || :
        unit_why "$1" "$since" >&2
    else
        tail -n 15 "/var/log/provision/$1.log" >&2 2> /dev/null || :
    fi
    # Last, since that is what is told first.
    printf '%s\n' "$2" >&2
}

# property UNIT NAME: of what was shown last.
property() {
    value=''
    case $shown in *"$nl@$1$nl"*) ;; *) return 0 ;; esac
    rest=${shown#*"$nl@$1$nl"}
    rest=${rest%%"$nl@"*}
    value=$nl$rest$nl
    case $value in
        *"$nl$2="*)
            value=${value#*"$nl$2="}
            value=${value%%"$nl"*}
            ;;
        *) value='' ;;
    esac
}

look() {
    # The answers come in the order of the names.
    shown=$nl$(systemctl show -p LoadState -p ActiveState -p SubState -p Type -p Result -p InvocationID -p NRestarts -p ExecMainStatus -p ConditionResult \
        -p ConditionTimestampMonotonic \
        -- $all | awk -v names="$all" '
            BEGIN { n = split(names, name, " "); i = 1; print "@" name[1] }
            $0 == "" { i++; print "@" name[i]; next }
            { print }')$nl@
}

unsettled() {
    property "$1" ActiveState
    case $value in activating | deactivating | reloading)
        property "$1" SubState
        [ "$value" = auto-restart ] || busy=yes
        ;;
    esac
}

# The state that a unit is in is the one that was asked for; else a complaint.
check() {
    property "$1" ActiveState
    state=$value
    property "$1" SubState
    sub=$value
    property "$1" Result
    result=$value
    property "$1" LoadState
    load=$value
    property "$1" InvocationID
    id=$value
    [ "$load" != not-found ] || case $2 in
        *' stop '* | *' forget '*) return ;;
        *)
            case $2 in
                *' start '* | *' restart '* | *' reload '* | *' catch-up'*)
                    complain "$1" "there is no unit \`$1\` on this machine" "$id"
                    return
                    ;;
            esac
            ;;
    esac
    case $load in
        loaded | not-found | '') ;;
        *)
            case $2 in
                *' start '* | *' restart '* | *' reload '* | *' catch-up'*)
                    complain "$1" "systemd does not take \`$1\`: $load" ''
                    return
                    ;;
            esac
            ;;
    esac
    case $2 in
        *' stop '*)
            [ "$state" = inactive ] || [ "$state" = failed ] || complain "$1" "\`$1\` does not stop: it is $state ($sub)" "$id"
            ;;
        *' start '* | *' restart '* | *' reload '*)
            case $state.$result in
                active.*) settled "$@" ;;
                inactive.success)
                    property "$1" Type
                    type=$value
                    property "$1" ConditionResult
                    condition=$value
                    # Of a unit that ended and that nobody refers to, systemd knows nothing any more.
                    property "$1" ConditionTimestampMonotonic
                    if [ "$condition.${value:-0}" != no.0 ] && [ "$condition" = no ]; then
                        complain "$1" "\`$1\` does not run: a condition of it is not met" "$id"
                    elif [ "$type" = oneshot ]; then
                        settled "$@"
                    else
                        complain "$1" "\`$1\` ended at once" "$id"
                    fi
                    ;;
                *)
                    property "$1" ExecMainStatus
                    complain "$1" "\`$1\` does not run: it is $state ($sub), result $result, exit status $value" "$id"
                    ;;
            esac
            ;;
        *' catch-up'*)
            case $state in
                failed) complain "$1" "\`$1\` does not run any more: it is $state ($sub), result $result" "$id" ;;
                active) settled "$@" ;;
                *) rm -f -- "$loaded/.$1" ;;
            esac
            ;;
    esac
}

# What it has loaded is remembered, with the run that has loaded it.
settled() {
    {
        printf '%s\n' "$id"
        tail -n +2 "$loaded/.$1"
    } > "$loaded/.$1.new"
    mv -f -- "$loaded/.$1.new" "$loaded/$1"
    rm -f -- "$loaded/.$1"
}

# A second later it is still the same run.
stays() {
    before=$(property "$1" InvocationID; printf '%s.' "$value"; property "$1" NRestarts; printf '%s' "$value")
    remembered="$remembered$nl$1=$before"
}
stayed() {
    case $2 in *' start '* | *' restart '* | *' reload '* | *' catch-up'*) ;; *) return 0 ;; esac
    before=${remembered#*"$nl$1="}
    before=${before%%"$nl"*}
    now=$(property "$1" InvocationID; printf '%s.' "$value"; property "$1" NRestarts; printf '%s' "$value")
    [ "$before" = "$now" ] || {
        property "$1" InvocationID
        complain "$1" "\`$1\` ended and was started again within a second" "$value"
    }
}

with_systemd() {
    if [ -n "$again" ]; then systemctl daemon-reload || die 'systemd cannot read its units again'; fi
    wanting unmask "$@"
    [ -z "$units" ] || systemctl unmask -q -- $units || failed=yes
    wanting enable "$@"
    [ -z "$units" ] || systemctl enable -q -- $units || failed=yes
    wanting disable "$@"
    [ -z "$units" ] || systemctl disable -q -- $units || failed=yes
    each remember "$@"
    all=''
    for verb in stop start restart reload catch-up catch-up-reload; do
        wanting "$verb" "$@"
        [ -n "$units" ] || continue
        all="$all$units"
        case $verb in
            start | restart) systemctl reset-failed -- $units 2> /dev/null || : ;;
        esac
        case $verb in
            catch-up) verb=try-restart ;;
            catch-up-reload) verb=try-reload-or-restart ;;
            reload) verb=reload-or-restart ;;
        esac
        # What it says is said better by the state that the unit is in then.
        answered=$answered$(systemctl "$verb" -- $units 2>&1 < /dev/null | grep -v -e '^See "' -e '^Run "' -e '^Hint:')$nl || :
    done
    [ -n "$all" ] || return 0
    tries=0
    while :; do
        look
        busy=''
        each unsettled "$@"
        [ -n "$busy" ] && [ "$tries" -lt 100 ] || break
        tries=$((tries + 1))
        sleep 0.3
    done
    # Sockets, timers and targets are what they say; a service may still fall.
    case "$all " in
        *'.service '*)
            remembered=$nl
            each stays "$@"
            sleep 1
            look
            each stayed "$@"
            ;;
    esac
    each check "$@"
}

# Without systemd: init scripts where there are some, else our supervisor.
alone() {
    name=${1%.service}
    init=/etc/init.d/${name%%@*}
    if [ -f "/etc/systemd/system/$1" ] && [ ! -L "/etc/systemd/system/$1" ]; then
        init=''
    elif [ ! -x "$init" ]; then
        case $2 in
            *' stop '* | *' forget '*) return ;;
            *' start '* | *' restart '* | *' reload '* | *' catch-up'*)
                complain "$1" "there is no unit \`$1\` on this machine, and no init script" -
                return
                ;;
        esac
        return 0
    fi
    verb=''
    for word in $2; do
        case $word in stop | start | restart | reload | catch-up | catch-up-reload) verb=$word ;; esac
    done
    [ -n "$verb" ] || return 0
    remember "$@"
    case $1 in
        # Whoever listens there opens it by itself.
        *.socket)
            id=-
            [ ! -f "$loaded/.$1" ] || settled "$@"
            [ "$verb" != stop ] || rm -f -- "$loaded/$1"
            return 0
            ;;
    esac
    running=''
    control status "$1" && running=yes
    case $verb in
        catch-up) [ -n "$running" ] || return 0; verb=restart ;;
        catch-up-reload) [ -n "$running" ] || return 0; verb=reload ;;
        start) [ -z "$running" ] || verb=restart ;;
    esac
    control "$verb" "$1" || :
    if [ "$verb" = stop ]; then
        tries=0
        while control status "$1" && [ "$tries" -lt 100 ]; do
            tries=$((tries + 1))
            sleep 0.3
        done
        ! control status "$1" || complain "$1" "\`$1\` does not stop" -
        return 0
    fi
    tries=0
    until control status "$1" || [ "$tries" -ge 20 ]; do
        tries=$((tries + 1))
        sleep 0.3
    done
    before=$(run_of "$1")
    sleep 1
    if ! control status "$1" || [ "$before" != "$(run_of "$1")" ]; then
        complain "$1" "\`$1\` does not run" -
        return
    fi
    id=$before
    settled "$@"
}

control() {
    if [ -n "$init" ]; then
        [ "$1" != status ] || ! unburied "${2%.service}" || return 1
        "$init" "$1" < /dev/null > "/var/log/provision/$2.init.log" 2>&1 9>&-
    else
        /bin/sh /usr/local/lib/provision/supervise "$1" "$2" 9>&-
    fi
}

# What a run is known by, as the question for units says it.
run_of() {
    if [ -z "$init" ]; then
        IFS=' ' read -r one two rest 2> /dev/null < "/run/provision/$1.pid" || :
        case $one in exited) printf '%s' '' ;; *) printf '%s' "$one.$two" ;; esac
        return
    fi
    pid_file "$name"
    one=-
    [ -z "$pid_file" ] || IFS=' ' read -r one rest 2> /dev/null < "$pid_file" || :
    printf '%s' "$one"
}

each files "$@"
forgotten() {
    case $2 in *' forget '*)
        rm -f -- "/etc/systemd/system/$1" "$loaded/$1"
        again=yes
        ;;
    esac
}
if [ -n "$systemd" ]; then
    with_systemd "$@"
else
    mkdir -p -m 755 /usr/local/lib/provision /var/log/provision
    mkdir -p -m 700 /run/provision
    supervisor | put_file /usr/local/lib/provision/supervise root root 0755
    each alone "$@"
fi
again=''
each forgotten "$@"
revived() {
    case $2 in *' revive '*)
        if [ -n "$systemd" ]; then
            ! systemctl is-enabled -q -- "$1" 2> /dev/null || systemctl restart -- "$1" 2> /dev/null || complain "$1" "\`$1\` does not start again" ''
        fi
        ;;
    esac
}
if [ -n "$again" ] && [ -n "$systemd" ]; then systemctl daemon-reload; fi
each revived "$@"
[ -z "$failed" ] || exit 1
