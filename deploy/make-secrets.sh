#!/bin/sh
# Make the passwords and keys that compose.yaml reads, once; what is there already is left alone.
# Usage: sh deploy/make-secrets.sh [FOLDER]     (default ./secrets)
set -eu
folder=${1:-./secrets}
umask 077
mkdir -p "$folder"
random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
put() { [ -s "$folder/$1" ] || printf '%s\n' "$2" >"$folder/$1"; }

put postgres_password "$(random)"
put database_url "postgresql+asyncpg://moegate:$(cat "$folder/postgres_password")@postgres:5432/moegate"
put redis_password "$(random)"
put redis_url "redis://:$(cat "$folder/redis_password")@redis:6379/0"
put redis_conf "requirepass $(cat "$folder/redis_password")"
put master_key "$(random)"
# Providers' keys: taken from the environment now, or written into these files later. Empty: not used.
for name in openai anthropic gemini sglang; do
    variable=$(echo "${name}_api_key" | tr '[:lower:]' '[:upper:]')
    eval "given=\${$variable:-}"
    if [ -n "$given" ] || [ ! -e "$folder/${name}_api_key" ]; then
        put "${name}_api_key" "$given"
    fi
done
put admin_token "mg-$(head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n')"
# Containers run as users of their own and read these files through bind mounts: the folder keeps
# others out, the files let the containers in.
chmod 700 "$folder"
chmod 644 "$folder"/*
echo "secrets are in $folder; the first admin key is in $folder/admin_token"
