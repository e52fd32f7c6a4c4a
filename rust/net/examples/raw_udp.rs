//! The rate of bare UDP over loopback with trains, and what system calls have to do with it:
//! `cargo run --release --example raw_udp [seconds [table]]`.

use std::io;
use std::time::Duration;

use tquic_net::udp::{RateOptions, RawRate, SocketOptions, raw_rate, raw_rate_with};

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let seconds: f64 = arguments.next().and_then(|s| s.parse().ok()).unwrap_or(2.0);
    let duration = Duration::try_from_secs_f64(seconds)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    match arguments.next().as_deref() {
        None => print("44 x 1472, defaults", &raw_rate(duration)?),
        Some("table") => table(duration)?,
        Some(other) => {
            let why = format!("`{other}`: only `table` is known");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
    }
    Ok(())
}

fn table(duration: Duration) -> io::Result<()> {
    let base = RateOptions { duration, ..RateOptions::default() };
    for slots in [1, 2, 4, 8, 16, 32, 64] {
        let name = format!("{slots} slots");
        print(&name, &raw_rate_with(&RateOptions { slots, ..base.clone() })?);
    }
    for trains in [1, 2, 4, 8, 16, 32] {
        let name = format!("{trains} trains per call");
        print(&name, &raw_rate_with(&RateOptions { trains, ..base.clone() })?);
    }
    for (segments, trains) in [(10, 1), (10, 8), (22, 2), (1, 1), (1, 32)] {
        let name = format!("{trains} trains of {segments}");
        print(&name, &raw_rate_with(&RateOptions { segments, trains, ..base.clone() })?);
    }
    let gro_off = SocketOptions { gro: false, ..SocketOptions::default() };
    print("no GRO", &raw_rate_with(&RateOptions { socket: gro_off.clone(), ..base.clone() })?);
    let plain = SocketOptions { gso: false, ..gro_off };
    print("no GSO, no GRO", &raw_rate_with(&RateOptions { socket: plain, ..base })?);
    Ok(())
}

fn print(name: &str, rate: &RawRate) {
    let cost = |ns: Option<f64>| ns.map_or_else(|| "?".into(), |ns| format!("{ns:.0}"));
    println!(
        "{name:20}  sent {:5.1} Gbit/s, received {:5.1}; datagrams per send {:6.1}, per receive \
         {:6.1}; CPU ns per datagram {} + {}; kernel drops {}{}",
        rate.sent_gbps,
        rate.received_gbps,
        rate.datagrams_per_send(),
        rate.datagrams_per_recv(),
        cost(rate.send_cost_ns()),
        cost(rate.recv_cost_ns()),
        rate.receiver.kernel_drops,
        if rate.pinned { "" } else { "; not pinned" },
    );
}
