//! A thread that owns something and does, one after the other, what others ask of it.

use std::io;
use std::sync::mpsc;
use std::thread;

use tokio::sync::oneshot;

type Job<C> = Box<dyn FnOnce(&mut C) + Send>;

/// Owns a `C` on a thread of its own. Dropping this waits until all jobs are done and the `C` is dropped, too.
pub(crate) struct Thread<C> {
    /// Taken when it ends.
    jobs: Option<mpsc::Sender<Job<C>>>,
    handle: Option<thread::JoinHandle<()>>,
}

impl<C: 'static> Thread<C> {
    /// Starts it; `make` runs on it.
    pub(crate) fn start<E: Send + From<io::Error> + 'static>(
        name: &str,
        make: impl FnOnce() -> Result<C, E> + Send + 'static,
    ) -> Result<Self, E> {
        let (jobs, queue) = mpsc::channel::<Job<C>>();
        let (ready, made) = mpsc::channel();
        let handle = thread::Builder::new().name(name.to_owned()).spawn(move || {
            let mut owned = match make() {
                Ok(owned) => owned,
                Err(error) => return drop(ready.send(Err(error))),
            };
            let _ = ready.send(Ok(()));
            for job in queue {
                job(&mut owned);
            }
        })?;
        let thread = Self { jobs: Some(jobs), handle: Some(handle) };
        made.recv().map_err(|_| gone())??;
        Ok(thread)
    }

    /// Asks the thread for something, now; the future waits for the answer. It is done also if nobody waits any more;
    /// the answer is then dropped on the thread.
    pub(crate) fn run<R, J>(&self, job: J) -> impl Future<Output = io::Result<R>> + use<R, J, C>
    where
        R: Send + 'static,
        J: FnOnce(&mut C) -> R + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        self.post(move |owned| drop(answer.send(job(owned))));
        async { answered.await.map_err(|_| gone()) }
    }

    /// Does something on the thread, some time.
    pub(crate) fn post(&self, job: impl FnOnce(&mut C) + Send + 'static) {
        if let Some(jobs) = &self.jobs {
            // A thread that is gone has panicked; whoever waits for an answer hears of it.
            let _ = jobs.send(Box::new(job));
        }
    }

    /// Waits until everything asked so far is done.
    pub(crate) fn settle(&self) {
        let (done, wait) = mpsc::channel::<()>();
        self.post(move |_| drop(done));
        let _ = wait.recv();
    }
}

impl<C> Drop for Thread<C> {
    fn drop(&mut self) {
        self.jobs = None;
        // The last owner may be a job of the thread itself, which can't wait for its own end.
        if let Some(handle) = self.handle.take()
            && handle.thread().id() != thread::current().id()
            && handle.join().is_err()
        {
            tracing::error!("a thread of the launcher panicked");
        }
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "a thread of the launcher has ended")
}
