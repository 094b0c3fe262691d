//! The table itself.

use super::Role::{self, Frontend, Placement, Up, Worker, WorkerManager};
use super::Setting;

const ALL: &[Role] = &[Up, Frontend, WorkerManager, Placement, Worker];

/// Every setting, in the order help shows them.
pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        name: "listen",
        value: "ADDRESS",
        help: "Where to serve: the HTTP API (up, frontend: 127.0.0.1:9000) or other roles (worker-manager 127.0.0.1:9102, \
               placement 127.0.0.1:9101, worker 127.0.0.1:9103). The roles trust each other: keep theirs off public networks",
        roles: ALL,
    },
    Setting {
        name: "admin-listen",
        value: "ADDRESS",
        help: "Where to serve /live, /ready and /metrics [127.0.0.1:9001; other roles: a free port]",
        roles: ALL,
    },
    Setting {
        name: "data-dir",
        value: "DIR",
        help: "State [/var/lib/hearth for root, else ~/.local/share/hearth; worker: DIR/worker]",
        roles: &[Up, Frontend, Worker],
    },
    Setting {
        name: "isolation",
        value: "KIND",
        help: "auto, kvm, jail or process; auto takes the strongest this host has in full and never process [auto]",
        roles: &[Up, Worker],
    },
    Setting {
        name: "guest-images",
        value: "DIR",
        help: "What microVMs boot from, made by `cargo xtask guest-image` [guest-images beside hearth]",
        roles: &[Up, Worker],
    },
    Setting {
        name: "guest-kernel",
        value: "FILE",
        help: "Another kernel for microVMs, an uncompressed ELF file or a bzImage [that of the guest images]",
        roles: &[Up, Worker],
    },
    Setting {
        name: "guest-kernel-devices",
        value: "acpi|command-line",
        help: "How that kernel finds its devices: distributions' through ACPI, others by their command line \
               (CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES) [acpi]",
        roles: &[Up, Worker],
    },
    Setting {
        name: "guest-kernel-modules",
        value: "FILES",
        help: "The modules that kernel needs to find its drives, in the order they are loaded, separated by commas",
        roles: &[Up, Worker],
    },
    Setting {
        name: "guest-huge-pages",
        value: "on|off",
        help: "Ask for huge pages for the memory of microVMs, where the file system of the state has them [off]",
        roles: &[Up, Worker],
    },
    Setting {
        name: "drive-bandwidth-mb",
        value: "MB",
        help: "Megabytes a second that a microVM may read from each of its drives, runtime and code [no limit]",
        roles: &[Up, Worker],
    },
    Setting {
        name: "drive-requests",
        value: "N",
        help: "Requests a second that a microVM may make to each of its drives [no limit]",
        roles: &[Up, Worker],
    },
    Setting {
        name: "guest-console",
        value: "DIR",
        help: "Write the serial console of each microVM to a file there, for debugging; slower boots",
        roles: &[Up, Worker],
    },
    Setting {
        name: "worker-manager",
        value: "URL",
        help: "Where the worker manager serves [http://127.0.0.1:9102]",
        roles: &[Frontend],
    },
    Setting {
        name: "placement",
        value: "URL",
        help: "Where placement serves [http://127.0.0.1:9101]",
        roles: &[WorkerManager, Worker],
    },
    Setting {
        name: "id",
        value: "NAME",
        help: "Its name, unique in the fleet and the same after a restart [host name]",
        roles: &[WorkerManager, Worker],
    },
    Setting {
        name: "advertise",
        value: "URL",
        help: "Where others reach this worker [http:// and its listening address]",
        roles: &[Worker],
    },
    Setting {
        name: "bundle-dir",
        value: "DIR",
        help: "Code bundles, the same files that the frontend writes [DATA_DIR/bundles]",
        roles: &[Worker],
    },
    Setting {
        name: "pool-size",
        value: "N",
        help: "Sandboxes kept ready for each runtime; 0 turns the pool off [2]",
        roles: &[Up, Worker],
    },
    Setting {
        name: "pool-max",
        value: "N",
        help: "Most sandboxes kept ready for one runtime, however many cold starts there are [16]",
        roles: &[Up, Worker],
    },
    Setting {
        name: "snapshots",
        value: "on|off",
        help: "Whether microVMs start from snapshots of others like them instead of booting [on]",
        roles: &[Up, Worker],
    },
    Setting {
        name: "snapshots-max-mb",
        value: "MB",
        help: "Disk for snapshots; the least recently used go first [8192]",
        roles: &[Up, Worker],
    },
    Setting {
        name: "boot-timeout",
        value: "DURATION",
        help: "Longest boot of a sandbox, 1s to 900s; slow hosts, emulated ones above all, need more [30s]",
        roles: &[Up, Worker],
    },
    Setting {
        name: "restore-timeout",
        value: "DURATION",
        help: "Longest start of a sandbox from a snapshot, 1s to 900s; then it is booted [10s]",
        roles: &[Up, Worker],
    },
    Setting {
        name: "snapshot-timeout",
        value: "DURATION",
        help: "Longest making of a snapshot, 1s to 900s [60s]",
        roles: &[Up, Worker],
    },
    Setting {
        name: "init-timeout",
        value: "DURATION",
        help: "Longest init of a function before it runs again within the call, 1s to 900s [10s, as Lambda's]",
        roles: &[Up, Worker],
    },
    Setting { name: "max-slots", value: "N", help: "Most slots on this host [1000]", roles: &[Up, Worker] },
    Setting {
        name: "memory-mb",
        value: "MB",
        help: "Memory for slots [what the host has, less 512]",
        roles: &[Up, Worker],
    },
    Setting {
        name: "memory-overcommit-percent",
        value: "PERCENT",
        help: "Memory promised to slots in percent of what there is [200]",
        roles: &[Up, Worker],
    },
    Setting {
        name: "cpu-overcommit-percent",
        value: "PERCENT",
        help: "CPU promised to slots in percent of what workers have, 100 to 100000; an idle slot uses none [800]",
        roles: &[Up, Placement],
    },
    Setting {
        name: "region",
        value: "REGION",
        help: "Region in ARNs and in AWS_REGION [us-east-1]",
        roles: &[Up, Frontend],
    },
    Setting {
        name: "function-url-base",
        value: "URL",
        help: "What function URLs lie below, as https://functions.example.com [http:// and the host that clients use]",
        roles: &[Up, Frontend],
    },
    Setting {
        name: "account-concurrency",
        value: "N",
        help: "Concurrent calls of an account; more get 429 [1000]",
        roles: &[Up, Frontend],
    },
    Setting {
        name: "capacity-wait",
        value: "DURATION",
        help: "Longest wait of a call for a slot, then 429 or 503 [10s]",
        roles: &[Up, Frontend],
    },
    Setting {
        name: "keep-alive-min",
        value: "DURATION",
        help: "Shortest time an idle slot is kept [60s]",
        roles: &[Up, WorkerManager],
    },
    Setting {
        name: "keep-alive-max",
        value: "DURATION",
        help: "Longest time an idle slot is kept [1h]",
        roles: &[Up, WorkerManager],
    },
    Setting {
        name: "async-retry-delays",
        value: "DURATIONS",
        help: "Waits before the retries of a failed event, one for each retry [1m,2m]",
        roles: &[Up, Frontend],
    },
    Setting {
        name: "async-max-age",
        value: "DURATION",
        help: "Age at which an event is given up [6h]",
        roles: &[Up, Frontend],
    },
    Setting {
        name: "async-concurrency",
        value: "N",
        help: "Events that run at the same time [512]",
        roles: &[Up, Frontend],
    },
    Setting {
        name: "shutdown-grace",
        value: "DURATION",
        help: "Time for running calls after SIGTERM [30s]",
        roles: ALL,
    },
    Setting {
        name: "log",
        value: "FILTER",
        help: "What to tell on standard error: info, or warn,hearth_worker=debug",
        roles: ALL,
    },
    Setting { name: "log-format", value: "FORMAT", help: "text or json [text]", roles: ALL },
];
