//! Acknowledgements: what they say goes to recovery, what was acknowledged or lost to its owner.

use core::time::Duration;

use tquic_wire::frame::Ack;
use tquic_wire::{Side, Space};

use crate::cid::{LocalCids, RemoteCids};
use crate::connection::{Connection, Control, space_index};
use crate::datagram::Datagrams;
use crate::error::TransportError;
use crate::events::Event;
use crate::handshake::CryptoSend;
use crate::multipath::{Located, Multipath};
use crate::path::{Ecn, Mtu, Path, Standing, ecn::EcnDelta};
use crate::recovery::{LostPacket, Token, TokenSink};
use crate::rx::Opened;
use crate::space::AckTracker;
use crate::stream::StreamSet;
use crate::time::Instant;
use crate::trace::{self, LossTrigger, Mask, Trace};

/// Gives each token back to its owner.
pub(crate) struct Router<'a> {
    now: Instant,
    streams: &'a mut StreamSet,
    datagrams: &'a mut Datagrams,
    control: &'a mut Control,
    crypto: &'a mut [CryptoSend; 3],
    path: u32,
    acks: &'a mut [AckTracker; 3],
    local_cids: &'a mut LocalCids,
    remote_cids: &'a mut RemoteCids,
    standing: &'a mut Standing,
    mtu: &'a mut Mtu,
    trace: &'a mut Trace,
    /// Packets acknowledged, if somebody wants to know.
    acked: Vec<u64>,
    /// The paths before and behind this one: any packet may carry frames about any path.
    others: [&'a mut [Path]; 2],
    multipath: Option<&'a mut Multipath>,
}

impl Router<'_> {
    fn other(&mut self, id: u32) -> Option<&mut Path> {
        self.others.iter_mut().flat_map(|paths| paths.iter_mut()).find(|p| p.id == id)
    }

    fn acks(&mut self, id: u32) -> Option<&mut [AckTracker; 3]> {
        if id == self.path { Some(self.acks) } else { self.other(id).map(|p| &mut p.acks) }
    }

    fn standing(&mut self, id: u32) -> Option<&mut Standing> {
        if id == self.path { Some(self.standing) } else { self.other(id).map(|p| &mut p.standing) }
    }

    fn cids(&mut self, id: u32) -> Option<(&mut LocalCids, &mut RemoteCids)> {
        if id == self.path {
            return Some((self.local_cids, self.remote_cids));
        }
        // Asked twice: a borrow that is returned from one branch lasts through the other.
        if self.other(id).is_some() {
            return self.other(id).map(|p| (&mut p.local_cids, &mut p.remote_cids));
        }
        let spare = self.multipath.as_mut()?.find_spare(id)?;
        Some((&mut spare.local, &mut spare.remote))
    }
}

