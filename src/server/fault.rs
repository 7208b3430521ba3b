//! Faults: why a connection's next request is not read.

/// Why a request is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A line does not end in CRLF, or a CR stands alone.
    LineEnd,
    /// The request line is not `method SP target SP HTTP/1.x`.
    RequestLine,
    /// The target has a fragment.
    Fragment,
    /// A header field goes on in a further line.
    Fold,
    /// There is more than one length of the body.
    Lengths,
    /// The length is no number of at most 15 digits.
    Length,
    /// The transfer encoding is not `chunked` alone, or stands in HTTP/1.0.
    TransferEncoding,
    /// The chunks of the body are not well-formed.
    Chunk,
    /// The head is longer than allowed.
    HeadTooLarge,
    /// The head has more fields than allowed.
    TooManyFields,
    /// The head did not arrive in time.
    HeadTimeout,
    /// The connection should have ended by now.
    Ending,
    /// There are more connections than are served.
    TooManyConnections,
}
