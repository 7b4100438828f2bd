#!/bin/sh
# Installs the real servers and the browser that the tests use, where this machine lets us (Debian and
# its relatives, as root or with sudo that asks for no password). Otherwise says what will not run;
# with CI set the tests themselves then fail instead of skipping.
set -eu

wanted=""
lost=""

need() { # need PACKAGE WHAT-IS-LOST COMMAND…
    package=$1
    loss=$2
    shift 2
    for candidate in "$@"; do
        if command -v "$candidate" > /dev/null 2>&1; then
            return
        fi
    done
    wanted="$wanted $package"
    lost="$lost
  - $loss ($package)"
}

postgres=$(ls -d /usr/lib/postgresql/*/bin/postgres 2> /dev/null | tail -n 1 || true)
need chromium "the browser tests" chromium chromium-browser google-chrome
need redis-server "the tests on Redis" redis-server valkey-server
need postgresql "the tests on PostgreSQL" postgres "${postgres:-postgres}"
need bubblewrap "the tests of sandboxed workspaces" bwrap

[ -n "$wanted" ] || exit 0

as_root=""
if [ "$(id -u)" -ne 0 ]; then
    as_root="sudo -n"
    sudo -n true 2> /dev/null || as_root=none
fi

if command -v apt-get > /dev/null 2>&1 && [ "$as_root" != none ]; then
    echo "Installing for the tests:$wanted"
    # Debian starts servers when they are installed; the tests start their own, so a policy says no.
    policy=/usr/sbin/policy-rc.d
    made_policy=""
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" > /dev/null
        $as_root chmod 755 "$policy"
        made_policy=yes
    fi
    installed=yes
    # shellcheck disable=SC2086 # several packages, and an empty or two-word prefix
    $as_root apt-get update &&
        $as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y --no-install-recommends $wanted || installed=""
    if [ -n "$made_policy" ]; then
        $as_root rm -f "$policy"
    fi
    [ -z "$installed" ] || exit 0
    echo "The packages could not be installed." >&2
fi

echo "These tests will not run, because what they need is missing:$lost" >&2
