//! Buffers that the program lends: what MSG_ZEROCOPY means, and its notifications.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;

/// Loans that were given back and not yet told of. Calls are numbered from 0, as the kernel does.
#[derive(Debug, Default)]
pub(crate) struct Returned(Mutex<Loans>);

#[derive(Debug, Default)]
struct Loans {
    next: u32,
    done: BTreeSet<u32>,
}

/// Data on loan: its number is known once the call has taken some of it.
struct Loan {
    data: Bytes,
    number: Arc<OnceLock<u32>>,
    returned: Arc<Returned>,
}

impl AsRef<[u8]> for Loan {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if let Some(number) = self.number.get() {
            self.returned.lock().done.insert(*number);
        }
    }
}

impl Returned {
    fn lock(&self) -> std::sync::MutexGuard<'_, Loans> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lends `data` to `send`. If it takes some, a notification follows when nobody needs it more.
    pub fn lend<E>(
        self: &Arc<Self>,
        data: Bytes,
        send: impl FnOnce(Bytes) -> Result<usize, E>,
    ) -> Result<usize, E> {
        let number = Arc::new(OnceLock::new());
        let loan = Loan { data, number: number.clone(), returned: self.clone() };
        let shared = Bytes::from_owner(loan);
        // Kept until the number is there: the engine may be done at once.
        let taken = send(shared.clone())?;
        let mut loans = self.lock();
        number.get_or_init(|| loans.next);
        loans.next = loans.next.wrapping_add(1);
        drop(loans);
        drop(shared);
        Ok(taken)
    }

    /// The first run of calls whose buffers may be used again, ends included.
    pub fn take(&self) -> Option<(u32, u32)> {
        let mut loans = self.lock();
        let first = loans.done.pop_first()?;
        let mut last = first;
        while loans.done.remove(&last.wrapping_add(1)) {
            last = last.wrapping_add(1);
        }
        Some((first, last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loans_are_told_of_when_nobody_has_them() {
        let returned = Arc::new(Returned::default());
        let mut kept = Vec::new();
        for _ in 0..3 {
            let lent = returned.lend(Bytes::from_static(b"data"), |data| {
                kept.push(data);
                Ok::<_, ()>(4)
            });
            assert_eq!(lent, Ok(4));
        }
        assert_eq!(
            returned.lend(Bytes::from_static(b"no"), |_| Err::<usize, _>("again")),
            Err("again")
        );
        assert_eq!(returned.take(), None);
        drop(kept.remove(2));
        assert_eq!(returned.take(), Some((2, 2)));
        kept.clear();
        assert_eq!((returned.take(), returned.take()), (Some((0, 1)), None));
    }
}
