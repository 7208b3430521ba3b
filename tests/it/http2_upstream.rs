//! An upstream that speaks HTTP/2: it is spoken to in it, with trailers both ways, over as few connections as it allows.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http::{HeaderMap, Request, Response, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use crate::authority::{Authority, Identity, connect};
use crate::http2_caller::{Caller, Frames};
use crate::stage::{CUSTOMER, Stage, order, orders};

const JSON: (&str, &str) = ("content-type", "application/json");

/// What an upstream over HTTP/2 saw of a request.
#[derive(Clone, Debug)]
struct Seen {
    target: String,
    headers: HeaderMap,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
}

/// An upstream that speaks HTTP/2 over TLS and answers everything with trailers.
struct Upstream {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<Mutex<usize>>,
    _runtime: Runtime,
}

impl Upstream {
    fn start(identity: &Identity) -> Upstream {
        Upstream::with(identity, 200)
    }

    fn with(identity: &Identity, streams: u32) -> Upstream {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_protocol_versions(&[&TLS13])
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![certificate], key)
                .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(0)));
        let (all_seen, opened) = (Arc::clone(&seen), Arc::clone(&connections));
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, seen, opened) = (acceptor.clone(), Arc::clone(&all_seen), Arc::clone(&opened));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(socket).await else { return };
                    *opened.lock().unwrap() += 1;
                    let service = service_fn(|request| answer(request, Arc::clone(&seen)));
                    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    builder.max_concurrent_streams(streams);
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Upstream { address, seen, connections, _runtime: runtime }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn answer(
    request: Request<Incoming>,
    seen: Arc<Mutex<Vec<Seen>>>,
) -> Result<Response<Frames>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.expect("a whole request");
    let trailers = body.trailers().cloned();
    let one = Seen {
        target: head.uri.to_string(),
        headers: head.headers,
        body: body.to_bytes().to_vec(),
        trailers,
    };
    seen.lock().unwrap().push(one);
    let wait = seen.lock().unwrap().last().and_then(|seen| seen.headers.get("x-wait").cloned());
    if let Some(wait) = wait {
        let wait = wait.to_str().unwrap().parse().unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(wait)).await;
    }
    let trailers = [("x-sum", "7"), ("x-partner-tenant", "other"), ("countersign-decision", "forged")];
    let response = Response::builder().status(201).version(Version::HTTP_2).header("trailer", "x-sum");
    Ok(response.body(Frames::of(b"{\"id\":\"o1\"}", &trailers)).unwrap())
}

fn before(upstream: &Upstream, authority: &Authority) -> Stage {
    let url = format!("url: https://localhost:{}", upstream.address.port());
    Stage::edited("", |text, folder| {
        authority.identity(1).write(folder, "server");
        std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
        let start = text.find("url: http").unwrap();
        let end = start + text[start..].find(',').unwrap();
        let text = text.replacen(&text[start..end], &format!("{url}, tls: {{ ca_file: ca.pem }}"), 1);
        text.replacen("workers", "tls: { certificate: server.pem, private_key: server.key }, workers", 1)
    })
}

