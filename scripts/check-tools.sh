#!/bin/sh
# Says what is missing before anything is installed. Usage: check-tools.sh PYTHON
set -eu

fail() {
    echo "error: $1" >&2
    exit 1
}

python=${1:-python3}
command -v "$python" > /dev/null || fail "$python is not installed: Python 3.11 or newer is needed"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$python" --version) is too old: Python 3.11 or newer is needed (make PYTHON=python3.12)"
"$python" -c 'import ensurepip, venv' 2> /dev/null ||
    fail "$python cannot make virtual environments: install its venv package (Debian: python3-venv)"
command -v node > /dev/null && command -v npm > /dev/null ||
    fail "Node.js is not installed: version 20.19 or newer is needed, with npm"
node -e 'const [a, b] = process.versions.node.split(".").map(Number);
    process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' ||
    fail "Node.js $(node --version) is too old: version 20.19 or newer is needed"
