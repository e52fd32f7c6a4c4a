//! Full handshakes between two sessions.

mod common;

use std::sync::{Arc, Mutex};

use common::{Authority, NAME, Pair, check_packet_keys, client, server};
use tquic_crypto::client_hello::{self, Progress};
use tquic_crypto::session::Group;
use tquic_crypto::{Level, Suite};
use tquic_wire::{Side, Version};

/// RFC 9001 section 5.1.
#[test]
fn each_suite_and_version() {
    let ca = Authority::new("CA");
    for suite in Suite::ALL {
        for version in [Version::V1, Version::V2] {
            let client = client(&ca).suites(&[suite]).build().unwrap();
            let server = server(&ca).build().unwrap();
            let mut pair = Pair::of_version(&client, &server, version);
            pair.run().unwrap();
            pair.check_packets();
            for end in [&pair.client.session, &pair.server.session] {
                assert_eq!(end.suite(), Some(suite));
                assert_eq!(end.alpn(), Some(&b"h3"[..]));
                assert!(!end.resumed());
            }
            assert_eq!(pair.client.session.early_data_accepted(), None);
            assert_eq!(pair.server.session.early_data_accepted(), Some(false));
        }
    }
}

#[test]
fn each_group() {
    let ca = Authority::new("CA");
    for group in Group::ALL {
        let client = client(&ca).groups(&[group]).build().unwrap();
        let server = server(&ca).groups(&Group::ALL).build().unwrap();
        let pair = Pair::connected(&client, &server);
        assert_eq!(pair.client.session.key_exchange_group(), Some(group));
        assert_eq!(pair.server.session.key_exchange_group(), Some(group));
    }
}

#[test]
fn groups_that_differ() {
    let ca = Authority::new("CA");
    let client = client(&ca).build().unwrap();
    // The default offers an X25519 share beside the hybrid one: no further round trip.
    let mut pair = Pair::new(&client, &server(&ca).groups(&[Group::X25519]).build().unwrap());
    let hello = pair.client.flight();
    pair.server.session.read(&hello[0].1).unwrap();
    assert_eq!(pair.server.flight().last().unwrap().0, Level::Handshake);
    // P-256 takes a HelloRetryRequest; the store then remembers the group.
    let p256 = server(&ca).groups(&[Group::Secp256r1]).build().unwrap();
    let pair = Pair::connected(&client, &p256);
    assert_eq!(pair.client.session.key_exchange_group(), Some(Group::Secp256r1));
    assert_eq!(pair.server.session.peer_parameters(), Some(&b"client parameters"[..]));
    let mut pair = Pair::new(&client, &p256);
    let hello = pair.client.flight();
    pair.server.session.read(&hello[0].1).unwrap();
    assert_eq!(pair.server.flight().last().unwrap().0, Level::Handshake);
}

#[test]
fn nothing_in_common() {
    let ca = Authority::new("CA");
    let client = client(&ca).suites(&[Suite::Aes128Gcm]).groups(&[Group::X25519]).build().unwrap();
    let other = server(&ca).suites(&[Suite::Chacha20Poly1305]).build().unwrap();
    let error = Pair::new(&client, &other).run().unwrap_err().server();
    assert_eq!((error.alert, &*error.reason), (40, "the peer supports none of our cipher suites"));
    let other = server(&ca).groups(&[Group::Secp384r1]).build().unwrap();
    let error = Pair::new(&client, &other).run().unwrap_err().server();
    assert_eq!(error.alert, 40);
    assert_eq!(error.reason, "the peer supports none of our key-exchange groups");
}

/// RFC 9000 section 7 and RFC 9001 section 8.1.
#[test]
fn no_common_alpn() {
    let ca = Authority::new("CA");
    let client = client(&ca).alpn(&["hq-interop"]).build().unwrap();
    let server = server(&ca).alpn(&["h3", "siduck"]).build().unwrap();
    let mut pair = Pair::new(&client, &server);
    let error = pair.run().unwrap_err().server();
    assert_eq!(error.alert, 120);
    assert_eq!(error.reason, "no application protocol in common with h3, siduck");
    // The error stays.
    assert_eq!(pair.server.session.read(b"more"), Err(error));
}

#[test]
fn the_servers_order_of_alpn_decides() {
    let ca = Authority::new("CA");
    let client = client(&ca).alpn(&["one", "two"]).build().unwrap();
    let server = server(&ca).alpn(&["two", "one"]).build().unwrap();
    let pair = Pair::connected(&client, &server);
    assert_eq!(pair.client.session.alpn(), Some(&b"two"[..]));
}

