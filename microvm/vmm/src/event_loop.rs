//! The main thread's loop: one epoll set for the control socket, the machine's end, and what its devices wait for.
//!
//! Level-triggered: whatever is still ready is told again, so each call may do a bounded piece of work. The set follows
//! [`Transport::sources`], asked after each call of a device.
//!
//! Invariant: a device without interest in a descriptor costs nothing: it is out of the set.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::EventFd;

use crate::devices::virtio::transport::Transport;
use crate::machine::Machine;

/// Events taken from the kernel at once.
const BATCH: usize = 16;

/// What is for the caller to handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ready {
    /// The control socket has something, or its other end is gone.
    Control,
    /// The machine stopped.
    Stopped,
}

/// What a descriptor in the set stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Control,
    Stopped,
    /// Device by its place in the machine.
    Changed(u16),
    /// Device, queue.
    Queue(u16, u16),
    /// Device, source.
    Source(u16, u16),
}

impl Token {
    fn encode(self) -> u64 {
        let (kind, device, index) = match self {
            Self::Control => (0_u64, 0, 0),
            Self::Stopped => (1, 0, 0),
            Self::Changed(device) => (2, device, 0),
            Self::Queue(device, index) => (3, device, index),
            Self::Source(device, index) => (4, device, index),
        };
        kind << 32 | u64::from(device) << 16 | u64::from(index)
    }

    fn decode(data: u64) -> Self {
        let (device, index) = ((data >> 16) as u16, data as u16);
        match data >> 32 {
            0 => Self::Control,
            1 => Self::Stopped,
            2 => Self::Changed(device),
            3 => Self::Queue(device, index),
            _ => Self::Source(device, index),
        }
    }
}

/// See the module.
pub(crate) struct EventLoop {
    epoll: Epoll,
    devices: Vec<Device>,
}

struct Device {
    transport: Arc<Mutex<Transport>>,
    /// What of its sources is in the set, by number.
    registered: Vec<Option<(RawFd, EventSet)>>,
}

impl EventLoop {
    /// With the control socket in it.
    pub(crate) fn new(control: impl AsFd) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        add(&epoll, control.as_fd().as_raw_fd(), EventSet::IN, Token::Control)?;
        Ok(Self { epoll, devices: Vec::new() })
    }

    /// Takes a machine's descriptors in.
    pub(crate) fn add_machine(&mut self, machine: &Machine) -> io::Result<()> {
        add(&self.epoll, machine.stop().event().as_raw_fd(), EventSet::IN, Token::Stopped)?;
        for (index, (_, transport)) in machine.transports().iter().enumerate() {
            let number = index as u16;
            let locked = lock(transport);
            add(&self.epoll, locked.changed().as_raw_fd(), EventSet::IN, Token::Changed(number))?;
            for (queue, event) in locked.queue_events().iter().enumerate() {
                add(&self.epoll, event.as_raw_fd(), EventSet::IN, Token::Queue(number, queue as u16))?;
            }
            drop(locked);
            self.devices.push(Device { transport: Arc::clone(transport), registered: Vec::new() });
            self.follow(index)?;
        }
        Ok(())
    }

    /// Forgets the machine's devices: what they wait for leaves the set with them.
    pub(crate) fn remove_machine(&mut self) {
        self.devices.clear();
    }

    /// Has the set follow what all devices wait for: after anything was done to them from outside.
    pub(crate) fn follow_all(&mut self) -> io::Result<()> {
        (0..self.devices.len()).try_for_each(|index| self.follow(index))
    }

    /// Serves devices until something is for the caller, and says what.
    pub(crate) fn run(&mut self) -> io::Result<Ready> {
        loop {
            let mut events = [EpollEvent::default(); BATCH];
            let count = match self.epoll.wait(-1, &mut events) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                waited => waited?,
            };
            let mut for_caller = None;
            for event in &events[..count] {
                match Token::decode(event.data()) {
                    Token::Stopped => for_caller = Some(Ready::Stopped),
                    Token::Control => for_caller = for_caller.or(Some(Ready::Control)),
                    Token::Changed(device) => self.serve(device, |transport| {
                        acknowledge(transport.changed());
                        transport.on_changed();
                    })?,
                    Token::Queue(device, queue) => self.serve(device, |transport| {
                        let queue = usize::from(queue);
                        transport.queue_events().get(queue).into_iter().for_each(acknowledge);
                        transport.on_notify(queue);
                    })?,
                    Token::Source(device, source) => {
                        self.serve(device, |transport| transport.on_ready(source.into()))?
                    }
                }
            }
            if let Some(ready) = for_caller {
                return Ok(ready);
            }
        }
    }

    fn serve(&mut self, device: u16, work: impl FnOnce(&mut Transport)) -> io::Result<()> {
        let index = usize::from(device);
        match self.devices.get(index) {
            Some(device) => work(&mut lock(&device.transport)),
            None => return Ok(()),
        }
        self.follow(index)
    }

    /// Puts into the set what the device waits for now, and takes out what it does not.
    fn follow(&mut self, index: usize) -> io::Result<()> {
        let Some(Device { transport, registered }) = self.devices.get_mut(index) else { return Ok(()) };
        let transport = lock(transport);
        let sources = transport.sources();
        registered.resize(sources.len().max(registered.len()), None);
        for (number, slot) in registered.iter_mut().enumerate() {
            let wanted = sources.get(number).and_then(|source| {
                let mut interest = EventSet::empty();
                interest.set(EventSet::IN, source.readable);
                interest.set(EventSet::OUT, source.writable);
                (!interest.is_empty()).then(|| (source.fd.as_raw_fd(), interest))
            });
            if *slot == wanted {
                continue;
            }
            if let Some((fd, _)) = slot.take() {
                // A descriptor that the device has closed has left the set by itself.
                let _ = self.epoll.ctl(ControlOperation::Delete, fd, EpollEvent::default());
            }
            if let Some((fd, interest)) = wanted {
                add(&self.epoll, fd, interest, Token::Source(index as u16, number as u16))?;
                *slot = wanted;
            }
        }
        Ok(())
    }
}

fn add(epoll: &Epoll, fd: RawFd, interest: EventSet, token: Token) -> io::Result<()> {
    epoll.ctl(ControlOperation::Add, fd, EpollEvent::new(interest, token.encode()))
}

/// Makes an event unreadable until it is raised again; it may be so already.
fn acknowledge(event: &EventFd) {
    let _ = event.read();
}

fn lock(transport: &Mutex<Transport>) -> MutexGuard<'_, Transport> {
    transport.lock().unwrap_or_else(PoisonError::into_inner)
}
