//! What this machine's loopback carries without any protocol: the ceiling to compare with.

use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{MAX_TRAINS, RecvBatch, SocketOptions, Stats, Transmit, UdpSocket};
use crate::os::{self, Events, Interest, Poller};

/// What to measure. The default is what a QUIC sender does at best: trains of 44 datagrams that
/// fill an Ethernet MTU over IPv4.
#[derive(Clone, Debug)]
pub struct RateOptions {
    /// How long to send. Default 2 s.
    pub duration: Duration,
    /// Bytes per datagram. Default 1472.
    pub segment_size: usize,
    /// Datagrams per train. Default 44.
    pub segments: usize,
    /// Trains per system call, at most [`MAX_TRAINS`]. Default 1.
    pub trains: usize,
    /// Receive slots.
    pub slots: usize,
    /// Socket options of both ends.
    pub socket: SocketOptions,
}

impl Default for RateOptions {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(2),
            segment_size: 1472,
            segments: 44,
            trains: 1,
            slots: super::DEFAULT_SLOTS,
            socket: SocketOptions::default(),
        }
    }
}

/// A measured rate.
#[derive(Clone, Copy, Debug)]
pub struct RawRate {
    /// UDP payload sent, in Gbit/s.
    pub sent_gbps: f64,
    /// UDP payload received, in Gbit/s.
    pub received_gbps: f64,
    /// Counters of the sending socket.
    pub sender: Stats,
    /// Counters of the receiving socket.
    pub receiver: Stats,
    /// CPU time of the sending thread, which on loopback pays for the way to the receiving socket
    /// as well.
    pub sender_cpu: Option<Duration>,
    /// CPU time of the receiving thread.
    pub receiver_cpu: Option<Duration>,
    /// Whether the two threads had a CPU each, kept for the whole time.
    pub pinned: bool,
}

impl RawRate {
    /// Datagrams per system call that sent some.
    pub fn datagrams_per_send(&self) -> f64 {
        ratio(self.sender.sent_datagrams, self.sender.send_calls)
    }

    /// Datagrams per system call that received some.
    pub fn datagrams_per_recv(&self) -> f64 {
        ratio(self.receiver.recv_datagrams, self.receiver.recv_calls)
    }

    /// CPU time per datagram sent, in ns. Unlike a rate it hardly suffers from a busy machine.
    pub fn send_cost_ns(&self) -> Option<f64> {
        self.sender_cpu.map(|cpu| cpu.as_nanos() as f64 / self.sender.sent_datagrams.max(1) as f64)
    }

    /// CPU time per datagram received, in ns.
    pub fn recv_cost_ns(&self) -> Option<f64> {
        let datagrams = self.receiver.recv_datagrams.max(1) as f64;
        self.receiver_cpu.map(|cpu| cpu.as_nanos() as f64 / datagrams)
    }
}

fn ratio(n: u64, by: u64) -> f64 {
    if by == 0 { 0.0 } else { n as f64 / by as f64 }
}

/// Sends over 127.0.0.1 from a thread on the first CPU to one on the second for `duration`.
pub fn raw_rate(duration: Duration) -> io::Result<RawRate> {
    raw_rate_with(&RateOptions { duration, ..RateOptions::default() })
}

/// [`raw_rate`] with everything adjustable.
pub fn raw_rate_with(options: &RateOptions) -> io::Result<RawRate> {
    let loopback = (Ipv4Addr::LOCALHOST, 0).into();
    let from = UdpSocket::bind(loopback, &options.socket)?;
    let to = UdpSocket::bind(loopback, &options.socket)?;
    let cpus = os::allowed_cpus()?;
    let (first, second) = (cpus.first().copied(), cpus.get(1).copied());
    let done = AtomicBool::new(false);
    let (sent, received) = thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            let pinned = pin(second);
            let gbps = receive(&to, options, &done)?;
            io::Result::Ok((gbps, pinned, os::thread_cpu_time()))
        });
        let sender = scope.spawn(|| {
            let pinned = second.is_some() && pin(first);
            let gbps = send(&from, &to, options)?;
            io::Result::Ok((gbps, pinned, os::thread_cpu_time()))
        });
        let sent = sender.join();
        done.store(true, Ordering::Release);
        (sent, receiver.join())
    });
    let died = |_| io::Error::other("a measuring thread died");
    let (sent_gbps, sender_pinned, sender_cpu) = sent.map_err(died)??;
    let (received_gbps, receiver_pinned, receiver_cpu) = received.map_err(died)??;
    Ok(RawRate {
        sent_gbps,
        received_gbps,
        sender: from.stats(),
        receiver: to.stats(),
        sender_cpu,
        receiver_cpu,
        pinned: sender_pinned && receiver_pinned,
    })
}

/// A machine with one CPU, or one that does not let us choose, still gives a rate.
fn pin(cpu: Option<usize>) -> bool {
    cpu.is_some_and(|cpu| os::pin_thread(cpu).is_ok())
}

fn send(from: &UdpSocket, to: &UdpSocket, options: &RateOptions) -> io::Result<f64> {
    let data = vec![0x5a; options.segment_size * options.segments];
    let train = Transmit {
        remote: to.local_addr(),
        local_ip: None,
        ecn: None,
        segment_size: options.segment_size,
        data: &data,
        buffer: None,
    };
    let batch = vec![train; options.trains.clamp(1, MAX_TRAINS)];
    let mut poller = Poller::new()?;
    poller.add(from, 0, Interest::ReadableWritable)?;
    let mut events = Events::with_capacity(2);
    let mut datagrams = 0;
    let start = Instant::now();
    while start.elapsed() < options.duration {
        let sent = from.send(&batch)?;
        datagrams += sent.datagrams;
        if let Some((_, error)) = sent.errors.first() {
            return Err(io::Error::other(*error));
        }
        if sent.blocked {
            poller.wait(&mut events, Some(Duration::from_millis(10)))?;
        }
    }
    Ok(gbps(datagrams * options.segment_size, start.elapsed()))
}

fn receive(to: &UdpSocket, options: &RateOptions, done: &AtomicBool) -> io::Result<f64> {
    let mut batch = RecvBatch::new(options.slots);
    let mut poller = Poller::new()?;
    poller.add(to, 0, Interest::Readable)?;
    let mut events = Events::with_capacity(2);
    let (mut bytes, mut first, mut last) = (0, None, None);
    loop {
        // What was sent before `done` is in the buffer by now.
        let ending = done.load(Ordering::Acquire);
        while to.recv(&mut batch)? > 0 {
            bytes += batch.slots().map(|slot| slot.data.len()).sum::<usize>();
            last = Some(Instant::now());
            first = first.or(last);
        }
        if ending {
            break;
        }
        poller.wait(&mut events, Some(Duration::from_millis(10)))?;
    }
    let took = first.zip(last).map_or(Duration::ZERO, |(first, last)| last - first);
    Ok(gbps(bytes, took))
}

fn gbps(bytes: usize, took: Duration) -> f64 {
    if took.is_zero() { 0.0 } else { bytes as f64 * 8.0 / took.as_secs_f64() / 1e9 }
}
