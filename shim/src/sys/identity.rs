//! What makes one restored microVM another than the next: entropy and network addresses, set by ioctl.
#![expect(unsafe_code, reason = "these ioctls have no safe interface in std or rustix")]

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd};

use super::guest::{interface_ioctl, interface_request, outcome};

/// linux/random.h: `_IOW('R', 0x03, int [2])`.
const RNDADDENTROPY: libc::c_ulong = 0x4008_5203;
/// linux/random.h: `_IO('R', 0x07)`.
const RNDRESEEDCRNG: libc::c_ulong = 0x5207;
/// Bytes that are taken at a time.
pub(crate) const ENTROPY_BYTES: usize = 32;

/// `struct rand_pool_info` with its buffer.
#[repr(C)]
struct RandPoolInfo {
    entropy_bits: libc::c_int,
    buffer_bytes: libc::c_int,
    buffer: [u8; ENTROPY_BYTES],
}

/// Adds random bytes to the kernel's pool, counts them in full, and makes its generator begin anew from the pool
/// (random(4)). `random` is `/dev/random` or `/dev/urandom`.
pub(crate) fn reseed(random: impl AsFd, entropy: [u8; ENTROPY_BYTES]) -> io::Result<()> {
    let info = RandPoolInfo {
        entropy_bits: ENTROPY_BYTES as libc::c_int * 8,
        buffer_bytes: ENTROPY_BYTES as libc::c_int,
        buffer: entropy,
    };
    let fd = random.as_fd().as_raw_fd();
    // SAFETY: the kernel reads as much of `info` as `buffer_bytes` says is there.
    outcome(unsafe { libc::ioctl(fd, RNDADDENTROPY as _, &raw const info) })?;
    // SAFETY: this request has no argument.
    outcome(unsafe { libc::ioctl(fd, RNDRESEEDCRNG as _) })
}

/// Gives an interface, which is down, its hardware address (netdevice(7), `SIOCSIFHWADDR`).
pub(crate) fn set_mac(socket: impl AsFd, interface: &str, mac: [u8; 6]) -> io::Result<()> {
    let mut request = interface_request(interface);
    let mut address = libc::sockaddr { sa_family: libc::ARPHRD_ETHER, sa_data: [0; 14] };
    for (to, from) in address.sa_data.iter_mut().zip(mac) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_hwaddr = address;
    interface_ioctl(socket, libc::SIOCSIFHWADDR, &request)
}

/// Gives an interface its address and network (netdevice(7), `SIOCSIFADDR` and `SIOCSIFNETMASK`).
pub(crate) fn set_address(socket: impl AsFd, interface: &str, address: Ipv4Addr, mask: Ipv4Addr) -> io::Result<()> {
    let mut request = interface_request(interface);
    request.ifr_ifru.ifru_addr = socket_address(address);
    interface_ioctl(&socket, libc::SIOCSIFADDR, &request)?;
    request.ifr_ifru.ifru_netmask = socket_address(mask);
    interface_ioctl(&socket, libc::SIOCSIFNETMASK, &request)
}

/// Makes `gateway` the way to everywhere (netdevice(7), `SIOCADDRT`).
pub(crate) fn set_gateway(socket: impl AsFd, gateway: Ipv4Addr) -> io::Result<()> {
    // SAFETY: the structure is numbers, addresses and a pointer that may be null: all zeroes is a value of it.
    let mut route: libc::rtentry = unsafe { std::mem::zeroed() };
    route.rt_dst = socket_address(Ipv4Addr::UNSPECIFIED);
    route.rt_genmask = socket_address(Ipv4Addr::UNSPECIFIED);
    route.rt_gateway = socket_address(gateway);
    route.rt_flags = libc::RTF_UP | libc::RTF_GATEWAY;
    // SAFETY: the kernel reads the structure, which lives over the call.
    outcome(unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::SIOCADDRT as _, &raw const route) })
}

/// `struct sockaddr_in` (ip(7)): family, port, then the address in the order of its bytes.
fn socket_address(address: Ipv4Addr) -> libc::sockaddr {
    let mut data = [0; 14];
    for (to, from) in data[2..6].iter_mut().zip(address.octets()) {
        *to = from as libc::c_char;
    }
    libc::sockaddr { sa_family: libc::AF_INET as libc::sa_family_t, sa_data: data }
}