#[test]
fn an_upstream_that_offers_http_2_is_spoken_to_in_it() {
    let authority = Authority::new();
    let upstream = Upstream::start(&authority.identity(2));
    let mut stage = before(&upstream, &authority);
    let mut caller = Caller::connect(&authority, stage.address());
    let agent = stage.agent();
    let headers = [JSON, ("authorization", agent.as_str()), ("te", "trailers")];
    let body = order();
    let trailers = [("x-sum", "7"), ("x-partner-tenant", "other"), ("authorization", "Bearer other")];
    let order = Caller::request("POST", &orders(CUSTOMER), &headers, Frames::of(body.as_bytes(), &trailers));
    let upload = Caller::request(
        "POST",
        &format!("/v1/customers/{CUSTOMER}/orders/o1/attachment"),
        &headers,
        Frames::of(b"a file", &trailers),
    );
    for request in [order, upload] {
        let answer = caller.send(request);
        assert_eq!(answer.status, 201);
        assert_eq!(
            answer.trailers,
            [("x-sum".to_owned(), "7".to_owned())],
            "trailers pass, identity does not"
        );
    }
    let seen = upstream.seen();
    let host = format!("https://localhost:{}", upstream.address.port());
    assert_eq!(seen[0].target, format!("{host}{}", orders(CUSTOMER)));
    assert_eq!(seen[0].body, body.as_bytes());
    assert_eq!(seen[0].headers.get("te").unwrap(), "trailers");
    assert_eq!(seen[0].headers.get("x-forwarded-host").unwrap(), "localhost");
    assert_eq!(seen[0].headers.get("host"), None);
    assert_eq!(seen[0].trailers, None, "what is not judged does not go with what is");
    let passed = seen[1].trailers.as_ref().expect("the trailers of a stream");
    assert_eq!((passed.len(), passed.get("x-sum").unwrap().to_str().unwrap()), (1, "7"));
    // Many at a time share connections; over HTTP/1.1 the same upstream is reached.
    let requests = (0..200)
        .map(|_| Caller::request("POST", &orders(CUSTOMER), &headers, Frames::of(body.as_bytes(), &[])));
    assert!(caller.send_all(requests.collect()).iter().all(|answer| answer.status == 201));
    let opened = *upstream.connections.lock().unwrap();
    assert!(opened < 100, "{opened} connections for 200 requests");
    let (mut plain, _) = connect(&Arc::new(authority.client(None, &[&TLS13])), stage.address()).unwrap();
    plain.send(&stage.request("POST", &orders(CUSTOMER), &[("TE", "trailers")], body.as_bytes()));
    let answer = plain.read();
    assert_eq!((answer.status, answer.trailers.len()), (201, 1));
    let outcomes = stage.stop().iter().filter(|record| record["kind"] == "outcome").count();
    assert_eq!(outcomes, 203);
}

#[test]
fn an_upstream_of_another_authority_is_not_trusted() {
    let authority = Authority::new();
    let upstream = Upstream::start(&Authority::new().identity(2));
    let stage = before(&upstream, &authority);
    let mut caller = Caller::connect(&authority, stage.address());
    let agent = stage.agent();
    let headers = [JSON, ("authorization", agent.as_str())];
    let request = Caller::request("POST", &orders(CUSTOMER), &headers, Frames::of(order().as_bytes(), &[]));
    assert_eq!(caller.send(request).reason(), "upstream_unreachable");
    assert_eq!(upstream.seen().len(), 0);
}

#[test]
fn a_cold_burst_shares_connections() {
    let authority = Authority::new();
    let upstream = Upstream::start(&authority.identity(2));
    let stage = before(&upstream, &authority);
    let mut caller = Caller::connect(&authority, stage.address());
    let agent = stage.agent();
    let headers = [JSON, ("authorization", agent.as_str())];
    let body = order();
    let requests = (0..90)
        .map(|_| Caller::request("POST", &orders(CUSTOMER), &headers, Frames::of(body.as_bytes(), &[])));
    let answers = caller.send_all(requests.collect());
    let good = answers.iter().filter(|answer| answer.status == 201).count();
    let opened = *upstream.connections.lock().unwrap();
    assert!(opened < 10, "{opened} connections for 90 requests that fit one; {good} answered 201");
}

#[test]
fn requests_beyond_what_the_upstream_takes_go_over_further_connections() {
    let authority = Authority::new();
    let upstream = Upstream::with(&authority.identity(2), 1);
    let stage = before(&upstream, &authority);
    let mut caller = Caller::connect(&authority, stage.address());
    let agent = stage.agent();
    let body = order();
    let send = |wait: &'static str| {
        let headers = [JSON, ("authorization", agent.as_str()), ("x-wait", wait)];
        Caller::request("POST", &orders(CUSTOMER), &headers, Frames::of(body.as_bytes(), &[]))
    };
    assert_eq!(caller.send(send("0")).status, 201);
    // Each takes less than `response_timeout` (2s), and nothing else goes on.
    let answers = caller.send_all((0..4).map(|_| send("900")).collect());
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!((statuses, upstream.seen().len()), (vec![201; 4], 5));
}

#[test]
fn a_reload_that_changes_nothing_keeps_connections() {
    let authority = Authority::new();
    let upstream = Upstream::start(&authority.identity(2));
    let stage = before(&upstream, &authority);
    let mut caller = Caller::connect(&authority, stage.address());
    let agent = stage.agent();
    let headers = [JSON, ("authorization", agent.as_str())];
    let body = order();
    for _ in 0..4 {
        let request = Caller::request("POST", &orders(CUSTOMER), &headers, Frames::of(body.as_bytes(), &[]));
        assert_eq!(caller.send(request).status, 201);
        assert_eq!(stage.reload().status, 200);
    }
    assert_eq!(*upstream.connections.lock().unwrap(), 1);
}
