#!/bin/sh
# Make the passwords and keys that compose.yaml reads, once; what is there already is left alone.
# Providers' keys are taken from the environment, or written into their files later; empty is "not used".
# Usage: sh deploy/make-secrets.sh [FOLDER]     (default: what MOEGATE_SECRETS names, else ./secrets)
set -eu
folder=${1:-${MOEGATE_SECRETS:-./secrets}}
umask 077
mkdir -p "$folder"
chmod 700 "$folder"
random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
# Under another name first: a run that is interrupted leaves no half of a password.
put() {
    [ -s "$folder/$1" ] && return
    printf '%s' "$2" >"$folder/.$1.new"
    chmod 644 "$folder/.$1.new"
    mv "$folder/.$1.new" "$folder/$1"
}

# Containers run as users of their own and read these files through bind mounts: the folder keeps
# others out, the files let the containers in.
put postgres_password "$(random)"
put database_url "postgresql+asyncpg://moegate:$(cat "$folder/postgres_password")@postgres:5432/moegate"
put redis_password "$(random)"
put redis_url "redis://:$(cat "$folder/redis_password")@redis:6379/0"
put redis_conf "requirepass $(cat "$folder/redis_password")"
put master_key "$(random)"
put openai_api_key "${OPENAI_API_KEY:-}"
put anthropic_api_key "${ANTHROPIC_API_KEY:-}"
put gemini_api_key "${GEMINI_API_KEY:-}"
put sglang_api_key "${SGLANG_API_KEY:-}"
put hf_token "${HF_TOKEN:-}"
put admin_token "mg-$(head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n')"
echo "secrets are in $folder; the first admin key is in $folder/admin_token"
