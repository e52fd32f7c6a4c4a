//! NEW_CONNECTION_ID and RETIRE_CONNECTION_ID (RFC 9000 sections 19.15 and 19.16), alone and for a
//! path (draft-ietf-quic-multipath-21 sections 4.4 and 4.5).

use super::Frame;
use crate::cid::{ConnectionId, ResetToken};
use crate::error::DecodeError;
use crate::reader::Reader;

pub(super) fn decode_new<'a>(
    path: Option<u64>,
    r: &mut Reader<'a>,
) -> Result<Frame<'a>, DecodeError> {
    let sequence = r.varint()?;
    let retire_prior_to = r.varint()?;
    // RFC 9000 section 19.15: Retire Prior To MUST be less than or equal to Sequence Number.
    if retire_prior_to > sequence {
        return Err(DecodeError::InvalidValue("Retire Prior To exceeds the sequence number"));
    }
    let cid = ConnectionId::read(r)?;
    // RFC 9000 section 19.15: lengths below 1 and above 20 are invalid.
    if cid.is_empty() {
        return Err(DecodeError::InvalidValue("empty connection ID"));
    }
    let reset_token = ResetToken::new(r.array()?);
    Ok(Frame::NewConnectionId { path, sequence, retire_prior_to, cid, reset_token })
}

pub(super) fn decode_retire<'a>(
    path: Option<u64>,
    r: &mut Reader<'a>,
) -> Result<Frame<'a>, DecodeError> {
    Ok(Frame::RetireConnectionId { path, sequence: r.varint()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid() {
        for (sequence, retire_prior_to, len, ok) in
            [(5, 5, 20, true), (5, 6, 20, false), (5, 0, 0, false), (5, 0, 21, false)]
        {
            let mut bytes = vec![sequence, retire_prior_to, len];
            bytes.extend_from_slice(&vec![7; usize::from(len) + 16]);
            assert_eq!(decode_new(None, &mut Reader::new(&bytes)).is_ok(), ok);
            bytes.pop();
            assert!(decode_new(Some(3), &mut Reader::new(&bytes)).is_err());
        }
    }
}
