//! Processing an ACK frame (RFC 9002 appendix A.7).

use super::loss::LossPass;
use super::spurious::Lost;
use super::{BASE_DATAGRAM, PnSpace, Recovery, TokenSink, index};
use crate::cc::{AckEvent, Algorithm, Ecn, RateSample};
use crate::error::TransportError;
use crate::recovery::SentPacket;
use crate::time::{Duration, Instant};
use tquic_wire::frame::ack::{Ack, EcnCounts};
use tquic_wire::{Side, Space};

/// What an ACK frame brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AckSummary {
    /// Packets newly acknowledged, of those that are kept.
    pub newly_acked: usize,
    /// The ack-eliciting ones among them.
    pub newly_acked_ack_eliciting: usize,
    /// Bytes in flight that they were.
    pub acked_bytes: u64,
    /// Those of packets whose content was handed out again before.
    pub repeated_bytes: u64,
    /// The largest of them.
    pub largest_newly_acked: Option<u64>,
    /// When that one was sent; what [`Recovery::on_ecn`] wants. Means nothing if there is none.
    pub largest_sent_at: Instant,
    /// Whether the frame raised the largest packet number acknowledged. Otherwise its ECN counts
    /// must not be judged (RFC 9000 section 13.4.2.1).
    pub raised_largest: bool,
    /// Newly acknowledged packets that were sent with ECT(0), and with ECT(1).
    pub newly_acked_ect: [u64; 2],
    /// Whether a packet of more than 1200 bytes that is no MTU probe was among the newly
    /// acknowledged ones; for black hole detection (RFC 8899 section 4.3).
    pub acked_large: bool,
    /// Whether one was among the lost ones.
    pub lost_large: bool,
    /// The ECN counts of the frame.
    pub ecn: Option<EcnCounts>,
    /// The RTT sample, before acknowledgment delay is taken off.
    pub rtt_sample: Option<Duration>,
    /// Packets declared lost.
    pub lost_packets: usize,
    /// Their bytes.
    pub lost_bytes: u64,
    /// Packets acknowledged that had been declared lost.
    pub spurious_losses: usize,
    /// Whether persistent congestion was established.
    pub persistent_congestion: bool,
    /// The delivery-rate sample.
    pub rate: RateSample,
}

/// The newest packet that a frame acknowledged.
#[derive(Clone, Copy)]
struct Newest {
    pn: u64,
    packet: Facts,
}

/// What is needed of it.
#[derive(Clone, Copy)]
struct Facts {
    time_sent: Instant,
    in_flight: bool,
    snapshot: crate::cc::DeliverySnapshot,
}

/// Sums over the packets that a frame acknowledged.
#[derive(Default)]
struct Walk {
    summary: AckSummary,
    /// Bytes of packets sent after the start of the last recovery period.
    after_recovery: u64,
    newest: Option<Newest>,
}

impl Walk {
    /// One packet was acknowledged. This runs per packet: sums only.
    fn count(&mut self, packet: &SentPacket, probed: bool, recovery_start: Option<Instant>) {
        self.summary.newly_acked += 1;
        self.summary.newly_acked_ack_eliciting += usize::from(packet.ack_eliciting);
        match packet.ecn {
            Some(Ecn::Ect0) => self.summary.newly_acked_ect[0] += 1,
            Some(Ecn::Ect1) => self.summary.newly_acked_ect[1] += 1,
            _ => {}
        }
        self.summary.acked_large |= packet.size > BASE_DATAGRAM && !packet.mtu_probe;
        if packet.in_flight {
            let size = u64::from(packet.size);
            self.summary.acked_bytes += size;
            self.summary.repeated_bytes += if probed { size } else { 0 };
            if recovery_start.is_none_or(|start| packet.time_sent > start) {
                self.after_recovery += size;
            }
        }
    }
}

