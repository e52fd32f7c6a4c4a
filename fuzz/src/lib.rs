//! The bodies of the fuzz targets, as plain functions of bytes. libFuzzer calls them from
//! `targets/`; `cargo test` of the core calls them with the corpus and with seeded random bytes
//! (`rust/core/tests/hostile.rs`), which needs nothing but stable Rust.
//!
//! A target fails by panicking: on a panic of the code under test, or on a promise that it broke.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a target fails by panicking")]

mod codec;
mod connection;
mod endpoint;
mod frames;
#[path = "../../rust/sched/tests/generate/mod.rs"]
mod generate;
#[path = "../../rust/core/tests/rogue/mod.rs"]
pub mod rogue;
mod sched;
mod source;
mod stream_ops;

pub use codec::{client_hello, frame, packet, params};
pub use connection::connection;
pub use endpoint::endpoint;
pub use sched::{sched_object, sched_program};
pub use stream_ops::stream_ops;

/// A target's name and body.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 9] = [
    ("packet", packet),
    ("frame", frame),
    ("params", params),
    ("client_hello", client_hello),
    ("stream_ops", stream_ops),
    ("connection", connection),
    ("endpoint", endpoint),
    ("sched_object", sched_object),
    ("sched_program", sched_program),
];
