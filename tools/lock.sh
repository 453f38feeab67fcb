#!/bin/sh
# Resolve both lock files from pyproject.toml: every platform, with hashes, wheels only, no registry's name.
# To move one package: edit its pin, or set UPGRADE="--upgrade-package NAME".
set -eu
uv=$(command -v uv || echo .venv/uv/bin/uv)
options="--quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --only-binary :all: ${UPGRADE:-}"
# shellcheck disable=SC2086
"$uv" pip compile $options --group build pyproject.toml -o requirements.lock
# shellcheck disable=SC2086
"$uv" pip compile $options --group build --group dev -c requirements.lock pyproject.toml -o requirements-dev.lock
echo 'uv==0.13.9' | "$uv" pip compile $options - -o tools/uv.lock
