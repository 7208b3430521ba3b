//! File descriptors: how many connections they are enough for.

/// What the process needs beside connections.
const SPARE: u64 = 64;

/// Raises the limit of file descriptors for so many connections; the answer is how many it is enough for.
pub fn connections(wanted: usize) -> usize {
    // Each connection takes two descriptors: its own and one to the upstream.
    let needed = (wanted as u64).saturating_mul(2).saturating_add(SPARE);
    match rlimit::increase_nofile_limit(needed) {
        Ok(limit) if limit < needed => {
            tracing::warn!(limit, needed, "fewer file descriptors than `limits.connections` needs");
            let enough = limit.saturating_sub(SPARE).max(2) / 2;
            wanted.min(enough as usize)
        }
        Ok(_) => wanted,
        Err(error) => {
            tracing::warn!(%error, "the limit of file descriptors can not be raised");
            wanted
        }
    }
}
