//! Makes devices of what the launcher asks for and of the descriptors that came with it.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use super::virtio::VirtioDevice;
use super::virtio::balloon::Balloon;
use super::virtio::block::{Block, DriveName};
use super::virtio::entropy::Entropy;
use super::virtio::net::Net;
use super::virtio::vsock::Vsock;
use crate::control::{Devices, Drive, FdIndex};
use crate::layout::Slot;
use crate::machine::Fitted;

/// Descriptors that came with a request, each to be taken once.
#[derive(Debug, Default)]
pub struct Descriptors(Vec<Option<OwnedFd>>);

/// A device can't be made.
#[derive(Debug, thiserror::Error)]
pub enum Misfit {
    /// A descriptor is missing.
    #[error("no descriptor {0} came with the request, or it is named twice")]
    Missing(FdIndex),
    /// The device refused.
    #[error("the device {device:?}: {source}")]
    Device {
        /// Which.
        device: Slot,
        /// Its word.
        source: std::io::Error,
    },
}

impl From<Vec<OwnedFd>> for Descriptors {
    fn from(descriptors: Vec<OwnedFd>) -> Self {
        Self(descriptors.into_iter().map(Some).collect())
    }
}

impl Descriptors {
    /// Number `index`.
    pub fn take(&mut self, index: FdIndex) -> Result<OwnedFd, Misfit> {
        self.0.get_mut(usize::from(index)).and_then(Option::take).ok_or(Misfit::Missing(index))
    }
}

/// Makes them.
pub fn fit(devices: &Devices, descriptors: &mut Descriptors) -> Result<Fitted, Misfit> {
    let mut fitted = Fitted::default();
    let mut put = |slot, device: Result<Box<dyn VirtioDevice>, std::io::Error>| {
        let device = device.map_err(|source| Misfit::Device { device: slot, source })?;
        fitted.virtio.push((slot, device));
        Ok::<(), Misfit>(())
    };
    if let Some(channel) = devices.channel {
        let stream = UnixStream::from(descriptors.take(channel)?);
        put(Slot::Vsock, Vsock::new(stream).map(|device| Box::new(device) as _))?;
    }
    for (slot, drive, name) in [(Slot::Root, devices.root, "root"), (Slot::Code, devices.code, "code")] {
        if let Some(drive) = drive {
            let image = drive.image.map(|image| descriptors.take(image)).transpose()?;
            put(slot, block(&drive, image, name))?;
        }
    }
    if devices.entropy {
        put(Slot::Entropy, Entropy::new().map(|device| Box::new(device) as _))?;
    }
    if devices.balloon {
        put(Slot::Balloon, Balloon::new().map(|device| Box::new(device) as _))?;
    }
    if let Some(net) = &devices.net {
        let device = Net::new(descriptors.take(net.tap)?, net.mac, net.bandwidth, net.packets);
        put(Slot::Net, device.map(|device| Box::new(device) as _))?;
    }
    if let Some(output) = devices.serial {
        fitted.console = Some(descriptors.take(output)?);
    }
    Ok(fitted)
}

fn block(drive: &Drive, image: Option<OwnedFd>, name: &str) -> Result<Box<dyn VirtioDevice>, std::io::Error> {
    let mut padded = DriveName::default();
    padded.iter_mut().zip(name.bytes()).for_each(|(to, byte)| *to = byte);
    Ok(Box::new(Block::new(padded, image.map(Into::into), drive.bandwidth, drive.requests)?))
}
