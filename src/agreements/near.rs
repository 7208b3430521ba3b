//! A worker's own copies of the facts it used last: a look at them costs a tenth of one into the shared cache.

use std::hash::{Hash, Hasher};
use std::time::{Duration, Instant};

use crate::agreements::cache::Kept;
use crate::policy::agreement::Key;

/// How many copies a worker has.
const SLOTS: usize = 1024;
/// How old a copy may be. Another worker may have asked again meanwhile.
const COPY_AGE_MAX: Duration = Duration::from_secs(1);

/// Copies of facts, each in the one place that its key hashes to. They stay on their worker's thread.
#[derive(Debug)]
pub struct NearFacts {
    slots: Vec<Option<Copied>>,
}

#[derive(Clone, Copy, Debug)]
struct Copied {
    key: Key,
    kept: Kept,
    at: Instant,
    /// How much had been learnt or doubted when it was copied.
    changes: u64,
}

impl Default for NearFacts {
    fn default() -> NearFacts {
        NearFacts { slots: vec![None; SLOTS] }
    }
}

impl NearFacts {
    /// The copy of what is kept under a key, if there is a young one and nothing was learnt or doubted since.
    pub fn get(&self, key: &Key, now: Instant, changes: u64) -> Option<Kept> {
        let copied = self.slots[slot(key)].as_ref()?;
        let young = now.saturating_duration_since(copied.at) < COPY_AGE_MAX;
        (young && copied.changes == changes && copied.key == *key).then_some(copied.kept)
    }

    /// Copies what is kept under a key, in place of what was there.
    pub fn put(&mut self, key: Key, kept: Kept, now: Instant, changes: u64) {
        self.slots[slot(&key)] = Some(Copied { key, kept, at: now, changes });
    }
}

/// Where a key's copy is. Nobody gains by keys that meet in one place: their copies only take turns.
fn slot(key: &Key) -> usize {
    let mut hash = Mixer(0);
    key.hash(&mut hash);
    (hash.finish() >> 32) as usize % SLOTS
}

/// A multiplicative hash: a few instructions a word, which is all that a place needs.
struct Mixer(u64);

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let mut word = [0u8; 8];
            word[..part.len()].copy_from_slice(part);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(byte.into());
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agreements::cache::Settings;
    use crate::clock::Now;
    use crate::policy::agreement::{Answer, Cloud, Failure, MCA, MPA, Party, Scope};
    use crate::policy::id::Guid;

    #[test]
    fn copies_are_young_and_of_their_own_key() {
        let now = Instant::now();
        let key = |bits, agreement| Key {
            cloud: Cloud::Commercial,
            agreement,
            party: Party::Customer(Guid::from_bits(bits)),
            scope: Scope::None,
        };
        let settings = Settings::default();
        let moment = Now::read().moment();
        let kept = Kept::new(&key(1, MCA), Answer::failed(Failure::Unrecorded), moment, 3, &settings);
        let mut near = NearFacts::default();
        near.put(key(1, MCA), kept, now, 7);
        assert!(near.get(&key(1, MCA), now, 7).is_some());
        assert!(near.get(&key(1, MCA), now, 8).is_none());
        assert!(near.get(&key(1, MPA), now, 7).is_none());
        assert!(near.get(&key(1, MCA), now + COPY_AGE_MAX, 7).is_none());
        // Of ten thousand keys for a thousand places each lookup finds its own key or nothing.
        (0..10_000)
            .for_each(|bits| near.put(key(bits, MCA), Kept { generation: bits as u64, ..kept }, now, 0));
        let found = (0..10_000u128).filter_map(|bits| Some((bits, near.get(&key(bits, MCA), now, 0)?)));
        let mut count = 0;
        for (bits, kept) in found {
            assert_eq!(kept.generation, bits as u64);
            count += 1;
        }
        assert!(count > SLOTS / 2, "{count} places are used");
    }
}
