# pid_file NAME: the pid file of an init script's daemon, in $pid_file.
pid_file() {
    case $1 in
        mariadb | mysql) set -- mysqld ;;
        postgresql@*) set -- "${1#postgresql@}" /run/postgresql ;;
        postgresql) set -- '*-main' /run/postgresql ;;
    esac
    set +f
    for pid_file in "${2:-/run}"/$1.pid /run/$1d.pid /run/$1/$1.pid /run/$1/$1d.pid; do
        if [ -s "$pid_file" ]; then
            set -f
            return
        fi
    done
    set -f
    pid_file=''
}


# unburied NAME: whether the daemon of an init script has ended, and nobody took note: pid 1 of a container may be no init.
unburied() {
    pid_file "$1"
    [ -n "$pid_file" ] || return 1
    _pid='' _stat=''
    IFS=' ' read -r _pid _rest 2> /dev/null < "$pid_file" || :
    IFS= read -r _stat 2> /dev/null < "/proc/$_pid/stat" || return 1
    case ${_stat##*) } in Z*) return 0 ;; esac
    return 1
}

# ships UNIT: the file by which something else than us makes a unit of that name, in $path, and the package that ships it, in $package;
# both empty where nothing does. A unit is taken by its own file, by its template, by an alias of another, by an init script, and a
# service by the socket, timer or path unit that starts it, too.
ships() {
    path='' package='' _twins=''
    _unit=$1
    case $1 in
        *@.*) ;;
        *@*) _twins=${1%%@*}@.${1##*.} ;;
        *.service) _twins="${1%.service}.socket
${1%.service}.timer
${1%.service}.path" ;;
    esac
    _ifs=${IFS-unset}
    IFS='
'
    for _name in "$1" $_twins; do
        for _folder in /usr/lib/systemd/system /lib/systemd/system /usr/local/lib/systemd/system /run/systemd/generator.early \
            /run/systemd/generator /run/systemd/generator.late; do
            [ ! -e "$_folder/$_name" ] && [ ! -L "$_folder/$_name" ] || {
                path=$_folder/$_name
                break 2
            }
        done
    done
    if [ "$_ifs" = unset ]; then unset IFS; else IFS=$_ifs; fi
    if [ -z "$path" ]; then
        [ -n "${aliases+set}" ] || aliases=$(grep -rs '^Alias=' /usr/lib/systemd/system /lib/systemd/system | tr '\t' ' ') || :
        _alias=$(printf '%s\n' "$aliases" | awk -v unit="$1" '{
            at = index($0, ":Alias="); n = split(substr($0, at + 7), word, " ")
            for (i = 1; i <= n; i++) if (word[i] == unit) { print substr($0, 1, at - 1); exit }
        }') || :
        if [ -n "$_alias" ]; then
            path=$_alias
        elif [ -L "/etc/systemd/system/$1" ]; then
            _alias=$(readlink -f -- "/etc/systemd/system/$1") || _alias=''
            case $_alias in
                '' | /dev/null) ;;
                /etc/systemd/system/*) [ "$_alias" = "/etc/systemd/system/$1" ] || path=$_alias ;;
                /usr/lib/systemd/* | /lib/systemd/*) path=$_alias ;;
            esac
        fi
    fi
    case $path$1 in
        *.service) [ -n "$path" ] || [ ! -e "/etc/init.d/${1%.service}" ] || path=/etc/init.d/${1%.service} ;;
    esac
    if [ -z "$path" ]; then
        # Few packages ship a unit where the administrator's own are.
        [ -f "/etc/systemd/system/$1" ] && [ -d /var/lib/dpkg/info ] || return 0
        _alias=$(grep -rlxFs --include='*.list' -e "/etc/systemd/system/$1" /var/lib/dpkg/info | head -n 1) || :
        [ -n "$_alias" ] || return 0
        path=/etc/systemd/system/$1
    fi
    _source=$path
    case $path in /run/systemd/generator*)
        _from=$(sed -n 's/^SourcePath=//p' "$path" 2> /dev/null | head -n 1) || _from=''
        [ -z "$_from" ] || _source=$_from
        ;;
    esac
    case $_source in
        /usr/lib/*) _other=${_source#/usr} ;;
        /lib/*) _other=/usr$_source ;;
        *) _other=$_source ;;
    esac
    package=''
    if command -v dpkg-query > /dev/null; then
        package=$(dpkg-query -S "$_source" "$_other" 2> /dev/null | grep -v '^diversion ' | head -n 1) || :
        package=${package%%[:,]*}
    elif command -v rpm > /dev/null; then
        package=$(rpm -qf --qf '%{NAME}' "$_source" 2> /dev/null) || package=''
    fi
}
