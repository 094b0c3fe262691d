//! What a guest sees besides memory and CPUs.

pub mod fitting;
pub mod reset_line;
pub mod serial;
pub mod virtio;
