#!/usr/bin/env bash
# pyinfra 3.10.0: `crontab.crontab` removes or overwrites every job whose line contains the command it was asked for.
#
# Expected: the operation finds a job by its whole command (its fact compares commands for equality), so it changes or removes that
#   job and no other.
# Happened: having found it, it edits the table with sed and the pattern `.*COMMAND.*`. With `present=False` for /usr/local/bin/backup
#   the weekly `backup --full` and the `backup-check` go, too; with another time for it, both lines become the same new job. The result
#   says one success, as for one line.
# Why it matters: variants of one command in one table are what crontabs look like. The lost job does not fail, it just no longer runs.
#
# `crontab` is a stand-in here that keeps the table in a file; pyinfra runs on this machine (`@local`).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pyinfra==3.10.0

mkdir "$folder/bin"
cat > "$folder/bin/crontab" <<'SH'
#!/bin/sh
case $1 in
-l) cat "$TABLE" ;;
*) cat "$1" > "$TABLE" ;;
esac
SH
chmod +x "$folder/bin/crontab"
export TABLE="$folder/table" PATH="$folder/bin:$PATH"

run() {
    printf 'from pyinfra.operations import crontab\ncrontab.crontab(command="/usr/local/bin/backup", %s)\n' "$1" > "$folder/deploy.py"
    printf '%s\n' '0 2 * * * /usr/local/bin/backup' '0 3 * * 0 /usr/local/bin/backup --full' '0 4 * * * /usr/local/bin/backup-check' > "$TABLE"
    (cd "$folder" && "$folder/venv/bin/pyinfra" -y @local deploy.py > log 2>&1) || { cat "$folder/log" >&2; exit 1; }
    echo "$1:"
    sed 's/^/  /' "$TABLE"
}
seen=$(run 'present=False' && run 'hour=1, minute=30')
printf '%s\n' "$seen"
expected='present=False:
hour=1, minute=30:
  30 1 * * * /usr/local/bin/backup
  30 1 * * * /usr/local/bin/backup
  30 1 * * * /usr/local/bin/backup'
[ "$seen" = "$expected" ] || { echo "It behaves otherwise now." >&2; exit 1; }
