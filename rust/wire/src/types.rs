//! Small words that every part of QUIC shares.

/// One of the two endpoints of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The endpoint that started the connection.
    Client,
    /// The endpoint that accepted it.
    Server,
}

impl Side {
    /// The other endpoint.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    /// Whether this is the client.
    #[must_use]
    pub const fn is_client(self) -> bool {
        matches!(self, Self::Client)
    }
}

/// Whether data flows one way or both ways on a stream (RFC 9000 section 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Both endpoints can send.
    Bidirectional,
    /// Only the initiator can send.
    Unidirectional,
}

/// The packet types of versions 1 and 2 (RFC 9000 section 17).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PacketType {
    /// Section 17.2.2.
    Initial,
    /// Section 17.2.3.
    ZeroRtt,
    /// Section 17.2.4.
    Handshake,
    /// Section 17.2.5.
    Retry,
    /// The short header, section 17.3.1.
    OneRtt,
    /// Section 17.2.1.
    VersionNegotiation,
}

impl PacketType {
    /// The packet-number space (RFC 9000 section 12.3); `None` for packets without a number.
    #[must_use]
    pub const fn space(self) -> Option<Space> {
        match self {
            Self::Initial => Some(Space::Initial),
            Self::Handshake => Some(Space::Handshake),
            Self::ZeroRtt | Self::OneRtt => Some(Space::Data),
            Self::Retry | Self::VersionNegotiation => None,
        }
    }
}

/// The packet-number spaces (RFC 9000 section 12.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// Initial packets.
    Initial,
    /// Handshake packets.
    Handshake,
    /// 0-RTT and 1-RTT packets.
    Data,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_opposite() {
        assert_eq!(Side::Client.opposite(), Side::Server);
        assert_eq!(Side::Server.opposite(), Side::Client);
        assert!(Side::Client.is_client() && !Side::Server.is_client());
    }

    #[test]
    fn zero_rtt_shares_the_space_of_one_rtt() {
        assert_eq!(PacketType::ZeroRtt.space(), PacketType::OneRtt.space());
        assert_eq!(PacketType::Retry.space(), None);
    }
}
