//! The parts of a request's head that its answer needs.

use http::header::{ACCEPT_LANGUAGE, HeaderMap, HeaderName, HeaderValue};

use crate::proxy::headers::{MS_CORRELATION_ID, MS_REQUEST_ID};
use crate::proxy::messages::X_LOCALE;

const IDS: [HeaderName; 2] = [MS_REQUEST_ID, MS_CORRELATION_ID];
const LANGUAGES: [HeaderName; 2] = [X_LOCALE, ACCEPT_LANGUAGE];

/// The ids and the languages of a request, kept when its head goes upstream.
pub struct Echoed {
    ids: [Option<HeaderValue>; 2],
    languages: [Option<HeaderValue>; 2],
    /// True where the upstream was told another `MS-RequestId`, which is nothing to the caller.
    pub was_replaced: bool,
}

impl Echoed {
    /// Those of a request.
    pub fn of(received: &HeaderMap) -> Echoed {
        Echoed {
            ids: IDS.map(|name| received.get(name).cloned()),
            languages: LANGUAGES.map(|name| received.get(name).cloned()),
            was_replaced: false,
        }
    }

    /// Adds the ids where the upstream has not answered with the caller's own.
    pub fn add(self, headers: &mut HeaderMap) {
        if self.was_replaced {
            headers.remove(MS_REQUEST_ID);
        }
        add(IDS, self.ids, headers);
    }

    /// The headers as they were received, as far as an answer of the gateway's own looks at them.
    pub fn into_received(self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        add(IDS, self.ids, &mut headers);
        add(LANGUAGES, self.languages, &mut headers);
        headers
    }
}

fn add(names: [HeaderName; 2], values: [Option<HeaderValue>; 2], headers: &mut HeaderMap) {
    for (name, value) in names.into_iter().zip(values) {
        if let Some(value) = value {
            headers.entry(name).or_insert(value);
        }
    }
}
