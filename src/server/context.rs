//! What a worker knows of itself and its connections.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use crate::server::event::{Event, Observer};
use crate::server::settings::Settings;
use crate::server::state::{State, Wish};

/// How many closed connections of a worker are listened to for a moment longer.
const LINGERING_MAX: usize = 256;
/// What is read from a socket at once.
const SCRATCH_BYTES: usize = 32 * 1024;

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
    /// What connections may take.
    pub limits: Settings,
    /// Who is told what becomes of connections.
    pub observer: Arc<dyn Observer>,
    /// What is read from sockets, one read at a time.
    pub scratch: RefCell<Vec<u8>>,
    connections: RefCell<Vec<Rc<State>>>,
    draining: Cell<bool>,
    lingering: Rc<Cell<usize>>,
}

impl WorkerContext {
    /// A worker without connections.
    pub fn new(
        number: usize,
        load: Arc<Load>,
        limits: Settings,
        observer: Arc<dyn Observer>,
    ) -> WorkerContext {
        WorkerContext {
            number,
            load,
            limits,
            observer,
            scratch: RefCell::new(vec![0; SCRATCH_BYTES]),
            connections: RefCell::default(),
            draining: Cell::new(false),
            lingering: Rc::default(),
        }
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
        let mut connections = self.connections.borrow_mut();
        if let Some(at) = connections.iter().position(|known| Rc::ptr_eq(known, state)) {
            connections.swap_remove(at);
        }
    }

    /// A place among the connections that are listened to after their end, unless there are too many.
    pub fn linger(&self) -> Option<Lingering> {
        let count = self.lingering.get();
        (count < LINGERING_MAX).then(|| {
            self.lingering.set(count + 1);
            Lingering(Rc::clone(&self.lingering))
        })
    }

    /// Lets every connection end between requests.
    pub fn drain(&self) {
        self.draining.set(true);
        for state in self.connections.borrow().iter() {
            state.wish(Wish::EndBetweenRequests);
        }
    }

    /// Looks at every connection of a worker and ends those that take too long.
    pub fn end_overdue(&self) {
        let now = Instant::now();
        for state in self.connections.borrow().iter() {
            let before = state.wished();
            state.look(&self.limits, now);
            if state.wished() == Wish::EndNow && before != Wish::EndNow {
                self.observer.note(Event::TimedOut);
            }
        }
    }
}

/// A place among the connections that are listened to after their end.
pub struct Lingering(Rc<Cell<usize>>);

impl Drop for Lingering {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
