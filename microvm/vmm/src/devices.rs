//! What a guest sees besides memory and CPUs.

pub mod virtio;
