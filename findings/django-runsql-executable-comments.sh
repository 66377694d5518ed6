#!/usr/bin/env bash
# Django 5.2.19 with sqlparse 0.6.1: `migrations.RunSQL("...")` on MariaDB and MySQL removes what stands in /*! ... */.
#
# Expected: a script given to `RunSQL` as one string reaches the server as the `mariadb` client would send it. Text in /*! ... */,
#   /*!50100 ... */ and /*M!100301 ... */ is no comment there: it is SQL that only servers of that version run, and it is what
#   `mariadb-dump` writes for triggers, views and partitions.
# Happened: the backend splits the script and calls `sqlparse.format(..., strip_comments=True)` on each statement, which takes
#   these for comments. The partitions and the system versioning are gone, the trigger becomes an empty statement. No warning.
#   (Optimizer hints, /*+ ... */, stay.)
# Why it matters: a trigger or a partitioned table pasted from a dump into a migration is applied with success and is not there.
#   A list of statements (`RunSQL([...])`) is sent as it is.
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

SCRIPTS = [
    "CREATE TABLE calls (day INT) /*!50100 PARTITION BY HASH (day) PARTITIONS 4 */;",
    "CREATE TABLE rates (a INT) /*M!100301 WITH SYSTEM VERSIONING */;",
    "/*!50003 CREATE TRIGGER stamp BEFORE INSERT ON calls FOR EACH ROW SET NEW.day = 1 */;",
    "SELECT /*+ MAX_EXECUTION_TIME(1000) */ 1;",
]
for script in SCRIPTS:
    print(connection.ops.prepare_sql_script(script))
PY

seen=$("$folder/venv/bin/python" "$folder/run.py")
printf '%s\n' "$seen"
expected="['CREATE TABLE calls (day INT)  ;']
['CREATE TABLE rates (a INT)  ;']
[';']
['SELECT /*+ MAX_EXECUTION_TIME(1000) */ 1;']"
[ "$seen" = "$expected" ] || { echo "It behaves otherwise now." >&2; exit 1; }
