#!/bin/sh
# Runs a service of systemd's on a machine where no systemd runs: `supervise start|stop|restart|reload|status UNIT`. Reads the unit
# in /etc/systemd/system, starts it again a second after it has ended, and writes what it says to /var/log/provision/UNIT.log.
set -u
umask 022
verb=$1
unit=$2
file=/etc/systemd/system/$unit
pids=/run/provision/$unit.pid
log=/var/log/provision/$unit.log

# The unit as shell: its settings, with the environment as it is now. Values are single-quoted, so nothing of them is run.
read_unit() {
    awk -v unit="$unit" -v want="$1" '
    function quoted(text) {
        gsub(/\047/, "\047\\\047\047", text)
        return "\047" text "\047"
    }
    # One word from `rest`, by the rules of systemd; the rest stays in `rest`.
    function word(    c, out, quote, code, had) {
        out = ""; quote = ""; had = 0; variable = ""
        sub(/^[ \t]+/, "", rest)
        while (rest != "") {
            c = substr(rest, 1, 1)
            if (quote == "" && (c == " " || c == "\t")) break
            rest = substr(rest, 2)
            had = 1
            if (quote == "" && (c == "\"" || c == "\047")) quote = c
            else if (quote != "" && c == quote) quote = ""
            else if (c == "\\") {
                c = substr(rest, 1, 1)
                rest = substr(rest, 2)
                if (c == "n") c = "\n"
                else if (c == "t") c = "\t"
                else if (c == "s") c = " "
                else if (c == "r") c = "\r"
                else if (c == "x") { code = substr(rest, 1, 2); rest = substr(rest, 3); c = sprintf("%c", hex(code)) }
                out = out c
            }
            else if (c == "%") {
                c = substr(rest, 1, 1)
                rest = substr(rest, 2)
                out = out specifier(c)
            }
            else out = out c
        }
        more = had
        return out
    }
    function hex(text,    i, value) {
        value = 0
        for (i = 1; i <= length(text); i++) value = value * 16 + index("0123456789abcdef", tolower(substr(text, i, 1))) - 1
        return value
    }
    function specifier(c,    name, instance) {
        name = unit; sub(/\.[a-z]+$/, "", name)
        instance = ""
        if (index(name, "@")) { instance = name; sub(/^[^@]*@/, "", instance) }
        if (c == "%") return "%"
        if (c == "n") return unit
        if (c == "N") return name
        if (c == "p") { sub(/@.*/, "", name); return name }
        if (c == "i" || c == "I") return instance
        if (c == "t") return "/run"
        if (c == "S") return "/var/lib"
        if (c == "C") return "/var/cache"
        if (c == "L") return "/var/log"
        if (c == "E") return "/etc"
        if (c == "T") return "/tmp"
        if (c == "V") return "/var/tmp"
        if (c == "h") return ENVIRON["HOME"]
        return "%" c
    }
    # `$NAME` as a whole word and `${NAME}` anywhere are what the environment says.
    function expanded(text,    out, at, name) {
        if (text ~ /^\$[A-Za-z_][A-Za-z0-9_]*$/) {
            words = ENVIRON[substr(text, 2)]
            split_words = 1
            return words
        }
        out = ""
        while ((at = index(text, "$")) > 0) {
            out = out substr(text, 1, at - 1)
            text = substr(text, at + 1)
            if (substr(text, 1, 1) == "$") { out = out "$"; text = substr(text, 2) }
            else if (match(text, /^\{[A-Za-z_][A-Za-z0-9_]*\}/)) {
                name = substr(text, 2, RLENGTH - 2)
                text = substr(text, RLENGTH + 1)
                out = out ENVIRON[name]
            }
            else out = out "$"
        }
        return out text
    }
    function environment(path,    c, all, line, i, n, state, key, value, blank, optional, got, shown) {
        optional = sub(/^-/, "", path)
        all = ""
        while ((got = (getline line < path)) > 0) all = all line "\n"
        close(path)
        if (got < 0 && !optional) { print "fail " quoted("cannot read " path); return }
        n = length(all)
        state = "start"
        for (i = 1; i <= n; i++) {
            c = substr(all, i, 1)
            if (state == "start") {
                if (c == "#" || c == ";") state = "comment"
                else if (c !~ /[ \t\n\r]/) { state = "key"; key = c }
            } else if (state == "comment") {
                if (c == "\\") i++
                else if (c == "\n") state = "start"
            } else if (state == "key") {
                if (c == "\n") state = "start"
                else if (c == "=") { state = "before"; value = ""; blank = "" }
                else key = key c
            } else if (state == "before" || state == "value") {
                if (c == "\n") { print_variable(key, value); state = "start" }
                else if (c == "\"" && state == "before") state = "double"
                else if (c == "\047" && state == "before") state = "single"
                else if (c == "\\") {
                    i++
                    if (substr(all, i, 1) != "\n") { value = value blank substr(all, i, 1); blank = "" }
                    state = "value"
                }
                else if (c ~ /[ \t]/) { if (state == "value") blank = blank c }
                else { value = value blank c; blank = ""; state = "value" }
            } else if (state == "double") {
                if (c == "\"") state = "before"
                else if (c == "\\") {
                    i++
                    c = substr(all, i, 1)
                    if (c == "\n") continue
                    if (index("\"\\`$", c)) value = value c
                    else value = value "\\" c
                }
                else value = value c
            } else if (state == "single") {
                if (c == "\047") state = "before"
                else value = value c
            }
        }
        if (state ~ /^(before|value)$/) print_variable(key, value)
    }
    function print_variable(key, value) {
        sub(/[ \t]+$/, "", key)
        if (key ~ /^[A-Za-z_][A-Za-z0-9_]*$/) print "export " key "=" quoted(value)
    }
    # The environment first, from `Environment=` and then from the files, which win.
    function done(    i, j, at, one, list) {
        for (i = 1; i <= n; i++) if (name[i] == "Environment" && want == "environment") {
            rest = value[i]
            for (one = word(); more; one = word()) {
                at = index(one, "=")
                print_variable(substr(one, 1, at - 1), substr(one, at + 1))
            }
        }
        for (i = 1; i <= n; i++) if (name[i] == "EnvironmentFile" && want == "environment") {
            rest = value[i]
            gsub(/ /, "\\s", rest)
            environment(word())
        }
        if (want == "environment") return
        for (i = 1; i <= n; i++) {
            if (name[i] == "Environment" || name[i] == "EnvironmentFile") continue
            if (name[i] ~ /^Exec/) {
                rest = value[i]
                ignore = "no"
                while (match(rest, /^[-@:+!]/)) {
                    if (substr(rest, 1, 1) == "-") ignore = "yes"
                    rest = substr(rest, 2)
                }
                list = ""
                for (one = word(); more; one = word()) {
                    if (one == ";" ) { print name[i] " " ignore list; list = ""; continue }
                    split_words = 0
                    one = expanded(one)
                    if (!split_words) list = list " " quoted(one)
                    else {
                        count = split(one, pieces, /[ \t\n]+/)
                        for (j = 1; j <= count; j++) if (pieces[j] != "") list = list " " quoted(pieces[j])
                    }
                }
                print name[i] " " ignore list
            } else {
                rest = value[i]
                gsub(/[ \t]+/, "\\s", rest)
                print "setting " name[i] " " quoted(word())
            }
        }
    }
    {
        sub(/\r$/, "")
        if (pending == "" && ($0 ~ /^[ \t]*[#;]/ || $0 ~ /^[ \t]*$/)) next
        if ($0 ~ /\\$/) { pending = pending substr($0, 1, length($0) - 1) " "; next }
        line = pending $0
        pending = ""
        if (line ~ /^\[/) { section = line; next }
        if (section != "[Service]") next
        at = index(line, "=")
        if (!at) next
        key = substr(line, 1, at - 1)
        text = substr(line, at + 1)
        gsub(/^[ \t]+|[ \t]+$/, "", key)
        gsub(/^[ \t]+|[ \t]+$/, "", text)
        if (key !~ /^(Exec(Start|StartPre|StartPost|Stop|Reload)|Environment|EnvironmentFile|User|Group|WorkingDirectory|UMask|Type|RemainAfterExit|Restart|RestartSec|KillSignal|TimeoutStopSec|(Runtime|State|Cache|Logs)Directory(Mode)?)$/) next
        if (text == "") {
            # An empty value forgets those before.
            for (i = 1; i <= n; i++) if (name[i] == key) name[i] = "-"
            next
        }
        n++
        name[n] = key
        value[n] = text
    }
    END { done() }' "$file"
}

# The settings of the unit in variables named as they are; `phase` says which commands are run.
setting() {
    case $1 in
        User) User=$2 ;; Group) Group=$2 ;; WorkingDirectory) WorkingDirectory=$2 ;; UMask) UMask=$2 ;; Type) Type=$2 ;;
        RemainAfterExit) RemainAfterExit=$2 ;; Restart) Restart=$2 ;; RestartSec) RestartSec=$2 ;;
        TimeoutStopSec) TimeoutStopSec=$2 ;;
        RuntimeDirectory) directories /run "$2" ;; StateDirectory) directories /var/lib "$2" ;;
        CacheDirectory) directories /var/cache "$2" ;; LogsDirectory) directories /var/log "$2" ;;
        RuntimeDirectoryMode | StateDirectoryMode | CacheDirectoryMode | LogsDirectoryMode) DirectoryMode=$2 ;;
    esac
}
directories() {
    for _one in $2; do Directories="$Directories $1/$_one"; done
}
fail() {
    printf '%s: %s\n' "$unit" "$1" >&2
    exit 78
}
program() {
    [ "$phase" = "$1" ] || return 0
    ignore=$2
    shift 2
    if [ "$phase" = ExecStart ] && [ "$Type" != oneshot ]; then
        as exec "$@"
    fi
    (as exec "$@") || [ "$ignore" = yes ] || exit 1
}
ExecStart() { program ExecStart "$@"; }
ExecStartPre() { program ExecStartPre "$@"; }
ExecStartPost() { :; }
ExecStop() { program ExecStop "$@"; }
ExecReload() { program ExecReload "$@"; }
# as exec WORD...: in place of this shell, as the user of the unit.
as() {
    shift
    if [ -n "$User" ]; then
        if [ -n "$Group" ]; then
            exec setpriv --reuid "$User" --regid "$Group" --init-groups -- "$@"
        fi
        exec setpriv --reuid "$User" --regid "$(id -g "$User")" --init-groups -- "$@"
    fi
    exec "$@"
}