impl PnSpace {
    /// ACK ranges below this number name nothing that is still known.
    fn oldest_known(&self) -> u64 {
        let known = [self.sent.first_pn(), self.lost.first_pn(), self.skips.oldest()];
        known.into_iter().flatten().min().unwrap_or(self.next_pn)
    }
}

impl Recovery {
    /// Processes an ACK frame for `space`. `ack_delay` is the frame's delay in real time, limited
    /// by `peer_max_ack_delay` once the handshake is confirmed, zero for Initial packets (RFC 9002
    /// section 5.3).
    ///
    /// Fails with PROTOCOL_VIOLATION if the frame acknowledges a packet that was never sent.
    pub fn on_ack<S: TokenSink>(
        &mut self,
        now: Instant,
        space: Space,
        ack: &Ack<'_>,
        ack_delay: Duration,
        peer_max_ack_delay: Duration,
        sink: &mut S,
    ) -> Result<AckSummary, TransportError> {
        let s = &self.spaces[index(space)];
        if s.discarded {
            return Ok(AckSummary::default());
        }
        // RFC 9000 section 13.1: an acknowledgment of a packet that was not sent SHOULD be treated
        // as a connection error of type PROTOCOL_VIOLATION, if detected.
        if ack.largest >= s.next_pn {
            return Err(TransportError::violation("the peer acknowledged a packet never sent"));
        }
        self.check_app_limited(now);
        let prior_in_flight = self.bytes_in_flight;
        let mut walk = self.walk(now, space, ack, sink)?;
        self.bytes_in_flight -= walk.summary.acked_bytes;
        self.sampler.on_delivered(walk.summary.acked_bytes);

        let s = &mut self.spaces[index(space)];
        walk.summary.ecn = ack.ecn;
        walk.summary.raised_largest = s.largest_acked.is_none_or(|largest| ack.largest > largest);
        s.largest_acked = s.largest_acked.max(Some(ack.largest));
        self.sample_rtt(now, ack, ack_delay, &mut walk);

        let pass = LossPass { now, space, prior_in_flight, peer_max_ack_delay };
        let losses = self.detect_lost(&pass, sink);
        walk.summary.lost_packets = losses.packets;
        walk.summary.lost_bytes = losses.bytes;
        walk.summary.lost_large = losses.large;
        walk.summary.persistent_congestion = losses.persistent_congestion;

        if walk.summary.newly_acked > 0 {
            self.grow(&pass, &mut walk);
            self.idle_since = now;
            // RFC 9002 section 6.2.1: a client does not reset the backoff on acknowledgments of
            // Initial packets, because the server may not have validated its address yet.
            if space != Space::Initial || self.config.side == Side::Server {
                self.pto_count = 0;
            }
        }
        Ok(walk.summary)
    }

    /// Marks what the frame acknowledges.
    fn walk<S: TokenSink>(
        &mut self,
        now: Instant,
        space: Space,
        ack: &Ack<'_>,
        sink: &mut S,
    ) -> Result<Walk, TransportError> {
        let recovery_start = self.controller.recovery_start();
        let s = &mut self.spaces[index(space)];
        let oldest = s.oldest_known();
        let mut walk = Walk::default();
        let mut returned = Returned::default();
        for range in ack.ranges() {
            let (first, last) = range.into_inner();
            if last < oldest {
                break;
            }
            if s.skips.any_in(first, last) {
                // RFC 9000 section 21.4.
                return Err(TransportError::violation("the peer acknowledged a skipped packet"));
            }
            let newest = s.sent.ack_range(first, last, |pn, packet, probed| {
                sink.packet_acked(space, pn);
                walk.count(packet, probed, recovery_start);
                packet.tokens.drain(..).for_each(|token| sink.acked(space, token));
            });
            // Ranges descend: the first hit is the newest packet of all.
            if let (None, Some(entry)) = (walk.newest, newest.and_then(|i| s.sent.get(i))) {
                let SentPacket { time_sent, in_flight, snapshot, .. } = entry.packet;
                let packet = Facts { time_sent, in_flight, snapshot };
                walk.newest = Some(Newest { pn: entry.pn, packet });
            }
            s.lost.ack_range(first, last, |lost| {
                returned.add(&lost, self.episode.returned(&lost));
            });
        }
        if returned.packets > 0 {
            s.lost_since = None;
            walk.summary.spurious_losses = returned.packets;
            self.on_returned(now, ack, &returned);
        }
        if let Some(newest) = walk.newest {
            walk.summary.largest_newly_acked = Some(newest.pn);
            walk.summary.largest_sent_at = newest.packet.time_sent;
        }
        Ok(walk)
    }

