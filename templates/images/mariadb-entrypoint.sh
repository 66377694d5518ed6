#!/bin/bash
# Start of a MariaDB container: on an empty data folder make the system tables, run the first-start files on a server that
# listens on its socket only, then become the server. Behaves as the official image: MARIADB_ROOT_PASSWORD,
# MARIADB_ROOT_PASSWORD_HASH, MARIADB_ROOT_HOST, MARIADB_DATABASE, MARIADB_USER, MARIADB_PASSWORD, MARIADB_PASSWORD_HASH (each also
# as NAME_FILE), MARIADB_ALLOW_EMPTY_ROOT_PASSWORD, MARIADB_RANDOM_ROOT_PASSWORD, MARIADB_INITDB_SKIP_TZINFO, their MYSQL_ names, and
# files in /docker-entrypoint-initdb.d. Scripts that are sourced there may use `file_env`, `docker_process_sql` and "${mysql[@]}".
# Not here: replication, restore of a backup, MARIADB_AUTO_UPGRADE, MARIADB_MYSQL_LOCALHOST_USER and MARIADB_HEALTHCHECK_GRANTS.
set -eo pipefail
shopt -s nullglob

note() {
    printf '%s [%s] [Entrypoint]: %s\n' "$(date --rfc-3339=seconds)" Note "$*"
}

die() {
    printf '%s [%s] [Entrypoint]: %s\n' "$(date --rfc-3339=seconds)" ERROR "$*" >&2
    exit 1
}

# file_env NAME [DEFAULT]: exports NAME from itself, from the file NAME_FILE, or from the default.
file_env() {
    local name="$1" file="${1}_FILE" value="${2:-}"
    if [ -n "${!name:-}" ] && [ -n "${!file:-}" ]; then
        die "Both $name and $file are set (but are exclusive)"
    elif [ -n "${!name:-}" ]; then
        value="${!name}"
    elif [ -n "${!file:-}" ]; then
        value="$(< "${!file}")"
    fi
    export "$name=$value"
    unset "$file"
}

# Reads MARIADB_X, else the older name MYSQL_X, and leaves both with the same value.
either_name() {
    local old="$1" new="${1/#MYSQL_/MARIADB_}"
    file_env "$old" "${2:-}"
    file_env "$new" "${!old}"
    export "$old=${!new}"
}

read_environment() {
    either_name MYSQL_ROOT_HOST %
    either_name MYSQL_DATABASE
    either_name MYSQL_USER
    either_name MYSQL_PASSWORD
    either_name MYSQL_ROOT_PASSWORD
    either_name MYSQL_RANDOM_ROOT_PASSWORD
    either_name MYSQL_INITDB_SKIP_TZINFO
    file_env MARIADB_PASSWORD_HASH
    file_env MARIADB_ROOT_PASSWORD_HASH
    file_env MYSQL_ALLOW_EMPTY_PASSWORD
    file_env MARIADB_ALLOW_EMPTY_ROOT_PASSWORD "$MYSQL_ALLOW_EMPTY_PASSWORD"
    export MYSQL_ALLOW_EMPTY_PASSWORD="$MARIADB_ALLOW_EMPTY_ROOT_PASSWORD"
}

# What the server would use, from its files and these arguments; wrong settings end the start here, with their error.
read_settings() {
    local help
    help="$("$@" --verbose --help 2> /dev/null)" || die "mariadbd failed while attempting to check config: $("$@" --verbose --help 2>&1 > /dev/null)"
    setting() { awk -v name="$1" '$1 == name && /^[^ \t]/ { sub(/^[^ \t]+[ \t]+/, ""); print; exit }' <<< "$help"; }
    DATADIR="$(setting datadir)"
    SOCKET="$(setting socket)"
    PORT="$(setting port)"
}

prepare_folders() {
    mkdir -p "$DATADIR"
    [ "$(id -u)" = 0 ] || return 0
    find "$DATADIR" ! -user mysql -exec chown mysql: '{}' +
    find "$(dirname "$SOCKET")" -maxdepth 0 ! -user mysql -exec chown mysql: '{}' +
}

