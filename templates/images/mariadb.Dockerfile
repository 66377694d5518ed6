# MariaDB 10.11 from Debian's packages, for where no registry answers. It answers to the variables, the first-start folder and
# the paths of the official image `mariadb:10.11`. Context: this file, mariadb-entrypoint.sh and mariadb-healthcheck.sh.
# What makes no files comes first: some engines walk the whole image for every step.
FROM provision/debian:bookworm

ENV LANG=C.UTF-8
LABEL provision.family="glibc/999/10.11" \
      provision.recipe="debian-packages"
EXPOSE 3306
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["mariadbd"]

COPY mariadb-entrypoint.sh mariadb-healthcheck.sh /usr/local/bin/

# The owner of the data has the official image's numbers, so that a volume can change hands: made before the package makes its own.
RUN set -eu; \
    mv /usr/local/bin/mariadb-entrypoint.sh /usr/local/bin/docker-entrypoint.sh; \
    mv /usr/local/bin/mariadb-healthcheck.sh /usr/local/bin/healthcheck.sh; \
    chmod 0755 /usr/local/bin/docker-entrypoint.sh /usr/local/bin/healthcheck.sh; \
    groupadd --system --gid 999 mysql; \
    useradd --system --gid mysql --uid 999 --home-dir /var/lib/mysql mysql; \
    export DEBIAN_FRONTEND=noninteractive; \
    printf '%s\n' force-unsafe-io 'path-exclude=/usr/share/doc/*' 'path-exclude=/usr/share/man/*' 'path-exclude=/usr/share/locale/*' \
        'path-include=/usr/share/doc/*/copyright' > /etc/dpkg/dpkg.cfg.d/image-build; \
    apt-get update -q; \
    apt-get install -yq --no-install-recommends mariadb-backup mariadb-server tzdata xz-utils zstd; \
    apt-get clean; \
    rm -rf /var/lib/apt/lists/* /etc/dpkg/dpkg.cfg.d/image-build /var/lib/mysql; \
    install -d -o mysql -g mysql /var/lib/mysql; \
    install -d -o mysql -g mysql -m 0777 /var/run/mysqld; \
    mkdir /docker-entrypoint-initdb.d; \
    find /etc/mysql -name '*.cnf' -type f -exec sed -Ei 's/^(bind-address|log|user\s)/#&/' '{}' +; \
    printf '[mariadb]\nhost-cache-size=0\nskip-name-resolve\n' > /etc/mysql/mariadb.conf.d/05-skipcache.cnf; \
    sed -i '/^!includedir/d' /etc/mysql/mariadb.cnf; \
    printf '!includedir /etc/mysql/mariadb.conf.d/\n!includedir /etc/mysql/conf.d/\n' >> /etc/mysql/mariadb.cnf; \
    mariadbd --version

VOLUME /var/lib/mysql
