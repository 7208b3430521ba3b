//! Fingerprints: numbers of texts, the same in every process and version.

use aws_lc_rs::digest;

/// The first eight bytes of the SHA-256 hash of a text.
pub fn fingerprint(text: &str) -> u64 {
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    u64::from_be_bytes(hash.as_ref()[..8].try_into().expect("a hash has more than eight bytes"))
}
