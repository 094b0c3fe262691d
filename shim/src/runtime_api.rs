//! AWS's Runtime API on loopback: HTTP in, [`Request`]s to the supervisor out.
//!
//! Source: AWS Lambda developer guide, "Using the Lambda runtime API"; status codes and error documents are those of AWS's
//! own emulator. Invariants: connections, heads and bodies are bounded; a body is only read once its invocation is
//! known to be the running one; nothing here decides anything.

mod answer;
mod answers;
mod body;
mod connection;
mod head;
mod routes;
mod streaming;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use hearth_guest_protocol::response::Outcome;
use hearth_guest_protocol::{EnvironmentVariable, GuestError, Invoke};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::lifecycle::{AnswerKind, Poll, Refusal};
use answer::AnswerSink;
pub(crate) use answer::{AnswerSource, Heard, answer};
use answers::Answer;
use body::Body;
use connection::{Broken, Connection};
use head::Head;
use routes::Route;

/// Connections at a time. More wait in the kernel's queue; a runtime needs one.
const MAX_CONNECTIONS: usize = 64;
/// Longest error type that is passed on.
const ERROR_TYPE_MAX_BYTES: usize = 256;
const ERROR_TYPE_HEADER: &str = "lambda-runtime-function-error-type";
/// What an error is called whose type is missing or unusable.
const UNKNOWN_ERROR_TYPE: &str = "Runtime.Unknown";

