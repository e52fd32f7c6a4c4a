//! ECN on one 4-tuple: marking, validation, fallback (RFC 9000 section 13.4, appendix A.4).

use tquic_wire::frame::EcnCounts;

pub use crate::space::Ecn;
use crate::trace::EcnState;

/// RFC 9000 appendix A.4: packets marked while it is not known whether the path keeps marks.
const TESTING_PACKETS: u32 = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Off,
    Testing { sent: u32 },
    Unknown,
    Capable,
    Failed,
}

/// Whether outgoing packets are marked, and what the peer reported.
#[derive(Clone, Debug)]
pub struct EcnPath {
    state: State,
    /// Largest counts that the peer has reported, for each packet-number space.
    counts: [EcnCounts; 3],
    /// Marked packets sent and acknowledged in testing, to notice that all of them vanished.
    testing_lost: u32,
}

impl EcnPath {
    /// Begins with testing, or never marks.
    pub fn new(enabled: bool) -> Self {
        Self {
            state: if enabled { State::Testing { sent: 0 } } else { State::Off },
            counts: Default::default(),
            testing_lost: 0,
        }
    }

    /// The mark for the next packets.
    pub fn mark(&self) -> Option<Ecn> {
        matches!(self.state, State::Testing { .. } | State::Capable).then_some(Ecn::Ect0)
    }

    /// Marked packets were sent.
    pub fn on_sent(&mut self, packets: u32) {
        if let State::Testing { sent } = &mut self.state {
            *sent = sent.saturating_add(packets);
            if *sent >= TESTING_PACKETS {
                self.state = State::Unknown;
            }
        }
    }

    /// A marked packet was lost before any was acknowledged: a path may drop marked packets.
    pub fn on_lost(&mut self) {
        if matches!(self.state, State::Testing { .. } | State::Unknown) {
            self.testing_lost += 1;
            if self.testing_lost >= TESTING_PACKETS {
                self.state = State::Failed;
            }
        }
    }

    /// An ACK newly acknowledged `marked` packets sent with ECT(0) in `space` and raised the largest
    /// acknowledged. Returns true if the path reports new congestion (CE).
    pub fn on_ack(&mut self, space: usize, marked: u64, reported: Option<EcnCounts>) -> bool {
        if matches!(self.state, State::Off | State::Failed) {
            return false;
        }
        let Some(now) = reported else {
            // RFC 9000 section 13.4.2.1: marked packets acknowledged without counts fail.
            if marked > 0 {
                self.state = State::Failed;
            }
            return false;
        };
        let before = self.counts[space];
        let (ect0, ce) = (now.ect0.checked_sub(before.ect0), now.ce.checked_sub(before.ce));
        let valid = match (ect0, ce) {
            // RFC 9000 section 13.4.2.1: new marks must account for the packets acknowledged, and
            // we never send ECT(1).
            (Some(e), Some(c)) => e.saturating_add(c) >= marked && now.ect1 == before.ect1,
            _ => false,
        };
        if !valid {
            self.state = State::Failed;
            return false;
        }
        self.counts[space] = now;
        if marked > 0 {
            self.state = State::Capable;
        }
        ce.is_some_and(|c| c > 0)
    }

    /// What is known; `None` if marking is switched off.
    pub fn state(&self) -> Option<EcnState> {
        match self.state {
            State::Off => None,
            State::Testing { .. } => Some(EcnState::Testing),
            State::Unknown => Some(EcnState::Unknown),
            State::Capable => Some(EcnState::Capable),
            State::Failed => Some(EcnState::Failed),
        }
    }

    /// Whether marks are known to survive.
    pub fn is_capable(&self) -> bool {
        self.state == State::Capable
    }

    /// Whether marking was given up.
    pub fn has_failed(&self) -> bool {
        self.state == State::Failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(ect0: u64, ce: u64) -> Option<EcnCounts> {
        Some(EcnCounts { ect0, ect1: 0, ce })
    }

    #[test]
    fn ten_packets_test_the_path_then_an_echo_confirms_it() {
        let mut e = EcnPath::new(true);
        e.on_sent(9);
        assert_eq!(e.mark(), Some(Ecn::Ect0));
        e.on_sent(1);
        assert_eq!(e.mark(), None);
        assert!(!e.on_ack(2, 10, counts(10, 0)));
        assert_eq!(e.mark(), Some(Ecn::Ect0));
        assert!(e.on_ack(2, 3, counts(12, 1)));
    }

    #[test]
    fn bleached_missing_or_shrinking_counts_fail() {
        for (marked, report) in
            [(5, None), (5, counts(3, 1)), (0, Some(EcnCounts { ect0: 0, ect1: 1, ce: 0 }))]
        {
            let mut e = EcnPath::new(true);
            e.on_sent(5);
            assert!(!e.on_ack(2, marked, report));
            assert!(e.has_failed() && e.mark().is_none());
        }
        let mut e = EcnPath::new(true);
        assert!(!e.on_ack(2, 4, counts(4, 0)));
        assert!(!e.on_ack(2, 0, counts(3, 0)));
        assert!(e.has_failed());
    }

    #[test]
    fn a_path_that_eats_marked_packets_is_left_unmarked() {
        let mut e = EcnPath::new(true);
        e.on_sent(10);
        (0..10).for_each(|_| e.on_lost());
        assert!(e.has_failed());
    }
}
