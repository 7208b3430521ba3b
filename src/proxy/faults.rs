//! Faults of a connection, as refusals.

use crate::extract::Refusal;
use crate::policy::reason::Reason;
use crate::server::Fault;

/// How a fault is answered.
pub fn refusal(fault: Fault) -> Refusal {
    let (reason, detail) = match fault {
        Fault::LineEnd => (Reason::AmbiguousRequest, "a line of the head does not end in CRLF"),
        Fault::RequestLine => (
            Reason::AmbiguousRequest,
            "the request line is not a method, a target and HTTP/1.1, one space apart",
        ),
        Fault::Fragment => (Reason::AmbiguousPath, "the target has a fragment"),
        Fault::Fold => (Reason::AmbiguousRequest, "a header goes on in a further line"),
        Fault::Lengths => (Reason::AmbiguousRequest, "the body has more than one length"),
        Fault::Length => (Reason::AmbiguousRequest, "the length is no number of at most 15 digits"),
        Fault::TransferEncoding => (Reason::AmbiguousRequest, "the transfer encoding is not just `chunked`"),
        Fault::Chunk => (Reason::AmbiguousRequest, "the chunks of the body are malformed"),
        Fault::HeadTooLarge => (Reason::HeadersTooLarge, "the head is longer than `limits.header_bytes`"),
        Fault::TooManyFields => {
            (Reason::HeadersTooLarge, "there are more headers than `limits.header_fields`")
        }
        Fault::HeadTimeout => (Reason::HeaderTimeout, "the head did not arrive in `limits.header_timeout`"),
        Fault::Ending => (Reason::Overloaded, "the connection is ending: open another one"),
        Fault::TooManyConnections => (Reason::Overloaded, "there are too many connections"),
    };
    Refusal { reason, detail }
}
