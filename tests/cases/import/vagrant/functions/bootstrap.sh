#!/bin/bash
install_postgres() {
  apt-get install -y postgresql-14
  for db in one two; do
    sudo -u postgres createdb "$db"
  done
}
function log {
  echo "$1"
}
log "start"
install_postgres
VERSION=$(psql --version | cut -d' ' -f3)
echo "port = 5432" | tee -a "/etc/postgresql/$VERSION/main/postgresql.conf"
case "$1" in
  a) echo a ;;
esac
useradd -m deploy
echo "0 3 * * * root /usr/local/bin/backup" > /etc/cron.d/backup
frobnicate --all
