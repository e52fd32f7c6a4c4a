//! The relay between real sockets.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests, which may unwrap")]

use std::collections::BTreeSet;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};
use tquic_sim::link::{Cause, LinkConfig, Loss, Rate};
use tquic_sim::relay::{Direction, Relay, RelayConfig, RelayHandle};
use tquic_sim::scenario::{Rebinding, Scenario, named};

fn local() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}

fn relay(scenario: Scenario, server: &UdpSocket) -> (RelayHandle, UdpSocket) {
    let listen = "127.0.0.1:0".parse().unwrap();
    let server = server.local_addr().unwrap();
    let handle =
        Relay::bind(RelayConfig { listen, server, scenario, seed: 3 }).unwrap().spawn().unwrap();
    let client = local();
    client.connect(handle.address()).unwrap();
    (handle, client)
}

fn with_links(link: LinkConfig) -> Scenario {
    Scenario { to_server: link.clone(), to_client: link, ..named("clean").unwrap() }
}

fn receive(socket: &UdpSocket) -> io::Result<(Vec<u8>, SocketAddr)> {
    let mut buffer = vec![0; 65_536];
    let (length, from) = socket.recv_from(&mut buffer)?;
    buffer.truncate(length);
    Ok((buffer, from))
}

#[test]
fn delays_both_ways_and_keeps_clients_apart() {
    let server = local();
    let link = LinkConfig { delay: tquic_sim::Duration::from_millis(40), ..LinkConfig::default() };
    let (handle, client) = relay(with_links(link), &server);
    let other = local();
    other.connect(handle.address()).unwrap();
    let start = Instant::now();
    client.send(b"one").unwrap();
    other.send(b"two").unwrap();
    let (first, second) = (receive(&server).unwrap(), receive(&server).unwrap());
    assert!(start.elapsed() >= Duration::from_millis(40));
    assert_eq!((&first.0[..], &second.0[..]), (&b"one"[..], &b"two"[..]));
    assert_ne!(first.1, second.1);
    server.send_to(b"to two", second.1).unwrap();
    server.send_to(b"to one", first.1).unwrap();
    assert_eq!(receive(&client).unwrap(), (b"to one".to_vec(), handle.address()));
    assert_eq!(receive(&other).unwrap().0, b"to two");
    assert!(start.elapsed() >= Duration::from_millis(80));
    let summary = handle.stop().unwrap();
    assert_eq!(summary.clients, 2);
    assert_eq!(summary.to_json()["to_client"]["out"]["datagrams"], 2);
    assert_eq!(summary.to_json()["to_server"]["in"]["bytes"], 6);
}

#[test]
fn holds_its_rate() {
    let server = local();
    let link = LinkConfig { rate: Some(Rate::mbps(20)), ..LinkConfig::default() };
    let (handle, client) = relay(with_links(link), &server);
    let start = Instant::now();
    for k in 0..400u32 {
        client.send(&[k as u8; 1250]).unwrap();
    }
    (0..400).for_each(|_| drop(receive(&server).unwrap()));
    // 400 packets of 0.5 ms, however late the test or the relay were; that the link is not slower
    // either, tests with a clock of their own say.
    assert!(start.elapsed() >= Duration::from_millis(200));
    let summary = handle.stop().unwrap();
    assert_eq!(summary.unplanned.receive_overflow, 0);
    let longest = summary.to_server.sojourn.max();
    assert!(longest <= tquic_sim::Duration::from_millis(200), "{longest:?}");
}

#[test]
fn drops_and_damages_what_the_scenario_says() {
    let server = local();
    let mut scenario = named("transfercorruption").unwrap();
    scenario.to_server.corruption.as_mut().unwrap().chance =
        tquic_sim::random::Probability::percent(30);
    scenario.to_server.loss = vec![Loss::Listed(vec![2, 3])];
    let (handle, client) = relay(scenario, &server);
    for number in 0..20u8 {
        client.send(&[0x40 | number; 1000]).unwrap();
    }
    let got: Vec<_> = (0..18).map(|_| receive(&server).unwrap().0).collect();
    let numbers: Vec<_> = got.iter().map(|bytes| bytes[999] & 0x3f).collect();
    assert_eq!(numbers, [&[0][..], &(3..20).collect::<Vec<_>>()].concat());
    let damaged = got.iter().filter(|bytes| bytes.iter().any(|&byte| byte != bytes[999])).count();
    let summary = handle.stop().unwrap();
    assert_eq!(summary.to_server.corrupted, damaged as u64);
    assert!(damaged > 0);
    assert_eq!(summary.to_server.dropped(Cause::Loss).packets, 2);
}

