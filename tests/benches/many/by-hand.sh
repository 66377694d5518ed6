#!/bin/sh
# What somebody would do by hand: the server's first start with a file of SQL, until it answers over its network address.
# by-hand.sh CONTAINER FILE
set -eu
docker run -d --name "$1" -e POSTGRES_HOST_AUTH_METHOD=scram-sha-256 -e POSTGRES_PASSWORD=bench \
    -v "$2:/docker-entrypoint-initdb.d/10-by-hand.sql:ro" postgres:15-bookworm > /dev/null
until docker exec "$1" pg_isready -q -h 127.0.0.1; do sleep 0.1; done
