//! One connection: served by hyper, ended when it is idle, slow, old or drained.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Instant;

use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::WorkerContext;
use super::watched::{Movement, Watched};

/// What is known of an open connection, for the look at all of them every tick.
pub struct State {
    movement: Rc<Movement>,
    opened: Instant,
    age_max: std::time::Duration,
    /// When something last moved, as of the last look.
    moved_at: Cell<Instant>,
    /// Since when the head of a request is being read, as of the last look.
    head_since: Cell<Option<Instant>>,
    wish: Cell<Wish>,
    woken: Notify,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wish {
    GoOn,
    EndBetweenRequests,
    EndNow,
}

impl State {
    /// Ends the connection once it is between two requests.
    pub fn end_between_requests(&self) {
        self.wish(Wish::EndBetweenRequests);
    }

    fn wish(&self, wish: Wish) {
        if wish > self.wish.get() {
            self.wish.set(wish);
            self.woken.notify_one();
        }
    }
}

/// Serves a connection until it ends. `handle` answers one request.
pub async fn serve<B, F>(
    context: Rc<WorkerContext>,
    stream: TcpStream,
    address: SocketAddr,
    handle: impl Fn(Request<Incoming>) -> F,
) where
    B: Body + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    F: Future<Output = Response<B>>,
{
    let movement = Rc::new(Movement::default());
    let now = Instant::now();
    let state = Rc::new(State {
        movement: Rc::clone(&movement),
        opened: now,
        age_max: jittered(context.limits.connection_age, address.port()),
        moved_at: Cell::new(now),
        head_since: Cell::new(None),
        wish: Cell::new(Wish::GoOn),
        woken: Notify::new(),
    });
    let _listed = Listed::new(Rc::clone(&context), Rc::clone(&state));
    let service = service_fn(|request: Request<Incoming>| {
        let in_flight = InFlight::new(&context, &movement);
        let answer = handle(request);
        async move {
            let response = answer.await;
            Ok::<_, Infallible>(response.map(|body| Tracked { body, _in_flight: in_flight }))
        }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    // The floor that hyper asks for is 8 KiB; one more head may stand behind the one that is read.
    let header_bytes = context.limits.header_bytes_max;
    builder.max_header_size(header_bytes).max_buf_size((header_bytes * 2).max(64 * 1024)).half_close(false);
    let mut connection = pin!(builder.serve_connection(Watched::new(stream, Rc::clone(&movement)), service));
    if context.draining.get() {
        connection.as_mut().graceful_shutdown();
    }
    loop {
        tokio::select! {
            biased;
            // A peer that misbehaves ends its own connection, nothing else: there is nobody to tell.
            _ = connection.as_mut() => return,
            () = state.woken.notified() => match state.wish.get() {
                Wish::EndNow => return,
                Wish::EndBetweenRequests => connection.as_mut().graceful_shutdown(),
                Wish::GoOn => {}
            },
        }
    }
}

/// Spreads the end of connections that were opened together: up to a tenth earlier, by the caller's port.
fn jittered(age: std::time::Duration, port: u16) -> std::time::Duration {
    age - age / 10 * u32::from(port % 64) / 64
}

/// Looks at every connection of a worker and ends those that take too long.
pub fn end_overdue(context: &WorkerContext) {
    let now = Instant::now();
    for state in context.connections.borrow().iter() {
        let movement = &state.movement;
        if movement.moved.replace(false) {
            state.moved_at.set(now);
        }
        let in_flight = movement.in_flight.get() > 0;
        let head_began = movement.head_began.replace(false);
        if in_flight {
            state.head_since.set(None);
        } else if head_began && state.head_since.get().is_none() {
            state.head_since.set(Some(now));
        }
        let limits = &context.limits;
        let slow_head = state.head_since.get().is_some_and(|since| now - since > limits.header_timeout);
        if slow_head || now - state.moved_at.get() > limits.idle_timeout {
            state.wish(Wish::EndNow);
        } else if now - state.opened > state.age_max {
            state.end_between_requests();
        }
    }
}

struct Listed {
    context: Rc<WorkerContext>,
    state: Rc<State>,
}

impl Listed {
    fn new(context: Rc<WorkerContext>, state: Rc<State>) -> Listed {
        context.connections.borrow_mut().push(Rc::clone(&state));
        Listed { context, state }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.context.connections.borrow_mut().retain(|known| !Rc::ptr_eq(known, &self.state));
    }
}

/// A body that counts its request as in flight until it has been sent.
struct Tracked<B> {
    body: B,
    _in_flight: InFlight,
}

impl<B: Body + Unpin> Body for Tracked<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
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
    movement: Rc<Movement>,
}

impl InFlight {
    fn new(context: &Rc<WorkerContext>, movement: &Rc<Movement>) -> InFlight {
        movement.in_flight.set(movement.in_flight.get() + 1);
        movement.head_began.set(false);
        context.load.requests.fetch_add(1, Ordering::Relaxed);
        InFlight { context: Rc::clone(context), movement: Rc::clone(movement) }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.movement.in_flight.set(self.movement.in_flight.get() - 1);
        self.context.load.requests.fetch_sub(1, Ordering::Relaxed);
    }
}
