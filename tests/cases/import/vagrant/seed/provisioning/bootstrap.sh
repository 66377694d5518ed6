#!/usr/bin/env bash
set -euo pipefail

export DEBIAN_FRONTEND=noninteractive
DB_USER="django_user"
DB_PASSWORD="s3cr3t_pass"
PG_VERSION=15
PG_CONF="/etc/postgresql/${PG_VERSION}/main"

echo "== PostgreSQL"
install -d /usr/share/postgresql-common/pgdg
curl -fsSL https://www.postgresql.org/media/keys/ACCC4CF8.asc -o /usr/share/postgresql-common/pgdg/apt.postgresql.org.asc
echo "deb https://apt.postgresql.org/pub/repos/apt focal-pgdg main" > /etc/apt/sources.list.d/pgdg.list
apt-get update -y
apt-get install -y postgresql-15 postgresql-contrib

if ! sudo -u postgres psql -tAc "SELECT 1 FROM pg_roles WHERE rolname='${DB_USER}'" | grep -q 1; then
  sudo -u postgres psql -c "CREATE ROLE ${DB_USER} WITH LOGIN PASSWORD '${DB_PASSWORD}';"
fi
if ! sudo -u postgres psql -tAc "SELECT 1 FROM pg_database WHERE datname='iact_analytics'" | grep -q 1; then
  sudo -u postgres createdb -O "${DB_USER}" -E UTF8 iact_analytics
fi
sudo -u postgres psql -d iact_analytics <<SQL
CREATE EXTENSION IF NOT EXISTS "uuid-ossp";
CREATE EXTENSION IF NOT EXISTS pg_trgm;
GRANT ALL PRIVILEGES ON DATABASE iact_analytics TO ${DB_USER};
SQL

sed -i "s/#listen_addresses = 'localhost'/listen_addresses = '*'/" "${PG_CONF}/postgresql.conf"
sed -i "s/^max_connections = .*/max_connections = 100/" "${PG_CONF}/postgresql.conf"
echo "host all all 0.0.0.0/0 scram-sha-256" >> "${PG_CONF}/pg_hba.conf"
systemctl restart postgresql

echo "== MariaDB"
apt-get install -y mariadb-server
mysql -u root <<EOF
CREATE DATABASE IF NOT EXISTS iact_ivr CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;
CREATE USER IF NOT EXISTS '${DB_USER}'@'%' IDENTIFIED BY '${DB_PASSWORD}';
GRANT SELECT ON iact_ivr.* TO '${DB_USER}'@'%';
FLUSH PRIVILEGES;
EOF
sed -i 's/^bind-address.*/bind-address = 0.0.0.0/' /etc/mysql/mariadb.conf.d/50-server.cnf
systemctl restart mariadb

echo "== init"
sudo -u postgres psql -d iact_analytics -f /vagrant/provisioning/sql/schema.sql
mysql iact_ivr < /vagrant/provisioning/sql/ivr.sql
fallocate -l 1G /swapfile
ufw allow 5432/tcp
