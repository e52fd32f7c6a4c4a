//! Connection IDs that the peer issued: we put them on our packets.

use std::collections::VecDeque;

use tquic_wire::{ConnectionId, Frame, ResetToken, TransportErrorCode};

use crate::cid::local::limit_error;
use crate::error::TransportError;
use crate::path::PathLabel;
use crate::recovery::Token;
use crate::tx::FrameWriter;

#[derive(Clone, Copy, Debug)]
struct Known {
    sequence: u64,
    cid: ConnectionId,
    token: Option<ResetToken>,
    in_use: bool,
}

/// The connection IDs of one path that we may use.
pub struct RemoteCids {
    known: Vec<Known>,
    retire_prior_to: u64,
    limit: u64,
    /// Retired sequence numbers that the peer has to be told (again).
    pending: VecDeque<u64>,
    /// Retirements told but not acknowledged.
    in_flight: usize,
    /// Largest sequence number seen, to tell a late duplicate from a new ID.
    retired: Vec<u64>,
}

impl RemoteCids {
    /// Begins with the ID used in the handshake: sequence number 0. `limit` is the
    /// `active_connection_id_limit` that we told the peer.
    pub fn new(initial: ConnectionId, limit: u64) -> Self {
        Self {
            known: vec![Known { sequence: 0, cid: initial, token: None, in_use: true }],
            retire_prior_to: 0,
            limit,
            pending: VecDeque::new(),
            in_flight: 0,
            retired: Vec::new(),
        }
    }

    /// Those of a path that is not open yet: none. Sequence numbers begin at 0.
    pub fn empty(limit: u64) -> Self {
        Self {
            known: Vec::new(),
            retire_prior_to: 0,
            limit,
            pending: VecDeque::new(),
            in_flight: 0,
            retired: Vec::new(),
        }
    }

    /// The server chose another ID in its first packet or Retry (RFC 9000 section 7.2).
    pub fn replace_initial(&mut self, cid: ConnectionId) {
        if let Some(first) = self.known.iter_mut().find(|k| k.sequence == 0) {
            first.cid = cid;
        }
    }

    /// The reset token of sequence number 0, from the transport parameters.
    pub fn set_initial_token(&mut self, token: ResetToken) {
        if let Some(first) = self.known.iter_mut().find(|k| k.sequence == 0) {
            first.token = Some(token);
        }
    }

    /// The ID and token of a preferred address: sequence number 1 (RFC 9000 section 5.1.1).
    pub fn add_preferred(&mut self, cid: ConnectionId, token: ResetToken) {
        self.known.push(Known { sequence: 1, cid, token: Some(token), in_use: false });
    }

    /// NEW_CONNECTION_ID arrived. Returns the sequence numbers in use that the peer wants retired:
    /// their users need another one (`take_unused`).
    pub fn on_new(
        &mut self,
        sequence: u64,
        retire_prior_to: u64,
        cid: ConnectionId,
        token: ResetToken,
    ) -> Result<Vec<u64>, TransportError> {
        // RFC 9000 section 5.1.2: an ID below an earlier Retire Prior To is retired at once.
        if sequence < self.retire_prior_to {
            if !self.retired.contains(&sequence) {
                self.retire_now(sequence)?;
            }
            return Ok(Vec::new());
        }
        match self.known.iter().find(|k| k.sequence == sequence || k.cid == cid) {
            Some(k) if k.sequence == sequence && k.cid == cid && k.token == Some(token) => {}
            Some(_) => {
                // RFC 9000 section 19.15.
                return Err(TransportError::violation(
                    "a connection ID was issued again with other values",
                )
                .in_frame(0x18));
            }
            None if self.retired.contains(&sequence) => {}
            None => self.known.push(Known { sequence, cid, token: Some(token), in_use: false }),
        }
        let displaced = self.raise_retire_prior_to(retire_prior_to)?;
        // RFC 9000 section 5.1.1: counted after the retirement the same frame asks for.
        if self.known.len() as u64 > self.limit {
            return Err(limit_error("the peer issued more connection IDs than the limit allows"));
        }
        Ok(displaced)
    }

    fn raise_retire_prior_to(&mut self, prior_to: u64) -> Result<Vec<u64>, TransportError> {
        if prior_to <= self.retire_prior_to {
            return Ok(Vec::new());
        }
        let (gone, kept): (Vec<_>, Vec<_>) = self.known.iter().partition(|k| k.sequence < prior_to);
        // Before anything changes: the CONNECTION_CLOSE still needs an ID.
        self.check_room(gone.len())?;
        self.retire_prior_to = prior_to;
        self.known = kept;
        for k in &gone {
            self.retire_now(k.sequence)?;
        }
        Ok(gone.iter().filter(|k| k.in_use).map(|k| k.sequence).collect())
    }

