#!/usr/bin/env bash
# Runs a command in an emulated x86-64 machine that has working KVM, cgroup v2 and nothing of the host: QEMU's TCG
# emulates AMD's SVM, so Debian's own kernel and kvm_amd run in it. Good for "does it work" and for ratios between two
# programs of one run; never for absolute times.
#
#   machine.sh [options] -- COMMAND [ARGUMENT…]     (a single argument is a script for busybox's sh)
#     -i DIR    copy what is in DIR to /lab, where COMMAND runs (repeatable)
#     -r DIR    copy what is in DIR to the root (repeatable)
#     -b FILE   put this program on PATH, with the shared libraries it needs (repeatable)
#     -o DIR    afterwards, copy what COMMAND left in /out to DIR
#     -t SECS   end it after this long, with status 124 (default 300)
#     -m MIB    memory (default 3072)     -c CPUS   processors (default 1)     -d MIB   free disk space (default 1024)
#     -p SECS   end it when COMMAND has written nothing for so long: the machine is stuck (default: as -t)
#     -R        start it once more, from the beginning, if the machine itself broke down; COMMAND's failures stand
#     -I        an instruction clock: inside, a nanosecond is an executed instruction, whatever else this host does
#     -v        show the kernel's console afterwards
#
# The root is ext4; busybox is the userland; /dev/kvm, /dev/net/tun and /dev/vhost-vsock are there; `uptime_ms` prints
# the time since boot. Exit status: COMMAND's; 124 after -t; 125 if the machine itself broke down, which is: it ended
# without a status, was stuck, or its kernel found itself corrupted. A machine that has to be ended shows what each of
# its processors and tasks was doing, and its console. Before a second start a line `machine: started once more` is
# written: who counts results begins anew there.
#
# MACHINE_CACHE: where the kernel lies once it was downloaded (default /var/tmp/hearth-machine).
# MACHINE_CPU: QEMU's CPU model. AVX, PKU and MPX must stay off: this QEMU's SVM does not intercept XSETBV, so KVM does
# not notice that a guest turns them on.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
cpu=${MACHINE_CPU:-max,+svm,-avx,-avx2,-f16c,-fma,-vaes,-vpclmulqdq,-mpx,-pku,-la57}
cache=${MACHINE_CACHE:-/var/tmp/hearth-machine}
time_limit_s=300 silence_limit_s= memory_mib=3072 processors=1 space_mib=1024 console=0 retry=0 output=
# Time for a machine that is ended to write down what it does.
last_words_s=60
# What a kernel says that can't be trusted any more. None of it can come from a program's mistake.
corrupted='BUG: |Oops|kernel BUG at|general protection fault, probably|stack guard page|double fault|Kernel panic|Bad page'
# Its boot's check that timer interrupts come in time fails on a host so busy that they don't. An NMI has it tell all.
kernel_options='no_timer_check unknown_nmi_panic panic_print=0x41'
given=("$@")
# All processors take turns on one thread. With a thread each, QEMU 7.2 may keep a translation of code that another
# processor has changed (docs/decisions/0131-one-thread-for-emulated-processors.md): the kernel then hangs or breaks.
acceleration=(-accel tcg,thread=single)
directories=() roots=() programs=()
while getopts i:r:b:o:t:p:m:c:d:RIv option; do
    case $option in
    i) directories+=("$OPTARG") ;;
    r) roots+=("$OPTARG") ;;
    b) programs+=("$OPTARG") ;;
    o) output=$OPTARG ;;
    t) time_limit_s=$OPTARG ;;
    p) silence_limit_s=$OPTARG ;;
    m) memory_mib=$OPTARG ;;
    c) processors=$OPTARG ;;
    d) space_mib=$OPTARG ;;
    R) retry=1 ;;
    I) acceleration=(-accel tcg,thread=single -icount shift=0,sleep=off) ;;
    v) console=1 ;;
    *) sed -n '2,/^set -/{s/^# \{0,1\}//;/^set -/d;p}' "$0" >&2 && exit 2 ;;
    esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || { echo "machine: no command given" >&2; exit 2; }
broken() { echo "machine: $1" >&2; exit 125; }
if [ $retry = 1 ] && [ -z "${MACHINE_ATTEMPT:-}" ]; then
    status=0
    MACHINE_ATTEMPT=first "$0" "${given[@]}" || status=$?
    [ $status = 125 ] || exit $status
    echo "=== THE EMULATED MACHINE BROKE DOWN. That is no test's failure, and no test's success." >&2
    echo "machine: started once more"
    MACHINE_ATTEMPT=second exec "$0" "${given[@]}"
fi
for tool in qemu-system-x86_64 busybox cpio depmod modprobe mke2fs debugfs; do
    command -v "$tool" >/dev/null || broken "$tool is not installed (xtask/packages.sh test installs it)"
done

