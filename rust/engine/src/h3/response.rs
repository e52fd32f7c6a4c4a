//! One response (RFC 9114 section 4.1), of which the status and the content are of interest.

use arrayvec::ArrayVec;
use tquic_core::stream::{ReadError, StreamSet};
use tquic_wire::StreamId;

use super::{FrameHeader, Violation, code, frame, status};
use crate::pump::{Consumer, Outcome, Sink};

/// Bytes of a field section that are looked at: `:status` is the first line.
const LOOKED_AT: usize = 32;

enum Part {
    Header(FrameHeader),
    /// A field section: bytes to come, and its first ones.
    Fields(u64, ArrayVec<u8, LOOKED_AT>),
    Content(u64),
    /// Bytes of a frame of no interest.
    Other(u64),
}

/// What became of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Complete,
    Reset(u64),
    Broken(Violation),
}

/// Reads one.
pub(crate) struct Reader {
    part: Part,
    /// Of the final response; 0 before it has come.
    status: u16,
    /// Trailers have come: nothing may follow.
    trailed: bool,
    content: u64,
    sink: Consumer,
}

impl Reader {
    /// The content goes into `sink`.
    pub fn new(sink: Sink) -> Self {
        let part = Part::Header(FrameHeader::default());
        Self { part, status: 0, trailed: false, content: 0, sink: Consumer::new(sink) }
    }

    pub fn status(&self) -> u16 {
        self.status
    }

    /// Takes what has arrived. `Some` when it is over.
    pub fn drive(&mut self, id: StreamId, streams: &mut StreamSet) -> Option<End> {
        let mut broken = None;
        let result = streams.read_with(id, |_, piece| match self.take(piece) {
            Ok(()) => piece.len(),
            Err(violation) => {
                broken = Some(violation);
                0
            }
        });
        if let Some(violation) = broken {
            return Some(End::Broken(violation));
        }
        match result {
            Ok(consumed) if consumed.fin => {
                Some(self.finish().map_or_else(End::Broken, |()| End::Complete))
            }
            Ok(_) => None,
            Err(ReadError::Reset { code, .. }) => Some(End::Reset(code)),
            // Nobody else reads it or stops it, so that it cannot be gone.
            Err(_) => Some(End::Reset(code::REQUEST_CANCELLED)),
        }
    }

    /// What became of the content.
    pub fn outcome(&mut self) -> Outcome {
        self.sink.outcome(self.content, None)
    }

    fn take(&mut self, mut piece: &[u8]) -> Result<(), Violation> {
        while !piece.is_empty() {
            match &mut self.part {
                Part::Header(header) => {
                    let (used, whole) = header.take(piece);
                    piece = piece.get(used..).unwrap_or_default();
                    if let Some((kind, length)) = whole {
                        self.part = self.begin(kind, length)?;
                    }
                }
                Part::Fields(left, first) => {
                    let part = split(&mut piece, left);
                    let room = first.remaining_capacity();
                    first.extend(part.iter().copied().take(room));
                }
                Part::Content(left) => {
                    let part = split(&mut piece, left);
                    self.sink.take(self.content, part);
                    self.content += part.len() as u64;
                }
                Part::Other(left) => {
                    split(&mut piece, left);
                }
            }
            self.end_part()?;
        }
        Ok(())
    }

    /// Goes on to the next frame if this one is whole.
    fn end_part(&mut self) -> Result<(), Violation> {
        match &self.part {
            Part::Fields(0, first) if self.status == 0 => {
                let status = status::decode(first)?;
                // Interim responses precede the final one (RFC 9114 section 4.1).
                self.status = if status < 200 { 0 } else { status };
            }
            Part::Fields(0, _) => self.trailed = true,
            Part::Content(0) | Part::Other(0) => {}
            _ => return Ok(()),
        }
        self.part = Part::Header(FrameHeader::default());
        Ok(())
    }

    /// RFC 9114 sections 4.1 and 7.2: which frame may come now.
    fn begin(&self, kind: u64, length: u64) -> Result<Part, Violation> {
        let unexpected = |reason| Err(Violation::new(code::FRAME_UNEXPECTED, reason));
        match kind {
            frame::HEADERS | frame::DATA if self.trailed => {
                unexpected("a frame comes behind the trailers")
            }
            frame::HEADERS => Ok(Part::Fields(length, ArrayVec::new())),
            frame::DATA if self.status == 0 => unexpected("content comes before its response"),
            frame::DATA => Ok(Part::Content(length)),
            // RFC 9114 section 7.2.5: a push without MAX_PUSH_ID.
            frame::PUSH_PROMISE => {
                Err(Violation::new(code::ID_ERROR, "a push was promised that nobody allowed"))
            }
            frame::CANCEL_PUSH | frame::SETTINGS | frame::GOAWAY | frame::MAX_PUSH_ID => {
                unexpected("a frame of the control stream comes on a request stream")
            }
            kind if frame::is_reserved(kind) => unexpected("a frame of HTTP/2 comes"),
            _ => Ok(Part::Other(length)),
        }
    }

