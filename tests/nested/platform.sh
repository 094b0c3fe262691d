#!/bin/sh
# Inside the nested machine: `hearth up` as people run it, its jails held by cgroup version 2. Busybox's shell and tools
# are all there is. cgroup-v2.sh beside this file starts it and lays out /lab.
export HEARTH_ENDPOINT=http://127.0.0.1:9000
export AWS_SHARED_CREDENTIALS_FILE=/srv/hearth/credentials
passed=0 failed=0
mkfifo /tmp/stdout

# check NAME COMMAND…: one test, written as Rust's test harness does.
check() {
    name=$1 began=$(uptime_ms)
    shift
    if "$@" >/tmp/said 2>&1; then
        passed=$((passed + 1)) outcome=ok
    else
        failed=$((failed + 1)) outcome=FAILED
    fi
    echo "test $name ... $outcome ($(($(uptime_ms) - began)) ms)"
    [ $outcome = ok ] || tail -n 40 /tmp/said /tmp/answer /tmp/tail /tmp/log
}

# start DATA-DIR [COMMAND…]: starts the platform, by way of COMMAND, and waits until it is ready; its process is $pid.
start() {
    directory=$1
    shift
    "$@" hearth up --isolation jail --data-dir "$directory" >/tmp/stdout 2>>/tmp/log &
    pid=$!
    exec 3</tmp/stdout # Stays open: the platform may say more.
    while read -r line <&3; do
        case $line in ready*) return 0 ;; esac
    done
    return 1
}

# stop: SIGTERM; the platform's exit status.
stop() { kill -TERM "$pid" && wait "$pid"; }

deploy() { hearth deploy "/lab/$1" --name "$2" --runtime provided.al2023 --timeout 60 --memory "$3"; }

# call FUNCTION EVENT ANSWER: the answer is exactly that. Leaves the log's tail in /tmp/tail.
call() {
    hearth invoke "$1" --data "$2" --tail >/tmp/answer 2>/tmp/tail && [ "$(cat /tmp/answer)" = "$3" ]
}

# What could be left behind: control groups, mounts, processes by the program they execute.
leftovers() {
    ls -l /proc/[0-9]*/exe 2>/dev/null >/tmp/programs
    { find /sys/fs/cgroup -type d; cat /proc/self/mountinfo; sed -n 's/.* -> //p' /tmp/programs; } | sort
}

groups_of() { find /sys/fs/cgroup -type d -path "*/hearth-$1-*"; }
shims() { ls -l /proc/[0-9]*/exe 2>/dev/null | sed -n 's,.*/proc/\([0-9]*\)/exe -> .*/\(hearth-shim\|init\)$,\1,p'; }

starts() { start /srv/hearth && [ -n "$(groups_of "$pid")" ]; }
deploys() { deploy echo echo 512 && deploy unruly hungry 512 && deploy unruly forking 1769; }
cold_call() { call echo '{"call":1}' '{"call":1}' && grep 'REPORT.*Init Duration' /tmp/tail; }
warm_call() { call echo '{"call":2}' '{"call":2}' && grep REPORT /tmp/tail && ! grep 'Init Duration' /tmp/tail; }

memory_limit() {
    call hungry '"hello"' '"1"' || return 1
    hearth invoke hungry --data '"memory"' >/tmp/answer 2>/tmp/tail
    [ $? = 1 ] && grep '"errorType":"Runtime.OutOfMemory"' /tmp/answer && call hungry '"hello"' '"1"'
}

process_limit() {
    hearth invoke forking --data '"fork"' >/tmp/answer 2>/tmp/tail || return 1
    children=$(sed 's/"\([0-9]*\) .*/\1/' /tmp/answer)
    cat /tmp/answer
    [ "$children" -gt 900 ] && [ "$children" -lt 1024 ] &&
        grep 'Resource temporarily unavailable' /tmp/answer && call forking '"hello"' '"2"'
}

killed_and_started_again() {
    old=$pid orphans=$(shims)
    [ -n "$orphans" ] || return 1
    kill -9 "$old"
    wait "$old"
    start /srv/hearth || return 1
    left=$(groups_of "$old")
    for orphan in $orphans; do [ ! -e "/proc/$orphan" ] || left="$left $orphan"; done
    echo "left: $left"
    [ -z "$left" ] && call echo '{"call":3}' '{"call":3}'
}

stopped_without_a_trace() {
    stop || return 1
    leftovers >/tmp/after
    diff /tmp/before /tmp/after
}

# As a service manager starts it: an ordinary user's, in a control group that was given to that user.
as_a_user() {
    group=/sys/fs/cgroup/service user=65534
    mkdir $group /srv/user && chown -R $user:$user $group /srv/user && chmod 755 /srv || return 1
    enter="echo 0 >$group/cgroup.procs; exec /usr/bin/setpriv --reuid $user --regid $user --clear-groups \"\$@\""
    start /srv/user sh -c "$enter" enter || return 1
    export AWS_SHARED_CREDENTIALS_FILE=/srv/user/credentials
    [ -n "$(groups_of "$pid")" ] && deploy unruly hungry 512 && memory_limit && stop &&
        find $group -type d && rmdir $group/supervisor $group && leftovers >/tmp/after && diff /tmp/before /tmp/after
}

leftovers >/tmp/before
check the_platform_starts starts
check functions_are_deployed deploys
check a_cold_call cold_call
check a_warm_call warm_call
check memory_runs_out_for_one_call_only memory_limit
check processes_meet_their_limit process_limit
check killed_it_starts_again_without_what_was_left killed_and_started_again
check sigterm_leaves_nothing stopped_without_a_trace
check an_ordinary_user_in_a_delegated_group as_a_user
echo "test result: $([ $failed = 0 ] && echo ok || echo FAILED). $passed passed; $failed failed"
[ $failed = 0 ]
