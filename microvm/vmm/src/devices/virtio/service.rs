//! How a device works through a queue: a bounded number of chains each time it is woken.
//!
//! One thread serves all devices of a machine. A device that would go on for as long as its driver feeds it would keep
//! the others waiting, so it stops at its budget and asks to be woken again ([`super::alarm::Alarm::soon`]).

use virtio_queue::{Error, Queue, QueueOwnedT as _, QueueT as _};

use super::Interrupt;
use super::chain::Chain;
use crate::memory::GuestMemory;

/// What became of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Done; so many bytes were written into it, from its first writable byte on.
    Used(u32),
    /// Not now: it stays at the head of the queue.
    Later,
}

/// Why serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// The queue is empty; the driver notifies when it no longer is.
    Empty,
    /// The budget is used up; the driver won't notify of what is left.
    Budget,
    /// The device said [`Answer::Later`]; the driver won't notify of what is left.
    Held,
}

/// Hands chains of `queue` to `handle`, `budget` at most, returns them to the driver and interrupts it once if it wants
/// that. Malformed chains go back unseen. A driver that breaks the queue itself stops the device
/// ([`Interrupt::broken`]).
pub fn serve(
    queue: &mut Queue,
    memory: &GuestMemory,
    interrupt: &Interrupt,
    budget: usize,
    handle: impl FnMut(Chain<'_>) -> Answer,
) -> Served {
    if !queue.ready() {
        return Served::Empty;
    }
    let before = queue.next_used();
    let served = work(queue, memory, budget, handle);
    let wants_word = queue.next_used() != before && queue.needs_notification(memory).unwrap_or(true);
    if wants_word {
        interrupt.used_queue();
    }
    served.unwrap_or_else(|_| {
        interrupt.broken();
        Served::Empty
    })
}

fn work(
    queue: &mut Queue,
    memory: &GuestMemory,
    mut budget: usize,
    mut handle: impl FnMut(Chain<'_>) -> Answer,
) -> Result<Served, Error> {
    loop {
        queue.disable_notification(memory)?;
        while let Some(descriptors) = queue.iter(memory)?.next() {
            if budget == 0 {
                queue.go_to_previous_position();
                return Ok(Served::Budget);
            }
            budget -= 1;
            let head = descriptors.head_index();
            let answer = Chain::check(descriptors, memory).map_or(Answer::Used(0), &mut handle);
            let Answer::Used(bytes) = answer else {
                queue.go_to_previous_position();
                return Ok(Served::Held);
            };
            queue.add_used(memory, head, bytes)?;
        }
        if budget == 0 {
            return Ok(Served::Budget);
        }
        if !queue.enable_notification(memory)? {
            return Ok(Served::Empty);
        }
        // A buffer came in between. Looking again counts as well, so that this ends whatever the driver does.
        budget -= 1;
    }
}
