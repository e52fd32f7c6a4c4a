//! Deadlines: when the connection wants to be woken, and what it does then.

use core::time::Duration;

use tquic_wire::{Space, TransportErrorCode};

use crate::connection::{Connection, State, timers};
use crate::events::ConnectionError;
use crate::multipath::News;
use crate::path::{Path, Stage, amplification, mtu};
use crate::recovery::{TimeoutAction, TimerContext};
use crate::time::Instant;

/// A path that does not answer, beside others that do, is asked this often at least.
const PATH_PROBES: Duration = Duration::from_millis(500);

impl Connection {
    /// When `on_timeout` is to be called; `None` if nothing is waited for.
    pub fn timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Drained => return None,
            State::Draining { until } => return Some(*until),
            State::Closing(closing) => return Some(closing.until),
            State::Handshaking | State::Established => {}
        }
        let paths = (0..self.paths.len()).filter_map(|path| self.path_timeout(path));
        let keys = self.keys.one_rtt.as_ref().and_then(crate::keys::OneRttKeys::timeout);
        paths.chain(keys).chain(self.timers.next()).chain(self.reinjection_timeout()).min()
    }

    fn path_timeout(&self, path: usize) -> Option<Instant> {
        let p = &self.paths[path];
        let own = match p.standing.stage {
            Stage::Abandoned(until) => [until, None],
            _ => [p.recovery.timeout(&self.timer_context(path)), p.validation_timeout()],
        };
        let silence = self.silence_limit(path).filter(|_| p.standing.may_send());
        let acks = if self.acks_elsewhere(path) {
            p.acks[2].timeout().filter(|_| self.carries_acks())
        } else {
            p.ack_timeout()
        };
        own.into_iter().flatten().chain(acks).chain(silence).min()
    }

    /// Whether a path can take the acknowledgements of others: one that the anti-amplification limit
    /// holds back waits for the peer, not for time.
    fn carries_acks(&self) -> bool {
        let able = |p: &Path| p.active().ledger.allowance() >= amplification::LEAST;
        self.paths.iter().any(|p| p.standing.serves && able(p))
    }

    /// What is waited for, for a person who debugs.
    pub fn describe_timers(&self) -> String {
        let context = self.timer_context(0);
        let p = &self.paths[0];
        format!(
            "{:?} recovery {:?} validation {:?} acks {:?} keys {:?}",
            self.timers,
            p.recovery.timeout(&context),
            p.validation_timeout(),
            p.acks.each_ref().map(crate::space::AckTracker::timeout),
            self.keys.one_rtt.as_ref().and_then(crate::keys::OneRttKeys::timeout),
        )
    }

    /// The time has come: call when `timeout` is due, then `poll_transmit`.
    pub fn on_timeout(&mut self, now: Instant) {
        self.run_timers(now);
        self.observe(now);
    }

    fn run_timers(&mut self, now: Instant) {
        match &self.state {
            State::Drained => return,
            State::Draining { until }
            | State::Closing(crate::connection::Closing { until, .. }) => {
                if *until <= now {
                    self.become_drained();
                }
                return;
            }
            State::Handshaking | State::Established => {}
        }
        let due = |t: Option<Instant>| t.is_some_and(|t| t <= now);
        if due(self.timers.handshake) {
            // RFC 9000 section 10.1: nobody answers, so nobody is told.
            return self.vanish(ConnectionError::HandshakeTimeout);
        }
        if due(self.timers.idle) {
            return self.vanish(ConnectionError::IdleTimeout);
        }
        if due(self.timers.keep_alive) {
            self.timers.keep_alive = None;
            self.control.ping();
        }
        if due(self.timers.pacing) {
            self.timers.pacing = None;
        }
        if due(self.timers.zero_rtt_keys) {
            self.timers.zero_rtt_keys = None;
            self.keys.zero_rtt = None;
        }
        if let Some(keys) = &mut self.keys.one_rtt {
            keys.on_timeout(now);
        }
        // From the last on: abandoned ones leave the list.
        for path in (0..self.paths.len()).rev() {
            match self.paths[path].standing.stage {
                Stage::Abandoned(Some(until)) if until <= now => self.forget_path(now, path),
                Stage::Abandoned(_) => {}
                _ => self.on_path_timeout(now, path),
            }
        }
    }

    fn on_path_timeout(&mut self, now: Instant, path: usize) {
        if self.silence_limit(path).is_some_and(|limit| limit <= now) {
            let code = TransportErrorCode::PATH_UNSTABLE_OR_POOR;
            return self.abandon(now, path, code.0, false);
        }
        let delay = self.peer_max_ack_delay();
        if let Some(outcome) = self.paths[path].on_timeout(now, delay) {
            self.on_path_outcome(now, path, outcome);
            if !self.paths[path].standing.may_send() {
                return;
            }
        }
        let context = self.timer_context(path);
        let lost = self.paths[path].recovery.stats().lost_bytes;
        let (recovery, mut router) = self.recovery_and_router(now, path);
        match recovery.on_timeout(now, &context, &mut router) {
            TimeoutAction::Pto { space, probes } => {
                // RFC 9002 section 6.2.4: new data first, else what is in flight, else PING.
                recovery.probe_tokens(space, &mut router);
                let other = match space {
                    Space::Initial => Some(Space::Handshake),
                    Space::Handshake => Some(Space::Initial),
                    Space::Data => None,
                };
                if let Some(other) = other {
                    recovery.probe_tokens(other, &mut router);
                }
                self.paths[path].probes[super::space_index(space)] = probes as u8;
                self.probe_with(path, other, probes as u8);
                self.on_pto(now, path, space);
            }
            TimeoutAction::Loss => {
                self.sync_mtu(path);
                let lost = self.paths[path].recovery.stats().lost_bytes - lost;
                self.tell_scheduler(now, path, News::Lost(lost));
            }
            TimeoutAction::None => {}
        }
    }

    /// RFC 9002 section 6.2.4: probes carry what other levels of the handshake wait for, too. The
    /// peer may be unable to read the level that is probed without the other, whose packets were
    /// declared lost and find no room in a window full of unreadable ones.
    fn probe_with(&mut self, path: usize, other: Option<Space>, probes: u8) {
        let Some(other) = other else { return };
        let at = super::space_index(other);
        if self.handshake.send[at].has_pending() {
            self.paths[path].probes[at] = probes;
        }
    }

    fn on_pto(&mut self, now: Instant, path: usize, space: Space) {
        if space == Space::Data {
            self.on_silence(now, path);
        }
        // Large datagrams may be what does not pass any more (RFC 8899 section 4.3).
        if space == Space::Data && self.paths[path].recovery.pto_count() >= 3 {
            self.paths[path].active_mut().mtu.fall_back(now);
            self.sync_mtu(path);
        }
    }

    /// Whether the anti-amplification limit keeps a server from completing the handshake.
    pub(crate) fn is_blocked(&self) -> bool {
        self.timer_context(0).amplification_blocked
    }

    /// RFC 9002 appendix A.6: a probe timeout that the anti-amplification limit kept from expiring
    /// does so before the new allowance is spent on new data. What was lost may be what the client
    /// needs to read any of that.
    pub(crate) fn on_unblocked(&mut self, now: Instant) {
        if !self.is_blocked() {
            self.on_path_timeout(now, 0);
        }
    }

    pub(crate) fn timer_context(&self, path: usize) -> TimerContext {
        let server = !self.ids.side.is_client();
        TimerContext {
            handshake_confirmed: self.handshake.is_confirmed(),
            has_handshake_keys: self.keys.handshake.is_some(),
            peer_validated_address: server
                || self.handshake.peer_validated
                || self.handshake.is_confirmed(),
            // RFC 9002 section 6.2.2.1: a blocked server waits for the client's next datagram.
            amplification_blocked: server
                && self.paths[path].active().ledger.allowance() < u64::from(mtu::BASE),
            peer_max_ack_delay: self.peer_max_ack_delay(),
            ack_threshold: self.has_other_path(path).then(|| self.control.ack_threshold()),
            longest_backoff: if self.has_other_path(path) { PATH_PROBES } else { Duration::MAX },
        }
    }

    /// RFC 9000 section 10.1: restarted when a packet arrives, and when the first ack-eliciting one
    /// since is sent.
    pub(crate) fn restart_idle_on_receive(&mut self, now: Instant) {
        self.timers.sent_since_received = false;
        self.restart_idle(now);
        if let (Some(after), true) = (self.config.keep_alive, self.handshake.is_complete()) {
            self.timers.keep_alive = Some(now + after);
        }
    }

    pub(crate) fn restart_idle_on_send(&mut self, now: Instant) {
        if !self.timers.sent_since_received {
            self.timers.sent_since_received = true;
            self.restart_idle(now);
        }
    }

    pub(crate) fn restart_idle(&mut self, now: Instant) {
        self.timers.idle = self.idle_period().map(|p| now + p);
    }

    /// The idle timeout in force.
    pub(crate) fn idle_period(&self) -> Option<Duration> {
        let peer = if self.handshake.parameters_seen {
            Duration::from_millis(self.peer.max_idle_timeout)
        } else {
            Duration::ZERO
        };
        timers::effective_idle(self.config.max_idle_timeout, peer, self.pto())
    }
}
