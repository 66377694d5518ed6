#!/bin/sh
# The two clients that a look at both servers needs, side by side. execs.sh POSTGRES MARIADB
docker exec -u postgres "$1" psql -XAtqc 'SELECT 1' > /dev/null &
docker exec "$2" mariadb -Ne 'SELECT 1' > /dev/null &
wait
