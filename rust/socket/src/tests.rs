//! Pairs of sockets over loopback.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::abi::*;
use crate::{Errno, Failure, Made, Outgoing, Received, Service, Shutdown, Socket};

/// Longer than anything takes here; only a failure waits for it.
const LONG: Duration = Duration::from_secs(30);

/// A socket with its near end.
struct End {
    socket: Arc<Socket>,
    near: OwnedFd,
}

impl From<Made> for End {
    fn from(made: Made) -> Self {
        Self { socket: made.socket, near: made.near }
    }
}

impl End {
    fn wait(&self, for_what: PollFlags, limit: Duration) -> bool {
        let mut fds = [PollFd::new(&self.near, for_what)];
        let limit =
            Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
        poll(&mut fds, Some(&limit)).unwrap() > 0
    }

    fn is_readable(&self) -> bool {
        self.wait(PollFlags::IN, Duration::ZERO)
    }

    fn is_writable(&self) -> bool {
        self.wait(PollFlags::OUT, Duration::ZERO)
    }

    fn recv(&self, room: usize) -> Received {
        assert!(self.wait(PollFlags::IN, LONG), "nothing came");
        self.socket.recv(self.near.as_fd(), room, false).unwrap()
    }

    fn send(&self, message: Outgoing) -> usize {
        assert!(self.wait(PollFlags::OUT, LONG), "there is no room");
        self.socket.send(self.near.as_fd(), message).unwrap()
    }

    fn set(&self, option: i32, value: &[u8]) -> Result<(), Failure> {
        self.socket.set_option(option, value, Some(LONG))
    }

    /// Reads a stream to its end.
    fn read_all(&self) -> (u64, Vec<u8>) {
        let mut all = Vec::new();
        loop {
            let part = self.recv(50_000);
            let info = part.info.unwrap();
            part.data.iter().for_each(|piece| all.extend_from_slice(piece));
            if info.flags & TQUIC_STREAM_FLAG_FIN != 0 {
                return (info.stream_id, all);
            }
        }
    }
}

fn on(stream: u64, data: &'static [u8], fin: bool) -> Outgoing {
    Outgoing { stream: Some(stream), data: Bytes::from_static(data), fin, ..Outgoing::default() }
}

struct Pair {
    _listener: End,
    client: End,
    server: End,
    service: Arc<Service>,
}

fn listener(service: &Arc<Service>, prepare: impl FnOnce(&End)) -> (End, SocketAddr, Vec<u8>) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let listener = End::from(Socket::open(service, false).unwrap());
    listener.set(TQUIC_CERT, made.cert.pem().as_bytes()).unwrap();
    listener.set(TQUIC_KEY, made.signing_key.serialize_pem().as_bytes()).unwrap();
    prepare(&listener);
    listener.socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    listener.socket.listen(listener.near.as_fd(), 10).unwrap();
    let address = listener.socket.name();
    (listener, address, made.cert.pem().into_bytes())
}

fn pair_with(prepare: impl Fn(&End)) -> Pair {
    let service = Service::start().unwrap();
    let (listener, address, ca) = listener(&service, &prepare);
    let client = End::from(Socket::open(&service, false).unwrap());
    client.set(TQUIC_CA, &ca).unwrap();
    prepare(&client);
    assert!(client.is_writable());
    client.socket.connect(client.near.as_fd(), address).unwrap();
    assert!(client.wait(PollFlags::OUT, LONG));
    client.socket.progress().unwrap();
    assert!(listener.wait(PollFlags::IN, LONG));
    let (made, remote) = listener.socket.accept(listener.near.as_fd()).unwrap();
    let server = End::from(made);
    assert!(server.wait(PollFlags::OUT, LONG));
    assert_eq!(client.socket.name().port(), remote.port());
    assert_eq!(client.socket.peer_name().unwrap(), address);
    assert!(!listener.is_readable());
    Pair { _listener: listener, client, server, service }
}

fn pair() -> Pair {
    pair_with(|_| ())
}

