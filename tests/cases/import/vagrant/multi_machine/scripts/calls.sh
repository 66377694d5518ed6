apt install -y mariadb-server
mysql -e "CREATE DATABASE $1; CREATE USER 'app'@'localhost' IDENTIFIED BY '$2'; GRANT ALL ON $1.* TO 'app'@'localhost';"
