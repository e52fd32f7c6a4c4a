//! ACK (RFC 9000 section 19.3) and PATH_ACK (draft-ietf-quic-multipath-21 section 4.1).

use std::ops::RangeInclusive;

use super::sink::{Count, Sink};
use super::ty;
use crate::error::DecodeError;
use crate::reader::Reader;
use crate::varint::{self, MAX_VARINT};
use crate::writer::Writer;

/// An ACK or PATH_ACK frame whose ranges were checked: none reaches below packet number 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack<'a> {
    /// The path ID of a PATH_ACK frame.
    pub path: Option<u64>,
    /// The largest packet number acknowledged.
    pub largest: u64,
    /// The delay as it stands in the frame; see [`Ack::delay_us`].
    pub delay: u64,
    /// The ECN counts of a frame of type 0x03 or 0x3f.
    pub ecn: Option<EcnCounts>,
    /// Packets acknowledged below `largest` without a gap.
    first_range: u64,
    /// The ranges after the first, as pairs of variable-length integers.
    more: &'a [u8],
    /// How many pairs there are.
    more_count: usize,
}

/// How many packets arrived with each ECN mark in a packet-number space (RFC 9000 section 19.3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EcnCounts {
    /// Packets marked ECT(0).
    pub ect0: u64,
    /// Packets marked ECT(1).
    pub ect1: u64,
    /// Packets marked ECN-CE.
    pub ce: u64,
}

impl<'a> Ack<'a> {
    /// The ranges of packet numbers acknowledged, from the largest down. They neither overlap nor
    /// touch.
    #[inline]
    #[must_use]
    pub fn ranges(&self) -> AckRanges<'a> {
        AckRanges {
            largest: self.largest,
            smallest: self.largest.saturating_sub(self.first_range),
            left: 1 + self.more_count,
            more: Reader::new(self.more),
        }
    }

    /// The delay in microseconds, by the peer's `ack_delay_exponent` (at most 20).
    #[inline]
    #[must_use]
    pub fn delay_us(&self, ack_delay_exponent: u64) -> u64 {
        self.delay.saturating_mul(1 << ack_delay_exponent.min(20))
    }

    pub(super) const fn ty(&self) -> u64 {
        type_of(self.path.is_some(), self.ecn.is_some())
    }
}

/// Iterator of [`Ack::ranges`].
#[derive(Clone, Debug)]
pub struct AckRanges<'a> {
    largest: u64,
    smallest: u64,
    left: usize,
    more: Reader<'a>,
}

impl Iterator for AckRanges<'_> {
    type Item = RangeInclusive<u64>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let range = self.smallest..=self.largest;
        if self.left > 0 {
            // Decoding the frame has checked all of this.
            let (gap, length) = (self.more.varint().ok()?, self.more.varint().ok()?);
            self.largest = self.smallest.saturating_sub(gap + 2);
            self.smallest = self.largest.saturating_sub(length);
        }
        Some(range)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for AckRanges<'_> {}

const fn type_of(path: bool, ecn: bool) -> u64 {
    // The type with ECN counts is the next one.
    (if path { ty::PATH_ACK } else { ty::ACK }) + ecn as u64
}

/// Decodes an ACK or PATH_ACK frame, type included: all of them have one byte.
#[inline]
pub(super) fn decode<'a>(r: &mut Reader<'a>) -> Result<Ack<'a>, DecodeError> {
    let ty = u64::from(r.u8()?);
    let path = if ty >= ty::PATH_ACK { Some(r.varint()?) } else { None };
    let largest = r.varint()?;
    let delay = r.varint()?;
    let count = r.varint()?;
    let first_range = r.varint()?;
    let smallest = largest.checked_sub(first_range).ok_or(NEGATIVE)?;
    let (more, more_count) = if count == 0 { (&[][..], 0) } else { check(r, smallest, count)? };
    let ecn = if ty & 1 == ty::ACK_ECN & 1 { Some(decode_ecn(r)?) } else { None };
    Ok(Ack { path, largest, delay, ecn, first_range, more, more_count })
}

const NEGATIVE: DecodeError = DecodeError::InvalidValue("ACK range below packet number 0");

