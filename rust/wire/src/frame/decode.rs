//! From bytes to frames.

use std::fmt;

use super::{
    Frame, ack, ack_frequency, cid, close, crypto, datagram, flow, multipath, path, rules, stream,
    ty,
};
use crate::error::{DecodeError, TransportErrorCode};
use crate::reader::Reader;
use crate::varint;

/// A frame that could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameError {
    /// Its type; 0 when the type itself could not be read (RFC 9000 section 19.19).
    pub ty: u64,
    /// What is wrong with it.
    pub error: DecodeError,
}

impl FrameError {
    /// The code to close the connection with.
    #[must_use]
    pub const fn code(&self) -> TransportErrorCode {
        match self.error {
            // RFC 9000 section 12.4: a frame type in a longer encoding than necessary MAY be
            // treated as PROTOCOL_VIOLATION, everything else MUST be FRAME_ENCODING_ERROR.
            DecodeError::FrameTypeNotMinimal => TransportErrorCode::PROTOCOL_VIOLATION,
            _ => TransportErrorCode::FRAME_ENCODING_ERROR,
        }
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} frame (type {:#x}): {}", rules::name(self.ty), self.ty, self.error)
    }
}

impl std::error::Error for FrameError {}

/// Decodes the next frame of a packet's payload.
///
/// After an error the reader is no longer at a frame.
#[inline]
pub fn next_frame<'a>(r: &mut Reader<'a>) -> Result<Frame<'a>, FrameError> {
    let Some(first) = r.peek() else {
        return Err(FrameError { ty: 0, error: DecodeError::UnexpectedEnd });
    };
    // STREAM and ACK are nearly all there is on a busy connection.
    let ty = u64::from(first);
    if ty & !7 == ty::STREAM {
        return stream::decode(r).map(Frame::Stream).map_err(|error| FrameError { ty, error });
    }
    if matches!(ty & !1, ty::ACK | ty::PATH_ACK) {
        return ack::decode(r).map(Frame::Ack).map_err(|error| FrameError { ty, error });
    }
    decode_other(r)
}

fn decode_other<'a>(r: &mut Reader<'a>) -> Result<Frame<'a>, FrameError> {
    let ty = decode_type(r)?;
    decode_fields(ty, r).map_err(|error| FrameError { ty, error })
}

fn decode_type(r: &mut Reader<'_>) -> Result<u64, FrameError> {
    let start = r.position();
    let ty = r.varint().map_err(|error| FrameError { ty: 0, error })?;
    // RFC 9000 section 12.4: a frame type MUST use the shortest possible encoding.
    if r.position() - start != varint::size(ty) {
        return Err(FrameError { ty, error: DecodeError::FrameTypeNotMinimal });
    }
    Ok(ty)
}

fn decode_fields<'a>(ty: u64, r: &mut Reader<'a>) -> Result<Frame<'a>, DecodeError> {
    match ty {
        ty::PADDING => Ok(Frame::Padding { len: 1 + r.skip_zeros() }),
        ty::PING => Ok(Frame::Ping),
        ty::RESET_STREAM => stream::decode_reset(r),
        ty::RESET_STREAM_AT => stream::decode_reset_at(r),
        ty::STOP_SENDING => stream::decode_stop_sending(r),
        ty::CRYPTO => crypto::decode(r),
        ty::NEW_TOKEN => crypto::decode_new_token(r),
        ty::MAX_DATA..=ty::STREAMS_BLOCKED_UNI => flow::decode(ty, r),
        ty::NEW_CONNECTION_ID => cid::decode_new(None, r),
        ty::RETIRE_CONNECTION_ID => cid::decode_retire(None, r),
        ty::PATH_CHALLENGE => path::decode_challenge(r),
        ty::PATH_RESPONSE => path::decode_response(r),
        ty::CONNECTION_CLOSE => close::decode(true, r),
        ty::CONNECTION_CLOSE_APP => close::decode(false, r),
        ty::HANDSHAKE_DONE => Ok(Frame::HandshakeDone),
        ty::IMMEDIATE_ACK => Ok(Frame::ImmediateAck),
        ty::DATAGRAM => datagram::decode(false, r),
        ty::DATAGRAM_LEN => datagram::decode(true, r),
        ty::ACK_FREQUENCY => ack_frequency::decode(r),
        ty::PATH_NEW_CONNECTION_ID => {
            let path = r.varint()?;
            cid::decode_new(Some(path), r)
        }
        ty::PATH_RETIRE_CONNECTION_ID => {
            let path = r.varint()?;
            cid::decode_retire(Some(path), r)
        }
        ty::PATH_ABANDON..=ty::PATH_CIDS_BLOCKED => multipath::decode(ty, r),
        // RFC 9000 section 12.4: an unknown type MUST be FRAME_ENCODING_ERROR.
        _ => Err(DecodeError::UnknownFrameType),
    }
}

/// The frames of a packet's payload. Ends after the last frame or the first error.
///
/// A payload without frames is a PROTOCOL_VIOLATION (RFC 9000 section 12.4) that the caller
/// notices: the iterator has nothing to give then.
#[derive(Clone, Debug)]
pub struct FrameIter<'a> {
    reader: Reader<'a>,
}

impl<'a> FrameIter<'a> {
    /// The frames of an unprotected payload.
    #[inline]
    #[must_use]
    pub const fn new(payload: &'a [u8]) -> Self {
        Self { reader: Reader::new(payload) }
    }

    /// Bytes decoded so far: the difference between two calls is the size of the frame between.
    #[inline]
    #[must_use]
    pub const fn position(&self) -> usize {
        self.reader.position()
    }
}

impl<'a> Iterator for FrameIter<'a> {
    type Item = Result<Frame<'a>, FrameError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let frame = next_frame(&mut self.reader);
        if frame.is_err() {
            self.reader.rest();
        }
        Some(frame)
    }
}

impl std::iter::FusedIterator for FrameIter<'_> {}
