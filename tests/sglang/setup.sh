#!/bin/sh
# Build the environment of the real SGLang for tests: CPU only, about 3 GB, apart from moegate's own
# because their pins exclude each other. Does nothing when it is there. Usage: setup.sh FOLDER
set -eu
folder=$1
here=$(dirname "$0")
stamp=$folder/.made-from
if [ -f "$stamp" ] && cmp -s "$here/requirements.lock" "$stamp"; then exit 0; fi
rm -f "$stamp"
[ -x "$folder/bin/python" ] || python3 -m venv "$folder"
# SGLang asks for builds with CUDA; what it needs on a CPU is in the lock, so its own wishes are left out.
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    --require-hashes -r "$here/requirements.lock"
# Torch stands apart: which wheel serves a CPU differs by registry, so it has no one hash.
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    torch==2.13.0
cp "$here/requirements.lock" "$stamp"
