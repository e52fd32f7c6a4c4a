//! A path: one packet-number space for application data with its recovery, connection IDs and the
//! 4-tuples it uses. Single-path QUIC is path 0 alone.

pub mod amplification;
pub mod ecn;
pub mod mtu;
mod standing;
mod tuple;
pub mod validate;

use core::time::Duration;

use smallvec::{SmallVec, smallvec};
use tquic_wire::{ConnectionId, Space};

use crate::cid::{LocalCids, RemoteCids};
use crate::connection::space_index;
use crate::path::validate::Proof;
use crate::recovery::Recovery;
use crate::space::AckTracker;
use crate::time::Instant;

pub use ecn::Ecn;
pub use mtu::Mtu;
pub use standing::{Advice, PathLabel, Stage, Standing};
pub use tuple::{FourTuple, Tuple};

/// 4-tuples remembered for a path: the active one, the one before, and what is being tried.
const MAX_TUPLES: usize = 4;

/// One path.
pub struct Path {
    /// Path ID (draft-ietf-quic-multipath); 0 for the path of the handshake.
    pub id: u32,
    /// Sent packets, round-trip time, loss, congestion, pacing.
    pub recovery: Recovery,
    /// Received packet numbers of the Initial, Handshake and Data spaces.
    pub acks: [AckTracker; 3],
    /// Connection IDs the peer puts on packets of this path.
    pub local_cids: LocalCids,
    /// Connection IDs we put on packets of this path.
    pub remote_cids: RemoteCids,
    /// Packets to be sent whatever the window says, for each space (RFC 9002 section 6.2.4).
    pub probes: [u8; 3],
    /// Destination Connection ID of the peer's packets on the active 4-tuple.
    pub last_dcid: ConnectionId,
    /// What it is good for beside other paths.
    pub standing: Standing,
    /// Bytes of UDP payload sent there.
    pub bytes_sent: u64,
    /// Bytes of the datagrams whose packets were opened.
    pub bytes_received: u64,
    /// The active 4-tuple first.
    tuples: SmallVec<[Tuple; 1]>,
}

/// The parts of a path, borrowed side by side.
pub struct PathParts<'a> {
    /// Sent packets.
    pub recovery: &'a mut Recovery,
    /// Received packets.
    pub acks: &'a mut [AckTracker; 3],
    /// IDs we issued.
    pub local_cids: &'a mut LocalCids,
    /// IDs the peer issued.
    pub remote_cids: &'a mut RemoteCids,
    /// What it is good for.
    pub standing: &'a mut Standing,
    /// The 4-tuple in use.
    pub active: &'a mut Tuple,
}

/// What came of looking at validations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathOutcome {
    /// This 4-tuple is now validated and active.
    Validated(FourTuple),
    /// We moved to this one, our own choice.
    Migrated(FourTuple),
    /// A try failed; the active 4-tuple stays or the last good one is active again.
    Failed(FourTuple),
    /// Nothing is left that works.
    Dead,
}

impl Path {
    /// A path on its first 4-tuple.
    pub fn new(
        id: u32,
        recovery: Recovery,
        acks: [AckTracker; 3],
        cids: (LocalCids, RemoteCids),
        tuple: Tuple,
    ) -> Self {
        let (local_cids, remote_cids) = cids;
        let last_dcid = local_cids.iter().next().copied().unwrap_or_default();
        Self {
            id,
            recovery,
            acks,
            local_cids,
            remote_cids,
            probes: [0; 3],
            last_dcid,
            standing: Standing::default(),
            bytes_sent: 0,
            bytes_received: 0,
            tuples: smallvec![tuple],
        }
    }

    /// Keys of `space` are gone: nothing of it is sent, acknowledged or waited for any more.
    pub fn discard_space(&mut self, now: Instant, space: Space) {
        let at = space_index(space);
        self.recovery.discard_space(now, space);
        self.acks[at] = AckTracker::new(space, Duration::ZERO);
        self.probes[at] = 0;
    }

    /// Length of the connection ID that we put on packets.
    pub fn remote_cid_len(&self) -> usize {
        self.remote_cids.cid(self.tuples[0].remote_cid).map_or(0, |cid| cid.len())
    }

