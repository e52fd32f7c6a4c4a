//! HyStart++ (RFC 9406): leave slow start when the RTT rises, by way of a slower phase that can
//! still find out that the rise was noise.

use crate::cc::AckEvent;
use crate::cc::window::Window;
use crate::time::Duration;

const MIN_RTT_THRESH: Duration = Duration::from_millis(4);
const MAX_RTT_THRESH: Duration = Duration::from_millis(16);
const MIN_RTT_DIVISOR: u32 = 8;
const N_RTT_SAMPLE: u32 = 8;
const CSS_GROWTH_DIVISOR: u64 = 4;
const CSS_ROUNDS: u32 = 5;
/// L of RFC 9406 for senders that do not pace.
const UNPACED_LIMIT: u64 = 8;

/// State of the one slow start it serves, the first.
#[derive(Clone, Debug)]
pub struct HyStart {
    current_min: Option<Duration>,
    last_min: Option<Duration>,
    samples: u32,
    css: Option<Css>,
    paced: bool,
}

/// Conservative slow start.
#[derive(Clone, Debug)]
struct Css {
    /// The RTT that ended standard slow start. RFC 9406 keeps the round's minimum instead, with
    /// which the phase could end at an RTT that would begin it again at once.
    baseline: Duration,
    rounds: u32,
    /// The window when the phase began.
    window: u64,
}

/// What an ACK means for slow start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Grow by this many bytes.
    Grow(u64),
    /// The RTT stayed high: congestion avoidance from this window on.
    Exit(u64),
}

impl HyStart {
    /// A controller that paces may grow by whole ACKs.
    pub fn new(paced: bool) -> Self {
        Self { current_min: None, last_min: None, samples: 0, css: None, paced }
    }

    /// An ACK in slow start of which `acked` bytes may grow `window`. True if it ended the phase.
    pub fn slow_start(&mut self, window: &mut Window, acked: u64, ack: &AckEvent<'_>) -> bool {
        if !window.is_first_slow_start() {
            // RFC 9406 section 4.3: later slow starts know their threshold.
            window.slow_start(acked);
            return false;
        }
        let (mss, cwnd) = (window.mss(), window.cwnd());
        match self.on_ack(acked, mss, cwnd, ack.rtt_sample, ack.rate.round_start) {
            Verdict::Grow(bytes) => {
                window.grow(bytes);
                false
            }
            Verdict::Exit(end) => {
                window.leave_slow_start(end);
                true
            }
        }
    }

    /// The round's bookkeeping comes first, so that an ACK which begins a
    /// round belongs to it and none falls between two.
    fn on_ack(
        &mut self,
        acked: u64,
        mss: u64,
        window: u64,
        sample: Option<Duration>,
        round_start: bool,
    ) -> Verdict {
        if round_start {
            self.last_min = self.current_min.take();
            self.samples = 0;
            if let Some(css) = &mut self.css {
                css.rounds += 1;
                if css.rounds >= CSS_ROUNDS {
                    // The rise was real, so what was added since it was seen only sits in the
                    // queue: go on from the window at which it was seen.
                    return Verdict::Exit(css.window);
                }
            }
        }
        if let Some(rtt) = sample {
            self.current_min = Some(self.current_min.map_or(rtt, |min| min.min(rtt)));
            self.samples += 1;
            if self.samples >= N_RTT_SAMPLE {
                self.judge(window);
            }
        }
        let acked = if self.paced { acked } else { acked.min(UNPACED_LIMIT * mss) };
        Verdict::Grow(if self.css.is_some() { acked / CSS_GROWTH_DIVISOR } else { acked })
    }

    fn judge(&mut self, window: u64) {
        let Some(current) = self.current_min else { return };
        if let Some(css) = &self.css {
            if current < css.baseline {
                self.css = None;
            }
            return;
        }
        let Some(last) = self.last_min else { return };
        let threshold = (last / MIN_RTT_DIVISOR).clamp(MIN_RTT_THRESH, MAX_RTT_THRESH);
        if current >= last + threshold {
            self.css = Some(Css { baseline: last + threshold, rounds: 0, window });
            // Samples of standard slow start say nothing about the slower phase.
            self.current_min = None;
            self.samples = 0;
        }
    }

