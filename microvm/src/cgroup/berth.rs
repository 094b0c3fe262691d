//! The groups of the next sandbox, made ahead: it takes the kernel some 10 ms on version 1.

use std::io;
use std::sync::Arc;

use super::group::Group;
use super::parent::Parent;

/// Belongs to the thread that clones sandboxes, which on version 1 sits in the next one's groups.
pub(crate) struct Berth {
    parent: Arc<Parent>,
    next: Option<Group>,
    serial: u64,
}

impl Berth {
    /// With nothing prepared.
    pub(crate) fn new(parent: Arc<Parent>) -> Self {
        Self { parent, next: None, serial: 0 }
    }

    /// Makes the next sandbox's groups, if they are not there, and moves the calling thread into them.
    pub(crate) fn prepare(&mut self) -> io::Result<()> {
        if self.next.is_none() {
            self.serial += 1;
            let group = self.parent.group(&self.serial.to_string())?;
            if let Err(error) = group.enter() {
                self.abandon(&group);
                return Err(error);
            }
            self.next = Some(group);
        }
        Ok(())
    }

    /// The groups to clone into. The calling thread stays in them until the next [`Self::prepare`].
    pub(crate) fn take(&mut self) -> io::Result<Group> {
        self.prepare()?;
        self.next.take().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Removes groups that came to nothing, and takes the calling thread out of them.
    pub(crate) fn abandon(&self, group: &Group) {
        let left = self.parent.leave().and_then(|()| group.remove());
        if let Err(error) = left {
            tracing::warn!(%error, "a control group stays until the next clean-up");
        }
    }

    /// Removes what was made ahead and the parent's directories, where nothing is left in them.
    pub(crate) fn close(&mut self) {
        if let Some(group) = self.next.take() {
            self.abandon(&group);
        }
        self.parent.remove();
    }
}
