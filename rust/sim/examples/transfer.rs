//! Moves bytes between two endpoints in virtual time and says nothing: a load whose instructions can
//! be counted. `valgrind --tool=callgrind target/release/examples/transfer 64` moves 64 MiB.

use tquic_sim::transfer::Transfer;

fn main() {
    let mebibytes = std::env::args().nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(64);
    let bytes = mebibytes << 20;
    let received = Transfer::new(1, bytes).run().map(|finished| finished.received);
    assert_eq!(received, Some(bytes), "the transfer did not come to its end");
}
