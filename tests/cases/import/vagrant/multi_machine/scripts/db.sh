#!/bin/sh
NAME=$1
PASSWORD="${2:-none}"
apt-get install -y postgresql-15
psql -U postgres -c "CREATE USER ${NAME}_user PASSWORD '$PASSWORD'"
psql -U postgres -c "CREATE DATABASE $NAME OWNER ${NAME}_user"
