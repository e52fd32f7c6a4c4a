use super::*;
use proptest::prelude::*;

fn ranges_of(bytes: &[u8]) -> Vec<RangeInclusive<u64>> {
    decode(&mut Reader::new(bytes)).unwrap().ranges().collect()
}

#[test]
fn one_range() {
    let bytes = [0x02, 10, 3, 0, 10];
    let ack = decode(&mut Reader::new(&bytes)).unwrap();
    assert_eq!((ack.largest, ack.delay, ack.ecn), (10, 3, None));
    assert_eq!(ack.ranges().collect::<Vec<_>>(), [0..=10]);
    assert_eq!((ack.delay_us(3), ack.delay_us(u64::MAX)), (24, 3 << 20));
}

#[test]
fn gaps_and_ecn() {
    // Gap 0 leaves out one packet.
    let bytes = [0x03, 40, 0, 2, 5, 0, 3, 7, 1, 4, 5, 6, 0x01];
    let mut r = Reader::new(&bytes);
    let ack = decode(&mut r).unwrap();
    assert_eq!(r.rest(), [0x01], "the next frame");
    assert_eq!(ack.ecn, Some(EcnCounts { ect0: 4, ect1: 5, ce: 6 }));
    assert_eq!(ack.ranges().collect::<Vec<_>>(), [35..=40, 30..=33, 20..=21]);
    assert_eq!(ack.ranges().len(), 3);
}

#[test]
fn negative_ranges() {
    for bytes in [&[0x02, 4, 0, 0, 5][..], &[2, 4, 0, 1, 2, 1, 0], &[2, 4, 0, 1, 0, 1, 2]] {
        assert_eq!(decode(&mut Reader::new(bytes)), Err(NEGATIVE), "{bytes:?}");
    }
    assert_eq!(ranges_of(&[2, 4, 0, 1, 0, 1, 1]), [4..=4, 0..=1]);
}

#[test]
fn more_ranges_than_bytes() {
    let bytes = [0x02, 0x3f, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0];
    assert_eq!(decode(&mut Reader::new(&bytes)), Err(DecodeError::UnexpectedEnd));
}

#[test]
fn delay_field() {
    assert_eq!(encode_delay(25_000, 3), 3125);
    assert_eq!(encode_delay(u64::MAX, 0), MAX_VARINT);
}

#[test]
fn writes_nothing_without_room() {
    let mut buf = [0; 64];
    let mut w = Writer::new(&mut buf);
    assert_eq!(write(&mut w, None, std::iter::empty(), 0, None, 64), 0);
    assert_eq!(write(&mut w, None, [1000..=2000].into_iter(), 0, None, 6), 0);
    assert_eq!(w.position(), 0);
    assert_eq!(write(&mut w, None, [1000..=2000].into_iter(), 0, None, 7), 1);
    assert_eq!(w.position(), 7);
    // The first range takes what its length needs, not what its numbers need.
    assert_eq!(write(&mut w, None, [1000..=1002].into_iter(), 0, None, 6), 1);
    assert_eq!(w.position(), 13);
    let mut small = [0; 6];
    assert_eq!(
        write(&mut Writer::new(&mut small), None, [1000..=2000].into_iter(), 0, None, 64),
        0
    );
}

/// The path ID of a PATH_ACK frame counts towards its size.
#[test]
fn path_acks_keep_within_their_room() {
    let ranges = || [1000..=2000, 3..=5].into_iter();
    for (path, size) in [(63, 11), (64, 12), (1 << 14, 14)] {
        let mut buf = [0; 32];
        let mut w = Writer::new(&mut buf);
        assert_eq!(write(&mut w, Some(path), ranges(), 0, None, size - 4), 0);
        assert_eq!(write(&mut w, Some(path), ranges(), 0, None, size), 2);
        assert_eq!(w.position(), size);
        let ack = decode(&mut Reader::new(w.written())).unwrap();
        assert_eq!((ack.path, ack.ranges().len()), (Some(path), 2));
    }
}

