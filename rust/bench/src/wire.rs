//! Frames: bytes to values and back.

use std::hint::black_box;

use tquic_wire::frame::{ack, next_frame, stream};
use tquic_wire::{Reader, StreamId, Writer};

/// STREAM frames in a packet of small responses.
const FRAMES: u64 = 36;
/// Bytes of each.
const BODY: [u8; 32] = [7; 32];

fn packet(buf: &mut [u8]) -> usize {
    let mut w = Writer::new(buf);
    ack::write(&mut w, None, [900..=1000, 0..=898].into_iter(), 12, None, 64);
    for n in 0..FRAMES {
        stream::write_header(&mut w, StreamId(4 * n), 0, Some(BODY.len()), true);
        w.bytes(&BODY);
    }
    w.written().len()
}

/// An ACK frame and small STREAM frames that fill a packet.
pub fn encode() -> Box<dyn FnMut()> {
    let mut buf = vec![0; 1500];
    Box::new(move || {
        black_box(packet(black_box(&mut buf)));
    })
}

/// The same packet, read.
pub fn decode() -> Box<dyn FnMut()> {
    let mut buf = vec![0; 1500];
    let len = packet(&mut buf);
    buf.truncate(len);
    Box::new(move || {
        let mut reader = Reader::new(black_box(&buf));
        while !reader.is_empty() {
            black_box(next_frame(&mut reader).unwrap());
        }
    })
}
