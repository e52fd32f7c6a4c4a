//! The codecs: packets, frames, transport parameters, ClientHello.

use tquic_crypto::client_hello::{Progress, parse};
use tquic_wire::frame::rules;
use tquic_wire::header::{self, Long, LongFields, LongHeader};
use tquic_wire::{
    ConnectionId, Frame, FrameIter, PacketType, Reader, Side, TransportParameters, Writer,
};

/// A datagram: headers of any version, coalesced or not. What parses is written and parsed again.
pub fn packet(data: &[u8]) {
    let mut rest = data;
    while let Some(&first) = rest.first() {
        if !header::is_long(first) {
            for len in 0..=ConnectionId::MAX_LEN {
                let dcid = header::short_dcid(rest, len);
                assert_eq!(dcid.is_some(), rest.len() > len);
            }
            return;
        }
        match header::parse_long(rest) {
            Ok(Long::Protected(h)) => {
                assert!(h.pn_offset <= h.packet_len && h.packet_len <= rest.len());
                again(&h);
                rest = &rest[h.packet_len..];
            }
            Ok(Long::Retry { version, dcid, scid, token, integrity_tag, without_tag }) => {
                assert!(!token.is_empty());
                let mut out = vec![0; without_tag.len()];
                let mut w = Writer::new(&mut out);
                header::write_retry(&mut w, first & 15, version, &dcid, &scid, token);
                out.extend_from_slice(&integrity_tag);
                assert_eq!(out[1..], rest[1..]);
                return;
            }
            Ok(Long::VersionNegotiation { dcid, scid, versions }) => {
                let list: Vec<_> = versions.collect();
                assert!(!list.is_empty());
                let mut out = vec![0; 7 + dcid.len() + scid.len() + 4 * list.len()];
                let mut w = Writer::new(&mut out);
                header::write_version_negotiation(&mut w, 0, dcid, scid, &list);
                assert_eq!(out[1..], rest[1..]);
                return;
            }
            Ok(Long::UnknownVersion { version, dcid, scid }) => {
                assert!(!version.is_supported() && version.0 != 0);
                assert!(dcid.len() <= 255 && scid.len() <= 255);
                return;
            }
            Err(_) => return,
        }
    }
}

fn again(h: &LongHeader<'_>) {
    assert!(h.token.is_empty() || h.ty == PacketType::Initial);
    let fields = LongFields {
        ty: h.ty,
        version: h.version,
        dcid: &h.dcid,
        scid: &h.scid,
        token: h.token,
        pn: 0x0102_0304,
        pn_len: 4,
    };
    let mut out = vec![0; fields.size() + 20];
    let mut w = Writer::new(&mut out);
    let handle = header::write_long(&mut w, &fields);
    assert_eq!(w.position(), fields.size());
    let len = out.len();
    header::patch_length(&mut out, handle, len);
    let Ok(Long::Protected(second)) = header::parse_long(&out) else { panic!("does not parse") };
    assert_eq!(
        (second.ty, second.version, second.dcid, second.scid, second.token),
        (h.ty, h.version, h.dcid, h.scid, h.token)
    );
    assert_eq!((second.pn_offset, second.packet_len), (handle.pn_offset, len));
}

/// A payload: every frame that parses is written in its shortest form and parses to the same.
pub fn frame(data: &[u8]) {
    let mut iter = FrameIter::new(data);
    let mut at = 0;
    while let Some(frame) = iter.next() {
        let Ok(frame) = frame else { return };
        assert!(iter.position() > at, "a frame without a byte");
        at = iter.position();
        if let Frame::Ack(ack) = &frame {
            let mut below = None;
            for range in ack.ranges() {
                assert!(range.start() <= range.end());
                assert!(below.is_none_or(|below| range.end() + 1 < below));
                below = Some(*range.start());
            }
        }
        assert!(rules::permitted(frame.ty(), PacketType::OneRtt));
        assert_eq!(rules::is_ack_eliciting(frame.ty()), frame.is_ack_eliciting());
        let mut out = vec![0; frame.size()];
        let mut w = Writer::new(&mut out);
        frame.write(&mut w);
        assert_eq!(w.remaining(), 0);
        let mut reader = Reader::new(&out);
        assert_eq!(tquic_wire::frame::next_frame(&mut reader), Ok(frame));
        assert!(reader.is_empty());
    }
    assert_eq!(at, data.len());
}

/// Transport parameters of either side.
pub fn params(data: &[u8]) {
    let Some((&side, encoded)) = data.split_first() else { return };
    let side = if side & 1 == 0 { Side::Client } else { Side::Server };
    let Ok(params) = TransportParameters::decode(side, encoded) else { return };
    assert!(params.max_udp_payload_size >= 1200 && params.active_connection_id_limit >= 2);
    assert!(params.ack_delay_exponent <= 20 && params.max_ack_delay < 1 << 14);
    let mut out = Vec::new();
    params.encode(side, &mut out);
    assert_eq!(TransportParameters::decode(side, &out), Ok(params));
}

/// The first TLS message, as far as a server reads it by itself.
pub fn client_hello(data: &[u8]) {
    let Ok(Progress::Complete(hello)) = parse(data) else { return };
    assert!(hello.alpn().all(|name| !name.is_empty()));
    if let Some(encoded) = hello.transport_parameters {
        let _ = TransportParameters::decode(Side::Client, encoded);
    }
    // What follows the message changes nothing.
    let longer = [data, &[0xff; 7]].concat();
    assert_eq!(parse(&longer), Ok(Progress::Complete(hello)));
}
