//! Flights: of all who want to know the same thing at the same time, one asks.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::agreements::cache::Kept;
use crate::agreements::precedence::Wanted;
use crate::policy::agreement::Key;
use crate::policy::id::Guid;

/// Waits for a flight to land; `None` when it was lost.
#[derive(Clone, Debug)]
pub struct Waiter {
    landing: watch::Receiver<Option<Kept>>,
    /// Whether somebody else began the flight.
    pub joined: bool,
}

impl Waiter {
    /// The answer, once it is there.
    pub async fn landed(mut self) -> Option<Kept> {
        // A sender that is gone means that the task died: not knowing, never "missing".
        self.landing.wait_for(Option::is_some).await.ok().and_then(|kept| *kept)
    }
}

/// Who flies together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// All whose requests wait.
    Shared,
    /// What is asked beside requests: who waits must not share an answer that is only had if nobody else wants to ask.
    Aside,
    /// An operator who wants it asked now.
    ByHand,
    /// One caller by itself, whom the limits of another one kept from an answer.
    Own(Guid),
}

/// The key, the generation of the sources, how often something was forgotten, what would do for an answer, and who asks.
pub type Route = (Key, u64, u64, Wanted, Lane);

/// The answer to come, for each route.
type UnderWay = HashMap<Route, watch::Receiver<Option<Kept>>>;

/// The questions that are being asked now. Flights run on the control runtime, not inside a request: a caller that
/// hangs up cancels nothing for those who wait beside it.
#[derive(Clone, Debug)]
pub struct Flights {
    under_way: Arc<Mutex<UnderWay>>,
    control: Handle,
}

impl Flights {
    /// Flights that run on this runtime.
    pub fn new(control: Handle) -> Flights {
        Flights { under_way: Arc::default(), control }
    }

    /// Joins the flight of a route, starting it where there is none.
    pub fn join<F>(&self, route: Route, question: impl FnOnce() -> F) -> Waiter
    where
        F: Future<Output = Kept> + Send + 'static,
    {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(receiver) = under_way.get(&route)
            // One whose task died is still listed: start anew.
            && (receiver.has_changed().is_ok() || receiver.borrow().is_some())
        {
            return Waiter { landing: receiver.clone(), joined: true };
        }
        let (sender, receiver) = watch::channel(None);
        under_way.insert(route, receiver.clone());
        drop(under_way);
        let question = question();
        let flights = self.clone();
        self.control.spawn(async move {
            let kept = question.await;
            flights.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&route);
            // Nobody may be waiting any more.
            let _ = sender.send(Some(kept));
        });
        Waiter { landing: receiver, joined: false }
    }

    /// The keys that are asked about now.
    pub fn keys(&self) -> Vec<Key> {
        let under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.keys().map(|(key, ..)| *key).collect()
    }

    /// How many are under way.
    pub fn len(&self) -> usize {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
