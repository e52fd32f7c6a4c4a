//! Timers: time-threshold losses and probe timeouts (RFC 9002 sections 6.1.2, 6.2).

use super::loss::LossPass;
use super::{Recovery, SPACES, TokenSink, index};
use crate::time::{Duration, Instant};
use tquic_wire::{Side, Space};

/// Datagrams per probe timeout (RFC 9002 section 6.2.4); the window does not hold them up
/// (section 7.5).
const PROBES: usize = 2;

/// What the timers need to know about the connection.
#[derive(Clone, Copy, Debug)]
pub struct TimerContext {
    /// The handshake is confirmed (RFC 9001 section 4.1.2).
    pub handshake_confirmed: bool,
    /// Handshake keys are there and not discarded.
    pub has_handshake_keys: bool,
    /// The peer has validated this end's address; always true for servers (RFC 9002 appendix A.8).
    pub peer_validated_address: bool,
    /// Nothing can be sent before more arrives (RFC 9000 section 8.1).
    pub amplification_blocked: bool,
    /// The peer's max_ack_delay.
    pub peer_max_ack_delay: Duration,
    /// Beside other paths: packets that the peer leaves unacknowledged at most, before the time of
    /// `peer_max_ack_delay` is over.
    pub ack_threshold: Option<u64>,
    /// How far backoff goes. A path beside others is probed often enough to be used again soon.
    pub longest_backoff: Duration,
}

/// What a timeout asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeoutAction {
    /// Nothing was due.
    None,
    /// Packets were declared lost.
    Loss,
    /// Send up to `probes` ack-eliciting datagrams in `space`, whatever the window says. See
    /// [`Recovery::probe_tokens`].
    Pto {
        /// The packet-number space to probe.
        space: Space,
        /// Datagrams to send.
        probes: usize,
    },
}

impl Recovery {
    /// When [`Self::on_timeout`] is to be called.
    pub fn timeout(&self, ctx: &TimerContext) -> Option<Instant> {
        // RFC 9002 section 6.2.1: no PTO timer while one for time-threshold losses is set.
        match self.loss_timer() {
            Some((at, _)) => Some(at),
            None => self.pto_timer(ctx).map(|(at, _)| at),
        }
    }

    /// Does what is due at `now`.
    pub fn on_timeout(
        &mut self,
        now: Instant,
        ctx: &TimerContext,
        sink: &mut impl TokenSink,
    ) -> TimeoutAction {
        if let Some((at, space)) = self.loss_timer() {
            if at > now {
                return TimeoutAction::None;
            }
            let prior_in_flight = self.bytes_in_flight;
            let peer_max_ack_delay = ctx.peer_max_ack_delay;
            self.detect_lost(&LossPass { now, space, prior_in_flight, peer_max_ack_delay }, sink);
            return TimeoutAction::Loss;
        }
        match self.pto_timer(ctx) {
            Some((at, space)) if at <= now => {
                self.pto_count += 1;
                self.stats.ptos += 1;
                self.idle_since = now;
                let probes = if self.has_ack_eliciting_in_flight(space) { PROBES } else { 1 };
                TimeoutAction::Pto { space, probes }
            }
            _ => TimeoutAction::None,
        }
    }

    /// Hands out again what the two oldest unacknowledged ack-eliciting packets of `space` carried,
    /// through [`TokenSink::probe`]. They stay in flight (RFC 9002 section 6.2). Repeated timeouts
    /// move on to younger packets. Returns the number of packets; with none, and nothing new to
    /// send, the probe is a PING.
    pub fn probe_tokens(&mut self, space: Space, sink: &mut impl TokenSink) -> usize {
        self.hand_out(space, PROBES, |_| true, sink)
    }

    /// Hands out what all of them carried: another path takes it over.
    pub fn hand_over(&mut self, space: Space, sink: &mut impl TokenSink) -> usize {
        self.hand_out(space, usize::MAX, |_| true, sink)
    }

    /// Hands out what the oldest `packets` of them carried.
    pub fn hand_over_some(
        &mut self,
        space: Space,
        packets: usize,
        sink: &mut impl TokenSink,
    ) -> usize {
        self.hand_out(space, packets, |_| true, sink)
    }

    /// The same of application data, as far as it was sent at times that are `late`.
    pub fn hand_over_late(
        &mut self,
        late: impl Fn(Instant) -> bool,
        packets: usize,
        sink: &mut impl TokenSink,
    ) -> usize {
        self.hand_out(Space::Data, packets, late, sink)
    }

    /// When the newest ack-eliciting packet of `space` was sent, if any is outstanding.
    pub fn newest_outstanding(&self, space: Space) -> Option<Instant> {
        let s = &self.spaces[index(space)];
        (s.sent.ack_eliciting() > 0).then_some(s.last_ack_eliciting)
    }

    /// When the oldest packet of `space` was sent whose content was not handed out yet.
    pub fn oldest_not_handed_over(&self, space: Space) -> Option<Instant> {
        let s = &self.spaces[index(space)];
        s.sent.outstanding_from(s.handed_out).find(|e| e.is_useful()).map(|e| e.packet.time_sent)
    }

