//! A server of keys over TLS, with an authority of its own: it counts what it is asked, fails or hangs when told to,
//! and changes its answers.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

use crate::http::PATIENCE;

/// What the server does with a request that it has counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Answers.
    Well,
    /// Closes the connection.
    Down,
    /// Answers once its mood changes.
    Hanging,
}

struct State {
    mood: Mood,
    /// Status and content by path.
    answers: HashMap<String, (u16, String)>,
    asked: HashMap<String, usize>,
    /// How many requests wait for another mood.
    hanging: usize,
    stopped: bool,
}

struct Inner {
    state: Mutex<State>,
    changed: Condvar,
    tls: Arc<ServerConfig>,
}

/// The server; it stops when it is dropped.
pub struct KeyServer {
    inner: Arc<Inner>,
    address: SocketAddr,
    folder: TempDir,
}

impl KeyServer {
    pub fn start() -> KeyServer {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate().unwrap();
        let authority_certificate = authority.self_signed(&authority_key).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["127.0.0.1".to_owned()])
            .unwrap()
            .signed_by(&key, &Issuer::new(authority, authority_key))
            .unwrap();
        let tls = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("ca.pem"), authority_certificate.pem()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = State {
            mood: Mood::Well,
            answers: HashMap::new(),
            asked: HashMap::new(),
            hanging: 0,
            stopped: false,
        };
        let inner = Arc::new(Inner { state: Mutex::new(state), changed: Condvar::new(), tls: Arc::new(tls) });
        let served = Arc::clone(&inner);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if served.state.lock().unwrap().stopped {
                    return;
                }
                let inner = Arc::clone(&served);
                thread::spawn(move || inner.serve(stream.unwrap()));
            }
        });
        KeyServer { inner, address, folder }
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    /// The certificate of its authority.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    pub fn answer(&self, path: &str, status: u16, content: impl Into<String>) {
        let answer = (status, content.into());
        self.inner.state.lock().unwrap().answers.insert(path.to_owned(), answer);
    }

    pub fn set(&self, mood: Mood) {
        self.inner.state.lock().unwrap().mood = mood;
        self.inner.changed.notify_all();
    }

    /// How often a path was asked for.
    pub fn asked(&self, path: &str) -> usize {
        self.inner.state.lock().unwrap().asked.get(path).copied().unwrap_or(0)
    }

    /// Waits until a path was asked for so often.
    pub fn wait(&self, path: &str, count: usize) {
        self.wait_for(path, |state| state.asked.get(path).copied().unwrap_or(0) >= count);
    }

    /// Tells the server to hang, and waits until it holds a request.
    pub fn hang(&self) {
        self.set(Mood::Hanging);
        self.wait_for("a request that hangs", |state| state.hanging > 0);
    }

    fn wait_for(&self, what: &str, condition: impl Fn(&State) -> bool) {
        let state = self.inner.state.lock().unwrap();
        let (state, waited) =
            self.inner.changed.wait_timeout_while(state, PATIENCE, |state| !condition(state)).unwrap();
        drop(state);
        assert!(!waited.timed_out(), "{what} did not come");
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        let mut state = self.inner.state.lock().unwrap();
        state.stopped = true;
        state.mood = Mood::Down;
        drop(state);
        self.inner.changed.notify_all();
        // The acceptor looks when somebody comes.
        let _ = TcpStream::connect(self.address);
    }
}

impl Inner {
    /// One request a connection. A client that does not trust the certificate ends it before it asks.
    fn serve(&self, stream: TcpStream) {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&self.tls)).unwrap(), stream);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            match stream.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                _ => return,
            }
        }
        let head = String::from_utf8(head).unwrap();
        let path = head.split(' ').nth(1).unwrap().to_owned();
        let mut state = self.state.lock().unwrap();
        *state.asked.entry(path.clone()).or_default() += 1;
        state.hanging += 1;
        self.changed.notify_all();
        let mut state = self.changed.wait_while(state, |state| state.mood == Mood::Hanging).unwrap();
        state.hanging -= 1;
        if state.mood == Mood::Down {
            return;
        }
        let (status, content) = state.answers.get(&path).cloned().unwrap_or((404, String::new()));
        drop(state);
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nLocation: /keys\r\nConnection: close\r\n\r\n",
            content.len()
        );
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(content.as_bytes()));
        stream.conn.send_close_notify();
        let _ = stream.flush();
    }
}
