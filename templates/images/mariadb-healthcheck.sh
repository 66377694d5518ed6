#!/bin/bash
# healthcheck.sh [--connect] [--innodb_initialized]: whether the server lets somebody in over TCP, and its tables are open.
# Logs in as `healthcheck`, an account without rights that was made at the first start.
set -eo pipefail

[ "$#" -gt 0 ] || { echo 'At least one test is needed: --connect, --innodb_initialized' >&2; exit 1; }
datadir="${DATADIR:-/var/lib/mysql}"

ask() {
    mariadb --defaults-extra-file="$datadir/.my-healthcheck.cnf" --host=127.0.0.1 --protocol=tcp --skip-column-names --batch -e "$1"
}

for test; do
    case "$test" in
        --connect) ask 'SELECT 1' > /dev/null ;;
        --innodb_initialized) [ "$(ask "SELECT 1 FROM information_schema.ENGINES WHERE engine = 'innodb' AND support IN ('YES', 'DEFAULT', 'ENABLED')")" = 1 ] ;;
        *) echo "Not a test of this image: $test" >&2; exit 1 ;;
    esac
done
