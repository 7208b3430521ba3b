//! HTTP/2 on both sides: the verdicts of HTTP/1.1, many at a time, and nothing that a peer can bend.

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
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use crate::authority::{Authority, Identity, connect};
use crate::http2_caller::{Caller, Frames};
use crate::http2_raw::{
    CONTINUATION, DATA, END_STREAM, HEADERS, PING, RST_STREAM, Raw, SETTINGS, block, raw_order, raw_read,
};
use crate::stage::{BLOCKED, CUSTOMER, Stage, order, orders};
use crate::tls::secured;

const JSON: (&str, &str) = ("content-type", "application/json");

#[test]
fn verdicts_are_those_of_http_1() {
    let authority = Authority::new();
    let stage = secured(&authority, "", "");
    let mut caller = Caller::connect(&authority, stage.address());
    let agent = stage.agent();
    let good = order();
    let other =
        json!({ "customerId": BLOCKED, "lineItems": [{ "offerId": "x", "quantity": 1 }] }).to_string();
    let signed = orders(CUSTOMER);
    let blocked = orders(BLOCKED);
    type Row<'r> = (&'r str, &'r str, Vec<(&'r str, &'r str)>, &'r str);
    let rows: Vec<Row<'_>> = vec![
        ("POST", &signed, vec![JSON], &good),
        ("POST", &blocked, vec![JSON], &good),
        ("POST", &signed, vec![JSON, ("authorization", "")], &good),
        ("POST", &signed, vec![JSON, ("authorization", "Bearer x.y.z")], &good),
        ("POST", &signed, vec![("content-type", "text/plain")], &good),
        ("POST", &signed, vec![JSON, ("content-encoding", "gzip")], &good),
        ("POST", &signed, vec![JSON], ""),
        ("POST", &signed, vec![JSON], "{\"lineItems\":[],\"lineItems\":[]}"),
        ("POST", &signed, vec![JSON], &other),
        ("POST", &signed, vec![JSON, ("x-http-method-override", "GET")], &good),
        ("POST", &signed, vec![JSON, ("x-original-url", "/v1/x")], &good),
        ("POST", &signed, vec![JSON, ("transfer_encoding", "chunked")], &good),
        ("POST", &signed, vec![JSON, ("host", "other.example")], &good),
        ("POST", "/v1//customers", vec![JSON], &good),
        ("POST", "/v1/customers/../x", vec![JSON], &good),
        ("POST", "/v1/$batch", vec![JSON], &good),
        ("GET", "/v1/customers", vec![], ""),
        ("GET", "/.countersign/pending", vec![], ""),
        ("GET", "/.countersign/other", vec![], ""),
        ("TRACE", "/v1/customers", vec![], ""),
        ("DELETE", "/v1/unheard/of", vec![], ""),
    ];
    let (mut plain, _) = connect(&Arc::new(authority.client(None, &[&TLS13])), stage.address()).unwrap();
    let mut statuses = Vec::new();
    for (method, target, headers, body) in rows {
        let mut all = headers.clone();
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            all.push(("authorization", &agent));
        }
        all.retain(|(_, value)| !value.is_empty());
        let over_2 = caller.send(Caller::request(method, target, &all, Frames::of(body.as_bytes(), &[])));
        if !headers.iter().any(|(name, _)| *name == "host") {
            all.push(("host", "localhost"));
        }
        if headers.iter().any(|(name, _)| *name == "host") {
            assert_eq!(over_2.reason(), "ambiguous_request", "the authority and the Host disagree");
            continue;
        }
        if plain.try_send(&crate::http::request(method, target, &all, body.as_bytes())).is_err() {
            panic!("{method} {target}: the connection is gone");
        }
        let over_1 = plain.read();
        if over_1.header("connection") == Some("close") {
            (plain, _) = connect(&Arc::new(authority.client(None, &[&TLS13])), stage.address()).unwrap();
        }
        assert_eq!(over_2.status, over_1.status, "{method} {target} {headers:?} {body}");
        if over_1.status >= 400 {
            assert_eq!(over_2.reason(), over_1.reason(), "{method} {target} {headers:?} {body}");
        }
        assert_eq!(over_2.header("connection"), None);
        statuses.push(over_1.status);
    }
    assert!(statuses.contains(&201) && statuses.contains(&403) && statuses.contains(&401), "{statuses:?}");
}

#[test]
fn many_requests_share_a_connection() {
    let authority = Authority::new();
    let stage = secured(&authority, "", "");
    let mut caller = Caller::connect(&authority, stage.address());
    let agent = stage.agent();
    let body = order();
    let request = |at: usize| {
        let customer = if at.is_multiple_of(3) { BLOCKED } else { CUSTOMER };
        let headers = [JSON, ("authorization", agent.as_str())];
        Caller::request("POST", &orders(customer), &headers, Frames::of(body.as_bytes(), &[]))
    };
    let answers = caller.send_all((0..300).map(request).collect());
    for (at, answer) in answers.iter().enumerate() {
        assert_eq!(answer.status, if at.is_multiple_of(3) { 403 } else { 201 }, "{at}");
    }
    let crumbs = [("cookie", "a=1"), ("cookie", "b=2"), ("authorization", agent.as_str())];
    assert_eq!(caller.send(Caller::request("GET", "/v1/customers", &crumbs, Frames::default())).status, 200);
    let seen = stage.standin.recorded().pop().unwrap();
    let cookies: Vec<_> = seen.headers.iter().filter(|(name, _)| name == "cookie").collect();
    assert_eq!(cookies, [&("cookie".to_owned(), b"a=1; b=2".to_vec())]);
    assert_eq!(stage.standin.mutation_count(), 200);
    assert_eq!(stage.metric("countersign_connections_total{outcome=\"accepted\"}"), 1.0);
}

