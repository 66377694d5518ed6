#!/bin/bash
debconf-set-selections <<< "mariadb-server mysql-server/root_password password hunter2"
apt-get -y install mariadb-server
mysql -uroot -phunter2 -e "CREATE DATABASE IF NOT EXISTS \`$1\` DEFAULT CHARACTER SET utf8mb4"
mysql -uroot -phunter2 -e "GRANT ALL PRIVILEGES ON $1.* TO 'shop'@'%' IDENTIFIED BY '$2' WITH GRANT OPTION; FLUSH PRIVILEGES;"
cat > /etc/mysql/mariadb.conf.d/99-local.cnf <<CNF
[mysqld]
bind-address = 0.0.0.0
max_connections = 150
character-set-server = utf8mb4
CNF
mysqladmin -u root password hunter2
crontab -l
