//! The transport in a snapshot: its registers, its queues, and what the device itself wants kept.

use serde::{Deserialize, Serialize};

use super::status::Status;
use super::{QueueRegisters, Transport};

/// A transport and its device at rest. Bytes of a snapshot are checked like those of a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransportState {
    /// Number of the device, to find a snapshot of other devices.
    pub device_type: u32,
    /// `Status`.
    pub status: u32,
    /// What the driver chose of the device's features.
    pub driver_features: u64,
    /// `DeviceFeaturesSel`, `DriverFeaturesSel`, `QueueSel`.
    pub selectors: [u32; 3],
    /// Its queues.
    pub queues: Vec<QueueRegisters>,
    /// `InterruptStatus`.
    pub interrupt_status: u32,
    /// `ConfigGeneration`.
    pub generation: u32,
    /// [`super::VirtioDevice::save`].
    pub device: Vec<u8>,
}

/// A state is not of this device, or damaged.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It is of another device.
    #[error("the state is of a virtio device {found}, not {expected}: restore with the devices that the snapshot had")]
    OtherDevice {
        /// Number in the state.
        found: u32,
        /// Number of the device.
        expected: u32,
    },
    /// Registers no driver could have brought about with this device.
    #[error("the state of virtio device {device_type} is damaged ({what}): make a new snapshot")]
    Damaged {
        /// The device.
        device_type: u32,
        /// What is impossible.
        what: &'static str,
    },
    /// The device did not take its part of the state.
    #[error("virtio device {device_type} can't go on from its state")]
    Device {
        /// The device.
        device_type: u32,
        /// Its word.
        source: std::io::Error,
    },
}

impl Transport {
    /// All there is to keep. The machine is paused: no vCPU runs, and the caller is the event loop's thread.
    #[must_use]
    pub fn save(&mut self) -> TransportState {
        self.settle();
        if self.is_active {
            self.queues = self.device.queues().iter().map(QueueRegisters::of).collect();
        }
        let broken = if self.interrupt.is_broken() { Status::NEEDS_RESET } else { 0 };
        TransportState {
            device_type: self.device.device_type(),
            status: self.status.bits() | broken,
            driver_features: self.driver_features,
            selectors: [self.device_features_select, self.driver_features_select, self.queue_select],
            queues: self.queues.clone(),
            interrupt_status: self.interrupt.status(),
            generation: self.interrupt.generation(),
            device: self.device.save(),
        }
    }

    /// Takes a new transport to where another was when `state` was saved. If there was a driver, the device starts at
    /// once with the queues as they were, and looks at each of them: a notification that was under way is not lost.
    ///
    /// # Errors
    ///
    /// The state is of another device or damaged. The transport is then of no more use.
    pub fn restore(&mut self, state: &TransportState) -> Result<(), StateError> {
        let device_type = self.device.device_type();
        let damaged = |what| StateError::Damaged { device_type, what };
        if state.device_type != device_type {
            return Err(StateError::OtherDevice { found: state.device_type, expected: device_type });
        }
        self.status = Status::from_bits(state.status).ok_or(damaged("status"))?;
        if self.status.has(Status::FEATURES_OK) && state.driver_features & !self.offered() != 0 {
            return Err(damaged("features"));
        }
        if state.queues.len() != self.queues.len() {
            return Err(damaged("number of queues"));
        }
        self.driver_features = state.driver_features;
        [self.device_features_select, self.driver_features_select, self.queue_select] = state.selectors;
        self.queues.clone_from(&state.queues);
        self.device.restore(&state.device).map_err(|source| StateError::Device { device_type, source })?;
        // First, so that a device can have more to say when it starts.
        self.interrupt.restore(state.interrupt_status, state.generation);
        if self.status.is_running() {
            self.activate().ok_or(damaged("queues"))?;
        }
        for event in &self.queue_events {
            // Fails only when its counter is full, which it can't be here.
            let _ = event.write(1);
        }
        Ok(())
    }
}
