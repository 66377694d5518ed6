#!/usr/bin/env bash
# Start of a PostgreSQL container: on an empty data folder make the cluster, run the first-start files on a server that
# listens on its socket only, then become the server. Behaves as the official image: POSTGRES_USER, POSTGRES_PASSWORD,
# POSTGRES_DB, POSTGRES_INITDB_ARGS (each also as NAME_FILE), POSTGRES_INITDB_WALDIR, POSTGRES_HOST_AUTH_METHOD, PGDATA, and
# files in /docker-entrypoint-initdb.d. Scripts that are sourced there may use `file_env`, `docker_process_sql` and "${psql[@]}".
set -Eeo pipefail

die() {
    printf 'error: %s\n' "$@" >&2
    exit 1
}

# file_env NAME [DEFAULT]: exports NAME from itself, from the file NAME_FILE, or from the default.
file_env() {
    local name="$1" file="${1}_FILE" value="${2:-}"
    if [ -n "${!name:-}" ] && [ -n "${!file:-}" ]; then
        die "both $name and $file are set, and only one of them may be"
    elif [ -n "${!name:-}" ]; then
        value="${!name}"
    elif [ -n "${!file:-}" ]; then
        value="$(< "${!file}")"
    fi
    export "$name=$value"
    unset "$file"
}

# Runs SQL from stdin or `-f FILE` as the superuser, over the socket; the first error ends it.
docker_process_sql() {
    local database=()
    [ -z "${POSTGRES_DB:-}" ] || database=(--dbname "$POSTGRES_DB")
    PGHOST='' PGHOSTADDR='' psql -v ON_ERROR_STOP=1 --no-psqlrc --no-password --username "$POSTGRES_USER" "${database[@]}" "$@"
}

read_environment() {
    file_env POSTGRES_PASSWORD
    file_env POSTGRES_USER postgres
    file_env POSTGRES_DB "$POSTGRES_USER"
    file_env POSTGRES_INITDB_ARGS
}

# Folders exist and, when started as root, belong to the user `postgres`.
prepare_folders() {
    local folders=("$PGDATA" /var/run/postgresql) folder
    mkdir -p "$PGDATA" /var/run/postgresql || :
    chmod 0700 "$PGDATA" || :
    chmod 3775 /var/run/postgresql || :
    if [ -n "${POSTGRES_INITDB_WALDIR:-}" ]; then
        mkdir -p "$POSTGRES_INITDB_WALDIR"
        chmod 0700 "$POSTGRES_INITDB_WALDIR"
        folders+=("$POSTGRES_INITDB_WALDIR")
    fi
    [ "$(id -u)" = 0 ] || return 0
    for folder in "${folders[@]}"; do
        find "$folder" ! -user postgres -exec chown postgres '{}' +
    done
}

check_password() {
    if [ "${POSTGRES_HOST_AUTH_METHOD:-}" = trust ]; then
        printf 'WARNING: POSTGRES_HOST_AUTH_METHOD=trust lets anybody who reaches the port in without a password.\n' >&2
    elif [ -z "$POSTGRES_PASSWORD" ]; then
        die 'Database is uninitialized and superuser password is not specified.' \
            'Set POSTGRES_PASSWORD to a non-empty value, or POSTGRES_HOST_AUTH_METHOD=trust (not recommended).'
    fi
}