#[test]
fn a_message_comes_with_its_stream() {
    let Pair { client, server, .. } = pair();
    assert!(!server.is_readable());
    assert_eq!(client.send(on(0, b"hello", true)), 5);
    let first = server.recv(3);
    assert_eq!((first.len(), first.info.unwrap().stream_id), (3, 0));
    assert_eq!(first.info.unwrap().flags, TQUIC_STREAM_FLAG_NEW);
    assert!(server.is_readable());
    let rest = server.recv(100);
    assert_eq!((&rest.data[0][..], rest.info.unwrap().flags), (&b"lo"[..], TQUIC_STREAM_FLAG_FIN));
    assert!(!server.is_readable());
    let again = server.socket.recv(server.near.as_fd(), 1, false);
    assert_eq!(again.unwrap_err().errno, Errno::AGAIN);
    // Without a stream: the one that was used last.
    server.send(Socket::message(b"bye"));
    let peeked = client.socket.recv(client.near.as_fd(), 10, true);
    assert!(peeked.is_err() || client.is_readable());
    assert!(client.wait(PollFlags::IN, LONG));
    let peeked = client.socket.recv(client.near.as_fd(), 10, true).unwrap();
    assert_eq!(peeked, client.recv(10));
    assert_eq!((&peeked.data[0][..], peeked.info.unwrap().stream_id), (&b"bye"[..], 0));
}

#[test]
fn streams_are_opened_by_name_and_by_use() {
    let Pair { client, server, .. } = pair();
    let open = |id: u64, flags| StreamInfo { stream_id: id, flags }.to_bytes();
    client.set(TQUIC_SOCKOPT_STREAM_OPEN, &open(0, 0)).unwrap();
    assert_eq!(
        client.set(TQUIC_SOCKOPT_STREAM_OPEN, &open(0, 0)).unwrap_err().errno,
        Errno::ALREADY
    );
    for (id, flags) in [(1, 0), (4, TQUIC_STREAM_FLAG_UNI), (1 << 40, 0)] {
        let refused = client.set(TQUIC_SOCKOPT_STREAM_OPEN, &open(id, flags)).unwrap_err();
        assert_eq!(refused.errno, Errno::INVALID, "{refused}");
    }
    let next = client.socket.option(TQUIC_SOCKOPT_STREAM_OPEN, &open(0, TQUIC_STREAM_FLAG_UNI));
    assert_eq!(StreamInfo::from_bytes(&next.unwrap()).unwrap().stream_id, 2);
    client.send(on(2, b"one way", true));
    let got = server.recv(100);
    assert_eq!(got.info.unwrap().flags & !TQUIC_STREAM_FLAG_FIN, 3);
    // The eighth at once: those before it are open as well.
    client.send(on(28, b"far", true));
    assert_eq!(server.read_all(), (28, b"far".to_vec()));
    server.send(on(12, b"back", true));
    assert_eq!(client.read_all(), (12, b"back".to_vec()));
    let send = |end: &End, message| end.socket.send(end.near.as_fd(), message).unwrap_err().errno;
    assert_eq!(send(&client, on(28, b"more", false)), Errno::PIPE);
    assert_eq!(send(&server, on(2, b"wrong way", false)), Errno::INVALID);
    assert_eq!(send(&server, on(400, b"never opened", false)), Errno::INVALID);
}

#[test]
fn a_slow_reader_makes_the_writer_unwritable() {
    let Pair { client, server, .. } = pair();
    let chunk = Bytes::from(vec![7; 1 << 20]);
    let message = || Outgoing { data: chunk.clone(), ..Outgoing::default() };
    let mut sent = 0;
    let start = Instant::now();
    while client.wait(PollFlags::OUT, Duration::from_secs(2)) {
        match client.socket.send(client.near.as_fd(), message()) {
            Ok(size) => sent += size,
            Err(failure) => assert_eq!(failure.errno, Errno::AGAIN),
        }
        assert!(sent < 200 << 20 && start.elapsed() < LONG, "somebody buffers without bound");
    }
    assert!(!client.is_writable());
    let mut read = 0;
    while read < sent {
        read += server.recv(1 << 20).len();
    }
    assert!(client.wait(PollFlags::OUT, LONG));
    assert_eq!(read, sent);
}

#[test]
fn resets_stops_and_shutdown_are_told() {
    let Pair { client, server, .. } = pair();
    client.send(on(0, b"x", false));
    assert_eq!(server.recv(10).len(), 1);
    client.send(Outgoing { stream: Some(0), reset: Some(77), ..Outgoing::default() });
    let reset = server.recv(10);
    assert_eq!((reset.reset, reset.info.unwrap().flags), (Some(77), TQUIC_STREAM_FLAG_RESET));
    client.socket.shutdown(client.near.as_fd(), Shutdown::Write).unwrap();
    let refused = client.socket.send(client.near.as_fd(), on(4, b"x", false)).unwrap_err();
    assert_eq!(refused.errno, Errno::PIPE);
    server.socket.shutdown(server.near.as_fd(), Shutdown::Read).unwrap();
    assert_eq!(server.recv(10), Received::default());
}

