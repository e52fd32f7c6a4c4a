//! Where the versions of BBR differ, as data.

use super::BbrVersion;
use crate::time::Duration;

/// A factor in thousandths.
pub type Gain = u64;
/// The factor 1.
pub const UNIT: Gain = 1000;

/// Round trips in Drain after which it is given up. The published versions 1 and 2 wait without a
/// limit, which other flows' queues make long.
pub const DRAIN_ROUNDS: u64 = 3;
/// BBR.LossThresh: the loss rate of a round trip that is still tolerated while probing.
pub const LOSS_THRESHOLD: Gain = 20;
/// BBR.Beta: what a round trip with losses leaves of the short-term bounds at least.
pub const BETA: Gain = 700;
/// BBR.Headroom: the part of inflight_longterm that is left to others while cruising. It is taken
/// off, so that 85 % are used.
pub const HEADROOM: Gain = 150;
/// BBR.MinPipeCwnd in datagrams.
pub const MIN_PIPE_DATAGRAMS: u64 = 4;
/// BBR.MinRTTFilterLen.
pub const MIN_RTT_WINDOW: Duration = Duration::from_secs(10);
/// BBR.ProbeRTTDuration.
pub const PROBE_RTT_DURATION: Duration = Duration::from_millis(200);
/// BBR.ExtraAckedFilterLen in round trips, once the pipe was full.
pub const EXTRA_ACKED_ROUNDS: u64 = 10;
/// What pacing takes of the bandwidth: 100 % less BBR.PacingMarginPercent.
pub const PACING_SHARE: Gain = 990;
/// Growth of the bandwidth that counts as such, and for how many round trips it may fail to appear.
pub const FULL_PIPE_GROWTH: Gain = 1250;
/// See [`FULL_PIPE_GROWTH`].
pub const FULL_PIPE_ROUNDS: u64 = 3;

/// How bandwidth is probed once the pipe was full, and with that what losses mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cycle {
    /// Version 1: eight phases of one min_rtt each, their pacing gains in a row. Losses change the
    /// window for the time of recovery only, the model never.
    Gains,
    /// Versions 2 and 3: down, cruise, refill, up. Losses bound the model.
    Phases(UpEnd),
}

/// When a probe for bandwidth has gone far enough, besides too many losses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpEnd {
    /// Version 2: a min_rtt has passed, and what is in flight exceeds the bandwidth-delay product by
    /// the gain of the probe.
    QueueBuilt,
    /// Version 3: the delivery rate has stopped growing.
    Plateau,
}

/// The constants of one version.
#[derive(Debug)]
pub struct Params {
    pub version: BbrVersion,
    pub cycle: Cycle,
    pub startup_pacing_gain: Gain,
    pub startup_cwnd_gain: Gain,
    pub drain_pacing_gain: Gain,
    pub drain_cwnd_gain: Gain,
    /// Whether a plateau is looked for in the maximum filter (as Linux does for its versions 1 and
    /// 2) or in the samples themselves.
    pub plateau_of_filter: bool,
    /// Runs of losses in a round trip that end Startup, given a loss rate above the threshold.
    pub startup_loss_runs: u64,
    pub down_pacing_gain: Gain,
    pub up_pacing_gain: Gain,
    pub up_cwnd_gain: Gain,
    /// All states not named above.
    pub cwnd_gain: Gain,
    /// Window of the bandwidth filter: further cycles for `Phases`, round trips for `Gains`.
    pub max_bw_window: u64,
    /// BBR.ProbeRTTInterval.
    pub probe_rtt_interval: Duration,
    /// BBR.ProbeRTTCwndGain; the minimal window is the floor.
    pub probe_rtt_cwnd_gain: Gain,
}

/// Version 1: "BBR: Congestion-Based Congestion Control" (ACM Queue, 2016) and
/// draft-cardwell-iccrg-bbr-congestion-control-00, without the policer detection of Linux.
pub static V1: Params = Params {
    version: BbrVersion::V1,
    cycle: Cycle::Gains,
    startup_pacing_gain: 2885,
    startup_cwnd_gain: 2885,
    drain_pacing_gain: 347,
    drain_cwnd_gain: 2885,
    plateau_of_filter: true,
    startup_loss_runs: u64::MAX,
    down_pacing_gain: 750,
    up_pacing_gain: 1250,
    up_cwnd_gain: 2000,
    cwnd_gain: 2000,
    max_bw_window: 10,
    probe_rtt_interval: Duration::from_secs(10),
    probe_rtt_cwnd_gain: 0,
};

/// Version 2, after the v2alpha branch of Linux, without its response to ECN.
pub static V2: Params = Params {
    version: BbrVersion::V2,
    cycle: Cycle::Phases(UpEnd::QueueBuilt),
    startup_loss_runs: 8,
    max_bw_window: 1,
    probe_rtt_interval: Duration::from_secs(5),
    probe_rtt_cwnd_gain: 500,
    ..V1
};

/// Version 3: draft-ietf-ccwg-bbr-06.
pub static V3: Params = Params {
    version: BbrVersion::V3,
    cycle: Cycle::Phases(UpEnd::Plateau),
    startup_pacing_gain: 2770,
    startup_cwnd_gain: 2000,
    drain_pacing_gain: 500,
    drain_cwnd_gain: 2000,
    plateau_of_filter: false,
    startup_loss_runs: 6,
    down_pacing_gain: 900,
    up_cwnd_gain: 2250,
    ..V2
};
