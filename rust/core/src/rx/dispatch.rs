//! One match over frames: each arm is one call on the owner of what the frame says.

use tquic_wire::frame::{FrameError, next_frame, rules, ty};
use tquic_wire::{
    ConnectionId, Frame, PacketType, Reader, ResetToken, Side, Space, TransportErrorCode, header,
};

use crate::connection::{Connection, space_index};
use crate::error::TransportError;
use crate::events::{EndpointEvent, Event};
use crate::multipath::{Located, News, PathNews};
use crate::path::{PathOutcome, Stage};
use crate::rx::{Arrival, Opened};
use crate::space::AckRequestFrame;
use crate::trace::{self, DropReason};

impl Opened {
    fn ty(&self) -> PacketType {
        match (self.space, self.zero_rtt) {
            (Space::Initial, _) => PacketType::Initial,
            (Space::Handshake, _) => PacketType::Handshake,
            (Space::Data, true) => PacketType::ZeroRtt,
            (Space::Data, false) => PacketType::OneRtt,
        }
    }
}

/// A connection ID that the peer issued.
struct IssuedCid {
    sequence: u64,
    retire_prior_to: u64,
    cid: ConnectionId,
    reset_token: ResetToken,
}

/// What a packet was, seen as a whole.
#[derive(Default)]
struct Seen {
    ack_eliciting: bool,
    non_probing: bool,
}

impl Connection {
    /// Handles the frames of a packet that has authenticated.
    pub(crate) fn on_packet(
        &mut self,
        arrival: &Arrival,
        opened: &Opened,
        payload: &[u8],
    ) -> Result<(), TransportError> {
        self.stats.packets_received += 1;
        let path = &mut self.paths[opened.path];
        path.bytes_received += opened.len as u64;
        path.heard = arrival.now;
        let acks = &mut path.acks[space_index(opened.space)];
        // RFC 9000 section 12.3: a packet number is processed once.
        if acks.is_duplicate(opened.pn) {
            self.stats.duplicates += 1;
            let (ty, size) = (Some(opened.ty()), opened.len);
            self.tell_dropped(arrival.now, ty, size, DropReason::Duplicate);
            return Ok(());
        }
        let newest = acks.largest().is_none_or(|largest| opened.pn > largest);
        // RFC 9000 section 12.4: a packet without frames.
        if payload.is_empty() {
            return Err(TransportError::violation("a packet without frames"));
        }
        if self.events.trace.wants(trace::RECEIVED) {
            self.tell_received(arrival, opened, payload);
        }
        self.settle_tuple(arrival, opened);
        let seen = self.on_frames(arrival, opened, payload)?;
        if self.keys.is_gone(opened.space) {
            // The packet completed the handshake and with it ended its own space.
            return Ok(());
        }
        let acks = &mut self.paths[opened.path].acks[space_index(opened.space)];
        acks.on_received(arrival.now, opened.pn, seen.ack_eliciting, arrival.ecn);
        if newest && seen.non_probing && opened.space == Space::Data {
            // Looked up again: a PATH_RESPONSE in the packet may have changed the list.
            let tuple = self.paths[opened.path].find(&arrival.addresses);
            if let Some(tuple) = tuple.filter(|tuple| *tuple != 0) {
                self.on_peer_moved(arrival, opened, tuple);
            }
        }
        Ok(())
    }

    #[cold]
    fn tell_received(&mut self, arrival: &Arrival, opened: &Opened, payload: &[u8]) {
        let ty = opened.ty();
        if ty == PacketType::OneRtt {
            self.events.trace.on_spin_bit(arrival.now, opened.first & header::SPIN_BIT != 0);
        }
        let long = (ty != PacketType::OneRtt)
            .then(|| (self.ids.version, self.ids.peer.unwrap_or_default(), opened.dcid));
        let packet = trace::Packet {
            ty,
            pn: opened.pn,
            size: opened.len,
            path: self.paths[opened.path].id,
            key_phase: long.is_none().then_some(opened.first & header::KEY_PHASE != 0),
            long,
            payload,
            tail: 0,
        };
        self.events
            .trace
            .tell(arrival.now, &trace::Event::PacketReceived { packet, ecn: arrival.ecn });
    }

    fn on_frames(
        &mut self,
        arrival: &Arrival,
        opened: &Opened,
        payload: &[u8],
    ) -> Result<Seen, TransportError> {
        let packet = opened.ty();
        let mut seen = Seen::default();
        let mut reader = Reader::new(payload);
        while !reader.is_empty() {
            let start = reader.position();
            let frame = next_frame(&mut reader).map_err(|e| frame_error(&e))?;
            let ty = frame.ty();
            // RFC 9000 section 12.4: table 3.
            if !rules::permitted(ty, packet) {
                let reason = "a frame in a packet type where it is not allowed";
                return Err(blame(TransportError::violation(reason), payload, start));
            }
            if ty::is_multipath(ty) && self.multipath.is_none() {
                // To those who have not negotiated it, the type is unknown (RFC 9000 section 12.4).
                let code = TransportErrorCode::FRAME_ENCODING_ERROR;
                let reason = "a frame of an extension that was not negotiated";
                return Err(blame(TransportError::new(code, reason), payload, start));
            }
            seen.ack_eliciting |= rules::is_ack_eliciting(ty);
            seen.non_probing |= !rules::is_probing(ty);
            self.on_frame(arrival, opened, frame).map_err(|e| blame(e, payload, start))?;
            if !self.state.is_open() {
                break;
            }
        }
        Ok(seen)
    }

