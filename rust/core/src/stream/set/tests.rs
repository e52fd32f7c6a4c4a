//! Tests of whole stream sets: what a connection would do, without one.

mod attack;
mod errors;
mod files;
mod lifecycle;
mod pair;
mod reset_at;
mod sending;

use super::*;
use crate::error::TransportError;
use crate::recovery::{Token, Tokens};
use crate::stream::StreamConfig;
use crate::time::Instant;
use crate::tx::FrameWriter;
use Direction::{Bidirectional, Unidirectional};
use Side::{Client, Server};
use tquic_wire::{Frame, FrameIter};

const MTU: usize = 1200;

/// A packet as the peer gets it, and what its sender remembers.
#[derive(Clone, Debug)]
struct Packet {
    payload: Vec<u8>,
    tokens: Tokens,
}

fn set_with(side: Side, config: &StreamConfig) -> StreamSet {
    StreamSet::new(side, config, &mut Rng::from_seed([side as u8; 32]))
}

fn params(config: &StreamConfig) -> TransportParameters {
    let mut params = TransportParameters::default();
    config.advertise(&mut params);
    params
}

/// A set whose peer has the same limits.
fn ready(side: Side, config: &StreamConfig) -> StreamSet {
    let mut set = set_with(side, config);
    set.set_peer_limits(&params(config));
    set
}

fn pair(config: &StreamConfig) -> (StreamSet, StreamSet) {
    (ready(Client, config), ready(Server, config))
}

/// One packet of everything that is due, or `None`.
fn build(set: &mut StreamSet, now: Instant, size: usize) -> Option<Packet> {
    let (mut payload, mut tokens) = (vec![0; size], Tokens::new());
    let mut fw = FrameWriter::new(&mut payload, &mut tokens);
    set.write_control(&mut fw, now);
    while set.write_frame(&mut fw) {}
    let len = fw.position();
    assert_eq!(fw.is_ack_eliciting(), len > 0);
    payload.truncate(len);
    (len > 0).then_some(Packet { payload, tokens })
}

fn receive_frame(set: &mut StreamSet, frame: &Frame<'_>) -> Result<(), TransportError> {
    match *frame {
        Frame::Stream(ref frame) => set.on_stream(frame),
        Frame::ResetStream { id, error_code, final_size } => {
            set.on_reset_stream(id, error_code, final_size)
        }
        Frame::ResetStreamAt { id, error_code, final_size, reliable_size } => {
            set.on_reset_stream_at(id, error_code, final_size, reliable_size)
        }
        Frame::StopSending { id, error_code } => set.on_stop_sending(id, error_code),
        Frame::MaxData(max) => {
            set.on_max_data(max);
            Ok(())
        }
        Frame::MaxStreamData { id, max } => set.on_max_stream_data(id, max),
        Frame::MaxStreams { dir, max } => set.on_max_streams(dir, max),
        Frame::StreamDataBlocked { id, .. } => set.on_stream_data_blocked(id),
        Frame::StreamsBlocked { dir, limit } => set.on_streams_blocked(dir, limit),
        Frame::DataBlocked(_) | Frame::Padding { .. } => Ok(()),
        ref other => panic!("no frame of streams: {other:?}"),
    }
}

fn receive(set: &mut StreamSet, packet: &Packet) -> Result<(), TransportError> {
    for frame in FrameIter::new(&packet.payload) {
        receive_frame(set, &frame.unwrap())?;
    }
    Ok(())
}

fn acked(set: &mut StreamSet, packet: &Packet) {
    for &token in &packet.tokens {
        set.on_acked(token);
    }
}

fn lost(set: &mut StreamSet, packet: &Packet) {
    for &token in &packet.tokens {
        set.on_lost(token);
    }
}

/// Sends everything both ways over a perfect path until nothing is left to send.
fn exchange(a: &mut StreamSet, b: &mut StreamSet) {
    let now = Instant::ZERO;
    loop {
        let mut idle = true;
        while let Some(packet) = build(a, now, MTU) {
            receive(b, &packet).unwrap();
            acked(a, &packet);
            idle = false;
        }
        while let Some(packet) = build(b, now, MTU) {
            receive(a, &packet).unwrap();
            acked(b, &packet);
            idle = false;
        }
        if idle {
            return;
        }
    }
}

fn frames(packet: &Packet) -> Vec<Frame<'_>> {
    FrameIter::new(&packet.payload).map(Result::unwrap).collect()
}

fn stream_frame(
    set: &mut StreamSet,
    id: u64,
    offset: u64,
    data: &[u8],
    fin: bool,
) -> Result<(), TransportError> {
    let frame = tquic_wire::frame::StreamFrame { id: StreamId(id), offset, fin, data };
    set.on_stream(&frame)
}

fn events(set: &mut StreamSet) -> Vec<StreamEvent> {
    std::iter::from_fn(|| set.poll_event()).collect()
}

/// Reads all there is; the bytes and whether the end was reached.
fn read_all(set: &mut StreamSet, id: StreamId) -> (Vec<u8>, bool) {
    let (mut data, mut fin) = (Vec::new(), false);
    while !fin && let Some(chunk) = set.read(id, usize::MAX).unwrap() {
        assert_eq!(chunk.offset, data.len() as u64);
        data.extend_from_slice(&chunk.data);
        fin = chunk.fin;
    }
    (data, fin)
}

/// Nothing is left of any stream.
fn assert_empty(set: &mut StreamSet) {
    assert_eq!(events(set), []);
    assert_eq!(set.stats(), StreamStats::default());
    assert!(set.is_empty() && set.index.is_empty() && set.control.is_empty());
    assert!(!set.scheduler.has(Work::Owed) && !set.scheduler.has(Work::Fresh));
    assert_eq!(set.pool.len(), 0);
    assert!(set.remote.iter().all(|r| r.silent.is_empty()));
}
