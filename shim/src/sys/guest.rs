//! What only the first process of a microVM does, and no safe interface has: vsock, and requests by ioctl.
#![expect(unsafe_code, reason = "vsock addresses and these ioctls have no safe interface in std or rustix")]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// Connects a stream to `port` of the host (context id 2) over vsock.
pub(crate) fn connect_vsock(port: u32) -> io::Result<OwnedFd> {
    // SAFETY: a plain system call that takes numbers.
    let fd = unsafe { libc::socket(libc::AF_VSOCK, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it for nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let address = libc::sockaddr_vm {
        svm_family: libc::AF_VSOCK as libc::sa_family_t,
        svm_reserved1: 0,
        svm_port: port,
        svm_cid: libc::VMADDR_CID_HOST,
        svm_zero: [0; 4],
    };
    let length = size_of::<libc::sockaddr_vm>() as libc::socklen_t;
    // SAFETY: the address lives over the call and `length` is its size.
    let done = unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), length) };
    outcome(done).map(|()| socket)
}

/// Brings a network interface up (netdevice(7), `SIOCSIFFLAGS`).
pub(crate) fn bring_up(socket: impl AsFd, interface: &str) -> io::Result<()> {
    let mut request = interface_request(interface);
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    interface_ioctl(socket, libc::SIOCSIFFLAGS, &request)
}

pub(super) fn interface_request(name: &str) -> libc::ifreq {
    // SAFETY: the structure is numbers and a union of such: all zeroes is a value of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays zero: it ends the name.
    for (to, from) in request.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1).zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request
}

pub(super) fn interface_ioctl(socket: impl AsFd, number: libc::c_ulong, request: &libc::ifreq) -> io::Result<()> {
    // SAFETY: the request lives over the call, is of the type these numbers take, and is only read.
    outcome(unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), number as _, &raw const *request) })
}

pub(super) fn outcome(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
