//! A token endpoint on a loopback address, whose answers a test gives one by one.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::service::secret::Secret;
use crate::service::settings::{Grant, Scope, Settings};

/// The endpoint.
pub struct Endpoint {
    /// Where it is.
    pub url: crate::fetch::Endpoint,
    questions: mpsc::UnboundedReceiver<Question>,
}

/// A question that waits for its answer.
pub struct Question {
    /// Its body.
    pub form: String,
    answer: oneshot::Sender<(u16, String)>,
}

impl Endpoint {
    /// One that listens.
    pub async fn new() -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let (asked, questions) = mpsc::unbounded_channel();
        tokio::spawn(serve(listener, asked));
        let url = crate::fetch::Endpoint::parse(&format!("http://{address}/token"), false).unwrap();
        Endpoint { url, questions }
    }

    /// The next question.
    pub async fn asked(&mut self) -> Question {
        let question = timeout(Duration::from_secs(30), self.questions.recv());
        question.await.expect("a question in time").expect("the endpoint serves")
    }

    /// Answers the next question.
    pub async fn answers(&mut self, status: u16, body: impl AsRef<str>) {
        self.asked().await.answer(status, body.as_ref());
    }

    /// Whether no question waits.
    pub fn is_idle(&mut self) -> bool {
        self.questions.try_recv().is_err()
    }
}

impl Question {
    /// Answers it.
    pub fn answer(self, status: u16, body: &str) {
        self.answer.send((status, body.to_owned())).unwrap();
    }
}

/// The settings of one who asks it. Its secret is a variable that cargo sets wherever tests run.
pub fn settings(endpoint: &Endpoint, grant: Grant) -> Settings {
    Settings {
        grant,
        url: endpoint.url.clone(),
        client_id: "me".to_owned(),
        client_secret: Some(Secret::Variable("CARGO_PKG_NAME".to_owned())),
        scope: Some(Scope::Resource("https://api.example".to_owned())),
        timeout: Duration::from_secs(10),
        authorities: None,
    }
}

/// The answer that gives a token.
pub fn issue(token: &str, expires_in: u64, refresh_token: Option<&str>) -> String {
    let mut document = serde_json::json!({
        "token_type": "Bearer",
        "access_token": token,
        "expires_in": expires_in.to_string(),
    });
    if let Some(refresh_token) = refresh_token {
        document["refresh_token"] = refresh_token.into();
    }
    document.to_string()
}

async fn serve(listener: TcpListener, asked: mpsc::UnboundedSender<Question>) {
    while let Ok((stream, _)) = listener.accept().await {
        let asked = asked.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let asked = asked.clone();
            async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let (answer, answered) = oneshot::channel();
                let form = String::from_utf8(body.to_vec()).unwrap();
                // The test may be over.
                let _ = asked.send(Question { form, answer });
                let (status, body) = answered.await.unwrap_or((500, String::new()));
                Response::builder().status(status).body(Full::new(Bytes::from(body)))
            }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}
