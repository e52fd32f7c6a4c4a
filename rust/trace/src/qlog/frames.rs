//! Frames, read back from packets in the clear.

use tquic_core::recovery::Token;
use tquic_core::trace::Packet;
use tquic_wire::frame::{Ack, Close, next_frame, ty};
use tquic_wire::{Direction, Frame, Reader, TransportErrorCode};

use super::Form;
use crate::json::{self, Object};

/// Calls `f` for each frame; the number is that of bytes of stream data that belong to the frame and do
/// not stand in the packet yet.
pub(crate) fn each(packet: &Packet<'_>, mut f: impl FnMut(&Frame<'_>, usize)) {
    let mut reader = Reader::new(packet.payload);
    while !reader.is_empty() {
        // A peer's packet may hold what is no frame; the connection closes because of it.
        let Ok(frame) = next_frame(&mut reader) else { return };
        let tail = if reader.is_empty() { packet.tail } else { 0 };
        f(&frame, tail);
    }
}

/// How frames are written.
#[derive(Clone, Copy)]
pub(super) struct Style {
    pub form: Form,
    /// Of whoever sent the ACK frames.
    pub ack_delay_exponent: u64,
}

impl Style {
    /// The frames of a packet.
    pub fn frames(self, data: &mut Object<'_>, packet: &Packet<'_>) {
        let out = data.value("frames");
        out.push(b'[');
        let mut first = true;
        each(packet, |frame, tail| {
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            Object::write(out, |o| self.frame(o, frame, tail));
        });
        out.push(b']');
    }

    fn frame(self, o: &mut Object<'_>, frame: &Frame<'_>, tail: usize) {
        match frame {
            Frame::Padding { len } => {
                o.word("frame_type", "padding");
                self.raw(o, *len, None);
            }
            Frame::Ping => o.word("frame_type", "ping"),
            Frame::Ack(ack) if ack.path.is_none() => self.ack(o, ack),
            Frame::ResetStream { id, error_code, final_size } => {
                o.word("frame_type", "reset_stream");
                o.uint("stream_id", id.0);
                application_error(o, "error", *error_code);
                o.uint("final_size", *final_size);
            }
            Frame::ResetStreamAt { id, error_code, final_size, reliable_size } => {
                o.word("frame_type", "reset_stream_at");
                o.uint("stream_id", id.0);
                application_error(o, "error", *error_code);
                o.uint("final_size", *final_size);
                o.uint("reliable_size", *reliable_size);
            }
            Frame::StopSending { id, error_code } => {
                o.word("frame_type", "stop_sending");
                o.uint("stream_id", id.0);
                application_error(o, "error", *error_code);
            }
            Frame::Crypto { offset, data } => {
                o.word("frame_type", "crypto");
                o.uint("offset", *offset);
                self.raw(o, 0, Some(data.len()));
            }
            Frame::NewToken { token } => {
                o.word("frame_type", "new_token");
                o.object("token", |t| {
                    t.word("type", "resumption");
                    self.raw(t, token.len(), None);
                });
            }
            Frame::Stream(f) => {
                o.word("frame_type", "stream");
                o.uint("stream_id", f.id.0);
                o.uint("offset", f.offset);
                if f.fin {
                    o.flag("fin", true);
                }
                self.raw(o, 0, Some(f.data.len() + tail));
            }
            Frame::Datagram { data } => {
                o.word("frame_type", "datagram");
                self.raw(o, 0, Some(data.len()));
            }
            Frame::ConnectionClose(close) => connection_close(o, close),
            Frame::HandshakeDone => o.word("frame_type", "handshake_done"),
            // Frames of extensions have no names in the drafts.
            other if other.ty() > ty::HANDSHAKE_DONE => unknown(o, other.ty()),
            other => control(o, other),
        }
    }