    /// CVE-2024-22189: a peer that issues and retires while it withholds acknowledgements would make
    /// the queue grow without end. RFC 9000 section 5.1.2 asks for at least twice the limit.
    fn check_room(&self, more: usize) -> Result<(), TransportError> {
        let queued = (self.pending.len() + self.in_flight + more) as u64;
        if queued > self.limit.saturating_mul(2).max(16) {
            return Err(limit_error("too many connection IDs wait to be retired"));
        }
        Ok(())
    }

    fn retire_now(&mut self, sequence: u64) -> Result<(), TransportError> {
        self.check_room(1)?;
        self.pending.push_back(sequence);
        if self.retired.len() >= 64 {
            self.retired.remove(0);
        }
        self.retired.push(sequence);
        Ok(())
    }

    /// An ID not used so far, now in use by a tuple.
    pub fn take_unused(&mut self) -> Option<u64> {
        let best = self.known.iter_mut().filter(|k| !k.in_use).min_by_key(|k| k.sequence)?;
        best.in_use = true;
        Some(best.sequence)
    }

    /// Takes exactly this sequence number into use.
    pub fn take(&mut self, sequence: u64) -> bool {
        match self.known.iter_mut().find(|k| k.sequence == sequence) {
            Some(k) => {
                k.in_use = true;
                true
            }
            None => false,
        }
    }

    /// Number of IDs not in use.
    pub fn unused(&self) -> usize {
        self.known.iter().filter(|k| !k.in_use).count()
    }

    /// A tuple stopped using this ID: it will be retired (RFC 9000 section 9.5: never reused).
    pub fn retire(&mut self, sequence: u64) -> Result<(), TransportError> {
        let Some(at) = self.known.iter().position(|k| k.sequence == sequence) else {
            return Ok(());
        };
        self.known.swap_remove(at);
        self.retire_now(sequence)
    }

    /// The ID with this sequence number.
    pub fn cid(&self, sequence: u64) -> Option<ConnectionId> {
        self.known.iter().find(|k| k.sequence == sequence).map(|k| k.cid)
    }

    /// Whether these are the last 16 bytes of a stateless reset for an ID that we use (RFC 9000
    /// section 10.3.1; tokens of unused IDs do not count).
    pub fn is_reset(&self, tail: &ResetToken) -> bool {
        // No early exit: the time must not tell which token came close.
        self.known.iter().filter(|k| k.in_use).fold(false, |hit, k| {
            let same = k.token.as_ref().is_some_and(|t| t == tail);
            hit | same
        })
    }

    /// The sequence number that the next ID should have, as far as we know.
    pub fn next_sequence(&self) -> u64 {
        let known = self.known.iter().map(|k| k.sequence);
        known.chain(self.retired.iter().copied()).max().map_or(0, |largest| largest + 1)
    }

    /// The path is abandoned: all IDs are retired at once, without a word to the peer
    /// (draft-ietf-quic-multipath-21 section 3.4).
    pub fn abandon(&mut self) {
        *self = Self::empty(self.limit);
    }

    /// Whether a RETIRE_CONNECTION_ID waits to be sent.
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Writes as many RETIRE_CONNECTION_ID frames as fit.
    pub fn write(&mut self, label: PathLabel, w: &mut FrameWriter<'_>) {
        while let Some(&sequence) = self.pending.front() {
            let frame = Frame::RetireConnectionId { path: label.field(), sequence };
            let token = Token::RetireConnectionId { path: label.id, sequence };
            if !w.frame(&frame, Some(token)) {
                return;
            }
            self.pending.pop_front();
            self.in_flight += 1;
        }
    }

    /// The peer knows.
    pub fn on_acked(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// The packet with this RETIRE_CONNECTION_ID was lost.
    pub fn on_lost(&mut self, sequence: u64) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.pending.push_back(sequence);
    }
}

/// NEW_CONNECTION_ID while zero-length IDs are in use (RFC 9000 section 19.15).
pub fn zero_length_error() -> TransportError {
    TransportError::new(
        TransportErrorCode::PROTOCOL_VIOLATION,
        "a connection ID was issued beside a zero-length one",
    )
    .in_frame(0x18)
}
