//! From bytes to transport parameters.

use std::fmt;

use super::{KNOWN, PreferredAddress, TransportParameters, VersionInformation, id, name};
use crate::cid::{ConnectionId, ResetToken};
use crate::error::{DecodeError, TransportErrorCode};
use crate::reader::Reader;
use crate::stream_id::StreamId;
use crate::types::Side;

/// Transport parameters that the connection cannot go on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParamError {
    /// The parameter at fault; `None` when the list itself could not be read.
    pub id: Option<u64>,
    /// What is wrong with it.
    pub error: DecodeError,
}

impl ParamError {
    /// The code to close the connection with (RFC 9000 section 7.4).
    #[must_use]
    pub const fn code(&self) -> TransportErrorCode {
        TransportErrorCode::TRANSPORT_PARAMETER_ERROR
    }
}

impl fmt::Display for ParamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id {
            Some(id) => write!(f, "transport parameter {} ({id:#x}): {}", name(id), self.error),
            None => write!(f, "transport parameters: {}", self.error),
        }
    }
}

impl std::error::Error for ParamError {}

impl TransportParameters {
    /// Decodes what `sender` sent. Parameters we do not know are ignored (RFC 9000 section 7.4.2),
    /// repeated ones among them: to find those would cost memory that a peer decides on.
    pub fn decode(sender: Side, bytes: &[u8]) -> Result<Self, ParamError> {
        let mut params = Self::default();
        let mut seen = Seen(0);
        let mut r = Reader::new(bytes);
        while !r.is_empty() {
            let (id, value) =
                read_parameter(&mut r).map_err(|error| ParamError { id: None, error })?;
            let fail = |error| ParamError { id: Some(id), error };
            seen.insert(id).map_err(fail)?;
            let mut value = Reader::new(value);
            params.decode_one(sender, id, &mut value).map_err(fail)?;
            if !value.is_empty() {
                return Err(fail(DecodeError::InvalidValue("value is too long")));
            }
        }
        params.check_min_ack_delay()?;
        Ok(params)
    }

    /// Decodes the value of one parameter and leaves in `r` what it did not use.
    fn decode_one(&mut self, sender: Side, id: u64, r: &mut Reader<'_>) -> Result<(), DecodeError> {
        // RFC 9000 section 18.2: a client MUST NOT include any server-only parameter.
        if sender.is_client() && is_server_only(id) {
            return Err(DecodeError::InvalidValue("only a server sends this"));
        }
        match id {
            id::ORIGINAL_DESTINATION_CONNECTION_ID => {
                self.original_destination_connection_id = Some(connection_id(r)?);
            }
            id::STATELESS_RESET_TOKEN => {
                self.stateless_reset_token = Some(ResetToken::new(r.array()?));
            }
            id::DISABLE_ACTIVE_MIGRATION => self.disable_active_migration = true,
            id::PREFERRED_ADDRESS => self.preferred_address = Some(PreferredAddress::decode(r)?),
            id::INITIAL_SOURCE_CONNECTION_ID => {
                self.initial_source_connection_id = Some(connection_id(r)?);
            }
            id::RETRY_SOURCE_CONNECTION_ID => {
                self.retry_source_connection_id = Some(connection_id(r)?);
            }
            id::VERSION_INFORMATION => {
                self.version_information = Some(VersionInformation::decode(sender, r)?);
            }
            id::RESET_STREAM_AT => self.reset_stream_at = true,
            id::GREASE_QUIC_BIT => self.grease_quic_bit = true,
            id::MIN_ACK_DELAY => self.min_ack_delay = Some(r.varint()?),
            id::INITIAL_MAX_PATH_ID => {
                // draft-ietf-quic-multipath-21 section 2.1: MUST NOT exceed 2^32-1.
                let value = at_most(r, u64::from(u32::MAX), "larger than 2^32-1")?;
                self.initial_max_path_id = Some(value);
            }
            _ => match self.integer_mut(id) {
                Some(field) => *field = decode_integer(id, r)?,
                None => {
                    r.rest();
                }
            },
        }
        Ok(())
    }

