//! From frames to bytes.

use super::sink::{Count, Sink};
use super::{Frame, ack, close, crypto, datagram, rules, stream, ty};
use crate::types::Direction;
use crate::writer::Writer;

impl Frame<'_> {
    /// The frame type as [`Self::write`] writes it: STREAM and DATAGRAM with a Length field.
    #[must_use]
    pub fn ty(&self) -> u64 {
        match self {
            Self::Padding { .. } => ty::PADDING,
            Self::Ping => ty::PING,
            Self::Ack(ack) => ack.ty(),
            Self::ResetStream { .. } => ty::RESET_STREAM,
            Self::ResetStreamAt { .. } => ty::RESET_STREAM_AT,
            Self::StopSending { .. } => ty::STOP_SENDING,
            Self::Crypto { .. } => ty::CRYPTO,
            Self::NewToken { .. } => ty::NEW_TOKEN,
            Self::Stream(frame) => stream::type_of(frame.offset, true, frame.fin),
            Self::MaxData(_) => ty::MAX_DATA,
            Self::MaxStreamData { .. } => ty::MAX_STREAM_DATA,
            Self::MaxStreams { dir: Direction::Bidirectional, .. } => ty::MAX_STREAMS_BIDI,
            Self::MaxStreams { dir: Direction::Unidirectional, .. } => ty::MAX_STREAMS_UNI,
            Self::DataBlocked(_) => ty::DATA_BLOCKED,
            Self::StreamDataBlocked { .. } => ty::STREAM_DATA_BLOCKED,
            Self::StreamsBlocked { dir: Direction::Bidirectional, .. } => ty::STREAMS_BLOCKED_BIDI,
            Self::StreamsBlocked { dir: Direction::Unidirectional, .. } => ty::STREAMS_BLOCKED_UNI,
            Self::NewConnectionId { path: None, .. } => ty::NEW_CONNECTION_ID,
            Self::NewConnectionId { .. } => ty::PATH_NEW_CONNECTION_ID,
            Self::RetireConnectionId { path: None, .. } => ty::RETIRE_CONNECTION_ID,
            Self::RetireConnectionId { .. } => ty::PATH_RETIRE_CONNECTION_ID,
            Self::PathAbandon { .. } => ty::PATH_ABANDON,
            Self::PathStatus { backup: true, .. } => ty::PATH_STATUS_BACKUP,
            Self::PathStatus { .. } => ty::PATH_STATUS_AVAILABLE,
            Self::MaxPathId(_) => ty::MAX_PATH_ID,
            Self::PathsBlocked(_) => ty::PATHS_BLOCKED,
            Self::PathCidsBlocked { .. } => ty::PATH_CIDS_BLOCKED,
            Self::PathChallenge(_) => ty::PATH_CHALLENGE,
            Self::PathResponse(_) => ty::PATH_RESPONSE,
            Self::ConnectionClose(frame) => frame.ty(),
            Self::HandshakeDone => ty::HANDSHAKE_DONE,
            Self::Datagram { .. } => ty::DATAGRAM_LEN,
            Self::AckFrequency { .. } => ty::ACK_FREQUENCY,
            Self::ImmediateAck => ty::IMMEDIATE_ACK,
        }
    }

    /// The RFC name of the frame.
    #[must_use]
    pub fn name(&self) -> &'static str {
        rules::name(self.ty())
    }

    /// Whether the packet that carries it is to be acknowledged.
    #[inline]
    #[must_use]
    pub const fn is_ack_eliciting(&self) -> bool {
        !matches!(self, Self::Padding { .. } | Self::Ack(_) | Self::ConnectionClose(_))
    }

    /// Bytes that [`Self::write`] writes.
    #[must_use]
    pub fn size(&self) -> usize {
        let mut count = Count(0);
        self.encode(&mut count);
        count.0
    }

    /// Writes the frame with integers in their shortest form, and a Length field where it is
    /// optional: use [`stream::write_header`] and [`datagram::write_header`] for frames that extend
    /// to the end of the packet.
    pub fn write(&self, w: &mut Writer<'_>) {
        self.encode(w);
    }

    fn encode(&self, out: &mut impl Sink) {
        let fields = |out: &mut _, fields: &[u64]| encode_fields(out, self.ty(), fields);
        match *self {
            Self::Padding { len } => out.zeros(len),
            Self::Ping | Self::HandshakeDone | Self::ImmediateAck => fields(out, &[]),
            Self::Ack(ref frame) => ack::encode(out, frame),
            Self::ResetStream { id, error_code, final_size } => {
                fields(out, &[id.0, error_code, final_size]);
            }
            Self::ResetStreamAt { id, error_code, final_size, reliable_size } => {
                fields(out, &[id.0, error_code, final_size, reliable_size]);
            }
            Self::StopSending { id, error_code } => fields(out, &[id.0, error_code]),
            Self::Crypto { offset, data } => {
                crypto::encode_header(out, offset, data.len());
                out.bytes(data);
            }
            Self::NewToken { token } => {
                fields(out, &[]);
                out.varint_bytes(token);
            }
            Self::Stream(ref frame) => {
                let len = Some(frame.data.len());
                stream::encode_header(out, frame.id, frame.offset, len, frame.fin);
                out.bytes(frame.data);
            }
            Self::MaxData(value) | Self::DataBlocked(value) => fields(out, &[value]),
            Self::MaxStreamData { id, max: value }
            | Self::StreamDataBlocked { id, limit: value } => fields(out, &[id.0, value]),
            Self::MaxStreams { max: value, .. } | Self::StreamsBlocked { limit: value, .. } => {
                fields(out, &[value]);
            }
            Self::NewConnectionId { path, sequence, retire_prior_to, cid, reset_token } => {
                fields(out, path.as_slice());
                out.varint(sequence);
                out.varint(retire_prior_to);
                out.u8(cid.len() as u8);
                out.bytes(cid.as_slice());
                out.bytes(reset_token.as_bytes());
            }
            Self::RetireConnectionId { path, sequence } => {
                fields(out, path.as_slice());
                out.varint(sequence);
            }
            Self::PathAbandon { path, error_code: value }
            | Self::PathStatus { path, sequence: value, .. }
            | Self::PathCidsBlocked { path, next_sequence: value } => fields(out, &[path, value]),
            Self::MaxPathId(value) | Self::PathsBlocked(value) => fields(out, &[value]),
            Self::PathChallenge(data) | Self::PathResponse(data) => {
                fields(out, &[]);
                out.bytes(&data);
            }
            Self::ConnectionClose(ref frame) => close::encode(out, frame),
            Self::Datagram { data } => {
                datagram::encode_header(out, Some(data.len()));
                out.bytes(data);
            }
            Self::AckFrequency {
                sequence,
                threshold,
                request_max_ack_delay_us,
                reordering_threshold,
            } => {
                fields(out, &[sequence, threshold, request_max_ack_delay_us, reordering_threshold]);
            }
        }
    }
}

/// A frame type and variable-length integers.
fn encode_fields(out: &mut impl Sink, ty: u64, fields: &[u64]) {
    out.varint(ty);
    for &field in fields {
        out.varint(field);
    }
}
