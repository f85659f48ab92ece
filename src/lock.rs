//! The locks that threads share values by.
//!
//! What it does: locks, and goes on with the value if a thread panicked while it held the lock. What it refuses to know:
//! the value. Invariant: what is kept in one stays bounded and sound at every step of a change (counts, maps, queues), so
//! that a panic, which ends one request, never refuses the requests after it.

use std::sync::PoisonError;
pub(crate) use std::sync::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};

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

/// A lock without poison for what is read with every call and changed seldom.
#[derive(Debug, Default)]
pub(crate) struct RwLock<T>(std::sync::RwLock<T>);

impl<T> RwLock<T> {
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_a_writer_leaves_the_value_to_readers() {
        let count = RwLock::<i32>::default();
        let panicked = std::thread::scope(|scope| {
            let held = || {
                *count.write() += 1;
                let _held = count.write();
                panic!("under the lock");
            };
            scope.spawn(held).join()
        });
        assert!(panicked.is_err());
        assert_eq!(*count.read(), 1);
        *count.write() += 1;
        assert_eq!(*count.read(), 2);
    }

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
