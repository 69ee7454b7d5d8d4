#!/usr/bin/env bash
# Makes the base image where no registry can be reached: a minimal Debian bookworm with its python3.11.
# Usage: images/base.sh NAME:TAG   (as root, for debootstrap; DOCKER names the client, MIRROR and SECURITY the archives;
# without them, debootstrap's own mirror and the archive of security updates beside it)
set -euo pipefail
name=${1:?usage: images/base.sh NAME:TAG}
docker=${DOCKER:-docker}
suite=bookworm

if ((EUID != 0)); then
    echo "error: debootstrap needs root: run as root, or give BASE_IMAGE=python:3.11-slim-$suite" >&2
    exit 1
fi
if ! command -v debootstrap >/dev/null; then
    echo "error: debootstrap is not installed: apt-get install debootstrap" >&2
    exit 1
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
root=$folder/root
debootstrap --variant=minbase --include=ca-certificates,python3 "$suite" "$root" ${MIRROR:+"$MIRROR"} >"$folder/log" 2>&1 || {
    tail -n 20 "$folder/log" >&2
    exit 1
}

mirror=$(sed -n "s/^deb \([^ ]*\) $suite main.*/\1/p" "$root/etc/apt/sources.list" | head -n 1)
security=${SECURITY:-$mirror-security}
cat >"$root/etc/apt/sources.list" <<SOURCES
deb $mirror $suite main
deb $mirror $suite-updates main
deb $security $suite-security main
SOURCES
inside() { DEBIAN_FRONTEND=noninteractive LC_ALL=C chroot "$root" "$@" >>"$folder/log" 2>&1; }
if ! { inside apt-get update -q && inside apt-get dist-upgrade -q -y; }; then
    tail -n 20 "$folder/log" >&2
    exit 1
fi

# What only a person at a terminal reads, and what can be fetched again; licences stay.
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* "$root"/var/cache/debconf/*-old \
    "$root"/usr/share/{man,info,locale}/*
find "$root/usr/share/doc" -type f ! -name copyright -delete
find "$root/usr/share/doc" -type d -empty -delete
: >"$root/etc/resolv.conf"
: >"$root/etc/hostname"

tar --create --directory "$root" --numeric-owner --one-file-system . |
    "$docker" import --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' - "$name"
