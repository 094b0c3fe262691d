//! How much of a streamed answer may be under way.
//!
//! Each hop (sandbox to worker, worker to frontend) passes pieces on as they come, and no more of them than the next one
//! has taken: that is what holds a function back whose caller reads slowly. Ours: AWS names no such numbers.

/// Most bytes in one piece of a streamed answer.
pub const STREAM_CHUNK_MAX_BYTES: usize = 64 * 1024;
/// Most of a streamed answer that may be under way on one hop: sent and not yet taken, counted by [`stream_cost`].
pub const STREAM_WINDOW: u64 = 1024 * 1024;
/// What a piece costs beyond its bytes, so that many small ones are bounded, too.
const PIECE_COST: u64 = 256;

/// What a piece of so many bytes takes of the window.
#[must_use]
pub const fn stream_cost(bytes: usize) -> u64 {
    bytes as u64 + PIECE_COST
}

// A window that can't take the largest piece would never open again.
const _: () = assert!(STREAM_WINDOW >= 4 * stream_cost(STREAM_CHUNK_MAX_BYTES));
