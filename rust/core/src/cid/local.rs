//! Connection IDs that we issued: the peer puts them on its packets.

use std::collections::VecDeque;

use tquic_wire::{ConnectionId, Frame, ResetToken};

use crate::cid::CidFactory;
use crate::error::{TransportError, TransportErrorCode};
use crate::path::PathLabel;
use crate::recovery::Token;
use crate::rng::Rng;
use crate::tx::FrameWriter;

/// IDs kept valid at the peer, however many more it would store.
const WANTED: u64 = 4;

struct Issued {
    sequence: u64,
    cid: ConnectionId,
    token: ResetToken,
}

/// The connection IDs of one path that the peer may use.
#[derive(Default)]
pub struct LocalCids {
    active: Vec<Issued>,
    next_sequence: u64,
    /// Sequence numbers whose NEW_CONNECTION_ID has to be sent (again).
    pending: VecDeque<u64>,
}

impl LocalCids {
    /// Begins with the ID used in the handshake: sequence number 0.
    pub fn new(initial: ConnectionId, token: ResetToken) -> Self {
        Self {
            active: vec![Issued { sequence: 0, cid: initial, token }],
            next_sequence: 1,
            pending: VecDeque::new(),
        }
    }

    /// Registers the ID of a preferred address, sequence number 1 (RFC 9000 section 5.1.1).
    pub fn add_preferred(&mut self, cid: ConnectionId, token: ResetToken) {
        self.active.push(Issued { sequence: self.next_sequence, cid, token });
        self.next_sequence += 1;
    }

    /// Issues IDs up to what the peer stores; returns those that now must reach us.
    pub fn replenish(
        &mut self,
        peer_limit: u64,
        factory: &CidFactory,
        rng: &mut Rng,
    ) -> Vec<ConnectionId> {
        let mut fresh = Vec::new();
        // RFC 9000 section 5.1.1: no more than the peer's active_connection_id_limit.
        while (self.active.len() as u64) < peer_limit.min(WANTED) {
            let cid = factory.generate(rng);
            let token = factory.reset_token(&cid);
            self.active.push(Issued { sequence: self.next_sequence, cid, token });
            self.pending.push_back(self.next_sequence);
            self.next_sequence += 1;
            fresh.push(cid);
        }
        fresh
    }

    /// RETIRE_CONNECTION_ID arrived in a packet addressed to `packet_dcid`: gives the ID to forget.
    pub fn retire(
        &mut self,
        sequence: u64,
        packet_dcid: &ConnectionId,
    ) -> Result<Option<ConnectionId>, TransportError> {
        // RFC 9000 section 19.16: a sequence number never issued is a PROTOCOL_VIOLATION.
        if sequence >= self.next_sequence {
            return Err(TransportError::violation("retired a connection ID that was never issued")
                .in_frame(0x19));
        }
        let Some(at) = self.active.iter().position(|i| i.sequence == sequence) else {
            return Ok(None);
        };
        // RFC 9000 section 19.16: nor may it be the ID of the packet that carries the frame.
        if self.active[at].cid == *packet_dcid {
            return Err(TransportError::violation("retired the connection ID of its own packet")
                .in_frame(0x19));
        }
        self.pending.retain(|s| *s != sequence);
        Ok(Some(self.active.swap_remove(at).cid))
    }

    /// All IDs now valid.
    pub fn iter(&self) -> impl Iterator<Item = &ConnectionId> {
        self.active.iter().map(|i| &i.cid)
    }

    /// Whether `cid` is one of ours.
    pub fn contains(&self, cid: &[u8]) -> bool {
        self.active.iter().any(|i| i.cid.as_slice() == cid)
    }

    /// Whether a NEW_CONNECTION_ID waits to be sent.
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The sequence number of the ID issued next.
    pub fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Writes as many NEW_CONNECTION_ID frames as fit.
    pub fn write(&mut self, label: PathLabel, w: &mut FrameWriter<'_>) {
        while let Some(&sequence) = self.pending.front() {
            if let Some(issued) = self.active.iter().find(|i| i.sequence == sequence) {
                let frame = Frame::NewConnectionId {
                    path: label.field(),
                    sequence,
                    retire_prior_to: 0,
                    cid: issued.cid,
                    reset_token: issued.token,
                };
                let token = Token::NewConnectionId { path: label.id, sequence };
                if !w.frame(&frame, Some(token)) {
                    return;
                }
            }
            self.pending.pop_front();
        }
    }

    /// The packet with this NEW_CONNECTION_ID was lost.
    pub fn on_lost(&mut self, sequence: u64) {
        if self.active.iter().any(|i| i.sequence == sequence) && !self.pending.contains(&sequence) {
            self.pending.push_back(sequence);
        }
    }
}

/// CONNECTION_ID_LIMIT_ERROR.
pub(super) fn limit_error(reason: &'static str) -> TransportError {
    TransportError::new(TransportErrorCode::CONNECTION_ID_LIMIT_ERROR, reason).in_frame(0x18)
}
