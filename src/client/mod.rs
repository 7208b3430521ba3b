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
use tokio::sync::Mutex;

use crate::client::connection::{Hold, Sender};
use crate::deadline::{Deadlines, Until};

pub use outgoing::Outgoing;
pub use secured::{Secured, identity_of};
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
    /// Held while a connection is opened that many may share: who waits for it shares it then.
    opening: Rc<Mutex<()>>,
    /// Whether the connection that was opened last is shared.
    shares: Rc<Cell<bool>>,
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
    sender: Sender,
    upstream: Rc<Upstream>,
    pool: Pool,
    _hold: Option<Hold>,
}

impl Lease {
    /// Gives the connection back: its answer has been read to the end.
    pub fn release(self, now: Instant) {
        // A shared connection is in the pool already.
        if matches!(self.sender, Sender::One(_)) {
            self.pool.keep(self.sender, &self.upstream, now);
        }
    }
}

impl Pool {
    /// A pool whose waits end with these deadlines.
    pub fn new(deadlines: Deadlines) -> Pool {
        Pool {
            deadlines,
            kept: Rc::default(),
            opened: Rc::default(),
            opening: Rc::default(),
            shares: Rc::new(Cell::new(true)),
        }
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
        let (until, broke) = match request.body() {
            Outgoing::Streamed(streamed) => {
                (Until::After(streamed.moved(), settings.response_timeout), Some(streamed.broke()))
            }
            Outgoing::Whole(_) => (Until::At(now + settings.response_timeout), None),
        };
        loop {
            let kept = self.take_kept(settings, now);
            let is_new = kept.is_none();
            let mut lease = match kept {
                Some(lease) => lease,
                // On the heap: a handshake is large, and most requests have none in them.
                None => Box::pin(self.connect(settings, now)).await?,
            };
            let answer =
                self.deadlines.within(until.clone(), pin!(lease.sender.send(request, settings))).await;
            match answer {
                Err(_) => {
                    lease.sender.retire();
                    return Err(Failure::Timeout);
                }
                Ok(Ok(response)) => return Ok((response, lease)),
                Ok(Err(mut error)) => match error.take_message() {
                    Some(unsent) if !is_new => request = unsent,
                    _ => {
                        let error = error.into_error();
                        let has_broken = broke.is_some_and(|broke| broke.get());
                        return Err(if has_broken || error.is_user() {
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
            if let Some((sender, hold)) = known.sender.share() {
                known.since = now;
                return Some(self.lease(sender, Rc::clone(&known.upstream), Some(hold)));
            }
            let known = kept.swap_remove(at);
            return Some(self.lease(known.sender, known.upstream, None));
        }
        None
    }

    fn lease(&self, sender: Sender, upstream: Rc<Upstream>, hold: Option<Hold>) -> Lease {
        Lease { sender, upstream, pool: self.clone(), _hold: hold }
    }

    fn keep(&self, sender: Sender, upstream: &Rc<Upstream>, now: Instant) {
        let mut kept = self.kept.borrow_mut();
        if kept.len() < IDLE_MAX && !sender.is_closed() {
            kept.push(Kept { sender, upstream: Rc::clone(upstream), since: now });
        }
    }

    /// A connection, opened now; or by another request while this one waited for it.
    async fn connect(&self, settings: &Settings, now: Instant) -> Result<Lease, Failure> {
        let may_share = settings.tls.as_ref().is_some_and(Secured::offers_http2);
        let open = async {
            if may_share && self.shares.get() {
                let _turn = self.opening.lock().await;
                if let Some(lease) = self.take_kept(settings, now) {
                    return Ok(lease);
                }
                // Meanwhile the upstream may have chosen HTTP/1.1, and there is nothing to wait for.
                if self.shares.get() {
                    return self.open(settings, now).await;
                }
            }
            self.open(settings, now).await
        };
        tokio::time::timeout(settings.connect_timeout, open)
            .await
            .map_err(|_| Failure::ConnectTimeout)?
            .map_err(Failure::Connect)
    }

    async fn open(&self, settings: &Settings, now: Instant) -> io::Result<Lease> {
        let sender = Sender::open(settings).await?;
        self.opened.set(self.opened.get() + 1);
        let upstream = Rc::new(Upstream { authority: settings.authority.clone(), tls: settings.tls.clone() });
        let shared = sender.share();
        self.shares.set(shared.is_some());
        Ok(match shared {
            Some((shared, hold)) => {
                self.keep(sender, &upstream, now);
                self.lease(shared, upstream, Some(hold))
            }
            None => self.lease(sender, upstream, None),
        })
    }
}
