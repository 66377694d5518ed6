#!/usr/bin/env bash
# PyMySQL 1.2.4 reads a my.cnf otherwise than MariaDB's own programs do.
#
# Expected: `read_default_file` gives what `mariadb` itself takes from the same file. MariaDB documents for option files that
#   backslash sequences in values mean characters (`\\` is one backslash, `\s` is a space) and that a `#` behind a value starts a
#   comment. `my_print_defaults` of MariaDB 10.11.19 printed for the file below: a\b, `a b`, x.
# Happened: PyMySQL parses it with Python's configparser and only takes a pair of quotes off. Backslash sequences stay as they
#   are written, and the comment becomes part of the password.
# Why it matters: one file for the `mariadb` client, cron jobs and a Django application (through PyMySQL) is usual. The password
#   works in all of them but one, where the message is "Access denied", which sends people to look at the account.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check PyMySQL==1.2.4

cat > "$folder/my.cnf" <<'CNF'
[backslash]
password = "a\\b"
[space]
password = a\sb
[comment]
password = x # set on 2026-03-01
CNF

cat > "$folder/read.py" <<'PY'
import sys
from pymysql.optionfile import Parser

parser = Parser()
parser.read(sys.argv[1])
for section in ("backslash", "space", "comment"):
    print(f"{section}: {parser.get(section, 'password')}")
PY

seen=$("$folder/venv/bin/python" "$folder/read.py" "$folder/my.cnf")
printf '%s\n' "$seen"
expected='backslash: a\\b
space: a\sb
comment: x # set on 2026-03-01'
[ "$seen" = "$expected" ] || { echo "It behaves otherwise now." >&2; exit 1; }