/// What the runtime asks of the supervisor.
#[derive(Debug)]
pub(crate) enum Request {
    /// The next invocation.
    Next(Waiting),
    /// To be told when the sandbox was restored.
    RestoreNext(Waiting),
    /// To send an answer.
    Answer {
        /// To which invocation.
        request_id: String,
        /// Answer or error.
        kind: AnswerKind,
        /// Whether the runtime writes it bit by bit.
        streams: bool,
        /// Whether it may, and where to put the answer.
        permit: oneshot::Sender<Result<AnswerSink, Refusal>>,
    },
    /// To report that its init failed.
    InitError {
        /// What it says.
        error: GuestError,
        /// Whether that was taken.
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
    /// To report that its after-restore hooks failed.
    RestoreError {
        /// What it says.
        error: GuestError,
        /// Whether that was taken.
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
}

/// What a runtime waits for.
#[derive(Debug)]
pub(crate) enum Awaited {
    /// An invocation.
    Invocation(Arc<Invoke>),
    /// The restore, and variables that have another value since.
    Restore(Vec<EnvironmentVariable>),
}

/// A request that waits for what comes next.
#[derive(Debug)]
pub(crate) struct Waiting(oneshot::Sender<Result<Awaited, Refusal>>);

impl Waiting {
    /// Answers it.
    pub(crate) fn answer(self, awaited: Result<Awaited, Refusal>) {
        // Whoever hung up in this moment asks again and gets the same.
        let _ = self.0.send(awaited);
    }
}

impl Poll for Waiting {
    fn is_waiting(&self) -> bool {
        !self.0.is_closed()
    }
}

/// The listening server.
#[derive(Debug)]
pub(crate) struct RuntimeApi {
    address: SocketAddr,
    requests: mpsc::Receiver<Request>,
}

impl RuntimeApi {
    /// Listens. Within a tokio runtime only.
    pub(crate) async fn listen(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (sender, requests) = mpsc::channel(MAX_CONNECTIONS);
        tokio::spawn(accept(listener, sender));
        Ok(Self { address, requests })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next request. Safe to cancel.
    pub(crate) async fn request(&mut self) -> Request {
        match self.requests.recv().await {
            Some(request) => request,
            // The accepting task holds a sender as long as the program runs.
            None => std::future::pending().await,
        }
    }
}

async fn accept(listener: TcpListener, requests: mpsc::Sender<Request>) {
    let free = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Ok(permit) = Arc::clone(&free).acquire_owned().await {
        // Running out of descriptors passes; every other error is one connection's.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let supervisor = Supervisor { requests: requests.clone() };
        tokio::spawn(async move {
            serve(Connection::new(stream), supervisor).await;
            drop(permit);
        });
    }
}

/// The way to the supervisor.
#[derive(Debug, Clone)]
struct Supervisor {
    requests: mpsc::Sender<Request>,
}

impl Supervisor {
    /// Asks and waits for the reply. `None` when there is nobody to reply any more.
    async fn ask<T>(&self, request: Request, reply: oneshot::Receiver<T>) -> Option<T> {
        self.requests.send(request).await.ok()?;
        reply.await.ok()
    }
}

/// Serves one request after the other. A broken or malformed connection is the runtime's own affair; it may open another.
async fn serve(mut connection: Connection, supervisor: Supervisor) {
    loop {
        match serve_one(&mut connection, &supervisor).await {
            Ok(true) => {}
            Ok(false) | Err(Broken::Gone) => return,
            Err(Broken::Malformed(malformed)) => {
                if connection.answer(answers::malformed(malformed), false).await.is_ok() {
                    // Nobody may be there to hear it.
                    let _ = connection.flush().await;
                }
                return;
            }
        }
    }
}

/// Serves one request; whether another may follow. Its answer is sent with that of the next, if that one is here already.
async fn serve_one(connection: &mut Connection, supervisor: &Supervisor) -> Result<bool, Broken> {
    let Some(head) = connection.head().await? else { return Ok(false) };
    let route = Route::of(head.method, &head.path);
    if !matches!(route, Route::Next) {
        connection.flush().await?;
    }
    let answer = handle(route, &head, connection, supervisor).await?;
    connection.answer(answer, head.keeps_alive).await?;
    if connection.has_unread_body() || !head.keeps_alive {
        connection.flush().await?;
        connection.discard_body().await?;
    }
    Ok(head.keeps_alive)
}

async fn handle(
    route: Route,
    head: &Head,
    connection: &mut Connection,
    supervisor: &Supervisor,
) -> Result<Answer, Broken> {
    Ok(match route {
        Route::Ping => answers::pong(),
        Route::Next => wait(Request::Next, connection, supervisor).await?,
        Route::RestoreNext => wait(Request::RestoreNext, connection, supervisor).await?,
        Route::Answer { request_id, kind } => take_answer(request_id, kind, head, connection, supervisor).await,
        Route::InitError => {
            report(|error, reply| Request::InitError { error, reply }, head, connection, supervisor).await
        }
        Route::RestoreError => {
            report(|error, reply| Request::RestoreError { error, reply }, head, connection, supervisor).await
        }
        Route::WrongMethod => answers::method_not_allowed(),
        Route::Unknown => answers::not_found(),
    })
}

/// Waits for what the supervisor says. Whoever hangs up meanwhile waits no more, which the supervisor sees by the end of
/// the channel.
async fn wait(
    request: impl FnOnce(Waiting) -> Request,
    connection: &mut Connection,
    supervisor: &Supervisor,
) -> Result<Answer, Broken> {
    let (waiting, awaited) = oneshot::channel();
    let awaited = tokio::select! {
        awaited = supervisor.ask(request(Waiting(waiting)), awaited) => awaited,
        () = connection.hung_up() => return Err(Broken::Gone),
    };
    Ok(match awaited {
        Some(Ok(Awaited::Invocation(invocation))) => answers::invocation(&invocation),
        Some(Ok(Awaited::Restore(environment))) => answers::restored(&environment),
        Some(Err(refusal)) => answers::refused(&refusal),
        None => answers::gone(),
    })
}

async fn take_answer(
    request_id: String,
    kind: AnswerKind,
    head: &Head,
    connection: &mut Connection,
    supervisor: &Supervisor,
) -> Answer {
    let (permit, permitted) = oneshot::channel();
    let streams = kind == AnswerKind::Response && streaming::is_streamed(head);
    let sink = match supervisor.ask(Request::Answer { request_id, kind, streams, permit }, permitted).await {
        Some(Ok(sink)) => sink,
        Some(Err(refusal)) => return answers::refused(&refusal),
        None => return answers::gone(),
    };
    match sink {
        AnswerSink::Whole(sink) => whole(kind, head, connection, sink).await,
        AnswerSink::Pieces(sink) => streaming::pass_on(head, connection, sink).await,
    }
}

async fn whole(kind: AnswerKind, head: &Head, connection: &mut Connection, sink: oneshot::Sender<Heard>) -> Answer {
    // From here on a return without an answer tells the supervisor that the connection broke.
    let Ok(body) = body::read(connection).await else { return answers::truncated() };
    let (outcome, reply) = match (body, kind) {
        (Body::TooLarge(bytes), _) => (Outcome::TooLarge(bytes), answers::too_large()),
        (Body::Failed(error), _) => (Outcome::Error(error), answers::accepted()),
        (Body::Whole(payload), AnswerKind::Response) => (Outcome::Payload(payload), answers::accepted()),
        (Body::Whole(document), AnswerKind::Error) => {
            let error_type = error_type(head.error_type.as_ref());
            (Outcome::Error(GuestError { error_type, document }), answers::accepted())
        }
    };
    let (taken, is_taken) = oneshot::channel();
    match sink.send(Heard::Whole { outcome, taken }) {
        Ok(()) if is_taken.await.is_ok() => reply,
        _ => answers::gone(),
    }
}

async fn report(
    report: impl FnOnce(GuestError, oneshot::Sender<Result<(), Refusal>>) -> Request,
    head: &Head,
    connection: &mut Connection,
    supervisor: &Supervisor,
) -> Answer {
    let error_type = error_type(head.error_type.as_ref());
    let document = match body::read(connection).await {
        Ok(Body::Whole(document)) => document,
        Ok(Body::Failed(error)) => error.document,
        Ok(Body::TooLarge(_)) => return answers::too_large(),
        Err(_) => return answers::truncated(),
    };
    let (reply, replied) = oneshot::channel();
    match supervisor.ask(report(GuestError { error_type, document }, reply), replied).await {
        Some(Ok(())) => answers::accepted(),
        Some(Err(refusal)) => answers::refused(&refusal),
        None => answers::gone(),
    }
}

fn error_type(given: Option<&String>) -> String {
    let usable = given.map(String::as_str).filter(|text| {
        (1..=ERROR_TYPE_MAX_BYTES).contains(&text.len()) && text.bytes().all(|byte| (b' '..0x7f).contains(&byte))
    });
    usable.unwrap_or(UNKNOWN_ERROR_TYPE).to_owned()
}
