//! Prints what keys, sealing, opening and header masks cost on this machine, in nanoseconds.
//!
//! `cargo run --release -p tquic-crypto --example protect_timing`
#![allow(clippy::disallowed_methods, reason = "an example that measures time")]

use std::hint::black_box;
use std::time::Instant;

use tquic_crypto::{HeaderKey, PacketKey, Suite};

/// Nanoseconds per call: the best of 20 rounds of `calls` calls.
fn best_of(calls: u32, mut f: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..20 {
        let start = Instant::now();
        for _ in 0..calls {
            f();
        }
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(calls));
    }
    best
}

fn main() {
    for suite in Suite::ALL {
        let key = HeaderKey::new(suite, &[7; 32][..suite.key_len()]).expect("key length");
        for batch in [1, 8, 16, 64] {
            let samples = vec![[3_u8; 16]; batch];
            let mut masks = vec![[0_u8; 5]; batch];
            let ns = best_of(20_000, || key.masks(black_box(&samples), black_box(&mut masks)));
            println!("{:28} mask, batch of {batch:2}: {:6.2}", suite.name(), ns / batch as f64);
        }
        let make = || PacketKey::new(suite, &[7; 32][..suite.key_len()], [1; 12]);
        let ns = best_of(2_000, || drop(black_box(make())));
        println!("{:28} key, made and wiped: {ns:6.1}", suite.name());
        let key = make().expect("key length");
        for size in [64, 1443] {
            let data = vec![9_u8; size];
            let mut packet = vec![0_u8; size + 13 + 16];
            let mut pn = 0;
            let ns = best_of(5_000, || {
                pn += 1;
                key.seal(0, pn, black_box(&mut packet), 13, black_box(&data));
            });
            println!("{:28} seal {size:4} bytes:     {ns:6.1}", suite.name());
            let sealed = packet.clone();
            let ns = best_of(5_000, || {
                packet.copy_from_slice(&sealed);
                assert!(key.open(0, pn, black_box(&mut packet), 13).is_some());
            });
            println!("{:28} open {size:4} bytes:     {ns:6.1} (with a copy)", suite.name());
        }
    }
}
