//! Rules broken after the handshake, in 1-RTT packets.

use tquic_core::config::TransportConfig;
use tquic_core::datagram::DatagramConfig;
use tquic_crypto::Level;
use tquic_wire::Direction::{Bidirectional as Bidi, Unidirectional as Uni};
use tquic_wire::frame::StreamFrame;
use tquic_wire::{
    ConnectionId, Direction, Frame, MAX_VARINT, ResetToken, StreamId, TransportErrorCode as Code,
};

use crate::rogue::arena::{Arena, quiet};
use crate::rogue::{Draft, varints};
use crate::{ANY, violations};

/// TLS messages that QUIC has no place for (RFC 8446 section 4).
const KEY_UPDATE: &[u8] = &[24, 0, 0, 1, 0];
const END_OF_EARLY_DATA: &[u8] = &[5, 0, 0, 0];
const UNEXPECTED_MESSAGE: Code = Code::crypto(10);

fn stream(id: StreamId, offset: u64, data: &[u8], fin: bool) -> Frame<'_> {
    Frame::Stream(StreamFrame { id, offset, fin, data })
}

fn new_cid(sequence: u64, retire_prior_to: u64, cid: &[u8]) -> Frame<'static> {
    let cid = ConnectionId::new(cid).unwrap();
    let reset_token = ResetToken::new([sequence as u8; 16]);
    Frame::NewConnectionId { path: None, sequence, retire_prior_to, cid, reset_token }
}

fn reset(a: &mut Arena, dir: Direction, index: u64, final_size: u64) {
    let id = a.theirs(dir, index);
    a.send(&[Frame::ResetStream { id, error_code: 0, final_size }]);
}

fn reset_at(a: &mut Arena, error_code: u64, final_size: u64, reliable_size: u64) {
    let id = a.theirs(Bidi, 0);
    a.send(&[Frame::ResetStreamAt { id, error_code, final_size, reliable_size }]);
}

fn raw(a: &mut Arena, fields: &[u64]) {
    a.send_at(Level::OneRtt, &varints(fields));
}

fn crypto(a: &mut Arena, level: Level, data: &[u8]) {
    let offset = a.rogue().crypto_offset(level);
    let frame = Frame::Crypto { offset, data };
    a.send_at(level, &crate::rogue::bytes(&[frame]));
}

