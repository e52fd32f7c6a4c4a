//! Which connection a datagram belongs to. Keys come from peers (first connection IDs, reset
//! tokens), so they are hashed with a secret: CVE-2025-24947 and its kin chose colliding ones.

use std::collections::HashMap;
use std::hash::BuildHasher;

use siphasher::sip::SipHasher13;
use tquic_wire::{ConnectionId, ResetToken};

use crate::endpoint::ConnectionHandle;
use crate::rng::Rng;

/// Reset tokens remembered for a connection at most: twice the connection IDs that a peer has active
/// by default, so that the one in use is among them.
const TOKENS: usize = 16;

#[derive(Clone)]
struct Keyed(u64, u64);

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;
    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }
}

#[derive(Default)]
struct Keys {
    cids: Vec<ConnectionId>,
    tokens: Vec<[u8; 16]>,
}

/// Connection IDs and reset tokens of all connections.
pub(super) struct CidTable {
    cids: HashMap<ConnectionId, ConnectionHandle, Keyed>,
    tokens: HashMap<[u8; 16], ConnectionHandle, Keyed>,
    /// What to take out when a connection goes.
    owned: HashMap<ConnectionHandle, Keys, Keyed>,
    /// The last one found: datagrams come in runs.
    last: Option<(ConnectionId, ConnectionHandle)>,
}

impl CidTable {
    pub(super) fn new(rng: &mut Rng) -> Self {
        let keyed = Keyed(rng.u64(), rng.u64());
        Self {
            cids: HashMap::with_hasher(keyed.clone()),
            tokens: HashMap::with_hasher(keyed.clone()),
            owned: HashMap::with_hasher(keyed),
            last: None,
        }
    }

    /// Connection IDs, reset tokens, and connections that have any.
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        (self.cids.len(), self.tokens.len(), self.owned.len())
    }

    pub(super) fn insert(&mut self, cid: ConnectionId, handle: ConnectionHandle) {
        // Two of our own random IDs meet once in 2^63; a client's first one may be taken on purpose.
        // Whoever was there first keeps it.
        if *self.cids.entry(cid).or_insert(handle) == handle {
            self.owned.entry(handle).or_default().cids.push(cid);
        }
    }

    pub(super) fn remove(&mut self, cid: &ConnectionId, handle: ConnectionHandle) {
        if self.cids.get(cid) == Some(&handle) {
            self.cids.remove(cid);
            self.last = None;
            if let Some(keys) = self.owned.get_mut(&handle) {
                keys.cids.retain(|c| c != cid);
            }
        }
    }

    pub(super) fn insert_token(&mut self, token: ResetToken, handle: ConnectionHandle) {
        let token = *token.as_bytes();
        // Frames that tell of a token are repeated, which must not push out others. Whoever was
        // there first keeps it.
        if *self.tokens.entry(token).or_insert(handle) != handle {
            return;
        }
        let keys = self.owned.entry(handle).or_default();
        if keys.tokens.contains(&token) {
            return;
        }
        if keys.tokens.len() == TOKENS {
            let oldest = keys.tokens.remove(0);
            self.tokens.remove(&oldest);
        }
        keys.tokens.push(token);
    }

    pub(super) fn remove_all(&mut self, handle: ConnectionHandle) {
        self.last = None;
        let Some(keys) = self.owned.remove(&handle) else { return };
        for cid in &keys.cids {
            self.cids.remove(cid);
        }
        for token in &keys.tokens {
            self.tokens.remove(token);
        }
    }

    pub(super) fn find(&mut self, dcid: &[u8]) -> Option<ConnectionHandle> {
        if let Some((cid, handle)) = &self.last
            && cid.as_slice() == dcid
        {
            return Some(*handle);
        }
        let cid = ConnectionId::new(dcid)?;
        let handle = *self.cids.get(&cid)?;
        self.last = Some((cid, handle));
        Some(handle)
    }

    /// The connection that a stateless reset with this token ends.
    pub(super) fn find_token(&self, token: &[u8; 16]) -> Option<ConnectionHandle> {
        self.tokens.get(token).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(n: u8) -> ResetToken {
        ResetToken::new([n; 16])
    }

    #[test]
    fn reset_tokens_are_bounded_and_repeated_ones_push_nothing_out() {
        let mut table = CidTable::new(&mut Rng::from_seed([1; 32]));
        let handle = ConnectionHandle::from_u64(7);
        table.insert_token(token(0), handle);
        for _ in 0..100 {
            table.insert_token(token(1), handle);
        }
        assert_eq!(table.find_token(&[0; 16]), Some(handle));
        for n in 2..100 {
            table.insert_token(token(n), handle);
        }
        assert_eq!((table.tokens.len(), table.owned[&handle].tokens.len()), (TOKENS, TOKENS));
        assert_eq!(table.find_token(&[99; 16]), Some(handle));
        table.remove_all(handle);
        assert!(table.tokens.is_empty() && table.owned.is_empty());
    }

    #[test]
    fn ids_and_tokens_of_others_cannot_be_taken_over() {
        let mut table = CidTable::new(&mut Rng::from_seed([1; 32]));
        let (first, second) = (ConnectionHandle::from_u64(1), ConnectionHandle::from_u64(2));
        let cid = ConnectionId::new(b"somebody").unwrap_or_default();
        for handle in [first, second] {
            table.insert(cid, handle);
            table.insert_token(token(5), handle);
        }
        assert_eq!(
            (table.find(b"somebody"), table.find_token(&[5; 16])),
            (Some(first), Some(first))
        );
        table.remove(&cid, second);
        table.remove_all(second);
        assert_eq!(
            (table.find(b"somebody"), table.find_token(&[5; 16])),
            (Some(first), Some(first))
        );
        table.remove_all(first);
        assert_eq!((table.find(b"somebody"), table.find_token(&[5; 16])), (None, None));
    }
}
