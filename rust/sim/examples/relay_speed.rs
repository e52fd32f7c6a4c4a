//! How fast the relay is: offers datagrams of 1472 bytes at a rate and reports what came through.
//! Both ends use trains (`UDP_SEGMENT`, `UDP_GRO`), as fast QUIC stacks do.
//!
//! `cargo run --release -p tquic-sim --example relay_speed -- [MBIT] [SECONDS] [SCENARIO]`

use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tquic_sim::relay::{Relay, RelayConfig};
use tquic_sim::scenario::named;

const SIZE: usize = 1472;
const BURST: u64 = 16;

fn set_udp_option(socket: &UdpSocket, option: libc::c_int, value: libc::c_int) {
    let size = std::mem::size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the value is a live c_int and its size is given.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_UDP, option, (&raw const value).cast(), size)
    };
    assert_eq!(result, 0, "the kernel knows UDP trains");
}

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number =
        |default: u64| arguments.next().and_then(|a| a.parse().ok()).unwrap_or(default);
    let (mbit, seconds) = (number(1000), number(3));
    let name = arguments.next().unwrap_or_else(|| "clean".to_owned());
    let scenario = named(&name).ok_or_else(|| std::io::Error::other("no such scenario"))?;

    let server = UdpSocket::bind("127.0.0.1:0")?;
    socket2::SockRef::from(&server).set_recv_buffer_size(4 << 20)?;
    set_udp_option(&server, libc::UDP_GRO, 1);
    server.set_read_timeout(Some(Duration::from_millis(200)))?;
    let listen = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let config = RelayConfig { listen, server: server.local_addr()?, scenario, seed: 1 };
    let relay = Relay::bind(config)?.spawn()?;
    let client = UdpSocket::bind("127.0.0.1:0")?;
    client.connect(relay.address())?;
    set_udp_option(&client, libc::UDP_SEGMENT, SIZE as libc::c_int);

    let (received, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let (sent, elapsed) = std::thread::scope(|scope| -> std::io::Result<_> {
        scope.spawn(|| {
            let mut buffer = vec![0; 65_536];
            while !done.load(Ordering::Relaxed) {
                while let Ok(bytes) = server.recv(&mut buffer) {
                    received.fetch_add((bytes / SIZE) as u64, Ordering::Relaxed);
                }
            }
        });
        let (start, train) = (Instant::now(), [0x40; SIZE * BURST as usize]);
        let gap = Duration::from_nanos(BURST * SIZE as u64 * 8 * 1000 / mbit);
        let mut sent = 0;
        while start.elapsed() < Duration::from_secs(seconds) {
            client.send(&train)?;
            sent += BURST;
            let due = gap * (sent / BURST) as u32;
            std::thread::sleep(due.saturating_sub(start.elapsed()));
        }
        let elapsed = start.elapsed();
        std::thread::sleep(Duration::from_millis(300));
        done.store(true, Ordering::Relaxed);
        Ok((sent, elapsed))
    })?;
    let summary = relay.stop()?;
    let gbit = |count: u64| count as f64 * SIZE as f64 * 8.0 / elapsed.as_secs_f64() / 1e9;
    let got = received.load(Ordering::Relaxed);
    println!(
        "offered {:.2} Gbit/s, received {:.2} Gbit/s, lost {} of {sent}",
        gbit(sent),
        gbit(got),
        sent - got
    );
    let (through, calls) = (summary.to_server.delivered.packets, summary.batches);
    println!(
        "relay: {through} through, {} not received, {:.1} per receive call, {:.1} per send",
        summary.unplanned.receive_overflow,
        through as f64 / calls.receive_calls.max(1) as f64,
        through as f64 / calls.send_calls.max(1) as f64
    );
    Ok(())
}
