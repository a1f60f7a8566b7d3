#!/bin/sh
# The REST API with nothing but curl.
set -eu
host=${HOST:-localhost:3000}
post() { path=$1 && shift && curl -sf "http://$host/api/v1/$path" -H 'Content-Type: application/json' "$@"; }
login=$(post login -d '{"user":"bob","password":"bob"}')
field() { printf %s "$login" | sed "s/.*\"$1\":\"\([^\"]*\)\".*/\1/"; }
post chat.postMessage -H "X-User-Id: $(field userId)" -H "X-Auth-Token: $(field authToken)" \
    -d '{"channel":"#general","text":"written with curl"}'
