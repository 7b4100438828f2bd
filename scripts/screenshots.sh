#!/bin/sh
# Starts the demo with a throw-away data folder, takes the pictures, stops it. Usage: screenshots.sh OUT
set -eu

out=$1
bin=${BIN:-.venv/bin}
data=$(mktemp -d)
port=${PORT:-8790}
password=screenshots

PARLOUR_DEMO_TOKENS_PER_SECOND=0 "$bin/parlour" demo \
    --port "$port" --data "$data" --password "$password" 2> "$data/log" &
server=$!
trap 'kill "$server" 2> /dev/null || true; wait "$server" 2> /dev/null || true; rm -rf "$data"' EXIT

tries=0
until "$bin/python" -c 'import sys, urllib.request as r; r.urlopen(sys.argv[1], timeout=2)' \
    "http://127.0.0.1:$port/health/ready" 2> /dev/null; do
    tries=$((tries + 1))
    if [ "$tries" -gt 150 ] || ! kill -0 "$server" 2> /dev/null; then
        cat "$data/log" >&2
        echo "error: the demo did not start" >&2
        exit 1
    fi
    sleep 0.2
done

node web/scripts/screenshots.mjs --url "http://127.0.0.1:$port" --out "$out" \
    --login demo --password "$password"
