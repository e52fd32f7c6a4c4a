//! Which packets a link loses.

use crate::random::Probability;
use tquic_core::rng::Rng;

/// How a link loses packets, whatever its queue does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Each packet on its own.
    Random(Probability),
    /// Each packet on its own, but after `burst` losses in a row one packet is let through. This is
    /// the QUIC network simulator's "drop-rate".
    Limited {
        /// The chance of each packet.
        chance: Probability,
        /// Most losses in a row.
        burst: u32,
    },
    /// Gilbert-Elliott: a good and a bad state with different chances of loss, changed by chance
    /// after each packet.
    GilbertElliott {
        /// From good to bad.
        worsen: Probability,
        /// From bad to good.
        recover: Probability,
        /// Chance of loss in the good state.
        good: Probability,
        /// Chance of loss in the bad state.
        bad: Probability,
    },
    /// The packets with these numbers, counted from 1 in order of arrival at the link.
    Listed(Vec<u64>),
    /// The first so many packets.
    First(u64),
    /// The last of every so many packets.
    Every(u64),
}

impl Loss {
    /// The share of packets lost in the long run, at most.
    pub fn average(&self) -> f64 {
        match self {
            Self::Random(chance) | Self::Limited { chance, .. } => chance.as_fraction(),
            Self::GilbertElliott { worsen, recover, good, bad } => {
                let [worsen, recover] = [worsen, recover].map(|p| p.as_fraction());
                let bad_share = if worsen > 0.0 { worsen / (worsen + recover) } else { 0.0 };
                good.as_fraction() * (1.0 - bad_share) + bad.as_fraction() * bad_share
            }
            Self::Listed(_) | Self::First(_) => 0.0,
            Self::Every(count) => 1.0 / (*count).max(1) as f64,
        }
    }
}

/// A chance per packet that holds still after a number of hits in a row.
#[derive(Clone, Debug)]
pub(crate) struct LimitedChance {
    chance: Probability,
    burst: u32,
    in_a_row: u32,
}

impl LimitedChance {
    pub(crate) const fn new(chance: Probability, burst: u32) -> Self {
        Self { chance, burst, in_a_row: 0 }
    }

    pub(crate) fn happens(&mut self, rng: &mut Rng) -> bool {
        let hit = self.in_a_row < self.burst && self.chance.happens(rng);
        self.in_a_row = if hit { self.in_a_row + 1 } else { 0 };
        hit
    }
}

/// Several kinds of loss at once, with their state.
#[derive(Clone, Debug)]
pub(crate) struct LossModel {
    models: Vec<Model>,
    arrived: u64,
    rng: Rng,
}

#[derive(Clone, Debug)]
enum Model {
    Limited(LimitedChance),
    GilbertElliott { change: [Probability; 2], loss: [Probability; 2], bad: bool },
    Listed(Vec<u64>),
    Every(u64),
}

impl LossModel {
    pub(crate) fn new(losses: &[Loss], rng: Rng) -> Self {
        Self { models: losses.iter().map(Model::new).collect(), arrived: 0, rng }
    }

    /// Whether the next packet is lost. Every model counts every packet, so that adding one does
    /// not change what the others see.
    pub(crate) fn drops_next(&mut self) -> bool {
        self.arrived += 1;
        let (arrived, rng) = (self.arrived, &mut self.rng);
        self.models.iter_mut().fold(false, |lost, model| model.drops(arrived, rng) | lost)
    }
}

impl Model {
    fn new(loss: &Loss) -> Self {
        match *loss {
            Loss::Random(chance) => Self::Limited(LimitedChance::new(chance, u32::MAX)),
            Loss::Limited { chance, burst } => Self::Limited(LimitedChance::new(chance, burst)),
            Loss::GilbertElliott { worsen, recover, good, bad } => {
                Self::GilbertElliott { change: [worsen, recover], loss: [good, bad], bad: false }
            }
            Loss::Listed(ref numbers) => {
                let mut sorted = numbers.clone();
                sorted.sort_unstable();
                Self::Listed(sorted)
            }
            Loss::First(count) => Self::Listed((1..=count).collect()),
            Loss::Every(count) => Self::Every(count.max(1)),
        }
    }

    fn drops(&mut self, number: u64, rng: &mut Rng) -> bool {
        match self {
            Self::Limited(chance) => chance.happens(rng),
            Self::GilbertElliott { change, loss, bad } => {
                let lost = loss[usize::from(*bad)].happens(rng);
                *bad ^= change[usize::from(*bad)].happens(rng);
                lost
            }
            Self::Listed(numbers) => numbers.binary_search(&number).is_ok(),
            Self::Every(count) => number.is_multiple_of(*count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::stream;

    fn course(losses: &[Loss], packets: usize) -> Vec<bool> {
        let mut model = LossModel::new(losses, stream(3, "loss", 0));
        (0..packets).map(|_| model.drops_next()).collect()
    }

    fn share(course: &[bool]) -> f64 {
        course.iter().filter(|&&lost| lost).count() as f64 / course.len() as f64
    }

    fn longest_run(course: &[bool]) -> usize {
        course.split(|&lost| !lost).map(<[bool]>::len).max().unwrap_or(0)
    }

    #[test]
    fn limited_loss_keeps_its_bound() {
        let chance = Probability::percent(30);
        let limited = course(&[Loss::Limited { chance, burst: 3 }], 50_000);
        assert_eq!(longest_run(&limited), 3);
        // A chain over the length of the run: 0.3 (1 - 0.3^3) / (1 - 0.3^4) = 29.4 %.
        assert!((share(&limited) - 0.294).abs() < 0.01, "{}", share(&limited));
        let free = course(&[Loss::Random(chance)], 50_000);
        assert!(longest_run(&free) > 3);
        assert!((share(&free) - 0.3).abs() < 0.01);
    }

    #[test]
    fn gilbert_elliott_reaches_its_stationary_loss() {
        let model = Loss::GilbertElliott {
            worsen: Probability::percent(1),
            recover: Probability::percent(9),
            good: Probability::NEVER,
            bad: Probability::percent(50),
        };
        let lost = share(&course(&[model], 200_000));
        assert!((lost - 0.05).abs() < 0.01, "{lost}");
    }

    #[test]
    fn lists_and_first_are_exact() {
        let hits = course(&[Loss::First(2), Loss::Listed(vec![7, 4])], 8);
        assert_eq!(hits, [true, true, false, true, false, false, true, false]);
    }
}
