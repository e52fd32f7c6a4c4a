//! The rate of bare datagrams through one interface, past the kernel's network stack and not:
//!
//!     xdp_rate receive udp|xdp INTERFACE ADDRESS
//!     xdp_rate send udp|xdp INTERFACE ADDRESS PEER [seconds]
//!
//! The ends run in network namespaces, or on hosts, of their own. The receiver ends when nothing has
//! come for a second.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tquic_net::os::{Events, Interest, Poller, thread_cpu_time};
use tquic_net::udp::{MAX_TRAINS, RecvBatch, SocketOptions, Transmit, UdpSocket};
use tquic_net::xdp::{Interface, Options};

/// Bytes of a datagram, and datagrams of a train: those of a busy QUIC connection.
const SIZE: usize = 1472;
const TRAIN: usize = 44;
/// Trains in one call.
const TRAINS: usize = 8;
const SILENCE: Duration = Duration::from_secs(1);
const SOCKET: usize = 1000;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let usage = || io::Error::new(io::ErrorKind::InvalidInput, "see the top of the source");
    let address = |word: &str| word.parse::<SocketAddr>().map_err(|_| usage());
    let (role, backend, interface, local, rest) = match words.as_slice() {
        [role, backend, interface, local, rest @ ..] => (*role, *backend, *interface, *local, rest),
        _ => return Err(usage()),
    };
    let socket = UdpSocket::bind(address(local)?, &SocketOptions::default())?;
    let interface = match backend {
        "udp" => None,
        "xdp" => {
            let mut interface = Interface::open(&Options::new(interface))?;
            interface.claim(&socket);
            Some(interface)
        }
        _ => return Err(usage()),
    };
    match (role, rest) {
        ("receive", []) => receive(&socket, interface),
        ("send", [peer, rest @ ..]) => {
            let seconds = rest.first().and_then(|word| word.parse().ok()).unwrap_or(3);
            send(&socket, interface, address(peer)?, Duration::from_secs(seconds))
        }
        _ => Err(usage()),
    }
}

fn send(
    socket: &UdpSocket,
    mut interface: Option<Interface>,
    remote: SocketAddr,
    duration: Duration,
) -> io::Result<()> {
    let data = vec![7; TRAIN * SIZE];
    let train = Transmit {
        remote,
        local_ip: None,
        ecn: None,
        segment_size: SIZE,
        data: &data,
        buffer: None,
    };
    let batch = [train; TRAINS];
    const { assert!(TRAINS <= MAX_TRAINS) };
    let (start, mut datagrams, mut blocked) = (Instant::now(), 0, 0_u64);
    while start.elapsed() < duration {
        let sent = match &mut interface {
            Some(interface) => interface.send(socket, &batch)?,
            None => socket.send(&batch)?,
        };
        datagrams += sent.datagrams as u64;
        blocked += u64::from(sent.blocked);
        if sent.blocked {
            std::thread::yield_now();
            if let Some(interface) = &mut interface {
                interface.flush();
            }
        }
    }
    print("sent", datagrams, start.elapsed());
    println!("times without room: {blocked}; {:?}", interface.map(|i| i.stats()));
    Ok(())
}

fn receive(socket: &UdpSocket, mut interface: Option<Interface>) -> io::Result<()> {
    let mut poller = Poller::new()?;
    poller.add(socket, SOCKET, Interest::Readable)?;
    if let Some(interface) = &interface {
        interface.watch(&mut poller, |queue| queue)?;
    }
    let (mut events, mut batch) = (Events::with_capacity(64), RecvBatch::default());
    let (mut datagrams, mut first, mut last) = (0, None, Instant::now());
    println!("ready");
    loop {
        poller.wait(&mut events, Some(SILENCE))?;
        if events.iter().next().is_none() && first.is_some() {
            break;
        }
        for event in events.iter() {
            match &mut interface {
                Some(interface) if event.token != SOCKET => {
                    interface.recv(event.token, &mut batch);
                }
                _ => {
                    socket.recv(&mut batch)?;
                }
            }
            let got: usize = batch.slots().map(|mut slot| slot.datagrams().count()).sum();
            datagrams += got as u64;
            last = Instant::now();
            first.get_or_insert(last);
        }
    }
    print("received", datagrams, first.map_or(Duration::ZERO, |first| last - first));
    let drops =
        socket.stats().kernel_drops + interface.map_or(0, |i| i.socket_stats().kernel_drops);
    println!("dropped for want of room: {drops}");
    Ok(())
}

fn print(what: &str, datagrams: u64, time: Duration) {
    let seconds = time.as_secs_f64();
    let cpu = thread_cpu_time().map_or(0.0, |cpu| cpu.as_secs_f64());
    println!(
        "{what} {datagrams} in {seconds:.2} s: {:.2} Gbit/s, {:.0} ns of CPU for each",
        datagrams as f64 * SIZE as f64 * 8.0 / seconds / 1e9,
        cpu * 1e9 / datagrams.max(1) as f64,
    );
}
