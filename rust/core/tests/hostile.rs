//! The fuzz targets without a fuzzer: their corpora, and some thousands of inputs that are drawn at
//! random or grown from the corpora by mutation. Every input is made from a seed, which a failure
//! names: `HOSTILE_SEED=n cargo test -p tquic-core --test hostile TARGET` repeats that one alone.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::type_complexity,
    clippy::field_reassign_with_default,
    reason = "tests fail by panicking, and change one thing at a time"
)]

#[path = "../../../fuzz/src/lib.rs"]
mod fuzz;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use tquic_core::rng::Rng;

/// Longest input drawn.
const MAX_LEN: u64 = 600;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&dir).expect("the target has a corpus");
    let mut paths: Vec<_> = entries.map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|p| std::fs::read(p).unwrap()).collect()
}

/// Input number `seed`: random bytes, or a member of the corpus changed in a few places.
fn input(corpus: &[Vec<u8>], seed: u64) -> Vec<u8> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    let mut rng = Rng::from_seed(bytes);
    if corpus.is_empty() || rng.below(4) == 0 {
        let mut data = vec![0; rng.below(MAX_LEN) as usize];
        rng.fill(&mut data);
        return data;
    }
    let pick = |rng: &mut Rng| corpus[rng.below(corpus.len() as u64) as usize].clone();
    let mut data = pick(&mut rng);
    for _ in 0..1 + rng.below(6) {
        let at = rng.below(data.len() as u64 + 1) as usize;
        match rng.below(6) {
            0 if at < data.len() => data[at] ^= 1 << rng.below(8),
            1 if at < data.len() => data[at] = rng.u64() as u8,
            2 => data.insert(at, rng.u64() as u8),
            3 => data.truncate(at),
            4 => {
                let other = pick(&mut rng);
                let from = rng.below(other.len() as u64 + 1) as usize;
                data.truncate(at);
                data.extend_from_slice(&other[from..]);
            }
            _ => {
                let again = data[at..].to_vec();
                data.extend_from_slice(&again[..again.len().min(64)]);
            }
        }
    }
    data.truncate(4096);
    data
}

fn run(target: &str, count: u64) {
    let body = fuzz::TARGETS.iter().find(|t| t.0 == target).expect("no such target").1;
    let corpus = corpus(target);
    if let Some(seed) = std::env::var("HOSTILE_SEED").ok().and_then(|s| s.parse().ok()) {
        return body(&input(&corpus, seed));
    }
    for data in &corpus {
        body(data);
    }
    for seed in 0..count {
        let data = input(&corpus, seed);
        if catch_unwind(AssertUnwindSafe(|| body(&data))).is_err() {
            panic!("{target}: input {seed} failed, repeat it with HOSTILE_SEED={seed}");
        }
    }
}

macro_rules! targets {
    ($($name:ident $count:expr;)*) => { $(#[test] fn $name() { run(stringify!($name), $count); })* };
}

targets! {
    packet 20_000;
    frame 20_000;
    params 20_000;
    client_hello 20_000;
    stream_ops 6_000;
    connection 6_000;
    endpoint 3_000;
    sched_object 5_000;
    sched_program 5_000;
}

#[test]
fn every_target_is_run_here() {
    assert_eq!(fuzz::TARGETS.len(), 9);
}
