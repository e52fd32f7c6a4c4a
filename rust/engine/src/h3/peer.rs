//! The server's unidirectional streams (RFC 9114 section 6.2).

use tquic_core::stream::{ReadError, StreamSet};
use tquic_wire::{Direction, Side, StreamId};

use super::{FrameHeader, Violation, code, frame};

/// Bytes of a stream's type.
type TypeBytes = arrayvec::ArrayVec<u8, 8>;

enum Stream {
    /// Its type has not come whole.
    Untyped(TypeBytes),
    Control,
    /// One of QPACK's: instructions for tables that have no room, and answers to none of ours.
    Qpack,
}

/// What the client knows of the server besides responses.
#[derive(Default)]
pub(crate) struct Peer {
    /// Three in a server that keeps to the rules.
    streams: Vec<(StreamId, Stream)>,
    header: FrameHeader,
    /// Bytes of the control stream's frame that have not come.
    left: u64,
    has_settings: bool,
    is_leaving: bool,
}

impl Peer {
    /// Does our part: opens the control stream. `None` if the server allows no stream yet.
    pub fn greet(streams: &mut StreamSet) -> Option<Self> {
        super::open_control(streams).map(|()| Self::default())
    }

    /// Whether the server takes no more requests (RFC 9114 section 5.2).
    pub fn is_leaving(&self) -> bool {
        self.is_leaving
    }

    /// A stream that is no request has something to read, or was reset.
    pub fn on_readable(&mut self, streams: &mut StreamSet, id: StreamId) -> Result<(), Violation> {
        if id.direction() == Direction::Bidirectional && id.initiator() == Side::Server {
            // RFC 9114 section 6.1
            let why = "the server opened a bidirectional stream";
            return Err(Violation::new(code::STREAM_CREATION_ERROR, why));
        }
        if id.initiator() == Side::Client {
            // A request that was given up: its bytes must not fill the window.
            let _ = streams.read_with(id, |_, piece| piece.len());
            return Ok(());
        }
        let at = self.streams.iter().position(|(known, _)| *known == id);
        let at = at.unwrap_or_else(|| {
            self.streams.push((id, Stream::Untyped(TypeBytes::new())));
            self.streams.len() - 1
        });
        let mut verdict = Ok(());
        let mut unwanted = false;
        let result = streams.read_with(id, |_, piece| {
            match self.take(at, piece) {
                Ok(wanted) => unwanted |= !wanted,
                Err(violation) => verdict = Err(violation),
            }
            piece.len()
        });
        verdict?;
        let ended = match result {
            Ok(consumed) => consumed.fin,
            Err(ReadError::Reset { .. }) => true,
            Err(_) => false,
        };
        if ended && matches!(self.streams.get(at), Some((_, Stream::Control | Stream::Qpack))) {
            // RFC 9114 section 6.2.1, RFC 9204 section 4.2
            let why = "the server closed a stream that must stay open";
            return Err(Violation::new(code::CLOSED_CRITICAL_STREAM, why));
        }
        if unwanted || ended {
            self.streams.swap_remove(at);
            // One that has ended needs no more.
            let _ = streams.stop(id, code::STREAM_CREATION_ERROR);
        }
        Ok(())
    }

    /// False if nobody wants this stream.
    fn take(&mut self, at: usize, mut piece: &[u8]) -> Result<bool, Violation> {
        let Some((_, stream)) = self.streams.get_mut(at) else { return Ok(false) };
        if let Stream::Untyped(bytes) = stream {
            let kept = bytes.len();
            let room = bytes.remaining_capacity();
            bytes.extend(piece.iter().copied().take(room));
            let mut reader = tquic_wire::Reader::new(bytes);
            let Ok(kind) = reader.varint() else { return Ok(true) };
            let used = reader.position().saturating_sub(kept);
            *stream = match kind {
                0x00 => Stream::Control,
                0x01 => {
                    let why = "the server pushes what nobody allowed";
                    return Err(Violation::new(code::ID_ERROR, why));
                }
                0x02 | 0x03 => Stream::Qpack,
                _ => return Ok(false),
            };
            let is_new = match kind {
                0x00 => self.count(|s| matches!(s, Stream::Control)) == 1,
                _ => self.count(|s| matches!(s, Stream::Qpack)) <= 2,
            };
            if !is_new {
                let why = "the server opened a second stream of a kind";
                return Err(Violation::new(code::STREAM_CREATION_ERROR, why));
            }
            piece = piece.get(used..).unwrap_or_default();
        }
        if matches!(self.streams.get(at), Some((_, Stream::Control))) {
            self.control(piece)?;
        }
        Ok(true)
    }

    fn count(&self, kind: fn(&Stream) -> bool) -> usize {
        self.streams.iter().filter(|(_, stream)| kind(stream)).count()
    }

    /// Frames of the control stream (RFC 9114 section 7.2): only their order, and GOAWAY.
    fn control(&mut self, mut piece: &[u8]) -> Result<(), Violation> {
        while !piece.is_empty() {
            if self.left > 0 {
                let skipped = piece.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= skipped as u64;
                piece = piece.get(skipped..).unwrap_or_default();
                continue;
            }
            let (used, whole) = self.header.take(piece);
            piece = piece.get(used..).unwrap_or_default();
            let Some((kind, length)) = whole else { continue };
            self.left = length;
            let unexpected = |reason| Err(Violation::new(code::FRAME_UNEXPECTED, reason));
            match (kind, self.has_settings) {
                (frame::SETTINGS, false) => self.has_settings = true,
                (_, false) => {
                    let why = "the control stream does not begin with SETTINGS";
                    return Err(Violation::new(code::MISSING_SETTINGS, why));
                }
                (frame::SETTINGS, true) => return unexpected("SETTINGS come twice"),
                (frame::GOAWAY, true) => self.is_leaving = true,
                (frame::DATA | frame::HEADERS | frame::PUSH_PROMISE | frame::MAX_PUSH_ID, true) => {
                    return unexpected("a frame comes that the control stream does not have");
                }
                (kind, true) if frame::is_reserved(kind) => {
                    return unexpected("a frame of HTTP/2 comes");
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(pieces: &[&[u8]]) -> Result<Peer, Violation> {
        let mut peer = Peer::default();
        peer.streams.push((StreamId(3), Stream::Untyped(TypeBytes::new())));
        for piece in pieces {
            peer.take(0, piece)?;
        }
        Ok(peer)
    }

    #[test]
    fn a_control_stream_cut_anywhere() {
        let stream = b"\x00\x04\x03\x06\x40\x64\x21\x01x\x07\x01\x00";
        for cut in 0..=stream.len() {
            let (first, second) = stream.split_at(cut);
            let peer = control(&[first, second]).unwrap();
            assert!(peer.has_settings && peer.is_leaving && peer.left == 0, "{cut}");
        }
    }

    #[test]
    fn broken_rules() {
        for (stream, code) in [
            (&b"\x00\x07\x01\x00"[..], code::MISSING_SETTINGS),
            (b"\x00\x04\x00\x04\x00", code::FRAME_UNEXPECTED),
            (b"\x00\x04\x00\x00\x00", code::FRAME_UNEXPECTED),
            (b"\x00\x04\x00\x02\x00", code::FRAME_UNEXPECTED),
            (b"\x01\x00", code::ID_ERROR),
        ] {
            assert_eq!(control(&[stream]).map_err(|v| v.code).err(), Some(code), "{stream:x?}");
        }
        assert!(control(&[b"\x40\x54"]).unwrap().streams.len() == 1, "unknown types are no error");
    }
}
