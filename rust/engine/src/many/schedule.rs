//! When the requests of one connection should leave, in an open loop.

use tquic_core::rng::Rng;
use tquic_core::time::{Duration, Instant};

/// Of all requests of a run, this connection sends every `of`-th, or at random its part of them.
pub(super) struct Schedule {
    start: Instant,
    /// Requests per second over all connections.
    rate: f64,
    /// Seconds until that rate is reached.
    ramp: f64,
    of: u64,
    /// Requests so far, and how many there are to be.
    issued: u64,
    share: u64,
    /// How many requests of all connections are to have left when the next one does.
    place: f64,
    random: Option<Rng>,
}

impl Schedule {
    /// The part of the connection with this index out of `of`. `count`: requests of all of them.
    pub fn new(
        start: Instant,
        (rate, ramp): (f64, Duration),
        seed: Option<u64>,
        count: Option<u64>,
        (index, of): (u64, u64),
    ) -> Self {
        let share = |count: u64| count / of + u64::from(index < count % of);
        let random = seed.map(|seed| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&seed.to_le_bytes());
            bytes[8..16].copy_from_slice(&index.to_le_bytes());
            Rng::from_seed(bytes)
        });
        let share = count.map_or(u64::MAX, share);
        let ramp = ramp.as_secs_f64();
        let mut this =
            Self { start, rate, ramp, of, issued: 0, share, place: index as f64, random };
        if this.random.is_some() {
            this.place = 0.0;
            this.step();
        }
        this
    }

    /// When the next request should leave; `None` if there is none.
    pub fn next(&self) -> Option<Instant> {
        (self.issued < self.share).then(|| self.start + self.time())
    }

    /// It has left.
    pub fn advance(&mut self) {
        self.issued += 1;
        self.step();
    }

    /// Ends it: how many of its requests should have left before `until`, and did not. With random
    /// times these are as many as there are on average.
    pub fn end(&mut self, until: Option<Instant>) -> u64 {
        let waits = self.next().is_some_and(|at| until.is_none_or(|until| at < until));
        let share = std::mem::replace(&mut self.share, self.issued).saturating_sub(self.issued);
        match until {
            _ if !waits => 0,
            None => share,
            Some(until) => {
                let place = self.place_at(until.saturating_since(self.start));
                let missed = ((place - self.place) / self.of as f64).ceil();
                // Floats of any size become the nearest u64.
                share.min((missed as u64).max(1))
            }
        }
    }

    fn step(&mut self) {
        let of = self.of as f64;
        self.place += match &mut self.random {
            None => of,
            // Intervals of a Poisson process, in units of the mean one. In (0, 1], 53 bits of it.
            Some(rng) => -(((rng.u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64).ln() * of,
        };
    }

    /// The time at which `place` requests are to have left: the inverse of the integral of the rate.
    fn time(&self) -> Duration {
        let Self { rate, ramp, place, .. } = *self;
        let during_ramp = rate * ramp / 2.0;
        let seconds = if place < during_ramp {
            (2.0 * ramp * place / rate).sqrt()
        } else {
            ramp / 2.0 + place / rate
        };
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// How many requests of all connections are to have left by then: the integral of the rate.
    fn place_at(&self, time: Duration) -> f64 {
        let Self { rate, ramp, .. } = *self;
        let seconds = time.as_secs_f64();
        if seconds < ramp {
            rate * seconds * seconds / (2.0 * ramp)
        } else {
            rate * (seconds - ramp / 2.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Instant = Instant::from_nanos(1_000_000_000);

    /// The times of all connections' requests, in seconds from the start, in order.
    fn times(rate: f64, ramp: f64, seed: Option<u64>, (count, of): (u64, u64)) -> Vec<f64> {
        let ramp = Duration::from_secs_f64(ramp);
        let mut times = Vec::new();
        for index in 0..of {
            let mut schedule = Schedule::new(START, (rate, ramp), seed, Some(count), (index, of));
            while let Some(at) = schedule.next() {
                times.push((at - START).as_secs_f64());
                schedule.advance();
            }
        }
        times.sort_by(f64::total_cmp);
        times
    }

    #[test]
    fn even_over_all_connections() {
        let times = times(100.0, 0.0, None, (7, 3));
        assert_eq!(times.len(), 7);
        for (n, time) in times.iter().enumerate() {
            assert!((time - n as f64 / 100.0).abs() < 1e-8, "{n} {time}");
        }
    }

    #[test]
    fn a_ramp_reaches_the_rate() {
        // 2 s up to 1000/s: 1000 requests on the way, then 1000 each second.
        for seed in [None, Some(5)] {
            let times = times(1000.0, 2.0, seed, (4000, 7));
            let before = |t: f64| times.partition_point(|at| *at < t) as f64;
            for (t, expected) in [(1.0, 250.0), (2.0, 1000.0), (3.0, 2000.0)] {
                let tolerance = if seed.is_some() { 150.0 } else { 7.0 };
                assert!((before(t) - expected).abs() <= tolerance, "{seed:?} {t} {}", before(t));
            }
        }
    }

    #[test]
    fn what_has_not_left_is_counted_at_the_end() {
        let rest = |seed, count, sent: u64, until: Option<f64>| {
            let until = until.map(|seconds| START + Duration::from_secs_f64(seconds));
            let mut rests = 0;
            for index in 0..3 {
                let ramp = Duration::from_secs(1);
                let mut schedule = Schedule::new(START, (90.0, ramp), seed, count, (index, 3));
                for _ in 0..sent {
                    if schedule.next().is_some() {
                        schedule.advance();
                    }
                }
                rests += schedule.end(until);
                assert_eq!((schedule.next(), schedule.end(until)), (None, 0));
            }
            rests
        };
        // 45 during the ramp, then 90 each second.
        assert_eq!(rest(None, None, 0, Some(2.0)), 135);
        assert_eq!(rest(None, None, 0, Some(0.5)), 12);
        assert_eq!(rest(None, None, 40, Some(2.0)), 15);
        assert_eq!(rest(None, None, 45, Some(2.0)), 0);
        assert_eq!(rest(None, Some(100), 10, Some(2.0)), 70);
        assert_eq!(rest(None, Some(100), 10, None), 70);
        assert_eq!(rest(None, Some(100), 34, None), 0);
        assert!((100..170).contains(&rest(Some(3), None, 0, Some(2.0))));
    }

    #[test]
    fn poisson_intervals_vary_as_much_as_they_are_long() {
        let times = times(1000.0, 0.0, Some(1), (4000, 4));
        let gaps: Vec<f64> = times.windows(2).map(|w| w[1] - w[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((0.8e-3..1.2e-3).contains(&mean), "{mean}");
        assert!((0.8..1.2).contains(&(variance.sqrt() / mean)), "{variance} {mean}");
    }
}
