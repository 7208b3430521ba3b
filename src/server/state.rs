//! What is known of an open connection, and when it has taken too long.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::server::fault::Fault;
use crate::server::movement::Movement;
use crate::server::settings::Settings;

/// The least that a caller has to take of a waiting answer, or send of a body, in `idle_timeout`, in bytes.
const MOVED_BYTES_MIN: usize = 16 * 1024;
/// How long a connection that is to end is waited for while nothing is being answered on it.
const ENDING_GRACE: Duration = Duration::from_secs(5);

/// What is known of an open connection, for the look at all of them every tick.
pub struct State {
    /// What its stream and its requests note.
    pub movement: Rc<Movement>,
    /// Whether it is served, or only told that there are too many.
    pub is_admitted: bool,
    /// The next answer is to be the last: its caller is told, so that no request meets a closed connection.
    pub is_old: Cell<bool>,
    /// Whether it speaks HTTP/2.
    pub has_streams: bool,
    opened: Instant,
    age_max: Duration,
    /// When something last moved, as of the last look.
    moved_at: Cell<Instant>,
    /// When a request or an answer last went on, as of the last look.
    progressed_at: Cell<Instant>,
    /// Since when the head of a request is being read, and which it is, as of the last look.
    head_since: Cell<Option<(Instant, u64)>>,
    /// Since when the caller keeps an answer waiting, as of the last look.
    blocked_since: Cell<Option<Instant>>,
    /// Since when it is to end.
    ending_since: Cell<Option<Instant>>,
    wished: Cell<Wish>,
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
    /// The state of a connection that was opened now; `has_streams` for HTTP/2.
    pub fn new(
        movement: Rc<Movement>,
        age: Duration,
        port: u16,
        has_streams: bool,
        is_admitted: bool,
    ) -> State {
        let now = Instant::now();
        State {
            movement,
            is_admitted,
            is_old: Cell::new(!is_admitted),
            has_streams,
            opened: now,
            age_max: jittered(age, port),
            moved_at: Cell::new(now),
            progressed_at: Cell::new(now),
            head_since: Cell::new(None),
            blocked_since: Cell::new(None),
            ending_since: Cell::new(None),
            wished: Cell::new(Wish::GoOn),
            woken: Notify::new(),
        }
    }

    /// Waits until something is wished of the connection, or it is to be polled.
    pub async fn woken(&self) -> Wish {
        self.woken.notified().await;
        self.wished.get()
    }

    /// What is wished of it.
    pub fn wished(&self) -> Wish {
        self.wished.get()
    }

    /// Wishes something of the connection.
    pub fn wish(&self, wish: Wish) {
        if wish > self.wished.get() {
            if self.ending_since.get().is_none() {
                self.ending_since.set(Some(Instant::now()));
            }
            self.wished.set(wish);
            self.woken.notify_one();
        }
    }

    /// Whether it should have ended by now: what still comes on it is told so.
    pub fn is_overdue(&self, now: Instant) -> bool {
        self.ending_since.get().is_some_and(|since| now.saturating_duration_since(since) > ENDING_GRACE)
    }

    /// Looks whether it takes too long.
    pub fn look(&self, limits: &Settings, now: Instant) {
        let movement = &self.movement;
        if movement.moved.replace(false) {
            self.moved_at.set(now);
        }
        let in_flight = movement.in_flight.get() > 0;
        // Bytes of an upload are progress; the few of frames that carry nothing are not.
        let has_come = in_flight && movement.read.get() >= MOVED_BYTES_MIN;
        if movement.progressed.replace(false) || has_come {
            movement.read.set(0);
            self.progressed_at.set(now);
        }
        self.look_at_head(limits, now, in_flight);
        let is_stuck = self.is_stuck(limits, now);
        self.wish(if is_stuck { Wish::EndNow } else { self.judge(limits, now, in_flight) });
    }

    fn judge(&self, limits: &Settings, now: Instant, in_flight: bool) -> Wish {
        let idle = match self.is_admitted {
            true => limits.idle_timeout,
            false => limits.header_timeout,
        };
        let is_past = |since: &Cell<Instant>| now.saturating_duration_since(since.get()) > idle;
        if is_past(&self.moved_at) {
            return Wish::EndNow;
        }
        if self.ending_since.get().is_some() {
            let is_left = is_past(&self.progressed_at) || !in_flight && self.is_overdue(now);
            return if is_left { Wish::EndNow } else { Wish::EndBetweenRequests };
        }
        let age = now.saturating_duration_since(self.opened);
        // Frames that carry no request keep an HTTP/2 connection moving, but not in use.
        let is_unused = self.has_streams && !in_flight && is_past(&self.progressed_at);
        let age_max = self.age_max + if self.has_streams { Duration::ZERO } else { limits.idle_timeout };
        if is_unused || age > age_max {
            return Wish::EndBetweenRequests;
        }
        if age > self.age_max {
            self.is_old.set(true);
        }
        Wish::GoOn
    }

    /// Has a head refused that takes too long.
    fn look_at_head(&self, limits: &Settings, now: Instant, in_flight: bool) {
        let movement = &self.movement;
        if in_flight || !movement.head_held.get() {
            return self.head_since.set(None);
        }
        let head = movement.heads.get();
        match self.head_since.get().filter(|(_, known)| *known == head) {
            None => self.head_since.set(Some((now, head))),
            Some((since, _)) if now - since > limits.header_timeout => {
                movement.refuse.set(Some(Fault::HeadTimeout));
                self.woken.notify_one();
            }
            Some(_) => {}
        }
    }

    /// Whether the caller takes too little of what waits for it.
    fn is_stuck(&self, limits: &Settings, now: Instant) -> bool {
        let movement = &self.movement;
        if !movement.blocked.get() {
            movement.written.set(0);
            self.blocked_since.set(None);
            return false;
        }
        let Some(since) = self.blocked_since.get() else {
            movement.written.set(0);
            self.blocked_since.set(Some(now));
            return false;
        };
        if now - since <= limits.idle_timeout {
            return false;
        }
        self.blocked_since.set(Some(now));
        movement.written.replace(0) < MOVED_BYTES_MIN
    }
}

/// Spreads the end of connections that were opened together: up to a tenth earlier, by the caller's port.
fn jittered(age: Duration, port: u16) -> Duration {
    age - age / 10 * u32::from(port % 64) / 64
}
