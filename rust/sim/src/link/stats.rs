//! What a link did, counted.

use super::histogram::Histogram;
use crate::digest::Digest;
use crate::packet::{Ecn, Packet};
use tquic_core::time::{Duration, Instant};

/// Why a link dropped a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The link was down.
    Outage,
    /// Larger than the link's MTU.
    TooBig,
    /// The loss model.
    Loss,
    /// The queue was full.
    QueueFull,
    /// Active queue management.
    Aqm,
    /// Above the policed rate.
    Policed,
    /// More bytes under way than the link may hold in memory.
    FlightFull,
}

impl Cause {
    /// All causes in the order of [`Stats::dropped`].
    pub const ALL: [Self; 7] = [
        Self::Outage,
        Self::TooBig,
        Self::Loss,
        Self::QueueFull,
        Self::Aqm,
        Self::Policed,
        Self::FlightFull,
    ];

    /// A name for reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Outage => "outage",
            Self::TooBig => "too_big",
            Self::Loss => "loss",
            Self::QueueFull => "queue_full",
            Self::Aqm => "aqm",
            Self::Policed => "policed",
            Self::FlightFull => "flight_full",
        }
    }
}

/// Packets and their payload bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// How many packets.
    pub packets: u64,
    /// How many bytes, without the link's overhead.
    pub bytes: u64,
}

impl Count {
    fn add(&mut self, packet: &Packet) {
        self.packets += 1;
        self.bytes += u64::from(packet.size);
    }
}

/// Counters of one link.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Everything that was sent into the link.
    pub offered: Count,
    /// Everything that came out, copies included.
    pub delivered: Count,
    dropped: [Count; Cause::ALL.len()],
    /// Packets that the queue marked with CE.
    pub marked: u64,
    /// Packets with a replaced byte.
    pub corrupted: u64,
    /// Copies made.
    pub duplicated: u64,
    /// Packets held back so that later ones overtake them.
    pub reordered: u64,
    /// Time from entering the queue to leaving it for the wire.
    pub sojourn: Histogram,
    digest: Digest,
}

#[derive(Clone, Copy)]
enum Event {
    Drop = 1,
    Mark = 2,
    Deliver = 3,
    Corrupt = 4,
    Duplicate = 5,
}

impl Stats {
    /// What was dropped for `cause`.
    pub const fn dropped(&self, cause: Cause) -> Count {
        self.dropped[cause as usize]
    }

    /// What was dropped for any cause.
    pub fn dropped_total(&self) -> Count {
        self.dropped.iter().fold(Count::default(), |sum, count| Count {
            packets: sum.packets + count.packets,
            bytes: sum.bytes + count.bytes,
        })
    }

    /// A hash over every drop, mark, corruption, copy and delivery with its time.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    pub(crate) fn offer(&mut self, packet: &Packet) {
        self.offered.add(packet);
    }

    pub(crate) fn drop(&mut self, now: Instant, packet: &Packet, cause: Cause) {
        self.dropped[cause as usize].add(packet);
        self.note(now, Event::Drop, packet, cause as u64);
    }

    /// Marks the packet with CE; the caller knows that it is ECN-capable.
    pub(crate) fn mark(&mut self, now: Instant, packet: &mut Packet) {
        packet.ecn = Ecn::Ce;
        self.marked += 1;
        self.note(now, Event::Mark, packet, 0);
    }

    /// Tells the packet's sender of congestion: by a mark if it can be, else the caller must drop.
    /// Returns the packet if it was marked.
    pub(crate) fn mark_or_drop(
        &mut self,
        now: Instant,
        mut packet: Box<Packet>,
    ) -> Option<Box<Packet>> {
        if packet.ecn.is_capable() {
            self.mark(now, &mut packet);
            Some(packet)
        } else {
            self.drop(now, &packet, Cause::Aqm);
            None
        }
    }

    pub(crate) fn deliver(&mut self, now: Instant, packet: &Packet) {
        self.delivered.add(packet);
        self.note(now, Event::Deliver, packet, packet.ecn as u64);
    }

    pub(crate) fn corrupt(&mut self, now: Instant, packet: &Packet, position: u64) {
        self.corrupted += 1;
        self.note(now, Event::Corrupt, packet, position);
    }

    pub(crate) fn duplicate(&mut self, now: Instant, packet: &Packet) {
        self.duplicated += 1;
        self.note(now, Event::Duplicate, packet, 0);
    }

    pub(crate) fn waited(&mut self, time: Duration) {
        self.sojourn.record(time);
    }

    fn note(&mut self, now: Instant, event: Event, packet: &Packet, detail: u64) {
        let what = (event as u64) << 56 | detail << 32 | u64::from(packet.size);
        self.digest.update(&[now.as_nanos(), what, packet.id]);
    }
}
