#!/usr/bin/env bash
# sqlparse 0.6.1: `split` cuts a stored procedure of MariaDB or MySQL at `END REPEAT;`, and a trigger whose body is a bare IF.
#
# Expected: loops of stored programs are kept together, as WHILE, LOOP, FOR and IF inside BEGIN ... END are (shown below), so that
#   one CREATE is one statement. MariaDB 10.11.19 accepts both definitions below when the client's DELIMITER is another one.
# Happened: REPEAT opens no level and its END closes one, so the procedure ends early; a compound IF without BEGIN around it is not
#   known at all. Each is three pieces, none of which is valid.
# Why it matters: Django feeds `RunSQL` strings to MariaDB and MySQL in these pieces (`BaseDatabaseOperations.prepare_sql_script`),
#   and MariaDB has no transactional DDL, so the migration stops half done with a syntax error about a definition that is right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check sqlparse==0.6.1

cat > "$folder/run.py" <<'PY'
import sqlparse

DEFINITIONS = {
    "while": "CREATE PROCEDURE p() BEGIN DECLARE i INT DEFAULT 0; WHILE i < 3 DO SET i = i + 1; END WHILE; SELECT i; END;",
    "repeat": "CREATE PROCEDURE p() BEGIN DECLARE i INT DEFAULT 0; REPEAT SET i = i + 1; UNTIL i >= 3 END REPEAT; SELECT i; END;",
    "if in begin": "CREATE TRIGGER t BEFORE INSERT ON o FOR EACH ROW BEGIN IF NEW.a IS NULL THEN SET NEW.a = 1; END IF; END;",
    "bare if": "CREATE TRIGGER t BEFORE INSERT ON o FOR EACH ROW IF NEW.a IS NULL THEN SET NEW.a = 1; SET NEW.b = 2; END IF;",
}
for name, definition in DEFINITIONS.items():
    print(f"{name}: {len(sqlparse.split(definition))}")
PY

seen=$("$folder/venv/bin/python" "$folder/run.py")
printf '%s\n' "$seen"
expected='while: 1
repeat: 3
if in begin: 1
bare if: 3'
[ "$seen" = "$expected" ] || { echo "It behaves otherwise now." >&2; exit 1; }
