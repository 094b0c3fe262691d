#!/usr/bin/env bash
# The platform with every environment a microVM, in an emulated machine that has KVM: for hosts of any kind.
#
#   microvms.sh [KERNEL…]     KERNEL: small stock (both)
#
# Where QEMU is missing, nothing is tested, and that is said. The last line is always `N passed, N failed`.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
images=${GUEST_IMAGES:-$target/release/guest-images}
kernels=("$@")
[ $# -gt 0 ] || kernels=(small stock)
time_limit_s=1500
# QEMU runs a repeated string instruction one step at a time; without erms and fsrm the kernel clears memory in steps
# of eight bytes instead of one. The rest stays off as machine.sh says.
export MACHINE_CPU=${MACHINE_CPU:-max,+svm,-erms,-fsrm,-avx,-avx2,-f16c,-fma,-vaes,-vpclmulqdq,-mpx,-pku,-la57}

PATH=$PATH:/usr/sbin:/sbin
for tool in qemu-system-x86_64 busybox cpio depmod mke2fs debugfs; do
    command -v "$tool" >/dev/null || {
        echo "=== SKIPPED: microVMs are NOT TESTED in this run: $tool is not installed (xtask/packages.sh test tries to)"
        echo "0 passed, 0 failed"
        exit 0
    }
done

lab=$(mktemp -d "${TMPDIR:-/tmp}/hearth-microvms.XXXXXX")
trap 'rm -rf "$lab"' EXIT
root=$lab/root tree=$lab/lab
mkdir -p "$tree/bin" "$tree/tests" "$root/usr/bin" "$root/usr/lib" "$root/lib"

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

# What tests it: this host's Python, and of the AWS client's data only what is called.
python=$(readlink -f /usr/bin/python3)
version=$(basename "$python")
cp -L "$python" "$root/usr/bin/python3"
tar -ch --exclude=test --exclude=__pycache__ --exclude=idlelib --exclude=lib2to3 --exclude=ensurepip \
    --exclude='config-3*' -C / "usr/lib/$version" | tar -x -C "$root"
ldd "$python" /usr/lib/"$version"/lib-dynload/*.so | awk '$2 == "=>" { print $3 }' | sort -u | xargs -I{} cp -L {} "$root/lib/"
timeout_plugin=$(compgen -G ".venv/lib/$version/site-packages/pytest_timeout-*.dist-info") # By this pytest finds it.
site=$root/usr/lib/$version
tar -c --exclude=__pycache__ --exclude='botocore/data/*/*' -C .venv/lib/"$version"/site-packages \
    boto3 botocore s3transfer jmespath dateutil six.py urllib3 pytest _pytest py.py pluggy iniconfig packaging pygments pytest_timeout.py "${timeout_plugin##*/}" |
    tar -x -C "$site"
cp -r .venv/lib/"$version"/site-packages/botocore/data/lambda "$site/botocore/data/"

# One processor: with two, QEMU 7.2 now and then corrupts the machine's own kernel while it runs guests. A machine that
# breaks down all the same (status 125) says nothing about Hearth: it is started once more, and that is said.
for attempt in first second; do
    set +e
    tests/nested/machine.sh -t $time_limit_s -m 6144 -d 2048 -i "$tree" -r "$root" -b "$target/release/hearth" \
        -- "sh microvms-inside.sh ${kernels[*]}" | tr -d '\000\r' | tee "$lab/told"
    status=${PIPESTATUS[0]}
    set -e
    [ $status != 0 ] || break
    echo "the machine ended with status $status at the $attempt attempt"
    [ $status = 125 ] || break
done
awk '
    /(passed|failed|error).* in [0-9.]+s/ {
        for (i = 2; i <= NF; i++) { if ($i ~ /^passed/) passed += $(i-1); if ($i ~ /^(failed|error)/) failed += $(i-1) }
    }
    /^kernel [a-z]+ begins$/ { begun++ }
    /^kernel [a-z]+ ended with [0-9]+$/ { ended++; if ($NF != 0) bad++ }
    END { if (bad && !failed) failed = bad; if (ended < begun || !begun) failed++; printf "%d passed, %d failed\n", passed, failed; exit failed > 0 }' "$lab/told"
