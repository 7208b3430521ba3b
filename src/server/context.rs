//! What a worker knows of itself and its connections.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::server::watched::Movement;

/// How connections are accepted and how long they may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The address to listen on.
    pub address: SocketAddr,
    /// How many workers.
    pub workers: usize,
    /// The most connections at a time.
    pub connections_max: usize,
    /// The largest header block, in bytes.
    pub header_bytes_max: usize,
    /// From the first byte of a request to the end of its headers.
    pub header_timeout: Duration,
    /// A connection on which nothing moves for so long is closed, whatever it waits for.
    pub idle_timeout: Duration,
    /// A connection older than this ends after the request it is in.
    pub connection_age: Duration,
}

/// How busy a worker is; read by the acceptor.
#[derive(Debug, Default)]
pub struct Load {
    /// Requests in flight.
    pub requests: AtomicUsize,
    /// Open connections.
    pub connections: AtomicUsize,
}

/// A worker as its own code sees it.
pub struct WorkerContext {
    /// Its number.
    pub number: usize,
    /// How busy it is.
    pub load: Arc<Load>,
    connections: RefCell<Vec<Rc<State>>>,
    draining: Cell<bool>,
    /// What connections may take.
    pub limits: Settings,
}

impl WorkerContext {
    /// A worker without connections.
    pub fn new(number: usize, load: Arc<Load>, limits: Settings) -> WorkerContext {
        WorkerContext { number, load, limits, connections: RefCell::default(), draining: Cell::new(false) }
    }

    /// Whether connections are to end between requests.
    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Adds an open connection.
    pub fn list(&self, state: Rc<State>) {
        self.connections.borrow_mut().push(state);
    }

    /// Removes one that has ended.
    pub fn unlist(&self, state: &Rc<State>) {
        self.connections.borrow_mut().retain(|known| !Rc::ptr_eq(known, state));
    }

    /// Lets every connection end between requests.
    pub fn drain(&self) {
        self.draining.set(true);
        for state in self.connections.borrow().iter() {
            state.end_between_requests();
        }
    }

    /// Looks at every connection of a worker and ends those that take too long.
    pub fn end_overdue(&self) {
        let now = Instant::now();
        for state in self.connections.borrow().iter() {
            let movement = &state.movement;
            if movement.moved.replace(false) {
                state.moved_at.set(now);
            }
            let in_flight = movement.in_flight.get() > 0;
            let head_began = movement.head_began.replace(false);
            if in_flight || movement.answered.replace(false) {
                state.head_since.set(None);
            }
            if !in_flight && head_began && state.head_since.get().is_none() {
                state.head_since.set(Some(now));
            }
            let limits = &self.limits;
            let slow_head = state.head_since.get().is_some_and(|since| now - since > limits.header_timeout);
            if slow_head || now - state.moved_at.get() > limits.idle_timeout {
                state.wish(Wish::EndNow);
            } else if now - state.opened > state.age_max + limits.idle_timeout {
                state.end_between_requests();
            } else if now - state.opened > state.age_max {
                state.is_old.set(true);
            }
        }
    }
}

/// What is known of an open connection, for the look at all of them every tick.
pub struct State {
    movement: Rc<Movement>,
    opened: Instant,
    age_max: Duration,
    /// When something last moved, as of the last look.
    moved_at: Cell<Instant>,
    /// Since when the head of a request is being read, as of the last look.
    head_since: Cell<Option<Instant>>,
    /// The next answer is to be the last: its caller is told, so that no request meets a closed connection.
    pub is_old: Cell<bool>,
    wish: Cell<Wish>,
    woken: Notify,
}

/// What is wished of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wish {
    /// Nothing.
    GoOn,
    /// To end once it is between two requests.
    EndBetweenRequests,
    /// To end at once.
    EndNow,
}

impl State {
    /// Ends the connection once it is between two requests.
    pub fn end_between_requests(&self) {
        self.wish(Wish::EndBetweenRequests);
    }

    /// The state of a connection that was opened now.
    pub fn new(movement: Rc<Movement>, age: Duration, port: u16) -> State {
        let now = Instant::now();
        State {
            movement,
            opened: now,
            age_max: jittered(age, port),
            moved_at: Cell::new(now),
            head_since: Cell::new(None),
            is_old: Cell::new(false),
            wish: Cell::new(Wish::GoOn),
            woken: Notify::new(),
        }
    }

    /// Waits until something is wished of the connection.
    pub async fn wished(&self) -> Wish {
        self.woken.notified().await;
        self.wish.get()
    }

    fn wish(&self, wish: Wish) {
        if wish > self.wish.get() {
            self.wish.set(wish);
            self.woken.notify_one();
        }
    }
}

/// Spreads the end of connections that were opened together: up to a tenth earlier, by the caller's port.
fn jittered(age: Duration, port: u16) -> Duration {
    age - age / 10 * u32::from(port % 64) / 64
}
