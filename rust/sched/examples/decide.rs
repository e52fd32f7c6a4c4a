//! Times decisions of the example programs: `cargo run --release -p tquic-sched --example decide`.
//! Prints nanoseconds for each, the least of several rounds, on 2, 4 and 8 paths.
#![allow(clippy::unwrap_used, reason = "a tool for developers fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "it measures")]

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tquic_sched::{Backend, Instance, PacketContext, PathSnapshot, Program};

// Short enough that some round is not interrupted, on a busy machine too.
const DECISIONS: u32 = 1_000;
const ROUNDS: usize = 300;

fn main() {
    let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    println!("{:12} {:12} {:>6} {:>6} {:>6}", "program", "backend", 2, 4, 8);
    for name in ["guide", "roundrobin", "stateful", "backup"] {
        let object = std::fs::read(fixtures.join(name).with_extension("o")).unwrap();
        let program = Arc::new(Program::load(&object).unwrap());
        for backend in [Backend::Fastest, Backend::Interpreter] {
            let [two, four, eight] = [2, 4, 8].map(|paths| time(&program, backend, paths));
            let is_compiled = Instance::new(&program, backend).is_compiled();
            let how = if is_compiled { "machine code" } else { "interpreter" };
            println!("{name:12} {how:12} {two:6.0} {four:6.0} {eight:6.0}");
        }
    }
}

fn time(program: &Arc<Program>, backend: Backend, count: u32) -> f64 {
    let mut scheduler = Instance::new(program, backend);
    scheduler.init().unwrap();
    let path = |id| PathSnapshot {
        id,
        weight: 1,
        schedulable: 1,
        is_open: true,
        srtt_us: u64::from(20_000 - id * 1_000),
        min_rtt_us: 10_000,
        bandwidth: 10_000_000,
        cwnd: 100_000,
        ..PathSnapshot::default()
    };
    let mut paths: Vec<_> = (0..count).map(path).collect();
    let packet = PacketContext {
        stream_id: Some(0),
        bytes: 1200,
        ack_eliciting: true,
        retransmission: false,
    };
    let round = |_| {
        let start = Instant::now();
        for _ in 0..DECISIONS {
            black_box(scheduler.select_path(black_box(&mut paths), &packet).unwrap());
        }
        start.elapsed().as_nanos() as f64 / f64::from(DECISIONS)
    };
    (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min)
}
