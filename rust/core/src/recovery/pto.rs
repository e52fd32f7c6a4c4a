//! Timers: time-threshold losses and probe timeouts (RFC 9002 sections 6.1.2, 6.2).

use super::loss::LossPass;
use super::sent::is_resendable;
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
    /// move on to younger packets. Returns the number of tokens; with none, and nothing new to
    /// send, the probe is a PING.
    pub fn probe_tokens(&mut self, space: Space, sink: &mut impl TokenSink) -> usize {
        self.hand_out(space, PROBES, sink)
    }

    /// Hands out what all of them carried: another path takes it over.
    pub fn hand_over(&mut self, space: Space, sink: &mut impl TokenSink) -> usize {
        self.hand_out(space, usize::MAX, sink)
    }

    /// Hands out what the oldest `packets` of them carried.
    pub fn hand_over_some(
        &mut self,
        space: Space,
        packets: usize,
        sink: &mut impl TokenSink,
    ) -> usize {
        self.hand_out(space, packets, sink)
    }

    /// When the newest ack-eliciting packet of `space` was sent, if any is outstanding.
    pub fn newest_outstanding(&self, space: Space) -> Option<Instant> {
        let s = &self.spaces[index(space)];
        (s.sent.ack_eliciting() > 0).then_some(s.last_ack_eliciting)
    }

    fn hand_out(&mut self, space: Space, packets: usize, sink: &mut impl TokenSink) -> usize {
        let mut tokens = 0;
        let entries = self.spaces[index(space)].sent.outstanding();
        let useful = entries.filter(|e| {
            e.packet.ack_eliciting && !e.probed && e.packet.tokens.iter().any(is_resendable)
        });
        for entry in useful.take(packets) {
            entry.probed = true;
            for token in entry.packet.tokens.iter().filter(|t| is_resendable(t)) {
                sink.probe(space, *token);
                tokens += 1;
            }
        }
        tokens
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
            let period = self.pto_period(space, ctx.peer_max_ack_delay);
            let longer = backoff.and_then(|factor| period.checked_mul(factor));
            longer.unwrap_or(Duration::MAX).min(ctx.longest_backoff).max(period)
        };
        let armed = SPACES.iter().filter(|space| {
            // Section 6.2.1: not for application data before the handshake is confirmed.
            let allowed = **space != Space::Data || ctx.handshake_confirmed;
            allowed && self.has_ack_eliciting_in_flight(**space)
        });
        let times = armed
            .map(|space| (self.spaces[index(*space)].last_ack_eliciting + period(*space), *space));
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
}
