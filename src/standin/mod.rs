//! Stand-in: Microsoft's ordering API as a gateway sees it, over real HTTP, for the demo and for the integration tests.
//!
//! It answers by itself, so nothing has to be set up before a request; what is set up, or comes by a request, it
//! remembers. It imports nothing from outside this folder: a mistake of the gateway can then not be made a second time
//! here and cancel out.

mod agreement;
mod answer;
mod api;
mod body;
mod book;
mod bulk;
mod call;
mod cart;
mod checkout;
mod control;
mod counts;
mod customer;
mod exchange;
mod faults;
mod issuer;
mod ledger;
mod line;
mod lists;
mod locked;
mod migration;
mod order;
mod paging;
mod parties;
mod read;
mod refusals;
mod replays;
mod server;
mod shared;
mod shelf;
mod steering;
mod subscription;
#[cfg(test)]
mod testing;
mod throttle;
mod token_endpoint;
mod tokens;
mod transfer;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tokio::runtime;
use tokio::sync::oneshot;

pub use crate::standin::issuer::{Issuer, IssuerAlgorithm};
pub use crate::standin::ledger::Recorded;
pub use crate::standin::parties::PartnerStatus;
pub use crate::standin::throttle::ThrottleShape;
pub use crate::standin::tokens::TokenEndpoint;

use crate::standin::book::Book;
use crate::standin::ledger::Ledger;
use crate::standin::line::{Line, Port, Wish};
use crate::standin::lists::List;
use crate::standin::shared::Shared;

