//! The transport with a device that does nothing but count.

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use virtio_queue::{Queue, QueueT};

use super::*;
use crate::devices::virtio::testing::Driver;

#[derive(Default)]
struct Counter {
    queues: Vec<Queue>,
    interrupt: Option<Interrupt>,
    notified: Vec<usize>,
    resets: Arc<AtomicUsize>,
    written: Vec<u8>,
    kept: Vec<u8>,
}

impl VirtioDevice for Counter {
    fn device_type(&self) -> u32 {
        42
    }

    fn queue_sizes(&self) -> &[u16] {
        &[16, 64]
    }

    fn features(&self) -> u64 {
        F_EVENT_INDEX | 1
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        data.fill(offset as u8);
    }

    fn write_config(&mut self, offset: u64, data: &[u8]) {
        self.written.push(offset as u8);
        self.written.extend_from_slice(data);
    }

    fn activate(&mut self, activation: Activation) -> io::Result<()> {
        assert!(self.queues.is_empty(), "activated twice");
        self.queues = activation.queues;
        self.interrupt = Some(activation.interrupt);
        Ok(())
    }

    fn reset(&mut self) {
        self.queues.clear();
        self.interrupt = None;
        self.resets.fetch_add(1, Ordering::Relaxed);
    }

    fn on_notify(&mut self, queue: usize) {
        assert!(!self.queues.is_empty(), "notified without queues");
        self.notified.push(queue);
    }

    fn queues(&self) -> &[Queue] {
        &self.queues
    }

    fn save(&self) -> Vec<u8> {
        vec![7]
    }

    fn restore(&mut self, saved: &[u8]) -> io::Result<()> {
        self.kept = saved.to_vec();
        Ok(())
    }
}

fn counter(driver: &mut Driver) -> &mut Counter {
    driver.transport.device().unwrap()
}

#[test]
fn says_what_it_is_before_anything_is_written() {
    let mut driver = Driver::new(Box::<Counter>::default());
    assert_eq!([driver.read(0), driver.read(4), driver.read(8)], [0x7472_6976, 2, 42]);
    assert_eq!(driver.read(0x70), 0);
    assert_eq!([driver.read(0xb0), driver.read(0xb4), driver.read(0xc0), driver.read(0xf0)], [!0, !0, 0, 0]);
    let mut wide = [1; 8];
    driver.transport.read(0, &mut wide);
    assert_eq!(wide, [0; 8]);
    assert_eq!(driver.configuration(5), [5, 5]);
}

#[test]
fn a_driver_that_is_ready_starts_the_device_on_the_event_loop() {
    let mut driver = Driver::new(Box::<Counter>::default());
    assert_eq!(driver.negotiate(u64::MAX), F_VERSION_1 | F_EVENT_INDEX | 1);
    driver.set_up_queues();
    assert!(driver.transport.changed().read().is_err());
    driver.write(0x70, 15);
    assert!(!driver.transport.is_working());
    assert!(driver.transport.changed().read().is_ok());
    // The notification came before the loop looked at `changed`.
    driver.notify(1);
    driver.notify(2);
    assert!(driver.transport.is_working());
    let device = counter(&mut driver);
    assert_eq!(device.notified, [1]);
    assert!(device.queues[0].event_idx_enabled());
    assert_eq!([device.queues[0].size(), device.queues[1].size()], [16, 16]);
}

#[test]
fn notify_by_register_raises_the_same_event() {
    let mut driver = Driver::new(Box::<Counter>::default());
    driver.start(0);
    driver.write(QUEUE_NOTIFY_OFFSET, 1);
    driver.write(QUEUE_NOTIFY_OFFSET, 2);
    assert!(driver.transport.queue_events()[0].read().is_err());
    assert!(driver.transport.queue_events()[1].read().is_ok());
}

#[test]
fn features_that_are_not_offered_or_not_modern_are_refused() {
    for (low, high) in [(1, 0), (2, 1), (1, 3)] {
        let mut driver = Driver::new(Box::<Counter>::default());
        driver.write(0x70, 3);
        for (half, bits) in [(0, low), (1, high), (2, 9)] {
            driver.write(0x24, half);
            driver.write(0x20, bits);
        }
        driver.write(0x70, 11);
        assert_eq!(driver.read(0x70), 3, "{low} {high}");
    }
}

#[test]
fn a_queue_outside_memory_or_misaligned_is_never_ready() {
    let wild = [u64::MAX - 15, 0x8000_0000, 0x3fff0, 0x11];
    for (register, address) in [0x80, 0x90, 0xa0].into_iter().flat_map(|r| wild.map(|a| (r, a))) {
        let mut driver = Driver::new(Box::<Counter>::default());
        driver.negotiate(F_VERSION_1);
        driver.set_up_queues();
        driver.write(0x44, 0);
        driver.write(register, address as u32);
        driver.write(register + 4, (address >> 32) as u32);
        driver.write(0x44, 1);
        assert_eq!(driver.read(0x44), 0, "{register:#x} {address:#x}");
    }
    for size in [0, 3, 128, 1 << 16] {
        let mut driver = Driver::new(Box::<Counter>::default());
        driver.negotiate(F_VERSION_1);
        driver.set_up_queues();
        driver.write(0x44, 0);
        driver.write(0x38, size);
        driver.write(0x44, 1);
        assert_eq!(driver.read(0x44), 0, "{size}");
    }
}

