#!/usr/bin/env bash
# mysql-connector-python 26.10.0: in an option file, a quoted password keeps its quotes, and a name made of digits becomes a number.
#
# Expected: values of an option file are strings, and quotes around one are not part of it, as for every program of MySQL and
#   MariaDB (`my_print_defaults` of MariaDB 10.11.19 prints x#y, 2024 and 1e3 for the file below). In particular all keys of one
#   file are read by one rule.
# Happened: each value but the password goes through `ast.literal_eval`. So quotes are taken off a user and stay on a password
#   (which then is another password), the user 2024 becomes an int and the database 1e3 becomes 1000.0.
# Why it matters: a password with a `#` has to be quoted in an option file, or the rest is a comment. The `mariadb` client then
#   logs in and the application does not. Databases named after a year or a tenant's number are common.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check mysql-connector-python==26.10.0

cat > "$folder/my.cnf" <<'CNF'
[quoted]
user = "app"
password = "x#y"
[numbers]
user = 2024
database = 1e3
CNF

cat > "$folder/read.py" <<'PY'
import sys
from mysql.connector.optionfiles import read_option_files

for group in ("quoted", "numbers"):
    values = read_option_files(option_files=sys.argv[1], option_groups=[group])
    print(group, sorted(values.items()))
PY

seen=$("$folder/venv/bin/python" "$folder/read.py" "$folder/my.cnf")
printf '%s\n' "$seen"
expected="quoted [('password', '\"x#y\"'), ('user', 'app')]
numbers [('database', 1000.0), ('user', 2024)]"
[ "$seen" = "$expected" ] || { echo "It behaves otherwise now." >&2; exit 1; }
