//! ECN on one 4-tuple: marking, validation, fallback (RFC 9000 sections 13.4.1 to 13.4.2.2,
//! appendix A.4).

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
    /// Packets sent with ECT(0), and with ECT(1).
    sent: [u64; 2],
    /// Marked packets sent and acknowledged in testing, to notice that all of them vanished.
    testing_lost: u32,
}

/// By how much the peer's counts grew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EcnDelta {
    /// Packets that came through as ECT(0) or ECT(1).
    pub ect: u64,
    /// Packets that were marked CE.
    pub ce: u64,
}

impl EcnPath {
    /// Begins with testing, or never marks.
    pub fn new(enabled: bool) -> Self {
        Self {
            state: if enabled { State::Testing { sent: 0 } } else { State::Off },
            counts: Default::default(),
            sent: [0; 2],
            testing_lost: 0,
        }
    }

    /// The mark for the next packets, if they get one: the one that the controller wants.
    pub fn mark(&self, wanted: Ecn) -> Option<Ecn> {
        matches!(self.state, State::Testing { .. } | State::Capable).then_some(wanted)
    }

    /// Packets were sent with this mark.
    pub fn on_sent(&mut self, mark: Option<Ecn>, packets: u32) {
        match mark {
            Some(Ecn::Ect0) => self.sent[0] += u64::from(packets),
            Some(Ecn::Ect1) => self.sent[1] += u64::from(packets),
            _ => return,
        }
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

    /// An ACK newly acknowledged so many packets sent with ECT(0) and ECT(1) in `space` and raised
    /// the largest acknowledged. Returns by how much the counts grew, if they can be believed.
    pub fn on_ack(
        &mut self,
        space: usize,
        marked: [u64; 2],
        reported: Option<EcnCounts>,
    ) -> Option<EcnDelta> {
        if !self.is_usable() {
            return None;
        }
        let any = marked != [0, 0];
        let Some(now) = reported else {
            // RFC 9000 section 13.4.2.1: marked packets acknowledged without counts fail.
            if any {
                self.state = State::Failed;
            }
            return None;
        };
        let Some(delta) = self.validate(space, marked, &now) else {
            self.state = State::Failed;
            return None;
        };
        self.counts[space] = now;
        if any {
            self.state = State::Capable;
        }
        Some(delta)
    }

    /// RFC 9000 section 13.4.2.1: new marks must account for the packets acknowledged, for each
    /// codepoint, and no more can have arrived with one than were sent: else some were remarked.
    fn validate(&self, space: usize, marked: [u64; 2], now: &EcnCounts) -> Option<EcnDelta> {
        let before = self.counts[space];
        let ect0 = now.ect0.checked_sub(before.ect0)?;
        let ect1 = now.ect1.checked_sub(before.ect1)?;
        let ce = now.ce.checked_sub(before.ce)?;
        let enough = ect0.saturating_add(ce) >= marked[0]
            && ect1.saturating_add(ce) >= marked[1]
            && ect0.saturating_add(ect1).saturating_add(ce) >= marked[0] + marked[1];
        let possible = now.ect0 <= self.sent[0] && now.ect1 <= self.sent[1];
        (enough && possible).then(|| EcnDelta { ect: ect0.saturating_add(ect1), ce })
    }

    /// Takes the books of another 4-tuple of the same path over: the peer's go on.
    pub fn adopt_counts(&mut self, other: &Self) {
        self.counts = other.counts;
        self.sent = other.sent;
    }

    /// Whether packets are marked, or may be once the path has been tested.
    pub fn is_usable(&self) -> bool {
        !matches!(self.state, State::Off | State::Failed)
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

    const ECT0: Option<Ecn> = Some(Ecn::Ect0);
    const ECT1: Option<Ecn> = Some(Ecn::Ect1);

    fn counts(ect0: u64, ce: u64) -> Option<EcnCounts> {
        Some(EcnCounts { ect0, ect1: 0, ce })
    }

    fn grown(ect: u64, ce: u64) -> Option<EcnDelta> {
        Some(EcnDelta { ect, ce })
    }

    #[test]
    fn ten_packets_test_the_path_then_an_echo_confirms_it() {
        let mut e = EcnPath::new(true);
        e.on_sent(ECT0, 9);
        assert_eq!(e.mark(Ecn::Ect0), ECT0);
        e.on_sent(ECT0, 1);
        assert_eq!(e.mark(Ecn::Ect0), None);
        assert_eq!(e.on_ack(2, [10, 0], counts(10, 0)), grown(10, 0));
        assert_eq!(e.mark(Ecn::Ect0), ECT0);
        e.on_sent(ECT0, 3);
        assert_eq!(e.on_ack(2, [3, 0], counts(12, 1)), grown(2, 1));
    }

    /// RFC 9000 section 13.4.2.2.
    #[test]
    fn bleached_missing_shrinking_or_remarked_counts_fail() {
        let odd = |ect0, ect1| Some(EcnCounts { ect0, ect1, ce: 0 });
        for (marked, report) in
            [(5, None), (5, counts(3, 1)), (0, odd(0, 1)), (5, odd(5, 1)), (5, counts(6, 0))]
        {
            let mut e = EcnPath::new(true);
            e.on_sent(ECT0, 5);
            assert_eq!(e.on_ack(2, [marked, 0], report), None);
            assert!(e.has_failed() && e.mark(Ecn::Ect0).is_none(), "{marked} {report:?}");
        }
        let mut e = EcnPath::new(true);
        e.on_sent(ECT0, 4);
        assert!(e.on_ack(2, [4, 0], counts(4, 0)).is_some());
        assert!(e.on_ack(2, [0, 0], counts(3, 0)).is_none());
        assert!(e.has_failed());
    }

    #[test]
    fn l4s_packets_are_counted_apart() {
        let mut e = EcnPath::new(true);
        e.on_sent(ECT1, 8);
        let l4s = |ect0, ect1, ce| Some(EcnCounts { ect0, ect1, ce });
        assert_eq!(e.on_ack(2, [0, 5], l4s(0, 3, 2)), grown(3, 2));
        // The controller was changed: both kinds are in flight.
        e.on_sent(ECT0, 4);
        assert_eq!(e.on_ack(2, [4, 3], l4s(3, 5, 4)), grown(5, 2));
        assert!(e.is_capable());
        let mut e = EcnPath::new(true);
        e.on_sent(ECT1, 8);
        assert_eq!(e.on_ack(2, [0, 5], l4s(5, 0, 0)), None, "ECT(1) turned into ECT(0)");
        assert!(e.has_failed());
    }

    /// RFC 9000 section 13.4.2.1.
    #[test]
    fn counts_of_one_packet_number_space_say_nothing_about_another() {
        let mut e = EcnPath::new(true);
        e.on_sent(ECT1, 9);
        let l4s = |ect1, ce| Some(EcnCounts { ect0: 0, ect1, ce });
        assert_eq!(e.on_ack(0, [0, 2], l4s(1, 1)), grown(1, 1));
        assert_eq!(e.on_ack(2, [0, 3], l4s(3, 0)), grown(3, 0));
        assert_eq!(e.on_ack(2, [0, 1], l4s(3, 1)), grown(0, 1));
    }

    #[test]
    fn counts_go_on_at_another_address() {
        let mut old = EcnPath::new(true);
        old.on_sent(ECT0, 5);
        assert!(old.on_ack(2, [5, 0], counts(4, 1)).is_some());
        let mut new = EcnPath::new(true);
        new.adopt_counts(&old);
        new.on_sent(ECT0, 2);
        assert_eq!(new.on_ack(2, [2, 0], counts(6, 1)), grown(2, 0), "no mark is counted twice");
        assert!(new.is_capable());
    }

    #[test]
    fn a_path_that_eats_marked_packets_is_left_unmarked() {
        let mut e = EcnPath::new(true);
        e.on_sent(ECT0, 10);
        (0..10).for_each(|_| e.on_lost());
        assert!(e.has_failed());
    }
}
