//! Tasks that stay on their worker's thread.

use std::future::Future;

/// What HTTP/2 connections run their streams with.
#[derive(Clone, Copy, Debug)]
pub struct Local;

impl<F: Future + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move { drop(future.await) });
    }
}
