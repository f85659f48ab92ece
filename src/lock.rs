//! The mutex that threads share values by.
//!
//! What it does: locks, and goes on with the value if a thread panicked while it held the lock. What it refuses to know:
//! the value. Invariant: what is kept in one stays bounded and sound at every step of a change (counts, maps, queues), so
//! that a panic, which ends one request, never refuses the requests after it.

pub(crate) use std::sync::MutexGuard;
use std::sync::PoisonError;

/// A mutex without poison.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Mutex(std::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn into_inner(self) -> T {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_under_the_lock_leaves_the_value_to_the_next() {
        let count = Mutex::new(1);
        let panicked = std::thread::scope(|scope| {
            let held = || {
                let mut count = count.lock();
                *count += 1;
                panic!("under the lock");
            };
            scope.spawn(held).join()
        });
        assert!(panicked.is_err());
        assert_eq!(*count.lock(), 2);
        assert_eq!(count.into_inner(), 2);
    }
}
