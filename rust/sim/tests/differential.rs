//! The same seeds by different ways through the engine: the same course.

use std::process::Command;

use tquic_sim::trial::{draw, run};

/// The course of each trial, as `tquic-simulate` tells it.
fn courses(crypto: Option<&str>) -> Vec<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tquic-simulate"));
    command.args(["--runs", "150", "--seed", "4000", "--every", "0", "--courses"]);
    command.env_remove("TQUIC_CRYPTO");
    command.envs(crypto.map(|name| ("TQUIC_CRYPTO", name)));
    let done = command.output().expect("it runs");
    let told = String::from_utf8(done.stdout).expect("it is text");
    assert!(done.status.success(), "{told}");
    // The last line has the time it took.
    told.lines().filter(|line| !line.contains("trials from seed")).map(str::to_owned).collect()
}

/// Packets protected by ring, and by our own AES-GCM where the CPU has what that needs (elsewhere
/// this compares ring with itself).
#[test]
fn whoever_protects_packets() {
    let ours = courses(None);
    assert!(ours.len() > 100, "{} trials", ours.len());
    assert_eq!(ours, courses(Some("ring")));
}

/// Trains in one piece, and every datagram by itself. Without ECN: whether to mark is decided for a
/// train, so the trial of marks at a path's beginning ends some packets later with trains.
#[test]
fn with_trains_and_without() {
    let mut compared = 0;
    for seed in 4000..4150 {
        let mut plan = draw(None, seed).expect("the seed chooses a scenario");
        if !plan.is_repeatable() {
            continue;
        }
        for config in [&mut plan.client, &mut plan.server] {
            config.ecn = false;
        }
        let mut single = plan.clone();
        single.train = 0;
        let name = plan.scenario;
        let outcomes = [plan, single].map(|plan| run(plan).unwrap_or_else(|e| panic!("{e}")));
        assert_eq!(outcomes[0], outcomes[1], "{name}, seed {seed}");
        compared += 1;
    }
    assert!(compared > 100, "{compared} trials");
}
