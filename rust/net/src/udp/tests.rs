//! Sockets on loopback.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use super::*;
use crate::os::{Events, Interest, Poller};

fn bind(addr: &str, options: &SocketOptions) -> UdpSocket {
    UdpSocket::bind(addr.parse().unwrap(), options).unwrap()
}

fn open(addr: &str) -> UdpSocket {
    bind(addr, &SocketOptions::default())
}

/// Loopback addresses of this system, and the unspecified one that reaches each: some containers
/// have no IPv6.
fn loopbacks() -> Vec<(&'static str, &'static str)> {
    let all = vec![("127.0.0.1", "0.0.0.0:0"), ("[::1]", "[::]:0")];
    if std::net::UdpSocket::bind("[::1]:0").is_ok() {
        return all;
    }
    eprintln!("no IPv6 here: tested over IPv4 only");
    all[..1].to_vec()
}

/// `socket`'s port at another address.
fn at(ip: &str, socket: &UdpSocket) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), socket.local_addr().port())
}

fn datagram(remote: SocketAddr, data: &[u8]) -> Transmit<'_> {
    Transmit { remote, local_ip: None, ecn: None, segment_size: data.len(), data, buffer: None }
}

/// A received slot that owns its bytes.
#[derive(Debug)]
struct Got {
    remote: SocketAddr,
    local_ip: Option<IpAddr>,
    ecn: Option<Ecn>,
    stride: usize,
    interface: u32,
    data: Vec<u8>,
}

/// Receives until `bytes` bytes are there.
fn receive(socket: &UdpSocket, bytes: usize) -> Vec<Got> {
    let mut poller = Poller::new().unwrap();
    poller.add(socket, 1, Interest::Readable).unwrap();
    let mut events = Events::with_capacity(2);
    let mut batch = RecvBatch::default();
    let (mut got, mut sum) = (Vec::new(), 0);
    while sum < bytes {
        while socket.recv(&mut batch).unwrap() > 0 {
            for slot in batch.slots() {
                sum += slot.data.len();
                let Slot { remote, local_ip, ecn, stride, interface, data, .. } = slot;
                let data = data.to_vec();
                got.push(Got { remote, local_ip, ecn, stride, interface, data });
            }
        }
        if sum < bytes {
            poller.wait(&mut events, Some(Duration::from_secs(30))).unwrap();
            assert!(events.iter().any(|event| event.readable), "{sum} of {bytes} bytes came");
        }
    }
    assert_eq!(sum, bytes);
    got
}

fn receive_one(socket: &UdpSocket, data: &[u8]) -> Got {
    let mut got = receive(socket, data.len());
    assert_eq!(got.len(), 1);
    let got = got.pop().unwrap();
    assert_eq!(got.data, data);
    assert_eq!(got.stride, data.len(), "one datagram, not a train");
    got
}