#[test]
fn rebinding_changes_what_the_server_sees_and_expires_the_old() {
    for address in [false, true] {
        let server = local();
        let rebinding = Rebinding {
            first: Duration::from_millis(100),
            every: Duration::from_millis(200),
            address,
        };
        let scenario = Scenario { rebinding: Some(rebinding), ..named("clean").unwrap() };
        let (handle, client) = relay(scenario, &server);
        let mut seen = Vec::new();
        for _ in 0..10_000 {
            if seen.len() == 4 {
                break;
            }
            client.send(b"ping").unwrap();
            let from = receive(&server).unwrap().1;
            if seen.last() != Some(&from) {
                seen.push(from);
            }
            server.send_to(b"pong", from).unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
        // Answers to the current address arrive, to an old one they do not.
        client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        while receive(&client).is_ok() {}
        server.send_to(b"late", seen[0]).unwrap();
        assert!(receive(&client).is_err());
        let summary = handle.stop().unwrap();
        assert!(summary.unplanned.expired_binding >= 1);
        assert_eq!(seen.len(), 4, "{seen:?}");
        // If this thread was kept waiting, one of them went by unseen.
        let mut reported = summary.rebound.iter().map(|change| change.to);
        assert!(seen[1..].iter().all(|to| reported.any(|one| one == *to)), "{seen:?}");
        let hosts: BTreeSet<_> = seen.iter().map(SocketAddr::ip).collect();
        assert_eq!(hosts.len() > 1, address, "{hosts:?}");
        assert_eq!(seen.iter().map(SocketAddr::port).collect::<BTreeSet<_>>().len(), seen.len());
    }
}

#[test]
fn counts_ecn_and_survives_a_server_that_is_not_there() {
    let server = local();
    let (handle, client) = relay(named("clean").unwrap(), &server);
    socket2::SockRef::from(&client).set_tos_v4(0b1011_1001).unwrap();
    client.send(b"marked").unwrap();
    assert_eq!(receive(&server).unwrap().0, b"marked");
    let address = server.local_addr().unwrap();
    drop(server);
    for _ in 0..20 {
        client.send(b"into the void").unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    let server = UdpSocket::bind(address).unwrap();
    server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    client.send(b"to its successor").unwrap();
    while receive(&server).unwrap().0 != b"to its successor" {}
    let summary = handle.stop().unwrap();
    // ECT(1).
    assert_eq!(summary.facts.ecn[&Direction::ToServer], [0, 22, 0, 0]);
    assert_eq!(summary.to_server.delivered.packets, 22);
}

#[test]
fn an_impossible_rebinding_is_refused_at_the_start() {
    let any = "[::1]:0".parse().unwrap();
    let scenario = named("rebind-addr").unwrap();
    let refused = Relay::bind(RelayConfig { listen: any, server: any, scenario, seed: 1 });
    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::Unsupported);
}

#[test]
fn the_program_reports_when_it_is_ended() {
    use std::io::{BufRead, BufReader, Read};
    use std::process::{Command, Stdio};
    let server = local();
    let mut program = Command::new(env!("CARGO_BIN_EXE_tquic-relay"))
        .args(["--listen", "127.0.0.1:0", "--link", "amplificationlimit", "--seed", "9", "--to"])
        .arg(server.local_addr().unwrap().to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(program.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ").unwrap();
    let client = local();
    for number in 1..=8 {
        client.send_to(&[0x40 + number], address).unwrap();
    }
    let got = [receive(&server).unwrap().0, receive(&server).unwrap().0];
    assert_eq!(got, [[0x41], [0x48]]);
    let id = rustix::process::Pid::from_child(&program);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert!(program.wait().unwrap().success());
    let summary: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(summary["scenario"], "amplificationlimit");
    assert_eq!(summary["to_server"]["dropped"]["loss"], 6);
    assert_eq!(summary["facts"]["packets"]["to_server"]["short"]["packets"], 8);
}