/// A running stand-in; dropping it stops it and joins its thread.
///
/// What it does is steered per request: by the `Standin-Fault` request header (the words are in `faults.rs`) and by ids
/// that stand for a party without an agreement (`agreement.rs`). The methods that set something are there for other
/// processes too, as `POST /.standin/<name>` with a JSON body (`control.rs`).
pub struct Standin {
    address: SocketAddr,
    shared: Arc<Shared>,
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
        let port = {
            let _entered = runtime.enter();
            Port::open(address)?
        };
        let address = port.address();
        let (line, wishes) = Line::new();
        let shared = Arc::new(Shared { ledger: Ledger::new(), book: Book::default(), line });
        let (stop, stopped) = oneshot::channel();
        let served = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("standin".to_owned())
            .spawn(move || runtime.block_on(server::run(port, served, wishes, stopped)))?;
        Ok(Standin { address, shared, stop: Some(stop), thread: Some(thread) })
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
        self.shared.ledger.requests()
    }

    /// Those of them that may change something: neither GET, HEAD nor OPTIONS, not for a token, nor about
    /// partners of record.
    pub fn mutation_count(&self) -> u64 {
        self.shared.ledger.mutations()
    }

    /// Whether requests are kept for [`Standin::recorded`]. Off at first, so that load runs stay cheap.
    pub fn record(&self, on: bool) {
        self.shared.ledger.record(on);
    }

    /// Takes the requests recorded so far, oldest first; at most the last 1024 are kept.
    ///
    /// A request is there before its answer is sent, but not before its body was read to the end (or broke off).
    pub fn recorded(&self) -> Vec<Recorded> {
        self.shared.ledger.take_recorded()
    }

    /// Waits until `count` requests were received since the start; false when `timeout` passed before.
    pub fn wait_for_requests(&self, count: u64, timeout: Duration) -> bool {
        self.shared.ledger.wait_for_requests(count, timeout)
    }

    /// Lets every request go on that the `hold` fault holds now. A request counts as held from its head on: one that
    /// [`Standin::wait_for_requests`] has seen is released by this, later ones are not.
    pub fn release(&self) {
        self.shared.ledger.release();
    }

    /// How many requests of a kind arrived, whatever they were answered: `attestations`, `direct`, `partner_status`,
    /// `token`, `cart`, `subscription`, `transfer`, `relationships`, `audit_records` and `agreement_records` (reads,
    /// but for the token), `orders`, `attest` and `validate_resellers` (POSTs). `throttled` counts the answers of
    /// [`Standin::throttle`].
    ///
    /// # Panics
    /// When no kind has that name: a test must not pass for a counter that is misspelt.
    pub fn count(&self, kind: &str) -> u64 {
        self.shared.book.counts.named(kind).unwrap_or_else(|| panic!("no requests are counted as `{kind}`"))
    }

    /// Whether a customer accepted the customer agreement directly, in place of what its id says.
    pub fn set_direct(&self, customer: &str, signed: bool) {
        self.shared.book.parties.set_direct(customer, signed);
    }

    /// The items of `GET /v1/customers/{c}/agreements`, told as they are, in place of what the id of the customer says
    /// and of what was attested before.
    pub fn set_attestations(&self, customer: &str, attestations: Vec<Value>) {
        self.shared.book.parties.set_attestations(customer, attestations);
    }

    /// What `agreementstatus` answers for an MPN id or a tenant, in place of what the id says.
    pub fn set_partner_status(&self, id: &str, status: PartnerStatus) {
        self.shared.book.parties.set_partner(id, status);
    }

    /// Whether an MPN id may be named as the partner of record, in place of what its agreement says.
    pub fn set_standing(&self, id: &str, valid: bool) {
        self.shared.book.parties.set_standing(id, valid);
    }

    /// The MPN ids of each question about partners of record that was answered, oldest first.
    pub fn validated(&self) -> Vec<Vec<String>> {
        self.shared.book.parties.validated()
    }

    /// What a GET of exactly this path (below `/v1`, in any case) answers, with an `ETag` if there is one. Checkouts take
    /// the lines of such a cart, changes begin with such a subscription.
    pub fn set_resource(&self, path: &str, resource: Value, etag: Option<&str>) {
        self.shared.book.shelf.put(path, resource, etag);
    }

    /// Forgets what is stored at a path, whether it was set or came by a request.
    pub fn forget_resource(&self, path: &str) {
        self.shared.book.shelf.forget(path);
    }

    /// Answers 403 with this code to purchases for a customer: new and changed orders, checkouts, accepted transfers,
    /// changed subscriptions.
    pub fn refuse_orders(&self, customer: &str, code: Option<u32>) {
        self.shared.book.refusals.set_purchase(customer, code);
    }

    /// Answers 201 to checkouts for a customer, with an error of this code for each group of lines and without orders.
    pub fn refuse_in_checkout(&self, customer: &str, code: Option<u32>) {
        self.shared.book.refusals.set_checkout(customer, code);
    }

    /// Whether GETs below `/v1` need an access token of this stand-in.
    pub fn require_token(&self, on: bool) {
        self.shared.book.tokens.require(on);
    }

    /// Ends all access tokens issued so far.
    pub fn revoke_tokens(&self) {
        self.shared.book.tokens.revoke();
    }

    /// What the token endpoint asks for and gives; before this, it accepts any client. It is at `/oauth2/token`,
    /// `/{tenant}/oauth2/token` and `/{tenant}/oauth2/v2.0/token`.
    pub fn set_token_endpoint(&self, endpoint: TokenEndpoint) {
        self.shared.book.tokens.set_endpoint(endpoint);
    }

    /// The refresh token that the token endpoint accepts now.
    pub fn refresh_token(&self) -> Option<String> {
        self.shared.book.tokens.refresh_token()
    }

    /// Answers 429 to GETs below `/v1` beyond this many in any minute; the count begins anew.
    pub fn throttle(&self, per_minute: Option<u32>) {
        self.shared.book.throttle.limit(per_minute);
    }

    /// How those answers say when to come back.
    pub fn throttle_shape(&self, shape: ThrottleShape) {
        self.shared.book.throttle.shape(shape);
    }

    /// Lets requests of `method` (empty for any) whose path contains `path_part` get faults as if they had asked for
    /// them by header, `times` times or until [`Standin::clear_faults`]. Of several that fit, the first one set is used
    /// up first.
    ///
    /// # Panics
    /// When a fault is misspelt, or when 1024 are set.
    pub fn fault(&self, method: &str, path_part: &str, fault: &str, times: Option<u32>) {
        let added = self.shared.book.steering.add(method, path_part, fault, times);
        added.unwrap_or_else(|problem| panic!("{problem}"));
    }

    /// Answers writes under a used `MS-RequestId` as the first time, or no longer.
    pub fn replay(&self, on: bool) {
        self.shared.book.replays.set(on);
    }

    /// Ends all faults set by path.
    pub fn clear_faults(&self) {
        self.shared.book.steering.clear();
    }

    /// The items of a page of attestations, relationships, audit records and agreement records; all of them without it.
    pub fn page_size(&self, size: Option<usize>) {
        self.shared.book.lists.set_page_size(size);
    }

    /// The items of `GET /v1/partners/customeragreementrecords`.
    pub fn set_agreement_records(&self, records: Vec<Value>) {
        self.shared.book.lists.set(List::AgreementRecords, records);
    }

    /// The items of `GET /v1/relationships`, for the type `IsIndirectCloudSolutionProviderOf`.
    pub fn set_relationships(&self, relationships: Vec<Value>) {
        self.shared.book.lists.set(List::Relationships, relationships);
    }

    /// The items of `GET /v1/auditrecords`, newest first; each attestation adds one before them.
    pub fn set_audit_records(&self, records: Vec<Value>) {
        self.shared.book.lists.set(List::AuditRecords, records);
    }

    /// Refuses connections and drops the open ones, until [`Standin::resume`]. Nobody else is given the port meanwhile.
    ///
    /// # Panics
    /// When the port cannot be kept.
    pub fn pause(&self) {
        self.shared.line.wait_for(Wish::Pause(None)).expect("the port was ours a moment ago");
    }

    /// Accepts connections again, at the same address. Without a pause, nothing changes.
    ///
    /// # Panics
    /// When the port is lost.
    pub fn resume(&self) {
        self.shared.line.wait_for(Wish::Resume).expect("the port is kept while paused");
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

    use crate::standin::testing::{PATIENCE, exchange, send, start};

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
    fn a_look_up_needs_a_token_of_the_endpoint_while_an_order_does_not() {
        let standin = start();
        standin.require_token(true);
        standin.set_token_endpoint(TokenEndpoint {
            client_id: "countersign".to_owned(),
            client_secret: "hush".to_owned(),
            refresh_token: Some("first".to_owned()),
            lifetime_seconds: 3599,
            rotate: true,
            tenant: None,
            status: None,
        });
        let form = "grant_type=refresh_token&client_id=countersign&client_secret=hush&refresh_token=first";
        let granted = send(&standin, "POST", "/partner.example.com/oauth2/token", form).json();
        assert_eq!(granted["refresh_token"].as_str(), standin.refresh_token().as_deref());
        let token = granted["access_token"].as_str().unwrap();
        let mut stream = TcpStream::connect(standin.address()).unwrap();
        let mut look_up = |token: &str| {
            let request = format!(
                "GET /v1/customers/c/agreements HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n"
            );
            exchange(&mut stream, &request).status()
        };
        assert_eq!(look_up(token), 200);
        assert_eq!(look_up("first"), 401);
        standin.revoke_tokens();
        assert_eq!(look_up(token), 401);
        assert_eq!(send(&standin, "POST", "/v1/customers/c/orders", "{}").status(), 201);
        let counts = ["token", "attestations", "orders"].map(|kind| standin.count(kind));
        assert_eq!(counts, [1, 3, 1]);
        assert_eq!(standin.mutation_count(), 1);
    }

    #[test]
    #[should_panic(expected = "`order`")]
    fn a_misspelt_counter_is_a_mistake_of_the_test() {
        start().count("order");
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
