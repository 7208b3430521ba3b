//! One connection: served by hyper, ended when it is idle, slow, old or drained.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use tokio::net::TcpStream;

use crate::server::context::{State, Wish, WorkerContext};
use crate::server::watched::{Movement, Watched};

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
    let state = Rc::new(State::new(Rc::clone(&movement), context.limits.connection_age, address.port()));
    let _listed = Listed::new(Rc::clone(&context), Rc::clone(&state));
    let service = service_fn(|request: Request<Incoming>| {
        let in_flight = InFlight::new(&context, &movement);
        let state = Rc::clone(&state);
        let answer = handle(request);
        async move {
            let mut response = answer.await;
            if state.is_old.get() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response.map(|body| Tracked { body, _in_flight: in_flight }))
        }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    // The floor that hyper asks for is 8 KiB; one more head may stand behind the one that is read.
    let header_bytes = context.limits.header_bytes_max;
    builder.max_header_size(header_bytes).max_buf_size((header_bytes * 2).max(64 * 1024)).half_close(false);
    let mut connection = pin!(builder.serve_connection(Watched::new(stream, Rc::clone(&movement)), service));
    if context.is_draining() {
        connection.as_mut().graceful_shutdown();
    }
    loop {
        tokio::select! {
            biased;
            // A peer that misbehaves ends its own connection, nothing else: there is nobody to tell.
            _ = connection.as_mut() => return,
            wish = state.wished() => match wish {
                Wish::EndNow => return,
                Wish::EndBetweenRequests => connection.as_mut().graceful_shutdown(),
                Wish::GoOn => {}
            },
        }
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
        movement.answered.set(true);
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
