//! Declaring packets lost (RFC 9002 sections 6.1, 7.4, 7.6).

use super::spurious::Lost;
use super::{BASE_DATAGRAM, LostPacket, Recovery, TokenSink, index};
use crate::cc::{Algorithm, LossEvent};
use crate::recovery::sent::Entry;
use crate::time::{Duration, Instant};
use tquic_wire::Space;

/// kPersistentCongestionThreshold of RFC 9002 section 7.6.1.
const PERSISTENT_CONGESTION_THRESHOLD: u32 = 3;

/// What one pass found.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Losses {
    pub packets: usize,
    pub bytes: u64,
    /// A packet above the base datagram size was among them.
    pub large: bool,
    pub persistent_congestion: bool,
}

/// What a pass needs to know.
#[derive(Clone, Copy, Debug)]
pub(super) struct LossPass {
    pub now: Instant,
    pub space: Space,
    /// Bytes in flight before the ACK frame or timeout.
    pub prior_in_flight: u64,
    pub peer_max_ack_delay: Duration,
}

impl Recovery {
    /// Takes lost packets of one space out and sets the timer for the next one.
    pub(super) fn detect_lost(&mut self, pass: &LossPass, sink: &mut impl TokenSink) -> Losses {
        let mut losses = Losses::default();
        let delay = self.thresholds.delay(&self.rtt);
        let s = &mut self.spaces[index(pass.space)];
        s.loss_time = None;
        let Some(largest_acked) = s.largest_acked else { return losses };
        loop {
            let s = &mut self.spaces[index(pass.space)];
            if s.sent.pop_acked() {
                // Section 7.6.2: a packet between the losses was acknowledged.
                s.lost_since = None;
                s.in_lost_run = false;
            }
            let Some(front) = s.sent.front() else { break };
            // Section 6.1: sent prior to an acknowledged packet, and either long enough before by
            // number or long enough ago. Both hold for all older packets too.
            let Some(distance) = largest_acked.checked_sub(front.pn) else { break };
            let due = front.packet.time_sent + delay;
            if distance < self.thresholds.packets() && due > pass.now {
                s.loss_time = Some(due);
                break;
            }
            let Some(entry) = s.sent.pop_front() else { break };
            sink.packet_lost(&LostPacket {
                space: pass.space,
                pn: entry.pn,
                reordered: distance >= self.thresholds.packets(),
                total: self.stats.lost_packets + losses.packets as u64 + 1,
                packet: &entry.packet,
            });
            for token in entry.packet.tokens.iter().filter(|t| entry.owes(t)) {
                sink.lost(pass.space, *token);
            }
            losses.packets += 1;
            losses.bytes += u64::from(entry.packet.size);
            losses.large |= entry.packet.size > BASE_DATAGRAM && !entry.packet.mtu_probe;
            losses.persistent_congestion |= self.on_lost(pass, &entry);
        }
        if losses.packets > 0 {
            self.stats.lost_packets += losses.packets as u64;
            self.stats.lost_bytes += losses.bytes;
            self.expire_lost(pass);
        }
        if losses.persistent_congestion {
            self.controller.on_persistent_congestion(pass.now);
            self.rtt.on_persistent_congestion();
            self.spaces[index(pass.space)].lost_since = None;
            self.stats.persistent_congestion += 1;
        }
        losses
    }

    /// Accounts for one lost packet; true if with it persistent congestion is established.
    fn on_lost(&mut self, pass: &LossPass, entry: &Entry) -> bool {
        let packet = &entry.packet;
        let size = u64::from(packet.size);
        let mut episode = 0;
        let mut persistent = false;
        if packet.in_flight {
            self.bytes_in_flight -= size;
        }
        // RFC 9000 section 14.4: a lost MTU probe is no reliable sign of congestion.
        if packet.in_flight && !packet.mtu_probe {
            self.sampler.on_lost(size);
            let in_run = &mut self.spaces[index(pass.space)].in_lost_run;
            let begins_run = !core::mem::replace(in_run, true);
            let begins = self.controller.on_packet_lost(&LossEvent {
                now: pass.now,
                time_sent: packet.time_sent,
                size,
                prior_in_flight: pass.prior_in_flight,
                snapshot: packet.snapshot,
                delivered: self.sampler.delivered(),
                lost: self.sampler.lost(),
                begins_run,
            });
            if begins {
                self.thresholds.on_episode(self.episode.had_spurious());
                self.episode.begin();
                self.stats.congestion_events += 1;
            }
            let start = self.controller.recovery_start();
            if start.is_some_and(|start| packet.time_sent <= start) {
                episode = self.episode.add();
            }
            self.lossy_round = Some(self.sampler.round());
            persistent = packet.ack_eliciting && self.extends_outage(pass, packet.time_sent);
        }
        let forgotten = self.spaces[index(pass.space)].lost.push(Lost {
            pn: entry.pn,
            time_sent: packet.time_sent,
            declared: pass.now,
            size: packet.size,
            episode,
        });
        if let Some(forgotten) = forgotten {
            self.episode.forget(&forgotten);
        }
        persistent
    }

    /// Whether losses without an acknowledgment between them reach far enough back from a packet
    /// sent at `time_sent` (RFC 9002 section 7.6).
    fn extends_outage(&mut self, pass: &LossPass, time_sent: Instant) -> bool {
        // Section 7.6.2: a prior RTT sample existed when the packets were sent.
        if self.rtt.first_sample().is_none_or(|first| time_sent < first) {
            return false;
        }
        let since = *self.spaces[index(pass.space)].lost_since.get_or_insert(time_sent);
        let duration = self.rtt.pto(pass.peer_max_ack_delay);
        time_sent - since > duration * PERSISTENT_CONGESTION_THRESHOLD
    }

    /// Forgets lost packets that will not turn up any more.
    fn expire_lost(&mut self, pass: &LossPass) {
        let patience = self.rtt.pto(pass.peer_max_ack_delay) * 3;
        let limit = pass.now.saturating_sub(patience);
        while let Some(lost) = self.spaces[index(pass.space)].lost.expire(limit) {
            self.episode.forget(&lost);
        }
    }
}
