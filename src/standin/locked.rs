//! Locked: taking a lock whose holder may have panicked.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The lock, whether or not a holder panicked: what the stand-in keeps is whole between any two statements.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
