//! Movement: what the stream and the requests of a connection note, for the look at them every tick.

use std::cell::Cell;
use std::io;
use std::task::Poll;

use crate::server::fault::Fault;

/// What moved since the last look.
#[derive(Debug, Default)]
pub struct Movement {
    /// Bytes came in or went out.
    pub moved: Cell<bool>,
    /// A head has begun and is not whole.
    pub head_held: Cell<bool>,
    /// Heads passed on.
    pub heads: Cell<u64>,
    /// Requests that began to be answered.
    pub served: Cell<u64>,
    /// Requests whose caller left before the answer began.
    pub abandoned: Cell<u64>,
    /// Requests being answered.
    pub in_flight: Cell<usize>,
    /// Bytes that came since something last went on.
    pub read: Cell<usize>,
    /// A request came, or a piece of an answer.
    pub progressed: Cell<bool>,
    /// Bytes are waiting to be taken by the caller.
    pub blocked: Cell<bool>,
    /// Bytes that the caller took since the last look.
    pub written: Cell<usize>,
    /// Why the last head that was passed on is none.
    pub fault: Cell<Option<Fault>>,
    /// Why the head that is held is to be refused.
    pub refuse: Cell<Option<Fault>>,
}

impl Movement {
    /// Notes an attempt to write.
    pub fn wrote(&self, poll: &Poll<io::Result<usize>>) {
        self.blocked.set(poll.is_pending());
        if let Poll::Ready(Ok(count)) = poll {
            self.moved.set(true);
            self.written.set(self.written.get() + count);
        }
    }
}
