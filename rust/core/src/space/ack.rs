//! When and what to acknowledge (RFC 9000 section 13.2, draft-ietf-quic-ack-frequency-12).

use super::{Ecn, RangeSet};
use crate::error::TransportError;
use crate::path::PathLabel;
use crate::recovery::Token;
use crate::time::{Duration, Instant, nanos};
use crate::tx::FrameWriter;
use core::ops::RangeInclusive;
use tquic_wire::Space;
use tquic_wire::frame::ack::{self, EcnCounts};

/// max_ack_delay must stay below this (RFC 9000 section 18.2).
const MAX_ACK_DELAY_LIMIT: Duration = Duration::from_millis(1 << 14);
/// Packets beyond which an acknowledgment goes out at once, by default every other (RFC 9000
/// section 13.2.2).
const DEFAULT_THRESHOLD: u64 = 1;

/// Shorter delays cannot be kept by common timers.
const MIN_ACK_DELAY: Duration = Duration::from_millis(1);

/// What to announce as min_ack_delay transport parameter beside this max_ack_delay, which is told in
/// whole milliseconds: never more than that (draft-ietf-quic-ack-frequency-12 section 3).
pub fn min_ack_delay(max_ack_delay: Duration) -> Duration {
    MIN_ACK_DELAY.min(Duration::from_millis(max_ack_delay.as_millis() as u64))
}

/// The fields of an ACK_FREQUENCY frame as received (draft-ietf-quic-ack-frequency-12 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckRequestFrame {
    /// Sequence Number.
    pub sequence: u64,
    /// Ack-Eliciting Threshold.
    pub threshold: u64,
    /// Requested Max Ack Delay, microseconds.
    pub max_ack_delay_us: u64,
    /// Reordering Threshold.
    pub reordering_threshold: u64,
}

/// The packets received in one packet-number space, and the acknowledgments owed for them.
///
/// A batch of packets is put in first; one [`Self::ack_due`] follows.
#[derive(Clone, Debug)]
pub struct AckTracker {
    received: RangeSet,
    /// When the largest packet arrived.
    largest_time: Instant,
    largest_ack_eliciting: Option<u64>,
    ecn: EcnCounts,
    last_was_ce: bool,
    /// Something arrived that no ACK frame has told.
    news: bool,
    /// Ack-eliciting packets since the last ACK frame, and when the first of them arrived.
    unacked: u64,
    unacked_since: Instant,
    immediate: bool,
    /// Largest Acknowledged of the last ACK frame.
    largest_told: Option<u64>,
    /// Packets below have been told in an ACK frame that arrived.
    told_below: u64,
    /// The smallest packet that arrived out of order, and the largest number known when the last
    /// such did: a frame with a larger Largest Acknowledged has told of them all.
    late: Option<(u64, u64)>,
    /// Initial and Handshake packets are acknowledged at once (RFC 9000 section 13.2.1).
    at_once: bool,
    threshold: u64,
    reordering: u64,
    max_ack_delay: Duration,
    /// The shortest delay that the peer may ask for: our min_ack_delay transport parameter.
    min_ack_delay: Duration,
    frequency_sequence: Option<u64>,
}

impl AckTracker {
    /// A tracker for a new space. `max_ack_delay` is our transport parameter.
    pub fn new(space: Space, max_ack_delay: Duration) -> Self {
        Self {
            received: RangeSet::default(),
            largest_time: Instant::ZERO,
            largest_ack_eliciting: None,
            ecn: EcnCounts::default(),
            last_was_ce: false,
            news: false,
            unacked: 0,
            unacked_since: Instant::ZERO,
            immediate: false,
            largest_told: None,
            told_below: 0,
            late: None,
            at_once: space != Space::Data,
            threshold: DEFAULT_THRESHOLD,
            reordering: 1,
            max_ack_delay,
            min_ack_delay: min_ack_delay(max_ack_delay),
            frequency_sequence: None,
        }
    }

    /// Whether a packet was processed before, or is too old to tell.
    pub fn is_duplicate(&self, pn: u64) -> bool {
        self.received.contains(pn)
    }

    /// A packet that is no duplicate was processed. Which packets those are decides
    /// [`Self::is_duplicate`] before (RFC 9000 section 12.3); duplicates are ignored here.
    pub fn on_received(&mut self, now: Instant, pn: u64, ack_eliciting: bool, ecn: Option<Ecn>) {
        let before = self.received.largest();
        if !self.received.insert(pn) {
            return;
        }
        match before {
            Some(largest) if pn < largest => {
                // It is told with all above it, even where the peer knew those already.
                self.told_below = self.told_below.min(pn);
                let (first, top) = self.late.unwrap_or((pn, largest));
                self.late = Some((first.min(pn), top.max(largest)));
            }
            _ => self.largest_time = now,
        }
        self.news = true;
        match ecn {
            None => {}
            Some(Ecn::Ect0) => self.ecn.ect0 += 1,
            Some(Ecn::Ect1) => self.ecn.ect1 += 1,
            Some(Ecn::Ce) => self.ecn.ce += 1,
        }
        if ack_eliciting {
            self.on_ack_eliciting(now, pn, ecn == Some(Ecn::Ce));
        }
        self.last_was_ce = ecn == Some(Ecn::Ce);
    }

