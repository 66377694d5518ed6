#!/usr/bin/env bash
# podman-compose 1.6.0: what `config` prints is not the same project when it is read again: each `$$` has become `$`.
#
# Expected: `config` prints a Compose file, as Docker Compose's does: `$$`, the spec's way to write a dollar sign, stays `$$`, so
#   the output can be stored, reviewed and started.
# Happened: values are printed after interpolation and not escaped again. Read once more, `$2y$05$abc` loses `$abc` (no such
#   variable, no message), and a `${HOME}` meant for the container's shell becomes the home of whoever ran the command.
# Why it matters: people keep the resolved file as the record of a release, or feed it to another tool. A password hash in it is
#   another one, and the login fails without any error of Compose.
#
# `config` asks podman only for its version; a stand-in answers that.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check podman-compose==1.6.0

mkdir "$folder/bin"
printf '#!/bin/sh\necho "podman version 5.0.0"\n' > "$folder/bin/podman"
chmod +x "$folder/bin/podman"
export PATH="$folder/bin:$PATH" HOME=/home/operator

cat > "$folder/compose.yml" <<'YAML'
services:
  web:
    image: web
    environment:
      HASH: "$$2y$$05$$abc"
    command: ["sh", "-c", "echo $${HOME}"]
YAML

config() { "$folder/venv/bin/podman-compose" -f "$1" config 2> /dev/null; }
values() { grep -E 'HASH|echo' "$1" | sed 's/^ *//'; }
config "$folder/compose.yml" > "$folder/once.yml"
config "$folder/once.yml" > "$folder/twice.yml"
seen=$(echo "once:" && values "$folder/once.yml" && echo "twice:" && values "$folder/twice.yml")
printf '%s\n' "$seen"
# shellcheck disable=SC2016
expected='once:
- echo ${HOME}
HASH: $2y$05$abc
twice:
- echo /home/operator
HASH: $2y$05'
[ "$seen" = "$expected" ] || { echo "It behaves otherwise now." >&2; exit 1; }
