#!/usr/bin/env bash
# Installs what running (`run`) or testing (`test`) Hearth needs beyond git, a C compiler, make and Rust.
# Says what and why; uses sudo only where it is not root; does nothing where all is there.
set -euo pipefail
purpose=${1:?usage: packages.sh run|test}
cd "$(dirname "$0")/.."

missing=()
need() { # package, why, test command
    local package=$1 why=$2
    shift 2
    "$@" >/dev/null 2>&1 && return
    echo "packages: need $package: $why"
    missing+=("$package")
}

need python3 "functions with runtime python3.x run on the host's /usr/bin/python3" test -x /usr/bin/python3
need nodejs "functions with runtime nodejsN.x run on the host's /usr/bin/node" test -x /usr/bin/node
if [ "$(id -u)" != 0 ]; then
    need uidmap "as an ordinary user, sandboxes get user ids of their own through newuidmap" which newuidmap
fi
if [ "$purpose" = test ]; then
    need python3-venv "the end-to-end tests drive Hearth with boto3 and awscli from a virtual environment" \
        /usr/bin/python3 -c 'import ensurepip, venv'
    need bubblewrap "sandbox starts are measured beside bwrap's" which bwrap
fi

if [ ${#missing[@]} -gt 0 ]; then
    as_root=()
    if [ "$(id -u)" != 0 ]; then
        which sudo >/dev/null || { echo "packages: not root and no sudo: install ${missing[*]} yourself, then go on" >&2; exit 1; }
        as_root=(sudo)
    fi
    echo "packages: installing ${missing[*]} with apt-get"
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

if [ "$purpose" = test ]; then
    wanted=tests/e2e/requirements.txt
    if ! cmp -s "$wanted" .venv/installed.txt; then
        echo "packages: making .venv with what tests/e2e/requirements.txt names (from PyPI)"
        rm -rf .venv
        /usr/bin/python3 -m venv .venv
        .venv/bin/pip install -q --disable-pip-version-check -r "$wanted"
        cp "$wanted" .venv/installed.txt
    fi
fi