#[test]
fn parameters_names_and_sides() {
    let ca = Authority::new("CA");
    let mut pair = Pair::new(&client(&ca).build().unwrap(), &server(&ca).build().unwrap());
    assert_eq!(pair.client.session.side(), Side::Client);
    assert_eq!(pair.server.session.side(), Side::Server);
    assert_eq!(pair.client.session.peer_parameters(), None);
    assert_eq!(pair.server.session.peer_parameters(), None);
    assert_eq!(pair.server.session.server_name(), None);
    assert!(pair.client.session.remembered_parameters().is_none());
    pair.run().unwrap();
    assert_eq!(pair.client.session.peer_parameters(), Some(&b"server parameters"[..]));
    assert_eq!(pair.server.session.peer_parameters(), Some(&b"client parameters"[..]));
    assert_eq!(pair.server.session.server_name(), Some(NAME));
    assert_eq!(pair.client.session.peer_certificates().count(), 1);
    assert_eq!(pair.server.session.peer_certificates().count(), 0);
}

/// CRYPTO bytes may be cut anywhere.
#[test]
fn byte_by_byte() {
    let ca = Authority::new("CA");
    for size in [1, 7, 1000] {
        let mut pair = Pair::new(&client(&ca).build().unwrap(), &server(&ca).build().unwrap());
        pair.run_in_pieces(size).unwrap();
        pair.check_packets();
    }
}

/// RFC 9001 sections 4 and 4.9.
#[test]
fn the_levels_of_each_flight() {
    let ca = Authority::new("CA");
    let mut pair = Pair::new(&client(&ca).build().unwrap(), &server(&ca).build().unwrap());
    let levels = |flight: &[(Level, Vec<u8>)]| flight.iter().map(|(l, _)| *l).collect::<Vec<_>>();
    let hello = pair.client.flight();
    assert_eq!(levels(&hello), [Level::Initial]);
    pair.server.session.read(&hello[0].1).unwrap();
    let answer = pair.server.flight();
    assert_eq!(levels(&answer), [Level::Initial, Level::Handshake]);
    assert!(pair.server.session.is_handshaking());
    assert!(pair.server.one_rtt.is_some(), "a server may send at 0.5 RTT");
    pair.client.session.read(&answer[0].1).unwrap();
    assert_eq!(levels(&pair.client.flight()), []);
    assert!(pair.client.handshake.is_some() && pair.client.one_rtt.is_none());
    pair.client.session.read(&answer[1].1).unwrap();
    let finished = pair.client.flight();
    assert_eq!(levels(&finished), [Level::Handshake]);
    assert!(pair.client.one_rtt.is_some());
    pair.server.session.read(&finished[0].1).unwrap();
    assert_eq!(levels(&pair.server.flight()), [Level::OneRtt], "the tickets");
}

/// A client that reads the server's whole flight before it writes sends its Finished at the
/// Handshake level all the same.
#[test]
fn the_level_of_finished() {
    let ca = Authority::new("CA");
    let mut pair = Pair::new(&client(&ca).build().unwrap(), &server(&ca).build().unwrap());
    let hello = pair.client.flight().remove(0).1;
    pair.server.session.read(&hello).unwrap();
    for (_, bytes) in pair.server.flight() {
        pair.client.session.read(&bytes).unwrap();
    }
    let finished = pair.client.flight();
    assert_eq!(finished.len(), 1);
    assert_eq!(finished[0].0, Level::Handshake);
    pair.server.session.read(&finished[0].1).unwrap();
    pair.run().unwrap();
    pair.check_packets();
}

#[test]
fn key_update() {
    let ca = Authority::new("CA");
    for version in [Version::V1, Version::V2] {
        let (client, server) = (client(&ca).build().unwrap(), server(&ca).build().unwrap());
        let mut pair = Pair::of_version(&client, &server, version);
        pair.run().unwrap();
        let mut client = pair.client.updates.take().unwrap();
        let mut server = pair.server.updates.take().unwrap();
        let mut former = pair.client.one_rtt.take().unwrap().local.packet;
        for _ in 0..5 {
            let (client_local, client_remote) = (client.next_local(), client.next_remote());
            let (server_local, server_remote) = (server.next_local(), server.next_remote());
            check_packet_keys(&client_local, &server_remote);
            check_packet_keys(&server_local, &client_remote);
            let mut packet = vec![0; 40];
            former.seal(0, 1, &mut packet, 5, &[]);
            assert!(server_remote.open(0, 1, &mut packet, 5).is_none());
            former = client_local;
        }
    }
}

/// Compatible version negotiation (RFC 9368): the client starts with version 1, learns of version
/// 2 from the server's first packet, and both make version 2 keys.
#[test]
fn the_version_changes_late() {
    let ca = Authority::new("CA");
    let (client, server) = (client(&ca).build().unwrap(), server(&ca).build().unwrap());
    let mut pair = Pair::new(&client, &server);
    let hello = pair.client.flight();
    pair.server.session.set_version(Version::V2);
    pair.server.session.read(&hello[0].1).unwrap();
    let answer = pair.server.flight();
    pair.client.session.set_version(Version::V2);
    for (_, bytes) in answer {
        pair.client.session.read(&bytes).unwrap();
    }
    pair.run().unwrap();
    pair.check_packets();
    let (mut ours, mut theirs) =
        (pair.client.updates.take().unwrap(), pair.server.updates.take().unwrap());
    check_packet_keys(&ours.next_local(), &theirs.next_remote());

    // Without the client's part, the keys differ.
    let mut pair = Pair::new(&client, &server);
    pair.server.session.set_version(Version::V2);
    pair.run().unwrap();
    let ours = pair.client.one_rtt.unwrap().local.packet;
    let mut packet = vec![0; 40];
    ours.seal(0, 1, &mut packet, 5, &[]);
    let theirs = pair.server.one_rtt.unwrap().remote.packet;
    assert!(theirs.open(0, 1, &mut packet, 5).is_none());
}

