# The state of units: of each what systemd (or, where none runs, an init script or our supervisor) knows, and what its files hold.
# An item is lines: the key of the thing, then `u UNIT`, `c UNIT` (our unit: its text is wanted too) and `f PATH`.
# A row is: key, unit or path, what, value.
nl='
'
units='' paths='' drop_ins='' named='' shipped=''
set -f
IFS=$nl
for item in "$@"; do
    for line in $item; do
        case $line in
            'u '*@.*) named=$named${line#u }$nl ;;
            'u '*)
                units=$units${line#u }$nl
                # Of what was never ours only the state counts.
                [ ! -f "/etc/systemd/system/${line#u }" ] || named=$named${line#u }$nl
                ;;
            'c '*)
                paths=$paths/etc/systemd/system/${line#c }$nl
                named=$named${line#c }$nl
                # systemd may not have read them yet.
                set +f
                for file in "/etc/systemd/system/${line#c }.d"/*.conf "/run/systemd/system/${line#c }.d"/*.conf; do
                    [ ! -e "$file" ] || drop_ins="$drop_ins${line#c } $file$nl"
                done
                set -f
                ;;
            'f '*) paths=$paths${line#f }$nl ;;
        esac
    done
done

for name in $(printf '%s' "$named" | sort -u); do
    ships "$name"
    [ -z "$path" ] || shipped="$shipped$name $path $package$nl"
done

# What our supervisor says of a unit.
supervised() {
    [ -s "$file" ] || return 0
    IFS=' ' read -r supervisor child rest < "$file" || :
    case $supervisor in
        exited) type=oneshot; [ "$child" = 0 ] || state=failed result=exit-code ;;
        *)
            cmdline=''
            [ ! -r "/proc/$supervisor/cmdline" ] || cmdline=$(tr '\0' ' ' < "/proc/$supervisor/cmdline" 2> /dev/null) || :
            case $cmdline in
                *" run $1 ")
                    state=activating
                    [ ! -d "/proc/$child" ] || state=active id=$supervisor.$child
                    ;;
            esac
            ;;
    esac
}

# What `systemctl show` would say of a unit, as far as it can be known.
without_systemd() {
    name=${1%.service}
    file=/run/provision/$1.pid
    state=inactive load=loaded fragment='' manager='' id='' result=success type=simple
    if [ -f "/etc/systemd/system/$1" ] && [ ! -L "/etc/systemd/system/$1" ]; then
        manager=supervised fragment=/etc/systemd/system/$1
        case $1 in
            # Whoever listens there opens it by itself, so it is what was last asked of it.
            *.socket) [ ! -f "/var/lib/provision/loaded/$1" ] || state=active id=- file='' ;;
            *) supervised "$1" ;;
        esac
    elif [ -x "/etc/init.d/${name%%@*}" ]; then
        manager=init
        if "/etc/init.d/${name%%@*}" status > /dev/null 2>&1 && ! unburied "$name"; then
            state=active
            pid_file "$name"
            file=$pid_file
            id=-
            [ -z "$file" ] || IFS=' ' read -r id rest < "$file" || :
        fi
    else
        load=not-found
    fi
    printf '%s=%s\n' Manager "$manager" LoadState "$load" ActiveState "$state" SubState "$state" FragmentPath "$fragment" \
        InvocationID "$id" Started "$file" Result "$result" Type "$type"
    printf '\n'
}

shown=''
if [ -n "$units" ]; then
    if [ -d /run/systemd/system ]; then
        shown=$(systemctl show --timestamp=us+utc -p LoadState -p ActiveState -p SubState -p Type -p Result -p UnitFileState \
            -p FragmentPath -p DropInPaths -p NeedDaemonReload -p InvocationID -p InactiveExitTimestamp -p InactiveEnterTimestamp \
            -- $units) || die "systemd does not answer"
    else
        for unit in $units; do
            IFS=$nl
            block=$(without_systemd "$unit")
            shown=$shown$block$nl$nl
            file=${block#*"$nl"Started=}
            file=${file%%"$nl"*}
            [ -z "$file" ] || paths=$paths$file$nl
        done
        IFS=$nl
    fi
fi
stamped=''
[ ! -d /var/lib/provision/loaded ] || stamped=yes
sums='' stats=''
if [ -n "$paths" ]; then
    sums=$(sha256sum -- $paths 2> /dev/null || :)
    stats=$(stat -L -c '%.6Z %n' -- $paths 2> /dev/null || :)
fi
{
    for item in "$@"; do printf '%s\n\n' "$item"; done
    printf '=shown\n%s\n=sums\n%s\n=stats\n%s\n=drop-ins\n%s\n=shipped\n%s\n' "$shown" "$sums" "$stats" "$drop_ins" "$shipped"
} | awk -v stamped="$stamped" '
function out(unit, what, value) {
    if (value ~ /[\t\r]/) gsub(/[\t\r]/, " ", value)
    printf "%s\t%s\t%s\t%s\n", key, unit, what, value
}
function text(path,    line, all) {
    all = ""
    while ((getline line < path) > 0 && length(all) < 65536) {
        gsub(/\\/, "&&", line)
        gsub(/\t/, "\\t", line)
        all = all line "\\n"
    }
    close(path)
    return all
}
function stamp(unit,    line, path, first) {
    if (!stamped) return
    path = "/var/lib/provision/loaded/" unit
    first = 1
    while ((getline line < path) > 0) {
        if (first) { out(unit, "stamp", line); first = 0 } else out(unit, "loaded", line)
    }
    close(path)
}
section == "" && $0 == "=shown" { section = "shown"; block = 1; next }
section == "shown" && $0 == "=sums" { section = "sums"; next }
section == "sums" && $0 == "=stats" { section = "stats"; next }
section == "stats" && $0 == "=drop-ins" { section = "drop-ins"; next }
section == "drop-ins" && $0 == "=shipped" { section = "shipped"; next }
section == "shipped" { at = index($0, " "); if (at) ships[substr($0, 1, at - 1)] = substr($0, at + 1); next }
section == "drop-ins" { at = index($0, " "); if (at) added[substr($0, 1, at - 1)] = added[substr($0, 1, at - 1)] substr($0, at + 1) "\n"; next }
section == "" { items[++n] = $0; if ($0 ~ /^u / && $0 !~ /@\./) order[++m] = substr($0, 3); next }
section == "shown" && $0 == "" { block++; next }
section == "shown" { said[block] = said[block] $0 "\n"; next }
section == "sums" { sum[substr($0, 67)] = substr($0, 1, 64); next }
section == "stats" { at = index($0, " "); time[substr($0, at + 1)] = substr($0, 1, at - 1); next }
END {
    b = 0
    for (i = 1; i <= n; i++) {
        if (i == 1 || items[i - 1] == "") { key = items[i]; continue }
        if (items[i] == "") continue
        what = substr(items[i], 1, 1)
        name = substr(items[i], 3)
        if (what == "u") {
            if (name in ships) out(name, "shipped", ships[name])
            if (name ~ /@\./) { out(name, "LoadState", "template"); stamp(name); continue }
            count = split(said[++b], lines, "\n")
            for (j = 1; j < count; j++) {
                at = index(lines[j], "=")
                property = substr(lines[j], 1, at - 1)
                value = substr(lines[j], at + 1)
                if (property == "Started") value = time[value]
                out(name, property, value)
            }
            stamp(name)
        } else {
            if (what == "c") {
                path = "/etc/systemd/system/" name
                if (path in sum) out(path, "text", text(path))
                count = split(added[name], lines, "\n")
                for (j = 1; j < count; j++) out(name, "drop-in", lines[j])
            } else path = name
            if (path in sum) out(path, "file", sum[path] " " time[path])
        }
    }
}'