# Reads the unit and runs the commands of a phase; does not come back from ExecStart.
phases() {
    User='' Group='' WorkingDirectory=/ UMask=0022 Type=simple RemainAfterExit=no Restart=no RestartSec=1 TimeoutStopSec=30
    Directories='' DirectoryMode=0755
    phase=none
    code=$(read_unit settings) || exit 78
    eval "$code"
    if [ -n "$User" ]; then
        entry=$(getent passwd "$User") || fail "there is no user $User"
        HOME=$(printf '%s' "$entry" | cut -d: -f6) USER=$User LOGNAME=$User SHELL=$(printf '%s' "$entry" | cut -d: -f7)
        export HOME USER LOGNAME SHELL
    fi
    for _one in $Directories; do
        mkdir -p -m "$DirectoryMode" "$_one"
        [ -z "$User" ] || chown "$User:${Group:-$(id -g "$User")}" "$_one"
    done
    code=$(read_unit environment) || exit 78
    eval "$code"
    # Once more, with the environment in the words of the commands.
    code=$(read_unit settings)
    unset _one entry
    umask "$UMask"
    case $WorkingDirectory in
        '~') cd "$HOME" || exit 78 ;;
        -*) cd "${WorkingDirectory#-}" 2> /dev/null || cd / ;;
        *) cd "$WorkingDirectory" || fail "there is no folder $WorkingDirectory" ;;
    esac
    for phase in "$@"; do
        eval "$code"
    done
}

