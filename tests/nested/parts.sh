# What the scripts that start emulated machines have in common; they read it with `.`.

PATH=$PATH:/usr/sbin:/sbin

# tools_or_skip WHAT: where a tool is missing, nothing is tested, which is said, and the script ends well.
tools_or_skip() {
    local tool
    for tool in qemu-system-x86_64 busybox cpio depmod mke2fs debugfs; do
        command -v "$tool" >/dev/null && continue
        echo "=== SKIPPED: $1 NOT TESTED in this run: $tool is not installed (xtask/packages.sh test tries to)"
        echo "0 passed, 0 failed"
        exit 0
    done
}

# host_python ROOT PROGRAM: this host's Python for a machine: its library, and what that and the program link to, go to
# the root; the program itself to where it is wanted.
host_python() {
    local python version
    python=$(readlink -f /usr/bin/python3)
    version=$(basename "$python")
    mkdir -p "$1/usr/lib" "$1/lib"
    install -D "$python" "$2"
    tar -ch --exclude=test --exclude=__pycache__ --exclude=idlelib --exclude=lib2to3 --exclude=ensurepip \
        --exclude='config-3*' -C / "usr/lib/$version" | tar -x -C "$1"
    ldd "$python" "/usr/lib/$version"/lib-dynload/*.so | awk '$2 == "=>" { print $3 }' | sort -u |
        xargs -I{} cp -L {} "$1/lib/"
}