check_passwords() {
    local any="$MARIADB_ROOT_PASSWORD$MARIADB_ALLOW_EMPTY_ROOT_PASSWORD$MARIADB_RANDOM_ROOT_PASSWORD"
    if [ -z "$any$MARIADB_ROOT_PASSWORD_HASH" ]; then
        die 'Database is uninitialized and password option is not specified: set one of MARIADB_ROOT_PASSWORD, MARIADB_ROOT_PASSWORD_HASH, MARIADB_ALLOW_EMPTY_ROOT_PASSWORD and MARIADB_RANDOM_ROOT_PASSWORD'
    elif [ -n "$any" ] && [ -n "$MARIADB_ROOT_PASSWORD_HASH" ]; then
        die 'Cannot specify MARIADB_ROOT_PASSWORD_HASH and another MARIADB_ROOT_PASSWORD* option.'
    elif [ -n "$MARIADB_PASSWORD" ] && [ -n "$MARIADB_PASSWORD_HASH" ]; then
        die 'Cannot specify MARIADB_PASSWORD_HASH and MARIADB_PASSWORD option.'
    fi
}

# Runs SQL from stdin as root@localhost, over the socket, in MARIADB_DATABASE where there is one.
docker_process_sql() {
    local password="$MARIADB_ROOT_PASSWORD" database=()
    if [ "$1" = --dont-use-mysql-root-password ]; then
        password=''
        shift
    fi
    [ -z "$MYSQL_DATABASE" ] || database=(--database="$MYSQL_DATABASE")
    MYSQL_PWD="$password" mariadb --protocol=socket --user=root --host=localhost --socket="$SOCKET" "${database[@]}" "$@"
}

# As a word of SQL between single quotes.
quoted() {
    local text="$1"
    text="${text//\\/\\\\}"
    text="${text//\'/\\\'}"
    printf "'%s'" "$text"
}

random_password() {
    head -c 24 /dev/urandom | base64 -w0 | tr '+/' '-_'
}

# The accounts, databases and rights that the variables ask for.
first_accounts() {
    printf '%s;\n' 'SET SESSION sql_log_bin = 0' "SET SESSION sql_mode = REPLACE(@@sql_mode, 'NO_BACKSLASH_ESCAPES', '')" \
        "DROP USER IF EXISTS root@'127.0.0.1', root@'::1'" "EXECUTE IMMEDIATE CONCAT('DROP USER IF EXISTS root@', QUOTE(@@hostname))"
    # A hash nobody has the password of would shut us out: root@localhost gets it after the first-start files.
    [ -n "$MARIADB_ROOT_PASSWORD_HASH" ] || printf '%s;\n' "SET PASSWORD FOR root@localhost = PASSWORD($(quoted "$MARIADB_ROOT_PASSWORD"))"
    if [ "$MARIADB_ROOT_HOST" != localhost ] && [ -n "$MARIADB_ROOT_HOST" ]; then
        local root by
        root="root@$(quoted "$MARIADB_ROOT_HOST")"
        if [ -n "$MARIADB_ROOT_PASSWORD_HASH" ]; then
            by="PASSWORD $(quoted "$MARIADB_ROOT_PASSWORD_HASH")"
        else
            by="$(quoted "$MARIADB_ROOT_PASSWORD")"
        fi
        printf '%s;\n' "CREATE USER $root IDENTIFIED BY $by" "GRANT ALL ON *.* TO $root WITH GRANT OPTION" \
            "GRANT PROXY ON ''@'%' TO $root WITH GRANT OPTION"
    fi
    local secret host
    secret="$(random_password)"
    for host in 127.0.0.1 ::1 localhost; do
        printf '%s;\n' "CREATE USER healthcheck@'$host' IDENTIFIED BY '$secret'"
    done
    (umask 077; printf '[mariadb-client]\nport=%s\nsocket=%s\nuser=healthcheck\npassword=%s\nprotocol=tcp\n' "$PORT" "$SOCKET" "$secret" > "$DATADIR/.my-healthcheck.cnf")
    [ -z "$MARIADB_DATABASE" ] || printf 'CREATE DATABASE IF NOT EXISTS `%s`;\n' "$MARIADB_DATABASE"
    if [ -n "$MARIADB_USER" ] && [ -n "$MARIADB_PASSWORD$MARIADB_PASSWORD_HASH" ]; then
        local user
        user="$(quoted "$MARIADB_USER")@'%'"
        if [ -n "$MARIADB_PASSWORD_HASH" ]; then
            printf '%s;\n' "CREATE USER $user IDENTIFIED BY PASSWORD $(quoted "$MARIADB_PASSWORD_HASH")"
        else
            printf '%s;\n' "CREATE USER $user IDENTIFIED BY $(quoted "$MARIADB_PASSWORD")"
        fi
        [ -z "$MARIADB_DATABASE" ] || printf 'GRANT ALL ON `%s`.* TO %s;\n' "${MARIADB_DATABASE//_/\\_}" "$user"
    fi
}

