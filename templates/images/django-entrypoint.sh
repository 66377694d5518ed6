#!/bin/sh
# Start of a Django container: migrations and static files where they are asked for, then the server given as arguments.
# PROVISION_MIGRATE=1: `manage.py migrate`. PROVISION_STATIC=1: `manage.py collectstatic`, into the STATIC_ROOT of the settings, which
# the user of the container has to be able to write: let the settings take it from DJANGO_STATIC_ROOT.
set -eu

collector=
if [ "${PROVISION_STATIC:-0}" = 1 ]; then
    # Beside the migrations, since neither needs the other and each takes a moment to start.
    python manage.py collectstatic --noinput --verbosity 0 &
    collector=$!
fi
if [ "${PROVISION_MIGRATE:-0}" = 1 ]; then
    python manage.py migrate --noinput
fi
if [ -n "$collector" ] && ! wait "$collector"; then
    echo "collectstatic failed: STATIC_ROOT must be a folder that uid $(id -u) can write, such as \$DJANGO_STATIC_ROOT (${DJANGO_STATIC_ROOT:-not set})" >&2
    exit 1
fi
exec "$@"