make_cluster() {
    # A uid without a name (`docker run --user 1234`): initdb wants one, nss_wrapper lends it.
    local library lent=''
    if ! getent passwd "$(id -u)" > /dev/null; then
        for library in /usr/lib/*/libnss_wrapper.so /usr/lib/libnss_wrapper.so; do
            [ -s "$library" ] || continue
            lent="$(mktemp -d)"
            printf 'postgres:x:%s:%s:PostgreSQL:%s:/bin/false\n' "$(id -u)" "$(id -g)" "$PGDATA" > "$lent/passwd"
            printf 'postgres:x:%s:\n' "$(id -g)" > "$lent/group"
            export LD_PRELOAD="$library" NSS_WRAPPER_PASSWD="$lent/passwd" NSS_WRAPPER_GROUP="$lent/group"
            break
        done
    fi
    local more=()
    [ -z "${POSTGRES_INITDB_WALDIR:-}" ] || more=(--waldir "$POSTGRES_INITDB_WALDIR")
    # POSTGRES_INITDB_ARGS is a line of shell words, as in the official image.
    eval 'initdb --username="$POSTGRES_USER" --pwfile=<(printf "%s\n" "$POSTGRES_PASSWORD") "${more[@]}" '"$POSTGRES_INITDB_ARGS"
    if [ -n "$lent" ]; then
        unset LD_PRELOAD NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP
        rm -r "$lent"
    fi
}

# Lets remote clients in, by the method of the server's password encryption unless said otherwise.
allow_remote() {
    local method="${POSTGRES_HOST_AUTH_METHOD:-}"
    [ -n "$method" ] || method="$(postgres -C password_encryption "$@")"
    printf '\nhost all all all %s\n' "$method" >> "$PGDATA/pg_hba.conf"
}

make_database() {
    local there
    there="$(POSTGRES_DB='' docker_process_sql --dbname postgres --set db="$POSTGRES_DB" --tuples-only \
        <<< "SELECT 1 FROM pg_database WHERE datname = :'db'")"
    [ -n "$there" ] || POSTGRES_DB='' docker_process_sql --dbname postgres --set db="$POSTGRES_DB" <<< 'CREATE DATABASE :"db"'
}

run_first_start_files() {
    psql=(docker_process_sql)
    local file
    for file; do
        case "$file" in
            *.sh | *.sql | *.sql.gz | *.sql.xz | *.sql.zst) printf '%s: running %s\n' "$0" "$file" ;;
            *) printf '%s: ignoring %s\n' "$0" "$file" ;;
        esac
        case "$file" in
            *.sh) if [ -x "$file" ]; then "$file"; else . "$file"; fi ;;
            *.sql) docker_process_sql -f "$file" ;;
            *.sql.gz) gunzip -c "$file" | docker_process_sql ;;
            *.sql.xz) xzcat "$file" | docker_process_sql ;;
            *.sql.zst) zstd -dc "$file" | docker_process_sql ;;
        esac
    done
}

first_start() {
    check_password
    ls /docker-entrypoint-initdb.d/ > /dev/null # not readable: say so before there is half a cluster
    make_cluster
    allow_remote "${@:2}"
    export PGPASSWORD="${PGPASSWORD:-$POSTGRES_PASSWORD}"
    PGUSER="${PGUSER:-$POSTGRES_USER}" pg_ctl -D "$PGDATA" -w start \
        -o "$(printf '%q ' "${@:2}" -c listen_addresses= -p "${PGPORT:-5432}")"
    make_database
    run_first_start_files /docker-entrypoint-initdb.d/*
    PGUSER="${PGUSER:-postgres}" pg_ctl -D "$PGDATA" -m fast -w stop
    unset PGPASSWORD
    printf '\nPostgreSQL init process complete; ready for start up.\n\n'
}

only_tells() {
    local word
    for word; do
        case "$word" in '-?' | --help | --describe-config | -V | --version) return 0 ;; esac
    done
    return 1
}

if [ "${1:0:1}" = - ]; then
    set -- postgres "$@"
fi
if [ "$1" = postgres ] && ! only_tells "$@"; then
    read_environment
    prepare_folders
    if [ "$(id -u)" = 0 ]; then
        HOME=/var/lib/postgresql exec setpriv --reuid=postgres --regid=postgres --init-groups -- "$0" "$@"
    fi
    if [ -s "$PGDATA/PG_VERSION" ]; then
        printf '\nPostgreSQL Database directory appears to contain a database; Skipping initialization\n\n'
    else
        first_start "$@"
    fi
fi
exec "$@"
