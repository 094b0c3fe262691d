//! A thread that owns something and does, one after the other, what others ask of it.

use std::io;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;

type Job<C> = Box<dyn FnOnce(&mut C) + Send>;

/// Owns a `C` on a thread of its own. Dropping this waits until all jobs are done and the `C` is dropped: what a
/// launcher made on the host is gone before its process can end.
pub(crate) struct Thread<C> {
    jobs: Option<mpsc::Sender<Job<C>>>,
    thread: Option<JoinHandle<()>>,
}

impl<C: 'static> Thread<C> {
    /// Starts it; `make` runs on it.
    pub(crate) fn start<E: Send + From<io::Error> + 'static>(
        name: &str,
        make: impl FnOnce() -> Result<C, E> + Send + 'static,
    ) -> Result<Self, E> {
        let (jobs, queue) = mpsc::channel::<Job<C>>();
        let (ready, made) = mpsc::channel();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            let mut owned = match make() {
                Ok(owned) => owned,
                Err(error) => return drop(ready.send(Err(error))),
            };
            let _ = ready.send(Ok(()));
            for job in queue {
                job(&mut owned);
            }
        })?;
        made.recv().map_err(|_| gone())??;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Does something on the thread and waits for the answer. Once asked it is done, also if nobody waits any more.
    pub(crate) async fn run<R: Send + 'static>(&self, job: impl FnOnce(&mut C) -> R + Send + 'static) -> io::Result<R> {
        let (answer, answered) = oneshot::channel();
        self.post(move |owned| drop(answer.send(job(owned))));
        answered.await.map_err(|_| gone())
    }

    /// Does something on the thread, some time.
    pub(crate) fn post(&self, job: impl FnOnce(&mut C) + Send + 'static) {
        // A thread that is gone has panicked; whoever waits for an answer hears of it.
        let _ = self.jobs.as_ref().map(|jobs| jobs.send(Box::new(job)));
    }
}

impl<C> Drop for Thread<C> {
    fn drop(&mut self) {
        self.jobs = None;
        // A job may hold the last reference to its own thread; that one just runs out.
        let other = self.thread.take().filter(|thread| thread.thread().id() != thread::current().id());
        if other.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("a thread of the launcher panicked");
        }
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "a thread of the launcher has ended")
}
