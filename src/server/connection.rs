//! One connection: served by hyper, ended when it is idle, slow, old or drained.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;

use crate::local::Local;
use crate::server::context::WorkerContext;
use crate::server::event::Event;
use crate::server::fault::Fault;
use crate::server::movement::Movement;
use crate::server::state::{State, Wish};
use crate::server::stream::Stream;
use crate::server::watched::Watched;

/// How many requests a connection may abandon before the balance is looked at (CVE-2023-44487).
const ABANDONED_FREE: u64 = 128;
/// How many fields the parser has room for without asking for more.
const PARSED_FIELDS: usize = 100;
/// What one stream of HTTP/2 may hold on its way in and out, in bytes.
const STREAM_BYTES_MAX: u32 = 128 * 1024;

/// A connection that was accepted.
pub struct Accepted {
    /// Its bytes.
    pub stream: Stream,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// Whether it is served, or only told that there are too many.
    pub is_admitted: bool,
}

/// Serves a connection until it ends. `handle` answers one request; where the request carries a [`Fault`] among its
/// extensions, it is to be refused for it.
pub async fn serve<B, F>(
    context: Rc<WorkerContext>,
    accepted: Accepted,
    handle: impl Fn(Request<Incoming>) -> F,
) where
    B: Body + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    F: Future<Output = Response<B>> + Unpin + 'static,
{
    let Accepted { stream, peer, is_admitted } = accepted;
    let has_streams = stream.speaks_http2();
    let movement = Rc::new(Movement::default());
    let age = context.limits.connection_age;
    let state = State::new(Rc::clone(&movement), age, peer.port(), has_streams, is_admitted);
    let listed = Listed::new(Rc::clone(&context), Rc::new(state));
    let state = &listed.state;
    let watched = Watched::new(stream, Rc::clone(&context), movement, !has_streams);
    let service = service_fn(|mut request: Request<Incoming>| {
        let mut in_flight = InFlight::new(&context, state);
        if let Some(fault) = state.fault_of(&request, &context) {
            request.extensions_mut().insert(fault);
            if fault == Fault::Ending {
                in_flight.leave();
            }
        }
        Answering { answer: handle(request), in_flight: Some(in_flight) }
    });
    let header_bytes = context.limits.header_bytes_max;
    if has_streams {
        let mut builder = http2::Builder::new(Local);
        builder
            .max_concurrent_streams(context.limits.streams_max)
            .max_header_list_size(u32::try_from(header_bytes).unwrap_or(u32::MAX))
            .initial_stream_window_size(STREAM_BYTES_MAX)
            .initial_connection_window_size(STREAM_BYTES_MAX * 8)
            .max_send_buf_size(STREAM_BYTES_MAX as usize);
        let connection = builder.serve_connection(watched, service);
        drive(connection, http2::Connection::graceful_shutdown, &context, state).await;
    } else {
        let mut builder = http1::Builder::new();
        // Heads come whole and within their bounds; one more may stand behind the one that is read.
        let fields = context.limits.header_fields_max;
        if fields > PARSED_FIELDS {
            builder.max_headers(fields);
        }
        builder
            .max_header_size(header_bytes.max(8 * 1024))
            .max_buf_size((header_bytes * 2).max(64 * 1024))
            .half_close(false);
        let connection = builder.serve_connection(watched, service);
        drive(connection, http1::Connection::graceful_shutdown, &context, state).await;
    }
}

/// Lets a connection go on until it ends or is to end.
async fn drive<C: Future<Output = hyper::Result<()>>>(
    connection: C,
    end_between_requests: fn(Pin<&mut C>),
    context: &WorkerContext,
    state: &State,
) {
    let mut connection = pin!(connection);
    if context.is_draining() {
        end_between_requests(connection.as_mut());
    }
    loop {
        tokio::select! {
            biased;
            // A peer that misbehaves ends its own connection, nothing else: there is nobody to tell.
            result = connection.as_mut() => {
                if result.is_err_and(|error| error.is_parse()) {
                    context.observer.note(Event::Malformed);
                }
                return;
            }
            wish = state.woken() => match wish {
                Wish::EndNow => return,
                Wish::EndBetweenRequests => end_between_requests(connection.as_mut()),
                Wish::GoOn => {}
            },
        }
    }
}

