#!/usr/bin/env bash
# pyinfra 3.10.0: rights of MySQL and MariaDB users are not seen where a database has a digit or a capital in its name, or a user a dot.
#
# Expected: the fact `MysqlUserGrants`, which `mysql.privileges` compares with what is asked for, returns what `SHOW GRANTS` says.
# Happened: lines are matched by a pattern that allows a-z and `_` in names of databases and tables, and no dot in names of users;
#   lines that do not match are left out without a word. (The lines below are MariaDB 10.11.19's answers, the line with the hash left out.)
# Why it matters: for `shop2024` the operation sees no rights at all. It grants again in each run, never reports that all is well,
#   and never revokes a right that should not be there.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pyinfra==3.10.0

cat > "$folder/read.py" <<'PY'
from pyinfra.facts.mysql import MysqlUserGrants

ANSWERS = [
    "GRANT SELECT ON `shop`.* TO `app`@`%`",
    "GRANT SELECT, DROP ON `shop2024`.* TO `app`@`%`",
    "GRANT ALL PRIVILEGES ON `Shop`.* TO `app`@`%`",
    "GRANT SELECT ON `shop`.`order_2` TO `app`@`%`",
    "GRANT SELECT ON `shop`.* TO `ana.gomez`@`%`",
]
for answer in ANSWERS:
    print(answer, "->", {name: sorted(rights) for name, rights in MysqlUserGrants().process([answer]).items()})
PY

seen=$("$folder/venv/bin/python" "$folder/read.py")
printf '%s\n' "$seen"
expected=$(cat <<'SEEN'
GRANT SELECT ON `shop`.* TO `app`@`%` -> {'`shop`.*': ['SELECT']}
GRANT SELECT, DROP ON `shop2024`.* TO `app`@`%` -> {}
GRANT ALL PRIVILEGES ON `Shop`.* TO `app`@`%` -> {}
GRANT SELECT ON `shop`.`order_2` TO `app`@`%` -> {}
GRANT SELECT ON `shop`.* TO `ana.gomez`@`%` -> {}
SEEN
)
[ "$seen" = "$expected" ] || { echo "It behaves otherwise now." >&2; exit 1; }
