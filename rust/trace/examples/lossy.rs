//! Writes the qlog files of both ends of a transfer over a lossy link, played in virtual time:
//! `cargo run -p tquic-trace --example lossy -- FOLDER [old]`.

use std::sync::Arc;
use std::time::Duration;

use tquic_sim::link::{Limit, LinkConfig, Loss, QueueConfig, Rate};
use tquic_sim::random::Probability;
use tquic_sim::transfer::Transfer;
use tquic_trace::Tracing;
use tquic_trace::qlog::{Form, QlogConfig, flush};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or_else(|| "qlog".to_owned());
    let form = if arguments.next().as_deref() == Some("old") { Form::Old } else { Form::New };
    let mut transfer = Transfer::new(1, 8 << 20);
    transfer.to_server = LinkConfig {
        delay: Duration::from_millis(20),
        rate: Some(Rate::mbps(20)),
        queue: QueueConfig::DropTail(Limit::Packets(60)),
        loss: vec![Loss::Random(Probability::ppm(1_000))],
        ..LinkConfig::default()
    };
    transfer.to_client.delay = Duration::from_millis(20);
    let config = QlogConfig { form, buffer: 64 << 20, ..QlogConfig::new(folder) };
    let tracing = Arc::new(Tracing::new(Some(config)));
    transfer.client.tracer = Some(tracing.clone());
    transfer.server.tracer = Some(tracing);
    match transfer.run() {
        Some(finished) => {
            println!("{:?}, {} lost", finished.time, finished.client.path.lost_packets);
        }
        None => println!("the transfer came to no end"),
    }
    flush(Duration::from_secs(60));
}