    /// The field of a parameter that is an integer with a default.
    const fn integer_mut(&mut self, id: u64) -> Option<&mut u64> {
        Some(match id {
            id::MAX_IDLE_TIMEOUT => &mut self.max_idle_timeout,
            id::MAX_UDP_PAYLOAD_SIZE => &mut self.max_udp_payload_size,
            id::INITIAL_MAX_DATA => &mut self.initial_max_data,
            id::INITIAL_MAX_STREAM_DATA_BIDI_LOCAL => &mut self.initial_max_stream_data_bidi_local,
            id::INITIAL_MAX_STREAM_DATA_BIDI_REMOTE => {
                &mut self.initial_max_stream_data_bidi_remote
            }
            id::INITIAL_MAX_STREAM_DATA_UNI => &mut self.initial_max_stream_data_uni,
            id::INITIAL_MAX_STREAMS_BIDI => &mut self.initial_max_streams_bidi,
            id::INITIAL_MAX_STREAMS_UNI => &mut self.initial_max_streams_uni,
            id::ACK_DELAY_EXPONENT => &mut self.ack_delay_exponent,
            id::MAX_ACK_DELAY => &mut self.max_ack_delay,
            id::ACTIVE_CONNECTION_ID_LIMIT => &mut self.active_connection_id_limit,
            id::MAX_DATAGRAM_FRAME_SIZE => &mut self.max_datagram_frame_size,
            _ => return None,
        })
    }

    fn check_min_ack_delay(&self) -> Result<(), ParamError> {
        // draft-ietf-quic-ack-frequency-12 section 3: min_ack_delay (microseconds) MUST NOT be
        // greater than max_ack_delay (milliseconds).
        if self.min_ack_delay.is_some_and(|min| min > self.max_ack_delay * 1000) {
            let error = DecodeError::InvalidValue("larger than max_ack_delay");
            return Err(ParamError { id: Some(id::MIN_ACK_DELAY), error });
        }
        Ok(())
    }
}

/// Identifier and value (RFC 9000 section 18).
fn read_parameter<'a>(r: &mut Reader<'a>) -> Result<(u64, &'a [u8]), DecodeError> {
    Ok((r.varint()?, r.varint_bytes()?))
}

const fn is_server_only(id: u64) -> bool {
    matches!(
        id,
        id::ORIGINAL_DESTINATION_CONNECTION_ID
            | id::STATELESS_RESET_TOKEN
            | id::PREFERRED_ADDRESS
            | id::RETRY_SOURCE_CONNECTION_ID
    )
}

/// An integer, within the limits RFC 9000 section 18.2 sets it.
fn decode_integer(id: u64, r: &mut Reader<'_>) -> Result<u64, DecodeError> {
    match id {
        id::MAX_UDP_PAYLOAD_SIZE => at_least(r, 1200, "smaller than 1200 bytes"),
        id::ACTIVE_CONNECTION_ID_LIMIT => at_least(r, 2, "smaller than 2"),
        id::ACK_DELAY_EXPONENT => at_most(r, 20, "larger than 20"),
        id::MAX_ACK_DELAY => at_most(r, (1 << 14) - 1, "2^14 milliseconds or more"),
        // RFC 9000 section 4.6: a limit above 2^60 streams is a TRANSPORT_PARAMETER_ERROR.
        id::INITIAL_MAX_STREAMS_BIDI | id::INITIAL_MAX_STREAMS_UNI => {
            at_most(r, StreamId::MAX_STREAMS, "more than 2^60 streams")
        }
        _ => r.varint(),
    }
}

fn at_least(r: &mut Reader<'_>, least: u64, reason: &'static str) -> Result<u64, DecodeError> {
    let value = r.varint()?;
    if value < least { Err(DecodeError::InvalidValue(reason)) } else { Ok(value) }
}

fn at_most(r: &mut Reader<'_>, most: u64, reason: &'static str) -> Result<u64, DecodeError> {
    let value = r.varint()?;
    if value > most { Err(DecodeError::InvalidValue(reason)) } else { Ok(value) }
}

/// A connection ID that takes the whole value.
fn connection_id(r: &mut Reader<'_>) -> Result<ConnectionId, DecodeError> {
    ConnectionId::new(r.rest())
        .ok_or(DecodeError::InvalidValue("connection ID is longer than 20 bytes"))
}

/// The parameters met so far, by their place in the table of those we know.
struct Seen(u32);

impl Seen {
    fn insert(&mut self, id: u64) -> Result<(), DecodeError> {
        let Some(place) = KNOWN.iter().position(|known| known.0 == id) else { return Ok(()) };
        // RFC 9000 section 7.4: duplicates SHOULD be treated as TRANSPORT_PARAMETER_ERROR.
        if self.0 & 1 << place != 0 {
            return Err(DecodeError::InvalidValue("sent more than once"));
        }
        self.0 |= 1 << place;
        Ok(())
    }
}

const _: () = assert!(KNOWN.len() <= u32::BITS as usize);