run_first_start_files() {
    mysql=(docker_process_sql)
    local file
    for file; do
        case "$file" in
            *.sh | *.sql | *.sql.gz | *.sql.xz | *.sql.zst) note "$0: running $file" ;;
            *) note "$0: ignoring $file" ;;
        esac
        case "$file" in
            *.sh) if [ -x "$file" ]; then "$file"; else . "$file"; fi ;;
            *.sql) docker_process_sql < "$file" ;;
            *.sql.gz) gunzip -c "$file" | docker_process_sql ;;
            *.sql.xz) xzcat "$file" | docker_process_sql ;;
            *.sql.zst) zstd -dc "$file" | docker_process_sql ;;
        esac
    done
}

first_start() {
    check_passwords
    ls /docker-entrypoint-initdb.d/ > /dev/null # not readable: say so before there are half the tables
    note 'Initializing database files'
    # mariadb-install-db falls over an argument with a space in it.
    local argument arguments=()
    for argument in "${@:2}"; do
        [[ "$argument" =~ [[:space:]] ]] || arguments+=("$argument")
    done
    mariadb-install-db --datadir="$DATADIR" --rpm --auth-root-authentication-method=normal --skip-test-db "${arguments[@]}" \
        --old-mode=UTF8_IS_UTF8MB3 --default-time-zone=SYSTEM --enforce-storage-engine= --skip-log-bin --expire-logs-days=0 \
        --loose-innodb_buffer_pool_load_at_startup=0 --loose-innodb_buffer_pool_dump_at_shutdown=0 > /dev/null

    note 'Starting temporary server'
    "$@" --skip-networking --default-time-zone=SYSTEM --socket="$SOCKET" --wsrep_on=OFF --expire-logs-days=0 \
        --loose-innodb_buffer_pool_load_at_startup=0 &
    local server=$! tries=0
    until docker_process_sql --dont-use-mysql-root-password --database=mysql <<< 'SELECT 1' &> /dev/null; do
        kill -0 "$server" 2> /dev/null && [ "$tries" -lt 300 ] || die 'Unable to start server.'
        tries=$((tries + 1))
        sleep 0.1
    done

    if [ -z "$MARIADB_INITDB_SKIP_TZINFO" ]; then
        mariadb-tzinfo-to-sql --skip-write-binlog /usr/share/zoneinfo 2> /dev/null \
            | docker_process_sql --dont-use-mysql-root-password --database=mysql
    fi
    if [ -n "$MARIADB_RANDOM_ROOT_PASSWORD" ]; then
        MARIADB_ROOT_PASSWORD="$(random_password)"
        export MARIADB_ROOT_PASSWORD MYSQL_ROOT_PASSWORD="$MARIADB_ROOT_PASSWORD"
        note "GENERATED ROOT PASSWORD: $MARIADB_ROOT_PASSWORD"
    fi
    first_accounts | docker_process_sql --dont-use-mysql-root-password --database=mysql --binary-mode
    run_first_start_files /docker-entrypoint-initdb.d/*
    if [ -n "$MARIADB_ROOT_PASSWORD_HASH" ]; then
        note 'Setting root@localhost password hash'
        printf '%s;\n' 'SET SESSION sql_log_bin = 0' "SET PASSWORD FOR root@localhost = $(quoted "$MARIADB_ROOT_PASSWORD_HASH")" \
            | docker_process_sql --dont-use-mysql-root-password --binary-mode
    fi
    note 'Stopping temporary server'
    kill "$server"
    wait "$server"
    note 'MariaDB init process done. Ready for start up.'
}

only_tells() {
    local word
    for word; do
        case "$word" in '-?' | --help | --print-defaults | -V | --version) return 0 ;; esac
    done
    return 1
}

if [ "${1:0:1}" = - ]; then
    set -- mariadbd "$@"
fi
if [ "$1" = mariadbd ] || [ "$1" = mysqld ]; then
    if ! only_tells "$@"; then
        read_settings "$@"
        read_environment
        prepare_folders
        if [ "$(id -u)" = 0 ]; then
            HOME=/var/lib/mysql exec setpriv --reuid=mysql --regid=mysql --init-groups -- "$0" "$@"
        fi
        [ -d "$DATADIR/mysql" ] || first_start "$@"
    fi
fi
exec "$@"
