//! The ids of a request that its answer repeats.

use http::header::{HeaderMap, HeaderValue};

use crate::proxy::headers::{MS_CORRELATION_ID, MS_REQUEST_ID};

/// The ids of a request, for its answer.
pub struct Echoed([Option<HeaderValue>; 2]);

impl Echoed {
    /// The ids of a request.
    pub fn of(received: &HeaderMap) -> Echoed {
        Echoed([received.get(MS_REQUEST_ID).cloned(), received.get(MS_CORRELATION_ID).cloned()])
    }

    /// Adds them where the upstream has not answered with its own.
    pub fn add(self, headers: &mut HeaderMap) {
        for (name, value) in [MS_REQUEST_ID, MS_CORRELATION_ID].into_iter().zip(self.0) {
            if let Some(value) = value {
                headers.entry(name).or_insert(value);
            }
        }
    }
}