fn send_all(socket: &UdpSocket, batch: &[Transmit<'_>]) {
    let sent = socket.send(batch).unwrap();
    let datagrams = batch.iter().map(Transmit::datagrams).sum();
    assert_eq!(sent, Sent { trains: batch.len(), datagrams, ..Sent::default() });
}

/// Bytes in which any loss, repetition or exchange shows.
fn pattern(len: usize, seed: u32) -> Vec<u8> {
    (0..len as u32)
        .map(|i| (i.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

/// Puts the datagrams of all slots in one row, and checks the stride of each slot.
fn joined(got: &[Got], segment: usize) -> Vec<u8> {
    let mut all = Vec::new();
    for slot in got {
        assert!(slot.stride == segment || slot.data.len() < segment, "stride {}", slot.stride);
        all.extend_from_slice(&slot.data);
    }
    all
}

#[test]
fn sockets_and_slots_go_to_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<UdpSocket>();
    shared::<RecvBatch>();
}

#[test]
fn a_datagram_tells_both_addresses_on_either_family() {
    for (ip, _) in loopbacks() {
        let (a, b) = (open(&format!("{ip}:0")), open(&format!("{ip}:0")));
        send_all(&a, &[datagram(b.local_addr(), b"hello")]);
        let got = receive_one(&b, b"hello");
        assert_eq!(got.remote, a.local_addr());
        assert_eq!(got.local_ip, Some(b.local_addr().ip()));
        assert_eq!((got.ecn, got.stride), (None, 5));
        assert_ne!(got.interface, 0);
        assert_eq!(b.recv(&mut RecvBatch::default()).unwrap(), 0);
    }
}

#[test]
fn a_dual_stack_socket_speaks_both_families() {
    let Some(&(_, unspecified)) = loopbacks().get(1) else { return };
    let both = open(unspecified);
    for ip in ["127.0.0.1", "::1"] {
        let peer = open(&SocketAddr::new(ip.parse().unwrap(), 0).to_string());
        let there = Transmit { ecn: Some(Ecn::Ect1), ..datagram(at(ip, &both), b"there") };
        send_all(&peer, &[there]);
        let got = receive_one(&both, b"there");
        assert_eq!(got.remote, peer.local_addr(), "an IPv4 peer is not a mapped one");
        assert_eq!(got.local_ip, Some(ip.parse().unwrap()));
        assert_eq!(got.ecn, Some(Ecn::Ect1));
        assert_ne!(got.interface, 0);
        let back = Transmit {
            local_ip: got.local_ip,
            ecn: Some(Ecn::Ce),
            ..datagram(got.remote, b"and back")
        };
        send_all(&both, &[back]);
        let got = receive_one(&peer, b"and back");
        assert_eq!((got.remote, got.ecn), (at(ip, &both), Some(Ecn::Ce)));
    }
}

#[test]
fn a_socket_that_is_not_dual_stack_leaves_ipv4_alone() {
    let Some(&(_, unspecified)) = loopbacks().get(1) else { return };
    let options = SocketOptions { dual_stack: false, ..SocketOptions::default() };
    let six = bind(unspecified, &options);
    // The port is free for IPv4.
    let four = UdpSocket::bind(at("0.0.0.0", &six), &options).unwrap();
    let peer = open("127.0.0.1:0");
    send_all(&peer, &[datagram(at("127.0.0.1", &four), b"four")]);
    receive_one(&four, b"four");
    assert_eq!(six.recv(&mut RecvBatch::default()).unwrap(), 0);
}

#[test]
fn every_ecn_codepoint_arrives() {
    for (ip, _) in loopbacks() {
        let (a, b) = (open(&format!("{ip}:0")), open(&format!("{ip}:0")));
        for ecn in [None, Some(Ecn::Ect0), Some(Ecn::Ect1), Some(Ecn::Ce)] {
            send_all(&a, &[Transmit { ecn, ..datagram(b.local_addr(), b"marked") }]);
            assert_eq!(receive_one(&b, b"marked").ecn, ecn);
            // The same for a train.
            let data = pattern(3000, 1);
            let train = Transmit { ecn, segment_size: 1000, ..datagram(b.local_addr(), &data) };
            send_all(&a, &[train]);
            assert!(receive(&b, 3000).iter().all(|slot| slot.ecn == ecn));
        }
    }
}

#[test]
fn without_ecn_nothing_is_marked_or_reported() {
    let options = SocketOptions { ecn: false, ..SocketOptions::default() };
    let (marks, plain, reports) =
        (open("127.0.0.1:0"), bind("127.0.0.1:0", &options), open("127.0.0.1:0"));
    assert!(!plain.capabilities().ecn);
    for (from, to) in [(&marks, &plain), (&plain, &reports)] {
        let ecn = Some(Ecn::Ect0);
        send_all(from, &[Transmit { ecn, ..datagram(to.local_addr(), b"x") }]);
        assert_eq!(receive_one(to, b"x").ecn, None);
    }
}

#[test]
fn the_source_address_is_the_senders_choice() {
    let (a, b) = (open("0.0.0.0:0"), open("127.0.0.1:0"));
    for source in ["127.0.0.2", "127.0.0.3"] {
        let local_ip = Some(source.parse().unwrap());
        send_all(&a, &[Transmit { local_ip, ..datagram(b.local_addr(), b"from") }]);
        assert_eq!(receive_one(&b, b"from").remote, at(source, &a));
    }
    // And the answer to another address of ours says which.
    send_all(&b, &[datagram(at("127.0.0.9", &a), b"to")]);
    assert_eq!(receive_one(&a, b"to").local_ip, Some("127.0.0.9".parse().unwrap()));
}

#[test]
fn a_source_address_that_is_not_ours_is_a_soft_error_and_leaves_gso_on() {
    let (a, b) = (open("0.0.0.0:0"), open("127.0.0.1:0"));
    let data = pattern(4000, 2);
    let good = Transmit { segment_size: 1000, ..datagram(b.local_addr(), &data) };
    let bad = Transmit { local_ip: Some("192.0.2.1".parse().unwrap()), ..good };
    let sent = a.send(&[good, bad, good]).unwrap();
    assert_eq!((sent.trains, sent.datagrams, sent.blocked), (3, 8, false));
    assert!(matches!(sent.errors.as_slice(), [(1, TrainError::Soft(_))]), "{:?}", sent.errors);
    assert_eq!(a.capabilities().gso_max_segments, MAX_SEGMENTS);
    assert_eq!((a.stats().gso_fallbacks, a.stats().soft_errors), (0, 1));
    receive(&b, 8000);
}

#[test]
fn trains_arrive_whole_and_in_order() {
    for (ip, _) in loopbacks() {
        let (a, b) = (open(&format!("{ip}:0")), open(&format!("{ip}:0")));
        assert_eq!(a.capabilities().gso_max_segments, MAX_SEGMENTS);
        assert!(b.capabilities().gro && b.capabilities().pktinfo);
        for round in 0..50 {
            let data = pattern(44 * 1472, round);
            let train = Transmit { segment_size: 1472, ..datagram(b.local_addr(), &data) };
            send_all(&a, &[train]);
            assert_eq!(joined(&receive(&b, data.len()), 1472), data);
        }
        let (sender, receiver) = (a.stats(), b.stats());
        assert_eq!((sender.send_calls, sender.sent_datagrams), (50, 50 * 44));
        assert_eq!(receiver.recv_datagrams, 50 * 44);
        assert_eq!(receiver.recv_calls, 50, "GRO takes a train as one");
        assert_eq!((sender.gso_fallbacks, receiver.kernel_drops), (0, 0));
    }
}

#[test]
fn the_last_datagram_of_a_train_may_be_shorter() {
    let (a, b) = (open("127.0.0.1:0"), open("127.0.0.1:0"));
    for (segment, len) in [(1472, 1473), (1472, 3 * 1472 - 1), (1200, 64 * 1000 + 7), (100, 6333)] {
        let data = pattern(len, 3);
        let train = Transmit { segment_size: segment, ..datagram(b.local_addr(), &data) };
        assert_eq!(train.datagrams(), len.div_ceil(segment));
        send_all(&a, &[train]);
        assert_eq!(joined(&receive(&b, len), segment), data);
    }
    assert_eq!(b.stats().recv_datagrams, a.stats().sent_datagrams);
}

#[test]
fn slots_walk_by_stride() {
    let (a, b) = (open("127.0.0.1:0"), open("127.0.0.1:0"));
    let data = pattern(2500, 4);
    send_all(&a, &[Transmit { segment_size: 1000, ..datagram(b.local_addr(), &data) }]);
    let mut batch = RecvBatch::default();
    assert_eq!(b.recv(&mut batch).unwrap(), 1);
    let mut slot = batch.slots().next().unwrap();
    let lengths: Vec<_> = slot.datagrams().map(|datagram| datagram.len()).collect();
    assert_eq!(lengths, [1000, 1000, 500]);
}

#[test]
fn many_trains_leave_in_one_call_to_several_peers() {
    let a = open("0.0.0.0:0");
    let peers = [open("127.0.0.1:0"), open("127.0.0.1:0"), open("127.0.0.1:0")];
    let data: Vec<_> = (0..30).map(|i| pattern(5 * 1400 + i, i as u32)).collect();
    let batch: Vec<_> = data
        .iter()
        .zip(peers.iter().cycle())
        .map(|(data, peer)| Transmit { segment_size: 1400, ..datagram(peer.local_addr(), data) })
        .collect();
    send_all(&a, &batch);
    assert_eq!(a.stats().send_calls, 1);
    for (i, peer) in peers.iter().enumerate() {
        let expected: Vec<u8> = data.iter().skip(i).step_by(3).flatten().copied().collect();
        assert_eq!(joined(&receive(peer, expected.len()), 1400), expected);
    }
}

#[test]
fn a_batch_beyond_the_limit_is_sent_up_to_it() {
    let (a, b) = (open("127.0.0.1:0"), open("127.0.0.1:0"));
    let sent = a.send(&[datagram(b.local_addr(), b"x"); MAX_TRAINS + 3]).unwrap();
    assert_eq!((sent.trains, sent.datagrams), (MAX_TRAINS, MAX_TRAINS));
    receive(&b, MAX_TRAINS);
    assert_eq!(a.send(&[]).unwrap(), Sent::default());
}

#[test]
fn without_gso_and_gro_the_same_datagrams_arrive() {
    let options = SocketOptions { gso: false, gro: false, ..SocketOptions::default() };
    let (a, b) = (bind("127.0.0.1:0", &options), bind("127.0.0.1:0", &options));
    assert_eq!(a.capabilities().gso_max_segments, 1);
    assert!(!b.capabilities().gro);
    let data = pattern(44 * 1472 - 100, 5);
    let train = Transmit { segment_size: 1472, ..datagram(b.local_addr(), &data) };
    send_all(&a, &[datagram(b.local_addr(), b"1"), train, datagram(b.local_addr(), b"2")]);
    let got = receive(&b, data.len() + 2);
    assert_eq!(got.len(), 46, "each datagram fills a slot");
    let all: Vec<u8> = got.iter().flat_map(|slot| slot.data.clone()).collect();
    assert_eq!(all, [b"1", &data[..], b"2"].concat());
    // One call for the first datagram, one for the whole train, one for the last.
    assert_eq!(a.stats().send_calls, 3);
    assert_eq!(a.stats().sent_datagrams, 46);
}

/// The kernel really refuses GSO (`EINVAL`) to a socket that sends without checksums.
fn refuse_gso(socket: &UdpSocket) {
    let on: libc::c_int = 1;
    // SAFETY: pointer and length name one integer that outlives the call.
    let done = unsafe {
        let len = size_of_val(&on) as libc::socklen_t;
        let value = (&raw const on).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, value, len)
    };
    assert_eq!(done, 0);
}

#[test]
fn when_the_kernel_refuses_gso_nothing_is_lost() {
    let (a, b) = (open("127.0.0.1:0"), open("127.0.0.1:0"));
    refuse_gso(&a);
    let data: Vec<_> = (0..4).map(|i| pattern(20 * 1472, i)).collect();
    let mut batch: Vec<_> = data
        .iter()
        .map(|data| Transmit { segment_size: 1472, ..datagram(b.local_addr(), data) })
        .collect();
    batch.insert(1, datagram(b.local_addr(), b"single"));
    send_all(&a, &batch);
    let expected = [&data[0][..], b"single", &data[1], &data[2], &data[3]].concat();
    let got = receive(&b, expected.len());
    let all: Vec<u8> = got.iter().flat_map(|slot| slot.data.clone()).collect();
    assert_eq!(all, expected);
    assert_eq!(a.capabilities().gso_max_segments, 1);
    let stats = a.stats();
    assert_eq!((stats.gso_fallbacks, stats.soft_errors, stats.sent_datagrams), (1, 0, 81));
}

#[test]
fn too_large_is_reported_for_its_train_only() {
    // Over IPv4, no datagram is too large for loopback's MTU.
    if loopbacks().len() < 2 {
        return;
    }
    let mtu = mtu_of_route("[::1]:1".parse().unwrap()).unwrap();
    let (a, b) = (open("[::1]:0"), open("[::1]:0"));
    // IPv6 and UDP headers take 48 bytes; loopback's MTU of 65536 is told as 65535.
    let largest = usize::from(mtu) + 1 - 48;
    assert_eq!(largest, 65_488, "this test counts on loopback's usual MTU");
    let data = pattern(MAX_TRAIN_BYTES, 6);
    let small = datagram(b.local_addr(), b"small");
    let single = datagram(b.local_addr(), &data[..=largest]);
    let train = Transmit { segment_size: largest + 1, ..datagram(b.local_addr(), &data) };
    let sent = a.send(&[small, single, small, train, small]).unwrap();
    assert_eq!(
        sent.errors.as_slice(),
        [(1, TrainError::TooLarge), (3, TrainError::TooLarge)],
        "and nothing fragments"
    );
    assert_eq!((sent.trains, sent.datagrams, sent.blocked), (5, 3, false));
    assert_eq!(a.capabilities().gso_max_segments, MAX_SEGMENTS, "it was not GSO's fault");
    receive(&b, 15);
    send_all(&a, &[datagram(b.local_addr(), &data[..largest])]);
    receive_one(&b, &data[..largest]);
}

#[test]
fn a_train_out_of_bounds_is_invalid() {
    let (a, b) = (open("127.0.0.1:0"), open("127.0.0.1:0"));
    let data = vec![0; MAX_TRAIN_BYTES + 1];
    let no_size = Transmit { segment_size: 0, ..datagram(b.local_addr(), b"x") };
    let too_long = Transmit { segment_size: 1472, ..datagram(b.local_addr(), &data) };
    let too_many = Transmit { segment_size: 10, ..datagram(b.local_addr(), &data[..641]) };
    let full = Transmit { segment_size: 10, ..datagram(b.local_addr(), &data[..640]) };
    let sent = a.send(&[no_size, too_long, full, too_many]).unwrap();
    let invalid = TrainError::Invalid;
    assert_eq!(sent.errors.as_slice(), [(0, invalid), (1, invalid), (3, invalid)]);
    assert_eq!((sent.trains, sent.datagrams), (4, 64));
    receive(&b, 640);
}

#[test]
fn an_empty_datagram_does_no_harm() {
    let (a, b) = (open("127.0.0.1:0"), open("127.0.0.1:0"));
    send_all(&a, &[datagram(b.local_addr(), b""), datagram(b.local_addr(), b"full")]);
    let mut batch = RecvBatch::default();
    assert_eq!(b.recv(&mut batch).unwrap(), 2, "taken from the kernel");
    let slots: Vec<_> = batch.slots().map(|slot| slot.data.to_vec()).collect();
    assert_eq!(slots, [b"full"], "but nothing to look at");
    assert_eq!(b.stats().recv_datagrams, 1);
}

#[test]
fn refusals_by_icmp_are_swallowed_and_counted() {
    let (a, closed, b) = (open("127.0.0.1:0"), open("127.0.0.1:0"), open("127.0.0.1:0"));
    let nobody = closed.local_addr();
    drop(closed);
    // Only a connected socket hears of ICMP errors.
    let borrowed = a.as_fd().try_clone_to_owned().unwrap();
    std::net::UdpSocket::from(borrowed).connect(nobody).unwrap();
    send_all(&a, &[datagram(nobody, b"lost")]);
    // The pending refusal does not stop the next datagram.
    send_all(&a, &[datagram(b.local_addr(), b"not lost")]);
    receive_one(&b, b"not lost");
    assert_eq!(a.stats().soft_errors, 1);
    // Nor does it end receiving.
    send_all(&a, &[datagram(nobody, b"lost")]);
    assert_eq!(a.recv(&mut RecvBatch::default()).unwrap(), 0);
    assert_eq!(a.stats().soft_errors, 2);
}

#[test]
fn buffers_tell_wish_and_grant() {
    let size = 64 << 10;
    let options =
        SocketOptions { recv_buffer: size, send_buffer: 1 << 40, ..SocketOptions::default() };
    let capabilities = bind("127.0.0.1:0", &options).capabilities();
    assert_eq!(capabilities.recv_buffer, BufferSize { wished: size, granted: size });
    assert!(!capabilities.recv_buffer.is_clamped());
    assert!(capabilities.send_buffer.is_clamped());
    assert_eq!(capabilities.send_buffer.wished, 1 << 40);
    assert!(capabilities.dont_fragment);
}

#[test]
fn drops_of_a_full_buffer_are_counted() {
    let options = SocketOptions { recv_buffer: 8 << 10, ..SocketOptions::default() };
    let (a, b) = (open("127.0.0.1:0"), bind("127.0.0.1:0", &options));
    let data = pattern(1400, 7);
    send_all(&a, &[datagram(b.local_addr(), &data); MAX_TRAINS]);
    let mut batch = RecvBatch::new(MAX_SLOTS);
    let got = b.recv(&mut batch).unwrap();
    assert!(got < MAX_TRAINS);
    assert_eq!(b.stats().kernel_drops, (MAX_TRAINS - got) as u64);
}

#[test]
fn a_socket_can_be_held_to_an_interface() {
    let options = SocketOptions { interface: Some("lo".into()), ..SocketOptions::default() };
    let (a, b) = (bind("0.0.0.0:0", &options), open("127.0.0.1:0"));
    send_all(&a, &[datagram(b.local_addr(), b"lo")]);
    receive_one(&b, b"lo");
    let options = SocketOptions { interface: Some("no-such0".into()), ..options };
    let error = UdpSocket::bind("0.0.0.0:0".parse().unwrap(), &options).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
}

#[test]
fn the_route_tells_its_mtu() {
    let lo: u32 = std::fs::read_to_string("/sys/class/net/lo/mtu").unwrap().trim().parse().unwrap();
    let six = loopbacks().get(1).map(|_| "[::1]:443");
    for remote in ["127.0.0.1:443", "[::ffff:127.0.0.1]:443", "127.0.0.1:0"].into_iter().chain(six)
    {
        let mtu = mtu_of_route(remote.parse().unwrap()).unwrap();
        assert_eq!(u32::from(mtu), lo.min(65_535), "{remote}");
    }
    // A link-local address without its link leads nowhere.
    assert_eq!(mtu_of_route("[fe80::1]:443".parse().unwrap()), None);
}

#[test]
fn the_kernel_steers_by_connection_id() {
    const SHARDS: u32 = 3;
    let options = SocketOptions { reuse_port: true, ..SocketOptions::default() };
    let first = bind("127.0.0.1:0", &options);
    let to = first.local_addr();
    let mut shards = vec![first];
    shards.extend((1..SHARDS).map(|_| UdpSocket::bind(to, &options).unwrap()));
    reuseport_by_cid(&shards[0], SHARDS).unwrap();
    // RFC 8999: long header with version, ID length 8, ID; short header with ID.
    let long = |id| [0xc3, 0, 0, 0, 1, 8, id, 9, 9, 9, 9, 9, 9, 9, 0];
    let short = |id| [0x43, id, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9];
    let one_shard = |shard: usize, bytes: &[u8]| {
        receive_one(&shards[shard], bytes);
        for other in (0..shards.len()).filter(|&other| other != shard) {
            assert_eq!(shards[other].recv(&mut RecvBatch::default()).unwrap(), 0);
        }
    };
    for id in [0, 1, 2, 3, 100, 254, 255] {
        let client = open("127.0.0.1:0");
        for bytes in [long(id), short(id)] {
            send_all(&client, &[datagram(to, &bytes)]);
            one_shard(usize::from(id) % shards.len(), &bytes);
        }
        // A train goes where its first datagram does.
        let train = [short(id), short(id.wrapping_add(1))].concat();
        send_all(&client, &[Transmit { segment_size: 15, ..datagram(to, &train) }]);
        let shard = usize::from(id) % shards.len();
        assert_eq!(joined(&receive(&shards[shard], train.len()), 15), train);
        // Too short for an ID.
        for bytes in [&b"\x43"[..], b"\xc3\0\0\0\x01\x08"] {
            send_all(&client, &[datagram(to, bytes)]);
            one_shard(0, bytes);
        }
    }
    for bad in [0, 257] {
        let error = reuseport_by_cid(&shards[0], bad).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}

#[test]
fn the_raw_rate_counts_what_arrives() {
    let rate = raw_rate(Duration::from_millis(100)).unwrap();
    assert!(rate.sent_gbps > 0.0 && rate.received_gbps > 0.0, "{rate:?}");
    assert!(rate.receiver.recv_datagrams <= rate.sender.sent_datagrams);
    assert!((rate.datagrams_per_send() - 44.0).abs() < 1e-9);
    assert!(rate.datagrams_per_recv() >= 44.0);
}

#[test]
fn the_portable_socket_does_the_same_one_by_one() {
    let options = SocketOptions::default();
    let open = |addr: &str| portable::UdpSocket::bind(addr.parse().unwrap(), &options).unwrap();
    let (a, b) = (open(loopbacks().last().unwrap().1), open("127.0.0.1:0"));
    assert_eq!(a.capabilities().gso_max_segments, 1);
    assert_eq!(a.interface(), None);
    assert!(a.capabilities().recv_buffer.granted > 0);
    let data = pattern(3 * 1000 + 1, 8);
    let train = Transmit { segment_size: 1000, ..datagram(b.local_addr(), &data) };
    let invalid = Transmit { segment_size: 0, ..train };
    let nowhere = Transmit { remote: SocketAddr::new(b.local_addr().ip(), 0), ..train };
    let sent = a.send(&[train, invalid, nowhere, train]).unwrap();
    assert_eq!((sent.trains, sent.datagrams, sent.blocked), (4, 8, false));
    let soft = TrainError::Soft(libc::EINVAL);
    assert_eq!(sent.errors.as_slice(), [(1, TrainError::Invalid), (2, soft)]);
    let mut batch = portable::RecvBatch::new(5);
    assert_eq!(b.recv(&mut batch).unwrap(), batch.capacity());
    let mut got: Vec<u8> = batch.slots().flat_map(|slot| slot.data.to_vec()).collect();
    assert!(batch.slots().all(|s| s.remote.port() == a.local_addr().port() && s.remote.is_ipv4()));
    assert_eq!(b.recv(&mut batch).unwrap(), 3);
    got.extend(batch.slots().flat_map(|slot| slot.data.to_vec()));
    assert_eq!(got, [&data[..], &data[..]].concat());
    assert_eq!(b.recv(&mut batch).unwrap(), 0);
    assert_eq!((a.stats().sent_datagrams, b.stats().recv_datagrams), (8, 8));
    assert!(a.take_refusals().is_empty());
    let shared = SocketOptions { reuse_port: true, ..options.clone() };
    assert_eq!(b.interface(), None);
    let error = portable::UdpSocket::bind(b.local_addr(), &shared).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
}
