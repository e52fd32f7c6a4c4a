//! Unreliable datagrams (RFC 9221): bounded queues that prefer the newest.

use crate::error::TransportError;
use crate::recovery::Token;
use crate::tx::FrameWriter;
use bytes::{Bytes, BytesMut};
use core::fmt;
use std::collections::VecDeque;
use tquic_wire::TransportParameters;
use tquic_wire::frame::datagram::{header_size, write_header};
use tquic_wire::frame::ty;

/// What a queued datagram counts beside its bytes, so that empty ones are bounded too.
const OVERHEAD: usize = 64;
/// Received datagrams are cut from buffers of this size, the first ones from smaller.
const MAX_ARENA: usize = 64 * 1024;
const MIN_ARENA: usize = 2 * 1024;

/// Limits of the datagrams of one connection.
#[derive(Clone, Debug)]
pub struct DatagramConfig {
    /// The largest DATAGRAM frame that we accept, in bytes, told to the peer; 0 refuses datagrams
    /// (RFC 9221 section 3). Default 65,535.
    pub max_frame_size: u64,
    /// Bytes that wait to be sent, each datagram counting 64 more. When it is full the oldest are
    /// dropped. Default 1 MiB.
    pub send_queue: usize,
    /// Bytes that wait to be read, counted and bounded alike. Default 4 MiB: all that one batch of
    /// the socket can bring before the application looks, small datagrams included.
    pub receive_queue: usize,
}

impl Default for DatagramConfig {
    fn default() -> Self {
        Self { max_frame_size: 65_535, send_queue: 1 << 20, receive_queue: 4 << 20 }
    }
}

impl DatagramConfig {
    /// Fills in the transport parameter (RFC 9221 section 3).
    pub fn advertise(&self, params: &mut TransportParameters) {
        params.max_datagram_frame_size = self.max_frame_size;
    }
}

/// Why a datagram was not taken for sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatagramError {
    /// The peer accepts none, or has not said yet.
    Unsupported,
    /// More than fits one packet, or more than the peer accepts.
    TooLarge {
        /// The most that would be taken now.
        max: usize,
    },
}

impl fmt::Display for DatagramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported => f.write_str("the peer does not accept datagrams"),
            Self::TooLarge { max } => write!(f, "a datagram can have {max} bytes at most"),
        }
    }
}

impl std::error::Error for DatagramError {}

/// Counters of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatagramStats {
    /// Written into packets.
    pub sent: u64,
    /// Acknowledged.
    pub acked: u64,
    /// Declared lost.
    pub lost: u64,
    /// Pushed out of the send queue by newer ones.
    pub dropped_unsent: u64,
    /// Dropped because packets became too small for them.
    pub dropped_too_large: u64,
    /// Received.
    pub received: u64,
    /// Pushed out of the receive queue by newer ones.
    pub dropped_unread: u64,
}

/// A DATAGRAM frame to be written now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatagramChunk {
    /// The application's bytes.
    pub data: Bytes,
    /// Whether the frame has no Length field: nothing may follow it in the packet.
    pub to_end: bool,
    /// Bytes before the data.
    pub header_len: usize,
    padding: usize,
}

impl DatagramChunk {
    /// Writes everything before the data and notes the token. The caller adds the data.
    pub fn write_header(&self, fw: &mut FrameWriter<'_>) {
        let w = fw.raw();
        w.zeros(self.padding);
        write_header(w, (!self.to_end).then_some(self.data.len()));
        fw.mark_ack_eliciting();
        fw.token(Token::Datagram);
    }
}

/// The datagrams of one connection.
#[derive(Debug)]
pub struct Datagrams {
    config: DatagramConfig,
    /// The peer's max_datagram_frame_size.
    peer_limit: u64,
    /// What a full packet has room for.
    room: usize,
    outgoing: VecDeque<Bytes>,
    outgoing_cost: usize,
    incoming: VecDeque<Bytes>,
    incoming_cost: usize,
    arena: BytesMut,
    arena_size: usize,
    stats: DatagramStats,
}

impl Datagrams {
    /// Empty queues; nothing can be sent before `set_peer_limit` and `set_room`.
    pub fn new(config: DatagramConfig) -> Self {
        Self {
            config,
            peer_limit: 0,
            room: 0,
            outgoing: VecDeque::new(),
            outgoing_cost: 0,
            incoming: VecDeque::new(),
            incoming_cost: 0,
            arena: BytesMut::new(),
            arena_size: MIN_ARENA,
            stats: DatagramStats::default(),
        }
    }

    /// The peer's max_datagram_frame_size.
    pub fn set_peer_limit(&mut self, max_datagram_frame_size: u64) {
        self.peer_limit = max_datagram_frame_size;
    }

    /// The room for frames in a full packet of the present path.
    pub fn set_room(&mut self, room: usize) {
        self.room = room;
    }

