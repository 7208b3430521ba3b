//! Coarse deadlines: waits that end within a tick of their time, for next to nothing while they do not.
//!
//! A timer of the runtime costs a registration and a cancellation for every request; here a wait leaves its waker in a
//! list that the worker looks through every quarter of a second.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// The waits of one worker. It stays on its thread.
#[derive(Clone, Debug, Default)]
pub struct Deadlines(Rc<RefCell<Waits>>);

#[derive(Debug, Default)]
struct Waits {
    places: Vec<Place>,
    free: Vec<usize>,
}

#[derive(Debug)]
enum Place {
    Free,
    Waiting { until: Until, waker: Waker },
    Passed,
}

/// Until when a wait may last.
#[derive(Clone, Debug)]
pub enum Until {
    /// Until this moment.
    At(Instant),
    /// So long after the last movement, whose moment is written here.
    After(Rc<Cell<Instant>>, Duration),
}

impl Until {
    fn has_passed(&self, now: Instant) -> bool {
        match self {
            Until::At(moment) => *moment <= now,
            Until::After(moved, quiet) => moved.get() + *quiet <= now,
        }
    }
}

impl From<Instant> for Until {
    fn from(moment: Instant) -> Until {
        Until::At(moment)
    }
}

/// The deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl Deadlines {
    /// Waits for a future, at the longest until a tick after a moment.
    pub fn within<F: Future>(&self, until: impl Into<Until>, future: F) -> Within<'_, F> {
        Within { deadlines: self, until: until.into(), place: None, future }
    }

    /// Ends the waits whose moment has passed.
    pub fn tick(&self, now: Instant) {
        let mut woken = Vec::new();
        for place in &mut self.0.borrow_mut().places {
            if matches!(place, Place::Waiting { until, .. } if until.has_passed(now))
                && let Place::Waiting { waker, .. } = std::mem::replace(place, Place::Passed)
            {
                woken.push(waker);
            }
        }
        // Only now: what is woken may come back here at once.
        woken.into_iter().for_each(Waker::wake);
    }
}

/// A wait for a future with a deadline.
pub struct Within<'d, F> {
    deadlines: &'d Deadlines,
    until: Until,
    place: Option<usize>,
    future: F,
}

impl<F: Future + Unpin> Future for Within<'_, F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(output) = Pin::new(&mut self.future).poll(cx) {
            return Poll::Ready(Ok(output));
        }
        let mut waits = self.deadlines.0.borrow_mut();
        match self.place {
            Some(at) => match &mut waits.places[at] {
                Place::Passed => return Poll::Ready(Err(Elapsed)),
                Place::Waiting { waker, .. } => waker.clone_from(cx.waker()),
                Place::Free => unreachable!("a place is freed with its wait"),
            },
            None => {
                let waiting = Place::Waiting { until: self.until.clone(), waker: cx.waker().clone() };
                let at = match waits.free.pop() {
                    Some(at) => {
                        waits.places[at] = waiting;
                        at
                    }
                    None => {
                        waits.places.push(waiting);
                        waits.places.len() - 1
                    }
                };
                drop(waits);
                self.place = Some(at);
            }
        }
        Poll::Pending
    }
}

impl<F> Drop for Within<'_, F> {
    fn drop(&mut self) {
        if let Some(at) = self.place {
            let mut waits = self.deadlines.0.borrow_mut();
            waits.places[at] = Place::Free;
            waits.free.push(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};
    use std::task::Wake;

    struct Count(std::sync::atomic::AtomicUsize);

    impl Wake for Count {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }

    #[test]
    fn a_wait_ends_at_the_tick_after_its_moment() {
        let count = std::sync::Arc::new(Count(Default::default()));
        let waker = Waker::from(std::sync::Arc::clone(&count));
        let mut cx = Context::from_waker(&waker);
        let (deadlines, now) = (Deadlines::default(), Instant::now());
        let mut wait = deadlines.within(now + Duration::from_secs(1), pending::<()>());
        assert!(Pin::new(&mut wait).poll(&mut cx).is_pending());
        deadlines.tick(now);
        assert!(Pin::new(&mut wait).poll(&mut cx).is_pending());
        deadlines.tick(now + Duration::from_secs(1));
        assert_eq!(count.0.load(std::sync::atomic::Ordering::Relaxed), 1);
        assert_eq!(Pin::new(&mut wait).poll(&mut cx), Poll::Ready(Err(Elapsed)));
        drop(wait);
        // The place is used again, and what is ready at once takes none.
        let mut other = deadlines.within(now, pending::<()>());
        assert!(Pin::new(&mut other).poll(&mut cx).is_pending());
        let mut at_once = deadlines.within(now, ready(5));
        assert_eq!(Pin::new(&mut at_once).poll(&mut cx), Poll::Ready(Ok(5)));
        assert_eq!(deadlines.0.borrow().places.len(), 1);
    }
}
