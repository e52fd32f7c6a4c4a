use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tquic_sim::link::{Limit, LinkConfig, Loss, QueueConfig, Rate};
use tquic_sim::random::Probability;
use tquic_sim::transfer::{Finished, Transfer};

use super::*;
use crate::Tracing;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("tquic-qlog-test-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&folder);
        Self(folder)
    }

    /// The records of the only file whose name ends so.
    fn records(&self, side: &str) -> Vec<Value> {
        let files = std::fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path());
        let mut ours = files.filter(|p| p.to_string_lossy().ends_with(&format!("_{side}.sqlog")));
        let path = ours.next().unwrap();
        assert!(ours.next().is_none());
        read(&path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// JSON text sequences, RFC 7464, each record in a line of its own.
fn read(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    let records = text.strip_prefix('\u{1e}').unwrap().strip_suffix('\n').unwrap();
    records.split("\n\u{1e}").map(|record| serde_json::from_str(record).unwrap()).collect()
}

/// A transfer over a link that queues, drops and loses.
fn transfer(config: QlogConfig, bytes: u64) -> Finished {
    let mut transfer = Transfer::new(3, bytes);
    transfer.to_server = LinkConfig {
        delay: Duration::from_millis(10),
        rate: Some(Rate::mbps(20)),
        queue: QueueConfig::DropTail(Limit::Packets(40)),
        loss: vec![Loss::Random(Probability::ppm(5_000))],
        ..LinkConfig::default()
    };
    let tracing = Arc::new(Tracing::new(Some(config)));
    transfer.client.tracer = Some(tracing.clone());
    transfer.server.tracer = Some(tracing);
    let finished = transfer.run().unwrap();
    assert_eq!(finished.received, bytes);
    flush(Duration::from_secs(30));
    finished
}

fn names(records: &[Value]) -> BTreeMap<String, u64> {
    let mut names = BTreeMap::new();
    for record in &records[1..] {
        *names.entry(record["name"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    names
}

#[test]
fn a_lossy_transfer_is_told_as_it_was_counted() {
    let folder = Folder::new("lossy");
    let finished = transfer(QlogConfig { buffer: 1 << 26, ..QlogConfig::new(&folder.0) }, 4 << 20);
    for (side, end) in [("client", finished.client), ("server", finished.server)] {
        let records = folder.records(side);
        assert_eq!(records[0]["trace"]["vantage_point"]["type"], side);
        let names = names(&records);
        let count = |name: &str| names.get(name).copied().unwrap_or_default();
        assert_eq!(count("quic:packet_sent"), end.connection.packets_sent, "{side} {names:?}");
        let duplicates = end.connection.duplicates;
        assert_eq!(count("quic:packet_received") + duplicates, end.connection.packets_received);
        assert_eq!(count("quic:packet_lost"), end.path.lost_packets);
        let sum = |name: &str| -> u64 {
            let ours = records[1..].iter().filter(|r| r["name"] == name);
            let raws = ours.flat_map(|r| r["data"]["raw"].as_array().unwrap());
            raws.map(|raw| raw["length"].as_u64().unwrap()).sum()
        };
        assert_eq!(sum("quic:udp_datagrams_sent"), end.connection.bytes_sent);
        assert_eq!(sum("quic:udp_datagrams_received"), end.connection.bytes_received);
        for name in ["connection_started", "connection_closed", "alpn_information"] {
            assert_eq!(count(&format!("quic:{name}")), 1, "{name}");
        }
        assert_eq!(count("quic:parameters_set"), 2);
        assert_eq!(count("loglevel:warning"), 0);
        let times: Vec<f64> = records[1..].iter().map(|r| r["time"].as_f64().unwrap()).collect();
        assert!(times.is_sorted() && times[0] >= 0.0);
    }
    assert!(finished.client.path.lost_packets > 10, "the link was to lose packets");
}

#[test]
fn stream_frames_carry_every_byte() {
    let folder = Folder::new("stream");
    transfer(QlogConfig { buffer: 1 << 26, ..QlogConfig::new(&folder.0) }, 1 << 20);
    for (side, event) in [("client", "quic:packet_sent"), ("server", "quic:packet_received")] {
        let mut pieces = BTreeMap::new();
        for record in folder.records(side).iter().filter(|r| r["name"] == event) {
            for frame in record["data"]["frames"].as_array().unwrap() {
                if frame["frame_type"] == "stream" {
                    let length = frame["raw"]["payload_length"].as_u64().unwrap();
                    let piece = pieces.entry(frame["offset"].as_u64().unwrap()).or_insert(0);
                    *piece = length.max(*piece);
                }
            }
        }
        let end = pieces.iter().fold(0, |end, (&offset, &length)| {
            assert!(offset <= end, "{side}: nothing from {end} to {offset}");
            end.max(offset + length)
        });
        assert_eq!(end, 1 << 20, "{side}");
    }
}

#[test]
fn masks_severities_and_forms_choose_what_is_written() {
    let folder = Folder::new("mask");
    let mask = Mask::PACKET_LOST | Mask::KEY_UPDATED | Mask::PACKETS_ACKED;
    let severity = Severity::Base;
    transfer(QlogConfig { mask, severity, ..QlogConfig::new(&folder.0) }, 1 << 20);
    let names = names(&folder.records("client"));
    let known: Vec<&str> = names.keys().map(String::as_str).collect();
    assert_eq!(known, ["quic:key_updated", "quic:packet_lost"]);

    let folder = Folder::new("old");
    transfer(QlogConfig { form: Form::Old, ..QlogConfig::new(&folder.0) }, 100_000);
    let records = folder.records("server");
    assert_eq!(records[0]["qlog_version"], "0.3");
    assert_eq!(records[0]["qlog_format"], "JSON-SEQ");
    let names = self::names(&records);
    for name in ["transport:packet_received", "recovery:metrics_updated", "security:key_updated"] {
        assert!(names.contains_key(name), "{name} in {names:?}");
    }
    assert!(names.keys().all(|name| !name.starts_with("quic:")));
}

/// Every record's name, and how many of each, of a JSON text sequence without its header.
fn sequence(text: &str) -> Vec<Value> {
    text.split('\u{1e}').skip(1).map(|record| serde_json::from_str(record).unwrap()).collect()
}

#[test]
fn a_ring_keeps_the_newest_and_is_dumped_when_a_connection_fails() {
    let folder = Folder::new("ring");
    let output = Output::Ring(Some(folder.0.clone()));
    let config = QlogConfig { buffer: 128 << 10, ..QlogConfig::to(output) };
    let subject = subject(9);
    let mut qlog = Qlog::new(&config, &subject);
    let tell = |qlog: &mut Qlog, from: u64, to: u64| {
        for n in from..to {
            let event = Event::MtuUpdated { path: 0, old: 1200, new: 1300, done: n % 2 == 0 };
            qlog.on_event(subject.began + Duration::from_millis(n), &event);
            qlog.hand_over();
        }
    };
    tell(&mut qlog, 0, 5000);
    let ours = || rings().into_iter().find(|r| *r.id() == subject.original_dcid).unwrap();
    let records = sequence(&ours().text());
    assert_eq!(records[1]["name"], "loglevel:warning");
    let (told, lost) = (qlog.tally().told, qlog.tally().lost);
    assert_eq!((told, records[1]["data"]["code"].as_u64()), (5000, Some(lost)));
    assert_eq!(records.len() as u64, 2 + told - lost);
    assert_eq!(records.last().unwrap()["time"], 4999.0);
    assert!(!ours().has_failed());

    let error = ConnectionError::IdleTimeout;
    let end = Event::ConnectionClosed { error: &error, bytes_sent: 0, bytes_received: 0 };
    qlog.on_event(subject.began + Duration::from_secs(9), &end);
    drop(qlog);
    assert!(ours().has_failed());
    flush(Duration::from_secs(30));
    let dumped = folder.records("client");
    assert_eq!(dumped, sequence(&ours().text()));
    assert_eq!(dumped.last().unwrap()["data"]["trigger"], "idle_timeout");
}

#[test]
fn a_ring_of_a_connection_that_was_closed_is_forgotten() {
    let folder = Folder::new("closed-ring");
    let config = QlogConfig::to(Output::Ring(Some(folder.0.clone())));
    let mut qlog = Qlog::new(&config, &subject(10));
    let error = ConnectionError::LocalClose { code: 7, reason: "enough".into() };
    let end = Event::ConnectionClosed { error: &error, bytes_sent: 0, bytes_received: 0 };
    qlog.on_event(subject(10).began, &end);
    drop(qlog);
    flush(Duration::from_secs(30));
    assert!(!rings().iter().any(|ring| *ring.id() == subject(10).original_dcid));
    assert!(!folder.0.exists());
}

fn subject(number: u8) -> Subject {
    let address = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
    Subject {
        side: tquic_wire::Side::Client,
        version: tquic_wire::Version::V1,
        original_dcid: tquic_wire::ConnectionId::new(&[number; 8]).unwrap(),
        local_cid: tquic_wire::ConnectionId::new(&[1; 8]).unwrap(),
        addresses: FourTuple { local: address(1), remote: address(2) },
        began: Instant::default(),
    }
}

/// What a listener at a Unix socket hears, message by message.
#[cfg(target_os = "linux")]
#[test]
fn a_listener_hears_all_or_how_many_are_missing() {
    use rustix::net::{self, AddressFamily, RecvFlags, SocketAddrUnix, SocketType};
    let path = std::env::temp_dir().join(format!("tquic-qlog-unix-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
    net::bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    net::listen(&listener, 4).unwrap();
    let ear = std::thread::spawn(move || {
        let socket = net::accept(&listener).unwrap();
        let (mut room, mut over, mut heard) = (vec![0; 1 << 20], 0, Vec::new());
        while over < 2 {
            let (size, _) = net::recv(&socket, &mut room, RecvFlags::empty()).unwrap();
            let mut records = sequence(std::str::from_utf8(&room[..size]).unwrap());
            let envelope = records.remove(0);
            over += u64::from(envelope["end"] == true);
            heard.push((envelope, records));
        }
        heard
    });
    let config = QlogConfig { buffer: 256 << 10, ..QlogConfig::to(Output::Unix(path.clone())) };
    let finished = transfer(config, 4 << 20);
    let heard = ear.join().unwrap();
    std::fs::remove_file(path).unwrap();
    for (side, end) in [("client", finished.client), ("server", finished.server)] {
        let ours: Vec<_> = heard.iter().filter(|(e, _)| e["role"] == side).collect();
        let numbers: Vec<u64> = ours.iter().map(|(e, _)| e["message"].as_u64().unwrap()).collect();
        assert!(numbers.iter().copied().eq(0..ours.len() as u64), "{side} {numbers:?}");
        let records: Vec<&Value> = ours.iter().flat_map(|(_, records)| records).collect();
        assert_eq!(records[0]["trace"]["vantage_point"]["type"], side);
        let warned = records.iter().filter(|r| r["name"] == "loglevel:warning");
        let missing: u64 = warned.map(|r| r["data"]["code"].as_u64().unwrap()).sum();
        assert_eq!(ours.last().unwrap().0["dropped"], missing, "{side}");
        let events = records[1..].iter().filter(|r| r["name"] != "loglevel:warning").count() as u64;
        // The counters were read before the last events.
        let tally = end.connection.events;
        assert!(missing >= tally.lost, "{side} {missing} {tally:?}");
        assert!(events + missing >= tally.told && tally.told > 5000, "{side} {events} {tally:?}");
    }
}

#[test]
fn what_finds_no_room_is_counted_in_the_file() {
    let folder = Folder::new("full");
    // The writer comes every 100 ms; the transfer takes less than that in real time.
    let finished = transfer(QlogConfig { buffer: 64 << 10, ..QlogConfig::new(&folder.0) }, 4 << 20);
    let records = folder.records("client");
    let warnings = records[1..].iter().filter(|r| r["name"] == "loglevel:warning");
    let dropped: u64 = warnings.map(|r| r["data"]["code"].as_u64().unwrap()).sum();
    let written = names(&records)["quic:packet_sent"];
    assert!(dropped > 0 && written < finished.client.connection.packets_sent);
}
