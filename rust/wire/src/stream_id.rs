//! Stream IDs (RFC 9000 section 2.1).

use std::fmt;

use crate::types::{Direction, Side};

/// A stream ID: bit 0 says who opened the stream, bit 1 whether it is unidirectional, the others
/// count the streams of that kind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

impl StreamId {
    /// How many streams of one kind a connection can have at most (RFC 9000 section 4.6).
    pub const MAX_STREAMS: u64 = 1 << 60;

    /// The stream number `index` (from 0, below [`Self::MAX_STREAMS`]) of its kind.
    #[inline]
    #[must_use]
    pub const fn new(initiator: Side, direction: Direction, index: u64) -> Self {
        let side = match initiator {
            Side::Client => 0,
            Side::Server => 1,
        };
        let dir = match direction {
            Direction::Bidirectional => 0,
            Direction::Unidirectional => 2,
        };
        Self(index << 2 | dir | side)
    }

    /// The endpoint that opens the stream.
    #[inline]
    #[must_use]
    pub const fn initiator(self) -> Side {
        if self.0 & 1 == 0 { Side::Client } else { Side::Server }
    }

    /// Whether data flows one way or both ways.
    #[inline]
    #[must_use]
    pub const fn direction(self) -> Direction {
        if self.0 & 2 == 0 { Direction::Bidirectional } else { Direction::Unidirectional }
    }

    /// How many streams of this kind come before it.
    #[inline]
    #[must_use]
    pub const fn index(self) -> u64 {
        self.0 >> 2
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamId({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Bidirectional, Unidirectional};
    use Side::{Client, Server};

    #[test]
    fn kinds() {
        for (id, side, dir) in [
            (0, Client, Bidirectional),
            (1, Server, Bidirectional),
            (2, Client, Unidirectional),
            (3, Server, Unidirectional),
        ] {
            for index in [0, 1, 77, StreamId::MAX_STREAMS - 1] {
                let stream = StreamId::new(side, dir, index);
                assert_eq!(stream, StreamId(index * 4 + id));
                assert_eq!(
                    (stream.initiator(), stream.direction(), stream.index()),
                    (side, dir, index)
                );
            }
        }
    }
}
