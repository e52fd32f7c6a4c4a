//! ACK_FREQUENCY (draft-ietf-quic-ack-frequency-12 section 4).

use super::Frame;
use crate::error::DecodeError;
use crate::reader::Reader;

/// Decodes the fields. Whether the requested delay is within max_ack_delay's and min_ack_delay's
/// bounds is for the caller: an invalid one is a PROTOCOL_VIOLATION.
pub(super) fn decode<'a>(r: &mut Reader<'a>) -> Result<Frame<'a>, DecodeError> {
    Ok(Frame::AckFrequency {
        sequence: r.varint()?,
        threshold: r.varint()?,
        request_max_ack_delay_us: r.varint()?,
        reordering_threshold: r.varint()?,
    })
}
