//! Peers that open and end paths without rest, and networks that move all of them at once
//! (draft-ietf-quic-multipath-21 section 7).
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

mod pair;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pair::{Pair, content, upload};
use tquic_core::ConnectionHandle;
use tquic_core::config::TransportConfig;
use tquic_core::path::FourTuple;
use tquic_wire::TransportErrorCode;

const SEC: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn pair(paths: u32) -> (Pair, ConnectionHandle) {
    let config = TransportConfig { max_paths: Some(paths), ..TransportConfig::default() };
    let mut p = Pair::with(config.clone(), config, |a| a);
    let h = p.establish();
    p.run_until(100 * MS, |_| false);
    (p, h)
}

fn open(p: &mut Pair, h: ConnectionHandle, n: u16) -> Option<u32> {
    let mut local = p.client_address;
    local.set_port(local.port() + n);
    let (now, remote) = (p.now, p.server_address);
    p.client_conn(h).open_path(now, FourTuple { local, remote }).ok()
}

fn transfers(p: &mut Pair, h: ConnectionHandle, bytes: usize) {
    let data = content(bytes);
    assert!(upload(p, h, &data, 60 * SEC).is_some_and(|got| got == data));
}

#[test]
fn paths_that_are_opened_and_ended_without_rest_take_no_more_room() {
    let (mut p, h) = pair(3);
    let (mut most, mut opened) = (0, 0);
    for n in 1..=400 {
        if let Some(id) = open(&mut p, h, n) {
            opened += 1;
            // Some before the server has heard of them, some when it uses them.
            p.run_until(MS * (u32::from(n) % 50), |_| false);
            let (now, code) = (p.now, TransportErrorCode::APPLICATION_ABANDON_PATH);
            p.client_conn(h).abandon_path(now, id, code).unwrap();
        }
        p.run_until(20 * MS, |_| false);
        most = most.max(p.client_conn(h).paths().count()).max(p.server_conn().paths().count());
    }
    // Path IDs come back one for one, as ended paths are forgotten.
    assert!(opened > 4 && most <= 4, "{opened} opened, {most} at a time");
    p.run_until(10 * SEC, |_| false);
    assert_eq!((p.client_conn(h).paths().count(), p.server_conn().paths().count()), (1, 1));
    transfers(&mut p, h, 500_000);
}

#[test]
fn a_path_that_is_not_validated_gets_three_times_what_came_from_there() {
    let (mut p, h) = pair(3);
    let port = p.client_address.port() + 1;
    let came = Arc::new(Mutex::new((0, 0)));
    let (up, down) = (came.clone(), came.clone());
    p.client.meddler = Some(Box::new(move |d, _| {
        up.lock().unwrap().0 += if d.from.port() == port { d.data.len() } else { 0 };
        true
    }));
    // The owner of the address never gets anything, as if it were somebody else's.
    p.server.meddler = Some(Box::new(move |d, _| {
        let mine = d.to.port() == port;
        let mut came = down.lock().unwrap();
        came.1 += if mine { d.data.len() } else { 0 };
        assert!(came.1 <= 3 * came.0, "{came:?}");
        !mine
    }));
    open(&mut p, h, 1).unwrap();
    transfers(&mut p, h, 2_000_000);
    p.run_until(10 * SEC, |_| false);
    assert!(came.lock().unwrap().1 > 0);
    assert_eq!(p.server_conn().paths().count(), 1);
}

#[test]
fn a_nat_that_rebinds_all_paths_at_once_ends_none() {
    let (mut p, h) = pair(3);
    for n in 1..=2 {
        assert_eq!(open(&mut p, h, n), Some(u32::from(n)));
        p.run_until(SEC, |_| false);
    }
    let first = p.client_address.port();
    let moved = 100;
    p.client.meddler = Some(Box::new(move |d, n| {
        if n > 400 {
            d.from.set_port(d.from.port() + moved);
        }
        true
    }));
    p.server.meddler = Some(Box::new(move |d, _| {
        if d.to.port() >= first + moved {
            d.to.set_port(d.to.port() - moved);
        }
        true
    }));
    for _ in 0..3 {
        transfers(&mut p, h, 2_000_000);
    }
    let mut ports: Vec<u16> =
        p.server_conn().paths().map(|path| path.active().addresses.remote.port()).collect();
    ports.sort_unstable();
    assert_eq!(ports, [first + moved, first + moved + 1, first + moved + 2]);
    assert_eq!(p.client_conn(h).paths().map(|path| path.id).collect::<Vec<_>>(), [0, 1, 2]);
}
