//! The payload of HTTP/3 DATA frames into a file, without a call per chunk.

use std::fs::File;

use tquic_core::stream::StreamSet;
use tquic_wire::{Reader, StreamId};

use super::{FileError, PumpError, write_at};

/// The frame type of content (RFC 9114 section 7.2.1).
const DATA: u64 = 0x00;
/// RFC 9114 section 8.1
const H3_INTERNAL_ERROR: u64 = 0x0102;
/// Two varints (RFC 9114 section 7.1).
const MAX_HEADER: usize = 16;

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FramesOutcome {
    /// Bytes of payload written.
    pub bytes: u64,
    /// Bytes of the open DATA frame that have not come.
    pub remaining: u64,
    /// What was taken of a frame's header: one of another type, or one that the stream's end cut.
    pub header: Vec<u8>,
    /// Whether the stream has ended.
    pub ended: bool,
    /// Why it went no further.
    pub error: Option<PumpError>,
}

/// Empties a request stream into a file for as long as it brings DATA frames.
pub struct Frames {
    id: StreamId,
    file: File,
    offset: u64,
    state: FramesOutcome,
    /// A frame of another type has come.
    stopped: bool,
}

impl Frames {
    /// Writes from `offset` on. The stream stands `remaining` bytes before the end of a DATA frame,
    /// or, if that is 0, behind `header` bytes of a frame's header.
    pub fn new(id: StreamId, file: File, offset: u64, remaining: u64, header: Vec<u8>) -> Self {
        let state = FramesOutcome { remaining, header, ..FramesOutcome::default() };
        Self { id, file, offset, state, stopped: false }
    }

    /// The stream.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// Takes what has arrived. `Some` when it is over: what follows is for somebody else.
    pub fn drive(&mut self, streams: &mut StreamSet) -> Option<FramesOutcome> {
        let result = streams.read_with(self.id, |_, piece| self.take(piece));
        match result {
            Ok(consumed) => self.state.ended = consumed.fin,
            Err(error) => self.state.error = Some(PumpError::Read(error)),
        }
        if let Some(PumpError::File(_)) = self.state.error {
            // Nobody will read the rest.
            let _ = streams.stop(self.id, H3_INTERNAL_ERROR);
        }
        let over = self.stopped || self.state.ended || self.state.error.is_some();
        over.then(|| std::mem::take(&mut self.state))
    }

    /// Answers how much of a piece was used.
    fn take(&mut self, piece: &[u8]) -> usize {
        let mut used = 0;
        while let Some(rest) = piece.get(used..).filter(|rest| !rest.is_empty()) {
            if self.stopped || self.state.error.is_some() {
                break;
            }
            used += if self.state.remaining > 0 { self.payload(rest) } else { self.header(rest) };
        }
        used
    }

    fn payload(&mut self, rest: &[u8]) -> usize {
        let wanted = usize::try_from(self.state.remaining).unwrap_or(usize::MAX);
        let part = rest.get(..wanted).unwrap_or(rest);
        if let Err(error) = write_at(&self.file, part, self.offset) {
            let error = FileError::new("the file cannot be written", &error);
            self.state.error = Some(PumpError::File(error));
            return 0;
        }
        let size = part.len() as u64;
        self.offset += size;
        self.state.bytes += size;
        self.state.remaining -= size;
        part.len()
    }

    fn header(&mut self, rest: &[u8]) -> usize {
        let header = &mut self.state.header;
        let kept = header.len();
        let more = rest.get(..MAX_HEADER.saturating_sub(kept)).unwrap_or(rest);
        header.extend_from_slice(more);
        let mut reader = Reader::new(header);
        let (Ok(kind), Ok(length)) = (reader.varint(), reader.varint()) else { return more.len() };
        let size = reader.position();
        header.truncate(size);
        if kind == DATA {
            header.clear();
            self.state.remaining = length;
        } else {
            self.stopped = true;
        }
        size.saturating_sub(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hq::testing::Folder;

    /// What lies in the file, and the state, behind `pieces`.
    fn fed(remaining: u64, header: &[u8], pieces: &[&[u8]]) -> (Vec<u8>, Frames, Vec<usize>) {
        let folder = Folder::new();
        let path = folder.path().join("file");
        std::fs::write(&path, b"before").unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        let mut frames = Frames::new(StreamId(0), file, 6, remaining, header.to_vec());
        let used = pieces.iter().map(|piece| frames.take(piece)).collect();
        (std::fs::read(&path).unwrap(), frames, used)
    }

    #[test]
    fn frames_cut_anywhere() {
        // The rest of one frame, an empty one, one with a longer length than needed.
        let stream = b"ab\x00\x00\x00\x40\x03cde\x00\x01f";
        for cut in 0..=stream.len() {
            let (first, second) = stream.split_at(cut);
            let (content, frames, used) = fed(2, b"", &[first, second]);
            assert_eq!(content, b"beforeabcdef", "{cut}");
            assert_eq!(used, [cut, stream.len() - cut]);
            assert_eq!(frames.state, FramesOutcome { bytes: 6, ..FramesOutcome::default() });
        }
    }

    #[test]
    fn another_frame_is_left_to_others() {
        // Trailers, whose header was begun elsewhere.
        for (header, rest, used) in
            [(&b""[..], &b"\x01\x05trail"[..], 2), (b"\x01", b"\x05trail", 1)]
        {
            let (content, frames, taken) = fed(0, header, &[rest, b"more"]);
            assert_eq!(content, b"before");
            assert_eq!(taken, [used, 0]);
            assert!(frames.stopped);
            assert_eq!(frames.state.header, b"\x01\x05");
        }
    }

    #[test]
    fn a_header_that_is_not_all_there() {
        let (_, frames, used) = fed(0, b"", &[b"\x00\x80\x00"]);
        assert_eq!((used, frames.state.header), (vec![3], b"\x00\x80\x00".to_vec()));
    }
}