    /// Whether growth is in its slower phase.
    #[cfg(test)]
    pub fn in_css(&self) -> bool {
        self.css.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u64 = 1000;

    fn ms(ms: u64) -> Option<Duration> {
        Some(Duration::from_millis(ms))
    }

    /// One round of `n` ACKs of one packet each at `rtt`; the last verdict.
    fn round(h: &mut HyStart, n: u32, rtt: u64, window: u64) -> Verdict {
        let mut last = h.on_ack(MSS, MSS, window, ms(rtt), true);
        for _ in 1..n {
            if matches!(last, Verdict::Exit(_)) {
                break;
            }
            last = h.on_ack(MSS, MSS, window, ms(rtt), false);
        }
        last
    }

    #[test]
    fn steady_rtt_never_leaves_slow_start() {
        let mut h = HyStart::new(true);
        for _ in 0..50 {
            assert_eq!(round(&mut h, 20, 50, 100 * MSS), Verdict::Grow(MSS));
        }
    }

    #[test]
    fn rise_of_an_eighth_enters_css_and_five_rounds_end_it() {
        let mut h = HyStart::new(true);
        round(&mut h, 10, 80, 10 * MSS);
        assert_eq!(round(&mut h, 7, 90, 20 * MSS), Verdict::Grow(MSS), "seven samples are too few");
        assert_eq!(h.on_ack(MSS, MSS, 27 * MSS, ms(90), false), Verdict::Grow(MSS / 4));
        for _ in 0..4 {
            assert_eq!(round(&mut h, 10, 95, 40 * MSS), Verdict::Grow(MSS / 4));
        }
        assert_eq!(round(&mut h, 10, 95, 60 * MSS), Verdict::Exit(27 * MSS));
    }

    /// neqo #3505: ACKs that begin a round belonged to none.
    #[test]
    fn the_ack_that_begins_a_round_counts_in_it() {
        let mut h = HyStart::new(true);
        round(&mut h, 8, 80, 10 * MSS);
        round(&mut h, 7, 90, 20 * MSS);
        assert!(!h.in_css());
        let mut h = HyStart::new(true);
        round(&mut h, 8, 80, 10 * MSS);
        round(&mut h, 8, 90, 20 * MSS);
        assert!(h.in_css(), "eight samples, the first with the beginning");
    }

    #[test]
    fn css_exit_does_not_keep_the_grown_window() {
        let mut h = HyStart::new(true);
        round(&mut h, 10, 20, 10 * MSS);
        round(&mut h, 10, 40, 50 * MSS);
        for _ in 0..4 {
            assert_eq!(round(&mut h, 10, 60, 150 * MSS), Verdict::Grow(MSS / 4));
        }
        assert_eq!(round(&mut h, 10, 60, 150 * MSS), Verdict::Exit(50 * MSS));
    }

    #[test]
    fn threshold_is_clamped_to_4_and_16_ms() {
        for (base, below, at) in [(8, 11, 12), (400, 415, 416)] {
            let mut h = HyStart::new(true);
            round(&mut h, 10, base, 10 * MSS);
            round(&mut h, 10, below, 10 * MSS);
            assert!(!h.in_css(), "{below}");
            let mut h = HyStart::new(true);
            round(&mut h, 10, base, 10 * MSS);
            round(&mut h, 10, at, 10 * MSS);
            assert!(h.in_css(), "{at}");
        }
    }

    #[test]
    fn spurious_css_returns_to_slow_start_and_not_at_an_rtt_that_enters_again() {
        let mut h = HyStart::new(true);
        round(&mut h, 10, 40, 10 * MSS);
        round(&mut h, 10, 60, 10 * MSS); // threshold 45 ms
        assert!(h.in_css());
        round(&mut h, 10, 50, 10 * MSS);
        assert!(h.in_css(), "below 60 ms, but still a rise over 40 ms");
        round(&mut h, 10, 44, 10 * MSS);
        assert!(!h.in_css());
    }

    #[test]
    fn css_starts_without_samples_of_standard_slow_start() {
        let mut h = HyStart::new(true);
        round(&mut h, 10, 40, 10 * MSS);
        round(&mut h, 8, 60, 10 * MSS);
        assert!(h.in_css());
        // One low sample is not a round's worth of evidence.
        h.on_ack(MSS, MSS, 10 * MSS, ms(41), false);
        assert!(h.in_css());
    }

    #[test]
    fn unpaced_growth_per_ack_is_limited() {
        let mut h = HyStart::new(false);
        assert_eq!(h.on_ack(100 * MSS, MSS, 10 * MSS, None, false), Verdict::Grow(8 * MSS));
    }
}
