//! Guards around a request: it is counted while it lasts, and its panics stay its own.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::proxy::worker::Worker;

/// Counts a request as in flight, also when its caller goes away.
pub struct InFlight(prometheus::IntGauge);

impl InFlight {
    /// Counts one.
    pub fn new(worker: &Worker) -> InFlight {
        let gauge = worker.shared.metrics.requests_in_flight.clone();
        gauge.inc();
        InFlight(gauge)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A future whose panics end nothing but itself.
pub struct CatchUnwind<'f, F>(pub Pin<&'f mut F>);

impl<F: Future> Future for CatchUnwind<'_, F> {
    type Output = Result<F::Output, ()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Nothing shared is left half-changed: worker state is behind cells that are not borrowed across calls.
        match std::panic::catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(_) => Poll::Ready(Err(())),
        }
    }
}
