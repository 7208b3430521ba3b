//! Randomness: what keeps gateways that do the same from doing it together.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

use crate::policy::id::Guid;

/// A number from 0 to 1.
pub fn random() -> f64 {
    let mut bytes = [0u8; 4];
    // Without randomness they do ask together, which is no reason not to ask.
    let _ = SystemRandom::new().fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}

/// A GUID (RFC 9562 version 4).
pub fn guid() -> Guid {
    let mut bytes = [0u8; 16];
    let _ = SystemRandom::new().fill(&mut bytes);
    let bits = u128::from_be_bytes(bytes);
    Guid::from_bits(bits & !(0xf << 76) & !(0x3 << 62) | 4 << 76 | 2 << 62)
}

#[cfg(test)]
mod tests {
    use super::random;

    #[test]
    fn jitter_stays_within_its_bounds() {
        let drawn: Vec<f64> = (0..100).map(|_| random()).collect();
        assert!(drawn.iter().all(|number| (0.0..=1.0).contains(number)), "{drawn:?}");
        assert!(drawn.iter().any(|number| *number != drawn[0]), "{drawn:?}");
    }
}