#[test]
fn a_judged_body_is_whole_before_anything_goes_upstream() {
    let authority = Authority::new();
    let stage = secured(&authority, "", "limits: { body_timeout: 1s }\n");
    let mut raw = Raw::connect(&authority, stage.address());
    let agent = stage.agent();
    // A body that never ends, and one whose stream is reset: the headers alone are no order.
    raw.headers(1, &raw_order(&agent), false);
    raw.frame(DATA, 0, 1, order().as_bytes());
    raw.headers(3, &raw_order(&agent), false);
    raw.frame(DATA, 0, 3, order().as_bytes());
    raw.frame(RST_STREAM, 0, 3, &8u32.to_be_bytes());
    assert_eq!(raw.status_of(1).map(|(status, _)| status), Some(408));
    // More or less than it said.
    for (stream, length) in [(5, "5"), (7, "5000")] {
        let mut fields = raw_order(&agent);
        fields.push(("content-length", length));
        raw.headers(stream, &fields, false);
        raw.frame(DATA, END_STREAM, stream, order().as_bytes());
    }
    raw.headers(9, &raw_order(&agent), false);
    raw.frame(DATA, END_STREAM, 9, order().as_bytes());
    assert_eq!(raw.status_of(9).map(|(status, _)| status), Some(201));
    assert_eq!(stage.standin.request_count(), 1);
}

#[test]
fn floods_end_their_own_connection_only() {
    let authority = Authority::new();
    let stage = secured(&authority, "", "");
    let agent = stage.agent();
    let config = Arc::new(authority.client(None, &[&TLS13]));
    let still_serves = || {
        let (mut other, _) = connect(&config, stage.address()).unwrap();
        other.send(&stage.request("POST", &orders(CUSTOMER), &[], order().as_bytes()));
        assert_eq!(other.read().status, 201);
    };
    type Flood = fn(&mut Raw, u32, &str) -> std::io::Result<()>;
    let floods: [(&str, Flood); 6] = [
        ("rapid reset", |raw, at, agent| {
            raw.try_headers(at * 2 + 1, &raw_order(agent), false)?;
            raw.try_frame(RST_STREAM, 0, at * 2 + 1, &8u32.to_be_bytes())
        }),
        ("rapid reset of reads", |raw, at, agent| {
            let fields = raw_read(agent);
            raw.try_headers(at * 2 + 1, &fields, true)?;
            raw.try_frame(RST_STREAM, 0, at * 2 + 1, &8u32.to_be_bytes())
        }),
        ("continuation without end", |raw, at, agent| match at {
            0 => raw.try_frame(HEADERS, 0, 1, &block(&raw_order(agent))),
            _ => raw.try_frame(CONTINUATION, 0, 1, &block(&[("x-filler", "0123456789")])),
        }),
        ("more streams than allowed", |raw, at, agent| raw.try_headers(at * 2 + 1, &raw_order(agent), false)),
        ("endless empty data", |raw, at, agent| match at {
            0 => raw.try_headers(1, &raw_order(agent), false),
            _ => raw.try_frame(DATA, 0, 1, b""),
        }),
        ("a frame that is none", |raw, _, _| raw.try_frame(HEADERS, 0x28, 0, &[0xff; 40])),
    ];
    for (name, flood) in floods {
        let mut raw = Raw::connect(&authority, stage.address());
        let ended = (0..20_000).any(|at| flood(&mut raw, at, &agent).is_err()) || raw.is_over();
        assert!(ended, "{name}");
        still_serves();
    }
    // What only asks for an answer is answered or ended, and either way held within bounds.
    for (kind, payload) in [(SETTINGS, &[][..]), (PING, &[0; 8])] {
        let mut raw = Raw::connect(&authority, stage.address());
        let _ = (0..50_000).any(|_| raw.try_frame(kind, 0, 0, payload).is_err());
        still_serves();
    }
    assert!(stage.metric("process_resident_memory_bytes") < 400e6);
}

#[test]
fn too_large_a_head_is_refused() {
    let authority = Authority::new();
    let stage = secured(&authority, "", "");
    let mut caller = Caller::connect(&authority, stage.address());
    let agent = stage.agent();
    let long = "x".repeat(33 * 1024);
    let answer = caller.send(Caller::request(
        "GET",
        "/v1/customers",
        &[("authorization", &agent), ("x-long", &long)],
        Frames::default(),
    ));
    assert_eq!(answer.status, 431);
    let names: Vec<String> = (0..101).map(|at| format!("x-{at}")).collect();
    let mut many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    many.push(("authorization", &agent));
    let answer = caller.send(Caller::request("GET", "/v1/customers", &many, Frames::default()));
    assert_eq!((answer.status, answer.reason().as_str()), (431, "headers_too_large"));
    let read = Caller::request("GET", "/v1/customers", &[("authorization", &agent)], Frames::default());
    assert_eq!(caller.send(read).status, 200, "the connection goes on");
}

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
                    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
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