# Debian's kernel for virtual machines, unpacked once, its modules on a disk of their own.
kernel_files() {
    local package
    mkdir -p "$cache"
    exec 9>"$cache/lock"
    flock 9
    if ! compgen -G "$cache/kernel/boot/vmlinuz-*" >/dev/null; then
        package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -1)
        [ -n "$package" ] || broken "apt knows no linux-image-cloud-amd64 (apt-get update?)"
        rm -rf "$cache/unpacked"
        (cd "$cache" && apt-get download -q "$package" >&2 && dpkg-deb -x "$package"_*.deb unpacked && rm "$package"_*.deb)
        rm -rf "$cache/kernel"
        mv "$cache/unpacked" "$cache/kernel"
    fi
    vmlinuz=$(compgen -G "$cache/kernel/boot/vmlinuz-*" | sort -V | tail -1)
    release=${vmlinuz##*/vmlinuz-}
    modules=$cache/modules-$release.ext4
    if [ ! -e "$modules" ]; then
        depmod -b "$cache/kernel" "$release"
        disk "$modules.new" 32 "$cache/kernel/lib/modules/$release"
        mv "$modules.new" "$modules"
    fi
    exec 9>&-
}
# disk FILE FREE-MIB DIRECTORY: an ext4 image of the directory with so much room left.
disk() {
    truncate -s "$(($(du -sm "$3" | cut -f1) * 6 / 5 + $2))M" "$1"
    mke2fs -q -t ext4 -O ^has_journal -m 0 -E root_owner=0:0 -d "$3" "$1"
}
kernel_files

work=$(mktemp -d "${TMPDIR:-/tmp}/hearth-machine.XXXXXX")
machine=
trap '[ -z "$machine" ] || kill -9 "$machine" 2>/dev/null || true; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# First file system: what mounts the disk, and no more.
first=$work/first
mkdir -p "$first"/{bin,dev,new,modules}
cp "$(command -v busybox)" "$first/bin/busybox"
for module in virtio_pci virtio_blk; do
    modprobe -d "$cache/kernel" -S "$release" --show-depends "$module" | sed -n 's/^insmod \([^ ]*\).*/\1/p'
done | awk '!seen[$0]++' | while read -r file; do
    number=$((${number:-100} + 1)) # In the order in which they are to be loaded.
    cp "$file" "$first/modules/$number-${file##*/}"
