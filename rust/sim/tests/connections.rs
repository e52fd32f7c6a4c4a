//! Whole connections in virtual time: a slice of what `tquic-simulate` plays by the ten thousand,
//! and whether it would notice.

use tquic_sim::Duration;
use tquic_sim::trial::plan::{Ending, Plan};
use tquic_sim::trial::{Failure, draw, run, scenarios};
use tquic_wire::Side;

fn plan(scenario: &str, seed: u64) -> Plan {
    draw(Some(scenario), seed).expect("a scenario of that name")
}

fn failure(plan: Plan) -> Failure {
    let seed = plan.seed;
    run(plan).expect_err(&format!("seed {seed} went well"))
}

#[test]
fn every_scenario_goes_well() {
    for (name, _) in scenarios() {
        for seed in 0..20 {
            if let Err(failure) = run(plan(name, seed)) {
                panic!("{failure}");
            }
        }
    }
}

#[test]
fn the_same_seed_takes_the_same_course() {
    for (name, _) in scenarios() {
        let mut hashes = Vec::new();
        for seed in (100..120).filter(|seed| plan(name, *seed).is_repeatable()).take(4) {
            let first = run(plan(name, seed)).unwrap();
            assert_eq!(run(plan(name, seed)).unwrap(), first, "{name}, seed {seed}");
            hashes.push(first.hash);
        }
        let count = hashes.len();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), count, "{name}: different seeds, the same course");
    }
}

#[test]
fn the_seed_chooses_among_all_scenarios() {
    let chosen: std::collections::BTreeSet<_> =
        (0..400).map(|seed| draw(None, seed).unwrap().scenario).collect();
    assert_eq!(chosen.len(), scenarios().count());
    assert!(draw(Some("no such"), 1).is_none());
}

#[test]
fn a_stall_is_noticed_and_can_be_repeated() {
    let mut late = plan("transfer", 7);
    late.limit = Duration::from_millis(1);
    let failure = failure(late).to_string();
    assert!(failure.contains("not over after"), "{failure}");
    assert!(failure.contains("--scenario transfer --seed 7 --runs 1"), "{failure}");
}

#[test]
fn an_end_that_nothing_explains_is_noticed() {
    // The connection idles out while the application waits for its time to open a stream.
    let mut silent = plan("transfer", 3);
    silent.client.max_idle_timeout = Duration::from_secs(2);
    silent.client.keep_alive = None;
    silent.server.keep_alive = None;
    silent.connections[0].ending = Ending::Close(Side::Client);
    for transfer in &mut silent.connections[0].transfers {
        transfer.delay = Duration::from_secs(30);
    }
    silent.limit += Duration::from_secs(60);
    let failure = failure(silent);
    assert!(failure.what.iter().any(|line| line.contains("timed out")), "{failure}");
    assert!(failure.what.iter().any(|line| line.contains("before all was done")), "{failure}");
}