violations! {
    /// RFC 9000 section 4.1.
    h3spec_01_stream_data_past_the_window [Server, Client] Established |a| {
        let id = a.theirs(Bidi, 0);
        a.send(&[stream(id, 100_000_000, b"x", false)]);
    } => Code::FLOW_CONTROL_ERROR, 0x0e;

    /// RFC 9000 section 4.6.
    h3spec_02_stream_past_the_limit [Server, Client] Established |a| {
        let id = a.theirs(Bidi, 250_000_000);
        a.send(&[stream(id, 0, b"x", false)]);
    } => Code::STREAM_LIMIT_ERROR, 0x0a;

    /// RFC 9000 section 12.4.
    h3spec_11_unknown_frame_type [Server, Client] Established |a| {
        raw(a, &[0x20]);
    } => Code::FRAME_ENCODING_ERROR, 0x20;

    /// RFC 9000 section 12.4.
    h3spec_12_packet_without_frames [Server, Client] Established |a| {
        a.send_at(Level::OneRtt, &[]);
    } => Code::PROTOCOL_VIOLATION, 0;

    /// RFC 9000 section 17.3.1.
    h3spec_15_reserved_bits_of_short_headers [Server, Client] Established |a| {
        a.send_draft(Draft { first_bits: 0x18, ..Draft::new(Level::OneRtt, vec![1]) });
    } => Code::PROTOCOL_VIOLATION, 0;

    /// RFC 9000 section 19.4.
    h3spec_16_reset_of_a_send_only_stream [Server, Client] Established |a| {
        let id = a.ours(Uni, 0);
        a.send(&[Frame::ResetStream { id, error_code: 0, final_size: 0 }]);
    } => Code::STREAM_STATE_ERROR, 0x04;

    /// draft-ietf-quic-reliable-stream-reset-10 section 4.
    reliable_size_above_the_final_size [Server, Client] Established |a| {
        reset_at(a, 0, 10, 11);
    } => Code::FRAME_ENCODING_ERROR, 0x24;

    reset_at_past_the_stream_window [Server, Client] Established |a| {
        reset_at(a, 0, 100_000_000, 0);
    } => Code::FLOW_CONTROL_ERROR, 0x24;

    /// draft-ietf-quic-reliable-stream-reset-10 section 5.2.
    code_of_a_reset_changed [Server, Client] Established |a| {
        reset_at(a, 0, 10, 5);
        reset_at(a, 1, 10, 5);
    } => Code::STREAM_STATE_ERROR, 0x24;

    final_size_changed_by_reset_at [Server, Client] Established |a| {
        reset_at(a, 0, 10, 5);
        reset_at(a, 0, 11, 5);
    } => Code::FINAL_SIZE_ERROR, 0x24;

    /// RFC 9000 section 19.5.
    h3spec_17_stop_of_an_absent_stream [Server, Client] Established |a| {
        let id = a.ours(Bidi, 25);
        a.send(&[Frame::StopSending { id, error_code: 0 }]);
    } => Code::STREAM_STATE_ERROR, 0x05;

    /// RFC 9000 section 19.7.
    h3spec_18_new_token_from_a_client [Server] Established |a| {
        a.send(&[Frame::NewToken { token: b"token" }]);
    } => Code::PROTOCOL_VIOLATION, 0x07;

    /// RFC 9000 section 19.8.
    h3spec_19_data_on_an_uncreated_local_stream [Server, Client] Established |a| {
        let id = a.ours(Bidi, 0);
        a.send(&[stream(id, 0, b"x", false)]);
    } => Code::STREAM_STATE_ERROR, 0x0a;

    /// RFC 9000 section 19.8.
    h3spec_20_data_on_a_send_only_stream [Server, Client] Established |a| {
        let id = a.ours(Uni, 0);
        a.connection().streams().open(Uni).unwrap();
        a.send(&[stream(id, 0, b"x", true)]);
    } => Code::STREAM_STATE_ERROR, 0x0b;

    /// RFC 9000 section 19.10.
    h3spec_21_max_stream_data_for_an_absent_stream [Server, Client] Established |a| {
        let id = a.ours(Bidi, 25);
        a.send(&[Frame::MaxStreamData { id, max: 1 }]);
    } => Code::STREAM_STATE_ERROR, 0x11;

    /// RFC 9000 section 19.10.
    h3spec_22_max_stream_data_for_a_receive_only_stream [Server, Client] Established |a| {
        let id = a.theirs(Uni, 0);
        a.send(&[Frame::MaxStreamData { id, max: 1 }]);
    } => Code::STREAM_STATE_ERROR, 0x11;

    /// RFC 9000 sections 4.6 and 19.11.
    h3spec_23_max_streams_above_2_60 [Server, Client] Established |a| {
        raw(a, &[0x12, (1 << 60) + 1]);
    } => Code::FRAME_ENCODING_ERROR, 0x12;

    /// RFC 9000 sections 4.6 and 19.14.
    h3spec_24_streams_blocked_above_2_60 [Server, Client] Established |a| {
        raw(a, &[0x16, (1 << 60) + 1]);
    } => Code::FRAME_ENCODING_ERROR, 0x16;

    /// RFC 9000 section 19.15.
    h3spec_25_retire_prior_to_above_the_sequence [Server, Client] Established |a| {
        a.send(&[new_cid(1, 2, b"anything")]);
    } => Code::FRAME_ENCODING_ERROR, 0x18;

    /// RFC 9000 section 19.15.
    h3spec_26_empty_connection_id [Server, Client] Established |a| {
        a.send(&[new_cid(1, 0, b"")]);
    } => Code::FRAME_ENCODING_ERROR, 0x18;

    /// RFC 9000 section 19.15.
    connection_id_of_21_bytes [Server, Client] Established |a| {
        a.send_at(Level::OneRtt, &[&[0x18, 1, 0, 21][..], &[7; 37]].concat());
    } => Code::FRAME_ENCODING_ERROR, 0x18;

    /// RFC 9000 section 19.20.
    h3spec_27_handshake_done_from_a_client [Server] Established |a| {
        a.send(&[Frame::HandshakeDone]);
    } => Code::PROTOCOL_VIOLATION, 0x1e;

    /// RFC 9001 section 6.
    h3spec_29_tls_key_update [Server, Client] Established |a| {
        crypto(a, Level::OneRtt, KEY_UPDATE);
    } => UNEXPECTED_MESSAGE, ANY;

    end_of_early_data_after_the_handshake [Server, Client] Established |a| {
        crypto(a, Level::OneRtt, END_OF_EARLY_DATA);
    } => UNEXPECTED_MESSAGE, ANY;

    /// RFC 9001 section 4.4.
    certificate_request_after_the_handshake [Client] Established |a| {
        crypto(a, Level::OneRtt, &[13, 0, 0, 3, 0, 0, 0]);
    } => Code::PROTOCOL_VIOLATION, ANY;

    /// RFC 9001 section 4.6.1.
    ticket_that_limits_early_data [Client] Established |a| {
        let ticket = [&[4, 0, 0, 22][..], &[0; 8], &[0, 0, 1, 7, 0, 8, 0, 42, 0, 4], &[0, 0, 3, 0]];
        crypto(a, Level::OneRtt, &ticket.concat());
    } => Code::PROTOCOL_VIOLATION, ANY;

    /// RFC 9000 section 19.11.
    max_streams_uni_above_2_60 [Server, Client] Established |a| {
        raw(a, &[0x13, (1 << 60) + 1]);
    } => Code::FRAME_ENCODING_ERROR, 0x13;

    /// RFC 9000 section 19.14.
    streams_blocked_uni_above_2_60 [Server, Client] Established |a| {
        raw(a, &[0x17, (1 << 60) + 1]);
    } => Code::FRAME_ENCODING_ERROR, 0x17;

    /// RFC 9000 section 19.8.
    stream_end_past_2_62 [Server, Client] Established |a| {
        let id = a.theirs(Bidi, 0);
        raw(a, &[0x0c, id.0, MAX_VARINT, 0]);
    } => Code::FRAME_ENCODING_ERROR, 0x0c;

    /// RFC 9000 section 19.6.
    crypto_end_past_2_62 [Server, Client] Established |a| {
        raw(a, &[0x06, MAX_VARINT, 1, 0]);
    } => Code::FRAME_ENCODING_ERROR, 0x06;

    /// RFC 9000 section 4.6.
    unidirectional_stream_past_the_limit [Server, Client] Established |a| {
        let id = a.theirs(Uni, 128);
        a.send(&[stream(id, 0, b"x", false)]);
    } => Code::STREAM_LIMIT_ERROR, 0x0a;

    /// RFC 9000 section 4.6.
    reset_past_the_stream_limit [Server, Client] Established |a| {
        reset(a, Bidi, 1000, 0);
    } => Code::STREAM_LIMIT_ERROR, 0x04;

    stop_past_the_stream_limit [Server, Client] Established |a| {
        let id = a.theirs(Bidi, 1000);
        a.send(&[Frame::StopSending { id, error_code: 0 }]);
    } => Code::STREAM_LIMIT_ERROR, 0x05;

    max_stream_data_past_the_stream_limit [Server, Client] Established |a| {
        let id = a.theirs(Bidi, 1000);
        a.send(&[Frame::MaxStreamData { id, max: 1 }]);
    } => Code::STREAM_LIMIT_ERROR, 0x11;

    stream_data_blocked_past_the_stream_limit [Server, Client] Established |a| {
        let id = a.theirs(Uni, 1000);
        a.send(&[Frame::StreamDataBlocked { id, limit: 1 }]);
    } => Code::STREAM_LIMIT_ERROR, 0x15;

    /// RFC 9000 section 19.13.
    stream_data_blocked_on_a_send_only_stream [Server, Client] Established |a| {
        let id = a.ours(Uni, 0);
        a.send(&[Frame::StreamDataBlocked { id, limit: 1 }]);
    } => Code::STREAM_STATE_ERROR, 0x15;

    /// RFC 9000 section 19.5.
    stop_of_a_receive_only_stream [Server, Client] Established |a| {
        let id = a.theirs(Uni, 0);
        a.send(&[Frame::StopSending { id, error_code: 0 }]);
    } => Code::STREAM_STATE_ERROR, 0x05;

    /// RFC 9000 sections 4.1 and 4.5.
    reset_past_the_stream_window [Server, Client] Established |a| {
        reset(a, Bidi, 0, 100_000_000);
    } => Code::FLOW_CONTROL_ERROR, 0x04;

    /// RFC 9000 section 4.1.
    stream_data_past_the_connection_window [Server, Client] Established |a| {
        for index in 0..2 {
            let id = a.theirs(Bidi, index);
            a.send(&[stream(id, (2 << 20) - 1, b"x", false)]);
        }
    } => Code::FLOW_CONTROL_ERROR, 0x0e;

    reset_past_the_connection_window [Server, Client] Established |a| {
        let id = a.theirs(Bidi, 0);
        a.send(&[stream(id, (2 << 20) - 1, b"x", false)]);
        reset(a, Bidi, 1, 2 << 20);
    } => Code::FLOW_CONTROL_ERROR, 0x04;

    /// RFC 9000 section 4.5.
    final_size_changed_by_reset [Server, Client] Established |a| {
        let id = a.theirs(Bidi, 0);
        a.send(&[stream(id, 5, b"hello", true)]);
        reset(a, Bidi, 0, 11);
    } => Code::FINAL_SIZE_ERROR, 0x04;

    final_size_below_what_was_sent [Server, Client] Established |a| {
        let id = a.theirs(Bidi, 0);
        a.send(&[stream(id, 10, b"hello", false)]);
        reset(a, Bidi, 0, 14);
    } => Code::FINAL_SIZE_ERROR, 0x04;

    final_size_changed_by_fin [Server, Client] Established |a| {
        let id = a.theirs(Uni, 0);
        a.send(&[stream(id, 5, b"hello", true), stream(id, 5, b"hell", true)]);
    } => Code::FINAL_SIZE_ERROR, 0x0f;

    /// RFC 9000 section 4.5.
    data_past_the_final_size [Server, Client] Established |a| {
        let id = a.theirs(Uni, 0);
        a.send(&[stream(id, 5, b"hello", true), stream(id, 9, b"xx", false)]);
    } => Code::FINAL_SIZE_ERROR, 0x0e;

    /// RFC 9000 section 19.3.1.
    ack_range_below_zero [Server, Client] Established |a| {
        raw(a, &[0x02, 3, 0, 0, 4]);
    } => Code::FRAME_ENCODING_ERROR, 0x02;

    second_ack_range_below_zero [Server, Client] Established |a| {
        raw(a, &[0x02, 5, 0, 1, 0, 4, 0]);
    } => Code::FRAME_ENCODING_ERROR, 0x02;

    /// RFC 9000 section 13.1.
    ack_of_a_packet_never_sent [Server, Client] Established |a| {
        raw(a, &[0x02, 1_000_000, 0, 0, 0]);
    } => Code::PROTOCOL_VIOLATION, 0x02;

    /// RFC 9000 section 19.3.
    ack_of_packets_never_sent_in_a_frame_with_ecn [Server, Client] Established |a| {
        raw(a, &[0x03, 1_000_000, 0, 0, 1_000_000, 0, 0, 0]);
    } => Code::PROTOCOL_VIOLATION, 0x03;

    ack_cut_short [Server, Client] Established |a| {
        raw(a, &[0x02, 0, 0, 60, 0]);
    } => Code::FRAME_ENCODING_ERROR, 0x02;

    /// RFC 9000 section 12.4.
    frame_type_not_in_its_shortest_form [Server, Client] Established |a| {
        a.send_at(Level::OneRtt, &[0x40, 0x01]);
    } => Code::PROTOCOL_VIOLATION, 0x01;

    stream_frame_longer_than_its_packet [Server, Client] Established |a| {
        let id = a.theirs(Bidi, 0);
        raw(a, &[0x0a, id.0, 1000]);
    } => Code::FRAME_ENCODING_ERROR, 0x0a;

    /// RFC 9000 section 19.7.
    empty_new_token [Client] Established |a| {
        raw(a, &[0x07, 0]);
    } => Code::FRAME_ENCODING_ERROR, 0x07;

    /// RFC 9000 section 19.16.
    retirement_of_an_id_never_issued [Server, Client] Established |a| {
        a.send(&[Frame::RetireConnectionId { path: None, sequence: 1000 }]);
    } => Code::PROTOCOL_VIOLATION, 0x19;

    /// RFC 9000 section 19.16.
    retirement_of_the_id_of_its_own_packet [Server, Client] Established |a| {
        a.send(&[Frame::RetireConnectionId { path: None, sequence: 0 }]);
    } => Code::PROTOCOL_VIOLATION, 0x19;

    /// RFC 9000 section 5.1.1.
    more_connection_ids_than_the_limit [Server, Client] Established |a| {
        for sequence in 1..=8 {
            a.send(&[new_cid(sequence, 0, &[sequence as u8; 8])]);
        }
    } => Code::CONNECTION_ID_LIMIT_ERROR, 0x18;

    /// RFC 9000 section 19.15.
    sequence_number_with_another_id [Server, Client] Established |a| {
        a.send(&[new_cid(1, 0, b"first one"), new_cid(1, 0, b"other one")]);
    } => Code::PROTOCOL_VIOLATION, 0x18;

    id_with_another_sequence_number [Server, Client] Established |a| {
        a.send(&[new_cid(1, 0, b"same one"), new_cid(2, 0, b"same one")]);
    } => Code::PROTOCOL_VIOLATION, 0x18;

    id_with_another_reset_token [Server, Client] Established |a| {
        let cid = ConnectionId::new(b"same one").unwrap();
        let reset_token = ResetToken::new([99; 16]);
        let again = Frame::NewConnectionId { path: None, sequence: 1, retire_prior_to: 0, cid, reset_token };
        a.send(&[new_cid(1, 0, b"same one"), again]);
    } => Code::PROTOCOL_VIOLATION, 0x18;

    /// RFC 9000 section 19.15.
    connection_id_beside_an_empty_one [Server, Client] Fresh |a| {
        a.script.scid = ConnectionId::EMPTY;
        a.handshake();
        a.send(&[new_cid(1, 0, b"another")]);
    } => Code::PROTOCOL_VIOLATION, 0x18;

    datagram_that_was_not_invited [Server, Client] Fresh |a| {
        let datagrams = DatagramConfig { max_frame_size: 0, ..DatagramConfig::default() };
        let transport = TransportConfig { datagrams, ..quiet() };
        *a = Arena::with(a.under, transport, |accept| accept);
        a.handshake();
        a.send(&[Frame::Datagram { data: b"hello" }]);
    } => Code::PROTOCOL_VIOLATION, 0x31;

    datagram_larger_than_the_limit [Server, Client] Fresh |a| {
        let datagrams = DatagramConfig { max_frame_size: 100, ..DatagramConfig::default() };
        let transport = TransportConfig { datagrams, ..quiet() };
        *a = Arena::with(a.under, transport, |accept| accept);
        a.handshake();
        a.send_at(Level::OneRtt, &[&[0x30][..], &[0; 100]].concat());
    } => Code::PROTOCOL_VIOLATION, 0x30;

    ack_frequency_with_too_short_a_delay [Server, Client] Established |a| {
        a.send(&[Frame::AckFrequency {
            sequence: 0,
            threshold: 1,
            request_max_ack_delay_us: 1,
            reordering_threshold: 1,
        }]);
    } => Code::PROTOCOL_VIOLATION, 0xaf;

    handshake_data_far_ahead [Server, Client] Established |a| {
        a.send(&[Frame::Crypto { offset: 1_000_000, data: b"x" }]);
    } => Code::CRYPTO_BUFFER_EXCEEDED, 0x06;

    /// RFC 9001 section 6.2.
    key_update_before_the_last_was_answered [Server, Client] Established |a| {
        a.rogue().update_keys();
        a.send_at(Level::OneRtt, &[0; 4]);
        assert_eq!(a.connection().stats().key_updates, 1);
        a.rogue().update_keys();
        a.send_at(Level::OneRtt, &[0; 4]);
    } => Code::KEY_UPDATE_ERROR, 0;
}
