//! What goes wrong with the state of a machine in KVM, and why a snapshot is refused.

use std::io;

/// KVM would not give a part of a machine's state, or not take it back.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Reading it failed.
    #[error("KVM does not give the {part}: {source}")]
    Get {
        /// Which part.
        part: &'static str,
        /// KVM's word.
        source: io::Error,
    },
    /// Writing it failed.
    #[error("KVM does not take the {part}: {source}")]
    Set {
        /// Which part.
        part: &'static str,
        /// KVM's word.
        source: io::Error,
    },
    /// KVM has no such register, or not this value of it.
    #[error("KVM does not take the model-specific register {index:#x}")]
    Msr {
        /// Its number.
        index: u32,
    },
    /// More than KVM can take.
    #[error("more {what} than KVM takes")]
    TooMany {
        /// Of what.
        what: &'static str,
    },
    /// The machine has another number of vCPUs than the snapshot.
    #[error("the snapshot has {snapshot} vCPUs, the machine {machine}")]
    Vcpus {
        /// In the snapshot.
        snapshot: usize,
        /// In the machine.
        machine: usize,
    },
}

impl StateError {
    pub(super) fn get<E: Into<io::Error>>(part: &'static str) -> impl Fn(E) -> Self {
        move |source| Self::Get { part, source: source.into() }
    }

    pub(super) fn set<E: Into<io::Error>>(part: &'static str) -> impl Fn(E) -> Self {
        move |source| Self::Set { part, source: source.into() }
    }
}

/// Why a snapshot can't be used here. All but [`Self::Io`] hold for good: boot instead, and make a new snapshot.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It could not be read this time.
    #[error("{file} of the snapshot could not be read: {source}")]
    Io {
        /// Which file.
        file: &'static str,
        /// The operating system's word.
        source: io::Error,
    },
    /// It is no snapshot.
    #[error("{file} is not a file of a snapshot")]
    Foreign {
        /// Which file.
        file: &'static str,
    },
    /// Another version wrote it.
    #[error("it has format {found}, this is hearth-vmm {} with format {expected}", crate::snapshot::BUILD)]
    Version {
        /// Its format.
        found: u32,
        /// The only one that this build reads.
        expected: u32,
    },
    /// Another build wrote it, whose devices may keep their state in another form.
    #[error("it was made by hearth-vmm {found}, this is {}", crate::snapshot::BUILD)]
    Build {
        /// The build that made it.
        found: String,
    },
    /// A file ends early, or is longer than it should be.
    #[error("{file} has {found} bytes in place of {expected}")]
    Length {
        /// Which file.
        file: &'static str,
        /// Bytes that it has.
        found: u64,
        /// Bytes that it should have.
        expected: u64,
    },
    /// What is there is not what was written.
    #[error("{file} is damaged: {what}")]
    Damaged {
        /// Which file.
        file: &'static str,
        /// What is wrong.
        what: String,
    },
    /// The guest was told of CPU features that this host does not have.
    #[error("this host's CPU (or its KVM) lacks {}", missing.join(", "))]
    Cpu {
        /// What is missing, by name.
        missing: Vec<String>,
    },
    /// The guest's clock would run at another speed.
    #[error("its time stamp counter runs at {snapshot} kHz, this host's at {host} kHz and can't be scaled")]
    TscFrequency {
        /// Of the snapshot, kHz.
        snapshot: u32,
        /// Of this host, kHz.
        host: u32,
    },
}

impl Refusal {
    pub(super) fn damaged(file: &'static str, what: impl ToString) -> Self {
        Self::Damaged { file, what: what.to_string() }
    }

    pub(super) fn io(file: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { file, source }
    }
}
