//! Objects with programs drawn from bytes, and what every program must live up to. The fuzz
//! targets share this (`fuzz/src/lib.rs`).
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests fail by panicking, and each use takes its part"
)]

pub mod object;
pub mod program;

use std::sync::Arc;
use std::time::Duration;

use tquic_sched::{
    Backend, Fault, Instance, LoadError, PacketContext, PathEvent, PathSnapshot, Program,
};

/// Decisions from bytes. When they run out everything is zero, so that programs end.
pub struct Source<'a>(pub &'a [u8]);

impl Source<'_> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn u8(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    pub fn below(&mut self, bound: u8) -> u8 {
        self.u8() % bound
    }

    pub fn u64(&mut self) -> u64 {
        (0..8).fold(0, |n, _| n << 8 | u64::from(self.u8()))
    }

    /// Small, at an edge, or anything.
    pub fn i32(&mut self) -> i32 {
        const EDGES: [i32; 8] = [-1, 8, 31, 64, i32::MAX, i32::MIN, 0x8000, -512];
        match self.u8() {
            small @ 0..160 => i32::from(small % 20) - 3,
            edge @ 160..220 => EDGES[usize::from(edge) % EDGES.len()],
            _ => self.u64() as i32,
        }
    }
}

/// Loads an object and, if it is accepted, calls it in every way on both backends, which must
/// agree in everything and find nothing that the verifier overlooked.
pub fn exercise(object: &[u8], source: &mut Source<'_>) -> Result<(), LoadError> {
    let program = Arc::new(Program::load(object)?);
    let fuel = 2_000;
    let new = |backend| Instance::new(&program, backend).with_fuel(fuel);
    let (mut fast, mut slow) = (new(Backend::Fastest), new(Backend::Interpreter));
    let mut paths: Vec<PathSnapshot> = (0..source.below(6)).map(|n| path(n, source)).collect();
    assert_eq!(sound(fast.init()), slow.init());
    for _ in 0..1 + source.below(4) {
        let mut same = paths.clone();
        let packet = PacketContext {
            stream_id: Some(source.u64()),
            bytes: source.u8().into(),
            ack_eliciting: source.u8() & 1 == 1,
            retransmission: source.u8() & 1 == 1,
        };
        let chosen = sound(fast.select_path(&mut paths, &packet));
        assert_eq!(chosen, slow.select_path(&mut same, &packet));
        let index = usize::from(source.below(4));
        let rtt = Duration::from_nanos(source.u64() >> source.below(64));
        assert_eq!(
            sound(fast.on_packet_acked(&mut paths, index, packet.bytes, rtt)),
            slow.on_packet_acked(&mut same, index, packet.bytes, rtt),
        );
        assert_eq!(
            sound(fast.on_path_change(&mut paths, index, PathEvent::CwndUpdate)),
            slow.on_path_change(&mut same, index, PathEvent::CwndUpdate),
        );
        assert_eq!(
            sound(fast.on_packet_lost(&mut paths, index, packet.bytes)),
            slow.on_packet_lost(&mut same, index, packet.bytes),
        );
        assert_eq!(paths, same);
        assert_eq!(fast.memory(), slow.memory());
    }
    assert_eq!(sound(fast.release()), slow.release());
    Ok(())
}

fn sound<T>(result: Result<T, Fault>) -> Result<T, Fault> {
    if let Err(Fault::Verifier) = result {
        panic!("the verifier accepted what it must not");
    }
    result
}

fn path(id: u8, source: &mut Source<'_>) -> PathSnapshot {
    PathSnapshot {
        id: id.into(),
        weight: source.u8().into(),
        priority: source.u8().into(),
        schedulable: source.below(4).into(),
        is_open: source.below(4) != 0,
        is_backup: source.below(4) == 0,
        is_held_back: source.below(4) == 0,
        srtt_us: source.u64(),
        min_rtt_us: source.u8().into(),
        bandwidth: source.u64(),
        cwnd: source.u8().into(),
        bytes_in_flight: source.u8().into(),
        loss_rate: source.u64() as u32,
    }
}
