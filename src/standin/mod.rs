//! Stand-in: Microsoft's ordering API as a gateway sees it, over real HTTP, for the demo and for the integration tests.
//!
//! It answers by itself and remembers nothing but its counters, so nothing has to be set up before a request. It imports
//! nothing from outside this folder: a mistake of the gateway can then not be made a second time here and cancel out.

mod agreement;
mod answer;
mod api;
mod body;
mod call;
mod cart;
mod customer;
mod exchange;
mod faults;
mod issuer;
mod ledger;
mod migration;
mod order;
mod server;
mod subscription;
#[cfg(test)]
mod testing;
mod transfer;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::runtime;
use tokio::sync::oneshot;

pub use crate::standin::issuer::{Issuer, IssuerAlgorithm};
pub use crate::standin::ledger::Recorded;

use crate::standin::ledger::Ledger;

/// Connections that wait to be accepted; a load run opens all of its connections at once.
const BACKLOG: u32 = 4096;

/// A running stand-in; dropping it stops it and joins its thread.
///
/// What it does is steered per request: by the `Standin-Fault` request header (the words are in `faults.rs`) and by ids
/// that stand for a party without an agreement (`agreement.rs`).
pub struct Standin {
    address: SocketAddr,
    ledger: Arc<Ledger>,
    /// Dropping the sender ends the accept loop.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Standin {
    /// Binds `address` (port 0 for a free one) and serves on a thread of its own.
    ///
    /// # Errors
    /// When the address cannot be bound, or when there is no thread or event queue left for it.
    pub fn start(address: SocketAddr) -> io::Result<Standin> {
        let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        // Bound before the thread starts, so that the caller gets the error and the port is known on return.
        let listener = {
            let _entered = runtime.enter();
            let socket = match address {
                SocketAddr::V4(_) => TcpSocket::new_v4()?,
                SocketAddr::V6(_) => TcpSocket::new_v6()?,
            };
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(BACKLOG)?
        };
        let address = listener.local_addr()?;
        let ledger = Arc::new(Ledger::new());
        let (stop, stopped) = oneshot::channel();
        let served = Arc::clone(&ledger);
        let thread = thread::Builder::new()
            .name("standin".to_owned())
            .spawn(move || runtime.block_on(server::run(listener, served, stopped)))?;
        Ok(Standin { address, ledger, stop: Some(stop), thread: Some(thread) })
    }

    /// The address it is bound to, with the port that was given to it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base, without a slash at the end: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Requests whose head was received, since the start.
    pub fn request_count(&self) -> u64 {
        self.ledger.requests()
    }

    /// Those of them that may change something: neither GET, HEAD nor OPTIONS.
    pub fn mutation_count(&self) -> u64 {
        self.ledger.mutations()
    }

    /// Whether requests are kept for [`Standin::recorded`]. Off at first, so that load runs stay cheap.
    pub fn record(&self, on: bool) {
        self.ledger.record(on);
    }

    /// Takes the requests recorded so far, oldest first; at most the last 1024 are kept.
    ///
    /// A request is there before its answer is sent, but not before its body was read to the end (or broke off).
    pub fn recorded(&self) -> Vec<Recorded> {
        self.ledger.take_recorded()
    }

    /// Waits until `count` requests were received since the start; false when `timeout` passed before.
    pub fn wait_for_requests(&self, count: u64, timeout: Duration) -> bool {
        self.ledger.wait_for_requests(count, timeout)
    }

    /// Lets every request go on that the `hold` fault holds now. A request counts as held from its head on: one that
    /// [`Standin::wait_for_requests`] has seen is released by this, later ones are not.
    pub fn release(&self) {
        self.ledger.release();
    }
}

impl Drop for Standin {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of that thread has printed itself; another one while dropping would abort the process.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    use crate::standin::testing::{PATIENCE, exchange, start};

    #[test]
    fn dropping_it_closes_the_port_and_the_open_connections() {
        let standin = start();
        let address = standin.address();
        let mut open = TcpStream::connect(address).unwrap();
        exchange(&mut open, "GET /v1/customers HTTP/1.1\r\nHost: h\r\n\r\n");
        drop(standin);
        let mut rest = Vec::new();
        let _ = io::Read::read_to_end(&mut open, &mut rest);
        assert!(rest.is_empty());
        assert!(TcpStream::connect(address).is_err());
    }

    #[test]
    fn an_address_in_use_is_an_error() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(Standin::start(taken.local_addr().unwrap()).is_err());
    }

    #[test]
    fn reads_are_counted_apart_from_mutations() {
        let standin = start();
        let mut stream = TcpStream::connect(standin.address()).unwrap();
        exchange(&mut stream, "GET /v1/customers HTTP/1.1\r\nHost: h\r\n\r\n");
        exchange(&mut stream, "DELETE /v1/customers/c/transfers/t HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!((standin.request_count(), standin.mutation_count()), (2, 1));
        assert!(standin.wait_for_requests(2, PATIENCE));
        assert!(!standin.wait_for_requests(3, Duration::ZERO));
        assert_eq!(standin.url(), format!("http://{}", standin.address()));
    }

    #[test]
    fn requests_are_recorded_only_when_asked_for_and_given_out_once() {
        let standin = start();
        let mut stream = TcpStream::connect(standin.address()).unwrap();
        let request = "POST /v1/customers/c/carts?x=1 HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nX-A: 2\r\n\
                       Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Sum: 7\r\n\r\n";
        exchange(&mut stream, request);
        assert!(standin.recorded().is_empty());
        standin.record(true);
        exchange(&mut stream, request);
        let recorded = standin.recorded();
        assert_eq!(recorded.len(), 1);
        let one = &recorded[0];
        assert_eq!(one.method, "POST");
        assert_eq!(one.target, "/v1/customers/c/carts?x=1");
        assert_eq!(one.body, b"{}");
        assert!(one.complete);
        assert_eq!(one.trailers, [("x-sum".to_owned(), "7".to_owned())]);
        let values: Vec<&[u8]> =
            one.headers.iter().filter(|(name, _)| name == "x-a").map(|(_, value)| value.as_slice()).collect();
        assert_eq!(values, [b"1", b"2"]);
        assert!(standin.recorded().is_empty());
    }
}