#[test]
fn a_reset_takes_the_queues_away_at_once() {
    let resets = Arc::new(AtomicUsize::new(0));
    let mut driver = Driver::new(Box::new(Counter { resets: resets.clone(), ..Counter::default() }));
    driver.start(0);
    driver.was_interrupted();
    let _ = driver.transport.changed().read();
    counter(&mut driver).interrupt.clone().unwrap().used_queue();
    driver.write(0x70, 0);
    assert_eq!(resets.load(Ordering::Relaxed), 1);
    assert_eq!([driver.read(0x70), driver.read(0x44), driver.read(0x60)], [0, 0, 0]);
    assert!(driver.transport.changed().read().is_ok());
    driver.notify(0);
    driver.start(0);
    driver.notify(0);
    assert_eq!(counter(&mut driver).notified, [0]);
}

#[test]
fn a_broken_driver_is_left_alone_until_it_resets() {
    let mut driver = Driver::new(Box::<Counter>::default());
    driver.start(0);
    counter(&mut driver).interrupt.clone().unwrap().broken();
    driver.notify(0);
    assert_eq!(driver.read(0x70), 15 | 64);
    assert!(driver.was_interrupted());
    assert!(counter(&mut driver).notified.is_empty());
    driver.start(0);
    assert_eq!(driver.read(0x70), 15);
}

#[test]
fn the_configuration_is_written_only_after_features_and_changes_generation() {
    let mut driver = Driver::new(Box::<Counter>::default());
    driver.transport.write(0x104, &[9]);
    driver.start(0);
    driver.transport.write(0x105, &[8]);
    assert_eq!(counter(&mut driver).written, [5, 8]);
    let before = driver.read(0xfc);
    counter(&mut driver).interrupt.clone().unwrap().configuration_changed();
    assert_eq!(driver.read(0x60), 2);
    assert_ne!(driver.read(0xfc), before);
}

#[test]
fn a_restored_transport_goes_on_where_it_was() {
    let mut driver = Driver::new(Box::<Counter>::default());
    driver.start(u64::MAX);
    let device = counter(&mut driver);
    device.queues[1].set_next_avail(3);
    device.queues[1].set_next_used(2);
    device.interrupt.clone().unwrap().configuration_changed();
    let state = driver.transport.save();
    let bytes = postcard::to_stdvec(&state).unwrap();
    assert_eq!(postcard::from_bytes::<TransportState>(&bytes).unwrap(), state);

    let mut clone = Driver::with_memory(Box::<Counter>::default(), driver.memory.clone());
    clone.transport.restore(&state).unwrap();
    assert!(clone.line.read().is_ok());
    assert!(clone.transport.queue_events().iter().all(|event| event.read().is_ok()));
    assert_eq!([clone.read(0x70), clone.read(0x60), clone.read(0xfc)], [15, 2, 1]);
    let device = counter(&mut clone);
    assert_eq!([device.queues[1].next_avail(), device.queues[1].next_used()], [3, 2]);
    assert_eq!(device.kept, [7]);
    assert_eq!(clone.transport.save(), state);
}

#[test]
fn a_state_before_the_driver_was_ready_starts_nothing() {
    let mut driver = Driver::new(Box::<Counter>::default());
    driver.negotiate(F_VERSION_1);
    driver.set_up_queues();
    let state = driver.transport.save();
    let mut clone = Driver::with_memory(Box::<Counter>::default(), driver.memory.clone());
    clone.transport.restore(&state).unwrap();
    assert!(!clone.transport.is_working());
    clone.write(0x70, 15);
    clone.transport.on_changed();
    assert!(clone.transport.is_working());
}

#[test]
fn a_damaged_state_is_refused() {
    let mut driver = Driver::new(Box::<Counter>::default());
    driver.start(0);
    let good = driver.transport.save();
    let damage: [fn(&mut TransportState); 6] = [
        |state| state.device_type = 2,
        |state| state.status = 4,
        |state| state.driver_features |= 2,
        |state| state.queues.clear(),
        |state| state.queues[1].descriptors = 1 << 40,
        |state| state.queues[0].size = 5,
    ];
    for change in damage {
        let mut state = good.clone();
        change(&mut state);
        let mut clone = Driver::new(Box::<Counter>::default());
        assert!(clone.transport.restore(&state).is_err(), "{state:?}");
    }
}

proptest! {
    /// Any registers in any order: no panic, and queues only with a driver.
    #[test]
    fn any_writes_are_survived(writes in prop::collection::vec((0_u64..0x110, any::<u32>(), 0_usize..9), 0..60)) {
        let mut driver = Driver::new(Box::<Counter>::default());
        for (offset, value, width) in writes {
            let value = if offset % 3 == 0 { value % 16 } else { value };
            driver.transport.write(offset & !3, &u64::from(value).to_le_bytes()[..width.min(8)]);
            driver.write(offset & !3, value);
            driver.notify(value as usize % 4);
            let _ = driver.read(offset & !3);
        }
        let state = driver.transport.save();
        let mut clone = Driver::with_memory(Box::<Counter>::default(), driver.memory.clone());
        clone.transport.restore(&state).unwrap();
        prop_assert_eq!(clone.transport.is_working(), driver.transport.is_working());
    }
}
