//! Path management (draft-ietf-quic-multipath-21 section 4), but for what RFC 9000 frames have as
//! well: those are in [`super::ack`] and `cid`.

use super::{Frame, ty};
use crate::error::DecodeError;
use crate::reader::Reader;

pub(super) fn decode<'a>(ty: u64, r: &mut Reader<'a>) -> Result<Frame<'a>, DecodeError> {
    let first = r.varint()?;
    match ty {
        ty::MAX_PATH_ID => return Ok(Frame::MaxPathId(first)),
        ty::PATHS_BLOCKED => return Ok(Frame::PathsBlocked(first)),
        _ => {}
    }
    let (path, value) = (first, r.varint()?);
    Ok(match ty {
        ty::PATH_ABANDON => Frame::PathAbandon { path, error_code: value },
        ty::PATH_CIDS_BLOCKED => Frame::PathCidsBlocked { path, next_sequence: value },
        _ => Frame::PathStatus { path, sequence: value, backup: ty == ty::PATH_STATUS_BACKUP },
    })
}
