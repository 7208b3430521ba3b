//! A worker's own state: its connections to the upstream, its audit lane, its ids and the snapshot it works with.

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::HeaderValue;
use jiff::Timestamp;
use prometheus::IntGauge;

use crate::agreements::near::NearFacts;
use crate::audit::writer::Lane;
use crate::client::Pool;
use crate::deadline::Deadlines;
use crate::identity::tokens::NearTokens;
use crate::policy::id::Guid;
use crate::policy::role::NameSet;
use crate::proxy::ids::IdMaker;
use crate::proxy::snapshot::{Shared, Snapshot};

/// Tenant, roles and generation of the configuration.
type IdentityKey = (Guid, NameSet, u64);

/// What one worker has for itself. It stays on its thread.
pub struct Worker {
    /// What all workers share.
    pub shared: Arc<Shared>,
    /// Its waits with a deadline.
    pub deadlines: Deadlines,
    /// Connections to the upstream.
    pub pool: Pool,
    /// Its lane of the audit file.
    pub lane: RefCell<Lane>,
    /// Its ids.
    pub ids: IdMaker,
    /// Its copies of verified tokens.
    pub near_tokens: RefCell<NearTokens>,
    /// Its copies of facts.
    pub near_facts: RefCell<NearFacts>,
    /// Tenant, roles and configuration of the caller that was forwarded last, with the headers that say so.
    pub last_identity: RefCell<Option<(IdentityKey, HeaderValue, HeaderValue)>>,
    snapshot: RefCell<Rc<InForce>>,
    installed: Cell<u64>,
    pool_opened: Cell<u64>,
    /// Exchanges whose caller has gone.
    alone: Rc<Cell<usize>>,
}

/// A worker's share of the configuration in force: its requests count their uses of it here, not where all cores would.
#[derive(Debug)]
pub struct InForce(Arc<Snapshot>);

impl Deref for InForce {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.0
    }
}

/// Counts an exchange whose caller has gone as a request in flight, until it ends.
pub struct LeftAlone {
    alone: Rc<Cell<usize>>,
    in_flight: IntGauge,
}

impl Drop for LeftAlone {
    fn drop(&mut self) {
        self.alone.set(self.alone.get() - 1);
        self.in_flight.dec();
    }
}

impl Worker {
    /// A worker of that number.
    pub fn new(number: usize, shared: Arc<Shared>) -> Worker {
        let installed = shared.installed();
        let snapshot = shared.snapshot();
        let lane = Lane::new(number, Arc::clone(&shared.audit), shared.metrics.clone());
        let deadlines = Deadlines::default();
        Worker {
            pool: Pool::new(deadlines.clone()),
            deadlines,
            lane: RefCell::new(lane),
            ids: IdMaker::default(),
            near_tokens: RefCell::default(),
            near_facts: RefCell::default(),
            last_identity: RefCell::default(),
            snapshot: RefCell::new(Rc::new(InForce(snapshot))),
            installed: Cell::new(installed),
            pool_opened: Cell::new(0),
            alone: Rc::default(),
            shared,
        }
    }

    /// The configuration in force, for the whole of one request.
    pub fn snapshot(&self) -> Rc<InForce> {
        // A look at one number instead of a count that all cores would share.
        let installed = self.shared.installed();
        if installed != self.installed.get() {
            self.installed.set(installed);
            *self.snapshot.borrow_mut() = Rc::new(InForce(self.shared.snapshot()));
        }
        Rc::clone(&self.snapshot.borrow())
    }

    /// Counts an exchange whose caller has gone.
    pub fn leave_alone(&self) -> LeftAlone {
        self.alone.set(self.alone.get() + 1);
        let in_flight = self.shared.metrics.requests_in_flight.clone();
        in_flight.inc();
        LeftAlone { alone: Rc::clone(&self.alone), in_flight }
    }

    /// How many exchanges go on though their caller has gone.
    pub fn left_alone(&self) -> usize {
        self.alone.get()
    }

    /// What is done now and then rather than on every request.
    pub fn tick(&self) {
        let now = Instant::now();
        self.deadlines.tick(now);
        self.pool.close_idle(self.snapshot().upstream.idle_timeout, now);
        let opened = self.pool.opened();
        self.shared.metrics.upstream_connections.inc_by(opened - self.pool_opened.replace(opened));
        self.lane.borrow_mut().tick(Timestamp::now());
    }

    /// Writes what is left to write.
    pub fn close(&self) {
        self.tick();
        self.lane.borrow_mut().close(Timestamp::now());
    }
}