    /// The largest datagram that can be sent now; `None` if the peer accepts none.
    pub fn max_len(&self) -> Option<usize> {
        if self.peer_limit == 0 {
            return None;
        }
        // RFC 9221 section 3: the peer's limit counts the whole frame. A frame without a Length
        // field, which fills its packet, has one byte more.
        let limit = usize::try_from(self.peer_limit).unwrap_or(usize::MAX).min(self.room);
        Some(limit.saturating_sub(header_size(None)))
    }

    /// Queues a datagram. A full queue drops its oldest: late data is worth less than new data.
    pub fn send(&mut self, data: Bytes) -> Result<(), DatagramError> {
        let max = self.max_len().ok_or(DatagramError::Unsupported)?;
        if data.len() > max {
            return Err(DatagramError::TooLarge { max });
        }
        self.outgoing_cost += data.len() + OVERHEAD;
        self.outgoing.push_back(data);
        while self.outgoing_cost > self.config.send_queue && self.outgoing.len() > 1 {
            self.pop();
            self.stats.dropped_unsent += 1;
        }
        Ok(())
    }

    fn pop(&mut self) -> Option<Bytes> {
        let data = self.outgoing.pop_front()?;
        self.outgoing_cost -= data.len() + OVERHEAD;
        Some(data)
    }

