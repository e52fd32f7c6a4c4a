//! The receiving half of a packet-number space: what arrived, and what is to be acknowledged. The
//! sending half is in [`crate::recovery`].

mod ack;
mod ranges;

pub use ack::{AckRequestFrame, AckTracker, min_ack_delay};
pub use ranges::RangeSet;

/// The ECN field of a packet that can carry marks (RFC 3168 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ecn {
    /// ECT(1), used by L4S senders.
    Ect1 = 0b01,
    /// ECT(0).
    Ect0 = 0b10,
    /// Congestion experienced.
    Ce = 0b11,
}

impl Ecn {
    /// From the two low bits of the traffic class; `None` for Not-ECT.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits & 0b11 {
            0b01 => Some(Self::Ect1),
            0b10 => Some(Self::Ect0),
            0b11 => Some(Self::Ce),
            _ => None,
        }
    }
}
