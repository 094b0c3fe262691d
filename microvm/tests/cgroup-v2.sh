#!/bin/bash
# Runs this crate's tests of jails in an emulated machine that has cgroup version 2 only, as root and as an ordinary
# user with a delegated cgroup. For hosts that have version 1.
#
#   cgroup-v2.sh NESTED [TEST…]     NESTED: path of nested.sh; TEST: jail isolation leaks process rootless (all)
#
# Build the tests first: cargo test -p hearth-microvm --no-run. Needs python3 of Debian 12 in /usr/bin.
set -euo pipefail
nested=${1:?path of nested.sh}; shift
tests=("$@"); [ $# -gt 0 ] || tests=(jail isolation leaks process rootless)
top=$(cd "$(dirname "$0")/../.." && pwd)
lab=$(mktemp -d); trap 'rm -rf "$lab"' EXIT

for name in "${tests[@]}"; do
  # The newest: cargo keeps earlier builds beside it.
  binary=$(find "$top/target/debug/deps" -maxdepth 1 -name "$name-????????????????" -perm -u+x -printf '%T@ %p\n' | sort -rn | head -1 | cut -d' ' -f2)
  [ -n "$binary" ] || { echo "cgroup-v2: $name is not built" >&2; exit 1; }
  cp "$binary" "$lab/$name"
done
python=$(readlink -f /usr/bin/python3); version=$(basename "$python")
tar czf "$lab/python.tgz" --exclude=test --exclude=__pycache__ --exclude=idlelib --exclude=lib2to3 --exclude=ensurepip \
  --exclude='config-3*' -C / "usr/lib/$version"
cp /lib/x86_64-linux-gnu/libffi.so.8 "$lab/"
cat > "$lab/run.sh" <<RUN
cd /lab && tar xzf python.tgz -C / && ln -s $version /usr/bin/python3 && mkdir -p /lib/x86_64-linux-gnu && cp libffi.so.8 /lib/x86_64-linux-gnu/ || exit 1
export RUST_BACKTRACE=0 PATH=\$PATH:/usr/bin
failed=0
for test in ${tests[*]}; do
  if [ \$test = rootless ]; then
    group=/sys/fs/cgroup/delegated; mkdir \$group
    chown -R 65534:65534 \$group
    chmod 1777 /tmp
    sh -c "echo \\\$\\\$ > \$group/cgroup.procs; exec /usr/bin/setpriv --reuid 65534 --regid 65534 --clear-groups ./rootless" || failed=1
  else
    ./\$test --test-threads 1 || failed=1
  fi
done
exit \$failed
RUN
bash "$nested" -t 1500 -c 2 -i "$lab" -b "$python" -b "$lab/${tests[0]}" -b /usr/bin/setpriv -- 'sh /lab/run.sh 2>&1'
