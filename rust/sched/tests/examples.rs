//! The programs of `fixtures`, on both backends.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tquic_sched::{
    Backend, Callback, Fault, Instance, MAX_PATHS, PacketContext, PathEvent, PathSnapshot, Program,
};

const PACKET: PacketContext =
    PacketContext { stream_id: Some(4), bytes: 1200, ack_eliciting: true, retransmission: false };

fn load(name: &str) -> Arc<Program> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    let object = std::fs::read(path.with_extension("o")).unwrap();
    Arc::new(Program::load(&object).unwrap_or_else(|error| panic!("{name}: {error}")))
}

/// A scheduler on each backend.
fn both(name: &str) -> [Instance; 2] {
    let program = load(name);
    [Backend::Fastest, Backend::Interpreter].map(|b| {
        let mut instance = Instance::new(&program, b);
        instance.init().unwrap();
        instance
    })
}

fn path(id: u32, srtt_us: u64) -> PathSnapshot {
    PathSnapshot {
        id,
        weight: 1,
        schedulable: 1,
        is_open: true,
        srtt_us,
        min_rtt_us: srtt_us,
        bandwidth: 1_000_000,
        cwnd: 12_000,
        ..PathSnapshot::default()
    }
}

#[test]
fn machine_code_is_there_where_it_should_be() {
    let here = cfg!(all(target_os = "linux", target_arch = "x86_64"));
    let program = load("guide");
    assert_eq!(
        program.interpreted_because().is_none(),
        here,
        "{:?}",
        program.interpreted_because()
    );
    assert_eq!(Instance::new(&program, Backend::Fastest).is_compiled(), here);
    assert!(!Instance::new(&program, Backend::Interpreter).is_compiled());
}

#[test]
fn the_guides_example_takes_the_path_with_the_least_rtt() {
    let program = load("guide");
    assert_eq!(program.name(), "my_minrtt");
    assert_eq!(program.function(Callback::SelectPath), Some("my_select_path"));
    assert_eq!(program.function(Callback::Init), None);
    for mut scheduler in both("guide") {
        let mut paths = [path(0, 30_000), path(1, 10_000), path(2, 20_000)];
        assert_eq!(scheduler.select_path(&mut paths, &PACKET), Ok(Some(1)));
        paths[1].bytes_in_flight = 11_000;
        assert_eq!(scheduler.select_path(&mut paths, &PACKET), Ok(Some(2)));
        paths[2].is_open = false;
        assert_eq!(scheduler.select_path(&mut paths, &PACKET), Ok(Some(0)));
        paths[0].schedulable = 0;
        assert_eq!(scheduler.select_path(&mut paths, &PACKET), Ok(None));
        assert_eq!(scheduler.select_path(&mut [], &PACKET), Ok(None));
        let mut many = [path(0, 1); MAX_PATHS + 1];
        assert_eq!(scheduler.select_path(&mut many, &PACKET), Err(Fault::Paths));
        let mut most = [path(0, 2); MAX_PATHS];
        most[MAX_PATHS - 1].srtt_us = 1;
        assert_eq!(scheduler.select_path(&mut most, &PACKET), Ok(Some(MAX_PATHS - 1)));
    }
}

#[test]
fn round_robin_remembers_its_turn_for_each_connection() {
    let [mut one, mut other] = both("roundrobin");
    let mut paths = [path(0, 1), path(1, 1), path(2, 1)];
    let mut turns = |scheduler: &mut Instance, count| {
        let turn = |_| scheduler.select_path(&mut paths, &PACKET).unwrap().unwrap();
        (0..count).map(turn).collect::<Vec<_>>()
    };
    assert_eq!(turns(&mut one, 4), [0, 1, 2, 0]);
    assert_eq!(turns(&mut other, 4), [0, 1, 2, 0]);
    assert_eq!(turns(&mut one, 2), [1, 2]);
    paths[1].bytes_in_flight = 12_000;
    let mut turns = |count| {
        let turn = |_| one.select_path(&mut paths, &PACKET).unwrap().unwrap();
        (0..count).map(turn).collect::<Vec<_>>()
    };
    assert_eq!(turns(3), [0, 2, 2]);
}

#[test]
fn what_is_sent_again_takes_another_path() {
    for mut scheduler in both("redundant") {
        let mut paths = [path(0, 10_000), path(1, 20_000), path(2, 30_000)];
        let again = PacketContext { retransmission: true, ..PACKET };
        assert_eq!(scheduler.select_path(&mut paths, &PACKET), Ok(Some(0)));
        assert_eq!(scheduler.select_path(&mut paths, &again), Ok(Some(1)));
        assert_eq!(scheduler.select_path(&mut paths, &again), Ok(Some(0)));
        // Another stream has another past.
        let other = PacketContext { stream_id: Some(8), ..again };
        assert_eq!(scheduler.select_path(&mut paths, &other), Ok(Some(0)));
        paths[1].is_open = false;
        paths[2].is_open = false;
        assert_eq!(scheduler.select_path(&mut paths, &again), Ok(Some(0)));
    }
}

#[test]
fn weights_globals_and_every_callback() {
    for mut scheduler in both("stateful") {
        let mut paths = [path(0, 1), path(1, 1)];
        paths[0].weight = 3;
        let mut sent = [0; 2];
        for _ in 0..400 {
            let index = scheduler.select_path(&mut paths, &PACKET).unwrap().unwrap();
            sent[index] += 1;
            scheduler.on_packet_sent(&mut paths, index, PACKET.bytes).unwrap();
            scheduler.on_packet_acked(&mut paths, index, 1200, Duration::from_millis(7)).unwrap();
        }
        assert!((290..=310).contains(&sent[0]), "3 to 1, and not {sent:?}");
        scheduler.on_packet_lost(&mut paths, 0, 1200).unwrap();
        assert_eq!((paths[0].weight, paths[1].weight), (2, 1));
        scheduler.on_packet_lost(&mut paths, 1, 1200).unwrap();
        assert_eq!(paths[1].weight, 1);
        scheduler.on_path_change(&mut paths, 0, PathEvent::Failed).unwrap();
        assert_eq!(paths[0].schedulable, 0);
        assert_eq!(scheduler.select_path(&mut paths, &PACKET), Ok(Some(1)));
        scheduler.on_path_change(&mut paths, 0, PathEvent::Recovered).unwrap();
        assert_eq!(paths[0].schedulable, 1);
        assert_eq!(scheduler.on_packet_sent(&mut paths, 2, 1), Err(Fault::Paths));
        scheduler.release().unwrap();
    }
}

#[test]
fn a_backup_is_taken_when_nothing_else_is_active() {
    for mut scheduler in both("backup") {
        let mut paths = [path(0, 10_000), path(1, 20_000), path(2, 1_000)];
        paths[2].is_backup = true;
        assert_eq!(scheduler.select_path(&mut paths, &PACKET), Ok(Some(0)));
        let again = PacketContext { retransmission: true, ..PACKET };
        assert_eq!(scheduler.select_path(&mut paths, &again), Ok(Some(1)));
        paths[0].loss_rate = 9_000;
        paths[0].bandwidth = 100_000;
        assert_eq!(scheduler.select_path(&mut paths, &PACKET), Ok(Some(1)));
        (paths[0].is_open, paths[1].is_open) = (false, false);
        assert_eq!(scheduler.select_path(&mut paths, &PACKET), Ok(Some(2)));
        paths[2].is_open = false;
        assert_eq!(scheduler.select_path(&mut paths, &PACKET), Ok(None));
    }
}