/// The Range Count field is written before its value is known: two bytes hold 16383.
#[test]
fn no_more_ranges_than_the_count_field_tells() {
    let ranges = (0..MANY_RANGES as u64 + 10).rev().map(|i| i * 2..=i * 2);
    let mut buf = vec![0; 4 * MANY_RANGES];
    let mut w = Writer::new(&mut buf);
    assert_eq!(write(&mut w, None, ranges, 0, None, usize::MAX), 16_384);
    let ack = decode(&mut Reader::new(w.written())).unwrap();
    assert_eq!((ack.ranges().len(), ack.ranges().last()), (16_384, Some(18..=18)));
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "apart and descending")]
fn ranges_that_touch() {
    write(&mut Writer::new(&mut [0; 64]), None, [5..=9, 2..=4].into_iter(), 0, None, 64);
}

#[test]
fn count_field_of_two_bytes() {
    let ranges = |n: u64| (0..n).rev().map(|i| i * 3..=i * 3);
    let mut buf = [0; 400];
    for (n, width) in [(64, 1), (65, 2)] {
        let mut w = Writer::new(&mut buf);
        assert_eq!(write(&mut w, None, ranges(n), 0, None, 400), n as usize);
        assert_eq!(ranges_of(w.written()), ranges(n).collect::<Vec<_>>());
        assert_eq!(w.position(), 1 + 2 + 1 + width + 1 + 2 * (n as usize - 1));
    }
    // Without a size hint there may be many.
    let mut w = Writer::new(&mut buf);
    assert_eq!(
        write(
            &mut w,
            None,
            ranges(2).filter(|_| true).chain(std::iter::from_fn(|| None)),
            0,
            None,
            400
        ),
        2
    );
    assert_eq!(w.position(), 8);
}

/// Distances from one range to the next, turned into ranges that descend and stay apart.
fn arb_ranges() -> impl Strategy<Value = Vec<RangeInclusive<u64>>> {
    let step = (0..40_u64, any::<u64>(), 0..40_u64, any::<u64>())
        .prop_map(|(a, x, b, y)| (x & ((1 << a) - 1), y & ((1 << b) - 1)));
    prop::collection::vec(step, 1..120).prop_map(|steps| {
        let mut next = 0;
        let mut ranges: Vec<_> = steps
            .into_iter()
            .map(|(gap, length)| {
                let start = next + gap;
                next = start + length + 2;
                start..=start + length
            })
            .collect();
        ranges.reverse();
        ranges
    })
}

proptest! {
    #[test]
    fn round_trip(
        ranges in arb_ranges(),
        delay in 0..=MAX_VARINT,
        ecn in prop::option::of((0..100_u64, 0..1_u64 << 20, 0..=MAX_VARINT)),
        max_size in 0..2500_usize,
    ) {
        let ecn = ecn.map(|(ect0, ect1, ce)| EcnCounts { ect0, ect1, ce });
        let mut buf = [0; 2500];
        let mut w = Writer::new(&mut buf);
        let written = write(&mut w, None, ranges.iter().cloned(), delay, ecn, max_size);
        prop_assert!(w.position() <= max_size);
        if written == 0 {
            prop_assert!(w.position() == 0 && max_size < 50);
            return Ok(());
        }
        // What was left out would not have fitted: a range takes 16 bytes at most.
        prop_assert!(written == ranges.len() || max_size - w.position() < 16);
        let mut r = Reader::new(w.written());
        let ack = decode(&mut r).unwrap();
        prop_assert!(r.is_empty());
        prop_assert_eq!((ack.largest, ack.delay, ack.ecn), (*ranges[0].end(), delay, ecn));
        prop_assert_eq!(ack.ranges().collect::<Vec<_>>(), &ranges[..written]);
    }

    /// Whatever decodes has ranges that descend, stay apart and never pass zero.
    #[test]
    fn arbitrary_bytes(mut bytes in prop::collection::vec(0..80_u8, 5..60), ecn: bool) {
        bytes[0] = if ecn { 3 } else { 2 };
        bytes[3] %= 20;
        if let Ok(ack) = decode(&mut Reader::new(&bytes)) {
            let ranges: Vec<_> = ack.ranges().collect();
            prop_assert_eq!(ranges.len(), ack.ranges().len());
            prop_assert_eq!(*ranges[0].end(), ack.largest);
            for pair in ranges.windows(2) {
                prop_assert!(pair[1].start() <= pair[1].end());
                prop_assert!(pair[1].end() + 1 < *pair[0].start());
            }
        }
    }
}
