//! PATH_CHALLENGE and PATH_RESPONSE (RFC 9000 sections 19.17 and 19.18).

use super::Frame;
use crate::error::DecodeError;
use crate::reader::Reader;

pub(super) fn decode_challenge<'a>(r: &mut Reader<'a>) -> Result<Frame<'a>, DecodeError> {
    r.array().map(Frame::PathChallenge)
}

pub(super) fn decode_response<'a>(r: &mut Reader<'a>) -> Result<Frame<'a>, DecodeError> {
    r.array().map(Frame::PathResponse)
}
