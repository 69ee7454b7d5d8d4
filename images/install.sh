#!/bin/sh
# install.sh LOCK...: installs requirements/LOCK.txt into /opt/venv, inside a build.
# A lock names every package with its hash, so nothing is resolved; a CA bundle and a pip configuration may be mounted.
set -eu
[ ! -s /run/secrets/ca ] || export PIP_CERT=/run/secrets/ca
[ ! -s /run/secrets/pip ] || export PIP_CONFIG_FILE=/run/secrets/pip
for lock in "$@"; do
    /mnt/bin/python -m pip --python /opt/venv/bin/python --disable-pip-version-check --no-color install --progress-bar off \
        --no-deps --require-hashes --requirement "/opt/venv/requirements/$lock.txt"
done
