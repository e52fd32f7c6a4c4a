//! Moves bytes between two endpoints in virtual time, with or without qlog files of both ends: loads
//! whose instructions can be compared. `valgrind --tool=callgrind target/release/examples/cost 16 all`
//! moves 16 MiB with everything written; `none`, `core`, `base` write less.

use std::sync::Arc;
use std::time::Duration;

use tquic_sim::transfer::Transfer;
use tquic_trace::Tracing;
use tquic_trace::qlog::{QlogConfig, Severity, flush};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mebibytes = arguments.next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(16);
    let severity = match arguments.next().as_deref() {
        None | Some("none") => None,
        Some("core") => Some(Severity::Core),
        Some("base") => Some(Severity::Base),
        Some(_) => Some(Severity::Extra),
    };
    let folder = std::env::temp_dir().join(format!("tquic-cost-{}", std::process::id()));
    let bytes = mebibytes << 20;
    let mut transfer = Transfer::new(1, bytes);
    if let Some(severity) = severity {
        let config = QlogConfig { severity, buffer: 1 << 30, ..QlogConfig::new(&folder) };
        let tracing = Arc::new(Tracing::new(Some(config)));
        transfer.client.tracer = Some(tracing.clone());
        transfer.server.tracer = Some(tracing);
    }
    let received = transfer.run().map(|finished| finished.received);
    assert_eq!(received, Some(bytes), "the transfer did not come to its end");
    flush(Duration::from_secs(60));
    let files = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let written: u64 = files.filter_map(|file| Some(file.metadata().ok()?.len())).sum();
    println!("{mebibytes} MiB moved, {written} bytes of qlog");
    let _ = std::fs::remove_dir_all(&folder);
}
