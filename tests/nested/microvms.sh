#!/usr/bin/env bash
# The platform with every environment a microVM, in an emulated machine that has KVM: for hosts of any kind.
#
#   microvms.sh [-s] [KERNEL…]     KERNEL: small stock (both)
#     -s    some of the tests, for `make test`, with guest images that are made for it and hold no more than it needs
#
# GUEST_IMAGES: what microVMs boot from (default target/release/guest-images; with Debian's kernel: the same with -stock).
#
# Where QEMU is missing, nothing is tested, and that is said. The last line is always `N passed, N failed`.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
images=${GUEST_IMAGES:-$target/release/guest-images}
part=whole
[ "${1:-}" != -s ] || { part=some images=${GUEST_IMAGES:-$target/nested-images} && shift; }
kernels=("$@")
[ $# -gt 0 ] || kernels=(small stock)
# The longest that no test ends: starting the platform and one test, each with its own limit.
silence_limit_s=900 time_limit_s=3600
# QEMU runs a repeated string instruction one step at a time; without erms and fsrm the kernel clears memory in steps
# of eight bytes instead of one. The rest stays off as machine.sh says.
export MACHINE_CPU=${MACHINE_CPU:-max,+svm,-erms,-fsrm,-avx,-avx2,-f16c,-fma,-vaes,-vpclmulqdq,-mpx,-pku,-la57}

. tests/nested/parts.sh
tools_or_skip "microVMs are"

if [ $part = some ] && [ -z "${GUEST_IMAGES:-}" ]; then
    xtask/packages.sh guest-image
    # Of what is made, the kernel costs most by far; it is kept for all trees of this host, as long as nothing it is
    # made from changes.
    kept=${MACHINE_CACHE:-/var/tmp/hearth-machine}/guest-kernel
    mkdir -p "$kept"
    flock "$kept" cargo xtask guest-image --out "$kept" --only kernel
    few=(--only kernel --only provided --only python)
    cargo xtask guest-image --out "$images" --share "$kept" "${few[@]}"
    cargo xtask guest-image --out "$images-stock" --kernel-from-deb --share "$images" "${few[@]}"
fi

lab=$(mktemp -d "${TMPDIR:-/tmp}/hearth-microvms.XXXXXX")
trap 'rm -rf "$lab"' EXIT
root=$lab/root tree=$lab/lab
mkdir -p "$tree/bin" "$tree/tests"

# What is tested.
install "$target/release/hearth" "$target/release/hearth-shim" "$target/release/hearth-vmm" "$tree/bin"
cp -r "$images" "$tree/bin/guest-images"
[ ! -d "$images-stock" ] || cp -r "$images-stock" "$tree/bin/guest-images-stock"
cp -r tests/e2e "$tree/tests"
cp tests/nested/microvms-inside.sh "$tree"
for example in echo-rust rust-lambda-runtime; do
    built=$(cargo build --quiet --release --locked -p $example --message-format json |
        sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -1)
    install -D "$built" "$tree/compiled/$example/bootstrap"
done
if [ $part = whole ] && [ -e "$target/release/hearth-java.jar" ] && command -v javac >/dev/null; then
    cp "$target"/release/{hearth-java.jar,libhearth-java.so} "$tree/bin"
    mapfile -t sources < <(find tests/e2e/languages/java -name '*.java')
    javac --release 17 -cp "$target/release/hearth-java.jar" -d "$tree/compiled/every-java" "${sources[@]}"
fi

# What tests it: this host's Python, and of the AWS client's data only what is called.
host_python "$root" "$root/usr/bin/python3"
version=$(basename "$(readlink -f /usr/bin/python3)")
timeout_plugin=$(compgen -G ".venv/lib/$version/site-packages/pytest_timeout-*.dist-info") # By this pytest finds it.
site=$root/usr/lib/$version
packages=(boto3 botocore s3transfer jmespath dateutil six.py urllib3 pytest _pytest py.py pluggy iniconfig packaging
    pygments pytest_timeout.py "${timeout_plugin##*/}")
tar -c --exclude=__pycache__ --exclude='botocore/data/*/*' -C .venv/lib/"$version"/site-packages "${packages[@]}" |
    tar -x -C "$site"
cp -r .venv/lib/"$version"/site-packages/botocore/data/lambda "$site/botocore/data/"

tests/nested/machine.sh -R -t $time_limit_s -p $silence_limit_s -m 6144 -d 2048 -i "$tree" -r "$root" \
    -b "$target/release/hearth" -b /usr/bin/setpriv -- "sh microvms-inside.sh $part ${kernels[*]}" | stdbuf -o0 tr -d '\000\r' | tee "$lab/told" ||
    echo "the machine ended with status $?"
awk '
    /^machine: started once more$/ { passed = failed = begun = ended = bad = 0 }
    /(passed|failed|error).* in [0-9.]+s/ {
        for (i = 2; i <= NF; i++) { if ($i ~ /^passed/) passed += $(i-1); if ($i ~ /^(failed|error)/) failed += $(i-1) }
    }
    /^kernel [a-z]+ begins$/ { begun++ }
    /^kernel [a-z]+ ended with [0-9]+$/ { ended++; if ($NF != 0) bad++ }
    END { if (bad && !failed) failed = bad; if (ended < begun || !begun) failed++; printf "%d passed, %d failed\n", passed, failed; exit failed > 0 }' "$lab/told"
