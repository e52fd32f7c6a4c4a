//! MAX_DATA to STREAMS_BLOCKED (RFC 9000 sections 19.9 to 19.14).

use super::{Frame, ty};
use crate::error::DecodeError;
use crate::reader::Reader;
use crate::stream_id::StreamId;
use crate::types::Direction;

/// Decodes the fields of the types [`ty::MAX_DATA`] to [`ty::STREAMS_BLOCKED_UNI`].
pub(super) fn decode<'a>(ty: u64, r: &mut Reader<'a>) -> Result<Frame<'a>, DecodeError> {
    use Direction::{Bidirectional, Unidirectional};
    Ok(match ty {
        ty::MAX_DATA => Frame::MaxData(r.varint()?),
        ty::MAX_STREAM_DATA => Frame::MaxStreamData { id: StreamId(r.varint()?), max: r.varint()? },
        ty::MAX_STREAMS_BIDI => Frame::MaxStreams { dir: Bidirectional, max: streams(r)? },
        ty::MAX_STREAMS_UNI => Frame::MaxStreams { dir: Unidirectional, max: streams(r)? },
        ty::DATA_BLOCKED => Frame::DataBlocked(r.varint()?),
        ty::STREAM_DATA_BLOCKED => {
            Frame::StreamDataBlocked { id: StreamId(r.varint()?), limit: r.varint()? }
        }
        ty::STREAMS_BLOCKED_BIDI => {
            Frame::StreamsBlocked { dir: Bidirectional, limit: streams(r)? }
        }
        ty::STREAMS_BLOCKED_UNI => {
            Frame::StreamsBlocked { dir: Unidirectional, limit: streams(r)? }
        }
        _ => return Err(DecodeError::UnknownFrameType),
    })
}

fn streams(r: &mut Reader<'_>) -> Result<u64, DecodeError> {
    let count = r.varint()?;
    // RFC 9000 sections 19.11 and 19.14: a count of streams cannot exceed 2^60.
    if count > StreamId::MAX_STREAMS {
        return Err(DecodeError::InvalidValue("more than 2^60 streams"));
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::varint;

    #[test]
    fn count_of_streams() {
        for ty in [0x12, 0x13, 0x16, 0x17] {
            for (count, ok) in [(1 << 60, true), ((1 << 60) + 1, false)] {
                let mut bytes = Vec::new();
                varint::append(&mut bytes, count);
                assert_eq!(decode(ty, &mut Reader::new(&bytes)).is_ok(), ok);
            }
        }
    }
}
