//! Being another sandbox after a restore: what every restore of one snapshot would have in common, and must not.
//!
//! The order counts. Entropy comes first, so that whatever runs next draws other numbers; user code runs last
//! ([`super::Guest::become_another`] thaws it).

use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::Ipv4Addr;

use hearth_guest_protocol::{GuestNetwork, RESTORE_ENTROPY_BYTES, Restore};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::{SetupError, clock};
use crate::sys;
use crate::sys::identity::ENTROPY_BYTES;

const _: () = assert!(ENTROPY_BYTES == RESTORE_ENTROPY_BYTES);

/// The one network interface besides `lo`: the kernel's own name for it.
const INTERFACE: &str = "eth0";

/// Does it all. On an error this sandbox must not go on: it might be the same as another.
pub(super) fn assume(restore: &Restore) -> Result<(), SetupError> {
    reseed(&restore.entropy).map_err(SetupError::at("entropy"))?;
    clock::set(restore.unix_ns).map_err(SetupError::at("clock"))?;
    let named = rustix::system::sethostname(restore.host_name.as_bytes());
    named.map_err(|error| SetupError::at("host name")(error.into()))?;
    match &restore.network {
        Some(network) => set_network(network).map_err(SetupError::at("network")),
        None => Ok(()),
    }
}

fn reseed(entropy: &[u8]) -> io::Result<()> {
    let entropy = entropy.try_into().map_err(|_| invalid("not as much entropy as there has to be"))?;
    sys::identity::reseed(File::open("/dev/urandom")?, entropy)
}

fn set_network(network: &GuestNetwork) -> io::Result<()> {
    let mac = network.mac.as_ref().try_into().map_err(|_| invalid("a hardware address has six bytes"))?;
    let (address, mask) = address_and_mask(&network.address)?;
    let gateway = network.gateway.parse().map_err(|_| invalid("the gateway is no IPv4 address"))?;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    sys::identity::set_mac(&socket, INTERFACE, mac)?;
    sys::identity::set_address(&socket, INTERFACE, address, mask)?;
    sys::guest::bring_up(&socket, INTERFACE)?;
    sys::identity::set_gateway(&socket, gateway)
}

/// Of `10.0.0.2/30`: the address, and `255.255.255.252`.
fn address_and_mask(text: &str) -> io::Result<(Ipv4Addr, Ipv4Addr)> {
    let parsed = || {
        let (address, length) = text.split_once('/')?;
        let length: u32 = length.parse().ok().filter(|length| (1..=32).contains(length))?;
        Some((address.parse().ok()?, Ipv4Addr::from_bits(u32::MAX << (32 - length))))
    };
    parsed().ok_or_else(|| invalid("an address is written as 10.0.0.2/30"))
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_their_network() {
        let (address, mask) = address_and_mask("10.0.0.2/30").unwrap();
        assert_eq!((address.to_string(), mask.to_string()), ("10.0.0.2".to_owned(), "255.255.255.252".to_owned()));
        assert_eq!(address_and_mask("10.0.0.2/32").unwrap().1.to_string(), "255.255.255.255");
        for wrong in ["10.0.0.2", "10.0.0.2/0", "10.0.0.2/33", "x/8", ""] {
            assert!(address_and_mask(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nothing_is_assumed_without_entropy() {
        let restore = Restore { entropy: vec![1; 31].into(), ..Restore::default() };
        assert_eq!(assume(&restore).unwrap_err().step, "entropy");
    }
}
