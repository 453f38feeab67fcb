#!/bin/sh
# Make the virtual environment with the first Python that is new enough. Usage: make_venv.sh FOLDER
set -eu
for python in "${PYTHON3:-python3}" python3.14 python3.13 python3.12 python3.11; do
    if command -v "$python" >/dev/null 2>&1 &&
        "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        if "$python" -m venv "$1"; then exit 0; fi
        echo "moegate: \`$python -m venv\` failed; on Debian: apt-get install python3-venv" >&2
        exit 1
    fi
done
echo "moegate: Python 3.11 or newer is needed and none was found" >&2
exit 1