#[test]
fn datagrams_are_for_those_who_want_them() {
    let on = 1_u32.to_ne_bytes();
    let Pair { client, server, .. } = pair_with(|end| end.set(TQUIC_SO_DATAGRAM, &on).unwrap());
    let datagram = |data: Bytes| Outgoing { datagram: true, data, ..Outgoing::default() };
    assert_eq!(client.send(datagram(Bytes::from_static(b"short"))), 5);
    let got = server.recv(3);
    assert_eq!((got.len(), got.truncated), (3, 2));
    assert_eq!(got.info.unwrap().flags, TQUIC_STREAM_FLAG_DATAGRAM);
    let max = integer(&client.socket.option(TQUIC_MAX_DATAGRAM, &[]).unwrap()).unwrap();
    assert!((1000..1500).contains(&max), "{max}");
    let long = datagram(Bytes::from(vec![0; 5000]));
    let refused = client.socket.send(client.near.as_fd(), long).unwrap_err();
    assert_eq!(refused.errno, Errno::MESSAGE_SIZE);
    let plain = pair();
    let refused = plain.client.socket.send(plain.client.near.as_fd(), datagram(Bytes::new()));
    assert_eq!(refused.unwrap_err().errno, Errno::NOT_SUPPORTED);
}

#[test]
fn what_was_written_arrives_after_close() {
    let Pair { client, server, service, .. } = pair();
    let data = Bytes::from((0..3_000_000_u32).map(|n| n as u8).collect::<Vec<_>>());
    let size = client.send(Outgoing { stream: Some(0), data: data.clone(), ..Outgoing::default() });
    drop(client);
    let (_, got) = server.read_all();
    assert!(got == data[..size]);
    // Then the connection ends in good order.
    assert_eq!(server.recv(10), Received::default());
    assert_eq!(server.socket.error(), 0);
    drop(server);
    service.finish(LONG);
    assert!(service.is_empty());
}