impl TokenSink for Router<'_> {
    #[inline]
    fn acked(&mut self, space: Space, token: Token) {
        match token {
            Token::Stream { .. }
            | Token::ResetStream(_)
            | Token::ResetStreamAt { .. }
            | Token::StopSending(_)
            | Token::MaxData
            | Token::MaxStreamData(_)
            | Token::MaxStreams(_)
            | Token::DataBlocked
            | Token::StreamDataBlocked(_)
            | Token::StreamsBlocked(_) => self.streams.on_acked(token),
            Token::Ack { path, largest } => {
                if let Some(acks) = self.acks(path) {
                    acks[space_index(space)].on_ack_acked(largest);
                }
            }
            Token::Crypto { .. } | Token::NewConnectionId { .. } | Token::PathStatus { .. } => {}
            Token::RetireConnectionId { path, .. } => {
                if let Some((_, remote)) = self.cids(path) {
                    remote.on_acked();
                }
            }
            Token::NewToken | Token::HandshakeDone | Token::AckFrequency => {
                self.control.on_acked(token);
            }
            Token::Datagram => self.datagrams.on_acked(),
            Token::Ping { sequence, at } => self.control.echo.on_acked(self.now, sequence, at),
            Token::MtuProbe(size) => {
                self.mtu.on_probe_acked(self.now, size);
            }
            Token::PathAbandon(_)
            | Token::PathCidsBlocked(_)
            | Token::MaxPathId
            | Token::PathsBlocked => {
                if let Some(multipath) = &mut self.multipath {
                    multipath.on_acked(token);
                }
            }
        }
    }

    #[inline]
    fn packet_acked(&mut self, _: Space, pn: u64) {
        if self.trace.wants(Mask::PACKETS_ACKED) {
            self.acked.push(pn);
        }
    }

    fn packet_lost(&mut self, lost: &LostPacket<'_>) {
        if self.trace.wants(Mask::PACKET_LOST | Mask::MARKED_FOR_RETRANSMIT) {
            self.tell_lost(lost);
        }
    }

    fn lost(&mut self, space: Space, token: Token) {
        match token {
            Token::Stream { .. }
            | Token::ResetStream(_)
            | Token::ResetStreamAt { .. }
            | Token::StopSending(_)
            | Token::MaxData
            | Token::MaxStreamData(_)
            | Token::MaxStreams(_)
            | Token::DataBlocked
            | Token::StreamDataBlocked(_)
            | Token::StreamsBlocked(_) => self.streams.on_lost(token),
            Token::Crypto { offset, len } => self.crypto[space_index(space)].on_lost(offset, len),
            Token::NewConnectionId { path, sequence } => {
                if let Some((local, _)) = self.cids(path) {
                    local.on_lost(sequence);
                }
            }
            Token::RetireConnectionId { path, sequence } => {
                if let Some((_, remote)) = self.cids(path) {
                    remote.on_lost(sequence);
                }
            }
            Token::NewToken | Token::HandshakeDone | Token::AckFrequency => {
                self.control.on_lost(token);
            }
            Token::Datagram => self.datagrams.on_lost(),
            Token::Ping { sequence, .. } => self.control.echo.on_lost(sequence),
            Token::MtuProbe(size) => self.mtu.on_probe_lost(self.now, size),
            Token::Ack { .. } => {}
            Token::PathStatus { path, sequence } => {
                if let Some(standing) = self.standing(path) {
                    standing.on_lost(sequence);
                }
            }
            Token::PathAbandon(_)
            | Token::PathCidsBlocked(_)
            | Token::MaxPathId
            | Token::PathsBlocked => {
                if let Some(multipath) = &mut self.multipath {
                    multipath.on_lost(token);
                }
            }
        }
    }
}

impl Router<'_> {
    #[cold]
    fn tell_lost(&mut self, lost: &LostPacket<'_>) {
        let &LostPacket { space, pn, reordered, total: total_lost, packet } = lost;
        let trigger =
            if reordered { LossTrigger::ReorderingThreshold } else { LossTrigger::TimeThreshold };
        let (path, size, mtu_probe) = (self.path, packet.size, packet.mtu_probe);
        let event =
            trace::Event::PacketLost { space, pn, size, path, trigger, mtu_probe, total_lost };
        self.trace.tell(self.now, &event);
        let tokens = packet.tokens.as_slice();
        if !tokens.is_empty() && self.trace.wants(Mask::MARKED_FOR_RETRANSMIT) {
            self.trace.tell(self.now, &trace::Event::MarkedForRetransmit { space, tokens });
        }
    }
}

impl Connection {
    /// The recovery of a path, and the router to whom its tokens go.
    pub(crate) fn recovery_and_router(
        &mut self,
        now: Instant,
        path: usize,
    ) -> (&mut crate::recovery::Recovery, Router<'_>) {
        let (before, rest) = self.paths.split_at_mut(path);
        let (own, behind) = rest.split_at_mut(1);
        let id = own[0].id;
        let parts = own[0].parts();
        let router = Router {
            now,
            path: id,
            others: [before, behind],
            multipath: self.multipath.as_deref_mut(),
            standing: parts.standing,
            streams: &mut self.streams,
            datagrams: &mut self.datagrams,
            control: &mut self.control,
            crypto: &mut self.handshake.send,
            acks: parts.acks,
            local_cids: parts.local_cids,
            remote_cids: parts.remote_cids,
            mtu: &mut parts.active.mtu,
            trace: &mut self.events.trace,
            acked: Vec::new(),
        };
        (parts.recovery, router)
    }