/// Walks over `count` ranges below `smallest`.
fn check<'a>(
    r: &mut Reader<'a>,
    mut smallest: u64,
    count: u64,
) -> Result<(&'a [u8], usize), DecodeError> {
    let start = r.clone();
    for _ in 0..count {
        let (gap, length) = (r.varint()?, r.varint()?);
        // RFC 9000 section 19.3.1: largest = previous_smallest - gap - 2, smallest = largest -
        // length; if any computed packet number is negative, it is FRAME_ENCODING_ERROR.
        smallest = smallest.checked_sub(gap + length + 2).ok_or(NEGATIVE)?;
    }
    // Each range took two bytes at least, so the count fits.
    Ok((r.since(&start), count as usize))
}

fn decode_ecn(r: &mut Reader<'_>) -> Result<EcnCounts, DecodeError> {
    Ok(EcnCounts { ect0: r.varint()?, ect1: r.varint()?, ce: r.varint()? })
}

/// Additional ranges that a Range Count field of one byte, and of two, can tell.
const FEW_RANGES: usize = 63;
const MANY_RANGES: usize = (1 << 14) - 1;

/// Writes an ACK frame, or the PATH_ACK frame of `path`, with as many of `ranges` as fit in
/// `max_size` bytes, and returns how many.
///
/// `ranges` come from the largest down and neither overlap nor touch; `delay` is what stands in
/// the frame, after the exponent ([`encode_delay`]). Nothing is written, and 0 returned, when there
/// are no ranges or the first does not fit. An exact `size_hint` below 64 saves a byte.
#[inline]
pub fn write(
    w: &mut Writer<'_>,
    path: Option<u64>,
    mut ranges: impl Iterator<Item = RangeInclusive<u64>>,
    delay: u64,
    ecn: Option<EcnCounts>,
    max_size: usize,
) -> usize {
    let Some(first) = ranges.next() else { return 0 };
    let (mut smallest, largest) = first.into_inner();
    debug_assert!(smallest <= largest, "empty range");
    let few = ranges.size_hint().1.is_some_and(|more| more <= FEW_RANGES);
    let (width, max_more) = if few { (1, FEW_RANGES) } else { (2, MANY_RANGES) };
    let mut ecn_size = Count(0);
    encode_ecn(&mut ecn_size, ecn);
    let head = 1 + path.map_or(0, varint::size);
    let fields = varint::size(largest) + varint::size(delay) + varint::size(largest - smallest);
    let Some(mut room) =
        max_size.min(w.remaining()).checked_sub(head + fields + width + ecn_size.0)
    else {
        return 0;
    };
    w.u8(type_of(path.is_some(), ecn.is_some()) as u8);
    if let Some(path) = path {
        w.varint(path);
    }
    w.varint(largest);
    w.varint(delay);
    let count_at = w.position();
    w.varint_of(0, width);
    w.varint(largest - smallest);
    let mut more = 0;
    for (start, end) in ranges.take(max_more).map(RangeInclusive::into_inner) {
        debug_assert!(start <= end && end + 2 <= smallest, "ranges are not apart and descending");
        let (gap, length) = (smallest - end - 2, end - start);
        let Some(left) = room.checked_sub(varint::size(gap) + varint::size(length)) else { break };
        room = left;
        w.varint(gap);
        w.varint(length);
        smallest = start;
        more += 1;
    }
    w.patch_varint(count_at, more as u64, width);
    encode_ecn(w, ecn);
    1 + more
}

/// The ACK Delay field for a delay in microseconds, by our own `ack_delay_exponent` (at most 20).
#[inline]
#[must_use]
pub fn encode_delay(delay_us: u64, ack_delay_exponent: u64) -> u64 {
    (delay_us >> ack_delay_exponent.min(20)).min(MAX_VARINT)
}

pub(super) fn encode(out: &mut impl Sink, ack: &Ack<'_>) {
    out.varint(ack.ty());
    if let Some(path) = ack.path {
        out.varint(path);
    }
    out.varint(ack.largest);
    out.varint(ack.delay);
    out.varint(ack.more_count as u64);
    out.varint(ack.first_range);
    out.bytes(ack.more);
    encode_ecn(out, ack.ecn);
}

#[inline]
fn encode_ecn(out: &mut impl Sink, ecn: Option<EcnCounts>) {
    if let Some(EcnCounts { ect0, ect1, ce }) = ecn {
        out.varint(ect0);
        out.varint(ect1);
        out.varint(ce);
    }
}

#[cfg(test)]
#[path = "ack_tests.rs"]
mod tests;
