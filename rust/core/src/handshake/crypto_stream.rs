//! The CRYPTO byte stream of one encryption level (RFC 9000 section 7.5): ordered, reliable, without
//! flow control but with a bound on what may arrive out of order.

use std::collections::BTreeMap;
use std::ops::Range;

use tquic_wire::Frame;

use crate::error::{TransportError, TransportErrorCode};
use crate::recovery::Token;
use crate::tx::FrameWriter;

/// Largest header of a CRYPTO frame: type, offset, length.
const FRAME_OVERHEAD: usize = 1 + 8 + 4;
/// What follows [`CryptoSend::write_whole`] in the datagram: a 1-RTT packet with CONNECTION_CLOSE.
const SPARE: usize = 256;
/// Pieces buffered out of order at most: a handshake message is cut into few datagrams.
const MAX_PIECES: usize = 256;

/// Sends: bytes to be written, and ranges of them lost.
#[derive(Default)]
pub struct CryptoSend {
    data: Vec<u8>,
    next: usize,
    lost: Vec<Range<usize>>,
}

impl CryptoSend {
    /// Where TLS appends what it wants sent.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.data
    }

    /// Whether there is something to send.
    pub fn has_pending(&self) -> bool {
        self.next < self.data.len() || !self.lost.is_empty()
    }

    /// Writes CRYPTO frames while they fit, lost bytes first.
    pub fn write(&mut self, w: &mut FrameWriter<'_>) {
        while let Some(range) = self.lost.first().cloned() {
            let Some(end) = self.write_one(w, range.clone()) else { return };
            if end == range.end {
                self.lost.remove(0);
            } else {
                self.lost[0].start = end;
                return;
            }
        }
        if self.next < self.data.len()
            && let Some(end) = self.write_one(w, self.next..self.data.len())
        {
            self.next = end;
        }
    }

    /// Writes everything there ever was, if there is room for it and something to leave over.
    pub fn write_whole(&mut self, w: &mut FrameWriter<'_>) -> bool {
        let all = 0..self.data.len();
        let fits = self.data.len() + FRAME_OVERHEAD + SPARE <= w.remaining();
        let wrote = !all.is_empty() && fits && self.write_one(w, all).is_some();
        if wrote {
            self.next = self.data.len();
            self.lost.clear();
        }
        wrote
    }

    fn write_one(&self, w: &mut FrameWriter<'_>, range: Range<usize>) -> Option<usize> {
        let room = w.remaining().checked_sub(FRAME_OVERHEAD).filter(|room| *room > 0)?;
        let end = range.end.min(range.start + room.min(usize::from(u16::MAX)));
        let frame =
            Frame::Crypto { offset: range.start as u64, data: self.data.get(range.start..end)? };
        // Lossless: at most `u16::MAX` bytes.
        let token = Token::Crypto { offset: range.start as u64, len: (end - range.start) as u16 };
        w.frame(&frame, Some(token)).then_some(end)
    }

    /// A packet with these bytes was lost.
    pub fn on_lost(&mut self, offset: u64, len: u16) {
        let start = offset as usize;
        let range = start..start + usize::from(len);
        let at = self.lost.partition_point(|r| r.start < range.start);
        if self.lost.get(at).is_none_or(|r| *r != range) {
            self.lost.insert(at, range);
        }
    }

    /// Everything sent so far is to be sent again (after a Retry or a change of version).
    pub fn restart(&mut self) {
        self.next = 0;
        self.lost.clear();
    }
}

/// Receives: puts bytes in order.
#[derive(Default)]
pub struct CryptoRecv {
    /// Bytes handed to TLS so far.
    read: u64,
    pieces: BTreeMap<u64, Vec<u8>>,
    buffered: usize,
    /// TLS has gone on to another level.
    done: bool,
}

