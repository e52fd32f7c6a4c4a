//! What holds whatever happens.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug)]
enum Op {
    Send {
        eliciting: bool,
        size: u16,
        probe: bool,
        count: u8,
    },
    /// Acknowledges packets by the bits of a pattern, counted down from `below` under the next.
    Ack {
        below: u64,
        pattern: u64,
        ce: bool,
    },
    Timeout,
    Probe,
    Wait(u64),
    NewPath,
    Requeue,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (prop::bool::weighted(0.9), 40u16..1500, prop::bool::weighted(0.05), 1u8..12)
            .prop_map(|(eliciting, size, probe, count)| Op::Send { eliciting, size, probe, count }),
        6 => (1u64..20, any::<u64>(), prop::bool::weighted(0.05))
            .prop_map(|(below, pattern, ce)| Op::Ack { below, pattern, ce }),
        2 => Just(Op::Timeout),
        1 => Just(Op::Probe),
        4 => (0u64..200).prop_map(Op::Wait),
        1 => prop::bool::weighted(0.1).prop_map(|yes| if yes { Op::NewPath } else { Op::Wait(1) }),
        1 => prop::bool::weighted(0.1).prop_map(|yes| if yes { Op::Requeue } else { Op::Wait(2) }),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Acked,
    Lost,
}

/// The tokens by what became of them, and which were probed.
#[derive(Default)]
struct Ledger {
    fates: BTreeMap<u64, Fate>,
    probed: BTreeSet<u64>,
}

impl Ledger {
    fn settle(&mut self, sink: &mut Sink) -> Result<(), TestCaseError> {
        for (tokens, fate) in [(&mut sink.acked, Fate::Acked), (&mut sink.lost, Fate::Lost)] {
            for token in tokens.drain(..) {
                let Token::NewConnectionId { sequence: n, .. } = token else { panic!("{token:?}") };
                prop_assert!(fate == Fate::Acked || !self.probed.contains(&n), "probed and lost");
                prop_assert_eq!(self.fates.insert(n, fate), None, "reported twice");
            }
        }
        for token in sink.probed.drain(..) {
            let Token::NewConnectionId { sequence: n, .. } = token else { panic!("{token:?}") };
            prop_assert!(self.probed.insert(n), "probed twice");
            prop_assert!(!self.fates.contains_key(&n), "probed after its fate was known");
        }
        Ok(())
    }
}

fn run(congestion: Congestion, ops: Vec<Op>) -> Result<(), TestCaseError> {
    let config = RecoveryConfig { congestion, ..RecoveryConfig::default() };
    let (mut b, mut now) = (Bench::with(config), at(0));
    let (mut ledger, mut ce_count) = (Ledger::default(), 0);
    for op in ops {
        match op {
            Op::Send { eliciting, size, probe, count } => {
                for _ in 0..count {
                    let packet = SentPacket {
                        time_sent: now,
                        size,
                        ack_eliciting: eliciting,
                        mtu_probe: probe,
                        ..b.packet(Space::Data, 0)
                    };
                    b.send_packet(Space::Data, packet);
                }
            }
            Op::Ack { below, pattern, ce } => {
                let Some(top) = b.r.next_pn(Space::Data).checked_sub(below) else { continue };
                let pns = (0..64u64).filter(|i| *i == 0 || pattern >> i & 1 == 1);
                let mut ranges: Vec<RangeInclusive<u64>> = Vec::new();
                for pn in pns.filter_map(|i| top.checked_sub(i)) {
                    match ranges.last_mut() {
                        Some(last) if *last.start() == pn + 1 => *last = pn..=*last.end(),
                        _ => ranges.push(pn..=pn),
                    }
                }
                let s = on_ack(&mut b.r, &mut b.sink, now, Space::Data, &ranges, None).unwrap();
                if ce && s.newly_acked > 0 {
                    ce_count += 1;
                    b.r.on_ecn(now, s.largest_sent_at, 1, 1);
                }
            }
            Op::Timeout => {
                if let Some(due) = b.r.timeout(&established()) {
                    now = now.max(due);
                    let action = b.r.on_timeout(now, &established(), &mut b.sink);
                    prop_assert_ne!(action, TimeoutAction::None);
                }
            }
            Op::Probe => {
                b.r.probe_tokens(Space::Data, &mut b.sink);
            }
            Op::Wait(t) => now += ms(t),
            Op::NewPath => b.r.reset_for_new_path(now),
            Op::Requeue => b.r.requeue(Space::Data, &mut b.sink),
        }
        ledger.settle(&mut b.sink)?;
        let s = &mut b.r.spaces[2];
        prop_assert_eq!(b.r.bytes_in_flight, s.sent.bytes_in_flight());
        let open: BTreeSet<u64> = s.sent.outstanding().map(|e| e.pn).collect();
        let settled = |n: &u64| ledger.fates.contains_key(n) || ledger.probed.contains(n);
        for n in 0..s.next_pn {
            // Every token is in flight or has come back; the lost one of a probed packet came
            // back as a probe.
            prop_assert!(open.contains(&n) || settled(&n), "packet {} was forgotten", n);
            prop_assert!(!(open.contains(&n) && ledger.fates.contains_key(&n)));
        }
        prop_assert!(s.sent.len() <= s.next_pn as usize);
        prop_assert!(b.r.cwnd() >= 2 * MSS);
        prop_assert!(b.r.stats().undone_events <= b.r.stats().congestion_events);
        let budget = b.r.budget(now);
        prop_assert!(budget.next_release.is_none_or(|at| at > now && budget.bytes == 0));
        if b.r.bytes_in_flight > 0 && b.r.has_ack_eliciting_in_flight(Space::Data) {
            prop_assert!(b.r.timeout(&established()).is_some(), "a stall");
        }
    }
    prop_assert!(b.r.stats().congestion_events <= b.r.stats().lost_packets + ce_count);
    Ok(())
}

proptest! {
    #[test]
    fn books_balance_with_new_reno(ops in proptest::collection::vec(op(), 0..80)) {
        run(Congestion::NewReno, ops)?;
    }

    #[test]
    fn books_balance_with_prague(ops in proptest::collection::vec(op(), 0..80)) {
        run(Congestion::Prague, ops)?;
    }

    #[test]
    fn books_balance_with_bbr(
        version in 0usize..3,
        ops in proptest::collection::vec(op(), 0..80),
    ) {
        run([Congestion::Bbr, Congestion::Bbr2, Congestion::Bbr3][version], ops)?;
    }

    #[test]
    fn books_balance_with_copa(ops in proptest::collection::vec(op(), 0..80)) {
        run(Congestion::Copa, ops)?;
    }

    #[test]
    fn books_balance_with_a_controller_outside(ops in proptest::collection::vec(op(), 0..80)) {
        run(Congestion::External, ops)?;
    }

    #[test]
    fn books_balance_with_cubic(ops in proptest::collection::vec(op(), 0..80)) {
        run(Congestion::Cubic, ops)?;
    }
}
