//! Sets of byte ranges, as the sender keeps them: acknowledged out of order, or lost.

use core::ops::Range;
use std::collections::BTreeMap;

/// Disjoint, non-adjacent ranges in order. Every operation is logarithmic in the number of ranges,
/// whichever order a peer's acknowledgements come in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RangeSet(BTreeMap<u64, u64>);

impl RangeSet {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The lowest range.
    pub(crate) fn first(&self) -> Option<Range<u64>> {
        self.0.first_key_value().map(|(&start, &end)| start..end)
    }

    pub(crate) fn contains(&self, value: u64) -> bool {
        self.0.range(..=value).next_back().is_some_and(|(_, &end)| value < end)
    }

    pub(crate) fn insert(&mut self, Range { mut start, mut end }: Range<u64>) {
        if start >= end {
            return;
        }
        let follower = self.0.range(start + 1..).next().map(|(&s, _)| s);
        if let Some((&s, e)) = self.0.range_mut(..=start).next_back()
            && *e >= start
        {
            // The usual case behind a gap: the next packet extends the last range in place.
            if follower.is_none_or(|f| f > end) {
                *e = end.max(*e);
                return;
            }
            (start, end) = (s, end.max(*e));
        }
        while let Some((&s, &e)) = self.0.range(start..).next()
            && s <= end
        {
            end = end.max(e);
            self.0.remove(&s);
        }
        self.0.insert(start, end);
    }

    pub(crate) fn remove(&mut self, Range { start, end }: Range<u64>) {
        if start >= end {
            return;
        }
        let mut tail = None;
        if let Some((_, e)) = self.0.range_mut(..start).next_back()
            && *e > start
        {
            if *e > end {
                tail = Some(*e);
            }
            *e = start;
        }
        while let Some((&s, &e)) = self.0.range(start..end).next() {
            self.0.remove(&s);
            if e > end {
                tail = Some(e);
            }
        }
        if let Some(e) = tail {
            self.0.insert(end, e);
        }
    }

    /// Adds those parts of `range` to `out` that are not in this set.
    pub(crate) fn subtract_into(&self, range: Range<u64>, out: &mut Self) {
        let mut start = range.start;
        if let Some((_, &e)) = self.0.range(..=start).next_back() {
            start = start.max(e);
        }
        while start < range.end {
            let Some((&s, &e)) = self.0.range(start..range.end).next() else { break };
            out.insert(start..s);
            start = e;
        }
        out.insert(start..range.end);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIZE: u64 = 64;

    fn bits(set: &RangeSet) -> Vec<bool> {
        (0..SIZE).map(|i| set.contains(i)).collect()
    }

    proptest! {
        #[test]
        fn behaves_as_a_bitmap(ops in prop::collection::vec((any::<bool>(), 0..SIZE, 0..SIZE), 0..40),
                               cut in (0..SIZE, 0..SIZE)) {
            let (mut set, mut model) = (RangeSet::default(), vec![false; SIZE as usize]);
            for (add, a, b) in ops {
                if add { set.insert(a..b) } else { set.remove(a..b) }
                if a < b {
                    model[a as usize..b as usize].fill(add);
                }
                prop_assert_eq!(&bits(&set), &model);
                let runs = (0..model.len()).filter(|&i| model[i] && (i == 0 || !model[i - 1]));
                prop_assert_eq!(set.len(), runs.count());
            }
            let mut rest = RangeSet::default();
            set.subtract_into(cut.0..cut.1, &mut rest);
            for i in 0..SIZE {
                prop_assert_eq!(rest.contains(i), (cut.0..cut.1).contains(&i) && !model[i as usize]);
            }
        }
    }
}
