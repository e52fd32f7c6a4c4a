//! Marks end to end: who sends which, what the network may do to them, and what comes of it.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod pair;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use pair::{Pair, content, upload};
use tquic_core::cc::Congestion;
use tquic_core::config::TransportConfig;
use tquic_core::connection::PathStats;
use tquic_core::path::Ecn;

const SEC: Duration = Duration::from_secs(1);

/// Marks of the client's datagrams as they left.
type Sent = Rc<RefCell<Vec<Option<Ecn>>>>;

/// A client with this controller; the network changes the marks of its datagrams.
fn client(kind: Congestion, network: fn(Option<Ecn>, u64) -> Option<Ecn>) -> (Pair, Sent) {
    let mut config = TransportConfig::default();
    config.recovery.congestion = kind;
    let mut p = Pair::with(config, TransportConfig::default(), |a| a);
    let sent = Sent::default();
    let log = sent.clone();
    p.client.meddler = Some(Box::new(move |d, n| {
        log.borrow_mut().push(d.ecn);
        d.ecn = network(d.ecn, n);
        true
    }));
    (p, sent)
}

fn move_data(p: &mut Pair, bytes: usize) -> PathStats {
    let h = p.establish();
    let data = content(bytes);
    assert!(upload(p, h, &data, 60 * SEC).expect("stalled") == data);
    p.client_conn(h).path(0).unwrap().stats()
}

#[test]
fn only_prague_sends_ect1() {
    for kind in Congestion::NAMED {
        let (mut p, sent) = client(kind, |mark, _| mark);
        let stats = move_data(&mut p, 300_000);
        assert!(stats.ecn_capable, "{kind:?}");
        assert_eq!(stats.congestion, kind);
        let expected = if kind == Congestion::Prague { Ecn::Ect1 } else { Ecn::Ect0 };
        let sent = sent.borrow();
        let marked: Vec<_> = sent.iter().flatten().collect();
        assert!(marked.len() > 100, "{kind:?}");
        assert!(marked.iter().all(|mark| **mark == expected), "{kind:?}");
    }
}

#[test]
fn prague_answers_marks_and_counts_them() {
    fn network(mark: Option<Ecn>, n: u64) -> Option<Ecn> {
        if n > 50 && n.is_multiple_of(10) { mark.map(|_| Ecn::Ce) } else { mark }
    }
    let (mut p, sent) = client(Congestion::Prague, network);
    let stats = move_data(&mut p, 2_000_000);
    assert_eq!(stats.congestion, Congestion::Prague);
    assert!(stats.ecn_capable);
    let marked = (sent.borrow().len() as u64 - 50) / 10;
    assert!(stats.ecn_ce.abs_diff(marked) <= marked / 10 + 2, "{} {marked}", stats.ecn_ce);
    assert!(stats.congestion_events > 3);
    assert_eq!(stats.lost_packets, 0);
}

/// picoquic #1981: the few packets of a handshake weighed as much in Prague's average as a whole
/// round trip of data. For a controller that answers the mark alone they count as all do.
#[test]
fn marks_of_handshake_packets_do_not_count_for_prague() {
    fn network(mark: Option<Ecn>, n: u64) -> Option<Ecn> {
        if n == 1 { mark.map(|_| Ecn::Ce) } else { mark }
    }
    for (kind, expected) in [(Congestion::Prague, (0, 0)), (Congestion::Cubic, (1, 1))] {
        let (mut p, sent) = client(kind, network);
        let stats = move_data(&mut p, 100_000);
        assert!(sent.borrow()[0].is_some() && stats.ecn_capable, "{kind:?}");
        assert_eq!((stats.ecn_ce, stats.congestion_events), expected, "{kind:?}");
    }
}

#[test]
fn a_path_that_spoils_marks_gets_none_and_prague_gives_way() {
    fn bleached(_: Option<Ecn>, _: u64) -> Option<Ecn> {
        None
    }
    fn remarked(mark: Option<Ecn>, _: u64) -> Option<Ecn> {
        mark.map(|_| Ecn::Ect0)
    }
    for network in [bleached, remarked] {
        let (mut p, sent) = client(Congestion::Prague, network);
        let stats = move_data(&mut p, 500_000);
        assert_eq!((stats.congestion, stats.ecn_capable), (Congestion::Cubic, false));
        let sent = sent.borrow();
        assert!(sent[40..].iter().all(Option::is_none), "unmarked from the first report on");
    }
}

#[test]
fn a_change_of_controllers_changes_marks_from_one_train_to_the_next() {
    let (mut p, sent) = client(Congestion::Cubic, |mark, _| mark);
    let h = p.establish();
    for kind in [Congestion::Prague, Congestion::Copa, Congestion::Prague] {
        sent.borrow_mut().clear();
        assert!(p.client_conn(h).set_congestion(None, kind));
        assert!(upload(&mut p, h, &content(200_000), 60 * SEC).is_some());
        let expected = if kind == Congestion::Prague { Ecn::Ect1 } else { Ecn::Ect0 };
        assert!(sent.borrow().iter().flatten().all(|mark| *mark == expected), "{kind:?}");
        let stats = p.client_conn(h).path(0).unwrap().stats();
        assert!(stats.ecn_capable && stats.congestion == kind, "mixed counts are no failure");
    }
    assert!(!p.client_conn(h).set_congestion(Some(9), Congestion::Copa), "no such path");
}

#[test]
fn counts_go_on_when_the_client_moves() {
    let (mut p, _) =
        client(
            Congestion::Prague,
            |mark, n| {
                if n.is_multiple_of(25) { mark.map(|_| Ecn::Ce) } else { mark }
            },
        );
    let h = p.establish();
    assert!(upload(&mut p, h, &content(300_000), 60 * SEC).is_some());
    let before = p.client_conn(h).path(0).unwrap().stats();
    let now = p.now;
    p.client_conn(h).migrate(now, "192.0.2.77:60000".parse().unwrap()).unwrap();
    assert!(upload(&mut p, h, &content(300_000), 60 * SEC).is_some());
    let after = p.client_conn(h).path(0).unwrap().stats();
    assert_ne!(before.addresses, after.addresses);
    assert!(after.ecn_capable, "the peer's counts are those of the path, not of an address");
    assert_eq!(after.congestion, Congestion::Prague);
}
