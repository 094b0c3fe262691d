//! What there is of a sandbox on the host, a jail's or a machine's, and its end: the first process is killed, its end
//! waited for, and what it leaves is removed by the undertaker, a thread that may wait. So whether somebody asks for it
//! or just lets go.
//!
//! Plain processes end otherwise: what they started outlives their first.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::account::Account;
use crate::exit::Child;
use crate::ids::Lease;
use crate::sandbox::Ended;
use crate::state::State;
use crate::thread::Thread;

/// Longest time a killed process may take to end: all others inside have to, and its memory has to be given back.
const DEATH_TIMEOUT: Duration = Duration::from_secs(10);

/// What ends with a sandbox's first process, and what is removed then.
pub(crate) struct Body {
    /// The sandbox's name.
    pub(crate) id: String,
    /// Its first process.
    pub(crate) child: Child,
    /// That process's number, as long as it was not collected.
    pub(crate) pid: i32,
    /// What it uses and used.
    pub(crate) account: Account,
    /// Where it is on record.
    pub(crate) state: Arc<State>,
    /// Free for another sandbox when this one is gone.
    pub(crate) _ids: Lease,
}

impl Body {
    fn remove(&self) -> io::Result<()> {
        self.account.group().remove()?;
        self.state.forget_sandbox(&self.id);
        Ok(())
    }
}

/// A sandbox's body while it lives. Dropping this ends and removes it.
pub(crate) struct Burial {
    body: Arc<Body>,
    undertaker: Arc<Thread<()>>,
    over: Option<Ended>,
}

impl Burial {
    pub(crate) fn of(body: Body, undertaker: Arc<Thread<()>>) -> Self {
        Self { body: Arc::new(body), undertaker, over: None }
    }

    /// What will be buried.
    pub(crate) fn body(&self) -> &Arc<Body> {
        &self.body
    }

    /// Whether nothing is left.
    pub(crate) fn is_over(&self) -> bool {
        self.over.is_some()
    }

    /// Waits for the end.
    pub(crate) async fn ended(&self) -> Ended {
        match self.over {
            Some(ended) => ended,
            None => self.body.account.ended(self.body.child.ended().await),
        }
    }

    /// Kills it and removes what it leaves; returns when both are done. May be called again.
    pub(crate) async fn kill(&mut self) -> io::Result<Ended> {
        if !self.is_over() {
            self.body.child.kill();
            let ended = self.ended().await;
            let body = Arc::clone(&self.body);
            self.undertaker.run(move |()| body.remove()).await??;
            self.over = Some(ended);
        }
        Ok(self.ended().await)
    }

    /// Has something done on the thread that may wait.
    pub(crate) fn later(&self, job: impl FnOnce() + Send + 'static) {
        self.undertaker.post(move |()| job());
    }
}

impl Drop for Burial {
    fn drop(&mut self) {
        if self.is_over() {
            return;
        }
        self.body.child.kill();
        let body = Arc::clone(&self.body);
        self.later(move || {
            if !body.child.wait_blocking(DEATH_TIMEOUT) {
                return tracing::error!(id = body.id, "a killed sandbox does not end");
            }
            if let Err(error) = body.remove() {
                tracing::warn!(id = body.id, %error, "something of a sandbox stays until the next clean-up");
            }
        });
    }
}
