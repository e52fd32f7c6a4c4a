use super::*;
use crate::recovery::Tokens;
use proptest::prelude::*;
use std::collections::BTreeSet;
use tquic_wire::{Frame, FrameIter};

const DELAY: Duration = Duration::from_millis(25);

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

fn tracker() -> AckTracker {
    AckTracker::new(Space::Data, DELAY)
}

/// A tracker that waits for many packets, unless they come out of order.
fn patient(reordering_threshold: u64) -> AckTracker {
    let mut t = tracker();
    let request = AckRequestFrame {
        sequence: 0,
        threshold: 1000,
        max_ack_delay_us: 25_000,
        reordering_threshold,
    };
    t.on_ack_frequency(&request).unwrap();
    t
}

fn get(t: &mut AckTracker, pn: u64) {
    t.on_received(at(0), pn, true, None);
}

/// Writes an ACK frame and reads it back: its ranges and delay field.
fn write(t: &mut AckTracker, now: Instant) -> (Vec<RangeInclusive<u64>>, u64, Option<EcnCounts>) {
    let (mut buf, mut tokens) = ([0; 1200], Tokens::new());
    let mut fw = FrameWriter::new(&mut buf, &mut tokens);
    assert!(t.write(now, &mut fw, 3, PathLabel::default()));
    assert!(!fw.is_ack_eliciting());
    let len = fw.position();
    let largest = t.largest().unwrap();
    assert_eq!(tokens.as_slice(), [Token::Ack { path: 0, largest }]);
    match FrameIter::new(&buf[..len]).next() {
        Some(Ok(Frame::Ack(ack))) => (ack.ranges().collect(), ack.delay, ack.ecn),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_second_packet_or_after_the_delay() {
    let mut t = tracker();
    assert_eq!((t.timeout(), t.expected()), (None, 0));
    t.on_received(at(10), 0, true, None);
    assert!(!t.ack_due(at(10)) && t.has_news());
    assert_eq!(t.timeout(), Some(at(35)));
    assert!(t.ack_due(at(35)));
    t.on_received(at(12), 1, true, None);
    assert!(t.ack_due(at(12)));
    let (ranges, delay, ecn) = write(&mut t, at(14));
    assert_eq!((ranges, delay, ecn), (vec![0..=1], 2000 >> 3, None));
    assert!(!t.ack_due(at(100)) && !t.has_news());
    assert_eq!((t.timeout(), t.expected()), (None, 2));
}

/// RFC 9000 section 13.2.1.
#[test]
fn packets_that_elicit_nothing_are_told_but_never_due() {
    let mut t = tracker();
    t.on_received(at(0), 0, false, None);
    t.on_received(at(0), 1, false, None);
    assert!(!t.ack_due(at(1000)) && t.has_news());
    assert_eq!(write(&mut t, at(0)).0, [0..=1]);
}

/// RFC 9000 section 13.2.1.
#[test]
fn initial_and_handshake_packets_are_acknowledged_at_once() {
    let mut t = AckTracker::new(Space::Handshake, DELAY);
    t.on_received(at(0), 0, true, None);
    assert!(t.ack_due(at(0)));
}

#[test]
fn gaps_and_late_packets_are_acknowledged_at_once() {
    let mut t = tracker();
    get(&mut t, 0);
    write(&mut t, at(0));
    get(&mut t, 2);
    assert!(t.ack_due(at(0)), "1 is missing");
    write(&mut t, at(0));
    get(&mut t, 3);
    assert!(!t.ack_due(at(0)), "the gap was reported");
    get(&mut t, 1);
    write(&mut t, at(0));
    get(&mut t, 4);
    assert!(!t.ack_due(at(0)));
}

/// The two tables of draft-ietf-quic-ack-frequency-12 section 6.1.1.
#[test]
fn reordering_threshold_examples_of_the_draft() {
    let three = [
        (0, false),
        (1, false),
        (3, false),
        (4, false),
        (5, true),
        (8, false),
        (9, true),
        (10, true),
    ];
    let five = [
        (0, false),
        (1, false),
        (3, false),
        (5, false),
        (6, false),
        (7, true),
        (8, false),
        (9, true),
    ];
    for (threshold, rows) in [(3, three), (5, five)] {
        let mut t = patient(threshold);
        for (pn, acknowledged) in rows {
            get(&mut t, pn);
            assert_eq!(t.ack_due(at(0)), acknowledged, "packet {pn}, threshold {threshold}");
            if acknowledged {
                write(&mut t, at(0));
            }
        }
    }
}

#[test]
fn two_reasons_for_haste_are_no_less_than_one() {
    let mut t = patient(1);
    for pn in [0, 2, 4] {
        get(&mut t, pn);
        assert_eq!(t.ack_due(at(0)), pn > 0);
    }
}

#[test]
fn spuriously_lost_packets_are_acknowledged_at_once() {
    let mut t = patient(3);
    (0..20).filter(|pn| *pn != 5).for_each(|pn| get(&mut t, pn));
    write(&mut t, at(0));
    get(&mut t, 5);
    assert!(t.ack_due(at(0)), "outside the peer's reordering window");
}

#[test]
fn ack_frequency_is_validated_and_ordered() {
    let mut t = tracker();
    let request = |sequence, threshold, max_ack_delay_us| AckRequestFrame {
        sequence,
        threshold,
        max_ack_delay_us,
        reordering_threshold: 0,
    };
    for bad in [999, 16_384_000, u64::MAX] {
        let error = t.on_ack_frequency(&request(9, 9, bad)).unwrap_err();
        assert_eq!(error.code, crate::error::TransportErrorCode::PROTOCOL_VIOLATION);
    }
    for (sequence, good) in [(1, 16_383_999), (2, 1000)] {
        t.on_ack_frequency(&request(sequence, 3, good)).unwrap();
        assert_eq!(t.max_ack_delay(), Duration::from_micros(good));
    }
    t.on_ack_frequency(&request(5, 3, 8000)).unwrap();
    t.on_ack_frequency(&request(4, 100, 9000)).unwrap();
    t.on_ack_frequency(&request(5, 100, 9000)).unwrap();
    assert_eq!(t.max_ack_delay(), Duration::from_millis(8));
    for pn in [0, 10, 5] {
        get(&mut t, pn);
        assert!(!t.ack_due(at(0)), "threshold 3, and 0 means no haste for reordering");
    }
    get(&mut t, 6);
    assert!(t.ack_due(at(0)));
    write(&mut t, at(0));
    get(&mut t, 7);
    t.on_immediate_ack();
    assert!(t.ack_due(at(0)));
}

/// RFC 9000 section 13.4.1.
#[test]
fn ce_marks_hurry_and_are_counted() {
    let mut t = tracker();
    t.on_received(at(0), 0, true, Some(Ecn::Ce));
    assert!(t.ack_due(at(0)));
    assert_eq!(write(&mut t, at(0)).2, Some(EcnCounts { ect0: 0, ect1: 0, ce: 1 }));
    t.on_received(at(0), 1, true, Some(Ecn::Ce));
    assert!(t.ack_due(at(0)), "each of them by default");
    write(&mut t, at(0));
    let request = AckRequestFrame {
        sequence: 0,
        threshold: 10,
        max_ack_delay_us: 25_000,
        reordering_threshold: 1,
    };
    t.on_ack_frequency(&request).unwrap();
    t.on_received(at(0), 2, true, Some(Ecn::Ce));
    assert!(!t.ack_due(at(0)), "only the first of a row where ACK frames are rare");
    t.on_received(at(0), 3, false, Some(Ecn::Ect0));
    t.on_received(at(0), 4, true, Some(Ecn::Ce));
    assert!(t.ack_due(at(0)));
    t.on_received(at(0), 4, true, Some(Ecn::Ce));
    assert_eq!(t.ecn(), EcnCounts { ect0: 1, ect1: 0, ce: 4 }, "duplicates do not count");
    (5..8).for_each(|pn| t.on_received(at(0), pn, true, Some(Ecn::Ect1)));
    assert_eq!(t.ecn(), EcnCounts { ect0: 1, ect1: 3, ce: 4 });
}

#[test]
fn acknowledged_ack_frames_prune_what_is_told() {
    let mut t = tracker();
    [0, 1, 5, 6, 9].iter().for_each(|pn| get(&mut t, *pn));
    assert_eq!(write(&mut t, at(0)).0, [9..=9, 5..=6, 0..=1]);
    t.on_ack_acked(9);
    get(&mut t, 10);
    assert_eq!(write(&mut t, at(0)).0, [10..=10]);
    assert!(t.is_duplicate(5), "pruning does not forget");
    // A packet from before is told again, with what lies above it.
    get(&mut t, 3);
    assert_eq!(write(&mut t, at(0)).0, [9..=10, 5..=6, 3..=3]);
}

/// RFC 9000 section 13.2.3.
#[test]
fn late_packet_is_told_until_a_frame_that_named_it_arrived() {
    let mut t = tracker();
    (0..10).filter(|pn| *pn != 4).for_each(|pn| get(&mut t, pn));
    write(&mut t, at(0)); // frame with largest 9, without 4
    get(&mut t, 4);
    t.on_ack_acked(9);
    assert_eq!(write(&mut t, at(0)).0, [4..=9], "that frame did not name 4");
    get(&mut t, 10);
    write(&mut t, at(0));
    t.on_ack_acked(10);
    get(&mut t, 11);
    assert_eq!(write(&mut t, at(0)).0, [11..=11]);
}

#[test]
fn the_largest_is_told_even_if_known() {
    let mut t = tracker();
    get(&mut t, 0);
    get(&mut t, 1);
    write(&mut t, at(0));
    t.on_ack_acked(1);
    assert_eq!(write(&mut t, at(0)).0, [1..=1]);
}

#[test]
fn without_room_nothing_is_written_and_nothing_forgotten() {
    let mut t = tracker();
    get(&mut t, 0);
    get(&mut t, 1);
    let (mut buf, mut tokens) = ([0; 3], Tokens::new());
    assert!(!t.write(at(0), &mut FrameWriter::new(&mut buf, &mut tokens), 3, PathLabel::default()));
    assert!(t.ack_due(at(0)) && tokens.is_empty());
}

proptest! {
    /// Against a naive model: every packet is told until a frame that told it was acknowledged, and
    /// nothing is told that did not arrive.
    #[test]
    fn everything_is_told_until_known(
        steps in proptest::collection::vec((0u64..40, 0u8..4, any::<bool>()), 1..120),
    ) {
        let mut t = tracker();
        let (mut arrived, mut known) = (BTreeSet::new(), BTreeSet::new());
        let mut frames: Vec<(u64, BTreeSet<u64>)> = Vec::new();
        for (jitter, action, flag) in steps {
            let pn = (arrived.len() as u64 + jitter).saturating_sub(20);
            prop_assert_eq!(t.is_duplicate(pn), arrived.contains(&pn));
            get(&mut t, pn);
            arrived.insert(pn);
            if action == 0 {
                let told: BTreeSet<u64> = write(&mut t, at(0)).0.into_iter().flatten().collect();
                prop_assert!(told.is_subset(&arrived));
                prop_assert!(arrived.difference(&known).all(|pn| told.contains(pn)));
                frames.push((t.largest().unwrap(), told));
            } else if action == 1 && !frames.is_empty() {
                let i = if flag { 0 } else { frames.len() - 1 };
                let (largest, told) = frames.remove(i);
                t.on_ack_acked(largest);
                known.extend(told);
            }
        }
    }
}
