//! From stream ID to slot.

use crate::rng::Rng;
use siphasher::sip::SipHasher13;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use tquic_wire::StreamId;

/// Peers choose stream IDs, so the hash has a key that they do not know: nobody can make a table
/// slow with IDs that collide.
#[derive(Clone, Debug)]
struct Keyed(u64, u64);

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }
}

/// Streams that a window spans at most, 4 bytes each.
const SPAN: u64 = 4096;
const VACANT: u32 = u32::MAX;

/// The newest streams of one kind, by their number: IDs are given out in order, so nearly all
/// streams are found without a hash.
#[derive(Debug, Default)]
struct Window {
    base: u64,
    slots: VecDeque<u32>,
}

/// The table: a window for each kind of stream, and a hash table for streams that outlived the
/// window or were opened before it.
#[derive(Debug)]
pub(super) struct Index {
    windows: [Window; 4],
    others: HashMap<u64, u32, Keyed>,
}

impl Index {
    pub fn new(rng: &mut Rng) -> Self {
        let keys = Keyed(rng.u64(), rng.u64());
        Self { windows: Default::default(), others: HashMap::with_hasher(keys) }
    }

    #[inline]
    pub fn get(&self, id: StreamId) -> Option<usize> {
        let window = &self.windows[id.0 as usize & 3];
        match id.index().checked_sub(window.base) {
            Some(i) if i < SPAN => match window.slots.get(i as usize) {
                Some(&slot) if slot != VACANT => Some(slot as usize),
                _ => None,
            },
            Some(_) => None,
            None => self.others.get(&id.0).map(|&slot| slot as usize),
        }
    }

    pub fn insert(&mut self, id: StreamId, slot: usize) {
        let slot = slot as u32;
        let window = &mut self.windows[id.0 as usize & 3];
        // The base never falls: whoever is below it is in the other table.
        if window.slots.is_empty() {
            window.base = window.base.max(id.index());
        }
        let Some(i) = id.index().checked_sub(window.base) else {
            self.others.insert(id.0, slot);
            return;
        };
        // The oldest make room for the newest.
        for _ in SPAN..=i {
            let Some(old) = window.slots.pop_front() else { break };
            if old != VACANT {
                self.others.insert((window.base << 2) | (id.0 & 3), old);
            }
            window.base += 1;
        }
        if window.slots.is_empty() {
            window.base = id.index();
        }
        let i = (id.index() - window.base) as usize;
        if i >= window.slots.len() {
            window.slots.resize(i + 1, VACANT);
        }
        window.slots[i] = slot;
    }

    pub fn remove(&mut self, id: StreamId) {
        let window = &mut self.windows[id.0 as usize & 3];
        let Some(i) = id.index().checked_sub(window.base) else {
            self.others.remove(&id.0);
            return;
        };
        if let Some(slot) = window.slots.get_mut(i as usize) {
            *slot = VACANT;
        }
        while window.slots.front() == Some(&VACANT) {
            window.slots.pop_front();
            window.base += 1;
        }
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.others.is_empty() && self.windows.iter().all(|w| w.slots.is_empty())
    }

    /// Gives memory back.
    pub fn shrink(&mut self) {
        self.others.shrink_to_fit();
        for window in &mut self.windows {
            window.slots.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};

    #[test]
    fn a_stream_before_the_window_stays_findable_when_the_window_empties() {
        let mut index = Index::new(&mut Rng::from_seed([0; 32]));
        index.insert(StreamId(900 * 4), 1);
        index.insert(StreamId(800 * 4), 2);
        index.remove(StreamId(900 * 4));
        index.insert(StreamId(700 * 4), 3);
        assert_eq!(
            (index.get(StreamId(800 * 4)), index.get(StreamId(700 * 4))),
            (Some(2), Some(3))
        );
    }

    #[test]
    fn an_old_stream_does_not_hold_the_window() {
        let mut index = Index::new(&mut Rng::from_seed([0; 32]));
        for i in 0..100_000 {
            index.insert(StreamId(i * 4), i as usize);
            if i > 10 {
                index.remove(StreamId((i - 10) * 4));
            }
        }
        assert_eq!(index.get(StreamId(0)), Some(0));
        assert_eq!(index.get(StreamId(99_999 * 4)), Some(99_999));
        assert_eq!(index.get(StreamId(4 * 4)), None);
        assert!(index.windows[0].slots.len() as u64 <= SPAN);
        assert_eq!(index.others.len(), 1);
    }

    proptest! {
        #[test]
        fn behaves_as_a_map(ops in prop::collection::vec((0u64..3, 0u64..20_000, any::<bool>()), 1..300)) {
            let mut index = Index::new(&mut Rng::from_seed([0; 32]));
            let mut model = HashMap::new();
            for (n, (kind, number, add)) in ops.into_iter().enumerate() {
                let id = StreamId(number << 2 | kind);
                // IDs are never used twice.
                if add && !model.contains_key(&id) {
                    index.insert(id, n);
                    model.insert(id, Some(n));
                } else if !add && let Some(slot) = model.get_mut(&id) {
                    index.remove(id);
                    *slot = None;
                }
                for (id, slot) in &model {
                    prop_assert_eq!(index.get(*id), *slot);
                }
                prop_assert_eq!(index.is_empty(), model.values().all(Option::is_none));
            }
        }
    }
}
