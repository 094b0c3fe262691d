//! The serial console, for debugging: what the guest writes goes to a descriptor, and nothing comes in.
//!
//! It works on the vCPUs' threads: a port access is an exit, and the guest waits for it anyway. A guest that floods its
//! console costs its neighbours nothing: output is rate-limited, and ends for good after [`OUTPUT_MAX_BYTES`]; what
//! does not get out is counted, and the count is told once there is room.
//!
//! Absent on purpose: input; waiting; a part in snapshots, because Linux sets the port up again each time it has
//! something to write.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use vm_superio::serial::NoEvents;
use vm_superio::{Serial, Trigger};

use super::virtio::rate_limiter::Bucket;
use crate::bus::BusDevice;
use crate::control::RateLimit;

/// How many ports it has, from [`crate::layout::SERIAL_PORT`].
pub const PORTS: u64 = 8;
/// Bytes at once and in each second, at most. A kernel that boots with all its messages writes about 40 KiB.
pub const OUTPUT_RATE: RateLimit = RateLimit { burst: 256 * 1024, per_second: 16 * 1024 };
/// Bytes in all, at most.
pub const OUTPUT_MAX_BYTES: u64 = 16 * 1024 * 1024;
/// A line is written when it ends or is this long, bytes.
const LINE_MAX_BYTES: usize = 256;

/// The device.
#[derive(Debug)]
pub struct Console(Serial<Line, NoEvents, Output>);

/// The interrupt line: told on a vCPU's thread, through an eventfd.
struct Line(Box<dyn Fn() + Send>);

impl Console {
    /// Writes to `output`, and calls `interrupt` for the driver's attention.
    ///
    /// # Errors
    ///
    /// `output` is neither a file nor non-blocking: a vCPU would wait for whoever reads it.
    pub fn new(output: OwnedFd, interrupt: impl Fn() + Send + 'static) -> io::Result<Self> {
        let output = Output::new(File::from(output), OUTPUT_RATE, OUTPUT_MAX_BYTES)?;
        Ok(Self(Serial::new(Line(Box::new(interrupt)), output)))
    }

    /// Bytes that did not get out.
    #[must_use]
    pub fn dropped_bytes(&self) -> u64 {
        self.0.writer().dropped_bytes
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
            // Can't fail: the line has no error, and the output takes or drops all it is given.
            let _ = self.0.write(offset, *data);
        }
    }
}

impl Trigger for Line {
    type E = Infallible;

    fn trigger(&self) -> Result<(), Infallible> {
        (self.0)();
        Ok(())
    }
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}

/// Lines on their way out, within the limits.
#[derive(Debug)]
struct Output {
    to: File,
    line: Vec<u8>,
    rate: Bucket,
    since: Instant,
    left_bytes: u64,
    dropped_bytes: u64,
    /// Those of [`Self::dropped_bytes`] that the reader has not been told of.
    untold_bytes: u64,
}

impl Output {
    fn new(to: File, rate: RateLimit, left_bytes: u64) -> io::Result<Self> {
        let is_nonblocking = rustix::fs::fcntl_getfl(&to)?.contains(rustix::fs::OFlags::NONBLOCK);
        if !to.metadata()?.is_file() && !is_nonblocking {
            let why = "the console's descriptor may block: give a file, or set O_NONBLOCK";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        Ok(Self {
            to,
            line: Vec::new(),
            rate: Bucket::new(rate, Duration::ZERO),
            since: Instant::now(),
            left_bytes,
            dropped_bytes: 0,
            untold_bytes: 0,
        })
    }

    fn put(&mut self, byte: u8, now: Duration) {
        self.line.push(byte);
        if byte == b'\n' || self.line.len() == LINE_MAX_BYTES {
            self.write_line(now);
        }
    }

    /// The line goes out as a whole, or as far as the descriptor takes it, or not at all.
    fn write_line(&mut self, now: Duration) {
        let mut line = std::mem::take(&mut self.line);
        let length = line.len() as u64;
        if length > self.left_bytes || self.rate.wait(length, now) > Duration::ZERO {
            self.drop_bytes(length);
        } else {
            if self.untold_bytes > 0 {
                let note = format!("[{} bytes dropped]\n", self.untold_bytes);
                if self.to.write(note.as_bytes()).is_ok() {
                    self.untold_bytes = 0;
                }
            }
            let written = self.to.write(&line).unwrap_or(0) as u64;
            self.rate.take(length);
            self.left_bytes -= length;
            self.drop_bytes(length - written);
        }
        line.clear();
        self.line = line;
    }

    fn drop_bytes(&mut self, count: u64) {
        self.dropped_bytes += count;
        self.untold_bytes += count;
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let now = self.since.elapsed();
        bytes.iter().for_each(|byte| self.put(*byte, now));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // What a guest said last is often not a whole line.
        if !self.line.is_empty() {
            self.write_line(self.since.elapsed());
        }
    }
}

#[cfg(test)]
mod tests;
