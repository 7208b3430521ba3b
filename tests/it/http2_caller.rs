//! A caller over HTTP/2 and TLS.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

use crate::authority::Authority;
use crate::http::Answer;

/// A body in frames.
#[derive(Clone, Default)]
pub struct Frames(VecDeque<Result<Bytes, HeaderMap>>);

impl Frames {
    pub fn of(body: &[u8], trailers: &[(&str, &str)]) -> Frames {
        let mut frames = VecDeque::new();
        if !body.is_empty() {
            frames.push_back(Ok(Bytes::copy_from_slice(body)));
        }
        if !trailers.is_empty() {
            let pair = |(name, value): &(&str, &str)| (name.parse().unwrap(), value.parse().unwrap());
            frames.push_back(Err(trailers.iter().map(pair).collect()));
        }
        Frames(frames)
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = self.0.pop_front();
        Poll::Ready(frame.map(|frame| Ok(frame.map_or_else(Frame::trailers, Frame::data))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}

/// A caller over HTTP/2.
pub struct Caller {
    runtime: Runtime,
    sender: SendRequest<Frames>,
}

impl Caller {
    pub fn connect(authority: &Authority, address: SocketAddr) -> Caller {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut config = authority.client(None, &[&TLS13]);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let sender = runtime.block_on(async {
            let socket = TcpStream::connect(address).await.unwrap();
            socket.set_nodelay(true).unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let stream = TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            let (sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                    .await
                    .unwrap();
            tokio::spawn(connection);
            sender
        });
        Caller { runtime, sender }
    }

    pub fn request(method: &str, target: &str, headers: &[(&str, &str)], body: Frames) -> Request<Frames> {
        let mut request = Request::builder().method(method).uri(format!("https://localhost{target}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(body).unwrap()
    }

    pub fn send(&mut self, request: Request<Frames>) -> Answer {
        self.try_send(request).expect("an answer")
    }

    pub fn try_send(&mut self, request: Request<Frames>) -> hyper::Result<Answer> {
        let answer = self.sender.send_request(request);
        self.runtime.block_on(async { read(answer.await?).await })
    }

    /// Whether the gateway takes no more requests on this connection.
    pub fn is_over(&self) -> bool {
        self.sender.is_closed()
    }

    /// Sends all of them before it reads an answer.
    pub fn send_all(&mut self, requests: Vec<Request<Frames>>) -> Vec<Answer> {
        let answers: Vec<_> = requests.into_iter().map(|request| self.sender.send_request(request)).collect();
        self.runtime.block_on(async {
            let mut all = Vec::new();
            for answer in answers {
                all.push(read(answer.await.expect("an answer")).await.expect("a whole answer"));
            }
            all
        })
    }
}

async fn read(response: Response<Incoming>) -> hyper::Result<Answer> {
    let (head, body) = response.into_parts();
    let body = body.collect().await?;
    let fields = |headers: &HeaderMap| {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
    };
    let trailers = body.trailers().map_or_else(Vec::new, fields);
    let body = body.to_bytes().to_vec();
    Ok(Answer { status: head.status.as_u16(), headers: fields(&head.headers), body, trailers })
}
