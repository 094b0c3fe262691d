#!/usr/bin/env bash
# Hearth on a host with control groups of version 2 only: the platform as a whole and the tests of the jails, in an
# emulated machine, because version 1 and 2 can't both be had on one host. Takes two minutes or so.
#
#   cgroup-v2.sh [SUITE…]     SUITE: platform jail isolation leaks process rootless (all of them)
#
# Where QEMU is missing, nothing is tested, and that is said. The last line is always `N passed, N failed`.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
crate_suites=(jail isolation leaks process rootless)
suites=("$@")
[ $# -gt 0 ] || suites=(platform "${crate_suites[@]}")
# One suite takes 10 to 60 s, on a very busy host five minutes. One that hangs tells what it waits for and is killed; a
# machine that doesn't get as far as that says nothing for longer, so its kernel or QEMU is what hangs.
suite_limit_s=600 silence_limit_s=720 time_limit_s=2400
# QEMU runs a repeated string instruction one step at a time; without these two, the kernel clears memory in steps of
# eight bytes instead of one: half the time of the whole. AVX goes with them, which is slower than SSE when emulated.
export MACHINE_CPU=${MACHINE_CPU:-max,-erms,-fsrm,-avx,-avx2}

. tests/nested/parts.sh
tools_or_skip "cgroup version 2 is"

lab=$(mktemp -d "${TMPDIR:-/tmp}/hearth-v2.XXXXXX")
trap 'rm -rf "$lab"' EXIT
mkdir -p "$lab/lab/crate"
cp -r tests/nested/{inside,hung,platform}.sh tests/nested/unruly "$lab/lab"

[ -x "$target/release/hearth" ] && [ -x "$target/release/hearth-shim" ] || make build
cp "$target/release/hearth-shim" "$lab/lab"
cargo rustc --quiet --release --locked -p echo-rust --bin bootstrap -- -C target-feature=+crt-static
install -D "$target/release/bootstrap" "$lab/lab/echo/bootstrap"

# "  Executable tests/jail.rs (target/debug/deps/jail-0123456789abcdef)"
CARGO_TERM_COLOR=never cargo test --locked -p hearth-microvm --no-run 2>&1 |
    sed -n 's/.*Executable tests\/\(.*\)\.rs (\(.*\))$/\1 \2/p' >"$lab/built"
for suite in "${crate_suites[@]}"; do
    install "$(sed -n "s/^$suite //p" "$lab/built")" "$lab/lab/crate/$suite"
done

# The jails' tests run Python in them. Hearth finds none there: it would start some ahead, which is slow when emulated.
host_python "$lab/root" "$lab/lab/crate/python3"

count() {
    awk -v suites=${#suites[@]} '
        /^machine: started once more$/ { passed = failed = ended = 0 }
        /^suite [a-z]+ begins$/ { told = 0; bad = 0 }
        /^test result:/ { passed += $4; failed += $6; told = 1; bad = $6 }
        /^suite [a-z]+ ended with [0-9]+$/ {
            ended++
            if (!told && $NF == 0) passed++ # A suite without a harness is one test.
            if ($NF != 0 && !bad) failed++
        }
        END { printf "%d passed, %d failed\n", passed, failed += suites - ended; exit failed > 0 }' "$1"
}
tests/nested/machine.sh -R -t $time_limit_s -p $silence_limit_s -c 2 -i "$lab/lab" -r "$lab/root" -b "$target/release/hearth" \
    -b /usr/bin/setpriv -- "sh inside.sh $suite_limit_s ${suites[*]}" | tee "$lab/told" || echo "the machine ended with status $?"
count "$lab/told"
