//! The one line of the keyboard controller that guests still use: the one that resets the machine
//! (Linux, `reboot=k`; also the reset register of our ACPI tables).

use std::sync::Arc;

use crate::bus::BusDevice;
use crate::control::StopReason;
use crate::machine::Stop;

/// Offset of the command port.
const COMMAND: u64 = 4;
/// Pulses the CPU's reset line.
const RESET: u8 = 0xfe;

/// See the module.
#[derive(Debug)]
pub struct ResetLine {
    stop: Arc<Stop>,
}

impl ResetLine {
    /// Ends the machine by `stop`.
    #[must_use]
    pub fn new(stop: Arc<Stop>) -> Self {
        Self { stop }
    }
}

impl BusDevice for ResetLine {
    /// Nothing is pending and nothing is busy; a keyboard that says so is found absent by its answers.
    fn read(&mut self, _: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        if (offset, data) == (COMMAND, &[RESET]) {
            self.stop.because(StopReason::Reset);
        }
    }
}
