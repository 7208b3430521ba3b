//! Verified tokens: a signature is checked once, its claims are kept while they hold.

use std::sync::Arc;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::clock::Now;
use crate::identity::claims::{Claims, TokenFault, Verifier};

/// The most that cached tokens may take together, in bytes.
const CACHE_BYTES_MAX: u64 = 64 << 20;
/// The longest that claims are kept, in seconds.
const KEPT_SECONDS_MAX: i64 = 3_600;

/// Claims of verified tokens, keyed by the whole token.
///
/// An entry carries the generation of the configuration that verified it: keys, issuers and role values of another one
/// may read the token differently, so it is verified again.
#[derive(Clone, Debug)]
pub struct TokenCache {
    entries: Cache<Box<str>, Verified>,
}

#[derive(Clone, Debug)]
struct Verified {
    claims: Arc<Claims>,
    generation: u64,
    kept_until: i64,
}

/// What a look into the cache brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenLookup {
    /// The claims were there.
    Hit,
    /// The token was verified.
    Miss,
}

impl Default for TokenCache {
    fn default() -> TokenCache {
        let entries = Cache::builder()
            .max_capacity(CACHE_BYTES_MAX)
            .weigher(|token: &Box<str>, _: &Verified| token.len() as u32 + 256)
            // A full TinyLFU cache drops new keys at once: every new caller would pay for a signature each time.
            .eviction_policy(EvictionPolicy::lru())
            .build();
        TokenCache { entries }
    }
}

impl TokenCache {
    /// The claims of a token, verified now or before. Times are judged at every use.
    pub fn verify(
        &self,
        verifier: &Verifier,
        generation: u64,
        token: &str,
        now: Now,
    ) -> (Result<Arc<Claims>, TokenFault>, TokenLookup) {
        let second = now.wall.as_second();
        if let Some(verified) = self.entries.get(token)
            && verified.generation == generation
            && second < verified.kept_until
        {
            let checked = verifier.check_time(&verified.claims, now.wall);
            return (checked.map(|()| verified.claims), TokenLookup::Hit);
        }
        let claims = verifier.verify(token, now.wall).map(Arc::new);
        if let Ok(claims) = &claims {
            let kept_until = (second + KEPT_SECONDS_MAX).min(claims.expires + verifier.leeway_seconds);
            let verified = Verified { claims: Arc::clone(claims), generation, kept_until };
            self.entries.insert(token.into(), verified);
        }
        (claims, TokenLookup::Miss)
    }
}
