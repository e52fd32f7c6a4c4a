//! What it costs to send with and without copies (`MSG_ZEROCOPY`), by turns:
//! `cargo run --release --example zerocopy ADDRESS:PORT [seconds [rounds]]`.
//!
//! Every train is written before it is sent, as encryption does. Where the way leads through loopback or
//! veth, the kernel copies all the same; a device that throws packets away (`ifb`, `dummy`) shows the
//! most there is to gain.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tquic_net::os::{Events, Interest, Poller, thread_cpu_time};
use tquic_net::udp::{Buffer, SLOT_SIZE, SocketOptions, Stats, Transmit, UdpSocket};

const SEGMENT: usize = 1472;
const BUFFERS: usize = 32;

fn main() -> io::Result<()> {
    let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, why.to_owned());
    let mut arguments = std::env::args().skip(1);
    let remote = arguments.next().and_then(|s| s.parse().ok());
    let remote: SocketAddr = remote.ok_or_else(|| wrong("the first argument is ADDRESS:PORT"))?;
    let seconds: f64 = arguments.next().and_then(|s| s.parse().ok()).unwrap_or(1.0);
    let rounds: usize = arguments.next().and_then(|s| s.parse().ok()).unwrap_or(3);
    let duration = Duration::try_from_secs_f64(seconds).map_err(|e| wrong(&e.to_string()))?;
    for segments in [12, 22, 44] {
        for _ in 0..rounds {
            for zerocopy in [false, true] {
                measure(remote, duration, zerocopy, segments)?;
            }
        }
    }
    Ok(())
}

fn measure(to: SocketAddr, time: Duration, zerocopy: bool, segments: usize) -> io::Result<()> {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let any = any.parse().map_err(io::Error::other)?;
    let socket = UdpSocket::bind(any, &SocketOptions { zerocopy, ..SocketOptions::default() })?;
    let mut poller = Poller::new()?;
    poller.add(&socket, 0, Interest::ReadableWritable)?;
    let mut events = Events::with_capacity(2);
    let mut buffers =
        (0..BUFFERS).map(|_| Buffer::new(SLOT_SIZE)).collect::<io::Result<Vec<Buffer>>>()?;
    let cpu = thread_cpu_time().unwrap_or_default();
    let start = Instant::now();
    let mut byte = 0_u8;
    while start.elapsed() < time {
        byte = byte.wrapping_add(1);
        let free = buffers.iter_mut().rev().find_map(|buffer| {
            buffer.writable()?[..SEGMENT * segments].fill(byte);
            Some(&*buffer)
        });
        let blocked = match free {
            Some(buffer) => {
                let data = &buffer[..SEGMENT * segments];
                let train = Transmit {
                    remote: to,
                    local_ip: None,
                    ecn: None,
                    segment_size: SEGMENT,
                    data,
                    buffer: Some(buffer),
                };
                socket.send(&[train])?.blocked
            }
            None => true,
        };
        if blocked {
            poller.wait(&mut events, Some(Duration::from_millis(1)))?;
            socket.take_refusals();
        }
    }
    let cpu = thread_cpu_time().unwrap_or_default().saturating_sub(cpu);
    print(zerocopy, segments, cpu, &socket.stats());
    Ok(())
}

fn print(zerocopy: bool, segments: usize, cpu: Duration, stats: &Stats) {
    let gigabytes = (stats.sent_datagrams * SEGMENT as u64).max(1) as f64 / 1e9;
    println!(
        "{segments} x {SEGMENT}, zero copy {:3}: {:.3} CPU s/GB; {gigabytes:.1} GB, lent {}, \
         copied all the same {}, refused {}",
        if zerocopy { "on" } else { "off" },
        cpu.as_secs_f64() / gigabytes,
        stats.zerocopy_sends,
        stats.zerocopy_copied,
        stats.zerocopy_fallbacks,
    );
}
