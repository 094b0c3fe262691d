#!/bin/sh
# Inside the emulated machine: runs the suites that are named. cgroup-v2.sh reads the lines that begin with `suite`. A
# suite that does not end in time tells what it waits for, and is killed.
suite_limit_s=$1 && shift
suite() { # NAME COMMAND…
    echo "suite $1 begins"
    name=$1 && shift
    setsid "$@" 2>&1 &
    running=$!
    setsid sh -c "sleep $suite_limit_s; echo 'suite $name HANGS'; sh hung.sh; kill -9 -$running" 2>&1 &
    watchdog=$!
    wait $running
    status=$?
    kill -9 -$watchdog 2>/dev/null
    echo "suite $name ended with $status"
    [ $status = 0 ] || failed=1
}

python() {
    [ -e /usr/bin/python3 ] || mv crate/python3 /usr/bin
}

# An ordinary user, in a control group that was given to that user.
rootless() {
    group=/sys/fs/cgroup/delegated user=65534
    mkdir $group && chown -R $user:$user $group || return 1
    suite rootless sh -c "echo 0 >$group/cgroup.procs; exec /usr/bin/setpriv --reuid $user --regid $user --clear-groups crate/rootless"
}

failed=0
export RUST_BACKTRACE=0
cp hearth-shim /usr/bin # Beside hearth.
for suite in "$@"; do
    case $suite in
    platform) suite platform sh platform.sh ;;
    rootless) python && rootless ;;
    *) python && suite "$suite" "crate/$suite" --test-threads 1 ;;
    esac
done
exit $failed
