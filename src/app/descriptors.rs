//! File descriptors: how many connections and requests they are enough for.

/// What the process needs beside connections.
const SPARE: u64 = 64;
/// What connections take that are refused, closed a moment ago, or kept towards the upstream: of the limit, and at most.
const KEPT_SHARE: u64 = 8;
const KEPT_MAX: u64 = 1024;

/// Raises the limit of file descriptors for so many connections, and so many requests with a connection to the upstream
/// each. The answer is how many of both it is enough for.
pub fn enough_for(connections: usize, requests: usize) -> (usize, usize) {
    let needed = (connections as u64).saturating_add(requests as u64).saturating_add(SPARE + KEPT_MAX);
    let limit = match rlimit::increase_nofile_limit(needed) {
        Ok(limit) => limit,
        Err(error) => {
            tracing::warn!(%error, "the limit of file descriptors can not be raised");
            return (connections, requests);
        }
    };
    let (fewer_connections, fewer_requests) = split(limit, connections, requests);
    if (fewer_connections, fewer_requests) != (connections, requests) {
        tracing::warn!(
            limit,
            needed,
            connections = fewer_connections,
            requests = fewer_requests,
            "fewer file descriptors than `limits.connections` and `limits.requests` need: fewer of both are served"
        );
    }
    (fewer_connections, fewer_requests)
}

/// Who wants less than half leaves the rest to the other.
fn split(limit: u64, connections: usize, requests: usize) -> (usize, usize) {
    let kept = (limit / KEPT_SHARE).min(KEPT_MAX);
    let free = usize::try_from(limit.saturating_sub(SPARE + kept)).unwrap_or(usize::MAX).max(2);
    let connections = connections.min((free / 2).max(free.saturating_sub(requests)));
    (connections, requests.min(free - connections))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_shared() {
        for (limit, connections, requests, expected) in [
            (100_000, 10_000, 10_000, (10_000, 10_000)),
            (20_000, 10_000, 10_000, (9_456, 9_456)),
            (4_096, 1_900, 10_000, (1_760, 1_760)),
            (4_096, 100, 10_000, (100, 3_420)),
            (4_096, 10_000, 100, (3_420, 100)),
            (10, 10_000, 10_000, (1, 1)),
        ] {
            assert_eq!(split(limit, connections, requests), expected, "{limit} {connections} {requests}");
        }
    }
}
