# Restarts a database server on its machine. $1: `postgres` or `mariadb`; $2: PostgreSQL's port, which finds its cluster. What keeps a
# server from starting is taken back, so that it runs as before, and this ends with a message.
systemd=''
[ ! -d /run/systemd/system ] || systemd=yes
unit() {
    if [ -n "$systemd" ]; then
        systemctl reset-failed "$1" 2> /dev/null || :
        systemctl restart "$1" 2> /dev/null 9>&-
    else
        "$2" "$3" "$4" ${5:-} > /dev/null 2>&1 9>&-
    fi
}

postgres() {
    name=main
    for line in $(pg_lsclusters -h | awk '{ print $1 "/" $3 "/" $2 }'); do
        case $line in 15/$1/*) name=${line##*/} ;; esac
    done
    bin=/usr/lib/postgresql/15/bin
    data=$("$bin/postgres" -C data_directory -D "/etc/postgresql/15/$name")
    ask() {
        runuser -u postgres -- "$bin/psql" -X -A -t -q -w -h /var/run/postgresql -p "$port" -d postgres -c "$1" 2> /dev/null || :
    }
    port=$1
    # What the restart brings, as it is now: `name = 'value'`. The server knows only once it has read its files.
    ask 'SELECT pg_reload_conf()' > /dev/null
    sleep 0.3
    before=$(ask "SELECT name || ' = ''' || replace(replace(current_setting(name), '\\', '\\\\'), '''', '''''') || '''' \
        FROM pg_settings WHERE pending_restart")
    start() {
        unit "postgresql@15-$name" pg_ctlcluster 15 "$name" restart || :
        tries=0
        while [ "$tries" -lt 600 ]; do
            state=down pid='' comm=''
            if [ -r "$data/postmaster.pid" ]; then
                { read -r pid; read -r _; read -r _; read -r _; read -r _; read -r _; read -r _; read -r state; } \
                    < "$data/postmaster.pid" || :
                if [ -r "/proc/$pid/comm" ]; then read -r comm < "/proc/$pid/comm" || :; fi
                [ "$comm" = postgres ] || state=down
            fi
            case $state in
                ready* | standby*) return 0 ;;
                down) [ "$tries" -lt 10 ] || return 1 ;;
            esac
            tries=$((tries + 1))
            sleep 0.2
        done
        return 1
    }
    if start; then return 0; fi
    why=$(tail -n 20 "/var/log/postgresql/postgresql-15-$name.log" 2> /dev/null | sed -n 's/.*FATAL: *//p' | tail -n 1)
    [ -n "$why" ] || why=$(unit_why "postgresql@15-$name.service" -2min)
    [ -n "$before" ] || die "\`15/$name\` does not start: ${why:-nothing was said}"
    { cat "$data/postgresql.auto.conf"; printf '%s\n' "$before"; } | put_file "$data/postgresql.auto.conf" postgres postgres 0600
    start || die "\`15/$name\` does not start, not even as it was before: $why"
    die "\`15/$name\` does not start with what was set; it runs as before again: $why"
}

mariadb() {
    kept=/etc/mysql/mariadb.conf.d/90-provision.cnf good=/var/lib/provision/mariadb.cnf
    start() { unit mariadb service mariadb restart; }
    if start; then
        [ -d "${good%/*}" ] || install -d -m 0700 "${good%/*}"
        [ ! -e "$kept" ] || put_file "$good" root root 0600 < "$kept"
        return 0
    fi
    if [ -n "$systemd" ]; then why=$(journalctl -q --no-pager -o cat -n 40 -u mariadb 2> /dev/null); else why=$(tail -n 40 /var/log/mysql/error.log 2> /dev/null); fi
    why=$(printf '%s\n' "$why" | sed -n 's/.*\[ERROR\] *//p' | head -n 1)
    [ -n "$why" ] || why=$(unit_why mariadb.service -2min)
    # The one with which it last started; without it, what Debian gives.
    if [ -e "$good" ]; then
        put_file "$kept" root root 0644 < "$good"
    elif [ -e "$kept" ]; then
        mv -f -- "$kept" "$kept.refused"
    fi
    start || die "\`mariadb\` does not start, not even as it was before: $why"
    die "\`mariadb\` does not start with what was set; it runs as before again: $why"
}

"$1" "$2"
