//! The exchange: an allowed request with its answer, watched to the end of the answer's body.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use jiff::Timestamp;

use crate::audit::record::OutcomeRecord;
use crate::client::Lease;
use crate::proxy::guard::InFlight;
use crate::proxy::headers::strip_trailers;
use crate::proxy::ids::DecisionId;
use crate::proxy::orders;
use crate::proxy::tidings::Tidings;
use crate::proxy::worker::Worker;

/// How long the rest of an answer is waited for whose caller has gone.
const ALONE_MAX: Duration = Duration::from_secs(30);
/// The most of an answer that is kept to read it.
const KEPT_BYTES_MAX: usize = 256 * 1024;

/// The body of an answer to the caller. Its request counts as in flight until it has been sent.
pub struct AnswerBody {
    content: Content,
    _in_flight: Option<InFlight>,
}

enum Content {
    Own(Bytes),
    Upstream(Watched),
}

impl AnswerBody {
    /// The gateway's own.
    pub fn own(bytes: Bytes) -> AnswerBody {
        AnswerBody { content: Content::Own(bytes), _in_flight: None }
    }

    /// The upstream's, as it comes.
    pub fn upstream(exchange: Exchange) -> AnswerBody {
        AnswerBody { content: Content::Upstream(Watched::new(exchange)), _in_flight: None }
    }

