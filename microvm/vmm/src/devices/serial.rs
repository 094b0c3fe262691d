//! The serial console, for debugging: what the guest writes goes to a descriptor, and nothing comes in.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use vm_superio::serial::NoEvents;
use vm_superio::{Serial, Trigger};

use crate::bus::BusDevice;

/// How many ports it has, from [`crate::layout::SERIAL_PORT`].
pub const PORTS: u64 = 8;

/// The device.
#[derive(Debug)]
pub struct Console(Serial<Line, NoEvents, File>);

struct Line(Box<dyn Fn() + Send>);

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Line")
    }
}

impl Trigger for Line {
    type E = Infallible;

    fn trigger(&self) -> Result<(), Infallible> {
        (self.0)();
        Ok(())
    }
}

impl Console {
    /// Writes to `output`, and calls `interrupt` for the driver's attention.
    pub fn new(output: OwnedFd, interrupt: impl Fn() + Send + 'static) -> io::Result<Self> {
        Ok(Self(Serial::new(Line(Box::new(interrupt)), File::from(output))))
    }
}

impl BusDevice for Console {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        if let ([data], Ok(offset)) = (data, u8::try_from(offset)) {
            *data = self.0.read(offset);
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        if let ([data], Ok(offset)) = (data, u8::try_from(offset)) {
            // What does not get out is lost.
            let _ = self.0.write(offset, *data);
        }
    }
}