    fn on_frame(
        &mut self,
        arrival: &Arrival,
        opened: &Opened,
        frame: Frame<'_>,
    ) -> Result<(), TransportError> {
        let now = arrival.now;
        match frame {
            Frame::Stream(f) => self.streams.on_stream(&f),
            Frame::Ack(f) => self.on_ack(now, opened, &f),
            Frame::Padding { .. } | Frame::Ping => Ok(()),
            Frame::Crypto { offset, data } => self.on_crypto(now, opened.space, offset, data),
            Frame::ResetStream { id, error_code, final_size } => {
                self.streams.on_reset_stream(id, error_code, final_size)
            }
            Frame::ResetStreamAt { id, error_code, final_size, reliable_size } => {
                self.streams.on_reset_stream_at(id, error_code, final_size, reliable_size)
            }
            Frame::StopSending { id, error_code } => self.streams.on_stop_sending(id, error_code),
            Frame::MaxData(max) => {
                self.streams.on_max_data(max);
                Ok(())
            }
            Frame::MaxStreamData { id, max } => self.streams.on_max_stream_data(id, max),
            Frame::MaxStreams { dir, max } => self.streams.on_max_streams(dir, max),
            // RFC 9000 section 4.2: credit never waits for a sender that says it is blocked.
            Frame::DataBlocked(_) => Ok(()),
            Frame::StreamDataBlocked { id, .. } => self.streams.on_stream_data_blocked(id),
            Frame::StreamsBlocked { dir, limit } => self.streams.on_streams_blocked(dir, limit),
            Frame::NewConnectionId { path, sequence, retire_prior_to, cid, reset_token } => {
                let issued = IssuedCid { sequence, retire_prior_to, cid, reset_token };
                self.on_new_cid(path.unwrap_or(0), &issued)
            }
            Frame::RetireConnectionId { path, sequence } => {
                self.on_retire_cid(opened, path.unwrap_or(0), sequence)
            }
            Frame::PathChallenge(data) => {
                let path = &mut self.paths[opened.path];
                if let Some(t) = path.find(&arrival.addresses).and_then(|t| path.tuple_mut(t)) {
                    t.challenges.owe(data);
                }
                Ok(())
            }
            Frame::PathResponse(data) => {
                self.on_path_response(now, opened.path, &data);
                Ok(())
            }
            Frame::NewToken { token } => self.on_new_token(token),
            Frame::HandshakeDone => self.on_handshake_done(now),
            Frame::Datagram { data } => self.on_datagram(data),
            Frame::AckFrequency {
                sequence,
                threshold,
                request_max_ack_delay_us,
                reordering_threshold,
            } => {
                let request = AckRequestFrame {
                    sequence,
                    threshold,
                    max_ack_delay_us: request_max_ack_delay_us,
                    reordering_threshold,
                };
                let mut paths = self.paths.iter_mut();
                paths.try_for_each(|path| path.acks[2].on_ack_frequency(&request))
            }
            Frame::PathAbandon { path, error_code } => self.on_path_abandon(now, path, error_code),
            Frame::PathStatus { path, sequence, backup } => {
                self.on_path_status(now, path, sequence, backup)
            }
            Frame::MaxPathId(max) => self.on_max_path_id(max),
            Frame::PathsBlocked(max) => self.on_paths_blocked(max),
            Frame::PathCidsBlocked { path, next_sequence } => {
                self.on_path_cids_blocked(path, next_sequence)
            }
            Frame::ImmediateAck => {
                self.paths[opened.path].acks[2].on_immediate_ack();
                Ok(())
            }
            Frame::ConnectionClose(close) => {
                self.on_close(now, &close);
                Ok(())
            }
        }
    }

    fn on_crypto(
        &mut self,
        now: crate::time::Instant,
        space: Space,
        offset: u64,
        data: &[u8],
    ) -> Result<(), TransportError> {
        let limit = self.config.crypto_buffer;
        self.handshake.recv[space_index(space)].insert(offset, data, limit)?;
        self.drive_handshake(now)
    }

    fn on_new_token(&mut self, token: &[u8]) -> Result<(), TransportError> {
        // RFC 9000 section 19.7.
        if self.ids.side == Side::Server {
            return Err(TransportError::violation("a client sent NEW_TOKEN"));
        }
        self.events.push(Event::NewToken(token.to_vec()));
        Ok(())
    }

