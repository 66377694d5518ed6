#!/usr/bin/env bash
# Django 5.2.19 with sqlparse 0.6.1: `migrations.RunSQL("...")` on MariaDB and MySQL cuts a line at `--`, also where that is arithmetic.
#
# Expected: in MariaDB and MySQL `--` starts a comment only where white space follows; `n--1` is n minus minus one (MariaDB 10.11.19
#   answers 6 to SELECT 5--1). Both document this as their difference from standard SQL.
# Happened: sqlparse, which Django uses to strip comments from a script for these databases, takes everything behind `--` for a
#   comment. The WHERE of an UPDATE on the same line goes with it, and the statement that is left is valid.
# Why it matters: a data migration with `balance--1 WHERE ...` (generated from a template with a negative value, say) changes all
#   rows instead of one, with exit 0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check Django==5.2.19 sqlparse==0.6.1 PyMySQL==1.2.4

cat > "$folder/run.py" <<'PY'
import pymysql

pymysql.install_as_MySQLdb()
pymysql.version_info = (2, 2, 7, "final", 0)  # the version of mysqlclient that Django wants; nothing is connected to
import django
from django.conf import settings

settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.mysql", "NAME": "x"}})
django.setup()
from django.db import connection

for script in ("UPDATE account SET balance = balance--1 WHERE id = 7;", "UPDATE account SET balance = balance - -1 WHERE id = 7;"):
    print(connection.ops.prepare_sql_script(script))
PY

seen=$("$folder/venv/bin/python" "$folder/run.py")
printf '%s\n' "$seen"
expected="['UPDATE account SET balance = balance']
['UPDATE account SET balance = balance - -1 WHERE id = 7;']"
[ "$seen" = "$expected" ] || { echo "It behaves otherwise now." >&2; exit 1; }