#[test]
fn loans_are_given_back() {
    let Pair { client, server, .. } = pair();
    let lend = |data| Outgoing { zerocopy: true, stream: Some(0), data, ..Outgoing::default() };
    // As long as the option is off, the flag counts for nothing.
    client.send(lend(Bytes::from_static(b"first")));
    client.set(TQUIC_SOCKOPT_ZEROCOPY, &1_u32.to_ne_bytes()).unwrap();
    let data = Bytes::from(vec![1; 100_000]);
    assert_eq!(client.send(lend(data)), 100_000);
    let mut read = 0;
    while read < 100_005 {
        read += server.recv(1 << 20).len();
    }
    let start = Instant::now();
    let told = loop {
        match client.socket.recv_error() {
            Ok(told) => break told,
            Err(failure) => assert_eq!(failure.errno, Errno::AGAIN),
        }
        assert!(start.elapsed() < LONG);
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(told, (0, 0));
}

#[test]
fn another_path_is_opened_and_told_of() {
    let on = 1_i32.to_ne_bytes();
    let both = pair_with(|end| end.set(TQUIC_SOCKOPT_MULTIPATH_ENABLE, &on).unwrap());
    let client = &both.client;
    client.set(TQUIC_SOCKOPT_SCHEDULER, b"roundrobin").unwrap();
    client.set(TQUIC_SOCKOPT_CONGESTION, b"bbr").unwrap();
    let mut local = [0_u8; 16];
    local[..2].copy_from_slice(&2_u16.to_ne_bytes());
    local[4..8].copy_from_slice(&[127, 0, 0, 2]);
    client.set(TQUIC_SOCKOPT_ADD_PATH, &local).unwrap();
    let paths = client.socket.option(TQUIC_PATH_INFO, &[]).unwrap();
    assert_eq!(paths.len(), 2 * 64);
    let info = client.socket.option(TQUIC_INFO, &[]).unwrap();
    assert_eq!((integer(&info[..4]), integer(&info[80..84])), (Some(2), Some(2)));
    client.set(TQUIC_PATH_PRIORITY, &[1, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    client.set(TQUIC_PATH_WEIGHT, &[1, 0, 0, 0, 50, 0, 0, 0]).unwrap();
    assert_eq!(client.set(TQUIC_SOCKOPT_ALPN, b"h3").unwrap_err().errno, Errno::IS_CONNECTED);
}

#[test]
fn tickets_resume_sessions() {
    let service = Service::start().unwrap();
    let (listener, address, ca) = listener(&service, |_| ());
    let connect = |ticket: &[u8]| {
        let client = End::from(Socket::open(&service, false).unwrap());
        client.set(TQUIC_CA, &ca).unwrap();
        client.set(TQUIC_SESSION_TICKET, ticket).unwrap();
        client.socket.connect(client.near.as_fd(), address).unwrap();
        assert!(client.wait(PollFlags::OUT, LONG) && listener.wait(PollFlags::IN, LONG));
        client.socket.progress().unwrap();
        let (server, _) = listener.socket.accept(listener.near.as_fd()).unwrap();
        (client, server)
    };
    let (client, _server) = connect(b"");
    let start = Instant::now();
    let ticket = loop {
        let ticket = client.socket.option(TQUIC_SESSION_TICKET, &[]).unwrap();
        if !ticket.is_empty() {
            break ticket;
        }
        assert!(start.elapsed() < LONG);
        std::thread::sleep(Duration::from_millis(5));
    };
    connect(&ticket);
}

#[test]
fn a_full_queue_refuses() {
    let service = Service::start().unwrap();
    let (listener, address, ca) = listener(&service, |_| ());
    listener.socket.listen(listener.near.as_fd(), 1).unwrap();
    let connect = || {
        let client = End::from(Socket::open(&service, false).unwrap());
        client.set(TQUIC_CA, &ca).unwrap();
        client.socket.connect(client.near.as_fd(), address).unwrap();
        assert!(client.wait(PollFlags::OUT, LONG));
        client
    };
    let first = connect();
    assert!(listener.wait(PollFlags::IN, LONG));
    let second = connect();
    // In good order: the client's end of it is no error.
    assert_eq!(second.recv(1), Received::default());
    assert!(!first.is_readable());
    assert!(listener.socket.accept(listener.near.as_fd()).is_ok());
}

#[test]
fn messages_that_nobody_reads_are_bounded() {
    let Pair { client, server, .. } = pair();
    let start = Instant::now();
    let mut number = 0;
    while client.socket.error() != Errno::CONNECTION_RESET.0 {
        assert!(number < 100_000 && start.elapsed() < LONG, "somebody keeps all of them");
        // As fast as the peer allows. Streams of one direction: the others count until both end.
        let sent = client.socket.send(client.near.as_fd(), on(number * 4 + 2, b"", true));
        number += u64::from(sent.is_ok());
        std::thread::sleep(Duration::from_micros(100));
    }
    assert_eq!(server.recv(1).len(), 0);
}

#[test]
fn failures_have_their_numbers() {
    let service = Service::start().unwrap();
    let (listener, address, _) = listener(&service, |_| ());
    let client = || End::from(Socket::open(&service, false).unwrap());
    let (one, near) = (client(), client());
    let refused = one.socket.send(one.near.as_fd(), Outgoing::default()).unwrap_err();
    assert_eq!(refused.errno, Errno::NOT_CONNECTED);
    assert_eq!(
        one.socket.bind("[::1]:0".parse().unwrap()).unwrap_err().errno,
        Errno::BAD_ADDRESS_FAMILY
    );
    assert_eq!(one.socket.listen(one.near.as_fd(), 1).unwrap_err().errno, Errno::INVALID);
    assert_eq!(
        listener.socket.connect(listener.near.as_fd(), address).unwrap_err().errno,
        Errno::INVALID
    );
    // Its certificate is not trusted: the socket tells, and SO_ERROR does.
    one.set(
        TQUIC_CA,
        rcgen::generate_simple_self_signed(["x".to_owned()]).unwrap().cert.pem().as_bytes(),
    )
    .unwrap();
    one.socket.connect(one.near.as_fd(), address).unwrap();
    assert!(one.wait(PollFlags::OUT, LONG));
    assert_eq!(one.socket.progress().unwrap_err().errno, Errno::PROTOCOL);
    assert_eq!(one.socket.error(), Errno::PROTOCOL.0);
    let error = one.socket.option(TQUIC_ERROR, &[]).unwrap();
    assert_eq!(integer(&error[..8]).unwrap() & 0x100, 0x100);
    assert_eq!(
        one.socket.connect(one.near.as_fd(), address).unwrap_err().errno,
        Errno::IS_CONNECTED
    );
    drop(near);
}
