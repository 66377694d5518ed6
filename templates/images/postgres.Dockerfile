# PostgreSQL 15 from Debian's packages, for where no registry answers. It answers to the variables, the first-start folder,
# the paths and the signals of the official image `postgres:15-bookworm`. Context: this file and postgres-entrypoint.sh.
# What makes no files comes first: some engines walk the whole image for every step.
FROM provision/debian:bookworm

ENV LANG=en_US.utf8 \
    PG_MAJOR=15 \
    PGDATA=/var/lib/postgresql/data \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/15/bin
LABEL provision.family="glibc/999/15" \
      provision.recipe="debian-packages"
EXPOSE 5432
STOPSIGNAL SIGINT
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["postgres"]

COPY postgres-entrypoint.sh /usr/local/bin/docker-entrypoint.sh

# The owner of the data has the official image's numbers, so that a volume can change hands: made before the package makes its own.
RUN set -eu; \
    chmod 0755 /usr/local/bin/docker-entrypoint.sh; \
    groupadd --system --gid 999 postgres; \
    useradd --system --gid postgres --uid 999 --home-dir /var/lib/postgresql --shell /bin/bash postgres; \
    install -d -o postgres -g postgres -m 1777 /var/lib/postgresql; \
    export DEBIAN_FRONTEND=noninteractive LANG=C.UTF-8; \
    printf '%s\n' force-unsafe-io 'path-exclude=/usr/share/doc/*' 'path-exclude=/usr/share/man/*' 'path-exclude=/usr/share/locale/*' \
        'path-include=/usr/share/doc/*/copyright' > /etc/dpkg/dpkg.cfg.d/image-build; \
    apt-get update -q; \
    apt-get install -yq --no-install-recommends less libnss-wrapper locales postgresql-common xz-utils zstd; \
    echo 'en_US.UTF-8 UTF-8' >> /etc/locale.gen; \
    locale-gen; \
    sed -ri 's/^#?create_main_cluster .*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf; \
    apt-get install -yq --no-install-recommends postgresql-15; \
    apt-get clean; \
    rm -rf /var/lib/apt/lists/* /etc/dpkg/dpkg.cfg.d/image-build; \
    sed -ri "s/^#?listen_addresses = .*/listen_addresses = '*'/" /usr/share/postgresql/15/postgresql.conf.sample; \
    grep -qx "listen_addresses = '\*'" /usr/share/postgresql/15/postgresql.conf.sample; \
    mkdir /docker-entrypoint-initdb.d; \
    install -d -o postgres -g postgres -m 3777 /var/run/postgresql; \
    install -d -o postgres -g postgres -m 1777 "$PGDATA"; \
    postgres --version

VOLUME /var/lib/postgresql/data