    pub(crate) fn on_ack(
        &mut self,
        now: Instant,
        opened: &Opened,
        ack: &Ack<'_>,
    ) -> Result<(), TransportError> {
        let space = opened.space;
        let Some(path) = self.acknowledged_path(opened, ack)? else { return Ok(()) };
        let delay = self.ack_delay(space, ack.delay);
        let peer_max = self.peer_max_ack_delay();
        self.couple(path);
        let silent = self.is_silent(path);
        let (recovery, mut router) = self.recovery_and_router(now, path);
        let summary = recovery.on_ack(now, space, ack, delay, peer_max, &mut router)?;
        if !router.acked.is_empty() {
            let numbers = router.acked.as_slice();
            router.trace.tell(now, &trace::Event::PacketsAcked { space, numbers });
        }
        if summary.newly_acked == 0 {
            return Ok(());
        }
        if let Some((pings, rtt)) = self.control.echo.take_answer() {
            self.events.push(Event::PingAcked { pings, rtt });
        }
        let parts = self.paths[path].parts();
        if summary.raised_largest {
            // RFC 9000 section 13.4.2.1: counts of reordered ACK frames say nothing.
            let marked = summary.newly_acked_ect;
            let delta = parts.active.ecn.on_ack(space_index(space), marked, ack.ecn);
            // Prague's average is of application data: a handshake's few packets would weigh as much
            // as a round trip.
            let counts = space == Space::Data || parts.recovery.ect() == Ecn::Ect0;
            if let Some(EcnDelta { ect, ce }) = delta.filter(|_| counts) {
                parts.recovery.on_ecn(now, summary.largest_sent_at, ect, ce);
            }
        }
        if summary.acked_large {
            parts.active.mtu.on_acked();
        } else if summary.lost_large {
            parts.active.mtu.on_losses(now);
        }
        for _ in 0..summary.lost_packets {
            parts.active.ecn.on_lost();
        }
        if !parts.active.ecn.is_usable() {
            parts.recovery.on_ecn_unusable();
        }
        self.sync_mtu(path);
        self.on_progress(now, space, (self.paths[path].id, ack.largest));
        if self.multipath.is_some() {
            self.on_sign_of_life(path, &summary);
            let back = silent && !self.is_silent(path);
            self.tell_scheduler_of_ack(now, path, &summary, back);
        }
        self.observe(now);
        Ok(())
    }

    /// The path whose packets an ACK or PATH_ACK frame is about; `None` if it is gone.
    fn acknowledged_path(
        &self,
        opened: &Opened,
        ack: &Ack<'_>,
    ) -> Result<Option<usize>, TransportError> {
        // draft-ietf-quic-multipath-21 section 2.3: ACK frames are about path 0.
        let id = match ack.path {
            None if self.multipath.is_none() => return Ok(Some(opened.path)),
            None => 0,
            Some(id) => id,
        };
        match self.locate(id)? {
            Located::Path(path) => Ok(Some(path)),
            Located::Closed => Ok(None),
            Located::Spare(_) => {
                Err(TransportError::violation("acknowledges packets of a path that is not open"))
            }
        }
    }

    /// RFC 9002 section 5.3: delays of Initial packets are ignored, others are clamped once the
    /// handshake is confirmed.
    fn ack_delay(&self, space: Space, raw: u64) -> Duration {
        if space != Space::Data {
            return Duration::ZERO;
        }
        let exponent = u32::try_from(self.peer.ack_delay_exponent).unwrap_or(20).min(20);
        let delay = Duration::from_micros(raw.saturating_mul(1 << exponent));
        if self.handshake.is_confirmed() { delay.min(self.peer_max_ack_delay()) } else { delay }
    }

    /// draft-ietf-quic-ack-frequency section 4: about four acknowledgements per round trip are enough,
    /// and more than 32 packets apart they would make the sender bursty.
    fn ask_for_fewer_acks(&mut self) {
        const MOST: u64 = 32;
        let Some(min_delay) = self.peer.min_ack_delay else { return };
        if !self.config.ack_frequency || !self.handshake.is_confirmed() {
            return;
        }
        let recovery = &self.paths[0].recovery;
        let packets = recovery.usual_flight() / u64::from(self.paths[0].active().mtu.current());
        let threshold = (packets / 4).clamp(2, MOST) - 1;
        let most = self.peer_max_ack_delay();
        let least = Duration::from_micros(min_delay).min(most);
        let delay = (recovery.rtt().smoothed() / 4).clamp(least, most);
        // Whole milliseconds: a request for every wobble of the RTT would be noise.
        let delay = Duration::from_millis(delay.as_millis() as u64).clamp(least, most);
        self.control.request_acks(threshold, delay, recovery.packet_threshold());
    }

    fn on_progress(&mut self, now: Instant, space: Space, largest: (u32, u64)) {
        match space {
            Space::Handshake if self.ids.side == Side::Client => {
                // RFC 9002 section 6.2.2.1: the server has proof of our address.
                self.handshake.peer_validated = true;
            }
            Space::Data => {
                let pto = self.pto();
                if let Some(keys) = &mut self.keys.one_rtt {
                    keys.on_acked(now, largest, pto);
                }
                self.streams.on_rtt(self.longest_rtt());
                self.ask_for_fewer_acks();
            }
            _ => {}
        }
    }
}
