//! From stream ID to slot.

use crate::rng::Rng;
use siphasher::sip::SipHasher13;
use std::collections::HashMap;
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

/// The table, and the stream that was looked up last: packets come and are acknowledged in runs of
/// one stream, which then cost no hash.
#[derive(Debug)]
pub(super) struct Index {
    slots: HashMap<u64, usize, Keyed>,
    last: Option<(StreamId, usize)>,
}

impl Index {
    pub fn new(rng: &mut Rng) -> Self {
        let keys = Keyed(rng.u64(), rng.u64());
        Self { slots: HashMap::with_hasher(keys), last: None }
    }

    #[inline]
    pub fn find(&mut self, id: StreamId) -> Option<usize> {
        if let Some((last, slot)) = self.last
            && last == id
        {
            return Some(slot);
        }
        let slot = self.get(id)?;
        self.last = Some((id, slot));
        Some(slot)
    }

    pub fn get(&self, id: StreamId) -> Option<usize> {
        self.slots.get(&id.0).copied()
    }

    pub fn insert(&mut self, id: StreamId, slot: usize) {
        self.slots.insert(id.0, slot);
        self.last = Some((id, slot));
    }

    pub fn remove(&mut self, id: StreamId) {
        self.slots.remove(&id.0);
        self.last = self.last.filter(|(last, _)| *last != id);
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.last.is_none()
    }

    pub fn shrink(&mut self) {
        self.slots.shrink_to_fit();
    }
}
