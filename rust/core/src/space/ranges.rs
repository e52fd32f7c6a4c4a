//! A bounded set of packet numbers.

use core::ops::RangeInclusive;
use smallvec::SmallVec;

/// Ranges kept. RFC 9000 section 13.2.3 asks a receiver to limit them.
pub const MAX_RANGES: usize = 64;

/// Received packet numbers as ascending ranges that neither overlap nor touch. When there are too
/// many the lowest is given up, and everything up to it counts as received.
#[derive(Clone, Debug, Default)]
pub struct RangeSet {
    ranges: SmallVec<[(u64, u64); 2]>,
    /// Numbers below this are not tracked any more.
    floor: u64,
}

impl RangeSet {
    /// Adds a number; false if it is in already, or too old to tell.
    pub fn insert(&mut self, pn: u64) -> bool {
        if pn < self.floor {
            return false;
        }
        // Nearly every packet is the next one.
        if let Some((_, end)) = self.ranges.last_mut()
            && pn.checked_sub(*end) == Some(1)
        {
            *end = pn;
            return true;
        }
        let i = self.find(pn);
        let joins_above = match self.ranges.get(i) {
            Some((start, _)) if *start <= pn => return false,
            Some((start, _)) => *start == pn + 1,
            None => false,
        };
        let joins_below = i > 0 && self.ranges[i - 1].1 + 1 == pn;
        match (joins_below, joins_above) {
            (true, true) => {
                self.ranges[i - 1].1 = self.ranges[i].1;
                self.ranges.remove(i);
            }
            (true, false) => self.ranges[i - 1].1 = pn,
            (false, true) => self.ranges[i].0 = pn,
            (false, false) => self.insert_range(i, pn),
        }
        true
    }

    fn insert_range(&mut self, i: usize, pn: u64) {
        self.ranges.insert(i, (pn, pn));
        if self.ranges.len() > MAX_RANGES {
            let (_, end) = self.ranges.remove(0);
            self.floor = end + 1;
        }
    }

    /// Where the first range stands that ends at `pn` or above.
    fn find(&self, pn: u64) -> usize {
        let below = |(_, end): &(u64, u64)| *end < pn;
        match self.ranges.split_last() {
            // Nearly every packet is in the last range, or is to be.
            Some((last, rest)) if rest.last().is_none_or(below) => {
                rest.len() + usize::from(below(last))
            }
            _ => self.ranges.partition_point(below),
        }
    }

    /// Whether the number is in, or too old to tell.
    pub fn contains(&self, pn: u64) -> bool {
        if pn < self.floor {
            return true;
        }
        self.ranges.get(self.find(pn)).is_some_and(|(start, _)| *start <= pn)
    }

    /// The smallest number from `from` on that is not in.
    pub fn first_missing(&self, from: u64) -> u64 {
        let from = from.max(self.floor);
        match self.ranges.get(self.find(from)) {
            Some((start, end)) if *start <= from => end + 1,
            _ => from,
        }
    }

    /// The largest number.
    pub fn largest(&self) -> Option<u64> {
        self.ranges.last().map(|(_, end)| *end)
    }

    /// The ranges from the largest number down to `floor`, cut off there.
    pub fn descending(
        &self,
        floor: u64,
    ) -> impl ExactSizeIterator<Item = RangeInclusive<u64>> + '_ {
        self.ranges[self.find(floor)..]
            .iter()
            .rev()
            .map(move |(start, end)| (*start).max(floor)..=*end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn beyond_the_bound_the_oldest_falls_away_and_counts_as_received() {
        let mut set = RangeSet::default();
        for i in 0..100u64 {
            assert!(set.insert(i * 2 + 1));
        }
        assert_eq!(set.ranges.len(), MAX_RANGES);
        assert_eq!(set.first_missing(0), 72);
        assert!(!set.insert(0) && set.contains(0) && !set.insert(71));
        assert!(set.insert(72));
        assert_eq!(set.largest(), Some(199));
    }

    proptest! {
        #[test]
        fn matches_a_naive_set(pns in proptest::collection::vec(0u64..120, 0..200)) {
            let mut set = RangeSet::default();
            let mut model = BTreeSet::new();
            for pn in pns {
                prop_assert_eq!(set.contains(pn), model.contains(&pn));
                prop_assert_eq!(set.insert(pn), model.insert(pn));
            }
            let listed: Vec<u64> = set.descending(0).flat_map(Iterator::rev).collect();
            prop_assert_eq!(listed, model.iter().rev().copied().collect::<Vec<_>>());
            for from in 0..122 {
                let missing = (from..).find(|pn| !model.contains(pn));
                prop_assert_eq!(Some(set.first_missing(from)), missing);
                let above: Vec<u64> = set.descending(from).flat_map(Iterator::rev).collect();
                prop_assert_eq!(above, model.range(from..).rev().copied().collect::<Vec<_>>());
            }
        }

        #[test]
        fn ranges_stay_apart_and_bounded(pns in proptest::collection::vec(0u64..1000, 0..500)) {
            let mut set = RangeSet::default();
            for pn in pns {
                set.insert(pn);
                prop_assert!(set.contains(pn) && set.ranges.len() <= MAX_RANGES);
            }
            let ranges: Vec<_> = set.descending(0).collect();
            for pair in ranges.windows(2) {
                prop_assert!(pair[1].end() + 1 < *pair[0].start());
            }
        }
    }
}
