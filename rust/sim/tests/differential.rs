//! The same seeds by different ways through the engine: the same course.

use std::process::Command;

/// The course of each trial, as `tquic-simulate` tells it.
fn courses(arguments: &[&str], crypto: Option<&str>) -> Vec<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tquic-simulate"));
    command.args(["--runs", "150", "--seed", "4000", "--every", "0", "--courses"]).args(arguments);
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
    let ours = courses(&[], None);
    assert!(ours.len() > 100, "{} trials", ours.len());
    assert_eq!(ours, courses(&[], Some("ring")));
}

/// Trains in one piece, and every datagram by itself.
#[test]
fn with_trains_and_without() {
    assert_eq!(courses(&[], None), courses(&["--train", "1"], None));
}