    fn on_ack_eliciting(&mut self, now: Instant, pn: u64, is_ce: bool) {
        if self.unacked == 0 {
            self.unacked_since = now;
        }
        self.unacked += 1;
        // Draft section 6.2: where ACK frames are rare only the first of a row of CE marks hurries
        // one; by default each does (RFC 9000 section 13.2.1).
        let ce = is_ce && (self.threshold <= DEFAULT_THRESHOLD || !self.last_was_ce);
        self.largest_ack_eliciting = self.largest_ack_eliciting.max(Some(pn));
        self.immediate |= self.at_once || ce || self.is_reordered(pn);
    }

    /// Whether a packet shows reordering that the peer wants to hear of at once (draft section
    /// 6.1; with a threshold of 1 this is RFC 9000 section 13.2.1).
    fn is_reordered(&self, pn: u64) -> bool {
        if self.reordering == 0 {
            return false;
        }
        // Largest Reported Missing: up to this number the peer knows what is missing.
        let reported = self.largest_told.and_then(|told| told.checked_sub(self.reordering));
        if reported.is_some_and(|reported| pn <= reported) {
            return true;
        }
        let missing = self.received.first_missing(reported.map_or(0, |reported| reported + 1));
        let largest = self.largest_ack_eliciting.unwrap_or(pn);
        largest.checked_sub(missing).is_some_and(|distance| distance >= self.reordering)
    }

    /// IMMEDIATE_ACK (draft section 5), or another reason not to wait.
    pub fn on_immediate_ack(&mut self) {
        self.immediate = true;
    }

    /// An ACK_FREQUENCY frame. Fails with PROTOCOL_VIOLATION on a delay that RFC 9000 forbids or that
    /// is shorter than we announced.
    pub fn on_ack_frequency(&mut self, request: &AckRequestFrame) -> Result<(), TransportError> {
        let delay = Duration::from_micros(request.max_ack_delay_us);
        // Draft section 4: receipt of an invalid value MUST be treated as a connection error of
        // type PROTOCOL_VIOLATION.
        if delay >= MAX_ACK_DELAY_LIMIT || delay < self.min_ack_delay {
            return Err(TransportError::violation("ACK_FREQUENCY asks for an invalid delay"));
        }
        // Draft section 4: obsolete frames MUST be ignored.
        if self.frequency_sequence.is_none_or(|last| request.sequence > last) {
            self.frequency_sequence = Some(request.sequence);
            self.threshold = request.threshold;
            self.reordering = request.reordering_threshold;
            self.max_ack_delay = delay;
        }
        Ok(())
    }

    /// Whether an ACK frame should go out now, alone if need be.
    pub fn ack_due(&self, now: Instant) -> bool {
        let owed = self.immediate || self.unacked > self.threshold;
        owed || self.timeout().is_some_and(|at| at <= now)
    }

    /// When an ACK frame falls due if nothing else arrives.
    pub fn timeout(&self) -> Option<Instant> {
        (self.unacked > 0).then(|| self.unacked_since + self.max_ack_delay)
    }

    /// Whether there is something to tell that the last ACK frame did not: a packet that is sent
    /// anyway carries it.
    pub fn has_news(&self) -> bool {
        self.news
    }

    /// The packet number that comes next in order, to decode the next one against (RFC 9000
    /// appendix A.3).
    pub fn expected(&self) -> u64 {
        self.received.largest().map_or(0, |largest| largest + 1)
    }

    /// The largest packet number received.
    pub fn largest(&self) -> Option<u64> {
        self.received.largest()
    }

    /// Packets received by ECN mark.
    pub fn ecn(&self) -> EcnCounts {
        self.ecn
    }

    /// The delay the peer may count on.
    pub fn max_ack_delay(&self) -> Duration {
        self.max_ack_delay
    }

    /// What an ACK frame reports, from the largest range down. Ranges that the peer is known to
    /// have seen are left out (RFC 9000 section 13.2.4), the largest packet never.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = RangeInclusive<u64>> + '_ {
        self.received.descending(self.told_below.min(self.received.largest().unwrap_or(0)))
    }

    /// How long the largest packet has waited, in microseconds.
    pub fn delay_us(&self, now: Instant) -> u64 {
        nanos(now - self.largest_time) / 1000
    }

    /// Writes an ACK frame with as many ranges as fit; false if there is nothing to acknowledge or
    /// no room.
    pub fn write(
        &mut self,
        now: Instant,
        fw: &mut FrameWriter<'_>,
        exponent: u64,
        label: PathLabel,
    ) -> bool {
        let Some(largest) = self.received.largest() else { return false };
        let delay = ack::encode_delay(self.delay_us(now), exponent);
        let ecn = (self.ecn != EcnCounts::default()).then_some(self.ecn);
        let room = fw.remaining();
        if ack::write(fw.raw(), label.field(), self.ranges(), delay, ecn, room) == 0 {
            return false;
        }
        fw.token(Token::Ack { path: label.id, largest });
        self.on_written();
        true
    }

    /// The peer is told of [`Self::ranges`].
    pub fn on_written(&mut self) {
        self.largest_told = self.received.largest();
        self.news = false;
        self.unacked = 0;
        self.immediate = false;
    }

    /// A packet with an ACK frame up to `largest` was acknowledged: the peer knows of everything up
    /// to there (RFC 9000 section 13.2.4).
    pub fn on_ack_acked(&mut self, largest: u64) {
        let mut below = largest.saturating_add(1);
        match self.late {
            // The frame may have been written before the late packets arrived.
            Some((first, top)) if largest <= top => below = below.min(first),
            _ => self.late = None,
        }
        self.told_below = self.told_below.max(below);
    }
}

#[cfg(test)]
#[path = "ack_tests.rs"]
mod tests;