done
cat >"$first/init" <<'INIT'
#!/bin/busybox sh
busybox=/bin/busybox
$busybox mount -t devtmpfs dev /dev
for module in /modules/*; do $busybox insmod "$module"; done
until [ -b /dev/vda ]; do $busybox usleep 10000; done
$busybox mount -t ext4 -o noatime /dev/vda /new
$busybox mount --move /dev /new/dev
exec $busybox switch_root /new /init
INIT
chmod 755 "$first/init"
(cd "$first" && find . | cpio -o -H newc -R 0:0 --quiet) >"$work/first.cpio"

root=$work/root
mkdir -p "$root"/{bin,sbin,etc,proc,sys,dev,tmp,run,out,lab,root,var/tmp,lib64,usr/bin,usr/lib,srv} "$root/lib/modules/$release"
cp "$(command -v busybox)" "$root/bin/busybox"
echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
echo 'root:x:0:' >"$root/etc/group"
echo '127.0.0.1 localhost' >"$root/etc/hosts"
for program in ${programs[@]+"${programs[@]}"}; do
    found=$(command -v "$program") || broken "there is no program $program"
    cp -L "$found" "$root/usr/bin/${found##*/}"
    { ldd "$found" 2>/dev/null || true; } | grep -o '/[^ )]*' | sort -u | while read -r library; do
        case $library in /lib64/*) cp -L "$library" "$root/lib64/" ;; *) cp -L "$library" "$root/lib/" ;; esac
    done
done
for directory in ${directories[@]+"${directories[@]}"}; do cp -a "$directory/." "$root/lab/"; done
for directory in ${roots[@]+"${roots[@]}"}; do cp -a "$directory/." "$root/"; done
if [ $# = 1 ]; then printf '%s\n' "$1"; else printf '%q ' "$@"; fi >"$root/etc/command"
cat >"$root/bin/uptime_ms" <<'UPTIME'
#!/bin/busybox sh
read seconds idle </proc/uptime
echo $((${seconds%.*} * 1000 + 1${seconds#*.} * 10 - 1000))
UPTIME
cat >"$root/init" <<INIT
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/lab:/usr/bin:/bin:/sbin HOME=/root LD_LIBRARY_PATH=/lib TERM=dumb
mount -t proc proc /proc
mount -t sysfs sys /sys
mkdir -p /dev/pts /dev/shm
mount -t devpts pts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs -o mode=1777 tmp /tmp
mount -t tmpfs run /run
mount -t cgroup2 cgroup /sys/fs/cgroup
for controller in \$(cat /sys/fs/cgroup/cgroup.controllers); do echo +\$controller >/sys/fs/cgroup/cgroup.subtree_control; done
ip link set lo up
mount -t ext4 -o ro,noload /dev/vdb /lib/modules/$release
modprobe kvm_amd nested=0
for module in vhost_vsock tun; do modprobe \$module; done
hostname machine
cd /lab
stty -F /dev/ttyS1 raw -echo
stty -F /dev/ttyS2 raw -echo
sh -c 'eval "\$(cat /etc/command)"' </dev/null >/dev/ttyS1 2>&1
echo "status \$?" >/dev/ttyS2
cd /
sync
mount -o remount,ro /
usleep 100000 # The last bytes leave the serial port.
reboot -f
INIT
chmod 755 "$root/init" "$root/bin/uptime_ms"
disk "$work/disk" "$((space_mib + 64))" "$root"
rm -rf "$root"

: >"$work/status" && : >"$work/console" && : >"$work/said"
mkfifo "$work/monitor"
exec {monitor}<>"$work/monitor" # Held open: the monitor must never read its end.
qemu-system-x86_64 "${acceleration[@]}" -cpu "$cpu" -M q35 -m "$memory_mib" -smp "$processors" \
    -nodefaults -no-user-config -display none -no-reboot -kernel "$vmlinuz" -initrd "$work/first.cpio" \
    -append "console=ttyS0 reboot=t panic=-1 quiet mitigations=off random.trust_cpu=on $kernel_options" \
    -drive "file=$work/disk,format=raw,if=none,id=root,cache=unsafe" -device virtio-blk-pci,drive=root \
    -drive "file=$modules,format=raw,if=none,id=modules,readonly=on" -device virtio-blk-pci,drive=modules \
    -serial "file:$work/console" -serial "file:$work/said" -serial "file:$work/status" \
    -monitor stdio <&$monitor >"$work/monitored" 2>"$work/qemu" &
machine=$!
tail -q -c +1 -s 0.2 --pid="$machine" -f "$work/said" &
teller=$!

# over: waits for the machine's end, at most until a limit; says which limit that was.
over() {
    local deadline=$((SECONDS + time_limit_s)) said_before=-1 said since=$SECONDS
    while kill -0 "$machine" 2>/dev/null; do
        said=$(stat -c %s "$work/said")
        [ "$said" = "$said_before" ] || { said_before=$said since=$SECONDS; }
        [ $SECONDS -lt $deadline ] || { echo "ended after $time_limit_s s"; return; }
        [ $((SECONDS - since)) -lt "${silence_limit_s:-$time_limit_s}" ] || { echo "silent for $silence_limit_s s"; return; }
        timeout 5 tail --pid="$machine" -f /dev/null || true
    done
}
# last_words: the registers, twice, then an NMI, at which the kernel tells of all tasks and processors, and ends.
last_words() {
    cp "$work/console" "$work/console-before"
    { echo 'info status'; echo 'info registers -a'; echo 'info lapic'; sleep 1; echo 'info registers -a'; echo nmi; } >&$monitor
    timeout $last_words_s tail --pid="$machine" -f /dev/null || true
    kill -9 "$machine" 2>/dev/null || true
}
limit=$(over)
[ -z "$limit" ] || last_words
wait "$machine" 2>/dev/null || true
machine=
exec {monitor}>&-
wait "$teller" 2>/dev/null || true
cat "$work/qemu" >&2
if [ -n "$output" ]; then
    mkdir -p "$output"
    debugfs -R "rdump /out $work" "$work/disk" 2>/dev/null || true
    [ ! -d "$work/out" ] || cp -a "$work/out/." "$output/"
fi
status=$(sed -n 's/^status \([0-9]*\).*/\1/p' "$work/status" | head -1)
[ -e "$work/console-before" ] || cp "$work/console" "$work/console-before"
if [ -n "$limit" ]; then
    echo "--- the machine's processors, seen twice" >&2
    grep -aE 'VM status|^CPU#|^R[ABCD]X|^R[SD]I|^RIP|^CR0|HLT=' "$work/monitored" >&2 || true
    echo "--- the machine's console, all of it" >&2
    cat "$work/console" >&2
elif [ $console = 1 ] || [ -z "$status" ]; then
    echo "--- the machine's console" >&2
    tail -200 "$work/console" >&2
fi
if [ "${status:-1}" != 0 ] && grep -aqE "$corrupted" "$work/console-before"; then
    grep -aE -m 20 -A 30 "$corrupted" "$work/console-before" >&2
    broken "its kernel found itself corrupted"
fi
case $limit in
'') [ -n "$status" ] || broken "it ended without a status" ;;
silent*) broken "$limit: stuck" ;;
*) echo "machine: $limit" >&2 && exit 124 ;;
esac
exit "$status"