    fn hand_out(
        &mut self,
        space: Space,
        packets: usize,
        due: impl Fn(Instant) -> bool,
        sink: &mut impl TokenSink,
    ) -> usize {
        let s = &mut self.spaces[index(space)];
        let mut taken = 0;
        for entry in s.sent.outstanding_from_mut(s.handed_out) {
            if taken == packets || !due(entry.packet.time_sent) {
                break;
            }
            // What is passed over here stays useless: the next walk begins behind it.
            s.handed_out = entry.pn + 1;
            if entry.is_useful() {
                entry.probed = true;
                taken += 1;
                entry.resendable().for_each(|token| sink.probe(space, *token));
            }
        }
        taken
    }

    /// Hands out what the oldest packets of application data carried that this was not done for
    /// before, up to `packets` of them and all from the same round: the first are packets that repeat
    /// nothing, those after them were sent by way of this in the round before; there are `rounds` at
    /// most. They stay in flight and are sent again if they are lost. Returns the number of packets
    /// and their round.
    pub fn repeat(
        &mut self,
        rounds: u8,
        packets: usize,
        sink: &mut impl TokenSink,
    ) -> Option<(usize, u8)> {
        let s = &mut self.spaces[index(Space::Data)];
        let (mut taken, mut round) = (0, None);
        for entry in s.sent.outstanding_from_mut(s.repeated) {
            let mine = entry.packet.repeats;
            let useful = entry.is_useful() && mine < rounds;
            if taken == packets || (useful && round.is_some_and(|round| round != mine)) {
                break;
            }
            s.repeated = entry.pn + 1;
            if useful {
                round = Some(mine);
                taken += 1;
                entry.resendable().for_each(|token| sink.probe(Space::Data, *token));
            }
        }
        round.map(|round| (taken, round))
    }

    /// The probe timeout of `space` without backoff.
    pub fn pto_period(&self, space: Space, peer_max_ack_delay: Duration) -> Duration {
        // RFC 9002 section 6.2.1: max_ack_delay counts for application data only.
        match space {
            Space::Data => self.rtt.pto(peer_max_ack_delay),
            Space::Initial | Space::Handshake => self.rtt.pto(Duration::ZERO),
        }
    }

    fn loss_timer(&self) -> Option<(Instant, Space)> {
        let times = SPACES.iter().filter_map(|space| {
            let at = self.spaces[index(*space)].loss_time?;
            Some((at, *space))
        });
        times.min_by_key(|(at, _)| *at)
    }

    fn pto_timer(&self, ctx: &TimerContext) -> Option<(Instant, Space)> {
        // Section 6.2.2.1: a server that may not send MUST NOT arm the timer.
        if ctx.amplification_blocked {
            return None;
        }
        // Doubling ends in "never", decades away; the idle timeout ends the connection before.
        let period = |space| {
            let backoff = 1u32.checked_shl(self.pto_count);
            let delay = match self.is_ack_coming(space, ctx) {
                true => Duration::ZERO,
                false => ctx.peer_max_ack_delay,
            };
            let period = self.pto_period(space, delay);
            let longer = backoff.and_then(|factor| period.checked_mul(factor));
            longer.unwrap_or(Duration::MAX).min(ctx.longest_backoff).max(period)
        };
        let armed = SPACES.iter().filter(|space| {
            // Section 6.2.1: not for application data before the handshake is confirmed.
            let allowed = **space != Space::Data || ctx.handshake_confirmed;
            allowed && self.has_ack_eliciting_in_flight(**space)
        });
        let times = armed.map(|space| (self.awaited_since(*space, ctx) + period(*space), *space));
        times.min_by_key(|(at, _)| *at).or_else(|| {
            // Section 6.2.2.1: the server may wait for datagrams before it can send more. A client
            // probes until it knows that the server has validated its address.
            if ctx.peer_validated_address || self.config.side == Side::Server {
                return None;
            }
            let space = if ctx.has_handshake_keys { Space::Handshake } else { Space::Initial };
            Some((self.idle_since + period(space), space))
        })
    }

    /// draft-ietf-quic-ack-frequency-12, "Computation of Probe Timeout Period": with more packets in
    /// flight than its threshold the peer does not wait.
    fn is_ack_coming(&self, space: Space, ctx: &TimerContext) -> bool {
        let outstanding = self.ack_eliciting_in_flight(space) as u64;
        space == Space::Data && ctx.ack_threshold.is_some_and(|most| outstanding > most)
    }

    /// When the packet left whose acknowledgement is waited for: the newest. Beside other paths, where
    /// waiting costs more than a probe, one that the peer has acknowledged even if one ACK frame was
    /// lost: that which exceeds its threshold for the second time.
    fn awaited_since(&self, space: Space, ctx: &TimerContext) -> Instant {
        let s = &self.spaces[index(space)];
        let most = ctx.ack_threshold.filter(|_| self.pto_count == 0 && space == Space::Data);
        let second = most.and_then(|most| usize::try_from(2 * (most + 1)).ok());
        let packet = second.and_then(|at| s.sent.get(at));
        packet.map_or(s.last_ack_eliciting, |entry| entry.packet.time_sent)
    }
}