    /// Whether anything waits to be sent.
    pub fn has_data(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Bytes that wait to be sent, each datagram counting 64 more.
    pub fn queued(&self) -> usize {
        self.outgoing_cost
    }

    /// The next frame, header included at most `room` bytes. `None` too when the next datagram
    /// needs a packet with more room; one that no packet has room for any more is dropped.
    pub fn next_frame(&mut self, room: usize) -> Option<DatagramChunk> {
        loop {
            let len = self.outgoing.front()?.len();
            let bare = header_size(None);
            if len + bare <= room {
                break;
            }
            if len + bare <= self.room {
                return None;
            }
            self.pop();
            self.stats.dropped_too_large += 1;
        }
        let data = self.pop()?;
        let len = data.len();
        self.stats.sent += 1;
        let (with_length, bare) = (header_size(Some(len)), header_size(None));
        let over = (with_length + len) as u64 > self.peer_limit;
        let to_end = with_length + len > room || over;
        let padding = if to_end { room - len - bare } else { 0 };
        let header_len = if to_end { padding + bare } else { with_length };
        Some(DatagramChunk { data, to_end, header_len, padding })
    }

    /// Writes the next frame whole. False if there is none or no room.
    pub fn write_frame(&mut self, fw: &mut FrameWriter<'_>) -> bool {
        let Some(chunk) = self.next_frame(fw.remaining()) else { return false };
        chunk.write_header(fw);
        fw.raw().bytes(&chunk.data);
        true
    }

    /// Takes in a DATAGRAM frame. Answers whether the queue was empty before, so that the
    /// application should be told.
    pub fn on_datagram(&mut self, data: &[u8]) -> Result<bool, TransportError> {
        let frame = data.len() as u64 + header_size(None) as u64;
        if frame > self.config.max_frame_size {
            // RFC 9221 section 3: both without support and beyond the limit.
            let reason = match self.config.max_frame_size {
                0 => "a datagram, though none were allowed".into(),
                max => format!("a DATAGRAM frame of {frame} bytes exceeds the limit of {max}"),
            };
            return Err(TransportError::violation(reason).in_frame(ty::DATAGRAM));
        }
        self.stats.received += 1;
        let news = self.incoming.is_empty();
        let data = self.keep(data);
        self.incoming_cost += data.len() + OVERHEAD;
        self.incoming.push_back(data);
        while self.incoming_cost > self.config.receive_queue && self.incoming.len() > 1 {
            self.recv();
            self.stats.dropped_unread += 1;
        }
        Ok(news)
    }

    /// Copies a datagram into the arena. Its buffers are as many as the queue's bytes fill, and two
    /// more: those in the queue are neighbours.
    fn keep(&mut self, data: &[u8]) -> Bytes {
        if self.arena.capacity() < data.len() {
            self.arena.reserve(self.arena_size.max(data.len()));
            self.arena_size = (self.arena_size * 2).min(MAX_ARENA);
        }
        self.arena.extend_from_slice(data);
        self.arena.split().freeze()
    }

    /// The oldest datagram received.
    pub fn recv(&mut self) -> Option<Bytes> {
        let data = self.incoming.pop_front()?;
        self.incoming_cost -= data.len() + OVERHEAD;
        Some(data)
    }

    /// A `Token::Datagram` was acknowledged.
    pub fn on_acked(&mut self) {
        self.stats.acked += 1;
    }

    /// A `Token::Datagram` was lost; RFC 9221 section 5: it is not sent again.
    pub fn on_lost(&mut self) {
        self.stats.lost += 1;
    }

    /// Counters.
    pub fn stats(&self) -> DatagramStats {
        self.stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recovery::Tokens;
    use tquic_wire::{Frame, FrameIter};

    fn ready(config: DatagramConfig) -> Datagrams {
        let mut d = Datagrams::new(config);
        d.set_peer_limit(65_535);
        d.set_room(1200);
        d
    }

    fn drain(d: &mut Datagrams) -> Vec<Bytes> {
        std::iter::from_fn(|| d.recv()).collect()
    }

    #[test]
    fn sizes_are_limited_by_packet_and_peer() {
        let mut d = Datagrams::new(DatagramConfig::default());
        assert_eq!(d.send(Bytes::new()), Err(DatagramError::Unsupported));
        d.set_room(1200);
        d.set_peer_limit(500);
        assert_eq!(d.max_len(), Some(499));
        let too_large = d.send(Bytes::from(vec![0; 500]));
        assert_eq!(too_large, Err(DatagramError::TooLarge { max: 499 }));
        assert_eq!(d.send(Bytes::from(vec![0; 499])), Ok(()));
        // A Length field would make the frame larger than the peer allows.
        let chunk = d.next_frame(1200).unwrap();
        assert!(chunk.to_end && chunk.header_len + 499 == 1200);
    }

    #[test]
    fn frames_share_a_packet_and_fill_it_evenly() {
        let mut d = ready(DatagramConfig::default());
        for len in [100, 0, 1093] {
            d.send(Bytes::from(vec![len as u8; len])).unwrap();
        }
        let (mut buf, mut tokens) = ([0xff; 1200], Tokens::new());
        let mut fw = FrameWriter::new(&mut buf, &mut tokens);
        assert!(d.write_frame(&mut fw) && d.write_frame(&mut fw));
        assert_eq!((fw.remaining(), fw.is_ack_eliciting()), (1095, true));
        // With a two-byte Length it would be one byte too long.
        assert!(d.write_frame(&mut fw));
        assert_eq!((fw.remaining(), d.has_data(), d.queued()), (0, false, 0));
        let lens: Vec<_> = FrameIter::new(&buf)
            .filter_map(|f| match f.unwrap() {
                Frame::Datagram { data } => Some(data.len()),
                Frame::Padding { .. } => None,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(lens, [100, 0, 1093]);
        assert_eq!(tokens.as_slice(), [Token::Datagram, Token::Datagram, Token::Datagram]);
    }

    #[test]
    fn a_datagram_waits_for_room_or_goes_when_packets_shrink() {
        let mut d = ready(DatagramConfig::default());
        d.send(Bytes::from(vec![0; 1000])).unwrap();
        d.send(Bytes::from(vec![1; 10])).unwrap();
        assert_eq!(d.next_frame(900), None);
        d.set_room(900);
        assert_eq!(d.next_frame(900).map(|c| c.data.len()), Some(10));
        assert_eq!(d.stats().dropped_too_large, 1);
    }

    #[test]
    fn a_full_send_queue_drops_the_oldest() {
        let mut d = ready(DatagramConfig { send_queue: 1000, ..Default::default() });
        for number in 0..1000u64 {
            d.send(Bytes::from([number.to_be_bytes(); 2].concat())).unwrap();
            assert!(d.queued() <= 1000);
        }
        let oldest = d.next_frame(1200).unwrap().data;
        assert_eq!(oldest[..8], (1000 - 12u64).to_be_bytes());
        assert_eq!(d.stats().dropped_unsent, 1000 - 12);
    }

    #[test]
    fn a_full_receive_queue_drops_the_oldest_and_empty_datagrams_count() {
        let mut d = ready(DatagramConfig { receive_queue: 640, ..Default::default() });
        assert_eq!(d.on_datagram(b"old"), Ok(true));
        for _ in 0..1000 {
            assert_eq!(d.on_datagram(b""), Ok(false));
        }
        assert_eq!(drain(&mut d), vec![Bytes::new(); 10]);
        assert_eq!((d.stats().received, d.stats().dropped_unread), (1001, 991));
        assert_eq!(d.on_datagram(b"new"), Ok(true));
        assert_eq!(drain(&mut d), [Bytes::from_static(b"new")]);
    }

    #[test]
    fn the_arena_is_used_again() {
        let mut d = ready(DatagramConfig::default());
        for i in 0..10_000u32 {
            let data = vec![i as u8; (i % 1400) as usize];
            d.on_datagram(&data).unwrap();
            assert_eq!(d.recv().unwrap(), data);
        }
        assert_eq!(d.arena_size, MAX_ARENA);
    }

    #[test]
    fn frames_against_our_limit_are_violations() {
        for (max, len) in [(0, 0), (100, 100)] {
            let config = DatagramConfig { max_frame_size: max, ..Default::default() };
            let error = ready(config).on_datagram(&vec![0; len]).unwrap_err();
            assert_eq!(error.code, crate::error::TransportErrorCode::PROTOCOL_VIOLATION);
            assert_eq!(error.frame, Some(ty::DATAGRAM));
        }
        let config = DatagramConfig { max_frame_size: 100, ..Default::default() };
        assert_eq!(ready(config).on_datagram(&[0; 99]), Ok(true));
    }
}
