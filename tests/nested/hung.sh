#!/bin/sh
# Inside the emulated machine: what every process waits for, thread by thread, and what is in every control group of
# ours. For whoever has to find out why a suite did not end.
echo "--- processes"
ps -o pid,ppid,pgid,stat,args
for thread in /proc/[0-9]*/task/*; do
    [ -s "$thread/cmdline" ] || continue # The kernel's own.
    echo "--- $thread $(cat "$thread/comm"), in $(cat "$thread/wchan"), system call $(cat "$thread/syscall")"
    grep -E '^(State|PPid|NSpid|SigPnd|ShdPnd|SigBlk)' "$thread/status"
    cat "$thread/stack"
done 2>/dev/null
echo "--- control groups"
find /sys/fs/cgroup -type d -path '*/hearth-*' | while read -r group; do
    echo "$group: $(echo $(cat "$group/cgroup.procs")); $(echo $(cat "$group/cgroup.events"))"
done
echo "--- the kernel: blocked tasks, busy processors, its last words"
for key in w l; do echo $key >/proc/sysrq-trigger; done
dmesg | tail -n 200
