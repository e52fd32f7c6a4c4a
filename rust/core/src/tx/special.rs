//! Datagrams that are not trains: path validation elsewhere, MTU probes, CONNECTION_CLOSE.

use tquic_wire::frame::Close;
use tquic_wire::{ConnectionId, Frame, PacketType, Side, Space, TransportErrorCode};

use crate::connection::{Connection, State, space_index};
use crate::events::ConnectionError;
use crate::path::mtu;
use crate::recovery::Token;
use crate::time::Instant;
use crate::tx::packet::{SentOptions, TAG};
use crate::tx::{FrameWriter, Transmit};

impl Connection {
    /// A challenge or an answer on a 4-tuple that is not the active one.
    pub(super) fn transmit_off_path(
        &mut self,
        now: Instant,
        path: usize,
        buf: &mut [u8],
    ) -> Option<Transmit> {
        self.keys.one_rtt.as_ref()?;
        let index = 1 + self.paths[path].others_mut().iter().position(|t| {
            (t.challenges.is_due(now) || t.challenges.owes()) && !t.ledger.is_blocked()
        })?;
        let (interval, _) = self.paths[path].challenge_times(self.peer_max_ack_delay());
        let tuple = self.paths[path].tuple_mut(index)?;
        let (addresses, remote_cid) = (tuple.addresses, tuple.remote_cid);
        // RFC 9000 section 8.2.1 and 8.2.2: 1200 bytes, unless the limit forbids.
        let full = tuple.ledger.allowance() >= u64::from(mtu::BASE);
        let challenge = tuple
            .challenges
            .is_due(now)
            .then(|| tuple.challenges.send(now, interval, full, &mut self.rng));
        let response = tuple.challenges.next_owed();
        let dcid = self.paths[path].remote_cids.cid(remote_cid)?;
        let room = usize::from(mtu::BASE).min(buf.len());
        let size = self.single(now, path, &dcid, &mut buf[..room], |fw| {
            if let Some(data) = challenge {
                fw.frame(&Frame::PathChallenge(data), None);
            }
            if let Some(data) = response {
                fw.frame(&Frame::PathResponse(data), None);
            }
            full
        })?;
        self.stats.challenges_answered += u64::from(response.is_some());
        let tuple = self.paths[path].tuple_mut(index)?;
        tuple.ledger.on_sent(size as u64);
        Some(Transmit { addresses, ecn: None, segment: size, len: size })
    }

