//! What travels: a descriptor, with or without bytes.

use crate::network::LinkId;
use core::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use tquic_core::time::Instant;

/// The ECN field of an IP packet (RFC 3168 section 5, RFC 9331 section 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Ecn {
    /// The sender does not speak ECN: congestion can only be told by dropping.
    #[default]
    NotEct = 0b00,
    /// ECN-capable, and the sender responds to marks the scalable way (L4S).
    Ect1 = 0b01,
    /// ECN-capable, and the sender responds to a mark as to a loss.
    Ect0 = 0b10,
    /// Congestion experienced.
    Ce = 0b11,
}

impl Ecn {
    /// All codepoints in the order of their values.
    pub const ALL: [Self; 4] = [Self::NotEct, Self::Ect1, Self::Ect0, Self::Ce];

    /// From the low two bits of the former TOS or Traffic Class byte.
    pub const fn from_tos(tos: u8) -> Self {
        match tos & 0b11 {
            0b00 => Self::NotEct,
            0b01 => Self::Ect1,
            0b10 => Self::Ect0,
            _ => Self::Ce,
        }
    }

    /// As the low two bits of the TOS or Traffic Class byte.
    pub const fn as_tos(self) -> u8 {
        self as u8
    }

    /// Whether a queue may mark instead of drop.
    pub const fn is_capable(self) -> bool {
        !matches!(self, Self::NotEct)
    }

    /// Whether the packet belongs into the low-latency queue (RFC 9331 section 5.1: ECT(1) and CE).
    pub const fn is_l4s(self) -> bool {
        matches!(self, Self::Ect1 | Self::Ce)
    }
}

/// A UDP datagram on its way. Models that need no content leave `bytes` empty.
#[derive(Clone, PartialEq, Eq)]
pub struct Packet {
    /// Number in order of sending, given by the network; copies share it.
    pub id: u64,
    /// Source address.
    pub from: SocketAddr,
    /// Destination address.
    pub to: SocketAddr,
    /// UDP payload length in bytes. A link adds its own overhead when it computes time.
    pub size: u32,
    /// The ECN field.
    pub ecn: Ecn,
    /// A link replaced a byte. If there are bytes, they show it; without, treat it as unreadable.
    pub corrupted: bool,
    /// A label that links carry along and never read.
    pub tag: u64,
    /// The payload; empty for models without content.
    pub bytes: Vec<u8>,
    /// The links it takes, and how many of them it has passed.
    pub(crate) route: Option<Arc<[LinkId]>>,
    pub(crate) hop: usize,
}

impl Packet {
    /// A packet without content.
    pub const fn descriptor(from: SocketAddr, to: SocketAddr, size: u32) -> Self {
        Self {
            id: 0,
            from,
            to,
            size,
            ecn: Ecn::NotEct,
            corrupted: false,
            tag: 0,
            bytes: Vec::new(),
            route: None,
            hop: 0,
        }
    }

    /// A packet that carries `bytes`.
    pub fn datagram(from: SocketAddr, to: SocketAddr, ecn: Ecn, bytes: Vec<u8>) -> Self {
        let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Self { ecn, bytes, ..Self::descriptor(from, to, size) }
    }

    /// The same with another ECN field.
    #[must_use]
    pub fn with_ecn(self, ecn: Ecn) -> Self {
        Self { ecn, ..self }
    }

    /// The same with a label.
    #[must_use]
    pub fn with_tag(self, tag: u64) -> Self {
        Self { tag, ..self }
    }
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, from, to, size, ecn, .. } = self;
        write!(f, "#{id} {from} -> {to}, {size} bytes, {ecn:?}")?;
        if self.corrupted { f.write_str(", corrupted") } else { Ok(()) }
    }
}

/// A packet that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// When it arrived.
    pub at: Instant,
    /// What arrived. Boxed, as inside of links: it is moved from stage to stage.
    pub packet: Box<Packet>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ecn_is_the_low_two_bits() {
        for ecn in Ecn::ALL {
            assert_eq!(Ecn::from_tos(0b1011_1000 | ecn.as_tos()), ecn);
        }
        assert!(Ecn::Ce.is_l4s() && Ecn::Ect1.is_l4s() && !Ecn::Ect0.is_l4s());
    }
}