# Where pid 1 is no init, what has ended stays as a zombie: it does not live.
lives() {
    _stat=''
    IFS= read -r _stat 2> /dev/null < "/proc/$1/stat" || return 1
    case ${_stat##*) } in Z* | X*) return 1 ;; esac
}
group_lives() {
    for _file in /proc/[0-9]*/stat; do
        _stat=''
        IFS= read -r _stat 2> /dev/null < "$_file" || continue
        _stat=${_stat##*) }
        case $_stat in Z* | X*) continue ;; esac
        _stat=${_stat#* * }
        [ "${_stat%% *}" != "$1" ] || return 0
    done
    return 1
}
alive() {
    supervisor='' child=''
    IFS=' ' read -r supervisor child 2> /dev/null < "$pids" || return 1
    case $supervisor in
        exited) [ "$child" = 0 ]; return ;;
    esac
    case "$(tr '\0' ' ' < "/proc/$supervisor/cmdline" 2> /dev/null)" in
        *" run $unit ") return 0 ;;
    esac
    return 1
}
note() {
    printf '%s %s\n' "$1" "$2" > "$pids.new"
    mv -f "$pids.new" "$pids"
}
stop_all() {
    alive || { rm -f "$pids"; return 0; }
    if [ "$supervisor" != exited ]; then
        kill -TERM "$supervisor" 2> /dev/null
        tries=0
        while lives "$supervisor" && [ "$tries" -lt 400 ]; do
            tries=$((tries + 1))
            sleep 0.1
        done
        if lives "$supervisor"; then
            kill -KILL "-$child" 2> /dev/null
            kill -KILL "$supervisor" 2> /dev/null
        fi
    fi
    rm -f "$pids"
}
start_it() {
    [ "$(stat -c %s "$log" 2> /dev/null || echo 0)" -lt 10485760 ] || mv -f "$log" "$log.1"
    : >> "$log"
    chmod 600 "$log"
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
        setsid /bin/sh /usr/local/lib/provision/supervise run "$unit" < /dev/null >> "$log" 2>&1 &
}

