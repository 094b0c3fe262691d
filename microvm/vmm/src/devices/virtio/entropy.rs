//! Entropy for the guest's random number generator, from the host's (virtio 1.2, section 5.4).
//!
//! What a guest asked for and did not use yet is in a snapshot, and so in all its copies; the shim reseeds after a
//! restore, which this device can't cause.

use std::io;
use std::os::fd::AsFd as _;

use rustix::rand::{GetRandomFlags, getrandom};
use virtio_queue::Queue;

use super::chain::{Buffers, Chain};
use super::pace::Pace;
use super::service::{Answer, serve};
use super::transport::F_EVENT_INDEX;
use super::{Activation, Source, VirtioDevice};
use crate::control::RateLimit;

/// Bytes given for one request; the driver may ask again. Linux asks for 64 or less.
pub const BYTES_PER_REQUEST: usize = 4096;
/// Requests answered before other devices get their turn.
pub const REQUESTS_PER_WAKE: usize = 8;
/// What a guest may draw from the host's generator: it costs the host time.
pub const RATE: RateLimit = RateLimit { burst: 64 << 10, per_second: 64 << 10 };

const DEVICE_TYPE: u32 = 4;
/// Bytes the kernel gives at once without being interrupted by a signal (getrandom(2)).
const DRAW_BYTES: usize = 256;

/// The device.
pub struct Entropy {
    pace: Pace,
    activation: Option<Activation>,
}

impl Entropy {
    /// A device that may draw at [`RATE`].
    ///
    /// # Errors
    ///
    /// The process has no descriptor left.
    pub fn new() -> io::Result<Self> {
        Ok(Self { pace: Pace::new(Some(RATE), None)?, activation: None })
    }

    fn work(&mut self) {
        let Some(activation) = &mut self.activation else { return };
        let handle = |mut chain: Chain<'_>| {
            let buffers = chain.writable.take(BYTES_PER_REQUEST);
            if self.pace.admit(buffers.bytes() as u64) { Answer::Used(fill(buffers)) } else { Answer::Later }
        };
        let served =
            serve(&mut activation.queues[0], &activation.memory, &activation.interrupt, REQUESTS_PER_WAKE, handle);
        self.pace.after_serving(served);
    }
}

/// Fills the front of `buffers`; how many bytes of it. Stops early only if the host's generator fails.
fn fill(mut buffers: Buffers<'_>) -> u32 {
    let (mut bytes, mut done) = ([0; DRAW_BYTES], 0);
    while buffers.bytes() > 0 {
        let Ok(drawn) = getrandom(&mut bytes, GetRandomFlags::empty()) else { break };
        done += buffers.take(drawn).copy_from(&bytes) as u32;
    }
    done
}

impl VirtioDevice for Entropy {
    fn device_type(&self) -> u32 {
        DEVICE_TYPE
    }

    fn queue_sizes(&self) -> &[u16] {
        &[16]
    }

    fn features(&self) -> u64 {
        F_EVENT_INDEX
    }

    fn read_config(&self, _offset: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn activate(&mut self, activation: Activation) -> io::Result<()> {
        self.activation = Some(activation);
        Ok(())
    }

    fn reset(&mut self) {
        self.activation = None;
    }

    fn on_notify(&mut self, _queue: usize) {
        self.work();
    }

    fn sources(&self) -> Vec<Source<'_>> {
        vec![Source { fd: self.pace.as_fd(), readable: true, writable: false }]
    }

    fn on_ready(&mut self, _source: usize) {
        self.pace.clear();
        self.work();
    }

    fn queues(&self) -> &[Queue] {
        self.activation.as_ref().map_or(&[], |activation| &activation.queues)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::devices::virtio::testing::{BUFFERS, Driver, MEMORY_BYTES};

    fn started() -> Driver {
        let mut driver = Driver::new(Box::new(Entropy::new().unwrap()));
        driver.start(0);
        driver
    }

    #[test]
    fn fills_what_it_is_given_up_to_its_bound() {
        let mut driver = started();
        driver.add(0, &[(BUFFERS, 300, true), (BUFFERS + 0x1000, 100, true)]);
        driver.add(0, &[(BUFFERS, 0x2000, true)]);
        driver.add(0, &[(BUFFERS, 8, false)]);
        driver.notify(0);
        assert_eq!(driver.used(0), [(0, 400), (2, BYTES_PER_REQUEST as u32), (3, 0)]);
        assert!(driver.was_interrupted());
        assert_ne!(driver.get(BUFFERS + 0x1000, 100), [0; 100]);
        assert_eq!(driver.get(BUFFERS + BYTES_PER_REQUEST as u64 + 100, 16), [0; 16]);
    }

    #[test]
    fn a_guest_that_draws_without_end_has_to_wait() {
        let mut driver = started();
        let mut bytes = 0;
        for _ in 0..6 {
            for _ in 0..REQUESTS_PER_WAKE {
                driver.add(0, &[(BUFFERS, BYTES_PER_REQUEST as u32, true)]);
            }
            driver.notify(0);
            let used = driver.used(0);
            bytes += used.iter().map(|(_, written)| u64::from(*written)).sum::<u64>();
            if used.len() < REQUESTS_PER_WAKE {
                break;
            }
        }
        // The test itself takes some time, in which a little is gained.
        assert!((RATE.burst..RATE.burst * 2).contains(&bytes), "{bytes}");
    }

    proptest! {
        #[test]
        fn hostile_queues_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            started().run_hostile(0, &bytes);
        }

        #[test]
        fn any_single_buffer_is_filled_or_refused(at in 0..2 * MEMORY_BYTES, length in any::<u32>()) {
            let mut driver = started();
            let length = if length % 2 == 0 { length % 0x2000 } else { length };
            driver.add(0, &[(at.max(BUFFERS), length, true)]);
            driver.notify(0);
            let is_inside = at.max(BUFFERS) + u64::from(length) <= MEMORY_BYTES;
            let expected = if is_inside { length.min(BYTES_PER_REQUEST as u32) } else { 0 };
            prop_assert_eq!(driver.used(0), [(0, expected)]);
        }
    }
}
