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