    fn ack(self, o: &mut Object<'_>, ack: &Ack<'_>) {
        o.word("frame_type", "ack");
        o.millis("ack_delay", ack.delay_us(self.ack_delay_exponent).saturating_mul(1000));
        o.list("acked_ranges", ack.ranges(), |out, range| {
            let (from, to) = range.into_inner();
            out.push(b'[');
            json::digits(out, from);
            // Older tools want two numbers always.
            if from != to || self.form == Form::Old {
                out.push(b',');
                json::digits(out, to);
            }
            out.push(b']');
        });
        if let Some(ecn) = ack.ecn {
            o.uint("ect1", ecn.ect1);
            o.uint("ect0", ecn.ect0);
            o.uint("ce", ecn.ce);
        }
    }

    /// Lengths: of all of it, or of what it carries.
    fn raw(self, o: &mut Object<'_>, length: usize, payload: Option<usize>) {
        if self.form == Form::Old {
            return o.uint("length", payload.unwrap_or(length) as u64);
        }
        o.object("raw", |raw| match payload {
            Some(payload) => raw.uint("payload_length", payload as u64),
            None => raw.uint("length", length as u64),
        });
    }

    /// What lost packets carried. Where only the owner of a value knows it, the frame's type must do.
    pub fn tokens(self, data: &mut Object<'_>, tokens: &[Token]) {
        data.list("frames", tokens, |out, token| {
            Object::write(out, |o| match *token {
                Token::Stream { id, offset, len, fin } => {
                    o.word("frame_type", "stream");
                    o.uint("stream_id", id.0);
                    o.uint("offset", offset);
                    if fin {
                        o.flag("fin", true);
                    }
                    self.raw(o, 0, Some(usize::from(len)));
                }
                Token::Crypto { offset, len } => {
                    o.word("frame_type", "crypto");
                    o.uint("offset", offset);
                    self.raw(o, 0, Some(usize::from(len)));
                }
                Token::HandshakeDone => o.word("frame_type", "handshake_done"),
                Token::Ping { .. } | Token::MtuProbe(_) => o.word("frame_type", "ping"),
                Token::Datagram => o.word("frame_type", "datagram"),
                Token::RetireConnectionId { path: 0, sequence } => {
                    o.word("frame_type", "retire_connection_id");
                    o.uint("sequence_number", sequence);
                }
                other => unknown(o, token_type(&other)),
            });
        });
    }
}

/// Flow control, connection IDs, paths.
fn control(o: &mut Object<'_>, frame: &Frame<'_>) {
    match frame {
        Frame::MaxData(maximum) => {
            o.word("frame_type", "max_data");
            o.uint("maximum", *maximum);
        }
        Frame::MaxStreamData { id, max } => {
            o.word("frame_type", "max_stream_data");
            o.uint("stream_id", id.0);
            o.uint("maximum", *max);
        }
        Frame::MaxStreams { dir, max } => {
            o.word("frame_type", "max_streams");
            o.word("stream_type", stream_type(*dir));
            o.uint("maximum", *max);
        }
        Frame::DataBlocked(limit) => {
            o.word("frame_type", "data_blocked");
            o.uint("limit", *limit);
        }
        Frame::StreamDataBlocked { id, limit } => {
            o.word("frame_type", "stream_data_blocked");
            o.uint("stream_id", id.0);
            o.uint("limit", *limit);
        }
        Frame::StreamsBlocked { dir, limit } => {
            o.word("frame_type", "streams_blocked");
            o.word("stream_type", stream_type(*dir));
            o.uint("limit", *limit);
        }
        Frame::NewConnectionId { sequence, retire_prior_to, cid, .. } => {
            // Without the stateless reset token: whoever reads it could end the connection.
            o.word("frame_type", "new_connection_id");
            o.uint("sequence_number", *sequence);
            o.uint("retire_prior_to", *retire_prior_to);
            o.uint("connection_id_length", cid.len() as u64);
            o.hex("connection_id", cid.as_slice());
        }
        Frame::RetireConnectionId { sequence, .. } => {
            o.word("frame_type", "retire_connection_id");
            o.uint("sequence_number", *sequence);
        }
        Frame::PathChallenge(data) => {
            o.word("frame_type", "path_challenge");
            o.hex("data", data);
        }
        Frame::PathResponse(data) => {
            o.word("frame_type", "path_response");
            o.hex("data", data);
        }
        _ => {}
    }
}