impl State {
    /// Why a request is to be refused, where its connection knows.
    fn fault_of(&self, request: &Request<Incoming>, context: &WorkerContext) -> Option<Fault> {
        let movement = &self.movement;
        if !self.is_admitted {
            return Some(Fault::TooManyConnections);
        }
        if self.is_at_fault() {
            return movement.fault.get();
        }
        if self.wished() > Wish::GoOn && self.is_overdue(Instant::now()) {
            return Some(Fault::Ending);
        }
        let has_many = request.headers().len() > context.limits.header_fields_max;
        has_many.then_some(Fault::TooManyFields)
    }

    /// Whether the request that began last stands for a head that was refused: nothing follows it.
    fn is_at_fault(&self) -> bool {
        let movement = &self.movement;
        movement.fault.get().is_some() && movement.served.get() == movement.heads.get()
    }
}

struct Listed {
    context: Rc<WorkerContext>,
    state: Rc<State>,
}

impl Listed {
    fn new(context: Rc<WorkerContext>, state: Rc<State>) -> Listed {
        context.list(Rc::clone(&state));
        Listed { context, state }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.context.unlist(&self.state);
    }
}

/// A request that is being answered.
struct Answering<F> {
    answer: F,
    in_flight: Option<InFlight>,
}

impl<B: Body, F: Future<Output = Response<B>> + Unpin> Future for Answering<F> {
    type Output = Result<Response<Tracked<B>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut response = ready!(Pin::new(&mut self.answer).poll(cx));
        let mut in_flight = self.in_flight.take().expect("a finished future is not polled again");
        in_flight.is_answered = true;
        if in_flight.is_last() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(response.map(|body| Tracked { body, in_flight })))
    }
}

/// A body that counts its request as in flight until it has been sent.
struct Tracked<B> {
    body: B,
    in_flight: InFlight,
}

impl<B: Body + Unpin> Body for Tracked<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let poll = Pin::new(&mut self.body).poll_frame(cx);
        if poll.is_ready() {
            self.in_flight.state.movement.progressed.set(true);
        }
        poll
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Counts a request as in flight until its answer has been sent.
struct InFlight {
    context: Rc<WorkerContext>,
    state: Rc<State>,
    is_answered: bool,
    /// Whether the end of the connection waits for it.
    is_waited_for: bool,
}

impl InFlight {
    fn new(context: &Rc<WorkerContext>, state: &Rc<State>) -> InFlight {
        let movement = &state.movement;
        movement.in_flight.set(movement.in_flight.get() + 1);
        movement.served.set(movement.served.get() + 1);
        movement.progressed.set(true);
        context.load.requests.fetch_add(1, Ordering::Relaxed);
        InFlight {
            context: Rc::clone(context),
            state: Rc::clone(state),
            is_answered: false,
            is_waited_for: true,
        }
    }

    /// Lets the connection end without waiting for it; again changes nothing.
    fn leave(&mut self) {
        let in_flight = &self.state.movement.in_flight;
        in_flight.set(in_flight.get() - usize::from(self.is_waited_for));
        self.is_waited_for = false;
    }

    /// Whether the answer ends its connection; over HTTP/2 that is not for a header to say.
    fn is_last(&self) -> bool {
        let is_last = self.state.is_old.get() || self.state.is_at_fault();
        match self.state.has_streams {
            true if is_last => {
                self.state.wish(Wish::EndBetweenRequests);
                false
            }
            _ => is_last,
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.leave();
        let movement = &self.state.movement;
        self.context.load.requests.fetch_sub(1, Ordering::Relaxed);
        if self.is_answered {
            return;
        }
        // Requests that are opened only to be reset cost the gateway more than their sender.
        let abandoned = movement.abandoned.get() + 1;
        movement.abandoned.set(abandoned);
        let is_abusive = abandoned > ABANDONED_FREE && abandoned * 2 > movement.served.get();
        if is_abusive && self.state.wished() != Wish::EndNow {
            self.context.observer.note(Event::Abusive);
            self.state.wish(Wish::EndNow);
        }
    }
}
