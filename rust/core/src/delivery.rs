//! Reliable delivery of small values, driven by recovery tokens (RFC 9000 section 13.3).
//!
//! Each helper answers two questions: is a frame to be written now, and is it still worth writing
//! again after a loss. None of them holds bytes; the owner writes the frame from its own state.

/// A signal with a content that never changes, such as RESET_STREAM or HANDSHAKE_DONE: sent until
/// one packet that carried it is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Once {
    /// Nobody asked for it.
    #[default]
    Idle,
    /// To be written into the next packet.
    Pending,
    /// Written; neither acknowledged nor lost yet.
    InFlight,
    /// The peer has it.
    Acked,
}

impl Once {
    /// Asks for the signal; a second request changes nothing.
    pub fn request(&mut self) {
        if *self == Self::Idle {
            *self = Self::Pending;
        }
    }

    /// Whether it was asked for, in whatever state it is.
    pub fn is_requested(self) -> bool {
        self != Self::Idle
    }

    /// Whether it has to be written.
    pub fn is_pending(self) -> bool {
        self == Self::Pending
    }

    /// Whether the peer has it.
    pub fn is_acked(self) -> bool {
        self == Self::Acked
    }

    /// It was written into a packet.
    pub fn on_sent(&mut self) {
        if *self == Self::Pending {
            *self = Self::InFlight;
        }
    }

    /// A packet that carried it was acknowledged. Also from `Pending`: the packet had been declared
    /// lost too early, and RFC 9000 section 13.3 asks not to send the information again.
    pub fn on_acked(&mut self) {
        if self.is_requested() {
            *self = Self::Acked;
        }
    }

    /// A packet that carried it was lost.
    pub fn on_lost(&mut self) {
        if *self == Self::InFlight {
            *self = Self::Pending;
        }
    }

    /// There is no need for it any more, unless the peer has it already.
    pub fn cancel(&mut self) {
        if *self != Self::Acked {
            *self = Self::Idle;
        }
    }
}

/// A value that only grows and of which only the newest matters, such as the limit in MAX_DATA.
///
/// The token does not say which value a packet carried, so every loss sends the newest value again.
/// That costs a frame now and then and cannot lose one, in whatever order paths report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latest {
    value: u64,
    pending: bool,
}

impl Latest {
    /// A value that the peer knows already, from a transport parameter.
    pub fn known(value: u64) -> Self {
        Self { value, pending: false }
    }

    /// The newest value.
    pub fn value(self) -> u64 {
        self.value
    }

    /// Raises the value; a smaller or equal one has no effect (RFC 9000 section 4.1).
    pub fn raise(&mut self, value: u64) {
        if value > self.value {
            *self = Self { value, pending: true };
        }
    }

    /// Whether the value has to be written.
    pub fn is_pending(self) -> bool {
        self.pending
    }

    /// It was written into a packet.
    pub fn on_sent(&mut self) {
        self.pending = false;
    }

    /// A packet that carried this or an older value was lost.
    pub fn on_lost(&mut self) {
        self.pending = true;
    }
}

/// A *_BLOCKED signal: told once per limit, again after a loss, and only while the limit blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Blocked {
    limit: Option<u64>,
    pending: bool,
}

impl Blocked {
    /// The sender is blocked at `limit`.
    pub fn at(&mut self, limit: u64) {
        if self.limit != Some(limit) {
            *self = Self { limit: Some(limit), pending: true };
        }
    }

    /// The sender is no longer blocked.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The limit to report, if a report has to be written.
    pub fn pending(self) -> Option<u64> {
        self.limit.filter(|_| self.pending)
    }

    /// It was written into a packet.
    pub fn on_sent(&mut self) {
        self.pending = false;
    }

    /// A packet that carried it was lost.
    pub fn on_lost(&mut self) {
        self.pending = self.limit.is_some();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_is_sent_until_acknowledged() {
        let mut once = Once::default();
        once.on_lost();
        once.on_acked();
        assert_eq!(once, Once::Idle);
        once.request();
        assert!(once.is_pending());
        once.on_sent();
        once.request();
        assert_eq!(once, Once::InFlight);
        once.on_lost();
        assert!(once.is_pending());
        once.on_acked();
        once.on_lost();
        once.cancel();
        once.request();
        assert!(once.is_acked());
    }

    #[test]
    fn once_can_be_called_off() {
        let mut once = Once::default();
        once.request();
        once.on_sent();
        once.cancel();
        once.on_lost();
        assert!(!once.is_requested());
    }

    #[test]
    fn latest_repeats_after_any_loss() {
        let mut latest = Latest::known(10);
        latest.raise(10);
        assert!(!latest.is_pending());
        latest.raise(20);
        latest.raise(15);
        assert_eq!((latest.value(), latest.is_pending()), (20, true));
        latest.on_sent();
        assert!(!latest.is_pending());
        latest.on_lost();
        assert!(latest.is_pending());
    }

    #[test]
    fn blocked_reports_each_limit_once_and_only_while_blocked() {
        let mut blocked = Blocked::default();
        blocked.on_lost();
        assert_eq!(blocked.pending(), None);
        blocked.at(5);
        assert_eq!(blocked.pending(), Some(5));
        blocked.on_sent();
        blocked.at(5);
        assert_eq!(blocked.pending(), None);
        blocked.on_lost();
        assert_eq!(blocked.pending(), Some(5));
        blocked.on_sent();
        blocked.at(9);
        assert_eq!(blocked.pending(), Some(9));
        blocked.clear();
        blocked.on_lost();
        assert_eq!(blocked.pending(), None);
    }
}
