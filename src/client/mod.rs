//! Outgoing HTTP: each worker keeps its own connections to the upstream.

mod connection;
mod outgoing;
mod secured;
mod settings;

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::uri::Authority;
use http::{Request, Response};
use hyper::body::Incoming;

use crate::client::connection::Sender;
use crate::deadline::{Deadlines, Until};

pub use outgoing::Outgoing;
pub use secured::Secured;
pub use settings::Settings;

/// The most idle connections that a worker keeps.
const IDLE_MAX: usize = 256;

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

/// The connections of one worker. It stays on its thread.
#[derive(Clone)]
pub struct Pool {
    deadlines: Deadlines,
    /// Connections that wait for a request, and shared ones.
    kept: Rc<RefCell<Vec<Kept>>>,
    opened: Rc<Cell<u64>>,
}

struct Kept {
    sender: Sender,
    upstream: Rc<Upstream>,
    since: Instant,
}

/// What a connection may be used for again.
struct Upstream {
    authority: Authority,
    tls: Option<Secured>,
}

/// A connection in use. It goes back to the pool only by [`release`](Lease::release), after a clean end.
pub struct Lease {
    sender: Option<Sender>,
    upstream: Rc<Upstream>,
    pool: Pool,
}

impl Lease {
    /// Gives the connection back: its answer has been read to the end.
    pub fn release(mut self, now: Instant) {
        // A shared connection is in the pool already.
        let Some(sender) = self.sender.take_if(|sender| matches!(sender, Sender::One(_))) else { return };
        let mut kept = self.pool.kept.borrow_mut();
        if kept.len() < IDLE_MAX && !sender.is_closed() {
            kept.push(Kept { sender, upstream: Rc::clone(&self.upstream), since: now });
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(sender) = &self.sender {
            sender.unshare();
        }
    }
}

impl Pool {
    /// A pool whose waits end with these deadlines.
    pub fn new(deadlines: Deadlines) -> Pool {
        Pool { deadlines, kept: Rc::default(), opened: Rc::default() }
    }

    /// How many connections were opened so far.
    pub fn opened(&self) -> u64 {
        self.opened.get()
    }

    /// Closes connections that have not been used for too long.
    pub fn close_idle(&self, idle_timeout: Duration, now: Instant) {
        self.kept.borrow_mut().retain_mut(|kept| {
            if kept.sender.is_in_use() {
                kept.since = now;
            }
            now.saturating_duration_since(kept.since) < idle_timeout && !kept.sender.is_closed()
        });
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
            Outgoing::Streamed(streamed) => Until::After(streamed.moved(), settings.response_timeout),
            Outgoing::Whole(_) => Until::At(now + settings.response_timeout),
        };
        loop {
            let kept = self.take_kept(settings, now);
            let is_new = kept.is_none();
            let mut lease = match kept {
                Some(lease) => lease,
                // On the heap: a handshake is large, and most requests have none in them.
                None => Box::pin(self.connect(settings, now)).await?,
            };
            let sender = lease.sender.as_mut().expect("a lease has its connection until it ends");
            let answer = self.deadlines.within(until.clone(), pin!(sender.send(request, settings))).await;
            match answer {
                Err(_) => return Err(Failure::Timeout),
                Ok(Ok(response)) => return Ok((response, lease)),
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
    fn take_kept(&self, settings: &Settings, now: Instant) -> Option<Lease> {
        let mut kept = self.kept.borrow_mut();
        let mut at = kept.len();
        while at > 0 {
            at -= 1;
            let known = &mut kept[at];
            let is_shared = known.sender.is_in_use();
            let is_young = is_shared || now.saturating_duration_since(known.since) < settings.idle_timeout;
            let fits = known.upstream.authority == settings.authority && known.upstream.tls == settings.tls;
            if !(is_young && fits) || known.sender.is_closed() {
                // One of another configuration may be in use still: it ends with its last request.
                kept.swap_remove(at);
                continue;
            }
            if !known.sender.is_ready() {
                if matches!(known.sender, Sender::One(_)) {
                    kept.swap_remove(at);
                }
                continue;
            }
            if let Some(sender) = known.sender.share() {
                known.since = now;
                return Some(self.lease(sender, Rc::clone(&known.upstream)));
            }
            let known = kept.swap_remove(at);
            return Some(self.lease(known.sender, known.upstream));
        }
        None
    }

    fn lease(&self, sender: Sender, upstream: Rc<Upstream>) -> Lease {
        Lease { sender: Some(sender), upstream, pool: self.clone() }
    }

    async fn connect(&self, settings: &Settings, now: Instant) -> Result<Lease, Failure> {
        let sender = tokio::time::timeout(settings.connect_timeout, Sender::open(settings))
            .await
            .map_err(|_| Failure::ConnectTimeout)?
            .map_err(Failure::Connect)?;
        self.opened.set(self.opened.get() + 1);
        let upstream = Rc::new(Upstream { authority: settings.authority.clone(), tls: settings.tls.clone() });
        if let Some(shared) = sender.share() {
            self.kept.borrow_mut().push(Kept { sender, upstream: Rc::clone(&upstream), since: now });
            return Ok(self.lease(shared, upstream));
        }
        Ok(self.lease(sender, upstream))
    }
}
