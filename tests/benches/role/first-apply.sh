# The role set up by hand, in one script: what somebody would write who knows that the server has nothing of it yet, and who wants
# files that are never torn.
set -eu
umask 077
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
main() {
    apt-get -qq -y --no-install-recommends install postgresql-15 mariadb-server nginx-light cron logrotate rsync git python3-venv htop less vim-tiny jq unzip curl sudo procps iproute2 ca-certificates openssh-server dbus < /dev/null > /dev/null
    groupadd --system iact
    useradd --system --gid iact --home-dir /srv/iact --no-create-home --shell /usr/sbin/nologin iact
    usermod --append --groups iact --shell /bin/bash deploy
    install -d -m 700 -o deploy -g deploy ~deploy/.ssh
    put ~deploy/.ssh/authorized_keys deploy:deploy 600 <<END
$KEY
END
    install -d -m 750 -o iact -g iact /srv/iact /srv/iact/current /srv/iact/shared /var/log/iact
    install -d -m 750 -o root -g iact /etc/iact
    install -d -m 750 -o postgres -g iact /var/backups/iact
    put /etc/iact/iact.env root:root 640 <<'END'
DJANGO_SETTINGS_MODULE=iact.settings.production
DATABASE_URL=postgres://django_user@127.0.0.1:5432/iact_analytics
IVR_DATABASE_URL=mysql://django_user@127.0.0.1:3306/iact_ivr
ALLOWED_HOSTS=iact.example.com
WORKERS=4
END
    put /etc/systemd/system/iact-django.service root:root 644 <<'END'
[Unit]
Description=IACT Django application
After=network.target postgresql.service mariadb.service

[Service]
User=iact
Group=iact
WorkingDirectory=/srv/iact/current
EnvironmentFile=/etc/iact/iact.env
ExecStart=/usr/bin/python3 -m http.server 8000
Restart=on-failure

[Install]
WantedBy=multi-user.target
END
    put /etc/nginx/conf.d/iact.conf root:root 644 <<'END'
upstream iact { server 127.0.0.1:8000; }
server {
  listen 8080;
  server_name iact.example.com;
  location / { proxy_pass http://iact; }
}
END
    put /etc/postgresql/15/main/conf.d/iact.conf root:root 644 <<'END'
listen_addresses = '127.0.0.1'
max_connections = 100
shared_buffers = '64MB'
END
    put /etc/mysql/mariadb.conf.d/90-iact.cnf root:root 644 <<'END'
[mysqld]
bind-address = 127.0.0.1
max_connections = 100
character-set-server = utf8mb4
END
    put /etc/logrotate.d/iact root:root 644 <<'END'
/var/log/iact/*.log { daily rotate 14 compress missingok notifempty }
END
    put /etc/cron.d/iact-backup root:root 644 <<'END'
15 2 * * * postgres pg_dump -Fc iact_analytics > /var/backups/iact/iact_analytics.dump
END
    put /etc/motd root:root 644 <<'END'
Managed server iact.example.com. Changes by hand are drift.
END
    systemctl daemon-reload
    systemctl -q enable --now postgresql.service mariadb.service nginx.service cron.service iact-django.service 2> /dev/null
    until runuser -u postgres -- psql -XAtqc 'select 1' > /dev/null 2>&1; do sleep 0.1; done
    runuser -u postgres -- psql -XAtq -v ON_ERROR_STOP=1 <<'END'
CREATE ROLE django_user LOGIN PASSWORD 'django-bench-pass';
CREATE ROLE reporting LOGIN PASSWORD 'reporting-bench-pass';
CREATE ROLE etl LOGIN PASSWORD 'etl-bench-pass';
CREATE DATABASE iact_analytics OWNER django_user ENCODING 'UTF8' TEMPLATE template0;
CREATE DATABASE iact_staging OWNER django_user ENCODING 'UTF8' TEMPLATE template0;
GRANT CONNECT ON DATABASE iact_analytics TO reporting, etl;
END
    mariadb <<'END'
CREATE DATABASE iact_ivr CHARACTER SET utf8mb4;
CREATE DATABASE iact_ivr_staging CHARACTER SET utf8mb4;
CREATE USER django_user@localhost IDENTIFIED BY 'django-bench-pass';
CREATE USER reporting@localhost IDENTIFIED BY 'reporting-bench-pass';
CREATE USER etl@localhost IDENTIFIED BY 'etl-bench-pass';
GRANT ALL ON `iact\_ivr`.* TO django_user@localhost;
GRANT SELECT ON `iact\_ivr`.* TO reporting@localhost;
GRANT SELECT, INSERT, UPDATE ON `iact\_ivr`.* TO etl@localhost;
END
}
# put PATH OWNER MODE: its stdin becomes the file, old or new and never torn.
put() {
    draft=$(mktemp "$1.XXXXXX")
    cat > "$draft"
    chown "$2" "$draft"
    chmod "$3" "$draft"
    sync "$draft"
    mv -f "$draft" "$1"
}
main
