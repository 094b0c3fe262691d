//! What a guest sees besides memory and CPUs.

pub mod reset_line;
pub mod virtio;
