# Python 3.11 from Debian's packages, for where no registry answers. It stands in for the official image
# `python:3.11-slim-bookworm`: `python`, `python3`, `pip` and venvs work, and pip may install into it. Context: this file.
FROM provision/debian:bookworm

ENV LANG=C.UTF-8
LABEL provision.family="glibc/0/3.11" \
      provision.recipe="debian-packages"
CMD ["python3"]

RUN set -eu; \
    export DEBIAN_FRONTEND=noninteractive; \
    printf '%s\n' force-unsafe-io 'path-exclude=/usr/share/doc/*' 'path-exclude=/usr/share/man/*' 'path-exclude=/usr/share/locale/*' \
        'path-include=/usr/share/doc/*/copyright' > /etc/dpkg/dpkg.cfg.d/image-build; \
    apt-get update -q; \
    apt-get install -yq --no-install-recommends ca-certificates netbase python-is-python3 python3 python3-pip python3-venv tzdata; \
    apt-get clean; \
    rm -rf /var/lib/apt/lists/* /etc/dpkg/dpkg.cfg.d/image-build /usr/lib/python3.11/EXTERNALLY-MANAGED; \
    python --version; \
    pip --version
