//! Verified tokens: a signature is checked once, its claims are kept while they hold.

use std::sync::Arc;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::clock::Now;
use crate::identity::claims::{Claims, Verifier};
use crate::identity::fault::TokenFault;

/// The most that cached tokens may take together, in bytes.
const CACHE_BYTES_MAX: u64 = 64 << 20;
/// The longest that claims are kept, in seconds.
const KEPT_SECONDS_MAX: i64 = 3_600;
/// How many copies a worker has for itself.
const NEAR_SLOTS: usize = 64;

/// Claims of verified tokens, keyed by the whole token.
///
/// An entry carries the generation of the configuration and of the keys that verified it: those of another one may read
/// the token differently, so it is verified again.
#[derive(Clone, Debug)]
pub struct TokenCache {
    entries: Cache<Box<str>, Verified>,
}

/// What verified a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation {
    /// The configuration: issuers, role values, and keys from files.
    pub configuration: u64,
    /// The keys that issuers publish.
    pub keys: u64,
}

#[derive(Clone, Debug)]
struct Verified {
    claims: Arc<Claims>,
    generation: Generation,
    kept_until: i64,
}

/// A worker's own copies of the tokens it saw last. Claims do not change while their generation holds, so a copy is as
/// good as the original.
#[derive(Debug)]
pub struct NearTokens {
    slots: Vec<Option<(Box<str>, Verified)>>,
}

impl Default for NearTokens {
    fn default() -> NearTokens {
        NearTokens { slots: vec![None; NEAR_SLOTS] }
    }
}

impl NearTokens {
    /// The place of a token: the end of a signature is as good as random, and whoever forges ends that meet in one
    /// place only makes copies take turns.
    fn slot(token: &str) -> usize {
        let bytes = token.as_bytes();
        let tail = &bytes[bytes.len().saturating_sub(8)..];
        tail.iter().fold(0usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(usize::from(*byte)))
            % NEAR_SLOTS
    }

    fn get(&self, token: &str) -> Option<&Verified> {
        self.slots[Self::slot(token)]
            .as_ref()
            .filter(|(known, _)| **known == *token)
            .map(|(_, verified)| verified)
    }

    fn put(&mut self, token: &str, verified: Verified) {
        self.slots[Self::slot(token)] = Some((token.into(), verified));
    }
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
            .weigher(weight)
            // A full TinyLFU cache drops new keys at once: every new caller would pay for a signature each time.
            .eviction_policy(EvictionPolicy::lru())
            .build();
        TokenCache { entries }
    }
}

/// What an entry takes, in bytes: the token and about as much again for what stands around it.
#[allow(clippy::borrowed_box)] // The cache hands out its own key type.
fn weight(token: &Box<str>, _: &Verified) -> u32 {
    token.len() as u32 + 256
}

impl TokenCache {
    /// The claims of a token, verified now or before. Times are judged at every use.
    pub fn verify(
        &self,
        near: &mut NearTokens,
        verifier: &Verifier,
        generation: Generation,
        token: &str,
        now: Now,
    ) -> (Result<Arc<Claims>, TokenFault>, TokenLookup) {
        let second = now.wall.as_second();
        let holds = |verified: &Verified| verified.generation == generation && second < verified.kept_until;
        let known = match near.get(token).filter(|verified| holds(verified)) {
            Some(verified) => Some(Arc::clone(&verified.claims)),
            None => self.entries.get(token).filter(holds).map(|verified| {
                near.put(token, verified.clone());
                verified.claims
            }),
        };
        if let Some(claims) = known {
            let checked = verifier.check_time(&claims, now.wall);
            return (checked.map(|()| claims), TokenLookup::Hit);
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
