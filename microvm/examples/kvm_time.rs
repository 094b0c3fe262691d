//! How long microVMs take from a request to their shim's word: boot, snapshot, restore; each with a process that waited
//! for it and with one started for it. In the emulated machine's instruction clock a "ms" is a million instructions. As
//! root:
//!
//!     cargo run --release -p hearth-microvm --example kvm_time -- GUEST_IMAGES PROGRAMS [rounds]
//!
//! `PROGRAMS` is the directory of `hearth-vmm` and `hearth-shim`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use hearth_guest_protocol::{
    GuestMessage, HostMessage, PrepareSnapshot, RESTORE_ENTROPY_BYTES, Restore, decode, encode, guest_message,
    host_message,
};
use hearth_microvm::kvm::{KvmConfig, KvmLauncher};
use hearth_microvm::{BootSpec, Launcher, Limits, RestoreSpec, Sandbox};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

const ROUNDS: usize = 5;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut args = std::env::args_os().skip(1);
    let (images, programs) = (args.next().expect("guest images"), PathBuf::from(args.next().expect("programs")));
    let rounds = args.next().map_or(ROUNDS, |text| text.to_string_lossy().parse().expect("a number of rounds"));
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (name, spares) in [("waiting", 2), ("started", 0)] {
        let state = directory.path().join(name);
        let config = KvmConfig { spares, ..KvmConfig::new(&state, programs.join("hearth-vmm"), &images) };
        let start = Instant::now();
        let launcher = KvmLauncher::new(config).expect("microVMs");
        println!("process {name}: launcher ready after {:.1?}", start.elapsed());
        let bench = Bench { launcher, shim: programs.join("hearth-shim"), snapshot: state.join("snapshot") };
        bench.run(name, rounds).await;
    }
}

struct Bench {
    launcher: KvmLauncher,
    shim: PathBuf,
    snapshot: PathBuf,
}

impl Bench {
    async fn run(&self, name: &str, rounds: usize) {
        // The first makes the boot image.
        let first = self.boot("first", None).await;
        println!("process {name}: first boot, with its image: {first}");
        for round in 0..rounds {
            println!("process {name}: boot {}", self.boot(&format!("boot-{round}"), None).await);
        }
        println!("process {name}: {}", self.take_snapshot().await);
        for round in 0..rounds {
            // The first records what it touched.
            println!("process {name}: restore {}", self.restore(&format!("restore-{round}"), round == 0).await);
        }
    }

    async fn boot(&self, id: &str, snapshot_into: Option<PathBuf>) -> Times {
        let (mut sandbox, times) = self.booted(id, snapshot_into).await;
        sandbox.0.kill().await.expect("its end");
        times
    }

    async fn booted(&self, id: &str, snapshot_into: Option<PathBuf>) -> ((Box<dyn Sandbox>, Talk), Times) {
        let start = Instant::now();
        let mut sandbox = self.launcher.boot(spec(id, &self.shim, snapshot_into)).await.expect("a machine");
        let made = start.elapsed();
        let mut talk = Talk::new(&mut *sandbox);
        let word = talk.hear().await;
        assert!(matches!(word, guest_message::Kind::Ready(_)), "{word:?}");
        ((sandbox, talk), Times { made, word: start.elapsed() })
    }

    async fn take_snapshot(&self) -> String {
        let ((mut sandbox, mut talk), _) = self.booted("pooled", Some(self.snapshot.clone())).await;
        talk.say(host_message::Kind::PrepareSnapshot(PrepareSnapshot {})).await;
        let word = talk.hear().await;
        assert!(matches!(word, guest_message::Kind::SnapshotReady(_)), "{word:?}");
        let start = Instant::now();
        sandbox.snapshot().await.expect("a snapshot");
        format!("snapshot taken in {:.1?}", start.elapsed())
    }

    async fn restore(&self, id: &str, record: bool) -> Times {
        let limits = spec(id, &self.shim, None).limits;
        let restore = RestoreSpec { id: id.to_owned(), snapshot: self.snapshot.clone(), limits, snapshot_into: None };
        let start = Instant::now();
        let mut sandbox = self.launcher.restore(restore).await.expect("a machine");
        let made = start.elapsed();
        let mut talk = Talk::new(&mut *sandbox);
        let unix_ns = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        let host_name = id.to_owned();
        let entropy = vec![7; RESTORE_ENTROPY_BYTES].into();
        let news = Restore { entropy, unix_ns, host_name, network: None, environment: Vec::new() };
        talk.say(host_message::Kind::Restore(news)).await;
        let word = talk.hear().await;
        assert!(matches!(word, guest_message::Kind::Restored(_)), "{word:?}");
        let times = Times { made, word: start.elapsed() };
        if record {
            sandbox.record_prefetch().await.expect("a list");
        }
        let usage = sandbox.usage().expect("usage");
        sandbox.kill().await.expect("its end");
        println!("    memory charged: {} KB", usage.memory_bytes >> 10);
        times
    }
}

/// Since the request.
struct Times {
    /// The machine runs.
    made: Duration,
    /// Its shim has answered.
    word: Duration,
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "machine made after {:.1?}, its shim's word after {:.1?}", self.made, self.word)
    }
}

struct Talk {
    channel: UnixStream,
    heard: BytesMut,
}

impl Talk {
    fn new(sandbox: &mut dyn Sandbox) -> Self {
        Self { channel: sandbox.channel().expect("its channel"), heard: BytesMut::new() }
    }

    async fn say(&mut self, kind: host_message::Kind) {
        let mut bytes = BytesMut::new();
        encode(&HostMessage { kind: Some(kind) }, &mut bytes).expect("a frame");
        self.channel.write_all(&bytes).await.expect("a channel");
    }

    async fn hear(&mut self) -> guest_message::Kind {
        loop {
            if let Some(GuestMessage { kind: Some(kind) }) = decode(&mut self.heard).expect("a frame") {
                return kind;
            }
            assert!(self.channel.read_buf(&mut self.heard).await.expect("a channel") > 0, "the guest has hung up");
        }
    }
}

fn spec(id: &str, shim: &Path, snapshot_into: Option<PathBuf>) -> BootSpec {
    let limits = Limits {
        memory_bytes: 128 << 20,
        milli_cpus: 1_000,
        max_processes: 64,
        max_open_files: 1_024,
        tmp_bytes: 512 << 20,
    };
    let env = vec![(OsString::from("TZ"), OsString::from(":UTC"))];
    let image = Some("provided".to_owned());
    BootSpec {
        id: id.to_owned(),
        init: shim.to_owned(),
        args: Vec::new(),
        env,
        read_only: Vec::new(),
        limits,
        image,
        snapshot_into,
    }
}
