//! Path validation (RFC 9000 section 8.2): challenges that we send on one 4-tuple, and answers
//! that we owe there.

use core::time::Duration;

use smallvec::SmallVec;

use crate::rng::Rng;
use crate::time::Instant;

/// Challenges remembered at a time: an answer to any of them counts.
const OUTSTANDING: usize = 3;
/// Answers owed at a time; the oldest is dropped beyond (a flood must not make us send).
const OWED: usize = 4;

#[derive(Clone, Copy, Debug)]
struct Sent {
    data: [u8; 8],
    full_size: bool,
}

/// What an answer proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The address only: the challenge travelled in a datagram under 1200 bytes.
    Address,
    /// The address, and that 1200 bytes pass.
    Full,
}

/// The validation of one 4-tuple.
#[derive(Clone, Debug, Default)]
pub struct Challenges {
    sent: SmallVec<[Sent; OUTSTANDING]>,
    due: Option<Instant>,
    deadline: Option<Instant>,
    attempts: u32,
    owed: SmallVec<[[u8; 8]; OWED]>,
}

impl Challenges {
    /// Begins to validate: a challenge is due at once, failure after `give_up`.
    pub fn start(&mut self, now: Instant, give_up: Duration) {
        self.sent.clear();
        self.attempts = 0;
        self.due = Some(now);
        self.deadline = Some(now + give_up);
    }

    /// Stops without result.
    pub fn stop(&mut self) {
        self.sent.clear();
        self.due = None;
        self.deadline = None;
    }

    /// Whether a validation is under way.
    pub fn is_active(&self) -> bool {
        self.deadline.is_some()
    }

    /// Whether a challenge should be sent now.
    pub fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|t| t <= now)
    }

    /// The next challenge, to be sent in a datagram of 1200 bytes if `full_size`. Each has fresh
    /// data (RFC 9000 section 8.2.1), repeated after `interval`, doubled each time.
    pub fn send(
        &mut self,
        now: Instant,
        interval: Duration,
        full_size: bool,
        rng: &mut Rng,
    ) -> [u8; 8] {
        let data = rng.array();
        if self.sent.len() == OUTSTANDING {
            self.sent.remove(0);
        }
        self.sent.push(Sent { data, full_size });
        self.due = Some(now + interval * (1 << self.attempts.min(6)));
        self.attempts += 1;
        data
    }

    /// PATH_RESPONSE arrived (on any path: RFC 9000 section 8.2.3).
    pub fn on_response(&mut self, now: Instant, data: &[u8; 8]) -> Option<Proof> {
        let answered = *self.sent.iter().find(|s| s.data == *data)?;
        if answered.full_size {
            self.stop();
            return Some(Proof::Full);
        }
        // RFC 9000 section 8.2.1: validate again, with a full datagram, once the address allows it.
        self.sent.clear();
        self.due = Some(now);
        Some(Proof::Address)
    }

    /// Whether the validation has failed.
    pub fn has_failed(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|t| t <= now)
    }

    /// When the validation fails.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// When something is to be done next.
    pub fn timeout(&self) -> Option<Instant> {
        match (self.due, self.deadline) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// PATH_CHALLENGE arrived on this 4-tuple.
    pub fn owe(&mut self, data: [u8; 8]) {
        if self.owed.len() == OWED {
            self.owed.remove(0);
        }
        self.owed.push(data);
    }

    /// Whether answers are owed.
    pub fn owes(&self) -> bool {
        !self.owed.is_empty()
    }

    /// The oldest answer owed. Never repeated: the peer asks again (RFC 9000 section 13.3).
    pub fn next_owed(&mut self) -> Option<[u8; 8]> {
        (!self.owed.is_empty()).then(|| self.owed.remove(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    #[test]
    fn fresh_data_backs_off_and_any_recent_answer_counts() {
        let mut rng = Rng::from_seed([1; 32]);
        let mut c = Challenges::default();
        c.start(at(0), Duration::from_secs(3));
        let step = Duration::from_millis(100);
        let first = c.send(at(0), step, true, &mut rng);
        assert!(!c.is_due(at(99)) && c.is_due(at(100)));
        let second = c.send(at(100), step, true, &mut rng);
        assert_ne!(first, second);
        assert!(!c.is_due(at(299)) && c.is_due(at(300)));
        assert_eq!(c.on_response(at(301), &[0; 8]), None);
        assert_eq!(c.on_response(at(301), &first), Some(Proof::Full));
        assert!(!c.is_active());
    }

    #[test]
    fn small_challenge_proves_the_address_only_and_asks_again() {
        let mut rng = Rng::from_seed([1; 32]);
        let mut c = Challenges::default();
        c.start(at(0), Duration::from_secs(3));
        let data = c.send(at(0), Duration::from_millis(100), false, &mut rng);
        assert_eq!(c.on_response(at(50), &data), Some(Proof::Address));
        assert!(c.is_due(at(50)) && c.is_active());
        assert!(c.has_failed(at(3000)));
    }

    #[test]
    fn a_flood_of_challenges_keeps_the_newest() {
        let mut c = Challenges::default();
        for i in 0..100 {
            c.owe([i; 8]);
        }
        assert_eq!(c.next_owed(), Some([96; 8]));
        assert_eq!(std::iter::from_fn(|| c.next_owed()).count(), OWED - 1);
    }
}