impl CryptoRecv {
    /// Takes a CRYPTO frame; `limit` bounds the bytes kept out of order.
    pub fn insert(&mut self, offset: u64, data: &[u8], limit: usize) -> Result<(), TransportError> {
        let end = offset.saturating_add(data.len() as u64);
        // RFC 9000 section 19.6: the end of a CRYPTO stream cannot pass 2^62 - 1.
        if end > tquic_wire::MAX_VARINT {
            return Err(TransportError::new(
                TransportErrorCode::FRAME_ENCODING_ERROR,
                "handshake data past 2^62 - 1",
            )
            .in_frame(0x06));
        }
        if end <= self.read || data.is_empty() {
            return Ok(());
        }
        if self.done {
            return Err(TransportError::violation(
                "more handshake data at an encryption level that is done",
            ));
        }
        let too_much = end - self.read > limit as u64
            || self.buffered + data.len() > 2 * limit
            || self.pieces.len() >= MAX_PIECES;
        if too_much && offset > self.read {
            // RFC 9000 section 7.5.
            return Err(TransportError::new(
                TransportErrorCode::CRYPTO_BUFFER_EXCEEDED,
                "too much handshake data out of order",
            )
            .in_frame(0x06));
        }
        let skip = self.read.saturating_sub(offset) as usize;
        let (start, fresh) = (offset + skip as u64, data.get(skip..).unwrap_or_default());
        let known = self.pieces.get(&start).map_or(0, Vec::len);
        if fresh.len() > known {
            self.buffered += fresh.len() - known;
            self.pieces.insert(start, fresh.to_vec());
        }
        Ok(())
    }

    /// The next bytes in order, if they are there.
    pub fn read(&mut self) -> Option<Vec<u8>> {
        loop {
            let (&start, _) = self.pieces.first_key_value()?;
            if start > self.read {
                return None;
            }
            let piece = self.pieces.remove(&start)?;
            self.buffered -= piece.len();
            let skip = (self.read - start) as usize;
            if self.pieces.is_empty() {
                // An empty map keeps a node of 400 bytes.
                self.pieces = BTreeMap::new();
            }
            if skip < piece.len() {
                self.read = start + piece.len() as u64;
                return Some(if skip == 0 { piece } else { piece[skip..].to_vec() });
            }
        }
    }

    /// Whether nothing has arrived at all.
    pub fn is_untouched(&self) -> bool {
        self.read == 0 && self.pieces.is_empty()
    }

    /// TLS goes on to another level: RFC 9001 section 4.1.3 allows no byte that it has not read, now
    /// or later.
    pub fn finish(&mut self) -> Result<(), TransportError> {
        self.done = true;
        if self.pieces.is_empty() {
            return Ok(());
        }
        Err(TransportError::violation(
            "handshake data left over at an encryption level that is done",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn puts_overlapping_pieces_in_order() {
        let mut r = CryptoRecv::default();
        let bytes: Vec<u8> = (0..100).collect();
        for (from, to) in [(50, 80), (40, 60), (90, 100), (10, 45), (0, 5), (70, 95), (3, 20)] {
            r.insert(from as u64, &bytes[from..to], 1 << 16).unwrap();
        }
        let got: Vec<u8> = std::iter::from_fn(|| r.read()).flatten().collect();
        assert_eq!(got, bytes);
        assert!(r.finish().is_ok());
        // Late copies are fine, more is not.
        assert!(r.insert(50, &bytes[50..], 1 << 16).is_ok());
        assert!(r.insert(50, &[0; 51], 1 << 16).is_err());
    }

    #[test]
    fn bounds_what_is_kept_out_of_order() {
        let mut r = CryptoRecv::default();
        let e = r.insert(70_000, &[0; 10], 65_536).unwrap_err();
        assert_eq!(e.code, TransportErrorCode::CRYPTO_BUFFER_EXCEEDED);
        let mut pieces = 0;
        while r.insert(1 + 2 * pieces, &[0], 65_536).is_ok() {
            pieces += 1;
        }
        assert_eq!(pieces as usize, MAX_PIECES);
        // What fills the gap is never refused.
        r.insert(0, &[0; 300], 65_536).unwrap();
        let code = r.insert(u64::MAX >> 2, &[0; 2], 65_536).unwrap_err().code;
        assert_eq!(code, TransportErrorCode::FRAME_ENCODING_ERROR);
    }
}