    /// Packets declared lost were acknowledged after all.
    fn on_returned(&mut self, now: Instant, ack: &Ack<'_>, returned: &Returned) {
        self.stats.spurious_losses += returned.packets as u64;
        self.sampler.on_delivered(returned.bytes);
        let distance = ack.largest - returned.smallest.min(ack.largest);
        self.thresholds.on_spurious(distance, now - returned.oldest_sent, &self.rtt);
        if returned.undo && self.controller.undo() {
            self.lossy_round = None;
            self.stats.undone_events += 1;
        }
    }

    fn sample_rtt(&mut self, now: Instant, ack: &Ack<'_>, ack_delay: Duration, walk: &mut Walk) {
        let Some(newest) = walk.newest else { return };
        // RFC 9002 section 5.1: only if the largest acknowledged packet is newly acknowledged and
        // at least one of those is ack-eliciting. Packets of an old path do not count.
        let eliciting = walk.summary.newly_acked_ack_eliciting > 0;
        if newest.pn == ack.largest && eliciting && newest.packet.in_flight {
            let sample = now - newest.packet.time_sent;
            self.rtt.update(now, sample, ack_delay);
            walk.summary.rtt_sample = Some(sample);
        }
    }

    /// Tells the controller.
    fn grow(&mut self, pass: &LossPass, walk: &mut Walk) {
        let Some(Newest { packet, .. }) = walk.newest.filter(|n| n.packet.in_flight) else {
            return;
        };
        let min_rtt = self.rtt.min();
        let rate = self.sampler.on_ack(pass.now, &packet.snapshot, packet.time_sent, min_rtt);
        walk.summary.rate = rate;
        if !rate.app_limited {
            self.delivery_rate = rate.delivery_rate.or(self.delivery_rate);
        }
        self.controller.on_ack(&AckEvent {
            now: pass.now,
            acked_bytes: walk.summary.acked_bytes,
            acked_after_recovery: walk.after_recovery_given(self.controller.recovery_start()),
            lost_bytes: walk.summary.lost_bytes,
            prior_in_flight: pass.prior_in_flight,
            in_flight: self.bytes_in_flight,
            rtt: &self.rtt,
            rtt_sample: walk.summary.rtt_sample,
            rate: &rate,
        });
        if self.controller.holds_back() {
            self.sampler.set_app_limited(self.bytes_in_flight);
        }
    }
}

impl Walk {
    /// The bytes that count for growth after losses were processed: a recovery period that this
    /// frame began started after everything it acknowledged was sent.
    fn after_recovery_given(&self, recovery_start: Option<Instant>) -> u64 {
        let covered = |n: Newest| recovery_start.is_some_and(|start| n.packet.time_sent <= start);
        if self.newest.is_none_or(covered) { 0 } else { self.after_recovery }
    }
}

/// Packets that one frame acknowledged after they had been declared lost.
#[derive(Default)]
struct Returned {
    packets: usize,
    bytes: u64,
    smallest: u64,
    oldest_sent: Instant,
    undo: bool,
}

impl Returned {
    fn add(&mut self, lost: &Lost, undo: bool) {
        if self.packets == 0 || lost.pn < self.smallest {
            self.smallest = lost.pn;
            self.oldest_sent = lost.time_sent;
        }
        self.packets += 1;
        self.bytes += u64::from(lost.size);
        self.undo |= undo;
    }
}