    /// The parts, to be used side by side.
    pub fn parts(&mut self) -> PathParts<'_> {
        PathParts {
            recovery: &mut self.recovery,
            acks: &mut self.acks,
            local_cids: &mut self.local_cids,
            remote_cids: &mut self.remote_cids,
            standing: &mut self.standing,
            active: &mut self.tuples[0],
        }
    }

    /// The peer wants these connection IDs retired: their users take others, or are dropped. False if
    /// none is left for the active 4-tuple.
    pub fn replace_remote_cids(&mut self, displaced: &[u64]) -> bool {
        for &sequence in displaced {
            let fresh = self.remote_cids.take_unused();
            let mut index = self.tuples.len();
            while index > 0 {
                index -= 1;
                if self.tuples[index].remote_cid != sequence {
                    continue;
                }
                match fresh {
                    Some(cid) => self.tuples[index].remote_cid = cid,
                    None if index == 0 => {}
                    None => {
                        self.tuples.remove(index);
                    }
                }
            }
        }
        // A path that was accepted before there was an ID to answer with.
        if self.is_mute() {
            self.tuples[0].remote_cid = self.remote_cids.take_unused().unwrap_or(Tuple::NO_CID);
            return true;
        }
        // The active one is worth more than those that are only being tried.
        while self.remote_cids.cid(self.tuples[0].remote_cid).is_none() {
            if self.tuples.len() == 1 {
                return false;
            }
            let other = self.tuples.remove(1);
            self.tuples[0].remote_cid = other.remote_cid;
        }
        true
    }

    /// Uses another of the peer's connection IDs on the active 4-tuple and retires the one before
    /// (RFC 9000 section 5.1.2). False if none is left.
    pub fn change_remote_cid(&mut self) -> bool {
        let Some(fresh) = self.remote_cids.take_unused() else { return false };
        let before = core::mem::replace(&mut self.tuples[0].remote_cid, fresh);
        if !self.tuples.iter().any(|t| t.remote_cid == before) {
            // The peer gives as many as it takes back: the bound of retirements cannot be hit.
            let _ = self.remote_cids.retire(before);
        }
        true
    }

    /// When an ACK frame falls due that could be sent. What the anti-amplification limit holds back
    /// waits for the peer, not for the clock.
    pub fn ack_timeout(&self) -> Option<Instant> {
        let active = self.active();
        let may_send = |at: usize| {
            let least = if at == 2 { amplification::LEAST } else { u64::from(mtu::BASE) };
            active.ledger.allowance() >= least
        };
        let acks = self.acks.iter().enumerate().filter(|(at, _)| may_send(*at));
        acks.filter_map(|(_, acks)| acks.timeout()).min()
    }

    /// Whether nothing can be sent for want of a connection ID of the peer.
    pub fn is_mute(&self) -> bool {
        self.tuples[0].remote_cid == Tuple::NO_CID
    }

    /// Asks for proof of the active address, from the beginning.
    pub fn validate_again(&mut self, now: Instant, max_ack_delay: Duration) {
        let (_, give_up) = self.challenge_times(max_ack_delay);
        self.tuples[0].challenges.start(now, give_up);
    }

    /// No address is validated any more.
    pub fn stop_validation(&mut self) {
        self.tuples.iter_mut().for_each(|t| t.challenges.stop());
    }

    /// The 4-tuple in use.
    pub fn active(&self) -> &Tuple {
        &self.tuples[0]
    }

    /// The 4-tuple in use.
    pub fn active_mut(&mut self) -> &mut Tuple {
        &mut self.tuples[0]
    }

    /// The 4-tuples other than the active one.
    pub fn others_mut(&mut self) -> &mut [Tuple] {
        &mut self.tuples[1..]
    }

    /// All 4-tuples, the active one first.
    pub fn tuples(&self) -> &[Tuple] {
        &self.tuples
    }

    /// Finds the 4-tuple of a received datagram.
    pub fn find(&self, addresses: &FourTuple) -> Option<usize> {
        self.tuples.iter().position(|t| t.addresses.matches(addresses))
    }

    /// The 4-tuple at `index`, if it is still there.
    pub fn tuple_mut(&mut self, index: usize) -> Option<&mut Tuple> {
        self.tuples.get_mut(index)
    }

    /// Adds a 4-tuple beside the active one. The oldest that is not active makes room.
    pub fn add(&mut self, tuple: Tuple) -> usize {
        if self.tuples.len() == MAX_TUPLES {
            // A peer's spoofed addresses must push out neither an own candidate nor the last address
            // that was validated (RFC 9000 section 9.3.2).
            let others = || self.tuples.iter().skip(1);
            let at = others()
                .position(|t| !t.candidate && !t.ledger.is_validated())
                .or_else(|| others().position(|t| !t.candidate));
            self.drop_tuple(1 + at.unwrap_or(0));
        }
        self.tuples.push(tuple);
        self.tuples.len() - 1
    }

    fn drop_tuple(&mut self, index: usize) {
        let gone = self.tuples.remove(index);
        if !self.tuples.iter().any(|t| t.remote_cid == gone.remote_cid) {
            // The queue bound of retirements cannot be hit by our own few tuples.
            let _ = self.remote_cids.retire(gone.remote_cid);
        }
    }

    /// Makes the 4-tuple at `index` the active one; the one before stays as something to return to.
    pub fn activate(&mut self, index: usize) {
        self.put_first(index);
        self.tuples[0].candidate = false;
    }

    fn put_first(&mut self, index: usize) {
        self.tuples.swap(0, index);
        // The peer's ECN counts are those of the packet-number space, whatever the address.
        let before = self.tuples[index].ecn.clone();
        self.tuples[0].ecn.adopt_counts(&before);
    }

    /// PATH_RESPONSE: finds whose challenge it answers.
    pub fn on_response(&mut self, now: Instant, data: &[u8; 8]) -> Option<PathOutcome> {
        let (index, proof) = self
            .tuples
            .iter_mut()
            .enumerate()
            .find_map(|(i, t)| t.challenges.on_response(now, data).map(|p| (i, p)))?;
        self.tuples[index].ledger.validate();
        if proof == Proof::Address {
            return None;
        }
        let addresses = self.tuples[index].addresses;
        if index == 0 {
            // The move holds: what we kept to return to is no longer needed.
            self.retain_active_and_candidates();
            return Some(PathOutcome::Validated(addresses));
        }
        if self.tuples[index].candidate {
            self.activate(index);
            self.retain_active_and_candidates();
            return Some(PathOutcome::Migrated(addresses));
        }
        None
    }

    fn retain_active_and_candidates(&mut self) {
        while let Some(at) = self.tuples.iter().skip(1).position(|t| !t.candidate) {
            self.drop_tuple(at + 1);
        }
    }

    /// Gives up validations that took too long.
    pub fn on_timeout(&mut self, now: Instant, max_ack_delay: Duration) -> Option<PathOutcome> {
        let index = self.tuples.iter().position(|t| t.challenges.has_failed(now))?;
        let addresses = self.tuples[index].addresses;
        self.tuples[index].challenges.stop();
        if index > 0 {
            self.drop_tuple(index);
            return Some(PathOutcome::Failed(addresses));
        }
        if self.standing.stage == Stage::Validating {
            return Some(PathOutcome::Dead);
        }
        if self.tuples[0].ledger.is_validated() {
            // It was valid and was only checked again (RFC 9000 section 9.3.3).
            return None;
        }
        // RFC 9000 section 9.3.2: return to the last validated address, if there is one.
        match self.tuples.iter().position(|t| t.ledger.is_validated()) {
            Some(good) => {
                self.put_first(good);
                self.drop_tuple(good);
                Some(PathOutcome::Failed(addresses))
            }
            // The peer is still heard there: challenges and answers may all have been lost.
            None if self.tuples[0].ledger.take_news() => {
                self.validate_again(now, max_ack_delay);
                None
            }
            None => Some(PathOutcome::Dead),
        }
    }

    /// When a validation needs attention next.
    pub fn validation_timeout(&self) -> Option<Instant> {
        // A challenge that the anti-amplification limit holds back, or that lacks a connection ID,
        // waits for the peer, not for time.
        let of = |t: &Tuple| match t.ledger.is_blocked() || t.remote_cid == Tuple::NO_CID {
            true => t.challenges.deadline(),
            false => t.challenges.timeout(),
        };
        self.tuples.iter().filter_map(of).min()
    }

    /// Repeats a challenge after this long, gives up after three times that (RFC 9000 section 8.2.4).
    pub fn challenge_times(&self, max_ack_delay: Duration) -> (Duration, Duration) {
        let interval = self.recovery.pto_period(Space::Data, max_ack_delay);
        (interval, (interval * 3).max(Duration::from_millis(3 * 999)))
    }
}
