//! Deadlines that belong to the connection as a whole. Those of a part live in the part.

use core::time::Duration;

use crate::time::Instant;

/// Deadlines; `None` is not set.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timers {
    /// The peer has been silent too long (RFC 9000 section 10.1).
    pub idle: Option<Instant>,
    /// A PING is due.
    pub keep_alive: Option<Instant>,
    /// The handshake has taken too long.
    pub handshake: Option<Instant>,
    /// The pacer lets the next burst go.
    pub pacing: Option<Instant>,
    /// 0-RTT keys of a server are dropped (RFC 9001 section 4.9.3).
    pub zero_rtt_keys: Option<Instant>,
    /// An ack-eliciting packet was sent since the last one arrived.
    pub sent_since_received: bool,
}

impl Timers {
    /// The earliest.
    pub fn next(&self) -> Option<Instant> {
        [self.idle, self.keep_alive, self.handshake, self.pacing, self.zero_rtt_keys]
            .into_iter()
            .flatten()
            .min()
    }
}

/// The idle timeout in force: the smaller of what both ends told, zero meaning none; never under
/// three PTO (RFC 9000 section 10.1).
pub fn effective_idle(local: Duration, peer: Duration, pto: Duration) -> Option<Duration> {
    let told = match (local.is_zero(), peer.is_zero()) {
        (true, true) => return None,
        (true, false) => peer,
        (false, true) => local,
        (false, false) => local.min(peer),
    };
    Some(told.max(pto * 3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_means_no_timeout_on_that_side_only() {
        let s = Duration::from_secs;
        assert_eq!(effective_idle(s(0), s(0), s(1)), None);
        assert_eq!(effective_idle(s(0), s(9), s(1)), Some(s(9)));
        assert_eq!(effective_idle(s(30), s(9), s(1)), Some(s(9)));
        assert_eq!(effective_idle(s(30), s(9), s(4)), Some(s(12)));
    }
}
