//! What this machine can do without any protocol: trains of 44 datagrams with GSO and GRO, 2 MB on
//! their way at most.
//!
//! `compare-ceiling raw ROLE ...` sends the pattern as it is. `compare-ceiling sealed ROLE ...` seals
//! each datagram as a QUIC packet with the project's own packet protection, masks its header,
//! unmasks, opens and copies once: what no QUIC stack over these sockets can beat.

mod flow;
mod protection;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use compare_common::options::{self, Role, Work};
use compare_common::pattern::{Checker, piece};
use compare_common::report::{Done, Totals, Watch, listening, print};
use compare_common::{HEADER, Result, process};
use flow::Link;
use protection::{Bare, Protection, Sealed};
use tquic_net::udp::{SocketOptions, UdpSocket};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let protection = arguments.next().ok_or("say `raw` or `sealed`")?;
    let role = options::parse(arguments)?;
    match protection.as_str() {
        "raw" => play::<Bare>(role),
        "sealed" => play::<Sealed>(role),
        other => Err(format!("{other}: neither `raw` nor `sealed`").into()),
    }
}

fn play<P: Protection>(role: Role) -> Result<()> {
    match role {
        Role::Server(options) => serve::<P>(&options),
        Role::Client(options) => work::<P>(&options),
    }
}

fn bind(address: SocketAddr) -> Result<Link> {
    Ok(Link::new(UdpSocket::bind(address, &SocketOptions::default())?)?)
}

/// Bytes of a request for so many bytes in one datagram.
const REQUEST: usize = HEADER + 1;
/// Bytes of what a client says first: how much comes, and how much goes.
const BULK: usize = 2 * HEADER;

/// What a server says when data may come.
const GO: [u8; HEADER] = [0; HEADER];

/// Answers, until a signal comes.
fn serve<P: Protection>(options: &options::Server) -> Result<()> {
    let mut link = bind(options.listen)?;
    let totals = Arc::<Totals>::default();
    let at_end = totals.clone();
    process::at_signal(move || {
        at_end.print();
        std::process::exit(0);
    });
    listening(link.address());
    let number = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_be_bytes);
    let mut protection = P::default();
    loop {
        for (client, request) in link.datagrams(true)? {
            let (first, second) = request.split_at(request.len().min(HEADER));
            match request.len() {
                REQUEST => link.send_small(client, piece(0, number(first)))?,
                BULK => {
                    // Data that came together with the request would be taken for requests.
                    if number(second) > 0 {
                        link.send_small(client, &GO)?;
                    }
                    let received =
                        flow::receive(&mut link, &mut protection, client, number(second))?;
                    totals.received.fetch_add(received.offset, Relaxed);
                    totals.mismatches.fetch_add(received.mismatches, Relaxed);
                    flow::send(&mut link, &mut protection, client, number(first))?;
                    totals.connections.fetch_add(1, Relaxed);
                }
                // An acknowledgement that came late.
                _ => continue,
            }
            totals.streams.fetch_add(1, Relaxed);
        }
    }
}

fn work<P: Protection>(options: &options::Client) -> Result<()> {
    let mut link = bind("127.0.0.1:0".parse()?)?;
    let watch = Watch::start();
    let done = match options.work {
        Work::Bulk { download, upload, streams: 1 } => {
            let request = [download.to_be_bytes(), upload.to_be_bytes()].concat();
            let mut protection = P::default();
            link.send_small(options.to, &request)?;
            if upload > 0 {
                link.datagrams(false)?;
            }
            flow::send(&mut link, &mut protection, options.to, upload)?;
            let checker = flow::receive(&mut link, &mut protection, options.to, download)?;
            let mismatches = checker.mismatches;
            Done { bytes: download + upload, count: 1, mismatches, ..Done::default() }
        }
        Work::Requests { requests, inflight: 1, response, connections: 1 } => {
            ping_pong(&mut link, options.to, requests, response)?
        }
        _ => return Err("without a protocol there is nothing to measure".into()),
    };
    print(done, watch.stop());
    Ok(())
}

fn ping_pong(link: &mut Link, server: SocketAddr, requests: u64, response: u64) -> Result<Done> {
    let mut done = Done::default();
    let mut request = [0; REQUEST];
    request[..HEADER].copy_from_slice(&response.to_be_bytes());
    for _ in 0..requests {
        let begun = Instant::now();
        link.send_small(server, &request)?;
        let mut checker = Checker::default();
        while checker.offset < response {
            for (_, answer) in link.datagrams(false)? {
                checker.check(&answer);
            }
        }
        done.latencies.record(begun.elapsed());
        done.bytes += checker.offset;
        done.count += 1;
        done.mismatches += checker.mismatches;
    }
    Ok(done)
}
