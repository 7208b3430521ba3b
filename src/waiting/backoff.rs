//! Backoff: how long to leave a server alone that failed.

use std::time::Duration;

/// After the first failure.
pub const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// After many of them.
pub const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// How long after so many failures in a row: 1 s, doubling to 30 s, up to a quarter shorter by `jitter` (0 to 1).
pub fn backoff(failures: u32, jitter: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let longest = BACKOFF_MIN.saturating_mul(1 << doublings).min(BACKOFF_MAX);
    longest.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_to_its_bound_and_jitter_only_shortens_it() {
        for (failures, longest) in
            [(0, 1), (1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 30), (7, 30), (u32::MAX, 30)]
        {
            let longest = Duration::from_secs(longest);
            assert_eq!(backoff(failures, 0.0), longest, "{failures}");
            assert_eq!(backoff(failures, 1.0), longest.mul_f64(0.75), "{failures}");
        }
    }
}
