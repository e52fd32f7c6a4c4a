//! Schedulers that are not ours: a program in eBPF, or a thread in Python. They are asked once for
//! each train, and told in sums what became of it.
//!
//! Whatever they do, the connection goes on: a decision that fails is made by the named scheduler,
//! counted and told; after several in a row nobody asks any more.

use core::fmt;

use crate::time::{Duration, Instant};

/// Failures in a row after which a scheduler is not asked any more.
const PATIENCE: u32 = 16;

/// A path as a scheduler sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathView {
    /// Path ID.
    pub id: u32,
    /// Capacity in Mbit/s that somebody set; 0 if nobody did.
    pub weight: u32,
    /// It may be chosen: validated, not abandoned, and not silent while others answer.
    pub is_usable: bool,
    /// Either end wants it used only when no other can be.
    pub is_backup: bool,
    /// Congestion window and pacer let a full packet go now.
    pub has_room: bool,
    /// Smoothed round-trip time.
    pub srtt: Duration,
    /// Smallest round-trip time seen.
    pub min_rtt: Duration,
    /// Delivery rate in bytes per second, as measured, or else by window and round-trip time.
    pub bandwidth: u64,
    /// Congestion window in bytes.
    pub cwnd: u64,
    /// Bytes in flight.
    pub in_flight: u64,
    /// Packets declared lost, of 10,000 sent.
    pub loss_rate: u32,
}

/// What is about to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Burst {
    /// The stream whose data comes first, if it is stream data.
    pub stream: Option<u64>,
    /// Bytes of its first packet, at most.
    pub bytes: u32,
    /// Whether that data was sent before.
    pub retransmission: bool,
}

/// The answer of a scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The burst goes on the path at this index, as soon as there is room.
    Path(usize),
    /// Nothing is sent now.
    Wait,
    /// It does not say: the named scheduler decides.
    Unsaid,
}

/// What became of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathNews {
    /// It was opened; its address is being validated.
    Added,
    /// It was abandoned.
    Removed,
    /// It may be used.
    Active,
    /// It is to be used only when no other can be.
    Standby,
    /// It does not answer any more.
    Failed,
    /// It answers again.
    Recovered,
    /// Its addresses changed.
    Migrated,
}

/// What became of packets or paths; in sums, for a train or an ACK frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// A train of so many bytes was sent.
    Sent(u64),
    /// So many bytes were acknowledged; with the newest round-trip time.
    Acked(u64, Duration),
    /// So many bytes were declared lost.
    Lost(u64),
    /// Something happened to the path.
    Path(PathNews),
}

/// See the module. `Err` says what went wrong, for a person.
pub trait UserScheduler: fmt::Debug + Send {
    /// Its name.
    fn name(&self) -> &str;
    /// The path for the next burst.
    fn select(&mut self, now: Instant, paths: &[PathView], burst: &Burst)
    -> Result<Choice, String>;
    /// Whether it wants to be told.
    fn wants(&self, news: &News) -> bool;
    /// Something happened on the path at `index`.
    fn tell(
        &mut self,
        now: Instant,
        paths: &[PathView],
        index: usize,
        news: News,
    ) -> Result<(), String>;
}

/// What makes a scheduler for each connection.
pub trait SchedulerSource: fmt::Debug + Send + Sync {
    /// A scheduler for a new connection.
    fn start(&self) -> Result<Box<dyn UserScheduler>, String>;
}

/// A scheduler at work, and how it does.
#[derive(Debug)]
pub(super) struct User {
    pub scheduler: Box<dyn UserScheduler>,
    in_row: u32,
    told: bool,
}

/// What is to be done about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failing {
    /// The application should hear of it.
    pub tell: bool,
    /// The scheduler is done.
    pub over: bool,
}

impl User {
    pub fn new(scheduler: Box<dyn UserScheduler>) -> Self {
        Self { scheduler, in_row: 0, told: false }
    }

    pub fn on_success(&mut self) {
        self.in_row = 0;
    }

    pub fn on_failure(&mut self) -> Failing {
        self.in_row += 1;
        let over = self.in_row >= PATIENCE;
        Failing { tell: !core::mem::replace(&mut self.told, true) || over, over }
    }
}
