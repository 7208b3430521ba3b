//! A request as it was sent, before anything is made of it.

use crate::policy::facts::Caller;
use crate::policy::path::Path;

/// A judged request as it was sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    /// Its path.
    pub path: &'a Path<'a>,
    /// The caller.
    pub caller: &'a Caller,
    /// Its body; an empty one is none.
    pub body: &'a [u8],
    /// True where the body is a merge patch, in which a null removes a member (RFC 7396).
    pub is_merge_patch: bool,
}