#[test]
fn the_client_hello_before_a_session() {
    let ca = Authority::new("CA");
    let client = client(&ca).alpn(&["h3", "hq-interop"]).build().unwrap();
    let mut pair = Pair::new(&client, &server(&ca).build().unwrap());
    let hello = &pair.client.flight()[0].1;
    assert!(hello.len() > 1200, "post-quantum shares need a second packet");
    assert_eq!(client_hello::parse(&hello[..1200]), Ok(Progress::Incomplete));
    let Ok(Progress::Complete(parsed)) = client_hello::parse(hello) else { panic!("not parsed") };
    assert_eq!(parsed.transport_parameters, Some(&b"client parameters"[..]));
    assert_eq!(parsed.server_name, Some(NAME.as_bytes()));
    assert_eq!(parsed.alpn().collect::<Vec<_>>(), [&b"h3"[..], b"hq-interop"]);
}

#[test]
fn the_key_log() {
    let ca = Authority::new("CA");
    let lines = Arc::new(Mutex::new(Vec::new()));
    let log = lines.clone();
    let sink: tquic_crypto::session::KeyLogLine =
        Arc::new(move |line: &str| log.lock().unwrap().push(line.to_owned()));
    let client = client(&ca).key_log(Some(sink.clone())).build().unwrap();
    let server = server(&ca).key_log(Some(sink)).build().unwrap();
    Pair::connected(&client, &server);
    let lines = lines.lock().unwrap();
    for label in [
        "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
        "SERVER_HANDSHAKE_TRAFFIC_SECRET",
        "CLIENT_TRAFFIC_SECRET_0",
        "SERVER_TRAFFIC_SECRET_0",
        "EXPORTER_SECRET",
    ] {
        let prefix = format!("{label} ");
        let of_label: Vec<_> = lines.iter().filter(|line| line.starts_with(&prefix)).collect();
        // Both sides logged the same.
        assert_eq!(of_label.len(), 2, "{label}");
        assert_eq!(of_label[0], of_label[1]);
    }
}

#[test]
fn exported_key_material() {
    let ca = Authority::new("CA");
    let (client, server) = (client(&ca).build().unwrap(), server(&ca).build().unwrap());
    let pair = Pair::new(&client, &server);
    assert!(pair.client.session.export_keying_material(&mut [0; 8], b"label", None).is_err());
    let pair = Pair::connected(&client, &server);
    let (mut ours, mut theirs) = ([0; 32], [0; 32]);
    pair.client.session.export_keying_material(&mut ours, b"label", Some(b"context")).unwrap();
    pair.server.session.export_keying_material(&mut theirs, b"label", Some(b"context")).unwrap();
    assert_eq!(ours, theirs);
    assert_ne!(ours, [0; 32]);
}

#[test]
fn garbage_from_the_peer() {
    let ca = Authority::new("CA");
    let (client, server) = (client(&ca).build().unwrap(), server(&ca).build().unwrap());
    let mut pair = Pair::new(&client, &server);
    // A Finished message first of all: unexpected_message.
    let error = pair.server.session.read(&[20, 0, 0, 4, 1, 2, 3, 4]).unwrap_err();
    assert_eq!(error.alert, 10);
    // A ServerHello that ends early: decode_error.
    let mut pair = Pair::new(&client, &server);
    let _ = pair.client.flight();
    let error = pair.client.session.read(&[2, 0, 0, 4, 1, 2, 3, 4]).unwrap_err();
    assert_eq!(error.alert, 50);
    // Every flipped byte of the ClientHello is refused by someone, or changes nothing secret.
    let hello = Pair::new(&client, &server).client.flight().remove(0).1;
    for at in (0..hello.len()).step_by(3) {
        let mut pair = Pair::new(&client, &server);
        let mut damaged = pair.client.flight().remove(0).1;
        let Some(byte) = damaged.get_mut(at) else { continue };
        *byte ^= 0x55;
        if pair.server.session.read(&damaged).is_ok() {
            assert!(pair.run().is_err() || pair.client.one_rtt.is_none(), "byte {at}");
        }
    }
}

#[test]
fn messages_after_the_handshake() {
    let ca = Authority::new("CA");
    let (client, server) = (client(&ca).build().unwrap(), server(&ca).build().unwrap());
    // RFC 9001 section 6: a TLS KeyUpdate is a connection error, unexpected_message.
    let key_update = [24, 0, 0, 1, 0];
    let mut pair = Pair::connected(&client, &server);
    assert_eq!(pair.client.session.read(&key_update).unwrap_err().alert, 10);
    assert_eq!(pair.server.session.read(&key_update).unwrap_err().alert, 10);
}
