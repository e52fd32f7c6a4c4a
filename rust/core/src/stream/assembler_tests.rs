use super::*;
use proptest::prelude::*;

fn byte(offset: u64) -> u8 {
    (offset ^ (offset >> 8) ^ (offset >> 16).wrapping_mul(31)) as u8
}

fn bytes(offset: u64, len: usize) -> Vec<u8> {
    (offset..offset + len as u64).map(byte).collect()
}

#[derive(Default)]
struct Rig {
    asm: Assembler,
    pool: ChunkPool,
    read: u64,
}

impl Rig {
    fn put(&mut self, offset: u64, len: usize) -> bool {
        self.asm.insert(offset, &bytes(offset, len), false, &mut self.pool)
    }

    /// Reads all that can be read, checks the bytes, and gives their number.
    fn drain(&mut self, max: usize) -> u64 {
        let before = self.read;
        while let Some(chunk) = self.asm.read(max, false, &mut self.pool) {
            assert!(!chunk.is_empty() && chunk.len() <= max.min(PAGE));
            assert_eq!(chunk, bytes(self.read, chunk.len()));
            self.read += chunk.len() as u64;
        }
        assert_eq!(self.read, self.asm.start());
        self.read - before
    }
}

#[test]
fn in_order_bytes_come_back_and_small_streams_stay_small() {
    let mut rig = Rig::default();
    assert!(rig.put(0, 32));
    assert!(rig.asm.allocated() < 128 + 4 * size_of::<Page>() + 1);
    assert_eq!(rig.drain(usize::MAX), 32);
    for i in 0..200 {
        assert!(rig.put(32 + i * 1400, 1400));
        assert_eq!(rig.drain(1000), 1400);
    }
}

#[test]
fn a_stream_of_one_frame_takes_what_it_needs() {
    let (mut asm, mut pool) = (Assembler::default(), ChunkPool::default());
    assert!(asm.insert(0, &bytes(0, 32), true, &mut pool));
    assert_eq!(asm.allocated(), 32);
    assert_eq!(asm.read(100, true, &mut pool).unwrap(), bytes(0, 32));
    assert_eq!(asm.allocated(), 0);
}

#[test]
fn a_busy_stream_gets_whole_pages_and_reuses_them() {
    let mut rig = Rig::default();
    let mut offset = 0;
    while offset < 8 * PAGE as u64 {
        rig.put(offset, 1310);
        offset += 1310;
    }
    let chunks: Vec<_> =
        std::iter::from_fn(|| rig.asm.read(usize::MAX, false, &mut rig.pool)).collect();
    assert!(chunks[..8].iter().all(|c| c.len() == PAGE));
    drop(chunks);
    let kept = rig.pool.len();
    assert!(kept > 2);
    rig.put(offset, PAGE);
    assert_eq!(rig.pool.len(), kept - 1);
}

#[test]
fn duplicates_and_overlaps_are_clipped() {
    let mut rig = Rig::default();
    assert!(!rig.put(10, 10));
    assert!(!rig.put(15, 10));
    assert!(!rig.put(30, 5));
    assert!(rig.put(0, 12));
    assert_eq!(rig.asm.next(), 25);
    assert!(!rig.put(0, 25));
    assert_eq!(rig.drain(7), 25);
    assert!(!rig.put(3, 4));
    assert!(rig.put(20, 20));
    assert_eq!(rig.drain(100), 15);
    assert!(rig.asm.pages.iter().all(|p| p.islands.is_empty()));
}

#[test]
fn reading_in_place_keeps_what_was_not_used() {
    let mut rig = Rig::default();
    rig.put(0, 100);
    let used = rig.asm.read_with(&mut rig.pool, |b| {
        assert_eq!(b, bytes(0, 100));
        40
    });
    assert_eq!(used, Some(40));
    rig.read = 40;
    assert_eq!(rig.drain(1000), 60);
    assert_eq!(rig.asm.read_with(&mut rig.pool, |_| 0), None);
}

#[test]
fn single_bytes_with_all_gaps_cost_an_eighth_more_than_the_window() {
    let (mut rig, window) = (Rig::default(), 1 << 20);
    for offset in (1..window).step_by(2) {
        assert!(!rig.put(offset, 1));
    }
    let bound = window as usize * 9 / 8 + 64 * size_of::<Page>();
    assert!(rig.asm.allocated() <= bound, "{} > {bound}", rig.asm.allocated());
    for offset in (0..window).step_by(2) {
        assert!(rig.put(offset, 1));
    }
    assert_eq!(rig.drain(usize::MAX), window);
    assert!(rig.asm.allocated() < 64 * size_of::<Page>() + 1);
}

#[test]
fn one_byte_per_page_costs_no_more_than_the_credit_it_takes() {
    let (mut rig, window) = (Rig::default(), 4 << 20);
    for offset in (PAGE as u64 - 1..window).step_by(PAGE) {
        rig.put(offset, 1);
    }
    assert!(rig.asm.allocated() <= window as usize * 9 / 8 + 128 * size_of::<Page>());
    let mut rig = Rig::default();
    rig.put(5000, 1);
    assert!(rig.asm.allocated() < 2 * 5001 + 5001 / 8 + 16 * size_of::<Page>());
}

proptest! {
    /// RFC 9000 section 2.2.
    #[test]
    fn any_order_gives_the_same_bytes(
        mut cuts in prop::collection::vec(0u64..300_000, 0..80),
        order in prop::collection::vec(any::<u16>(), 90),
        extra in prop::collection::vec((0u64..299_000, 1usize..1000), 0..20),
        max in 1usize..100_000,
    ) {
        cuts.extend([0, 300_000]);
        cuts.sort_unstable();
        cuts.dedup();
        let mut parts: Vec<(u64, usize)> =
            cuts.windows(2).map(|w| (w[0], (w[1] - w[0]) as usize)).collect();
        parts.extend(extra);
        let mut keyed: Vec<_> = parts.iter().zip(order.iter().cycle()).collect();
        keyed.sort_by_key(|(_, k)| **k);
        let (mut rig, mut have) = (Rig::default(), vec![false; 300_000]);
        for ((offset, len), key) in keyed {
            let before = rig.asm.next();
            prop_assert_eq!(rig.put(*offset, *len), {
                have[*offset as usize..*offset as usize + len].fill(true);
                have.iter().position(|h| !h).unwrap_or(have.len()) as u64 > before
            });
            if key % 3 == 0 {
                rig.drain(max);
            }
            let contiguous = have.iter().position(|h| !h).unwrap_or(have.len());
            prop_assert_eq!(rig.asm.next(), contiguous as u64);
        }
        rig.drain(max);
        prop_assert_eq!(rig.read, 300_000);
    }
}
