#!/bin/sh
# Models through LiteLLM. It wants an older SDK of OpenAI's than the rest is tested with, so it has an
# environment of its own: VENV. Where that cannot be installed this says so, and the other tests go on.
set -eu

stamp=$VENV/.installed
if [ ! -e "$stamp" ] || [ pyproject.toml -nt "$stamp" ] || [ constraints.txt -nt "$stamp" ] ||
  [ constraints-litellm.txt -nt "$stamp" ]; then
  rm -rf "$VENV"
  "$PYTHON" -m venv "$VENV"
  { grep -v '^openai==' constraints.txt; cat constraints-litellm.txt; } > "$VENV/constraints.txt"
  if ! "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check \
    -c "$VENV/constraints.txt" -e '.[litellm]' pytest pytest-asyncio pytest-timeout hypothesis; then
    echo "skipped the tests of LiteLLM: it cannot be installed here"
    exit 0
  fi
  touch "$stamp"
fi
exec "$VENV/bin/python" -m pytest -q -p no:cacheprovider \
  tests/unit/agents_parts/test_litellm.py tests/unit/agents_parts/test_endpoint.py
