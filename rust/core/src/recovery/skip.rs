//! Packet numbers that are never sent, so that a peer which acknowledges what it has not received
//! gives itself away (RFC 9000 section 21.4).

use crate::rng::Rng;

const FIRST_PERIOD: u64 = 256;
const LAST_PERIOD: u64 = 128 * 1024;
const REMEMBERED: usize = 8;

/// Which numbers were skipped, and when to skip next.
#[derive(Clone, Debug)]
pub(super) struct Skips {
    /// The newest ones, oldest first.
    recent: [u64; REMEMBERED],
    len: usize,
    /// The next number to skip; `None` until the first packet.
    next: Option<u64>,
    period: u64,
}

impl Skips {
    pub fn new() -> Self {
        Self { recent: [0; REMEMBERED], len: 0, next: None, period: FIRST_PERIOD }
    }

    /// The number to use instead of `pn`, which is `pn` itself nearly always.
    pub fn pass(&mut self, pn: u64, rng: &mut Rng) -> u64 {
        let next = *self.next.get_or_insert_with(|| pn + draw(FIRST_PERIOD, rng));
        if pn < next {
            return pn;
        }
        if self.len == REMEMBERED {
            self.recent.rotate_left(1);
            self.len -= 1;
        }
        self.recent[self.len] = pn;
        self.len += 1;
        // The longer the connection lasts the more there is to compare against: skip less often.
        self.period = (self.period * 2).min(LAST_PERIOD);
        self.next = Some(pn + 1 + draw(self.period, rng));
        pn + 1
    }

    /// Whether a skipped number lies in `first..=last`.
    pub fn any_in(&self, first: u64, last: u64) -> bool {
        self.recent[..self.len].iter().any(|pn| (first..=last).contains(pn))
    }

    /// The oldest number remembered.
    pub fn oldest(&self) -> Option<u64> {
        self.recent[..self.len].first().copied()
    }
}

fn draw(period: u64, rng: &mut Rng) -> u64 {
    period / 2 + rng.below(period)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skips_are_rare_unpredictable_and_remembered() {
        let places = |seed| {
            let (mut skips, mut rng) = (Skips::new(), Rng::from_seed([seed; 32]));
            let (mut pn, mut skipped) = (0, Vec::new());
            for _ in 0..100_000 {
                let used = skips.pass(pn, &mut rng);
                if used != pn {
                    assert_eq!(used, pn + 1);
                    assert!(skips.any_in(pn, pn) && !skips.any_in(used, used));
                    skipped.push(pn);
                }
                pn = used + 1;
            }
            assert!((7..=12).contains(&skipped.len()), "{}", skipped.len());
            assert_eq!(skips.oldest(), Some(skipped[skipped.len().saturating_sub(REMEMBERED)]));
            skipped
        };
        assert_ne!(places(1), places(2));
        assert_eq!(places(1), places(1));
    }

    #[test]
    fn the_newest_skips_are_remembered() {
        let (mut skips, mut rng) = (Skips::new(), Rng::from_seed([3; 32]));
        let (mut pn, mut skipped) = (0, Vec::new());
        while skipped.len() < REMEMBERED + 3 {
            let used = skips.pass(pn, &mut rng);
            if used != pn {
                skipped.push(pn);
            }
            pn = used + 1;
        }
        let (forgotten, kept) = skipped.split_at(3);
        assert!(kept.iter().all(|pn| skips.any_in(*pn, *pn)));
        assert!(!forgotten.iter().any(|pn| skips.any_in(*pn, *pn)));
        assert_eq!(skips.oldest(), kept.first().copied());
    }
}
