//! One connection to the upstream: opened over TCP or TLS, speaking HTTP/1.1 or HTTP/2.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use http::uri::{Scheme, Uri};
use http::{HeaderValue, Request, Response, Version, header};
use hyper::body::{Body, Incoming};
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::rt::{Read, Write};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use crate::client::outgoing::Outgoing;
use crate::client::settings::Settings;
use crate::local::Local;

/// The most requests at a time on one HTTP/2 connection before another one is opened.
const STREAMS_MAX: usize = 100;
/// How long an HTTP/2 connection in use may be silent before it is asked whether it is there, and then to answer.
const PING_AFTER: Duration = Duration::from_secs(10);
/// The largest header block of an answer, in bytes.
const HEADER_BYTES_MAX: usize = 64 * 1024;

/// An open connection.
pub enum Sender {
    /// HTTP/1.1: one request at a time.
    One(http1::SendRequest<Outgoing>),
    /// HTTP/2: many at a time.
    Many(http2::SendRequest<Outgoing>, Rc<Cell<usize>>),
}

impl Sender {
    /// Opens a connection.
    pub async fn open(settings: &Settings) -> io::Result<Sender> {
        let port = settings.authority.port_u16().unwrap_or(if settings.tls.is_some() { 443 } else { 80 });
        let host = settings.authority.host().trim_start_matches('[').trim_end_matches(']');
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
            Sender::Many(sender, in_use) => sender.is_ready() && in_use.get() < STREAMS_MAX,
        }
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        match self {
            Sender::One(sender) => sender.is_closed(),
            Sender::Many(sender, _) => sender.is_closed(),
        }
    }

    /// Another hold on a connection that several requests can share.
    pub fn share(&self) -> Option<Sender> {
        match self {
            Sender::One(_) => None,
            Sender::Many(sender, in_use) => {
                in_use.set(in_use.get() + 1);
                Some(Sender::Many(sender.clone(), Rc::clone(in_use)))
            }
        }
    }

    /// Whether requests are under way on a shared connection.
    pub fn is_in_use(&self) -> bool {
        matches!(self, Sender::Many(_, in_use) if in_use.get() > 0)
    }

    /// Ends a hold.
    pub fn unshare(&self) {
        if let Sender::Many(_, in_use) = self {
            in_use.set(in_use.get() - 1);
        }
    }

    /// Sends a request. One that was not written comes back with the error.
    pub async fn send(
        &mut self,
        mut request: Request<Outgoing>,
        settings: &Settings,
    ) -> Result<Response<Incoming>, TrySendError<Request<Outgoing>>> {
        match self {
            Sender::One(sender) => {
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
                request.headers_mut().remove(header::HOST);
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

async fn many(io: impl Read + Write + Unpin + 'static) -> io::Result<Sender> {
    let (sender, connection) = http2::Builder::new(Local)
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PING_AFTER)
        .max_header_list_size(HEADER_BYTES_MAX as u32)
        .handshake(io)
        .await
        .map_err(io::Error::other)?;
    tokio::task::spawn_local(async move {
        let _ = connection.await;
    });
    Ok(Sender::Many(sender, Rc::default()))
}
