#!/bin/sh
# Every test: those of the client and the page first, then the browser's and Python's side by side,
# which mostly wait. What the browser's have to say comes behind Python's, with the models' through LiteLLM.
set -u

status=0
make=${MAKE:-make}
$make test-web || status=1
$make test-ready || exit 1

log=$(mktemp)
{ $make test-browser; ended=$?; $make test-litellm && exit "$ended"; } > "$log" 2>&1 &
browser=$!
trap 'kill "$browser" 2>/dev/null; rm -f "$log"' EXIT
trap 'exit 130' INT TERM

$make test-python || status=1
wait "$browser" || status=1
cat "$log"
exit "$status"