    /// One 1-RTT packet by itself; padded to all of `buf` if `write` says so.
    fn single(
        &mut self,
        now: Instant,
        path: usize,
        dcid: &ConnectionId,
        buf: &mut [u8],
        write: impl FnOnce(&mut super::FrameWriter<'_>) -> bool,
    ) -> Option<usize> {
        let mut draft = self.begin(path, PacketType::OneRtt, dcid, buf)?;
        if draft.frames(buf, write) {
            draft.pad_to(buf, buf.len() - TAG);
        }
        draft.pad_for_sample(buf);
        let mtu_probe = draft.tokens.iter().any(|t| matches!(t, Token::MtuProbe(_)));
        let size = draft.sealed_len(0);
        self.seal_short(now, path, &draft, &mut buf[..size]);
        self.mask_train(&mut buf[..size], size, draft.pn_offset);
        self.on_sent(now, path, draft, size, SentOptions { ecn: None, mtu_probe });
        Some(size)
    }

    /// A PING with PADDING of the size that the search wants to try (RFC 8899 section 4.1).
    pub(super) fn transmit_mtu_probe(
        &mut self,
        now: Instant,
        path: usize,
        buf: &mut [u8],
    ) -> Option<Transmit> {
        if !self.handshake.is_confirmed() {
            return None;
        }
        let active = self.paths[path].active();
        let size = active.mtu.probe_size(now)?;
        let recovery = &self.paths[path].recovery;
        let open = recovery.cwnd() >= recovery.bytes_in_flight() + u64::from(size);
        if !open || !active.ledger.is_validated() || buf.len() < usize::from(size) {
            return None;
        }
        let addresses = active.addresses;
        let dcid = self.paths[path].remote_cids.cid(active.remote_cid)?;
        let len = self.single(now, path, &dcid, &mut buf[..usize::from(size)], |fw| {
            fw.frame(&Frame::Ping, Some(Token::MtuProbe(size)))
        })?;
        let active = self.paths[path].active_mut();
        active.mtu.on_probe_sent(size);
        active.ledger.on_sent(len as u64);
        Some(Transmit { addresses, ecn: None, segment: len, len })
    }

    /// CONNECTION_CLOSE on the next path that may be used.
    pub(super) fn transmit_close(&mut self, now: Instant, buf: &mut [u8]) -> Option<Transmit> {
        let State::Closing(closing) = &mut self.state else { return None };
        let (first, error) = (closing.send.take()?, closing.error.clone());
        for path in first..self.paths.len() {
            if !self.paths[path].standing.may_send() {
                continue;
            }
            if let Some(transmit) = self.transmit_close_on(now, path, &error, buf) {
                if let State::Closing(closing) = &mut self.state {
                    closing.send = Some(path + 1);
                }
                return Some(transmit);
            }
        }
        None
    }

    /// CONNECTION_CLOSE at every level that the peer may be able to read (RFC 9000 section 10.2.3).
    fn transmit_close_on(
        &mut self,
        now: Instant,
        path: usize,
        error: &ConnectionError,
        buf: &mut [u8],
    ) -> Option<Transmit> {
        let active = self.paths[path].active();
        let room = usize::from(mtu::BASE)
            .min(buf.len())
            .min(usize::try_from(active.ledger.allowance()).unwrap_or(usize::MAX));
        let addresses = active.addresses;
        let dcid = self.paths[path].remote_cids.cid(active.remote_cid)?;
        // All of the handshake is on the first.
        let levels = [PacketType::Initial, PacketType::Handshake, PacketType::OneRtt];
        let levels = &levels[if self.paths[path].id == 0 { 0 } else { 2 }..];
        let mut len = 0;
        for &ty in levels {
            if !self.closes_at(ty) {
                continue;
            }
            let packet = &mut buf[len..room];
            let Some(mut draft) = self.begin(path, ty, &dcid, packet) else { break };
            draft.frames(packet, |fw| {
                if !(ty == PacketType::Handshake && self.completes_first(error, fw)) {
                    fw.frame(&close_frame(error, ty), None);
                }
            });
            if draft.is_empty() {
                break;
            }
            draft.pad_for_sample(packet);
            if ty == PacketType::Initial && self.ids.side == Side::Client {
                // RFC 9000 section 14.1. What follows is not worth a larger datagram.
                draft.pad_to(packet, packet.len() - TAG);
            }
            let size = draft.sealed_len(0);
            if ty == PacketType::OneRtt {
                self.seal_short(now, path, &draft, &mut packet[..size]);
                self.mask_train(&mut packet[..size], size, draft.pn_offset);
            } else {
                self.seal_long(now, &draft, &mut packet[..size]);
            }
            self.stats.packets_sent += 1;
            len += size;
        }
        self.paths[path].active_mut().ledger.on_sent(len as u64);
        (len > 0).then_some(Transmit { addresses, ecn: None, segment: len, len })
    }

    /// A client that is connected and closes at once lets the server complete the handshake first:
    /// the Handshake packet carries the Finished message, the 1-RTT packet after it the reason, which
    /// the server's application then learns (RFC 9000 section 10.2.3).
    fn completes_first(&mut self, error: &ConnectionError, fw: &mut FrameWriter<'_>) -> bool {
        let orderly = matches!(error, ConnectionError::LocalClose { .. })
            && self.ids.side == Side::Client
            && self.handshake.is_complete()
            && !self.handshake.is_confirmed();
        let flight = &mut self.handshake.send[space_index(Space::Handshake)];
        orderly && flight.write_whole(fw)
    }

    fn closes_at(&self, ty: PacketType) -> bool {
        match ty {
            PacketType::Initial => {
                self.keys.initial.is_some()
                    && (self.keys.handshake.is_none() || self.ids.side == Side::Server)
            }
            PacketType::Handshake => self.keys.handshake.is_some(),
            _ => {
                self.keys.one_rtt.is_some()
                    && (self.handshake.is_complete() || self.ids.side == Side::Server)
            }
        }
    }
}

/// The frame for `error` in a packet of type `ty`.
fn close_frame(error: &ConnectionError, ty: PacketType) -> Frame<'_> {
    let transport = |code: u64, frame: u64, reason| {
        Frame::ConnectionClose(Close { error_code: code, frame_type: Some(frame), reason })
    };
    match error {
        ConnectionError::LocalClose { code, reason } if ty == PacketType::OneRtt => {
            Frame::ConnectionClose(Close { error_code: *code, frame_type: None, reason })
        }
        // RFC 9000 section 10.2.3: applications' codes and reasons stay under 1-RTT protection.
        ConnectionError::LocalClose { .. } => {
            transport(TransportErrorCode::APPLICATION_ERROR.0, 0, &[])
        }
        ConnectionError::Local(e) => {
            let reason = e.reason.as_bytes();
            transport(e.code.0, e.frame.unwrap_or(0), &reason[..reason.len().min(256)])
        }
        _ => transport(TransportErrorCode::NO_ERROR.0, 0, &[]),
    }
}
