//! Tokens are good for one use (RFC 9000 section 8.1.4).

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::BuildHasherDefault;

use super::TOKEN_ID_LEN;

/// Names of tokens. They were authenticated before and are random, so no peer can choose them to
/// collide and the hash needs no key.
type Names = HashSet<[u8; TOKEN_ID_LEN], BuildHasherDefault<DefaultHasher>>;

/// Remembers which tokens were used, for as long as they would be good otherwise.
///
/// Two sets take turns: names go into the current one; after `window` seconds it becomes the
/// previous one, and the one before that is forgotten. Thus a name is kept for at least `window`
/// seconds, and with `window` at least the tokens' lifetime no token passes twice. At most
/// `2 * capacity` names are kept, each of 16 bytes and a little overhead. When the current set is
/// full, tokens count as used: their clients fall back to Retry or the limit of unvalidated
/// addresses, which is safe.
///
/// Servers that share a key but not this filter each accept a token once.
#[derive(Debug)]
pub struct ReplayFilter {
    window: u64,
    capacity: usize,
    /// When the current set was begun, in seconds.
    begun: u64,
    current: Names,
    previous: Names,
}

impl ReplayFilter {
    /// A filter for tokens with a lifetime of up to `window` seconds. Each of its two sets holds up
    /// to `capacity` names and takes memory as it fills.
    #[must_use]
    pub fn new(window: u64, capacity: usize) -> Self {
        Self { window, capacity, begun: 0, current: Names::default(), previous: Names::default() }
    }

    /// Marks the token named `id` as used at `now` (seconds). Returns whether that was its first
    /// use; if not, the token must not validate an address.
    pub fn first_use(&mut self, id: &[u8; TOKEN_ID_LEN], now: u64) -> bool {
        let age = now.saturating_sub(self.begun);
        if age > self.window {
            self.previous = std::mem::take(&mut self.current);
            if age / 2 > self.window {
                self.previous.clear();
            }
            self.begun = now;
        }
        if self.previous.contains(id) || self.current.len() >= self.capacity {
            return false;
        }
        self.current.insert(*id)
    }

    /// Whether the token named `id` is known to have been used. Unlike [`Self::first_use`] a full
    /// filter says no: for tokens whose second use does no harm.
    #[must_use]
    pub fn knows(&self, id: &[u8; TOKEN_ID_LEN]) -> bool {
        self.previous.contains(id) || self.current.contains(id)
    }

    /// How many names are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.current.len() + self.previous.len()
    }

    /// Whether no name is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn full_means_used() {
        let mut filter = ReplayFilter::new(100, 3);
        for i in 0..3 {
            assert!(filter.first_use(&[i; 16], 10));
            assert!(filter.knows(&[i; 16]));
        }
        assert!(!filter.first_use(&[9; 16], 10) && !filter.knows(&[9; 16]));
        assert_eq!(filter.len(), 3);
        // The next window has room again.
        assert!(filter.first_use(&[9; 16], 200));
    }

    #[test]
    fn forgets_in_the_end() {
        let mut filter = ReplayFilter::new(100, 1000);
        assert!(filter.is_empty());
        for now in 0..10_000_u64 {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&now.to_be_bytes());
            assert!(filter.first_use(&id, now));
            assert!(filter.len() <= 202, "{} names at {now}", filter.len());
        }
        assert!(filter.first_use(&[255; 16], 1_000_000));
        assert_eq!(filter.len(), 1);
    }

    proptest! {
        /// No name passes twice within the window, whatever the order of uses.
        #[test]
        fn once_per_window(uses in prop::collection::vec((0..20_u8, 0..30_u64), 1..200)) {
            let window = 50;
            let mut filter = ReplayFilter::new(window, 1000);
            let mut last = [None; 20];
            let mut now = 0;
            for (name, wait) in uses {
                now += wait;
                let first = filter.first_use(&[name; 16], now);
                let last = &mut last[usize::from(name)];
                match *last {
                    None => prop_assert!(first),
                    Some(then) if now - then <= window => prop_assert!(!first),
                    Some(then) if now - then > 2 * window + 30 => prop_assert!(first),
                    Some(_) => {}
                }
                if first {
                    *last = Some(now);
                }
            }
        }
    }
}
