//! Whether the pipe is full: more sending no longer brings more delivery (draft-ietf-ccwg-bbr-06,
//! "Exiting Acceleration Based on Bandwidth Plateau").

use super::params::{FULL_PIPE_GROWTH, FULL_PIPE_ROUNDS, UNIT};
use crate::cc::math::scale;

/// The estimator.
#[derive(Clone, Copy, Debug, Default)]
pub struct FullPipe {
    /// BBR.full_bw: the bandwidth that is to be exceeded.
    bw: u64,
    /// BBR.full_bw_count: round trips without much growth.
    rounds: u64,
    /// BBR.full_bw_now: full since the search last began.
    pub now: bool,
    /// BBR.full_bw_reached: was full once.
    pub reached: bool,
}

impl FullPipe {
    /// Begins a search, from the bandwidth `bw`.
    pub fn restart(&mut self, bw: u64) {
        *self = Self { bw, rounds: 0, now: false, reached: self.reached };
    }

    /// A round trip that the application did not limit has delivered at `bw`.
    pub fn on_round(&mut self, bw: u64) {
        if self.now {
            return;
        }
        if bw >= scale(self.bw, FULL_PIPE_GROWTH, UNIT) {
            self.restart(bw);
            return;
        }
        self.rounds += 1;
        if self.rounds >= FULL_PIPE_ROUNDS {
            self.set_full();
        }
    }

    /// The pipe is full for another reason.
    pub fn set_full(&mut self) {
        self.now = true;
        self.reached = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_rounds_of_less_than_a_quarter() {
        let mut p = FullPipe::default();
        for bw in [100, 125, 150] {
            p.on_round(bw);
        }
        assert!(!p.now && p.rounds == 1, "125 is a quarter more, 150 is not");
        p.on_round(155);
        assert!(!p.now);
        p.on_round(130);
        assert!(p.now && p.reached, "a quarter over three rounds, not per round");
        p.restart(0);
        assert!(!p.now && p.reached);
    }
}