    /// The stream has ended.
    fn finish(&self) -> Result<(), Violation> {
        let whole = matches!(&self.part, Part::Header(header) if header.is_empty());
        if !whole {
            // RFC 9114 section 7.1
            return Err(Violation::new(code::FRAME_ERROR, "a stream ends within a frame"));
        }
        if self.status == 0 {
            return Err(Violation::new(code::MESSAGE_ERROR, "a stream ends without a response"));
        }
        Ok(())
    }
}

/// Takes from `piece` what belongs to a frame that lacks `left` bytes.
fn split<'a>(piece: &mut &'a [u8], left: &mut u64) -> &'a [u8] {
    let wanted = usize::try_from(*left).unwrap_or(usize::MAX);
    let (part, rest) = piece.split_at_checked(wanted).unwrap_or((piece, &[]));
    *left -= part.len() as u64;
    *piece = rest;
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Status, content and verdict behind the stream cut in two at `cut`.
    fn read(stream: &[u8], cut: usize) -> (u16, u64, Result<(), Violation>) {
        let mut reader = Reader::new(Sink::Discard);
        let (first, second) = stream.split_at(cut);
        let mut result = reader.take(first).and_then(|()| reader.take(second));
        if result.is_ok() {
            result = reader.finish();
        }
        (reader.status(), reader.content, result)
    }

    #[test]
    fn responses_cut_anywhere() {
        for (stream, status, content) in [
            (&b"\x01\x03\0\0\xd9\0\x05hello"[..], 200, 5),
            // Interim, unknown frame, empty DATA, a long length, trailers.
            (
                b"\x01\x03\0\0\xd8\x21\x02xx\x01\x04\0\0\xd9x\0\0\0\x80\0\0\x02ab\x01\x05trail\x21\0",
                200,
                2,
            ),
            (b"\x01\x03\0\0\xdb", 404, 0),
        ] {
            for cut in 0..=stream.len() {
                assert_eq!(read(stream, cut), (status, content, Ok(())), "{stream:x?} {cut}");
            }
        }
        // A field section longer than what is looked at.
        let mut long = b"\x01\x40\x43\0\0\xd9".to_vec();
        long.extend([b'x'; 64]);
        assert_eq!(read(&long, 40), (200, 0, Ok(())));
    }

    #[test]
    fn content_is_hashed_without_frames() {
        let mut reader = Reader::new(Sink::Hash);
        reader.take(b"\x01\x03\0\0\xd9\0\x02he\0\x03llo").unwrap();
        let digest = ring::digest::digest(&ring::digest::SHA256, b"hello");
        assert_eq!(reader.outcome().digest.unwrap(), digest.as_ref());
    }

    #[test]
    fn broken_rules() {
        for (stream, code) in [
            (&b""[..], code::MESSAGE_ERROR),
            (b"\x01\x05\0\0\xd9", code::FRAME_ERROR),
            (b"\x01\x03\0\0\xd9\0", code::FRAME_ERROR),
            (b"\x01\x03\0\0\xd8", code::MESSAGE_ERROR),
            (b"\0\x01x", code::FRAME_UNEXPECTED),
            (b"\x01\x03\0\0\xd8\0\x01x", code::FRAME_UNEXPECTED),
            (b"\x01\x03\0\0\xd9\x01\0\0\x01x", code::FRAME_UNEXPECTED),
            (b"\x01\x03\0\0\xd9\x04\0", code::FRAME_UNEXPECTED),
            (b"\x01\x03\0\0\xd9\x08\0", code::FRAME_UNEXPECTED),
            (b"\x05\x03", code::ID_ERROR),
            (b"\x01\x03\x05\0\x80", code::QPACK_DECOMPRESSION_FAILED),
            (b"\x01\0", code::QPACK_DECOMPRESSION_FAILED),
        ] {
            let (.., result) = read(stream, 0);
            assert_eq!(result.map_err(|v| v.code), Err(code), "{stream:x?}");
        }
    }
}
