#!/usr/bin/env bash
# Installs what running (`run`) or testing (`test`) Hearth, testing it with clients of AWS's that take minutes to compile
# (`clients`), or making what its microVMs boot from (`guest-image`), needs beyond git, a C compiler, make and Rust.
# Says what and why; uses sudo only where it is not root; does nothing where all is there.
set -euo pipefail
purpose=${1:?usage: packages.sh run|test|clients|guest-image}
cd "$(dirname "$0")/.."

missing=() # of these, what can't be done without:
required=()
lacks() { # package, why, test command: whether it is missing
    local package=$1 why=$2
    shift 2
    "$@" >/dev/null 2>&1 && return 1
    echo "packages: missing $package: $why"
    missing+=("$package")
}
need() { if lacks "$@"; then required+=("$1"); fi; }
want() { lacks "$@" || true; }

if [ "$purpose" = guest-image ]; then
    need linux-source-6.1 "the guest kernel is built from it" test -e /usr/src/linux-source-6.1.tar.xz
    need flex "the kernel's build reads its configuration with it" which flex
    need bison "the kernel's build reads its configuration with it" which bison
    need bc "the kernel's build computes its time constants with it" which bc
    need libelf-dev "the kernel's build checks its own object files" test -e /usr/include/libelf.h
    need xz-utils "the kernel's sources are compressed with it" which xz
    need mmdebstrap "runtime images are put together from Debian packages" which mmdebstrap
    need debian-archive-keyring "those packages' signatures are checked with it" \
        test -e /usr/share/keyrings/debian-archive-keyring.gpg
    want kmod "the modules of Debian's stock kernel are looked up with depmod and modprobe" \
        env PATH="$PATH:/usr/sbin:/sbin" which depmod
else
    need python3 "functions with runtime python3.x run on the host's /usr/bin/python3" test -x /usr/bin/python3
fi
node=(nodejs "functions with runtime nodejsN.x run on the host's /usr/bin/node" test -x /usr/bin/node)
if [ "$purpose" = test ]; then
    need "${node[@]}"
    need python3-venv "the end-to-end tests drive Hearth with boto3 and awscli from a virtual environment" \
        /usr/bin/python3 -c 'import ensurepip, venv'
    want ruby "functions with runtime rubyM.N run on the host's /usr/bin/ruby" test -x /usr/bin/ruby
    want openjdk-17-jdk-headless "functions with runtime javaN run on /usr/lib/jvm; our bootstrap for them is compiled" \
        which javac
    want golang-go "the examples in Go are compiled" which go
    want g++ "the examples in C++ are compiled" which g++
    want npm "AWS's clients for Node.js come from the npm registry" which npm
    want bubblewrap "sandbox starts are measured beside bwrap's" which bwrap
    PATH=$PATH:/usr/sbin:/sbin
    want qemu-system-x86 "cgroup version 2 is tested in a machine that QEMU emulates" which qemu-system-x86_64
    want busybox-static "the programs in that machine are busybox's" which busybox
    want cpio "that machine's first file system is a cpio archive" which cpio
    want kmod "the modules of that machine's kernel are looked up with depmod and modprobe" which depmod
    want e2fsprogs "that machine's disk is made with mke2fs" which mke2fs
    want erofs-utils "images of code and runtimes are read back with fsck.erofs" which fsck.erofs
elif [ "$purpose" = run ]; then
    want "${node[@]}"
elif [ "$purpose" = clients ]; then
    need npm "AWS's clients for Node.js come from the npm registry" which npm
    for tool in cmake autoconf automake libtool; do
        need $tool "aws-lambda-ric compiles curl when it is installed" which ${tool/libtool/libtoolize}
    done
fi
if [ "$(id -u)" != 0 ]; then
    want uidmap "as an ordinary user, sandboxes get user ids of their own through newuidmap" which newuidmap
fi

install_missing() {
    local as_root=()
    if [ "$(id -u)" != 0 ]; then
        which sudo >/dev/null 2>&1 || { echo "packages: this user is not root, and there is no sudo"; return 1; }
        as_root=(sudo)
    fi
    echo "packages: installing ${missing[*]} with ${as_root[*]} apt-get"
    "${as_root[@]}" apt-get update -qq &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

if [ ${#missing[@]} -gt 0 ] && ! install_missing; then
    echo "packages: could not install; as root: apt-get install ${missing[*]}" >&2
    if [ ${#required[@]} -gt 0 ]; then
        echo "packages: nothing goes without: ${required[*]}" >&2
        exit 1
    fi
    echo "packages: going on without: ${missing[*]}" >&2
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

if [ "$purpose" = test ] || [ "$purpose" = clients ]; then
    clients=target/node-clients
    mkdir -p $clients
    if ! cmp -s tests/e2e/clients/package.json $clients/wanted.json; then
        echo "packages: installing what tests/e2e/clients/package.json names (from the npm registry)"
        cp tests/e2e/clients/package.json $clients/
        if (cd $clients && npm install --silent --no-audit --no-fund --ignore-scripts); then
            cp tests/e2e/clients/package.json $clients/wanted.json
        else
            echo "packages: could not install them; going on without AWS's clients for Node.js" >&2
        fi
    fi
fi
if [ "$purpose" = clients ] && [ ! -e target/node-clients/node_modules/aws-lambda-ric/dist/rapid-client.node ]; then
    echo "packages: compiling aws-lambda-ric 3 (from the npm registry): some minutes"
    (cd target/node-clients && npm install --silent --no-save --no-audit --no-fund aws-lambda-ric@3.3.0)
fi
