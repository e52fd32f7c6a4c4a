//! What may be sent to an address that has not proved it wants it (RFC 9000 section 8).

/// RFC 9000 section 8.1: at most three times the bytes received.
const FACTOR: u64 = 3;

/// With a smaller allowance than this nothing is sent: a PATH_CHALLENGE in a short-header packet
/// fits.
pub const LEAST: u64 = 64;

/// Bytes to and from one 4-tuple.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ledger {
    received: u64,
    sent: u64,
    validated: bool,
    news: bool,
}

impl Ledger {
    /// A ledger without limit: the address is known to be the peer's.
    pub fn validated() -> Self {
        Self { validated: true, ..Self::default() }
    }

    /// A whole datagram arrived; its bytes count even if packets in it could not be read.
    pub fn on_received(&mut self, bytes: u64) {
        self.received = self.received.saturating_add(bytes);
        self.news = true;
    }

    /// Whether anything arrived since this was last asked.
    pub fn take_news(&mut self) -> bool {
        core::mem::take(&mut self.news)
    }

    /// Bytes were sent.
    pub fn on_sent(&mut self, bytes: u64) {
        self.sent = self.sent.saturating_add(bytes);
    }

    /// The peer has shown that it receives at this address.
    pub fn validate(&mut self) {
        self.validated = true;
    }

    /// Whether the limit is lifted.
    pub fn is_validated(&self) -> bool {
        self.validated
    }

    /// Whether nothing at all can be sent before something more arrives.
    pub fn is_blocked(&self) -> bool {
        self.allowance() < LEAST
    }

    /// Bytes that may be sent now.
    pub fn allowance(&self) -> u64 {
        if self.validated {
            return u64::MAX;
        }
        self.received.saturating_mul(FACTOR).saturating_sub(self.sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_times_until_validated() {
        let mut l = Ledger::default();
        assert_eq!(l.allowance(), 0);
        l.on_received(1200);
        l.on_sent(3000);
        assert_eq!(l.allowance(), 600);
        l.on_sent(3000);
        assert_eq!(l.allowance(), 0);
        l.validate();
        assert_eq!(l.allowance(), u64::MAX);
    }
}
