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