    /// Counts the request of this answer.
    pub fn counted(self, in_flight: InFlight) -> AnswerBody {
        AnswerBody { _in_flight: Some(in_flight), ..self }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.content {
            Content::Own(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Own(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Content::Upstream(watched) => watched.exchange().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Own(bytes) => bytes.is_empty(),
            Content::Upstream(watched) => {
                watched.0.as_ref().is_none_or(|exchange| exchange.body.is_end_stream())
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Own(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Upstream(watched) => {
                watched.0.as_ref().map_or_else(SizeHint::default, |exchange| exchange.body.size_hint())
            }
        }
    }
}

/// An exchange that goes on without its caller where it may still name orders, or tell of agreements.
struct Watched(Option<Box<Exchange>>);

impl Watched {
    fn new(exchange: Exchange) -> Watched {
        Watched(Some(Box::new(exchange)))
    }

    fn exchange(&mut self) -> &mut Exchange {
        self.0.as_mut().expect("an exchange is there until it is dropped")
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let Some(mut exchange) =
            self.0.take().filter(|exchange| !exchange.finished && exchange.watching.wants_body())
        else {
            return;
        };
        if std::thread::panicking() {
            return;
        }
        let worker = Rc::clone(&exchange.worker);
        let left_alone = worker.leave_alone();
        tokio::task::spawn_local(async move {
            let until = Instant::now() + ALONE_MAX;
            let rest = std::future::poll_fn(|cx| {
                // What is not kept is not waited for either.
                while exchange.kept_bytes < KEPT_BYTES_MAX {
                    match ready!(exchange.poll_frame(cx)) {
                        Some(Ok(_)) => {}
                        _ => break,
                    }
                }
                Poll::Ready(())
            });
            let _ = worker.deadlines.within(until, std::pin::pin!(rest)).await;
            drop(exchange);
            drop(left_alone);
        });
    }
}

/// What is watched for in an exchange.
#[derive(Default)]
pub struct Watching {
    /// What is recorded of it.
    pub recorded: Option<Recorded>,
    /// What its answer may tell of agreements.
    pub tidings: Option<Box<Tidings>>,
}

impl Watching {
    /// Whether the answer has to be kept until it is whole.
    fn wants_body(&self) -> bool {
        self.tidings.is_some() || self.recorded.as_ref().is_some_and(|recorded| recorded.names_orders)
    }
}

/// What an exchange writes when it ends.
pub struct Recorded {
    /// The decision's id.
    pub id: DecisionId,
    /// When the verdict was given.
    pub since: Instant,
    /// Whether the answer may name orders.
    pub names_orders: bool,
}

/// An answer on its way to the caller. At its end, or when it is dropped before, the outcome is recorded; only a
/// clean end gives the connection back.
pub struct Exchange {
    body: Incoming,
    lease: Option<Lease>,
    worker: Rc<Worker>,
    status: u16,
    watching: Watching,
    kept: Vec<Bytes>,
    kept_bytes: usize,
    finished: bool,
}

impl Exchange {
    /// Watches the body of an answer.
    pub fn new(
        worker: Rc<Worker>,
        status: u16,
        body: Incoming,
        lease: Lease,
        watching: Watching,
    ) -> Exchange {
        let mut exchange = Exchange {
            body,
            lease: Some(lease),
            worker,
            status,
            watching,
            kept: Vec::new(),
            kept_bytes: 0,
            finished: false,
        };
        // An answer without a body has ended already, and nobody will poll it.
        if exchange.body.is_end_stream() {
            exchange.finish(true);
        }
        exchange
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            None => {
                self.finish(true);
                return Poll::Ready(None);
            }
            Some(Err(error)) => {
                self.finish(false);
                return Poll::Ready(Some(Err(error)));
            }
            Some(Ok(frame)) => frame,
        };
        let frame = match frame.into_data() {
            Ok(data) => {
                self.keep(&data);
                Frame::data(data)
            }
            Err(frame) => match frame.into_trailers() {
                Ok(mut trailers) => {
                    strip_trailers(&mut trailers);
                    Frame::trailers(trailers)
                }
                Err(frame) => frame,
            },
        };
        // The last frame of a body of known length ends it: nobody asks for more.
        if self.body.is_end_stream() {
            self.finish(true);
        }
        Poll::Ready(Some(Ok(frame)))
    }

    /// Keeps what is read once it is whole, without copying it.
    fn keep(&mut self, data: &Bytes) {
        if self.watching.wants_body() {
            if self.kept_bytes + data.len() <= KEPT_BYTES_MAX {
                self.kept.push(data.clone());
            }
            self.kept_bytes += data.len();
        }
    }

    fn finish(&mut self, complete: bool) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let now = Instant::now();
        if let Some(lease) = self.lease.take()
            && complete
        {
            lease.release(now);
        }
        let whole = match self.kept.as_slice() {
            [] => Bytes::new(),
            [whole] => whole.clone(),
            frames => frames.concat().into(),
        };
        if let Some(tidings) = self.watching.tidings.take()
            && complete
            && whole.len() == self.kept_bytes
        {
            tidings.take(&self.worker, self.status, &whole);
        }
        let Some(recorded) = self.watching.recorded.take() else { return };
        let orders = if recorded.names_orders { orders::ids(&whole) } else { Vec::new() };
        let record = OutcomeRecord {
            id: recorded.id.as_str(),
            status: Some(self.status),
            orders: &orders,
            failure: None,
            complete,
            duration_us: (now - recorded.since).as_micros() as u64,
        };
        self.worker.lane.borrow_mut().outcome(Timestamp::now(), &record);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.finish(false);
    }
}

/// A future that goes on in a task of its own when whoever waits for it goes away: once a purchase is recorded as
/// allowed, its exchange runs to its end. While the caller stays, it costs no task.
pub struct RunToEnd<T: 'static> {
    worker: Rc<Worker>,
    future: Option<Pin<Box<dyn Future<Output = T>>>>,
}

impl<T> RunToEnd<T> {
    /// Wraps a future of a worker, which does not end before it.
    pub fn new(worker: &Rc<Worker>, future: impl Future<Output = T> + 'static) -> RunToEnd<T> {
        RunToEnd { worker: Rc::clone(worker), future: Some(Box::pin(future)) }
    }
}

impl<T> Future for RunToEnd<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let future = self.future.as_mut().expect("a finished future is not polled again");
        let output = ready!(future.as_mut().poll(cx));
        self.future = None;
        Poll::Ready(output)
    }
}

impl<T> Drop for RunToEnd<T> {
    fn drop(&mut self) {
        if let Some(future) = self.future.take()
            && !std::thread::panicking()
        {
            let left_alone = self.worker.leave_alone();
            tokio::task::spawn_local(async move {
                drop(future.await);
                drop(left_alone);
            });
        }
    }
}
