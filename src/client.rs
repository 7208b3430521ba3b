//! Outgoing HTTP: each worker keeps its own connections to the upstream.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery};
use http::{Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::deadline::{Deadlines, Until};

/// The most idle connections that a worker keeps.
const IDLE_MAX: usize = 256;

/// Where the upstream is, and how long it may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Host and port; the `Host` of what is sent.
    pub authority: Authority,
    /// What stands before every path; empty, or `/..` without a slash at its end.
    pub prefix: String,
    /// To open a connection.
    pub connect_timeout: Duration,
    /// From the end of the request to the head of its answer.
    pub response_timeout: Duration,
    /// How long an unused connection is kept; below what upstreams keep theirs.
    pub idle_timeout: Duration,
}

impl Settings {
    /// The target of what is sent for a target that was received.
    pub fn target(&self, received: &Uri) -> Result<Uri, http::Error> {
        if self.prefix.is_empty() {
            // As it came, without reading it once more; an absolute target loses its host.
            let path = received.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
            return Ok(Uri::from(path));
        }
        let path = received.path_and_query().map_or("/", PathAndQuery::as_str);
        Uri::builder().path_and_query(format!("{}{path}", self.prefix)).build()
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// No connection could be opened.
    Connect(io::Error),
    /// None could be opened in time.
    ConnectTimeout,
    /// The connection broke, or the answer is no HTTP.
    Broken(hyper::Error),
    /// No answer in time.
    Timeout,
    /// The caller's body, which was being streamed, ended early.
    CallerBroke,
}

/// A body on its way to the upstream.
pub enum Outgoing {
    /// These bytes; empty for none.
    Whole(Bytes),
    /// What the caller sends, as it comes; when it last did is written beside it.
    Streamed(Incoming, Rc<Cell<Instant>>),
}

impl Outgoing {
    /// What the caller sends, as it comes.
    pub fn streamed(body: Incoming, now: Instant) -> Outgoing {
        Outgoing::Streamed(body, Rc::new(Cell::new(now)))
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            Outgoing::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Outgoing::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            // Trailers of a request are not passed on: nothing that buys reads them.
            Outgoing::Streamed(body, moved) => {
                let frame = std::task::ready!(Pin::new(body).poll_frame(cx));
                moved.set(Instant::now());
                match frame {
                    Some(Ok(frame)) if frame.is_trailers() => Poll::Ready(None),
                    other => Poll::Ready(other),
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Outgoing::Whole(bytes) => bytes.is_empty(),
            Outgoing::Streamed(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Outgoing::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Outgoing::Streamed(body, _) => body.size_hint(),
        }
    }
}

/// The connections of one worker. It stays on its thread.
#[derive(Clone)]
pub struct Pool {
    deadlines: Deadlines,
    idle: Rc<RefCell<Vec<Idle>>>,
    opened: Rc<Cell<u64>>,
}

struct Idle {
    sender: SendRequest<Outgoing>,
    authority: Authority,
    since: Instant,
}

/// A connection in use. It goes back to the pool only by [`release`](Lease::release), after a clean end.
pub struct Lease {
    sender: SendRequest<Outgoing>,
    authority: Authority,
    pool: Pool,
}

impl Lease {
    /// Gives the connection back: its answer has been read to the end.
    pub fn release(self, now: Instant) {
        let mut idle = self.pool.idle.borrow_mut();
        if idle.len() < IDLE_MAX && !self.sender.is_closed() {
            idle.push(Idle { sender: self.sender, authority: self.authority, since: now });
        }
    }
}

impl Pool {
    /// A pool whose waits end with these deadlines.
    pub fn new(deadlines: Deadlines) -> Pool {
        Pool { deadlines, idle: Rc::default(), opened: Rc::default() }
    }

    /// How many connections were opened so far.
    pub fn opened(&self) -> u64 {
        self.opened.get()
    }

    /// Closes connections that have not been used for too long.
    pub fn close_idle(&self, idle_timeout: Duration, now: Instant) {
        self.idle.borrow_mut().retain(|idle| now.saturating_duration_since(idle.since) < idle_timeout);
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// It is written to a connection at most once: a purchase must not happen twice. A kept connection that turns out
    /// to be closed before anything was written to it hands the request back, and another one is tried.
    pub async fn send(
        &self,
        settings: &Settings,
        mut request: Request<Outgoing>,
        now: Instant,
    ) -> Result<(Response<Incoming>, Lease), Failure> {
        // While the caller's body goes on, the upstream is not late.
        let until = match request.body() {
            Outgoing::Streamed(_, moved) => Until::After(Rc::clone(moved), settings.response_timeout),
            Outgoing::Whole(_) => Until::At(now + settings.response_timeout),
        };
        loop {
            let kept = self.take_idle(settings, now);
            let is_new = kept.is_none();
            let mut sender = match kept {
                Some(sender) => sender,
                None => self.connect(settings).await?,
            };
            let answer = self.deadlines.within(until.clone(), pin!(sender.try_send_request(request))).await;
            match answer {
                Err(_) => return Err(Failure::Timeout),
                Ok(Ok(response)) => {
                    let lease = Lease { sender, authority: settings.authority.clone(), pool: self.clone() };
                    return Ok((response, lease));
                }
                Ok(Err(mut error)) => match error.take_message() {
                    Some(unsent) if !is_new => request = unsent,
                    _ => {
                        let error = error.into_error();
                        return Err(if error.is_user() {
                            Failure::CallerBroke
                        } else {
                            Failure::Broken(error)
                        });
                    }
                },
            }
        }
    }

    /// The connection used last, so that the others can grow old.
    fn take_idle(&self, settings: &Settings, now: Instant) -> Option<SendRequest<Outgoing>> {
        let mut idle = self.idle.borrow_mut();
        while let Some(kept) = idle.pop() {
            let young = now.saturating_duration_since(kept.since) < settings.idle_timeout;
            if young && kept.authority == settings.authority && kept.sender.is_ready() {
                return Some(kept.sender);
            }
        }
        None
    }

    async fn connect(&self, settings: &Settings) -> Result<SendRequest<Outgoing>, Failure> {
        let open = async {
            let port = settings.authority.port_u16().unwrap_or(80);
            let host = settings.authority.host().trim_start_matches('[').trim_end_matches(']');
            let stream = TcpStream::connect((host, port)).await?;
            stream.set_nodelay(true)?;
            Ok::<_, io::Error>(stream)
        };
        let stream = tokio::time::timeout(settings.connect_timeout, open)
            .await
            .map_err(|_| Failure::ConnectTimeout)?
            .map_err(Failure::Connect)?;
        self.opened.set(self.opened.get() + 1);
        let (sender, connection) = http1::Builder::new()
            .max_header_size(64 * 1024)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(Failure::Broken)?;
        tokio::task::spawn_local(async move {
            // Whoever waits for an answer on it learns of its end by itself.
            let _ = connection.await;
        });
        Ok(sender)
    }
}
