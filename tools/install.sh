#!/bin/sh
# Bring a virtual environment to exactly what a lock file says, then add moegate itself, editable.
# Usage: install.sh VENV LOCK
set -eu
venv=$1 lock=$2
uv=$(command -v uv || true)
if [ -z "$uv" ]; then
    uv=$venv/bin/uv
    # Sync removes what the lock does not name, so uv lives outside of what it manages.
    if [ ! -x "$venv/uv/bin/uv" ]; then
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
            --only-binary :all: --ignore-installed --prefix "$venv/uv" -r tools/uv.lock
    fi
    uv=$venv/uv/bin/uv
fi
VIRTUAL_ENV=$venv "$uv" pip sync --quiet --require-hashes --only-binary :all: "$lock"
# No isolation: what it is built with is in the lock, and nothing is fetched without a hash.
VIRTUAL_ENV=$venv "$uv" pip install --quiet --no-deps --no-build-isolation --editable .
