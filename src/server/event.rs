//! Events: what becomes of connections, for whoever counts them.

/// What became of a connection, beside being served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It was accepted.
    Accepted,
    /// It was refused with an answer: there are too many, or too many of its address.
    Refused,
    /// It was closed at once: even those that are refused with an answer are too many.
    Dropped,
    /// Its TLS handshake failed or took too long.
    HandshakeFailed,
    /// What it sent could not be parsed.
    Malformed,
    /// Nothing moved on it, or its caller took too little of an answer.
    TimedOut,
    /// Too many of its requests were abandoned before they were answered.
    Abusive,
}

impl Event {
    /// Every event.
    pub const ALL: [Event; 7] = [
        Event::Accepted,
        Event::Refused,
        Event::Dropped,
        Event::HandshakeFailed,
        Event::Malformed,
        Event::TimedOut,
        Event::Abusive,
    ];

    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Event::Accepted => "accepted",
            Event::Refused => "refused",
            Event::Dropped => "dropped",
            Event::HandshakeFailed => "handshake_failed",
            Event::Malformed => "malformed",
            Event::TimedOut => "timed_out",
            Event::Abusive => "abusive",
        }
    }
}

/// Observes what becomes of connections.
pub trait Observer: Send + Sync + 'static {
    /// Something happened.
    fn note(&self, event: Event);
}
