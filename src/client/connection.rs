//! One connection to the upstream: opened over TCP or TLS, speaking HTTP/1.1 or HTTP/2.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use http::uri::{Scheme, Uri};
use http::{HeaderValue, Request, Response, Version, header};
use hyper::body::{Body, Incoming};
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::rt::{Read, Write};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::client::outgoing::Outgoing;
use crate::client::settings::Settings;
use crate::fetch::without_brackets;
use crate::local::Local;

/// The most requests at a time on one HTTP/2 connection before another one is opened.
const STREAMS_MAX: usize = 100;
/// Stands for the streams that the upstream allows before it has said how many: no server says that.
const UNSAID: usize = 0x7e57_0001;
/// How often a new connection is looked at for what its upstream allows.
const SETTINGS_LOOK: Duration = Duration::from_millis(1);
/// How long an HTTP/2 connection in use may be silent before it is asked whether it is there, and then to answer.
const PING_AFTER: Duration = Duration::from_secs(10);
/// The largest header block of an answer, in bytes.
const HEADER_BYTES_MAX: usize = 64 * 1024;

/// An open connection.
pub enum Sender {
    /// HTTP/1.1: one request at a time.
    One(http1::SendRequest<Outgoing>),
    /// HTTP/2: many at a time.
    Many(http2::SendRequest<Outgoing>, Rc<Streams>),
}

/// The requests on a shared connection.
pub struct Streams {
    in_use: Cell<usize>,
    /// It takes no further request: one was not answered in time, and the others may not be either.
    retired: Cell<bool>,
    connection: RefCell<Pin<Box<Shared>>>,
}

type Shared = http2::Connection<TokioIo<TlsStream<TcpStream>>, Outgoing, Local>;

impl Streams {
    /// How many the upstream allows at a time. One beyond them would wait inside the connection, and be sent when
    /// nobody waits for its answer any more.
    fn allowed(&self) -> usize {
        // While it is being polled nobody asks.
        self.connection.try_borrow().map_or(0, |connection| connection.current_max_send_streams())
    }
}

/// A hold on a shared connection.
pub struct Hold(Rc<Streams>);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.in_use.set(self.0.in_use.get() - 1);
    }
}

impl Sender {
    /// Opens a connection.
    pub async fn open(settings: &Settings) -> io::Result<Sender> {
        let port = settings.authority.port_u16().unwrap_or(if settings.tls.is_some() { 443 } else { 80 });
        let host = without_brackets(settings.authority.host());
        let socket = TcpStream::connect((host, port)).await?;
        socket.set_nodelay(true)?;
        let Some(secured) = &settings.tls else { return one(TokioIo::new(socket)).await };
        let stream = secured.connect(socket).await?;
        match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => many(TokioIo::new(stream)).await,
            _ => one(TokioIo::new(stream)).await,
        }
    }

    /// Whether a request can be sent.
    pub fn is_ready(&self) -> bool {
        match self {
            Sender::One(sender) => sender.is_ready(),
            Sender::Many(sender, streams) => {
                sender.is_ready() && streams.in_use.get() < STREAMS_MAX.min(streams.allowed())
            }
        }
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        match self {
            Sender::One(sender) => sender.is_closed(),
            Sender::Many(sender, streams) => sender.is_closed() || streams.retired.get(),
        }
    }

    /// A hold on a connection that several requests can share.
    pub fn share(&self) -> Option<(Sender, Hold)> {
        match self {
            Sender::One(_) => None,
            Sender::Many(sender, streams) => {
                streams.in_use.set(streams.in_use.get() + 1);
                Some((Sender::Many(sender.clone(), Rc::clone(streams)), Hold(Rc::clone(streams))))
            }
        }
    }

    /// Lets a shared connection end with the requests that are under way on it.
    pub fn retire(&self) {
        if let Sender::Many(_, streams) = self {
            streams.retired.set(true);
        }
    }

    /// Whether requests are under way on a shared connection.
    pub fn is_in_use(&self) -> bool {
        matches!(self, Sender::Many(_, streams) if streams.in_use.get() > 0)
    }

    /// Sends a request. One that was not written comes back with the error.
    pub async fn send(
        &mut self,
        mut request: Request<Outgoing>,
        settings: &Settings,
    ) -> Result<Response<Incoming>, TrySendError<Request<Outgoing>>> {
        match self {
            Sender::One(sender) => {
                // It may have been made for a connection of the other kind, which handed it back.
                if let Some(path) =
                    request.uri().path_and_query().filter(|_| request.uri().scheme().is_some())
                {
                    *request.uri_mut() = Uri::from(path.clone());
                    *request.version_mut() = Version::HTTP_11;
                }
                let headers = request.headers_mut();
                headers.insert(header::HOST, settings.host.clone());
                // It speaks of this connection only (RFC 9110 section 10.1.4).
                if headers.contains_key(header::TE) {
                    headers.insert(header::CONNECTION, HeaderValue::from_static("TE"));
                }
                // Without a length, a body goes in chunks, also where its method rarely has one.
                if !request.body().is_end_stream() && request.body().size_hint().exact().is_none() {
                    request
                        .headers_mut()
                        .insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
                }
                sender.try_send_request(request).await
            }
            Sender::Many(sender, _) => {
                // The authority stands in its own field, and in that only (RFC 9113 section 8.3.1).
                for name in [header::HOST, header::CONNECTION, header::TRANSFER_ENCODING] {
                    request.headers_mut().remove(name);
                }
                let mut target = std::mem::take(request.uri_mut()).into_parts();
                target.scheme = Some(Scheme::HTTPS);
                target.authority = Some(settings.authority.clone());
                *request.uri_mut() = Uri::from_parts(target).expect("a path, a scheme and an authority");
                *request.version_mut() = Version::HTTP_2;
                sender.try_send_request(request).await
            }
        }
    }
}

async fn one(io: impl Read + Write + Unpin + 'static) -> io::Result<Sender> {
    let (sender, connection) = http1::Builder::new()
        .max_header_size(HEADER_BYTES_MAX)
        .handshake(io)
        .await
        .map_err(io::Error::other)?;
    tokio::task::spawn_local(async move {
        // Whoever waits for an answer on it learns of its end by itself.
        let _ = connection.await;
    });
    Ok(Sender::One(sender))
}

async fn many(io: TokioIo<TlsStream<TcpStream>>) -> io::Result<Sender> {
    let (sender, connection) = http2::Builder::new(Local)
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PING_AFTER)
        .max_header_list_size(HEADER_BYTES_MAX as u32)
        .initial_max_send_streams(UNSAID)
        .handshake(io)
        .await
        .map_err(io::Error::other)?;
    let streams = Rc::new(Streams {
        in_use: Cell::new(0),
        retired: Cell::new(false),
        connection: RefCell::new(Box::pin(connection)),
    });
    let polled = Rc::clone(&streams);
    tokio::task::spawn_local(poll_fn(move |cx| {
        // Whoever waits for an answer on it learns of its end by itself.
        polled.connection.borrow_mut().as_mut().poll(cx).map(drop)
    }));
    // The first thing that an upstream says is how many requests it allows (RFC 9113 section 3.4). Nothing tells that
    // it has; the time that this may take is the time to connect.
    while streams.allowed() == UNSAID {
        if sender.is_closed() {
            return Err(io::Error::other("the upstream closed the connection at once"));
        }
        tokio::time::sleep(SETTINGS_LOOK).await;
    }
    match streams.allowed() {
        0 => Err(io::Error::other("the upstream takes no request on this connection")),
        _ => Ok(Sender::Many(sender, streams)),
    }
}