pub(super) fn stream_type(dir: Direction) -> &'static str {
    match dir {
        Direction::Bidirectional => "bidirectional",
        Direction::Unidirectional => "unidirectional",
    }
}

/// Applications' codes have no names here.
pub(super) fn application_error(o: &mut Object<'_>, name: &str, code: u64) {
    o.text(name, "unknown");
    o.uint("error_code", code);
}

/// The code by the name that the drafts give it.
pub(super) fn transport_error(o: &mut Object<'_>, name: &str, code: TransportErrorCode) {
    if code.tls_alert().is_some() {
        return o.text(name, &format!("crypto_error_{:#x}", code.0));
    }
    match code.name() {
        // Those of the core RFCs; extensions' codes are numbers to qlog.
        std::borrow::Cow::Borrowed(known) if code.0 <= TransportErrorCode::NO_VIABLE_PATH.0 => {
            o.text(name, &known.to_ascii_lowercase());
        }
        _ => {
            o.text(name, "unknown");
            o.uint("error_code", code.0);
        }
    }
}

fn connection_close(o: &mut Object<'_>, close: &Close<'_>) {
    o.word("frame_type", "connection_close");
    match close.frame_type {
        Some(frame) => {
            o.word("error_space", "transport");
            transport_error(o, "error", TransportErrorCode(close.error_code));
            o.uint("trigger_frame_type", frame);
        }
        None => {
            o.word("error_space", "application");
            application_error(o, "error", close.error_code);
        }
    }
    match std::str::from_utf8(close.reason) {
        Ok(reason) => json::text(o.value("reason"), reason),
        Err(_) => o.hex("reason_bytes", close.reason),
    }
}

fn unknown(o: &mut Object<'_>, ty: u64) {
    o.word("frame_type", "unknown");
    o.uint("frame_type_bytes", ty);
}

fn token_type(token: &Token) -> u64 {
    match token {
        Token::Stream { .. } => ty::STREAM,
        Token::Crypto { .. } => ty::CRYPTO,
        Token::Ack { .. } => ty::ACK,
        Token::ResetStream(_) => ty::RESET_STREAM,
        Token::ResetStreamAt { .. } => ty::RESET_STREAM_AT,
        Token::StopSending(_) => ty::STOP_SENDING,
        Token::MaxData => ty::MAX_DATA,
        Token::MaxStreamData(_) => ty::MAX_STREAM_DATA,
        Token::MaxStreams(dir) => ty::MAX_STREAMS_BIDI + *dir as u64,
        Token::DataBlocked => ty::DATA_BLOCKED,
        Token::StreamDataBlocked(_) => ty::STREAM_DATA_BLOCKED,
        Token::StreamsBlocked(dir) => ty::STREAMS_BLOCKED_BIDI + *dir as u64,
        Token::NewConnectionId { path: 0, .. } => ty::NEW_CONNECTION_ID,
        Token::NewConnectionId { .. } => ty::PATH_NEW_CONNECTION_ID,
        Token::RetireConnectionId { path: 0, .. } => ty::RETIRE_CONNECTION_ID,
        Token::RetireConnectionId { .. } => ty::PATH_RETIRE_CONNECTION_ID,
        Token::PathAbandon(_) => ty::PATH_ABANDON,
        Token::PathStatus { .. } => ty::PATH_STATUS_AVAILABLE,
        Token::PathCidsBlocked(_) => ty::PATH_CIDS_BLOCKED,
        Token::MaxPathId => ty::MAX_PATH_ID,
        Token::PathsBlocked => ty::PATHS_BLOCKED,
        Token::NewToken => ty::NEW_TOKEN,
        Token::HandshakeDone => ty::HANDSHAKE_DONE,
        Token::AckFrequency => ty::ACK_FREQUENCY,
        Token::Datagram => ty::DATAGRAM,
        Token::Ping { .. } | Token::MtuProbe(_) => ty::PING,
    }
}