    fn on_handshake_done(&mut self, now: crate::time::Instant) -> Result<(), TransportError> {
        // RFC 9000 section 19.20.
        if self.ids.side == Side::Server {
            return Err(TransportError::violation("a client sent HANDSHAKE_DONE"));
        }
        self.confirm_handshake(now);
        Ok(())
    }

    fn on_datagram(&mut self, data: &[u8]) -> Result<(), TransportError> {
        if self.datagrams.on_datagram(data)? {
            self.events.push(Event::DatagramReceived);
        }
        Ok(())
    }

    fn on_new_cid(&mut self, path: u64, issued: &IssuedCid) -> Result<(), TransportError> {
        if self.ids.peer.is_none_or(|p| p.is_empty()) {
            return Err(crate::cid::remote::zero_length_error());
        }
        let IssuedCid { sequence, retire_prior_to, cid, reset_token } = *issued;
        match self.locate(path)? {
            Located::Path(path) => {
                let path = &mut self.paths[path];
                if !path.standing.may_send() {
                    return Ok(());
                }
                let displaced =
                    path.remote_cids.on_new(sequence, retire_prior_to, cid, reset_token)?;
                if !path.replace_remote_cids(&displaced) {
                    return Err(TransportError::violation("every connection ID is retired"));
                }
            }
            Located::Spare(id) => {
                let Some(multipath) = &mut self.multipath else { return Ok(()) };
                let remote = &mut multipath.spare_mut(id).remote;
                remote.on_new(sequence, retire_prior_to, cid, reset_token)?;
                self.events.push(Event::PathsAvailable);
            }
            Located::Closed => return Ok(()),
        }
        self.events.push_endpoint(EndpointEvent::ResetToken(reset_token));
        Ok(())
    }

    fn on_retire_cid(
        &mut self,
        opened: &Opened,
        path: u64,
        sequence: u64,
    ) -> Result<(), TransportError> {
        let cids = match self.locate(path)? {
            Located::Path(path) => &mut self.paths[path].local_cids,
            Located::Spare(id) => match &mut self.multipath {
                Some(multipath) => &mut multipath.spare_mut(id).local,
                None => return Ok(()),
            },
            Located::Closed => return Ok(()),
        };
        if let Some(gone) = cids.retire(sequence, &opened.dcid)? {
            self.events.push_endpoint(EndpointEvent::CidRetired(gone));
            self.replenish_cids();
        }
        Ok(())
    }

    fn on_path_response(&mut self, now: crate::time::Instant, path: usize, data: &[u8; 8]) {
        // An answer to nothing is ignored: it may be late (RFC 9000 section 8.2.3 lets us).
        if let Some(outcome) = self.paths[path].on_response(now, data) {
            self.on_path_outcome(now, path, outcome);
        }
    }

    pub(crate) fn on_path_outcome(
        &mut self,
        now: crate::time::Instant,
        path: usize,
        outcome: PathOutcome,
    ) {
        match outcome {
            PathOutcome::Validated(_) if self.paths[path].standing.stage == Stage::Validating => {
                self.on_path_open(now, path);
            }
            PathOutcome::Validated(addresses) => {
                self.events.push(Event::Migrated(addresses));
            }
            PathOutcome::Migrated(addresses) => {
                self.reset_recovery(now, path);
                self.tell_scheduler(now, path, News::Path(PathNews::Migrated));
                self.events.push(Event::Migrated(addresses));
            }
            PathOutcome::Failed(addresses) => {
                self.sync_mtu(path);
                self.events.push(Event::PathFailed(addresses));
            }
            PathOutcome::Dead if self.has_other_hope(path) => {
                // draft-ietf-quic-multipath-21 section 3.1: the path ID is used up either way.
                let code = TransportErrorCode::PATH_UNSTABLE_OR_POOR;
                self.abandon(now, path, code.0, false);
            }
            PathOutcome::Dead if self.paths[path].standing.stage == Stage::Validating => {
                // The others were abandoned: there is nothing to lose by asking on.
                let delay = self.peer_max_ack_delay();
                self.paths[path].validate_again(now, delay);
            }
            // RFC 9000 section 9.3.2: nobody to talk to; silence.
            PathOutcome::Dead => self.vanish(
                TransportError::new(
                    TransportErrorCode::NO_VIABLE_PATH,
                    "no address of the peer \
                    could be validated",
                )
                .into(),
            ),
        }
    }
}

/// Blames the frame that starts at `start`, by the type that stands there: STREAM and DATAGRAM have
/// several (RFC 9000 section 19.19).
fn blame(mut e: TransportError, payload: &[u8], start: usize) -> TransportError {
    // TLS alerts are about the handshake, not about the frame that carried its bytes.
    if e.code.tls_alert().is_none() {
        let ty = payload.get(start..).and_then(|frame| Reader::new(frame).varint().ok());
        e.frame = ty.or(e.frame);
    }
    e
}

fn frame_error(e: &FrameError) -> TransportError {
    TransportError::new(e.code(), e.to_string()).in_frame(e.ty)
}