case $verb in
    status)
        alive && { [ "$supervisor" = exited ] || { [ "$child" != 0 ] && lives "$child"; }; }
        ;;
    start)
        alive || start_it
        ;;
    stop) stop_all ;;
    restart)
        stop_all
        start_it
        ;;
    reload)
        alive || exit 1
        if grep -q '^ExecReload=' "$file"; then
            MAINPID=$child
            export MAINPID
            (phases ExecReload) >> "$log" 2>&1
        else
            stop_all
            start_it
        fi
        ;;
    run)
        child=0
        ending=''
        trap 'ending=yes; [ "$child" = 0 ] || kill -TERM "-$child" 2> /dev/null || kill -TERM "$child" 2> /dev/null' TERM INT HUP
        note "$$" 0
        once=no
        if grep -Eq '^Type=oneshot' "$file"; then once=yes; fi
        while :; do
            # `setsid` of a process that leads no group does not fork: the child is what we start.
            setsid /bin/sh /usr/local/lib/provision/supervise child "$unit" &
            child=$!
            [ "$once" = yes ] || note "$$" "$child"
            wait "$child"
            status=$?
            while kill -0 "$child" 2> /dev/null; do
                wait "$child"
                status=$?
            done
            if [ -n "$ending" ]; then
                # What it has left behind goes too.
                tries=0
                while group_lives "$child" && [ "$tries" -lt 300 ]; do
                    kill -TERM "-$child" 2> /dev/null
                    tries=$((tries + 1))
                    sleep 0.1
                done
                kill -KILL "-$child" 2> /dev/null
                exit 0
            fi
            if [ "$once" = yes ]; then
                note exited "$status"
                exit 0
            fi
            printf '%s: ended with status %s, started again in a second\n' "$unit" "$status"
            sleep 1
            [ -z "$ending" ] || exit 0
        done
        ;;
    child) phases ExecStartPre ExecStart ;;
esac
